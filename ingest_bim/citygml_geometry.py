"""GML geometry → polygons: solids, surfaces, patches, triangles, orientable surfaces and references by xlink:href."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any
from xml.etree.ElementTree import Element

import numpy as np
from numpy.typing import NDArray

from ingest_bim.citygml_stream import GML, XLINK, local, namespace
from twin.model import Material

F64 = NDArray[np.float64]
POLYGONS = ("Polygon", "PolygonPatch", "Triangle", "Rectangle")
GML_ID, GML32_ID = (f"{{{space}}}id" for space in GML)
LINES = ("LineString", "Point", "MultiPoint", "MultiCurve", "CompositeCurve", "Curve", "OrientableCurve")


@dataclass
class Polygon:
    """`rings`: (N, 3) float64 each, in file order of axes, the outer one first."""

    id: str
    rings: list[F64]
    material: Material | None = None


@dataclass
class Store:
    """What polygons of a member may refer to, and what went wrong."""

    local: dict[str, Element] = field(default_factory=dict)
    shared: dict[str, Element] = field(default_factory=dict)
    materials: dict[str, Material] = field(default_factory=dict)
    textured: set[str] = field(default_factory=set)
    problems: Counter[str] = field(default_factory=Counter)
    first_srs: str = ""

    def find(self, href: str) -> Element | None:
        """The element of `#id`; other files and addresses are never opened."""
        if not href.startswith("#"):
            self.problems[f"a reference to {href[:60]!r} leads out of the file and is not followed"] += 1
            return None
        element = self.local.get(href[1:])
        element = self.shared.get(href[1:]) if element is None else element
        if element is None:
            self.problems["a reference leads to nothing in the file"] += 1
        return element


def gml_id(element: Element) -> str:
    """gml:id of either GML version, or ""."""
    return element.get(GML_ID) or element.get(GML32_ID) or ""


def polygons(element: Element, store: Store, *, flip: bool = False, material: Material | None = None, trail: tuple[int, ...] = ()) -> list[Polygon]:
    """All polygons at or below a geometry element or geometry property; `flip` turns them over."""
    if id(element) in trail or len(trail) > 150:
        store.problems["references go round in a circle"] += 1
        return []
    trail = (*trail, id(element))
    name, key = local(element.tag), gml_id(element)
    material = store.materials.get(key, material) if key else material
    if href := element.get(XLINK):
        target = store.find(href)
        return [] if target is None else polygons(target, store, flip=flip, material=material, trail=trail)
    if name in LINES and namespace(element.tag) in GML:
        store.problems["points or lines have no faces and are not drawn"] += 1
        return []
    if name in POLYGONS:
        found = _polygon(element, store, flip)
        if found is None:
            return []
        found.material = material
        return [found]
    if name == "OrientableSurface" and element.get("orientation") == "-":
        flip = not flip
    return [p for child in element for p in polygons(child, store, flip=flip, material=material, trail=trail)]


def _polygon(element: Element, store: Store, flip: bool) -> Polygon | None:
    rings: list[F64] = []
    try:
        for bound in element:
            if local(bound.tag) in ("exterior", "interior", "outerBoundaryIs", "innerBoundaryIs"):
                ring = coordinates(bound, store)
                if local(bound.tag) in ("exterior", "outerBoundaryIs"):
                    rings.insert(0, ring)
                else:
                    rings.append(ring)
    except ValueError as error:
        store.problems[f"a polygon's coordinates cannot be read ({error})"] += 1
        return None
    if not rings:
        store.problems["a polygon without an outer ring"] += 1
        return None
    return Polygon(gml_id(element), [ring[::-1] for ring in rings] if flip else rings)


def coordinates(element: Element, store: Store) -> F64:
    """(N, 3) of the posList, pos or coordinates below an element; two dimensions get the height 0, which is reported.

    Raises:
        ValueError: not numbers, not finite, or not full triples.
    """
    rows: list[F64] = []
    for node in element.iter():
        name = local(node.tag)
        if name in ("posList", "pos"):
            values = np.array((node.text or "").split(), np.float64)
            size = int(node.get("srsDimension") or node.get("dimension") or (2 if len(values) % 3 and len(values) % 2 == 0 else 3))
            if size not in (2, 3) or len(values) % size:
                raise ValueError(f"{len(values)} numbers are not points of {size}")
            rows.append(_three(values.reshape(-1, size), store))
        elif name == "coordinates":
            points = [[float(v) for v in point.split(node.get("cs", ","))] for point in (node.text or "").split()]
            rows.append(_three(np.array(points, np.float64).reshape(len(points), -1), store))
    if not rows:
        raise ValueError("no coordinates")
    found = np.concatenate(rows)
    if not np.isfinite(found).all():
        raise ValueError("not finite")
    return found


def _three(points: F64, store: Store) -> F64:
    if points.shape[1] == 2:
        store.problems["coordinates without heights are put at 0"] += 1
        return np.column_stack([points, np.zeros(len(points))])
    if points.shape[1] != 3:
        raise ValueError(f"points of {points.shape[1]} numbers")
    return points


def appearance(element: Element, store: Store) -> None:
    """Learn X3D materials (by target) and which surfaces have textures, of an appearance anywhere below `element`."""
    for data in element.iter():
        name = local(data.tag)
        if name not in ("X3DMaterial", "ParameterizedTexture", "GeoreferencedTexture"):
            continue
        targets = [(t.text or t.get("uri") or "").strip().removeprefix("#") for t in data if local(t.tag) == "target"]
        targets += [t.get("uri", "").removeprefix("#") for t in data if t.get("uri")]
        if name == "X3DMaterial":
            material = _material(data)
            store.materials |= dict.fromkeys(targets, material)
        else:
            store.textured.update(targets)


def _material(element: Element) -> Material:
    values: dict[str, Any] = {local(child.tag): (child.text or "").strip() for child in element}
    try:
        r, g, b = (min(max(float(v), 0.0), 1.0) for v in values.get("diffuseColor", "0.8 0.8 0.8").split())
        alpha = 1.0 - min(max(float(values.get("transparency") or 0.0), 0.0), 1.0)
    except ValueError:
        r, g, b, alpha = 0.8, 0.8, 0.8, 1.0
    return Material(values.get("name", ""), (r, g, b, alpha))
