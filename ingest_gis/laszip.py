"""Is a LASzip stream what its header says? Checked before the decoder sees it, because the decoder trusts the sizes.

The decoder allocates what the chunk table asks for, and a process that asks for 50 GB is ended by the operating system
without an error that could be caught. Source: LASzip VLR and chunk table layout (M. Isenburg, laszip.org, LASzip 3).
"""

from __future__ import annotations

import struct
from itertools import pairwise
from typing import Any, BinaryIO

import lazrs

from ingest_gis.lasfile import AGAIN, LasFile
from twin.errors import UnreadableSource

VARIABLE = 0xFFFFFFFF


def check_stream(las: LasFile, file: BinaryIO) -> bytes:
    """The LASzip record of a compressed file whose items and chunk table fit its header and size.

    Raises:
        UnreadableSource: naming what does not fit.
    """
    how = las.vlr("laszip encoded", 22204) or b""
    size = las.path.stat().st_size

    def refuse(what: str) -> UnreadableSource:
        return UnreadableSource(f"{las.path.name}: its compression is damaged: {what}.", AGAIN)

    if len(how) < 34:
        raise refuse("the LASzip record is too short")
    compressor, chunk, items = struct.unpack_from("<H", how, 0)[0], struct.unpack_from("<I", how, 12)[0], struct.unpack_from("<H", how, 32)[0]
    if compressor == 1:
        raise UnreadableSource(f"{las.path.name} is one compressed stream without chunks, as LASzip 1 wrote it (2007 to 2011); that is not read here.",
                               "Write it anew with a newer program, for example laszip or pdal translate.")  # fmt: skip
    if compressor not in (2, 3) or len(how) < 34 + 6 * items:
        raise refuse(f"compressor {compressor} with {items} items is not known here")
    if sum(struct.unpack_from("<H", how, 34 + 6 * i + 2)[0] for i in range(items)) != las.record:
        raise refuse(f"its items do not make up records of {las.record} bytes")
    if chunk == 0:
        raise refuse("chunks of no points")
    at = _table_at(las, file, size)
    if at is None:
        raise refuse("the chunk table lies outside of the file, which may be truncated")
    file.seek(at)
    version, count = struct.unpack("<II", file.read(8))
    # A chunk begins with one whole record.
    most = (at - las.start - 8) // las.record
    if version != 0 or count > most or (chunk != VARIABLE and count != -(-las.count // chunk)):
        raise refuse(f"a chunk table of {count} chunks does not fit {las.count} points")
    _check_chunks(las, file, how, chunk, at, refuse)
    return how


def _table_at(las: LasFile, file: BinaryIO, size: int) -> int | None:
    """Where the chunk table begins: the number before the points, or, where a stream was written, the file's last 8 bytes."""
    if las.start + 8 > size:
        return None
    file.seek(las.start)
    at = struct.unpack("<q", file.read(8))[0]
    if at == -1:
        file.seek(size - 8)
        at = struct.unpack("<q", file.read(8))[0]
    return int(at) if las.start + 8 <= at <= size - 8 else None


def _check_chunks(las: LasFile, file: BinaryIO, how: bytes, chunk: int, at: int, refuse: Any) -> None:
    file.seek(las.start)
    try:
        table = lazrs.read_chunk_table(file, lazrs.LazVlr(how))
    except (lazrs.LazrsError, ValueError, OSError) as error:
        raise refuse(f"its chunk table cannot be decoded ({error})") from error
    ends = [las.start + 8]
    for points, length in table:
        if length or points or chunk != VARIABLE:  # some writers of COPC end with a chunk of nothing
            ends.append(ends[-1] + length)
    if any(b <= a for a, b in pairwise(ends)) or ends[-1] > at:
        raise refuse("its chunks do not lie between header and chunk table; the file may be truncated")
    if chunk == VARIABLE and sum(points for points, _ in table) != las.count:
        raise refuse(f"its chunks hold {sum(points for points, _ in table)} points, the header says {las.count}")
