"""Rasters on a disk that is nearly full: GDAL fails while it closes a file, and says so to nobody."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.transform import from_origin

from ingest_gis import terrain_mosaic
from tests.conftest import room
from twin import raster_file
from twin.errors import StorageError
from twin.lake import Lake
from twin.model import Column, Grid, Reference, Report
from twin.parts import write_version

SIZE = 700


def noise() -> np.ndarray:
    return np.random.default_rng(3).uniform(0, 100, (SIZE, SIZE)).astype(np.float32)


def plain(path: Path, cells: np.ndarray, **more: object) -> Path:
    profile = {"driver": "GTiff", "width": SIZE, "height": SIZE, "count": 1, "dtype": "float32", "crs": "EPSG:4547", "nodata": -1, "tiled": True}
    with rasterio.open(path, "w", transform=from_origin(4e5, 2.5e6, 1, 1), blockxsize=256, blockysize=256, **profile, **more) as file:
        file.write(cells, 1)
    return path


def cog(path: Path) -> None:
    terrain_mosaic.write_cog(plain(path.with_name("plain.tif"), noise()), path)


def written(path: Path) -> None:
    raster_file.check_written(plain(path, noise()))


@pytest.mark.parametrize("missing", [1, 5000, 20_000, 400_000])
@pytest.mark.parametrize("write", [cog, written])
def test_a_file_that_is_not_whole_is_refused(tmp_path: Path, write: Callable[[Path], None], missing: int) -> None:
    write(tmp_path / "whole.tif")
    whole = (tmp_path / "whole.tif").stat().st_size
    source = plain(tmp_path / "source.tif", noise())
    with room(whole - missing), pytest.raises((StorageError, rasterio.errors.RasterioIOError)):
        terrain_mosaic.write_cog(source, tmp_path / "cut.tif") if write is cog else written(tmp_path / "cut.tif")


CODE = """
import sys, resource, signal
from pathlib import Path
from ingest_gis import terrain_mosaic
from twin.errors import StorageError
import logging
logging.basicConfig()
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]),) * 2)
try:
    terrain_mosaic.write_cog(Path(sys.argv[1]), Path(sys.argv[2]))
except StorageError as error:
    print(error)
"""


@pytest.mark.parametrize("room", [0.0, 0.001, 0.3, 0.9, 0.99, 0.9999])
def test_one_message_of_a_full_disk_reaches_a_user(tmp_path: Path, room: float) -> None:
    """GDAL's library printed lines of its own beside it, and some of its errors came through as they were."""
    pytest.importorskip("resource")
    source = plain(tmp_path / "source.tif", noise())
    terrain_mosaic.write_cog(source, tmp_path / "whole.tif")
    size = int((tmp_path / "whole.tif").stat().st_size * room)
    done = subprocess.run([sys.executable, "-c", CODE, str(source), str(tmp_path / "cut.tif"), str(size)], check=True, capture_output=True, text=True, timeout=60)
    assert done.stderr == ""
    assert done.stdout.startswith("What is made of the raster cannot be written: the disk is full")
    assert done.stdout.count("\n") == 1


@pytest.mark.parametrize("part", [0.0, 0.001, 0.1, 0.3, 0.6, 0.9, 0.99, 0.998])
def test_a_grid_of_a_scenario_that_is_not_whole_is_not_kept(tmp_path: Path, capfd: pytest.CaptureFixture[str], part: float) -> None:
    lake = Lake(tmp_path / "lake")
    grid = Grid(Reference("EPSG:4547"), noise()[None], (1.0, 0.0, 4e5, 0.0, -1.0, 2.5e6), None, (Column("depth", "float"),))
    version = write_version(lake, "depth", "raster", [grid], Report(), provenance={})
    whole = lake.size(version.parts[0].key)
    lake.delete(version.parts[0].key)
    with room(int(whole * part)), pytest.raises(StorageError, match="the disk is full"):
        write_version(lake, "depth", "raster", [grid], Report(), provenance={})
    assert capfd.readouterr().err == ""
    assert not [key for key, _, _ in lake.list() if key.endswith(".cog")]
    assert not list(lake.temporary.iterdir())


def test_blocks_that_are_empty_may_be_left_out(tmp_path: Path) -> None:
    cells = np.full((SIZE, SIZE), -1, np.float32)
    cells[:10, :10], cells[-10:, -10:] = 1, 2
    path = plain(tmp_path / "sparse.tif", cells, sparse_ok=True)
    raster_file.check_written(path, 2)
    for least in (None, 3):
        with pytest.raises(StorageError):
            raster_file.check_written(path, least)


def test_what_is_no_full_disk_is_not_told_as_one(tmp_path: Path) -> None:
    source = plain(tmp_path / "source.tif", noise())
    with pytest.raises(StorageError, match="No such file or directory") as raised:
        raster_file.copy(source, tmp_path / "gone" / "copy.tif", driver="COG")
    assert "disk is full" not in str(raised.value)
