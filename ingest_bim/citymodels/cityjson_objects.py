"""One CityJSON document (or feature of a sequence) → CityObjects with the shapes of the LoD to draw."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ingest_bim.citymodels.cityjson_faces import DEPTH, MAX_FACES, Same, fits, is_face, leads_nowhere, sound, surfaces_of, walk
from ingest_bim.citymodels.cityjson_faces import count as count_faces
from ingest_bim.citymodels.cityjson_header import MALFORMED, Header, Looks, lod_of, own_header, points_of
from ingest_bim.citymodels.cityjson_tree import GROUP, TYPES, parents_of
from ingest_bim.citymodels.mesh import text_of
from ingest_bim.citymodels.objects import CityObject, Face, Shape, Shell, Surface, choose_lod, draw_once, lod_rank
from ingest_bim.citymodels.textures import Pictures, no_themes
from ingest_bim.wording import in_words
from twin.model import Report

F64 = NDArray[np.float64]

LINES = ("MultiPoint", "MultiLineString")
KNOWN = {"type", "attributes", "geometry", "parents", "children", "children_roles", "address", "geographicalExtent"}
#: Of these, what a group alone says: its members need not name it, and their roles stand nowhere else.
OF_GROUPS = ("children", "children_roles")


class Document:
    """A document or feature: its objects in order, with shapes of one LoD each."""

    def __init__(self, document: dict[str, Any], header: Header, lod: str | None, report: Report) -> None:
        self.header, self.lod, self.report = header, lod, report
        self.themes = no_themes()
        self.chosen: dict[Any, str | None] = {"materials": None, "textures": None}
        self.pictures: Pictures | None = None
        things = document.get("CityObjects")
        self.things: dict[str, Any] = things if isinstance(things, dict) else {}
        if not isinstance(things, dict):
            report.note("refused", str(document.get("id", "")), "CityObjects is missing or not an object.")
        self.document, self.vertices, self.looks = document, np.zeros((0, 3)), header.looks
        self.parents = parents_of(self.things, report)

    def _read_geometry(self) -> None:
        """The vertices and the appearance of the document, without which its objects have no shapes."""
        document, report = self.document, self.report
        name = str(document.get("id", ""))
        header = self.header = own_header(document, self.header, report)
        try:
            self.vertices, kind = points_of(document.get("vertices") or [])
            if kind == "U":
                report.note("assumed", name, "Its vertices are texts, read as the numbers that they show.")
            if header.transformed and kind != "i" and (self.vertices != np.rint(self.vertices)).any():
                report.note("assumed", name, "Its vertices are not whole numbers, though there is a transform, which is done to them as to others.")
            self.vertices = self.vertices if (header.order == (0, 1, 2)).all() else self.vertices[:, header.order]
            self.looks = Looks.of(document) if document.get("type") == "CityJSONFeature" and document.get("appearance") else header.looks
        except MALFORMED as error:
            report.note("refused", name, f"Its vertices or appearance are malformed: {in_words(error)}; its geometry is left out.")
            self.vertices, self.looks = np.zeros((0, 3)), Looks()

    def objects(self, *, shapes: bool) -> Iterator[CityObject]:
        """All city objects; `shapes=False` leaves the geometry out (for the columns), not the surfaces' attributes."""
        if shapes:
            self._read_geometry()
            version = self.document.get("version")
            if self.document.get("type") == "CityJSONFeature" and version is not None and str(version) != self.header.version:
                self.report.note("warned", str(self.document.get("id", "")), f"The feature is of version {str(version)[:20]}; it is read as the header's, {self.header.version}.")
        finest = self._finest_below() if shapes else {}
        for name, raw in self.things.items():
            try:
                yield self._object(name, raw, shapes, finest.get(name, -2.0))
            except MALFORMED as error:
                self.report.note("refused", name, f"The object is malformed: {in_words(error)}.")

    def _finest_below(self) -> dict[str, float]:
        """For each object, the best LoD among its parts (not its installations): a coarse hull is not drawn over its own fine parts."""
        finest: dict[str, float] = {}
        parts = [name for name in self.parents if str(self.things[name].get("type")).endswith("Part")]
        own = {name: max((lod_rank(lod) for lod in self._lods(_geometries(self.things[name]))), default=-2.0) for name in parts}
        for name in sorted(parts, key=lambda part: -own[part]):  # the finest first: what one of them has met need not be climbed again
            queue = list(self.parents[name])
            while queue:
                above = queue.pop()
                if above in finest or above == name or above not in self.parents or self.things[above].get("type") == GROUP:
                    continue
                finest[above] = own[name]
                queue.extend(self.parents[above])
        return finest

    def _lods(self, geometries: list[dict[str, Any]]) -> list[str]:
        lods = [self._lod_of(g) for g in geometries if g["type"] in DEPTH or g["type"] == "GeometryInstance"]
        chosen = choose_lod(lods, self.lod)
        return [] if chosen is None else [chosen]

    def _lod_of(self, geometry: dict[str, Any]) -> str:
        if geometry["type"] == "GeometryInstance":
            geometry = self._template(geometry)
        return lod_of(geometry.get("lod"))

    def _template(self, geometry: dict[str, Any]) -> dict[str, Any]:
        number = geometry.get("template")
        if leads_nowhere(number, len(self.header.templates)) or number is None:
            return {}
        template = self.header.templates[number]
        return template if isinstance(template, dict) else {}

    def _object(self, name: str, raw: dict[str, Any], shapes: bool, finest: float) -> CityObject:
        kind, stated, geometries = str(raw["type"]), raw.get("attributes"), _geometries(raw)
        groups = [p for p in self.parents[name] if p in self.parents and self.things[p].get("type") == GROUP]
        others = [p for p in self.parents[name] if p not in groups]
        attributes = dict(stated) if isinstance(stated, dict) else {}
        attributes |= {key: value for key, value in raw.items() if key not in KNOWN or (kind == GROUP and key in OF_GROUPS)}  # and what extensions add
        thing = CityObject(name, kind, others[0] if others else None, attributes, raw.get("address"), groups + others[1:])
        lods = self._lods(geometries)
        if not shapes:
            thing.attributes |= {_line_name(g): "" for g in geometries if lods and g["type"] in LINES}
            for geometry in geometries:
                if geometry["type"] not in (*DEPTH, "GeometryInstance") or not lods or self._lod_of(geometry) != lods[0]:
                    continue
                if geometry["type"] in DEPTH:
                    thing.surfaces.extend(self._surfaces(thing, geometry, 0) or [])
                looks = geometry if geometry["type"] in DEPTH else self._template(geometry)
                for themes in ("materials", "textures"):
                    if isinstance(named := looks.get(themes[:-1]), dict):
                        self.themes[themes].update(str(theme) for theme in named)
            return thing
        self._oddities(thing, raw, others, geometries)
        thing.address = self._address(thing.address)
        thing.lods = sorted({self._lod_of(g) for g in geometries if g["type"] in (*DEPTH, *LINES, "GeometryInstance")}, key=lod_rank)
        if not lods:
            self._lines(thing, geometries)
            return thing
        for geometry in geometries:
            if geometry["type"] in LINES and (lines := self._lines_of(thing, geometry)):
                thing.attributes[_line_name(geometry)] = text_of(lines)
        thing.lod = lods[0]
        if lod_rank(lods[0]) < finest:
            self.report.note("skipped", name, f"{thing.kind}: its LoD {lods[0]} is not drawn over its own parts of a finer LoD.")
            return thing
        drawn = [g for g in geometries if (g["type"] in DEPTH or g["type"] == "GeometryInstance") and self._lod_of(g) == lods[0]]
        for geometry in sorted(drawn, key=lambda g: not g.get("semantics")):  # stable: those with semantics first
            try:
                self._instance(thing, geometry) if geometry["type"] == "GeometryInstance" else self._faces(thing, geometry)
            except MALFORMED as error:
                self.report.note("refused", name, f"{thing.kind}: its {geometry['type']} is malformed and left out: {in_words(error)}.")
        draw_once(thing)
        return thing

    def _oddities(self, thing: CityObject, raw: dict[str, Any], parents: list[str], geometries: list[dict[str, Any]]) -> None:
        """Say what an object has that is not as the specification asks, and what of it is not read."""
        note, name = self.report.note, thing.id
        if thing.kind not in TYPES and not thing.kind.startswith("+"):
            note("warned", name, f"{thing.kind[:60]!r} is no type of CityJSON, nor that of an extension (which begins with +); it is kept as it is.")
        if missing := [p for p in parents if p not in self.things]:
            note("warned", name, f"{thing.kind}: its parent {missing[0]!r} is not among the objects of the file (or of its feature).")
        if not isinstance(raw.get("attributes"), dict | None):
            note("refused", name, f"{thing.kind}: its attributes are not an object and are left out.")
        stated = raw.get("geometry")
        if not isinstance(stated, list | None):
            note("refused", name, f"{thing.kind}: its geometry is not a list and is left out.")
        elif bad := len(stated or []) - len(geometries):
            note("refused", name, f"{thing.kind}: {bad} of its {len(stated or [])} geometries are not objects with a type and are left out.")
        for geometry in geometries:
            if geometry["type"] not in (*DEPTH, *LINES, "GeometryInstance"):
                note("skipped", name, f"Geometry of type {geometry['type'][:40]!r} is not known and not kept.")
            elif geometry["type"] != "GeometryInstance" and (lod := lod_of(own := geometry.get("lod"))) != str(own):
                note("assumed", name, f"Its {geometry['type']} states {'no LoD' if own is None else f'the LoD {str(own)[:20]!r}'}: "
                                      f"{f'{lod} is taken' if lod else 'it counts as the lowest'}.")  # fmt: skip

    def _address(self, address: Any) -> Any:
        """An address whose location is in coordinates: the numbers of vertices mean nothing outside of the file."""
        listed = address if isinstance(address, list) else [address]
        for i, each in enumerate(listed):
            place = each.get("location") if isinstance(each, dict) else None
            if isinstance(place, dict) and sound([[at := place.get("boundaries")]], 0, len(self.vertices)):
                points = self.vertices[np.array(at)] * self.header.scale + self.header.translate
                rest = {key: value for key, value in place.items() if key != "boundaries"}
                listed = [*listed[:i], {**each, "location": rest | {"coordinates": points.tolist()}}, *listed[i + 1 :]]
        return listed if isinstance(address, list) else listed[0]

    def _lines(self, thing: CityObject, geometries: list[dict[str, Any]]) -> None:
        """Of an object without faces: its points and lines of the LoD to draw, kept as plan geometry."""
        if geometries and self.lod is not None:
            self.report.note("skipped", thing.id, f"It has no geometry of LoD {self.lod} with faces.")
        known = [g for g in geometries if g["type"] in LINES]
        lod = choose_lod([self._lod_of(g) for g in known], self.lod)
        thing.lines = [line for g in known if self._lod_of(g) == lod for line in self._lines_of(thing, g)]
        if thing.lines:
            thing.lod = lod or ""
            self.report.note("warned", thing.id, f"{thing.kind}: its {len(thing.lines)} points or lines are kept as a plan geometry and not drawn.")

    def _lines_of(self, thing: CityObject, geometry: dict[str, Any]) -> list[F64]:
        """The points (N = 1) and lines of a geometry, (N, 3) each."""
        found, boundaries = [], geometry.get("boundaries")
        for each in boundaries if isinstance(boundaries, list) else [boundaries]:
            line = [each] if geometry["type"] == "MultiPoint" and not isinstance(each, list) else each
            if sound([[line]], 0, len(self.vertices)):
                found.append(self.vertices[np.array(line)] * self.header.scale + self.header.translate)
            else:
                self.report.note("refused", thing.id, f"A line with vertices {str(line)[:40]} is left out: there are {len(self.vertices)}.")
        return found

    def _instance(self, thing: CityObject, geometry: dict[str, Any]) -> None:
        """A template placed at a point: `transformationMatrix` (row-major) in metres, then moved to the reference point."""
        template = self._template(geometry)
        if template.get("type") not in DEPTH:
            self.report.note("refused", thing.id, f"The geometry template {str(geometry.get('template'))[:20]} does not exist or has no faces.")
            return
        place = geometry["boundaries"]
        if not isinstance(place, list) or len(place) != 1:
            raise ValueError("its boundaries are not one vertex, at which the template stands")
        at = place[0]
        if at is None or leads_nowhere(at, len(self.vertices)):
            self.report.note("refused", thing.id, f"The template is placed at vertex {str(at)[:20]}; there are {len(self.vertices)}.")
            return
        matrix = np.array(geometry.get("transformationMatrix") or np.eye(4), np.float64)
        if matrix.size != 16 or not np.isfinite(matrix).all():
            raise ValueError(f"its transformationMatrix has {matrix.size} numbers, not 16" if matrix.size != 16 else "its transformationMatrix is not finite")
        matrix = matrix.reshape(4, 4)
        if np.linalg.det(matrix[:3, :3]) == 0:
            raise ValueError("its transformationMatrix presses the template flat")
        if (matrix[3] != (0, 0, 0, 1)).any():
            self.report.note("assumed", thing.id, "The last row of its transformationMatrix is taken as 0 0 0 1 (a matrix is stated row by row).")
            matrix[3] = 0, 0, 0, 1
        matrix = matrix[np.ix_([*self.header.order, 3], [*self.header.order, 3])]
        matrix[:3, 3] += self.vertices[at] * self.header.scale + self.header.translate
        own, self.looks = self.looks, self.header.looks  # a template's materials and textures are the header's, whatever a feature brings itself (CityJSON 2.0.1, 7.2)
        try:
            shape = self._shape(thing, template, self.header.template_vertices, np.ones(3), np.zeros(3), None)
        finally:
            self.looks = own
        if shape.faces:
            thing.instances.append((f"template {geometry['template']}", shape, matrix))
        if template.get("semantics") and not self.header.said:
            self.header.said.append("templates")
            self.report.note("skipped", "", "What templates say of their surfaces (roof, wall, …) is not kept: an instance is one feature.")

    def _faces(self, thing: CityObject, geometry: dict[str, Any]) -> None:
        """A geometry of the object's own, with its semantic surfaces."""
        surfaces = self._surfaces(thing, geometry, len(thing.surfaces))
        shape = self._shape(thing, geometry, self.vertices, self.header.scale, self.header.translate, surfaces)
        thing.surfaces.extend(surfaces or [])
        if shape.faces:
            thing.shapes.append(shape)

    def _surfaces(self, thing: CityObject, geometry: dict[str, Any], first: int) -> list[Surface] | None:
        """Its semantic surfaces; None where they are malformed."""
        try:
            return surfaces_of(geometry, first)
        except MALFORMED as error:
            self.report.note("refused", thing.id, f"{thing.kind}: the semantics of its {geometry['type']} are malformed and left out: {in_words(error)}.")
            return None

    def _theme(self, thing: CityObject, geometry: dict[str, Any], kind: str) -> dict[str, Any]:
        """What the chosen theme says of a geometry's faces, {} for nothing."""
        themes = geometry.get(kind)
        theme = themes.get(self.chosen[f"{kind}s"]) if isinstance(themes, dict) else themes
        if isinstance(theme, dict | None):
            return theme or {}
        self.report.note("skipped", thing.id, f"{thing.kind}: the {kind}s of its {geometry['type']} are not objects by theme; its faces are drawn plain.")
        return {}

    def _shape(self, thing: CityObject, geometry: dict[str, Any], vertices: F64, scale: F64, translate: F64, surfaces: list[Surface] | None) -> Shape:
        """Faces with the numbers of their surfaces (the object's, of which these are the next) and materials; faces with wrong indices are refused one by one."""
        depth, note, name, boundaries = DEPTH[geometry["type"]], self.report.note, thing.id, geometry.get("boundaries")
        if (many := count_faces(boundaries, depth)) > MAX_FACES:
            note("refused", name, f"{thing.kind}: its {geometry['type']} has {many:,} faces; {MAX_FACES:,} are read. Deliver it in parts.")
            return Shape(np.zeros((0, 3)), [])
        faces: list[Face] = []
        wrong: list[Any] = []
        first, astray, unfit, unlike = len(thing.surfaces), 0, 0, 0
        values, count = None if surfaces is None else (geometry.get("semantics") or {}).get("values"), len(surfaces or [])
        theme = self._theme(thing, geometry, "material")
        material = theme.get("values") if "values" in theme else Same(theme.get("value"))
        images = self._theme(thing, geometry, "texture").get("values") if self.pictures is not None else None
        shells: dict[tuple[int, ...], Shell] = {}
        alright = sound(boundaries, depth, len(vertices))
        for at, rings, value, color, corners in walk(boundaries, values, material, images, depth):
            shell = shells.setdefault(at, [])
            if not alright:
                if not is_face(rings):
                    unlike += 1
                    continue
                if bad := [i for ring in rings for i in ring if i is None or leads_nowhere(i, len(vertices))]:
                    wrong.extend(bad)
                    continue
            face = Face(list(rings))
            if leads_nowhere(value, count):
                astray += 1
            elif value is not None:
                face.surface = first + value
            if color is not None:
                if leads_nowhere(color, len(self.looks.materials)):
                    astray += 1
                else:
                    face.material = self.looks.materials[color]
            if corners is not None:
                unfit += not self._texture(face, corners)
            faces.append(face)
            shell.append(face.rings)
        for what, listed in (("semantics", values), ("materials", material), ("textures", images)):
            if not fits(listed, boundaries, depth):
                note("skipped", name, f"{thing.kind}: the {what} of its {geometry['type']} are not listed as its faces are; faces for which nothing is found have none.")
        if count and values is None:
            note("skipped", name, f"{thing.kind}: its {geometry['type']} has {count} semantic surfaces and does not say which faces are theirs.")
        if astray:
            note("skipped", name, f"{astray} numbers of surfaces or materials lead to nothing ({count} surfaces, {len(self.looks.materials)} materials).")
        if unfit:
            note("skipped", name, f"The texture coordinates of {unfit} faces do not fit their rings; they are drawn plain.")
        if unlike:
            note("refused", name, f"{thing.kind}: {unlike} faces are left out, for they are not lists of rings: the boundaries of its {geometry['type']} are nested otherwise.")
        if wrong:
            note("refused", name, f"Faces with vertex {repr(wrong[0])[:40]} are left out: there are {len(vertices)} vertices ({len(wrong)} wrong indices).")
        if not faces:
            if not unlike and not wrong:
                note("skipped", name, f"{thing.kind}: its {geometry['type']} has no faces.")
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


def _geometries(raw: dict[str, Any]) -> list[dict[str, Any]]:
    """Those that are objects with a type."""
    stated = raw.get("geometry")
    return [g for g in stated if isinstance(g, dict) and isinstance(g.get("type"), str)] if isinstance(stated, list) else []


def _line_name(geometry: dict[str, Any]) -> str:
    """The attribute that keeps points or lines beside faces, named as CityGML's property of them."""
    return f"lod{lod_of(geometry.get('lod'))}{geometry['type']}"
