"""Disks swept along a part of a line, or along one with rounded corners (ISO 16739-1, IfcSweptDiskSolid): the parser's kernels follow the whole of every curve, with sharp corners."""

from __future__ import annotations

import math
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import numpy as np

from ingest_bim.geometry.profiles import Draw, chains
from ingest_bim.ifc.frames import F64
from ingest_bim.ifc.step_access import DAMAGED

ALIGNED = ("IfcGradientCurve", "IfcSegmentedReferenceCurve")
SAME = 1e-9
"""Difference of two parameters that are one."""
FLAT, FEWEST = 5e-4, 16
"""Metres between a circle and its chords, as the kernels draw it, and the fewest of these."""
NAMED = 8
"""Solids that are named of those whose parameters are not followed."""


def corners_of(curve: Any) -> list[F64] | None:
    """The corners of a polyline, or of an indexed curve of lines alone; None of any other."""
    if curve.is_a("IfcPolyline"):
        return [np.array(point.Coordinates, np.float64) for point in curve.Points]
    if not curve.is_a("IfcIndexedPolyCurve"):
        return None
    points = [np.array(point, np.float64) for point in curve.Points.CoordList]
    if not curve.Segments:
        return points
    if not all(segment.is_a("IfcLineIndex") for segment in curve.Segments):
        return None
    runs = [segment.wrappedValue for segment in curve.Segments]
    return [points[number - 1] for number in (runs[0][0], *(number for run in runs for number in run[1:]))]


def stretch(solid: Any) -> list[F64] | str | None:
    """The corners of that part of its line which a solid states by StartParam and EndParam; None for the whole of it, "" where they cannot be followed.

    The parameter of a line with n sides runs from 0 to n, a side to each. (Some exporters write 0 and 1 for the whole of every curve, so those of several sides are not believed.)
    """
    stated = solid.get_argument(3), solid.get_argument(4)  # by position: there are thousands, of reinforcing bars
    if stated == (None, None):
        return None
    corners = corners_of(solid.get_argument(0))
    if corners is None:
        return ""
    sides = len(corners) - 1
    start, end = (float(default) if value is None else float(value) for value, default in zip(stated, (0, sides), strict=True))
    if abs(start) < SAME and abs(end - sides) < SAME:
        return None
    if not -SAME < start < end - SAME < sides or stated == (0.0, 1.0):
        return ""

    def at(place: float) -> F64:
        side = min(int(max(place, 0.0)), sides - 1)
        return corners[side] + (corners[side + 1] - corners[side]) * (place - side)

    between = [corner for number, corner in enumerate(corners) if start + SAME < number < end - SAME]
    return [at(start), *between, at(end)]


def along(draw: Draw, solid: Any) -> Any | None:
    """An IfcSweptDiskSolid along a part of a line, or along an alignment, as one along that line; None for others, which the kernels draw along the whole of their curve."""
    if _aligned(solid):  # no kernel sweeps along it, all can draw it
        line = _bends(chains(*draw.outline(solid.Directrix))[0] / draw.length)
        return tube(draw, line, solid.Radius, solid.InnerRadius) or draw.make("IfcSweptDiskSolid", _line(draw, line), solid.Radius, solid.InnerRadius)
    part = stretch(solid)
    if part is None or isinstance(part, str):
        return None
    return draw.make("IfcSweptDiskSolid", _line(draw, part), solid.Radius, solid.InnerRadius, 0.0, float(len(part) - 1))


def is_redrawn(solid: Any) -> bool:
    """Whether `along` makes another one of it."""
    with suppress(*DAMAGED):  # the kernels say what is wrong with it
        return _aligned(solid) or isinstance(stretch(solid), list)
    return False


def _aligned(solid: Any) -> bool:
    return solid.get_argument(0).is_a() in ALIGNED and (solid.get_argument(3), solid.get_argument(4)) == (None, None)


def _line(draw: Draw, corners: Iterable[F64]) -> Any:
    return draw.make("IfcPolyline", [draw.make("IfcCartesianPoint", tuple(map(float, corner))) for corner in corners])


def _bends(line: F64) -> F64:
    """(n, 3) without the points that a straight line goes through: each is a mitre to cut."""
    steps = np.diff(line, axis=0)
    steps /= np.linalg.norm(steps, axis=1, keepdims=True)
    turned = np.linalg.norm(np.diff(steps, axis=0), axis=1) > 1e-7
    return np.ascontiguousarray(line[np.concatenate([[True], turned, [True]])])


