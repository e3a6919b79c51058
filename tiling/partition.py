"""Which feature goes into which tile: a pure function of places, sizes and weights (ADR 0003).

The grid is the Web Mercator quadtree of the whole earth, fixed for ever. A cell keeps its largest features up to `share` of
weight and hands the rest to its quadrants (refinement ADD); a cell whose features weigh no more than `budget` keeps them
all. So every feature is in exactly one tile, drawn once on any cut; a tile is a function of the features inside
its cell and of what its ancestors took; and neither the order of arrival nor earlier versions show. Cells with all
features in one quadrant are skipped.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

DEPTH = 28
"""Levels of the grid; the finest cell is 15 cm wide at the equator."""


@dataclass(frozen=True)
class Cell:
    """A tile of the plan.

    Attributes:
        level, x, y: its place in the grid (as in Web Mercator tile addresses: y grows southwards).
        rows: (K,) the features drawn here, in Morton order (ties by hash).
        parent: its parent's position in the plan, −1 for the root.
        error: largest size of a feature that only its descendants draw, metres; 0 for a leaf.
    """

    level: int
    x: int
    y: int
    rows: NDArray[np.int64]
    parent: int
    error: float

    @property
    def name(self) -> str:
        """`level/x/y`, unique in a plan."""
        return f"{self.level}/{self.x}/{self.y}"

    def centre(self) -> tuple[float, float]:
        """Longitude and latitude of the cell's middle in degrees."""
        return unproject((self.x + 0.5) / (1 << self.level), (self.y + 0.5) / (1 << self.level))


def project(lon: NDArray[np.float64], lat: NDArray[np.float64]) -> NDArray[np.uint64]:
    """(N,) Morton codes (2 × `DEPTH` bits, x in the even bits) of places in degrees; beyond 85.05° the last row is used."""
    phi = np.radians(np.clip(lat, -85.0511287, 85.0511287))
    u = (np.asarray(lon) + 180.0) / 360.0 % 1.0
    v = (1.0 - np.arcsinh(np.tan(phi)) / np.pi) / 2.0
    top = (1 << DEPTH) - 1
    return interleave(np.clip(u * (1 << DEPTH), 0, top).astype(np.uint64), np.clip(v * (1 << DEPTH), 0, top).astype(np.uint64))


def unproject(u: float, v: float) -> tuple[float, float]:
    """Web Mercator unit square → longitude, latitude in degrees."""
    return u * 360.0 - 180.0, float(np.degrees(np.arctan(np.sinh(np.pi * (1.0 - 2.0 * v)))))


def interleave(x: NDArray[np.uint64], y: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Bits of x and y (up to 32 each) in turn, x lowest."""
    return _spread(x) | (_spread(y) << np.uint64(1))


def deinterleave(code: int) -> tuple[int, int]:
    """The inverse of `interleave` for one code."""
    x = y = 0
    for bit in range(32):
        x |= (code >> (2 * bit) & 1) << bit
        y |= (code >> (2 * bit + 1) & 1) << bit
    return x, y


_MASKS = ((16, 0x0000FFFF0000FFFF), (8, 0x00FF00FF00FF00FF), (4, 0x0F0F0F0F0F0F0F0F), (2, 0x3333333333333333), (1, 0x5555555555555555))


def _spread(v: NDArray[np.uint64]) -> NDArray[np.uint64]:
    for shift, mask in _MASKS:
        v = (v | (v << np.uint64(shift))) & np.uint64(mask)
    return v


def plan(
    code: NDArray[np.uint64], size: NDArray[Any], weight: NDArray[Any], tie: NDArray[np.uint64], *, budget: float, share: float,
) -> list[Cell]:  # fmt: skip
    """The tiles of a layer, parents before children, in Morton order.

    Args:
        code: (N,) Morton codes of the features' anchors (`project`).
        size: (N,) metres; what is larger is drawn from farther away.
        weight: (N,) ≥ 0, what a feature costs to draw (vertices).
        tie: (N,) hashes of the ids, so that equals have an order of their own.
        budget: weight that a leaf may hold.
        share: weight that an inner tile takes (always at least one feature).
    """
    order = np.lexsort((tie, code))
    code, size, weight = code[order], np.asarray(size, np.float64)[order], np.asarray(weight, np.float64)[order]
    rank = np.empty(len(order), np.int64)
    rank[np.lexsort((tie[order], code, -size))] = np.arange(len(order))
    cells: list[Cell] = []
    stack: list[tuple[NDArray[np.int64], int]] = [(np.arange(len(order)), -1)] if len(order) else []
    while stack:
        rows, parent = stack.pop()
        level = _common_level(int(code[rows[0]]), int(code[rows[-1]]))
        own, rest = rows, rows[:0]
        if level < DEPTH and weight[rows].sum() > budget:
            own, rest = _largest(rows, rank, weight, share)
        x, y = deinterleave(int(code[rows[0]]) >> (2 * (DEPTH - level)))
        cells.append(Cell(level, x, y, order[own], parent, float(size[rest].max(initial=0.0))))
        if len(rest):
            quadrant = (code[rest] >> np.uint64(2 * (DEPTH - level - 1))) & np.uint64(3)
            edges = np.searchsorted(quadrant, np.arange(5))
            here = len(cells) - 1
            stack.extend((rest[a:b], here) for a, b in zip(edges[3::-1], edges[:0:-1], strict=True) if b > a)
    return cells


def _common_level(first: int, last: int) -> int:
    """Level of the smallest cell that holds both codes (and, as they are the extremes of a range, all between)."""
    return DEPTH - ((first ^ last).bit_length() + 1) // 2


def _largest(
    rows: NDArray[np.int64], rank: NDArray[np.int64], weight: NDArray[np.float64], share: float
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(the largest of `rows` up to `share` of weight but at least one, the others), each still in Morton order."""
    by_size = rows[np.argsort(rank[rows])]
    count = max(1, int(np.searchsorted(np.cumsum(weight[by_size]), share, side="right")))
    own = by_size[:count]
    own.sort()
    rest = by_size[count:]
    rest.sort()
    return own, rest


def units(cells: list[Cell], weight: NDArray[Any], target: float) -> list[range]:
    """Runs of consecutive tiles of about `target` weight: what one process does at a time. Independent of how many there are."""
    result, start, total = [], 0, 0.0
    for position, cell in enumerate(cells):
        total += float(np.asarray(weight)[cell.rows].sum())
        if total >= target:
            result.append(range(start, position + 1))
            start, total = position + 1, 0.0
    if start < len(cells):
        result.append(range(start, len(cells)))
    return result
