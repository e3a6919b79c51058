"""Random access to the feature rows of a version: row groups by number, rows of a tile by position.

A layer's rows are numbered through its feature parts in order, hidden ones included, so that a number means the same in
every process. Only some row groups are held at a time.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from twin import parts
from twin.keys import id_hash as id_hash  # noqa: PLC0414  tilers break ties by it
from twin.lake import Lake
from twin.model import LayerVersion, Part

HELD = 32_768
"""Rows of row groups that are kept for the next call."""
OPEN = 4
"""Parts that are open at a time: neighbours lie in one or two."""
_READERS = 2
_AT_ONCE = 8
"""Row groups of a file that a thread reads at a time."""
_LOOSE = 4
"""Rows that lie so close in their row group are taken together with what is between them: one view instead of a copy of every column."""


@dataclass(frozen=True)
class Groups:
    """Row groups of files, one file behind the other: by number (file, row group in it, first row, rows).

    As columns: every unit of work carries those of the whole layer to its process.

    Attributes:
        paths: the files. begin: (F + 1,) number of the first row group of each, and of all. first: (G + 1,) first row of each, and rows of all.
    """

    paths: list[Path]
    begin: list[int]
    first: NDArray[np.int64]

    @staticmethod
    def of(counts: list[tuple[Path, list[int]]]) -> Groups:
        """Of files with the rows of each row group."""
        begin = [0, *accumulate(len(rows) for _, rows in counts)]
        return Groups([path for path, _ in counts], begin, np.cumsum([0, *(row for _, rows in counts for row in rows)], dtype=np.int64))

    def __len__(self) -> int:
        return len(self.first) - 1

    def file(self, number: int) -> int:
        """Which file a row group is of."""
        return bisect_right(self.begin, number) - 1

    def __getitem__(self, number: int) -> tuple[Path, int, int, int]:
        if not 0 <= number < len(self):
            raise IndexError(number)
        file, first = self.file(number), int(self.first[number])
        return self.paths[file], number - self.begin[file], first, int(self.first[number + 1]) - first


@dataclass
class Rows:
    """Row groups of a version's features.

    Attributes:
        groups: of all parts.
        parts: (part, its first row group, its first row) of each.
        dead: of each part, ids that it holds and the version does not show from there.
        held: how many rows are kept for the next call.
    """

    groups: Groups
    parts: list[tuple[Part, int, int]]
    dead: list[tuple[str, ...]]
    held: int = HELD
    _held: OrderedDict[int, pa.Table] = field(default_factory=OrderedDict, repr=False)
    _coming: dict[int, tuple[Future[pa.Table], int]] = field(default_factory=dict, repr=False)  # row groups that threads read, and where each begins in what is read together
    _threads: ThreadPoolExecutor | None = field(default=None, repr=False)
    _files: OrderedDict[Path, pq.ParquetFile] = field(default_factory=OrderedDict, repr=False)

    @staticmethod
    def of(lake: Lake, version: LayerVersion) -> Rows:
        """The row groups of a version, from the parts' footers alone."""
        held = [part for part in version.parts if part.role == "features"]
        counts, files = [], OrderedDict[Path, pq.ParquetFile]()
        for part in held:
            path = lake.path(part.key)
            about = _opened(path, files).metadata
            counts.append((path, [about.row_group(number).num_rows for number in range(about.num_row_groups)]))
        groups = Groups.of(counts)
        starts = [(part, start, int(groups.first[start])) for part, start in zip(held, groups.begin, strict=False)]
        return Rows(groups, starts, [version.tombstones + part.hidden for part in held], _files=files)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_held": OrderedDict(), "_coming": {}, "_threads": None, "_files": OrderedDict()}

    def __len__(self) -> int:
        return int(self.groups.first[-1])

    def schema(self) -> pa.Schema:
        """The columns of the first part."""
        return self._file(self.groups[0][0]).schema_arrow

    def read(self, group: int) -> pa.Table:
        """One row group, all columns but the boxes."""
        self._load([group])
        return self._held[group]

    def span(self, start: int, stop: int) -> pa.Table:
        """Some row groups of one part, one behind the other, as one table; nothing is kept."""
        path, number, _, _ = self.groups[start]
        return self._file(path).read_row_groups(list(range(number, number + stop - start)), use_threads=False).combine_chunks()

    def column(self, name: str, part: int) -> pa.ChunkedArray:
        """A column of one part, whole."""
        return self._file(self.groups[self.parts[part][1]][0]).read([name]).column(name)

    def alive(self, start: int, stop: int, ids: pa.ChunkedArray) -> NDArray[np.bool_]:
        """(N,) which rows of some row groups of one part, whose ids are given, the version still shows."""
        dead = self.dead[self.groups.file(start)] if start < stop else ()
        if not dead:
            return np.ones(len(ids), bool)
        gone = pc.is_in(ids, value_set=pa.array(dead, pa.string()))
        return np.asarray(~gone.combine_chunks().to_numpy(zero_copy_only=False), bool)

    def take(self, rows: NDArray[np.int64]) -> pa.Table:
        """The rows of these numbers, in this order, without their boxes."""
        if not len(rows):
            return self.read(0).slice(0, 0)
        starts = self.groups.first[:-1]
        owner = np.searchsorted(starts, rows, side="right") - 1
        order = np.argsort(owner, kind="stable")
        wanted, first = np.unique(owner[order], return_index=True)
        own = dict(zip(wanted.tolist(), np.split(order, first[1:]), strict=True))
        batches = _batches(wanted.tolist(), self.groups, self.held)
        place, tables, at = np.empty(len(rows), np.int64), [], 0
        for some in batches:
            self._load(some)
            for group in some:
                mine, table = own[group], self._held[group]
                local = rows[mine] - starts[group]
                low, high = int(local.min()), int(local.max()) + 1
                if len(batches) == 1 and high - low <= _LOOSE * len(mine):
                    table, local = table.slice(low, high - low), local - low
                else:  # of many row groups that hold a row or two each, only the rows are kept
                    table, local = table.take(pa.array(local)), np.arange(len(mine))
                tables.append(table)
                place[mine] = at + local
                at += len(table)
        table = pa.concat_tables(tables)
        return (table if np.array_equal(place, np.arange(at)) else table.take(pa.array(place))).combine_chunks()

    def expect(self, rows: NDArray[np.int64]) -> None:
        """Have threads read what `take` will need for these rows, as far as as much may be held."""
        groups = np.unique(np.searchsorted(self.groups.first[:-1], rows, side="right") - 1)
        groups = np.array([group for group in groups.tolist() if group not in self._held and group not in self._coming], np.int64)
        count = np.diff(self.groups.first)
        groups = groups[np.cumsum(count[groups]) <= self.held - int(count[list(self._coming)].sum())]
        if self._threads is None:
            self._threads = ThreadPoolExecutor(_READERS, "rows")
        files = np.searchsorted(self.groups.begin, groups, side="right")
        for mine in np.split(groups, np.flatnonzero(np.diff(files)) + 1):
            for at in range(0, len(mine), _AT_ONCE):
                some, start = mine[at : at + _AT_ONCE].tolist(), 0
                read = self._threads.submit(_read, self.groups[some[0]][0], [self.groups[group][1] for group in some])
                for group in some:
                    self._coming[group] = read, start
                    start += self.groups[group][3]

    def _file(self, path: Path) -> pq.ParquetFile:
        return _opened(path, self._files)

    def _load(self, groups: list[int]) -> None:
        """Have these row groups at hand; those that lie one behind the other in a file are read at once."""
        for group in [group for group in groups if group in self._coming]:
            read, start = self._coming.pop(group)
            self._held[group] = read.result().slice(start, self.groups[group][3])
        missing = [group for group in groups if group not in self._held]
        for path in dict.fromkeys(self.groups[group][0] for group in missing):
            mine = [group for group in missing if self.groups[group][0] == path]
            # an update, for which more is held, waits for these rows; in a full build the other cores have tasks of their own
            table, at = _described(self._file(path), [self.groups[group][1] for group in mine], threads=self.held > HELD), 0
            for group in mine:
                self._held[group] = table.slice(at, self.groups[group][3])
                at += self.groups[group][3]
        for group in groups:
            self._held.move_to_end(group)
        kept = sum(map(len, self._held.values()))
        while kept > self.held and len(self._held) > len(groups):
            kept -= len(self._held.popitem(last=False)[1])


def _described(file: pq.ParquetFile, groups: list[int], *, threads: bool) -> pa.Table:
    """Some row groups, all columns but the boxes."""
    return file.read_row_groups(groups, columns=[name for name in file.schema_arrow.names if name != "bbox"], use_threads=threads)


def _read(path: Path, groups: list[int]) -> pa.Table:
    """The same of a file that is opened for it: one that is open is not for several threads."""
    with parts.open_part(path) as file:
        return _described(file, groups, threads=False)


def _opened(path: Path, files: OrderedDict[Path, pq.ParquetFile]) -> pq.ParquetFile:
    """A part; of those that are open, the last `OPEN` that were asked for stay so."""
    if path not in files:
        files[path] = parts.open_part(path)
    files.move_to_end(path)
    while len(files) > OPEN:
        files.popitem(last=False)
    return files[path]


def _batches(wanted: list[int], groups: Groups, rows: int) -> list[list[int]]:
    """`wanted` in runs of at most `rows` rows (at least one row group)."""
    result: list[list[int]] = []
    room = 0
    for group in wanted:
        if not result or groups[group][3] > room:
            result.append([])
            room = rows
        result[-1].append(group)
        room -= groups[group][3]
    return result
