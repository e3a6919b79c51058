"""What Python's zipfile raises for archives that are damaged, encrypted or packed in a way that it does not know."""

from __future__ import annotations

import lzma
import struct
import zipfile
import zlib

from twin.errors import TwinError
from twin.lake import is_full, storage_error

#: All of it: a directory that is cut, a stream that does not unpack (each method has an error of its own), names that are empty or do not decode, a password.
UNREADABLE = (zipfile.BadZipFile, zipfile.LargeZipFile, zlib.error, lzma.LZMAError, struct.error, EOFError, LookupError, NotImplementedError, RuntimeError, ValueError, OSError)


def failure(error: BaseException, damaged: TwinError) -> TwinError:
    """What to raise for an error while a ZIP was unpacked to a file: `damaged`, but where the disk is full."""
    return storage_error("unpacking a ZIP", error) if isinstance(error, OSError) and is_full(error) else damaged
