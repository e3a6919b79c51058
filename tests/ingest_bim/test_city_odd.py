"""City models unlike the usual ones: every module of CityGML with what its objects hold, and odd but readable CityJSON.

What must be found again is counted in the text of the generated file, by ElementTree or by hand.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest
import shapely

from ingest_bim.citymodels import citygml, cityjson
from twin.model import Mesh, Report

ID = "{http://www.opengis.net/gml}id"
X, Y, Z = 405_000, 2_498_000, 5
SIDES = [[0, 2, 3, 1], [4, 5, 7, 6], [0, 1, 5, 4], [2, 6, 7, 3], [0, 4, 6, 2], [1, 3, 7, 5]]
MODULES = {"bldg": "building", "brid": "bridge", "tun": "tunnel", "tran": "transportation", "veg": "vegetation", "wtr": "waterbody", "luse": "landuse",
           "dem": "relief", "frn": "cityfurniture", "gen": "generics", "grp": "cityobjectgroup"}  # fmt: skip


def read(module: Any, path: Path, report: Report, **options: Any) -> Mesh:
    """The one batch of a small model."""
    (batch,) = module.read(path, module.Options(**options), report)
    assert isinstance(batch, Mesh)
    return batch


def places(points: list[Any]) -> str:
    return " ".join(f"{X + x} {Y + y} {Z + z}" for x, y, z in points)


def polygon(points: list[Any], key: str = "") -> str:
    named = f' gml:id="{key}"' if key else ""
    return f"<gml:Polygon{named}><gml:exterior><gml:LinearRing><gml:posList>{places([*points, points[0]])}</gml:posList></gml:LinearRing></gml:exterior></gml:Polygon>"


def square(x: float, z: float = 0) -> str:
    return f"<gml:MultiSurface><gml:surfaceMember>{polygon([(x, 0, z), (x + 4, 0, z), (x + 4, 4, z), (x, 4, z)])}</gml:surfaceMember></gml:MultiSurface>"


def cube(x: float, size: float = 4, key: str = "") -> list[str]:
    corner = [(x + size * (i & 1), size * (i >> 1 & 1), size * (i >> 2)) for i in range(8)]
    return [polygon([corner[i] for i in side], f"{key}{n}" if key else "") for n, side in enumerate(SIDES)]


def solid(faces: list[str]) -> str:
    members = "".join(f"<gml:surfaceMember>{face}</gml:surfaceMember>" if face.startswith("<") else f'<gml:surfaceMember xlink:href="#{face}"/>' for face in faces)
    return f"<gml:Solid><gml:exterior><gml:CompositeSurface>{members}</gml:CompositeSurface></gml:exterior></gml:Solid>"


def line(x: float) -> str:
    return f"<gml:MultiCurve><gml:curveMember><gml:LineString><gml:posList>{places([(x, 0, 0), (x + 9, 3, 0)])}</gml:posList></gml:LineString></gml:curveMember></gml:MultiCurve>"


def thing(tag: str, key: str, inner: str) -> str:
    return f'<{tag} gml:id="{key}">{inner}</{tag}>'


MEMBERS = [
    thing("brid:Bridge", "br", "<brid:outerBridgeConstruction>" + thing("brid:BridgeConstructionElement", "br-pier", f"<brid:lod2Geometry>{solid(cube(0))}</brid:lod2Geometry>")
          + "</brid:outerBridgeConstruction><brid:boundedBy>" + thing("brid:OuterFloorSurface", "br-floor", f"<brid:lod2MultiSurface>{square(8)}</brid:lod2MultiSurface>")
          + "</brid:boundedBy><brid:interiorBridgeRoom>" + thing("brid:BridgeRoom", "br-room", f"<brid:lod4Solid>{solid(cube(12, 2))}</brid:lod4Solid>") + "</brid:interiorBridgeRoom>"),
    thing("tun:Tunnel", "tu", f"<tun:lod2Solid>{solid(cube(20))}</tun:lod2Solid><tun:outerTunnelInstallation>"
          + thing("tun:TunnelInstallation", "tu-fan", f"<tun:lod3Geometry>{square(20, 9)}</tun:lod3Geometry>") + "</tun:outerTunnelInstallation><tun:interiorHollowSpace>"
          + thing("tun:HollowSpace", "tu-space", f"<tun:lod4MultiSurface>{square(21)}</tun:lod4MultiSurface><tun:interiorFurniture>"
                  + thing("tun:TunnelFurniture", "tu-sign", f"<tun:lod4Geometry>{square(22)}</tun:lod4Geometry>") + "</tun:interiorFurniture>") + "</tun:interiorHollowSpace>"),
    thing("tran:Road", "rd", f"<tran:lod0Network>{line(30)}</tran:lod0Network><tran:trafficArea>"
          + thing("tran:TrafficArea", "rd-lane", f"<tran:lod2MultiSurface>{square(30)}</tran:lod2MultiSurface>") + "</tran:trafficArea><tran:auxiliaryTrafficArea>"
          + thing("tran:AuxiliaryTrafficArea", "rd-kerb", f"<tran:lod2MultiSurface>{square(34)}</tran:lod2MultiSurface>") + "</tran:auxiliaryTrafficArea>"),
    thing("veg:PlantCover", "pc", f"<veg:lod2MultiSolid><gml:MultiSolid><gml:solidMember>{solid(cube(40, 1))}</gml:solidMember><gml:solidMember>{solid(cube(43, 2))}"
          "</gml:solidMember></gml:MultiSolid></veg:lod2MultiSolid>"),
    thing("veg:SolitaryVegetationObject", "tree", "<veg:lod2ImplicitRepresentation><core:ImplicitGeometry><core:transformationMatrix>2 0 0 0 0 2 0 0 0 0 2 0 0 0 0 1"
          f"</core:transformationMatrix><core:libraryObject>tree.obj</core:libraryObject><core:referencePoint><gml:Point><gml:pos>{X + 48} {Y} {Z}</gml:pos></gml:Point>"
          "</core:referencePoint></core:ImplicitGeometry></veg:lod2ImplicitRepresentation>"),
    thing("wtr:WaterBody", "wb", f"<wtr:lod2Solid>{solid(cube(50))}</wtr:lod2Solid><wtr:boundedBy>"
          + thing("wtr:WaterSurface", "wb-top", f"<wtr:lod2Surface>{polygon([(50, 0, 4), (54, 0, 4), (54, 4, 4), (50, 4, 4)])}</wtr:lod2Surface>") + "</wtr:boundedBy>"),
    thing("luse:LandUse", "lu", f"<luse:lod0MultiSurface>{square(60)}</luse:lod0MultiSurface>"),
    thing("dem:ReliefFeature", "rf", "<dem:lod>1</dem:lod><dem:reliefComponent>" + thing("dem:TINRelief", "rf-tin", "<dem:lod>1</dem:lod><dem:tin><gml:Tin><gml:trianglePatches/>"
          f"<gml:controlPoint><gml:posList>{places([(70, 0, 1), (74, 0, 2), (70, 4, 3)])}</gml:posList></gml:controlPoint></gml:Tin></dem:tin>")
          + "</dem:reliefComponent><dem:reliefComponent>" + thing("dem:BreaklineRelief", "rf-lines", f"<dem:lod>1</dem:lod><dem:breaklines>{line(70)}</dem:breaklines>")
          + "</dem:reliefComponent><dem:reliefComponent>" + thing("dem:RasterRelief", "rf-grid", "<dem:lod>1</dem:lod><dem:grid><gml:RectifiedGridCoverage/></dem:grid>")
          + "</dem:reliefComponent>"),
    thing("frn:CityFurniture", "cf", f"<frn:lod3Geometry>{square(80)}</frn:lod3Geometry>"),
    thing("grp:CityObjectGroup", "gr", '<grp:groupMember role="stop" xlink:href="#cf"/><grp:groupMember xlink:href="#tree"/>'),
    thing("bldg:Building", "bu", f"<bldg:lod2Solid>{solid([f'wall{i}' for i in range(6)])}</bldg:lod2Solid>"
          + "".join("<bldg:boundedBy>" + thing("bldg:WallSurface", f"bu-{i}", f"<bldg:lod2MultiSurface><gml:MultiSurface><gml:surfaceMember>{face}</gml:surfaceMember></gml:MultiSurface>"
                    "</bldg:lod2MultiSurface>") + "</bldg:boundedBy>" for i, face in enumerate(cube(90, 4, "wall")))
          + "<bldg:consistsOfBuildingPart>" + thing("bldg:BuildingPart", "bu-part", "<bldg:consistsOfBuildingPart>" + thing("bldg:BuildingPart", "bu-part-part", "<bldg:lod2Solid>"
            + solid(['<gml:OrientableSurface orientation="-"><gml:baseSurface xlink:href="#wall5"/></gml:OrientableSurface>', *(f for i, f in enumerate(cube(94)) if i != 4)])
            + "</bldg:lod2Solid>") + "</bldg:consistsOfBuildingPart>") + "</bldg:consistsOfBuildingPart><bldg:address>"
          + thing("core:Address", "ad", "<core:xalAddress/>") + "</bldg:address><ade:zone>" + thing("ade:Zone", "zone", "<ade:heated>yes</ade:heated>") + "</ade:zone>"),
    thing("ade:Mast", "mast", f"<ade:power>5</ade:power><ade:lod2Geometry>{square(110)}</ade:lod2Geometry><ade:shape>{square(114)}</ade:shape>"),
]  # fmt: skip


@pytest.mark.parametrize("version", ["1.0", "2.0"])
def test_every_module_of_citygml(tmp_path: Path, version: str) -> None:
    """Each object and surface of the file is a feature; what is not read is said; shared walls, templates and sums of solids have their volumes."""
    spaces = "".join(f' xmlns:{prefix}="http://www.opengis.net/citygml/{name}/{version}"' for prefix, name in MODULES.items())
    text = (f'<core:CityModel xmlns:core="http://www.opengis.net/citygml/{version}" xmlns:gml="http://www.opengis.net/gml" xmlns:xlink="http://www.w3.org/1999/xlink" '
            f'xmlns:ade="http://example.org/ade"{spaces}><gml:boundedBy><gml:Envelope srsName="urn:ogc:def:crs,crs:EPSG::4547,crs:EPSG::5737"><gml:lowerCorner>{X} {Y} 0'
            f"</gml:lowerCorner></gml:Envelope></gml:boundedBy>" + "".join(f"<core:cityObjectMember>{member}</core:cityObjectMember>" for member in MEMBERS)
            + '<core:cityObjectMember xlink:href="north.gml#b7"/></core:CityModel>')  # fmt: skip
    (tmp_path / "m.gml").write_text(text)
    (tmp_path / "tree.obj").write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\nv 0 0 1\nf 1 3 2\nf 1 2 4\nf 2 3 4\nf 1 4 3\n")
    report = Report()
    mesh = read(citygml, tmp_path / "m.gml", report)
    rows = dict(zip(mesh.ids.to_pylist(), mesh.attributes.to_pylist(), strict=True))
    assert mesh.parents is not None
    parent = dict(zip(mesh.ids.to_pylist(), mesh.parents.to_pylist(), strict=True))
    own = {row["gml_id"]: name for name, row in rows.items() if row["gml_id"]}
    stated = {e.get(ID) for e in ET.fromstring(text).iter() if e.get(ID) and not e.tag.endswith(("Polygon", "Address"))}
    assert {own_id for own_id in stated if own_id not in rows and own_id not in own} == set()
    assert rows["bu"]["address"] == '[{"gml_id":"ad","xalAddress":""}]' and rows["gr"]["groupMember"] == '[{"href":"#cf","role":"stop"},"#tree"]'
    volumes = {name: row["solid_volume"] for name, row in rows.items() if row["solid_volume"] is not None}
    assert volumes == pytest.approx({"br-pier": 64, "br-room": 8, "tu": 64, "pc": 9, "tree": 8 / 6, "wb": 64, "bu": 64, "bu-part-part": 64})
    assert (parent["tu-sign"], parent["bu-part-part"], parent[own["bu-3"]], rows["zone"]["ade:heated"], rows["mast"]["ade:power"]) == ("tu-space", "bu-part", "bu", "yes", "5")
    assert mesh.outlines is not None
    drawn = set(mesh.instance_feature.tolist())
    flat = {name for i, name in enumerate(rows) if mesh.outlines[i] is not None}
    assert flat == {"rf-lines"} and list(rows).index("rf-tin") in drawn
    assert (rows["lu"]["cim_grade"], rows["rf-tin"]["cim_grade"], rows["bu"]["cim_grade"]) == ("CIM1", "CIM1", "CIM3")  # areas of a plan lie on the ground
    empty = {name for i, name in enumerate(rows) if i not in drawn} - flat
    assert empty == {"br", "rd", "rf", "rf-grid", "gr", "bu", "bu-part", "zone"}  # they have surfaces, parts or nothing to draw
    said = {note.feature: note.reason for note in report.notes if note.action == "skipped"}
    assert shapely.from_wkt(rows["rd"]["lod0Network"]).length > 0
    assert set(said) == {"rf-grid", "mast", "north.gml#b7"} and "no LoD" in said["mast"] and "another file" in said["north.gml#b7"]


HEADS = '<?xml version="1.0"?><core:CityModel xmlns:core="http://www.opengis.net/citygml/2.0" xmlns:gml="http://www.opengis.net/gml" xmlns:dem="http://www.opengis.net/citygml/relief/2.0">'


@pytest.mark.parametrize(("crs", "north_first"), [("EPSG:4547", False), ("urn:ogc:def:crs:EPSG::4547", True), ("urn:ogc:def:crs:EPSG::4979", True)])
def test_a_tin_of_points_alone(tmp_path: Path, crs: str, north_first: bool) -> None:
    """Twelve by nine points of a plane and one far away: every triangle looks up, lies in the plane and is Delaunay's; the far one is cut off by maxLength."""
    rng = np.random.default_rng(3)
    x, y = (axis.ravel() * 10 + rng.uniform(-3, 3, axis.size) for axis in np.meshgrid(np.arange(12.0), np.arange(9.0)))
    x, y = np.append(x, 5000.0), np.append(y, 40.0)
    z = 20 + 0.1 * x - 0.05 * y
    east, north = (112.6 + x / 102_880, 22.5 + y / 110_750) if "4979" in crs else (X + x, Y + y)
    flat = zip(north, east, z, strict=True) if north_first else zip(east, north, z, strict=True)
    rows = [list(map(float, row)) for row in flat]
    corners = " ".join(f"{a!r} {b!r} {c!r}" for a, b, c in rows)
    tin = f'<gml:Tin><gml:trianglePatches/><gml:maxLength uom="m">40</gml:maxLength><gml:controlPoint><gml:posList>{corners}</gml:posList></gml:controlPoint></gml:Tin>'
    (tmp_path / "t.gml").write_text(
        f'{HEADS}<gml:boundedBy><gml:Envelope srsName="{crs}" srsDimension="3"><gml:lowerCorner>{rows[0][0]} {rows[0][1]} 0</gml:lowerCorner></gml:Envelope></gml:boundedBy><core:cityObjectMember>'
        f'<dem:TINRelief gml:id="t"><dem:lod>2</dem:lod><dem:tin>{tin}</dem:tin></dem:TINRelief></core:cityObjectMember></core:CityModel>')  # fmt: skip
    report = Report()
    mesh = next(b for b in citygml.read(tmp_path / "t.gml", citygml.Options(**({} if "4979" in crs else {"vertical": "EPSG:5737"})), report) if isinstance(b, Mesh))
    to_metres = np.array([102_880, 110_750, 1.0]) if "4979" in crs else np.ones(3)
    origin = np.array([112.6, 22.5, 0.0]) if "4979" in crs else np.array([X, Y, 0.0])
    points = ((mesh.positions @ mesh.transforms[0][:3, :3].T + mesh.transforms[0][:3, 3]) - origin) * to_metres
    a, b, c = (points[mesh.triangles[:, i]] for i in range(3))
    assert (np.cross(b - a, c - a)[:, 2] > 0).all() and points[:, 0].max() < 200
    np.testing.assert_allclose(points[:, 2], 20 + 0.1 * points[:, 0] - 0.05 * points[:, 1], atol=1e-3)
    # what lies towards the far point is cut off; no point is within the circle around a triangle
    hull = shapely.convex_hull(shapely.multipoints(np.column_stack([x, y])[:-1])).area
    assert 0.95 * hull < np.cross((b - a)[:, :2], (c - a)[:, :2]).sum() / 2 < hull
    for p, q, r in zip(a[:, :2], b[:, :2], c[:, :2], strict=True):
        middle = np.linalg.solve(2 * np.array([q - p, r - p]), [q @ q - p @ p, r @ r - p @ p])
        assert np.hypot(x - middle[0], y - middle[1]).min() > np.linalg.norm(p - middle) - 0.05
    assert [note for note in report.notes if note.action in ("skipped", "refused")] == []


