"""Property tables: the structure, the binary columns, and their values (3D Metadata 1.0, Binary Table Format).

Used for subtrees (tile and content metadata) and for EXT_structural_metadata in glTF.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from .issues import Where
from .metadata_model import COMPONENT_DTYPES, NUMERIC_TYPES, Property, Schema
from .schema import check_modifiers
from .shape import INDEX, Anything, Choice, List, Map, Num, Obj, Text
from .values import in_range, transform

_OFFSET_TYPE = Choice(("UINT8", "UINT16", "UINT32", "UINT64"))
_COLUMN = Obj(
    required={"values": INDEX},
    optional={
        "arrayOffsets": INDEX,
        "stringOffsets": INDEX,
        "arrayOffsetType": _OFFSET_TYPE,
        "stringOffsetType": _OFFSET_TYPE,
        **{name: Anything() for name in ("offset", "scale", "min", "max")},
    },
)
TABLE = Obj(
    required={"class": Text(1), "count": Num(low=1, high=2**32 - 1, whole=True)},
    optional={"name": Text(1), "properties": Map(_COLUMN, least=1)},
)
TABLES = List(TABLE, least=1)


@dataclass(frozen=True)
class PropertyTable:
    """A decoded table.

    ``columns`` are numpy arrays (numbers, booleans; first axis is the row) or lists
    (strings, enum names, variable-length arrays); None stands for noData in lists. A property without
    a column shows its class default or None. Numbers are transformed (normalised, scaled, offset).
    """

    name: str
    class_id: str
    count: int
    columns: dict[str, Any]
    semantics: dict[str, str]


Views = Sequence[bytes | memoryview | None]


def check_table(
    value: dict[str, Any], schema: Schema, views: Views, starts: Sequence[int], where: Where
) -> PropertyTable | None:
    """Check one structurally valid table and decode it; None when its class is unknown.

    ``views``: the bytes of every buffer view (None: unreadable, reported before); ``starts``: their byte
    offsets, for the alignment rule.
    """
    properties = schema.classes.get(value["class"])
    if properties is None:
        (where / "class").error("METADATA_CLASS_UNKNOWN", f"the class {value['class']!r} does not exist")
        return None
    count = int(value["count"])
    columns: dict[str, Any] = {}
    given = value.get("properties", {})
    for name, column in given.items():
        at = where / "properties" / name
        prop = properties.get(name)
        if prop is None:
            at.error("METADATA_PROPERTY_UNKNOWN", f"the class {value['class']!r} has no property {name!r}")
        elif _check_column(prop, column, views, at):
            decoded = _Column(prop, column, views, starts, count, at).decode()
            if decoded is not None:
                columns[name] = decoded
    for name, prop in properties.items():
        if name not in given:
            if prop.required:
                where.error("METADATA_REQUIRED_MISSING", f"the required property {name!r} is missing")
            # Without any column, nothing bounds the count that a broken file may claim.
            columns[name] = [prop.given.get("default")] * count if columns or count <= 1_000_000 else None
    semantics = {p.semantic: n for n, p in properties.items() if p.semantic and n in given}
    return PropertyTable(value.get("name", ""), value["class"], count, columns, semantics)


def _check_column(prop: Property, column: dict[str, Any], views: Views, where: Where) -> bool:
    if not prop.sound:
        return False
    good = check_modifiers(prop, {k: column[k] for k in ("offset", "scale", "min", "max") if k in column}, where)
    for name, needed in (("arrayOffsets", prop.variable), ("stringOffsets", prop.type == "STRING")):
        if needed and name not in column:
            where.error("METADATA_OFFSETS_MISSING", f"this property needs {name}")
            good = False
        if not needed and name in column:
            where.error("METADATA_PROPERTY_INVALID", f"{name} does not belong to this property's type")
            good = False
    for name in ("values", "arrayOffsets", "stringOffsets"):
        if name in column and column[name] >= len(views):
            (where / name).error("JSON_RANGE", f"the buffer view {column[name]} does not exist")
            good = False
    return good


@dataclass(frozen=True)
class _Column:
    """One column being decoded: offsets first, then the values they ask for."""

    prop: Property
    given: dict[str, Any]
    views: Views
    starts: Sequence[int]
    rows: int
    where: Where

    def decode(self) -> Any | None:
        """The column's values, or None with findings."""
        items = self.rows * (self.prop.count or 1)
        splits = None
        if self.prop.variable:
            splits = self._offsets("arrayOffsets", self.rows)
            if splits is None:
                return None
            items = int(splits[-1])
        flat = self._values(items)
        if flat is None:
            return None
        if splits is not None:
            return [self._null(flat[a:b]) for a, b in pairwise(splits.tolist())]
        if self.prop.array:
            per = self.prop.count or 1
            if isinstance(flat, list):
                return [self._null(flat[i * per : (i + 1) * per]) for i in range(self.rows)]
            return flat.reshape(self.rows, per, *flat.shape[1:])
        no_data = self.prop.given.get("noData")
        if not isinstance(flat, list) or no_data is None:
            return flat
        default = self.prop.given.get("default")
        return [default if v == no_data else v for v in flat]

    def _null(self, value: Any) -> Any:
        """noData, and where given the default in its place."""
        no_data = self.prop.given.get("noData")
        plain = value.tolist() if isinstance(value, np.ndarray) else value
        if no_data is not None and plain == no_data:
            return self.prop.given.get("default")
        return value

    def _view(self, name: str, dtype: np.dtype[Any] | None, count: int | None) -> np.ndarray[Any, Any] | None:
        """A buffer view as numbers; its length must be exactly what the count asks for."""
        index = int(self.given[name])
        data = self.views[index]
        if data is None:
            return None
        size = dtype.itemsize if dtype is not None else 1
        at = self.where / name
        if count is not None and len(data) != count * size:
            at.error(
                "METADATA_TABLE_LENGTH",
                f"buffer view {index} has {len(data)} bytes; {count} values of {size} bytes need {count * size}",
            )
            return None
        if self.starts[index] % size:
            at.error("METADATA_ALIGNMENT", f"buffer view {index} starts at byte {self.starts[index]}, not at k*{size}")
        return np.frombuffer(data, dtype=dtype or np.uint8)

    def _offsets(self, name: str, count: int) -> np.ndarray[Any, Any] | None:
        """``count + 1`` ascending offsets, starting at 0, as int64."""
        dtype = COMPONENT_DTYPES[self.given.get(name[:-1] + "Type", "UINT32")]
        raw = self._view(name, dtype, count + 1)
        if raw is None:
            return None
        offsets = raw.astype(np.int64)
        if offsets[0] != 0 or np.any(np.diff(offsets) < 0):
            (self.where / name).error("METADATA_OFFSETS_INVALID", "must start at 0 and never decrease")
            return None
        return offsets

    def _values(self, items: int) -> Any | None:
        prop = self.prop
        if prop.type == "STRING":
            return self._strings(items)
        if prop.type == "BOOLEAN":
            raw = self._view("values", None, (items + 7) // 8)
            return None if raw is None else np.unpackbits(raw, count=items, bitorder="little").astype(bool)
        raw = self._view("values", COMPONENT_DTYPES[str(prop.storage)], items * prop.components)
        if raw is None:
            return None
        if prop.enum is not None:
            return self._enums(raw)
        return self._numbers(raw.reshape(-1, prop.components) if prop.components > 1 else raw)

    def _strings(self, items: int) -> list[str] | None:
        offsets = self._offsets("stringOffsets", items)
        if offsets is None:
            return None
        raw = self._view("values", None, int(offsets[-1]))
        if raw is None:
            return None
        data = raw.tobytes()
        try:
            return [data[a:b].decode() for a, b in pairwise(offsets.tolist())]
        except UnicodeDecodeError as error:
            (self.where / "values").error("METADATA_STRING_INVALID", f"is not UTF-8: {error}")
            return None

    def _enums(self, raw: np.ndarray[Any, Any]) -> list[str | None]:
        assert self.prop.enum is not None
        names = {number: name for name, number in self.prop.enum.values.items()}
        unknown = sorted(set(np.unique(raw).tolist()) - names.keys())
        if unknown:
            (self.where / "values").error("METADATA_ENUM_UNKNOWN", f"{unknown[:5]} are not values of the enum")
        return [names.get(number) for number in raw.tolist()]

    def _numbers(self, raw: np.ndarray[Any, Any]) -> np.ndarray[Any, Any] | None:
        """Transform, and hold against the class's allowed and the table's stated min and max."""
        fixed = not self.prop.variable
        shaped = raw.reshape(self.rows, -1, *raw.shape[1:]) if fixed and self.prop.array else raw
        real = transform(self.prop, shaped, self.given) if fixed else transform(self.prop, raw)
        if fixed:
            check_bounds(self.prop, shaped, real, self.given, self.where / "values")
        return real.reshape(raw.shape)


def check_bounds(
    prop: Property, raw: np.ndarray[Any, Any], real: np.ndarray[Any, Any], given: dict[str, Any], where: Where
) -> None:
    """Hold all values of a property (rows first) against min and max.

    The class's min and max bound what is allowed; those of a table, texture or attribute must be the
    extremes that really occur (EXT_structural_metadata, "minimum value present in the property values").
    ``raw`` are the stored numbers, to leave noData out; NaN is refused for numbers with bounds.
    """
    if prop.type not in NUMERIC_TYPES:
        return
    keep = np.ones(len(raw), dtype=bool)
    if "noData" in prop.given:
        same = raw == np.asarray(prop.given["noData"])
        keep = ~same.reshape(len(raw), -1).all(axis=1)
    kept = real[keep]
    if not len(kept):
        return
    own = {name: given[name] for name in ("min", "max") if name in given}
    for name, written in own.items():
        extreme = kept.min(axis=0) if name == "min" else kept.max(axis=0)
        stated = np.asarray(written, dtype=np.float64)
        if not np.allclose(extreme, stated, rtol=1e-6, atol=1e-6 if prop.real else 0):
            code = "METADATA_MIN_MAX_MISMATCH"
            if (np.any(extreme < stated - 1e-6) if name == "min" else np.any(extreme > stated + 1e-6)):
                code = "METADATA_VALUE_RANGE"
            where.error(code, f"the stated {name} is {written}, the values' {name} is {extreme.tolist()}")
    in_range(prop, kept, where)


def column_views_used(tables: Sequence[dict[str, Any]]) -> set[int]:
    """The buffer views that the columns of structurally valid tables name."""
    names = ("values", "arrayOffsets", "stringOffsets")
    columns = [c for t in tables for c in t.get("properties", {}).values()]
    return {int(c[n]) for c in columns for n in names if n in c}


def property_table_rows(table: PropertyTable) -> list[dict[str, Any]]:
    """The table as one dictionary a row (for people and tests; columns are the fast way)."""
    columns = {name: column for name, column in table.columns.items() if column is not None}
    return [{name: column[i] for name, column in columns.items()} for i in range(table.count)]
