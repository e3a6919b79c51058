"""twin.archive against Python's own ZIP reader, and against damage."""

from __future__ import annotations

import gzip
import hashlib
import os
import zipfile
from pathlib import Path

import pytest

from twin import hashing
from twin.archive import INDEX, Archive, ArchiveWriter, pack
from twin.errors import BadTileset, NotFound, StorageError

FILES = {
    "tileset.json": b'{"asset":{"version":"1.1"}}' * 20,
    "15/3/4.glb": bytes(range(256)) * 50,
    "随机.bin": os.urandom(5000),
    "empty": b"",
}


def write(path: Path, files: dict[str, bytes] = FILES) -> Path:
    with ArchiveWriter(path) as archive:
        for name, data in files.items():
            archive.add(name, data)
    return path


def test_python_zipfile_reads_every_entry_and_the_index_is_last_and_stored(tmp_path: Path) -> None:
    with zipfile.ZipFile(write(tmp_path / "a.3tz")) as file:
        assert file.testzip() is None
        assert {info.filename: file.read(info) for info in file.infolist()[:-1]} == FILES
        last = file.infolist()[-1]
        assert (last.filename, last.compress_type, last.comment) == (INDEX, zipfile.ZIP_STORED, b"")
        kinds = {info.filename: info.compress_type for info in file.infolist()}
    assert kinds["15/3/4.glb"] == zipfile.ZIP_DEFLATED
    assert kinds["随机.bin"] == zipfile.ZIP_STORED


def test_own_reader(tmp_path: Path) -> None:
    with Archive(write(tmp_path / "a.3tz")) as archive:
        assert archive.names() == list(FILES)
        for name, data in FILES.items():
            assert archive.read("/" + name) == data
            if archive.entry(name).deflated:
                assert gzip.decompress(archive.gzip_body(name)) == data
        with pytest.raises(NotFound):
            archive.read("nothing")
        with pytest.raises(NotFound):
            archive.gzip_body("随机.bin")


def test_same_entries_same_bytes(tmp_path: Path) -> None:
    assert write(tmp_path / "a.3tz").read_bytes() == write(tmp_path / "b.3tz").read_bytes()


