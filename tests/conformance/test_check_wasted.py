"""Boxes that are far larger than what lies in them: valid, and named by a warning; so are those of implicit tiling that metadata states."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.test_check_masses import city  # noqa: F401  a fixture
from tests.conformance.test_check_mutants import Built, Files, built  # noqa: F401  a fixture
from tests.conformance.test_check_points import cloud, column  # noqa: F401  a fixture
from tests.conformance.test_positions_layers import rewritten
from tiling.blocks import tiler as blocks
from tiling.check import Report, check_tileset
from twin.bench.cities import generate_buildings
from twin.lake import Lake
from twin.model import Report as ReadReport
from twin.parts import write_version
from twin.registry import TileJob

Change = Callable[[dict[str, Any]], Any]


def grown(tile: dict[str, Any], by: float = 10) -> None:
    tile["boundingVolume"]["box"][3:] = [by * v for v in tile["boundingVolume"]["box"][3:]]


def every(change: Change) -> Callable[[Files], None]:
    """Change every tile of tileset.json."""

    def edit(files: Files) -> None:
        document = json.loads(files["tileset.json"])
        stack = [document["root"]]
        while stack:
            change(tile := stack.pop())
            stack += tile.get("children", [])
        files["tileset.json"] = json.dumps(document).encode()

    return edit


def _wasted(report: Report) -> list[str]:
    return [finding.path for finding in report.warnings if finding.code == "BOX_WASTED"]


@pytest.mark.parametrize(("fixture", "name"), [("city", "c"), ("built", "m"), ("cloud", "p")])
def test_every_box_that_is_ten_times_too_large_is_named(request: pytest.FixtureRequest, fixture: str, name: str) -> None:
    """But for those above others, in which these fit."""
    lake, _, _ = request.getfixturevalue(fixture)
    path = lake.root / f"{name}.3tz"
    assert not check_tileset(path).findings
    leaves: list[int] = []
    report = check_tileset(rewritten(path, every(lambda tile: [grown(tile), leaves.append("children" not in tile)])))
    assert report.ok
    assert sum(leaves) > 5
    assert report.counts["warning", "BOX_WASTED"] >= sum(leaves)


def test_one_box_is_named_and_no_other(built: Built) -> None:  # noqa: F811
    lake, _, _ = built

    def edit(files: Files) -> None:
        document = json.loads(files["tileset.json"])
        grown(document["root"], 3)
        files["tileset.json"] = json.dumps(document).encode()

    assert _wasted(check_tileset(rewritten(lake.root / "m.3tz", edit))) == ["tileset.json#/root/boundingVolume"]


def test_a_box_that_is_too_high_is_named(built: Built) -> None:  # noqa: F811
    """One side is enough: heights in feet that were told as metres."""
    lake, _, _ = built

    def edit(files: Files) -> None:
        document = json.loads(files["tileset.json"])
        document["root"]["boundingVolume"]["box"][9:] = [3.28 * v for v in document["root"]["boundingVolume"]["box"][9:]]
        files["tileset.json"] = json.dumps(document).encode()

    assert _wasted(check_tileset(rewritten(lake.root / "m.3tz", edit))) == ["tileset.json#/root/boundingVolume"]


def test_what_is_not_known_is_not_said(build: Any) -> None:
    """A content that is missing, a child whose volume is an extension's, flat boxes, a box that is larger by less than a metre, tilesets of others."""
    files = {"tileset.json": build.tileset(), "a.glb": build.content()}
    large = copy.deepcopy(files)
    root, child = large["tileset.json"]["root"], large["tileset.json"]["root"]["children"][0]
    root["boundingVolume"] = child["boundingVolume"] = build.box(0.5, -0.5, 0.5, 5, 5, 5)
    assert _wasted(build.check(large)) == ["tileset.json#/root/children/0/boundingVolume"]
    assert build.check(large, laws=False).findings == []
    assert _wasted(build.check({**large, "a.glb": b"glTF"})) == []
    child["boundingVolume"] = {"extensions": {"EXT_other": {}}}
    assert _wasted(build.check(large)) == []
    child["boundingVolume"] = build.box(0.5, -0.5, 0.5, 0.5, 0.5, 0.0)
    assert _wasted(build.check(large)) == ["tileset.json#/root/boundingVolume"]
    root["boundingVolume"] = build.box(0.5, -0.5, 0.5, 0.95, 0.95, 0.4)
    assert _wasted(build.check(large)) == []


def test_boxes_of_implicit_tiles(tmp_path: Path) -> None:
    """Those that metadata states; what the standard makes of the root's is as large as it is."""
    lake = Lake(tmp_path)
    version = write_version(lake, "i", "blocks", generate_buildings(900), ReadReport("i"), provenance={})
    options = blocks.Options(ground=10.0, subdivision="implicit", masses=False, budget=500)
    blocks.tile(version, TileJob(lake, tmp_path / "i.3tz", options, None, 1))
    report = check_tileset(tmp_path / "i.3tz")
    assert report.contents > 20
    assert not report.findings

    def edit(files: Files) -> None:
        for name in [name for name in files if name.endswith(".subtree")]:
            column(files, name, "boundingBox").reshape(-1, 12)[:, 3:] *= 10

    spoilt = check_tileset(rewritten(tmp_path / "i.3tz", edit))
    assert spoilt.counts["warning", "BOX_WASTED"] >= report.contents / 2
