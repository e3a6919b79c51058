"""Surfaces that are drawn against those of the source: their areas, and how far a point lies from a triangle."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
#: Metres that two vertices may be off together: what the tiles may round by, and what coordinates lose on the way back.
ROUNDED = 0.003


@dataclass(frozen=True)
class Area:
    """Of some triangles: m² in all, and the sum of squares of the m² that each may be off by."""

    total: float
    rough: float

    def times(self, scale: float) -> Area:
        """Of the same triangles, larger by `scale`: what they are off by grows with their sides."""
        return Area(self.total * scale * scale, self.rough * scale * scale)

    def plus(self, other: Area) -> Area:
        """Of both."""
        return Area(self.total + other.total, self.rough + other.rough)


def area_of(corners: F64) -> Area:
    """Of (T, 3, 3) triangles in metres; those that are not finite are none."""
    area, longest = areas(corners)
    return Area(float(area.sum()), float(((longest * ROUNDED) ** 2).sum()))


def areas(corners: F64) -> tuple[F64, F64]:
    """((T,) m² of triangles, (T,) metres of their longest edges), 0 where something is not finite."""
    with np.errstate(all="ignore"):
        a, b, c = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 1], corners[:, 0] - corners[:, 2]
        area = np.sqrt((np.cross(a, b) ** 2).sum(axis=1)) / 2
        longest = np.sqrt(np.max([(edge * edge).sum(axis=1) for edge in (a, b, c)], axis=0))
    good = np.isfinite(area) & np.isfinite(longest)
    return np.where(good, area, 0.0), np.where(good, longest, 0.0)


def nearest_surface(points: F64, owner: I64, corners: F64, corner_owner: I64, within: float) -> F64:
    """(N,) metres from each point to the nearest triangle (corners (T, 3, 3)) of the same owner; inf where none is `within` metres in plan."""
    found = np.full(len(points), np.inf)
    if not len(points) or not len(corners):
        return found
    low, high = corners[:, :, :2].min(axis=1) - within, corners[:, :, :2].max(axis=1) + within
    tree = shapely.STRtree(shapely.box(low[:, 0], low[:, 1], high[:, 0], high[:, 1]))
    for at in range(0, len(points), 10_000):
        point, triangle = tree.query(shapely.points(points[at : at + 10_000, :2]), predicate="intersects")
        same = owner[at + point] == corner_owner[triangle]
        point, triangle = at + point[same], triangle[same]
        np.minimum.at(found, point, distances(points[point], corners[triangle]))
    return found


def distances(points: F64, corners: F64) -> F64:
    """(N,) metres from points to triangles (N, 3, 3): to the plane where the foot lies inside, else to the nearest edge."""
    nearest = np.full(len(points), np.inf)
    across = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    size = np.linalg.norm(across, axis=1)
    with np.errstate(all="ignore"):
        up = across / size[:, None]
    inside = size > 0
    for k in range(3):
        a, edge, away = corners[:, k], corners[:, (k + 1) % 3] - corners[:, k], points - corners[:, k]
        inside &= (np.cross(edge, away) * up).sum(axis=1) >= 0
        length = (edge * edge).sum(axis=1)
        share = np.clip((away * edge).sum(axis=1) / np.where(length > 0, length, 1.0), 0.0, 1.0)
        nearest = np.minimum(nearest, np.linalg.norm(points - a - share[:, None] * edge, axis=1))
    flat = np.abs(((points - corners[:, 0]) * up).sum(axis=1))
    return np.where(inside, np.minimum(flat, nearest), nearest)
