"""Corners of a mesh made one where they lie at one place, of meshes of tens of millions of triangles, too."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]


def weld(points: F64) -> tuple[F64, I64]:
    """The different rows of (N, 3) points in ascending order, and (N,) which of them each is.

    As `np.unique` along rows gives them, which compares rows as a whole: that takes three times as long and several copies of all.
    """
    order = np.lexsort((points[:, 2], points[:, 1], points[:, 0]))
    new = np.zeros(len(points), bool)
    new[:1] = True
    for axis in range(3):
        column = points[:, axis][order]
        new[1:] |= column[1:] != column[:-1]
    found = points[order[new]]
    number = np.empty(len(points), np.int64)
    number[order] = np.cumsum(new) - 1
    return found, number


def used(faces: I64, count: int) -> tuple[I64, I64]:
    """(the vertices of `count` that (T, 3) faces have, ascending; (T, 3) the faces by the places of these)."""
    marked = np.zeros(count, bool)
    marked[faces] = True
    place = np.cumsum(marked) - 1
    return np.flatnonzero(marked), place[faces]
