"""What `twin diff` says of tilesets whose differences are known."""

from __future__ import annotations

import gzip
import json
import shutil
import struct
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import shapely
import trimesh

from tiling.blocks import tiler as blocks
from tiling.check import diff_tilesets, sides, walk
from tiling.legacy.converter import convert
from twin import intake, tasks
from twin.archive import Archive, ArchiveWriter
from twin.archive_set import ArchiveSet
from twin.bench.cities import generate_buildings
from twin.city import City
from twin.diffing import as_text
from twin.errors import BadTileset
from twin.lake import Lake
from twin.model import Features, Report
from twin.parts import write_version
from twin.registry import TileJob
from twin.settings import Settings

sys.path.insert(0, str(Path(__file__).parent))
from test_mesh import GLASS, RED
from test_mesh_reuse import build, layer, thing


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    (tmp_path / "lake").mkdir()
    return Lake(tmp_path / "lake")


def tiled(lake: Lake, name: str, city: Features, **options: Any) -> Path:
    version = write_version(lake, "b", "blocks", [city], Report("g"), provenance={}, style={"height": "height"})
    out = lake.root.parent / f"{name}.3tz"
    blocks.tile(version, TileJob(lake, out, blocks.Options(ground=0.0, **{"budget": 2000, **options}), None, 1))
    return out


def changed(city: Features, **columns: Any) -> Features:
    """The city with `geometry`, `ids` or attributes replaced."""
    geometry, ids, attributes = columns.pop("geometry", city.geometry), columns.pop("ids", city.ids), city.attributes
    for name, values in columns.items():
        place = attributes.column_names.index(name)
        attributes = attributes.set_column(place, attributes.schema.field(name), pa.array(values, attributes.schema.field(name).type))
    return Features(city.reference, ids, geometry, attributes)


@pytest.fixture(scope="module")
def city() -> Features:
    return next(iter(generate_buildings(400, 3)))


def test_a_tileset_equals_itself(lake: Lake, city: Features) -> None:
    a, b = tiled(lake, "a", city), tiled(lake, "b", city)
    result = diff_tilesets(a, b)
    assert result["equal"]
    assert result["features"] == {"added": [], "removed": [], "changed": [], "same": 400}
    assert result["tiles"]["same"] > 5
    assert not result["problems"]


def test_a_gzipped_tileset_equals_what_was_packed(lake: Lake, city: Features, tmp_path: Path) -> None:
    """Servers of files keep tiles so (3D Tiles allows it): `twin check` and clients read it, tileset.json included."""
    for name in ("plain", "packed"):
        with zipfile.ZipFile(tiled(lake, name, city, compression="none")) as archive:
            archive.extractall(tmp_path / name)
    for path in (tmp_path / "packed").rglob("*"):
        if path.suffix in (".json", ".glb"):
            path.write_bytes(gzip.compress(path.read_bytes()))
    result = diff_tilesets(tmp_path / "plain", tmp_path / "packed")
    assert result["features"] == {"added": [], "removed": [], "changed": [], "same": 400}


def test_other_tiles_of_the_same_features_are_no_change_of_features(lake: Lake, city: Features) -> None:
    """Another budget and no compression: every file differs, no feature does."""
    result = diff_tilesets(tiled(lake, "a", city), tiled(lake, "b", city, budget=700, compression="none"))
    assert not result["equal"]
    assert result["tiles"]["changed"]
    assert result["features"] == {"added": [], "removed": [], "changed": [], "same": 400}


