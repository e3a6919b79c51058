"""CRS by reference: coordinates and axis order against pyproj's own (which follows the authority), boxes in them against GeoPandas."""

from __future__ import annotations

from urllib.parse import parse_qs, quote, urlsplit

import geopandas
import numpy as np
import pyproj
import pytest
import shapely

EPSG = "http://www.opengis.net/def/crs/EPSG/0/"
CRS84 = "http://www.opengis.net/def/crs/OGC/1.3/CRS84"
CRS84H = "http://www.opengis.net/def/crs/OGC/0/CRS84h"
ROADS = f"/collections/{quote('道路')}/items"


@pytest.mark.parametrize(("layer", "source", "code", "most"), [
    ("buildings", 4547, 4326, 2e-8), ("buildings", 4547, 4490, 2e-8), ("buildings", 4547, 4547, 2e-4), ("buildings", 4547, 3857, 2e-4),
    ("道路", 4526, 4526, 2e-4), ("道路", 4526, 4490, 2e-8), ("islands", 4326, 4326, 2e-8)])  # fmt: skip
def test_coordinates_are_the_authoritys(sample, layer, source, code, most):
    """`always_xy` is not used here: PROJ takes and gives what the register says, latitude or northing first where it does."""
    answer = sample.client.get(f"/collections/{quote(layer)}/items", params={"crs": f"{EPSG}{code}", "limit": 20})
    assert answer.headers["content-crs"] == f"<{EPSG}{code}>"
    step = pyproj.Transformer.from_crs(source, code)
    north_first = pyproj.CRS(source).axis_info[0].direction == "north"
    for feature in answer.json()["features"]:
        shape = sample.geometry[layer][sample.ids[layer].index(feature["id"])]
        own = shapely.force_2d(shape)
        want = shapely.transform(own, lambda xy: np.column_stack(step.transform(*(xy.T[::-1] if north_first else xy.T))))
        got = shapely.geometry.shape(feature["geometry"])
        assert not got.has_z
        assert shapely.hausdorff_distance(shapely.normalize(got), shapely.normalize(want)) < most


def test_one_feature_comes_in_it_too_and_says_so(sample):
    url = f"/collections/buildings/items/b1?crs={quote(EPSG + '4547', safe='')}"
    answer = sample.client.get(url)
    shape = sample.geometry["buildings"][sample.ids["buildings"].index("b1")]
    assert answer.headers["content-crs"] == f"<{EPSG}4547>"
    assert answer.json()["geometry"]["coordinates"][0][0] == pytest.approx([shape.bounds[1], shape.bounds[0]], abs=100)
    assert 2_490_000 < answer.json()["geometry"]["coordinates"][0][0][0] < 2_510_000  # northing first
    itself = next(one["href"] for one in answer.json()["links"] if one["rel"] == "self")
    assert sample.client.get(itself).json()["geometry"] == answer.json()["geometry"]
    assert sample.client.get("/collections/buildings/items/b1").headers["content-crs"] == f"<{CRS84}>"


def test_heights_come_where_the_crs_has_them(sample):
    plain = sample.client.get(ROADS)
    assert plain.headers["content-crs"] == f"<{CRS84H}>"
    named = sample.client.get(ROADS, params={"crs": CRS84H}).json()["features"]
    assert plain.json()["features"] == named
    swapped = sample.client.get(ROADS, params={"crs": f"{EPSG}4979"}).json()["features"]
    flat = sample.client.get(ROADS, params={"crs": CRS84}).json()["features"]
    for one, other, low in zip(named, swapped, flat, strict=True):
        for (x, y, z), (a, b, c), two in zip(one["geometry"]["coordinates"], other["geometry"]["coordinates"], low["geometry"]["coordinates"], strict=True):
            assert (y, x, z) == (a, b, c)
            assert [x, y] == two


def test_a_collection_states_what_it_is_offered_in(sample):
    found = {one["id"]: one for one in sample.client.get("/collections").json()["collections"]}
    assert found["道路"]["crs"] == [CRS84H, CRS84, f"{EPSG}4979", f"{EPSG}4326", f"{EPSG}4490", f"{EPSG}3857", f"{EPSG}4526"]
    assert found["buildings"]["crs"] == [CRS84, f"{EPSG}4326", f"{EPSG}4490", f"{EPSG}3857", f"{EPSG}4547"]
    assert (found["buildings"]["storageCrs"], found["islands"]["storageCrs"]) == (f"{EPSG}4547", f"{EPSG}4326")
    assert "storageCrs" not in found["道路"]  # GDAL would take it, and lose the heights
    assert "crs" not in found["dem"]
    for layer in ("道路", "buildings", "islands", "bim"):
        for uri in found[layer]["crs"]:
            assert sample.client.get(f"/collections/{quote(layer)}/items", params={"crs": uri}).status_code == 200
    assert "http://www.opengis.net/spec/ogcapi-features-2/1.0/conf/crs" in sample.client.get("/conformance").json()["conformsTo"]


