"""Map tiles: any layer that lies flat as 256-pixel PNG images in WebMercatorQuad, to be draped over the ground.

Rasters are sampled from their COG (`mapsource`) and coloured by the legend they carry; terrain is shown as shaded relief;
vectors are drawn from their features, with widths in metres on the ground. Transparent where there is nothing.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
import shapely
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from twin import crs, moments, parts
from twin.errors import BadOption
from twin.ground import raster_parts, reference_of
from twin.lake import Lake
from twin.mapchoice import Choice, chosen
from twin.mapsource import SIZE, WORLD, finest_zoom, tile_cells
from twin.model import LayerVersion, Part
from twin.query import Caps

CODE_VERSION = "2"
OVER = 2
"""Vectors are drawn at twice the size and averaged down: smooth edges."""
THINNEST = 1.3
"""Pixels: a line is never drawn thinner, however far away."""
GREY = (154, 154, 154)
"""Of a feature that a legend does not know."""
HUES = ("#3f6ea3", "#b5651d", "#4f8a4c", "#8b5a9e", "#2b8a8a", "#a8485c", "#7a7a2e", "#5b6b7b")

HEIGHTS = np.array([-5.0, 0.0, 5.0, 40.0, 200.0, 800.0, 2500.0, 5000.0])
"""Metres at which shaded relief has the tint of the same row below."""
TINTS = np.array([[150, 180, 200], [176, 196, 178], [196, 206, 176], [206, 208, 178], [214, 202, 168], [196, 176, 146], [188, 176, 166], [240, 240, 240]])

U8 = NDArray[np.uint8]
ALL, CAPS = Choice(), Caps()


def describe(lake: Lake, version: LayerVersion) -> dict[str, Any]:
    """What a TileJSON needs: minzoom, maxzoom, bounds [west, south, east, north] and the legend (or None)."""
    box = version.extent
    bounds = [box.minx, box.miny, box.maxx, box.maxy] if box else [-180.0, -85.0, 180.0, 85.0]
    if version.kind == "vector":
        return {"minzoom": 0, "maxzoom": 21, "bounds": bounds, "legend": _vector_legend(version)}
    first = raster_parts(version)[0]
    finest = finest_zoom(lake.path(first.key), reference_of(version, first).horizontal)
    zooms = {"minzoom": 0, "maxzoom": min(finest + 1, 22)}  # one more, so that cells have sharp edges
    legend = _legend(version) if version.kind != "terrain" else _height_legend(version)
    if legend:
        legend = {k: v for k, v in legend.items() if k != "range"}
    return {**zooms, "bounds": bounds, "legend": legend, **moments.describe(version)}


def render(
    lake: Lake, version: LayerVersion, z: int, x: int, y: int, time: float | None = None, choice: Choice = ALL, caps: Caps = CAPS
) -> bytes:
    """One tile as PNG, 256 × 256, RGBA; of a raster over time as it is at `time` (s after its start), else at its end.

    Of a vector layer only what `choice` names, in its colours.

    Raises:
        BadOption: a choice that does not fit the layer, or one for a layer without features.
    """
    if version.kind == "vector":
        return _png(_draw(lake, version, z, x, y, choice, caps))
    if choice:
        raise BadOption(f"Layer {version.layer!r} ({version.kind}) has no features to choose from.", "filter and color-by are for vector layers.")
    picture = _hillshade(lake, version, z, x, y) if version.kind == "terrain" else _raster(lake, moments.part_at(version, time), version, z, x, y)
    return EMPTY if picture is None else _png(picture)


# --- rasters -----------------------------------------------------------------------------------------------------


def _legend(version: LayerVersion) -> dict[str, Any] | None:
    if version.kind == "terrain":
        return None
    legend = version.style.get("legend") or parts.raster_part(version).properties.get("legend")
    return {**legend, "unit": legend.get("unit") or version.style.get("unit", "")} if legend else None


def _raster(lake: Lake, part: Part, version: LayerVersion, z: int, x: int, y: int) -> U8 | None:
    path = lake.path(part.key)
    legend = _legend(version)
    kind = legend["type"] if legend else "rgb"
    values = legend is not None and kind == "classes" and not (legend["entries"] and isinstance(legend["entries"][0]["value"], list))
    cells = tile_cells(path, version.reference.horizontal, z, x, y, "nearest" if values else "bilinear")
    if cells is None:
        return None
    data, alpha = cells.bands * part.properties.get("scale", 1), cells.alpha
    if kind == "rgb":
        bands = data[:3] if len(data) >= 3 else np.repeat(data[:1], 3, axis=0)
        if legend and "range" in legend:  # more than 8 bits: stretched to what is shown as black and white
            low, high = legend["range"]
            bands = (bands.astype(np.float64) - low) / max(high - low, 1e-9) * 255
        return np.dstack([*np.clip(np.round(bands), 0, 255).astype(np.uint8), alpha])
    assert legend is not None
    return _colored(data[0], alpha, kind, legend["entries"])


def _colored(band: NDArray[Any], alpha: U8, kind: str, entries: list[dict[str, Any]]) -> U8:
    """(H, W, 4): a band by classes (equal values or intervals) or by a ramp; what no class covers is transparent."""
    colors = np.array([_rgb(entry["color"]) for entry in entries], np.float64)
    finite = np.isfinite(band) if band.dtype.kind == "f" else np.ones(band.shape, bool)
    if kind == "continuous":
        stops = np.array([entry["value"] for entry in entries], np.float64)
        safe = np.where(finite, band, stops[0]).astype(np.float64)
        rgb = np.stack([np.interp(safe, stops, colors[:, i]) for i in range(3)], axis=-1)
        return np.dstack([rgb.round().astype(np.uint8), np.where(finite, alpha, 0).astype(np.uint8)])
    out = np.zeros((*band.shape, 4), np.uint8)
    for entry, color in zip(entries, colors, strict=True):
        value = entry["value"]
        here = (band > value[0]) & (band <= value[1]) if isinstance(value, list) else band == value
        out[here & finite & (alpha > 0)] = [*color.astype(np.uint8), 255]
    return out


def _hillshade(lake: Lake, version: LayerVersion, z: int, x: int, y: int) -> U8 | None:
    """Shaded relief (Horn 1981; sun from the north-west, 45° high), tinted by height; one pixel more on every side for the slope."""
    height = np.full((SIZE + 2, SIZE + 2), np.nan)
    alpha = np.zeros(height.shape, np.uint8)
    for part in raster_parts(version):  # finest first; the next one where that has nothing
        own = reference_of(version, part)
        cells = tile_cells(lake.path(part.key), own.horizontal, z, x, y, "bilinear", buffer=1)
        if cells is not None:
            here = (cells.alpha > 0) & (alpha == 0)
            height[here], alpha[here] = (cells.bands[0] * own.vertical_unit)[here], cells.alpha[here]
        if (alpha > 0).all():
            break
    if not alpha.any():
        return None
    latitude = math.atan(math.sinh(math.pi * (1 - 2 * (y + 0.5) / 2**z)))
    step = WORLD / 2**z / SIZE * math.cos(latitude)
    gy, gx = _gradient(height, 0) / step, _gradient(height, 1) / step
    padded = np.nan_to_num(height)
    slope, aspect = np.arctan(2.0 * np.hypot(gx, gy)), np.arctan2(gy, -gx)
    sun_height, sun_azimuth = math.radians(45), math.radians(135)
    light = np.clip(math.sin(sun_height) * np.cos(slope) + math.cos(sun_height) * np.sin(slope) * np.cos(sun_azimuth - aspect), 0, 1)
    rgb = np.stack([np.interp(padded, HEIGHTS, TINTS[:, i]) for i in range(3)], axis=-1) * (0.45 + 0.75 * light[..., None])
    out = np.dstack([np.clip(rgb, 0, 255).astype(np.uint8), alpha])
    return np.ascontiguousarray(out[1:-1, 1:-1])


def _gradient(height: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    """Change per pixel along an axis: central, one-sided beside missing values, 0 where nothing is known around."""
    steps = np.diff(height, axis=axis)
    none = np.full(np.take(height, [0], axis=axis).shape, np.nan)
    ahead, behind = np.concatenate([steps, none], axis=axis), np.concatenate([none, steps], axis=axis)
    both = np.where(np.isnan(ahead), behind, np.where(np.isnan(behind), ahead, (ahead + behind) / 2))
    return np.asarray(np.nan_to_num(both))


def _height_legend(version: LayerVersion) -> dict[str, Any]:
    """The relief's tints between the lowest and the highest ground."""
    box = parts.raster_part(version).bounds
    unit = version.reference.vertical_unit
    low, high = (box.minz * unit, box.maxz * unit) if box and box.minz == box.minz else (float(HEIGHTS[0]), float(HEIGHTS[-1]))
    stops = [low, *(float(h) for h in HEIGHTS if low < h < high), high]
    colors = np.stack([np.interp(stops, HEIGHTS, TINTS[:, i]) for i in range(3)], axis=-1).round().astype(int)
    entries = [{"value": round(v, 2), "color": "#{:02x}{:02x}{:02x}".format(*c), "label": {"zh": f"{v:.4g}", "en": f"{v:.4g}"}}
               for v, c in zip(stops, colors, strict=True)]  # fmt: skip
    return {"type": "continuous", "unit": "m", "title": {"zh": "高程", "en": "Height"}, "entries": entries}


