"""Meshes: boxes written by trimesh (and by hand where they must be wrong), placed and measured again."""

from __future__ import annotations

import io
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh
from PIL import Image
from pyproj import Transformer

from ingest_bim.meshfiles import reader as meshfile
from tests.ingest_bim.texture_helpers import QUARTERS, drawn_at, quarters
from twin import intake
from twin.errors import BadFeature, BadOption, BadReference, MissingReference, TwinError, UnreadableSource
from twin.lake import Lake
from twin.model import Mesh, Report
from twin.parts import write_version
from twin.registry import TileJob

PLACE = {"crs": "EPSG:4547", "vertical": "EPSG:5737", "anchor": "407000,2496000,12"}
KINDS = ["obj", "glb", "ply", "stl"]


def box(folder: Path, kind: str, size: tuple[float, float, float] = (2, 4, 6), at: tuple[float, float, float] = (1, 2, 3)) -> Path:
    path = folder / f"box.{kind}"
    shape = trimesh.creation.box(size)
    shape.apply_translation(at)
    shape.export(path)
    return path


def load(path: Path, **options: Any) -> tuple[list[Mesh], Report]:
    report = Report()
    return [b for b in meshfile.read(path, meshfile.Options(**options), report) if isinstance(b, Mesh)], report


def placed(mesh: Mesh, i: int = 0) -> np.ndarray:
    p, matrix = mesh.instance_prototype[i], mesh.transforms[i]
    return mesh.positions[mesh.vertex_start[p] : mesh.vertex_start[p + 1]] @ matrix[:3, :3].T + matrix[:3, 3]


@pytest.mark.parametrize("kind", KINDS)
def test_a_box_stands_at_its_anchor(tmp_path: Path, kind: str) -> None:
    (mesh,), report = load(box(tmp_path, kind), **PLACE)
    points = placed(mesh)
    low, high = ((0, -6, 0), (2, 0, 4)) if kind == "glb" else ((0, 0, 0), (2, 4, 6))  # glTF: y is up, z is south
    assert points.min(0) - [407000, 2496000, 12] == pytest.approx(low, abs=1e-6) and points.max(0) - [407000, 2496000, 12] == pytest.approx(high, abs=1e-6)
    solid = trimesh.Trimesh(points - points[0], mesh.triangles, process=False)
    assert solid.is_watertight and solid.volume == pytest.approx(48) == mesh.attributes["solid_volume"][0].as_py()
    assert (mesh.reference.horizontal, mesh.reference.vertical) == ("EPSG:4547", "EPSG:5737") and (report.read, report.kept) == (1, 1)


def test_rotation_units_origin_and_up(tmp_path: Path) -> None:
    """By hand: 90° clockwise takes the model's north (y) to the east; millimetres; the origin is moved first."""
    (mesh,), _ = load(box(tmp_path, "stl", (2000, 4000, 6000), (1000, 2000, 3000)), **PLACE, rotation=90, units="mm", origin="0,0,1")
    points = placed(mesh) - [407000, 2496000, 12]
    assert points.min(0) == pytest.approx([0, -2, -1], abs=1e-6) and points.max(0) == pytest.approx([4, 0, 5], abs=1e-6)
    (mesh,), _ = load(box(tmp_path, "obj"), **PLACE, up="y")
    assert placed(mesh).max(0)[2] == pytest.approx(16)


def test_anchor_lonlat(tmp_path: Path) -> None:
    (mesh,), _ = load(box(tmp_path, "ply", at=(0, 0, 0)), anchor_lonlat="112.6,22.5,10", vertical="ellipsoid")
    centre = placed(mesh).mean(0)
    lon, lat = Transformer.from_crs(mesh.reference.horizontal, 4326, always_xy=True).transform(*centre[:2])
    assert (lon, lat, centre[2]) == pytest.approx((112.6, 22.5, 10), abs=1e-8)


def test_map_coordinates(tmp_path: Path) -> None:
    (mesh,), report = load(box(tmp_path, "obj", at=(407000, 2496000, 12)), crs="EPSG:4547+5737")
    assert placed(mesh).mean(0) == pytest.approx([407000, 2496000, 12]) and report.counts["assumed"] == 1
    with pytest.raises(BadOption):
        load(box(tmp_path, "obj"), crs="EPSG:4547+5737", rotation=5)


