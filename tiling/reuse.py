"""What one build of a layer leaves for the next: the tiles that did not change are copied, and only what changed is read.

A build leaves small files in the lake ("sidecars"; the derivation names them, and they are collected with it):

* of each feature part an `Index`: where its features are, what they weigh, and a digest of each. Parts never change, so
  the index of a part is made once and serves all later versions that still have the part;
* of the build a ledger: every tile's key (a hash of all that its bytes depend on), the CRC of its bytes in the archive, and
  its facts; and a survey of the columns, so that the next one needs to look at the changed rows alone.

A tiler computes the key of each tile of its new plan; `Past.find` gives the finished tile if the key is known, and
`twin.archive.ArchiveWriter.copy` its bytes. Nothing is trusted: files that are gone or damaged mean a full build and a note.
"""

from __future__ import annotations

import hashlib
import json
from collections import deque
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from deflate import crc32
from numpy.typing import NDArray

from tiling.partition import Places
from tiling.tileset import Finished
from twin.archive import Archive, ArchiveWriter, Packed
from twin.errors import BadTileset, NotFound, TwinError
from twin.lake import Lake
from twin.registry import TileJob

LEDGER = "ledger"
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
        code, size, weight, tie, row, mark = (np.asarray(table.column(name).combine_chunks().to_numpy()) for name in _COLUMNS)
        return Index(Places(code, size, weight, tie, row, mark), [(row, id_, reason) for row, id_, reason in json.loads(table.schema.metadata[b"refused"])])


@dataclass
class Ledger:
    """Tiles of a build with their keys; what else the next build wants to know is in `notes` (JSON values).

    `places`: of tiles whose bytes are not at `<name>.glb` in the archive, where they are and the CRC of what is stored there.
    """

    tiles: dict[str, tuple[bytes, int, Finished]] = field(default_factory=dict)
    places: dict[str, tuple[str, int]] = field(default_factory=dict)
    notes: dict[str, Any] = field(default_factory=dict)

    def add(self, name: str, key: bytes, check: int, tile: Finished) -> None:
        """Write down a tile: `check` is the CRC-32 of its bytes as they are stored (`twin.archive.Packed.check`)."""
        self.tiles[name] = (key, check, tile)

    def save(self, lake: Lake) -> str:
        """Store it; returns its key in the lake."""
        rows = [(name, key, self.places.get(name, ("", check))[1], self.places.get(name, (None, 0))[0], *_flat(tile)) for name, (key, check, tile) in self.tiles.items()]
        columns = list(zip(*rows, strict=True)) or [()] * len(_TILE)
        arrays = [pa.array(column, kind) for column, kind in zip(columns, _TILE.types, strict=True)]
        about = {b"notes": json.dumps(self.notes, ensure_ascii=False).encode()}
        return _save(lake, pa.table(arrays, schema=_TILE).replace_schema_metadata(about))


_BOX = ("west", "south", "low", "east", "north", "high")
_TILE = pa.schema([
    ("name", pa.string()), ("key", pa.binary()), ("check", pa.uint32()), ("place", pa.string()), ("drawn", pa.bool_()), ("size", pa.int64()),
    *((name, pa.float64()) for name in _BOX), ("bottom", pa.float64()), ("top", pa.float64()),
    ("kept", pa.int64()), ("vertices", pa.int64()), ("triangles", pa.int64()), ("notes", pa.string()), ("error", pa.float64()), ("mass", pa.binary()),
])  # fmt: skip


def _flat(tile: Finished) -> tuple[Any, ...]:
    box = [float("nan")] * 6 if tile.low is None or tile.high is None else [*np.asarray(tile.low, np.float64).tolist(), *np.asarray(tile.high, np.float64).tolist()]
    notes = json.dumps(tile.notes, ensure_ascii=False) if tile.notes else ""
    return (tile.packed is not None, tile.packed.size if tile.packed else 0, *box, *map(float, tile.heights), tile.kept, tile.vertices, tile.triangles, notes, tile.error, tile.mass)


