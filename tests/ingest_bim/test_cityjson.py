"""CityJSON: small documents built here, so that anything can be wrong with them."""

from __future__ import annotations

import copy
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh
from PIL import Image
from pyproj import Transformer

from ingest_bim.citymodels import cityjson
from twin import grading, intake
from twin.errors import BadFeature, BadOption, BadReference, MissingReference, TwinError, UnreadableSource
from twin.lake import Lake
from twin.model import Mesh, Report
from twin.parts import write_version
from twin.registry import TileJob

CUBE = [[0, 0, 0], [10, 0, 0], [10, 10, 0], [0, 10, 0], [0, 0, 10], [10, 0, 10], [10, 10, 10], [0, 10, 10]]
SHELL = [[[0, 3, 2, 1]], [[4, 5, 6, 7]], [[0, 1, 5, 4]], [[1, 2, 6, 5]], [[2, 3, 7, 6]], [[3, 0, 4, 7]]]
KINDS = [{"type": "GroundSurface"}, {"type": "RoofSurface", "slope": 0.5}, {"type": "WallSurface"}]


def document(**changes: Any) -> dict[str, Any]:
    """A cube of 10 m near Delft with semantics."""
    solid = {"type": "Solid", "lod": "2.2", "boundaries": [copy.deepcopy(SHELL)],
             "semantics": {"surfaces": copy.deepcopy(KINDS), "values": [[0, 1, 2, 2, 2, 2]]}}  # fmt: skip
    base: dict[str, Any] = {
        "type": "CityJSON", "version": "2.0", "transform": {"scale": [0.001, 0.001, 0.001], "translate": [85000.0, 446000.0, 1.5]},
        "metadata": {"referenceSystem": "https://www.opengis.net/def/crs/EPSG/0/7415"},
        "CityObjects": {"b1": {"type": "Building", "attributes": {"floors": 3, "owner": {"name": "市", "id": 7}, "class": "x"}, "geometry": [solid]}},
        "vertices": [[1000 * v for v in p] for p in CUBE],
    }  # fmt: skip
    return base | changes


def save(folder: Path, content: Any, name: str = "model.city.json") -> Path:
    path = folder / name
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def load(path: Path, **options: Any) -> tuple[list[Mesh], Report]:
    report = Report()
    return [b for b in cityjson.read(path, cityjson.Options(**options), report) if isinstance(b, Mesh)], report


def solid_of(mesh: Mesh, parent: str) -> trimesh.Trimesh:
    """All faces of an object and its surfaces, welded by trimesh."""
    ids, parents = mesh.ids.to_pylist(), mesh.parents.to_pylist()
    corners, triangles, count = [], [], 0
    for p, feature, matrix in zip(mesh.instance_prototype, mesh.instance_feature, mesh.transforms, strict=True):
        if parent in (ids[feature], parents[feature]):
            own = mesh.positions[mesh.vertex_start[p] : mesh.vertex_start[p + 1]] @ matrix[:3, :3].T + matrix[:3, 3]
            corners.append(own)
            triangles.append(mesh.triangles[mesh.triangle_start[p] : mesh.triangle_start[p + 1]] + count)
            count += len(own)
    points = np.concatenate(corners)
    result = trimesh.Trimesh(points - points[0], np.concatenate(triangles), process=False)
    result.merge_vertices(digits_vertex=4)
    return result


def test_a_cube_with_semantics(tmp_path: Path) -> None:
    (mesh,), report = load(save(tmp_path, document()))
    assert mesh.ids.to_pylist() == ["b1", "b1#0", "b1#1", "b1#2"] and mesh.parents.to_pylist() == [None, "b1", "b1", "b1"]
    assert mesh.attributes["class"].to_pylist() == ["Building", "GroundSurface", "RoofSurface", "WallSurface"]
    assert mesh.attributes["floors"].to_pylist() == [3, None, None, None] and mesh.attributes["slope"].to_pylist()[2] == 0.5
    assert mesh.attributes["owner.name"][0].as_py() == "市" and mesh.attributes["attribute.class"][0].as_py() == "x"
    assert mesh.reference.horizontal == "EPSG:28992" and mesh.reference.vertical == "EPSG:5709"
    solid = solid_of(mesh, "b1")
    assert solid.is_watertight and solid.volume == pytest.approx(1000.0, rel=1e-9)
    assert mesh.transforms[0][:3, 3] == pytest.approx([85000, 446000, 1.5], abs=1e-9)
    assert grading.grade("mesh", report.facts).value == "CIM3" and report.facts["geometry"]["closed solids"] == 1 and (report.read, report.kept) == (1, 1)


