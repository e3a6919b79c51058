"""The items that a representation comes down to, and those of them that a kernel has left out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ingest_bim.ifc.step_access import attribute, supertypes

LINES = frozenset(("IfcCurve", "IfcSegment", "IfcPoint", "IfcPlacement", "IfcTextLiteral", "IfcBoundingBox", "IfcVector", "IfcDirection", "IfcVertex", "IfcEdge", "IfcPath", "IfcLoop"))
"""What has no surface."""
SETS = ("IfcGeometricSet", "IfcGeometricCurveSet")


def items_of(part: Any, depth: int) -> Iterator[Any]:
    """The items of a representation; those of mapped ones and of geometric sets instead of the map or set itself."""
    for item in part.get_argument(3) or ():
        yield from leaves(item, depth)


def leaves(item: Any, depth: int) -> Iterator[Any]:
    """An item, or those of the map or set that it is."""
    kind = item.is_a()
    if kind == "IfcMappedItem" and depth < 8:
        yield from items_of(item.MappingSource.MappedRepresentation, depth + 1)
    elif kind in SETS:
        yield from item.Elements or ()
    else:
        yield item


def left_out(product: Any, geometry: Any) -> str:
    """The solids and surfaces of an uncut product that a kernel drew nothing of, "" if none: it draws the others without a word.

    Representations that it drew nothing of do not count: there are several of one element (a body, a box, a coarse form).
    """
    parts = attribute(attribute(product, "Representation"), "Representations", ())
    stated = [{item.id(): item for item in items_of(part, 0) if not supertypes(item.is_a(True)) & LINES} for part in parts]
    if max(map(len, stated), default=0) < 2 or attribute(product, "HasOpenings", ()):
        return ""
    drawn = set(np.unique(np.frombuffer(geometry.item_ids_buffer, np.int32)).tolist())
    lost = [item for items in stated for item in items.values() if not drawn.isdisjoint(_names(items)) and drawn.isdisjoint(_names({item.id(): item}))]
    return ", ".join(f"#{item.id()} {item.is_a()}" for item in lost[:8]) + (f" and {len(lost) - 8} more" if len(lost) > 8 else "")


def _names(items: dict[int, Any]) -> set[int]:
    """The numbers that a kernel may give what it drew: a tree's root stands for its solid."""
    return {*items, *(item.TreeRootExpression.id() for item in items.values() if item.is_a("IfcCsgSolid"))}
