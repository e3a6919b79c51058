"""Shapes that repeat within a layer: which are worth drawing from one prototype, and what the layer weighs if they are.

An element's weight in the plan is what it costs drawn out. A model of a few large parts that repeat (windows of a catalogue, bolts,
trees) weighs far less as one tile, where each is held once (`tiling.meshes.instancing`); a tree of coarser forms of it would be larger than the model.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiling.meshes.shapes import Shapes

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
SAVES = 16_384
"""Bytes that a prototype must save in a tile, before compression."""
DRAWN = 4
"""Times what a tile may hold that one tile may draw, if what it holds repeats: a graphics card draws that many triangles from few bytes."""
_BYTES = 24
"""Of a triangle that is drawn out: about a vertex (position, normal, feature id) and its three indices."""
_PLACED = 48
"""Of an instance: translation, rotation, scale, feature id."""
_SHEAR = 1e-5
"""Cosine between axes of an instance from which on it is drawn out: the corners of a part of ten metres are then off by a tenth of a millimetre."""


def worth(count: Any, triangles: Any) -> Any:
    """Whether it saves enough to hold a shape once and place it `count` times."""
    return (count - 1) * triangles * _BYTES - count * _PLACED >= SAVES


def weight(shapes: Shapes, instances: I64) -> int:
    """Estimated vertices (two a triangle) of a tile that draws these instances, with those shapes held once that are worth it."""
    triangles = shapes.triangles_of(instances)
    t = shapes.store["transform"][instances]
    rows = np.flatnonzero(~(mirrored(t) | _sheared(t)) & (triangles > 0))
    _, first, count = np.unique(shapes.store["mark"][shapes.store["prototype"][instances[rows]]], return_index=True, return_counts=True)
    own = triangles[rows[first]]
    return 2 * int(triangles.sum() - ((count - 1) * own)[worth(count, own)].sum())


def mirrored(t: F64) -> NDArray[np.bool_]:
    """(K,) whether transforms (K, 4, 4) turn right hands into left ones: the winding of triangles cannot change from instance to instance."""
    a, b, c, d, e, f, g, h, k = t[:, :3, :3].reshape(-1, 9).T
    return np.asarray(a * (e * k - f * h) - b * (d * k - f * g) + c * (d * h - e * g) < 0)


def _sheared(t: F64) -> NDArray[np.bool_]:
    """(K,) whether transforms are more than a rotation and a scale of each axis (or nothing but zeros)."""
    size = np.linalg.norm(t[:, :3, :3], axis=1)
    axes = t[:, :3, :3] / np.where(size > 0, size, 1.0)[:, None]
    x, y, z = (axes[:, :, k] for k in range(3))
    return np.asarray((np.abs([(x * y).sum(1), (y * z).sum(1), (z * x).sum(1)]) > _SHEAR).any(axis=0) | (size <= 0).any(axis=1))
