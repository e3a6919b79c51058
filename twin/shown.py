"""The box of what is shown of a part of features: an update may hide the row that reached farthest."""

from __future__ import annotations

from collections.abc import Collection
from functools import cache
from math import inf

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from twin.model import Bounds

SIDES = (("xmin", 1.0), ("ymin", 1.0), ("xmax", -1.0), ("ymax", -1.0))
"""Columns of a row's box, and the sign with which the farthest is the smallest."""


def box_without(file: pq.ParquetFile, box: Bounds | None, hidden: Collection[str], touched: Collection[int]) -> Bounds | None:
    """The box of a part's rows but for hidden ones, None where none is left that has a place. Heights stay as they are: they are known of a delivery, not of a row.

    Row groups are read only where one of `touched` reaches as far as the box does, those that reach farthest first.

    Args:
        file: the part.
        box: of the rows that were shown so far.
        hidden: ids of all rows that are not shown.
        touched: row groups with rows that were shown so far and are not any more.
    """
    if box is None:
        return None
    about, schema = file.metadata, file.metadata.schema
    column = {schema.column(number).path: number for number in range(len(schema))}
    gone = pa.array(sorted(hidden), pa.string())

    @cache
    def reach(group: int) -> list[float]:
        """How far a row group reaches at most to each side, by its statistics."""
        row_group = about.row_group(group)
        known = [row_group.column(column[f"bbox.{name}"]).statistics for name, _ in SIDES]
        return [-inf if one is None or not one.has_min_max else sign * (one.min if sign > 0 else one.max) for one, (_, sign) in zip(known, SIDES, strict=True)]

    @cache
    def farthest(group: int) -> NDArray[np.float64]:
        """(4,) how far the shown rows of a row group reach."""
        rows = file.read_row_groups([group], columns=["id", "bbox"], use_threads=False)
        boxes = rows.filter(pc.invert(pc.is_in(rows.column("id"), gone))).column("bbox").combine_chunks()
        values = [sign * boxes.field(name).drop_null().to_numpy(zero_copy_only=False) for name, sign in SIDES]
        return np.array([one.min(initial=inf) for one in values])

    edges = [sign * edge for (_, sign), edge in zip(SIDES, (box.minx, box.miny, box.maxx, box.maxy), strict=True)]
    for side, edge in enumerate(edges):
        if all(reach(group)[side] > edge for group in touched):
            continue
        best = inf
        for most, group in sorted((reach(group)[side], group) for group in range(about.num_row_groups)):
            if most >= best:
                break
            best = min(best, float(farthest(group)[side]))
        if best == inf:
            return None
        edges[side] = best
    return Bounds(edges[0], edges[1], -edges[2], -edges[3], box.minz, box.maxz)