def test_an_inside_out_solid_is_turned(tmp_path: Path) -> None:
    turned = document()
    geometry = turned["CityObjects"]["b1"]["geometry"][0]
    geometry["boundaries"] = [[[ring[::-1] for ring in face] for face in SHELL]]
    (mesh,), report = load(save(tmp_path, turned))
    assert solid_of(mesh, "b1").volume == pytest.approx(1000.0) and report.counts["repaired"] == 1


def test_a_hole_and_its_normal(tmp_path: Path) -> None:
    """A wall of 10 × 10 m with a window of 4 × 4 m: 84 m² facing south, as given."""
    wall = [[0, 0, 0], [10, 0, 0], [10, 0, 10], [0, 0, 10], [3, 0, 3], [3, 0, 7], [7, 0, 7], [7, 0, 3]]
    surface = {"type": "MultiSurface", "lod": "3", "boundaries": [[[0, 1, 2, 3], [4, 5, 6, 7]]]}
    content = document(vertices=[[1000 * v for v in p] for p in wall], CityObjects={"w": {"type": "Building", "geometry": [surface]}})
    (mesh,), report = load(save(tmp_path, content))
    p = mesh.positions[mesh.triangles]
    normal = np.cross(p[:, 1] - p[:, 0], p[:, 2] - p[:, 0]) / 2
    assert normal.sum(axis=0) == pytest.approx([0, -84, 0], abs=1e-9) and (normal[:, 1] < 0).all()
    assert grading.grade("mesh", report.facts).value == "CIM4"


def test_lods(tmp_path: Path) -> None:
    two = document()
    coarse = {"type": "MultiSurface", "lod": "1", "boundaries": [[[0, 3, 2, 1]]]}
    two["CityObjects"]["b1"]["geometry"].append(coarse)
    path = save(tmp_path, two)
    assert load(path)[0][0].attributes["lod"][0].as_py() == "2.2"
    assert len(load(path, lod="1")[0][0].triangles) == 2
    assert len(load(path, lod="2")[0][0].triangles) == 12
    nothing, report = load(path, lod="4")
    assert not len(nothing[0].triangles) and any("no geometry of LoD 4" in n.reason for n in report.notes)


def test_a_coarse_parent_is_not_drawn_over_its_parts(tmp_path: Path) -> None:
    family = document()
    part = family["CityObjects"].pop("b1")
    family["CityObjects"] = {
        "b": {"type": "Building", "children": ["p"], "geometry": [{"type": "MultiSurface", "lod": "0", "boundaries": [[[0, 3, 2, 1]]]}]},
        "p": part | {"type": "BuildingPart", "parents": ["b"]},
    }
    (mesh,), report = load(save(tmp_path, family))
    assert 0 not in mesh.instance_feature and report.counts == {"skipped": 1} and mesh.parents.to_pylist()[1] == "b"
    del family["CityObjects"]["b"]
    (mesh,), report = load(save(tmp_path, family))
    assert [(n.action, n.feature) for n in report.notes] == [("warned", "p")] and "its parent 'b' is not among" in report.notes[0].reason


def test_faces_given_twice_are_drawn_once(tmp_path: Path) -> None:
    twice = document()
    twice["CityObjects"]["b1"]["geometry"].append({"type": "Solid", "lod": "2.2", "boundaries": [copy.deepcopy(SHELL)]})
    assert len(load(save(tmp_path, twice))[0][0].triangles) == 12


