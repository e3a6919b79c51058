"""Disks swept along a part of a line, or along one with rounded corners (ISO 16739-1, IfcSweptDiskSolid): the parser's kernels follow the whole of every curve, with sharp corners."""

from __future__ import annotations

import math
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import numpy as np

from ingest_bim.geometry_profiles import Draw, chains
from ingest_bim.ifc_frames import F64
from ingest_bim.step_access import DAMAGED

ALIGNED = ("IfcGradientCurve", "IfcSegmentedReferenceCurve")
SAME = 1e-9
"""Difference of two parameters that are one."""
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
        return draw.make("IfcSweptDiskSolid", _line(draw, _bends(chains(*draw.outline(solid.Directrix))[0] / draw.length)), solid.Radius, solid.InnerRadius)
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
