"""`twin diff` of two versions of a layer: also what no tile draws."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import shapely
from click.testing import CliRunner

from tests.ingest_bim.test_cityjson import document
from twin import diffing, diffing_rows, intake, parts, tasks
from twin.archive import ArchiveWriter
from twin.city import City
from twin.cli import main
from twin.errors import NotFound
from twin.lake import Lake
from twin.model import Features, LayerVersion, Reference, Report
from twin.settings import Settings


def deliver(city: City, path: Path, model: dict[str, Any]) -> None:
    path.write_text(json.dumps(model))
    tasks.require(tasks.work(city, tasks.submit(city, "ingest", intake.ingest_params(path, "x", options={}))))


def test_attributes_of_what_only_its_surfaces_draw(tmp_path: Path) -> None:
    """Of a building with roof, walls and ground the tiles draw these, with what it states; its own row is in no tile, and a new number of floors is a difference of it, too."""
    city = City(Settings(home=tmp_path / "city", workers=1))
    deliver(city, tmp_path / "1.city.json", document())
    second = document()
    second["CityObjects"]["b1"]["attributes"] |= {"floors": 4, "tags": ["a"]}
    second["CityObjects"]["b1"]["geometry"][0]["semantics"]["surfaces"][1]["slope"] = 0.7
    second["CityObjects"]["empty"] = {"type": "Building", "attributes": {"floors": 1}}
    deliver(city, tmp_path / "2.city.json", second)
    result = diffing.diff(lambda: city, "x@1", "x")
    assert result["features"] is not None
    assert [change["id"] for change in result["features"]["changed"]] == ["b1#0", "b1#1", "b1#2"], "what is drawn is told by the tiles, which show the building's floors"
    assert result["rows"] == {"added": ["empty"], "removed": [], "changed": [{"id": "b1", "attributes": ["floors", "tags"], "moved_m": None, "recolored": False}]}
    assert "~ b1: floors, tags" in diffing.as_text(result)
    back = diffing.diff(lambda: city, "x@2", "x@1")
    assert back["rows"]["removed"] == ["empty"]
    second["CityObjects"]["b1"]["geometry"][0]["semantics"]["surfaces"][1]["slope"] = 0.5
    deliver(city, tmp_path / "3.city.json", second)
    only = diffing.diff(lambda: city, "x@1", "x@3")
    assert not only["equal"]
    deliver(city, tmp_path / "4.city.json", {**second, "title": "the same things"})
    same = diffing.diff(lambda: city, "x@3", "x@4")
    assert same["equal"] and not any(same["rows"].values())


def test_rows_of_shared_parts_are_not_read(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """After any edits, back and forth, what differs is what a comparison of all rows finds; of two versions with the same parts nothing is read."""
    rng = np.random.default_rng(6)

    def stored(rows: dict[str, float]) -> LayerVersion:
        place = 404_000 + 10.0 * np.arange(len(rows))
        batch = Features(Reference("EPSG:4547", ""), pa.array(list(rows)), shapely.points(place, 2_497_000), pa.table({"v": list(rows.values())}))
        return parts.write_version(lake, "x", "vector", [batch], Report("t"), provenance={})

    states = [{f"a{i}": float(i) for i in range(40)}]
    versions = [stored(states[0])]
    for turn in range(5):
        now, version = dict(states[-1]), versions[-1]
        change = {str(name): float(rng.integers(0, 9)) for name in rng.choice([*now, f"new{turn}"], 5, replace=False)}
        version, now = parts.merge(lake, version, stored(change)), now | change
        if turn % 2:
            gone = [str(name) for name in rng.choice(list(now), 3, replace=False)]
            version, now = parts.without(lake, version, gone), {name: value for name, value in now.items() if name not in gone}
        versions.append(version)
        states.append(now)
    for a, mine in zip(versions, states, strict=True):
        for b, theirs in zip(versions, states, strict=True):
            changed = sorted(name for name in mine.keys() & theirs if mine[name] != theirs[name])
            assert diffing_rows.rows(lake, a, b, set()) == {
                "added": sorted(theirs.keys() - mine), "removed": sorted(mine.keys() - theirs), "changed": [{"id": name, "attributes": ["v"], "moved_m": None, "recolored": False} for name in changed],
            }  # fmt: skip
    monkeypatch.setattr(parts, "read_features", lambda *_: pytest.fail("nothing differs"))
    assert not any(diffing_rows.rows(lake, versions[-1], versions[-1], set()).values())


def test_files_are_named_where_nothing_else_tells_what_changed(tmp_path: Path) -> None:
    """Tilesets of others and terrain have no features' ids."""
    for name, files in (("a", {"same": b"1", "changed": b"1", "gone": b"1"}), ("b", {"same": b"1", "changed": b"2", "new": b"1"})):
        with ArchiveWriter(tmp_path / f"{name}.3tz") as archive:
            archive.add("layer.json", b"{}")
            for part, data in files.items():
                archive.add(f"0/{part}.terrain", data)
    text = diffing.as_text(diffing.diff(lambda: pytest.fail("no layer is asked for"), *(str(tmp_path / name) for name in ("a.3tz", "b.3tz"))))
    assert "    + 0/new.terrain\n    - 0/gone.terrain\n    ~ 0/changed.terrain" in text and "same.terrain" not in text


