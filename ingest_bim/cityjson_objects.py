"""One CityJSON document (or feature of a sequence) → CityObjects with the shapes of the LoD to draw."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ingest_bim.citymodel import CityObject, Face, Shape, Shell, Surface, choose_lod, draw_once, lod_rank
from ingest_bim.citymodel_textures import WRAPS, Kind, Pictures, no_themes
from ingest_bim.wording import in_words
from twin.model import Material, Report, Wrap

F64 = NDArray[np.float64]

#: Levels of lists around the list of faces.
DEPTH = {"MultiSurface": 0, "CompositeSurface": 0, "Solid": 1, "MultiSolid": 2, "CompositeSolid": 2}
LINES = ("MultiPoint", "MultiLineString")
KNOWN = {"type", "attributes", "geometry", "parents", "children", "children_roles", "address", "geographicalExtent"}
#: Of these, what a group alone says: its members need not name it, and their roles stand nowhere else.
OF_GROUPS = ("children", "children_roles")


#: What Python raises when JSON has another shape than CityJSON's.
MALFORMED = (TypeError, ValueError, KeyError, IndexError, AttributeError, OverflowError)


@dataclass
class Looks:
    """An appearance: materials, (file, wrap) of the textures, (N, 2) `corners` with s to the right and t up."""

    materials: list[Material] = field(default_factory=list)
    textures: list[tuple[str, Wrap]] = field(default_factory=list)
    corners: F64 = field(default_factory=lambda: np.zeros((0, 2)))

    @staticmethod
    def of(document: dict[str, Any]) -> Looks:
        """Read it; ValueError, TypeError or AttributeError where it is malformed."""
        looks, appearance = Looks(), document.get("appearance") or {}
        for material in appearance.get("materials") or []:
            color = [min(max(float(v), 0.0), 1.0) for v in material.get("diffuseColor") or (0.8, 0.8, 0.8)]
            alpha = 1.0 - min(max(float(material.get("transparency") or 0.0), 0.0), 1.0)
            looks.materials.append(Material(str(material.get("name", "")), (color[0], color[1], color[2], alpha)))
        for texture in appearance.get("textures") or []:
            looks.textures.append((str(texture.get("image", "")), WRAPS.get(str(texture.get("wrapMode", "")), "repeat")))
        if corners := appearance.get("vertices-texture"):
            looks.corners = np.array(corners, np.float64).reshape(-1, 2)
            if len(looks.corners) != len(corners) or not np.isfinite(looks.corners).all():
                raise ValueError("vertices-texture must be lists of two numbers")
        return looks


@dataclass
class Header:
    """What holds for all features of a source."""

    version: str
    crs: str | None = None
    scale: F64 = field(default_factory=lambda: np.ones(3))
    translate: F64 = field(default_factory=lambda: np.zeros(3))
    templates: list[dict[str, Any]] = field(default_factory=list)
    template_vertices: F64 = field(default_factory=lambda: np.zeros((0, 3)))
    looks: Looks = field(default_factory=Looks)
    defaults: dict[Kind, str] = field(default_factory=dict)
    extras: tuple[str, ...] = ()
    """What extensions say of the model as a whole (CityJSON 2.0.1, 8.3)."""
    metadata: dict[str, Any] = field(default_factory=dict)
    """What else the source says of itself: title, date, contact."""
    order: NDArray[np.int64] = field(default_factory=lambda: np.arange(3))
    """Of the file's coordinates, which is the easting, the northing, the height."""

    @staticmethod
    def of(document: dict[str, Any]) -> Header:
        """Read it; ValueError, TypeError or KeyError where it is malformed."""
        header = Header(str(document["version"]), extras=tuple(name for name in document if name.startswith("+")))
        metadata = dict(document.get("metadata") or {})
        crs = metadata.pop("referenceSystem", None)
        header.metadata = {key: value for key, value in metadata.items() if key != "geographicalExtent"}
        header.crs = str(crs) if crs else None
        if transform := document.get("transform"):
            header.scale, header.translate = _three(transform["scale"]), _three(transform["translate"])
        templates = document.get("geometry-templates") or {}
        header.templates = list(templates.get("templates") or [])
        header.template_vertices = points_of(templates.get("vertices-templates") or [])
        header.looks = Looks.of(document)
        appearance = document.get("appearance") or {}
        for kind in ("materials", "textures"):
            if name := appearance.get(f"default-theme-{kind[:-1]}"):
                header.defaults[kind] = str(name)
        return header


    def north_first(self) -> Header:
        """The header of a file whose first coordinate is the northing or latitude."""
        order = np.array([1, 0, 2])
        return replace(self, order=order, scale=self.scale[order], translate=self.translate[order], template_vertices=self.template_vertices[:, order])


