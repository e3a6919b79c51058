"""The lake: content names, atomic appearance, ranges, full disks."""

from __future__ import annotations

import errno
import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from twin import scratch
from twin.errors import NotFound, StorageError
from twin.lake import Lake

PROC = Path("/proc/self/stat").exists()


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

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match="disk is full"):
        lake.put_bytes(b"much")
    assert not list(lake.list())
    assert not list(lake.temporary.iterdir())


@pytest.mark.skipif(not PROC, reason="which processes run is read from /proc")
def test_temporary_files_of_the_dead_are_swept(lake: Lake) -> None:
    mine = lake.temporary / scratch.name()
    mine.write_bytes(b"x")
    process, start, rest = mine.name.split("-", 2)
    dead = lake.temporary / f"999999999-{start}-{rest}"
    again = lake.temporary / f"{process}-{int(start) - 1}-{rest}"  # its number came back
    elsewhere = lake.temporary / f"999999999-{start}-00000000-{rest.split('-')[-1]}"  # another container of the same folder
    for path in (dead, elsewhere):
        path.write_bytes(b"x")
    (again / "within").mkdir(parents=True)
    assert lake.sweep_temporary() == 2
    assert sorted(lake.temporary.iterdir()) == sorted([mine, elsewhere])
    assert lake.sweep_temporary(older_than=-1) == 2


@pytest.mark.skipif(not PROC, reason="which processes run is read from /proc")
def test_what_a_killed_reader_left_is_swept(tmp_path: Path) -> None:
    """A folder in the system's place for temporary files: it may hold gigabytes of a cloud's points."""
    code = "import os, time\nfrom twin import scratch\nwith scratch.folder('scans') as place:\n    (place / 'much').write_bytes(b'x')\n    print(place, flush=True)\n    time.sleep(60)\n"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env={**os.environ, "TMPDIR": str(tmp_path)})
    assert process.stdout is not None
    place = Path(process.stdout.readline().strip())
    (tmp_path / "twin-guide.pdf").write_bytes(b"somebody's own")
    assert place.parent == tmp_path
    assert scratch.sweep(tmp_path, scratch.TWIN) == 0
    process.kill()
    process.wait()
    process.stdout.close()
    assert scratch.sweep(tmp_path, scratch.TWIN) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["twin-guide.pdf"]


def test_a_place_where_no_folder_can_be_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageError, match=f"Opening the city's folder {tmp_path}/file/city: Not a directory"):
        Lake(tmp_path / "file" / "city" / "lake")
