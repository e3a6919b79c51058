"""Which feature goes into which tile: a pure function of places, sizes and weights (ADR 0003).

The grid is the Web Mercator quadtree of the whole earth, fixed for ever. A cell keeps its largest features up to `share` of
weight and hands the rest to its quadrants (refinement ADD); a cell whose features weigh no more than `budget` keeps them
all. So every feature is in exactly one tile, drawn once on any cut; a tile is a function of the features inside
its cell and of what its ancestors took; and neither the order of arrival nor earlier versions show. Cells with all
features in one quadrant are skipped.

Features come in `Places`, sorted by place and perhaps mapped from files. A cell of more than `limit` features is worked through
piece by piece, so memory is bounded by `limit` and the plan is the same whatever it is.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiling.places import NONE, U64
from tiling.places import Places as Places  # noqa: PLC0414  who knows the plan finds them here
from twin.angles import arc_tangent, exponential
from twin.keys import DEPTH as DEPTH  # noqa: PLC0414  the grid is the one that parts are sorted by
from twin.keys import deinterleave as deinterleave  # noqa: PLC0414
from twin.keys import interleave as interleave  # noqa: PLC0414
from twin.keys import project as project  # noqa: PLC0414

LIMIT = 1 << 20
"""Features of a cell that are planned in memory (some 110 MB)."""
_TALL = 1 << 14
"""Features, the largest, that are at hand for the tiles of heavy cells."""


@dataclass(frozen=True)
class Cell:
    """A tile of the plan.

    Attributes:
        level, x, y: its place in the grid (as in Web Mercator tile addresses: y grows southwards).
        rows: (K,) the features drawn here, in Morton order (ties by hash).
        parent: its parent's position in the plan, −1 for the root.
        error: largest size of a feature that only its descendants draw, metres; 0 for a leaf.
        weight: of its features; mark: theirs.
    """

    level: int
    x: int
    y: int
    rows: NDArray[np.int64]
    parent: int
    error: float
    weight: float = 0.0
    mark: U64 = field(default_factory=lambda: NONE)

    @property
    def name(self) -> str:
        """`level/x/y`, unique in a plan."""
        return f"{self.level}/{self.x}/{self.y}"

    def centre(self) -> tuple[float, float]:
        """Longitude and latitude of the cell's middle in degrees."""
        side = 1 << self.level
        lon, lat = unproject((self.x + 0.5) / side, (self.y + 0.5) / side)
        return float(lon), float(lat)


@dataclass(frozen=True)
class Cells:
    """Tiles of a plan, or of a piece of one, as columns; see `Cell`.

    Attributes:
        level, x, y, parent: (N,) int64. error, weight: (N,) float64.
        last: (N,) end of each tile's features in `rows` and `mark`.
        whole: whether all tiles below the first are among them.
    """

    level: NDArray[np.int64]
    x: NDArray[np.int64]
    y: NDArray[np.int64]
    parent: NDArray[np.int64]
    error: NDArray[np.float64]
    weight: NDArray[np.float64]
    last: NDArray[np.int64]
    rows: NDArray[Any]
    mark: U64 = field(default_factory=lambda: NONE)
    whole: bool = True

    def __len__(self) -> int:
        return len(self.level)

    def names(self) -> list[str]:
        """`Cell.name` of each."""
        return [f"{level}/{x}/{y}" for level, x, y in zip(self.level.tolist(), self.x.tolist(), self.y.tolist(), strict=True)]

    def cell(self, at: int) -> Cell:
        """One of them."""
        own = slice(int(self.last[at - 1]) if at else 0, int(self.last[at]))
        numbers = (int(self.level[at]), int(self.x[at]), int(self.y[at]), self.rows[own], int(self.parent[at]))
        return Cell(*numbers, float(self.error[at]), float(self.weight[at]), self.mark[own] if len(self.mark) else NONE)

    def bare(self) -> Cells:
        """Without their features."""
        return replace(self, last=np.zeros(len(self), np.int64), rows=NONE.astype(np.int64), mark=NONE)

    @staticmethod
    def of(cell: Cell, *, whole: bool = True) -> Cells:
        """One tile."""
        level, x, y, parent, last = (np.array([n], np.int64) for n in (cell.level, cell.x, cell.y, cell.parent, len(cell.rows)))
        return Cells(level, x, y, parent, np.array([cell.error]), np.array([cell.weight]), last, cell.rows, cell.mark, whole)

    @staticmethod
    def joined(many: Sequence[Cells]) -> Cells:
        """The pieces of a plan, which are bare, in one."""
        if not many:
            whole, real = np.zeros(0, np.int64), np.zeros(0)
            return Cells(whole, whole, whole, whole, real, real, whole, whole)
        columns = {name: np.concatenate([getattr(one, name) for one in many]) for name in ("level", "x", "y", "parent", "error", "weight", "last")}
        return Cells(**columns, rows=many[0].rows)


