"""What a city looks like from afar: the masses of the buildings that are not drawn yet (ADR 0013).

Every cell of the plan that has descendants gets a mass tile: for each sixteenth of a child's cell one block with the area of all
buildings in it, their mean height, on their lowest foot. A mass tile is *replaced* by the cells below it and their mass tiles, all
at once: so a cut shows each building at most once, and where it does not, its share of a mass. Its geometric error is how far its
blocks are from the buildings that they stand for (`mass_kernels`).

A tile that is built hands on a summary of its own buildings (at most sixteen rows); summaries of tiles that are copied come with
them, so an edit changes the mass tiles above it and no others, and no building is read for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tiling.blocks import mass_kernels as kernels
from tiling.blocks import solids
from tiling.blocks.glb import primitives
from tiling.blocks.mass_columns import AREA, COLUMNS, COUNT, FOOT, HEIGHT, LAT, LON, NEAR, TOP
from tiling.boxes import enu_frames
from tiling.encoding.drawables import Surface
from tiling.encoding.gltf import Compression, glb
from tiling.encoding.metadata import Schema, schema_of
from tiling.partition import Cell, Cells
from tiling.tileset import Finished
from twin import crs
from twin.archive import pack

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
SIDE = 4
"""Squares of a cell, a side."""
RUN = 1024
"""Mass tiles whose rows are at hand at a time (some 7 MB)."""
_NO_ROWS = np.zeros(0, np.int64)
ALONE = 2048
"""Cells that are summed up on one thread."""
SHOWN = COUNT + 1
"""Columns on which the bytes of a mass tile depend; the others tell its error."""
SURFACE = Surface((0.80, 0.80, 0.79, 1.0), name="mass")


def summary(rows: F64, cell: tuple[int, int, int], *, single: bool = False) -> F64:
    """(K, COLUMNS) masses of other masses, or of buildings (`single`), in the squares of a cell (level, x, y) of the plan's grid; K ≤ 16; rounded.

    `rows`: (N, COLUMNS), in the order in which they are to be added up.
    """
    result, square = np.empty((SIDE * SIDE, COLUMNS)), np.empty(len(rows), np.int64)
    kernels.add_up(rows, *cell, SIDE, single, result, square)
    return result[result[:, COUNT] > 0]


def buildings(shape: solids.Solids, owner: I64, lon: F64, lat: F64, foot: F64, height: F64) -> F64:
    """(N, COLUMNS) one row a building, those without a solid of count 0.

    Args:
        shape: solids in tiles' frames; owner: (P,) row of each solid. lon, lat: (C,) degrees of their corners. foot, height: (N,).
    """
    rows = np.zeros((len(foot), COLUMNS))
    corners = np.diff(shape.start)
    row = np.repeat(owner, corners)
    first = np.repeat(shape.start[:-1], corners)
    p, q = shape.plan - shape.plan[first], shape.plan[shape.after] - shape.plan[first]
    rows[:, AREA] = np.abs(np.bincount(row, p[:, 0] * q[:, 1] - q[:, 0] * p[:, 1], minlength=len(rows))) / 2
    number = np.maximum(np.bincount(row, minlength=len(rows)), 1)
    for k, values in ((LON, lon), (LAT, lat)):
        rows[:, k] = np.bincount(row, values, minlength=len(rows)) / number
    rows[:, HEIGHT], rows[:, FOOT], rows[:, TOP] = height, foot, foot + height
    kernels.spans(rows, row, lon, lat)
    rows[np.unique(owner), COUNT] = 1
    return rows


@dataclass(frozen=True)
class Mass:
    """A mass tile to be made: the level, x and y of its cell, its name, and the (K, COLUMNS) rows that it shows."""

    cell: tuple[int, int, int]
    name: str
    rows: F64

    @property
    def error(self) -> float:
        """Metres within which the blocks have the surfaces of the buildings that they stand for, and the other way round."""
        return float(self.rows[:, NEAR].max())

    def centre(self) -> tuple[float, float]:
        """Longitude and latitude of the cell's middle in degrees."""
        return Cell(*self.cell, _NO_ROWS, -1, 0.0).centre()


