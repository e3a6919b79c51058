"""Buffers and buffer views of a subtree: structure, ranges, and reading them.

(glTF has the same two notions with more properties; ``gltf.py`` knows those.)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .issues import Where
from .shape import INDEX, List, Num, Obj, Text

BUFFERS = List(
    Obj(required={"byteLength": Num(low=1, whole=True)}, optional={"uri": Text(1), "name": Text(1)}), least=1
)
BUFFER_VIEWS = List(
    Obj(
        required={
            "buffer": INDEX,
            "byteOffset": Num(low=0, whole=True),
            "byteLength": Num(low=1, whole=True),
        },
        optional={"name": Text(1)},
    ),
    least=1,
)


def check_buffers(value: dict[str, Any], where: Where, *, embedded: bool) -> bool:
    """Check ``buffers`` and ``bufferViews``; ``embedded``: may the first buffer be the file's own chunk?"""
    good = True
    if "buffers" in value:
        good &= BUFFERS.check(value["buffers"], where / "buffers")
    if "bufferViews" in value:
        good &= BUFFER_VIEWS.check(value["bufferViews"], where / "bufferViews")
    if not good:
        return False
    buffers, views = value.get("buffers", []), value.get("bufferViews", [])
    if views and not buffers:
        where.error("BUFFER_VIEWS_WITHOUT_BUFFERS", "has bufferViews, but no buffers")
        return False
    if buffers and not views:
        where.warning("BUFFERS_WITHOUT_BUFFER_VIEWS", "has buffers that no buffer view uses")
    for i, buffer in enumerate(buffers):
        if "uri" not in buffer and not (i == 0 and embedded):
            (where / "buffers" / i).error("BUFFER_URI_MISSING", "only the first buffer of a binary file may lack it")
            good = False
    for i, view in enumerate(views):
        at = where / "bufferViews" / i
        if view["buffer"] >= len(buffers):
            (at / "buffer").error("JSON_RANGE", f"the buffer {view['buffer']} does not exist")
            good = False
            continue
        length = buffers[view["buffer"]]["byteLength"]
        if view["byteOffset"] + view["byteLength"] > length:
            at.error(
                "BUFFER_VIEW_OUT_OF_RANGE",
                f"ends at byte {view['byteOffset'] + view['byteLength']}, its buffer has {length}",
            )
            good = False
    return good


Reader = Callable[[str, Where], bytes | None]


def load_views(value: dict[str, Any], chunk: bytes | None, read: Reader, where: Where) -> list[bytes | None]:
    """The bytes of every buffer view (None where its buffer is missing or too short: a finding)."""
    buffers: list[bytes | None] = []
    for i, buffer in enumerate(value.get("buffers", [])):
        at = where / "buffers" / i
        data = read(buffer["uri"], at / "uri") if "uri" in buffer else chunk
        if data is not None and len(data) < buffer["byteLength"]:
            at.error("BUFFER_LENGTH", f"byteLength is {buffer['byteLength']}, but there are {len(data)} bytes")
            data = None
        buffers.append(data)
    views: list[bytes | None] = []
    for view in value.get("bufferViews", []):
        data = buffers[view["buffer"]]
        start = int(view["byteOffset"])
        views.append(None if data is None else data[start : start + int(view["byteLength"])])
    return views
