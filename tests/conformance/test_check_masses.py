"""Mass tiles that show something else than the buildings below them are named by `twin check`; those that were built are right."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import shapely

from tests.conformance.test_check_mutants import Files, Glb
from tests.conformance.test_check_points import errors, implicitly
from tests.conformance.test_positions_layers import rewritten
from tiling.blocks import tiler
from tiling.check import check_layer
from tiling.encoding.gltf import container
from twin.bench.cities import CENTRE, REFERENCE, generate_buildings
from twin.lake import Lake
from twin.model import Features, LayerVersion
from twin.model import Report as ReadReport
from twin.parts import write_version
from twin.registry import TileJob

Built = tuple[Lake, LayerVersion, dict[str, Any]]
OPTIONS = tiler.Options(ground=10.0, budget=2000, compression="none")


@pytest.fixture(scope="module")
def city(tmp_path_factory: pytest.TempPathFactory) -> Built:
    lake = Lake(tmp_path_factory.mktemp("masses"))
    version = write_version(lake, "city", "blocks", generate_buildings(6000), ReadReport("city"), provenance={})
    return lake, version, tiler.tile(version, TileJob(lake, lake.root / "c.3tz", OPTIONS, None, 1))


def mass(change: Callable[[Glb], Any], which: int = 0) -> Callable[[Files], None]:
    """Change a mass tile that has several blocks."""

    def edit(files: Files) -> None:
        name = sorted(name for name in files if "mass/" in name and len(Glb(files[name]).values("area", "<f4")) > 2)[which]
        glb = Glb(files[name])
        change(glb)
        files[name] = container(glb.json, bytes(glb.body))

    return edit


def _exchanged(files: Files) -> None:
    a, b = sorted(name for name in files if "mass/" in name)[-2:]
    files[a], files[b] = files[b], files[a]


def _last_first(values: np.ndarray) -> None:
    values[[0, -1]] = values[[-1, 0]]


def _shifted(by: float) -> Callable[[Glb], None]:
    def change(glb: Glb) -> None:
        node = glb.json["nodes"][0]
        if "matrix" in node:
            node["matrix"][12] += by
        else:
            node["translation"] = [by + node.get("translation", [0, 0, 0])[0], *node.get("translation", [0, 0, 0])[1:]]

    return change


def _better(files: Files) -> None:
    """All errors of mass tiles told as a tenth of what they are."""

    def less(tile: dict[str, Any]) -> None:
        if "mass/" in tile.get("content", {}).get("uri", ""):
            tile["geometricError"] /= 10
        for child in tile.get("children", []):
            less(child)

    document = json.loads(files["tileset.json"])
    less(document["root"])
    files["tileset.json"] = json.dumps(document).encode()


def test_the_masses_are_right_as_they_are(city: Built) -> None:
    lake, version, facts = city
    report = check_layer(version, lake, lake.root / "c.3tz", info=facts, options=OPTIONS.model_dump())
    assert report.ok and facts["tiles"] > 80, report.errors


def test_masts_far_apart_are_right(tmp_path: Path) -> None:
    """Areas are whole m², one at least: thin ones weigh ten times what they should. Their walls, which are large, are not seen from above."""
    rng = np.random.default_rng(5)
    at, half = rng.uniform(0, 3000, (600, 2)) + CENTRE, 10 ** rng.uniform(-1.0, 0.4, (600, 1))
    outlines = shapely.box(*(at - half).T, *(at + half).T)
    masts = Features(REFERENCE, pa.array([f"m{i}" for i in range(600)]), outlines, pa.table({"height": rng.uniform(5, 90, 600)}))
    lake, options = Lake(tmp_path), OPTIONS.model_copy(update={"budget": 100})
    version = write_version(lake, "masts", "blocks", [masts], ReadReport("masts"), provenance={})
    facts = tiler.tile(version, TileJob(lake, lake.root / "m.3tz", options, None, 1))
    report = check_layer(version, lake, lake.root / "m.3tz", info=facts, options=options.model_dump())
    assert report.ok and facts["tiles"] > 80, report.errors


@pytest.mark.parametrize(("code", "edit"), [
    ("MASS_WRONG", mass(lambda glb: glb.values("buildings", "<i4").__iadd__(1))), ("MASS_WRONG", mass(lambda glb: glb.values("area", "<f4").__imul__(2))),
    ("MASS_WRONG", mass(lambda glb: glb.values("height", "<f4").__iadd__(3))), ("MASS_WRONG", mass(lambda glb: _last_first(glb.values("area", "<f4")))),
    ("GEOMETRIC_ERROR_SMALL", errors(0.8)), ("MASS_WRONG", _exchanged), ("MASS_WRONG", mass(_shifted(40.0))), ("MASS_WRONG", _better), ("MASS_INVALID", mass(lambda glb: glb.table.pop("area"))),
])  # fmt: skip
def test_a_mutant_is_named(city: Built, code: str, edit: Callable[[Files], None]) -> None:
    lake, version, facts = city
    report = check_layer(version, lake, rewritten(lake.root / "c.3tz", edit), info=facts, options=OPTIONS.model_dump())
    assert code in report.codes(), report.findings[:3]


@pytest.mark.parametrize(("by", "code"), [(1, ""), (0.8, "GEOMETRIC_ERROR_SMALL"), (2, "GEOMETRIC_ERROR_LARGE")])
def test_errors_of_an_implicit_tree(city: Built, by: float, code: str) -> None:
    """Without masses what is below a tile is missing: four times the size of the largest building (ADR 0003)."""
    lake, version, _ = city
    options = OPTIONS.model_copy(update={"subdivision": "implicit", "masses": False})
    facts = tiler.tile(version, TileJob(lake, lake.root / "i.3tz", options, None, 1))
    report = check_layer(version, lake, rewritten(lake.root / "i.3tz", implicitly(by)), info=facts, options=options.model_dump())
    assert {finding.code for finding in report.findings} == ({code} if code else set()), report.findings[:3]