def corner_of(document: dict[str, Any], header: Header) -> tuple[float, ...]:
    """A document's first vertex as the file has it; () where there is none."""
    try:
        own = _own(document, header, Report())
        return tuple((_three(document["vertices"][0]) * own.scale + own.translate).tolist())
    except MALFORMED:
        return ()


def _three(values: Any) -> F64:
    array = np.array(values, np.float64)
    if array.shape != (3,) or not np.isfinite(array).all():
        raise ValueError(f"{str(values)[:60]} are not three numbers")
    return array


def points_of(values: Any) -> F64:
    """(N, 3) finite numbers, or ValueError."""
    array = np.array(values, np.float64).reshape(-1, 3) if len(values) else np.zeros((0, 3))
    if len(array) != len(values) or not np.isfinite(array).all():
        raise ValueError("vertices must be lists of three numbers")
    return array


class Document:
    """A document or feature: its objects in order, with shapes of one LoD each."""

    def __init__(self, document: dict[str, Any], header: Header, lod: str | None, report: Report) -> None:
        self.header, self.lod, self.report = header, lod, report
        self.themes = no_themes()
        self.chosen: dict[Kind, str | None] = {"materials": None, "textures": None}
        self.pictures: Pictures | None = None
        things = document.get("CityObjects")
        self.things: dict[str, Any] = things if isinstance(things, dict) else {}
        if not isinstance(things, dict):
            report.note("refused", str(document.get("id", "")), "CityObjects is missing or not an object.")
        self.document, self.vertices, self.looks = document, np.zeros((0, 3)), header.looks

    def _read_geometry(self) -> None:
        """The vertices and the appearance of the document, without which its objects have no shapes."""
        document, report = self.document, self.report
        header = self.header = _own(document, self.header, report)
        try:
            self.vertices = points_of(document.get("vertices") or [])[:, header.order]
            self.looks = Looks.of(document) if document.get("type") == "CityJSONFeature" and document.get("appearance") else header.looks
        except (TypeError, ValueError, AttributeError) as error:
            report.note("refused", str(document.get("id", "")), f"Its vertices or appearance are malformed: {error}; its geometry is left out.")
            self.vertices, self.looks = np.zeros((0, 3)), Looks()

    def objects(self, *, shapes: bool) -> Iterator[CityObject]:
        """All city objects; `shapes=False` leaves the geometry out (for the columns), not the surfaces' attributes."""
        if shapes:
            self._read_geometry()
        finest = self._finest_below() if shapes else {}
        for name, raw in self.things.items():
            try:
                yield self._object(name, raw, shapes, finest.get(name, -2.0))
            except MALFORMED as error:
                self.report.note("refused", name, f"The object is malformed: {in_words(error)}.")

    def _finest_below(self) -> dict[str, float]:
        """For each object, the best LoD among its parts (not its installations): a coarse hull is not drawn over its own fine parts."""
        finest: dict[str, float] = {}
        for name, raw in self.things.items():
            try:
                best = max((lod_rank(lod) for lod in self._lods(raw)), default=-2.0)
                queue, seen = list(raw.get("parents") or []) if str(raw.get("type")).endswith("Part") else [], {name}
            except MALFORMED:
                continue  # reported when the object itself is read
            while queue:
                above = queue.pop()
                if above in seen or not isinstance(self.things.get(above), dict) or self.things[above].get("type") == "CityObjectGroup":
                    continue
                seen.add(above)
                finest[above] = max(finest.get(above, -2.0), best)
                queue.extend(self.things[above].get("parents") or [])
        return finest

    def _lods(self, raw: dict[str, Any]) -> list[str]:
        lods = [self._lod_of(g) for g in raw.get("geometry") or [] if g.get("type") in DEPTH or g.get("type") == "GeometryInstance"]
        chosen = choose_lod(lods, self.lod)
        return [] if chosen is None else [chosen]

    def _lod_of(self, geometry: dict[str, Any]) -> str:
        if geometry["type"] == "GeometryInstance":
            geometry = self._template(geometry)
        return str(geometry.get("lod", ""))

    def _template(self, geometry: dict[str, Any]) -> dict[str, Any]:
        number = geometry.get("template")
        if not isinstance(number, int) or not 0 <= number < len(self.header.templates):
            return {}
        template = self.header.templates[number]
        return template if isinstance(template, dict) else {}

    def _object(self, name: str, raw: dict[str, Any], shapes: bool, finest: float) -> CityObject:
        parents = [str(p) for p in raw.get("parents") or []]
        groups = [p for p in parents if isinstance(self.things.get(p), dict) and self.things[p].get("type") == "CityObjectGroup"]
        others = [p for p in parents if p not in groups]
        attributes = dict(raw.get("attributes") or {})
        attributes |= {key: value for key, value in raw.items() if key not in KNOWN or (raw["type"] == "CityObjectGroup" and key in OF_GROUPS)}  # and what extensions add
        thing = CityObject(name, str(raw["type"]), others[0] if others else None, attributes, raw.get("address"), groups + others[1:])
        geometries = raw.get("geometry") or []
        lods = self._lods(raw)
        if not shapes:
            for geometry in geometries:
                if geometry.get("type") in DEPTH and lods and self._lod_of(geometry) == lods[0]:
                    thing.surfaces.extend(_surfaces(geometry, 0))
                    for kind in ("materials", "textures"):
                        self.themes[kind].update(str(name) for name in geometry.get(kind[:-1]) or {})
            return thing
        if missing := [p for p in parents if p not in self.things]:
            self.report.note("warned", name, f"{thing.kind}: its parent {missing[0]!r} is not among the objects of the file (or of its feature).")
        thing.lods = sorted({self._lod_of(g) for g in geometries if g.get("type") in (*DEPTH, *LINES, "GeometryInstance")}, key=lod_rank)
        if not lods:
            self._lines(thing, geometries)
            return thing
        self._skips(name, geometries)
        thing.lod = lods[0]
        if lod_rank(lods[0]) < finest:
            self.report.note("skipped", name, f"{thing.kind}: its LoD {lods[0]} is not drawn over its own parts of a finer LoD.")
            return thing
        drawn = [g for g in geometries if (g.get("type") in DEPTH or g.get("type") == "GeometryInstance") and self._lod_of(g) == lods[0]]
        for geometry in sorted(drawn, key=lambda g: not g.get("semantics")):  # stable: those with semantics first
            if geometry["type"] == "GeometryInstance":
                self._instance(thing, geometry)
                continue
            shape = self._shape(thing.id, geometry, self.vertices, self.header.scale, self.header.translate, len(thing.surfaces))
            thing.surfaces.extend(_surfaces(geometry, len(thing.surfaces)))
            for face in shape.faces:
                if face.surface >= len(thing.surfaces):
                    face.surface = -1
            if shape.faces:
                thing.shapes.append(shape)
        draw_once(thing)
        return thing

    def _skips(self, name: str, geometries: list[Any]) -> None:
        for geometry in geometries:
            kind = geometry.get("type")
            if kind not in DEPTH and kind != "GeometryInstance":
                self.report.note("skipped", name, f"Geometry of type {str(kind)[:40]!r} beside its faces is not kept.")

    def _lines(self, thing: CityObject, geometries: list[Any]) -> None:
        """Of an object without faces: its points and lines of the LoD to draw, kept as plan geometry."""
        if geometries and self.lod is not None:
            self.report.note("skipped", thing.id, f"It has no geometry of LoD {self.lod} with faces.")
        known = [g for g in geometries if g.get("type") in LINES]
        lod = choose_lod([self._lod_of(g) for g in known], self.lod)
        for geometry in geometries:
            if geometry not in known:
                kind = str(geometry.get("type"))[:40]
                if kind not in DEPTH and kind != "GeometryInstance":
                    self.report.note("skipped", thing.id, f"Geometry of type {kind!r} is not known and not kept.")
            elif self._lod_of(geometry) == lod:
                for line in [[i] for i in geometry["boundaries"]] if geometry["type"] == "MultiPoint" else geometry["boundaries"]:
                    at = np.array(line, np.int64)
                    if len(at) and (at >= 0).all() and (at < len(self.vertices)).all():
                        thing.lines.append(self.vertices[at] * self.header.scale + self.header.translate)
                    else:
                        self.report.note("refused", thing.id, f"A line with vertices {str(line)[:40]} is left out: there are {len(self.vertices)}.")
        if thing.lines:
            thing.lod = lod or ""
            self.report.note("warned", thing.id, f"{thing.kind}: its {len(thing.lines)} points or lines are kept as a plan geometry and not drawn.")

    def _instance(self, thing: CityObject, geometry: dict[str, Any]) -> None:
        """A template placed at a point: `transformationMatrix` (row-major) in metres, then moved to the reference point."""
        template = self._template(geometry)
        if template.get("type") not in DEPTH:
            self.report.note("refused", thing.id, f"The geometry template {str(geometry.get('template'))[:20]} does not exist or has no faces.")
            return
        at = geometry["boundaries"][0]
        if not isinstance(at, int) or not 0 <= at < len(self.vertices):
            self.report.note("refused", thing.id, f"The template is placed at vertex {at}; there are {len(self.vertices)}.")
            return
        matrix = np.array(geometry.get("transformationMatrix") or np.eye(4), np.float64).reshape(4, 4)
        if not np.isfinite(matrix).all():
            raise ValueError("its transformationMatrix is not finite")
        matrix = matrix[np.ix_([*self.header.order, 3], [*self.header.order, 3])]
        matrix[:3, 3] += self.vertices[at] * self.header.scale + self.header.translate
        shape = self._shape(thing.id, template, self.header.template_vertices, np.ones(3), np.zeros(3), 0)
        for face in shape.faces:
            face.surface = -1
        if shape.faces:
            thing.instances.append((f"template {geometry['template']}", shape, matrix))

    def _shape(self, name: str, geometry: dict[str, Any], vertices: F64, scale: F64, translate: F64, first: int) -> Shape:
        """Faces with their surface numbers (from `first`) and materials; faces with wrong indices are refused one by one."""
        depth = DEPTH[geometry["type"]]
        faces: list[Face] = []
        wrong: list[int] = []
        named, astray = len((geometry.get("semantics") or {}).get("surfaces") or []), 0
        values = (geometry.get("semantics") or {}).get("values")
        theme = (geometry.get("material") or {}).get(self.chosen["materials"]) or {}
        material = theme.get("values") if "values" in theme else _Same(theme.get("value"))
        images = ((geometry.get("texture") or {}).get(self.chosen["textures"]) or {}).get("values") if self.pictures is not None else None
        unfit = 0
        shells: dict[tuple[int, ...], Shell] = {}
        sound = _sound(geometry["boundaries"], depth, len(vertices))
        for at, rings, value, color, corners in _walk(geometry["boundaries"], values, material, images, depth):
            bad = [] if sound else [i for ring in rings for i in ring if not isinstance(i, int) or not 0 <= i < len(vertices)]
            shell = shells.setdefault(at, [])
            if bad:
                wrong.extend(bad)
                continue
            face = Face([list(ring) for ring in rings], first + value if isinstance(value, int) and value >= 0 else -1)
            if isinstance(color, int) and 0 <= color < len(self.looks.materials):
                face.material = self.looks.materials[color]
            astray += _leads_nowhere(value, named) + _leads_nowhere(color, len(self.looks.materials))
            unfit += not self._texture(face, corners)
            faces.append(face)
            shell.append(face.rings)
        if astray:
            self.report.note("skipped", name, f"{astray} numbers of surfaces or materials lead to nothing ({named} surfaces, {len(self.looks.materials)} materials).")
        if unfit:
            self.report.note("skipped", name, f"The texture coordinates of {unfit} faces do not fit their rings; they are drawn plain.")
        if wrong:
            self.report.note("refused", name, f"Faces with vertex {wrong[0]!r} are left out: there are {len(vertices)} vertices ({len(wrong)} wrong indices).")
        if not faces:
            return Shape(np.zeros((0, 3)), [])
        used = sorted({i for face in faces for ring in face.rings for i in ring})
        corners_at = [tuple(corner) for corner in vertices[used].tolist()]
        points = sorted(set(corners_at))  # corners at one place are one corner
        numbers = {corner: number for number, corner in enumerate(points)}
        place = {i: numbers[corner] for i, corner in zip(used, corners_at, strict=True)}
        for face in faces:
            face.rings[:] = [[place[i] for i in ring] for ring in face.rings]
        solids: dict[tuple[int, ...], list[Shell]] = {}
        for at in sorted(shells) if depth else ():
            solids.setdefault(at[:-1], []).append(shells[at])
        return Shape(np.array(points) * scale + translate, faces, list(solids.values()))

    def _texture(self, face: Face, corners: Any) -> bool:
        """Give a face its texture; False where what is stated does not fit (CityJSON 2.0.1, 4.2: per ring the texture, then a corner each)."""
        stated = [ring for ring in corners if isinstance(ring, list) and ring and ring[0] is not None] if isinstance(corners, list) else []
        if not stated or self.pictures is None:
            return True
        flat = [i for ring in stated for i in ring]
        if len(stated) != len(face.rings) or not all(isinstance(i, int) and i >= 0 for i in flat) or len({ring[0] for ring in stated}) > 1:
            return False
        number = stated[0][0]
        if number >= len(self.looks.textures) or max((i for ring in stated for i in ring[1:]), default=0) >= len(self.looks.corners):
            return False
        if any(len(there) != len(ring) + 1 for there, ring in zip(stated, face.rings, strict=True)):
            return False
        uri, wrap = self.looks.textures[number]
        if (material := self.pictures.material(uri, (wrap, wrap))) is not None:  # else the report has it
            face.material = material
            face.uv = [self.looks.corners[ring[1:]] * (1, -1) + (0, 1) for ring in stated]
        return True


