r"""EXT_structural_metadata from Arrow columns: one class a layer, one property a column, one property table a tile.

How a column is stored is decided once for the whole layer (`survey` each batch, `merge`, `plan`), so that every tile has the
same types. What a tile's own schema lists of an enum is only what occurs in it, and an enum's code is a function of its
text; so a new value in one place changes no other tile, whatever the history.

| Arrow                                | property                             | null                                              |
|--------------------------------------|--------------------------------------|---------------------------------------------------|
| string                               | STRING                               | noData, "\0" (or more of them where data hold it) |
| string, few distinct values          | ENUM of UINT32, code = f(text)       | noData, the enum value "(no data)"                |
| bool                                 | BOOLEAN; ENUM true/false with nulls  | noData, the enum value "(no data)"                |
| int8 … uint64                        | INT8 … UINT64; 64 bits that fit: 32  | noData, a spare extreme; else the next wider type |
| 64-bit integers with nulls           | FLOAT64 while exact (below 2^53)     | … (JavaScript compares no BigInt with noData)     |
| float16, float32, float64            | FLOAT32, FLOAT64; NaN counts as null | noData, lowest finite value                       |
| decimal                              | FLOAT64 up to 15 digits, else STRING | as these                                          |
| date, time, timestamp                | STRING, ISO 8601                     | as STRING                                         |
| list of numbers, strings, booleans   | array, variable-length               | noData, an array of the one spare value           |
| fixed-size list of two or more       | array with `count`                   | noData, an array of the spare value alone         |
| struct, map; lists with members that | STRING holding JSON                  | as STRING                                         |
| are null or ""                       |                                      |                                                   |

Where no spare value exists (a 64-bit column that uses both extremes, arrays of booleans) a BOOLEAN property `…_known` says
which rows hold one. A column that is null throughout a tile is left out of its table; one of nothing but "" or of nothing but
empty lists is left out too, with that as the class's default (glTF knows no empty buffer view; so lists that hold "" are JSON).

Source: 3D Metadata Specification 1.0 (OGC 22-025r4, annex), EXT_structural_metadata (Cesium, 2023).
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tiling.encoding.slug import property_ids, slug
from tiling.encoding.survey import Survey, as_json, normal, survey
from tiling.sums import UNIT, ratio
from twin.model import Column

NO_DATA = "(no data)"
_NUL = "\0"
_INTEGERS = {"int8": "INT8", "int16": "INT16", "int32": "INT32", "int64": "INT64",
             "uint8": "UINT8", "uint16": "UINT16", "uint32": "UINT32", "uint64": "UINT64"}  # fmt: skip
_WIDER = {"INT8": "INT16", "INT16": "INT32", "INT32": "FLOAT64", "UINT8": "INT16", "UINT16": "INT32", "UINT32": "FLOAT64",
          "FLOAT32": "FLOAT64"}  # fmt: skip
_EXACT = 1 << 53


@dataclass(frozen=True, slots=True)
class Field:
    """How one column is stored. `kind`: number, boolean, string, enum, list; `member`: kind of a list's members; `count`: of them, 0 where it varies.

    `component`: componentType of numbers; `no_data`: value of null rows, None where none occur or `known` is kept instead.
    """

    column: str
    property: str
    kind: str
    component: str = ""
    member: str = ""
    count: int = 0
    no_data: Any = None
    known: str = ""
    unit: str = ""
    title: str = ""
    semantic: str = ""
    values: tuple[str, ...] = ()
    nulls: bool = True
    inherited: bool = False


@dataclass(frozen=True, slots=True)
class Encoded:
    """The bytes of one column of a property table."""

    values: bytes
    array_offsets: bytes | None = None
    array_offset_type: str = ""
    string_offsets: bytes | None = None
    string_offset_type: str = ""


@dataclass(frozen=True)
class PropertyTable:
    """One tile's table: its schema (JSON), class, encoded columns by property id, and number of rows."""

    name: str
    schema: dict[str, Any]
    class_id: str
    columns: dict[str, Encoded]
    rows: int

    def __len__(self) -> int:
        return self.rows


