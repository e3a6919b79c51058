"""The CIM grade of a layer, by rule from what its geometry and attributes are.

CJJ/T 315-2022 orders models of a city in seven grades: CIM1 地表模型 (ground surface: terrain, imagery, administrative and
plan features), CIM2 框架模型 (frames: footprints and blocks without roofs), CIM3 标准模型 (standard: outer shells with roofs
or with their appearance), CIM4 精细模型 (fine: facades with openings and details), CIM5 功能级模型 (functional zones: storeys,
rooms), CIM6 构件级模型 (components: walls, pipes), CIM7 零件级模型 (parts, with all that is known of them). The standard
describes the grades in words and by the scale of the source; the thresholds below are ours, and each grade comes with its
reasons, so that a person can judge and overrule it (`twin grade`, the API, the viewer).

A reader says what it found in `report.facts["content"]`, counts of drawn objects (all optional, each 0 if not given):

    grades      {"CIM3": 120, …}: objects by their own grade, where the reader graded each (`of_object`); decides alone
    objects     drawn objects              footprints  flat outlines         blocks    shells without roofs
    roofs       objects with roofs         textured    … with textures       openings  … with doors and windows
    spaces      rooms, storeys, zones      components  walls, pipes, …       described components with property sets
    complete    components with type, material and property sets             parts     fasteners, rebar, parts of elements
    terrain     pieces of ground surface (of an IFC model among the objects, too)
    (of tilesets that were taken over, contents instead: textured, models, points)

Without `content`, IFC classes in `facts["classes"]` are counted instead.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from twin.errors import BadOption, Conflict

GRADES = ("CIM1", "CIM2", "CIM3", "CIM4", "CIM5", "CIM6", "CIM7")
NAMES = dict(zip(GRADES, ("地表模型", "框架模型", "标准模型", "精细模型", "功能级模型", "构件级模型", "零件级模型"), strict=True))
#: Kinds of layers that have the grade of what they are.
BY_KIND = {
    "terrain": ("CIM1", "a terrain is ground surface"),
    "raster": ("CIM1", "a raster lies on the ground surface"),
    "vector": ("CIM1", "plan features without volume"),
    "points": ("CIM1", "points are a surface as measured, without objects"),
    "blocks": ("CIM2", "footprints raised to blocks, without roofs"),
}
#: IFC classes that are places, not things that are built.
PLACES = ("IfcSpace", "IfcSpatialZone", "IfcBuildingStorey", "IfcZone", "IfcExternalSpatialElement")
PARTS = re.compile(r"Ifc(Element(Component|Part)|BuildingElementPart|\w*Fastener|Reinforcing\w+|Tendon\w*|DiscreteAccessory|VibrationIsolator|VibrationDamper|Sign)$")
OUTSIDE = re.compile(r"Ifc(Site|Building|Project|Grid|Annotation|OpeningElement|VoidingFeature|Geographic\w+|Facility\w*|Bridge\w*|Road\w*|Railway\w*|MarineFacility)$")


@dataclass(frozen=True, slots=True)
class Grade:
    """A grade ("" where there is nothing to judge by) and why."""

    value: str
    reasons: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {"value": self.value, "name": NAMES.get(self.value, ""), "reasons": list(self.reasons)}


def check(text: str) -> str:
    """A grade as given by a person: CIM1 to CIM7, or "" for none.

    Raises:
        BadOption: anything else.
    """
    value = text.strip().upper()
    if value and value not in GRADES:
        raise BadOption(f"grade cannot be {text!r}.", f"It is one of {', '.join(GRADES)}.")
    return value


def of_version(report: Mapping[str, Any], otherwise: str) -> str:
    """The grade of a version by its report: what a person gave, else the rule's; `otherwise` the layer's, of versions that no reader made (results of scenarios).

    The layer's row has that of its newest version, which need not be the one that it shows.
    """
    graded: Mapping[str, Any] | None = (report.get("facts") or {}).get("grade")
    return otherwise if graded is None else str(graded.get("given") or graded["value"])


def recorded(layer: str, report: Mapping[str, Any]) -> dict[str, Any]:
    """What a version's report says of its grade: the rule's, and (`given`, `by`) a person's.

    Raises:
        Conflict: it is the result of a scenario, which is not graded.
    """
    graded: dict[str, Any] | None = (report.get("facts") or {}).get("grade")
    if graded is None:
        raise Conflict(f"Layer {layer!r} is the result of a scenario, which has no grade.", "Layers that are ingested have one.")
    return graded


def grade(kind: str, facts: Mapping[str, Any]) -> Grade:
    """The grade of a layer from its kind and its reader's facts (see the module)."""
    if kind in BY_KIND:
        value, reason = BY_KIND[kind]
        return Grade(value, (reason,))
    if kind == "tileset":
        return _of_tileset(facts.get("content") or {})
    if kind != "mesh":
        return Grade("", (f"a {kind} has no geometry to grade",))
    content = {**_of_classes(facts.get("classes") or {}), **(facts.get("content") or {})}
    if grades := content.get("grades"):
        return _of_grades(grades)
    return _of_counts({key: int(value) for key, value in content.items() if isinstance(value, int | float)})


