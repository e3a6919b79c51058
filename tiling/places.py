"""Features by place, as the plan works on them: sorted, perhaps mapped from files, and from several parts."""

from __future__ import annotations

import mmap
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

U64 = NDArray[np.uint64]
NONE = np.zeros(0, np.uint64)
_FEW = 4096
"""Features that are laid between others, or left out of them, one by one."""


@dataclass(frozen=True)
class Places:
    """Features by place, ascending by `code` and then by `tie`.

    Attributes:
        code: (N,) Morton codes of the anchors (`project`).
        size: (N,) metres; what is larger is drawn from farther away.
        weight: (N,) ≥ 0, what a feature costs to draw (vertices).
        tie: (N,) hashes of the ids, so that equals have an order of their own.
        row: (N,) the numbers by which the plan names them.
        mark: (N,) what a caller wants to find again in `Cell.mark`, or empty.
        base: what to add to `row`; gone: positions, ascending, of what is to be left out. So a file can be used as it lies.
        pages: the file that the arrays are views of, if they all are of one.
    """

    code: U64
    size: NDArray[Any]
    weight: NDArray[Any]
    tie: U64
    row: NDArray[Any]
    mark: U64 = field(default_factory=lambda: NONE)
    base: int = 0
    gone: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    pages: mmap.mmap | None = None

    def __len__(self) -> int:
        return len(self.code)

    def part(self, rows: Any) -> Places:
        """Some of them: a mask, or positions in ascending order."""
        return Places(self.code[rows], self.size[rows], self.weight[rows], self.tie[rows] if len(self.tie) else NONE, self.row[rows], self.mark[rows] if len(self.mark) else NONE)

    def slice(self, a: int, b: int) -> Places:
        """Those at a ≤ position < b, as a view."""
        left, right = np.searchsorted(self.gone, (a, b))
        return replace(self.part(slice(a, b)), base=self.base, gone=self.gone[left:right] - a)

    def between(self, low: int, high: int) -> Places:
        """Those of low ≤ code < high, as a view."""
        a, b = np.searchsorted(self.code, np.array([low, high], np.uint64))
        return self.slice(int(a), int(b))

    def shown(self) -> Places:
        """Without what is gone, rows with their base."""
        rest = self
        if len(self.gone):
            keep = np.ones(len(self), bool)
            keep[self.gone] = False
            rest = self.part(keep)
        return replace(rest, row=rest.row + np.int64(self.base), base=0) if self.base else rest

    def without(self, others: Places) -> Places:
        """The same with some features, few and of its own, among what is left out. `others`: which, by their rows and codes; those that are not here do not matter."""
        low, high = np.searchsorted(self.code, others.code, "left"), np.searchsorted(self.code, others.code, "right")
        found = []
        for a, b, row in zip(low.tolist(), high.tolist(), (others.row.astype(np.int64) + others.base).tolist(), strict=True):
            if a < b:  # most often one feature has its place for itself
                found.append(a + np.flatnonzero(self.row[a:b] == row - self.base))
        return replace(self, gone=np.union1d(self.gone, np.concatenate(found))) if found else self

    def release(self) -> None:
        """Let go of the pages that were read; the arrays stay as they are and are read again when touched."""
        if self.pages is not None:
            self.pages.madvise(mmap.MADV_DONTNEED)

    def heft(self) -> float:
        """Weight of all that is shown."""
        return float(self.weight.sum(dtype=np.float64) - self.weight[self.gone].sum(dtype=np.float64))

    def largest(self) -> float:
        """Largest size that is shown, 0 without any."""
        return float((np.delete(self.size, self.gone) if len(self.gone) else self.size).max(initial=0.0))

    @staticmethod
    def none() -> Places:
        """No features."""
        return Places(NONE, np.zeros(0), np.zeros(0), NONE, np.zeros(0, np.int64))

    @staticmethod
    def merged(many: Sequence[Places], *, tied: bool = True) -> Places:
        """All that is shown in one, sorted; perhaps without `tie` (`tied`: who does not merge them again has no use for them)."""
        if sum(len(one) > len(one.gone) for one in many) < 2:
            return next((one.shown() for one in many if len(one) > len(one.gone)), many[0].part(slice(0, 0)))
        laid = _laid(many, tied)
        return laid if laid is not None else _together(many)

    def sorted(self) -> Places:
        """What is shown in ascending order. Runs that are sorted already cost little."""
        order = np.argsort(self.code, kind="stable")
        if len(self.gone):
            keep = np.ones(len(self), bool)
            keep[self.gone] = False
            order = order[keep[order]]
        code = self.code[order]
        same = np.flatnonzero(code[1:] == code[:-1])
        if len(same):
            among = np.unique(np.concatenate([same, same + 1]))
            order[among] = order[among][np.lexsort((self.tie[order[among]], code[among]))]
        return replace(self.part(order), base=self.base)


