"""The terrain tiler's compiled kernels, loaded ahead: a terrain of a few cells is tiled once, which takes a second where it is first needed."""

from __future__ import annotations

import numpy as np
import rasterio
from rasterio.transform import from_origin

from tiling.terrain import levels as terrain_levels
from tiling.terrain import tiler
from tiling.terrain.audit import draw_audit
from tiling.terrain.heights import HeightField
from tiling.terrain.surface import Surface
from twin import scratch
from twin.model import Reference

LEVEL = 10


def warm() -> None:
    """Call every kernel that a terrain needs, with arrays of the types that it has (places in degrees are laid out differently from others)."""
    with scratch.folder("warm") as folder:
        for reference, west, north, cell in (("EPSG:32631", 5e5, 5e6, 100.0), ("EPSG:4326", 3.0, 45.0, 0.001)):
            path = folder / f"{cell}.tif"
            with rasterio.open(path, "w", driver="GTiff", width=8, height=8, count=1, dtype="float32", crs=reference, transform=from_origin(west, north, cell, cell)) as file:
                file.write(np.zeros((8, 8), np.float32), 1)
            _tile(Surface([HeightField(path, Reference(reference, "EGM96"))]))


def _tile(surface: Surface) -> None:
    try:
        levels = terrain_levels.level_rects(surface.fields, [LEVEL])
        plan = tiler.Plan(surface, draw_audit(surface.fields), levels, None, tiler.Options.model_validate({}))
        x0, y0, *_ = levels[LEVEL][0]
        tiler.make_block(plan, terrain_levels.Block(LEVEL, x0, y0, x0, y0))
    finally:
        surface.close()
