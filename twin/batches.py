"""Arrow batches in a mapped file: rows are taken here and there, and the pages that were read for them are given back.

Rows are taken batch by batch: Arrow's `take` copies the whole of a column of texts that lies in several chunks, for however few rows.
"""

from __future__ import annotations

import mmap
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray


class Batches:
    """The record batches of a file in Arrow's stream format.

    Attributes:
        tables: a table each, as views of the file. schema: of all.
    """

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        whole = pa.ipc.open_stream(pa.BufferReader(pa.py_buffer(self._map))).read_all()
        self.schema: pa.Schema = whole.schema
        self.tables = [pa.Table.from_batches([batch]) for batch in whole.to_batches()] or [self.schema.empty_table()]
        self._first = starts(self.tables)

    def __len__(self) -> int:
        return int(self._first[-1])

    def take(self, rows: NDArray[np.int64], columns: Sequence[str] | None = None) -> pa.Table:
        """Some rows in this order, each column in one chunk."""
        found = take(self.tables, self._first, rows, columns) if len(rows) else self.schema.empty_table()
        self.release()
        return found if len(rows) or columns is None else found.select(columns)

    def release(self) -> None:
        """Let go of the pages that were read; views of them stay as they are and are read again when touched."""
        self._map.madvise(mmap.MADV_DONTNEED)


def starts(tables: Sequence[pa.Table]) -> NDArray[np.int64]:
    """(N + 1,) the row at which each table begins, one behind the other, and where the last ends."""
    return np.cumsum([0, *map(len, tables)], dtype=np.int64)


def take(tables: Sequence[pa.Table], first: NDArray[np.int64], rows: NDArray[np.int64], columns: Sequence[str] | None = None) -> pa.Table:
    """Some rows (at least one) of tables that lie one behind the other, in this order, each column in one chunk; `first` as of `starts`."""
    owner = np.searchsorted(first, rows, side="right") - 1
    order = np.argsort(owner, kind="stable")
    numbers, at = np.unique(owner[order], return_index=True)
    found = []
    for number, own in zip(numbers.tolist(), np.split(order, at[1:]), strict=True):
        table = tables[number] if columns is None else tables[number].select(list(columns))
        found.append(table.take(pa.array(rows[own] - first[number])))
    whole = pa.concat_tables(found).combine_chunks()
    if len(found) == 1:
        return whole
    place = np.empty(len(rows), np.int64)
    place[order] = np.arange(len(rows))
    return whole.take(pa.array(place))
