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
| list of numbers, strings, booleans   | variable-length array                | noData, an array of the one spare value           |
| struct, map, lists with null members | STRING holding JSON                  | as STRING                                         |

Where no spare value exists (a 64-bit column that uses both extremes) a BOOLEAN property `…_known` says which rows hold one.
A column that is null throughout a tile is left out of its table; one of nothing but "" is the class's default; where every
list of a tile is empty the column is left out too (glTF knows no empty buffer view).

Source: 3D Metadata Specification 1.0 (OGC 22-025r4, annex), EXT_structural_metadata (Cesium, 2023).
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tiling.slug import property_ids, slug
from tiling.sums import UNIT, exact_sum, ratio
from twin.model import Column

ENUM_VALUES = 64
NO_DATA = "(no data)"
_NUL = "\0"
_INTEGERS = {"int8": "INT8", "int16": "INT16", "int32": "INT32", "int64": "INT64",
             "uint8": "UINT8", "uint16": "UINT16", "uint32": "UINT32", "uint64": "UINT64"}  # fmt: skip
_WIDER = {"INT8": "INT16", "INT16": "INT32", "INT32": "FLOAT64", "UINT8": "INT16", "UINT16": "INT32", "UINT32": "FLOAT64",
          "FLOAT32": "FLOAT64"}  # fmt: skip
_EXACT = 1 << 53


@dataclass(frozen=True, slots=True)
class Survey:
    r"""What must be known of a column over the whole layer.

    `low`/`high`: extremes of the numbers (finite; of the members, for lists), and how often they occur (`lows`, `highs`); `texts`: counts of distinct texts, None
    above `ENUM_VALUES`; `nul`: the longest run of "\\0" that is a whole text; `ragged`: lists with null members occur;
    `total`: sum of the numbers (of booleans: how many are true) in units of 2^-20, an exact integer whatever the order of adding.
    """

    rows: int = 0
    nulls: int = 0
    low: int | float | None = None
    high: int | float | None = None
    texts: dict[str, int] | None = field(default_factory=dict)
    nul: int = 0
    ragged: bool = False
    total: int = 0
    lows: int = 0
    highs: int = 0


@dataclass(frozen=True, slots=True)
class Field:
    """How one column is stored. `kind`: number, boolean, string, enum, list; `member`: kind of a list's members.

    `component`: componentType of numbers; `no_data`: value of null rows, None where none occur or `known` is kept instead.
    """

    column: str
    property: str
    kind: str
    component: str = ""
    member: str = ""
    no_data: Any = None
    known: str = ""
    unit: str = ""
    title: str = ""
    semantic: str = ""
    values: tuple[str, ...] = ()
    nulls: bool = True


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


# --- what the layer holds ----------------------------------------------------------------------------------------


def survey(table: pa.Table) -> dict[str, Survey]:
    """What one batch's columns hold."""
    return {name: _survey(normal(table.column(name))) for name in table.column_names}


def merge(surveys: Iterable[dict[str, Survey]]) -> dict[str, Survey]:
    """Surveys of many batches of one layer, as one."""
    total: dict[str, Survey] = {}
    for one in surveys:
        for name, s in one.items():
            total[name] = _merge(total[name], s) if name in total else s
    return total


def _survey(column: pa.Array) -> Survey:
    kind = column.type
    rows, nulls = len(column), column.null_count
    if pa.types.is_list(kind):
        inner = _survey(column.flatten())
        ragged = inner.nulls > 0 or (nulls > 0 and pa.types.is_boolean(kind.value_type))
        return Survey(rows, nulls, inner.low, inner.high, None, inner.nul, ragged, lows=inner.lows, highs=inner.highs)
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        finite = column.filter(pc.is_finite(column)) if pa.types.is_floating(kind) else column
        extremes = pc.min_max(finite).as_py()
        values = finite.drop_null().to_numpy(zero_copy_only=False)
        lows, highs = (0 if one is None else int(np.count_nonzero(values == one)) for one in (extremes["min"], extremes["max"]))
        return Survey(rows, nulls, extremes["min"], extremes["max"], None, total=exact_sum(values), lows=lows, highs=highs)
    if not pa.types.is_string(kind):
        return Survey(rows, nulls, texts=None, total=(pc.sum(column).as_py() or 0) * UNIT if pa.types.is_boolean(kind) else 0)
    counts = pc.value_counts(column.drop_null())
    texts = counts.field("values")
    nul = max([len(t) for t in texts.filter(pc.starts_with(texts, _NUL)).to_pylist() if not t.strip(_NUL)], default=0)
    few = dict(zip(texts.to_pylist(), counts.field("counts").to_pylist(), strict=True)) if len(counts) <= ENUM_VALUES else None
    return Survey(rows, nulls, texts=few, nul=nul)


