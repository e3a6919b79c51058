"""What holds for every resource: problems, strict parameters, HEAD, CORS, gzip, links, and no way to the server's files."""

from __future__ import annotations

import gzip
import json
import logging
from urllib.parse import quote

import pytest
from fastapi.testclient import TestClient

from twin import errors
from twin.api import create_app
from twin.api.common import weights
from twin.api.errors import STATUS, status_of
from twin.city import City

READABLE = ["/", "/conformance", "/city", "/collections", "/collections/buildings", "/collections/buildings/items", "/collections/buildings/items/b1",
            "/tiles3d/buildings/tileset.json", "/terrain/layer.json", "/terrain/dem/layer.json", "/processes", "/processes/inundation", "/jobs",
            "/openapi.json", "/docs"]  # fmt: skip


def is_problem(answer, status):
    body = answer.json()
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert set(body) == {"type", "title", "status", "detail", "instance"}
    assert body["status"] == status
    assert body["detail"]
    assert "Traceback" not in answer.text
    return body


@pytest.mark.parametrize("path", READABLE)
def test_an_unknown_parameter_is_refused_everywhere(sample, path):
    assert sample.client.get(path).status_code == 200
    body = is_problem(sample.client.get(f"{path}?colour=red"), 400)
    assert "'colour'" in body["detail"]
    assert body["instance"] == path


@pytest.mark.parametrize("path", READABLE)
def test_head_is_get_without_the_body(sample, path):
    whole, head = sample.client.get(path), sample.client.head(path)
    assert head.status_code == 200
    assert head.content == b""
    assert head.headers["content-type"] == whole.headers["content-type"]
    if path != "/collections/buildings/items":  # its time stamp changes
        assert head.headers["content-length"] == whole.headers["content-length"]


@pytest.mark.parametrize("path", ["/collections", "/collections/buildings/items?limit=50", "/openapi.json"])
def test_json_is_gzipped_for_those_who_take_it(sample, path):
    with sample.client.stream("GET", path, headers={"accept-encoding": "gzip"}) as answer:
        raw = b"".join(answer.iter_raw())
    assert answer.headers["content-encoding"] == "gzip"
    assert "Accept-Encoding" in answer.headers["vary"]
    plain = sample.client.get(path, headers={"accept-encoding": "identity"})
    assert "content-encoding" not in plain.headers
    inflated, direct = json.loads(gzip.decompress(raw)), plain.json()
    assert {k: v for k, v in inflated.items() if k != "timeStamp"} == {k: v for k, v in direct.items() if k != "timeStamp"}


@pytest.mark.parametrize(("accepted", "zipped"), [("gzip", True), ("gzip;q=0", False), ("br, *;q=0.5", True), ("*;q=0", False), ("br", False), ("gzip;q=x", False),
                                                  ("gzip;q=0.2, identity", False), ("gzip, identity;q=0.5", True), ("identity;q=0, *;q=0.1", True), ("x-gzip;q=0.5", True)])
def test_accept_encoding_is_read_as_rfc_9110_says(sample, accepted, zipped):
    with sample.client.stream("GET", "/openapi.json", headers={"accept-encoding": accepted}) as answer:
        assert (answer.headers.get("content-encoding") == "gzip") == zipped


def test_weights():
    assert weights("text/html, application/json;q=0.5 , */*;q=0") == [("text/html", 1.0), ("application/json", 0.5), ("*/*", 0.0)]
    assert weights("") == []


def test_landing_page_negotiates(sample):
    browser = sample.client.get("/", headers={"accept": "text/html,application/xhtml+xml,*/*;q=0.8"}, follow_redirects=False)
    assert browser.status_code == 302
    assert browser.headers["location"].endswith("/viewer/")
    program = sample.client.get("/", headers={"accept": "application/json"})
    relations = {one["rel"] for one in program.json()["links"]}
    assert {"self", "service-desc", "service-doc", "conformance", "data", "http://www.opengis.net/def/rel/ogc/1.0/processes"} <= relations


def test_every_link_leads_somewhere(sample):
    """Breadth-first over all links of the API's documents: none is dead, and types are as announced."""
    seen, queue = set(), ["http://testserver/"]
    while queue:
        url = queue.pop()
        if url in seen or "/viewer/" in url or len(seen) > 400:
            continue
        seen.add(url)
        answer = sample.client.get(url)
        assert answer.status_code == 200, (url, answer.text)
        if "json" in answer.headers["content-type"] and isinstance(answer.json(), dict):
            queue.extend(_links(answer.json()))
    assert len(seen) > 25


def _links(value):
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else []:
        yield from _links(inner)
    if isinstance(value, dict) and isinstance(value.get("href"), str) and "rel" in value and value["rel"] != "http://www.opengis.net/def/rel/ogc/1.0/execute":
        yield value["href"]


def test_openapi_page_needs_no_other_server(sample):
    page = sample.client.get("/docs").text
    assert "openapi.json" in page
    assert "http://" not in page
    assert "https://" not in page
    definition = sample.client.get("/openapi.json").json()
    assert definition["openapi"].startswith("3.1")
    assert "/collections/{layer}/items/{feature}" in definition["paths"]
    for path, methods in definition["paths"].items():
        for one in methods.values():
            assert one["summary"], path


