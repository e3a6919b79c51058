"""CSG primitives as the sweeps and faceted solids that they are, solids with cavities as their differences (ISO 16739-1).

Spheres are drawn with more triangles than anybody sees (the kernels keep to half a millimetre in both directions: 10,000 at a metre's radius).
No kernel of the parser's draws cylinders and cones (ifcopenshell 0.9): alone they fail, beside another item they are left out without
a word. Blocks are inside out, so that they do not cut; pyramids are neither closed nor as large as stated. Cavities fail, or are solid themselves.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ingest_bim.geometry.lofts import faceted
from ingest_bim.geometry.profiles import Draw
from ingest_bim.ifc.frames import axis_matrix

FINEST, COARSEST = 1e-3, 1 / 800
"""How far the circles of a sphere may lie within it: metres, which the kernels keep to for whatever is round, but no less than this share of its radius."""


def cylinder(draw: Draw, primitive: Any) -> Any:
    """IfcRightCircularCylinder: the height goes up from the position, the radius lies around it."""
    make = draw.make
    circle = make("IfcCircleProfileDef", "AREA", None, _flat(make), primitive.Radius)
    return make("IfcExtrudedAreaSolid", circle, primitive.Position, make("IfcDirection", (0.0, 0.0, 1.0)), primitive.Height)


def cone(draw: Draw, primitive: Any) -> Any:
    """IfcRightCircularCone: base around the position, apex above it: half of its section turned once around its axis."""
    make = draw.make
    frame = axis_matrix(primitive.Position)
    if frame is None:
        raise ValueError("a cone without a place")
    point = make("IfcCartesianPoint", tuple(map(float, frame[:3, 3])))
    place = make("IfcAxis2Placement3D", point, *(make("IfcDirection", tuple(map(float, axis))) for axis in (-frame[:3, 1], frame[:3, 0])))
    corners = [(0.0, 0.0), (primitive.BottomRadius, 0.0), (0.0, primitive.Height), (0.0, 0.0)]
    outline = make("IfcPolyline", [make("IfcCartesianPoint", corner) for corner in corners])
    half = make("IfcArbitraryClosedProfileDef", "AREA", None, outline)
    axis = make("IfcAxis1Placement", make("IfcCartesianPoint", (0.0, 0.0, 0.0)), make("IfcDirection", (0.0, 1.0, 0.0)))
    return make("IfcRevolvedAreaSolid", half, place, axis, 2 * math.pi / draw.angle)


def block(draw: Draw, primitive: Any) -> Any:
    """IfcBlock: from the position along its three axes."""
    make, x, y = draw.make, primitive.XLength, primitive.YLength
    middle = make("IfcAxis2Placement2D", make("IfcCartesianPoint", (x / 2, y / 2)))
    base = make("IfcRectangleProfileDef", "AREA", None, middle, x, y)
    return make("IfcExtrudedAreaSolid", base, primitive.Position, make("IfcDirection", (0.0, 0.0, 1.0)), primitive.ZLength)


def pyramid(draw: Draw, primitive: Any) -> Any:
    """IfcRectangularPyramid: the base from the position along its first two axes, the apex above its middle."""
    frame = axis_matrix(primitive.Position)
    if frame is None:
        raise ValueError("a pyramid without a place")
    x, y = primitive.XLength, primitive.YLength
    points = np.array([(0, 0, 0, 1), (x, 0, 0, 1), (x, y, 0, 1), (0, y, 0, 1), (x / 2, y / 2, primitive.Height, 1)], np.float64) @ frame.T
    return faceted(draw.make, points[:, :3], [[[3, 2, 1, 0]], [[0, 1, 4]], [[1, 2, 4]], [[2, 3, 4]], [[3, 0, 4]]])


def sphere(draw: Draw, primitive: Any) -> Any | None:
    """IfcSphere: rings of flat faces around the axis of its position; None for an operand of a boolean, which the kernels cut as it is.

    Raises:
        ValueError: no place, or a radius that is none.
    """
    if any(holder.is_a("IfcBooleanResult") for holder in primitive.file.get_inverse(primitive)):
        return None
    frame, radius = axis_matrix(primitive.Position), float(primitive.Radius)
    if frame is None or not 0 < radius < math.inf:
        raise ValueError("a sphere without a place or a radius")
    off = min(max(FINEST / (radius * draw.length), COARSEST), 0.1)
    around = 4 * math.ceil(math.pi / math.acos(1 - off) / 4)  # so that it reaches as far as it should along its axes
    up, turn = np.meshgrid(np.linspace(-math.pi / 2, math.pi / 2, around // 2 + 1)[1:-1], np.arange(around) * (2 * math.pi / around), indexing="ij")
    ring = np.column_stack([(np.cos(up) * np.cos(turn)).ravel(), (np.cos(up) * np.sin(turn)).ravel(), np.sin(up).ravel()])
    points = np.concatenate([[(0, 0, -1), (0, 0, 1)], ring]) * radius @ frame[:3, :3].T + frame[:3, 3]
    number = np.arange(2, len(points)).reshape(-1, around)
    here, right = number, np.roll(number, -1, axis=1)
    sides = np.stack([here[:-1], right[:-1], right[1:], here[1:]], axis=-1).reshape(-1, 4).tolist()
    caps = [[0, b, a] for a, b in zip(here[0].tolist(), right[0].tolist(), strict=True)] + [[1, a, b] for a, b in zip(here[-1].tolist(), right[-1].tolist(), strict=True)]
    return faceted(draw.make, points, [[face] for face in (*sides, *caps)])


def _flat(make: Any) -> Any:
    return make("IfcAxis2Placement2D", make("IfcCartesianPoint", (0.0, 0.0)))


def hollow(draw: Draw, solid: Any) -> Any:
    """IfcFacetedBrepWithVoids, IfcAdvancedBrepWithVoids: the outer shell's body without those of the others, whichever way their faces look."""
    kind = solid.is_a().removesuffix("WithVoids")
    made = draw.make(kind, solid.Outer)
    for shell in solid.Voids:
        made = draw.make("IfcBooleanResult", "DIFFERENCE", made, draw.make(kind, shell))
    return made
