"""Textures of city models: what is drawn where, themes, and files that must not be read."""

from __future__ import annotations

import io
import json
import re
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest
import shapely
from PIL import Image

from ingest_bim.citymodels import citygml, cityjson
from ingest_bim.citymodels import mesh as citymodel_mesh
from ingest_bim.citymodels.textures import MAX_PIXELS
from tests.ingest_bim.test_citygml import AT, ROOT, building, hull, polygon, save
from tests.ingest_bim.test_citygml import load as load_gml
from tests.ingest_bim.texture_helpers import QUARTERS, drawn_at, quarters
from twin import intake, registry, tasks
from twin.archive import Archive
from twin.city import City
from twin.errors import BadOption
from twin.lake import Lake
from twin.meshes import IMAGES
from twin.model import Mesh, Report
from twin.parts import write_version
from twin.settings import Settings

RED, GREEN, BLUE, YELLOW = QUARTERS
E, N, H = AT


def wall(paint: str, *, ring: str = "r1") -> str:
    """The cube's south wall (10 m by 10 m, lower left corner at AT) with an appearance."""
    face = polygon("w", (0, 1, 5, 4)).replace("<gml:LinearRing>", f'<gml:LinearRing gml:id="{ring}">')
    surface = f"<bldg:boundedBy><bldg:WallSurface><bldg:lod2MultiSurface><gml:MultiSurface><gml:surfaceMember>{face}</gml:surfaceMember></gml:MultiSurface></bldg:lod2MultiSurface></bldg:WallSurface></bldg:boundedBy>"
    return building(surface) + paint


def appearance(target: str, *, uri: str = "img/a.png", theme: str = "rgb", kind: str = "ParameterizedTexture", wrap: str = "wrap") -> str:
    inner = f"<app:imageURI>{uri}</app:imageURI><app:wrapMode>{wrap}</app:wrapMode>{target}"
    return f"<app:appearanceMember><app:Appearance><app:theme>{theme}</app:theme><app:surfaceDataMember><app:{kind}>{inner}</app:{kind}></app:surfaceDataMember></app:Appearance></app:appearanceMember>"


COORDINATES = '<app:target uri="#w"><app:TexCoordList><app:textureCoordinates ring="#r1">0 0 1 0 1 1 0 1 0 0</app:textureCoordinates></app:TexCoordList></app:target>'


def colours(mesh: Mesh) -> list[Any]:
    """What is drawn at the middle of the wall's quarters: left upper, right upper, left lower, right lower."""
    return [drawn_at(mesh, (E + x, N, H + z)) for z in (7.5, 2.5) for x in (2.5, 7.5)]


@pytest.mark.parametrize("version", ["1.0", "2.0"])
def test_parameterized_texture(tmp_path: Path, version: str) -> None:
    quarters(tmp_path / "img/a.png")
    (mesh,), report = load_gml(save(tmp_path, wall(appearance(COORDINATES)), version=version))
    assert colours(mesh) == list(QUARTERS) and report.facts["themes"] == {"textures": {"rgb": 1}}
    assert len(mesh.images) == 1 and mesh.attributes["cim_grade"][0].as_py() == "CIM3"
    (plain,), report = load_gml(save(tmp_path, wall(appearance(COORDINATES))), textures=False)
    assert plain.uv is None and any("as asked" in n.reason for n in report.notes)


def test_targets_that_lead_nowhere_are_said(tmp_path: Path) -> None:
    """A typing error in a target leaves a wall grey; nothing was said. A wall's own target, and one of another theme, are no reason to speak."""
    quarters(tmp_path / "img/a.png")
    astray = appearance('<app:target uri="#wall-7"/><app:target uri="#wall-8"/>')
    (mesh,), report = load_gml(save(tmp_path, wall(appearance(COORDINATES) + astray)))
    assert colours(mesh) == list(QUARTERS)
    assert [n.reason for n in report.notes if "lead to nothing" in n.reason] == ["Appearance: 2 of its targets lead to nothing in this file, and their textures are not drawn: 'wall-7' and others."]
    _, report = load_gml(save(tmp_path, wall(appearance(COORDINATES) + astray.replace("rgb", "a"))), theme="rgb")
    assert not any("lead to nothing" in n.reason for n in report.notes)


