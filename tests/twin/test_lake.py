"""The lake: content names, atomic appearance, ranges, full disks."""

from __future__ import annotations

import errno
import hashlib
import os
from pathlib import Path

import pytest

from twin import lake as lake_module
from twin.errors import NotFound, StorageError
from twin.lake import Lake


def test_names_are_contents(lake: Lake, tmp_path: Path) -> None:
    key = lake.put_bytes(b"water", ".bin")
    assert key == hashlib.sha256(b"water").hexdigest() + ".bin"
    source = tmp_path / "a"
    source.write_bytes(b"water")
    assert lake.put_file(source, ".bin") == key
    assert source.exists()
    assert lake.put_file(source, ".bin", move=True) == key
    assert not source.exists()
    assert [name for name, _, _ in lake.list()] == [key]
    assert lake.get(key) == b"water"
    assert lake.get_range(key, 1, 3) == b"ate"
    assert not list(lake.temporary.iterdir())


def test_json_is_canonical(lake: Lake) -> None:
    assert lake.put_json({"b": 1, "a": "江门"}) == lake.put_json({"a": "江门", "b": 1})


@pytest.mark.parametrize("key", ["../../etc/passwd", "", "abc", "/etc/passwd", "0" * 64 + "/../x", "0" * 64])
def test_what_is_no_key_is_not_found(lake: Lake, key: str) -> None:
    with pytest.raises(NotFound):
        lake.path(key)


def test_a_full_disk_leaves_nothing(lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(lake_module.os, "fsync", full)
    with pytest.raises(StorageError, match="disk is full"):
        lake.put_bytes(b"much")
    assert not list(lake.list())
    assert not list(lake.temporary.iterdir())


def test_temporary_files_of_the_dead_are_swept(lake: Lake) -> None:
    mine = lake.temporary / f"{os.getpid()}-aa"
    dead = lake.temporary / "999999999-bb"
    mine.write_bytes(b"x")
    dead.write_bytes(b"x")
    assert lake.sweep_temporary() == 1
    assert mine.exists()
    assert not dead.exists()
