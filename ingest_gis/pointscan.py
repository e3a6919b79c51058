"""One pass over the points of a LAS/LAZ/COPC file: ranges and counts, and which points the filter leaves out.

Source: LAS 1.4 R15, tables 8 and 16 (classification flags). Memory is bounded by one chunk.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import lazrs
import numpy as np
from numpy.typing import NDArray

from ingest_gis.lasfile import AGAIN, RGB_AT, LasFile
from ingest_gis.laszip import check_stream
from twin.errors import UnreadableSource

CHUNK = 65_536
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
    flags = tuple(sorted(name for name in drop if name in bits))
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
    """Read every point once.

    Raises:
        UnreadableSource: the points cannot be decoded or end early.
    """
    found = Summary()
    kind = record_type(las.point_format, las.record)
    for raw in raw_chunks(las):
        rows = raw.view(kind)
        _count(found, las, rows, what)
        rows = _kept(found, las, rows, what)
        if len(rows):
            _measure(found, las, rows)
    return found


def _count(found: Summary, las: LasFile, rows: NDArray[Any], what: Filter) -> None:
    found.flags += np.bincount(rows["flags"], minlength=256)
    if not what.mask and not what.classes:
        found.classes += np.bincount(_codes(las, rows), minlength=256)


def _codes(las: LasFile, rows: NDArray[Any]) -> NDArray[np.uint8]:
    return np.asarray(rows["class"] if las.point_format >= 6 else rows["class"] & 31)


def _kept(found: Summary, las: LasFile, rows: NDArray[Any], what: Filter) -> NDArray[Any]:
    """The rows that pass; the others are counted by reason."""
    found.kept += len(rows)
    if not what.mask and not what.classes:
        return rows
    codes, bits = _codes(las, rows), flag_bits(las.point_format)
    keep = np.ones(len(rows), bool)
    for name in what.flags:
        out = keep & ((rows["flags"] & bits[name]) > 0)
        keep &= ~out
        _tally(found, name, int(out.sum()))
    if what.classes:
        unwanted = np.zeros(256, bool)
        unwanted[list(what.classes)] = True
        out = keep & unwanted[codes]
        keep &= ~out
        counts = np.bincount(codes[out], minlength=256)
        for code in np.flatnonzero(counts):
            _tally(found, f"class {code}", int(counts[code]))
    found.classes += np.bincount(codes[keep], minlength=256)
    return rows if keep.all() else rows[keep]


def _tally(found: Summary, reason: str, count: int) -> None:
    if count:
        found.left_out[reason] = found.left_out.get(reason, 0) + count
        found.kept -= count


def _measure(found: Summary, las: LasFile, rows: NDArray[Any]) -> None:
    for axis, name in enumerate("xyz"):
        values = np.ascontiguousarray(rows[name])
        found.low[axis] = min(found.low[axis], values.min())
        found.high[axis] = max(found.high[axis], values.max())
    intensity = np.ascontiguousarray(rows["intensity"])
    found.intensity = [min(found.intensity[0], int(intensity.min())), max(found.intensity[1], int(intensity.max()))]
    if las.point_format in RGB_AT:
        colors = np.ascontiguousarray(rows["rgb"])
        found.rgb_top = max(found.rgb_top, int(colors.max()))


def record_type(point_format: int, size: int) -> np.dtype[Any]:
    """The fields of a point record that are of use here."""
    names, formats = ["x", "y", "z", "intensity", "flags", "class"], ["<i4", "<i4", "<i4", "<u2", "u1", "u1"]
    at = [0, 4, 8, 12, FLAGS_AT, 16 if point_format >= 6 else 15]
    if point_format in RGB_AT:
        names, formats, at = [*names, "rgb"], [*formats, "(3,)<u2"], [*at, RGB_AT[point_format]]
    return np.dtype({"names": names, "formats": formats, "offsets": at, "itemsize": size})


def raw_chunks(las: LasFile) -> Iterator[NDArray[Any]]:
    """Point records as bytes, (n × record,) uint8, at most `CHUNK` points at a time; together exactly `count` points."""
    if las.format == "las":
        with las.path.open("rb") as plain:
            plain.seek(las.start)
            for start in range(0, las.count, CHUNK):
                yield np.fromfile(plain, np.uint8, min(CHUNK, las.count - start) * las.record)
        return
    with las.path.open("rb") as file:
        how = check_stream(las, file)
        file.seek(las.start)
        buffer = np.empty(min(CHUNK, las.count) * las.record, np.uint8)
        done = 0
        try:
            decoder = lazrs.ParLasZipDecompressor(file, how, selection())
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


def _undecodable(las: LasFile, done: int, error: BaseException) -> UnreadableSource:
    return UnreadableSource(f"{las.path.name}: the compressed points cannot be decoded after point {done} of {las.count}: {error}.", AGAIN)


def selection() -> Any:
    """What is decoded of the layered formats (6–10): place, flags, intensity, class, colour; GPS time and the like are never used."""
    wanted = (lazrs.SELECTIVE_DECOMPRESS_XY_RETURNS_CHANNEL, lazrs.SELECTIVE_DECOMPRESS_Z, lazrs.SELECTIVE_DECOMPRESS_INTENSITY,
              lazrs.SELECTIVE_DECOMPRESS_FLAGS, lazrs.SELECTIVE_DECOMPRESS_CLASSIFICATION, lazrs.SELECTIVE_DECOMPRESS_RGB)  # fmt: skip
    mask = 0
    for part in wanted:
        mask |= part
    return lazrs.DecompressionSelection(mask)