def test_templates_are_instances(tmp_path: Path) -> None:
    tree = {"type": "SolitaryVegetationObject", "geometry": [
        {"type": "GeometryInstance", "template": 0, "boundaries": [1], "transformationMatrix": [2, 0, 0, 0, 0, 2, 0, 0, 0, 0, 2, 0, 0, 0, 0, 1]}
    ]}  # fmt: skip
    other = {"type": "SolitaryVegetationObject", "geometry": [{"type": "GeometryInstance", "template": 0, "boundaries": [2]}]}
    templates = {"templates": [{"type": "MultiSurface", "lod": "2", "boundaries": SHELL}], "vertices-templates": CUBE}
    (mesh,), _ = load(save(tmp_path, document(CityObjects={"t": tree, "u": other}, **{"geometry-templates": templates})))
    assert len(mesh.vertex_start) == 2 and len(mesh.instance_prototype) == 2
    assert mesh.transforms[0] @ [10, 10, 10, 1] == pytest.approx([85030, 446020, 21.5, 1])


def test_templates_have_their_own_looks(tmp_path: Path) -> None:
    """Images and colours that templates alone bear were not drawn; those of a sequence are the header's, whatever a feature brings; what has none has the colour of its class."""
    Image.new("RGB", (4, 4), (200, 0, 0)).save(tmp_path / "bark.png")
    looks = {"textures": [{"type": "PNG", "image": "bark.png"}], "vertices-texture": [[0, 0], [1, 0], [1, 1], [0, 1]], "materials": [{"name": "blue", "diffuseColor": [0, 0, 1]}]}
    templates = {"templates": [{"type": "MultiSurface", "lod": "2", "boundaries": SHELL, "texture": {"t": {"values": [[[0, 0, 1, 2, 3]], *[[[None]]] * 5]}}},
                               {"type": "MultiSurface", "lod": "2", "boundaries": SHELL, "material": {"m": {"value": 0}}}], "vertices-templates": CUBE}  # fmt: skip

    def tree(template: int, kind: str = "SolitaryVegetationObject") -> dict[str, Any]:
        return {"type": kind, "geometry": [{"type": "GeometryInstance", "template": template, "boundaries": [1]}]}

    def look(mesh: Mesh, name: str) -> list[tuple[str, bool, float]]:
        at = mesh.instance_prototype[mesh.instance_feature.tolist().index(mesh.ids.to_pylist().index(name))]
        used = np.unique(mesh.triangle_material[mesh.triangle_start[at] : mesh.triangle_start[at + 1]]).tolist()
        return sorted((mesh.materials[m].name, mesh.materials[m].texture is not None, mesh.materials[m].color[2]) for m in used)

    things = {"t": tree(0), "u": tree(1), "lamp": tree(0, "CityFurniture")}
    expected = {"t": [("", False, 0.27), ("", True, 1.0)], "u": [("blue", False, 1.0)], "lamp": [("", False, 0.8), ("", True, 1.0)]}
    whole = document(CityObjects=things, appearance=looks, **{"geometry-templates": templates})
    header = whole | {"CityObjects": {}, "vertices": []}
    own = {"materials": [{"name": "red", "diffuseColor": [1, 0, 0]}], "textures": [{"type": "PNG", "image": "none.png"}], "vertices-texture": [[0, 0]]}
    lines = [header, *({"type": "CityJSONFeature", "id": k, "CityObjects": {k: v}, "vertices": whole["vertices"], "appearance": own} for k, v in things.items())]
    for path in (save(tmp_path, whole), save(tmp_path, "\n".join(map(json.dumps, lines)), "s.city.jsonl")):
        (mesh,), report = load(path)
        assert {name: look(mesh, name) for name in things} == expected
        assert dict(zip(mesh.ids.to_pylist(), mesh.attributes["cim_grade"].to_pylist(), strict=True))["t"] == "CIM3" and not report.counts.get("skipped")


def test_materials(tmp_path: Path) -> None:
    painted = document(appearance={"materials": [{"name": "red", "diffuseColor": [1, 0, 0], "transparency": 0.25}]})
    painted["CityObjects"]["b1"]["geometry"][0]["material"] = {"t": {"values": [[None, 0, None, None, None, None]]}}
    (mesh,), _ = load(save(tmp_path, painted))
    roof = mesh.triangle_material[mesh.triangle_start[1] : mesh.triangle_start[2]]
    assert mesh.materials[roof[0]].name == "red" and mesh.materials[roof[0]].color == (1, 0, 0, 0.75)


