# mypy: disable-error-code="untyped-decorator,no-any-return"
"""A terrain raster as a field of heights, at any level of detail (several make a surface, see `tiling.terrain.surface`).

* **Detail.** A level samples the coarsest overview whose cells are not larger than its mesh, bilinear between cell
  centres; overviews are averages, so coarse tiles do not alias. Overviews too coarse for the file are made in memory.
* **Voids** are filled from the data around them, up to 64 cells away, by inverse distance; farther from the next coarser
  overview, and that from the next. More than about 128 cells from any data a void is left to what lies below.
* **Outside** the raster its part falls from all at its edge to nothing `apron` metres away.

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
from numpy.typing import NDArray
from rasterio.fill import fillnodata
from rasterio.windows import Window

from tiling.terrain.quantized_mesh import QUANTA
from tiling.terrain.rtin import STEPS
from twin import crs
from twin.compiled import njit
from twin.model import Bounds, Reference

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
            unit: float, offset: float, total: F64, rest: F64, reach: float) -> bool:  # fmt: skip
    """Add the bilinear mean of the cells with data around each place, times what `rest` still lacks; True if some lack more.

    `column`, `row` are in cells of the full raster; `data` is a window of an overview (`columns` × `rows`) from (left, top).
    With `reach` 2 the cells that have data count fully up to half a cell beyond them, with 1 they give way from their centres on,
    with 0 a place counts only between four cells with data (the raster below has the same height where that ends).
    """
    lacking = False
    for i in range(column.shape[0]):
        for j in range(column.shape[1]):
            if rest[i, j] <= 0.0:
                continue
            c = min(max(column[i, j] / scale_x - 0.5, 0.0), columns - 1.0)
            r = min(max(row[i, j] / scale_y - 0.5, 0.0), rows - 1.0)
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
            trust = min(1.0, reach * weight) if reach > 0 else math.floor(weight + 1e-9)
            if weight > 0.0:
                total[i, j] += rest[i, j] * trust * (found / weight * unit + offset)
            left_over = rest[i, j] * (1 - trust)
            if left_over < 1e-9:
                left_over = 0.0
            else:
                lacking = True
            rest[i, j] = left_over
    return lacking


@njit(cache=True, nogil=True, error_model="numpy")
def _part(column: F64, row: F64, columns: int, rows: int, cell_x: float, cell_y: float, apron: float, rest: F64, share: F64) -> tuple[float, float, float, float]:
    """Move from `rest` to `share` what belongs to a raster: all on it, less and less over the apron, nothing beyond.

    Returns the box of the places with a share, clamped to the raster: least and most column, least and most row (inf, −inf if none).
    """
    x0, x1, y0, y1 = math.inf, -math.inf, math.inf, -math.inf
    for i in range(column.shape[0]):
        for j in range(column.shape[1]):
            c, r = column[i, j], row[i, j]
            beyond_x, beyond_y = max(max(-c, c - columns), 0.0) * cell_x, max(max(-r, r - rows), 0.0) * cell_y
            distance = math.sqrt(beyond_x * beyond_x + beyond_y * beyond_y)
            portion = 1.0
            if not distance <= 0.0:  # also NaN, where the projection does not reach
                t = 1 - distance / apron if apron > 0 else 0.0
                portion = t * t * (3 - 2 * t) if t > 0 else 0.0
            part = portion * rest[i, j]
            share[i, j] = part
            rest[i, j] -= part
            if part > 0:
                c, r = min(max(c, 0.0), float(columns)), min(max(r, 0.0), float(rows))
                x0, x1, y0, y1 = min(x0, c), max(x1, c), min(y0, r), max(y1, r)
    return x0, x1, y0, y1


@dataclass
class HeightField:
    """Heights of a terrain COG, in metres of its own datum.

    Attributes:
        path: COG of one band; reference: its CRS, datum and unit.
        apron: metres over which it fades outside the raster.
        fill: whether voids are filled from their surroundings.
    """

    path: Path
    reference: Reference
    apron: float = 5000.0
    fill: bool = True
    _files: dict[int, Any] = field(default_factory=dict, repr=False)
    _lock: Any = field(default_factory=threading.Lock, repr=False)
    """One thread reads at a time: threads with a file each would each unpack the blocks that all of them need."""

    def __post_init__(self) -> None:
        with rasterio.open(self.path) as file:
            self.size = (file.width, file.height)
            transform = file.transform
            self.bounds = Bounds(*file.bounds)
            factors = file.overviews(1)
        self.extent = unwrapped_extent(self.reference, self.bounds)
        self.cell = self._cell_metres()
        self.degrees = crs.crs_of(self.reference.horizontal).is_geographic
        self.narrow = 1 / max(math.cos(math.radians((self.bounds.miny + self.bounds.maxy) / 2)), 1e-6) if self.degrees else 1.0
        # a raster in degrees may begin west of −180: the rim of one that ends there
        turn = 360.0 * round((self.extent.minx - self.bounds.minx) / 360.0) if self.degrees else 0.0
        self.inverse = ~(rasterio.Affine.translation(turn, 0.0) * transform)
        self.middle = (self.bounds.minx + self.bounds.maxx) / 2 + turn
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
        turn = (lon - lon[0] + 180) % 360 - 180
        east = math.hypot(turn[1] * math.cos(math.radians(lat[0])), lat[1] - lat[0]) * DEGREE
        north = math.hypot(turn[2] * math.cos(math.radians(lat[0])), lat[2] - lat[0]) * DEGREE
        return east, north

    def close(self) -> None:
        """Close its files."""
        for file in self._files.values():
            file.close()

    def level_for(self, spacing: float) -> int:
        """The coarsest overview whose cells are not larger than a lattice's, `spacing` metres from north to south (0 is the full raster).

        Towards a pole the lattice narrows from east to west as a raster in degrees does: that is measured in degrees.
        """
        cell = math.sqrt(self.cell[0] * self.cell[1] * self.narrow)
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
            return np.ascontiguousarray(self._coarse[level - self.stored][top : top + rows, left : left + columns])
        with self._lock:
            if level not in self._files:
                self._files[level] = rasterio.open(self.path) if level == 0 else rasterio.open(self.path, overview_level=level - 1)
            file = self._files[level]
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
        data = self.cells(level, left, top, columns, rows)
        if not np.isnan(data).any():
            return data
        west, north = min(left, reach), min(top, reach)
        east, south = min(width - left - columns, reach), min(height - top - rows, reach)
        data = self.cells(level, left - west, top - north, columns + west + east, rows + north + south)
        mask = ~np.isnan(data)
        if mask.any():
            data = fillnodata(np.where(mask, data, UNKNOWN), mask.astype(np.uint8), max_search_distance=reach)
            data = np.where(data == UNKNOWN, np.float32(np.nan), data)
        return np.ascontiguousarray(data[north : north + rows, west : west + columns])

    def add(self, lon: F64, lat: F64, z: int, spacing: float, total: F64, rest: F64, *, own: bool = False) -> None:
        """Put this raster's heights where `rest` still lacks some: total += share × height, rest −= share.

        Args:
            lon, lat: (columns,) and (rows,) degrees of a lattice of 64 n + 1 positions of whole tiles of level z.
            spacing: metres between them.
            total, rest: (rows, columns), changed in place; metres of the raster's own datum, and 0…1.
            own: only cells with data, no filling and no apron (another raster goes on below).
        """
        lon = self.turned(lon)
        near_c, near_r = self._near(lon, lat, 0.0 if own else 1.05 * self.apron)
        if not near_c.any() or not near_r.any():
            return
        c, r = _whole_tiles(near_c), _whole_tiles(near_r)  # so that the projection can be interpolated
        column, row = self._cells(lon[c], lat[r], z)
        heights, lack = np.ascontiguousarray(total[r, c]), np.ascontiguousarray(rest[r, c])  # of one layout: fewer versions of each kernel to load
        share = np.empty_like(lack)
        box = _part(column, row, *self.size, *self.cell, 0.0 if own else self.apron, lack, share)
        if box[0] <= box[1]:
            level = self.level_for(spacing)
            last = max(level, FILL_LEVELS) if self.fill and not own else level
            for k in range(level, min(last, len(self.sizes) - 1) + 1):
                if not self._add(k, column, row, box, heights, share, 0.0 if own else 2.0 if k == level else 1.0):
                    break
            lack += share
            if not np.may_share_memory(heights, total):
                total[r, c], rest[r, c] = heights, lack

    def touches(self, lon: F64, lat: F64, margin: float) -> bool:
        """Whether any position of a lattice (degrees) is within so many metres of the raster's extent."""
        lon = self.turned(lon)
        return bool(self._near(lon, lat, margin)[0].any() and self._near(lon, lat, margin)[1].any())

    def covers(self, lon: F64, lat: F64) -> bool:
        """Whether a lattice (degrees) lies wholly on the raster, some cells away from its rim."""
        lon = self.turned(lon)
        x, y = np.append(lon[::16], lon[-1]), np.append(lat[::16], lat[-1])
        column, row = self._to_cells(*(np.concatenate(v) for v in ([x, x, np.full(len(y), x[0]), np.full(len(y), x[-1])], [np.full(len(x), y[0]), np.full(len(x), y[-1]), y, y])))
        rim = [max(2.0, 0.01 * side) for side in self.size]
        with np.errstate(invalid="ignore"):
            return bool(((column > rim[0]) & (column < self.size[0] - rim[0]) & (row > rim[1]) & (row < self.size[1] - rim[1])).all())

    def turned(self, lon: F64) -> F64:
        """The same longitudes within half a turn of the raster's middle, which may lie on the 180th meridian."""
        middle = (self.extent.minx + self.extent.maxx) / 2
        return (lon - middle + 180.0) % 360.0 - 180.0 + middle

    def _near(self, lon: F64, lat: F64, margin: float) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Which columns and rows of a lattice are within `margin` metres of the extent."""
        high = margin / DEGREE
        wide = high / max(math.cos(math.radians(min(abs(self.extent.miny), abs(self.extent.maxy), 89.0) + 0.1)), 0.01)
        return (lon >= self.extent.minx - wide) & (lon <= self.extent.maxx + wide), (lat >= self.extent.miny - high) & (lat <= self.extent.maxy + high)

    def _cells(self, lon: F64, lat: F64, z: int) -> tuple[F64, F64]:
        """Fractional column and row of the full raster at each lattice point; NaN where the projection does not reach."""
        if self.reference.horizontal == "EPSG:4326" and self.inverse.b == 0 == self.inverse.d:
            shape = (len(lat), len(lon))
            return np.broadcast_to(self.inverse.a * lon + self.inverse.c, shape), np.broadcast_to((self.inverse.e * lat + self.inverse.f)[:, None], shape)
        if z < SMALL:
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
        if self.degrees:
            x = x + 360.0 * np.round((self.middle - x) / 360.0)
        good = np.isfinite(x) & np.isfinite(y)
        x, y = np.where(good, x, np.nan), np.where(good, y, np.nan)
        return t.a * x + t.b * y + t.c, t.d * x + t.e * y + t.f

    def _add(self, level: int, column: F64, row: F64, box: tuple[float, float, float, float], total: F64, rest: F64, reach: float) -> bool:
        width, height = self.sizes[level]
        sx, sy = self.size[0] / width, self.size[1] / height
        left, right = max(int(box[0] / sx - 0.5) - 1, 0), min(int(box[1] / sx + 0.5) + 2, width)
        top, bottom = max(int(box[2] / sy - 0.5) - 1, 0), min(int(box[3] / sy + 0.5) + 2, height)
        read = self._patched if self.fill and reach > 1 else self.cells
        data = read(level, left, top, right - left, bottom - top)
        offset = self.reference.vertical_offset
        return bool(_gather(column, row, sx, sy, data, left, top, width, height, self.reference.vertical_unit, offset, total, rest, reach))


def unwrapped_extent(reference: Reference, bounds: Bounds) -> Bounds:
    """WGS 84 degrees around a raster; across the 180th meridian its eastern end is beyond 180, around a pole it is a full turn."""
    t = np.linspace(0.0, 1.0, 21)
    xs, ys = bounds.minx + t * (bounds.maxx - bounds.minx), bounds.miny + t * (bounds.maxy - bounds.miny)
    lon, lat = crs.to_lonlat(reference.horizontal, *(a.ravel() for a in np.meshgrid(xs, ys)))
    good = np.isfinite(lon) & np.isfinite(lat)
    lon, lat = lon[good], lat[good]
    for pole in (-90.0, 90.0):
        x, y = (float(v) for v in crs.from_lonlat(reference.horizontal, np.array(0.0), np.array(pole)))
        if not crs.crs_of(reference.horizontal).is_geographic and bounds.minx <= x <= bounds.maxx and bounds.miny <= y <= bounds.maxy and math.isfinite(x + y):
            return Bounds(-180.0, min(float(lat.min()), pole), 180.0, max(float(lat.max()), pole))
    if not crs.crs_of(reference.horizontal).is_geographic:
        middle = math.degrees(math.atan2(np.sin(np.radians(lon)).mean(), np.cos(np.radians(lon)).mean()))
        lon = (lon - middle + 180.0) % 360.0 - 180.0 + middle
    west = float(lon.min())
    shift = math.floor((west + 180.0) / 360.0) * 360.0
    return Bounds(west - shift, float(lat.min()), float(lon.max()) - shift, float(lat.max()))


def _whole_tiles(near: NDArray[np.bool_]) -> slice:
    """The tiles (65 positions each, sharing ends) that hold any near position."""
    index = np.flatnonzero(near)
    last = (max(int(index[-1]) - 1, 0) // STEPS + 1) * STEPS
    return slice(min(int(index[0]) // STEPS * STEPS, last - STEPS), last + 1)  # a lone position between two tiles begins none


def _halve(data: F32) -> F32:
    """Means of 2 × 2 cells (of those that have data); an odd last row or column stands twice."""
    padded = np.pad(data, ((0, data.shape[0] % 2), (0, data.shape[1] % 2)), mode="edge")
    blocks = padded.reshape(padded.shape[0] // 2, 2, padded.shape[1] // 2, 2)
    known = ~np.isnan(blocks)
    count = known.sum(axis=(1, 3))
    total = np.where(known, blocks, 0).sum(axis=(1, 3), dtype=np.float64)
    with np.errstate(invalid="ignore"):
        return np.where(count > 0, total / count, np.nan).astype(np.float32)
