"""The whole district in memory, built once in the order in which things depend on each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import shapely

from data_samples.blocks import USES, Block, landuse_table, make_blocks
from data_samples.bridge import NAME as BRIDGE_NAME
from data_samples.bridge import Bridge, bridge_table, make_bridge
from data_samples.buildings import Draft, building_table, make_buildings
from data_samples.frame import CELL, Heights, burn
from data_samples.river import River, make_river
from data_samples.shapes import flat_axes
from data_samples.streets import Streets, make_streets, set_oneways
from data_samples.terrain import finish, hill_zone, natural
from data_samples.trees import make_trees
from data_samples.water import Pond, levee_table, make_ponds, water_table

USE_KEYS = list(USES)
TRACK_AREA = 1_000.0  # m2: a sports field larger than this is a running track


@dataclass
class City:
    """Everything that the writers draw from; tables are dicts of columns with local geometry."""

    seed: int
    river: River
    streets: Streets
    bridge: Bridge
    blocks: list[Block]
    ponds: list[Pond]
    drafts: list[Draft]
    ground: Heights
    pad: float  # terrain and ground-floor elevation of the BIM building
    uses: npt.NDArray[np.uint8]  # land use numbers, CELL, 1-based into USE_KEYS
    fields: list[tuple[Any, float]]  # running tracks and ball courts: (polygon, angle)
    buildings: dict[str, Any]
    landuse: dict[str, Any]
    water: dict[str, Any]
    levees: dict[str, Any]
    bridges: dict[str, Any]
    trees: dict[str, Any]


def _tracks(blocks: list[Block]) -> list[tuple[Any, float]]:
    """A running track (the larger) and ball courts on each school's open half, as (polygon, angle)."""
    out = []
    for block in blocks:
        if block.use == "school":
            axes = flat_axes(block.polygon, block.angle)
            x0, y0, x1, _ = axes.into(block.polygon).bounds
            oval = shapely.buffer(shapely.LineString([(x1 * 0.52, -28), (x1 * 0.52, 28)]), 19.0)
            courts = [shapely.box(x, y, x + 15, y + 28) for y in (y0 + 12, y0 + 44) for x in np.arange(x0 + 10, x1 - 24, 18.0)]
            room = shapely.buffer(block.polygon, -4.0)
            placed = [axes.out(g) for g in (oval, *courts)]
            taken = shapely.buffer(placed[0], 3.0)
            out += [(g, axes.angle) for i, g in enumerate(placed) if room.covers(g) and (i == 0 or not g.intersects(taken))]
    return out


def build(seed: int) -> City:
    """Make the district from its seed."""
    river = make_river(seed)
    hill = hill_zone()
    bare = natural(seed, river)
    streets, north, south = make_streets(seed, river, hill)
    bridge = make_bridge(streets, north, south, bare)
    set_oneways(streets)
    blocks = make_blocks(seed, river, streets, hill)
    ponds = make_ponds(seed, blocks, bare)
    fields = _tracks(blocks)
    drafts = make_buildings(seed, blocks, river)
    drafts = _clear(drafts, [p.polygon for p in ponds] + [f for f, _ in fields if f.area > TRACK_AREA])
    fields = _free_fields(fields, drafts)
    landuse = landuse_table(blocks, river, streets)
    uses = burn(landuse["geometry"], [USE_KEYS.index(u) + 1 for u in landuse["use"]])
    office = next(d.polygon for d in drafts if d.bim)
    pad = round(float(bare.at(*shapely.get_coordinates(office.centroid)[0])) + 0.15, 2)
    on_ground = [e.name != BRIDGE_NAME for e in streets.edges]
    ways = streets.carriageways()[np.array(on_ground)]
    ground = finish(seed, bare, river, ways, [(p.polygon, p.level) for p in ponds], bridge.ramps(), [(office, pad)])
    buildings = building_table(seed, drafts, streets, ground)
    water = water_table(river, ponds)
    trees = make_trees(seed, streets, uses, USE_KEYS, CELL, _occupied(buildings, water, streets, fields, bridge), ground)
    return City(
        seed, river, streets, bridge, blocks, ponds, drafts, ground, pad, uses, fields, buildings, landuse, water,
        levee_table(river), bridge_table(bridge, streets, ground), trees,
    )  # fmt: skip


def _free_fields(fields: list[tuple[Any, float]], drafts: list[Draft]) -> list[tuple[Any, float]]:
    """Tracks, and the courts that no building needs."""
    tree = shapely.STRtree([d.polygon for d in drafts])
    busy = set(tree.query([shapely.buffer(f, 2.0) for f, _ in fields], predicate="intersects")[0].tolist())
    return [f for i, f in enumerate(fields) if i not in busy]


def _clear(drafts: list[Draft], obstacles: list[Any]) -> list[Draft]:
    """Buildings that do not touch lakes, ponds and sports fields."""
    tree = shapely.STRtree(obstacles)
    hit = tree.query([shapely.buffer(d.polygon, 1.5) for d in drafts], predicate="intersects")[0]
    gone = set(hit.tolist())
    return [d for i, d in enumerate(drafts) if i not in gone]


def _occupied(buildings: dict[str, Any], water: dict[str, Any], streets: Streets, fields: Any, bridge: Bridge) -> npt.NDArray[np.uint8]:
    """1 m mask: 1 carriageway or sports field, 2 building (with margin), bridge deck or water."""
    shapes = list(streets.carriageways()) + [f for f, _ in fields]
    values = [1] * len(shapes)
    hard = list(shapely.buffer(buildings["geometry"], 2.0)) + list(shapely.buffer(water["geometry"], 1.5))
    hard.append(bridge.strip(0.0, bridge.length, 34.0))
    return burn(shapes + hard, values + [2] * len(hard), cell=1.0)
