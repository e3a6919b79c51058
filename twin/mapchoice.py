"""What of a vector layer a map draws: only features that match a CQL2 filter, and in the colours of a legend made from a column.

The same filter and the same legend as `/collections/{layer}/items` and `/styles/{column}` give: a picture, its list and its legend agree.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from twin import legends, query, statistics
from twin.lake import Lake
from twin.model import LayerVersion
from twin.query import Caps

_CAPS = Caps()
U8 = NDArray[np.uint8]


@dataclass(frozen=True)
class Choice:
    """What is drawn, and how it is coloured.

    Attributes:
        where: CQL2 condition; "" draws everything. `language`: how it is written, as in `twin.cql2.parse`.
        column: whose values give the colours; "" leaves the layer's own. `method`, `classes`, `ramp`: as in `twin.legends.legend`.
    """

    where: str = ""
    language: str = "cql2-text"
    column: str = ""
    method: str = "quantile"
    classes: int = 5
    ramp: str = "viridis"

    def __bool__(self) -> bool:
        return bool(self.where or self.column)


@dataclass(frozen=True, eq=False)
class _Held:
    """A version as a key of the cache: its parts and what they hide say all that a choice depends on."""

    version: LayerVersion

    def _key(self) -> tuple[Any, ...]:
        return self.version.layer, tuple((part.key, part.hidden) for part in self.version.parts), self.version.tombstones

    def __hash__(self) -> int:
        return hash(self._key())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Held) and self._key() == other._key()


def chosen(lake: Lake, version: LayerVersion, choice: Choice, caps: Caps = _CAPS) -> tuple[frozenset[str] | None, dict[str, tuple[int, int, int]] | None]:
    """(ids of what is drawn or None for all, colour of each id or None for the layer's own).

    Raises:
        BadOption: the filter does not fit the layer, or its column makes no legend.
        OverLimit: the question takes more than `caps`.
    """
    return _chosen(lake, _Held(version), choice, caps)


@lru_cache(maxsize=24)
def _chosen(lake: Lake, held: _Held, choice: Choice, caps: Caps) -> tuple[frozenset[str] | None, dict[str, tuple[int, int, int]] | None]:
    version = held.version
    where = query.filter_of(lake, version, choice.where, choice.language) if choice.where else None
    ids = None
    if where is not None:
        ids = frozenset(one for table in query.scan(lake, version, ["id"], where=where, caps=caps) for one in table.column("id").to_pylist())
    if not choice.column:
        return ids, None
    # the legend is of the whole layer: hiding some features does not recolour the others
    _, [summary] = statistics.summarise(lake, version, [choice.column], caps=caps)
    legend = legends.legend(summary, method=choice.method, classes=choice.classes, ramp=choice.ramp)
    tables = [table.select(["id", choice.column]) for table in query.scan(lake, version, list(dict.fromkeys(["id", choice.column])), caps=caps)]
    colors: dict[str, tuple[int, int, int]] = {}
    for table in tables:
        rgb = colour(table.column(choice.column), legend)
        colors.update(zip(table.column("id").to_pylist(), (tuple(row) for row in rgb.tolist()), strict=True))
    return ids, colors


def colour(column: pa.ChunkedArray, legend: dict[str, Any]) -> U8:
    """(N, 3) colours of values by a legend of `twin.legends`; what it does not name gets its colour for others."""
    entries = legend["entries"]
    rest = next((entry["color"] for entry in entries if entry["value"] is None), legends.OTHER)
    named = [entry for entry in entries if entry["value"] is not None]
    out = np.tile(np.array(_rgb(rest), np.uint8), (len(column), 1))
    colors = np.array([_rgb(entry["color"]) for entry in named], np.uint8).reshape(-1, 3)
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if not named or not isinstance(named[0]["value"], int | float | list):
        at = pc.index_in(column.cast(pa.string()), value_set=pa.array([str(entry["value"]) for entry in named], pa.string()))
        known = np.asarray(at.is_valid())
        out[known] = colors[np.asarray(at.drop_null(), np.int64)]
        return out
    values = np.asarray(column.cast(pa.float64()).to_numpy(), np.float64)
    known = np.isfinite(values)
    if legend["type"] == "continuous":
        stops = np.array([entry["value"] for entry in named], np.float64)
        out[known] = np.stack([np.interp(values[known], stops, colors[:, band]) for band in range(3)], axis=-1).round()
        return out
    edges = np.array([entry["value"][0] for entry in named] + [named[-1]["value"][1]], np.float64)
    inside = known & (values >= edges[0]) & (values <= edges[-1])
    out[inside] = colors[np.clip(np.searchsorted(edges, values[inside], side="right") - 1, 0, len(named) - 1)]
    return out


def _rgb(color: str) -> tuple[int, int, int]:
    return int(color[1:3], 16), int(color[3:5], 16), int(color[5:7], 16)