def test_a_place_is_demanded(tmp_path: Path, lake: Lake) -> None:
    path = box(tmp_path, "obj")
    with pytest.raises(MissingReference, match="anchor"):
        load(path)
    with pytest.raises(MissingReference, match="--vertical"):
        load(path, crs="EPSG:4547", anchor="407000,2496000,1")
    with pytest.raises(BadOption):
        load(path, crs="EPSG:4547+5737", anchor="1,2,3,4")
    report = Report(source="box.obj")
    with pytest.raises(BadReference):  # local coordinates are not map coordinates
        write_version(lake, "m", "mesh", meshfile.read(path, meshfile.Options(crs="EPSG:4547+5737"), report), report, provenance={})


def test_nodes_share_a_shape_and_keep_names(tmp_path: Path) -> None:
    scene = trimesh.Scene()
    shape = trimesh.creation.box((1, 1, 1))
    shape.visual = trimesh.visual.TextureVisuals(material=trimesh.visual.material.PBRMaterial(name="red", baseColorFactor=[255, 0, 0, 128], alphaMode="BLEND"))
    scene.add_geometry(shape, node_name="柱 1", geom_name="column")
    scene.add_geometry(shape, node_name="柱 2", geom_name="column", transform=trimesh.transformations.translation_matrix([5, 0, 0]))
    path = tmp_path / "two.glb"
    scene.export(path)
    (mesh,), _ = load(path, **PLACE)
    assert sorted(mesh.ids.to_pylist()) == ["柱 1", "柱 2"] and len(mesh.vertex_start) == 2
    assert abs(placed(mesh, 1).mean(0)[0] - placed(mesh, 0).mean(0)[0]) == pytest.approx(5)
    assert mesh.materials[0].name == "red" and mesh.materials[0].color == pytest.approx((1, 0, 0, 0.502), abs=0.01)


WALL = "v 0 0 0\nv 10 0 0\nv 10 0 10\nv 0 0 10\nvt 0 0\nvt 1 0\nvt 1 1\nvt 0 1\nusemtl a\nf 1/1 2/2 3/3 4/4\n"


def colours(mesh: Mesh) -> list[Any]:
    """The texture at the middle of the wall's quarters, as in `quarters`: upper left, upper right, lower left, lower right."""
    return [drawn_at(mesh, (407000 + x, 2496000, 12 + z)) for z in (7.5, 2.5) for x in (2.5, 7.5)]


def test_glb_texture(tmp_path: Path) -> None:
    """trimesh writes it with its own reading of UVs; y is up, so the wall stands on the model's x axis."""
    image = Image.open(quarters(tmp_path / "a.png"))
    wall = trimesh.Trimesh([[0, 0, 0], [10, 0, 0], [10, 10, 0], [0, 10, 0]], [[0, 1, 2], [0, 2, 3]], process=False)
    material = trimesh.visual.material.PBRMaterial(baseColorTexture=image, baseColorFactor=[255, 255, 255, 255])
    wall.visual = trimesh.visual.TextureVisuals(uv=np.array([[0, 0], [1, 0], [1, 1], [0, 1]]), material=material)
    wall.export(tmp_path / "wall.glb")
    (mesh,), _ = load(tmp_path / "wall.glb", **PLACE)
    assert colours(mesh) == list(QUARTERS)