def test_every_change_is_named(lake: Lake, city: Features) -> None:
    ids, geometry = city.ids.to_pylist(), city.geometry.copy()
    ids[7] = "new"
    geometry[20] = shapely.transform(geometry[20], lambda xy: xy + np.array([0.25, 0]))
    geometry[21] = shapely.transform(geometry[21], lambda xy: xy + np.array([0.0004, 0]))  # less than can be told
    heights = city.attributes.column("height").to_pylist()
    heights[30] += 1.5
    names = city.attributes.column("name").to_pylist()
    names[40] = "改名"
    people = city.attributes.column("population").to_pylist()
    people[41] = None if people[41] is not None else 5
    after = changed(city, ids=pa.array(ids), geometry=geometry, height=heights, name=names, population=people)
    result = diff_tilesets(tiled(lake, "a", city), tiled(lake, "b", after))
    found = result["features"]
    old = city.ids.to_pylist()
    assert (found["added"], found["removed"]) == (["new"], [old[7]])
    by_id = {c["id"]: c for c in found["changed"]}
    assert by_id.keys() == {old[20], old[30], old[40], old[41]}
    assert by_id[old[20]]["attributes"] == []
    assert by_id[old[20]]["moved_m"] == pytest.approx(0.25, abs=0.003)
    assert by_id[old[30]]["attributes"] == ["height"]
    assert by_id[old[30]]["moved_m"] == pytest.approx(1.5, abs=0.003)
    assert by_id[old[40]] == {"id": old[40], "attributes": ["name"], "moved_m": None, "recolored": False}
    assert by_id[old[41]] == {"id": old[41], "attributes": ["population"], "moved_m": None, "recolored": False}
    assert found["same"] == 395
    # only the tiles that hold those features differ
    assert 0 < len(result["tiles"]["changed"]) <= 6 < result["tiles"]["same"]


def test_how_nulls_are_stored_is_no_change(lake: Lake, city: Features) -> None:
    """One feature gets a value that makes a column wider, or takes the last null or the last value to spare: the other features' nulls and truth values are what they were."""
    low, high = -(1 << 63), (1 << 63) - 1
    columns = {
        "wide": (pa.int64(), [None if k % 3 else k % 50 for k in range(400)], 1 << 20), "flag": (pa.bool_(), [bool(k % 2) for k in range(400)], None),
        "both": (pa.int64(), [(None, low, high)[k % 3] for k in range(400)], 0), "list": (pa.list_(pa.bool_()), [None if k % 2 else [True, False] for k in range(400)], [True]),
    }  # fmt: skip
    before = after = city.attributes
    for name, (kind, values, other) in columns.items():
        before = before.append_column(name, pa.array(values, kind))
        after = after.append_column(name, pa.array([other if k == 7 else value for k, value in enumerate(values)], kind))
    after = after.set_column(after.column_names.index("both"), "both", pa.array([0 if k == 7 else None if k % 3 == 0 else low + 1 for k in range(400)], pa.int64()))
    before = before.set_column(before.column_names.index("both"), "both", pa.array([high if k == 7 else None if k % 3 == 0 else low if k == 8 else low + 1 for k in range(400)], pa.int64()))
    ids = city.ids.to_pylist()
    result = diff_tilesets(tiled(lake, "a", Features(city.reference, city.ids, city.geometry, before)), tiled(lake, "b", Features(city.reference, city.ids, city.geometry, after)))
    assert {change["id"]: change["attributes"] for change in result["features"]["changed"]} == {ids[7]: ["both", "flag", "list", "wide"], ids[8]: ["both"]}


def test_another_colour_is_named(tmp_path: Path) -> None:
    """Of three bodies one is another red; however the tiles are encoded."""
    tiles = []
    for name, red, compression in (("a", 0.5, "meshopt"), ("b", 0.6, "none"), ("c", 0.6, "meshopt")):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "m.mtl").write_text(f"newmtl m\nKd 0.5 0 0\nnewmtl n\nKd {red} 0 0\n")
        bodies = [f"o t{k}\nusemtl {material}\nv {9 * k} 0 0\nv {9 * k + 8} 0 0\nv {9 * k} 8 0\nv {9 * k} 0 8\n"
                  + "".join(f"f {' '.join(str(4 * k + corner) for corner in face)}\n" for face in ((1, 3, 2), (1, 2, 4), (2, 3, 4), (1, 4, 3))) for k, material in enumerate("mnm")]  # fmt: skip
        (folder / "m.obj").write_text("mtllib m.mtl\n" + "".join(bodies))
        city = City(Settings(folder / "city", workers=1))
        options = {"crs": "EPSG:32650", "vertical": "ellipsoid", "anchor": "500000,2500000,0", "compression": compression}
        tasks.require(tasks.work(city, tasks.submit(city, "ingest", intake.ingest_params(folder / "m.obj", "m", options=options))))
        tiles.append(city.lake.path(city.published("m")[2].archive))
    result = diff_tilesets(tiles[0], tiles[1])
    assert result["features"] == {"added": [], "removed": [], "changed": [{"id": "t1", "attributes": [], "moved_m": None, "recolored": True}], "same": 2}
    assert diff_tilesets(tiles[1], tiles[2])["features"]["same"] == 3
    assert "t1: another colour" in as_text({"a": "a", "b": "b", **result})