# --- vectors -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Drawing:
    """A vector layer ready to draw: geometries in Web Mercator metres, their tree, and per feature its id, a colour and a width (m)."""

    ids: list[str]
    geometry: NDArray[np.object_]
    tree: shapely.STRtree
    color: list[tuple[int, int, int]]
    width: NDArray[np.float64]
    dimension: NDArray[np.int64]


def _draw(lake: Lake, version: LayerVersion, z: int, x: int, y: int, choice: Choice, caps: Caps) -> U8:
    size = WORLD / 2**z
    west, north = -WORLD / 2 + x * size, WORLD / 2 - y * size
    pixel = size / (SIZE * OVER)
    drawing = _drawing(lake, version)
    stretch = math.cosh(math.pi * (1 - 2 * (y + 0.5) / 2**z))  # Mercator metres per metre on the ground
    edge = 4 * OVER * pixel + float(drawing.width.max(initial=0.0)) * stretch
    found = np.sort(drawing.tree.query(shapely.box(west - edge, north - size - edge, west + size + edge, north + edge)))
    ids, colors = chosen(lake, version, choice, caps) if choice else (None, None)
    if ids is not None:
        found = found[[drawing.ids[row] in ids for row in found]]
    canvas = Image.new("RGBA", (SIZE * OVER, SIZE * OVER), (0, 0, 0, 0))
    pen = ImageDraw.Draw(canvas)
    fill_alpha = round(255 * float(version.style.get("fill_opacity", 0.55)))
    # clipped, so that a shape as large as the city costs no more than what is seen of it
    clipped = shapely.clip_by_rect(drawing.geometry[found], west - edge, north - size - edge, west + size + edge, north + edge)
    extent = shapely.bounds(clipped)
    specks = np.maximum(extent[:, 2] - extent[:, 0], extent[:, 3] - extent[:, 1]) < 0.5 * pixel
    for dimension in (2, 1, 0):
        for at in np.flatnonzero(drawing.dimension[found] == dimension):
            row, shapes = found[at], clipped[at]
            if shapes is None or shapes.is_empty:
                continue
            color = colors.get(drawing.ids[row], GREY) if colors is not None else drawing.color[row]
            if dimension and specks[at]:
                pen.point([((extent[at, 0] - west) / pixel, (north - extent[at, 3]) / pixel)], fill=(*color, 235))
                continue
            for shape in shapely.get_parts(shapes):
                if dimension == 2 and shape.geom_type == "Polygon":
                    _polygon(canvas, pen, shape, west, north, pixel, color, fill_alpha)
                elif dimension == 1 and shape.geom_type == "LineString":
                    width = max(drawing.width[row] * stretch / pixel, THINNEST * OVER)
                    _line(pen, _pixels(shape, west, north, pixel), color, width)
                elif dimension == 0:
                    _dot(pen, _pixels(shape, west, north, pixel)[0], color, drawing.width[row] * stretch / pixel / 2)
    return np.asarray(canvas.resize((SIZE, SIZE), Image.Resampling.BOX))


