"""Byte ranges of a file that is never read whole: on disk by positional reads, elsewhere by a few large requests."""

from __future__ import annotations

import mmap
import os
import threading
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from twin.errors import NotFound, StorageError

BLOCK = 1 << 16
"""Bytes asked for at least: a tile's header, name and body come in one request."""
KEPT = 16


class Ranges(Protocol):
    """A file of `size` bytes. `read` is safe for threads; the range lies inside the file."""

    name: str
    size: int

    def read(self, start: int, length: int) -> bytes:
        """`length` bytes from `start`. Raises StorageError where they cannot be had."""

    def close(self) -> None:
        """Let go; may be called twice."""


class FileRanges:
    """A local file, by positional reads.

    Raises:
        NotFound: it cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self.name = path.name
        try:
            self._descriptor = os.open(path, os.O_RDONLY)
        except OSError as error:
            raise NotFound(f"There is no file {path.name}.", "Tile the layer again.") from error
        self.size = os.fstat(self._descriptor).st_size

    def read(self, start: int, length: int) -> bytes:
        """`length` bytes from `start`."""
        data = os.pread(self._descriptor, length, start)
        while len(data) < length:  # one pread moves at most 2 GB
            more = os.pread(self._descriptor, length - len(data), start + len(data))
            if not more:
                raise StorageError(f"{self.name} was cut while it was read.")
            data += more
        return data

    def mapped(self) -> memoryview:
        """All of it, as a view that the system fills in as it is looked at."""
        return memoryview(mmap.mmap(self._descriptor, 0, access=mmap.ACCESS_READ))

    def close(self) -> None:
        """Close the file."""
        if getattr(self, "_descriptor", -1) >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __del__(self) -> None:
        self.close()


class BlockRanges:
    """Ranges of something far away: `fetch(start, length)` is asked for `BLOCK` bytes at least, and the last blocks are kept."""

    def __init__(self, name: str, size: int, fetch: Callable[[int, int], bytes]) -> None:
        self.name = name
        self.size = size
        self._fetch = fetch
        self._lock = threading.Lock()
        self._blocks: OrderedDict[int, bytes] = OrderedDict()

    def read(self, start: int, length: int) -> bytes:
        """`length` bytes from `start`."""
        with self._lock:
            for at, block in self._blocks.items():
                if at <= start and start + length <= at + len(block):
                    self._blocks.move_to_end(at)
                    return block[start - at : start - at + length]
        data = self._fetch(start, min(max(length, BLOCK), self.size - start))
        if len(data) < length:
            raise StorageError(f"{self.name} was cut while it was read: {len(data)} of {length} bytes at {start}.")
        if len(data) <= 4 * BLOCK:
            with self._lock:
                self._blocks[start] = data
                while len(self._blocks) > KEPT:
                    self._blocks.popitem(last=False)
        return data[:length]

    def close(self) -> None:
        """Forget what was read."""
        with self._lock:
            self._blocks.clear()
