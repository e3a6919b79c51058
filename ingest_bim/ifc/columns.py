"""One row of attributes for each element: what a click, a filter and a label need, as Arrow columns."""

from __future__ import annotations

from collections.abc import Collection
from itertools import chain
from typing import Any

import pyarrow as pa

from ingest_bim.ifc.content import below_ground
from ingest_bim.ifc.geometry import Shapes
from ingest_bim.ifc.materials import Associations, layers, layers_of
from ingest_bim.ifc.products import Products
from ingest_bim.ifc.properties import Definitions
from ingest_bim.ifc.step_access import attribute, indexes, is_kind, supertypes
from ingest_bim.ifc.structure import Structure
from ingest_bim.ifc.values import Given, as_json, column

#: Spatial level → the column that names it.
LEVELS = {"IfcSite": "site", "IfcBuilding": "building", "IfcFacility": "building", "IfcBuildingStorey": "storey",
          "IfcFacilityPart": "storey", "IfcSpace": "space"}  # fmt: skip
#: Common properties with a column of their own: (property, column, Arrow type, unit, Chinese title).
COMMON = (
    ("IsExternal", "is_external", pa.bool_(), "", "外部构件"), ("LoadBearing", "load_bearing", pa.bool_(), "", "承重"),
    ("FireRating", "fire_rating", pa.string(), "", "耐火等级"), ("ThermalTransmittance", "thermal_transmittance", pa.float64(), "W/(m²·K)", "传热系数"),
    ("Reference", "reference", pa.string(), "", "参考号"), ("Status", "status", pa.string(), "", "状态"),
)  # fmt: skip
_COMMON = {prop: (column, str(kind)) for prop, column, kind, *_ in COMMON}
QUANTITIES = (
    (("Length",), "length", "m", "长度"), (("Width",), "width", "m", "宽度"), (("Height",), "height", "m", "高度"),
    (("NetFloorArea", "GrossFloorArea"), "floor_area", "m²", "建筑面积"), (("NetSideArea", "NetArea", "GrossSideArea", "GrossArea"), "area", "m²", "面积"),
    (("NetVolume", "GrossVolume"), "volume", "m³", "体积"),
)  # fmt: skip
SCALARS = ("Name", "Description", "Tag", "ObjectType", "LongName", "PredefinedType")
TITLES = {
    "class": ("类别", "Class"), "name": ("名称", "Name"), "description": ("描述", "Description"), "tag": ("标记", "Tag"),
    "object_type": ("对象类型", "Object type"), "predefined_type": ("预定义类型", "Predefined type"), "long_name": ("全称", "Long name"),
    "storey": ("楼层", "Storey"), "storey_elevation": ("楼层标高", "Storey elevation"), "building": ("建筑", "Building"),
    "site": ("场地", "Site"), "space": ("空间", "Space"), "type_name": ("类型", "Type"), "materials": ("材料", "Materials"),
    "system": ("系统", "System"), "zone": ("分区", "Zone"), "layer": ("图层", "Layer"), "has_geometry": ("有几何", "Has geometry"), "not_drawn": ("未显示原因", "Why it is not drawn"),
    "below_ground": ("地下", "Below ground"),
    "psets": ("属性集", "Property sets"), "quantities": ("工程量", "Quantities"),
}  # fmt: skip


#: Columns that only the shapes can tell.
SHAPED = {"has_geometry": pa.bool_(), "not_drawn": pa.string(), "below_ground": pa.bool_()}


def attribute_table(model: Any, structure: Structure, products: Products, definitions: Definitions, associations: Associations) -> pa.Table:
    """Arrow table with a row for each of `structure.elements`, but for the columns that only the shapes can tell."""
    elements = structure.elements
    steps, kinds = [element.id() for element in elements], [element.is_a() for element in elements]
    # a class at a time what it decides: its attributes' positions, whether it is a group
    qualified = {kind: element.is_a(True) for element, kind in zip(elements, kinds, strict=True)}
    positions = {kind: indexes(name, SCALARS) for kind, name in qualified.items()}
    values = [[None if at is None else element.get_argument(at) for at in positions[kind]] for element, kind in zip(elements, kinds, strict=True)]
    name, description, tag, object_type, long_name, predefined = zip(*values, strict=True)
    types = [structure.types.get(step) for step in steps]
    typed: dict[int, tuple[str | None, str | None]] = {0: (None, None)}
    for one in types:
        if one is not None and one.id() not in typed:
            typed[one.id()] = one.Name, attribute(one, "PredefinedType")
    ours = [typed[one.id() if one is not None else 0] for one in types]
    spatial, by_item = _levels(structure), layers(model)
    known: dict[int | None, dict[str, Any]] = {None: {"storey_elevation": None}}
    places = [_place(step, structure, spatial, known) for step in steps]
    groups = {step: element for step, element, kind in zip(steps, elements, kinds, strict=True) if "IfcGroup" in supertypes(qualified[kind])}
    belongs = [[groups[g] for g in structure.groups[step] if g in groups] if step in structure.groups else [] for step in steps]
    psets, quantities = [definitions.psets.get(step) for step in steps], [definitions.quantities.get(step) for step in steps]
    columns: dict[str, Any] = {
        "class": kinds, "name": name, "description": description, "tag": tag, "object_type": object_type, "long_name": long_name,
        "predefined_type": [other or own if own in (None, "NOTDEFINED") else own for own, (_, other) in zip(predefined, ours, strict=True)],
        "storey_elevation": [None if place["storey_elevation"] is None else float(place["storey_elevation"]) * associations.length for place in places],
        **{level: [place.get(level) for place in places] for level in ("site", "building", "storey", "space")},
        "type_name": [label for label, _ in ours], "materials": [_joined([row[0] for row in associations.materials_of(step)[0]]) for step in steps],
        "system": [_joined([g.Name for g in own if g.is_a("IfcSystem")]) if own else None for own in belongs],
        "zone": [_joined([g.Name for g in own if g.is_a("IfcZone")]) if own else None for own in belongs],
        "layer": [_joined(layers_of(element, products, by_item)) for element in elements] if by_item else [None] * len(steps),
        "psets": list(map(as_json, psets)), "quantities": list(map(as_json, quantities)),
    }  # fmt: skip
    common, sizes = list(map(_common, psets)), list(map(_sizes, quantities))
    columns |= {label: [row.get(label) for row in common] for _, label, *_ in COMMON}
    columns |= {label: [row.get(label) for row in sizes] for _, label, *_ in QUANTITIES}
    schema = pa.schema([field for field in _schema() if field.name not in SHAPED])
    return pa.table([column(columns[name], kind) for name, kind in zip(schema.names, schema.types, strict=True)], schema=schema)


