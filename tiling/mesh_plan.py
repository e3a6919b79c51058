"""Which elements of a mesh layer its tiles draw: measured, placed in the plan of `tiling.levels`, with what each tile aims at."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiling import partition
from tiling.elements import Elements, metres
from tiling.levels import ABSENCE, Cell, Storeys, plan, thin
from tiling.mesh_tile import DETAIL, LIKENESS, Wanted
from tiling.rows import id_hash
from twin import crs
from twin.errors import BadFeature
from twin.model import LayerVersion, Report
from twin.parts import first_reasons

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
FAN = 8
"""Budgets below an inner tile that need no tiles in between, if those would not halve its error."""


class Tree:
    """The plan of a layer, and what each of its tiles is to draw.

    Attributes:
        cells: the tiles. weight: of the pieces that have a triangle. total: of all. largest: diagonal of the largest feature, metres.

    Raises:
        BadFeature: no element has a triangle; what cannot be drawn is noted in `report`.
    """

    def __init__(self, elements: Elements, version: LayerVersion, options: Any, report: Report) -> None:
        box = elements.shapes.store.laid("boxes", elements.measure())
        good = np.flatnonzero(np.isfinite(box).all(axis=(1, 2)) & (elements.weight > 0))
        _note_losses(elements, good, report)
        if not len(good):
            raise BadFeature(f"Layer {version.layer}: no element has a triangle that can be drawn.", first_reasons(version.report.get("notes", [])))
        self._elements, self._reference = elements, version.reference
        every = len(good) == len(box)
        self._piece, self._box, self.weight = good, box if every else box[good], elements.weight if every else elements.weight[good]
        self._size = _sizes(elements.feature[good], self._box, self._metres)
        self._tie = id_hash(elements.table.column("id").combine_chunks())[elements.feature[good]]
        middle = self._box.mean(axis=1)
        lon, lat = crs.to_lonlat(version.reference.horizontal, middle[:, 0], middle[:, 1])
        self.total, self.largest, self._interior = int(self.weight.sum()), float(self._size.max()), options.interior
        code = partition.project(lon, lat)
        grid = options.subdivision == "implicit"
        budget = self.total if elements.one_tile(options.budget) else options.budget
        self._storeys = _storeys(elements, good, code, self._metres(middle[:, 1].mean(keepdims=True))[0], options) if self.total > budget and not grid else None
        cells = plan(code, self.weight, self._tie, budget, self._storeys, stacks=not grid)
        self.cells = thin(cells, [self._expected(c) for c in cells], [float(self.weight[c.rows].sum()) for c in cells], FAN * options.budget)

    def _metres(self, y: F64) -> F64:
        return metres(self._reference, y)

    def _expected(self, cell: Cell) -> float:
        """The error that a tile's forms aim at."""
        return 0.0 if cell.leaf else min(self._extent(cell.rows) / DETAIL, float(self._size[cell.rows].max()) / LIKENESS)

    def _extent(self, rows: I64) -> float:
        low, high = self._box[rows, 0].min(axis=0), self._box[rows, 1].max(axis=0)
        return float(np.linalg.norm((high - low) * self._metres((low[1:2] + high[1:2]) / 2)))

    def pieces(self, cell: Cell) -> I64:
        """All pieces below a tile."""
        return self._piece[cell.rows]

    def wanted(self, number: int) -> Wanted:
        """What tile `number` is to draw."""
        cell = self.cells[number]
        rows, hidden = cell.rows, 0.0
        if cell.outside and self._storeys is not None and self._storeys.visible[rows].any():
            inside = rows[~self._storeys.visible[rows]]
            rows = rows[self._storeys.visible[rows]]
            hidden = min(ABSENCE * float(self._size[inside].max(initial=0.0)), self._interior)
        return Wanted(cell.centre(), self._piece[rows], cell.leaf, self._size[rows], self._tie[rows], self._extent(rows), hidden)


def _note_losses(elements: Elements, good: I64, report: Report) -> None:
    """Features without a triangle, and those of which some pieces cannot be drawn."""
    ids = elements.table.column("id")
    for lost in np.setdiff1d(np.arange(len(elements.table)), elements.feature[good]):
        report.note("refused", ids[int(lost)].as_py(), "no triangles, or coordinates that are not finite")
    drawn = elements.feature[good]  # in ascending order
    for feature, gone in sorted(elements.lost.items()):
        if np.searchsorted(drawn, feature) < np.searchsorted(drawn, feature, side="right"):
            report.note("repaired", ids[feature].as_py(), f"{gone} triangles beside coordinates that are not finite were left out")


def _storeys(elements: Elements, pieces: I64, code: NDArray[np.uint64], unit: F64, options: Any) -> Storeys | None:
    """The buildings and storeys of a layer whose features name theirs."""
    if options.storey not in elements.table.column_names:
        return None
    from tiling.shell import storeys_of  # noqa: PLC0415  numba takes half a second to load: only models with storeys need it

    return storeys_of(elements, pieces, code, unit, options.storey, options.building)


def _sizes(feature: I64, box: F64, unit: Any) -> F64:
    """(P,) the diagonal, in metres, of the whole feature that each piece belongs to."""
    starts = np.flatnonzero(np.concatenate([[True], feature[1:] != feature[:-1]]))
    low, high = np.minimum.reduceat(box[:, 0], starts), np.maximum.reduceat(box[:, 1], starts)
    size = np.linalg.norm((high - low) * unit((low[:, 1] + high[:, 1]) / 2), axis=1)
    return np.asarray(np.repeat(size, np.diff(starts, append=len(feature))), np.float64)
