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
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tiling.blocks.pieces import Piece
from tiling.encoding.arrow_bytes import whole
from tiling.ledger import TILE, finished_of, load_table, load_tiles, save_table
from tiling.partition import Places
from tiling.tileset import Finished
from twin.archive import Archive, ArchiveWriter, Packed, Record
from twin.errors import BadTileset, NotFound, TwinError
from twin.lake import Lake
from twin.registry import TileJob

LEDGER = "ledger"
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
        return save_table(lake, pa.table(arrays, names=list(_COLUMNS)).replace_schema_metadata(about))

    @staticmethod
    def load(lake: Lake, key: str) -> Index:
        """The index of that key, its arrays mapped from the file."""
        table, pages = load_table(lake, key)
        code, size, weight, tie, row, mark = (np.asarray(whole(table.column(name)).to_numpy()) for name in _COLUMNS)
        return Index(Places(code, size, weight, tie, row, mark, pages=pages), [(row, id_, reason) for row, id_, reason in json.loads(table.schema.metadata[b"refused"])])


class Spoilt(Exception):
    """Tiles of the last build turned out to be damaged while they were copied: nothing of it can be used."""


class Past:
    """What the last build left, as far as it is there and whole.

    `sidecars`: its files' keys in the lake by name; `pieces`: what `tiling.blocks.pieces` made of it. `trouble`: why it cannot be used, "" where it can (or where there is none).
    `tiles`: its ledger (`TILE`), of a piece only once that is opened; `masses`: of its tiles, one behind the other in some arrays; `checks`: the CRC of the stored bytes of each.
    """

    def __init__(self, job: TileJob) -> None:
        self.lake = job.lake
        self.sidecars: dict[str, str] = {}
        self.notes: dict[str, Any] = {}
        self.archives: list[Archive] = []
        self.pieces: list[Piece] = []
        self._near = 0  # tiles that lie in no piece
        self._opened: list[tuple[Piece, int]] = []  # pieces whose tiles are among `tiles`, and how many these are
        self._held: dict[str, list[Archive]] = {}
        self._ordered: dict[Archive, bool] = {}
        self.trouble = ""
        self.tiles: pa.Table = TILE.empty_table()
        self.masses: list[NDArray[np.float64]] = []
        self.checks: NDArray[np.uint32] = np.zeros(0, np.uint32)
        if job.previous is None or LEDGER not in job.previous.sidecars:
            return
        self.sidecars = dict(job.previous.sidecars)
        try:
            self.tiles, self.masses, self.notes = load_tiles(job.lake, self.sidecars[LEDGER])
            self.checks, self._near = self.tiles.column("check").to_numpy(), len(self.tiles)
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
        self.tiles, self.checks, self.masses = TILE.empty_table(), np.zeros(0, np.uint32), []
        self._near, self._opened = 0, []
        self._changed()

    def _changed(self) -> None:
        for name in ("finished", "drawn", "kept", "_keys", "_rows", "_sorted", "_places"):
            self.__dict__.pop(name, None)

    def open(self, pieces: Sequence[Piece]) -> None:
        """Have the tiles of some pieces among `tiles`, behind those that are there.

        Raises:
            Spoilt: what was left of one is gone or damaged.
        """
        found = [(self.tiles, self.masses)]
        for piece in pieces:
            table, masses, _ = self.left(piece)
            found.append((table, masses))
            self._opened.append((piece, len(table)))
        if pieces:
            self.tiles = pa.concat_tables([table for table, _ in found]).combine_chunks()
            self.masses = [one for _, masses in found for one in masses]
            self.checks = self.tiles.column("check").to_numpy()
            self._changed()

    def left(self, piece: Piece) -> tuple[pa.Table, list[NDArray[np.float64]], dict[str, Any]]:
        """`tiling.ledger.load_tiles` of a piece. Raises Spoilt."""
        try:
            return load_tiles(self.lake, piece.ledger)
        except (TwinError, OSError, pa.ArrowInvalid, ValueError, KeyError, TypeError) as error:
            raise Spoilt(f"what was known of the piece {piece.name} is gone or damaged") from error

    def close(self) -> None:
        """Let the archives go."""
        for archive in chain(self.archives, *self._held.values()):
            archive.close()
        self._held, self._ordered = {}, {}

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

    @cached_property
    def drawn(self) -> NDArray[np.bool_]:
        """(N,) which of `tiles` have content."""
        return np.asarray(self.tiles.column("drawn").to_numpy(), bool)

    @cached_property
    def kept(self) -> NDArray[np.int64]:
        """(N,) features in each of `tiles`."""
        return np.asarray(self.tiles.column("kept").to_numpy(), np.int64)

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
        """((N,) the piece of each tile among those that are open, −1 near the root; (N,) its number in the archive of the piece, as far as that is one)."""
        counts = [self._near, *(count for _, count in self._opened)]
        piece = np.repeat(np.arange(-1, len(self._opened)), counts)
        drawn = np.cumsum(self.tiles.column("drawn").to_numpy())
        before = np.concatenate([[0], drawn])[np.cumsum([0, *counts])[:-1]]
        return piece, drawn - 1 - np.repeat(before, counts)

    def _in_order(self, piece: int, archive: Archive) -> bool:
        """Whether an archive begins with the tiles of a piece that are drawn, in the order of the ledger."""
        if archive not in self._ordered:
            ends = np.cumsum([self._near, *(count for _, count in self._opened)]).tolist()
            first = ends[piece] if piece >= 0 else 0
            here = slice(first, ends[piece + 1])
            names = self.tiles.column("name").slice(first, ends[piece + 1] - first).filter(pa.array(self.drawn[here])).to_pylist()
            self._ordered[archive] = len(names) < len(archive.directory) and archive.directory.names(0, len(names)) == "".join(f"{name}.glb" for name in names).encode()
        return self._ordered[archive]

    def _holders(self, name: str) -> list[Archive]:
        """The archives of the piece that a tile lies in, or those near the root."""
        row = self._rows.get(name.removesuffix(".glb"), -1) if self.pieces else -1
        return self._archives(int(self._places[0][row]) if row >= 0 else -1)

    def _archives(self, piece: int) -> list[Archive]:
        """Those of a piece that is open, or with −1 those near the root."""
        if piece < 0:
            return self.archives
        one = self._opened[piece][0]
        if one.name not in self._held:
            self._held[one.name] = [Archive(self.lake.path(key)) for key in one.archives]
        return self._held[one.name]

    def same(self, name: str, content: str, key: str) -> Piece | None:
        """The piece of that name if it is what it was, and all of it is there."""
        piece = next((one for one in self.pieces if (one.name, one.content, one.key) == (name, content, key)), None)
        return piece if piece is not None and all(map(self.lake.exists, (*piece.archives, piece.ledger))) else None


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
