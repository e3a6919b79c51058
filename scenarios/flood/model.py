"""The running flood: forcing between steps, maxima, gauges, ledger, outputs."""

from __future__ import annotations

import time as clock
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import shapely
from numpy.typing import NDArray

from scenarios.contract import World
from scenarios.flood import impact, series
from scenarios.flood.domain import Domain, build, burn
from scenarios.flood.params import Params
from scenarios.flood.solver import SIDES, Solver
from scenarios.kernels import sources
from twin.errors import BadOption
from twin.model import Batch, Column, Features, Grid, Reference, Table

INTERVAL = 1.0
"""Model seconds between additions of rain and losses; checkpoints fall on its multiples, so that a resumed run takes the same steps."""
RECORD = 10.0
COMPUTE = 0.25
NODATA = -9999.0
FAST = 0.8
LEDGER = ("initial", "rain", "inflow", "level_boundary", "infiltration", "drainage")


@dataclass
class Flood:
    """The model of `scenarios.contract`: `time` and `end` in seconds."""

    params: Params
    world: World
    domain: Domain
    solver: Solver
    rain: series.Rain | None = None
    inflow: tuple[series.Series, tuple[NDArray[np.int64], NDArray[np.int64]]] | None = None
    level: tuple[series.Series, tuple[NDArray[np.int64], NDArray[np.int64]]] | None = None
    gauges: tuple[NDArray[np.int64], NDArray[np.int64]] | None = None
    ledger: dict[str, float] = field(default_factory=lambda: dict.fromkeys(LEDGER, 0.0))
    readings: list[list[float]] = field(default_factory=list)
    swift: float = 0.0

    def __post_init__(self) -> None:
        self.end = self.params.hours * 3600
        s = self.solver
        self.best = np.zeros((5, *s.shape), np.float32)
        self.best[3] = -1
        self.pervious = np.zeros_like(s.z)
        self.pervious[s.inside] = np.where(s.blocked, 0, 1)
        self.soaked = np.zeros_like(s.z) if self.params.infiltration == "green_ampt" else np.zeros((0, 0), s.dtype)
        self.taken = np.zeros(s.z.shape[0])
        self.rain_cells = float(s.weight.astype(np.float64).sum())
        self.area = s.cell**2

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
            s.step(end - s.time)
            if end - s.time < 1e-6:
                s.time = end
            if self.inflow is not None:
                volume = self.inflow[0].mean(before, s.time) * (s.time - before)
                s.add(self.inflow[1], volume / self.area / len(self.inflow[1][0]))
                self.ledger["inflow"] += volume
        if end >= self.end or np.floor(end / RECORD) > np.floor(start / RECORD):
            self._record(min(RECORD, end))

    def _sources(self, start: float, end: float) -> None:
        s, p, dt = self.solver, self.params, end - start
        if self.rain is not None:
            depth = self.rain.between(start, end)
            if depth > 0:
                sources.rain(s.state, s.weight, depth, s.ghost)
                self.ledger["rain"] += depth * self.rain_cells * self.area
                s.mark_wet()
        if p.infiltration == "green_ampt":
            self.taken[:] = 0
            sources.green_ampt(s.state, self.pervious * s.dtype(p.pervious), self.soaked, p.infiltration_mm_h / 3.6e6, p.suction_m, dt, s.ghost, self.taken)
            self.ledger["infiltration"] -= float(self.taken.sum()) * self.area
        elif p.infiltration != "none" and p.pervious > 0:
            rate = p.infiltration_mm_h
            if p.infiltration == "horton":  # mean of Horton's curve over the interval
                k = max(p.horton_decay_h / 3600, 1e-12)
                rate += (p.horton_start_mm_h - p.infiltration_mm_h) * (np.exp(-k * start) - np.exp(-k * end)) / (k * dt)
            self._take("infiltration", rate * p.pervious / 3.6e6 * dt)
        if p.drainage_mm_h > 0:
            self._take("drainage", p.drainage_mm_h / 3.6e6 * dt)

    def _take(self, account: str, depth: float) -> None:
        self.taken[:] = 0
        sources.take(self.solver.state, self.pervious, depth, self.solver.ghost, self.taken)
        self.ledger[account] -= float(self.taken.sum()) * self.area

    def _record(self, interval: float) -> None:
        s = self.solver
        faces = s.scheme == "inertial"
        sources.record(s.state, self.best, s.ghost, s.time, interval, self.params.threshold, faces)
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
        """State, maxima, ledger, gauges."""
        return {**self.solver.saved(), "best": self.best, "soaked": self.soaked, "ledger": np.array([self.ledger[k] for k in LEDGER]),
                "readings": np.array(self.readings, np.float64).reshape(-1, 4), "swift": np.array(self.swift)}  # fmt: skip

    def restore(self, saved: dict[str, NDArray[Any]]) -> None:
        """The inverse of `checkpoint`."""
        self.solver.restore(saved)
        self.best, self.soaked, self.swift = saved["best"].copy(), saved["soaked"].copy(), float(saved["swift"])
        self.ledger = dict(zip(LEDGER, map(float, saved["ledger"]), strict=True))
        self.readings = saved["readings"].tolist()

    def water(self) -> dict[str, float]:
        """The ledger of water, m³: what came (+) and went (−) by way, what is there, and what is missing or too much."""
        edges = {f"edge_{side}": self.solver.edge_volume[side] for side in SIDES}
        stored = self.solver.volume()
        return {**self.ledger, **edges, "stored": stored, "imbalance": stored - sum(self.ledger.values()) - sum(edges.values())}

    def facts(self) -> dict[str, Any]:
        """Scheme, grid, ledger, extremes; warns where the scheme does not fit."""
        s, water = self.solver, self.water()
        turned = sum(abs(v) for k, v in water.items() if k not in ("stored", "imbalance")) or 1.0
        if self.swift > 0.01:
            self.world.report.note("warned", "scheme", f"the inertial scheme is for slow flow, but up to {self.swift:.0%} of the deep cells ran faster than Froude {FAST}; "
                                                       "depths there may be 10–20% wrong: use scheme=hllc")  # fmt: skip
        flooded = self.best[0] >= self.params.threshold
        return {"scheme": s.scheme, "cells": int(np.prod(s.shape)), "cell_m": s.cell, "crs": self.domain.horizontal, "steps": s.steps, "rejected_steps": s.rejected,
                "water_m3": {k: round(v, 3) for k, v in water.items()}, "imbalance_share": water["imbalance"] / turned,
                "flooded_m2": float(flooded.sum() * self.area), "max_depth_m": round(float(self.best[0].max()), 3),
                "max_speed_m_s": round(float(self.best[1].max()), 3), "lowest_depth_m": float(s.depth.min())}  # fmt: skip

    def frame(self) -> dict[str, list[Batch]]:
        """All outputs at `time`."""
        p, wet = self.params, self.best[0] >= self.params.threshold
        names = {"depth": (0, "m"), "velocity": (1, "m/s"), "hazard": (2, ""), "arrival": (3, "s"), "duration": (4, "s")}
        reference = Reference(self.domain.horizontal)
        out: dict[str, list[Batch]] = {}
        for name, (band, unit) in names.items():
            data = np.where(wet, self.best[band], NODATA).astype(np.float32)[None]
            out[name] = [Grid(reference, data, tuple(self.domain.transform[:6]), NODATA, (Column(name, "float", unit),), LEGENDS[name])] if wet.any() else []
        out["buildings"] = list(impact.buildings(self.world, p.buildings, self.domain, self.best, p.threshold)) if p.buildings else []
        out["roads"] = list(impact.roads(self.world, p.roads, self.domain, self.best, p.threshold)) if p.roads else []
        out["gauges"] = self._gauges()
        return out

    def _gauges(self) -> list[Batch]:
        if self.params.gauges is None:
            return []
        places = np.array(self.params.gauges).reshape(-1, 2)
        rows = np.array(self.readings, np.float64).reshape(-1, 4)
        number = rows[:, 1].astype(np.int64)
        names = [f"gauge-{i + 1}" for i in range(len(places))]
        greatest = [float(rows[number == i, 2].max(initial=0.0)) for i in range(len(places))]
        table = pa.table({"max_depth": pa.array(greatest)}, schema=pa.schema([pa.field("max_depth", pa.float64(), metadata={"unit": "m", "title_zh": "最大水深", "title_en": "Greatest depth"})]))
        history = pa.table({"gauge": pa.array([names[i] for i in number]), "time": pa.array(rows[:, 0]), "depth": pa.array(rows[:, 2]), "speed": pa.array(rows[:, 3])})
        return [Features(Reference("EPSG:4326"), pa.array(names), np.array([shapely.Point(*xy) for xy in places], dtype=object), table), Table("series", history)]


