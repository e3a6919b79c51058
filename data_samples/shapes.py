"""Footprint templates in their own axes (x along, y deep, centred) and the frame of a block to lay them out in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from shapely import affinity

from data_samples.frame import Floats


def rect(w: float, d: float) -> Any:
    """A plain rectangle."""
    return shapely.box(-w / 2, -d / 2, w / 2, d / 2)


def ell(w: float, d: float, t: float) -> Any:
    """An L with arms `t` thick, the corner at the south-west."""
    x, y = w / 2, d / 2
    return shapely.Polygon([(-x, -y), (x, -y), (x, -y + t), (-x + t, -y + t), (-x + t, y), (-x, y)])


def ushape(w: float, d: float, t: float) -> Any:
    """A U, open to the south."""
    x, y = w / 2, d / 2
    return shapely.Polygon([(-x, -y), (-x + t, -y), (-x + t, y - t), (x - t, y - t), (x - t, -y), (x, -y), (x, y), (-x, y)])


def court(w: float, d: float, t: float) -> Any:
    """A ring around a courtyard."""
    return shapely.difference(rect(w, d), rect(w - 2 * t, d - 2 * t))


def cross(w: float, notch: float) -> Any:
    """A residential tower: a square with its four corners cut (the light wells of a 井字 plan)."""
    a, b = w / 2, w / 2 - notch
    return shapely.Polygon([(-b, -a), (b, -a), (b, -b), (a, -b), (a, b), (b, b), (b, a), (-b, a), (-b, b), (-a, b), (-a, -b), (-b, -b)])


def hshape(w: float, d: float, t: float) -> Any:
    """An H lying along x: two wings joined by a corridor."""
    x, y, c = w / 2, d / 2, t * 0.4
    return shapely.Polygon(
        [(-x, -y), (-x + t, -y), (-x + t, -c), (x - t, -c), (x - t, -y), (x, -y),
         (x, y), (x - t, y), (x - t, c), (-x + t, c), (-x + t, y), (-x, y)]
    )  # fmt: skip


@dataclass(frozen=True)
class Axes:
    """A frame turned by `angle` about `origin`; lay out in it, then `out` brings shapes back."""

    origin: tuple[float, float]
    angle: float

    def into(self, polygon: Any) -> Any:
        """Local metres to block axes."""
        turned = affinity.rotate(polygon, -self.angle, origin=self.origin, use_radians=True)
        return affinity.translate(turned, -self.origin[0], -self.origin[1])

    def out(self, polygon: Any, x: float = 0.0, y: float = 0.0, turn: float = 0.0) -> Any:
        """A template placed at (x, y) of the block axes, in local metres."""
        c, s = np.cos(self.angle + turn), np.sin(self.angle + turn)
        ca, sa = np.cos(self.angle), np.sin(self.angle)
        ex, ey = self.origin[0] + ca * x - sa * y, self.origin[1] + sa * x + ca * y
        return affinity.affine_transform(polygon, [c, -s, s, c, ex, ey])


def flat_axes(polygon: Any, angle: float) -> Axes:
    """Axes at the polygon's centroid with x the block direction nearest to east-west (houses face south)."""
    turned = (angle + np.pi / 4) % (np.pi / 2) - np.pi / 4
    centre = shapely.centroid(polygon)
    return Axes((centre.x, centre.y), turned)


def chord(polygon: Any, y0: float, y1: float) -> tuple[float, float] | None:
    """The x interval in which a strip y0..y1 lies inside the polygon (checked at five lines), or None."""
    x0, _, x1, _ = polygon.bounds
    low, high = -np.inf, np.inf
    ys = np.linspace(y0, y1, 5)
    lines = shapely.linestrings([[(x0 - 1, y), (x1 + 1, y)] for y in ys])
    for cut in shapely.intersection(polygon, lines):
        pieces = [g for g in shapely.get_parts(cut) if g.geom_type == "LineString"]
        if not pieces:
            return None
        best = max(pieces, key=lambda g: g.length)
        a, _, b, _ = best.bounds
        low, high = max(low, a), min(high, b)
    return (low, high) if high - low > 4.0 else None


def rows(polygon: Any, depth: float, pitch: float) -> list[tuple[float, float, float]]:
    """Rows (y, x from, x to) of this depth every `pitch`, centred in the polygon."""
    _, y0, _, y1 = polygon.bounds
    count = max(int((y1 - y0 - depth) / pitch) + 1, 0)
    start = (y0 + y1) / 2 - (count - 1) * pitch / 2
    found = []
    for i in range(count):
        y = start + i * pitch
        span = chord(polygon, y - depth / 2, y + depth / 2)
        if span:
            found.append((y, *span))
    return found


def contained(area: Any, polygons: list[Any]) -> list[bool]:
    """Which polygons lie inside the area, vectorised."""
    shapely.prepare(area)
    return [bool(b) for b in shapely.covers(area, np.array(polygons, dtype=object))] if polygons else []


def corners(polygon: Any) -> Floats:
    """Exterior ring without the closing point."""
    return np.asarray(shapely.get_coordinates(shapely.get_exterior_ring(polygon))[:-1])
