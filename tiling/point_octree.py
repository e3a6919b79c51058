"""One bucket of points → the tiles of its subtree, and the points that belong to tiles above it.

Additive refinement: a tile draws one point for each cell of a grid of 2**`grid` cells a side (those that no coarser tile
has drawn already); the rest go to its children; a tile with few points left draws them all. So every point is in exactly
one tile, and what is drawn at any level is spread evenly (see `point_kernels.sample_depths`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tiling import point_kernels as kernels
from tiling.point_kernels import BITS
from tiling.point_runs import Bucket, Columns, Run

FINEST, COARSEST = 7, 4
"""Bits of a tile's grid: 128 cells a side suit surfaces (some 16,000 cells are met); a filled volume needs fewer."""
ROOT_POINTS = 60_000
"""Points the root may draw; decides how fine the grid is."""
SMALLEST = 2_048
"""Children with fewer points than this stay in their parent."""


@dataclass(frozen=True)
class Node:
    """A tile: octree `level` and `prefix` (Morton code at that level).

    `rows` are those of its bucket's points that it draws, in Morton order; a `leaf` has no children; `error`: lattice steps from
    any point that is first drawn below it to the point that stands for its cell (0 for a leaf).
    """

    level: int
    prefix: int
    rows: NDArray[np.int32]
    leaf: bool
    error: float = 0.0


def cell_name(level: int, prefix: int) -> str:
    """`r` and one octal digit a level: unique, and a parent's name begins its children's."""
    return "r" + "".join(str((prefix >> (3 * k)) & 7) for k in range(level - 1, -1, -1))


@dataclass(frozen=True)
class Subtree:
    """Tiles of a bucket (parents first) and the points of tiles above it with their levels.

    `above_errors`: level → what `Node.error` of the tile of that level above the bucket is at least, by this bucket's points.
    """

    nodes: list[Node]
    above: Columns
    above_levels: NDArray[np.uint8]
    cell: tuple[int, int] = (0, 0)
    above_errors: tuple[float, ...] = ()


def grid_of(runs: list[Run]) -> int:
    """Bits of the grid for a cloud: the finest by which the root draws no more than `ROOT_POINTS`."""
    for bits in range(FINEST, COARSEST, -1):
        cells = [_distinct(run.codes >> np.uint64(3 * (BITS - bits))) for run in runs]
        if len(np.unique(np.concatenate(cells))) <= ROOT_POINTS:
            return bits
    return COARSEST


def _distinct(ascending: NDArray[np.uint64]) -> NDArray[np.uint64]:
    return np.asarray(ascending[np.concatenate([[True], ascending[1:] != ascending[:-1]])])


def subtree(bucket: Bucket, points: Columns, most: int, grid: int) -> Subtree:
    """Split a bucket's points into tiles.

    Args:
        bucket: the cell; at level 0 it is the whole cloud.
        points: its points in any fixed order.
        most: a tile with no more points than this that are left has no children.
        grid: bits of the tiles' grid.
    """
    order = kernels.sorted_order(points.codes)
    codes = points.codes[order]
    depths = np.empty(len(points), np.uint8)
    places = points.places[order]
    kernels.sample_depths(codes, places, depths)
    # The heaviest point of the bucket has no heavier neighbour inside; outside it shares fewer than `level` levels.
    depths = np.maximum(depths, bucket.level)
    levels = np.clip(depths.astype(np.int16) - grid, 0, BITS - grid).astype(np.uint8)
    planner = _Planner(codes, places, levels, most, grid)
    cell = (bucket.level, bucket.prefix)
    errors = tuple(planner.error(level, 0, len(points)) if level + grid >= bucket.level else np.inf for level in range(bucket.level))
    if bucket.level > 0 and len(points) < SMALLEST:
        return Subtree([], points.take(order), np.minimum(levels, bucket.level - 1).astype(np.uint8), cell, errors)
    planner.visit(bucket.level, bucket.prefix, 0, len(points))
    ends = np.cumsum(np.bincount(planner.owner + 1, minlength=len(planner.cells) + 1))
    rows, starts = np.empty(len(points), np.int32), np.concatenate([[0], ends[:-1]])
    kernels.group_rows(planner.owner, order, starts, rows)
    nodes = [Node(level, prefix, rows[ends[i] : ends[i + 1]], leaf, error) for i, (level, prefix, leaf, error) in enumerate(planner.cells)]
    return Subtree(nodes, points.take(rows[: ends[0]]), levels[planner.owner < 0], cell, errors)