def _pixels(shape: Any, west: float, north: float, pixel: float) -> list[tuple[float, float]]:
    xy = shapely.get_coordinates(shape)
    return list(zip(((xy[:, 0] - west) / pixel).tolist(), ((north - xy[:, 1]) / pixel).tolist(), strict=True))


def _polygon(canvas: Any, pen: Any, shape: Any, west: float, north: float, pixel: float, color: tuple[int, int, int], alpha: int) -> None:
    if len(shape.interiors):  # through a mask: what lies under a hole stays
        mask = Image.new("1", canvas.size, 0)
        cut = ImageDraw.Draw(mask)
        cut.polygon(_pixels(shape.exterior, west, north, pixel), fill=1)
        for hole in shape.interiors:
            cut.polygon(_pixels(hole, west, north, pixel), fill=0)
        canvas.paste((*color, alpha), (0, 0), mask)
    else:
        pen.polygon(_pixels(shape.exterior, west, north, pixel), fill=(*color, alpha))
    edge = tuple(int(c * 0.75) for c in color)
    for ring in (shape.exterior, *shape.interiors):
        pen.line(_pixels(ring, west, north, pixel), fill=(*edge, 220), width=OVER, joint="curve")


def _dot(pen: Any, at: tuple[float, float], color: tuple[int, int, int], radius: float) -> None:
    """A disc of its size on the ground (a tree's crown), or, where none is stated, a mark of one size at every level."""
    (px, py), r = at, max(radius, 0.7 * OVER) if radius else 3.2 * OVER
    edge = tuple(int(c * 0.8) for c in color) if radius else (255, 255, 255)
    pen.ellipse([px - r, py - r, px + r, py + r], fill=(*color, 225 if radius else 255), outline=(*edge, 255), width=1 if radius else OVER)