def completed(attributes: pa.Table, structure: Structure, shapes: Shapes, level: float) -> pa.Table:
    """The table with its other columns: which elements have triangles, why others have none, and which lie below the ground, at the model height `level` (metres)."""
    sunk, schema = below_ground(shapes, level), _schema()
    steps = [element.id() for element in structure.elements]
    shaped: dict[str, list[Any]] = {
        "has_geometry": [step in shapes.shapes for step in steps], "not_drawn": [shapes.skipped[step][1] if step in shapes.skipped else None for step in steps],
        "below_ground": [sunk.get(step) for step in steps],
    }  # fmt: skip
    for name, kind in SHAPED.items():
        attributes = attributes.add_column(schema.get_field_index(name), schema.field(name), pa.array(shaped[name], kind))
    return attributes


def _schema() -> pa.Schema:
    kinds = {"storey_elevation": pa.float64(), **SHAPED}
    fields = [_field(n, kinds.get(n, pa.string()), "m" if n == "storey_elevation" else "", zh, en) for n, (zh, en) in TITLES.items()]
    fields += [_field(column, kind, unit, zh, prop) for prop, column, kind, unit, zh in COMMON]
    fields += [_field(column, pa.float64(), unit, zh, column.replace("_", " ").capitalize()) for _, column, unit, zh in QUANTITIES]
    return pa.schema(fields)


def _field(name: str, kind: pa.DataType, unit: str, zh: str, en: str) -> pa.Field:
    return pa.field(name, kind, metadata={b"unit": unit.encode(), b"title_zh": zh.encode(), b"title_en": en.encode()})


def _joined(names: Collection[str | None]) -> str | None:
    return "; ".join(dict.fromkeys(n for n in map(str, filter(None, names)))) or None if names else None


def _levels(structure: Structure) -> dict[int, tuple[str, str | None, float | None]]:
    """Spatial elements: step id → (column, name, elevation in project units)."""
    levels: dict[int, tuple[str, str | None, float | None]] = {}
    by_class: dict[str, str | None] = {}
    for element in structure.elements:
        kind = element.is_a()
        if kind not in by_class:
            by_class[kind] = next((level for name, level in LEVELS.items() if is_kind(element, name)), None)
        if (level := by_class[kind]) is not None:
            levels[element.id()] = (level, element.Name or attribute(element, "LongName"), attribute(element, "Elevation"))
    return levels


def _place(
    step: int, structure: Structure, levels: dict[int, tuple[str, str | None, float | None]], known: dict[int | None, dict[str, Any]]
) -> dict[str, Any]:
    """The nearest site, building, storey and space at or above an element; `known`: those at or above each that holds something, {"storey_elevation": None} of nothing."""
    whole = structure.parent.get(step)
    above: list[int] = []
    at = whole
    while at is not None and at not in known:
        above.append(at)
        at = structure.parent.get(at)
    for each in reversed(above):
        known[each] = _within(levels.get(each), known[structure.parent.get(each)])
    return _within(levels.get(step), known[whole])


def _within(level: tuple[str, str | None, float | None] | None, above: dict[str, Any]) -> dict[str, Any]:
    if level is None:
        return above
    column, name, elevation = level
    return {**above, column: name, **({"storey_elevation": elevation} if column == "storey" else {})}


def _common(properties: Given | None) -> dict[str, Any]:
    """Values of the Pset_…Common properties that have a column."""
    found: dict[str, Any] = {}
    for value in chain.from_iterable(one.values for one, _ in properties or () if one.name.endswith("Common") and one.name.startswith("Pset_")):
        if value.name in _COMMON:
            column, kind = _COMMON[value.name]
            if kind == "bool":
                if isinstance(value.plain, bool):
                    found.setdefault(column, value.plain)
            elif kind == "double":
                found.setdefault(column, value.number)
            else:
                found.setdefault(column, value.text)
    return found


def _sizes(quantities: Given | None) -> dict[str, float]:
    """The standard base quantities that have a column, net before gross."""
    found: dict[str, float] = {}
    if not quantities:
        return found
    by_name = {value.name: value.number for one, _ in quantities for value in one.values if value.number is not None}
    for names, size, *_ in QUANTITIES:
        for name in names:
            if name in by_name:
                found[size] = by_name[name]
                break
    return found
