# mypy: disable-error-code="untyped-decorator"
"""One pass over the points of a LAS/LAZ/COPC file: ranges and counts, and which points the filter leaves out.

Source: LAS 1.4 R15, tables 8 and 16 (classification flags). Memory is bounded by one chunk.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import lazrs
import numpy as np
from numpy.typing import NDArray

from ingest_gis.lasfile import AGAIN, RGB_AT, LasFile
from ingest_gis.laszip import check_stream
from twin.clouds import decompressor
from twin.compiled import njit
from twin.errors import UnreadableSource

CHUNK = 1 << 19
"""Points in memory at once."""
FLAGS_AT = 15
NOISE = (7, 18)
"""ASPRS classes of low and high noise."""
OVERLAP = 12
"""ASPRS class of overlap points, in the formats (0–5) that have no overlap flag."""


@dataclass(frozen=True)
class Filter:
    """What of a file is left out: points with one of the flags in the bits `mask` of byte 15, and points of `classes` (sorted codes).

    `flags` names the flags as laspy does (withheld, synthetic, key_point, overlap), for those who read the file without us.
    """

    mask: int
    classes: tuple[int, ...]
    flags: tuple[str, ...]


def flag_bits(point_format: int) -> dict[str, int]:
    """Flag → its bit in byte 15 of a record."""
    return {"synthetic": 1, "key_point": 2, "withheld": 4, "overlap": 8} if point_format >= 6 else {"synthetic": 32, "key_point": 64, "withheld": 128}


def make_filter(point_format: int, drop: tuple[str, ...], only: tuple[int, ...] | None, exclude: tuple[int, ...]) -> Filter:
    """A file's filter from what a user says: flags and "noise" to drop, the only classes to keep (None: all), classes to leave out."""
    bits = flag_bits(point_format)
    flags = tuple(sorted({name for name in drop if name in bits}))
    classes = set(exclude) | (set(range(256)) - set(only) if only is not None else set())
    if "noise" in drop:
        classes |= set(NOISE)
    if "overlap" in drop and "overlap" not in bits:
        classes.add(OVERLAP)
    return Filter(sum(bits[name] for name in flags), tuple(sorted(classes)), flags)


@dataclass
class Summary:
    """What the pass found, in raw integers: of all points the counts by class and flag, of the kept ones the rest.

    `left_out`: points by the first reason that applies ("withheld", "class 7", …).
    """

    low: NDArray[np.int64] = field(default_factory=lambda: np.full(3, np.iinfo(np.int64).max))
    high: NDArray[np.int64] = field(default_factory=lambda: np.full(3, np.iinfo(np.int64).min))
    classes: NDArray[np.int64] = field(default_factory=lambda: np.zeros(256, np.int64))
    flags: NDArray[np.int64] = field(default_factory=lambda: np.zeros(256, np.int64))
    left_out: dict[str, int] = field(default_factory=dict)
    kept: int = 0
    intensity: list[int] = field(default_factory=lambda: [65_535, 0])
    rgb_top: int = 0

    def add(self, other: Summary) -> None:
        """Take over what was found in other points of the same file, by the same filter."""
        self.low, self.high = np.minimum(self.low, other.low), np.maximum(self.high, other.high)
        self.classes, self.flags, self.kept = self.classes + other.classes, self.flags + other.flags, self.kept + other.kept
        for reason, count in other.left_out.items():
            self.left_out[reason] = self.left_out.get(reason, 0) + count
        self.intensity = [min(self.intensity[0], other.intensity[0]), max(self.intensity[1], other.intensity[1])]
        self.rgb_top = max(self.rgb_top, other.rgb_top)

    def corners(self, las: LasFile) -> NDArray[np.float64]:
        """(2, 3) lowest and highest coordinates in the file's units."""
        corners = np.stack([self.low, self.high]) * np.array(las.scales, np.float64)
        return np.asarray(corners + np.array(las.offsets, np.float64))

    def flagged(self, las: LasFile) -> dict[str, int]:
        """Points of the file by flag, those that occur."""
        codes = np.arange(256)
        found = {name: int(self.flags[codes & bit > 0].sum()) for name, bit in flag_bits(las.point_format).items()}
        return {name: count for name, count in found.items() if count}


def summarise(las: LasFile, what: Filter) -> Summary:
    """Read every point once; a plain file by as many threads as there are processors (sums and extremes know no order).

    Raises:
        UnreadableSource: the points cannot be decoded or end early.
    """
    if las.format != "las":
        return _summary(las, what, raw_chunks(las))
    starts = range(0, las.count, CHUNK)
    threads = min(len(starts), os.cpu_count() or 1)
    with ThreadPoolExecutor(threads) as pool:
        found, *others = pool.map(lambda k: _summary(las, what, _plain(las, starts[k::threads])), range(threads))
    for other in others:
        found.add(other)
    found.left_out = {reason: found.left_out[reason] for reason in (*what.flags, *(f"class {code}" for code in what.classes)) if reason in found.left_out}
    return found


def _summary(las: LasFile, what: Filter, chunks: Iterable[NDArray[Any]]) -> Summary:
    found = Summary()
    drop = np.zeros(256, bool)
    drop[list(what.classes)] = True
    out = np.zeros((len(what.flags) + 1, 256), np.int64)
    bits = np.array([flag_bits(las.point_format)[name] for name in what.flags], np.uint8)
    class_at, class_mask = (16, 255) if las.point_format >= 6 else (15, 31)
    extremes = np.array([*found.low, *found.high, 65_535, 0, 0], np.int64)
    for raw in chunks:
        scan(raw.view(np.uint8), las.record, class_at, class_mask, RGB_AT.get(las.point_format, -1), bits, drop, found.flags, found.classes, out, extremes)
    found.low, found.high = extremes[:3], extremes[3:6]
    found.intensity, found.rgb_top = [int(extremes[6]), int(extremes[7])], int(extremes[8])
    found.kept = int(found.classes.sum())
    counts = {name: int(out[k].sum()) for k, name in enumerate(what.flags)} | {f"class {code}": int(out[-1, code]) for code in what.classes}
    found.left_out = {reason: count for reason, count in counts.items() if count}
    return found


