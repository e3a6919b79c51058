"""Sections that the parser's kernels draw inside of a solid along an alignment (through sections, or swept with a fixed reference): the first one is drawn both ways, and once more where the next piece begins."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ingest_bim.geometry.polygons import cross
from ingest_bim.ifc.geometry import Shape

LOFTED = frozenset(("IfcSectionedSolidHorizontal", "IfcFixedReferenceSweptAreaSolid", "IfcDirectrixDerivedReferenceSweptAreaSolid"))
"""What they draw from section to section."""
I64 = NDArray[np.int64]


def closed(shape: Shape) -> Shape:
    """The same with one vertex at one place, so that it is known to be closed, and without flat pieces that nothing is missing without: where each of a piece's outer edges, run through more often one way than the other, is not any more without it."""
    corners = shape.positions[shape.triangles]
    points, first, numbers = np.unique(np.round(shape.positions, 6), axis=0, return_index=True, return_inverse=True)
    triangles = numbers.reshape(-1)[shape.triangles].astype(np.int64)
    welded = replace(shape, positions=shape.positions[first], triangles=triangles.astype(np.int32))
    start, end = triangles, np.roll(triangles, -1, axis=1)
    edges, which = np.unique(np.minimum(start, end) * len(points) + np.maximum(start, end), return_inverse=True)
    which, sense = which.reshape(-1, 3), np.where(start < end, 1, -1)
    net = np.bincount(which.ravel(), weights=sense.ravel(), minlength=len(edges))
    if not net.any():
        return welded
    normal = cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-300)
    plane = np.unique(np.round(np.column_stack([normal, np.einsum("ij,ij->i", normal, corners[:, 0])]), 3) + 0.0, axis=0, return_inverse=True)[1].reshape(-1)
    kept = np.ones(len(triangles), bool)
    for piece in np.unique(plane[(net[which] != 0).any(axis=1)]):
        members = plane == piece
        own, place = np.unique(which[members], return_inverse=True)
        outer = np.bincount(place.ravel(), weights=sense[members].ravel(), minlength=len(own))
        rim = own[outer != 0]
        if len(rim) and np.array_equal(net[rim], outer[outer != 0]):
            net[rim] = 0
            kept &= ~members
    return replace(welded, triangles=np.ascontiguousarray(welded.triangles[kept]), rows=shape.rows[kept])