def test_glb_nodes_of_several_primitives(tmp_path: Path) -> None:
    """Two nodes with one mesh of two primitives: two features by their own names, the same every time, with one shared shape of two materials."""
    body = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], "<f4").tobytes() + np.array([0, 1, 2, 0, 0, 2, 3, 0], "<u2").tobytes()
    parts = [{"attributes": {"POSITION": 0}, "indices": 1 + k, "material": k} for k in range(2)]
    document = {
        "asset": {"version": "2.0"}, "scene": 0, "scenes": [{"nodes": [0, 1]}], "nodes": [{"name": "House", "mesh": 0, "translation": [5, 0, 0]}, {"name": "Other", "mesh": 0}],
        "meshes": [{"name": "m", "primitives": parts}], "materials": [{"pbrMetallicRoughness": {"baseColorFactor": color}} for color in ([1, 0, 0, 1], [0, 1, 0, 1])],
        "accessors": [{"bufferView": 0, "componentType": 5126, "count": 4, "type": "VEC3", "min": [0, 0, 0], "max": [1, 1, 0]},
                      *({"bufferView": 1 + k, "componentType": 5123, "count": 3, "type": "SCALAR"} for k in range(2))],
        "bufferViews": [{"buffer": 0, "byteLength": 48}, *({"buffer": 0, "byteOffset": 48 + 8 * k, "byteLength": 6} for k in range(2))], "buffers": [{"byteLength": len(body)}],
    }  # fmt: skip
    text = json.dumps(document).encode()
    text += b" " * (-len(text) % 4)
    chunks = struct.pack("<I4s", len(text), b"JSON") + text + struct.pack("<I4s", len(body), b"BIN\0") + body
    (tmp_path / "p.glb").write_bytes(struct.pack("<4s2I", b"glTF", 2, 12 + len(chunks)) + chunks)
    (mesh,), report = load(tmp_path / "p.glb", **PLACE)
    assert mesh.ids.to_pylist() == ["House", "Other"] and len(mesh.vertex_start) == 2 and mesh.instance_prototype.tolist() == [0, 0]
    assert sorted(m.color[:2] for m in mesh.materials) == [(0, 1), (1, 0)] and (report.read, report.kept) == (2, 2)
    assert placed(mesh, 0).mean(0)[0] - placed(mesh, 1).mean(0)[0] == pytest.approx(5)


def sheet(tmp_path: Path, **info: Any) -> Path:
    """A square of two triangles with a texture; `info` goes into its texture reference."""
    xyz = np.array([[0, 0, 0], [1, 0, 0], [1, 0, -1], [0, 0, -1]], "<f4")
    uv, corners = np.array([[0, 1], [1, 1], [1, 0], [0, 0]], "<f4"), np.array([0, 1, 2, 0, 2, 3], "<u2")
    quarters(tmp_path / "a.png")
    body = xyz.tobytes() + uv.tobytes() + corners.tobytes()
    (tmp_path / "b.bin").write_bytes(body)
    views = [{"buffer": 0, "byteOffset": a, "byteLength": n} for a, n in ((0, 48), (48, 32), (80, 12))]
    accessors = [{"bufferView": 0, "componentType": 5126, "count": 4, "type": "VEC3", "min": [0, 0, -1], "max": [1, 0, 0]},
                 {"bufferView": 1, "componentType": 5126, "count": 4, "type": "VEC2"}, {"bufferView": 2, "componentType": 5123, "count": 6, "type": "SCALAR"}]  # fmt: skip
    document = {
        "asset": {"version": "2.0"}, "extensionsUsed": ["KHR_texture_transform"], "extensionsRequired": ["KHR_texture_transform"],
        "buffers": [{"uri": "b.bin", "byteLength": len(body)}], "bufferViews": views, "accessors": accessors, "images": [{"uri": "a.png"}],
        "samplers": [{"wrapS": 33071, "wrapT": 33648}], "textures": [{"source": 0, "sampler": 0}], "scenes": [{"nodes": [0]}], "scene": 0,
        "materials": [{"name": "other"}, {"name": "paper", "pbrMetallicRoughness": {"baseColorTexture": {"index": 0, **info}}}], "nodes": [{"mesh": 0}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0, "TEXCOORD_0": 1}, "indices": 2, "material": 1}]}],
    }  # fmt: skip
    (tmp_path / "m.gltf").write_text(json.dumps(document))
    return tmp_path / "m.gltf"


