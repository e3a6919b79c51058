"""Footprints made usable without making geometries of them: what is surely a valid flat polygon stays the bytes that it is.

Of a city's outlines nearly all are simple, and a geometry library takes three times as long to read, test and write them as
the rest of the reading takes. `twin.outlines` tells which they are; the others go through `ingest_gis.geometry`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import shapely
from numpy.typing import NDArray

from ingest_gis.geometry import Cleaner
from ingest_gis.rows import Rows
from twin.keys import offsets_and_data

Mask = NDArray[np.bool_]
FEW = 2_000
"""Rows of a chunk up to which the compiled loops take longer to load than they save."""


@dataclass(frozen=True)
class Outlines:
    """Flat polygons of N features.

    Attributes:
        wkb: (N,) well-known binary. boxes: (N, 4) lowest x and y, highest x and y. raised: whether heights of corners were left out.
    """

    wkb: pa.Array
    boxes: NDArray[np.float64]
    raised: bool = False

    def filter(self, keep: Mask) -> Outlines:
        """Some of them."""
        return self if keep.all() else replace(self, wkb=self.wkb.filter(pa.array(keep)), boxes=self.boxes[keep])


def clean(cleaner: Cleaner, rows: Rows, ids: pa.Array) -> tuple[Outlines, Mask]:
    """(outlines, whether a row is kept); those of rows that are not kept mean nothing. Repairs and refusals are noted by `cleaner`."""
    count = len(rows.wkb)
    given = pa.array(rows.wkb, pa.binary())
    boxes, sure = np.full((count, 4), np.nan), np.zeros(count, bool)
    if count > FEW:
        _inspect(given, boxes, sure)
    if sure.all():
        return Outlines(given, boxes), sure
    rest = np.flatnonzero(~sure)
    some = replace(rows, wkb=rows.wkb[rest], linear=_only(rows.linear, rest))
    geometry, kept = cleaner.clean(some, ids.take(pa.array(rest)))
    geometry[~kept] = None
    raised = bool(shapely.has_z(geometry).any())
    geometry = shapely.force_2d(geometry) if raised else geometry
    boxes[rest] = shapely.bounds(geometry)
    mask = np.ones(count, bool)
    mask[rest] = kept
    return Outlines(_merged(given, rest, pa.array(shapely.to_wkb(geometry), pa.binary())), boxes, raised), mask


def _inspect(wkb: pa.Array, boxes: NDArray[np.float64], sure: Mask) -> None:
    from twin.outlines import inspect, measure_outlines  # noqa: PLC0415  numba takes half a second to load

    offsets, data = offsets_and_data(wkb)
    sizes = np.empty((len(wkb), 3), np.int64)
    measure_outlines(offsets, data, sizes)
    inspect(offsets, data, sizes, boxes, sure)


def _only(linear: Any, rest: NDArray[np.int64]) -> Any:
    return None if linear is None else lambda: linear()[rest]


def _merged(given: pa.Array, rest: NDArray[np.int64], changed: pa.Array) -> pa.Array:
    """`given` with the values of the rows `rest` replaced."""
    if len(rest) == len(given):
        return changed
    place = np.arange(len(given))
    place[rest] = len(given) + np.arange(len(rest))
    return pa.concat_arrays([given, changed]).take(pa.array(place))