def test_collections_say_what_there_is(sample):
    body = sample.client.get("/collections").json()
    kinds = {one["id"]: one["twin:kind"] for one in body["collections"]}
    assert kinds == {"bim": "mesh", "buildings": "blocks", "dem": "terrain", "islands": "vector", "道路": "vector"}
    relations = {one["id"]: {link["rel"] for link in one["links"]} for one in body["collections"]}
    assert relations["buildings"] == relations["bim"] == {"self", "items", "tiles3d"}
    assert relations["dem"] == {"self", "terrain", "map"}
    assert relations["道路"] == {"self", "items", "map"}
    one = sample.client.get("/collections/buildings").json()
    assert one["title"] == "buildings层"
    assert one["twin:title"] == {"zh": "buildings层", "en": "buildings"}
    assert one["twin:version"] == 1
    assert one["twin:count"] == 400
    assert one["twin:heights"] == [-8.0, 52.0]
    assert one["twin:stale"] is False
    west, south, east, north = one["extent"]["spatial"]["bbox"][0]
    assert 113.0 < west < east < 113.2
    assert 22.5 < south < north < 22.7


def test_city_is_where_its_buildings_are(sample):
    body = sample.client.get("/city").json()
    west, south, east, north = body["bbox"]
    assert 113.0 < west < east < 113.2  # and not from Fiji to Fiji, although there are islands
    assert 22.5 < south < north < 22.7
    assert body["heights"] == [-8.0, 52.0]
    assert body["terrain"] == "dem"


def test_an_empty_city_answers(tmp_path):
    client = TestClient(create_app(City.open(tmp_path)), raise_server_exceptions=False)
    assert client.get("/city").json()["bbox"] is None
    assert client.get("/collections").json()["collections"] == []
    is_problem(client.get("/terrain/layer.json"), 404)


def test_cors_is_open_for_reading_only(sample):
    answer = sample.client.get("/collections", headers={"origin": "https://elsewhere.example"})
    assert answer.headers["access-control-allow-origin"] == "*"
    asked = {"origin": "https://elsewhere.example", "access-control-request-method": "POST", "access-control-request-headers": "content-type"}
    assert sample.client.options("/processes/inundation/execution", headers=asked).status_code == 400
    asked["access-control-request-method"] = "GET"
    assert sample.client.options("/collections", headers=asked).status_code == 200


@pytest.mark.parametrize("path", ["/collections/nix", "/tiles3d/nix/tileset.json", "/terrain/nix/layer.json", "/nix", "/jobs/nix", "/processes/nix",
                                  "/map/nix/tilejson.json"])  # fmt: skip
def test_what_is_not_there_is_a_problem(sample, path):
    is_problem(sample.client.get(path), 404)


def test_a_wrong_method_is_a_problem(sample):
    answer = sample.client.delete("/collections")
    is_problem(answer, 405)
    answer = sample.client.options("/jobs/x")
    is_problem(answer, 405)
    assert answer.headers["allow"] == "DELETE, GET, HEAD"
    assert "GET" in answer.headers["allow"]


SECRETS = ["../../../../etc/passwd", "..%2f..%2f..%2fetc%2fpasswd", "/etc/passwd", "%2fetc%2fpasswd", "....//etc/passwd", "..\\..\\etc\\passwd", "%00",
           "file:///etc/passwd"]  # fmt: skip


@pytest.mark.parametrize("secret", SECRETS)
def test_no_path_leads_to_the_servers_files(sample, secret):
    key = sample.client.get("/collections/buildings").json()["twin:tileset"]
    for prefix in (f"/tiles3d/buildings/{key}/", "/tiles3d/buildings/", "/tiles3d/", "/terrain/dem/", "/collections/", "/collections/buildings/items/",
                   "/viewer/", "/jobs/", "/map/buildings/"):  # fmt: skip
        for text in (secret, quote(secret, safe="")):
            answer = sample.client.get(prefix + text)
            assert answer.status_code in (404, 400, 405), (prefix, text)
            assert "root:" not in answer.text


def test_every_error_of_the_tree_has_a_status():
    def tree(kind):
        return [kind, *(deeper for child in kind.__subclasses__() for deeper in tree(child))]

    for kind in tree(errors.TwinError):
        status = status_of(kind("x"))
        assert 400 <= status < 600
        assert kind is errors.TwinError or status != 500, f"{kind.__name__} falls through the table"
    order = [kind for kind, _ in STATUS]
    for i, kind in enumerate(order):
        assert not any(issubclass(later, kind) for later in order[i + 1 :]), "a class behind its parent is never reached"


def test_an_unexpected_error_tells_nothing_but_is_logged(sample, monkeypatch, caplog):
    def broken(*_args, **_kwargs):
        raise RuntimeError("secret detail")

    monkeypatch.setattr(sample.city.catalog, "published", broken)
    with caplog.at_level(logging.ERROR):
        answer = sample.client.get("/collections")
    body = is_problem(answer, 500)
    assert "secret" not in answer.text
    assert body["title"] == "Internal Server Error"
    assert "secret detail" in caplog.text


def test_public_url_stands_in_links(sample):
    client = TestClient(create_app(sample.city, public_url="https://city.example/twin/"))
    links = client.get("/").json()["links"]
    assert next(one["href"] for one in links if one["rel"] == "data") == "https://city.example/twin/collections"


def test_a_missing_viewer_says_how_to_build_it(sample, tmp_path):
    client = TestClient(create_app(sample.city, viewer_folder=tmp_path))
    assert "npm" in is_problem(client.get("/viewer/"), 404)["detail"]
    (tmp_path / "assets").mkdir()
    (tmp_path / "index.html").write_text("<title>twin</title>")
    (tmp_path / "assets" / "main-1234.js").write_text("1")
    client = TestClient(create_app(sample.city, viewer_folder=tmp_path))
    assert "no-cache" in client.get("/viewer/").headers["cache-control"]
    assert "immutable" in client.get("/viewer/assets/main-1234.js").headers["cache-control"]
    is_problem(client.get("/viewer/nix.js"), 404)
