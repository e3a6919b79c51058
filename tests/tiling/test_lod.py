"""Levels of detail of mesh layers: law 6 on random layers, and the stated errors recomputed from decoded tiles by VTK."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pyvista
import trimesh
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tiling.check.layer import check_layer
from tiling.levels import ABSENCE, plan
from tiling.meshes.distance import hausdorff
from tiling.meshes.simplify import simplify
from tiling.partition import project
from twin.archive import Archive
from twin.lake import Lake
from twin.model import Report
from twin.parts import write_version

sys.path.insert(0, str(Path(__file__).parent))
from test_mesh import BALL, BOX, PIPE, model, place, run
from tiling_helpers import assert_valid, tree


def surface(triangles: np.ndarray) -> Any:
    """(T, 3, 3) triangles as a VTK mesh."""
    origin = triangles.reshape(-1, 3)
    cells = np.column_stack([np.full(len(triangles), 3), np.arange(3 * len(triangles)).reshape(-1, 3)])
    return pyvista.PolyData(origin, cells.ravel())


def one_sided(a: np.ndarray, b: np.ndarray, steps: int = 6) -> float:
    """Largest distance from points of `a` (a lattice of `steps` on every triangle) to `b`, by VTK's cell locator."""
    weights = np.array([(i, j, steps - i - j) for i in range(steps + 1) for j in range(steps + 1 - i)]) / steps
    points = np.einsum("sk,tkc->tsc", weights, a).reshape(-1, 3)
    _, nearest = surface(b).find_closest_cell(points, return_closest_point=True)
    return float(np.linalg.norm(np.asarray(nearest) - points, axis=1).max())


def diagonal(triangles: np.ndarray) -> float:
    corners = triangles.reshape(-1, 3)
    return float(np.linalg.norm(np.ptp(corners, axis=0)))


def laws(tiles: list[dict[str, Any]], triangles: dict[str, int]) -> None:
    """Law 6: nested boxes, errors that never grow, the finest once, a feature at most once on any cut.

    `triangles`: of each feature in the source; large features are in several leaves, each triangle in one.
    """
    drawn: dict[str, list[np.ndarray]] = {}
    for tile in tiles:
        for id_, corners, _, _ in tile["drawn"] if tile["finest"] else ():
            drawn.setdefault(id_, []).append(corners)
    assert {id_: sum(map(len, many)) for id_, many in drawn.items()} == triangles
    for many in drawn.values():
        middles = np.concatenate(many).mean(axis=1)
        assert len(np.unique(np.round(middles, 3), axis=0)) == len(middles), "a triangle is drawn twice"
    below: list[set[int]] = [set() for _ in tiles]
    for i in range(len(tiles) - 1, -1, -1):
        tile = tiles[i]
        if tile["parent"] >= 0:
            up = tiles[tile["parent"]]
            assert tile["error"] <= up["error"]
            centre, axes = up["box"].mean(axis=0), np.linalg.qr((up["box"][[4, 2, 1]] - up["box"][0]).T)[0]
            half = np.abs((up["box"] - centre) @ axes).max(axis=0)
            assert (np.abs((tile["box"] - centre) @ axes) <= half + 1e-3).all()
            below[tile["parent"]] |= below[i] | {i}
        if not tile["finest"]:
            assert tile["error"] > 0
            inside = {d[0] for j in below[i] if tiles[j]["finest"] for d in tiles[j]["drawn"]}
            assert {d[0] for d in tile["drawn"]} <= inside, "a tile draws what is not below it: twice on some cut"
        else:
            assert tile["error"] == 0
            assert not below[i]


def recomputed(tiles: list[dict[str, Any]], number: int) -> float:
    """The error of an inner tile from what was decoded alone: forms against finest both ways, and what is absent."""
    finest: dict[str, np.ndarray] = {}
    for i, tile in enumerate(tiles):
        up = i
        while up > number:
            up = tiles[up]["parent"]
        if tile["finest"] and up == number:
            for id_, triangles, _, _ in tile["drawn"]:
                finest[id_] = np.concatenate([finest[id_], triangles]) if id_ in finest else triangles
    origin = next(iter(finest.values()))[0, 0]
    forms: dict[str, np.ndarray] = {}
    for id_, triangles, _, _ in tiles[number]["drawn"]:
        forms[id_] = np.concatenate([forms[id_], triangles]) if id_ in forms else triangles
    worst = 0.0
    for id_, exact in finest.items():
        if id_ not in forms:
            worst = max(worst, ABSENCE * diagonal(exact))
        else:
            worst = max(worst, one_sided(forms[id_] - origin, exact - origin), one_sided(exact - origin, forms[id_] - origin, 1))
    return worst


