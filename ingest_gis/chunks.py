"""The rows of a vector source that can be kept, chunk by chunk: what the footprint and the vector reader share."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ingest_gis import ids
from ingest_gis.geometry import Cleaner
from ingest_gis.outlines import Outlines, clean
from ingest_gis.rows import Source
from twin.model import Report

_NONE = np.zeros(0, object)


@dataclass(frozen=True)
class Chunk:
    """Rows that are kept: ids, cleaned geometries (where outlines are read, `outlines` instead), attributes as the source has them."""

    ids: pa.Array
    geometry: NDArray[np.object_]
    attributes: pa.Table
    outlines: Outlines | None = None


def read_chunks(source: Source, rule: ids.IdRule, report: Report, *, outlines: bool) -> Iterator[Chunk]:
    """The rows of a source with an id and a usable geometry; counts what was read and notes what was refused."""
    cleaner = Cleaner(outlines=outlines, report=report)
    for rows in source.chunks():
        report.read += len(rows.wkb)
        named = rule.of(rows)
        known = ids.present(named)
        labels = named.fill_null("")
        if not known.all():
            labels = pa.array([text or f"row {rows.start + i}" for i, text in enumerate(named.to_pylist())], pa.string())
            for row in np.flatnonzero(~known):
                report.note("refused", labels[row].as_py(), f"has no id ({rule.text})")
        flat = None
        if outlines:
            flat, keep = clean(cleaner, rows, labels)
            geometry = _NONE
        else:
            geometry, keep = cleaner.clean(rows, labels)
        keep &= known
        if keep.all():
            yield Chunk(named, geometry, rows.attributes, flat)
        elif keep.any():
            mask = pa.array(keep)
            yield Chunk(named.filter(mask), _NONE if flat else geometry[keep], rows.attributes.filter(mask), flat.filter(keep) if flat else None)
