"""Ends that the parser's kernels draw twice: those of tapered extrusions, where one of the two may look inwards."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ingest_bim.geometry_polygons import cross
from ingest_bim.ifc_geometry import Shape

TAPERED = "IfcExtrudedAreaSolidTapered"


def capped_once(shape: Shape) -> Shape:
    """The same with one triangle at each place: of those at one place that which runs against its neighbours along their common edges."""
    corners = shape.positions[shape.triangles]
    points, numbers = np.unique(shape.positions, axis=0, return_inverse=True)
    triangles = numbers.reshape(-1)[shape.triangles].astype(np.int64)
    place, count = np.unique(np.sort(triangles, axis=1), axis=0, return_inverse=True, return_counts=True)[1:]
    double = count[place.reshape(-1)] > 1
    if not double.any():
        return shape
    # how the sides run along the edges of the ends, all triangles of an end together: those in its middle have no side beside them
    start, end = triangles, np.roll(triangles, -1, axis=1)
    sides = (start[~double] * len(points) + end[~double]).ravel()
    against = np.isin(end * len(points) + start, sides).sum(axis=1) - np.isin(start * len(points) + end, sides).sum(axis=1)
    normal = cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-300)
    upwards = _upwards(normal)
    plane = np.round(np.column_stack([normal * upwards[:, None], np.einsum("ij,ij->i", normal, corners[:, 0]) * upwards]), 4) + 0.0
    which = np.unique(plane, axis=0, return_inverse=True)[1].reshape(-1)
    votes = np.bincount(which[double], weights=(against * upwards)[double], minlength=which.max() + 1)
    wrong = double & (votes[which] * upwards < 0)
    order = np.argsort(wrong, kind="stable")
    kept = np.sort(order[np.unique(place.reshape(-1)[order], return_index=True)[1]])
    return replace(shape, triangles=np.ascontiguousarray(shape.triangles[kept]), rows=shape.rows[kept])


def _upwards(normal: NDArray[np.float64]) -> NDArray[np.float64]:
    """1 or −1 of each normal, the opposite for the opposite normal: the sign of its first coordinate that is not 0."""
    rounded = np.round(normal, 4)
    first = np.argmax(rounded != 0, axis=1)
    return np.where(rounded[np.arange(len(rounded)), first] < 0, -1.0, 1.0)
