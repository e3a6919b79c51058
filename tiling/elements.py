"""The features of a mesh layer as the tiler sees them: measured, cut where they are too large, and placed in a tile's frame.

A *piece* is what the plan places: a whole feature, or, of a feature with more triangles than a tile may hold, a run of its
triangles that lie together. Prototypes stay shared until a tile is built.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tiling import partition
from tiling.gltf import Surface
from twin import crs
from twin.errors import BadFeature
from twin.lake import Lake
from twin.meshes import read_meshes
from twin.model import LayerVersion, Material, Mesh

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
Part = tuple[int, I64 | None]
"""An instance of the feature's batch, and which of its prototype's triangles (None: all)."""


@dataclass(frozen=True)
class Soup:
    """Triangles in a tile's frame, with what each carries.

    Attributes:
        positions: (V, 3) metres. triangles: (T, 3).
        owner: (T,) position of the feature in the tile's list of features. material: (T,) number in `surfaces`.
        uv: (T, 3, 2) of the corners, NaN where there are none; None where no triangle has any. colors: (T, 3, 4) uint8 or None.
        surfaces: the materials, by number.
        heights: lowest and highest ellipsoidal height.
    """

    positions: F64
    triangles: I64
    owner: I64
    material: I64
    uv: NDArray[np.float32] | None
    colors: NDArray[np.uint8] | None
    surfaces: Palette
    heights: tuple[float, float]

    def take(self, triangles: I64, source: I64, corner: I64 | None = None) -> Soup:
        """Some triangles (rows of `positions`), each with what its `source` carries, or corner by corner what `corner` (T, 3) names."""
        def corners(column: NDArray[Any] | None) -> Any:
            if column is None:
                return None
            return column[source] if corner is None else column.reshape(-1, column.shape[2])[corner]

        return replace(self, triangles=triangles, owner=self.owner[source], material=self.material[source], uv=corners(self.uv), colors=corners(self.colors))

    @staticmethod
    def join(many: list[Soup]) -> Soup:
        """One after the other; they share a palette."""
        if len(many) == 1:
            return many[0]
        first = np.cumsum([0, *(len(s.positions) for s in many)])
        counts = [len(s.triangles) for s in many]
        return Soup(
            np.concatenate([s.positions for s in many]), np.concatenate([s.triangles + k for s, k in zip(many, first, strict=False)]),
            np.concatenate([s.owner for s in many]), np.concatenate([s.material for s in many]), _joined([s.uv for s in many], counts, 2, np.nan, np.float32),
            _joined([s.colors for s in many], counts, 4, 255, np.uint8), many[0].surfaces,
            (min(s.heights[0] for s in many), max(s.heights[1] for s in many)),
        )  # fmt: skip


def _joined(columns: list[Any], counts: list[int], width: int, empty: float, kind: Any) -> Any:
    """Columns of corners one after the other, `empty` where there are none; None where none has any."""
    if all(column is None for column in columns):
        return None
    return np.concatenate([np.full((n, 3, width), empty, kind) if c is None else c for c, n in zip(columns, counts, strict=True)])


class Palette:
    """The materials met in a tile, numbered; those that look the same are one."""

    def __init__(self) -> None:
        self._number: dict[tuple[Any, ...], int] = {}
        self._of_mesh: dict[int, I64] = {}
        self.materials: list[Material] = []

    def numbers(self, mesh: Mesh) -> I64:
        """The number of each of a mesh's materials."""
        if id(mesh) not in self._of_mesh:
            self._of_mesh[id(mesh)] = np.array([self._add(m) for m in mesh.materials], np.int64)
        return self._of_mesh[id(mesh)]

    def _add(self, material: Material) -> int:
        look = (material.color, material.double_sided, material.texture)
        if look not in self._number:
            self._number[look] = len(self.materials)
            self.materials.append(material)
        return self._number[look]

    def __len__(self) -> int:
        return len(self.materials)

    def surface(self, number: int) -> Surface:
        """A material as glTF draws it, without texture."""
        return Surface(self.materials[number].color, double_sided=self.materials[number].double_sided)


