"""Mesh layers as nobody wants them, and implicit trees of meshes: judged by the checkers and by a reader of the standard's rules."""

from __future__ import annotations

import itertools
import sys
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tiling.check import check_tileset, diff_tilesets, positions_mesh
from tiling.check.layer import check_layer
from tiling.meshes import tiler
from twin.errors import BadFeature, BadInput
from twin.lake import Lake
from twin.model import Report
from twin.parts import write_version
from twin.registry import TileJob

sys.path.insert(0, str(Path(__file__).parent))
from test_implicit import tiles_of
from test_lod import scattered
from test_mesh import BALL, BOX, model, place, run

NAMES = itertools.count()


def soup(kind: str, rng: np.random.Generator) -> trimesh.Trimesh:
    """A shape that something is wrong with."""
    if kind == "no triangles":
        return trimesh.Trimesh(rng.uniform(-5, 5, (4, 3)), np.zeros((0, 3), int), process=False)
    if kind == "three on an edge":  # non-manifold: fins around one edge
        turns = np.linspace(0, 5, 5)
        around = np.column_stack([np.cos(turns), np.sin(turns), np.zeros(5)])
        return trimesh.Trimesh(np.vstack([[[0, 0, 0], [0, 0, 2]], around]), [[0, 1, 2 + i] for i in range(5)], process=False)
    if kind == "points and needles":
        at = rng.uniform(-3, 3, (12, 3))
        return trimesh.Trimesh(at, [[0, 0, 0], [1, 1, 2], [3, 4, 4], [5, 6, 7], [8, 9, 10]], process=False)
    if kind == "twice, and turned over":
        return trimesh.Trimesh(BOX.vertices, np.vstack([BOX.faces, BOX.faces, BOX.faces[:, ::-1]]), process=False)
    if kind == "confetti":
        at = rng.normal(0, 4, (900, 3))
        return trimesh.Trimesh(at, np.arange(900).reshape(-1, 3), process=False)
    if kind == "random corners":
        return trimesh.Trimesh(rng.normal(0, 4, (40, 3)), rng.integers(0, 40, (500, 3)), process=False)
    if kind == "not finite":
        ball = BALL.copy()
        ball.vertices[int(rng.integers(0, len(ball.vertices)))] = [np.inf, 0, np.nan]
        return ball
    if kind == "a loose corner that is not finite":
        return trimesh.Trimesh(np.vstack([BOX.vertices, [[np.nan] * 3]]), BOX.faces, process=False)
    if kind == "tiny":
        return trimesh.Trimesh(BALL.vertices * 1e-5, BALL.faces, process=False)
    if kind == "huge":
        return trimesh.Trimesh(BALL.vertices * 30_000, BALL.faces, process=False)
    return BALL


KINDS = ["no triangles", "three on an edge", "points and needles", "twice, and turned over", "confetti", "random corners", "not finite",
         "a loose corner that is not finite", "tiny", "huge", "sound"]  # fmt: skip


@settings(max_examples=10, deadline=None, derandomize=True, phases=[Phase.explicit, Phase.generate],
          suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])  # fmt: skip
@given(st.lists(st.sampled_from(KINDS), min_size=1, max_size=6), st.sampled_from([150, 1500, 60_000]), st.integers(0, 99), st.sampled_from(["explicit", "implicit"]))
def test_any_mixture_of_bad_shapes_is_tiled_or_refused_by_name(lake: Lake, kinds: list[str], budget: int, seed: int, subdivision: Any) -> None:
    rng = np.random.default_rng(seed)
    name = f"{next(NAMES)}.3tz"
    ids = [f"{kind} {i}" for i, kind in enumerate(kinds)]
    whole = model([soup(kind, rng) for kind in kinds], [(i, i, place(12.0 * i)) for i in range(len(kinds))], ids)
    job = TileJob(lake, lake.root / name, tiler.Options(budget=budget, subdivision=subdivision))
    if not set(kinds) - {"no triangles", "tiny"}:  # nothing of them, or less than a tile's precision can show
        with pytest.raises(BadInput, match=r"no element has a triangle|could be kept"):
            tiler.tile(write_version(lake, "bim", "mesh", [whole], Report("test"), provenance={}), replace(job, options=tiler.Options()))
        return
    version = write_version(lake, "bim", "mesh", [whole], Report("test"), provenance={})
    facts = tiler.tile(version, job)
    refused = {n["feature"] for n in facts["report"]["notes"] if n["action"] == "refused"}
    assert facts["report"]["read"] == len(ids) - len({i for i in ids if i.startswith("no triangles")} - refused)
    assert not any(i.startswith(("twice", "confetti", "huge", "sound", "three", "a loose")) for i in refused)
    found = check_layer(version, lake, lake.root / name, info=facts)
    assert found.ok, found.errors[:3]
    assert found.positions["features"] == facts["report"]["kept"]


