"""Bounding volumes of 3D Tiles: is a point, or another volume, inside?

Our own geodesy on purpose: a check that used the code under check (``twin.crs``) would repeat its mistakes.
All coordinates are float64 in the tileset's world frame (ECEF metres when a tileset is georeferenced).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .issues import Where
from .shape import List, Num, Obj

F64 = NDArray[np.float64]

# WGS 84 (EPSG:7030).
A = 6378137.0
F = 1 / 298.257223563
E2 = F * (2 - F)
B = A * (1 - F)
LOCAL = 100_000.0
"""Metres from the origin within which a tileset that is not georeferenced lies."""
DEEP = 200_000.0
"""Metres above or below the ellipsoid beyond which nothing of a city is."""

VOLUME_SHAPE = Obj(
    optional={
        "box": List(Num(), 12, 12),
        "region": List(Num(), 6, 6),
        "sphere": List(Num(), 4, 4),
    },
)


def geodetic_to_ecef(lon: F64, lat: F64, h: F64) -> F64:
    """Radians and metres above the WGS 84 ellipsoid to ECEF metres, shape (N, 3)."""
    n = A / np.sqrt(1 - E2 * np.sin(lat) ** 2)
    return np.stack(
        [
            (n + h) * np.cos(lat) * np.cos(lon),
            (n + h) * np.cos(lat) * np.sin(lon),
            (n * (1 - E2) + h) * np.sin(lat),
        ],
        axis=-1,
    )


def ecef_to_geodetic(p: F64) -> tuple[F64, F64, F64]:
    """ECEF metres (N, 3) to longitude, latitude (radians) and ellipsoidal height (metres).

    Bowring (1976) for the first latitude, then two fixed-point steps: below 1e-9 m for heights of a city
    or of a plane. Points near the Earth's centre have no meaningful answer; they get a finite one.
    """
    x, y, z = p[..., 0], p[..., 1], p[..., 2]
    r = np.hypot(x, y)
    beta = np.arctan2(z * A, r * B)
    e2_second = E2 / (1 - E2)
    lat = np.arctan2(z + e2_second * B * np.sin(beta) ** 3, r - E2 * A * np.cos(beta) ** 3)
    for _ in range(2):
        n = A / np.sqrt(1 - E2 * np.sin(lat) ** 2)
        lat = np.arctan2(z + E2 * n * np.sin(lat), r)
    n = A / np.sqrt(1 - E2 * np.sin(lat) ** 2)
    # This form of the height is well conditioned at the equator and at the poles alike.
    h = r * np.cos(lat) + z * np.sin(lat) - A * A / n
    return np.arctan2(y, x), lat, h


@dataclass(frozen=True, eq=False)
class Box:
    """Centre (3,) and half axes as rows (3, 3)."""

    centre: F64
    axes: F64

    def transformed(self, m: F64) -> Box:
        """The volume moved by a matrix (4, 4)."""
        return Box(m[:3, :3] @ self.centre + m[:3, 3], self.axes @ m[:3, :3].T)

    def size(self) -> float:
        """The extent in metres, for tolerances."""
        return float(2 * np.linalg.norm(self.axes))

    def excess(self, points: F64) -> F64:
        """How far each point lies outside, in metres (0 inside)."""
        lengths = np.linalg.norm(self.axes, axis=1)
        units = unit_frame(self.axes, lengths)
        # Rows of the inverse give the coordinate along each (possibly oblique) axis.
        along = (points - self.centre) @ np.linalg.inv(units)
        return np.asarray(np.linalg.norm(np.maximum(np.abs(along) - lengths, 0.0), axis=1))

    def samples(self) -> F64:
        """A 3 x 3 x 3 lattice: corners decide against convex volumes, mid-points against curved ones."""
        steps = np.array(np.meshgrid([-1, 0, 1], [-1, 0, 1], [-1, 0, 1], indexing="ij")).reshape(3, -1).T
        return np.asarray(self.centre + steps.astype(np.float64) @ self.axes)


def unit_frame(axes: F64, lengths: F64) -> F64:
    """Unit axes as rows; an axis of zero length (a flat box) is replaced by a direction across the others."""
    keep = lengths > 1e-9 * max(float(lengths.max(initial=0.0)), 1e-300)
    units = axes / np.where(keep, lengths, 1.0)[:, None]
    if not np.isfinite(units).all():
        return np.eye(3)
    if keep.all() and abs(np.linalg.det(units)) > 1e-9:
        return np.asarray(units)
    _, singular, vt = np.linalg.svd(units * keep[:, None])
    null = [vt[i] for i in range(3) if singular[i] < 1e-9]
    for i in range(3):
        if not keep[i] and null:
            units[i] = null.pop()
    return np.asarray(units if abs(np.linalg.det(units)) > 1e-9 else np.eye(3))


@dataclass(frozen=True, eq=False)
class Sphere:
    """Centre (3,) and radius in metres."""

    centre: F64
    radius: float

    def transformed(self, m: F64) -> Sphere:
        """The volume moved by a matrix (4, 4)."""
        scale = float(np.linalg.norm(m[:3, :3], axis=0).max())
        return Sphere(m[:3, :3] @ self.centre + m[:3, 3], self.radius * scale)

    def size(self) -> float:
        """The extent in metres, for tolerances."""
        return 2 * self.radius

    def excess(self, points: F64) -> F64:
        """How far each point (N, 3) lies outside, in metres (0 inside)."""
        return np.asarray(np.maximum(np.linalg.norm(points - self.centre, axis=1) - self.radius, 0.0))

    def samples(self) -> F64:
        """Points on the volume that decide whether another volume contains it, (M, 3)."""
        steps = np.array(np.meshgrid([-1, 0, 1], [-1, 0, 1], [-1, 0, 1], indexing="ij")).reshape(3, -1).T
        length = np.linalg.norm(steps, axis=1)
        units = steps[length > 0] / length[length > 0, None]
        return np.asarray(self.centre + units * self.radius)


@dataclass(frozen=True, eq=False)
class Region:
    """West, south, east, north in radians, lowest and highest ellipsoidal height in metres."""

    west: float
    south: float
    east: float
    north: float
    low: float
    high: float

    def transformed(self, m: F64) -> Region:  # noqa: ARG002 - a Volume
        """A region is absolute: transforms do not move it (3D Tiles 1.1, core, Tile transforms)."""
        return self

    @property
    def width(self) -> float:
        """Longitude span in radians; a region may cross the antimeridian (west > east)."""
        return self.east - self.west if self.east >= self.west else self.east - self.west + 2 * math.pi

    def size(self) -> float:
        """The extent in metres, for tolerances."""
        return math.hypot(A * self.width, A * (self.north - self.south), self.high - self.low)

    def excess(self, points: F64) -> F64:
        """How far each point (N, 3) lies outside, in metres (0 inside)."""
        lon, lat, h = ecef_to_geodetic(points)
        centre = self.west + self.width / 2
        off = np.abs((lon - centre + math.pi) % (2 * math.pi) - math.pi) - self.width / 2
        # At a pole every longitude is the same point, hence the cosine.
        d_lon = np.maximum(off, 0.0) * (A + h) * np.cos(lat)
        d_lat = np.maximum(np.maximum(self.south - lat, lat - self.north), 0.0) * (A + h)
        d_h = np.maximum(np.maximum(self.low - h, h - self.high), 0.0)
        return np.asarray(np.sqrt(d_lon**2 + d_lat**2 + d_h**2))

    def samples(self) -> F64:
        """Points on the volume that decide whether another volume contains it, (M, 3)."""
        lon, lat, h = np.meshgrid(
            np.linspace(self.west, self.west + self.width, 3),
            np.linspace(self.south, self.north, 3),
            np.array([self.low, self.high]),
            indexing="ij",
        )
        return geodetic_to_ecef(lon.ravel(), lat.ravel(), h.ravel())


Volume = Box | Sphere | Region


def tolerance(volume: Volume) -> float:
    """What rounding may push a vertex out: 1 mm, plus 10 ppm of the volume (float32, 16-bit grids)."""
    return 1e-3 + 1e-5 * volume.size()


def outside(inner: Volume, outer: Volume) -> float:
    """How far ``inner`` sticks out of ``outer`` in metres, 0 when it does not (by more than the tolerance)."""
    if isinstance(inner, Sphere) and isinstance(outer, Sphere):
        gap = float(np.linalg.norm(inner.centre - outer.centre)) + inner.radius - outer.radius
    elif isinstance(inner, Region) and isinstance(outer, Region):
        gap = _region_outside(inner, outer)
    else:
        gap = float(outer.excess(inner.samples()).max())
    return 0.0 if gap <= tolerance(outer) else gap  # NaN (absurd numbers) counts as outside


def _region_outside(inner: Region, outer: Region) -> float:
    west = (inner.west - outer.west + math.pi) % (2 * math.pi) - math.pi
    sideways = max(-west, west + inner.width - outer.width, 0.0) if outer.width < 2 * math.pi - 1e-9 else 0.0
    lat = max(outer.south - inner.south, inner.north - outer.north, 0.0)
    height = max(outer.low - inner.low, inner.high - outer.high, 0.0)
    return math.hypot(A * sideways * math.cos(inner.south), A * lat, height)


def check_on_earth(root: Volume, where: Where) -> None:
    """Warn where a whole tileset lies neither on the ellipsoid nor near the origin, as a model of its own coordinates does: a number of its transform is wrong."""
    with np.errstate(all="ignore"):
        away = np.linalg.norm(root.samples(), axis=1)
    low, high = float(away.min()), float(away.max())
    if high > LOCAL and (low > A + DEEP or high < B - DEEP):
        where.warning("TILESET_OFF_EARTH", f"lies {low / 1000:.0f} to {high / 1000:.0f} km from the earth's centre: neither on its surface nor near the origin, as a model of its own coordinates")


def parse_volume(value: Any, where: Where) -> Volume | None:
    """Check a ``boundingVolume`` object; the volume, or None when it is broken or only an extension's."""
    if not VOLUME_SHAPE.check(value, where):
        return None
    extensions = value.get("extensions") or {}
    if not {"box", "region", "sphere"} & set(value):
        if not extensions:
            where.error("JSON_ONE_OF", "needs one of box, region, sphere (or a volume from an extension)")
        return None
    # Several volumes may stand side by side; a client takes the one it prefers. All must be valid.
    parsed: list[Volume | None] = []
    for name, parse in (("box", _box), ("region", _region), ("sphere", _sphere)):
        if name in value:
            parsed.append(parse(value[name], where / name))
    return None if None in parsed else parsed[0]


