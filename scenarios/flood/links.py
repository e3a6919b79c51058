"""Culverts and pumps: water that goes from some cells to others, or out of the area, without passing the ground between."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scenarios.flood.culvert import Barrel, barrel
from scenarios.flood.domain import Domain
from scenarios.flood.solver import Solver
from scenarios.flood.structure_params import Culvert, Pump
from scenarios.flood.trace import metres
from twin.errors import BadOption

Cells = tuple[NDArray[np.int64], NDArray[np.int64]]


@dataclass
class Links:
    """All culverts and pumps of a run; the `Part` protocol.

    Attributes:
        ends: (intake cells, outlet cells or None) of each row.
        volume: (rows,) net volume from the first to the last point, m³.
        left: (rows,) volume pumped out of the area, m³.
        running: (rows,) pumps: 1 while on.
    """

    solver: Solver
    domain: Domain
    rows: list[Any]
    labels: list[str]
    name: str = "links"
    ends: list[tuple[Cells, Cells | None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        count = len(self.rows)
        self.volume, self.left, self.running = np.zeros(count), np.zeros(count), np.zeros(count)
        self.barrels: list[Barrel | None] = []
        for row, label in zip(self.rows, self.labels, strict=True):
            places = np.array([row.line[0], row.line[-1]], np.float64)
            cells = [self.domain.require_inside(places[i : i + 1], f"structures: an end of {label!r}") for i in (0, 1)]
            if isinstance(row, Pump):
                self.ends.append((self._around(cells[0], row.radius_m), cells[1] if len(row.line) > 1 else None))
                self.barrels.append(None)
                continue
            if all(np.array_equal(p, q) for p, q in zip(*cells, strict=True)):
                raise BadOption(f"structures: both ends of {label!r} lie in one cell of {self.solver.cell:g} m.", "Draw it longer or take smaller cells.")
            course = metres(self.domain, row.line)
            self.ends.append((cells[0], cells[1]))
            self.barrels.append(barrel(row, float(np.hypot(*np.diff(course, axis=0).T).sum())))

    def _around(self, centre: Cells, radius: float) -> Cells:
        """Open cells within `radius` m of a cell, itself included."""
        reach = int(radius / self.solver.cell)
        r, c = np.meshgrid(np.arange(-reach, reach + 1), np.arange(-reach, reach + 1), indexing="ij")
        near = np.hypot(r, c) * self.solver.cell <= radius + 1e-9
        rows, columns = r[near] + centre[0][0], c[near] + centre[1][0]
        inside = (rows >= 0) & (columns >= 0) & (rows < self.solver.shape[0]) & (columns < self.solver.shape[1])
        rows, columns = rows[inside], columns[inside]
        free = ~self.solver.blocked[rows, columns]
        return rows[free].astype(np.int64), columns[free].astype(np.int64)

    def interval(self, start: float, end: float) -> None:
        """Pumps start and stop."""
        for i, row in enumerate(self.rows):
            if isinstance(row, Pump):
                level = self.solver.highest(self.ends[i][0])
                on = level >= row.start_level or (self.running[i] > 0 and level > row.stop_level)
                self.running[i] = float(on and not any(a * 3600 <= start + 1e-6 < b * 3600 for a, b in row.failures))
        del end

    def step(self, start: float, end: float) -> None:
        """The exchange over one step of the flow."""
        for i, row in enumerate(self.rows):
            source, target = self.ends[i]
            if isinstance(row, Culvert) and target is not None:
                self._through(i, row, source, target, end - start)
            elif isinstance(row, Pump) and self.running[i]:
                lift = self.solver.highest(target) - self.solver.highest(source) if target is not None else 0.0
                lifts, flows = np.array(row.curve, np.float64).T
                flow = float(np.interp(max(lift, 0.0), lifts, flows, right=flows[0] if len(flows) == 1 else 0.0))  # beyond the curve it lifts nothing
                moved = self.solver.take(source, flow * (end - start))
                if target is not None:
                    self.solver.add(target, moved / self.solver.cell**2)
                    self.volume[i] += moved
                else:
                    self.left[i] += moved

    def _through(self, i: int, row: Culvert, first: Cells, last: Cells, dt: float) -> None:
        s, rating = self.solver, self.barrels[i]
        one, two = s.highest(first), s.highest(last)
        forward = one > two
        if rating is None or (row.one_way and not forward):
            return
        floors = (row.invert_from, row.invert_to) if forward else (row.invert_to, row.invert_from)
        flow = rating.flow(max(one, two), min(one, two), *floors)
        if flow > 0:
            most = 0.5 * abs(one - two) * s.cell**2
            source, target = (first, last) if forward else (last, first)
            moved = s.take(source, min(flow * dt, most))
            s.add(target, moved / s.cell**2)
            self.volume[i] += moved if forward else -moved

    def ledger(self) -> dict[str, float]:
        """Only pumps without an outlet change the water of the surface."""
        return {f"pump:{label}": -float(v) for label, row, v in zip(self.labels, self.rows, self.left, strict=True) if len(row.line) == 1}

    def facts(self) -> dict[str, Any]:
        """By link: the volume it moved (m³), and whether a pump runs."""
        return {label: {"kind": row.kind, "moved_m3": round(float(self.volume[i] + self.left[i]), 3), **({"running": bool(self.running[i])} if isinstance(row, Pump) else {})}
                for i, (row, label) in enumerate(zip(self.rows, self.labels, strict=True))}  # fmt: skip

    def saved(self) -> dict[str, NDArray[Any]]:
        """Volumes and what runs."""
        return {"volume": self.volume, "left": self.left, "running": self.running}

    def restore(self, saved: dict[str, NDArray[Any]]) -> None:
        """The inverse of `saved`."""
        self.volume, self.left, self.running = saved["volume"].copy(), saved["left"].copy(), saved["running"].copy()

    def close(self) -> None:
        """Nothing to end."""
