"""Point records → runs: columns sorted along the Morton curve, in memory or on disk; and the buckets cut out of them.

A chunk of the source becomes one sorted run. An octree cell is then a contiguous slice of every run, so any subtree can be
gathered without reading the rest: an external sort without its merge, and memory does not grow with the cloud.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import lazrs
import numpy as np
from numpy.typing import NDArray

from tiling.points import kernels
from tiling.points.frame import ENOUGH, Frame, Patches
from tiling.points.kernels import BITS
from twin.clouds import decompressor
from twin.errors import UnreadableSource
from twin.lake import storage_errors
from twin.model import Part, Reference

CHUNK = 1 << 19
"""Points of a run; a constant, because the cut into runs decides the order of points that lie in one place."""
KEY_LEVEL = 10
"""Octree level that runs are sorted by (1024 cells a side, 30 bits); no bucket is smaller than its cells."""
COUNT_LEVEL = 7
"""Octree level at which all points are counted (128 cells a side, 16 MB)."""


@dataclass(frozen=True)
class Cube:
    """The octree's root cell: `low` corner in local metres, lattice `step` in metres, side of 2**`bits` steps."""

    low: NDArray[np.float64]
    step: float
    bits: int

    @property
    def side(self) -> float:
        """Metres."""
        return float(self.step * 2.0**self.bits)

    @staticmethod
    def about(reach: float, step: float = 2.0**-13) -> Cube:
        """The smallest cube of a power of two steps whose middle is the origin and that holds what lies within `reach` metres of it along each axis.

        The step (0.12 mm) doubles where 31 bits do not reach (> 262 km).
        """
        while 2.0 * reach / step >= 2.0**31 - 1:
            step *= 2
        bits = max(1, int(np.ceil(np.log2(2.0 * reach / step + 1))))
        return Cube(np.full(3, -step * 2.0 ** (bits - 1)), step, bits)

    def local(self, places: NDArray[np.int32]) -> NDArray[np.float64]:
        """(n, 3) lattice places → local metres."""
        return self.low + places * self.step


@dataclass(frozen=True)
class Columns:
    """Points in columns.

    Lattice `places` (n, 3) int32, `colors` (n, 4) uint8 red, green, blue, class, and `intensity` (n,) uint16.
    """

    places: NDArray[np.int32]
    colors: NDArray[np.uint8]
    intensity: NDArray[np.uint16]

    def __len__(self) -> int:
        return len(self.places)

    def part(self, start: int, end: int) -> Columns:
        """A slice, without copying."""
        return Columns(self.places[start:end], self.colors[start:end], self.intensity[start:end])

    def take(self, rows: NDArray[np.int32]) -> Columns:
        """Some rows, copied."""
        places, colors, intensity = np.empty((len(rows), 3), np.int32), np.empty((len(rows), 4), np.uint8), np.empty(len(rows), np.uint16)
        kernels.take_rows(self.places, self.colors, self.intensity, rows, places, colors, intensity)
        return Columns(places, colors, intensity)

    @staticmethod
    def join(many: list[Columns]) -> Columns:
        """One after the other."""
        return Columns(*(np.concatenate([getattr(c, name) for c in many]) for name in ("places", "colors", "intensity")))


@dataclass(frozen=True)
class Run:
    """Points in the order of their cells of level `KEY_LEVEL`: `keys` (n,) uint32 are the Morton codes of those."""

    keys: NDArray[np.uint32]
    points: Columns

    def __len__(self) -> int:
        return len(self.keys)

    def part(self, start: int, end: int) -> Columns:
        """A slice, without copying."""
        return self.points.part(start, end)

    def spill(self, path: Path) -> OnDisk:
        """Write the columns to a file.

        Raises:
            StorageError: the disk is full.
        """
        with storage_errors("Keeping points while a cloud is tiled", path.parent), path.open("wb") as file:
            for column in (self.keys, self.points.places, self.points.colors, self.points.intensity):
                file.write(np.ascontiguousarray(column).data)  # `tofile` does not say what went wrong
        return OnDisk(path, len(self))


@dataclass(frozen=True)
class OnDisk:
    """A run in a file, column after column. Slices are read, not mapped: mapped pages would pile up in memory."""

    path: Path
    count: int

    def __len__(self) -> int:
        return self.count

    @property
    def keys(self) -> NDArray[np.uint32]:
        """Read anew each time."""
        return np.fromfile(self.path, np.uint32, self.count)

    def part(self, start: int, end: int) -> Columns:
        """A slice."""
        columns: list[Any] = []
        at, size = 4 * self.count, end - start
        with self.path.open("rb") as file:
            for kind, width in ((np.int32, 3), (np.uint8, 4), (np.uint16, 1)):
                bytes_each = np.dtype(kind).itemsize * width
                file.seek(at + start * bytes_each)
                values = np.fromfile(file, kind, size * width)
                columns.append(values.reshape(size, width) if width > 1 else values)
                at += self.count * bytes_each
        return Columns(*columns)


