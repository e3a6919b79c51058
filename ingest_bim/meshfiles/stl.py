"""STL made plain for trimesh: whole, with names that can be read, and with the colours that two programs put behind its triangles.

The format (3D Systems, 1989) leaves two bytes behind each triangle of a binary file. VisCAM and SolidView set their highest bit where the rest is a colour, five
bits each of red, green and blue; Materialise Magics, whose files say `COLOR=` in their head, clears it where the rest is one, in the opposite order, and
means the colour of the head where it is set. A binary file begins with any 80 bytes, `solid` among them.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ingest_bim.meshfiles.obj import as_utf8, line_of, odd_row, with_line_feeds
from ingest_bim.meshfiles.ply import Rows, written
from twin.errors import UnreadableSource
from twin.model import Report

HEAD, ROW = 84, 50
VERTEX = re.compile(rb"^[ \t]*vertex\b([^\n]*)$", re.MULTILINE | re.IGNORECASE)
FACET = re.compile(rb"^[ \t]*facet\b.*?^[ \t]*endfacet\b", re.MULTILINE | re.IGNORECASE | re.DOTALL)
ROWS = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("said", "<u2")])


def plainly(source: Path, report: Report) -> bytes:
    """The file, as far as it is triangles; as PLY where its triangles have colours.

    A binary STL must have the length that its number of triangles asks for; trimesh would look for text in one that has not.

    Raises:
        UnreadableSource: it is cut short.
    """
    data = source.read_bytes()
    count = int.from_bytes(data[80:HEAD], "little")
    size = HEAD + ROW * count
    if is_text(data):
        data = with_line_feeds(as_utf8(data, source.name, report))
        _check_text(data, source.name)
        return data
    if len(data) < size:
        raise UnreadableSource(f"{source.name} is cut short: it states {count:,} triangles, there are {(len(data) - HEAD) // ROW:,}.", "Deliver it again.")
    if len(data) > size:
        report.note("skipped", "", f"{len(data) - size:,} bytes behind the last of its {count:,} triangles are left out.")
    rows = np.frombuffer(data, ROWS, count, HEAD)
    colors = _colors(data[:80], rows["said"])
    if colors is None:
        if rows["said"].any():
            report.note("warned", "", "The bytes behind its triangles are no colours that are known here and are not read.")
        return data[:size]
    corners = rows["corners"].reshape(-1, 3)
    vertex = Rows({axis: corners[:, i] for i, axis in enumerate("xyz")})
    numbers = np.arange(3 * count).reshape(-1, 3)
    return written([], vertex, Rows({name: colors[:, i] for i, name in enumerate(("red", "green", "blue", "alpha"))}), numbers, np.arange(count), numbers)


def is_text(data: bytes) -> bool:
    """Whether a file is a text; one of exactly the length that its bytes 80 to 84 ask for is none."""
    exact = len(data) == HEAD + ROW * int.from_bytes(data[80:HEAD], "little")
    return len(data) < HEAD or (not exact and b"facet" in data[:1000].lower())


def odd_line(data: bytes) -> str:
    """What is not written as a text STL asks, in words; "" if there is nothing."""
    if not is_text(data):
        return ""
    if said := odd_row(VERTEX.finditer(data), 3):
        return said
    for facet in FACET.finditer(data):
        if (corners := len(VERTEX.findall(facet[0]))) != 3:
            return f"the triangle that begins in line {line_of(facet):,} has {corners} corners"
    return ""


def _colors(head: bytes, said: NDArray[np.uint16]) -> NDArray[np.uint8] | None:
    """(T, 4) colours of triangles; None where they have none."""
    at = head.find(b"COLOR=")
    whole = np.frombuffer(head[at + 6 : at + 10].ljust(4, b"\xff"), "u1") if at >= 0 else np.array([204, 204, 204, 255], np.uint8)
    own = (said >> 15 == 1) if at < 0 else ((said >> 15 == 0) & said.any())
    if at < 0 and not own.any():
        return None
    fives = np.stack([said >> shift & 31 for shift in ((10, 5, 0) if at < 0 else (0, 5, 10))], axis=1)
    colors = np.concatenate([np.rint(fives * (255 / 31)), np.full((len(said), 1), 255)], axis=1).astype(np.uint8)
    return np.where(own[:, None], colors, whole)


def _check_text(data: bytes, name: str) -> None:
    """A text STL must end its last solid; trimesh leaves out one that does not end, without a word."""
    text = data.lower()
    begun, ended = len(re.findall(rb"^\s*facet\b", text, re.MULTILINE)), len(re.findall(rb"^\s*endfacet\b", text, re.MULTILINE))
    if begun != ended or not re.search(rb"\n\s*endsolid\b[^\n]*\s*\Z", text[-1000:]):
        raise UnreadableSource(f"{name} is cut short: {begun:,} triangles begin, {ended:,} end, and its last solid does not.", "Deliver it again.")