def test_texture_made_by_a_matrix(tmp_path: Path) -> None:
    """worldToTexture: s = (x - E) / 10, t = (z - H) / 10."""
    quarters(tmp_path / "img/a.png")
    matrix = f"0.1 0 0 {-E / 10} 0 0 0.1 {-H / 10} 0 0 0 1"
    target = f'<app:target uri="#w"><app:TexCoordGen><app:worldToTexture>{matrix}</app:worldToTexture></app:TexCoordGen></app:target>'
    (mesh,), _ = load_gml(save(tmp_path, wall(appearance(target))))
    assert colours(mesh) == list(QUARTERS)


@pytest.mark.parametrize("stated", ["in the file", "beside the image"])
def test_georeferenced_texture(tmp_path: Path, stated: str) -> None:
    """An aerial image of 16 pixels over the cube's roof, 0.625 m a pixel; the upper left pixel's middle is half a pixel inside."""
    quarters(tmp_path / "img/a.png")
    step, left, top = 0.625, E + 0.3125, N + 10 - 0.3125
    place = f"<app:referencePoint><gml:Point><gml:pos>{left} {top}</gml:pos></gml:Point></app:referencePoint><app:orientation>{step} 0 0 {-step}</app:orientation>"
    if stated != "in the file":
        (tmp_path / "img/a.pgw").write_text(f"{step}\n0\n0\n{-step}\n{left}\n{top}\n")
        place = ""
    roof = f"<bldg:lod2MultiSurface><gml:MultiSurface><gml:surfaceMember>{polygon('w', (4, 5, 6, 7))}</gml:surfaceMember></gml:MultiSurface></bldg:lod2MultiSurface>"
    (mesh,), _ = load_gml(save(tmp_path, building(roof) + appearance(place + "<app:target>#w</app:target>", kind="GeoreferencedTexture")))
    assert [drawn_at(mesh, (E + x, N + y, H + 10)) for y in (7.5, 2.5) for x in (2.5, 7.5)] == list(QUARTERS)


def test_themes(tmp_path: Path) -> None:
    """The theme of most surfaces unless another is asked for; the others are listed."""
    quarters(tmp_path / "img/a.png")
    Image.new("RGB", (8, 8), (9, 9, 9)).save(tmp_path / "img/b.png")
    path = save(tmp_path, wall(appearance(COORDINATES) + appearance(COORDINATES, uri="img/b.png", theme="night")))
    (mesh,), report = load_gml(path)
    assert colours(mesh)[0] == (9, 9, 9) and any("not rgb" in n.reason for n in report.notes)  # of equals the first by name
    (mesh,), _ = load_gml(path, theme="rgb")
    assert colours(mesh)[0] == RED
    with pytest.raises(BadOption, match="noon"):
        load_gml(path, theme="noon")


def bomb(path: Path) -> None:
    """A PNG of 60,000 by 60,000 pixels in a few hundred bytes: only its header is honest."""
    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">2I5B", 60_000, 60_000, 8, 0, 0, 0, 0)) + chunk(b"IDAT", zlib.compress(bytes(100_000))) + chunk(b"IEND", b""))
    assert MAX_PIXELS < 60_000**2


def test_images_that_are_not_read(tmp_path: Path) -> None:
    """Outside of the folder, addresses, links, absent, too large, broken: listed once each, and the wall is drawn plain."""
    home = tmp_path / "model"
    quarters(tmp_path / "out.png")
    quarters(home / "img/a.png")
    (home / "img/link.png").symlink_to(tmp_path / "out.png")
    bomb(home / "img/bomb.png")
    (home / "img/broken.png").write_bytes((home / "img/a.png").read_bytes()[:60])
    (home / "img/text.png").write_text("no image")
    Image.new("F", (8, 8)).save(home / "img/float.tif")
    for uri, reason in (("../out.png", "leads out"), ("img/../../out.png", "leads out"), (str(tmp_path / "out.png"), "not a path"), ("img/link.png", "leads out"),
                        ("http://example.org/a.png", "not a path"), ("C:\\a.png", "not a path"), ("..\\out.png", "leads out"), ("img/none.png", "absent"),
                        ("img/bomb.png", "pixels"), ("img/broken.png", "decoded"), ("img/text.png", "is no image of a kind that is read"),
                        ("img/float.tif", "32 bits"), ("", "not a path")):  # fmt: skip
        (mesh,), report = load_gml(save(home, wall(appearance(COORDINATES, uri=uri))))
        notes = [n for n in report.notes if "texture" in n.reason]
        assert len(notes) == 1 and reason in notes[0].reason, (uri, notes)
        assert mesh.uv is None and len(mesh.triangles) == 2 and not mesh.images


