"""Which text names a feature: chosen once for a source, by a rule that the report states (`facts["id_rule"]`)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ingest_gis import distinct
from ingest_gis.nodelink import LINK_ID
from ingest_gis.rows import Rows, Source
from twin.errors import BadOption
from twin.model import Report

EXACT = 2.0**63
"""From here on a whole number is none of 64 bits."""
LIKELY = (
    "id", "fid", "gid", "ogc_fid", "objectid", "globalid", "gml_id", "uuid", "guid", "osm_id", "identificatie", "bin", "feature_id",
    "building_id", "bldg_id", "编号", "要素编号", "建筑编号", "标识码", "bsm", LINK_ID,
)  # fmt: skip
"""Column names (in lower case) that usually hold an id, in order of preference; used only if unique and without nulls."""


@dataclass(frozen=True)
class IdRule:
    """`column` holds the ids ("" where they come from elsewhere); `of(rows)` gives (N,) texts, null where there is none."""

    column: str
    text: str
    of: Callable[[Rows], pa.Array]


def choose(source: Source, wanted: str | None, report: Report) -> IdRule:
    """The id rule of a source: the option, else a unique id-like column, else the table's key, else the geometry's hash.

    Raises:
        BadOption: the option names no column.
    """
    rule = _choose(source, wanted, report)
    report.facts["id_rule"] = rule.text
    return rule


def _choose(source: Source, wanted: str | None, report: Report) -> IdRule:
    if wanted is not None:
        if wanted in source.names:
            return _by_column(wanted, f"column {wanted}")
        if wanted.lower() == "fid" and source.stable_fids:
            return IdRule("", "row key (fid) of the table", _fids)
        raise BadOption(f"{source.name} has no column {wanted!r}.", f"Columns: {', '.join(source.names) or 'none'}.")
    lower = {name.lower(): name for name in reversed(source.names)}
    for name in (lower[likely] for likely in LIKELY if likely in lower):
        if not _kind(source.schema.field(name).type):
            continue
        rows, missing, different = distinct.count(partial(source.column, name))
        if rows:
            if not missing and different == rows:
                return _by_column(name, f"column {name}")
            report.note("assumed", "", f"column {name} is no id: {rows} rows, {different} different values, {missing} empty")
    if source.stable_fids:
        return IdRule("", "feature id of the file" if source.driver == "GeoJSON" else "row key (fid) of the table", _fids)
    return IdRule("", "hash of the geometry (and -2, -3… for the same geometry again)", _Hashes(report))


def _kind(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _by_column(name: str, text: str) -> IdRule:
    return IdRule(name, text, lambda rows: as_text(rows.attributes.column(name)))


def as_text(values: pa.ChunkedArray | pa.Array) -> pa.Array:
    """Ids as text: whole numbers without a fraction, empty and blank texts as null."""
    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()
    whole = pa.types.is_floating(values.type) and pc.all(pc.and_(pc.equal(pc.floor(values), values), pc.less(pc.abs(values), EXACT))).as_py()
    if whole:
        values = values.cast(pa.int64(), safe=False)
    texts = values.cast(pa.string())
    return pc.if_else(pc.equal(pc.utf8_trim_whitespace(texts), ""), pa.scalar(None, pa.string()), texts)


def _fids(rows: Rows) -> pa.Array:
    return pa.array(rows.fids).cast(pa.string())


class _Hashes:
    """80-bit BLAKE2 of the WKB: the same outline keeps its id in the next delivery, wherever its row is."""

    def __init__(self, report: Report) -> None:
        self.seen = distinct.Seen()
        self.often: dict[str, int] = {}  # how often those have come that came more than once
        self.report = report

    def __call__(self, rows: Rows) -> pa.Array:
        known = [(row, hashlib.blake2b(wkb, digest_size=10).digest()) for row, wkb in enumerate(rows.wkb) if wkb is not None]
        names = [f"row-{rows.start + row}" for row in range(len(rows.wkb))]
        for row, digest in known:
            names[row] = digest.hex()
        # the first 64 of 80 bits are remembered: those of two outlines among ten million agree once in half a million deliveries, and both keep a name of their own
        again = self.seen.add(np.frombuffer(b"".join(digest[:8] for _, digest in known), np.uint64))
        for at in np.flatnonzero(again).tolist():
            row = known[at][0]
            count = self.often[names[row]] = self.often.get(names[row], 1) + 1
            names[row] += f"-{count}"
            self.report.note("warned", names[row], "has the same geometry as an earlier feature; both are kept")
        return pa.array(names, pa.string())


def present(ids: pa.Array) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """(N,) whether a row has an id."""
    return np.asarray(ids.is_valid())
