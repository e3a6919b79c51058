"""Tilesets as other programs write, pack and name them: archives by any name, files under other names, worlds, other bodies, models beside contents."""

from __future__ import annotations

import io
import json
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pyproj
import pytest
import trimesh
from PIL import Image

from ingest_bim.tilesets import reader as adopted
from tests.ingest_bim.test_adopted import PLACE, files, take, tileset
from twin import intake
from twin.errors import BadInput, BadOption, MissingReference, UnreadableSource
from twin.lake import Lake
from twin.registry import parse_options

BOX = {"boundingVolume": {"box": [0, 0, 0, 5, 0, 0, 0, 5, 0, 0, 0, 5]}, "geometricError": 0}
EARTH = {"box": [0, 0, 0, 7e6, 0, 0, 0, 7e6, 0, 0, 0, 7e6]}


def pack(path: Path, source: Path, folder: str = "", names: dict[bytes, bytes] | None = None) -> Path:
    """A tileset's folder as a ZIP; names in it are changed behind the back of zipfile, as programs write them that know no UTF-8."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for file in sorted(source.rglob("*")):
            if file.is_file():
                archive.write(file, folder + file.relative_to(source).as_posix())
        archive.writestr("__MACOSX/._tileset.json", b"\0\5\x16\7")
    changed = data.getvalue()
    for old, new in (names or {}).items():
        assert len(old) == len(new)
        changed = changed.replace(old, new)
    path.write_bytes(changed)
    return path


@pytest.mark.parametrize("suffix", ["zip", "3tz"])
@pytest.mark.parametrize("folder", ["", "out/tiles/"])
def test_packed_with_or_without_a_folder(tmp_path: Path, lake: Lake, suffix: str, folder: str) -> None:
    """A ZIP of a tileset is a tileset, though meshes lie in it (the reader of meshes took one of them)."""
    inner = tileset(tmp_path / "in")
    (tmp_path / "in/sub").mkdir()
    (tmp_path / "in/sub/tileset.json").write_text(inner.read_text())
    packed = pack(tmp_path / f"a.{suffix}", tmp_path / "in", folder)
    assert intake.choose_reader(packed, None, {}).name == "tileset"
    version, _ = take(lake, packed)
    assert files(lake, version) == {name: (tmp_path / "in" / name).read_bytes() for name in ("tileset.json", "tiles/a.glb")}


def test_archives_without_a_tileset_or_with_several(tmp_path: Path, lake: Lake) -> None:
    tileset(tmp_path / "in/a")
    tileset(tmp_path / "in/b")
    with pytest.raises(UnreadableSource, match=r"2 tilesets: a/tileset\.json, b/tileset\.json"):
        take(lake, pack(tmp_path / "two.zip", tmp_path / "in"))
    (tmp_path / "none").mkdir()
    (tmp_path / "none/a.glb").write_bytes(b"glTF")
    none = pack(tmp_path / "none.zip", tmp_path / "none")
    assert not adopted.detect(none, parse_options(adopted.Options, {}, "t"))
    with pytest.raises(UnreadableSource, match=r"holds no tileset\.json"):
        take(lake, pack(tmp_path / "none.3tz", tmp_path / "none"))
    with pytest.raises(BadInput) as folder:
        intake.ingest_params(tmp_path / "in/a", "t")
    assert "tileset.json" in str(folder.value.remedy)


def test_names_in_the_code_page_of_a_chinese_windows(tmp_path: Path, lake: Lake) -> None:
    tileset(tmp_path / "in", content="XXXX/瓦片一.glb")
    (tmp_path / "in/XXXX").mkdir()
    (tmp_path / "in/tiles/a.glb").rename(tmp_path / "in/XXXX/YYYYYY.glb")
    whole = (tmp_path / "in/tileset.json").read_text().replace("XXXX", "数据")
    (tmp_path / "in/tileset.json").write_text(whole, encoding="utf-8")
    packed = pack(tmp_path / "a.zip", tmp_path / "in", names={b"XXXX": "数据".encode("gbk"), b"YYYYYY": "瓦片一".encode("gbk")})
    version, report = take(lake, packed)
    assert set(files(lake, version)) == {"tileset.json", "数据/瓦片一.glb"} and not report.counts


@pytest.mark.parametrize(("uri", "stored"), [("a%20b.glb", "a%20b.glb"), ("Tiles/A.GLB", "tiles/a.glb"), ("图%E5%B1%82.glb", "%E5%9B%BE%E5%B1%82.glb")])
def test_files_under_other_names_are_found(tmp_path: Path, lake: Lake, uri: str, stored: str) -> None:
    """As a Windows forgives capitals, and copies fetched from servers keep escapes: the file is kept by the name that clients ask for."""
    path = tileset(tmp_path / "in", content=uri)
    model = (tmp_path / "in/tiles/a.glb").read_bytes()
    (tmp_path / "in/tiles/a.glb").unlink()
    (tmp_path / "in" / stored).write_bytes(model)
    version, report = take(lake, path)
    asked = {"a%20b.glb": "a b.glb", "Tiles/A.GLB": "Tiles/A.GLB"}.get(uri, "图层.glb")
    assert files(lake, version)[asked] == model and report.counts == {"repaired": 1} and stored in report.notes[0].reason


def test_names_that_no_file_has(tmp_path: Path, lake: Lake) -> None:
    uris = ("http://[x/a.glb", "a\0.glb", "a" * 5000, "tiles")
    _, report = take(lake, tileset(tmp_path / "in", children=[{**BOX, "content": {"uri": uri}} for uri in uris]))
    assert (report.read, report.kept, report.counts) == (5, 1, {"skipped": 4})


def at(longitude: float, content: str) -> dict[str, Any]:
    """A tile of its own frame, turned to nothing: its origin at a place."""
    matrix = np.eye(4)
    matrix[:3, 3] = pyproj.Transformer.from_crs(4979, 4978, always_xy=True).transform(longitude, *PLACE[1:])
    return {**BOX, "transform": list(map(float, matrix.T.ravel())), "content": {"uri": content}}


@pytest.mark.parametrize("volume", [EARTH, {"region": [-np.pi, -np.pi / 2, np.pi, np.pi / 2, -500, 9000]}, {"sphere": [0, 0, 0, 6.5e6]}, {"extensions": {"3DTILES_bounding_volume_S2": {"token": "3"}}}])
def test_a_root_around_the_earth_stands_where_its_tiles_do(tmp_path: Path, lake: Lake, volume: dict[str, Any]) -> None:
    """As tilesets of the world have it: the layer's box is that of what is there."""
    half = {**BOX, "boundingVolume": {"box": [3e6, 0, 0, 3e6, 0, 0, 0, 6e6, 0, 0, 0, 6e6]}, "children": [at(112.6, "tiles/a.glb"), at(112.7, "tiles/a.glb")]}
    path = tileset(tmp_path / "in", transform=np.eye(4).ravel().tolist(), boundingVolume=volume, geometricError=1e6, children=[half])
    version, _ = take(lake, path)
    box = version.parts[0].bounds
    assert box is not None
    assert (box.minx, box.maxx, box.miny) == pytest.approx((112.6, 112.7, 22.5), abs=2e-4)