@njit(cache=True, nogil=True)
def scan(raw: Any, record: int, class_at: int, class_mask: int, rgb_at: int, bits: Any, drop: Any, flags: Any, classes: Any, out: Any, extremes: Any) -> None:
    """Add some records to the counts.

    Args:
        raw: (n × record,) uint8. class_at, class_mask, rgb_at: where class and colours lie (−1: none).
        bits: flags that leave a point out, in their order. drop: (256,) bool, classes that do.
        flags, classes: (256,) int64 of byte 15 of all points and of the classes of the kept ones, added to.
        out: (len(bits) + 1, 256) int64 by reason and class, added to.
        extremes: (9,) int64 lowest x, y, z, highest x, y, z, lowest and highest intensity, highest colour of the kept ones, widened.
    """
    x0, y0, z0, x1, y1, z1, weak, strong, top = extremes
    for p in range(len(raw) // record):
        at = p * record
        code, flag = raw[at + class_at] & class_mask, raw[at + FLAGS_AT]
        flags[flag] += 1
        why = -1
        for k in range(len(bits)):
            if flag & bits[k] and why < 0:
                why = k
        if why < 0 and drop[code]:
            why = len(bits)
        if why >= 0:
            out[why, code] += 1
            continue
        classes[code] += 1
        x, y, z = _i32(raw, at), _i32(raw, at + 4), _i32(raw, at + 8)
        x0, x1, y0, y1, z0, z1 = min(x0, x), max(x1, x), min(y0, y), max(y1, y), min(z0, z), max(z1, z)
        value = _u16(raw, at + 12)
        weak, strong = min(weak, value), max(strong, value)
        if rgb_at >= 0:
            b = at + rgb_at
            top = max(top, _u16(raw, b), _u16(raw, b + 2), _u16(raw, b + 4))
    extremes[:] = (x0, y0, z0, x1, y1, z1, weak, strong, top)


@njit(cache=True, nogil=True)
def _i32(raw: Any, at: int) -> Any:
    return np.int64(np.int32(np.uint32(raw[at]) | np.uint32(raw[at + 1]) << 8 | np.uint32(raw[at + 2]) << 16 | np.uint32(raw[at + 3]) << 24))


@njit(cache=True, nogil=True)
def _u16(raw: Any, at: int) -> Any:
    return np.int64(raw[at]) | np.int64(raw[at + 1]) << 8


def longitudes(las: LasFile, what: Filter) -> tuple[float, float] | None:
    """Lowest and highest longitude of the kept points of a file in degrees, counted eastwards from 0, where they take less than half a turn so; else None.

    Raises:
        UnreadableSource: as for `summarise`.
    """
    class_at, class_mask = (16, 255) if las.point_format >= 6 else (15, 31)
    west, east = np.inf, -np.inf
    for raw in raw_chunks(las):
        rows = raw.reshape(-1, las.record)
        rows = rows[((rows[:, FLAGS_AT] & what.mask) == 0) & ~np.isin(rows[:, class_at] & class_mask, what.classes)]
        if len(rows):
            x = (np.ascontiguousarray(rows[:, :4]).view("<i4")[:, 0] * las.scales[0] + las.offsets[0]) % 360.0
            west, east = min(west, float(x.min())), max(east, float(x.max()))
    return (west, east) if 0.0 <= east - west < 180.0 else None


def raw_chunks(las: LasFile) -> Iterator[NDArray[Any]]:
    """Point records as bytes, (n × record,) uint8, at most `CHUNK` points at a time; together exactly `count` points."""
    if las.format == "las":
        yield from _plain(las, range(0, las.count, CHUNK))
        return
    with las.path.open("rb") as file:
        how = check_stream(las, file)
        file.seek(las.start)
        buffer = np.empty(min(CHUNK, las.count) * las.record, np.uint8)
        done = 0
        try:
            decoder = decompressor(file, how)
            while done < las.count:
                view = buffer[: min(CHUNK, las.count - done) * las.record]
                decoder.decompress_many(view)
                done += len(view) // las.record
                yield view
        except (lazrs.LazrsError, ValueError, RuntimeError, OSError, MemoryError) as error:
            raise _undecodable(las, done, error) from error
        except BaseException as error:  # a panic of the decoder is no Exception
            if type(error).__name__ != "PanicException":
                raise
            raise _undecodable(las, done, error) from error


def _plain(las: LasFile, starts: Iterable[int]) -> Iterator[NDArray[Any]]:
    """The chunks of an uncompressed file that begin at these points.

    Raises:
        UnreadableSource: the file ends early (it was cut after its header was read).
    """
    with las.path.open("rb") as file:
        for start in starts:
            file.seek(las.start + start * las.record)
            size = min(CHUNK, las.count - start) * las.record
            raw = np.fromfile(file, np.uint8, size)
            if len(raw) != size:
                raise UnreadableSource(f"{las.path.name}: it ends after point {start + len(raw) // las.record} of {las.count}.", AGAIN)
            yield raw


def _undecodable(las: LasFile, done: int, error: BaseException) -> UnreadableSource:
    return UnreadableSource(f"{las.path.name}: the compressed points cannot be decoded after point {done} of {las.count}: {error}.", AGAIN)