def test_names_of_images_are_uris(tmp_path: Path) -> None:
    """A blank is %20 there, unless a file is called just so; what climbs out once it is decoded is refused."""
    home = tmp_path / "model"
    quarters(tmp_path / "out.png")
    for name in ("a 墙.png", "b%20c.png"):
        quarters(home / "img" / name)
    for uri in ("img/a%20%E5%A2%99.png", "img/b%20c.png"):
        (mesh,), _ = load_gml(save(home, wall(appearance(COORDINATES, uri=uri))))
        assert colours(mesh) == list(QUARTERS)
    (mesh,), report = load_gml(save(home, wall(appearance(COORDINATES, uri="%2e%2e/out.png"))))
    assert not mesh.images and any("leads out" in note.reason for note in report.notes)


@pytest.mark.parametrize("value", ["1 0", "1,0 0 0", "red", "1 0 0</app:diffuseColor><app:transparency>none</app:transparency><app:diffuseColor>1 0 0"])
def test_a_material_that_is_no_colour_is_said(tmp_path: Path, value: str) -> None:
    data = f"<app:surfaceDataMember><app:X3DMaterial><app:diffuseColor>{value}</app:diffuseColor><app:target>#w</app:target></app:X3DMaterial></app:surfaceDataMember>"
    (mesh,), report = load_gml(save(tmp_path, wall(f"<app:appearanceMember><app:Appearance><app:theme>t</app:theme>{data}</app:Appearance></app:appearanceMember>")))
    assert mesh.materials[0].color == (0.8, 0.8, 0.8, 1.0) and any("colour or transparency is no number" in note.reason for note in report.notes)


@pytest.mark.parametrize("text", ["0 0 1 0 1 1", "0 0 1 0 1 1 0 1 0 nan", "a b", "0 0 1"])
def test_bad_coordinates_are_reported(tmp_path: Path, text: str) -> None:
    quarters(tmp_path / "img/a.png")
    (mesh,), report = load_gml(save(tmp_path, wall(appearance(COORDINATES.replace("0 0 1 0 1 1 0 1 0 0", text)))))
    assert mesh.uv is None and any("texture coordinates" in n.reason for n in report.notes)


def test_plateau_textures(shared_data: Path) -> None:
    """Every textured ring of the file, read here with the plain parser: the mesh's corners have its coordinates at its places."""
    path = shared_data / "citymodel/plateau_yokosuka/udx/bldg/52397519_bldg_6697_op.gml"
    (mesh,), report = load_gml(path)
    tree = ET.parse(path).getroot()
    gml, app = "{http://www.opengis.net/gml}", "{http://www.opengis.net/citygml/appearance/2.0}"
    rings = {r.get(f"{gml}id"): np.array(r.find(f"{gml}posList").text.split(), float).reshape(-1, 3) for r in tree.iter(f"{gml}LinearRing") if r.get(f"{gml}id")}  # type: ignore[union-attr]
    expected: dict[tuple[float, ...], set[tuple[float, ...]]] = {}
    images = {}
    for texture in tree.iter(f"{app}ParameterizedTexture"):
        uri = str(texture.findtext(f"{app}imageURI"))
        images[uri] = (path.parent / uri).read_bytes()
        for node in texture.iter(f"{app}textureCoordinates"):
            uv = np.array((node.text or "").split(), float).reshape(-1, 2)
            for place, at in zip(rings[str(node.get("ring"))[1:]], uv, strict=True):
                expected.setdefault(tuple(np.round(place[[1, 0, 2]], 7)), set()).add(tuple(np.round([at[0], 1 - at[1]], 5)))
    assert sorted(mesh.images.values()) == sorted(images.values()) and len(images) == 3
    assert report.facts["themes"] == {"textures": {"rgbTexture": len(list(tree.iter(f"{app}TexCoordList")))}}
    assert mesh.uv is not None
    checked = 0
    for p, matrix in zip(mesh.instance_prototype, mesh.transforms, strict=True):
        span = slice(mesh.triangle_start[p], mesh.triangle_start[p + 1])
        places = (mesh.positions[mesh.vertex_start[p] : mesh.vertex_start[p + 1]] + matrix[:3, 3])[mesh.triangles[span]]
        for corner, uv in zip(places.reshape(-1, 3), mesh.uv[span].reshape(-1, 2), strict=True):
            if np.isfinite(uv).all():
                known = expected[tuple(np.round(corner, 7))]
                assert min(np.abs(np.array(k) - uv).max() for k in known) < 2e-5
                checked += 1
    assert checked > 900


