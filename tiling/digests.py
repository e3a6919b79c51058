"""A 64-bit digest of each row of a table: of every value in it, so that two rows that differ are told apart.

Texts and bytes go through the polynomial of `twin.keys.id_hash`; in a compiled loop where there are many of them, with
numpy where loading the compiler would cost more than it saves. Both give the same numbers.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tiling.metadata import as_json
from twin.keys import id_hash

U64 = NDArray[np.uint64]
MANY = 1 << 20
"""Bytes of texts from which the compiled loop is used."""
_NULL = np.uint64(0x9E3779B97F4A7C15)
_STEP = np.uint64(0x2545F4914F6CDD1D)


def digests(table: pa.Table) -> U64:
    """(N,) digest of each row; the order of the columns counts, their names do not."""
    total = np.full(len(table), 0xCBF29CE484222325, np.uint64)
    with np.errstate(over="ignore"):
        for column in table.columns:
            array = column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
            value = _values(array if isinstance(array, pa.Array) else pa.concat_arrays(array.chunks))
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
    if pa.types.is_primitive(array.type):
        value = _fixed(array)
    else:
        value = _bytes(array.fill_null("") if pa.types.is_string(kind) or pa.types.is_large_string(kind) else array)
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
    if pa.types.is_fixed_size_binary(array.type) or pa.types.is_decimal(array.type) or array.null_count:
        array = pa.array([b"" if v is None else v if isinstance(v, bytes) else str(v).encode() for v in array.to_pylist()], pa.large_binary())
    if array.nbytes < MANY:
        return id_hash(array.cast(pa.large_binary()).cast(pa.large_string(), safe=False) if _binary(array.type) else array)
    from tiling.digest_kernel import polynomial  # noqa: PLC0415  numba takes half a second to load

    wide = pa.types.is_large_binary(array.type) or pa.types.is_large_string(array.type)
    offsets = np.frombuffer(array.buffers()[1], np.int64 if wide else np.int32)[array.offset : array.offset + len(array) + 1]
    result = np.empty(len(array), np.uint64)
    polynomial(offsets, np.frombuffer(array.buffers()[2], np.uint8), result)
    return result


def _binary(kind: Any) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))
