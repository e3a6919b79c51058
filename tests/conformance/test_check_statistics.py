"""Statistics of which a part is left out: `twin check` names what is missing, against the source and, of our own tilesets, without it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import shapely

from tests.conformance.test_check_mutants import Built, Files
from tests.conformance.test_positions_layers import rewritten
from tiling.blocks import tiler
from tiling.check import check_layer, check_tileset
from twin.bench.cities import CENTRE, REFERENCE
from twin.lake import Lake
from twin.model import Features
from twin.model import Report as ReadReport
from twin.parts import write_version
from twin.registry import TileJob

COUNT = 300
OPTIONS = tiler.Options(ground=10.0, budget=500, compression="none")


@pytest.fixture(scope="module")
def city(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """Houses in several tiles: numbers with and without nulls, few texts, booleans, and columns of which nothing is to be said."""
    lake, rng = Lake(tmp_path_factory.mktemp("stated")), np.random.default_rng(7)
    at = rng.uniform(0, 2000, (COUNT, 2)) + CENTRE
    some = [None if k % 3 else k for k in range(COUNT)]
    columns = pa.table({
        "height": rng.uniform(5, 90, COUNT), "floors": rng.integers(1, 30, COUNT), "rare": some, "ratio": pa.array([np.nan if v is None else v / 7 for v in some]),
        "use": ["住宅", "商业", "商业"] * (COUNT // 3), "listed": [None if v is None else v % 2 == 0 for v in some], "old": rng.random(COUNT) > 0.5,
        "name": [f"楼{k}" for k in range(COUNT)], "none": pa.nulls(COUNT, pa.float64()), "endless": np.full(COUNT, np.inf), "marks": pa.array([[k, 1] for k in range(COUNT)]),
        "worth": pa.array(range(COUNT), pa.decimal128(10, 2)),
    })  # fmt: skip
    houses = Features(REFERENCE, pa.array([f"h{k}" for k in range(COUNT)]), shapely.box(*(at - 5).T, *(at + 5).T), columns)
    version = write_version(lake, "city", "blocks", [houses], ReadReport("city"), provenance={})
    return lake, version, tiler.tile(version, TileJob(lake, lake.root / "c.3tz", OPTIONS, None, 1))


def figures(change: Callable[[dict[str, Any]], Any]) -> Callable[[Files], None]:
    """Change what tileset.json says of the class."""

    def edit(files: Files) -> None:
        document = json.loads(files["tileset.json"])
        change(document["statistics"]["classes"]["city"])
        files["tileset.json"] = json.dumps(document).encode()

    return edit


def head(change: Callable[[dict[str, Any]], Any]) -> Callable[[Files], None]:
    """Change tileset.json."""

    def edit(files: Files) -> None:
        document = json.loads(files["tileset.json"])
        change(document)
        files["tileset.json"] = json.dumps(document).encode()

    return edit


def without(name: str) -> Callable[[Files], None]:
    return figures(lambda told: told["properties"].pop(name))


MISSING = [
    ("height", without("height")), ("floors", without("floors")), ("rare", without("rare")), ("ratio", without("ratio")), ("use", without("use")), ("listed", without("listed")),
    ("worth", without("worth")), ("count", figures(lambda told: told.pop("count"))), ("sum", figures(lambda told: told["properties"]["rare"].pop("sum"))),
    ("min", figures(lambda told: told["properties"]["floors"].pop("min"))), ("height", figures(lambda told: told.pop("properties"))),
    ("occurrences", figures(lambda told: told["properties"].update(use={}))), ("no statistics", head(lambda value: value.pop("statistics"))),
    ("no statistics", head(lambda value: [value.pop("statistics"), value.pop("schema")])),
    ("'city'", head(lambda value: value.update(statistics={"classes": {"other": {"count": 3}}}))),
]  # fmt: skip


def _missing(report: Any) -> str:
    return " ".join(f"{finding.path} {finding.message}" for finding in report.errors if finding.code == "STATISTICS_MISSING")


def test_nothing_is_missing_as_it_is(city: Built) -> None:
    lake, version, facts = city
    for report in (check_layer(version, lake, lake.root / "c.3tz", info=facts, options=OPTIONS.model_dump()), check_tileset(lake.root / "c.3tz")):
        assert report.ok and report.contents > 5, report.errors


@pytest.mark.parametrize(("named", "edit"), MISSING)
def test_what_is_left_out_is_named(city: Built, named: str, edit: Callable[[Files], None]) -> None:
    lake, version, facts = city
    path = rewritten(lake.root / "c.3tz", edit)
    assert named in _missing(check_layer(version, lake, path, info=facts, options=OPTIONS.model_dump()))
    assert named in _missing(check_tileset(path))


def test_of_the_tilesets_of_others_no_statistics_are_asked(city: Built) -> None:
    lake, _, _ = city
    path = rewritten(lake.root / "c.3tz", head(lambda value: [value.pop("statistics"), value["asset"].pop("extras")]))
    assert check_tileset(path).ok


def test_figures_of_a_class_that_is_not_drawn_hide_nothing(city: Built) -> None:
    """A second class in the statistics kept the figures of the first from being compared."""
    lake, version, facts = city

    def edit(value: dict[str, Any]) -> None:
        value["schema"]["classes"]["more"] = {"properties": {"a": {"type": "STRING"}}}
        value["statistics"]["classes"]["more"] = {"count": 1}
        value["statistics"]["classes"]["city"]["count"] += 1

    report = check_layer(version, lake, rewritten(lake.root / "c.3tz", head(edit)), info=facts, options=OPTIONS.model_dump())
    told = [finding for finding in report.errors if finding.code == "STATISTICS_WRONG"]
    assert len(told) == 2, report.errors


def test_a_column_with_nans_is_compared(city: Built) -> None:
    lake, version, facts = city
    report = check_layer(version, lake, rewritten(lake.root / "c.3tz", figures(lambda told: told["properties"]["ratio"].update(sum=1.0))), info=facts, options=OPTIONS.model_dump())
    assert "STATISTICS_WRONG" in report.codes()


@pytest.mark.parametrize("edit", [
    figures(lambda told: told["properties"].update(rare=5)), figures(lambda told: told["properties"]["floors"].update(mean="x")), figures(lambda told: told.update(properties=[])),
    figures(lambda told: told["properties"]["use"].update(occurrences=[1])), head(lambda value: value["statistics"].update(classes=[])), head(lambda value: value.update(statistics=7)),
    figures(lambda told: told.update(count=[])), head(lambda value: value["schema"]["classes"]["city"]["properties"]["ratio"].update(name=[1])),
])  # fmt: skip
def test_what_is_no_statistics_at_all_is_a_finding(city: Built, edit: Callable[[Files], None]) -> None:
    lake, version, facts = city
    path = rewritten(lake.root / "c.3tz", edit)
    assert not check_layer(version, lake, path, info=facts, options=OPTIONS.model_dump()).ok
    assert not check_tileset(path).ok
