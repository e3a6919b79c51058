# mypy: disable-error-code="no-untyped-def,no-untyped-call,untyped-decorator,return-value,assignment"
# ruff: noqa: ANN001, ANN201  (types are in the docstrings: numba infers them)
"""The hot loops of the point tiler: pure functions over arrays, compiled by numba; the tests hold a plain form of each.

They release the interpreter lock, so threads share the work without copying points between processes.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from twin.compiled import njit

BITS = 21
"""Octree levels in a Morton code (63 bits)."""
ROUNDS, BLOCK = 4, 4096
"""Sweeps of `choose_spread`, and points of a block."""


@njit(cache=True, nogil=True)
def _i32(raw: Any, at: int) -> int:
    value = np.uint32(raw[at]) | (np.uint32(raw[at + 1]) << 8) | (np.uint32(raw[at + 2]) << 16) | (np.uint32(raw[at + 3]) << 24)
    return np.int32(value)


@njit(cache=True, nogil=True)
def _spread(value: int) -> int:
    """The 21 bits of a number, two zero bits between each (Morton, 1966; magic numbers by bit doubling)."""
    x = np.uint64(value) & np.uint64(0x1FFFFF)
    x = (x | (x << np.uint64(32))) & np.uint64(0x1F00000000FFFF)
    x = (x | (x << np.uint64(16))) & np.uint64(0x1F0000FF0000FF)
    x = (x | (x << np.uint64(8))) & np.uint64(0x100F00F00F00F00F)
    x = (x | (x << np.uint64(4))) & np.uint64(0x10C30C30C30C30C3)
    return (x | (x << np.uint64(2))) & np.uint64(0x1249249249249249)


@njit(cache=True, nogil=True)
def place_points(raw, record, scales, offsets, origin, size, nodes, unit, low, step, places):
    """LAS records → lattice places.

    Args:
        raw: (n × record,) uint8 point records. scales, offsets: (3,) of the file.
        origin, size, nodes, unit: of `tiling.points.frame.Patches`.
        low: (3,) local corner of the cube. step: lattice step in metres.
        places: (n, 3) int32, written: local coordinates in steps from `low`.
    """
    ny, nx = (nodes.shape[0] - 1) // 2, (nodes.shape[1] - 1) // 2
    over_x, over_y, over_step = 1.0 / size[0], 1.0 / size[1], 1.0 / step
    for p in range(len(places)):
        at = p * record
        z = (_i32(raw, at + 8) * scales[2] + offsets[2]) * unit
        tx = (_i32(raw, at) * scales[0] + offsets[0] - origin[0]) * over_x
        ty = (_i32(raw, at + 4) * scales[1] + offsets[1] - origin[1]) * over_y
        cx, cy = min(max(int(np.floor(tx)), 0), nx - 1), min(max(int(np.floor(ty)), 0), ny - 1)
        u, v = tx - cx, ty - cy
        a0, a1, a2 = (1 - u) * (1 - 2 * u), 4 * u * (1 - u), u * (2 * u - 1)
        b0, b1, b2 = (1 - v) * (1 - 2 * v), 4 * v * (1 - v), v * (2 * v - 1)
        i, j = 2 * cx, 2 * cy
        for k in range(3):
            # Written out: the compiler keeps the weights in registers.
            n = k + 3
            value = b0 * (a0 * (nodes[j, i, k] + nodes[j, i, n] * z) + a1 * (nodes[j, i + 1, k] + nodes[j, i + 1, n] * z)
                          + a2 * (nodes[j, i + 2, k] + nodes[j, i + 2, n] * z))
            value += b1 * (a0 * (nodes[j + 1, i, k] + nodes[j + 1, i, n] * z) + a1 * (nodes[j + 1, i + 1, k] + nodes[j + 1, i + 1, n] * z)
                           + a2 * (nodes[j + 1, i + 2, k] + nodes[j + 1, i + 2, n] * z))
            value += b2 * (a0 * (nodes[j + 2, i, k] + nodes[j + 2, i, n] * z) + a1 * (nodes[j + 2, i + 1, k] + nodes[j + 2, i + 1, n] * z)
                           + a2 * (nodes[j + 2, i + 2, k] + nodes[j + 2, i + 2, n] * z))
            places[p, k] = np.int32(np.rint((value - low[k]) * over_step))


@njit(cache=True, nogil=True)
def pick_columns(raw, record, class_at, class_mask, rgb_at, rgb_shift, colors, intensity):
    """LAS records → (n, 4) uint8 red, green, blue, class (a light grey where `rgb_at` < 0) and (n,) uint16 intensity, written."""
    for p in range(len(intensity)):
        at = p * record
        intensity[p] = np.uint16(raw[at + 12]) | (np.uint16(raw[at + 13]) << 8)
        colors[p, 3] = raw[at + class_at] & class_mask
        for k in range(3):
            if rgb_at >= 0:
                colors[p, k] = (np.uint16(raw[at + rgb_at + 2 * k]) | (np.uint16(raw[at + rgb_at + 2 * k + 1]) << 8)) >> rgb_shift
            else:
                colors[p, k] = 190


@njit(cache=True, nogil=True)
def morton(places, shift, codes):
    """(n, 3) lattice places → (n,) uint64 Morton codes, z highest; a level-21 cell has 2**shift lattice steps (or 2**-shift cells a step)."""
    for p in range(len(codes)):
        if shift >= 0:
            x, y, z = places[p, 0] >> shift, places[p, 1] >> shift, places[p, 2] >> shift
        else:
            x, y, z = places[p, 0] << -shift, places[p, 1] << -shift, places[p, 2] << -shift
        codes[p] = _spread(x) | (_spread(y) << np.uint64(1)) | (_spread(z) << np.uint64(2))


@njit(cache=True, nogil=True)
def sorted_order(codes, before, shift, bits):
    """Stable order of (n,) uint64 keys by `bits` (≤ 32) of their bits from `shift` on, as (n,) int32 row numbers.

    Radix sort by 10-bit digits, least first; digits that never vary are skipped. Key and row travel in one word, so that a
    pass moves one stream. `before`: (n,) int32, the order that equal keys keep.
    """
    n = len(codes)
    words, spare = np.empty(n, np.uint64), np.empty(n, np.uint64)
    mask = (np.uint64(1) << np.uint64(bits)) - np.uint64(1)
    every, some = mask, np.uint64(0)
    for p in range(n):
        key = (codes[before[p]] >> np.uint64(shift)) & mask
        every &= key
        some |= key
        words[p] = (key << np.uint64(32)) | np.uint64(before[p])
    varying = every ^ some
    count = np.empty(1024, np.int64)
    for digit in range(4):
        if ((varying >> np.uint64(10 * digit)) & np.uint64(1023)) == 0:
            continue
        at = np.uint64(32 + 10 * digit)
        count[:] = 0
        for p in range(n):
            count[(words[p] >> at) & np.uint64(1023)] += 1
        start = 0
        for d in range(1024):
            start, count[d] = start + count[d], start
        for p in range(n):
            d = (words[p] >> at) & np.uint64(1023)
            to = count[d]
            count[d] = to + 1
            spare[to] = words[p]
        words, spare = spare, words
    order = np.empty(n, np.int32)
    for p in range(n):
        order[p] = np.int32(words[p] & np.uint64(0xFFFFFFFF))
    return order


@njit(cache=True, nogil=True)
def tally(keys, shift, counts):
    """Count (n,) uint32 ascending keys, `shift` bits coarser, into `counts`."""
    for p in range(len(keys)):
        counts[keys[p] >> shift] += 1


@njit(cache=True, nogil=True)
def choose_spread(places, rows, corner, radius, side, chosen, gaps):
    """A maximal choice of points no two of which are closer than `radius`: dart throwing (Cook, 1986) over a grid.

    Points come along a Morton curve. They are tried in `ROUNDS` sweeps over it, a quarter of each block of it in steps of
    the golden section: far apart first and the same for everybody, yet near in memory. Cells are two radii wide, so only
    the eight around a point's nearest corner can hold one too near.

    Args:
        places: (n, 3) int32. rows: (m,) int32, the candidates. corner: (3,) float64 of the cube they lie in.
        radius: lattice steps. side: the cube's side in cells of two radii, rounded up.
        chosen: (m,) uint8, written. gaps: (m,) float32, written: how far one that is not chosen is from one that is, at most.
    """
    m, width = len(rows), side + 2
    head = np.full(width * width * width, -1, np.int32)
    after, taken = np.empty(m, np.int32), np.empty((m, 3), np.float64)
    count, over, limit = 0, 0.5 / radius, radius * radius
    for sweep in range(ROUNDS):
        for first in range(0, m, BLOCK):
            size = min(BLOCK, m - first)
            step, begin, end = _golden(size), sweep * size // ROUNDS, (sweep + 1) * size // ROUNDS
            c = begin * step % size
            for _ in range(begin, end):
                row, here = rows[first + c], first + c
                c += step
                if c >= size:
                    c -= size
                x, y, z = places[row, 0] - corner[0], places[row, 1] - corner[1], places[row, 2] - corner[2]
                u, v, w = x * over, y * over, z * over
                i, j, k = min(int(u), side - 1) + 1, min(int(v), side - 1) + 1, min(int(w), side - 1) + 1
                own = (k * width + j) * width + i
                di, dj, dk = 1 if u - i >= -0.5 else -1, width if v - j >= -0.5 else -width, width * width if w - k >= -0.5 else -width * width
                near = _nearer(head[own], after, taken, x, y, z, limit)
                if near < 0:
                    near = _nearer(head[own + di], after, taken, x, y, z, limit)
                if near < 0:
                    near = _nearer(head[own + dj], after, taken, x, y, z, limit)
                if near < 0:
                    near = _nearer(head[own + di + dj], after, taken, x, y, z, limit)
                if near < 0:
                    near = _nearer(head[own + dk], after, taken, x, y, z, limit)
                if near < 0:
                    near = _nearer(head[own + di + dk], after, taken, x, y, z, limit)
                if near < 0:
                    near = _nearer(head[own + dj + dk], after, taken, x, y, z, limit)
                if near < 0:
                    near = _nearer(head[own + di + dj + dk], after, taken, x, y, z, limit)
                if near >= 0:
                    chosen[here], gaps[here] = 0, np.sqrt(near)
                    continue
                chosen[here], gaps[here] = 1, 0.0
                taken[count, 0], taken[count, 1], taken[count, 2] = x, y, z
                after[count], head[own] = head[own], count
                count += 1
    return count


@njit(cache=True, nogil=True)
def _nearer(at: int, after: Any, taken: Any, x: float, y: float, z: float, limit: float) -> Any:
    """Squared distance to a point of a cell's list that is nearer than √`limit`; −1: none."""
    while at >= 0:
        dx, dy, dz = taken[at, 0] - x, taken[at, 1] - y, taken[at, 2] - z
        square = dx * dx + dy * dy + dz * dz
        if square < limit:
            return square
        at = after[at]
    return -1.0


