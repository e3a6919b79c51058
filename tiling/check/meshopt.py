"""EXT_meshopt_compression and KHR_meshopt_compression: one compressed buffer view back to its bytes.

The codec is `tiling.encoding.meshopt`, the one thing that the checker shares with the tilers: its tests hold it against the
reference codec, byte for byte of what comes back.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twin.errors import BadTileset

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
_NEWEST = Obj(required=_VIEW.required, optional={**_VIEW.optional, "filter": Choice(("NONE", "OCTAHEDRAL", "QUATERNION", "EXPONENTIAL", "COLOR"))})
NAMES = ("EXT_meshopt_compression", "KHR_meshopt_compression")


def decode_view(
    packed: dict[str, Any],
    byte_length: int,
    slice_: Callable[[dict[str, Any], Where], bytes | None],
    where: Where,
    *,
    newest: bool = False,
) -> bytes | None:
    """Decompress; None with a finding where the extension object or its data are broken. `newest`: of KHR_meshopt_compression, which has more."""
    if not (_NEWEST if newest else _VIEW).check(packed, where):
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
    if mode != "ATTRIBUTES" and packed.get("filter", "NONE") != "NONE":
        where.error("MESHOPT_INVALID", f"mode {mode} allows no filter")
        return None
    data = slice_(packed, where)
    if data is None:
        return None
    try:
        return _decode(data, count, stride, mode, packed.get("filter", "NONE"), newest=newest)
    except BadTileset as error:
        where.error("MESHOPT_INVALID", f"cannot be decompressed: {error.message}")
    return None


def _decode(data: bytes, count: int, stride: int, mode: str, filter_: str, *, newest: bool) -> bytes:
    from tiling.encoding import meshopt  # noqa: PLC0415  numba takes half a second to load: only compressed tiles need it

    if mode == "ATTRIBUTES":
        return meshopt.unfilter(meshopt.decode_vertices(data, count, stride, newest=newest), filter_).tobytes()
    decode = meshopt.decode_triangles if mode == "TRIANGLES" else meshopt.decode_indices
    return decode(data, count, stride).astype(f"<u{stride}").tobytes()
