"""CityGML 3.0 (OGC 20-010, 21-006r2) in the forms of 2.0: one member's tree, changed in place before it is read.

Objects and properties alternate in 3.0 as they do in 2.0, so most of it is read by the same rule: `core:boundary` like
`bldg:boundedBy`, `core:lod2Solid` like `bldg:lod2Solid`. Here is what says the same thing in other words. What is new
(spaces, dynamizers, relations, qualified areas) keeps its names.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from xml.etree.ElementTree import Element

from ingest_bim.citymodels.citygml_names import CITYGML, GML, GML32_ID, GML_ID, SURFACE_DATA, XLINK, local, namespace, version_of

CORE, BUILDING = f"{{{CITYGML}/2.0}}", f"{{{CITYGML}/building/2.0}}"
CURVE = re.compile(r"lod\dTerrainIntersectionCurve$")
RENAMED = {"WindowSurface": f"{BUILDING}Window", "DoorSurface": f"{BUILDING}Door", "relativeGeometry": f"{CORE}relativeGMLGeometry", "surfaceData": f"{CORE}{SURFACE_DATA}"}
"""The openings of a wall are surfaces in 2.0, too, by a shorter name."""
RECORDS = re.compile(r"CityObjectRelation$|PointCloud$|\w+Timeseries$")
"""What has an id of its own and is no city object all the same: attributes of the object that holds it."""


class Mixed(Exception):
    """An element of another version; the text is its namespace."""


def as_two(parent: Element) -> None:
    """Bring what is below an element of CityGML 3.0 into the forms of 2.0.

    Raises:
        Mixed: an element of CityGML 1.0 or 2.0 in it.
    """
    children, changed = list[Element](), False
    for child in parent:
        action = _action(child.tag)
        if action is not None or namespace(child.tag) not in GML:  # geometry is the same in both
            as_two(child)
        made = [child] if action is None else action(parent, child)
        changed = changed or made != [child]
        children += made
    if changed:
        parent[:] = children


@lru_cache(maxsize=4096)
def _action(tag: str) -> Callable[[Element, Element], list[Element]] | None:
    """What makes, of an element of this name and its parent, those that stand for it; None where it stands as it is."""
    space, name = namespace(tag), local(tag)
    if not space.startswith(CITYGML):
        return None
    if version_of(space) not in ("3.0", ""):
        raise Mixed(space)
    if name in RENAMED or CURVE.match(name):
        return _renamed
    if RECORDS.match(name):
        return _record
    return _adopted if name.startswith("adeOf") else ACTIONS.get(name)


def _renamed(parent: Element, child: Element) -> list[Element]:  # noqa: ARG001  what all actions are given
    child.tag = RENAMED.get(local(child.tag)) or child.tag.removesuffix("Curve")
    return [child]


def _record(parent: Element, child: Element) -> list[Element]:  # noqa: ARG001
    for key in (GML_ID, GML32_ID):
        child.attrib.pop(key, None)
    return [child]


def _adopted(parent: Element, child: Element) -> list[Element]:  # noqa: ARG001
    """Properties of an extension: `bldg:adeOfBuilding > x:BuildingProperties > x:owner` → `x:owner`.

    Where the hook holds a data object instead (PLATEAU's i-UR 4), the property is called after its class, as i-UR 3 has it: `uro:buildingIDAttribute`.
    """
    found = list[Element]()
    for thing in child:
        if local(thing.tag).endswith("Properties"):
            found.extend(thing)
        else:
            prop = Element(f"{{{namespace(thing.tag)}}}{_small(local(thing.tag))}")
            prop.append(thing)
            found.append(prop)
    return found


def _small(name: str) -> str:
    return name[:1].lower() + name[1:]


def _generic(parent: Element, child: Element) -> list[Element]:  # noqa: ARG001
    """`gen:StringAttribute` with a name and a value below → `gen:stringAttribute name="…"`; sets with what is in them."""
    found = list[Element]()
    for thing in child:
        name = next((part.text or "" for part in thing if local(part.tag) == "name"), "").strip()
        prop = Element(f"{CORE}{_small(local(thing.tag))}", {"name": name})
        prop.extend(part for part in thing if local(part.tag) not in ("name", "codeSpace"))
        found.append(prop)
    return found or [child]


def _height(parent: Element, child: Element) -> list[Element]:
    """The height that was measured is `measuredHeight`, too: the one that 2.0 has."""
    first = next(other for other in parent if other is child or (local(other.tag) == "height" and _measured(other) is not None))
    value = _measured(child)
    if value is None or first is not child:
        return [child]
    measured = Element(f"{BUILDING}measuredHeight", dict(value.attrib))
    measured.text = value.text
    return [measured, child]


def _measured(height: Element) -> Element | None:
    """The value of a `con:height` that was measured."""
    for thing in height:
        parts = {local(part.tag): part for part in thing}
        if "status" in parts and (parts["status"].text or "").strip() == "measured":
            return parts.get("value")
    return None


def _grouped(parent: Element, child: Element) -> list[Element]:  # noqa: ARG001
    """`grp:Role` between a group and its member → an attribute of the property."""
    for role in [thing for thing in child if local(thing.tag) == "Role"]:
        child.remove(role)
        for part in role:
            if local(part.tag) == "role":
                child.set("role", (part.text or "").strip())
            else:
                child.attrib.update(part.attrib)
                child.extend(part)
    return [child]


def _texture(parent: Element, child: Element) -> list[Element]:  # noqa: ARG001
    """`app:TextureAssociation` → `app:target` with its uri; coordinates and rings stand in two lists of one order."""
    found = list[Element]()
    for thing in child:
        if local(thing.tag) != "TextureAssociation":
            return [child]  # the property of the same name within it
        target = Element(f"{CORE}target")
        for part in thing:
            if local(part.tag) in ("target", "uri"):  # as drafts of the standard call it
                target.set("uri", (part.text or "").strip())
            elif local(part.tag) == "textureParameterization":
                target.attrib.update({key: value for key, value in part.attrib.items() if key == XLINK})
                for how in part:
                    lists = [node for node in how if local(node.tag) == "textureCoordinates"]
                    rings = [(node.text or "").strip() for node in how if local(node.tag) == "ring"]
                    for numbers, ring in zip(lists, rings, strict=False):  # a ring without coordinates is told of where its surface is drawn
                        numbers.set("ring", ring)
                    target.append(how)
        found.append(target)
    return found or [child]


ACTIONS = {"genericAttribute": _generic, "height": _height, "groupMember": _grouped, "textureParameterization": _texture}
