"""Coarser forms of the features of a tile, each with its measured distance from the finest."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tiling.meshes.distance import hausdorff
from tiling.meshes.simplify import simplify
from tiling.meshes.soup import Soup

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
FINER = 4.0
"""By how much the tolerance of a second try is smaller."""


def simplified(soup: Soup, tolerance: F64, pinned: NDArray[np.bool_], miss: float) -> tuple[Soup, F64]:
    """Simplify every feature of a tile.

    Args:
        soup: the finest triangles of the features 0 … F − 1.
        tolerance: (F,) metres that each form should be off by.
        pinned: (F,) features whose open borders must stay, because the rest of them is drawn by other tiles.
        miss: times the tolerance that it may be off by; what is off by more is tried finer, and then left as it is.

    Returns:
        (the forms, ordered by feature; (F,) how far each lies from its finest form at most, both ways, metres).
    """
    order = np.argsort(soup.owner, kind="stable")
    soup = soup.take(soup.triangles[order], order)
    label = _labels(soup)
    error = np.full(len(tolerance), np.inf)
    aim = tolerance.copy()
    pieces: list[Soup] = []
    todo = np.arange(len(tolerance))
    for _ in range(2):
        rows = np.flatnonzero(np.isin(soup.owner, todo))
        if not len(rows):
            break
        found = simplify(soup.positions, soup.triangles[rows], soup.owner[rows], label[rows], aim, pinned)
        shape = soup.take(found.triangles, rows[found.source], 3 * rows[found.corner // 3] + found.corner % 3)
        measured = _apart(soup, rows, shape, todo, aim)
        good = todo[measured <= miss * aim[todo]]
        error[good] = measured[np.isin(todo, good)]
        keep = np.flatnonzero(np.isin(shape.owner, good))
        pieces.append(shape.take(shape.triangles[keep], keep))
        todo = np.setdiff1d(todo, good)
        aim = aim / FINER
    rows = np.flatnonzero(np.isin(soup.owner, todo))
    pieces.append(soup.take(soup.triangles[rows], rows))
    error[todo] = 0.0
    return _joined(pieces), error


def _joined(pieces: list[Soup]) -> Soup:
    """Forms that share their positions, ordered by feature."""
    whole = Soup.join([replace(piece, positions=piece.positions[:0]) for piece in pieces])
    assert whole is not None  # there is always a last piece
    order = np.argsort(whole.owner, kind="stable")
    whole = replace(whole, positions=pieces[0].positions)
    triangles = np.concatenate([piece.triangles for piece in pieces])
    return whole.take(triangles[order], order)


def _apart(soup: Soup, rows: I64, shape: Soup, features: I64, aim: F64) -> F64:
    """(K,) distance of the forms of some features from their finest triangles (`rows`, ordered by feature); 0 where no triangle went."""
    count = len(aim)
    fine, less = np.bincount(soup.owner[rows], minlength=count), np.bincount(shape.owner, minlength=count)
    changed = features[fine[features] != less[features]]
    result = np.zeros(len(features))
    if len(changed):
        fine_rows = rows[np.isin(soup.owner[rows], changed)]
        mine = np.flatnonzero(np.isin(shape.owner, changed))
        mine = mine[np.argsort(shape.owner[mine], kind="stable")]
        corners = soup.positions[soup.triangles[fine_rows]], soup.positions[shape.triangles[mine]]
        owners = np.searchsorted(changed, soup.owner[fine_rows]), np.searchsorted(changed, shape.owner[mine])
        result[np.isin(features, changed)] = hausdorff(corners[0], owners[0], corners[1], owners[1], aim[changed])
    return result


def _labels(soup: Soup) -> I64:
    """(T, 3) numbers of what the corners carry: material, texture coordinates, colour."""
    label = np.repeat(soup.material, 3)
    for column in (soup.uv, soup.colors):
        if column is not None:
            flat = np.ascontiguousarray(column.reshape(len(label), -1))
            flat = flat + np.zeros(1, flat.dtype)  # −0 is 0
            rows = np.column_stack([label, flat.view(np.uint8).reshape(len(label), -1).astype(np.int64)])
            label = np.unique(rows, axis=0, return_inverse=True)[1].ravel().astype(np.int64)
    return label.reshape(-1, 3)
