"""Features: paging is complete, boxes agree with an independent reading (GeoPandas), ids may hold anything."""

from __future__ import annotations

from urllib.parse import quote, urlsplit

import geopandas
import numpy as np
import pytest
import shapely
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

SOURCE_CRS = {"buildings": 4547, "道路": 4526, "islands": 4326}


def follow(client, url):
    """All pages from a first one, through `next`."""
    while url:
        page = client.get(url).json()
        yield page
        url = next((one["href"] for one in page["links"] if one["rel"] == "next"), None)


def expected(sample, layer, bbox):
    """Ids whose geometry meets the box, by GeoPandas and PROJ alone."""
    series = geopandas.GeoSeries(sample.geometry[layer], crs=SOURCE_CRS[layer]).to_crs(4326)
    w, s, e, n = bbox
    boxes = [bbox] if w <= e else [(w, s, 180, n), (-180, s, e, n)]
    hit = np.zeros(len(series), bool)
    for one in boxes:
        hit |= series.intersects(shapely.box(*one)).to_numpy()
    return {identity for identity, yes in zip(sample.ids[layer], hit, strict=True) if yes}


def found(sample, layer, bbox, limit=10000):
    text = ",".join(map(repr, map(float, bbox)))
    page = sample.client.get(f"/collections/{quote(layer)}/items", params={"bbox": text, "limit": limit})
    assert page.status_code == 200, page.text
    body = page.json()
    assert body["numberMatched"] >= body["numberReturned"] == len(body["features"])
    return {feature["id"] for feature in body["features"]}, body["numberMatched"]


@pytest.mark.parametrize("limit", [1, 7, 100, 400, 10000])
def test_pages_hold_every_feature_once(sample, limit):
    if limit == 1:
        pages = list(follow(sample.client, "/collections/islands/items?limit=1"))
        want = sample.ids["islands"]
    else:
        pages = list(follow(sample.client, f"/collections/buildings/items?limit={limit}"))
        want = sample.ids["buildings"]
    got = [feature["id"] for page in pages for feature in page["features"]]
    assert len(got) == len(set(got)) == len(want)
    assert set(got) == set(want)
    assert {page["numberMatched"] for page in pages} == {len(want)}


def test_pages_of_a_box_are_complete_and_go_back(sample):
    box = "113.09,22.57,113.11,22.60"
    pages = list(follow(sample.client, f"/collections/buildings/items?bbox={box}&limit=9"))
    assert len(pages) > 3
    got = [feature["id"] for page in pages for feature in page["features"]]
    assert len(got) == len(set(got)) == pages[0]["numberMatched"]
    back = next(one["href"] for one in pages[2]["links"] if one["rel"] == "prev")
    assert sample.client.get(back).json()["features"] == pages[1]["features"]
    assert not [one for one in pages[0]["links"] if one["rel"] == "prev"]
    assert not [one for one in pages[-1]["links"] if one["rel"] == "next"]


def test_offset_behind_the_end_is_an_empty_page(sample):
    body = sample.client.get("/collections/buildings/items?offset=100000").json()
    assert body["features"] == []
    assert body["numberMatched"] == 400


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(["buildings", "道路"]), st.floats(113.05, 113.15), st.floats(22.56, 22.62), st.floats(0, 0.05), st.floats(0, 0.03))
def test_box_agrees_with_geopandas(sample, layer, w, s, width, height):  # noqa: PLR0917  hypothesis fills them
    bbox = (w, s, w + max(width, 1e-7), s + max(height, 1e-7))
    want = expected(sample, layer, bbox)
    ids, matched = found(sample, layer, bbox)
    # features that touch the box within 1e-9° may fall on either side of it
    near = expected(sample, layer, (bbox[0] - 1e-9, bbox[1] - 1e-9, bbox[2] + 1e-9, bbox[3] + 1e-9))
    sure = expected(sample, layer, (bbox[0] + 1e-9, bbox[1] + 1e-9, bbox[2] - 1e-9, bbox[3] - 1e-9))
    assert sure <= ids <= near, ids ^ want
    assert matched == len(ids)


def test_box_along_the_edges_of_a_feature(sample):
    """A box that only shares an edge or a corner with a feature touches it; one just beside it does not."""
    shape = sample.geometry["islands"][1]
    _, s, e, n = shape.bounds
    assert "i1" in found(sample, "islands", (e, s, e + 0.5, n))[0]
    assert "i1" in found(sample, "islands", (e, n, e + 0.5, n + 0.5))[0]
    assert "i1" not in found(sample, "islands", (e + 1e-6, s, e + 0.5, n))[0]


def test_box_without_area_is_a_click(sample):
    series = geopandas.GeoSeries(sample.geometry["buildings"][:-1], crs=4547).to_crs(4326)
    inside = series.iloc[11].representative_point()
    ids, _ = found(sample, "buildings", (inside.x, inside.y, inside.x, inside.y))
    assert ids == {sample.ids["buildings"][i] for i in np.flatnonzero(series.intersects(inside))}
    assert sample.ids["buildings"][11] in ids
    assert found(sample, "buildings", (inside.x, inside.y - 0.0001, inside.x, inside.y + 0.0001))[0] >= ids


