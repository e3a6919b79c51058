"""What a model states beside values and shapes: what its sets, properties and quantities are described by, its presentation layers, and the parts of a shape that have names.

Described is what most models describe nowhere, and others for every property anew: of texts that are alike the first is read, and whose they are is
told where one property has several.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

import orjson
import pyarrow as pa

from ingest_bim.geometry.faces import look
from ingest_bim.ifc.stated import stated
from ingest_bim.ifc.step_access import DAMAGED, attribute
from ingest_bim.ifc.step_scan import StepText
from ingest_bim.ifc.structure import Structure
from twin.model import Report, Table

#: What is told of sets and their members, as one text each.
TOLD = ("Description", "Specification", "MethodOfMeasurement", "UsageName", "Formula", "Discrimination", "Quality", "Usage", "CurveInterpolation", "EnumerationReference", "PropertyReference")
Note = tuple[str, str, str, str]
"""(set, property, attribute, text); the property of what is said of a set is empty."""
#: What properties and quantities lie in, by the beginning of its class.
_HOLDERS = ("IfcPropertySet", "IfcElementQuantity", "IfcComplex", "IfcPhysicalComplex")
_SETS, _MEMBERS = ("IfcPropertySetDefinition",), ("IfcProperty", "IfcPhysicalQuantity")
#: Texts of those that describe nothing, by class as it is written: nearly all of nearly all models are such.
_PLAIN = {b"IFCPROPERTYSINGLEVALUE": b"',$,", b"IFCPROPERTYSET": b",$,(", b"IFCELEMENTQUANTITY": b",$,$,("}
_SIZES = tuple(b"IFCQUANTITY" + name for name in (b"LENGTH", b"AREA", b"VOLUME", b"WEIGHT", b"TIME", b"COUNT", b"NUMBER"))
_TEXT = rb"(?:\$|'(?:[^']|'')*+')\s*+"
#: The name and the description of a member, and a formula at its end; of a set name, description and perhaps a method.
_MEMBER = re.compile(rb"\s*+" + _TEXT + rb"," + rb"\s*+" + _TEXT)
_ROOT = re.compile(rb"\s*+" + _TEXT + rb",\s*+(?:\$|#\d++)\s*+,(\s*+" + _TEXT + rb",\s*+" + _TEXT + rb"(?:,\s*+" + _TEXT + rb")?)")
_LAST = re.compile(rb",\s*+('(?:[^']|'')*+')\s*+\)\s*+$")


def beside(model: Any, structure: Structure, text: StepText | None, report: Report) -> Iterator[Table]:
    """Tables of what there is of three kinds.

    `property_notes`: set, property, attribute, text, each once, and ids (a JSON list of those that have it) where elements differ in it. `layers`: layer, description, identifier, on, frozen, blocked, color.
    `aspects`, named parts of an element's shape: id, name, description, definitional.
    """
    notes: dict[Note, list[int]] = {}
    for note, alike in _notes(model, text, report):
        notes.setdefault(note, []).extend(alike)
    if notes:
        several = Counter(note[:3] for note in notes)
        rows = [(*note, _ids(model, alike) if several[note[:3]] > 1 else None) for note, alike in notes.items()]
        yield _table("property_notes", rows, ("set", "property", "attribute", "text", "ids"))
    layers = [row for layer in model.by_type("IfcPresentationLayerAssignment") if (row := _layer(layer, report)) is not None]
    if layers:
        yield _table("layers", layers, ("layer", "description", "identifier", "on", "frozen", "blocked", "color"))
    owners = _owners(structure) if (named := model.by_type("IfcShapeAspect")) else {}
    aspects = [row for aspect in named for row in _aspect(aspect, owners, structure, report)]
    if aspects:
        yield _table("aspects", aspects, ("id", "name", "description", "definitional"))


def _notes(model: Any, text: StepText | None, report: Report) -> Iterator[tuple[Note, list[int]]]:
    """(note, step ids of the sets, properties or quantities that have it); the same note may come again with others."""
    for sets, kinds in ((True, _SETS), (False, _MEMBERS)):
        for kind in kinds:
            for entity, alike in _candidates(model, kind, text, sets=sets):
                try:
                    name, member = (str(attribute(entity, "Name") or entity.is_a()), "") if sets else _named(model, entity)
                    for what in TOLD:
                        value = attribute(entity, what)
                        if value not in (None, "") and (what != "PropertyReference" or attribute(value, "Name")):  # one without a name is told whole as the value
                            yield (name, member, what, value if isinstance(value, str) else orjson.dumps(stated(value, 0), default=str).decode()), alike
                except DAMAGED as error:
                    report.note("skipped", "", f"#{entity.id()} {entity.is_a()} is damaged, what it is described by is not kept: {str(error)[:120]}.")


def _candidates(model: Any, kind: str, text: StepText | None, *, sets: bool) -> Iterator[tuple[Any, list[int]]]:
    """Those of a class that may describe something: of those alike the first, and the step ids of all."""
    if text is None or not all(map(bytes.isupper, text.kinds)):
        yield from ((entity, [entity.id()]) for entity in model.by_type(kind))
        return
    seen: dict[bytes, list[int]] = {}
    for own in _classes(model, kind):
        written = own.upper().encode()
        for name in _worded(text, written):
            row = text.rows[name][1]
            if sets:
                found = _ROOT.match(row)
                key = found[1] if found is not None else row
            else:
                head, last = _MEMBER.match(row), _LAST.search(row) if written in _SIZES else None
                rare = written not in _SIZES and written not in _PLAIN
                key = row if head is None or rare else head[0] + (last[1] if last is not None else b"")
            seen.setdefault(written + key, []).append(name)
    yield from ((model.by_id(alike[0]), alike) for alike in seen.values())


def _ids(model: Any, alike: list[int]) -> str:
    """The ids of the objects and types that have some sets, properties or quantities, in the order of the file, as JSON."""
    found: dict[int, str] = {}
    left, seen = [model.by_id(name) for name in alike], set[int]()
    while left:
        at = left.pop()
        if at.id() in seen:
            continue
        seen.add(at.id())
        for user in model.get_inverse(at):
            if user.is_a("IfcRelDefinesByProperties"):
                found |= {thing.id(): str(thing.GlobalId) for thing in user.RelatedObjects or ()}
            elif user.is_a("IfcTypeObject"):
                found[user.id()] = str(user.GlobalId)
            elif user.is_a().startswith(_HOLDERS):
                left.append(user)
    return orjson.dumps([found[step] for step in sorted(found)]).decode()


def _worded(text: StepText, kind: bytes) -> list[int]:
    """Names of those of a class whose text does not say that they describe nothing."""
    names, rows, plain = text.kinds.get(kind, ()), text.rows, _PLAIN.get(kind)
    if kind in _SIZES:
        return [name for name in names if b"',$," not in rows[name][1] or rows[name][1].rstrip(b") ").endswith(b"'")]
    return list(names) if plain is None else [name for name in names if plain not in rows[name][1]]


def _classes(model: Any, kind: str) -> list[str]:
    """The class and all below it."""
    import ifcopenshell.ifcopenshell_wrapper as wrapper  # noqa: PLC0415  slow import, not needed to name the reader

    root: Any = wrapper.schema_by_name(model.schema_identifier).declaration_by_name(kind).as_entity()
    left, names = [root], list[str]()
    while left:
        at = left.pop()
        names.append(at.name())
        left.extend(at.subtypes())
    return names


def _named(model: Any, member: Any) -> tuple[str, str]:
    """(set, property) as `psets` and `quantities` call them: that of a complex one is called after both."""
    label, at = str(attribute(member, "Name") or ""), member
    for _ in range(8):
        holder = min((each for each in model.get_inverse(at) if each.is_a().startswith(_HOLDERS) or
                      each.is_a().endswith("MaterialProperties")), key=lambda each: int(each.id()), default=None)  # fmt: skip
        if holder is None:
            return "", label
        if not holder.is_a().startswith(("IfcComplex", "IfcPhysicalComplex")):
            return str(attribute(holder, "Name") or holder.is_a()), label
        label, at = f"{attribute(holder, 'Name') or ''}.{label}", holder
    return "", label


def _layer(layer: Any, report: Report) -> tuple[Any, ...] | None:
    try:
        named = layer.Name, layer.Description, layer.Identifier
        styles = [found for style in attribute(layer, "LayerStyles", ()) if (found := look(style)) is not None]
        color = "#" + "".join(f"{round(part * 255):02x}" for part in styles[0][1][:3]) if styles else None
        states = [None if (state := attribute(layer, name)) is None else str(state).lower() for name in ("LayerOn", "LayerFrozen", "LayerBlocked")]
    except DAMAGED as error:
        report.note("skipped", "", f"#{layer.id()} {layer.is_a()} is damaged: {str(error)[:120]}.")
        return None
    return (*named, *states, color)


def _owners(structure: Structure) -> dict[int, list[int]]:
    """The elements by what represents them (their shape, or a map of their type's)."""
    owners: dict[int, list[int]] = {}
    for element in structure.elements:
        if (shape := attribute(element, "Representation")) is not None:
            owners.setdefault(shape.id(), []).append(element.id())
    for kind in {kind.id(): kind for kind in structure.types.values()}.values():
        for used in attribute(kind, "RepresentationMaps", ()):
            owners.setdefault(used.id(), []).append(kind.id())
    return owners


def _aspect(aspect: Any, owners: dict[int, list[int]], structure: Structure, report: Report) -> Iterator[tuple[Any, ...]]:
    try:
        whole = aspect.PartOfProductDefinitionShape
        stated_of = aspect.Name, aspect.Description, str(aspect.ProductDefinitional).lower()
        yield from ((structure.ids[step], *stated_of) for step in owners.get(whole.id() if whole is not None else 0, ()))
    except DAMAGED as error:
        report.note("skipped", "", f"#{aspect.id()} {aspect.is_a()} is damaged: {str(error)[:120]}.")


def _table(name: str, rows: list[tuple[Any, ...]], names: tuple[str, ...]) -> Table:
    return Table(name, pa.table({column: pa.array([None if row[i] is None else str(row[i]) for row in rows], pa.string()) for i, column in enumerate(names)}))
