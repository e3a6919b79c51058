"""One feature that is very large, and numbers of things that are: what can be held is read, the rest is refused by name, and nothing takes the square of what it should."""

from __future__ import annotations

import json
import struct
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ingest_bim.citymodels import citygml_geometry, citygml_stream, cityjson, cityjson_objects, solids
from ingest_bim.citymodels.cityjson_faces import surfaces_of
from ingest_bim.citymodels.cityjson_header import Header
from ingest_bim.citymodels.cityjson_objects import Document
from ingest_bim.citymodels.faces import flattened
from ingest_bim.meshfiles import nodes, obj
from ingest_bim.meshfiles import reader as meshfile
from ingest_bim.welding import used, weld
from tests.ingest_bim.test_citygml import building, hull, load
from tests.ingest_bim.test_citygml import save as save_gml
from tests.ingest_bim.test_cityjson import document, save
from tests.ingest_bim.test_cityjson import load as load_json
from twin.errors import UnreadableSource
from twin.model import Mesh, Report

PLACE = {"crs": "EPSG:4547", "vertical": "EPSG:5737", "anchor": "450000,2500000", "height": 0}


def read(path: Path) -> tuple[list[Mesh], Report]:
    report = Report()
    return [batch for batch in meshfile.read(path, meshfile.Options(**PLACE), report) if isinstance(batch, Mesh)], report


# --- city models -------------------------------------------------------------------------------------------------


@pytest.mark.timeout(60)
def test_a_long_chain_of_surfaces() -> None:
    """Each was followed up to the end of the chain: hours for a hundred thousand."""
    many = [{"type": "WallSurface", **({"parent": i - 1} if i else {})} for i in range(100_000)]
    found = surfaces_of({"semantics": {"surfaces": many}}, 5)
    assert [each.parent for each in found[:3]] == [None, 5, 6]
    circle = [{"type": "WallSurface", "parent": up} for up in (1, 2, 0, 0, 3)]
    assert [each.parent for each in surfaces_of({"semantics": {"surfaces": circle}}, 0)] == [None, None, None, 0, 3]


@pytest.mark.timeout(60)
def test_parts_of_parts_without_end() -> None:
    """From each part all above it were climbed: minutes for some ten thousand."""
    count = 40_000
    geometry = [{"type": "MultiSurface", "lod": "1", "boundaries": []}]
    things: dict[str, Any] = {f"o{i}": {"type": "BuildingPart", "geometry": geometry, "parents": [f"o{i - 1}"]} for i in range(1, count)}
    things |= {"o0": {"type": "Building"}, "fine": {"type": "BuildingPart", "geometry": [{**geometry[0], "lod": "2.2"}], "parents": ["o7"]}}
    whole = {**document(), "CityObjects": things}
    finest = Document(whole, Header.of(whole), None, Report())._finest_below()
    assert [finest[f"o{i}"] for i in (0, 7, 8, count - 2)] == [2.2, 2.2, 1.0, 1.0]
    assert not {f"o{count - 1}", "fine"} & finest.keys()


@pytest.mark.timeout(60)
def test_surfaces_that_refer_twice_to_what_refers_twice(tmp_path: Path) -> None:
    """Sixty of these are 2^60 polygons."""
    surface = '<gml:surfaceMember><gml:CompositeSurface gml:id="d{}">{}</gml:CompositeSurface></gml:surfaceMember>'
    twice = "".join(surface.format(i, 2 * f"<gml:surfaceMember xlink:href='#d{i + 1}'/>") for i in range(60))
    last = surface.format(60, "")
    path = save_gml(tmp_path, building(hull() + f"<bldg:lod2MultiSurface><gml:MultiSurface>{twice}{last}</gml:MultiSurface></bldg:lod2MultiSurface>"))
    _, report = load(path)
    assert any("more than 1,000 times" in note.reason for note in report.notes)
    assert report.kept == 1


