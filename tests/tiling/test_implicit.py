"""Implicit tiling: the same features at the same places as the explicit tree, read back by the checker and by a reader of this test's own."""

from __future__ import annotations

import json
import struct
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import shapely

from tiling import implicit
from tiling.blocks import tiler as blocks
from tiling.check import Report as CheckReport
from tiling.check import check_tileset, diff_tilesets
from twin.archive import ArchiveWriter
from twin.errors import BadTileset, StorageError
from twin.lake import Lake
from twin.model import Features, LayerVersion, Reference, Report
from twin.parts import write_version
from twin.registry import TileJob

sys.path[:0] = [str(Path(__file__).parent)]
from tiling_helpers import assert_valid  # noqa: E402

from twin.bench.cities import generate_buildings  # noqa: E402


def tiled(lake: Lake, version: LayerVersion, name: str, **options: Any) -> tuple[Path, dict[str, Any]]:
    out = lake.root.parent / f"{name}.3tz"
    return out, blocks.tile(version, TileJob(lake, out, blocks.Options(ground=20.0, masses=False, **options)))


@pytest.fixture
def city(lake: Lake) -> LayerVersion:
    return write_version(lake, "b", "blocks", generate_buildings(900, 5), Report("g"), provenance={}, style={"height": "height"})


def read_subtree(data: bytes) -> tuple[dict[str, Any], bytes]:
    magic, version, text, binary = struct.unpack_from("<4sI2Q", data)
    assert (magic, version, 24 + text + binary) == (b"subt", 1, len(data))
    assert text % 8 == binary % 8 == 0
    return json.loads(data[24 : 24 + text]), data[24 + text :]


