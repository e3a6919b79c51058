"""From a cloud's own coordinates to local east-north-up metres, fast: exact at the nodes of a grid, interpolated between.

A place depends smoothly on (x, y) and linearly on the height (it moves along the ellipsoid's normal), so a table of one
point and one normal a node, interpolated by parabolas in x and y, replaces a million calls of PROJ. The grid is refined
until the largest difference to the exact transform at test points is below `GOAL`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from twin import crs
from twin.angles import sine_cosine
from twin.model import Bounds, Reference

F64 = NDArray[np.float64]
GOAL = 2e-5
"""Metres: the interpolation error that the grid is refined to."""
ENOUGH = 1e-4
"""Metres: above this (a pole in degrees, half a country) no table is used, and each point goes through PROJ."""
MOST = 512
"""Patches along a side at most (50 MB of nodes)."""
TESTS = 20_000
METRES_A_DEGREE = 111_195.0


@dataclass(frozen=True)
class Frame:
    """Local east-north-up metres at a place. `matrix`: (4, 4) local → ECEF."""

    matrix: F64

    @staticmethod
    def at(lon: float, lat: float, height: float) -> Frame:
        """The frame at WGS 84 degrees and ellipsoidal metres."""
        return Frame(crs.enu_frame(lon, lat, height))

    def local(self, ecef: F64) -> F64:
        """(N, 3) ECEF metres → local metres."""
        return np.asarray((ecef - self.matrix[:3, 3]) @ self.matrix[:3, :3])

    def exact(self, reference: Reference, xyz: F64) -> F64:
        """(N, 3) coordinates of `reference` → local metres, point by point through PROJ."""
        return self.local(crs.to_ecef(reference, xyz))


@dataclass(frozen=True)
class Patches:
    """The interpolation table of one cloud.

    Attributes:
        origin: x, y of the first node. size: x, y extent of a patch. counts: patches in x, y.
        nodes: (2·ny + 1, 2·nx + 1, 6) local place at height 0 of the datum, and metres moved per metre of height.
        unit: metres per unit of the heights. error: largest difference to the exact transform seen, metres.
    """

    origin: tuple[float, float]
    size: tuple[float, float]
    counts: tuple[int, int]
    nodes: F64
    unit: float
    error: float

    def range_of(self, minz: float, maxz: float) -> tuple[F64, F64]:
        """Lowest and highest local coordinates of anything in the table between two heights (source units), with a margin."""
        flat = self.nodes.reshape(-1, 6)
        both = np.concatenate([flat[:, :3] + flat[:, 3:] * (z * self.unit) for z in (minz, maxz)])
        low, high = both.min(axis=0), both.max(axis=0)
        # Between nodes a parabola may pass beyond them, by far less than this.
        margin = 0.01 + 0.001 * (high - low) + 2 * self.error
        return low - margin, high + margin


def centre_of(reference: Reference, bounds: Bounds) -> tuple[float, float, float]:
    """Longitude°, latitude° and ellipsoidal height m of the middle of a box of absolute coordinates."""
    middle = np.array([[(bounds.minx + bounds.maxx) / 2, (bounds.miny + bounds.maxy) / 2, (bounds.minz + bounds.maxz) / 2]])
    lon, lat, height = crs.to_geodetic(reference, middle)[0]
    return float(lon), float(lat), float(height)


def origin_for(reference: Reference, bounds: Bounds) -> tuple[float, float, float]:
    """Longitude°, latitude° and ellipsoidal height m of the origin of a cloud's frame: near its middle, at a place of a grid half to once as wide.

    So a cloud that grows a little keeps its frame, and with it every lattice place.
    """
    lon, lat, height = centre_of(reference, bounds)
    corners = np.array([(x, y, z) for x in (bounds.minx, bounds.maxx) for y in (bounds.miny, bounds.maxy) for z in (bounds.minz, bounds.maxz)])
    size = max(float(np.ptp(Frame.at(lon, lat, height).exact(reference, corners), axis=0).max()), 1.0)
    step = 2.0 ** (np.ceil(np.log2(size)) - 1)
    angle = step / METRES_A_DEGREE
    return float(np.clip(round(lon / angle) * angle, -180, 180)), float(np.clip(round(lat / angle) * angle, -90, 90)), float(round(height / step) * step)


def fit(reference: Reference, bounds: Bounds, frame: Frame, goal: float = GOAL) -> Patches:
    """A table for all points in `bounds`, refined until its measured error is below `goal` metres, or no number of patches up to `MOST` will make it `ENOUGH`."""
    width, height = max(bounds.maxx - bounds.minx, 1e-9), max(bounds.maxy - bounds.miny, 1e-9)
    long = max(width, height)
    count = 1
    while True:
        counts = (max(1, round(count * width / long)), max(1, round(count * height / long)))
        size = (width / counts[0], height / counts[1])
        nodes = _nodes(reference, frame, (bounds.minx, bounds.miny), size, counts)
        table = Patches((bounds.minx, bounds.miny), size, counts, nodes, reference.vertical_unit, 0.0)
        error = _error(reference, bounds, frame, table)
        hopeless = error * (count / MOST) ** 3 > ENOUGH  # halving the patches takes an eighth of the error at best
        if error <= goal or count >= MOST or hopeless:
            return Patches(table.origin, size, counts, nodes, table.unit, error)
        count *= 2


def _nodes(reference: Reference, frame: Frame, origin: tuple[float, float], size: tuple[float, float], counts: tuple[int, int]) -> F64:
    x = origin[0] + np.arange(2 * counts[0] + 1) * (size[0] / 2)
    y = origin[1] + np.arange(2 * counts[1] + 1) * (size[1] / 2)
    xs, ys = (a.ravel() for a in np.meshgrid(x, y))
    lon, lat = crs.to_lonlat(reference.horizontal, xs, ys)
    ground = np.column_stack([lon, lat, crs.datum_shift(reference, lon, lat)])
    place = frame.local(crs.geodetic_to_ecef(ground))
    (sin_lon, cos_lon), (sin_lat, cos_lat) = sine_cosine(lon), sine_cosine(lat)
    normal = np.column_stack([cos_lat * cos_lon, cos_lat * sin_lon, sin_lat]) @ frame.matrix[:3, :3]
    return np.ascontiguousarray(np.hstack([place, normal]).reshape(len(y), len(x), 6))


def _error(reference: Reference, bounds: Bounds, frame: Frame, table: Patches) -> float:
    """Largest distance to the exact transform at places spread by a fixed low-discrepancy sequence (R2, Roberts 2018)."""
    count = min(TESTS, 16 * table.counts[0] * table.counts[1] + 64)
    steps = np.arange(1, count + 1)[:, None] * np.array([0.7548776662466927, 0.5698402909980532, 0.3819660112501051])
    unit = steps % 1.0
    low = np.array([bounds.minx, bounds.miny, bounds.minz])
    xyz = low + unit * (np.array([bounds.maxx, bounds.maxy, bounds.maxz]) - low)
    return float(np.linalg.norm(interpolate(table, xyz) - frame.exact(reference, xyz), axis=1).max())


def interpolate(table: Patches, xyz: F64) -> F64:
    """(N, 3) source coordinates → local metres by the table; the plain form of what the kernel computes."""
    total = np.zeros((len(xyz), 6))
    cells, weights = [], []
    for axis in (0, 1):
        t = (xyz[:, axis] - table.origin[axis]) / table.size[axis]
        cell = np.clip(np.floor(t).astype(np.int64), 0, table.counts[axis] - 1)
        u = t - cell
        cells.append(cell)
        weights.append(((1 - u) * (1 - 2 * u), 4 * u * (1 - u), u * (2 * u - 1)))
    for j in range(3):
        for i in range(3):
            total += (weights[0][i] * weights[1][j])[:, None] * table.nodes[2 * cells[1] + j, 2 * cells[0] + i]
    return np.asarray(total[:, :3] + total[:, 3:] * (xyz[:, 2] * table.unit)[:, None])
