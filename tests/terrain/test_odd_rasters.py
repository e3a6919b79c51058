"""Rasters that `twin check` once took for broken, or looked at in part only."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tiling.check import check_layer

sys.path.insert(0, str(Path(__file__).parent))

from terrain_helpers import hills, write_dem

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
