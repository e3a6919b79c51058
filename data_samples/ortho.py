"""An orthophoto-like image painted from the district's own geometry: what the viewer drapes over the terrain.

Colours are muted like a late-morning aerial survey; shadows are short and soft so that they don't fight the viewer's own sun.
Everything is painted on one float canvas (rows, cols, 3), values 0..255.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import shapely
from PIL import Image
from scipy import ndimage

from data_samples.city import USE_KEYS, City
from data_samples.frame import HEIGHT, burn, grid_shape, noise, rng
from data_samples.streets import CLASSES

PIXEL = 0.8  # metres
Canvas = npt.NDArray[np.float32]

GROUND: dict[str, tuple[int, int, int]] = {
    "old": (150, 142, 130), "village": (152, 146, 134), "slabs": (146, 150, 128), "towers": (136, 148, 118), "commerce": (168, 164, 156),
    "office": (166, 164, 154), "bim": (170, 168, 158), "civic": (168, 164, 150), "school": (150, 152, 128), "hospital": (164, 164, 152),
    "industry": (164, 160, 152), "park": (104, 128, 78), "farm": (128, 138, 86), "ponds": (124, 128, 90), "green": (108, 130, 82),
    "canal bank": (100, 124, 78), "hill": (74, 98, 60), "street": (170, 166, 158), "levee": (118, 138, 88), "water": (98, 112, 100),
}  # fmt: skip
GREEN_SHARE = {"slabs": 0.45, "towers": 0.62, "school": 0.35, "hospital": 0.3, "civic": 0.4, "bim": 0.3, "office": 0.18, "commerce": 0.08,
               "industry": 0.1, "village": 0.12, "old": 0.06}  # fmt: skip
LAWN = np.array((100, 126, 76), dtype=np.float32)
ROOFS = {
    "flat": ((176, 172, 164), (164, 160, 154), (186, 180, 168), (150, 148, 146), (194, 190, 182), (158, 150, 138), (172, 160, 146)),
    "tile": ((132, 86, 68), (120, 92, 78), (142, 98, 76), (108, 92, 84), (126, 104, 90)),
    "metal": ((96, 128, 160), (110, 140, 168), (170, 178, 184), (188, 192, 194), (132, 156, 172)),
    "green": ((118, 138, 92), (124, 134, 100)),
}
SUN = np.array((-0.62, 0.78))  # shadows fall to the north-west: towards -x, +y
SHADOW_PER_METRE = 0.42  # tan of the sun's zenith angle: about 67 degrees high


def _colours(values: Any) -> npt.NDArray[np.float32]:
    return np.array(values, dtype=np.float32)


def _mottle(random: np.random.Generator, shape: tuple[int, int]) -> tuple[Canvas, Canvas]:
    """Large soft and small sharp noise, unit variance, shape (rows, cols)."""
    soft = 0.6 * noise(random, shape, 120) + 0.4 * noise(random, shape, 28)
    return soft.astype(np.float32), noise(random, shape, 3)


def _ground(city: City, random: np.random.Generator, soft: Canvas, fine: Canvas) -> Canvas:
    """Land use colours, with lawns inside housing, furrows on fields, and mottling."""
    landuse = city.landuse
    number = np.array([USE_KEYS.index(u) + 1 for u in landuse["use"]])
    use = burn(landuse["geometry"], number, PIXEL)
    palette = _colours([(120, 124, 96)] + [GROUND[k] for k in USE_KEYS])
    canvas = palette[use]
    share = np.array([0.0] + [GREEN_SHARE.get(k, 0.0) for k in USE_KEYS], dtype=np.float32)[use]
    patch = noise(random, use.shape, 14) + 0.5 * noise(random, use.shape, 5)
    threshold = np.where(share > 0, (0.5 - share) * 2.8, 9.0)
    lawn = np.clip((patch - threshold) * 3.0, 0, 1)[..., None]
    canvas = canvas * (1 - lawn) + LAWN * lawn
    _fields(city, random, canvas)
    canvas *= (1 + 0.045 * soft + 0.03 * fine)[..., None]
    return np.asarray(canvas, dtype=np.float32)


def _fields(city: City, random: np.random.Generator, canvas: Canvas) -> None:
    """Fields in their own greens and browns, with furrows."""
    from data_samples.blocks import split

    lots = [lot for b in city.blocks if b.use == "farm" for lot in split(shapely.buffer(b.polygon, -3.0), 2600.0, random, 2.2)]
    if not lots:
        return
    crops = _colours([(134, 146, 82), (112, 138, 74), (150, 148, 98), (142, 126, 94), (122, 150, 88), (104, 124, 70), (160, 154, 112)])
    index = burn(lots, np.arange(len(lots)) + 1, PIXEL, "uint16")
    rows, cols = np.nonzero(index)
    lot = index[rows, cols] - 1
    colour = crops[random.integers(0, len(crops), len(lots))][lot]
    turn = random.choice([0.2, 1.77], len(lots))[lot]
    wave = np.sin((cols * np.cos(turn) + rows * np.sin(turn)) * PIXEL * 2.4)
    canvas[rows, cols] = colour * (1 + 0.05 * wave[:, None])


def _streets(city: City, random: np.random.Generator, canvas: Canvas, fine: Canvas) -> None:
    """Footways, asphalt, centre lines, lane dashes; not the river bridge, which is painted over the water."""
    from data_samples.bridge import NAME

    edges = city.streets.edges
    ground = np.array([e.name != NAME for e in edges])
    asphalt = burn(city.streets.carriageways()[ground], 1, PIXEL).astype(bool)
    lane = burn(city.streets.carriageways()[np.array([e.kind == "lane" for e in edges])], 1, PIXEL).astype(bool)
    main = asphalt & ~lane
    canvas[main] = _colours((112, 113, 114)) * (1 + 0.05 * fine[main])[:, None]
    canvas[lane & ~burn(city.streets.carriageways()[np.array([e.kind != "lane" for e in edges])], 1, PIXEL).astype(bool)] = (142, 138, 130)
    _marks(city, canvas, ground)


def _dashes(line: Any, shift: float, on: float, off: float, trim: float) -> list[Any]:
    """Dash segments parallel to a straight line."""
    a, b = shapely.get_coordinates(line)[:2]
    length = float(np.hypot(*(b - a)))
    if length < 2 * trim + 4:
        return []
    d = (b - a) / length
    n = np.array([-d[1], d[0]]) * shift
    starts = np.arange(trim, length - trim - on + 0.1, on + off) if off > 0 else np.array([trim])
    ends = starts + on if off > 0 else np.array([length - trim])
    return list(shapely.linestrings(np.stack([a + n + np.outer(starts, d), a + n + np.outer(ends, d)], axis=1)))


def _marks(city: City, canvas: Canvas, keep: Any) -> None:
    """Lane markings; the planted median of primary streets."""
    yellow, white, median = [], [], []
    for edge, line, ok in zip(city.streets.edges, city.streets.lines, keep, strict=True):
        width, lanes, _ = CLASSES[edge.kind]
        if not ok or edge.kind in ("lane", "residential"):
            continue
        trim = 17.0
        if edge.kind == "primary":
            median += [shapely.buffer(g, 1.4) for g in _dashes(line, 0.0, 1.0, 0.0, trim + 3)]
        else:
            yellow += _dashes(line, 0.0, 1.0, 0.0, trim)
        each = width / lanes
        for k in range(1, lanes // 2):
            for side in (-1, 1):
                white += _dashes(line, side * k * each, 4.0, 6.0, trim)
        for side in (-1, 1):
            white += _dashes(line, side * (width / 2 - 0.6), 1.0, 0.0, trim)
    for shapes, colour, strength in ((white, (205, 205, 200), 0.75), (yellow, (196, 170, 84), 0.8), (median, (92, 116, 70), 1.0)):
        mask = burn(shapes, 1, PIXEL).astype(bool)
        canvas[mask] = canvas[mask] * (1 - strength) + _colours(colour) * strength


def _water(city: City, random: np.random.Generator, canvas: Canvas, soft: Canvas) -> None:
    """River, canal, lakes and ponds: depth darkens, long ripples along the flow."""
    river = burn(city.water["geometry"][:1], 1, PIXEL).astype(bool)
    rows, cols = np.nonzero(river)
    x, y = (cols + 0.5) * PIXEL, HEIGHT - (rows + 0.5) * PIXEL
    depth = np.clip(-city.river.distance(x, y) / 40.0, 0, 1)[:, None]
    base = _colours((126, 128, 100)) * (1 - depth) + _colours((92, 110, 98)) * depth
    streak = noise(random, (canvas.shape[0], canvas.shape[1] // 6 + 1), 7).repeat(6, axis=1)[:, : canvas.shape[1]]
    canvas[river] = base * (1 + 0.03 * soft[river] + 0.022 * streak[river])[:, None]
    ponds = [(g, k) for g, k in zip(city.water["geometry"], city.water["kind"], strict=True) if k != "river"]
    index = burn([g for g, _ in ponds], np.arange(len(ponds)) + 1, PIXEL, "uint16")
    tint = {"canal": (94, 108, 84), "lake": (86, 108, 100), "pond": (104, 122, 106)}
    colour = _colours([tint[k] for _, k in ponds]) * random.uniform(0.88, 1.12, (len(ponds), 1)).astype(np.float32)
    rows, cols = np.nonzero(index)
    canvas[rows, cols] = colour[index[rows, cols] - 1] * (1 + 0.02 * soft[rows, cols])[:, None]


def _tracks(city: City, canvas: Canvas) -> None:
    """School sports grounds: a red track round a green pitch with white lines."""
    for oval, _ in city.fields:
        for inset, colour in ((0.0, (152, 84, 68)), (7.0, (86, 122, 66))):
            canvas[burn([shapely.buffer(oval, -inset)], 1, PIXEL).astype(bool)] = colour
        ring = shapely.boundary(shapely.buffer(oval, -3.5))
        canvas[burn([ring], 1, PIXEL).astype(bool)] = (190, 160, 150)


def _roofs(city: City, random: np.random.Generator, canvas: Canvas, fine: Canvas) -> Canvas:
    """Roofs with parapets and plant; returns the building height per pixel for the shadows."""
    table = city.buildings
    count = len(table["id"])
    index = burn(table["geometry"], np.arange(count) + 1, PIXEL, "uint16")
    colour = np.zeros((count, 3), dtype=np.float32)
    for i, roof in enumerate(table["roof"]):
        options = ROOFS[roof]
        colour[i] = options[int(random.integers(len(options)))]
    colour *= random.uniform(0.9, 1.1, (count, 1)).astype(np.float32)
    mask = index > 0
    body = index[mask] - 1
    edge = mask & ((index != np.roll(index, 1, 0)) | (index != np.roll(index, 1, 1)))
    metal = np.array([r == "metal" for r in table["roof"]])
    plant = (noise(random, index.shape, 3) > 1.5) & mask
    rows, cols = np.nonzero(mask)
    ribs = 0.035 * np.sin(cols * PIXEL * 2.0) * metal[body]
    canvas[mask] = colour[body] * (1 + 0.03 * fine[mask] + ribs)[:, None]
    tiled = np.array([r == "tile" for r in table["roof"]])[index.clip(1) - 1] & mask
    canvas[plant & ~tiled] *= 0.82
    canvas[edge] *= 0.86
    height = np.zeros(index.shape, dtype=np.float32)
    height[mask] = np.asarray(table["height"], dtype=np.float32)[body]
    return height


def _shade(canvas: Canvas, height: Canvas, own: Canvas) -> None:
    """Soft cast shadows of `height` (metres per pixel) onto whatever is lower; `own` is the receiver's height."""
    longest = float(height.max()) * SHADOW_PER_METRE
    shadow = np.zeros(height.shape, dtype=bool)
    steps = np.concatenate([np.arange(1.0, 12.0, 1.0), np.arange(12.0, longest, 2.0)])
    for metres in steps:
        dr, dc = int(round(-SUN[1] * metres / PIXEL)), int(round(SUN[0] * metres / PIXEL))
        top = height - metres / SHADOW_PER_METRE
        moved = np.full_like(top, -1.0)
        _shift(top, moved, dr, dc)
        shadow |= moved > own
    soft = ndimage.uniform_filter(shadow.astype(np.float32), 3)
    canvas *= (1 - 0.36 * soft)[..., None]
    canvas[..., 2] += 5.0 * soft