def _box(v: list[float], where: Where) -> Box | None:
    axes = np.array(v[3:], dtype=np.float64).reshape(3, 3)
    lengths = np.linalg.norm(axes, axis=1)
    unit = axes / np.where(lengths > 0, lengths, 1.0)[:, None]
    if np.abs(unit @ unit.T - np.diag((lengths > 0).astype(float))).max() > 1e-3:
        where.warning("BOX_NOT_ORTHOGONAL", "the three half axes are not perpendicular to each other")
    return Box(np.array(v[:3], dtype=np.float64), axes)


def _sphere(v: list[float], where: Where) -> Sphere | None:
    if v[3] < 0:
        where.error("BOUNDING_VOLUME_INVALID", f"the radius is {v[3]}, must be >= 0")
        return None
    return Sphere(np.array(v[:3], dtype=np.float64), float(v[3]))


def _region(v: list[float], where: Where) -> Region | None:
    west, south, east, north, low, high = map(float, v)
    slack = 1e-8  # a hair for values rounded from pi in single precision
    problems = [
        *(f"{n} is {x}, must be in [-pi, pi]" for n, x in (("west", west), ("east", east))
          if abs(x) > math.pi + slack),
        *(f"{n} is {x}, must be in [-pi/2, pi/2]" for n, x in (("south", south), ("north", north))
          if abs(x) > math.pi / 2 + slack),
    ]
    if south > north:
        problems.append(f"south {south} is greater than north {north}")
    if low > high:
        problems.append(f"minimum height {low} is greater than maximum height {high}")
    for problem in problems:
        where.error("BOUNDING_VOLUME_INVALID", problem)
    return None if problems else Region(west, south, east, north, low, high)
