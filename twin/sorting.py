"""The order in which features are asked for: `sortby=+a,-b` (OGC API – Records, Features part 8), over Arrow columns."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from twin.cql2_rows import kind_of
from twin.errors import BadOption, OverLimit

MAX_KEYS = 8
_ROW = "\0row"


@dataclass(frozen=True, slots=True)
class Key:
    """A column to sort by, and whether from the largest value down."""

    name: str
    down: bool


def sortables(columns: dict[str, pa.DataType]) -> list[str]:
    """The columns that have an order: numbers, texts, booleans, dates and times."""
    return [name for name, kind in columns.items() if kind_of(kind) in ("number", "text", "boolean", "instant")]


def parse(text: str, columns: dict[str, pa.DataType]) -> tuple[Key, ...]:
    """`+a,-b,c` → keys, the weightiest first; a space stands for `+`, which is what a plus becomes in a URL.

    Raises:
        BadOption: no list of sortable columns, one named twice, or more than `MAX_KEYS`.
    """
    known = sortables(columns)
    keys = [Key(part[1:] if part[:1] in {"+", " ", "-"} else part, part.startswith("-")) for part in text.split(",")]
    for key in keys:
        if key.name not in known:
            raise BadOption(f"sortby: there is no sortable property {key.name[:80]!r}.", f"Sortable: {', '.join(known)}; for example sortby=-{known[-1]}.")
    if len({key.name for key in keys}) < len(keys) or len(keys) > MAX_KEYS:
        raise BadOption(f"sortby: a property is named twice, or more than {MAX_KEYS} are.", "Name each one once.")
    return tuple(keys)


def order(tables: Iterator[pa.Table], keys: tuple[Key, ...], most: int) -> NDArray[np.int64]:
    """(N,) positions of N rows in sorted order. Rows that are equal keep theirs; nulls come last, before them what is no number, up or down.

    Args:
        tables: the rows, with the columns that the keys name.
        keys: what to sort by.
        most: bytes of values that may be held.

    Raises:
        OverLimit: the values are more than that.
    """
    held: list[pa.Table] = []
    size = 0
    for table in tables:
        size += table.nbytes
        if size > most:
            raise OverLimit(f"sortby: the values to sort by take more than {most >> 20} MB.", "Narrow the question by bbox or filter, or sort by a number.")
        held.append(table)
    if not held:
        return np.zeros(0, np.int64)
    whole = pa.concat_tables(held)
    whole = whole.append_column(_ROW, pa.array(np.arange(len(whole))))  # so that what is equal, nulls too, certainly keeps its order
    found = pc.sort_indices(whole, sort_keys=[*((key.name, "descending" if key.down else "ascending") for key in keys), (_ROW, "ascending")])
    return np.asarray(found.to_numpy(), np.int64)