@dataclass(frozen=True)
class Masses:
    """The mass tiles of a plan, in its order.

    Attributes:
        cell: (M,) positions of their cells in the plan. names: their own.
        parts: the summaries of the cells' own buildings, and those of cells with others below them.
        begin, count: (K,) of each cell that hangs below a mass tile, where its summary is in the parts, one behind the other, and its rows.
        first: (M + 1,) where those below each mass tile begin among these. roots: of every cell without a parent, the summary of it and all below it.
    """

    cells: Cells
    cell: I64
    names: list[str]
    parts: tuple[F64, F64]
    begin: I64
    count: I64
    first: I64
    roots: list[F64]

    def runs(self, length: int | None = None) -> Iterator[tuple[int, int, F64, I64]]:
        """(first, last, what they show, where each begins in that, and the end) of at most `length` mass tiles (`RUN`), one behind the other."""
        step = length or RUN
        for low in range(0, len(self.cell), step):
            high = min(low + step, len(self.cell))
            a, b = int(self.first[low]), int(self.first[high])
            ends = np.concatenate([[0], np.cumsum(self.count[a:b])])
            at = np.repeat(self.begin[a:b] - ends[:-1], self.count[a:b]) + np.arange(ends[-1])
            own, result = self.parts
            mine = at < len(own)
            rows = np.empty((len(at), COLUMNS))
            rows[mine], rows[~mine] = own[at[mine]], result[at[~mine] - len(own)]
            yield low, high, rows, ends[self.first[low : high + 1] - a]

    def errors(self) -> F64:
        """(M,) `Mass.error` of each."""
        if not len(self.cell):
            return np.zeros(0)
        own, result = self.parts
        ends = np.cumsum(self.count)
        at = np.repeat(self.begin - (ends - self.count), self.count) + np.arange(ends[-1])
        return np.asarray(np.maximum.reduceat(np.concatenate([own[:, NEAR], result[:, NEAR]])[at], (ends - self.count)[self.first[:-1]]), np.float64)

    def largest(self) -> float:
        """Size of the largest block of the first, metres: what is missing where the tile is not drawn."""
        _, _, rows, _ = next(self.runs(1))
        return float(np.sqrt(2 * rows[:, AREA] + rows[:, HEIGHT] ** 2).max())

    def mass(self, at: int, rows: F64) -> Mass:
        """One of them, which shows these rows."""
        cell = int(self.cell[at])
        place = int(self.cells.level[cell]), int(self.cells.x[cell]), int(self.cells.y[cell])
        return Mass(place, self.names[at], rows)


def collect(cells: Cells, own: F64, first: I64) -> Masses:
    """The mass tiles of a plan, or of several one behind the other; every cell with buildings below it has one.

    Args:
        cells: of the plan, depth first; the first of each plan has no parent. own: (R, COLUMNS) the summaries of the cells' own buildings, one behind the other; first: (N + 1,) where each cell's begins.
    """
    inner = np.unique(cells.parent[cells.parent >= 0])
    slot, count = np.full(len(cells), -1), np.zeros(len(cells), np.int64)
    slot[inner] = np.arange(len(inner))
    result = np.empty((len(inner), SIDE * SIDE, COLUMNS))
    family = np.empty((2, len(cells)), np.int64)
    kernels.families(cells.parent, *family)
    left, right, last = _halves(cells.parent)
    grid = np.column_stack([cells.level, cells.x, cells.y])

    def add_up(order: I64) -> None:
        kernels.collect(grid, own, first, SIDE, slot, result, count, family, order)

    with ThreadPoolExecutor(1, "masses") as thread:  # an update waits for this and for nothing else
        other = thread.submit(add_up, right) if len(right) else None
        add_up(left)
        if other is not None:
            other.result()
    add_up(last)
    below = np.flatnonzero((cells.parent >= 0) & (count > 0))
    below = below[np.argsort(cells.parent[below], kind="stable")]
    begin = np.where(slot < 0, first[:-1], len(own) + slot * SIDE * SIDE)[below]
    above, start = np.unique(cells.parent[below], return_index=True)
    names = [f"mass/{level}/{x}/{y}" for level, x, y in zip(*(getattr(cells, axis)[above].tolist() for axis in ("level", "x", "y")), strict=True)]
    roots = [result[slot[at], : count[at]] if slot[at] >= 0 else own[first[at] : first[at + 1]] for at in np.flatnonzero(cells.parent < 0).tolist()]
    return Masses(cells, above, names, (own, result.reshape(-1, COLUMNS)), begin, count[below], np.append(start, len(below)), roots)


