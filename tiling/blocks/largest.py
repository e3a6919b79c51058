"""The features of an inner tile, largest first, of however many pieces: as many are at hand as are looked at."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiling.levels import Rows
from tiling.meshes.elements import Elements

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
LOOK = 1 << 18
"""Pieces that are looked at at a time."""


@dataclass(frozen=True)
class Features:
    """Some features: (K,) rows of the table, (K,) sizes in metres; the pieces of feature k that lie below the tile are piece[first[k] : first[k + 1]]."""

    feature: I64
    size: F64
    first: I64
    piece: I64

    def then(self, more: Features) -> Features:
        """With others behind."""
        first = np.concatenate([self.first[:-1], self.first[-1] + more.first])
        return Features(np.concatenate([self.feature, more.feature]), np.concatenate([self.size, more.size]), first, np.concatenate([self.piece, more.piece]))


class Largest:
    """Features below a tile, the largest first (ties by hash); `held` are those that were asked for, at least."""

    def __init__(self, elements: Elements, rows: Rows, most: int) -> None:
        """`most`: pieces that are at hand at a time, about."""
        self._elements = elements
        self._more = by_size(elements, rows, most)
        self.held = next(self._more)

    def has(self, count: int) -> bool:
        """Whether there are so many."""
        while len(self.held.size) < count:
            more = next(self._more, None)
            if more is None:
                return False
            self.held = self.held.then(more)
        return True

    def run(self, done: int, smallest: float, most: int) -> int:
        """End of the run of features from `done` that weigh `most` vertices together, or of one that weighs more; none of them, but for the very first, is smaller."""
        while True:
            held = self.held
            fits = max(int((held.size > smallest).sum()), 1)
            total = np.cumsum(self._elements.weight[held.piece[held.first[done] :]])
            ends = held.first[done + 1 :] - held.first[done] - 1
            last = done + max(1, int(np.searchsorted(total[ends], most, side="right"))) if len(ends) else done
            if fits < len(held.size) or last < len(held.size) or not self.has(len(held.size) + 1):
                return max(done, min(last, fits))


def by_size(elements: Elements, rows: Rows, most: int) -> Iterator[Features]:
    """All features of which pieces are at some places of the plan, the largest first, in blocks of `most` pieces, about."""
    after: tuple[float, int] | None = None
    while True:
        size, tie, piece, cut = _top(elements, rows, most, after)
        feature = elements.feature[piece]
        order = np.lexsort((piece, feature, tie, -size))
        if len(order) > most:
            end = order[most - 1]
            keep = int(np.flatnonzero((size[order] == size[end]) & (tie[order] == tie[end]))[-1]) + 1
            cut, order = cut or keep < len(order), order[:keep]
        size, tie, piece, feature = size[order], tie[order], piece[order], feature[order]
        if not len(piece):
            return
        start = np.flatnonzero(np.concatenate([[True], feature[1:] != feature[:-1]]))
        yield Features(feature[start], size[start], np.append(start, len(piece)), piece)
        if not cut:
            return
        after = float(size[-1]), int(tie[-1])


def _top(elements: Elements, rows: Rows, most: int, after: tuple[float, int] | None) -> tuple[F64, Any, I64, bool]:
    """(sizes, hashes, pieces, whether there are more) of at least the `most` largest pieces behind those of size and hash `after`."""
    found: list[tuple[F64, Any, I64]] = []
    low, count, cut = -np.inf, 0, False
    for some in parts(rows):
        size, tie, piece = (elements.placed(name, some) for name in ("size", "tie", "piece"))
        keep = size >= low
        cut = cut or not keep.all()
        if after is not None:
            behind = (size < after[0]) | ((size == after[0]) & (tie > np.uint64(after[1])))
            keep &= behind
        found.append((size[keep], tie[keep], piece[keep]))
        count += len(found[-1][0])
        elements.release()
        if count > 2 * most:
            found, low, count = _cut(found, most)
            cut = True
    joined = [np.concatenate([one[k] for one in found]) for k in range(3)]
    return joined[0], joined[1], joined[2], cut


def _cut(found: list[tuple[F64, Any, I64]], most: int) -> tuple[list[tuple[F64, Any, I64]], float, int]:
    """(those that are as large as number `most` at least, its size, how many they are)."""
    size, tie, piece = (np.concatenate([one[k] for one in found]) for k in range(3))
    low = float(np.partition(size, len(size) - most)[len(size) - most])
    keep = size >= low
    return [(size[keep], tie[keep], piece[keep])], low, int(keep.sum())


def parts(rows: Rows) -> Iterator[Rows]:
    """Places of a plan, so many at a time as are looked at."""
    if isinstance(rows, slice):
        yield from (slice(at, min(at + LOOK, rows.stop)) for at in range(rows.start, rows.stop, LOOK))
    else:
        yield from (rows[at : at + LOOK] for at in range(0, len(rows), LOOK))
