"""The codec of EXT_meshopt_compression: vertex columns, triangles and index sequences, and the filters' decoding; of KHR_meshopt_compression what it adds is decoded, too.

Written from the specification, so that set-up needs no C++ compiler and `twin check` reads strangers' files without
native code: whatever the bytes are, a decoder returns what they mean or raises BadTileset.

Source: EXT_meshopt_compression (Khronos vendor extension, Kapoulkine 2022): appendix A, bitstreams (attributes version 0,
triangles version 1, indices version 1); appendix B, filters. KHR_meshopt_compression (release candidate of 2025): attributes version 1, filter COLOR.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiling.encoding import meshopt_indices as loops
from tiling.encoding import meshopt_kernels as kernels
from twin.errors import BadTileset

Array = NDArray[Any]
Bytes = NDArray[np.uint8]
ATTRIBUTES, TRIANGLES, INDICES = 0xA0, 0xE1, 0xD1
"""First byte of each stream."""
ATTRIBUTES_1 = 0xA1
_TABLE = 16
_RESERVED = 4


def encode_vertices(rows: Array) -> bytes:
    """A vertex column, compressed (mode ATTRIBUTES).

    Args:
        rows: (n, …) contiguous; a row is a multiple of 4 bytes, 4–256. Neighbours should be alike.
    """
    count = len(rows)
    if count == 0:
        raise ValueError("a vertex column needs at least one row")
    raw = np.ascontiguousarray(rows).view(np.uint8).reshape(count, -1)
    stride = raw.shape[1]
    if stride % 4 or not 4 <= stride <= 256:
        raise ValueError(f"rows of {stride} bytes cannot be compressed: pad them to a multiple of 4, at most 256")
    tail = max(32, stride)
    out = np.empty(_headers(count, stride) + -(-count // 16) * 16 * stride + tail + 32, np.uint8)
    size = kernels.encode_vertices(raw, out)
    out[size : size + tail] = 0
    out[size + tail - stride : size + tail] = raw[0]
    return out[: size + tail].tobytes()


def _headers(count: int, stride: int) -> int:
    """Bytes of the stream's header and of all header bits: the least that any column of that size needs, without its tail."""
    block = min((8192 // stride) & ~15, 256)
    full, rest = divmod(count, block)
    return 1 + stride * (full * -(-block // 64) + -(-rest // 64))


def decode_vertices(data: bytes | Bytes, count: int, stride: int, *, newest: bool = False) -> Bytes:
    """(count, stride) uint8: the rows of a stream of mode ATTRIBUTES, of version 0; with `newest` also of version 1, which KHR_meshopt_compression has.

    Raises:
        BadTileset: not such a stream, or not of that many rows.
    """
    one = newest and len(data) > 0 and data[0] == ATTRIBUTES_1
    raw, tail = _stream(data, ATTRIBUTES_1 if one else ATTRIBUTES, "ATTRIBUTES"), max(24, stride + stride // 4) if one else max(32, stride)
    if count < 1 or stride % 4 or not 4 <= stride <= 256:
        raise _bad("ATTRIBUTES", f"{count} rows of {stride} bytes are not possible")
    least = 1 + -(-count // min((8192 // stride) & ~15, 256)) * (stride // 4) if one else _headers(count, stride)
    if len(raw) < least + tail:  # before memory is taken: a few bytes may claim any count
        raise _bad("ATTRIBUTES", f"{len(raw)} bytes cannot hold {count} rows of {stride} bytes")
    rows = np.empty((count, stride), np.uint8)
    if one:
        rows[0], channels = np.split(raw[len(raw) - stride - stride // 4 :], [stride])
        if ((channels & 15) > 2).any() or (((channels & 15) < 2) & (channels > 15)).any():
            raise _bad("ATTRIBUTES", "a channel has a mode that is not defined")
        _finished("ATTRIBUTES", kernels.decode_vertices_1(raw, len(raw) - tail, channels, rows), len(raw) - tail)
        return rows
    rows[0] = raw[len(raw) - stride :]
    _finished("ATTRIBUTES", kernels.decode_vertices(raw, len(raw) - tail, rows), len(raw) - tail)
    return rows


def encode_triangles(indices: Array) -> bytes:
    """Triangles, compressed (mode TRIANGLES); a triangle may come back turned (a, b, c → b, c, a).

    Args:
        indices: (3 n,) or (n, 3) integers below 2^32.
    """
    flat = indices.reshape(-1)
    if len(flat) % 3:
        raise ValueError("triangles have three indices each")
    codes, data = np.empty(len(flat) // 3, np.uint8), np.empty(16 * (len(flat) // 3), np.uint8)
    table, seen = np.zeros(14, np.uint8), np.zeros(256, np.int64)
    loops.encode_triangles(flat, table, codes, data, seen)
    seen[0] = 0
    often = np.argsort(-seen, kind="stable")[:13]
    table[1:] = often * (seen[often] > 0)  # the first stays 0: as data, that pair would restart the numbering
    size = loops.encode_triangles(flat, table, codes, data, seen)
    return bytes([TRIANGLES]) + codes.tobytes() + data[:size].tobytes() + table.tobytes() + b"\0\0"


def decode_triangles(data: bytes | Bytes, count: int, size: int = 4) -> NDArray[np.uint32]:
    """(count,) indices of a stream of mode TRIANGLES.

    Args:
        size: bytes of an index in the buffer view, 2 or 4.

    Raises:
        BadTileset: not such a stream, not of that many indices, or an index does not fit into `size` bytes.
    """
    raw = _stream(data, TRIANGLES, "TRIANGLES")
    if count < 0 or count % 3 or len(raw) < 1 + count // 3 + _TABLE:
        raise _bad("TRIANGLES", f"{len(raw)} bytes cannot hold {count} indices")
    table = raw[len(raw) - _TABLE :]
    if table[14:].any() or ((table >> 4) == 15).any() or ((table & 15) == 15).any():
        raise _bad("TRIANGLES", "its table has entries that are not allowed")
    out = np.empty(count, np.uint32)
    end = len(raw) - _TABLE
    _finished("TRIANGLES", loops.decode_triangles(raw, end, (1 << 8 * size) - 1, out), end)
    return out


def encode_indices(indices: Array) -> bytes:
    """Any sequence of indices (strips, lines), compressed (mode INDICES).

    Args:
        indices: (n,) integers below 2^30, as far as the stream can step.
    """
    flat = indices.reshape(-1)
    if len(flat) and int(flat.max()) >= 1 << 30:
        raise ValueError("indices above 2^30 cannot be compressed")
    streams = []
    for eager in (False, True):  # which habit is better depends on the sequence
        out = np.empty(1 + 5 * len(flat), np.uint8)
        out[0] = INDICES
        streams.append(out[: loops.encode_indices(flat, eager, out, 1)])
    return min(streams, key=len).tobytes() + bytes(_RESERVED)


def decode_indices(data: bytes | Bytes, count: int, size: int = 4) -> NDArray[np.uint32]:
    """(count,) indices of a stream of mode INDICES; `size` and errors as in `decode_triangles`."""
    raw = _stream(data, INDICES, "INDICES")
    if count < 0 or len(raw) < 1 + count + _RESERVED:
        raise _bad("INDICES", f"{len(raw)} bytes cannot hold {count} indices")
    out = np.empty(count, np.uint32)
    end = len(raw) - _RESERVED
    _finished("INDICES", loops.decode_indices(raw, end, (1 << 8 * size) - 1, out), end)
    return out


def _stream(data: bytes | Bytes, first: int, mode: str) -> Bytes:
    raw = np.frombuffer(data, np.uint8) if isinstance(data, bytes | bytearray | memoryview) else np.ascontiguousarray(data)
    if not len(raw) or raw[0] != first:
        raise _bad(mode, f"it begins with {raw[:1].tobytes().hex() or 'nothing'}, not {first:x}")
    return raw


def _finished(mode: str, at: int, end: int) -> None:
    if at < 0:
        raise _bad(mode, kernels.FAULTS[at])
    if at != end:
        raise _bad(mode, f"{end - at} bytes are left over")


def _bad(mode: str, what: str) -> BadTileset:
    return BadTileset(f"A stream of EXT_meshopt_compression, mode {mode}, is broken: {what}.", "Write the tile again.")


# --- filters ----------------------------------------------------------------------------------------------------------


def unfilter(rows: Bytes, name: str) -> Bytes:
    """Decoded rows after the filter `name`: NONE, OCTAHEDRAL, QUATERNION, EXPONENTIAL or COLOR; same shape.

    Raises:
        BadTileset: the filter does not go with that stride, or rows are outside of what it defines.
    """
    stride = rows.shape[1]
    allowed = {"NONE": True, "OCTAHEDRAL": stride in {4, 8}, "QUATERNION": stride == 8, "EXPONENTIAL": stride % 4 == 0, "COLOR": stride in {4, 8}}
    if not allowed.get(name, False):
        raise BadTileset(f"The filter {name} of EXT_meshopt_compression is not defined for rows of {stride} bytes.", "Write the tile again.")
    if name == "NONE":
        return rows
    decoded: Array = {"OCTAHEDRAL": _octahedral, "QUATERNION": _quaternion, "EXPONENTIAL": _exponential, "COLOR": _color}[name](np.ascontiguousarray(rows))
    return np.ascontiguousarray(decoded).view(np.uint8).reshape(rows.shape)


def _one(values: Array, least: int, name: str) -> NDArray[np.float32]:
    """Each row's 1.0, which tells how many bits its other components have: 2^(K-1) − 1."""
    wide = values.astype(np.int32)
    if not ((wide >= least) & ((wide & (wide + 1)) == 0)).all():
        raise BadTileset(f"Rows of the filter {name} of EXT_meshopt_compression do not say how many bits they have.", "Write the tile again.")
    return wide.astype(np.float32)


def _rounded(values: Array, top: int) -> Array:
    scaled = values * np.float32(top)
    return np.asarray(np.trunc(scaled + np.copysign(np.float32(0.5), scaled)))


def _octahedral(rows: Bytes) -> Array:
    """Unit vectors (appendix B, filter 1)."""
    v: Array = rows.view("i1" if rows.shape[1] == 4 else "<i2")
    top = 127 if rows.shape[1] == 4 else 32_767
    one = _one(v[:, 2], 1, "OCTAHEDRAL")
    x, y = v[:, 0] / one, v[:, 1] / one
    z = np.float32(1) - np.abs(x) - np.abs(y)
    fold = np.minimum(z, np.float32(0))
    x, y = x - np.copysign(fold, x), y - np.copysign(fold, y)
    length = np.sqrt(x * x + y * y + z * z)
    result = v.copy()
    for k, part in enumerate((x, y, z)):
        result[:, k] = np.clip(_rounded(part / length, top), -top, top)
    return result


def _quaternion(rows: Bytes) -> Array:
    """Unit quaternions without their largest component (appendix B, filter 2)."""
    v = rows.view("<i2")
    one = _one(v[:, 3] | 3, 7, "QUATERNION")
    xyz = v[:, :3] / one[:, None] * np.float32(np.sqrt(0.5))
    w = np.sqrt(np.maximum(np.float32(0), np.float32(1) - (xyz * xyz).sum(axis=1)))
    result = np.empty_like(v)
    parts = np.clip(_rounded(np.column_stack([w, xyz]), 32767), -32768, 32767)
    for k in range(4):
        result[np.arange(len(v)), ((v[:, 3] & 3) + k) % 4] = parts[:, k]
    return result


def _exponential(rows: Bytes) -> Array:
    """Floats of 24 bits of mantissa and 8 of exponent (appendix B, filter 3)."""
    v = rows.view("<i4")
    exponent, mantissa = v >> 24, (v << 8) >> 8
    if (np.abs(exponent) > 100).any():
        raise BadTileset("Rows of the filter EXPONENTIAL of EXT_meshopt_compression have exponents beyond ±100.", "Write the tile again.")
    return np.asarray(np.ldexp(mantissa.astype(np.float32), exponent))


def _color(rows: Bytes) -> Array:
    """Red, green, blue and alpha of luma and chroma (KHR_meshopt_compression, appendix B, filter 4)."""
    kind, top = ("u1", 255) if rows.shape[1] == 4 else ("<u2", 65_535)
    v, signed = rows.view(kind).astype(np.int32), rows.view(kind.replace("u", "i")).astype(np.int32)
    if (v[:, 3] < 2).any():
        raise BadTileset("Rows of the filter COLOR of KHR_meshopt_compression do not say how many bits they have.", "Write the tile again.")
    one = (1 << np.frexp(v[:, 3].astype(np.float64))[1]) - 1  # of K bits all: the highest one of the fourth number is bit K - 1
    luma, orange, green = v[:, 0], signed[:, 1], signed[:, 2]
    alpha = v[:, 3] & (one >> 1)
    found = np.column_stack([luma + orange - green, luma + green, luma - orange - green, alpha << 1 | alpha & 1])
    scaled = _rounded(found.astype(np.float32) * (np.float32(top) / one.astype(np.float32))[:, None], 1)
    return np.asarray(np.clip(scaled, 0, top).astype(kind))
