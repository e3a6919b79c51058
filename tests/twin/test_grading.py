"""Grades by rule: one case a grade, and what tips it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import geopandas
import pytest
import shapely
from click.testing import CliRunner
from fastapi.testclient import TestClient

from twin import grading, parts, tasks
from twin.api import create_app
from twin.city import City
from twin.cli import main
from twin.errors import BadOption
from twin.jobs import Jobs


@pytest.mark.parametrize(("kind", "facts", "expected"), [
    ("terrain", {}, "CIM1"), ("raster", {}, "CIM1"), ("vector", {}, "CIM1"), ("points", {}, "CIM1"), ("blocks", {}, "CIM2"), ("table", {}, ""),
    ("mesh", {}, ""), ("mesh", {"content": {"objects": 1}}, "CIM2"), ("mesh", {"content": {"terrain": 3}}, "CIM1"),
    ("mesh", {"content": {"objects": 1, "textured": 1}}, "CIM3"), ("mesh", {"content": {"objects": 9, "roofs": 2}}, "CIM3"),
    ("mesh", {"content": {"objects": 9, "roofs": 2, "openings": 1}}, "CIM4"), ("mesh", {"content": {"objects": 9, "spaces": 1, "openings": 4}}, "CIM5"),
    ("mesh", {"classes": {"IfcWall": 4, "IfcSpace": 2}}, "CIM6"), ("mesh", {"classes": {"IfcSpace": 2, "IfcSite": 1}}, "CIM5"),
    ("mesh", {"classes": {"IfcWall": 4, "IfcMechanicalFastener": 2}}, "CIM6"),
    ("mesh", {"classes": {"IfcWall": 4, "IfcMechanicalFastener": 2}, "content": {"complete": 2}}, "CIM6"),
    ("mesh", {"classes": {"IfcWall": 4, "IfcMechanicalFastener": 2}, "content": {"complete": 3}}, "CIM7"),
    ("mesh", {"content": {"grades": {"CIM1": 90, "CIM2": 3, "CIM3": 3}}}, "CIM3"), ("mesh", {"content": {"grades": {"CIM1": 1}}}, "CIM1"),
])  # fmt: skip
def test_grade(kind: str, facts: dict[str, Any], expected: str) -> None:
    found = grading.grade(kind, facts)
    assert found.value == expected and found.reasons
    assert found.to_json()["name"] == grading.NAMES.get(expected, "")


@pytest.mark.parametrize(("lod", "has", "expected"), [
    ("0", {}, "CIM2"), ("1.3", {}, "CIM2"), ("2.2", {}, "CIM3"), ("3", {}, "CIM4"), ("4", {}, "CIM5"), ("", {}, "CIM2"),
    ("1", {"textured": True}, "CIM3"), ("2", {"openings": True}, "CIM4"), ("2", {"spaces": True}, "CIM5"), ("2", {"terrain": True}, "CIM1"),
])  # fmt: skip
def test_grade_of_an_object(lod: str, has: dict[str, bool], expected: str) -> None:
    assert grading.of_object(lod, **has) == expected


def test_a_given_grade_is_checked() -> None:
    assert grading.check(" cim4 ") == "CIM4" and grading.check("") == ""
    with pytest.raises(BadOption, match="CIM9"):
        grading.check("CIM9")


def test_shown_searchable_and_overridable(tmp_path: Path) -> None:
    """Blocks are CIM2 by rule; a person says CIM3: both on record, and the search follows the person."""
    home = tmp_path / "city"

    def twin(*arguments: str, code: int = 0) -> Any:
        result = CliRunner().invoke(main, [*arguments, "--home", str(home), "--json"])
        assert result.exit_code == code, result.output
        return json.loads(result.stdout.strip().splitlines()[-1])

    box = shapely.box(405_000, 2_498_000, 405_010, 2_498_010)
    geopandas.GeoDataFrame({"height": [9.0]}, geometry=[box], crs="EPSG:4547").to_file(tmp_path / "h.gpkg")
    twin("ingest", str(tmp_path / "h.gpkg"), "--layer", "a", "--reader", "footprints", "--option", "ground=0")
    twin("ingest", str(tmp_path / "h.gpkg"), "--layer", "b", "--reader", "footprints", "--grade", "cim3", "--option", "ground=0")
    assert twin("ingest", str(tmp_path / "h.gpkg"), "--layer", "c", "--grade", "9", code=2)["error"]["type"] == "BadOption"
    assert [row["layer"] for row in twin("layers", "--grade", "CIM2")] == ["a"] and [row["layer"] for row in twin("layers", "--grade", "CIM3")] == ["b"]
    assert twin("layers", "--grade", "CIM7") == [] and twin("layers", "--grade", "x", code=2)["error"]["type"] == "BadOption"
    info = twin("info", "b")
    assert info["layer"]["grade"] == "CIM3" and info["report"]["facts"]["grade"]["value"] == "CIM2" and info["report"]["facts"]["grade"]["given"] == "CIM3"
    with TestClient(create_app(City.open(home))) as client:
        found = client.get("/collections", params={"grade": "CIM3"}).json()["collections"]
        assert [c["id"] for c in found] == ["b"] and found[0]["twin:gradeBasis"]["reasons"] == info["report"]["facts"]["grade"]["reasons"]
        assert {c["id"] for c in client.get("/collections").json()["collections"]} == {"a", "b"}
        assert client.get("/collections", params={"grade": "CIM9"}).status_code == 400
    twin("ingest", str(tmp_path / "h.gpkg"), "--layer", "b", "--reader", "footprints", "--option", "ground=0")  # the next delivery: what a person said holds
    assert [row["layer"] for row in twin("layers", "--grade", "CIM3")] == ["b"] and twin("info", "b")["report"]["facts"]["grade"]["given"] == "CIM3"
    twin("ingest", str(tmp_path / "h.gpkg"), "--layer", "b", "--reader", "footprints", "--grade", "", "--option", "ground=0")
    assert [row["layer"] for row in twin("layers", "--grade", "CIM2")] == ["a", "b"]


def test_the_grade_is_that_of_the_version_that_is_shown(tmp_path: Path) -> None:
    """One that is only kept, or was gone back from, does not lend the layer its grade; what a person said holds for later deliveries."""
    path, home = tmp_path / "a.geojson", tmp_path / "city"

    def twin(*arguments: str) -> Any:
        result = CliRunner().invoke(main, [*arguments, "--home", str(home), "--json"])
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout.strip().splitlines()[-1])

    def deliver(place: float, *more: str) -> None:
        feature = {"type": "Feature", "id": "a", "properties": {}, "geometry": {"type": "Point", "coordinates": [place, 22.5]}}
        path.write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))
        twin("ingest", str(path), "--layer", "a", "--reader", "vector", *more)

    def grades() -> tuple[str, str, str]:
        with TestClient(create_app(City.open(home))) as client:
            (listed,) = client.get("/collections").json()["collections"]
            assert [one["id"] for one in client.get("/collections", params={"grade": listed["twin:grade"]}).json()["collections"]] == ["a"]
        (row,) = twin("layers", "--grade", listed["twin:grade"])
        return listed["twin:grade"], row["grade"], twin("info", "a")["layer"]["grade"]

    deliver(112.6)
    deliver(112.7, "--grade", "cim4", "--no-publish")
    assert grades() == ("CIM1",) * 3
    twin("publish", "a", "2")
    assert grades() == ("CIM4",) * 3
    deliver(112.8)
    assert grades() == ("CIM4",) * 3
    twin("rollback", "a")
    twin("rollback", "a")
    assert grades() == ("CIM1",) * 3


def test_overruled_by_the_api(tmp_path: Path) -> None:
    """A job like any other: refused by name before it is queued, and what it shows is found by the search."""
    path, home = tmp_path / "a.geojson", tmp_path / "city"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [
        {"type": "Feature", "id": "a", "properties": {}, "geometry": {"type": "Point", "coordinates": [112.6, 22.5]}}]}))  # fmt: skip
    assert CliRunner().invoke(main, ["ingest", str(path), "--layer", "a", "--reader", "vector", "--home", str(home)]).exit_code == 0
    city = City.open(home)
    with TestClient(create_app(city)) as client:
        for grade, shown, given in (("CIM4", "CIM4", "CIM4"), ("", "CIM1", None)):
            answer = client.post("/collections/a/grade", json={"grade": grade})
            job = answer.json()
            assert answer.status_code == 201 and answer.headers["location"] == job["links"][0]["href"] and job["processID"] == "regrade"
            assert client.post("/collections/a/grade", json={"grade": grade}).json()["jobID"] == job["jobID"], "asked for twice, done once"
            tasks.require(tasks.work(city, Jobs(city.catalog).get(job["jobID"])))
            found = client.get("/collections", params={"grade": shown}).json()["collections"]
            assert [one["id"] for one in found] == ["a"]
            assert found[0]["twin:gradeBasis"].get("given") == given and found[0]["twin:gradeBasis"]["value"] == "CIM1"
        assert found[0]["twin:version"] == 3
        for body in ({"grade": "CIM8"}, {"grade": "cim4"}, {"grade": None}, {}, {"grade": "CIM4", "who": "me"}):
            answer = client.post("/collections/a/grade", json=body)
            assert answer.status_code == 400 and ("who" if "who" in body else "grade") in answer.json()["detail"], answer.text
        assert client.post("/collections/none/grade", json={"grade": "CIM4"}).status_code == 404
        version = city.published("a")[1]
        bare = city.lake.put_json(parts.to_json(replace(version, report={key: value for key, value in version.report.items() if key != "facts"})))
        with city.catalog.write() as connection:
            city.catalog.publish(connection, "a", city.catalog.add_version(connection, city.catalog.layer("a"), bare, 1, job="run", who="test"), bare, None, "test")
        answer = client.post("/collections/a/grade", json={"grade": "CIM4"})
        assert answer.status_code == 409 and "result of a scenario" in answer.json()["detail"]
        assert not [job for job in Jobs(city.catalog).list() if not job.done], "nothing was queued for what was refused"


def test_overruled_without_the_source(tmp_path: Path) -> None:
    """A new version of the same parts, on record with who did it; it holds for later deliveries, and is taken back; tiles tell it."""
    path, home = tmp_path / "a.geojson", tmp_path / "city"

    def twin(*arguments: str, code: int = 0) -> Any:
        result = CliRunner().invoke(main, [*arguments, "--home", str(home), "--json"])
        assert result.exit_code == code, result.output
        return json.loads((result.stdout if code == 0 else result.output).strip().splitlines()[-1])

    ring = [[112.6, 22.5], [112.601, 22.5], [112.601, 22.501], [112.6, 22.5]]
    feature = {"type": "Feature", "id": "a", "properties": {"height": 9.0}, "geometry": {"type": "Polygon", "coordinates": [ring]}}
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))
    deliver = ["ingest", str(path), "--layer", "a", "--reader", "footprints", "--option", "ground=0"]
    twin(*deliver)
    before, key = twin("info", "a"), "tileset"
    path.rename(tmp_path / "gone.geojson")
    found = twin("grade", "a", "cim3")
    assert (found["version"], found["value"], found["given"], bool(found["by"])) == (2, "CIM2", "CIM3", True) and twin("grade", "a") == found
    after = twin("info", "a")
    assert after["parts"] == before["parts"] and after["layer"]["grade"] == "CIM3" and after[key]["inputs"]["layer"]["grade"] == "CIM3"
    assert [row["layer"] for row in twin("layers", "--grade", "CIM3")] == ["a"]
    (tmp_path / "gone.geojson").rename(path)
    twin(*deliver)
    assert twin("grade", "a")["given"] == "CIM3" and twin("grade", "a")["version"] == 3
    assert "given" not in twin("grade", "a", "") and twin("info", "a")["layer"]["grade"] == "CIM2"
    twin(*deliver)
    assert "given" not in twin("grade", "a")
    assert "CIM1, CIM2" in twin("grade", "a", "CIM8", code=2)["error"]["remedy"] and twin("grade", "none", "CIM3", code=1)["error"]["message"].startswith("There is no layer")
