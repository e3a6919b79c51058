"""City objects → Mesh batches: faces triangulated in their own planes, closed solids turned outward, templates as instances."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa
import shapely
from numpy.typing import NDArray

from ingest_bim.citymodels import kernels, volumes
from ingest_bim.citymodels.faces import F32, HOLES, I32, Faces, Flat, corner_uv, flattened, triangulate_flat
from ingest_bim.citymodels.objects import CityObject, Columns, Shape, metres_of
from ingest_bim.citymodels.solids import inside_out, solid_volumes
from ingest_bim.citymodels.textures import Pictures
from twin import grading
from twin.model import Material, Mesh, Reference, Report, Texture

F64 = NDArray[np.float64]
MAX_TRIANGLES = 500_000
MAX_ROWS = 16_384
"""Features that a batch may hold: with their attributes some 5 kB each while it is built, which the parser and the writer need beside it."""
MAX_IMAGES = 128 << 20
"""Bytes of image files that a batch may hold."""
OPENINGS, SPACES = ("Door", "Window"), ("Room", "BuildingRoom", "BuildingUnit", "BuildingStorey", "Storey", "HollowSpace", "BridgeRoom", "IntRoom")
RELIEF = ("TINRelief", "ReliefFeature", "RasterRelief", "BreaklineRelief", "MassPointRelief")
#: Areas of a plan, which lie on the ground: zones of PLATEAU's urban planning (i-UR) among them.
PLANS, URBAN_PLANNING = ("LandUse",), "urf:"

#: Characters of an id: it stands in addresses, and again in each of an object's surfaces.
MAX_ID = 2000
#: Ids that surfaces get: their object's and a number. They are not kept in memory to find repeated ids.
SURFACE = re.compile(r"#\d+$")
#: How types are drawn where the source states no colour (sRGB and alpha).
COLORS = {
    "RoofSurface": (0.70, 0.34, 0.27, 1.0), "WallSurface": (0.86, 0.83, 0.77, 1.0), "GroundSurface": (0.52, 0.50, 0.47, 1.0),
    "ClosureSurface": (0.8, 0.8, 0.8, 0.4), "Window": (0.45, 0.62, 0.78, 0.7), "Door": (0.48, 0.33, 0.2, 1.0),
    "WaterBody": (0.35, 0.55, 0.75, 0.8), "WaterSurface": (0.35, 0.55, 0.75, 0.8), "Road": (0.45, 0.45, 0.47, 1.0),
    "TrafficArea": (0.45, 0.45, 0.47, 1.0), "PlantCover": (0.42, 0.6, 0.33, 1.0), "SolitaryVegetationObject": (0.33, 0.53, 0.27, 1.0),
    "LandUse": (0.72, 0.76, 0.6, 1.0), "TINRelief": (0.63, 0.6, 0.5, 1.0), "Bridge": (0.66, 0.66, 0.68, 1.0),
    "TrafficSpace": (0.45, 0.45, 0.47, 0.3), "AuxiliaryTrafficSpace": (0.45, 0.45, 0.47, 0.3), "ClearanceSpace": (0.8, 0.8, 0.8, 0.2),
}  # fmt: skip


@dataclass
class MeshBatch:
    """One Mesh under way."""

    ids: list[str] = field(default_factory=list)
    parents: list[str | None] = field(default_factory=list)
    rows: list[dict[str, Any]] = field(default_factory=list)
    positions: list[F64] = field(default_factory=list)
    triangles: list[I32] = field(default_factory=list)
    vertex_counts: list[int] = field(default_factory=list)
    triangle_counts: list[int] = field(default_factory=list)
    material_of: list[I32] = field(default_factory=list)
    materials: dict[Material, int] = field(default_factory=dict)
    prototypes: dict[str, int] = field(default_factory=dict)
    instances: list[tuple[int, int]] = field(default_factory=list)
    transforms: list[F64] = field(default_factory=list)
    """(4, 4) of an instance, or (K, 3) of K ones that are only moved."""
    uv: list[F32 | None] = field(default_factory=list)
    colors: list[NDArray[np.uint8] | None] = field(default_factory=list)
    images: dict[str, bytes] = field(default_factory=dict)
    outlines: dict[int, Any] = field(default_factory=dict)
    enclosed: dict[str, list[float | str]] = field(default_factory=dict)
    """By prototype, the volumes of its solids."""
    count: int = 0
    image_bytes: int = 0

    @property
    def full(self) -> bool:
        """Whether it is time for the next one."""
        return self.count >= MAX_TRIANGLES or len(self.ids) >= MAX_ROWS or self.image_bytes >= MAX_IMAGES

    def image(self, texture: Texture | None, pictures: Pictures | None) -> None:
        """Take the image of a texture along."""
        if texture is not None and pictures is not None and texture.image not in self.images:
            self.images[texture.image] = pictures.data(texture.image)
            self.image_bytes += len(self.images[texture.image])

    def feature(self, name: str, parent: str | None, row: dict[str, Any]) -> int:
        """Add a feature; its row."""
        self.ids.append(name)
        self.parents.append(parent)
        self.rows.append(row)
        return len(self.ids) - 1

    def material(self, material: Material) -> int:
        """The number of a material."""
        return self.materials.setdefault(material, len(self.materials))

    def prototype(self, positions: F64, triangles: I32, materials: I32, uv: F32 | None = None, colors: NDArray[np.uint8] | None = None) -> int:
        """Add a shape; its number."""
        return self.prototypes_of(positions, triangles, materials, [len(positions)], [len(triangles)], uv, colors)

    def prototypes_of(self, positions: F64, triangles: I32, materials: I32, vertex_counts: list[int], triangle_counts: list[int],
                      uv: F32 | None = None, colors: NDArray[np.uint8] | None = None) -> int:  # fmt: skip
        """Add shapes that lie one after the other in arrays; the number of the first."""
        first = len(self.vertex_counts)
        self.uv.append(uv)
        self.colors.append(colors)
        self.positions.append(positions)
        self.triangles.append(triangles)
        self.vertex_counts += vertex_counts
        self.triangle_counts += triangle_counts
        self.material_of.append(materials)
        self.count += len(triangles)
        return first

    def mesh(self, reference: Reference, columns: Columns, schema: pa.Schema) -> Mesh:
        """The batch; equal schema for all of a source."""

        def joined(parts: list[Any], shape: tuple[int, ...], kind: Any) -> Any:
            return np.concatenate(parts) if parts else np.zeros(shape, kind)

        instances = np.array(self.instances, np.int32).reshape(-1, 2)
        sizes = [len(part) for part in self.triangles]
        uv = [np.full((n, 3, 2), np.nan, np.float32) if part is None else part for n, part in zip(sizes, self.uv, strict=True)]
        colors = [np.full((n, 3, 4), 255, np.uint8) if part is None else part for n, part in zip(sizes, self.colors, strict=True)]
        outlines = np.full(len(self.ids), None, dtype=object)
        outlines[list(self.outlines)] = list(self.outlines.values())
        return Mesh(
            reference, pa.array(self.ids, pa.string()), columns.table(self.rows, schema),
            joined(self.positions, (0, 3), np.float64), joined(self.triangles, (0, 3), np.int32), joined(self.material_of, (0,), np.int32),
            np.cumsum([0, *self.vertex_counts], dtype=np.int64), np.cumsum([0, *self.triangle_counts], dtype=np.int64),
            instances[:, 0], instances[:, 1], _matrices(self.transforms, len(instances)),
            tuple(self.materials) or (Material(),), pa.array(self.parents, pa.string()),
            np.concatenate(uv) if any(part is not None for part in self.uv) else None,
            np.concatenate(colors) if any(part is not None for part in self.colors) else None,
            self.images, outlines if self.outlines else None,
        )  # fmt: skip


class Builder:
    """Objects one after the other → batches; what was found on the way is in the report at the end."""

    def __init__(self, reference: Reference, columns: Columns, report: Report, *, surfaces: bool = True, pictures: Pictures | None = None) -> None:
        self.reference, self.columns, self.report, self.surfaces, self.pictures = reference, columns, report, surfaces, pictures
        self.schema = columns.schema(report)
        self.seen: set[str] = set()
        self.classes: Counter[str] = Counter()
        self.lods: Counter[str] = Counter()
        self.undrawn: Counter[str] = Counter()
        self.grades: Counter[str] = Counter()
        self.stats: Counter[str] = Counter()

    def build(self, objects: Iterable[CityObject]) -> Iterator[Mesh]:
        """All objects as batches of bounded size."""
        batch = MeshBatch()
        for thing in objects:
            self.report.read += 1
            if len(thing.id) > MAX_ID:
                self.report.note("refused", thing.id[:60] + "…", f"{thing.kind}: its id has {len(thing.id):,} characters; {MAX_ID} are read.")
                continue
            if thing.id in self.seen or (SURFACE.search(thing.id) and thing.id.rpartition("#")[0] in self.seen):
                self.report.note("refused", thing.id, f"{thing.kind}: the id occurs a second time; the first object is kept.")
                continue
            self.seen.add(thing.id)
            self._add(batch, thing)
            self.report.kept += 1
            if batch.full:
                yield batch.mesh(self.reference, self.columns, self.schema)
                batch = MeshBatch()
        if batch.ids:
            yield batch.mesh(self.reference, self.columns, self.schema)
        self._finish()

    def _finish(self) -> None:
        report = self.report
        report.facts["classes"] = dict(sorted(self.classes.items()))
        report.facts["lods"] = dict(sorted(self.lods.items()))
        if self.undrawn:
            report.facts["lods_not_drawn"] = dict(sorted(self.undrawn.items()))
        report.facts["geometry"] = dict(self.stats)
        report.facts["content"] = {"objects": self.stats["drawn"], "grades": dict(sorted(self.grades.items()))}
        report.facts["style"] = {"category": "class"}

    def _add(self, batch: MeshBatch, thing: CityObject) -> None:
        self.classes[thing.kind] += 1
        self.undrawn.update(lod for lod in thing.lods if lod != thing.lod)
        graded = self._grade(thing)
        row = self.columns.row(thing.attributes, **{"class": thing.kind}, lod=thing.lod, cim_grade=graded, address=thing.address, groups=thing.groups)
        own = batch.feature(thing.id, thing.parent, row)
        owners = [own] * (len(thing.surfaces) + 1)  # the last entry is that of faces without a surface
        if self.surfaces:
            for i, surface in enumerate(thing.surfaces):
                parent = f"{thing.id}#{surface.parent}" if surface.parent is not None else thing.id
                owners[i] = batch.feature(f"{thing.id}#{i}", parent, self.columns.row(surface.attributes, **{"class": surface.kind}, lod=thing.lod, cim_grade=graded))
                self.classes[surface.kind] += 1
        drawn = False
        for shape in thing.shapes:
            drawn |= self._shape(batch, thing, shape, owners)
        for key, shape, matrix in thing.instances:
            drawn |= self._instance(batch, thing, key, shape, matrix, own)
        if (volume := self._volume(batch, thing)) is not None:
            row["solid_volume"] = volume
        if thing.lines and not drawn:
            batch.outlines[own] = plan(thing.lines)
        if drawn:
            self.lods[thing.lod] += 1
            self.grades[graded] += 1
            self.stats["drawn"] += 1
        elif thing.shapes or thing.instances:
            self.report.note("skipped", thing.id, f"{thing.kind}: none of its faces can be drawn.")

    def _grade(self, thing: CityObject) -> str:
        """The object's own CIM grade, "" for one that has nothing to draw."""
        if not thing.shapes and not thing.instances:
            return ""
        if (stated := str(thing.attributes.get("cim_grade", "")).strip().upper()) in grading.GRADES:
            return stated  # by whoever made the model
        kinds = {surface.kind for surface in thing.surfaces} | {thing.kind}
        textured = any(face.uv is not None for shape in (*thing.shapes, *(shape for _, shape, _ in thing.instances)) for face in shape.faces)
        ground = thing.kind in (*RELIEF, *PLANS) or thing.kind.startswith(URBAN_PLANNING)
        return grading.of_object(thing.lod, terrain=ground, openings=bool(kinds & set(OPENINGS)), spaces=thing.kind in SPACES,
                                 roofs="RoofSurface" in kinds, textured=textured)  # fmt: skip

    def _volume(self, batch: MeshBatch, thing: CityObject) -> float | None:
        """What all solids of the object enclose, m³; None with one that is not closed, which is reported.

        Of an object that has none, all its faces together count as one where they happen to be closed.
        """
        found: list[float | str] = []
        stated = any(shape.solids for shape in thing.shapes) or any(shape.solids for _, shape, _ in thing.instances)
        for shape in thing.shapes:
            if len(shape.vertices):
                found += _enclosed(shape, metres_of(self.reference, float(shape.vertices[0, 1])), stated=stated)
        for key, shape, matrix in thing.instances:
            if key not in batch.enclosed:
                batch.enclosed[key] = _enclosed(shape, np.ones(3), stated=stated)
            larger = abs(float(np.linalg.det(matrix[:3, :3]))) * float(metres_of(self.reference, float(matrix[1, 3])).prod())
            found += [each if isinstance(each, str) else each * larger for each in batch.enclosed[key]]
        wrong = [each for each in found if isinstance(each, str)]
        self.stats["closed solids"] += len(found) - len(wrong)
        self.stats["open solids"] += len(wrong)
        if wrong:
            self.report.note("warned", thing.id, f"{thing.kind}: no volume is stated, for {len(wrong)} of its {len(found)} solids is not closed: {wrong[0]}.")
        return sum(each for each in found if isinstance(each, float)) if found and not wrong else None

    def _shape(self, batch: MeshBatch, thing: CityObject, shape: Shape, owners: list[int]) -> bool:
        faces, closed, flat = self._faces(thing, shape, metres_of(self.reference, float(shape.vertices[0, 1])) if len(shape.vertices) else np.ones(3))
        if not len(faces.triangles):
            return False
        looks = self._looks(batch, thing, shape, closed)
        uv = corner_uv(faces, shape.faces, flat, len(shape.vertices))
        owner = np.array([owners[face.surface] for face in shape.faces], np.int64)[faces.face]
        order = np.argsort(owner, kind="stable")
        features, sizes, triangles, counts, points, origins = kernels.by_owner(faces.triangles, owner, order, shape.vertices)
        number = batch.prototypes_of(points, triangles, looks[faces.face[order]], counts.tolist(), sizes.tolist(), None if uv is None else uv[order])
        batch.instances += enumerate(features.tolist(), number)
        batch.transforms.append(origins)
        self.stats["triangles"] += len(triangles)
        return True

    def _instance(self, batch: MeshBatch, thing: CityObject, key: str, shape: Shape, matrix: F64, feature: int) -> bool:
        if any(face.material is None for face in shape.faces):
            key = f"{key} of {thing.kind}"  # whose colour such faces have
        if key not in batch.prototypes:
            faces, closed, flat = self._faces(thing, shape, np.ones(3))
            looks = self._looks(batch, thing, shape, closed)
            uv = corner_uv(faces, shape.faces, flat, len(shape.vertices))
            batch.prototypes[key] = batch.prototype(shape.vertices, faces.triangles, looks[faces.face], uv) if len(faces.triangles) else -1
        if batch.prototypes[key] < 0:
            return False
        batch.instances.append((batch.prototypes[key], feature))
        batch.transforms.append(matrix)
        self.stats["instances"] += 1
        return True

    def _looks(self, batch: MeshBatch, thing: CityObject, shape: Shape, closed: bool) -> I32:
        """(F,) numbers of the faces' materials; what is not closed is drawn from both sides, what has no colour in that of its class."""
        known: dict[tuple[int, int], int] = {}
        found = []
        for face in shape.faces:
            key = (id(face.material), face.surface)
            if key not in known:
                material = face.material
                if material is None:
                    kind = thing.surfaces[face.surface].kind if 0 <= face.surface < len(thing.surfaces) else thing.kind
                    material = Material("", COLORS.get(kind, COLORS.get(thing.kind, (0.8, 0.8, 0.8, 1.0))))
                batch.image(material.texture, self.pictures)
                known[key] = batch.material(material if closed or material.double_sided else replace(material, double_sided=True))
            found.append(known[key])
        return np.array(found, np.int32)

    def _faces(self, thing: CityObject, shape: Shape, metres: F64) -> tuple[Faces, bool, Flat]:
        """(the triangles of a shape, whether they close it, its rings as arrays); bad faces are counted and reported."""
        local = (shape.vertices - (shape.vertices[0] if len(shape.vertices) else 0)) * metres
        flat = flattened([face.rings for face in shape.faces])
        faces = triangulate_flat(local, flat)
        note = self.report.note
        if faces.degenerate:
            note("skipped", thing.id, f"{thing.kind}: {faces.degenerate} of {len(shape.faces)} faces have no area.")
        if faces.pierced:
            note("skipped", thing.id, f"{thing.kind}: {faces.pierced} of {len(shape.faces)} faces have more than {HOLES:,} holes; deliver them in parts.")
        if faces.bent:
            note("warned", thing.id, f"{thing.kind}: {faces.bent} of {len(shape.faces)} faces are not flat (up to {faces.worst:.3g} m).")
        if faces.crossing:
            note("warned", thing.id, f"{thing.kind}: {faces.crossing} of {len(shape.faces)} faces cross themselves.")
        closed, volume = volumes.closed_volume(local, faces.triangles)
        if closed and volume < 0:
            faces.triangles = np.ascontiguousarray(faces.triangles[:, ::-1])
            note("repaired", thing.id, f"{thing.kind}: the solid was inside out and is turned.")
        elif len(shape.solids) > 1 and (turned := inside_out(shape, local, faces.triangles, faces.face)).any():
            of_turned = turned[faces.face]
            faces.triangles[of_turned] = faces.triangles[of_turned, ::-1]
            note("repaired", thing.id, f"{thing.kind}: of its solids some were inside out ({turned.sum()} faces) and are turned.")
        return faces, closed, flat


