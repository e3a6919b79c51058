"""GeoTIFFs that ground control points alone place: a plane's heights are found again where the points say, a picture's colours too."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.control import GroundControlPoint

from ingest_gis import raster, terrain
from twin.errors import BadFeature, MissingReference
from twin.model import Report

SIZE = 60
PLACE = Affine.translation(400_000, 2_490_000) * Affine.rotation(-20) * Affine.scale(2, -2)
CORNERS = ((0, 0), (0, SIZE), (SIZE, 0), (SIZE, SIZE))
VOID = -9999.0


def plane(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return 0.01 * (x - 400_000) + 0.02 * (y - 2_490_000) + 50


def write(path: Path, points: tuple[tuple[int, int], ...] = CORNERS, *, crs: str | None = "EPSG:4547", off: float = 0.0) -> Path:
    columns, rows = np.meshgrid(np.arange(SIZE) + 0.5, np.arange(SIZE) + 0.5)
    marks = [GroundControlPoint(row=r, col=c, x=(PLACE * (c, r))[0] + (off if k == 0 else 0), y=(PLACE * (c, r))[1]) for k, (r, c) in enumerate(points)]
    with rasterio.open(path, "w", driver="GTiff", width=SIZE, height=SIZE, count=1, dtype="float32", nodata=VOID) as file:
        file.write(plane(*(PLACE * (columns, rows))).astype(np.float32), 1)
        file.gcps = (marks, rasterio.crs.CRS.from_user_input(crs) if crs else rasterio.crs.CRS())
    return path


def test_a_terrain_lies_where_its_points_say(tmp_path: Path) -> None:
    report = Report()
    (asset,) = terrain.read(write(tmp_path / "a.tif"), terrain.Options(vertical="EGM96"), report)
    assert asset.reference.horizontal == "EPSG:4547"
    assert any("4 ground control points, of which the worst is missed by" in note.reason for note in report.notes)
    assert 3400 < report.kept < 3700


def test_heights_are_those_of_the_places(tmp_path: Path) -> None:
    for asset in terrain.read(write(tmp_path / "a.tif"), terrain.Options(vertical="EGM96"), Report()):
        with rasterio.open(asset.path) as file:
            cells = file.read(1)
            x, y = file.transform * np.meshgrid(np.arange(file.width) + 0.5, np.arange(file.height) + 0.5)
        known = cells != VOID
        assert known.sum() > 3400
        assert np.abs(cells - plane(x, y))[known].max() < 0.025  # at the rim a cell takes the nearest value: half a cell of slope


def test_a_picture_too(tmp_path: Path) -> None:
    report = Report()
    for asset in raster.read(write(tmp_path / "a.tif"), raster.Options(), report):
        with rasterio.open(asset.path) as file:
            cells = file.read(1)
            x, y = file.transform * np.meshgrid(np.arange(file.width) + 0.5, np.arange(file.height) + 0.5)
        known = cells != VOID
        assert known.sum() > 3400
        assert np.abs(cells - plane(x, y))[known].max() < 0.05
    assert any("ground control points" in note.reason for note in report.notes)


def test_what_points_miss_is_said(tmp_path: Path) -> None:
    report = Report()
    list(terrain.read(write(tmp_path / "a.tif", off=40.0), terrain.Options(vertical="EGM96"), report))
    assert any("the worst is missed by 10 of" in note.reason for note in report.notes)  # a quarter of it at each corner, by least squares


@pytest.mark.parametrize("points", [((0, 0),), ((0, 0), (SIZE, SIZE)), ((0, 0), (30, 30), (SIZE, SIZE)), ((5, 5), (5, 5), (5, 5), (9, 5))])
def test_too_few_points_and_lines_are_refused(tmp_path: Path, points: tuple[tuple[int, int], ...]) -> None:
    with pytest.raises(BadFeature, match=f"its {len(points)} ground control points do not place it"):
        list(terrain.read(write(tmp_path / "a.tif", points), terrain.Options(vertical="EGM96"), Report()))


def test_points_without_a_reference_need_one(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", crs=None)
    with pytest.raises(MissingReference):
        list(terrain.read(path, terrain.Options(vertical="EGM96"), Report()))
    (asset,) = terrain.read(path, terrain.Options(crs="EPSG:4547", vertical="EGM96"), Report())
    assert asset.reference.horizontal == "EPSG:4547"
