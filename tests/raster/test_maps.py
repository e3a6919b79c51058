"""Map tiles: colours, transparency, borders, and that every pixel lies where it should (computed here independently)."""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import shapely
from PIL import Image
from pyproj import Transformer
from rasterio.transform import from_origin

from ingest_gis import terrain
from twin import maps
from twin.lake import Lake
from twin.model import Column as TwinColumn
from twin.model import Features, Grid, LayerVersion, Reference, Report
from twin.parts import write_version

TO_MERCATOR = Transformer.from_crs("EPSG:32649", "EPSG:3857", always_xy=True)
HALF = 20037508.342789244


def pixel_of(x: float, y: float, z: int) -> tuple[float, float]:
    """Global pixel (column, row) at a level of a place in EPSG:32649."""
    mx, my = TO_MERCATOR.transform(x, y)
    scale = 256 * 2**z / (2 * HALF)
    return (mx + HALF) * scale, (HALF - my) * scale


def image(lake: Lake, version: LayerVersion, z: int, x: int, y: int) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(maps.render(lake, version, z, x, y))).convert("RGBA"))


def mosaic(lake: Lake, version: LayerVersion, z: int, box: tuple[float, float, float, float]) -> tuple[np.ndarray, float, float]:
    """All tiles around a box of EPSG:32649 in one picture, and the global pixel of its corner."""
    (c0, r1), (c1, r0) = pixel_of(box[0], box[1], z), pixel_of(box[2], box[3], z)
    xs, ys = range(int(c0 // 256), int(c1 // 256) + 1), range(int(r0 // 256), int(r1 // 256) + 1)
    assert len(xs) * len(ys) < 40
    return np.vstack([np.hstack([image(lake, version, z, x, y) for x in xs]) for y in ys]), xs[0] * 256, ys[0] * 256


def vector(lake: Lake, shapes: list[Any], style: dict[str, Any], columns: dict[str, list] | None = None) -> LayerVersion:
    geometry = np.empty(len(shapes), object)
    geometry[:] = shapes
    batch = Features(Reference("EPSG:32649"), pa.array([str(i) for i in range(len(shapes))]), geometry, pa.table(columns or {"n": list(range(len(shapes)))}))
    return write_version(lake, "shapes", "vector", [batch], Report(source="s"), provenance={}, style=style)


def grid(lake: Lake, cells: np.ndarray, legend: dict[str, Any], nodata: float | None = None) -> LayerVersion:
    made = Grid(Reference("EPSG:32649"), cells[None], (10, 0, 700000, 0, -10, 2500000), nodata, (TwinColumn("v", "float"),), legend)
    return write_version(lake, "grid", "raster", [made], Report(source="s"), provenance={})


# --- where pixels lie --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("z", [15, 17])
def test_a_raster_cell_lands_on_its_pixel(lake: Lake, z: int) -> None:
    cells = np.ones((200, 240), np.uint8)
    cells[60:80, 100:110] = 2
    entries = [{"value": 1, "color": "#ffffff"}, {"value": 2, "color": "#ff0000"}]
    version = grid(lake, cells, {"type": "classes", "entries": entries})
    picture, left, top = mosaic(lake, version, z, (700900, 2499100, 701200, 2499500))
    red = (picture[..., :3] == [255, 0, 0]).all(axis=-1)
    rows, columns = np.nonzero(red)
    corners = [pixel_of(x, y, z) for x in (701000, 701100) for y in (2499200, 2499400)]
    assert abs(columns.min() + left - min(c for c, _ in corners)) <= 1
    assert abs(columns.max() + 1 + left - max(c for c, _ in corners)) <= 1
    assert abs(rows.min() + top - min(r for _, r in corners)) <= 1
    assert abs(rows.max() + 1 + top - max(r for _, r in corners)) <= 1
    ring = shapely.Polygon([corners[0], corners[1], corners[3], corners[2]])
    assert red.sum() == pytest.approx(ring.area, rel=0.02)


def test_a_polygon_lands_on_its_pixels(lake: Lake) -> None:
    version = vector(lake, [shapely.box(701000, 2499200, 701100, 2499400)], {"color": "#3366cc"})
    picture, left, top = mosaic(lake, version, 17, (700900, 2499100, 701200, 2499500))
    rows, columns = np.nonzero(picture[..., 3] > 100)
    corners = [pixel_of(x, y, 17) for x in (701000, 701100) for y in (2499200, 2499400)]
    assert abs(columns.min() + left - min(c for c, _ in corners)) <= 1.5
    assert abs(columns.max() + 1 + left - max(c for c, _ in corners)) <= 1.5
    assert abs(rows.min() + top - min(r for _, r in corners)) <= 1.5
    assert abs(rows.max() + 1 + top - max(r for _, r in corners)) <= 1.5
    covered = (picture[..., 3] > 100).sum()
    ring = shapely.Polygon([corners[0], corners[1], corners[3], corners[2]])
    assert covered == pytest.approx(ring.area, rel=0.03)


# --- colours -----------------------------------------------------------------------------------------------------


def centre_tile(z: int, x: float = 701000, y: float = 2499000) -> tuple[int, int, int]:
    column, row = pixel_of(x, y, z)
    return z, int(column // 256), int(row // 256)


def test_ramp_intervals_and_holes(lake: Lake) -> None:
    cells = np.full((200, 200), 0.5, np.float32)
    cells[:, 100:] = -9999
    ramp = {"type": "continuous", "entries": [{"value": 0, "color": "#000000"}, {"value": 1, "color": "#ffffff"}]}
    version = grid(lake, cells, ramp, -9999)
    picture, left, _ = mosaic(lake, version, 16, (700500, 2498500, 701500, 2499500))
    shown = picture[..., 3] == 255
    assert shown.any()
    assert not shown.all()
    assert set(np.unique(picture[shown][:, :3])) <= {127, 128}
    edge = pixel_of(701000, 2499000, 16)[0] - left
    assert abs(np.flatnonzero(shown[picture.shape[0] // 2]).max() - edge) <= 2
    classes = {"type": "classes", "entries": [{"value": [0.0, 0.4], "color": "#00ff00"}, {"value": [0.4, 1.0], "color": "#ff0000"}]}
    steps = grid(lake, np.repeat(np.array([[0.0, 0.3, 0.7, 5.0]], np.float32), 4, axis=0).repeat(50, axis=0).repeat(50, axis=1), classes)
    picture, _, _ = mosaic(lake, steps, 16, (700000, 2498000, 702000, 2500000))
    colors = {tuple(c) for c in picture.reshape(-1, 4)}
    assert {(0, 255, 0, 255), (255, 0, 0, 255)} <= colors
    assert all(c in {(0, 255, 0, 255), (255, 0, 0, 255)} or c[3] == 0 for c in colors), "a value of no class is transparent"


def test_picture_with_alpha_and_sixteen_bits(lake: Lake, make: Callable[..., Path], ingest: Callable[..., Any]) -> None:
    cells = np.zeros((4, 200, 200), np.uint8)
    cells[0], cells[3] = 200, 255
    cells[3, :, :100] = 0
    version = ingest(make("a.tif", cells, photometric="RGB", alpha="YES")).version
    picture, _, _ = mosaic(lake, version, 15, (700200, 2498200, 701800, 2499800))
    colors = {tuple(c) for c in picture.reshape(-1, 4) if c[3] == 255}
    assert colors == {(200, 0, 0, 255)}
    west = image(lake, version, *centre_tile(17, 700300, 2499000))
    assert not west[..., 3].any()
    deep = np.zeros((3, 100, 100), np.uint16)
    deep[0, :50], deep[1, 50:] = 4000, 4000
    version = ingest(make("b.tif", deep, photometric="RGB")).version
    assert "range" not in maps.describe(lake, version)["legend"]
    colors = {tuple(c) for c in image(lake, version, *centre_tile(16, 700500, 2499500)).reshape(-1, 4)}
    assert {(255, 0, 0, 255), (0, 255, 0, 255)} <= colors


def test_outside_is_transparent_and_small(lake: Lake) -> None:
    version = grid(lake, np.ones((50, 50), np.uint8), {"type": "classes", "entries": [{"value": 1, "color": "#ff0000"}]})
    tile = maps.render(lake, version, 12, 0, 0)
    assert len(tile) < 300
    assert not np.asarray(Image.open(io.BytesIO(tile)).convert("RGBA"))[..., 3].any()
    assert maps.render(lake, vector(lake, [shapely.Point(701000, 2499000)], {}), 12, 0, 0) == tile


def test_real_photo_on_the_map(shared_data: Path, lake: Lake, ingest: Callable[..., Any]) -> None:
    """The middle of the real patch, at its own resolution, against the source's pixels."""
    import rasterio

    source = shared_data / "pointcloud/ign_rgb_patch.tif"
    version = ingest(source).version
    facts = maps.describe(lake, version)
    with rasterio.open(source) as file:
        cells, t, wkt = file.read(), file.transform, file.crs.to_wkt()
    to_mercator = Transformer.from_crs(wkt, "EPSG:3857", always_xy=True)
    z, worst = facts["maxzoom"], []
    for column, row in ((60, 80), (126, 126), (200, 150)):
        mx, my = to_mercator.transform(*(t * (column + 0.5, row + 0.5)))
        scale = 256 * 2**z / (2 * HALF)
        c, r = (mx + HALF) * scale, (HALF - my) * scale
        tile = image(lake, version, z, int(c // 256), int(r // 256))
        seen = tile[int(r % 256), int(c % 256), :3].astype(int)
        around = cells[:, row - 1 : row + 2, column - 1 : column + 2].reshape(3, -1)
        worst.append(int(np.maximum(around.min(axis=1) - seen, seen - around.max(axis=1)).max()))
    assert max(worst) <= 6


# --- vectors -----------------------------------------------------------------------------------------------------


def test_line_width_is_metres_on_the_ground_but_never_too_thin(lake: Lake) -> None:
    line = shapely.LineString([(700000, 2499000), (702000, 2499000)])
    version = vector(lake, [line], {"color": "#102030", "width": 20})
    for z, least, most in ((18, 34, 40), (16, 8.5, 10.5), (10, 1.0, 2.2)):
        picture = image(lake, version, *centre_tile(z))
        alpha = picture[..., 3].astype(float) / 235
        column = alpha[:, int(pixel_of(701000, 2499000, z)[0] % 256)]
        ground = math.cos(math.radians(22.59)) * 2 * HALF / 2**z / 256
        assert least <= column.sum() <= most, (z, column.sum(), 20 / ground)


def test_lines_and_polygons_go_on_across_tile_borders(lake: Lake) -> None:
    shapes = [shapely.LineString([(699000, 2497100), (703000, 2501300)]), shapely.box(700100, 2498100, 701900, 2499900)]
    version = vector(lake, shapes, {"color": "#884422", "width": 12})
    z = 17
    picture, _, _ = mosaic(lake, version, z, (700600, 2498600, 701400, 2499400))
    for border in range(256, picture.shape[1], 256):
        before, after = (picture[:, c, 3].astype(int) for c in (border - 1, border))
        assert abs(int((before > 230).sum()) - int((after > 230).sum())) <= 3
        assert before.min() > 100, "a seam in the polygon"
        assert after.min() > 100
        assert np.abs(np.flatnonzero(before > 230).mean() - np.flatnonzero(after > 230).mean()) <= 2.5
    for border in range(256, picture.shape[0], 256):
        assert picture[border - 1, :, 3].min() > 100
        assert picture[border, :, 3].min() > 100


def test_a_hole_shows_what_lies_under_it(lake: Lake) -> None:
    ring = shapely.Polygon(shapely.box(700500, 2498500, 701500, 2499500).exterior, [shapely.box(700900, 2498900, 701100, 2499100).exterior])
    version = vector(lake, [shapely.box(700000, 2498000, 702000, 2500000), ring], {"category": "kind", "colors": {"a": "#ff0000", "b": "#0000ff"}},
                     {"kind": ["a", "b"]})  # fmt: skip
    picture = image(lake, version, *centre_tile(16))
    column, row = (int(v % 256) for v in pixel_of(701000, 2499000, 16))
    assert tuple(picture[row, column, :3]) == (255, 0, 0)
    column, row = (int(v % 256) for v in pixel_of(701000, 2499200, 16))
    assert tuple(picture[row, column, :3]) == (0, 0, 255)
    assert maps.describe(lake, version)["legend"]["type"] == "vector"


def test_points_specks_and_missing_shapes(lake: Lake) -> None:
    shapes = [shapely.Point(701000, 2499000), None, shapely.box(701300, 2499000, 701300.5, 2499000.5), shapely.GeometryCollection()]
    version = vector(lake, shapes, {"color": "#00aa55"})
    picture = image(lake, version, *centre_tile(14))
    column, row = (int(v % 256) for v in pixel_of(701000, 2499000, 14))
    assert tuple(picture[row, column, :3]) == (0, 0xAA, 0x55)
    column, row = (int(v % 256) for v in pixel_of(701300.25, 2499000.25, 14))
    assert picture[row - 1 : row + 2, column - 1 : column + 2, 3].max() > 20, "a building smaller than a pixel still shows"


def test_a_shape_as_large_as_the_country_is_drawn_close_up(lake: Lake) -> None:
    turn = np.linspace(0, 2 * np.pi, 20001)[:-1]
    ring = np.column_stack([701000 + 90000 * np.cos(turn), 2499000 + 90000 * np.sin(turn)])
    version = vector(lake, [shapely.Polygon(ring)], {"color": "#336699"})
    picture = image(lake, version, *centre_tile(20))
    assert (picture[..., 3] > 100).all()


# --- relief ------------------------------------------------------------------------------------------------------


@pytest.fixture
def relief(lake: Lake, make: Callable[..., Path]) -> Callable[..., LayerVersion]:
    def run(cells: np.ndarray, **extra: Any) -> LayerVersion:
        source, report = make("dem.tif", cells.astype(np.float32), transform=from_origin(700000, 2500000, 10, 10), **extra), Report(source="dem.tif")
        return write_version(lake, "dem", "terrain", terrain.read(source, terrain.Options(vertical="EGM96"), report), report, provenance={})

    return run


def test_relief_is_lit_from_the_north_west(lake: Lake, relief: Callable[..., LayerVersion]) -> None:
    row, column = np.mgrid[0:200, 0:200]
    light = {}
    for name, z in {"flat": 0 * row, "to north-west": row + column, "to south-east": 400 - row - column}.items():
        picture = image(lake, relief(100 + 5.0 * z), *centre_tile(15))
        inside = picture[..., 3] == 255
        assert inside.any()
        light[name] = picture[inside][:, :3].mean()
    assert light["to south-east"] < light["flat"] - 20
    flat_tint, slope_tint = light["flat"], light["to north-west"]
    assert slope_tint > light["to south-east"] + 40, (flat_tint, slope_tint)


def test_relief_has_no_rim_beside_voids_and_edges(lake: Lake, relief: Callable[..., LayerVersion]) -> None:
    cells = np.full((200, 200), 500.0)
    cells[80:100, 80:100] = -9999
    picture, _, _ = mosaic(lake, relief(cells, nodata=-9999), 15, (700100, 2498100, 701900, 2499900))
    shown = picture[picture[..., 3] == 255][:, :3].astype(int)
    assert (picture[..., 3] == 0).any()
    assert (np.abs(shown - shown[0]) <= 1).all()


def test_relief_legend_spans_the_ground(lake: Lake, relief: Callable[..., LayerVersion]) -> None:
    cells = np.linspace(3, 300, 40000).reshape(200, 200)
    facts = maps.describe(lake, relief(cells))
    values = [e["value"] for e in facts["legend"]["entries"]]
    assert values == [3, 5, 40, 200, 300]
    assert facts["legend"]["unit"] == "m"
    west, south, east, north = facts["bounds"]
    assert (west, north) == pytest.approx(Transformer.from_crs("EPSG:32649", "EPSG:4326", always_xy=True).transform(700000, 2500000), abs=1e-3)
    assert (east - west, north - south) == pytest.approx((2000 / 102700, 2000 / 110750), rel=0.05)
    assert 12 <= facts["maxzoom"] <= 16


