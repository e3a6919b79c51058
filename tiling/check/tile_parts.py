"""What a tile of a tileset.json says of itself: its contents and its transform."""

from __future__ import annotations

from typing import Any

import numpy as np

from .issues import Where
from .scene import F64


def content_list(tile: dict[str, Any], where: Where) -> list[tuple[dict[str, Any], Where]]:
    """The contents of a tile that are objects, each with its place."""
    if isinstance(tile.get("contents"), list):
        return [(c, where / "contents" / i) for i, c in enumerate(tile["contents"]) if isinstance(c, dict)]
    return [(tile["content"], where / "content")] if isinstance(tile.get("content"), dict) else []


def has_contents(tile: dict[str, Any]) -> bool:
    """Does a tile name any content?"""
    return "content" in tile or "contents" in tile


def transform_of(value: Any, where: Where) -> F64:
    """A tile's transform as a matrix; the identity where it is absent or was reported as broken."""
    if not isinstance(value, list) or len(value) != 16 or not all(isinstance(v, int | float) for v in value):
        return np.eye(4)
    m = np.array(value, dtype=np.float64).reshape(4, 4).T  # stored column after column
    if np.abs(m[3] - [0, 0, 0, 1]).max() > 1e-8:
        where.error("TRANSFORM_INVALID", f"is not affine: its last row is {m[3].tolist()}")
        return np.eye(4)
    if abs(np.linalg.det(m[:3, :3])) < 1e-12:
        where.warning("TRANSFORM_FLAT", "cannot be inverted: it flattens everything")
        return np.eye(4)
    return m
