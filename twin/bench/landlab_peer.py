"""What landlab's OverlandFlow (de Almeida et al. 2012) does on the same case. Run by a Python that has landlab, not by ours: `landlab_peer.py CASE FILE`.

FILE is an .npz with `bed` (rows, columns) m, `depth` m, `cell` m, `roughness`, `rain` m/s, `seconds`, and for an inflow `cells` (node numbers), `times`
s, `flows` m³/s. Prints JSON. CASE `speed`: cell updates a CPU-second over a few batches; `run`: wall, CPU-s and volume error to `seconds`.
"""

from __future__ import annotations

import json
import sys
import time
from importlib import import_module
from typing import Any

import numpy as np


def _flow(case: Any) -> tuple[Any, Any]:
    landlab, components = import_module("landlab"), import_module("landlab.components")
    grid = landlab.RasterModelGrid(case["bed"].shape, xy_spacing=float(case["cell"]))
    grid.add_field("topographic__elevation", case["bed"].ravel().astype(float), at="node")
    grid.add_field("surface_water__depth", np.maximum(case["depth"], 1e-6).ravel().astype(float), at="node")
    grid.set_closed_boundaries_at_grid_edges(True, True, True, True)
    return grid, components.OverlandFlow(grid, mannings_n=float(case["roughness"]), steep_slopes=False, rainfall_intensity=float(case["rain"]), alpha=0.7)


def _speed(case: Any) -> dict[str, Any]:
    _, flow = _flow(case)
    best = 0.0
    for batch in range(7):
        cpu = time.process_time()
        for _ in range(6):
            flow.overland_flow(dt=flow.calc_time_step())
        if batch:
            best = max(best, 6 * case["bed"].size / 1e6 / (time.process_time() - cpu))
    return {"core": best}


def _run(case: Any) -> dict[str, Any]:
    grid, flow = _flow(case)
    water, inside = grid.at_node["surface_water__depth"], grid.core_nodes
    cells, area, end = case["cells"], float(case["cell"]) ** 2, float(case["seconds"])
    start, added, now = float(water[inside].sum()), 0.0, 0.0
    wall, cpu = time.perf_counter(), time.process_time()
    while now < end - 1e-9:
        dt = min(flow.calc_time_step(), end - now)
        if len(cells):
            volume = float(np.interp(now, case["times"], case["flows"]) + np.interp(now + dt, case["times"], case["flows"])) / 2 * dt
            water[cells] += volume / area / len(cells)
            added += volume / area
        flow.overland_flow(dt=dt)
        added += float(case["rain"]) * dt * len(inside)
        now += dt
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return {"wall": wall, "cpu": cpu, "mass": (float(water[inside].sum()) - start) / max(added, 1e-9) - 1}


if __name__ == "__main__":
    given = np.load(sys.argv[2])
    print(json.dumps(_speed(given) if sys.argv[1] == "speed" else _run(given)))  # noqa: T201
