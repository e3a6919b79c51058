"""The terrain read again for checking: bilinear between cell centres by SciPy, block by block."""

from __future__ import annotations

from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.windows import Window
from scipy.ndimage import map_coordinates

from twin.ground import Ground

from .positions_geodesy import Inverse

F64 = NDArray[np.float64]
BLOCK = 1024
HELD = 4
AT = 1e-6
"""Cells within which a place is a cell's centre: rounding there must not let its neighbours count."""


@dataclass(frozen=True)
class Sample:
    """Heights at places.

    `height`: (N,) in the raster's own unit, NaN outside and in voids; `whole`: (N,) whether all four cells around the
    place hold data and the place lies between their centres (else the value is a matter of convention);
    `full`: (N,) whether all cells that count there hold data, which in the outer half cell are the nearest.
    """

    height: F64
    whole: NDArray[np.bool_]
    full: NDArray[np.bool_]


class Terrain:
    """A terrain raster as our own second reading of it, with those that lie under it."""

    def __init__(self, ground: Ground) -> None:
        self.inverse = Inverse(ground.reference)
        self.file: Any = rasterio.open(ground.path)
        a = self.file.transform
        self._matrix = np.array([[a.a, a.b], [a.d, a.e]])
        self._corner = np.array([a.c, a.f])
        self._middle = float(a.c + a.a * self.file.width / 2 + a.b * self.file.height / 2)
        self._held: dict[tuple[int, int], tuple[F64, F64]] = {}
        self.under = Terrain(ground.under) if ground.under is not None else None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.file.close()
        if self.under is not None:
            self.under.__exit__(kind, error, trace)

    def ellipsoidal(self, lonlat: F64) -> F64:
        """(N,) ellipsoidal metres at (N, 2) degrees, of the raster below outside of this one and where it lacks a cell, if there are any; NaN outside of all and in voids."""
        sample = self.at(self.inverse.plan(lonlat))
        height = np.asarray(sample.height * self.inverse.reference.vertical_unit + self.inverse.shift(lonlat))
        if self.under is not None and not sample.full.all():
            below = self.under.ellipsoidal(lonlat[~sample.full])
            height[~sample.full] = np.where(np.isnan(below), height[~sample.full], below)
        return height

    def cells(self, xy: F64) -> F64:
        """(N, 2) coordinates of the raster's CRS → fractional column and row of cell corners."""
        return np.asarray(np.linalg.solve(self._matrix, (self.inverse.near(xy.copy(), self._middle) - self._corner).T).T)

    def places(self, columns: F64, rows: F64) -> F64:
        """(N, 2) coordinates of fractional columns and rows."""
        return np.asarray(np.column_stack([columns, rows]) @ self._matrix.T + self._corner)

    def at(self, xy: F64) -> Sample:
        """Heights at (N, 2) coordinates of the raster's CRS.

        In the outer half cell the nearest row or column counts, beside a void the cells that hold data; the centre of a void
        has no height, although rounding may set it a hair towards a cell that has one.
        """
        width, height = self.file.width, self.file.height
        result = Sample(np.full(len(xy), np.nan), np.zeros(len(xy), bool), np.zeros(len(xy), bool))
        finite = np.isfinite(xy).all(axis=1)
        cell = np.full(xy.shape, -1.0)
        cell[finite] = self.cells(xy[finite])
        inside = finite & (cell >= 0).all(axis=1) & (cell[:, 0] <= width) & (cell[:, 1] <= height)
        rows = np.flatnonzero(inside)
        centre = cell[rows] - 0.5
        low, high = np.zeros(2), np.array([width - 1, height - 1])
        near = np.clip(centre, low, high)
        between = (centre == near).all(axis=1)
        near = np.where(np.abs(near - np.rint(near)) < AT, np.rint(near), near)
        block = (near // BLOCK).astype(np.int64)
        code = block[:, 1] * (width // BLOCK + 1) + block[:, 0]
        for number in np.unique(code):
            here = code == number
            self._block(block[here][0] * BLOCK, near[here], between[here], rows[here], result)
        return result

    def _block(self, first: NDArray[np.int64], at: F64, between: NDArray[np.bool_], rows: NDArray[np.int64], into: Sample) -> None:
        known, height = self._cells(int(first[0]), int(first[1]))
        where = [at[:, 1] - first[1], at[:, 0] - first[0]]
        weight = map_coordinates(known, where, order=1, mode="nearest")
        total = map_coordinates(height, where, order=1, mode="nearest")
        into.height[rows] = np.where(weight > 1e-9, total / np.where(weight > 1e-9, weight, 1.0), np.nan)
        into.full[rows] = weight > 1 - 1e-9
        into.whole[rows] = between & into.full[rows]

    def _cells(self, left: int, top: int) -> tuple[F64, F64]:
        """(1.0 where a cell of the block holds data, its heights with 0.0 elsewhere); the last few blocks are kept."""
        if (left, top) not in self._held:
            columns, lines = min(BLOCK + 1, self.file.width - left), min(BLOCK + 1, self.file.height - top)
            cells = self.file.read(1, window=Window(left, top, columns, lines), masked=True).astype(np.float64).filled(np.nan)
            known = np.isfinite(cells)
            self._held[left, top] = known.astype(np.float64), np.where(known, cells, 0.0)
            while len(self._held) > HELD:
                del self._held[next(iter(self._held))]
        return self._held[left, top]
