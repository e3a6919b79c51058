"""How each element is built, and so which geometry engines may shape it.

Measured over the open models: the fast kernels draw straight extrusions and faceted solids as the reference does, 5–20
times faster, but lose volume in rounded profiles (up to 33%), faces of tessellated bodies, and cut half spaces wrongly. So
tessellations are taken as they are, half spaces are cut by our own evaluator, and rounded sweeps go to the reference.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from ingest_bim.geometry.faces import TESSELLATED
from ingest_bim.geometry.host import CLIP, DIRECT, PLAIN
from ingest_bim.geometry.items import LINES, SETS, items_of, leaves
from ingest_bim.ifc.geometry import FAST, MIDDLE, REFERENCE
from ingest_bim.ifc.products import NOT_BODY, Products
from ingest_bim.ifc.step_access import DAMAGED, attribute, is_kind, supertypes
from ingest_bim.ifc.structure import Structure

Group = tuple[str, ...]
#: Products whose shape is a cut in another, or a line: features, but never drawn.
UNDRAWN = ("IfcFeatureElementSubtraction", "IfcGrid", "IfcPort")
_NESTED = ("IfcMappedItem", *SETS)
SURFACES = frozenset(("IfcFaceBasedSurfaceModel", "IfcShellBasedSurfaceModel"))
ODD_CUTS = "odd openings"
"""Openings that are anything but straight extrusions of polygons."""
#: Bodies that are lists of flat faces.
FACES = frozenset(("IfcFacetedBrep", *SURFACES))
_PLAIN = {"IfcExtrudedAreaSolid", "several", *FACES}
_STRAIGHT = ("IfcRectangleProfileDef", "IfcTrapeziumProfileDef")
_ROUND = ("IfcSphere", "IfcRightCircularCylinder", "IfcRightCircularCone")
#: Polygons too, unless an edge of theirs is rounded off.
_ROLLED = frozenset(f"Ifc{name}ProfileDef" for name in ("RectangleHollow", "IShape", "AsymmetricIShape", "LShape", "TShape", "UShape", "CShape", "ZShape"))


def ladder(group: Group, kernel: str) -> tuple[str, ...]:
    """The engines that shape a group, the first first; each is asked for what the one before could not do."""
    if kernel == "opencascade":
        return (REFERENCE,)
    if "rounded" in group and "openings" not in group and not any(k.startswith("IfcBoolean") for k in group):
        return (REFERENCE,)
    if "rounded" in group or any(k.startswith("IfcBoolean") for k in group):
        return (CLIP, REFERENCE)
    if ODD_CUTS in group:
        return (MIDDLE, REFERENCE)  # the quickest loses arcs, or the whole wall, and adds what is inside out
    if "openings" in group and not SURFACES.isdisjoint(group):
        return (REFERENCE,)  # cut surfaces: one quick kernel crashes on them, the other takes as long
    if set(group) <= {*TESSELLATED, "several"}:
        return (DIRECT, FAST, MIDDLE, REFERENCE)
    return (*((PLAIN,) if set(group) <= _PLAIN else ()), FAST, MIDDLE, REFERENCE)


def groups_of(structure: Structure, products: Products) -> tuple[dict[int, Group], dict[int, str]]:
    """Step id → how it is built, of the products that may have triangles; and why the others that have a shape are not drawn: lines or points alone, or cuts in nothing."""
    drawable: dict[int, Group] = {}
    idle: dict[int, str] = {}
    drawn: dict[str, bool] = {}
    cuts = {relation.target for relation in structure.relations if relation.name == "voids"}
    for element in structure.elements:
        kind = element.is_a()
        if kind not in drawn:
            drawn[kind] = not any(is_kind(element, undrawn) for undrawn in UNDRAWN)
        step = element.id()
        if drawn[kind] and products.named(step)[1]:
            group = signature(element, products)
            if group:
                drawable[step] = group
            else:
                idle[step] = _why_idle(element, products)
        elif not drawn[kind] and step not in cuts and is_kind(element, "IfcFeatureElementSubtraction") and attribute(element, "Representation") is not None:
            idle[step] = "it is a cut, and no element is said to be cut by it"
        elif not drawn[kind] and is_kind(element, "IfcPort") and attribute(element, "Representation") is not None:
            idle[step] = "it is a port, which is where things are connected and no thing"
        elif kind == "IfcGrid":
            idle[step] = "its axes are lines"
    return drawable, idle


def _why_idle(product: Any, products: Products) -> str:
    nothing = "its representation has no items (or they are not in the file)"
    try:
        if any(part.items for part in products.bodies(product.id())):
            return "it has lines, points or texts alone"
        beside = [str(part.get_argument(1)) for part in attribute(attribute(product, "Representation"), "Representations", ()) if part.get_argument(3)]
        return f"of it there is no body, but {', '.join(dict.fromkeys(beside))} alone" if beside else nothing
    except DAMAGED:
        return nothing


def by_group(drawable: dict[int, Group], members: Iterator[int]) -> dict[Group, list[int]]:
    """Members by how they are built."""
    groups: dict[Group, list[int]] = defaultdict(list)
    for step in members:
        groups[drawable[step]].append(step)
    return dict(groups)


def signature(product: Any, products: Products) -> Group:
    """How an element is built: kinds of its solids and surfaces, `rounded`, `openings`, `several`.

    Empty for an element without solids or surfaces (lines, points and texts are not drawn).
    """
    kinds: set[str] = set()
    count = 0
    try:
        for part in products.bodies(product.id()):
            for name in part.items:
                kind = products.kind(name)
                if kind == "IfcExtrudedAreaSolid" and products.kind(products.first(name) or name) in _STRAIGHT:  # most solids
                    kinds.add(kind)
                    count += 1
                    continue
                if kind not in _NESTED and not products.above(name).isdisjoint(LINES):  # most that are none
                    continue
                for item in leaves(products.model.by_id(name), 0):
                    if not supertypes(item.is_a(True)) & LINES:
                        kinds.add(item.is_a())
                        count += 1
                        if _rounded(item, 0):
                            kinds.add("rounded")
    except DAMAGED:
        return ("damaged",)  # the kernels say what is wrong with it
    if kinds and products.cut and (voids := attribute(product, "HasOpenings")):
        kinds.add("openings")
        if any(_cut_oddly(relation) for relation in voids):
            kinds.add(ODD_CUTS)
    if count > 1:
        kinds.add("several")
    return tuple(sorted(kinds))


def _cut_oddly(relation: Any) -> bool:
    """Whether an opening is of the odd kind. One that cannot be read is not: the kernels say what is wrong with it."""
    try:
        parts = attribute(attribute(relation.RelatedOpeningElement, "Representation"), "Representations", ())
        items = [item for part in parts if part.get_argument(1) not in NOT_BODY for item in items_of(part, 0)]
        return any(item.is_a() != "IfcExtrudedAreaSolid" or _rounded(item, 0) for item in items)
    except DAMAGED:
        return False


def _rounded(item: Any, depth: int) -> bool:
    """Whether a sweep is anything but a straight extrusion of a polygon."""
    if depth < 32 and is_kind(item, "IfcBooleanResult"):
        return _rounded(item.FirstOperand, depth + 1)
    if item.is_a() == "IfcCsgSolid":
        return _round_tree(item.TreeRootExpression, depth + 1)
    if item.is_a() in _ROUND:
        return True
    if not is_kind(item, "IfcSweptAreaSolid"):
        return is_kind(item, "IfcSweptDiskSolid")
    if item.is_a() != "IfcExtrudedAreaSolid":
        return True
    profile = item.get_argument(0)
    kind = profile.is_a()
    if kind == "IfcArbitraryClosedProfileDef":
        return _arcs(profile.OuterCurve)
    if kind == "IfcArbitraryProfileDefWithVoids":
        return _arcs(profile.OuterCurve) or any(_arcs(curve) for curve in profile.InnerCurves)
    if kind in _ROLLED:
        return any(value for name, value in profile.get_info(include_identifier=False, recursive=False).items() if name.endswith("Radius"))
    return kind not in _STRAIGHT


def _round_tree(item: Any, depth: int) -> bool:
    """Whether any operand of a CSG tree is round."""
    if depth < 32 and is_kind(item, "IfcBooleanResult"):
        return _round_tree(item.FirstOperand, depth + 1) or _round_tree(item.SecondOperand, depth + 1)
    return _rounded(item, depth)


def _arcs(curve: Any) -> bool:
    kind = curve.is_a()
    if kind == "IfcCompositeCurve":
        return any(not is_kind(s, "IfcCompositeCurveSegment") or s.ParentCurve.is_a() != "IfcPolyline" for s in curve.Segments)
    if kind == "IfcIndexedPolyCurve":
        return any(segment.is_a() != "IfcLineIndex" for segment in curve.Segments or ())
    return bool(kind != "IfcPolyline")
