"""A SWMM 5 run in a process of its own: SWMM keeps one model in global memory, and a crash there must not take the flood with it.

Started as a script with the number of its parent process; speaks pickled tuples over its standard streams, one answer a request:
`("open", inp path, coupled names, ponded areas, outfalls) → facts`, `("advance", time s, volumes m³, stages m) → state`, `("close",) → balance`.

Lateral inflow enters SWMM by its trapezoidal rule, ½(q_old + q_new)·dt a routing step. The child repeats this sum for each coupled
node, so it knows to the last bit what SWMM has booked; what SWMM has not yet taken of a volume waits in `pending` for its next step.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from twin.processes import die_with_parent

METRIC = (3, 4, 5)
TINY = 3e-7
"""m³/s: SWMM books smaller inflows as none (1e-5 ft³/s)."""
FLOW = {0: 0.028316846592, 1: 6.30902e-5, 2: 0.0438126364, 3: 1.0, 4: 1e-3, 5: 1000 / 86400}
"""m³/s of CFS, GPM, MGD, CMS, LPS, MLD."""


@dataclass
class Network:
    """The open model: SI outside, the project's units inside."""

    path: Path
    names: list[str]
    areas: NDArray[np.float64]
    outfalls: list[str]
    time: float = 0.0
    steps: int = 0
    step: float = 0.0
    done: bool = False
    index: list[int] = field(default_factory=list)

    def open(self) -> dict[str, Any]:
        """Load, prepare the coupled nodes, start; facts of the nodes in SI."""
        from swmm.toolkit import shared_enum as enum  # noqa: PLC0415  loads the library, in this process only
        from swmm.toolkit import solver  # noqa: PLC0415

        self.swmm, self.enum = solver, enum
        solver.swmm_open(str(self.path), str(self.path.with_suffix(".rpt")), str(self.path.with_suffix(".out")))
        self.unit = FLOW[int(solver.simulation_get_unit(enum.UnitProperty.FLOW_UNIT))]
        self.metre = 1.0 if int(solver.simulation_get_unit(enum.UnitProperty.FLOW_UNIT)) in METRIC else 0.3048
        count = solver.project_get_count(enum.ObjectType.NODE)
        order = {solver.project_get_id(enum.ObjectType.NODE, i): i for i in range(count)}
        self.index = [order[name] for name in self.names]
        for i, area in zip(self.index, self.areas, strict=True):
            solver.node_set_parameter(i, enum.NodeProperty.POND_AREA, max(float(area) / self.metre**2, self._get(i, "POND_AREA")))
        self.area = np.array([self._get(i, "POND_AREA") for i in self.index]) * self.metre**2
        invert = np.array([self._get(i, "INVERT_ELEVATION") for i in self.index]) * self.metre
        depth = np.array([self._get(i, "FULL_DEPTH") for i in self.index]) * self.metre
        self.mouths = [order[name] for name in self.outfalls]
        low = np.array([self._get(i, "INVERT_ELEVATION") for i in self.mouths]) * self.metre
        crown = low + np.array([self._get(i, "FULL_DEPTH") for i in self.mouths]) * self.metre
        self.left, self.leaving, self.stage = np.zeros(len(self.mouths)), np.zeros(len(self.mouths)), np.full(len(self.mouths), np.nan)
        solver.swmm_start(0)
        size = len(self.names)
        self.q, self.pending, self.entered = np.zeros(size), np.zeros(size), np.zeros(size)
        self.step = float(solver.simulation_get_parameter(enum.SimSetting.ROUTE_STEP))
        return {"rim": invert + depth, "area": self.area, "routing_step": self.step, "outfall_invert": low, "outfall_crown": crown, **self._state()}

    def _get(self, node: int, name: str) -> float:
        return float(self.swmm.node_get_parameter(node, self.enum.NodeProperty[name]))

    def _state(self) -> dict[str, Any]:
        result, get = self.enum.NodeResult, self.swmm.node_get_result
        head = np.array([get(i, result.HEAD) for i in self.index]) * self.metre
        flow = np.array([get(i, result.TOTAL_INFLOW) - get(i, result.TOTAL_OUTFLOW) for i in self.index]) * self.unit if self.steps else np.zeros(len(self.index))
        return {"head": head, "net": flow - self.q, "entered": self.entered.copy(), "pending": self.pending.copy(), "left": self.left.copy(), "time": self.time, "step": self.step}

    def _outflow(self) -> NDArray[np.float64]:
        """(outfalls,) m³/s out of the network; negative where it flows back (SWMM then repeats the flow as the node's inflow)."""
        result, get = self.enum.NodeResult, self.swmm.node_get_result
        flows = [(get(i, result.TOTAL_INFLOW), get(i, result.TOTAL_OUTFLOW)) for i in self.mouths]
        return np.array([-out if out > 0 else into for into, out in flows], np.float64) * self.unit

    def advance(self, until: float, volumes: NDArray[np.float64], stages: NDArray[np.float64]) -> dict[str, Any]:
        """Hand over volumes (m³, + into the network) and stages of the outfalls (m; NaN: the file's), route up to a time.

        Returns heads (m), net pipe flow into the nodes (m³/s) and what has left through the outfalls (m³).
        """
        self.pending += volumes
        for k, i in enumerate(self.mouths):
            if not np.isnan(stages[k]) and stages[k] != self.stage[k]:
                self.swmm.outfall_set_stage(i, float(stages[k]) / self.metre)
                self.stage[k] = stages[k]
        while self.time < until - 1e-6 and not self.done:
            rate = self.pending / max(self.step, 1e-3)
            rate[np.abs(rate) < TINY] = 0
            for i, q, old in zip(self.index, rate, self.q, strict=True):
                if q != old:
                    self.swmm.node_set_total_inflow(i, q / self.unit)
            elapsed = float(self.swmm.swmm_step()) * 86400
            self.done = elapsed == 0
            if self.done:
                break
            dt = elapsed - self.time
            gone = (self.q + rate) / 2 * dt
            self.entered += gone
            self.pending -= gone
            flow = self._outflow()
            self.left += (self.leaving + flow) / 2 * dt
            self.leaving = flow
            self.q, self.time, self.step, self.steps = rate, elapsed, dt, self.steps + 1
        return self._state()

    def abandon(self) -> None:
        """Close what could not be opened, so that its report file holds the reasons."""
        with contextlib.suppress(Exception):
            self.swmm.swmm_close()

    def close(self) -> dict[str, Any]:
        """SWMM's own account: volumes in m³, continuity error of the routing in %."""
        totals = self.swmm.system_get_routing_totals()
        inflow, flooding, outflow = (float(getattr(totals, name)) * self.metre**3 for name in ("exInflow", "flooding", "outflow"))
        self.swmm.swmm_end()
        _, flow, _ = self.swmm.swmm_get_mass_balance()
        self.swmm.swmm_close()
        return {"swmm_continuity_error_percent": float(flow), "swmm_external_inflow_m3": inflow, "swmm_flooding_m3": flooding, "swmm_outflow_m3": outflow}


def main() -> None:
    """Serve requests until the pipe closes."""
    die_with_parent(int(sys.argv[1]) if len(sys.argv) > 1 else None)
    answers: BinaryIO = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # SWMM and its wrapper may print
    network: Network | None = None
    while True:
        try:
            request = pickle.load(sys.stdin.buffer)  # noqa: S301  from the parent process
        except EOFError:
            return
        try:
            if request[0] == "open":
                network = Network(Path(request[1]), *request[2:])
                answer: Any = network.open()
            elif network is None:
                answer = RuntimeError("no network is open")
            elif request[0] == "advance":
                answer = network.advance(*request[1:])
            else:
                answer = network.close()
        except Exception as error:  # noqa: BLE001  goes to the parent, which knows what to say
            if request[0] == "open" and network is not None:
                network.abandon()
            answer = RuntimeError(str(error))
        pickle.dump(answer, answers)
        answers.flush()
        if request[0] == "close":
            return


if __name__ == "__main__":
    main()
