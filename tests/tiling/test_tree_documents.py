"""Large trees of meshes and points in several documents: the same tree, the same bytes by an update, and no fault for `twin check`."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest_gis import points as reader
from tests.ingest_gis.conftest import write_las
from tests.tiling.test_mesh_reuse import BLUE, RED, build, layer, left, thing
from tests.tiling.test_tileset import random_tree, together
from tiling import tree_documents
from tiling.check import check_tileset
from tiling.points import tiler as points
from tiling.tileset import dump, tileset
from twin.lake import Lake
from twin.model import Layer, Report
from twin.parts import write_version
from twin.registry import TileJob

ABOUT = Layer("楼", "mesh", {"zh": "楼"})


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Documents of no more than four tiles."""
    monkeypatch.setattr(tree_documents, "SMALL", 6)
    monkeypatch.setattr(tree_documents, "MOST", 4)


def ordered(tile: dict[str, Any]) -> dict[str, Any]:
    """A tree without the order of siblings."""
    children = sorted((ordered(child) for child in tile.get("children", [])), key=lambda child: json.dumps(child, sort_keys=True))
    return {key: value for key, value in tile.items() if key != "children"} | ({"children": children} if children else {})


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 60), st.sampled_from(["ADD", "REPLACE"]), st.integers(2, 12))
def test_documents_make_up_the_tree(seed: int, count: int, refine: str, most: int) -> None:
    tiles = random_tree(seed, count)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tree_documents, "SMALL", 10)
        patch.setattr(tree_documents, "MOST", most)
        data, root, parts = tree_documents.told(tiles, [f"{at}/x" for at in range(count)], error=50, refine=refine, about=ABOUT)
    plain = tileset(tiles, error=50, refine=refine, about=ABOUT)
    documents = {part.name: json.loads(part.text()) for part in parts}
    assert ordered(together(json.loads(data), documents, refine)) == ordered(together(plain, {}, refine))
    assert root == {key: value for key, value in plain["root"].items() if key != "children"}
    assert all(counted(one["root"]) <= most for one in documents.values())
    assert count > 10 or not documents


def counted(tile: dict[str, Any]) -> int:
    return 1 + sum(counted(child) for child in tile.get("children", []))


def test_a_small_tree_is_written_as_ever() -> None:
    tiles = random_tree(3, 1)
    assert tree_documents.told(tiles, ["0"], error=50, refine="ADD", about=ABOUT)[0] == dump(tileset(tiles, error=50, about=ABOUT))


def test_of_a_large_tree_little_is_read_at_first() -> None:
    """A quadtree of 21,845 tiles."""
    tiles = random_tree(0, 21_845)
    for at, tile in enumerate(tiles):
        tile.parent = (at - 1) // 4 if at else -1
    data, _, parts = tree_documents.told(tiles, [str(at) for at in range(len(tiles))], error=50, refine="ADD")
    whole = len(dump(tileset(tiles, error=50)))
    assert len(data) < whole / 40
    assert sum(counted(json.loads(part.text())["root"]) for part in parts) + counted(json.loads(data)["root"]) - len(parts) == len(dump_contents(tiles))


def dump_contents(tiles: list[Any]) -> list[Any]:
    """The tiles that are written: those with content below them."""
    full = {at for at, tile in enumerate(tiles) if tile.uri}
    for at in range(len(tiles) - 1, 0, -1):
        if at in full:
            full.add(tiles[at].parent)
    return sorted(full)


def test_meshes(lake: Lake, small: None) -> None:
    rng = np.random.default_rng(5)
    rows = {f"f{k:03d}": thing(rng) for k in range(90)}
    data, facts = build(lake, "a.3tz", layer(rows, [RED, BLUE]), budget=700)
    names = zipfile.ZipFile(io.BytesIO(data)).namelist()
    assert sum(name.endswith(".json") for name in names) > 3
    found = check_tileset(lake.root / "a.3tz")
    assert not found.findings
    assert found.contents == facts["tiles"]
    rows["f007"]["name"] = "other"
    fast, _ = build(lake, "b.3tz", layer(rows, [RED, BLUE]), budget=700, previous=left(lake, data, facts))
    full, _ = build(lake, "c.3tz", layer(rows, [RED, BLUE]), budget=700)
    assert fast == full != data
    implicitly, _ = build(lake, "d.3tz", layer(rows, [RED, BLUE]), budget=700, subdivision="implicit")
    assert not [name for name in zipfile.ZipFile(io.BytesIO(implicitly)).namelist() if name.startswith("tileset-")]


def test_points(tmp_path: Path, lake: Lake, small: None) -> None:
    rng = np.random.default_rng(6)
    x, y, z = rng.uniform(0, 300, 30_000), rng.uniform(0, 300, 30_000), rng.uniform(0, 20, 30_000)
    report = Report("c")
    source = write_las(tmp_path / "a.las", 30_000, x=500_000 + x, y=2_500_000 + y, z=z)
    version = write_version(lake, "c", "points", reader.read(source, reader.Options(crs="EPSG:32650", vertical="ellipsoid"), report), report, provenance={})
    facts = points.tile(version, TileJob(lake, lake.root / "p.3tz", points.Options(points_per_tile=1_500)))
    found = check_tileset(lake.root / "p.3tz")
    assert not found.findings
    assert found.contents == facts["tiles"] > 6
    assert facts["stats"]["points"] == 30_000
    assert sum(name.startswith("tileset-") for name in zipfile.ZipFile(lake.root / "p.3tz").namelist()) > 1
