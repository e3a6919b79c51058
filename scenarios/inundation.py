"""Static inundation: a water level, spread from its source over the terrain wherever the ground is lower and connected.

The upper bound that a flood would reach if the level stood for ever (a "bathtub with connectivity", e.g. Poulter & Halpin
2008, doi:10.1080/13658810701371858). The run climbs from the lowest ground to the level in steps, so each cell also gets
the level at which water first reaches it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import shapely
from numpy.typing import NDArray
from rasterio import features as rio_features
from rasterio.transform import Affine

from scenarios.contract import Output, World, layer_field, param
from scenarios.contract import Params as BaseParams
from scenarios.kernels.connected import connected_below
from twin import crs
from twin.errors import BadOption
from twin.model import Batch, Bounds, Column, Features, Grid, Reference

TITLE = {"zh": "静态淹没", "en": "Static inundation"}
DESCRIPTION = {
    "zh": "给定水位从水源沿地形连通扩散，得到淹没水深与受淹建筑。",
    "en": "A water level spreads from its source over connected lower ground: depth and flooded buildings.",
}
NODATA = -9999.0
DEPTH_CLASSES = [(0.0, 0.15, "#d6ecfa", "≤ 0.15"), (0.15, 0.3, "#a3d0f0", "0.15–0.3"), (0.3, 0.6, "#6aaee0", "0.3–0.6"),
                 (0.6, 1.2, "#3a83c5", "0.6–1.2"), (1.2, 2.5, "#1f5a9e", "1.2–2.5"), (2.5, 1e9, "#12366b", "> 2.5")]  # fmt: skip


class Params(BaseParams):
    """Parameters of the static inundation."""

    terrain: str = layer_field("terrain", zh="地形图层", en="Terrain layer")
    level: float = param(..., "水位（米，地形高程基准）", "Water level, m in the terrain's vertical datum", ge=-500, le=9000)
    source: str = layer_field("vector", "blocks", zh="水源图层（河流等；不选则给水源点）", en="Source layer (river …); empty: give source_point", default="")
    source_point: tuple[float, float] | None = param(None, "水源点（经度, 纬度）", "Source point (longitude, latitude)")
    buildings: str = layer_field("blocks", zh="建筑图层", en="Buildings layer (empty: none)", default="")
    bbox: tuple[float, float, float, float] | None = param(None, "范围（西, 南, 东, 北；空：整个地形）", "Area (west, south, east, north); empty: the whole terrain")
    threshold: float = param(0.05, "受淹判定水深（米）", "Depth at the wall from which a building counts as flooded, m", ge=0)
    steps: int = param(10, "上涨步数", "Number of rising steps", ge=1, le=200)


OUTPUTS = (
    Output("depth", "raster", {"zh": "淹没水深", "en": "Inundation depth"}, "m"),
    Output("buildings", "blocks", {"zh": "受淹建筑", "en": "Flooded buildings"}, "m"),
)


@dataclass
class Inundation:
    """The model: `time` counts rising steps (seconds have no meaning in a static fill)."""

    params: Params
    world: World
    ground: NDArray[np.float64]
    transform: Affine
    reference: Reference
    source: NDArray[np.bool_]
    levels: NDArray[np.float64]
    reached: NDArray[np.float32]
    time: float = 0.0
    end: float = field(init=False)

    def __post_init__(self) -> None:
        self.end = float(len(self.levels))

    def step(self) -> None:
        """Rise to the next level."""
        level = float(self.levels[int(self.time)])
        wet = connected_below(self.ground, level, self.source)
        self.reached = np.where(wet & np.isnan(self.reached), np.float32(level), self.reached)
        self.time += 1

    def fields(self) -> dict[str, NDArray[Any]]:
        """Depth stays finite where it is wet."""
        return {"depth": self.depth()[~np.isnan(self.reached)]}

    def depth(self) -> NDArray[np.float64]:
        """Depth at the highest level so far, m; 0 where dry."""
        unit = self.reference.vertical_unit
        level = float(self.levels[max(int(self.time) - 1, 0)])
        return np.where(np.isnan(self.reached), 0.0, (level - self.ground) * unit)

    def checkpoint(self) -> dict[str, NDArray[Any]]:
        """The step and what has been reached."""
        return {"time": np.array(self.time), "reached": self.reached}

    def facts(self) -> dict[str, Any]:
        """Wet area and volume of standing water."""
        depth = self.depth()
        cell = abs(self.transform.a * self.transform.e) * _square_metres(self.reference, self.transform, depth.shape)
        return {"level": self.params.level, "wet_cells": int((depth > 0).sum()), "area_m2": round(float((depth > 0).sum() * cell), 1),
                "volume_m3": round(float(depth.sum() * cell), 1), "max_depth_m": round(float(depth.max(initial=0.0)), 3)}  # fmt: skip

    def frame(self) -> dict[str, list[Batch]]:
        """Depth grid and flooded buildings at the level reached."""
        depth = self.depth()
        data = np.where(depth > 0, depth, NODATA).astype(np.float32)[None]
        legend = {"type": "classes", "unit": "m", "title": {"zh": "水深（米）", "en": "Depth (m)"},
                  "entries": [{"value": [low, min(high, 100.0)], "color": color, "label": {"zh": text, "en": text}} for low, high, color, text in DEPTH_CLASSES]}  # fmt: skip
        grid = Grid(Reference(self.reference.horizontal), data, (*self.transform[:6],), NODATA, (Column("depth", "float", "m"),), legend)
        return {"depth": [grid], "buildings": self._buildings(depth)}

    def _buildings(self, depth: NDArray[np.float64]) -> list[Batch]:
        if not self.params.buildings:
            return []
        found: list[Batch] = []
        for chunk in self.world.features(self.params.buildings):
            at_wall, wet_share = _touching(chunk, self.reference.horizontal, depth, self.transform)
            flooded = at_wall >= max(self.params.threshold, 1e-9)
            self.world.report.read += len(chunk)
            self.world.report.kept += int(flooded.sum())
            if not flooded.any():
                continue
            rows = pa.array(np.flatnonzero(flooded))
            table = chunk.attributes.take(rows)
            for name in ("flood_depth", "flood_share"):
                if name in table.column_names:
                    table = table.drop_columns([name])
            table = table.append_column(pa.field("flood_depth", pa.float64(), metadata={"unit": "m", "title_zh": "墙边水深", "title_en": "Depth at the wall"}),
                                        pa.array(np.round(at_wall[flooded], 3)))  # fmt: skip
            table = table.append_column(pa.field("flood_share", pa.float64(), metadata={"title_zh": "受淹占比", "title_en": "Share of the outline under water"}),
                                        pa.array(np.round(wet_share[flooded], 3)))  # fmt: skip
            found.append(Features(chunk.reference, chunk.ids.take(rows), chunk.geometry[flooded], table))
        return found


def start(params: Params, world: World) -> Inundation:
    """Read the terrain window and the source.

    Raises:
        BadOption: no source, a source outside the terrain or above the water, an area outside the terrain.
    """
    ground = world.ground(params.terrain)
    reference = ground.reference
    area = None
    if params.bbox is not None:
        box = shapely.box(*params.bbox)
        xy = shapely.get_coordinates(shapely.segmentize(box, (params.bbox[2] - params.bbox[0]) / 20 or 1e-4))
        x, y = crs.from_lonlat(reference.horizontal, xy[:, 0], xy[:, 1])
        area = Bounds(float(x.min()), float(y.min()), float(x.max()), float(y.max()))
    heights, numbers = ground.window(area)
    if not heights.size:
        raise BadOption(f"bbox {params.bbox} lies outside the terrain {params.terrain!r}.", "Choose an area inside it.")
    transform = Affine(*numbers)
    if ground.under is not None:
        world.report.note("assumed", params.terrain, f"its rasters are taken together on cells of {numbers[0]:g} × {-numbers[4]:g}")
    source = _source(params, world, reference, transform, heights.shape)
    low = source & (np.nan_to_num(heights, nan=np.inf) < params.level)
    if not low.any():
        raise BadOption(f"The source lies nowhere below the level {params.level} m inside the area.", "Raise the level or choose another source or area.")
    bottom = float(np.nanmin(heights[low]))
    levels = bottom + (params.level - bottom) * np.arange(1, params.steps + 1) / params.steps
    levels[-1] = params.level
    return Inundation(params, world, heights, transform, reference, source, levels, np.full(heights.shape, np.nan, np.float32))


def resume(params: Params, world: World, saved: dict[str, NDArray[Any]]) -> Inundation:
    """Go on from a checkpoint."""
    model = start(params, world)
    model.time, model.reached = float(saved["time"]), saved["reached"]
    return model


def _source(params: Params, world: World, reference: Reference, transform: Affine, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    mask = np.zeros(shape, np.bool_)
    shapes: list[Any] = []
    if params.source:
        horizontal = world.version(params.source).reference.horizontal
        for chunk in world.features(params.source):
            moved = shapely.transform(chunk.geometry, lambda xy, h=horizontal: np.column_stack(crs.convert(h, reference.horizontal, xy[:, 0], xy[:, 1])))
            shapes.extend(geometry for geometry in moved if geometry is not None and not geometry.is_empty)
    if params.source_point is not None:
        x, y = crs.from_lonlat(reference.horizontal, np.array([params.source_point[0]]), np.array([params.source_point[1]]))
        shapes.append(shapely.Point(float(x[0]), float(y[0])))
    if not shapes:
        raise BadOption("The inundation needs a source.", "Give source (a layer, e.g. the river) or source_point (lon, lat).")
    rio_features.rasterize(shapes, out_shape=shape, transform=transform, all_touched=True, default_value=1, out=(burnt := np.zeros(shape, np.uint8)))
    mask |= burnt == 1
    return mask


def _touching(chunk: Features, horizontal: str, depth: NDArray[np.float64], transform: Affine) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """((N,) greatest depth under each outline, (N,) share of its outline points that are wet); outlines sampled every half cell."""
    source = chunk.reference.horizontal
    moved = shapely.transform(chunk.geometry, lambda xy: np.column_stack(crs.convert(source, horizontal, xy[:, 0], xy[:, 1])))
    lines = shapely.segmentize(shapely.boundary(moved), abs(transform.a) / 2)
    xy, owner = shapely.get_coordinates(lines, return_index=True)
    column, row = ~transform * (xy[:, 0], xy[:, 1])
    inside = (column >= 0) & (row >= 0) & (column < depth.shape[1]) & (row < depth.shape[0])
    value = np.zeros(len(xy))
    value[inside] = depth[row[inside].astype(np.int64), column[inside].astype(np.int64)]
    deepest, wet, points = np.zeros(len(chunk)), np.zeros(len(chunk)), np.zeros(len(chunk))
    np.maximum.at(deepest, owner, value)
    np.add.at(wet, owner, value > 0)
    np.add.at(points, owner, 1)
    return deepest, wet / np.maximum(points, 1)


def _square_metres(reference: Reference, transform: Affine, shape: tuple[int, ...]) -> float:
    """Square metres of one square unit of the CRS, at the middle of the grid."""
    x, y = transform * (shape[1] / 2, shape[0] / 2)
    d = abs(transform.a)
    corner = crs.to_lonlat(reference.horizontal, np.array([x, x + d, x]), np.array([y, y, y + d]))
    p = crs.geodetic_to_ecef(np.column_stack([*corner, np.zeros(3)]))
    return float(np.linalg.norm(np.cross(p[1] - p[0], p[2] - p[0])) / d**2)
