"""The source's rows by feature id, read straight from the lake's Parquet; a few row groups in memory at a time."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from twin.lake import Lake
from twin.model import LayerVersion

HELD = 1 << 24
"""Bytes of row groups that are kept; two at least."""
FOOTERS = 16
"""Files whose footers are kept: one takes as long to read as many of its row groups."""


class SourceRows:
    """Every feature that a version shows, by id.

    About 12 bytes a feature stay in memory (a hash of its id and its row number); everything else is read when asked for.

    Attributes:
        total: rows of all parts. shown: (total,) whether the version shows a row.
    """

    def __init__(self, lake: Lake, version: LayerVersion, columns: list[str]) -> None:
        self.columns = ["id", *columns]
        self._groups: list[tuple[Path, int]] = []
        self._starts: list[int] = []
        self._held: OrderedDict[int, pa.Table] = OrderedDict()
        self._footers: OrderedDict[Path, pq.FileMetaData] = OrderedDict()
        self._bytes = 0
        self._known: dict[str, int] = {}  # of ids that share their hash with others
        hashes, shown = [np.zeros(0, np.int64)], [np.zeros(0, bool)]
        row = 0
        for part in version.parts:
            if part.role != "features":
                continue
            dead = {*version.tombstones, *part.hidden}
            path = lake.path(part.key)
            with pq.ParquetFile(path) as file:
                for group in range(file.num_row_groups):
                    ids = file.read_row_group(group, columns=["id"]).column("id").to_pylist()
                    self._groups.append((path, group))
                    self._starts.append(row)
                    hashes.append(np.fromiter(map(hash, ids), np.int64, len(ids)))
                    shown.append(np.fromiter((text not in dead for text in ids), bool, len(ids)))
                    row += len(ids)
        self.total, self.shown = row, np.concatenate(shown)
        found = np.concatenate(hashes)
        del hashes
        rows = np.argsort(found, kind="stable").astype(np.int32 if row < 1 << 31 else np.int64)
        rows = rows[self.shown[rows]]
        self._hashes, self._rows = found[rows], rows
        again = np.flatnonzero(self._hashes[1:] == self._hashes[:-1])
        if len(again):
            same = np.sort(rows[np.unique(np.concatenate([again, again + 1]))]).astype(np.int64)
            self._known = dict(zip(self.names(same), same.tolist(), strict=True))

    def rows(self, ids: list[str]) -> NDArray[np.int64]:
        """(N,) the row of each id, −1 where the version shows no such feature."""
        if not len(self._hashes):
            return np.full(len(ids), -1)
        hashes = np.fromiter(map(hash, ids), np.int64, len(ids))
        at = np.minimum(np.searchsorted(self._hashes, hashes), len(self._hashes) - 1)
        rows = np.where(self._hashes[at] == hashes, self._rows[at], -1).astype(np.int64)
        if self._known:
            rows = np.array([self._known.get(text, row) for text, row in zip(ids, rows.tolist(), strict=True)], np.int64)
        likely = np.flatnonzero(rows >= 0)
        texts = self.names(rows[likely])
        rows[[i for i, text in zip(likely.tolist(), texts, strict=True) if ids[i] != text]] = -1  # another id of the same hash
        return rows

    def names(self, rows: NDArray[np.int64]) -> list[str]:
        """The ids of rows."""
        found: list[str] = self.take(rows, ["id"]).column("id").to_pylist() if len(rows) else []
        return found

    def take(self, rows: NDArray[np.int64], columns: list[str] | None = None) -> pa.Table:
        """The columns of these rows, in this order; or some of them."""
        owner = np.searchsorted(np.array(self._starts), rows, side="right") - 1
        tables, places = [], []
        for group in np.unique(owner):
            here = np.flatnonzero(owner == group)
            table = self._read(int(group)) if columns is None else self._read(int(group)).select(columns)
            tables.append(table.take(pa.array(rows[here] - self._starts[group])))
            places.append(here)
        back = np.argsort(np.concatenate(places), kind="stable")
        return pa.concat_tables(tables).take(pa.array(back)).combine_chunks()

    def every(self, columns: list[str], rows: NDArray[np.bool_]) -> pa.Table:
        """Some columns of all rows that are marked, (total,)."""
        tables, first = [], 0
        for path, group in self._groups:
            with pq.ParquetFile(path) as file:
                table = file.read_row_group(group, columns=columns)
            tables.append(table.filter(pa.array(rows[first : first + len(table)])))
            first += len(table)
        return pa.concat_tables(tables, promote_options="default").combine_chunks()

    def _read(self, group: int) -> pa.Table:
        if group not in self._held:
            path, number = self._groups[group]
            with pq.ParquetFile(path, metadata=self._footers.get(path)) as file:
                self._footers[path] = file.metadata
                self._held[group] = file.read_row_group(number, columns=self.columns)
            self._bytes += self._held[group].nbytes
            while self._bytes > HELD and len(self._held) > 2:
                self._bytes -= self._held.popitem(last=False)[1].nbytes
            self._footers.move_to_end(path)
            if len(self._footers) > FOOTERS:
                self._footers.popitem(last=False)
        self._held.move_to_end(group)
        return self._held[group]
