"""A thin hand on ifcopenshell: deterministic ids, placements, extrusions, types, relations.  No geometry engine is used."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import ifcopenshell
import ifcopenshell.guid

Point = Sequence[float]


class IfcFile:
    """An IFC4 model under construction; relations are collected and written once by `close`."""

    def __init__(self, seed: int, stamp: str) -> None:
        self.f = ifcopenshell.file(schema="IFC4")
        self._seed, self._count = seed, 0
        self._contained: dict[int, tuple[Any, list[Any]]] = {}
        self._typed: dict[int, tuple[Any, list[Any]]] = {}
        self._material: dict[int, tuple[Any, list[Any]]] = {}
        self._parts: dict[int, tuple[Any, list[Any]]] = {}
        header = self.f.header
        header.file_name.time_stamp = stamp
        header.file_name.name = "bim_office.ifc"
        header.file_name.author = ["data_samples"]
        header.file_name.organization = ["Wuyi Twin"]
        header.file_name.originating_system = "data_samples"
        header.file_name.preprocessor_version = "data_samples"
        header.file_description.description = ["ViewDefinition [DesignTransferView]"]
        self.z = self.f.create_entity("IfcDirection", (0.0, 0.0, 1.0))
        self.x = self.f.create_entity("IfcDirection", (1.0, 0.0, 0.0))
        self.origin = self.point((0.0, 0.0, 0.0))
        self.axes = self.f.create_entity("IfcAxis2Placement3D", self.origin, self.z, self.x)

    def __call__(self, kind: str, *args: Any, **attributes: Any) -> Any:
        """Create an entity; a root entity gets its GlobalId."""
        return self.f.create_entity(kind, *args, **attributes)

    def root(self, kind: str, **attributes: Any) -> Any:
        """Create a rooted entity with the next deterministic GlobalId."""
        self._count += 1
        digest = hashlib.md5(f"{self._seed}/{self._count}".encode(), usedforsecurity=False).hexdigest()
        return self.f.create_entity(kind, GlobalId=ifcopenshell.guid.compress(digest), **attributes)

    def point(self, p: Point) -> Any:
        """A cartesian point, 2D or 3D."""
        return self.f.create_entity("IfcCartesianPoint", tuple(float(v) for v in p))

    def placement(self, p: Point, relative: Any = None, x: Point | None = None, z: Point | None = None) -> Any:
        """Local placement at `p`, x axis `x`, z axis `z` (default upright)."""
        axis = self.f.create_entity(
            "IfcAxis2Placement3D",
            self.point(p),
            self.f.create_entity("IfcDirection", tuple(map(float, z))) if z else self.z,
            self.f.create_entity("IfcDirection", tuple(map(float, x))) if x else self.x,
        )
        return self.f.create_entity("IfcLocalPlacement", relative, axis)

    def ring(self, points: Sequence[Point]) -> Any:
        """A closed 2D polyline."""
        vertices = [self.point(p) for p in points]
        return self.f.create_entity("IfcPolyline", [*vertices, vertices[0]])

    def profile(self, outer: Sequence[Point], holes: Sequence[Sequence[Point]] = ()) -> Any:
        """An area by its outline and holes."""
        if holes:
            return self.f.create_entity("IfcArbitraryProfileDefWithVoids", "AREA", None, self.ring(outer), [self.ring(h) for h in holes])
        return self.f.create_entity("IfcArbitraryClosedProfileDef", "AREA", None, self.ring(outer))

    def extrude(self, profile: Any, depth: float, at: Any = None) -> Any:
        """The profile swept along its own z."""
        return self.f.create_entity("IfcExtrudedAreaSolid", profile, at or self.axes, self.z, float(depth))

    def shape(self, context: Any, items: list[Any]) -> Any:
        """Product definition shape with one Body of swept solids."""
        return self.f.create_entity("IfcProductDefinitionShape", None, None, [self.body(context, items)])

    def body(self, context: Any, items: list[Any], kind: str = "SweptSolid") -> Any:
        """A Body representation of these items."""
        return self.f.create_entity("IfcShapeRepresentation", context, "Body", kind, items)

    def mapped(self, context: Any, source: Any) -> Any:
        """Product definition shape that instances a type's representation map."""
        target = self.f.create_entity("IfcCartesianTransformationOperator3D", None, None, self.origin, 1.0, None)
        item = self.f.create_entity("IfcMappedItem", source, target)
        return self.f.create_entity("IfcProductDefinitionShape", None, None, [self.body(context, [item], "MappedRepresentation")])

    def styles(self, item: Any, style: Any) -> None:
        """Give a solid an existing style."""
        self.f.create_entity("IfcStyledItem", item, [style], None)

    def style(self, name: str, rgb: Point, transparency: float = 0.0) -> Any:
        """A surface style to share between solids."""
        shading = self.f.create_entity(
            "IfcSurfaceStyleRendering",
            SurfaceColour=self.f.create_entity("IfcColourRgb", None, *map(float, rgb)),
            Transparency=transparency,
            ReflectanceMethod="NOTDEFINED",
        )
        return self.f.create_entity("IfcSurfaceStyle", name, "BOTH", [shading])

    def properties(self, owner: Any, name: str, values: dict[str, tuple[str, Any]]) -> None:
        """A property set: key -> (IFC measure type, value)."""
        singles = [
            self.f.create_entity("IfcPropertySingleValue", k, None, self.f.create_entity(t, v), None) for k, (t, v) in values.items()
        ]
        pset = self.root("IfcPropertySet", Name=name, HasProperties=singles)
        self.root("IfcRelDefinesByProperties", RelatedObjects=[owner], RelatingPropertyDefinition=pset)

    def quantities(self, owner: Any, name: str, values: dict[str, tuple[str, float]]) -> None:
        """An element quantity: key -> (Length | Area | Volume | Count, value)."""
        parts = [self.f.create_entity(f"IfcQuantity{t}", k, None, None, float(v)) for k, (t, v) in values.items()]
        sets = self.root("IfcElementQuantity", Name=name, Quantities=parts)
        self.root("IfcRelDefinesByProperties", RelatedObjects=[owner], RelatingPropertyDefinition=sets)

    def contain(self, storey: Any, element: Any) -> Any:
        """Put an element into a storey."""
        self._contained.setdefault(storey.id(), (storey, []))[1].append(element)
        return element

    def part(self, whole: Any, element: Any) -> Any:
        """Make an element a part of a whole."""
        self._parts.setdefault(whole.id(), (whole, []))[1].append(element)
        return element

    def typed(self, kind: Any, element: Any) -> None:
        """Say of which type an element is."""
        self._typed.setdefault(kind.id(), (kind, []))[1].append(element)

    def material(self, material: Any, element: Any) -> None:
        """Say of what an element is made."""
        self._material.setdefault(material.id(), (material, []))[1].append(element)

    def void(self, element: Any, opening: Any) -> None:
        """Cut an opening out of an element."""
        self.root("IfcRelVoidsElement", RelatingBuildingElement=element, RelatedOpeningElement=opening)

    def fill(self, opening: Any, element: Any) -> None:
        """Put a window or door into an opening."""
        self.root("IfcRelFillsElement", RelatingOpeningElement=opening, RelatedBuildingElement=element)

    def close(self) -> Any:
        """Write the collected relations and return the ifcopenshell file."""
        for storey, elements in self._contained.values():
            self.root("IfcRelContainedInSpatialStructure", RelatedElements=elements, RelatingStructure=storey)
        for whole, elements in self._parts.values():
            self.root("IfcRelAggregates", RelatingObject=whole, RelatedObjects=elements)
        for kind, elements in self._typed.values():
            self.root("IfcRelDefinesByType", RelatedObjects=elements, RelatingType=kind)
        for material, elements in self._material.values():
            self.root("IfcRelAssociatesMaterial", RelatedObjects=elements, RelatingMaterial=material)
        return self.f