def test_members_that_are_too_large_are_refused_by_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(citygml_stream, "CHUNK", 256)
    path = save_gml(tmp_path, building(hull(), "tower"))
    monkeypatch.setattr(citygml_stream, "MAX_MEMBER", 1000)
    with pytest.raises(UnreadableSource, match=r"its member 'tower' has more than .* held whole") as told:
        load(path)
    assert "in parts" in told.value.remedy
    size = len(building(hull(), "b0"))
    monkeypatch.setattr(citygml_stream, "MAX_MEMBER", size + 2000)
    many = save_gml(tmp_path, "".join(building(hull(), f"b{i}") for i in range(20)))
    assert load(many)[1].kept == 20


@pytest.mark.parametrize("theme", [False, True])
def test_large_members_are_what_small_ones_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, theme: bool) -> None:
    """Of large members memory is saved: equal corners are one, and elements are let go of unless something refers to them."""
    surface = "<bldg:lod2MultiSurface><gml:MultiSurface><gml:surfaceMember xlink:href='#p0'/></gml:MultiSurface></bldg:lod2MultiSurface>" if theme else ""
    path = save_gml(tmp_path, building(hull() + surface))
    usual, said = load(path)
    monkeypatch.setattr(citygml_geometry, "MANY", 1)
    large, also = load(path)
    assert said.to_json() == also.to_json()
    for one, other in zip(usual, large, strict=True):
        assert one.ids.equals(other.ids) and one.attributes.equals(other.attributes)
        for name in ("positions", "triangles", "transforms"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


def test_documents_and_faces_beyond_what_can_be_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(tmp_path, document())
    monkeypatch.setattr(cityjson_objects, "MAX_FACES", 5)
    _, report = load_json(path)
    assert [note.reason for note in report.notes if note.action == "refused"] == ["Building: its Solid has 6 faces; 5 are read. Deliver it in parts."]
    monkeypatch.setattr(cityjson, "MAX_DOCUMENT", 100)
    with pytest.raises(UnreadableSource, match="held whole") as told:
        load_json(path)
    assert "jsonl" in told.value.remedy


def test_open_edges_are_counted_as_by_hand() -> None:
    rng = np.random.default_rng(4)
    for _ in range(50):
        shell = [[rng.integers(0, 6, int(rng.integers(1, 6))).tolist() for _ in range(int(rng.integers(0, 3)))] for _ in range(int(rng.integers(1, 8)))]
        edges = Counter(frozenset(edge) for face in shell for ring in face if len(ring) >= 3 for edge in pairwise((*ring, ring[0])) if edge[0] != edge[1])
        odd = sum(times % 2 for times in edges.values())
        words = solids._open_edges(flattened(shell))
        assert words == (f"{odd} of {len(edges)} edges without a second face" if odd else "faces that are turned over against their neighbours")


# --- mesh files --------------------------------------------------------------------------------------------------


def test_corners_are_welded_as_by_numpy() -> None:
    rng = np.random.default_rng(5)
    points = rng.integers(-2, 3, (500, 3)) / 4
    found, number = weld(points)
    expected, inverse = np.unique(points, axis=0, return_inverse=True)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(number, inverse.ravel())
    assert [each.shape for each in weld(np.zeros((0, 3)))] == [(0, 3), (0,)]
    faces = rng.integers(0, 300, (40, 3))
    rows, corners = used(faces, 300)
    expected, inverse = np.unique(faces, return_inverse=True)
    np.testing.assert_array_equal(rows, expected)
    np.testing.assert_array_equal(corners, inverse.reshape(-1, 3))


@pytest.mark.timeout(100)
def test_a_face_of_very_many_corners(tmp_path: Path) -> None:
    """Its line was taken apart for each of its triangles: an hour."""
    count = 120_000
    angle = np.linspace(0, 2 * np.pi, count, endpoint=False)
    size = 1000 + (np.arange(count) % 2)
    path = tmp_path / "star.obj"
    path.write_text("".join(f"v {x:.5f} {y:.5f} 0\n" for x, y in zip(size * np.cos(angle), size * np.sin(angle), strict=True)) + "f " + " ".join(map(str, range(1, count + 1))) + "\n")
    data = obj.prepared(path.read_bytes(), path.name, Report())
    assert data.count(b"\nf ") == count - 2


def test_very_many_objects_over_very_many_vertices_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "".join(f"o part{i}\nv {i} 0 0\nv {i} 1 0\nv {i} 0 1\nf {3 * i + 1} {3 * i + 2} {3 * i + 3}\n" for i in range(10))
    path = tmp_path / "parts.obj"
    path.write_text(text)
    assert read(path)[1].kept == 10
    monkeypatch.setattr(obj, "MAX_WORK", 200)
    with pytest.raises(UnreadableSource, match=r"10 objects, .* over 30 vertices"):
        read(path)
    path.write_text("o one\nv 0 0 0\nv 1 0 0\nv 0 1 0\nusemtl a\nf 1 2 3\nusemtl b\nf 3 2 1\n" * 4)
    monkeypatch.setattr(obj, "MAX_WORK", 50)
    assert read(path)[1].kept == 1  # two parts, however often they take turns


def gltf(folder: Path, tree: list[dict[str, Any]]) -> Path:
    places, corners = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0]], "<f4").tobytes(), struct.pack("<4H", 0, 1, 2, 0)
    content = {
        "asset": {"version": "2.0"}, "scene": 0, "scenes": [{"nodes": [0]}], "nodes": tree, "meshes": [{"primitives": [{"attributes": {"POSITION": 0}, "indices": 1}]}],
        "accessors": [{"bufferView": 0, "componentType": 5126, "count": 3, "type": "VEC3", "min": [0, 0, 0], "max": [1, 1, 0]}, {"bufferView": 1, "componentType": 5123, "count": 3, "type": "SCALAR"}],
        "bufferViews": [{"buffer": 0, "byteOffset": 0, "byteLength": 36}, {"buffer": 0, "byteOffset": 36, "byteLength": 6}], "buffers": [{"byteLength": 44}],
    }  # fmt: skip
    text = json.dumps(content).encode()
    text += b" " * (-len(text) % 4)
    path = folder / "tree.glb"
    path.write_bytes(struct.pack("<4s4I", b"glTF", 2, 20 + len(text) + 8 + 44, len(text), 0x4E4F534A) + text + struct.pack("<II", 44, 0x004E4942) + places + corners)
    return path


