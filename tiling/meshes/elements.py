"""The features of a mesh layer as the tiler sees them: measured, cut where they are too large, known by digests of all that they are.

A *piece* is what the plan places: a whole feature, or, of a feature with more triangles than a tile may hold, a run of its
triangles that lie together. Prototypes stay shared until a tile is built. All that there is of pieces, instances and prototypes lies in columns, on
disk where they are many (`tiling.store`), and is worked through some thousands at a time: memory does not grow with the layer.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tiling import partition
from tiling.levels import Rows, view
from tiling.meshes import repeats
from tiling.meshes.attributes import Attributes
from tiling.meshes.inherited import Inherited
from tiling.meshes.owners import owners
from tiling.meshes.shapes import KINDS, Shape, Shapes
from tiling.store import Kinds, Store
from twin import crs, keys
from twin.angles import sine_cosine
from twin.errors import BadFeature
from twin.lake import Lake
from twin.model import LayerVersion, Material, Reference

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
U64 = NDArray[np.uint64]
COLUMNS: Kinds = {
    **KINDS, "known": ("<u8", ()), "owner": ("<i8", ()), "owned": ("<i8", ()), "used": ("<i8", ()),
    **dict.fromkeys(("feature", "first", "instance", "weight"), ("<i8", ())), "pieces": ("<u8", ()),
    **{f"{when}_{name}": kind for when in ("read", "placed")
       for name, kind in (("code", ("<u8", ())), ("piece", ("<i8", ())), ("box", ("<f8", (2, 3))), ("weight", ("<i8", ())), ("size", ("<f8", ())), ("tie", ("<u8", ())))},
    "order": ("<i8", ()),
}  # fmt: skip
"""Besides the shapes: hashes of ids; pairs of a feature's row and an instance; the rows that are used; of pieces (`Elements`) and their digests; the plan (`tiling.meshes.plan`)."""
KEYS = 1 << 19
"""Keys that are sorted at a time (some 30 MB)."""
CHUNK = 65_536
"""Pieces that are looked at at a time."""
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
        lost: of features, how many triangles have a corner that is not finite and are left out.
        total: weight of all pieces.
    """

    shapes: Shapes
    table: Attributes
    lost: dict[int, int] = field(default_factory=dict)
    total: int = 0

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
        store = Store(COLUMNS, folder, limit)
        shapes = Shapes.read(lake, version, store)
        for instances, rows in owners(lake, version, store, KEYS):
            store.add("owner", rows)
            store.add("owned", instances)
            store.release()
        lost = _pieces(shapes)
        table = _attributes(lake, version, store["used"], folder, store.room)
        for name in ("known", "sought", "owner", "owned", "used"):
            store.drop(name)
        result = Elements(shapes, table, lost)
        result.total = result._sum_up()
        result._cut(most)
        store.release()
        return result

    @property
    def feature(self) -> I64:
        """(P,) the feature of each piece; the pieces of a feature follow one another."""
        return self.store["feature"]

    @property
    def first(self) -> I64:
        """(P + 1,) the instances of piece p are instance[first[p] : first[p + 1]]."""
        return self.store["first"]

    @property
    def instance(self) -> I64:
        """(I,) see `first`."""
        return self.store["instance"]

    @property
    def weight(self) -> I64:
        """(P,) estimated vertices of each piece: twice its triangles."""
        return self.store["weight"]

    def placed(self, name: str, rows: Rows) -> Any:
        """A column of the plan (`tiling.meshes.plan`): `piece`, `box`, `weight`, `size` or `tie` of the pieces at some places."""
        return view(self.store[f"placed_{name}"], rows)

    @property
    def store(self) -> Store:
        """The columns (`COLUMNS`)."""
        return self.shapes.store

    def save(self) -> None:
        """Move everything to files, so that other processes can be given the elements: all stays where it is, and every unit of work is given names.

        Raises:
            StorageError: the disk is full.
        """
        self.store.write()
        self.table.save()

    def release(self) -> None:
        """Let go of what was read for the last tiles."""
        self.store.release()

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

    def count_of(self, features: I64) -> I64:
        """How many pieces features were cut into."""
        return np.asarray(np.searchsorted(self.feature, features, side="right") - np.searchsorted(self.feature, features), np.int64)

    def _sum_up(self) -> int:
        return sum(int(self.weight[a:b].sum()) for a, b in self.store.spans("weight", CHUNK))

    def once(self) -> int:
        """Vertices (estimated) of a tile of everything, which holds what repeats once where that is worth it."""
        return repeats.weight(self.shapes, self.instance)

    def one_tile(self, most: int) -> bool:
        """Whether the layer is a single tile, if a tile may hold `most` vertices."""
        drawn = self.total
        return drawn <= WHOLE * most or (drawn <= repeats.DRAWN * WHOLE * most and self.once() <= WHOLE * most)

    def measure(self, a: int, b: int) -> F64:
        """(b − a, 2, 3) boxes of some pieces in the layer's reference: ±inf without triangles, NaN where a place is not finite."""
        box = np.empty((b - a, 2, 3))
        box[:, 0], box[:, 1] = np.inf, -np.inf
        first = self.first[a : b + 1]
        instance = self.instance[first[0] : first[-1]]
        piece = np.repeat(np.arange(b - a), np.diff(first))
        drawn = np.flatnonzero(self.shapes.triangles_of(instance) > 0)
        for some, placed in self.shapes.boxes(instance[drawn]):
            owner = piece[drawn[some]]
            np.minimum.at(box[:, 0], owner, placed[:, 0])
            np.maximum.at(box[:, 1], owner, placed[:, 1])
        return box

    def _cut(self, most: int) -> None:
        """Features of more than `most` vertices become pieces of at most half as many, with prototypes of their own; not where all of the layer is one tile."""
        large = [a + f for a, b in self.store.spans("weight", CHUNK) for f in np.flatnonzero(self.weight[a:b] > most).tolist()]
        if not large or self.one_tile(most):
            return
        self.store.write()
        feature, first, instance, weight = self.feature, self.first, self.instance, self.weight
        for name in ("feature", "first", "instance", "weight"):
            self.store.drop(name)
        done = 0
        shift = 0  # instances that were added so far, less those in whose place they are
        for f in large:
            self._copy(feature, first, instance, weight, done, f, shift)
            begin, end = int(first[f]), int(first[f + 1])
            runs = _runs(self.shapes, instance[begin:end].tolist(), max(most // 4, 1))
            sizes = np.array([len(run) for run in runs])
            drawn = np.array([i for run in runs for i in run], np.int64)
            self.store.add("feature", np.full(len(runs), f))
            self.store.add("first", begin + shift + np.cumsum(sizes) - sizes)
            self.store.add("instance", drawn)
            self.store.add("weight", np.add.reduceat(2 * self.shapes.triangles_of(drawn), np.cumsum(sizes) - sizes))
            shift += len(drawn) - (end - begin)
            done = f + 1
            self.store.release()
        self._copy(feature, first, instance, weight, done, len(feature), shift)
        self.store.add("first", first[-1:] + shift)

    def _copy(self, feature: I64, first: I64, instance: I64, weight: I64, a: int, b: int, shift: int) -> None:
        """Pieces that stay as they are."""
        for at in range(a, b, CHUNK):
            end = min(at + CHUNK, b)
            self.store.add("feature", feature[at:end].copy())
            self.store.add("first", first[at:end] + shift)
            self.store.add("weight", weight[at:end].copy())
            self.store.add("instance", instance[first[at] : first[end]].copy())

    def mark(self) -> None:
        """Fill the column `pieces`, (P,) digests: of each piece's feature's row, and of all that it draws and where, one after the other."""
        from tiling.digests import digests  # noqa: PLC0415  numba takes half a second to load: models of one tile never need it

        self.store.drop("pieces")  # a build that is begun again
        rows = 0
        for table in self.table.batches():
            a, b = np.searchsorted(self.feature, (rows, rows + len(table))).tolist()
            row = digests(table)[self.feature[a:b] - rows]
            rows += len(table)
            first = self.first[a : b + 1]
            count = np.diff(first)
            place = np.arange(int(count.sum())) - np.repeat(first[:-1] - first[0], count)
            with np.errstate(over="ignore"):
                power = np.cumprod(np.full(int(count.max(initial=0)) + 1, _PRIME))[place]
                drawn = np.concatenate([np.zeros(1, np.uint64), np.cumsum(self.shapes.digests(self.instance[first[0] : first[-1]]) * power)])
                total = drawn[first[1:] - first[0]] - drawn[first[:-1] - first[0]]
                mixed = (row ^ (total + count.astype(np.uint64))) * _PRIME
            self.store.add("pieces", mixed ^ (mixed >> np.uint64(31)) ^ row)
            self.release()


def _pieces(shapes: Shapes) -> dict[int, int]:
    """Fill the columns of pieces, each a whole feature, from the pairs of rows and instances; returns how many triangles of each feature were lost."""
    store, count, at = shapes.store, 0, 0
    lost: dict[int, int] = {}
    broken = np.array(sorted(shapes.lost), np.int64)
    for some in keys.in_order(store["owner"].view(np.uint64), KEYS):
        rows, instance = store["owner"][some], store["owned"][some]
        order = np.lexsort((instance, rows))
        rows, instance = rows[order], instance[order]
        used, first = np.unique(rows, return_index=True)
        weight = np.add.reduceat(2 * shapes.triangles_of(instance), first)
        feature = count + np.arange(len(used))
        prototype = store["prototype"][instance]
        for k in np.flatnonzero(np.isin(prototype, broken)).tolist():
            own = int(feature[np.searchsorted(used, rows[k])])
            lost[own] = lost.get(own, 0) + shapes.lost[int(prototype[k])]
        for name, column in (("used", used), ("feature", feature), ("first", at + first), ("instance", instance), ("weight", weight)):
            store.add(name, column)
        count, at = count + len(used), at + len(rows)
        store.release()
    store.add("first", np.array([at]))
    return lost


def _attributes(lake: Lake, version: LayerVersion, used: I64, folder: Path, room: int) -> Attributes:
    """The rows that are used of the feature parts: id, attributes (inherited ones, too), and parent if any has one."""
    paths = [lake.path(p.key) for p in version.parts if p.role == "features"]

    def columns(schema: pa.Schema) -> list[str]:
        return ["id", *(name for name in schema.names if name not in ("id", "parent", "geometry", "bbox")), "parent"]

    def rows() -> Iterator[pa.Table]:
        at = 0
        for path in paths:
            with pq.ParquetFile(path, pre_buffer=False) as part:
                names = columns(part.schema_arrow)
                for batch in part.iter_batches(columns=names):
                    a, b = np.searchsorted(used, (at, at + len(batch)))
                    table = pa.Table.from_batches([batch]).select(names)
                    table = table if b - a == len(batch) else table.take(pa.array(used[a:b] - at))
                    yield table if above is None else above.fill(table)
                    at += len(batch)

    schemas = [schema.empty_table().select(columns(schema)).schema.remove_metadata() for schema in map(pq.read_schema, paths)]
    schema, inherited = pa.unify_schemas(schemas), [column.name for column in version.columns if column.inherited]
    above = Inherited.of(paths, inherited, schema, folder / "above.arrow", room) if inherited else None
    return Attributes.gather(schema, rows(), folder / "features.arrow", room)


def metres(reference: Reference, y: F64) -> F64:
    """(N, 3) metres per unit of a layer's coordinates at some northings (latitudes where it is in degrees), near enough for sizes."""
    unit = np.ones((len(y), 3))
    unit[:, 2] = reference.vertical_unit
    system = crs.crs_of(reference.horizontal)
    if system.is_geographic:
        unit[:, 0], unit[:, 1] = 111_320.0 * sine_cosine(y)[1], 110_574.0
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
        total = int(shapes.triangles_of(np.array([i]))[0])
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