def _halves(parent: I64) -> tuple[I64, I64, I64]:
    """Cells in two runs, children first, of which neither has to do with the other, and those above both. The second is empty for a small plan."""
    count = len(parent)
    order = np.arange(count - 1, -1, -1)
    if count < ALONE:
        return order, order[:0], order[:0]
    middle = above = count // 2  # what is below a cell lies behind it, before the next that is not
    both = np.zeros(count, bool)
    while (above := int(parent[above])) >= 0:
        both[above] = True
    return order[count - middle :][~both[:middle][::-1]], order[: count - middle], np.flatnonzero(both)[::-1].copy()


@cache
def schema() -> Schema:
    """The class of masses: how many buildings each stands for, their area and mean height."""
    return schema_of("mass", _table(np.ones((1, COLUMNS))))


def _table(rows: F64) -> pa.Table:
    return pa.table({"buildings": rows[:, COUNT].astype(np.int32), "area": rows[:, AREA].astype(np.float32), "height": rows[:, HEIGHT].astype(np.float32)})


def build_many(task: tuple[Compression, list[Mass]]) -> list[Finished]:
    """Some mass tiles: a unit of work. Every number is computed element by element, so that no tile's bytes depend on its unit."""
    compression, wanted = task
    first = np.cumsum([0, *(len(mass.rows) for mass in wanted)]).tolist()
    shape = _blocks(np.concatenate([mass.rows for mass in wanted]), np.repeat(enu_frames(*np.array([mass.centre() for mass in wanted]).T), np.diff(first), axis=0))
    return [build(mass, shape, at, compression) for mass, at in zip(wanted, first, strict=False)]


def _blocks(rows: F64, frames: F64) -> solids.Solids:
    """Upright blocks on squares of the summed-up areas; frames: (N, 4, 4) of the tile of each row."""
    half = np.sqrt(rows[:, AREA]) / 2
    local = _turned(crs.geodetic_to_ecef(rows[:, [LON, LAT, FOOT]]) - frames[:, :3, 3], frames)
    own = enu_frames(rows[:, LON], rows[:, LAT])
    east, north, up = (_turned(own[:, :3, k], frames) for k in range(3))
    square = ((-1, -1), (1, -1), (1, 1), (-1, 1))
    corners = [local + half[:, None] * (x * east + y * north) for x, y in square]
    plan = (half[:, None, None] * np.array(square)).reshape(-1, 2)
    numbers = np.arange(len(rows))
    rings = solids.Rings(np.repeat(numbers, 4), numbers, np.zeros(len(rows), bool), numbers)
    return solids.extrude(rings, plan, np.stack(corners, axis=1).reshape(-1, 3), np.repeat(rows[:, HEIGHT], 4), np.repeat(up, 4, axis=0))


def _turned(vectors: F64, frames: F64) -> F64:
    """(N, 3) vectors of ECEF in the axes of the frames."""
    return np.stack([vectors[:, 0] * frames[:, 0, k] + vectors[:, 1] * frames[:, 1, k] + vectors[:, 2] * frames[:, 2, k] for k in range(3)], axis=1)


def build(mass: Mass, shape: solids.Solids, first: int, compression: Compression) -> Finished:
    """A mass tile of the blocks from `first` on."""
    rows, last = mass.rows, first + len(mass.rows)
    low, high = shape.extremes(first, last)
    ready = primitives(shape, first, last, np.arange(len(rows)), low, high)
    data = glb((), [SURFACE], schema().encode(_table(rows)), compression=compression, ready=ready)
    heights = float(rows[:, FOOT].min()), float((rows[:, FOOT] + rows[:, HEIGHT]).max())
    return Finished(pack(data), low, high, heights, 0, sum(len(one.steps) for one in ready), sum(len(one.triangles) for one in ready))
