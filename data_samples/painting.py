"""What the orthophoto shows, from the ground up: shapes with a colour and a grain, in the order in which they cover each other."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import shapely

from data_samples.blocks import split
from data_samples.bridge import NAME as BRIDGE
from data_samples.city import TRACK_AREA, City
from data_samples.streets import CLASSES

RGB = tuple[float, float, float]
GROUND: dict[str, RGB] = {
    "old": (150, 142, 130), "village": (152, 147, 136), "slabs": (118, 134, 92), "towers": (106, 130, 82), "commerce": (172, 168, 160),
    "office": (168, 166, 158), "bim": (168, 166, 158), "civic": (170, 166, 154), "school": (122, 136, 94), "hospital": (164, 164, 154),
    "industry": (160, 157, 150), "park": (100, 126, 76), "farm": (128, 138, 86), "ponds": (124, 128, 90), "green": (106, 130, 80),
    "canal bank": (100, 124, 78), "hill": (74, 98, 60), "street": (166, 163, 156), "levee": (116, 138, 86), "water": (98, 112, 100),
}  # fmt: skip
GRAIN = {"park": 0.06, "hill": 0.09, "green": 0.06, "levee": 0.06, "canal bank": 0.06, "slabs": 0.07, "towers": 0.07, "ponds": 0.06}
LAWN, DRIVE, APRON = (104, 130, 78), (148, 147, 143), (158, 155, 148)
ASPHALT, LANE, WHITE, YELLOW, MEDIAN = (112, 113, 114), (140, 137, 130), (182, 182, 178), (176, 156, 92), (94, 118, 70)
CROPS = ((134, 146, 82), (112, 138, 74), (150, 148, 98), (142, 126, 94), (122, 150, 88), (104, 124, 70), (156, 150, 110))
ROOFS: dict[str, tuple[RGB, ...]] = {
    "flat": ((176, 172, 164), (164, 160, 154), (186, 180, 168), (150, 148, 146), (194, 190, 182), (158, 150, 138), (172, 160, 146)),
    "tile": ((126, 88, 72), (116, 92, 80), (134, 98, 78), (108, 94, 86), (122, 104, 92)),
    "metal": ((96, 128, 160), (110, 140, 168), (170, 178, 184), (188, 192, 194), (132, 156, 172)),
    "green": ((116, 136, 92), (122, 134, 100)),
}
CARS: tuple[RGB, ...] = ((226, 226, 224), (60, 62, 66), (196, 198, 200), (150, 48, 44), (64, 84, 120), (226, 226, 224))
WATER: dict[str, RGB] = {"river": (96, 112, 100), "canal": (84, 104, 98), "lake": (86, 108, 100), "pond": (104, 122, 106)}


@dataclass
class Painting:
    """Shapes in painting order; the index of a shape (from 1) is what the raster will hold."""

    shapes: list[Any] = field(default_factory=list)
    colours: list[RGB] = field(default_factory=list)
    grains: list[float] = field(default_factory=list)
    marks: dict[str, tuple[int, int]] = field(default_factory=dict)

    def add(self, shapes: Any, colours: Any, grain: float = 0.03) -> None:
        """Paint shapes over what is there; `colours` is one RGB or one per shape."""
        shapes = list(shapes)
        rgb = np.broadcast_to(np.asarray(colours, dtype=np.float64), (len(shapes), 3))
        self.shapes += shapes
        self.colours += [(float(r), float(g), float(b)) for r, g, b in rgb]
        self.grains += [grain] * len(shapes)

    def mark(self, name: str, start: int) -> None:
        """Remember which shapes, from number `start` to the last, belong together."""
        self.marks[name] = (start + 1, len(self.shapes))


def land(city: City, random: np.random.Generator, painting: Painting) -> None:
    """Land use, then what makes blocks look inhabited: lawns, drives, aprons, fields, sports grounds."""
    for geometry, use in zip(city.landuse["geometry"], city.landuse["use"], strict=True):
        tone = random.uniform(0.96, 1.04)
        painting.add([geometry], np.array(GROUND[use]) * tone, GRAIN.get(use, 0.035))
    for block in city.blocks:
        p, use = block.polygon, block.use
        if use in ("commerce", "office", "bim", "civic", "hospital", "school", "industry"):
            rim = shapely.difference(p, shapely.buffer(p, -3.6 if use != "industry" else -2.4))
            painting.add([rim], np.array(LAWN) * random.uniform(0.92, 1.06), 0.07)
        if use in ("slabs", "towers"):
            ring = shapely.difference(shapely.buffer(p, -3.4), shapely.buffer(p, -7.0))
            painting.add([ring], DRIVE)
        if use == "farm":
            lots = split(shapely.buffer(p, -3.0), 2600.0, random, 2.2)
            painting.add(lots, np.array(CROPS)[random.integers(0, len(CROPS), len(lots))], 0.05)
        if use == "park" and p.area > 4000:
            path = shapely.boundary(shapely.buffer(shapely.buffer(p, -22.0), 12.0))
            painting.add([shapely.buffer(path, 1.3)], (176, 168, 150))
    apron = np.array([d.use != "industrial" and city.blocks[d.block].use in ("slabs", "towers", "school") for d in city.drafts])
    painting.add(shapely.buffer(city.buildings["geometry"][apron], 3.0, join_style="mitre"), APRON)
    for field_, _ in city.fields:
        if field_.area > TRACK_AREA:
            painting.add([field_], (148, 90, 74))
            painting.add([shapely.buffer(field_, -7.0)], (88, 122, 68), 0.05)
            painting.add([shapely.buffer(shapely.boundary(shapely.buffer(field_, -k)), 0.25) for k in (2.2, 4.6)], (186, 160, 150))
        else:
            painting.add([field_], (92, 124, 104))
            painting.add([shapely.buffer(field_, -1.6, join_style="mitre")], (146, 96, 82))
            painting.add([shapely.boundary(shapely.buffer(field_, -1.6, join_style="mitre"))], (206, 200, 194))


def _dashes(line: Any, shift: float, on: float, off: float, trim: float) -> list[Any]:
    """Dash segments parallel to a straight line; one long one where `off` is 0."""
    a, b = shapely.get_coordinates(line)[:2]
    length = float(np.hypot(*(b - a)))
    if length < 2 * trim + 4:
        return []
    d = (b - a) / length
    n = np.array([-d[1], d[0]]) * shift
    starts = np.arange(trim, length - trim - on + 0.1, on + off) if off > 0 else np.array([trim])
    ends = starts + on if off > 0 else np.array([length - trim])
    return list(shapely.linestrings(np.stack([a + n + np.outer(starts, d), a + n + np.outer(ends, d)], axis=1)))


def _crossings(line: Any, width: float) -> list[Any]:
    """Zebra stripes at both ends of a street piece."""
    length = shapely.length(line)
    out = []
    for shift in np.arange(-width / 2 + 1.2, width / 2 - 0.8, 2.4):
        out += _dashes(line, float(shift), 3.2, length - 2 * 12.5 - 2 * 3.2, 12.5)
    return out


def streets(city: City, painting: Painting) -> None:
    """Lanes, asphalt, medians and markings; the river bridge is painted later."""
    edges, lines = city.streets.edges, city.streets.lines
    kind = np.array([e.kind for e in edges])
    ground = np.array([e.name != BRIDGE for e in edges])
    ways = city.streets.carriageways()
    painting.add(ways[kind == "lane"], LANE)
    painting.add(ways[(kind != "lane") & ground], ASPHALT, 0.045)
    median, yellow, white = [], [], []
    for edge, line, ok in zip(edges, lines, ground, strict=True):
        width, lanes, _ = CLASSES[edge.kind]
        if not ok or edge.kind in ("lane", "residential"):
            continue
        trim = 18.0
        if edge.kind == "primary":
            median += [shapely.buffer(g, 1.5) for g in _dashes(line, 0.0, 1.0, 0.0, trim + 3)]
        else:
            yellow += _dashes(line, 0.0, 1.0, 0.0, trim)
        if edge.kind != "tertiary":
            white += _crossings(line, width)
        for k in range(1, lanes // 2):
            for side in (-1, 1):
                white += _dashes(line, side * k * width / lanes, 4.0, 6.0, trim)
    painting.add(white, WHITE, 0.02)
    painting.add(yellow, YELLOW, 0.02)
    painting.add(median, MEDIAN, 0.06)


def water(city: City, random: np.random.Generator, painting: Painting) -> None:
    """Water bodies; the river is shaded by depth afterwards."""
    start = len(painting.shapes)
    painting.add(city.water["geometry"][:1], WATER["river"], 0.012)
    painting.mark("river", start)
    tone = random.uniform(0.9, 1.1, (len(city.water["kind"]), 1))
    painting.add(city.water["geometry"][1:], np.array([WATER[k] for k in city.water["kind"][1:]]) * tone[1:], 0.015)


def _box(centre: Any, along: Any, across: Any) -> Any:
    return shapely.Polygon([centre - along - across, centre + along - across, centre + along + across, centre - along + across])


def vehicles(city: City, random: np.random.Generator, painting: Painting) -> None:
    """Cars on streets, parked cars beside the drives of estates, barges on the river."""
    shapes: list[Any] = []
    for edge, line in zip(city.streets.edges, city.streets.lines, strict=True):
        width, lanes, _ = CLASSES[edge.kind]
        a, b = shapely.get_coordinates(line)[:2]
        length = float(np.hypot(*(b - a)))
        if edge.kind == "lane" or length < 30:
            continue
        d = (b - a) / length
        n = np.array([-d[1], d[0]])
        for _ in range(random.poisson(length * lanes / 300.0)):
            lane = (int(random.integers(max(lanes, 2))) + 0.5) * width / max(lanes, 2) - width / 2
            centre = a + d * random.uniform(8, length - 8) + n * lane
            shapes.append(_box(centre, d * (2.3 if random.random() < 0.94 else 5.2), n * 0.95))
    for block in city.blocks:
        if block.use in ("slabs", "towers", "office", "commerce", "bim", "hospital", "civic"):
            ring = shapely.boundary(shapely.buffer(block.polygon, -8.4))
            for part in shapely.get_parts(ring):
                at = np.arange(6.0, part.length - 6.0, 2.9)
                at = at[random.random(len(at)) < 0.38]
                p, q = (shapely.get_coordinates(shapely.line_interpolate_point(part, at + k)) for k in (0.0, 0.5))
                d = (q - p) / np.maximum(np.hypot(*(q - p).T), 1e-6)[:, None]
                shapes += [_box(c, np.array([-e[1], e[0]]) * 2.2, e * 0.9) for c, e in zip(p, d, strict=True)]
    painting.add(shapes, np.array(CARS)[random.integers(0, len(CARS), len(shapes))], 0.0)
    for x in random.uniform(150, 3050, 8):
        y = float(city.river.centre(x)) + random.uniform(-45, 45)
        hull = shapely.Polygon([(x - 24, y - 4), (x + 18, y - 4), (x + 26, y), (x + 18, y + 4), (x - 24, y + 4)])
        painting.add([hull], (122, 96, 84))
        painting.add([shapely.box(x - 13, y - 3, x + 16, y + 3)], (150, 138, 112), 0.06)
        painting.add([shapely.box(x - 22, y - 3, x - 15, y + 3)], (208, 206, 200))


def roofs(city: City, random: np.random.Generator, painting: Painting) -> npt.NDArray[np.int64]:
    """Roofs with their upper structures; returns the building index of every roof shape from the mark's start."""
    table = city.buildings
    geometry, kind = table["geometry"], np.array(table["roof"])
    colour = np.array([ROOFS[k][int(random.integers(len(ROOFS[k])))] for k in kind]) * random.uniform(0.92, 1.08, (len(kind), 1))
    start = len(painting.shapes)
    painting.add(geometry, colour * 0.86, 0.02)  # the parapet: what the inset roof leaves free
    owner = [np.arange(len(geometry))]
    inset = shapely.buffer(geometry, -0.9, join_style="mitre")
    painting.add(inset, colour, 0.03)
    owner.append(np.arange(len(geometry)))
    tile = np.nonzero(kind == "tile")[0]
    halves = [_half(g) for g in geometry[tile]]
    painting.add(halves, colour[tile] * 0.84, 0.03)  # the slope away from the sun
    owner.append(tile)
    tall = np.nonzero((np.asarray(table["floors"]) >= 7) & (kind != "metal"))[0]
    core = np.array([_core(g, 0.34) for g in geometry[tall]], dtype=object)
    painting.add(core, colour[tall] * 1.1, 0.03)
    owner.append(tall)
    metal = np.nonzero(kind == "metal")[0]
    ribs = [r for g in geometry[metal] for r in _skylights(g)]
    painting.add([r for r, _ in ribs], (206, 212, 214), 0.02)
    owner.append(np.repeat(metal, [len(_skylights(g)) for g in geometry[metal]]))
    painting.mark("roofs", start)
    return np.concatenate(owner)


