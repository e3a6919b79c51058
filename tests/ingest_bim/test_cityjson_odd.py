"""CityJSON that is not quite what the specification asks: read right with a note, or refused in words; never otherwise without a word."""

from __future__ import annotations

import copy
import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ingest_bim.citymodels import citygml, cityjson
from tests.ingest_bim.test_cityjson import CUBE, KINDS, SHELL, document, load, save
from twin import intake
from twin.errors import UnreadableSource
from twin.model import Mesh, Report


def solid(content: dict[str, Any]) -> dict[str, Any]:
    """The geometry of the cube."""
    found: dict[str, Any] = content["CityObjects"]["b1"]["geometry"][0]
    return found


def triangles(meshes: list[Mesh]) -> int:
    return sum(len(mesh.triangles) for mesh in meshes)


def said(report: Report) -> list[tuple[str, str]]:
    return [(note.action, note.reason) for note in report.notes]


def test_a_transform_that_is_absent_or_was_forgotten(tmp_path: Path) -> None:
    bare = document(vertices=[[85000.0 + x, 446000.0 + y, 1.5 + z] for x, y, z in CUBE])
    del bare["transform"]
    (mesh,), report = load(save(tmp_path, bare))
    assert mesh.transforms[0][:3, 3] == pytest.approx([85000, 446000, 1.5]) and any("states none" in reason for _, reason in said(report))
    assert not load(save(tmp_path, bare | {"version": "1.0"}))[1].notes  # there it may be absent
    floats = document(vertices=[[v + 0.5 for v in p] for p in document()["vertices"]])
    (mesh,), report = load(save(tmp_path, floats))
    assert mesh.transforms[0][:3, 3] == pytest.approx([85000.0005, 446000.0005, 1.5005], abs=1e-9) and "not whole numbers" in report.notes[0].reason
    assert "scale of its transform is 0" in load(save(tmp_path, document(transform={"scale": [0, 1, 1], "translate": [0, 0, 0]})))[1].notes[0].reason


def test_vertices_that_are_texts_or_not_three(tmp_path: Path) -> None:
    (mesh,), report = load(save(tmp_path, document(vertices=[[str(v) for v in p] for p in document()["vertices"]])))
    assert len(mesh.triangles) == 12 and said(report) == [("assumed", "Its vertices are texts, read as the numbers that they show.")]
    for vertices in ([[*p, 0] for p in document()["vertices"]], [p[:2] for p in document()["vertices"]], [[0, 0, "east"]] * 8, [[0, 0, 0], [0, 0]]):
        meshes, report = load(save(tmp_path, document(vertices=vertices)))
        assert not triangles(meshes) and "vertices must be lists of three numbers" in report.notes[0].reason


@pytest.mark.parametrize(("stated", "lod"), [("LoD2.2", "2.2"), ("lod1", "1"), ("high", ""), (None, ""), ("9", ""), (True, ""), ([2], ""), ("2,2", "")])
def test_levels_of_detail_in_other_words(tmp_path: Path, stated: Any, lod: str) -> None:
    content = document()
    solid(content)["lod"] = stated
    (mesh,), report = load(save(tmp_path, content))
    assert (mesh.attributes["lod"][0].as_py() or "") == lod and report.counts == {"assumed": 1} and "Its Solid states" in report.notes[0].reason
    if lod:
        assert triangles(load(save(tmp_path, content), lod=lod)[0]) == 12


@pytest.mark.parametrize(("values", "known"), [([[0, 1]], 2), ([[0, 1, 2, 2, 2, 2, 2]], 6), ([0, 1, 2, 2, 2, 2], 0), (None, 0), ([[0, 1, "2", 2.0, True, -1]], 2)])
def test_semantics_that_do_not_fit_the_faces(tmp_path: Path, values: Any, known: int) -> None:
    """Faces for which nothing is found belong to the object itself; that this is so is said."""
    content = document()
    solid(content)["semantics"]["values"] = values
    (mesh,), report = load(save(tmp_path, content))
    counts = dict.fromkeys(mesh.ids.to_pylist(), 0)
    for prototype, feature in zip(mesh.instance_prototype, mesh.instance_feature, strict=True):
        counts[mesh.ids[feature].as_py()] += int(np.diff(mesh.triangle_start)[prototype])
    assert counts["b1"] == 12 - 2 * known and sum(counts.values()) == 12 and report.counts.get("skipped") == 1


