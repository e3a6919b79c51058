"""One file a tileset: the 3D Tiles archive (``.3tz``), a ZIP with a hash index so that any tile is one byte range.

Format: 3D Tiles Archive Format 1.3 (E. Dahlström, Vricon/Maxar): entries stored or deflated with sizes and CRC in the
local header; the last entry ``@3dtilesIndex1@`` is stored and holds, per file, 16 bytes MD5 of its path and the uint64
offset of its local header, sorted by the hash read as two little-endian uint64. ZIP64 from PKWARE's APPNOTE 6.3.9.

Writing is one pass and reproducible (fixed dates, no host fields): the same entries give the same bytes. Reading never
loads the archive: the index (24 bytes a file) is cached and every offset and length is checked against the file.
"""

from __future__ import annotations

import hashlib
import os
import struct
import zlib
from collections.abc import Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import numpy as np
from deflate import crc32, deflate_compress
from numpy.typing import NDArray

from twin import scratch
from twin.archive_directory import Directory, record
from twin.errors import BadTileset, NotFound
from twin.hashing import Hasher, remember
from twin.lake import storage_errors
from twin.ranges import FileRanges, Ranges

INDEX = "@3dtilesIndex1@"
LEVEL = 5  # of libdeflate: 6 takes half as long again and gains 1 % on tiles of buildings
_LOCAL = struct.Struct("<4s5H3I2H")  # signature, version, flags, method, time, date, crc, packed, size, name, extra
_CENTRAL = struct.Struct("<4s6H3I5H2I")
LOCAL_SIZE = _LOCAL.size
"""Bytes of a local header, before the name."""
_END = struct.Struct("<4s4H2IH")
_END64 = struct.Struct("<4sQ2H2I4Q")
_LOCATOR = struct.Struct("<4sIQI")
_DATE = 0x0021  # 1980-01-01, the first day ZIP knows
_UTF8 = 0x0800
_MAX32 = 0xFFFFFFFF
_BLOCK = 1 << 20  # bytes copied from another archive at a time: they stay in the processor's cache
_INDEX_TYPE = np.dtype([("high", "<u8"), ("low", "<u8"), ("offset", "<u8")])


@dataclass(frozen=True, slots=True)
class Packed:
    """Bytes as they lie in an archive: `body` (deflated or as they are), with `crc` and `size` of the original."""

    body: bytes
    crc: int
    size: int
    deflated: bool

    @property
    def check(self) -> int:
        """CRC-32 of the bytes as they are stored: by it `ArchiveWriter.copy` knows them again without inflating them."""
        return crc32(self.body)


class Record(NamedTuple):
    """A file as the central directory tells it: `start` of its local header, `end` of its bytes if that header is one of ours."""

    start: int
    end: int
    crc: int
    stored: int
    size: int
    deflated: bool


@dataclass(frozen=True, slots=True)
class Entry:
    """Where a file's bytes lie in the archive: `offset` of the body, its `stored_size`, the original's `size` and `crc`."""

    offset: int
    stored_size: int
    size: int
    crc: int
    deflated: bool


def pack(data: bytes, *, deflate: bool = True, level: int = LEVEL) -> Packed:
    """Deflate bytes unless that gains less than 3 %; workers call this so that only writing is left to the parent.

    By libdeflate, which has one result a level on every processor: smaller than zlib's and in a third of its time.
    """
    crc = crc32(data)
    if deflate and len(data) > 64:
        body = bytes(deflate_compress(data, level))
        if len(body) < 0.97 * len(data):
            return Packed(body, crc, len(data), True)
    return Packed(data, crc, len(data), False)


def normal_name(name: str) -> str:
    """A path inside an archive: forward slashes, none in front."""
    return name.replace("\\", "/").lstrip("/")


