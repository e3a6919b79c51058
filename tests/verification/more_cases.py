"""More flood cases with known answers: smooth solutions with a closed form, and a street flood that was observed.

SWASHES: Delestre et al. 2013, doi:10.1002/fld.3741. Merewether: Australian Rainfall & Runoff, revision project 15, 2012.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from flood_cases import G, run

from scenarios.flood.solver import Solver
from scenarios.kernels import sources


def simple_wave(scheme: str, cells: int) -> dict[str, Any]:
    """A smooth wave that runs to the right into still water, before it breaks: L1 over mean depth, float64.

    Along dx/dt = 3·√(gh) − 2·√(gh₀) the depth of a simple wave is kept (Stoker 1957, 10.4).
    """
    length, rest, high, end = 1000.0, 1.0, 0.2, 30.0
    cell = length / cells
    x = (np.arange(cells) + 0.5) * cell

    def start(at: np.ndarray) -> np.ndarray:
        return rest + high * np.exp(-(((at - 300.0) / 60.0) ** 2))

    exact = start(x)
    for _ in range(200):  # the fixed point of h = start(x − c(h)·t): a contraction as long as no wave breaks
        exact = start(x - (3 * np.sqrt(G * exact) - 2 * np.sqrt(G * rest)) * end)
    s = Solver(np.zeros((1, cells)), cell, 0.0, scheme, dtype=np.float64)
    s.set_depth(start(x)[None])
    s.set_velocity((2 * (np.sqrt(G * start(x)) - np.sqrt(G * rest)))[None], np.zeros((1, cells)))
    run(s, end)
    return {"x": x, "h": s.depth[0].copy(), "exact": exact, "error": float(np.abs(s.depth[0] - exact).sum() / exact.sum())}


def thacker_radial(scheme: str, cells: int = 100) -> dict[str, Any]:
    """A round surface that rises and falls in a paraboloid without friction (Thacker 1981; SWASHES 4.2.1), half a period and a whole one."""
    size, h0, a, r0 = 4.0, 0.1, 1.0, 0.8
    cell = size / cells
    x, y = np.meshgrid((np.arange(cells) + 0.5) * cell - 2, (np.arange(cells) + 0.5) * cell - 2)
    square = x**2 + y**2
    bed, omega, ratio = -h0 * (1 - square / a**2), np.sqrt(8 * G * h0) / a, (a**2 - r0**2) / (a**2 + r0**2)

    def depth(t: float) -> np.ndarray:
        swing = 1 - ratio * np.cos(omega * t)
        surface = h0 * (np.sqrt(1 - ratio**2) / swing - 1 - square / a**2 * ((1 - ratio**2) / swing**2 - 1))
        return np.maximum(surface - bed, 0)

    s = Solver(bed, cell, 0.0, scheme)
    s.set_depth(depth(0.0))
    before, errors = s.volume(), []
    for part in (0.5, 1.0):
        end = part * 2 * np.pi / omega
        run(s, end)
        errors.append(float(np.abs(s.depth - depth(end)).sum() / depth(end).sum()))
    return {"x": x[cells // 2], "z": bed[cells // 2], "h": s.depth[cells // 2].copy(), "exact": depth(end)[cells // 2],
            "error": max(errors), "mass": s.volume() / before - 1}  # fmt: skip


def macdonald_rain_bed(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(bed, depth) at `x` of the subcritical channel with rain (SWASHES 3.3.1): 1,000 m, 1 m²/s and 1 mm/s of rain, n = 0.033."""
    length, n = 1000.0, 0.033

    def depth(at: np.ndarray) -> np.ndarray:
        return np.asarray((4 / G) ** (1 / 3) * (1 + 0.5 * np.exp(-16 * (at / length - 0.5) ** 2)))

    fine = np.linspace(0, length, 20001)
    h, q = depth(fine), 1.0 + 0.001 * fine
    fall = (1 - q * q / (G * h**3)) * np.gradient(h, fine) + 2 * q * 0.001 / (G * h * h) + n * n * q * q / h ** (10 / 3)
    down = np.concatenate([[0], np.cumsum((fall[1:] + fall[:-1]) / 2 * np.diff(fine))])
    return np.interp(x, fine, down[-1] - down), depth(x)


