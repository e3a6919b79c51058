"""Polygons with holes → triangles: ear clipping, checked by area; prisms over them, and flat faces in space."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any

import mapbox_earcut
import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]
I32 = NDArray[np.int32]
Triangles = tuple[tuple[int, int, int], ...]
#: Relative difference of areas above which a polygon is not the simple one that it should be.
EXACT = 1e-6
#: Points of one polygon above which a kernel may try: ear clipping may take the square of it.
MOST_POINTS = 20_000


class NotEvaluated(Exception):
    """This body holds something that is not evaluated here."""


def area_of(ring: F64) -> float:
    """Signed area of a ring (n, 2), positive if counterclockwise."""
    x, y = ring[:, 0] - ring[0, 0], ring[:, 1] - ring[0, 1]
    return float(x[:-1] @ y[1:] - x[1:] @ y[:-1]) / 2


def caps(rings: list[F64]) -> Triangles | None:
    """Triangles of a polygon with holes, counterclockwise; None where it is a convex quadrilateral (cut along 0–2)."""
    outer = rings[0]
    if len(rings) == 1 and len(outer) == 4:
        (ax, ay), (bx, by), (cx, cy), (dx, dy) = corners = outer.tolist()
        if is_convex(corners, (cx - ax) * (dy - by) - (cy - ay) * (dx - bx)):
            return None
    return tuple(map(tuple, triangulated(rings).tolist()))


def triangulated(rings: list[F64]) -> NDArray[np.int64]:
    """(T, 3) counterclockwise triangles of a counterclockwise polygon with holes.

    Raises:
        NotEvaluated: it crosses itself, or has no area.
    """
    points = (np.concatenate(rings) if len(rings) > 1 else rings[0]) - rings[0][0]  # far coordinates would cost ear clipping its digits
    area = area_of(rings[0]) - sum(abs(area_of(ring)) for ring in rings[1:])
    ends = np.cumsum([len(ring) for ring in rings]).astype(np.uint32)
    made: NDArray[np.int64] = mapbox_earcut.triangulate_float64(np.ascontiguousarray(points), ends).reshape(-1, 3).astype(np.int64)
    a, b, c = points[made[:, 0]], points[made[:, 1]], points[made[:, 2]]
    twice = (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0])
    if not (area > 0 and abs(np.abs(twice).sum() / 2 - area) <= EXACT * area):
        raise NotEvaluated("an outline that crosses itself or has no area")
    return made if twice.sum() > 0 else made[:, ::-1]


@lru_cache(maxsize=256)
def prism(sizes: tuple[int, ...], caps: Triangles | None, *, up: bool) -> I32:
    """Triangles of a prism: below (turned round), above, and two for each side; shared by all prisms of one kind."""
    count = sum(sizes)
    flat = np.array(((0, 1, 2), (0, 2, 3)) if caps is None else caps, np.int32).reshape(-1, 3)
    below = np.concatenate([start + np.arange(size) for start, size in zip(np.cumsum([0, *sizes[:-1]]), sizes, strict=True)]).astype(np.int32)
    ahead = np.concatenate([np.roll(start + np.arange(size), -1) for start, size in zip(np.cumsum([0, *sizes[:-1]]), sizes, strict=True)]).astype(np.int32)
    sides = np.concatenate([np.stack([below, ahead, ahead + count], 1), np.stack([below, ahead + count, below + count], 1)])
    triangles = np.concatenate([flat[:, ::-1], flat + count, sides]).astype(np.int32)
    return np.ascontiguousarray(triangles if up else triangles[:, ::-1])


def cut(points: Sequence[tuple[float, ...]], faces: list[list[list[int]]]) -> I32:
    """Triangles of flat faces (rings of vertices, the outer one first)."""
    made: list[Any] = []
    for rings in faces:
        if not rings:
            continue
        outer = rings[0]
        if len(rings) == 1 and len(outer) == 3:
            made.append(outer)
            continue
        if sum(map(len, rings)) > MOST_POINTS:
            raise NotEvaluated(f"a face of more than {MOST_POINTS:,} points")
        normal = _normal([points[i] for i in outer])
        x, y, z = abs(normal[0]), abs(normal[1]), abs(normal[2])
        axis = 0 if x >= y and x >= z else 1 if y >= z else 2
        if normal[axis] == 0.0:
            if np.linalg.matrix_rank(np.array([points[i] for i in outer]) - points[outer[0]]) > 1:
                raise NotEvaluated("an outline that crosses itself")
            continue  # points on a line bound nothing
        # seen along the coordinate axis where it is largest, its outer ring runs counterclockwise
        u, v = ((axis + 1) % 3, (axis + 2) % 3) if normal[axis] > 0 else ((axis + 2) % 3, (axis + 1) % 3)
        flat = [[(points[i][u], points[i][v]) for i in ring] for ring in rings]
        if len(rings) == 1 and is_convex(flat[0], abs(normal[axis])):
            made.extend((outer[0], b, c) for b, c in pairwise(outer[1:]))
            continue
        order = [i for ring in rings for i in ring]
        made.extend([order[i] for i in triangle] for triangle in triangulated([np.array(ring) for ring in flat]).tolist())
    return np.array(made, np.int32).reshape(-1, 3)


def _normal(ring: list[tuple[float, ...]]) -> tuple[float, float, float]:
    """Twice the area of a ring as a vector (Newell's method)."""
    ox, oy, oz = ring[0]
    nx = ny = nz = 0.0
    px = py = pz = 0.0
    for x, y, z in ring[1:]:
        x, y, z = x - ox, y - oy, z - oz  # noqa: PLW2901  about the first point, so that far coordinates cost no digits
        nx += py * z - pz * y
        ny += pz * x - px * z
        nz += px * y - py * x
        px, py, pz = x, y, z
    return nx, ny, nz


def is_convex(ring: Sequence[Sequence[float]], twice: float) -> bool:
    """Whether a counterclockwise ring turns left at every point, clearly, and once around; `twice` its area."""
    if len(ring) > 8:
        return False
    least = 1e-9 * twice
    total = 0.0
    (ax, ay), (bx, by) = ring[-2], ring[-1]
    ox, oy = ring[0]
    for cx, cy in ring:
        if (bx - ax) * (cy - by) - (by - ay) * (cx - bx) <= least:
            return False
        ax, ay, bx, by = bx, by, cx, cy
    for (bx, by), (cx, cy) in pairwise(ring[1:]):
        fan = (bx - ox) * (cy - oy) - (by - oy) * (cx - ox)
        if fan <= 0:
            return False  # it goes round more than once
        total += fan
    return abs(total - twice) <= EXACT * twice


def balanced(triangles: I32) -> bool:
    """Whether every edge is run through as often in one direction as in the other."""
    edges = triangles[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2).astype(np.int64)
    n = int(edges.max()) + 1
    return bool(np.array_equal(np.sort(edges[:, 0] * n + edges[:, 1]), np.sort(edges[:, 1] * n + edges[:, 0])))


def cross(a: F64, b: F64) -> F64:
    """Cross products along the last axis; for small arrays several times as fast as NumPy's."""
    x, y, z = a[..., 0], a[..., 1], a[..., 2]
    u, v, w = b[..., 0], b[..., 1], b[..., 2]
    return np.stack([y * w - z * v, z * u - x * w, x * v - y * u], axis=-1)
