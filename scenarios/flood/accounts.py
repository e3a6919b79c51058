"""The ledger of water as a table: by source, structure, drain and building class; what counts adds up to the water in the field."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from rasterio import features as rio_features

from scenarios.contract import World
from scenarios.flood.damage import column
from scenarios.flood.domain import Domain, move
from scenarios.flood.params import Params
from scenarios.flood.rainfall import Rainfall
from scenarios.flood.swmm import Drainage

KINDS = {"initial": "source", "rain": "source", "inflow": "source", "level_boundary": "boundary", "infiltration": "loss", "drainage": "drain",
         "network_inlets": "drain", "network_manholes": "drain", "network_outfalls": "drain", "edge": "boundary", "pump": "structure", "stored": "stored", "imbalance": "imbalance"}  # fmt: skip


@dataclass(frozen=True)
class Entry:
    """A line of the ledger.

    Attributes:
        kind: source, boundary, loss, drain, structure, building, stored or imbalance.
        account: name of the entry; part_of: the account it is a part of; "": it counts in the balance.
        volume: m³ that came to the surface (+) or left it (−); moved: m³ that passed without changing the sum.
    """

    kind: str
    account: str
    part_of: str
    volume: float
    moved: float = 0.0


def entries(p: Params, world: World, domain: Domain, rain: Rainfall | None, water: dict[str, float], facts: dict[str, Any], until: float,
            network: Drainage | None = None) -> list[Entry]:  # fmt: skip
    """All lines; those of `part_of` "" but `stored` sum to it.

    Args:
        p: parameters; world: layers; domain: grid; rain: what fell, if any; water: the ledger of the model; facts: of its parts by name; until: s;
            network: the coupled drains, if any.
    """
    found = [Entry(KINDS[name.partition(":")[0].partition("_")[0] if name.startswith("edge_") else name.partition(":")[0]], name, "", value) for name, value in water.items()]
    for label, fact in facts.get("structures", {}).items():
        found.append(Entry("structure", f"{fact['kind']}:{label}", "structures", 0.0, fact["both_ways_m3"]))
    for label, fact in facts.get("links", {}).items():
        found.append(Entry("structure", f"{fact['kind']}:{label} (moved)", "links", 0.0, abs(fact["moved_m3"])))
    if network is not None:
        for name, into, out in zip(network.names, network.inflow.tolist(), network.outflow.tolist(), strict=True):
            found += [Entry("drain", f"node:{name}", account, volume) for account, volume in (("network_inlets", -into), ("network_manholes", out)) if volume]
        if network.roofs.any():
            found.append(Entry("building", "roofs to network", "network", 0.0, float(network.roofs.sum())))
    if rain is not None and p.buildings:
        found += [Entry("building", f"roofs:{use or p.buildings}", "rain", volume) for use, volume in roofs(p, world, domain, rain, until).items()]
    return found


def roofs(p: Params, world: World, domain: Domain, rain: Rainfall, until: float) -> dict[str, float]:
    """Rain that fell on buildings by use, m³, as the grid sees their roofs; a part of `rain`, unless it went to the network."""
    fallen = np.zeros(domain.bed.shape)
    for number, depth in rain.source.fallen(0.0, until):
        pattern = rain.source.pattern(number)
        fallen += depth if pattern is None else depth * pattern
    area = domain.transform.a**2
    if not p.building_use_column:
        return {"": float(fallen[domain.buildings].sum()) * area}
    names, index = _uses(p, world, domain)
    sums = np.bincount(index[domain.buildings], fallen[domain.buildings], len(names))
    return {name: float(sums[i]) * area for i, name in enumerate(names) if sums[i] > 0}


def _uses(p: Params, world: World, domain: Domain) -> tuple[list[str], NDArray[np.int32]]:
    """(uses, (rows, columns) index of the use of each cell's building; 0 is unknown)."""
    names, index = ["(none)"], np.zeros(domain.bed.shape, np.int32)
    for chunk in world.features(p.buildings):
        numbers = []
        for value in column(chunk.attributes, p.building_use_column, p.buildings):
            name = "(none)" if value is None else str(value)
            if name not in names:
                names.append(name)
            numbers.append(names.index(name))
        moved = move(chunk.geometry, chunk.reference.horizontal, domain.horizontal)
        shapes = [(shape, number) for shape, number in zip(moved, numbers, strict=True) if shape is not None and not shape.is_empty]
        if shapes:
            rio_features.rasterize(shapes, out=index, transform=domain.transform)
    return names, index


def table(rows: list[Entry]) -> pa.Table:
    """The ledger in columns; volumes in float64."""
    schema = pa.schema([
        pa.field("kind", pa.string(), metadata={"title_zh": "类别", "title_en": "Kind"}), pa.field("account", pa.string(), metadata={"title_zh": "科目", "title_en": "Account"}),
        pa.field("part_of", pa.string(), metadata={"title_zh": "所属科目（空：计入平衡）", "title_en": "Part of (empty: counts in the balance)"}),
        pa.field("volume", pa.float64(), metadata={"unit": "m³", "title_zh": "进（+）出（−）地表水量", "title_en": "To (+) or from (−) the surface"}),
        pa.field("moved", pa.float64(), metadata={"unit": "m³", "title_zh": "通过水量", "title_en": "Passed through"}),
    ])  # fmt: skip
    return pa.table([[r.kind for r in rows], [r.account for r in rows], [r.part_of for r in rows], [r.volume for r in rows], [r.moved for r in rows]], schema=schema)
