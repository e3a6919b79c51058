"""What a part states nothing of it shows as the feature that it belongs to does: the roof of a school is a school's.

City models state use, floors and names with a building and draw its surfaces, which are features of their own. A tile's rows are those of
what it draws, so without this the building's attributes were in no tile, and a client could colour nothing by them. It holds for the columns
that their reader calls `inherited`, and in tiles alone: the lake's rows stay as they were read, and queries count nothing twice.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tiling.meshes.attributes import Attributes
from twin.keys import id_hash

I64 = NDArray[np.int64]
U64 = NDArray[np.uint64]
HELD = 1 << 20
"""Hashes that wait to be sorted."""
DEPTH = 16
"""Steps up that are taken, at most: a surface, of an installation, of a room, of a part, of a building; or a circle."""


@dataclass
class Inherited:
    """The features that others belong to.

    Attributes:
        names: the columns that are inherited. schema: of all columns.
        hashes: (N,) of their ids, ascending. rows: (N,) where each is in `table`: id, those columns, parent.
    """

    names: list[str]
    schema: pa.Schema
    hashes: U64
    rows: I64
    table: Attributes

    @staticmethod
    def of(paths: list[Path], names: list[str], schema: pa.Schema, file: Path, room: int) -> Inherited | None:
        """Find them in some feature parts; None where nothing belongs to anything. `file` holds what is more than `room` bytes.

        Raises:
            StorageError: the disk is full.
        """
        named, hashes = _named(paths), []
        if not len(named):
            return None
        columns = ["id", *names, "parent"]

        def rows() -> Iterator[pa.Table]:
            for path in paths:
                with pq.ParquetFile(path, pre_buffer=False) as part:
                    held = set(part.schema_arrow.names)
                    for batch in part.iter_batches(columns=[name for name in columns if name in held]):
                        own = id_hash(batch.column("id"))
                        here = _places(named, own) >= 0
                        hashes.append(own[here])
                        yield pa.Table.from_batches([batch]).filter(pa.array(here))

        table = Attributes.gather(pa.schema([schema.field(name) for name in columns]), rows(), file, room)
        found = np.concatenate([np.zeros(0, np.uint64), *hashes])
        order = np.argsort(found, kind="stable")
        return Inherited(names, schema, found[order], order, table)

    def fill(self, table: pa.Table) -> pa.Table:
        """Some rows with nothing left empty that a feature above them states; the nearest counts."""
        for name in self.names:
            if name not in table.column_names:
                table = table.append_column(self.schema.field(name), pa.nulls(len(table), self.schema.field(name).type))
        parent = table.column("parent").combine_chunks()
        for _ in range(DEPTH):
            above, place = np.unique(self._find(parent), return_inverse=True)
            if not (above >= 0).any():
                break
            lifted = self.table.take(above[above >= 0])
            from_row = pa.array(place - (above[0] < 0), mask=above[place] < 0)
            for name in self.names:
                column = table.column(name)
                if column.null_count:
                    field = table.schema.field(name)
                    filled = pc.coalesce(column.combine_chunks(), lifted.column(name).combine_chunks().take(from_row).cast(field.type))
                    table = table.set_column(table.schema.get_field_index(name), field, filled)
            if "parent" not in lifted.column_names:
                break
            parent = lifted.column("parent").combine_chunks().take(from_row)
        return table

    def _find(self, ids: pa.Array) -> I64:
        """(N,) where features are in `table`, −1 for those that are not."""
        found = np.full(len(ids), -1)
        given = np.flatnonzero(pc.is_valid(ids).to_numpy(zero_copy_only=False))
        if len(given) and len(self.hashes):
            at = _places(self.hashes, id_hash(ids.take(pa.array(given))))
            found[given] = np.where(at >= 0, self.rows[at], -1)
        return found


def _places(hashes: U64, sought: U64) -> I64:
    """(N,) where each is among ascending hashes (at least one), −1 for those that are not: without sorting them again for every batch."""
    at = np.minimum(np.searchsorted(hashes, sought), len(hashes) - 1)
    return np.where(hashes[at] == sought, at, -1)


def _named(paths: list[Path]) -> U64:
    """Hashes of the ids that any row names as its parent, ascending."""
    named, waiting = np.zeros(0, np.uint64), [np.zeros(0, np.uint64)]
    for path in paths:
        with pq.ParquetFile(path, pre_buffer=False) as part:
            for batch in part.iter_batches(columns=["parent"]):
                waiting.append(np.unique(id_hash(batch.column("parent").drop_null())))
                if sum(map(len, waiting)) > HELD:
                    named, waiting = np.unique(np.concatenate([named, *waiting])), []
    return np.unique(np.concatenate([named, *waiting]))