def _line(pen: Any, points: list[tuple[float, float]], color: tuple[int, int, int], width: float) -> None:
    thick = max(1, round(width))
    pen.line(points, fill=(*color, 235), width=thick, joint="curve")
    if thick > 3:  # round ends, so that edges which share a node join
        for px, py in (points[0], points[-1]):
            r = thick / 2
            pen.ellipse([px - r, py - r, px + r, py + r], fill=(*color, 235))


def _drawing(lake: Lake, version: LayerVersion) -> _Drawing:
    return _drawings(lake, (version.tombstones, *((part.key, part.hidden) for part in version.parts)), _Style(version))


@dataclass(frozen=True, eq=False)
class _Style:
    """The version behind a cached drawing; compares by what the drawing depends on."""

    version: LayerVersion

    def __hash__(self) -> int:
        return hash((self.version.layer, repr(self.version.style)))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Style) and (self.version.layer, self.version.style) == (other.version.layer, other.version.style)


@lru_cache(maxsize=24)
def _drawings(lake: Lake, keys: tuple[Any, ...], style: _Style) -> _Drawing:  # noqa: ARG001  keys are the cache's
    version = style.version
    wanted = [name for name in (version.style.get("category"), version.style.get("width_column")) if name]
    shapes, widths = [], []
    ids: list[str] = []
    colors: list[tuple[int, int, int]] = []
    base, palette = _color(version), _categories(version)
    for chunk in parts.read_features(lake, version, wanted):
        lonlat = shapely.transform(shapely.force_2d(chunk.geometry), lambda xy, h=chunk.reference.horizontal: _mercator(h, xy))
        known = np.array([g is not None and not g.is_empty for g in lonlat])
        shapes.append(lonlat[known])
        ids.extend(chunk.ids.filter(pa.array(known)).to_pylist())
        category = version.style.get("category")
        texts = chunk.attributes.column(category).to_pylist() if category else [None] * len(chunk)
        colors.extend(palette.get(text, base) for text, keep in zip(texts, known, strict=True) if keep)
        widths.append(_widths(chunk, version)[known])
    geometry = np.concatenate(shapes) if shapes else np.zeros(0, object)
    return _Drawing(ids, geometry, shapely.STRtree(geometry), colors, np.concatenate(widths) if widths else np.zeros(0), shapely.get_dimensions(geometry))


