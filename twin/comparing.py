"""Two runs of a scenario side by side: what changed, as a table and as layers of differences. Always B less A."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from twin import parts
from twin.city import City
from twin.errors import BadOption, NotFound
from twin.jobs import Job, Jobs
from twin.model import Batch, Column, Features, Grid, Layer, LayerKind, LayerVersion, Reference

NODATA = -9999.0
SAME = 0.01
"""m: differences of depth that are less count as none."""
EDGES = (-1e9, -0.5, -0.15, -0.05, -SAME, SAME, 0.05, 0.15, 0.5, 1e9)
COLORS = ("#2166ac", "#4393c3", "#92c5de", "#d1e5f0", "#f7f7f7", "#fddbc7", "#f4a582", "#d6604d", "#b2182b")
TITLES: dict[str, tuple[LayerKind, dict[str, str]]] = {
    "depth-change": ("raster", {"zh": "最大水深变化（乙减甲）", "en": "Change of greatest depth (B − A)"}),
    "buildings-change": ("vector", {"zh": "受淹建筑变化", "en": "Buildings: newly flooded, spared, deeper, shallower"}),
    "roads-change": ("vector", {"zh": "受淹道路变化", "en": "Roads: newly flooded, spared, deeper, shallower"}),
    "changes": ("table", {"zh": "对比表", "en": "Table of what changed"}),
}
CHANGES = {"new": "新增受淹", "spared": "免于受淹", "deeper": "加深", "shallower": "变浅", "same": "不变"}


@dataclass(frozen=True)
class Outcome:
    """A finished run: its job and the versions that it wrote, by output."""

    job: Job
    versions: dict[str, LayerVersion]


@dataclass(frozen=True)
class Row:
    """A line of the table."""

    quantity: str
    unit: str
    a: float
    b: float


@dataclass(frozen=True)
class Comparison:
    """What changed from run A to run B: the table, and the layers' batches by name (see `TITLES`)."""

    a: Outcome
    b: Outcome
    rows: list[Row]
    layers: dict[str, list[Batch]]


def outcome(city: City, run: str) -> Outcome:
    """A finished run by its job's id, or the newest one of that name.

    Raises:
        NotFound: there is no such run, it has not ended well, or its layers are gone.
    """
    queue = Jobs(city.catalog)
    done = [job for job in queue.list() if job.kind == "run" and job.state == "successful"]
    job = next((job for job in done if job.params.get("name") == run), None)
    if job is None:
        job = queue.get(run)
        if job.kind != "run" or job.state != "successful":
            raise NotFound(f"Job {job.id} is no finished run ({job.kind}, {job.state}).", "twin jobs lists them.")
    outputs = (job.result or {}).get("outputs") or {}
    return Outcome(job, {name: city.manifest(city.catalog.version(value["layer"], value["version"]).manifest) for name, value in outputs.items()})


def compare(city: City, run_a: str, run_b: str) -> Comparison:
    """B less A.

    Raises:
        NotFound: a run that is not there. BadOption: runs of different scenarios, or on different grids.
    """
    a, b = outcome(city, run_a), outcome(city, run_b)
    if a.job.params["scenario"] != b.job.params["scenario"]:
        raise BadOption(f"{run_a!r} is a run of {a.job.params['scenario']}, {run_b!r} one of {b.job.params['scenario']}.", "Compare runs of one scenario.")
    layers: dict[str, list[Batch]] = {}
    depth, measures = _depths(city, a, b)
    if depth is not None:
        layers["depth-change"] = [depth]
    rows = [*measures, *_facts(a, b)]
    for name in ("buildings", "roads"):
        if name in a.versions or name in b.versions:
            found, counted = _features(city, a.versions.get(name), b.versions.get(name), name)
            layers[f"{name}-change"] = found
            rows += counted
    rows += _accounts(city, a, b)
    layers["changes"] = [_table(rows)]
    return Comparison(a, b, rows, layers)


def to_json(found: Comparison) -> dict[str, Any]:
    """The table for people and machines."""
    return {"a": found.a.job.id, "b": found.b.job.id, "rows": [{"quantity": r.quantity, "unit": r.unit, "a": r.a, "b": r.b, "change": r.b - r.a} for r in found.rows]}