def _own(document: dict[str, Any], header: Header, report: Report) -> Header:
    """The header for one feature: a sequence has one transform (CityJSON 2.0.1, 7.2), but a feature that brings another was written with that."""
    if document.get("type") != "CityJSONFeature" or not isinstance(transform := document.get("transform"), dict):
        return header
    name = str(document.get("id", ""))
    try:
        own = replace(header, scale=_three(transform["scale"])[header.order], translate=_three(transform["translate"])[header.order])
    except MALFORMED as error:
        report.note("skipped", name, f"The feature's own transform is malformed and the header's is taken: {in_words(error)}.")
        return header
    if (own.scale == header.scale).all() and (own.translate == header.translate).all():
        return header
    report.note("assumed", name, "The feature has a transform of its own, which places it; the header's is another.")
    return own


def _leads_nowhere(number: Any, count: int) -> bool:
    return number is not None and not (isinstance(number, int) and 0 <= number < count)


def _sound(boundaries: Any, depth: int, count: int) -> bool:
    """Whether all numbers of vertices are whole and lead to one; False is said of nothing and of other nesting, too."""
    try:
        for _ in range(depth + 2):
            boundaries = list(chain.from_iterable(boundaries))
        return set(map(type, boundaries)) == {int} and min(boundaries) >= 0 and max(boundaries) < count
    except TypeError:
        return False