def sequence(folder: Path, header: dict[str, Any] | None) -> Path:
    whole = document()
    feature = {"type": "CityJSONFeature", "id": "b1", "CityObjects": whole["CityObjects"], "vertices": whole["vertices"]}
    second = copy.deepcopy(feature) | {"id": "b2", "CityObjects": {"b2": whole["CityObjects"]["b1"] | {"attributes": {"floors": 2.5, "new": "x"}}}}
    return save(folder, "\n".join(json.dumps(line) for line in ([header] if header else []) + [feature, second]), "model.city.jsonl")


def test_sequence_and_separate_header(tmp_path: Path) -> None:
    header = document(CityObjects={}, vertices=[])
    (mesh,), _ = load(sequence(tmp_path, header))
    assert len(mesh) == 8 and mesh.attributes["floors"].to_pylist()[::4] == [3.0, 2.5]
    bare = sequence(tmp_path, None)
    with pytest.raises(UnreadableSource, match="metadata="):
        load(bare)
    save(tmp_path, header, "header.city.json")
    assert len(load(bare, metadata="header.city.json")[0][0]) == 8
    for name in ("../header.city.json", "/etc/passwd", "..", "nothing.json"):
        with pytest.raises(BadOption):
            load(bare, metadata=name)


@pytest.mark.parametrize(("crs", "horizontal", "vertical"), [
    ("urn:ogc:def:crs:EPSG::7415", "EPSG:28992", "EPSG:5709"), ("EPSG:7415", "EPSG:28992", "EPSG:5709"),
    ("http://www.opengis.net/def/crs/EPSG/0/7415", "EPSG:28992", "EPSG:5709"),
    ("urn:ogc:def:crs,crs:EPSG::28992,crs:EPSG::5709", "EPSG:28992", "EPSG:5709"),
])  # fmt: skip
def test_crs_forms(tmp_path: Path, crs: str, horizontal: str, vertical: str) -> None:
    (mesh,), _ = load(save(tmp_path, document(metadata={"referenceSystem": crs})))
    assert (mesh.reference.horizontal, mesh.reference.vertical) == (horizontal, vertical)


def test_volumes_on_a_map_that_stretches(tmp_path: Path) -> None:
    """A cube of 10 m near Delft in Web Mercator's coordinates by pyproj: 1,000 m³, where the map's own metres are 2,634; tools of the web write such files."""
    x, y = Transformer.from_crs(28992, 3857, always_xy=True).transform(*(np.array(CUBE)[:, :2] + [85000, 446000]).T)
    web = document(metadata={"referenceSystem": "https://www.opengis.net/def/crs/EPSG/0/3857"}, transform={"scale": [1e-4] * 3, "translate": [0, 0, 0]},
                   vertices=np.rint(np.stack([x, y, np.array(CUBE)[:, 2]], axis=1) * 1e4).astype(np.int64).tolist())  # fmt: skip
    (mesh,), _ = load(save(tmp_path, web), vertical="EPSG:5709")
    assert mesh.attributes["solid_volume"][0].as_py() == pytest.approx(1000, rel=5e-4)


def test_heights_that_replace_those_of_the_file_are_said(tmp_path: Path) -> None:
    path = save(tmp_path, document())
    assert any("'EGM96' given by the user replace the file's, which are EPSG:5709" in note.reason for note in load(path, vertical="EGM96")[1].notes)
    assert not load(path, vertical="EPSG:5709")[1].notes


def test_references_are_demanded(tmp_path: Path) -> None:
    bare = save(tmp_path, document(metadata={}))
    with pytest.raises(MissingReference, match="--crs"):
        load(bare)
    with pytest.raises(MissingReference, match="--vertical"):
        load(bare, crs="EPSG:28992")
    assert load(bare, crs="EPSG:28992", vertical="EPSG:5709")[0]
    with pytest.raises(BadReference):
        load(save(tmp_path, document(metadata={"referenceSystem": "EPSG:999999"})))


