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
RUN = 8192
"""Tiles that are turned into text at a time."""


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
    depth = placed.depth[shown]
    between = {up: "}" + "]}" * up + "," if up >= 0 else ',"children":[' for up in range(-1, int(depth.max(initial=0)) + 1)}
    group = ',"group":0' if told.get("about") is not None else ""
    body, root = [], ""
    for at in range(0, len(shown), RUN):
        here = shown[at : at + RUN]
        lines = _lines(tree, here, placed.relative[here], volumes[here], errors[here], refine, group)
        root = root or lines[0] + "}"
        ends = [between[step] for step in (depth[at : at + len(here)][: len(depth) - at - 1] - depth[at + 1 : at + len(here) + 1]).tolist()]
        ends += ["}" + "]}" * int(depth[-1])] * (len(lines) - len(ends))
        body.append("".join([part for pair in zip(lines, ends, strict=True) for part in pair]).encode())
    document = head(error=max(float(error), float(errors[0])), **told)
    return b"".join((dump(document)[:-1], b',"root":', *body, b"}")), json.loads(root)


def _lines(tree: Tree, shown: NDArray[np.int64], relative: F64, volumes: F64, errors: F64, refine: str, group: str) -> list[str]:
    """What is said of some tiles, up to their children; `refine`: how the whole tree does."""
    names = orjson.dumps([tree.uri[at] for at in shown.tolist()]).decode()[2:-2].split('","')  # as JSON writes them; none holds a quotation mark
    contents = [f',"content":{{"uri":"{name}"{group}}}' if name else "" for name in names]
    own = [',"refine":"REPLACE"' if one else "" for one in tree.replaced[shown].tolist()]
    each = orjson.dumps(errors, option=orjson.OPT_SERIALIZE_NUMPY).decode()[1:-1].split(",")
    if shown[0] == 0:  # the root says it behind its error, all others behind their contents
        contents[0], own[0] = own[0] or f',"refine":"{refine}"', contents[0]
    return [f'{{{transform}"boundingVolume":{{"box":[{box}]}},"geometricError":{error}{content}{refined}'
            for transform, box, error, content, refined in zip(_transforms(relative), _rows(volumes), each, contents, own, strict=True)]  # fmt: skip


def _transforms(relative: F64) -> list[str]:
    """Of (N, 4, 4) frames as seen from their parents', what is said of each; nothing of what is not moved."""
    moved = (relative != np.eye(4)).reshape(-1, 16).any(axis=1)
    transforms = [""] * len(relative)
    for at, numbers in zip(np.flatnonzero(moved).tolist(), _rows(relative[moved].transpose(0, 2, 1).reshape(-1, 16)), strict=True):
        transforms[at] = f'"transform":[{numbers}],'
    return transforms


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
