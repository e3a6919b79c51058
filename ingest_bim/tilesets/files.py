"""The files of a tileset that others made: below a folder, or in an archive (.3tz, .zip), or in a .3tz within either (MAXAR_content_3tz)."""

from __future__ import annotations

import io
import os
import posixpath
import struct
import unicodedata
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, Self
from urllib.parse import unquote

import pyarrow as pa

from twin import zips
from twin.archive import INDEX
from twin.errors import UnreadableSource

MAX_FILE = 1 << 30
#: Times its own size that an archive may unpack to.
MAX_RATIO = 200
ZSTANDARD = 93
"""APPNOTE.TXT 4.4.5."""
ROOT = "tileset.json"
SYSTEM = "__MACOSX"


def is_packed(source: Path) -> bool:
    """Whether a tileset would lie in an archive."""
    return source.suffix.lower() in (".3tz", ".zip")


def packs_one(source: Path) -> bool:
    """Whether an archive holds a tileset."""
    try:
        with zipfile.ZipFile(source) as archive:
            return any(posixpath.basename(name) == ROOT and not name.startswith(SYSTEM) for name in archive.namelist())
    except zips.UNREADABLE:
        return False


def root_of(names: Iterable[str], where: str) -> str | None:
    """The root among an archive's names: the `tileset.json` that lies highest; None without any.

    Raises:
        UnreadableSource: several lie equally high.
    """
    found = sorted((name for name in names if posixpath.basename(name) == ROOT and not name.startswith(SYSTEM)), key=lambda name: (name.count("/"), name))
    alike = [name for name in found if name.count("/") == found[0].count("/")]
    if len(alike) > 1:
        raise UnreadableSource(f"{where} holds {len(alike)} tilesets: {', '.join(alike[:5])}.", "Pack each one alone, or unpack it and ingest them one by one.")
    return found[0] if found else None


def _alike(names: Iterable[str]) -> dict[str, str]:
    """Names by what they are without escapes and capitals; of several the first."""
    found: dict[str, str] = {}
    for name in names:
        found.setdefault(_plain(name), name)
    return found


def _plain(name: str) -> str:
    return unicodedata.normalize("NFC", unquote(name)).casefold()


class Folder:
    """Files below a folder."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        self.start = f"{self.root}{os.sep}".replace(os.sep * 2, os.sep)
        self.listed: dict[str, dict[str, str]] = {}

    def close(self) -> None:
        """Nothing is held."""

    def get(self, name: str) -> bytes | None:
        """The bytes of a file, None where there is none (or it is a link that leads out)."""
        path = "" if "\0" in name else os.path.realpath(self.start + name)
        if not path.startswith(self.start) or not os.path.isfile(path):  # noqa: PTH113  a tileset has a million files: pathlib takes four times as long
            return None
        if os.stat(path).st_size > MAX_FILE:  # noqa: PTH116
            raise UnreadableSource(f"{name} has more than {MAX_FILE >> 30} GiB.", "Split it into smaller tiles.")
        with open(path, "rb") as file:  # noqa: PTH123
            return file.read()

    def like(self, name: str) -> str | None:
        """The file whose name differs by escapes or capitals alone: folder by folder, so that what else lies beside a tileset costs nothing."""
        found = ""
        for part in name.split("/"):
            if found not in self.listed:
                try:
                    self.listed[found] = _alike(os.listdir(self.start + found))
                except OSError:  # a file, or a folder that may not be looked into
                    self.listed[found] = {}
            if (own := self.listed[found].get(_plain(part))) is None:
                return None
            found = f"{found}/{own}".lstrip("/")
        return found

    def below(self, folder: str) -> Iterator[str]:
        """Names of all files below a folder."""
        start = (self.root / folder).resolve()
        if start.is_relative_to(self.root) and start.is_dir():
            for path in sorted(start.rglob("*")):
                if path.is_file():
                    yield path.relative_to(self.root).as_posix()


class Zip:
    """Files of a .3tz (or any ZIP), by name."""

    def __init__(self, source: Path | bytes, name: str) -> None:
        size = len(source) if isinstance(source, bytes) else source.stat().st_size
        try:
            self.zip = zipfile.ZipFile(io.BytesIO(source) if isinstance(source, bytes) else source)
        except zips.UNREADABLE as error:
            raise UnreadableSource(f"{name} is not a whole ZIP archive: {error}.", "Deliver it again.") from error
        total = sum(info.file_size for info in self.zip.infolist())
        if total > MAX_RATIO * size + MAX_FILE:
            raise UnreadableSource(f"{name} would unpack to {total >> 20} MiB, more than {MAX_RATIO} times its size.", "Deliver it again.")
        self.names = {name.lstrip("/"): info for name, info in zips.names_of(self.zip) if not info.is_dir() and info.filename != INDEX}

    def enter(self, folder: str) -> None:
        """Take a folder of the archive for all of it."""
        self.names = {name[len(folder) + 1 :]: info for name, info in self.names.items() if name.startswith(f"{folder}/")}

    @cached_property
    def alike(self) -> dict[str, str]:
        """All names of files, by what they are without escapes and capitals."""
        return _alike(self.names)

    def like(self, name: str) -> str | None:
        """The file whose name differs by escapes or capitals alone."""
        return self.alike.get(_plain(name))

    def close(self) -> None:
        """Let the archive go."""
        self.zip.close()

    def get(self, name: str) -> bytes | None:
        """The bytes of an entry, None where there is none."""
        info = self.names.get(name)
        if info is None:
            return None
        if info.file_size > MAX_FILE:
            raise UnreadableSource(f"{name} has more than {MAX_FILE >> 30} GiB.", "Split it into smaller tiles.")
        try:
            return self._zstandard(info) if info.compress_type == ZSTANDARD else self.zip.read(info)
        except zips.UNREADABLE as error:
            raise UnreadableSource(f"{name} cannot be unpacked: {error}.", "Deliver the archive again.") from error

    def _zstandard(self, info: zipfile.ZipInfo) -> bytes:
        """An entry packed by method 93, which the specification of .3tz allows beside deflate and Python's zipfile does not know."""
        file: Any = self.zip.fp
        file.seek(info.header_offset + 26)
        name, extra = struct.unpack("<HH", file.read(4))
        file.seek(info.header_offset + 30 + name + extra)
        data: bytes = pa.decompress(file.read(info.compress_size), decompressed_size=info.file_size, codec="zstd", asbytes=True)
        if zlib.crc32(data) != info.CRC:
            raise zipfile.BadZipFile("its checksum is another one")
        return data

    def below(self, folder: str) -> Iterator[str]:
        """Names of all entries below a folder."""
        start = f"{folder}/" if folder else ""
        yield from sorted(name for name in self.names if name.startswith(start))