def placed(mesh: Mesh) -> dict[str, np.ndarray]:
    """By id, the corners where they are drawn."""
    found = {}
    for prototype, feature, matrix in zip(mesh.instance_prototype.tolist(), mesh.instance_feature.tolist(), mesh.transforms, strict=True):
        own = mesh.positions[mesh.vertex_start[prototype] : mesh.vertex_start[prototype + 1]]
        found[mesh.ids[feature].as_py()] = own @ matrix[:3, :3].T + matrix[:3, 3]
    return found


def test_a_flattened_tree_draws_what_it_did(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    turned = [0.0, 0.0, 2**-0.5, 2**-0.5]
    path = gltf(tmp_path, [
        {"name": "a", "mesh": 0, "translation": [1, 2, 3], "rotation": turned, "scale": [2, 1, 3], "children": [1, 2]}, {"name": "b", "mesh": 0, "rotation": turned, "children": [3]},
        {"name": "c", "mesh": 0, "matrix": [1, 0, 0, 0, 0, 0, 1, 0, 0, -1, 0, 0, 5, 6, 7, 1]}, {"name": "d", "translation": [0, 0, 4], "children": [4]}, {"name": "e", "mesh": 0},
    ])  # fmt: skip
    (usual,), _ = read(path)
    monkeypatch.setattr(nodes, "DEEP", 1)
    (flat,), _ = read(path)
    before, after = placed(usual), placed(flat)
    assert sorted(before) == sorted(after) == ["a", "b", "c", "e"]
    for name, corners in before.items():
        np.testing.assert_allclose(np.sort(after[name], axis=0), np.sort(corners, axis=0), atol=1e-9)


@pytest.mark.timeout(100)
def test_nodes_below_each_other_without_end(tmp_path: Path) -> None:
    """From each all above it were climbed: a minute and more for ten thousand."""
    count = 15_000
    path = gltf(tmp_path, [{"name": f"n{i}", "mesh": 0, "translation": [0, 0.5, 0]} | ({"children": [i + 1]} if i < count - 1 else {}) for i in range(count)])
    meshes, report = read(path)
    assert report.kept == count
    last = placed(meshes[-1])[f"n{count - 1}"]
    assert last[:, 2].min() == pytest.approx(0.5 * count)
