"""Outlines and heights → closed, outward-facing solids; arrays in, arrays out, a whole tile at once.

A solid has a roof, a floor and a wall per edge of every ring, courtyards included. Corners are repeated per face so that
normals are flat: 6 vertices a corner. Vertices and triangles lie building after building, which deflate and GPUs both like.
"""

from __future__ import annotations

from dataclasses import dataclass

import mapbox_earcut
import numpy as np
import shapely
from numpy.typing import NDArray

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
SAME = 1e-4
"""Corners closer than this (m) are one corner."""
SMALL = 1e-3
"""Rings of less area (m²) are nothing."""


@dataclass(frozen=True)
class Rings:
    """Corners of polygons' rings, ring after ring (the outer ring of a polygon first), without the closing corner.

    Attributes:
        ring: (N,) ring of each corner, ascending; polygon: (R,) polygon of each ring, ascending;
        hole: (R,) whether it is a courtyard; owner: (P,) row of the feature that each polygon belongs to.
    """

    ring: I64
    polygon: I64
    hole: NDArray[np.bool_]
    owner: I64


@dataclass(frozen=True)
class Solids:
    """Faces of solids.

    positions (V, 3), normals (V, 3), triangles (T, 3), `polygon` (V,) the solid of each vertex, `flawed` (K,) polygons
    whose roof could not be triangulated exactly.
    """

    positions: F64
    normals: F64
    triangles: I64
    polygon: I64
    flawed: I64


def rings_of(geometry: NDArray[np.object_]) -> tuple[Rings, F64]:
    """The rings of (Multi)Polygons and their (N, 2) source coordinates. Other geometries yield nothing."""
    parts, owner = shapely.get_parts(geometry, return_index=True)
    flat = shapely.get_type_id(parts) == 3
    parts, owner = parts[flat], owner[flat]
    rings, polygon = shapely.get_rings(parts, return_index=True)
    xy, ring = shapely.get_coordinates(rings, return_index=True)
    last = np.diff(ring, append=-1) != 0
    hole = np.diff(polygon, prepend=-1) == 0
    return Rings(ring[~last], polygon, hole, owner.astype(np.int64)), xy[~last]


def clean(rings: Rings, xy: F64) -> tuple[Rings, I64]:
    """Outer rings counter-clockwise and courtyards clockwise, without repeated or superfluous corners, in metres.

    Args:
        rings: as `rings_of` returns them.
        xy: (N, 2) corners in a metric frame.

    Returns:
        (rings renumbered without what is too small, (M,) the corners kept, in drawing order). A polygon whose outer
        ring goes loses its courtyards too.
    """
    keep = np.arange(len(xy))
    ring = rings.ring
    for _ in range(8):  # taking one corner away may make its neighbours superfluous
        before, after = neighbours(ring)
        a, b = xy[keep] - xy[keep[before]], xy[keep[after]] - xy[keep]
        straight = (a[:, 0] * b[:, 1] == a[:, 1] * b[:, 0]) & ((a * b).sum(1) > 0)
        # of a run of corners to drop, every second one goes in a round
        drop = (np.hypot(a[:, 0], a[:, 1]) < SAME) | straight
        start, count = _runs(ring)  # counted within the ring: what lies before it must not show
        drop &= ~(drop[before] & ((np.arange(len(drop)) - np.repeat(start, count)) % 2 == 1))
        if not drop.any():
            break
        keep, ring = keep[~drop], ring[~drop]
    area = ring_areas(ring, xy[keep], len(rings.polygon))
    corners = np.bincount(ring, minlength=len(rings.polygon))
    good = (np.abs(area) > SMALL) & (corners >= 3)
    outer_good = np.zeros(len(rings.owner), bool)
    outer_good[rings.polygon[~rings.hole & good]] = True
    good &= outer_good[rings.polygon]
    turn = good & ((area > 0) == rings.hole)
    inside = good[ring]
    keep, ring = keep[inside], ring[inside]
    start, count = _runs(ring)
    place = np.arange(len(ring)) - np.repeat(start, count)
    flip = turn[ring]
    mirrored = np.repeat(start + count - 1, count) - place
    order = np.where(flip, mirrored, np.arange(len(ring)))
    new_polygon = np.cumsum(outer_good) - 1
    new_ring = np.cumsum(good) - 1
    fresh = Rings(new_ring[ring], new_polygon[rings.polygon[good]], rings.hole[good], rings.owner[outer_good])
    return fresh, keep[order]


