"""Shapes, attributes and a placement → Mesh batches: equal shapes become one prototype, outward-facing, in float64."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ingest_bim.geometry.faces import Style, default_look
from ingest_bim.geometry.polygons import cross
from ingest_bim.ifc.geometry import Shape, is_closed
from ingest_bim.ifc.placement import Placement
from ingest_bim.ifc.structure import Structure
from twin.model import Material, Mesh, Report

MAX_TRIANGLES = 1_000_000
MAX_ROWS = 65_536
#: Rooms are drawn see-through, so that what stands in them can be seen and clicked.
SPACES = ("IfcSpace", "IfcSpatialZone", "IfcExternalSpatialElement")
SPACE_ALPHA = 0.25


@dataclass
class _Builder:
    """Prototypes and instances of one Mesh batch under way."""

    prototypes: dict[bytes, int] = field(default_factory=dict)
    positions: list[NDArray[np.float64]] = field(default_factory=list)
    triangles: list[NDArray[np.int32]] = field(default_factory=list)
    rows: list[NDArray[np.int32]] = field(default_factory=list)
    materials: dict[Material, int] = field(default_factory=dict)
    tables: dict[tuple[Any, ...], NDArray[np.int32]] = field(default_factory=dict)
    digests: dict[tuple[int, int], bytes] = field(default_factory=dict)
    closed: dict[int, bool] = field(default_factory=dict)
    solid: list[bool] = field(default_factory=list)
    instances: list[tuple[int, int]] = field(default_factory=list)
    transforms: list[NDArray[np.float64]] = field(default_factory=list)
    flipped: int = 0
    count: int = 0

    def add(self, shape: Shape, row: int, kind: str) -> None:
        """Place a shape for the feature `row`."""
        closed = self._is_closed(shape)
        name = (kind in SPACES, closed, *shape.materials)
        table = self.tables.get(name)
        if table is None:
            table = self.tables[name] = np.array([*(self._material(m, kind, closed) for m in shape.materials), self._material(None, kind, closed)], np.int32)
        rows = table[shape.rows]  # row −1 (no material) is the last entry
        key = self._digest(shape) + rows.tobytes()
        if key not in self.prototypes:
            self.prototypes[key] = len(self.positions)
            self.positions.append(shape.positions)
            self.triangles.append(shape.triangles)
            self.rows.append(rows)
            self.solid.append(closed)
            self.count += len(shape.triangles)
        self.instances.append((self.prototypes[key], row))
        self.transforms.append(shape.matrix)

    def turn(self) -> None:
        """Turn closed prototypes that are inside out."""
        if not self.positions:
            return
        starts = np.cumsum([0, *map(len, self.positions)])
        points = np.concatenate(self.positions)
        middles = np.add.reduceat(points, starts[:-1]) / np.diff(starts)[:, None]
        points = points - np.repeat(middles, np.diff(starts), axis=0)
        corners = np.concatenate(self.triangles) + np.repeat(starts[:-1], [len(t) for t in self.triangles])[:, None]
        a, b, c = (points[corners[:, i]] for i in range(3))
        first = np.cumsum([0, *(len(t) for t in self.triangles[:-1])])
        volumes = np.add.reduceat(np.einsum("ij,ij->i", a, cross(b, c)), first)
        for i in np.flatnonzero((volumes < 0) & np.array(self.solid)):
            self.triangles[i] = np.ascontiguousarray(self.triangles[i][:, ::-1])
            self.flipped += 1

    def _digest(self, shape: Shape) -> bytes:
        """Of positions and triangles; shared arrays are looked at once."""
        name = (id(shape.positions), id(shape.triangles))
        if name not in self.digests:
            digest = hashlib.blake2b(digest_size=16)
            for part in (shape.positions, shape.triangles):
                digest.update(np.ascontiguousarray(part).tobytes())
            self.digests[name] = digest.digest()
        return self.digests[name]

    def _is_closed(self, shape: Shape) -> bool:
        name = id(shape.triangles)
        if name not in self.closed:
            self.closed[name] = is_closed(shape.triangles)
        return self.closed[name]

    def _material(self, styled: tuple[str, tuple[float, float, float, float]] | None, kind: str, closed: bool) -> int:
        name, color = styled if styled is not None else ("", (0.8, 0.8, 0.8, 1.0))
        if kind in SPACES:
            color = (*color[:3], min(color[3], SPACE_ALPHA))
        r, g, b, a = (round(float(c), 4) for c in color)
        return self.materials.setdefault(Material(name, (r, g, b, a), double_sided=not closed), len(self.materials))

    def mesh(self, placement: Placement, ids: pa.Array, attributes: pa.Table, parents: pa.Array) -> Mesh:
        """The batch."""
        def joined(parts: list[Any], shape: tuple[int, ...], kind: Any) -> Any:
            return np.concatenate(parts) if parts else np.zeros(shape, kind)

        instances = np.array(self.instances, np.int32).reshape(-1, 2)
        return Mesh(
            placement.reference, ids, attributes,
            joined(self.positions, (0, 3), np.float64), joined(self.triangles, (0, 3), np.int32), joined(self.rows, (0,), np.int32),
            np.cumsum([0, *map(len, self.positions)], dtype=np.int64), np.cumsum([0, *map(len, self.triangles)], dtype=np.int64),
            instances[:, 0], instances[:, 1], placement.matrix @ np.array(self.transforms, np.float64).reshape(-1, 4, 4),
            tuple(self.materials) or (Material(),), parents,
        )  # fmt: skip


def meshes(
    structure: Structure, shapes: dict[int, Shape], attributes: pa.Table, placement: Placement, report: Report, layered: dict[int, Style]
) -> Iterator[Mesh]:
    """Mesh batches of at most a million triangles or 65,536 features, elements in file order; `layered`: looks of elements that have none of their own, by step id."""
    ids = pa.array([structure.ids[e.id()] for e in structure.elements], pa.string())
    parents = pa.array([structure.ids[structure.parent[e.id()]] if e.id() in structure.parent else None for e in structure.elements], pa.string())
    builder, start = _Builder(), 0
    prototypes = instances = triangles = flipped = 0
    for at, element in enumerate(structure.elements):
        if element.id() in shapes:
            shape, kind = shapes[element.id()], element.is_a()
            builder.add(_in_layer(shape, kind, layered[element.id()]) if element.id() in layered else shape, at - start, kind)
        if builder.count >= MAX_TRIANGLES or at + 1 - start >= MAX_ROWS or at + 1 == len(structure.elements):
            builder.turn()
            size = at + 1 - start
            prototypes, instances = prototypes + len(builder.positions), instances + len(builder.instances)
            triangles, flipped = triangles + builder.count, flipped + builder.flipped
            yield builder.mesh(placement, ids.slice(start, size), attributes.slice(start, size), parents.slice(start, size))
            builder, start = _Builder(), at + 1
    report.facts["geometry"] |= {"prototypes": prototypes, "instances": instances, "prototype_triangles": triangles}
    if flipped:
        report.note("repaired", "", f"{flipped} closed shapes were inside out and are turned.")


def _in_layer(shape: Shape, kind: str, style: Style) -> Shape:
    """The shape with its layer's look where it would have the usual one of its class, or none."""
    usual = default_look(kind)
    materials = [style if name == usual[0] and np.allclose(color, usual[1], atol=1e-6) else (name, color) for name, color in shape.materials]
    return replace(shape, materials=[*materials, style], rows=np.where(shape.rows < 0, np.int32(len(materials)), shape.rows))