def described(name: str, layer: str) -> Layer:
    """The layer that holds one part of a comparison."""
    kind, title = TITLES[layer]
    return Layer(f"{name}-{layer}", kind, title, "公共专题")


def _depths(city: City, a: Outcome, b: Outcome) -> tuple[Grid | None, list[Row]]:
    """The difference of the greatest depths, dry counted as 0, and areas by sign; None where neither run has a depth."""
    both = [_raster(city, one.versions["depth"]) if "depth" in one.versions else None for one in (a, b)]
    known = [grid for grid in both if grid is not None]
    if not known:
        return None, []
    frame = known[0]
    if len(known) == 2 and (known[0].data.shape != known[1].data.shape or not np.allclose(known[0].transform, known[1].transform, atol=1e-6) or known[0].reference != known[1].reference):
        raise BadOption(f"The runs stand on different grids: {_grid_text(known[0])} and {_grid_text(known[1])}.", "Run both with the same terrain, bbox and cell.")
    before, after = (np.where(grid.data[0] == NODATA, 0, grid.data[0]) if grid is not None else np.zeros(frame.data.shape[1:]) for grid in both)
    change = np.where((before > 0) | (after > 0), after - before, NODATA).astype(np.float32)
    area = abs(frame.transform[0] * frame.transform[4])
    rows = [Row("depth_max", "m", float(before.max()), float(after.max())), Row("flooded_area", "m²", float((before > 0).sum()) * area, float((after > 0).sum()) * area),
            Row("area_deeper", "m²", 0.0, float((after > before + SAME).sum()) * area), Row("area_shallower", "m²", 0.0, float((after < before - SAME).sum()) * area),
            Row("depth_sum", "m³", float(before.sum(dtype=np.float64)) * area, float(after.sum(dtype=np.float64)) * area)]  # fmt: skip
    return Grid(frame.reference, change[None], frame.transform, NODATA, (Column("depth_change", "float", "m"),), _legend()), rows


def _raster(city: City, version: LayerVersion) -> Grid:
    import rasterio  # noqa: PLC0415  GDAL takes a while to load

    with rasterio.open(city.lake.path(parts.raster_part(version).key)) as file:
        t = file.transform
        return Grid(version.reference, file.read(), (t.a, t.b, t.c, t.d, t.e, t.f), file.nodata, ())


def _grid_text(grid: Grid) -> str:
    return f"{grid.data.shape[2]} × {grid.data.shape[1]} cells of {grid.transform[0]:g} m from ({grid.transform[2]:g}, {grid.transform[5]:g}) in {grid.reference.horizontal[:20]}"


def _legend() -> dict[str, Any]:
    """Diverging classes: blue where B is shallower, red where it is deeper."""
    entries = []
    for low, high, color in zip(EDGES, EDGES[1:], COLORS, strict=False):
        text = f"< {high:g}" if low < -1e8 else f"> {low:g}" if high > 1e8 else f"{low:+g} … {high:+g}"
        entries.append({"value": [low, high], "color": color, "label": {"zh": text, "en": text}})
    return {"type": "classes", "unit": "m", "title": {"zh": "最大水深变化（米）", "en": "Change of greatest depth (m)"}, "entries": entries}


def _facts(a: Outcome, b: Outcome) -> list[Row]:
    """Figures that both runs report."""
    pair = [next(iter(one.versions.values())).report.get("facts", {}) if one.versions else {} for one in (a, b)]
    units = {"max_speed_m_s": "m/s", "imbalance_share": ""}
    return [Row(name, unit, float(pair[0][name]), float(pair[1][name])) for name, unit in units.items() if all(name in facts for facts in pair)]


def _accounts(city: City, a: Outcome, b: Outcome) -> list[Row]:
    """The ledgers' balancing entries side by side."""
    ledgers: list[dict[str, float]] = []
    for one in (a, b):
        chunks = parts.read_features(city.lake, one.versions["ledger"]) if "ledger" in one.versions else iter(())
        ledgers.append({row["account"]: float(row["volume"]) for chunk in chunks for row in chunk.attributes.to_pylist() if not row["part_of"]})
    names = list(dict.fromkeys([*ledgers[0], *ledgers[1]]))
    return [Row(f"water:{name}", "m³", ledgers[0].get(name, 0.0), ledgers[1].get(name, 0.0)) for name in names]


