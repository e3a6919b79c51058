"""Columns of numbers that may be larger than memory: kept at hand while they are few, in mapped files once they are many.

A `Store` is filled column by column, in any order, and read as arrays. Files are mapped, so other processes that are given the store (it pickles
by name) share one copy; `release` lets go of the pages that were touched, so that what is in memory is what is being worked on.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twin.lake import storage_errors

Kinds = Mapping[str, tuple[str, tuple[int, ...]]]
"""Of each column its dtype and the shape of a row."""


_APART, _LOOSE = 1024, 4
"""Rows of a file that are read at a time where less than one of so many is wanted."""
_BUFFER = 1 << 22
"""Bytes that wait until they are written, once there are files."""


class Store:
    """Columns by name.

    Args:
        kinds: the columns.
        folder: for the files; it belongs to the store and need not exist yet.
        limit: bytes that are kept in memory; what is more lies in files.
    """

    def __init__(self, kinds: Kinds, folder: Path, limit: int) -> None:
        self._kinds, self._folder, self._limit = dict(kinds), folder, limit
        self._waiting: dict[str, list[NDArray[Any]]] = {name: [] for name in kinds}
        self._held = 0
        self._files = False
        self._views: dict[str, NDArray[Any]] = {}
        self._maps: dict[str, mmap.mmap] = {}
        self._own: list[mmap.mmap] = []

    def __getstate__(self) -> dict[str, Any]:
        """Where the files are; everything has been written (`write`)."""
        if not self._files or self._held:
            raise ValueError("a store is written before another process is given it")
        return {**self.__dict__, "_views": {}, "_maps": {}, "_own": []}

    def add(self, name: str, rows: NDArray[Any]) -> None:
        """Rows at the end of a column.

        Raises:
            StorageError: the disk is full.
        """
        kind, shape = self._kinds[name]
        rows = np.ascontiguousarray(rows, kind).reshape(-1, *shape)
        self._views.pop(name, None)
        self._maps.pop(name, None)
        self._waiting[name].append(rows)
        self._held += rows.nbytes
        if self._held > (min(self._limit, _BUFFER) if self._files else self._limit):
            self.write()

    def write(self) -> None:
        """Move what is in memory to the files."""
        self._files = True
        if not self._held and self._folder.exists():
            return
        with storage_errors("keeping what a layer's tiles are made of", self._folder):
            self._folder.mkdir(parents=True, exist_ok=True)
            for name, waiting in self._waiting.items():
                if waiting:
                    with (self._folder / name).open("ab") as file:
                        for rows in waiting:
                            file.write(rows.data if rows.size else b"")
                    self._views.pop(name, None)
                    self._maps.pop(name, None)
                    waiting.clear()
        self._held = 0

    def __getitem__(self, name: str) -> NDArray[Any]:
        """A column, read-only where it lies in a file."""
        if name not in self._views:
            if self._files:
                self.write()
            self._views[name] = self._mapped(name) if self._files else self._joined(name)
        return self._views[name]

    def private(self, name: str) -> NDArray[Any]:
        """A column as an array that may be written to, which no file shows: for compiled loops, which would need a form of their own for arrays that may not."""
        found = self[name]
        if found.flags.writeable:
            return found
        with (self._folder / name).open("rb") as file:
            self._own.append(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY))
        kind, shape = self._kinds[name]
        return np.frombuffer(self._own[-1], kind).reshape(-1, *shape)

    def _joined(self, name: str) -> NDArray[Any]:
        kind, shape = self._kinds[name]
        waiting = self._waiting[name]
        if len(waiting) != 1:
            waiting[:] = [np.concatenate(waiting) if waiting else np.zeros((0, *shape), kind)]
        return waiting[0]

    def _mapped(self, name: str) -> NDArray[Any]:
        kind, shape = self._kinds[name]
        found = self._map(name)
        return np.zeros((0, *shape), kind) if found is None else np.frombuffer(found, kind).reshape(-1, *shape)

    def _map(self, name: str) -> mmap.mmap | None:
        """A file of the store as it lies on disk; None where there is none, or it is empty."""
        path = self._folder / name
        if not path.exists() or not path.stat().st_size:
            return None
        with path.open("rb") as file:
            self._maps[name] = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        return self._maps[name]

    def take(self, name: str, rows: NDArray[Any]) -> NDArray[Any]:
        """Some rows of a column. Of a file, rows that lie apart are read some at a time and their pages given back: the system maps sixteen for each."""
        column = self[name]
        step = _APART if len(rows) > _APART and int(rows.max()) - int(rows.min()) > _LOOSE * len(rows) else max(len(rows), 1)
        if name not in self._maps or step >= len(rows):
            return np.asarray(column[rows])
        found = np.empty((len(rows), *column.shape[1:]), column.dtype)
        for at in range(0, len(rows), step):
            found[at : at + step] = column[rows[at : at + step]]
            self._maps[name].madvise(mmap.MADV_DONTNEED)
        return found

    def drop(self, name: str) -> None:
        """Forget a column's rows; arrays that were handed out stay as they are."""
        self._held -= sum(rows.nbytes for rows in self._waiting[name])
        self._waiting[name].clear()
        self._views.pop(name, None)
        self._maps.pop(name, None)
        (self._folder / name).unlink(missing_ok=True)

    def spans(self, name: str, rows: int) -> Iterator[tuple[int, int]]:
        """(first, last) of runs of at most `rows` rows of a column; after each, the pages that were read are let go."""
        count = len(self[name])
        for at in range(0, count, rows):
            yield at, min(at + rows, count)
            self.release()

    @property
    def room(self) -> int:
        """Bytes that may still be kept in memory."""
        return 0 if self._files else self._limit - self._held

    def release(self) -> None:
        """Let go of the pages of the files that were read; arrays stay as they are and are read again when touched."""
        for found in (*self._maps.values(), *self._own):
            found.madvise(mmap.MADV_DONTNEED)