# --- how it is stored --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Schema:
    """The class of a layer: how each column is stored. `encode` makes a tile's property table."""

    class_id: str
    name: str
    fields: tuple[Field, ...]

    def to_json(self, values: dict[str, Sequence[str]] | None = None, plain: frozenset[str] = frozenset()) -> dict[str, Any]:
        """The schema as JSON; `values` limits enums to what occurs, `plain` are properties of nothing but "" or empty lists."""
        enums: dict[str, Any] = {}
        properties: dict[str, Any] = {}
        for f in self.fields:
            value: dict[str, Any] = {"name": f.column} if f.column else {}
            if f.title or f.unit or f.inherited:
                value["description"] = " ".join(filter(None, [f.title, f"[{f.unit}]" if f.unit else "", "(of the feature that it belongs to, where it states none)" if f.inherited else ""]))
            kind = f.member if f.kind == "list" else f.kind
            if kind == "number":
                value |= {"type": "SCALAR", "componentType": f.component}
            elif kind == "enum":
                value |= {"type": "ENUM", "enumType": f.property}
                enums[f.property] = self._enum(f, f.values if values is None else values.get(f.property, ()))
            else:
                value["type"] = kind.upper()
            if f.kind == "list":
                value |= {"array": True} | ({"count": f.count} if f.count else {})
            if f.property in plain:
                value["default"] = [] if f.kind == "list" else ""
            elif f.no_data is not None and (kind != "enum" or f.nulls):
                value["noData"] = f.no_data
            elif not f.nulls and f.kind != "list":
                value["required"] = True
            if f.semantic:
                value["semantic"] = f.semantic
            properties[f.property] = value
            if f.known:
                properties[f.known] = {"name": f"{f.column} known", "type": "BOOLEAN", "required": True}
        schema: dict[str, Any] = {"id": self.class_id, "classes": {self.class_id: {"name": self.name, "properties": properties}}}
        return schema | ({"enums": enums} if enums else {})

    def _enum(self, f: Field, occurring: Sequence[str]) -> dict[str, Any]:
        if f.component == "UINT8":
            pairs = [("false", 0), ("true", 1), (NO_DATA, 255)]
        else:
            pairs = [(text, enum_code(text)) for text in sorted(occurring)] + ([(NO_DATA, 0)] if f.nulls else [])
        return {"name": f.column, "valueType": f.component, "values": [{"name": n, "value": v} for n, v in pairs]}

    def encode(self, table: pa.Table, name: str = "") -> PropertyTable:
        """A tile's rows as a property table.

        Args:
            table: the columns named by `fields` (others are not looked at); N ≥ 1 rows.
            name: of the table; the layer's if empty.

        Raises:
            KeyError: a column is missing; ValueError: a value that the survey of the layer did not see.
        """
        columns: dict[str, Encoded] = {}
        occurring: dict[str, Sequence[str]] = {}
        plain: set[str] = set()
        for f in self.fields:
            column = normal(table.column(f.column))
            if f.kind == "string" and not pa.types.is_string(column.type):
                column = as_json(column)
            if column.null_count and not f.nulls:
                raise ValueError(f"column {f.column!r} has nulls that the survey of the layer did not see")
            if column.null_count == len(column):
                occurring[f.property] = ()
                if f.known:
                    columns[f.known] = Encoded(pack_bits(np.zeros(len(column), bool)))
                continue
            if f.kind == "string" and column.null_count == 0 and pc.max(pc.binary_length(column)).as_py() == 0:
                plain.add(f.property)
                continue
            if f.kind == "enum" and f.component != "UINT8":
                occurring[f.property] = [t for t in pc.unique(column).to_pylist() if t is not None]
            encoded = _ENCODERS[f.kind](f, column)
            if encoded is None:
                plain.add(f.property)
            else:
                columns[f.property] = encoded
            if f.known:
                columns[f.known] = Encoded(pack_bits(pc.is_valid(column).to_numpy(zero_copy_only=False)))
        document = self.to_json(occurring, frozenset(plain))
        return PropertyTable(name or self.name, tidy(document, set(columns)), self.class_id, columns, table.num_rows)

    def statistics(self, surveys: dict[str, Survey]) -> dict[str, Any]:
        """tileset.json `statistics`: count, extremes, mean and sum of numbers, enum histograms; so that a client can style without a tile.

        Of the rows that were surveyed: features that could not be drawn afterwards (the report names them) may be among them.
        """
        properties: dict[str, Any] = {}
        for f in self.fields:
            s = surveys[f.column]
            if f.kind == "number" and s.low is not None and s.high is not None:
                told = {"min": s.low, "max": s.high, "mean": ratio(s.total, s.rows - s.nulls), "sum": ratio(s.total, 1)}
                properties[f.property] = {k: v for k, v in told.items() if v is not None}
            elif f.kind == "enum" and f.component == "UINT8" and s.rows > s.nulls:
                yes = s.total // UNIT
                properties[f.property] = {"occurrences": {k: n for k, n in (("false", s.rows - s.nulls - yes), ("true", yes)) if n}}
            elif f.kind == "enum" and s.texts:
                properties[f.property] = {"occurrences": dict(sorted(s.texts.items()))}
        return {"classes": {self.class_id: {"count": max(s.rows for s in surveys.values()), **({"properties": properties} if properties else {})}}}


