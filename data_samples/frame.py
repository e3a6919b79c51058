"""The frame of the sample district: where it lies, how noise and random numbers are drawn, and gridded heights.

All modules work in *local* metres (x east, y north, origin at the south-west corner), because the numbers
stay short and every module can reason about the district as a 3.2 x 2.4 km sheet.  `to_map` moves geometry
to EPSG:4547 (easting, northing) once, when it is written.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import shapely
from PIL import Image
from rasterio.features import rasterize
from rasterio.transform import from_origin

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

CRS = "EPSG:4547"  # CGCS2000 / 3-degree Gauss-Kruger CM 114E, metres, easting/northing without zone prefix
VERTICAL = "EPSG:5737"  # 1985 national height datum, metres
WEST, SOUTH = 403_800.0, 2_497_000.0  # EPSG:4547 of the local origin; about 22.57 N, 113.065 E
WIDTH, HEIGHT = 3_200.0, 2_400.0  # metres
CELL = 2.0  # metres, terrain cell


def rng(seed: int, name: str) -> np.random.Generator:
    """One independent stream per concept, so that a change in one module leaves the others' draws alone."""
    return np.random.default_rng([seed, zlib.crc32(name.encode())])


def sheet() -> Any:
    """The district's outline as a shapely polygon in local metres."""
    return shapely.box(0.0, 0.0, WIDTH, HEIGHT)


def to_map(geometries: Any) -> Any:
    """Local geometry (scalar or array, Z kept) to EPSG:4547, coordinates rounded to the millimetre."""

    def move(coords: Floats) -> Floats:
        out = coords.copy()
        out[:, 0] += WEST
        out[:, 1] += SOUTH
        return np.round(out, 3)

    with_z = bool(np.any(shapely.has_z(geometries)))
    return shapely.transform(geometries, move, include_z=with_z)


def noise(random: np.random.Generator, shape: tuple[int, int], cells: float) -> npt.NDArray[np.float32]:
    """Smooth noise of about unit variance, shape (rows, cols), with features about `cells` cells wide."""
    rows, cols = shape
    small = random.standard_normal((int(rows / cells) + 4, int(cols / cells) + 4)).astype(np.float32)
    wide = Image.fromarray(small).resize((int(small.shape[1] * cells), int(small.shape[0] * cells)), Image.Resampling.BICUBIC)
    off = int(cells)
    array = np.asarray(wide, dtype=np.float32)[off : off + rows, off : off + cols]
    return np.ascontiguousarray(array / max(float(array[::5, ::5].std()), 1e-6))


def smoothstep(low: float, high: float, value: Any) -> Any:
    """0 below `low`, 1 above `high`, a cubic between."""
    t = np.clip((np.asarray(value, dtype=np.float64) - low) / (high - low), 0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)


@dataclass(frozen=True)
class Heights:
    """Terrain heights in 1985 datum metres; `z[row, col]`, row 0 in the north, values at cell centres."""

    z: npt.NDArray[np.float32]
    cell: float = CELL

    def at(self, x: Any, y: Any) -> Floats:
        """Bilinear height at local coordinates (arrays or scalars), clamped at the district's edge."""
        rows, cols = self.z.shape
        c = np.clip(np.asarray(x, dtype=np.float64) / self.cell - 0.5, 0.0, cols - 1.000001)
        r = np.clip((HEIGHT - np.asarray(y, dtype=np.float64)) / self.cell - 0.5, 0.0, rows - 1.000001)
        c0, r0 = c.astype(np.int64), r.astype(np.int64)
        fc, fr = c - c0, r - r0
        top = self.z[r0, c0] * (1 - fc) + self.z[r0, c0 + 1] * fc
        low = self.z[r0 + 1, c0] * (1 - fc) + self.z[r0 + 1, c0 + 1] * fc
        return np.asarray(top * (1 - fr) + low * fr, dtype=np.float64)


def grid_shape(cell: float = CELL) -> tuple[int, int]:
    """Rows and columns of a raster with this cell over the district."""
    return round(HEIGHT / cell), round(WIDTH / cell)


def grid_xy(cell: float = CELL) -> tuple[Floats, Floats]:
    """Cell-centre coordinates as a row vector x (1, cols) and a column vector y (rows, 1)."""
    rows, cols = grid_shape(cell)
    x: Floats = (np.arange(cols, dtype=np.float64) + 0.5) * cell
    y: Floats = HEIGHT - (np.arange(rows, dtype=np.float64) + 0.5) * cell
    return x[None, :], y[:, None]


def mappings(geometries: Any) -> tuple[list[dict[str, Any]], Ints]:
    """GeoJSON-like dicts of polygons and lines (multi-parts taken apart) and the index of each one's source.

    Many times faster than `__geo_interface__`, which builds every coordinate tuple by itself.
    """
    parts, index = shapely.get_parts(np.asarray(geometries, dtype=object), return_index=True)
    out: list[Any] = [None] * len(parts)
    kinds = shapely.get_type_id(parts)
    polygons, lines = np.nonzero(kinds == 3)[0], np.nonzero((kinds == 1) | (kinds == 2))[0]
    if len(polygons):
        _, coords, (rings, first) = shapely.to_ragged_array(parts[polygons], include_z=False)
        loops = [coords[a:b].tolist() for a, b in pairwise(rings)]
        for where, a, b in zip(polygons, first, first[1:], strict=False):
            out[where] = {"type": "Polygon", "coordinates": loops[a:b]}
    for where in lines:
        out[where] = {"type": "LineString", "coordinates": shapely.get_coordinates(parts[where]).tolist()}
    keep = [i for i, g in enumerate(out) if g is not None and g["coordinates"]]
    return [out[i] for i in keep], np.asarray(index)[keep]


def burn(geometries: Any, values: Any, cell: float = CELL, dtype: str = "uint8", all_touched: bool = False) -> npt.NDArray[Any]:
    """Rasterise local geometries (sequence) with one value each; 0 elsewhere; later ones win."""
    if len(geometries) == 0:
        return np.zeros(grid_shape(cell), dtype=dtype)
    shapes, source = mappings(geometries)
    value = np.broadcast_to(values, len(geometries))[source].tolist()
    return np.asarray(
        rasterize(
            list(zip(shapes, value, strict=True)),
            out_shape=grid_shape(cell),
            transform=from_origin(0.0, HEIGHT, cell, cell),
            fill=0,
            dtype=dtype,
            all_touched=all_touched,
            skip_invalid=False,
        )
    )
