"""CityGML 3.0: the same city as in 2.0 gives the same features; what is new in it comes through with its own names."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely

from ingest_bim.citymodels import citygml
from tests.ingest_bim.test_citygml import AT, FACES, polygon, save
from tests.ingest_bim.test_citygml import load as load_gml
from tests.ingest_bim.texture_helpers import drawn_at, quarters
from twin.errors import BadReference, UnreadableSource
from twin.model import Mesh, Report

V3 = "http://www.opengis.net/citygml"
ROOT3 = f"""<?xml version="1.0" encoding="UTF-8"?>
<CityModel xmlns="{V3}/3.0" xmlns:bldg="{V3}/building/3.0" xmlns:con="{V3}/construction/3.0" xmlns:gen="{V3}/generics/3.0" xmlns:veg="{V3}/vegetation/3.0"
 xmlns:app="{V3}/appearance/3.0" xmlns:tran="{V3}/transportation/3.0" xmlns:grp="{V3}/cityobjectgroup/3.0" xmlns:dyn="{V3}/dynamizer/3.0" xmlns:pcl="{V3}/pointcloud/3.0"
 xmlns:vers="{V3}/versioning/3.0" xmlns:old="{V3}/building/2.0" xmlns:gml="http://www.opengis.net/gml/3.2" xmlns:xlink="http://www.w3.org/1999/xlink"
 xmlns:xAL="urn:oasis:names:tc:ciq:xal:3" xmlns:uro="https://www.geospatial.jp/iur/uro/4.0">
