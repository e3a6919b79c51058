"""The text of tileset.json from columns: what `tiling.tileset` says of a tree, for trees of many thousand tiles.

An update writes ten thousand tiles' lines to change one. As objects (a tile, a dict of it and of its content) they took longer to make and to take
apart than all that was built; here numbers are turned into text all at once and the lines are put between brackets.

The tree of a large city is told of in several documents (`document`), so that a client reads those that it comes near, and an update writes those that changed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
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
        ready: (N,) which stand for what is told of elsewhere: their extremes and errors are those of all of that (`document`).
    """

    frame: F64
    error: F64
    parent: NDArray[np.int64]
    low: F64
    high: F64
    uri: list[str]
    replaced: NDArray[np.bool_]
    ready: NDArray[np.bool_]


@dataclass(frozen=True)
class Document:
    """A file of JSON: its name, a digest of what its bytes depend on, and a way to have them."""

    name: str
    key: bytes
    text: Callable[[], bytes]


def text(tree: Tree, *, error: float, refine: str = "ADD", **told: Any) -> tuple[bytes, dict[str, Any]]:
    """(tileset.json, what it says of its root): the bytes of `tiling.tileset.dump` of `tiling.tileset.tileset`, whose arguments these are.

    Raises:
        ValueError: no tile has content, or a box, frame or error is not finite.
    """
    if not len(tree.parent):
        raise ValueError("a tileset needs content")
    rows = Rows.of(tree, told.get("about") is not None)
    if not rows.placed.full[0]:
        raise ValueError("a tileset needs content")
    start = dump(head(error=max(float(error), float(rows.errors[0])), **told))
    root, lines = rows.tree(np.flatnonzero(rows.placed.full), refine)
    return start[:-1] + b',"root":' + root + b"}", json.loads(lines + "}")


def document(rows: Rows, first: int, name: str, *, refine: str, about: Any, end: int | None = None) -> Document:
    """An external tileset of the tile `first` and all behind it up to `end` (all), which are all below it. What stands for it has its place, volume and error; it repeats volume and error.

    Args:
        refine: of the first, unless it is replaced itself.
    """
    shown = np.flatnonzero(rows.placed.full[first:end]) + first
    refine = "REPLACE" if rows.own.replaced[first] else refine
    start = dump(head(error=float(rows.errors[first]), about=about))
    key = hashlib.blake2b(start + refine.encode() + "\n".join(rows.own.uri[first:end]).encode(), digest_size=16)
    for column in (shown - first, rows.placed.depth[shown] - rows.placed.depth[first], rows.placed.relative[shown[1:]], rows.volumes[shown], rows.errors[shown], rows.own.replaced[shown]):
        key.update(np.ascontiguousarray(column).tobytes())
    return Document(name, key.digest(), lambda: start[:-1] + b',"root":' + rows.tree(shown, refine, placed=False)[0] + b"}")


@dataclass(frozen=True)
class Rows:
    """Numbers of all tiles of a tree as they are written; `group`: what each content says of its group."""

    own: Tree
    placed: boxes.Layout
    volumes: F64
    errors: F64
    group: str

    @staticmethod
    def of(tree: Tree, grouped: bool) -> Rows:
        """Of a tree; `grouped`: contents belong to a group. Raises ValueError: a box, a frame or an error is not finite."""
        placed = boxes.layout(tree.frame, tree.parent, tree.low, tree.high, MARGIN, tree.ready)
        volumes = boxes.volumes(np.where(placed.full[:, None], placed.low, 0), np.where(placed.full[:, None], placed.high, 0))
        errors = _monotone(tree, placed.depth)
        if not (np.isfinite(volumes).all() and np.isfinite(placed.relative).all() and np.isfinite(errors).all()):
            raise ValueError("a box, a frame or an error of a tile is not finite")
        return Rows(tree, placed, volumes, errors, ',"group":0' if grouped else "")

    def tree(self, shown: NDArray[np.int64], refine: str, *, placed: bool = True) -> tuple[bytes, str]:
        """(JSON of these tiles, depth first, the beginning of it that is the first's own).

        Args:
            refine: of the first, unless it has one of its own. placed: whether the first has its transform.
        """
        moved = (self.placed.relative[shown] != np.eye(4)).reshape(-1, 16).any(axis=1)
        moved[0] &= placed
        transforms = [""] * len(shown)
        turned = self.placed.relative[shown[moved]].transpose(0, 2, 1).reshape(-1, 16)
        for at, numbers in zip(np.flatnonzero(moved).tolist(), _rows(turned), strict=True):
            transforms[at] = f'"transform":[{numbers}],'
        uris = [self.own.uri[at] for at in shown.tolist()]
        names = orjson.dumps(uris).decode()[2:-2].split('","')  # as JSON writes them; none holds a quotation mark
        contents = [f',"content":{{"uri":"{name}"{self.group}}}' if name else "" for name in names]
        own = [',"refine":"REPLACE"' if one else "" for one in self.own.replaced[shown].tolist()]
        own[0] = own[0] or f',"refine":"{refine}"'
        each = orjson.dumps(self.errors[shown], option=orjson.OPT_SERIALIZE_NUMPY).decode()[1:-1].split(",")
        volumes = _rows(self.volumes[shown])
        # a tile of the root's has its refinement behind the error, all others behind the content
        lines = [f'{{{transform}"boundingVolume":{{"box":[{box}]}},"geometricError":{error}{content}{refined}'
                 for transform, box, error, content, refined in zip(transforms, volumes, each, contents, own, strict=True)]  # fmt: skip
        lines[0] = f'{{{transforms[0]}"boundingVolume":{{"box":[{volumes[0]}]}},"geometricError":{each[0]}{own[0]}{contents[0]}'
        depth = self.placed.depth[shown] - self.placed.depth[shown[0]]
        between = {up: "}" + "]}" * up + "," if up >= 0 else ',"children":[' for up in range(-1, int(depth.max(initial=0)) + 1)}
        body = [part for pair in zip(lines, map(between.__getitem__, (depth[:-1] - depth[1:]).tolist()), strict=False) for part in pair]
        return "".join((*body, lines[-1], "}", "]}" * int(depth[-1]))).encode(), lines[0]


def _rows(numbers: F64) -> list[str]:
    """Numbers of each row as JSON writes them, without brackets."""
    return orjson.dumps(np.ascontiguousarray(numbers), option=orjson.OPT_SERIALIZE_NUMPY).decode()[2:-2].split("],[") if len(numbers) else []


def _monotone(tree: Tree, depth: NDArray[np.int64]) -> F64:
    """Errors that are at least those below them; rounded upwards to a millimetre."""
    errors: F64 = np.where(tree.ready, tree.error, np.ceil(tree.error * 1000) / 1000)
    for level in range(int(depth.max(initial=0)), 0, -1):
        here = np.flatnonzero(depth == level)
        np.maximum.at(errors, tree.parent[here], errors[here])
    return errors
