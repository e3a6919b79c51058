"""How many different values a column has, without holding the column: its values' hashes lie in a file and are sorted range by range.

Ten million ids and a table to look them up in take two gigabytes; their hashes take 80 MB of disk.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from twin.keys import id_hash, in_order
from twin.lake import storage_errors

Runs = Iterable[pa.ChunkedArray]
FEW = 65_536
"""Texts whose hashes occur again that are compared themselves. Hashes of different texts hardly ever agree: where there are more, they are the same texts."""
RANGE = 1 << 20
"""Hashes that are sorted at a time."""
LONGEST = 1 << 23
"""Keys of a run that is not made longer by as many again: sorting it anew would take as much memory once more."""


def count(column: Callable[[], Runs]) -> tuple[int, int, int]:
    """(rows, nulls, different values) of a column of whole numbers or texts; `column` starts a new pass over it, run by run.

    Raises:
        StorageError: the disk is full.
    """
    rows = nulls = 0
    text = False
    with tempfile.TemporaryFile(prefix="twin-distinct-") as file:
        with storage_errors("looking through a column for values that occur twice"):
            for values in column():
                rows, nulls = rows + len(values), nulls + values.null_count
                text = text or not pa.types.is_integer(values.type)
                file.write(_keys(values).tobytes())
            file.flush()
        if rows == nulls:
            return rows, nulls, 0
        keys = np.memmap(file, np.uint64, "r")
        different = again = 0
        repeated: list[NDArray[np.uint64]] = []
        for value, times in _counted(keys):
            different += len(value)
            twice = times > 1
            again += int(times[twice].sum())
            if again <= FEW:
                repeated.append(value[twice])
    if text and 0 < again <= FEW:
        known = np.concatenate(repeated)
        same = [values.drop_null().filter(pa.array(np.isin(_keys(values), known))) for values in column()]
        different += pc.count_distinct(pa.chunked_array([chunk for one in same for chunk in one.chunks])).as_py() - len(known)
    return rows, nulls, different


class Seen:
    """Keys that have come, eight bytes each."""

    def __init__(self) -> None:
        self._runs: list[NDArray[np.uint64]] = []  # each in order, and longer than those behind it

    def add(self, keys: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """(N,) which of the next keys came before, also among these."""
        own, first = np.unique(keys, return_index=True)
        again = np.ones(len(keys), bool)
        again[first] = False
        for run in self._runs:
            again[first[run[np.minimum(np.searchsorted(run, own), len(run) - 1)] == own]] = True
        if len(own):
            self._runs.append(own)
        while len(self._runs) > 1 and len(self._runs[-2]) < 2 * len(self._runs[-1]) <= LONGEST:
            self._runs[-2:] = [np.sort(np.concatenate(self._runs[-2:]))]
        return again


def _counted(keys: NDArray[np.uint64]) -> Iterator[tuple[NDArray[np.uint64], NDArray[np.int64]]]:
    """(values, how often each occurs), a range at a time."""
    for some in in_order(keys, RANGE):
        yield np.unique(keys[some], return_counts=True)


def _keys(values: pa.ChunkedArray) -> NDArray[np.uint64]:
    """Of each value that is not null: a number itself, a text's hash."""
    held = values.drop_null()
    if pa.types.is_integer(values.type):
        wide = pa.int64() if pa.types.is_signed_integer(values.type) else pa.uint64()
        return np.asarray(held.cast(wide).to_numpy()).view(np.uint64)
    return np.concatenate([np.zeros(0, np.uint64), *map(id_hash, held.chunks)])
