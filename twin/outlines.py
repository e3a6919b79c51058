# mypy: disable-error-code="no-untyped-def,no-untyped-call,untyped-decorator,no-any-return"
# ruff: noqa: ANN001, ANN201, ANN202  (types are in the docstrings: numba infers them)
"""Polygons in well-known binary, read and judged without a geometry library: compiled loops for millions of small outlines.

`inspect` says of which polygons it is sure that they are valid (OGC 06-103r4 §6.1.11). It never guesses: whatever touches, overlaps, has
more than `MOST` corners or comes within the rounding of a comparison is left to GEOS, which the tests hold beside it.

Source: OGC 06-103r4 (simple features, well-known binary) §8; the error bound of an orientation: Shewchuk, Adaptive Precision
Floating-Point Arithmetic (1997), `ccwerrboundA`.
"""

from __future__ import annotations

import numpy as np

from twin.compiled import njit

MOST = 96
"""Points of a geometry that are compared with one another."""
_POLYGON, _MULTIPOLYGON = 3, 6
_BOUND = 4.0 * 2.0**-53


@njit(cache=True, nogil=True)
def _u4(data, at):
    return np.int64(data[at]) | np.int64(data[at + 1]) << 8 | np.int64(data[at + 2]) << 16 | np.int64(data[at + 3]) << 24


@njit(cache=True, nogil=True)
def _size_of_polygon(data, at, end):
    """(place behind a flat little-endian polygon, its rings, its points); the place is −1 where it is anything else."""
    if at + 9 > end or data[at] != 1 or _u4(data, at + 1) != _POLYGON:
        return -1, 0, 0
    rings, points = _u4(data, at + 5), 0
    at += 9
    for _ in range(rings):
        if at + 4 > end:
            return -1, 0, 0
        count = _u4(data, at)
        at += 4 + 16 * count
        points += count
        if count < 4 or at > end:
            return -1, 0, 0
    return at, rings, points


@njit(cache=True, nogil=True)
def measure_outlines(offsets, data, sizes):
    """Parts, rings and points of each geometry.

    Args:
        offsets: (N + 1,) integers, geometry i is data[offsets[i] : offsets[i + 1]]; data: uint8.
        sizes: (N, 3) int64, written; −1 where it is no flat little-endian polygon or multipolygon of closed rings' length.
    """
    for i in range(len(sizes)):
        at, end = np.int64(offsets[i]), np.int64(offsets[i + 1])
        sizes[i] = -1
        if at + 9 > end or data[at] != 1:
            continue
        kind, parts = _u4(data, at + 1), 1
        if kind == _MULTIPOLYGON:
            parts = _u4(data, at + 5)
            at += 9
        elif kind != _POLYGON:
            continue
        rings, points = 0, 0
        for _ in range(parts):
            at, r, p = _size_of_polygon(data, at, end)
            if at < 0:
                break
            rings += r
            points += p
        if at == end:
            sizes[i, 0], sizes[i, 1], sizes[i, 2] = parts, rings, points


@njit(cache=True, nogil=True)
def read_outlines(offsets, data, owner, polygon, hole, ring, bits):
    """The corners of geometries that `measure_outlines` knows, without the one that closes a ring.

    Args:
        offsets, data: as there.
        owner: (P,) geometry of each polygon; polygon: (R,) of each ring; hole: (R,); ring: (C,) of each corner;
            bits: (C, 2) uint64, its x and y as they lie in memory. All are written.
    """
    p = r = c = 0
    for i in range(len(offsets) - 1):
        at, parts = np.int64(offsets[i]), 1
        if _u4(data, at + 1) == _MULTIPOLYGON:
            parts = _u4(data, at + 5)
            at += 9
        for _ in range(parts):
            owner[p] = i
            rings = _u4(data, at + 5)
            at += 9
            for k in range(rings):
                polygon[r], hole[r] = p, k > 0
                points = _u4(data, at)
                at += 4
                for _ in range(points - 1):
                    ring[c] = r
                    for axis in range(2):
                        value = np.uint64(0)
                        for b in range(8):
                            value |= np.uint64(data[at + b]) << np.uint64(8 * b)
                        bits[c, axis] = value
                        at += 8
                    c += 1
                at += 16
                r += 1
            p += 1


# --- judging ----------------------------------------------------------------------------------------------------------


@njit(cache=True, nogil=True)
def _float(data, at, number, raw):
    for k in range(8):
        raw[k] = data[at + k]
    return number[0]


@njit(cache=True, nogil=True)
def _side(ax, ay, bx, by, px, py):
    """1 or −1 where p lies surely to the left or right of a → b, else 0."""
    left, right = (ax - px) * (by - py), (ay - py) * (bx - px)
    bound = _BOUND * (abs(left) + abs(right))
    if left - right > bound:
        return 1
    return -1 if left - right < -bound else 0


@njit(cache=True, nogil=True)
def _apart(x, y, i, j):
    """Whether the segments that begin at points i and j surely have nothing in common."""
    if (max(x[i], x[i + 1]) < min(x[j], x[j + 1]) or max(x[j], x[j + 1]) < min(x[i], x[i + 1])
            or max(y[i], y[i + 1]) < min(y[j], y[j + 1]) or max(y[j], y[j + 1]) < min(y[i], y[i + 1])):  # fmt: skip
        return True
    if _side(x[i], y[i], x[i + 1], y[i + 1], x[j], y[j]) * _side(x[i], y[i], x[i + 1], y[i + 1], x[j + 1], y[j + 1]) > 0:
        return True
    return _side(x[j], y[j], x[j + 1], y[j + 1], x[i], y[i]) * _side(x[j], y[j], x[j + 1], y[j + 1], x[i + 1], y[i + 1]) > 0