def _shift(source: Canvas, target: Canvas, dr: int, dc: int) -> None:
    """Copy `source` into `target` moved by (dr, dc), without wrapping."""
    rows, cols = source.shape
    r0, r1 = max(dr, 0), rows + min(dr, 0)
    c0, c1 = max(dc, 0), cols + min(dc, 0)
    target[r0:r1, c0:c1] = source[r0 - dr : r1 - dr, c0 - dc : c1 - dc]


def _bridge(city: City, canvas: Canvas, fine: Canvas) -> None:
    """Decks over the water, with their shadow beside them."""
    deck = city.bridge.deck()
    under = shapely.transform(deck, lambda c: c + SUN * 4.0)
    canvas[burn([under], 1, PIXEL).astype(bool)] *= 0.72
    parts = [g for g, p in zip(city.bridges["geometry"], city.bridges["part"], strict=True) if p == "deck"]
    mask = burn(parts, 1, PIXEL).astype(bool)
    canvas[mask] = _colours((124, 124, 124)) * (1 + 0.04 * fine[mask])[:, None]
    line = shapely.linestrings(city.bridge.at([2.0, city.bridge.length - 2.0]))
    edges = [g for s in (-13.2, 13.2) for g in _dashes(line, s, 1.0, 0.0, 2.0)]
    canvas[burn([shapely.buffer(g, 0.7) for g in edges], 1, PIXEL).astype(bool)] = (176, 174, 168)
    dashes = [g for s in (-8.6, -4.4, 4.4, 8.6) for g in _dashes(line, s, 4.0, 6.0, 4.0)] + _dashes(line, 0.0, 1.0, 0.0, 4.0)
    canvas[burn(dashes, 1, PIXEL).astype(bool)] = (200, 198, 190)


