"""glTF as tools compress it: Draco, meshopt, sparse and quantised accessors, copies. What is drawn is compared with the places that were encoded."""

from __future__ import annotations

import io
import json
import struct
from pathlib import Path
from typing import Any

import DracoPy
import numpy as np
import pytest
import trimesh
from PIL import Image
from scipy.spatial import KDTree

from tests.ingest_bim.test_meshfile import PLACE, load, placed
from tiling.encoding import meshopt
from twin.errors import BadOption, UnreadableSource

BALL = trimesh.creation.icosphere(2, 3.0)
PLACES, TRIANGLES = BALL.vertices.astype("<f4"), BALL.faces.astype("<u4")
UPRIGHT = {**PLACE, "anchor": "407000,2496000,0", "up": "z"}


def glb(folder: Path, parts: list[bytes], accessors: list[dict[str, Any]], **more: Any) -> Path:
    """A GLB of one primitive: accessor 0 places, 1 triangles; a buffer view for each part."""
    ends = np.cumsum([len(part) + -len(part) % 4 for part in parts]).tolist()
    views = [{"buffer": 0, "byteOffset": end - len(part) - -len(part) % 4, "byteLength": len(part)} for part, end in zip(parts, ends, strict=True)]
    whole = {"asset": {"version": "2.0"}, "scene": 0, "scenes": [{"nodes": [0]}], "nodes": [{"mesh": 0, "name": "ball"}], "buffers": [{"byteLength": ends[-1]}],
             "meshes": [{"primitives": [{"attributes": {"POSITION": 0}, "indices": 1}]}], "bufferViews": views, "accessors": accessors, **more}  # fmt: skip
    text, data = json.dumps(whole).encode(), b"".join(part + bytes(-len(part) % 4) for part in parts)
    text += b" " * (-len(text) % 4)
    path = folder / "a.glb"
    path.write_bytes(struct.pack("<4s4I", b"glTF", 2, 28 + len(text) + len(data), len(text), 0x4E4F534A) + text + struct.pack("<2I", len(data), 0x4E4942) + data)
    return path


def of(view: int | None, code: int, count: int, kind: str, **more: Any) -> dict[str, Any]:
    return {"componentType": code, "count": count, "type": kind, **({} if view is None else {"bufferView": view}), **more}


DENSE = [of(0, 5126, len(PLACES), "VEC3"), of(1, 5125, TRIANGLES.size, "SCALAR")]


def corners(path: Path) -> np.ndarray:
    """All corners of what is drawn, from the anchor."""
    meshes, _ = load(path, **UPRIGHT)
    return np.concatenate([placed(mesh, i) for mesh in meshes for i in range(len(mesh.instance_prototype))]) - [407000, 2496000, 0]


def same(found: np.ndarray, expected: np.ndarray, within: float) -> bool:
    return len(found) == len(expected) and float(KDTree(expected).query(found)[0].max()) < within


