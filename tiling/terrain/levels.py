"""Which terrain tiles there are: levels, their tolerances, and the rectangles of tiles on each (EPSG:4326, TMS, two roots)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tiling.terrain.heights import DEGREE, HeightField
from tiling.terrain.rtin import STEPS
from twin.model import Bounds

#: Error, in metres, that CesiumJS takes a root tile to have; half of it at every further level
#: (TerrainProvider.getEstimatedLevelZeroGeometricErrorForAHeightmap with 65 samples and 2 root tiles).
ROOT_ERROR = 6378137.0 * 2 * math.pi * 0.25 / (65 * 2)
SMALL_RASTER = 2_000_000  # cells
FINEST = 22
CROWD = 50_000
"""Tiles of one level of a small raster that are too many: round a pole a level has all its columns, however narrow they are."""

Rect = tuple[int, int, int, int]
"""Columns x0…x1 and rows y0…y1 of tiles: (x0, y0, x1, y1), ends included."""


@dataclass(frozen=True, slots=True)
class Block:
    """Some neighbouring tiles of one level: columns x0…x1 and rows y0…y1, the last ones included."""

    z: int
    x0: int
    y0: int
    x1: int
    y1: int

    @property
    def tiles(self) -> int:
        """How many tiles it has."""
        return (self.x1 - self.x0 + 1) * (self.y1 - self.y0 + 1)

    def places(self) -> Iterator[tuple[int, int, int]]:
        """Level, column and row of its tiles, row by row from the south."""
        return ((self.z, x, y) for y in range(self.y0, self.y1 + 1) for x in range(self.x0, self.x1 + 1))


def tolerance(z: int, share: float, least: float) -> float:
    """Metres by which the mesh of a level may miss its height field: a share of what Cesium assumes, at least `least`."""
    return max(share * ROOT_ERROR * 0.5**z, least)


def spacing(z: int) -> float:
    """Metres between the lattice points of a level, north to south."""
    return 180 * 0.5**z / STEPS * DEGREE


def finest_level(field: HeightField) -> int:
    """The first level whose lattice is about as fine as the cells (at most a quarter wider); one more for a small raster.

    Between lattice points the mesh cuts off what the cells hold, by a quarter as much at each further level. A city's own
    raster is small, its buildings stand on it, and a further level of it costs nothing.
    """
    middle = math.cos(math.radians((field.extent.miny + field.extent.maxy) / 2))
    ratio = max(1 / field.cell[1], middle / field.cell[0]) * 180 * DEGREE / STEPS
    further = 1 if field.size[0] * field.size[1] <= SMALL_RASTER else 0
    return min(max(math.ceil(math.log2(ratio) - 0.33) + further, 0), FINEST)


def finest_bounded(field: HeightField) -> int:
    """The finest level of which the tiles are no more than a small crowd, or one for every sixteen cells."""
    level, most = finest_level(field), max(CROWD, field.size[0] * field.size[1] / 16)
    while level > 0 and count(touched(field.extent, level)) > most:
        level -= 1
    return level


def level_rects(fields: Sequence[HeightField], finest: Sequence[int], *, whole: bool = False) -> list[list[Rect]]:
    """Per level, disjoint rectangles of tiles: those that touch a raster whose finest level is not coarser than the level.

    `whole`: with their siblings, so that a tile has all four children or none.
    """
    levels = []
    for z in range(max(finest) + 1):
        rects: list[Rect] = [(0, 0, 1, 0)] if z == 0 else []
        for field, last in [*zip(fields, finest, strict=True)][::-1]:  # the ground of all first: what is laid over it later changes nothing of it
            if z and last >= z:
                for x0, y0, x1, y1 in touched(field.extent, z):
                    rects.extend(_minus((x0 & ~1, y0 & ~1, x1 | 1, y1 | 1) if whole else (x0, y0, x1, y1), rects))
        levels.append(rects)
    return levels


def touched(extent: Bounds, z: int) -> list[Rect]:
    """The tiles of a level that touch an extent; two rectangles where it reaches beyond 180°."""
    boxes = [extent]
    if extent.maxx > 180.0:
        boxes = [Bounds(extent.minx, extent.miny, 180.0, extent.maxy), Bounds(-180.0, extent.miny, extent.maxx - 360.0, extent.maxy)]
    width, columns, rows = 180 / 2**z, 2 ** (z + 1), 2**z
    found: list[Rect] = []
    for box in boxes:
        x0, y0 = int((box.minx + 180) // width), int((box.miny + 90) // width)
        x1, y1 = math.ceil((box.maxx + 180) / width) - 1, math.ceil((box.maxy + 90) / width) - 1
        x0, y0 = min(max(x0, 0), columns - 1), min(max(y0, 0), rows - 1)
        rect = (x0, y0, min(max(x1, x0), columns - 1), min(max(y1, y0), rows - 1))
        found.extend(_minus(rect, found))
    return found


def _minus(rect: Rect, others: Sequence[Rect]) -> list[Rect]:
    """What of a rectangle no other one covers, as disjoint rectangles."""
    pieces = [rect]
    for a0, b0, a1, b1 in others:
        rest: list[Rect] = []
        for x0, y0, x1, y1 in pieces:
            if a1 < x0 or a0 > x1 or b1 < y0 or b0 > y1:
                rest.append((x0, y0, x1, y1))
                continue
            if y0 < b0:
                rest.append((x0, y0, x1, b0 - 1))
            if y1 > b1:
                rest.append((x0, b1 + 1, x1, y1))
            low, high = max(y0, b0), min(y1, b1)
            if x0 < a0:
                rest.append((x0, low, a0 - 1, high))
            if x1 > a1:
                rest.append((a1 + 1, low, x1, high))
        pieces = rest
    return pieces


def count(rects: Sequence[Rect]) -> int:
    """How many tiles rectangles hold."""
    return sum((x1 - x0 + 1) * (y1 - y0 + 1) for x0, y0, x1, y1 in rects)


def blocks(levels: Sequence[Sequence[Rect]], side: int) -> Iterator[Block]:
    """All tiles in blocks of at most `side` × `side`."""
    for z, rects in enumerate(levels):
        for x0, y0, x1, y1 in rects:
            for y in range(y0, y1 + 1, side):
                for x in range(x0, x1 + 1, side):
                    yield Block(z, x, y, min(x + side - 1, x1), min(y + side - 1, y1))


def holds(levels: Sequence[Sequence[Rect]], z: int, x: int, y: int) -> bool:
    """Whether there is a tile."""
    return z < len(levels) and any(x0 <= x <= x1 and y0 <= y <= y1 for x0, y0, x1, y1 in levels[z])


def available(levels: Sequence[Sequence[Rect]]) -> list[list[dict[str, int]]]:
    """The rectangles as layer.json and the metadata extension want them."""
    return [[{"startX": x0, "startY": y0, "endX": x1, "endY": y1} for x0, y0, x1, y1 in rects] for rects in levels]


def below(levels: Sequence[Sequence[Rect]], z: int, x: int, y: int, depth: int) -> list[list[dict[str, int]]]:
    """What there is under a tile, from the next level on, `depth` levels deep; shorter where there is nothing further."""
    found: list[list[Rect]] = []
    for k in range(z + 1, min(z + depth, len(levels) - 1) + 1):
        n = 2 ** (k - z)
        west, south, east, north = x * n, y * n, (x + 1) * n - 1, (y + 1) * n - 1
        here = [(max(x0, west), max(y0, south), min(x1, east), min(y1, north)) for x0, y0, x1, y1 in levels[k]
                if x0 <= east and x1 >= west and y0 <= north and y1 >= south]  # fmt: skip
        if not here:
            break
        found.append(here)
    return available(found)
