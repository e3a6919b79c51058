"""tiling.pool: order, a killed worker, and a cancelled job that leaves nothing behind."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Event
from time import sleep

import psutil
import pytest

from tiling.blocks import tiler as blocks
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


def test_what_a_killed_worker_had_under_way_is_done_again(tmp_path: Path) -> None:
    """One of twelve tasks kills its worker the first time: all results are there, once and in order."""
    with Pool(2) as pool:
        assert list(pool.map(_kill_once, ((tmp_path / "died", number) for number in range(12)))) == [number * number for number in range(12)]
        assert pool.deaths == 1


def test_a_few_tasks_start_no_process() -> None:
    """An update of some tiles must not wait for workers to start; many tasks do start them."""
    with Pool(2) as pool:
        assert list(pool.map(_process, range(2))) == [os.getpid()] * 2
        assert os.getpid() not in list(pool.map(_process, range(3)))


def test_threads_begin_before_all_tasks_are_there() -> None:
    """The second task comes once the first has been begun; what threads do is done in this process, the others in others, all in order."""
    begun = Event()

    def tasks() -> Iterator[int]:
        yield 0
        assert begun.wait(60)
        yield from range(1, 6)

    def work(number: int) -> int:
        begun.set()
        sleep((6 - number) / 100)
        return number

    with Pool(2) as pool:
        assert list(pool.map(work, tasks(), alone=6, threads=2)) == list(range(6))
        found = list(pool.map(_process, range(7), alone=4, threads=2))
        assert found[:4] == [os.getpid()] * 4
        assert len(found) == 7
        assert os.getpid() not in found[4:]
        with pytest.raises(ZeroDivisionError):
            list(pool.map(lambda number: 1 // number, range(-2, 3), alone=9, threads=2))


def _process(_: int) -> int:
    return os.getpid()


def _kill_once(task: tuple[Path, int]) -> int:
    died, number = task
    if number == 5 and not died.exists():
        died.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number * number


def test_a_worker_killed_while_it_encodes_does_not_show(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """Any worker of a running build is killed as soon as tiles are written: the same bytes as without."""
    version = write_version(lake, "b", "blocks", generate_buildings(4000), Report("g"), provenance={}, style={"height": "height"})
    monkeypatch.setattr(blocks, "ALONE", 1000)
    killed: list[int] = []

    def progress(fraction: float, doing: str) -> None:
        if "building tiles" in doing and fraction < 0.9 and not killed:
            worker = next(p for p in psutil.Process().children() if "spawn_main" in " ".join(p.cmdline()))
            killed.append(worker.pid)
            worker.kill()

    options = blocks.Options(ground=0.0, budget=500)
    blocks.tile(version, TileJob(lake, lake.root / "a.3tz", options, None, 2, progress))
    blocks.tile(version, TileJob(lake, lake.root / "b.3tz", options, None, 1))
    assert killed
    assert (lake.root / "a.3tz").read_bytes() == (lake.root / "b.3tz").read_bytes()


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
