"""The prototypes and instances of a mesh layer, read once into columns that may be larger than memory (`tiling.store`).

Every prototype gets a digest of all that it draws (corners, triangles, texture coordinates, colours, how its materials look), so that equal
ones are known as equal wherever they come from. Materials are numbered by a digest of their look: which of two comes first depends on nothing else.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tiling.store import Kinds, Store
from twin.keys import id_hash
from twin.lake import Lake
from twin.meshes import Images, materials_of, stream_instances, stream_prototypes
from twin.model import LayerVersion, Material, Reference

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
U64 = NDArray[np.uint64]
KINDS: Kinds = {
    "positions": ("<f8", (3,)), "triangles": ("<i4", (3,)), "materials": ("<i4", ()), "uv": ("<f4", (3, 2)), "colors": ("|u1", (3, 4)),
    "counts": ("<i8", (4,)), "start": ("<i8", (4,)), "box": ("<f8", (2, 3)), "mark": ("<u8", ()),
    "prototype": ("<i4", ()), "transform": ("<f8", (4, 4)), "sought": ("<u8", ()),
}  # fmt: skip
"""Of corners and triangles; of prototypes (how many vertices, triangles, uv and colours they have, and where these begin); of instances (and the hash of the feature's id)."""
_CHUNK = 65_536
Prototype = tuple[F64, NDArray[np.int32], I64, NDArray[np.float32] | None, NDArray[np.uint8] | None]
"""Positions, triangles, materials, uv and colours, as `Shapes.add` takes them."""


class Looks:
    """The different materials of a layer, numbered as they come."""

    def __init__(self) -> None:
        self._number: dict[tuple[Any, ...], int] = {}
        self._materials: list[Material] = []
        self._digests: list[bytes] = []

    def number(self, material: Material) -> int:
        """Of a material; those that look the same have one."""
        look = (material.color, material.double_sided, material.texture)
        if look not in self._number:
            self._number[look] = len(self._materials)
            self._materials.append(material)
            self._digests.append(hashlib.blake2b(repr(look).encode(), digest_size=16).digest())
        return self._number[look]

    def digest(self, materials: I64) -> bytes:
        """Of which material each triangle has."""
        if not len(materials):
            return b""
        first = int(materials[0])
        if (materials == first).all():
            return self._digests[first]
        used, inverse = np.unique(materials, return_inverse=True)
        order = np.array(sorted(range(len(used)), key=lambda k: self._digests[int(used[k])]))
        place = np.empty(len(order), np.int32)
        place[order] = np.arange(len(order))
        return b"".join(self._digests[int(used[k])] for k in order) + place[inverse.ravel()].tobytes()

    def ranked(self) -> tuple[I64, list[Material]]:
        """((N,) place of each number, the materials in order of their digests)."""
        order = sorted(range(len(self._digests)), key=self._digests.__getitem__)
        rank = np.empty(len(order), np.int64)
        rank[order] = np.arange(len(order))
        return rank, [self._materials[k] for k in order]


@dataclass
class Shapes:
    """Prototypes and instances by number; arrays as in `twin.model.Mesh`, but all batches in one.

    Attributes:
        store: the columns. reference: of the placed coordinates. images: files of the textures.
        materials: ordered by look; `rank` is the place of each number in the store.
        count: of prototypes; end: where the rows of the next one begin. lost: of prototypes, triangles that were left out because a corner is not finite.
    """

    store: Store
    reference: Reference
    images: Mapping[str, bytes]
    materials: list[Material] = field(default_factory=list)
    rank: I64 = field(default_factory=lambda: np.zeros(0, np.int64))
    looks: Looks = field(default_factory=Looks)
    count: int = 0
    end: I64 = field(default_factory=lambda: np.zeros(4, np.int64))
    lost: dict[int, int] = field(default_factory=dict)

    @staticmethod
    def read(lake: Lake, version: LayerVersion, store: Store) -> Shapes:
        """All parts of a version; the column `sought` of the store has the hash of the id of each instance's feature."""
        result = Shapes(store, version.reference, Images(lake, version))
        shapes = [p for p in version.parts if p.role == "mesh:prototypes"]
        placed = [p for p in version.parts if p.role == "mesh:instances"]
        first = 0
        for shape_part, place_part in zip(shapes, placed, strict=True):
            own = np.array([result.looks.number(m) for m in materials_of(shape_part)], np.int64)
            for some in stream_prototypes(lake, shape_part):
                result.extend([(one["positions"], one["triangles"], own[one["materials"]], one.get("uv"), one.get("colors")) for one in some])
            for prototype, feature, transform in stream_instances(lake, place_part):
                store.add("sought", id_hash(feature))
                store.add("prototype", prototype + first)
                store.add("transform", transform)
            first += shape_part.count
        result.rank, result.materials = result.looks.ranked()
        return result

    def extend(self, many: list[Prototype]) -> None:
        """More prototypes, as by `add`; those that are whole, as most do, go into the store together: an array for each would weigh more than what is in it."""
        sizes = np.array([(len(p), len(t), 0 if uv is None else len(uv), 0 if colors is None else len(colors)) for p, t, _, uv, colors in many], np.int64)
        positions = np.concatenate([p for p, *_ in many])
        if not sizes[:, :2].all() or not np.isfinite(positions).all():
            for one in many:
                self.add(*one)
            return
        materials, first = np.concatenate([m for _, _, m, *_ in many]), np.cumsum(sizes[:, :2], axis=0) - sizes[:, :2]
        for name, column in (("positions", positions), ("triangles", np.concatenate([t for _, t, *_ in many])), ("materials", materials), ("counts", sizes), ("start", self._begins(sizes))):
            self.store.add(name, column)
        for name, place in (("uv", 3), ("colors", 4)):
            some: list[Any] = [one[place] for one in many if one[place] is not None]
            if some:
                self.store.add(name, np.concatenate(some))
        self.store.add("box", np.stack([np.minimum.reduceat(positions, first[:, 0]), np.maximum.reduceat(positions, first[:, 0])], axis=1))
        heads = np.ascontiguousarray(sizes, "<i8")
        digests = b"".join(self._digest(head, p, t, uv, colors, m) for head, (p, t, m, uv, colors) in zip(heads, many, strict=True))
        self.store.add("mark", np.frombuffer(digests, "<u8"))
        self.count += len(many)

    def _begins(self, counts: I64) -> I64:
        """(K, 4) where the rows of the next prototypes begin."""
        ends = self.end + np.cumsum(counts, axis=0)
        self.end = ends[-1]
        return ends - counts

    def _digest(self, counts: I64, positions: F64, triangles: NDArray[np.int32], uv: Any, colors: Any, materials: I64) -> bytes:
        """Of all that a prototype draws."""
        digest = hashlib.blake2b(counts.tobytes(), digest_size=8)
        for part in (positions, triangles, uv, colors):
            if part is not None and len(part):
                digest.update(np.ascontiguousarray(part).data)
        digest.update(self.looks.digest(materials))
        return digest.digest()

    def add(self, positions: F64, triangles: NDArray[np.int32], materials: I64, uv: Any, colors: Any) -> None:
        """Another prototype, without what is not finite; its materials are numbers of the store."""
        store = self.store
        finite: NDArray[np.bool_] = np.asarray(np.isfinite(positions).all(axis=1))
        if not finite.all():
            whole = finite[triangles].all(axis=1)
            if not whole.all():
                self.lost[self.count] = int((~whole).sum())
            used, local = np.unique(triangles[whole], return_inverse=True)
            positions, triangles, materials = positions[used], local.reshape(-1, 3).astype(np.int32), materials[whole]
            uv, colors = (None if column is None else column[whole] for column in (uv, colors))
        self.count += 1
        counts = [len(positions), len(triangles), 0 if uv is None else len(uv), 0 if colors is None else len(colors)]
        store.add("positions", positions)
        store.add("triangles", triangles)
        store.add("materials", materials)
        if uv is not None:
            store.add("uv", uv)
        if colors is not None:
            store.add("colors", colors)
        store.add("counts", np.array(counts, np.int64))
        store.add("start", self._begins(np.array([counts], np.int64)))
        store.add("box", _box(positions, triangles))
        store.add("mark", np.frombuffer(self._digest(np.array(counts, "<i8"), positions, triangles, uv, colors, materials), "<u8"))

    def split(self, instance: int, runs: list[I64]) -> int:
        """New prototypes of some triangles each of an instance's prototype, with an instance of each; returns the number of the first."""
        whole, place = self.shape(instance), np.argsort(self.rank)
        first, prototypes = len(self.store["prototype"]), len(self.store["counts"])
        for rows in runs:
            used, local = np.unique(whole.triangles[rows], return_inverse=True)
            self.add(whole.positions[used], local.reshape(-1, 3).astype(np.int32), place[whole.material[rows]], None if whole.uv is None else whole.uv[rows],
                     None if whole.colors is None else whole.colors[rows])  # fmt: skip
        self.store.add("transform", np.repeat(self.transform(instance)[None], len(runs), axis=0))
        self.store.add("prototype", prototypes + np.arange(len(runs)))
        return first

    def digests(self, instances: I64) -> U64:
        """(N,) of what each instance draws and where."""
        from tiling.digests import digests  # noqa: PLC0415  numba takes half a second to load: models of one tile never need it

        prototype, transform, mark = self.store["prototype"], self.store["transform"], self.store["mark"]
        found = np.empty(len(instances), np.uint64)
        for at in range(0, len(instances), _CHUNK):
            some = instances[at : at + _CHUNK]
            columns = transform[some].reshape(-1, 16)
            table = pa.table([mark[prototype[some]], *(np.ascontiguousarray(columns[:, k]) for k in range(16))], names=[str(k) for k in range(17)])
            found[at : at + _CHUNK] = digests(table)
            self.store.release()
        return found

    def triangles_of(self, instance: I64) -> I64:
        """(N,) how many triangles instances draw."""
        counts: I64 = self.store.take("counts", self.store.take("prototype", instance))[:, 1]
        return counts

    def marks_of(self, instances: I64) -> U64:
        """(N,) what tells the prototypes of instances from others."""
        found: U64 = self.store.take("mark", self.store.take("prototype", instances))
        return found

    def rows_of(self, instances: I64) -> tuple[I64, I64]:
        """((K, 4) where the rows of the prototype of each instance begin, (K, 4) how many there are): vertices, triangles, uv, colours."""
        p = self.store.take("prototype", instances)
        return self.store.take("start", p), self.store.take("counts", p)

    def transform(self, instance: int) -> F64:
        """(4, 4) of an instance, prototype-local → reference."""
        found: F64 = self.store["transform"][instance]
        return found

    def shape(self, instance: int) -> Shape:
        """What an instance draws, prototype-local."""
        p = int(self.store["prototype"][instance])
        store = self.store
        (v0, t0, u0, c0), (v1, t1, u1, c1) = store["start"][p].tolist(), (store["start"][p] + store["counts"][p]).tolist()
        return Shape(store["positions"][v0:v1], store["triangles"][t0:t1], self.rank[store["materials"][t0:t1]],
                     store["uv"][u0:u1] if u1 > u0 else None, store["colors"][c0:c1] if c1 > c0 else None)  # fmt: skip

    def boxes(self, instances: I64) -> Iterator[tuple[slice, F64]]:
        """((slice of `instances`, their boxes (K, 2, 3) in the layer's reference), …); NaN where there is nothing or a place is not finite."""
        prototype, transform, box = self.store["prototype"], self.store["transform"], self.store["box"]
        pick = np.indices((2, 2, 2)).reshape(3, 8)
        for at in range(0, len(instances), _CHUNK):
            some = instances[at : at + _CHUNK]
            t = transform[some]
            corners = box[prototype[some]][:, pick, np.arange(3)[:, None]].transpose(0, 2, 1)
            placed = np.einsum("ijk,ilk->ilj", t[:, :3, :3], corners) + t[:, None, :3, 3]
            yield slice(at, at + len(some)), np.stack([placed.min(axis=1), placed.max(axis=1)], axis=1)
            self.store.release()


def runs(first: I64, size: I64) -> I64:
    """The numbers first … first + size − 1 of each run, one run after the other."""
    return np.asarray(np.repeat(first - (np.cumsum(size) - size), size) + np.arange(int(size.sum())), np.int64)


@dataclass(frozen=True)
class Shape:
    """A prototype: positions (V, 3), triangles (T, 3) in them, material (T,) of the layer's, uv (T, 3, 2), colors (T, 3, 4) or None."""

    positions: F64
    triangles: NDArray[np.int32]
    material: I64
    uv: NDArray[np.float32] | None
    colors: NDArray[np.uint8] | None


def _box(positions: F64, triangles: NDArray[np.int32]) -> F64:
    """(2, 3) extremes of the vertices; NaN where there is no triangle."""
    if not len(positions) or not len(triangles):
        return np.full((2, 3), np.nan)
    return np.array([positions.min(axis=0), positions.max(axis=0)])
