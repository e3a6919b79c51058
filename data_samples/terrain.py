"""Bare-earth heights: delta plain, hills, the sunken old quarter, levees, river bed; then what was built into it.

`natural` comes first (streets and buildings need to know where the hills are); `finish` then digs canal and ponds,
lowers the carriageways below their kerbs, raises the bridge ramps and levels the pad of the BIM building.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import shapely
from rasterio.features import shapes
from rasterio.transform import from_origin
from scipy import ndimage

from data_samples.frame import (
    CELL,
    HEIGHT,
    WIDTH,
    Floats,
    Heights,
    burn,
    grid_shape,
    grid_xy,
    noise,
    rng,
    smoothstep,
)
from data_samples.river import (
    CANAL_LEVEL,
    CREST_AXIS,
    CREST_HALF_WIDTH,
    NORMAL_LEVEL,
    River,
)

HILLS = ((2900.0, 2120.0, 300.0, 260.0, 56.0), (2480.0, 2330.0, 210.0, 150.0, 24.0), (3180.0, 1800.0, 170.0, 190.0, 20.0))
HILL_FOOT = 5.5  # metres above the plain where building stops
KERB = 0.12  # metres, carriageway below the blocks
BANK_SLOPE = 1 / 1.5  # canal and pond banks
OLD_QUARTER = (470.0, 1160.0, 400.0)  # local x from, x to, metres from the north bank


def hills(x: Any, y: Any) -> Floats:
    """Height of the hills above the plain, metres."""
    total = 0.0
    for cx, cy, wx, wy, top in HILLS:
        total = total + top * np.exp(-(((x - cx) / wx) ** 2) - ((y - cy) / wy) ** 2)
    return np.asarray(total, dtype=np.float64)


def hill_zone() -> Any:
    """Where the hills rise more than HILL_FOOT above the plain: forest, not streets."""
    x, y = grid_xy(10.0)
    high = (hills(x, y) > HILL_FOOT).astype(np.uint8)
    found = [shapely.geometry.shape(g) for g, v in shapes(high, transform=from_origin(0.0, HEIGHT, 10.0, 10.0)) if v]
    zone = shapely.union_all(shapely.simplify(found, 8.0))
    smooth = shapely.buffer(shapely.buffer(shapely.buffer(zone, 40.0), -80.0), 40.0)  # no stair steps
    # at the district's edge the opening would round the corner off: keep the raw cells there
    rim = shapely.difference(zone, shapely.box(60.0, 60.0, WIDTH - 60.0, HEIGHT - 60.0))
    return shapely.intersection(shapely.union(smooth, rim), shapely.box(0, 0, WIDTH, HEIGHT))


def old_quarter_weight(x: Any, y: Any, river: River) -> Floats:
    """1 inside the old quarter, 0 outside, a 60 m ramp between."""
    west, east, far = OLD_QUARTER
    inland = river.distance(x, y)
    north = np.asarray(y) > river.centre(x)
    weight = smoothstep(west - 60, west, x) * (1 - smoothstep(east, east + 90, x))
    return np.asarray(weight * (1 - smoothstep(far, far + 120, inland)) * north, dtype=np.float64)


def natural(seed: int, river: River) -> Heights:
    """Heights before anything was built except the levees."""
    random = rng(seed, "terrain")
    x, y = grid_xy()
    shape = grid_shape()
    inland = river.distance(x, y)
    north = y > river.centre(x)
    plain = 2.55 + 0.0007 * np.clip(inland, 0, None) + 0.22 * noise(random, shape, 180) + 0.07 * noise(random, shape, 30)
    plain = np.clip(plain, 1.9, 4.2)
    low = 1.5 + 0.0004 * np.clip(inland, 0, None) + 0.10 * noise(random, shape, 90) + 0.04 * noise(random, shape, 25)
    weight = old_quarter_weight(x, y, river)
    ground = plain * (1 - weight) + np.clip(low, 1.25, 1.95) * weight
    up = hills(x, y)
    rough = 0.09 * noise(random, shape, 55) + 0.035 * noise(random, shape, 18)
    ground = ground + np.where(up > 0.05, up * np.clip(1 + rough, 0.6, 1.4), 0.0)
    foreshore = NORMAL_LEVEL + 1.1 * smoothstep(0.0, 9.0, inland)
    ground = np.where(inland < CREST_AXIS, foreshore, ground)
    levee = river.crest(x, north) - np.maximum(np.abs(inland - CREST_AXIS) - CREST_HALF_WIDTH, 0.0) / 2.5
    ground = np.maximum(ground, levee)
    bed = NORMAL_LEVEL - 5.4 * (1 - np.exp(np.minimum(inland, 0.0) / 24.0))
    bed = bed + 0.25 * noise(random, shape, 40) * smoothstep(5.0, 40.0, -inland)
    return Heights(np.where(inland < 0, bed, ground).astype(np.float32))


def dig(z: Floats, levels: Floats, depth: float) -> None:
    """Dig water bodies into `z` in place.

    `levels` holds each body's level on its cells and 0 elsewhere; the bed lies up to `depth` below, the bank slopes up outside.
    """
    inside = levels != 0
    into = ndimage.distance_transform_edt(inside) * CELL - CELL / 2
    away, (row, col) = ndimage.distance_transform_edt(~inside, return_indices=True)
    away = away * CELL - CELL / 2
    bed = levels - np.minimum(depth, 0.15 + into * 0.45)
    bank = np.minimum(z, levels[row, col] + 0.1 + away * BANK_SLOPE)
    z[...] = np.where(inside, bed, np.where(away < 8.0, bank, z))


def level_pad(z: Floats, polygon: Any, level: float) -> None:
    """Level the ground under a building and 6 m around it, blending out over another 12 m, in place."""
    x0, y0, x1, y1 = polygon.bounds
    rows = slice(int((HEIGHT - y1 - 30) / CELL), int((HEIGHT - y0 + 30) / CELL))
    cols = slice(int((x0 - 30) / CELL), int((x1 + 30) / CELL))
    x, y = grid_xy()
    px, py = np.meshgrid(x[0, cols], y[rows, 0])
    away = shapely.distance(polygon, shapely.points(px, py))
    weight = 1 - smoothstep(6.0, 18.0, away)
    z[rows, cols] = level * weight + z[rows, cols] * (1 - weight)


def finish(
    seed: int,
    ground: Heights,
    river: River,
    carriageways: Any,
    ponds: Any,
    ramps: list[tuple[Any, Floats, Floats]],
    pads: list[tuple[Any, float]],
) -> Heights:
    """Heights with the built things.

    `carriageways` are polygons, `ponds` (polygon, level) pairs, `ramps` (polygon, axis points (2, 2), levels evenly
    along the axis), `pads` (polygon, level).
    """
    z = ground.z.astype(np.float64)
    x, y = grid_xy()
    rows, cols = z.shape
    streets = burn(carriageways, 1).astype(bool)
    z = z - KERB * ndimage.uniform_filter(streets.astype(np.float32), 2)
    z = z + 0.012 * rng(seed, "ground").standard_normal(z.shape)
    canal = river.canal_distance(x, y)
    far_from_levee = river.distance(x, y) > 30.0
    cut = np.where(canal < 0, CANAL_LEVEL - np.minimum(1.4, -canal * 0.6), CANAL_LEVEL + canal * BANK_SLOPE)
    z = np.where((canal < 8.0) & far_from_levee, np.minimum(z, cut), z)
    if ponds:
        dig(z, burn([p for p, _ in ponds], [lv for _, lv in ponds], dtype="float32").astype(np.float64), 2.2)
    for polygon, axis, top in ramps:
        mask = burn([polygon], 1, all_touched=True).astype(bool)
        direction = axis[1] - axis[0]
        length = float(np.hypot(*direction))
        along = ((x - axis[0, 0]) * direction[0] + (y - axis[0, 1]) * direction[1]) / length
        deck = np.interp(np.clip(along, 0, length).ravel(), np.linspace(0, length, len(top)), top).reshape(rows, cols)
        z = np.where(mask, np.maximum(z, deck), z)
    for polygon, level in pads:
        level_pad(z, polygon, level)
    return Heights(z.astype(np.float32))
