"""What the reading process sends beside plain batches: where the model stands, and long tables with each value once. The rest of the work is for the process that waits."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from twin import crs
from twin.errors import TwinError
from twin.model import Batch, Reference, Table

I64 = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Folded:
    """Property or quantity values of many objects.

    Attributes:
        name: of the table.
        owners: (O,) string, id of each object. counts: (O,) rows of each, in their order.
        sets: the column of the sets' names and, of each set of each object, its name (S,). sources: (S,) "occurrence" or "type".
        lengths: (S,) rows of each, in their order.
        values: columns of the V different values, by name.
        rows: (N,) the value of each row; N is the sum of `counts` and of `lengths`.
    """

    name: str
    owners: pa.Array
    counts: I64
    sets: tuple[str, pa.Array]
    sources: pa.Array
    lengths: I64
    values: dict[str, pa.Array]
    rows: I64

    def unfolded(self) -> Table:
        """The table: id, the values' columns, source."""
        each, rows = _repeated(self.lengths), _indices(self.rows)
        columns = {
            "id": self.owners.take(_repeated(self.counts)), self.sets[0]: self.sets[1].take(each),
            **{name: values.take(rows) for name, values in self.values.items()}, "source": self.sources.take(each),
        }  # fmt: skip
        return Table(self.name, pa.table(columns))


@dataclass(frozen=True, slots=True)
class Place:
    """Where the model stands: `point` (3,) in coordinates of `reference`."""

    reference: Reference
    point: NDArray[np.float64]

    def prepare(self) -> None:
        """Load what batches of there are written and tiled with (masked arrays, PROJ's database and transforms, the geoid): 0.03 s for a process that waits anyhow."""
        import numpy.ma  # noqa: F401, PLC0415

        with suppress(TwinError):  # what is wrong with the place is said where it is used
            crs.to_geodetic(self.reference, self.point[None])


Sent = Batch | Folded | Place


def unfolded(sent: Iterator[Sent]) -> Iterator[Batch]:
    """The batches as everybody knows them."""
    for one in sent:
        if isinstance(one, Place):
            one.prepare()
        else:
            yield one.unfolded() if isinstance(one, Folded) else one


def _repeated(counts: I64) -> pa.Array:
    return _indices(np.repeat(np.arange(len(counts)), counts))


def _indices(rows: I64) -> pa.Array:
    """As Arrow has them: `pyarrow.array` would load NumPy's masked arrays first, for 5 ms."""
    return pa.Array.from_buffers(pa.int64(), len(rows), [None, pa.py_buffer(np.ascontiguousarray(rows, np.int64))])
