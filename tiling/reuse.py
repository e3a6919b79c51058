"""What one build of a layer leaves for the next: the tiles that did not change are copied, and only what changed is read.

A build leaves small files in the lake ("sidecars"; the derivation names them, and they are collected with it):

* of each feature part an `Index`: where its features are, what they weigh, and a digest of each. Parts never change, so
  the index of a part is made once and serves all later versions that still have the part;
* of the build a ledger: every tile's key (a hash of all that its bytes depend on), the CRC of its bytes in the archive, and
  its facts; and a survey of the columns, so that the next one needs to look at the changed rows alone.

A tiler computes the key of each tile of its new plan; `Past.find` finds the finished tile if the key is known, and
`twin.archive.ArchiveWriter.copy` moves its bytes (`tiling.assembly`). Nothing is trusted: files that are gone or damaged mean a full build and a note.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from deflate import crc32
from numpy.typing import NDArray

from tiling.arrow_bytes import whole
from tiling.partition import Places
from tiling.pieces import Piece
from tiling.tileset import Finished
from twin.archive import Archive, ArchiveWriter, Packed, Record
from twin.errors import BadTileset, NotFound, TwinError
from twin.lake import Lake
from twin.registry import TileJob

LEDGER = "ledger"
_TOGETHER = 512
_FORMAT = 3
_COLUMNS = ("code", "size", "weight", "tie", "row", "mark")


@dataclass(frozen=True)
class Index:
    """Of all rows of a part that could be drawn, hidden ones included: `places` (rows numbered within the part).

    `refused`: (row, id, reason) of the others.
    """

    places: Places
    refused: list[tuple[int, str, str]] = field(default_factory=list)

    def save(self, lake: Lake) -> str:
        """Store it; returns its key in the lake."""
        arrays = [pa.array(getattr(self.places, name)) for name in _COLUMNS]
        about = {b"refused": json.dumps(self.refused, ensure_ascii=False).encode()}
        return _save(lake, pa.table(arrays, names=list(_COLUMNS)).replace_schema_metadata(about))

    @staticmethod
    def load(lake: Lake, key: str) -> Index:
        """The index of that key, its arrays mapped from the file."""
        table = _load(lake, key)
        code, size, weight, tie, row, mark = (np.asarray(whole(table.column(name)).to_numpy()) for name in _COLUMNS)
        return Index(Places(code, size, weight, tie, row, mark), [(row, id_, reason) for row, id_, reason in json.loads(table.schema.metadata[b"refused"])])


_BOX = ("west", "south", "low", "east", "north", "high")
TILE = pa.schema([
    ("name", pa.string()), ("key", pa.binary()), ("check", pa.uint32()), ("place", pa.string()), ("drawn", pa.bool_()), ("size", pa.int64()),
    *((name, pa.float64()) for name in _BOX), ("bottom", pa.float64()), ("top", pa.float64()),
    ("kept", pa.int64()), ("vertices", pa.int64()), ("triangles", pa.int64()), ("notes", pa.string()), ("error", pa.float64()), ("mass", pa.binary()),
])  # fmt: skip
"""A finished tile as a row: its key, the CRC of its stored bytes, and its facts; `place` where these are not at `<name>.glb` in the archive."""


@dataclass
class Ledger:
    """Tiles of a build with their keys; what else the next build wants to know is in `notes` (JSON values).

    `rows`: the last of them, the others are columns already (`tables`); `places`: of tiles whose bytes are not at `<name>.glb` in the archive, where they are and the CRC of what is stored there.
    """

    rows: list[tuple[Any, ...]] = field(default_factory=list)
    tables: list[pa.Table] = field(default_factory=list)
    places: dict[str, tuple[str, int]] = field(default_factory=dict)
    notes: dict[str, Any] = field(default_factory=dict)

    def add(self, name: str, key: bytes, check: int, tile: Finished) -> None:
        """Write down a tile: `check` is the CRC-32 of its bytes as they are stored (`twin.archive.Packed.check`)."""
        box = [float("nan")] * 6 if tile.low is None or tile.high is None else [*np.asarray(tile.low, np.float64).tolist(), *np.asarray(tile.high, np.float64).tolist()]
        notes = json.dumps(tile.notes, ensure_ascii=False) if tile.notes else ""
        self.rows.append((name, key, check, None, tile.packed is not None, tile.packed.size if tile.packed else 0, *box, *map(float, tile.heights),
                          tile.kept, tile.vertices, tile.triangles, notes, tile.error, tile.mass))  # fmt: skip
        if len(self.rows) >= _TOGETHER:
            self._settle()

    def __len__(self) -> int:
        return len(self.rows) + sum(map(len, self.tables))

    def _settle(self) -> None:
        """A row of objects takes five times what it takes in columns."""
        columns = list(zip(*self.rows, strict=True)) or [()] * len(TILE)
        self.tables.append(pa.table([pa.array(column, kind) for column, kind in zip(columns, TILE.types, strict=True)], schema=TILE))
        self.rows = []

    def table(self) -> pa.Table:
        """The rows, as `TILE` has them."""
        if self.rows or not self.tables:
            self._settle()
        return replaced(pa.concat_tables(self.tables), self.places)

    def save(self, lake: Lake, table: pa.Table | None = None) -> str:
        """Store it, with these rows where they are given; returns its key in the lake."""
        about = {b"notes": json.dumps(self.notes, ensure_ascii=False).encode()}
        table = self.table() if table is None else table
        with pa.BufferOutputStream() as sink:  # as it will be read, whatever it was put together from: the CRC is of the buffers
            with pa.ipc.new_stream(sink, TILE) as writer:
                writer.write_table(table, max_chunksize=max(1, len(table)))
            table = pa.ipc.open_stream(sink.getvalue()).read_all()
        return _save(lake, table.replace_schema_metadata(about))


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
    """Tiles of a ledger as workers hand them back, without their bytes."""
    low, high = boxes_of(tiles)
    names = ("drawn", "size", "bottom", "top", "kept", "vertices", "triangles", "notes", "error", "mass")
    found = []
    for row, (drawn, size, bottom, top, kept, vertices, triangles, told, error, mass) in enumerate(zip(*(tiles.column(n).to_pylist() for n in names), strict=True)):
        notes = [(action, feature, reason) for action, feature, reason in json.loads(told)] if told else []
        packed = Packed(b"", 0, size, False) if drawn else None
        found.append(Finished(packed, low[row] if drawn else None, high[row] if drawn else None, (bottom, top), kept, vertices, triangles, notes, error, mass))
    return found


class Spoilt(Exception):
    """Tiles of the last build turned out to be damaged while they were copied: nothing of it can be used."""


class Past:
    """What the last build left, as far as it is there and whole.

    `sidecars`: its files' keys in the lake by name; `pieces`: what `tiling.pieces` made of it, in order. `trouble`: why it cannot be used, "" where it can (or where there is none).
    `tiles`: its ledger (`TILE`); `checks`: the CRC of the stored bytes of each.
    """

    def __init__(self, job: TileJob) -> None:
        self.lake = job.lake
        self.sidecars: dict[str, str] = {}
        self.notes: dict[str, Any] = {}
        self.archives: list[Archive] = []
        self.pieces: list[Piece] = []
        self._opened: dict[str, list[Archive]] = {}
        self._ordered: dict[Archive, bool] = {}
        self.trouble = ""
        self.tiles: pa.Table = TILE.empty_table()
        self.checks: NDArray[np.uint32] = np.zeros(0, np.uint32)
        if job.previous is None or LEDGER not in job.previous.sidecars:
            return
        self.sidecars = dict(job.previous.sidecars)
        try:
            table = _load(job.lake, self.sidecars[LEDGER])
            self.notes = json.loads(table.schema.metadata[b"notes"])
            self.tiles = table.replace_schema_metadata(None).cast(TILE)
            self.checks = self.tiles.column("check").to_numpy()
            for path in job.previous.archives:
                self.archives.append(Archive(path))
                self.archives[-1].directory  # noqa: B018  a damaged directory shows now
            self.pieces = [Piece(**one) for one in self.notes.get("pieces", ())]
        except (TwinError, OSError, pa.ArrowInvalid, ValueError, KeyError, TypeError) as error:
            self.forget(f"The tiles of the version before cannot be used ({error}); all were made anew.")

    def forget(self, why: str) -> None:
        """Use nothing of it any more."""
        self.close()
        self.trouble, self.archives, self.pieces, self.notes, self.sidecars = why, [], [], {}, {}
        self.tiles, self.checks = TILE.empty_table(), np.zeros(0, np.uint32)
        for name in ("finished", "_pieces", "_keys", "_rows", "_sorted", "_places"):
            self.__dict__.pop(name, None)

    def close(self) -> None:
        """Let the archives go."""
        for archive in chain(self.archives, *self._opened.values()):
            archive.close()
        self._opened, self._ordered = {}, {}

    def index(self, name: str) -> Index | None:
        """The index of that name, if it was left and can be read."""
        if name not in self.sidecars:
            return None
        try:
            return Index.load(self.lake, self.sidecars[name])
        except (TwinError, OSError, pa.ArrowInvalid, ValueError, KeyError, TypeError):
            return None

    @cached_property
    def finished(self) -> list[Finished]:
        """`tiles` as workers hand them back, without their bytes."""
        return finished_of(self.tiles)

    def find(self, name: str, key: bytes) -> int:
        """The row in `tiles` (and in `checks`) of the same tile if the last build made it, else −1."""
        row = self._rows.get(name, -1)
        return row if row >= 0 and self._keys[row] == key else -1

    def match(self, keys: NDArray[np.uint64]) -> NDArray[np.int64]:
        """(N,) `find` of tiles of these keys (N, 2), for tilers whose keys tell names, too."""
        order, known = self._sorted
        if not len(order):
            return np.full(len(keys), -1)
        rows = order[np.minimum(np.searchsorted(known[order, 0], keys[:, 0]), len(order) - 1)]
        return np.where((known[rows] == keys).all(axis=1), rows, -1)

    @cached_property
    def _sorted(self) -> tuple[NDArray[np.int64], NDArray[np.uint64]]:
        """(rows in the order of the first halves of their keys, (N, 2) keys)."""
        data = b"".join(self._keys)
        known = np.frombuffer(data, np.uint64).reshape(-1, 2) if len(data) == 16 * len(self._keys) else np.zeros((0, 2), np.uint64)
        return np.argsort(known[:, 0]), known

    @cached_property
    def _keys(self) -> list[bytes]:
        found: list[bytes] = self.tiles.column("key").to_pylist()
        return found

    @cached_property
    def _rows(self) -> dict[str, int]:
        return {name: row for row, name in enumerate(self.tiles.column("name").to_pylist())}

    def stored(self, name: str) -> Packed:
        """The bytes of a tile as they are stored in an archive that was rewritten.

        Raises:
            Spoilt: they are not there, or not what they were.
        """
        row = self._rows[name]
        place = self.tiles.column("place")[row].as_py() or f"{name}.glb"
        for archive in self.archives:
            try:
                found = archive.packed(place)
            except NotFound:
                continue
            except BadTileset as error:
                raise Spoilt(error.message) from error
            if found.check != self.checks[row]:
                raise Spoilt(f"{place} is not what was written")
            return found
        raise Spoilt(f"{place} is gone")

    def copy(self, writer: ArchiveWriter, wanted: dict[str, int]) -> None:
        """Append tiles of the last build to an archive; `wanted`: their names in order with their CRCs.

        Raises:
            Spoilt: they are not there or not what they were; the archive that is being written is of no use then.
        """
        try:
            runs: list[tuple[Archive, dict[str, int]]] = []
            here: dict[str, Record] = {}  # names are in one archive of a set, and neighbours most often in the same
            for name, check in wanted.items():
                if name not in here:
                    holder = next((archive for archive in self._holders(name) if name in archive.records), None)
                    if holder is None:
                        raise Spoilt(f"{name} is gone")
                    runs.append((holder, {}))
                    here = holder.records
                runs[-1][1][name] = check
            for holder, some in runs:
                writer.copy(holder, some)
        except (BadTileset, NotFound) as error:
            raise Spoilt(error.message) from error

    def copy_rows(self, writer: ArchiveWriter, rows: NDArray[np.int64]) -> None:
        """The same as `copy`, of tiles that are drawn, by their rows in `tiles`: without looking for their names. Raises Spoilt."""
        piece, place = self._places
        for some in np.split(rows, np.flatnonzero(np.diff(piece[rows])) + 1):
            try:
                archives = self._archives(int(piece[some[0]]))
                if len(archives) == 1 and self._in_order(int(piece[some[0]]), archives[0]):
                    writer.copy_numbers(archives[0], place[some], self.checks[some])
                    continue
            except (BadTileset, NotFound) as error:
                raise Spoilt(error.message) from error
            names = self.tiles.column("name").take(pa.array(some)).to_pylist()
            self.copy(writer, {f"{name}.glb": check for name, check in zip(names, self.checks[some].tolist(), strict=True)})

    @cached_property
    def _places(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """((N,) the piece of each tile, −1 near the root; (N,) its number in the archive of the piece, as far as that is one)."""
        piece = np.full(len(self.tiles), -1)
        for at, one in enumerate(self.pieces):
            piece[one.first : one.end] = at
        drawn = self.tiles.column("drawn").to_numpy()
        number = np.empty(len(piece), np.int64)
        for at in range(-1, len(self.pieces)):
            here = piece == at
            number[here] = np.cumsum(drawn[here]) - 1
        return piece, number

    def _in_order(self, piece: int, archive: Archive) -> bool:
        """Whether an archive begins with the tiles of a piece that are drawn, in the order of the ledger."""
        if archive not in self._ordered:
            here = (self._places[0] == piece) & self.tiles.column("drawn").to_numpy()
            names = self.tiles.column("name").filter(pa.array(here)).to_pylist()
            self._ordered[archive] = len(names) < len(archive.directory) and archive.directory.names(0, len(names)) == "".join(f"{name}.glb" for name in names).encode()
        return self._ordered[archive]

    def _holders(self, name: str) -> list[Archive]:
        """The archives of the piece that a tile lies in, or those near the root."""
        row = self._rows.get(name.removesuffix(".glb"), -1) if self.pieces else -1
        return self._archives(int(self._places[0][row]) if row >= 0 else -1)

    def _archives(self, piece: int) -> list[Archive]:
        """Those of a piece, or with −1 those near the root."""
        if piece < 0:
            return self.archives
        one = self.pieces[piece]
        if one.name not in self._opened:
            self._opened[one.name] = [Archive(self.lake.path(key)) for key in one.keys]
        return self._opened[one.name]

    def same(self, piece: Piece, rows: NDArray[np.int64]) -> Piece | None:
        """The same piece of the last build, if its archives are there: `rows` of `tiles` are those of the tiles that it holds now."""
        before = self._pieces.get(piece.name)
        if before is None or not np.array_equal(rows, np.arange(before.first, before.end)) or not all(map(self.lake.exists, before.keys)):
            return None
        return before

    @cached_property
    def _pieces(self) -> dict[str, Piece]:
        return {piece.name: piece for piece in self.pieces}


def common_key(values: dict[str, Any]) -> bytes:
    """A digest of JSON values: of what all tiles of a build depend on (code, options, schema, ground, …)."""
    return hashlib.sha256(json.dumps(values, sort_keys=True, ensure_ascii=False, default=str).encode()).digest()


def tile_key(common: bytes, name: str, marks: NDArray[Any]) -> bytes:
    """The key of a tile: of what all tiles depend on, of its name (its place and frame) and of its features in their order."""
    return hashlib.blake2b(common + name.encode() + b"\0" + np.ascontiguousarray(marks).tobytes(), digest_size=16).digest()


def tile_keys(commons: Sequence[bytes], places: NDArray[np.int64], values: NDArray[Any], ends: Sequence[int]) -> NDArray[np.uint64]:
    """(N, 2) keys of many tiles, as `tile_key` makes one, in a compiled loop: an update has a million values.

    Args:
        commons: of each tile, what all depend on. places: (N, K) numbers that tell it from all other tiles, as its name does.
        values: (R, …) of all, in words of eight bytes, one behind the other; ends: where those of each end.
    """
    from tiling.digest_kernel import hash_words  # noqa: PLC0415  numba takes half a second to load

    found = np.empty((len(places), 2), np.uint64)
    if not len(places):
        return found
    heads = np.column_stack([np.frombuffer(b"".join(commons), np.uint64).reshape(len(places), -1), places.astype(np.uint64)])
    hash_words(heads, np.asarray(ends, np.int64) * math.prod(values.shape[1:]), np.ascontiguousarray(values).reshape(-1).view(np.uint64), found)
    return found


def recipe(values: dict[str, Any]) -> str:
    """A short digest of what an index depends on besides its part; stands in the index's name."""
    return hashlib.sha256(json.dumps(values, sort_keys=True, ensure_ascii=False).encode()).hexdigest()[:12]


