"""CityGML: small models as text, abuse of XML, and the real files with an independent count of what they hold."""

from __future__ import annotations

import json
import re
import tracemalloc
from collections import Counter
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest
import trimesh
from pyproj import Transformer

from ingest_bim.citymodels import citygml
from ingest_bim.citymodels.objects import crs_text
from twin import grading, intake
from twin.errors import BadFeature, BadReference, MissingReference, UnreadableSource
from twin.lake import Lake
from twin.model import Mesh, Report
from twin.parts import write_version
from twin.registry import TileJob

ROOT = """<?xml version="1.0" encoding="UTF-8"?>{doctype}
<core:CityModel xmlns:core="http://www.opengis.net/citygml/{v}" xmlns:bldg="http://www.opengis.net/citygml/building/{v}"
 xmlns:gen="http://www.opengis.net/citygml/generics/{v}" xmlns:veg="http://www.opengis.net/citygml/vegetation/{v}" xmlns:app="http://www.opengis.net/citygml/appearance/{v}"
 xmlns:gml="http://www.opengis.net/gml" xmlns:xlink="http://www.w3.org/1999/xlink" xmlns:uro="https://www.geospatial.jp/iur/uro/2.0">
<gml:boundedBy><gml:Envelope srsName="{srs}" srsDimension="3"><gml:lowerCorner>{corner}</gml:lowerCorner></gml:Envelope></gml:boundedBy>
{members}</core:CityModel>"""
FACES = {"g": (0, 3, 2, 1), "r": (4, 5, 6, 7), "w0": (0, 1, 5, 4), "w1": (1, 2, 6, 5), "w2": (2, 3, 7, 6), "w3": (3, 0, 4, 7)}
#: Of the EPSG:25832 cube: easting, northing, height.
AT = (691000.0, 5335000.0, 500.0)


def polygon(name: str, ring: tuple[int, ...], at: tuple[float, ...] = AT, size: float = 10.0) -> str:
    cube = [(0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0), (0, 0, 1), (1, 0, 1), (1, 1, 1), (0, 1, 1)]
    text = " ".join(f"{at[k] + size * cube[i][k]:.4f}" for i in (*ring, ring[0]) for k in range(3))
    return f'<gml:Polygon gml:id="{name}"><gml:exterior><gml:LinearRing><gml:posList>{text}</gml:posList></gml:LinearRing></gml:exterior></gml:Polygon>'


def hull() -> str:
    kinds = {"g": "GroundSurface", "r": "RoofSurface", "w": "WallSurface"}
    surfaces = "".join(
        f'<bldg:boundedBy><bldg:{kinds[name[0]]} gml:id="s-{name}"><bldg:lod2MultiSurface><gml:MultiSurface><gml:surfaceMember>{polygon(name, ring)}'
        f"</gml:surfaceMember></gml:MultiSurface></bldg:lod2MultiSurface></bldg:{kinds[name[0]]}></bldg:boundedBy>" for name, ring in FACES.items()
    )  # fmt: skip
    members = "".join(f'<gml:surfaceMember xlink:href="#{name}"/>' for name in FACES)
    return (
        surfaces
        + f"<bldg:lod2Solid><gml:Solid><gml:exterior><gml:CompositeSurface>{members}</gml:CompositeSurface></gml:exterior></gml:Solid></bldg:lod2Solid>"
    )


def building(inner: str = "", name: str = "b1") -> str:
    return f'<core:cityObjectMember><bldg:Building gml:id="{name}">{inner}</bldg:Building></core:cityObjectMember>'


def save(folder: Path, members: str, *, srs: str = "urn:ogc:def:crs,crs:EPSG::25832,crs:EPSG::5783", corner: str = "691000 5335000 500", doctype: str = "",
         version: str = "2.0") -> Path:  # fmt: skip
    path = folder / "model.gml"
    path.write_text(ROOT.format(v=version, srs=srs, corner=corner, members=members, doctype=doctype), encoding="utf-8")
    return path


def load(path: Path, **options: Any) -> tuple[list[Mesh], Report]:
    report = Report()
    return [b for b in citygml.read(path, citygml.Options(**options), report) if isinstance(b, Mesh)], report


def volume(mesh: Mesh, scale: tuple[float, float, float] = (1, 1, 1)) -> trimesh.Trimesh:
    corners, triangles, count = [], [], 0
    for p, matrix in zip(mesh.instance_prototype, mesh.transforms, strict=True):
        own = mesh.positions[mesh.vertex_start[p] : mesh.vertex_start[p + 1]] @ matrix[:3, :3].T + matrix[:3, 3]
        corners.append(own)
        triangles.append(mesh.triangles[mesh.triangle_start[p] : mesh.triangle_start[p + 1]] + count)
        count += len(own)
    points = np.concatenate(corners)
    solid = trimesh.Trimesh((points - points[0]) * scale, np.concatenate(triangles), process=False)
    solid.merge_vertices(digits_vertex=4)
    return solid


