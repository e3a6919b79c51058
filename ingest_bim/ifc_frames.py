"""Object placements → matrices, guarded against cycles; in project units."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]


def local_matrix(placement: Any, cache: dict[int, F64 | None] | None = None) -> F64 | None:
    """(4, 4) world matrix of a chain of IfcLocalPlacement; None for cycles and for grid and linear placements."""
    known = cache if cache is not None else {}
    chain: list[Any] = []
    seen: set[int] = set()
    at = placement
    while at is not None and at.id() not in known:
        if not at.is_a("IfcLocalPlacement") or at.id() in seen:
            for part in chain:
                known[part.id()] = None
            return None
        seen.add(at.id())
        chain.append(at)
        at = at.PlacementRelTo
    above = known[at.id()] if at is not None else np.eye(4)
    for part in reversed(chain):
        own = axis_matrix(part.RelativePlacement)
        above = None if above is None or own is None else above @ own
        known[part.id()] = above
    return above


def axis_matrix(axis: Any) -> F64 | None:
    """(4, 4) of an IfcAxis2Placement2D or 3D (ISO 10303-42: z given, x made perpendicular to it, y = z × x)."""
    if axis is None:
        return np.eye(4)
    location = axis.Location
    if location is None or not location.is_a("IfcCartesianPoint"):
        return None
    point = np.zeros(3)
    values = location.Coordinates
    point[: len(values)] = values
    z = np.array([0.0, 0.0, 1.0])
    if axis.is_a("IfcAxis2Placement3D") and axis.Axis is not None:
        z = np.array(axis.Axis.DirectionRatios, np.float64)
    x = np.array([1.0, 0.0, 0.0])
    if axis.RefDirection is not None:
        x = np.zeros(3)
        ratios = axis.RefDirection.DirectionRatios
        x[: len(ratios)] = ratios
    elif abs(z[0]) > 1 - 1e-9 * np.linalg.norm(z) and np.allclose(z[1:], 0):
        x = np.array([0.0, 0.0, 1.0])
    size = np.linalg.norm(z)
    if size < 1e-12:
        return None
    z = z / size
    x = x - z * float(x @ z)
    size = np.linalg.norm(x)
    if size < 1e-12:
        return None
    matrix = np.eye(4)
    matrix[:3, 0], matrix[:3, 2] = x / size, z
    matrix[:3, 1] = np.cross(z, x / size)
    matrix[:3, 3] = point
    return matrix
