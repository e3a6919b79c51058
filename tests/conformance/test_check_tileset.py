"""The checker on small tilesets that are built here and broken one way at a time."""

from __future__ import annotations

import copy
import gzip
import json
import random
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tiling.check import Report, Where, check_tileset
from tiling.check.source import gunzip

Break = Callable[[dict[str, Any]], Any]


def test_the_unbroken_tileset_passes(build: Any) -> None:
    report = build.check({"tileset.json": build.tileset(), "a.glb": build.content()})
    assert report.findings == []
    assert (report.tilesets, report.tiles, report.contents, report.vertices) == (1, 2, 1, 4)


def _root(change: Callable[[dict[str, Any]], Any]) -> Break:
    return lambda t: change(t["root"])


def _child(change: Callable[[dict[str, Any]], Any]) -> Break:
    return lambda t: change(t["root"]["children"][0])


SMALLER = {"box": [0.5, -0.5, 0.5, 0.4, 0, 0, 0, 0.5, 0, 0, 0, 0.5]}
LARGER = {"box": [0.5, -0.5, 0.5, 0.6, 0, 0, 0, 0.5, 0, 0, 0, 0.5]}


@pytest.mark.parametrize(
    ("breaking", "codes"),
    [
        (lambda t: t.pop("asset"), {"JSON_REQUIRED"}),
        (lambda t: t.update(geometricError=-1), {"JSON_RANGE", "GEOMETRIC_ERROR_INCREASES"}),
        (lambda t: t.update(geometricError=7), {"GEOMETRIC_ERROR_INCREASES"}),
        (lambda t: t.update(extensionsRequired=["A"]), {"EXTENSION_UNDECLARED"}),
        (_root(lambda r: r.pop("refine")), {"REFINE_MISSING"}),
        (_root(lambda r: r.update(refine="MERGE")), {"JSON_VALUE"}),
        (_root(lambda r: r.update(transform=[0] * 16)), {"TRANSFORM_INVALID"}),
        (_root(lambda r: r.update(boundingVolume={})), {"JSON_ONE_OF"}),
        (_root(lambda r: r.update(boundingVolume={"sphere": [0, 0, 0, -1]})), {"BOUNDING_VOLUME_INVALID"}),
        (_root(lambda r: r.update(boundingVolume={"region": [0, 1, 1, 0.5, 0, 1]})), {"BOUNDING_VOLUME_INVALID"}),
        (_root(lambda r: r.update(boundingVolume=SMALLER)), {"CHILD_OUTSIDE_PARENT", "CONTENT_OUTSIDE_VOLUME"}),
        (_child(lambda c: c.update(boundingVolume=LARGER)), {"CHILD_OUTSIDE_PARENT"}),
        (_child(lambda c: c.update(boundingVolume=SMALLER)), {"CONTENT_OUTSIDE_VOLUME"}),
        (_child(lambda c: c["content"].update(boundingVolume=LARGER)), {"CONTENT_VOLUME_OUTSIDE_TILE"}),
        (_child(lambda c: c["content"].update(boundingVolume=SMALLER)), {"CONTENT_OUTSIDE_VOLUME"}),
        (_child(lambda c: c.update(transform=[*np.eye(4).ravel().tolist()[:12], 2, 0, 0, 1])), {"CHILD_OUTSIDE_PARENT", "CONTENT_OUTSIDE_VOLUME"}),
        (_child(lambda c: c.update(geometricError=9)), {"GEOMETRIC_ERROR_INCREASES"}),
        (_child(lambda c: c.update(geometricError=True)), {"JSON_TYPE"}),
        (_child(lambda c: c.pop("boundingVolume")), {"JSON_REQUIRED"}),
        (_child(lambda c: c.update(content={"uri": "b.glb"})), {"RESOURCE_MISSING"}),
        (_child(lambda c: c.update(content={"uri": "../a.glb"})), {"RESOURCE_OUTSIDE"}),
        (_child(lambda c: c.update(content={"uri": "x/%2e%2e/../../a.glb"})), {"RESOURCE_OUTSIDE"}),
        (_child(lambda c: c.update(content={"uri": "/etc/hosts"})), {"RESOURCE_OUTSIDE"}),
        (_child(lambda c: c.update(content={"uri": "data:,%00"})), {"CONTENT_TYPE_UNKNOWN"}),
        (_child(lambda c: c["content"].update(group=0)), {"GROUP_UNKNOWN"}),
        (_child(lambda c: c.update(contents=[{"uri": "a.glb"}])), {"JSON_ONE_OF"}),
        (_child(lambda c: c.update(metadata={"class": "x"})), {"METADATA_SCHEMA_MISSING"}),
        (_child(lambda c: c.update(content={"uri": "tileset.json"})), {"TILESET_CYCLE"}),
    ],
)  # fmt: skip
def test_a_broken_tileset_is_caught(build: Any, breaking: Break, codes: set[str]) -> None:
    tileset = build.tileset()
    breaking(tileset)
    report = build.check({"tileset.json": tileset, "a.glb": build.content()})
    assert report.codes() == codes, report.findings


