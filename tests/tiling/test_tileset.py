"""tileset.json: law 6 on random trees (children inside parents, errors falling), frames that compose, empty branches left out."""

from __future__ import annotations

import json
import zipfile
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from tiling.blocks import tiler as blocks
from tiling.check import check_tileset
from tiling.tileset import Tile, dump, relative_frame, tileset
from tiling.tree_text import Document, Rows, Tree, document, text
from twin.crs import enu_frame
from twin.lake import Lake
from twin.model import Features, Layer, Reference, Report
from twin.parts import write_version
from twin.registry import TileJob


def random_tree(seed: int, count: int) -> list[Tile]:
    rng = np.random.default_rng(seed)
    tiles = []
    for position in range(count):
        frame = enu_frame(113 + float(rng.normal(0, 0.3)), 22 + float(rng.normal(0, 0.3)), float(rng.uniform(0, 50)))
        low = rng.uniform(-500, 0, 3)
        content = position == count - 1 or rng.random() < 0.7
        tiles.append(Tile(frame, float(rng.uniform(0, 100)), int(rng.integers(0, position)) if position else -1,
                          low if content else None, low + rng.uniform(0, 300, 3) if content else None, f"{position}.glb" if content else None))  # fmt: skip
    return tiles


def depth_first(tiles: list[Tile]) -> list[Tile]:
    """The same tree, each tile before those below it and these before its next neighbour."""
    below: dict[int, list[int]] = {}
    for at, tile in enumerate(tiles):
        below.setdefault(tile.parent, []).append(at)
    order, stack = [], [0]
    while stack:
        order.append(stack.pop())
        stack += reversed(below.get(order[-1], []))
    place = {at: number for number, at in enumerate(order)}
    return [replace(tiles[at], parent=place.get(tiles[at].parent, -1)) for at in order]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 40), st.booleans())
def test_the_text_made_of_columns_is_that_of_the_objects(seed: int, count: int, grouped: bool) -> None:
    rng = np.random.default_rng(seed)
    tiles = depth_first(random_tree(seed, count))
    for tile in tiles:
        if rng.random() < 0.3:
            tile.frame = tiles[max(tile.parent, 0)].frame
        if tile.uri is None and rng.random() < 0.5:
            tile.parent, tile.low, tile.high, tile.uri = tile.parent, np.zeros(3), np.ones(3), f'江"门,{tile.error}.glb'
        if tile.parent >= 0 and rng.random() < 0.3:
            tile.extra["refine"] = "REPLACE"
    told: dict[str, Any] = {"about": Layer("楼", "blocks", {"zh": "楼"}), "schema": {"id": "s", "classes": {}}, "statistics": {"名": 0.1}} if grouped else {}
    plain = tileset(tiles, error=50, **told)
    nothing = np.full(3, np.nan)
    columns = Tree(np.array([t.frame for t in tiles]), np.array([t.error for t in tiles]), np.array([t.parent for t in tiles]),
                   np.array([nothing if t.low is None else t.low for t in tiles]), np.array([nothing if t.high is None else t.high for t in tiles]),
                   [t.uri or "" for t in tiles], np.array(["refine" in t.extra for t in tiles]), np.zeros(count, bool))  # fmt: skip
    data, root = text(columns, error=50, **told)
    assert data == dump(plain)
    assert root == {key: value for key, value in plain["root"].items() if key != "children"}
    ends = [next((later for later in range(at + 1, count) if tiles[later].parent < at), count) for at in range(count)]
    branches: list[tuple[int, int]] = []
    for at in range(1, count):
        if ends[at] > at + 1 and at >= (branches[-1][1] if branches else 0) and rng.random() < 0.5 and any(tile.uri for tile in tiles[at : ends[at]]):
            branches.append((at, ends[at]))
    cut, parts = cut_at(columns, branches, told.get("about"))
    whole, root_ = text(cut, error=50, **told)
    assert root_ == root
    documents = {part.name: json.loads(part.text()) for part in parts}
    assert together(json.loads(whole), documents, "ADD") == together(json.loads(data), {}, "ADD")
    assert all(one.get("groups") == plain.get("groups") for one in documents.values())
    moved = replace(columns, error=columns.error + np.isin(np.arange(count), [first for first, _ in branches]) * 200)
    for one, other in zip(parts, cut_at(moved, branches, told.get("about"))[1], strict=True):
        assert one.key != other.key
        assert one.text() != other.text()


