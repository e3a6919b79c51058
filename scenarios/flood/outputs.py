"""The layers that a run writes, with their legends."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import shapely
from numpy.typing import NDArray

from scenarios.contract import World
from scenarios.flood import impact
from scenarios.flood.domain import Domain
from scenarios.flood.params import Params
from twin.model import Batch, Column, Features, Grid, Reference, Table

NODATA = -9999.0


def maxima(p: Params, world: World, domain: Domain, best: NDArray[np.float32]) -> dict[str, list[Batch]]:
    """Rasters of the maxima and who is hit; `best` as in `kernels.sources.record`."""
    wet = best[0] >= p.threshold
    out: dict[str, list[Batch]] = {}
    for name, (band, unit) in {"depth": (0, "m"), "velocity": (1, "m/s"), "hazard": (2, ""), "arrival": (3, "s"), "duration": (4, "s")}.items():
        out[name] = raster(domain, np.where(wet, best[band], NODATA), name, unit)
    out["depth-least"], out["depth-most"] = [], []
    out["buildings"] = list(impact.buildings(world, p.buildings, domain, best, p.threshold)) if p.buildings else []
    out["roads"] = list(impact.roads(world, p.roads, domain, best, p.threshold)) if p.roads else []
    return out


def raster(domain: Domain, values: NDArray[Any], name: str, unit: str, legend: str = "") -> list[Batch]:
    """One raster, or none where nothing is known."""
    if not (values != NODATA).any():
        return []
    return [Grid(Reference(domain.horizontal), values.astype(np.float32)[None], tuple(domain.transform[:6]), NODATA, (Column(name, "float", unit),), LEGENDS[legend or name])]


def gauges(places: tuple[float, ...] | None, readings: list[list[float]]) -> list[Batch]:
    """Gauges with their greatest depth, and the series as a table; `readings` rows of time s, gauge, depth m, speed m/s."""
    if places is None:
        return []
    lonlat = np.array(places).reshape(-1, 2)
    rows = np.array(readings, np.float64).reshape(-1, 4)
    number = rows[:, 1].astype(np.int64)
    names = [f"gauge-{i + 1}" for i in range(len(lonlat))]
    greatest = [float(rows[number == i, 2].max(initial=0.0)) for i in range(len(lonlat))]
    table = pa.table({"max_depth": pa.array(greatest)}, schema=pa.schema([pa.field("max_depth", pa.float64(), metadata={"unit": "m", "title_zh": "最大水深", "title_en": "Greatest depth"})]))
    history = pa.table({"gauge": pa.array([names[i] for i in number]), "time": pa.array(rows[:, 0]), "depth": pa.array(rows[:, 2]), "speed": pa.array(rows[:, 3])})
    return [Features(Reference("EPSG:4326"), pa.array(names), np.array([shapely.Point(*xy) for xy in lonlat], dtype=object), table), Table("series", history)]


def _classes(unit: str, zh: str, en: str, edges: list[float], colors: list[str]) -> dict[str, Any]:
    """A legend of classes between `edges`, the last one open."""
    tops = [*edges[1:], 1e9]
    labels = [f"{a:g}–{b:g}" if b < 1e9 else f"> {a:g}" for a, b in zip(edges, tops, strict=True)]
    return {"type": "classes", "unit": unit, "title": {"zh": zh, "en": en},
            "entries": [{"value": [a, b], "color": c, "label": {"zh": t, "en": t}} for a, b, c, t in zip(edges, tops, colors, labels, strict=True)]}  # fmt: skip


BLUES = ["#d6ecfa", "#a3d0f0", "#6aaee0", "#3a83c5", "#1f5a9e", "#12366b"]
WARM = ["#fff3b0", "#ffd166", "#f79d4b", "#e4572e", "#a3123a"]
LEGENDS = {
    "depth": _classes("m", "最大水深（米）", "Greatest depth (m)", [0.0, 0.15, 0.3, 0.6, 1.2, 2.5], BLUES),
    "velocity": _classes("m/s", "最大流速（米/秒）", "Greatest speed (m/s)", [0.0, 0.25, 0.5, 1.0, 2.0], WARM),
    "hazard": _classes("", "洪水危险度", "Flood hazard rating", [0.0, 0.75, 1.25, 2.0], ["#bfe3b4", "#ffd166", "#f79d4b", "#c9184a"]),
    "arrival": _classes("s", "到达时间（秒）", "Arrival time (s)", [0.0, 600.0, 1800.0, 3600.0, 7200.0], WARM[::-1]),
    "duration": _classes("s", "淹没历时（秒）", "Time under water (s)", [0.0, 600.0, 1800.0, 3600.0, 7200.0], BLUES[1:]),
}
