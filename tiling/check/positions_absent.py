"""Geometric errors of tiles of buildings: while what is below a tile is not drawn, the largest building there is missing, and counts for `ABSENCE` times its size (ADR 0003)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .issues import Where
from .positions import Feature
from .positions_geodesy import Inverse
from .walk import Standing

F64 = NDArray[np.float64]
ABSENCE = 4.0
"""Metres of error for a metre of a building that is not drawn."""
CLOSE, LEAST = 1.02, 0.01
"""Share and metres by which two ways of measuring a size may differ: a box along the layer's axes, which the convergence turns, and one of what is drawn."""

CANDIDATES = 3
"""Features of a content that are measured where they are: those that seem the largest."""
LARGE = 1.5
"""Times what is needed from which on errors are too large, if the best of them all is (those of our tiler fit there)."""


@dataclass
class _Tile:
    """A tile's error, the size of the largest building below it, which one that is, and where it stands."""

    error: float
    size: float
    name: str
    where: Where


def _metres(inverse: Inverse, place: F64) -> F64:
    return np.array([*inverse.metres(place)[:2], 1.0])


class Absent:
    """Sees every content that draws buildings once."""

    def __init__(self) -> None:
        self.tiles: dict[int, _Tile] = {}
        self.masses = False

    def see(self, found: Feature, places: F64, inverse: Inverse, standing: Standing, where: Where) -> None:
        """`places`: (V, 3) of the vertices, in plan in the layer's units and upwards in metres."""
        self.masses |= bool(standing.above)
        if len(standing.line) < 2:
            return
        first = np.zeros(len(found.ids), np.int64)
        first[found.owner[::-1]] = np.arange(len(places))[::-1]
        places = inverse.near(places, places[first[found.owner], 0])
        low, high = np.full((2, len(found.ids), 3), np.inf)
        np.minimum.at(low, found.owner, places)
        np.minimum.at(high, found.owner, -places)
        sides = -high - low
        largest, size = 0, 0.0
        for k in np.argsort(-np.linalg.norm(sides * _metres(inverse, low[0]), axis=1))[:CANDIDATES].tolist():
            own = float(np.linalg.norm(sides[k] * _metres(inverse, low[k])))  # a degree at the tile's other end may be shorter
            if own > size:
                largest, size = k, own
        for number, error in standing.line[:-1]:
            tile = self.tiles.setdefault(number, _Tile(error, 0.0, "", where))
            if size > tile.size:
                tile.size, tile.name, tile.where = size, found.ids[largest], where

    def finish(self, where: Where) -> None:
        """Errors that are too small for what is missing, and far too large ones where no masses stand for it, whose own errors count then."""
        for tile in self.tiles.values():
            if tile.error * CLOSE + LEAST < ABSENCE * tile.size:
                tile.where.error("GEOMETRIC_ERROR_SMALL", f"a tile above it has a geometricError of {tile.error:g} m; {tile.name!r}, which is not drawn by that one, is {tile.size:.3f} m large, "
                                                          f"which counts for {ABSENCE * tile.size:.4g} m")  # fmt: skip
        least = min((tile.error / (ABSENCE * tile.size) for tile in self.tiles.values() if tile.size), default=0.0)
        if least > LARGE and not self.masses:
            where.warning("GEOMETRIC_ERROR_LARGE", f"geometric errors are at least {least:.2f} times as large as the buildings that are missing make them: clients load more tiles than they need")
