"""Instances that are no objects (a person, a cost, a task's time, a table) as JSON: their attributes that are given."""

from __future__ import annotations

from typing import Any

import orjson

DEEPEST = 8
"""Levels of instances below one that are told."""


def said(target: Any) -> str:
    """What an object states that is more than its name, or has none (a table, a time series, a person), as JSON."""
    return orjson.dumps(stated(target, 0), default=str).decode()


def stated(value: Any, depth: int, deepest: int = DEEPEST) -> Any:
    """A value, a list, or an instance as its attributes that are given; of what is further down than `deepest` the class."""
    if isinstance(value, tuple):
        return [stated(part, depth, deepest) for part in value]
    if not hasattr(value, "is_a"):
        return value
    if not value.id():  # a value of a select
        return stated(value.get_argument(0), depth, deepest)
    if depth > deepest:
        return value.is_a()
    given = {value.attribute_name(i): value.get_argument(i) for i in range(len(value))}
    return {name: stated(one, depth + 1, deepest) for name, one in given.items() if one is not None}
