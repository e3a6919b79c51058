"""Rasters at the ends of the world and of what a raster can be: each works, or is refused with words."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio
from pyproj import Transformer
from rasterio.transform import Affine
from terrain_helpers import Tiles, hills, write_dem
from test_tiles import check_mesh, check_vertices, edges_meet, mesh_heights

from tiling.check import check_layer
from twin.errors import BadFeature, BadInput, TwinError
from twin.lake import Lake
from twin.model import LayerVersion

Ingest, Tiled = Callable[..., LayerVersion], Callable[..., Tiles]


def sound(tiles: Tiles) -> None:
    """Meshes are sound, sides meet in positions and normals, errors are stated and never grow with the level."""
    for key in tiles.all_keys()[:: max(1, len(tiles.names) // 40)]:
        check_mesh(tiles.tile(*key))
    edges_meet(tiles, 3)
    bounds = [level["error_bound"] for level in tiles.facts["stats"]["levels"]]
    assert bounds == sorted(bounds, reverse=True)
    assert all(level["error_bound"] >= level["dem_error"] for level in tiles.facts["stats"]["levels"])


@pytest.mark.parametrize("dtype", ["int16", "uint16", "int32", "float32", "float64", "uint8"])
def test_every_number_type(tmp_path: Path, ingest: Ingest, tiled: Tiled, dtype: str) -> None:
    source = write_dem(tmp_path / "a.tif", (hills(60, 60) / 2).clip(1, 250).astype(dtype), nodata=0)
    tiles = tiled(ingest(source, vertical="EGM96"))
    assert check_vertices(tiles, source, tiles.finest) > 1000
    sound(tiles)


@pytest.mark.parametrize("shape", [(1, 1), (2, 2), (1, 7), (3, 2)])
def test_tiny_rasters(tmp_path: Path, lake: Lake, ingest: Ingest, tiled: Tiled, shape: tuple[int, int]) -> None:
    source = write_dem(tmp_path / "a.tif", np.arange(shape[0] * shape[1], dtype=np.float32).reshape(shape) + 50)
    version = ingest(source, vertical="ellipsoid")
    tiles = tiled(version)
    sound(tiles)
    middle = np.array([113 + 0.0001 * shape[1]]), np.array([22.6 - 0.0001 * shape[0]])
    assert mesh_heights(tiles, tiles.finest, *middle)[0] == pytest.approx(50 + (shape[0] * shape[1] - 1) / 2, abs=0.3)


@pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:32660", "EPSG:3832"])
def test_across_the_180th_meridian(tmp_path: Path, lake: Lake, ingest: Ingest, tiled: Tiled, crs: str) -> None:
    """East and west of the line the ground is that of the raster, and the tiles on both sides meet on it."""
    x, y = Transformer.from_crs("EPSG:4326", crs, always_xy=True).transform(179.99, -16.99)
    place = {"west": x, "north": y, "cell": 0.0001 if crs == "EPSG:4326" else 10.0}
    source = write_dem(tmp_path / "a.tif", hills(200, 300), crs=crs, **place)
    tiles = tiled(ingest(source, vertical="ellipsoid"))
    columns = {x for _, x, _ in tiles.keys(tiles.finest)}
    assert {0, 2 ** (tiles.finest + 1) - 1} <= columns
    assert len(columns) < 200, "not the whole globe"
    sound(tiles)
    with rasterio.open(source) as file:
        cells, t = file.read(1), file.transform
    c, r = np.array([50.5, 150.5, 250.5]), np.array([100.5, 60.5, 100.5])
    px, py = t * (c, r)
    lon, lat = Transformer.from_crs(crs, "EPSG:4326", always_xy=True).transform(px, py) if crs != "EPSG:4326" else (px, py)
    lon = (np.asarray(lon) + 180) % 360 - 180
    assert lon[0] > 179
    assert lon[2] < -179
    assert np.abs(mesh_heights(tiles, tiles.finest, lon, np.asarray(lat)) - cells[r.astype(int), c.astype(int)]).max() < 1.5
    (south, north) = (tiles.layer["bounds"][1], tiles.layer["bounds"][3])
    assert tiles.layer["bounds"] == pytest.approx([-180, south, 180, north])


@pytest.mark.parametrize(("crs", "x", "y"), [("EPSG:3031", -20000, 20000), ("EPSG:3413", -20000, 20000), ("EPSG:3413", 300000, 500000), ("EPSG:4326", 10.0, 90.0)])
def test_at_the_poles(tmp_path: Path, ingest: Ingest, tiled: Tiled, crs: str, x: float, y: float) -> None:
    source = write_dem(tmp_path / "a.tif", hills(80, 80), crs=crs, west=x, north=y, cell=0.01 if crs == "EPSG:4326" else 500)
    tiles = tiled(ingest(source, vertical="ellipsoid"), max_level=8)
    sound(tiles)
    with rasterio.open(source) as file:
        cells, t = file.read(1), file.transform
    c, r = np.array([20.5, 60.5]), np.array([30.5, 50.5])
    lon, lat = Transformer.from_crs(crs, "EPSG:4326", always_xy=True).transform(*(t * (c, r)))
    tolerance = tiles.facts["stats"]["levels"][8]["dem_error"] + 1
    assert np.abs(mesh_heights(tiles, 8, np.asarray(lon), np.asarray(lat)) - cells[r.astype(int), c.astype(int)]).max() < tolerance


@pytest.mark.parametrize(("west", "north"), [(150.0, 90.0000018), (-180.0000031, 0.0), (20.0, -88.0000031)])
def test_a_last_cell_that_reaches_beyond_the_globe(tmp_path: Path, lake: Lake, ingest: Ingest, tiled: Tiled, west: float, north: float) -> None:
    """Global models state their corners rounded: the bounds in layer.json end where longitudes and latitudes do, and the check has nothing to say."""
    version = ingest(write_dem(tmp_path / "a.tif", hills(20, 30), crs="EPSG:4326", west=west, north=north, cell=0.1), vertical="EGM96")
    tiles = tiled(version)
    west, south, east, north = tiles.layer["bounds"]
    assert -180 <= west < east <= 180 and -90 <= south < north <= 90
    assert not check_layer(version, lake, tiles.path, info=tiles.facts).errors


@pytest.mark.parametrize("transform", [
    Affine(0, 0, 500000, 0, 0, 2500000), Affine(1e-300, 0, 500000, 0, -1e-300, 2500000), Affine(float("nan"), 0, 500000, 0, -1, 2500000),
    Affine(5, 5, 500000, 5, 5, 2500000), Affine(1e12, 0, 500000, 0, -1e12, 2500000),
])  # fmt: skip
def test_cells_of_no_or_absurd_size_are_refused(tmp_path: Path, ingest: Ingest, tiled: Tiled, transform: Affine) -> None:
    source = tmp_path / "a.tif"
    with rasterio.open(source, "w", driver="GTiff", width=20, height=20, count=1, dtype="float32", crs="EPSG:4547", transform=transform) as file:
        file.write(hills(20, 20), 1)
    with pytest.raises(BadInput) as caught:
        tiled(ingest(source, vertical="EPSG:5737"))
    assert isinstance(caught.value, TwinError)
    assert caught.value.message


def test_long_cells_and_rotated_grids(tmp_path: Path, lake: Lake, ingest: Ingest, tiled: Tiled) -> None:
    source = tmp_path / "long.tif"
    with rasterio.open(source, "w", driver="GTiff", width=200, height=10, count=1, dtype="float32", crs="EPSG:4547", transform=Affine(2, 0, 500000, 0, -60, 2500000)) as file:
        file.write(hills(10, 200), 1)
    sound(tiled(ingest(source, vertical="EPSG:5737"), max_level=14))
    turned = tmp_path / "turned.tif"
    turn = Affine.translation(500000, 2500000) * Affine.rotation(30) * Affine.scale(8, -8)
    with rasterio.open(turned, "w", driver="GTiff", width=90, height=90, count=1, dtype="float32", crs="EPSG:4547", transform=turn) as file:
        file.write(np.fromfunction(lambda r, c: 100 + 0.3 * c + 0.2 * r, (90, 90)).astype(np.float32), 1)
    version = ingest(turned, vertical="ellipsoid")
    tiles = tiled(version)
    sound(tiles)
    assert not check_layer(version, lake, tiles.path, info=tiles.facts).errors
    px, py = turn * (np.array([45.0, 20.0, 70.0]), np.array([45.0, 60.0, 30.0]))
    lon, lat = Transformer.from_crs("EPSG:4547", "EPSG:4326", always_xy=True).transform(px, py)
    assert mesh_heights(tiles, tiles.finest, np.asarray(lon), np.asarray(lat)) == pytest.approx([100 + 0.5 * 44.5, 100 + 0.3 * 19.5 + 0.2 * 59.5, 100 + 0.3 * 69.5 + 0.2 * 29.5], abs=0.3)


def test_a_raster_of_nan_alone_is_refused(tmp_path: Path, ingest: Ingest) -> None:
    with pytest.raises(BadFeature, match="without data"):
        ingest(write_dem(tmp_path / "a.tif", np.full((9, 9), np.nan, np.float32)), vertical="EGM96")