@njit(cache=True, nogil=True)
def _golden(m: int) -> int:
    """A step near the golden section of m that has no divisor in common with it (1 where m < 3)."""
    step = max(1, int(m * 0.6180339887498949))
    while True:
        a, b = m, step
        while b:
            a, b = b, a % b
        if a <= 1:
            return step
        step += 1


@njit(cache=True, nogil=True)
def coincident(codes, shift, places):
    """How many points lie in the very place of an earlier one: (n,) uint64 codes, sorted down to bit `shift`, and their places."""
    n, found, start = len(codes), 0, 0
    while start < n:
        end = start + 1
        while end < n and codes[end] >> np.uint64(shift) == codes[start] >> np.uint64(shift):
            end += 1
        if 1 < end - start <= 16:
            for p in range(start + 1, end):
                for q in range(start, p):
                    if places[p, 0] == places[q, 0] and places[p, 1] == places[q, 1] and places[p, 2] == places[q, 2]:
                        found += 1
                        break
        elif end - start > 16:
            found += _coincident_many(places, start, end)
        start = end
    return found


@njit(cache=True, nogil=True)
def _coincident_many(places: Any, start: int, end: int) -> int:
    """The same for the points of one cell, by a hash table of their places."""
    size = 16
    while size < 2 * (end - start):
        size *= 2
    table, found = np.full(size, -1, np.int64), 0
    for p in range(start, end):
        at = _weight(places[p, 0], places[p, 1], places[p, 2]) & np.uint64(size - 1)
        while table[at] >= 0:
            q = table[at]
            if places[p, 0] == places[q, 0] and places[p, 1] == places[q, 1] and places[p, 2] == places[q, 2]:
                found += 1
                break
            at = (at + np.uint64(1)) & np.uint64(size - 1)
        if table[at] < 0:
            table[at] = p
    return found


