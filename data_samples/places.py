"""Named places and critical facilities, and what is watched: gauges, cameras, pumps, the gate.  Series for the gauges."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import shapely

from data_samples.blocks import Block
from data_samples.buildings import Draft, pump_site
from data_samples.city import City
from data_samples.frame import rng
from data_samples.river import CANAL_LEVEL, DESIGN_LEVEL, NORMAL_LEVEL, WARNING_LEVEL
from data_samples.streets import CLASSES


def streets_table(city: City) -> dict[str, Any]:
    """Street centre lines between nodes; `from_node`/`to_node` are shared, one-way runs from `from_node` to `to_node`."""
    edges = city.streets.edges
    zh = {"primary": "主干路", "secondary": "次干路", "tertiary": "支路", "residential": "街坊路", "lane": "巷"}
    return {
        "geometry": list(city.streets.lines),
        "id": [f"DL{i + 1:05d}" for i in range(len(edges))],
        "name": [e.name for e in edges],
        "name_en": [e.name_en for e in edges],
        "class": [zh[e.kind] for e in edges],
        "highway": [e.kind for e in edges],
        "lanes": np.array([CLASSES[e.kind][1] for e in edges], dtype=np.int32),
        "width": [CLASSES[e.kind][0] for e in edges],
        "speed_kmh": np.array([CLASSES[e.kind][2] for e in edges], dtype=np.int32),
        "oneway": [e.oneway for e in edges],
        "bridge": [e.bridge for e in edges],
        "from_node": [f"JD{e.a + 1:05d}" for e in edges],
        "to_node": [f"JD{e.b + 1:05d}" for e in edges],
        "length_m": np.round(shapely.length(city.streets.lines), 2),
    }


def _spot(block: Block) -> Any:
    return shapely.point_on_surface(block.polygon)


def places_table(city: City) -> dict[str, Any]:
    """Districts, landmarks and critical facilities (`critical` true: a flood must not reach them unnoticed)."""
    rows: list[tuple[Any, str, str, str, bool, int]] = []

    def add(point: Any, zh: str, en: str, kind: str, critical: bool = False, capacity: int = 0) -> None:
        rows.append((point, zh, en, kind, critical, capacity))

    river = city.river
    for zh, en, x, inland, north in (
        ("老城区", "Old Quarter", 800, 220, True), ("江岸新区", "Jiang'an New Area", 1900, 420, True), ("西区", "West District", 200, 600, True),
        ("北郊", "North Suburb", 1100, 1250, True), ("东区", "East District", 2750, 400, True), ("江南片区", "South Bank", 1450, 350, False),
        ("江海工业园", "Jianghai Industrial Park", 2600, 400, False), ("围口", "Weikou Ponds", 500, 350, False),
    ):  # fmt: skip
        add(shapely.Point(x, float(river.offset(x, inland, north))), zh, en, "district")
    add(shapely.Point(2900, 2120), "圭峰岭", "Guifeng Hill", "peak")
    add(shapely.Point(1000, float(river.centre(1000))), "江岸河", "Jiang'an River", "river")
    add(shapely.Point(*city.bridge.at([city.bridge.length / 2])[0]), "五邑大桥", "Wuyi Bridge", "bridge")
    schools = [b for b in city.blocks if b.use == "school"]
    for k, block in enumerate(schools):
        zh, en = (
            ("江岸中学", "Jiang'an Middle School") if k == 0 else (f"江岸第{'一二三四五六'[k - 1]}小学", f"Jiang'an Primary School No. {k}")
        )
        add(_spot(block), zh, en, "school", True, 1200)
        add(shapely.transform(_spot(block), lambda c: c + 6.0), zh + "应急避难场所", en + " shelter", "shelter", True, 3000)
    names = {"hospital": ("江岸人民医院", "Riverside People's Hospital"), "civic": ("江岸区政务服务中心", "Jiang'an Civic Service Centre")}
    for block in city.blocks:
        if block.use in names:
            add(_spot(block), *names[block.use], block.use, True, 600 if block.use == "hospital" else 0)
        elif block.use == "park" and block.polygon.area > 20_000:
            add(_spot(block), "江岸公园", "Jiang'an Park", "park")
    for zh, en, x, inland, north in (("滨江消防站", "Riverside Fire Station", 1240, 150, True), ("江南消防站", "South Bank Fire Station", 1560, 300, False),
                                     ("110kV东华变电站", "Donghua 110 kV Substation", 2140, 330, True), ("老城变电站", "Old Quarter Substation", 700, 300, True)):  # fmt: skip
        near = _nearest_building(city, x, float(river.offset(x, inland, north)))
        add(near, zh, en, "fire station" if "消防" in zh else "substation", True)
    add(shapely.Point(*pump_site(river)), "城西排涝泵站", "West Drainage Pumping Station", "pumping station", True)
    keys = ("geometry", "name", "name_en", "kind", "critical", "capacity")
    table: dict[str, Any] = {k: [r[i] for r in rows] for i, k in enumerate(keys)}
    table["id"] = [f"DD{i + 1:04d}" for i in range(len(rows))]
    return table


def _nearest_building(city: City, x: float, y: float) -> Any:
    centres = shapely.point_on_surface(city.buildings["geometry"])
    xy = shapely.get_coordinates(centres)
    return centres[int(np.argmin(np.hypot(xy[:, 0] - x, xy[:, 1] - y)))]


def sensors_table(city: City) -> dict[str, Any]:
    """Gauges and cameras; `datum_level` is the elevation of a level gauge's zero, metres in the 1985 datum."""
    river = city.river
    x0 = float(river.canal_xy[0, 0])
    rows: list[tuple[Any, str, str, str, str, float | None, float | None, float | None]] = []
    for zh, en, x in (
        ("江岸河上游水位站", "Upstream river gauge", 60.0),
        ("五邑大桥水位站", "Wuyi Bridge river gauge", 1540.0),
        ("江岸河下游水位站", "Downstream river gauge", 3140.0),
    ):
        rows.append((shapely.Point(x, float(river.offset(x, -4.0, True))), zh, en, "river stage", "m", 0.0, WARNING_LEVEL, DESIGN_LEVEL))
    rows.append(
        (
            shapely.Point(x0, float(river.offset(x0, 60.0, True))),
            "西涌内河水位站",
            "West Creek gauge",
            "canal stage",
            "m",
            0.0,
            CANAL_LEVEL + 0.8,
            CANAL_LEVEL + 1.2,
        )
    )
    for zh, en, x, y in (
        ("江岸雨量站", "Jiang'an rain gauge", 1420.0, 1600.0),
        ("圭峰岭雨量站", "Guifeng Hill rain gauge", 2900.0, 2120.0),
        ("江南雨量站", "South Bank rain gauge", 1450.0, 350.0),
    ):
        rows.append((shapely.Point(x, y), zh, en, "rain", "mm/h", None, 30.0, 70.0))
    low = _low_nodes(city, 6)
    for k, p in enumerate(low):
        rows.append(
            (
                shapely.Point(*p),
                f"老城内涝点{k + 1}",
                f"Old quarter waterlogging gauge {k + 1}",
                "street depth",
                "m",
                float(city.ground.at(*p)),
                0.15,
                0.4,
            )
        )
    nodes = _busy_nodes(city, 24)
    for k, p in enumerate(nodes):
        rows.append((shapely.Point(*p), f"路口摄像头{k + 1}", f"Junction camera {k + 1}", "camera", "", None, None, None))
    keys = ("geometry", "name", "name_en", "kind", "unit", "datum_level", "warning", "alarm")
    table: dict[str, Any] = {k: [r[i] for r in rows] for i, k in enumerate(keys)}
    table["id"] = [f"CG{i + 1:04d}" for i in range(len(rows))]
    return table


