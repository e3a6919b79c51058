"""Values of properties and quantities: one, the sets that they stand in, and the long tables of all.

A value knows nothing of its set and its object, so that one that is written for every element again is one value.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import orjson
import pyarrow as pa

from ingest_bim.ifc.folded import Folded
from ingest_bim.ifc.units import NONE, Unit


class Value(NamedTuple):
    """One property or quantity: its name, text, number and unit in SI, and as the file writes it.

    A tuple: it is made three times as fast as a frozen dataclass, and a model has a hundred thousand.
    """

    name: str
    text: str | None
    number: float | None
    unit: str
    original: float | None
    original_unit: str
    type: str
    plain: Any


@dataclass
class ValueSet:
    """What one property set or quantity set states, under the set's name. Many objects share one."""

    name: str
    values: list[Value]

    _json: str = field(default="", compare=False)

    def members(self) -> dict[str, Any]:
        """The values by name as JSON has them; of a name that is there twice the last."""
        return {value.name: value.plain for value in self.values}

    def json(self) -> str:
        """`"set":{"name":value,…}`."""
        if not self._json:
            self._json = _dumped({self.name: self.members()})[1:-1]
        return self._json


Given = list[tuple[ValueSet, str]]
"""The sets of one object, and whether its "occurrence" or its "type" states them."""


def values_of(given: Given | None) -> Iterator[Value]:
    """All values of some sets."""
    return (value for one, _ in given or () for value in one.values)


def value_of(name: str, raw: Any, kind: str, unit: Unit) -> Value:
    """A raw value in SI. Booleans and logicals keep their meaning; a logical UNKNOWN is a text."""
    if isinstance(raw, bool):
        return Value(name, "true" if raw else "false", None, "", None, "", kind, raw)
    if isinstance(raw, (int, float)):
        if not math.isfinite(raw):
            return Value(name, str(raw), None, "", None, "", kind, str(raw))
        if unit is NONE or (unit.factor == 1.0 and unit.offset == 0.0):
            number: float = float(raw)
            shown: Any = raw
        else:
            number = raw * unit.factor + unit.offset
            shown = number
        plain = {"value": shown, "unit": unit.symbol} if unit.symbol else shown
        # as Value(…) does, in half of its time: nearly all of a hundred thousand values are numbers
        return tuple.__new__(Value, (name, repr(raw), number, unit.symbol, float(raw), unit.original, kind, plain))
    if isinstance(raw, (tuple, list)):
        listed = orjson.dumps(list(raw), default=str).decode()
        return Value(name, listed, None, "", None, "", kind, list(raw))
    text = None if raw is None else str(raw)
    return Value(name, text, None, "", None, "", kind, text)


def as_json(given: Given | None) -> str | None:
    """{set: {name: value or {"value", "unit"}}} as JSON text: what `/items/{id}` nests."""
    if not given:
        return None
    if len(given) == 1 or len({one.name for one, _ in given}) == len(given):
        return "{" + ",".join([one.json() for one, _ in given]) + "}"
    sets: dict[str, dict[str, Any]] = {}
    for one, _ in given:
        sets.setdefault(one.name, {}).update(one.members())
    return _dumped(sets)


def _dumped(value: Any) -> str:
    return orjson.dumps(value, default=str, option=orjson.OPT_PASSTHROUGH_SUBCLASS).decode()


def column(values: list[Any], kind: pa.DataType) -> pa.Array:
    """An Arrow column; what a damaged file has in the place of a text is written as text."""
    try:
        return pa.array(values, kind)
    except pa.ArrowTypeError:
        if kind != pa.string():
            raise
        return pa.array([value if value is None or isinstance(value, str) else str(value) for value in values], kind)


def long_table(name: str, by_step: dict[int, Given], ids: dict[int, str]) -> Folded:
    """`psets` or `quantities`: id, set, name, value text, SI number and unit, original number and unit, type, source.

    Columns are made of each value once, to be repeated: a model has a hundred thousand rows of some thousand values.
    """
    first, second = ("pset", "property") if name == "psets" else ("qset", "quantity")
    given = list(chain.from_iterable(by_step.values()))
    sets = {id(one): one for one, _ in given}
    members = list(chain.from_iterable([one.values for one in sets.values()]))
    # by identity: there are many times more of them than of different ones
    names = list(map(id, members))
    different = dict(zip(names, members, strict=True))
    number = dict(zip(different, range(len(different)), strict=True))
    flat = np.fromiter(map(number.__getitem__, names), np.int64, len(names))
    sizes = np.array([len(one.values) for one in sets.values()], np.int64)
    place = dict(zip(sets, range(len(sets)), strict=True))
    which = np.fromiter((place[id(one)] for one, _ in given), np.int64, len(given))
    lengths = sizes[which]
    ends = np.cumsum(lengths)
    counts = np.diff(np.concatenate([[0], ends])[np.cumsum([0, *map(len, by_step.values())])])
    # the rows of a set are where its members begin, and those that follow
    rows = flat[np.repeat((np.cumsum(sizes) - sizes)[which] - (ends - lengths), lengths) + np.arange(int(lengths.sum()))]
    labels = pa.array([one.name for one, _ in given], pa.string())
    sources = pa.array([source for _, source in given], pa.string())
    columns = value_columns(second, list(different.values()))
    return Folded(name, pa.array([ids[step] for step in by_step], pa.string()), counts, (first, labels), sources, lengths, columns, rows)


def value_columns(first: str, values: Sequence[Value]) -> dict[str, pa.Array]:
    """A column of each field, the `first` of them the name."""
    names = (first, "value", "number", "unit", "original", "original_unit", "type")  # `Value`'s fields, without the last
    columns = list(zip(*values, strict=True)) or [()] * len(names)
    return {name: pa.array(columns[i], pa.float64() if name in ("number", "original") else pa.string()) for i, name in enumerate(names)}