@dataclass(frozen=True)
class Elements:
    """All features of a layer's meshes, one after the other.

    Attributes:
        meshes: the layer's batches; first: (B + 1,) number of each batch's first feature.
        table: id, attributes (and parent) of every feature.
        instances: per feature, the rows of its batch's instances.
        feature: (P,) the feature of each piece; the pieces of a feature follow one another.
        parts: what a piece draws, of the pieces of features that were cut.
    """

    meshes: list[Mesh]
    first: I64
    table: pa.Table
    instances: list[I64]
    feature: I64
    parts: dict[int, list[Part]] = field(default_factory=dict)

    @staticmethod
    def of(lake: Lake, version: LayerVersion, most: int) -> Elements:
        """Read them; prototypes stay shared, nothing is placed yet. Features of more than `most` vertices are cut."""
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
        table = pa.concat_tables(tables, promote_options="default").combine_chunks()
        return Elements(meshes, first, table, instances, np.arange(len(table))).cut(most)

    def find(self, feature: int) -> Mesh:
        """The batch that holds a feature."""
        return self.meshes[int(np.searchsorted(self.first, feature, side="right")) - 1]

    def parts_of(self, piece: int) -> list[Part]:
        """The instances of a piece."""
        found = self.parts.get(piece)
        return found if found is not None else [(int(i), None) for i in self.instances[int(self.feature[piece])]]

    def count_of(self, feature: int) -> int:
        """How many pieces a feature was cut into."""
        return int(np.searchsorted(self.feature, feature, side="right") - np.searchsorted(self.feature, feature))

    def weight_of(self, piece: int) -> int:
        """Estimated vertices of a piece: twice its triangles."""
        mesh = self.find(int(self.feature[piece]))
        start, prototype = mesh.triangle_start, mesh.instance_prototype
        return 2 * sum(int(start[prototype[i] + 1] - start[prototype[i]]) if rows is None else len(rows) for i, rows in self.parts_of(piece))

    def cut(self, most: int) -> Elements:
        """The same with features of more than `most` vertices in pieces of at most half as many."""
        large = np.flatnonzero(_weights(self) > most)
        if not len(large):
            return self
        runs = {int(f): list(_runs(self.find(int(f)), self.instances[int(f)], max(most // 4, 1))) for f in large}
        count = np.ones(len(self.table), np.int64)
        count[large] = [len(runs[int(f)]) for f in large]
        start = np.cumsum(count) - count
        parts = {int(start[f]) + k: run for f, many in runs.items() for k, run in enumerate(many)}
        return replace(self, feature=np.repeat(np.arange(len(self.table)), count), parts=parts)

    def measure(self) -> tuple[F64, I64, F64]:
        """((P, 2, 3) boxes of the pieces in the layer's reference (±inf without triangles), (P,) estimated vertices, (3,) metres per unit)."""
        box = np.empty((len(self.table), 2, 3))
        box[:, 0], box[:, 1] = np.inf, -np.inf
        for first, mesh in zip(self.first, self.meshes, strict=False):
            corners = _corners(mesh)
            t = mesh.transforms
            placed = np.einsum("ijk,ilk->ilj", t[:, :3, :3], corners[mesh.instance_prototype]) + t[:, None, :3, 3]
            owner = mesh.instance_feature + first
            np.minimum.at(box[:, 0], owner, placed.min(axis=1))
            np.maximum.at(box[:, 1], owner, placed.max(axis=1))
        box, weight = box[self.feature], _weights(self)[self.feature]
        for piece, parts in self.parts.items():
            mesh = self.find(int(self.feature[piece]))
            shapes = [shape(mesh, part) for part in parts]
            placed = np.concatenate([own @ mesh.transforms[part[0], :3, :3].T + mesh.transforms[part[0], :3, 3] for part, (own, _, _) in zip(parts, shapes, strict=True)])
            box[piece], weight[piece] = (placed.min(axis=0), placed.max(axis=0)), 2 * sum(len(rows) for _, rows, _ in shapes)
        return box, weight, _metres(self.meshes[0], box)


def _metres(mesh: Mesh, box: F64) -> F64:
    """(3,) metres per unit of the layer's coordinates, near enough for sizes."""
    unit = np.array([1.0, 1.0, mesh.reference.vertical_unit])
    reference = crs.crs_of(mesh.reference.horizontal)
    good = box[np.isfinite(box).all(axis=(1, 2))]
    if reference.is_geographic and len(good):
        unit[:2] = 111_320.0 * np.cos(np.radians(float(good[:, :, 1].mean()))), 110_574.0
    elif len(reference.axis_info):
        unit[:2] = reference.axis_info[0].unit_conversion_factor
    return unit


def _weights(elements: Elements) -> I64:
    """(F,) estimated vertices: twice the triangles."""
    weight = np.zeros(len(elements.table), np.int64)
    for first, mesh in zip(elements.first, elements.meshes, strict=False):
        np.add.at(weight, mesh.instance_feature + first, 2 * np.diff(mesh.triangle_start)[mesh.instance_prototype])
    return weight


def _corners(mesh: Mesh) -> F64:
    """(prototypes, 8, 3) corners of each prototype's box; NaN where it has no vertex."""
    corners = np.full((len(mesh.vertex_start) - 1, 8, 3), np.nan)
    for p in range(len(corners)):
        vertices = mesh.positions[mesh.vertex_start[p] : mesh.vertex_start[p + 1]]
        if len(vertices):
            corners[p] = np.where(np.indices((2, 2, 2)).reshape(3, 8).T, vertices.max(axis=0), vertices.min(axis=0))
    return corners


def _runs(mesh: Mesh, instances: I64, most: int) -> Iterable[list[Part]]:
    """The triangles of one feature in runs of at most `most`, those of a large instance along a curve that keeps neighbours together."""
    run: list[Part] = []
    count = 0
    for i in instances.tolist():
        p = mesh.instance_prototype[i]
        total = int(mesh.triangle_start[p + 1] - mesh.triangle_start[p])
        if not total:
            continue
        order = None if total <= most else _along(mesh, p)
        for start in range(0, total, most):
            size = min(most, total - start)
            if count + size > most:
                yield run
                run, count = [], 0
            run.append((i, None if order is None else np.sort(order[start : start + size])))
            count += size
    if run:
        yield run


def _along(mesh: Mesh, p: int) -> I64:
    """Triangles of a prototype in the order of a quadtree over its plan, or over its two longest sides if it stands."""
    vertices = mesh.positions[mesh.vertex_start[p] : mesh.vertex_start[p + 1]]
    corners = mesh.triangles[mesh.triangle_start[p] : mesh.triangle_start[p + 1]]
    low, high = vertices.min(axis=0), vertices.max(axis=0)
    axes = np.sort(np.argsort(low - high, kind="stable")[:2])
    span = max(float((high - low).max()), 1e-9)
    x, y = (_middles(np.clip(np.nan_to_num((vertices[:, k] - low[k]) / span) * 65_535, 0, 65_535).astype(np.uint32), corners) for k in axes)
    return np.argsort(partition.interleave(x, y), kind="stable")


def _middles(grid: NDArray[np.uint32], corners: NDArray[np.int32]) -> NDArray[np.uint64]:
    """(T,) the mean of each triangle's corners on a grid."""
    total = grid[corners[:, 0]]
    total += grid[corners[:, 1]]
    total += grid[corners[:, 2]]
    return (total // 3).astype(np.uint64)


def shape(mesh: Mesh, part: Part) -> tuple[F64, NDArray[np.integer[Any]], slice | I64]:
    """(vertices, corners into them, rows of the batch's triangles) of a part, prototype-local."""
    p = mesh.instance_prototype[part[0]]
    own = mesh.positions[mesh.vertex_start[p] : mesh.vertex_start[p + 1]]
    span = slice(int(mesh.triangle_start[p]), int(mesh.triangle_start[p + 1]))
    if part[1] is None:
        return own, mesh.triangles[span], span
    used, local = np.unique(mesh.triangles[span][part[1]], return_inverse=True)
    return own[used], local.reshape(-1, 3), part[1] + span.start


Item = tuple[int, Mesh, Part]
"""What is to be placed: the number that stands in `owner`, the batch, the part."""


def items(elements: Elements, pieces: I64, number: I64) -> list[Item]:
    """Everything that some pieces draw; `number` (K,) is what stands in `owner` for each."""
    found: list[Item] = []
    for position, piece in zip(number.tolist(), pieces.tolist(), strict=True):
        mesh = elements.find(int(elements.feature[piece]))
        found.extend((position, mesh, part) for part in elements.parts_of(piece))
    return found


def place(wanted: list[Item], frame: F64, surfaces: Palette) -> Soup | None:
    """Triangles, transformed vertex by vertex through the map CRS (law 4) into a tile's frame; None where there are none.

    Args:
        frame: (4, 4) the tile's frame → ECEF.
    """
    placed, triangles, owners, materials = [], [], [], []
    uv: list[Any] = []
    colors: list[Any] = []
    count = 0
    for position, mesh, part in wanted:
        own, corners, rows = shape(mesh, part)
        if not len(own) or not len(corners):
            continue
        t = mesh.transforms[part[0]]
        placed.append(own @ t[:3, :3].T + t[:3, 3])
        turn = slice(None, None, -1) if mirrored(t) else slice(None)
        triangles.append(corners[:, turn].astype(np.int64) + count)
        owners.append(np.full(len(corners), position))
        materials.append(surfaces.numbers(mesh)[mesh.triangle_material[rows]])
        uv.append(None if mesh.uv is None else mesh.uv[rows][:, turn])
        colors.append(None if mesh.colors is None else mesh.colors[rows][:, turn])
        count += len(own)
    if not placed:
        return None
    counts = [len(t) for t in triangles]
    geodetic = crs.to_geodetic(wanted[0][1].reference, np.concatenate(placed))
    positions = (crs.geodetic_to_ecef(geodetic) - frame[:3, 3]) @ frame[:3, :3]
    return Soup(positions, np.concatenate(triangles), np.concatenate(owners), np.concatenate(materials), _joined(uv, counts, 2, np.nan, np.float32),
                _joined(colors, counts, 4, 255, np.uint8), surfaces, (float(geodetic[:, 2].min()), float(geodetic[:, 2].max())))  # fmt: skip


def gathered(wanted: list[Item], frame: F64, surfaces: Palette, aim: float, most: int) -> tuple[Soup | None, float]:
    """(`place`, metres that vertices were moved by at most): what is more than `most` vertices is thinned while it is placed.

    Corners then go to the middles of a grid of cubes that is the same for all tiles (so that no gaps open between them), of at most
    half of `aim` a side; triangles that vanish or repeat are left out. So memory holds what the grid can hold.
    """
    weights = np.cumsum([2 * _triangles_of(mesh, part) for _, mesh, part in wanted])
    if weights[-1] <= 2 * most:
        return place(wanted, frame, surfaces), 0.0
    side = 2.0 ** np.floor(np.log2(aim / 2))
    thinned = []
    for k in range(int(weights[-1] // most) + 1):
        soup = place([item for item, weight in zip(wanted, weights, strict=True) if weight // most == k], frame, surfaces)
        if soup is not None:
            thinned.append(_snapped(soup, frame, side))
    return Soup.join(thinned), side * np.sqrt(3) / 2


def _triangles_of(mesh: Mesh, part: Part) -> int:
    p = mesh.instance_prototype[part[0]]
    return int(mesh.triangle_start[p + 1] - mesh.triangle_start[p]) if part[1] is None else len(part[1])


def _snapped(soup: Soup, frame: F64, side: float) -> Soup:
    """Vertices moved to the middles of the earth-fixed cubes of a grid."""
    cell = np.floor((soup.positions @ frame[:3, :3].T + frame[:3, 3]) / side).astype(np.int64)
    found, place_of = np.unique(cell, axis=0, return_inverse=True)
    triangles = place_of.ravel()[soup.triangles]
    good = np.flatnonzero((triangles != triangles[:, [1, 2, 0]]).all(axis=1))
    turn = triangles[good].argmin(axis=1)
    turned = triangles[good[:, None], (turn[:, None] + np.arange(3)) % 3]
    _, first = np.unique(np.column_stack([soup.owner[good], turned]), axis=0, return_index=True)
    kept = good[np.sort(first)]
    positions = ((found + 0.5) * side - frame[:3, 3]) @ frame[:3, :3]
    return replace(soup.take(triangles[kept], kept), positions=positions)


def mirrored(t: F64) -> bool:
    """Whether a transform turns right hands into left ones."""
    (a, b, c), (d, e, f), (g, h, k) = t[:3, :3].tolist()
    return bool(a * (e * k - f * h) - b * (d * k - f * g) + c * (d * h - e * g) < 0)