# --- CityJSON ----------------------------------------------------------------------------------------------------


def document(**changes: Any) -> dict[str, Any]:
    """The same wall, with one texture and two themes."""
    geometry = {"type": "MultiSurface", "lod": "2", "boundaries": [[[0, 1, 2, 3]]],
                "texture": {"day": {"values": [[[0, 0, 1, 2, 3]]]}, "night": {"values": [[[1, 0, 1, 2, 3]]]}}} | changes  # fmt: skip
    return {"type": "CityJSON", "version": "2.0", "metadata": {"referenceSystem": "https://www.opengis.net/def/crs/EPSG/0/7415"},
            "transform": {"scale": [1, 1, 1], "translate": [85000, 447000, 0]}, "vertices": [[0, 0, 0], [10, 0, 0], [10, 0, 10], [0, 0, 10]],
            "appearance": {"textures": [{"type": "PNG", "image": "img/a.png", "wrapMode": "mirror"}, {"type": "PNG", "image": "img/b.png"}],
                           "vertices-texture": [[0, 0], [1, 0], [1, 1], [0, 1]], "default-theme-texture": "day"},
            "CityObjects": {"b": {"type": "Building", "geometry": [geometry]}}}  # fmt: skip


def load_json(folder: Path, content: Any, **options: Any) -> tuple[Mesh, Report]:
    path, report = folder / "model.city.json", Report()
    path.write_text(json.dumps(content) if isinstance(content, dict) else "\n".join(json.dumps(line) for line in content))
    (mesh,) = [b for b in cityjson.read(path, cityjson.Options(**options), report) if isinstance(b, Mesh)]
    return mesh, report


def test_cityjson(tmp_path: Path) -> None:
    quarters(tmp_path / "img/a.png")
    Image.new("RGB", (8, 8), (9, 9, 9)).save(tmp_path / "img/b.png")
    mesh, report = load_json(tmp_path, document())
    assert [drawn_at(mesh, (85000 + x, 447000, z)) for z in (7.5, 2.5) for x in (2.5, 7.5)] == list(QUARTERS)
    assert next(m.texture for m in mesh.materials if m.texture).wrap == ("mirror", "mirror") and any("not night" in n.reason for n in report.notes)
    mesh, _ = load_json(tmp_path, document(), theme="night")
    assert drawn_at(mesh, (85001, 447000, 1)) == (9, 9, 9)
    # the same as a sequence whose features bring their own appearance
    whole = document()
    header = {k: v for k, v in whole.items() if k not in ("appearance", "vertices")} | {"CityObjects": {}, "vertices": []}
    feature = {"type": "CityJSONFeature", "id": "b", "CityObjects": whole["CityObjects"], "vertices": whole["vertices"], "appearance": whole["appearance"]}
    mesh, _ = load_json(tmp_path, [header, feature], theme="day")
    assert drawn_at(mesh, (85001, 447000, 9)) == RED


