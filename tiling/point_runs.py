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

from tiling import point_kernels as kernels
from tiling.point_frame import Patches
from tiling.point_kernels import BITS
from twin.errors import UnreadableSource
from twin.model import Part

CHUNK = 1 << 19
"""Points of a run; a constant, because the cut into runs decides the order of points that lie in one place."""
DEEPEST_BUCKET = 11
"""Level of the smallest buckets (2048 cells a side)."""


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
    def around(low: NDArray[np.float64], high: NDArray[np.float64], step: float = 2.0**-13) -> Cube:
        """The smallest cube of a power of two steps; the step (0.12 mm) doubles where 31 bits do not reach (> 262 km)."""
        size = float((high - low).max())
        while size / step >= 2.0**31 - 1:
            step *= 2
        return Cube(low, step, max(1, int(np.ceil(np.log2(size / step + 1)))))

    def local(self, places: NDArray[np.int32]) -> NDArray[np.float64]:
        """(n, 3) lattice places → local metres."""
        return self.low + places * self.step


@dataclass(frozen=True)
class Columns:
    """Points in columns.

    Morton `codes` (n,) uint64, lattice `places` (n, 3) int32, `colors` (n, 4) uint8 red, green, blue, class, and
    `intensity` (n,) uint16.
    """

    codes: NDArray[np.uint64]
    places: NDArray[np.int32]
    colors: NDArray[np.uint8]
    intensity: NDArray[np.uint16]

    def __len__(self) -> int:
        return len(self.codes)

    def part(self, start: int, end: int) -> Columns:
        """A slice, without copying."""
        return Columns(self.codes[start:end], self.places[start:end], self.colors[start:end], self.intensity[start:end])

    def take(self, rows: NDArray[np.int32]) -> Columns:
        """Some rows, copied."""
        places, colors, intensity = np.empty((len(rows), 3), np.int32), np.empty((len(rows), 4), np.uint8), np.empty(len(rows), np.uint16)
        kernels.take_rows(self.places, self.colors, self.intensity, rows, places, colors, intensity)
        return Columns(self.codes[rows], places, colors, intensity)

    @staticmethod
    def join(many: list[Columns]) -> Columns:
        """One after the other."""
        if not many:
            return Columns(np.empty(0, np.uint64), np.empty((0, 3), np.int32), np.empty((0, 4), np.uint8), np.empty(0, np.uint16))
        return Columns(*(np.concatenate([getattr(c, name) for c in many]) for name in ("codes", "places", "colors", "intensity")))

    def spill(self, path: Path) -> OnDisk:
        """Write the columns to a file."""
        with path.open("wb") as file:
            for column in (self.codes, self.places, self.colors, self.intensity):
                column.tofile(file)
        return OnDisk(path, len(self))


@dataclass(frozen=True)
class OnDisk:
    """A run in a file, column after column. Slices are read, not mapped, so that they do not pile up in memory."""

    path: Path
    count: int

    def __len__(self) -> int:
        return self.count

    @property
    def codes(self) -> NDArray[np.uint64]:
        """Mapped anew each time, for searching."""
        return np.memmap(self.path, np.uint64, "r", shape=(self.count,))

    def part(self, start: int, end: int) -> Columns:
        """A slice."""
        columns: list[Any] = []
        at, size = 0, end - start
        with self.path.open("rb") as file:
            for kind, width in ((np.uint64, 1), (np.int32, 3), (np.uint8, 4), (np.uint16, 1)):
                bytes_each = np.dtype(kind).itemsize * width
                file.seek(at + start * bytes_each)
                values = np.fromfile(file, kind, size * width)
                columns.append(values.reshape(size, width) if width > 1 else values)
                at += self.count * bytes_each
        return Columns(*columns)


Run = Columns | OnDisk


