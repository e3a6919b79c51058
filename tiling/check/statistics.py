"""Statistics of a tileset's metadata (3D Tiles 1.1): names of the schema, values of its types, and figures that agree with each other.

A client styles by them before it has loaded a tile, so a wrong figure is a wrong map. What can be told without the tiles is
told here; that they are those of the source is for the tests of whoever wrote them.
"""

from __future__ import annotations

import math
from typing import Any

from .issues import Where
from .metadata_model import NUMERIC_TYPES, Property, Schema
from .shape import kind
from .values import check_real, check_value

_MOMENTS = ("mean", "median", "standardDeviation", "variance", "sum")


def check_statistics(value: dict[str, Any], schema: Schema | None, where: Where, *, given: bool) -> None:
    """Check `statistics`; `given`: does the tileset name a schema (even a broken one)?"""
    classes = value.get("classes")
    if not isinstance(classes, dict):
        return
    if schema is None:
        if not given:
            where.error("METADATA_SCHEMA_MISSING", "has statistics, but there is no schema")
        return
    for class_id, item in classes.items():
        at = where / class_id
        if class_id not in schema.classes:
            at.error("METADATA_CLASS_UNKNOWN", f"the class {class_id!r} does not exist")
            continue
        properties = item.get("properties") if isinstance(item, dict) else None
        count = item.get("count") if isinstance(item, dict) else None
        for name, statistics in properties.items() if isinstance(properties, dict) else ():
            prop, here = schema.classes[class_id].get(name), at / "properties" / name
            if prop is None:
                here.error("METADATA_PROPERTY_UNKNOWN", f"{class_id!r} has no property {name!r}")
            elif prop.sound and isinstance(statistics, dict):
                _check_property(prop, statistics, count if isinstance(count, int) else None, here)


def _check_property(prop: Property, statistics: dict[str, Any], count: int | None, where: Where) -> None:
    if prop.type in NUMERIC_TYPES:
        if not prop.variable:
            checked = [(check_real if prop.real else check_value)(prop, statistics[n], where / n) for n in ("min", "max") if n in statistics]
            if all(checked) and prop.type == "SCALAR" and not prop.array:
                _check_figures(statistics, count, where)
    else:
        for name in {"min", "max", *_MOMENTS} & statistics.keys():
            (where / name).error("STATISTICS_INVALID", f"a property of the type {prop.type} has no {name}")
    if "occurrences" in statistics:
        _check_occurrences(prop, statistics["occurrences"], count, where / "occurrences")


def _check_figures(statistics: dict[str, Any], count: int | None, where: Where) -> None:
    """Of a scalar: numbers, the middle ones between the extremes, a sum that its mean can have."""
    for name in _MOMENTS:
        if name in statistics and (isinstance(statistics[name], bool) or not isinstance(statistics[name], int | float)):
            (where / name).error("JSON_TYPE", f"must be a number, found {kind(statistics[name])}")
            return
    low, high = statistics.get("min", -math.inf), statistics.get("max", math.inf)
    slack = 1e-6 * max(1.0, *(abs(v) for v in (low, high) if math.isfinite(v)), 1.0)
    if low > high:
        (where / "min").error("STATISTICS_INVALID", f"the minimum {low} is greater than the maximum {high}")
    for name in {"mean", "median"} & statistics.keys():
        if not low - slack <= statistics[name] <= high + slack:
            (where / name).error("STATISTICS_INVALID", f"{statistics[name]} does not lie between {low} and {high}")
    for name in {"standardDeviation", "variance"} & statistics.keys():
        if statistics[name] < 0:
            (where / name).error("STATISTICS_INVALID", f"is {statistics[name]}, must be >= 0")
    mean, total = statistics.get("mean"), statistics.get("sum")
    if mean and total is not None and count is not None and not -1e-6 <= total / mean <= count * (1 + 1e-6):
        (where / "sum").error("STATISTICS_INVALID", f"{total} is not the sum of at most {count} values of mean {mean}")


def _check_occurrences(prop: Property, value: Any, count: int | None, where: Where) -> None:
    if prop.enum is None:
        where.error("STATISTICS_INVALID", "only an enum has occurrences")
        return
    if not isinstance(value, dict):
        where.error("JSON_TYPE", f"must be an object, found {kind(value)}")
        return
    numbers = []
    for name, times in value.items():
        if name not in prop.enum.values:
            (where / name).error("METADATA_ENUM_UNKNOWN", f"{name!r} is not a value of the enum")
        if isinstance(times, bool) or not isinstance(times, int) or times < 1:
            (where / name).error("STATISTICS_INVALID", f"is {times!r}, must be a whole number of at least 1")
        else:
            numbers.append(times)
    if count is not None and not prop.array and sum(numbers) > count:
        where.error("STATISTICS_INVALID", f"there are {sum(numbers)} occurrences, but {count} entities")
