"""Surfaces that are drawn against those of the source: their areas, sides and colours, and how far a point lies from a triangle."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from .scene import Primitive

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
#: Metres that two vertices may be off together: what the tiles may round by, and what coordinates lose on the way back.
ROUNDED = 0.003
UNSAID: F64 = np.full(5, np.nan)


@dataclass(frozen=True)
class Shown:
    """What can be told of all triangles of a feature together.

    Attributes:
        area: m². rough: sum of the squares of the m² that each may be off by.
        across: (3,) sum of the areas as vectors along their normals: one triangle turned around changes it by twice its area.
        paint: (5,) sums of area × (linear red, green, blue, opacity, whether it is drawn from both sides); NaN where an image or colours of corners say more than that.
    """

    area: float
    rough: float
    across: F64
    paint: F64

    def moved(self, linear: F64, scale: float) -> Shown:
        """Of the same triangles after a turn (3, 3), perhaps mirrored, that makes them larger by `scale`; what is mirrored keeps its outside."""
        across = linear @ self.across * scale  # the cofactors of a turn that scales are itself × the scale, but for the sign where it mirrors
        return Shown(self.area * scale * scale, self.rough * scale * scale, across, self.paint * scale * scale)

    def plus(self, other: Shown) -> Shown:
        """Of both."""
        return Shown(self.area + other.area, self.rough + other.rough, self.across + other.across, self.paint + other.paint)


def shown_of(corners: F64, paint: F64) -> Shown:
    """Of (T, 3, 3) triangles in metres with (T, 5) paints; those that are not finite are none."""
    across, longest = areas(corners)
    area = np.linalg.norm(across, axis=1)
    return Shown(float(area.sum()), float(((longest * ROUNDED) ** 2).sum()), across.sum(axis=0), (area[:, None] * paint).sum(axis=0))


def areas(corners: F64) -> tuple[F64, F64]:
    """((T, 3) m² of triangles along their normals, (T,) metres of their longest edges), 0 where something is not finite."""
    with np.errstate(all="ignore"):
        a, b, c = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 1], corners[:, 0] - corners[:, 2]
        across = np.cross(a, b) / 2
        longest = np.sqrt(np.max([(edge * edge).sum(axis=1) for edge in (a, b, c)], axis=0))
    good = np.isfinite(across).all(axis=1) & np.isfinite(longest)
    return np.where(good[:, None], across, 0.0), np.where(good, longest, 0.0)


def paint_of(color: Sequence[float], double: bool) -> F64:
    """(5,) of a colour in linear light with its opacity."""
    return np.array([*color, float(double)])


def from_srgb(channel: float) -> float:
    """A channel (0–1) as linear light (IEC 61966-2-1)."""
    return channel / 12.92 if channel <= 0.04045 else ((channel + 0.055) / 1.055) ** 2.4


def paint_drawn(gltf: dict[str, Any], primitive: Primitive) -> F64:
    """(5,) paint of a primitive as a client draws it: what is OPAQUE has no opacity but 1."""
    _, _, mesh, _, number = primitive.pointer.split("/")
    material = gltf["meshes"][int(mesh)]["primitives"][int(number)].get("material")
    look = {} if material is None else gltf["materials"][material]
    basic = look.get("pbrMetallicRoughness", {})
    if "baseColorTexture" in basic or "COLOR_0" in primitive.attributes:
        return UNSAID
    *rgb, alpha = basic.get("baseColorFactor", (1.0, 1.0, 1.0, 1.0))
    return paint_of([*rgb, alpha if look.get("alphaMode", "OPAQUE") != "OPAQUE" else 1.0], look.get("doubleSided", False))


def turned(primitive: Primitive) -> float:
    """Share of the area of a primitive's first instance whose normals point to the side from which it is not seen."""
    if primitive.normals is None or not len(primitive.transforms):
        return 0.0
    triangles, matrix = primitive.triangles(), primitive.transforms[0]
    placed = primitive.local @ matrix[:3, :3].T
    across, _ = areas(placed[triangles])
    away = (across * primitive.normals[triangles].sum(axis=1)).sum(axis=1) < 0
    area = np.linalg.norm(across, axis=1)
    return float(area[away].sum() / area.sum()) if area.sum() > 0 else 0.0


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
