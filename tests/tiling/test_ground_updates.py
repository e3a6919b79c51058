"""Blocks on a ground that changed: the bytes of a full build, and only what stands on other heights is built."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from rasterio.transform import from_origin
from rasterio.windows import Window

from tests.tiling.test_incremental import X, Y, counted, of, row, store
from tiling.blocks import ground_marks
from tiling.blocks import tiler as blocks
from tiling.check import check_layer
from twin.crs import to_lonlat
from twin.ground import Ground
from twin.lake import Lake
from twin.model import Reference
from twin.registry import Previous, TileJob

LARGE = 2100
"""Cells along a raster beyond the limit, which the test sets; with 8,400, which are 70 million cells, it takes fifteen seconds (and passes)."""


def raster(path: Path, west: float, south: float, side: float, cell: float, height: float, crs: str = "EPSG:4547") -> Path:
    """A sloping ground over a square."""
    count = round(side / cell)
    j, i = np.meshgrid(np.arange(count), np.arange(count))
    profile = {"driver": "GTiff", "width": count, "height": count, "count": 1, "dtype": "float64", "crs": crs, "transform": from_origin(west, south + side, cell, cell)}
    with rasterio.open(path, "w", **profile) as file:
        file.write(height + (0.01 * j + 0.02 * i) * cell, 1)
    return path


def test_a_survey_laid_over_the_terrain_builds_what_it_touches(lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another raster over a corner of the ground: the bytes of a full build, and tiles away from it are copied."""
    rng = np.random.default_rng(8)
    version = store(lake, of({f"b{i}": row(rng) for i in range(2000)}))
    base = Ground(raster(tmp_path / "base.tif", X - 500, Y - 500, 4200, 30, 10.0), Reference("EPSG:4547", "EPSG:4979"), "base")
    survey = raster(tmp_path / "survey.tif", X + 100, Y + 100, 400, 2, 14.0)
    over = Ground(survey, Reference("EPSG:4547", "EPSG:4979"), "survey+base", base)

    def built(out: str, ground: Ground, previous: Previous | None = None) -> tuple[bytes, dict[str, Any]]:
        job = TileJob(lake, lake.root / out, blocks.Options(budget=400), ground, previous=previous)
        facts = blocks.tile(version, job)
        return job.out.read_bytes(), facts

    first, facts = built("a.3tz", base)
    full, now = built("full.3tz", over)
    counts = counted(monkeypatch)
    fast, _ = built("fast.3tz", over, Previous((lake.root / "a.3tz",), facts["sidecars"]))
    assert fast == full != first
    assert 0 < counts["tiles"] < 0.2 * facts["tiles"]
    assert counts["rows"] == 0
    known = {"info": now, "options": blocks.Options(budget=400).model_dump()}
    found = check_layer(version, lake, lake.root / "full.3tz", ground=over, **known)
    assert not found.errors, "where the survey ends the check looks at the ground below it"
    assert found.positions["height_error_m"] < 0.01
    wrong = check_layer(version, lake, lake.root / "full.3tz", ground=base, **known)
    assert {finding.code for finding in wrong.errors} == {"HEIGHT_OFF"}, "those that stand on the survey"


