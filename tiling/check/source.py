"""Where a tileset's bytes come from: a folder, a .3tz archive, or a callable (a server's store, a test).

A source answers one question: the bytes at a path relative to its root. Resolving references, refusing
paths that climb out, data: URIs and gzip are the same for all of them and live here once.
"""

from __future__ import annotations

import base64
import binascii
import posixpath
import re
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, unquote_to_bytes

from .issues import Where

#: No honest tile unpacks to more than this; a gzip bomb does.
UNPACKED_LIMIT = 1 << 30


class Source(Protocol):
    """Bytes by a path relative to the root, or None where there is nothing."""

    def read(self, path: str) -> bytes | None:
        """The bytes at ``path``, or None."""


class FolderSource:
    """A folder on disk. A symbolic link that leads out of the folder counts as absent."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()

    def names(self) -> list[str]:
        """All files below the folder."""
        return [path.relative_to(self.root).as_posix() for path in self.root.rglob("*") if path.is_file()]

    def read(self, path: str) -> bytes | None:
        """The bytes at ``path``, or None."""
        try:
            full = (self.root / path).resolve()
            return full.read_bytes() if full.is_relative_to(self.root) and full.is_file() else None
        except (OSError, ValueError):  # unreadable, or a name the file system cannot have
            return None


class CallableSource:
    """Any ``read(path) -> bytes | None``."""

    def __init__(self, read: Callable[[str], bytes | None]) -> None:
        self._read = read

    def read(self, path: str) -> bytes | None:
        """The bytes at ``path``, or None."""
        return self._read(path)


def resolve(base: str, reference: str, where: Where) -> str | None:
    """The path of ``reference`` seen from the file ``base``; None, with a finding, where it has none here."""
    if reference.startswith("//") or re.match(r"[a-zA-Z][a-zA-Z0-9+.-]*:", reference):
        where.warning("RESOURCE_REMOTE", f"{reference[:80]!r} lies on another server and was not checked")
        return None
    plain = unquote(reference.split("#", 1)[0].split("?", 1)[0]).replace("\\", "/")
    path = posixpath.normpath(posixpath.join(posixpath.dirname(base), plain))
    if plain.startswith("/") or path == ".." or path.startswith("../"):
        where.error("RESOURCE_OUTSIDE", f"{reference!r} climbs out of the tileset's folder")
        return None
    return path


def fetch(source: Source, base: str, reference: str, where: Where) -> tuple[str, bytes] | None:
    """Read what ``reference`` means in the file ``base``: (path, bytes), or None with a finding."""
    if reference.startswith("data:"):
        data = _data_uri(reference, where)
        return None if data is None else (f"{base}:data", data)
    path = resolve(base, reference, where)
    if path is None:
        return None
    raw = source.read(path)
    if raw is None:
        where.error("RESOURCE_MISSING", f"{reference!r} does not exist (looked for {path})")
        return None
    unpacked = gunzip(raw, where)
    return None if unpacked is None else (path, unpacked)


def gunzip(data: bytes, where: Where) -> bytes | None:
    """The bytes themselves, or unpacked where they are a gzip stream (RFC 1952, 2.3.1: 1f 8b, method 8, no reserved flag).

    Two bytes are not enough to tell: a quantized mesh begins with a float64, and of 65,536 such files one has those two by chance.
    """
    if data[:3] != b"\x1f\x8b\x08" or data[3:4] > b"\x1f":
        return data
    unpacker = zlib.decompressobj(wbits=31)
    try:
        out = unpacker.decompress(data, UNPACKED_LIMIT)
    except zlib.error as error:
        where.error("GZIP_INVALID", f"broken gzip stream: {error}")
        return None
    if not unpacker.eof:
        too_long = bool(unpacker.unconsumed_tail)
        where.error("GZIP_INVALID", "unpacks to more than 1 GiB" if too_long else "the gzip stream is cut short")
        return None
    return out


def _data_uri(uri: str, where: Where) -> bytes | None:
    head, comma, body = uri.partition(",")
    try:
        if not comma:
            raise ValueError("no comma")  # noqa: TRY301 - one place that reports broken data URIs
        if head.endswith(";base64"):
            return base64.b64decode(unquote(body), validate=True)
        return unquote_to_bytes(body)
    except (binascii.Error, ValueError) as error:
        where.error("DATA_URI_INVALID", f"broken data URI: {error}")
        return None