def bits(document: dict[str, Any], body: bytes, value: dict[str, int], count: int) -> list[bool]:
    if "constant" in value:
        return [bool(value["constant"])] * count
    view = document["bufferViews"][value["bitstream"]]
    data = body[view["byteOffset"] : view["byteOffset"] + view["byteLength"]]
    assert len(data) == -(-count // 8)
    found = [bool(data[i // 8] >> i % 8 & 1) for i in range(count)]
    assert sum(found) == value["availableCount"]
    return found


def tiles_of(archive: zipfile.ZipFile) -> dict[tuple[int, ...], tuple[list[float], float, bool]]:
    """Every tile: its box (12 numbers), error, whether it has content; by the standard's own rules, bit by bit."""
    document = json.loads(archive.read("tileset.json"))
    how = document["root"]["implicitTiling"]
    axes = 2 if how["subdivisionScheme"] == "QUADTREE" else 3
    b, levels = 1 << axes, how["subtreeLevels"]
    size = (b**levels - 1) // (b - 1)
    found = {}
    stack: list[tuple[int, ...]] = [(0,) * (axes + 1)]
    while stack:
        start = stack.pop()
        value, body = read_subtree(archive.read(f"subtrees/{'/'.join(map(str, start))}.subtree"))
        tile, content = (bits(value, body, v, size) for v in (value["tileAvailability"], value["contentAvailability"][0]))
        table = value["propertyTables"][value["tileMetadata"]]
        boxes, errors = (np.frombuffer(body, "<f8", table["count"] * n, value["bufferViews"][table["properties"][p]["values"]]["byteOffset"])
                         for p, n in (("boundingBox", 12), ("geometricError", 1)))  # fmt: skip
        row = 0
        for deep in range(levels):
            first = (b**deep - 1) // (b - 1)
            for code in range(b**deep):
                if tile[first + code]:
                    place = (start[0] + deep, *(s * 2**deep + sum((code >> axes * k + a & 1) << k for k in range(deep)) for a, s in enumerate(start[1:])))
                    found[place] = (boxes[12 * row : 12 * row + 12].tolist(), float(errors[row]), content[first + code])
                    row += 1
        assert row == table["count"]
        for code, there in enumerate(bits(value, body, value["childSubtreeAvailability"], b**levels)):
            if there:
                stack.append((start[0] + levels, *(s * 2**levels + sum((code >> axes * k + a & 1) << k for k in range(levels)) for a, s in enumerate(start[1:]))))
    return found


def test_the_same_features_at_the_same_places(lake: Lake, city: LayerVersion) -> None:
    plain, _ = tiled(lake, city, "explicit", budget=1500)
    out, facts = tiled(lake, city, "implicit", budget=1500, subdivision="implicit")
    result = diff_tilesets(plain, out, tolerance=1e-6)
    assert result["features"] == {"added": [], "removed": [], "changed": [], "same": 900}
    report = check_tileset(out)
    assert not report.findings, report.findings[:3]
    expected = check_tileset(plain)
    assert (report.contents, report.vertices) == (expected.contents, expected.vertices)
    assert facts["bytes"] == out.stat().st_size
    assert facts["root"] == {k: v for k, v in json.loads(zipfile.ZipFile(out).read("tileset.json"))["root"].items() if k in facts["root"]}


@pytest.mark.parametrize("deepest", [7, 3, 1])
def test_boxes_errors_and_availability_read_by_the_standards_rules(lake: Lake, city: LayerVersion, deepest: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each content's box and error are those of the explicit tree; every entry of the archive is one that the subtrees announce."""
    monkeypatch.setattr(implicit, "DEEPEST", {4: deepest, 8: deepest})
    plain, _ = tiled(lake, city, "explicit", budget=1500)
    out, _ = tiled(lake, city, "implicit", budget=1500, subdivision="implicit")
    explicit = []
    root = json.loads(zipfile.ZipFile(plain).read("tileset.json"))["root"]
    base = np.array(root["transform"]).reshape(4, 4).T
    stack = [(root, np.eye(4))]
    while stack:
        tile, above = stack.pop()
        frame = above @ np.array(tile["transform"]).reshape(4, 4).T
        local = np.linalg.inv(base) @ frame
        box = np.array(tile["boundingVolume"]["box"]).reshape(4, 3) @ local[:3, :3].T
        box[0] += local[:3, 3]
        explicit.append((tile["geometricError"], *np.round(box.ravel(), 3)))
        stack.extend((c, frame) for c in tile.get("children", ()))
    with zipfile.ZipFile(out) as archive:
        names = set(archive.namelist())
        tiles = tiles_of(archive)
    found = [(error, *np.round(box, 3)) for box, error, has in tiles.values() if has]
    assert np.allclose(sorted(found), sorted(explicit), atol=2e-3)
    assert {f"content/{'/'.join(map(str, place))}.glb" for place, (_, _, has) in tiles.items() if has} == {n for n in names if n.startswith("content/")}
    assert max(p[0] for p in tiles) + 1 == json.loads(zipfile.ZipFile(out).read("tileset.json"))["root"]["implicitTiling"]["availableLevels"]
    for place, (_, error, _) in tiles.items():
        if place[0]:
            parent = (place[0] - 1, *(n >> 1 for n in place[1:]))
            assert tiles[parent][1] >= error


def test_a_region_that_holds_everything_and_divides_like_the_grid(lake: Lake, city: LayerVersion) -> None:
    """A client that subdivides the root and reads no metadata: each tile's middle lies in its cell (to 3 % of the root)."""
    out, _ = tiled(lake, city, "implicit", budget=1500, subdivision="implicit")
    with zipfile.ZipFile(out) as archive:
        root = json.loads(archive.read("tileset.json"))["root"]
        tiles = tiles_of(archive)
    west, south, east, north, _, _ = root["boundingVolume"]["region"]
    frame = np.array(root["transform"]).reshape(4, 4).T
    from pyproj import Transformer

    to_degrees = Transformer.from_crs("EPSG:4978", "EPSG:4979", always_xy=True)
    for (level, x, y), (box, _, has) in tiles.items():
        if has and level:
            lon, lat, _ = to_degrees.transform(*(frame @ [*box[:3], 1.0])[:3])
            u, v = (np.radians(lon) - west) / (east - west) * 2**level - x, (np.radians(lat) - south) / (north - south) * 2**level - y
            assert -0.03 * 2**level < u < 1 + 0.03 * 2**level
            assert -0.03 * 2**level < v < 1 + 0.03 * 2**level


def test_two_far_clusters_have_empty_tiles_between(lake: Lake) -> None:
    """Skipped cells are filled with tiles without content, passed as soon as their parent is."""
    shapes = [shapely.box(x + 20 * i, 2_498_000, x + 20 * i + 10, 2_498_012) for x in (405_000, 465_000) for i in range(60)]
    batch = Features(Reference("EPSG:4547"), pa.array([f"b{i}" for i in range(120)]), np.array(shapes, object), pa.table({"height": [9.0] * 120}))
    version = write_version(lake, "b", "blocks", [batch], Report("g"), provenance={}, style={"height": "height"})
    out, _ = tiled(lake, version, "implicit", budget=500, subdivision="implicit")
    assert not check_tileset(out).findings
    with zipfile.ZipFile(out) as archive:
        tiles = tiles_of(archive)
    empty = [p for p, (_, _, has) in tiles.items() if not has]
    assert empty
    for place in empty:
        assert tiles[place][1] == tiles[(place[0] - 1, place[1] >> 1, place[2] >> 1)][1]


def test_one_tile_alone(lake: Lake) -> None:
    batch = Features(Reference("EPSG:4547"), pa.array(["甲"]), np.array([shapely.box(405_000, 2_498_000, 405_010, 2_498_012)], object), pa.table({"height": [9.0]}))
    version = write_version(lake, "b", "blocks", [batch], Report("g"), provenance={}, style={"height": "height"})
    out, _ = tiled(lake, version, "implicit", subdivision="implicit")
    assert not check_tileset(out).findings
    with zipfile.ZipFile(out) as archive:
        value, _ = read_subtree(archive.read("subtrees/0/0/0.subtree"))
        assert value["tileAvailability"] == {"constant": 1}
        assert value["childSubtreeAvailability"] == {"constant": 0}


def test_khronos_finds_nothing_in_the_moved_glb(lake: Lake, city: LayerVersion) -> None:
    out, _ = tiled(lake, city, "implicit", budget=1500, subdivision="implicit", compression="none")
    with zipfile.ZipFile(out) as archive:
        assert_valid(*(archive.read(n) for n in archive.namelist() if n.endswith(".glb")))


def test_same_bytes_twice(lake: Lake, city: LayerVersion) -> None:
    one, _ = tiled(lake, city, "one", subdivision="implicit")
    two, _ = tiled(lake, city, "two", subdivision="implicit")
    assert one.read_bytes() == two.read_bytes()


def test_a_tree_of_another_grid_is_refused_and_the_archive_stays(tmp_path: Path) -> None:
    box = {"box": [0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1]}
    child = {"boundingVolume": box, "geometricError": 0, "content": {"uri": "0/0/0.glb"}}
    root = {"boundingVolume": box, "geometricError": 1, "refine": "ADD", "content": {"uri": "1/0/0.glb"}, "children": [child]}
    path = tmp_path / "a.3tz"
    for broken in (root, root | {"children": [child | {"refine": "REPLACE", "content": {"uri": "2/0/0.glb"}}]}, root | {"content": {"uri": "a.glb"}},
                   root | {"children": [child | {"metadata": {}}]}):  # fmt: skip
        with ArchiveWriter(path) as archive:
            archive.add("tileset.json", json.dumps({"asset": {"version": "1.1"}, "geometricError": 1, "root": broken}).encode())
        before = path.read_bytes()
        with pytest.raises(BadTileset, match=r"implicitly|where in the grid"):
            implicit.rewrite(path, implicit.mercator())
        assert path.read_bytes() == before
        assert [p.name for p in tmp_path.iterdir()] == ["a.3tz"]


def test_a_full_disk_leaves_the_explicit_archive(lake: Lake, city: LayerVersion, monkeypatch: pytest.MonkeyPatch) -> None:
    out, _ = tiled(lake, city, "explicit")
    before = out.read_bytes()
    monkeypatch.setattr(ArchiveWriter, "_write", lambda self, data: (_ for _ in ()).throw(StorageError("the disk is full", "")))
    with pytest.raises(StorageError):
        implicit.rewrite(out, implicit.mercator())
    assert out.read_bytes() == before
    assert not list(out.parent.glob("*.implicit"))


def test_tampered_subtrees_are_findings_never_tracebacks(lake: Lake, city: LayerVersion, tmp_path: Path) -> None:
    """Subtrees cut short or with changed bytes: the check says what is wrong, or finds the same tiles (a bit of padding)."""
    import random

    out, _ = tiled(lake, city, "implicit", budget=6000, subdivision="implicit")
    folder = tmp_path / "t"
    with zipfile.ZipFile(out) as archive:
        archive.extractall(folder)
    good = check_tileset(folder, limit_contents=0)
    path = folder / "subtrees/0/0/0.subtree"
    data = path.read_bytes()
    dice, found = random.Random(4), 0
    for i in range(120):
        broken = bytearray(data)
        if i % 4:
            at = dice.choice([dice.randrange(24), dice.randrange(len(data)), dice.randrange(len(data))])
            broken[at] ^= 1 << dice.randrange(8)
        else:
            del broken[dice.randrange(len(data)) :]
        path.write_bytes(bytes(broken))
        report = check_tileset(folder, limit_contents=0)
        found += bool(report.findings) or report.tiles != good.tiles
    assert found > 60
    path.unlink()
    assert "RESOURCE_MISSING" in check_tileset(folder).codes("error")


@pytest.mark.parametrize("deepest", [7, 1])
def test_the_checker_compares_the_leaves_of_replacing_trees(lake: Lake, city: LayerVersion, deepest: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Told that contents replace their parents', it looks at the features of leaves alone, over the borders of subtrees too."""
    from tiling.check import CallableSource
    from tiling.check.walk import Walker

    monkeypatch.setattr(implicit, "DEEPEST", {4: deepest, 8: deepest})
    out, _ = tiled(lake, city, "implicit", budget=1500, subdivision="implicit")
    with zipfile.ZipFile(out) as archive:
        files = {n: archive.read(n) for n in archive.namelist()}
        tiles = tiles_of(archive)
    document = json.loads(files["tileset.json"])
    document["root"]["refine"] = "REPLACE"
    seen: list[str] = []
    walker = Walker(CheckReport(), None, observe=lambda model, frame, where, standing: standing.finest and seen.append(where.uri))
    walker.tileset(json.dumps(document).encode(), "tileset.json", CallableSource(files.get), "", None)
    parents = {(p[0] - 1, *(n >> 1 for n in p[1:])) for p in tiles}
    assert sorted(seen) == sorted(f"content/{'/'.join(map(str, p))}.glb" for p, (_, _, has) in tiles.items() if has and p not in parents)
