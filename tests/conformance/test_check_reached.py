"""What the check says of contents that are lost or shown twice: every bit of implicit tiling flipped, every reference dropped."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tiling.check import Report, check_tileset

Check = Callable[..., Report]


@pytest.fixture
def check(build: Any, tmp_path: Path) -> Check:
    """Check files as an archive."""

    def run(files: dict[str, Any], **options: Any) -> Report:
        path = tmp_path / "t.3tz"
        raw = {name: data if isinstance(data, bytes) else json.dumps(data).encode() for name, data in files.items()}
        path.write_bytes(build.archive(raw))
        return check_tileset(path, **options)

    return run


def subtree(build: Any, tiles: int, contents: int, children: int) -> bytes:
    views = [{"buffer": 0, "byteOffset": at, "byteLength": size} for at, size in ((0, 1), (8, 1), (16, 2))]
    value = {"buffers": [{"byteLength": 24}], "bufferViews": views, "tileAvailability": {"bitstream": 0}, "contentAvailability": [{"bitstream": 1}],
             "childSubtreeAvailability": {"bitstream": 2}}  # fmt: skip
    return bytes(build.subtree(value, b"".join(bits.to_bytes(8, "little") for bits in (tiles, contents, children))))


def implicit(build: Any, bits: list[tuple[int, int, int]]) -> dict[str, Any]:
    """A square in the cell 1/0/1 and a smaller one in 2/0/3, which is in a subtree of its own."""
    tileset = build.tileset()
    how = {"subdivisionScheme": "QUADTREE", "subtreeLevels": 2, "availableLevels": 3, "subtrees": {"uri": "{level}/{x}/{y}.subtree"}}
    tileset["root"] = {"boundingVolume": build.box(1, -1, 1, 1, 1, 1), "geometricError": 8, "refine": "ADD", "content": {"uri": "{level}/{x}/{y}.glb"}, "implicitTiling": how}
    small, body = build.mesh()
    small = copy.deepcopy(small)
    small["nodes"][0]["scale"] = [0.4, 0.4, 0.4]
    return {"tileset.json": tileset, "1/0/1.glb": build.content(), "2/0/3.glb": build.glb(small, body),
            "0/0/0.subtree": subtree(build, *bits[0]), "2/0/3.subtree": subtree(build, *bits[1])}  # fmt: skip


BITS = [(0b01001, 0b01000, 1 << 10), (0b00001, 0b00001, 0)]


def test_no_flipped_bit_goes_unnoticed(build: Any, check: Check) -> None:
    """Tiles, contents, child subtrees, on and off, in both subtrees; no count stands beside the bits that would tell."""
    report = check(implicit(build, BITS))
    assert (report.findings, report.contents) == ([], 2)
    codes = set()
    for which in range(2):
        for kind, size in enumerate((5, 5, 16)):
            for bit in range(size):
                flipped = [list(b) for b in BITS]
                flipped[which][kind] ^= 1 << bit
                report = check(implicit(build, [tuple(b) for b in flipped]))  # type: ignore[misc]
                assert not report.ok, (which, kind, bit)
                codes |= report.codes()
    assert {"CONTENT_UNREACHED", "RESOURCE_MISSING", "TILE_EMPTY", "SUBTREE_CONTENT_WITHOUT_TILE", "SUBTREE_PARENT_MISSING"} <= codes


def test_levels_that_are_promised_and_empty(build: Any, check: Check) -> None:
    """The standard says what availableLevels counts, not that it must: an error of our tilesets, a warning of others'."""
    for more, found in ((-1, {"SUBTREE_TOO_DEEP"}), (0, set()), (1, {"AVAILABLE_LEVELS"}), (9, {"AVAILABLE_LEVELS"})):
        files = implicit(build, BITS)
        files["tileset.json"]["root"]["implicitTiling"]["availableLevels"] += more
        assert check(files).codes() & {"SUBTREE_TOO_DEEP", "AVAILABLE_LEVELS"} == found, more
        assert check(files, laws=False).codes("warning") == found - {"SUBTREE_TOO_DEEP"}
    unread = {name: data for name, data in files.items() if name != "2/0/3.subtree"}
    assert "AVAILABLE_LEVELS" not in check(unread).codes(), "what lies in a subtree that cannot be read is not known"


def test_a_subtree_that_does_not_say_where_contents_are(build: Any, check: Check) -> None:
    files = implicit(build, BITS)
    value = {"tileAvailability": {"constant": 1}, "childSubtreeAvailability": {"constant": 0}}
    assert "SUBTREE_CONTENTS" in check({**files, "2/0/3.subtree": build.subtree(value)}, laws=False).codes()


def test_contents_drawn_twice_or_never(build: Any, check: Check) -> None:
    """Once at each place: the same file twice in a tile, in two tiles; not where a tile moves it, not by the standard alone."""
    tileset, data = build.tileset(), build.content()
    assert check({"tileset.json": tileset, "a.glb": data}).findings == []
    assert check({"tileset.json": tileset, "a.glb": data, "b/c.glb": data}).codes() == {"CONTENT_UNREACHED"}
    (child,) = tileset["root"]["children"]
    two = copy.deepcopy(tileset)
    two["root"]["children"] = [child, copy.deepcopy(child)]
    assert check({"tileset.json": two, "a.glb": data}).codes() == {"CONTENT_TWICE"}
    assert check({"tileset.json": two, "a.glb": data}, laws=False).findings == []
    listed = copy.deepcopy(tileset)
    del listed["root"]["children"][0]["content"]
    listed["root"]["children"][0]["contents"] = [{"uri": "a.glb"}, {"uri": "./a.glb"}]
    assert check({"tileset.json": listed, "a.glb": data}).codes() == {"CONTENT_TWICE"}
    moved = copy.deepcopy(two)
    moved["root"]["boundingVolume"] = build.box(1, -0.5, 0.5, 1, 0.5, 0.5)
    moved["root"]["children"][1]["transform"] = [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 1, 0, 0, 1]
    assert check({"tileset.json": moved, "a.glb": data}).findings == []