@pytest.mark.parametrize("semantics", [[1, 2], {"surfaces": {"0": {}}}, {"surfaces": [{"slope": 1}], "values": [[0]]}, {"surfaces": [7]}, "roof"])
def test_malformed_semantics_cost_no_geometry(tmp_path: Path, semantics: Any) -> None:
    content = document()
    solid(content)["semantics"] = semantics
    (mesh,), report = load(save(tmp_path, content))
    assert mesh.ids.to_pylist() == ["b1"] and len(mesh.triangles) == 12 and mesh.attributes["floors"][0].as_py() == 3
    assert [n.action for n in report.notes] == ["refused"] and "semantics of its Solid are malformed" in report.notes[0].reason


def test_surfaces_of_surfaces_that_name_their_children_alone(tmp_path: Path) -> None:
    content = document()
    surfaces = solid(content)["semantics"]["surfaces"]
    surfaces[0]["children"], surfaces[1]["parent"] = [2], 1  # the last is its own parent
    (mesh,), _ = load(save(tmp_path, content))
    assert mesh.parents.to_pylist() == [None, "b1", "b1", "b1#0"]


@pytest.mark.parametrize(("kind", "boundaries", "drawn", "reason"), [
    ("Solid", SHELL, 0, "6 faces are left out, for they are not lists of rings"),
    ("MultiSurface", [SHELL], 0, "1 faces are left out, for they are not lists of rings"),
    ("Solid", [[[0, 3, 2, 1], *SHELL[1:]]], 10, "1 faces are left out, for they are not lists of rings"),
    ("Solid", [[[[True, 3, 2, 1]], *SHELL[1:]]], 10, "Faces with vertex True are left out"),
    ("Solid", [[[[0.0, 3, 2, 1]], *SHELL[1:]]], 10, "Faces with vertex 0.0 are left out"),
    ("Solid", [[[[-1, 3, 2, 1]], *SHELL[1:]]], 10, "Faces with vertex -1 are left out"),
    ("Solid", [[[[10**30, 3, 2, 1]], *SHELL[1:]]], 10, "Faces with vertex 1000000000000000000000000000000 are left out"),
    ("Solid", None, 0, "not nested as those of its type"), ("Solid", 5, 0, "not nested as those of its type"), ("Solid", [], 0, "its Solid has no faces"),
])  # fmt: skip
def test_boundaries_cost_no_more_than_themselves(tmp_path: Path, kind: str, boundaries: Any, drawn: int, reason: str) -> None:
    content = document()
    content["CityObjects"]["b1"]["geometry"] = [{"type": kind, "lod": "2", "boundaries": boundaries}]
    (mesh,), report = load(save(tmp_path, content))
    assert len(mesh.triangles) == drawn and mesh.attributes["floors"].to_pylist() == [3]
    assert [n.feature for n in report.notes if reason in n.reason] == ["b1"]


def test_what_of_an_object_is_malformed_costs_no_more_than_itself(tmp_path: Path) -> None:
    content = document()
    content["CityObjects"]["b1"]["attributes"] = [1]
    content["CityObjects"]["b1"]["geometry"] += [None, {"lod": "1"}, {"type": "Sphere"}]
    content["CityObjects"]["b2"] = {"type": "Shed", "attributes": {"floors": 1}, "geometry": {}}
    (mesh,), report = load(save(tmp_path, content))
    assert len(mesh.triangles) == 12 and mesh.attributes["floors"].to_pylist()[-1] == 1
    reasons = {(n.feature, n.reason) for n in report.notes}
    for feature, reason in (("b1", "attributes are not an object"), ("b1", "2 of its 4 geometries"), ("b1", "'Sphere' is not known"),
                            ("b2", "'Shed' is no type of CityJSON"), ("b2", "geometry is not a list")):  # fmt: skip
        assert any(feature == f and reason in r for f, r in reasons), reason