def converted(whole: Path, folder: Path) -> Path:
    """As 3D Tiles 1.0."""
    with Archive(whole) as archive:
        convert(ArchiveSet([archive]), folder, lambda fraction, doing: None)
    return folder


def test_what_1_0_says_of_features_is_read(lake: Lake, city: Features, tmp_path: Path) -> None:
    """Of b3dm ids and attributes stand in batch tables: the same layer in both versions is the same, NaN and the largest whole numbers too, and what changed is named."""
    columns = {"数": pa.array([(None, 1 << 62, -(1 << 53), 7)[k % 4] for k in range(400)]), "比": pa.array([(None, float("nan"), 0.1, float("inf"))[k % 4] for k in range(400)]),
               "是": pa.array([(None, True, False)[k % 3] for k in range(400)]), "list": pa.array([None if k % 5 == 0 else [k, (1 << 60) + k] for k in range(400)], pa.list_(pa.int64()))}  # fmt: skip
    attributes = city.attributes
    for name, column in columns.items():
        attributes = attributes.append_column(name, column)
    rich = Features(city.reference, city.ids, city.geometry, attributes)
    whole = tiled(lake, "a", rich)
    old = converted(whole, tmp_path / "old")
    for a, b in ((whole, old), (old, whole)):
        result = diff_tilesets(a, b)
        assert result["features"] == {"added": [], "removed": [], "changed": [], "same": 400}
        assert not result["not_compared"]
    ids, geometry = city.ids.to_pylist(), city.geometry.copy()
    names = [*ids[:7], "new", *ids[8:]]
    geometry[20] = shapely.transform(geometry[20], lambda xy: xy + np.array([0.25, 0]))
    other = changed(rich, ids=pa.array(names), geometry=geometry, 数=[*columns["数"].to_pylist()[:-1], 8])
    for b in (later := tiled(lake, "b", other), converted(later, tmp_path / "later")):
        found = diff_tilesets(old, b)["features"]
        assert (found["added"], found["removed"], found["same"]) == (["new"], [ids[7]], 397)
        assert [(c["id"], c["attributes"], c["moved_m"] and round(c["moved_m"], 2)) for c in found["changed"]] == sorted([(ids[20], [], 0.25), (ids[399], ["数"], None)])


def placed_tile(kind: bytes, glb: bytes, rows: dict[str, Any], places: list[list[float]], ids: list[int] | None = None) -> bytes:
    """An i3dm, alone or within a cmpt."""
    features = {"INSTANCES_LENGTH": len(places), "POSITION": [value for place in places for value in place]} | ({"BATCH_ID": ids} if ids else {})
    texts = [json.dumps(one).encode() for one in (features, rows)]
    texts = [text + b" " * (-len(text) % 8) for text in texts]
    glb += b"\0" * (-len(glb) % 8)
    tile = struct.pack("<4s7I", b"i3dm", 1, 32 + sum(map(len, texts)) + len(glb), len(texts[0]), 0, len(texts[1]), 0, 1) + texts[0] + texts[1] + glb
    return tile if kind == b"i3dm" else struct.pack("<4s3I", b"cmpt", 1, 16 + len(tile), 1) + tile