@njit(cache=True, nogil=True)
def _weight(x: int, y: int, z: int) -> int:
    """A fixed pseudo-random number of a place (finaliser of MurmurHash3, Appleby 2011)."""
    h = np.uint64(x) * np.uint64(0x9E3779B97F4A7C15) ^ np.uint64(y) * np.uint64(0xC2B2AE3D27D4EB4F) ^ np.uint64(z) * np.uint64(0x165667B19E3779F9)
    h = (h ^ (h >> np.uint64(33))) * np.uint64(0xFF51AFD7ED558CCD)
    h = (h ^ (h >> np.uint64(33))) * np.uint64(0xC4CEB9FE1A85EC53)
    return h ^ (h >> np.uint64(33))


@njit(cache=True, nogil=True)
def group_rows(owner, starts, rows):
    """Stable counting sort: rows[starts[owner[p]]…] = p for p in turn; `starts` is moved on."""
    for p in range(len(owner)):
        at = starts[owner[p]]
        rows[at] = p
        starts[owner[p]] = at + 1


@njit(cache=True, nogil=True)
def take_rows(places, colors, intensity, rows, places_out, colors_out, intensity_out):
    """Gather the columns of some rows."""
    for p in range(len(rows)):
        q = rows[p]
        for k in range(3):
            places_out[p, k] = places[q, k]
        for k in range(4):
            colors_out[p, k] = colors[q, k]
        intensity_out[p] = intensity[q]