def unproject(u: Any, v: Any) -> tuple[Any, Any]:
    """Web Mercator unit square → longitude, latitude in degrees; numbers or arrays."""
    return u * 360.0 - 180.0, 2.0 * arc_tangent(exponential(np.pi * (1.0 - 2.0 * v)), 1.0) - 90.0


def plan(
    code: U64, size: NDArray[Any], weight: NDArray[Any], tie: U64, *, budget: float, share: float,
) -> list[Cell]:  # fmt: skip
    """The tiles of a layer held in arrays (in any order), parents before children, in Morton order; see `stream`."""
    return list(stream([Places(code, size, weight, tie, np.arange(len(code))).sorted()], budget=budget, share=share))


def stream(sources: Sequence[Places], *, budget: float, share: float, limit: int = LIMIT) -> Iterator[Cell]:
    """The tiles of a layer one by one; see `pieces`."""
    for piece in pieces(sources, budget=budget, share=share, limit=limit):
        yield from map(piece.cell, range(len(piece)))


def pieces(sources: Sequence[Places], *, budget: float, share: float, limit: int = LIMIT) -> Iterator[Cells]:
    """The tiles of a layer, parents before children, in Morton order, in pieces of which none is empty; see `nodes`."""
    count = 0
    tops: list[int] = []
    for node in nodes(sources, budget=budget, share=share, limit=limit):
        above = tops[node.above] if node.above >= 0 else -1
        cells = node.cells()
        if isinstance(node, Top):
            tops.append(count)
        yield replace(cells, parent=np.where(cells.parent < 0, above, cells.parent + count))
        count += len(cells)


@dataclass(frozen=True)
class Top:
    """A tile of a cell too heavy to be looked at whole: `cell`, whose parent is the top number `above` (−1 for none)."""

    cell: Cell
    above: int

    def cells(self) -> Cells:
        """The tile, without its parent."""
        return Cells.of(self.cell, whole=False)


@dataclass(frozen=True)
class Subtree:
    """All tiles of what lies in a cell and is not drawn above it: a function of that alone, and not yet made.

    Attributes:
        views: of each source, what lies there. taken: of that, what is drawn above.
        above: number of the top below which it hangs, −1 for none. level, x, y: of its first tile. weight: of all that it draws.
    """

    views: Sequence[Places]
    taken: Places
    above: int
    level: int
    x: int
    y: int
    weight: float
    budget: float
    share: float

    @property
    def name(self) -> str:
        """`Cell.name` of its first tile."""
        return f"{self.level}/{self.x}/{self.y}"

    def __len__(self) -> int:
        """How many features lie there, shown or not."""
        return sum(map(len, self.views))

    def cells(self) -> Cells:
        """Its tiles; the first has no parent among them."""
        places = Places.merged([view.without(self.taken) for view in self.views], tied=False)
        if not math.isinf(self.budget):
            return _in_memory(places, self.budget, self.share)
        weight = float(places.weight.sum(dtype=np.float64))
        return Cells.of(Cell(self.level, self.x, self.y, places.row, -1, 0.0, weight, places.mark))

    def digest(self) -> str:
        """What its tiles are made of, whatever its order and parts: sums of the marks (and of their squares) of what lies there, and of what is drawn above."""
        sums = sum((_sums(view.mark) - _sums(view.mark[view.gone]) for view in self.views), np.zeros(3, np.uint64))
        return str(np.concatenate([sums, _sums(self.taken.mark)]).tobytes().hex())


