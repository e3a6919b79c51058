"""The text of tileset.json from columns: what `tiling.tileset` says of a tree, for trees of many thousand tiles.

An update writes ten thousand tiles' lines to change one. As objects (a tile, a dict of it and of its content) they took longer to make and to take
apart than all that was built; here numbers are turned into text all at once and the lines are put between brackets.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from tiling import boxes
from tiling.tileset import MARGIN, dump, head

F64 = NDArray[np.float64]


@dataclass(frozen=True)
class Tree:
    """Tiles as columns, each before those below it, and these before its next neighbour (depth first).

    Attributes:
        frame: (N, 4, 4) tile coordinates → ECEF, rigid. error: (N,) geometric errors in metres. parent: (N,) positions, −1 for the first.
        low, high: (N, 3) extremes of the content in `frame`, NaN without content. uri: N names of contents, "" without content.
        replaced: (N,) which are replaced by those below them (`refine` of their own).
    """

    frame: F64
    error: F64
    parent: NDArray[np.int64]
    low: F64
    high: F64
    uri: list[str]
    replaced: NDArray[np.bool_]


def text(tree: Tree, *, error: float, refine: str = "ADD", **told: Any) -> tuple[bytes, dict[str, Any]]:
    """(tileset.json, what it says of its root): the bytes of `tiling.tileset.dump` of `tiling.tileset.tileset`, whose arguments these are.

    Raises:
        ValueError: no tile has content, or a box, frame or error is not finite.
    """
    if not len(tree.parent):
        raise ValueError("a tileset needs content")
    placed = boxes.layout(tree.frame, tree.parent, tree.low, tree.high, MARGIN)
    if not placed.full[0]:
        raise ValueError("a tileset needs content")
    volumes = boxes.volumes(np.where(placed.full[:, None], placed.low, 0), np.where(placed.full[:, None], placed.high, 0))
    errors = _monotone(tree, placed.depth)
    if not (np.isfinite(volumes).all() and np.isfinite(placed.relative).all() and np.isfinite(errors).all()):
        raise ValueError("a box, a frame or an error of a tile is not finite")
    shown = np.flatnonzero(placed.full)
    moved = (placed.relative[shown] != np.eye(4)).reshape(-1, 16).any(axis=1)
    turned = placed.relative[shown[moved]].transpose(0, 2, 1).reshape(-1, 16)
    transforms = [""] * len(shown)
    for at, numbers in zip(np.flatnonzero(moved).tolist(), _rows(turned), strict=True):
        transforms[at] = f'"transform":[{numbers}],'
    group = ',"group":0' if told.get("about") is not None else ""
    names = orjson.dumps(tree.uri).decode()[2:-2].split('","')  # as JSON writes them; none holds a quotation mark
    contents = [f',"content":{{"uri":"{names[at]}"{group}}}' if names[at] else "" for at in shown.tolist()]
    own = [',"refine":"REPLACE"' if one else "" for one in tree.replaced[shown].tolist()]
    own[0] = own[0] or f',"refine":"{refine}"'
    each = orjson.dumps(errors[shown], option=orjson.OPT_SERIALIZE_NUMPY).decode()[1:-1].split(",")
    # a tile of the root's has its refinement behind the error, all others behind the content
    lines = [f'{{{transform}"boundingVolume":{{"box":[{box}]}},"geometricError":{error_}{content}{refined}'
             for transform, box, error_, content, refined in zip(transforms, _rows(volumes[shown]), each, contents, own, strict=True)]  # fmt: skip
    lines[0] = f'{{{transforms[0]}"boundingVolume":{{"box":[{_rows(volumes[:1])[0]}]}},"geometricError":{each[0]}{own[0]}{contents[0]}'
    depth = placed.depth[shown]
    between = {up: "}" + "]}" * up + "," if up >= 0 else ',"children":[' for up in range(-1, int(depth.max(initial=0)) + 1)}
    body = [part for pair in zip(lines, map(between.__getitem__, (depth[:-1] - depth[1:]).tolist()), strict=False) for part in pair]
    root = "".join((*body, lines[-1], "}", "]}" * int(depth[-1])))
    document = head(error=max(float(error), float(errors[0])), **told)
    start = dump(document)
    return start[:-1] + b',"root":' + root.encode() + b"}", json.loads(lines[0] + "}")


def _rows(numbers: F64) -> list[str]:
    """Numbers of each row as JSON writes them, without brackets."""
    return orjson.dumps(np.ascontiguousarray(numbers), option=orjson.OPT_SERIALIZE_NUMPY).decode()[2:-2].split("],[") if len(numbers) else []


def _monotone(tree: Tree, depth: NDArray[np.int64]) -> F64:
    """Errors that are at least those below them; rounded upwards to a millimetre."""
    errors: F64 = np.ceil(tree.error * 1000) / 1000
    for level in range(int(depth.max(initial=0)), 0, -1):
        here = np.flatnonzero(depth == level)
        np.maximum.at(errors, tree.parent[here], errors[here])
    return errors
