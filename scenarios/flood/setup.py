"""From parameters and layers to a running flood, and from a checkpoint back to one."""

from __future__ import annotations

from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from pydantic import ValidationError
from scipy import ndimage

from scenarios.contract import World
from scenarios.flood import rainfall, series, swmm
from scenarios.flood.domain import Domain, build, burn
from scenarios.flood.ensemble import Ensemble
from scenarios.flood.links import Links
from scenarios.flood.losses import Losses
from scenarios.flood.model import Cells, Flood, Source
from scenarios.flood.params import Params
from scenarios.flood.part import Part
from scenarios.flood.solver import SIDES, Solver
from scenarios.flood.structure_params import ROWS, Bridge, Crest, Culvert, Gate, Pump, Structure, names
from scenarios.flood.structures import Faces
from scenarios.flood.trace import metres
from scenarios.flood.watch import Watch
from twin import crs
from twin.errors import BadOption


def start(params: Params, world: World) -> Flood | Ensemble:
    """Read the layers and fill the field at its first moment; with uncertain parameters, three runs one after the other.

    Raises:
        BadOption: an area outside the terrain, a gauge or inflow in a wall, water that lies outside; nothing that brings water.
        BadInput: a series or network that cannot be read. OverLimit: too many cells.
    """
    if params.uncertain:
        return Ensemble(params, world, lambda member: single(params.member(member), world))
    return single(params, world)


def resume(params: Params, world: World, saved: dict[str, NDArray[Any]]) -> Flood | Ensemble:
    """Go on from a checkpoint; takes the same steps as an uninterrupted run."""
    model = start(params, world)
    try:
        model.restore(saved)
    except BaseException:
        model.close()
        raise
    return model


def single(params: Params, world: World) -> Flood:
    """One run."""
    p = params
    if p.rain == "none" and p.inflow_point is None and not p.inflows and not p.water and p.initial_level is None and not p.network_inp:
        raise BadOption("Nothing brings water to this run.", "Give rain, inflow_point, inflows, water with a level, a network, or initial_level.")
    origin = series.moment(p.start)
    held = _series(p.level_csv, p.level, "level", origin).shifted(p.level_offset_m) if p.water else None
    domain = build(p, world)
    solver = Solver(domain.bed, p.cell, p.roughness, p.scheme, blocked=domain.walls, open_sides=SIDES if p.open_edges else (), rain_weight=domain.rain_weight)
    rain = rainfall.build(p, world, domain)
    model = Flood(p, world, domain, solver, Losses(p, world, domain, solver), rainfall.Rainfall(rain) if rain is not None else None)
    _inflows(p, model, origin)
    if held is not None:
        rows, columns = np.nonzero(burn(world, p.water, domain.horizontal, domain.transform, domain.bed.shape, touched=True) & ~domain.walls)
        if not len(rows):
            raise BadOption(f"Water layer {p.water!r} covers no ground of the area.", "Choose another layer or area.")
        model.level = held, (rows.astype(np.int64), columns.astype(np.int64))
        _say_end(world, "level", held, p.hours)
    if p.gauges is not None:
        model.gauges = domain.require_inside(np.array(p.gauges, np.float64).reshape(-1, 2), "Gauge")
    if p.initial_level is not None:
        solver.set_level(p.initial_level)
        model.ledger["initial"] = solver.volume()
    if p.scheme == "inertial":
        world.report.note("assumed", "scheme", "local inertial: fit for slow flow over gentle ground; a breach, a dam break or a steep street needs scheme=hllc")
    model.parts = _structures(p, world, domain, solver)
    if p.network_inp.strip():
        held_cells = np.zeros(domain.bed.shape, np.bool_)
        if model.level is not None:
            held_cells[model.level[1]] = True
        drainage = swmm.build(p, world, domain, solver, held_cells)
        model.parts.append(drainage)
        if p.roof == "network" and model.rain is not None:
            _roofs_to_network(model, drainage)
    model.parts.append(Watch(p, world, domain, solver))
    return model


def _inflows(p: Params, model: Flood, origin: float | None) -> None:
    """The single inflow and the rows; each has its own entry in the ledger."""
    if p.inflow_point is not None:
        cells = model.domain.require_inside(np.array([p.inflow_point], np.float64), "The inflow")
        model.inflows.append(Source("inflow", _series(p.inflow_csv, p.inflow_m3_s, "flow", origin).scaled(p.inflow_factor), cells))
    for i, row in enumerate(p.inflows, 1):
        label = row.name or f"inflow-{i}"
        flow = _series(row.csv, row.flow_m3_s, "flow", origin, label).scaled(p.inflow_factor)
        model.inflows.append(Source(f"inflow:{label}", flow, _along(model.domain, row.line, f"Inflow {label!r}")))
    seen = [source.name for source in model.inflows]
    if len(set(seen)) < len(seen):
        raise BadOption("inflows: a name stands twice.", "Give each its own.")
    for source in model.inflows:
        model.ledger[source.name] = 0.0
        _say_end(model.world, source.name, source.flow, p.hours)


