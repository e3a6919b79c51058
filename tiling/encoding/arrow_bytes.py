"""Columns of texts and bytes as the arrays that compiled loops read."""

from __future__ import annotations

import pyarrow as pa

from twin.keys import offsets_and_data as offsets_and_data  # noqa: PLC0414  the loops of tilers find it here


def whole(column: pa.ChunkedArray | pa.Array) -> pa.Array:
    """A column as one array."""
    if isinstance(column, pa.Array):
        return column
    if column.num_chunks == 1:
        return column.chunk(0)
    return pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