def test_what_addresses_say_of_their_texts(tmp_path: Path) -> None:
    """The German profile's address: types and schemes of the texts themselves are kept beside them."""
    address = ('<core:Address><core:xalAddress><xAL:AddressDetails xmlns:xAL="urn:oasis:names:tc:ciq:xsdschema:xAL:2.0"><xAL:Country><xAL:CountryNameCode Scheme="ISO 3166-1">DE'
               '</xAL:CountryNameCode><xAL:Locality Type="Town"><xAL:LocalityName Type="Official">Köln</xAL:LocalityName><xAL:LocalityName>Coeln</xAL:LocalityName></xAL:Locality>'
               "</xAL:Country></xAL:AddressDetails></core:xalAddress></core:Address>")  # fmt: skip
    head = HEADS.replace("xmlns:dem", 'xmlns:bldg="http://www.opengis.net/citygml/building/2.0" xmlns:dem')
    (tmp_path / "a.gml").write_text(f'{head}<core:cityObjectMember><bldg:Building gml:id="b"><bldg:lod0FootPrint>{square(0)}</bldg:lod0FootPrint><bldg:address>{address}'
                                    "</bldg:address></bldg:Building></core:cityObjectMember></core:CityModel>")  # fmt: skip
    mesh = read(citygml, tmp_path / "a.gml", Report(), crs="EPSG:4547", vertical="EPSG:5737")
    (stated,) = json.loads(mesh.attributes.to_pylist()[0]["address"])
    assert stated["xalAddress"]["AddressDetails"]["Country"] == {
        "CountryNameCode": "DE", "CountryNameCode.Scheme": "ISO 3166-1",
        "Locality": {"Type": "Town", "LocalityName": ["Köln", "Coeln"], "LocalityName.Type": "Official"},
    }  # fmt: skip


