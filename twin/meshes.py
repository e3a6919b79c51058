"""Mesh batches ↔ tables of the lake: prototypes, instances, images; the features go the way of all features (`twin.parts`)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import shapely
from numpy.typing import NDArray

from twin.lake import Lake
from twin.model import Bounds, Features, LayerVersion, Material, Mesh, Part, Texture

IMAGES = "mesh:images"
IMAGES_A_GROUP = 8
"""Images in a row group: what is read to get at one."""
GROUP = 1 << 24
"""Bytes of prototypes in a row group, about."""
READ, MOST = 1 << 20, 8192
"""Bytes of prototypes, and prototypes, that are read at a time, about."""
AT_A_TIME = 1 << 20
"""Vertices that are placed at a time, about."""
ALWAYS = ("id", "parent", "geometry", "bbox")
_TRANSFORM = pa.list_(pa.float64(), 16)
#: Columns of prototypes that hold one array each: (name in the table, type in the file, numbers a row).
_ARRAYS = {"positions": ("<f8", (3,)), "triangles": ("<i4", (3,)), "materials": ("<i4", ()), "uv": ("<f4", (3, 2)), "colors": ("|u1", (3, 4))}

Flat = dict[str, tuple[NDArray[Any], NDArray[np.int64]]]
"""Of prototypes by name of the array: the rows of all, one behind the other, and how many each has."""
File = tuple[str, pa.Table, Bounds | None, dict[str, Any]]


def tables(mesh: Mesh, stored: set[str]) -> tuple[list[File], Features]:
    """(the files of a batch as (role, table, bounds, properties); its features with their plan outlines).

    `stored`: images that earlier batches of the version hold; those of this batch are added.
    """
    vertices, corners = mesh.vertex_start, mesh.triangle_start
    columns: dict[str, tuple[NDArray[Any], NDArray[np.int64]]] = {"positions": (mesh.positions, vertices), "triangles": (mesh.triangles, corners)}
    columns["materials"] = (mesh.triangle_material, corners)
    columns |= {name: (array, corners) for name, array in (("uv", mesh.uv), ("colors", mesh.colors)) if array is not None}
    prototypes = pa.table({name: _split(array.astype(_ARRAYS[name][0]), start) for name, (array, start) in columns.items()})
    instances = pa.table({
        "prototype": pa.array(mesh.instance_prototype), "feature": mesh.ids.take(pa.array(mesh.instance_feature)),
        "transform": pa.FixedSizeListArray.from_arrays(pa.array(mesh.transforms.reshape(-1)), type=_TRANSFORM),
    })  # fmt: skip
    boxes, outline = _outlines(mesh)
    placed = boxes[np.isfinite(boxes).all(axis=(1, 2))]
    bounds = Bounds.of(placed.reshape(-1, 3)) if len(placed) else None
    files: list[File] = [("mesh:prototypes", prototypes, bounds, {"materials": [_material_json(m) for m in mesh.materials]}), ("mesh:instances", instances, bounds, {})]
    new = sorted({m.texture.image for m in mesh.materials if m.texture is not None} - stored)
    if new:
        stored |= set(new)
        files.append((IMAGES, pa.table({"image": new, "data": pa.array([mesh.images[key] for key in new], pa.large_binary())}), None, {}))
    return files, Features(mesh.reference, mesh.ids, outline, mesh.attributes, mesh.parents)


def _split(array: NDArray[Any], start: NDArray[np.int64]) -> pa.Array:
    return pa.array([array[a:b].tobytes() for a, b in pairwise(start.tolist())], pa.large_binary())


def _material_json(m: Material) -> list[Any]:
    row: list[Any] = [m.name, list(m.color), m.double_sided]
    return row if m.texture is None else [*row, [m.texture.image, list(m.texture.size), list(m.texture.wrap)]]


def _material_of(row: list[Any]) -> Material:
    name, color, double, *texture = row
    look = None
    if texture:
        image, size, wrap = texture[0]
        look = Texture(image, (size[0], size[1]), (wrap[0], wrap[1]))
    return Material(name, (color[0], color[1], color[2], color[3]), double, look)


def _outlines(mesh: Mesh) -> tuple[NDArray[np.float64], NDArray[np.object_]]:
    """((I, 2, 3) boxes of the placed instances, (F,) plan rectangle with the lowest height of each feature, None without geometry)."""
    count = len(mesh.instance_prototype)
    boxes = np.empty((count, 2, 3))
    first = mesh.vertex_start[mesh.instance_prototype]
    for some, placed in placed_alike(mesh.positions, first, mesh.vertex_start[mesh.instance_prototype + 1] - first, mesh.transforms):
        boxes[some, 0], boxes[some, 1] = placed.min(axis=1), placed.max(axis=1)
    outline = np.full(len(mesh), None, dtype=object)
    if count:
        low = np.full((len(mesh), 3), np.inf)
        high = np.full((len(mesh), 3), -np.inf)
        np.minimum.at(low, mesh.instance_feature, boxes[:, 0])
        np.maximum.at(high, mesh.instance_feature, boxes[:, 1])
        has = np.isfinite(low).all(axis=1) & np.isfinite(high).all(axis=1)
        corners = np.stack([
            np.column_stack([low[has, 0], low[has, 1]]), np.column_stack([high[has, 0], low[has, 1]]),
            np.column_stack([high[has, 0], high[has, 1]]), np.column_stack([low[has, 0], high[has, 1]]),
        ], axis=1)  # fmt: skip
        corners = np.concatenate([corners, corners[:, :1]], axis=1)
        heights = np.broadcast_to(low[has, 2][:, None, None], (len(corners), 5, 1))
        outline[has] = shapely.polygons(np.concatenate([corners, heights], axis=2))
    if mesh.outlines is not None:
        own = np.array([shape is not None for shape in mesh.outlines])
        outline[own] = mesh.outlines[own]
    return boxes, outline


def placed_alike(
    positions: NDArray[np.float64], first: NDArray[np.int64], count: NDArray[np.int64], transforms: NDArray[np.float64]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float64]]]:
    """Instances with as many vertices as each other at a time: ((K,) which they are, (K, V, 3) their vertices where they stand), about a million vertices at most.

    Args:
        positions: (N, 3) vertices of all prototypes. first, count: (I,) where those of each instance begin, and how many there are.
        transforms: (I, 4, 4).
    """
    order = np.argsort(count, kind="stable")
    for alike in np.split(order, np.flatnonzero(np.diff(count[order])) + 1):
        size = int(count[alike[0]]) if len(alike) else 0
        step = max(1, AT_A_TIME // max(size, 1))
        for at in range(0, len(alike), step):
            some = alike[at : at + step]
            t = transforms[some]
            # one product for each instance, as if each were multiplied by itself: not a bit differs
            yield some, positions[first[some][:, None] + np.arange(size)] @ t[:, :3, :3].transpose(0, 2, 1) + t[:, None, :3, 3]


def read_part(path: Path, columns: list[str] | None = None) -> pa.Table:
    """A Parquet file whole, or some columns of it; `pyarrow.parquet.read_table` would first load the library of data sets, for files that are many."""
    with pq.ParquetFile(path) as file:
        return file.read(columns)


def read_meshes(lake: Lake, version: LayerVersion) -> Iterator[Mesh]:
    """The meshes of a version; each prototypes/instances pair is one Mesh with the feature rows it uses."""
    features = pa.concat_tables([read_part(lake.path(p.key)) for p in version.parts if p.role == "features"])
    row_of = {text: row for row, text in enumerate(features.column("id").to_pylist())}
    images = Images(lake, version)
    shapes = [p for p in version.parts if p.role == "mesh:prototypes"]
    placed = [p for p in version.parts if p.role == "mesh:instances"]
    for shape_part, place_part in zip(shapes, placed, strict=True):
        prototypes, instances = read_part(lake.path(shape_part.key)), read_part(lake.path(place_part.key))
        used = np.array([row_of[text] for text in instances.column("feature").to_pylist()], dtype=np.int64)
        rows, local = np.unique(used, return_inverse=True)
        part = features.take(pa.array(rows))
        arrays = {name: _pieces(prototypes, name) for name in _ARRAYS}
        names = [name for name in part.column_names if name not in ALWAYS]
        yield Mesh(
            version.reference, part.column("id").combine_chunks(), part.select(names), _joined(arrays, "positions"), _joined(arrays, "triangles"),
            _joined(arrays, "materials"), np.cumsum([0, *map(len, arrays["positions"])]), np.cumsum([0, *map(len, arrays["triangles"])]),
            instances.column("prototype").to_numpy().astype(np.int32), local.astype(np.int32),
            np.array(instances.column("transform").combine_chunks().values).reshape(-1, 4, 4),
            tuple(materials_of(shape_part)), part.column("parent").combine_chunks(),
            _joined(arrays, "uv") if "uv" in prototypes.column_names else None, _joined(arrays, "colors") if "colors" in prototypes.column_names else None, images,
        )  # fmt: skip


def materials_of(part: Part) -> list[Material]:
    """The materials of a part of prototypes; `materials` of its triangles count in them."""
    return [_material_of(row) for row in part.properties["materials"]]


def stream_prototypes(lake: Lake, part: Part) -> Iterator[Flat]:
    """A part's prototypes, about a megabyte at a time: `positions`, `triangles`, `materials`, perhaps `uv` and `colors` of all of them."""
    with pq.ParquetFile(lake.path(part.key), pre_buffer=False) as file:  # else Arrow keeps all that it has read until the end
        about = file.metadata
        size = sum(about.row_group(k).total_byte_size for k in range(about.num_row_groups))
        rows = min(max(READ * about.num_rows // max(size, 1), 1), MOST)
        for batch in file.iter_batches(batch_size=rows, use_threads=False):
            yield {name: _flat(batch.column(name), name) for name in _ARRAYS if name in batch.schema.names}


def stream_instances(lake: Lake, part: Part, rows: int = 65_536) -> Iterator[tuple[NDArray[np.int32], pa.Array, NDArray[np.float64]]]:
    """A part's instances, at most `rows` at a time: (prototype of the part, id of the feature, (N, 4, 4) transform)."""
    with pq.ParquetFile(lake.path(part.key), pre_buffer=False) as file:
        for batch in file.iter_batches(batch_size=rows, use_threads=False):
            transforms = np.asarray(batch.column("transform").flatten()).reshape(-1, 4, 4)
            yield batch.column("prototype").to_numpy(zero_copy_only=False).astype(np.int32), batch.column("feature"), transforms


def rows_a_group(role: str, table: pa.Table) -> int | None:
    """Rows of a row group of a part of a mesh: so many as are read at a time; None where it does not matter."""
    if role == IMAGES:
        return IMAGES_A_GROUP
    if role == "mesh:prototypes" and len(table):
        return max(1, min(len(table), GROUP * len(table) // max(int(table.nbytes), 1)))
    return None


def _flat(column: pa.Array, name: str) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """(the arrays of all rows of a column of prototypes one behind the other, (N,) how long each is)."""
    kind, shape = _ARRAYS[name]
    if pa.types.is_binary(column.type):
        column = column.cast(pa.large_binary())
    at = np.frombuffer(column.buffers()[1], np.int64)[column.offset : column.offset + len(column) + 1]
    width = np.dtype(kind).itemsize
    flat = np.frombuffer(column.buffers()[2] or b"", np.uint8)[at[0] : at[-1]].copy().view(kind).reshape(-1, *shape)  # a copy begins at a whole number
    return flat, np.diff(at) // (width * int(np.prod(shape, dtype=np.int64)))


def _pieces(prototypes: pa.Table, name: str) -> list[NDArray[Any]]:
    kind, shape = _ARRAYS[name]
    return [np.frombuffer(b, kind).reshape(-1, *shape) for b in prototypes.column(name).to_pylist()] if name in prototypes.column_names else []


def _joined(arrays: dict[str, list[NDArray[Any]]], name: str) -> NDArray[Any]:
    kind, shape = _ARRAYS[name]
    return np.concatenate(arrays[name]) if arrays[name] else np.zeros((0, *shape), kind)


class Images(Mapping[str, bytes]):
    """The image files of a version by SHA-256; read when asked for, the last few groups of them kept."""

    KEPT = 4

    def __init__(self, lake: Lake, version: LayerVersion) -> None:
        self._lake = lake
        self._parts = [part.key for part in version.parts if part.role == IMAGES]
        self._at: dict[str, tuple[str, int]] | None = None
        self._groups: OrderedDict[tuple[str, int], dict[str, bytes]] = OrderedDict()

    def _index(self) -> dict[str, tuple[str, int]]:
        """(part, row group) of each image."""
        if self._at is None:
            self._at = {}
            for key in self._parts:
                with pq.ParquetFile(self._lake.path(key)) as file:
                    for group in range(file.num_row_groups):
                        names = file.read_row_group(group, columns=["image"]).column("image").to_pylist()
                        self._at |= dict.fromkeys(cast("list[str]", names), (key, group))
        return self._at

    def __getitem__(self, image: str) -> bytes:
        place = self._index()[image]
        if place not in self._groups:
            with pq.ParquetFile(self._lake.path(place[0])) as file:
                table = file.read_row_group(place[1])
            self._groups[place] = dict(zip(table.column("image").to_pylist(), table.column("data").to_pylist(), strict=True))
            if len(self._groups) > self.KEPT:
                self._groups.popitem(last=False)
        self._groups.move_to_end(place)
        return self._groups[place][image]

    def __iter__(self) -> Iterator[str]:
        return iter(self._index())

    def __len__(self) -> int:
        return len(self._index())