def _trees(city: City, random: np.random.Generator, canvas: Canvas) -> None:
    """Crowns as shaded discs, stamped by size class, a soft shadow first."""
    points = shapely.get_coordinates(city.trees["geometry"])
    radius = np.round(np.asarray(city.trees["crown"]) / 2 / PIXEL).astype(int).clip(1, 7)
    rows, cols = grid_shape(PIXEL)
    r0, c0 = ((HEIGHT - points[:, 1]) / PIXEL).astype(int), (points[:, 0] / PIXEL).astype(int)
    green = _colours([(72, 100, 54), (82, 110, 58), (64, 92, 52), (92, 116, 66), (76, 104, 64)])[random.integers(0, 5, len(points))]
    green *= random.uniform(0.85, 1.15, (len(points), 1)).astype(np.float32)
    for size in np.unique(radius):
        which = np.nonzero(radius == size)[0]
        dr, dc = np.mgrid[-size : size + 1, -size : size + 1].reshape(2, -1)
        far = np.hypot(dr, dc) / (size + 0.35)
        dr, dc, far = dr[far <= 1], dc[far <= 1], far[far <= 1]
        for shift, colour in ((int(size), None), (0, green)):
            rr = (r0[which, None] + dr - round(shift * 0.75)).clip(0, rows - 1)
            cc = (c0[which, None] + dc - round(shift * 0.6)).clip(0, cols - 1)
            if colour is None:
                flat = np.unique(rr.ravel() * cols + cc.ravel())
                canvas.reshape(-1, 3)[flat] *= 0.78
            else:
                light = 1.0 + 0.28 * (dr * 0.62 + dc * 0.5) / (size + 0.35) - 0.12 * far
                speck = random.uniform(0.88, 1.12, rr.shape)
                canvas[rr, cc] = colour[which][:, None, :] * (light * speck)[..., None]


