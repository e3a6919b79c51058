"""TINs that state points and leave their triangles to the reader (GML 3.1.1, 10.5.12.5 gml:Tin): those of Delaunay."""

from __future__ import annotations

from dataclasses import dataclass
from xml.etree.ElementTree import Element

import numpy as np
from numpy.typing import NDArray

from ingest_bim.citymodels.citygml_names import local

F64 = NDArray[np.float64]


@dataclass(frozen=True)
class Points:
    """`corners` (N, 3) as the file states them; no edge is longer than `longest` metres (None: any); `lines`: of so many lines the corners are among them."""

    corners: F64
    longest: float | None
    lines: int


def longest_edge(element: Element) -> float | None:
    """`maxLength` of a TIN in metres, None where it is absent, no number, or in another unit."""
    for child in element:
        if local(child.tag) == "maxLength" and child.get("uom", "m").rpartition(":")[2].rpartition("#")[2].lower() in ("m", "metre", "meter"):
            try:
                length = float((child.text or "").strip())
            except ValueError:
                return None
            return length if 0 < length < float("inf") else None
    return None


def triangles(plan: F64, longest: float | None) -> NDArray[np.int64]:
    """(T, 3) rows of points (N, 2) in metres, counterclockwise; none of fewer than three points, or of points on one line."""
    import scipy.spatial  # noqa: PLC0415  a fifth of a second, for few files

    if len(plan) < 3:
        return np.zeros((0, 3), np.int64)
    try:
        found = scipy.spatial.Delaunay(plan - plan.mean(axis=0)).simplices.astype(np.int64)
    except scipy.spatial.QhullError:
        return np.zeros((0, 3), np.int64)
    a, b, c = (plan[found[:, i]] for i in range(3))
    areas = (b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]
    found[areas < 0] = found[areas < 0][:, ::-1]
    if longest is not None:
        found = found[np.max([np.linalg.norm(p - q, axis=1) for p, q in ((a, b), (b, c), (c, a))], axis=0) <= longest]
    # in an order of their own, as Qhull's may be another tomorrow
    first = np.argmin(found, axis=1)
    turned: NDArray[np.int64] = np.take_along_axis(found, (first[:, None] + np.arange(3)) % 3, axis=1)
    ordered: NDArray[np.int64] = turned[np.lexsort(turned.T[::-1])]
    return ordered