def test_three_hundred_columns_and_types_that_differ_between_batches(lake: Lake) -> None:
    columns = {f"c{i}": [i, None] if i % 3 == 0 else [f"文{i}", ""] if i % 3 == 1 else [i / 7, None] for i in range(300)}
    run(lake, model([BOX], [(0, 0, place()), (0, 1, place(9))], ["a", "b"], **columns))
    assert not check_tileset(lake.root / "out.3tz").errors
    with pytest.raises(BadFeature, match="change"):
        run(lake, model([BOX], [(0, 0, place())], ["a"], n=[1]), model([BOX], [(0, 0, place())], ["b"], n=["text"]))


def test_an_id_twice_is_refused_by_name(lake: Lake) -> None:
    with pytest.raises(BadFeature, match="'a' occurs more than once"):
        run(lake, model([BOX], [(0, 0, place())], ["a"]), model([BOX], [(0, 0, place(9))], ["a"]))


def test_implicit_tiles_are_those_of_the_explicit_tree(lake: Lake) -> None:
    whole, triangles = scattered(40, 3)
    plain = run(lake, whole, name="plain.3tz", budget=6000)
    facts = run(lake, whole, name="implicit.3tz", budget=6000, subdivision="implicit")
    result = diff_tilesets(lake.root / "plain.3tz", lake.root / "implicit.3tz", tolerance=1e-6)
    assert result["features"] == {"added": [], "removed": [], "changed": [], "same": len(triangles)}
    found = check_tileset(lake.root / "implicit.3tz")
    assert not found.findings, found.findings[:3]
    assert facts["tiles"] == plain["tiles"] and facts["stats"] == plain["stats"]
    with zipfile.ZipFile(lake.root / "implicit.3tz") as archive:
        tiles = tiles_of(archive)
        contents = {n for n in archive.namelist() if n.startswith("content/")}
    assert {f"content/{'/'.join(map(str, at))}.glb" for at, (_, _, has) in tiles.items() if has} == contents
    assert len(contents) == facts["tiles"]
    for at, (_, error, _) in tiles.items():
        if at[0]:
            assert tiles[(at[0] - 1, *(n >> 1 for n in at[1:]))][1] >= error


def test_a_stack_at_one_place_is_one_implicit_leaf(lake: Lake) -> None:
    placed = [(0, i, place()) for i in range(30)]
    facts = run(lake, model([BALL], [*placed, (0, 30, place(50))], [f"b{i}" for i in range(31)]), budget=3000, subdivision="implicit")
    assert facts["report"]["kept"] == 31
    assert check_tileset(lake.root / "out.3tz").ok


def test_a_shape_of_many_contents_is_held_against_what_lies_near(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """The check of one feature in many tiles finds what it finds with the whole shape at each: nothing, a corner that was moved, a part that is not drawn."""
    ball = trimesh.creation.icosphere(5, 40.0)
    moved, more = ball.copy(), ball.copy()
    moved.vertices[77] += [0.6, 0, 0]
    more = trimesh.util.concatenate([ball, trimesh.creation.box((1, 1, 1)).apply_translation([90, 0, 0])])
    versions = [write_version(lake, f"b{i}", "mesh", [model([shape], [(0, 0, place(0, 0))], ["ball"])], Report(), provenance={}) for i, shape in enumerate((ball, moved, more))]
    facts = tiler.tile(versions[0], TileJob(lake, lake.root / "b.3tz", tiler.Options(budget=2_000)))
    assert facts["tiles"] > 8
    found = []
    for large in (50, 10**9):
        monkeypatch.setattr(positions_mesh, "LARGE", large)
        reports = [check_layer(version, lake, lake.root / "b.3tz", info=facts) for version in versions]
        assert [r.codes() for r in reports] == [set(), {"POSITION_OFF"}, {"POSITION_OFF"}]
        found.append([r.positions["max_error_m"] for r in reports][:2])
    assert found[0] == pytest.approx(found[1], rel=1e-6)
