"""Repeated parts: drawn once and placed many times, each for its own feature, within a millimetre of the projection."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyproj
import pytest
import trimesh
from scipy.spatial import KDTree

from tiling.check import check_tileset
from tiling.meshes.instancing import _decomposed, _matrices
from twin.archive import Archive
from twin.lake import Lake

sys.path.insert(0, str(Path(__file__).parent))
from test_mesh import BOX, model, place, run
from tiling_helpers import assert_valid, tree

TREE = trimesh.util.concatenate([trimesh.creation.cylinder(0.2, 3, sections=16), trimesh.creation.icosphere(3, 1.5 ).apply_translation([0, 0, 2.5])])
EXACT = "+proj=pipeline +step +inv +proj=tmerc +lat_0=0 +lon_0=114 +k=1 +x_0=500000 +y_0=0 +ellps=GRS80 +step +proj=cart +ellps=WGS84"


def documents(path: Path) -> list[dict[str, Any]]:
    """The JSON of every glb of an archive."""
    with Archive(path) as archive:
        files = [archive.read(n) for n in archive.names() if n.endswith(".glb")]
    return [json.loads(f[20 : 20 + int.from_bytes(f[12:16], "little")]) for f in files]


def orchard(count: int, **more: Any) -> tuple[Any, list[np.ndarray]]:
    """Trees upright, turned and of different sizes; and a wall."""
    rng = np.random.default_rng(1)
    placed = []
    for i in range(count):
        t = place(*rng.uniform(-100, 100, 2), 0.5, float(rng.uniform(0, 6)))
        t[:3, :3] *= rng.uniform(0.7, 1.6)
        placed.append((0, i, t))
    placed.append((1, count, place(0, 0)))
    ids = [f"树{i}" for i in range(count)] + ["墙"]
    return model([TREE, BOX], placed, ids, **more), [t for _, _, t in placed]


def test_trees_are_drawn_once_and_stand_within_a_millimetre(lake: Lake) -> None:
    whole, placed = orchard(120, height=[float(i) for i in range(120)] + [None])
    facts = run(lake, whole, budget=500_000)
    assert facts["tiles"] == 1
    (document,) = documents(lake.root / "out.3tz")
    nodes = [n for n in document["nodes"] if "EXT_mesh_gpu_instancing" in n.get("extensions", {})]
    assert len(nodes) == 1
    assert document["accessors"][nodes[0]["extensions"]["EXT_mesh_gpu_instancing"]["attributes"]["TRANSLATION"]]["count"] == 120
    (tile,) = tree(lake.root / "out.3tz")
    to_ecef = pyproj.Transformer.from_pipeline(EXACT)
    found = {id_: (triangles, row) for id_, triangles, _, row in tile["drawn"]}
    assert set(found) == {f"树{i}" for i in range(120)} | {"墙"}
    for i in range(120):
        triangles, row = found[f"树{i}"]
        assert row["height"] == i
        assert len(triangles) == len(TREE.faces)
        world = TREE.vertices @ placed[i][:3, :3].T + placed[i][:3, 3]
        expected = np.column_stack(to_ecef.transform(*world.T))
        got = np.unique(triangles.reshape(-1, 3), axis=0)
        assert np.linalg.norm(got[:, None] - expected[None], axis=2).min(axis=1).max() < 0.001, "a vertex is off"
        assert np.linalg.norm(got[:, None] - expected[None], axis=2).min(axis=0).max() < 0.001, "a vertex is lost"
    with Archive(lake.root / "out.3tz") as archive:
        assert_valid(*(archive.read(n) for n in archive.names() if n.endswith(".glb")))
    report = check_tileset(lake.root / "out.3tz")
    assert report.ok, report.errors[:3]


def test_instancing_saves_bytes_and_says_the_same(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, _ = orchard(60)
    small = run(lake, whole, name="a.3tz", budget=500_000)
    monkeypatch.setattr("tiling.meshes.repeats.SAVES", 1 << 40)
    large = run(lake, whole, name="b.3tz", budget=500_000)
    assert small["stats"]["raw_bytes"] < 0.2 * large["stats"]["raw_bytes"]
    assert small["stats"]["triangles"] == large["stats"]["triangles"]
    first, second = ({d[0]: d[1] for d in tree(lake.root / n)[0]["drawn"]} for n in ("a.3tz", "b.3tz"))
    assert first.keys() == second.keys()
    for id_, triangles in first.items():
        assert np.abs(np.sort(triangles.mean(axis=1), axis=0) - np.sort(second[id_].mean(axis=1), axis=0)).max() < 0.002


def test_what_repeats_is_weighed_once(lake: Lake) -> None:
    """7,000 triangles that a tile of 2,000 vertices holds once need no tree of tiles; drawn out (mirrored, sheared, all different, too many) they do."""
    bush = trimesh.creation.icosphere(2, 1.5)
    count = 22
    placed = [(0, i, place(i % 9 * 9.0, i // 9 * 9.0)) for i in range(count)]
    ids = [f"t{i}" for i in range(count)]
    shared = run(lake, model([bush], placed, ids), budget=2_000)
    assert shared["tiles"] == 1
    assert shared["stats"]["triangles"] == count * len(bush.faces)
    report = check_tileset(lake.root / "out.3tz")
    assert report.ok, report.errors[:3]
    lean = np.eye(4)
    lean[0, 2] = 0.1
    turned = [(0, i, place(i % 9 * 9.0, i // 9 * 9.0, mirror=True)) for i in range(count)]
    bent = [(0, i, t @ lean) for _, i, t in placed]
    different = [bush.copy().apply_scale(1 + i / 1000) for i in range(count)]
    for shapes, where in (([bush], turned), ([bush], bent), (different, [(i, i, t) for _, i, t in placed]), ([bush], placed * 3)):
        assert run(lake, model(shapes, where, ids), budget=2_000)["stats"]["coarse_tiles"] > 0


def test_a_small_part_first_does_not_coarsen_the_large_ones(lake: Lake) -> None:
    """One part as a model in a shop window (1 : 1,000), as it is, and stretched: every instance within a millimetre (they were 0.1 m off, the stored corners were those of the first)."""
    rng = np.random.default_rng(2)
    placed = []
    for i in range(90):
        t = place(*rng.uniform(-60, 60, 2), 0.5, float(rng.uniform(0, 6)))
        t[:3, :3] = t[:3, :3] @ np.diag([0.001] * 3 if i % 9 > 1 else [1.0] * 3 if i % 9 else rng.uniform(0.3, 3, 3))
        placed.append((0, i, t))
    whole = model([TREE], placed, [f"t{i}" for i in range(90)])
    assert run(lake, whole, budget=500_000)["tiles"] == 1
    assert any("EXT_mesh_gpu_instancing" in d.get("extensionsUsed", []) for d in documents(lake.root / "out.3tz"))
    (tile,) = tree(lake.root / "out.3tz")
    to_ecef = pyproj.Transformer.from_pipeline(EXACT)
    drawn = {id_: triangles for id_, triangles, _, _ in tile["drawn"]}
    for _, i, t in placed:
        corners = TREE.vertices @ t[:3, :3].T + t[:3, 3]
        expected = np.column_stack(to_ecef.transform(*corners.T))
        away, _ = KDTree(expected).query(drawn[f"t{i}"].reshape(-1, 3))
        assert away.max() < 0.001, i


def test_what_the_projection_bends_or_a_mirror_turns_is_drawn_out(lake: Lake) -> None:
    """A hall of 400 m is bent by the projection by more than a millimetre; a mirrored tree has its triangles the other way round."""
    hall = trimesh.creation.box((400, 80, 12)).subdivide().subdivide().subdivide()
    placed = [(0, i, place(i * 500.0, 0)) for i in range(3)] + [(1, 3 + i, place(i * 9.0, 300, mirror=True)) for i in range(40)]
    run(lake, model([hall, TREE], placed, [f"h{i}" for i in range(43)]), budget=2_000_000)
    (document,) = documents(lake.root / "out.3tz")
    assert "EXT_mesh_gpu_instancing" not in document["extensionsUsed"]
    (tile,) = tree(lake.root / "out.3tz")
    assert len({d[0] for d in tile["drawn"]}) == 43


def test_rotations_and_scales_are_found_again() -> None:
    rng = np.random.default_rng(4)
    linear = trimesh.transformations.random_rotation_matrix
    rotations = np.array([linear(rng.random(3))[:3, :3] for _ in range(50)] + [np.diag([-1.0, -1, 1]), np.diag([1.0, -1, -1]), np.diag([-1.0, 1, -1]), np.eye(3)])
    scales = rng.uniform(0.1, 10, (54, 3))
    q, s = _decomposed(rotations * scales[:, None, :])
    assert np.abs(s / scales - 1).max() < 1e-6
    assert np.abs(_matrices(q.astype(float)) - rotations).max() < 1e-6
