"""Columns of texts and bytes as the arrays that compiled loops read."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray


def offsets_and_data(array: pa.Array) -> tuple[NDArray[Any], NDArray[np.uint8]]:
    """((N + 1,) offsets, uint8 data) of a string or binary array: value i is data[offsets[i] : offsets[i + 1]]. Nulls are empty or anything."""
    wide = pa.types.is_large_binary(array.type) or pa.types.is_large_string(array.type)
    _, starts, data = array.buffers()
    if starts is None or not len(array):
        return np.zeros(len(array) + 1, np.int32), np.zeros(0, np.uint8)
    offsets = np.frombuffer(starts, np.int64 if wide else np.int32)[array.offset : array.offset + len(array) + 1]
    return offsets, np.frombuffer(data, np.uint8) if data is not None else np.zeros(0, np.uint8)


def whole(column: pa.ChunkedArray | pa.Array) -> pa.Array:
    """A column as one array."""
    if isinstance(column, pa.Array):
        return column
    if column.num_chunks == 1:
        return column.chunk(0)
    return pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
