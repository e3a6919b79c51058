"""Tiles: what changes is never cached unasked, what does not change is; bodies are the archive's bytes, gzipped or not."""

from __future__ import annotations

import gzip
import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from twin.api.archives import Archives
from twin.errors import StorageError


def raw(client, path, encoding):
    """(body as it came over the wire, headers)."""
    with client.stream("GET", path, headers={"accept-encoding": encoding}) as answer:
        assert answer.status_code == 200, path
        return b"".join(answer.iter_raw()), answer.headers


def key_of(sample, layer):
    return sample.client.get(f"/collections/{layer}").json()["twin:tileset"]


def test_root_tileset_points_to_the_published_one(sample):
    answer = sample.client.get("/tiles3d/buildings/tileset.json")
    key = key_of(sample, "buildings")
    assert answer.headers["cache-control"] == "no-cache"
    body = answer.json()
    assert body["asset"]["version"] == "1.1"
    assert body["root"]["content"]["uri"] == f"{key}/tileset.json"
    assert body["geometricError"] >= body["root"]["geometricError"] >= 0
    inner = sample.client.get(f"/tiles3d/buildings/{body['root']['content']['uri']}").json()
    assert body["root"]["boundingVolume"] == inner["root"]["boundingVolume"]
    assert inner["geometricError"] <= body["root"]["geometricError"]


@pytest.mark.parametrize("path", ["/tiles3d/buildings/tileset.json", "/terrain/dem/layer.json", "/terrain/layer.json"])
def test_mutable_documents_are_revalidated(sample, path):
    first = sample.client.get(path)
    etag = first.headers["etag"]
    assert first.headers["cache-control"] == "no-cache"
    for given in (etag, f'"other", {etag}', etag.removeprefix("W/"), "*"):
        again = sample.client.get(path, headers={"if-none-match": given})
        assert again.status_code == 304
        assert again.content == b""
        assert again.headers["etag"] == etag
    assert sample.client.get(path, headers={"if-none-match": '"other"'}).status_code == 200


def test_publishing_changes_the_root_and_keeps_what_it_pointed_to(sample):
    before = sample.show_tileset(b"first" * 100)
    first = sample.client.get("/tiles3d/shown/tileset.json")
    after = sample.show_tileset(b"second" * 100, shift=-5)
    assert before != after
    second = sample.client.get("/tiles3d/shown/tileset.json", headers={"if-none-match": first.headers["etag"]})
    assert second.status_code == 200
    assert second.json()["root"]["content"]["uri"] == f"{after}/tileset.json"
    assert sample.client.get(f"/tiles3d/shown/{before}/tiles/0.glb").content == b"first" * 100
    assert sample.client.get(f"/tiles3d/shown/{after}/tiles/0.glb").content == b"second" * 100
    sample.city.catalog.rollback("shown", "test")
    assert sample.client.get("/tiles3d/shown/tileset.json").headers["etag"] == first.headers["etag"]


@pytest.mark.parametrize(("layer", "path", "media_type"), [
    ("buildings", "tiles3d/buildings/{}/tiles/0.glb", "model/gltf-binary"),
    ("buildings", "tiles3d/buildings/{}/tileset.json", "application/json"),
    ("dem", "terrain/dem/{}/0/1/0.terrain", "application/vnd.quantized-mesh"),
])  # fmt: skip
def test_contents_are_immutable_and_gzipped_without_change(sample, layer, path, media_type):
    path = "/" + path.format(key_of(sample, layer))
    zipped, headers = raw(sample.client, path, "gzip")
    plain, plain_headers = raw(sample.client, path, "identity")
    if "content-encoding" in headers:
        assert len(zipped) < len(plain)
        zipped = gzip.decompress(zipped)
    assert zipped == plain
    assert "content-encoding" not in plain_headers
    for one in (headers, plain_headers):
        assert one["content-type"] == media_type
        assert "immutable" in one["cache-control"]
        assert "max-age=31536000" in one["cache-control"]
        assert "Accept-Encoding" in one["vary"]
        assert one["etag"] == headers["etag"]
    again = sample.client.get(path, headers={"if-none-match": headers["etag"]})
    assert again.status_code == 304


def test_the_bytes_are_those_that_were_written(sample):
    key = key_of(sample, "buildings")
    assert raw(sample.client, f"/tiles3d/buildings/{key}/tiles/0.glb", "identity")[0] == sample.glb
    zipped, headers = raw(sample.client, f"/tiles3d/buildings/{key}/tiles/0.glb", "gzip")
    assert headers["content-encoding"] == "gzip"
    assert gzip.decompress(zipped) == sample.glb
    assert raw(sample.client, f"/terrain/dem/{key_of(sample, 'dem')}/0/1/0.terrain", "identity")[0] == sample.terrain_tile


def test_parts_of_a_tile_are_not_handed_out_and_that_is_said(sample):
    """RFC 9110, 14.2 and 14.3: a server may leave ranges alone; then the whole is the answer, to HEAD too, and clients are told not to ask."""
    path = f"/tiles3d/buildings/{key_of(sample, 'buildings')}/tiles/0.glb"
    for headers in ({"range": "bytes=0-3"}, {"range": "bytes=-5"}, {"range": "bytes=0-1,4-5"}, {"range": "bytes=0-3", "if-range": '"x"'}, {"range": "lines=1-2"}):
        answer = sample.client.get(path, headers={"accept-encoding": "identity", **headers})
        assert (answer.status_code, answer.headers["accept-ranges"], answer.content) == (200, "none", sample.glb)
    assert sample.client.head(path).headers["accept-ranges"] == "none"