def neighbours(ring: I64) -> tuple[I64, I64]:
    """(N,) positions of the corner before and after each corner in its ring."""
    start, count = _runs(ring)
    here = np.arange(len(ring))
    first, last = np.repeat(start, count), np.repeat(start + count - 1, count)
    return np.where(here == first, last, here - 1), np.where(here == last, first, here + 1)


def _runs(values: I64) -> tuple[I64, I64]:
    """Start and length of each run of equal values."""
    if not len(values):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    start = np.flatnonzero(np.diff(values, prepend=values[0] - 1))
    return start, np.diff(start, append=len(values))


def ring_areas(ring: I64, xy: F64, count: int) -> F64:
    """(R,) signed areas (m², positive counter-clockwise), each about its own first corner so that nothing cancels."""
    start, lengths = _runs(ring)
    p = xy - np.repeat(xy[start], lengths, axis=0) if len(start) else xy
    _, after = neighbours(ring)
    cross = p[:, 0] * p[after, 1] - p[after, 0] * p[:, 1]
    return np.asarray(np.bincount(ring, cross, minlength=count) / 2, np.float64)


def extrude(rings: Rings, base: F64, roof: F64, up: F64) -> Solids:
    """Solids between two corners sets.

    Args:
        rings: as `clean` returns them.
        base: (N, 3) lower corners in the tile's frame (metres, z up).
        roof: (N, 3) upper corners.
        up: (N, 3) unit vectors.
    """
    corners, polygons = len(base), len(rings.owner)
    polygon = rings.polygon[rings.ring]  # of each corner
    first, size = np.searchsorted(polygon, np.arange(polygons)), np.bincount(polygon, minlength=polygons)
    caps, cap_polygon, flawed = triangulate(rings, base[:, :2])
    _, after = neighbours(rings.ring)

    positions, normals = np.empty((6 * corners, 3)), np.empty((6 * corners, 3))
    local = np.arange(corners) - first[polygon]
    at_roof = 6 * first[polygon] + local
    at_floor = at_roof + size[polygon]
    at_wall = 6 * first[polygon] + 2 * size[polygon] + 4 * local
    positions[at_roof], normals[at_roof] = roof, up
    positions[at_floor], normals[at_floor] = base, -up
    along = base[after] - base
    outward = np.column_stack([along[:, 1], -along[:, 0], np.zeros(corners)])
    outward /= np.maximum(np.hypot(along[:, 0], along[:, 1]), 1e-12)[:, None]
    for k, corner in enumerate((base, base[after], roof[after], roof)):
        positions[at_wall + k], normals[at_wall + k] = corner, outward

    roofs = np.bincount(cap_polygon, minlength=polygons)
    start = np.concatenate([[0], np.cumsum(2 * roofs + 2 * size)])[:-1]
    triangles = np.empty((2 * len(caps) + 2 * corners, 3), np.int64)
    cap_local = np.arange(len(caps)) - np.repeat(np.cumsum(roofs) - roofs, roofs)
    to = start[cap_polygon] + cap_local
    triangles[to] = at_roof[caps]
    triangles[to + roofs[cap_polygon]] = at_floor[caps[:, ::-1]]
    to = start[polygon] + 2 * roofs[polygon] + 2 * local
    triangles[to] = at_wall[:, None] + np.array([0, 1, 2])
    triangles[to + 1] = at_wall[:, None] + np.array([0, 2, 3])
    return Solids(positions, normals, triangles, np.repeat(np.arange(polygons), 6 * size), flawed)


