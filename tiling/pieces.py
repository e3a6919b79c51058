"""The tileset of a large city in pieces: archives of whole subtrees, so that an update writes the pieces that it touches and no others (ADR 0024).

Where to cut follows from the plan alone: from the weights of cells, never from bytes or from earlier versions. The tiles near the root,
the masses and `tileset.json` lie in the archive that the tiler is asked for; each piece is an archive in the lake. A small city has no pieces.
"""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tiling.partition import Cells
from twin import archive_set
from twin.archive import ArchiveWriter
from twin.lake import Lake

LEAST, MOST = 1 << 22, 1 << 28
"""Weight (vertices) of a piece: no layer below `LEAST` is cut, no piece is above `MOST` (some 4 bytes a vertex)."""
SHARE = 16
"""A piece holds about so much of a layer at most, and no less than that of the limit."""
_BEHIND = 4  # pieces that may wait for being finished


@dataclass
class Piece:
    """A subtree: its cell's name and its tiles' positions in the plan; `keys` and `size` of its archives once they are in the lake."""

    name: str
    first: int
    end: int
    keys: list[str] = field(default_factory=list)
    size: int = 0


def limit_of(weight: float) -> int:
    """What a piece of a layer of that weight may weigh: a power of two, so that it stays what it is while the layer grows a little."""
    limit = LEAST
    while limit < MOST and limit * SHARE < weight:
        limit *= 2
    return limit


def pieces(cells: Cells, start: int, limit: int) -> list[Piece]:
    """The pieces among some tiles of a plan, of which the first is number `start`: the largest subtrees that weigh no more than `limit`."""
    if not cells.whole:
        return []
    above = cells.parent - start
    weight, count = _totals(cells, above, cells.weight), _totals(cells, above, np.ones(len(cells)))
    heavy = weight > limit
    inside = above >= 0
    cut = np.where(inside, heavy[np.maximum(above, 0)], cells.parent >= 0)  # what is above in another part of the plan is heavy by itself
    roots = np.flatnonzero(cut & ~heavy & (weight * SHARE >= limit))
    return [Piece(f"{cells.level[at]}/{cells.x[at]}/{cells.y[at]}", start + at, start + at + int(count[at])) for at in roots.tolist()]


def _totals(cells: Cells, above: NDArray[np.int64], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N,) of each tile its value and all below it."""
    totals = values.astype(np.float64)
    for level in range(int(cells.level.max()), int(cells.level[0]), -1):
        here = np.flatnonzero(cells.level == level)
        np.add.at(totals, above[here], totals[here])
    return totals


class Shelf:
    """Writes pieces one after the other; a thread finishes each and puts it into the lake while the next is written (the disk takes its time over that).

    Args:
        out: beside which they are written. most: bytes of an archive; what is larger is split.
    """

    def __init__(self, lake: Lake, out: Path, most: int) -> None:
        self._lake, self._out, self._most = lake, out, most
        self._piece: Piece | None = None
        self._writer: ArchiveWriter | None = None
        self._thread = ThreadPoolExecutor(1, "shelf")
        self._under_way: deque[Future[None]] = deque()

    def writer(self, piece: Piece) -> ArchiveWriter:
        """The archive of a piece; the one before is being finished.

        Raises:
            StorageError: the disk is full.
        """
        if self._writer is None or self._piece is not piece:
            self.finish()
            self._piece, self._writer = piece, ArchiveWriter(self._out.with_name(f"{self._out.stem}-{piece.first}.3tz"))
            self._writer.__enter__()
        return self._writer

    def finish(self) -> None:
        """Nothing more comes for the last piece. Raises StorageError: the disk was full at an earlier one."""
        writer, piece, self._writer, self._piece = self._writer, self._piece, None, None
        if writer is not None and piece is not None:
            self._under_way.append(self._thread.submit(self._put, writer, piece))
        while len(self._under_way) > _BEHIND or (self._under_way and self._under_way[0].done()):
            self._under_way.popleft().result()

    def settle(self) -> None:
        """Finish the last piece, and wait until all are in the lake. Raises StorageError: the disk is full."""
        self.finish()
        while self._under_way:
            self._under_way.popleft().result()

    def _put(self, writer: ArchiveWriter, piece: Piece) -> None:
        writer.__exit__(None, None, None)
        piece.size = writer.path.stat().st_size
        piece.keys = archive_set.store(self._lake, writer.path, self._most)

    def give_up(self) -> None:
        """Leave nothing half done behind."""
        self._thread.shutdown(wait=True)
        if self._writer is not None:
            self._writer.__exit__(RuntimeError, None, None)
            self._writer = self._piece = None
