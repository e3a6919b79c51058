"""What is noted while the water runs: discharge through sections, frames of the depth, closures of roads. A `Part` that leaves the water alone."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scenarios.contract import World
from scenarios.flood.domain import Domain
from scenarios.flood.moments import Moments
from scenarios.flood.output_params import MAX_FRAME_BYTES
from scenarios.flood.params import Params
from scenarios.flood.roads import Roads
from scenarios.flood.solver import Solver
from scenarios.flood.trace import trace

MILLIMETRES = 1000.0
DEEPEST = 65_535
"""mm: the deepest that a frame can say; deeper water is written as this."""


@dataclass(frozen=True)
class Line:
    """A section on the grid: the cells left and right of its faces, and for each face the state's field and the sign of flow to the right."""

    name: str
    left: NDArray[np.int64]
    right: NDArray[np.int64]
    field: NDArray[np.int64]
    sign: NDArray[np.float64]


def lines(p: Params, world: World, domain: Domain) -> list[Line]:
    """The sections of the parameters, laid along cell faces.

    Raises:
        BadOption: a section outside the area, or shorter than half a cell.
    """
    found = []
    for i, row in enumerate(p.sections, 1):
        name = row.name or f"section-{i}"
        course = trace(domain, row.line, f"sections: {name!r}")
        if course.cut > domain.transform.a:
            world.report.note("skipped", name, f"{course.cut:.0f} m of its line lie outside the area")
        down = course.a[:, 1] == course.b[:, 1]
        sign = np.where(down, course.b[:, 0] - course.a[:, 0], course.b[:, 1] - course.a[:, 1]).astype(np.float64)
        found.append(Line(name, course.a, course.b, np.where(down, 2, 1), sign))
    return found


@dataclass
class Watch:
    """The `Part` protocol, with `record` called every few seconds of the run.

    Attributes:
        flows: (time s, section, m³/s) rows: the discharge at that moment.
        frames: the depth at even moments, on disk (`Moments`), 0 where less than the threshold.
        every: seconds between frames, 0 where none are wanted.
    """

    params: Params
    world: World
    domain: Domain
    solver: Solver
    name: str = "watch"
    flows: list[tuple[float, int, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        p = self.params
        self.frames = Moments(self.world.scratch, self.solver.shape)
        self.lines = lines(p, self.world, self.domain)
        self.roads = Roads.build(p, self.world, self.domain, self.solver) if p.roads and wanted(p, "roads") else None
        count = p.frames if wanted(p, "frames") else 0
        most = int(MAX_FRAME_BYTES // (self.solver.shape[0] * self.solver.shape[1] * 2)) - 1
        if count > most:
            self.world.report.note("assumed", "frames", f"{max(most, 0)} frames instead of {count}: they would hold more than {MAX_FRAME_BYTES / 1e9:g} GB")
            count = max(most, 0)
        self.every = p.hours * 3600 / count if count else 0.0
        self.due = 0.0
        self.record(0.0)

    def record(self, time: float) -> None:
        """Note what is there at `time`, s."""
        self.flows.extend((time, i, self.discharge(line)) for i, line in enumerate(self.lines))
        if self.roads is not None:
            self.roads.record(time)
        if self.every and time >= self.due - 1e-6:
            self.frames.append(time, self._frame())
            while self.due <= time + 1e-6:
                self.due += self.every

    def discharge(self, line: Line) -> float:
        """m³/s through a section now: the unit discharge on its faces (of the full schemes the mean of both cells) times their length."""
        s = self.solver
        g = s.ghost
        if s.scheme == "inertial":
            corner = np.minimum(line.left, line.right) + g
            unit = s.state[line.field, corner[:, 0], corner[:, 1]].astype(np.float64)
        else:
            left, right = line.left + g, line.right + g
            unit = 0.5 * (s.state[line.field, left[:, 0], left[:, 1]].astype(np.float64) + s.state[line.field, right[:, 0], right[:, 1]])
        wall = s.blocked[tuple(line.left.T)] | s.blocked[tuple(line.right.T)]
        return float(np.sum(np.where(wall, 0.0, unit * line.sign)) * s.cell)

    def _frame(self) -> NDArray[np.uint16]:
        depth = self.solver.depth
        value = np.clip(np.rint(depth * MILLIMETRES), 0, DEEPEST)
        return np.where(depth >= self.params.threshold, value, 0).astype(np.uint16)

    # --- the protocol ----------------------------------------------------------------------------------------------

    def interval(self, start: float, end: float) -> None:
        """Nothing: it only looks."""

    def step(self, start: float, end: float) -> None:
        """Nothing: it only looks."""

    def ledger(self) -> dict[str, float]:
        """It moves no water."""
        return {}

    def facts(self) -> dict[str, Any]:
        """Peak and volume of each section; frames kept."""
        rows = np.array(self.flows, np.float64).reshape(-1, 3)
        sections = {}
        for i, line in enumerate(self.lines):
            time, flow = rows[rows[:, 1] == i][:, (0, 2)].T
            sections[line.name] = section_facts(time, flow)
        return {"frames": len(self.frames), "sections": sections}

    def saved(self) -> dict[str, NDArray[Any]]:
        """Series, closures, and which frames are on disk."""
        return {"flows": np.array(self.flows, np.float64).reshape(-1, 3), "frame_times": np.array(self.frames.times), "frame_wet": np.array(self.frames.wet),
                "due": np.array(self.due), **({f"road_{k}": v for k, v in self.roads.saved().items()} if self.roads is not None else {})}  # fmt: skip

    def restore(self, saved: dict[str, NDArray[Any]]) -> None:
        """The inverse of `saved`."""
        self.flows = [(float(t), int(i), float(q)) for t, i, q in saved["flows"]]
        lost = self.frames.restore(saved["frame_times"], wet=bool(saved["frame_wet"]))
        if lost:
            self.world.report.note("warned", "frames", f"those before t = {float(saved['frame_times'][-1]):.0f} s are left out: {lost} of them are no longer beside the saved state")
        self.due = float(saved["due"])
        if self.roads is not None:
            self.roads.restore({k.removeprefix("road_"): v for k, v in saved.items() if k.startswith("road_")})

    def close(self) -> None:
        """The frames are whole."""
        self.frames.seal()


def section_facts(time: NDArray[np.float64], flow: NDArray[np.float64]) -> dict[str, float]:
    """Greatest discharge either way with its sign and time, and the net volume by the trapezoidal rule over the samples."""
    if not len(time):
        return {"peak_m3_s": 0.0, "peak_s": 0.0, "volume_m3": 0.0}
    top = int(np.argmax(np.abs(flow)))
    return {"peak_m3_s": round(float(flow[top]), 4), "peak_s": float(time[top]), "volume_m3": round(float(np.trapezoid(flow, time)), 3)}


def wanted(p: Params, output: str) -> bool:
    """Whether an output is to be written."""
    return not p.outputs or output in p.outputs
