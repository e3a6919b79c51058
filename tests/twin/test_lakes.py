"""One contract for every lake: a local folder, and object stores (in memory, on disk, S3 as moto serves it)."""

from __future__ import annotations

import hashlib
import os
import pickle
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from twin.archive import Archive, ArchiveWriter
from twin.errors import BadOption, NotFound, StorageError
from twin.lake import Lake

obstore = pytest.importorskip("obstore")
from obstore.store import LocalStore, MemoryStore  # noqa: E402

from twin import objects  # noqa: E402
from twin.objects import ObjectLake  # noqa: E402


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    """A small S3-compatible server with an empty bucket; the AWS_* variables point to it."""
    server_module = pytest.importorskip("moto.server")
    import boto3

    server = server_module.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"AWS_ACCESS_KEY_ID": "t", "AWS_SECRET_ACCESS_KEY": "t", "AWS_REGION": "us-east-1", "AWS_DEFAULT_REGION": "us-east-1",
                            "AWS_ENDPOINT": url, "AWS_ENDPOINT_URL": url, "AWS_ALLOW_HTTP": "true"}.items():  # fmt: skip
            patch.setenv(name, value)
        boto3.client("s3", endpoint_url=url).create_bucket(Bucket="city")
        yield url
    server.stop()


@pytest.fixture(params=["local", "memory", "folder", "s3"])
def lake(request: pytest.FixtureRequest, tmp_path: Path) -> Lake:
    match request.param:
        case "memory":
            return ObjectLake("memory://", tmp_path / "cache", store=MemoryStore())
        case "folder":
            return ObjectLake((tmp_path / "store").as_uri(), tmp_path / "cache", store=LocalStore(tmp_path / "store", mkdir=True))
        case "s3":
            request.getfixturevalue("s3")
            return ObjectLake(f"s3://city/{tmp_path.name}", tmp_path / "cache")
        case _:
            return Lake(tmp_path / "lake")


def forget(lake: Lake) -> Lake:
    """The same lake as another machine sees it: nothing is cached."""
    if isinstance(lake, ObjectLake):
        for key, _, _ in list(Lake.list(lake)):
            lake._place(key).unlink()
    return lake


def test_bytes_come_back_under_the_name_of_their_content(lake: Lake, tmp_path: Path) -> None:
    key = lake.put_bytes("江门".encode(), ".bin")
    assert key == hashlib.sha256("江门".encode()).hexdigest() + ".bin"
    assert lake.put_bytes("江门".encode(), ".bin") == key
    assert forget(lake).get(key) == "江门".encode()
    assert lake.path(key).read_bytes() == "江门".encode()
    assert lake.path(key).suffix == ".bin"
    assert lake.exists(key)
    assert lake.size(key) == 6
    assert lake.get_json(lake.put_json({"a": [1, None]})) == {"a": [1, None]}
    assert not list(lake.temporary.iterdir())


def test_files_are_copied_or_moved(lake: Lake, tmp_path: Path) -> None:
    data = os.urandom(300_000)
    source = tmp_path / "a.tif"
    source.write_bytes(data)
    key = lake.put_file(source, ".cog")
    assert source.exists()
    with lake.scratch(".cog") as scratch:
        scratch.write_bytes(data)
        assert lake.put_file(scratch, ".cog", move=True) == key
        assert not scratch.exists() or isinstance(lake, ObjectLake)
    assert forget(lake).path(key).read_bytes() == data


@pytest.mark.parametrize("cached", [False, True])
def test_ranges(lake: Lake, cached: bool) -> None:
    data = os.urandom(200_000)
    key = lake.put_bytes(data, ".3tz")
    if cached:
        lake.path(key)
    else:
        forget(lake)
    for start, length in ((0, 10), (5, 70_000), (199_990, 10), (199_990, 100), (0, 0), (300_000, 5)):
        assert lake.get_range(key, start, length) == data[start : start + length]
    ranges = lake.ranges(key)
    assert ranges.size == len(data)
    for start, length in ((199_000, 1000), (0, 1), (1, 100), (60_000, 90_000), (0, 200_000)):
        assert ranges.read(start, length) == data[start : start + length]
    ranges.close()


def test_list_and_delete(lake: Lake) -> None:
    keys = sorted(lake.put_bytes(bytes([i]) * (i + 1), ".x") for i in range(5))
    listed = list(lake.list())
    assert [key for key, _, _ in listed] == keys
    assert {size for _, size, _ in listed} == {1, 2, 3, 4, 5}
    import time

    assert all(abs(time.time() - at) < 120 for _, _, at in listed)
    lake.delete(keys[0])
    lake.delete(keys[0])
    assert not lake.exists(keys[0])
    assert [key for key, _, _ in lake.list()] == keys[1:]
    for read in (lake.path, lake.get, lake.size, lake.ranges, lambda key: lake.get_range(key, 0, 1)):
        with pytest.raises(NotFound):
            read(keys[0])


@pytest.mark.parametrize("key", ["../../etc/passwd", "", "abc", "/etc/passwd", "0" * 64 + "/../x"])
def test_what_is_no_key_leads_nowhere(lake: Lake, key: str) -> None:
    for read in (lake.path, lake.get, lake.size, lake.ranges):
        with pytest.raises(NotFound):
            read(key)