@pytest.mark.parametrize("values", [[[[0, 0, 1, 2]]], [[[0, 0, 1, 2, 9]]], [[[7, 0, 1, 2, 3]]], [[["x", 0, 1, 2, 3]]], [[[0, 0, 1, 2, -1]]], [[[0], [1]]]])
def test_cityjson_coordinates_that_do_not_fit(tmp_path: Path, values: Any) -> None:
    quarters(tmp_path / "img/a.png")
    mesh, report = load_json(tmp_path, document(texture={"day": {"values": values}}))
    assert mesh.uv is None and len(mesh.triangles) == 2 and any("do not fit" in n.reason for n in report.notes)


@pytest.mark.parametrize("texture", [{"day": {"values": [[[None]]]}}, {"day": {"values": None}}, {"day": {}}, {}])
def test_cityjson_faces_without_texture(tmp_path: Path, texture: Any) -> None:
    mesh, report = load_json(tmp_path, document(texture=texture))
    assert mesh.uv is None and len(mesh.triangles) == 2 and "refused" not in report.counts


def test_cityjson_hole_with_texture(tmp_path: Path) -> None:
    """A wall with a window cut out: its hole has its own coordinates."""
    quarters(tmp_path / "img/a.png")
    content = document(boundaries=[[[0, 1, 2, 3], [4, 7, 6, 5]]], texture={"day": {"values": [[[0, 0, 1, 2, 3], [0, 4, 7, 6, 5]]]}})
    content["vertices"] += [[4, 0, 4], [6, 0, 4], [6, 0, 6], [4, 0, 6]]
    content["appearance"]["vertices-texture"] += [[0.4, 0.4], [0.6, 0.4], [0.6, 0.6], [0.4, 0.6]]
    mesh, _ = load_json(tmp_path, content)
    assert [drawn_at(mesh, (85000 + x, 447000, z)) for z in (7.5, 2.5) for x in (2.5, 7.5)] == list(QUARTERS)
    with pytest.raises(AssertionError):
        drawn_at(mesh, (85005, 447000, 5))


def test_code_lists(tmp_path: Path) -> None:
    """A code and its meaning from the package's own folder; a list outside of it is not read, nor one with entities."""
    entry = '<gml:Dictionary xmlns:gml="http://www.opengis.net/gml"><gml:dictionaryEntry><gml:Definition gml:id="a"><gml:description>業務施設</gml:description><gml:name>401</gml:name></gml:Definition></gml:dictionaryEntry></gml:Dictionary>'
    home = tmp_path / "package/udx/bldg"
    home.mkdir(parents=True)
    lists = tmp_path / "package/codelists"
    lists.mkdir()
    (lists / "usage.xml").write_text(entry, encoding="utf-8")
    (lists / "bad.xml").write_text('<!DOCTYPE x [<!ENTITY a "ha">]>' + entry, encoding="utf-8")
    (tmp_path / "outside.xml").write_text(entry, encoding="utf-8")
    inner = "".join(f'<bldg:{name} codeSpace="{space}">{code}</bldg:{name}>' for name, space, code in (
        ("usage", "../../codelists/usage.xml", "401"), ("function", "../../codelists/usage.xml", "999"), ("roofType", "../../../outside.xml", "401"),
        ("class", "../../codelists/bad.xml", "401")))  # fmt: skip
    face = f"<bldg:lod2MultiSurface>{polygon('w', (0, 1, 5, 4))}</bldg:lod2MultiSurface>"
    (mesh,), report = load_gml(save(home, building(inner + face)))
    row = {name: mesh.attributes[name][0].as_py() for name in mesh.attributes.column_names}
    assert row["usage"] == "401" and row["usage.label"] == "業務施設" and row["function"] == "999"
    assert not {"function.label", "roofType.label", "attribute.class.label"} & set(row) and row["roofType"] == "401"
    reasons = " ".join(n.reason for n in report.notes)
    assert "outside of the model's package" in reasons and "document type" in reasons


