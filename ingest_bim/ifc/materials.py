"""Materials, classifications, documents, other associations and presentation layers of elements, their own or their type's."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any

import orjson
import pyarrow as pa

from ingest_bim.geometry.faces import Style, look, look_of
from ingest_bim.ifc.products import Products
from ingest_bim.ifc.stated import stated
from ingest_bim.ifc.step_access import DAMAGED, attribute
from ingest_bim.ifc.structure import Structure
from ingest_bim.ifc.values import column
from twin.model import Report, Table

MaterialRow = tuple[str, str, int, float | None, float | None, str, str | None, str | None, str | None, str | None]
"""(material, kind, position, thickness m, fraction, category or layer name, colour #rrggbb, name of the section, name of the set, what else is stated as JSON)."""

#: Relationships of definitions, and looks, that are not read, and what of them.
UNREAD = {"IfcRelDefinesByTemplate": "templates of property sets", "IfcRelOverridesProperties": "values that override those of a shared property set",
          "IfcSurfaceTexture": "textures", "IfcExternalReferenceRelationship": "classifications and documents of materials, properties and other definitions"}  # fmt: skip


#: What the columns say, by the class's end.
_COLUMNS = ("Name", "LayerSetName", "LayerThickness", "Fraction", "Material", "Profile", "ForLayerSet", "ForProfileSet")


def material_rows(definition: Any, length: float, above: dict[str, Any] | None = None) -> Iterator[MaterialRow]:
    """What an IfcMaterialSelect is made of, in order; `above`: what its use and its set state, by these words."""
    if definition is None:
        return
    kind, around = definition.is_a(), above or {}
    if kind in ("IfcMaterialLayerSetUsage", "IfcMaterialProfileSetUsage", "IfcMaterialProfileSetUsageTapering") and "usage" not in around:
        yield from material_rows(definition.ForLayerSet if "Layer" in kind else definition.ForProfileSet, length, {**around, "usage": _stated(definition)})
        return
    named = attribute(definition, "LayerSetName") or attribute(definition, "Name") if kind.endswith("Set") else None
    for position, row, item, material in _entries(definition, kind, length):
        parts = {**around, "set": _stated(definition) if kind.endswith("Set") else {}, "entry": _stated(item) if item is not material else {}, "material": _stated(material)}
        detail = {name: what for name, what in parts.items() if what}
        yield (row[0], row[1], position, *row[2:], named, orjson.dumps(detail, default=str).decode() if detail else None)


Entry = tuple[str, str, float | None, float | None, str, str | None, str | None]


def _entries(definition: Any, kind: str, length: float) -> Iterator[tuple[int, Entry, Any, Any]]:
    """(position, (material, kind, thickness, fraction, name, colour, section), entry, its material)."""
    if kind == "IfcMaterial":
        yield 1, (definition.Name or "", "material", None, None, attribute(definition, "Category") or "", color_of(definition), None), definition, definition
    elif kind == "IfcMaterialList":
        for position, item in enumerate(definition.Materials or (), 1):
            yield position, (item.Name or "", "list", None, None, attribute(item, "Category") or "", color_of(item), None), item, item
    elif kind == "IfcMaterialLayerSet":
        for position, layer in enumerate(definition.MaterialLayers or (), 1):
            yield position, _layer(layer, length), layer, layer.Material
    elif kind.startswith("IfcMaterialLayer"):
        yield 1, _layer(definition, length), definition, definition.Material
    elif kind == "IfcMaterialConstituentSet":
        for position, item in enumerate(definition.MaterialConstituents or (), 1):
            yield position, (item.Material.Name or "", "constituent", None, item.Fraction, item.Name or item.Category or "", color_of(item.Material), None), item, item.Material
    elif kind == "IfcMaterialConstituent":
        yield 1, (definition.Material.Name or "", "constituent", None, definition.Fraction, definition.Name or "", color_of(definition.Material), None), definition, definition.Material
    elif kind == "IfcMaterialProfileSet":
        for position, item in enumerate(definition.MaterialProfiles or (), 1):
            yield position, _of_profile(item), item, item.Material
    elif kind.startswith("IfcMaterialProfile"):
        yield 1, _of_profile(definition), definition, definition.Material


def _stated(thing: Any) -> dict[str, Any]:
    """What has no column of its own: descriptions, categories, priorities, offsets (in the file's unit), the side that layers go to."""
    if thing is None:
        return {}
    given = {thing.attribute_name(i): thing.get_argument(i) for i in range(len(thing))}
    left = {name: value for name, value in given.items() if name not in _COLUMNS and value not in (None, (), "")}
    return {name: stated(value, 0, 2) for name, value in left.items() if name == "ForProfileEndSet" or not _is_entity(value)}


def _is_entity(value: Any) -> bool:
    return bool(hasattr(value[0] if isinstance(value, tuple) else value, "id"))


def _layer(layer: Any, length: float) -> Entry:
    name = layer.Material.Name if layer.Material is not None else ""
    thickness = None if layer.LayerThickness is None else float(layer.LayerThickness) * length
    return (name or "", "layer", thickness, None, attribute(layer, "Name") or attribute(layer, "Category") or "", color_of(layer.Material), None)


def color_of(material: Any) -> str | None:
    """#rrggbb of the surface style that a material is shown with, None where it has none."""
    style = look_of(material) if material is not None else None
    return "#" + "".join(f"{round(v * 255):02x}" for v in style[1][:3]) if style is not None else None


def _of_profile(item: Any) -> Entry:
    return (item.Material.Name if item.Material else "", "profile", None, None, _profile(item), color_of(item.Material), _section(item))


def _profile(item: Any) -> str:
    return str(item.Name or _section(item) or "")


def _section(item: Any) -> str | None:
    return None if item.Profile is None or item.Profile.ProfileName is None else str(item.Profile.ProfileName)


class Associations:
    """Materials and classifications of every object, the type's where an element has none of its own."""

    def __init__(self, model: Any, structure: Structure, length: float, report: Report) -> None:
        self.structure, self.length = structure, length
        self.materials: dict[int, list[MaterialRow]] = defaultdict(list)
        self.classes: dict[int, list[tuple[str | None, ...]]] = defaultdict(list)
        self.documents: dict[int, list[tuple[str | None, ...]]] = defaultdict(list)
        self.others: dict[int, list[tuple[str, str, str]]] = defaultdict(list)
        for relation in model.by_type("IfcRelAssociates"):
            try:
                if relation.is_a("IfcRelAssociatesMaterial"):
                    rows = list(material_rows(relation.RelatingMaterial, length, _relationship(relation)))
                    for item in relation.RelatedObjects or ():
                        self.materials[item.id()] += rows
                elif relation.is_a("IfcRelAssociatesClassification"):
                    row = *_classification(relation.RelatingClassification), _detail(relation, relation.RelatingClassification)
                    for item in relation.RelatedObjects or ():
                        self.classes[item.id()].append(row)
                elif relation.is_a("IfcRelAssociatesDocument"):
                    document = *_document(relation.RelatingDocument), _detail(relation, relation.RelatingDocument)
                    for item in relation.RelatedObjects or ():
                        self.documents[item.id()].append(document)
                else:
                    self._other(relation)
            except DAMAGED as error:
                report.note("skipped", "", f"#{relation.id()} {relation.is_a()} is damaged: {str(error)[:120]}.")
        for kind, what in UNREAD.items():
            with suppress(RuntimeError):  # its schema has no such class
                if count := len(model.by_type(kind)):
                    report.note("skipped", "", f"{count} {kind}: {what} are not kept.")

    def _other(self, relation: Any) -> None:
        """An approval, a constraint, a library, a value, a profile: what is stated of it, but for shapes."""
        names = [relation.attribute_name(i) for i in range(len(relation))]
        target = next((relation.get_argument(i) for i, name in enumerate(names) if name.startswith("Relating")), None)
        beside = {name: relation.get_argument(i) for i, name in enumerate(names) if name == "Intent" and relation.get_argument(i)}
        detail = {**beside, **(stated(target, 0, 2) if target is not None else {}), **_relationship(relation)}
        row = relation.is_a(), str(attribute(target, "Name") or attribute(target, "ProfileName") or relation.Name or ""), orjson.dumps(detail, default=str).decode()
        for item in relation.RelatedObjects or ():
            self.others[item.id()].append(row)

    def materials_of(self, step: int) -> tuple[list[MaterialRow], str]:
        """(rows, "occurrence" or "type")."""
        if step in self.materials:
            return self.materials[step], "occurrence"
        kind = self.structure.types.get(step)
        return (self.materials.get(kind.id(), []), "type") if kind is not None else ([], "occurrence")

    def tables(self) -> Iterator[Table]:
        """`materials`, `classifications`, `documents` and, if there are any, `associations` (of other kinds), one row for each element (and type) and entry."""
        ids = self.structure.ids
        rows: list[tuple[Any, ...]] = []
        for step in ids:
            found, source = self.materials_of(step)
            rows += [(ids[step], *row, source) for row in found]
        names = [("id", pa.string()), ("material", pa.string()), ("kind", pa.string()), ("position", pa.int32()),
                 ("thickness", pa.field("thickness", pa.float64(), metadata={b"unit": b"m"})), ("fraction", pa.float64()),
                 ("name", pa.string()), ("color", pa.string()), ("section", pa.string()), ("set", pa.string()), ("detail", pa.string()),
                 ("source", pa.string())]  # fmt: skip
        yield Table("materials", _rows_table(rows, names))
        names = [(n, pa.string()) for n in ("id", "system", "edition", "code", "name", "location", "path", "detail", "source")]
        yield Table("classifications", _rows_table(self._inherited(self.classes), names))
        names = [(n, pa.string()) for n in ("id", "identification", "name", "description", "location", "detail", "source")]
        yield Table("documents", _rows_table(self._inherited(self.documents), names))
        if self.others:
            yield Table("associations", _rows_table(self._inherited(self.others), [(n, pa.string()) for n in ("id", "ifc", "name", "detail", "source")]))

    def _inherited(self, by_step: dict[int, list[Any]]) -> list[tuple[Any, ...]]:
        """Rows (id, …, source): each object's own, then its type's."""
        rows: list[tuple[Any, ...]] = []
        for step, text in self.structure.ids.items():
            kind = self.structure.types.get(step)
            rows += [(text, *row, "occurrence") for row in by_step.get(step, ())]
            rows += [(text, *row, "type") for row in by_step.get(kind.id(), ())] if kind is not None else []
        return rows


#: What `classifications` and `documents` have columns for.
_KNOWN = frozenset(("Name", "Edition", "Identification", "ItemReference", "DocumentId", "Location"))


def _relationship(relation: Any) -> dict[str, Any]:
    """{"relationship": …}: what an association is called and described by, {} where it is not."""
    told = {name: value for name in ("Name", "Description") if (value := attribute(relation, name))}
    return {"relationship": told} if told else {}


def _detail(relation: Any, target: Any) -> str | None:
    """What the columns of a classification or a document do not say, as JSON: dates, sources, owners, what is above a reference."""
    given = stated(target, 0, 4)
    detail = {**{name: value for name, value in given.items() if name not in _KNOWN}, **_relationship(relation)}
    return orjson.dumps(detail, default=str).decode() if detail else None


def _document(document: Any) -> tuple[str, str, str, str]:
    """(identification, name, description, location) of a document or of a reference to one, which may leave them to what it refers to."""
    found: dict[str, str] = {}
    for source in (document, attribute(document, "ReferencedDocument")):
        if source is not None:
            for name in ("Identification", "DocumentId", "ItemReference", "Name", "Description", "Location"):
                value = attribute(source, name)
                if value:
                    found.setdefault("Identification" if name in ("DocumentId", "ItemReference") else name, str(value))
    return found.get("Identification", ""), found.get("Name", ""), found.get("Description", ""), found.get("Location", "")


def _classification(reference: Any) -> tuple[str, str, str, str, str, str]:
    """(system, edition, code, name, location, path) of a classification or a reference into one; `path`: the codes from the top down, " > " between them."""
    system, edition = "", ""
    at, codes = reference, list[str]()
    while at is not None and at.is_a("IfcClassificationReference") and len(codes) < 32:
        codes.append(_code(at) or at.Name or "")
        at = at.ReferencedSource
    if at is not None and at.is_a("IfcClassification"):
        system, edition = at.Name or "", at.Edition or ""
    if not reference.is_a("IfcClassificationReference"):
        return system, edition, "", "", str(attribute(reference, "Specification") or attribute(reference, "Location") or ""), ""
    return system, edition, _code(reference), reference.Name or "", reference.Location or "", " > ".join(filter(None, reversed(codes)))


def _code(reference: Any) -> str:
    return str(attribute(reference, "Identification") or attribute(reference, "ItemReference") or "")


def _rows_table(rows: list[tuple[Any, ...]], columns: list[tuple[str, Any]]) -> pa.Table:
    fields = [kind if isinstance(kind, pa.Field) else pa.field(name, kind) for name, kind in columns]
    arrays = [column([row[i] for row in rows], f.type) for i, f in enumerate(fields)]
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields))


