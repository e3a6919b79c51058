"""The files of a tileset that others made: below a folder, or in a .3tz, or in a .3tz within either (MAXAR_content_3tz)."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import pyarrow as pa

from twin import zips
from twin.archive import INDEX
from twin.errors import UnreadableSource

MAX_FILE = 1 << 30
#: Times its own size that an archive may unpack to.
MAX_RATIO = 200
ZSTANDARD = 93
"""APPNOTE.TXT 4.4.5."""


class Folder:
    """Files below a folder."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()

    def close(self) -> None:
        """Nothing is held."""

    def get(self, name: str) -> bytes | None:
        """The bytes of a file, None where there is none (or it is a link that leads out)."""
        path = (self.root / name).resolve()
        if not path.is_relative_to(self.root) or not path.is_file():
            return None
        if path.stat().st_size > MAX_FILE:
            raise UnreadableSource(f"{name} has more than {MAX_FILE >> 30} GiB.", "Split it into smaller tiles.")
        return path.read_bytes()

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
        self.names = {info.filename.replace("\\", "/").lstrip("/"): info for info in self.zip.infolist() if not info.is_dir() and info.filename != INDEX}

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
        self.own: Folder | Zip = Zip(source, source.name) if source.suffix.lower() == ".3tz" else Folder(source.parent)
        self.nested: dict[str, Zip] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        for one in (self.own, *self.nested.values()):
            one.close()

    def get(self, name: str) -> bytes | None:
        """The bytes of a file, None where there is none."""
        files, inner, _ = self._of(name)
        return files.get(inner)

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
