"""Meshes with features (IFC and the like) → 3D Tiles.

Instances are baked, every vertex transformed through the map CRS (law 4), a feature id per element with all its
attributes, materials with colour and opacity. The plan is that of `tiling.partition`: large elements at coarse levels, small ones below, each drawn once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field

from tiling import metadata, normals, partition
from tiling.blocks import ABSENCE
from tiling.gltf import Compression, Primitive, Surface, extremes, glb
from tiling.pool import Pool
from tiling.rows import id_hash
from tiling.tileset import Finished, Tile, dump, tileset
from twin import crs, registry
from twin.archive import ArchiveWriter, Packed, pack
from twin.errors import BadFeature
from twin.lake import Lake
from twin.model import LayerVersion, Mesh, Report
from twin.parts import read_meshes
from twin.registry import TileJob

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
CODE_VERSION = "2"
ALONE = 4_000_000
"""Vertices below which starting worker processes costs more than it saves."""
PACKED = 250_000
"""Vertices below which a model is written plain: the codec takes half a second to load, as long as all else for a house."""


class Options(registry.Options):
    """How meshes are tiled."""

    budget: int = Field(60_000, ge=100, le=5_000_000, description="Vertices that a leaf tile may hold.")
    compression: Compression = Field("meshopt", description="EXT_meshopt_compression of a large model's triangles, or none for clients without it.")
    crease: float = Field(30.0, ge=0, le=180, description="Edges steeper than this many degrees stay sharp.")


@dataclass(frozen=True)
class Elements:
    """All features of a layer's meshes, one after the other.

    Attributes:
        meshes: the layer's batches; first: (B + 1,) number of each batch's first feature.
        table: id, attributes (and parent) of every feature.
        instances: per feature, the rows of its batch's instances.
    """

    meshes: list[Mesh]
    first: I64
    table: pa.Table
    instances: list[I64]

    @staticmethod
    def of(lake: Lake, version: LayerVersion) -> Elements:
        """Read them; prototypes stay shared, nothing is baked yet."""
        meshes = list(read_meshes(lake, version))
        if not meshes:
            raise BadFeature(f"Layer {version.layer} holds no meshes.")
        tables, instances = [], []
        for mesh in meshes:
            columns = {"id": mesh.ids, **{n: mesh.attributes.column(n) for n in mesh.attributes.column_names}}
            if mesh.parents is not None and mesh.parents.null_count < len(mesh):
                columns["parent"] = mesh.parents
            tables.append(pa.table(columns))
            order = np.argsort(mesh.instance_feature, kind="stable")
            instances.extend(np.split(order, np.searchsorted(mesh.instance_feature[order], np.arange(1, len(mesh)))))
        first = np.cumsum([0, *map(len, meshes)])
        return Elements(meshes, first, pa.concat_tables(tables, promote_options="default").combine_chunks(), instances)

    def find(self, feature: int) -> Mesh:
        """The batch that holds a feature."""
        return self.meshes[int(np.searchsorted(self.first, feature, side="right")) - 1]


def tile(version: LayerVersion, job: TileJob) -> dict[str, Any]:
    """Write the layer's tileset to `job.out`; see the contract in `tiling`.

    Raises:
        BadFeature: no element has a triangle.
        MissingReference: the heights have no vertical datum.
    """
    elements = Elements.of(job.lake, version)
    report = Report(source=version.layer, read=len(elements.table))
    box, weight = _measure(elements)
    good = np.flatnonzero(np.isfinite(box).all(axis=(1, 2)) & (weight > 0))
    ids = elements.table.column("id")
    for lost in np.setdiff1d(np.arange(len(elements.table)), good):
        report.note("refused", ids[int(lost)].as_py(), "no triangles, or coordinates that are not finite")
    if not len(good):
        raise BadFeature(f"Layer {version.layer}: no element has a triangle that can be drawn.")
    middle = box[good].mean(axis=1)
    lon, lat = crs.to_lonlat(version.reference.horizontal, middle[:, 0], middle[:, 1])
    size = np.linalg.norm(box[good, 1] - box[good, 0], axis=1)
    cells = partition.plan(partition.project(lon, lat), size, weight[good], id_hash(ids.combine_chunks())[good],
                           budget=job.options.budget, share=job.options.budget / 2)  # fmt: skip
    surveys = metadata.survey(elements.table)
    schema = metadata.plan(version.layer, elements.table.schema, surveys, version.columns)
    runs = partition.units(cells, weight[good], 8 * job.options.budget)
    options = job.options if weight.sum() >= PACKED else job.options.model_copy(update={"compression": "none"})
    with Pool(job.workers if weight.sum() > ALONE else 1) as pool, ArchiveWriter(job.out) as archive:
        source = (job.lake, version) if pool.workers > 1 else elements
        tasks = ((source, schema, options, [(cells[i].centre(), good[cells[i].rows]) for i in run]) for run in runs)
        baked: list[Finished] = []
        for unit in pool.map(bake_unit, tasks):
            for one in unit:
                cell = cells[len(baked)]
                if one.packed is not None:
                    archive.add_packed(f"{cell.name}.glb", one.packed)
                    one.packed = Packed(b"", 0, one.packed.size, False)
                for action, feature, reason in one.notes:
                    report.note(action, feature, reason)  # type: ignore[arg-type]
                baked.append(one)
            job.progress(0.05 + 0.93 * len(baked) / len(cells), f"building tiles ({len(baked)} of {len(cells)})")
        report.kept = sum(one.kept for one in baked)
        if not report.kept:
            raise BadFeature(f"Layer {version.layer}: no element has a triangle that can be drawn.")
        tree = [Tile(crs.enu_frame(*c.centre()), ABSENCE * c.error, c.parent, b.low, b.high, f"{c.name}.glb" if b.packed else None)
                for c, b in zip(cells, baked, strict=True)]  # fmt: skip
        document = tileset(tree, error=ABSENCE * float(size.max()), schema=schema.to_json(), statistics=schema.statistics(surveys, report.kept))
        archive.add("tileset.json", dump(document))
        bytes_now = archive.size
    drawn = [one for one in baked if one.packed is not None]
    root = document["root"]
    return {
        "entry": "tileset.json", "tiles": len(drawn), "bytes": bytes_now,
        "heights": [min(one.heights[0] for one in drawn), max(one.heights[1] for one in drawn)],
        "root": {key: root[key] for key in ("boundingVolume", "geometricError", "transform") if key in root},
        "stats": {"features": report.kept, "vertices": sum(o.vertices for o in drawn), "triangles": sum(o.triangles for o in drawn),
                  "raw_bytes": sum(o.packed.size for o in drawn if o.packed)},
        "report": report.to_json(),
    }  # fmt: skip


def _measure(elements: Elements) -> tuple[F64, NDArray[np.int64]]:
    """((F, 2, 3) boxes in the layer's reference, from the prototypes' boxes; (F,) estimated vertices)."""
    count = len(elements.table)
    box = np.empty((count, 2, 3))
    box[:, 0], box[:, 1] = np.inf, -np.inf
    weight = np.zeros(count, np.int64)
    for first, mesh in zip(elements.first, elements.meshes, strict=False):
        prototypes = len(mesh.vertex_start) - 1
        corners = np.full((prototypes, 8, 3), np.nan)
        for p in range(prototypes):
            vertices = mesh.positions[mesh.vertex_start[p] : mesh.vertex_start[p + 1]]
            if len(vertices):
                low, high = vertices.min(axis=0), vertices.max(axis=0)
                corners[p] = np.where(np.indices((2, 2, 2)).reshape(3, 8).T, high, low)
        t = mesh.transforms
        placed = np.einsum("ijk,ilk->ilj", t[:, :3, :3], corners[mesh.instance_prototype]) + t[:, None, :3, 3]
        owner = mesh.instance_feature + first
        np.minimum.at(box[:, 0], owner, placed.min(axis=1))
        np.maximum.at(box[:, 1], owner, placed.max(axis=1))
        np.add.at(weight, owner, 2 * np.diff(mesh.triangle_start)[mesh.instance_prototype])
    return box, weight


_read: dict[str, Elements] = {}


def bake_unit(task: tuple[Any, metadata.Schema, Options, list[tuple[tuple[float, float], I64]]]) -> list[Finished]:
    """The tiles of one unit of work; a worker process reads the layer once and keeps it."""
    source, schema, options, wanted = task
    if isinstance(source, Elements):
        elements = source
    else:
        lake, version = source
        key = "".join(part.key for part in version.parts)
        if key not in _read:
            _read.clear()
            _read[key] = Elements.of(lake, version)
        elements = _read[key]
    return [bake(elements, schema, options, centre, features) for centre, features in wanted]


def bake(elements: Elements, schema: metadata.Schema, options: Options, centre: tuple[float, float], features: I64) -> Finished:
    """One tile: its features' instances placed, shaded and encoded."""
    result = Finished()
    frame = crs.enu_frame(*centre)
    positions, triangles, owner, material, surfaces, heights = _place(elements, features, frame)
    shaded = normals.smooth(positions, triangles, owner * len(surfaces) + material, options.crease)
    before = np.bincount(owner, minlength=len(features))
    owner, material = owner[shaded.source], material[shaded.source]
    after = np.bincount(owner, minlength=len(features))
    solid = np.bincount(owner[~shaded.sliver], minlength=len(features)) > 0
    ids = elements.table.column("id")
    for i in np.flatnonzero((after < before) & solid):
        result.notes.append(("repaired", ids[int(features[i])].as_py(), f"{before[i] - after[i]} of {before[i]} triangles have no area and were left out"))
    for i in np.flatnonzero(~solid):
        result.notes.append(("refused", ids[int(features[i])].as_py(), "none of its triangles has an area"))
    present = np.flatnonzero(solid)
    if not len(present):
        return result
    number = np.cumsum(solid) - 1
    drawn = solid[owner]
    corners, owner, material = shaded.triangles[drawn], owner[drawn], material[drawn]
    vertex_owner = np.empty(len(shaded.positions), np.int64)
    vertex_owner[corners] = number[owner][:, None]
    primitives: list[Primitive] = []
    used = np.unique(material)
    for m in used:
        own = corners[material == m]
        vertices, local = np.unique(own, return_inverse=True)
        primitives.append(Primitive(shaded.positions[vertices], local.reshape(-1, 3), shaded.normals[vertices],
                                    feature_ids=vertex_owner[vertices], surface=len(primitives)))  # fmt: skip
    table = schema.encode(elements.table.take(pa.array(features[present])))
    result.packed = pack(glb(primitives, [surfaces[m] for m in used], table, compression=options.compression))
    result.low, result.high = extremes(*(p.positions for p in primitives))
    result.heights = heights
    result.kept, result.vertices, result.triangles = len(present), sum(len(p.positions) for p in primitives), len(corners)
    return result