@dataclass(frozen=True)
class Cloud:
    """One file of the layer: its bytes, how its records are laid out, and how they are placed."""

    path: Path
    part: Part
    patches: Patches
    cube: Cube

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
                decoder = lazrs.ParLasZipDecompressor(file, how, _selection())
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

    def columns(self, raw: NDArray[np.uint8]) -> Columns:
        """One chunk of records, filtered, placed and sorted."""
        layout, patches, cube = self.layout, self.patches, self.cube
        record = int(layout["record"])
        raw = self._kept(raw)
        count = len(raw) // record
        places, colors = np.empty((count, 3), np.int32), np.empty((count, 4), np.uint8)
        intensity, codes = np.empty(count, np.uint16), np.empty(count, np.uint64)
        kernels.place_points(raw, record, np.array(layout["scales"]), np.array(layout["offsets"]), np.array(patches.origin), np.array(patches.size),
                             patches.nodes, patches.unit, cube.low, cube.step, places)  # fmt: skip
        rgb_at = -1 if layout["rgb_at"] is None else int(layout["rgb_at"])
        shift = 0 if self.part.properties["rgb_bits"] == 8 else 8
        kernels.pick_columns(raw, record, int(layout["class_at"]), int(layout["class_mask"]), rgb_at, shift, colors, intensity)
        kernels.morton(places, cube.bits - BITS, codes)
        # Buckets are cells of level DEEPEST_BUCKET or above, so a run need not be sorted any finer.
        return Columns(codes, places, colors, intensity).take(kernels.sorted_order(codes >> np.uint64(3 * (BITS - DEEPEST_BUCKET))))


def _selection() -> Any:
    wanted = (lazrs.SELECTIVE_DECOMPRESS_XY_RETURNS_CHANNEL, lazrs.SELECTIVE_DECOMPRESS_Z, lazrs.SELECTIVE_DECOMPRESS_INTENSITY,
              lazrs.SELECTIVE_DECOMPRESS_FLAGS, lazrs.SELECTIVE_DECOMPRESS_CLASSIFICATION, lazrs.SELECTIVE_DECOMPRESS_RGB)  # fmt: skip
    mask = 0
    for part in wanted:
        mask |= part
    return lazrs.DecompressionSelection(mask)


# --- buckets -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Bucket:
    """An octree cell with few enough points to be worked on in memory.

    `level` and `prefix` (its Morton code at that level), its slice of every run, and how many points that is.
    """

    level: int
    prefix: int
    slices: tuple[tuple[int, int], ...]
    count: int

    def gather(self, runs: list[Run]) -> Columns:
        """Its points, run by run."""
        parts = [run.part(a, b) for run, (a, b) in zip(runs, self.slices, strict=True) if a < b]
        return parts[0] if len(parts) == 1 else Columns.join(parts)


def buckets(runs: list[Run], most: int) -> list[Bucket]:
    """Cells of at most `most` points (more only at level `DEEPEST_BUCKET`), in Morton order; together every point once."""
    found: list[Bucket] = []
    codes = [run.codes for run in runs]  # mapped files, which go with this list: nothing may keep them
    waiting = [Bucket(0, 0, tuple((0, len(run)) for run in runs), sum(len(run) for run in runs))]
    while waiting:
        cell = waiting.pop()
        if cell.count <= most or cell.level == DEEPEST_BUCKET:
            found.append(cell)
            continue
        edges = np.array([((cell.prefix << 3) + k) << (3 * (BITS - cell.level - 1)) for k in range(1, 8)], np.uint64)
        # Codes within a bucket of the deepest level are in any order, but on the right side of every edge above it.
        cuts = [[a, *(a + np.searchsorted(code[a:b], edges)).tolist(), b] for code, (a, b) in zip(codes, cell.slices, strict=True)]
        for k in range(7, -1, -1):
            slices = tuple((cut[k], cut[k + 1]) for cut in cuts)
            count = sum(b - a for a, b in slices)
            if count:
                waiting.append(Bucket(cell.level + 1, (cell.prefix << 3) + k, slices, count))
    return found


@dataclass
class Spool:
    """Collects runs; beyond `keep` points they go to disk under `folder`."""

    folder: Path
    keep: int
    runs: list[Run] = field(default_factory=list)
    held: int = 0

    def add(self, run: Columns) -> None:
        """Take over the next run."""
        self.held += len(run)
        self.runs.append(run if self.held <= self.keep else run.spill(self.folder / str(len(self.runs))))