def scattered(count: int, seed: int, spread: float = 80.0) -> Any:
    """(walls, pipes and balls of different sizes, the triangles of each)."""
    rng = np.random.default_rng(seed)
    shapes = [BOX, PIPE, BALL, trimesh.creation.icosphere(3, 6.0), trimesh.creation.torus(5.0, 1.0, 32, 16)]
    placed = [(int(rng.integers(0, 5)), i, place(*rng.uniform(-spread, spread, 2), float(rng.uniform(0, 30)), float(rng.uniform(0, 3)))) for i in range(count)]
    return model(shapes, placed, [f"e{i}" for i in range(count)]), {f"e{i}": len(shapes[p].faces) for p, i, _ in placed}


def test_errors_are_what_vtk_measures_and_law_6_holds(lake: Lake) -> None:
    whole, ids = scattered(80, 3)
    facts = run(lake, whole, budget=12_000)
    tiles = tree(lake.root / "out.3tz")
    laws(tiles, ids)
    inner = [i for i, t in enumerate(tiles) if not t["finest"]]
    assert inner and facts["stats"]["coarse_tiles"] == len(inner)
    for i in inner[:4]:
        measured = recomputed(tiles, i)
        stated = tiles[i]["error"]
        below = max((tiles[j]["error"] for j in range(len(tiles)) if tiles[j]["parent"] == i), default=0.0)
        assert measured <= stated + 1e-3, "the error is larger than stated"
        assert stated <= max(1.35 * measured + 0.05, below), "the error is stated much larger than it is"
    root = sum(len(d[1]) for d in tiles[0]["drawn"])
    assert root < 0.2 * facts["stats"]["triangles"]


def test_forms_are_smaller_keep_their_rows_and_validate(lake: Lake) -> None:
    whole, _ = scattered(60, 5)
    run(lake, whole, budget=12_000)
    tiles = tree(lake.root / "out.3tz")
    rows = {d[0]: d[3] for t in tiles if t["finest"] for d in t["drawn"]}
    assert all(d[3] == rows[d[0]] for t in tiles for d in t["drawn"])
    with Archive(lake.root / "out.3tz") as archive:
        assert_valid(*(archive.read(name) for name in archive.names() if name.endswith(".glb")))


@settings(max_examples=6, derandomize=True, phases=[Phase.explicit, Phase.generate], deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 10_000), st.sampled_from([5.0, 60.0, 600.0]), st.sampled_from([1500, 6000, 40_000]))
def test_law_6_on_random_layers(lake: Lake, seed: int, spread: float, budget: int) -> None:
    whole, ids = scattered(25, seed, spread)
    run(lake, whole, name=f"{seed}.3tz", budget=budget)
    laws(tree(lake.root / f"{seed}.3tz"), ids)


def test_one_feature_of_very_many_triangles_is_cut_and_thinned(lake: Lake) -> None:
    """A relief that is much more than is simplified at once: every triangle in one leaf, the root thinned on a grid, errors as stated."""
    n = 90
    at = np.stack(np.meshgrid(np.arange(n), np.arange(n), indexing="ij"), -1).reshape(-1, 2).astype(float)
    at = np.column_stack([at, 6 * np.sin(at[:, 0] / 9) * np.cos(at[:, 1] / 7)])
    i = np.arange(n * n).reshape(n, n)
    faces = np.concatenate([np.stack([i[:-1, :-1], i[1:, :-1], i[1:, 1:]], -1).reshape(-1, 3), np.stack([i[:-1, :-1], i[1:, 1:], i[:-1, 1:]], -1).reshape(-1, 3)])
    relief = trimesh.Trimesh(at, faces, process=False)
    whole = model([relief], [(0, 0, place())], ["relief"])
    facts = run(lake, whole, budget=900)
    version = write_version(lake, "bim", "mesh", [whole], Report("test"), provenance={})
    found = check_layer(version, lake, lake.root / "out.3tz", info=facts)
    assert found.ok, found.errors[:3]
    assert found.positions["features"] == found.positions["expected"] == 1
    assert found.positions["max_error_m"] < 0.001
    assert facts["stats"]["triangles"] == len(faces)
    assert facts["report"]["kept"] == 1
    tiles = tree(lake.root / "out.3tz")
    laws(tiles, {"relief": len(faces)})
    assert len(tiles[0]["drawn"][0][1]) < 0.2 * len(faces)
    assert recomputed(tiles, 0) <= tiles[0]["error"]
    assert tiles[0]["error"] < 8