def test_points_on_one_line_are_no_tin(tmp_path: Path) -> None:
    corners = " ".join(f"{X + i} {Y + i} {i}" for i in range(5))
    (tmp_path / "t.gml").write_text(
        f'{HEADS}<core:cityObjectMember><dem:TINRelief gml:id="t"><dem:lod>2</dem:lod><dem:tin><gml:Tin><gml:controlPoint><gml:posList srsDimension="3">{corners}</gml:posList>'
        "</gml:controlPoint></gml:Tin></dem:tin></dem:TINRelief></core:cityObjectMember></core:CityModel>")  # fmt: skip
    report = Report()
    mesh = read(citygml, tmp_path / "t.gml", report, crs="EPSG:4547", vertical="EPSG:5737")
    assert mesh.outlines is not None and shapely.get_num_coordinates(mesh.outlines[0]) == 5
    assert any("make no triangle" in note.reason for note in report.notes if note.feature == "t")


def document(objects: dict[str, Any], **members: Any) -> dict[str, Any]:
    """CityJSON 2.0 over a cube of 1 m."""
    corners = [[1000 * (i & 1), 1000 * (i >> 1 & 1), 1000 * (i >> 2)] for i in range(8)]
    return {"type": "CityJSON", "version": "2.0", "transform": {"scale": [0.001] * 3, "translate": [X, Y, Z]}, "vertices": corners,
            "metadata": {"referenceSystem": "https://www.opengis.net/def/crs/EPSG/0/4547"}, "CityObjects": objects} | members  # fmt: skip


