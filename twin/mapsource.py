"""One map tile's worth of a raster: cells of a COG resampled to the pixels of a WebMercatorQuad tile.

Each pixel's centre is projected to the raster's own CRS and its cells are read there, so a pixel shows what lies under it at
every zoom (a warped view at the raster's own resolution would move cells by up to half their size when zoomed in). The
projection is worked out on a coarse lattice of the tile and interpolated between, to within a hundredth of a pixel.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.windows import Window

from twin import crs

SIZE = 256
WORLD = 2 * math.pi * 6378137.0
LATTICE = 17
#: Below this zoom a tile spans so much of the globe that every pixel is projected.
EXACT_BELOW = 4

F64 = NDArray[np.float64]


@dataclass(frozen=True)
class TileCells:
    """Bands (b, h, w) of a tile, float64 where they were interpolated, and alpha (h, w) 0–255 (0: no data)."""

    bands: NDArray[Any]
    alpha: NDArray[np.uint8]


def tile_cells(path: Path, horizontal: str, z: int, x: int, y: int, how: Literal["nearest", "bilinear"], buffer: int = 0) -> TileCells | None:
    """The cells under the pixels of tile z/x/y (y from the north) and of `buffer` pixels around it; None where there are none.

    Interpolation leaves out cells without data; a pixel has data where at least half of what it is made of has.
    """
    with rasterio.open(path) as file:
        transform, size, factors = ~file.transform, (file.width, file.height), file.overviews(1)
    column, row = _places(horizontal, transform, z, x, y, buffer)
    with np.errstate(invalid="ignore"):
        inside = (column >= 0) & (row >= 0) & (column < size[0]) & (row < size[1])
    if not inside.any():
        return None
    step = _cells_per_pixel(column, row)
    level = sum(1 for factor in factors if factor <= step * 1.01) - 1
    with rasterio.open(path) if level < 0 else rasterio.open(path, overview_level=level) as file:
        c, r = column[inside] * file.width / size[0] - 0.5, row[inside] * file.height / size[1] - 0.5
        left, top = max(math.floor(c.min()), 0), max(math.floor(r.min()), 0)
        right, bottom = min(math.floor(c.max()) + 2, file.width), min(math.floor(r.max()) + 2, file.height)
        window = Window(left, top, right - left, bottom - top)
        data, mask = file.read(window=window), file.dataset_mask(window=window)
        if data.dtype.kind == "f":
            mask = np.where(np.isfinite(data[0]), mask, 0).astype(np.uint8)
    take = _nearest if how == "nearest" else _bilinear
    values, alpha = take(data, mask, c - left, r - top)
    bands = np.zeros((len(data), *inside.shape), values.dtype)
    bands[:, inside] = values
    out = np.zeros(inside.shape, np.uint8)
    out[inside] = alpha
    return TileCells(bands, out)


def finest_zoom(path: Path, horizontal: str) -> int:
    """The first zoom whose pixels are smaller than the cells in the middle of the raster."""
    with rasterio.open(path) as file:
        t, width, height = file.transform, file.width, file.height
    x, y = t * (np.array([0.0, 1.0, 0.0]) + width / 2, np.array([0.0, 0.0, 1.0]) + height / 2)
    lon, lat = crs.to_lonlat(horizontal, np.asarray(x), np.asarray(y))
    mx, my = np.radians(lon) * 6378137.0, 6378137.0 * np.arctanh(np.sin(np.radians(np.clip(lat, -85.05, 85.05))))
    cell = min(math.hypot(mx[1] - mx[0], my[1] - my[0]), math.hypot(mx[2] - mx[0], my[2] - my[0]))
    return min(max(math.ceil(math.log2(WORLD / SIZE / cell)), 0), 22)


def _places(horizontal: str, inverse: Any, z: int, x: int, y: int, buffer: int) -> tuple[F64, F64]:
    """Fractional column and row of the full raster at each pixel's centre."""
    pixels = SIZE + 2 * buffer
    centres: F64 = np.arange(pixels, dtype=np.float64) - buffer + 0.5
    if z < EXACT_BELOW:
        return _project(horizontal, inverse, z, x * SIZE + centres, y * SIZE + centres)
    nodes: F64 = np.linspace(-buffer, SIZE + buffer, LATTICE, dtype=np.float64)
    c, r = _project(horizontal, inverse, z, x * SIZE + nodes, y * SIZE + nodes)
    place = (centres + buffer) / (pixels / (LATTICE - 1))
    at = np.minimum(place.astype(np.int64), LATTICE - 2)
    share = place - at

    def spread(grid: F64) -> F64:
        across = grid[:, at] * (1 - share) + grid[:, at + 1] * share
        return np.asarray(across[at] * (1 - share)[:, None] + across[at + 1] * share[:, None])

    return spread(c), spread(r)


