"""Buildings with storeys: the outside from afar, then storey by storey; what is outside is known by construction."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import trimesh

from tiling.check import check_tileset
from twin.lake import Lake
from twin.model import Material, Mesh

sys.path.insert(0, str(Path(__file__).parent))
from test_lod import laws
from test_mesh import REFERENCE, place, run
from tiling_helpers import tree

WALL, GLASS = Material("wall", (0.8, 0.8, 0.8, 1.0)), Material("glass", (0.6, 0.8, 0.9, 0.3))
LONG, DEEP, HIGH = 20.0, 12.0, 3.0


def box(x: float, y: float, z: float, at: tuple[float, float, float]) -> trimesh.Trimesh:
    """A box of a size, its lowest corner at a place, finely cut so that it weighs something."""
    return trimesh.creation.box((x, y, z), trimesh.transformations.translation_matrix(np.array(at) + np.array([x, y, z]) / 2)).subdivide()


def storey(k: int, dx: float) -> list[tuple[str, trimesh.Trimesh, bool, bool]]:
    """(name, form, glass, outside): four walls, of which the south one has a window, a slab, an inner wall, a table, and one behind the window."""
    z = k * HIGH
    parts = [
        ("slab", box(LONG, DEEP, 0.3, (0, 0, z)), False, True),
        ("north", box(LONG, 0.3, HIGH, (0, DEEP - 0.3, z)), False, True),
        ("west", box(0.3, DEEP, HIGH, (0, 0, z)), False, True),
        ("east", box(0.3, DEEP, HIGH, (LONG - 0.3, 0, z)), False, True),
        ("south-left", box(8, 0.3, HIGH, (0, 0, z)), False, True),
        ("south-right", box(8, 0.3, HIGH, (12, 0, z)), False, True),
        ("window", box(4, 0.1, HIGH, (8, 0.1, z)), True, True),
        ("behind", box(1, 0.2, 1, (9.5, 1.0, z + 0.3)), False, True),
        ("inner", box(5, 0.2, HIGH - 1, (1, 1.5, z + 0.3)), False, False),
        ("table", box(1, 1, 0.8, (1, 2.5, z + 0.3)), False, False),
        ("pipe", trimesh.creation.cylinder(0.1, 2, sections=24).apply_translation([17, 3, z + 1.5]), False, False),
    ]
    for _, form, _, _ in parts:
        form.apply_translation([dx, 0, 0])
    return [(f"{name}-{k}@{dx:g}", form, glass, outside) for name, form, glass, outside in parts]


def house(dx: float, floors: int = 3) -> list[tuple[str, trimesh.Trimesh, bool, bool, str, str]]:
    """Storeys with a roof."""
    found = [(*part, f"house {dx:g}", f"floor {k}") for k in range(floors) for part in storey(k, dx)]
    roof = box(LONG, DEEP, 0.3, (0, 0, floors * HIGH))
    return [*found, (f"roof@{dx:g}", roof.apply_translation([dx, 0, 0]), False, True, f"house {dx:g}", f"floor {floors - 1}")]


def layer(parts: list[Any]) -> Mesh:
    """One prototype and one instance a part."""
    shapes = [p[1] for p in parts]
    return Mesh(
        REFERENCE, pa.array([p[0] for p in parts]), pa.table({"class": ["x"] * len(parts), "building": [p[4] for p in parts], "storey": [p[5] for p in parts]}),
        np.concatenate([s.vertices for s in shapes]), np.concatenate([s.faces for s in shapes]).astype(np.int32),
        np.concatenate([np.full(len(p[1].faces), int(p[2])) for p in parts]).astype(np.int32),
        np.cumsum([0, *(len(s.vertices) for s in shapes)]), np.cumsum([0, *(len(s.faces) for s in shapes)]),
        np.arange(len(parts), dtype=np.int32), np.arange(len(parts), dtype=np.int32), np.array([place()] * len(parts)), (WALL, GLASS),
    )  # fmt: skip


def test_outside_then_storeys_then_all(lake: Lake) -> None:
    parts = house(0.0)
    run(lake, layer(parts), budget=1300)
    tiles = tree(lake.root / "out.3tz")
    laws(tiles, {p[0]: len(p[1].faces) for p in parts})
    assert {d[0] for d in tiles[0]["drawn"]} == {p[0] for p in parts if p[3]}, "the root draws what is seen from outside, and nothing else"
    assert 0 < tiles[0]["error"] <= 8.1
    storey_of = {p[0]: p[5] for p in parts}
    leaves = [t for t in tiles if t["finest"]]
    assert sorted(sorted({storey_of[d[0]] for d in t["drawn"]}) for t in leaves) == [[f"floor {k}"] for k in range(3)]
    assert check_tileset(lake.root / "out.3tz").ok


def test_buildings_stay_whole_until_they_are_cut_into_storeys(lake: Lake) -> None:
    parts = [part for dx in (0.0, 60.0, 120.0) for part in house(dx)]
    run(lake, layer(parts), budget=1300)
    tiles = tree(lake.root / "out.3tz")
    laws(tiles, {p[0]: len(p[1].faces) for p in parts})
    outside = {p[0] for p in parts if p[3]}
    house_of, storey_of = {p[0]: p[4] for p in parts}, {p[0]: p[5] for p in parts}
    for tile in tiles:
        drawn = {d[0] for d in tile["drawn"]}
        if len({house_of[i] for i in drawn}) > 1 or len({storey_of[i] for i in drawn}) > 1:
            assert not tile["finest"]
            assert drawn <= outside
    assert check_tileset(lake.root / "out.3tz").ok


def test_a_small_model_is_one_tile(lake: Lake) -> None:
    parts = house(0.0)
    facts = run(lake, layer(parts))
    assert facts["tiles"] == 1
    (tile,) = tree(lake.root / "out.3tz")
    assert {d[0] for d in tile["drawn"]} == {p[0] for p in parts}
