"""GML geometry → polygons: solids, surfaces, patches, triangles, orientable surfaces and references by xlink:href."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import chain
from math import isfinite
from xml.etree.ElementTree import Element

import numpy as np
from numpy.typing import NDArray

from ingest_bim.citymodels.citygml_appearance import Look, Looks, laid
from ingest_bim.citymodels.citygml_library import Library
from ingest_bim.citymodels.citygml_names import GML, GML32_ID, GML_ID, XLINK, local, namespace
from ingest_bim.citymodels.citygml_tin import Points, longest_edge
from ingest_bim.citymodels.textures import Pictures
from twin.model import Material

F64 = NDArray[np.float64]
Ring = list[tuple[float, float, float]]
POLYGONS = ("Polygon", "PolygonPatch", "Triangle", "Rectangle")
LINES = ("LineString", "Point", "MultiPoint", "MultiCurve", "CompositeCurve", "Curve", "OrientableCurve")
OF_ITS_OWN = frozenset((*POLYGONS, *LINES, "Solid", "Tin", "interior"))
"""Elements that are more than what is below them."""
OFTEN = 1_000
"""Times that one geometry may refer to one thing: parts that refer twice to parts that do so, too, are soon more than there are atoms."""
MANY = 100_000
"""Elements of a member from which on memory counts: equal corners are one, and what is read is let go of."""
CURVED = ("Arc", "ArcString", "ArcByBulge", "ArcStringByBulge", "ArcByCenterPoint", "Circle", "CircleByCenterPoint", "Bezier", "BSpline", "CubicSpline", "Clothoid")


@dataclass(slots=True)
class Polygon:
    """`rings`: corners in file order of axes, the outer one first."""

    id: str
    rings: list[Ring]
    material: Material | None = None
    uv: list[F64] | None = None
    shell: tuple[int, int] | None = None
    """(solid, counted over the file; shell, 0 the outer one) that it belongs to."""


@dataclass
class Store:
    """What polygons of a member may refer to, and what went wrong."""

    local: dict[str, Element] = field(default_factory=dict)
    shared: dict[str, Element] = field(default_factory=dict)
    looks: Looks = field(default_factory=Looks)
    pictures: Pictures | None = None
    library: Library | None = None
    place: Callable[[F64], F64] = lambda points: points
    lines: list[F64] = field(default_factory=list)
    tins: list[Points] = field(default_factory=list)
    problems: Counter[str] = field(default_factory=Counter)
    first_srs: str = ""
    first_at: tuple[float, ...] = ()
    references: set[str] = field(default_factory=set)
    """All that members state as their reference."""
    solids: int = 0
    followed: Counter[str] = field(default_factory=Counter)
    """How often the geometry that is read has referred to what."""
    _refers: bool = True
    _large: bool = False
    _corners: dict[tuple[float, float, float], tuple[float, float, float]] = field(default_factory=dict)
    _polygons: dict[tuple[int, int, int], tuple[Paint, Polygon]] = field(default_factory=dict)

    def begin(self, member: Element) -> None:
        """Go on to the next member: what its parts may refer to, and what is said of them."""
        self.local = {}
        flats, count, self._refers = [], 0, False
        for count, element in enumerate(member.iter()):  # noqa: B007  the last number is used
            if element.keys():  # most have no attributes
                self._refers = self._refers or element.get(XLINK) is not None
                if key := element.get(GML_ID) or element.get(GML32_ID):
                    self.local[key] = element
                if element.get("srsDimension") == "2":
                    flats.append(element)
        for flat in flats:
            for node in flat.iter():  # what is below has the dimension of what it is in (GML 3.1.1, SRSReferenceGroup)
                if local(node.tag) in ("posList", "pos") and node.get("srsDimension") is None:
                    node.set("srsDimension", "2")
        self.looks.begin(self.local)
        self._polygons.clear()
        self._corners.clear()
        self._large = count >= MANY
        if self._large and not self._refers:
            self.local = {}

    def polygon(self, element: Element, paint: Paint) -> Polygon | None:
        """A polygon with what it inherits; one that is referred to again (by a solid) is not read again, unless there was something to report of it.

        Of a large member in which nothing is referred to, its element is empty after that.
        """
        if not self._refers:
            alone = _polygon(element, self, paint)
            if self._large:
                element.clear()
            return alone
        key = (id(element), id(paint.material), id(paint.texture))
        known = self._polygons.get(key)
        if known is not None:
            found = known[1]
            return Polygon(found.id, found.rings, found.material, found.uv)
        before = self.problems.total()
        polygon = _polygon(element, self, paint)
        if polygon is not None and self.problems.total() == before:
            self._polygons[key] = paint, Polygon(polygon.id, polygon.rings, polygon.material, polygon.uv)  # the paint, so that no other gets its number
        return polygon

    def shared_corners(self, ring: Ring) -> Ring:
        """The same ring, its corners those of rings before where they are equal (of a large member)."""
        known = self._corners
        return [known.setdefault(corner, corner) for corner in ring] if self._large else ring

    def find(self, href: str) -> Element | None:
        """The element of `#id`; other files and addresses are never opened."""
        if not href.startswith("#"):
            self.problems[f"a reference to {href[:60]!r} leads out of the file and is not followed"] += 1
            return None
        self.followed[href] += 1
        if self.followed[href] > OFTEN:
            self.problems[f"one geometry refers to one of its parts more than {OFTEN:,} times; what is more is left out"] += 1
            return None
        element = self.local.get(href[1:])
        element = self.shared.get(href[1:]) if element is None else element
        if element is None:
            self.problems["a reference leads to nothing in the file"] += 1
        return element


def gml_id(element: Element) -> str:
    """gml:id of either GML version, or ""."""
    return element.get(GML_ID) or element.get(GML32_ID) or ""


@dataclass(frozen=True)
class Paint:
    """What polygons inherit from the surfaces around them."""

    material: Material | None = None
    texture: tuple[Look, F64 | None] | None = None

    def of(self, surface: str, store: Store) -> Paint:
        """The same, with what is said of a surface by its id."""
        material, texture = store.looks.material(surface), store.looks.texture(surface)
        return self if material is None and texture is None else Paint(material or self.material, texture or self.texture)


def polygons(element: Element, store: Store, *, flip: bool = False, paint: Paint = Paint(), trail: tuple[int, ...] = ()) -> list[Polygon]:
    """All polygons at or below a geometry element or geometry property; `flip` turns them over. Points and lines go to `store.lines`."""
    while not element.keys() and len(element) == 1 and local(element.tag) not in OF_ITS_OWN:
        element = element[0]  # most of what is between a property and its polygons says nothing
    name = local(element.tag)
    if element.keys():
        if id(element) in trail or len(trail) > 150:
            store.problems["references go round in a circle"] += 1
            return []
        trail = (*trail, id(element))  # references lead to what has an id, so a circle goes through such
        if (key := gml_id(element)) and store.looks.looks:
            paint = paint.of(key, store)
    if href := element.get(XLINK):
        target = store.find(href)
        return [] if target is None else polygons(target, store, flip=flip, paint=paint, trail=trail)
    if name in LINES and namespace(element.tag) in GML:
        _lines(element, store)
        return []
    if name in POLYGONS:
        polygon = store.polygon(element, paint)
        if polygon is None:
            return []
        if flip:
            polygon.rings = [ring[::-1] for ring in polygon.rings]
            polygon.uv = None if polygon.uv is None else [uv[::-1] for uv in polygon.uv]
        return [polygon]
    if name == "OrientableSurface" and element.get("orientation") == "-":
        flip = not flip
    if name == "Solid":
        return _solid(element, store, flip, paint, trail)
    found = [p for child in element for p in polygons(child, store, flip=flip, paint=paint, trail=trail)]
    if name == "Tin" and not found:
        _control_points(element, store)
    return found


def _control_points(element: Element, store: Store) -> None:
    """Of a TIN that leaves its triangles to the reader (GML 3.1.1: Tin), the points; those of its lines, too."""
    found, lines = list[F64](), 0
    for child in element:
        if local(child.tag) in ("controlPoint", "breakLines", "stopLines"):
            for node in child.iter():
                lines += local(node.tag) in ("LineString", "LineStringSegment")
                if local(node.tag) in ("pos", "posList"):
                    try:
                        found.append(coordinates(node, store))
                    except ValueError as error:
                        store.problems[f"a TIN's points cannot be read ({error})"] += 1
    if found:
        store.tins.append(Points(np.concatenate(found), longest_edge(element), lines))


def _solid(element: Element, store: Store, flip: bool, paint: Paint, trail: tuple[int, ...]) -> list[Polygon]:
    """The polygons of a solid, which know their shell."""
    store.solids += 1
    number, inner = store.solids, 0
    found: list[Polygon] = []
    for child in element:
        inner += local(child.tag) == "interior"
        for polygon in polygons(child, store, flip=flip, paint=paint, trail=trail):
            polygon.shell = (number, inner if local(child.tag) == "interior" else 0)
            found.append(polygon)
    return found


def _lines(element: Element, store: Store) -> None:
    """Each point, line string or curve segment of a geometry."""
    for node in element.iter():
        if local(node.tag) in ("Point", "LineString", "LineStringSegment"):
            try:
                store.lines.append(coordinates(node, store))
            except ValueError as error:
                store.problems[f"a line's coordinates cannot be read ({error})"] += 1


def _polygon(element: Element, store: Store, paint: Paint) -> Polygon | None:
    rings: list[Ring] = []
    stated: list[F64 | None] = []
    try:
        for bound in element:
            if local(bound.tag) in ("exterior", "interior", "outerBoundaryIs", "innerBoundaryIs"):
                at = 0 if local(bound.tag) in ("exterior", "outerBoundaryIs") else len(rings)
                rings.insert(at, store.shared_corners(corners(bound, store, ring=True)))
                if paint.texture is not None:
                    stated.insert(at, next((uv for node in bound if (key := gml_id(node)) and (uv := store.looks.ring(key)) is not None), None))
    except ValueError as error:
        store.problems[f"a polygon's coordinates cannot be read ({error})"] += 1
        return None
    if not rings:
        store.problems["a polygon without an outer ring"] += 1
        return None
    if paint.texture is None or store.pictures is None:
        return Polygon(gml_id(element), rings, paint.material)
    found = laid(*paint.texture, stated, rings, store.place, store.pictures)
    if isinstance(found, str):
        if found:
            store.problems[found] += 1
        return Polygon(gml_id(element), rings, paint.material)
    return Polygon(gml_id(element), rings, found[0], found[1])


def coordinates(element: Element, store: Store) -> F64:
    """(N, 3) of the posList, pos or coordinates below an element; two dimensions get the height 0, which is reported.

    Raises:
        ValueError: not numbers, not finite, or not full triples.
    """
    return np.array(corners(element, store))


def corners(element: Element, store: Store, *, ring: bool = False) -> Ring:
    """The same as numbers of Python: most rings have a few corners. `ring`: they go round, and end where they begin."""
    found: Ring = []
    for node in element.iter():
        name = local(node.tag)
        if name in ("posList", "pos"):
            values = list(map(float, (node.text or "").split()))
            size = int(node.get("srsDimension") or node.get("dimension") or _dimension(values, ring and name == "posList"))
            if size not in (2, 3) or len(values) % size:
                raise ValueError(f"{len(values)} numbers are not points of {size}")
            found += _three([values[i::size] for i in range(size)], store)
        elif name == "coordinates":
            found += _three(list(zip(*_tuples(node), strict=True)), store)
        elif name in CURVED:
            store.problems["curved edges are drawn straight between the points that they state"] += 1
        elif name == "coord":
            parts = [[float(child.text or "")] for axis in "XYZ" for child in node if local(child.tag) == axis]
            found += _three(parts, store)
    if not found:
        raise ValueError("no coordinates")
    if not all(map(isfinite, chain.from_iterable(found))):
        raise ValueError("not finite")
    return found


def _dimension(values: list[float], ring: bool) -> int:
    """Numbers of a point where nothing is stated: three, unless these do not come out and two do. A ring of six, twelve, … numbers is flat where it closes in that way alone."""
    flat = len(values) % 2 == 0 and (not ring or values[:2] == values[-2:])
    if len(values) % 3 == 0 and not (ring and flat and values[:3] != values[-3:]):
        return 3
    return 2 if flat else 3


def _tuples(node: Element) -> list[list[float]]:
    """Points of `gml:coordinates`, which says itself what stands between numbers and points, and for the decimal point."""
    between, decimal = node.get("cs", ","), node.get("decimal", ".")
    apart = node.get("ts", " ")
    text = node.text or ""
    points = text.split(apart) if apart.strip() else text.split()
    return [[float(number.replace(decimal, ".")) for number in (point.split(between) if between.strip() else point.split())] for point in points if point.strip()]


def _three(axes: Sequence[Sequence[float]], store: Store) -> Ring:
    """Points of the numbers along each axis."""
    if len(axes) == 2:
        store.problems["coordinates without heights are put at 0"] += 1
        return [(x, y, 0.0) for x, y in zip(*axes, strict=True)]
    if len(axes) != 3:
        raise ValueError(f"points of {len(axes)} numbers")
    return list(zip(*axes, strict=True))
