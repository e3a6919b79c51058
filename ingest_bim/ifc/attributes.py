"""What classes of IFC state beyond what every element has: a door's height, a port's flow direction, a site's address, a grid's axes, a task's name.

The common attributes (`COMMON`) are columns of the elements and of `types`; shapes, places and owners are not attributes here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson
import pyarrow as pa

from ingest_bim.ifc.stated import stated
from ingest_bim.ifc.step_access import DAMAGED, supertypes
from ingest_bim.ifc.structure import Structure
from ingest_bim.ifc.units import Units
from ingest_bim.ifc.values import Value, value_of
from twin.model import Report, Table

#: Columns of every element, or of no meaning outside of the file.
COMMON = frozenset(("GlobalId", "OwnerHistory", "Name", "Description", "ObjectType", "Tag", "LongName", "PredefinedType", "CompositionType", "ApplicableOccurrence"))
#: Objects and what they are drawn and measured by, which have their own places; all other instances that an attribute names (an address, an actor, a task's time, a cost,
#: a load) are told as JSON, in the file's units.
ELSEWHERE = frozenset((
    "IfcRoot", "IfcObjectPlacement", "IfcProductRepresentation", "IfcRepresentation", "IfcRepresentationMap", "IfcRepresentationItem", "IfcRepresentationContext", "IfcUnitAssignment",
    "IfcOwnerHistory", "IfcShapeAspect",
))  # fmt: skip
DEPTH = 4
"""Levels of instances in an attribute that are told."""
#: What a segment of an alignment is designed by: its radii, lengths, gradients, cants are attributes as if they were its own.
PARAMETERS = "IfcAlignmentParameterSegment"


def attributes(model: Any, structure: Structure, units: Units, report: Report) -> Iterator[Table]:
    """`attributes`, if there are any: id, class, attribute, and the value as in `psets`; of actors, tasks, costs and resources, which are no features, the name, too."""
    schema = _Schema(model.schema_identifier)
    rows: list[tuple[str, str, Value]] = []
    for things, named in (((*structure.elements, *model.by_type("IfcTypeObject")), False), (structure.others, True)):
        beyond: dict[str, list[tuple[int, str, str]]] = {}
        for thing in things:
            kind = thing.is_a()
            if kind not in beyond:
                beyond[kind] = schema.beyond(kind, named=named)
            for index, name, measure in beyond[kind]:
                try:
                    raw = thing.get_argument(index)
                    parts = schema.parameters(name, raw) if measure == PARAMETERS and raw is not None else ((name, raw, measure),)
                    values = [_value(*part, units) for part in parts]
                except DAMAGED as error:
                    report.note("skipped", structure.ids[thing.id()], f"#{thing.id()} {kind}: its {name} is damaged: {str(error)[:120]}.")
                    continue
                rows += [(structure.ids[thing.id()], kind, value) for value in values if value is not None]
    if rows:
        yield Table("attributes", _table(rows))


def _value(name: str, raw: Any, measure: str, units: Units) -> Value | None:
    if raw is None or raw == ():
        return None
    first = raw[0] if isinstance(raw, tuple) else raw
    if hasattr(first, "is_a"):
        if first.is_a() == "IfcGridAxis":
            raw = [axis.AxisTag for axis in raw]
        elif not first.id():  # a value of a select
            measure = first.is_a()
            raw = raw.get_argument(0) if first is raw else [value.get_argument(0) for value in raw]
        elif supertypes(first.is_a(True)) & ELSEWHERE:
            return None
        else:
            return value_of(name, orjson.dumps(stated(raw, 0, DEPTH), default=str).decode(), first.is_a(), units.of_measure(""))
    return value_of(name, raw, measure, units.of_measure(measure))


class _Schema:
    """The attributes of a schema's classes."""

    def __init__(self, identifier: str) -> None:
        import ifcopenshell.ifcopenshell_wrapper as wrapper  # noqa: PLC0415  slow import, not needed to name the reader

        self.schema: Any = wrapper.schema_by_name(identifier)

    def beyond(self, kind: str, *, named: bool) -> list[tuple[int, str, str]]:
        """(position, name, measure) of the attributes that are not common ones; of `named` with the texts among these."""
        left = {"GlobalId", "OwnerHistory"} if named else COMMON
        declared = self.schema.declaration_by_name(kind).as_entity()
        found = [(index, each.name(), *_declared(each.type_of_attribute())) for index, each in enumerate(declared.all_attributes()) if each.name() not in left]
        return [(index, name, measure) for index, name, measure, told in found if told]

    def parameters(self, name: str, segment: Any) -> Iterator[tuple[str, Any, str]]:
        """(name, value, measure) of each parameter of a segment that is stated; of its start the coordinates."""
        for index, each in enumerate(self.schema.declaration_by_name(segment.is_a()).as_entity().all_attributes()):
            raw = segment.get_argument(index)
            if hasattr(raw, "is_a") and raw.is_a("IfcCartesianPoint"):
                for axis, number in zip("XYZ", raw.get_argument(0), strict=False):
                    yield f"{name}.{each.name()}.{axis}", number, "IfcLengthMeasure"
            else:
                yield f"{name}.{each.name()}", raw, _declared(each.type_of_attribute())[0]


def _declared(kind: Any) -> tuple[str, bool]:
    """(the name of an attribute's type, whether it can be told: that of an entity, unless it is among those that are told elsewhere)."""
    many = kind.as_aggregation_type()
    named = (many.type_of_element() if many is not None else kind).as_named_type()
    if named is None:
        return "", True
    declared = named.declared_type()
    name = str(declared.name())
    entity, above = declared.as_entity(), set[str]()
    while entity is not None:
        above.add(entity.name())
        entity = entity.supertype()
    return "" if many is not None else name, above.isdisjoint(ELSEWHERE - {"IfcRepresentationItem"})


def _table(rows: list[tuple[str, str, Value]]) -> pa.Table:
    names = {"value": "text", "number": "number", "unit": "unit", "original": "original", "original_unit": "original_unit", "type": "type"}
    columns = {"id": pa.array([row[0] for row in rows], pa.string()), "class": pa.array([row[1] for row in rows], pa.string()),
               "attribute": pa.array([row[2].name for row in rows], pa.string())}  # fmt: skip
    kinds = {"number": pa.float64(), "original": pa.float64()}
    return pa.table({**columns, **{name: pa.array([getattr(row[2], field) for row in rows], kinds.get(name, pa.string())) for name, field in names.items()}})
