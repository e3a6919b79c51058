"""Blocks between the streets, their land use (GB 50137 codes), and the cutting of blocks into lots."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely

from data_samples.frame import Floats, rng, sheet
from data_samples.river import LEVEE_TOE, River
from data_samples.streets import POND_EAST, Streets
from data_samples.terrain import old_quarter_weight

# use -> GB 50137-2011 code, Chinese, English, impervious fraction, Manning n, yields of the later scenarios
USES: dict[str, tuple[str, str, str, float, float]] = {
    "old": ("R3", "老城居住用地", "Old-quarter housing", 0.90, 0.030),
    "slabs": ("R2", "二类居住用地", "Housing", 0.62, 0.040),
    "towers": ("R2", "二类居住用地", "Housing", 0.60, 0.040),
    "village": ("R3", "城中村居住用地", "Urban village", 0.85, 0.030),
    "commerce": ("B1", "商业用地", "Commerce", 0.88, 0.025),
    "office": ("B2", "商务用地", "Offices", 0.80, 0.025),
    "bim": ("B2", "商务用地", "Offices", 0.70, 0.025),
    "civic": ("A1", "行政办公用地", "Administration", 0.70, 0.025),
    "school": ("A33", "中小学用地", "School", 0.55, 0.035),
    "hospital": ("A5", "医疗卫生用地", "Hospital", 0.75, 0.025),
    "industry": ("M1", "工业用地", "Industry", 0.85, 0.022),
    "park": ("G1", "公园绿地", "Park", 0.08, 0.080),
    "farm": ("E2", "农林用地", "Farmland", 0.03, 0.070),
    "ponds": ("E13", "坑塘水面", "Fish ponds", 0.00, 0.035),
    "green": ("G2", "防护绿地", "Green belt", 0.05, 0.060),
    "hill": ("E2", "林地", "Hill forest", 0.03, 0.120),
    "street": ("S1", "城市道路用地", "Streets", 0.95, 0.018),
    "canal bank": ("G2", "河涌绿带", "Canal bank", 0.05, 0.060),
    "levee": ("H2", "堤防用地", "Levee", 0.20, 0.040),
    "water": ("E1", "水域", "Water", 0.00, 0.028),
}
FIXED = {  # special blocks: use -> wanted places (local x, y); the nearest large enough free block is taken
    "bim": [(1570.0, 1370.0)],
    "civic": [(1700.0, 1620.0)],
    "hospital": [(1180.0, 1580.0)],
    "school": [(860.0, 1480.0), (2250.0, 1500.0), (200.0, 1550.0), (1650.0, 420.0), (1900.0, 2080.0)],
    "park": [(1750.0, 1350.0), (640.0, 1800.0), (2330.0, 1750.0), (1330.0, 430.0), (2600.0, 1250.0)],
}
BIG = {"bim": 7_000, "civic": 9_000, "hospital": 12_000, "school": 12_000, "park": 9_000}


@dataclass(frozen=True)
class Block:
    """A piece of land between streets with one use; `angle` is the direction of its longer side, radians."""

    polygon: Any
    use: str
    angle: float


def long_angle(polygon: Any) -> float:
    """Direction of the longer side of the minimum rotated rectangle, radians in (-pi/2, pi/2]."""
    ring = shapely.get_coordinates(shapely.oriented_envelope(polygon))
    sides = np.diff(ring[:3], axis=0)
    d = sides[int(np.argmax(np.hypot(*sides.T)))]
    angle = float(np.arctan2(d[1], d[0]))
    return (angle + np.pi / 2) % np.pi - np.pi / 2


def split(polygon: Any, area: float, random: np.random.Generator, gap: float = 0.0) -> list[Any]:
    """Cut a polygon across its longer side, again and again, until every lot is about `area` m2."""
    done, stack = [], [polygon]
    while stack:
        p = stack.pop()
        if p.area < area * random.uniform(1.0, 1.9):
            done.append(p)
            continue
        ring = shapely.get_coordinates(shapely.oriented_envelope(p))
        sides = np.diff(ring[:4], axis=0)
        length = np.hypot(*sides.T)
        i = int(np.argmax(length[:2]))
        d, across = sides[i] / length[i], sides[i + 1] if i == 0 else -sides[0]
        start, cut = ring[i], length[i] * random.uniform(0.42, 0.58)
        for low, high in ((-1.0, cut - gap / 2), (cut + gap / 2, length[i] + 1.0)):
            a, b = start + d * low, start + d * high
            half = shapely.Polygon([a - across * 0.1, b - across * 0.1, b + across * 1.1, a + across * 1.1])
            part = shapely.intersection(p, half)
            parts = [g for g in shapely.get_parts(part) if g.geom_type == "Polygon"]
            stack += [g for g in parts if g.area > 12.0]
    return done


def _zone(x: float, y: float, open_land: bool, river: River, random: np.random.Generator) -> str:
    """Use of an ordinary block by where it lies; `open_land` has no streets all around and is fields."""
    inland = float(river.distance(x, y))
    pick = random.random()
    if open_land and (x > POND_EAST or y > float(river.centre(x))):
        return "farm"
    if y < float(river.centre(x)):
        if x < POND_EAST:
            return "ponds" if inland > 40 else "green"
        if x > 2000.0:
            return "industry" if pick < 0.88 else "village" if pick < 0.93 else "farm"
        return "slabs" if pick < 0.5 else "towers" if pick < 0.62 else "village" if pick < 0.78 else "commerce" if pick < 0.92 else "park"
    if float(old_quarter_weight(x, y, river)) > 0.5:
        return "old" if pick < 0.95 else "commerce"
    if 1230 < x < 2150 and inland < 640:
        return "office" if pick < 0.45 else "commerce" if pick < 0.78 else "towers" if pick < 0.9 else "park"
    if x >= 2150:
        return "towers" if pick < 0.34 else "slabs" if pick < 0.74 else "commerce" if pick < 0.86 else "park"
    if y > 2050:
        return "farm" if pick < 0.25 else "village" if pick < 0.4 else "slabs" if pick < 0.8 else "industry"
    return "slabs" if pick < 0.62 else "village" if pick < 0.70 else "towers" if pick < 0.82 else "commerce" if pick < 0.92 else "park"


def make_blocks(seed: int, river: River, streets: Streets, hill_zone: Any) -> list[Block]:
    """All land as blocks (streets, levees and water are not among them)."""
    random = rng(seed, "blocks")
    reserves = shapely.union_all(streets.reserves())
    canal = river.canal(14.0)
    taken = shapely.union_all([reserves, river.corridor(LEVEE_TOE), hill_zone, canal])
    land = shapely.difference(sheet(), taken)
    parts = [g for g in shapely.get_parts(land) if g.area > 30.0]
    centres: Floats = shapely.get_coordinates(shapely.point_on_surface(parts))
    parts = [parts[i] for i in np.lexsort((centres[:, 0].round(1), centres[:, 1].round(1)))]
    centres = shapely.get_coordinates(shapely.centroid(parts))
    inner = shapely.area(shapely.buffer(parts, -9.0))
    fringe = shapely.union(shapely.boundary(sheet()), shapely.buffer(hill_zone, 1.0))
    rim = (shapely.area(parts) > 26_000) & shapely.intersects(parts, fringe)
    uses = [
        "green" if a < 350 or float(river.distance(x, y)) < 46 else _zone(x, y, bool(o), river, random)
        for a, o, (x, y) in zip(inner, rim, centres, strict=True)
    ]
    free = np.array([u not in ("green", "ponds") for u in uses])
    for use, wanted in FIXED.items():
        for point in wanted:
            away = np.hypot(*(centres - np.array(point)).T) + np.where(free & (inner > BIG[use]), 0, 1e6)
            best = int(np.argmin(away))
            uses[best], free[best] = use, False
    blocks = [Block(p, u, long_angle(p)) for p, u in zip(parts, uses, strict=True)]
    banks = shapely.difference(shapely.difference(canal, river.canal(0.0)), taken_streets(reserves, river))
    blocks += [Block(g, "canal bank", 0.0) for g in shapely.get_parts(banks) if g.geom_type == "Polygon" and g.area > 1.0]
    hill = shapely.difference(hill_zone, shapely.union_all([reserves, canal]))
    return blocks + [Block(g, "hill", 0.0) for g in shapely.get_parts(hill) if g.area > 1.0]


def taken_streets(reserves: Any, river: River) -> Any:
    """Streets and the levee corridor as one area."""
    return shapely.union(reserves, river.corridor(LEVEE_TOE))


def landuse_table(blocks: list[Block], river: River, streets: Streets) -> dict[str, list[Any]]:
    """A covering of the whole sheet: blocks, streets, levees, water; what is left over becomes green belt."""
    reserves = shapely.intersection(shapely.union_all(streets.reserves()), sheet())
    water = shapely.intersection(shapely.union(river.corridor(0.0), river.canal(0.0)), sheet())
    corridor = shapely.intersection(river.corridor(LEVEE_TOE), sheet())
    streets_only = shapely.difference(reserves, shapely.union(corridor, water))
    parts = [(b.polygon, b.use) for b in blocks]
    parts += [(g, "street") for g in shapely.get_parts(streets_only)]
    parts += [(g, "levee") for g in shapely.get_parts(shapely.difference(corridor, water))]
    parts += [(g, "water") for g in shapely.get_parts(water)]
    rest = shapely.difference(sheet(), shapely.union_all([p for p, _ in parts], grid_size=1e-3))
    parts += [(g, "green") for g in shapely.get_parts(rest) if g.area > 0.5]
    parts = [(g, u) for g, u in parts if g.geom_type == "Polygon" and g.area > 0.5]
    table: dict[str, list[Any]] = {"geometry": [p for p, _ in parts]}
    table["id"] = [f"YD{i + 1:04d}" for i in range(len(parts))]
    for i, key in enumerate(("code", "name", "name_en", "imperv", "manning")):
        table[key] = [USES[u][i] for _, u in parts]
    table["use"] = [u for _, u in parts]
    return table