def _mercator(horizontal: str, xy: NDArray[np.float64]) -> NDArray[np.float64]:
    lon, lat = crs.to_lonlat(horizontal, xy[:, 0], xy[:, 1])
    return np.column_stack([np.radians(lon) * 6378137.0, 6378137.0 * np.arctanh(np.sin(np.radians(np.clip(lat, -85.06, 85.06))))])


def _widths(chunk: Any, version: LayerVersion) -> NDArray[np.float64]:
    """Metres on the ground of each line."""
    column = version.style.get("width_column")
    if column:
        return np.nan_to_num(np.asarray(chunk.attributes.column(column).to_pandas(), dtype=np.float64), nan=0.0)
    return np.full(len(chunk), float(version.style.get("width", 0.0)))


def _color(version: LayerVersion) -> tuple[int, int, int]:
    """The layer's stated colour, else one that depends on its name alone."""
    return _rgb(version.style.get("color") or HUES[sum(version.layer.encode()) % len(HUES)])


def _categories(version: LayerVersion) -> dict[Any, tuple[int, int, int]]:
    """Colours by value of the style's category column: stated ones, else distinct hues in the order of the values."""
    stated = version.style.get("colors") or {}
    return {value: _rgb(color) for value, color in stated.items()}


def _vector_legend(version: LayerVersion) -> dict[str, Any]:
    labels = version.style.get("colors")
    entries: Iterable[tuple[str, str]] = labels.items() if labels else [("", version.style.get("color") or HUES[sum(version.layer.encode()) % len(HUES)])]
    return {"type": "vector", "unit": "", "title": {}, "entries": [{"value": text, "color": color, "label": {"zh": text, "en": text}} for text, color in entries]}


def _rgb(color: str) -> tuple[int, int, int]:
    return int(color[1:3], 16), int(color[3:5], 16), int(color[5:7], 16)


def _bleed(rgba: U8) -> U8:
    """Give the transparent pixels beside drawn ones their colour: clients that filter linearly would else draw a dark rim."""
    known = rgba[..., 3] > 0
    if known.all():
        return rgba
    out = rgba.copy()
    for _ in range(2):
        before = known.copy()
        for axis, step in ((0, 1), (0, -1), (1, 1), (1, -1)):
            fill = np.roll(before, step, axis) & ~known
            out[fill, :3] = np.roll(out[..., :3], step, axis)[fill]
            known |= fill
    return out


def _png(rgba: U8) -> bytes:
    if not rgba[..., 3].any():
        return EMPTY
    rgba = _bleed(rgba)
    out = io.BytesIO()
    Image.fromarray(rgba).save(out, "PNG", compress_level=4)
    return out.getvalue()


def _empty() -> bytes:
    out = io.BytesIO()
    Image.new("LA", (SIZE, SIZE), (0, 0)).save(out, "PNG", optimize=True)
    return out.getvalue()


EMPTY = _empty()
