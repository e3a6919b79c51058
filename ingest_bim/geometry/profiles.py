"""Profiles as polygons, for what the parser's kernels draw wrong (ifcopenshell 0.9, all of its kernels).

Derived and mirrored profiles lose their operator, or have it applied twice or to the height too; a centre line's bends are cut off (`ingest_bim.geometry.redrawn`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ingest_bim.geometry.polygons import area_of
from ingest_bim.ifc.frames import operator_matrix
from ingest_bim.ifc.step_access import is_kind

F64 = NDArray[np.float64]
#: An outer ring counterclockwise, then its holes clockwise, each (n, 2) in file units, the first point not repeated.
Face = list[F64]
DEPTH = 32


@dataclass(frozen=True, slots=True)
class Draw:
    """What a new body is made with.

    Attributes:
        make: creates an instance.
        outline: a kernel's (points (n, 3) in metres, edges (m, 2)) of a profile or a curve.
        length: metres of a unit of the file.
        angle: radians of a unit of the file.
    """

    make: Callable[..., Any]
    outline: Callable[[Any], tuple[F64, NDArray[np.int32]]]
    length: float
    angle: float


def faces_of(draw: Draw, profile: Any, depth: int = 0) -> list[Face]:
    """The faces of a profile.

    Raises:
        ValueError: no area, an operator without a place, or profiles of profiles without end.
    """
    if depth > DEPTH:
        raise ValueError("profiles are made of profiles without end")
    if is_kind(profile, "IfcDerivedProfileDef"):
        inner = faces_of(draw, profile.ParentProfile, depth + 1)
        # the mirror image is about the y axis of the profile (ISO 16739-1, IfcMirroredProfileDef.Operator, which is derived and so not in the file)
        matrix = np.diag((-1.0, 1.0, 1.0, 1.0)) if profile.is_a("IfcMirroredProfileDef") else operator_matrix(profile.Operator)
        if matrix is None:
            raise ValueError(f"#{profile.id()} has an operator without a place")
        mirrored = np.linalg.det(matrix[:2, :2]) < 0
        moved = [[ring @ matrix[:2, :2].T + matrix[:2, 3] for ring in face] for face in inner]
        return [[np.ascontiguousarray(ring[::-1]) for ring in face] for face in moved] if mirrored else moved
    if profile.is_a("IfcCompositeProfileDef"):
        return [face for part in profile.Profiles for face in faces_of(draw, part, depth + 1)]
    if profile.is_a("IfcCenterLineProfileDef"):
        return [_widened(chains(*draw.outline(profile.Curve))[0][:, :2] / draw.length, float(profile.Thickness))]
    rings = [ring[:, :2] / draw.length for ring in chains(*draw.outline(profile))]
    areas = [area_of(ring) for ring in rings]
    order = sorted(range(len(rings)), key=lambda i: -abs(areas[i]))
    if not order or not math.isfinite(areas[order[0]]) or areas[order[0]] == 0:
        raise ValueError(f"#{profile.id()} has no area")
    return [[rings[i] if (areas[i] > 0) == (i == order[0]) else np.ascontiguousarray(rings[i][::-1]) for i in order]]


def as_profile(draw: Draw, faces: list[Face]) -> Any:
    """An instance of these faces."""
    made = []
    for outer, *holes in faces:
        curve, inner = _polyline(draw, outer), [_polyline(draw, hole) for hole in holes]
        made.append(draw.make("IfcArbitraryProfileDefWithVoids", "AREA", None, curve, inner) if inner else draw.make("IfcArbitraryClosedProfileDef", "AREA", None, curve))
    return made[0] if len(made) == 1 else draw.make("IfcCompositeProfileDef", "AREA", None, made)


def polygonal(draw: Draw, profile: Any) -> Any | None:
    """A derived or centre line profile as one of polygons; None for one that bounds no area."""
    return as_profile(draw, faces_of(draw, profile)) if profile.ProfileType == "AREA" else None


def root(profile: Any) -> str:
    """The class that a profile is of, or is derived from in the end."""
    for _ in range(DEPTH):
        if not is_kind(profile, "IfcDerivedProfileDef"):
            break
        profile = profile.ParentProfile
    return str(profile.is_a())


# --- rings -------------------------------------------------------------------------------------------------------


def _polyline(draw: Draw, ring: F64) -> Any:
    points = [draw.make("IfcCartesianPoint", tuple(map(float, point))) for point in ring]
    return draw.make("IfcPolyline", [*points, points[0]])


def chains(points: F64, edges: NDArray[np.int32]) -> list[F64]:
    """The lines that edges (of no direction, in no order) make, (n, 3), each from its lowest end or, closed, from its lowest point, which is not repeated."""
    beside: dict[int, list[int]] = {}
    for a, b in edges.tolist():
        beside.setdefault(a, []).append(b)
        beside.setdefault(b, []).append(a)
    found = []
    for start in sorted(beside, key=lambda point: (len(beside[point]) > 1, point)):  # ends first
        chain, at = [start], start
        while beside[at]:
            following = min(beside[at])
            beside[at].remove(following)
            beside[following].remove(at)
            chain.append(following)
            at = following
        if len(chain) > 1:
            found.append(points[chain[:-1] if chain[-1] == start else chain])
    if not found:
        raise ValueError("an outline without edges")
    return found


def _widened(line: F64, thickness: float) -> Face:
    """The strip of a thickness along a line (n, 2): flat ends, mitred corners."""
    import shapely  # noqa: PLC0415  GEOS, for this alone

    strip = shapely.buffer(shapely.LineString(line), thickness / 2, cap_style="flat", join_style="mitre")
    if strip.geom_type != "Polygon" or strip.is_empty:
        raise ValueError("a centre line without area")
    strip = shapely.geometry.polygon.orient(strip)
    return [np.array(ring.coords)[:-1, :2] for ring in (strip.exterior, *strip.interiors)]
