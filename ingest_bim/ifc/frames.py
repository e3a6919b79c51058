"""Object placements → matrices, guarded against cycles; in project units."""

from __future__ import annotations

import math
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ingest_bim.ifc.step_access import DAMAGED, attribute

F64 = NDArray[np.float64]
Three = tuple[float, float, float]


def local_matrix(placement: Any, cache: dict[int, F64 | None] | None = None) -> F64 | None:
    """(4, 4) world matrix of a chain of IfcLocalPlacement; None for cycles and for grid and linear placements."""
    known = cache if cache is not None else {}
    chain: list[Any] = []
    seen: set[int] = set()
    at = placement
    while at is not None and at.id() not in known:
        if at.is_a() != "IfcLocalPlacement" or at.id() in seen:
            for part in chain:
                known[part.id()] = None
            return None
        seen.add(at.id())
        chain.append(at)
        at = at.get_argument(0)
    above = known[at.id()] if at is not None else np.eye(4)
    for part in reversed(chain):
        own = axis_matrix(part.get_argument(1))
        above = None if above is None or own is None else above @ own
        known[part.id()] = above
    return above


def leads_nowhere(placement: Any) -> str:
    """Why a placement places nothing: it is, in the end, relative to itself, or to what is no placement (which the kernels take for the origin); "" for a sound one."""
    seen: set[int] = set()
    while placement is not None and placement.id() not in seen:
        if not placement.is_a("IfcObjectPlacement"):
            return f"its placement is relative to #{placement.id()}, an {placement.is_a()} and no placement"
        seen.add(placement.id())
        placement = attribute(placement, "PlacementRelTo")
    return "its placements run in a circle" if placement is not None else ""


def axis_matrix(axis: Any) -> F64 | None:
    """(4, 4) of an IfcAxis2Placement2D or 3D (ISO 10303-42: z given, x made perpendicular to it, y = z × x)."""
    if axis is None:
        return np.eye(4)
    # attributes by position and plain floats: a large model has a hundred thousand of these
    location, solid = axis.get_argument(0), axis.is_a() == "IfcAxis2Placement3D"
    if location is None or location.is_a() != "IfcCartesianPoint":
        return None
    px, py, pz = _three(location.get_argument(0))
    axis_z = axis.get_argument(1) if solid else None
    axis_x = axis.get_argument(2 if solid else 1)
    turn = turned(_three(axis_z.get_argument(0)) if axis_z is not None else None, _three(axis_x.get_argument(0)) if axis_x is not None else None)
    if turn is None:
        return None
    (a, b, c), (d, e, f), (g, h, i) = turn
    return np.array(((a, b, c, px), (d, e, f, py), (g, h, i, pz), (0.0, 0.0, 0.0, 1.0)))


def turned(z: Three | None, x: Three | None) -> tuple[Three, Three, Three] | None:
    """The rows of the 3×3 that an axis (z) and a reference direction (x) state; None: the usual ones. None if degenerate."""
    zx, zy, zz = z if z is not None else (0.0, 0.0, 1.0)
    size = math.sqrt(zx * zx + zy * zy + zz * zz)
    if not size >= 1e-12:
        return None
    zx, zy, zz = zx / size, zy / size, zz / size
    if x is not None:
        xx, xy, xz = x
    else:
        xx, xy, xz = (0.0, 0.0, 1.0) if abs(zx) > 1 - 1e-9 else (1.0, 0.0, 0.0)
    along = xx * zx + xy * zy + xz * zz
    xx, xy, xz = xx - along * zx, xy - along * zy, xz - along * zz
    size = math.sqrt(xx * xx + xy * xy + xz * xz)
    if not size >= 1e-12:
        return None
    xx, xy, xz = xx / size, xy / size, xz / size
    yx, yy, yz = zy * xz - zz * xy, zz * xx - zx * xz, zx * xy - zy * xx
    return (xx, yx, zx), (xy, yy, zy), (xz, yz, zz)


def _three(values: tuple[float, ...]) -> Three:
    return (values[0], values[1], values[2] if len(values) > 2 else 0.0)


def operator_matrix(operator: Any) -> F64 | None:
    """(4, 4) of an IfcCartesianTransformationOperator2D or 3D, scales included (ISO 10303-42, base_axis: a third axis does not make the second); None if degenerate."""
    origin = np.zeros(3)
    values = operator.LocalOrigin.Coordinates
    origin[: len(values)] = values
    scale = 1.0 if operator.Scale is None else float(operator.Scale)
    flat = len(values) == 2
    scales = [scale, attribute(operator, "Scale2", scale), attribute(operator, "Scale3", scale)]
    first, second, third = (_ratios(attribute(operator, name)) for name in ("Axis1", "Axis2", "Axis3"))
    z = np.array([0.0, 0.0, 1.0]) if flat or third is None else third
    x = np.array([1.0, 0.0, 0.0]) if first is None else first
    if flat and first is None and second is not None:
        x = np.array([second[1], -second[0], 0.0])
    if second is None and not flat:
        second = np.array([0.0, 1.0, 0.0])  # also where x points the other way: then it is a mirror image
    size = np.linalg.norm(z)
    if size < 1e-12:
        return None
    z = z / size
    x = x - z * float(x @ z)
    size = np.linalg.norm(x)
    if size < 1e-12:
        return None
    x = x / size
    y = np.cross(z, x)
    if second is not None and float(y @ second) < 0:
        y = -y  # a mirror image
    matrix = np.eye(4)
    matrix[:3, 0], matrix[:3, 1], matrix[:3, 2] = x * scales[0], y * scales[1], z * scales[2]
    matrix[:3, 3] = origin
    return matrix


def _ratios(direction: Any) -> F64 | None:
    if direction is None:
        return None
    ratios = np.zeros(3)
    values = direction.DirectionRatios
    ratios[: len(values)] = values
    return ratios


def cut_circles(model: Any) -> Any:
    """The model without (in memory) the relations by which objects are parts of their own parts: the kernels climb them without end."""
    above: dict[int, tuple[int, Any]] = {}
    for relation in (*model.by_type("IfcRelAggregates"), *model.by_type("IfcRelNests")):
        with suppress(*DAMAGED):
            whole = relation.get_argument(4).id()
            above |= {part.id(): (whole, relation) for part in relation.get_argument(5)}
    known: set[int] = set()
    for start in list(above):
        trail: dict[int, None] = {}
        at = start
        while at in above and at not in known and at not in trail:
            trail[at] = None
            at = above[at][0]
        known.update(trail)
        if at in trail:
            relation = above.pop(at)[1]
            left = [part for part in relation.get_argument(5) if part.id() != at]
            if left:
                relation[5] = left
            else:
                model.remove(relation)
    return model
