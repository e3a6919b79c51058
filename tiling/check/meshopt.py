"""EXT_meshopt_compression: one compressed buffer view back to its bytes.

The codec is meshoptimizer's own (package ``meshoptimizer``); without it the view counts as not decoded,
which is reported, never passed over.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .issues import Where
from .shape import INDEX, Choice, Num, Obj

_WHOLE = Num(low=1, whole=True)
_VIEW = Obj(
    required={
        "buffer": INDEX,
        "byteLength": _WHOLE,
        "byteStride": Num(low=1, high=256, whole=True),
        "count": _WHOLE,
        "mode": Choice(("ATTRIBUTES", "TRIANGLES", "INDICES")),
    },
    optional={
        "byteOffset": Num(low=0, whole=True),
        "filter": Choice(("NONE", "OCTAHEDRAL", "QUATERNION", "EXPONENTIAL")),
    },
)


def decode_view(
    packed: dict[str, Any],
    byte_length: int,
    slice_: Callable[[dict[str, Any], Where], bytes | None],
    where: Where,
) -> bytes | None:
    """Decompress; None with a finding where the extension object or its data are broken."""
    if not _VIEW.check(packed, where):
        return None
    count, stride, mode = int(packed["count"]), int(packed["byteStride"]), packed["mode"]
    if count * stride != byte_length:
        where.error("MESHOPT_INVALID", f"count x byteStride is {count * stride}, the view has {byte_length} bytes")
        return None
    if (mode == "ATTRIBUTES" and stride % 4) or (mode != "ATTRIBUTES" and stride not in (2, 4)):
        where.error("MESHOPT_INVALID", f"a byteStride of {stride} is not allowed for {mode}")
        return None
    if mode == "TRIANGLES" and count % 3:
        where.error("MESHOPT_INVALID", f"the count {count} of TRIANGLES is not a multiple of 3")
        return None
    data = slice_(packed, where)
    if data is None:
        return None
    try:
        return _decode(data, count, stride, mode, packed.get("filter", "NONE"))
    except ImportError:
        where.warning("EXTENSION_NOT_DECODED", "the package meshoptimizer is missing; this data was not checked")
    except (RuntimeError, ValueError) as error:
        where.error("MESHOPT_INVALID", f"cannot be decompressed: {error}")
    return None


def _decode(data: bytes, count: int, stride: int, mode: str, filter_: str) -> bytes:
    import meshoptimizer  # noqa: PLC0415 - optional: without it the view is reported as not decoded

    if mode == "ATTRIBUTES":
        # One void element a vertex: the wrapper allocates ``count`` elements of the dtype it is given.
        raw = meshoptimizer.decode_vertex_buffer(count, stride, data, dtype=np.dtype(f"V{stride}"))
        filters = {
            "OCTAHEDRAL": meshoptimizer.decode_filter_oct,
            "QUATERNION": meshoptimizer.decode_filter_quat,
            "EXPONENTIAL": meshoptimizer.decode_filter_exp,
        }
        if filter_ != "NONE":
            raw = filters[filter_](raw, count, stride)
        return bytes(np.ascontiguousarray(raw).tobytes())
    decode = meshoptimizer.decode_index_buffer if mode == "TRIANGLES" else meshoptimizer.decode_index_sequence
    # The wrapper always allocates 32 bits an index; 16-bit indices fill only the first half of that.
    return bytes(np.asarray(decode(count, stride, data)).tobytes()[: count * stride])
