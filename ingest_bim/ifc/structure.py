"""The tree and the graph of a model: which elements there are, what belongs to what, and every relation between them.

Elements are the project, all products (spatial elements, building elements, openings, ports, …) and all groups
(systems, zones). Relations are read generically: any IfcRelationship with Relating… and Related… objects that have
GlobalIds becomes rows `from` (the relating one) → `to` (the related one).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import orjson
import pyarrow as pa

from ingest_bim.ifc.stated import stated
from ingest_bim.ifc.step_access import DAMAGED
from twin.model import Report, Table

#: Relationship classes by the word they are queried with; others are named after their class.
RELATIONS = {
    "IfcRelContainedInSpatialStructure": "contained", "IfcRelAggregates": "aggregates", "IfcRelNests": "nests",
    "IfcRelVoidsElement": "voids", "IfcRelFillsElement": "fills", "IfcRelProjectsElement": "projects",
    "IfcRelConnectsPathElements": "connects", "IfcRelConnectsElements": "connects", "IfcRelConnectsWithRealizingElements": "connects",
    "IfcRelConnectsPorts": "connects", "IfcRelConnectsPortToElement": "port_of", "IfcRelAssignsToGroup": "groups",
    "IfcRelAssignsToGroupByFactor": "groups", "IfcRelServicesBuildings": "serves", "IfcRelDefinesByType": "defines_by_type",
    "IfcRelSpaceBoundary": "bounds", "IfcRelSpaceBoundary1stLevel": "bounds", "IfcRelSpaceBoundary2ndLevel": "bounds",
    "IfcRelReferencedInSpatialStructure": "references", "IfcRelCoversBldgElements": "covers", "IfcRelCoversSpaces": "covers",
    "IfcRelFlowControlElements": "controls", "IfcRelInterferesElements": "interferes", "IfcRelDeclares": "declares",
    "IfcRelPositions": "positions", "IfcRelSequence": "precedes", "IfcRelAssignsToProduct": "assigned_to",
    "IfcRelDefinesByObject": "defines_by_object", "IfcRelAdheresToElement": "adheres",
}  # fmt: skip
#: Relations whose `to` belongs to its `from` in the tree, the strongest first.
PARENTS = ("aggregates", "nests", "contained", "voids", "projects", "adheres", "port_of", "fills")
#: The position of a relationship's name, behind its GlobalId and owner.
NAME = 2
_SKIPPED = ("IfcRelDefinesByProperties", "IfcRelAssociates", "IfcRelDefinesByTemplate")


@dataclass(frozen=True, slots=True)
class Relation:
    """One edge between two objects, by step id."""

    source: int
    name: str
    target: int
    ifc: str
    detail: str | None = None
    """What the relationship states of itself (its name, its factor, which end of a wall, inside or outside), as JSON."""


@dataclass
class Structure:
    """Elements by step id and how they hang together.

    Attributes:
        elements: project, products, groups in file order.
        ids: unique text of every object that has a GlobalId (elements, types, others).
        parent: element → the element it belongs to.
        types: element → its type object.
        groups: element → the groups it is assigned to, by step id.
        others: actors, controls, tasks and resources: no features, but the ends of relations and owners of properties.
        materials: object → what IfcRelAssociatesMaterial gives it, by step id.
    """

    elements: list[Any]
    ids: dict[int, str]
    relations: list[Relation] = field(default_factory=list)
    parent: dict[int, int] = field(default_factory=dict)
    types: dict[int, Any] = field(default_factory=dict)
    groups: dict[int, list[int]] = field(default_factory=dict)
    materials: dict[int, list[int]] = field(default_factory=dict)
    others: list[Any] = field(default_factory=list)

    def above(self, step: int) -> Iterator[int]:
        """The parents of an element from the nearest upwards; ends at a cycle."""
        seen = {step}
        at = self.parent.get(step)
        while at is not None and at not in seen:
            seen.add(at)
            yield at
            at = self.parent.get(at)


def read_structure(model: Any, report: Report) -> Structure:
    """All elements and relations of a model; missing and repeated GlobalIds are repaired and reported."""
    elements = _once([*model.by_type("IfcProject"), *model.by_type("IfcProduct"), *model.by_type("IfcGroup")], report)
    types = _once(model.by_type("IfcTypeObject"), report)
    known = {e.id() for e in elements}
    others = sorted((o for o in model.by_type("IfcObject") if o.id() not in known), key=lambda o: o.id())
    structure = Structure(elements, _unique_ids([*elements, *types, *others], report), others=others)
    structure.relations = list(_relations(model, structure.ids))
    by_name: dict[str, list[Relation]] = defaultdict(list)
    for relation in structure.relations:
        by_name[relation.name].append(relation)
    _find_parents(structure, by_name, report)
    for relation in by_name["defines_by_type"]:
        structure.types[relation.target] = model.by_id(relation.source)
    for relation in by_name["groups"]:
        structure.groups.setdefault(relation.target, []).append(relation.source)
    for association in model.by_type("IfcRelAssociatesMaterial"):
        with suppress(*DAMAGED):  # reported where materials are read
            for item in association.RelatedObjects or ():
                structure.materials.setdefault(item.id(), []).append(association.RelatingMaterial.id())
    return structure


def _once(items: Iterable[Any], report: Report) -> list[Any]:
    """Instances in the order of their lines; of two with one line's name, which a file must not have, that which the parser finds by it: the first."""
    found: dict[int, Any] = {}
    for item in items:
        first = found.setdefault(item.id(), item)
        if first is not item:
            report.note("refused", str(item.GlobalId or ""), f"#{item.id()} is written twice in the file: this {item.is_a()} is lost, the first one counts. Export the model again.")
    return [found[step] for step in sorted(found)]