@pytest.mark.parametrize("size", [100, 3_000_000])
def test_what_is_written_is_hashed_on_the_way(tmp_path: Path, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The digest that the archive's name in the lake is made of is that of the file, which is not read for it."""
    path = write(tmp_path / "a.3tz", FILES | {f"{number}.bin": os.urandom(size) for number in range(3)})
    data = path.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(hashing.hashlib, "file_digest", None)
        assert hashing.digest(path) == hashlib.sha256(data).hexdigest()
    path.write_bytes(data + b"!")
    assert hashing.digest(path) == hashlib.sha256(data + b"!").hexdigest(), "a file that has changed since is read"


def test_index_order_follows_the_specification(tmp_path: Path) -> None:
    """The specification's comparison in plain Python, against our sorted rows; every offset opens a local header."""
    path = write(tmp_path / "a.3tz", {f"t/{i}.bin": b"x" * i for i in range(500)})
    data = path.read_bytes()
    with zipfile.ZipFile(path) as file:
        index = file.read(INDEX)
        offsets = {info.filename: info.header_offset for info in file.infolist()}
    rows = [(index[i : i + 16], int.from_bytes(index[i + 16 : i + 24], "little")) for i in range(0, len(index), 24)]
    keys = [(int.from_bytes(h[:8], "little"), int.from_bytes(h[8:], "little")) for h, _ in rows]
    assert keys == sorted(keys)
    where = dict(rows)
    for name, offset in offsets.items():
        if name != INDEX:
            assert where[hashlib.md5(name.encode()).digest()] == offset
            assert data[offset : offset + 4] == b"PK\3\4"


def test_zip64_count(tmp_path: Path) -> None:
    files = {f"{i}": b"" for i in range(70_000)}
    path = write(tmp_path / "many.3tz", files)
    with zipfile.ZipFile(path) as file:
        assert len(file.infolist()) == 70_001
    with Archive(path) as archive:
        assert archive.read("69999") == b""
        assert len(archive.names()) == 70_000


def test_zip64_offsets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Offsets past 4 GB: the limit is lowered instead of writing 4 GB; readers take the ZIP64 fields all the same."""
    import twin.archive as module

    path = tmp_path / "far.3tz"
    with ArchiveWriter(path) as archive:
        archive._write(b"")
        archive.add("a", b"a" * 100)
        archive._file.seek(5 << 30)  # a hole: the file system stores nothing for it
        archive._at = 5 << 30
        archive.add("b", b"b" * 100)
    assert module.LEVEL
    with zipfile.ZipFile(path) as file:
        assert file.read("b") == b"b" * 100
    with Archive(path) as archive2:
        assert archive2.read("a") == b"a" * 100
        assert archive2.read("b") == b"b" * 100
        assert archive2.entry("b").offset > 5 << 30


@pytest.mark.parametrize("name", ["", "a/../b", "x.3tz/y", INDEX])
def test_forbidden_names(tmp_path: Path, name: str) -> None:
    with pytest.raises(BadTileset), ArchiveWriter(tmp_path / "a.3tz") as archive:
        archive.add(name, b"1")
    assert not (tmp_path / "a.3tz").exists()


def test_a_name_twice_and_nothing_left_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(BadTileset):
        write(tmp_path / "a.3tz", {"a": b"1", "/a": b"2"})
    assert not list(tmp_path.iterdir())


def test_disk_full(tmp_path: Path) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("/dev/full is a Linux device")
    writer = ArchiveWriter(full)
    writer.__enter__()
    with pytest.raises(StorageError, match="disk is full"):
        writer.add("large", os.urandom(3 << 20))
    writer._file = None
    writer.path = tmp_path / "none"


def test_damage_is_named_never_a_traceback(tmp_path: Path) -> None:
    good = write(tmp_path / "a.3tz").read_bytes()
    bad = tmp_path / "bad.3tz"
    for cut in (0, 10, len(good) // 2, len(good) - 30, len(good) - 1):
        bad.write_bytes(good[:cut])
        with pytest.raises(BadTileset):
            Archive(bad)
    flipped = bytearray(good)
    at = good.find(b"15/3/4.glb") + 20
    flipped[at] ^= 0xFF
    bad.write_bytes(bytes(flipped))
    with Archive(bad) as archive, pytest.raises(BadTileset):
        archive.read("15/3/4.glb")
    plain = tmp_path / "plain.zip"
    with zipfile.ZipFile(plain, "w") as file:
        file.writestr("tileset.json", "{}")
    with pytest.raises(BadTileset, match="plain ZIP"):
        Archive(plain)


def test_copied_entries_are_the_bytes_of_written_ones(tmp_path: Path) -> None:
    """Some entries copied, one written anew in between: the archive is the one that writing them all gives."""
    with ArchiveWriter(tmp_path / "a.3tz") as archive:
        checks = {}
        for name, data in FILES.items():
            packed = pack(data)
            checks[name] = packed.check
            archive.add_packed(name, packed)
    changed = FILES | {"15/3/4.glb": b"new" * 999}
    with Archive(tmp_path / "a.3tz") as source, ArchiveWriter(tmp_path / "b.3tz") as archive:
        archive.copy(source, {"tileset.json": checks["tileset.json"]})
        archive.add("15/3/4.glb", changed["15/3/4.glb"])
        archive.copy(source, {name: checks[name] for name in ("随机.bin", "empty")})
    assert (tmp_path / "b.3tz").read_bytes() == write(tmp_path / "c.3tz", changed).read_bytes()


def test_copying_from_a_damaged_archive_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.3tz")
    check = {name: pack(data).check for name, data in FILES.items()}
    with Archive(path) as archive:
        middle = archive.entry("15/3/4.glb")
    raw = bytearray(path.read_bytes())
    raw[middle.offset + middle.stored_size // 2] ^= 1
    path.write_bytes(raw)
    for wanted, error in ((check, BadTileset), ({"tileset.json": 1}, BadTileset), ({"gone": 0}, NotFound)):
        with pytest.raises(error), Archive(path) as source, ArchiveWriter(tmp_path / "b.3tz") as archive:
            archive.copy(source, wanted)
        assert not (tmp_path / "b.3tz").exists()
    with Archive(path) as source, ArchiveWriter(tmp_path / "b.3tz") as archive:
        archive.copy(source, {name: check[name] for name in ("tileset.json", "empty")})
    with Archive(tmp_path / "b.3tz") as archive:
        assert archive.read("tileset.json") == FILES["tileset.json"]


def test_flipped_bytes_never_give_other_bytes(tmp_path: Path) -> None:
    """One byte of an archive changed, anywhere: each file is refused, or it is what was written."""
    import random

    files = {f"12/{i}/7.glb": bytes([i]) * 400 + os.urandom(40) for i in range(12)}
    good = write(tmp_path / "a.3tz", files).read_bytes()
    dice, bad, refused = random.Random(5), tmp_path / "bad.3tz", 0
    for _ in range(600):
        broken = bytearray(good)
        broken[dice.randrange(len(good))] ^= 1 << dice.randrange(8)
        bad.write_bytes(bytes(broken))
        try:
            with Archive(bad) as archive:
                for name, data in files.items():
                    try:
                        assert archive.read(name) == data
                    except (BadTileset, NotFound):
                        refused += 1
        except BadTileset:
            refused += 1
    assert refused > 300


def test_every_cut_is_noticed(tmp_path: Path) -> None:
    good = write(tmp_path / "a.3tz").read_bytes()
    bad = tmp_path / "cut.3tz"
    for length in range(0, len(good), 7):
        bad.write_bytes(good[:length])
        with pytest.raises(BadTileset):
            Archive(bad)
