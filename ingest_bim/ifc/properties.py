"""Property sets and quantities in long form, values in SI with the original kept.

A definition shared by many elements is read once. Values inherited from the type are listed for each occurrence with
`source` "type"; where an occurrence states the same property itself, only its own is listed (ISO 16739-1:2024,
IfcTypeObject: occurrence properties override).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import orjson
import pyarrow as pa

from ingest_bim.ifc.singles import Singles, numbers
from ingest_bim.ifc.stated import said
from ingest_bim.ifc.step_access import DAMAGED, attribute
from ingest_bim.ifc.structure import Structure
from ingest_bim.ifc.units import Units
from ingest_bim.ifc.values import Given, Value, ValueSet, value_columns, value_of
from twin.model import Report, Table

DEPTH = 8


@dataclass
class Definitions:
    """The property and quantity sets of each object (by step id), and where they came from."""

    psets: dict[int, Given] = field(default_factory=dict)
    quantities: dict[int, Given] = field(default_factory=dict)


def read_definitions(model: Any, structure: Structure, units: Units, report: Report, singles: Singles | None = None) -> Definitions:
    """Read every property set and quantity of every element and type; the plain values of them from the text, if there is one."""
    if singles is not None:
        singles.entity, singles.units = model.by_id, units
    reader = _Reader(model, units, report, singles)
    own = _related(model, report, reader.singles)
    # IFC2x3 projects and IFC4 contexts may list theirs through IsDefinedBy alone; types list their own
    by_type: dict[int, list[int]] = {t.id(): [d.id() for d in t.HasPropertySets or ()] for t in model.by_type("IfcTypeObject")}
    result = Definitions()
    for step in [*(e.id() for e in (*structure.elements, *structure.others)), *by_type]:
        kind = structure.types.get(step)
        stated, inherited = own.get(step, ()), by_type.get(kind.id() if kind is not None else step, ())
        if stated or inherited:
            psets, quantities = reader.merged(stated, inherited)
            if psets:
                result.psets[step] = psets
            if quantities:
                result.quantities[step] = quantities
    return result


def _related(model: Any, report: Report, singles: Singles | None) -> Mapping[int, list[int]]:
    """Step id of an object → step ids of the definitions that relations give it."""
    plain = singles.relations() if singles is not None else None
    if plain is not None:
        return plain
    own: dict[int, list[int]] = defaultdict(list)
    for relation in model.by_type("IfcRelDefinesByProperties"):
        written = singles.relation(relation.id()) if singles is not None else None
        if written is not None:
            for item in written[0]:
                own[item].append(written[1])
            continue
        definition = relation.get_argument(5)  # RelatingPropertyDefinition; by position, as there are tens of thousands
        if definition is None:
            report.note("skipped", relation.GlobalId or "", "IfcRelDefinesByProperties without a definition.")
            continue
        definitions = [definition.id()] if definition.id() else [inner.id() for inner in definition.wrappedValue]
        for item in relation.get_argument(4) or ():
            own[item.id()] += definitions
    return own


NOT_VALUES = ("Material", "ShapeAspectStyle")
"""Attributes of definitions that name what they are of."""
_LISTS = ("Table", "TimeSeries")
"""Ends of the classes that a property refers to for what they list, not for what they are called."""


class _Reader:
    """Reads each definition once."""

    def __init__(self, model: Any, units: Units, report: Report, singles: Singles | None) -> None:
        self.model, self.units, self.report, self.singles = model, units, report, singles
        self.read: dict[int, tuple[bool, ValueSet]] = {}
        self._written: dict[tuple[str, bytes, bool], ValueSet] = {}

    def merged(self, stated: Iterable[int], inherited: Iterable[int]) -> tuple[Given, Given]:
        """(properties, quantities) of one object; the type's are left out where the occurrence has its own of that name."""
        lists: tuple[Given, Given] = ([], [])
        for definition in stated:
            sizes, found = self.of(definition)
            if found.values:
                lists[sizes].append((found, "occurrence"))
        if inherited:
            own = [{(one.name, value.name) for one, _ in given for value in one.values} for given in lists]
            for definition in inherited:
                sizes, found = self.of(definition)
                left = [value for value in found.values if (found.name, value.name) not in own[sizes]] if own[sizes] else found.values
                if left:
                    lists[sizes].append((found if len(left) == len(found.values) else ValueSet(found.name, left), "type"))
        return lists

    def of(self, key: int) -> tuple[bool, ValueSet]:
        """(is a quantity set, its values)."""
        known = self.read.get(key)
        if known is None:
            written = self.singles.members(key) if self.singles is not None else None
            known = self.read[key] = self._by_text(key, written) if written is not None else self._by_parser(key)
        return known

    def _by_text(self, key: int, written: tuple[str, bytes, bool]) -> tuple[bool, ValueSet]:
        """Of a set that the text states plainly; many exporters write the same members, or some of them, for every element again."""
        known = self._written.get(written)
        if known is None:
            assert self.singles is not None
            name, members, sizes = written
            steps = numbers(members)
            found = self.singles.of(steps, sizes=sizes)
            values: list[Value] = []
            fine = True
            if all(found):
                values = cast("list[Value]", found)
            else:
                fine = self._guarded(key, values, self._mixed(name, steps, found, sizes))
            known = ValueSet(name, values)
            if fine:
                self._written[written] = known
        return written[2], known

    def _by_parser(self, key: int) -> tuple[bool, ValueSet]:
        definition = self.model.by_id(key)
        kind, name = definition.is_a(), str(attribute(definition, "Name") or definition.is_a())
        values: list[Value] = []
        if kind == "IfcElementQuantity":
            found = self._quantities(name, attribute(definition, "Quantities", ()), "", 0)
        elif kind == "IfcPropertySet":
            found = self._properties(name, attribute(definition, "HasProperties", ()), "", 0)
        else:
            found = self._predefined(definition)
        self._guarded(key, values, found)
        return kind == "IfcElementQuantity", ValueSet(name, values)

    def _guarded(self, key: int, values: list[Value], found: Iterator[Value]) -> bool:
        """Take the values that can be read, and say which definition is damaged."""
        try:
            values.extend(found)
        except DAMAGED as error:
            definition = self.model.by_id(key)
            name, kind = str(attribute(definition, "Name") or definition.is_a()), definition.is_a()
            self.report.note("skipped", name, f"#{key} {kind} is damaged after {len(values)} values: {str(error)[:120]}.")
            return False
        return True

    def _mixed(self, name: str, steps: list[int], values: list[Value | None], sizes: bool) -> Iterator[Value]:
        """The members of a set, those that are not plain single values by the parser."""
        others = self._quantities if sizes else self._properties
        for step, value in zip(steps, values, strict=True):
            if value is not None:
                yield value
            else:
                yield from others(name, (self.model.by_id(step),), "", 0)

    def _properties(self, name: str, properties: Iterable[Any], prefix: str, depth: int) -> Iterator[Value]:
        for item in properties:
            kind, label = item.is_a(), f"{prefix}{item.get_argument(0) or ''}"
            if kind == "IfcPropertySingleValue":  # nearly all; by position, which is three times faster than by name
                yield self._single(label, item.get_argument(2), item.get_argument(3))
            elif kind == "IfcPropertyEnumeratedValue":
                yield self._many(label, item.EnumerationValues, attribute(attribute(item, "EnumerationReference"), "Unit"))
            elif kind == "IfcPropertyListValue":
                yield self._many(label, item.ListValues, item.Unit)
            elif kind == "IfcPropertyBoundedValue":
                parts = (("LowerBound", item.LowerBoundValue), ("UpperBound", item.UpperBoundValue), ("SetPoint", attribute(item, "SetPointValue")))
                stated = [(part, value) for part, value in parts if value is not None]
                yield from (self._single(f"{label}.{part}", value, item.Unit) for part, value in stated)
                if not stated:
                    yield self._single(label, None, None)
            elif kind == "IfcPropertyTableValue":
                yield self._many(f"{label}.Defining", item.DefiningValues, item.DefiningUnit)
                yield self._many(f"{label}.Defined", item.DefinedValues, item.DefinedUnit)
                if item.Expression:
                    yield Value(f"{label}.Expression", item.Expression, None, "", None, "", "IfcText", item.Expression)
            elif kind == "IfcComplexProperty" and depth < DEPTH:
                yield from self._properties(name, item.HasProperties or (), f"{label}.", depth + 1)
            elif kind == "IfcPropertyReferenceValue":
                target = item.PropertyReference
                text = None if target is None else str((attribute(target, "Name") if not target.is_a().endswith(_LISTS) else None) or said(target))
                yield Value(label, text, None, "", None, "", target.is_a() if target is not None else "", text)
            else:
                self.report.note("skipped", name, f"property {label!r} of the kind {kind} is not read.")

    def _single(self, label: str, value: Any, unit_entity: Any) -> Value:
        if value is None:
            return Value(label, None, None, "", None, "", "", None)
        kind, raw = value.is_a(), value.get_argument(0)
        unit = self.units.own(unit_entity) if unit_entity is not None else self.units.of_measure(kind)
        return value_of(label, raw, kind, unit)

    def _many(self, label: str, values: Any, unit_entity: Any) -> Value:
        items = [self._single(label, v, unit_entity) for v in values or ()]
        plain = [i.plain["value"] if isinstance(i.plain, dict) else i.plain for i in items]
        unit, kind = (items[0].unit, items[0].type) if items else ("", "")
        original = items[0].original_unit if items else ""
        content: Any = {"value": plain, "unit": unit} if unit else plain
        if len(items) == 1:
            return items[0]
        written = [v.get_argument(0) for v in values or ()]  # as a single value's text: as the file has it
        return Value(label, orjson.dumps(written, default=str).decode(), None, unit, None, original, f"LIST OF {kind}" if kind else "LIST", content)

    def of_material(self, name: str, definition: Any) -> list[Value]:
        """The properties of a material: in a list, or (IFC2x3: mechanical, thermal, …) as attributes."""
        listed = attribute(definition, "Properties") or attribute(definition, "ExtendedProperties")
        return list(self._properties(name, listed, "", 0) if listed is not None else self._predefined(definition, 1))

    def _predefined(self, definition: Any, first: int = 4) -> Iterator[Value]:
        """Door linings, panels, reinforcement, energy, … state values as attributes; what they state by other instances is JSON."""
        for index in range(first, len(definition)):
            raw = definition[index]
            if raw is None or raw == ():
                continue
            label, one = definition.attribute_name(index), raw[0] if isinstance(raw, tuple) else raw
            if not hasattr(one, "is_a"):
                kind = _attribute_type(definition, index)
                yield value_of(label, raw, kind, self.units.of_measure(kind))
            elif one is raw and not raw.id():  # a value of a select
                yield self._single(label, raw, None)
            elif label not in NOT_VALUES:
                yield Value(label, said(raw), None, "", None, "", one.is_a(), said(raw))

    def _quantities(self, name: str, quantities: Iterable[Any], prefix: str, depth: int) -> Iterator[Value]:
        for item in quantities:
            label, kind = f"{prefix}{item.get_argument(0) or ''}", item.is_a()
            if kind == "IfcPhysicalComplexQuantity":
                if depth < DEPTH:
                    yield from self._quantities(name, item.HasQuantities or (), f"{label}.", depth + 1)
                continue
            raw = item.get_argument(3)  # LengthValue, AreaValue, …: the first attribute of each subtype
            measure = "IfcMassMeasure" if kind == "IfcQuantityWeight" else f"Ifc{kind.removeprefix('IfcQuantity')}Measure"
            own = item.get_argument(2)
            unit = self.units.own(own) if own is not None else self.units.of_measure(measure)
            yield value_of(label, raw, measure, unit)


