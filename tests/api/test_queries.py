"""Filters, queryables, statistics, legends, search, positions and history, against pandas, GeoPandas and pyproj."""

from __future__ import annotations

import itertools

import geopandas
import numpy as np
import pandas as pd
import pyarrow as pa
import pyproj
import pytest
import shapely

from tests.api.conftest import publish
from twin import query
from twin.model import Features, Reference


@pytest.fixture(scope="module")
def frame(sample):
    """The buildings as GeoPandas sees them, straight from the part in the lake."""
    version = sample.city.published("buildings")[1]
    table = pd.read_parquet(sample.city.lake.path(version.parts[0].key)).set_index("id")
    return geopandas.GeoDataFrame(table, geometry=geopandas.GeoSeries.from_wkb(table["geometry"]), crs=4547)


def get(sample, path, status=200, **params):
    answer = sample.client.get(path, params={name.replace("_", "-"): value for name, value in params.items()})
    assert answer.status_code == status, answer.text
    return answer.json()


def test_filter_pages(sample, frame):
    want = set(frame.index[(frame["height"] > 45) & (frame["floors"] < 200)])
    got, url = [], "/collections/buildings/items?limit=20&filter=height > 45 AND floors < 200"
    while url:
        page = sample.client.get(url).json()
        assert page["numberMatched"] == len(want)
        got += [f["id"] for f in page["features"]]
        url = next((one["href"] for one in page["links"] if one["rel"] == "next"), None)
    assert set(got) == want and len(got) == len(want) > 40


def test_filter_by_polygon_and_chinese_column(sample, frame):
    placed = frame.to_crs(4326)
    ring = shapely.Polygon([(113.06, 22.56), (113.1, 22.56), (113.08, 22.6)])
    text = f"S_INTERSECTS(geometry, {ring.wkt}) AND 名称 LIKE '建筑1%'"
    want = set(placed.index[placed.intersects(ring) & placed["名称"].str.startswith("建筑1")])
    page = get(sample, "/collections/buildings/items", filter=text, limit=10000)
    assert {f["id"] for f in page["features"]} == want and want


def test_filter_in_json_and_properties(sample, frame):
    page = get(sample, "/collections/buildings/items", filter='{"op":"isNull","args":[{"property":"geometry"}]}', filter_lang="cql2-json", properties="floors")
    assert [f["id"] for f in page["features"]] == list(frame.index[frame.geometry.isna()])
    assert set(page["features"][0]["properties"]) == {"floors"}


@pytest.mark.parametrize(("params", "said"), [
    ({"filter": "hight > 3"}, "'hight'"), ({"filter": "height >"}, "cql2-text"), ({"filter": "height > 3", "filter-crs": "EPSG:4490"}, "filter-crs"),
    ({"filter": "height > 3", "filter-lang": "ecql"}, "filter-lang"), ({"properties": "nothing"}, "'nothing'"),
])  # fmt: skip
def test_what_does_not_fit_is_refused(sample, params, said):
    answer = sample.client.get("/collections/buildings/items", params=params)
    assert answer.status_code == 400 and said in answer.json()["detail"]


def test_queryables(sample):
    value = get(sample, "/collections/buildings/queryables")
    assert value["properties"]["height"] == {"title": "高度", "type": "number", "x-ogc-unit": "m", "x-titles": {"zh": "高度", "en": "Height"}}
    assert value["properties"]["floors"]["type"] == "integer" and value["additionalProperties"] is False
    for name in value["properties"]:  # each name is accepted by a filter
        get(sample, "/collections/buildings/items", filter=f'"{name}" IS NULL', limit=1)


def test_statistics_are_those_of_pandas(sample, frame):
    value = get(sample, "/collections/buildings/statistics", filter="floors >= 50")
    rows = frame[frame["floors"] >= 50]
    by_name = {p["name"]: p for p in value["properties"]}
    height = by_name["height"]
    assert value["numberMatched"] == len(rows) == height["count"] and height["unit"] == "m"
    for name, expected in (("min", rows["height"].min()), ("max", rows["height"].max()), ("mean", rows["height"].mean()), ("sum", rows["height"].sum())):
        assert height[name] == pytest.approx(expected, rel=1e-12)
    assert height["quantiles"]["0.5"] == pytest.approx(rows["height"].median())
    assert sum(height["histogram"]["counts"]) == len(rows) and not height["histogram"]["sampled"]
    assert by_name["名称"]["distinct"] == rows["名称"].nunique()


