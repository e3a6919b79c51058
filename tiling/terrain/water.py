"""Water masks of terrain tiles: 256 × 256 bytes, 255 where the middle of a pixel lies on water, or one byte for a whole tile.

Format: quantized-mesh 1.0, extension 2 (rows from north to south, columns from west to east). The water is polygons in
WGS 84 degrees, kept in the version as table `water` (column `geometry`, WKB).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray
from rasterio.features import rasterize
from rasterio.transform import from_bounds

from twin.lake import Lake
from twin.model import Bounds, LayerVersion
from twin.parts import read_table

SIDE = 256
LAND, WATER = b"\x00", b"\xff"


@dataclass
class Water:
    """Polygons of water in degrees, with their tree; safe to share between threads (only read)."""

    shapes: NDArray[np.object_]
    tree: shapely.STRtree

    def near(self, box: Bounds) -> list[str]:
        """A digest of each polygon that touches a box of degrees."""
        found = np.sort(self.tree.query(shapely.box(box.minx, box.miny, box.maxx, box.maxy), predicate="intersects"))
        return [hashlib.sha256(wkb).hexdigest()[:16] for wkb in shapely.to_wkb(self.shapes[found])]

    def mask(self, z: int, x: int, y: int) -> bytes:
        """One byte (0 land, 255 water) where the tile is all one, else 65,536."""
        width = 180 / 2**z
        west, south = -180 + x * width, -90 + y * width
        box = shapely.box(west, south, west + width, south + width)
        found = self.shapes[np.sort(self.tree.query(box, predicate="intersects"))]
        if not len(found):
            return LAND
        if shapely.contains_properly(found, box).any():
            return WATER
        cut = shapely.clip_by_rect(found, west - width, south - width, west + 2 * width, south + 2 * width)
        cut = cut[~shapely.is_empty(cut)]
        if not len(cut):
            return LAND
        pixels = rasterize(list(cut), (SIDE, SIDE), transform=from_bounds(west, south, west + width, south + width, SIDE, SIDE), default_value=255, dtype="uint8")
        low, high = int(pixels.min()), int(pixels.max())
        return bytes([low]) if low == high else pixels.tobytes()


def read_water(version: LayerVersion, lake: Lake) -> Water | None:
    """The water that a terrain version states, or None where it states nothing."""
    table = read_table(lake, version, "water")
    if table is None:
        return None
    shapes = np.asarray(shapely.from_wkb(table.column("geometry").to_numpy(zero_copy_only=False)), dtype=object)
    shapely.prepare(shapes)
    return Water(shapes, shapely.STRtree(shapes))
