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
from twin.meshes import Flat, Images, materials_of, stream_instances, stream_prototypes
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
_LONG = 1 << 18
"""Words of a prototype beyond which they are hashed by themselves."""
_PRIME, _MIX = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9)


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

    def digests(self) -> U64:
        """(N,) of each number."""
        return np.frombuffer(b"".join(digest[:8] for digest in self._digests), "<u8")

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
                result.extend({**some, "materials": (own[some["materials"][0]], some["materials"][1])})
            for prototype, feature, transform in stream_instances(lake, place_part):
                store.add("sought", id_hash(feature))
                store.add("prototype", prototype + first)
                store.add("transform", transform)
            first += shape_part.count
        result.rank, result.materials = result.looks.ranked()
        return result

    def extend(self, many: Flat) -> None:
        """More prototypes, as by `add` (materials are numbers of the store); those that are whole, as most do, go into the store together."""
        (positions, corners), (triangles, faces), (materials, _) = (many[name] for name in ("positions", "triangles", "materials"))
        sizes = np.column_stack([corners, faces, *(many[name][1] if name in many else np.zeros_like(faces) for name in ("uv", "colors"))])
        first = np.cumsum(sizes, axis=0) - sizes
        uv, colors = (many[name][0] if name in many else None for name in ("uv", "colors"))
        if not sizes[:, :2].all() or not np.isfinite(positions).all():
            for (v, t, u, c), (dv, dt, du, dc) in zip(first.tolist(), sizes.tolist(), strict=True):
                self.add(positions[v : v + dv], triangles[t : t + dt], materials[t : t + dt],
                         uv[u : u + du] if uv is not None and du else None, colors[c : c + dc] if colors is not None and dc else None)  # fmt: skip
            return
        box = np.stack([np.minimum.reduceat(positions, first[:, 0]), np.maximum.reduceat(positions, first[:, 0])], axis=1)
        self._keep(sizes, positions, triangles, materials, uv, colors, box)

    def _keep(self, sizes: I64, positions: F64, triangles: NDArray[np.int32], materials: I64, uv: Any, colors: Any, box: F64) -> None:
        """Put prototypes into the store; `sizes` (K, 4) are their rows of positions, triangles, uv and colours."""
        marks = _marks(sizes, positions, triangles, uv, colors, self.looks.digests()[materials])
        columns = {"positions": positions, "triangles": triangles, "materials": materials, "uv": uv, "colors": colors}
        for name, column in ({**columns, "counts": sizes, "start": self._begins(sizes), "box": box, "mark": marks}).items():
            if column is not None:
                self.store.add(name, column)
        self.count += len(sizes)

    def _begins(self, counts: I64) -> I64:
        """(K, 4) where the rows of the next prototypes begin."""
        ends = self.end + np.cumsum(counts, axis=0)
        self.end = ends[-1]
        return ends - counts

    def add(self, positions: F64, triangles: NDArray[np.int32], materials: I64, uv: Any, colors: Any) -> None:
        """Another prototype, without what is not finite; its materials are numbers of the store."""
        finite: NDArray[np.bool_] = np.asarray(np.isfinite(positions).all(axis=1))
        if not finite.all():
            whole = finite[triangles].all(axis=1)
            if not whole.all():
                self.lost[self.count] = int((~whole).sum())
            used, local = np.unique(triangles[whole], return_inverse=True)
            positions, triangles, materials = positions[used], local.reshape(-1, 3).astype(np.int32), materials[whole]
            uv, colors = (None if column is None else column[whole] for column in (uv, colors))
        sizes = np.array([[len(positions), len(triangles), 0 if uv is None else len(uv), 0 if colors is None else len(colors)]], np.int64)
        self._keep(sizes, positions, triangles, materials, uv, colors, _box(positions, triangles)[None])

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


def _marks(sizes: I64, positions: F64, triangles: NDArray[np.int32], uv: Any, colors: Any, looks: U64) -> U64:
    """(K,) digests of all that prototypes draw: a polynomial of scrambled words for each array, scrambled again with the array before."""
    total = np.full(len(sizes), 0xCBF29CE484222325, np.uint64)
    with np.errstate(over="ignore"):
        for column, kind, count in ((positions, "<u8", sizes[:, 0] * 3), (triangles, "<u4", sizes[:, 1] * 3), (looks, "<u8", sizes[:, 1]),
                                    (uv, "<u4", sizes[:, 2] * 6), (colors, "<u4", sizes[:, 3] * 3)):  # fmt: skip
            total = _scrambled(total ^ count.astype(np.uint64))
            if column is None or not count.any():
                continue
            total = _scrambled(total ^ _sums(np.ascontiguousarray(column).reshape(-1).view(kind), count))
    return total


def _sums(words: NDArray[Any], count: I64) -> U64:
    """(K,) a digest of each run of words; of long ones by themselves, since eight times their bytes would be needed."""
    end = np.cumsum(count)
    if count.max() > _LONG and len(count) > 1:
        return np.concatenate([_sums(words[b - n : b], np.array([n])) for b, n in zip(end.tolist(), count.tolist(), strict=True)])
    if count.max() > _LONG:
        return np.frombuffer(hashlib.blake2b(words.data, digest_size=8).digest(), "<u8")
    with np.errstate(over="ignore"):
        power = np.cumprod(np.full(int(count.max()), _PRIME))
        terms = _scrambled(words.astype(np.uint64)) * power[np.arange(len(words)) - np.repeat(end - count, count)]
        total = np.concatenate([np.zeros(1, np.uint64), np.cumsum(terms)])
        return np.asarray(total[end] - total[end - count], np.uint64)


def _scrambled(word: U64) -> U64:
    word = (word ^ (word >> np.uint64(30)) ^ _PRIME) * _MIX
    return np.asarray(word ^ (word >> np.uint64(27)), np.uint64)


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
