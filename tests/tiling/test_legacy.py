"""3D Tiles 1.0 output: read back by py3dtiles and by this test, against the 1.1 tiles it was made from."""

from __future__ import annotations

import io
import json
import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import shapely
from PIL import Image
from scipy.spatial import cKDTree

from tests.ingest_gis.conftest import write_las
from tests.points.conftest import Tiled
from tests.points.conftest import tiled as tiled  # noqa: PLC0414 - the fixture
from tiling.blocks import tiler as blocks
from tiling.check import Report as CheckReport
from tiling.check import Where, check_tileset, load_model
from tiling.encoding.drawables import Primitive, Surface
from tiling.encoding.gltf import glb
from tiling.encoding.metadata import schema_of
from tiling.legacy.converter import b3dm, convert
from tiling.legacy.glb import _plain_picture
from twin.archive import Archive, ArchiveWriter
from twin.errors import BadTileset
from twin.lake import Lake
from twin.model import Features, Reference, Report
from twin.parts import write_version
from twin.registry import TileJob

sys.path[:0] = [str(Path(__file__).parent)]
from tiling_helpers import assert_valid, decoded  # noqa: E402

pytest.importorskip("py3dtiles")
from py3dtiles.tileset import TileSet  # noqa: E402
from py3dtiles.tileset.content import B3dm, Pnts  # noqa: E402

RNG = np.random.default_rng(3)
X, Y = 405_000.0, 2_498_000.0


@pytest.fixture
def houses(lake: Lake, tmp_path: Path) -> Path:
    count = 400
    places = RNG.uniform(-2500, 2500, (count, 2)) + np.array([X, Y])
    shapes = [shapely.affinity.rotate(shapely.box(x, y, x + 17.3, y + 9.8), float(a)) for (x, y), a in zip(places, RNG.uniform(0, 90, count), strict=True)]
    table = pa.table({
        "height": RNG.uniform(3, 90, count), "名称": [None if i % 7 == 0 else f"楼{i}" for i in range(count)], "empty": [""] * count,
        "use": [["住宅", "商业", "学校"][i % 3] for i in range(count)], "floors": pa.array([None if i % 5 == 0 else i % 30 for i in range(count)], pa.int32()),
        "big": pa.array([2**62 + i for i in range(count)], pa.int64()), "old": [None if i % 4 == 0 else i % 2 == 0 for i in range(count)],
        "years": [[1990 + k for k in range(i % 3)] for i in range(count)],
    })  # fmt: skip
    batch = Features(Reference("EPSG:4547"), pa.array([f"b{i}" for i in range(count)]), np.array(shapes, object), table)
    version = write_version(lake, "houses", "blocks", [batch], Report("h"), provenance={}, style={"height": "height"})
    out = tmp_path / "houses.3tz"
    blocks.tile(version, TileJob(lake, out, blocks.Options(ground=5.0, budget=1000)))
    return out


def split(data: bytes) -> tuple[dict[str, Any], bytes, dict[str, Any], bytes, bytes]:
    """Feature table, its binary, batch table, its binary, body; from the standard's header alone."""
    _, version, length, *sizes = struct.unpack_from("<4s6I", data)
    assert (version, length) == (1, len(data))
    parts, at = [], 28
    for size in sizes:
        parts.append(data[at : at + size])
        at += size
        assert at % 8 == 0
    return json.loads(parts[0]), parts[1], json.loads(parts[2] or b"{}"), parts[3], data[at:]


