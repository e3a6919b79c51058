# mypy: disable-error-code="no-untyped-def,no-untyped-call,untyped-decorator,return-value,assignment"
# ruff: noqa: ANN001, ANN202  (types of the kernel are in its docstring: numba infers them)
"""What of a building is seen from outside: looked at from 25 directions, pixel by pixel.

A feature is on the outside if, from any direction, one of its pixels has nothing opaque before it. Directions: eight around at 0°, 30° and
60° above the horizon, and from the zenith; not from below, where the ground is. A picture has `SIDE` pixels along the building's
diagonal. Glass (opacity below 1) hides nothing. Of each triangle its middle is looked at too, so that what is thinner than
a pixel is not overlooked; at the middle, what lies up to a pixel behind another surface still counts as seen: when in doubt a
feature is on the outside.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tiling.levels import SEPARATOR, Storeys
from tiling.meshes.elements import Elements
from twin.compiled import njit

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
SIDE = 640
CLOSE = 1e-3
"""Metres behind the foremost surface that still count as that surface."""


def storeys_of(elements: Elements, pieces: I64, code: NDArray[np.uint64], unit: F64, storey: str, building: str) -> Storeys | None:
    """The groups of a layer whose features name their storey; None where fewer than two storeys are named.

    Args:
        pieces: (P,) that the plan places; code: (P,) their anchors; unit: (3,) metres per unit of the layer's coordinates.
        storey, building: the columns that name them; a layer may lack the second.
    """
    table = elements.table
    if storey not in table.schema.names or not pa.types.is_string(table.schema.field(storey).type):
        return None
    own = elements.feature[pieces]
    names = [table.texts(c) if c in table.schema.names else [None] * len(table) for c in (building, storey)]
    if len(set(names[1]) - {None}) < 2:
        return None
    text = np.array([f"{names[0][i] or ''}{SEPARATOR}{names[1][i] or ''}" for i in own.tolist()], dtype=object)
    listed, number = np.unique(text.astype(str), return_inverse=True)
    first = np.array([name.split(SEPARATOR)[0] for name in listed])
    _, of_storey = np.unique(first, return_inverse=True)
    house = of_storey[number]
    place = np.array([np.sort(code[house == k])[int((house == k).sum()) // 2] for k in range(int(of_storey.max()) + 1)], np.uint64)
    seen = np.zeros(len(pieces), bool)
    for k in range(len(place)):
        rows = np.flatnonzero(house == k)
        seen[rows] = _seen(elements, pieces[rows], unit)
    return Storeys(house.astype(np.int64), number.astype(np.int64), listed.tolist(), place, seen)


def _seen(elements: Elements, pieces: I64, unit: F64) -> NDArray[np.bool_]:
    """(P,) whether each piece of one building is seen from outside."""
    opaque = np.array([m.color[3] >= 1 for m in elements.materials], bool)
    low, high = np.full(3, np.inf), np.full(3, -np.inf)
    for corners, _, _ in _triangles(elements, pieces, unit, opaque):
        low, high = np.minimum(low, corners.min(axis=(0, 1))), np.maximum(high, corners.max(axis=(0, 1)))
    pixel = max(float(np.linalg.norm(high - low)) / SIDE, 1e-6)
    views = _views()
    depth = np.full((len(views), SIDE + 2, SIDE + 2), np.inf, np.float32)
    seen = np.zeros(len(pieces), bool)
    middle = (low + high) / 2
    for look in (False, True):
        for corners, hides, number in _triangles(elements, pieces, unit, opaque):
            _draw((corners - middle) / pixel, hides, number, views, depth, look, CLOSE / pixel, seen)
    return seen


def _triangles(elements: Elements, pieces: I64, unit: F64, opaque: NDArray[np.bool_]) -> Iterable[tuple[F64, NDArray[np.bool_], int]]:
    """((T, 3, 3) corners in metres of the layer's reference, (T,) whether each hides what is behind, the piece's position) of each part."""
    for number, piece in enumerate(pieces.tolist()):
        for own, t in elements.shapes_of(piece):
            if len(own.triangles):
                yield ((own.positions @ t[:3, :3].T + t[:3, 3]) * unit)[own.triangles], opaque[own.material], number


def _views() -> F64:
    """(25, 3, 3) right, up and backwards of each view; backwards points to the eye."""
    result = []
    for rise in (0.0, 30.0, 60.0, 90.0):
        for turn in np.arange(8) * 45.0 if rise < 90 else (0.0,):
            a, b = np.radians(turn), np.radians(rise)
            back = np.array([np.cos(b) * np.cos(a), np.cos(b) * np.sin(a), np.sin(b)])
            right = np.array([-np.sin(a), np.cos(a), 0.0])
            result.append([right, np.cross(back, right), back])
    return np.array(result)


@njit(cache=True, nogil=True)
def _draw(corners, hides, number, views, depth, look, close, seen):
    """Draw triangles into the depth pictures (`look` False), or mark the piece as seen where nothing is before it (`look` True).

    Args:
        corners: (T, 3, 3) in pixels about the middle. hides: (T,) bool. number: of the piece. views: (V, 3, 3).
        depth: (V, side, side) float32, the distance of the foremost opaque surface. close: pixels. seen: (P,) bool, changed.
    """
    side = depth.shape[1]
    for v in range(len(views)):
        view = views[v]
        for t in range(len(corners)):
            if not look and not hides[t]:
                continue
            x0, y0, z0 = _at(view, corners, t, 0, side)
            x1, y1, z1 = _at(view, corners, t, 1, side)
            x2, y2, z2 = _at(view, corners, t, 2, side)
            if look:
                i, j = int((x0 + x1 + x2) / 3), int((y0 + y1 + y2) / 3)
                if (z0 + z1 + z2) / 3 <= depth[v, j, i] + 1.0:
                    seen[number] = True
                    return
            area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
            if area == 0.0:
                continue
            # barycentric coordinates, and with them the distance, are linear along a row: the row's pixels inside are a span
            bx, by, cx, cy = (y2 - y0) / area, (x0 - x2) / area, (y0 - y1) / area, (x1 - x0) / area
            zx = bx * (z1 - z0) + cx * (z2 - z0)
            left, right = max(int(np.ceil(min(x0, x1, x2) - 0.5)), 0), min(int(np.floor(max(x0, x1, x2) - 0.5)), side - 1)
            for j in range(max(int(np.ceil(min(y0, y1, y2) - 0.5)), 0), min(int(np.floor(max(y0, y1, y2) - 0.5)), side - 1) + 1):
                b, c = (0.5 - x0) * bx + (j + 0.5 - y0) * by, (0.5 - x0) * cx + (j + 0.5 - y0) * cy
                first, last = _span(left, right, b, bx)
                first, last = _span(first, last, c, cx)
                first, last = _span(first, last, 1.0 - b - c, -bx - cx)
                z = z0 + b * (z1 - z0) + c * (z2 - z0)
                if look:
                    for i in range(first, last + 1):
                        if z + i * zx <= depth[v, j, i] + close:
                            seen[number] = True
                            return
                else:
                    for i in range(first, last + 1):
                        depth[v, j, i] = min(depth[v, j, i], np.float32(z + i * zx))


@njit(cache=True, nogil=True)
def _span(first, last, value, slope):
    """The pixels i of a span where value + slope · i is not negative."""
    if slope > 0.0:
        return int(np.ceil(min(max(-value / slope, first), last + 1.0))), last
    if slope < 0.0:
        return first, int(np.floor(max(min(-value / slope, last), first - 1.0)))
    return first, last if value >= 0.0 else first - 1


@njit(cache=True, nogil=True)
def _at(view, corners, t, k, side):
    """Where a corner is in a picture: right, up (pixels), away from the eye."""
    x, y, z = corners[t, k, 0], corners[t, k, 1], corners[t, k, 2]
    right = view[0, 0] * x + view[0, 1] * y + view[0, 2] * z
    up = view[1, 0] * x + view[1, 1] * y + view[1, 2] * z
    return right + side / 2, up + side / 2, -(view[2, 0] * x + view[2, 1] * y + view[2, 2] * z)