def _save(lake: Lake, table: pa.Table) -> str:
    """A table as an Arrow file of one batch that can be mapped; its metadata holds the CRC of its columns."""
    about = {**table.schema.metadata, b"format": str(_FORMAT).encode(), b"crc": str(_crc(table)).encode()}
    table = table.replace_schema_metadata(about)
    with lake.scratch(".arrow") as path:
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table, max_chunksize=max(1, len(table)))
        return lake.put_file(path, ".arrow", move=True)


def _load(lake: Lake, key: str) -> pa.Table:
    """A table of `_save`, mapped.

    Raises:
        NotFound, OSError, ArrowInvalid: it is gone or cut; ValueError: it is damaged, or another release wrote it.
    """
    table = pa.ipc.open_file(pa.memory_map(str(lake.path(key)))).read_all()
    about = table.schema.metadata or {}
    if about.get(b"format") != str(_FORMAT).encode() or about.get(b"crc") != str(_crc(table)).encode():
        raise ValueError(f"the sidecar {key[:12]} is damaged or of another release")
    return table


def _crc(table: pa.Table) -> int:
    """CRC-32 of all values (not of the padding between them)."""
    crc = crc32(repr(table.schema.names).encode())
    for column in table.columns:
        for chunk in column.chunks:
            for buffer in chunk.buffers():
                if buffer is not None:
                    crc = crc32(buffer, crc)
    return crc
