"""Geometric errors of point tiles: how far the points below a tile are from those that are drawn without them, measured.

Tiles of points are refined by adding. So what stands for a point below a tile is the nearest point of the tile or of one above it, and the tile's error has to be
that distance at least, for whatever lies below. The tiler adds up what it knows of each level, so its errors may be larger, but hardly above the leaves.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from .issues import Where
from .walk import Standing

F64 = NDArray[np.float64]
ASKED = 300
"""Points of each content that are looked for in the tiles above it."""
ENOUGH = 200
"""Points that must have been looked for, before an error is called too large."""
HELD = 3_000_000
"""Points of tiles that are kept for those below them; of implicit trees, which are not walked in depth, what does not fit is not measured."""
SHARE, ROUNDED = 0.02, 0.02
"""By how much of itself, and by how many metres besides, an error may be too small: lengths of a map projection, places rounded in both tiles."""
LARGE, LEAST_LARGE = 3.0, 1.5
"""Times the distance measured by which one tile's error may be too large, and the best of them all (real clouds: 0.99 to 1.75, the best of each 1.00)."""


@dataclass
class _Tile:
    """What is known of a tile: its error in metres, the greatest distance of a point below it, how many were asked, whether it draws points itself, and where it stands."""

    error: float
    where: Where
    drawn: bool = False
    gap: float = 0.0
    asked: int = 0


@dataclass
class Gaps:
    """Shown the points of every content, those above first."""

    tiles: dict[int, _Tile] = field(default_factory=dict)
    held: OrderedDict[int, list[F64 | cKDTree]] = field(default_factory=OrderedDict)
    count: int = 0

    def see(self, points: F64, standing: Standing, where: Where) -> None:
        """(N, 3) places of one content's points in metres."""
        if not len(points) or not standing.line:
            return
        asked = points[:: max(1, len(points) // ASKED)]
        nearest = np.full(len(asked), np.inf)
        for number, error in standing.line[:-1]:
            tile = self.tiles.setdefault(number, _Tile(error, where))
            if tile.drawn:
                tree = self._tree(number)
                if tree is None:
                    break  # without what it draws, distances would be too large for it and for those below it
                nearest = np.minimum(nearest, tree.query(asked)[0])
            if np.isfinite(nearest).all():  # else nothing is drawn yet, and the error is that of nothing
                tile.gap, tile.asked = max(tile.gap, float(nearest.max())), tile.asked + len(asked)
        number, error = standing.line[-1]
        before = self.held.pop(number, None)  # a content may come in pieces
        self.tiles[number] = _Tile(error, where, drawn=True)
        self.held[number] = [points if before is None else np.concatenate([before[0], points])]
        self.count += len(points)
        while self.count > HELD and len(self.held) > 1:
            self.count -= len(self.held.popitem(last=False)[1][0])

    def _tree(self, number: int) -> cKDTree | None:
        if number not in self.held:
            return None
        self.held.move_to_end(number)
        kept = self.held[number]
        if len(kept) == 1:  # of most tiles nothing is below
            kept.append(cKDTree(kept[0]))
        return kept[1]

    def finish(self, where: Where) -> None:
        """Errors that are too small, tile by tile, and far too large ones."""
        least = np.inf
        for tile in self.tiles.values():
            told = f"the geometricError of {'its' if tile.drawn else 'a'} tile{'' if tile.drawn else ' above it'} is {tile.error:g} m"
            if tile.gap > tile.error * (1 + SHARE) + ROUNDED:
                tile.where.error("GEOMETRIC_ERROR_SMALL", f"{told}, a point that is drawn below lies {tile.gap:.3f} m from any that is drawn without it")
            elif tile.asked >= ENOUGH:
                times = tile.error / (tile.gap + ROUNDED)
                least = min(least, times)
                if times > LARGE:
                    tile.where.warning("GEOMETRIC_ERROR_LARGE", f"{told}, all points that are drawn below lie within {tile.gap:.3f} m of one that is drawn without them")
        if LEAST_LARGE < least < np.inf:
            where.warning("GEOMETRIC_ERROR_LARGE", f"geometric errors are at least {least:.2f} times as large as the distances that they stand for: clients load more tiles than they need")
