"""Layers whose files are well formed and show something else than the source: each mutant is named by `twin check`, none of the intact ones."""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import trimesh
from PIL import Image

from tests.conformance.test_positions_layers import rewritten
from tests.tiling.test_textures import FULL, walls
from tiling.check import check_layer
from tiling.encoding.gltf import container
from tiling.meshes import tiler
from twin.lake import Lake
from twin.model import LayerVersion, Material, Mesh, Reference
from twin.model import Report as ReadReport
from twin.parts import write_version
from twin.registry import TileJob

Files = dict[str, bytes]
Built = tuple[Lake, LayerVersion, dict[str, Any]]
COUNT = 120
KINDS = {5120: "i1", 5121: "u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}


class Glb:
    """A glb whose columns can be written to."""

    def __init__(self, data: bytes) -> None:
        length = struct.unpack_from("<I", data, 12)[0]
        self.json, self.body = json.loads(data[20 : 20 + length]), bytearray(data[28 + length :])
        self.table = self.json["extensions"]["EXT_structural_metadata"]["propertyTables"][0]["properties"]
        self.primitives = [p for mesh in self.json["meshes"] for p in mesh["primitives"]]

    def column(self, accessor: int) -> np.ndarray:
        """(N, k) of an accessor, in place."""
        told = self.json["accessors"][accessor]
        view, kind = self.json["bufferViews"][told["bufferView"]], np.dtype(KINDS[told["componentType"]])
        width = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4}[told["type"]]
        stride = view.get("byteStride", width * kind.itemsize)
        return np.ndarray((told["count"], width), kind, self.body, view.get("byteOffset", 0) + told.get("byteOffset", 0), (stride, kind.itemsize))

    def values(self, name: str, kind: str = "u1") -> np.ndarray:
        """The bytes of a property, in place."""
        view = self.json["bufferViews"][self.table[name]["values"]]
        return np.frombuffer(self.body, kind, view["byteLength"] // np.dtype(kind).itemsize, view.get("byteOffset", 0))


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """Boxes and balls in a tree of tiles; some are mirrored, some see-through, some larger."""
    lake, rng = Lake(tmp_path_factory.mktemp("mutants")), np.random.default_rng(3)
    shapes = [trimesh.creation.box((10, 8, 20)), trimesh.creation.icosphere(2, 6.0)]
    placed = []
    for k in range(COUNT):
        matrix = trimesh.transformations.rotation_matrix(rng.uniform(0, 6), [0.3, 0.1, 1]) @ np.diag([(-1.0) ** (k % 3), 1, 1 + (k % 5 == 0), 1])
        matrix[:3, 3] = [405_000 + rng.uniform(0, 1500), 2_498_000 + rng.uniform(0, 1500), 22.0]
        placed.append(matrix)
    columns = {"kind": ["House", "Shed", "Shed"] * (COUNT // 3), "height": rng.random(COUNT) * 50, "width": rng.random(COUNT) * 50, "floors": rng.integers(1, 30, COUNT),
               "name": [f"楼{k}" if k % 7 else None for k in range(COUNT)], "old": rng.random(COUNT) > 0.5, "rare": [None if k % 4 else k for k in range(COUNT)]}  # fmt: skip
    version = write_version(lake, "bim", "mesh", [Mesh(
        Reference("EPSG:4547", "EPSG:4979"), pa.array([f"b{k}" for k in range(COUNT)]), pa.table(columns), np.concatenate([s.vertices for s in shapes]),
        np.concatenate([s.faces for s in shapes]).astype(np.int32), np.repeat([0, 1], [len(s.faces) for s in shapes]).astype(np.int32),
        np.cumsum([0, *(len(s.vertices) for s in shapes)]), np.cumsum([0, *(len(s.faces) for s in shapes)]), np.arange(COUNT, dtype=np.int32) % 2,
        np.arange(COUNT, dtype=np.int32), np.array(placed), (Material("red", (0.8, 0.1, 0.1, 1.0)), Material("glass", (0.6, 0.8, 0.9, 0.4), True)), None,
    )], ReadReport("mutants"), provenance={})  # fmt: skip
    return lake, version, tiler.tile(version, TileJob(lake, lake.root / "m.3tz", tiler.Options(budget=6000, compression="none"), None, 1))


def leaf(change: Callable[[Glb], Any]) -> Callable[[Files], None]:
    """Change the first finest content."""

    def edit(files: Files) -> None:
        tile = json.loads(files["tileset.json"])["root"]
        while tile.get("children"):
            tile = tile["children"][0]
        glb = Glb(files[tile["content"]["uri"]])
        change(glb)
        files[tile["content"]["uri"]] = container(glb.json, bytes(glb.body))

    return edit


def inner(change: Callable[[Glb], Any]) -> Callable[[Files], None]:
    """Change the content of the root, which what is below it replaces."""

    def edit(files: Files) -> None:
        uri = json.loads(files["tileset.json"])["root"]["content"]["uri"]
        glb = Glb(files[uri])
        change(glb)
        files[uri] = container(glb.json, bytes(glb.body))

    return edit


def tileset(change: Callable[[dict[str, Any]], Any]) -> Callable[[Files], None]:
    """Change the figures of tileset.json."""

    def edit(files: Files) -> None:
        document = json.loads(files["tileset.json"])
        change(document["statistics"]["classes"]["bim"])
        files["tileset.json"] = json.dumps(document).encode()

    return edit


def _unstated(files: Files) -> None:
    """No statistics at all."""
    files["tileset.json"] = json.dumps({k: v for k, v in json.loads(files["tileset.json"]).items() if k != "statistics"}).encode()


def _first_last(rows: np.ndarray) -> None:
    rows[[0, -1]] = rows[[-1, 0]]


def _swapped(glb: Glb) -> None:
    glb.table["height"], glb.table["width"] = glb.table["width"], glb.table["height"]


def _column_gone(glb: Glb) -> None:
    """One column of all, from the table and from the tile's schema."""
    glb.table.pop("height")
    glb.json["extensions"]["EXT_structural_metadata"]["schema"]["classes"]["bim"]["properties"].pop("height")


def _digit(glb: Glb) -> None:
    text = glb.values("name")
    text[np.flatnonzero((text >= ord("0")) & (text < ord("9")))[0]] += 1


def _dropped(glb: Glb) -> None:
    glb.json["accessors"][glb.primitives[0]["indices"]]["count"] -= 3


def _turned(glb: Glb) -> None:
    corners = glb.column(glb.primitives[0]["indices"])
    corners[[0, 1]] = corners[[1, 0]]


def _exchanged_ids(glb: Glb) -> None:
    for p in glb.primitives:
        ids = glb.column(p["attributes"]["_FEATURE_ID_0"])
        a, b = (ids == 0).copy(), (ids == 1).copy()
        ids[a], ids[b] = 1, 0


def _moved(glb: Glb) -> None:
    """A corner to where another of the same feature is: within all boxes."""
    p = glb.primitives[0]["attributes"]
    here = np.flatnonzero(glb.column(p["_FEATURE_ID_0"])[:, 0] == glb.column(p["_FEATURE_ID_0"])[0, 0])
    places = glb.column(p["POSITION"])
    places[here[0]] = places[here].mean(axis=0)


def _all_turned(glb: Glb) -> None:
    """With their normals, so that they are lit well."""
    _inside_out(glb)
    for p in glb.primitives:
        rows = glb.column(p["attributes"]["NORMAL"])
        np.negative(rows, out=rows)


def _gone(glb: Glb) -> None:
    """No triangle of the feature of the first corner."""
    p = glb.primitives[0]
    corners, ids = glb.column(p["indices"])[:, 0], glb.column(p["attributes"]["_FEATURE_ID_0"])[:, 0]
    corners[ids[corners] == ids[corners[0]]] = corners[0]


def _redrawn(glb: Glb) -> None:
    for mesh in glb.json["meshes"]:
        mesh["primitives"] += mesh["primitives"]


def _lent(glb: Glb) -> None:
    """The first feature's corners given to the second: the first is not drawn."""
    for p in glb.primitives:
        ids = glb.column(p["attributes"]["_FEATURE_ID_0"])
        ids[ids == 0] = 1


def _better(files: Files) -> None:
    """The root's error is told as that of the largest below it."""
    document = json.loads(files["tileset.json"])
    document["root"]["geometricError"] = max(child["geometricError"] for child in document["root"]["children"])
    files["tileset.json"] = json.dumps(document).encode()


def _astray(files: Files) -> None:
    """What the root draws is not below it any more."""
    document = json.loads(files["tileset.json"])
    document["root"]["children"].pop()
    files["tileset.json"] = json.dumps(document).encode()


def _inside_out(glb: Glb) -> None:
    for p in glb.primitives:
        corners = glb.column(p["indices"])
        corners[:] = corners.copy().reshape(-1, 3)[:, ::-1].reshape(-1, 1)


def _materials(change: Callable[[dict[str, Any]], Any]) -> Callable[[Files], None]:
    return leaf(lambda glb: [change(material) for material in glb.json["materials"]])


def _exchanged(glb: Glb) -> None:
    a, b = glb.primitives[:2]
    a["material"], b["material"] = b["material"], a["material"]


def _at(name: str, key: str, by: float) -> Callable[[Files], None]:
    return tileset(lambda told: told["properties"][name].update({key: told["properties"][name][key] + by}))


def test_the_layer_is_right_as_it_is(built: Built) -> None:
    lake, version, facts = built
    report = check_layer(version, lake, lake.root / "m.3tz", info=facts)
    assert report.ok and facts["tiles"] > 5, report.errors


@pytest.mark.parametrize(("code", "edit"), [
    ("VALUE_WRONG", leaf(_swapped)), ("VALUE_WRONG", leaf(lambda glb: _first_last(glb.values("height", "<f8").reshape(-1, 1)))), ("VALUE_WRONG", leaf(_digit)),
    ("VALUE_WRONG", leaf(lambda glb: glb.values("old").__setitem__(0, glb.values("old")[0] ^ 1))),
    ("VALUE_WRONG", leaf(lambda glb: glb.values("floors", "<i4").__iadd__(1))),
    ("STATISTICS_WRONG", _at("height", "max", 1)), ("STATISTICS_WRONG", _at("floors", "min", -1)), ("STATISTICS_WRONG", _at("floors", "mean", 0.01)),
    ("STATISTICS_MISSING", _unstated), ("STATISTICS_WRONG", _at("width", "sum", 0.5)), ("STATISTICS_WRONG", tileset(lambda told: told.update(count=COUNT + 1))),
    ("STATISTICS_WRONG", tileset(lambda told: told["properties"]["kind"].update(occurrences={"House": 2 * COUNT // 3, "Shed": COUNT // 3}))),
    ("SURFACE_MISSING", leaf(_dropped)), ("FACES_TURNED", leaf(_turned)), ("NORMALS_TURNED", leaf(_inside_out)),
    ("NORMALS_TURNED", leaf(lambda glb: [np.negative(rows, out=rows) for p in glb.primitives for rows in [glb.column(p["attributes"]["NORMAL"])]])),
    ("COLOUR_WRONG", leaf(_exchanged)), ("COLOUR_WRONG", _materials(lambda m: m.pop("alphaMode", None))), ("COLOUR_WRONG", _materials(lambda m: m.update(doubleSided=True))),
    ("COLOUR_WRONG", _materials(lambda m: m["pbrMetallicRoughness"]["baseColorFactor"].__setitem__(1, 0.5))),
    ("COLOUR_WRONG", leaf(lambda glb: [p.pop("material") for p in glb.primitives])),
    ("COARSE_OFF", inner(_exchanged_ids)), ("COARSE_OFF", inner(_moved)), ("COARSE_OFF", inner(_gone)), ("COARSE_OFF", _better), ("COARSE_MISSING", inner(_lent)),
    ("COARSE_ASTRAY", _astray), ("COARSE_TURNED", inner(_turned)), ("COARSE_TURNED", inner(_dropped)), ("COARSE_TURNED", inner(_all_turned)), ("COARSE_TWICE", inner(_redrawn)),
    ("COARSE_COLOUR", inner(_exchanged)), ("COARSE_COLOUR", inner(lambda glb: [p.pop("material") for p in glb.primitives])),
    ("VALUE_MISSING", leaf(_column_gone)), ("VALUE_MISSING", inner(_column_gone)), ("VALUE_MISSING", leaf(lambda glb: glb.table.pop("rare"))),
    ("VALUE_WRONG", inner(_swapped)), ("VALUE_WRONG", inner(_digit)),
    ("VALUE_WRONG", inner(lambda glb: _first_last(glb.values("height", "<f8").reshape(-1, 1)))),
])  # fmt: skip
def test_a_mutant_is_named(built: Built, code: str, edit: Callable[[Files], None]) -> None:
    lake, version, facts = built
    report = check_layer(version, lake, rewritten(lake.root / "m.3tz", edit), info=facts)
    assert code in report.codes(), report.findings[:3]


# --- right layers that were called wrong -------------------------------------------------------------------------


def _one(lake: Lake, shapes: list[tuple[np.ndarray, np.ndarray]], **columns: Any) -> LayerVersion:
    each, at = np.arange(len(shapes), dtype=np.int32), np.array([405_000.0, 2_498_000.0, 12.0])
    vertices, faces = [v + at for v, _ in shapes], [f for _, f in shapes]
    return write_version(lake, "one", "mesh", [Mesh(
        Reference("EPSG:4547", "EPSG:4979"), pa.array([f"f{k}" for k in each]), pa.table({"kind": ["x"] * len(each), **columns}), np.concatenate(vertices),
        np.concatenate(faces).astype(np.int32), np.zeros(sum(map(len, faces)), np.int32), np.cumsum([0, *map(len, vertices)]), np.cumsum([0, *map(len, faces)]),
        each, each, np.repeat(np.eye(4)[None], len(each), 0),
    )], ReadReport("one"), provenance={})  # fmt: skip


@pytest.mark.parametrize("side", [-1, 1])
def test_a_feature_whose_corners_are_all_in_one_of_its_tiles(lake: Lake, side: int) -> None:
    """A box and a beady ornament of triangles too small to count, in several tiles: the one without the box was told to miss it, if it came last."""
    box, ball = trimesh.creation.box((2, 2, 2)), trimesh.creation.icosphere(4, 0.3)
    shape = np.concatenate([box.vertices, ball.vertices + np.array([side * 40.0, side * 40.0, 0])]), np.concatenate([box.faces, ball.faces + len(box.vertices)])
    version = _one(lake, [shape, (box.vertices + np.array([0, 90.0, 0]), box.faces)])
    facts = tiler.tile(version, TileJob(lake, lake.root / "o.3tz", tiler.Options(budget=1000), None, 1))
    report = check_layer(version, lake, lake.root / "o.3tz", info=facts)
    assert facts["tiles"] > 3 and report.ok, report.errors


def test_a_tile_of_nothing_but_empty_texts_is_right(lake: Lake) -> None:
    """Elsewhere the column has nulls: the tileset's schema says what stands for them, the tile's that all of its rows are \"\"."""
    ball = trimesh.creation.icosphere(3, 5.0)
    version = _one(lake, [(ball.vertices + np.array([40.0 * k, 0, 0]), ball.faces) for k in range(40)], end=[""] * 20 + [None if k % 2 else f"{k}年" for k in range(20)])
    facts = tiler.tile(version, TileJob(lake, lake.root / "o.3tz", tiler.Options(budget=3000), None, 1))
    report = check_layer(version, lake, lake.root / "o.3tz", info=facts)
    assert facts["tiles"] > 8 and report.ok, report.errors


# --- textures ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def walls_built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """Walls, each with an image of its own: plain but for some noise, of very different colours."""
    lake, rng = Lake(tmp_path_factory.mktemp("textures")), np.random.default_rng(5)
    images = []
    for color in ((200, 40, 40), (40, 180, 60), (50, 60, 210), (230, 220, 90)):
        pixels = np.clip(np.array(color) + rng.normal(0, 12, (64, 64, 3)), 0, 255).astype(np.uint8)
        pixels[:, 32:] //= 2
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "PNG")
        images.append(file.getvalue())
    version = write_version(lake, "w", "mesh", [walls(images, [FULL] * 4)], ReadReport("w"), provenance={})
    return lake, version, tiler.tile(version, TileJob(lake, lake.root / "w.3tz", tiler.Options(compression="none", textures="png"), None, 1))


def _picture(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Files], None]:
    """Change the pixels of the first image; what is new lies behind the others."""

    def edit(glb: Glb) -> None:
        view = glb.json["bufferViews"][glb.json["images"][0]["bufferView"]]
        first = view.get("byteOffset", 0)
        file = io.BytesIO()
        Image.fromarray(change(np.asarray(Image.open(io.BytesIO(bytes(glb.body[first : first + view["byteLength"]])))))).save(file, "PNG")
        view |= {"byteOffset": len(glb.body), "byteLength": len(file.getvalue())}
        glb.body += file.getvalue() + bytes(-len(file.getvalue()) % 4)
        glb.json["buffers"][0]["byteLength"] = len(glb.body)

    return leaf(edit)


def _half(glb: Glb) -> None:
    """All coordinates moved, so that walls show what belongs to others."""
    for p in glb.primitives:
        uv = glb.column(p["attributes"]["TEXCOORD_0"])
        uv[:] = uv[::-1].copy()


def test_textures_are_right_as_they_are(walls_built: Built) -> None:
    lake, version, facts = walls_built
    assert check_layer(version, lake, lake.root / "w.3tz", info=facts).ok


@pytest.mark.parametrize("edit", [_picture(lambda pixels: pixels // 2), _picture(lambda pixels: pixels[::-1, ::-1].copy()), _picture(lambda pixels: pixels[:, :, ::-1].copy()), leaf(_half)])
def test_another_texture_is_named(walls_built: Built, edit: Callable[[Files], None]) -> None:
    lake, version, facts = walls_built
    assert "TEXTURE_WRONG" in check_layer(version, lake, rewritten(lake.root / "w.3tz", edit), info=facts).codes()