def _low_nodes(city: City, count: int) -> list[Any]:
    """The lowest street junctions behind the levee, at least 120 m apart."""
    nodes = city.streets.nodes
    z = city.ground.at(nodes[:, 0], nodes[:, 1]) + np.where(city.river.distance(nodes[:, 0], nodes[:, 1]) < 40, 99, 0)
    z = z + np.where(city.river.canal_distance(nodes[:, 0], nodes[:, 1]) < 25, 99, 0)
    return _spread(nodes[np.argsort(z, kind="stable")], count, 120.0)


def _busy_nodes(city: City, count: int) -> list[Any]:
    """Junctions where the widest streets meet, at least 200 m apart."""
    weight = np.zeros(len(city.streets.nodes))
    for e in city.streets.edges:
        lanes = {"primary": 6, "secondary": 4, "tertiary": 2}.get(e.kind, 0)
        weight[[e.a, e.b]] += 0 if e.bridge else lanes
    return _spread(city.streets.nodes[np.argsort(-weight, kind="stable")], count, 200.0)


def _spread(points: Any, count: int, gap: float) -> list[Any]:
    kept: list[Any] = []
    for p in points:
        if all(np.hypot(*(p - q)) >= gap for q in kept):
            kept.append(p)
        if len(kept) == count:
            break
    return kept


