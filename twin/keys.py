"""Keys that features are sorted by: the Morton code of a place on the earth, and a hash of a text.

Both are functions of the feature alone, so that no order of arrival and no earlier version shows in what is sorted by them.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from twin.angles import logarithm, sine_cosine

U64 = NDArray[np.uint64]
I64 = NDArray[np.int64]
DEPTH = 28
"""Levels of the Web Mercator quadtree of the whole earth; its finest cell is 15 cm wide at the equator."""
NOWHERE = np.iinfo(np.uint64).max
"""Code of what has no place; sorts behind all places."""
_HASHED = 65_536
"""Texts that are hashed at a time: some forty bytes are needed for every byte of theirs."""
IN_MEMORY = 4_000_000
"""Keys that `in_order` sorts at a time (some 100 MB)."""


def project(lon: NDArray[np.float64], lat: NDArray[np.float64]) -> U64:
    """(N,) Morton codes (2 × `DEPTH` bits, x in the even bits) of places in degrees; beyond 85.05° the last row is used.

    Places that are not finite are `NOWHERE`.
    """
    with np.errstate(invalid="ignore"):
        sine = sine_cosine(np.clip(lat, -85.0511287, 85.0511287))[0]
        u = (np.asarray(lon) + 180.0) / 360.0 % 1.0
        v = 0.5 - logarithm((1.0 + sine) / (1.0 - sine)) / (4.0 * np.pi)
        known = np.isfinite(u) & np.isfinite(v)
        top = (1 << DEPTH) - 1
        x, y = (np.clip(np.where(known, w, 0.0) * (1 << DEPTH), 0, top).astype(np.uint64) for w in (u, v))
    return np.where(known, interleave(x, y), np.uint64(NOWHERE))


def interleave(x: U64, y: U64) -> U64:
    """Bits of x and y (up to 32 each) in turn, x lowest."""
    return _spread(x) | (_spread(y) << np.uint64(1))


def deinterleave(code: int) -> tuple[int, int]:
    """The inverse of `interleave` for one code."""
    return _gather(code), _gather(code >> 1)


_MASKS = ((16, 0x0000FFFF0000FFFF), (8, 0x00FF00FF00FF00FF), (4, 0x0F0F0F0F0F0F0F0F), (2, 0x3333333333333333), (1, 0x5555555555555555))


def _spread(v: U64) -> U64:
    for shift, mask in _MASKS:
        v = (v | (v << np.uint64(shift))) & np.uint64(mask)
    return v


def _gather(code: int) -> int:
    """Every second bit of a code, the inverse of `_spread`."""
    code &= _MASKS[-1][1]
    for (shift, _), (_, mask) in zip(_MASKS[::-1], [*_MASKS[-2::-1], (0, 0xFFFFFFFF)], strict=True):
        code = (code | (code >> shift)) & mask
    return code


def offsets_and_data(array: pa.Array) -> tuple[NDArray[Any], NDArray[np.uint8]]:
    """((N + 1,) offsets, uint8 data) of a string or binary array: value i is data[offsets[i] : offsets[i + 1]]. Nulls are empty or anything."""
    wide = pa.types.is_large_binary(array.type) or pa.types.is_large_string(array.type)
    _, starts, data = array.buffers()
    if starts is None or not len(array):
        return np.zeros(len(array) + 1, np.int32), np.zeros(0, np.uint8)
    offsets = np.frombuffer(starts, np.int64 if wide else np.int32)[array.offset : array.offset + len(array) + 1]
    return offsets, np.frombuffer(data, np.uint8) if data is not None else np.zeros(0, np.uint8)


def id_hash(ids: pa.Array) -> U64:
    """(N,) a 64-bit hash of each text: a polynomial over its bytes, modulo 2^64, scrambled."""
    if len(ids) > _HASHED:
        return np.concatenate([id_hash(ids.slice(at, _HASHED)) for at in range(0, len(ids), _HASHED)])
    ids = ids.cast(pa.large_string())
    offsets = np.frombuffer(ids.buffers()[1], np.int64)[ids.offset : ids.offset + len(ids) + 1]
    data = ids.buffers()[2]
    lengths = np.diff(offsets)
    if data is None or not lengths.sum():
        return np.zeros(len(ids), np.uint64)
    body = np.frombuffer(data, np.uint8)[offsets[0] : offsets[-1]].astype(np.uint64)
    place = np.arange(len(body)) - np.repeat(offsets[:-1] - offsets[0], lengths)
    with np.errstate(over="ignore"):
        powers = np.cumprod(np.full(int(lengths.max()), 0x100000001B3, np.uint64))
        terms = (body + np.uint64(1)) * powers[place]
        total = np.concatenate([np.zeros(1, np.uint64), np.cumsum(terms, dtype=np.uint64)])
        ends = offsets - offsets[0]
        value = total[ends[1:]] - total[ends[:-1]]
        value ^= value >> np.uint64(29)
        return np.asarray(value * np.uint64(0xBF58476D1CE4E5B9), np.uint64)


def among(values: U64, sought: U64) -> I64:
    """Positions, ascending, of those of many values that are among a few."""
    likely = np.zeros(1 << 16, bool)
    likely[sought & np.uint64(0xFFFF)] = True
    found = np.flatnonzero(likely[values & np.uint64(0xFFFF)])
    return found[np.isin(values[found], sought)]


def in_order(keys: U64, limit: int = IN_MEMORY) -> Iterator[I64]:
    """Positions of `keys` in ascending order (ties as they come), in runs; equal keys are in one run.

    Memory holds about `limit` positions, however many keys there are: they are cut into ranges at sampled values, and
    read once for every range (`keys` may be mapped from a file).
    """
    for low, high in _ranges(keys, limit):
        rows = _within(keys, low, high, limit)
        if len(rows):
            order = np.argsort(keys[rows], kind="stable")
            _release(keys)
            yield rows[order]


def matches(known: U64, sought: U64, limit: int = IN_MEMORY) -> Iterator[tuple[I64, I64, NDArray[np.bool_]]]:
    """Where the keys `sought` are among those `known`, some at a time: ((N,) positions in `sought`, (N,) the first in `known` or −1, (N,) whether it is there again).

    Memory holds about `limit` keys; both may be mapped from files, which are read once for every range of keys.
    """
    for low, high in _ranges(known, limit):
        own = _within(known, low, high, limit)
        own = own[np.argsort(known[own], kind="stable")]
        values = np.append(known[own], np.uint64(0))
        again = np.append(values[1:-1] == values[:-2], [False, False])
        for start in range(0, len(sought), limit):
            block = np.asarray(sought[start : start + limit])
            here = np.flatnonzero(_inside(block, low, high))
            place = np.searchsorted(values[:-1], block[here])
            there = (values[place] == block[here]) & (place < len(own))
            yield here + start, np.where(there, np.append(own, -1)[place], -1), again[place] & there


Range = tuple[Any, Any]


def _ranges(keys: U64, limit: int) -> list[Range]:
    """(lowest, beyond the highest) of ranges that hold about half of `limit` keys each; None is no bound."""
    if len(keys) <= limit:
        return [(None, None)]
    sample = np.sort(np.asarray(keys[:: max(1, len(keys) // 65_536)]))
    _release(keys)
    pieces = -(-2 * len(keys) // limit)
    edges = np.unique(sample[np.linspace(0, len(sample) - 1, pieces + 1)[1:-1].astype(np.int64)])
    return list(zip([None, *edges], [*edges, None], strict=True))


def _inside(block: U64, low: Any, high: Any) -> NDArray[np.bool_]:
    inside = np.ones(len(block), bool) if low is None else block >= low
    if high is not None:
        inside &= block < high
    return inside


def _within(keys: U64, low: Any, high: Any, limit: int) -> I64:
    """Positions of the keys of a range."""
    if low is None and high is None:
        return np.arange(len(keys))
    found = []
    for at in range(0, len(keys), limit):
        found.append(np.flatnonzero(_inside(np.asarray(keys[at : at + limit]), low, high)) + at)
        _release(keys)
    return np.concatenate(found)


def _release(keys: U64) -> None:
    """Let go of the pages that were read of keys that are mapped from a file; they are read again when touched."""
    pages = getattr(keys, "_mmap", None)  # of a `numpy.memmap`, which has no other way to it
    if pages is not None:
        pages.madvise(mmap.MADV_DONTNEED)
