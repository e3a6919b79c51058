"""Water masks of terrain tiles against the polygons of water that the version holds: every texel by its middle, read by other code than made them."""

from __future__ import annotations

import numpy as np
import shapely
from numpy.typing import NDArray

from twin.parts import read_table

from .issues import Where
from .positions import Task
from .terrain_tile import MASK, TerrainTile

Mask = NDArray[np.bool_]
SHORE = 1.0
"""Texels from a shore within which a texel may be either."""
LEAST = 4
"""Texels that may be wrong beyond that: a polygon that crosses itself is read in more than one way at a point."""


class Waters:
    """Compares the masks of all tiles; does nothing for a version that states no water."""

    def __init__(self, task: Task) -> None:
        table = read_table(task.lake, task.version, "water")
        self.shapes = None if table is None else np.asarray(shapely.from_wkb(table.column("geometry").to_numpy(zero_copy_only=False)), dtype=object)
        self.tree = None if self.shapes is None else shapely.STRtree(self.shapes)

    def see(self, z: int, x: int, y: int, tile: TerrainTile, where: Where) -> None:
        """Compare one tile; one without a mask is found elsewhere."""
        body = tile.extensions.get(2, b"")
        if self.shapes is None or self.tree is None or len(body) not in (1, MASK * MASK):
            return
        width = 180 / 2**z
        west, north, texel = -180 + x * width, -90 + (y + 1) * width, width / MASK
        box = shapely.box(west, north - width, west + width, north)
        near = self.shapes[np.sort(self.tree.query(box))]
        drawn = np.full((MASK, MASK), body[0] != 0) if len(body) == 1 else np.frombuffer(body, np.uint8).reshape(MASK, MASK) != 0
        wrong = drawn != _water(near, west, north, texel)
        if wrong.sum() <= LEAST:
            return
        row, column = np.nonzero(wrong)
        middles = shapely.points(west + (column + 0.5) * texel, north - (row + 0.5) * texel)
        shores = shapely.STRtree(shapely.boundary(near))
        far = len(middles) - len(np.unique(shores.query(middles, predicate="dwithin", distance=SHORE * texel)[0])) if len(near) else len(middles)
        if far > LEAST:
            where.error("TERRAIN_WATER_WRONG", f"of its {MASK * MASK:,} texels {far:,} are land where the source has water or the other way round, farther than a texel from any shore")


def _water(shapes: NDArray[np.object_], west: float, north: float, texel: float) -> Mask:
    """(MASK, MASK) texels, from north to south, whose middles lie in any of the shapes."""
    result = np.zeros((MASK, MASK), bool)
    lon, lat = west + (np.arange(MASK) + 0.5) * texel, north - (np.arange(MASK) + 0.5) * texel
    for shape, (low_x, low_y, high_x, high_y) in zip(shapes, shapely.bounds(shapes), strict=True):
        columns, rows = slice(*np.searchsorted(lon, (low_x, high_x)).tolist()), slice(*np.searchsorted(-lat, (-high_y, -low_y)).tolist())
        if columns.stop > columns.start and rows.stop > rows.start:
            x, y = np.meshgrid(lon[columns], lat[rows])
            result[rows, columns] |= shapely.contains_xy(shape, x, y)
    return result
