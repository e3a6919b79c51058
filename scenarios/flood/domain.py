"""From layers to a grid: the metric frame, the resampled bed, buildings, water cells."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import numpy as np
import rasterio
import shapely
from numpy.typing import NDArray
from rasterio import features as rio_features
from rasterio.transform import Affine
from scipy import ndimage

from scenarios.contract import World
from scenarios.flood.params import Params
from twin import crs, parts
from twin.errors import BadOption, OverLimit
from twin.ground import Ground
from twin.model import Part

BYTES_PER_CELL = 180  # solver 60, maxima 20, bed and masks in float64 while it is built
RAISED = 5.0
SPIKE = 5.0
"""m by which a cell differs from all neighbours before it is called a pit or a peak."""


@dataclass(frozen=True)
class Domain:
    """The grid of a run.

    Attributes:
        horizontal: CRS in metres; transform: affine of cell corners, row 0 in the north.
        bed: (rows, columns) float64 m in the terrain's datum (metres), 0 under walls.
        walls: cells without ground heights, or blocked by buildings.
        buildings: cells of buildings (blocked or raised).
        rain_weight: (rows, columns) share of the rain each cell gets; None: 1 wherever there is no wall.
    """

    horizontal: str
    transform: Affine
    bed: NDArray[np.float64]
    walls: NDArray[np.bool_]
    buildings: NDArray[np.bool_]
    rain_weight: NDArray[np.float32] | None

    def cells_at(self, lonlat: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(rows, columns) of places (N, 2) in degrees; may lie outside the grid."""
        x, y = crs.from_lonlat(self.horizontal, lonlat[:, 0], lonlat[:, 1])
        column, row = ~self.transform * (x, y)
        return np.floor(row).astype(np.int64), np.floor(column).astype(np.int64)

    def require_inside(self, lonlat: NDArray[np.float64], what: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """As `cells_at`; refuses places outside the area or in a wall.

        Raises:
            BadOption: names the place.
        """
        rows, columns = self.cells_at(lonlat)
        for i, (r, c) in enumerate(zip(rows, columns, strict=True)):
            if not (0 <= r < self.bed.shape[0] and 0 <= c < self.bed.shape[1]):
                raise BadOption(f"{what} ({lonlat[i, 0]:.6f}, {lonlat[i, 1]:.6f}) lies outside the area of the run.", "Move it or widen bbox.")
            if self.walls[r, c]:
                raise BadOption(f"{what} ({lonlat[i, 0]:.6f}, {lonlat[i, 1]:.6f}) lies in a building or a void of the terrain.", "Move it to open ground.")
        return rows, columns


def build(params: Params, world: World) -> Domain:
    """Read the terrain and what stands on it.

    Raises:
        BadOption: an area outside the terrain, a cell larger than the area.
        OverLimit: more cells than memory holds, with the number of both.
    """
    ground = world.ground(params.terrain)
    horizontal, box, resolution = _frame(params, ground)
    cell = params.cell
    west, north = np.floor(box[0] / cell) * cell, np.ceil(box[3] / cell) * cell
    columns, rows = round((np.ceil(box[2] / cell) * cell - west) / cell), round((north - np.floor(box[1] / cell) * cell) / cell)
    _require_memory(rows, columns, cell)
    if rows < 3 or columns < 3:
        raise BadOption(f"The area is {columns} × {rows} cells of {cell:g} m.", "Take a smaller cell or a larger bbox.")
    transform = Affine(cell, 0, west, 0, -cell, north)
    bed = _sample(ground, horizontal, transform, rows, columns, max(1, min(8, round(cell / resolution)))) * ground.reference.vertical_unit
    walls = np.isnan(bed)
    if walls.all():
        raise BadOption(f"Terrain {params.terrain!r} has no heights in the area.", "Choose an area inside it.")
    if walls.any():
        world.report.note("assumed", params.terrain, f"{int(walls.sum())} cells have no ground height; no water enters them")
    _say_spikes(bed, params, world)
    buildings = np.zeros(bed.shape, np.bool_)
    weight = None
    if params.buildings:
        buildings = burn(world, params.buildings, horizontal, transform, bed.shape) & ~walls
        if params.building_mode == "raised":
            bed = bed + np.where(buildings, RAISED, 0.0)
        else:
            walls = walls | buildings
            weight = _roof_rain(buildings, walls)
    return Domain(horizontal, transform, np.where(np.isnan(bed), 0.0, bed), walls, buildings, weight)


def _say_spikes(bed: NDArray[np.float64], params: Params, world: World) -> None:
    """Note single cells that lie far below or above all their neighbours: real ground is seldom like that, survey errors often are."""
    ring = np.ones((3, 3), np.bool_)
    ring[1, 1] = False
    known = ~np.isnan(bed)
    lowest = ndimage.minimum_filter(np.where(known, bed, np.inf), footprint=ring, mode="nearest")
    highest = ndimage.maximum_filter(np.where(known, bed, -np.inf), footprint=ring, mode="nearest")
    for what, count in (("pits", int((known & np.isfinite(lowest) & (bed < lowest - SPIKE)).sum())), ("peaks", int((known & np.isfinite(highest) & (bed > highest + SPIKE)).sum()))):
        if count:
            world.report.note("warned", params.terrain, f"{count:,} single-cell {what} more than {SPIKE:g} m from all their neighbours; they are kept: water fills the pits first")


def _frame(params: Params, ground: Ground) -> tuple[str, tuple[float, float, float, float], float]:
    """(CRS in metres, west/south/east/north in it, size of a terrain pixel in m). The terrain's own CRS is kept where it is metric."""
    whole = ground.bounds()
    left, bottom, right, top = whole.minx, whole.miny, whole.maxx, whole.maxy
    with rasterio.open(ground.path) as file:
        wide, tall = file.res
    own = ground.reference.horizontal
    axis = crs.crs_of(own)
    metric = axis.is_projected and all(abs(a.unit_conversion_factor - 1) < 1e-9 for a in axis.axis_info[:2])
    t = np.linspace(0, 1, 21)
    if params.bbox is not None:
        w, s, e, n = params.bbox
        if not (w < e and s < n):
            raise BadOption(f"bbox {params.bbox}: west < east and south < north are needed.")
        lon = np.concatenate([w + t * (e - w), w + t * (e - w), np.full(21, w), np.full(21, e)])
        lat = np.concatenate([np.full(21, s), np.full(21, n), s + t * (n - s), s + t * (n - s)])
    else:
        x = np.concatenate([left + t * (right - left)] * 2 + [np.full(21, left), np.full(21, right)])
        y = np.concatenate([np.full(21, bottom), np.full(21, top), bottom + t * (top - bottom), bottom + t * (top - bottom)])
        lon, lat = crs.to_lonlat(own, x, y)
    horizontal = own if metric else crs.metric_frame(float(np.mean(lon)), float(np.mean(lat)))
    x, y = crs.from_lonlat(horizontal, lon, lat)
    px = np.array([left, left + wide, left]), np.array([bottom, bottom, bottom + tall])
    fx, fy = crs.convert(own, horizontal, *px)
    box = (float(x.min()), float(y.min()), float(x.max()), float(y.max()))
    if metric:
        box = (max(box[0], left), max(box[1], bottom), min(box[2], right), min(box[3], top))
        if box[0] >= box[2] or box[1] >= box[3]:
            raise BadOption(f"bbox {params.bbox} lies outside the terrain {params.terrain!r}.", "Choose an area inside it.")
    return horizontal, box, float(np.hypot(fx[1] - fx[0], fy[1] - fy[0]))


def _require_memory(rows: int, columns: int, cell: float) -> None:
    need = rows * columns * BYTES_PER_CELL
    have = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if need > have / 2:
        raise OverLimit(f"{columns:,} × {rows:,} = {rows * columns:.2e} cells of {cell:g} m need {need / 1e9:,.0f} GB of memory; this machine has {have / 1e9:,.0f} GB.",
                        "Take larger cells or a smaller bbox.")  # fmt: skip


def _sample(ground: Ground, horizontal: str, transform: Affine, rows: int, columns: int, per_side: int) -> NDArray[np.float64]:
    """Mean of per_side² bilinear samples a cell, NaN where none has data; by bands of rows, so that memory stays small."""
    cell = transform.a
    bed = np.full((rows, columns), np.nan)
    offsets = (np.arange(per_side) + 0.5) / per_side
    for first in range(0, rows, 256):
        r = np.arange(first, min(first + 256, rows))
        total, count = np.zeros((len(r), columns)), np.zeros((len(r), columns))
        for dy in offsets:
            for dx in offsets:
                x, y = np.meshgrid(transform.c + (np.arange(columns) + dx) * cell, transform.f - (r + dy) * cell)
                if horizontal != ground.reference.horizontal:
                    x, y = crs.convert(horizontal, ground.reference.horizontal, x.ravel(), y.ravel())
                value = ground.sample(x, y).reshape(total.shape)
                known = ~np.isnan(value)
                total += np.where(known, value, 0.0)
                count += known
        bed[r] = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    return bed


class Pixels:
    """Values of a raster layer at the centres of the grid's cells (the pixel they lie in); where those pixels are is looked up once a raster's frame."""

    def __init__(self, world: World, layer: str, domain: Domain) -> None:
        self._lake, self._version, self._domain = world.lake, world.version(layer), domain
        self._frame: Any = None
        self._index = np.zeros(0, np.int64)

    def values(self, part: Part | None = None, band: int = 1) -> NDArray[np.float64]:
        """(rows, columns) values of one band of a part (by default the layer's first raster), NaN outside and where it has no data."""
        part = part or parts.raster_part(self._version)
        with rasterio.open(self._lake.path(part.key)) as file:
            values = np.ma.filled(file.read(band, masked=True).astype(np.float64), np.nan) * float(part.properties.get("scale", 1.0))
            frame = (tuple(file.transform), values.shape)
        if frame != self._frame:
            self._frame, self._index = frame, self._places(~file.transform, values.shape)
        return np.asarray(np.append(values.ravel(), np.nan)[self._index])

    def _places(self, inverse: Affine, shape: tuple[int, ...]) -> NDArray[np.int64]:
        """(rows, columns) number of the pixel of each cell in row order; one past the last where it lies outside."""
        height, width = shape
        rows, columns = self._domain.bed.shape
        found = np.empty((rows, columns), np.int64)
        for first in range(0, rows, 256):
            r = np.arange(first, min(first + 256, rows))
            x, y = self._domain.transform * np.meshgrid(np.arange(columns) + 0.5, r + 0.5)
            window = x.shape
            if self._version.reference.horizontal != self._domain.horizontal:
                x, y = crs.convert(self._domain.horizontal, self._version.reference.horizontal, x.ravel(), y.ravel())
            j, i = (np.floor(v).astype(np.int64).reshape(window) for v in inverse * (x, y))
            found[r] = np.where((i >= 0) & (j >= 0) & (i < height) & (j < width), i * width + j, height * width)
        return found


def burn(world: World, layer: str, horizontal: str, transform: Affine, shape: tuple[int, ...], *, touched: bool = False) -> NDArray[np.bool_]:
    """Cells whose centre (or, `touched`, any part) lies in a feature of the layer."""
    mask = np.zeros(shape, np.uint8)
    for chunk in world.features(layer):
        moved = [g for g in move(chunk.geometry, chunk.reference.horizontal, horizontal) if g is not None and not g.is_empty]
        if moved:
            rio_features.rasterize(moved, out=mask, transform=transform, all_touched=touched, default_value=1)
    return np.asarray(mask > 0)


def move(geometry: NDArray[np.object_], source: str, target: str) -> Any:
    """Geometries in another CRS, heights dropped."""
    return shapely.transform(shapely.force_2d(geometry), lambda xy: np.column_stack(crs.convert(source, target, xy[:, 0], xy[:, 1])))


def _roof_rain(buildings: NDArray[np.bool_], walls: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Rain weights: what falls on a block of blocked cells arrives in equal parts in the open cells around it; their sum is the rain's area."""
    cross = np.ones((3, 3), np.bool_)
    labels, count = ndimage.label(buildings, cross)
    open_ground = ~walls
    weight = open_ground.astype(np.float64)
    areas = np.bincount(labels.ravel(), minlength=count + 1)
    for label, window in enumerate(ndimage.find_objects(labels), 1):
        grown = tuple(slice(max(s.start - 1, 0), s.stop + 1) for s in window)
        rim = ndimage.binary_dilation(labels[grown] == label, cross) & open_ground[grown]
        if rim.any():
            weight[grown][rim] += areas[label] / rim.sum()
    return weight.astype(np.float32)
