"""The rows of a layer by id, of which the checker keeps hashes: those that a table of all ids finds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import shapely

from tiling.check import positions, positions_rows
from tiling.check.positions import _different, nearest
from tiling.check.positions_rows import SourceRows
from tiling.check.scene import Primitive
from twin import parts
from twin.lake import Lake
from twin.model import Features, LayerVersion, Reference, Report


def stored(lake: Lake, names: list[str], height: float) -> LayerVersion:
    place = np.random.default_rng(len(names)).uniform(0, 900, (len(names), 2))
    geometry = shapely.box(404_000 + place[:, 0], 2_497_000 + place[:, 1], 404_005 + place[:, 0], 2_497_005 + place[:, 1])
    batch = Features(Reference("EPSG:4547", "above ground"), pa.array(names), geometry, pa.table({"height": np.full(len(names), height)}))
    return parts.write_version(lake, "b", "blocks", [batch], Report("t"), provenance={}, style={"height": "height"})


@pytest.mark.parametrize("kinds", [None, 7, 1])
def test_rows_are_found_by_their_ids(lake: Lake, monkeypatch: pytest.MonkeyPatch, kinds: int | None) -> None:
    """Also where ids share their hashes, of which there are only so many `kinds`."""
    if kinds is not None:
        monkeypatch.setattr(positions_rows, "hash", lambda text: hash(text) % kinds, raising=False)
    names = [f"楼{i}" for i in range(2500)]
    version = stored(lake, names, 3.0)
    version = parts.without(lake, parts.merge(lake, version, stored(lake, [*names[100:200], "new"], 4.0)), names[50:60])
    rows = SourceRows(lake, version, ["height"])
    assert rows.total == 2601
    shown = [name for name in (*names, "new") if name not in names[50:60]]
    asked = ["?", *np.random.default_rng(1).permutation([*shown, *names[50:60], "楼", "楼2500"]).tolist()]
    found = rows.rows(asked)
    assert [name for name, row in zip(asked, found.tolist(), strict=True) if row >= 0] == [name for name in asked if name in shown]
    there = found[found >= 0]
    assert sorted(there.tolist()) == np.flatnonzero(rows.shown).tolist()
    table = rows.take(there)
    assert table.column("id").to_pylist() == rows.names(there) == [name for name in asked if name in shown]
    changed = {*names[100:200], "new"}
    assert table.column("height").to_pylist() == [4.0 if name in changed else 3.0 for name in table.column("id").to_pylist()]


def test_a_layer_that_shows_nothing(lake: Lake) -> None:
    version = stored(lake, ["a", "b"], 3.0)
    rows = SourceRows(lake, replace(version, tombstones=("a", "b")), ["height"])
    assert rows.rows(["a", "c"]).tolist() == [-1, -1]


def test_distances_by_pairs_are_those_of_the_tree(monkeypatch: pytest.MonkeyPatch) -> None:
    """To candidates of the same owner only, in any order; infinite where an owner has none."""
    rng = np.random.default_rng(8)
    points, owner = rng.uniform(0, 50, (400, 2)), rng.integers(0, 40, 400)
    candidates, whose = rng.uniform(0, 50, (150, 2)), rng.integers(0, 30, 150)
    pairs = nearest(points, owner, candidates, whose)
    monkeypatch.setattr(positions, "PAIRS", 0)
    tree = nearest(points, owner, candidates, whose)
    by_hand = [min((float(np.hypot(*(p - c))) for c in candidates[whose == o]), default=np.inf) for p, o in zip(points, owner, strict=True)]
    assert np.isinf(pairs).any() and pairs == pytest.approx(by_hand, abs=1e-9) and tree == pytest.approx(by_hand, abs=1e-6)


def test_corners_are_compared_once() -> None:
    """Vertices of one place and one feature are one (they differ in their normals), those of two features are two."""
    local = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 0]])
    rows = np.array([[0, 0, 0, 0, 0, 0, 1]])
    primitive = Primitive(local, np.eye(4)[None], 4, np.array([0, 1, 2, 3, 4, 5, 6, 1, 2]), None, "", 0)
    first, place = _different(primitive, rows)
    assert len(first) == 4 and (local[first][place] == local).all() and (rows[0][first][place] == rows[0]).all()
