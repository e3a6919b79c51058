"""Structures on cell faces: levees with breaches, weirs, temporary barriers, gates, bridges. The `Part` that holds their state.

The faces that a structure's line separates are closed to the flow; what passes is a weir's or an opening's flow between the two
cells (`kernels.structures`). A bridge's faces stay open until the water reaches its underside.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from scenarios.flood.domain import Domain
from scenarios.flood.solver import Solver
from scenarios.flood.structure_params import Breach, Bridge, Crest, Gate, Rule
from scenarios.flood.trace import Trace, metres, trace
from scenarios.kernels import structures as kernel
from twin.model import Report

OPEN = -np.inf
SPLIT = 8
"""Pieces into which a face within reach of a breach is cut, so that its trapezoid is followed."""
CLEARANCE = 0.05
"""A bridge's faces open again when the water has fallen this far below its underside, m."""
COLUMNS = ("owner", "length", "base", "raised", "crest", "coefficient", "sill", "width", "height", "discharge", "along", "share")


@dataclass
class Faces:
    """All structures of a run that stand on lines; the `Part` protocol.

    Attributes:
        rows, labels: the structures and their names.
        a, b: (N, 2) array cells beside each piece (with ghosts).
        table: (N,) columns: owner (index of row), length m, base crest (m above the run's datum), barrier's crest, crest now,
            weir coefficient, sill, width, opening now, orifice coefficient, distance along the line, share of the face.
        volume: (rows,) net volume from left to right, m³; passed: (rows,) the sum of both ways.
        state: (rows,) gates: opening m; breaches: time of their beginning (−1 before); bridges: 1 drowned.
    """

    solver: Solver
    domain: Domain
    rows: list[Any]
    labels: list[str]
    report: Report
    name: str = "structures"
    faces: dict[tuple[int, int, int], dict[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.volume, self.passed = np.zeros(len(self.rows)), np.zeros(len(self.rows))
        self.state = np.array([-1.0 if isinstance(row, Crest) else 0.0 for row in self.rows])
        order = {"levee": 0, "weir": 2, "gate": 3, "bridge": 4, "barrier": 5}
        for index in sorted(range(len(self.rows)), key=lambda i: order[self.rows[i].kind]):
            self._place(index)
        self._collect()
        self._sensors = {i: self._cell(row.rule.at) for i, row in enumerate(self.rows) if isinstance(row, Gate) and row.rule}
        self._update(0.0)

    # --- where they stand ----------------------------------------------------------------------------------------

    def _place(self, index: int) -> None:
        """Lay a row over the faces: a barrier raises what stands there, a later kind replaces it."""
        row, label = self.rows[index], self.labels[index]
        course = trace(self.domain, row.line, f"structures: {label!r}")
        if course.cut > self.domain.transform.a:
            self.report.note("skipped", label, f"{course.cut:.0f} m of its line lie outside the area")
        top = self._crests(row, course)
        whole = float((course.end - course.start).sum())
        for k, key in enumerate(course.key):
            length = float(course.end[k] - course.start[k])
            here = {"owner": index, "a": course.a[k], "b": course.b[k], "length": length, "along": float(course.start[k] + course.end[k]) / 2,
                    "base": float(top[k]), "raised": OPEN, "coefficient": row.coefficient, "sill": 0.0, "width": 0.0, "discharge": 0.0}  # fmt: skip
            if isinstance(row, Gate):
                here |= {"sill": row.sill - self.solver.datum, "width": row.width_m * length / whole, "discharge": row.discharge}
            elif isinstance(row, Bridge):
                ground = max(self._bed(course.a[k]), self._bed(course.b[k]))
                here |= {"sill": ground, "width": length * (1 - row.piers), "discharge": row.discharge}
            elif row.kind == "barrier":
                below = self.faces.get(key)
                here |= {"base": below["base"] if below else OPEN, "raised": here["base"]}
                if below and below["width"]:
                    continue  # a barrier does not stand in a gate or under a bridge
            self.faces[key] = here

    def _crests(self, row: Any, course: Trace) -> NDArray[np.float64]:
        """(N,) crest above the run's datum; a height counts from the higher ground of the two sides."""
        if isinstance(row, Bridge):
            return np.full(len(course.a), row.deck - self.solver.datum)
        if row.crest is not None:
            return np.full(len(course.a), row.crest - self.solver.datum)
        ground = np.array([max(self._bed(p), self._bed(q)) for p, q in zip(course.a, course.b, strict=True)])
        return np.asarray(ground + row.height_m)

    def _bed(self, cell: NDArray[np.int64]) -> float:
        r, c = int(cell[0]), int(cell[1])
        return 0.0 if self.solver.blocked[r, c] else float(self.solver.z[r + self.solver.ghost, c + self.solver.ghost])

    def _cell(self, place: tuple[float, float]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        return self.domain.require_inside(np.array([place], np.float64), "A gate's sensor")

    def _collect(self) -> None:
        """Pieces from faces; those within reach of a breach are cut up."""
        lists: dict[str, list[float]] = {name: [] for name in COLUMNS}
        a, b = [], []
        self.breaches: dict[int, tuple[Breach, float, tuple[NDArray[np.int64], NDArray[np.int64]]]] = {}
        for i, row in enumerate(self.rows):
            if isinstance(row, Crest) and row.breach:
                line = shapely.LineString(metres(self.domain, row.line))
                middle = float(line.project(shapely.Point(metres(self.domain, (row.breach.at,))[0])))
                near = min((f for f in self.faces.values() if f["owner"] == i), key=lambda f: abs(f["along"] - middle), default=None)
                if near is not None:
                    cells = np.array([near["a"], near["b"]])
                    self.breaches[i] = row.breach, middle, (cells[:, 0], cells[:, 1])
        for face in self.faces.values():
            parts = SPLIT if face["owner"] in self.breaches else 1
            for k in range(parts):
                values = {**face, "length": face["length"] / parts, "width": face["width"] / parts, "crest": face["base"], "height": 0.0,
                          "along": face["along"] + face["length"] * ((k + 0.5) / parts - 0.5), "share": 1 / parts}  # fmt: skip
                for name in COLUMNS:
                    lists[name].append(float(values[name]))
                a.append(face["a"] + self.solver.ghost)
                b.append(face["b"] + self.solver.ghost)
        self.table = {name: np.array(values) for name, values in lists.items()}
        self.owner = self.table["owner"].astype(np.int64)
        self.a, self.b = np.array(a, np.int64), np.array(b, np.int64)
        self.of = {i: np.flatnonzero(self.owner == i) for i in range(len(self.rows))}
        self._closed: NDArray[np.bool_] = np.zeros(0, np.bool_)

    # --- controls ------------------------------------------------------------------------------------------------

    def _update(self, time: float) -> None:
        """Crests, openings and closed faces as they are at `time`."""
        t = self.table
        t["crest"] = t["base"].copy()
        for i, row in enumerate(self.rows):
            mine = self.of[i]
            if isinstance(row, Gate):
                self.state[i] = _opening(row, time, self.state[i], self.solver.highest(self._sensors[i]) if row.rule else 0.0)
                t["height"][mine] = self.state[i]
            elif isinstance(row, Bridge):
                self._drown(i, row, mine)
            elif row.kind == "barrier":
                stands = row.from_h * 3600 <= time + 1e-6 < (np.inf if row.until_h is None else row.until_h * 3600)
                t["crest"][mine] = np.maximum(t["base"][mine], t["raised"][mine]) if stands else t["base"][mine]
            if i in self.breaches:
                self._gap(i, time, mine)
        closed = t["crest"] > OPEN
        if not np.array_equal(closed, self._closed):
            self._closed = closed
            self._close(closed)

    def _drown(self, i: int, row: Bridge, mine: NDArray[np.int64]) -> None:
        """Pressure flow from the moment the water touches the underside."""
        s, low = self.solver, row.low_chord - self.solver.datum
        for k in mine:
            level = max(float(s.z[r, c]) + max(float(s.state[0, r, c]), 0.0) for r, c in (self.a[k], self.b[k]))
            drowned = level > (low - CLEARANCE if self.table["height"][k] > 0 else low)
            self.table["height"][k] = max(low - self.table["sill"][k], 0.0) if drowned else 0.0
            self.table["crest"][k] = self.table["base"][k] if drowned else OPEN
        self.state[i] = float((self.table["crest"][mine] > OPEN).any())

    def _gap(self, i: int, time: float, mine: NDArray[np.int64]) -> None:
        """Lower the crest within a breach as far as it has grown."""
        breach, middle, cells = self.breaches[i]
        if self.state[i] < 0:
            begins = time >= breach.start_h * 3600 if breach.start_h is not None else self.solver.highest(cells) > float(breach.trigger_level or 0.0)
            if not begins:
                return
            self.state[i] = time
            self.report.note("warned", self.labels[i], f"it gave way at t = {time:.0f} s")
        grown = min((time - self.state[i]) / (breach.duration_h * 3600), 1.0)
        t = self.table
        top, final = t["crest"][mine], breach.bottom - self.solver.datum
        bottom = top + (np.minimum(final, top) - top) * grown
        off = np.maximum(np.abs(t["along"][mine] - middle) - breach.width_m * grown / 2, 0)
        side = bottom + off / breach.side_slope if breach.side_slope > 0 else np.where(off > 0, np.inf, bottom)
        t["crest"][mine] = np.minimum(top, side) if grown > 0 else top

    def _close(self, closed: NDArray[np.bool_]) -> None:
        east, south = np.zeros(self.solver.shape, np.bool_), np.zeros(self.solver.shape, np.bool_)
        corner = np.minimum(self.a, self.b)[closed] - self.solver.ghost
        beside = (self.a[:, 0] == self.b[:, 0])[closed]
        east[tuple(corner[beside].T)] = True
        south[tuple(corner[~beside].T)] = True
        self.solver.close_faces(east, south)

    # --- the protocol --------------------------------------------------------------------------------------------

    def interval(self, start: float, end: float) -> None:  # noqa: ARG002  the protocol's form
        """Controls, once an interval."""
        self._update(start)

    def step(self, start: float, end: float) -> None:
        """The exchange over one step of the flow."""
        s, t = self.solver, self.table
        moved = np.zeros(len(self.a))
        kernel.exchange(s.state, s.z, self.a, self.b, t["crest"], t["length"], t["coefficient"], t["sill"], t["width"], t["height"], t["discharge"],
                        end - start, s.cell**2, s.scheme != "inertial", moved)  # fmt: skip
        through = np.flatnonzero(moved)
        if len(through):
            self.volume += np.bincount(self.owner, moved, len(self.rows))
            self.passed += np.bincount(self.owner, np.abs(moved), len(self.rows))
            cells = np.where((moved[through] > 0)[:, None], self.b[through], self.a[through]) - s.ghost
            s.touch((cells[:, 0], cells[:, 1]))

    def ledger(self) -> dict[str, float]:
        """Nothing enters or leaves the surface: what one side loses the other gains."""
        return {}

    def facts(self) -> dict[str, Any]:
        """By structure: net volume from the left to the right of its line, the sum both ways (m³), and its state."""
        found: dict[str, Any] = {}
        for i, (row, label) in enumerate(zip(self.rows, self.labels, strict=True)):
            found[label] = {"kind": row.kind, "left_to_right_m3": round(float(self.volume[i]), 3), "both_ways_m3": round(float(self.passed[i]), 3)}
            if isinstance(row, Gate):
                found[label]["opening_m"] = float(self.state[i])
            elif i in self.breaches:
                found[label]["breached_at_s"] = float(self.state[i]) if self.state[i] >= 0 else None
        return found

    def saved(self) -> dict[str, NDArray[Any]]:
        """Volumes and states; the pieces follow from the parameters."""
        return {"volume": self.volume, "passed": self.passed, "state": self.state, "crest": self.table["crest"], "height": self.table["height"]}

    def restore(self, saved: dict[str, NDArray[Any]]) -> None:
        """The inverse of `saved`."""
        self.volume, self.passed, self.state = saved["volume"].copy(), saved["passed"].copy(), saved["state"].copy()
        self.table["crest"], self.table["height"] = saved["crest"].copy(), saved["height"].copy()
        self._closed = self.table["crest"] > OPEN
        self._close(self._closed)

    def close(self) -> None:
        """Nothing to end."""


def _opening(row: Gate, time: float, now: float, level: float) -> float:
    """A gate's opening at `time`, m."""
    if row.rule is None:
        past = [opening for hour, opening in row.schedule if hour * 3600 <= time + 1e-6]
        return past[-1] if past else 0.0
    rule: Rule = row.rule
    rising = rule.open_level > rule.close_level
    if level >= rule.open_level if rising else level <= rule.open_level:
        return rule.opening_m
    if level <= rule.close_level if rising else level >= rule.close_level:
        return 0.0
    return now