@pytest.mark.parametrize(
    ("change", "agrees"),
    [
        (lambda p: None, True),
        (lambda p: p["height"].update(componentType="FLOAT64"), False),
        (lambda p: p["height"].update(noData=-1), False),
        (lambda p: p.pop("height"), False),
        (lambda p: p.update(more={"type": "BOOLEAN"}), True),
    ],
)
def test_the_schema_of_a_content_is_that_of_the_tileset(build: Any, change: Break, agrees: bool) -> None:
    gltf, chunk = build.mesh()
    schema = copy.deepcopy(gltf["extensions"]["EXT_structural_metadata"]["schema"])
    change(schema["classes"]["building"]["properties"])
    tileset = build.tileset()
    tileset["schema"] = schema
    assert build.check({"tileset.json": tileset, "a.glb": build.glb(gltf, chunk)}).codes() == (set() if agrees else {"SCHEMA_DISAGREES"})


def test_laws_are_warnings_for_others_tilesets(build: Any) -> None:
    tileset = build.tileset()
    tileset["root"]["children"][0]["boundingVolume"] = LARGER
    report = build.check({"tileset.json": tileset, "a.glb": build.content()}, laws=False)
    assert (report.codes(), report.codes("warning")) == (set(), {"CHILD_OUTSIDE_PARENT"})


def test_external_tilesets_are_followed_under_their_tile(build: Any) -> None:
    outer, inner = build.tileset(), build.tileset()
    shift = [*np.eye(4).ravel().tolist()[:12], 100, 0, 0, 1]
    outer["root"]["transform"] = shift
    outer["root"]["children"][0].update(content={"uri": "sub/inner.json"}, geometricError=8)
    files = {"tileset.json": outer, "sub/inner.json": inner, "sub/a.glb": build.content()}
    assert build.check(files).findings == []
    inner["root"]["geometricError"] = 9
    assert build.check(files).codes() == {"GEOMETRIC_ERROR_INCREASES"}
    assert build.check(files, laws=False).codes("warning") == {"GEOMETRIC_ERROR_INCREASES"}
    inner["root"]["geometricError"] = 8
    inner["root"]["transform"] = shift  # moved twice: now it leaves the outer tile
    assert build.check(files).codes() == {"CHILD_OUTSIDE_PARENT", "CONTENT_OUTSIDE_VOLUME"}


def test_the_up_axis_is_that_of_the_outermost_tileset(build: Any) -> None:
    """Clients ask it alone for the old `gltfUpAxis`: contents of external tilesets were taken to stand otherwise."""
    outer, inner = build.tileset(), build.tileset()
    outer["root"]["children"][0].update(content={"uri": "inner.json"}, geometricError=8)
    outer["asset"]["gltfUpAxis"] = "Z"
    for tile in (outer["root"], inner["root"]):
        for one in (tile, tile["children"][0]):
            one["boundingVolume"] = build.box(0.5, 0.5, 0.5, 0.5, 0.5, 0.5)
    files = {"tileset.json": outer, "inner.json": inner, "a.glb": build.content()}
    assert build.check(files).codes() == set()
    inner["asset"]["gltfUpAxis"] = "Y"
    assert build.check(files).codes() == set()
    assert build.check({"tileset.json": inner, "a.glb": build.content()}).codes() == {"CONTENT_OUTSIDE_VOLUME"}


def test_cycles_over_two_files_end(build: Any) -> None:
    one, two = build.tileset(), build.tileset()
    one["root"]["children"][0].update(content={"uri": "two.json"}, geometricError=8)
    two["root"]["children"][0].update(content={"uri": "tileset.json"}, geometricError=8)
    report = build.check({"tileset.json": one, "two.json": two})
    assert report.codes() == {"TILESET_CYCLE"}
    assert (report.tilesets, report.tiles) == (2, 4)


def test_gzip_is_unpacked(build: Any) -> None:
    packed = gzip.compress(json.dumps(build.tileset()).encode())
    assert build.check({"tileset.json": packed, "a.glb": gzip.compress(build.content())}).findings == []
    assert build.check({"tileset.json": packed[:-9], "a.glb": build.content()}).codes() == {"GZIP_INVALID"}


