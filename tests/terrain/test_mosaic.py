"""Several rasters as one terrain: exact where each rules, no step between them, deep only where there is detail."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio
from pyproj import Transformer
from terrain_helpers import Tiles, write_dem
from test_tiles import check_mesh, edges_meet, mesh_heights

from ingest_gis import terrain as reader
from twin import crs
from twin.errors import BadOption
from twin.ground import Ground
from twin.lake import Lake
from twin.model import LayerVersion, Report
from twin.parts import write_version

Mosaic, Tiled = Callable[..., LayerVersion], Callable[..., Tiles]
WEST, NORTH, CELL = 113.0, 22.6, 0.0003  # about 30 m
UTM = Transformer.from_crs("EPSG:4326", "EPSG:32649", always_xy=True)
LIFT = 4.0


def ground(lon: np.ndarray, lat: np.ndarray) -> np.ndarray:
    """The true surface, metres: hills so gentle that 30 m cells hold them to centimetres."""
    return 150 + 40 * np.sin((lon - 113) * 260) * np.cos((lat - 22.5) * 230)


@pytest.fixture
def mosaic(lake: Lake) -> Mosaic:
    def run(*sources: Path, **options: object) -> LayerVersion:
        report = Report(source="mosaic")
        return write_version(lake, "dem", "terrain", reader.read(list(sources) if len(sources) > 1 else sources[0], reader.Options(**options), report), report, provenance={})

    return run


def coarse(path: Path, lift: float = 0.0) -> Path:
    c, r = np.meshgrid(np.arange(200) + 0.5, np.arange(200) + 0.5)
    return write_dem(path, (ground(WEST + c * CELL, NORTH - r * CELL) + lift).astype(np.float32), west=WEST, north=NORTH, cell=CELL)


def fine(path: Path, lift: float = 0.0, hole: bool = False, side: int = 420, cell: float = 3.0) -> Path:
    """A survey of 1.3 km in the middle, in another CRS."""
    x0, y0 = (round(v) for v in UTM.transform(113.03, 22.57))
    c, r = np.meshgrid(np.arange(side) + 0.5, np.arange(side) + 0.5)
    lon, lat = Transformer.from_crs("EPSG:32649", "EPSG:4326", always_xy=True).transform(x0 + c * cell, y0 - r * cell)
    z = (ground(lon, lat) + lift).astype(np.float32)
    if hole:
        z[180:300, 150:290] = -9999
        z[40:43, 40:43] = -9999
    return write_dem(path, z, crs="EPSG:32649", west=x0, north=y0, cell=cell, nodata=-9999 if hole else None)


def inside(path: Path, lon: np.ndarray, lat: np.ndarray, margin: float) -> np.ndarray:
    """Which places lie on a raster of UTM, at least `margin` metres from its rim (outside of it for a negative one)."""
    x, y = UTM.transform(lon, lat)
    with rasterio.open(path) as file:
        b = file.bounds
    return (x > b.left + margin) & (x < b.right - margin) & (y > b.bottom + margin) & (y < b.top - margin)


def places(count: int = 900) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(2)
    return rng.uniform(113.02, 113.052, count), rng.uniform(22.549, 22.58, count)


def test_each_is_exact_where_it_rules_and_the_seam_is_smooth(tmp_path: Path, lake: Lake, mosaic: Mosaic) -> None:
    """The survey lies 4 m higher: exact on it up to its last cell, the coarse one exact beyond the rim, monotone between."""
    survey, blend = fine(tmp_path / "fine.tif", LIFT), 90.0
    version = mosaic(coarse(tmp_path / "coarse.tif"), survey, vertical="EGM96", blend=blend)
    height = Ground.of(lake, version)
    lon, lat = places()
    above = height.ellipsoidal(lon, lat) - crs.undulation(lon, lat) - ground(lon, lat)
    on, off = inside(survey, lon, lat, 3.1), ~inside(survey, lon, lat, -blend - 40)
    assert on.sum() > 50
    assert off.sum() > 50
    assert np.abs(above[on] - LIFT).max() < 0.02
    assert np.abs(above[off]).max() < 0.25, "bilinear in 30 m cells"
    y0 = UTM.transform(113.03, 22.57)[1] - 600
    with rasterio.open(survey) as file:
        x = file.bounds.left - np.arange(-20, 150, 0.5)
    lon, lat = Transformer.from_crs("EPSG:32649", "EPSG:4326", always_xy=True).transform(x, np.full(len(x), y0))
    line = height.ellipsoidal(np.asarray(lon), np.asarray(lat)) - crs.undulation(np.asarray(lon), np.asarray(lat)) - ground(np.asarray(lon), np.asarray(lat))
    assert np.abs(np.diff(line)).max() < 0.5 * 1.5 * LIFT / blend + 0.06, "a step"
    assert line[0] == pytest.approx(LIFT, abs=0.02)
    assert line[-1] == pytest.approx(0, abs=0.25)
    assert line[np.argmin(np.abs(x - file.bounds.left + blend / 2))] == pytest.approx(LIFT / 2, abs=0.4)


def test_voids_of_the_fine_show_the_coarse(tmp_path: Path, lake: Lake, mosaic: Mosaic) -> None:
    survey = fine(tmp_path / "fine.tif", LIFT, hole=True)
    version = mosaic(coarse(tmp_path / "coarse.tif"), survey, vertical="EGM96", blend=60)
    rim = version.report["facts"]["sources"][0]
    assert rim["filled"] + rim["left"] == 120 * 140 + 9
    assert rim["left"] > 1000, "the middle of the hole is the coarser one's"
    assert any("left to the coarser ground" in note["reason"] and note["feature"] == "fine.tif" for note in version.report["notes"])
    x0, y0 = (round(v) for v in UTM.transform(113.03, 22.57))
    columns, rows = np.array([220.0, 41.5, 149.0]), np.array([240.0, 41.5, 240.0])
    lon, lat = (np.asarray(v) for v in Transformer.from_crs("EPSG:32649", "EPSG:4326", always_xy=True).transform(x0 + columns * 3, y0 - rows * 3))
    above = Ground.of(lake, version).ellipsoidal(lon, lat) - crs.undulation(lon, lat) - ground(lon, lat)
    assert above == pytest.approx([0, LIFT, LIFT], abs=0.3)


def test_datums_are_each_sources_own(tmp_path: Path, lake: Lake, mosaic: Mosaic) -> None:
    """The survey in ellipsoidal heights, the coarse one above the geoid: the same ground, so no seam at all."""
    c, r = np.meshgrid(np.arange(200) + 0.5, np.arange(200) + 0.5)
    lon, lat = WEST + c * CELL, NORTH - r * CELL
    low = write_dem(tmp_path / "old.tif", (ground(lon, lat) - crs.undulation(lon, lat)).astype(np.float32), west=WEST, north=NORTH, cell=CELL)
    survey = fine(tmp_path / "survey.tif")
    version = mosaic(low, survey, vertical="EGM96", references={"survey*": "+ellipsoid"})
    sources = version.report["facts"]["sources"]
    assert [(s["file"], s["reference"]["vertical"]) for s in sources] == [("survey.tif", "EPSG:4979"), ("old.tif", "EPSG:5773")]
    lon, lat = places()
    assert np.abs(Ground.of(lake, version).ellipsoidal(lon, lat) - ground(lon, lat)).max() < 0.25
    with pytest.raises(BadOption, match="none"):
        mosaic(low, survey, vertical="EGM96", references={"none*": "+ellipsoid"})


def test_tiles_are_deep_only_where_the_detail_is(tmp_path: Path, mosaic: Mosaic, tiled: Tiled) -> None:
    survey = fine(tmp_path / "fine.tif", LIFT, hole=True, side=200)
    version = mosaic(coarse(tmp_path / "coarse.tif"), survey, vertical="EGM96", blend=60)
    tiles = tiled(version)
    assert tiles.finest >= 17
    assert len(tiles.keys(tiles.finest)) < 150, "of some 8,000 on the whole"
    (west, south, east, north) = (113.0, 22.54, 113.06, 22.6)
    assert tiles.layer["bounds"] == pytest.approx([west, south, east, north])
    edges_meet(tiles)
    for key in tiles.keys(tiles.finest):
        check_mesh(tiles.tile(*key))
    lon, lat = places(4000)
    on = inside(survey, lon, lat, 30)
    lon, lat = lon[on][:60], lat[on][:60]
    x, y = UTM.transform(lon, lat)
    hole = (np.abs(x - UTM.transform(113.03, 22.57)[0] - 660) < 420) & (np.abs(UTM.transform(113.03, 22.57)[1] - y - 720) < 420)
    found = mesh_heights(tiles, tiles.finest, lon[~hole], lat[~hole]) - crs.undulation(lon[~hole], lat[~hole])
    assert len(found) > 10
    assert np.abs(found - ground(lon[~hole], lat[~hole]) - LIFT).max() < 0.2
    errors = [level["error_bound"] for level in tiles.facts["stats"]["levels"]]
    assert errors == sorted(errors, reverse=True)


def test_tiles_of_one_survey_make_one_ground(tmp_path: Path, lake: Lake, mosaic: Mosaic) -> None:
    """Two rasters side by side, no overlap: bilinear across their common side as if they were one; a folder is read whole."""
    c, r = np.meshgrid(np.arange(200) + 0.5, np.arange(100) + 0.5)
    z = (100 + 0.5 * c + 0.2 * r).astype(np.float32)
    folder = tmp_path / "sheets"
    (folder / "east").mkdir(parents=True)
    write_dem(folder / "a.tif", z[:, :100], west=113, cell=CELL)
    write_dem(folder / "east" / "b.tif", z[:, 100:], west=113 + 100 * CELL, cell=CELL)
    version = mosaic(folder, vertical="ellipsoid")
    assert [s["file"] for s in version.report["facts"]["sources"]] == ["a.tif", "east/b.tif"]
    column = np.arange(90, 110, 0.25)
    lon, lat = 113 + column * CELL, np.full(len(column), 22.6 - 50 * CELL)
    assert np.abs(Ground.of(lake, version).ellipsoidal(lon, lat) - (100 + 0.5 * column + 0.2 * 50)).max() < 0.01
