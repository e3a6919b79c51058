# mypy: disable-error-code="no-untyped-def,no-untyped-call,untyped-decorator,no-any-return"
# ruff: noqa: ANN001, ANN201, ANN202  (types are in the docstrings: numba infers them)
"""The loops of block models: rings cleaned, corners in a tile's frame, faces of solids. Compiled by numba.

Each is a pure function of arrays; the tests hold plain numpy forms beside them.
"""

from __future__ import annotations

import math

import numpy as np

from twin.compiled import njit

FLOOR, ENDS, STARTS = range(3)
"""Three of the six vertices of a corner: of the floor, of the wall that ends and of the one that starts there. The others are those at the roof."""


# --- rings ------------------------------------------------------------------------------------------------------------


@njit(cache=True, nogil=True)
def _thin(xy, keep, count, same):
    """Take repeated corners and those on a straight line out of keep[:count]; returns how many are left."""
    drop = np.zeros(count, np.bool_)
    for _ in range(8):  # taking one corner away may make its neighbours superfluous
        found = False
        for i in range(count):
            p, q, s = keep[i - 1 if i else count - 1], keep[i], keep[i + 1 if i + 1 < count else 0]
            ax, ay, bx, by = xy[q, 0] - xy[p, 0], xy[q, 1] - xy[p, 1], xy[s, 0] - xy[q, 0], xy[s, 1] - xy[q, 1]
            drop[i] = math.hypot(ax, ay) < same or (ax * by == ay * bx and ax * bx + ay * by > 0)
            found |= drop[i]
        if not found:
            break
        left, last = 0, drop[count - 1]
        for i in range(count):  # of a run of corners to drop, every second one goes in a round
            here = drop[i]
            if not (here and not (last and i % 2 == 1)):
                keep[left] = keep[i]
                left += 1
            last = here
        if left == count:
            break
        count = left
    return count


@njit(cache=True, nogil=True)
def _area(xy, keep, count):
    """Signed area about the first corner."""
    total, x, y = 0.0, xy[keep[0], 0], xy[keep[0], 1]
    for i in range(count):
        p, q = keep[i], keep[i + 1 if i + 1 < count else 0]
        total += (xy[p, 0] - x) * (xy[q, 1] - y) - (xy[q, 0] - x) * (xy[p, 1] - y)
    return total / 2


@njit(cache=True, nogil=True)
def clean_rings(ring, hole, polygon, polygons, xy, same, small, order, size):
    """Which corners stay, in drawing order (see `tiling.blocks.solids.clean`).

    Args:
        ring: (C,) ring of each corner, ascending (rings may be without any). hole, polygon: (R,). xy: (C, 2). same, small: limits.
        order: (C,) int64, written: the corners kept, ring after ring. size: (R,) int64, written: how many of each ring.

    Returns:
        How many corners are kept.
    """
    left = np.empty(len(hole), np.int64)
    turned = np.zeros(len(hole), np.bool_)
    whole = np.zeros(polygons, np.bool_)
    scratch = np.arange(len(xy))
    start = np.zeros(len(hole) + 1, np.int64)
    for c in range(len(ring)):
        start[ring[c] + 1] += 1
    for r in range(len(hole)):
        start[r + 1] += start[r]
        keep = scratch[start[r] : start[r + 1]]
        left[r] = _thin(xy, keep, len(keep), same) if len(keep) else 0
        area = _area(xy, keep, left[r]) if left[r] >= 3 else 0.0
        if not abs(area) > small:
            left[r] = 0
        turned[r] = (area > 0) == hole[r]
        if left[r] and not hole[r]:
            whole[polygon[r]] = True
    at = 0
    for r in range(len(hole)):
        size[r] = left[r] if whole[polygon[r]] else 0
        for k in range(size[r]):
            order[at] = scratch[start[r] + (size[r] - 1 - k if turned[r] else k)]
            at += 1
    return at


# --- corners and faces ------------------------------------------------------------------------------------------------


@njit(cache=True, nogil=True)
def place_corners(lon, lat, height, frame, owner, a, e2, base, up, plan):
    """Corners in the frame of their tile, the ellipsoid's normal there, and the corners as they are seen from above.

    Args:
        lon, lat: (C,) degrees. height: (N,) ellipsoidal metres of each feature; owner: (C,) feature of each corner, ascending.
        frame: (N, 4, 4) frame of each feature's tile, rigid. a, e2: of the ellipsoid. base, up: (C, 3), written.
        plan: (C, 2), written: metres east and north of the feature's first corner, in the plane that touches the ellipsoid there. A tile's own
            plane may be half the earth away.
    """
    local, first, east, north = np.empty(3), np.empty(3), np.empty(3), np.empty(3)
    for c in range(len(lon)):
        lam, phi, h = math.radians(lon[c]), math.radians(lat[c]), height[owner[c]]
        axes = frame[owner[c]]
        sl, cl, sp, cp = math.sin(lam), math.cos(lam), math.sin(phi), math.cos(phi)
        n = a / math.sqrt(1 - e2 * sp * sp)
        x, y, z = (n + h) * cp * cl, (n + h) * cp * sl, (n * (1 - e2) + h) * sp
        if c == 0 or owner[c] != owner[c - 1]:
            first[0], first[1], first[2] = x, y, z
            east[0], east[1], east[2] = -sl, cl, 0.0
            north[0], north[1], north[2] = -sp * cl, -sp * sl, cp
        plan[c, 0] = (x - first[0]) * east[0] + (y - first[1]) * east[1]
        plan[c, 1] = (x - first[0]) * north[0] + (y - first[1]) * north[1] + (z - first[2]) * north[2]
        local[0], local[1], local[2] = x - axes[0, 3], y - axes[1, 3], z - axes[2, 3]
        for k in range(3):
            base[c, k] = local[0] * axes[0, k] + local[1] * axes[1, k] + local[2] * axes[2, k]
            up[c, k] = cp * cl * axes[0, k] + cp * sl * axes[1, k] + sp * axes[2, k]


