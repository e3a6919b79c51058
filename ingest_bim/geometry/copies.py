"""Elements made of several copies of one body (the bars of a mesh, the legs of a table): the body is shaped once and placed as often as it is mapped.

The parser's kernels shape every copy anew: a bent reinforcing bar drawn fourteen times took ten seconds instead of one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ingest_bim.geometry.clip import body_items
from ingest_bim.geometry.faces import Style, default_look, material_style, placed, style_of
from ingest_bim.ifc.frames import F64
from ingest_bim.ifc.step_access import attribute, is_kind

I32 = NDArray[np.int32]
#: Solids that are one body with one look, whatever they are made of.
SWEPT = ("IfcSweptAreaSolid", "IfcSweptDiskSolid")


def is_copied(product: Any) -> bool:
    """Whether an uncut product's body is nothing but maps, of which some repeat one another."""
    if attribute(product, "HasOpenings", ()):
        return False
    items = list(body_items(product))
    if len(items) < 2 or not all(item.is_a("IfcMappedItem") for item in items):
        return False
    return len({item.MappingSource.id() for item in items}) < len(items)


def _is_swept(item: Any) -> bool:
    return any(is_kind(item, kind) for kind in SWEPT)


def copied(product: Any, length: float, shape: Callable[[Any], tuple[F64, I32]]) -> tuple[F64, I32, I32, list[Style]]:
    """(positions in metres in the element's frame, triangles, style rows, styles) of a product for which `is_copied` holds.

    Args:
        product: what is shaped.
        length: metres of a unit of the file.
        shape: gives the (positions in metres, triangles) of one solid.

    Raises:
        ValueError: it has something else than sweeps in it, or maps without a place, or a sweep without triangles.
    """
    made: dict[int, tuple[F64, I32]] = {}
    styles: dict[Style, int] = {}
    fallback = material_style(product) or default_look(product.is_a())
    positions, triangles, rows = list[F64](), list[I32](), list[I32]()
    start = 0
    for item, matrix, outer in placed(body_items(product), _is_swept):
        if item.id() not in made:
            made[item.id()] = shape(item)
            if not len(made[item.id()][1]) or not np.isfinite(made[item.id()][0]).all():
                raise ValueError(f"#{item.id()} {item.is_a()} has no shape")
        points, corners = made[item.id()]
        moved = matrix.copy()
        moved[:3, 3] *= length
        flipped = np.linalg.det(moved[:3, :3]) < 0
        positions.append(points @ moved[:3, :3].T + moved[:3, 3])
        triangles.append((corners[:, ::-1] if flipped else corners) + np.int32(start))
        row = styles.setdefault(style_of(item) or outer or fallback, len(styles))
        rows.append(np.full(len(corners), row, np.int32))
        start += len(points)
    return np.concatenate(positions), np.ascontiguousarray(np.concatenate(triangles)), np.concatenate(rows), list(styles)