def test_a_legend_parts_the_values_evenly(sample, frame):
    value = get(sample, "/collections/buildings/styles/height", classes=4)
    ranges = [entry["value"] for entry in value["entries"]]
    assert all(a[1] == b[0] for a, b in itertools.pairwise(ranges)) and ranges[0][0] == frame["height"].min() and ranges[-1][1] == frame["height"].max()
    counts = [((frame["height"] >= a) & (frame["height"] < b)).sum() for a, b in ranges]
    assert max(counts) - min(counts) <= 2 and value["unit"] == "m" and len({e["color"] for e in value["entries"]}) == 4
    names = [style["id"] for style in get(sample, "/collections/buildings/styles")["styles"]]
    assert {"height", "名称", "floors"} <= set(names)
    assert get(sample, "/collections/buildings/styles/nothing", 400)["detail"].count("nothing")


def test_search_finds_names_ids_and_coordinates(sample):
    first = get(sample, "/search", q="建筑17")["places"]
    assert first[0]["title"] == "建筑17" and first[0]["layer"] == "buildings"
    assert {p["title"][:4] for p in first} == {"建筑17"} and len(first) == 11  # 17 and 170 to 179
    where = get(sample, f"/collections/buildings/items/{first[0]['feature']}")["geometry"]
    assert shapely.geometry.shape(where).buffer(1e-7).contains(shapely.Point(first[0]["lon"], first[0]["lat"]))
    assert "no layer" in get(sample, "/search", 404, q="17", layer="nope")["detail"], "it found nothing there, without a word"
    assert get(sample, "/search", q="建筑17", layer="buildings")["places"] == first
    assert get(sample, "/search", q="0wall$B")["places"][0]["feature"] == "0wall$B"
    x, y = pyproj.Transformer.from_crs(4326, 4547, always_xy=True).transform(113.08, 22.58)
    place = get(sample, "/search", q=f"{x:.3f} {y:.3f}", crs="EPSG:4547")["places"][0]
    assert (place["lon"], place["lat"]) == (pytest.approx(113.08, abs=1e-7), pytest.approx(22.58, abs=1e-7)) and place["kind"] == "position"
    assert get(sample, "/search", q="113.08E, 22.58N")["places"][0]["lat"] == 22.58
    assert get(sample, "/search", q="nowhere to be found") == {"places": [], "complete": True}
    get(sample, "/search", 400, q="1 2", crs="EPSG:99999999")


def test_position_in_the_zones(sample):
    value = get(sample, "/position", x=113.08, y=22.58, to="EPSG:32649")
    easting, northing = pyproj.Transformer.from_crs(4490, 4547, always_xy=True).transform(113.08, 22.58)
    assert value["zone"] == {"crs": "EPSG:4547", "zone": 38, "meridian": 114, "easting": pytest.approx(easting, abs=1e-3), "northing": pytest.approx(northing, abs=1e-3)}
    other = pyproj.Transformer.from_crs(4326, 32649, always_xy=True).transform(113.08, 22.58)
    assert (value["other"]["x"], value["other"]["y"]) == (pytest.approx(other[0], abs=1e-3), pytest.approx(other[1], abs=1e-3))
    assert get(sample, "/position", x=112.4, y=22.4)["zone"]["crs"] == "EPSG:4546"  # west of 112.5° it is zone 37
    assert get(sample, "/position", x=2.0, y=48.0)["zone"] is None
    get(sample, "/position", 400, x="nan", y=1)
    assert "no place" in get(sample, "/position", 400, x=500, y=22)["detail"]


