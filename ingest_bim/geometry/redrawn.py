"""What the parser's kernels draw wrong or not at all, put in its place as another item that is the same body and that they draw right.

The model is changed in memory, in the forked process of one worker, where nobody else sees it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import numpy as np

from ingest_bim.geometry.disks import along, filleted, is_redrawn
from ingest_bim.geometry.grid import local_placement
from ingest_bim.geometry.lofts import spine, tapered
from ingest_bim.geometry.planes import bounded, rectangle
from ingest_bim.geometry.primitives import block, cone, cylinder, hollow, pyramid, sphere
from ingest_bim.geometry.profiles import Draw, polygonal
from ingest_bim.ifc.frames import cut_circles
from ingest_bim.ifc.step_access import DAMAGED, attribute
from ingest_bim.ifc.units import Unit, Units, angle_meant

RADIANS = "IfcSIUnit", None, "PLANEANGLEUNIT", None, "RADIAN"
REDRAWN: dict[str, Callable[[Draw, Any], Any]] = {
    "IfcBlock": block, "IfcRectangularPyramid": pyramid, "IfcRightCircularCylinder": cylinder, "IfcRightCircularCone": cone, "IfcSphere": sphere,
    "IfcDerivedProfileDef": polygonal, "IfcMirroredProfileDef": polygonal, "IfcCenterLineProfileDef": polygonal,
    "IfcExtrudedAreaSolidTapered": tapered, "IfcRevolvedAreaSolidTapered": tapered, "IfcSectionedSpine": spine, "IfcSweptDiskSolidPolygonal": filleted,
    "IfcSweptDiskSolid": along, "IfcFacetedBrepWithVoids": hollow, "IfcAdvancedBrepWithVoids": hollow, "IfcCurveBoundedPlane": bounded, "IfcRectangularTrimmedSurface": rectangle,
}  # fmt: skip
"""By class what makes the other item; it gives None for one that the kernels draw right."""
COARSEST = 1e-4
"""Metres up to which two points may be one for the kernels, whatever the file says."""
HIGHEST = 64
"""Levels of wholes that an element is a part of: their openings cut it too."""


def prepared(model: Any) -> Any:
    """The model as the kernels can read it (in memory).

    No object is a part of its own parts; angles without a unit are radians, of which they would take the negative, and those of a unit that is none
    are what the reader takes them for (`ingest_bim.ifc.units`); placements on a grid are local ones;
    what is nearer than a context's precision they take for one point, which in a model in kilometres costs whole walls; they follow a spline that is a
    part of a composite curve only where it is trimmed, if to its whole.
    """
    with suppress(*DAMAGED):
        coarsest = COARSEST / Units(model).length
        for context in model.by_type("IfcGeometricRepresentationContext", include_subtypes=False):
            if (context.Precision or 0.0) > coarsest:
                context.Precision = coarsest
    for spline in model.by_type("IfcBSplineCurveWithKnots") if model.schema != "IFC2X3" else ():
        with suppress(*DAMAGED):
            for segment in [holder for holder in model.get_inverse(spline) if holder.is_a("IfcCompositeCurveSegment")]:
                segment.ParentCurve = _whole(model, spline)
    for placement in model.by_type("IfcGridPlacement"):
        with suppress(*DAMAGED):
            if (local := local_placement(model, placement)) is not None:
                _put(model, placement, local)
    for project in model.by_type("IfcProject"):
        with suppress(*DAMAGED):
            units = project.UnitsInContext
            if units is None:
                project.UnitsInContext = model.create_entity("IfcUnitAssignment", [model.create_entity(*RADIANS)])
                continue
            kept = [unit for unit in units.Units if attribute(unit, "UnitType") != "PLANEANGLEUNIT"]
            angle = next((unit for unit in units.Units if unit not in kept), None)
            meant = angle_meant(angle) if angle is not None else Unit(1.0, "rad", "rad")
            if meant is not None:
                units.Units = [*kept, _angle(model, meant.factor)]
    return cut_circles(model)


def _whole(model: Any, spline: Any) -> Any:
    """A spline trimmed to where it is defined: from the knot that is as far from the first as its degree to that which is as far from the last."""
    knots = [knot for knot, count in zip(spline.Knots, spline.KnotMultiplicities, strict=True) for _ in range(count)]
    ends = (knots[spline.Degree], knots[-1 - spline.Degree])
    return model.create_entity("IfcTrimmedCurve", spline, *([model.create_entity("IfcParameterValue", float(end))] for end in ends), True, "PARAMETER")


def _angle(model: Any, factor: float) -> Any:
    """A unit of plane angles of so many radians."""
    radian = model.create_entity(*RADIANS)
    if factor == 1.0:
        return radian
    none = model.create_entity("IfcDimensionalExponents", 0, 0, 0, 0, 0, 0, 0)
    worth = model.create_entity("IfcMeasureWithUnit", model.create_entity("IfcPlaneAngleMeasure", factor), radian)
    return model.create_entity("IfcConversionBasedUnit", none, "PLANEANGLEUNIT", "DEGREE", worth)


def redraw(model: Any, product: Any, outline: Callable[[Any], Any]) -> bool:
    """Redraw what an element is made of, and its openings; several bodies in one context become one, as the kernels draw the first alone.

    Returns whether something of it is triangles now, and nothing cuts it.

    Args:
        model: what it is in.
        product: the element.
        outline: a kernel's shape of a profile or a curve.

    Raises:
        ValueError: what is wrong with an item that cannot be redrawn.
    """
    for shape in _shapes(product):
        _join(model, shape)
    if id(model) not in _PRESENT:
        _PRESENT[id(model)] = {kind for kind in REDRAWN if _has(model, kind)}
    present = _PRESENT[id(model)]
    triangles = False
    if not present:
        return triangles
    units = Units(model)
    angle = units.by_type.get("PLANEANGLEUNIT")

    def lines(item: Any) -> tuple[Any, Any]:
        made = outline(item)
        return np.array(made.verts, np.float64).reshape(-1, 3), np.array(made.edges, np.int32).reshape(-1, 2)

    draw = Draw(model.create_entity, lines, units.length, angle.factor if angle is not None else 1.0)
    for shape in _shapes(product):
        # solids first: those between two profiles need them as they are
        below = [item for item in model.traverse(shape) if item.is_a() in present]
        for item in sorted(below, key=lambda item: item.is_a().endswith("ProfileDef")):
            other = REDRAWN[item.is_a()](draw, item)
            if other is not None:
                _put(model, item, other)
                triangles |= other.is_a("IfcTriangulatedFaceSet")
    return triangles and not any(True for _ in _openings(product))


def _join(model: Any, shape: Any) -> None:
    """One body instead of several that a shape has in one context."""
    bodies = [part for part in attribute(shape, "Representations", ()) if part.get_argument(1) == "Body"]
    context = bodies[0].get_argument(0) if bodies else None
    beside = [part for part in bodies[1:] if part.get_argument(0) == context]
    if beside:
        items = {item.id(): item for part in (bodies[0], *beside) for item in part.get_argument(3) or ()}
        whole = model.create_entity("IfcShapeRepresentation", context, "Body", bodies[0].get_argument(2), list(items.values()))
        shape.Representations = [whole if part == bodies[0] else part for part in shape.Representations if part not in beside]


def _has(model: Any, kind: str) -> bool:
    """Whether there is one that may have to be redrawn."""
    with suppress(RuntimeError):  # its schema has no such class
        found = model.by_type(kind, include_subtypes=False)
        return any(map(is_redrawn, found)) if kind == "IfcSweptDiskSolid" else bool(found)
    return False


#: By model the classes of `REDRAWN` that it has.
_PRESENT: dict[int, set[str]] = {}


def _shapes(product: Any) -> Iterator[Any]:
    """The shape of an element, and of the openings that cut it or what it is a part of."""
    own = attribute(product, "Representation")
    if own is not None:
        yield own
    for opening in _openings(product):
        shape = attribute(opening, "Representation")
        if shape is not None:
            yield shape


def _openings(product: Any) -> Iterator[Any]:
    """The openings that cut an element, or what it is a part of."""
    whole = product
    for _ in range(HIGHEST):
        for relation in attribute(whole, "HasOpenings", ()):
            yield relation.RelatedOpeningElement
        above = attribute(whole, "Decomposes", ())
        if not above:
            return
        whole = above[0].get_argument(4)


def _put(model: Any, old: Any, new: Any) -> None:
    """Let everything that refers to one instance refer to another: its styles too."""
    for holder in list(model.get_inverse(old)):
        if holder.is_a("IfcCsgSolid"):  # of whose tree a sweep cannot be the root
            _put(model, holder, new)
            continue
        for position, value in enumerate(holder):
            if value == old:
                holder[position] = new
            elif isinstance(value, tuple) and old in value:
                holder[position] = [new if part == old else part for part in value]