<gml:boundedBy><gml:Envelope srsName="urn:ogc:def:crs,crs:EPSG::25832,crs:EPSG::5783" srsDimension="3"><gml:lowerCorner>691000 5335000 500</gml:lowerCorner></gml:Envelope></gml:boundedBy>
%s</CityModel>"""
KINDS = {"g": "GroundSurface", "r": "RoofSurface", "w": "WallSurface"}


def load3(folder: Path, members: str, **options: Any) -> tuple[list[Mesh], Report]:
    path, report = folder / "three.gml", Report()
    path.write_text(ROOT3 % members, encoding="utf-8")
    return [b for b in citygml.read(path, citygml.Options(**options), report) if isinstance(b, Mesh)], report


def member(inner: str, kind: str = "bldg:Building", name: str = "b1") -> str:
    return f'<cityObjectMember><{kind} gml:id="{name}">{inner}</{kind}></cityObjectMember>'


def surface(lod: str, name: str) -> str:
    face = polygon(name, FACES[name]).replace("<gml:LinearRing>", f'<gml:LinearRing gml:id="ring-{name}">')
    return f"<{lod}><gml:MultiSurface><gml:surfaceMember>{face}</gml:surfaceMember></gml:MultiSurface></{lod}>"


def pane(lod: str) -> str:
    at = (AT[0] + 2, AT[1], AT[2] + 2)
    return f"<{lod}><gml:MultiSurface><gml:surfaceMember>{polygon('pane', FACES['w0'], at, 2.0)}</gml:surfaceMember></gml:MultiSurface></{lod}>"


def solid(prop: str, shell: str) -> str:
    links = "".join(f'<gml:surfaceMember xlink:href="#{name}"/>' for name in FACES)
    return f"<{prop}><gml:Solid><gml:exterior><gml:{shell}>{links}</gml:{shell}></gml:exterior></gml:Solid></{prop}>"


def house2() -> str:
    opening = f'<bldg:opening><bldg:Window gml:id="win">{pane("bldg:lod3MultiSurface")}</bldg:Window></bldg:opening>'
    walls = "".join(f'<bldg:boundedBy><bldg:{KINDS[n[0]]} gml:id="s-{n}">{surface("bldg:lod3MultiSurface", n)}{opening if n == "w0" else ""}'
                    f"</bldg:{KINDS[n[0]]}></bldg:boundedBy>" for n in FACES)  # fmt: skip
    return (
        '<gen:stringAttribute name="名"><gen:value>市政厅</gen:value></gen:stringAttribute><gen:intAttribute name="n"><gen:value>3</gen:value></gen:intAttribute>'
        '<gen:genericAttributeSet name="set"><gen:measureAttribute name="area"><gen:value uom="m2">42</gen:value></gen:measureAttribute></gen:genericAttributeSet>'
        '<bldg:function>1</bldg:function><bldg:function>2</bldg:function><bldg:measuredHeight uom="m">10.5</bldg:measuredHeight><bldg:storeysAboveGround>4</bldg:storeysAboveGround>'
        f"{walls}{solid('bldg:lod3Solid', 'CompositeSurface')}<bldg:lod3TerrainIntersection><gml:MultiCurve><gml:curveMember><gml:LineString>"
        "<gml:posList>691000 5335000 500 691010 5335000 501</gml:posList></gml:LineString></gml:curveMember></gml:MultiCurve></bldg:lod3TerrainIntersection>"
    )


def house3() -> str:
    opening = f'<con:fillingSurface><con:WindowSurface gml:id="win">{pane("lod3MultiSurface")}</con:WindowSurface></con:fillingSurface>'
    walls = "".join(f'<boundary><con:{KINDS[n[0]]} gml:id="s-{n}">{surface("lod3MultiSurface", n)}{opening if n == "w0" else ""}'
                    f"</con:{KINDS[n[0]]}></boundary>" for n in FACES)  # fmt: skip

    def generic(kind: str, name: str, value: str, unit: str = "") -> str:
        return f"<genericAttribute><gen:{kind}><gen:name>{name}</gen:name><gen:value{unit}>{value}</gen:value></gen:{kind}></genericAttribute>"

    return (
        generic("StringAttribute", "名", "市政厅") + generic("IntAttribute", "n", "3")
        + "<genericAttribute><gen:GenericAttributeSet><gen:name>set</gen:name>"
        + generic("MeasureAttribute", "area", "42", ' uom="m2"').replace("genericAttribute>", "gen:genericAttribute>")
        + f"</gen:GenericAttributeSet></genericAttribute>{walls}{solid('lod3Solid', 'Shell')}<lod3TerrainIntersectionCurve><gml:MultiCurve><gml:curveMember><gml:LineString>"
        "<gml:posList>691000 5335000 500 691010 5335000 501</gml:posList></gml:LineString></gml:curveMember></gml:MultiCurve></lod3TerrainIntersectionCurve>"
        "<con:height><con:Height><con:highReference>highestRoofEdge</con:highReference><con:lowReference>lowestGroundPoint</con:lowReference><con:status>estimated</con:status>"
        '<con:value uom="m">12</con:value></con:Height></con:height><con:height><con:Height><con:highReference>generalRoof</con:highReference>'
        '<con:lowReference>lowestGroundPoint</con:lowReference><con:status>measured</con:status><con:value uom="m">10.5</con:value></con:Height></con:height>'
        "<bldg:function>1</bldg:function><bldg:function>2</bldg:function><bldg:storeysAboveGround>4</bldg:storeysAboveGround>"
    )  # fmt: skip


TEXTURE2 = ('<app:appearanceMember><app:Appearance><app:theme>rgb</app:theme><app:surfaceDataMember><app:ParameterizedTexture><app:imageURI>a.png</app:imageURI><app:target uri="#r">'
            '<app:TexCoordList><app:textureCoordinates ring="#ring-r">0 0 1 0 1 1 0 1 0 0</app:textureCoordinates></app:TexCoordList></app:target></app:ParameterizedTexture>'
            '</app:surfaceDataMember></app:Appearance></app:appearanceMember>')  # fmt: skip
TEXTURE3 = ("<appearanceMember><app:Appearance><app:theme>rgb</app:theme><app:surfaceData><app:ParameterizedTexture><app:imageURI>a.png</app:imageURI><app:textureParameterization>"
            "<app:TextureAssociation><app:target>#r</app:target><app:textureParameterization><app:TexCoordList><app:textureCoordinates>0 0 1 0 1 1 0 1 0 0</app:textureCoordinates>"
            "<app:ring>#ring-r</app:ring></app:TexCoordList></app:textureParameterization></app:TextureAssociation></app:textureParameterization></app:ParameterizedTexture>"
            "</app:surfaceData></app:Appearance></appearanceMember>")  # fmt: skip
PAINT2 = ("<app:appearanceMember><app:Appearance><app:surfaceDataMember><app:X3DMaterial><app:diffuseColor>1 0 0</app:diffuseColor><app:target>#pane</app:target></app:X3DMaterial>"
          "</app:surfaceDataMember></app:Appearance></app:appearanceMember>")  # fmt: skip
PAINT3 = PAINT2.replace("app:appearanceMember", "appearanceMember").replace("surfaceDataMember", "surfaceData")


def test_the_same_house_gives_the_same_features(tmp_path: Path) -> None:
    quarters(tmp_path / "a.png")
    (two,), report2 = load_gml(save(tmp_path, f'<core:cityObjectMember><bldg:Building gml:id="b1">{house2()}</bldg:Building></core:cityObjectMember>' + TEXTURE2 + PAINT2))
    (three,), report3 = load3(tmp_path, member(house3()) + TEXTURE3 + PAINT3)
    assert report3.facts["driver"] == "CityGML 3.0" and report3.notes == report2.notes
    assert three.ids.to_pylist() == two.ids.to_pylist() == ["b1", *(f"b1#{i}" for i in range(7))]
    assert three.parents.to_pylist() == two.parents.to_pylist() and three.parents.to_pylist().count("b1#2") == 1
    for name in two.attributes.column_names:
        assert three.attributes[name].to_pylist() == two.attributes[name].to_pylist(), name
        assert three.attributes.schema.field(name).metadata == two.attributes.schema.field(name).metadata
    assert [height["value"] for height in json.loads(three.attributes["height"][0].as_py())] == [{"value": 12.0, "uom": "m"}, {"value": 10.5, "uom": "m"}]
    for mesh in (two, three):
        assert mesh.attributes["class"].to_pylist()[:5] == ["Building", "GroundSurface", "RoofSurface", "WallSurface", "Window"]
        assert drawn_at(mesh, (AT[0] + 2.5, AT[1] + 2.5, AT[2] + 10)) is not None
    np.testing.assert_array_equal(three.positions, two.positions)
    np.testing.assert_array_equal(three.triangles, two.triangles)
    np.testing.assert_array_equal(three.transforms, two.transforms)
    assert three.uv is not None and two.uv is not None
    np.testing.assert_array_equal(three.uv, two.uv)
    assert three.materials == two.materials and any(material.color == (1, 0, 0, 1) for material in three.materials)
    assert report3.facts["geometry"]["closed solids"] == 1 and report3.facts["classes"] == report2.facts["classes"]


def test_spaces_within_a_building(tmp_path: Path) -> None:
    """A storey refers to rooms of the building; a window with a body of its own is an object and is drawn once."""
    room = f'<bldg:buildingRoom><bldg:BuildingRoom gml:id="room"><bldg:roomHeight><bldg:RoomHeight><bldg:value uom="m">2.5</bldg:value></bldg:RoomHeight></bldg:roomHeight>{surface("lod2MultiSurface", "g")}</bldg:BuildingRoom></bldg:buildingRoom>'
    storey = '<bldg:buildingSubdivision><bldg:Storey gml:id="floor"><bldg:sortKey>1.5</bldg:sortKey><bldg:buildingRoom xlink:href="#room"/></bldg:Storey></bldg:buildingSubdivision>'
    glass = f'<boundary><con:WindowSurface gml:id="glass">{surface("lod3MultiSurface", "w0")}</con:WindowSurface></boundary>'
    body = '<lod3Solid><gml:Solid><gml:exterior><gml:Shell><gml:surfaceMember xlink:href="#w0"/></gml:Shell></gml:exterior></gml:Solid></lod3Solid>'
    wall = f'<bldg:buildingConstructiveElement><bldg:BuildingConstructiveElement gml:id="part"><con:filling><con:Window gml:id="window">{glass}{body}</con:Window></con:filling></bldg:BuildingConstructiveElement></bldg:buildingConstructiveElement>'
    (mesh,), report = load3(tmp_path, member(room + storey + wall))
    found = dict(zip(mesh.ids.to_pylist(), zip(mesh.attributes["class"].to_pylist(), mesh.parents.to_pylist(), strict=True), strict=True))
    assert found == {"b1": ("Building", None), "room": ("BuildingRoom", "b1"), "floor": ("Storey", "b1"), "part": ("BuildingConstructiveElement", "b1"),
                     "window": ("Window", "part"), "window#0": ("Window", "window")}  # fmt: skip
    row = {name: mesh.attributes[name].to_pylist()[mesh.ids.to_pylist().index("floor")] for name in mesh.attributes.column_names}
    assert row["sortKey"] == 1.5 and row["buildingRoom"] == "#room"
    assert len(mesh.triangles) == 4 and "roomHeight.value" in mesh.attributes.column_names
    assert report.facts["content"]["grades"] == {"CIM4": 1, "CIM5": 1}


def test_roads_groups_and_points(tmp_path: Path) -> None:
    area = f'<boundary><tran:TrafficArea gml:id="lane">{surface("lod2MultiSurface", "g")}</tran:TrafficArea></boundary>'
    mark = f'<tran:marking><tran:Marking gml:id="line">{surface("lod2MultiSurface", "r")}</tran:Marking></tran:marking>'
    road = f'<tran:section><tran:Section gml:id="sec"><tran:trafficSpace><tran:TrafficSpace gml:id="space"><tran:granularity>lane</tran:granularity>{area}</tran:TrafficSpace></tran:trafficSpace></tran:Section></tran:section>{mark}'
    related = '<relatedTo><CityObjectRelation gml:id="rel"><relationType>shared</relationType><relatedTo xlink:href="#tree"/></CityObjectRelation></relatedTo>'
    point = '<lod0Point><gml:Point gml:id="p"><gml:pos>691001 5335002 503</gml:pos></gml:Point></lod0Point>'
    group = '<grp:groupMember><grp:Role><grp:role>main</grp:role><grp:groupMember xlink:href="#road"/></grp:Role></grp:groupMember>'
    cloud = "<pointCloud><pcl:PointCloud gml:id='cloud'><pcl:mimeType>application/vnd.las</pcl:mimeType><pcl:pointFile>a.laz</pcl:pointFile></pcl:PointCloud></pointCloud>"
    tree = point + '<veg:height uom="m">12</veg:height>'
    (mesh,), report = load3(tmp_path, member(road + related, "tran:Road", "road") + member(tree + cloud, "veg:SolitaryVegetationObject", "tree") + member(group, "grp:CityObjectGroup", "group"))
    assert mesh.ids.to_pylist() == ["road", "road#0", "sec", "space", "space#0", "tree", "group"]
    assert mesh.parents.to_pylist() == [None, "road", "road", "sec", "space", None, None]
    assert mesh.attributes["class"].to_pylist()[1:5] == ["Marking", "Section", "TrafficSpace", "TrafficArea"]
    rows = dict(zip(mesh.ids.to_pylist(), mesh.attributes.to_pylist(), strict=True))
    assert rows["road"]["relatedTo.relationType"] == "shared" and rows["road"]["relatedTo.relatedTo"] == "#tree"
    assert rows["tree"]["height"] == 12.0 and rows["tree"]["pointCloud.pointFile"] == "a.laz"
    assert (rows["group"]["groupMember.href"], rows["group"]["groupMember.role"]) == ("#road", "main")
    assert mesh.outlines is not None and mesh.outlines[5].equals_exact(shapely.Point(691001, 5335002, 503), 0)
    assert any("a point cloud" in note.reason and note.feature == "tree" for note in report.notes)


def test_time_series_and_histories(tmp_path: Path) -> None:
    pairs = "".join(f"<dyn:timeValuePair><dyn:TimeValuePair><dyn:timestamp>2020-01-0{i}</dyn:timestamp><dyn:doubleValue>{i}</dyn:doubleValue></dyn:TimeValuePair></dyn:timeValuePair>" for i in (1, 2))
    series = f'<dyn:dynamicData><dyn:GenericTimeseries gml:id="ts"><dyn:uom>W</dyn:uom>{pairs}</dyn:GenericTimeseries></dyn:dynamicData>'
    dynamic = f'<dynamizer><dyn:Dynamizer gml:id="dyn"><dyn:attributeRef>//x</dyn:attributeRef>{series}</dyn:Dynamizer></dynamizer>'
    history = '<versionMember><vers:Version gml:id="v"><vers:tag>a</vers:tag></vers:Version></versionMember><versionTransitionMember><vers:VersionTransition gml:id="t"/></versionTransitionMember>'
    (mesh,), report = load3(tmp_path, member("<creationDate>2020-01-01T00:00:00</creationDate>" + house3() + dynamic) + history)
    rows = dict(zip(mesh.ids.to_pylist(), mesh.attributes.to_pylist(), strict=True))
    assert set(rows) == {"b1", *(f"b1#{i}" for i in range(7)), "dyn"} and rows["b1"]["creationDate"] == "2020-01-01T00:00:00"
    assert rows["dyn"]["attributeRef"] == "//x" and [pair["doubleValue"] for pair in json.loads(rows["dyn"]["dynamicData.timeValuePair"])] == ["1", "2"]
    assert [note.reason.split()[0] for note in report.notes if "versions and transitions" in note.reason] == ["2"]


def test_extensions_and_addresses(tmp_path: Path) -> None:
    """Data objects in a hook as i-UR 4 has them, and properties in one as the standard's examples do."""
    hooks = (
        "<bldg:adeOfAbstractBuilding><uro:BuildingIDAttribute><uro:buildingID>14201-1</uro:buildingID></uro:BuildingIDAttribute></bldg:adeOfAbstractBuilding>"
        '<bldg:adeOfAbstractBuilding><uro:BuildingProperties><uro:owner>A</uro:owner><uro:area uom="m2">5</uro:area></uro:BuildingProperties></bldg:adeOfAbstractBuilding>'
    )
    address = (
        '<bldg:address><Address><xalAddress><xAL:Address><xAL:Thoroughfare xAL:Type="Street"><xAL:NameElement xAL:NameType="Name">Am Hang</xAL:NameElement></xAL:Thoroughfare></xAL:Address>'
        '</xalAddress><multiPoint><gml:MultiPoint srsName="urn:ogc:def:crs:EPSG::4326"><gml:pointMember><gml:Point><gml:pos>48.1 11.5</gml:pos></gml:Point></gml:pointMember></gml:MultiPoint>'
        "</multiPoint></Address></bldg:address>"
    )
    (mesh,), _ = load3(tmp_path, member(hooks + house3() + address))
    row = mesh.attributes.to_pylist()[0]
    assert (row["uro:buildingIDAttribute.uro:buildingID"], row["uro:owner"], row["uro:area"]) == ("14201-1", "A", 5.0)
    (found,) = json.loads(row["address"])
    assert found["xalAddress"]["Address"]["Thoroughfare"] == {"Type": "Street", "NameElement": "Am Hang", "NameElement.NameType": "Name"}
    assert found["multiPoint"]["position"] == "48.1 11.5" and mesh.reference.horizontal == "EPSG:25832"


