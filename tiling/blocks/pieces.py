"""The tileset of a large city in pieces: archives of whole subtrees, so that an update works on the pieces that it touches and on no others (ADR 0024, 0050).

Where to cut follows from the plan alone: from the weights of cells, never from bytes or from earlier versions. What is near the root and
`tileset.json` lie in the archive that the tiler is asked for; each piece, with its masses, is an archive in the lake, and so is what is known of its tiles. A small city has no pieces.
"""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tiling.partition import Subtree
from twin import archive_set
from twin.archive import ArchiveWriter
from twin.lake import Lake

LEAST, MOST = 1 << 22, 1 << 28
"""Weight (vertices) of a piece: no layer below `LEAST` is cut, no piece is above `MOST` (some 4 bytes a vertex)."""
SHARE = 16
"""A piece holds about so much of a layer at most, and no less than that of the limit."""
_FINISHERS = 4  # pieces that are finished side by side: most of that is waiting for the disk


@dataclass
class Piece:
    """A subtree as the next build finds it: all that the tiles near the root say of it. JSON values.

    Attributes:
        name: of its first cell. content: a digest of the features that it is planned from (`tiling.partition.Subtree.digest`); key: of all else that its bytes depend on.
        archives, ledger: keys in the lake of its tiles and of what is known of them. size: bytes of the archives.
        entries: of the one or two tiles that stand for it near the root (low, high, error, content; `tiling.tree_text`): its first cell, and all that hangs below that.
        document, document_key, check: of what hangs below it, where that is told of in a document: its name, a digest of what it was made of, and the CRC of its stored bytes.
        mass: what it adds to the masses above it, in hexadecimal. facts: sums over its tiles. told: whether there is something to tell of its features.
    """

    name: str
    content: str
    key: str
    archives: list[str] = field(default_factory=list)
    ledger: str = ""
    size: int = 0
    entries: list[list[Any]] = field(default_factory=list)
    document: str = ""
    document_key: str = ""
    check: int = 0
    mass: str = ""
    facts: dict[str, Any] = field(default_factory=dict)
    told: bool = False


def limit_of(weight: float) -> int:
    """What a piece of a layer of that weight may weigh: a power of two, so that it stays what it is while the layer grows a little."""
    limit = LEAST
    while limit < MOST and limit * SHARE < weight:
        limit *= 2
    return limit


def is_piece(subtree: Subtree, limit: float) -> bool:
    """Whether a subtree of a plan with `limit` as its `heavy` is one."""
    return subtree.above >= 0 and limit <= subtree.weight * SHARE and subtree.weight <= limit


class Shelf:
    """The archives of pieces, side by side; threads finish them and put them into the lake (the disk takes its time over that).

    Args:
        out: beside which they are written. most: bytes of an archive; what is larger is split.
    """

    def __init__(self, lake: Lake, out: Path, most: int) -> None:
        self._lake, self._out, self._most = lake, out, most
        self._writers: dict[str, ArchiveWriter] = {}
        self._last = ""
        self._resting: dict[str, Future[None]] = {}  # on their way to the disk, with more to come
        self._threads = ThreadPoolExecutor(_FINISHERS, "shelf")
        self._under_way: deque[Future[None]] = deque()

    def writer(self, piece: Piece) -> ArchiveWriter:
        """The archive of a piece; what was written to another one goes to the disk meanwhile.

        Raises:
            StorageError: the disk is full.
        """
        if piece.name not in self._writers:
            self.rest()
            self._writers[piece.name] = ArchiveWriter(self._out.with_name(f"{self._out.stem}-{piece.name.replace('/', '-')}.3tz"))
            self._writers[piece.name].__enter__()
            self._last = piece.name
        return self._writers[piece.name]

    def rest(self) -> None:
        """Nothing comes for the last piece for a while."""
        if self._last in self._writers:
            self._resting[self._last] = self._threads.submit(self._writers[self._last].sync)
            self._begin(self._resting[self._last])
        self._last = ""

    def finish(self, piece: Piece) -> None:
        """Nothing more comes for a piece. Raises StorageError: the disk was full at an earlier one."""
        if piece.name in self._writers:  # else no tile of it is drawn
            self._last = ""
            self._begin(self._threads.submit(self._put, self._writers[piece.name], piece, self._resting.pop(piece.name, None)))

    def _begin(self, work: Future[None]) -> None:
        self._under_way.append(work)
        while self._under_way and self._under_way[0].done():
            self._under_way.popleft().result()

    def settle(self) -> None:
        """Wait until all that are finished are in the lake. Raises StorageError: the disk is full."""
        while self._under_way:
            self._under_way.popleft().result()

    def _put(self, writer: ArchiveWriter, piece: Piece, resting: Future[None] | None) -> None:
        if resting is not None:  # it has a thread already, and needs the file open
            resting.result()
        writer.__exit__(None, None, None)
        piece.size = writer.path.stat().st_size
        piece.archives = archive_set.store(self._lake, writer.path, self._most)
        del self._writers[piece.name]

    def give_up(self) -> None:
        """Leave nothing half done behind."""
        self._threads.shutdown(wait=True)
        for writer in self._writers.values():
            writer.__exit__(RuntimeError, None, None)
        self._writers = {}