def _unique_ids(objects: list[Any], report: Report) -> dict[int, str]:
    """GlobalIds, made unique: of objects that share one, the second is called `id~2`, and so on in file order."""
    ids: dict[int, str] = {}
    seen: dict[str, int] = {}
    for item in objects:
        text = item.GlobalId
        if not isinstance(text, str) or not text:
            text = f"step-{item.id()}"
            report.note("repaired", text, f"#{item.id()} {item.is_a()} has no GlobalId: named after its line.")
        count = seen[text] = seen.get(text, 0) + 1
        if count > 1:
            report.note("repaired", f"{text}~{count}", f"#{item.id()} {item.is_a()} repeats the GlobalId of another object.")
            text = f"{text}~{count}"
        ids[item.id()] = text
    return ids


def _relations(model: Any, ids: dict[int, str]) -> Iterator[Relation]:
    ends: dict[str, tuple[int, int, list[tuple[int, str]]] | None] = {}
    # class by class, as most of the relationships of most models are of those that are left out
    found = [relation for kind in _relationships(model.schema_identifier) for relation in model.by_type(kind, include_subtypes=False)]
    for relation in sorted(found, key=lambda r: r.id()):
        kind = relation.is_a()
        if kind not in ends:
            ends[kind] = _ends(relation)
        names = ends[kind]
        if names is None:
            continue
        sources, targets = _objects(relation.get_argument(names[0])), _objects(relation.get_argument(names[1]))
        name, detail = RELATIONS.get(kind) or kind.removeprefix("IfcRel").lower(), _detail(relation, names[2])
        for source in sources:
            for target in targets:
                if source in ids and target in ids:
                    yield Relation(source, name, target, kind, detail)


@lru_cache(maxsize=8)
def _relationships(schema: str) -> tuple[str, ...]:
    """All classes of relationships that are read here."""
    import ifcopenshell.ifcopenshell_wrapper as wrapper  # noqa: PLC0415  slow import, not needed to name the reader

    root: Any = wrapper.schema_by_name(schema).declaration_by_name("IfcRelationship").as_entity()
    left, names = [root], list[str]()
    while left:
        at = left.pop()
        names.append(at.name())
        left.extend(at.subtypes())
    return tuple(name for name in names if not name.startswith(_SKIPPED))


def _ends(relation: Any) -> tuple[int, int, list[tuple[int, str]]] | None:
    """The positions of a relationship's Relating… and Related… attributes, and those (with their names) of what it states beside these."""
    names = [relation.attribute_name(i) for i in range(len(relation))]
    relating = [i for i, n in enumerate(names) if n.startswith("Relating")]
    related = [i for i, n in enumerate(names) if n.startswith("Related")]
    if not relating and len(related) > 1:  # IfcRelCoversSpaces of IFC2x3: RelatedSpace, RelatedCoverings
        relating, related = related[:1], related[1:]
    if not relating or not related:
        return None
    return relating[0], related[0], [(i, n) for i, n in enumerate(names) if i >= NAME and i not in (relating[0], related[0]) and n != "RelatedObjectsType"]


def _detail(relation: Any, beside: list[tuple[int, str]]) -> str | None:
    """What a relationship states beside its ends: values, objects (the bolts of a joint) by their GlobalIds, others (a role, a lag of time) by what they state; no geometry."""
    said = {name: _plain(value) for at, name in beside if not name.endswith("Geometry") and (value := relation.get_argument(at)) not in (None, (), "", "NOTDEFINED")}
    return orjson.dumps(said, default=str).decode() if said else None


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(part) for part in value]
    return value.GlobalId if hasattr(value, "is_a") and value.is_a("IfcRoot") else stated(value, 0, 2)


def _objects(value: Any) -> list[int]:
    if value is None:
        return []
    many = value if isinstance(value, (tuple, list)) else (value,)
    return [v.id() for v in many if hasattr(v, "is_a")]


def _find_parents(structure: Structure, by_name: dict[str, list[Relation]], report: Report) -> None:
    known = {e.id() for e in structure.elements}
    for name in PARENTS:
        for relation in by_name[name]:
            # a port belongs to its element, which IfcRelConnectsPortToElement calls `Related`
            child, parent = (relation.source, relation.target) if name == "port_of" else (relation.target, relation.source)
            if child in known and parent in known and child != parent:
                structure.parent.setdefault(child, parent)
    done: set[int] = set()
    for element in structure.elements:
        path: dict[int, None] = {}
        at: int | None = element.id()
        while at is not None and at not in done and at not in path:
            path[at] = None
            at = structure.parent.get(at)
        if at in path:
            report.note("repaired", structure.ids[element.id()], "The spatial tree runs in a circle; the last link of it is cut.")
            del structure.parent[next(reversed(path))]
        done.update(path)  # (a set joined with the keys of a dict by an operator is copied: for every element)


def relation_table(structure: Structure) -> Table:
    """`relations`: from, relation, to (ids), ifc (the relationship's class), detail (what it states of itself, as JSON)."""
    ids, rows = structure.ids, structure.relations
    return Table("relations", pa.table({
        "from": pa.array([ids[r.source] for r in rows], pa.string()), "relation": pa.array([r.name for r in rows], pa.string()),
        "to": pa.array([ids[r.target] for r in rows], pa.string()), "ifc": pa.array([r.ifc for r in rows], pa.string()),
        "detail": pa.array([r.detail for r in rows], pa.string()),
    }))  # fmt: skip
