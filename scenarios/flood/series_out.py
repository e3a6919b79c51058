"""What was measured over time, as layers: gauges, sections and manholes, each with its own series, and all of them in one table of hydrographs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import shapely
from numpy.typing import NDArray

from scenarios.flood.domain import Domain
from scenarios.flood.params import Params
from scenarios.flood.swmm import Drainage
from scenarios.flood.watch import Watch, section_facts
from twin.model import Batch, Features, Reference, Table

WGS84 = Reference("EPSG:4326")


@dataclass(frozen=True)
class Series:
    """One quantity of one thing over time.

    Attributes:
        kind: gauge, section or manhole; name: which; quantity, unit: what; time: (N,) s; values: (N,).
    """

    kind: str
    name: str
    quantity: str
    unit: str
    time: NDArray[np.float64]
    values: NDArray[np.float64]


def of_gauges(p: Params, readings: list[list[float]], bed: NDArray[np.float64]) -> list[Series]:
    """Depth, level and speed; `readings` rows of time s, gauge, depth m, speed m/s; `bed` (gauges,) m in the terrain's datum."""
    rows = np.array(readings, np.float64).reshape(-1, 4)
    found = []
    for i in range(len(p.gauges or ()) // 2):
        time, _, depth, speed = rows[rows[:, 1] == i].T
        name = f"gauge-{i + 1}"
        found += [Series("gauge", name, "depth", "m", time, depth), Series("gauge", name, "level", "m", time, bed[i] + depth), Series("gauge", name, "speed", "m/s", time, speed)]
    return found


def of_sections(watch: Watch) -> list[Series]:
    """Discharge through each section, positive from its left to its right."""
    rows = np.array(watch.flows, np.float64).reshape(-1, 3)
    return [Series("section", line.name, "discharge", "m³/s", rows[rows[:, 1] == i, 0], rows[rows[:, 1] == i, 2]) for i, line in enumerate(watch.lines)]


def of_manholes(network: Drainage | None) -> list[Series]:
    """Exchange (positive: into the network) and head above the rim of the nodes that took or gave water."""
    if network is None:
        return []
    rows = np.array(network.series, np.float64).reshape(-1, 4)
    order = np.argsort(rows[:, 1], kind="stable")
    rows = rows[order]
    edges = np.searchsorted(rows[:, 1], np.arange(len(network.names) + 1))
    found = []
    for i, name in enumerate(network.names):
        if network.inflow[i] or network.outflow[i]:
            time, _, flow, head = rows[edges[i] : edges[i + 1]].T
            found += [Series("manhole", name, "exchange", "m³/s", time, flow), Series("manhole", name, "head_above_rim", "m", time, head)]
    return found


def gauges(p: Params, series: list[Series]) -> list[Batch]:
    """Gauges with their greatest depth and level, and the series as a table."""
    if p.gauges is None:
        return []
    lonlat = np.array(p.gauges).reshape(-1, 2)
    names = [f"gauge-{i + 1}" for i in range(len(lonlat))]
    by = {(s.name, s.quantity): s for s in series if s.kind == "gauge"}
    table = _table({"max_depth": ([_most(by[n, "depth"].values) for n in names], "m", "最大水深", "Greatest depth"),
                    "max_level": ([_most(by[n, "level"].values) for n in names], "m", "最高水位", "Highest level")})  # fmt: skip
    parts = {q: np.concatenate([by[n, q].values for n in names]) for q in ("depth", "level", "speed")}
    times = np.concatenate([by[n, "depth"].time for n in names])
    owner = np.repeat(names, [len(by[n, "depth"].time) for n in names])
    order = np.argsort(times, kind="stable")
    history = pa.table({"gauge": pa.array(owner[order].tolist(), pa.string()), "time": times[order], **{q: values[order] for q, values in parts.items()}})
    return [Features(WGS84, pa.array(names), _objects([shapely.Point(*xy) for xy in lonlat]), table), Table("series", history)]


def sections(p: Params, series: list[Series]) -> list[Batch]:
    """Sections with their greatest discharge, its time and the net volume."""
    if not p.sections:
        return []
    mine = [s for s in series if s.kind == "section"]
    facts = [section_facts(s.time, s.values) for s in mine]
    table = _table({"peak": ([f["peak_m3_s"] for f in facts], "m³/s", "最大流量（左至右为正）", "Greatest discharge (left to right positive)"),
                    "peak_time": ([f["peak_s"] for f in facts], "s", "最大流量时刻", "Time of it"), "volume": ([f["volume_m3"] for f in facts], "m³", "净过水量", "Net volume")})  # fmt: skip
    return [Features(WGS84, pa.array([s.name for s in mine]), _objects([shapely.LineString(row.line) for row in p.sections]), table), Table("series", long(mine))]


def manholes(network: Drainage | None, domain: Domain, series: list[Series]) -> list[Batch]:
    """Coupled nodes that took or gave water, at their cells: volumes and peaks both ways."""
    if network is None:
        return []
    active = np.flatnonzero((network.inflow > 0) | (network.outflow > 0))
    if not len(active):
        return []
    x, y = domain.transform * (network.cells[1][active] + 0.5, network.cells[0][active] + 0.5)
    columns = {"inlet": (network.inflow, "m³", "进入管网", "Into the network"), "overflow": (network.outflow, "m³", "溢出地面", "Back to the surface"),
               "peak_inlet": (network.peak[0], "m³/s", "最大进水流量", "Greatest inflow"), "peak_overflow": (network.peak[1], "m³/s", "最大溢流流量", "Greatest overflow"),
               "peak_overflow_time": (network.peak_time[1], "s", "最大溢流时刻", "Time of it")}  # fmt: skip
    table = _table({name: (values[active].tolist(), unit, zh, en) for name, (values, unit, zh, en) in columns.items()})
    names = pa.array([network.names[i] for i in active])
    return [Features(Reference(domain.horizontal), names, np.asarray(shapely.points(x, y), dtype=object), table), Table("series", long([s for s in series if s.kind == "manhole"]))]


def hydrographs(series: list[Series], domain: Domain) -> list[Batch]:
    """All series as one table layer in long form: kind, name, quantity, unit, time_s, value."""
    rows = long(series)
    return rowed(domain, rows) if rows.num_rows else []


def long(series: list[Series]) -> pa.Table:
    """Series one below the other."""
    sizes = [len(s.time) for s in series]
    texts = {name: pa.array(np.repeat([getattr(s, name) for s in series], sizes).tolist(), pa.string()) for name in ("kind", "name", "quantity", "unit")}
    none = [np.zeros(0)]
    return pa.table({**texts, "time_s": np.concatenate([s.time for s in series] or none), "value": np.concatenate([s.values for s in series] or none)})


def rowed(domain: Domain, table: pa.Table) -> list[Batch]:
    """A table as a layer of its own: features without geometry, so that it can be asked like any layer; ids are row numbers, in order."""
    ids = [f"{i:0{len(str(table.num_rows))}d}" for i in range(table.num_rows)]
    return [Features(Reference(domain.horizontal), pa.array(ids), np.full(table.num_rows, None, dtype=object), table)]


def _most(values: NDArray[np.float64]) -> float:
    return float(values.max()) if len(values) else 0.0


def _objects(shapes: list[Any]) -> NDArray[np.object_]:
    found = np.empty(len(shapes), dtype=object)
    found[:] = shapes
    return found


def _table(columns: dict[str, tuple[list[float], str, str, str]]) -> pa.Table:
    schema = pa.schema([pa.field(name, pa.float64(), metadata={"unit": unit, "title_zh": zh, "title_en": en}) for name, (_, unit, zh, en) in columns.items()])
    return pa.table([pa.array(values, pa.float64()) for values, _, _, _ in columns.values()], schema=schema)