def _together(many: Sequence[Places]) -> Places:
    """`Places.merged` by sorting all of them."""
    columns = {name: np.concatenate([getattr(one, name) for one in many]) for name in ("code", "size", "weight", "tie", "mark")}
    row = np.concatenate([one.row + np.int64(one.base) for one in many])
    first = np.cumsum([0, *map(len, many)])
    return Places(**columns, row=row, gone=np.concatenate([one.gone + at for one, at in zip(many, first, strict=False)])).sorted()


def _laid(many: Sequence[Places], tied: bool) -> Places | None:
    """`Places.merged` of parts of which most lie one behind the other: a few others are laid between what is copied as it lies. None where there are too many of those.

    A layer is written in parts of one long order, and each update adds a small one, so that to sort them all anew is mostly to find out that they are sorted.
    """
    chain: list[Places] = []
    others: list[Places] = []
    for one in sorted((one for one in many if len(one)), key=len, reverse=True):
        at = bisect_left(chain, int(one.code[0]), key=lambda two: int(two.code[0]))
        free = (at == 0 or chain[at - 1].code[-1] < one.code[0]) and (at == len(chain) or one.code[-1] < chain[at].code[0])
        if free:
            chain.insert(at, one)
        else:
            others.append(one)
    if sum(map(len, others)) + sum(len(one.gone) for one in chain) > _FEW:
        return None
    rest = _together(others) if others else chain[0].part(slice(0, 0))
    pieces: list[tuple[Places, int, int]] = []
    first = 0
    for number, part in enumerate(chain):
        last = int(np.searchsorted(rest.code, part.code[-1], "right")) if number + 1 < len(chain) else len(rest)
        before = np.searchsorted(part.code, rest.code[first:last]).tolist()
        for k, at in enumerate(before):  # among those of its own place it has its place by its tie
            code, tie = rest.code[first + k], rest.tie[first + k]
            while at < len(part) and part.code[at] == code and part.tie[at] < tie:
                at += 1  # noqa: PLW2901
            before[k] = at
        begin = 0
        for at, number_ in sorted([*((at, first + k) for k, at in enumerate(before)), *((at, len(rest)) for at in part.gone.tolist())]):
            if at > begin:
                pieces.append((part, begin, at))
            if number_ < len(rest):
                pieces.append((rest, number_, number_ + 1))
                begin = at
            else:
                begin = at + 1
        if begin < len(part):
            pieces.append((part, begin, len(part)))
        first = last
    columns = {name: np.concatenate([getattr(one, name)[a:b] for one, a, b in pieces]) for name in ("code", "size", "weight", "mark", *(["tie"] if tied else []))}
    row, at = np.empty(len(columns["code"]), np.int64), 0
    for one, a, b in pieces:
        np.add(one.row[a:b], one.base, out=row[at : at + b - a])
        at += b - a
    return Places(**{"tie": NONE, **columns}, row=row)
