"""Clouds whose points stand where they should and say something else than the source: `twin check` names each."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from typing import Any

import laspy
import numpy as np
import pytest
from pyproj import CRS

from ingest_gis import points as reader
from tests.conformance.test_check_mutants import Built, Files, Glb
from tests.conformance.test_positions_layers import rewritten
from tiling.check import check_layer
from tiling.encoding.gltf import container
from tiling.points import tiler
from twin.lake import Lake
from twin.model import Report as ReadReport
from twin.parts import write_version
from twin.registry import TileJob


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """20,000 points of three classes; every tenth lies in the very place of another of other values."""
    lake, rng, count = Lake(tmp_path_factory.mktemp("cloud")), np.random.default_rng(1), 20_000
    header = laspy.LasHeader(point_format=6, version="1.4")
    header.scales, header.offsets = [0.001] * 3, [405_000, 2_498_000, 0]
    header.add_crs(CRS("EPSG:4547"))
    xyz = rng.uniform([405_000, 2_498_000, 0], [405_300, 2_498_300, 10], (count, 3))
    xyz[9::10] = xyz[8::10]
    las = laspy.LasData(header)
    las.x, las.y, las.z = xyz.T
    las.classification, las.intensity = rng.choice([2, 5, 6], count).astype(np.uint8), rng.integers(1, 4000, count).astype(np.uint16)
    las.write(lake.root / "cloud.las")
    report = ReadReport("cloud")
    version = write_version(lake, "cloud", "points", reader.read(lake.root / "cloud.las", reader.Options(vertical="EPSG:5737"), report), report, provenance={})
    return lake, version, tiler.tile(version, TileJob(lake, lake.root / "p.3tz", tiler.Options(compression="none", points_per_tile=3000), None, 1))


def content(attribute: str, change: Callable[[np.ndarray], Any]) -> Callable[[Files], None]:
    """Change a column of one content."""

    def edit(files: Files) -> None:
        name = min(name for name in files if name.endswith(".glb"))
        glb = Glb(files[name])
        change(glb.column(glb.primitives[0]["attributes"][attribute]))
        files[name] = container(glb.json, bytes(glb.body))

    return edit


def document(change: Callable[[dict[str, Any]], Any]) -> Callable[[Files], None]:
    """Change tileset.json."""

    def edit(files: Files) -> None:
        value = json.loads(files["tileset.json"])
        change(value)
        files["tileset.json"] = json.dumps(value).encode()

    return edit


def stated(change: Callable[[dict[str, Any]], Any]) -> Callable[[Files], None]:
    return document(lambda value: change(next(iter(value["statistics"]["classes"].values()))))


def _reversed(column: np.ndarray) -> None:
    column[:] = column[::-1].copy()


def errors(by: float, which: Callable[[dict[str, Any]], bool] = lambda tile: True) -> Callable[[Files], None]:
    """Multiply the errors of tiles that have children."""

    def change(value: dict[str, Any]) -> None:
        value["geometricError"] *= max(by, 1)
        stack = [value["root"]]
        while stack:
            tile = stack.pop()
            tile["geometricError"] *= by if which(tile) else 1
            stack += tile.get("children", [])

    return document(change)


def column(files: Files, name: str, of: str) -> np.ndarray:
    """The numbers of a property in a subtree, in place."""
    body = files[name] = bytearray(files[name])  # type: ignore[assignment]
    length = struct.unpack_from("<Q", body, 8)[0]
    value = json.loads(body[24 : 24 + length])
    view = value["bufferViews"][value["propertyTables"][0]["properties"][of]["values"]]
    return np.frombuffer(body, "<f8", view["byteLength"] // 8, 24 + length + view.get("byteOffset", 0))


def implicitly(by: float) -> Callable[[Files], None]:
    """Multiply the errors of an implicit tree."""

    def edit(files: Files) -> None:
        value = json.loads(files["tileset.json"])
        value["root"]["geometricError"] *= by
        value["geometricError"] *= max(by, 1)
        files["tileset.json"] = json.dumps(value).encode()
        for name in [name for name in files if name.endswith(".subtree")]:
            column(files, name, "geometricError")[:] *= by

    return edit


def _deepest(tile: dict[str, Any]) -> bool:
    return bool(tile.get("children")) and not any("children" in child for child in tile["children"])


def test_the_cloud_is_right_as_it_is(cloud: Built) -> None:
    lake, version, facts = cloud
    report = check_layer(version, lake, lake.root / "p.3tz", info=facts)
    assert report.ok and facts["tiles"] > 5, report.errors


@pytest.mark.parametrize(("code", "edit"), [
    ("VALUE_WRONG", content("_FEATURE_ID_0", _reversed)), ("VALUE_WRONG", content("_INTENSITY", _reversed)),
    ("STATISTICS_MISSING", document(lambda value: value.pop("statistics"))), ("STATISTICS_WRONG", stated(lambda told: told.update(count=19_999))),
    ("STATISTICS_MISSING", stated(lambda told: told.pop("properties"))), ("STATISTICS_MISSING", stated(lambda told: told.pop("count"))),
    ("STATISTICS_MISSING", stated(lambda told: told["properties"].pop("class"))), ("STATISTICS_MISSING", stated(lambda told: told["properties"]["intensity"].pop("max"))),
    ("STATISTICS_WRONG", stated(lambda told: told["properties"]["intensity"].update(max=9999))),
    ("STATISTICS_WRONG", stated(lambda told: told["properties"]["class"]["occurrences"].popitem())),
    ("STATISTICS_WRONG", document(lambda value: value["schema"]["enums"]["point_classes"]["values"][0].update(name=[]))),
    ("STATISTICS_WRONG", document(lambda value: value["schema"]["enums"]["point_classes"]["values"][0].update(value={}))),
    ("GEOMETRIC_ERROR_SMALL", errors(0.5)), ("GEOMETRIC_ERROR_SMALL", errors(0.9)), ("GEOMETRIC_ERROR_SMALL", errors(0.5, _deepest)), ("GEOMETRIC_ERROR_SMALL", errors(0)),
])  # fmt: skip
def test_a_mutant_is_named(cloud: Built, code: str, edit: Callable[[Files], None]) -> None:
    lake, version, facts = cloud
    report = check_layer(version, lake, rewritten(lake.root / "p.3tz", edit), info=facts)
    assert code in report.codes(), report.findings[:3]


@pytest.mark.parametrize("by", [2, 10])
def test_errors_that_are_too_large_are_said(cloud: Built, by: float) -> None:
    lake, version, facts = cloud
    report = check_layer(version, lake, rewritten(lake.root / "p.3tz", errors(by)), info=facts)
    assert report.ok
    assert "GEOMETRIC_ERROR_LARGE" in report.codes("warning")


@pytest.mark.parametrize(("by", "code"), [(1, ""), (0.5, "GEOMETRIC_ERROR_SMALL"), (2, "GEOMETRIC_ERROR_LARGE")])
def test_errors_of_an_implicit_tree(cloud: Built, by: float, code: str) -> None:
    lake, version, _ = cloud
    path = lake.root / "i.3tz"
    facts = tiler.tile(version, TileJob(lake, path, tiler.Options(compression="none", points_per_tile=3000, subdivision="implicit"), None, 1))
    report = check_layer(version, lake, rewritten(path, implicitly(by)), info=facts)
    assert {finding.code for finding in report.findings} == ({code} if code else set())


def test_implicit_tiles_are_held_against_the_tile_above_them(cloud: Built) -> None:
    """Not against the root alone: an error that grows, a box that reaches beyond its parent's."""
    lake, version, _ = cloud
    path = lake.root / "i.3tz"
    facts = tiler.tile(version, TileJob(lake, path, tiler.Options(compression="none", points_per_tile=1000, subdivision="implicit"), None, 1))

    def grow(files: Files) -> None:
        told = column(files, "subtrees/0/0/0/0.subtree", "geometricError")
        told[-1] = told[0]

    def reach(files: Files) -> None:
        told = column(files, "subtrees/0/0/0/0.subtree", "boundingBox").reshape(-1, 12)
        told[-1] = told[0]

    for edit, code in ((grow, "GEOMETRIC_ERROR_INCREASES"), (reach, "CHILD_OUTSIDE_PARENT")):
        assert code in check_layer(version, lake, rewritten(path, edit), info=facts).codes()
