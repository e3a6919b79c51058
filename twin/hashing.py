"""SHA-256 of files: read once, or hashed while they are written.

What is written is hashed on a thread of its own: that takes as long as writing, and a core is often free.
"""

from __future__ import annotations

import hashlib
import os
from collections import OrderedDict
from pathlib import Path
from queue import Queue
from threading import Lock, Thread

Piece = bytes | memoryview
_BLOCK = 1 << 20  # bytes that are handed over at a time
_AHEAD = 8  # blocks that may wait


class Hasher:
    """Takes what is written, piece by piece; `digest` or `stop` ends it. Less than a block is hashed without a thread."""

    def __init__(self) -> None:
        self._sum = hashlib.sha256()
        self._pieces: list[Piece] = []
        self._size = 0
        self._queue: Queue[list[Piece]] = Queue(_AHEAD)  # an empty list ends it
        self._thread: Thread | None = None

    def add(self, piece: Piece) -> None:
        """The next bytes; they must not change any more."""
        self._pieces.append(piece)
        self._size += len(piece)
        if self._size >= _BLOCK:
            if self._thread is None:
                self._thread = Thread(target=self._run, name="hasher", daemon=True)
                self._thread.start()
            self._queue.put(self._pieces)
            self._pieces, self._size = [], 0

    def digest(self) -> str:
        """Of all bytes, in hexadecimal."""
        self.stop()
        for piece in self._pieces:
            self._sum.update(piece)
        self._pieces = []
        return self._sum.hexdigest()

    def stop(self) -> None:
        """Wait for the thread to end."""
        if self._thread is not None:
            self._queue.put([])
            self._thread.join()
            self._thread = None

    def _run(self) -> None:
        while pieces := self._queue.get():
            for piece in pieces:
                self._sum.update(piece)


_KEPT = 64
_known: OrderedDict[tuple[int, ...], str] = OrderedDict()
_lock = Lock()


def digest(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal; of a file that has not changed since it was asked for or written, without reading it again."""
    about = identity(path.stat())
    with _lock:
        found = _known.get(about)
    if found is None:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        _remember(about, found)
    return found


def remember(path: Path, found: str) -> None:
    """Note the digest of a file that has just been written."""
    _remember(identity(path.stat()), found)


def _remember(about: tuple[int, ...], found: str) -> None:
    with _lock:
        _known[about] = found
        while len(_known) > _KEPT:
            _known.popitem(last=False)


def identity(about: os.stat_result) -> tuple[int, ...]:
    """What a file is another one by, or has been written to."""
    return about.st_dev, about.st_ino, about.st_size, about.st_mtime_ns