def _cars(city: City, random: np.random.Generator, canvas: Canvas) -> None:
    """Cars on the streets and barges on the river."""
    shapes, colours = [], []
    paint = [(226, 226, 224), (60, 62, 66), (196, 198, 200), (150, 48, 44), (64, 84, 120), (226, 226, 224)]
    for edge, line in zip(city.streets.edges, city.streets.lines, strict=True):
        width, lanes, _ = CLASSES[edge.kind]
        a, b = shapely.get_coordinates(line)[:2]
        length = float(np.hypot(*(b - a)))
        if edge.kind == "lane" or length < 30:
            continue
        d = (b - a) / length
        n = np.array([-d[1], d[0]])
        for _ in range(random.poisson(length * lanes / 260.0)):
            lane = (int(random.integers(max(lanes, 2))) + 0.5) * width / max(lanes, 2) - width / 2
            centre = a + d * random.uniform(8, length - 8) + n * lane
            long, half = d * (2.3 if random.random() < 0.92 else 5.5), n * 0.95
            shapes.append(shapely.Polygon([centre - long - half, centre + long - half, centre + long + half, centre - long + half]))
            colours.append(paint[int(random.integers(len(paint)))])
    for x in random.uniform(150, 3050, 9):
        y = float(city.river.centre(x)) + random.uniform(-45, 45)
        shapes.append(shapely.Polygon([(x - 24, y - 4), (x + 18, y - 4), (x + 26, y), (x + 18, y + 4), (x - 24, y + 4)]))
        colours.append((138, 96, 78))
        shapes.append(shapely.box(x - 22, y - 3, x - 14, y + 3))
        colours.append((214, 212, 206))
    index = burn(shapes, np.arange(len(shapes)) + 1, PIXEL, "uint16")
    mask = index > 0
    canvas[mask] = _colours(colours)[index[mask] - 1]


