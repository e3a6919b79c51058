"""Frames and boxes of all tiles of a tree at once: a city has thousands, and a tile takes longer to look at than to compute."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from twin import crs
from twin.angles import sine_cosine

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]


@dataclass(frozen=True)
class Layout:
    """Of N tiles.

    Attributes:
        relative: (N, 4, 4) each tile's frame seen from its parent's (from ECEF without one), exactly the identity where they are equal.
        full: (N,) whether there is content in a tile or below it.
        low, high: (N, 3) extremes of that content in the tile's frame, with margins.
        depth: (N,) how many tiles are above each.
    """

    relative: F64
    full: NDArray[np.bool_]
    low: F64
    high: F64
    depth: I64


def layout(frames: F64, parents: I64, low: F64, high: F64, margin: float, ready: NDArray[np.bool_] | None = None) -> Layout:
    """Where tiles lie in one another, and the boxes that hold their content and their children's boxes.

    Args:
        frames: (N, 4, 4) tile → ECEF, rigid (or the identity). parents: (N,) positions of the parents, before their children; −1 for roots.
        low, high: (N, 3) extremes of the content, NaN without any. margin: metres added around content and around children.
        ready: (N,) tiles whose extremes hold all that is below them, too, margins and all.
    """
    relative = _relative(frames, parents)
    full = np.asarray(np.isfinite(low).all(axis=1) & np.isfinite(high).all(axis=1), bool)
    around = np.full(len(full), margin)
    if ready is not None:
        around[ready] = 0.0
    low = np.where(full[:, None], low - around[:, None], np.inf)
    high = np.where(full[:, None], high + around[:, None], -np.inf)
    depth = _depths(parents)
    for level in range(int(depth.max(initial=0)), 0, -1):
        here = np.flatnonzero((depth == level) & full)
        turn, shift = relative[here, :3, :3], relative[here, :3, 3]
        # the box around a turned box: its middle is turned, its half axes are added up
        middle = np.einsum("nij,nj->ni", turn, (low[here] + high[here]) / 2) + shift
        half = np.einsum("nij,nj->ni", np.abs(turn), (high[here] - low[here]) / 2) + margin
        order = np.argsort(parents[here], kind="stable")
        above, first = np.unique(parents[here][order], return_index=True)
        if len(above):
            low[above] = np.minimum(low[above], np.minimum.reduceat((middle - half)[order], first))
            high[above] = np.maximum(high[above], np.maximum.reduceat((middle + half)[order], first))
            full[above] = True
    return Layout(relative, full, low, high, depth)


def _depths(parents: I64) -> I64:
    """(N,) how many tiles are above each."""
    depth, above = np.zeros(len(parents), np.int64), parents
    while (has := above >= 0).any():
        depth += has
        above = np.where(has, parents[above], -1)
    return depth


def _relative(frames: F64, parents: I64) -> F64:
    above = np.where((parents >= 0)[:, None, None], frames[np.maximum(parents, 0)], np.eye(4))
    back = above[:, :3, :3].transpose(0, 2, 1)
    result = np.zeros((len(frames), 4, 4))
    result[:, 3, 3] = 1
    result[:, :3, :3] = back @ frames[:, :3, :3]
    result[:, :3, 3] = np.einsum("nij,nj->ni", back, frames[:, :3, 3] - above[:, :3, 3])
    whole = (above == np.eye(4)).reshape(-1, 16).all(axis=1)
    result[whole] = frames[whole]
    result[(above == frames).reshape(-1, 16).all(axis=1)] = np.eye(4)
    return result


def volumes(low: F64, high: F64) -> F64:
    """(N, 12) `boundingVolume.box` of boxes: centre and three half axes, written to 0.1 mm, rounded outwards."""
    low, high = np.floor(low * 1e4) / 1e4, np.ceil(high * 1e4) / 1e4
    boxes = np.zeros((len(low), 12))
    boxes[:, :3] = np.round((low + high) / 2, 5)
    boxes[:, 3::4] = np.round((high - low) / 2, 5)
    return boxes


def enu_frames(lon: F64, lat: F64) -> F64:
    """(N, 4, 4): `twin.crs.enu_frame` of many places on the ellipsoid, in degrees."""
    (sl, cl), (sp, cp) = sine_cosine(lon), sine_cosine(lat)
    frames = np.zeros((len(sl), 4, 4))
    frames[:, 3, 3] = 1
    frames[:, :3, 0] = np.column_stack([-sl, cl, np.zeros(len(sl))])
    frames[:, :3, 1] = np.column_stack([-sp * cl, -sp * sl, cp])
    frames[:, :3, 2] = np.column_stack([cp * cl, cp * sl, sp])
    frames[:, :3, 3] = crs.geodetic_to_ecef(np.column_stack([lon, lat, np.zeros(len(sl))]))
    return frames
