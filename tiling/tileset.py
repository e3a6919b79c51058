"""tileset.json (3D Tiles 1.1, OGC 22-025r4): boxes that hold their content and their children, errors that never grow.

Each tile has a frame of its own (local east-north-up at its cell), so coordinates stay small; a tile's `transform` is
its frame seen from its parent's. Boxes are in the tile's own frame and are grown to hold the children's boxes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from tiling import boxes
from twin.archive import Packed
from twin.model import Layer

F64 = NDArray[np.float64]
MARGIN = 0.01
"""Metres added around content; a hundred times what rounding of positions and matrices can move a vertex."""


@dataclass
class Finished:
    """One finished tile as a worker hands it back: its bytes, extremes in its frame, ellipsoidal heights, what became of its features, its error."""

    packed: Packed | None = None
    low: F64 | None = None
    high: F64 | None = None
    heights: tuple[float, float] = (np.inf, -np.inf)
    kept: int = 0
    vertices: int = 0
    triangles: int = 0
    notes: list[tuple[str, str, str]] = field(default_factory=list)
    error: float = 0.0
    mass: bytes = b""
    """What the tile adds to the masses above it (`tiling.blocks.masses`)."""


@dataclass
class Tile:
    """One tile of a tree held as a list, parents first.

    Attributes:
        frame: (4, 4) tile coordinates → ECEF, rigid.
        error: geometric error in metres.
        parent: position of its parent in the list, −1 for the root.
        low, high: (3,) extremes of the content in `frame`, None without content.
        uri: of the content.
    """

    frame: F64
    error: float
    parent: int = -1
    low: F64 | None = None
    high: F64 | None = None
    uri: str | None = None
    extra: dict[str, Any] = field(default_factory=dict)


def tileset(
    tiles: Sequence[Tile], *, error: float, refine: str = "ADD", schema: dict[str, Any] | None = None,
    statistics: dict[str, Any] | None = None, required: Sequence[str] = (), about: Layer | None = None,
) -> dict[str, Any]:  # fmt: skip
    """tileset.json as a dict. Branches without any content are left out.

    Args:
        tiles: parents before their children; tile 0 is the root.
        error: geometric error when nothing is drawn at all.
        refine: ADD or REPLACE, for the whole tree.
        schema: of the layer's metadata (3D Metadata).
        statistics: of the layer's features.
        required: extensions a client must know.
        about: the layer: all contents are in one group that tells its name, kind, CIM group and grade, titles and so on.

    Raises:
        ValueError: no tile has content, or a box, frame or error is not finite.
    """
    if not tiles:
        raise ValueError("a tileset needs content")
    nothing = np.full(3, np.nan)
    low, high = (np.array([nothing if v is None else v for v in side]) for side in ([t.low for t in tiles], [t.high for t in tiles]))
    placed = boxes.layout(np.array([t.frame for t in tiles]), np.array([t.parent for t in tiles]), low, high, MARGIN)
    if not placed.full[0]:
        raise ValueError("a tileset needs content")
    volumes = boxes.volumes(np.where(placed.full[:, None], placed.low, 0), np.where(placed.full[:, None], placed.high, 0))
    errors = _monotone(tiles)
    if not (np.isfinite(volumes).all() and np.isfinite(placed.relative).all() and np.isfinite(errors).all()):
        raise ValueError("a box, a frame or an error of a tile is not finite")
    moved = (placed.relative != np.eye(4)).reshape(-1, 16).any(axis=1).tolist()
    transforms = placed.relative.transpose(0, 2, 1).reshape(-1, 16).tolist()
    full, volume = placed.full.tolist(), volumes.tolist()
    group = {"group": 0} if about is not None else {}
    children: list[list[dict[str, Any]]] = [[] for _ in tiles]
    root: dict[str, Any] = {}
    for position in range(len(tiles) - 1, -1, -1):
        if not full[position]:
            continue
        tile = tiles[position]
        value: dict[str, Any] = {"transform": transforms[position]} if moved[position] else {}
        value["boundingVolume"], value["geometricError"] = {"box": volume[position]}, errors[position]
        if position == 0:
            value["refine"] = refine
        if tile.uri is not None:
            value["content"] = {"uri": tile.uri, **group}
        if tile.extra:
            value |= tile.extra
        if children[position]:
            value["children"] = children[position][::-1]
        if tile.parent >= 0:
            children[tile.parent].append(value)
        else:
            root = value
    return head(error=max(float(error), errors[0]), schema=schema, statistics=statistics, required=required, about=about) | {"root": root}


def head(
    *, error: float, schema: dict[str, Any] | None = None, statistics: dict[str, Any] | None = None, required: Sequence[str] = (), about: Layer | None = None,
) -> dict[str, Any]:  # fmt: skip
    """All of tileset.json but the tree; see `tileset`. `error`: as it is written."""
    document: dict[str, Any] = {"asset": {"version": "1.1", "extras": {"generator": "Wuyi Twin"}}}
    if required:
        document["extensionsUsed"] = sorted(required)
        document["extensionsRequired"] = sorted(required)
    if about is not None:
        schema, document["groups"] = with_group(schema, about)
    if schema is not None:
        document["schema"] = schema
    if statistics is not None:
        document["statistics"] = statistics
    return document | {"geometricError": error}


_GROUP = {"name": "layer", "kind": "kind of layer", "group": "CIM data group (CJJ/T 315-2022) / 数据分组", "grade": "CIM grade / 模型等级",
          "title": "标题", "title_en": "title", "licence": "licence", "label": "security label", "description": "description"}  # fmt: skip


def with_group(schema: dict[str, Any] | None, about: Layer) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """(the schema with one more class, the groups): what a client may know of a layer before it loads a tile. Empty texts are left out."""
    told = {"name": about.name, "kind": about.kind, "group": about.group, "grade": about.grade, "title": about.title.get("zh", ""),
            "title_en": about.title.get("en", ""), "licence": about.licence, "label": about.label, "description": about.description}  # fmt: skip
    schema = schema or {"id": "layers", "classes": {}}
    name = "layer"
    while name in schema["classes"]:
        name += "_"
    group = {"name": "layer", "properties": {key: {"type": "STRING", "description": text} for key, text in _GROUP.items()}}
    return schema | {"classes": {**schema["classes"], name: group}}, [{"class": name, "properties": {k: v for k, v in told.items() if v}}]


def dump(document: dict[str, Any]) -> bytes:
    """A tileset (or any JSON document) as the bytes that are stored: compact, UTF-8, the tree of tiles last.

    Raises:
        ValueError: a number outside the tree is not finite; `tileset` looks at those in it.
    """
    head = json.dumps({k: v for k, v in document.items() if k != "root"}, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
    if "root" not in document:
        return head
    return head[:-1] + (b',"root":' if len(head) > 2 else b'"root":') + orjson.dumps(document["root"], option=orjson.OPT_SERIALIZE_NUMPY) + b"}"


def relative_frame(parent: F64, child: F64) -> F64:
    """`parent`⁻¹ · `child` of rigid (or identity) frames; exactly the identity when they are equal."""
    if np.array_equal(parent, child):
        return np.eye(4)
    if np.array_equal(parent, np.eye(4)):
        return child
    result = np.eye(4)
    result[:3, :3] = parent[:3, :3].T @ child[:3, :3]
    result[:3, 3] = parent[:3, :3].T @ (child[:3, 3] - parent[:3, 3])
    return result


def _monotone(tiles: Sequence[Tile]) -> list[float]:
    """Errors that are at least those below them; rounded upwards to a millimetre."""
    errors: list[float] = (np.ceil(np.array([tile.error for tile in tiles]) * 1000) / 1000).tolist()
    for position in range(len(tiles) - 1, 0, -1):
        parent = tiles[position].parent
        errors[parent] = max(errors[parent], errors[position])
    return errors
