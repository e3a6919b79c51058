"""Which ground a tile stands on: digests of the cells of the terrain that reach it, square by square.

A tile of blocks depends on the heights under its buildings and on nothing else of the terrain. So a terrain that takes the
place of another builds those tiles again whose own cells changed (ADR 0020), wherever the rasters begin and end, if only their cells are the same.
Only squares that are asked for are read; what was read is left for the next build, since the bytes of a raster never change.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field

import numpy as np
from numpy.typing import NDArray

from tiling.reuse import Past
from twin.errors import NotFound
from twin.ground import Ground
from twin.lake import Lake
from twin.model import Bounds

SIDE = 32
"""Cells along the side of a square."""
READ = 8
"""Squares along the side of what is read at a time."""
MOST = 1 << 32
"""Cells of a raster beyond which it is one thing: the digests of all squares would take more than 32 MB."""
_UNKNOWN = 0


@dataclass
class _Squares:
    """One raster of the ground: the digest of each of its squares that was asked for."""

    ground: Ground
    name: str
    digests: NDArray[np.uint64]
    fresh: bool = False
    marks: dict[tuple[int, int, int, int, bool], str] = field(default_factory=dict)

    def mark(self, box: Bounds) -> str | None:
        """A digest of the cells that reach a box of degrees, of where they lie and of the reference; None where none does."""
        cells = self.ground.reach(box)
        if cells is None:
            return None
        if not self.digests.size:
            return self.name
        transform, width, height = self.ground.shape
        rim = cells[0] < 0 or cells[1] < 0 or cells[2] >= width or cells[3] >= height
        rows, columns = self.digests.shape
        across, down = off(self.ground)
        c0, r0 = (max(cells[0], 0) + across) // SIDE, (max(cells[1], 0) + down) // SIDE
        c1, r1 = min((cells[2] + across) // SIDE, columns - 1), min((cells[3] + down) // SIDE, rows - 1)
        place = (c0, r0, c1, r1, rim)
        if place not in self.marks:
            self._read(c0, r0, c1, r1)
            column, row, *rest = self.ground.lattice or (0, 0, *transform)
            squares = [(column - across) // SIDE + c0, (row - down) // SIDE + r0, c1 - c0, r1 - r0]
            about = [asdict(self.ground.reference), [transform.a, transform.e, *rest], squares, [*transform, width, height] if rim else []]
            body = np.ascontiguousarray(self.digests[r0 : r1 + 1, c0 : c1 + 1]).tobytes()
            self.marks[place] = hashlib.blake2b(json.dumps(about, sort_keys=True).encode() + body, digest_size=16).hexdigest()
        return self.marks[place]

    def _read(self, c0: int, r0: int, c1: int, r1: int) -> None:
        """See to it that these squares are known."""
        if (self.digests[r0 : r1 + 1, c0 : c1 + 1] != _UNKNOWN).all():
            return
        import rasterio  # noqa: PLC0415  only blocks on a terrain pay for GDAL
        from rasterio.windows import Window  # noqa: PLC0415

        self.fresh = True
        _, width, height = self.ground.shape
        across, down = off(self.ground)
        with rasterio.open(self.ground.path) as file:
            for row in range(r0 - r0 % READ, r1 + 1, READ):
                for column in range(c0 - c0 % READ, c1 + 1, READ):
                    if self.digests[row, column] != _UNKNOWN:  # they are read by whole windows
                        continue
                    x, y = column * SIDE - across, row * SIDE - down
                    left, top = max(x, 0), max(y, 0)
                    window = Window(left, top, min(x + READ * SIDE, width) - left, min(y + READ * SIDE, height) - top)
                    cells = file.read(1, window=window, masked=True).astype(np.float64).filled(np.nan)  # as they are sampled
                    for i in range(y, top + len(cells), SIDE):
                        for j in range(x, left + cells.shape[1], SIDE):
                            square = cells[max(i - top, 0) : i + SIDE - top, max(j - left, 0) : j + SIDE - left]
                            self.digests[(i + down) // SIDE, (j + across) // SIDE] = _digest(square)


def off(ground: Ground) -> tuple[int, int]:
    """Cells by which the first column and row of a raster lie within their squares, which are those of its lattice."""
    column, row, *_ = ground.lattice or (0, 0)
    return column % SIDE, row % SIDE


def _digest(cells: NDArray[np.float64]) -> int:
    return int.from_bytes(hashlib.blake2b(repr(cells.shape).encode() + cells.tobytes(), digest_size=8).digest(), "little") or 1


class Marks:
    """The marks of a ground; `past` may know some of its squares."""

    def __init__(self, ground: Ground | None, lake: Lake, past: Past) -> None:
        self._lake = lake
        self._rasters: list[_Squares] = []
        while ground is not None:
            name = ground.key.partition("+")[0]
            _, width, height = ground.shape
            across, down = off(ground)
            shape = (-(-(height + down) // SIDE), -(-(width + across) // SIDE)) if width * height <= MOST else (0, 0)
            self._rasters.append(_Squares(ground, name, _left(lake, past.sidecars.get(f"ground:{name}"), shape)))
            ground = ground.under

    def at(self, box: Bounds) -> tuple[str, ...]:
        """Names of what heights in a box of WGS 84 degrees depend on: equal names mean equal heights, to the last bit."""
        return tuple(mark for one in self._rasters if (mark := one.mark(box)) is not None)

    def sidecars(self, past: Past) -> dict[str, str]:
        """What is known of the squares, for the next build: keys in the lake by name."""
        found = {}
        for one in self._rasters:
            name = f"ground:{one.name}"
            if one.digests.any():
                found[name] = past.sidecars[name] if not one.fresh and name in past.sidecars else self._lake.put_bytes(one.digests.tobytes(), ".squares")
        return found


def _left(lake: Lake, key: str | None, shape: tuple[int, int]) -> NDArray[np.uint64]:
    """The digests of a raster's squares that the last build left; all unknown where it left none, or they are damaged."""
    if key is not None and shape[0]:
        try:
            body = lake.get(key)
        except (NotFound, OSError):
            body = b""
        if len(body) == 8 * shape[0] * shape[1] and key.startswith(hashlib.sha256(body).hexdigest()):
            return np.frombuffer(body, np.uint64).reshape(shape).copy()
    return np.zeros(shape, np.uint64)