def test_sparse_and_quantised_places_and_colours(tmp_path: Path) -> None:
    """What the accessor means is drawn: one corner moved by a sparse accessor; places and colours as 16 bit fractions (trimesh takes them for whole numbers)."""
    moved = PLACES.copy()
    moved[5] = 9
    sparse = {"count": 1, "indices": {"bufferView": 2, "componentType": 5123}, "values": {"bufferView": 3}}
    path = glb(tmp_path, [PLACES.tobytes(), TRIANGLES.tobytes(), np.array([5], "<u2").tobytes(), moved[5].tobytes()], [{**DENSE[0], "sparse": sparse}, DENSE[1]])
    assert same(corners(path), moved, 1e-6)
    whole = np.zeros((len(PLACES), 4), "<i2")
    whole[:, :3] = np.rint(PLACES / 3 * 32767)
    colors = np.tile(np.rint(np.array([1, 0.5, 0.25, 1]) * 65535), (len(PLACES), 1)).astype("<u2")
    parts = [whole.tobytes(), TRIANGLES.tobytes(), colors.tobytes()]
    path = glb(tmp_path, parts, [of(0, 5122, len(PLACES), "VEC3", normalized=True), DENSE[1], of(2, 5123, len(PLACES), "VEC4", normalized=True)],
               nodes=[{"mesh": 0, "scale": [3, 3, 3]}], meshes=[{"primitives": [{"attributes": {"POSITION": 0, "COLOR_0": 2}, "indices": 1}]}],
               extensionsRequired=["KHR_mesh_quantization"], bufferViews=[{"buffer": 0, "byteLength": len(parts[0]), "byteStride": 8},
               {"buffer": 0, "byteOffset": len(parts[0]), "byteLength": len(parts[1])}, {"buffer": 0, "byteOffset": len(parts[0] + parts[1]), "byteLength": len(parts[2])}])  # fmt: skip
    assert same(corners(path), PLACES, 1e-4)
    (mesh,), _ = load(path, **UPRIGHT)
    assert mesh.colors is not None and mesh.colors[0, 0].tolist() == [255, 188, 137, 255]  # 1, 0.5 and 0.25 of linear light in sRGB


def test_draco(tmp_path: Path) -> None:
    """What Google's library encoded is drawn, to its step; a stream cut short is refused."""
    data = DracoPy.encode(PLACES, TRIANGLES, quantization_bits=16)
    place = next(a["unique_id"] for a in DracoPy.decode(data).attributes if a["attribute_type"] == 0)
    packed = {"KHR_draco_mesh_compression": {"bufferView": 0, "attributes": {"POSITION": place}}}
    more = {"meshes": [{"primitives": [{"attributes": {"POSITION": 0}, "indices": 1, "extensions": packed}]}], "extensionsRequired": list(packed)}
    empty = [of(None, 5126, len(PLACES), "VEC3"), of(None, 5125, TRIANGLES.size, "SCALAR")]
    assert same(corners(glb(tmp_path, [data], empty, **more)), PLACES, 1e-4)
    with pytest.raises(UnreadableSource, match="KHR_draco_mesh_compression is damaged"):
        corners(glb(tmp_path, [data[:60]], empty, **more))


@pytest.mark.parametrize("marked", [{"extensions": {"EXT_meshopt_compression": {"fallback": True}}}, {}])
def test_meshopt(tmp_path: Path, marked: dict[str, Any]) -> None:
    """Compressed views are drawn, whether the buffer that stands for them is marked as such or just lacks its bytes; one that lacks its last bytes is refused."""
    rows, faces = meshopt.encode_vertices(PLACES), meshopt.encode_triangles(TRIANGLES)
    how = [{"byteStride": 12, "count": len(PLACES), "mode": "ATTRIBUTES"}, {"byteStride": 4, "count": TRIANGLES.size, "mode": "TRIANGLES"}]
    for cut in (0, 9):
        parts, begin = [rows, faces[: len(faces) - cut]], [0, len(rows) + -len(rows) % 4]
        extensions = [{"EXT_meshopt_compression": {"buffer": 0, "byteOffset": begin[i], "byteLength": len(parts[i]), **how[i]}} for i in (0, 1)]
        views = [{"buffer": 1, "byteLength": size, "extensions": extension} for size, extension in zip((PLACES.nbytes, TRIANGLES.nbytes), extensions, strict=True)]
        buffers = [{"byteLength": begin[1] + len(parts[1])}, {"byteLength": PLACES.nbytes, **marked}]
        path = glb(tmp_path, parts, DENSE, bufferViews=views, buffers=buffers, extensionsRequired=["EXT_meshopt_compression"])
        if not cut:
            assert same(corners(path), PLACES, 1e-6)
            continue
        with pytest.raises(UnreadableSource, match="cannot be decoded: A stream of EXT_meshopt_compression"):
            corners(path)