def _say_end(world: World, name: str, flow: series.Series, hours: float) -> None:
    if len(flow.times) > 1 and flow.times[-1] < hours * 3600:
        world.report.note("assumed", name, f"its series ends at {flow.times[-1]:.0f} s; the last value {flow.values[-1]:g} holds to the end")
    if len(flow.times) > 1 and flow.times[0] > 0:
        world.report.note("assumed", name, f"its series begins at {flow.times[0]:.0f} s; the first value {flow.values[0]:g} holds before")


def _along(domain: Domain, line: tuple[tuple[float, float], ...], what: str) -> Cells:
    """The cells of a place, or those that a line passes; walls on its way are left out."""
    if len(line) == 1:
        return domain.require_inside(np.array(line, np.float64), what)
    xy = shapely.get_coordinates(shapely.segmentize(shapely.LineString(metres(domain, line)), domain.transform.a / 4))
    column, row = ~domain.transform * (xy[:, 0], xy[:, 1])
    cells = np.unique(np.floor(np.column_stack([row, column])).astype(np.int64), axis=0)
    inside = (cells >= 0).all(axis=1) & (cells < domain.bed.shape).all(axis=1)
    if not inside.all():
        raise BadOption(f"{what} leaves the area of the run.", "Shorten it or widen bbox.")
    cells = cells[~domain.walls[tuple(cells.T)]]
    if not len(cells):
        raise BadOption(f"{what} lies in buildings or voids of the terrain.", "Move it to open ground.")
    return cells[:, 0].copy(), cells[:, 1].copy()


def _structures(p: Params, world: World, domain: Domain, solver: Solver) -> list[Part]:
    """The parts for structures on faces and for culverts and pumps."""
    rows = (*p.structures, *_surveyed(p, world))
    both = list(zip(rows, names(rows), strict=True))
    faces = [(row, label) for row, label in both if row.kind not in ("culvert", "pump")]
    links = [(row, label) for row, label in both if row.kind in ("culvert", "pump")]
    found: list[Part] = []
    if faces:
        found.append(Faces(solver, domain, [row for row, _ in faces], [label for _, label in faces], world.report))
    if links:
        found.append(Links(solver, domain, [row for row, _ in links], [label for _, label in links]))
    return found


def _surveyed(p: Params, world: World) -> tuple[Structure, ...]:
    """Structures from the features of a layer: its columns are the fields of a row, the id its name unless it has one.

    Raises:
        BadOption: a feature that is no single line or point, or whose columns make no row; names it.
    """
    if not p.structures_layer:
        return ()
    known = {name for kind in (Crest, Gate, Bridge, Culvert, Pump) for name in kind.model_fields}
    found: list[Structure] = []
    for chunk in world.features(p.structures_layer):
        for name, shape, values in zip(chunk.ids.to_pylist(), chunk.geometry, chunk.attributes.to_pylist(), strict=True):
            where = f"layer {p.structures_layer!r}, feature {name}"
            parts = list(getattr(shape, "geoms", [shape]))
            if len(parts) != 1 or parts[0].geom_type not in ("LineString", "Point"):
                raise BadOption(f"{where}: it is a {shape.geom_type}; a structure is one line (a pump out of the area: one point).", "Split or redraw it.")
            xy = shapely.get_coordinates(parts[0])
            lon, lat = crs.to_lonlat(chunk.reference.horizontal, xy[:, 0], xy[:, 1])
            row = {key: value for key, value in values.items() if key in known and value is not None and key != "line"}
            row = {**row, "name": row.get("name") or name, "line": [(float(a), float(b)) for a, b in zip(lon, lat, strict=True)]}
            try:
                found.extend(ROWS.validate_python([row]))
            except ValidationError as error:
                raise BadOption(f"{where}: {'; '.join(e['msg'] for e in error.errors())}.", "See docs/flood.md for the columns of each kind.") from error
    return tuple(found)


def _roofs_to_network(model: Flood, drainage: swmm.Drainage) -> None:
    """Each blocked building's cells drain to the coupled node nearest to the building; the ground beside it gets its own rain only."""
    domain, rain = model.domain, model.rain
    if rain is None or not domain.buildings.any():
        return
    labels, count = ndimage.label(domain.buildings, np.ones((3, 3)))
    centres = np.array(ndimage.center_of_mass(domain.buildings, labels, range(1, count + 1))).reshape(-1, 2)
    nodes = np.column_stack(drainage.cells)
    nearest = np.argmin(((centres[:, None] - nodes[None]) ** 2).sum(axis=2), axis=1)
    rain.roofs = np.where(labels > 0, np.concatenate([[-1], nearest])[labels], -1)
    rain.drained = np.zeros(len(drainage.names))
    model.solver.weight[model.solver.inside] = np.where(domain.walls, 0, 1)


def _series(text: str, value: float | None, quantity: str, origin: float | None, name: str = "") -> series.Series:
    return series.linear(text, quantity, origin, name) if text.strip() else series.Series(np.zeros(1), np.array([float(value or 0.0)]))
