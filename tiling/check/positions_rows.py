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

HELD = 6


class SourceRows:
    """Every feature that a version shows, by id.

    About 150 bytes a feature stay in memory (its id and its row number); everything else is read when asked for.
    """

    def __init__(self, lake: Lake, version: LayerVersion, columns: list[str]) -> None:
        self.columns = ["id", *columns]
        self.row_of: dict[str, int] = {}
        self._groups: list[tuple[Path, int]] = []
        self._starts: list[int] = []
        self._held: OrderedDict[int, pa.Table] = OrderedDict()
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
                    self.row_of.update((text, row + i) for i, text in enumerate(ids) if text not in dead)
                    row += len(ids)
        self.total = row

    def take(self, rows: NDArray[np.int64]) -> pa.Table:
        """The columns of these rows, in this order."""
        owner = np.searchsorted(np.array(self._starts), rows, side="right") - 1
        tables, places = [], []
        for group in np.unique(owner):
            here = np.flatnonzero(owner == group)
            tables.append(self._read(int(group)).take(pa.array(rows[here] - self._starts[group])))
            places.append(here)
        back = np.argsort(np.concatenate(places), kind="stable")
        return pa.concat_tables(tables).take(pa.array(back)).combine_chunks()

    def _read(self, group: int) -> pa.Table:
        if group not in self._held:
            path, number = self._groups[group]
            with pq.ParquetFile(path) as file:
                self._held[group] = file.read_row_group(number, columns=self.columns)
            while len(self._held) > HELD:
                self._held.popitem(last=False)
        self._held.move_to_end(group)
        return self._held[group]