class ArchiveWriter:
    """Writes an archive in one pass; as a context manager it finishes the file, or removes it when an error passes through.

    `name` stands in errors, where `path` is only where it lies until it is whole.

    Raises:
        StorageError: the disk is full or the folder not writable (no half file is left).
        BadTileset: a name twice, or one the format forbids; an entry of 4 GB or more.
    """

    def __init__(self, path: Path, name: str = "") -> None:
        self.path = path
        self._name = name or path.name
        self._file: Any = None
        self._at = 0
        self._central: list[bytes] = []
        self._offsets: dict[str, int] = {}
        self._copied: list[tuple[NDArray[Any], NDArray[np.int64]]] = []  # (hashes of names, offsets) of runs of files
        self._hasher = Hasher()

    def __enter__(self) -> Self:
        with self._storage():
            self._file = self.path.open("wb", buffering=1 << 20)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is None:
            try:
                self._finish()
            except BaseException:
                self._abandon()
                raise
        else:
            self._abandon()

    def add(self, name: str, data: bytes, *, deflate: bool = True) -> None:
        """Append a file."""
        self.add_packed(name, pack(data, deflate=deflate))

    def add_packed(self, name: str, packed: Packed) -> None:
        """Append a file that `pack` prepared, perhaps in another process."""
        name = normal_name(name)
        self._claim(name)
        self._put(name, packed)

    def copy(self, source: Archive, wanted: Mapping[str, int]) -> None:
        """Append files of another archive as they lie there: nothing is inflated, neighbours are moved in one piece.

        Args:
            source: an archive that this class wrote.
            wanted: names in the order of writing, each with the CRC-32 of its stored bytes (`Packed.check`).

        Raises:
            NotFound: the source lacks a name; BadTileset: its bytes are not what `wanted` says. Write no more then.
        """
        number = source.numbers
        for name in wanted:
            if name not in number:
                raise NotFound(f"{source.name} holds no {name}.")
        self.copy_numbers(source, np.array([number[name] for name in wanted], np.int64), np.array(list(wanted.values()), np.uint32))

    def copy_numbers(self, source: Archive, numbers: NDArray[np.int64], checks: NDArray[np.uint32]) -> None:
        """The same, of files that are told by their `numbers` in the source (the order they were written in), each with the CRC-32 of its stored bytes."""
        cuts = np.flatnonzero(np.diff(numbers) != 1) + 1
        for some, known in zip(np.split(numbers, cuts), np.split(checks, cuts), strict=True):
            if len(some):
                self._copy_run(source, int(some[0]), int(some[-1]) + 1, known.tolist())

    def _copy_run(self, source: Archive, first: int, last: int, checks: list[int]) -> None:
        """Neighbours; each body must be what its CRC says."""
        directory, hashes, data = source.directory, source.hashes, source.whole
        for body, end, check in zip(directory.body[first:last].tolist(), directory.end[first:last].tolist(), checks, strict=True):
            if crc32(data[body:end]) != check:
                raise source.damaged(f"what lies at byte {body} is not what was written")
        begin, end = int(directory.start[first]), int(directory.end[last - 1])
        by = self._at - begin
        self._central += directory.moved(first, last, by)
        self._copied.append((hashes[first:last], directory.start[first:last] + by))
        for at in range(begin, end, _BLOCK):
            self._write(data[at : min(at + _BLOCK, end)])

    def sync(self) -> None:
        """Have what is written so far on disk, so that finishing takes less."""
        with self._storage():
            self._file.flush()
            os.fsync(self._file.fileno())

    def _claim(self, name: str) -> None:
        if not name or name in self._offsets or ".3tz" in name or name == INDEX or (".." in name and ".." in name.split("/")):
            raise BadTileset(f"{self._name}: {name!r} cannot be written twice, or is not a name an archive may hold.", "Take it out of the folder." * (".3tz" in name))

    @property
    def size(self) -> int:
        """Bytes written so far."""
        return self._at

    def _put(self, name: str, packed: Packed) -> None:
        about = (packed.crc, len(packed.body), packed.size, packed.deflated)
        if packed.size >= _MAX32 or len(packed.body) >= _MAX32:
            raise BadTileset(f"{self.path.name}: {name} has {packed.size} bytes; the format ends at 4 GB.", "Use smaller tiles.")
        header = _header(name, *about)
        self._enter(name, header, self._at)
        self._write(header)
        self._write(packed.body)

    def _enter(self, name: str, header: bytes, at: int) -> None:
        """Note the file that begins at `at` in the index and in the central directory, which repeats most of its local header."""
        if name != INDEX:
            self._offsets[name] = at
        self._central.append(record(header[6:28], header[LOCAL_SIZE:], at))

    def _finish(self) -> None:
        index = np.empty(len(self._offsets), _INDEX_TYPE)
        hashes = np.frombuffer(b"".join([_name_digest(name) for name in self._offsets]), "<u8")
        index["high"], index["low"], index["offset"] = hashes[::2], hashes[1::2], list(self._offsets.values())
        if self._copied:
            copied = np.concatenate([known for known, _ in self._copied])
            copied["offset"] = np.concatenate([offsets for _, offsets in self._copied])
            index = np.concatenate([index, copied])
        index = index[np.lexsort((index["low"], index["high"]))]
        if ((index["low"][1:] == index["low"][:-1]) & (index["high"][1:] == index["high"][:-1])).any():
            raise BadTileset(f"{self.path.name}: a name was written twice.")
        data = index.tobytes()
        self._put(INDEX, Packed(data, crc32(data), len(data), False))
        start, count = self._at, len(index) + 1
        self._write(b"".join(self._central))
        size, end = self._at - start, self._at
        if count >= 0xFFFF or start >= _MAX32 or size >= _MAX32:
            self._write(_END64.pack(b"PK\6\6", 44, 45, 45, 0, 0, count, count, size, start))
            self._write(_LOCATOR.pack(b"PK\6\7", 0, end, 1))
        few = min(count, 0xFFFF)
        self._write(_END.pack(b"PK\5\6", 0, 0, few, few, min(size, _MAX32), min(start, _MAX32), 0))
        self.sync()
        with self._storage():
            self._file.close()
            remember(self.path, self._hasher.digest())

    def _write(self, data: bytes | memoryview) -> None:
        with self._storage():
            self._file.write(data)
        self._hasher.add(data)
        self._at += len(data)

    def _abandon(self) -> None:
        self._hasher.stop()
        if self._file is not None:
            with suppress(OSError):  # a full disk fails again on the buffered rest; the file goes away anyhow
                self._file.close()
        self.path.unlink(missing_ok=True)

    def _storage(self) -> AbstractContextManager[None]:
        return storage_errors(f"Writing the archive {'of tiles' if scratch.is_ours(self._name) else self._name}", self.path.parent)


