"""Local headers of a .3tz that say something else than its ZIP directory, and extra fields of all kinds: read rightly, or named."""

from __future__ import annotations

import hashlib
import json
import random
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tiling.check import Report, Where, check_source, check_tileset
from tiling.check.archive import open_archive
from twin.archive import INDEX, Archive

A, TILESET = "a.glb", "tileset.json"
Edit = Callable[[bytearray], Any]


def field(kind: int, data: bytes, size: int | None = None) -> bytes:
    """An extra field, which may promise more than it has."""
    return struct.pack("<2H", kind, len(data) if size is None else size) + data


def archive(path: Path, build: Any, *, local: bytes = b"", central: bytes = b"", edit: Edit = lambda header: None) -> Path:
    """The archive of a tileset with one content, whose file is deflated and comes first.

    `local`, `central`: extra fields of that file's two headers. `edit`: changes its local header, 30 bytes and the name.
    """
    body, directory, offsets = b"", b"", {}
    for name in (A, TILESET, INDEX):
        if name == INDEX:
            digests = sorted((*struct.unpack("<2Q", hashlib.md5(one.encode()).digest()), offset) for one, offset in offsets.items())
            data = b"".join(struct.pack("<3Q", *row) for row in digests)
        else:
            data = build.content() if name == A else json.dumps(build.tileset()).encode()
        offsets[name] = len(body)
        first = name == A
        packed = zlib.compress(data, 6)[2:-4] if first else data
        about = struct.pack("<5H3IH", 20, 0, 8 if first else 0, 0, 0x21, zlib.crc32(data), len(packed), len(data), len(name))
        header = bytearray(b"PK\3\4" + about + struct.pack("<H", len(local) * first) + name.encode())
        if first:
            edit(header)
        body += bytes(header) + local * first + packed
        directory += b"PK\1\2\x14\0" + about + struct.pack("<4H2I", len(central) * first, 0, 0, 0, 0, offsets[name]) + name.encode() + central * first
    path.write_bytes(body + directory + struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 3, 3, len(directory), len(body), 0))
    return path


def at(offset: int, kind: str, change: Callable[[int], int]) -> Edit:
    """Change a number of the local header."""

    def edit(header: bytearray) -> None:
        struct.pack_into(kind, header, offset, change(struct.unpack_from(kind, header, offset)[0]))

    return edit


def _wide(header: bytearray) -> None:
    struct.pack_into("<2I", header, 18, 0xFFFFFFFF, 0xFFFFFFFF)


UNKNOWN = field(0x4242, b"what nobody knows") + field(0x5455, b"\1\0\0\0\0") + field(0xCAFE, b"")


@pytest.mark.parametrize("fields", [
    {}, {"local": UNKNOWN}, {"central": UNKNOWN}, {"local": UNKNOWN, "central": field(0xFEED, bytes(60_000))}, {"local": field(0x4242, bytes(65_000))},
    {"local": bytes(13)}, {"local": field(0x7075, b"\1" + bytes(4) + b"of another header")}, {"local": field(0x0001, bytes(16))},
])  # fmt: skip
def test_extra_fields_that_nobody_knows_are_passed_over(build: Any, tmp_path: Path, fields: dict[str, bytes]) -> None:
    """Padding by zeros too, a Unicode name for another name (as a tool leaves it that renames), a ZIP64 field where no size asks for it."""
    path = archive(tmp_path / "a.3tz", build, **fields)
    report = check_tileset(path)
    assert (report.findings, report.vertices) == ([], 4)
    with Archive(path) as file:
        assert file.read(A) == build.content()


def test_sizes_in_a_zip64_field(build: Any, tmp_path: Path) -> None:
    size, packed = len(build.content()), len(zlib.compress(build.content(), 6)) - 6
    report = check_tileset(archive(tmp_path / "a.3tz", build, local=field(0x0001, struct.pack("<2Q", size, packed)), edit=_wide))
    assert (report.findings, report.vertices) == ([], 4)
    for spare in (field(0x0001, struct.pack("<2Q", size + 1, packed)), field(0x0001, struct.pack("<Q", size)), b""):
        report = check_tileset(archive(tmp_path / "a.3tz", build, local=spare, edit=_wide))
        assert {finding.code for finding in report.findings} == {"ARCHIVE_ENTRY_INVALID"} and A in report.errors[0].path


@pytest.mark.parametrize(("named", "fields"), [
    ("0x4242", {"local": field(0x4242, b"short", 50)}), ("0x0001", {"local": UNKNOWN + field(0x0001, b"", 16)}), ("4242", {"central": field(0x4242, b"short", 50)}),
    ("too long", {"edit": at(28, "<H", lambda size: size + 5000)}), ("local header", {"edit": at(0, "<I", lambda mark: mark + 1)}),
    ("method", {"edit": at(8, "<H", lambda method: 0)}), ("CRC-32", {"edit": at(14, "<I", lambda crc: crc ^ 1)}), ("packed size", {"edit": at(18, "<I", lambda size: size - 1)}),
    ("packed size", {"edit": at(18, "<I", lambda size: 0)}), ("its size", {"edit": at(22, "<I", lambda size: 0)}), ("names it", {"edit": at(30, "<B", lambda letter: letter + 1)}),
])  # fmt: skip
def test_a_header_that_would_be_misread_is_named(build: Any, tmp_path: Path, named: str, fields: dict[str, Any]) -> None:
    report = check_tileset(archive(tmp_path / "a.3tz", build, **fields))
    assert any(named in finding.message and finding.code in ("ARCHIVE_ENTRY_INVALID", "ARCHIVE_INVALID") for finding in report.errors), report.findings


def test_lengths_that_are_too_short_are_named(build: Any, tmp_path: Path) -> None:
    """What is left of the extra fields is read as the beginning of the content, whose checksum is another one then."""
    report = check_tileset(archive(tmp_path / "a.3tz", build, local=UNKNOWN, edit=at(28, "<H", lambda size: size - 4)))
    assert "ARCHIVE_ENTRY_INVALID" in report.codes() and A in report.errors[0].path


def test_a_second_name_and_loose_bytes_are_said(build: Any, tmp_path: Path) -> None:
    other = field(0x7075, b"\1" + zlib.crc32(A.encode()).to_bytes(4, "little") + b"b.glb")
    for fields, code in (({"local": other}, "ARCHIVE_ENTRY_NAMES"), ({"central": other}, "ARCHIVE_ENTRY_NAMES"), ({"local": UNKNOWN + b"\1\2"}, "ARCHIVE_EXTRA_FIELD")):
        report = check_tileset(archive(tmp_path / "a.3tz", build, **fields))
        assert (report.codes(), report.codes("warning"), report.vertices) == (set(), {code}, 4)


def test_no_damage_to_headers_makes_it_fall_over(build: Any, tmp_path: Path) -> None:
    """Offsets before the file and names of nothing, too: a finding or unnoticed, never an exception, and never another content."""
    raw = archive(tmp_path / "a.3tz", build, local=UNKNOWN, central=field(1, bytes(24))).read_bytes()
    rng, directory = random.Random(3), raw.index(b"PK\1\2")
    for _ in range(3000):
        data = bytearray(raw)
        for _ in range(rng.choice([1, 1, 2, 4])):
            data[rng.choice([rng.randrange(70), rng.randrange(directory, len(data))])] = rng.choice([0, 255, rng.randrange(256)])
        report = Report()
        source = open_archive(bytes(data), Where(report, "a.3tz"))
        if source is not None and check_source(source, report=report).ok:
            assert report.vertices == 4