def triangulate(rings: Rings, xy: F64) -> tuple[I64, I64, I64]:
    """Caps of all polygons: ((T, 3) counter-clockwise corners, (T,) polygon of each, (K,) polygons that did not come out whole).

    Convex quadrilaterals (most buildings) are cut along a diagonal all at once; the rest go through earcut, one by one,
    and those for which it leaves corners out (it drops collinear ones) through a constrained Delaunay triangulation.
    """
    polygons = len(rings.owner)
    polygon = rings.polygon[rings.ring]
    first, size = np.searchsorted(polygon, np.arange(polygons)), np.bincount(polygon, minlength=polygons)
    before, after = neighbours(rings.ring)
    a, b = xy - xy[before], xy[after] - xy
    bends = a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0] > 0
    convex = np.bincount(polygon, ~bends, minlength=polygons) == 0
    ring_count = np.bincount(rings.polygon, minlength=polygons)
    easy = convex & (ring_count == 1) & (size <= 4)
    quads, threes = np.flatnonzero(easy & (size == 4)), np.flatnonzero(easy & (size == 3))
    caps = [first[quads][:, None] + np.array([0, 1, 2]), first[quads][:, None] + np.array([0, 2, 3]), first[threes][:, None] + np.arange(3)]
    owner = [quads, quads, threes]
    hard = np.flatnonzero(~easy)
    if len(hard):
        found, count = _cut(rings, xy - xy[first[polygon]], hard, first, size, ring_count)
        caps.append(found)
        owner.append(np.repeat(hard, count))
    return _ordered(rings, xy, np.concatenate(caps).astype(np.int64), np.concatenate(owner).astype(np.int64))


def _ordered(rings: Rings, xy: F64, caps: I64, owner: I64) -> tuple[I64, I64, I64]:
    """Caps polygon after polygon, counter-clockwise, and the polygons that they do not cover exactly."""
    polygons = len(rings.owner)
    order = np.argsort(owner, kind="stable")
    caps, owner = caps[order], owner[order]
    doubled = _twice_area(xy[caps])
    caps[doubled < 0] = caps[doubled < 0][:, ::-1]
    expected = np.bincount(rings.polygon, ring_areas(rings.ring, xy, len(rings.polygon)), minlength=polygons)
    covered = np.bincount(owner, np.abs(doubled) / 2, minlength=polygons)
    return caps, owner, np.flatnonzero(np.abs(covered - expected) > 1e-6 * expected + 1e-4)


def _cut(rings: Rings, xy: F64, hard: I64, first: I64, size: I64, ring_count: I64) -> tuple[I64, I64]:
    """((T, 3) corners, (K,) triangles of each polygon of `hard`) by earcut; `xy` is relative to each polygon's first corner."""
    ring_ends = np.append(np.flatnonzero(np.diff(rings.ring)) + 1, len(rings.ring))
    ends = (ring_ends - first[rings.polygon]).astype(np.uint32)
    a, n = first[hard].tolist(), size[hard].tolist()
    r, k = np.searchsorted(rings.polygon, hard).tolist(), ring_count[hard].tolist()
    cut = mapbox_earcut.triangulate_float64
    pieces = [cut(xy[i : i + m], ends[j : j + h]) for i, m, j, h in zip(a, n, r, k, strict=True)]
    for q in np.flatnonzero(np.array([len(piece) for piece in pieces]) != 3 * (size[hard] + 2 * ring_count[hard] - 4)):
        exact = _delaunay(xy[a[q] : a[q] + n[q]], ends[r[q] : r[q] + k[q]])
        if len(exact) == size[hard[q]] + 2 * ring_count[hard[q]] - 4:
            pieces[q] = exact.ravel()
    count = np.array([len(piece) // 3 for piece in pieces])
    return np.concatenate(pieces).astype(np.int64).reshape(-1, 3) + np.repeat(first[hard], count)[:, None], count


def _delaunay(xy: F64, ends: NDArray[np.uint32]) -> I64:
    """Constrained Delaunay triangles by GEOS, which uses every corner; empty where GEOS refuses the polygon."""
    shells = [xy[a:b] for a, b in zip([0, *ends[:-1]], ends, strict=True)]
    try:
        parts = shapely.get_parts(shapely.constrained_delaunay_triangles(shapely.Polygon(shells[0], shells[1:])))
    except shapely.errors.GEOSException:
        return np.zeros((0, 3), np.int64)
    number = {tuple(corner): position for position, corner in enumerate(xy.tolist())}
    corners = shapely.get_coordinates(parts).reshape(-1, 4, 2)[:, :3].reshape(-1, 2).tolist()
    if any(tuple(c) not in number for c in corners):
        return np.zeros((0, 3), np.int64)
    return np.array([number[tuple(c)] for c in corners], np.int64).reshape(-1, 3)


def _twice_area(corners: F64) -> F64:
    a, b = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    return np.asarray(a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0], np.float64)