class Archive:
    """Reads an archive by byte ranges; safe to share between threads (positional reads only).

    Raises:
        NotFound: there is no such archive, or no such file in it.
        BadTileset: the archive is damaged or not a 3D Tiles archive.
    """

    def __init__(self, source: Path | Ranges) -> None:
        self._source = FileRanges(source) if isinstance(source, Path) else source
        self.name = self._source.name
        self._size = self._source.size
        try:
            self._start, self._length = self._directory()
            self._index = self._load_index()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let the file go."""
        self._source.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def names(self) -> list[str]:
        """All files but the index, in the order they were written."""
        return self._names

    @cached_property
    def _names(self) -> list[str]:
        return [name for name in self.records if name != INDEX]

    @cached_property
    def records(self) -> dict[str, Record]:
        """All files, the index included, as the central directory tells them, in the order they were written."""
        directory, at, found = self._read(self._start, self._length), 0, {}
        unpack, last, local = _CENTRAL.unpack_from, self._length - _CENTRAL.size, _LOCAL.size
        while at <= last:
            signature, _, _, _, method, _, _, crc, stored, size, named, extra, comment, _, _, _, offset = unpack(directory, at)
            if signature != b"PK\1\2":
                raise self.damaged(f"the central directory breaks off at byte {at}")
            at += _CENTRAL.size
            name = directory[at : at + named].decode("utf-8", "replace")
            at += named
            if offset == _MAX32 and extra >= 12 and directory[at : at + 2] == b"\1\0":
                offset = struct.unpack_from("<Q", directory, at + 4)[0]
            found[normal_name(name) if name[:1] == "/" or "\\" in name else name] = Record(offset, offset + local + named + stored, crc, stored, size, method == 8)
            at += extra + comment
        return found

    @cached_property
    def numbers(self) -> dict[str, int]:
        """Of each file its number in the order they were written."""
        return {name: number for number, name in enumerate(self.records)}

    @cached_property
    def directory(self) -> Directory:
        """The central directory of an archive that `ArchiveWriter` wrote. Raises BadTileset: it is not one of those, or damaged."""
        found = Directory.of(self._read(self._start, self._length))
        if found is None:
            raise self.damaged("its central directory is not one that we wrote")
        return found

    @cached_property
    def hashes(self) -> NDArray[Any]:
        """(N,) rows of the index in the order the files were written, but for the index itself. Raises BadTileset: it is damaged."""
        found, directory = self._index[np.argsort(self._index["offset"])], self.directory
        if not np.array_equal(found["offset"].astype(np.int64), directory.start[:-1]) or crc32(self._index.tobytes()) != self._index_crc:
            raise self.damaged("its index is not that of its directory")
        return found

    @cached_property
    def whole(self) -> memoryview:
        """All bytes, of a local file as they are looked at, once every header is what `ArchiveWriter` wrote. Raises BadTileset: one is not."""
        source = self._source
        data = source.mapped() if isinstance(source, FileRanges) else memoryview(source.read(0, self._size))
        if not self.directory.headers_stand(data):
            raise self.damaged("its files have other headers than its directory says")
        return data

    def entry(self, name: str) -> Entry:
        """Where a file lies; its local header is read and checked."""
        name = normal_name(name)
        high, low = name_hash(name)
        first, last = np.searchsorted(self._index["high"], np.uint64(high), "left"), len(self._index)
        while first < last and int(self._index["high"][first]) == high:
            if int(self._index["low"][first]) == low:
                found = self._local(int(self._index["offset"][first]), name)
                if found is not None:
                    return found
            first += 1
        raise NotFound(f"{self.name} holds no {name}.")

    def index(self) -> bytes:
        """The hash index, as it is stored."""
        return self._index.tobytes()

    def holds(self, name: str) -> bool:
        """Whether there is a file of this name."""
        try:
            self.entry(name)
        except NotFound:
            return False
        return True

    def packed(self, name: str) -> Packed:
        """A file as it is stored, for another archive."""
        entry = self.entry(name)
        return Packed(self._read(entry.offset, entry.stored_size), entry.crc, entry.size, entry.deflated)

    def read(self, name: str) -> bytes:
        """The bytes of a file, checked against its CRC."""
        entry = self.entry(name)
        body = self._read(entry.offset, entry.stored_size)
        if entry.deflated:
            try:
                body = zlib.decompressobj(-15).decompress(body, entry.size + 1)
            except zlib.error as error:
                raise self.damaged(f"{name} cannot be inflated ({error})") from error
        if len(body) != entry.size or crc32(body) != entry.crc:
            raise self.damaged(f"{name} does not have the size and CRC of its header")
        return body

    def body(self, entry: Entry) -> bytes:
        """The bytes of an entry as they lie in the file (deflated or not)."""
        return self._read(entry.offset, entry.stored_size)

    def gzip_body(self, name: str) -> bytes:
        """A deflated entry as a gzip stream (RFC 1952), without compressing again.

        Raises:
            NotFound: no such file, or it is stored as it is (ask `entry(name).deflated` first).
        """
        entry = self.entry(name)
        if not entry.deflated:
            raise NotFound(f"{name} is not deflated in {self.name}.")
        tail = struct.pack("<2I", entry.crc, entry.size & _MAX32)
        return b"\x1f\x8b\x08\0\0\0\0\0\0\xff" + self._read(entry.offset, entry.stored_size) + tail

    def _local(self, offset: int, name: str) -> Entry | None:
        """The entry at a local header, None if its name is another one (a hash collision)."""
        fields = _LOCAL.unpack(self._read(offset, _LOCAL.size))
        if fields[0] != b"PK\3\4" or fields[3] not in (0, 8) or fields[2] & 0x0009:
            raise self.damaged(f"the header of {name} at byte {offset} is not one of a stored or deflated file with its sizes")
        at = offset + _LOCAL.size
        if normal_name(self._read(at, fields[9]).decode("utf-8", "replace")) != name:
            return None
        entry = Entry(at + fields[9] + fields[10], fields[7], fields[8], fields[6], fields[3] == 8)
        if entry.offset + entry.stored_size > self._start:
            raise self.damaged(f"{name} would reach into the central directory")
        return entry

    def _read(self, offset: int, length: int) -> bytes:
        if offset < 0 or length < 0 or offset + length > self._size:
            raise self.damaged(f"bytes {offset}…{offset + length} lie outside the file of {self._size} bytes")
        return self._source.read(offset, length)

    def _directory(self) -> tuple[int, int]:
        """(start, length) of the central directory."""
        tail = self._read(max(0, self._size - 65_557), min(self._size, 65_557))
        at = tail.rfind(b"PK\5\6")
        if at < 0 or at + _END.size > len(tail):
            raise self.damaged("it has no end record, so it is not a ZIP file or was cut")
        fields = _END.unpack_from(tail, at)
        length, start = fields[5], fields[6]
        if at >= _LOCATOR.size and tail[at - _LOCATOR.size :][:4] == b"PK\6\7":
            _, _, where, _ = _LOCATOR.unpack_from(tail, at - _LOCATOR.size)
            wide = _END64.unpack(self._read(where, _END64.size))
            if wide[0] != b"PK\6\6":
                raise self.damaged("its ZIP64 end record is not where the locator says")
            length, start = wide[8], wide[9]
        if start + length > self._size:
            raise self.damaged("its central directory lies outside the file")
        return start, length

    def _load_index(self) -> NDArray[Any]:
        """The hash index, found from the last record of the central directory."""
        tail_size = min(self._length, _CENTRAL.size + len(INDEX) + 64)
        tail = self._read(self._start + self._length - tail_size, tail_size)
        at = tail.rfind(b"PK\1\2")
        fields = _CENTRAL.unpack_from(tail, at) if at >= 0 and at + _CENTRAL.size <= len(tail) else None
        if fields is None or tail[at + _CENTRAL.size :][: fields[10]] != INDEX.encode():
            raise self.damaged(f"its last entry is not {INDEX}, so it is a plain ZIP and not a 3D Tiles archive")
        offset = fields[16]
        extra = tail[at + _CENTRAL.size + fields[10] :][: fields[11]]
        if offset == _MAX32 and len(extra) >= 12 and extra[:2] == b"\1\0":
            offset = struct.unpack_from("<Q", extra, 4)[0]
        entry = self._local(offset, INDEX)
        if entry is None or entry.deflated or entry.size % _INDEX_TYPE.itemsize:
            raise self.damaged("its index is not a stored table of 24-byte rows")
        self._index_crc = entry.crc
        return np.frombuffer(self._read(entry.offset, entry.size), _INDEX_TYPE)

    def damaged(self, what: str) -> BadTileset:
        """What to raise when it turns out to be."""
        return BadTileset(f"The archive {self.name} is damaged: {what}.", "Tile the layer again.")


def index_offsets(data: bytes) -> dict[tuple[int, int], int]:
    """An index's offsets by `name_hash`; empty where the bytes are no index."""
    if len(data) % _INDEX_TYPE.itemsize:
        return {}
    return {(int(high), int(low)): int(offset) for high, low, offset in np.frombuffer(data, _INDEX_TYPE).tolist()}


def name_hash(name: str) -> tuple[int, int]:
    """MD5 of a path as two little-endian numbers, as the index sorts them."""
    high, low = struct.unpack("<2Q", _name_digest(name))
    return high, low


def _name_digest(name: str) -> bytes:
    return hashlib.md5(name.encode(), usedforsecurity=False).digest()


def _header(name: str, crc: int, stored: int, size: int, deflated: bool) -> bytes:
    """A local header as this module writes it."""
    text = name.encode()
    return _LOCAL.pack(b"PK\3\4", 20, 0 if name.isascii() else _UTF8, 8 if deflated else 0, 0, _DATE, crc, stored, size, len(text), 0) + text
