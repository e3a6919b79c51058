"""One member of a CityGML file → CityObjects: the object, its parts, installations and rooms, each with its surfaces.

GML alternates objects (names with a capital) and properties (small letter). So any module and any extension is read by
rule: a property is geometry (lod0… to lod4…, tin), another city object, a surface, an address, or an attribute.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from functools import lru_cache
from typing import Any
from xml.etree.ElementTree import Element

import numpy as np
from numpy.typing import NDArray

from ingest_bim.citymodels.citygml_codes import CodeLists
from ingest_bim.citymodels.citygml_geometry import LINES, Polygon, Store, coordinates, gml_id, polygons
from ingest_bim.citymodels.citygml_names import CITYGML, GML, XLINK, local, namespace
from ingest_bim.citymodels.citygml_stream import Head
from ingest_bim.citymodels.citygml_tin import Points, triangles
from ingest_bim.citymodels.mesh import text_of
from ingest_bim.citymodels.objects import CityObject, Face, Measure, Shape, Shell, Surface, choose_lod, lod_rank
from twin.model import Report

F64 = NDArray[np.float64]
LOD = re.compile(r"lod(\d)(?!HeightType|Type)[A-Z]?\w*$")
#: Parts of an object's hull: features of the surface level.
HULL = re.compile(
    r"(Roof|Wall|Ground|Closure|OuterFloor|OuterCeiling|Floor|InteriorWall|Ceiling|Water|WaterGround|WaterClosure)Surface$|(Auxiliary)?TrafficArea$|Door$|Window$|Marking$|HoleSurface$|GenericThematicSurface$"
)
FILLINGS = (f"{{{CITYGML}/construction/3.0}}Window", f"{{{CITYGML}/construction/3.0}}Door")
NUMBERS: dict[str, Callable[[str], Any]] = {
    "intAttribute": int, "doubleAttribute": float, "storeysAboveGround": int, "storeysBelowGround": int, "measuredHeight": float,
    "numberOfOccupants": int, "sortKey": float,
}  # fmt: skip
#: Properties of relief that hold geometry; its LoD stands beside them (OGC 12-019, 10.2).
RELIEF = ("tin", "reliefPoints", "ridgeOrValleyLines", "breaklines")
#: Lines where a building meets the ground, kept as an attribute; so are lines beside faces.
INTERSECTION = "TerrainIntersection"
#: What is said of what is drawn all the same.
ASSUMED = ("put at 0", "not along their edges")
SHAPES = ("Polygon", "MultiSurface", "Solid", "CompositeSurface", "TriangulatedSurface", "Tin", "ImplicitGeometry", "MultiGeometry")


class Member:
    """Reads one member; `place` turns (N, 3) file coordinates into reference coordinates (None while only columns are learned)."""

    def __init__(self, store: Store, head: Head, lod: str | None, report: Report, place: Callable[[F64], F64] | None, metres: Callable[[F64], F64],
                 codes: CodeLists) -> None:  # fmt: skip
        self.store, self.head, self.lod, self.report, self.place, self.metres, self.codes = store, head, lod, report, place, metres, codes
        self.found: list[CityObject] = []
        self.names: dict[str, str] = {}

    def read(self, element: Element, number: int) -> list[CityObject]:
        """All objects of the member, parents before children."""
        self.found = []
        if self.place is not None:
            self.store.begin(element)
        for child in element:
            self._object(child, None, f"member-{number}")
        if not self.found and (href := element.get(XLINK)) is not None and not href.startswith("#"):
            self.report.note("skipped", href[:100], "This member lies in another file, which is not opened: ingest both files together.")
        return self.found

    def _object(self, element: Element, parent: str | None, fallback: str) -> float:
        """Read an object and those below it; the rank of its LoD (-2 without)."""
        kind = self._name(element)
        name = gml_id(element)
        if not name:
            name = f"{fallback}-{local(element.tag)}"
            self.report.note("assumed", name, f"{kind} has no gml:id: it is named by its position in the file.")
        thing = CityObject(name, kind, parent)
        self.found.append(thing)
        geometry: list[tuple[str, Element, int, str]] = []
        below: list[Element] = []
        self._properties(element, thing, thing.attributes, geometry, below, -1)
        own = Counter(self.store.problems)  # what is wrong with this object is not told of the first one below it
        self.store.problems.clear()
        best = -2.0
        for i, child in enumerate(below):
            rank = self._object(child, name, f"{name}-{i}")
            if local(child.tag).endswith("Part"):
                best = max(best, rank)
        self.store.problems.update(own)
        rank = -2.0
        if self.place is None:  # the first pass, which finds the columns
            thing.attributes |= {name: "" for _, _, _, name in geometry if name.endswith((INTERSECTION, "MultiCurve", "Network", "0Point"))}
        else:
            rank = self._shapes(thing, geometry, best)
            for reason, count in self.store.problems.items():
                self.report.note("assumed" if any(words in reason for words in ASSUMED) else "skipped", name, f"{kind}: {reason}{f' ({count} times)' if count > 1 else ''}.")
        self.store.problems.clear()
        return max(rank, best)

    def _name(self, element: Element) -> str:
        """Local name; with its prefix where it is an extension's."""
        tag = element.tag
        name = self.names.get(tag)
        if name is None:
            space = namespace(tag)
            prefix = "" if space.startswith(CITYGML) or space in GML else self.head.prefixes.get(space, "")
            name = self.names[tag] = f"{prefix}:{local(tag)}" if prefix else local(tag)
        return name

    def _properties(self, element: Element, thing: CityObject, attributes: dict[str, Any], geometry: list[tuple[str, Element, int, str]],
                    below: list[Element], surface: int) -> None:  # fmt: skip
        for prop in element:
            name = local(prop.tag)
            if (lod := _lod_of(name)) and (len(prop) or prop.get(XLINK)):  # else a word of an extension that begins so
                geometry.append((lod, prop, surface, name))
            elif name in RELIEF:
                geometry.append((next(((child.text or "").strip() for child in element if local(child.tag) == "lod"), ""), prop, surface, name))
            elif (name in ("boundedBy", "location") and namespace(prop.tag) in GML) or name in ("appearance", "appearanceMember"):
                continue
            elif name == "address":
                referred = [{"href": prop.get(XLINK)}] if prop.get(XLINK) else []
                thing.address = (thing.address or []) + [_plain(child) for child in prop] + referred
            elif _is_generic(prop):
                _put(attributes, prop.get("name", ""), _generic(prop))
            elif not len(prop):
                self._simple(prop, attributes)
            elif _is_record(prop):
                _put(attributes, self._name(prop), self._record(prop))
            else:
                for child in prop:
                    self._inner(prop, child, thing, attributes, geometry, below, surface)

    def _inner(self, prop: Element, child: Element, thing: CityObject, attributes: dict[str, Any], geometry: list[tuple[str, Element, int, str]],
               below: list[Element], surface: int) -> None:  # fmt: skip
        """An object inside a property: part of the hull, another city object, or a record of attributes."""
        if _of_hull(child.tag):
            thing.surfaces.append(Surface(self._name(child), parent=surface if surface >= 0 else None))
            own = thing.surfaces[-1]
            if key := gml_id(child):
                own.attributes["gml_id"] = key
            self._properties(child, thing, own.attributes, geometry, below, len(thing.surfaces) - 1)
        elif namespace(child.tag) in GML and local(child.tag) in SHAPES:
            self.store.problems[f"geometry in the property {local(prop.tag)!r}, which has no LoD"] += 1
        elif namespace(child.tag) in GML and local(child.tag).endswith(("Coverage", "Grid")):
            self.store.problems[f"the grid in the property {local(prop.tag)!r} is not read; ingest it as a terrain"] += 1
        elif gml_id(child) or (namespace(child.tag).startswith(CITYGML) and any(local(e.tag) in SHAPES for e in child.iter())):
            below.append(child)
        else:
            _put(attributes, self._name(prop), self._record(child, local(prop.tag)))

    def _simple(self, prop: Element, attributes: dict[str, Any]) -> None:
        text = (prop.text or "").strip() or prop.get(XLINK, "")
        if local(prop.tag) == "pointFile":
            self.store.problems[f"a point cloud lies in the file {text[:60]!r}, which is not opened; ingest it as a layer of its own"] += 1
        if text:
            role = prop.get("role")  # of a member of a group
            _put(attributes, self._name(prop), _value(local(prop.tag), text, prop.get("uom")) if role is None else {"href": text, "role": role})
            if (space := prop.get("codeSpace")) and (label := self.codes.label(space, text)) is not None:
                _put(attributes, f"{self._name(prop)}.label", label)

    def _record(self, element: Element, prop_name: str = "") -> dict[str, Any]:
        """A data object of an extension (uro:BuildingIDAttribute, …) as nested values; geometry inside is reported.

        Where the property (`prop_name`) holds objects of several classes, such as risks of floods and of landslides, the class is the value `type`.
        """
        record: dict[str, Any] = {"type": self._name(element)} if prop_name and not _names_class(prop_name, local(element.tag)) else {}
        for prop in element:
            if any(local(child.tag) in (*SHAPES, *LINES) and (namespace(child.tag) in GML or namespace(child.tag).startswith(CITYGML)) for child in prop):
                self.store.problems[f"geometry inside {self._name(element)} is not drawn"] += 1
            elif _is_generic(prop):
                _put(record, prop.get("name", ""), _generic(prop))
            elif not len(prop):
                self._simple(prop, record)
            elif _is_record(prop):
                _put(record, self._name(prop), self._record(prop))
            else:
                for child in prop:
                    _put(record, self._name(prop), self._record(child, local(prop.tag)))
        return record

    # --- shapes ------------------------------------------------------------------------------------------------

    def _shapes(self, thing: CityObject, geometry: list[tuple[str, Element, int, str]], parts: float) -> float:
        """Choose the LoD, then all its faces as one shape, so that a hull of surfaces is known to be closed."""
        faces: dict[str, list[tuple[Polygon, int]]] = {}
        lines: dict[str, dict[str, list[F64]]] = {}
        implicit: dict[str, list[Element]] = {}
        for lod, prop, surface, name in sorted(geometry, key=lambda g: g[2] < 0):  # surfaces first: a solid repeats them
            if name.endswith("ImplicitRepresentation"):
                implicit.setdefault(lod, []).append(prop)
                continue
            self.store.lines.clear()
            self.store.tins.clear()
            self.store.followed.clear()
            found = polygons(prop, self.store)
            for points in self.store.tins:
                found += self._triangulated(points)
            if self.store.lines and self.place is not None:
                placed = [self.place(line) for line in self.store.lines]
                if name.endswith(INTERSECTION):
                    _put(thing.attributes, name, text_of(placed))
                else:
                    lines.setdefault(lod, {}).setdefault(name, []).extend(placed)
            if found:
                faces.setdefault(lod, []).extend((p, surface) for p in found)
        thing.lods = sorted({*faces, *implicit, *lines}, key=lod_rank)
        chosen = choose_lod([*faces, *implicit], self.lod)
        if chosen is not None:
            for name, beside in ((name, beside) for of_lod in lines.values() for name, beside in of_lod.items()):
                _put(thing.attributes, name, text_of(beside))
        elif (best := choose_lod(list(lines), self.lod)) is not None:
            thing.lines, thing.lod = [line for found in lines[best].values() for line in found], best
            self.report.note("warned", thing.id, f"{thing.kind}: its {len(thing.lines)} points or lines are kept as a plan geometry and not drawn.")
            return -2.0
        if chosen is None:
            if self.lod is not None and geometry:
                self.report.note("skipped", thing.id, f"{thing.kind}: it has no geometry of LoD {self.lod}.")
            return -2.0
        lod = thing.lod = chosen
        if lod_rank(lod) < parts:
            self.report.note("skipped", thing.id, f"{thing.kind}: its LoD {lod} is not drawn over its own parts of a finer LoD.")
            return lod_rank(lod)
        if faces.get(lod):
            thing.shapes.append(self._shape(faces.pop(lod), self.place))
        for prop in implicit.get(lod, []):
            self._implicit(thing, prop)
        return lod_rank(lod)

    def _triangulated(self, points: Points) -> list[Polygon]:
        """The triangles of a TIN of points; points that make none are kept as such."""
        if self.place is None:
            return []
        corners, first = np.unique(points.corners, axis=0, return_index=True)
        corners = corners[np.argsort(first)]
        placed = self.place(corners)
        made = triangles(placed[:, :2] * self.metres(placed.mean(axis=0))[:2], points.longest)
        if not len(made):
            self.store.lines.extend(corners[:, None])
            self.store.problems["a TIN's points make no triangle"] += 1
        elif points.lines:
            self.store.problems["a TIN's triangles run through the corners of its break and stop lines, not along their edges"] += 1
        rings = [tuple(corner) for corner in corners.tolist()]
        return [Polygon("", [[rings[i] for i in triangle]]) for triangle in made.tolist()]

    def _shape(self, found: list[tuple[Polygon, int]], place: Callable[[F64], F64] | None) -> Shape:
        """Polygons over common vertices; a polygon met a second time (by its corners) is left out. `found` is empty afterwards."""
        numbers: dict[tuple[float, float, float], int] = {}
        faces: list[Face] = []
        seen: set[tuple[int, ...]] = set()
        solids: dict[int, dict[int, Shell]] = {}
        found.reverse()
        while found:  # a large geometry is let go of polygon by polygon
            polygon, surface = found.pop()
            rings = [[numbers.setdefault(p, len(numbers)) for p in ring] for ring in polygon.rings]
            corners = tuple(sorted(set(rings[0])))
            if corners not in seen or surface >= 0:
                seen.add(corners)
                faces.append(Face(rings, surface, polygon.material, polygon.uv))
            if polygon.shell is not None:
                solids.setdefault(polygon.shell[0], {0: []}).setdefault(polygon.shell[1], []).append(rings)
        points = np.array(list(numbers), np.float64).reshape(-1, 3)
        return Shape(points if place is None else np.ascontiguousarray(place(points)), faces, [[shells[i] for i in sorted(shells)] for shells in solids.values()])

    def _implicit(self, thing: CityObject, prop: Element) -> None:
        """A prototype in its own metres, placed by a 4×4 matrix and a reference point (CityGML 2.0, 8.2)."""
        for body in prop.iter():
            if local(body.tag) != "ImplicitGeometry":
                continue
            parts = {local(child.tag): child for child in body}
            if "referencePoint" not in parts or self.place is None:
                self.store.problems["an implicit geometry without a place"] += 1
                continue
            prototype = self._prototype(thing, parts)
            if prototype is None:
                continue
            key, shape = prototype
            try:
                at = self.place(coordinates(parts["referencePoint"], self.store)[:1])[0]
                text = parts["transformationMatrix"].text if "transformationMatrix" in parts else None
                matrix = np.array(text.split(), np.float64).reshape(4, 4) if text else np.eye(4)
            except ValueError as error:
                self.store.problems[f"an implicit geometry's place cannot be read ({error})"] += 1
                continue
            scaled = np.diag([*(1 / self.metres(at)), 1.0]) @ matrix
            scaled[:3, 3] += at
            if shape.faces and np.isfinite(scaled).all():
                thing.instances.append((f"implicit {key}", shape, scaled))

    def _prototype(self, thing: CityObject, parts: dict[str, Element]) -> tuple[str, Shape] | None:
        """(key, shape) of an implicit geometry: in the file, or in one of the model's library."""
        if (relative := parts.get("relativeGMLGeometry")) is not None:
            inner = next(iter(relative), None)
            key = (relative.get(XLINK) or "").removeprefix("#") or (gml_id(inner) if inner is not None else "") or f"{thing.id} own"
            return key, self._shape([(p, -1) for p in polygons(relative, self.store)], None)
        name = (parts["libraryObject"].text or "").strip() if "libraryObject" in parts else ""
        if not name or self.store.library is None:
            self.store.problems["an incomplete implicit geometry"] += 1
            return None
        found = self.store.library.shape(name)
        if isinstance(found, str):
            self.store.problems[f"the implicit geometry {name[:60]!r} {found}"] += 1
            return None
        return f"library {name}", found