@pytest.mark.parametrize(("lon", "lat", "codes"), [
    (113.08, 22.58, ((3, 38, 4547, 4526), (3, 37, 4546, 4525), (6, 19, 4508, 4497))),
    (112.499, 22.1, ((3, 37, 4546, 4525), (3, 38, 4547, 4526), (6, 19, 4508, 4497))),
    (135.2, 47.0, ((3, 45, 4554, 4533), (6, 23, 4512, 4501))),
])  # fmt: skip
def test_position_in_three_and_six_degree_zones(sample, lon, lat, codes):
    value = get(sample, "/position", x=lon, y=lat)
    assert [(z["width"], z["zone"], z["crs"], z["numbered_crs"]) for z in value["zones"]] == [(w, n, f"EPSG:{c}", f"EPSG:{p}") for w, n, c, p in codes]
    for zone in value["zones"]:
        for code, easting in ((zone["crs"], zone["easting"]), (zone["numbered_crs"], zone["numbered_easting"])):
            there = pyproj.Transformer.from_crs(4490, code, always_xy=True).transform(lon, lat)
            assert (easting, zone["northing"]) == (pytest.approx(there[0], abs=1e-3), pytest.approx(there[1], abs=1e-3))
    assert get(sample, "/position", x=2.0, y=48.0)["zones"] == []


def test_position_says_its_height_datum(sample):
    datum = get(sample, "/position", x=113.08, y=22.58)["datum"]
    # EGM96 runs from -5.8 m to -9.9 m across Jiangmen (tests of the geoid itself: tests/twin/test_crs.py).
    assert datum["vertical"] == "EPSG:5737" and -9.9 < datum["separation"] < -5.5 and datum["accuracy"] == 0.6


def test_history_and_as_of(sample):
    def show(height):
        box = np.array([shapely.box(404_000, 2_497_000, 404_010, 2_497_010)], dtype=object)
        publish(sample.city, "past", "vector", [Features(Reference("EPSG:4547"), pa.array(["one"]), box, pa.table({"height": [height]}))])

    show(3.0)
    show(4.0)
    value = get(sample, "/collections/past/versions")
    assert [v["version"] for v in value["versions"]] == [1, 2] and [v["current"] for v in value["versions"]] == [False, True]
    first, second = (v["shown"][0] for v in value["versions"])
    assert first["to"] == second["from"] and second["to"] is None
    sample.city.catalog.rollback("past", "test")
    rolled = get(sample, "/collections/past/versions")["versions"]
    assert [len(v["shown"]) for v in rolled] == [2, 1] and rolled[0]["current"] and rolled[1]["shown"][0]["to"] == rolled[0]["shown"][1]["from"]

    def version_at(time):
        return {c["id"]: c["twin:version"] for c in get(sample, "/collections", as_of=time)["collections"]}.get("past")

    assert version_at(second["from"].replace("Z", "+00:00")) in (1, 2) and version_at("2999-01-01T00:00:00Z") == 1 and version_at("2001-01-01T00:00:00Z") is None
    get(sample, "/collections", 400, as_of="2020-01-01T00:00:00")
    assert query.count(sample.city.lake, sample.city.published("past")[1]) == 1


def test_history_of_a_feature(sample):
    def deliver(*rows):
        shapes = np.array([shapely.box(404_000 + x, 2_497_000, 404_010 + x, 2_497_010) for _, x, _ in rows], dtype=object)
        table = pa.table({"height": [height for *_, height in rows]})
        publish(sample.city, "told", "vector", [Features(Reference("EPSG:4547"), pa.array([name for name, *_ in rows]), shapes, table)])

    deliver(("a", 0, 3.0))
    deliver(("a", 0, 3.0), ("b/1", 50, 9.0))
    deliver(("a", 0, 4.5), ("b/1", 50, 9.0))
    deliver(("a", 20, 4.5))
    told = get(sample, "/collections/told/history/a")
    assert [(s["version"], s["change"], s["moved"]) for s in told["states"]] == [
        (4, "changed", True), (3, "changed", False), (2, "same", False), (1, "added", False)]  # fmt: skip
    assert told["states"][1]["alterations"] == [{"name": "height", "before": 3.0, "after": 4.5}]
    assert told["whole"]
    assert [s["current"] for s in told["states"]] == [True, False, False, False]
    gone = get(sample, "/collections/told/history/b%2F1")["states"]
    assert [s["change"] for s in gone] == ["removed", "same", "added", "absent"]
    part = get(sample, "/collections/told/history/a", limit=2)
    assert [s["version"] for s in part["states"]] == [4, 3] and not part["whole"]
    assert part["states"][1]["alterations"], "the version before the oldest one named is read too"
    get(sample, "/collections/told/history/nobody", 404)
    get(sample, "/collections/nothing/history/a", 404)
