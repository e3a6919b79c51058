"""Fewer triangles for the same surface: edges collapse onto one of their ends while quadrics allow it.

All features of a tile are simplified in one call: vertices are welded within a feature only, so features never touch. A vertex
moves onto a neighbour and nowhere else; so what is left is a subset of the source's vertices, flat parts keep their corners, and
each corner can say whose data (texture coordinates) it carries. How far the result lies from the source is measured
afterwards (`tiling.meshes.distance`); the tolerance here only steers.

Sources: Garland & Heckbert, "Surface simplification using quadric error metrics" (1997), with half-edge collapses and border
planes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tiling.meshes import simplify_kernels as kernels
from tiling.meshes.components import components
from tiling.meshes.normals import WELD

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]


@dataclass(frozen=True)
class Simplified:
    """What is left of some triangles.

    Attributes:
        triangles: (T, 3) rows of the positions that were given.
        source: (T,) the triangle that each of them comes from (its feature, material).
        corner: (T, 3) the source corner (3 · triangle + 0, 1 or 2) whose data each corner carries; it lies at the same place.
    """

    triangles: I64
    source: I64
    corner: I64


def simplify(positions: F64, triangles: I64, owner: I64, label: I64, tolerance: F64, pinned: NDArray[np.bool_] | None = None) -> Simplified:
    """Simplify every feature to about its tolerance. The result depends on the arguments alone, not on the machine's load.

    Args:
        positions: (V, 3) finite, metres.
        triangles: (T, 3) rows of `positions`.
        owner: (T,) feature of each triangle, 0 … F − 1.
        label: (T, 3) of what each corner carries (material, texture coordinates): corners at one place with one label carry the same.
            A vertex between two labels only moves along the line between them.
        tolerance: (F,) metres; 0 leaves a feature as it is.
        pinned: (F,) features whose open borders stay as they are, because the rest of them is drawn elsewhere.
    """
    place, at, feature = _weld(positions, triangles, owner)
    good = np.flatnonzero((place != place[:, [1, 2, 0]]).all(axis=1))
    good = good[~_specks(place[good], owner[good], at, tolerance)]
    face = place[good]
    corner = 3 * good[:, None] + np.arange(3)
    borders = _borders(face, label[good])
    quadric = kernels.quadrics(at, face, *borders)
    anchored = np.zeros(len(at), bool)
    if pinned is not None:
        ends = np.concatenate(borders[:2])
        anchored[ends[pinned[feature[ends]]]] = True
    limit = tolerance[feature] ** 2
    left = kernels.collapse(at, face, corner, label.ravel(), quadric, limit, anchored, np.searchsorted(feature, np.arange(len(tolerance) + 1)))
    source, corner = good[left], corner[left]
    return Simplified(triangles.reshape(-1)[corner], source, corner)


def _weld(positions: F64, triangles: I64, owner: I64) -> tuple[I64, F64, I64]:
    """((T, 3) place of each corner, (P, 3) the first position at each place, (P,) its feature); a vertex belongs to one feature."""
    owners = np.full(len(positions), -1, np.int64)
    owners[triangles] = owner[:, None]
    used = np.flatnonzero(owners >= 0)
    cell = np.rint(positions[used] / WELD).astype(np.int64)  # a grid of its own: what else is simplified with a feature does not matter
    order = np.lexsort((cell[:, 2], cell[:, 1], cell[:, 0], owners[used]))
    keys = np.column_stack([owners[used[order]], cell[order]])
    fresh = np.ones(len(order), bool)
    fresh[1:] = (keys[1:] != keys[:-1]).any(axis=1)
    place = np.empty(len(positions), np.int64)
    place[used[order]] = np.cumsum(fresh) - 1
    first = used[order[fresh]]
    return place[triangles], positions[first], owners[first]


def _specks(face: I64, owner: I64, at: F64, tolerance: F64) -> NDArray[np.bool_]:
    """(T,) triangles of loose pieces no larger than the tolerance, in features that have a larger piece too."""
    if not len(face):
        return np.zeros(0, bool)
    a, b = face[:, [0, 0]].ravel(), face[:, 1:].ravel()
    piece = components(len(at), a, b)[face[:, 0]]
    count = int(piece.max()) + 1
    low, high = np.full((count, 3), np.inf), np.full((count, 3), -np.inf)
    kernels.extremes(at, face, piece, low, high)
    size = np.linalg.norm(np.maximum(high - low, 0), axis=1)[piece]
    largest = np.zeros(len(tolerance))
    np.maximum.at(largest, owner, size)
    return np.asarray((size <= tolerance[owner]) & (size < largest[owner]), bool)


def _borders(face: I64, label: I64) -> tuple[I64, I64, I64]:
    """(one end, other end, triangle) of every side that no other triangle shares, or that separates labels."""
    ends = np.concatenate([face[:, [0, 1]], face[:, [1, 2]], face[:, [2, 0]]])
    carried = np.concatenate([label[:, [0, 1]], label[:, [1, 2]], label[:, [2, 0]]])
    swap = ends[:, 0] > ends[:, 1]
    ends[swap], carried[swap] = ends[swap, ::-1], carried[swap, ::-1]
    key = ends[:, 0] * (int(ends.max(initial=0)) + 1) + ends[:, 1]
    order = np.argsort(key, kind="stable")
    key, ends, carried = key[order], ends[order], carried[order]
    starts = np.flatnonzero(np.concatenate([[True], key[1:] != key[:-1]])) if len(key) else np.zeros(0, np.int64)
    size = np.diff([*starts, len(key)])
    mixed = (np.minimum.reduceat(carried, starts) != np.maximum.reduceat(carried, starts)).any(axis=1) if len(key) else np.zeros(0, bool)
    border = np.flatnonzero(np.repeat((size == 1) | mixed, size))
    return ends[border, 0], ends[border, 1], np.tile(np.arange(len(face)), 3)[order[border]]
