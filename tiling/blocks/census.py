"""Surveys of a layer's columns (`tiling.encoding.metadata`) kept up to date from the rows that came and went.

The result is the survey of all rows, exactly: where the rows that went leave a doubt (the lowest value may be gone, or the
65th text), the column is surveyed again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from tiling.encoding import survey
from tiling.encoding.survey import ENUM_VALUES, Survey

_SAMPLE = 2048


@dataclass(frozen=True)
class Census:
    """`columns`: their surveys; `many`: of text columns, how many different texts there are at least."""

    columns: dict[str, Survey]
    many: dict[str, int]

    @staticmethod
    def of(table: pa.Table) -> Census:
        """Of some rows."""
        texts = [f.name for f in table.schema if pa.types.is_string(f.type)]
        few = table.slice(0, _SAMPLE)
        return Census(survey.survey(table), {name: pc.count_distinct(few.column(name), mode="only_valid").as_py() for name in texts})

    @staticmethod
    def merged(many: list[Census]) -> Census:
        """Of all rows of some censuses."""
        bounds: dict[str, int] = {}
        for one in many:
            for name, count in one.many.items():
                bounds[name] = max(bounds.get(name, 0), count)
        return Census(survey.merge(one.columns for one in many), bounds)

    def updated(self, gone: pa.Table, come: pa.Table, again: Callable[[str], Census]) -> Census:
        """After the rows `gone` went and `come` came; `again` makes the census of one column from all rows that there are now."""
        less, more = Census.of(gone), Census.of(come)
        rest: dict[str, Survey] = {}
        many: dict[str, int] = {}
        doubtful = []
        for name, held in self.columns.items():
            left = _without(held, less.columns[name], more.columns[name], self.many.get(name))
            if left is None:
                doubtful.append(name)
                continue
            rest[name] = survey.merge([{name: left}, {name: more.columns[name]}])[name]
            if name in self.many:
                many[name] = max(0, self.many[name] - len(gone))
        for name in doubtful:
            fresh = again(name)
            rest[name] = fresh.columns[name]
            many |= fresh.many
        return Census({name: rest[name] for name in self.columns}, many)

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {"columns": {name: asdict(held) for name, held in self.columns.items()}, "many": self.many}

    @staticmethod
    def from_json(value: dict[str, Any]) -> Census:
        """The inverse of `to_json`."""
        return Census({name: Survey(**survey) for name, survey in value["columns"].items()}, value["many"])


def _without(total: Survey, gone: Survey, come: Survey, many: int | None) -> Survey | None:
    """The survey of the rows that stay, None where it cannot be told. Its extremes may be too wide, and then occur no times, where those of `come` are as wide."""
    if gone.rows == 0:
        return total
    lows = total.lows - (gone.lows if gone.low == total.low else 0)
    highs = total.highs - (gone.highs if gone.high == total.high else 0)
    lowest = total.low is not None and lows <= 0 and not (come.low is not None and come.low <= total.low)
    highest = total.high is not None and highs <= 0 and not (come.high is not None and come.high >= total.high)
    if lowest or highest or (total.nul and gone.nul == total.nul) or total.ragged:
        return None
    texts = total.texts
    if texts is None:
        if many is not None and many - gone.rows <= ENUM_VALUES:
            return None
    else:
        counts = {text: count - (gone.texts or {}).get(text, 0) for text, count in texts.items()}
        texts = {text: count for text, count in counts.items() if count}
    return replace(total, rows=total.rows - gone.rows, nulls=total.nulls - gone.nulls, texts=texts, total=total.total - gone.total, lows=lows, highs=highs)
