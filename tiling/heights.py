# mypy: disable-error-code="untyped-decorator,no-any-return"
"""A terrain raster as a field of ellipsoidal heights over the whole globe, at any level of detail.

* **Detail.** A level samples the coarsest overview whose cells are not larger than its mesh, bilinear between cell
  centres; overviews are averages, so coarse tiles do not alias. Overviews too coarse for the file are made in memory.
* **Voids** are filled from the data around them, up to 64 cells away, by inverse distance; farther from the next coarser
  overview, and that from the next. More than about 128 cells from any data a void lies at sea level.
* **Outside** the raster the ground falls from the height of its edge to sea level (the EGM96 geoid) within `apron` metres,
  and is sea level beyond. Nothing is known there; a sea keeps far views plausible, and the apron spares a city in the
  mountains the look of a tower.

Being a function of place alone is what makes tiles meet: a shared vertex gets the same height in both.
"""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numba import njit
from numpy.typing import NDArray
from rasterio.fill import fillnodata
from rasterio.windows import Window

from tiling.quantized_mesh import QUANTA
from tiling.rtin import STEPS
from twin import crs
from twin.model import ELLIPSOID, Bounds, Reference

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
MAX = 32767
FILL_LEVELS = 7
PATCH = 64
UNKNOWN = np.float32(-1e30)
DEGREE = 111_195.0  # metres per degree of a great circle of 6371 km
#: From this level on a tile (0.7° or less) is so small that a polynomial of degree 4 stands for its map projection.
SMALL = 8
NODES = np.array([0, 16, 32, 48, 64])


def _lagrange() -> F64:
    """(65, 5) weights of the values at the nodes for each lattice position; exactly 0 and 1 at the nodes."""
    t, n = QUANTA / MAX, QUANTA[NODES] / MAX
    weights = np.ones((STEPS + 1, 5))
    for k in range(5):
        for j in range(5):
            if j != k:
                weights[:, k] *= (t - n[j]) / (n[k] - n[j])
    weights[NODES] = np.eye(5)
    return weights


_WEIGHTS = _lagrange()


@njit(cache=True, nogil=True, error_model="numpy")
def _expand(nodes: F64, weights: F64, out: F64) -> None:
    """Values at every fourth of a tile (4 n + 1 a side) → values at its 65 lattice positions; equal on shared edges."""
    tiles_y, tiles_x = (nodes.shape[0] - 1) // 4, (nodes.shape[1] - 1) // 4
    rows = np.empty((5, STEPS + 1))
    for ty in range(tiles_y):
        for tx in range(tiles_x):
            for j in range(5):
                for i in range(STEPS + 1):
                    total = 0.0
                    for k in range(5):
                        total += weights[i, k] * nodes[4 * ty + j, 4 * tx + k]
                    rows[j, i] = total
            for i in range(STEPS + 1):
                for c in range(STEPS + 1):
                    total = 0.0
                    for k in range(5):
                        total += weights[i, k] * rows[k, c]
                    out[STEPS * ty + i, STEPS * tx + c] = total


@njit(cache=True, nogil=True, error_model="numpy")
def _gather(column: F64, row: F64, scale_x: float, scale_y: float, data: F32, left: int, top: int, columns: int, rows: int,
            total: F64, rest: F64, reach: float) -> bool:  # fmt: skip
    """Add the bilinear mean of the cells with data around each place, times what `rest` still lacks; True if some lack more.

    `column`, `row` are in cells of the full raster; `data` is a window of an overview (`columns` × `rows`) from (left, top).
    With `reach` 2 the cells that have data count fully up to half a cell beyond them, with 1 they give way from their centres on.
    """
    lacking = False
    flat_c, flat_r, flat_total, flat_rest = column.ravel(), row.ravel(), total.ravel(), rest.ravel()
    for i in range(flat_c.size):
        if flat_rest[i] <= 0.0:
            continue
        c = min(max(flat_c[i] / scale_x - 0.5, 0.0), columns - 1.0)
        r = min(max(flat_r[i] / scale_y - 0.5, 0.0), rows - 1.0)
        c0, r0 = int(c), int(r)
        u, v = c - c0, r - r0
        c1, r1 = min(c0 + 1, columns - 1) - left, min(r0 + 1, rows - 1) - top
        c0, r0 = c0 - left, r0 - top
        found, weight = 0.0, 0.0
        z = data[r0, c0]
        w = (1 - u) * (1 - v)
        if not math.isnan(z):
            found += w * z
            weight += w
        z = data[r0, c1]
        w = u * (1 - v)
        if not math.isnan(z):
            found += w * z
            weight += w
        z = data[r1, c0]
        w = (1 - u) * v
        if not math.isnan(z):
            found += w * z
            weight += w
        z = data[r1, c1]
        w = u * v
        if not math.isnan(z):
            found += w * z
            weight += w
        trust = min(1.0, reach * weight)
        if weight > 0.0:
            flat_total[i] += flat_rest[i] * trust * found / weight
        left_over = flat_rest[i] * (1 - trust)
        if left_over < 1e-9:
            left_over = 0.0
        else:
            lacking = True
        flat_rest[i] = left_over
    return lacking