@lru_cache(maxsize=4096)
def _lod_of(name: str) -> str:
    """The LoD of a property that holds geometry, else ""."""
    match = LOD.match(name)
    return match[1] if match else ""


@lru_cache(maxsize=4096)
def _of_hull(tag: str) -> bool:
    """Whether an element is a surface; windows and doors of CityGML 3.0's construction module are bodies with surfaces of their own."""
    return HULL.match(local(tag)) is not None and tag not in FILLINGS


def _is_record(prop: Element) -> bool:
    """Whether properties stand in a property without an object between them, as in `core:externalReference`."""
    return all(local(child.tag)[:1].islower() and not gml_id(child) and namespace(child.tag) not in GML for child in prop)


@lru_cache(maxsize=4096)
def _names_class(prop: str, kind: str) -> bool:
    """Whether a property is called after the class of what it holds: bldgDataQualityAttribute after DataQualityAttribute."""
    return prop.lower().endswith(kind.lower())


def _put(attributes: dict[str, Any], name: str, value: Any) -> None:
    """A property that comes again becomes a list."""
    if name not in attributes:
        attributes[name] = value
    elif isinstance(attributes[name], list):
        attributes[name].append(value)
    else:
        attributes[name] = [attributes[name], value]


def _is_generic(prop: Element) -> bool:
    return prop.get("name") is not None and (local(prop.tag).endswith("Attribute") or local(prop.tag) == "genericAttributeSet")


