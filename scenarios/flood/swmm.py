"""Two-way coupling with SWMM 5: inlets take water from the surface, surcharged manholes give it back. The `Part` on this side.

Exchange at a node, with h the depth of water on its cell and s the head above its rim (rim and ground are taken as one: the two
surveys seldom agree, and a difference would make water run by itself; it is reported where it exceeds half a metre):

* h > s, s ≤ 0: free inlet, Q = min(Cw·P·h^1.5, Co·A·√(2g·h)) (FHWA HEC-22 (2009) eq. 4-26, 4-27: Cw 1.66, Co 0.67; P, A perimeter and area);
* h > s > 0: drowned inlet, Q = Co·A·√(2g·(h − s));
* s > h: surcharge, the same orifice backwards. The head over so small a shaft would swing from step to step if taken as it stood, so it is
  solved with the node's balance to the end of the step: A_n·x² + Co·A·√(2g)·Δt·x = A_n·(s − h) + Δt·Q_net, Q = Co·A·√(2g)·x.

Never more is taken than the cell holds. The volumes handed over are recorded; a run resumes by replaying them to a new SWMM process,
because SWMM's own hot start leaves out part of its state. So does one whose SWMM process is killed.
"""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import tempfile
import weakref
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scenarios.contract import World
from scenarios.flood import inp
from scenarios.flood.domain import Domain
from scenarios.flood.network_params import Inlet
from scenarios.flood.outfalls import Outfalls, candidates, few, judge
from scenarios.flood.params import Params
from scenarios.flood.solver import Solver
from scenarios.kernels.shallow import G
from twin import crs, scratch
from twin.errors import BadInput, BadOption
from twin.processes import ending

WEIR, ORIFICE = 1.66, 0.67
SHAFT = 1.0
"""m² over which surcharged water stands in a coupled node (its shaft), where the file gives no ponded area."""
NEAR = 3
"""Cells within which a node in a building is moved to open ground."""


class Ended(BadInput):
    """The SWMM process has ended without an answer."""


class Child:
    """The SWMM process."""

    def __init__(self, text: str, names: list[str], areas: NDArray[np.float64], outfalls: list[str]) -> None:
        folder = Path(tempfile.gettempdir(), scratch.TWIN + scratch.name("swmm"))
        folder.mkdir(mode=0o700)
        self.remove = weakref.finalize(self, scratch.remove, folder)
        self.path, self.about, self.lives = folder / "network.inp", (names, areas, outfalls), LIVES
        self.path.write_text(text, "utf-8")
        self.start()

    def start(self) -> None:
        """Start the process and let it open the network.

        Raises:
            BadInput: SWMM refuses it.
        """
        # as a file, not a module of this package, which would load the whole flood model there too
        command = [sys.executable, "-P", str(Path(__file__).with_name("swmm_child.py")), str(os.getpid())]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(folder for folder in sys.path if folder)}
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment)
        try:
            self.facts = self.ask("open", str(self.path), *self.about)
        except Ended:
            self.again()
        except BadInput:
            report = self.path.with_suffix(".rpt")
            said = [line.strip() for line in report.read_text("utf-8", "replace").splitlines() if "ERROR" in line][:3] if report.exists() else []
            self.kill()
            raise BadInput("SWMM refuses network_inp" + (f": {'; '.join(said)}" if said else "."), "Run the file in SWMM by itself first.") from None

    def again(self) -> None:
        """Start it once more, after `Ended`.

        Raises:
            BadInput: it has been started as often as it is.
        """
        self.lives -= 1
        self._stop()
        if not self.lives:
            self.kill()
            how, remedy = ending(self.process.returncode)
            stiff = "The network may be too stiff for its routing step: halve ROUTING_STEP."
            raise BadInput(f"The SWMM process of network_inp was started twice, and the last time it {how}.", remedy if self.process.returncode == -signal.SIGKILL else stiff)
        self.start()

    def ask(self, *request: Any) -> dict[str, Any]:
        """One request, one answer.

        Raises:
            BadInput: SWMM reports an error. Ended: the process has ended.
        """
        if self.process.stdin is None or self.process.stdout is None:
            raise BadInput("The SWMM process has no streams.")
        try:
            pickle.dump(request, self.process.stdin)
            self.process.stdin.flush()
            answer = pickle.load(self.process.stdout)  # noqa: S301  our own child
        except (EOFError, OSError, pickle.UnpicklingError) as error:
            raise Ended("The SWMM process has ended.") from error
        if isinstance(answer, Exception):
            raise BadInput(f"SWMM: {answer}.", "Run the network in SWMM by itself to see where.")
        found: dict[str, Any] = answer
        return found

    def kill(self) -> None:
        """End the process and remove its files."""
        self._stop()
        self.remove()

    def _stop(self) -> None:
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                with suppress(BrokenPipeError):  # of what it did not take any more
                    stream.close()