def drawn(path: Path, *rows: tuple[str, str, float]) -> Path:
    """Plan features in CGCS2000, 3-degree zone 38: id, name, metres that the square lies east."""
    collection = [{"type": "Feature", "id": id_, "properties": {"name": name}, "geometry": shapely.geometry.mapping(shapely.box(438000 + east, 2495000, 438010 + east, 2495010))} for id_, name, east in rows]
    path.write_text(json.dumps({"type": "FeatureCollection", "crs": {"type": "name", "properties": {"name": "EPSG:4547"}}, "features": collection}))
    return path


def test_a_delivery_is_compared_before_it_is_shown(tmp_path: Path) -> None:
    """Neither maps, which have no tiles, nor what is not published could be compared, and the advice to make tiles led nowhere."""
    city = City(Settings(home=tmp_path / "city", workers=1))
    for number, rows in enumerate(([("a", "x", 0.0), ("b", "x", 50.0), ("c", "x", 90.0), ("d", "x", 130.0)], [("a", "x", 0.001), ("b", "y", 50.0), ("c", "x", 91.0), ("e", "x", 130.0)])):
        params = intake.ingest_params(drawn(tmp_path / f"{number}.geojson", *rows), "plan", publish=number == 0)
        tasks.require(tasks.work(city, tasks.submit(city, "ingest", params), None))
    result = diffing.diff(lambda: city, "plan", "plan@2")
    features = result["features"]
    assert (features["added"], features["removed"], features["same"], result["equal"], result["tiles"]) == (["e"], ["d"], 1, False, None)
    assert [(one["id"], one["attributes"]) for one in features["changed"]] == [("b", ["name"]), ("c", [])]
    assert features["changed"][1]["moved_m"] == pytest.approx(1.0, rel=2e-4), "metres on the ground, which a grid's differ from"
    assert "~ c: geometry by" in diffing.as_text(result)
    assert diffing.diff(lambda: city, "plan", "plan@1")["equal"] and "4 features" in diffing.as_text(diffing.diff(lambda: city, "plan", "plan@1"))
    with pytest.raises(NotFound, match="no tiles of plan"):
        diffing.diff(lambda: city, str(tmp_path), "plan")


def test_tiles_of_a_version_that_is_not_shown(tmp_path: Path) -> None:
    """`twin tile` took the published version alone, whichever the message was about."""
    city = City(Settings(home=tmp_path / "city", workers=1))
    deliver(city, tmp_path / "1.city.json", document())
    second = document()
    del second["CityObjects"]["b1"]["attributes"]
    (tmp_path / "2.city.json").write_text(json.dumps(second))
    tasks.require(tasks.work(city, tasks.submit(city, "ingest", intake.ingest_params(tmp_path / "2.city.json", "x", publish=False)), None))
    with pytest.raises(NotFound, match=r"twin tile x 2\."):
        diffing.diff(lambda: city, "x", "x@2")
    said = CliRunner().invoke(main, ["tile", "x", "2", "--home", str(city.settings.home)])
    assert "x version 2: tileset" in said.output
    assert not diffing.diff(lambda: city, "x", "x@2")["equal"]
    assert city.published("x")[0].number == 1