def test_a_long_thin_feature_of_many_triangles_does_not_vanish(lake: Lake) -> None:
    """A wire of 4 cm and 30 m, of more triangles than are simplified at once: on the grid of cubes that suits the tile all of its triangles were points."""
    wire = trimesh.creation.cylinder(0.02, 30.0, sections=600)
    whole = model([wire, BALL], [(0, 0, place(3, 4, 20)), *((1, 1 + i, place(30.0 * i)) for i in range(8))], ["wire", *(f"ball{i}" for i in range(8))])
    facts = run(lake, whole, budget=100)
    version = write_version(lake, "bim", "mesh", [whole], Report("test"), provenance={})
    found = check_layer(version, lake, lake.root / "out.3tz", info=facts)
    assert found.ok, found.errors[:3]
    tiles = tree(lake.root / "out.3tz")
    above = {tile["parent"] for tile in tiles if any(drawn[0] == "wire" for drawn in tile["drawn"])}
    assert above
    for tile in (tiles[i] for i in above if i >= 0):
        long = [np.linalg.norm(np.ptp(drawn[1].reshape(-1, 3), axis=0)) for drawn in tile["drawn"] if drawn[0] == "wire"]
        assert (long and 1 < long[0] < 31) or tile["error"] >= ABSENCE * 30, tile["error"]


def test_a_cut_feature_with_broken_coordinates_is_drawn_without_them_and_said_so(lake: Lake) -> None:
    broken = BALL.copy()
    broken.vertices[3] = np.nan
    facts = run(lake, model([broken, BOX], [(0, 0, place()), (1, 1, place(5))], ["broken", "good"]), budget=600)
    drawn = sum(len(d[1]) for t in tree(lake.root / "out.3tz") if t["finest"] for d in t["drawn"] if d[0] == "broken")
    (note,) = [n for n in facts["report"]["notes"] if n["feature"] == "broken"]
    assert note["action"] == "repaired"
    assert 0 < drawn == len(BALL.faces) - int(note["reason"].split()[0])


def test_a_stack_at_one_place_is_cut_too() -> None:
    """Anchors that are all the same: leaves of what the budget holds."""
    code = project(np.full(50, 113.0), np.full(50, 22.0))
    cells = plan(code, np.full(50, 10), np.arange(50, dtype=np.uint64), 100)
    leaves = [c for c in cells if c.leaf]
    assert len(leaves) == 5
    assert sorted(np.concatenate([c.rows for c in leaves]).tolist()) == list(range(50))
    assert len({c.name for c in cells}) == len(cells)
    uneven = [c for c in plan(code[:5], np.array([90, 90, 30, 60, 250]), np.arange(5, dtype=np.uint64), 100) if c.leaf]
    assert [len(c.rows) for c in uneven] == [1, 1, 2, 1]


def test_a_form_does_not_depend_on_what_is_simplified_with_it() -> None:
    """Two features, one of them shifted by a part of the distance within which corners are one, and turned so that corners nearly meet."""
    ball = trimesh.creation.icosphere(3, 10.0)
    faces, count = ball.faces.astype(np.int64), len(ball.faces)
    torn = np.concatenate([ball.vertices[faces].reshape(-1, 3) + np.random.default_rng(1).uniform(-5e-5, 5e-5, (3 * count, 3))])
    alone = simplify(torn, np.arange(3 * count).reshape(-1, 3), np.zeros(count, np.int64), np.zeros((count, 3), np.int64), np.array([0.5]))
    positions, triangles = np.concatenate([torn, ball.vertices - 33.33333]), np.concatenate([np.arange(3 * count).reshape(-1, 3), faces + 3 * count])
    both = simplify(positions, triangles, np.repeat([0, 1], count), np.zeros((2 * count, 3), np.int64), np.array([0.5, 0.5]))
    assert np.array_equal(both.triangles[both.source < count], alone.triangles)


# --- simplification and distance, each against another library ---------------------------------------------------------


