"""The features of a mesh layer as the tiler sees them: measured, cut where they are too large, known by digests of all that they are.

A *piece* is what the plan places: a whole feature, or, of a feature with more triangles than a tile may hold, a run of its
triangles that lie together. Prototypes stay shared until a tile is built, and on disk where they are many (`tiling.store`):
memory holds some 200 bytes a piece, an instance or a prototype, and none of their triangles.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tiling import partition, repeats
from tiling.shapes import KINDS, Shape, Shapes
from tiling.store import Store
from twin import crs
from twin.errors import BadFeature
from twin.lake import Lake
from twin.meshes import read_part
from twin.model import LayerVersion, Material, Reference

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
U64 = NDArray[np.uint64]
_TABLE = "features"
_ARRAYS = ("feature", "first", "instance", "weight")
_NOTHING = np.zeros((0, 4), np.int64)
WHOLE = 2
"""Budgets of vertices up to which a layer is one tile: a tree of so few tiles would draw nearly as much in its root as in all its leaves, and the estimate
of vertices is high (two a triangle; measured on open building models before sharing: 0.8–1.5)."""
_PRIME = np.uint64(0x9E3779B97F4A7C15)


@dataclass
class Elements:
    """All features of a layer that have a shape.

    Attributes:
        shapes: prototypes and instances.
        table: id, attributes (and parent) of every feature, in the order of the layer's parts.
        feature: (P,) the feature of each piece; the pieces of a feature follow one another.
        first: (P + 1,) and instance: the instances of piece p are instance[first[p] : first[p + 1]].
        weight: (P,) estimated vertices of each piece: twice its triangles.
        lost: of features, how many triangles have a corner that is not finite and are left out.
    """

    shapes: Shapes
    table: pa.Table
    feature: I64
    first: I64
    instance: I64
    weight: I64 = field(default_factory=lambda: np.zeros(0, np.int64))
    lost: dict[int, int] = field(default_factory=dict)

    @staticmethod
    def of(lake: Lake, version: LayerVersion, most: int, folder: Path, limit: int) -> Elements:
        """Read them; nothing is placed yet. Features of more than `most` vertices are cut.

        Args:
            folder: for what is more than `limit` bytes of triangles or of attributes.

        Raises:
            BadFeature: there are no meshes. StorageError: the disk is full.
        """
        if not any(p.role == "mesh:prototypes" for p in version.parts):
            raise BadFeature(f"Layer {version.layer} holds no meshes.")
        paths = [lake.path(p.key) for p in version.parts if p.role == "features"]
        ids = pa.chunked_array([c for path in paths for c in read_part(path, ["id"]).column("id").chunks], pa.string())
        store = Store(KINDS, folder, limit)
        shapes = Shapes.read(lake, version, store, ids)
        rows = store["row"]
        used = np.zeros(len(ids), bool)
        used[rows] = True
        feature = (np.cumsum(used) - 1)[rows]
        order = np.argsort(feature, kind="stable")
        first = np.searchsorted(feature[order], np.arange(int(used.sum()) + 1))
        table = _attributes(paths, used, store)
        result = Elements(shapes, table, np.arange(len(table)), first, order)
        result.weight = result._weights()
        for broken, many in shapes.lost.items():
            for f in feature[store["prototype"] == broken].tolist():
                result.lost[f] = result.lost.get(f, 0) + many
        result._cut(most)
        store.release()
        return result

    def save(self) -> None:
        """Move everything to files, once, so that other processes can be given the elements.

        Raises:
            StorageError: the disk is full.
        """
        self.shapes.store.write()
        store = self.shapes.store
        self.table = store.keep_table(_TABLE, self.table)
        for name in _ARRAYS:
            setattr(self, name, store.keep_array(name, getattr(self, name)))
        self.shapes.start = store.keep_array("start", self.shapes.start)

    def __getstate__(self) -> dict[str, Any]:
        """For another process, after `save`: triangles, table and what there is of each piece stay where they are, in files; every unit of work is given the elements."""
        return {**self.__dict__, "table": None, **dict.fromkeys(_ARRAYS), "shapes": replace(self.shapes, start=_NOTHING)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__ |= state
        store = self.shapes.store
        self.table = store.table(_TABLE)
        for name in _ARRAYS:
            setattr(self, name, store.array(name))
        self.shapes.start = store.array("start")

    def release(self) -> None:
        """Let go of what was read for the last tiles."""
        self.shapes.store.release()

    @property
    def reference(self) -> Reference:
        """Of the placed coordinates."""
        return self.shapes.reference

    @property
    def materials(self) -> list[Material]:
        """All different looks of the layer, in an order of their own."""
        return self.shapes.materials

    def __len__(self) -> int:
        """How many pieces there are."""
        return len(self.feature)

    def parts_of(self, piece: int) -> list[int]:
        """The instances of a piece."""
        found: list[int] = self.instance[self.first[piece] : self.first[piece + 1]].tolist()
        return found

    def shapes_of(self, piece: int) -> Iterable[tuple[Shape, F64]]:
        """What a piece draws: prototypes and their transforms."""
        return ((self.shapes.shape(i), self.shapes.transform(i)) for i in self.parts_of(piece))

    def count_of(self, feature: int) -> int:
        """How many pieces a feature was cut into."""
        return int(np.searchsorted(self.feature, feature, side="right") - np.searchsorted(self.feature, feature))

    def _weights(self) -> I64:
        total = np.concatenate([[0], np.cumsum(2 * self.shapes.triangles_of(self.instance))])
        return np.asarray(total[self.first[1:]] - total[self.first[:-1]], np.int64)

    def once(self) -> int:
        """Vertices (estimated) of a tile of everything, which holds what repeats once where that is worth it."""
        return repeats.weight(self.shapes, self.instance)

    def one_tile(self, most: int) -> bool:
        """Whether the layer is a single tile, if a tile may hold `most` vertices."""
        drawn = int(self.weight.sum())
        return drawn <= WHOLE * most or (drawn <= repeats.DRAWN * WHOLE * most and self.once() <= WHOLE * most)

    def measure(self) -> F64:
        """(P, 2, 3) boxes of the pieces in the layer's reference: ±inf without triangles, NaN where a place is not finite."""
        box = np.empty((len(self), 2, 3))
        box[:, 0], box[:, 1] = np.inf, -np.inf
        piece = np.repeat(np.arange(len(self)), np.diff(self.first))
        drawn = np.flatnonzero(self.shapes.triangles_of(self.instance) > 0)
        for some, placed in self.shapes.boxes(self.instance[drawn]):
            owner = piece[drawn[some]]
            np.minimum.at(box[:, 0], owner, placed[:, 0])
            np.maximum.at(box[:, 1], owner, placed[:, 1])
        return box

    def _cut(self, most: int) -> None:
        """Features of more than `most` vertices become pieces of at most half as many, with prototypes of their own; not where all of the layer is one tile."""
        large = np.flatnonzero(self.weight > most).tolist()
        if not large or self.one_tile(most):
            return
        self.shapes.store.write()
        feature, counts, instances, done = [], [], [], 0
        sizes = np.diff(self.first)
        for f in large:
            runs = _runs(self.shapes, self.parts_of(f), max(most // 4, 1))
            feature += [self.feature[done:f], np.full(len(runs), f)]
            counts += [sizes[done:f], np.array([len(run) for run in runs], np.int64)]
            instances += [self.instance[self.first[done] : self.first[f]], np.array([i for run in runs for i in run], np.int64)]
            done = f + 1
            self.shapes.store.release()
        feature.append(self.feature[done:])
        counts.append(sizes[done:])
        instances.append(self.instance[self.first[done] :])
        self.feature, self.instance = np.concatenate(feature), np.concatenate(instances)
        self.first = np.concatenate([[0], np.cumsum(np.concatenate(counts))])
        self.shapes.close()
        self.weight = self._weights()

    def marks(self) -> U64:
        """(P,) digest of each piece: of its feature's row, and of all that it draws and where, one after the other."""
        from tiling.digests import digests  # noqa: PLC0415  numba takes half a second to load: models of one tile never need it

        row = digests(self.table)[self.feature]
        count = np.diff(self.first)
        place = np.arange(len(self.instance)) - np.repeat(self.first[:-1], count)
        with np.errstate(over="ignore"):
            power = np.cumprod(np.full(int(count.max(initial=0)) + 1, _PRIME))[place]
            total = np.concatenate([np.zeros(1, np.uint64), np.cumsum(self.shapes.digests(self.instance) * power)])
            drawn = total[self.first[1:]] - total[self.first[:-1]]
            mixed = (row ^ (drawn + count.astype(np.uint64))) * _PRIME
        return np.asarray(mixed ^ (mixed >> np.uint64(31)) ^ row, np.uint64)


def _attributes(paths: list[Path], used: NDArray[np.bool_], store: Store) -> pa.Table:
    """The rows that are used of the feature parts: id, attributes, and parent if any has one."""

    def columns(schema: pa.Schema) -> list[str]:
        return ["id", *(name for name in schema.names if name not in ("id", "parent", "geometry", "bbox")), "parent"]

    def rows() -> Iterator[pa.Table]:
        at = 0
        for path in paths:
            with pq.ParquetFile(path) as file:
                names = columns(file.schema_arrow)
                for batch in file.iter_batches(columns=names):
                    yield pa.Table.from_batches([batch]).select(names).filter(pa.array(used[at : at + len(batch)]))
                    at += len(batch)

    schemas = [schema.empty_table().select(columns(schema)).schema.remove_metadata() for schema in map(pq.read_schema, paths)]
    return store.gather(_TABLE, pa.unify_schemas(schemas), rows())


def metres(reference: Reference, y: F64) -> F64:
    """(N, 3) metres per unit of a layer's coordinates at some northings (latitudes where it is in degrees), near enough for sizes."""
    unit = np.ones((len(y), 3))
    unit[:, 2] = reference.vertical_unit
    system = crs.crs_of(reference.horizontal)
    if system.is_geographic:
        unit[:, 0], unit[:, 1] = 111_320.0 * np.cos(np.radians(y)), 110_574.0
    elif len(system.axis_info):
        unit[:, :2] = system.axis_info[0].unit_conversion_factor
    return unit


def _runs(shapes: Shapes, instances: list[int], most: int) -> list[list[int]]:
    """The instances of one feature in runs of at most `most` triangles.

    A prototype with more is cut along a curve that keeps neighbours together; each piece is a prototype of its own, with an instance of it.
    """
    runs: list[list[int]] = [[]]
    count = 0
    for i in instances:
        total = int(shapes.triangles_of(i))
        sizes = [min(most, total - start) for start in range(0, total, most)]
        if total > most:
            order = _along(shapes.shape(i))
            first = shapes.split(i, [np.sort(order[k * most : (k + 1) * most]) for k in range(len(sizes))])
        for k, size in enumerate(sizes):
            if count and count + size > most:
                runs.append([])
                count = 0
            runs[-1].append(i if total <= most else first + k)
            count += size
    return runs


def _along(whole: Shape) -> I64:
    """Triangles of a prototype in the order of a quadtree over its plan, or over its two longest sides if it stands."""
    vertices, corners = whole.positions, whole.triangles
    low, high = np.nanmin(vertices, axis=0), np.nanmax(vertices, axis=0)
    axes = np.sort(np.argsort(low - high, kind="stable")[:2])
    span = max(float((high - low).max()), 1e-9)
    x, y = (_middles(np.clip(np.nan_to_num((vertices[:, k] - low[k]) / span) * 65_535, 0, 65_535).astype(np.uint32), corners) for k in axes)
    return np.argsort(partition.interleave(x, y), kind="stable")


def _middles(grid: NDArray[np.uint32], corners: NDArray[np.int32]) -> U64:
    """(T,) the mean of each triangle's corners on a grid."""
    total = grid[corners[:, 0]]
    total += grid[corners[:, 1]]
    total += grid[corners[:, 2]]
    return (total // 3).astype(np.uint64)