@njit(cache=True, nogil=True)
def _goes_on(x, y, i, j):
    """Whether segment j, which follows i in a ring, surely does not turn back on it."""
    if _side(x[i], y[i], x[i + 1], y[i + 1], x[j + 1], y[j + 1]) != 0:
        return True
    return (x[i + 1] - x[i]) * (x[j + 1] - x[j]) + (y[i + 1] - y[i]) * (y[j + 1] - y[j]) > 0 and (x[j] != x[j + 1] or y[j] != y[j + 1])


@njit(cache=True, nogil=True)
def _within(x, y, first, last, p):
    """1 or 0 whether point p is surely inside or outside of the ring first…last (closed), −1 where that cannot be told."""
    inside = 0
    for i in range(first, last):
        if (y[i] > y[p]) != (y[i + 1] > y[p]):
            side = _side(x[i], y[i], x[i + 1], y[i + 1], x[p], y[p])
            if side == 0:
                return -1
            inside ^= (side > 0) == (y[i + 1] > y[i])
    return inside


@njit(cache=True, nogil=True)
def _valid(x, y, start, part, rings):
    """Whether rings (closed, points start[r] to before start[r + 1], of polygon part[r]) surely make valid polygons."""
    for r in range(rings):
        for i in range(start[r], start[r + 1] - 1):
            for j in range(i + 1, start[r + 1] - 1):
                first = i == start[r] and j == start[r + 1] - 2
                if j == i + 1:
                    if not _goes_on(x, y, i, j) or (first and not _goes_on(x, y, j, i)):
                        return False
                elif first:
                    if not _goes_on(x, y, j, i):
                        return False
                elif not _apart(x, y, i, j):
                    return False
            for j in range(start[r + 1], start[rings] - 1):
                # the step from the end of one ring to the start of the next is no segment
                if not _ends(start, rings, j) and not _apart(x, y, i, j):
                    return False
    for r in range(rings):
        for s in range(rings):
            if r != s:
                hole = s > 0 and part[s] == part[s - 1]
                wanted = 1 if hole and part[r] == part[s] and (r == 0 or part[r - 1] != part[r]) else 0
                if _within(x, y, start[r], start[r + 1] - 1, start[s]) != wanted:
                    return False
    return True


@njit(cache=True, nogil=True)
def _ends(start, rings, j):
    for r in range(1, rings):  # noqa: SIM110  numba knows no generators
        if j == start[r] - 1:
            return True
    return False


@njit(cache=True, nogil=True)
def _broad(x, y, start, rings):
    """Whether no ring is a sliver, whose area would be lost in the rounding of its coordinates (GEOS then finds none)."""
    for r in range(rings):
        first, last = start[r], start[r + 1]
        twice = wide = 0.0
        for i in range(first + 1, last - 1):
            ax, ay, bx, by = x[i] - x[first], y[i] - y[first], x[i + 1] - x[first], y[i + 1] - y[first]
            twice += ax * by - ay * bx
            wide = max(wide, ax * ax + ay * ay)
        if abs(twice) <= 1e-6 * wide:
            return False
    return True


@njit(cache=True, nogil=True)
def inspect(offsets, data, sizes, boxes, sure):
    """Box of each geometry, and whether it is surely a valid polygon or multipolygon with an area.

    Args:
        offsets, data, sizes: as `measure_outlines` takes and writes them.
        boxes: (N, 4) float64, written where `sure`: lowest x and y, highest x and y. sure: (N,) bool, written.
    """
    number = np.empty(1, np.float64)
    raw = number.view(np.uint8)
    x, y = np.empty(MOST), np.empty(MOST)
    start, part = np.empty(MOST, np.int64), np.empty(MOST, np.int64)
    for i in range(len(sizes)):
        sure[i] = False
        points = sizes[i, 2]
        if points < 4 or points > MOST or sizes[i, 0] < 1:
            continue
        at, parts = np.int64(offsets[i]), 1
        if _u4(data, at + 1) == _MULTIPOLYGON:
            parts = _u4(data, at + 5)
            at += 9
        n = rings = 0
        good = True
        for p in range(parts):
            count = _u4(data, at + 5)
            good &= count > 0
            at += 9
            for _ in range(count):
                start[rings], part[rings] = n, p
                length = _u4(data, at)
                at += 4
                for _ in range(length):
                    x[n], y[n] = _float(data, at, number, raw), _float(data, at + 8, number, raw)
                    good &= np.isfinite(x[n]) and np.isfinite(y[n])
                    at += 16
                    n += 1
                good &= x[start[rings]] == x[n - 1] and y[start[rings]] == y[n - 1]
                rings += 1
        start[rings] = n
        if good and _broad(x, y, start, rings) and _valid(x, y, start, part, rings):
            sure[i] = True
            boxes[i, 0], boxes[i, 1], boxes[i, 2], boxes[i, 3] = x[:n].min(), y[:n].min(), x[:n].max(), y[:n].max()
