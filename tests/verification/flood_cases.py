"""Flood cases with known answers: each runs the solver and returns what was computed beside what is true.

Closed forms are written out here from their sources; nothing is fitted to the solver. SWASHES: Delestre et al. 2013, doi:10.1002/fld.3741.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import brentq

from scenarios.flood.solver import Solver
from scenarios.kernels import sources

G = 9.81


def run(s: Solver, end: float, each: Callable[[float], None] | None = None, longest: float = 1e9) -> None:
    """Step to `end`; `each(dt)` after every step."""
    while s.time < end - 1e-9:
        dt = s.step(min(end - s.time, longest))
        if each:
            each(dt)


def lake(scheme: str, dtype: Any) -> float:
    """Greatest speed after 100 steps in a lake with islands, banks, blocked and raised buildings and pits beside it."""
    y, x = np.mgrid[0:70, 0:150] * 2.0
    rng = np.random.default_rng(1)
    bed = 20 + 3 * np.sin(x / 17) * np.cos(y / 13) + rng.normal(0, 0.3, x.shape) + 0.02 * x
    blocked = np.zeros(bed.shape, bool)
    blocked[20:30, 40:60] = True
    bed[40:50, 70:90] += 8
    s = Solver(bed, 2.0, 0.0, scheme, blocked=blocked, dtype=dtype)
    s.set_level(21.37)
    before = s.depth.copy()
    for _ in range(100):
        s.step(1.0)
    u, v = s.velocity()
    assert 0.2 < (before > 0).mean() < 0.9, "the case must have wet and dry cells"
    return float(max(np.abs(u).max(), np.abs(v).max()))


def dam_break(scheme: str, right: float, cell: float = 5.0) -> dict[str, Any]:
    """Stoker (1957; wet bed) or Ritter (1892; dry): 2,000 m, 6 m against `right`, 60 s; L1 over mean depth."""
    x = (np.arange(round(2000 / cell)) + 0.5) * cell
    s = Solver(np.zeros((1, len(x))), cell, 0.0, scheme)
    s.set_depth(np.where(x < 1000, 6.0, right)[None])
    before = s.volume()
    run(s, 60.0)
    exact = dam_break_depth(x, 60.0, 1000.0, 6.0, right)
    return {"x": x, "h": s.depth[0].copy(), "exact": exact, "error": float(np.abs(s.depth[0] - exact).sum() / exact.sum()), "mass": s.volume() / before - 1}


def dam_break_depth(x: np.ndarray, t: float, x0: float, high: float, low: float) -> np.ndarray:
    """Depth of the exact solution."""
    c = np.sqrt(G * high)
    fan = 4 / (9 * G) * (c - (x - x0) / (2 * t)) ** 2
    if low <= 0:
        return np.where(x < x0 - c * t, high, np.where(x < x0 + 2 * c * t, fan, 0.0))

    def jump(h: float) -> float:
        return float(2 * (c - np.sqrt(G * h)) - (h - low) * np.sqrt(G * (h + low) / (2 * h * low)))

    middle = brentq(jump, low + 1e-9, high)
    u = 2 * (c - np.sqrt(G * middle))
    shock = middle * u / (middle - low)
    return np.where(x < x0 - c * t, high, np.where(x < x0 + (u - np.sqrt(G * middle)) * t, fan, np.where(x < x0 + shock * t, middle, low)))


def channel(s: Solver, end: float, discharge: float, level: float | None) -> None:
    """Steady inflow (m²/s) into the first column and a held level in the last (None: free outflow)."""
    rows = np.arange(s.shape[0])
    first, last = (rows, np.zeros_like(rows)), (rows, np.full_like(rows, s.shape[1] - 1))

    def each(dt: float) -> None:
        s.add(first, discharge * dt / s.cell)
        if level is not None:
            s.hold_level(last, level)

    each(0.0)
    s.add(first, 1e-3)
    run(s, end, each)


def bump(scheme: str, case: str, cells: int = 125) -> dict[str, Any]:
    """Flow over a parabolic bump in 25 m without friction (SWASHES 3.1.3–3.1.5): subcritical, transcritical, shock."""
    q, level = {"subcritical": (4.42, 2.0), "transcritical": (1.53, None), "shock": (0.18, 0.33)}[case]
    cell = 25.0 / cells
    x = (np.arange(cells) + 0.5) * cell
    z = np.where((x > 8) & (x < 12), 0.2 - 0.05 * (x - 10) ** 2, 0.0)
    s = Solver(z[None], cell, 0.0, scheme, open_sides=("east",))
    s.set_level(level if level is not None else 0.66)
    s.set_velocity(np.where(s.depth > 0, q / np.maximum(s.depth, 0.05), 0), np.zeros_like(s.depth))
    channel(s, 120.0 if case != "shock" else 250.0, q, level)
    exact = bump_depth(x, z, q, level, case)
    inner = (x > 2) & (x < 24)
    return {"x": x, "z": z, "h": s.depth[0].copy(), "exact": exact, "error": float(np.abs(s.depth[0] - exact)[inner].mean() / exact.mean()),
            "discharge": s.depth[0] * s.velocity()[0][0]}  # fmt: skip


def bump_depth(x: np.ndarray, z: np.ndarray, q: float, level: float | None, case: str) -> np.ndarray:
    """Bernoulli's equation on either branch, a jump where momentum balances."""
    critical = (q * q / G) ** (1 / 3)

    def solve(head: float, bed: float, deep: bool) -> float:
        def f(h: float) -> float:
            return q * q / (2 * G * h * h) + h + bed - head

        low, high = (critical, head - bed + 1) if deep else (1e-4, critical)
        return brentq(f, low, high) if f(low) * f(high) < 0 else critical

    if case == "subcritical":
        assert level is not None
        head = q * q / (2 * G * level**2) + level
        return np.array([solve(head, b, True) for b in z])
    top = 1.5 * critical + 0.2
    upstream = np.array([solve(top, b, xi < 10) for xi, b in zip(x, z, strict=True)])
    if level is None:
        return upstream
    head = q * q / (2 * G * level**2) + level
    downstream = np.array([solve(head, b, True) for b in z])
    excess = (q * q / upstream + G / 2 * upstream**2) - (q * q / downstream + G / 2 * downstream**2)
    after = np.flatnonzero((x > 10) & (excess < 0))
    return np.where(x < x[after[0]] if len(after) else True, upstream, downstream)


