"""A line over a grid as the cell faces it separates: watertight, with its true length shared out among them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray

from scenarios.flood.domain import Domain
from twin import crs
from twin.errors import BadOption


@dataclass(frozen=True)
class Trace:
    """Faces along a line, in its direction.

    Attributes:
        a, b: (N, 2) row and column of the cells on its left and right side.
        start, end: (N,) distance along the line at which the face's share begins and ends, m.
        cut: length of the line that lies outside the grid, m.
    """

    a: NDArray[np.int64]
    b: NDArray[np.int64]
    start: NDArray[np.float64]
    end: NDArray[np.float64]
    cut: float

    @property
    def key(self) -> list[tuple[int, int, int]]:
        """(row, column, 0 east face or 1 south face) of each face."""
        r, c = np.minimum(self.a[:, 0], self.b[:, 0]), np.minimum(self.a[:, 1], self.b[:, 1])
        return [(int(i), int(j), int(k)) for i, j, k in zip(r, c, self.a[:, 1] == self.b[:, 1], strict=True)]


def metres(domain: Domain, places: tuple[tuple[float, float], ...]) -> NDArray[np.float64]:
    """(N, 2) coordinates in the grid's CRS of WGS 84 places."""
    lonlat = np.array(places, np.float64)
    return np.column_stack(crs.from_lonlat(domain.horizontal, lonlat[:, 0], lonlat[:, 1]))


def trace(domain: Domain, places: tuple[tuple[float, float], ...], what: str) -> Trace:
    """The faces that a line separates: it is drawn along the grid's corners, so that no water slips through diagonally.

    Raises:
        BadOption: the line lies outside the area, or is shorter than half a cell.
    """
    cell = domain.transform.a
    line = shapely.LineString(metres(domain, places))
    count = max(int(np.ceil(line.length / cell * 8)), 2)
    along = np.linspace(0, line.length, count + 1)
    xy = shapely.get_coordinates(shapely.line_interpolate_point(line, along))
    column, row = ~domain.transform * (xy[:, 0], xy[:, 1])
    rows, columns = domain.bed.shape
    inside = (column > 0) & (row > 0) & (column < columns) & (row < rows)
    if not inside.any():
        raise BadOption(f"{what} lies outside the area of the run.", "Move it or widen bbox.")
    corners = np.column_stack([np.rint(row), np.rint(column)]).astype(np.int64)
    faces: list[tuple[int, int, int, int]] = []
    spans: list[list[float]] = []
    here = corners[0]
    for k in range(1, len(corners)):
        for corner in _way(here, corners[k], float(row[k]), float(column[k])):
            _add(faces, spans, (int(here[0]), int(here[1]), int(corner[0]), int(corner[1])), float(along[k]))
            here = corner
    if spans:
        spans[-1][1] = line.length
    found = [_sides(face, rows, columns) for face in faces]
    keep = [i for i, pair in enumerate(found) if pair is not None]
    if not keep:
        raise BadOption(f"{what} is {line.length:.2f} m long and separates no two cells of {cell:g} m.", "Draw it longer or take smaller cells.")
    pairs = np.array([found[i] for i in keep], np.int64)
    span = np.array([spans[i] for i in keep])
    cut = float(line.length - (span[:, 1] - span[:, 0]).sum())
    return Trace(pairs[:, :2], pairs[:, 2:], span[:, 0], span[:, 1], max(cut, 0.0))


def _way(a: NDArray[np.int64], b: NDArray[np.int64], row: float, column: float) -> list[NDArray[np.int64]]:
    """Corners from `a` (excluded) to `b`, a step along one axis at a time; a diagonal goes by the corner nearer to the line."""
    if (a == b).all():
        return []
    if (a != b).all():
        first, second = np.array([b[0], a[1]]), np.array([a[0], b[1]])
        near = first if np.hypot(*(first - [row, column])) <= np.hypot(*(second - [row, column])) else second
        return [near, b]
    return [b]


def _add(faces: list[tuple[int, int, int, int]], spans: list[list[float]], face: tuple[int, int, int, int], end: float) -> None:
    """Append a face; one walked back at once cancels the one before it, whose length goes to its neighbour."""
    if faces and faces[-1] == (*face[2:], *face[:2]):
        faces.pop()
        spans.pop()
        if spans:
            spans[-1][1] = end
        return
    faces.append(face)
    spans.append([spans[-1][1] if spans else 0.0, end])


def _sides(face: tuple[int, int, int, int], rows: int, columns: int) -> tuple[int, int, int, int] | None:
    """(left row, left column, right row, right column) of a face given by its corners; None at or beyond the grid's edge."""
    r0, c0, r1, c1 = face
    if r0 == r1:  # runs along a row of corners: cells above and below
        column = min(c0, c1)
        above, below = (r0 - 1, column), (r0, column)
        pair = (above, below) if c1 > c0 else (below, above)
    else:
        row = min(r0, r1)
        west, east = (row, c0 - 1), (row, c0)
        pair = (east, west) if r1 > r0 else (west, east)
    (ra, ca), (rb, cb) = pair
    if min(ra, ca, rb, cb) < 0 or max(ra, rb) >= rows or max(ca, cb) >= columns:
        return None
    return ra, ca, rb, cb
