"""Which elements of a mesh layer its tiles draw: measured, placed in the plan of `tiling.levels`, with what each tile aims at."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiling import partition
from tiling.levels import ABSENCE, Cell, Rows, Storeys, plan, span, thin
from tiling.meshes.elements import CHUNK, KEYS, Elements, metres
from tiling.meshes.tile import DETAIL, LIKENESS, Wanted
from tiling.rows import id_hash
from twin import crs, keys
from twin.errors import BadFeature
from twin.model import LayerVersion, Report
from twin.parts import first_reasons

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
FAN = 8
"""Budgets below an inner tile that need no tiles in between, if those would not halve its error."""
_NAMES = ("code", "piece", "box", "weight", "size", "tie")


class Tree:
    """The plan of a layer, and what each of its tiles is to draw.

    What is known of the pieces that can be drawn lies in columns `placed_…` of the elements' store, by place (ties by hash).

    Attributes:
        cells: the tiles. weight: of all pieces below each. total: of all. largest: diagonal of the largest feature, metres.

    Raises:
        BadFeature: no element has a triangle; what cannot be drawn is noted in `report`.
    """

    def __init__(self, elements: Elements, version: LayerVersion, options: Any, report: Report) -> None:
        self._elements, self._reference, self._interior = elements, version.reference, options.interior
        self.cells: list[Cell] = []
        self.weight = self._low = self._high = self._most = np.zeros(0)
        self.largest = 0.0
        self._read(report)
        store = elements.store
        count = len(store["read_code"])
        if not count:
            told = first_reasons([*version.report.get("notes", []), *report.to_json()["notes"]])
            raise BadFeature(f"Layer {version.layer}: no element has a triangle that can be drawn.", told or "Without shapes it is kept by twin ingest --no-publish.")
        self._sort()
        self.total = sum(int(store["placed_weight"][a:b].sum()) for a, b in store.spans("placed_weight", CHUNK))
        grid = options.subdivision == "implicit"
        budget = self.total if elements.one_tile(options.budget) else options.budget
        self._storeys = _storeys(elements, self._unit, options) if self.total > budget and not grid else None
        cells = plan(store["placed_code"], store["placed_weight"], store["placed_tie"], budget, self._storeys, stacks=not grid, order=store["order"])
        self._measure(cells)
        expected = [self._expected(cell, k) for k, cell in enumerate(cells)]
        kept = thin(cells, expected, self.weight.tolist(), FAN * options.budget)
        place = {cell.name: k for k, cell in enumerate(cells)}
        some = [place[cell.name] for cell in kept]
        self.cells, self.weight, self._low, self._high = kept, self.weight[some], self._low[some], self._high[some]
        store.release()

    def _read(self, report: Report) -> None:
        """Fill the columns `read_…` in the order of the layer; what cannot be drawn is noted."""
        elements, store = self._elements, self._elements.store
        for name in _NAMES:
            store.drop(f"read_{name}")
        rows = 0
        lost: list[int] = []
        drawn: set[int] = set()
        for table in elements.table.batches():
            a, b = np.searchsorted(elements.feature, (rows, rows + len(table))).tolist()
            box = elements.measure(a, b)
            good = np.flatnonzero(np.isfinite(box).all(axis=(1, 2)) & (elements.weight[a:b] > 0))
            feature, box = elements.feature[a:b][good] - rows, box[good]
            lost += (rows + np.setdiff1d(np.arange(len(table)), feature)).tolist()
            drawn.update(elements.lost.keys() & (rows + feature).tolist() if elements.lost else ())
            if len(good):
                middle = box.mean(axis=1)
                size = _sizes(feature, box, self._metres)
                code = partition.project(*crs.to_lonlat(self._reference.horizontal, middle[:, 0], middle[:, 1]))
                tie = id_hash(table.column("id").combine_chunks())[feature]
                for name, column in zip(_NAMES, (code, a + good, box, elements.weight[a:b][good], size, tie), strict=True):
                    store.add(f"read_{name}", column)
                self.largest = max(self.largest, float(size.max()))
            rows += len(table)
            store.release()
        for at in range(0, len(lost), CHUNK):
            for name in elements.table.ids(lost[at : at + CHUNK]):
                report.note("refused", name, "no triangles, or coordinates that are not finite")
        for row, name in zip(sorted(drawn), elements.table.ids(sorted(drawn)), strict=True):
            report.note("repaired", name, f"{elements.lost[row]} triangles beside coordinates that are not finite were left out")

    def _sort(self) -> None:
        """Fill the columns `placed_…` from those that were read, by place, and `order`, which counts them."""
        store, count = self._elements.store, 0
        for name in (*(f"placed_{name}" for name in _NAMES), "order"):
            store.drop(name)
        for run in keys.in_order(store["read_code"], KEYS):
            order = run[np.lexsort((store["read_tie"][run], store["read_code"][run]))]
            for name in _NAMES:
                store.add(f"placed_{name}", store[f"read_{name}"][order])
            store.add("order", count + np.arange(len(run)))
            count += len(run)
            store.release()

    def _metres(self, y: F64) -> F64:
        return metres(self._reference, y)

    def _unit(self) -> F64:
        """(3,) metres per unit of the layer's coordinates, in its middle."""
        middle = self._elements.store["read_box"].mean(axis=1)
        unit: F64 = self._metres(middle[:, 1].mean(keepdims=True))[0]
        return unit

    def _placed(self, name: str, rows: Rows) -> Any:
        return self._elements.placed(name, rows)

    def _measure(self, cells: list[Cell]) -> None:
        """Box, weight and largest size of all that is below each tile: of leaves from the pieces, of others from their children."""
        self._low, self._high = np.full((len(cells), 3), np.inf), np.full((len(cells), 3), -np.inf)
        self.weight, self._most = np.zeros(len(cells)), np.zeros(len(cells))
        for k in range(len(cells) - 1, -1, -1):
            cell, up = cells[k], cells[k].parent
            if cell.leaf:
                box = self._placed("box", cell.rows)
                self._low[k], self._high[k] = box[:, 0].min(axis=0), box[:, 1].max(axis=0)
                self.weight[k], self._most[k] = self._placed("weight", cell.rows).sum(), self._placed("size", cell.rows).max()
            if up >= 0:
                self._low[up], self._high[up] = np.minimum(self._low[up], self._low[k]), np.maximum(self._high[up], self._high[k])
                self.weight[up] += self.weight[k]
                self._most[up] = max(self._most[up], self._most[k])
        self._elements.release()

    def _expected(self, cell: Cell, number: int) -> float:
        """The error that a tile's forms aim at."""
        return 0.0 if cell.leaf else min(self._diagonal(self._low[number], self._high[number]) / DETAIL, float(self._most[number]) / LIKENESS)

    def _diagonal(self, low: F64, high: F64) -> float:
        return float(np.linalg.norm((high - low) * self._metres((low[1:2] + high[1:2]) / 2)))

    def pieces(self, cell: Cell) -> I64:
        """All pieces below a tile."""
        found: I64 = self._placed("piece", cell.rows)
        return found

    def wanted(self, number: int) -> Wanted:
        """What tile `number` is to draw."""
        cell = self.cells[number]
        rows, hidden, low, high = cell.rows, 0.0, self._low[number], self._high[number]
        if cell.outside and self._storeys is not None and self._storeys.visible[rows].any():
            inside = rows[~self._storeys.visible[rows]]
            rows = rows[self._storeys.visible[rows]]
            hidden = min(ABSENCE * float(self._placed("size", inside).max(initial=0.0)), self._interior)
            box = self._placed("box", rows)
            low, high = box[:, 0].min(axis=0), box[:, 1].max(axis=0)
        return Wanted(cell.centre(), span(rows), cell.leaf, self._diagonal(low, high), hidden)


def _storeys(elements: Elements, unit: Callable[[], F64], options: Any) -> Storeys | None:
    """The buildings and storeys of a layer whose features name theirs."""
    if options.storey not in elements.table.schema.names:
        return None
    from tiling.meshes.shell import storeys_of  # noqa: PLC0415  numba takes half a second to load: only models with storeys need it

    return storeys_of(elements, elements.store["placed_piece"], elements.store["placed_code"], unit(), options.storey, options.building)


def _sizes(feature: I64, box: F64, unit: Any) -> F64:
    """(P,) the diagonal, in metres, of the whole feature that each piece belongs to."""
    starts = np.flatnonzero(np.concatenate([[True], feature[1:] != feature[:-1]]))
    low, high = np.minimum.reduceat(box[:, 0], starts), np.maximum.reduceat(box[:, 1], starts)
    size = np.linalg.norm((high - low) * unit((low[:, 1] + high[:, 1]) / 2), axis=1)
    return np.asarray(np.repeat(size, np.diff(starts, append=len(feature))), np.float64)
