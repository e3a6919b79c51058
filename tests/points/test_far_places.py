"""Clouds where degrees are no measure: on both sides of the 180th meridian, at the poles; and clouds wider than a table reaches. By pyproj alone, within a millimetre."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import laspy
import numpy as np
import pytest
from pyproj import Transformer
from scipy.spatial import cKDTree

from tests.points.conftest import Tiled, exact, ingest, tile
from tiling.check.layer import check_layer
from twin import parts
from twin.lake import Lake

COUNT = 3_000
HERE = {"crs": "EPSG:4326", "vertical": "ellipsoid"}
Xyz = tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], np.ndarray[Any, Any]]


def write(path: Path, xyz: Xyz, scales: tuple[float, float, float]) -> Path:
    header = laspy.LasHeader(point_format=3, version="1.2")
    header.scales, header.offsets = scales, [float(np.round((column.min() + column.max()) / 2)) for column in xyz]
    las = laspy.LasData(header)
    las.x, las.y, las.z = xyz
    las.write(path)
    return path


def square(west: float, south: float, width: float, height: float, seed: int) -> Xyz:
    rng = np.random.default_rng(seed)
    return west + rng.random(COUNT) * width, south + rng.random(COUNT) * height, rng.random(COUNT) * 5


def places(path: Path) -> np.ndarray[Any, Any]:
    """(N, 3) ECEF of a file in degrees, its heights ellipsoidal."""
    las = laspy.read(path)
    return np.column_stack(Transformer.from_crs("EPSG:4979", "EPSG:4978", always_xy=True).transform(*(np.asarray(las[axis]) for axis in "xyz")))


def assert_there(result: Tiled, truth: np.ndarray[Any, Any]) -> None:
    drawn = result.ecef()
    assert len(drawn) == len(truth)
    assert cKDTree(truth).query(drawn)[0].max() < 0.001
    assert cKDTree(drawn).query(truth)[0].max() < 0.001


def test_files_on_either_side_of_the_180th_meridian(tmp_path: Path, lake: Lake) -> None:
    """Delivered together, and one after the other."""
    west = write(tmp_path / "a.las", square(179.9995, 22, 5e-4, 1e-3, 1), (1e-8, 1e-8, 1e-3))
    east = write(tmp_path / "b.las", square(-180, 22, 5e-4, 1e-3, 2), (1e-8, 1e-8, 1e-3))
    whole, _ = ingest(lake, [west, east], **HERE)
    assert whole.extent is not None
    assert whole.extent.maxx - whole.extent.minx < 0.01
    assert_there(tile(lake, whole, tmp_path / "a.3tz"), np.concatenate([places(west), places(east)]))  # and checked
    for first, second in ((west, east), (east, west)):
        grown = parts.merge(lake, ingest(lake, first, **HERE)[0], ingest(lake, second, **HERE)[0])
        assert str([grown.extent, *(p.bounds for p in grown.parts)]) == str([whole.extent, *(p.bounds for p in whole.parts)])


def test_both_sides_of_the_180th_meridian_in_one_file(tmp_path: Path, lake: Lake) -> None:
    west, east = square(179.9995, 22, 5e-4, 1e-3, 1), square(-180, 22, 5e-4, 1e-3, 2)
    path = write(tmp_path / "a.las", tuple(np.concatenate(pair) for pair in zip(west, east, strict=True)), (1e-7, 1e-7, 1e-3))  # type: ignore[arg-type]
    version, _ = ingest(lake, path, **HERE)
    assert version.parts[0].bounds is not None
    assert version.parts[0].bounds.maxx == pytest.approx(180.0005, abs=1e-5)
    assert_there(tile(lake, version, tmp_path / "a.3tz"), places(path))


@pytest.mark.parametrize("pole", [90.0, -90.0])
def test_a_pole_in_degrees(tmp_path: Path, lake: Lake, pole: float) -> None:
    """All longitudes round the pole; `twin check` says no less of it, and sees what is two metres off."""
    lon, share, up = square(-180, 0, 360, 1e-2, 3)
    path = write(tmp_path / "a.las", (lon, pole - np.sign(pole) * share, up), (1e-6, 1e-9, 1e-3))
    version, _ = ingest(lake, path, **HERE)
    result = tile(lake, version, tmp_path / "a.3tz")
    assert_there(result, places(path))
    other, _ = ingest(lake, write(tmp_path / "b.las", (lon, pole - np.sign(pole) * (share + 2e-5), up), (1e-6, 1e-9, 1e-3)), **HERE)
    assert {finding.code for finding in check_layer(other, lake, result.path, info=result.facts).errors} >= {"POINT_MISSING", "POSITION_OFF"}


def test_a_cloud_as_wide_as_a_province(tmp_path: Path, lake: Lake) -> None:
    """200 km: the geoid bends between the nodes of any table, and 31 bits hold no eighths of a millimetre; half the diagonals of both lattices, and no more."""
    path = write(tmp_path / "a.las", square(400_000, 2_400_000, 200_000, 200_000, 4), (1e-3, 1e-3, 1e-3))
    version, _ = ingest(lake, path, crs="EPSG:32650", vertical="EGM96")
    result = tile(lake, version, tmp_path / "a.3tz")
    truth = exact(path, "EPSG:32650")[0]
    assert cKDTree(truth).query(result.ecef())[0].max() < 3**0.5 / 2 * (2**-11 + 2**-12) + 1e-6