def _place(elements: Elements, features: I64, frame: F64) -> tuple[F64, I64, I64, I64, list[Surface], tuple[float, float]]:
    """Finished instances of some features.

    Returns (positions in the tile's frame, triangles, feature and surface of each triangle, surfaces, lowest and highest
    ellipsoidal height).
    """
    placed, triangles, owners, materials = [], [], [], []
    surfaces = Palette()
    count = 0
    for position, feature in enumerate(features):
        mesh = elements.find(int(feature))
        for i in elements.instances[int(feature)]:
            p, t = mesh.instance_prototype[i], mesh.transforms[i]
            own = mesh.positions[mesh.vertex_start[p] : mesh.vertex_start[p + 1]]
            span = slice(mesh.triangle_start[p], mesh.triangle_start[p + 1])
            if not len(own) or span.start == span.stop:
                continue
            placed.append(own @ t[:3, :3].T + t[:3, 3])
            corners = mesh.triangles[span].astype(np.int64)
            (a, b, c), (d, e, f), (g, h, k) = t[:3, :3].tolist()
            mirrored = a * (e * k - f * h) - b * (d * k - f * g) + c * (d * h - e * g) < 0
            triangles.append((corners[:, ::-1] if mirrored else corners) + count)
            owners.append(np.full(len(corners), position))
            materials.append(surfaces.numbers(mesh)[mesh.triangle_material[span]])
            count += len(own)
    geodetic = crs.to_geodetic(elements.meshes[0].reference, np.concatenate(placed))
    positions = (crs.geodetic_to_ecef(geodetic) - frame[:3, 3]) @ frame[:3, :3]
    heights = (float(geodetic[:, 2].min()), float(geodetic[:, 2].max()))
    return positions, np.concatenate(triangles), np.concatenate(owners), np.concatenate(materials), surfaces.listed(), heights


class Palette:
    """The materials met in a tile, numbered; those that look the same are one."""

    def __init__(self) -> None:
        self._number: dict[tuple[Any, ...], int] = {}
        self._of_mesh: dict[int, I64] = {}

    def numbers(self, mesh: Mesh) -> I64:
        """The number of each of a mesh's materials."""
        if id(mesh) not in self._of_mesh:
            looks = [(material.color, material.double_sided) for material in mesh.materials]
            self._of_mesh[id(mesh)] = np.array([self._number.setdefault(look, len(self._number)) for look in looks], np.int64)
        return self._of_mesh[id(mesh)]

    def listed(self) -> list[Surface]:
        """The surfaces by number."""
        return [Surface(color, double_sided=double) for color, double in self._number]