def macdonald(scheme: str, cell: float = 5.0) -> dict[str, Any]:
    """Long subcritical channel with Manning friction (MacDonald 1997; SWASHES 3.2.1): 1,000 m, q = 2 m²/s, n = 0.033."""
    q, n, length = 2.0, 0.033, 1000.0

    def depth(x: Any) -> Any:
        return (4 / G) ** (1 / 3) * (1 + 0.5 * np.exp(-16 * (x / length - 0.5) ** 2))

    fine = np.linspace(0, length, 20001)
    h = depth(fine)
    fall = (1 - q * q / (G * h**3)) * np.gradient(h, fine) + n * n * q * q / h ** (10 / 3)
    bed = np.concatenate([[0], np.cumsum((fall[1:] + fall[:-1]) / 2 * np.diff(fine))])
    x = (np.arange(round(length / cell)) + 0.5) * cell
    z = np.interp(x, fine, bed[-1] - bed)
    s = Solver(z[None], cell, n, scheme, open_sides=("east",))
    s.set_depth(depth(x)[None])
    s.set_velocity((q / depth(x))[None], np.zeros((1, len(x))))
    channel(s, 3000.0, q, float(z[-1] + depth(x[-1])))
    exact, inner = depth(x), (x > 30) & (x < 970)
    return {"x": x, "z": z, "h": s.depth[0].copy(), "exact": exact, "error": float(np.abs(s.depth[0] - exact)[inner].mean() / exact.mean())}