def test_links_between_objects_that_one_side_states_or_nobody(tmp_path: Path) -> None:
    content = document()
    content["CityObjects"]["b1"] |= {"children": ["p", "gone"]}
    content["CityObjects"] |= {"p": {"type": "BuildingPart"}, "q": {"type": "BuildingPart", "parents": "b1"}, "r": {"type": "BuildingPart", "parents": ["s"]},
                               "s": {"type": "BuildingPart", "parents": ["r"]}, "t": {"type": "BuildingPart", "parents": ["t"]}}  # fmt: skip
    (mesh,), report = load(save(tmp_path, content))
    parents = dict(zip(mesh.ids.to_pylist(), mesh.parents.to_pylist(), strict=True))
    assert {key: parents[key] for key in "pqrst"} == {"p": "b1", "q": "b1", "r": "s", "s": None, "t": None}
    assert {(n.action, n.feature) for n in report.notes} == {("assumed", "p"), ("assumed", "q"), ("warned", "b1"), ("refused", "s"), ("refused", "t")}


def test_the_place_of_an_address_is_in_coordinates(tmp_path: Path) -> None:
    """Numbers of vertices mean nothing outside of the file."""
    content = document()
    content["CityObjects"]["b1"]["address"] = [{"City": "Delft", "location": {"type": "MultiPoint", "lod": "1", "boundaries": [6]}}, {"City": "x"}]
    (mesh,), _ = load(save(tmp_path, content))
    first, second = json.loads(mesh.attributes["address"][0].as_py())
    assert first == {"City": "Delft", "location": {"type": "MultiPoint", "lod": "1", "coordinates": [[85010.0, 446010.0, 11.5]]}} and second == {"City": "x"}


def test_lines_beside_faces_are_an_attribute(tmp_path: Path) -> None:
    content = document()
    content["CityObjects"]["b1"]["geometry"] += [{"type": "MultiLineString", "lod": "0", "boundaries": [[0, 1]]}, {"type": "MultiPoint", "lod": "1", "boundaries": [6, 99]}]
    (mesh,), report = load(save(tmp_path, content))
    assert mesh.attributes["lod0MultiLineString"][0].as_py() == "LINESTRING Z (85000 446000 1.5, 85010 446000 1.5)"
    assert mesh.attributes["lod1MultiPoint"][0].as_py() == "POINT Z (85010 446010 11.5)" and "[99] is left out" in report.notes[0].reason


@pytest.mark.parametrize(("changes", "drawn", "reason"), [
    ({"template": False}, 0, "does not exist or has no faces"), ({"boundaries": [0, 1]}, 0, "not one vertex"), ({"boundaries": 0}, 0, "not one vertex"),
    ({"transformationMatrix": [1] * 12}, 0, "has 12 numbers, not 16"), ({"transformationMatrix": [0] * 16}, 0, "presses the template flat"),
    ({"transformationMatrix": [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 5, 5, 5, 1]}, 12, "taken as 0 0 0 1"),
    ({}, 12, "What templates say of their surfaces"),
])  # fmt: skip
def test_templates(tmp_path: Path, changes: dict[str, Any], drawn: int, reason: str) -> None:
    template = {"type": "Solid", "lod": "2", "boundaries": [SHELL], "semantics": {"surfaces": KINDS, "values": [[0, 1, 2, 2, 2, 2]]}}
    instance = {"type": "GeometryInstance", "template": 0, "boundaries": [0]} | changes
    content = document(**{"geometry-templates": {"templates": [template], "vertices-templates": CUBE}},
                       CityObjects={"t": {"type": "SolitaryVegetationObject", "attributes": {"a": 1}, "geometry": [instance]}})  # fmt: skip
    (mesh,), report = load(save(tmp_path, content))
    assert len(mesh.triangles) == drawn and mesh.attributes["a"].to_pylist() == [1] and any(reason in n.reason for n in report.notes)