class Assembly:
    """Tiles into an archive in the order of a plan: what the last build made is copied, the others come from workers as they are done.

    `want` is called for every tile of the plan, in order (by the iterator that makes the tasks), `enter` for every tile that was built, in the same order.
    An archive that is `rewritten` afterwards (`tiling.implicit`) only gets what is new; `known` hands out the rest then, and `placed` writes down where it went.
    """

    def __init__(self, past: Past, archive: ArchiveWriter, ledger: Ledger, *, rewritten: bool = False) -> None:
        self.past, self.archive, self.ledger, self.rewritten = past, archive, ledger, rewritten
        self._reused: dict[str, int] = {}
        self.tiles: list[Finished] = []
        self._known: deque[tuple[str, bytes, tuple[Finished, int] | None]] = deque()

    def want(self, name: str, key: bytes) -> bool:
        """Whether this tile, the next of the plan, has to be built."""
        self._known.append((name, key, self.past.find(name, key)))
        return self._known[-1][2] is None

    def enter(self, one: Finished) -> None:
        """The next tile that was built; its bytes are written and forgotten."""
        self.copy()
        name, key, _ = self._known.popleft()
        check = 0
        if one.packed is not None:
            check = one.packed.check
            self.archive.add_packed(f"{name}.glb", one.packed)
            one.packed = Packed(b"", 0, one.packed.size, False)
        self._enter(name, key, check, one)

    def copy(self) -> None:
        """What is to be copied up to the next tile that is built.

        Raises:
            Spoilt: it is not there any more, or damaged.
        """
        wanted: dict[str, int] = {}
        while self._known and self._known[0][2] is not None:
            name, key, found = self._known.popleft()
            if found is not None:
                one, check = found
                if one.packed is not None:
                    wanted[f"{name}.glb"] = check
                self._enter(name, key, check, one)
        if not self.rewritten:
            self.past.copy(self.archive, wanted)
            return
        self._reused |= wanted
        for name in wanted:
            self.archive.add_packed(name, Packed(b"", 0, 0, False))

    def known(self, uri: str) -> Packed | None:
        """The bytes of a tile that the last build made, as they are stored.

        Raises:
            Spoilt: they are not there any more, or damaged.
        """
        return self.past.stored(uri.removesuffix(".glb"), self._reused[uri]) if uri in self._reused else None

    def placed(self, uri: str, name: str, check: int) -> None:
        """The bytes of a tile went to another place."""
        self.ledger.places[uri.removesuffix(".glb")] = name, check

    def _enter(self, name: str, key: bytes, check: int, one: Finished) -> None:
        self.ledger.add(name, key, check, one)
        self.tiles.append(one)


class Spoilt(Exception):
    """Tiles of the last build turned out to be damaged while they were copied: nothing of it can be used."""