def test_prototypes(tmp_path: Path) -> None:
    leaf = f'<gml:MultiSurface gml:id="proto"><gml:surfaceMember>{polygon("leaf", (4, 5, 6, 7), (0, 0, 0), 1)}</gml:surfaceMember></gml:MultiSurface>'

    def tree(name: str, geometry: str, east: float) -> str:
        inner = (f"<lod2ImplicitRepresentation><ImplicitGeometry><transformationMatrix>2 0 0 0 0 2 0 0 0 0 2 0 0 0 0 1</transformationMatrix><referencePoint><gml:Point><gml:pos>{east} 5335000 500"
                 f"</gml:pos></gml:Point></referencePoint>{geometry}</ImplicitGeometry></lod2ImplicitRepresentation>")  # fmt: skip
        return member(inner, "veg:SolitaryVegetationObject", name)

    (mesh,), _ = load3(tmp_path, tree("t1", f"<relativeGeometry>{leaf}</relativeGeometry>", 691000) + tree("t2", '<relativeGeometry xlink:href="#proto"/>', 691050))
    assert mesh.instance_prototype.tolist() == [0, 0]
    assert mesh.transforms[1] @ [*mesh.positions.max(axis=0), 1] == pytest.approx([691052, 5335002, 502, 1])


def test_versions_that_are_mixed_or_unknown_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(UnreadableSource, match=r"3\.0 with elements of the namespace '.*building/2\.0'"):
        load3(tmp_path, member("<old:function>1</old:function>"))
    with pytest.raises(UnreadableSource, match=r"CityGML 2\.0 with objects of CityGML 3\.0"):
        load_gml(save(tmp_path, f'<core:cityObjectMember><b:Building xmlns:b="{V3}/building/3.0"/></core:cityObjectMember>'))
    with pytest.raises(UnreadableSource, match=r"it is CityGML 4\.0; 1\.0, 2\.0 and 3\.0 are read"):
        load_gml(save(tmp_path, "", version="4.0"))


