"""Which piece of a mesh layer is drawn by which tile, coarse or fine: a pure function of places, weights and groups (ADR 0005).

The tree is refined by REPLACE. A leaf draws its pieces as they are; every piece is in exactly one leaf. An inner tile draws what
is below it in a coarser form (`tiling.lod`), so that a piece is drawn at most once on any cut. Places are cells of the
quadtree of the whole earth (`tiling.partition`), and cells whose pieces lie in one quadrant are skipped. Where features belong to
buildings and storeys, a building is never cut by the quadtree before it has been cut into its storeys: above that, tiles
draw whole buildings from outside.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiling.partition import DEPTH, deinterleave, unproject
from tiling.partition import _common_level as common_level

I64 = NDArray[np.int64]
U64 = NDArray[np.uint64]
ABSENCE = 4.0
"""A thing that is missing is noticed at a quarter of the 16 pixels that clients allow a surface to be off, so a missing
building of size s counts as an error of 4 s (ADR 0003)."""
Rows = I64 | slice
"""Pieces: their positions in ascending order."""
SEPARATOR = "\x1f"
"""Between the building's and the storey's name."""


@dataclass(frozen=True)
class Storeys:
    """Which building and which storey of it each piece belongs to.

    Attributes:
        building, storey: (P,) numbers; a storey belongs to one building.
        names: of the storeys, unique: building, `SEPARATOR`, storey. place: (buildings,) Morton code of each building's middle.
        visible: (P,) whether a piece is seen from outside of its building.
    """

    building: I64
    storey: I64
    names: list[str]
    place: U64
    visible: NDArray[np.bool_]


@dataclass(frozen=True)
class Cell:
    """A tile of the plan.

    Attributes:
        name: unique in a plan. level, x, y: the cell of the grid that holds all its pieces' anchors.
        rows: (K,) every piece below, in Morton order (ties by hash). parent: its parent's position in the plan, −1 for the root.
        leaf: whether it draws them as they are. outside: it draws only those that are seen from outside.
        group: what the tile is a part of: the plain grid, the city of buildings, a building, a storey.
    """

    name: str
    level: int
    x: int
    y: int
    rows: I64
    parent: int
    leaf: bool
    outside: bool = False
    group: str = ""

    def centre(self) -> tuple[float, float]:
        """Longitude and latitude of the cell's middle in degrees."""
        return unproject((self.x + 0.5) / (1 << self.level), (self.y + 0.5) / (1 << self.level))


def span(rows: I64) -> Rows:
    """Ascending positions, as a slice where none is left out."""
    return slice(int(rows[0]), int(rows[-1]) + 1) if len(rows) and int(rows[-1]) - int(rows[0]) == len(rows) - 1 else rows


def view(column: NDArray[Any], rows: Rows) -> Any:
    """Some rows (ascending) of a column: without a copy where they follow one another, so that a column in a file is not read into memory."""
    return column[rows if isinstance(rows, slice) else span(rows)]


def plan(code: U64, weight: I64, tie: U64, budget: float, storeys: Storeys | None = None, *, stacks: bool = True, order: I64 | None = None) -> list[Cell]:
    """The tiles of a layer, parents before children.

    Args:
        code: (P,) Morton codes of the pieces' anchors (`partition.project`).
        weight: (P,) > 0, what a piece costs to draw.
        tie: (P,) hashes of the ids, so that equals have an order of their own.
        budget: weight that a leaf may hold (a piece heavier than that has a leaf of its own).
        storeys: groups of the pieces, for layers of buildings with storeys.
        order: 0 … P − 1 where the pieces are in order of code and tie; it may lie in a file, and so may they, of which the tiles are views then.
        stacks: whether pieces at one place, more than a leaf may hold, are cut into several tiles of one cell.
    """
    cells: list[Cell] = []
    first = "city" if storeys is not None else ""
    see = view if order is not None else lambda column, rows: column[rows]
    order = np.lexsort((tie, code)).astype(np.int64) if order is None else order
    stack: list[tuple[I64, int, str, str]] = [(order, -1, first, "")] if len(code) else []
    while stack:
        rows, parent, group, suffix = stack.pop()
        if storeys is not None:
            group = _group(storeys, rows, group)
        own = see(code, rows)
        anchors = storeys.place[storeys.building[rows]] if storeys is not None and group == "city" else own
        level, x, y = _cell(anchors)
        name = f"{level}/{x}/{y}{suffix}"
        leaf = float(see(weight, rows).sum()) <= budget or len(rows) == 1 or (level == DEPTH and not stacks)
        outside = not leaf and (group == "city" or group.startswith("b"))
        cells.append(Cell(f"{group}/{name}" if group else name, *_cell(own), rows, parent, leaf, outside, group))
        here = len(cells) - 1
        if leaf:
            continue
        if storeys is not None and group.startswith("b"):
            parts = [rows[storeys.storey[rows] == k] for k in np.unique(storeys.storey[rows])]
        else:
            parts = _quadrants(rows, anchors, level, ordered=anchors is own)
        if len(parts) == 1:  # all at one place: runs of what a leaf may hold
            runs = _runs(see(weight, rows), budget)
            stack.extend((rows[runs == k], here, group, f"-{k}") for k in np.unique(runs)[::-1])
        else:
            stack.extend((part, here, group, "") for part in parts[::-1])
    return cells