def test_blocks_become_b3dm_with_all_that_they_said(houses: Path, tmp_path: Path) -> None:
    folder = tmp_path / "old"
    with Archive(houses) as archive:
        written = convert(archive, folder)
    assert written == sum(1 for p in folder.rglob("*") if p.is_file())
    report = check_tileset(folder)
    assert not report.findings, report.findings[:3]
    document = json.loads((folder / "tileset.json").read_text())
    assert document["asset"]["version"] == "1.0"
    assert not {"schema", "statistics", "groups", "extensionsUsed"} & document.keys()
    low_high = document["properties"]["height"]
    source = {name: (triangles, row) for name, triangles, _, row in decoded(houses)}
    assert (low_high["minimum"], low_high["maximum"]) == (min(r["height"] for _, r in source.values()), max(r["height"] for _, r in source.values()))
    seen = set()
    tileset = TileSet.from_file(folder / "tileset.json")
    stack = [(tileset.root_tile, np.eye(4))]
    while stack:
        tile, above = stack.pop()
        matrix = above @ tile.transform
        stack += [(child, matrix) for child in tile.children]
        if not tile.has_content():
            continue
        content = tile.get_or_fetch_content(folder)
        assert isinstance(content, B3dm)
        _, _, batch, binary, body = split((folder / tile.content_uri).read_bytes())
        assert_plain(body)
        gltf = content.body.gltf
        table = content.body.batch_table
        ids = content.get_extra_field("batchid").ravel().astype(int)
        local = content.get_vertices() * np.array(gltf.nodes[0].scale or [1, 1, 1]) + np.array(gltf.nodes[0].translation)
        world = np.column_stack([local[:, 0], -local[:, 2], local[:, 1]]) @ matrix[:3, :3].T + matrix[:3, 3]
        heights = table.get_binary_property("height")
        if "mass" in Path(tile.content_uri).parts:
            assert set(batch) == {"buildings", "area", "height"}
            continue
        assert batch["height"]["componentType"] == "DOUBLE"
        assert binary
        for row, name in enumerate(table.header.data["id"]):
            triangles, expected = source[name]
            corners = np.unique(np.round(triangles.reshape(-1, 3), 5), axis=0)
            assert np.allclose(np.unique(np.round(world[ids == row], 5), axis=0), corners, atol=2e-5)
            assert heights[row] == expected["height"]
            for column in ("名称", "use", "empty", "floors", "old", "years"):
                known = next((v for k, v in expected.items() if k == column or (column == "名称" and k not in batch)), None)
                got = table.header.data[column][row] if column in table.header.data else None
                if got is None and isinstance(known, int | float | np.number):
                    assert abs(float(known)) >= 127, column  # the tile's noData, an extreme of its type, is null
                    continue
                assert got == (known.tolist() if isinstance(known, np.ndarray) else known), column
            assert table.header.data["big"][row] == str(expected["big"])
            seen.add(name)
    assert seen == source.keys()


def assert_plain(body: bytes) -> None:
    document = json.loads(body[20 : 20 + struct.unpack_from("<I", body, 12)[0]])
    assert not document.get("extensionsRequired")
    assert set(document.get("extensionsUsed", ())) <= {"KHR_materials_unlit"}
    assert not any("extensions" in v for v in document["bufferViews"])
    assert_valid(body)


def test_points_become_pnts(tmp_path: Path, tiled: Any) -> None:
    result: Tiled = tiled(write_las(tmp_path / "c.las", 30_000), {"crs": "EPSG:32650", "vertical": "EGM96"}, points_per_tile=4_000)
    folder = tmp_path / "old"
    with Archive(result.path) as archive:
        convert(archive, folder)
    report = check_tileset(folder)
    assert not report.findings, report.findings[:3]
    assert report.vertices == 30_000
    extras = json.loads((folder / "tileset.json").read_text())["asset"]["extras"]
    assert extras["classes"]["2"]["class_en"] == "ground"
    for tile, _, columns, _, _ in result.tiles():
        path = folder / (tile["content"]["uri"][:-4] + ".pnts")
        features, *_ = split(path.read_bytes())
        content = Pnts.from_array(np.frombuffer(path.read_bytes(), np.uint8))
        got = content.get_vertices().astype(np.float64) + features["RTC_CENTER"]
        assert np.abs(got - columns["POSITION"]).max() < 1e-9, "the lattice is exact in float32"
        assert np.array_equal(content.get_extra_field("intensity"), columns["_INTENSITY"][:, 0])
        linear = columns["COLOR_0"][:, :3] / 255
        srgb = np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055) * 255
        assert np.abs(content.get_colors().astype(float) - srgb).max() <= 0.51
        classes = content.get_extra_field("classification")
        assert set(classes.tolist()) <= {int(k) for k in extras["classes"]}


