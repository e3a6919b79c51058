"""Map tiles: PNG of 256 pixels where the layer is, transparent elsewhere, immutable under a key that the TileJSON names."""

from __future__ import annotations

import io
from urllib.parse import quote, urlsplit

import morecantile
import numpy as np
import pytest
from PIL import Image

GRID = morecantile.tms.get("WebMercatorQuad")


def document(sample, layer):
    return sample.client.get(f"/map/{quote(layer)}/tilejson.json")


def pixels(sample, layer, z, x, y):
    path = urlsplit(document(sample, layer).json()["tiles"][0].replace("{z}", str(z)).replace("{x}", str(x)).replace("{y}", str(y))).path
    answer = sample.client.get(path)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "image/png"
    image = Image.open(io.BytesIO(answer.content)).convert("RGBA")
    assert image.size == (256, 256)
    return np.asarray(image), answer


@pytest.mark.parametrize("layer", ["道路", "dem", "islands"])
def test_tilejson_says_where_the_layer_is(sample, layer):
    answer = document(sample, layer)
    body = answer.json()
    assert answer.headers["cache-control"] == "no-cache"
    assert body["tilejson"] == "3.0.0"
    west, south, east, north = body["bounds"]
    [want] = sample.client.get(f"/collections/{quote(layer)}").json()["extent"]["spatial"]["bbox"]
    assert body["bounds"] == pytest.approx(want, abs=0.02)
    assert -180 <= west < east <= 180
    assert -86 < south < north < 86
    assert 0 <= body["minzoom"] <= body["maxzoom"] <= 24
    assert document(sample, layer).headers["etag"] == answer.headers["etag"]
    again = sample.client.get(f"/map/{quote(layer)}/tilejson.json", headers={"if-none-match": answer.headers["etag"]})
    assert again.status_code == 304


@pytest.mark.parametrize("layer", ["道路", "dem"])
def test_something_is_drawn_where_the_layer_is_and_nothing_elsewhere(sample, layer):
    body = document(sample, layer).json()
    west, south, east, north = body["bounds"]
    zoom = min(max(body["minzoom"], 13), body["maxzoom"])
    middle = GRID.tile((west + east) / 2, (south + north) / 2, zoom)
    drawn, answer = pixels(sample, layer, middle.z, middle.x, middle.y)
    assert (drawn[..., 3] > 0).any()
    assert "immutable" in answer.headers["cache-control"]
    assert sample.client.get(urlsplit(str(answer.url)).path, headers={"if-none-match": answer.headers["etag"]}).status_code == 304
    away = GRID.tile(west - 5, south - 5, zoom)
    empty, _ = pixels(sample, layer, away.z, away.x, away.y)
    assert not empty[..., 3].any()


def test_what_is_no_tile_is_refused(sample):
    template = urlsplit(document(sample, "dem").json()["tiles"][0]).path
    key = template.split("/")[3]
    for path, status in ((f"/map/dem/{key}/3/8/0.png", 404), (f"/map/dem/{key}/3/0/8.png", 404), (f"/map/dem/{key}/25/0/0.png", 400),
                         (f"/map/dem/{key}/-1/0/0.png", 400), (f"/map/dem/{key}/a/0/0.png", 400), (f"/map/dem/{key[:-1]}/0/0/0.png", 404),
                         (f"/map/islands/{key}/0/0/0.png", 404), (f"/map/dem/{key}/0/0/0.jpg", 404)):  # fmt: skip
        answer = sample.client.get(path)
        assert answer.status_code == status, path
        assert answer.headers["content-type"] == "application/problem+json"


def test_a_layer_of_models_has_no_map(sample):
    assert document(sample, "buildings").status_code == 404


def test_a_filter_leaves_out_what_does_not_match(sample):
    template = urlsplit(document(sample, "islands").json()["tiles"][0]).path
    items = sample.client.get("/collections/islands/items?limit=1000").json()["features"]
    one = items[0]
    there = GRID.tile(*np.asarray(one["geometry"]["coordinates"][0][0] if one["geometry"]["type"] == "Polygon" else one["geometry"]["coordinates"], float)[:2], 10)
    path = template.replace("{z}", str(there.z)).replace("{x}", str(there.x)).replace("{y}", str(there.y))
    name = one["id"].replace("'", "''")
    drawn = sample.client.get(path, params={"filter": f"id = '{name}'"})
    without = sample.client.get(path, params={"filter": "id = 'no such'"})
    plain = sample.client.get(path)
    alpha = [np.asarray(Image.open(io.BytesIO(answer.content)).convert("RGBA"))[..., 3].sum() for answer in (plain, drawn, without)]
    assert alpha[0] >= alpha[1] > 0
    assert alpha[2] == 0
    assert len({answer.headers["etag"] for answer in (plain, drawn, without)}) == 3
    assert sample.client.get(path, params={"color-by": "lon"}).status_code == 200
    for wrong in ({"filter": "nothing = 1"}, {"color-by": "nothing"}, {"filter": "id = "}, {"colour-by": "lon"}, {"color-by": "lon", "ramp": "rainbow"}):
        assert sample.client.get(path, params=wrong).status_code in (400, 422), wrong
    dem = urlsplit(document(sample, "dem").json()["tiles"][0]).path.replace("{z}", "3").replace("{x}", "6").replace("{y}", "3")
    assert sample.client.get(dem, params={"filter": "id = '1'"}).status_code == 400
