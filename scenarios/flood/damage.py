"""What flooded buildings lose and who lives in them: depth-damage curves, floor area, people."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import shapely
from numpy.typing import NDArray

from scenarios.contract import World
from scenarios.flood.domain import Domain, move
from scenarios.flood.output_params import STOREY, DamageCurve
from scenarios.flood.params import Params
from twin.errors import BadInput, BadOption
from twin.model import Features

Columns = dict[str, tuple[Any, str, str, str]]
"""By name: values (an array a row), unit, Chinese and English title."""


def losses(p: Params, world: World, chunk: Features, rows: NDArray[np.bool_], depth: NDArray[np.float64], domain: Domain) -> Columns:
    """Columns of the chosen buildings: `flood_damage_share` (0–1), `flood_damage` (where the curve has a value), `flood_people`.

    Depth in the building is that at the wall less `floor_m`. The value at risk is `value_m2` times the ground area. People are those of
    `people_column`, else floor area (ground area × storeys) over `floor_per_person`, storeys being the height over 3 m, rounded.

    Raises:
        BadOption: a column that the layer does not have. BadInput: people that are no number, or fewer than none.
    """
    taken = chunk.attributes.take(pa.array(np.flatnonzero(rows)))
    area = shapely.area(move(chunk.geometry[rows], chunk.reference.horizontal, domain.horizontal))
    inside = np.maximum(depth - p.floor_m, 0)
    share, value = np.zeros(len(area)), np.full(len(area), np.nan)
    uses = column(taken, p.building_use_column, p.buildings) if p.building_use_column else [""] * len(area)
    curves = {curve.use: curve for curve in p.damage_curves}
    for i, use in enumerate(uses):
        curve = curves.get("" if use is None else str(use), curves.get(""))
        if curve is not None:
            share[i] = damage_share(curve, inside[i])
            value[i] = np.nan if curve.value_m2 is None else curve.value_m2 * area[i]
    out: Columns = {"flood_damage_share": (np.round(share, 4), "", "损失率", "Share of the value lost")}
    if any(curve.value_m2 is not None for curve in p.damage_curves):
        loss = share * value
        out["flood_damage"] = pa.array(np.round(loss, 2), mask=np.isnan(loss)), "", "损失（输入币种）", "Damage (currency as entered)"
    out["flood_people"] = people(p, world, taken, area, chunk, rows), "", "受影响人口", "People in the building"
    return out


def damage_share(curve: DamageCurve, depth: float) -> float:
    """Share lost at a depth (m): linear between the curve's points; 0 where there is no water inside."""
    depths, shares = np.array(curve.points, np.float64).T
    return float(np.interp(depth, depths, shares)) if depth > 0 else 0.0


def people(p: Params, world: World, table: pa.Table, area: NDArray[np.float64], chunk: Features, rows: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(N,) people in the buildings."""
    if p.people_column:
        values = column(table, p.people_column, p.buildings)
        ids = chunk.ids.take(pa.array(np.flatnonzero(rows))).to_pylist()
        return np.array([_count(value, f"layer {p.buildings!r}, feature {name}") for value, name in zip(values, ids, strict=True)])
    height = world.version(p.buildings).style.get("height", "height")
    storeys = np.ones(len(area))
    if height in table.column_names:
        known = np.array([_number(value) for value in table.column(height).to_pylist()])
        storeys = np.where(np.isfinite(known), np.maximum(np.rint(np.nan_to_num(known) / STOREY), 1), 1)
    return np.asarray(np.round(area * storeys / p.floor_per_person, 1))


def column(table: pa.Table, name: str, layer: str) -> list[Any]:
    """The values of a column.

    Raises:
        BadOption: there is none of that name.
    """
    if name not in table.column_names:
        raise BadOption(f"Layer {layer!r} has no column {name!r}.", f"Columns: {', '.join(table.column_names)}.")
    return list(table.column(name).to_pylist())


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return float("nan")


def _count(value: Any, where: str) -> float:
    if value is None:
        return 0.0
    number = _number(value)
    if not number >= 0 or number == float("inf"):
        raise BadInput(f"{where}: {value!r} is no number of people.", "The column must hold 0 or more.")
    return number
