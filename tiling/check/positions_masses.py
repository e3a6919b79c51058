"""Mass tiles against the buildings that are drawn below them: how many, their area, height and middle in sum, and how far from each other they stand.

A block stands for the buildings of a square: it has their area together and their mean height (ADR 0013). Areas are rounded to m², heights to half metres and
places to half a metre at every level, so sums over a tile agree within a few of these steps. Nothing here is shared with the tiler.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .glb import Model
from .issues import Where
from .positions import table_of
from .walk import Standing

F64 = NDArray[np.float64]
SAME, LARGER = 0.15, 0.05
"""Metres by which a block may differ from what its row says; share by which areas of outlines that cross themselves may be off in sum."""
STEP, RISE = 3.0, 2.0
"""Metres by which the middle of all blocks of a tile, and their mean height, may differ from those of the buildings: the steps of some levels."""
FLAT = 100_000.0
"""Metres between the corners of a tile's buildings up to which the earth bends their middle by less than these steps."""
SAMPLE = 10_000
"""Buildings of a tile whose nearest block is looked for."""


@dataclass(frozen=True)
class _Tile:
    """A mass tile: where it is told of, its error, (B, 7) blocks: middle (ECEF), half of the diagonal, buildings, m², metres of height."""

    where: Where
    error: float
    blocks: F64


class Masses:
    """Sees every content of a layer of blocks once."""

    def __init__(self) -> None:
        self._tiles: dict[int, _Tile] = {}
        self._below: dict[int, list[F64]] = defaultdict(list)

    def leaf(self, buildings: F64, standing: Standing) -> None:
        """A finest content draws these (F, 5) buildings: middle (ECEF), m², metres of height."""
        for number in standing.above:
            self._below[number].append(buildings)

    def see(self, model: Model, transform: F64, where: Where, standing: Standing) -> None:
        """A mass tile."""
        found = []
        for primitive in model.primitives:
            table = table_of(primitive)
            columns = [column for name in ("buildings", "area", "height") if table is not None and isinstance(column := table.columns.get(name), np.ndarray)]
            if len(columns) < 3 or not primitive.feature_ids:
                where.error("MASS_INVALID", f"{primitive.pointer} has no blocks with columns of buildings, area and height")
                return
            rows, points = primitive.feature_ids[0].ids, primitive.positions @ transform[:3, :3].T + transform[:3, 3]
            told = np.column_stack(columns).astype(np.float64)
            if len(rows) != len(points) or rows.min() < 0 or rows.max() >= len(told):
                where.error("MASS_INVALID", f"{primitive.pointer} draws blocks that its table does not have")
                return
            order = np.argsort(rows, kind="stable")
            first = np.flatnonzero(np.diff(rows[order], prepend=-1))
            middle = (np.minimum.reduceat(points[order], first) + np.maximum.reduceat(points[order], first)) / 2
            half = np.sqrt(np.maximum.reduceat(((points[order] - np.repeat(middle, np.diff(first, append=len(order)), axis=0)) ** 2).sum(axis=1), first))
            told = told[rows[order][first]]
            away = np.abs(2 * half - np.sqrt(2 * told[:, 1] + told[:, 2] ** 2))
            if (away > SAME).any():
                where.error("MASS_WRONG", f"{int((away > SAME).sum())} blocks are not as large as their rows say: one by {away.max():.3g} m")
            found.append(np.column_stack([middle, half, told]))
        if found:
            self._tiles[standing.above[-1]] = _Tile(where, standing.error, np.concatenate(found))

    def finish(self) -> None:
        """Sums, once all buildings are seen."""
        for number, tile in self._tiles.items():
            below = np.concatenate(self._below.get(number, [np.zeros((0, 5))]))
            count, area = int(tile.blocks[:, 4].sum()), tile.blocks[:, 5]
            if count != len(below):
                tile.where.error("MASS_WRONG", f"its blocks stand for {count} buildings, {len(below)} are drawn below it")
            elif np.isfinite(below).all() and len(below):
                _sums(tile, below, area)


def upright(places: F64) -> F64:
    """(N, 3) unit vectors upwards at places near the ellipsoid (ECEF), to 6e-6 below 10 km: the gradient of x²/a² + y²/a² + z²/b²."""
    up = places * (1.0, 1.0, 1.0 / (1.0 - 0.00669437999014))
    return np.asarray(up / np.linalg.norm(up, axis=1)[:, None])


def _sums(tile: _Tile, below: F64, area: F64) -> None:
    total, true = float(area.sum()), float(below[:, 3].sum())
    if abs(total - true) > LARGER * true + len(below):
        tile.where.error("MASS_WRONG", f"its blocks cover {total:.6g} m², the buildings below it {true:.6g}")
        return
    weight = np.maximum(below[:, 3], 1e-3)
    height, mean = float((area * tile.blocks[:, 6]).sum() / total), float((weight * below[:, 4]).sum() / weight.sum())
    if abs(height - mean) > RISE + LARGER * mean + _unsure(weight, np.abs(below[:, 4] - mean), total):
        tile.where.error("MASS_WRONG", f"its blocks are {height:.4g} m high in the mean, the buildings below it {mean:.4g}")
    if np.linalg.norm(np.ptp(below[:, :3], axis=0)) < FLAT:
        _middle(tile, below, weight)
    some = below[:: max(1, len(below) // SAMPLE), :3]
    away = np.full(len(some), np.inf)
    for middle, half in zip(tile.blocks[:, :3], tile.blocks[:, 3], strict=True):
        away = np.minimum(away, np.linalg.norm(some - middle, axis=1) - half)
    if away.max() > tile.error:
        tile.where.error("MASS_WRONG", f"a building below it lies {away.max():.4g} m from its nearest block, its error is {tile.error:.4g} m")


def _middle(tile: _Tile, below: F64, weight: F64) -> None:
    area, total, origin = tile.blocks[:, 5], float(tile.blocks[:, 5].sum()), below[0, :3]
    up = upright(origin[None])[0]
    middle = (weight[:, None] * (below[:, :3] - origin)).sum(axis=0) / weight.sum()
    gap = (area[:, None] * (tile.blocks[:, :3] - origin)).sum(axis=0) / total - middle
    apart = float(np.linalg.norm(gap - up * (gap @ up)))
    if apart > STEP + LARGER * tile.error + _unsure(weight, np.linalg.norm(below[:, :3] - origin - middle, axis=1), total):
        tile.where.error("MASS_WRONG", f"its blocks' middle lies {apart:.4g} m from that of the buildings below it")


def _unsure(area: F64, away: F64, total: float) -> float:
    """How far a mean may be off since areas are rounded to whole m², to one at least: once, where buildings are first summed up; sums of whole numbers stay.

    So a building weighs at most half a m² more or less than it should, or one where it has none; `away`: (F,) from the mean.
    """
    return float((np.maximum(0.5, 1.0 - area) * away).sum() / total)