def test_what_begins_like_gzip_by_chance_is_not_unpacked() -> None:
    """A quantized mesh begins with the float64 of its middle, whose low bytes are anything."""
    report = Report()
    mesh = struct.pack("<d", struct.unpack("<d", b"\x1f\x8b\x47\x03\x12\x20\x50\xc1")[0]) + bytes(84)
    assert gunzip(mesh, Where(report, "0/0/0.terrain")) == mesh and not report.findings
    packed = gzip.compress(mesh)
    assert gunzip(packed, Where(report, "0/0/0.terrain")) == mesh
    assert gunzip(packed[:3] + b"\0" + packed[4:-12], Where(report, "0/0/0.terrain")) is None and report.codes() == {"GZIP_INVALID"}


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (b"", "JSON_INVALID"),
        (b"\xff\xfe{", "JSON_INVALID"),
        (b"\xef\xbb\xbf{}", "JSON_BOM"),
        (b'{"geometricError": NaN}', "JSON_INVALID"),
        (b'{"asset": {}, "asset": {}}', "JSON_INVALID"),
        (b"[" * 100_000, "JSON_INVALID"),
        (b"[]", "JSON_TYPE"),
        (b"null", "JSON_TYPE"),
    ],
)
def test_text_that_is_no_tileset(build: Any, text: bytes, code: str) -> None:
    assert build.check({"tileset.json": text}).codes() == {code}


def test_limit_counts_what_it_leaves_out(build: Any) -> None:
    tileset = build.tileset()
    tileset["root"]["children"] *= 5
    report = build.check({"tileset.json": tileset, "a.glb": build.content()}, limit_contents=2)
    assert (report.contents, report.contents_not_decoded) == (2, 3)


def test_a_deep_and_a_wide_tree(build: Any) -> None:
    """The walk does not recurse, and the same finding a thousand times stays readable and counted."""
    tileset = build.tileset()
    leaf = tileset["root"]["children"][0]
    leaf.pop("content")
    top = leaf
    for _ in range(300):  # JSON itself limits the depth that a parser takes
        top = {**leaf, "children": [top]}
    tileset["root"]["children"] = [top, *[{**leaf, "geometricError": 9}] * 1000]
    report = build.check({"tileset.json": tileset})
    assert report.tiles == 1 + 301 + 1000
    assert report.counts["error", "GEOMETRIC_ERROR_INCREASES"] == 1000
    assert len(report.errors) < 300


def test_archives(build: Any, tmp_path: Path) -> None:
    files = {"tileset.json": json.dumps(build.tileset()).encode(), "a.glb": build.content()}
    path = tmp_path / "city.3tz"
    for zip64 in (False, True):
        path.write_bytes(build.archive(files, zip64=zip64))
        report = check_tileset(path)
        assert (report.findings, report.vertices) == ([], 4)
    for options, content in (({"index": False}, files), ({"shift": 1}, files)):
        path.write_bytes(build.archive(content, **options))
        assert check_tileset(path).codes() == {"ARCHIVE_INDEX_INVALID"}
    path.write_bytes(build.archive({"a.glb": files["a.glb"]}))
    assert check_tileset(path).codes() == {"ARCHIVE_NO_TILESET", "RESOURCE_MISSING"}
    for damaged in (build.archive(files)[:-30], build.archive(files) + b"what another file left here"):
        path.write_bytes(damaged)
        assert check_tileset(path).codes() == {"ARCHIVE_INVALID"}


def test_an_archive_as_content(build: Any) -> None:
    outer = build.tileset()
    outer["root"]["children"][0].update(content={"uri": "sub.3tz"}, geometricError=8)
    inside = {"tileset.json": json.dumps(build.tileset()).encode(), "a.glb": build.content()}
    files = {"tileset.json": outer, "sub.3tz": build.archive(inside)}
    assert build.check(files).codes() == {"EXTENSION_UNDECLARED", "EXTENSION_NOT_REQUIRED"}
    outer.update(extensionsUsed=["MAXAR_content_3tz"], extensionsRequired=["MAXAR_content_3tz"])
    report = build.check(files)
    assert (report.findings, report.vertices) == ([], 4)


def test_folders_and_links(build: Any, tmp_path: Path) -> None:
    inside, outside = tmp_path / "tiles", tmp_path / "secret"
    inside.mkdir()
    outside.mkdir()
    (inside / "tileset.json").write_text(json.dumps(build.tileset()))
    assert check_tileset(inside).codes() == {"RESOURCE_MISSING"}
    (outside / "a.glb").write_bytes(build.content())
    (inside / "a.glb").symlink_to(outside / "a.glb")
    assert check_tileset(inside).codes() == {"RESOURCE_MISSING"}
    (inside / "a.glb").unlink()
    (inside / "a.glb").write_bytes(build.content())
    assert check_tileset(inside / "tileset.json").ok
    assert check_tileset(tmp_path / "absent").codes() == {"RESOURCE_MISSING"}


IMPLICIT = {"subdivisionScheme": "QUADTREE", "subtreeLevels": 2, "availableLevels": 2, "subtrees": {"uri": "{level}.{x}.{y}.subtree"}}


