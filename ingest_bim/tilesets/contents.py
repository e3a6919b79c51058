"""What the contents of a tileset are, what they refer to, and what is wrong with them at first sight."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote, unquote_to_bytes

import numpy as np

#: What is said about a tile or a model, where `uri` is a word like others.
DATA = ("extras", "properties")
#: Marks of contents that state their size in their third word; others of which the size is not looked at.
SIZED = (b"glTF", b"b3dm", b"i3dm", b"pnts", b"cmpt")
SUBTREE = b"subt"
MARKS = (*SIZED, SUBTREE, b"vctr", b"geom", b"voxl")
#: Extensions of tilesets that CesiumJS, which most clients are built on, knows.
KNOWN = frozenset(f"3DTILES_{name}" for name in (
    "content_gltf", "multiple_contents", "implicit_tiling", "metadata", "bounding_volume_S2", "bounding_volume_cylinder", "batch_table_hierarchy", "draco_point_compression",
    "content_voxels", "content_conditional",
)) | {"MAXAR_content_3tz", "3DTILES_ellipsoid"}  # fmt: skip


def uris(document: Any) -> Iterator[str]:
    """Everything that JSON of 3D Tiles or glTF names by `uri`, `url` or `schemaUri`."""
    stack = [document]
    while stack:
        value = stack.pop()
        if isinstance(value, dict):
            yield from (value[key] for key in ("uri", "url", "schemaUri") if isinstance(value.get(key), str))
            stack.extend(child for key, child in value.items() if key not in DATA)
        elif isinstance(value, list):
            stack.extend(value)


def embedded(data: bytes) -> Iterator[Any]:
    """The JSON of each glTF inside a content (glb, b3dm, cmpt, …), or of a subtree."""
    if data[:4] == SUBTREE and len(data) >= 24:
        yield parsed(data[24 : 24 + int.from_bytes(data[8:16], "little")])
    at = data.find(b"glTF")
    while at >= 0:
        if data[at + 16 : at + 20] == b"JSON":
            yield parsed(data[at + 20 : at + 20 + int.from_bytes(data[at + 12 : at + 16], "little")])
        at = data.find(b"glTF", at + 4)


def addresses(data: bytes) -> Iterator[str]:
    """The models that instances (i3dm, alone or in a cmpt) name by an address."""
    at = data.find(b"i3dm")
    while at >= 0:
        head = np.frombuffer(data[at : at + 32].ljust(32, b"\0"), "<u4")
        if head[7] == 0:  # gltfFormat 0: the body is an address
            start = at + 32 + int(head[3]) + int(head[4]) + int(head[5]) + int(head[6])
            yield data[start : at + int(head[2])].decode("utf-8", "replace").strip("\0 ")
        at = data.find(b"i3dm", at + 4)


def parsed(text: bytes) -> Any:
    """JSON, None for anything else (NaN and infinities among it: clients do not read them)."""
    try:
        return json.loads(text, parse_constant=_refused)
    except (ValueError, RecursionError):
        return None


def _refused(name: str) -> Any:
    raise ValueError(f"{name} stands where JSON has a number")


def document_of(data: bytes) -> Any:
    """The JSON of a file.

    Raises:
        ValueError: it is none, or holds NaN or an infinity, which no client reads.
        RecursionError: it is nested too deeply.
    """
    return json.loads(data, parse_constant=_refused)


def fault_of(data: bytes) -> str:
    """What is wrong with a content by its first bytes, "" if nothing."""
    mark = data[:4]
    if mark not in MARKS:
        return f"Its first bytes {mark!r} are none of a content of 3D Tiles; it is copied as it is."
    stated = int.from_bytes(data[8:12], "little")
    if mark in SIZED and not max(12, stated) <= len(data) <= stated + 8:  # some writers pad behind the end
        return f"It states {stated:,} bytes and has {len(data):,}: it is damaged, and copied as it is."
    return ""


def inline(uri: str) -> bytes:
    """The bytes of a data URI (RFC 2397), none where it cannot be decoded."""
    head, _, body = uri.partition(",")
    try:
        return base64.b64decode(unquote(body)) if head.endswith(";base64") else unquote_to_bytes(body)
    except ValueError:
        return b""


def kind_of(models: list[Any], data: bytes = b"") -> str:
    """What a content is, as far as its grade goes: `textured`, `points`, or `models` without textures."""
    known = [model for model in models if isinstance(model, dict)]
    if any(model.get("textures") for model in known):
        return "textured"
    parts = [part for model in known for mesh in _items(model, "meshes") for part in _items(mesh, "primitives")]
    return "points" if data[:4] == b"pnts" or (parts and all(isinstance(part, dict) and part.get("mode") == 0 for part in parts)) else "models"


def _items(value: Any, key: str) -> list[Any]:
    found = value.get(key) if isinstance(value, dict) else None
    return found if isinstance(found, list) else []