def test_many_threads_and_another_process_see_the_same(lake: Lake) -> None:
    keys = [lake.put_bytes(bytes([i]) * 5000, ".bin") for i in range(8)]
    forget(lake)
    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(lambda i: lake.get(keys[i % 8]) == bytes([i % 8]) * 5000, range(64)))
        assert len(set(pool.map(lambda _: lake.put_bytes(b"same" * 1000), range(16)))) == 1
    assert not list(lake.temporary.iterdir())
    if "memory" not in getattr(lake, "address", ""):
        again = pickle.loads(pickle.dumps(lake)) if getattr(lake, "_given", None) is None else lake
        assert again.get(keys[3]) == bytes([3]) * 5000


def test_tiles_of_an_archive_are_read_without_the_archive(lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bodies = {f"15/{i}/0.glb": os.urandom(2000) for i in range(200)}
    with lake.scratch(".3tz") as out:
        with ArchiveWriter(out) as writer:
            for name, data in bodies.items():
                writer.add(name, data)
        whole = out.stat().st_size
        key = lake.put_file(out, ".3tz", move=True)
    forget(lake)
    asked: list[int] = []
    if isinstance(lake, ObjectLake):
        inner = lake._range
        monkeypatch.setattr(lake, "_range", lambda key, start, length: asked.append(length) or inner(key, start, length))
    with Archive(lake.ranges(key)) as archive:
        opened = len(asked)
        assert archive.read("15/7/0.glb") == bodies["15/7/0.glb"]
        assert len(asked) - opened <= 1, "one request a tile"
        assert archive.read("15/199/0.glb") == bodies["15/199/0.glb"]
        with pytest.raises(NotFound):
            archive.read("15/200/0.glb")
        assert archive.names() == list(bodies)
    if asked:
        assert sum(asked) < whole
        assert not list(Lake.list(lake)), "nothing was downloaded"


# --- object stores only ----------------------------------------------------------------------------------------------


def remote(tmp_path: Path, limit: int = 1 << 30) -> ObjectLake:
    return ObjectLake("memory://", tmp_path / "cache", limit, MemoryStore())


def test_the_cache_is_bounded_and_keeps_what_is_in_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lake = remote(tmp_path, 10_000)
    keys = [lake.put_bytes(bytes([i]) * 4000, ".bin") for i in range(6)]
    for key in keys:
        lake.path(key)
    assert lake.cached() == 24_000, "what was asked for in the last hours stays"
    monkeypatch.setattr(objects, "HOLD", -1.0)
    for age, key in enumerate(keys):
        os.utime(lake._place(key), (1000 + age, 1000 + age))
    newest = lake.put_bytes(b"n" * 4000, ".bin")
    lake.path(newest)
    assert lake.cached() <= 10_000
    assert lake._place(newest).exists()
    assert not lake._place(keys[0]).exists(), "the least recently used goes first"
    assert lake.get(keys[0]) == bytes(4000), "and comes back when it is asked for"


def test_changed_bytes_in_the_store_are_noticed(tmp_path: Path) -> None:
    lake = remote(tmp_path)
    key = lake.put_bytes(b"river" * 100, ".bin")
    obstore.put(lake._store, f"{key[:2]}/{key}", b"flood" * 100)
    with pytest.raises(StorageError, match="not those that were stored"):
        lake.path(key)
    assert not list(lake.temporary.iterdir())
    assert not lake._place(key).exists()


def test_a_store_that_fails_is_a_storage_error_and_publishes_nothing(tmp_path: Path, s3: str) -> None:
    gone = ObjectLake("s3://no-such-bucket/x", tmp_path / "cache")
    for act in (lambda: gone.put_bytes(b"x"), lambda: list(gone.list())):
        with pytest.raises(StorageError):
            act()
    source = tmp_path / "a"
    source.write_bytes(b"x")
    with pytest.raises(StorageError):
        gone.put_file(source, move=True)
    assert source.exists()
    with pytest.raises(BadOption, match="s3://"):
        ObjectLake("nonsense", tmp_path / "cache")


def test_a_full_disk_while_fetching_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lake = remote(tmp_path)
    key = lake.put_bytes(b"much" * 100, ".bin")
    real = Path.open

    def full(self: Path, mode: str = "r", *args: Any, **more: Any) -> Any:
        if "w" in mode:
            raise OSError(28, "No space left on device")
        return real(self, mode, *args, **more)

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(StorageError, match="disk is full"):
        lake.path(key)
    monkeypatch.undo()
    assert not list(lake.temporary.iterdir())


def test_tiles_are_asked_for_less_often_than_jobs_ask_and_clients_are_not_told_where_the_store_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that is overloaded: whoever waits for a tile is told so soon."""
    asked: list[str] = []

    class Busy(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            asked.append(self.path)
            self.send_response(503)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Busy)
    Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    for name, value in {"ACCESS_KEY_ID": "t", "SECRET_ACCESS_KEY": "t", "REGION": "us-east-1", "ENDPOINT": url, "ENDPOINT_URL": url, "ALLOW_HTTP": "true"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    lake = ObjectLake("s3://city/x", tmp_path / "cache")
    with pytest.raises(StorageError) as caught:
        lake.ranges("0" * 64 + ".3tz")
    assert 1 < len(asked) <= 4
    assert "127.0.0.1" not in caught.value.message, "the API shows the message alone"
    assert "127.0.0.1" in caught.value.remedy
    server.shutdown()
