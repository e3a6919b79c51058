"""Flood cases beside other programs: landlab's OverlandFlow, an ODE solver's backwater curves, and ponds that fill and spill.

Nothing is fitted to the solver. Backwater: Chow, Open-Channel Hydraulics, 1959, 9.2. Ground of the ponds: see `ponds`.
"""

from __future__ import annotations

import heapq
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from flood_cases import G, channel, interpolated, run
from landlab_reference import CELL, CELLS, FRICTION, RAIN, TIMES, valley
from scipy.integrate import solve_ivp

from scenarios.flood.solver import Solver
from scenarios.kernels import sources


def rain_beside_landlab(scheme: str) -> dict[str, Any]:
    """The valley of `landlab_reference`: depths after 15 and 30 minutes of rain beside those of landlab's OverlandFlow."""
    known = np.loadtxt(Path(__file__).with_name("landlab_rain.csv"), delimiter=",").reshape(len(TIMES), CELLS, CELLS)
    depths, mass = rain_in_the_valley(scheme)
    apart = np.abs(depths - known)
    return {"h": depths, "known": known, "error": (apart.sum(axis=(1, 2)) / known.sum(axis=(1, 2))).tolist(), "mass": mass}


def rain_beside_finer(scheme: str) -> list[float]:
    """The same valley: L1 over mean depth after 15 and 30 minutes beside first-order HLLC on cells of a quarter, averaged."""
    fine, coarse = _fine(), rain_in_the_valley(scheme)[0]
    return (np.abs(coarse - fine).sum(axis=(1, 2)) / fine.sum(axis=(1, 2))).tolist()


@cache
def _fine() -> np.ndarray:
    return rain_in_the_valley("hllc", 4)[0]


def rain_in_the_valley(scheme: str, parts: int = 1) -> tuple[np.ndarray, float]:
    """((times, rows, columns) depths of landlab's cells, volume error); computed on `parts` × `parts` cells in each."""
    cell, count = CELL / parts, CELLS * parts
    x, y = np.meshgrid((np.arange(count) + 0.5) * cell, (np.arange(count) + 0.5) * cell)
    s = Solver(valley(x, y), cell, FRICTION, scheme)
    depths = []
    for end in TIMES:
        while s.time < end - 1e-9:
            dt = min(2.0, end - s.time)
            sources.rain(s.state, s.weight, RAIN * dt, s.ghost)
            s.mark_wet()
            run(s, s.time + dt)
        depths.append(s.depth.reshape(CELLS, parts, CELLS, parts).mean(axis=(1, 3)))
    return np.array(depths), s.volume() / (RAIN * TIMES[-1] * CELLS**2 * CELL**2) - 1


def backwater(scheme: str, case: str, cells: int = 300) -> dict[str, Any]:
    """Steady flow of 2 m²/s in a wide channel (n = 0.03) that nears its normal depth.

    M1: 3 km of 0.1%, held up at the end; M2: drawn down there; S2: 600 m of 0.1%, then 600 m of 2%, from critical depth at the break.
    dh/dx = (S₀ − n²q²/h^(10/3)) / (1 − q²/(gh³)), integrated by an adaptive Runge–Kutta method from the place that governs.
    """
    q, n = 2.0, 0.03
    length = 3000.0 if case != "S2" else 1200.0
    cell = length / cells
    x = (np.arange(cells) + 0.5) * cell
    slope = np.where((x > length / 2) & (case == "S2"), 0.02, 0.001)
    z = cell * (slope[::-1].cumsum()[::-1] - slope / 2)
    critical = (q * q / G) ** (1 / 3)
    normal = (n * n * q * q / slope) ** 0.3

    def rise(_: float, h: np.ndarray) -> np.ndarray:
        return (slope[-1] - n * n * q * q / h ** (10 / 3)) / (1 - q * q / (G * h**3))

    exact = np.full(cells, np.nan)
    end = {"M1": 1.6 * normal[-1], "M2": 0.75 * normal[-1], "S2": None}[case]
    if end is None:  # just below critical depth at the break, where the equation itself is singular
        below = x > length / 2
        exact[below] = solve_ivp(rise, (length / 2, x[-1]), [0.999 * critical], t_eval=x[below], rtol=1e-9, atol=1e-9).y[0]
    else:
        exact[:] = solve_ivp(rise, (x[-1], x[0]), [end], t_eval=x[::-1], rtol=1e-9, atol=1e-9).y[0][::-1]
    s = Solver(z[None], cell, n, scheme, open_sides=("east",))
    s.set_depth(normal[None])
    s.set_velocity((q / normal)[None], np.zeros((1, cells)))
    channel(s, 7200.0 if end else 2400.0, q, None if end is None else float(z[-1] + end))
    inner = (x > (100 if end else length / 2 + 20)) & (x < length - 3 * cell)
    apart = np.abs(s.depth[0] - exact)[inner]
    return {"x": x, "z": z, "h": s.depth[0].copy(), "exact": exact, "froude": float(q / np.sqrt(G * np.nanmin(exact) ** 3)),
            "error": float(apart.mean() / exact[inner].mean()), "largest": float(apart.max())}  # fmt: skip


