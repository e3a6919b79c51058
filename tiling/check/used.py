"""How much of a tile's box is used by what it draws and by the boxes of its children: one that is far too large is valid, and is loaded and drawn when nothing of it is seen."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .issues import Where
from .volumes import Box, Volume, unit_frame

F64 = NDArray[np.float64]
WASTED = 2.0
"""Times what lies between its ends that a side may be long. The boxes of our tilers fit."""
LEAST = 1.0
"""Metres by which any side may be too long."""


class Used:
    """What lies in one tile: points of its contents, and its children's volumes. Of a region or a sphere nothing is told."""

    def __init__(self, volume: Volume | None) -> None:
        self.box = volume if isinstance(volume, Box) and np.isfinite(volume.axes).all() else None
        self.low, self.high = np.full(3, np.inf), np.full(3, -np.inf)
        self.whole = True
        if self.box is not None:
            self._lengths = np.linalg.norm(self.box.axes, axis=1)
            self._turn = np.linalg.inv(unit_frame(self.box.axes, self._lengths))

    def add(self, points: F64) -> None:
        """Points (N, 3) that lie in the tile."""
        if self.box is not None and len(points):
            along = points @ self._turn  # from the origin: only lengths are asked
            self.low, self.high = np.minimum(self.low, along.min(axis=0)), np.maximum(self.high, along.max(axis=0))

    def add_volume(self, volume: Volume | None) -> None:
        """A child's; None: it is not known, and so neither is what is used."""
        if volume is None:
            self.whole = False
        else:
            self.add(volume.samples())

    def finish(self, where: Where) -> None:
        """Say which box is far too large."""
        used = self.high - self.low
        if self.box is None or not self.whole or not np.isfinite(used).all():
            return
        sides = 2 * self._lengths
        wasted = np.flatnonzero((sides > WASTED * used) & (sides - used > LEAST))
        if len(wasted):
            k = int(wasted[np.argmax(sides[wasted] - used[wasted])])
            (where / "boundingVolume").warning("BOX_WASTED", f"is {sides[k]:.6g} m long where what lies in it is {used[k]:.6g} m: the tile is loaded where nothing of it is to be seen")