def _features(city: City, a: LayerVersion | None, b: LayerVersion | None, name: str) -> tuple[list[Batch], list[Row]]:
    """Features of either run with `change`, their depths and the difference; and the counts."""
    sides = [_by_id(parts.read_features(city.lake, version)) if version else {} for version in (a, b)]
    reference = (a or b).reference if (a or b) else Reference("EPSG:4326")  # type: ignore[union-attr]
    ids = sorted(sides[0].keys() | sides[1].keys())
    none: tuple[Any, dict[str, Any]] = (None, {})
    depths = np.array([[side.get(key, none)[1].get("flood_depth") or 0.0 for side in sides] for key in ids], np.float64).reshape(-1, 2)
    change = np.select([depths[:, 0] == 0, depths[:, 1] == 0, depths[:, 1] > depths[:, 0] + SAME, depths[:, 1] < depths[:, 0] - SAME], ["new", "spared", "deeper", "shallower"], "same")
    shapes = np.empty(len(ids), dtype=object)
    shapes[:] = [(sides[1].get(key) or sides[0][key])[0] for key in ids]
    schema = pa.schema([pa.field("change", pa.string(), metadata={"title_zh": "变化", "title_en": "Change"}), pa.field("change_zh", pa.string(), metadata={"title_zh": "变化（中文）", "title_en": "Change (Chinese)"}),
                        *(pa.field(column, pa.float64(), metadata={"unit": "m", "title_zh": zh, "title_en": en})
                          for column, zh, en in (("depth_a", "甲水深", "Depth in A"), ("depth_b", "乙水深", "Depth in B"), ("depth_change", "水深变化", "Change of depth")))])  # fmt: skip
    table = pa.table([change.tolist(), [CHANGES[c] for c in change], depths[:, 0], depths[:, 1], depths[:, 1] - depths[:, 0]], schema=schema)
    rows = [Row(f"{name}_flooded", "", float(len(sides[0])), float(len(sides[1]))), Row(f"{name}_new", "", 0.0, float((change == "new").sum())),
            Row(f"{name}_spared", "", 0.0, float((change == "spared").sum()))]  # fmt: skip
    for column, unit in (("flood_people", ""), ("flood_damage", "")):
        sums = [[row[1][column] for row in side.values() if row[1].get(column) is not None] for side in sides]
        if any(sums):
            rows.append(Row(f"{name}_{column.removeprefix('flood_')}", unit, float(sum(sums[0])), float(sum(sums[1]))))
    return ([Features(reference, pa.array(ids, pa.string()), shapes, table)] if ids else []), rows


def _by_id(chunks: Iterable[Features]) -> dict[str, tuple[Any, dict[str, Any]]]:
    """(geometry, attributes that differ between runs) by id."""
    found = {}
    for chunk in chunks:
        names = [name for name in ("flood_depth", "flood_people", "flood_damage") if name in chunk.attributes.column_names]
        rows = chunk.attributes.select(names).to_pylist() if names else [{}] * len(chunk)
        found.update({identity: (shape, row) for identity, shape, row in zip(chunk.ids.to_pylist(), chunk.geometry, rows, strict=True)})
    return found


def _table(rows: list[Row]) -> Features:
    """The table as a layer: rows without geometry."""
    numbers: list[NDArray[np.float64]] = [np.array(values, np.float64) for values in ([r.a for r in rows], [r.b for r in rows], [r.b - r.a for r in rows])]
    table = pa.table({"quantity": [r.quantity for r in rows], "unit": [r.unit for r in rows], "a": numbers[0], "b": numbers[1], "change": numbers[2]})
    return Features(Reference("EPSG:4326"), pa.array([f"{i:03d}" for i in range(len(rows))]), np.full(len(rows), None, dtype=object), table)


def as_text(rows: list[Row]) -> str:
    """The table for a terminal."""
    lines = [f"{'':<24} {'A':>16} {'B':>16} {'B − A':>16}"]
    return "\n".join(lines + [f"{r.quantity:<24} {r.a:>16,.4g} {r.b:>16,.4g} {r.b - r.a:>+16,.4g} {r.unit}" for r in rows])