CUBE = {"type": "Solid", "lod": "2", "boundaries": [[[side] for side in SIDES]]}


def test_groups_roles_and_what_a_document_says_of_itself(tmp_path: Path) -> None:
    group = {"type": "CityObjectGroup", "children": ["a"], "children_roles": ["hall"]}
    stated = document({"a": {"type": "Building", "children": ["p"], "attributes": {"solid_volume": 7}}, "p": {"type": "BuildingPart", "parents": ["a"], "geometry": [CUBE]}, "g": group})
    stated["metadata"] |= {"title": "Test", "geographicalExtent": [0] * 6}
    (tmp_path / "m.city.json").write_text(json.dumps(stated))
    report = Report()
    mesh = read(cityjson, tmp_path / "m.city.json", report, vertical="EPSG:5737")
    rows = dict(zip(mesh.ids.to_pylist(), mesh.attributes.to_pylist(), strict=True))
    assert (rows["g"]["children"], rows["g"]["children_roles"]) == (["a"], ["hall"]) and rows["a"]["children"] is None
    assert rows["a"]["attribute.solid_volume"] == 7 and rows["p"]["solid_volume"] == pytest.approx(1) and report.facts["metadata"] == {"title": "Test"}


@pytest.mark.parametrize(("transform", "at", "says"), [
    ({"scale": [0.001] * 3, "translate": [X, Y, Z]}, [X, Y, Z], None), ({"scale": [0.002] * 3, "translate": [X + 50, Y, Z]}, [X + 50, Y, Z], "of its own"),
    ({"scale": [0.001] * 2, "translate": [X, Y, Z]}, [X, Y, Z], "malformed"),
])  # fmt: skip
def test_a_feature_with_a_transform_of_its_own(tmp_path: Path, transform: dict[str, Any], at: list[float], says: str | None) -> None:
    """A BOM, Windows line ends and blank lines do no harm; a feature is placed by its own transform where it has another one, and the report says so."""
    head = document({}, vertices=[])
    feature = {"type": "CityJSONFeature", "id": "a", "transform": transform, "vertices": document({})["vertices"], "CityObjects": {"a": {"type": "Building", "geometry": [CUBE]}}}
    (tmp_path / "m.city.jsonl").write_bytes(b"\xef\xbb\xbf" + "\r\n".join([json.dumps(head), "", json.dumps(feature), " "]).encode())
    report = Report()
    mesh = read(cityjson, tmp_path / "m.city.jsonl", report, vertical="EPSG:5737")
    corners = np.concatenate([mesh.positions[mesh.vertex_start[p] : mesh.vertex_start[p + 1]] + m[:3, 3] for p, m in zip(mesh.instance_prototype, mesh.transforms, strict=True)])
    assert corners.min(axis=0).tolist() == at
    assert [note.feature for note in report.notes] == (["a"] if says else []) and all(says in note.reason for note in report.notes if says)