class _Planner:
    """Walks down the cells of a bucket and writes into `owner` which tile draws each point (−1: one above)."""

    def __init__(self, codes: NDArray[np.uint64], places: NDArray[np.int32], levels: NDArray[np.uint8], most: int, grid: int) -> None:
        self.codes, self.places, self.levels, self.most, self.grid = codes, places, levels, most, grid
        self.deepest = BITS - grid  # a tile's grid can be no finer than Morton codes
        self.owner = np.full(len(codes), -1, np.int64)
        self.cells: list[tuple[int, int, bool, float]] = []

    def error(self, level: int, start: int, end: int) -> float:
        """Measured at the cells of a tile's grid, over its points."""
        return float(kernels.farthest(self.codes, self.places, self.levels, start, end, level, 3 * (BITS - level - self.grid)))

    def visit(self, level: int, prefix: int, start: int, end: int) -> None:
        same, more = kernels.count_from(self.levels, start, end, level)
        node = len(self.cells)
        if same + more <= self.most or level == self.deepest:
            self.cells.append((level, prefix, True, 0.0))
            kernels.give(self.owner, self.levels, start, end, level, 255, node)
            return
        self.cells.append((level, prefix, False, self.error(level, start, end)))
        kernels.give(self.owner, self.levels, start, end, level, level, node)
        edges = np.array([((prefix << 3) + k) << (3 * (BITS - level - 1)) for k in range(1, 8)], np.uint64)
        cuts = [start, *(start + np.searchsorted(self.codes[start:end], edges)).tolist(), end]
        for k in range(8):
            _, left = kernels.count_from(self.levels, cuts[k], cuts[k + 1], level)
            if 0 < left < SMALLEST:
                kernels.give(self.owner, self.levels, cuts[k], cuts[k + 1], level + 1, 255, node)
            elif left:
                self.visit(level + 1, (prefix << 3) + k, cuts[k], cuts[k + 1])
        if len(self.cells) == node + 1:  # all children were too small to stand alone
            self.cells[node] = (level, prefix, True, 0.0)


def ancestors(subtrees: list[Subtree], widest: Callable[[int], float]) -> tuple[Columns, list[Node]]:
    """The points of tiles above the buckets, and those tiles, parents first; a cell without points of its own has no rows.

    `widest(level)`: diagonal, in lattice steps, of a cell of a tile's grid: no error is larger, and it stands where a cell is
    larger than a bucket, so that the point that stands for it may be in another one.
    """
    points = Columns.join([s.above for s in subtrees])
    levels = np.concatenate([s.above_levels for s in subtrees]) if subtrees else np.empty(0, np.uint8)
    cells = {(s.nodes[0].level, s.nodes[0].prefix) for s in subtrees if s.nodes}
    inner = {(level, prefix >> (3 * (deep - level))) for deep, prefix in cells for level in range(deep)}
    errors: dict[tuple[int, int], float] = {}
    for tree in subtrees:
        for level, error in enumerate(tree.above_errors):
            place = (level, tree.cell[1] >> (3 * (tree.cell[0] - level)))
            errors[place] = max(errors.get(place, 0.0), min(error, widest(level)))
    nodes: list[Node] = []
    for level in range(max([int(levels.max(initial=0)) + 1, *(deep for deep, _ in cells)])):
        here = np.flatnonzero(levels == level).astype(np.int32)
        known, first, counts = np.unique(points.codes[here] >> np.uint64(3 * (BITS - level)), return_index=True, return_counts=True)
        rows = {int(p): here[a : a + n] for p, a, n in zip(known, first, counts, strict=True)}
        prefixes = sorted({p for deep, p in inner if deep == level} | set(rows))
        nodes += [Node(level, prefix, rows.get(prefix, here[:0]), (level, prefix) not in inner, errors.get((level, prefix), 0.0)) for prefix in prefixes]
    return points, nodes