def test_wrong_indices_and_bad_faces_are_reported(tmp_path: Path) -> None:
    bad = document()
    faces = bad["CityObjects"]["b1"]["geometry"][0]["boundaries"][0]
    faces[0] = [[0, 3, 99, 1]]
    faces[1] = [[4, 4, 5]]
    bad["vertices"][6][1] += 500
    (mesh,), report = load(save(tmp_path, bad))
    reasons = " ".join(n.reason for n in report.notes)
    assert "vertex 99" in reasons and "no area" in reasons and "not flat" in reasons and len(mesh.triangles) == 8


def test_numbers_that_lead_nowhere_are_said(tmp_path: Path) -> None:
    content = document(appearance={"materials": [{"diffuseColor": [1, 0, 0]}]})
    solid = content["CityObjects"]["b1"]["geometry"][0]
    solid["semantics"]["values"][0][2] = 9
    solid["material"] = {"t": {"values": [[None, 0, 5, -1, None, None]]}}
    content["CityObjects"]["b1"]["parents"] = ["nobody"]
    (mesh,), report = load(save(tmp_path, content))
    said = {n.action: n.reason for n in report.notes if n.feature == "b1"}
    assert said["skipped"].startswith("3 numbers of surfaces or materials lead to nothing (3 surfaces, 1 materials)") and "'nobody'" in said["warned"]
    assert len(mesh.triangles) == 12


@pytest.mark.parametrize("text", [
    '{"type":"CityJSON","version":"2.0","CityObjects":{"a":{"type":"Buil', "", "[]", "{}", "null", '{"type":"CityJSON","version":"0.8"}',
    '{"type":"CityJSON","version":"2.0","CityObjects":{},"vertices":[]}', '{"type":"CityJSON","version":"2.0"}',
    '{"type":"CityJSON","version":"2.0","CityObjects":[1],"vertices":7}', '{"a":' * 5000, '{"type":"CityJSON","version":"2.0","x":NaN}',
    '{"type":"CityJSON","version":"2.0","transform":{"scale":[1],"translate":[0,0,0]},"CityObjects":{"a":{"type":"Road"}}}',
    '{"type":"CityJSON","version":"2.0","CityObjects":{"a":{"type":"Road"},"a":{"type":"Road"}},"vertices":[]}',
])  # fmt: skip
def test_broken_documents_are_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises((UnreadableSource, BadFeature)):
        load(save(tmp_path, text), crs="EPSG:7415")


@pytest.mark.parametrize("bad", [7, None, "x", [], {"type": "Building", "geometry": 3}, {"type": "Building", "geometry": [{"type": "Solid", "lod": "1", "boundaries": 5}]},
                                 {"type": "Building", "attributes": [1]}, {"geometry": []}])  # fmt: skip
def test_a_malformed_object_is_refused_alone(tmp_path: Path, bad: Any) -> None:
    content = document()
    content["CityObjects"]["bad"] = bad
    (mesh,), report = load(save(tmp_path, content))
    assert "b1" in mesh.ids.to_pylist() and [n.feature for n in report.notes if n.action == "refused"] == ["bad"]


JUNK: list[Any] = [None, -1, 10**30, 1.5, "x", [], {}, [[]], True, [None], {"a": 1}, [[[[9]]]]]


def places(value: Any) -> list[tuple[Any, Any]]:
    """(container, key) of everything inside a document."""
    keys = list(value) if isinstance(value, dict) else list(range(len(value))) if isinstance(value, list) else []
    return [(value, key) for key in keys] + [place for key in keys for place in places(value[key])]


