"""Random access to the feature rows of a version: row groups by number, rows of a tile by position.

A layer's rows are numbered through its feature parts in order, tombstones included, so that a number means the same in
every process. Only a few row groups are held at a time.
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

from twin.lake import Lake
from twin.model import LayerVersion

HELD = 4


@dataclass
class Rows:
    """Row groups of a version's features.

    Attributes:
        groups: (file, row group in it, first row, rows) of each.
        dead: ids that each of them holds and the version does not show from there.
    """

    groups: list[tuple[Path, int, int, int]]
    dead: list[tuple[str, ...]] = field(default_factory=list)
    _held: OrderedDict[int, pa.Table] = field(default_factory=OrderedDict, repr=False)

    @staticmethod
    def of(lake: Lake, version: LayerVersion) -> Rows:
        """The row groups of a version, from the parts' footers alone."""
        groups, dead, first = [], [], 0
        for part in version.parts:
            if part.role == "features":
                path = lake.path(part.key)
                about = pq.read_metadata(path)
                for number in range(about.num_row_groups):
                    rows = about.row_group(number).num_rows
                    groups.append((path, number, first, rows))
                    dead.append(version.tombstones + part.hidden)
                    first += rows
        return Rows(groups, dead)

    def __getstate__(self) -> dict[str, Any]:
        return {"groups": self.groups, "dead": self.dead, "_held": OrderedDict()}

    def __len__(self) -> int:
        return self.groups[-1][2] + self.groups[-1][3] if self.groups else 0

    def read(self, group: int) -> pa.Table:
        """One row group, all columns."""
        if group not in self._held:
            path, number, _, _ = self.groups[group]
            with pq.ParquetFile(path) as file:
                self._held[group] = file.read_row_group(number, use_threads=False)
            while len(self._held) > HELD:
                self._held.popitem(last=False)
        self._held.move_to_end(group)
        return self._held[group]

    def alive(self, group: int) -> NDArray[np.bool_]:
        """(N,) which rows of a row group the version still shows."""
        table = self.read(group)
        if not self.dead[group]:
            return np.ones(len(table), bool)
        gone = pc.is_in(table.column("id"), value_set=pa.array(self.dead[group], pa.string()))
        return np.asarray(~gone.combine_chunks().to_numpy(zero_copy_only=False), bool)

    def take(self, rows: NDArray[np.int64]) -> pa.Table:
        """The rows of these numbers, in this order."""
        starts = np.array([group[2] for group in self.groups])
        owner = np.searchsorted(starts, rows, side="right") - 1
        pieces, places = [], []
        for group in np.unique(owner):
            here = np.flatnonzero(owner == group)
            pieces.append(self.read(int(group)).take(pa.array(rows[here] - starts[group])))
            places.append(here)
        table = pa.concat_tables(pieces)
        back = np.empty(len(rows), np.int64)
        back[np.concatenate(places)] = np.arange(len(rows))
        return table.take(pa.array(back)).combine_chunks()


def id_hash(ids: pa.Array) -> NDArray[np.uint64]:
    """(N,) a 64-bit hash of each text: a polynomial over its bytes, modulo 2^64, scrambled.

    Ties are broken by it, so that no order of arrival shows in the tiles.
    """
    ids = ids.cast(pa.large_string())
    offsets = np.frombuffer(ids.buffers()[1], np.int64)[ids.offset : ids.offset + len(ids) + 1]
    data = ids.buffers()[2]
    lengths = np.diff(offsets)
    if data is None or not lengths.sum():
        return np.zeros(len(ids), np.uint64)
    body = np.frombuffer(data, np.uint8)[offsets[0] : offsets[-1]].astype(np.uint64)
    place = np.arange(len(body)) - np.repeat(offsets[:-1] - offsets[0], lengths)
    with np.errstate(over="ignore"):
        powers = np.cumprod(np.full(int(lengths.max()), 0x100000001B3, np.uint64))
        terms = (body + np.uint64(1)) * powers[place]
        total = np.concatenate([np.zeros(1, np.uint64), np.cumsum(terms, dtype=np.uint64)])
        ends = offsets - offsets[0]
        value = total[ends[1:]] - total[ends[:-1]]
        value ^= value >> np.uint64(29)
        return np.asarray(value * np.uint64(0xBF58476D1CE4E5B9), np.uint64)