def tube(draw: Draw, line: F64, radius: float, inner: float | None) -> Any | None:
    """The triangles of a disk (or ring) along a line (n, 3), each bend mitred; None where a bend is too narrow for that, or the radii are none.

    The reference kernel makes the same of a cylinder for each side, cut by the next, in a tenth of a second each.
    """
    if not 0 <= (inner or 0.0) < (radius or 0.0):  # the kernels say so
        return None
    sides = np.diff(line, axis=0)
    lengths = np.linalg.norm(sides, axis=1)
    sides /= lengths[:, None]
    planes = np.vstack([sides[:1], sides[:-1] + sides[1:], sides[-1:]])  # normals of the cuts
    planes /= np.maximum(np.linalg.norm(planes, axis=1, keepdims=True), 1e-300)
    slope = np.append(1.0, np.einsum("ij,ij->i", sides, planes[1:]))
    reach = radius * np.sqrt(np.maximum(1 - slope**2, 0)) / np.maximum(slope, 1e-300)  # of a cut along each side that it ends
    if (reach[:-1] + reach[1:] >= lengths).any():
        return None
    across = np.linalg.svd(sides[:1])[2][1:]
    if np.linalg.det(np.vstack([across, sides[:1]])) < 0:
        across = across[::-1]
    frames = [across]
    for side, plane in zip(sides, planes[1:], strict=True):  # on along the side, up to the next cut
        across = across - np.outer(across @ plane / (side @ plane), side)
        frames.append(across)
    n = max(FEWEST, math.ceil(math.pi / math.acos(max(1 - FLAT / (radius * draw.length), 0.0))))
    turn = np.arange(n) * (2 * math.pi / n)
    rings = np.column_stack([np.cos(turn), np.sin(turn)]) @ np.array(frames)
    radii = [radius, inner] if inner else [radius]
    points = np.concatenate([(line[:, None] + r * rings).reshape(-1, 3) for r in radii])
    a, last = np.arange(n), n * (len(line) - 1)
    b = np.roll(a, -1)
    first = np.array([(a, b, b + n), (a, b + n, a + n)]).transpose(0, 2, 1).reshape(-1, 3)
    wall = (first + np.arange(0, last, n)[:, None, None]).reshape(-1, 3)
    if inner:
        hole = n * len(line)
        end = np.array([(a, b, b + hole), (a, b + hole, a + hole)]).transpose(0, 2, 1).reshape(-1, 3)
        wall = np.concatenate([wall, wall[:, ::-1] + hole])
    else:
        end = np.column_stack([np.zeros(n - 2, np.int64), a[1:-1], a[2:]])
    triangles = np.concatenate([wall, end[:, ::-1], end + last]) + 1
    return draw.make("IfcTriangulatedFaceSet", draw.make("IfcCartesianPointList3D", points.tolist()), None, True, triangles.tolist())


def not_followed(model: Any) -> str:
    """Which solids of a model are drawn along the whole of their curve though they may state a part of it, "" for none."""
    found = []
    for solid in model.by_type("IfcSweptDiskSolid"):
        with suppress(*DAMAGED):
            if stretch(solid) == "":
                found.append(solid)
    names = ", ".join(f"#{solid.id()} ({solid.StartParam} to {solid.EndParam})" for solid in found[:NAMED])
    return names + (f" and {len(found) - NAMED} more" if len(found) > NAMED else "")


def filleted(draw: Draw, solid: Any) -> Any | None:
    """An IfcSweptDiskSolidPolygonal with rounded corners as a disk along lines and arcs; one with sharp ones as `along`.

    Raises:
        ValueError: the arcs do not fit between the corners.
    """
    radius = solid.FilletRadius
    if not radius:
        return along(draw, solid)
    part = stretch(solid)
    corners = list(part if part is not None and not isinstance(part, str) else corners_of(solid.Directrix) or ())
    points, segments = [corners[0]], list[Any]()
    room = float("inf")
    for before, corner, after in zip(corners, corners[1:], corners[2:], strict=False):
        back, on = before - corner, after - corner
        lengths = float(np.linalg.norm(back)), float(np.linalg.norm(on))
        back, on = back / lengths[0], on / lengths[1]
        half = math.acos(float(np.clip(back @ on, -1, 1))) / 2
        away = radius / math.tan(half) if half < math.pi / 2 - 1e-9 else 0.0
        if away > min(lengths[0], room) * (1 + 1e-9) or away > lengths[1] * (1 + 1e-9):
            raise ValueError(f"#{solid.id()} has corners too near one another for their fillets")
        room = lengths[1] - away
        if away > 0:
            middle = (back + on) / np.linalg.norm(back + on)
            points += [corner + away * back, corner + middle * (radius / math.sin(half) - radius), corner + away * on]
            n = len(points)
            segments += [draw.make("IfcLineIndex", (n - 3, n - 2)), draw.make("IfcArcIndex", (n - 2, n - 1, n))]
    points.append(corners[-1])
    segments.append(draw.make("IfcLineIndex", (len(points) - 1, len(points))))
    listed = draw.make("IfcCartesianPointList3D", [tuple(map(float, point)) for point in points])
    curve = draw.make("IfcIndexedPolyCurve", listed, segments, False)
    return draw.make("IfcSweptDiskSolid", curve, solid.Radius, solid.InnerRadius)