def test_points_and_lines_are_kept(tmp_path: Path) -> None:
    """A road with a line alone (LoD0 network) keeps it as its geometry, in the file's places; an object with faces has it, and where it meets the ground, as attributes."""
    line = f"<gml:MultiCurve><gml:curveMember><gml:LineString><gml:posList>{E} {N} {H} {E + 5} {N} {H}</gml:posList></gml:LineString></gml:curveMember></gml:MultiCurve>"
    road = f'<core:cityObjectMember><bldg:BuildingInstallation gml:id="antenna"><bldg:lod3Geometry>{line}</bldg:lod3Geometry></bldg:BuildingInstallation></core:cityObjectMember>'
    face = f"<bldg:lod2MultiSurface>{polygon('w', (0, 1, 5, 4))}</bldg:lod2MultiSurface><bldg:lod2MultiCurve>{line}</bldg:lod2MultiCurve><bldg:lod1TerrainIntersection>{line}</bldg:lod1TerrainIntersection>"
    (mesh,), report = load_gml(save(tmp_path, road + building(face)))
    assert mesh.outlines is not None
    assert list(mesh.outlines[0].coords) == [(E, N, H), (E + 5, N, H)] and mesh.outlines[1] is None
    for name in ("lod2MultiCurve", "lod1TerrainIntersection"):
        assert list(shapely.from_wkt(mesh.attributes[name][1].as_py()).coords) == [(E, N, H), (E + 5, N, H)] and mesh.attributes[name][0].as_py() is None
    assert [n.feature for n in report.notes if n.action == "warned" and "kept as a plan geometry" in n.reason] == ["antenna"] and len(report.notes) == 1
    relief = f'<core:cityObjectMember><dem:MassPointRelief xmlns:dem="http://www.opengis.net/citygml/relief/2.0" gml:id="mass"><dem:lod>1</dem:lod><dem:reliefPoints><gml:MultiPoint><gml:pointMember><gml:Point><gml:pos>{E} {N} {H}</gml:pos></gml:Point></gml:pointMember></gml:MultiPoint></dem:reliefPoints></dem:MassPointRelief></core:cityObjectMember>'
    (mesh,), _ = load_gml(save(tmp_path, relief))
    assert mesh.outlines is not None and list(mesh.outlines[0].coords) == [(E, N, H)] and mesh.attributes["lod"].to_pylist() == ["1"]
    content = document()
    content["CityObjects"]["p"] = {"type": "GenericCityObject", "geometry": [{"type": "MultiPoint", "lod": "1", "boundaries": [1, 2]}]}
    content["CityObjects"]["q"] = {"type": "Road", "geometry": [{"type": "MultiLineString", "lod": "0", "boundaries": [[0, 1], [0, 99]]}]}
    found, report = load_json(tmp_path, content)
    assert found.outlines is not None
    shapes = dict(zip(found.ids.to_pylist(), found.outlines, strict=True))
    assert [g.coords[0] for g in shapes["p"].geoms] == [(85010, 447000, 0), (85010, 447000, 10)] and list(shapes["q"].coords) == [(85000, 447000, 0), (85010, 447000, 0)]
    assert [n.feature for n in report.notes if n.action == "refused" and "line with vertices" in n.reason] == ["q"]


