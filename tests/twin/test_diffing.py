"""`twin diff` of two versions of a layer: also what no tile draws."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.ingest_bim.test_cityjson import document
from twin import diffing, tasks
from twin.city import City
from twin.settings import Settings


def deliver(city: City, path: Path, model: dict[str, Any]) -> None:
    path.write_text(json.dumps(model))
    tasks.require(tasks.work(city, tasks.submit(city, "ingest", tasks.ingest_params(path, "x", options={}))))


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
    assert result["rows"] == {"added": ["empty"], "removed": [], "changed": [{"id": "b1", "attributes": ["floors", "tags"], "moved_m": None}]}
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