def ponds(scheme: str, folder: Path, cell: float = 20.0, end: float = 48 * 3600.0) -> dict[str, Any]:
    """Like EA SC120002 test 2: sixteen hollows on a plane fill and spill one into another; a stated surrogate of its ground, which is not free.

    z = 10 − x/2000 − (2000 − y)/1500 + ¼·(cos(2πx/500) + cos(2πy/500)) on 2 km × 2 km (its pits and sills are the official ones), inflow along
    100 m of the west side from the north corner, n = 0.03, 48 h.
    """
    cells = round(2000 / cell)
    x, y = np.meshgrid((np.arange(cells) + 0.5) * cell, 2000 - (np.arange(cells) + 0.5) * cell)
    bed = 10 - x / 2000 - (2000 - y) / 1500 + 0.25 * (np.cos(2 * np.pi * x / 500) + np.cos(2 * np.pi * y / 500))
    inflow = interpolated(folder / "Test2_BC.csv", 60.0)
    points = np.loadtxt(folder / "Test2output.csv", delimiter=",", skiprows=1)
    at = ((2000 - points[:, 2]) // cell).astype(int), (points[:, 1] // cell).astype(int)
    s = Solver(bed, cell, 0.03, scheme)
    into = (np.arange(round(100 / cell)), np.zeros(round(100 / cell), np.int64))
    added, series = 0.0, []
    while s.time < end - 1e-9:
        dt = min(60.0, end - s.time)
        volume = inflow(s.time + dt / 2) * dt
        added += volume
        if volume:
            s.add(into, volume / (len(into[0]) * cell**2))
        run(s, s.time + dt)
        series.append((s.time, *s.depth[at]))
    return {"bed": bed, "h": s.depth.copy(), "level": s.level()[at], "depth": s.depth[at], "sill": filled(bed)[at], "series": np.array(series),
            "speed": float(np.hypot(*s.velocity()).max()), "mass": s.volume() / added - 1, "added": added, "at": at, "cell": cell}  # fmt: skip


def filled(bed: np.ndarray) -> np.ndarray:
    """The level to which each cell can fill before it spills over the sides (priority flood; Barnes et al. 2014); the sides themselves are walls,
    so the lowest cell of the ground is the only outlet of the whole and everything else drains towards it."""
    level = np.full(bed.shape, np.inf)
    outlet = np.unravel_index(int(np.argmin(bed)), bed.shape)
    queue = [(float(bed[outlet]), int(outlet[0]), int(outlet[1]))]
    level[outlet] = bed[outlet]
    while queue:
        here, i, j = heapq.heappop(queue)
        for a, b in ((i - 1, j), (i + 1, j), (i, j - 1), (i, j + 1)):
            if 0 <= a < bed.shape[0] and 0 <= b < bed.shape[1] and level[a, b] == np.inf:
                level[a, b] = max(here, float(bed[a, b]))
                heapq.heappush(queue, (float(level[a, b]), a, b))
    return level