def test_anything_anywhere_is_loaded_or_refused(tmp_path: Path) -> None:
    """Two hundred documents with one to three values replaced or removed (a fixed seed): a verdict for each, no other exception."""
    chance = random.Random(11)
    instance = {"type": "SolitaryVegetationObject", "geometry": [{"type": "GeometryInstance", "template": 0, "boundaries": [1]}]}
    base = document(appearance={"materials": [{"diffuseColor": [1, 0, 0]}]}, **{
        "geometry-templates": {"templates": [{"type": "MultiSurface", "lod": "2", "boundaries": SHELL}], "vertices-templates": CUBE}})  # fmt: skip
    base["CityObjects"]["t"] = instance
    base["CityObjects"]["b1"]["geometry"][0]["material"] = {"t": {"values": [[None, 0]]}}
    verdicts = {"loaded": 0, "refused": 0}
    for _ in range(200):
        broken = copy.deepcopy(base)
        for _ in range(chance.choice([1, 2, 3])):
            container, key = chance.choice(places(broken))
            if isinstance(container, dict) and chance.random() < 0.3:
                del container[key]
            else:
                container[key] = chance.choice(JUNK)
        try:
            meshes, _ = load(save(tmp_path, broken))
            assert all(np.isfinite(m.positions).all() for m in meshes)
            verdicts["loaded"] += 1
        except TwinError:
            verdicts["refused"] += 1
    assert min(verdicts.values()) > 20


def test_detection(tmp_path: Path) -> None:
    options: dict[str, Any] = {}
    assert intake.choose_reader(save(tmp_path, document(), "a.json"), None, options).name == "cityjson"
    late = {k: v for k, v in document().items() if k != "type"} | {"vertices": [[0, 0, 0]] * 20000, "type": "CityJSON"}
    assert intake.choose_reader(save(tmp_path, late, "b.json"), None, options).name == "cityjson"
    geojson = {
        "type": "FeatureCollection",
        "features": [{"type": "Feature", "properties": {"CityObjects": 1}, "geometry": {"type": "Point", "coordinates": [1, 2]}}],
    }
    assert intake.choose_reader(save(tmp_path, geojson, "c.json"), None, options).name == "vector"


# --- what others made --------------------------------------------------------------------------------------------


def test_den_haag(shared_data: Path) -> None:
    path = shared_data / "citymodel/DenHaag_01.city.json"
    raw = json.loads(path.read_text())
    meshes, report = load(path)
    ids = [i for m in meshes for i in m.ids.to_pylist()]
    assert set(raw["CityObjects"]) <= set(ids) and report.read == report.kept == len(raw["CityObjects"]) == 2498
    assert report.facts["classes"]["Building"] == 844 and report.facts["classes"]["BuildingPart"] == 1653
    low, high = raw["metadata"]["geographicalExtent"][:3], raw["metadata"]["geographicalExtent"][3:]
    placed = np.concatenate([m.transforms[:, :3, 3] for m in meshes])
    assert (placed >= np.array(low) - 0.01).all() and (placed <= np.array(high) + 0.01).all()
    mesh = meshes[0]
    scale, move = np.array(raw["transform"]["scale"]), np.array(raw["transform"]["translate"])
    checked = 0
    for name in [n for n, o in raw["CityObjects"].items() if o["type"] == "BuildingPart"][:60]:
        shell = raw["CityObjects"][name]["geometry"][0]["boundaries"][0]
        solid = solid_of(mesh, name)
        if not solid.is_watertight:
            continue
        # volume by fans about one point: an independent sum over the faces as delivered
        points = np.array(raw["vertices"]) * scale + move
        base = points[shell[0][0][0]]
        volume = sum(np.dot(a, np.cross(b, c)) / 6 for face in shell for ring in face for q in [points[ring] - base]
                     for a, b, c in zip([q[0]] * (len(q) - 2), q[1:-1], q[2:], strict=True))  # fmt: skip
        assert solid.volume == pytest.approx(abs(volume), rel=2e-3, abs=0.05), name
        checked += 1
    assert checked > 50