@njit(cache=True, nogil=True)
def reach(base, up, height, first, last, low, high):
    """Extremes of the corners first…last and of the roof above them. height: (C,) metres; low, high: (3,), written."""
    low[:], high[:] = np.inf, -np.inf
    for c in range(first, last):
        for k in range(3):
            foot = base[c, k]
            roof = foot + height[c] * up[c, k]
            low[k] = min(low[k], foot, roof)
            high[k] = max(high[k], foot, roof)


@njit(cache=True, nogil=True)
def _put(place, x, y, z, origin, scale):
    """Metres, z up → steps of the lattice about `origin`, y up."""
    place[0] = np.int32(np.rint((x - origin[0]) * scale))
    place[1] = np.int32(np.rint((z - origin[1]) * scale))
    place[2] = np.int32(np.rint((-y - origin[2]) * scale))


@njit(cache=True, nogil=True)
def _turn(place, x, y, z):
    """A unit vector, z up → signed bytes, y up."""
    place[0] = np.int8(np.rint(x * 127))
    place[1] = np.int8(np.rint(z * 127))
    place[2] = np.int8(np.rint(-y * 127))


@njit(cache=True, nogil=True)
def _feet_and_tops(first, corner):
    """First vertex of the three at the floor and of the three at the roof. Every second corner begins with its roof: so heights change once a corner."""
    at = first + 6 * corner
    return (at, at + 3) if corner % 2 == 0 else (at + 3, at)


@njit(cache=True, nogil=True)
def faces(base, up, height, after, start, caps, cap_start, pick, number, origin, scale, lattice, normal, feature, triangles):
    """Solids of some polygons as vertices and triangles: six vertices a corner, corner after corner.

    What belongs to one corner lies together (`FLOOR` …), so that the codec of vertex columns has few and small steps.

    Args:
        base, up, height, after: (C, 3), (C, 3), (C,), (C,): corners, and which one follows each in its ring.
        start: (P + 1,) first corner of each polygon. caps: (T, 3) corners of the roofs' triangles; cap_start: (P + 1,).
        pick: (K,) polygons to draw; number: (P,) feature id of each. origin: (3,), y up; scale: steps a metre.
        lattice: (V, 3) int32; normal: (V, 4) int8; feature: (V,) uint32; triangles: (F, 3) uint32. All are written.
    """
    vertex = face = 0
    for p in pick:
        first = vertex
        for c in range(start[p], start[p + 1]):
            floor, roof = _feet_and_tops(first, c - start[p])
            x, y, z, h = base[c, 0], base[c, 1], base[c, 2], height[c]
            for k in range(3):
                _put(lattice[floor + k], x, y, z, origin, scale)
                _put(lattice[roof + k], x + h * up[c, 0], y + h * up[c, 1], z + h * up[c, 2], origin, scale)
            _turn(normal[floor + FLOOR], -up[c, 0], -up[c, 1], -up[c, 2])
            _turn(normal[roof + FLOOR], up[c, 0], up[c, 1], up[c, 2])
            vertex += 6
        normal[first:vertex, 3] = 0
        feature[first:vertex] = number[p]
        for t in range(cap_start[p], cap_start[p + 1]):
            for k in range(3):
                floor, roof = _feet_and_tops(first, caps[t, k] - start[p])
                triangles[face, k] = roof
                triangles[face + 1, 2 - k] = floor
            face += 2
        for c in range(start[p], start[p + 1]):
            d = after[c]
            ax, ay, az = base[d, 0] - base[c, 0], base[d, 1] - base[c, 1], base[d, 2] - base[c, 2]
            nx, ny, nz = ay * up[c, 2] - az * up[c, 1], az * up[c, 0] - ax * up[c, 2], ax * up[c, 1] - ay * up[c, 0]
            along = max(math.sqrt(nx * nx + ny * ny + nz * nz), 1e-12)
            low, high = _feet_and_tops(first, c - start[p])
            low_next, high_next = _feet_and_tops(first, d - start[p])
            for at in (low + STARTS, high + STARTS, low_next + ENDS, high_next + ENDS):
                _turn(normal[at], nx / along, ny / along, nz / along)
            triangles[face, 0], triangles[face, 1], triangles[face, 2] = low + STARTS, low_next + ENDS, high_next + ENDS
            triangles[face + 1, 0], triangles[face + 1, 1], triangles[face + 1, 2] = low + STARTS, high_next + ENDS, high + STARTS
            face += 2
