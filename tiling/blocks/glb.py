"""Solids in a tile's frame as primitives of a glb."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tiling.blocks import solids
from tiling.encoding.drawables import LATTICE, Ready

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
SPLIT = 8_000.0
"""Metres: a tile that is wider than float32 can hold is cut into primitives of this size."""


def primitives(shape: solids.Solids, first: int, last: int, feature: I64, low: F64, high: F64) -> list[Ready]:
    """The solids `first` to before `last`, one primitive, or for a tile wider than float32 can hold, one for each quarter of it."""
    number = np.zeros(last, np.int64)
    number[first:] = feature
    if (high - low).max() < 2 * SPLIT:
        return [_primitive(shape, np.arange(first, last), number, low, high)]
    cell = np.floor(shape.base[shape.start[first:last], :2] / SPLIT).astype(np.int64)
    _, quarter = np.unique(cell, axis=0, return_inverse=True)
    result = []
    for q in range(int(quarter.max()) + 1):
        pick = first + np.flatnonzero(quarter.ravel() == q)
        ends = [shape.extremes(int(p), int(p) + 1) for p in pick]
        result.append(_primitive(shape, pick, number, np.min([e[0] for e in ends], axis=0), np.max([e[1] for e in ends], axis=0)))
    return result


def _primitive(shape: solids.Solids, pick: I64, number: I64, low: F64, high: F64) -> Ready:
    scale = float(2**LATTICE)
    middle = (low + high) / 2
    origin = np.floor(np.array([middle[0], middle[2], -middle[1]]) * scale) / scale
    made = shape.faces(pick, number, origin, scale)
    return Ready(origin, made.lattice, made.normal, made.feature, made.triangles)