def _classes(unit: str, zh: str, en: str, edges: list[float], colors: list[str]) -> dict[str, Any]:
    """A legend of classes between `edges`, the last one open."""
    tops = [*edges[1:], 1e9]
    labels = [f"{a:g}–{b:g}" if b < 1e9 else f"> {a:g}" for a, b in zip(edges, tops, strict=True)]
    return {"type": "classes", "unit": unit, "title": {"zh": zh, "en": en},
            "entries": [{"value": [a, b], "color": c, "label": {"zh": t, "en": t}} for a, b, c, t in zip(edges, tops, colors, labels, strict=True)]}  # fmt: skip


BLUES = ["#d6ecfa", "#a3d0f0", "#6aaee0", "#3a83c5", "#1f5a9e", "#12366b"]
WARM = ["#fff3b0", "#ffd166", "#f79d4b", "#e4572e", "#a3123a"]
LEGENDS = {
    "depth": _classes("m", "最大水深（米）", "Greatest depth (m)", [0.0, 0.15, 0.3, 0.6, 1.2, 2.5], BLUES),
    "velocity": _classes("m/s", "最大流速（米/秒）", "Greatest speed (m/s)", [0.0, 0.25, 0.5, 1.0, 2.0], WARM),
    "hazard": _classes("", "洪水危险度", "Flood hazard rating", [0.0, 0.75, 1.25, 2.0], ["#bfe3b4", "#ffd166", "#f79d4b", "#c9184a"]),
    "arrival": _classes("s", "到达时间（秒）", "Arrival time (s)", [0.0, 600.0, 1800.0, 3600.0, 7200.0], WARM[::-1]),
    "duration": _classes("s", "淹没历时（秒）", "Time under water (s)", [0.0, 600.0, 1800.0, 3600.0, 7200.0], BLUES[1:]),
}


