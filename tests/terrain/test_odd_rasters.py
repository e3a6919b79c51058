"""Rasters that `twin check` once took for broken, or looked at in part only."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio
from pyproj import Transformer

from tiling.check import check_layer
from tiling.terrain import levels as terrain_levels
from tiling.terrain import tiler as terrain
from twin import parts, reading
from twin.errors import BadOption
from twin.ground import Ground

sys.path.insert(0, str(Path(__file__).parent))

from terrain_helpers import hills, write_dem
from test_tiles import mesh_heights

Run = Callable[..., object]


def test_a_terrain_across_the_180th_meridian_is_compared_on_both_sides(tmp_path: Path, lake: Run, ingest: Run, tiled: Run) -> None:
    z = hills(60, 90)
    version = ingest(write_dem(tmp_path / "dem.tif", z, west=179.99, cell=0.0002), vertical="ellipsoid")
    tiles = tiled(version)
    assert {x for _, x, _ in tiles.keys(tiles.finest)} >= {0, 2 ** (tiles.finest + 1) - 1}, "tiles on both sides"
    report = check_layer(version, lake, tiles.path, info=tiles.facts)
    assert not report.errors, report.errors[:3]
    assert report.positions["cells"] == z.size, "every cell, also those east of it"


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (40, 1)])
def test_a_raster_of_one_row_or_column_is_no_error(tmp_path: Path, lake: Run, ingest: Run, tiled: Run, shape: tuple[int, int]) -> None:
    version = ingest(write_dem(tmp_path / "dem.tif", np.full(shape, 7.0, np.float32)), vertical="ellipsoid")
    tiles = tiled(version)
    report = check_layer(version, lake, tiles.path, info=tiles.facts)
    assert not report.errors, report.errors[:3]
    assert report.positions["cells"] == shape[0] * shape[1]


@pytest.mark.parametrize("north", [90.0, -86.5])
def test_a_raster_in_degrees_at_a_pole_keeps_its_detail(tmp_path: Path, lake: Run, ingest: Run, tiled: Run, north: float) -> None:
    """Its cells narrow from east to west as the tiles' lattice does: no coarser overview is taken for that."""
    y, x = np.mgrid[0:70, 0:90]
    z = (100 + 50 * np.sin(x / 9) + 30 * np.cos(y / 5)).astype(np.float32)
    version = ingest(write_dem(tmp_path / "dem.tif", z, west=-10, north=north, cell=0.05), vertical="ellipsoid")
    tiles = tiled(version)
    report = check_layer(version, lake, tiles.path, info=tiles.facts)
    assert not report.errors, report.errors[:3]
    assert report.positions["vertices"] > 100


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
@pytest.mark.parametrize("system", ["EPSG:4326", "EPSG:4167"])
def test_a_survey_that_ends_on_the_180th_meridian(tmp_path: Path, lake: Run, ingest: Run, tiled: Run, order: tuple[int, int], system: str) -> None:
    """One to its west, one to its east, laid over the other: the rim of the second reaches beyond the meridian, and its cells show."""
    sources = [write_dem(tmp_path / f"{k}.tif", hills(60, 80, k), crs=system, west=west, north=-44.0, cell=1e-4) for k, west in enumerate((179.992, -180.0))]
    base = ingest(sources[order[0]], vertical="ellipsoid")
    with reading.given(reading.Surroundings(under=Ground.of(lake, base))):
        version = parts.merge(lake, base, ingest(sources[order[1]], vertical="ellipsoid"))
    tiles = tiled(version)
    report = check_layer(version, lake, tiles.path, info=tiles.facts)
    assert not report.errors, report.errors[:3]
    for source in sources:
        with rasterio.open(source) as file:
            lon, lat = file.transform * (np.array([2.5, 40.5, 77.5]), np.array([30.5, 30.5, 30.5]))
            cells = file.read(1)[30, [2, 40, 77]]
        assert np.abs(mesh_heights(tiles, tiles.finest, np.asarray(lon), np.asarray(lat)) - cells).max() < 3


def test_round_a_pole_tiles_are_no_crowd(tmp_path: Path, ingest: Run, tiled: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """3 km round the south pole in cells of 10 m: two million tiles of millimetres' width would be as fine. The report says where they stop; a level asked for is made."""
    monkeypatch.setattr(terrain_levels, "CROWD", 1_000)
    monkeypatch.setattr(terrain, "MOST_TILES", 20_000)
    version = ingest(write_dem(tmp_path / "dem.tif", hills(100, 100), crs="EPSG:3031", west=-1500, north=1500, cell=30), vertical="ellipsoid")
    tiles = tiled(version)
    assert len(tiles.keys(tiles.finest)) <= 1_000
    (note,) = tiles.facts["report"]["notes"]
    assert f"stop at level {tiles.finest}, where 14 would be as fine" in note["reason"]
    with pytest.raises(BadOption, match="are too many"):
        tiled(version, max_level=14)


def test_a_raster_that_only_the_border_of_two_tiles_meets(tmp_path: Path, ingest: Run, tiled: Run) -> None:
    """10 m across 112.5° E, which is where tiles of all levels meet, and 2 km long: at coarse levels one column of positions lies on it, the rest has the sea's level."""
    x, y = Transformer.from_crs("EPSG:4326", "EPSG:32649", always_xy=True).transform(112.5, 22.5)
    version = ingest(write_dem(tmp_path / "dem.tif", np.full((400, 2), 700.0, np.float32), crs="EPSG:32649", west=x - 5, north=y + 1500, cell=5), vertical="ellipsoid")
    first, second = tiled(version, apron=0.0), tiled(version, apron=0.0)
    assert first.path.read_bytes() == second.path.read_bytes()
    for z in range(8, first.finest):
        for tile in (first.tile(*key) for key in first.keys(z)):
            lon, lat, height = tile.lonlath.T
            east, north = Transformer.from_crs("EPSG:4326", "EPSG:32649", always_xy=True).transform(lon, lat)
            there = (np.abs(east - x) < 5) & (north < y + 1500) & (north > y - 500)
            assert np.array_equal(height > 300, there), z


@pytest.mark.parametrize("height", [4500.0, 8000.0])
def test_level_ground_high_up_has_no_cracks(tmp_path: Path, lake: Run, ingest: Run, tiled: Run, height: float) -> None:
    """A tile states its lowest and highest as float32, half a millimetre apart up there: more than its steps, which are all that was allowed for."""
    rng = np.random.default_rng(3)
    version = ingest(write_dem(tmp_path / "dem.tif", (height + rng.random((200, 200)) * 0.05).astype(np.float32)), vertical="EPSG:5737")
    tiles = tiled(version)
    report = check_layer(version, lake, tiles.path, info=tiles.facts)
    assert not report.errors, report.errors[:3]


def test_a_coarse_ground_as_3d_tiles_lies_in_its_volumes(tmp_path: Path, lake: Run, ingest: Run, tiled: Run) -> None:
    """Positions were rounded to a hundredth of finest_error, however small the tile."""
    version = ingest(write_dem(tmp_path / "dem.tif", hills(60, 90)), vertical="ellipsoid")
    tiles = tiled(version, output="3dtiles", finest_error=99.0)
    report = check_layer(version, lake, tiles.path, info=tiles.facts)
    assert not report.errors, report.errors[:3]
