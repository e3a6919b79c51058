"""Standing water apart from the river: fish ponds and park lakes; and the table of all water bodies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely

from data_samples.blocks import Block, split
from data_samples.frame import Heights, rng, sheet
from data_samples.river import CANAL_LEVEL, DESIGN_LEVEL, NORMAL_LEVEL, WARNING_LEVEL, River
from data_samples.shapes import flat_axes

POND_DEPTH = 2.2


@dataclass(frozen=True)
class Pond:
    """A pond or lake with its permanent level, metres in the 1985 datum."""

    polygon: Any
    level: float
    kind: str
    name: str
    name_en: str


def make_ponds(seed: int, blocks: list[Block], ground: Heights) -> list[Pond]:
    """Rectangular fish ponds between dikes (桑基鱼塘) and a lake in the larger parks."""
    random = rng(seed, "ponds")
    ponds: list[Pond] = []
    lakes = 0
    for block in blocks:
        if block.use == "ponds":
            for lot in split(shapely.buffer(block.polygon, -6.0), 4200.0, random, 7.0):
                basin = shapely.buffer(shapely.buffer(lot, -3.0, join_style="mitre"), 1.5, quad_segs=2)
                if basin.area > 500 and basin.geom_type == "Polygon":
                    number = sum(p.kind == "pond" for p in ponds) + 1
                    ponds.append(Pond(basin, _level(basin, ground, 0.7), "pond", f"围口鱼塘{number}", f"Weikou Fish Pond {number}"))
        elif block.use == "park" and block.polygon.area > 11_000:
            lakes += 1
            axes = flat_axes(block.polygon, block.angle)
            t = np.linspace(0, 2 * np.pi, 48, endpoint=False)
            wave = 1 + 0.16 * np.sin(2 * t + random.uniform(0, 6)) + 0.09 * np.sin(3 * t + random.uniform(0, 6))
            x0, y0, x1, y1 = axes.into(block.polygon).bounds
            ring = np.column_stack([10 + 0.30 * (x1 - x0) * wave * np.cos(t), -12 + 0.24 * (y1 - y0) * wave * np.sin(t)])
            lake = shapely.intersection(axes.out(shapely.Polygon(ring)), shapely.buffer(block.polygon, -9.0))
            if lake.geom_type == "Polygon" and lake.area > 900:
                zh, en = ("东湖", "East Lake") if lakes == 1 else (f"江岸公园{lakes}号湖", f"Jiang'an Park Lake {lakes}")
                ponds.append(Pond(lake, _level(lake, ground, 0.6), "lake", zh, en))
    return ponds


def _level(polygon: Any, ground: Heights, freeboard: float) -> float:
    """A level below the lowest ground at the rim, to the nearest 0.1 m."""
    rim = shapely.get_coordinates(shapely.segmentize(shapely.buffer(polygon, 2.0), 5.0))
    return round(float(ground.at(rim[:, 0], rim[:, 1]).min()) - freeboard, 1)


def water_table(river: River, ponds: list[Pond]) -> dict[str, list[Any]]:
    """Columns of the water layer; `level` is the permanent level, the others the river's stages."""
    levee_free = shapely.intersection(river.corridor(0.0), sheet())
    canal = shapely.intersection(river.canal(0.0), sheet())
    rows: list[tuple[Any, ...]] = [
        (levee_free, "江岸河", "Jiang'an River", "river", NORMAL_LEVEL, WARNING_LEVEL, DESIGN_LEVEL),
        (canal, "西涌", "West Creek", "canal", CANAL_LEVEL, 1.6, 2.0),
    ]
    rows += [(p.polygon, p.name, p.name_en, p.kind, p.level, None, None) for p in ponds]
    keys = ("geometry", "name", "name_en", "kind", "level", "warning_level", "design_level")
    table: dict[str, list[Any]] = {k: [r[i] for r in rows] for i, k in enumerate(keys)}
    table["id"] = [f"SX{i + 1:04d}" for i in range(len(rows))]
    return table


def levee_table(river: River) -> dict[str, list[Any]]:
    """Levee axes in 200 m reaches, 3D along the crest; `crest` is the reach's lowest crest."""
    table: dict[str, list[Any]] = {k: [] for k in ("geometry", "id", "name", "name_en", "crest", "crest_width", "grade")}
    for north, zh, en in ((True, "北堤", "North Levee"), (False, "南堤", "South Levee")):
        line = shapely.get_coordinates(river.line(20.0, north, 10.0))
        crest = river.crest(line[:, 0], north)
        for k, i in enumerate(range(0, len(line) - 1, 20)):
            part, top = line[i : i + 21], crest[i : i + 21]
            table["geometry"].append(shapely.linestrings(np.column_stack([part, np.round(top, 2)])))
            table["id"].append(f"DF{'N' if north else 'S'}{k + 1:02d}")
            table["name"].append(f"{zh}第{k + 1}段")
            table["name_en"].append(f"{en}, reach {k + 1}")
            table["crest"].append(round(float(top.min()), 2))
            table["crest_width"].append(6.0)
            table["grade"].append("4级" if top.min() > 5.2 else "4级(险段)")
    return table
