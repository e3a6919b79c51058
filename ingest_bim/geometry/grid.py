"""Placements on a grid as local ones, which the parser's kernels do not follow (ifcopenshell 0.9): where straight axes cross."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ingest_bim.ifc.step_access import attribute

F64 = NDArray[np.float64]


def local_placement(model: Any, placement: Any) -> Any | None:
    """An IfcLocalPlacement in the frame of the grid for an IfcGridPlacement (ISO 16739-1); None where its axes are bent or do not cross."""
    axes = placement.PlacementLocation.IntersectingAxes
    grids = [grid for name in ("PartOfU", "PartOfV", "PartOfW") for grid in attribute(axes[0], name, ())]
    at, along = _crossing(placement.PlacementLocation), _line(axes[0])
    if not grids or at is None or along is None:
        return None
    x = along[1]
    towards = attribute(placement, "PlacementRefDirection")
    if towards is not None and towards.is_a("IfcDirection"):
        x = np.array(towards.DirectionRatios[:2], np.float64)
    elif towards is not None:
        other = _crossing(towards)
        if other is None:
            return None
        x = (other - at)[:2]
    if not np.linalg.norm(x) > 0:
        return None
    make = model.create_entity
    up, right = (make("IfcDirection", ratios) for ratios in ((0.0, 0.0, 1.0), (float(x[0]), float(x[1]), 0.0)))
    frame = make("IfcAxis2Placement3D", make("IfcCartesianPoint", tuple(map(float, at))), up, right)
    return make("IfcLocalPlacement", grids[0].ObjectPlacement, frame)


def _crossing(intersection: Any) -> F64 | None:
    """(3,) where two axes cross in the plane of their grid; each is moved to its left, and the point upwards, by the offsets that are stated."""
    lines = [_line(axis) for axis in intersection.IntersectingAxes]
    if any(line is None for line in lines):
        return None
    offsets = [*(attribute(intersection, "OffsetDistances") or ()), 0.0, 0.0, 0.0]
    (p, d), (q, e) = ((start + offset * np.array([-along[1], along[0]]), along) for (start, along), offset in zip(lines, offsets, strict=False))  # type: ignore[misc]
    across = d[0] * e[1] - d[1] * e[0]
    if abs(across) < 1e-9:
        return None
    share = ((q - p)[0] * e[1] - (q - p)[1] * e[0]) / across
    return np.array([*(p + share * d), offsets[2]])


def _line(axis: Any) -> tuple[F64, F64] | None:
    """(a point, the direction) of an axis that is straight."""
    curve, sense = axis.AxisCurve, -1.0 if axis.SameSense is False else 1.0
    if curve.is_a("IfcTrimmedCurve"):
        sense, curve = (sense if curve.SenseAgreement else -sense), curve.BasisCurve
    if curve.is_a("IfcLine"):
        start, along = np.array(curve.Pnt.Coordinates[:2], np.float64), np.array(curve.Dir.Orientation.DirectionRatios[:2], np.float64)
    elif curve.is_a("IfcPolyline") and len(curve.Points) == 2:
        start = np.array(curve.Points[0].Coordinates[:2], np.float64)
        along = np.array(curve.Points[1].Coordinates[:2], np.float64) - start
    else:
        return None
    size = np.linalg.norm(along)
    return (start, along / size * sense) if size > 0 else None