def thacker(scheme: str, cells: int = 100) -> dict[str, Any]:
    """A plane surface turning in a paraboloid without friction (Thacker 1981; SWASHES 4.2.2), one period; L1 over mean depth."""
    size, h0, a, eta = 4.0, 0.1, 1.0, 0.5
    cell = size / cells
    x, y = np.meshgrid((np.arange(cells) + 0.5) * cell - 2, (np.arange(cells) + 0.5) * cell - 2)
    bed = -h0 * (1 - (x**2 + y**2) / a**2)
    omega = np.sqrt(2 * G * h0) / a
    depth = np.maximum(eta * h0 / a**2 * (2 * x - eta) - bed, 0)  # t = 0 and t = one period
    s = Solver(bed, cell, 0.0, scheme)
    s.set_depth(depth)
    s.set_velocity(np.zeros_like(bed), np.full_like(bed, eta * omega))
    before = s.volume()
    run(s, 2 * np.pi / omega)
    return {"x": x[cells // 2], "z": bed[cells // 2], "h": s.depth[cells // 2].copy(), "exact": depth[cells // 2],
            "error": float(np.abs(s.depth - depth).sum() / depth.sum()), "mass": s.volume() / before - 1}  # fmt: skip


def rain_on_plane(scheme: str, slope: float, cell: float = 5.0, length: float = 500.0) -> dict[str, Any]:
    """100 mm/h on a plane, n = 0.03, to the steady state: h = (n·i·x/√S)^(3/5) (kinematic wave; Henderson & Wooding 1964)."""
    n, rate = 0.03, 0.1 / 3600
    x = (np.arange(round(length / cell)) + 0.5) * cell
    s = Solver((slope * (length - x))[None], cell, n, scheme, open_sides=("east",))
    end = 1.8 * (n * length / (np.sqrt(slope) * rate ** (2 / 3))) ** 0.6
    fallen = 0.0
    while s.time < end - 1e-9:
        dt = min(2.0, end - s.time)
        sources.rain(s.state, s.weight, rate * dt, s.ghost)
        s.mark_wet()
        fallen += rate * dt * len(x) * cell**2
        run(s, s.time + dt)
    exact = (n * rate * (x + cell / 2) / np.sqrt(slope)) ** 0.6  # what leaves a cell has fallen on all of it
    inner = (x > 0.2 * length) & (x < 0.9 * length)
    return {"x": x, "h": s.depth[0].copy(), "exact": exact, "error": float(np.abs(s.depth[0] / exact - 1)[inner].max()),
            "mass": (s.volume() - sum(s.edge_volume.values())) / fallen - 1}  # fmt: skip


def interpolated(path: Path, scale: float = 1.0) -> Callable[[float], float]:
    """A two-column CSV as a function of time (s)."""
    table = np.loadtxt(path, delimiter=",", skiprows=1)
    return lambda t: float(np.interp(t, table[:, 0] * scale, table[:, 1]))


def ea_test3(scheme: str, folder: Path) -> dict[str, Any]:
    """EA SC120002 test 3 (momentum over an obstruction), 300 × 100 m at 2 m, n = 0.01: final levels at (150, 50) and (250, 50)."""
    grid = np.loadtxt(folder / "test3DEM.asc", skiprows=6)
    bed = grid[10:61, 25:176]  # x 0…302, y 0…102 of lower-left (−50, −20)
    inflow = interpolated(folder / "Test3BC.csv")
    s = Solver(bed.copy(), 2.0, 0.01, scheme)
    rows = np.arange(bed.shape[0])
    added = 0.0

    def each(dt: float) -> None:
        nonlocal added
        volume = (inflow(s.time) + inflow(s.time - dt)) / 2 * dt
        added += volume
        s.add((rows, np.zeros_like(rows)), volume / (len(rows) * 4))

    series = []
    for t in range(1, 91):
        run(s, t * 10.0, each, longest=0.5 if t < 5 else 1e9)
        level = s.level()
        series.append((t * 10.0, float(level[25, 75]), float(level[25, 125])))
    return {"series": np.array(series), "p1": series[-1][1], "p2": series[-1][2], "mass": s.volume() / added - 1}


EA4_POINTS = ((50, 1000), (100, 1000), (200, 1000), (300, 1000), (400, 1000), (300, 1300))


def ea_test4(scheme: str, folder: Path, end: float = 7260.0, cell: float = 5.0) -> dict[str, Any]:
    """EA SC120002 test 4 (a breach on a plain), 1,000 × 2,000 m, n = 0.05: depths at six points every minute.

    The points lie on cell corners; the reference reads the cell to the east (depth falls by 1 mm a metre there), so does this.
    """
    rows, columns = round(2000 / cell), round(1000 / cell)
    inflow = interpolated(folder / "Test4BC.csv", 60.0)
    s = Solver(np.zeros((rows, columns)), cell, 0.05, scheme)
    width = round(20 / cell)
    line = (np.arange(rows // 2 - width // 2, rows // 2 + width // 2), np.zeros(width, np.int64))
    added = 0.0

    def each(dt: float) -> None:
        nonlocal added
        volume = (inflow(s.time) + inflow(s.time - dt)) / 2 * dt
        added += volume
        s.add(line, volume / (width * cell**2))

    series = []
    for t in np.arange(60.0, end + 1, 60.0):
        run(s, float(t), each)
        series.append([t, *(float(np.mean(s.depth[round((2000 - y) / cell) - 1 : round((2000 - y) / cell) + 1, round(x / cell)]))
                            for x, y in EA4_POINTS)])  # fmt: skip
    return {"series": np.array(series), "mass": s.volume() / added - 1, "steps": s.steps}


def newcastle(scheme: str, folder: Path, end: float = 1800.0) -> dict[str, Any]:
    """A real 2 m city grid with buildings in it, 70 mm/h of rain: volume error of the field against the rain."""
    import rasterio

    with rasterio.open(folder / "NewcastleCentreDEM_2m.img") as file:
        bed = file.read(1).astype(np.float64)
    s = Solver(bed, 2.0, 0.03, scheme)
    fallen = 0.0
    while s.time < end - 1e-9:
        dt = min(2.0, end - s.time)
        sources.rain(s.state, s.weight, 0.07 / 3600 * dt, s.ghost)
        s.mark_wet()
        fallen += 0.07 / 3600 * dt
        run(s, s.time + dt)
    return {"h": s.depth.copy(), "mass": s.volume() / (fallen * bed.size * 4) - 1, "steps": s.steps, "lowest": float(s.depth.min())}