def tidy(document: dict[str, Any], stored: set[str]) -> dict[str, Any]:
    """`required` only where the tile's table has the column; enums without any value are dropped with their property's enum."""
    body = next(iter(document["classes"].values()))["properties"]
    for name, value in list(body.items()):
        if name not in stored:
            value.pop("required", None)
            if value["type"] == "ENUM" and not document["enums"][value["enumType"]]["values"]:
                del body[name], document["enums"][name]
    if "enums" in document and not document["enums"]:
        del document["enums"]
    return document


def schema_of(name: str, table: pa.Table, columns: Sequence[Column] = ()) -> Schema:
    """The schema of a layer that is one table."""
    return plan(name, table.schema, survey(table), columns)


def plan(name: str, arrow: pa.Schema, surveys: dict[str, Survey], columns: Sequence[Column] = ()) -> Schema:
    """How every column of a layer is stored.

    Args:
        name: the layer; its slug is the class id.
        arrow: names (in order; `id` is put first) of the columns; types are those `survey` saw.
        surveys: of all rows of the layer.
        columns: units and titles.
    """
    names = sorted(arrow.names, key=lambda n: n != "id")
    ids = property_ids(names)
    told = {c.name: c for c in columns}
    fields = []
    for column in names:
        about = told.get(column, Column(column, ""))
        title = about.title.get("zh") or about.title.get("en") or ""
        both = " / ".join(dict.fromkeys(t for t in (about.title.get("zh"), about.title.get("en")) if t)) or title
        f = Field(column, ids[column], "string", unit=about.unit, title=both, semantic="ID" if column == "id" else "",
                  nulls=surveys[column].nulls > 0, inherited=about.inherited)  # fmt: skip
        kind = arrow.field(column).type
        count = kind.list_size if pa.types.is_fixed_size_list(kind) and kind.list_size > 1 else 0
        fields.append(_decide(replace(f, count=count), normal(pa.array([], kind)).type, surveys[column]))
    taken = set(ids.values())
    fields = [replace(f, known=_free(f"{f.property}_known", taken)) if f.known else f for f in fields]
    return Schema(slug(name), name, tuple(fields))


def _free(name: str, taken: set[str]) -> str:
    while name in taken:
        name += "_"
    return name


def _decide(f: Field, kind: pa.DataType, s: Survey) -> Field:
    if pa.types.is_list(kind):
        if s.ragged:
            return replace(f, kind="string", count=0, no_data=_NUL if f.nulls else None)
        if pa.types.is_boolean(kind.value_type):  # two values, none to spare
            return replace(f, kind="list", member="boolean", known="yes" if f.nulls else "")
        member = _decide(f, kind.value_type, replace(s, texts=None))
        spare = [member.no_data] * (f.count or 1) if member.no_data is not None else None
        return replace(f, kind="list", member=member.kind, component=member.component, no_data=spare, known=member.known)
    if pa.types.is_boolean(kind):
        return replace(f, kind="enum", component="UINT8", no_data=NO_DATA) if f.nulls else replace(f, kind="boolean")
    if pa.types.is_floating(kind):
        return _number(f, "FLOAT32" if pa.types.is_float32(kind) else "FLOAT64", s)
    if pa.types.is_integer(kind):
        return _number(f, _integer(_INTEGERS[str(kind)], f.nulls, s), s)
    if _is_enum(f, s):
        return replace(f, kind="enum", component="UINT32", values=tuple(sorted(s.texts or ())), no_data=NO_DATA if f.nulls else None)
    return replace(f, kind="string", no_data=_NUL * (s.nul + 1) if f.nulls else None)


def _is_enum(f: Field, s: Survey) -> bool:
    """Few texts that repeat, none of them empty or the null's name, and all codes different."""
    texts = s.texts
    if not texts or f.column == "id" or s.rows < 2 * len(texts) or "" in texts or NO_DATA in texts:
        return False
    return len({enum_code(t) for t in texts}) == len(texts) and max(map(len, texts)) <= 64


def enum_code(text: str) -> int:
    """The code of an enum value: a function of its text alone (CRC-32, never 0), so it is the same in all versions."""
    return zlib.crc32(text.encode()) or 1


