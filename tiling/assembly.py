"""Tiles put together in the order of a plan: what the last build made is copied, the others come from workers as they are done.

Tiles are rows here, not objects: an update looks at thousands of tiles to build a few, and an object for each would take longer
than the few.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Self, TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tiling.blocks.pieces import Piece, Shelf
from tiling.ledger import Ledger, gathered, replaced
from tiling.reuse import Past
from tiling.tileset import Finished
from tiling.tree_text import Document
from twin.archive import ArchiveWriter, Packed, pack

T = TypeVar("T")
_AT_ONCE = 16  # tiles of a step of the writing thread
_WAITING = 1 << 25  # bytes of tiles that may wait for it; what is only copied waits as a name


class Assembly:
    """Writes the tiles of a plan into an archive and into a ledger.

    `want` is called for all tiles of the plan, in order (by the iterator that makes the tasks), `enter` for every tile that was built, in the same order.
    The archive is written on a thread of its own, up to `settle`: as a context manager it is done with it when the archive is finished or given up.
    Tiles of a piece (`tiling.blocks.pieces`) go to an archive of its own.
    An archive that is `rewritten` afterwards (`tiling.implicit`) only gets what is new; `known` hands out the rest then, and `placed` writes down where it went.
    `done`, `kept`: tiles, and features in them, that are written.
    """

    def __init__(self, past: Past, archive: ArchiveWriter, ledger: Ledger, *, shelf: Shelf | None = None, rewritten: bool = False) -> None:
        self.past, self.archive, self.ledger, self.shelf, self.rewritten = past, archive, ledger, shelf, rewritten
        self._spans: list[tuple[int, int, Piece]] = []  # tiles that belong to pieces: first, end, piece
        self._span = 0  # the first of those that do not end before what is written next
        self.done = self.kept = 0
        self._names: list[str] = []
        self._rows: list[int] = []  # of each tile: in the last build's ledger, or behind its end in this one's; −1 until it is built (no piece of the past is opened once tiles are wanted)
        self._missing: deque[tuple[int, bytes]] = deque()
        self._writer = ThreadPoolExecutor(1, "writer")
        self._under_way: deque[tuple[Future[Any], int]] = deque()
        self._waiting = 0
        self._next: list[tuple[Piece | None, str, Packed]] = []
        self._reused: set[str] = set()
        self._placed: dict[str, tuple[str, int]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._writer.shutdown(wait=True, cancel_futures=True)
        if self.shelf is not None:
            self.shelf.give_up()

    def want(self, names: Sequence[str], keys: NDArray[np.uint64], piece: Piece | None = None) -> NDArray[np.intp]:
        """Which of these tiles, the next of the plan and all of one piece or of none, have to be built: their positions among these; `keys`: (N, 2)."""
        rows, start = self.past.match(keys), len(self._names)
        wanted = np.flatnonzero(rows < 0)
        self._missing.extend((start + at, keys[at].tobytes()) for at in wanted.tolist())
        self._names += names
        self._rows += rows.tolist()
        if piece is not None and len(names):
            self._spans.append((start, len(self._names), piece))
        return wanted

    def __len__(self) -> int:
        """How many tiles are wanted so far, of the last build or not."""
        return len(self._names)

    def enter(self, one: Finished) -> None:
        """The next tile that was built; its bytes are written and forgotten."""
        self.copy()
        at, key = self._missing.popleft()
        check = 0
        if one.packed is not None:
            check = one.packed.check
            self._next.append((self._piece_of(at), f"{self._names[at]}.glb", one.packed))
            one.packed = Packed(b"", 0, one.packed.size, False)
        if len(self._next) >= _AT_ONCE:
            self._write()
        self._rows[at] = len(self.past.tiles) + len(self.ledger)
        self.ledger.add(self._names[at], key, check, one)
        self.done, self.kept = at + 1, self.kept + one.kept

    def copy(self) -> None:
        """What is to be copied up to the next tile that is built.

        Raises:
            Spoilt: it is not there any more, or damaged (perhaps not before `settle`).
        """
        end = self._missing[0][0] if self._missing else len(self._names)
        if end <= self.done:
            return
        while self.done < end:
            piece = self._piece_of(self.done)
            first, last, _ = self._spans[self._span] if self._span < len(self._spans) else (end, end, None)
            self._move(piece, min(first if piece is None else last, end))
        if not self._missing:
            self._write()
            if not self._spans:
                self._later(self.archive.sync)  # the disk works while the rest is computed

    def _piece_of(self, at: int) -> Piece | None:
        """The piece of a tile, not before the last one that was asked for; None where it lies near the root."""
        while self._span < len(self._spans) and self._spans[self._span][1] <= at:
            self._span += 1
        return self._spans[self._span][2] if self._span < len(self._spans) and self._spans[self._span][0] <= at else None

    def _move(self, piece: Piece | None, end: int) -> None:
        """Have tiles of one piece copied, up to `end`."""
        rows = np.array(self._rows[self.done : end])
        self.kept += int(self.past.kept[rows].sum())
        drawn = np.flatnonzero(self.past.drawn[rows])
        if self.rewritten:
            names = [f"{self._names[self.done + at]}.glb" for at in drawn.tolist()]
            self._reused.update(names)
            self._next += [(None, name, Packed(b"", 0, 0, False)) for name in names]
        elif len(drawn):
            self._write()
            wanted = rows[drawn]
            self._later(lambda: self.past.copy_rows(self._target(piece), wanted))
        self.done = end

    def _target(self, piece: Piece | None) -> ArchiveWriter:
        """The archive that a tile goes to; for the writing thread alone."""
        return self.archive if piece is None or self.shelf is None else self.shelf.writer(piece)

    def settle(self) -> None:
        """Wait until all is written.

        Raises:
            StorageError: the disk is full. Spoilt: see `copy`.
        """
        self._write()
        self._catch_up(0)

    def shelve(self, pieces: Sequence[Piece]) -> Future[None]:
        """No tile of these pieces comes any more; done when each is in the lake. Its result, and `settle`, raise what went wrong."""
        self._write()

        def finish() -> None:
            if self.shelf is not None:
                for piece in pieces:
                    self.shelf.finish(piece)
                self.shelf.settle()

        return self._later(finish)

    def document(self, piece: Piece, made: Document | None) -> Future[None]:
        """Have the document of a piece written behind all tiles: as the last build wrote it where it is that one, and surely without `made`."""
        if made is not None:
            piece.document, piece.document_key = made.name, made.key.hex()

        def write() -> None:
            before = next((one for one in self.past.pieces if (one.document, one.document_key) == (piece.document, piece.document_key)), None)
            if before is not None:
                self.past.copy(self.archive, {piece.document: before.check})
                piece.check = before.check
            elif made is not None:
                packed = pack(made.text())
                self.archive.add_packed(piece.document, packed)
                piece.check = packed.check

        self._write()
        return self._later(write)

    def end_with(self, name: str, data: bytes) -> None:
        """Have a last file deflated and written behind all tiles; `settle` waits for it."""
        self._write()
        self._later(lambda: self.archive.add(name, data))

    def _write(self) -> None:
        tiles, self._next = self._next, []
        if not tiles:
            return

        def write() -> None:
            for piece, name, packed in tiles:
                self._target(piece).add_packed(name, packed)

        self._later(write, sum(len(packed.body) for _, _, packed in tiles))

    def _later(self, work: Callable[[], T], size: int = 0) -> Future[T]:
        """Have the thread do this, which holds `size` bytes until then."""
        self._catch_up(max(0, _WAITING - size))
        future = self._writer.submit(work)
        self._under_way.append((future, size))
        self._waiting += size
        return future

    def _catch_up(self, most: int) -> None:
        """Wait until no more than `most` bytes wait (with 0: nothing at all); what went wrong is raised here."""
        while self._under_way and (self._waiting > most or most == 0 or self._under_way[0][0].done()):
            future, size = self._under_way.popleft()
            self._waiting -= size
            future.result()

    def known(self, uri: str) -> Packed | None:
        """The bytes of a tile that the last build made, as they are stored.

        Raises:
            Spoilt: they are not there any more, or damaged.
        """
        return self.past.stored(uri.removesuffix(".glb")) if uri in self._reused else None

    def placed(self, uri: str, name: str, check: int) -> None:
        """The bytes of a tile went to another place."""
        self._placed[uri.removesuffix(".glb")] = name, check

    def table(self) -> pa.Table:
        """Tiles that are written (`tiling.ledger.TILE`), in the order in which they were wanted."""
        both = pa.concat_tables([self.past.tiles, self.ledger.table()])
        rows = np.array(self._rows[: self.done], np.int64)
        together = len(rows) > 0 and bool((np.diff(rows) == 1).all())
        tiles = both.slice(int(rows[0]), len(rows)) if together else both.take(pa.array(rows))
        return replaced(tiles.combine_chunks(), self._placed)

    def masses(self) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """(what tiles that are written add to the masses above them, one behind the other; where what each adds begins, and the end); `ledger` has a place for them."""
        if self.ledger.masses is None:
            raise ValueError("no masses were kept")
        own = self.ledger.table().column("masses").to_numpy()
        known = self.past.tiles.column("masses").to_numpy()
        return gathered(np.array(self._rows[: self.done], np.int64), (known, self.past.masses), (own, self.ledger.masses))