def cut_at(tree: Tree, branches: list[tuple[int, int]], about: Any) -> tuple[Tree, list[Document]]:
    """A tree in which one tile stands for each of some branches (first, end), and what is told of these."""
    documents, low, high, error, uri, replaced = [], tree.low.copy(), tree.high.copy(), tree.error.copy(), list(tree.uri), tree.replaced.copy()
    keep, ready = np.ones(len(error), bool), tree.ready.copy()
    for first, end in branches:
        mine = slice(first, end)
        rows = Rows.of(Tree(tree.frame[mine], tree.error[mine], np.where(tree.parent[mine] < first, -1, tree.parent[mine] - first), tree.low[mine], tree.high[mine],
                            tree.uri[mine], tree.replaced[mine], tree.ready[mine]), about is not None)  # fmt: skip
        above = first
        while above >= 0 and not tree.replaced[above]:
            above = int(tree.parent[above])
        documents.append(document(rows, 0, f"tileset-{first}.json", refine="REPLACE" if above >= 0 else "ADD", about=about))
        low[first], high[first], error[first], uri[first] = rows.placed.low[0], rows.placed.high[0], rows.errors[0], documents[-1].name
        keep[first + 1 : end], ready[first], replaced[first] = False, True, False
    place = np.cumsum(keep) - 1
    parents = np.where(tree.parent < 0, -1, place[np.maximum(tree.parent, 0)])
    return Tree(tree.frame[keep], error[keep], parents[keep], low[keep], high[keep], [one for one, kept in zip(uri, keep, strict=True) if kept], replaced[keep], ready[keep]), documents


def together(document: dict[str, Any], parts: dict[str, dict[str, Any]], refine: str) -> dict[str, Any]:
    """The root tile with what external documents say of theirs in the places of the tiles that stand for them; every tile with the refinement that it takes over."""
    def grown(tile: dict[str, Any], refine: str) -> dict[str, Any]:
        uri = tile.get("content", {}).get("uri")
        if uri in parts:
            inner = parts[uri]["root"]
            assert parts[uri]["geometricError"] == inner["geometricError"] == tile["geometricError"]
            assert inner["boundingVolume"] == tile["boundingVolume"]
            assert "transform" not in inner
            assert "children" not in tile
            tile = {key: value for key, value in tile.items() if key == "transform"} | inner
        own = tile.get("refine", refine)
        return {**tile, "refine": own, **({"children": [grown(child, own) for child in tile["children"]]} if "children" in tile else {})}

    return grown(document["root"], refine)


def walk(tile: dict[str, Any], above: np.ndarray) -> Any:
    matrix = above @ np.array(tile.get("transform", np.eye(4).ravel())).reshape(4, 4).T
    box = np.array(tile["boundingVolume"]["box"])
    yield tile, matrix, box
    for child in tile.get("children", ()):
        yield from walk(child, matrix)


def corners(box: np.ndarray) -> np.ndarray:
    signs = np.array(np.meshgrid([-1, 1], [-1, 1], [-1, 1])).reshape(3, -1).T
    return box[:3] + signs @ box[3:].reshape(3, 3)


def outside(points: np.ndarray, matrix: np.ndarray, box: np.ndarray) -> float:
    """How far points (ECEF) stick out of a box, metres."""
    local = (points - matrix[:3, 3]) @ matrix[:3, :3]
    return float((np.abs(local - box[:3]) - np.diag(box[3:].reshape(3, 3))).max())


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 25))
def test_law_six_of_boxes_and_errors(seed: int, count: int) -> None:
    tiles = random_tree(seed, count)
    document = json.loads(dump(tileset(tiles, error=50)))
    assert document["geometricError"] >= document["root"]["geometricError"]
    by_uri = {tile.uri: tile for tile in tiles if tile.uri}
    seen = []
    for tile, matrix, box in walk(document["root"], np.eye(4)):
        for child, child_matrix, child_box in (next(iter(walk(c, matrix))) for c in tile.get("children", ())):
            world = corners(child_box) @ child_matrix[:3, :3].T + child_matrix[:3, 3]
            assert outside(world, matrix, box) <= 0
            assert child["geometricError"] <= tile["geometricError"]
        if "content" in tile:
            given_tile = by_uri[tile["content"]["uri"]]
            assert np.abs(matrix - given_tile.frame).max() < 1e-6
            both = np.array([given_tile.low, given_tile.high])
            assert outside(both @ given_tile.frame[:3, :3].T + given_tile.frame[:3, 3], matrix, box) < -0.005
            assert tile["geometricError"] >= given_tile.error
            seen.append(tile["content"]["uri"])
        else:
            assert tile["children"], "an empty leaf has nothing to say"
    assert sorted(seen) == sorted(by_uri)


