"""Cylinders and cones among CSG primitives, which no kernel of the parser's draws (ifcopenshell 0.9), as the sweeps that they are.

The model is changed in memory, in the forked process of one worker, where nobody else sees it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from ingest_bim.ifc_frames import axis_matrix
from ingest_bim.ifc_units import Units
from ingest_bim.step_access import attribute, is_kind

ROUND = ("IfcRightCircularCylinder", "IfcRightCircularCone")
DEEPEST = 64
"""Levels of maps and boolean operations that are followed."""


def replace_round(model: Any, product: Any) -> bool:
    """Put sweeps in the place of the round primitives that an element is made of; whether there were any."""
    found = False
    for representation in attribute(attribute(product, "Representation"), "Representations", ()):
        for holder, name, position, primitive in list(_round(representation, "Items", 0)):
            sweep = (_cylinder if primitive.is_a() == ROUND[0] else _cone)(model, primitive)
            if position is None:
                setattr(holder, name, sweep)
            else:
                items = list(getattr(holder, name))
                items[position] = sweep
                setattr(holder, name, items)
            found = True
    return found


def _round(holder: Any, name: str, depth: int) -> Iterator[tuple[Any, str, int | None, Any]]:
    """(instance, attribute, position in it, primitive) of each one below an attribute."""
    value = getattr(holder, name)
    for position, item in enumerate(value) if isinstance(value, tuple) else [(None, value)]:
        if item.is_a() in ROUND:
            yield holder, name, position, item
        elif item.is_a("IfcCsgSolid") and item.TreeRootExpression.is_a() in ROUND:
            yield holder, name, position, item.TreeRootExpression  # in place of the solid: a sweep cannot be the root of its tree
        elif depth > DEEPEST:
            continue
        elif is_kind(item, "IfcBooleanResult"):
            yield from _round(item, "FirstOperand", depth + 1)
            yield from _round(item, "SecondOperand", depth + 1)
        elif item.is_a("IfcCsgSolid"):
            yield from _round(item, "TreeRootExpression", depth + 1)
        elif item.is_a("IfcMappedItem"):
            yield from _round(item.MappingSource.MappedRepresentation, "Items", depth + 1)


def _cylinder(model: Any, primitive: Any) -> Any:
    """ISO 16739-1, IfcRightCircularCylinder: the height goes up from the position, the radius lies around it."""
    make = model.create_entity
    circle = make("IfcCircleProfileDef", "AREA", None, _flat(make), primitive.Radius)
    return make("IfcExtrudedAreaSolid", circle, primitive.Position, make("IfcDirection", (0.0, 0.0, 1.0)), primitive.Height)


def _cone(model: Any, primitive: Any) -> Any:
    """ISO 16739-1, IfcRightCircularCone: base around the position, apex above it: half of its section turned once around its axis."""
    make = model.create_entity
    frame = axis_matrix(primitive.Position)
    if frame is None:
        raise ValueError("a cone without a place")
    point = make("IfcCartesianPoint", tuple(map(float, frame[:3, 3])))
    place = make("IfcAxis2Placement3D", point, *(make("IfcDirection", tuple(map(float, axis))) for axis in (-frame[:3, 1], frame[:3, 0])))
    corners = [(0.0, 0.0), (primitive.BottomRadius, 0.0), (0.0, primitive.Height), (0.0, 0.0)]
    outline = make("IfcPolyline", [make("IfcCartesianPoint", corner) for corner in corners])
    half = make("IfcArbitraryClosedProfileDef", "AREA", None, outline)
    axis = make("IfcAxis1Placement", make("IfcCartesianPoint", (0.0, 0.0, 0.0)), make("IfcDirection", (0.0, 1.0, 0.0)))
    angle = Units(model).by_type.get("PLANEANGLEUNIT")
    return make("IfcRevolvedAreaSolid", half, place, axis, 2 * math.pi / (angle.factor if angle is not None else 1.0))


def _flat(make: Any) -> Any:
    return make("IfcAxis2Placement2D", make("IfcCartesianPoint", (0.0, 0.0)))