def of_object(lod: str, *, terrain: bool = False, openings: bool = False, spaces: bool = False, roofs: bool = False, textured: bool = False) -> str:
    """The grade of one object of a city model: by its level of detail, raised by what it has beyond that.

    `lod` as CityGML and CityJSON write it ("2", "1.3"; "" where not stated). `terrain`: ground surface, or an area of a plan on it (land use, zones).
    """
    if terrain:
        return "CIM1"
    match = re.match(r"\d+(\.\d+)?", lod)
    level = math.floor(float(match[0])) if match else 1
    by_lod = 2 if level <= 1 else 1 + level  # LoD0-1 CIM2, LoD2 CIM3, LoD3 CIM4, LoD4 CIM5
    number = max(min(by_lod, 5), 5 if spaces else 4 if openings else 3 if roofs or textured else 2)
    return f"CIM{number}"


def _of_tileset(contents: Mapping[str, int]) -> Grade:
    """Of a tileset that was taken over: by what its contents look like, since it does not say what they are."""
    total, textured = sum(contents.values()), contents.get("textured", 0)
    beyond = "a tileset that was taken over says no more of itself: give a higher grade with --grade"
    if textured:
        return Grade("CIM3", (f"{textured} of {total} contents have textures: shells with their appearance", beyond))
    if contents.get("models"):
        return Grade("CIM2", (f"{contents['models']} of {total} contents are models, without textures", beyond))
    return Grade("CIM1", ("points are a surface as measured, without objects",)) if total else Grade("", ("nothing is drawn",))


def _of_grades(grades: Mapping[str, int]) -> Grade:
    """The grade that most objects have (of equals the higher); terrain counts only where there is nothing else."""
    built = {key: count for key, count in grades.items() if key in GRADES[1:] and count} or {key: count for key, count in grades.items() if count}
    if not built:
        return Grade("", ("nothing is drawn",))
    value = max(built, key=lambda key: (built[key], key))
    spread = ", ".join(f"{count} of {key}" for key, count in sorted(grades.items()) if count)
    return Grade(value, (f"most objects have it ({spread})",))


def _of_counts(found: Mapping[str, int]) -> Grade:
    """The highest grade of which a model has enough, looking from the finest down."""
    components, parts = found.get("components", 0), found.get("parts", 0)
    described, complete = found.get("described", 0), found.get("complete", 0)
    if components:
        what = f"{components} components, {described} with property sets, {complete} with type, material and property sets, {parts} parts"
        if parts and 2 * complete >= components:
            return Grade("CIM7", (what, "there are parts, and at least half of the components are described in full"))
        return Grade("CIM6", (what, "its objects are components" + ("" if parts else "; no parts")))
    for key, value, reason in (("spaces", "CIM5", "storeys, rooms or zones"), ("openings", "CIM4", "doors and windows"),
                               ("roofs", "CIM3", "shells with roofs"), ("textured", "CIM3", "shells with their appearance")):  # fmt: skip
        if found.get(key):
            return Grade(value, (f"{found[key]} objects have {reason}",))
    terrain = found.get("terrain", 0)
    if found.get("objects", 0) > terrain or found.get("blocks") or found.get("footprints"):
        return Grade("CIM2", ("shells without roofs, openings or appearance",))
    return Grade("CIM1", ("ground surface alone",)) if terrain else Grade("", ("nothing is drawn",))


def _of_classes(classes: Mapping[str, int]) -> dict[str, int]:
    """Components, parts and spaces among IFC classes; nothing of other models."""
    ours = {name: int(count) for name, count in classes.items() if name.startswith("Ifc")}
    if not ours:
        return {}
    spaces = sum(count for name, count in ours.items() if name in PLACES)
    parts = sum(count for name, count in ours.items() if PARTS.match(name))
    components = sum(count for name, count in ours.items() if name not in PLACES and not OUTSIDE.match(name))
    return {"spaces": spaces, "parts": parts, "components": components, "objects": sum(ours.values())}