def _implicit(build: Any, bits: int, *, content: int = 1) -> dict[str, Any]:
    tileset = build.tileset()
    tileset["root"] = {
        "boundingVolume": build.box(1, -1, 1, 1, 1, 1),
        "geometricError": 8,
        "refine": "ADD",
        "content": {"uri": "{level}/{x}/{y}.glb"},
        "implicitTiling": IMPLICIT,
    }
    subtree = {
        "buffers": [{"byteLength": 16}],
        "bufferViews": [{"buffer": 0, "byteOffset": 0, "byteLength": 1}, {"buffer": 0, "byteOffset": 8, "byteLength": 1}],
        "tileAvailability": {"bitstream": 0, "availableCount": bits.bit_count()},
        "contentAvailability": [{"bitstream": 1}],
        "childSubtreeAvailability": {"constant": 0},
    }
    chunk = bytes([bits, *[0] * 7, content, *[0] * 7])
    return {"tileset.json": tileset, "0.0.0.subtree": build.subtree(subtree, chunk)}


def test_implicit_tiling_divides_the_box(build: Any) -> None:
    """The square stands in the cell x = 0, y = 1 (Morton index 2 of level 1) and in no other."""
    files = _implicit(build, 0b01001, content=0b01000)
    report = build.check({**files, "1/0/1.glb": build.content()})
    assert (report.findings, report.tiles, report.vertices) == ([], 2, 4)
    wrong = _implicit(build, 0b00101, content=0b00100)
    assert build.check({**wrong, "1/1/0.glb": build.content()}).codes() == {"CONTENT_OUTSIDE_VOLUME"}
    assert build.check(_implicit(build, 0b01001, content=0b01000)).codes() == {"RESOURCE_MISSING"}
    assert build.check(_implicit(build, 0b01000, content=0)).codes() == {"SUBTREE_PARENT_MISSING", "SUBTREE_EMPTY", "TILE_EMPTY"}
    assert build.check(_implicit(build, 0b00001, content=0b10)).codes() == {"SUBTREE_CONTENT_WITHOUT_TILE", "TILE_EMPTY", "AVAILABLE_LEVELS"}


def test_no_bytes_make_it_fall_over(build: Any) -> None:
    """Any damage is a finding or goes unnoticed; it is never an exception."""
    rng = random.Random(1)
    files = {**_implicit(build, 0b01001, content=0b01000), "1/0/1.glb": build.content()}
    raw = {n: v if isinstance(v, bytes) else json.dumps(v).encode() for n, v in files.items()}
    caught = 0
    for _ in range(600):
        name = rng.choice(list(raw))
        data = bytearray(raw[name])
        for _ in range(rng.choice([1, 3, 10])):
            data[rng.randrange(len(data))] = rng.randrange(256)
        caught += not build.check({**raw, name: bytes(data[: rng.choice([len(data), rng.randrange(len(data))])])}).ok
    assert caught > 300


def test_a_transform_that_flattens_is_affine(tmp_path: Path) -> None:
    """3D Tiles asks for an affine matrix, not for one that can be inverted."""
    path = tmp_path / "tileset.json"
    root = {"refine": "ADD", "geometricError": 0, "boundingVolume": {"sphere": [0, 0, 0, 1]}, "transform": [0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1]}
    path.write_text(json.dumps({"asset": {"version": "1.1"}, "geometricError": 1, "root": root}))
    report = check_tileset(path, laws=False)
    assert not report.errors
    assert [finding.code for finding in report.warnings] == ["TRANSFORM_FLAT"]


@pytest.mark.parametrize(("place", "told"), [
    ((-2340000.0, 5387000.0, 2480000.0), False), ((0.0, 0.0, 0.0), False), ((50_000.0, -20_000.0, 0.0), False),
    ((-2340000.0, 0.0, 2480000.0), True), ((-23400000.0, 5387000.0, 2480000.0), True),
])  # fmt: skip
def test_a_tileset_far_from_the_ground_is_remarked_upon(tmp_path: Path, place: tuple[float, ...], told: bool) -> None:
    """A digit lost from a root's transform leaves all volumes nested and all tiles inside: nothing else would notice."""
    root = {"boundingVolume": {"box": [0, 0, 0, 50, 0, 0, 0, 50, 0, 0, 0, 50]}, "geometricError": 0, "refine": "ADD", "transform": [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, *place, 1]}
    (tmp_path / "tileset.json").write_text(json.dumps({"asset": {"version": "1.1"}, "geometricError": 10, "root": root}))
    counts = check_tileset(tmp_path / "tileset.json").counts
    assert (("warning", "TILESET_OFF_EARTH") in counts) == told
    assert not [code for severity, code in counts if severity == "error"]