def macdonald_rain(scheme: str, cell: float = 5.0) -> dict[str, Any]:
    """The steady channel of `macdonald_rain_bed`; L1 over mean depth beyond the inflow cell and before the held outflow."""
    x = (np.arange(round(1000 / cell)) + 0.5) * cell
    z, exact = macdonald_rain_bed(x)
    s = Solver(z[None], cell, 0.033, scheme, open_sides=("east",))
    s.set_depth(exact[None])
    s.set_velocity(((1.0 + 0.001 * x) / exact)[None], np.zeros((1, len(x))))
    first, last = (np.zeros(1, np.int64), np.zeros(1, np.int64)), (np.zeros(1, np.int64), np.full(1, len(x) - 1))

    def each(dt: float) -> None:
        sources.rain(s.state, s.weight, 0.001 * dt, s.ghost)
        s.add(first, 1.0 * dt / cell)
        s.hold_level(last, float(z[-1] + exact[-1]))

    run(s, 3000.0, each)
    inner = (x > 30) & (x < 970)
    return {"x": x, "z": z, "h": s.depth[0].copy(), "exact": exact, "error": float(np.abs(s.depth[0] - exact)[inner].mean() / exact.mean())}


def merewether(scheme: str, folder: Path, step: int = 1, end: float = 1000.0) -> dict[str, Any]:
    """A creek in flood runs through a street of houses (19.7 m³/s): levels at five points beside observed and TUFLOW's.

    Args:
        scheme: of the solver. folder: DEM (1 m), houses, roads and points. step: cells of the DEM a cell of the run; end: s.
    The inflow stands beside the south-west corner; those two sides are closed, so that it does not leave where it enters.
    """
    with (folder / "topography1.asc").open(encoding="ascii") as file:
        head = {key.lower(): float(value) for key, value in (next(file).split() for _ in range(6))}
        grid = np.loadtxt(file)
    grid = grid[: grid.shape[0] // step * step, : grid.shape[1] // step * step]
    void = grid == head["nodata_value"]
    rows, columns = grid.shape[0] // step, grid.shape[1] // step
    blocks = np.where(void, np.nan, grid).reshape(rows, step, columns, step)
    lost = np.isnan(blocks).any(axis=(1, 3))
    bed = np.where(lost, 0.0, np.nan_to_num(blocks).mean(axis=(1, 3)))
    cell = head["cellsize"] * step
    west, north = head["xllcorner"], head["yllcorner"] + head["nrows"] * head["cellsize"]
    x, y = np.meshgrid(west + (np.arange(columns) + 0.5) * cell, north - (np.arange(rows) + 0.5) * cell)
    houses = shapely.union_all([shapely.geometry.shape(f["geometry"]) for f in json.loads((folder / "houses.geojson").read_text())["features"]])
    walls = shapely.contains_xy(houses, x, y)
    road = shapely.contains_xy(shapely.Polygon(np.loadtxt(folder / "road_polygon.csv", delimiter=",")), x, y)
    s = Solver(bed, cell, np.where(road, 0.02, 0.04), scheme, blocked=walls | lost, open_sides=("north", "east"))
    source = np.nonzero(((x - 382265.0) ** 2 + (y - 6354280.0) ** 2 <= 100) & ~(walls | lost))
    run(s, end, lambda dt: s.add(source, 19.7 * dt / (len(source[0]) * s.cell**2)))
    points = np.loadtxt(folder / "observation_points.csv", delimiter=",", skiprows=1)
    at = ((north - points[:, 1]) / cell).astype(int), ((points[:, 0] - west) / cell).astype(int)
    gone = sum(s.edge_volume.values())
    return {"id": points[:, 2].astype(int), "level": s.level()[at], "depth": s.depth[at], "observed": points[:, 3], "tuflow": points[:, 5], "h": s.depth.copy(),
            "mass": (s.volume() - gone) / (19.7 * end) - 1, "cell": cell}  # fmt: skip