def _matrices(transforms: list[F64], count: int) -> F64:
    """(I, 4, 4) of transforms as a batch keeps them."""
    found = np.tile(np.eye(4), (count, 1, 1))
    at = 0
    for each in transforms:
        if each.shape == (4, 4):
            found[at] = each
            at += 1
        else:
            found[at : at + len(each), :3, 3] = each
            at += len(each)
    return found


def _enclosed(shape: Shape, metres: F64, *, stated: bool) -> list[float | str]:
    """The volumes of a shape's solids; where none are stated, that of all its faces, if they are closed."""
    if stated or not shape.faces:
        return solid_volumes(shape.vertices * metres, shape.solids)
    return [each for each in solid_volumes(shape.vertices * metres, [[[face.rings for face in shape.faces]]], why=False) if isinstance(each, float)]


def plan(lines: list[F64]) -> Any:
    """Points and lines as one geometry (with heights)."""
    shapes = [shapely.Point(line[0]) if len(line) == 1 else shapely.LineString(line) for line in lines]
    return shapes[0] if len(shapes) == 1 else shapely.GeometryCollection(shapes)


def text_of(lines: list[F64]) -> str:
    """Points and lines in coordinates of the reference as WKT: what an attribute can hold of them."""
    return str(shapely.to_wkt(plan(lines), rounding_precision=-1))
