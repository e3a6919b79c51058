"""What Python's zipfile raises for archives that are damaged, encrypted or packed in a way that it does not know."""

from __future__ import annotations

import lzma
import struct
import tempfile
import zipfile
import zlib
from pathlib import Path

from twin.errors import BadInput, TwinError
from twin.lake import is_full, storage_error

#: All of it: a directory that is cut, a stream that does not unpack (each method has an error of its own), names that are empty or do not decode, a password.
UNREADABLE = (zipfile.BadZipFile, zipfile.LargeZipFile, zlib.error, lzma.LZMAError, struct.error, EOFError, LookupError, NotImplementedError, RuntimeError, ValueError, OSError)


MAX_UNPACKED = 16 << 30
"""Bytes; no file of a ZIP may unpack to more."""
UTF8 = 0x0800
"""Bit 11 of a file's flags: its name is in UTF-8 (APPNOTE.TXT, 4.4.4)."""


def names_of(archive: zipfile.ZipFile) -> list[tuple[str, zipfile.ZipInfo]]:
    """The names of all entries, with forward slashes, each with its entry.

    Names that are not marked as UTF-8 may be so all the same (macOS), or are in the code page of the machine (a Chinese Windows: GBK), which zipfile
    reads as code page 437. All names of an archive are taken to be alike, since a short one may be read either way.
    """
    infos = archive.infolist()
    unmarked = [info for info in infos if not info.flag_bits & UTF8 and not info.filename.isascii()]
    found: list[str] = []
    for encoding in ("utf-8", "gb18030"):
        try:
            found = [info.filename.encode("cp437").decode(encoding) for info in unmarked]
            break
        except UnicodeError:
            continue
    read = {id(info): name for info, name in zip(unmarked, found, strict=False)}
    return [(read.get(id(info), info.filename).replace("\\", "/"), info) for info in infos]


def extract(archive: zipfile.ZipFile, info: zipfile.ZipInfo, target: Path, name: str) -> None:
    """One entry to a file, counted while it is written, since the size that a ZIP states may be a lie; `name` is the ZIP's, for messages.

    Raises:
        BadInput: it is larger than `MAX_UNPACKED`. Whatever is in `UNREADABLE`.
    """
    if info.file_size > MAX_UNPACKED:
        raise BadInput(f"{name}: {info.filename} would unpack to more than {MAX_UNPACKED >> 30} GB.", "Unpack it yourself and give the file.")
    written = 0
    with archive.open(info) as packed, target.open("wb") as file:
        while block := packed.read(1 << 20):
            written += len(block)
            if written > MAX_UNPACKED:
                raise BadInput(f"{name}: {info.filename} unpacks to more than {MAX_UNPACKED >> 30} GB.", "Unpack it yourself and give the file.")
            file.write(block)


def failure(error: BaseException, damaged: TwinError) -> TwinError:
    """What to raise for an error while a ZIP was unpacked to a file: `damaged`, but where the disk is full."""
    return storage_error("unpacking a ZIP", error, tempfile.gettempdir()) if isinstance(error, OSError) and is_full(error) else damaged