def test_a_world_whose_tiles_stand_in_other_files_is_the_world(tmp_path: Path, lake: Lake) -> None:
    version, _ = take(lake, tileset(tmp_path / "in", transform=np.eye(4).ravel().tolist(), boundingVolume=EARTH))
    box = version.parts[0].bounds
    assert box is not None
    assert (box.minx, box.miny, box.maxx, box.maxy) == (-180, -90, 180, 90)


def test_places_that_are_none(tmp_path: Path, lake: Lake) -> None:
    with pytest.raises(BadOption, match="stands on the earth already"):
        take(lake, tileset(tmp_path / "a"), anchor_lonlat="112.6,22.5,30")
    with pytest.raises(UnreadableSource) as degrees:
        take(lake, tileset(tmp_path / "b", boundingVolume={"region": [112.5, 22.4, 112.7, 22.6, 0, 100]}))
    assert "may be degrees" in str(degrees.value.remedy)
    path = tileset(tmp_path / "c")
    moon = {"extensions": {"3DTILES_ellipsoid": {"body": "Moon", "radii": [1737400, 1737400, 1737400]}}}
    path.write_text(json.dumps(json.loads(path.read_text()) | moon))
    with pytest.raises(MissingReference, match="Moon"):
        take(lake, path)
    earth = {"extensions": {"3DTILES_ellipsoid": {"body": "Earth", "radii": [6378137, 6378137, 6356752.314]}}}
    path.write_text(json.dumps(json.loads(path.read_text()) | earth))
    assert take(lake, path)[1].kept == 1


