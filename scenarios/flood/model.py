"""The running flood: forcing between steps, maxima, gauges, ledger, checkpoints."""

from __future__ import annotations

import time as clock
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scenarios.contract import World
from scenarios.flood import accounts, impact, outputs, report, series, series_out
from scenarios.flood.domain import Domain
from scenarios.flood.losses import Losses
from scenarios.flood.params import Params
from scenarios.flood.part import Part
from scenarios.flood.rainfall import Rainfall
from scenarios.flood.solver import SIDES, Solver
from scenarios.flood.swmm import Drainage
from scenarios.flood.watch import Watch, wanted
from scenarios.kernels import sources
from twin.model import Batch

INTERVAL = 1.0
"""Model seconds between additions of rain and losses; checkpoints fall on its multiples, so that a resumed run takes the same steps."""
RECORD = 10.0
COMPUTE = 0.25
FAST = 0.8
LEDGER = ("initial", "rain", "level_boundary", "infiltration", "drainage")
Cells = tuple[NDArray[np.int64], NDArray[np.int64]]


@dataclass(frozen=True)
class Source:
    """An inflow: its name in the ledger, m³/s over time, and the cells that share it."""

    name: str
    flow: series.Series
    cells: Cells


@dataclass
class Flood:
    """The model of `scenarios.contract`: `time` and `end` in seconds."""

    params: Params
    world: World
    domain: Domain
    solver: Solver
    losses: Losses
    rain: Rainfall | None = None
    inflows: list[Source] = field(default_factory=list)
    level: tuple[series.Series, Cells] | None = None
    gauges: Cells | None = None
    parts: list[Part] = field(default_factory=list)
    ledger: dict[str, float] = field(default_factory=lambda: dict.fromkeys(LEDGER, 0.0))
    readings: list[list[float]] = field(default_factory=list)
    swift: float = 0.0

    def __post_init__(self) -> None:
        self.end = self.params.hours * 3600
        self.best = np.zeros((5, *self.solver.shape), np.float32)
        self.best[3] = -1
        self.area = self.solver.cell**2

    @property
    def time(self) -> float:
        """Model time, s."""
        return self.solver.time

    def step(self) -> None:
        """Whole intervals of forcing and flow, for about a quarter of a second of computing."""
        started = clock.monotonic()
        while self.time < self.end and clock.monotonic() - started < COMPUTE:
            self._interval()

    def _interval(self) -> None:
        s = self.solver
        start = s.time
        end = min((np.floor(start / INTERVAL + 1e-9) + 1) * INTERVAL, self.end)
        self._sources(start, end)
        while s.time < end:
            if self.level is not None:
                self.ledger["level_boundary"] += s.hold_level(self.level[1], self.level[0].at(s.time))
            before = s.time
            # equal steps to the interval's end: with long and short ones by turns the local inertial scheme wavers
            s.step((end - s.time) / np.ceil((end - s.time) / s.dt - 1e-9))
            if end - s.time < 1e-6:
                s.time = end
            for source in self.inflows:
                volume = source.flow.mean(before, s.time) * (s.time - before)
                s.add(source.cells, volume / self.area / len(source.cells[0]))
                self.ledger[source.name] += volume
            for part in self.parts:
                part.step(before, s.time)
        if end >= self.end or np.floor(end / RECORD) > np.floor(start / RECORD):
            self._record(min(RECORD, end))

    def _sources(self, start: float, end: float) -> None:
        if self.rain is not None:
            self.ledger["rain"] += self.rain.fall(self.solver, start, end)
        for account, volume in self.losses.take(start, end).items():
            self.ledger[account] -= volume
        for part in self.parts:
            if self.rain is not None and isinstance(part, Drainage) and len(self.rain.drained):
                part.direct += self.rain.drained
            part.interval(start, end)

    def _record(self, interval: float) -> None:
        s = self.solver
        faces = s.scheme == "inertial"
        sources.record(s.state, self.best, s.ghost, s.time, interval, self.params.threshold, faces)
        for part in self.parts:
            if isinstance(part, Watch):
                part.record(s.time)
        if self.gauges is not None:
            depth, (u, v) = s.depth[self.gauges], s.velocity()
            speed = np.hypot(u[self.gauges], v[self.gauges])
            self.readings.extend([s.time, float(i), float(depth[i]), float(speed[i])] for i in range(len(depth)))
        if faces:
            deep = s.depth > max(self.params.threshold, 0.05)
            u, v = s.velocity()
            fast = deep & (np.hypot(u, v) > FAST * np.sqrt(9.81 * np.maximum(s.depth, 0)))
            share = float(fast.sum()) / max(float(deep.sum()), 1.0)
            self.swift = max(self.swift, share)

    # --- contract ----------------------------------------------------------------------------------------------

    def fields(self) -> dict[str, NDArray[Any]]:
        """Depth and discharges."""
        return {"depth": self.solver.depth, "discharge": self.solver.state[1:3]}

    def checkpoint(self) -> dict[str, NDArray[Any]]:
        """State, maxima, ledger, gauges, and what each part keeps."""
        own = {"best": self.best, "soaked": self.losses.soaked, "ledger": np.array(list(self.ledger.values())),
               "readings": np.array(self.readings, np.float64).reshape(-1, 4), "swift": np.array(self.swift)}  # fmt: skip
        return {**self.solver.saved(), **own, **{f"{part.name}.{name}": values for part in self.parts for name, values in part.saved().items()}}

    def restore(self, saved: dict[str, NDArray[Any]]) -> None:
        """The inverse of `checkpoint`."""
        self.solver.restore(saved)
        self.best, self.losses.soaked, self.swift = saved["best"].copy(), saved["soaked"].copy(), float(saved["swift"])
        self.ledger = dict(zip(self.ledger, map(float, saved["ledger"]), strict=True))
        self.readings = saved["readings"].tolist()
        for part in self.parts:
            part.restore({name.partition(".")[2]: values for name, values in saved.items() if name.startswith(f"{part.name}.")})

    def close(self) -> None:
        """End what runs beside this process."""
        for part in self.parts:
            part.close()

    def water(self) -> dict[str, float]:
        """The ledger of water, m³: what came (+) and went (−) by way, what is there, and what is missing or too much."""
        ways = {**self.ledger, **{f"edge_{side}": self.solver.edge_volume[side] for side in SIDES}}
        for part in self.parts:
            ways |= part.ledger()
        stored = self.solver.volume()
        return {**ways, "stored": stored, "imbalance": stored - sum(ways.values())}

    def facts(self) -> dict[str, Any]:
        """Scheme, grid, ledger, extremes, parts; warns where the scheme does not fit."""
        s, water = self.solver, self.water()
        turned = sum(abs(v) for k, v in water.items() if k not in ("stored", "imbalance")) or 1.0
        if self.swift > 0.01:
            self.world.report.note("warned", "scheme", f"the inertial scheme is for slow flow, but up to {self.swift:.0%} of the deep cells ran faster than Froude {FAST}; "
                                                       "depths there may be 10–20% wrong: use scheme=hllc")  # fmt: skip
        flooded = self.best[0] >= self.params.threshold
        return {"scheme": s.scheme, "cells": int(np.prod(s.shape)), "cell_m": s.cell, "crs": self.domain.horizontal, "steps": s.steps, "rejected_steps": s.rejected,
                "water_m3": {k: round(v, 3) for k, v in water.items()}, "imbalance_share": water["imbalance"] / turned,
                "flooded_m2": float(flooded.sum() * self.area), "max_depth_m": round(float(self.best[0].max()), 3),
                "max_speed_m_s": round(float(self.best[1].max()), 3), "lowest_depth_m": float(s.depth.min()),
                **{part.name: part.facts() for part in self.parts}}  # fmt: skip

    @property
    def watch(self) -> Watch | None:
        """The part that keeps sections, frames and closures."""
        return next((part for part in self.parts if isinstance(part, Watch)), None)

    def series(self) -> list[series_out.Series]:
        """Everything measured over time so far."""
        p, watch = self.params, self.watch
        bed = self.domain.bed[self.gauges] if self.gauges is not None else np.zeros(0)
        network = next((part for part in self.parts if isinstance(part, Drainage)), None)
        return [*series_out.of_gauges(p, self.readings, bed), *(series_out.of_sections(watch) if watch else []), *series_out.of_manholes(network)]

    def frame(self) -> dict[str, Sequence[Batch]]:
        """The outputs that are wanted, at `time`."""
        p, world, domain, watch = self.params, self.world, self.domain, self.watch
        network = next((part for part in self.parts if isinstance(part, Drainage)), None)
        measured = self.series()
        facts = {part.name: part.facts() for part in self.parts}
        ledger = accounts.entries(p, world, domain, self.rain, self.water(), facts, self.time, network)
        out: dict[str, Sequence[Batch]] = {
            **outputs.maxima(p, domain, self.best),
            "frames": outputs.Frames(domain, watch.frames, p.start) if watch else [],
            "buildings": list[Batch](impact.buildings(world, p, domain, self.best)) if p.buildings and wanted(p, "buildings") else [],
            "roads": watch.roads.features(self.best, p.threshold, self.time) if watch and watch.roads else [],
            "facilities": list[Batch](impact.facilities(world, p, domain, self.best)) if p.facilities and wanted(p, "facilities") else [],
            "gauges": series_out.gauges(p, measured), "sections": series_out.sections(p, measured), "manholes": series_out.manholes(network, domain, measured),
            "hydrographs": series_out.hydrographs(measured, domain), "ledger": series_out.rowed(domain, accounts.table(ledger)),
        }  # fmt: skip
        return {name: batches for name, batches in out.items() if wanted(p, name)}

    def page(self, out: Mapping[str, Sequence[Batch]], facts: dict[str, Any] | None = None) -> str:
        """The report for people; `out` as from `frame`."""
        return report.page(self, out, facts or self.facts())