@pytest.mark.parametrize("tolerance", [0.1, 0.5])
def test_simplified_sphere_stays_closed_and_near(tolerance: float) -> None:
    ball = trimesh.creation.icosphere(4, 10.0)
    faces, zero = ball.faces.astype(np.int64), np.zeros(len(ball.faces), np.int64)
    found = simplify(ball.vertices, faces, zero, np.zeros((len(faces), 3), np.int64), np.array([tolerance]))
    less = trimesh.Trimesh(ball.vertices, found.triangles, process=False)
    assert less.is_watertight
    assert len(found.triangles) < 0.7 * len(faces)
    apart = hausdorff(ball.vertices[faces], zero, ball.vertices[found.triangles], zero[: len(found.triangles)], np.array([tolerance]))[0]
    a, b = ball.vertices[faces], ball.vertices[found.triangles]
    vtk = max(one_sided(a, b, 2), one_sided(b, a, 12))
    assert vtk <= apart + 1e-6
    assert apart <= 1.15 * vtk + 0.15 * tolerance
    assert apart < 4 * tolerance


def test_flat_parts_cost_nothing_and_corners_stay() -> None:
    """A finely cut box comes back as twelve triangles (or a few more), with its eight corners and its volume."""
    fine = trimesh.creation.box((4, 3, 2)).subdivide().subdivide().subdivide()
    faces = fine.faces.astype(np.int64)
    found = simplify(fine.vertices, faces, np.zeros(len(faces), np.int64), np.zeros((len(faces), 3), np.int64), np.array([0.01]))
    less = trimesh.Trimesh(fine.vertices, found.triangles, process=False)
    assert len(faces) == 768
    assert len(found.triangles) <= 16
    assert less.is_watertight
    assert less.volume == pytest.approx(24.0, rel=1e-9)


def test_labels_flow_only_within_themselves() -> None:
    """A plane in two materials with texture coordinates: the line between the materials stays where it is, UVs stay linear."""
    n = 17
    u, v = (k.ravel() for k in np.meshgrid(np.arange(n), np.arange(n), indexing="ij"))
    at = np.column_stack([u, v, np.zeros(n * n)]).astype(float)
    i = np.arange(n * n).reshape(n, n)
    faces = np.concatenate([np.stack([i[:-1, :-1], i[1:, :-1], i[1:, 1:]], -1).reshape(-1, 3), np.stack([i[:-1, :-1], i[1:, 1:], i[:-1, 1:]], -1).reshape(-1, 3)])
    left = at[faces][:, :, 0].mean(axis=1) < 8
    label = np.where(left[:, None], faces, faces + n * n)
    found = simplify(at, faces, np.zeros(len(faces), np.int64), label, np.array([0.1]))
    assert len(found.triangles) <= 12
    sides = at[found.triangles][:, :, 0]
    assert ((sides <= 8).all(axis=1) | (sides >= 8).all(axis=1)).all(), "a triangle crosses the line between the materials"
    assert (left[found.source] == (sides <= 8).all(axis=1)).all()
    carried = faces.reshape(-1)[found.corner]
    assert (carried == found.triangles).all(), "each corner carries the data of the place where it lies"
    assert (label.reshape(-1)[found.corner] // (n * n) == (~left[found.source]).astype(int)[:, None]).all()


def test_a_pinned_border_does_not_move() -> None:
    ball = trimesh.creation.icosphere(4, 10.0)
    faces = ball.faces[ball.vertices[ball.faces][:, :, 2].mean(axis=1) > 2].astype(np.int64)
    sides, often = np.unique(np.sort(faces[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1), axis=0, return_counts=True)
    border = np.unique(sides[often == 1])
    zero = np.zeros(len(faces), np.int64)
    found = simplify(ball.vertices, faces, zero, np.zeros((len(faces), 3), np.int64), np.array([1.0]), np.array([True]))
    assert set(border) <= set(found.triangles.ravel())
    assert len(found.triangles) < 0.5 * len(faces)


def test_distance_of_known_forms() -> None:
    """Two parallel squares, a point-like and an absent form: closed results."""
    square = np.array([[[0, 0, 0], [10, 0, 0], [10, 10, 0]], [[0, 0, 0], [10, 10, 0], [0, 10, 0]]], float)
    owner = np.array([0, 0])
    assert hausdorff(square, owner, square + np.array([0, 0, 3.0]), owner, np.array([0.1]))[0] == pytest.approx(3.0, rel=0.12)
    half = square[:1]
    assert hausdorff(square, owner, half, owner[:1], np.array([0.1]))[0] == pytest.approx(10 / np.sqrt(2), rel=0.12)
    assert hausdorff(square, owner, square[:0], owner[:0], np.array([0.1]))[0] == np.inf
    assert hausdorff(square, owner, square[::-1], owner, np.array([0.1]))[0] < 0.02
