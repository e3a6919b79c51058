"""What a layer's columns hold, over all features that match a question: for charts, legends and filters.

One pass over the matching rows, a row group at a time. Counts, sums and extremes are exact; quantiles and histograms
come from the values themselves where there are at most `EXACT` of them, else from an even sample of that many.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from twin import query
from twin.cql2 import Filter
from twin.cql2_rows import kind_of
from twin.errors import BadOption
from twin.lake import Lake
from twin.model import LayerVersion
from twin.query import Caps

EXACT = 2_000_000
TOP = 50
BINS = 24
_CAPS = Caps()


@dataclass
class Summary:
    """One column over the matching rows. `values`: distinct texts or booleans with their counts, most frequent first."""

    name: str
    kind: str
    count: int = 0
    nulls: int = 0
    low: float | None = None
    high: float | None = None
    total: float = 0.0
    numbers: list[NDArray[np.float64]] = field(default_factory=list)
    texts: Counter[str] = field(default_factory=Counter)

    def add(self, column: pa.ChunkedArray) -> None:
        """Take in some rows."""
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        if pa.types.is_floating(column.type):
            column = pc.if_else(pc.is_nan(column), pa.scalar(None, column.type), column)
        self.nulls += column.null_count
        known = column.drop_null()
        self.count += len(known)
        if not len(known):
            return
        if self.kind == "number":
            values = np.asarray(known.cast(pa.float64()).to_numpy(), np.float64)
            self.low = min(float(values.min()), np.inf if self.low is None else self.low)
            self.high = max(float(values.max()), -np.inf if self.high is None else self.high)
            self.total += float(values.sum())
            self.numbers.append(values)
        else:
            counts = pc.value_counts(known.cast(pa.string()) if self.kind != "array" else pc.list_flatten(known).drop_null().cast(pa.string()))
            for entry in counts.to_pylist():
                self.texts[entry["values"]] += entry["counts"]

    def to_json(self) -> dict[str, Any]:
        """Count, nulls, and for numbers extremes, mean, quantiles and a histogram; for others the most frequent values."""
        value: dict[str, Any] = {"name": self.name, "type": self.kind, "count": self.count, "nulls": self.nulls}
        if self.kind != "number":
            top = sorted(self.texts.items(), key=lambda pair: (-pair[1], pair[0]))[:TOP]
            return value | {"distinct": len(self.texts), "values": [{"value": text, "count": count} for text, count in top]}
        if not self.count or self.low is None or self.high is None:
            return value
        numbers = np.concatenate(self.numbers)
        if len(numbers) > EXACT:
            numbers = numbers[:: -(-len(numbers) // EXACT)]
        at = [0.05, 0.25, 0.5, 0.75, 0.95]
        counts, edges = np.histogram(numbers, BINS, (self.low, self.high if self.high > self.low else self.low + 1))
        return value | {
            "min": self.low, "max": self.high, "mean": self.total / self.count, "sum": self.total,
            "quantiles": dict(zip(map(str, at), (float(q) for q in np.quantile(numbers, at)), strict=True)),
            "histogram": {"edges": [float(e) for e in edges], "counts": [int(c) for c in counts], "sampled": len(numbers) < self.count},
        }  # fmt: skip


def summarise(
    lake: Lake, version: LayerVersion, columns: list[str] | None = None, bbox: query.Box | None = None, where: Filter | None = None,
    caps: Caps = _CAPS,
) -> tuple[int, list[Summary]]:  # fmt: skip
    """(how many features match, a summary of each column).

    Args:
        lake, version: what is asked.
        columns: names; all that can be summarised when None.
        bbox: WGS 84; where: CQL2 filter; caps: as in `twin.query.items`.

    Raises:
        BadOption: an unknown column, or one of a type that has no summary. Others as `twin.query.items`.
    """
    types = query.columns_of(lake, version)
    kinds = {name: kind_of(kind) for name, kind in types.items()}
    chosen = [n for n, k in kinds.items() if k != "other" and n not in ("id", "parent")] if columns is None else columns
    for name in chosen:
        if kinds.get(name, "other") == "other":
            raise BadOption(f"Layer {version.layer!r} has no column {name!r} that can be summarised.", f"It has: {', '.join(types)}.")
    summaries = [Summary(name, kinds[name]) for name in dict.fromkeys(chosen)]
    matched = 0
    for table in query.scan(lake, version, [s.name for s in summaries] or ["id"], bbox, where, caps):
        matched += len(table)
        for summary in summaries:
            summary.add(table.column(summary.name))
    return matched, summaries
