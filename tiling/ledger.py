"""The ledger of a build: its tiles as rows, each with its key, the CRC of its bytes and its facts; and how it and other sidecars lie in the lake.

What a tile adds to the masses above it takes ten times as much as all else. It is kept apart from the rows, in a column on disk where the city is large.
"""

from __future__ import annotations

import json
import mmap
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from deflate import crc32
from numpy.typing import NDArray

from tiling.blocks.mass_columns import COLUMNS
from tiling.encoding.arrow_bytes import offsets_and_data
from tiling.store import Store
from tiling.tileset import Finished
from twin.archive import Packed
from twin.hashing import identity
from twin.lake import Lake, storage_errors

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
KINDS: dict[str, tuple[str, tuple[int, ...]]] = {"made": ("<f8", (COLUMNS,))}
"""The column of a store for masses, as they are made."""
HELD = 1 << 25
"""Bytes of masses that are kept in memory: those of two million buildings."""
RUN = 16_384
"""Tiles that are stored at a time, and rows of masses that are put in order."""
_TOGETHER = 512
_REMEMBERED = 1024
_SOUND: dict[tuple[int, ...], None] = {}
"""Files, as they were, whose CRC this process has compared: the indexes of a city are read at every update."""
_FORMAT = 3
_WIDTH = 8 * COLUMNS
_BOX = ("west", "south", "low", "east", "north", "high")
_STORED = pa.schema([
    ("name", pa.string()), ("key", pa.binary()), ("check", pa.uint32()), ("place", pa.string()), ("drawn", pa.bool_()), ("size", pa.int64()),
    *((name, pa.float64()) for name in _BOX), ("bottom", pa.float64()), ("top", pa.float64()),
    ("kept", pa.int64()), ("vertices", pa.int64()), ("triangles", pa.int64()), ("notes", pa.string()), ("error", pa.float64()), ("mass", pa.binary()),
])  # fmt: skip
"""A tile as it is stored, with its rows of masses."""
TILE = pa.schema([*list(_STORED)[:-1], ("masses", pa.int64())])
"""A finished tile as a row: its key, the CRC of its stored bytes, and its facts; `place` where these are not at `<name>.glb` in the archive;
`masses`: how many rows of masses it has."""


