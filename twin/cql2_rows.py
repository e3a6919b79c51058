"""The value of a CQL2 filter over the rows of a table: Arrow arrays of three-valued truths (see `twin.cql2`)."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import shapely
from numpy.typing import NDArray

from twin.errors import BadOption

GEOMETRY = "geometry"
_MICROSECONDS = pa.timestamp("us", tz="UTC")
_OPEN_START, _OPEN_END = -(1 << 62), 1 << 62

COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    "=": pc.equal, "<>": pc.not_equal, "<": pc.less, "<=": pc.less_equal, ">": pc.greater, ">=": pc.greater_equal,
}  # fmt: skip
SPATIAL: dict[str, Callable[[Any, Any], NDArray[np.bool_]]] = {
    "s_intersects": shapely.intersects, "s_equals": shapely.equals, "s_disjoint": shapely.disjoint, "s_touches": shapely.touches,
    "s_within": shapely.within, "s_overlaps": shapely.overlaps, "s_crosses": shapely.crosses, "s_contains": shapely.contains,
}  # fmt: skip
NEAR = {"s_intersects", "s_equals", "s_touches", "s_within", "s_overlaps", "s_crosses", "s_contains"}
"""Predicates that hold only where the boxes meet."""

Interval = tuple[Any, Any]
TEMPORAL: dict[str, Callable[[Interval, Interval], Any]] = {
    "t_after": lambda a, b: _gt(a[0], b[1]),
    "t_before": lambda a, b: _lt(a[1], b[0]),
    "t_contains": lambda a, b: _and(_lt(a[0], b[0]), _gt(a[1], b[1])),
    "t_disjoint": lambda a, b: _or(_lt(a[1], b[0]), _gt(a[0], b[1])),
    "t_during": lambda a, b: _and(_gt(a[0], b[0]), _lt(a[1], b[1])),
    "t_equals": lambda a, b: _and(_eq(a[0], b[0]), _eq(a[1], b[1])),
    "t_finishedby": lambda a, b: _and(_lt(a[0], b[0]), _eq(a[1], b[1])),
    "t_finishes": lambda a, b: _and(_gt(a[0], b[0]), _eq(a[1], b[1])),
    "t_intersects": lambda a, b: pc.invert(_or(_lt(a[1], b[0]), _gt(a[0], b[1]))),
    "t_meets": lambda a, b: _eq(a[1], b[0]),
    "t_metby": lambda a, b: _eq(a[0], b[1]),
    "t_overlappedby": lambda a, b: _and(_and(_gt(a[0], b[0]), _lt(a[0], b[1])), _gt(a[1], b[1])),
    "t_overlaps": lambda a, b: _and(_and(_lt(a[0], b[0]), _gt(a[1], b[0])), _lt(a[1], b[1])),
    "t_startedby": lambda a, b: _and(_eq(a[0], b[0]), _gt(a[1], b[1])),
    "t_starts": lambda a, b: _and(_eq(a[0], b[0]), _lt(a[1], b[1])),
}
ARRAY: dict[str, Callable[[set[Any], set[Any]], bool]] = {
    "a_equals": lambda a, b: a == b, "a_contains": lambda a, b: a >= b, "a_containedby": lambda a, b: a <= b, "a_overlaps": lambda a, b: bool(a & b),
}  # fmt: skip
ARITHMETIC = ("+", "-", "*", "/", "%", "div", "^")
FUNCTIONS = ("casei", "accenti")


def _lt(a: Any, b: Any) -> Any:
    return pc.less(a, b)


def _gt(a: Any, b: Any) -> Any:
    return pc.greater(a, b)


def _eq(a: Any, b: Any) -> Any:
    return pc.equal(a, b)


def _and(a: Any, b: Any) -> Any:
    return pc.and_kleene(a, b)


def _or(a: Any, b: Any) -> Any:
    return pc.or_kleene(a, b)


def kind_of(kind: pa.DataType) -> str:
    """number, text, boolean, instant, array or other: what a column's values are to a filter."""
    if pa.types.is_boolean(kind):
        return "boolean"
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return "number"
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return "text"
    if pa.types.is_date(kind) or pa.types.is_timestamp(kind):
        return "instant"
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return "array"
    return "text" if pa.types.is_dictionary(kind) and pa.types.is_string(kind.value_type) else "other"