@pytest.mark.parametrize(("moved", "expected"), [
    ({}, {(0, 0): (0, 1), (1, 0): (1, 1), (1, 1): (1, 0), (0, 1): (0, 0)}),
    ({"offset": [0.5, 0.25], "scale": [0.5, 2]}, {(0, 0): (0.5, 2.25), (1, 0): (1, 2.25), (1, 1): (1, 0.25), (0, 1): (0.5, 0.25)}),
    # a quarter turn counter-clockwise on the image, v downwards, as CesiumJS (GltfLoaderUtil) and Babylon draw it: (u, v) -> (v, -u); scaled before
    ({"rotation": np.pi / 2}, {(0, 0): (1, 0), (1, 0): (1, -1), (1, 1): (0, -1), (0, 1): (0, 0)}),
    ({"rotation": np.pi / 2, "scale": [3, 1], "offset": [0, 1]}, {(0, 0): (1, 1), (1, 0): (1, -2), (1, 1): (0, -2), (0, 1): (0, 1)}),
])  # fmt: skip
def test_texture_transforms_and_wraps_of_gltf_are_kept(tmp_path: Path, moved: dict[str, Any], expected: dict[Any, Any]) -> None:
    (mesh,), report = load(sheet(tmp_path, extensions={"KHR_texture_transform": moved}), **PLACE)
    assert not [n for n in report.notes if "texture" in n.reason.lower()]
    (texture,) = {m.texture for m in mesh.materials if m.texture}
    assert texture.wrap == ("clamp", "mirror") and [m.name for m in mesh.materials if m.texture] == ["paper"]
    at = mesh.positions[mesh.triangles] - mesh.positions[mesh.triangles].min(axis=(0, 1))
    for corner, uv in zip(at.reshape(-1, 3), mesh.uv.reshape(-1, 2), strict=True):
        along = round(corner[0]), round(1 - corner[2])
        assert uv == pytest.approx(expected[along], abs=1e-6)