def _half(polygon: Any) -> Any:
    """The half of a house on the shadow side of its ridge."""
    ring = shapely.get_coordinates(shapely.oriented_envelope(polygon))[:4]
    if np.hypot(*(ring[1] - ring[0])) < np.hypot(*(ring[2] - ring[1])):
        ring = np.roll(ring, 1, axis=0)
    half = np.array([ring[0], ring[1], (ring[1] + ring[2]) / 2, (ring[0] + ring[3]) / 2])
    other = np.array([(ring[0] + ring[3]) / 2, (ring[1] + ring[2]) / 2, ring[2], ring[3]])
    north = half if half[:, 1].mean() > other[:, 1].mean() else other
    return shapely.intersection(polygon, shapely.Polygon(north))


def _core(polygon: Any, share: float) -> Any:
    """A lift house in the middle of a tower's or slab's roof."""
    envelope = shapely.oriented_envelope(polygon)
    c = shapely.get_coordinates(shapely.centroid(envelope))[0]
    box = shapely.transform(envelope, lambda xy: c + (xy - c) * share)
    return shapely.intersection(box, polygon)


def _skylights(polygon: Any) -> list[tuple[Any, int]]:
    """Translucent strips across a shed's roof."""
    ring = shapely.get_coordinates(shapely.oriented_envelope(polygon))[:4]
    if np.hypot(*(ring[1] - ring[0])) < np.hypot(*(ring[2] - ring[1])):
        ring = np.roll(ring, 1, axis=0)
    out = []
    length = float(np.hypot(*(ring[1] - ring[0])))
    for k, t in enumerate(np.arange(0.08, 0.95, max(9.0 / length, 0.1))):
        a, b = ring[0] + (ring[1] - ring[0]) * t, ring[3] + (ring[2] - ring[3]) * t
        out.append((shapely.linestrings([a + (b - a) * 0.1, a + (b - a) * 0.9]), k))
    return out


def bridges(city: City, painting: Painting) -> None:
    """Decks, kerbs and markings, over everything else."""
    start = len(painting.shapes)
    parts = [g for g, p in zip(city.bridges["geometry"], city.bridges["part"], strict=True) if p == "deck"]
    painting.add(parts, (122, 122, 122), 0.04)
    s0, s1 = city.bridge.abutments
    line = shapely.linestrings(city.bridge.at([s0, s1]))
    painting.add([shapely.buffer(g, 0.6) for k in (-13.2, 13.2) for g in _dashes(line, k, 1.0, 0.0, 0.5)], (172, 170, 164))
    painting.add([g for k in (-8.6, -4.4, 4.4, 8.6) for g in _dashes(line, k, 4.0, 6.0, 2.0)], WHITE)
    painting.add([shapely.buffer(g, 0.8) for g in _dashes(line, 0.0, 1.0, 0.0, 1.0)], (150, 148, 142))
    painting.mark("bridge", start)
