"""Columns of numbers that may be larger than memory: kept at hand while they are few, in mapped files once they are many.

A `Store` is filled column by column, in any order, and read as arrays. Files are mapped, so other processes that are given the store (it pickles
by name) share one copy; `release` lets go of the pages that were touched, so that what is in memory is what is being worked on.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from twin.lake import storage_errors

Kinds = Mapping[str, tuple[str, tuple[int, ...]]]
"""Of each column its dtype and the shape of a row."""


KEEPING = "keeping a layer's attributes while it is tiled"


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
        self._tables: dict[str, int] = {}
        self._views: dict[str, NDArray[Any]] = {}
        self._maps: dict[str, mmap.mmap] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Where the files are; everything has been written (`write`)."""
        if not self._files or self._held:
            raise ValueError("a store is written before another process is given it")
        return {**self.__dict__, "_views": {}, "_maps": {}}

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
        if self._held > self._limit:
            self.write()

    def write(self) -> None:
        """Move what is in memory to the files."""
        self._files = True
        if not self._held and self._folder.exists():
            return
        with storage_errors("keeping a layer's triangles while it is tiled"):
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

    def gather(self, name: str, schema: pa.Schema, tables: Iterable[pa.Table]) -> pa.Table:
        """All rows of some tables, each column in one chunk; in files, of which memory holds one column at a time, where they are many or the store's columns are in files.

        Args:
            schema: of all; a table may lack columns of it. A column that nothing is in is left out if it is named `parent`.

        Raises:
            StorageError: the disk is full.
        """
        found, size, raw = [schema.empty_table()], 0, self._folder / f"{name}.rows"
        tables = iter(tables)
        for table in tables:
            found.append(table)
            size += table.nbytes
            if self._files or self._held + size > self._limit:
                break
        else:
            return _without_parents(pa.concat_tables(found, promote_options="default")).combine_chunks()
        self.write()
        with storage_errors(KEEPING):
            self._folder.mkdir(parents=True, exist_ok=True)
            with pa.OSFile(str(raw), "wb") as sink, pa.ipc.new_stream(sink, schema) as writer:
                writer.write_table(pa.concat_tables(found, promote_options="default").select(schema.names))
                found.clear()
                for table in tables:
                    writer.write_table(pa.concat_tables([schema.empty_table(), table], promote_options="default"))
        with pa.memory_map(str(raw)) as mapped:
            kept = self.keep_table(name, _without_parents(pa.ipc.open_stream(mapped).read_all()))
        raw.unlink()
        return kept

    def keep_table(self, name: str, table: pa.Table) -> pa.Table:
        """The same table in files, if the store's columns are; each column in one chunk and in a file of its own."""
        if name in self._tables or not self._files:
            return table
        self.write()
        for number, column in enumerate(table.column_names):
            own = table.select([column]).combine_chunks()
            with storage_errors(KEEPING), pa.OSFile(str(self._folder / f"{name}.{number}"), "wb") as sink, pa.ipc.new_file(sink, own.schema) as writer:
                writer.write_table(own, max_chunksize=max(1, len(own)))
        self._tables[name] = table.num_columns
        return self.table(name)

    def table(self, name: str) -> pa.Table:
        """A table of `keep_table`, from its files."""
        columns = [pa.ipc.open_file(pa.BufferReader(pa.py_buffer(self._map(f"{name}.{number}")))).read_all() for number in range(self._tables[name])]
        return pa.Table.from_arrays([own.column(0) for own in columns], schema=pa.unify_schemas([own.schema for own in columns]))

    def keep_array(self, name: str, array: NDArray[Any]) -> NDArray[Any]:
        """The same array in a file, where other processes find it (`array`); what was kept once stays.

        Raises:
            StorageError: the disk is full.
        """
        path = self._folder / f"{name}.npy"
        if not path.exists():  # it is mapped by those that were given it
            with storage_errors(KEEPING):
                np.save(path, array)
        return self.array(name)

    def laid(self, name: str, array: NDArray[Any]) -> NDArray[Any]:
        """The same array, in a file where the store's columns are in files.

        Raises:
            StorageError: the disk is full.
        """
        return self.keep_array(name, array) if self._files else array

    def array(self, name: str) -> NDArray[Any]:
        """An array of `keep_array`, mapped."""
        found: NDArray[Any] = np.load(self._folder / f"{name}.npy", mmap_mode="r")
        return found

    def release(self) -> None:
        """Let go of the pages of the files that were read; arrays stay as they are and are read again when touched."""
        for found in self._maps.values():
            found.madvise(mmap.MADV_DONTNEED)


def _without_parents(table: pa.Table) -> pa.Table:
    """Without the column of parents where no feature has one."""
    return table.drop_columns(["parent"]) if "parent" in table.column_names and table.column("parent").null_count == len(table) else table