def test_no_content_is_an_error() -> None:
    with pytest.raises(ValueError, match="needs content"):
        tileset([Tile(np.eye(4), 0.0)], error=1)


def test_the_bytes_say_what_the_document_says() -> None:
    document = tileset([Tile(np.eye(4), 1e-7, -1, np.zeros(3), np.full(3, 1e5 / 3), "江门.glb")], error=1, statistics={"名": 1e-9})
    assert json.loads(dump(document)) == document
    assert json.loads(dump({"zoom": 3})) == {"zoom": 3}
    assert json.loads(dump({"root": {}})) == {"root": {}}


@pytest.mark.parametrize("bad", [{"error": np.inf}, {"low": np.full(3, -1e308 * 10)}, {"frame": np.full((4, 4), np.nan)}])
def test_what_is_not_finite_is_never_written(bad: dict[str, Any]) -> None:
    tiles = [Tile(np.eye(4), 1.0, -1, np.zeros(3), np.ones(3), "a.glb"), Tile(**{"frame": np.eye(4), "error": 0.5, "parent": 0, "low": np.zeros(3), "high": np.ones(3), "uri": "b.glb", **bad})]
    if "low" in bad:  # a tile without a known extent has no content to draw
        assert "children" not in tileset(tiles, error=1)["root"]
        return
    with pytest.raises(ValueError, match="not finite"):
        tileset(tiles, error=1)


def test_relative_frames_compose() -> None:
    a, b = enu_frame(113.1, 22.5, 10), enu_frame(113.2, 22.6, 0)
    assert np.abs(a @ relative_frame(a, b) - b).max() < 1e-8
    assert np.array_equal(relative_frame(a, a), np.eye(4))


def test_groups_tell_what_the_layer_is(lake: Lake) -> None:
    """Every content is in the one group; its texts are the layer's; a class that is called like it is left alone; valid by our check."""
    about = Layer("houses", "blocks", {"zh": "建筑", "en": "Buildings"}, group="工程建设项目", grade="CIM2", licence="CC BY 4.0")
    shapes = [shapely.box(405_000 + 30 * i, 2_498_000, 405_012 + 30 * i, 2_498_010) for i in range(400)]
    table = pa.table({"height": np.linspace(3, 90, 400)})
    batch = Features(Reference("EPSG:4547"), pa.array([f"b{i}" for i in range(400)]), np.array(shapes, object), table)
    for name in ("houses", "layer"):
        version = write_version(lake, name, "blocks", [batch], Report("h"), provenance={}, style={"height": "height"})
        for subdivision in ("explicit", "implicit"):
            out = lake.root.parent / f"{name}-{subdivision}.3tz"
            blocks.tile(version, TileJob(lake, out, blocks.Options(ground=5.0, budget=1000, subdivision=subdivision), about=about))
            document = json.loads(zipfile.ZipFile(out).read("tileset.json"))
            (group,) = document["groups"]
            assert group["properties"] == {"name": "houses", "kind": "blocks", "group": "工程建设项目", "grade": "CIM2", "title": "建筑",
                                           "title_en": "Buildings", "licence": "CC BY 4.0", "label": "open"}  # fmt: skip
            assert set(group["properties"]) <= set(document["schema"]["classes"][group["class"]]["properties"])
            assert name in document["schema"]["classes"]
            stack, contents = [document["root"]], 0
            while stack:
                tile = stack.pop()
                stack += tile.get("children", [])
                if "content" in tile:
                    assert tile["content"]["group"] == 0
                    contents += 1
            assert contents == (1 if subdivision == "implicit" else contents) > 0
            report = check_tileset(out)
            assert not report.findings, report.findings[:3]
            document["groups"][0]["properties"]["grade"] = 2
            document["statistics"]["classes"][name]["properties"]["height"]["mean"] = 1e9
            bad = out.with_suffix(".d")
            with zipfile.ZipFile(out) as archive:
                archive.extractall(bad)
            (bad / "tileset.json").write_text(json.dumps(document))
            assert {f.code for f in check_tileset(bad).errors} == {"METADATA_VALUE_TYPE", "STATISTICS_INVALID"}