@njit(cache=True, nogil=True)
def to_lattice(places, rows, shift, lattice, extremes):
    """Places of some rows on a lattice 2**shift times as coarse (halves up), and their (2, 3) lowest and highest."""
    half = (1 << shift) >> 1
    for k in range(3):
        extremes[0, k], extremes[1, k] = 1 << 40, -(1 << 40)
    for p in range(len(rows)):
        q = rows[p]
        for k in range(3):
            value = (places[q, k] + half) >> shift
            lattice[p, k] = value
            extremes[0, k] = min(extremes[0, k], value)
            extremes[1, k] = max(extremes[1, k], value)


@njit(cache=True, nogil=True)
def write_positions(lattice, origin, step, positions):
    """Lattice places → y-up vertex positions (x − x0, z − z0, y0 − y) × step in the first three columns."""
    for p in range(len(lattice)):
        positions[p, 0] = (lattice[p, 0] - origin[0]) * step
        positions[p, 1] = (lattice[p, 2] - origin[2]) * step
        positions[p, 2] = (origin[1] - lattice[p, 1]) * step


@njit(cache=True, nogil=True)
def paint(colors, intensity, places, rows, mode, low, high, origin, bend, linear, palette, class_row, out, classes):
    """(n, 4) linear colours and (n, 4) class table rows (first byte) of some rows; see `tiling.points.glb.Palette`.

    Heights are lattice z plus what the earth falls away from the frame's plane: `bend` × squared distance from `origin` (2,).
    """
    for p in range(len(rows)):
        q = rows[p]
        classes[p, 0] = class_row[colors[q, 3]]
        if mode == 0:
            for k in range(3):
                out[p, k] = linear[colors[q, k]]
        else:
            if mode == 1:
                index = int(colors[q, 3])
            else:
                east, north = places[q, 0] - origin[0], places[q, 1] - origin[1]
                value = float(intensity[q]) if mode == 2 else places[q, 2] + bend * (east * east + north * north)
                index = int(min(max((value - low) / (high - low), 0.0), 1.0) * 255)
            for k in range(3):
                out[p, k] = palette[index, k]
        out[p, 3] = 255


@njit(cache=True, nogil=True)
def take_intensity(intensity, rows, padded):
    """Intensities of some rows into the first column."""
    for p in range(len(rows)):
        padded[p, 0] = intensity[rows[p]]