def test_bytes_that_do_not_shrink_are_sent_as_they_are(sample):
    noise = os.urandom(5000)
    key = sample.show_tileset(noise, shift=-7)
    body, headers = raw(sample.client, f"/tiles3d/shown/{key}/tiles/0.glb", "gzip")
    assert "content-encoding" not in headers
    assert body == noise


@pytest.mark.parametrize("path", ["tiles/1.glb", "tiles/", "", "tiles/0.glb/", "%2e%2e/tileset.json", "@3dtilesIndex1@", "TILESET.JSON", "tiles\\0.glb2"])
def test_an_unknown_entry_is_not_found(sample, path):
    answer = sample.client.get(f"/tiles3d/buildings/{key_of(sample, 'buildings')}/{path}")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_key_serves_only_its_own_layer(sample):
    """A lake key, a part of a key, or the key of another layer leads nowhere."""
    key, other = key_of(sample, "buildings"), key_of(sample, "bim")
    assert key != other
    stored = sample.city.catalog.derivation(key).archive
    for wrong in (other, stored, key[:-1], key + "0", "0" * 24):
        assert sample.client.get(f"/tiles3d/buildings/{wrong}/tiles/0.glb").status_code == 404
    assert sample.client.get(f"/terrain/buildings/{key}/x").status_code == 404


@pytest.mark.parametrize(("path", "says"), [("/tiles3d/dem/tileset.json", "3D Tiles"), ("/terrain/buildings/layer.json", "terrain"),
                                            ("/tiles3d/islands/tileset.json", "3D Tiles")])  # fmt: skip
def test_a_layer_has_only_the_tiles_of_its_kind(sample, path, says):
    answer = sample.client.get(path)
    assert answer.status_code == 404
    assert says in answer.json()["detail"]


def test_terrain_templates_lead_to_tiles(sample):
    for document in ("/terrain/dem/layer.json", "/terrain/layer.json"):
        body = sample.client.get(document).json()
        assert body["projection"] == "EPSG:4326"
        assert body["scheme"] == "tms"
        assert body["available"]
        tile = body["tiles"][0].format(z=0, x=1, y=0)
        answer = sample.client.get(document.removesuffix("layer.json") + tile)
        assert answer.status_code == 200, tile
        assert answer.content == sample.terrain_tile


def test_a_damaged_archive_is_the_servers_fault(sample):
    key = sample.show_tileset(b"damage" * 50, shift=-9)
    path = sample.city.lake.path(sample.city.catalog.derivation(key).archive)
    path.write_bytes(path.read_bytes()[:-40])
    answer = sample.client.get(f"/tiles3d/shown/{key}/tiles/0.glb")
    assert answer.status_code == 503
    assert "damaged" in answer.json()["detail"]


def test_a_collected_archive_is_not_found(sample):
    key = sample.show_tileset(b"gone" * 50, shift=-11)
    sample.city.lake.delete(sample.city.catalog.derivation(key).archive)
    assert sample.client.get(f"/tiles3d/shown/{key}/tiles/0.glb").status_code == 404


def test_what_is_not_open_stays_out_of_shared_caches(sample):
    key = sample.show_tileset(b"internal" * 50, name="secret", label="internal")
    answer = sample.client.get(f"/tiles3d/secret/{key}/tiles/0.glb")
    assert answer.headers["cache-control"].startswith("private")
    sample.city.catalog.delete_layer("secret", "test")
    assert sample.client.get(f"/tiles3d/secret/{key}/tiles/0.glb").status_code == 404


def test_archives_are_read_by_many_threads_and_only_some_stay_open(sample):
    bodies = {sample.show_tileset(bytes([i]) * 3000, shift=-20 - i): bytes([i]) * 3000 for i in range(6)}
    archives = Archives(sample.city, size=2)
    stored = {key: sample.city.catalog.derivation(key).archive for key in bodies}

    def read(key):
        return archives.get(stored[key]).read("tiles/0.glb") == bodies[key]

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(read, list(bodies) * 40))
    assert len(archives._open) == 2


def test_the_root_repeats_what_clients_seek_in_the_first_tileset(sample):
    """Schema, groups and statistics of the published tileset, unchanged; read once for a tileset, not for a request."""
    body = sample.client.get("/tiles3d/buildings/tileset.json").json()
    inner = sample.client.get(f"/tiles3d/buildings/{body['root']['content']['uri']}").json()
    for name in ("schema", "groups", "statistics", "metadata"):
        assert body.get(name) == inner.get(name)


def test_a_store_that_fails_is_not_described_to_clients(sample, monkeypatch):
    def fails(*_):
        raise StorageError("reading the tiles: the object store fails.", "It says: error performing GET http://10.0.0.7:9000/city. Check its credentials.")

    monkeypatch.setattr(sample.client.app.state.archives, "of", fails)
    key = sample.show_tileset(b"glb")
    answer = sample.client.get(f"/tiles3d/shown/{key}/tiles/0.glb")
    assert answer.status_code == 503
    assert answer.json()["detail"] == "reading the tiles: the object store fails."