@dataclass
class HeightField:
    """Ellipsoidal heights of a terrain COG.

    Attributes:
        path: COG of one band; reference: its CRS, datum and unit.
        apron: metres over which the ground falls to sea level outside the raster.
        fill: whether voids are filled from their surroundings; else they lie at sea level.
    """

    path: Path
    reference: Reference
    apron: float = 5000.0
    fill: bool = True
    _local: Any = field(default_factory=threading.local, repr=False)
    _opened: list[Any] = field(default_factory=list, repr=False)

    def __post_init__(self) -> None:
        with rasterio.open(self.path) as file:
            self.size = (file.width, file.height)
            self.inverse = ~file.transform
            self.bounds = Bounds(*file.bounds)
            factors = file.overviews(1)
        self.extent = crs.extent_of(self.reference, self.bounds)
        self.cell = self._cell_metres()
        self.sizes = [self.size]
        for k in range(len(factors)):
            with rasterio.open(self.path, overview_level=k) as file:
                self.sizes.append((file.width, file.height))
        self.stored = len(self.sizes)
        self._coarse: list[F32] = []
        last = self.cells(self.stored - 1, 0, 0, *self.sizes[-1])
        while max(last.shape) > 1:
            last = _halve(last)
            self._coarse.append(last)
            self.sizes.append((last.shape[1], last.shape[0]))

    def _cell_metres(self) -> tuple[float, float]:
        """(east, north) size of a cell in the middle of the raster, metres on the ground."""
        b = self.bounds
        x, y = (b.minx + b.maxx) / 2, (b.miny + b.maxy) / 2
        dx, dy = (b.maxx - b.minx) / self.size[0], (b.maxy - b.miny) / self.size[1]
        lon, lat = crs.to_lonlat(self.reference.horizontal, np.array([x, x + dx, x]), np.array([y, y, y + dy]))
        east = math.hypot((lon[1] - lon[0]) * math.cos(math.radians(lat[0])), lat[1] - lat[0]) * DEGREE
        north = math.hypot((lon[2] - lon[0]) * math.cos(math.radians(lat[0])), lat[2] - lat[0]) * DEGREE
        return east, north

    def close(self) -> None:
        """Close the files of all threads."""
        for file in self._opened:
            file.close()

    def level_for(self, spacing: float) -> int:
        """The coarsest overview whose cells are not larger than `spacing` metres (0 is the full raster)."""
        cell = math.sqrt(self.cell[0] * self.cell[1])
        return min(max(math.floor(math.log2(spacing / cell) + 1e-6), 0), len(self.sizes) - 1)

    def voids(self) -> int:
        """How many cells have no data (the raster is read once)."""
        count = 0
        for row in range(0, self.size[1], 512):
            rows = min(512, self.size[1] - row)
            count += int(np.isnan(self.cells(0, 0, row, self.size[0], rows)).sum())
        return count

    def cells(self, level: int, left: int, top: int, columns: int, rows: int) -> F32:
        """Cells of an overview as float32, NaN in voids."""
        if level >= self.stored:
            return self._coarse[level - self.stored][top : top + rows, left : left + columns]
        files = self._local.__dict__.setdefault("files", {})
        if level not in files:
            files[level] = rasterio.open(self.path) if level == 0 else rasterio.open(self.path, overview_level=level - 1)
            self._opened.append(files[level])
        file = files[level]
        raw = file.read(1, window=Window(left, top, columns, rows))
        data = raw.astype(np.float32, copy=False)
        if file.nodata is not None and not math.isnan(file.nodata):
            data = np.where(raw == raw.dtype.type(file.nodata), np.float32(np.nan), data)
        return data

    def _patched(self, level: int, left: int, top: int, columns: int, rows: int) -> F32:
        """Cells of an overview, voids up to `PATCH` cells (of the full raster) from data filled from the cells around them.

        Inverse-distance weighting towards the nearest data in four quadrants (GDAL's fillnodata). The window is read with a
        margin as wide as the search, so what a cell becomes does not depend on the window.
        """
        width, height = self.sizes[level]
        reach = max(PATCH >> level, 4)
        west, north = min(left, reach), min(top, reach)
        east, south = min(width - left - columns, reach), min(height - top - rows, reach)
        data = self.cells(level, left - west, top - north, columns + west + east, rows + north + south)
        mask = ~np.isnan(data)
        if not mask.all() and mask.any():
            data = fillnodata(np.where(mask, data, UNKNOWN), mask.astype(np.uint8), max_search_distance=reach)
            data = np.where(data == UNKNOWN, np.float32(np.nan), data)
        return np.ascontiguousarray(data[north : north + rows, west : west + columns])

    def sample(self, lon: F64, lat: F64, z: int, spacing: float) -> F64:
        """(rows, columns) ellipsoidal metres at the lattice of WGS 84 degrees lon (columns,) × lat (rows,) of tile level z.

        Both hold 64 n + 1 positions of whole tiles; `spacing` is their distance in metres.
        """
        sea = geoid(lon, lat)
        lon = (lon + 180.0) % 360.0 - 180.0
        inside_c, inside_r = self._near_lon(lon), self._near_lat(lat)
        if not inside_c.any() or not inside_r.any():
            return sea
        # whole tiles around what is near the data, so that the projection can be interpolated
        c, r = _whole_tiles(inside_c), _whole_tiles(inside_r)
        column, row = self._cells(lon[c], lat[r], z)
        heights, share = self._heights(column, row, self.level_for(spacing))
        del column, row
        heights *= self.reference.vertical_unit
        heights += self.reference.vertical_offset * share
        if self.reference.vertical == ELLIPSOID:
            sea[r, c] *= 1 - share
        sea[r, c] += heights
        return sea

    def _near_lon(self, lon: F64) -> NDArray[np.bool_]:
        margin = 1.05 * self.apron / DEGREE / max(math.cos(math.radians(min(abs(self.extent.miny), abs(self.extent.maxy), 89.0) + 0.1)), 0.01)
        return np.asarray((lon >= self.extent.minx - margin) & (lon <= self.extent.maxx + margin))

    def _near_lat(self, lat: F64) -> NDArray[np.bool_]:
        margin = 1.05 * self.apron / DEGREE
        return np.asarray((lat >= self.extent.miny - margin) & (lat <= self.extent.maxy + margin))

    def _cells(self, lon: F64, lat: F64, z: int) -> tuple[F64, F64]:
        """Fractional column and row of the full raster at each lattice point; NaN where the projection does not reach."""
        if z < SMALL or self.reference.horizontal == "EPSG:4326":
            return self._to_cells(*np.meshgrid(lon, lat))
        at_x, at_y = np.arange(len(lon))[::16], np.arange(len(lat))[::16]
        nodes = self._to_cells(*np.meshgrid(lon[at_x], lat[at_y]))
        if not (np.isfinite(nodes[0]).all() and np.isfinite(nodes[1]).all()):
            return self._to_cells(*np.meshgrid(lon, lat))
        column, row = np.empty((len(lat), len(lon))), np.empty((len(lat), len(lon)))
        _expand(nodes[0], _WEIGHTS, column)
        _expand(nodes[1], _WEIGHTS, row)
        return column, row

    def _to_cells(self, lon: F64, lat: F64) -> tuple[F64, F64]:
        x, y = crs.from_lonlat(self.reference.horizontal, lon, lat)
        t = self.inverse
        good = np.isfinite(x) & np.isfinite(y)
        x, y = np.where(good, x, np.nan), np.where(good, y, np.nan)
        return t.a * x + t.b * y + t.c, t.d * x + t.e * y + t.f

    def _heights(self, column: F64, row: F64, level: int) -> tuple[F64, F64 | float]:
        """(height in the raster's unit × share, share of the ground that is not sea) at places in cells of the full raster."""
        inside = column.min() >= 0 and row.min() >= 0 and column.max() <= self.size[0] and row.max() <= self.size[1]
        share = 1.0 if inside else self._share(column, row)
        total, rest = np.zeros(column.shape), np.ones(column.shape) if isinstance(share, float) else (share > 0).astype(np.float64)
        if isinstance(share, float):
            c, r = column, row
        elif (share > 0).any():
            c, r = np.clip(column[share > 0], 0, self.size[0]), np.clip(row[share > 0], 0, self.size[1])
        else:
            return total, share
        box = (float(c.min()), float(c.max()), float(r.min()), float(r.max()))
        last = max(level, FILL_LEVELS) if self.fill else level
        for k in range(level, min(last, len(self.sizes) - 1) + 1):
            if not self._add(k, column, row, box, total, rest, 2.0 if k == level else 1.0):
                total *= share
                return total, share
        total *= share
        return total, share * (1 - rest)

    def _share(self, column: F64, row: F64) -> F64:
        """1 on the raster, falling to 0 at the foot of the apron."""
        beyond_x = np.maximum(np.maximum(-column, column - self.size[0]), 0.0) * self.cell[0]
        beyond_y = np.maximum(np.maximum(-row, row - self.size[1]), 0.0) * self.cell[1]
        distance = np.hypot(beyond_x, beyond_y)
        t = np.clip(1 - distance / self.apron, 0, 1) if self.apron > 0 else (distance <= 0).astype(np.float64)
        return np.where(np.isfinite(distance), t * t * (3 - 2 * t), 0.0)

    def _add(
        self, level: int, column: F64, row: F64, box: tuple[float, float, float, float], total: F64, rest: F64, reach: float
    ) -> bool:
        width, height = self.sizes[level]
        sx, sy = self.size[0] / width, self.size[1] / height
        left, right = max(int(box[0] / sx - 0.5) - 1, 0), min(int(box[1] / sx + 0.5) + 2, width)
        top, bottom = max(int(box[2] / sy - 0.5) - 1, 0), min(int(box[3] / sy + 0.5) + 2, height)
        read = self._patched if self.fill and reach > 1 else self.cells
        data = read(level, left, top, right - left, bottom - top)
        return bool(_gather(column, row, sx, sy, data, left, top, width, height, total, rest, reach))