def test_vienna_and_delft(shared_data: Path) -> None:
    meshes, report = load(shared_data / "citymodel/vienna.city.jsonl", crs="EPSG:31256", vertical="EPSG:5778")
    assert report.facts["classes"]["Building"] == 149 and report.facts["classes"]["BuildingPart"] == 443
    lon, lat = Transformer.from_crs(31256, 4326, always_xy=True).transform(*meshes[0].transforms[0][:2, 3])
    assert 16.3 < lon < 16.5 and 48.1 < lat < 48.3
    assert report.facts["geometry"]["closed solids"] > 450
    _, report = load(shared_data / "citymodel/delft.city.json")
    assert report.facts["classes"] == {"Bridge": 3, "Building": 160, "GenericCityObject": 54, "LandUse": 81, "PlantCover": 126, "Road": 143, "WaterBody": 3}
    assert grading.grade("mesh", report.facts).value == "CIM2"


def test_volumes_of_vienna(shared_data: Path) -> None:
    """Closed hulls against the sum over the delivered solids' own faces (fans about a point, read here once more)."""
    path = shared_data / "citymodel/vienna.city.jsonl"
    (mesh,), _ = load(path, crs="EPSG:31256", vertical="EPSG:5778")
    lines = path.read_text().splitlines()
    head, checked = json.loads(lines[0])["transform"], 0
    for line in lines[1:25]:
        feature = json.loads(line)
        points = np.array(feature["vertices"]) * head["scale"] + head["translate"]
        for name, thing in feature["CityObjects"].items():
            shells = [g["boundaries"][0] for g in thing.get("geometry", []) if g["type"] == "Solid"]
            if not shells or any(len(face) > 1 for face in shells[0]):
                continue
            solid = solid_of(mesh, name)
            if not solid.is_watertight:
                continue
            base = points[shells[0][0][0][0]]
            fans = [(q[0], q[i], q[i + 1]) for face in shells[0] for q in [points[face[0]] - base] for i in range(1, len(q) - 1)]
            volume = sum(np.dot(a, np.cross(b, c)) / 6 for a, b, c in fans)
            assert solid.volume == pytest.approx(abs(volume), rel=2e-3, abs=0.05), name
            checked += 1
    assert checked > 30


def test_3dbag_with_its_header(shared_data: Path) -> None:
    (mesh,), report = load(shared_data / "citymodel/3dbag_feature.city.jsonl", metadata="3dbag_metadata.city.json")
    assert report.facts["lods"] == {"2.2": 1} and "1205507#0" in mesh.ids.to_pylist()


SUITES = ("cityjson-corpus", "cjval-data", "cjdb-tests")
#: Files of the suites that must be refused, and by what.
REFUSED = {"duplicate.json": "stands twice", "generic.ext.json": "CityJSONExtension", "cjfeat1.json": "metadata=", "no_cityjson_obj.city.jsonl": "metadata=",
           "cube_20.jsonl": "CityJSONFeatur", "extension.jsonl": "CityJSONFeatur", "invalid_missing_type.json": "not CityJSON",
           "cityjsonfeature_minimal.city.jsonl": "metadata="}  # fmt: skip


def test_every_file_of_the_suites_has_a_verdict(shared_data: Path) -> None:
    loaded, refused = [], {}
    for suite in SUITES:
        for path in sorted((shared_data / "peer_suites" / suite).rglob("*.json*")):
            if path.name in ("case.json", "invariants.json", "profile.json"):
                continue
            try:
                meshes, _ = load(path, crs="EPSG:28992", vertical="EPSG:5709")
                assert meshes and all(np.isfinite(m.positions).all() for m in meshes)
                loaded.append(path.name)
            except TwinError as error:
                refused[path.name] = str(error)
    assert len(loaded) >= 35, refused
    for name, reason in REFUSED.items():
        assert reason in refused[name]
    for name, reason in refused.items():
        assert name in REFUSED or "holds no city objects" in reason or "not complete JSON" in reason or "not CityJSON" in reason, (name, reason)


def test_to_a_checked_tileset(tmp_path: Path, lake: Lake) -> None:
    from tiling.check import check_tileset
    from tiling.meshes import tiler

    report = Report(source="model")
    version = write_version(lake, "cubes", "mesh", cityjson.read(save(tmp_path, document()), cityjson.Options(), report), report, provenance={})
    facts = tiler.tile(version, TileJob(lake, tmp_path / "out.3tz", tiler.Options()))
    assert facts["tiles"] >= 1 and grading.grade("mesh", report.facts).value == "CIM3" and version.count == 4
    assert check_tileset(tmp_path / "out.3tz").ok


