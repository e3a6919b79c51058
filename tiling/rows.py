"""Random access to the feature rows of a version: row groups by number, rows of a tile by position.

A layer's rows are numbered through its feature parts in order, hidden ones included, so that a number means the same in
every process. Only some row groups are held at a time.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
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
_LOOSE = 4
"""Rows that lie so close in their row group are taken together with what is between them: one view instead of a copy of every column."""


@dataclass
class Rows:
    """Row groups of a version's features.

    Attributes:
        groups: (file, row group in it, first row, rows) of each.
        parts: (part, its first row group, its first row) of each.
        dead: ids that each row group holds and the version does not show from there.
        held: how many rows are kept for the next call.
    """

    groups: list[tuple[Path, int, int, int]]
    parts: list[tuple[Part, int, int]]
    dead: list[tuple[str, ...]] = field(default_factory=list)
    held: int = HELD
    _held: OrderedDict[int, pa.Table] = field(default_factory=OrderedDict, repr=False)
    _files: OrderedDict[Path, pq.ParquetFile] = field(default_factory=OrderedDict, repr=False)

    @staticmethod
    def of(lake: Lake, version: LayerVersion) -> Rows:
        """The row groups of a version, from the parts' footers alone."""
        result, first = Rows([], []), 0
        for part in version.parts:
            if part.role == "features":
                path = lake.path(part.key)
                about = result._file(path).metadata
                result.parts.append((part, len(result.groups), first))
                for number in range(about.num_row_groups):
                    rows = about.row_group(number).num_rows
                    result.groups.append((path, number, first, rows))
                    result.dead.append(version.tombstones + part.hidden)
                    first += rows
        return result

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_held": OrderedDict(), "_files": OrderedDict()}

    def __len__(self) -> int:
        return self.groups[-1][2] + self.groups[-1][3] if self.groups else 0

    def schema(self) -> pa.Schema:
        """The columns of the first part."""
        return self._file(self.groups[0][0]).schema_arrow

    def read(self, group: int) -> pa.Table:
        """One row group, all columns but the boxes."""
        self._load([group])
        return self._held[group]

    def span(self, start: int, stop: int) -> pa.Table:
        """Some row groups of one part, one behind the other, as one table; nothing is kept."""
        path = self.groups[start][0]
        numbers = [number for _, number, _, _ in self.groups[start:stop]]
        return self._file(path).read_row_groups(numbers, use_threads=False).combine_chunks()

    def column(self, name: str, part: int) -> pa.ChunkedArray:
        """A column of one part, whole."""
        return self._file(self.groups[self.parts[part][1]][0]).read([name]).column(name)

    def alive(self, start: int, stop: int, ids: pa.ChunkedArray) -> NDArray[np.bool_]:
        """(N,) which rows of some row groups of one part, whose ids are given, the version still shows."""
        if start == stop or not self.dead[start]:
            return np.ones(len(ids), bool)
        gone = pc.is_in(ids, value_set=pa.array(self.dead[start], pa.string()))
        return np.asarray(~gone.combine_chunks().to_numpy(zero_copy_only=False), bool)

    def take(self, rows: NDArray[np.int64]) -> pa.Table:
        """The rows of these numbers, in this order, without their boxes."""
        if not len(rows):
            return self.read(0).slice(0, 0)
        starts = np.array([group[2] for group in self.groups])
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

    def _file(self, path: Path) -> pq.ParquetFile:
        if path not in self._files:
            self._files[path] = parts.open_part(path)
        self._files.move_to_end(path)
        while len(self._files) > OPEN:
            self._files.popitem(last=False)
        return self._files[path]

    def _load(self, groups: list[int]) -> None:
        """Have these row groups at hand; those that lie one behind the other in a file are read at once."""
        missing = [group for group in groups if group not in self._held]
        for path in dict.fromkeys(self.groups[group][0] for group in missing):
            mine = [group for group in missing if self.groups[group][0] == path]
            # an update, for which more is held, waits for these rows; in a full build the other cores have tasks of their own
            file = self._file(path)
            names = [name for name in file.schema_arrow.names if name != "bbox"]
            table, at = file.read_row_groups([self.groups[group][1] for group in mine], columns=names, use_threads=self.held > HELD), 0
            for group in mine:
                self._held[group] = table.slice(at, self.groups[group][3])
                at += self.groups[group][3]
        for group in groups:
            self._held.move_to_end(group)
        kept = sum(self.groups[group][3] for group in self._held)
        while kept > self.held and len(self._held) > len(groups):
            kept -= self.groups[self._held.popitem(last=False)[0]][3]


def _batches(wanted: list[int], groups: list[tuple[Path, int, int, int]], rows: int) -> list[list[int]]:
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