def _generic(prop: Element) -> Any:
    if local(prop.tag) == "genericAttributeSet":
        values: dict[str, Any] = {}
        for child in prop:
            _put(values, child.get("name", ""), _generic(child))
        return values
    node = next((child for child in prop if local(child.tag) == "value"), None)
    text = (node.text or "").strip() if node is not None else ""
    return _value(local(prop.tag), text, node.get("uom") if node is not None else None)


def _value(name: str, text: str, uom: str | None) -> Any:
    """Numbers only where the schema says so or a unit is given: codes such as 0401 stay text."""
    try:
        if uom is not None and NUMBERS.get(name) is not int:
            return Measure(float(text), uom)
        return NUMBERS[name](text) if name in NUMBERS else text
    except ValueError:
        return text


def _of_address(key: str) -> bool:
    """Whether an XML attribute says something of an address: xAL 2 has plain ones, xAL 3 of its own namespace."""
    return namespace(key) in ("", "urn:oasis:names:tc:ciq:xal:3", "urn:oasis:names:tc:ciq:ct:3")


def _plain(element: Element) -> Any:
    """An xAL address as nested JSON values; XML attributes (`Type`) of what has values below it are values, too (of a text beside it: `LocalityName.Type`), and a position is its numbers as text."""
    if not len(element):
        return (element.text or "").strip()
    values: dict[str, Any] = {local(key): value for key, value in element.attrib.items() if _of_address(key)}
    if key := gml_id(element):
        values["gml_id"] = key
    for child in element:
        if namespace(child.tag) not in GML:
            _put(values, local(child.tag), _plain(child))
            if not len(child):  # what is said of a text stands beside it
                for key, value in child.attrib.items():
                    if _of_address(key):
                        _put(values, f"{local(child.tag)}.{local(key)}", value)
        elif numbers := " ".join(node.text.strip() for node in child.iter() if local(node.tag) in ("pos", "posList", "coordinates") and node.text):
            _put(values, "position", numbers)
    return values
