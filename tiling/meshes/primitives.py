"""Shaded triangles → glTF primitives: one for each surface, vertices shared where all that they carry is the same."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from tiling.encoding.drawables import Primitive, Surface
from tiling.meshes.normals import Surfaces
from tiling.meshes.soup import Soup, plain
from tiling.meshes.textures import Dressed, Quality, dress

I64 = NDArray[np.int64]


def primitives(shaded: Surfaces, rows: I64, owner: I64, soup: Soup, images: Mapping[str, bytes], how: Quality) -> tuple[list[Primitive], list[Surface], list[str]]:
    """The primitives of a tile, their surfaces by number, and what went wrong with its textures.

    Args:
        shaded: triangles of which `rows` are drawn; owner: (rows,) feature id of each. soup: what they were made of.
    """
    corners, source = shaded.triangles[rows], shaded.source[rows]
    material = soup.material[source]
    dressed = _dressed(shaded, corners, source, soup, images, how)
    used_plain, number = np.unique(material, return_inverse=True)
    surface = np.where(dressed.surface >= 0, len(used_plain) + dressed.surface, number)
    surfaces = [plain(soup.looks[int(m)]) for m in used_plain] + dressed.surfaces
    colors = None if soup.colors is None else soup.colors[source]
    vertex_owner = np.empty(len(shaded.positions), np.int64)
    vertex_owner[corners] = owner[:, None]
    made: list[Primitive] = []
    used, many = np.unique(surface, return_counts=True)
    order, end = np.argsort(surface, kind="stable"), np.cumsum(many)  # once: a tile may have a hundred thousand surfaces
    for s, last, count in zip(used.tolist(), end.tolist(), many.tolist(), strict=True):
        mine = order[last - count : last]
        vertex = corners[mine].ravel()
        extra = []  # columns of corners beyond position, normal and feature, as bytes
        if s >= len(used_plain):
            extra.append(np.ascontiguousarray(dressed.uv[mine]).reshape(-1, 2).view(np.uint32).astype(np.int64))
        if colors is not None:
            extra.append(np.ascontiguousarray(colors[mine]).reshape(-1, 4).view(np.uint32).astype(np.int64))
        if extra:
            _, first, local = np.unique(np.column_stack([vertex, *extra]), axis=0, return_index=True, return_inverse=True)
        else:
            _, first, local = np.unique(vertex, return_index=True, return_inverse=True)
        at = vertex[first]
        made.append(Primitive(
            shaded.positions[at], local.reshape(-1, 3), shaded.normals[at], feature_ids=vertex_owner[at], surface=len(made),
            texcoords=dressed.uv[mine].reshape(-1, 2)[first] if s >= len(used_plain) else None, colors=None if colors is None else colors[mine].reshape(-1, 4)[first],
        ))  # fmt: skip
    return made, [surfaces[s] for s in used.tolist()], dressed.problems


def _dressed(shaded: Surfaces, corners: I64, source: I64, soup: Soup, images: Mapping[str, bytes], how: Quality) -> Dressed:
    if soup.uv is None:
        return Dressed(np.full(len(source), -1, np.int64), np.zeros((len(source), 3, 2), np.float32), [], [])
    return dress(shaded.positions[corners], soup.uv[source], soup.material[source], soup.looks, images, how)