def _project(horizontal: str, inverse: Any, z: int, px: F64, py: F64) -> tuple[F64, F64]:
    """Global pixel coordinates (columns px, rows py) → (len(py), len(px)) column and row of the raster; NaN beyond the CRS."""
    lon = px / (SIZE * 2**z) * 360 - 180
    lat = np.degrees(np.arctan(np.sinh(math.pi * (1 - 2 * py / (SIZE * 2**z)))))
    a, b = crs.from_lonlat(horizontal, *np.meshgrid(lon, lat))
    good = np.isfinite(a) & np.isfinite(b)
    a, b = np.where(good, a, np.nan), np.where(good, b, np.nan)
    return inverse.a * a + inverse.b * b + inverse.c, inverse.d * a + inverse.e * b + inverse.f


def _cells_per_pixel(column: F64, row: F64) -> float:
    """How many cells of the full raster go into a pixel, typically."""
    along = np.hypot(np.diff(column, axis=1)[:-1], np.diff(row, axis=1)[:-1])
    down = np.hypot(np.diff(column, axis=0)[:, :-1], np.diff(row, axis=0)[:, :-1])
    sizes = np.sqrt(along * down)
    return float(np.nanmedian(sizes)) if np.isfinite(sizes).any() else 1.0


def _nearest(data: NDArray[Any], mask: NDArray[np.uint8], c: F64, r: F64) -> tuple[NDArray[Any], NDArray[np.uint8]]:
    j = np.clip(np.floor(c + 0.5).astype(np.int64), 0, data.shape[2] - 1)
    i = np.clip(np.floor(r + 0.5).astype(np.int64), 0, data.shape[1] - 1)
    return data[:, i, j], mask[i, j]


def _bilinear(data: NDArray[Any], mask: NDArray[np.uint8], c: F64, r: F64) -> tuple[NDArray[Any], NDArray[np.uint8]]:
    rows, columns = mask.shape
    c, r = np.clip(c, 0, columns - 1), np.clip(r, 0, rows - 1)
    j, i = c.astype(np.int32), r.astype(np.int32)
    u, v = c - j, r - i
    right, down = (j + 1 < columns).astype(np.int32), np.where(i + 1 < rows, columns, 0).astype(np.int32)
    at = i * columns + j
    corners = [(at, (1 - u) * (1 - v)), (at + right, u * (1 - v)), (at + down, (1 - u) * v), (at + right + down, u * v)]
    flat = data.reshape(len(data), -1)
    if (mask == 255).all():
        total = sum(np.take(flat, place, axis=1) * w for place, w in corners)
        return np.asarray(total, np.float64), np.full(len(c), 255, np.uint8)
    total, weight, alpha = np.zeros((len(data), len(c))), np.zeros(len(c)), np.zeros(len(c))
    flat_mask = mask.ravel()
    flat = np.where(mask > 0, data, 0).reshape(len(data), -1)
    for place, w in corners:
        m = flat_mask[place]
        known = np.where(m > 0, w, 0.0)
        total += np.take(flat, place, axis=1) * known
        weight += known
        alpha += w * m
    soft = bool(((mask > 0) & (mask < 255)).any())  # a soft alpha band; else edges are sharp
    values = total / np.where(weight > 0, weight, 1.0)
    return values, np.where(weight >= 0.5, alpha.round() if soft else 255, 0).astype(np.uint8)
