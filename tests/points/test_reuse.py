"""A cloud of many files of which some are new: the bytes of a full build, and only what they reach is read and encoded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ingest_gis import points as reader
from tests.ingest_gis.conftest import write_las
from tiling.points import reuse as point_reuse
from tiling.points import tiler
from tiling.points.runs import Cloud
from twin import clouds, parts
from twin.lake import Lake
from twin.model import LayerVersion, Report
from twin.registry import Previous, TileJob

SIDE, EACH = 50.0, 4_000
X, Y = 500_000.0, 2_500_000.0


def write(folder: Path, column: int, row: int, seed: int = 0, points: int = EACH) -> Path:
    """A square of a wavy ground as a file of its own."""
    rng = np.random.default_rng([column, row, seed])
    x, y = X + (column + rng.random(points)) * SIDE, Y + (row + rng.random(points)) * SIDE
    return write_las(folder / f"{column}-{row}.las", points, x=x, y=y, z=5 * np.sin(x / 40) + 5 * np.cos(y / 30) + rng.normal(0, 0.05, points))


def store(lake: Lake, *files: Path) -> LayerVersion:
    report = Report("c")
    options = reader.Options(crs="EPSG:32650", vertical="ellipsoid")
    return parts.write_version(lake, "c", "points", reader.read(list(files) if len(files) > 1 else files[0], options, report), report, provenance={})


def build(lake: Lake, version: LayerVersion, out: str, previous: Previous | None = None, **options: Any) -> tuple[bytes, dict[str, Any]]:
    job = TileJob(lake, lake.root / out, tiler.Options(**{"points_per_tile": 2_000, **options}), previous=previous)
    facts = tiler.tile(version, job)
    return job.out.read_bytes(), facts


def left(lake: Lake, out: str, facts: dict[str, Any]) -> Previous:
    return Previous((lake.root / out,), facts["sidecars"])


@pytest.fixture
def counts(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Tiles encoded and chunks of files decoded, from now on."""
    found = {"tiles": 0, "chunks": 0}
    real_encode, real_run = tiler.encode, Cloud.run

    def encode(*args: Any) -> Any:
        found["tiles"] += 1
        return real_encode(*args)

    def run(self: Cloud, raw: Any) -> Any:
        found["chunks"] += 1
        return real_run(self, raw)

    monkeypatch.setattr(tiler, "encode", encode)
    monkeypatch.setattr(Cloud, "run", run)
    monkeypatch.setattr(tiler, "BUCKET", 6_000)
    return found


def same(fast: dict[str, Any], full: dict[str, Any]) -> bool:
    return {k: v for k, v in fast.items() if k != "sidecars"} == {k: v for k, v in full.items() if k != "sidecars"}


@pytest.mark.parametrize("subdivision", ["explicit", "implicit"])
def test_files_that_come_and_files_that_change(tmp_path: Path, lake: Lake, counts: dict[str, int], subdivision: str) -> None:
    """36 files; then one is delivered anew, one is added inside the box of the others, one beside it, and one is taken back."""
    version = store(lake, *(write(tmp_path, c, r) for c in range(6) for r in range(6) if (c, r) != (4, 1)))
    _, facts = build(lake, version, "old.3tz", subdivision=subdivision)
    assert facts["tiles"] > 80
    steps = {"replaced": write(tmp_path, 1, 1, seed=1), "added": write(tmp_path, 4, 1), "beside": write(tmp_path, 6, 5, points=900), "taken back": write(tmp_path, 1, 1)}
    for step, file in steps.items():
        version = clouds.merge(version, store(lake, file))
        full, told = build(lake, version, "full.3tz", subdivision=subdivision)
        counts |= {"tiles": 0, "chunks": 0}
        fast, quick = build(lake, version, "fast.3tz", left(lake, "old.3tz", facts), subdivision=subdivision)
        assert fast == full, step
        assert same(quick, told)
        assert counts["tiles"] < 0.5 * told["tiles"], (step, counts)
        assert counts["chunks"] <= 16, (step, counts)
        (lake.root / "old.3tz").write_bytes(fast)
        facts = quick
    counts |= {"tiles": 0, "chunks": 0}
    assert build(lake, version, "again.3tz", left(lake, "old.3tz", facts), subdivision=subdivision)[0] == fast
    assert counts == {"tiles": 0, "chunks": 0}, "nothing changed"