def test_malformed_objects_and_extensions_of_the_model_are_told_in_words(tmp_path: Path) -> None:
    content = document(**{"+noise-meta": {"a": 1}})
    content["CityObjects"]["bad"] = {"type": "Building", "geometry": "none"}
    (mesh,), report = load(save(tmp_path, content))
    assert "bad" in mesh.ids.to_pylist()  # what else is said of it is kept
    reasons = {note.feature: note.reason for note in report.notes}
    assert reasons["bad"] == "Building: its geometry is not a list and is left out."
    assert "+noise-meta" in reasons[""]
    with pytest.raises(BadFeature, match=r"no city objects\. CityObjects is missing"):
        load(save(tmp_path, document(CityObjects=[])))


def test_northing_or_latitude_first(tmp_path: Path) -> None:
    """Files made from CityGML keep its order: where just one order lies in the area of the CRS it is taken, in features with a transform of their own and in templates, too."""
    tree = {"type": "MultiSurface", "lod": "2", "boundaries": [[[0, 1, 2]]]}
    turn = [[0, -1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]  # a quarter turn from the first axis to the second
    more: dict[str, Any] = {"geometry-templates": {"templates": [tree], "vertices-templates": [[0, 0, 0], [1, 0, 0], [0, 2, 0]]}}
    more["CityObjects"] = {"t": {"type": "SolitaryVegetationObject", "geometry": [
        {"type": "GeometryInstance", "template": 0, "boundaries": [6], "transformationMatrix": [v for row in turn for v in row]}]}}  # fmt: skip
    for order, reference, first in (("xy", "EPSG:4547+5737", [407000, 2496000]), ("yx", "EPSG:4547+5737", [2496000, 407000])):
        placed = {"transform": {"scale": [0.001] * 3, "translate": [*first, 5]}, "metadata": {"referenceSystem": reference}}
        (mesh,), report = load(save(tmp_path, document(**more, **placed)))
        (vertices,) = (mesh.positions @ m[:3, :3].T + m[:3, 3] for m in mesh.transforms)
        corner = np.array([407010, 2496010, 15])
        moves = np.array([[0, 0, 0], [0, 1, 0], [-2, 0, 0]])  # of the template's corners: (1, 0) becomes (0, 1), (0, 2) becomes (-2, 0)
        expected = corner + (moves if order == "xy" else moves[:, [1, 0, 2]])
        assert sorted(np.round(vertices, 6).tolist()) == sorted(expected.tolist()) and report.facts["axis_order"] == order
    place = {"transform": {"scale": [1e-7, 1e-7, 0.001], "translate": [22.5, 112.6, 5]}, "metadata": {"referenceSystem": "https://www.opengis.net/def/crs/EPSG/0/4979"}}
    (mesh,), report = load(save(tmp_path, document(**place)), axis_order="yx")
    assert np.allclose(mesh.transforms[0][:2, 3], [112.6, 22.5], atol=1e-2)
    place["metadata"] = {"referenceSystem": "https://www.opengis.net/def/crs/EPSG/0/4326"}
    (mesh,), report = load(save(tmp_path, document(**place)), vertical="ellipsoid")  # latitude 112 cannot be
    assert np.allclose(mesh.transforms[0][:2, 3], [112.6, 22.5], atol=1e-2) and "north first" in report.notes[0].reason


def test_a_grade_that_the_model_states(tmp_path: Path) -> None:
    """It overrules the rule for that object; what is no grade is an attribute like others."""
    for stated, expected in (("cim4", "CIM4"), ("high", "CIM3")):
        content = document()
        content["CityObjects"]["b1"]["attributes"]["cim_grade"] = stated
        (mesh,), report = load(save(tmp_path, content))
        assert set(mesh.attributes["cim_grade"].to_pylist()) == {expected} and grading.grade("mesh", report.facts).value == expected
        assert stated in mesh.attributes["attribute.cim_grade"].to_pylist()
