"""A long table as it is sent from the reading process: each value once, and which rows repeat it. Unfolding it is for the process that waits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from twin.model import Table

I64 = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Folded:
    """Property or quantity values of many objects.

    Attributes:
        name: of the table.
        owners: (O,) string, id of each object. counts: (O,) rows of each, in their order.
        sources: (S,) string, "occurrence" or "type", of each set of each object. lengths: (S,) rows of each, in their order.
        values: columns of the V different values, by name.
        rows: (N,) the value of each row; N is the sum of `counts` and of `lengths`.
    """

    name: str
    owners: pa.Array
    counts: I64
    sources: pa.Array
    lengths: I64
    values: dict[str, pa.Array]
    rows: I64

    def unfolded(self) -> Table:
        """The table: id, the values' columns, source."""
        columns = {
            "id": self.owners.take(_repeated(self.counts)),
            **{name: values.take(_indices(self.rows)) for name, values in self.values.items()},
            "source": self.sources.take(_repeated(self.lengths)),
        }
        return Table(self.name, pa.table(columns))


def unfolded(batch: Any) -> Any:
    """A batch as everybody knows it."""
    return batch.unfolded() if isinstance(batch, Folded) else batch


def _repeated(counts: I64) -> pa.Array:
    return _indices(np.repeat(np.arange(len(counts)), counts))


def _indices(rows: I64) -> pa.Array:
    """As Arrow has them: `pyarrow.array` would load NumPy's masked arrays first, for 5 ms."""
    return pa.Array.from_buffers(pa.int64(), len(rows), [None, pa.py_buffer(np.ascontiguousarray(rows, np.int64))])
