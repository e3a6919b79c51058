"""Outlines and heights → closed, outward-facing solids; arrays in, arrays out, a whole tile at once.

A solid has a roof, a floor and a wall per edge of every ring, courtyards included. Corners are repeated per face so that
normals are flat: 6 vertices a corner, which lie together. The loops are in `tiling.blocks.kernels`.
"""

from __future__ import annotations

from dataclasses import dataclass

import mapbox_earcut
import numpy as np
import pyarrow as pa
import shapely
from numpy.typing import NDArray

from tiling.blocks import kernels
from tiling.encoding.arrow_bytes import offsets_and_data
from twin.outlines import measure_outlines, read_outlines

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
    """P solids on C corners.

    Attributes:
        plan, base, up, height: as `extrude` takes them. after: (C,) the corner that follows each in its ring.
        start: (P + 1,) first corner of each. caps: (T, 3) corners of the roofs' triangles, counter-clockwise; cap_start: (P + 1,).
        flawed: (K,) polygons whose roof could not be triangulated exactly.
    """

    plan: F64
    base: F64
    up: F64
    height: F64
    after: I64
    start: I64
    caps: I64
    cap_start: I64
    flawed: I64

    def extremes(self, first: int, last: int) -> tuple[F64, F64]:
        """((3,) lowest, (3,) highest) of the solids from `first` to before `last`."""
        low, high = np.empty(3), np.empty(3)
        kernels.reach(self.base, self.up, self.height, self.start[first], self.start[last], low, high)
        return low, high

    def faces(self, pick: I64, number: I64, origin: F64, scale: float) -> Faces:
        """Some of them as vertices and triangles.

        Args:
            pick: (K,) which; number: (P,) feature id of each solid. origin: (3,) metres, y up, of the lattice; scale: its steps a metre.
        """
        corners, roofs = int((self.start[pick + 1] - self.start[pick]).sum()), int((self.cap_start[pick + 1] - self.cap_start[pick]).sum())
        made = Faces(np.empty((6 * corners, 3), np.int32), np.empty((6 * corners, 4), np.int8), np.empty(6 * corners, np.uint32),
                     np.empty((2 * corners + 2 * roofs, 3), np.uint32))  # fmt: skip
        kernels.faces(self.base, self.up, self.height, self.after, self.start, self.caps, self.cap_start, pick, number, origin, scale,
                      made.lattice, made.normal, made.feature, made.triangles)  # fmt: skip
        return made


@dataclass(frozen=True)
class Faces:
    """What is drawn, y up as in glTF: six vertices a corner.

    lattice (V, 3) int32 steps, normal (V, 4) int8 (the fourth is 0), feature (V,) uint32, triangles (T, 3) uint32, facing outward.
    """

    lattice: NDArray[np.int32]
    normal: NDArray[np.int8]
    feature: NDArray[np.uint32]
    triangles: NDArray[np.uint32]


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


def outlines(wkb: pa.Array) -> tuple[Rings, F64]:
    """`rings_of` a column of well-known binary; flat polygons, which is what footprints are, without making geometries of them."""
    offsets, data = offsets_and_data(wkb)
    sizes = np.empty((len(wkb), 3), np.int64)
    measure_outlines(offsets, data, sizes)
    if wkb.null_count or (sizes < 0).any():
        return rings_of(shapely.from_wkb(wkb.to_numpy(zero_copy_only=False)))
    parts, rings, points = sizes.sum(axis=0)
    found = Rings(np.empty(points - rings, np.int64), np.empty(rings, np.int64), np.empty(rings, bool), np.empty(parts, np.int64))
    bits = np.empty((points - rings, 2), np.uint64)
    read_outlines(offsets, data, found.owner, found.polygon, found.hole, found.ring, bits)
    return found, bits.view(np.float64)


def clean(rings: Rings, xy: F64) -> tuple[Rings, I64]:
    """Outer rings counter-clockwise and courtyards clockwise, without repeated or superfluous corners, in metres.

    Args:
        rings: as `rings_of` returns them.
        xy: (N, 2) corners in a metric frame.

    Returns:
        (rings renumbered without what is too small, (M,) the corners kept, in drawing order). A polygon whose outer
        ring goes loses its courtyards too.
    """
    order, size = np.empty(len(xy), np.int64), np.empty(len(rings.hole), np.int64)
    kept = kernels.clean_rings(rings.ring, rings.hole, rings.polygon, len(rings.owner), xy, SAME, SMALL, order, size)
    good = size > 0
    whole = np.zeros(len(rings.owner), bool)
    whole[rings.polygon[good]] = True
    number = np.cumsum(whole) - 1
    ring = np.repeat(np.arange(int(good.sum())), size[good])
    return Rings(ring, number[rings.polygon[good]], rings.hole[good], rings.owner[whole]), order[:kept]


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


def extrude(rings: Rings, plan: F64, base: F64, height: F64, up: F64) -> Solids:
    """Solids on outlines.

    Args:
        rings: as `clean` returns them. plan: (N, 2) their corners in metres, as they are seen from above.
        base: (N, 3) lower corners in a frame of theirs (metres, z up); polygons may have different frames.
        height: (N,) metres from each lower corner to the roof; up: (N, 3) unit vectors to it.
    """
    polygons = len(rings.owner)
    polygon = rings.polygon[rings.ring]
    caps, owner, flawed = triangulate(rings, plan)
    numbers = np.arange(polygons + 1)
    return Solids(plan, base, up, height, neighbours(rings.ring)[1], np.searchsorted(polygon, numbers), caps, np.searchsorted(owner, numbers), flawed)


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
