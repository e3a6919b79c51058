# mypy: disable-error-code="no-untyped-def,no-untyped-call,untyped-decorator,return-value,assignment"
# ruff: noqa: ANN001, ANN201  (types are in the docstrings: numba infers them)
"""The hot loops of the point tiler: pure functions over arrays, compiled by numba; the tests hold a plain form of each.

They release the interpreter lock, so threads share the work without copying points between processes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

BITS = 21
"""Octree levels in a Morton code (63 bits)."""


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
        origin, size, nodes, unit: of `point_frame.Patches`.
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
def sorted_order(codes):
    """Stable argsort of (n,) uint64 keys as int32: radix sort by 11-bit digits, least first; digits that never vary are skipped."""
    n = len(codes)
    order, other = np.arange(n).astype(np.int32), np.empty(n, np.int32)
    keys, spare = codes.copy(), np.empty(n, np.uint64)
    every, some = np.uint64(0xFFFFFFFFFFFFFFFF), np.uint64(0)
    for p in range(n):
        every &= codes[p]
        some |= codes[p]
    varying = every ^ some
    count = np.empty(2048, np.int64)
    for digit in range(6):
        shift = np.uint64(11 * digit)
        if ((varying >> shift) & np.uint64(2047)) == 0:
            continue
        count[:] = 0
        for p in range(n):
            count[(keys[p] >> shift) & np.uint64(2047)] += 1
        start = 0
        for d in range(2048):
            start, count[d] = start + count[d], start
        for p in range(n):
            d = (keys[p] >> shift) & np.uint64(2047)
            to = count[d]
            count[d] = to + 1
            spare[to], other[to] = keys[p], order[p]
        keys, spare = spare, keys
        order, other = other, order
    return order


@njit(cache=True, nogil=True)
def _shared(a: int, b: int) -> int:
    """How many octree levels two codes share (0–21)."""
    x, depth = a ^ b, BITS
    while x != 0:
        x >>= np.uint64(3)
        depth -= 1
    return depth


@njit(cache=True, nogil=True)
def _weight(x: int, y: int, z: int) -> int:
    """A fixed pseudo-random number of a place (finaliser of MurmurHash3, Appleby 2011)."""
    h = np.uint64(x) * np.uint64(0x9E3779B97F4A7C15) ^ np.uint64(y) * np.uint64(0xC2B2AE3D27D4EB4F) ^ np.uint64(z) * np.uint64(0x165667B19E3779F9)
    h = (h ^ (h >> np.uint64(33))) * np.uint64(0xFF51AFD7ED558CCD)
    h = (h ^ (h >> np.uint64(33))) * np.uint64(0xC4CEB9FE1A85EC53)
    return h ^ (h >> np.uint64(33))


@njit(cache=True, nogil=True)
def sample_depths(codes, places, depths):
    """At which octree depth each point is drawn first, one point a cell.

    Every point has a fixed pseudo-random weight; at depth d the heaviest point of each cell stands for the cell. A point's
    depth is the smallest at which it is its cell's heaviest. In Morton order cells are contiguous, so that is one more than
    the levels it shares with the nearest heavier point before or after it: one pass with a stack.

    Args:
        codes: (n,) uint64 ascending. places: (n, 3) int32 in the same order.
        depths: (n,) uint8, written (0 for the heaviest of all, ≤ 22).
    """
    n = len(codes)
    stack, weights = np.empty(n, np.int64), np.empty(n, np.uint64)
    top = 0
    for p in range(n):
        weights[p] = _weight(places[p, 0], places[p, 1], places[p, 2])
        depths[p] = 0
    for p in range(n):
        while top > 0 and weights[stack[top - 1]] < weights[p]:
            top -= 1
            depths[stack[top]] = max(depths[stack[top]], _shared(codes[stack[top]], codes[p]) + 1)
        if top > 0:
            depths[p] = _shared(codes[stack[top - 1]], codes[p]) + 1
        stack[top] = p
        top += 1


@njit(cache=True, nogil=True)
def farthest(codes, places, levels, start, end, level, shift):
    """How far, in lattice steps, a point that is not drawn at `level` is from the one that stands for its cell.

    Args:
        codes: (n,) uint64 ascending. places: (n, 3) int32 and levels: (n,) uint8 in the same order.
        start, end: the points of one tile. shift: 3 × (`BITS` − depth of the cells of the tile's grid).
    """
    worst = 0.0
    p = start
    while p < end:
        cell, drawn, q = codes[p] >> np.uint64(shift), -1, p
        while q < end and codes[q] >> np.uint64(shift) == cell:
            if drawn < 0 and levels[q] <= level:
                drawn = q
            q += 1
        if drawn >= 0:
            for r in range(p, q):
                if levels[r] > level:
                    x, y, z = places[r, 0] - places[drawn, 0], places[r, 1] - places[drawn, 1], places[r, 2] - places[drawn, 2]
                    worst = max(worst, float(x) * x + float(y) * y + float(z) * z)
        p = q
    return np.sqrt(worst)


@njit(cache=True, nogil=True)
def count_from(levels, start, end, level):
    """(points of start:end whose level is exactly `level`, points above it)."""
    same = more = 0
    for p in range(start, end):
        if levels[p] == level:
            same += 1
        elif levels[p] > level:
            more += 1
    return same, more


@njit(cache=True, nogil=True)
def give(owner, levels, start, end, low, high, node):
    """Give the points of start:end with low ≤ level ≤ high to a node; -> how many."""
    count = 0
    for p in range(start, end):
        if low <= levels[p] <= high:
            owner[p] = node
            count += 1
    return count




@njit(cache=True, nogil=True)
def group_rows(owner, order, starts, rows):
    """Stable counting sort: rows[starts[owner[p] + 1]…] = order[p] for p in turn; `starts` is moved on."""
    for p in range(len(owner)):
        at = starts[owner[p] + 1]
        rows[at] = order[p]
        starts[owner[p] + 1] = at + 1


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
    """(n, 4) linear colours and (n, 4) class table rows (first byte) of some rows; see `point_glb.Palette`.

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
