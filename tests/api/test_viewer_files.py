"""The viewer's own files: packed at build and handed out packed, to those who take that; else as they are."""

from __future__ import annotations

import gzip
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from twin.api import viewer

TEXT = b"export const city = 'Jiangmen';\n" * 200


@pytest.fixture
def client(tmp_path: Path) -> TestClient:
    (tmp_path / "assets").mkdir()
    (tmp_path / "index.html").write_text("<!doctype html>")
    (tmp_path / "assets/x.js").write_bytes(TEXT)
    (tmp_path / "assets/x.js.gz").write_bytes(gzip.compress(TEXT, 1))  # another level than the server's own, so that they can be told apart
    (tmp_path / "assets/y.js").write_bytes(TEXT)
    app = FastAPI()
    viewer.mount(app, tmp_path)
    return TestClient(app)


def raw(client: TestClient, path: str, headers: dict[str, str]) -> tuple[bytes, httpx.Headers, int]:
    with client.stream("GET", path, headers=headers) as answer:
        return b"".join(answer.iter_raw()), answer.headers, answer.status_code


def test_what_is_packed_is_sent_packed(client: TestClient, tmp_path: Path) -> None:
    body, headers, status = raw(client, "/viewer/assets/x.js", {"Accept-Encoding": "gzip"})
    assert (status, body) == (200, (tmp_path / "assets/x.js.gz").read_bytes())
    assert headers["content-encoding"] == "gzip"
    assert headers["content-type"].startswith("text/javascript")
    assert "immutable" in headers["cache-control"]
    assert "Accept-Encoding" in headers["vary"]
    again = raw(client, "/viewer/assets/x.js", {"Accept-Encoding": "gzip", "If-None-Match": headers["etag"]})
    assert again[2] == 304


def test_who_takes_no_gzip_gets_the_file_and_what_is_not_packed_is_packed_then(client: TestClient) -> None:
    body, headers, _ = raw(client, "/viewer/assets/x.js", {"Accept-Encoding": "identity"})
    assert body == TEXT
    assert "content-encoding" not in headers
    body, headers, status = raw(client, "/viewer/assets/x.js", {"Accept-Encoding": "gzip", "Range": "bytes=0-9"})
    assert (status, body) == (206, TEXT[:10])
    body, headers, _ = raw(client, "/viewer/assets/y.js", {"Accept-Encoding": "gzip"})
    assert (headers["content-encoding"], gzip.decompress(body)) == ("gzip", TEXT)
