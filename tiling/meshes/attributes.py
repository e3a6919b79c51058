"""The attributes of a layer's features: in memory while they are few, in a mapped file of batches once they are many."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from twin.batches import Batches, starts, take
from twin.lake import storage_errors

I64 = NDArray[np.int64]
ROWS = 8192
"""Rows of a batch in the file."""


class Attributes:
    """Rows by number: `schema`, `batches` and `take`. A column `parent` in which nothing is is left out.

    Another process that is given them is given the name of the file (`save` makes sure that there is one).
    """

    def __init__(self, tables: list[pa.Table], path: Path, columns: list[str] | None = None) -> None:
        self._path, self._batches = path, None if tables else Batches(path)
        found = tables or self._held.tables
        if columns is None:
            bare = "parent" in found[0].column_names and all(one.column("parent").null_count == len(one) for one in found)
            columns = [name for name in found[0].column_names if not (bare and name == "parent")]
        self._columns = columns
        self._tables = [one.select(columns) for one in found]
        self._first = starts(self._tables)
        self.schema: pa.Schema = self._tables[0].schema

    @property
    def _held(self) -> Batches:
        assert self._batches is not None  # of what lies in a file
        return self._batches

    @staticmethod
    def gather(schema: pa.Schema, tables: Iterable[pa.Table], path: Path, room: int) -> Attributes:
        """All rows of some tables; a table may lack columns of `schema`. What is more than `room` bytes goes to the file.

        Raises:
            StorageError: the disk is full.
        """
        found, size, rest = [schema.empty_table()], 0, iter(tables)
        for one in rest:
            found.append(one)
            size += one.nbytes
            if size > room:
                break
        else:
            return Attributes([pa.concat_tables(found, promote_options="default").select(schema.names).combine_chunks()], path)
        _write(path, schema, chain(found, rest))
        return Attributes([], path)

    def save(self) -> None:
        """See that all is in the file.

        Raises:
            StorageError: the disk is full.
        """
        if self._batches is None:
            _write(self._path, self.schema, self._tables)
            self.__dict__.update(Attributes([], self._path, self._columns).__dict__)

    def __getstate__(self) -> tuple[Path, list[str]]:
        if self._batches is None:
            raise ValueError("attributes are saved before another process is given them")
        return self._path, self._columns

    def __setstate__(self, state: tuple[Path, list[str]]) -> None:
        self.__dict__.update(_opened(state[0], tuple(state[1])).__dict__)

    def __len__(self) -> int:
        return int(self._first[-1])

    def batches(self) -> Iterator[pa.Table]:
        """All rows, some at a time; at least one table."""
        for one in self._tables:
            yield one
            if self._batches is not None:
                self._batches.release()

    def take(self, rows: I64, columns: list[str] | None = None) -> pa.Table:
        """Some rows in this order, each column in one chunk."""
        found = take(self._tables, self._first, rows, columns) if len(rows) else self._tables[0].slice(0, 0).select(columns or self._columns)
        if self._batches is not None:
            self._batches.release()
        return found

    def ids(self, rows: Any) -> list[str]:
        """The ids of some rows."""
        found: list[str] = self.take(np.asarray(rows, np.int64), ["id"]).column("id").to_pylist()
        return found

    def texts(self, column: str) -> list[Any]:
        """A column whole."""
        return [text for one in self._tables for text in one.column(column).to_pylist()]


def _write(path: Path, schema: pa.Schema, tables: Iterable[pa.Table]) -> None:
    with storage_errors("keeping a layer's attributes while it is tiled", path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, schema) as writer:
            writer.write_table(schema.empty_table())
            for one in tables:
                whole = pa.concat_tables([schema.empty_table(), one], promote_options="default").select(schema.names)
                writer.write_table(whole.combine_chunks(), max_chunksize=ROWS)


@lru_cache(maxsize=1)
def _opened(path: Path, columns: tuple[str, ...]) -> Attributes:
    """For a worker, which is given the same file with every unit of work."""
    return Attributes([], path, list(columns))