def instances(uri: str) -> bytes:
    """An i3dm of one copy of a model that lies beside it (3D Tiles 1.0, 10.3)."""
    table = b'{"INSTANCES_LENGTH":1,"POSITION":{"byteOffset":0}}'
    table += b" " * (-(32 + len(table)) % 8)
    return b"i3dm" + struct.pack("<7I", 1, 32 + len(table) + 16 + len(uri), len(table), 16, 0, 0, 0) + table + bytes(16) + uri.encode()


def test_what_lies_beside_a_content_is_no_content(tmp_path: Path, lake: Lake) -> None:
    """Buffers and images by any name, models of instances: copied, not counted, and nothing is wrong with their first bytes. Instances look as their models do."""
    document = {"asset": {"version": "2.0"}, "buffers": [{"uri": "geometry.dat", "byteLength": 12}], "images": [{"uri": "tex/one.tif"}]}
    image = trimesh.visual.TextureVisuals(uv=np.zeros((8, 2)), image=Image.new("RGB", (4, 4), (200, 10, 10)))
    tree = trimesh.creation.box((1, 1, 1))
    tree.visual = image
    path = tileset(tmp_path / "in", content="m.gltf", children=[{**BOX, "content": {"uri": f"{i}.i3dm"}} for i in range(3)])
    for name, data in {"m.gltf": json.dumps(document).encode(), "geometry.dat": bytes(12), "tex/one.tif": b"II*\0", "models/tree.glb": tree.export(file_type="glb")}.items():
        (tmp_path / "in" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "in" / name).write_bytes(data)
    for i in range(3):
        (tmp_path / f"in/{i}.i3dm").write_bytes(instances("models/tree.glb"))
    version, report = take(lake, path)
    assert report.kept == 4 and report.facts["content"] == {"models": 1, "textured": 3} and not report.counts
    assert {"geometry.dat", "tex/one.tif", "models/tree.glb"} <= files(lake, version).keys()


@pytest.mark.parametrize(("root", "said"), [
    ({"boundingVolume": {"region": [1, 2, 3]}}, "root's region has 3 numbers and must have 6"), ({"boundingVolume": {"box": "far"}}, "root's box far is no list of 12 numbers"),
    ({"boundingVolume": {"sphere": [1, 2, 3, 4, 5]}}, "root's sphere has 5 numbers and must have 4"), ({"transform": [1, 0]}, "root's transform has 2 numbers and must have 16"),
])  # fmt: skip
def test_volumes_that_are_none_are_told_by_their_numbers(tmp_path: Path, lake: Lake, root: dict[str, Any], said: str) -> None:
    path = tileset(tmp_path / "in")
    document = json.loads(path.read_text())
    document["root"] |= root
    path.write_text(json.dumps(document))
    with pytest.raises(UnreadableSource, match=said):
        take(lake, path)
