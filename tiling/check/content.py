"""What a tile's content is, and where its vertices stand."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from .glb import load_model
from .gltf import Read
from .issues import Where
from .jsonfile import parse_json
from .legacy import DECODERS
from .scene import F64

Kind = Literal["gltf", "legacy", "tileset", "archive", "opaque", "unknown"]
#: Formats of extensions and drafts: known to exist, not decoded.
_OPAQUE = {b"vctr": "Vector (draft)", b"geom": "Geometry (draft)", b"subt": "a subtree"}


@dataclass(frozen=True)
class Content:
    """A content's kind; ``json`` is its parsed text where it is JSON."""

    kind: Kind
    json: object = None


def identify(data: bytes, path: str, where: Where) -> Content:
    """Tell a content by its first bytes, as clients do; the file name matters for archives only."""
    magic = data[:4]
    if magic == b"glTF":
        return Content("gltf")
    if magic in DECODERS:
        return Content("legacy")
    if magic in _OPAQUE:
        where.warning("CONTENT_NOT_DECODED", f"is {_OPAQUE[magic]}; its vertices were not checked")
        return Content("opaque")
    if magic[:2] == b"PK" or path.lower().endswith(".3tz"):
        return Content("archive")
    if data.lstrip(b" \t\r\n\xef\xbb\xbf")[:1] == b"{":
        return _identify_json(data, where)
    where.error("CONTENT_TYPE_UNKNOWN", f"starts with {magic!r}: no content type of 3D Tiles")
    return Content("unknown")


def _identify_json(data: bytes, where: Where) -> Content:
    value = parse_json(data, where)
    if value is None:
        return Content("unknown")
    if isinstance(value.get("asset"), dict):
        if "root" in value or "geometricError" in value:
            return Content("tileset", value)
        return Content("gltf", value)
    if "type" in value and ({"features", "geometry", "coordinates"} & value.keys()):
        where.warning("CONTENT_NOT_DECODED", "is GeoJSON; its vertices were not checked")
        return Content("opaque")
    where.error("CONTENT_TYPE_UNKNOWN", "is JSON, but neither a tileset nor a glTF")
    return Content("unknown")


def positions(data: bytes, content: Content, read: Read, where: Where, up: str) -> Iterator[F64]:
    """Check a geometry content and yield its vertices in the tile's frame, (N, 3) at a time."""
    if content.kind == "legacy":
        yield from DECODERS[data[:4]](data, read, where, up)
    elif content.kind == "gltf":
        model = load_model(data, read, where, up)
        for primitive in model.primitives if model else ():
            yield from primitive.chunks()