@pytest.mark.parametrize("name", ["crs", "bbox-crs"])
@pytest.mark.parametrize("uri", [f"{EPSG}4526", "EPSG:4326", f"{EPSG}99999", CRS84H, ""])
def test_a_crs_not_offered_is_refused_with_those_that_are(sample, name, uri):
    for params in ({name: uri}, {name: uri, "bbox": "113,22,114,23"}):
        answer = sample.client.get("/collections/buildings/items", params=params)
        assert answer.status_code == 400
        assert answer.json()["detail"].startswith(f"{name}: ")
        assert f"{EPSG}4547" in answer.json()["detail"]


@pytest.mark.parametrize(("layer", "source", "code"), [("buildings", 4547, 4547), ("buildings", 4547, 3857), ("buildings", 4547, 4490), ("buildings", 4547, 4326),
                                                       ("道路", 4526, 4526), ("道路", 4526, 3857)])  # fmt: skip
@pytest.mark.parametrize("part", [0.02, 0.15, 0.48])
def test_boxes_in_other_crs_agree_with_geopandas(sample, layer, source, code, part):
    series = geopandas.GeoSeries(sample.geometry[layer], crs=source).to_crs(code)
    west, south, east, north = series.total_bounds
    box = (west + part * (east - west), south + part * (north - south), east - part * (east - west), north - part * (north - south))
    first_north = pyproj.CRS(code).axis_info[0].direction == "north"
    numbers = (box[1], box[0], box[3], box[2]) if first_north else box
    page = sample.client.get(f"/collections/{quote(layer)}/items", params={"bbox": ",".join(map(repr, map(float, numbers))), "bbox-crs": f"{EPSG}{code}", "limit": 10000})
    want = {identity for identity, hit in zip(sample.ids[layer], series.intersects(shapely.box(*box)), strict=True) if hit}
    assert {feature["id"] for feature in page.json()["features"]} == want
    assert 0 < len(want) <= len(series)


def test_links_keep_the_crs(sample):
    asked = {"crs": f"{EPSG}4490", "bbox-crs": f"{EPSG}4490", "bbox": "22.5,113,22.7,113.2", "limit": 7}
    page = sample.client.get("/collections/buildings/items", params={**asked, "offset": 7})
    for one in page.json()["links"]:
        if one["rel"] in ("self", "next", "prev"):
            assert {name: values[0] for name, values in parse_qs(urlsplit(one["href"]).query).items() if name != "offset"} == {k: str(v) for k, v in asked.items()}
            assert sample.client.get(one["href"]).headers["content-crs"] == f"<{EPSG}4490>"


@pytest.mark.parametrize(("low", "high", "found"), [(-100, -10, 0), (-3, -1, 60), (100, 200, 0), (-20, 20, 60)])
def test_a_box_with_heights(sample, low, high, found):
    """Roads rise from 3.5 to 7.25 m of 1985, some 6 to 9 m less above the ellipsoid."""
    assert sample.client.get(ROADS, params={"bbox": f"113,22,{low},114,23,{high}"}).json()["numberMatched"] == found
    swapped = {"bbox": f"22,113,{low},23,114,{high}", "bbox-crs": f"{EPSG}4979"}
    assert sample.client.get(ROADS, params=swapped).json()["numberMatched"] == found


def test_heights_of_a_box_agree_with_those_given_out(sample):
    features = sample.client.get(ROADS, params={"limit": 100}).json()["features"]
    tops = sorted(max(z for _, _, z in one["geometry"]["coordinates"]) for one in features)
    between = (tops[30] + tops[29]) / 2
    assert sample.client.get(ROADS, params={"bbox": f"113,22,{between},114,23,100"}).json()["numberMatched"] == 30


@pytest.mark.parametrize(("layer", "params", "said"), [
    ("buildings", {"bbox": "113,22,0,114,23,9"}, "no absolute heights"), ("道路", {"bbox": "113,22,9,114,23,0"}, "lowest height"),
    ("道路", {"bbox": "22,113,0,23,114,9", "bbox-crs": f"{EPSG}4490"}, "has no heights"), ("道路", {"bbox": "113,22,nan,114,23,9"}, "finite"),
    ("buildings", {"bbox": "0,0,3e7,1", "bbox-crs": f"{EPSG}3857"}, "reaches beyond"), ("buildings", {"bbox": "5,0,1,9", "bbox-crs": f"{EPSG}4547"}, "ends before"),
])  # fmt: skip
def test_bad_boxes(sample, layer, params, said):
    answer = sample.client.get(f"/collections/{quote(layer)}/items", params=params)
    assert answer.status_code == 400
    assert answer.json()["detail"].startswith("bbox: ")
    assert said in answer.json()["detail"]