def test_systems_of_its_own_and_services_are_told(tmp_path: Path) -> None:
    """`core:engineeringCRS` defines a frame by names alone; a WMTS document (天地图) is XML, too."""
    path = tmp_path / "local.gml"
    path.write_text((ROOT3 % member(house3())).replace("urn:ogc:def:crs,crs:EPSG::25832,crs:EPSG::5783", "#local-CRS-1"), encoding="utf-8")
    with pytest.raises(BadReference, match="an engineering system of its own"):
        list(citygml.read(path, citygml.Options(vertical="EPSG:5783"), Report()))
    (mesh,) = citygml.read(path, citygml.Options(crs="EPSG:25832", vertical="EPSG:5783"), Report())
    assert isinstance(mesh, Mesh) and mesh.reference.horizontal == "EPSG:25832"
    path.write_text('<Capabilities xmlns="http://www.opengis.net/wmts/1.0" version="1.0.0"/>', encoding="utf-8")
    with pytest.raises(UnreadableSource, match="describes a service"):
        list(citygml.read(path, citygml.Options(), Report()))


def test_a_file_of_version_2_that_declares_modules_of_version_3(tmp_path: Path) -> None:
    """Exporters list every namespace that they know."""
    path = save(tmp_path, f'<core:cityObjectMember><bldg:Building gml:id="b1">{house2()}</bldg:Building></core:cityObjectMember>')
    path.write_text(path.read_text("utf-8").replace("<core:CityModel ", f'<core:CityModel xmlns:con="{V3}/construction/3.0" ', 1), "utf-8")
    (mesh,), report = load_gml(path)
    assert report.facts["driver"] == "CityGML 2.0" and mesh.ids.to_pylist()[0] == "b1"