class Files:
    """The files of a tileset, those of archives within it among them: `a/b.3tz` is the folder `a/b-3tz`, since an archive of the lake holds no other one."""

    def __init__(self, source: Path) -> None:
        if not source.is_file() or source.stat().st_size == 0:
            raise UnreadableSource(f"{source.name} is empty or not a file.", "Deliver it again.")
        self.nested: dict[str, Zip] = {}
        self.own: Folder | Zip
        self.entry, self.folder = source.name, ""
        if not is_packed(source):
            self.own = Folder(source.parent)
            return
        self.own = Zip(source, source.name)
        root = root_of(self.own.names, source.name)
        if root is None:
            raise UnreadableSource(f"{source.name} holds no {ROOT}.", "Pack the tileset with its root, which is called so.")
        self.entry, self.folder = ROOT, posixpath.dirname(root)
        if self.folder:
            self.own.enter(self.folder)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        for one in (self.own, *self.nested.values()):
            one.close()

    def get(self, name: str) -> bytes | None:
        """The bytes of a file, None where there is none."""
        files, inner, _ = self._of(name)
        return files.get(inner)

    def like(self, name: str) -> str | None:
        """The file whose name differs by escapes (`a%20b`) or capitals alone, as browsers' copies and Windows have them; None without one."""
        files, inner, before = self._of(name)
        found = files.like(inner)
        return None if found in (None, inner) else f"{before}{found}"

    def below(self, folder: str) -> Iterator[str]:
        """Names of all files below a folder."""
        files, inner, before = self._of(folder)
        yield from (f"{before}{name}" for name in files.below(inner))

    def unfold(self, name: str) -> str | None:
        """The folder that a nested archive stands for, None where there is no such file."""
        folder = f"{name[:-4]}-{name[-3:].lower()}"
        if folder not in self.nested:
            data = self.get(name)
            if data is None:
                return None
            self.nested[folder] = Zip(data, name)
        return folder

    def _of(self, name: str) -> tuple[Folder | Zip, str, str]:
        """(where a name's file is, its name there, what stands before that)."""
        for folder in sorted(self.nested, key=len, reverse=True):
            if name == folder or name.startswith(f"{folder}/"):
                return self.nested[folder], name[len(folder) + 1 :], f"{folder}/"
        return self.own, name, ""