def start(params: Params, world: World) -> Flood:
    """Read the layers and fill the field at its first moment.

    Raises:
        BadOption: an area outside the terrain, a gauge or inflow in a wall, water that lies outside; nothing that brings water.
        BadInput: a series that cannot be read. OverLimit: too many cells.
    """
    if params.rain == "none" and params.inflow_point is None and not params.water and params.initial_level is None:
        raise BadOption("Nothing brings water to this run.", "Give rain, inflow_point, water with a level, or initial_level.")
    rain = _rain(params, world)
    inflow = _constant_or(params.inflow_csv, params.inflow_m3_s, "flow") if params.inflow_point is not None else None
    held = _constant_or(params.level_csv, params.level, "level") if params.water else None
    domain = build(params, world)
    solver = Solver(domain.bed, params.cell, params.roughness, params.scheme, blocked=domain.walls,
                    open_sides=SIDES if params.open_edges else (), rain_weight=domain.rain_weight)  # fmt: skip
    model = Flood(params, world, domain, solver, rain)
    if inflow is not None:
        model.inflow = inflow, domain.require_inside(np.array([params.inflow_point], np.float64), "The inflow")
    if held is not None:
        rows, columns = np.nonzero(burn(world, params.water, domain.horizontal, domain.transform, domain.bed.shape, touched=True) & ~domain.walls)
        if not len(rows):
            raise BadOption(f"Water layer {params.water!r} covers no ground of the area.", "Choose another layer or area.")
        model.level = held, (rows.astype(np.int64), columns.astype(np.int64))
    if params.gauges is not None:
        model.gauges = domain.require_inside(np.array(params.gauges, np.float64).reshape(-1, 2), "Gauge")
    if params.initial_level is not None:
        solver.set_level(params.initial_level)
        model.ledger["initial"] = solver.volume()
    if params.scheme == "inertial":
        world.report.note("assumed", "scheme", "local inertial: fit for slow flow over gentle ground; a breach, a dam break or a steep street needs scheme=hllc")
    return model


def resume(params: Params, world: World, saved: dict[str, NDArray[Any]]) -> Flood:
    """Go on from a checkpoint; takes the same steps as an uninterrupted run."""
    model = start(params, world)
    model.restore(saved)
    return model


def _constant_or(text: str, value: float | None, quantity: str) -> series.Series:
    return series.linear(text, quantity) if text.strip() else series.Series(np.zeros(1), np.array([float(value or 0.0)]))


def _rain(p: Params, world: World) -> series.Rain | None:
    if p.rain == "uniform":
        return series.uniform(p.rain_mm_h, p.rain_hours)
    if p.rain == "csv":
        return series.measured(p.rain_csv)
    if p.rain == "chicago":
        names = ("storm_a", "storm_c", "storm_b", "storm_n")
        if not set(names) & p.model_fields_set:
            world.report.note("assumed", "rain", "intensity formula q = 3618.427(1 + 0.438 lg P)/(t + 11.259)^0.750 L/(s·ha), as published for central Guangzhou; "
                                                 "enter the formula in force for your city as storm_a, storm_c, storm_b, storm_n")  # fmt: skip
        return series.chicago(p.storm_a, p.storm_c, p.storm_b, p.storm_n, p.return_period, p.rain_hours, p.storm_peak)
    return None
