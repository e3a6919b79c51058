"""One bucket of points → the tiles of its subtree, from the leaves upwards, and what it hands to the tiles above it.

Additive refinement: a leaf holds all points of its cell; a tile above chooses from what its children hold a set no two of
which are closer than its spacing, and which leaves none farther away than that (`tiling.points.kernels.choose_spread`); what is
chosen is drawn there and no longer in the child. So every point is in exactly one tile, what is drawn down to a level is
spread like a Poisson disk sample, and a choice needs nothing but the cell's own points (docs/adr/0017-point-levels.md).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tiling.points import kernels
from tiling.points.kernels import BITS
from tiling.points.runs import COUNT_LEVEL, Bucket, Columns, Cube, Spool

I32 = NDArray[np.int32]
FINEST, COARSEST = COUNT_LEVEL, 4
"""Bits of a tile's grid: 128 cells a side suit surfaces (some 16,000 cells are met); a filled volume needs fewer."""
ROOT_POINTS = 60_000
"""Points the root may draw; decides how fine the grid is."""
SPACING = 0.8
"""A tile's spacing in cells of its grid; a surface then has about as many points as it meets cells."""
SMALLEST = 1_024
"""Cells with fewer points than this are no tiles; their points are drawn in the parent."""
REMNANT = 256
"""Leaves of which fewer points than this are left for themselves are no tiles either."""


@dataclass(frozen=True)
class Node:
    """A tile: octree `level` and `prefix` (Morton code at that level).

    `rows` are those of the points at hand that it draws, in Morton order; `error`: lattice steps within which each point that is
    drawn below it has one that is drawn in it or above (0: none is drawn below).
    """

    level: int
    prefix: int
    rows: I32
    error: float = 0.0


@dataclass(frozen=True)
class Top:
    """A finished cell whose own tile waits for the parent's choice: the points it holds, and the error it has of those below.

    A `crumb` is too small for a tile: what the parent does not choose it draws all the same. `mark`: a digest of everything in the cell.
    """

    level: int
    prefix: int
    points: Columns
    error: float
    crumb: bool
    mark: bytes = b""


def cell_name(level: int, prefix: int) -> str:
    """`r` and one octal digit a level: unique, and a parent's name begins its children's."""
    return "r" + "".join(str((prefix >> (3 * k)) & 7) for k in range(level - 1, -1, -1))


def grid_of(spool: Spool) -> int:
    """Bits of the grid for a cloud: the finest by which the root draws about `ROOT_POINTS` or fewer."""
    return next((bits for bits in range(FINEST, COARSEST, -1) if spool.occupied(bits) <= ROOT_POINTS), COARSEST)


@dataclass(frozen=True)
class Choice:
    """How the tiles of a cloud choose: its cube and the bits of their grid."""

    cube: Cube
    grid: int

    @property
    def deepest(self) -> int:
        """A tile's grid can be no finer than Morton codes."""
        return BITS - self.grid

    def among(self, level: int, prefix: int, places: I32, rows: I32, groups: list[tuple[int, float | None]]) -> tuple[NDArray[np.bool_], float]:
        """The choice of one cell.

        Args:
            level, prefix: the cell.
            places: (n, 3) lattice places. rows: (m,) the candidates, child by child.
            groups: how many of them each child holds and its error; None for crumbs.

        Returns:
            (m,) which are drawn here: those chosen, crumbs, and what is left of a leaf that nothing much is left of; and the
            error: how far a point below can be from one drawn here (the triangle's inequality over the child's own choice;
            at least one lattice step where anything is below).
        """
        side = 2.0 ** (self.cube.bits - level)
        corner = np.array(_cell(prefix, level), np.float64) * side
        chosen, gaps = np.empty(len(rows), np.uint8), np.empty(len(rows), np.float32)
        radius = SPACING * side / 2**self.grid
        kernels.choose_spread(places, rows, corner, radius, int(np.ceil(2**self.grid / (2 * SPACING))), chosen, gaps)
        here, error, at = chosen.astype(bool), 0.0, 0
        for count, below in groups:
            mine = slice(at, at + count)
            at += count
            left = count - int(here[mine].sum())
            if below is None or (not below and left < REMNANT):
                here[mine] = True
            elif left or below:
                error = max(error, float(gaps[mine].max()) + below, 1.0)
        return here, error


def _cell(prefix: int, level: int) -> list[int]:
    """x, y, z of a cell among those of its level."""
    return [sum(((prefix >> (3 * k + axis)) & 1) << k for k in range(level)) for axis in range(3)]


# --- inside a bucket ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Subtree:
    """A bucket's points in Morton order, its tiles but for its own, its own cell, and how many points lie where another one does."""

    points: Columns
    nodes: list[Node]
    top: Top
    coincident: int


def subtree(bucket: Bucket, points: Columns, most: int, choice: Choice) -> Subtree:
    """Split a bucket's points (in any fixed order) into tiles; cells of at most `most` points are leaves."""
    codes = np.empty(len(points), np.uint64)
    kernels.morton(points.places, choice.cube.bits - BITS, codes)
    order, shift = _order(codes, bucket.level, most)
    codes, points = codes[order], points.take(order)
    same = int(kernels.coincident(codes, shift, points.places))
    if bucket.level > 0 and len(points) < SMALLEST:
        return Subtree(points, [], Top(bucket.level, bucket.prefix, points, 0.0, crumb=True), same)
    planner = _Planner(codes, points.places, most, choice)
    held, error = planner.visit(bucket.level, bucket.prefix, 0, len(points))
    ends = np.cumsum(np.bincount(planner.owner, minlength=len(planner.cells)))
    rows, starts = np.empty(len(points), np.int32), np.concatenate([[0], ends[:-1]])
    kernels.group_rows(planner.owner, starts, rows)
    nodes = [Node(*planner.cells[i], rows[ends[i - 1] : ends[i]], planner.errors[i]) for i in range(1, len(planner.cells))]
    return Subtree(points, nodes, Top(bucket.level, bucket.prefix, points.take(held), error, crumb=False), same)