class Past:
    """What the last build left, as far as it is there and whole.

    `sidecars`: its files' keys in the lake by name. `trouble`: why it cannot be used, "" where it can (or where there is none).
    """

    def __init__(self, job: TileJob) -> None:
        self.lake = job.lake
        self.sidecars: dict[str, str] = {}
        self.notes: dict[str, Any] = {}
        self.archives: list[Archive] = []
        self.trouble = ""
        self._tiles: dict[str, tuple[Any, ...]] = {}  # by name, the columns of `_TILE` but those of the box, and where that is in `_boxes`
        if job.previous is None or LEDGER not in job.previous.sidecars:
            return
        self.sidecars = dict(job.previous.sidecars)
        try:
            table = _load(job.lake, self.sidecars[LEDGER])
            self.notes = json.loads(table.schema.metadata[b"notes"])
            columns = [_values(table.column(one.name)) for one in _TILE if one.name not in _BOX]
            self._boxes = np.column_stack([table.column(name).to_numpy() for name in _BOX])
            self._tiles = {values[0]: values for values in zip(*columns, range(len(table)), strict=True)}
            for path in job.previous.archives:
                self.archives.append(Archive(path))
                self.archives[-1].records  # noqa: B018  a damaged directory shows now
        except (TwinError, OSError, pa.ArrowInvalid, ValueError, KeyError, TypeError) as error:
            self.forget(f"The tiles of the version before cannot be used ({error}); all were made anew.")

    def forget(self, why: str) -> None:
        """Use nothing of it any more."""
        self.close()
        self.trouble, self.archives, self._tiles, self.notes, self.sidecars = why, [], {}, {}, {}

    def close(self) -> None:
        """Let the archive go."""
        for archive in self.archives:
            archive.close()

    def index(self, name: str) -> Index | None:
        """The index of that name, if it was left and can be read."""
        if name not in self.sidecars:
            return None
        try:
            return Index.load(self.lake, self.sidecars[name])
        except (TwinError, OSError, pa.ArrowInvalid, ValueError, KeyError, TypeError):
            return None

    def find(self, name: str, key: bytes) -> tuple[Finished, int] | None:
        """(the finished tile, CRC of its stored bytes) if the last build made the same tile."""
        found = self._tiles.get(name)
        if found is None or found[1] != key:
            return None
        _, _, check, _, drawn, size, bottom, top, kept, vertices, triangles, told, error, mass, row = found
        notes = [(action, feature, reason) for action, feature, reason in json.loads(told)] if told else []
        packed, low, high = (Packed(b"", 0, size, False), self._boxes[row, :3], self._boxes[row, 3:]) if drawn else (None, None, None)
        return Finished(packed, low, high, (bottom, top), kept, vertices, triangles, notes, error, mass), check

    def stored(self, name: str, check: int) -> Packed:
        """The bytes of a tile as they are stored in an archive that was rewritten.

        Raises:
            Spoilt: they are not there, or not what they were.
        """
        place = self._tiles[name][3] or f"{name}.glb"
        for archive in self.archives:
            try:
                found = archive.packed(place)
            except NotFound:
                continue
            except BadTileset as error:
                raise Spoilt(error.message) from error
            if found.check != check:
                raise Spoilt(f"{place} is not what was written")
            return found
        raise Spoilt(f"{place} is gone")

    def copy(self, writer: ArchiveWriter, wanted: dict[str, int]) -> None:
        """Append tiles of the last build to an archive; `wanted`: their names in order with the CRCs that `find` gave.

        Raises:
            Spoilt: they are not there or not what they were; the archive that is being written is of no use then.
        """
        runs: list[tuple[Archive, dict[str, int]]] = []
        for name, check in wanted.items():
            holder = next((archive for archive in self.archives if name in archive.records), None)
            if holder is None:
                raise Spoilt(f"{name} is gone")
            if not runs or runs[-1][0] is not holder:
                runs.append((holder, {}))
            runs[-1][1][name] = check
        for holder, some in runs:
            try:
                writer.copy(holder, some)
            except (BadTileset, NotFound) as error:
                raise Spoilt(error.message) from error


def _values(column: pa.ChunkedArray) -> list[Any]:
    """A column as Python values; by way of numpy where that is faster."""
    found: list[Any] = column.to_numpy().tolist() if pa.types.is_primitive(column.type) and not column.null_count else column.to_pylist()
    return found


def common_key(values: dict[str, Any]) -> bytes:
    """A digest of JSON values: of what all tiles of a build depend on (code, options, schema, ground, …)."""
    return hashlib.sha256(json.dumps(values, sort_keys=True, ensure_ascii=False, default=str).encode()).digest()


def tile_key(common: bytes, name: str, marks: NDArray[np.uint64]) -> bytes:
    """The key of a tile: of what all tiles depend on, of its name (its place and frame) and of its features in their order."""
    return hashlib.blake2b(common + name.encode() + b"\0" + np.ascontiguousarray(marks).tobytes(), digest_size=16).digest()


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