def structures_table(city: City) -> dict[str, Any]:
    """The sluice under the levee (line, the canal's way out) and the pumps that lift over it when the river is high."""
    river = city.river
    x = float(river.canal_xy[0, 0])
    sluice = shapely.LineString([(x, float(river.offset(x, 36.0, True))), (x, float(river.offset(x, -6.0, True)))])
    px, py = pump_site(river)
    rising = shapely.LineString([(px, py - 5.0), (px, float(river.offset(px, -5.0, True)))])
    rows = [
        (sluice, "西涌水闸", "West Creek Sluice", "gate", 2, 3.0, 2.5, -0.6, 18.0, 1.6, None, "closed above river level 1.6 m"),
        (
            rising,
            "城西排涝泵站1-4号泵",
            "West Pumps 1-4",
            "pump",
            4,
            None,
            None,
            -2.5,
            12.0,
            0.9,
            0.5,
            "starts at 0.9 m, stops at 0.5 m in the creek",
        ),
    ]
    keys = ("geometry", "name", "name_en", "kind", "units", "width", "opening", "sill", "capacity_m3s", "on_level", "off_level", "rule")
    table: dict[str, Any] = {k: [r[i] for r in rows] for i, k in enumerate(keys)}
    table["id"] = ["JZ0001", "JZ0002"]
    table["levee_crest"] = [float(river.crest(x, 1.0)), float(river.crest(px, 1.0))]
    return table


def _day() -> tuple[Any, list[str]]:
    """Minutes and ISO times of the made-up day, every 10 minutes."""
    minutes = np.arange(0, 24 * 60 + 1, 10)
    clock = [f"2025-06-01T{m // 60:02d}:{m % 60:02d}:00+08:00" if m < 1440 else "2025-06-02T00:00:00+08:00" for m in minutes]
    return minutes, clock


def rain_day(city: City) -> list[tuple[str, float]]:
    """Rain intensity of a made-up typhoon day as (HH:MM, mm/h)."""
    minutes, clock = _day()
    t = minutes / 60.0
    rain = 6.0 * np.exp(-(((t - 7) / 3.0) ** 2)) + 78.0 * np.exp(-(((t - 11.2) / 1.1) ** 2)) + 22.0 * np.exp(-(((t - 15) / 2.0) ** 2))
    rain = np.round(np.where(rain > 0.4, rain * rng(city.seed, "series").uniform(0.8, 1.2, len(t)), 0.0), 1)
    return [(c[11:16], float(r)) for c, r in zip(clock, rain, strict=True)]


def write_series(city: City, folder: Path) -> None:
    """Rain and river stage of that day, with units in the header and +08:00 times."""
    minutes, clock = _day()
    t = minutes / 60.0
    stage = NORMAL_LEVEL + 0.45 * np.sin(2 * np.pi * (t - 4.0) / 12.4) + 2.9 * np.exp(-(((t - 15.5) / 5.5) ** 2))
    rain = [r for _, r in rain_day(city)]
    for name, unit, values in (("rain", "mm/h", rain), ("stage", "m (EPSG:5737)", np.round(stage, 3).tolist())):
        lines = [f"time,{name} [{unit}]"] + [f"{c},{v:g}" for c, v in zip(clock, values, strict=True)]
        (folder / f"{name}.csv").write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")


def bim_draft(drafts: list[Draft]) -> Draft:
    """The building that is also delivered as IFC."""
    return next(d for d in drafts if d.bim)
