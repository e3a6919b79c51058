# mypy: disable-error-code="untyped-decorator,no-any-return"
"""How far the terrain's triangles are from the raster: measured at cells of the full raster, not at the mesh's own lattice.

The sample's places are projected cell by cell through `twin.crs`, so it also catches errors of the interpolated projection
and of the overviews that the tiler uses.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tiling.terrain.heights import HeightField
from tiling.terrain.rtin import STEPS, surface
from twin import crs
from twin.compiled import njit

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
SIDE = 64
MOST = 64


@dataclass(frozen=True)
class Audit:
    """Cells of the raster: longitude and latitude (degrees) of their centres and ellipsoidal heights; each (N,)."""

    lon: F64
    lat: F64
    height: F64

    def measure(self, height: F64, cost: F32, allowed: float, x0: int, y0: int, z: int, lon: F64, lat: F64) -> tuple[float, float, int]:
        """(largest distance, sum of squares, number of cells) of the cells on the tiles of a block.

        `height`, `cost`: the block's lattice with its ring, which begins at tile (x0, y0) of level z; `lon`, `lat`: its degrees.
        """
        here = (self.lon >= lon[STEPS]) & (self.lon < lon[-STEPS - 1]) & (self.lat >= lat[STEPS]) & (self.lat < lat[-STEPS - 1])
        if not here.any():
            return 0.0, 0.0, 0
        scale = 2**z / 180 * STEPS
        x, y = (self.lon[here] + 180) * scale - x0 * STEPS, (self.lat[here] + 90) * scale - y0 * STEPS
        return _measure(height, cost, allowed, x, y, self.height[here])


@njit(cache=True, nogil=True, error_model="numpy")
def _measure(height: F64, cost: F32, allowed: float, x: F64, y: F64, truth: F64) -> tuple[float, float, int]:
    worst, total = 0.0, 0.0
    for i in range(x.size):
        column, row = int(x[i]) // STEPS * STEPS, int(y[i]) // STEPS * STEPS
        error = abs(surface(height, cost, row, column, allowed, x[i] - column, y[i] - row) - truth[i])
        worst = max(worst, error)
        total += error * error
    return worst, total, x.size


def draw_audit(fields: Sequence[HeightField]) -> Audit:
    """Every cell of a small raster; of a large one 64 squares of 64 × 64 cells spread evenly (a fixed choice).

    `fields`: finest first; of the coarser ones only cells where no finer one has anything to say.
    """
    found = []
    for k, field in enumerate(fields):
        columns, rows = field.size
        for left, top in [(c, r) for r in _starts(rows) for c in _starts(columns)]:
            lon, lat, height = _square(field, left, top)
            for finer in fields[:k]:
                free = ~_covered(finer, lon, lat)
                lon, lat, height = lon[free], lat[free], height[free]
            found.append((lon, lat, height))
    lon, lat, height = (np.concatenate([p[k] for p in found]) for k in range(3))
    return Audit((lon + 180.0) % 360.0 - 180.0, lat, height)


def _covered(field: HeightField, lon: F64, lat: F64) -> NDArray[np.bool_]:
    """Whether any of the four cells around each place holds data."""
    covered = np.zeros(lon.shape, bool)
    x, y = crs.from_lonlat(field.reference.horizontal, field.turned(lon), lat)
    column, row = field.inverse * (x, y)
    with np.errstate(invalid="ignore"):
        near = np.flatnonzero((column > -1) & (row > -1) & (column < field.size[0] + 1) & (row < field.size[1] + 1))
    if len(near):
        c, r = np.floor(column[near] - 0.5).astype(np.int64), np.floor(row[near] - 0.5).astype(np.int64)
        left, top = max(int(c.min()), 0), max(int(r.min()), 0)
        right, bottom = min(int(c.max()) + 2, field.size[0]), min(int(r.max()) + 2, field.size[1])
        if right > left and bottom > top:
            known = np.pad(~np.isnan(field.cells(0, left, top, right - left, bottom - top)), 1)
            j, i = np.clip(c - left + 1, 0, known.shape[1] - 2), np.clip(r - top + 1, 0, known.shape[0] - 2)
            covered[near] = known[i, j] | known[i + 1, j] | known[i, j + 1] | known[i + 1, j + 1]
    return covered


def _starts(cells: int) -> list[int]:
    """Where squares begin along one side: side by side if they are few, else spread evenly."""
    count, most = -(-cells // SIDE), int(MOST**0.5)
    return [k * SIDE for k in range(count)] if count <= most else [int(v) for v in np.linspace(0, cells - SIDE, most)]


def _square(field: HeightField, left: int, top: int) -> tuple[F64, F64, F64]:
    data = field.cells(0, left, top, min(SIDE, field.size[0] - left), min(SIDE, field.size[1] - top)).astype(np.float64)
    row, column = np.nonzero(~np.isnan(data))
    t = ~field.inverse
    x = t.a * (column + left + 0.5) + t.b * (row + top + 0.5) + t.c
    y = t.d * (column + left + 0.5) + t.e * (row + top + 0.5) + t.f
    lon, lat = crs.to_lonlat(field.reference.horizontal, x, y)
    return lon, lat, data[row, column] * field.reference.vertical_unit + crs.datum_shift(field.reference, lon, lat)
