"""Heights of the ground: the published terrain, sampled for everything that stands on it.

A terrain layer may hold several rasters, finest first, each in its own reference; a place takes its height from the first
that has data all around it. (The finer ones run out into the coarser ones, so there is no step where that ends.)
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twin import crs
from twin.clouds import bounds_in
from twin.errors import BadFeature
from twin.lake import Lake
from twin.model import Bounds, LayerVersion, Part, Reference

F64 = NDArray[np.float64]
STRIP = 256
MOST_CELLS = 50_000_000
NOISE = 1e-7
"""Of a cell: what is less is the rounding of a raster's origin, and no distance."""
SLIGHT = 1e-6
"""Weight of a cell that does not count: a place so near to a centre is there."""
WIDE = 5.0
"""Degrees: what is wider than this is taken to reach all of a raster."""


@dataclass
class Ground:
    """A terrain raster as a function of place; opens its file on first use, so it can be sent to worker processes.

    Attributes:
        path: COG of one band of heights.
        reference: its CRS and vertical datum.
        key: names its rasters, uppermost first, joined by "+": bytes and reference; goes into the derivation key of whatever stands on it.
        under: the next coarser raster of the layer, or None.
    """

    path: Path
    reference: Reference
    key: str
    under: Ground | None = None
    _file: Any = field(default=None, repr=False, compare=False)
    _shape: tuple[Any, int, int] | None = field(default=None, repr=False, compare=False)

    @classmethod
    def of(cls, lake: Lake, version: LayerVersion) -> Ground:
        """The ground of a terrain version.

        Raises:
            BadFeature: it holds no raster.
        """
        ground: Ground | None = None
        for part in reversed(raster_parts(version)):
            reference = reference_of(version, part)
            name = f"{part.key}@{reference_digest(reference)}"  # the same cells in another datum are another ground
            ground = cls(lake.path(part.key), reference, name if ground is None else f"{name}+{ground.key}", ground)
        assert ground is not None
        return ground

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "reference": self.reference, "key": self.key, "under": self.under, "_file": None, "_shape": self._shape}

    def ellipsoidal(self, lon: F64, lat: F64) -> F64:
        """Ellipsoidal ground height in metres at WGS 84 degrees, bilinear between cell centres; NaN outside and in voids.

        To the last bit a function of the cells that `reach` gives for the place, of this raster and of those under it.
        """
        lon, lat = np.broadcast_arrays(np.asarray(lon, np.float64), np.asarray(lat, np.float64))
        height, weight = self._sample(*self._own(lon, lat))
        height = height * self.reference.vertical_unit + crs.datum_shift(self.reference, lon, lat)
        if self.under is not None and (lacking := weight < 1).any():
            below = self.under.ellipsoidal(lon[lacking], lat[lacking])
            height[lacking] = np.where(np.isnan(below), height[lacking], below)
        return height

    def reach(self, box: Bounds) -> tuple[int, int, int, int] | None:
        """Cells of this raster alone on which heights in a box of WGS 84 degrees may depend; None where it does not reach the box.

        Returns:
            first column, first row, last column, last row; some beyond the raster where the box reaches its rim.
        """
        transform, width, height = self.shape
        every = -1, -1, width, height
        if max(box.maxx - box.minx, box.maxy - box.miny) > WIDE:
            return every
        lon, lat = np.array([box.minx, (box.minx + box.maxx) / 2, box.maxx]), np.array([box.miny, (box.miny + box.maxy) / 2, box.maxy])
        column, row = ~transform * self._own(np.tile(lon, 3), np.repeat(lat, 3))
        first, last = np.array([column.min(), row.min()]), np.array([column.max(), row.max()])
        if not np.isfinite([first, last]).all():
            return every
        room = 2.0 + 0.01 * (last - first)  # a cell for the neighbours, and the sides of the box bend
        c0, r0, c1, r1 = (int(v) for v in np.floor(np.clip([*(first - room), *(last + room)], -1, max(width, height))))
        return (c0, r0, min(c1, width), min(r1, height)) if c1 >= 0 and r1 >= 0 and c0 < width and r0 < height else None

    @property
    def shape(self) -> tuple[Any, int, int]:
        """(affine transform, columns, rows) of this raster alone (read once)."""
        if self._shape is None:
            import rasterio  # noqa: PLC0415  only terrain users pay for GDAL

            with rasterio.open(self.path) as file:
                self._shape = file.transform, file.width, file.height
        return self._shape

    @property
    def lattice(self) -> tuple[int, int, float, float] | None:
        """(column, row, east, north): number of this raster's first cell in the lattice of such cells about the origin, and how far it is off that; None where it is turned.

        Rasters of the same cell size, east and north have the same cells, whatever they cover: to the last bit, heights from the same cells are the same.
        """
        t, _, _ = self.shape
        if t.b or t.d:
            return None
        x, y = t.c / t.a, t.f / t.e
        column, row = math.floor(x + NOISE / 2), math.floor(y + NOISE / 2)
        return column, row, round((x - column) / NOISE) * NOISE, round((y - row) / NOISE) * NOISE

    def _cells(self, x: F64, y: F64) -> tuple[F64, F64]:
        """Columns and rows of places between the centres of cells; the fractions do not depend on where the raster begins (`lattice`)."""
        t, lattice = self.shape[0], self.lattice
        if lattice is None:
            column, row = ~t * (x, y)
            return column - 0.5, row - 0.5
        # whole numbers are taken away last: that is exact
        return x / t.a - 0.5 - lattice[2] - lattice[0], y / t.e - 0.5 - lattice[3] - lattice[1]

    def _own(self, lon: F64, lat: F64) -> tuple[F64, F64]:
        """Degrees in this raster's coordinates; of one in degrees that crosses the 180th meridian, on the side where it has them."""
        x, y = crs.from_lonlat(self.reference.horizontal, lon, lat)
        transform, width, _ = self.shape
        if crs.crs_of(self.reference.horizontal).is_geographic and not -180 <= transform.c <= transform.c + transform.a * width <= 180:
            for turn in (-360.0, 360.0):
                there = ((x < transform.c) | (x > transform.c + transform.a * width)) & (x + turn >= transform.c) & (x + turn <= transform.c + transform.a * width)
                x = np.where(there, x + turn, x)
        return x, y

    def sample(self, x: F64, y: F64) -> F64:
        """Height in the terrain's own datum and unit at coordinates of its own CRS, bilinear; NaN outside and in voids.

        A place in the outer half cell, or beside a void, takes the mean of the cells that have data, or the height of the raster
        below where there is one.
        """
        height, weight = self._sample(x, y)
        if self.under is None or not (weight < 1).any():
            return height
        x, y = np.broadcast_arrays(np.asarray(x, np.float64), np.asarray(y, np.float64))
        lacking = weight < 1
        lon, lat = crs.to_lonlat(self.reference.horizontal, x[lacking], y[lacking])
        below = (self.under.ellipsoidal(lon, lat) - crs.datum_shift(self.reference, lon, lat)) / self.reference.vertical_unit
        height[lacking] = np.where(np.isnan(below), height[lacking], below)
        return height

    def bounds(self) -> Bounds:
        """The box around all rasters of the ground, in the uppermost one's coordinates (heights are NaN)."""
        import rasterio  # noqa: PLC0415  only terrain users pay for GDAL

        with rasterio.open(self.path) as file:
            own = Bounds(*file.bounds)
        return own if self.under is None else Bounds.union([own, _flat_in(self.reference, self.under)])

    def window(self, box: Bounds | None = None, most: int = MOST_CELLS) -> tuple[F64, tuple[float, ...]]:
        """Heights on the cells of the uppermost raster, carried on over the rasters below it where it ends or has no data.

        Args:
            box: in its coordinates, widened to whole cells; by default (and at most) all of the ground.
            most: cells; where a ground of several rasters would have more, the cells are 2, 4, 8 … times as wide (means of four).

        Returns:
            ((rows, columns) heights in its own datum and unit, NaN where there are none; geotransform a, b, c, d, e, f).
            On its own cells the heights are theirs, exactly. No rows or columns where the box lies elsewhere.
        """
        import rasterio  # noqa: PLC0415  only terrain users pay for GDAL
        from rasterio.windows import Window  # noqa: PLC0415

        with rasterio.open(self.path) as file:
            t, whole = file.transform, self.bounds()
            box = whole if box is None else Bounds(max(box.minx, whole.minx), max(box.miny, whole.miny), min(box.maxx, whole.maxx), min(box.maxy, whole.maxy))
            wide, tall, k = t.a, -t.e, 1
            while self.under is not None and (box.maxx - box.minx) * (box.maxy - box.miny) / (wide * tall * k * k) > most:
                k *= 2
            left, right = math.floor((box.minx - t.c) / wide / k + 1e-6) * k, math.ceil((box.maxx - t.c) / wide / k - 1e-6) * k
            top, bottom = math.floor((t.f - box.maxy) / tall / k + 1e-6) * k, math.ceil((t.f - box.miny) / tall / k - 1e-6) * k
            columns, rows = max((right - left) // k, 0), max((bottom - top) // k, 0)
            heights = np.full((rows, columns), np.nan)
            for first in range(0, rows if columns else 0, STRIP):
                r = np.arange(first, min(first + STRIP, rows))
                if k == 1:  # its own cells as they are; the ground below is asked only where they are lacking
                    heights[r] = file.read(1, window=Window(left, top + first, columns, len(r)), boundless=True, masked=True).astype(np.float64).filled(np.nan)
                if self.under is not None:
                    i, j = np.nonzero(np.isnan(heights[r]))
                    heights[first + i, j] = self._mean(t.c + (left + j * k) * wide, t.f - (top + (first + i) * k) * tall, wide * k, tall * k, 1 if k == 1 else 2)
        return heights, (wide * k, 0.0, t.c + left * wide, 0.0, -tall * k, t.f - top * tall)

    def _mean(self, x: F64, y: F64, wide: float, tall: float, side: int) -> F64:
        """Mean height of cells by their north-west corners, from side × side places in each that have one."""
        total, count = np.zeros(x.shape), np.zeros(x.shape)
        offsets = (np.arange(side) + 0.5) / side
        for dx, dy in [(dx, dy) for dx in offsets for dy in offsets]:
            value = self.sample(x + dx * wide, y - dy * tall)
            known = ~np.isnan(value)
            total += np.where(known, value, 0.0)
            count += known
        with np.errstate(invalid="ignore"):
            return np.asarray(np.where(count > 0, total / np.maximum(count, 1), np.nan))

    def _sample(self, x: F64, y: F64) -> tuple[F64, F64]:
        """(heights of this raster alone, 0…1 how much of each comes from cells with data)."""
        import rasterio  # noqa: PLC0415  only terrain users pay for GDAL
        from rasterio.windows import Window  # noqa: PLC0415

        if self._file is None:
            self._file = rasterio.open(self.path)
        file = self._file
        x, y = np.broadcast_arrays(np.asarray(x, np.float64), np.asarray(y, np.float64))
        shape, x, y = x.shape, x.ravel(), y.ravel()
        c, r = self._cells(x, y)
        result, weight = np.full(x.shape, np.nan), np.zeros(x.shape)
        inside = np.isfinite(c) & np.isfinite(r)
        inside[inside] &= (c[inside] >= -0.5) & (r[inside] >= -0.5) & (c[inside] <= file.width - 0.5) & (r[inside] <= file.height - 0.5)
        if not inside.any():
            return result.reshape(shape), weight.reshape(shape)
        c, r = c[inside], r[inside]
        c0, r0 = int(max(np.floor(c.min()), 0)), int(max(np.floor(r.min()), 0))
        c1, r1 = int(min(np.floor(c.max()) + 2, file.width)), int(min(np.floor(r.max()) + 2, file.height))
        data = file.read(1, window=Window(c0, r0, max(c1 - c0, 1), max(r1 - r0, 1)), masked=True).astype(np.float64).filled(np.nan)
        result[inside], weight[inside] = bilinear(data, c - c0, r - r0)
        return result.reshape(shape), weight.reshape(shape)


def _flat_in(target: Reference, ground: Ground) -> Bounds:
    """The box of a ground in the horizontal coordinates of another reference."""
    box = ground.bounds()
    flat = Bounds(box.minx, box.miny, box.maxx, box.maxy, 0.0, 0.0)
    return bounds_in(Reference(target.horizontal, "EPSG:4979"), Reference(ground.reference.horizontal, "EPSG:4979"), flat, ground.path.name)


def raster_parts(version: LayerVersion) -> list[Part]:
    """The rasters that a terrain shows, finest first.

    Raises:
        BadFeature: there is none.
    """
    found = [part for part in version.parts if part.role == "raster"]
    if not found:
        raise BadFeature(f"Layer {version.layer} holds no raster.")
    return found


def reference_of(version: LayerVersion, part: Part) -> Reference:
    """In what coordinates and heights a raster part is written: its own, else the layer's."""
    stated = part.properties.get("reference")
    return Reference(**stated) if stated else version.reference


def reference_digest(reference: Reference) -> str:
    """A short digest of CRS, vertical datum, unit and offset."""
    return hashlib.sha256(json.dumps(asdict(reference), sort_keys=True).encode()).hexdigest()[:12]


def merge(base: LayerVersion, change: LayerVersion) -> LayerVersion:
    """A terrain with newer rasters laid over it: they rule where they have data, and their rims run out into what lies below.

    (The rims are the reader's work, which was given the ground of `base`.) Water of the change takes the place of the base's. A raster that comes again,
    the same bytes at the same place, is laid on top and its first one goes: nothing of that would show.

    Raises:
        BadReference: a new raster lies where the layer's reference has no coordinates.
    """
    new = [part for part in change.parts if part.role == "raster"]
    told = {part.role for part in change.parts} - {"raster"}
    placed = []
    for part in new:
        assert part.bounds is not None
        properties = {**part.properties, "reference": asdict(reference_of(change, part))}
        placed.append(replace(part, bounds=bounds_in(base.reference, change.reference, part.bounds, str(part.properties.get("file", part.key[:12]))), properties=properties))
    again = {(part.key, part.bounds) for part in placed}
    below = [part for part in base.parts if part.role not in told and (part.key, part.bounds) not in again]
    parts = (*placed, *below, *(part for part in change.parts if part.role in told))
    boxes = [part.bounds for part in parts if part.role == "raster" and part.bounds is not None]
    water = base if "table:water" not in told else change  # that of the change takes the place of the base's, whatever each was made from
    uses = water.provenance.get("uses", {})
    gone = [part for part in base.parts if part.role == "raster" and (part.key, part.bounds) in again]
    facts = {**change.report.get("facts", {}), "rasters_added": len(new) - len(gone), "rasters": len(boxes)}
    return replace(base, parts=parts, count=base.count + sum(part.count for part in new) - sum(part.count for part in gone), extent=crs.extent_of(base.reference, Bounds.union(boxes)),
                   report={**change.report, "facts": facts}, provenance={**change.provenance, "tile_options": base.provenance.get("tile_options", {}), "uses": uses})  # fmt: skip


def bilinear(data: F64, column: F64, row: F64) -> tuple[F64, F64]:
    """(values of a grid at fractional cell-centre indices, clamped to the edge; the weight of the cells that are not NaN).

    Cells that are NaN are left out of the mean.
    """
    rows, columns = data.shape
    column, row = np.clip(column, 0, columns - 1), np.clip(row, 0, rows - 1)
    j, i = np.minimum(column.astype(np.int64), max(columns - 2, 0)), np.minimum(row.astype(np.int64), max(rows - 2, 0))
    u, v = column - j, row - i
    j1, i1 = np.minimum(j + 1, columns - 1), np.minimum(i + 1, rows - 1)
    total, weight = np.zeros(column.shape), np.zeros(column.shape)
    for rr, cc, w in ((i, j, (1 - u) * (1 - v)), (i, j1, u * (1 - v)), (i1, j, (1 - u) * v), (i1, j1, u * v)):
        z = data[rr, cc]
        known = ~np.isnan(z)
        total += np.where(known, z, 0.0) * w
        weight += np.where(known, w, 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(weight > SLIGHT, total / weight, np.nan), np.minimum(np.where(weight > 1 - SLIGHT, 1.0, weight), 1.0)
