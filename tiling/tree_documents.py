"""The tree of a tileset of meshes or points: in tileset.json, and that of a large one in documents of its own (ADR 0049), so that a client reads those that it comes near.

Where to cut follows from the tree alone: a document holds a whole subtree of no more than `MOST` tiles, and what hangs above those stays in tileset.json.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiling.tileset import Tile
from tiling.tree_text import Document, Rows, Tree, document, text

SMALL, MOST = 1024, 256
"""Tiles of a tree that lies in tileset.json alone (some 100 kB as sent), and of a document of a larger one."""


def told(tiles: Sequence[Tile], names: Sequence[str], *, error: float, refine: str, whole: bool = False, about: Any = None, **more: Any) -> tuple[bytes, dict[str, Any], list[Document]]:
    """(tileset.json, what it says of its root, the documents that it names).

    Args:
        tiles: parents before their children, the root first. names: of each, for the document of what hangs below it.
        whole: all of it lies in tileset.json, however large.
        error, refine, about, more: of the tileset (`tiling.tileset.tileset`).

    Raises:
        ValueError: no tile has content, or a box, a frame or an error is not finite.
    """
    order, sizes = _deep(np.array([tile.parent for tile in tiles], np.int64))
    tree = _columns([tiles[at] for at in order], order)
    if whole or len(tiles) <= SMALL:
        return *text(tree, error=error, refine=refine, about=about, **more), []
    documents, near, at = list[Document](), list[int](), 0
    while at < len(order):
        near.append(at)
        end = at + int(sizes[at])
        at += 1
        if len(near) == 1 or not 1 < end - at + 1 <= MOST:  # the root stays
            continue
        rows = Rows.of(_part(tree, np.arange(at - 1, end)), about is not None)
        at, top = end, near[-1]
        tree.error[top] = rows.errors[0]
        if rows.placed.full[0]:
            made = document(rows, 0, f"tileset-{names[order[top]].replace('/', '-')}.json", refine=refine, about=about)
            tree.low[top], tree.high[top], tree.uri[top], tree.ready[top] = rows.placed.low[0], rows.placed.high[0], made.name, True
            documents.append(made)
    return *text(_part(tree, np.array(near)), error=error, refine=refine, about=about, **more), documents


def _deep(parents: NDArray[np.int64]) -> tuple[list[int], NDArray[np.int64]]:
    """(the tiles depth first, of those below one tile in the order of the list; how many tiles the subtree of each has, itself among them)."""
    size = np.ones(len(parents), np.int64)
    for at in range(len(parents) - 1, 0, -1):
        size[parents[at]] += size[at]
    place, taken = np.zeros(len(parents), np.int64), np.ones(len(parents), np.int64)
    for at in range(1, len(parents)):
        above = parents[at]
        place[at] = place[above] + taken[above]
        taken[above] += size[at]
    order = np.argsort(place)
    return order.tolist(), size[order]


def _columns(tiles: Sequence[Tile], order: Sequence[int]) -> Tree:
    """Tiles that lie depth first; `order`: where each was in the list to which their parents' numbers belong."""
    nothing = np.full(3, np.nan)
    now = np.empty(len(order), np.int64)
    now[order] = np.arange(len(order))
    low, high = (np.array([nothing if one is None else one for one in side], np.float64) for side in ([t.low for t in tiles], [t.high for t in tiles]))
    parents = np.array([now[tile.parent] if tile.parent >= 0 else -1 for tile in tiles], np.int64)
    flags = np.zeros(len(tiles), bool)
    return Tree(np.array([tile.frame for tile in tiles]), np.array([tile.error for tile in tiles], np.float64), parents, low, high, [tile.uri or "" for tile in tiles], flags, flags.copy())


def _part(tree: Tree, rows: NDArray[np.int64]) -> Tree:
    """Some tiles of a tree, depth first; the first has no parent."""
    now = np.full(len(tree.parent), -1)
    now[rows] = np.arange(len(rows))
    parents = np.where(tree.parent[rows] >= 0, now[tree.parent[rows]], -1)
    return Tree(tree.frame[rows], tree.error[rows], parents, tree.low[rows], tree.high[rows], [tree.uri[at] for at in rows.tolist()], tree.replaced[rows], tree.ready[rows])
