"""The flood cases that `twin bench` measures, and ours on them: what each fresh process runs. `flood_runs.py CASE SCHEME SIZE OUT`; prints JSON."""

from __future__ import annotations

import json
import os
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

Case = dict[str, Any]
STEP = 2.0
"""s between additions of rain."""


def pool(size: float) -> Case:
    """All cells wet: a flat bed under a smooth hump between closed walls."""
    side = max(128, int(1000 * size**0.5))
    centre = (np.arange(side) + 0.5) * 5.0 - side * 2.5
    depth = 1 + np.exp(-(centre[:, None] ** 2 + centre[None] ** 2) / (2 * (0.5 * side) ** 2))
    return _case(np.zeros((side, side)), depth, 5.0, 0.03)


def ea4(size: float) -> Case:
    """EA SC120002 test 4: an inflow of 20 m³/s over 20 m of the western side of a plain, 5 m cells, to 7,260 s."""
    rows = np.arange(198, 202)
    inflow = {"cells": rows * 200 + 1, "times": np.array([0.0, 300, 3600, 14400, 18000]), "flows": np.array([0.0, 0, 20, 20, 0])}
    return {**_case(np.zeros((400, 200)), np.zeros((400, 200)), 5.0, 0.05), **inflow, "seconds": max(300.0, 7260.0 * size)}


def city(size: float) -> Case:
    """70 mm/h on a 2 m city grid with buildings, 1,800 s: the raster TWIN_BENCH_DEM, or a generated one of 340 × 200 cells."""
    file = os.environ.get("TWIN_BENCH_DEM")
    if file:
        with import_module("rasterio").open(file) as raster:
            bed = raster.read(1).astype(np.float64)
    else:
        x, y = np.meshgrid(np.arange(340) * 2.0, np.arange(200) * 2.0)
        houses = (x % 40 > 8) & (x % 40 < 32) & (y % 40 > 8) & (y % 40 < 32)
        bed = 5 + 0.02 * x + 0.01 * y + 0.3 * np.sin(x / 53) * np.cos(y / 43) + 10.0 * houses
    return {**_case(bed, np.zeros(bed.shape), 2.0, 0.03), "rain": 0.07 / 3600, "seconds": max(60.0, 1800.0 * size)}


CASES = {"pool": pool, "ea4": ea4, "city": city}


def _case(bed: Any, depth: Any, cell: float, roughness: float) -> Case:
    return {"bed": bed, "depth": depth, "cell": cell, "roughness": roughness, "rain": 0.0, "seconds": 0.0, "cells": np.zeros(0, np.int64), "times": np.zeros(1), "flows": np.zeros(1)}


def bandwidth() -> float:
    """GB/s of one core: the triad a = b + s·c over 200 MB (McCalpin's STREAM; three transfers counted)."""
    numba = import_module("numba")

    @numba.njit(fastmath=True)  # type: ignore[untyped-decorator]
    def triad(a: Any, b: Any, c: Any) -> None:
        for i in range(len(a)):
            a[i] = b[i] + np.float32(3) * c[i]

    a, b, c = (np.ones(16_000_000, np.float32) for _ in range(3))
    best = 0.0
    for turn in range(8):
        start = time.process_time()
        triad(a, b, c)
        if turn:
            best = max(best, 3 * a.nbytes / 1e9 / (time.process_time() - start))
    return best


def _solver(case: Case, scheme: str) -> Any:
    solver = import_module("scenarios.flood.solver").Solver(case["bed"], case["cell"], case["roughness"], scheme)
    if case["depth"].any():
        solver.set_depth(case["depth"])
    return solver


def speed(case: Case, scheme: str) -> dict[str, Any]:
    """Million cell updates a second of wall time and of CPU time, best of ten batches; bandwidth beside it."""
    s = _solver(case, scheme)
    s.step(1.0)
    wall_best = core_best = 0.0
    for _ in range(10):
        wall, cpu, steps = time.perf_counter(), time.process_time(), s.steps
        for _ in range(5):
            s.step(10.0)
        work = (s.steps - steps) * case["bed"].size / 1e6
        wall_best, core_best = max(wall_best, work / (time.perf_counter() - wall)), max(core_best, work / (time.process_time() - cpu))
    return {"wall": wall_best, "core": core_best, "bandwidth": bandwidth(), "threads": import_module("numba").config.NUMBA_NUM_THREADS}


def run(case: Case, scheme: str) -> dict[str, Any]:
    """Wall and CPU of a whole run and its volume error; compiling left out."""
    _march(case, scheme, min(case["seconds"], 60.0 if case["rain"] else 310.0))
    return {**_march(case, scheme, case["seconds"]), "threads": import_module("numba").config.NUMBA_NUM_THREADS}


def _march(case: Case, scheme: str, until: float) -> dict[str, Any]:
    sources, s = import_module("scenarios.kernels.sources"), _solver(case, scheme)
    cells, area, added = np.divmod(case["cells"], case["bed"].shape[1]), case["cell"] ** 2, 0.0
    cells = (cells[0], cells[1] - 1)  # the peer's outer ring is closed, ours is not
    wall, cpu = time.perf_counter(), time.process_time()
    while s.time < until - 1e-9:
        end = min(s.time + STEP, until) if case["rain"] else until
        if case["rain"]:
            depth = case["rain"] * (end - s.time)
            sources.rain(s.state, s.weight, depth, s.ghost)
            s.mark_wet()
            added += depth * case["bed"].size * area
        while s.time < end - 1e-9:
            before = s.time
            s.step((end - s.time) / np.ceil((end - s.time) / s.dt - 1e-9) if case["rain"] else end - s.time)
            if len(case["cells"]):
                volume = float(np.interp(before, case["times"], case["flows"]) + np.interp(s.time, case["times"], case["flows"])) / 2 * (s.time - before)
                s.add(cells, volume / area / len(cells[0]))
                added += volume
    return {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu, "steps": s.steps, "mass": s.volume() / max(added, 1e-9) - 1}


def main() -> None:
    """`CASE SCHEME SIZE`; the case is also written to the fourth argument, for a peer."""
    name, scheme, size = sys.argv[1], sys.argv[2], float(sys.argv[3])
    case = CASES[name](size)
    if len(sys.argv) > 4:
        np.savez(Path(sys.argv[4]), **case)
    print(json.dumps(speed(case, scheme) if name == "pool" else run(case, scheme)))  # noqa: T201
