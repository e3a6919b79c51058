"""The patches of an image that a tile's surfaces show: what hangs together on the ground and in the image alike.

Patches that lie side by side in an image (an atlas of a whole building, or of a whole city) belong to walls that have nothing to do with each other. Scaled
down together, each takes colour from its neighbours; so a coarse tile scales each by itself (ADR 0062).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiling.meshes.components import components

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
Box = tuple[int, int, int, int]
METRE, TEXEL = 1e-3, 1.0 / 16
"""What is closer than this is the same corner: of a surface, and of its place in the image."""


def charts(corners: F64, pixels: F64) -> I64:
    """(T,) number of the patch of each triangle: those that share a corner's place (T, 3, 3) metres, and its place in the image (T, 3, 2) pixels, are of one."""
    keys = np.column_stack([np.rint(corners.reshape(-1, 3) / METRE), np.rint(pixels.reshape(-1, 2) / TEXEL)]).astype(np.int64)
    vertex = np.unique(keys, axis=0, return_inverse=True)[1].reshape(-1, 3)
    count = len(vertex)
    first = np.full(int(vertex.max()) + 1, count)
    np.minimum.at(first, vertex.ravel(), np.repeat(np.arange(count), 3))  # each triangle hangs on the first one at each of its corners
    return components(count, np.repeat(np.arange(count), 3), first[vertex.ravel()])


def by_box(chart: I64, pixels: F64, size: tuple[int, int]) -> list[tuple[Box, I64]]:
    """(left, top, right, bottom) in pixels of an image of that size, and its triangles, in the order of the boxes; patches that show the same box are one."""
    _, number = np.unique(chart, return_inverse=True)
    low, high = np.full((number.max() + 1, 2), np.inf), np.full((number.max() + 1, 2), -np.inf)
    for axis in range(2):
        np.minimum.at(low[:, axis], number, pixels[:, :, axis].min(axis=1))
        np.maximum.at(high[:, axis], number, pixels[:, :, axis].max(axis=1))
    start = np.clip(np.floor(low + TEXEL), 0, np.array(size) - 1).astype(np.int64)
    end = np.maximum(np.clip(np.ceil(high - TEXEL), 0, size).astype(np.int64), start + 1)
    boxes, which = np.unique(np.column_stack([start, end]), axis=0, return_inverse=True)
    order = np.argsort(which.ravel()[number], kind="stable")
    cuts = np.searchsorted(which.ravel()[number][order], np.arange(1, len(boxes)))
    return [((int(b[0]), int(b[1]), int(b[2]), int(b[3])), np.sort(rows)) for b, rows in zip(boxes, np.split(order, cuts), strict=True)]


def filled(pixels: NDArray[np.uint8], triangles: F64) -> NDArray[np.uint8]:
    """(H, W, C) with the colour of what the triangles, (T, 3, 2) in its pixels, show wherever they do not reach: that may be a neighbour's.

    What is opaque gets the mean of all that is shown. Of four channels, each pixel takes colour and alpha of what is nearby: a leaf that ends at its edge must not end before it.
    """
    from PIL import Image, ImageDraw  # noqa: PLC0415  most models have no textures

    mask = Image.new("1", (pixels.shape[1], pixels.shape[0]))
    pen = ImageDraw.Draw(mask)
    for corners in triangles - 0.5:  # a pixel's number is that of its middle
        pen.polygon([*map(tuple, corners.tolist())], fill=1, outline=1)
    shown = np.asarray(mask)
    if shown.all() or not shown.any():
        return pixels
    result = pixels.copy()
    if pixels.shape[2] < 4:
        result[~shown] = np.rint(pixels[shown].mean(axis=0)).astype(np.uint8)
        return result
    alpha = pixels[:, :, 3:].astype(np.int32) * shown[:, :, None]
    near = around(np.concatenate([pixels[:, :, :3] * alpha, alpha, shown[:, :, None]], axis=2))
    color = near[:, :, :3] / np.maximum(near[:, :, 3:], 1e-6)
    result[~shown] = np.rint(np.clip(np.concatenate([color, near[:, :, 3:]], axis=2), 0, 255)).astype(np.uint8)[~shown]
    return result


def around(sums: NDArray[Any]) -> NDArray[np.float32]:
    """(H, W, C) numbers, the last of which is a weight ≥ 0 → (H, W, C − 1) the others by weight, of the smallest block of 2, 4, 8, … pixels around each that weighs anything."""
    levels = [sums]
    while max(levels[-1].shape[:2]) > 1:
        height, width = levels[-1].shape[:2]
        even = np.pad(levels[-1], ((0, height % 2), (0, width % 2), (0, 0)))
        levels.append((even[::2, ::2] + even[1::2, ::2] + even[::2, 1::2] + even[1::2, 1::2]).astype(np.int64))
    result = np.zeros((1, 1, sums.shape[2] - 1), np.float32)
    for level in reversed(levels):
        height, width = level.shape[:2]
        result = result.repeat(2, axis=0).repeat(2, axis=1)[:height, :width]
        np.divide(level[:, :, :-1], level[:, :, -1:], out=result, where=level[:, :, -1:] > 0, casting="same_kind")
    return result