@dataclass(frozen=True)
class Cloud:
    """One file of the layer: its bytes, how its records are laid out, and how they are placed: by a table, or point by point where that is not exact."""

    path: Path
    part: Part
    patches: Patches
    cube: Cube
    frame: Frame
    reference: Reference

    @property
    def layout(self) -> dict[str, Any]:
        """As `ingest_gis.points` wrote it."""
        layout: dict[str, Any] = self.part.properties["layout"]
        return layout

    def chunks(self) -> Iterator[NDArray[np.uint8]]:
        """Raw records, `CHUNK` at a time (the last may be shorter).

        Raises:
            UnreadableSource: the compressed points cannot be decoded.
        """
        layout = self.layout
        count = int(layout.get("points", self.part.count))
        record = int(layout["record"])
        if layout["laszip"] is None:
            with self.path.open("rb") as plain:
                plain.seek(layout["start"])
                for start in range(0, count, CHUNK):
                    yield np.fromfile(plain, np.uint8, min(CHUNK, count - start) * record)
            return
        with self.path.open("rb") as file:
            file.seek(layout["laszip"][0])
            how = file.read(layout["laszip"][1])
            file.seek(layout["start"])
            try:
                decoder = decompressor(file, how)
                for start in range(0, count, CHUNK):
                    raw = np.empty(min(CHUNK, count - start) * record, np.uint8)
                    decoder.decompress_many(raw)
                    yield raw
            except (lazrs.LazrsError, ValueError, RuntimeError) as error:
                raise UnreadableSource(f"{self.path.name}: the compressed points cannot be decoded: {error}.", "Ingest the file again.") from error

    def _kept(self, raw: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The records that the reader's filter lets through."""
        layout = self.layout
        mask, classes = int(layout.get("drop_mask", 0)), layout.get("drop_classes", [])
        if not mask and not classes:
            return raw
        rows = raw.reshape(-1, int(layout["record"]))
        unwanted = np.zeros(256, bool)
        unwanted[classes] = True
        keep = ((rows[:, layout.get("flags_at", 15)] & mask) == 0) & ~unwanted[rows[:, layout["class_at"]] & layout["class_mask"]]
        return raw if keep.all() else rows[keep].reshape(-1)

    def run(self, raw: NDArray[np.uint8]) -> Run:
        """One chunk of records, filtered, placed and sorted."""
        layout, patches, cube = self.layout, self.patches, self.cube
        record = int(layout["record"])
        raw = self._kept(raw)
        count = len(raw) // record
        places, colors = np.empty((count, 3), np.int32), np.empty((count, 4), np.uint8)
        intensity, codes = np.empty(count, np.uint16), np.empty(count, np.uint64)
        if patches.error > ENOUGH or self.part.properties.get("turned"):
            whole = np.ascontiguousarray(raw.reshape(-1, record)[:, :12]).view("<i4")
            local = self.frame.exact(self.reference, whole * np.array(layout["scales"]) + np.array(layout["offsets"]))
            places[:] = np.rint((local - cube.low) / cube.step)
        else:
            kernels.place_points(raw, record, np.array(layout["scales"]), np.array(layout["offsets"]), np.array(patches.origin), np.array(patches.size),
                                 patches.nodes, patches.unit, cube.low, cube.step, places)  # fmt: skip
        rgb_at = -1 if layout["rgb_at"] is None else int(layout["rgb_at"])
        shift = 0 if self.part.properties["rgb_bits"] == 8 else 8
        kernels.pick_columns(raw, record, int(layout["class_at"]), int(layout["class_mask"]), rgb_at, shift, colors, intensity)
        kernels.morton(places, cube.bits - BITS, codes)
        coarse = 3 * (BITS - KEY_LEVEL)
        order = kernels.sorted_order(codes, np.arange(count, dtype=np.int32), coarse, 3 * KEY_LEVEL)
        return Run((codes[order] >> np.uint64(coarse)).astype(np.uint32), Columns(places, colors, intensity).take(order))


# --- buckets -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Cells:
    """Where the points of a file lie: cells of level `COUNT_LEVEL` (ascending Morton codes, (n,) uint32) and how many points are in each (int64)."""

    codes: NDArray[np.uint32]
    counts: NDArray[np.int64]

    @staticmethod
    def of(keys: NDArray[np.uint32]) -> Cells:
        """Those of a run's keys."""
        codes = keys >> np.uint32(3 * (KEY_LEVEL - COUNT_LEVEL))
        starts = np.flatnonzero(np.concatenate([[True], codes[1:] != codes[:-1]]))
        return Cells(codes[starts], np.diff(np.append(starts, len(codes))))

    @staticmethod
    def merged(many: list[Cells]) -> Cells:
        """Those of several runs together."""
        if len(many) == 1:
            return many[0]
        codes, where = np.unique(np.concatenate([one.codes for one in many]), return_inverse=True)
        return Cells(codes, np.bincount(where, np.concatenate([one.counts for one in many]), minlength=len(codes)).astype(np.int64))

    def meets(self, level: int, prefix: int) -> bool:
        """Whether any point lies in a cell of a level up to `COUNT_LEVEL`."""
        width = 8 ** (COUNT_LEVEL - level)
        first, last = np.searchsorted(self.codes, [prefix * width, (prefix + 1) * width])
        return bool(first < last)


@dataclass
class Spool:
    """The runs of the files that were read, and where the points of all of them lie.

    Attributes:
        files: by file, None where none of its points is kept.
        runs: of the files that were read, in their order: (file, run).
    """

    files: list[Cells | None]
    runs: list[tuple[int, Run | OnDisk]] = field(default_factory=list)
    held: int = 0
    _found: dict[int, list[Cells]] = field(default_factory=dict)

    def add(self, file: int, run: Run | OnDisk, keys: NDArray[np.uint32]) -> None:
        """Take over the next run of a file, whose keys are these."""
        self._found.setdefault(file, []).append(Cells.of(keys))
        self.runs.append((file, run))
        self.held += len(run)

    def close(self) -> None:
        """All runs that were wanted are there: bring them into the order of the files."""
        for file, found in self._found.items():
            self.files[file] = Cells.merged(found)
        self._found = {}
        self.runs.sort(key=lambda pair: pair[0])
        self.counts = np.zeros(8**COUNT_LEVEL, np.int64)
        for cells in self.files:
            if cells is not None:
                self.counts[cells.codes] += cells.counts

    def occupied(self, level: int) -> int:
        """Cells of a level (≤ `COUNT_LEVEL`) that hold points."""
        return int(np.count_nonzero(self.counts.reshape(8**level, -1).any(axis=1)))

    def cells_of(self, most: int) -> list[tuple[int, int, int]]:
        """(level, prefix, points) of cells of at most `most` points (more only at level `COUNT_LEVEL`), in Morton order; together every point once."""
        sums = [self.counts.reshape(8**level, -1).sum(axis=1) for level in range(COUNT_LEVEL)] + [self.counts]
        found: list[tuple[int, int, int]] = []
        waiting = [(0, 0)]
        while waiting:
            level, prefix = waiting.pop()
            held = int(sums[level][prefix])
            if held <= most or level == COUNT_LEVEL:
                found.append((level, prefix, held))
            else:
                waiting += [(level + 1, (prefix << 3) + k) for k in range(7, -1, -1) if sums[level + 1][(prefix << 3) + k]]
        return found


@dataclass(frozen=True)
class Bucket:
    """An octree cell with few enough points to be worked on in memory.

    `level` and `prefix` (its Morton code at that level), how many points it has, and its slice of every run, (runs, 2).
    """

    level: int
    prefix: int
    count: int
    slices: NDArray[np.int64]

    def gather(self, runs: list[tuple[int, Run | OnDisk]]) -> Columns:
        """Its points, run by run."""
        parts = [run.part(int(a), int(b)) for (_, run), (a, b) in zip(runs, self.slices, strict=True) if a < b]
        return parts[0] if len(parts) == 1 else Columns.join(parts)


def buckets(spool: Spool, cells: list[tuple[int, int, int]], most: int) -> list[list[Bucket]]:
    """Each of some cells (level, prefix, points) as cells of at most `most` points (more only at level `KEY_LEVEL`), in Morton order.

    All files that reach them must have been read.
    """
    split = [_split(spool, cell, most) if cell[2] > most else [cell] for cell in cells]
    flat = [cell for some in split for cell in some]
    starts = np.array([prefix << (3 * (KEY_LEVEL - level)) for level, prefix, _ in flat], np.uint32)
    ends = np.array([(prefix + 1) << (3 * (KEY_LEVEL - level)) for level, prefix, _ in flat], np.uint32)
    cuts = np.empty((len(spool.runs), len(flat), 2), np.int64)
    for row, (_, run) in zip(cuts, spool.runs, strict=True):
        keys = run.keys
        row[:, 0], row[:, 1] = np.searchsorted(keys, starts), np.searchsorted(keys, ends)
    made = iter([Bucket(level, prefix, count, cuts[:, i]) for i, (level, prefix, count) in enumerate(flat)])
    return [[next(made) for _ in some] for some in split]


def _split(spool: Spool, cell: tuple[int, int, int], most: int) -> list[tuple[int, int, int]]:
    """A crowded cell of level `COUNT_LEVEL` as cells below it."""
    width = 8 ** (KEY_LEVEL - COUNT_LEVEL)
    first = cell[1] * width
    counts = np.zeros(width, np.int64)
    for _, run in spool.runs:
        keys = run.keys
        a, b = np.searchsorted(keys, np.array([first, first + width], np.uint32))
        counts += np.bincount(keys[a:b] - np.uint32(first), minlength=width)
    found: list[tuple[int, int, int]] = []
    waiting = [cell]
    while waiting:
        level, prefix, held = waiting.pop()
        if held <= most or level == KEY_LEVEL:
            found.append((level, prefix, held))
            continue
        each = 8 ** (KEY_LEVEL - level - 1)
        for k in range(7, -1, -1):
            at = (((prefix << 3) + k) * each) - first
            if below := int(counts[at : at + each].sum()):
                waiting.append((level + 1, (prefix << 3) + k, below))
    return found