@pytest.mark.parametrize("version", ["1.0", "2.0"])
def test_hull_and_solid_by_reference(tmp_path: Path, version: str) -> None:
    (mesh,), report = load(save(tmp_path, building("<bldg:measuredHeight uom='m'>10.5</bldg:measuredHeight>" + hull()), version=version))
    assert mesh.ids.to_pylist() == ["b1", *(f"b1#{i}" for i in range(6))] and set(mesh.parents.to_pylist()[1:]) == {"b1"}
    assert mesh.attributes["class"].to_pylist()[:4] == ["Building", "GroundSurface", "RoofSurface", "WallSurface"]
    assert len(mesh.triangles) == 12 and volume(mesh).is_watertight and volume(mesh).volume == pytest.approx(1000)
    assert mesh.attributes["measuredHeight"][0].as_py() == 10.5 and mesh.attributes.schema.field("measuredHeight").metadata[b"unit"] == b"m"
    assert (mesh.reference.horizontal, mesh.reference.vertical) == ("EPSG:25832", "EPSG:5783")
    assert (
        report.facts["driver"] == f"CityGML {version}"
        and report.facts["geometry"]["closed solids"] == 1
        and grading.grade("mesh", report.facts).value == "CIM3"
    )


def test_attributes_of_all_kinds(tmp_path: Path) -> None:
    inner = (
        '<gen:stringAttribute name="名"><gen:value>市政厅</gen:value></gen:stringAttribute><gen:measureAttribute name="area"><gen:value uom="m2">42</gen:value></gen:measureAttribute>'
        '<gen:genericAttributeSet name="set"><gen:intAttribute name="n"><gen:value>3</gen:value></gen:intAttribute></gen:genericAttributeSet>'
        '<bldg:class codeSpace="c.xml">0401</bldg:class><bldg:function>1</bldg:function><bldg:function>2</bldg:function>'
        "<uro:buildingIDAttribute><uro:BuildingIDAttribute><uro:buildingID>14201-bldg-1</uro:buildingID></uro:BuildingIDAttribute></uro:buildingIDAttribute>"
        "<bldg:address><core:Address><core:street>Main</core:street></core:Address></bldg:address>"
    )
    (mesh,), _ = load(save(tmp_path, building(inner + hull())))
    row = {name: mesh.attributes[name][0].as_py() for name in mesh.attributes.column_names}
    assert row["名"] == "市政厅" and row["area"] == 42.0 and row["set.n"] == 3 and row["attribute.class"] == "0401" and row["function"] == ["1", "2"]
    assert row["uro:buildingIDAttribute.uro:buildingID"] == "14201-bldg-1" and "Main" in row["address"]
    assert mesh.attributes.schema.field("area").metadata[b"unit"] == b"m2"


def test_colours_parts_and_openings(tmp_path: Path) -> None:
    window = f"<bldg:opening><bldg:Window><bldg:lod2MultiSurface>{polygon('pane', (0, 1, 5, 4))}</bldg:lod2MultiSurface></bldg:Window></bldg:opening>"
    part = f'<bldg:consistsOfBuildingPart><bldg:BuildingPart gml:id="p"><bldg:boundedBy><bldg:WallSurface>{window}</bldg:WallSurface></bldg:boundedBy></bldg:BuildingPart></bldg:consistsOfBuildingPart>'
    paint = "<app:appearanceMember><app:Appearance><app:surfaceDataMember><app:X3DMaterial><app:diffuseColor>1 0 0</app:diffuseColor><app:target>#pane</app:target></app:X3DMaterial></app:surfaceDataMember></app:Appearance></app:appearanceMember>"
    (mesh,), _ = load(save(tmp_path, building(part) + paint))
    assert mesh.ids.to_pylist() == ["b1", "p", "p#0", "p#1"] and mesh.parents.to_pylist() == [None, "b1", "p", "p#0"]
    assert mesh.instance_feature.tolist() == [3] and mesh.materials[mesh.triangle_material[0]].color == (1, 0, 0, 1)


def test_latitude_first(tmp_path: Path) -> None:
    """PLATEAU's order, by URL; and a file that says urn but stores longitude first."""
    for order in (1, -1):
        at = (35.25, 139.73)[::order]
        ring = " ".join(f"{a} {b} {z}" for a, b, z in [(at[0], at[1], 5), (at[0] + 1e-4, at[1], 5), (at[0] + 1e-4, at[1] + 1e-4, 5), (at[0], at[1], 5)])
        body = f"<bldg:lod1MultiSurface><gml:Polygon><gml:exterior><gml:LinearRing><gml:posList>{ring}</gml:posList></gml:LinearRing></gml:exterior></gml:Polygon></bldg:lod1MultiSurface>"
        path = save(tmp_path, building(body), srs="http://www.opengis.net/def/crs/EPSG/0/6697", corner=f"{at[0]} {at[1]} 5")
        (mesh,), report = load(path)
        assert mesh.transforms[0][:3, 3] == pytest.approx([139.73, 35.25, 5], abs=2e-4) and mesh.reference.horizontal == "EPSG:6668"
        assert report.counts.get("assumed", 0) == (order == -1)
        assert mesh.reference.vertical == "EPSG:6695"