def _relief(city: City, canvas: Canvas) -> None:
    """A gentle hillshade, so that hills and levees can be read."""
    z = city.ground.z
    gy, gx = np.gradient(z, city.ground.cell)
    light = np.clip(1.0 + 0.42 * (gx * SUN[0] * -1.0 + gy * SUN[1]) * -1.0, 0.72, 1.2).astype(np.float32)
    wide = Image.fromarray(light).resize((canvas.shape[1], canvas.shape[0]), Image.Resampling.BILINEAR)
    canvas *= np.asarray(wide)[..., None]


def paint(city: City) -> npt.NDArray[np.uint8]:
    """The image, shape (rows, cols, 3), PIXEL metres, row 0 in the north."""
    random = rng(city.seed, "ortho")
    shape = grid_shape(PIXEL)
    soft, fine = _mottle(random, shape)
    canvas = _ground(city, random, soft, fine)
    _relief(city, canvas)
    _tracks(city, canvas)
    _streets(city, random, canvas, fine)
    _water(city, random, canvas, soft)
    _cars(city, random, canvas)
    height = _roofs(city, random, canvas, fine)
    _shade(canvas, height, height)
    _trees(city, random, canvas)
    _bridge(city, canvas, fine)
    return np.clip(canvas, 0, 255).astype(np.uint8)
