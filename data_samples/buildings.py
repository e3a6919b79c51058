"""Buildings: one layout per land use, then the attributes that a city's building survey carries.

Footprints never overlap: each layout stays inside its own block, and inside a block shapes come from disjoint lots or rows.
A tower on a podium is two footprints, the podium having a hole where the tower stands.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import shapely

from data_samples import names
from data_samples.blocks import Block, split
from data_samples.frame import Floats, Heights, rng
from data_samples.river import River
from data_samples.shapes import Axes, contained, court, cross, ell, flat_axes, hshape, rect, rows, ushape
from data_samples.streets import Streets

BIM_STEM = "bim_office"
BIM_SIZE = (45.0, 27.0, 15.0)  # metres: the L of the BIM office, its long side, short side and arm
BIM_FLOORS, BIM_STOREY = 6, 3.9

# use -> Chinese, storey height m, plinth + parapet m, structure
KINDS: dict[str, tuple[str, float, float, str]] = {
    "residential": ("住宅", 3.0, 1.2, "钢筋混凝土"),
    "commercial": ("商业", 4.8, 1.4, "框架"),
    "office": ("办公", 3.9, 1.5, "框架核心筒"),
    "industrial": ("工业", 9.0, 0.8, "轻钢"),
    "education": ("教育", 3.7, 1.2, "框架"),
    "medical": ("医疗", 4.0, 1.4, "框架"),
    "public": ("公共服务", 4.2, 1.2, "框架"),
    "utility": ("市政设施", 4.5, 0.8, "砖混"),
}


@dataclass
class Draft:
    """A building before it has an id and an address."""

    polygon: Any
    use: str
    floors: int
    block: int = -1
    name: str = ""
    name_en: str = ""
    roof: str = "flat"
    structure: str = ""
    bim: str = ""
    flats_per_floor: int = 0
    extra: dict[str, Any] = field(default_factory=dict)


def _dense(block: Block, random: np.random.Generator, lot: float, gap: float, floors: tuple[int, int]) -> list[Draft]:
    """Lots built to their edges: the old quarter and the urban villages."""
    out = []
    for plot in split(shapely.buffer(block.polygon, -0.8, join_style="mitre"), lot, random, gap):
        p = plot
        envelope = shapely.oriented_envelope(p)
        sides = np.hypot(*np.diff(shapely.get_coordinates(envelope)[:3], axis=0).T)
        if p.area < 26 or sides.min() < 3.6 or p.area < 0.55 * envelope.area or random.random() < 0.05:
            continue
        if p.area > 1.25 * lot and sides.min() > 10.5:
            hole = Axes((p.centroid.x, p.centroid.y), block.angle).out(rect(3.2, 3.0))
            if shapely.buffer(p, -2.6).covers(hole):
                p = shapely.difference(p, hole)
        levels = int(np.clip(round(random.triangular(floors[0], floors[0] + 1.2, floors[1])), *floors))
        tiled = floors[0] < 3 and random.random() < 0.55
        kind = "commercial" if random.random() < 0.04 else "residential"
        out.append(Draft(p, kind, levels, roof="tile" if tiled else "flat", structure="砖木" if tiled else "砖混", flats_per_floor=1))
    return out


def _slabs(block: Block, random: np.random.Generator) -> list[Draft]:
    """Rows of walk-up slabs facing south."""
    area = shapely.buffer(block.polygon, -5.0)
    if area.is_empty or area.area < 400:
        return []
    axes = flat_axes(block.polygon, block.angle)
    turned = axes.into(max(shapely.get_parts(area), key=lambda g: g.area))
    levels, depth = int(random.choice([5, 6, 7, 7, 8, 9, 11])), float(random.choice([11.0, 12.0, 13.5]))
    out = []
    for y, x0, x1 in rows(turned, depth, depth + max(13.0, levels * 1.9)):
        count = max(int((x1 - x0 + 7.0) // random.choice([38.0, 46.0, 54.0])), 1)
        length = min((x1 - x0 + 7.0) / count - 7.0, 62.0)
        if length < 14:
            continue
        for i in range(count):
            x = x0 + (x1 - x0 + 7.0) / count * i + length / 2
            shape = rect(length, depth)
            if length > 30:  # stair wells set back on the north side
                wells = [rect(3.0, 1.4) for _ in range(int(length // 18))]
                for k, w in enumerate(wells):
                    shift = (k + 0.5) * length / len(wells) - length / 2
                    shape = shapely.difference(shape, shapely.transform(w, lambda c, s=shift: c + np.array([s, depth / 2 - 0.7])))
            out.append(Draft(axes.out(shape, x, y), "residential", levels, flats_per_floor=max(2, int(length // 12))))
    return out


def _towers(block: Block, random: np.random.Generator) -> list[Draft]:
    """Point towers in a garden, staggered, with a low shop row along one side."""
    area = shapely.buffer(block.polygon, -8.0)
    if area.is_empty or area.area < 900:
        return []
    axes = flat_axes(block.polygon, block.angle)
    turned = axes.into(max(shapely.get_parts(area), key=lambda g: g.area))
    size, levels = float(random.choice([22.0, 24.0, 27.0])), int(random.integers(12, 29))
    out = []
    for i, (y, x0, x1) in enumerate(rows(turned, size, size + 30.0)):
        pitch = size + 24.0
        count = max(int((x1 - x0 + 24.0) // pitch), 0) if x1 - x0 >= size else 0
        spare = (x1 - x0) - (count * pitch - 24.0)
        for k in range(count):
            x = x0 + size / 2 + k * pitch + spare * (0.25 if i % 2 else 0.75)
            shape = cross(size, 5.0) if random.random() < 0.8 else rect(size * 1.15, size * 0.7)
            out.append(Draft(axes.out(shape, x, y), "residential", max(levels + int(random.integers(-3, 4)), 9), flats_per_floor=4))
    return out


def _podium(block: Block, random: np.random.Generator, use: str) -> list[Draft]:
    """Commerce and offices: a podium with a tower through it, a mall round a court, an L, or plain bars."""
    area = shapely.buffer(block.polygon, -6.0)
    if area.is_empty or area.area < 500:
        return []
    area = max(shapely.get_parts(area), key=lambda g: g.area)
    axes = flat_axes(block.polygon, block.angle)
    out: list[Draft] = []
    for lot in split(area, 3600.0, random, 11.0):
        envelope = axes.into(lot)
        x0, y0, x1, y1 = envelope.bounds
        cx, cy = (x0 + x1) / 2, (y0 + y1) / 2
        for scale in (0.97, 0.9, 0.82, 0.74, 0.66, 0.55):
            w, d = (x1 - x0) * scale, (y1 - y0) * scale
            if envelope.covers(shapely.box(cx - w / 2, cy - d / 2, cx + w / 2, cy + d / 2)):
                break
        else:
            continue
        w, d = min(w, 78.0), min(d, 66.0)
        if min(w, d) < 13:
            continue
        out += _bar(axes, cx, cy, w, d, use, random)
    return out


def _bar(axes: Axes, x: float, y: float, w: float, d: float, use: str, random: np.random.Generator) -> list[Draft]:
    """One commercial or office building (or a podium and its tower) in a w x d rectangle."""
    tall = int(random.integers(12, 31))
    low = int(random.integers(3, 6))
    pick = random.random()
    if min(w, d) > 40 and pick < 0.55:
        t = float(random.choice([22.0, 25.0, 28.0]))
        tower = axes.out(cross(t, 2.5) if random.random() < 0.4 else rect(t, t), x, y)
        podium = shapely.difference(axes.out(rect(w, d), x, y), tower)
        return [Draft(podium, "commercial", low, roof="green" if random.random() < 0.3 else "flat"),
                Draft(tower, "office" if use == "office" else "commercial", tall, structure="框架核心筒")]  # fmt: skip
    if min(w, d) > 38 and pick < 0.8:
        return [Draft(axes.out(court(w, d, 13.0), x, y), use, low + 1)]
    if min(w, d) > 26:
        return [Draft(axes.out(ell(w, d, min(w, d) * 0.42), x, y, float(random.choice([0, np.pi]))), use, low + int(random.integers(2, 9)))]
    return [Draft(axes.out(rect(w, d), x, y), use, low + int(random.integers(0, 6)))]


def _industry(block: Block, random: np.random.Generator) -> list[Draft]:
    """Sheds with metal roofs, some with an office bar in front."""
    out = []
    for lot in split(shapely.buffer(block.polygon, -7.0), 3800.0, random, 13.0):
        axes = flat_axes(lot, block.angle)
        turned = axes.into(lot)
        x0, y0, x1, y1 = turned.bounds
        for scale in (0.96, 0.88, 0.8, 0.7, 0.6, 0.5):
            box = shapely.box(*(np.array([x0, y0, x1, y1]) * scale))
            if turned.covers(box) and min(box.bounds[2] - box.bounds[0], box.bounds[3] - box.bounds[1]) > 14:
                metal = random.random() < 0.75
                out.append(Draft(axes.out(box), "industrial", 1 if metal else int(random.integers(2, 6)), roof="metal" if metal else "flat",
                                 structure="轻钢" if metal else "框架"))  # fmt: skip
                break
    return out


def _school(block: Block) -> list[Draft]:
    """A U of classrooms, a hall, and two wings that are one building (a multipolygon); the rest is the playing field."""
    axes = flat_axes(block.polygon, block.angle)
    turned = axes.into(block.polygon)
    x0, _, _, y1 = turned.bounds
    x, y = x0 * 0.45, y1 * 0.38
    wings = shapely.MultiPolygon([axes.out(rect(30, 9), x, y - 34), axes.out(rect(30, 9), x, y - 50)])
    return [Draft(axes.out(ushape(46, 34, 10), x, y), "education", 5), Draft(axes.out(rect(24, 16), x - 4, y - 70), "education", 2, roof="metal"),
            Draft(wings, "education", 4)]  # fmt: skip


def _hospital(block: Block) -> list[Draft]:
    """In-patient H, out-patient court, and two pavilions under one number."""
    axes = flat_axes(block.polygon, block.angle)
    pavilions = shapely.MultiPolygon([axes.out(rect(16, 12), -30, -42), axes.out(rect(16, 12), -8, -42)])
    return [Draft(axes.out(hshape(62, 34, 15), 0, 28), "medical", 13, name="江岸人民医院住院楼", name_en="Riverside People's Hospital, wards"),
            Draft(axes.out(court(46, 32, 11), -8, -12), "medical", 6, name="江岸人民医院门诊楼", name_en="Riverside People's Hospital, clinic"),
            Draft(pavilions, "medical", 3, name="江岸人民医院康复楼", name_en="Riverside People's Hospital, rehabilitation")]  # fmt: skip


def _civic(block: Block) -> list[Draft]:
    """The district office and a library."""
    axes = flat_axes(block.polygon, block.angle)
    return [Draft(axes.out(court(58, 40, 13), 0, 18), "public", 7, name="江岸区政务服务中心", name_en="Jiang'an Civic Service Centre"),
            Draft(axes.out(ell(40, 26, 12), 0, -26), "public", 4, name="江岸图书馆", name_en="Jiang'an Library", roof="green")]  # fmt: skip


def _bim(block: Block) -> list[Draft]:
    """The block of the office that is also delivered as IFC."""
    axes = flat_axes(block.polygon, block.angle)
    shape = ell(*BIM_SIZE)
    return [Draft(axes.out(shape, 0, 6), "office", BIM_FLOORS, name="五邑规划设计大楼", name_en="Wuyi Planning and Design Building",
                  bim=BIM_STEM, extra={"angle": axes.angle})]  # fmt: skip


def _park(block: Block) -> list[Draft]:
    """A pavilion or two."""
    axes = flat_axes(block.polygon, block.angle)
    return [Draft(axes.out(rect(9, 7), -18, 12), "public", 1, roof="tile", name="榕荫亭", name_en="Banyan Pavilion")]


def _farm(block: Block) -> list[Draft]:
    """A few farm houses at the edge."""
    axes = flat_axes(block.polygon, block.angle)
    return [Draft(axes.out(rect(11, 9), -14 + 16 * i, 20), "residential", 2 + i % 2, roof="tile", flats_per_floor=1) for i in range(3)]


LAYOUTS: dict[str, Callable[[Block, np.random.Generator], list[Draft]]] = {
    "old": lambda b, r: _dense(b, r, 118.0, 0.9, (1, 6)),
    "village": lambda b, r: _dense(b, r, 165.0, 2.4, (3, 7)),
    "slabs": _slabs, "towers": _towers, "industry": _industry, "school": lambda b, _: _school(b), "hospital": lambda b, _: _hospital(b),
    "commerce": lambda b, r: _podium(b, r, "commercial"), "office": lambda b, r: _podium(b, r, "office"),
    "civic": lambda b, _: _civic(b), "bim": lambda b, _: _bim(b), "park": lambda b, _: _park(b), "farm": lambda b, _: _farm(b),
}  # fmt: skip


def make_buildings(seed: int, blocks: list[Block], river: River) -> list[Draft]:
    """All buildings, sorted from south to north in strips."""
    random = rng(seed, "buildings")
    drafts: list[Draft] = []
    estates, towers = 0, 0
    for i, block in enumerate(blocks):
        layout = LAYOUTS.get(block.use)
        if layout is None:
            continue
        found = layout(block, random)
        keep = contained(shapely.buffer(block.polygon, -0.2), [d.polygon for d in found])
        found = [d for d, k in zip(found, keep, strict=True) if k]
        for d in found:
            d.block = i
        if block.use in ("slabs", "towers") and found:
            zh, en = names.ESTATES[estates % len(names.ESTATES)]
            phase = estates // len(names.ESTATES)
            estates += 1
            for k, d in enumerate(found):
                d.name = f"{zh}{'一二三四五六七八九'[phase]}期{k + 1}栋" if phase else f"{zh}{k + 1}栋"
                d.name_en = f"{en}, phase {phase + 1}, block {k + 1}" if phase else f"{en}, block {k + 1}"
        if block.use == "industry":
            zh, en = names.COMPANIES[i % len(names.COMPANIES)]
            for k, d in enumerate(found):
                d.name, d.name_en = f"{zh}{k + 1}号厂房", f"{en}, works {k + 1}"
        if block.use in ("commerce", "office"):
            for d in (d for d in found if d.floors >= 8):
                zh, en = names.TOWERS[towers % len(names.TOWERS)]
                tail = "" if towers < len(names.TOWERS) else f"{towers // len(names.TOWERS) + 1}"
                d.name, d.name_en, towers = zh + (tail + "座" if tail else ""), en + (" " + tail if tail else ""), towers + 1
        drafts += found
    drafts += _pump_house(river)
    centre = shapely.get_coordinates(shapely.centroid([d.polygon for d in drafts]))
    order = np.lexsort((centre[:, 0].round(1), (centre[:, 1] // 100).astype(int)))
    return [drafts[i] for i in order]


def pump_site(river: River) -> tuple[float, float]:
    """Local position of the drainage pumping station: beside the canal's end, at the levee's foot."""
    x = float(river.canal_xy[0, 0]) + 26.0
    return x, float(river.offset(x, 38.5, True))


def _pump_house(river: River) -> list[Draft]:
    x, y = pump_site(river)
    slope = float(np.arctan2(river.offset(x + 5.0, 38.5, True) - river.offset(x - 5.0, 38.5, True), 10.0))
    house = Axes((x, y), slope).out(rect(13.0, 6.0))
    return [Draft(house, "utility", 1, name="城西排涝泵站", name_en="West Drainage Pumping Station", structure="框架")]


def heights(drafts: list[Draft]) -> Floats:
    """Height above ground, metres, one decimal; high-rises have lower storeys than shops."""
    storey = [min(KINDS[d.use][1], 3.9) if d.floors > 8 else KINDS[d.use][1] for d in drafts]
    metres = [BIM_FLOORS * BIM_STOREY + 1.2 if d.bim else d.floors * s + KINDS[d.use][2] for d, s in zip(drafts, storey, strict=True)]
    return np.round(np.array(metres), 1)


def building_table(seed: int, drafts: list[Draft], streets: Streets, ground: Heights) -> dict[str, Any]:
    """Columns of the buildings layer; geometry in local metres."""
    random = rng(seed, "attributes")
    polygons = np.array([d.polygon for d in drafts], dtype=object)
    area = shapely.area(polygons)
    floors = np.array([d.floors for d in drafts])
    centre = shapely.get_coordinates(shapely.centroid(polygons))
    home = np.array([d.use == "residential" for d in drafts])
    per_floor = np.array([d.flats_per_floor for d in drafts])
    dwellings = np.where(home, np.maximum(per_floor, 1) * floors, 0)
    single = home & (per_floor <= 1)  # self-built houses: one household, or a flat every two floors
    dwellings = np.where(single, np.maximum(1, floors // 2), dwellings)
    people = random.binomial(np.maximum(dwellings * 4, 0), 0.5)  # 2 people a dwelling, vacancy included
    old = np.array([d.structure in ("砖木", "砖混") for d in drafts])
    year = np.where(old, random.integers(1925, 1998, len(drafts)), random.integers(1986, 2024, len(drafts)))
    road = streets.lines
    near = shapely.STRtree(road).nearest(shapely.points(centre))
    along = shapely.line_locate_point(road[near], shapely.points(centre))
    number = (along // 4).astype(int) * 2 + 1 + (np.arange(len(drafts)) % 2)
    return {
        "geometry": polygons,
        "id": [f"440703{i + 1:06d}" for i in range(len(drafts))],
        "name": [d.name or None for d in drafts],
        "name_en": [d.name_en or None for d in drafts],
        "use": [KINDS[d.use][0] for d in drafts],
        "use_en": [d.use for d in drafts],
        "floors": floors.astype(np.int32),
        "height": heights(drafts),
        "ground": np.round(ground.at(centre[:, 0], centre[:, 1]), 2),
        "floor_area": np.round(area * floors, 1),
        "dwellings": dwellings.astype(np.int32),
        "population": people.astype(np.int32),
        "year": year.astype(np.int32),
        "structure": [d.structure or KINDS[d.use][3] for d in drafts],
        "roof": [d.roof for d in drafts],
        "address": [f"{streets.edges[e].name}{n}号" for e, n in zip(near, number, strict=True)],
        "address_en": [f"{n} {streets.edges[e].name_en}" for e, n in zip(near, number, strict=True)],
        "bim": [d.bim or None for d in drafts],
    }