def test_placed_copies_of_1_0_are_features(tmp_path: Path) -> None:
    """i3dm, alone and in a composite: one copy moves, one has another attribute, one goes, one comes."""
    glb = trimesh.creation.box((1, 2, 3)).export(file_type="glb")
    places = [[10.0 * k, 0, 0] for k in range(4)]
    root = {"geometricError": 0, "boundingVolume": {"sphere": [0, 0, 0, 500]}, "refine": "ADD"}
    for name, kind, ids, heights, at in (("a", b"i3dm", "0123", [1, 2, 3, 4], places), ("b", b"cmpt", "3124", [4, 2.5, 3, 5], [places[3], places[1], [20, 0.5, 0], [40, 0, 0]]),
                                         ("c", b"i3dm", "3210", [4, 3, 2, 1], places)):  # fmt: skip
        folder = tmp_path / name
        folder.mkdir()
        order = [3, 2, 1, 0] if name == "c" else None
        (folder / "x.i3dm").write_bytes(placed_tile(kind, glb, {"ID": list(ids), "height": heights}, at, order))
        (folder / "tileset.json").write_text(json.dumps({"asset": {"version": "1.0"}, "geometricError": 500, "root": root | {"content": {"uri": "x.i3dm"}}}))
    found = diff_tilesets(tmp_path / "a", tmp_path / "b")["features"]
    assert (found["added"], found["removed"], found["same"]) == (["4"], ["0"], 1)
    assert found["changed"] == [{"id": "1", "attributes": ["height"], "moved_m": None, "recolored": False}, {"id": "2", "attributes": [], "moved_m": 0.5, "recolored": False}]
    assert diff_tilesets(tmp_path / "a", tmp_path / "c")["features"]["same"] == 4, "its copies have rows in another order"


def test_whose_ids_are_not_read_has_lost_no_feature(lake: Lake, city: Features, tmp_path: Path) -> None:
    """Batch tables without a column of ids: only files can be compared."""
    whole = tiled(lake, "a", city)
    old = converted(whole, tmp_path / "old")
    for path in old.rglob("*.b3dm"):
        path.write_bytes(path.read_bytes().replace(b'"id"', b'"xx"'))
    result = diff_tilesets(whole, old)
    assert result["features"] is None
    assert result["not_compared"] >= len(list(old.rglob("*.b3dm")))
    assert "only files were compared" in as_text({"a": "a", "b": "b", **result})