def instant(text: str) -> int:
    """Microseconds since 1970 (UTC) of an RFC 3339 date or time."""
    try:
        when = datetime.fromisoformat(text)
    except ValueError as error:
        raise BadOption(f"filter: {text!r} is no RFC 3339 date or time.", "For example 2026-01-01 or 2026-01-01T08:00:00+08:00") from error
    return _microseconds(when)


def _microseconds(when: date) -> int:
    if not isinstance(when, datetime):
        when = datetime(when.year, when.month, when.day)  # noqa: DTZ001  made aware below
    when = when if when.tzinfo else when.replace(tzinfo=UTC)
    return round((when - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() * 1e6)


def geometry(node: dict[str, Any]) -> Any:
    """A literal geometry or box, in WGS 84 longitude/latitude."""
    try:
        if "bbox" in node:
            numbers = [float(v) for v in node["bbox"]]
            west, south, east, north = numbers if len(numbers) == 4 else (*numbers[:2], *numbers[3:5])
            if west > east:  # over the antimeridian (RFC 7946, 5.2)
                return shapely.MultiPolygon([shapely.box(west, south, 180, north), shapely.box(-180, south, east, north)])
            shape = shapely.box(west, south, east, north)
        else:
            shape = shapely.force_2d(shapely.from_geojson(json.dumps(node)))
    except (ValueError, TypeError, shapely.errors.ShapelyError) as error:
        raise BadOption(f"filter: {str(node)[:80]} is no geometry ({error}).") from error
    if not np.isfinite(shapely.get_coordinates(shape)).all() or shape.is_empty:
        raise BadOption(f"filter: {str(node)[:80]} is an empty geometry or has numbers that are not finite.")
    if not shapely.is_valid(shape):
        raise BadOption(f"filter: {shapely.is_valid_reason(shape)} in {str(node)[:80]}.", "Mend the polygon: its rings may not cross.")
    return shape



@dataclass(frozen=True)
class Rows:
    """A filter's value over some rows: Arrow arrays, or scalars for what is the same in all."""

    table: pa.Table
    geometry: NDArray[np.object_] | None
    types: dict[str, pa.DataType]

    def truth(self, node: Any) -> Any:
        """A condition: boolean with nulls for unknown."""
        match node:
            case bool():
                return pa.scalar(node)
            case {"property": str(name)}:
                return self._column(name)
        op, arguments = node["op"].lower(), node["args"]
        if op in ("and", "or"):
            join = _and if op == "and" else _or
            total = self.truth(arguments[0])
            for argument in arguments[1:]:
                total = join(total, self.truth(argument))
            return total
        if op == "not":
            return pc.invert(self.truth(arguments[0]))
        if op in COMPARE:
            return self._compare(op, *arguments)
        if op == "between":
            return _and(self._compare(">=", arguments[0], arguments[1]), self._compare("<=", arguments[0], arguments[2]))
        if op == "in":
            found: Any = pa.scalar(False)
            for member in arguments[1]:
                found = _or(found, self._compare("=", arguments[0], member))
            return found
        if op == "isnull":
            return self._is_null(arguments[0])
        if op == "like":
            return self._like(*arguments)
        if op in SPATIAL:
            return self._spatial(op, *arguments)
        if op in TEMPORAL:
            return TEMPORAL[op](self._interval(arguments[0]), self._interval(arguments[1]))
        return self._arrays(op, *arguments)

    def value(self, node: Any) -> Any:
        """A number, text, boolean or instant (microseconds)."""
        match node:
            case bool() | str():
                return pa.scalar(node)
            case int() | float():
                return pa.scalar(float(node))
            case {"property": str(name)}:
                return self._column(name)
            case {"date": str(text)} | {"timestamp": str(text)}:
                return pa.scalar(instant(text))
        op, arguments = node["op"].lower(), node["args"]
        if op == "casei":
            return pc.utf8_lower(self.value(arguments[0]))
        if op == "accenti":
            return pc.replace_substring_regex(pc.utf8_normalize(self.value(arguments[0]), "NFD"), r"\p{Mn}", "")
        if op in ARITHMETIC:
            return self._arithmetic(op, *(pc.cast(self.value(a), pa.float64()) for a in arguments))
        return self.truth(node)

    def _column(self, name: str) -> Any:
        column = self.table.column(name)
        array = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
        kind = array.type
        if pa.types.is_dictionary(kind):
            return array.cast(kind.value_type)
        if pa.types.is_decimal(kind):
            return array.cast(pa.float64())
        if pa.types.is_floating(kind):
            return pc.if_else(pc.is_nan(array), pa.scalar(None, kind), array)
        if pa.types.is_date(kind) or pa.types.is_timestamp(kind):
            zoned = array.cast(pa.timestamp("us")) if pa.types.is_date(kind) else array.cast(pa.timestamp("us", tz=kind.tz), safe=False)
            return zoned.cast(_MICROSECONDS).cast(pa.int64()) if zoned.type.tz else zoned.cast(pa.int64())
        return array

    def _compare(self, op: str, first: Any, second: Any) -> Any:
        a, b = self.value(first), self.value(second)
        if pa.types.is_string(a.type) != pa.types.is_string(b.type):  # a time held as text
            a, b = (_as_instants(v) if pa.types.is_string(v.type) else v for v in (a, b))
        return COMPARE[op](a, b)

    @staticmethod
    def _arithmetic(op: str, a: Any, b: Any) -> Any:
        if op in ("/", "%", "div"):  # a division by nothing has no value
            b = pc.if_else(pc.equal(b, 0.0), pa.scalar(None, pa.float64()), b)
        match op:
            case "+":
                return pc.add(a, b)
            case "-":
                return pc.subtract(a, b)
            case "*":
                return pc.multiply(a, b)
            case "^":
                return pc.power(a, b)
            case "div":
                return pc.trunc(pc.divide(a, b))
            case "%":
                return pc.subtract(a, pc.multiply(b, pc.trunc(pc.divide(a, b))))
        return pc.divide(a, b)

    def _is_null(self, node: Any) -> Any:
        if node == {"property": GEOMETRY}:
            return pa.array(shapely.is_missing(self._shapes(node)))
        return pc.is_null(self.value(node))

    def _like(self, text: Any, pattern: Any) -> Any:
        return pc.match_like(self.value(text), self.value(pattern).as_py())

    def _shapes(self, node: Any) -> Any:
        if node == {"property": GEOMETRY}:
            if self.geometry is None:
                raise ValueError("this filter reads the geometry")
            return self.geometry
        return geometry(node)

    def _spatial(self, op: str, first: Any, second: Any) -> Any:
        a, b = self._shapes(first), self._shapes(second)
        if not isinstance(b, np.ndarray):
            shapely.prepare(b)
        if not isinstance(a, np.ndarray):
            shapely.prepare(a)
        found = np.asarray(SPATIAL[op](a, b))
        if found.ndim == 0:
            return pa.scalar(bool(found))
        absent = np.zeros(len(self.table), bool)
        for side in (a, b):
            absent |= np.asarray(shapely.is_missing(side))
        return pa.array(found, mask=absent)

    def _interval(self, node: Any) -> Interval:
        if isinstance(node, dict) and "interval" in node:
            first, last = node["interval"]
            return self._end(first, _OPEN_START), self._end(last, _OPEN_END)
        value = self._end(node, _OPEN_START)
        return value, value

    def _end(self, node: Any, opened: int) -> Any:
        if isinstance(node, str):
            return pa.scalar(opened if node in ("..", "") else instant(node))
        value = self.value(node)
        return _as_instants(value) if pa.types.is_string(value.type) else value

    def _arrays(self, op: str, first: Any, second: Any) -> Any:
        sides = [self.table.column(s["property"]).to_pylist() if isinstance(s, dict) else [s] * len(self.table) for s in (first, second)]
        return pa.array([None if a is None or b is None else ARRAY[op](set(a), set(b)) for a, b in zip(*sides, strict=True)], pa.bool_())


def _as_instants(texts: Any) -> Any:
    """Texts as microseconds; what is no RFC 3339 time is null (it is neither before nor after anything)."""
    if isinstance(texts, pa.Scalar):
        return pa.scalar(_or_none(texts.as_py()), pa.int64())
    return pa.array([_or_none(text) for text in texts.to_pylist()], pa.int64())


def _or_none(text: str | None) -> int | None:
    try:
        return None if text is None else instant(text)
    except BadOption:
        return None
