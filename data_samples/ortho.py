"""An orthophoto-like image of the district: what the viewer drapes over the terrain.

Everything that `painting` lists is rasterised once into an index image; colours and grain are looked up from it, then come relief,
water depth, cast shadows and tree crowns.  Colours are muted like a late-morning survey, shadows short and soft, so that they
don't fight the viewer's own sun.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import shapely
from PIL import Image

from data_samples import painting as layers
from data_samples.city import City
from data_samples.frame import HEIGHT, burn, grid_shape, noise, rng

PIXEL = 0.8  # metres
Canvas = npt.NDArray[np.float32]
SUN = np.array((-0.62, 0.78))  # shadows fall to the north-west: towards -x, +y
SHADOW_PER_METRE = 0.42  # tan of the sun's zenith angle: about 67 degrees high
SHADOW_CELL = 1.6  # metres: shadows are soft, half the resolution is enough


def _resize(array: Canvas, shape: tuple[int, int]) -> Canvas:
    """Bilinear resampling to (rows, cols)."""
    return np.asarray(Image.fromarray(array).resize((shape[1], shape[0]), Image.Resampling.BILINEAR))


def _texture(random: np.random.Generator, shape: tuple[int, int]) -> Canvas:
    """Grain of unit variance: mostly fine, partly in patches."""
    soft = noise(random, (shape[0] // 4, shape[1] // 4), 12)
    return 0.75 * noise(random, shape, 3) + 0.65 * _resize(soft, shape)


def _relief(city: City, shape: tuple[int, int]) -> Canvas:
    """A gentle hillshade (sun in the north-west, as maps have it), so that hills and levees can be read."""
    gy, gx = np.gradient(city.ground.z, city.ground.cell)
    light = np.clip(1.0 + 0.42 * (gx * SUN[0] * -1.0 + gy * SUN[1]) * -1.0, 0.72, 1.2).astype(np.float32)
    return _resize(light, shape)


def _river(city: City, random: np.random.Generator, canvas: Canvas, index: npt.NDArray[np.int32], mark: tuple[int, int]) -> None:
    """Muddy shallows, a darker channel, ripples along the flow."""
    first = int(np.nonzero((index == mark[0]).any(axis=1))[0][0])
    last = int(np.nonzero((index == mark[0]).any(axis=1))[0][-1]) + 1
    rows, cols = np.nonzero(index[first:last] == mark[0])
    x, y = (cols + 0.5) * PIXEL, HEIGHT - (rows + first + 0.5) * PIXEL
    depth = np.clip(-city.river.distance(x, y) / 40.0, 0, 1).astype(np.float32)[:, None]
    shallow, deep = (np.array(c, dtype=np.float32) for c in ((124, 126, 100), (90, 108, 97)))
    streak = noise(random, (last - first, index.shape[1] // 6 + 1), 7).repeat(6, axis=1)[:, : index.shape[1]]
    canvas[rows + first, cols] = (shallow * (1 - depth) + deep * depth) * (1 + 0.022 * streak[rows, cols])[:, None]


def _shadows(city: City) -> Canvas:
    """Share of sunlight kept, per pixel: buildings, and the bridge over the water, throw shadows on what is lower."""
    heights = np.asarray(city.buildings["height"], dtype=np.float64)
    low, shapes = np.round(heights * 10).astype(int), list(city.buildings["geometry"])
    height: Canvas = burn([city.bridge.deck(), *shapes], [70, *low], SHADOW_CELL, "int32").astype(np.float32)
    height /= 10
    shadow = np.zeros(height.shape, dtype=bool)
    longest = float(height.max()) * SHADOW_PER_METRE
    moved: Canvas = np.empty_like(height)
    for metres in np.arange(0.8, longest, SHADOW_CELL * 0.9):
        dr, dc = round(float(-SUN[1] * metres / SHADOW_CELL)), round(float(SUN[0] * metres / SHADOW_CELL))
        moved.fill(-1.0)
        _shift(height, moved, dr, dc)
        shadow |= moved - np.float32(metres / SHADOW_PER_METRE) > height
    return _resize(1.0 - 0.36 * shadow.astype(np.float32), grid_shape(PIXEL))


def _shift(source: Canvas, target: Canvas, dr: int, dc: int) -> None:
    """Copy `source` into `target` moved by (dr, dc), without wrapping."""
    rows, cols = source.shape
    r0, r1 = max(dr, 0), rows + min(dr, 0)
    c0, c1 = max(dc, 0), cols + min(dc, 0)
    target[r0:r1, c0:c1] = source[r0 - dr : r1 - dr, c0 - dc : c1 - dc]


def _trees(city: City, random: np.random.Generator, canvas: Canvas) -> None:
    """Crowns as shaded discs, stamped by size class, a soft shadow first."""
    points = shapely.get_coordinates(city.trees["geometry"])
    radius = np.round(np.asarray(city.trees["crown"]) / 2 / PIXEL).astype(int).clip(1, 7)
    rows, cols = grid_shape(PIXEL)
    r0, c0 = ((HEIGHT - points[:, 1]) / PIXEL).astype(int), (points[:, 0] / PIXEL).astype(int)
    palette = np.array([(72, 100, 54), (82, 110, 58), (64, 92, 52), (90, 114, 64), (76, 104, 64)], dtype=np.float32)
    green = palette[random.integers(0, 5, len(points))] * random.uniform(0.85, 1.15, (len(points), 1)).astype(np.float32)
    flat = canvas.reshape(-1, 3)
    for size in np.unique(radius):
        which = np.nonzero(radius == size)[0]
        dr, dc = np.mgrid[-size : size + 1, -size : size + 1].reshape(2, -1)
        far = np.hypot(dr, dc) / (size + 0.35)
        dr, dc, far = dr[far <= 1], dc[far <= 1], far[far <= 1]
        low, right = round(size * 0.75), round(size * 0.6)
        shade = (r0[which, None] + dr - low).clip(0, rows - 1) * cols + (c0[which, None] + dc - right).clip(0, cols - 1)
        dark = np.ones(rows * cols, dtype=bool)
        dark[shade.ravel()] = False
        flat[~dark] *= 0.78
        crown = (r0[which, None] + dr).clip(0, rows - 1) * cols + (c0[which, None] + dc).clip(0, cols - 1)
        light = 1.0 + 0.28 * (dr * 0.62 + dc * 0.5) / (size + 0.35) - 0.12 * far
        speck = light * random.uniform(0.88, 1.12, crown.shape)
        flat[crown] = green[which][:, None, :] * speck[..., None].astype(np.float32)


def paint(city: City) -> npt.NDArray[np.uint8]:
    """The image, shape (rows, cols, 3), PIXEL metres, row 0 in the north."""
    random = rng(city.seed, "ortho")
    shape = grid_shape(PIXEL)
    plan = layers.Painting()
    layers.land(city, random, plan)
    layers.streets(city, plan)
    layers.water(city, random, plan)
    layers.vehicles(city, random, plan)
    layers.roofs(city, random, plan)
    layers.bridges(city, plan)
    index = burn(plan.shapes, np.arange(len(plan.shapes)) + 1, PIXEL, "int32")
    palette = np.array([(120, 124, 96), *plan.colours], dtype=np.float32)
    grain = np.array([0.05, *plan.grains], dtype=np.float32)
    canvas = palette[index]
    _river(city, random, canvas, index, plan.marks["river"])
    light = 1.0 + grain[index] * _texture(random, shape)
    light *= _relief(city, shape)
    light *= _shadows(city)
    canvas *= light[..., None]
    deck = index >= plan.marks["bridge"][0]
    over = canvas[deck]
    _trees(city, random, canvas)
    canvas[deck] = over
    return np.asarray(np.clip(canvas, 0, 255), dtype=np.uint8)