def _sums(marks: U64) -> U64:
    """(how many, their sum, the sum of their squares), modulo 2^64."""
    return np.array([len(marks), marks.sum(dtype=np.uint64), np.dot(marks, marks)], np.uint64)


def nodes(sources: Sequence[Places], *, budget: float, share: float, limit: int = LIMIT, heavy: float = math.inf) -> Iterator[Top | Subtree]:
    """The plan from above: tiles of heavy cells, and what hangs below them, parents before children, in Morton order.

    Args:
        sources: the layer's features; their rows are all different.
        budget: weight that a leaf may hold.
        share: weight that an inner tile takes (always at least one feature).
        limit: features held in memory. heavy: a cell of more features or weight is not looked at whole: its tile comes by itself, and its quadrants after it.
    """
    count, whole, tall = 0, sum(map(len, sources)) <= limit, None
    stack = [(0, 1 << 2 * DEPTH, -1, Places.none())]
    while stack:
        low, high, above, taken = stack.pop()
        views = [view for view in (source.between(low, high) for source in sources) if len(view) > len(view.gone)]
        taken = taken.part((taken.code >= low) & (taken.code < high))
        if sum(len(view) - len(view.gone) for view in views) == len(taken):
            continue
        weight = sum(view.heft() for view in views) - float(taken.weight.sum(dtype=np.float64))
        first, last = _ends(views, set(taken.row.tolist()))
        level = _common_level(first, last)
        place = level, *deinterleave(first >> 2 * (DEPTH - level))
        if sum(map(len, views)) <= limit and weight <= heavy:
            yield Subtree(views, taken, above, *place, weight, budget, share)
        elif level == DEPTH or weight <= budget:  # one place, or many features that weigh next to nothing: a leaf as it is
            yield Subtree(views, taken, above, *place, weight, math.inf, share)
        else:
            tall = _tall(sources) if tall is None else tall
            own, error = _largest(tall, (sources, views, taken, limit), share)
            yield Top(Cell(*place, own.row, -1, error, float(own.weight.sum(dtype=np.float64)), own.mark), above)
            taken = _joined(taken, own)
            start, step = first >> 2 * (DEPTH - level) << 2 * (DEPTH - level), 1 << 2 * (DEPTH - level - 1)
            stack.extend((start + q * step, start + (q + 1) * step, count, taken) for q in (3, 2, 1, 0))
            count += 1
        if not whole:
            _release(sources)


def _ends(views: Sequence[Places], taken: set[int]) -> tuple[int, int]:
    """The first and the last code of what is shown and not taken."""
    found = []
    for view in views:
        gone, last = view.gone, len(view) - 1
        hidden = set(gone.tolist())
        ahead = np.flatnonzero(gone != np.arange(len(gone)))
        behind = np.flatnonzero(gone[::-1] != last - np.arange(len(gone)))
        for at, step in ((int(ahead[0]) if len(ahead) else len(gone), 1), (last - (int(behind[0]) if len(behind) else len(gone)), -1)):
            while 0 <= at <= last and (at in hidden or int(view.row[at]) + view.base in taken):
                at += step  # noqa: PLW2901
            if 0 <= at <= last:
                found.append(int(view.code[at]))
    return min(found), max(found)


