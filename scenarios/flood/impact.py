"""Who is hit: buildings by the water at their walls with what they lose and who lives there, and critical facilities."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import shapely
from numpy.typing import NDArray
from scipy import ndimage

from scenarios.contract import World
from scenarios.flood.damage import Columns, losses
from scenarios.flood.domain import Domain, move
from scenarios.flood.params import Params
from twin.model import Features


def buildings(world: World, p: Params, domain: Domain, best: NDArray[np.float32]) -> list[Features]:
    """Buildings with water at the wall of at least the threshold: `flood_depth` (m), `flood_entry` (s after the start), and the columns of `damage.losses`.

    The wall takes the deepest open cell among those that its outline crosses and their neighbours.
    """
    depth, arrival = around(domain, best)
    found: list[Features] = []
    for chunk in world.features(p.buildings):
        deepest, first = along(chunk, domain, depth, arrival)
        hit = deepest >= p.threshold
        world.report.read += len(chunk)
        world.report.kept += int(hit.sum())
        if hit.any():
            columns: Columns = {"flood_depth": (np.round(deepest[hit], 3), "m", "墙边最大水深", "Greatest depth at the wall"),
                                "flood_entry": (np.round(first[hit], 0), "s", "进水时间", "Time when water reaches the wall")}  # fmt: skip
            found.append(chosen(chunk, hit, {**columns, **losses(p, world, chunk, hit, deepest[hit], domain)}))
    return found


def facilities(world: World, p: Params, domain: Domain, best: NDArray[np.float32]) -> list[Features]:
    """Critical facilities with water at them: depth and entry as for buildings; a point takes the deepest open cell within one cell of it."""
    depth, arrival = around(domain, best)
    found: list[Features] = []
    for chunk in world.features(p.facilities):
        deepest, first = along(chunk, domain, depth, arrival)
        hit = deepest >= p.threshold
        if hit.any():
            columns: Columns = {"flood_depth": (np.round(deepest[hit], 3), "m", "最大水深", "Greatest depth"), "flood_entry": (np.round(first[hit], 0), "s", "进水时间", "Time of entry")}
            found.append(chosen(chunk, hit, columns))
    return found


def around(domain: Domain, best: NDArray[np.float32]) -> tuple[NDArray[Any], NDArray[Any]]:
    """(greatest depth, earliest arrival) among the open cells of each cell's 3 × 3."""
    depth = ndimage.maximum_filter(np.where(domain.buildings, 0, best[0]), size=3)
    arrival = ndimage.minimum_filter(np.where(domain.buildings | (best[3] < 0), np.inf, best[3]), size=3)
    return depth, arrival


def cells_along(chunk: Features, domain: Domain) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """(rows, columns, feature) of the cells along lines, outlines and at points, sampled every half cell; those inside the grid."""
    moved = move(chunk.geometry, chunk.reference.horizontal, domain.horizontal)
    areal = shapely.get_dimensions(moved) == 2
    lines = shapely.segmentize(np.where(areal, shapely.boundary(moved), moved), domain.transform.a / 2)
    xy, owner = shapely.get_coordinates(lines, return_index=True)
    column, row = ~domain.transform * (xy[:, 0], xy[:, 1])
    rows, columns = domain.bed.shape
    inside = (column >= 0) & (row >= 0) & (column < columns) & (row < rows)
    return row[inside].astype(np.int64), column[inside].astype(np.int64), owner[inside].astype(np.int64)


def along(chunk: Features, domain: Domain, depth: NDArray[Any], arrival: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """((N,) greatest depth, (N,) earliest arrival) along the lines or outlines of features."""
    r, c, owner = cells_along(chunk, domain)
    deepest, first = np.zeros(len(chunk)), np.full(len(chunk), np.inf)
    np.maximum.at(deepest, owner, depth[r, c].astype(np.float64))
    np.minimum.at(first, owner, arrival[r, c].astype(np.float64))
    return deepest, first


def chosen(chunk: Features, rows: NDArray[np.bool_], columns: Columns) -> Features:
    """The chosen rows with columns added (replacing any of the same name)."""
    taken = pa.array(np.flatnonzero(rows))
    table = chunk.attributes.take(taken)
    table = table.drop_columns([name for name in columns if name in table.column_names])
    for name, (values, unit, zh, en) in columns.items():
        array = values if isinstance(values, pa.Array) else pa.array(values)
        meta = {"title_zh": zh, "title_en": en, **({"unit": unit} if unit else {})}
        table = table.append_column(pa.field(name, array.type, metadata=meta), array)
    parents = chunk.parents.take(taken) if chunk.parents is not None else None
    return Features(chunk.reference, chunk.ids.take(taken), chunk.geometry[rows], table, parents)
