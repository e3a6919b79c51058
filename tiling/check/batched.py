"""The features of 3D Tiles 1.0: what b3dm and i3dm draw, with the rows of their batch tables, as a model of 1.1 would hold them.

Source: 3D Tiles 1.0 (OGC 18-053r2), Batch Table, Batched 3D Model, Instanced 3D Model, Composite.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .glb import Model
from .gltf import Read
from .issues import Report, Where
from .legacy import TYPES, WIDTHS, OldTile, binary, embedded, inner_tiles, instance_moves, instanced_body, length, moved, split, vector
from .scene import F64, FeatureIds, Primitive
from .tables import PropertyTable

IDS = ("id", "gml:id", "gml_id", "gmlid", "globalid", "uuid")
"""Columns that may hold what a feature is called, the likeliest first, in any case: 1.0 has no word for which does."""


def models(data: bytes, read: Read, where: Where, up: str) -> list[Model]:
    """Every glTF that a content of version 1.0 draws, placed and with feature ids into its batch table as its only property table.

    What cannot be read is left out (`legacy` has told of it), as are point clouds, whose batch tables tell of points.
    """
    quiet = Where(Report(), where.uri)
    return list(_models(data, read, quiet, up))


def _models(data: bytes, read: Read, where: Where, up: str) -> Iterator[Model]:
    kind = data[:4]
    if kind == b"cmpt" and len(data) >= 16:
        for inner in inner_tiles(data, struct.unpack_from("<I", data, 12)[0], where):
            yield from _models(inner, read, where, up)
    if kind not in (b"b3dm", b"i3dm") or (tile := split(data, 28 if kind == b"b3dm" else 32, where)) is None:
        return
    model, moves, ids, count = (_batched if kind == b"b3dm" else _instanced)(tile, read, where, up)
    if model is None or moves is None:
        return
    table = _table(tile, count)
    for primitive in model.primitives:
        own = _vertex_ids(primitive) if ids is None else np.repeat(ids, primitive.instances)
        primitive.transforms = (moves[:, None] @ primitive.transforms[None]).reshape(-1, 4, 4)
        primitive.feature_ids, primitive.instance_feature_ids, primitive.tables = [], [], [table]
        if own is not None and table is not None:
            names = table.columns[table.semantics["ID"]]
            null = names.index("") if "" in names else None
            found = [FeatureIds(own, table.count, property_table=0, null_id=null)]
            if ids is None:
                primitive.feature_ids = found
            else:
                primitive.instance_feature_ids = found
    model.tables, model.schema = [table], None
    yield model


_Drawn = tuple[Model | None, F64 | None, NDArray[np.int64] | None, int]


def _batched(tile: OldTile, read: Read, where: Where, up: str) -> _Drawn:
    """(model, (1, 4, 4), None as vertices have ids, rows of the batch table)."""
    return embedded(tile.body, read, where, up), moved(vector(tile, "RTC_CENTER", where))[None], None, length(tile, "BATCH_LENGTH", where) or 0


def _instanced(tile: OldTile, read: Read, where: Where, up: str) -> _Drawn:
    """(model, (K, 4, 4), (K,) row of each instance, rows of the batch table)."""
    count = length(tile, "INSTANCES_LENGTH", where) or 0
    body, own = instanced_body(tile, read, where), binary(tile, "BATCH_ID", "UNSIGNED_SHORT", 1, count, where)
    ids = np.arange(count) if own is None else own[:, 0].astype(np.int64)
    return embedded(body, read, where, up) if body is not None else None, instance_moves(tile, count, where), ids, count


def _vertex_ids(primitive: Primitive) -> NDArray[np.int64] | None:
    ids = primitive.attributes.get("_BATCHID", primitive.attributes.get("BATCHID"))
    return None if ids is None else np.rint(ids.ravel()).astype(np.int64)


def _table(tile: OldTile, count: int) -> PropertyTable | None:
    """The batch table with its ids as texts ("" for the one row without any, which is what is no feature); None where no column holds ids."""
    columns = {name: column for name, value in tile.batch.items() if name not in ("extensions", "extras", "HIERARCHY") and (column := _column(tile, value, count)) is not None}
    by_name = {name.lower(): name for name in reversed(columns)}
    for name in (by_name[known] for known in IDS if known in by_name):
        ids = columns[name].tolist() if isinstance(columns[name], np.ndarray) else columns[name]
        if all(isinstance(one, str | int | None) for one in ids) and sum(one is None or one == "" for one in ids) <= 1:
            return PropertyTable("", "", count, {**columns, name: ["" if one is None else str(one) for one in ids]}, {"ID": name})
    return None


def _column(tile: OldTile, value: Any, count: int) -> Any:
    """(count,) values of one property, or (count, 2 to 4); None where they are not to be read."""
    if isinstance(value, list):
        return value if len(value) == count else None
    dtype, width = (TYPES.get(str(value.get("componentType"))), WIDTHS.get(str(value.get("type")))) if isinstance(value, dict) else (None, None)
    start = value.get("byteOffset") if isinstance(value, dict) else None
    if dtype is None or width is None or not isinstance(start, int) or start < 0 or start + count * width * dtype.itemsize > len(tile.batch_binary):
        return None
    found = np.frombuffer(tile.batch_binary, dtype, count * width, start)
    return found if width == 1 else found.reshape(count, width)