def test_a_terrain_that_reaches_farther_builds_what_stands_on_other_heights(lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same cells, of which a corner differs, in a raster with another origin: heights are the same to the last bit, and so are the tiles."""
    version = store(lake, of({f"b{i}": row(np.random.default_rng(i)) for i in range(1000)}))
    west, top, cell = X - 500.4, Y + 3700.7, 7.3
    cells = np.random.default_rng(8).uniform(5, 40, (580, 580))

    def ground(name: str, cells: Any, left: int, up: int, far: float = 0.0) -> Ground:
        place = from_origin(west - left * cell + far, top + up * cell, cell, cell)
        with rasterio.open(tmp_path / name, "w", driver="GTiff", width=cells.shape[1], height=cells.shape[0], count=1, dtype="float64", crs="EPSG:4547", transform=place) as file:
            file.write(cells, 1)
        return Ground(tmp_path / name, Reference("EPSG:4547", "EPSG:4979"), name)

    wider = np.pad(cells, ((53, 8), (41, 0)), constant_values=3.0)
    wider[-140:, :160] += 1.0
    one, other = ground("one.tif", cells, 0, 0), ground("other.tif", wider, 41, 53)
    east, north = np.random.default_rng(2).uniform(0, 3000, (2, 2000))
    lon, lat = to_lonlat("EPSG:4547", X + east, Y + north)
    same = (east > 450) | (north > 450)  # not over the corner that differs
    assert np.isfinite(one.ellipsoidal(lon, lat)).all()
    assert (one.ellipsoidal(lon, lat) == other.ellipsoidal(lon, lat))[same].all()

    def built(out: str, under: Ground, previous: Previous | None = None) -> tuple[bytes, dict[str, Any]]:
        job = TileJob(lake, lake.root / out, blocks.Options(budget=400), under, previous=previous)
        facts = blocks.tile(version, job)
        return job.out.read_bytes(), facts

    counts = counted(monkeypatch)
    first, facts = built("a.3tz", one)
    all_tiles = counts["tiles"]
    full, _ = built("full.3tz", other)
    counts["tiles"] = 0
    fast, _ = built("fast.3tz", other, Previous((lake.root / "a.3tz",), facts["sidecars"]))
    assert fast == full != first
    assert 0 < counts["tiles"] < 0.3 * all_tiles
    counts["tiles"] = 0
    shifted, _ = built("shifted.3tz", ground("shifted.tif", cells, 0, 0, far=0.01), Previous((lake.root / "a.3tz",), facts["sidecars"]))
    assert shifted != first
    assert counts["tiles"] == all_tiles, "a centimetre aside are other cells"


def test_a_terrain_in_place_of_another_builds_what_stands_on_other_heights(lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A whole new raster of which a corner differs: the bytes of a full build, twice; a raster whose digests were left is not read again."""
    rng = np.random.default_rng(8)
    version = store(lake, of({f"b{i}": row(rng) for i in range(2000)}))
    first = raster(tmp_path / "first.tif", X - 500, Y - 500, 4200, 15, 10.0)
    with rasterio.open(first) as file:
        cells, profile = file.read(1), file.profile
    cells[-70:, :70] += 1.0
    with rasterio.open(tmp_path / "second.tif", "w", **profile) as file:
        file.write(cells, 1)

    def built(out: str, name: str, previous: Previous | None = None, vertical: str = "EPSG:4979") -> tuple[bytes, dict[str, Any]]:
        ground = Ground(tmp_path / f"{name}.tif", Reference("EPSG:4547", vertical), name)
        job = TileJob(lake, lake.root / out, blocks.Options(budget=400), ground, previous=previous)
        facts = blocks.tile(version, job)
        return job.out.read_bytes(), facts

    before, facts = built("a.3tz", "first")
    full, _ = built("full.3tz", "second")
    counts = counted(monkeypatch)
    fast, quick = built("fast.3tz", "second", Previous((lake.root / "a.3tz",), facts["sidecars"]))
    assert fast == full != before
    assert 0 < counts["tiles"] < 0.25 * facts["tiles"]
    assert counts["rows"] == 0
    monkeypatch.setattr(ground_marks, "_digest", lambda _cells: pytest.fail("read again"))
    assert built("again.3tz", "second", Previous((lake.root / "fast.3tz",), quick["sidecars"]))[0] == full
    monkeypatch.undo()
    counts = counted(monkeypatch)
    moved, _ = built("moved.3tz", "second", Previous((lake.root / "fast.3tz",), quick["sidecars"]), "EPSG:5773")
    assert moved != full
    assert counts["tiles"] + counts["masses"] == facts["tiles"], "the same cells in another datum"


def sparse(path: Path, changed: int) -> Ground:
    """A raster of many cells of which few are written; the rest of the file is a hole, and of height 0. In a corner some are `changed` metres high."""
    profile = {"driver": "GTiff", "width": LARGE, "height": LARGE, "count": 1, "dtype": "float32", "crs": "EPSG:4547", "tiled": True, "sparse_ok": True}
    with rasterio.open(path, "w", transform=from_origin(X - 500, Y + 3500, 2, 2), **profile) as file:
        file.write(np.full((1, 1), 9, np.float32), 1, window=Window(LARGE - 1, LARGE - 1, 1, 1))
        if changed:
            file.write(np.full((300, 300), changed, np.float32), 1, window=Window(256, 256, 300, 300))
    return Ground(path, Reference("EPSG:4547", "EPSG:4979"), path.stem)


def test_a_raster_on_either_side_of_the_limit_in_place_of_another(lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No square is read twice, and only what stands on changed cells is built; a raster beyond the limit is one thing, and the tiles are the same."""
    version = store(lake, of({f"b{i}": row(np.random.default_rng(i)) for i in range(600)}))
    first, second = sparse(tmp_path / "first.tif", 0), sparse(tmp_path / "second.tif", 3)
    assert first.path.stat().st_size < LARGE * LARGE, "a file with holes"
    real, squares = ground_marks._digest, []
    monkeypatch.setattr(ground_marks, "_digest", lambda cells: squares.append(cells.shape) or real(cells))

    def built(out: str, ground: Ground, previous: Previous | None = None) -> tuple[bytes, dict[str, Any]]:
        job = TileJob(lake, lake.root / out, blocks.Options(budget=400), ground, previous=previous)
        facts = blocks.tile(version, job)
        return job.out.read_bytes(), facts

    before, facts = built("a.3tz", first)
    every = (-(-LARGE // ground_marks.SIDE) + 1) ** 2
    assert 0 < len(squares) <= every
    full, _ = built("full.3tz", second)
    counts = counted(monkeypatch)
    fast, _ = built("fast.3tz", second, Previous((lake.root / "a.3tz",), facts["sidecars"]))
    assert fast == full != before
    assert len(squares) <= 3 * every, "once for each of three builds"
    assert 0 < counts["tiles"] < 0.3 * facts["tiles"]
    monkeypatch.setattr(ground_marks, "MOST", LARGE * LARGE - 1)
    counts["tiles"] = 0
    squares.clear()
    whole, again = built("whole.3tz", second, Previous((lake.root / "a.3tz",), facts["sidecars"]))
    assert whole == full
    assert counts["tiles"] > 0.5 * facts["tiles"], "any of its cells may be another"
    assert not squares, "what is one thing is not read for its digests"
    counts["tiles"] = 0
    assert built("same.3tz", second, Previous((lake.root / "whole.3tz",), again["sidecars"]))[0] == full
    assert counts["tiles"] == 0, "the same raster by its name"