def _integer(component: str, nulls: bool, s: Survey) -> str:
    low, high = int(s.low or 0), int(s.high or 0)
    if component not in ("INT64", "UINT64"):
        return component
    if low > -(1 << 31) and high < (1 << 31) - 1:  # a spare value is left at both ends
        return "INT32"
    if nulls and low >= -_EXACT and high <= _EXACT:
        return "FLOAT64"
    return component


def _number(f: Field, component: str, s: Survey) -> Field:
    """A number column with the spare value of its null rows, widened or with a `known` column where there is none."""
    while f.nulls:
        lowest, highest = _range(component)
        # JavaScript reads the lowest INT64 exactly, the highest not
        ends = [lowest] if component == "INT64" else [highest, lowest] if component.startswith("UINT") else [lowest, highest]
        for end in ends:
            if s.low is None or s.high is None or not s.low <= end <= s.high:
                return replace(f, kind="number", component=component, no_data=end)
        if component not in _WIDER:
            return replace(f, kind="number", component=component, known="yes")
        component = _WIDER[component]
    return replace(f, kind="number", component=component)


def _range(component: str) -> tuple[int | float, int | float]:
    if component.startswith("FLOAT"):
        top = float(np.finfo(component.lower()).max)
        return -top, top
    info = np.iinfo(component.lower())
    return int(info.min), int(info.max)


# --- bytes -------------------------------------------------------------------------------------------------------


def _encode_number(f: Field, column: pa.Array) -> Encoded:
    fill = f.no_data if f.no_data is not None else 0
    dtype = np.dtype(f.component.lower()).newbyteorder("<")
    valid = pc.is_valid(column).to_numpy(zero_copy_only=False)
    values = np.full(len(column), fill, dtype)
    values[valid] = column.drop_null().to_numpy(zero_copy_only=False).astype(dtype)
    return Encoded(values.tobytes())


def _encode_boolean(_: Field, column: pa.Array) -> Encoded:
    return Encoded(pack_bits(column.to_numpy(zero_copy_only=False).astype(bool)))


def _encode_string(f: Field, column: pa.Array) -> Encoded:
    filled = column.fill_null(f.no_data) if column.null_count and f.no_data is not None else column
    offsets = np.frombuffer(filled.buffers()[1], "<i4")[filled.offset : filled.offset + len(filled) + 1]
    data = filled.buffers()[2]
    values = data.slice(int(offsets[0]), int(offsets[-1] - offsets[0])).to_pybytes() if data is not None else b""
    packed, kind = offsets_of(offsets - offsets[0])
    return Encoded(values, string_offsets=packed, string_offset_type=kind)


def _encode_enum(f: Field, column: pa.Array) -> Encoded:
    if f.component == "UINT8":
        codes = column.cast(pa.uint8()).fill_null(255)
        return Encoded(codes.to_numpy(zero_copy_only=False).astype(np.uint8).tobytes())
    coded = column.dictionary_encode()
    table = np.array([enum_code(t) for t in coded.dictionary.to_pylist()] + [0], "<u4")
    rows = coded.indices.fill_null(len(table) - 1).to_numpy(zero_copy_only=False)
    return Encoded(table[rows].tobytes())


def _encode_list(f: Field, column: pa.Array) -> Encoded | None:
    if f.member == "number":
        column = column.cast(pa.list_(pa.from_numpy_dtype(np.dtype(f.component.lower()))))
    if column.null_count:
        nothing = f.no_data if f.no_data is not None else column.drop_null()[0].as_py()[:1] * f.count  # which `known` tells from a value
        column = pc.if_else(column.is_valid(), column, pa.scalar(nothing, column.type))
    members = column.flatten()
    if not len(members):
        return None
    inner: Encoded = _ENCODERS[f.member](replace(f, kind=f.member, no_data=None), members)
    if f.count:
        return inner
    packed, kind = offsets_of(np.concatenate([[0], np.cumsum(pc.list_value_length(column).to_numpy(zero_copy_only=False))]))
    return replace(inner, array_offsets=packed, array_offset_type=kind)


def pack_bits(values: Any) -> bytes:
    """Booleans as bits, lowest first."""
    return bytes(np.packbits(values, bitorder="little").tobytes())


def offsets_of(offsets: Any) -> tuple[bytes, str]:
    """Ascending offsets from 0 in the smallest type that holds them, and its name."""
    top = int(offsets[-1])
    kind = "UINT8" if top < 256 else "UINT16" if top < 65_536 else "UINT32"
    return offsets.astype(np.dtype(kind.lower()).newbyteorder("<")).tobytes(), kind


_ENCODERS: dict[str, Any] = {
    "number": _encode_number, "boolean": _encode_boolean, "string": _encode_string, "enum": _encode_enum, "list": _encode_list,
}  # fmt: skip