@pytest.mark.parametrize("bbox", [(178, -18, -178, -16), (179.9, -90, -179.9, 90), (170, -18, 180, -16), (-180, -18, -170, -16), (-180, -90, 180, 90)])
def test_antimeridian(sample, bbox):
    assert found(sample, "islands", bbox)[0] == expected(sample, "islands", bbox)


def test_the_whole_world_in_a_zone_crs(sample):
    """No projection is asked for places outside its domain; features without geometry touch no box."""
    ids, matched = found(sample, "buildings", (-180, -90, 180, 90))
    assert matched == 399
    assert ids == set(sample.ids["buildings"][:-1])
    assert found(sample, "buildings", (-60, -60, -50, -50)) == (set(), 0)


@pytest.mark.parametrize("bbox", ["1,2,3", "1,2,3,4,5", "1,2,3,4,5,6", "a,b,c,d", "", "nan,0,1,1", "0,0,inf,1", "0,2,1,1", "0,-91,1,1", "-181,0,0,1", "0,0,1,1,"])
def test_bad_boxes_are_refused_by_name(sample, bbox):
    answer = sample.client.get("/collections/buildings/items", params={"bbox": bbox})
    assert answer.status_code == 400
    assert "bbox" in answer.json()["detail"]


@pytest.mark.parametrize("query", ["limit=0", "limit=10001", "limit=x", "limit=", "offset=-1", "offset=1e3", "datetime=yesterday", "limit=1&limit=2",
                                   "datetime=2026-13-01", "datetime=2026-02-30T00:00:00Z", "datetime=2026-03-01/2026-02-01", "datetime=2026-03-01%0A"])  # fmt: skip
def test_bad_parameters_are_refused_by_name(sample, query):
    answer = sample.client.get(f"/collections/buildings/items?{query}")
    assert answer.status_code == 400
    assert query.split("=")[0] in answer.json()["detail"]


def test_every_id_leads_to_its_feature(sample):
    for identity in sample.ids["buildings"][:20] + sample.ids["道路"][:3]:
        layer = "道路" if identity in sample.ids["道路"] else "buildings"
        answer = sample.client.get(f"/collections/{quote(layer)}/items/{quote(identity, safe='')}")
        assert answer.status_code == 200, (identity, answer.text)
        feature = answer.json()
        assert feature["id"] == identity
        itself = next(one["href"] for one in feature["links"] if one["rel"] == "self")
        assert sample.client.get(itself).json()["id"] == identity
        assert urlsplit(itself).query == ""


@pytest.mark.parametrize("identity", ["nobody", "b1 ", "B1", "'; drop table x; --", "%", "b1' OR '1'='1"])
def test_unknown_ids_are_not_found(sample, identity):
    answer = sample.client.get(f"/collections/buildings/items/{quote(identity, safe='')}")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"


def test_attributes_keep_their_names_types_and_units(sample):
    feature = sample.client.get("/collections/buildings/items/b3").json()
    assert set(feature["properties"]) == {"height", "名称", "floors"}
    row = sample.ids["buildings"].index("b3")
    assert feature["properties"]["名称"] == f"建筑{row}"
    assert feature["properties"]["floors"] == row
    schema = {column["name"]: column for column in sample.client.get("/collections/buildings").json()["twin:schema"]}
    assert schema["height"]["unit"] == "m"
    assert schema["height"]["title"] == {"zh": "高度", "en": "Height"}


def test_geometry_is_where_geopandas_puts_it(sample):
    features = sample.client.get("/collections/buildings/items?limit=10000").json()["features"]
    series = geopandas.GeoSeries(sample.geometry["buildings"], crs=4547, index=sample.ids["buildings"]).to_crs(4326)
    for feature in features:
        want = series[feature["id"]]
        if want is None:
            assert feature["geometry"] is None
            continue
        got = shapely.geometry.shape(feature["geometry"])
        assert shapely.hausdorff_distance(got, want) < 2e-8
        assert not got.has_z  # heights above ground are no positions
        assert got.exterior.is_ccw  # RFC 7946, 3.1.6


def test_absolute_heights_become_ellipsoidal(sample):
    """1985 heights 3.5 and 7.25 m; the geoid lies 5.8 to 9.9 m below the ellipsoid around Jiangmen."""
    features = sample.client.get("/collections/%E9%81%93%E8%B7%AF/items?limit=100").json()["features"]
    for feature in features:
        (_, _, first), (_, _, last) = feature["geometry"]["coordinates"]
        assert -9.9 < first - 3.5 < -5.8
        assert last - first == pytest.approx(3.75, abs=0.4)


def test_a_bim_product_has_its_property_sets_nested(sample):
    feature = sample.client.get("/collections/bim/items/0wall%24A").json()
    assert feature["properties"]["psets"] == {"Pset_WallCommon": {"FireRating": "2h"}}
    assert feature["properties"]["quantities"] == {"Qto_WallBaseQuantities": {"Length": 4.0}}
    assert (feature["properties"]["class"], feature["properties"]["name"], feature["properties"]["storey"]) == ("IfcWall", "墙一", "1F")
    assert feature["twin:parent"] == "storey-1"
    other = sample.client.get("/collections/bim/items/0wall%24B").json()
    assert other["properties"]["quantities"] is None
    assert "twin:parent" not in other


def test_a_layer_without_features_says_so(sample):
    answer = sample.client.get("/collections/dem/items")
    assert answer.status_code == 404
    assert "terrain" in answer.json()["detail"]
