"""The loops over masses: summing rows up in squares, and how far a block is from the buildings that it stands for.

That distance is a bound of Hausdorff's, both ways. From the buildings to the block: each row knows the box around its buildings, whose farthest
corner counts. From the block to the buildings (`BACK`): places of the block look for the nearest of the shapes that were summed up (a building's
plumb line through its middle, a smaller block), and what that shape itself is away from its buildings is added (the triangle's inequality).
"""

from __future__ import annotations

import math

import numpy as np

from tiling.blocks.mass_columns import AREA, BACK, COLUMNS, COUNT, EAST, FOOT, HEIGHT, LAT, LON, NEAR, NORTH, SOUTH, TOP, WEST
from twin import crs
from twin.compiled import njit

PLACES = 6
"""Places along a side of a block from which the nearest shape is looked for."""
ROUND = 1.005
"""Degrees are turned into metres as if the earth were round about the block's middle: good to a few thousandths over a hundred kilometres."""
METRES, SQUARE, DEGREES = 0.5, 1.0, 1 / 131_072
"""Steps to which a block's height and foot (downwards), its area (m²) and its place are rounded: far below the tens of metres for which it stands.
So an edit ends where it no longer counts: 100 buildings that grow a little change a few dozen mass tiles and not all 245 above them."""
_A, _E2 = crs.WGS84_A, crs.WGS84_E2


@njit(cache=True, nogil=True)
def gather(rows, level, x, y, side, result, square):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
    """Rows summed up in the squares of a cell.

    Args:
        rows: (N, COLUMNS). level, x, y: the cell. side: squares along it.
        result: (side², COLUMNS), written but for BACK and NEAR; rows of count 0 mean nothing. square: (N,) written, the square of each row.
    """
    result[:] = 0.0
    scale = 2.0**level
    for i in range(len(rows)):
        lon, lat, area = rows[i, LON], rows[i, LAT], max(rows[i, AREA], 1e-3)
        u = (lon + 180.0) / 360.0 * scale - x
        v = (1.0 - math.asinh(math.tan(math.radians(lat))) / math.pi) / 2.0 * scale - y
        at = min(max(int(v * side), 0), side - 1) * side + min(max(int(u * side), 0), side - 1)
        square[i] = at
        one = result[at]
        if one[COUNT] == 0:
            one[FOOT : BACK + 1] = rows[i, FOOT : BACK + 1]
            one[COUNT] = 0.0
        for k in (FOOT, WEST, SOUTH):
            one[k] = min(one[k], rows[i, k])
        for k in (EAST, NORTH, TOP):
            one[k] = max(one[k], rows[i, k])
        for k in (LON, LAT, HEIGHT):
            one[k] += (rows[i, k] - one[k]) * area / (one[AREA] + area)
        one[AREA] += area
        one[COUNT] += rows[i, COUNT]


