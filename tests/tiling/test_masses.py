"""Mass tiles: whatever cut a client draws, every building stands there once, as itself or in a mass."""

from __future__ import annotations

import json
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pyproj
import pytest
import pyvista
import shapely
import trimesh

from tiling import partition
from tiling.blocks import masses
from tiling.blocks import tiler as blocks
from tiling.levels import ABSENCE
from twin import crs
from twin.bench.cities import generate_buildings
from twin.lake import Lake
from twin.model import Report
from twin.parts import write_version
from twin.registry import TileJob

sys.path[:0] = [str(Path(__file__).parent)]
from tiling_helpers import tree  # noqa: E402

COUNT = 1500
NEAR: dict[str, float] = {}
"""By uri, what the mass tiles of the city were said to be away from their buildings."""


@pytest.fixture(scope="module")
def city(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """A tiled layer and the batch that it was made of."""
    lake, real = Lake(tmp_path_factory.mktemp("lake")), masses.build
    batch = next(iter(generate_buildings(COUNT, 3)))
    version = write_version(lake, "b", "blocks", [batch], Report("g"), provenance={}, style={"height": "height"})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(masses, "build", lambda mass, *rest: (NEAR.update({f"{mass.name}.glb": mass.error}), real(mass, *rest))[1])
        blocks.tile(version, TileJob(lake, lake.root / "out.3tz", blocks.Options(ground=20.0, budget=2000)))
    return lake.root / "out.3tz", batch


def is_mass(tile: dict[str, Any]) -> bool:
    return str(tile["uri"]).startswith("mass/")


def test_every_cut_shows_every_building_once(city: tuple[Path, Any]) -> None:
    """Random cuts of the tree, by the rules of 3D Tiles: ADD draws a tile and its children, REPLACE the children instead."""
    tiles = tree(city[0])
    children: dict[int, list[int]] = {}
    for number, tile in enumerate(tiles):
        children.setdefault(tile["parent"], []).append(number)
    rng = np.random.default_rng(1)
    for deep in np.linspace(0, 1, 12):
        shown: list[str] = []
        counted = 0
        stack = [0]
        while stack:
            at = stack.pop()
            mass, below = is_mass(tiles[at]), children.get(at, [])
            # a cell always brings the masses of what is below it; they are refined or not
            refined = bool(below) and (not mass or rng.random() < deep)
            if not mass:
                shown += [name for name, *_ in tiles[at]["drawn"]]
            elif not refined:
                counted += sum(row["buildings"] for *_, row in tiles[at]["drawn"])
            if refined:
                stack += below
        assert len(shown) == len(set(shown))
        assert len(shown) + counted == COUNT
        assert counted or deep > 0.5


def enu(place: np.ndarray) -> np.ndarray:
    """(4, 4) axes east, north, up at a place of ECEF."""
    lon, lat, height = pyproj.Transformer.from_crs("EPSG:4978", "EPSG:4979", always_xy=True).transform(*place)
    return crs.enu_frame(lon, lat, height)


def surface(features: list[Any], frame: np.ndarray) -> pyvista.PolyData:
    """Decoded triangles as a surface of VTK, in metres."""
    corners = (np.concatenate([triangles.reshape(-1, 3) for _, triangles, *_ in features]) - frame[:3, 3]) @ frame[:3, :3]
    return pyvista.PolyData(corners, np.column_stack([np.full(len(corners) // 3, 3), np.arange(len(corners)).reshape(-1, 3)]).ravel())


def one_sided(a: pyvista.PolyData, b: pyvista.PolyData) -> float:
    """The farthest that a place of `a` is from the surface `b`, by VTK's distance filter, at its corners and in its faces."""
    dense = a.subdivide(3, "linear") if a.n_cells < 1000 else a
    return float(np.abs(dense.compute_implicit_distance(b)["implicit_distance"]).max())


def test_the_error_of_a_mass_is_what_vtk_measures(city: tuple[Path, Any]) -> None:
    """Its blocks against the finest buildings they stand for, both ways, and 4 × the size of the largest of these, which is absent."""
    tiles = tree(city[0])
    below: dict[int, list[int]] = {}
    for number, tile in enumerate(tiles):
        below.setdefault(tile["parent"], []).append(number)
    apart_of, own = [], []
    for top in [number for number, tile in enumerate(tiles) if is_mass(tile)][:14]:
        stack, leaves = [*below[top]], []
        while stack:
            at = stack.pop()
            stack += below.get(at, [])
            leaves += [] if is_mass(tiles[at]) else tiles[at]["drawn"]
        frame = enu(leaves[0][1][0, 0])
        blocks_, buildings = surface(tiles[top]["drawn"], frame), surface(leaves, frame)
        apart = max(one_sided(blocks_, buildings), one_sided(buildings, blocks_))
        size = max(np.linalg.norm(np.ptp(triangles.reshape(-1, 3) @ frame[:3, :3], axis=0)) for _, triangles, *_ in leaves)
        assert tiles[top]["error"] >= max(apart, 0.99 * ABSENCE * size)  # sizes are of boxes in the map's axes
        assert tiles[top]["error"] <= 1.01 * max(NEAR[tiles[top]["uri"]], ABSENCE * size)
        apart_of.append(apart)
        own.append(NEAR[tiles[top]["uri"]])
    ratios = np.divide(own, apart_of)
    assert 1.0 <= ratios.min() <= ratios.max() < 2.5, "what they are away is stated by a bound that is near"
    assert np.median(ratios) < 1.6


def test_the_masses_have_the_area_and_the_volume_of_the_buildings(city: tuple[Path, Any]) -> None:
    path, batch = city
    tiles = tree(path)
    area = dict(zip(batch.ids.to_pylist(), shapely.area(batch.geometry), strict=True))
    height = dict(zip(batch.ids.to_pylist(), batch.attributes["height"].to_pylist(), strict=True))
    top = next(number for number, tile in enumerate(tiles) if is_mass(tile))
    drawn_above = {name for name, *_ in tiles[0]["drawn"]}
    rest = [name for name in area if name not in drawn_above]
    assert tiles[top]["parent"] == 0
    drawn = tiles[top]["drawn"]
    assert sum(row["buildings"] for *_, row in drawn) == len(rest)
    assert sum(row["area"] for *_, row in drawn) == pytest.approx(sum(area[name] for name in rest), rel=1e-3)  # grid metres are not metres
    volume = 0.0
    for _, triangles, _, row in drawn:
        corners = triangles.reshape(-1, 3)
        solid = trimesh.Trimesh(np.round(corners - corners[0], 4), np.arange(len(corners)).reshape(-1, 3))
        solid.merge_vertices(digits_vertex=2)
        assert solid.is_watertight
        assert solid.volume == pytest.approx(row["area"] * row["height"], rel=2e-3)
        volume += solid.volume
    assert volume == pytest.approx(sum(area[name] * height[name] for name in rest), rel=3e-3)


def test_the_plan_is_the_same_without_them_and_implicit_trees_have_none(lake: Lake) -> None:
    version = write_version(lake, "b", "blocks", generate_buildings(400, 3), Report("g"), provenance={}, style={"height": "height"})
    names = {}
    for name, options in {"with": {}, "without": {"masses": False}, "implicit": {"subdivision": "implicit"}}.items():
        blocks.tile(version, TileJob(lake, lake.root / f"{name}.3tz", blocks.Options(ground=20.0, budget=1000, **options)))
        with zipfile.ZipFile(lake.root / f"{name}.3tz") as file:
            names[name] = {n for n in file.namelist() if n.endswith(".glb")}
            document = json.loads(file.read("tileset.json"))
            assert ("REPLACE" in json.dumps(document)) == (name == "with")
    assert {n for n in names["with"] if not n.startswith("mass/")} == names["without"]
    assert any(n.startswith("mass/") for n in names["with"])
    assert not any(n.startswith("mass/") for n in names["implicit"])


def test_summaries_add_up() -> None:
    """Against sums by hand; a summary of summaries is that of the whole, but for the squares that rows lie in."""
    rng = np.random.default_rng(2)
    level, x, y = 12, 3333, 1780
    u, v = (x + rng.random(500)) / 2**level, (y + rng.random(500)) / 2**level
    rows = np.column_stack([u * 360 - 180, np.degrees(np.arctan(np.sinh(np.pi * (1 - 2 * v)))), rng.uniform(20, 900, 500), rng.uniform(3, 60, 500),
                            rng.uniform(0, 9, 500), np.ones(500), np.zeros((500, 7))])  # fmt: skip
    found = masses.summary(rows, (level, x, y))
    assert len(found) == 16
    square = ((v * 2**level - y) * 4).astype(int) * 4 + ((u * 2**level - x) * 4).astype(int)
    for row, number in zip(found, np.unique(square), strict=True):
        mine = rows[square == number]
        assert row[masses.COUNT] == len(mine)
        assert row[masses.FOOT] == np.floor(mine[:, masses.FOOT].min() * 2) / 2
        assert row[masses.AREA] == pytest.approx(mine[:, masses.AREA].sum(), abs=0.5001)
        for k, near in ((masses.LON, 4e-6), (masses.LAT, 4e-6), (masses.HEIGHT, 0.2501)):
            assert row[k] == pytest.approx(np.average(mine[:, k], weights=mine[:, masses.AREA]), abs=near)
    again = masses.summary(np.concatenate([masses.summary(rows[:250], (level, x, y)), masses.summary(rows[250:], (level, x, y))]), (level, x, y))
    assert np.allclose(again[:, masses.AREA], found[:, masses.AREA], atol=1.5)
    assert np.allclose(again[:, masses.HEIGHT], found[:, masses.HEIGHT], atol=0.5)
    higher = rows.copy()
    higher[:, masses.HEIGHT] *= 1.0001
    assert (masses.summary(higher, (level, x, y)) == found)[:, : masses.SHOWN].mean() > 0.9, "what hardly changes ends here"


@pytest.mark.parametrize("seed", range(6))
def test_two_threads_come_to_the_same_masses(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever the middle of the plan falls; against every cell's own sum, children first."""
    rng = np.random.default_rng(seed)
    code = partition.project(112 + 10.0 ** -rng.integers(0, 3) * rng.random(3000), 22 + rng.random(3000) ** 3)
    places = partition.Places(code, rng.random(3000), np.ones(3000), np.arange(3000, dtype=np.uint64), np.arange(3000)).sorted()
    cells = partition.Cells.joined([piece.bare() for piece in partition.pieces([places], budget=float(rng.integers(5, 60)), share=3.0, limit=700)])
    count = rng.integers(0, 3, len(cells))
    count[cells.parent[1:]] = 1
    first = np.concatenate([[0], np.cumsum(count)])
    of = np.repeat(np.arange(len(cells)), count)
    place = (np.array([cells.x[of], cells.y[of]]) + rng.random((2, len(of)))) / np.exp2(cells.level[of])
    lon, lat = partition.unproject(*place)
    own = np.column_stack([lon, lat, rng.uniform(20, 900, len(of)), rng.uniform(3, 60, len(of)), rng.uniform(0, 9, len(of)), np.ones(len(of)),
                           lon, lat, lon, lat, rng.uniform(60, 70, len(of)), np.zeros((len(of), 2))])  # fmt: skip
    monkeypatch.setattr(masses, "ALONE", 1)
    found = masses.collect(cells, own, first)
    assert min(map(len, masses._halves(cells.parent)[:2])) > 10
    sums: list[np.ndarray] = [own[first[at] : first[at + 1]] for at in range(len(cells))]
    below: list[list[int]] = [[] for _ in sums]
    for at in range(len(cells) - 1, -1, -1):
        below[at].reverse()
        if any(len(sums[child]) for child in below[at]):
            rows = np.concatenate([sums[at], *(sums[child] for child in below[at])])
            sums[at] = masses.summary(rows, (int(cells.level[at]), int(cells.x[at]), int(cells.y[at])))
        if cells.parent[at] >= 0:
            below[cells.parent[at]].append(at)
    shown = [np.concatenate([sums[child] for child in below[at]]) for at in found.cell]
    ((_, _, rows, ends),) = found.runs(10**6)
    assert np.array_equal(rows, np.concatenate(shown))
    assert ends.tolist() == [0, *np.cumsum([len(some) for some in shown])]