def test_meshopt_of_the_newer_extension(tmp_path: Path) -> None:
    """KHR_meshopt_compression with a column of version 1: all bytes as they are (control mode 3), each four as what changed in them (channel mode 2)."""
    words = np.ascontiguousarray(PLACES).view("<u4").reshape(len(PLACES), -1)
    change = np.vstack([words[:1] ^ words[:1], words[1:] ^ words[:-1]]).astype("<u4").view(np.uint8).reshape(len(words), -1)
    stride = change.shape[1]
    tail = words[0].tobytes() + bytes([2] * (stride // 4))
    rows = b"\xa1" + b"\xff" * (stride // 4) + change.T.tobytes() + bytes(max(0, 24 - len(tail))) + tail
    extension = {"KHR_meshopt_compression": {"buffer": 0, "byteOffset": 0, "byteLength": len(rows), "byteStride": stride, "count": len(PLACES), "mode": "ATTRIBUTES"}}
    views = [{"buffer": 1, "byteLength": PLACES.nbytes, "extensions": extension}, {"buffer": 0, "byteOffset": len(rows) + -len(rows) % 4, "byteLength": TRIANGLES.nbytes}]
    buffers = [{"byteLength": len(rows) + -len(rows) % 4 + TRIANGLES.nbytes}, {"byteLength": PLACES.nbytes}]
    path = glb(tmp_path, [rows, TRIANGLES.tobytes()], DENSE, bufferViews=views, buffers=buffers, extensionsRequired=["KHR_meshopt_compression"])
    assert same(corners(path), PLACES, 1e-6)


@pytest.mark.parametrize("indexed", [True, False])
def test_triangles_that_are_not_whole(tmp_path: Path, indexed: bool) -> None:
    """Corners left over at the end are no triangle (glTF 2.0, 3.7.2.1): they are left out and said, and what stands beside them is drawn."""
    accessors = [DENSE[0], of(1, 5125, TRIANGLES.size - 1, "SCALAR"), DENSE[1]]
    part = {"attributes": {"POSITION": 0}, "indices": 1} if indexed else {"attributes": {"POSITION": 3}}
    accessors.append(of(0, 5126, len(PLACES) - (len(PLACES) % 3 == 0), "VEC3"))
    meshes = [{"name": "cut", "primitives": [part]}, {"name": "whole", "primitives": [{"attributes": {"POSITION": 0}, "indices": 2}]}]
    path = glb(tmp_path, [PLACES.tobytes(), TRIANGLES.astype("<u4").tobytes()], accessors, meshes=meshes, nodes=[{"mesh": 0}, {"mesh": 1, "translation": [50, 0, 0]}], scenes=[{"nodes": [0, 1]}])
    (mesh,), report = load(path, **UPRIGHT)
    assert len(mesh) == 2
    assert any(note.feature == "cut" and "left over" in note.reason for note in report.notes)


def test_bytes_behind_a_glb(tmp_path: Path) -> None:
    """Those that a container padded it with are left alone, and said; a file that is shorter than it states is refused."""
    path = glb(tmp_path, [PLACES.tobytes(), TRIANGLES.tobytes()], DENSE)
    data = path.read_bytes()
    path.write_bytes(data + bytes(4))
    assert same(corners(path), PLACES, 1e-6)
    _, report = load(path, **UPRIGHT)
    assert any("4 bytes behind" in note.reason for note in report.notes)
    path.write_bytes(data[:-4])
    with pytest.raises(UnreadableSource, match=f"states version 2 and {len(data)} bytes; it has {len(data) - 4}"):
        load(path, **UPRIGHT)


def test_copies_are_drawn_one_by_one(tmp_path: Path) -> None:
    """Places, turns (as 16 bit fractions) and sizes of copies, below a node that is moved itself: where trimesh's own matrices put them; one shape, a feature each."""
    random = np.random.default_rng(3)
    moves, sizes = random.normal(size=(7, 3)).astype("<f4") * 20, (random.random((7, 3)) + 0.5).astype("<f4")
    turns = random.normal(size=(7, 4))
    turns = np.rint(turns / np.linalg.norm(turns, axis=1, keepdims=True) * 32767).astype("<i2")
    node = {"mesh": 0, "name": "tree", "translation": [1, 2, 3], "extensions": {"EXT_mesh_gpu_instancing": {"attributes": {"TRANSLATION": 2, "ROTATION": 3, "SCALE": 4}}}}
    path = glb(tmp_path, [PLACES.tobytes(), TRIANGLES.tobytes(), moves.tobytes(), turns.tobytes(), sizes.tobytes()],
               [*DENSE, of(2, 5126, 7, "VEC3"), of(3, 5122, 7, "VEC4", normalized=True), of(4, 5126, 7, "VEC3")], nodes=[node])  # fmt: skip
    expected = [(PLACES * sizes[i]) @ trimesh.transformations.quaternion_matrix(turns[i][[3, 0, 1, 2]])[:3, :3].T + moves[i] + [1, 2, 3] for i in range(7)]
    assert same(corners(path), np.concatenate(expected), 1e-3)
    (mesh,), report = load(path, **UPRIGHT)
    assert sorted(mesh.ids.to_pylist()) == [f"tree #{i}" for i in range(1, 8)] and len(set(mesh.instance_prototype.tolist())) == 1
    assert any("7 copies" in note.reason for note in report.notes)


def test_what_is_scaled_to_nothing_is_said(tmp_path: Path) -> None:
    """A node of scale 0 (hidden by an animation, most often) is a feature that nobody sees; one that is flat is seen."""
    nodes = [{"mesh": 0, "name": "whole"}, {"mesh": 0, "name": "gone", "scale": [0, 0, 0]}, {"mesh": 0, "name": "flat", "scale": [1, 0, 1]},
             {"mesh": 0, "name": "line", "matrix": [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]}]  # fmt: skip
    _, report = load(glb(tmp_path, [PLACES.tobytes(), TRIANGLES.tobytes()], DENSE, nodes=nodes), **UPRIGHT)
    assert [n.feature for n in report.notes if "nobody sees it" in n.reason] == ["gone", "line"]


def test_counts_without_bytes_take_no_memory(tmp_path: Path) -> None:
    path = glb(tmp_path, [PLACES.tobytes(), TRIANGLES.tobytes()], [of(None, 5126, 10**10, "VEC3"), DENSE[1]])
    with pytest.raises(UnreadableSource, match="without any bytes"):
        load(path, **UPRIGHT)


def test_values_that_lie_in_one_another_are_refused(tmp_path: Path) -> None:
    """A stride below the size of a value (glTF 2.0, 3.6.2.4): some other mesh was drawn, and nothing was said."""
    apart = np.concatenate([PLACES, np.full_like(PLACES[:, :1], 7)], axis=1)
    views = [{"buffer": 0, "byteOffset": 0, "byteLength": apart.nbytes, "byteStride": 16}, {"buffer": 0, "byteOffset": apart.nbytes, "byteLength": TRIANGLES.nbytes}]
    assert same(corners(glb(tmp_path, [apart.tobytes(), TRIANGLES.tobytes()], DENSE, bufferViews=views)), PLACES, 1e-5)
    views[0]["byteStride"] = 8
    with pytest.raises(UnreadableSource, match="accessor 0 has values of 12 bytes, of which each begins 8 bytes after"):
        corners(glb(tmp_path, [apart.tobytes(), TRIANGLES.tobytes()], DENSE, bufferViews=views))


def test_nodes_keep_their_places_and_say_what_they_carry(tmp_path: Path) -> None:
    """Children that are called like their parent with six digits (as trimesh calls parts of a mesh), a node with a camera, nodes below two others, extras, meshes that are not there."""
    walls = [{"mesh": 0, "name": f"wall_{i:06d}", "translation": [20 * i, 0, 0], "extras": {"floor": i, "name": "own"}} for i in (1, 2)]
    nodes = [*walls, {"name": "wall", "children": [0, 1]}, {"name": "rig", "camera": 0, "children": [4, 0], "translation": [0, 50, 0], "mesh": 0}, {"mesh": 0, "name": "below"}, {"mesh": 9, "name": "gone"}]
    more = {"nodes": nodes, "scenes": [{"nodes": [2, 3, 5]}], "cameras": [{"type": "perspective", "perspective": {"yfov": 1, "znear": 1}}], "extensionsUsed": ["EXT_mesh_features"]}
    path = glb(tmp_path, [PLACES.tobytes(), TRIANGLES.tobytes()], DENSE, **more)
    (mesh,), report = load(path, **UPRIGHT)
    middles = {name: (placed(mesh, i) - [407000, 2496000, 0]).mean(axis=0).round(3).tolist() for i, name in enumerate(mesh.ids.to_pylist())}
    assert middles == {"below": [0, 50, 0], "rig": [0, 50, 0], "wall_000001": [20, 0, 0], "wall_000002": [40, 0, 0]}
    rows = {row["name"]: row for row in mesh.attributes.to_pylist()}
    assert rows["wall_000002"]["floor"] == 2 and rows["wall_000002"]["extras.name"] == "own"
    said = {note.feature: note.reason for note in report.notes}
    assert "More than one node" in said["wall_000001"] and "mesh 9" in said["gone"] and "EXT_mesh_features" in said[""]


def test_looks_as_clients_draw_them(tmp_path: Path) -> None:
    """Colours of corners beside a material (bytes, 16 bits, fractions), alpha only where it blends, specular-glossiness, a fan around its first corner."""
    values = np.tile([1, 0.5, 0.25, 0.5], (len(PLACES), 1))
    looks = [{"pbrMetallicRoughness": {"baseColorFactor": [1, 1, 1, 0.5]}, "alphaMode": mode} for mode in ("OPAQUE", "BLEND")]
    for kind, code in (("<f4", 5126), ("<u2", 5123), ("u1", 5121)):
        colors = (values if code == 5126 else np.rint(values * np.iinfo(kind).max)).astype(kind)
        for look, alpha in zip(looks, (255, 128), strict=True):
            path = glb(tmp_path, [PLACES.tobytes(), TRIANGLES.tobytes(), colors.tobytes()], [*DENSE, of(2, code, len(PLACES), "VEC4", normalized=code != 5126)],
                       meshes=[{"primitives": [{"attributes": {"POSITION": 0, "COLOR_0": 2}, "indices": 1, "material": 0}]}], materials=[look])  # fmt: skip
            (mesh,), _ = load(path, **UPRIGHT)
            assert mesh.colors is not None and np.abs(mesh.colors[0, 0].astype(int) - [255, 188, 137, alpha]).max() <= 1
            assert mesh.materials[0].color[3] == pytest.approx(alpha / 255, abs=0.01)
    gloss = {"extensions": {"KHR_materials_pbrSpecularGlossiness": {"diffuseFactor": [1, 0, 0, 1]}}}
    ring = np.array([0, *range(10, 15)], "<u4")
    path = glb(tmp_path, [PLACES.tobytes(), ring.tobytes()], [DENSE[0], of(1, 5125, len(ring), "SCALAR")], materials=[gloss],
               meshes=[{"primitives": [{"attributes": {"POSITION": 0}, "indices": 1, "mode": 6, "material": 0}]}])  # fmt: skip
    (mesh,), report = load(path, **UPRIGHT)
    assert mesh.materials[0].color == (1, 0, 0, 1) and len(mesh.triangles) == 4 and not report.counts.get("skipped")
    assert same(placed(mesh) - [407000, 2496000, 0], PLACES[ring], 1e-6)


def test_morph_targets_by_their_weights(tmp_path: Path) -> None:
    """Two nodes of one mesh: one with the mesh's weights, one with its own; a mesh whose weights are 0 stays as it is."""
    first, second = (PLACES * 0.5).astype("<f4"), np.tile(np.array([[0, 0, 1]], "<f4"), (len(PLACES), 1))
    parts = [PLACES.tobytes(), TRIANGLES.tobytes(), first.tobytes(), second.tobytes()]
    accessors = [*DENSE, of(2, 5126, len(PLACES), "VEC3"), of(3, 5126, len(PLACES), "VEC3")]
    body = {"attributes": {"POSITION": 0}, "indices": 1, "targets": [{"POSITION": 2}, {"POSITION": 3}]}
    nodes = [{"mesh": 0, "name": "a"}, {"mesh": 0, "name": "b", "weights": [0, 4], "translation": [100, 0, 0]}]
    path = glb(tmp_path, parts, accessors, meshes=[{"primitives": [body], "weights": [1.0, 2.0]}], nodes=nodes, scenes=[{"nodes": [0, 1]}])
    assert same(corners(path), np.concatenate([PLACES * 1.5 + np.array([0, 0, 2]), PLACES + np.array([100, 0, 4])]), 1e-5)
    still = glb(tmp_path, parts, accessors, meshes=[{"primitives": [body]}])
    assert same(corners(still), PLACES, 1e-5) and "not kept" in load(still, **UPRIGHT)[1].notes[0].reason


@pytest.mark.parametrize("code", [5126, 5121])
def test_skins_where_their_bones_stand(tmp_path: Path, code: int) -> None:
    """Two bones share the corners by their height: the sum that the specification states, by hand; the place of the node itself does not count, nor is it lost on a second node."""
    share = np.clip((PLACES[:, 2] + 3) / 6, 0, 1)
    weights = np.column_stack([1 - share, share, 0 * share, 0 * share])
    written = weights.astype("<f4") if code == 5126 else np.round(weights * 255).astype("u1")
    weights = written / (1 if code == 5126 else 255)
    joints = np.tile(np.array([[0, 1, 0, 0]], "u1"), (len(PLACES), 1))
    bind = np.tile(np.eye(4), (2, 1, 1))
    bind[1, 2, 3] = -1  # the second bone was bound a metre above the first
    parts = [PLACES.tobytes(), TRIANGLES.tobytes(), joints.tobytes(), written.tobytes(), bind.transpose(0, 2, 1).astype("<f4").tobytes()]
    accessors = [*DENSE, of(2, 5121, len(PLACES), "VEC4"), of(3, code, len(PLACES), "VEC4", **({} if code == 5126 else {"normalized": True})), of(4, 5126, 2, "MAT4")]
    body = {"attributes": {"POSITION": 0, "JOINTS_0": 2, "WEIGHTS_0": 3}, "indices": 1}
    quarter = [np.sqrt(0.5), 0, 0, np.sqrt(0.5)]  # about x: y becomes z
    nodes = [{"mesh": 0, "skin": 0, "name": "ball", "translation": [500, 0, 0], "scale": [2, 2, 2]}, {"name": "hip", "translation": [10, 0, 0], "children": [2]},
             {"name": "head", "translation": [0, 0, 5], "rotation": quarter}]  # fmt: skip
    more = {"meshes": [{"primitives": [body]}], "nodes": nodes, "scenes": [{"nodes": [0, 1]}]}
    path = glb(tmp_path, parts, accessors, skins=[{"joints": [1, 2], "inverseBindMatrices": 4}], **more)
    x, y, z = PLACES.T
    low, high = PLACES + np.array([10, 0, 0]), np.column_stack([x + 10, -(z - 1), y + 5])
    expected = (weights[:, :1] * low + weights[:, 1:2] * high) / weights.sum(axis=1, keepdims=True)
    assert same(corners(path), expected, 1e-4) and [(n.feature, n.action) for n in load(path, **UPRIGHT)[1].notes] == [("ball", "assumed")]
    broken = glb(tmp_path, parts, accessors, skins=[{"joints": [1], "inverseBindMatrices": 4}], **more)
    assert same(corners(broken), PLACES * 2 + np.array([500, 0, 0]), 1e-4) and "damaged" in load(broken, **UPRIGHT)[1].notes[0].reason


@pytest.mark.parametrize("name", ["KHR_texture_basisu", "VENDOR_shapes", "EXT_lights_image_based"])
def test_what_is_required_and_not_known_is_refused_by_name(tmp_path: Path, name: str) -> None:
    """glTF 2.0, 3.12: such a file must not be loaded (it was drawn as something else, with a warning); what adds to light or to metadata alone is."""
    parts = [PLACES.tobytes(), TRIANGLES.tobytes()]
    with pytest.raises(UnreadableSource, match=f"a.glb requires {name}, which is not known"):
        load(glb(tmp_path, parts, DENSE, extensionsUsed=[name], extensionsRequired=[name]), **UPRIGHT)
    known = ["KHR_materials_clearcoat", "KHR_materials_unlit", "EXT_structural_metadata"]
    (mesh,), report = load(glb(tmp_path, parts, DENSE, extensionsUsed=known, extensionsRequired=known), **UPRIGHT)
    assert len(mesh.triangles) == len(TRIANGLES) and any("EXT_structural_metadata, which is not read" in note.reason for note in report.notes)


def test_what_is_hidden_is_not_drawn(tmp_path: Path) -> None:
    """KHR_node_visibility: a hidden node hides what is below it; that is said."""
    hidden = {"extensions": {"KHR_node_visibility": {"visible": False}}}
    nodes = [{"mesh": 0, "name": "shown", "children": [1]}, {"mesh": 0, "name": "variant", "children": [2], **hidden}, {"mesh": 0, "name": "part of it"}]
    (mesh,), report = load(glb(tmp_path, [PLACES.tobytes(), TRIANGLES.tobytes()], DENSE, nodes=nodes, extensionsRequired=["KHR_node_visibility"]), **UPRIGHT)
    assert mesh.ids.to_pylist() == ["shown"] and [note.feature for note in report.notes if note.action == "skipped"] == ["variant"]


def test_a_center_is_added_once_z_is_up(tmp_path: Path) -> None:
    """CESIUM_RTC, as CesiumJS applies it: after the nodes and after y is turned up. By hand: (x, y, z) of the file becomes (x, -z, y) + center."""
    parts = [PLACES.tobytes(), TRIANGLES.tobytes()]
    node = {"mesh": 0, "translation": [10, 20, 30]}

    def of_center(*center: Any, used: bool = True, **options: Any) -> np.ndarray:
        path = glb(tmp_path, parts, DENSE, nodes=[node], extensions={"CESIUM_RTC": {"center": list(center)}}, **({"extensionsRequired": ["CESIUM_RTC"]} if used else {}))
        (mesh,), report = load(path, **options)
        assert any("CESIUM_RTC" in note.reason for note in report.notes)
        return placed(mesh)

    x, y, z = (PLACES + np.array([10.0, 20, 30])).T
    turned = np.stack([x, -z, y], axis=1)
    assert same(of_center(407000.25, 2496000.5, 12, crs="EPSG:4547", vertical="EPSG:5737"), turned + np.array([407000.25, 2496000.5, 12]), 1e-6)
    assert same(of_center(5, 6, 7, used=False, **PLACE), turned + np.array([407005, 2496006, 19]), 1e-6)
    at = PLACE | {"origin": "407000,2496000,0"}
    assert same(of_center(407000.25, 2496000.5, 12, **at), turned + np.array([407000.25, 2496000.5, 24]), 1e-6)
    with pytest.raises(BadOption, match=r"407,000.25, 2,496,000.5, 12 \(CESIUM_RTC\), far from the model point 0, 0, 0") as far:
        of_center(407000.25, 2496000.5, 12, **PLACE)
    assert "origin=407000,2496000,12" in far.value.remedy
    with pytest.raises(BadOption, match="earth-centred coordinates"):  # 113.1° E, 22.6° N
        of_center(-2311170, 5419260, 2435700, **PLACE)
    for center in (["a", 1, 2], [1, 2], [1, 2, float("nan")]):
        with pytest.raises(UnreadableSource, match="no place x, y, z"):
            of_center(*center, **PLACE)


@pytest.mark.parametrize(("look", "expected"), [
    ({"pbrMetallicRoughness": {"baseColorFactor": [0, 0, 0, 1]}, "emissiveFactor": [1, 0, 0]}, (1, 0, 0)),
    ({"pbrMetallicRoughness": {"baseColorFactor": [0.25, 0, 1, 1]}, "emissiveFactor": [0.25, 0, 0.5]}, (0.7354, 0, 1)),  # 0.5 of linear light
    ({"pbrMetallicRoughness": {"baseColorFactor": [0, 0, 0, 1]}, "emissiveFactor": [0.1, 0, 0], "extensions": {"KHR_materials_emissive_strength": {"emissiveStrength": 20}}}, (1, 0, 0)),
    ({"pbrMetallicRoughness": {"baseColorFactor": [0, 0, 0, 1]}, "emissiveFactor": [1, 0, 0], "extensions": {"KHR_materials_unlit": {}}}, (0, 0, 0)),
])  # fmt: skip
def test_light_of_its_own(tmp_path: Path, look: dict[str, Any], expected: tuple[float, ...]) -> None:
    """A lamp's black glass that shines red was drawn black."""
    mesh = {"primitives": [{"attributes": {"POSITION": 0}, "indices": 1, "material": 0}]}
    (found,), _ = load(glb(tmp_path, [PLACES.tobytes(), TRIANGLES.tobytes()], DENSE, materials=[look], meshes=[mesh]), **UPRIGHT)
    assert found.materials[0].color[:3] == pytest.approx(expected, abs=0.002)


def test_a_colour_that_is_not_stated_is_white(tmp_path: Path) -> None:
    """glTF 2.0, 5.22: what leaves out the factor was drawn at two thirds of its image's light, or grey."""
    mesh = {"primitives": [{"attributes": {"POSITION": 0}, "indices": 1, "material": 0}]}
    for look in ({}, {"pbrMetallicRoughness": {"metallicFactor": 0}}):
        (found,), _ = load(glb(tmp_path, [PLACES.tobytes(), TRIANGLES.tobytes()], DENSE, materials=[look], meshes=[mesh]), **UPRIGHT)
        assert found.materials[0].color == (1, 1, 1, 1)


def test_an_image_of_light_is_the_colour_of_what_is_black(tmp_path: Path) -> None:
    """Advertisement screens; beside an image of its colour, the light is said and not drawn."""
    picture = io.BytesIO()
    Image.new("RGB", (4, 4), (0, 200, 0)).save(picture, "PNG")
    uv = np.zeros((len(PLACES), 2), "<f4")
    parts = [PLACES.tobytes(), TRIANGLES.tobytes(), uv.tobytes(), picture.getvalue()]
    more = {"meshes": [{"primitives": [{"attributes": {"POSITION": 0, "TEXCOORD_0": 2}, "indices": 1, "material": 0}]}],
            "images": [{"bufferView": 3, "mimeType": "image/png"}], "textures": [{"source": 0}]}  # fmt: skip
    light = {"emissiveFactor": [1, 1, 1], "emissiveTexture": {"index": 0}}
    for base, textured, said in (({"baseColorFactor": [0, 0, 0, 1]}, True, False), ({"baseColorFactor": [1, 1, 1, 1]}, False, True), ({"baseColorTexture": {"index": 0}}, True, True)):
        path = glb(tmp_path, parts, [*DENSE, of(2, 5126, len(PLACES), "VEC2")], materials=[light | {"pbrMetallicRoughness": base}], **more)
        (mesh,), report = load(path, **UPRIGHT)
        assert (mesh.materials[0].texture is not None) == textured and mesh.materials[0].color[:3] == (1, 1, 1)
        assert any("emissive" in note.reason for note in report.notes) == said
