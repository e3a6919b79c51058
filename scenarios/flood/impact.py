"""Who is hit: buildings by the water at their walls, roads by the water on them, gauges over time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import shapely
from numpy.typing import NDArray
from scipy import ndimage

from scenarios.contract import World
from scenarios.flood.domain import Domain, move
from twin.model import Features

CLOSURE = ((0.15, "open", "可通行"), (0.3, "slow", "缓行"), (0.5, "closed to cars", "小汽车禁行"), (np.inf, "closed", "全部禁行"))
"""Depth limits: speed falls from 0.15 m, cars stop at 0.3 m (Pregnolato et al. 2017, doi:10.1016/j.trd.2017.06.020), high vehicles at 0.5 m."""


def buildings(world: World, layer: str, domain: Domain, best: NDArray[np.float32], threshold: float) -> list[Features]:
    """Buildings with water at the wall of at least `threshold` m: `flood_depth` (m) and `flood_entry` (s after the start).

    The wall takes the deepest open cell among those that its outline crosses and their neighbours.
    """
    depth = ndimage.maximum_filter(np.where(domain.buildings, 0, best[0]), size=3)
    arrival = ndimage.minimum_filter(np.where(domain.buildings | (best[3] < 0), np.inf, best[3]), size=3)
    found: list[Features] = []
    for chunk in world.features(layer):
        deepest, first = _along(chunk, domain, depth, arrival)
        hit = deepest >= threshold
        world.report.read += len(chunk)
        world.report.kept += int(hit.sum())
        if hit.any():
            columns = {"flood_depth": (np.round(deepest[hit], 3), "m", "墙边最大水深", "Greatest depth at the wall"),
                       "flood_entry": (np.round(first[hit], 0), "s", "进水时间", "Time when water reaches the wall")}  # fmt: skip
            found.append(_with(chunk, hit, columns))
    return found


def roads(world: World, layer: str, domain: Domain, best: NDArray[np.float32], threshold: float) -> list[Features]:
    """Road features under at least `threshold` m: `flood_depth`, `flood_entry`, `flood_closure` (see `CLOSURE`)."""
    arrival = np.where(best[3] < 0, np.inf, best[3])
    found: list[Features] = []
    for chunk in world.features(layer):
        deepest, first = _along(chunk, domain, best[0], arrival)
        hit = deepest >= threshold
        if hit.any():
            grade = np.searchsorted([limit for limit, _, _ in CLOSURE[:-1]], deepest[hit], side="right")
            columns = {"flood_depth": (np.round(deepest[hit], 3), "m", "路面最大水深", "Greatest depth on the road"),
                       "flood_entry": (np.round(first[hit], 0), "s", "上水时间", "Time when water reaches the road"),
                       "flood_closure": (np.array([CLOSURE[g][1] for g in grade]), "", "通行状态", "Closure"),
                       "flood_closure_zh": (np.array([CLOSURE[g][2] for g in grade]), "", "通行状态（中文）", "Closure (Chinese)")}  # fmt: skip
            found.append(_with(chunk, hit, columns))
    return found


def _along(chunk: Features, domain: Domain, depth: NDArray[Any], arrival: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """((N,) greatest depth, (N,) earliest arrival) along the lines or outlines of features, sampled every half cell."""
    moved = move(chunk.geometry, chunk.reference.horizontal, domain.horizontal)
    areal = shapely.get_dimensions(moved) == 2
    lines = shapely.segmentize(np.where(areal, shapely.boundary(moved), moved), domain.transform.a / 2)
    xy, owner = shapely.get_coordinates(lines, return_index=True)
    column, row = ~domain.transform * (xy[:, 0], xy[:, 1])
    inside = (column >= 0) & (row >= 0) & (column < depth.shape[1]) & (row < depth.shape[0])
    r, c, owner = row[inside].astype(np.int64), column[inside].astype(np.int64), owner[inside]
    deepest, first = np.zeros(len(chunk)), np.full(len(chunk), np.inf)
    np.maximum.at(deepest, owner, depth[r, c].astype(np.float64))
    np.minimum.at(first, owner, arrival[r, c].astype(np.float64))
    return deepest, first


def _with(chunk: Features, rows: NDArray[np.bool_], columns: dict[str, tuple[NDArray[Any], str, str, str]]) -> Features:
    """The chosen rows with columns added (replacing any of the same name)."""
    taken = pa.array(np.flatnonzero(rows))
    table = chunk.attributes.take(taken)
    table = table.drop_columns([name for name in columns if name in table.column_names])
    for name, (values, unit, zh, en) in columns.items():
        array = pa.array(values)
        meta = {"title_zh": zh, "title_en": en, **({"unit": unit} if unit else {})}
        table = table.append_column(pa.field(name, array.type, metadata=meta), array)
    parents = chunk.parents.take(taken) if chunk.parents is not None else None
    return Features(chunk.reference, chunk.ids.take(taken), chunk.geometry[rows], table, parents)
