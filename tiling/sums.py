"""Sums that do not depend on the order of adding: exact integers in units of 2^-20.

The statistics of a layer are kept up to date from the rows that came and went, and must be those of a full build bit by bit;
floating-point sums would tell the history.
"""

from __future__ import annotations

from typing import Any

import numpy as np

UNIT = 1 << 20
"""Sums are counted in units of 1 / UNIT; finer digits are rounded off, value by value."""


def exact_sum(values: Any) -> int:
    """Sum of finite numbers (N,) of any integer or float type; the same for any order and any grouping of the values."""
    if values.dtype.kind == "f":
        wide = np.asarray(values, np.float64)
        large = np.abs(wide) >= 2.0**32  # from here on a float64 has no digits below 2^-20
        return _sum64(np.rint(wide[~large] * UNIT).astype(np.int64)) + sum(int(v) * UNIT + int((v - int(v)) * UNIT) for v in wide[large].tolist())
    return _sum64(values.astype(np.uint64 if values.dtype.kind == "u" else np.int64)) * UNIT


def ratio(total: int, count: int) -> float | None:
    """`total` units divided by `count`, None beyond the range of float64."""
    try:
        return total / (UNIT * count)
    except OverflowError:
        return None


def _sum64(values: Any) -> int:
    """Exact sum of 64-bit integers, by halves."""
    low = values.dtype.type(0xFFFFFFFF)
    return (int((values >> values.dtype.type(32)).sum()) << 32) + int((values & low).sum())