def plate(**more: Any) -> Primitive:
    corners = np.array([[0, 0, 0], [3, 0, 0], [3, 2, 0], [0, 2, 0.5]], float)
    return Primitive(corners, np.array([[0, 1, 2], [0, 2, 3]]), np.tile([0.0, 0, 1], (4, 1)), feature_ids=np.array([0, 0, 1, 1]), **more)


def loaded(data: bytes) -> Any:
    report = CheckReport()
    model = load_model(data, lambda uri, where: None, Where(report, "t.glb"))
    assert not report.errors, report.errors
    return model


def test_textures_lose_webp(tmp_path: Path) -> None:
    picture = Image.fromarray(RNG.integers(0, 255, (16, 16, 3), np.uint8))
    out = io.BytesIO()
    picture.save(out, "WEBP", lossless=True)
    table = schema_of("t", pa.table({"id": ["a", "b"]})).encode(pa.table({"id": ["a", "b"]}))
    data = glb([plate(texcoords=RNG.uniform(0, 1, (4, 2)), surface=0)], [Surface(texture=out.getvalue())], table)
    *_, body = split(b3dm(loaded(data)))
    assert_plain(body)
    document = json.loads(body[20 : 20 + struct.unpack_from("<I", body, 12)[0]])
    assert document["images"][0]["mimeType"] == "image/jpeg"
    clear = Image.fromarray(RNG.integers(0, 255, (16, 16, 4), np.uint8), "RGBA")
    out = io.BytesIO()
    clear.save(out, "WEBP", lossless=True, exact=True)
    png, kind = _plain_picture(out.getvalue())
    assert kind == "image/png"
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(png))), np.asarray(clear))
    with pytest.raises(BadTileset, match="neither PNG"):
        _plain_picture(b"not a picture")


def test_instances_are_drawn_one_by_one(tmp_path: Path) -> None:
    """A glb with EXT_mesh_gpu_instancing and EXT_instance_features, written here by hand."""
    table = schema_of("t", pa.table({"id": ["a", "b", "c"]})).encode(pa.table({"id": ["a", "b", "c"]}))
    data = glb([Primitive(plate().positions, plate().indices)], (), table)
    (length,) = struct.unpack_from("<I", data, 12)
    document, body = json.loads(data[20 : 20 + length]), data[28 + length :]
    shifts = np.array([[0, 0, 0], [10, 0, 0], [0, 5, 20]], "<f4")
    turns = np.array([[0, 0, 0, 1], [0, np.sqrt(0.5), 0, np.sqrt(0.5)], [0, 0, 0, 1]], "<f4")
    ids = np.array([2, 0, 1], "<f4")
    start = len(document["accessors"])
    for column, kind in ((shifts, "VEC3"), (turns, "VEC4"), (ids, "SCALAR")):
        document["bufferViews"].append({"buffer": 0, "byteOffset": len(body), "byteLength": column.nbytes})
        document["accessors"].append({"bufferView": len(document["bufferViews"]) - 1, "componentType": 5126, "count": 3, "type": kind})
        body += column.tobytes()
    document["buffers"][0]["byteLength"] = len(body)
    document["nodes"][0]["extensions"] = {
        "EXT_mesh_gpu_instancing": {"attributes": {"TRANSLATION": start, "ROTATION": start + 1, "_FEATURE_ID_0": start + 2}},
        "EXT_instance_features": {"featureIds": [{"featureCount": 3, "attribute": 0, "propertyTable": 0}]},
    }
    document["extensionsUsed"] = sorted({*document["extensionsUsed"], "EXT_mesh_gpu_instancing", "EXT_instance_features"})
    document.setdefault("extensionsRequired", []).append("EXT_mesh_gpu_instancing")
    from tiling.encoding.gltf import container

    model = loaded(container(document, body))
    expected = model.primitives[0].positions.reshape(3, 4, 3)
    tile = b3dm(model)
    *_, plain = split(tile)
    assert_plain(plain)
    again = loaded(plain)
    found = {}
    for primitive in again.primitives:
        (row,) = set(primitive.attributes["_BATCHID"].ravel().tolist())
        found[int(row)] = primitive.positions
    for number, row in enumerate([2, 0, 1]):
        assert np.allclose(found[row], expected[number], atol=1e-5)