def thin(cells: list[Cell], expected: list[float], load: list[float], most: float) -> list[Cell]:
    """The plan without inner tiles that would hardly be better than what is drawn above them.

    A small subtree (load up to `most`) whose tile is not expected to halve the error of the tile that it would replace hangs its
    children there directly: clients load fewer tiles on the way down, and less is built.

    Args:
        expected: errors of the tiles as far as they are known before they are built. load: weight below each.
    """
    place, above, kept = np.full(len(cells), -1), np.full(len(cells), np.inf), list[Cell]()
    for i, cell in enumerate(cells):
        parent = int(place[cell.parent]) if cell.parent >= 0 else -1
        if not cell.leaf and cell.parent >= 0 and cells[cell.parent].group in (cell.group, "city") and load[i] <= most and expected[i] > above[cell.parent] / 2:
            place[i], above[i] = parent, above[cell.parent]
            continue
        place[i], above[i] = len(kept), expected[i]
        kept.append(replace(cell, parent=parent))
    return kept


def _runs(weight: I64, budget: float) -> I64:
    """(N,) number of the run that each is in: as many one after the other as weigh no more than the budget, at least one."""
    result, run, total = np.empty(len(weight), np.int64), 0, 0.0
    for i, own in enumerate(weight.tolist()):
        if total and total + own > budget:
            run, total = run + 1, 0.0
        result[i] = run
        total += own
    return result


def _group(storeys: Storeys, rows: I64, group: str) -> str:
    """`city` while there are several buildings, `b…` while there are several storeys of one, `s…` within a storey."""
    name = storeys.names[int(storeys.storey[rows[0]])]
    if group == "city" and len(np.unique(storeys.building[rows])) == 1:
        group = f"b{_short(name.split(SEPARATOR)[0])}"
    if group.startswith("b") and len(np.unique(storeys.storey[rows])) == 1:
        group = f"s{_short(name)}"
    return group


def _cell(codes: U64) -> tuple[int, int, int]:
    """The smallest cell of the grid around some anchors: (level, x, y)."""
    first, last = int(codes.min()), int(codes.max())
    level = common_level(first, last)
    return level, *deinterleave(first >> (2 * (DEPTH - level)))


def _quadrants(rows: I64, anchors: U64, level: int, *, ordered: bool) -> list[I64]:
    """Rows by the quadrant of their anchors in a cell of that level, empty ones left out; of anchors that are ascending as views."""
    if level == DEPTH:
        return [rows]
    shift = 2 * (DEPTH - level - 1)
    if ordered:
        start = int(anchors[0]) >> shift + 2 << shift + 2
        edges = np.array([start + (q << shift) for q in (1, 2, 3)], np.uint64)
        return [part for part in np.split(rows, np.searchsorted(anchors, edges)) if len(part)]
    quadrant = (anchors >> np.uint64(shift)) & np.uint64(3)
    return [rows[quadrant == q] for q in np.unique(quadrant)]


def _short(text: str) -> str:
    """A name as a few letters that fit into a path."""
    return hashlib.sha256(text.encode()).hexdigest()[:12]