def geoid(lon: F64, lat: F64) -> F64:
    """(rows, columns) undulation of EGM96 at degrees lon (columns,) × lat (rows,), as `crs.undulation` gives it.

    That is bilinear in 5′ cells, so on a fine lattice it is asked only at the cells' corners, and compared at a few places:
    should it ever be made finer, the lattice is asked point by point again.
    """
    first = (math.floor((lon[0] + 180) * 12), math.floor((lat[0] + 90) * 12))
    counts = (math.floor((lon[-1] + 180) * 12) - first[0] + 2, math.floor((lat[-1] + 90) * 12) - first[1] + 2)
    shape = (len(lat), len(lon))
    if counts[0] * counts[1] * 8 < len(lon) * len(lat):
        corner_lon = (first[0] + np.arange(counts[0])) / 12 - 180
        corner_lat = np.minimum((first[1] + np.arange(counts[1])) / 12 - 90, 90.0)
        corners = crs.undulation(*np.meshgrid(corner_lon, corner_lat))
        x, y = (lon + 180) * 12, (lat + 90) * 12
        j, i = np.floor(x).astype(np.int64) - first[0], np.floor(y).astype(np.int64) - first[1]
        v, u = x - np.floor(x), (y - np.floor(y))[:, None]
        across = corners[:, j] * (1 - v) + corners[:, np.minimum(j + 1, counts[0] - 1)] * v
        value = across[i] * (1 - u) + across[np.minimum(i + 1, counts[1] - 1)] * u
        r, c = np.linspace(0, shape[0] - 1, 7).astype(int), np.linspace(0, shape[1] - 1, 7).astype(int)
        if np.abs(value[r, c] - crs.undulation(lon[c], lat[r])).max() < 1e-6:
            return np.asarray(value)
    return crs.undulation(np.broadcast_to(lon, shape), np.broadcast_to(lat[:, None], shape))


def _whole_tiles(near: NDArray[np.bool_]) -> slice:
    """The tiles (65 positions each, sharing ends) that hold any near position."""
    index = np.flatnonzero(near)
    return slice(int(index[0]) // STEPS * STEPS, (max(int(index[-1]) - 1, 0) // STEPS + 1) * STEPS + 1)


def _halve(data: F32) -> F32:
    """Means of 2 × 2 cells (of those that have data); an odd last row or column stands twice."""
    padded = np.pad(data, ((0, data.shape[0] % 2), (0, data.shape[1] % 2)), mode="edge")
    blocks = padded.reshape(padded.shape[0] // 2, 2, padded.shape[1] // 2, 2)
    known = ~np.isnan(blocks)
    count = known.sum(axis=(1, 3))
    total = np.where(known, blocks, 0).sum(axis=(1, 3), dtype=np.float64)
    with np.errstate(invalid="ignore"):
        return np.where(count > 0, total / count, np.nan).astype(np.float32)
