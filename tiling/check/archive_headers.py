"""The local headers of a .3tz against its ZIP directory: clients that fetch byte ranges read the former alone, Python's zipfile nearly nothing but the latter.

So a header of another method, size or length of extra fields is a tile that one of the two reads wrongly. Extra fields of any kind are allowed (APPNOTE.TXT, 4.5);
they must hold what they say.
"""

from __future__ import annotations

import struct
import zipfile
import zlib
from bisect import bisect_right
from collections.abc import Iterator

from .issues import Where

_LOCAL = struct.Struct("<4s5H3I2H")  # signature, version, flags, method, time, date, crc, packed, size, name, extra
_UTF8, _WIDE = 0x0800, 0xFFFFFFFF
ZIP64, UNICODE_PATH = 0x0001, 0x7075


def check_headers(archive: zipfile.ZipFile, where: Where) -> None:
    """Hold every local header against its entry of the directory, and what it says of its length against where the next one begins."""
    file, infos = archive.fp, archive.infolist()
    if file is None:
        return
    starts = sorted({info.header_offset for info in infos})
    starts.append(int(getattr(archive, "start_dir", 1 << 63)))  # the directory follows the last
    for info in infos:
        at = where / info.filename
        raw = b""
        if 0 <= info.header_offset < starts[-1]:
            file.seek(info.header_offset)
            raw = file.read(_LOCAL.size)
        if len(raw) < _LOCAL.size or raw[:4] != b"PK\x03\x04":
            at.error("ARCHIVE_ENTRY_INVALID", f"there is no local header at byte {info.header_offset}")
            continue
        fields = _LOCAL.unpack(raw)
        name, extra = file.read(fields[9]), file.read(fields[10])
        _check_fields(info, fields, name, extra, at)
        end = info.header_offset + _LOCAL.size + fields[9] + fields[10] + info.compress_size
        limit = starts[bisect_right(starts, info.header_offset)]
        if end > limit:
            at.error("ARCHIVE_ENTRY_INVALID", f"by its local header it ends at byte {end}, what follows begins at {limit}: its name, its extra fields ({fields[10]} bytes) or its content is too long")
        for field in (extra, info.extra):
            _check_extra(field, name, at)


def _check_fields(info: zipfile.ZipInfo, fields: tuple[int, ...], name: bytes, extra: bytes, where: Where) -> None:
    told = info.orig_filename.encode("utf-8" if info.flag_bits & _UTF8 else "cp437")
    if name != told or "\0" in info.orig_filename:
        where.error("ARCHIVE_ENTRY_INVALID", f"its local header names it {name!r}, the directory {told!r}")
    sizes = [fields[8], fields[7]]
    wide = next((data for kind, data in _blocks(extra) if kind == ZIP64), b"")
    for k in range(2):  # in this order, and only those that do not fit
        if sizes[k] == _WIDE and len(wide) >= 8:
            sizes[k], wide = int.from_bytes(wide[:8], "little"), wide[8:]
    for what, mine, other in (("method", fields[3], info.compress_type), ("CRC-32", fields[6], info.CRC), ("size", sizes[0], info.file_size), ("packed size", sizes[1], info.compress_size)):
        if mine != other:
            where.error("ARCHIVE_ENTRY_INVALID", f"its local header says of its {what} {mine}, the directory {other}: clients that fetch byte ranges read the header alone")


def _check_extra(extra: bytes, name: bytes, where: Where) -> None:
    at = 0
    for kind, data in _blocks(extra):
        size = int.from_bytes(extra[at + 2 : at + 4], "little")
        at += 4 + len(data)
        if len(data) < size:
            where.error("ARCHIVE_ENTRY_INVALID", f"its extra field 0x{kind:04x} has {len(data)} bytes and says {size}")
        elif kind == UNICODE_PATH and data[:1] == b"\1" and data[1:5] == zlib.crc32(name).to_bytes(4, "little") and data[5:] != name:
            where.warning("ARCHIVE_ENTRY_NAMES", f"an extra field gives it another name, {data[5:].decode('utf-8', 'replace')!r}: the index and most readers go by {name.decode('utf-8', 'replace')!r}, some by that")
    if any(extra[at:]):  # zeros are padding, by which some writers align their files
        where.warning("ARCHIVE_EXTRA_FIELD", f"{len(extra) - at} bytes of its extra fields are no field")


def _blocks(extra: bytes) -> Iterator[tuple[int, bytes]]:
    """(kind, data) of extra fields; data is shorter than it says where the field is cut."""
    at = 0
    while at + 4 <= len(extra) and any(extra[at:]):
        kind, size = struct.unpack_from("<2H", extra, at)
        yield kind, extra[at + 4 : at + 4 + size]
        at += 4 + size
