"""Reading and checking a .3tz package (3D Tiles Archive Format 1.3): a ZIP whose last entry is an index.

The index ``@3dtilesIndex1@`` holds 24 bytes an entry (MD5 of the path, offset of its local file header),
sorted by the hash read as two little-endian 64-bit numbers. Clients that fetch byte ranges trust it
alone, so it is checked against the ZIP directory entry by entry. ZIP64 is read by the standard library.
"""

from __future__ import annotations

import hashlib
import io
import struct
import zipfile
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from twin.zips import UNREADABLE

from .archive_headers import check_headers
from .issues import Where
from .source import UNPACKED_LIMIT

INDEX_NAME = "@3dtilesIndex1@"
_ENTRY = struct.Struct("<16sQ")
_ALLOWED_METHODS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, 93}  # 93: Zstandard


Paths = Path | Sequence[Path]
"""An archive, or the archives of a tileset that was split: the one with its entry first."""


class ArchiveSource:
    """The entries of opened .3tz files by name."""

    def __init__(self, archives: Sequence[zipfile.ZipFile], where: Where) -> None:
        self._archives = archives
        self._where = where
        self._holder = {name: archive for archive in reversed(archives) for name in archive.namelist()}

    def names(self) -> list[str]:
        """All entries but the indices."""
        return [name for archive in self._archives for name in archive.namelist() if name != INDEX_NAME]

    def close(self) -> None:
        """Close the files; the entries cannot be read any more."""
        for archive in self._archives:
            archive.close()

    def read(self, path: str) -> bytes | None:
        """The bytes at ``path``, or None."""
        archive = self._holder.get(path)
        if archive is None:
            return None
        info = archive.getinfo(path)
        at = self._where / path
        if info.file_size > UNPACKED_LIMIT:
            at.error("ARCHIVE_ENTRY_INVALID", f"unpacks to {info.file_size} bytes, more than 1 GiB")
            return None
        try:
            return archive.read(info)
        except UNREADABLE as error:
            at.error("ARCHIVE_ENTRY_INVALID", f"cannot be read: {error}")
            return None


def first_of(paths: Paths) -> Path:
    """The archive with the entry."""
    return paths if isinstance(paths, Path) else paths[0]


def open_archive(data: bytes | Paths, where: Where, entry: str = "tileset.json") -> ArchiveSource | None:
    """Open and check a .3tz given by path or as bytes, or several; None, with findings, when one is no archive at all.

    ``entry``: what must be at the root of the first (terrain archives have a layer.json there; "": anything).
    """
    opened: list[zipfile.ZipFile] = []
    for one in [data] if isinstance(data, bytes | Path) else data:
        try:
            archive = zipfile.ZipFile(io.BytesIO(one) if isinstance(one, bytes) else one)
        except UNREADABLE as error:
            where.error("ARCHIVE_INVALID", f"is not a ZIP archive that can be read: {error}")
            for archive in opened:
                archive.close()
            return None
        _check_directory(archive, where, entry if not opened else "")
        opened.append(archive)
    source = ArchiveSource(opened, where)
    if len(opened) > 1 and len(set(source.names())) < len(source.names()):
        where.error("ARCHIVE_ENTRY_INVALID", "several archives of the tileset hold the same entry")
    return source


def _check_directory(archive: zipfile.ZipFile, where: Where, entry: str) -> None:
    infos = archive.infolist()
    names = [info.filename for info in infos]
    if not _ends_with_its_record(archive):
        where.error("ARCHIVE_INVALID", "there are bytes behind the end of the archive; readers that look for its end there find none")
    if entry and entry not in names:
        where.error("ARCHIVE_NO_TILESET", f"has no {entry} at its root")
    for name in sorted({n for n in names if names.count(n) > 1} if len(set(names)) < len(names) else ()):
        where.error("ARCHIVE_ENTRY_INVALID", f"has the entry {name!r} twice")
    for info in infos:
        at = where / info.filename
        if info.compress_type not in _ALLOWED_METHODS:
            at.error("ARCHIVE_ENTRY_INVALID", f"uses ZIP method {info.compress_type}; only 0, 8, 93 are allowed")
        if not info.filename:
            at.error("ARCHIVE_ENTRY_INVALID", "an entry has no name")
        if info.flag_bits & 1:
            at.error("ARCHIVE_ENTRY_INVALID", "is encrypted")
        if info.filename.startswith("/") or ".." in info.filename.split("/"):
            at.error("RESOURCE_OUTSIDE", "the entry's name climbs out of the archive")
    check_headers(archive, where)
    if INDEX_NAME not in names:
        where.error("ARCHIVE_INDEX_INVALID", f"has no {INDEX_NAME} entry")
    else:
        if names[-1] != INDEX_NAME:
            where.error("ARCHIVE_INDEX_INVALID", f"{INDEX_NAME} is not the last entry")
        _check_index(archive, infos, where / INDEX_NAME)


def _ends_with_its_record(archive: zipfile.ZipFile) -> bool:
    """Whether the end of central directory record (22 bytes and a comment) is the last of the file; Python's reader looks for it farther up too."""
    file = archive.fp
    if file is None:
        return False
    end = file.seek(0, io.SEEK_END)
    file.seek(max(0, end - 22 - len(archive.comment)))
    return file.read(4) == b"PK\x05\x06"


def _check_index(archive: zipfile.ZipFile, infos: list[zipfile.ZipInfo], where: Where) -> None:
    if archive.getinfo(INDEX_NAME).compress_type != zipfile.ZIP_STORED:
        where.error("ARCHIVE_INDEX_INVALID", "the index is compressed; it must be stored")
    try:
        raw = archive.read(INDEX_NAME)
    except UNREADABLE as error:
        where.error("ARCHIVE_INDEX_INVALID", f"the index cannot be read: {error}")
        return
    if len(raw) % _ENTRY.size:
        where.error("ARCHIVE_INDEX_INVALID", f"has {len(raw)} bytes, not a multiple of {_ENTRY.size}")
        return
    entries = list(_ENTRY.iter_unpack(raw))
    order = [struct.unpack("<QQ", digest) for digest, _ in entries]
    if any(a >= b for a, b in pairwise(order)):
        where.error("ARCHIVE_INDEX_INVALID", "the index is not sorted by hash, or has a hash twice")
    offsets = dict(entries)
    for info in infos:
        if info.filename in (INDEX_NAME, "") or info.is_dir():
            continue
        digest = hashlib.md5(info.filename.encode(), usedforsecurity=False).digest()
        found = offsets.pop(digest, None)
        if found is None:
            where.error("ARCHIVE_INDEX_INVALID", f"{info.filename!r} is missing from the index")
        elif found != info.header_offset:
            where.error(
                "ARCHIVE_INDEX_INVALID",
                f"the index places {info.filename!r} at byte {found}, the directory at {info.header_offset}",
            )
    if offsets:
        where.error("ARCHIVE_INDEX_INVALID", f"{len(offsets)} index entries belong to no file of the archive")