def test_contents_that_are_the_same_are_not_decoded(lake: Lake, city: Features, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Of a city of which a few buildings changed only their tiles are decoded; what is said is what decoding all would say, of instances, bodies of several looks and points, too."""
    heights = city.attributes.column("height").to_pylist()
    heights[30] += 1.5
    pairs = [(tiled(lake, "a", city, budget=400), tiled(lake, "b", changed(city, height=heights), budget=400))]
    rng = np.random.default_rng(3)
    rows = {f"e{k}": thing(rng) for k in range(60)}
    other = {id_: row | ({"cost": -1.0} if id_ == "e7" else {}) for id_, row in rows.items()}
    for one, name in ((rows, "c.3tz"), (other, "d.3tz")):
        build(lake, name, layer(one, (RED, GLASS)), budget=500)
    pairs.append((lake.root / "c.3tz", lake.root / "d.3tz"))
    decoded: list[str] = []
    real = walk.load_model
    monkeypatch.setattr(walk, "load_model", lambda data, read, where, up: (decoded.append(where.uri), real(data, read, where, up))[1])
    for a, b in pairs:
        decoded.clear()
        result = diff_tilesets(a, b)
        assert len(result["features"]["changed"]) == 1
        if a == pairs[0][0]:
            assert sorted(decoded) == sorted(2 * result["tiles"]["changed"])
        assert len(decoded) < 2 * result["tiles"]["same"]
        with monkeypatch.context() as all_of_them:
            all_of_them.setattr(sides, "_ids_of", lambda data, where: [])
            assert diff_tilesets(a, b) == result
        assert diff_tilesets(a, a)["features"]["same"] == len(rows if a == pairs[1][0] else heights)


def unpacked(archive: Path, folder: Path) -> Path:
    with Archive(archive) as source:
        for name in source.names():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(source.read(name))
    return folder


def test_the_same_bytes_at_another_place_are_moved_features(lake: Lake, city: Features) -> None:
    a = unpacked(tiled(lake, "a", city), lake.root.parent / "a")
    b = Path(shutil.copytree(a, lake.root.parent / "b"))
    document = json.loads((b / "tileset.json").read_text("utf-8"))
    document["root"]["transform"][14] += 3.0
    (b / "tileset.json").write_text(json.dumps(document), "utf-8")
    result = diff_tilesets(a, b / "tileset.json")
    assert result["entry_changed"]
    assert result["tiles"]["same"] == len(list(a.glob("mass/**/*.glb"))), "masses are no features that could move"
    assert {c["moved_m"] for c in result["features"]["changed"]} == {3.0}
    assert len(result["features"]["changed"]) == 400


def test_a_file_that_lies_about_is_not_drawn(lake: Lake, city: Features) -> None:
    """A leaf is taken out of the tileset, but its file stays: its features are gone."""
    a = unpacked(tiled(lake, "a", city), lake.root.parent / "a")
    b = Path(shutil.copytree(a, lake.root.parent / "b"))
    document = json.loads((b / "tileset.json").read_text("utf-8"))
    tile = document["root"]
    while any("children" in child for child in tile.get("children", ())):
        tile = next(child for child in tile["children"] if "children" in child)
    gone = tile["children"].pop()["content"]["uri"]
    if not tile["children"]:
        del tile["children"]
    (b / "tileset.json").write_text(json.dumps(document), "utf-8")
    result = diff_tilesets(a, b)
    assert result["tiles"]["removed"] == [gone]
    assert result["features"]["removed"]
    assert not result["features"]["changed"]


def test_terrain_is_compared_by_files(tmp_path: Path) -> None:
    paths = []
    for name, last in (("a", b"1"), ("b", b"2")):
        with ArchiveWriter(tmp_path / f"{name}.3tz") as archive:
            archive.add("layer.json", b"{}")
            archive.add("0/0/0.terrain", b"same")
            archive.add("0/1/0.terrain", last)
        paths.append(tmp_path / f"{name}.3tz")
    result = diff_tilesets(*paths)
    assert result["features"] is None
    assert result["tiles"] == {"added": [], "removed": [], "changed": ["0/1/0.terrain"], "same": 1}
    assert not result["entry_changed"]


def test_what_is_no_tileset_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "x.3tz").write_bytes(b"no archive")
    with zipfile.ZipFile(tmp_path / "y.3tz", "w") as archive:
        archive.writestr("readme.txt", "hello")
    (tmp_path / "tileset.json").write_text("[]")
    for name in ("empty", "x.3tz", "y.3tz", "tileset.json", "missing"):
        with pytest.raises(BadTileset, match=name):
            diff_tilesets(tmp_path / name, tmp_path / name)


def test_shapes_with_the_same_corners_differ_by_their_faces() -> None:
    from tiling.check.diff import _distances
    from tiling.check.positions import Feature
    from tiling.check.sides import Drawn, Side

    square = np.array([[0.0, 0, 0], [10, 0, 0], [10, 10, 0], [0, 10, 0]])

    def side(triangles: list[list[int]], move: float = 0.0) -> Side:
        found = Feature(["f"], square + move, np.zeros(4, np.int64), np.array(triangles, np.int64).reshape(-1, 3))
        return Side("s", None, "", apart=[Drawn.of(found)])  # type: ignore[arg-type]

    whole, other, missing = side([[0, 1, 2], [0, 2, 3]]), side([[0, 1, 3], [1, 2, 3]], 0.001), side([[0, 1, 2]])
    assert _distances(whole, other, ["f"], 0.002) == pytest.approx([0.001 * 3**0.5])
    assert np.isinf(_distances(whole, missing, ["f"], 0.002)).all()


def test_a_place_that_is_no_number_is_another_shape(lake: Lake, city: Features, tmp_path: Path) -> None:
    """A damaged transform, as text of a tileset or as what it overflows to: said, not a crash."""
    whole = tiled(lake, "a", city, subdivision="implicit")
    for scale in (1e308, 1e200):
        with Archive(whole) as archive, ArchiveWriter(tmp_path / "b.3tz") as writer:
            for name in archive.names():
                data = archive.read(name)
                if name == "tileset.json":
                    document = json.loads(data)
                    document["root"]["transform"] = [scale, 0, 0, 0, 0, scale, 0, 0, 0, 0, scale, 0, -scale, scale, 0, 1]
                    data = json.dumps(document).encode()
                writer.add(name, data)
        result = diff_tilesets(whole, tmp_path / "b.3tz")
        assert len(result["features"]["changed"]) == 400
        assert result["problems"]["b"]