def test_images_are_decoded_whole(tmp_path: Path) -> None:
    """A JPEG that ends early is found when it is read, not when it is drawn."""
    data = io.BytesIO()
    Image.effect_noise((64, 64), 80).convert("RGB").save(data, "JPEG")
    (tmp_path / "img").mkdir()
    (tmp_path / "img/a.png").write_bytes(data.getvalue()[: len(data.getvalue()) // 2])
    (mesh,), report = load_gml(save(tmp_path, wall(appearance(COORDINATES))))
    assert mesh.uv is None and any("decoded" in n.reason for n in report.notes)


PEAK = """
import sys
from pathlib import Path
from ingest_bim.citymodels import citygml, mesh
from twin.model import Report
mesh.MAX_ROWS = 3000
report = Report()
count = sum(len(batch) for batch in citygml.read(Path(sys.argv[1]), citygml.Options(), report))
high = next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(count, high, report.facts["themes"]["textures"]["rgb"])
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from /proc")
def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    """Ten times the file, its textures all in one appearance at the end, as packages have them: the peak of a process of its own stays."""
    quarters(tmp_path / "img/a.png")
    whole = hull().replace("<gml:LinearRing>", '<gml:LinearRing gml:id="ring">', 1)
    head, tail = ROOT.format(v="2.0", srs="urn:ogc:def:crs,crs:EPSG::25832,crs:EPSG::5783", corner="691000 5335000 500", members="@@", doctype="").split("@@")
    peaks = {}
    for count in (400, 4000):
        path = tmp_path / "model.gml"
        with path.open("w") as file:
            file.write(head)
            file.writelines(building(re.sub(r'(gml:id="|"#)', rf"\g<1>n{i}-", whole), f"b{i}") for i in range(count))
            targets = (COORDINATES.replace("#w", f"#n{i}-g").replace("#r1", f"#n{i}-ring") for i in range(count))
            file.write("<app:appearanceMember><app:Appearance><app:theme>rgb</app:theme>")
            for target in targets:
                file.write(f"<app:surfaceDataMember><app:ParameterizedTexture><app:imageURI>img/a.png</app:imageURI>{target}</app:ParameterizedTexture></app:surfaceDataMember>")
            file.write("</app:Appearance></app:appearanceMember>" + tail)
        done = subprocess.run([sys.executable, "-c", PEAK, str(path)], capture_output=True, text=True, check=True, cwd=Path(__file__).resolve().parents[2])
        rows, peak, targets_read = map(int, done.stdout.split())
        assert (rows, targets_read) == (7 * count, count)
        peaks[count] = (peak / 1024, path.stat().st_size / 2**20)
    (small, size), (large, size10) = peaks[400], peaks[4000]
    assert size10 > 9.5 * size and size10 > 12
    assert large - small < 0.5 * (size10 - size), peaks


def test_batches_end_when_their_images_are_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lake: Lake) -> None:
    """A batch holds a bounded size of image files; the lake keeps each image once all the same."""
    quarters(tmp_path / "img/a.png")
    quarters(tmp_path / "img/b.png", 32)
    monkeypatch.setattr(citymodel_mesh, "MAX_IMAGES", 10)
    walls = "".join(re.sub(r'id="(w|r1|b1)"', rf'id="\1-{i}"', wall("")) for i in range(4))
    paint = "".join(appearance(COORDINATES.replace("#w", f"#w-{i}").replace("#r1", f"#r1-{i}"), uri=f"img/{'ab'[i % 2]}.png") for i in range(4))
    path, report = save(tmp_path, walls + paint), Report()
    batches = list(citygml.read(path, citygml.Options(), report))
    assert [len(b.images) for b in batches if isinstance(b, Mesh)] == [1, 1, 1, 1]
    version = write_version(lake, "w", "mesh", batches, report, provenance={})
    assert sum(part.count for part in version.parts if part.role == IMAGES) == 2


@pytest.mark.parametrize("given", [{"textures": "png"}, {"textures": "none"}, {"textures": "false"}, {"textures": "bmp"}])
@pytest.mark.parametrize("reader", ["citygml", "cityjson"])
def test_whether_they_are_read_and_what_tiles_carry_have_one_name(given: dict[str, str], reader: str) -> None:
    """`textures` is the reader's where it says yes or no, else the tiler's."""
    entry = registry.find(registry.readers(), reader, "reader")
    if given["textures"] == "bmp":
        with pytest.raises(BadOption, match="textures"):
            intake.split_options(entry, given)
        return
    read, left = intake.split_options(entry, given)
    assert (read.textures, left) == ((False, {}) if given["textures"] == "false" else (True, given))


def test_a_city_model_for_clients_without_webp(tmp_path: Path) -> None:
    quarters(tmp_path / "img/a.png")
    city = City(Settings(home=tmp_path / "city"))
    params = intake.ingest_params(save(tmp_path, wall(appearance(COORDINATES))), "m", options={"textures": "png"}, publish=True)
    tasks.require(tasks.work(city, tasks.submit(city, "ingest", params)))
    derivation = city.published("m")[2]
    assert derivation is not None
    with Archive(city.lake.path(derivation.archive)) as archive:
        (glb,) = (archive.read(name) for name in archive.names() if name.endswith(".glb"))
    assert b"image/png" in glb and b"EXT_texture_webp" not in glb