@pytest.mark.parametrize(("data", "color"), [(("1 0 0", "0 0 1"), (1, 0, 0)), ((None, "0 0 1"), (0, 0, 1)), (("1 0 0", None), (1, 0, 0))])
@pytest.mark.parametrize("back_first", [False, True])
def test_what_is_said_of_the_back_of_a_surface_does_not_hide_its_front(tmp_path: Path, data: tuple[str | None, ...], color: tuple[int, ...], back_first: bool) -> None:
    """isFront false: Ingolstadt's files have both for the same panes."""
    members = [f"<app:surfaceDataMember><app:X3DMaterial><app:isFront>{front}</app:isFront><app:diffuseColor>{rgb}</app:diffuseColor><app:target>#w</app:target></app:X3DMaterial></app:surfaceDataMember>"
               for rgb, front in zip(data, ("true", "false"), strict=True) if rgb]  # fmt: skip
    paint = f"<app:appearanceMember><app:Appearance>{''.join(members[::-1] if back_first else members)}</app:Appearance></app:appearanceMember>"
    surface = f"<bldg:lod2MultiSurface><gml:MultiSurface><gml:surfaceMember>{polygon('w', (0, 1, 5, 4))}</gml:surfaceMember></gml:MultiSurface></bldg:lod2MultiSurface>"
    (mesh,), _ = load(save(tmp_path, building(surface) + paint))
    assert {mesh.materials[m].color[:3] for m in mesh.triangle_material} == {color}


def test_a_crs_on_the_geometry_alone_and_an_array_of_members(tmp_path: Path) -> None:
    """GML lets a geometry name its CRS where no envelope does, and lets members stand in one featureMembers."""
    path = save(tmp_path, building(hull(), "b1") + building(hull().replace("s-", "t-"), "b2"))
    text = re.sub(r"<gml:boundedBy>.*?</gml:boundedBy>", "", path.read_text("utf-8"), count=1, flags=re.DOTALL)
    text = text.replace("<gml:Solid>", '<gml:Solid srsName="urn:ogc:def:crs,crs:EPSG::25832,crs:EPSG::5783">')
    path.write_text(text, "utf-8")
    (one,), _ = load(path)
    start, end = text.index("<core:cityObjectMember>"), text.rindex("</core:cityObjectMember>") + len("</core:cityObjectMember>")
    inner = text[start:end].replace("<core:cityObjectMember>", "").replace("</core:cityObjectMember>", "")
    path.write_text(f"{text[:start]}<gml:featureMembers>{inner}</gml:featureMembers>{text[end:]}", "utf-8")
    (other,), _ = load(path)
    for mesh in (one, other):
        assert (mesh.reference.horizontal, mesh.reference.vertical) == ("EPSG:25832", "EPSG:5783")
        assert [name for name in mesh.ids.to_pylist() if "#" not in name] == ["b1", "b2"]
        assert volume(mesh).volume == pytest.approx(2000)


def test_implicit_geometry_is_shared(tmp_path: Path) -> None:
    def tree(name: str, geometry: str, east: float) -> str:
        return (f'<core:cityObjectMember><veg:SolitaryVegetationObject gml:id="{name}"><veg:lod2ImplicitRepresentation><core:ImplicitGeometry>'
                f"<core:transformationMatrix>2 0 0 0 0 2 0 0 0 0 2 0 0 0 0 1</core:transformationMatrix>{geometry}<core:referencePoint><gml:Point>"
                f"<gml:pos>{east} 5335000 500</gml:pos></gml:Point></core:referencePoint></core:ImplicitGeometry></veg:lod2ImplicitRepresentation>"
                "</veg:SolitaryVegetationObject></core:cityObjectMember>")  # fmt: skip

    inline = f'<core:relativeGMLGeometry><gml:MultiSurface gml:id="proto"><gml:surfaceMember>{polygon("leaf", (4, 5, 6, 7), (0, 0, 0), 1)}</gml:surfaceMember></gml:MultiSurface></core:relativeGMLGeometry>'
    (mesh,), _ = load(save(tmp_path, tree("t1", '<core:relativeGMLGeometry xlink:href="#proto"/>', 691000) + tree("t2", inline, 691050)))
    assert len(mesh.vertex_start) == 2 and mesh.instance_prototype.tolist() == [0, 0]
    top = mesh.positions.max(axis=0)
    assert mesh.transforms[1] @ [*top, 1] == pytest.approx([691052, 5335002, 502, 1])


def test_references_that_lead_nowhere_or_out_are_reported(tmp_path: Path) -> None:
    links = "".join(f'<gml:surfaceMember xlink:href="{h}"/>' for h in ("#none", "http://example.org/x.gml#a", "file:///etc/passwd"))
    loop = '<bldg:lod3MultiSurface><gml:MultiSurface gml:id="m"><gml:surfaceMember xlink:href="#m"/></gml:MultiSurface></bldg:lod3MultiSurface>'
    (_,), report = load(save(tmp_path, building(f"<bldg:lod2MultiSurface><gml:MultiSurface>{links}</gml:MultiSurface></bldg:lod2MultiSurface>{loop}" + hull())))
    reasons = " ".join(n.reason for n in report.notes)
    assert "leads to nothing" in reasons and "out of the file" in reasons and "circle" in reasons


LAUGHS = '<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]>'
OUTSIDE = '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>'


@pytest.mark.parametrize("doctype", [LAUGHS, OUTSIDE, '<!DOCTYPE x SYSTEM "http://example.org/x.dtd">'])
def test_document_types_are_refused(tmp_path: Path, doctype: str) -> None:
    with pytest.raises(UnreadableSource, match="document type"):
        load(save(tmp_path, building(hull()), doctype=doctype))