def test_what_1_0_cannot_say_is_refused_before_anything_is_written(tmp_path: Path, lake: Lake) -> None:
    box = {"box": [0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1]}
    for number, (extra, says) in enumerate((({"implicitTiling": {}}, "implicit"), ({"contents": []}, "contents"))):
        root = {"boundingVolume": box, "geometricError": 0, "refine": "ADD"} | extra
        path = tmp_path / f"{number}.3tz"
        with ArchiveWriter(path) as writer:
            writer.add("tileset.json", json.dumps({"asset": {"version": "1.1"}, "geometricError": 1, "root": root}).encode())
        with Archive(path) as archive, pytest.raises(BadTileset, match=says):
            convert(archive, tmp_path / "never")
    assert not (tmp_path / "never").exists()


def test_what_is_not_known_is_null_and_columns_keep_their_names() -> None:
    """Of numbers, booleans and lists, with a value to spare or none; float32 too, whose noData JSON writes with more digits."""
    table = pa.table({
        "id": ["a", "b", "c"], "楼层": pa.array([1, None, 3], pa.int64()), "h": pa.array([1.5, None, 3]), "f": pa.array([1.5, None, 3], pa.float32()),
        "flag": [True, None, False], "three": pa.array([[1.0, 2, 3], None, [0.0, 0, 0]], pa.list_(pa.float64(), 3)), "flags": [[True], None, []],
        "any": pa.array([[1.5], None, []], pa.list_(pa.float32())), "big": pa.array([(1 << 63) - 1, None, -(1 << 63)], pa.int64()),
    })  # fmt: skip
    _, _, batch, batch_body, _ = split(b3dm(loaded(glb([Primitive(np.zeros((3, 3)), feature_ids=np.arange(3))], (), schema_of("t", table).encode(table)))))
    expected = table.to_pydict() | {"flag": ["true", None, "false"], "big": [str((1 << 63) - 1), None, str(-(1 << 63))]}
    assert (batch, batch_body) == (expected, b"")


def test_implicit_tiling_is_written_out(lake: Lake, tmp_path: Path) -> None:
    """Over several subtrees: the tiles, errors and vertices of the implicit tileset, read by what knows no subtrees; every tile inside its parent."""
    shapes = [shapely.box(x, y, x + 8, y + 8) for x, y in RNG.uniform(0, 900, (300, 2)) + np.array([X, Y])]
    batch = Features(Reference("EPSG:4547", "EPSG:4979"), pa.array([f"b{i}" for i in range(300)]), np.array(shapes, object), pa.table({"height": RNG.uniform(3, 30, 300)}))
    version = write_version(lake, "i", "blocks", [batch], Report("i"), provenance={}, style={"height": "height"})
    out = tmp_path / "i.3tz"
    blocks.tile(version, TileJob(lake, out, blocks.Options(ground=3.0, budget=400, subdivision="implicit")))
    with Archive(out) as archive:
        subtrees = [name for name in archive.names() if name.endswith(".subtree")]
        convert(archive, tmp_path / "old")
    assert len(subtrees) > 1
    old, new = check_tileset(tmp_path / "old"), check_tileset(out)
    assert not old.findings, old.findings[:3]
    assert (old.tiles, old.contents, old.vertices) == (new.tiles, new.contents, new.vertices)
    document = json.loads((tmp_path / "old/tileset.json").read_text())
    assert document["asset"]["version"] == "1.0"
    assert not {"schema", "groups", "statistics"} & document.keys()
    files, stack = [], [document["root"]]
    while stack:
        tile = stack.pop()
        assert not {"implicitTiling", "metadata"} & tile.keys()
        assert all(child["geometricError"] <= tile["geometricError"] for child in tile.get("children", ()))
        stack += tile.get("children", [])
        files += [tile["content"]["uri"]] if "content" in tile else []
    assert sorted(files) == sorted(p.relative_to(tmp_path / "old").as_posix() for p in (tmp_path / "old").rglob("*.b3dm"))