def _tall(sources: Sequence[Places]) -> Places:
    """About the `_TALL` largest features: all that are as large as the least of them."""
    count = sum(map(len, sources))
    sample = np.concatenate([one.size[:: max(1, count // _TALL)] for one in sources])
    least = np.sort(sample)[-max(1, len(sample) * _TALL // count)] if count > _TALL else -math.inf
    found = []
    for one in sources:
        at = np.flatnonzero(one.size >= least)
        found.append(replace(one.part(at[~np.isin(at, one.gone)]), base=one.base))
        one.release()
    return Places.merged(found)


def _largest(tall: Places, among: tuple[Sequence[Places], Sequence[Places], Places, int], share: float) -> tuple[Places, float]:
    """(the largest of some views up to `share`, in order; the size of the largest of the others). Where the tallest of all are not enough to tell, all are looked at."""
    sources, views, taken, limit = among
    low, high = min(int(view.code[0]) for view in views), max(int(view.code[-1]) for view in views)
    some = _without(tall.between(low, high + 1), taken.row)
    if len(some):
        own, rest = _split(some, share)
        if len(rest):
            return own, float(rest.size.max())
    own, rest = _split(_survey(_slices(sources, views, taken.row, limit), share), share)
    return own.sorted(), float(rest.size.max(initial=0.0))


def _joined(one: Places, two: Places) -> Places:
    """Both, one behind the other."""
    return Places(*(np.concatenate([getattr(one, name), getattr(two, name)]) for name in ("code", "size", "weight", "tie", "row", "mark")))


def _slices(sources: Sequence[Places], views: Sequence[Places], taken: NDArray[Any], limit: int) -> Iterator[Places]:
    """Views of the sources without what is taken, at most `limit` features at a time."""
    for view in views:
        for at in range(0, len(view), limit):
            yield _without(view.slice(at, at + limit).shown(), taken)
            _release(sources)


def _release(sources: Sequence[Places]) -> None:
    for source in sources:
        source.release()


def _without(places: Places, taken: NDArray[Any]) -> Places:
    return places.part(~np.isin(places.row, taken)) if len(taken) and len(places) else places


def _survey(pieces: Iterator[Places], share: float) -> Places:
    """The largest features up to the first beyond `share` of what comes in pieces."""
    from tiling.partition_kernels import prefix  # noqa: PLC0415  numba takes half a second to load: layers of one tile never need it

    def largest(piece: Places) -> Places:
        return piece.part(np.sort(prefix(np.array(piece.size, np.float64), np.array(piece.weight, np.float64), float(share))[0]))

    return Places.merged([largest(piece) for piece in pieces if len(piece)])


def _split(top: Places, share: float) -> tuple[Places, Places]:
    """(the largest up to `share`, the others) of places in order."""
    from tiling.partition_kernels import prefix  # noqa: PLC0415  numba takes half a second to load: layers of one tile never need it

    ranked, count = prefix(np.array(top.size, np.float64), np.array(top.weight, np.float64), float(share))
    mine = np.zeros(len(top), bool)
    mine[ranked[:count]] = True
    return top.part(mine), top.part(~mine)


def _in_memory(places: Places, budget: float, share: float) -> Cells:
    """The subtree of all of `places`, at least one; its first cell has no parent."""
    code = places.code.view(np.int64) if places.code.flags.writeable else places.code.astype(np.int64)  # mapped files would need a compiled form of their own
    size, weight = np.array(places.size), np.array(places.weight)  # which `subtree` writes to
    level, total = _common_level(int(code[0]), int(code[-1])), float(weight.sum())
    if (level == DEPTH or total <= budget) and bool((size >= 0).all()):
        cell = int(code[0]) >> 2 * (DEPTH - level)
        return Cells.of(Cell(level, *deinterleave(cell), places.row, -1, 0.0, total, places.mark if len(places.mark) else NONE))
    from tiling.partition_kernels import subtree  # noqa: PLC0415  numba takes half a second to load: layers of one tile never need it

    cells, numbers, own = subtree(code, size, weight, float(budget), float(share))
    level_, x, y, above, last = cells.T
    rows, marks = places.row[own], places.mark[own] if len(places.mark) else NONE
    return Cells(level_, x, y, above, numbers[:, 0], numbers[:, 1], last, rows, marks)


def _common_level(first: int, last: int) -> int:
    """Level of the smallest cell that holds both codes (and, as they are the extremes of a range, all between)."""
    return DEPTH - ((first ^ last).bit_length() + 1) // 2


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