def _attribute_type(definition: Any, index: int) -> str:
    import ifcopenshell.ifcopenshell_wrapper as wrapper  # noqa: PLC0415  only predefined sets ask the schema

    declared: Any = wrapper.schema_by_name(definition.file.schema_identifier).declaration_by_name(definition.is_a())
    kind = declared.as_entity().attribute_by_index(index).type_of_attribute()
    named = kind.as_named_type()
    return str(named.declared_type().name()) if named is not None else ""


def material_properties(model: Any, units: Units, report: Report) -> Iterator[Table]:
    """`material_properties`, if there are any: material, pset, property, and the value as in `psets`. Materials have no GlobalId: `materials` names them for elements."""
    reader, rows = _Reader(model, units, report, None), list[tuple[str, str, Value]]()
    for definition in model.by_type("IfcMaterialProperties"):
        kind = definition.is_a()
        try:
            material = definition.Material
            label = next((found for name in ("Name", "LayerSetName") if (found := attribute(material, name))), "") if material is not None else ""
            name = str(attribute(definition, "Name") or kind)
            rows += [(str(label), name, value) for value in reader.of_material(name, definition)]
        except DAMAGED as error:
            report.note("skipped", "", f"#{definition.id()} {kind} is damaged: {str(error)[:120]}.")
    if rows:
        labels = {"material": pa.array([row[0] for row in rows], pa.string()), "pset": pa.array([row[1] for row in rows], pa.string())}
        yield Table("material_properties", pa.table({**labels, **value_columns("property", [row[2] for row in rows])}))