@pytest.mark.parametrize(("material", "reason"), [({"values": [[0, 0]]}, "materials of its Solid are not listed"), ({"values": [0] * 6}, "materials of its Solid are not listed"),
                                                  (7, "not objects by theme")])  # fmt: skip
def test_materials_that_do_not_fit_the_faces(tmp_path: Path, material: Any, reason: str) -> None:
    content = document(appearance={"materials": [{"name": "red", "diffuseColor": [1, 0, 0]}]})
    solid(content)["material"] = {"x": material}
    _, report = load(save(tmp_path, content))
    assert any(reason in n.reason for n in report.notes)


def test_colours_of_two_numbers_and_beyond_one(tmp_path: Path) -> None:
    with pytest.raises(UnreadableSource, match="diffuseColor of material 0 is not three numbers"):
        load(save(tmp_path, document(appearance={"materials": [{"diffuseColor": [1, 0]}]})))
    assert "cut to that" in load(save(tmp_path, document(appearance={"materials": [{"diffuseColor": [255, 0, 0]}]})))[1].notes[0].reason


def test_sequences_in_other_dress(tmp_path: Path) -> None:
    """Byte order marks, record separators (RFC 8142), and features that state another version."""
    feature = {"type": "CityJSONFeature", "id": "b1", "CityObjects": document()["CityObjects"], "vertices": document()["vertices"]}
    second = copy.deepcopy(feature) | {"CityObjects": {"b2": document()["CityObjects"]["b1"]}, "version": "1.1", "id": "b2"}
    lines = [document(CityObjects={}, vertices=[]), feature, second]
    for before in (b"", b"\xef\xbb\xbf", b"\x1e"):
        path = tmp_path / "a.city.jsonl"
        path.write_bytes(b"".join(before + json.dumps(line).encode() + b"\r\n" for line in lines))
        assert cityjson.detect(path, cityjson.Options())
        meshes, report = load(path)
        assert triangles(meshes) == 24 and [(n.feature, "version 1.1" in n.reason) for n in report.notes] == [("b2", True)]


def test_gzipped_models(tmp_path: Path) -> None:
    """One model, or one among those of a folder; what is damaged or grows beyond measure is refused."""
    (tmp_path / "in").mkdir()
    path = tmp_path / "in" / "a.city.json.gz"
    path.write_bytes(gzip.compress(json.dumps(document()).encode()))
    save(tmp_path / "in", document(CityObjects={"b2": document()["CityObjects"]["b1"]}))
    assert intake.choose_reader(path, None, {}).name == "cityjson"
    assert triangles(load(path)[0]) == 12 and triangles(load(tmp_path / "in")[0]) == 24
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(UnreadableSource, match=r"a\.city\.json\.gz cannot be unpacked"):
        load(path)
    path.write_bytes(gzip.compress(b'{"type":"CityJSON"' + b" " * 10_000_000))
    with pytest.raises(UnreadableSource, match="more than 200 times its size"):
        load(path)
    model = tmp_path / "m.gml.gz"
    model.write_bytes(gzip.compress(b'<CityModel xmlns="http://www.opengis.net/citygml/2.0"/>'))
    assert citygml.detect(model, citygml.Options()) and intake.choose_reader(model, None, {}).name == "citygml"


def test_a_sequence_that_is_one_document_over_many_lines(tmp_path: Path) -> None:
    """As people lay JSON out to read it; two such documents are no sequence."""
    path = tmp_path / "a.city.jsonl"
    path.write_text(json.dumps(document(), indent=2), encoding="utf-8")
    (mesh,), report = load(path)
    assert len(mesh.triangles) == 12 and not report.notes
    path.write_text(json.dumps(document(), indent=2) * 2, encoding="utf-8")
    with pytest.raises(UnreadableSource, match="line 1"):
        load(path)
