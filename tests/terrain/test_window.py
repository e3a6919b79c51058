"""All rasters of a ground as one grid, as the scenarios read it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.transform import Affine, from_origin
from test_mosaic import CELL, LIFT, NORTH, UTM, WEST, coarse, fine, ground, inside
from test_mosaic import mosaic as mosaic  # noqa: PLC0414 - the fixture

from scenarios import driver, inundation
from scenarios.contract import World
from scenarios.flood import domain
from scenarios.flood.params import Params
from twin.errors import BadOption
from twin.ground import Ground
from twin.lake import Lake
from twin.model import Bounds, LayerVersion, Reference, Report

Mosaic = Callable[..., LayerVersion]


def lonlat(transform: tuple[float, ...], shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    x, y = Affine(*transform) * np.meshgrid(np.arange(shape[1]) + 0.5, np.arange(shape[0]) + 0.5)
    return UTM.transform(x, y, direction="INVERSE")


def test_a_window_of_a_mosaic(tmp_path: Path, lake: Lake, mosaic: Mosaic) -> None:
    """The fine raster's cells as they are, and beyond them the coarse one on the same cells, over all that both cover."""
    survey = fine(tmp_path / "fine.tif", LIFT, hole=True, side=300, cell=6.0)
    one = Ground.of(lake, mosaic(coarse(tmp_path / "coarse.tif"), survey, vertical="EGM96", blend=60.0))
    heights, transform = one.window()
    assert transform[0] == -transform[4] == 6.0
    lon, lat = lonlat(transform, heights.shape)
    on = (lon > WEST + CELL) & (lon < WEST + 199 * CELL) & (lat < NORTH - CELL) & (lat > NORTH - 199 * CELL)
    assert on.mean() > 0.9
    assert np.isfinite(heights[on]).all()
    with rasterio.open(survey) as file:
        cells, t = file.read(1), file.transform
    j, i = round((t.c - transform[2]) / 6), round((transform[5] - t.f) / 6)
    known = cells != -9999
    assert np.array_equal(heights[i : i + 300, j : j + 300][known], cells[known].astype(float)), "its own cells, to the bit"
    away = on & ~inside(survey, lon.ravel(), lat.ravel(), -100).reshape(on.shape)
    assert np.abs(heights[away] - ground(lon[away], lat[away])).max() < 0.3
    box = Bounds(transform[2] + 601, transform[5] - 1805, transform[2] + 1195, transform[5] - 1201)
    part, at = one.window(box)
    assert at[2] == transform[2] + 600
    assert np.array_equal(part, heights[200:301, 100:200])
    assert one.window(Bounds(0, 0, 1, 1))[0].size == 0
    rough, at = one.window(most=100_000)
    assert at[0] == 24.0
    assert rough.size <= 100_000
    lon, lat = lonlat(at, rough.shape)
    away = np.isfinite(rough) & ~inside(survey, lon.ravel(), lat.ravel(), -100).reshape(rough.shape)
    away &= (lon > WEST + 2 * CELL) & (lon < WEST + 198 * CELL) & (lat < NORTH - 2 * CELL) & (lat > NORTH - 198 * CELL)
    assert np.abs(rough[away] - ground(lon[away], lat[away])).max() < 0.5


def test_scenarios_see_the_whole_mosaic(tmp_path: Path, lake: Lake, mosaic: Mosaic) -> None:
    """Water that rises in the survey spreads over the coarse ground round it; a flood's grid is the whole terrain."""
    survey = fine(tmp_path / "fine.tif", side=100, cell=12.0)
    version = mosaic(coarse(tmp_path / "coarse.tif"), survey, vertical="EGM96", blend=60.0)
    with rasterio.open(survey) as file:
        k = np.unravel_index(np.argmin(file.read(1)), (100, 100))
        x, y = file.transform * (float(k[1]) + 0.5, float(k[0]) + 0.5)
    lon, lat = UTM.transform(x, y, direction="INVERSE")
    world = World(lake, {"dem": version}, Report(source="inundation"))
    values = inundation.Params(terrain="dem", level=150.0, source_point=(lon, lat), steps=2)
    outputs = driver.drive(inundation, values, world, lambda fraction, message: None, tmp_path / "checkpoint.npz")
    grid = outputs["depth"][0]
    places = lonlat(grid.transform, grid.data[0].shape)
    wet = grid.data[0] > 0
    outside = wet & ~inside(survey, places[0].ravel(), places[1].ravel(), 0).reshape(wet.shape)
    assert outside.sum() > 0.1 * wet.sum()
    depth = 150.0 - ground(places[0][outside], places[1][outside])
    assert np.abs(grid.data[0][outside] - depth).max() < 0.5
    with pytest.raises(BadOption, match="outside the terrain"):
        inundation.start(values.model_copy(update={"bbox": (10.0, 10.0, 10.1, 10.1)}), world)
    flood = domain.build(Params.model_validate({"terrain": "dem", "cell": 60.0}), world)
    lon, lat = lonlat(tuple(flood.transform)[:6], flood.bed.shape)
    on = (lon > WEST + 3 * CELL) & (lon < WEST + 197 * CELL) & (lat < NORTH - 3 * CELL) & (lat > NORTH - 197 * CELL)
    assert on.sum() * 60.0**2 > 30e6, "of 6 × 6.7 km"
    assert not flood.walls[on].any()
    assert np.abs(flood.bed[on] - ground(lon[on], lat[on])).max() < 1.5, "means of 60 m cells"


@pytest.mark.parametrize(("west", "north", "cell", "crs"), [(382250.4, 6354681.7, 0.9999368, "EPSG:32756"), (38_405_000.3, 2_498_000.1, 0.37, "EPSG:4526"), (112.9 - 1 / 7200, 22.6, 1 / 3600, "EPSG:4326")])
def test_the_middle_of_a_cell_has_its_height_or_none(tmp_path: Path, west: float, north: float, cell: float, crs: str) -> None:
    """However odd the origin: no neighbour of a void reaches its middle, no void lessens its neighbours."""
    rng = np.random.default_rng(1)
    cells = rng.uniform(0, 100, (40, 50))
    cells[rng.random(cells.shape) < 0.3] = np.nan
    with rasterio.open(tmp_path / "a.tif", "w", driver="GTiff", width=50, height=40, count=1, dtype="float64", crs=crs, nodata=np.nan, transform=from_origin(west, north, cell, cell)) as file:
        file.write(cells, 1)
    ground = Ground(tmp_path / "a.tif", Reference(crs, "EPSG:4979"), "a")
    column, row = np.meshgrid(np.arange(50), np.arange(40))
    x, y = west + (column + 0.5) * cell, north - (row + 0.5) * cell
    np.testing.assert_allclose(ground.sample(x, y), cells, atol=1e-3)
    _, weight = ground._sample(x, y)
    assert ((weight == 1) == np.isfinite(cells)).all()