def _merge(a: Survey, b: Survey) -> Survey:
    low, high = (pick((v for v in ends if v is not None), default=None) for pick, ends in ((min, (a.low, b.low)), (max, (a.high, b.high))))
    texts = None
    if a.texts is not None and b.texts is not None and len(a.texts.keys() | b.texts.keys()) <= ENUM_VALUES:
        texts = {k: a.texts.get(k, 0) + b.texts.get(k, 0) for k in sorted(a.texts.keys() | b.texts.keys())}
    return Survey(a.rows + b.rows, a.nulls + b.nulls, low, high, texts, max(a.nul, b.nul), a.ragged or b.ragged, a.total + b.total,
                  sum(s.lows for s in (a, b) if s.low == low), sum(s.highs for s in (a, b) if s.high == high))  # fmt: skip


def normal(column: pa.ChunkedArray | pa.Array) -> pa.Array:
    """A column in one of the types that are stored: integers, float32/64, bool, string, list of these."""
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if isinstance(array, pa.ChunkedArray):  # an empty or oversized column stays chunked
        array = pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], column.type)
    kind = array.type
    if pa.types.is_dictionary(kind):
        return normal(array.cast(kind.value_type))
    if pa.types.is_boolean(kind) or pa.types.is_integer(kind) or pa.types.is_string(kind):
        return array
    if pa.types.is_floating(kind):
        array = array.cast(pa.float32()) if pa.types.is_float16(kind) else array
        return pc.if_else(pc.is_nan(array), pa.scalar(None, array.type), array)
    if pa.types.is_decimal(kind) and kind.precision <= 15:
        return array.cast(pa.float64())
    if pa.types.is_timestamp(kind):
        return pc.replace_substring(array.cast(pa.string()), " ", "T", max_replacements=1)
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind):
        return pa.array([None if v is None else v.hex() for v in array.to_pylist()], pa.string())
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return _normal_list(array)
    if pa.types.is_struct(kind) or pa.types.is_map(kind):
        return as_json(array)
    return array.cast(pa.string())


def _normal_list(array: pa.Array) -> pa.Array:
    inner = array.type.value_type
    if pa.types.is_nested(inner):
        return as_json(array)
    array = array.cast(pa.list_(inner))
    members = normal(array.flatten())
    offsets = np.concatenate([[0], np.cumsum(pc.fill_null(pc.list_value_length(array), 0).to_numpy())]).astype(np.int32)
    mask = array.is_null() if array.null_count else None
    return pa.ListArray.from_arrays(pa.array(offsets), members, mask=mask)


def as_json(array: pa.Array) -> pa.Array:
    """Values that no property type holds, as JSON texts."""
    texts = [None if v is None else json.dumps(v, ensure_ascii=False, default=str) for v in array.to_pylist()]
    return pa.array(texts, pa.string())


# --- how it is stored --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Schema:
    """The class of a layer: how each column is stored. `encode` makes a tile's property table."""

    class_id: str
    name: str
    fields: tuple[Field, ...]

    def to_json(self, values: dict[str, Sequence[str]] | None = None, plain: frozenset[str] = frozenset()) -> dict[str, Any]:
        """The schema as JSON; `values` limits enums to what occurs, `plain` are properties of nothing but ""."""
        enums: dict[str, Any] = {}
        properties: dict[str, Any] = {}
        for f in self.fields:
            value: dict[str, Any] = {"name": f.column} if f.column else {}
            if f.title or f.unit:
                value["description"] = " ".join(filter(None, [f.title, f"[{f.unit}]" if f.unit else ""]))
            kind = f.member if f.kind == "list" else f.kind
            if kind == "number":
                value |= {"type": "SCALAR", "componentType": f.component}
            elif kind == "enum":
                value |= {"type": "ENUM", "enumType": f.property}
                enums[f.property] = self._enum(f, f.values if values is None else values.get(f.property, ()))
            else:
                value["type"] = kind.upper()
            if f.kind == "list":
                value["array"] = True
            if f.property in plain:
                value["default"] = ""
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
            if encoded is not None:
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
                  nulls=surveys[column].nulls > 0)  # fmt: skip
        fields.append(_decide(f, normal(pa.array([], arrow.field(column).type)).type, surveys[column]))
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
            return replace(f, kind="string", no_data=_NUL if f.nulls else None)
        member = _decide(f, kind.value_type, replace(s, texts=None))
        if member.kind == "enum" or member.known:  # booleans never reach this; numbers without a spare value
            return replace(f, kind="string", no_data=_NUL if f.nulls else None)
        spare = [member.no_data] if member.no_data is not None else None
        return replace(f, kind="list", member=member.kind, component=member.component, no_data=spare)
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
        spare = pa.array([f.no_data], column.type)
        column = pc.if_else(column.is_valid(), column, spare[0])
    lengths = pc.list_value_length(column).to_numpy(zero_copy_only=False)
    members = column.flatten()
    if not len(members):
        return None
    inner: Encoded | None = _ENCODERS[f.member](replace(f, kind=f.member, no_data=None), members)
    if inner is None or not inner.values:  # lists of nothing but empty texts: no bytes to store
        return None
    packed, kind = offsets_of(np.concatenate([[0], np.cumsum(lengths)]))
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
