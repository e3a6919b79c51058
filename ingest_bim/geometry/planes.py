"""Bounded pieces of planes as faces: the parser's kernels fill the holes of one and do not draw the other (ifcopenshell 0.9, all of its kernels)."""

from __future__ import annotations

from typing import Any

import numpy as np

from ingest_bim.geometry.profiles import F64, Draw, chains
from ingest_bim.ifc.frames import axis_matrix


def bounded(draw: Draw, surface: Any) -> Any:
    """IfcCurveBoundedPlane: its boundaries are curves in the plane's own coordinates (ISO 16739-1).

    Raises:
        ValueError: the plane has no place, or a boundary is not one closed curve.
    """
    rings = []
    for curve in (surface.OuterBoundary, *(surface.InnerBoundaries or ())):
        found = chains(*draw.outline(curve))
        if len(found) != 1:
            raise ValueError(f"#{curve.id()} {curve.is_a()} is no boundary: it is not one curve")
        rings.append(found[0] / draw.length)
    return _face(draw, surface.BasisSurface, rings)


def rectangle(draw: Draw, surface: Any) -> Any | None:
    """IfcRectangularTrimmedSurface of a plane; None for one of another surface.

    Raises:
        ValueError: the plane has no place.
    """
    if surface.BasisSurface.is_a() != "IfcPlane":
        return None
    u, v = sorted((surface.U1, surface.U2)), sorted((surface.V1, surface.V2))
    return _face(draw, surface.BasisSurface, [np.array([(u[0], v[0], 0.0), (u[1], v[0], 0.0), (u[1], v[1], 0.0), (u[0], v[1], 0.0)])])


def _face(draw: Draw, plane: Any, rings: list[F64]) -> Any:
    """A face in a plane: (n, 3) points of each ring in its coordinates, the outer one first."""
    frame = axis_matrix(plane.Position)
    if frame is None:
        raise ValueError(f"#{plane.id()} {plane.is_a()} has no place")
    make, bounds = draw.make, []
    for k, ring in enumerate(rings):
        points = np.column_stack([ring[:, :2], np.zeros(len(ring)), np.ones(len(ring))]) @ frame.T
        loop = make("IfcPolyLoop", [make("IfcCartesianPoint", tuple(map(float, point[:3]))) for point in points])
        bounds.append(make("IfcFaceBound" if k else "IfcFaceOuterBound", loop, True))
    return make("IfcFaceBasedSurfaceModel", [make("IfcConnectedFaceSet", [make("IfcFace", bounds)])])
