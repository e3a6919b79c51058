"""A disk that is nearly full: one message that says what was written, where, and what to do; nothing is left of it."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from tests.conftest import room
from tiling.points.runs import Columns, Run
from twin.archive import ArchiveWriter
from twin.bench.cities import generate_buildings
from twin.errors import StorageError
from twin.lake import Lake
from twin.model import Report, Table
from twin.parts import write_tables, write_version


def told(what: str, place: Path) -> str:
    return rf"^{what}: the disk is full\. The city shows what it showed\. Free space in {re.escape(str(place))} "


@pytest.mark.parametrize("size", [1, 100, 5_000, 40_000, 100_000])
def test_features(lake: Lake, size: int) -> None:
    """While they are kept, and while their part is written."""
    with room(size), pytest.raises(StorageError, match=told("Writing the features of a layer", lake.temporary)):
        write_version(lake, "b", "blocks", generate_buildings(2000), Report("g"), provenance={}, style={"height": "height"})
    assert not [path for path in lake.root.rglob("*") if path.is_file()]


def test_tables(lake: Lake) -> None:
    rows = pa.table({"value": np.random.default_rng(1).uniform(size=10_000)})
    with room(5_000), pytest.raises(StorageError, match=told("Writing the table psets of a layer", lake.temporary)):
        write_tables(lake, [Table("psets", rows)])
    assert not [path for path in lake.root.rglob("*") if path.is_file()]


def test_tiles(lake: Lake) -> None:
    """Their file has a name until it is whole that tells a reader nothing."""
    with lake.scratch(".3tz") as path, room(50_000), pytest.raises(StorageError, match=told("Writing the archive of tiles", lake.temporary)):  # noqa: SIM117
        with ArchiveWriter(path) as archive:
            archive.add("a.glb", np.random.default_rng(1).bytes(2_000_000))
    assert not list(lake.temporary.iterdir())


def test_points_that_wait_on_disk(tmp_path: Path) -> None:
    """NumPy's own writing says how many it wrote, and not why: that was an internal error."""
    count = 5_000
    run = Run(np.arange(count, dtype=np.uint32), Columns(np.zeros((count, 3), np.int32), np.zeros((count, 4), np.uint8), np.zeros(count, np.uint16)))
    with room(30_000), pytest.raises(StorageError, match=told("Keeping points while a cloud is tiled", tmp_path)):
        run.spill(tmp_path / "run")
    spilled = run.spill(tmp_path / "run")
    assert len(spilled) == count
    assert (tmp_path / "run").stat().st_size == count * (4 + 12 + 4 + 2)