class _Same:
    """One material for all faces."""

    def __init__(self, value: Any) -> None:
        self.value = value


def _walk(boundaries: Any, values: Any, material: Any, images: Any, depth: int, at: tuple[int, ...] = ()) -> Iterator[tuple[tuple[int, ...], list[Any], Any, Any, Any]]:
    """Faces with the place of the list that they stand in and what the parallel lists say of them; null at any level holds for all below."""
    if not isinstance(boundaries, list):
        raise TypeError("boundaries are not lists")
    for i, inner in enumerate(boundaries):
        value, color, corners = _at(values, i), _at(material, i), _at(images, i)
        if depth:
            yield from _walk(inner, value, color, corners, depth - 1, (*at, i))
        else:
            yield at, inner, value, color.value if isinstance(color, _Same) else color, corners


def _at(values: Any, i: int) -> Any:
    return values if isinstance(values, _Same) else values[i] if isinstance(values, list) and i < len(values) else None


def _surfaces(geometry: dict[str, Any], first: int) -> list[Surface]:
    """The semantic surfaces of a geometry, numbered from `first`."""
    found = []
    listed = (geometry.get("semantics") or {}).get("surfaces") or []
    for raw in listed:
        attributes = {key: value for key, value in raw.items() if key not in ("type", "parent", "children")}
        above = raw.get("parent")
        known = isinstance(above, int) and 0 <= above < len(listed)
        found.append(Surface(str(raw["type"]), attributes, first + above if known else None))
    return found