def test_broken_files_are_refused(tmp_path: Path) -> None:
    path = save(tmp_path, building(hull()))
    whole = path.read_text()
    for text in (whole[: len(whole) // 2], whole[:-8], "", "<html/>", "no xml", whole.replace("citygml/2.0", "citygml/3.0"), "<a>" * 1000,
                 whole.replace("<bldg:Building ", "<a>" * 500 + "<bldg:Building "), whole.replace("UTF-8", "klingon")):  # fmt: skip
        path.write_text(text)
        with pytest.raises(UnreadableSource):
            load(path)
    with pytest.raises(BadFeature):
        load(save(tmp_path, ""))
    with pytest.raises(MissingReference):
        load(save(tmp_path, building(hull()), srs=""))
    with pytest.raises(MissingReference, match="--vertical"):
        load(save(tmp_path, building(hull()), srs="EPSG:25832"))


@pytest.mark.parametrize("bad", ["1 2 nan 4 5 6 7 8 9", "1 2 x", "1 2 3 4 5 6 7", ""])
def test_bad_coordinates_are_reported(tmp_path: Path, bad: str) -> None:
    face = f"<bldg:lod2MultiSurface><gml:Polygon><gml:exterior><gml:LinearRing><gml:posList>{bad}</gml:posList></gml:LinearRing></gml:exterior></gml:Polygon></bldg:lod2MultiSurface>"
    (_,), report = load(save(tmp_path, building(face + hull())))
    assert any("cannot be read" in n.reason or "no area" in n.reason for n in report.notes)


def test_memory_is_bounded_by_a_member(tmp_path: Path) -> None:
    """Twenty times as many members must not need twenty times the memory (batches are let go of as they come)."""

    def peak(count: int) -> int:
        path = save(tmp_path, "".join(building(hull().replace('gml:id="', f'gml:id="n{i}-').replace('"#', f'"#n{i}-'), f"b{i}") for i in range(count)))
        tracemalloc.start()
        try:
            for element in citygml.members(path, citygml.Head()):
                assert len(element)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    small = peak(50)
    assert peak(1000) < 2 * small


@pytest.mark.parametrize("size", [1, 7, 64, 1000, 1 << 16])
def test_members_are_whole_wherever_the_stream_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    """What is taken off the tree while it grows is what ElementTree finds in the whole file, and nothing that is not a member stays."""
    data = "".join(f"<app:surfaceDataMember><app:X3DMaterial gml:id='m{i}'><app:target>#s{i}</app:target></app:X3DMaterial></app:surfaceDataMember>" for i in range(5))
    looks = f"<app:appearanceMember><app:Appearance><app:theme>{{}}</app:theme>{data}</app:Appearance></app:appearanceMember>"
    path = save(tmp_path, building(hull()) + looks.format("rgb") + "<gml:description>no member</gml:description>" + building("", "b2") + looks.format("")
                + f"<gml:featureMembers>{building('', 'b3')}{building(hull(), 'b4')}</gml:featureMembers>")  # fmt: skip
    expected = []
    for child in ET.parse(path).getroot():  # noqa: S314  our own file
        name = child.tag.rpartition("}")[2]
        if name == "cityObjectMember":
            expected.append(("", ET.canonicalize(ET.tostring(child), strip_text=True)))
        elif name == "appearanceMember":
            theme = child[0][0].text or ""
            expected += [(theme, ET.canonicalize(ET.tostring(one), strip_text=True)) for one in child[0][1:]]
        elif name == "featureMembers":
            expected += [("", ET.canonicalize(ET.tostring(one), strip_text=True)) for one in child]
    monkeypatch.setattr("ingest_bim.citymodels.citygml_stream.CHUNK", size)
    found, head = [], citygml.Head()
    for element in citygml.members(path, head):
        theme = element.attrib.pop("theme", "")
        inner = element[0] if element.tag == "featureMember" else element
        found.append((theme, ET.canonicalize(ET.tostring(inner), strip_text=True)))
    assert found == expected
    assert len(found) == 14
    assert (head.version, head.corner) == ("2.0", (691000.0, 5335000.0, 500.0))
    assert head.prefixes["http://www.opengis.net/citygml/appearance/2.0"] == "app"


@pytest.mark.parametrize("depth", [198, 5000, 200_000])
def test_what_is_nested_too_deeply_is_refused(tmp_path: Path, depth: int) -> None:
    """Within a piece of the stream, over many of them, and at once where the member never ends."""
    for end in ("</gml:x>" * depth, "") if depth > 5000 else ("</gml:x>" * depth,):
        with pytest.raises(UnreadableSource, match="nested more than 200 deep"):
            load(save(tmp_path, building("<gml:x>" * depth + end)))


def test_gbk(tmp_path: Path) -> None:
    path = save(tmp_path, building("<gml:name>江门市政厅</gml:name>" + hull()))
    path.write_bytes(path.read_text(encoding="utf-8").replace("UTF-8", "GB2312").encode("gb18030"))
    assert load(path)[0][0].attributes["name"][0].as_py() == "江门市政厅"
    path.write_bytes(path.read_bytes().replace("江".encode("gbk"), b"\xff\xff"))
    with pytest.raises(UnreadableSource, match="encoding"):
        load(path)


def test_two_references_in_one_file(tmp_path: Path) -> None:
    """Geometry that states another reference than the file would stand elsewhere; one that names the file's horizontal one alone does not."""
    ring = polygon("p", FACES["r"])
    for own, refused in (("EPSG:25832", False), ("EPSG:4326", True)):
        path = save(tmp_path, building(f'<bldg:lod2MultiSurface><gml:MultiSurface srsName="{own}"><gml:surfaceMember>{ring}</gml:surfaceMember></gml:MultiSurface></bldg:lod2MultiSurface>'))
        if not refused:
            load(path)
            continue
        with pytest.raises(BadReference, match="states 'EPSG:4326' for some"):
            load(path)
        load(path, crs="EPSG:25832+5783")


@pytest.mark.parametrize("corner", ["5335000 691000 500", "0 0 0", "nonsense", "-90 -180"])
@pytest.mark.parametrize("first", ["", '<veg:SolitaryVegetationObject gml:id="t"><veg:lod1ImplicitRepresentation><core:ImplicitGeometry><core:relativeGMLGeometry>{}'
                                       "</core:relativeGMLGeometry><core:referencePoint><gml:Point><gml:pos>691000 5335000 500</gml:pos></gml:Point></core:referencePoint>"
                                       "</core:ImplicitGeometry></veg:lod1ImplicitRepresentation></veg:SolitaryVegetationObject>"])  # fmt: skip
def test_an_envelope_that_is_wrong_decides_nothing(tmp_path: Path, corner: str, first: str) -> None:
    """The order of axes is that of the geometry; the shape of an implicit one lies in a frame of its own."""
    tree = f"<core:cityObjectMember>{first.format(polygon('x', FACES['r'], (0, 0, 0)))}</core:cityObjectMember>" if first else ""
    meshes, report = load(save(tmp_path, tree + building(hull()), corner=corner))
    ends = [mesh.transforms[:, :3, 3] for mesh in meshes]
    assert np.abs(np.concatenate(ends) - AT).max() < 12 and report.facts["axis_order"] == "xy"


@pytest.mark.parametrize("written", ["dimension", "coordinates", "coord"])
def test_corners_in_every_writing(tmp_path: Path, written: str) -> None:
    """Six points of two numbers are not four of three where a surface around them says so; GML's older writings, decimal commas too."""
    points = [(0, 0), (10, 0), (12, 5), (5, 10), (0, 8), (0, 0)]
    x, y, _ = AT
    inner = {
        "dimension": f"<gml:posList>{' '.join(f'{x + a} {y + b}' for a, b in points)}</gml:posList>",
        "coordinates": f'<gml:coordinates cs=" " ts=";" decimal=",">{";".join(f"{int(x + a)},0 {int(y + b)},0 7,5" for a, b in points)}</gml:coordinates>',
        "coord": "".join(f"<gml:coord><gml:X>{x + a}</gml:X><gml:Y>{y + b}</gml:Y><gml:Z>7.5</gml:Z></gml:coord>" for a, b in points),
    }[written]
    flat = ' srsDimension="2"' if written == "dimension" else ""
    ring = f"<gml:Polygon><gml:exterior><gml:LinearRing>{inner}</gml:LinearRing></gml:exterior></gml:Polygon>"
    (mesh,), _ = load(save(tmp_path, building(f"<bldg:lod2MultiSurface><gml:MultiSurface{flat}><gml:surfaceMember>{ring}</gml:surfaceMember></gml:MultiSurface></bldg:lod2MultiSurface>"
                                              "<uro:lod2Note>later</uro:lod2Note>")))  # fmt: skip
    shape = volume(mesh)
    assert shape.area == pytest.approx(92.5) and float(np.ptp(shape.vertices[:, 2])) == 0  # the shoelace formula
    assert mesh.attributes["uro:lod2Note"].to_pylist() == ["later"]  # a word, not a level of detail


@pytest.mark.parametrize(("numbers", "drawn"), [
    ([(0, 0), (10, 0), (12, 5), (5, 10), (0, 8), (0, 0)], 92.5),  # twelve: as points of three they do not close
    ([(0, 0), (10, 0), (10, 10), (0, 10), (0, 0)], 100.0), ([(0, 0, 7), (10, 0, 7), (10, 10, 7), (0, 10, 7), (0, 0, 7)], 100.0),
    ([(0, 0, 7), (10, 0, 7), (10, 10, 7), (0, 10, 7)], 100.0),  # twelve that close in no way
    ([(0, 0, 7), (10, 0, 7), (10, 10, 7), (0, 10, 7), (0, 0, 7), (1,)], None), ([(0, 0, 7), (10, 0), (10, 10, 7), (0, 10, 7)], None),
])  # fmt: skip
def test_what_a_ring_without_a_dimension_is(tmp_path: Path, numbers: list[tuple[int, ...]], drawn: float | None) -> None:
    """Where it closes tells. A number too many in a list made a plane ring of it, hundreds of kilometres away; a flat ring of six was one of four in space."""
    values = " ".join(str(v + (AT[0], AT[1], 0)[k]) for point in numbers for k, v in enumerate(point))
    ring = f"<gml:Polygon><gml:exterior><gml:LinearRing><gml:posList>{values}</gml:posList></gml:LinearRing></gml:exterior></gml:Polygon>"
    (mesh,), report = load(save(tmp_path, building(f"<bldg:lod2MultiSurface><gml:MultiSurface><gml:surfaceMember>{ring}</gml:surfaceMember></gml:MultiSurface></bldg:lod2MultiSurface>")))
    if drawn is None:
        assert not len(mesh.triangles) and any("numbers are not points of 3" in note.reason for note in report.notes)
        return
    shape = volume(mesh)
    assert shape.area == pytest.approx(drawn) and float(np.ptp(shape.vertices[:, 2])) == 0
    assert np.abs(mesh.transforms[0][:2, 3] + mesh.positions[0][:2] - AT[:2]).max() < 13


@pytest.mark.parametrize("version", ["1.0.0", "2.0"])
def test_what_a_wfs_answers(tmp_path: Path, version: str) -> None:
    """Members of a FeatureCollection are those of a city model; a CityModel of another namespace is told by it."""
    text = save(tmp_path, building(hull())).read_text()
    space, member = ("http://www.opengis.net/wfs", "gml:featureMember") if version == "1.0.0" else ("http://www.opengis.net/wfs/2.0", "wfs:member")
    answer = text.replace("core:CityModel", "wfs:FeatureCollection").replace("core:cityObjectMember", member).replace(" xmlns:core", f' xmlns:wfs="{space}" xmlns:core')
    path = tmp_path / "wfs.gml"
    path.write_text(answer)
    (mesh,), report = load(path)
    assert mesh.ids[0].as_py() == "b1" and volume(mesh).volume == pytest.approx(1000) and report.facts["driver"] == "CityGML 2.0"
    assert citygml.detect(path, citygml.Options())
    path.write_text(text.replace("http://www.opengis.net/citygml/2.0", "http://www.citygml.org/citygml/1/0/0"))
    with pytest.raises(UnreadableSource, match=r"of the namespace 'http://www\.citygml\.org/citygml/1/0/0'"):
        load(path)


def test_crs_names() -> None:
    assert crs_text("urn:adv:crs:ETRS89_UTM32*DE_DHHN2016_NH") == "EPSG:25832+7837"
    assert crs_text("urn:adv:crs:DE_DHDN_3GK2*DE_DHHN92_NH") == "EPSG:31466+5783" and crs_text("urn:adv:crs:DE_X*DE_DHHN92_NH") == "urn:adv:crs:DE_X*DE_DHHN92_NH"
    assert crs_text("http://www.opengis.net/gml/srs/epsg.xml#4326") == "EPSG:4326" and crs_text("urn:ogc:def:crs:EPSG:6.9:31467") == "EPSG:31467"


# --- what others made --------------------------------------------------------------------------------------------

FILES = ["plateau_yokosuka/udx/bldg/52397519_bldg_6697_op.gml", "plateau_yokosuka/udx/dem/523965_dem_6697_05_op.gml", "plateau_numazu/52385721_fld_6697_l1_op.gml",
         "plateau_ubld/51324378_ubld_6697.gml", "plateau_unf/sewer_53403039_unf_6697.gml", "plateau_unf/water_53403039_unf_6697.gml",
         *(f"ingolstadt_lod3/{n}.gml" for n in (4018106, 4018115, 4018128, 4018193, 4018211))]  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_every_real_file(shared_data: Path, name: str) -> None:
    """Objects and box against a plain reading of the whole tree."""
    path = shared_data / "citymodel" / name
    meshes, report = load(path, vertical="EPSG:5783" if "ingolstadt" in name else None)
    tree = ET.parse(path).getroot()
    assert report.facts["classes"]
    raw = Counter(e.tag.rsplit("}", 1)[1] for e in tree.iter())
    for kind, count in report.facts["classes"].items():
        assert raw[kind.split(":")[-1]] == count, kind
    members = [m[0] for m in tree if m.tag.endswith("cityObjectMember")]
    ids = {i for mesh in meshes for i in mesh.ids.to_pylist()}
    assert {m.get("{http://www.opengis.net/gml}id") for m in members} <= ids and report.read == report.kept
    # every placed corner is one of the file's corners
    numbers = [
        np.array(e.text.split(), float).reshape(-1, 3) for e in tree.iter("{http://www.opengis.net/gml}posList") if e.text and len(e.text.split()) % 3 == 0
    ]
    known = np.concatenate(numbers)
    if "ingolstadt" not in name:
        known = known[:, [1, 0, 2]]
    known_set = {tuple(p) for p in np.round(known, 6).tolist()}
    for mesh in meshes:
        for p, matrix in list(zip(mesh.instance_prototype, mesh.transforms, strict=True))[:50]:
            placed = mesh.positions[mesh.vertex_start[p] : mesh.vertex_start[p + 1]] + matrix[:3, 3]
            assert {tuple(q) for q in np.round(placed, 6).tolist()} <= known_set
    lon, lat = Transformer.from_crs(meshes[0].reference.horizontal, 4326, always_xy=True).transform(*meshes[0].transforms[0][:2, 3])
    assert (11 < lon < 12 and 48 < lat < 49) if "ingolstadt" in name else (132 < lon < 141 and 34 < lat < 36)


def test_plateau_attributes_and_grade(shared_data: Path) -> None:
    (mesh,), report = load(shared_data / "citymodel" / FILES[0])
    names = mesh.attributes.column_names
    raw = (shared_data / "citymodel" / FILES[0]).read_text("utf-8-sig")
    ids = re.findall(r"<uro:buildingID>([^<]+)<", raw)
    column = next(n for n in names if n.endswith("uro:buildingID"))
    assert sorted(v for v in mesh.attributes[column].to_pylist() if v) == sorted(ids)
    assert mesh.attributes.schema.field("measuredHeight").metadata[b"unit"] == b"m"
    assert grading.grade("mesh", report.facts).value == "CIM2" and report.facts["geometry"]["closed solids"] == 14
    assert "総建物階数" in names and mesh.attributes.schema.field("１階床面積").metadata[b"unit"] == b"m2"


def test_grades(shared_data: Path) -> None:
    """Terrain alone CIM1, an LoD3 building CIM4, an underground mall with rooms CIM5."""
    for name, expected in ((FILES[1], "CIM1"), ("ingolstadt_lod3/4018211.gml", "CIM4"), (FILES[3], "CIM5")):
        _, report = load(shared_data / "citymodel" / name, vertical="EPSG:5783" if "ingolstadt" in name else None)
        assert grading.grade("mesh", report.facts).value == expected


def test_volume_of_a_plateau_solid(shared_data: Path) -> None:
    """An LoD1 block: floor area by a projected CRS times its height, against the mesh in the same CRS."""
    (mesh,), _ = load(shared_data / "citymodel" / FILES[0], lod="1")
    to_plane = Transformer.from_crs(6668, 6677, always_xy=True)
    checked = 0
    for p, matrix in zip(mesh.instance_prototype, mesh.transforms, strict=True):
        points = mesh.positions[mesh.vertex_start[p] : mesh.vertex_start[p + 1]] + matrix[:3, 3]
        x, y = to_plane.transform(points[:, 0], points[:, 1])
        plane = np.column_stack([x, y, points[:, 2]])
        solid = trimesh.Trimesh(plane - plane[0], mesh.triangles[mesh.triangle_start[p] : mesh.triangle_start[p + 1]], process=False)
        solid.merge_vertices(digits_vertex=5)
        if solid.is_watertight:
            low = solid.triangles[solid.face_normals[:, 2] < -0.99]
            area = np.abs(np.cross(low[:, 1, :2] - low[:, 0, :2], low[:, 2, :2] - low[:, 0, :2])).sum() / 2
            assert solid.volume == pytest.approx(area * np.ptp(plane[:, 2]), rel=1e-3)
            checked += 1
    assert checked >= 10


def test_to_a_checked_tileset(shared_data: Path, tmp_path: Path, lake: Lake) -> None:
    from tiling.check import check_tileset
    from tiling.meshes import tiler

    path = shared_data / "citymodel" / FILES[0]
    assert intake.choose_reader(path, None, {}).name == "citygml"
    report = Report(source=path.name)
    version = write_version(lake, "yokosuka", "mesh", citygml.read(path, citygml.Options(), report), report, provenance={})
    facts = tiler.tile(version, TileJob(lake, tmp_path / "out.3tz", tiler.Options()))
    assert facts["tiles"] >= 1 and check_tileset(tmp_path / "out.3tz").ok


def test_records_without_objects_and_addresses_are_whole(tmp_path: Path) -> None:
    """`core:externalReference` has properties in a property; xAL keeps the kind of a place in XML attributes; an address may have a position."""
    inner = (
        "<core:externalReference><core:informationSystem>http://sys</core:informationSystem><core:externalObject><core:uri>urn:x:7</core:uri>"
        "</core:externalObject></core:externalReference>"
        '<bldg:address><core:Address><core:xalAddress><x:Locality xmlns:x="urn:oasis:names:tc:ciq:xsdschema:xAL:2.0" Type="City"><x:LocalityName>江门</x:LocalityName>'
        "</x:Locality></core:xalAddress><core:multiPoint><gml:MultiPoint><gml:pointMember><gml:Point><gml:pos>691001 5335001 500</gml:pos></gml:Point></gml:pointMember>"
        '</gml:MultiPoint></core:multiPoint></core:Address></bldg:address><bldg:address xlink:href="#other"/>'
    )
    report = Report()
    (batch,) = citygml.read(save(tmp_path, building(hull() + inner)), citygml.Options(), report)
    assert isinstance(batch, Mesh)
    row = batch.attributes.to_pylist()[batch.ids.to_pylist().index("b1")]
    assert row["externalReference.informationSystem"] == "http://sys"
    assert row["externalReference.externalObject.uri"] == "urn:x:7"
    address = json.loads(row["address"])
    assert address[0]["xalAddress"]["Locality"] == {"Type": "City", "LocalityName": "江门"}
    assert address[0]["multiPoint"] == {"position": "691001 5335001 500"}
    assert address[1] == {"href": "#other"}


def test_plain_features_in_gml_get_their_own_advice(tmp_path: Path) -> None:
    path = tmp_path / "a.gml"
    path.write_text('<gml:FeatureCollection xmlns:gml="http://www.opengis.net/gml"/>')
    with pytest.raises(UnreadableSource, match="GeoPackage"):
        list(citygml.read(path, citygml.Options(), Report()))

def test_an_id_without_end_is_refused_and_the_rest_is_read(tmp_path: Path) -> None:
    """An id of millions of characters would be in memory again for every surface of its object."""
    _, report = load(save(tmp_path, building(hull(), "b" * 3_000_000) + building(hull().replace('gml:id="', 'gml:id="x').replace('"#', '"#x'), "small")))
    assert report.kept == 1
    assert [len(n.feature) < 100 and "3,000,000 characters" in n.reason for n in report.notes if n.action == "refused"] == [True]


def risk(kind: str, depth: float) -> str:
    return f'<uro:buildingDisasterRiskAttribute><uro:Building{kind}RiskAttribute><uro:depth uom="m">{depth}</uro:depth></uro:Building{kind}RiskAttribute></uro:buildingDisasterRiskAttribute>'


def test_which_risk_it_is(tmp_path: Path) -> None:
    """i-UR's property of risks holds objects of several classes, and the class alone says whether it is a tsunami; where the property says it, it is not said twice."""
    detail = "<uro:buildingDetails><uro:BuildingDetails><uro:surveyYear>2020</uro:surveyYear></uro:BuildingDetails></uro:buildingDetails>"
    (mesh,), _ = load(save(tmp_path, building(hull() + risk("Tsunami", 2) + risk("RiverFlooding", 0.5) + detail)))
    found = json.loads(mesh.attributes["uro:buildingDisasterRiskAttribute"][0].as_py())
    assert [(one["type"], one["uro:depth"]["value"]) for one in found] == [("uro:BuildingTsunamiRiskAttribute", 2), ("uro:BuildingRiverFloodingRiskAttribute", 0.5)]
    assert [name for name in mesh.attributes.column_names if name.startswith("uro:buildingDetails")] == ["uro:buildingDetails.uro:surveyYear"]
    (mesh,), _ = load(save(tmp_path, building(hull() + risk("LandSlide", 1))))
    assert mesh.attributes["uro:buildingDisasterRiskAttribute.type"][0].as_py() == "uro:BuildingLandSlideRiskAttribute"


def test_times_and_names_inside_a_record_are_no_geometry(tmp_path: Path) -> None:
    """What GML has besides shapes (a period of time, a name) is kept with the record that it stands in; a shape there is said."""
    period = "<gml:TimePeriod><gml:beginPosition>2022-01-01</gml:beginPosition></gml:TimePeriod>"
    inner = f"<uro:extent>{period}</uro:extent><uro:values>1 2 3</uro:values><uro:at><gml:Point><gml:pos>1 2 3</gml:pos></gml:Point></uro:at>"
    series = f"<uro:demand><uro:EnergyDemand><uro:amount><uro:TimeSeries>{inner}</uro:TimeSeries></uro:amount><uro:end>heating</uro:end></uro:EnergyDemand></uro:demand>"
    (mesh,), report = load(save(tmp_path, building(hull() + series)))
    row = {name: mesh.attributes[name][0].as_py() for name in mesh.attributes.column_names if name.startswith("uro:demand")}
    assert "2022-01-01" in row.values() and "1 2 3" in row.values() and "heating" in row.values()
    assert [note.reason.partition(": ")[2] for note in report.notes if "geometry" in note.reason] == ["geometry inside uro:TimeSeries is not drawn."]


def test_the_risks_of_a_real_file(shared_data: Path) -> None:
    """As many of each class as the text of the file has."""
    path = shared_data / "citymodel" / FILES[0]
    raw = path.read_text("utf-8-sig")
    expected = Counter(re.findall(r"<(uro:\w+RiskAttribute)>(?=\s*<uro:(?!Building\w+RiskAttribute))", raw))
    (mesh,), _ = load(path)
    found: Counter[str] = Counter()
    for name in (n for n in mesh.attributes.column_names if n.startswith("uro:buildingDisasterRiskAttribute")):
        for value in filter(None, mesh.attributes[name].to_pylist()):
            found.update([value] if name.endswith(".type") else [one["type"] for one in json.loads(value)] if value.startswith("[{") else [])
    assert found == expected and len(expected) > 1


def test_what_is_wrong_is_told_of_the_object_that_has_it(tmp_path: Path) -> None:
    """Not of the first one below it, which is read before its own shapes are."""
    part = f'<bldg:consistsOfBuildingPart><bldg:BuildingPart gml:id="part">{hull()}</bldg:BuildingPart></bldg:consistsOfBuildingPart>'
    odd = f"<bldg:geometry><gml:MultiSurface><gml:surfaceMember>{polygon('odd', FACES['r'])}</gml:surfaceMember></gml:MultiSurface></bldg:geometry>"
    _, report = load(save(tmp_path, building(odd + part)))
    assert [note.feature for note in report.notes if "which has no LoD" in note.reason] == ["b1"]


def test_curved_edges_are_said(tmp_path: Path) -> None:
    places = " ".join(f"{AT[0] + x} {AT[1] + y} {AT[2]}" for x, y in ((0, 0), (5, 3), (10, 0)))
    close = " ".join(f"{AT[0] + x} {AT[1] + y} {AT[2]}" for x, y in ((10, 0), (0, -9), (0, 0)))
    ring = (f"<gml:Ring><gml:curveMember><gml:Curve><gml:segments><gml:Arc><gml:posList>{places}</gml:posList></gml:Arc><gml:LineStringSegment><gml:posList>{close}"
            "</gml:posList></gml:LineStringSegment></gml:segments></gml:Curve></gml:curveMember></gml:Ring>")  # fmt: skip
    surface = f"<gml:MultiSurface><gml:surfaceMember><gml:Polygon><gml:exterior>{ring}</gml:exterior></gml:Polygon></gml:surfaceMember></gml:MultiSurface>"
    (mesh,), report = load(save(tmp_path, building(f"<bldg:lod2MultiSurface>{surface}</bldg:lod2MultiSurface>")))
    assert len(mesh.triangles) == 2 and any("drawn straight" in note.reason for note in report.notes)