def _order(codes: NDArray[np.uint64], level: int, most: int) -> tuple[I32, int]:
    """Rows in Morton order, and the bit of the codes down to which: ten levels below the bucket's cell, all where a leaf needs more."""
    bits = 3 * (BITS - level)
    shift = max(0, bits - 30)
    order = kernels.sorted_order(codes, np.arange(len(codes), dtype=np.int32), shift, bits - shift)
    keys = codes[order] >> np.uint64(shift)
    if not shift or not (keys[most:] == keys[:-most]).any():
        return order, shift
    order = np.arange(len(codes), dtype=np.int32)
    for at in range(0, bits, 30):
        order = kernels.sorted_order(codes, order, at, min(30, bits - at))
    return order, 0


@dataclass
class _Planner:
    """Walks down the cells of a bucket and, on its way back, writes into `owner` which tile draws each point."""

    codes: NDArray[np.uint64]
    places: I32
    most: int
    choice: Choice
    cells: list[tuple[int, int]] = field(default_factory=list)
    errors: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.owner = np.empty(len(self.codes), np.int32)

    def visit(self, level: int, prefix: int, start: int, end: int) -> tuple[I32, float]:
        """The rows that a cell holds, and its error."""
        node = len(self.cells)
        self.cells.append((level, prefix))
        self.errors.append(0.0)
        parts: list[I32] = []
        groups: list[tuple[int, float | None]] = []
        for below, a, b in self._children(level, prefix, start, end):
            crumb = b - a < SMALLEST
            rows, error = (np.arange(a, b, dtype=np.int32), None) if crumb else self.visit(level + 1, below, a, b)
            parts.append(rows)
            groups.append((len(rows), error))
        if all(error is None for _, error in groups):  # a leaf
            del self.cells[node + 1 :], self.errors[node + 1 :]
            self.owner[start:end] = node
            return np.arange(start, end, dtype=np.int32), 0.0
        held = np.concatenate(parts)
        here, self.errors[node] = self.choice.among(level, prefix, self.places, held, groups)
        self.owner[held[here]] = node
        return held[here], self.errors[node]

    def _children(self, level: int, prefix: int, start: int, end: int) -> list[tuple[int, int, int]]:
        """(prefix, first row, row behind the last) of the cells with points below a cell; none below a leaf."""
        if end - start <= self.most or level >= self.choice.deepest or self.codes[start] == self.codes[end - 1]:
            return []
        edges = np.array([((prefix << 3) + k) << (3 * (BITS - level - 1)) for k in range(1, 8)], np.uint64)
        cuts = [start, *(start + np.searchsorted(self.codes[start:end], edges)).tolist(), end]
        return [((prefix << 3) + k, cuts[k], cuts[k + 1]) for k in range(8) if cuts[k] < cuts[k + 1]]


# --- above the buckets -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Decided:
    """Tiles of which it is decided what they draw: rows of `points`. `mark`: a digest of all that the decision depends on."""

    points: Columns
    nodes: list[Node]
    mark: bytes


@dataclass
class Ascent:
    """Joins finished cells, which come in Morton order, into those above them; holds a few cells a level and no more."""

    choice: Choice
    open: list[tuple[int, list[Top]]] = field(default_factory=list)
    """By level: the cell on the way from the root to the last bucket, and its finished children."""
    root: Top | None = None

    def add(self, top: Top) -> list[Decided]:
        """Take the next bucket's cell; -> the tiles that are decided by that."""
        done = []
        while self.open and (len(self.open) > top.level or top.prefix >> (3 * (top.level - len(self.open) + 1)) != self.open[-1][0]):
            done.append(self._close())
        for level in range(len(self.open), top.level):
            self.open.append((top.prefix >> (3 * (top.level - level)), []))
        self._finished(top)
        return done

    def finish(self) -> list[Decided]:
        """The tiles that are left, the root's last."""
        done = []
        while self.open:
            done.append(self._close())
        if self.root is not None:
            rows = np.arange(len(self.root.points), dtype=np.int32)
            done.append(Decided(self.root.points, [Node(0, 0, rows, self.root.error)], self.root.mark))
        return done

    def _finished(self, top: Top) -> None:
        if self.open:
            self.open[-1][1].append(top)
        else:
            self.root = top

    def _close(self) -> Decided:
        """Choose for the deepest open cell; its children's tiles draw the rest."""
        prefix, children = self.open.pop()
        level = len(self.open)
        points = Columns.join([child.points for child in children])
        rows = np.arange(len(points), dtype=np.int32)
        groups = [(len(child.points), None if child.crumb else child.error) for child in children]
        here, error = self.choice.among(level, prefix, points.places, rows, groups)
        nodes, at = [], 0
        for child in children:
            end = at + len(child.points)
            if not child.crumb:
                nodes.append(Node(child.level, child.prefix, rows[at:end][~here[at:end]], child.error))
            at = end
        mark = hashlib.blake2b(b"".join([cell_name(level, prefix).encode(), *(child.mark for child in children)]), digest_size=16).digest()
        self._finished(Top(level, prefix, points.take(rows[here]), error, crumb=False, mark=mark))
        return Decided(points, nodes, mark)