@njit(cache=True, nogil=True)
def _metres(lat):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Metres a degree of latitude and of longitude, and how the second changes by a degree of latitude."""
    s, c = math.sin(math.radians(lat)), math.cos(math.radians(lat))
    n = _A / math.sqrt(1.0 - _E2 * s * s)
    return math.radians(n * (1.0 - _E2) / (1.0 - _E2 * s * s)), math.radians(n * c), -math.radians(math.radians(n * s))


@njit(cache=True, nogil=True)
def spans(rows, row, lon, lat):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
    """Write the box around each building and, as `BACK`, how near its nearest corner is to its middle.

    Args:
        rows: (N, COLUMNS) with the middles. row: (C,) that each corner belongs to, ascending. lon, lat: (C,) degrees.
    """
    c = 0
    while c < len(row):
        one = rows[row[c]]
        up, along, _ = _metres(one[LAT])
        west, south, east, north, nearest = lon[c], lat[c], lon[c], lat[c], math.inf
        mine = row[c]
        while c < len(row) and row[c] == mine:
            west, east, south, north = min(west, lon[c]), max(east, lon[c]), min(south, lat[c]), max(north, lat[c])
            x, y = (lon[c] - one[LON]) * along, (lat[c] - one[LAT]) * up
            nearest = min(nearest, x * x + y * y)
            c += 1
        one[WEST], one[SOUTH], one[EAST], one[NORTH], one[BACK] = west, south, east, north, math.sqrt(nearest)


@njit(cache=True, nogil=True)
def measure(rows, square, single, result):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
    """Write `BACK` and `NEAR` of each square's block.

    Args:
        rows, square, result: of `gather`. single: rows are buildings (plumb lines), else masses (blocks).
    """
    order = np.argsort(square, kind="mergesort")  # square by square
    ends = np.searchsorted(square[order], np.arange(len(result) + 1))
    for s in range(len(result)):
        block, mine = result[s], rows[order[ends[s] : ends[s + 1]]]
        if block[COUNT] > 0:
            half, top, scale = math.sqrt(block[AREA]) / 2.0, block[FOOT] + block[HEIGHT], _metres(block[LAT])
            flat, forth = 0.0, min(half, block[HEIGHT] / 2.0)  # what lies in the block has a face of it so near
            for i in range(len(mine)):
                one = mine[i]
                south, north = one[SOUTH] - block[LAT], one[NORTH] - block[LAT]
                widest = scale[1] + max(scale[2] * south, scale[2] * north) / 2.0
                x, y = max(block[LON] - one[WEST], one[EAST] - block[LON]) * widest, max(-south, north) * scale[0]
                dx, dy, dz = max(x - half, 0.0), max(y - half, 0.0), max(one[TOP] - top, 0.0)
                flat = max(flat, (x * x + y * y) / (2.0 * _A))  # a block is flat, the earth is not
                forth = max(forth, math.sqrt(dx * dx + dy * dy + dz * dz))
            block[BACK] = ROUND * _back(mine, single, block, scale) + flat
            block[NEAR] = max(ROUND * forth + flat, block[BACK])


@njit(cache=True, nogil=True)
def _back(rows, single, block, scale):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """The largest distance from a place of a block to the buildings of the nearest row."""
    (up, along, bend), half = scale, math.sqrt(block[AREA]) / 2.0
    step = 2.0 * half / PLACES
    east, north, nearest = np.empty(PLACES * PLACES), np.empty(PLACES * PLACES), np.full(PLACES * PLACES, math.inf)
    for place in range(PLACES * PLACES):
        east[place], north[place] = (place % PLACES + 0.5) * step - half, (place // PLACES + 0.5) * step - half
    for i in range(len(rows)):  # row by row, so that the processor takes several places at once
        one, off = rows[i], rows[i, LAT] - block[LAT]
        lower = max(one[FOOT] - block[FOOT], block[FOOT] + block[HEIGHT] - one[FOOT] - one[HEIGHT], 0.0)  # whatever the height of the place
        x, y = (one[LON] - block[LON]) * (along + bend * off / 2.0), off * up
        own, back = 0.0 if single else math.sqrt(one[AREA]) / 2.0, one[BACK]
        inside = min(own, one[HEIGHT] / 2.0) if own > 0 else 0.0  # of a place in a smaller block, whose faces are no farther than that
        for place in range(PLACES * PLACES):
            dx, dy = abs(east[place] - x) - own, abs(north[place] - y) - own
            dx, dy = max(0.0, dx), max(0.0, dy)
            apart = math.sqrt(dx * dx + dy * dy + lower * lower)
            least = inside if dx + dy == 0.0 else 0.0
            apart = max(least, apart) + back
            nearest[place] = min(nearest[place], apart)
    return nearest.max() + step * math.sqrt(0.5)  # over the places that are not looked at


@njit(cache=True, nogil=True)
def _round(sums):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """What is seen of blocks, to the steps above; their errors are measured afterwards."""
    for i in range(len(sums)):
        one = sums[i]
        if one[COUNT] > 0:
            for k in (LON, LAT):
                one[k] = math.floor(one[k] / DEGREES + 0.5) * DEGREES
            one[AREA] = max(math.floor(one[AREA] / SQUARE + 0.5) * SQUARE, SQUARE)
            one[HEIGHT] = max(math.floor(one[HEIGHT] / METRES + 0.5) * METRES, METRES)
            one[FOOT] = math.floor(one[FOOT] / METRES) * METRES


@njit(cache=True, nogil=True)
def add_up(rows, level, x, y, side, single, result, square):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
    """The blocks of rows in the squares of a cell, rounded and measured; see `gather` and `measure`."""
    gather(rows, level, x, y, side, result, square)
    _round(result)
    measure(rows, square, single, result)


@njit(cache=True, nogil=True)
def families(parent, head, after):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
    """Write of each cell the first of those right below it (`head`), and the next with the same parent (`after`), in order; −1 for none. Parents come first."""
    head[:], after[:] = -1, -1
    for i in range(len(parent) - 1, -1, -1):
        if parent[i] >= 0:
            after[i], head[parent[i]] = head[parent[i]], i


@njit(cache=True, nogil=True)
def collect(grid, own, first, side, slot, result, count, family, order):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
    """The summary of every cell that has others below it, of them and itself; that of another cell is its own.

    Args:
        grid: (N, 3) int64 level, x, y. own[first[i] : first[i + 1]]: summary of a cell's own buildings.
        slot: (N,) where in `result` a cell's summary goes, −1 for one with none below it.
        result: (S, side², COLUMNS), written. count: (N,) rows of each summary, written.
        family: (2, N) of `families`. order: the cells that are to be done, each behind all that are below it (which may have been done before).
    """
    head, after = family
    blocks = np.empty((side * side, COLUMNS))
    for i in order:
        level, x, y = grid[i]
        mine, below, child = own[first[i] : first[i + 1]], 0, head[i]
        while child >= 0:
            below += count[child]
            child = after[child]
        if below:
            rows, filled, child = np.empty((len(mine) + below, COLUMNS)), len(mine), head[i]
            rows[:filled] = mine
            while child >= 0:
                rows[filled : filled + count[child]] = result[slot[child], : count[child]] if slot[child] >= 0 else own[first[child] : first[child + 1]]
                filled += count[child]
                child = after[child]
            add_up(rows, level, x, y, side, False, blocks, np.empty(len(rows), np.int64))
            for block in blocks:
                if block[COUNT] > 0:
                    result[slot[i], count[i]] = block
                    count[i] += 1
        else:
            count[i] = len(mine)
            if slot[i] >= 0:
                result[slot[i], : len(mine)] = mine
