"""What is wider than float32 holds: primitives in cells with a node each, and triangles in pieces (ADR 0067).

Every edge longer than a limit is halved until its pieces are not. Where an edge is cut depends on its two ends alone. So triangles that share one are cut at the same points, in whatever tile each lies, and no crack and no
T-junction comes about; what lies within a triangle is its own affair. The longest edge goes first (Rivara 1984), so that pieces do not get ever narrower.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiling.encoding.drawables import Primitive

Array = NDArray[Any]
F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
FAR = 1e6
"""Metres from which on an edge stays whole: no thing of a city is as long, but a misplaced vertex makes such edges, and each would be thousands of pieces."""
_EDGES = np.array([[0, 1], [1, 2], [2, 0]])


def bisected(positions: F64, triangles: I64, limit: float, middle: Callable[[I64, F64], F64]) -> tuple[F64, I64, I64, F64]:
    """Triangles of which no edge is longer than `limit` (unless it is longer than `FAR`).

    Args:
        positions: (V, 3) metres. triangles: (T, 3) in them.
        middle: of edges ((E, 2) vertices, the positions so far) the (E, 3) positions at which they are cut; must not hang on the order of an edge's ends.

    Returns:
        Positions, `positions` first; (T', 3) triangles, those that are not cut first; (T',) which triangle each was;
        of the last ones, which were cut, (C, 3, 3) what share each corner has of the corners of that triangle.
    """
    wide = _longest(positions, triangles)[1] > limit
    whole, todo = np.flatnonzero(~wide), np.flatnonzero(wide)
    done = [(triangles[todo[:0]], todo[:0], np.zeros((0, 3, 3)))]
    corners, source, share = triangles[todo], todo, np.broadcast_to(np.eye(3), (len(todo), 3, 3))
    while len(corners):
        first, length = _longest(positions, corners)
        cut = length > limit
        done.append((corners[~cut], source[~cut], share[~cut]))
        turn = (first[cut][:, None] + np.arange(3)) % 3
        (a, b, c), source = np.take_along_axis(corners[cut], turn, 1).T, source[cut]
        of_a, of_b, of_c = np.take_along_axis(share[cut], turn[:, :, None], 1).swapaxes(0, 1)
        ends, which = np.unique(np.sort(np.column_stack([a, b]), axis=1), axis=0, return_inverse=True)
        m, of_m = len(positions) + which.ravel(), (of_a + of_b) / 2
        positions = np.concatenate([positions, middle(ends, positions)])
        corners = np.concatenate([np.column_stack([a, m, c]), np.column_stack([m, b, c])])
        share = np.concatenate([np.stack([of_a, of_m, of_c], axis=1), np.stack([of_m, of_b, of_c], axis=1)])
        source = np.concatenate([source, source])
    pieces, made, shares = (np.concatenate(column) for column in zip(*done, strict=True))
    return positions, np.concatenate([triangles[whole], pieces]), np.concatenate([whole, made]), shares


def _longest(positions: F64, triangles: I64) -> tuple[I64, F64]:
    """((T,) at which corner the longest edge begins, (T,) its length; 0 for one of more than `FAR`)."""
    ends = positions[triangles[:, _EDGES]]
    length = np.sqrt(((ends[:, :, 1] - ends[:, :, 0]) ** 2).sum(axis=2))
    length[length > FAR] = 0.0
    first = length.argmax(axis=1)
    return first, length[np.arange(len(first)), first]


def apart(p: Primitive, reach: float) -> list[Primitive]:
    """A primitive by cells, if it is wider than `reach` metres, twice that of which float32 holds about a middle.

    Cells are a quarter of `reach` wide. Wide triangles stay together while float32 holds them (twice `reach`); beyond that they have cells of `reach`, and
    what is wider than that is cut.
    """
    low, high = p.positions.min(axis=0), p.positions.max(axis=0)
    if p.indices is None or float((high - low).max()) < reach:
        return [p]
    corners = p.positions[p.indices]
    wide = _wide(corners, reach)
    spread = bool(wide.any()) and float(np.ptp(corners[wide].reshape(-1, 3), axis=0).max()) >= 2 * reach
    indices = p.indices
    if spread:
        p, indices, pieces = _shortened(p, p.indices, reach)
        corners = p.positions[indices]
        wide = _wide(corners, reach)
        wide[len(wide) - pieces :] = True
    place = np.floor((corners.mean(axis=1) - low) / (reach / 4))
    place[wide] = -1 - (np.floor(((corners[wide].min(axis=1) + corners[wide].max(axis=1)) / 2 - low) / reach) if spread else 0)
    _, cell = np.unique(place, axis=0, return_inverse=True)
    parts = []
    for rows in np.split(order := np.argsort(cell.ravel(), kind="stable"), np.flatnonzero(np.diff(cell.ravel()[order])) + 1):
        used, number = np.unique(indices[rows], return_inverse=True)
        parts.append(replace(_changed(p, lambda column, used=used: column[used]), indices=number.reshape(-1, indices.shape[1])))  # type: ignore[misc]
    return parts


def _wide(corners: F64, reach: float) -> NDArray[np.bool_]:
    """(T,) which triangles are wider than half of `reach`."""
    return np.asarray(np.ptp(corners, axis=1).max(axis=1) > reach / 2)


def _changed(p: Primitive, change: Callable[[Array], Array]) -> Primitive:
    """A primitive with all its columns of vertices changed."""
    normals, colors, texcoords, ids = (None if column is None else change(column) for column in (p.normals, p.colors, p.texcoords, p.feature_ids))
    return replace(p, positions=change(p.positions), normals=normals, colors=colors, texcoords=texcoords, feature_ids=ids,
                   attributes={name: change(column) for name, column in p.attributes.items()})  # fmt: skip


def _shortened(p: Primitive, indices: Array, limit: float) -> tuple[Primitive, Array, int]:
    """Triangles without edges of more than `limit` metres; they stay flat, and a new vertex carries the mean of what the ends of its edge do. Last, how many pieces there are, behind what was not cut."""
    if indices.shape[1] != 3:
        return p, indices, 0
    ends = list[I64]()

    def middle(edges: I64, positions: F64) -> F64:
        ends.append(edges)
        return np.asarray((positions[edges[:, 0]] + positions[edges[:, 1]]) / 2)

    def grown(column: Array) -> Array:
        for edges in ends:
            between = column[edges].astype(np.float64).mean(axis=1)
            column = np.concatenate([column, (between if column.dtype.kind == "f" else np.rint(between)).astype(column.dtype)])
        return column

    _, shorter, _, share = bisected(p.positions, indices.astype(np.int64), limit, middle)
    longer = _changed(p, grown)
    if longer.normals is not None:
        longer = replace(longer, normals=longer.normals / np.maximum(np.linalg.norm(longer.normals, axis=1, keepdims=True), 1e-12))
    return longer, shorter, len(share)