@dataclass
class Drainage:
    """The coupled network; the `Part` protocol.

    Attributes:
        names, cells: the coupled nodes and their (rows, columns).
        taken: (nodes,) net volume from the surface to each node, m³ (float64, what the cells lost to the bit).
        inflow, outflow: (nodes,) volume into the network and back, m³.
        record: volumes handed over, as (interval, node, m³) of those that are not 0.
        direct: (nodes,) volume to add in this interval without crossing the surface (roofs), m³.
        series: (time, node, exchange m³/s, head above the rim m) at intervals of `EVERY` seconds.
    """

    solver: Solver
    names: list[str]
    cells: tuple[NDArray[np.int64], NDArray[np.int64]]
    inlets: tuple[NDArray[np.float64], NDArray[np.float64]]
    child: Child
    mouths: Outfalls
    name: str = "network"
    record: list[tuple[int, int, float]] = field(default_factory=list)
    count: int = 0
    times: list[float] = field(default_factory=list)
    series: list[tuple[float, int, float, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        size = len(self.names)
        self.taken, self.inflow, self.outflow, self.direct, self.roofs = (np.zeros(size) for _ in range(5))
        self.peak, self.peak_time = np.zeros((2, size)), np.zeros((2, size))
        self.state = self.child.facts
        self.rim, self.area = self.state["rim"], self.state["area"]
        self.balance: dict[str, Any] = {}
        self.closed = False

    def interval(self, start: float, end: float) -> None:
        """Exchange for [start, end], then SWMM up to its end."""
        s, dt = self.solver, end - start
        depth = np.maximum(s.depth[self.cells], 0).astype(np.float64)
        flow = self.exchange(depth, max(dt, self.state["step"]))
        moved = self._take(np.maximum(flow, 0) * dt) - self._give(np.maximum(-flow, 0) * dt)
        for way, value in enumerate((moved / dt, -moved / dt)):
            higher = value > self.peak[way]
            self.peak[way][higher], self.peak_time[way][higher] = value[higher], end
        self._hand_over(end, moved + self.direct)
        self.roofs += self.direct
        self.direct[:] = 0
        if np.floor(end / EVERY) > np.floor(start / EVERY):
            head = self.state["head"] - self.rim
            self.series.extend((end, i, float(moved[i] / dt), float(head[i])) for i in range(len(self.names)))

    def exchange(self, depth: NDArray[np.float64], dt: float) -> NDArray[np.float64]:
        """(nodes,) flow into the network, m³/s, at depths on the cells (m); negative: out of the manhole."""
        area, perimeter = self.inlets
        over = self.state["head"] - self.rim
        pending = self.state["pending"]
        free = np.minimum(WEIR * perimeter * depth**1.5, ORIFICE * area * np.sqrt(2 * G * depth))
        drowned = ORIFICE * area * np.sqrt(2 * G * np.maximum(depth - np.maximum(over, 0), 0))
        inward = np.where(over > 0, np.minimum(free, drowned), free)
        k = ORIFICE * area * np.sqrt(2 * G)
        spare = np.maximum(self.area * (over - depth) + dt * self.state["net"] + pending, 0)
        root = (-k * dt + np.sqrt((k * dt) ** 2 + 4 * self.area * spare)) / (2 * self.area)
        return np.where(over > depth, -k * root, inward)

    def _take(self, volume: NDArray[np.float64]) -> NDArray[np.float64]:
        """(nodes,) m³ taken from the cells; several nodes of one cell share its water."""
        s, found = self.solver, np.zeros(len(volume))
        for i in np.flatnonzero(volume > 0):
            found[i] = s.take((self.cells[0][i : i + 1], self.cells[1][i : i + 1]), float(volume[i]))
        self.inflow += found
        self.taken += found
        return found

    def _give(self, volume: NDArray[np.float64]) -> NDArray[np.float64]:
        s, found = self.solver, np.zeros(len(volume))
        for i in np.flatnonzero(volume > 0):
            depth = s.dtype(volume[i] / s.cell**2)
            s.add((self.cells[0][i : i + 1], self.cells[1][i : i + 1]), depth)
            found[i] = float(depth) * s.cell**2
        self.outflow += found
        self.taken -= found
        return found

    def _hand_over(self, until: float, volume: NDArray[np.float64]) -> None:
        self.record.extend((self.count, int(i), float(volume[i])) for i in np.flatnonzero(volume))
        self.times.append(until)
        self.count += 1
        stages = self.mouths.stages(self.count - 1)
        try:
            self.state = self.child.ask("advance", until, volume, stages)
        except Ended:
            self._again()
        self.mouths.move(self.state["left"])

    def step(self, start: float, end: float) -> None:
        """Nothing between the intervals."""

    def ledger(self) -> dict[str, float]:
        """Inlets and manholes; roofs went into the network without touching the surface."""
        return {"network_inlets": -float(self.inflow.sum()), "network_manholes": float(self.outflow.sum()),
                **({"network_outfalls": float(self.mouths.out.sum() - self.mouths.back.sum())} if self.mouths.coupled.any() else {})}  # fmt: skip

    def facts(self) -> dict[str, Any]:
        """By node what it took and gave; SWMM's account beside ours, and its own continuity error apart."""
        self._finish()
        entered, pending = self.state["entered"], self.state["pending"]
        handed = self.taken + self.roofs
        nodes = {name: {"inlet_m3": round(float(self.inflow[i]), 3), "manhole_m3": round(float(self.outflow[i]), 3),
                        "peak_inlet_m3_s": round(float(self.peak[0][i]), 4), "peak_manhole_m3_s": round(float(self.peak[1][i]), 4),
                        "peak_manhole_s": round(float(self.peak_time[1][i]), 1)}
                 for i, name in enumerate(self.names) if self.inflow[i] or self.outflow[i]}  # fmt: skip
        return {"coupled_nodes": len(self.names), "taken_m3": float(self.taken.sum()), "roofs_m3": float(self.roofs.sum()), "entered_swmm_m3": float(entered.sum()),
                "in_transit_m3": float(pending.sum()), "exchange_error_m3": float(np.abs(handed - entered - pending).max(initial=0.0)),
                **self.balance, "nodes": nodes, "outfalls": self.mouths.facts()}  # fmt: skip

    def _finish(self) -> None:
        if not self.closed:
            try:
                self.balance = self.child.ask("close")
            except Ended:
                self._again()
                self.balance = self.child.ask("close")
            self.close()

    def saved(self) -> dict[str, NDArray[Any]]:
        """The recorded exchange and the sums."""
        return {"record": np.array(self.record, np.float64).reshape(-1, 3), "times": np.array(self.times), "taken": self.taken, "inflow": self.inflow, "outflow": self.outflow,
                "roofs": self.roofs, "peak": self.peak, "peak_time": self.peak_time, "series": np.array(self.series, np.float64).reshape(-1, 4), **self.mouths.saved()}  # fmt: skip

    def restore(self, saved: dict[str, NDArray[Any]]) -> None:
        """Replay the recorded exchange to the new SWMM process."""
        self.mouths.restore(saved)
        self.record = [(int(a), int(b), float(c)) for a, b, c in saved["record"]]
        self.times, self.count = saved["times"].tolist(), len(saved["times"])
        try:
            self._replay()
        except Ended:
            self._again()
        for name in ("taken", "inflow", "outflow", "roofs", "peak", "peak_time"):
            setattr(self, name, saved[name].copy())
        self.series = [(float(t), int(i), float(q), float(h)) for t, i, q, h in saved["series"]]

    def _again(self) -> None:
        """Replay everything to a process that is started afresh."""
        while True:
            self.child.again()
            with suppress(Ended):
                self._replay()
                return

    def _replay(self) -> None:
        """Tell a SWMM process that has just begun what was handed over; it does the same again, to the bit."""
        record = np.array(self.record, np.float64).reshape(-1, 3)
        first = np.searchsorted(record[:, 0], np.arange(len(self.times) + 1))
        self.mouths.rewind()
        stages = np.full(len(self.mouths.names), np.nan)
        for k, until in enumerate(self.times):
            volume = np.zeros(len(self.names))
            rows = record[first[k] : first[k + 1]]
            volume[rows[:, 1].astype(np.int64)] = rows[:, 2]
            stages = self.mouths.replayed(k, stages)
            self.state = self.child.ask("advance", until, volume, stages)

    def close(self) -> None:
        """End the SWMM process."""
        if not self.closed:
            self.closed = True
            self.child.kill()


EVERY = 10.0
LIVES = 2
"""How often the SWMM process is started that dies."""


def build(p: Params, world: World, domain: Domain, solver: Solver, held: NDArray[np.bool_]) -> Drainage:
    """Read the network, find the cells of its nodes, start SWMM; `held`: (rows, columns) cells whose level is given.

    Raises:
        BadInput: not a SWMM file, or SWMM refuses it. MissingReference, BadReference: its CRS. BadOption: no node in the area, an inlet that names no node.
    """
    found = inp.sections(p.network_inp)
    horizontal = crs.parse_reference(p.network_crs, None, where="network_inp").horizontal
    places = {name: place for name, (section, place) in inp.nodes(found).items() if section in ("JUNCTIONS", "STORAGE") and place is not None}
    unplaced = [name for name, (section, place) in inp.nodes(found).items() if section in ("JUNCTIONS", "STORAGE") and place is None]
    if unplaced:
        world.report.note("skipped", few(unplaced), "nodes without [COORDINATES]")
    if not places:
        raise BadOption("network_inp: no junction or storage has coordinates.", "Add [COORDINATES], or use drainage_mm_h (capacity only).")
    rows = {row.node: row for row in p.inlets}
    unknown = sorted(set(rows) - set(places))
    if unknown:
        raise BadOption(f"inlets: {few(unknown)} are no junctions or storages with coordinates in network_inp.", "Check the names.")
    xy = np.array(list(places.values()))
    x, y = crs.convert(horizontal, domain.horizontal, xy[:, 0], xy[:, 1])
    names, cells = _cells(list(places), x, y, rows, domain, world)
    area = np.array([rows[n].area_m2 if n in rows else p.inlet_area_m2 for n in names])
    perimeter = np.array([rows[n].perimeter_m if n in rows else p.inlet_perimeter_m for n in names])
    if p.network_runoff == "subcatchments" and p.rain != "none":
        world.report.note("warned", "network_runoff", "rain falls on the surface and on the network's subcatchments: where they overlap it counts twice")
    text = inp.prepare(p.network_inp, p.hours, keep_hydrology=p.network_runoff == "subcatchments", report=world.report)
    if inp.options(found).get("ALLOW_PONDING", "NO").upper() != "YES":
        text = inp.forbid_ponding(text)
    mouths = _mouths(p, found, horizontal, domain, solver, world)
    drainage = Drainage(solver, names, cells, (area, perimeter), Child(text, names, np.full(len(names), SHAFT), mouths.names), mouths)
    mouths.invert = drainage.state["outfall_invert"]
    judge(mouths, drainage.state["outfall_crown"], held, domain, world)
    _compare_rims(drainage, domain, world)
    if drainage.state["routing_step"] > 10:
        world.report.note("warned", "network_inp", f"ROUTING_STEP is {drainage.state['routing_step']:g} s: the exchange is no finer than that")
    return drainage


def _cells(names: list[str], x: NDArray[np.float64], y: NDArray[np.float64], rows: dict[str, Inlet], domain: Domain,
           world: World) -> tuple[list[str], tuple[NDArray[np.int64], NDArray[np.int64]]]:  # fmt: skip
    """(coupled nodes, their cells): those inside the area, moved out of buildings where open ground is near; sealed ones left out."""
    column, row = ~domain.transform * (x, y)
    height, width = domain.bed.shape
    chosen: list[str] = []
    cells: list[tuple[int, int]] = []
    outside, walled, moved = [], [], []
    for name, r, c in zip(names, np.floor(row), np.floor(column), strict=True):
        if name in rows and rows[name].sealed:
            continue
        if not (np.isfinite(r) and np.isfinite(c) and 0 <= r < height and 0 <= c < width):
            outside.append(name)
            continue
        place = _open_cell(domain.walls, int(r), int(c))
        if place is None:
            walled.append(name)
            continue
        if place != (int(r), int(c)):
            moved.append(name)
        chosen.append(name)
        cells.append(place)
    if not chosen:
        span = f"x {np.nanmin(x):.0f}…{np.nanmax(x):.0f}, y {np.nanmin(y):.0f}…{np.nanmax(y):.0f} in {domain.horizontal}"
        raise BadOption(f"network_inp: none of its {len(names)} nodes lies in the area of the run ({span}).", "Check network_crs, or move bbox.")
    for who, why in ((outside, "nodes outside the area are not coupled; they stay in the network"), (walled, "nodes in buildings or voids are not coupled: no open ground near")):
        if who:
            world.report.note("skipped", few(who), f"{len(who)} {why}")
    if moved:
        world.report.note("repaired", few(moved), f"{len(moved)} nodes in a building moved to open ground within {NEAR} cells")
    at = np.array(cells, np.int64)
    return chosen, (at[:, 0], at[:, 1])


def _mouths(p: Params, found: dict[str, list[str]], horizontal: str, domain: Domain, solver: Solver, world: World) -> Outfalls:
    """The outfalls inside the area that the file leaves free; none with `outfalls` = file."""
    free, staged = candidates(found)
    places = inp.nodes(found)
    chosen, cells, outside = [], [], []
    for name in free if p.outfalls == "surface" else []:
        place = places[name][1]
        x, y = crs.convert(horizontal, domain.horizontal, *(np.array([v]) for v in place)) if place is not None else (np.array([np.nan]), np.array([np.nan]))
        column, row = ~domain.transform * (x[0], y[0])
        inside = 0 <= row < domain.bed.shape[0] and 0 <= column < domain.bed.shape[1]
        cell = _open_cell(domain.walls, int(row), int(column)) if inside else None
        if cell is None:
            outside.append(name)
        else:
            chosen.append(name)
            cells.append(cell)
    if outside:
        world.report.note("skipped", few(outside), f"{len(outside)} outfalls outside the area, or without open ground near: their water leaves the model")
    if staged and p.outfalls == "surface":
        world.report.note("assumed", few(staged), f"{len(staged)} outfalls keep the stage that the file gives them; their water leaves the model")
    at = np.array(cells, np.int64).reshape(-1, 2)
    return Outfalls(solver, chosen, (at[:, 0], at[:, 1]), np.zeros(len(chosen)), np.zeros(len(chosen), np.bool_))


def _open_cell(walls: NDArray[np.bool_], row: int, column: int) -> tuple[int, int] | None:
    """The nearest cell without a wall, within `NEAR`."""
    r0, c0 = max(row - NEAR, 0), max(column - NEAR, 0)
    r, c = np.nonzero(~walls[r0 : row + NEAR + 1, c0 : column + NEAR + 1])
    if not len(r):
        return None
    best = int(np.argmin((r + r0 - row) ** 2 + (c + c0 - column) ** 2))
    return int(r[best] + r0), int(c[best] + c0)


def _compare_rims(drainage: Drainage, domain: Domain, world: World) -> None:
    off = drainage.rim - domain.bed[drainage.cells]
    far = np.abs(off) > 0.5
    if far.any():
        worst = int(np.argmax(np.abs(off)))
        world.report.note("assumed", few([drainage.names[i] for i in np.flatnonzero(far)]),
                          f"{int(far.sum())} rims differ from the ground by more than 0.5 m (up to {off[worst]:+.2f} m at {drainage.names[worst]}); each rim is taken to lie at the ground")  # fmt: skip
