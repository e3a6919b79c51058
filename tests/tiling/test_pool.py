"""tiling.pool: order, a killed worker, and a cancelled job that leaves nothing behind."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from tiling import blocks
from tiling.pool import Pool
from twin.bench.cities import generate_buildings
from twin.errors import Cancelled, StorageError
from twin.lake import Lake
from twin.model import Report
from twin.parts import write_version
from twin.registry import TileJob


def test_killed_from_outside_is_a_storage_error() -> None:
    with Pool(2) as pool, pytest.raises(StorageError, match="killed"):
        list(pool.map(_kill_self, range(4)))


def _kill_self(number: int) -> int:
    return os.kill(os.getpid(), signal.SIGKILL) or number


@pytest.mark.parametrize("workers", [1, 2])
def test_results_come_in_order(workers: int) -> None:
    with Pool(workers) as pool:
        assert list(pool.map(abs, range(-20, 0))) == list(range(20, 0, -1))


def test_a_cancelled_job_leaves_no_file(lake: Lake) -> None:
    version = write_version(lake, "b", "blocks", generate_buildings(3000), Report("g"), provenance={}, style={"height": "height"})
    out = Path(lake.root / "out.3tz")

    def progress(fraction: float, doing: str) -> None:
        if fraction > 0.3:
            assert out.exists()
            raise Cancelled(doing)

    start = time.monotonic()
    with pytest.raises(Cancelled):
        blocks.tile(version, TileJob(lake, out, blocks.Options(ground=0.0, budget=1000), None, 1, progress))
    assert not out.exists()
    assert time.monotonic() - start < 60
