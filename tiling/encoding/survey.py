"""What a layer's columns hold, learned batch by batch: what `tiling.encoding.metadata` must know before it decides how each is stored."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tiling.sums import UNIT, exact_sum

ENUM_VALUES = 64
_NUL = "\0"
_GLANCE = 65_536
"""Rows that tell at once whether a column of texts has few values."""


@dataclass(frozen=True, slots=True)
class Survey:
    r"""What must be known of a column over the whole layer.

    `low`/`high`: extremes of the numbers (finite; of the members, for lists), and how often they occur (`lows`, `highs`); `texts`: counts of distinct texts, None
    above `ENUM_VALUES`; `nul`: the longest run of "\\0" that is a whole text; `ragged`: lists with members that are null or "" occur;
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
        ragged = inner.nulls > 0 or (pa.types.is_string(kind.value_type) and pc.min(pc.binary_length(column.flatten())).as_py() == 0)
        return Survey(rows, nulls, inner.low, inner.high, None, inner.nul, ragged, lows=inner.lows, highs=inner.highs)
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        finite = column.filter(pc.is_finite(column)) if pa.types.is_floating(kind) else column
        extremes = pc.min_max(finite).as_py()
        values = finite.drop_null().to_numpy(zero_copy_only=False)
        lows, highs = (0 if one is None else int(np.count_nonzero(values == one)) for one in (extremes["min"], extremes["max"]))
        return Survey(rows, nulls, extremes["min"], extremes["max"], None, total=exact_sum(values), lows=lows, highs=highs)
    if not pa.types.is_string(kind):
        return Survey(rows, nulls, texts=None, total=(pc.sum(column).as_py() or 0) * UNIT if pa.types.is_boolean(kind) else 0)
    if pc.count_distinct(column[:_GLANCE]).as_py() > ENUM_VALUES:  # ids and names: a table of all that are different would weigh more than they do
        return Survey(rows, nulls, texts=None, nul=_longest_nul(column.drop_null()))
    counts = pc.value_counts(column.drop_null())
    texts = counts.field("values")
    few = dict(zip(texts.to_pylist(), counts.field("counts").to_pylist(), strict=True)) if len(counts) <= ENUM_VALUES else None
    return Survey(rows, nulls, texts=few, nul=_longest_nul(texts))


def _longest_nul(texts: pa.Array) -> int:
    return max([len(t) for t in texts.filter(pc.starts_with(texts, _NUL)).to_pylist() if not t.strip(_NUL)], default=0)


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
