"""A 64-bit digest of each row of a table: of every value in it, so that two rows that differ are told apart."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tiling.encoding.arrow_bytes import offsets_and_data, whole
from tiling.encoding.survey import as_json

U64 = NDArray[np.uint64]
_NULL = np.uint64(0x9E3779B97F4A7C15)
_STEP = np.uint64(0x2545F4914F6CDD1D)


def digests(table: pa.Table) -> U64:
    """(N,) digest of each row; the order of the columns counts, their names do not."""
    total = np.full(len(table), 0xCBF29CE484222325, np.uint64)
    with np.errstate(over="ignore"):
        for column in table.columns:
            value = _values(whole(column))
            total = (total ^ value) * _STEP
            total ^= total >> np.uint64(32)
    return total


def _values(array: pa.Array) -> U64:
    kind = array.type
    if pa.types.is_dictionary(kind):
        return _values(array.cast(kind.value_type))
    if pa.types.is_nested(kind):
        return _values(as_json(array))
    if pa.types.is_null(kind):
        return np.full(len(array), _NULL)
    if pa.types.is_boolean(kind):
        array = array.cast(pa.uint8())
    value = _fixed(array) if pa.types.is_primitive(array.type) else _bytes(array)
    if array.null_count:
        value = np.where(np.asarray(array.is_null()), _NULL, value)
    return value


def _fixed(array: pa.Array) -> U64:
    """Numbers, dates and times by their bits."""
    size = array.type.bit_width // 8
    data = array.buffers()[1]
    if data is None:
        return np.zeros(len(array), np.uint64)
    bits = np.frombuffer(data, f"<u{size}" if size <= 8 else np.dtype("V16"))[array.offset : array.offset + len(array)]
    wide = bits.astype(np.uint64) if size <= 8 else bits.view("<u8").reshape(-1, 2).sum(axis=1, dtype=np.uint64)
    wide = wide * np.uint64(0xBF58476D1CE4E5B9)
    return np.asarray(wide ^ (wide >> np.uint64(31)), np.uint64)


def _bytes(array: pa.Array) -> U64:
    if pa.types.is_fixed_size_binary(array.type) or pa.types.is_decimal(array.type):
        array = pa.array([b"" if v is None else v if isinstance(v, bytes) else str(v).encode() for v in array.to_pylist()], pa.large_binary())
    from tiling.digest_kernel import hash_bytes  # noqa: PLC0415  numba takes half a second to load: tiling of small models never needs it

    result = np.empty(len(array), np.uint64)
    hash_bytes(*offsets_and_data(array), result)
    return result