def test_a_unit_more_crowded_than_its_cells(tmp_path: Path, lake: Lake, counts: dict[str, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """Points in places much smaller than the cells by which they are counted: the unit is many buckets."""
    monkeypatch.setattr(tiler, "BUCKET", 1_500)
    rng = np.random.default_rng(4)
    heap = write_las(tmp_path / "heap.las", 9_000, x=X + rng.random(9_000), y=Y + rng.random(9_000), z=rng.random(9_000))
    version = store(lake, heap, *(write(tmp_path, c, 0, points=1_200) for c in range(3, 6)))
    _, facts = build(lake, version, "old.3tz")
    version = clouds.merge(version, store(lake, write(tmp_path, 5, 0, seed=1, points=1_200)))
    full, _ = build(lake, version, "full.3tz")
    counts |= {"tiles": 0, "chunks": 0}
    fast, quick = build(lake, version, "fast.3tz", left(lake, "old.3tz", facts))
    assert fast == full
    assert counts["chunks"] <= 2, "the heap is not read"
    assert counts["tiles"] < 0.5 * quick["tiles"]


@pytest.mark.parametrize("damage", [point_reuse.CELLS, point_reuse.TOPS, "ledger", "archive"])
def test_a_damaged_past_means_a_full_build(tmp_path: Path, lake: Lake, counts: dict[str, int], damage: str) -> None:
    version = store(lake, *(write(tmp_path, c, r) for c in range(3) for r in range(3)))
    _, facts = build(lake, version, "old.3tz")
    previous = left(lake, "old.3tz", facts)
    version = clouds.merge(version, store(lake, write(tmp_path, 1, 1, seed=1)))
    full, _ = build(lake, version, "full.3tz")
    path = lake.root / "old.3tz" if damage == "archive" else lake.path(facts["sidecars"][damage])
    body = bytearray(path.read_bytes())
    for at in range(len(body) // 10, len(body) * 3 // 4, 500):  # the archive's directory, at its end, stays whole
        body[at] ^= 0x10
    path.chmod(0o644)
    path.write_bytes(body)
    counts |= {"tiles": 0, "chunks": 0}
    fast, quick = build(lake, version, "fast.3tz", previous)
    assert fast == full
    assert counts["tiles"] >= quick["tiles"] or damage in (point_reuse.CELLS, "archive")
    if damage in ("ledger", "archive"):
        assert any("made anew" in note["reason"] for note in quick["report"]["notes"])


def test_other_options_reuse_nothing(tmp_path: Path, lake: Lake, counts: dict[str, int]) -> None:
    version = store(lake, *(write(tmp_path, c, r) for c in range(2) for r in range(2)))
    _, facts = build(lake, version, "old.3tz")
    full, told = build(lake, version, "full.3tz", color="height")
    counts |= {"tiles": 0, "chunks": 0}
    assert build(lake, version, "fast.3tz", left(lake, "old.3tz", facts), color="height")[0] == full
    assert counts["tiles"] == told["tiles"]


def test_the_tiles_do_not_tell_in_what_order_files_came(tmp_path: Path, lake: Lake) -> None:
    """Delivered one by one, replaced and taken back, one of them twice under two names: version and bytes of one delivery of them all."""
    version = store(lake, write(tmp_path, 3, 0))
    for file in (write(tmp_path, 1, 0, seed=3), write(tmp_path, 2, 0), write(tmp_path, 0, 0), write(tmp_path, 1, 0)):
        version = clouds.merge(version, store(lake, file))
    (tmp_path / "4-0.las").write_bytes((tmp_path / "2-0.las").read_bytes())
    version = clouds.merge(version, store(lake, tmp_path / "4-0.las"))
    assert version.report["notes"][-1] == {"action": "skipped", "feature": "4-0.las", "reason": "the same bytes as 2-0.las"}
    whole = store(lake, *sorted(tmp_path.glob("*.las")))
    assert [(p.key, p.bounds, p.properties) for p in version.parts] == [(p.key, p.bounds, p.properties) for p in whole.parts]
    assert (version.reference, version.count) == (whole.reference, whole.count)
    assert build(lake, version, "a.3tz")[0] == build(lake, whole, "b.3tz")[0]