def layers(model: Any) -> dict[int, list[str]]:
    """Presentation layer names by the step id of the representation (or item) that they hold."""
    found: dict[int, list[str]] = defaultdict(list)
    for layer in model.by_type("IfcPresentationLayerAssignment"):
        for item in layer.AssignedItems or ():
            found[item.id()].append(layer.Name or "")
    return dict(found)


def looks_of_layers(model: Any, elements: Iterable[Any], products: Products) -> dict[int, Style]:
    """The look of the presentation layer that each of some elements lies in, by step id, where its layers have one (IfcPresentationLayerWithStyle).

    It is for what has no style of its own. Nothing is said of elements in layers of several looks: which of their items has which is not followed.
    """
    by_item: dict[int, list[str]] = defaultdict(list)
    looks: dict[str, Style] = {}
    for layer in model.by_type("IfcPresentationLayerWithStyle"):
        with suppress(*DAMAGED):  # a damaged layer is told where layers are kept
            style = next((found for style in layer.LayerStyles or () if (found := look(style)) is not None), None)
            if style is not None:
                looks[str(layer.id())] = style
                for item in layer.AssignedItems or ():
                    by_item[item.id()].append(str(layer.id()))
    if not looks:
        return {}
    several = {element.id(): {looks[name] for name in layers_of(element, products, by_item)} for element in elements}
    return {step: next(iter(styles)) for step, styles in several.items() if len(styles) == 1}


def layers_of(product: Any, products: Products, by_item: dict[int, list[str]]) -> list[str]:
    """The presentation layers of a product's representations and of their items."""
    written = products.written(product.id())
    if written is not None:
        found: dict[str, None] = {}
        for part in written:
            for item in (part.name, *part.items):
                if item in by_item:
                    found.update(dict.fromkeys(by_item[item]))
                if item != part.name and products.kind(item) == "IfcMappedItem":
                    found.update(dict.fromkeys(by_item.get(products.mapped(item), ())))
        return list(found)
    representation = attribute(product, "Representation")
    names: dict[str, None] = {}
    if representation is None or not by_item:
        return []
    for part in representation.get_argument(2) or ():  # by position, which is three times faster than by name
        for item in [part, *(part.get_argument(3) or ())]:
            names.update(dict.fromkeys(by_item.get(item.id(), ())))
            if item.is_a() == "IfcMappedItem":
                source = item.get_argument(0).get_argument(1)
                names.update(dict.fromkeys(by_item.get(source.id(), ())))
    return list(names)