@dataclass
class Ledger:
    """Tiles of a build with their keys; what else the next build wants to know is in `notes` (JSON values).

    `rows`: the last of them, the others are columns already (`tables`); `places`: of tiles whose bytes are not at `<name>.glb` in the archive, where they are and the CRC of what is stored there.
    `masses`: where those of the tiles go (`KINDS`), for layers that have any.
    """

    rows: list[tuple[Any, ...]] = field(default_factory=list)
    tables: list[pa.Table] = field(default_factory=list)
    places: dict[str, tuple[str, int]] = field(default_factory=dict)
    notes: dict[str, Any] = field(default_factory=dict)
    masses: Store | None = None
    _masses: list[bytes] = field(default_factory=list)

    def add(self, name: str, key: bytes, check: int, tile: Finished) -> None:
        """Write down a tile: `check` is the CRC-32 of its bytes as they are stored (`twin.archive.Packed.check`).

        Raises:
            StorageError: the disk is full.
        """
        box = [float("nan")] * 6 if tile.low is None or tile.high is None else [*np.asarray(tile.low, np.float64).tolist(), *np.asarray(tile.high, np.float64).tolist()]
        notes = json.dumps(tile.notes, ensure_ascii=False) if tile.notes else ""
        self.rows.append((name, key, check, None, tile.packed is not None, tile.packed.size if tile.packed else 0, *box, *map(float, tile.heights),
                          tile.kept, tile.vertices, tile.triangles, notes, tile.error, len(tile.mass) // _WIDTH))  # fmt: skip
        self._masses.append(tile.mass)
        if len(self.rows) >= _TOGETHER:
            self._settle()

    def __len__(self) -> int:
        return len(self.rows) + sum(map(len, self.tables))

    def _settle(self) -> None:
        """A row of objects takes five times what it takes in columns."""
        columns = list(zip(*self.rows, strict=True)) or [()] * len(TILE)
        self.tables.append(pa.table([pa.array(column, kind) for column, kind in zip(columns, TILE.types, strict=True)], schema=TILE))
        if self.masses is not None:
            self.masses.add("made", np.frombuffer(bytearray().join(self._masses), "<f8").reshape(-1, COLUMNS))
        self.rows, self._masses = [], []

    def table(self) -> pa.Table:
        """The rows, as `TILE` has them."""
        if self.rows or not self.tables:
            self._settle()
        return replaced(pa.concat_tables(self.tables), self.places)

    def save(self, lake: Lake, table: pa.Table | None = None, masses: F64 | None = None) -> str:
        """`save_tiles` of these rows (all without any) with the notes."""
        return save_tiles(lake, self.table() if table is None else table, masses, self.notes)


def save_tiles(lake: Lake, table: pa.Table, masses: F64 | None = None, notes: dict[str, Any] | None = None) -> str:
    """Store rows of tiles, the masses of all of them one behind the other where there are any, and notes; returns the key in the lake."""
    about = {b"notes": json.dumps(notes or {}, ensure_ascii=False).encode()}
    own = np.zeros((0, COLUMNS)) if masses is None else masses
    few = list(_batches(table, own)) if len(table) <= RUN else None
    return save_batches(lake, _STORED.with_metadata(about), lambda: _batches(table, own) if few is None else iter(few))


def _batches(table: pa.Table, masses: F64) -> Iterator[pa.RecordBatch]:
    """Rows of tiles with their masses, `RUN` at a time, as they will be read, whatever they were put together from: the CRC is of the buffers."""
    first = np.concatenate([[0], np.cumsum(table.column("masses").to_numpy())])
    for at in range(0, len(table), RUN):
        some = table.slice(at, RUN)
        ends = first[at : at + len(some) + 1]
        body = pa.py_buffer(np.ascontiguousarray(masses[ends[0] : ends[-1]]))
        mass = pa.Array.from_buffers(pa.binary(), len(some), [None, pa.py_buffer(((ends - ends[0]) * _WIDTH).astype(np.int32)), body])
        whole = pa.Table.from_arrays([*some.columns[:-1], pa.chunked_array([mass])], schema=_STORED).combine_chunks()
        with pa.BufferOutputStream() as sink:
            with pa.ipc.new_stream(sink, _STORED) as writer:
                writer.write_table(whole, max_chunksize=len(whole))
            yield pa.ipc.open_stream(sink.getvalue()).read_next_batch()


def load_tiles(lake: Lake, key: str) -> tuple[pa.Table, list[F64], dict[str, Any]]:
    """(rows as `TILE` has them, their masses one behind the other in some pieces, notes) of a ledger of that key.

    Raises:
        As `load_table`.
    """
    stored, _ = load_table(lake, key)
    notes = json.loads(stored.schema.metadata[b"notes"])
    stored = stored.replace_schema_metadata(None).cast(_STORED)
    masses = stored.column("mass")
    counts = pc.divide(pc.cast(pc.binary_length(masses), pa.int64()), _WIDTH)
    rows = []
    for chunk in masses.chunks:
        offsets, data = offsets_and_data(chunk)
        rows.append(data[offsets[0] : offsets[-1]].view("<f8").reshape(-1, COLUMNS))
    return stored.drop_columns(["mass"]).append_column(TILE.field("masses"), counts), rows, notes


def gathered(rows: I64, past: tuple[I64, list[F64]], own: tuple[I64, Store]) -> tuple[F64, I64]:
    """(the masses of tiles one behind the other, (N + 1,) where those of each begin).

    Args:
        rows: (N,) tiles, those of the last build before those of this one. past, own: how many rows of masses each of them has, and the masses.
    """
    (before, known), (counts, store) = past, own
    all_of_them = np.concatenate([before, counts])
    count = all_of_them[rows]
    first = np.concatenate([[0], np.cumsum(count)])
    begin = np.concatenate([[0], np.cumsum(all_of_them)])[rows]
    if len(rows) and rows[0] >= len(before) and (np.diff(rows) == 1).all():  # as they were made: nothing is moved
        low = int(begin[0] - before.sum())
        return store.private("made")[low : low + int(first[-1])], first
    found = np.empty((int(first[-1]), COLUMNS))
    pieces = [*known, store["made"]]
    edges = np.cumsum([0, *map(len, pieces)])
    some = np.flatnonzero(count)
    begin, length, target = begin[some], count[some], first[some]
    piece = np.searchsorted(edges, begin, side="right") - 1
    cuts = np.flatnonzero((np.diff(piece) != 0) | (begin[1:] != begin[:-1] + length[:-1])) + 1
    for a, b in pairwise([0, *cuts.tolist(), len(some)] if len(some) else []):  # runs that lie together: an update has a few for each tile that is new
        low, size = int(begin[a] - edges[piece[a]]), int(begin[b - 1] + length[b - 1] - begin[a])
        for at in range(0, size, RUN):
            found[target[a] + at : target[a] + min(at + RUN, size)] = pieces[piece[a]][low + at : low + min(at + RUN, size)]
            store.release()
    return found, first


def replaced(tiles: pa.Table, places: dict[str, tuple[str, int]]) -> pa.Table:
    """Tiles of a ledger of which some, by their names, have gone to other places: (name there, CRC of what is stored there)."""
    if not places:
        return tiles
    told = [places.get(*each) for each in zip(tiles.column("name").to_pylist(), zip(tiles.column("place").to_pylist(), tiles.column("check").to_pylist(), strict=True), strict=True)]
    for at, name in enumerate(("place", "check")):
        column = tiles.schema.get_field_index(name)
        tiles = tiles.set_column(column, TILE.field(name), pa.array([one[at] for one in told], TILE.field(name).type))
    return tiles


def boxes_of(tiles: pa.Table) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(N, 3) lowest and highest corners of tiles of a ledger, NaN where nothing is drawn."""
    box = np.column_stack([tiles.column(name).to_numpy() for name in _BOX])
    return box[:, :3], box[:, 3:]


def notes_of(tiles: pa.Table) -> Iterator[tuple[str, str, str]]:
    """(action, feature, reason): what became of the features of tiles of a ledger, where there is something to tell."""
    for told in tiles.column("notes").filter(pc.not_equal(tiles.column("notes"), "")).to_pylist():
        yield from json.loads(told)


def finished_of(tiles: pa.Table) -> list[Finished]:
    """Tiles of a ledger as workers hand them back, without their bytes and masses."""
    low, high = boxes_of(tiles)
    names = ("drawn", "size", "bottom", "top", "kept", "vertices", "triangles", "notes", "error")
    found = []
    for row, (drawn, size, bottom, top, kept, vertices, triangles, told, error) in enumerate(zip(*(tiles.column(n).to_pylist() for n in names), strict=True)):
        notes = [(action, feature, reason) for action, feature, reason in json.loads(told)] if told else []
        packed = Packed(b"", 0, size, False) if drawn else None
        found.append(Finished(packed, low[row] if drawn else None, high[row] if drawn else None, (bottom, top), kept, vertices, triangles, notes, error))
    return found


def save_table(lake: Lake, table: pa.Table) -> str:
    """A table as an Arrow file of one batch that can be mapped; its metadata holds the CRC of its columns. Returns its key in the lake."""
    whole = table.combine_chunks().to_batches()
    return save_batches(lake, table.schema, lambda: iter(whole))


def save_batches(lake: Lake, schema: pa.Schema, batches: Callable[[], Iterator[pa.RecordBatch]]) -> str:
    """The same of batches, which are made twice: the CRC stands before them."""
    crc = 0
    for number, batch in enumerate(batches()):
        crc = _crc(batch, None if number == 0 else crc)
    schema = schema.with_metadata({**(schema.metadata or {}), b"format": str(_FORMAT).encode(), b"crc": str(crc).encode()})
    with lake.scratch(".arrow") as path:
        with storage_errors("keeping what the next build of a layer needs", path.parent), pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
            for batch in batches():
                writer.write_batch(batch.replace_schema_metadata(schema.metadata))
        return lake.put_file(path, ".arrow", move=True)


def load_table(lake: Lake, key: str) -> tuple[pa.Table, mmap.mmap]:
    """(a table of `save_table` or `save_batches`, the pages of the file that it is a view of).

    Raises:
        NotFound, OSError, ArrowInvalid: it is gone or cut; ValueError: it is damaged, or another release wrote it.
    """
    with lake.path(key).open("rb") as file:
        pages = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        about_file = identity(os.fstat(file.fileno()))
    table = pa.ipc.open_file(pa.py_buffer(pages)).read_all()
    about, crc = table.schema.metadata or {}, 0
    if about_file not in _SOUND:
        for number, batch in enumerate(table.to_batches()):
            crc = _crc(batch, None if number == 0 else crc)
        if about.get(b"format") != str(_FORMAT).encode() or about.get(b"crc") != str(crc).encode():
            raise ValueError(f"the sidecar {key[:12]} is damaged or of another release")
        _SOUND[about_file] = None
        while len(_SOUND) > _REMEMBERED:
            _SOUND.pop(next(iter(_SOUND)))
    return table, pages


def _crc(batch: pa.RecordBatch, before: int | None) -> int:
    """CRC-32 of all values (not of the padding between them), going on from those of the batch before."""
    crc = crc32(repr(batch.schema.names).encode()) if before is None else before
    for column in batch.columns:
        for buffer in column.buffers():
            if buffer is not None:
                crc = crc32(buffer, crc)
    return crc