@pytest.mark.parametrize("kind", ["i1", "u1", "<i2", "<u2"])
def test_texture_coordinates_in_whole_numbers(tmp_path: Path, kind: str) -> None:
    """KHR_mesh_quantization: the transform makes fractions of them. Unsigned ones ran over where v is turned round, and the image was drawn elsewhere."""
    path = sheet(tmp_path)
    (plain,), _ = load(path, **PLACE)
    file, data = json.loads(path.read_text()), (tmp_path / "b.bin").read_bytes()
    uv = np.frombuffer(data, "<f4", 8, 48).reshape(4, 2)
    whole = np.zeros((4, 4 // np.dtype(kind).itemsize), kind)
    whole[:, :2] = uv * 100
    file["bufferViews"].append({"buffer": 0, "byteOffset": len(data), "byteLength": whole.nbytes, "byteStride": 4})
    file["accessors"][1] = {"bufferView": 3, "componentType": {"i1": 5120, "u1": 5121, "<i2": 5122, "<u2": 5123}[kind], "count": 4, "type": "VEC2"}
    file["buffers"][0]["byteLength"] += whole.nbytes
    (tmp_path / "b.bin").write_bytes(data + whole.tobytes())
    file["materials"][1]["pbrMetallicRoughness"]["baseColorTexture"]["extensions"] = {"KHR_texture_transform": {"scale": [0.01, 0.01]}}
    path.write_text(json.dumps(file))
    (mesh,), _ = load(path, **PLACE)
    assert mesh.uv == pytest.approx(plain.uv, abs=1e-6)


def test_a_texture_that_is_not_in_the_file_is_said(tmp_path: Path) -> None:
    path = sheet(tmp_path)
    path.write_text(path.read_text().replace('"baseColorTexture": {"index": 0', '"baseColorTexture": {"index": 9'))
    (mesh,), report = load(path, **PLACE)
    assert mesh.uv is None and any("names texture 9, and there are 1" in note.reason for note in report.notes)


def test_an_image_that_cannot_be_opened_is_said(tmp_path: Path) -> None:
    """trimesh leaves it out without a word."""
    path = sheet(tmp_path)
    (tmp_path / "a.png").write_bytes(b"\x89PNG and nothing more")
    (mesh,), report = load(path, **PLACE)
    assert not any(m.texture for m in mesh.materials)
    assert [n.action for n in report.notes if "cannot be decoded" in n.reason] == ["refused"]


@pytest.mark.parametrize(("mode", "drawn"), [
    ({"alphaMode": "MASK"}, [False, True, True]), ({"alphaMode": "MASK", "alphaCutoff": 0.8}, [False, False, True]), ({"alphaMode": "MASK", "alphaCutoff": 0.1}, [True, True, True]),
    ({"alphaMode": "MASK", "alphaCutoff": 0.1, "factor": 0.2}, [False, True, True]), ({"alphaMode": "BLEND"}, [51, 153, 255]), ({}, None),
])  # fmt: skip
def test_alpha_of_textures_as_their_materials_say(tmp_path: Path, mode: dict[str, Any], drawn: list[Any] | None) -> None:
    """Three stripes of alpha 0.2, 0.6 and 1: cut out at the material's own cutoff (of the product of both alphas), blended, or solid (glTF 2.0, 3.9.4)."""
    path = sheet(tmp_path)
    pixels = np.full((8, 24, 4), 200, np.uint8)
    pixels[:, :, 3] = np.repeat([51, 153, 255], 8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    document = json.loads(path.read_text())
    factor = mode.pop("factor", None)
    document["materials"][1] |= mode
    if factor is not None:
        document["materials"][1]["pbrMetallicRoughness"]["baseColorFactor"] = [1, 1, 1, factor]
    path.write_text(json.dumps(document))
    (mesh,), _ = load(path, **PLACE)
    (material,) = (m for m in mesh.materials if m.texture)
    image = Image.open(io.BytesIO(mesh.images[material.texture.image]))
    alpha = np.asarray(image.convert("RGBA"))[4, [4, 12, 20], 3].tolist()
    assert alpha == [255] * 3 if drawn is None else alpha == drawn if mode["alphaMode"] == "BLEND" else [a >= 128 for a in alpha] == drawn
    assert material.color[3] == 1 and (mode.get("alphaMode") != "MASK" or set(alpha) <= {0, 255})


def test_a_texture_on_a_second_set_of_coordinates(tmp_path: Path) -> None:
    """It is drawn where that set says; where the mesh has no such set, plainly, which is said."""
    path = sheet(tmp_path, texCoord=1)
    (mesh,), report = load(path, **PLACE)
    assert mesh.uv is None and any("no coordinates" in n.reason for n in report.notes)
    document = json.loads(path.read_text())
    attributes = document["meshes"][0]["primitives"][0]["attributes"]
    attributes["TEXCOORD_1"] = attributes["TEXCOORD_0"]
    path.write_text(json.dumps(document))
    (mesh,), _ = load(path, **PLACE)
    (expected,), _ = load(sheet(tmp_path), **PLACE)
    assert mesh.uv is not None and expected.uv is not None and np.array_equal(mesh.uv, expected.uv)


def test_what_of_a_gltf_is_not_drawn_is_said(tmp_path: Path) -> None:
    path = sheet(tmp_path)
    document = json.loads(path.read_text())
    whole = document["meshes"][0]["primitives"][0]
    document["meshes"][0] = {"name": "roof", "primitives": [whole, {**whole, "mode": 0}, {**whole, "mode": 3, "targets": [{"POSITION": 0}]}]}
    document["nodes"] = [{"mesh": 0, "name": "tree"}]
    path.write_text(json.dumps(document))
    (mesh,), report = load(path, **PLACE)
    assert len(mesh.triangles) == 2
    said = {(n.action, n.feature): n.reason for n in report.notes}
    assert {"skipped", "warned"} == {action for action, _ in said}
    reasons = " ".join(n.reason for n in report.notes)
    for what in ("points (primitive mode 0)", "line strips (primitive mode 3)", "Morph targets"):
        assert what in reasons, what
    assert ("skipped", "roof") in said


def test_inside_out_texture(tmp_path: Path) -> None:
    """Turning a closed shape turns its texture's corners with it."""
    quarters(tmp_path / "a.png")
    (tmp_path / "m.mtl").write_text("newmtl a\nmap_Kd a.png\n")
    corners = "v 0 0 0\nv 10 0 0\nv 0 0 10\nv 0 10 0\nvt 0 0\nvt 1 0\nvt 0 1\n"
    (tmp_path / "t.obj").write_text(f"mtllib m.mtl\n{corners}usemtl a\nf 1/1 3/3 2/2\nf 1/1 2/1 4/1\nf 1/1 4/1 3/1\nf 2/1 3/1 4/1\n")
    (mesh,), report = load(tmp_path / "t.obj", **PLACE)
    assert report.counts["repaired"] == 1
    assert drawn_at(mesh, (407001, 2496000, 13)) == QUARTERS[2] and drawn_at(mesh, (407001, 2496000, 19)) == QUARTERS[0]


def test_ply_colours(tmp_path: Path) -> None:
    """Colours of vertices are kept at every corner; few face colours are materials."""
    shape = trimesh.creation.box((1, 1, 1))
    shape.visual.vertex_colors = np.column_stack([np.arange(8) * 30, np.full(8, 7), np.full(8, 9), np.full(8, 255)]).astype(np.uint8)
    shape.export(tmp_path / "v.ply")
    (mesh,), _ = load(tmp_path / "v.ply", **PLACE)
    assert mesh.colors is not None
    given = {tuple(np.round(p - shape.vertices[0], 6)): tuple(c) for p, c in zip(shape.vertices, shape.visual.vertex_colors.tolist(), strict=True)}
    corner = placed(mesh) - [407000, 2496000, 12]
    for triangle, colors in zip(mesh.triangles, mesh.colors, strict=True):
        for place, color in zip(corner[triangle], colors, strict=True):
            assert given[tuple(np.round(place - shape.vertices[0], 6))] == tuple(color.tolist())
    shape.visual = trimesh.visual.ColorVisuals(shape, face_colors=np.tile([[200, 10, 10, 255], [10, 200, 10, 255]], (6, 1)))
    shape.export(tmp_path / "f.ply")
    (mesh,), _ = load(tmp_path / "f.ply", **PLACE)
    assert mesh.colors is None and sorted(m.color[0] for m in mesh.materials) == pytest.approx([0.04, 0.78])


def test_textures_that_climb_or_are_absent(tmp_path: Path) -> None:
    quarters(tmp_path / "out.png")
    for name, reason in (
        ("../out.png", "not in its folder"),
        ("/etc/passwd", "not in its folder"),
        ("none.png", "absent"),
        ("http://x.org/a.png", "not in its folder"),
    ):
        inner = tmp_path / "in"
        inner.mkdir(exist_ok=True)
        (inner / "m.mtl").write_text(f"newmtl a\nKd 1 0 0\nmap_Kd {name}\n")
        (inner / "wall.obj").write_text("mtllib m.mtl\n" + WALL)
        (mesh,), report = load(inner / "wall.obj", **PLACE)
        assert mesh.uv is None and len(mesh.triangles) == 2 and mesh.materials[0].color[:3] == (1, 0, 0)
        assert any(reason in n.reason for n in report.notes), name


def test_side_files_do_not_climb(tmp_path: Path) -> None:
    (tmp_path / "secret.mtl").write_text("newmtl a\nKd 1 0 0\n")
    inner = tmp_path / "in"
    inner.mkdir()
    (inner / "m.obj").write_text("mtllib ../secret.mtl\nv 0 0 0\nv 1 0 0\nv 0 1 0\nusemtl a\nf 1 2 3\n")
    (mesh,), report = load(inner / "m.obj", **PLACE)
    assert any("not in its folder" in n.reason for n in report.notes) and mesh.materials[0].color[:3] != (1, 0, 0)
    buffer = {"asset": {"version": "2.0"}, "buffers": [{"uri": "/etc/passwd", "byteLength": 9}]}
    (inner / "m.gltf").write_text(json.dumps(buffer))
    with pytest.raises((UnreadableSource, BadFeature)):
        load(inner / "m.gltf", **PLACE)


def test_inside_out_and_bad_triangles(tmp_path: Path) -> None:
    shape = trimesh.creation.box((2, 2, 2))
    shape.invert()
    shape.export(tmp_path / "inv.stl")
    (mesh,), report = load(tmp_path / "inv.stl", **PLACE)
    points = placed(mesh)
    assert trimesh.Trimesh(points - points[0], mesh.triangles, process=False).volume == pytest.approx(8) and report.counts["repaired"] == 1
    (tmp_path / "bad.obj").write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\nv nan 1 0\nf 1 2 3\nf 1 2 2\nf 1 2 4\n")
    (mesh,), report = load(tmp_path / "bad.obj", **PLACE)
    assert len(mesh.triangles) == 1 and report.counts["skipped"] >= 1 and report.counts["refused"] >= 1


def test_broken_files_are_refused(tmp_path: Path) -> None:
    glb = box(tmp_path, "glb").read_bytes()
    bad: dict[str, bytes] = {
        "empty.obj": b"", "text.stl": b"hello", "cut.glb": glb[:-20], "wrong.glb": b"glTX" + glb[4:], "no.gltf": b"{", "list.gltf": b"[]",
        "long.glb": glb[:12] + struct.pack("<I", 2**31) + glb[16:], "head.ply": b"ply\nformat ascii 1.0\nelement vertex 100\nend_header\n1 2",
        "flat.ply": b"ply\nformat ascii 1.0\nelement vertex 3\nproperty float x\nproperty float y\nelement face 1\nproperty list uchar int vertex_indices\nend_header\n0 0\n1 0\n0 1\n3 0 1 2\n",
        "points.obj": b"v 0 0 0\nv 1 1 1\n", "index.obj": b"v 0 0 0\nf 1 2 9\n", "count.stl": b"\0" * 80 + struct.pack("<I", 10**9),
        "draco.gltf": json.dumps({"asset": {"version": "2.0"}, "extensionsRequired": ["KHR_draco_mesh_compression"]}).encode(),
    }  # fmt: skip
    for name, data in bad.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises((UnreadableSource, BadFeature)):
            load(tmp_path / name, **PLACE)


def test_what_validators_ship_does_not_crash(shared_data: Path) -> None:
    """glTF files of the 3D Tiles suites, sound and broken: loaded or refused."""
    verdicts: dict[str, list[str]] = {"loaded": [], "refused": []}
    suites = shared_data / "peer_suites"
    tiles = suites / "3d-tiles-validator-specs/specs/data/tilesets/tiles"
    for path in [*sorted(suites.rglob("*.gl[bt]*"))[:30], *sorted(tiles.rglob("*.gl[bt]*"))]:
        try:
            meshes, _ = load(path, **PLACE)
            assert all(np.isfinite(m.positions).all() for m in meshes)
            verdicts["loaded"].append(path.name)
        except TwinError:
            verdicts["refused"].append(path.name)
    assert len(verdicts["loaded"]) > 10 and "TriangleGlbWithInvalidLength.glb" in verdicts["refused"]


def test_to_a_checked_tileset(tmp_path: Path, lake: Lake) -> None:
    from tiling.check import check_tileset
    from tiling.meshes import tiler

    path = box(tmp_path, "glb")
    assert intake.choose_reader(path, None, {}).name == "meshfile"
    report = Report(source=path.name)
    version = write_version(lake, "m", "mesh", meshfile.read(path, meshfile.Options(**PLACE), report), report, provenance={})
    facts = tiler.tile(version, TileJob(lake, tmp_path / "out.3tz", tiler.Options()))
    assert facts["tiles"] == 1 and check_tileset(tmp_path / "out.3tz").ok


SQUARE = "v 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\n"
ARROW = [(0, 0), (4, 0), (4, 4), (2, 1), (0, 4)]


def area(mesh: Mesh) -> float:
    corners = mesh.positions[mesh.triangles]
    return float(np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1).sum() / 2)


def wrote(folder: Path, name: str, data: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return path


def test_binary_stl_of_another_length_than_stated(tmp_path: Path) -> None:
    data = box(tmp_path, "stl").read_bytes()
    (mesh,), report = load(wrote(tmp_path, "long.stl", data + b"more"), **PLACE)
    assert len(mesh.triangles) == 12 and any("4 bytes behind" in note.reason for note in report.notes)
    with pytest.raises(UnreadableSource, match="states 12 triangles, there are 11"):
        load(wrote(tmp_path, "short.stl", data[:-1]), **PLACE)


def document(folder: Path, change: dict[str, Any]) -> Path:
    """A glTF of one box with members replaced."""
    whole = json.loads(trimesh.creation.box((2, 4, 6)).export(file_type="gltf")["model.gltf"])
    for name, data in trimesh.creation.box((2, 4, 6)).export(file_type="gltf").items():
        wrote(folder, name, data)
    return wrote(folder, "a.gltf", json.dumps({key: value for key, value in (whole | change).items() if value is not None}))


def test_a_text_stl_that_is_cut_short_is_refused(tmp_path: Path) -> None:
    """trimesh leaves out a solid that does not end. What is whole has the file's name, text or not."""
    text = trimesh.exchange.stl.export_stl_ascii(trimesh.creation.box()).replace("solid", "solid a")
    with pytest.raises(UnreadableSource, match="is cut short"):
        load(wrote(tmp_path, "cut.stl", text + "\n" + text[: text.index("endfacet") + 9]), **PLACE)
    plain = trimesh.exchange.stl.export_stl_ascii(trimesh.creation.box())
    assert load(wrote(tmp_path, "whole.stl", plain), **PLACE)[0][0].ids.to_pylist() == ["whole"]


def test_bad_bytes_come_before_the_place(tmp_path: Path) -> None:
    whole = box(tmp_path, "glb").read_bytes()
    (tmp_path / "cut.glb").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UnreadableSource, match="states version 2"):
        load(tmp_path / "cut.glb")


def test_scenes_of_gltf(tmp_path: Path) -> None:
    (mesh,), report = load(document(tmp_path, {"scene": None, "scenes": None}), **PLACE)
    assert len(mesh.triangles) == 12 and any("no scene" in note.reason for note in report.notes)
    _, report = load(document(tmp_path, {"scene": 0, "scenes": [{"nodes": [0]}, {"nodes": [0], "name": "other"}]}), **PLACE)
    assert any("Of its 2 scenes" in note.reason for note in report.notes)


def test_names_in_gltf_are_uris(tmp_path: Path) -> None:
    """A blank is %20 there; what climbs out once it is decoded is refused; another edition is named."""
    path = sheet(tmp_path)
    text = path.read_text()
    for name in ("b.bin", "a.png"):
        (tmp_path / name).rename(tmp_path / f"ö {name}")
    path.write_text(text.replace("b.bin", "%C3%B6%20b.bin").replace("a.png", "%C3%B6%20a.png"))
    (mesh,), _ = load(path, **PLACE)
    assert mesh.uv is not None and len(mesh.images) == 1
    path.write_text(text.replace("b.bin", "%2e%2e/b.bin"))
    (tmp_path.parent / "b.bin").write_bytes((tmp_path / "ö b.bin").read_bytes())
    with pytest.raises(UnreadableSource, match="not in its folder"):
        load(path, **PLACE)
    with pytest.raises(UnreadableSource, match=r"is glTF 1\.0"):
        load(wrote(tmp_path, "old.gltf", json.dumps({"asset": {"version": "1.0"}, "meshes": {"a": {}}})), **PLACE)


def test_reasons_are_in_words(tmp_path: Path) -> None:
    path = document(tmp_path, {})
    whole = json.loads(path.read_text())
    whole["buffers"][0]["uri"] = "gone.bin"
    with pytest.raises(UnreadableSource, match=r"'gone\.bin', which is absent"):
        load(wrote(tmp_path, "gone.gltf", json.dumps(whole)), **PLACE)
    with pytest.raises(BadFeature, match=r"holds no triangles\. 1 lines and points"):
        load(wrote(tmp_path, "points.obj", SQUARE + "p 1 2\n"), **PLACE)


@pytest.mark.parametrize("kind", ["obj", "gltf", "glb", "ply", "stl"])
@pytest.mark.parametrize(("data", "said"), [(b"\n<!DOCTYPE html><html></html>" + b" " * 90, "is an HTML page"), (b"PK\x03\x04" + bytes(90), "is a ZIP")])
def test_what_is_no_mesh_at_all_is_said(tmp_path: Path, kind: str, data: bytes, said: str) -> None:
    with pytest.raises(UnreadableSource, match=said):
        load(wrote(tmp_path, f"a.{kind}", data), **PLACE)


@pytest.mark.parametrize(("data", "said"), [
    (b"glTF\x02\0\0\0\0\x10\0\0", "is cut short: it has 12 bytes"), (b"glTF", "is cut short: it has 4 bytes"), (b"RIFF" + bytes(30), "no GLB"),
])  # fmt: skip
def test_what_is_wrong_with_the_head_of_a_glb_is_said(tmp_path: Path, data: bytes, said: str) -> None:
    (tmp_path / "a.glb").write_bytes(data)
    with pytest.raises(UnreadableSource, match=f"^a.glb is .*{said.removeprefix('is ')}"):
        load(tmp_path / "a.glb", **PLACE)