def test_files_of_others_are_kept_and_terrain_is_left_out(houses: Path, tmp_path: Path) -> None:
    mixed = tmp_path / "mixed.3tz"
    with Archive(houses) as source, ArchiveWriter(mixed) as writer:
        for name in source.names():
            writer.add_packed(name, source.packed(name))
        for name, data in {"old/a.b3dm": b"b3dm-bytes", "layer.json": b"{}", "0/0/0.terrain": b"t", "about.json": b'{"a":1}'}.items():
            writer.add(name, data)
    with Archive(mixed) as archive:
        convert(archive, tmp_path / "out")
    assert (tmp_path / "out/old/a.b3dm").read_bytes() == b"b3dm-bytes"
    assert (tmp_path / "out/about.json").is_file()
    assert not list((tmp_path / "out").rglob("*.terrain"))
    assert not (tmp_path / "out/layer.json").exists()


def test_meshes_of_the_tiler_become_b3dm(lake: Lake, tmp_path: Path) -> None:
    """Levels of detail, parts of tiles, replacing refinement: the leaves hold every element, in its place to 0.1 mm."""
    import trimesh

    from tiling.meshes import tiler as meshes
    from twin.model import Material, Mesh

    shape = trimesh.creation.icosphere(2, 2.0)
    count = 60
    places = np.tile(np.eye(4), (count, 1, 1))
    places[:, :3, 3] = RNG.uniform(0, 90, (count, 3)) + np.array([X, Y, 12])
    mesh = Mesh(Reference("EPSG:4547", "EPSG:4979"), pa.array([f"e{i}" for i in range(count)]), pa.table({"n": list(range(count))}), shape.vertices,
                shape.faces.astype(np.int32), np.zeros(len(shape.faces), np.int32), np.array([0, len(shape.vertices)]), np.array([0, len(shape.faces)]),
                np.zeros(count, np.int32), np.arange(count, dtype=np.int32), places, (Material("glass", (0.5, 0.6, 0.9, 0.4), double_sided=True),))  # fmt: skip
    version = write_version(lake, "m", "mesh", [mesh], Report("m"), provenance={})
    out = tmp_path / "m.3tz"
    meshes.tile(version, TileJob(lake, out, meshes.Options(budget=3000)))
    with Archive(out) as archive:
        convert(archive, tmp_path / "old")
        contents = [n for n in archive.names() if n.endswith(".glb")]
    old, new = check_tileset(tmp_path / "old"), check_tileset(out)
    assert not old.findings, old.findings[:3]
    assert (old.contents, old.vertices) == (new.contents, new.vertices) == (len(contents), new.vertices)
    with Archive(out) as archive:
        for name in contents:
            *_, body = split((tmp_path / "old" / f"{name[:-4]}.b3dm").read_bytes())
            assert_plain(body)
            mine, theirs = loaded(body), loaded(archive.read(name))
            drawn, expected = (np.concatenate([p.positions for p in m.primitives]) for m in (mine, theirs))
            assert len(drawn) == len(expected)  # instances are drawn one by one
            assert cKDTree(expected).query(drawn)[0].max() < 1e-4
            assert cKDTree(drawn).query(expected)[0].max() < 1e-4
            assert sum(len(p.triangles()) for p in mine.primitives) == sum(len(p.triangles()) * p.instances for p in theirs.primitives)
            batch = {int(i) for p in mine.primitives for i in np.unique(p.attributes["_BATCHID"])}
            assert batch == {int(i) for p in theirs.primitives for f in (*p.feature_ids[:1], *p.instance_feature_ids[:1]) for i in np.unique(f.ids)}
