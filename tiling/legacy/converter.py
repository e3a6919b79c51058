"""3D Tiles 1.1 → 1.0 for old clients: b3dm and pnts with batch tables, no extension that a client must know.

Every tile of a finished tileset is converted, one at a time. Meshes: the glTF's columns are written plain (float32, no
EXT_meshopt_compression, no KHR_mesh_quantization; a quantised number is exact in float32, so positions stay what they were),
feature ids become `_BATCHID`, the property table becomes the batch table, WebP pictures become PNG or JPEG, and each
instance of EXT_mesh_gpu_instancing becomes a node of its own over the same buffers. Points: POSITION around RTC_CENTER, RGB, and
what the points say (intensity; the numbers of their class) per point in the batch table; class names go to `asset.extras`.

Written here and not by py3dtiles (ADR 0012): its b3dm states the batch table's binary part as JSON; the tests read back with it.

Source: 3D Tiles 1.0 (OGC 18-053r2), Batched 3D Model, Point Cloud, Batch Table.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiling.check import Model, PropertyTable, Report, Where, load_model
from tiling.encoding.gltf import POINTS, linear
from tiling.legacy.glb import PlainGltf
from tiling.legacy.tree import tiles, write_out
from twin.archive import Archive
from twin.archive_set import ArchiveSet
from twin.errors import BadTileset

Array = NDArray[Any]
Listener = Callable[[float, str], None]
_BATCH_TYPES = {"b": "BYTE", "B": "UNSIGNED_BYTE", "h": "SHORT", "H": "UNSIGNED_SHORT", "i": "INT", "I": "UNSIGNED_INT", "f": "FLOAT", "d": "DOUBLE"}
_SRGB = np.rint(np.interp(np.arange(256) / 255, linear(np.linspace(0, 1, 4096)), np.linspace(0, 1, 4096)) * 255).astype(np.uint8)
EXACT = 2**53
"""Whole numbers beyond this are written as texts: JavaScript reads JSON numbers as float64."""


def convert(archive: Archive | ArchiveSet, folder: Path, listen: Listener = lambda fraction, doing: None) -> int:
    """Write a 1.1 tileset as one of version 1.0 into a folder (made here). Returns how many files were written.

    Raises:
        BadTileset: a tile or subtree cannot be read, or says something that 1.0 cannot say (several contents).
        OSError: the folder cannot be written.
    """
    names = archive.names()
    documents = {name: value for name in names if name.endswith(".json") and "root" in (value := json.loads(archive.read(name)))}
    if "tileset.json" not in documents:
        raise BadTileset(f"{archive.name} holds no 3D Tiles.", "Only blocks, meshes and points can be written as 3D Tiles 1.0.")
    renamed: dict[str, str] = {}
    classes: dict[str, Any] = {}
    contents = [name for name in names if name.endswith(".glb")]
    for name, document in documents.items():  # before any work is done
        write_out(document, name.rpartition("/")[0], archive.read, name)
    for number, name in enumerate(contents):
        listen(number / len(contents), name)
        model = _load(archive.read(name), name)
        points = all(p.mode == POINTS for p in model.primitives)
        data = cloud(model) if points else b3dm(model)
        if points:
            classes |= _class_names(model)
        renamed[name] = f"{name[:-4]}.{data[:4].decode()}"
        _write(folder / renamed[name], data)
    for name, document in documents.items():
        base = name.rpartition("/")[0]
        _write(folder / name, json.dumps(_tileset(document, base, renamed, classes), ensure_ascii=False, separators=(",", ":")).encode())
    others = [name for name in names if name not in documents and not name.endswith((".glb", ".terrain", ".subtree")) and name != "layer.json"]
    for name in others:  # tiles that are of 1.0 already, and what they draw from
        _write(folder / name, archive.read(name))
    return len(contents) + len(documents) + len(others)


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def _load(data: bytes, name: str) -> Model:
    report = Report()
    model = load_model(data, lambda uri, where: None, Where(report, name))
    if model is None or report.errors:
        raise BadTileset(f"The tile {name} cannot be read: {report.errors[0]}.", "Tile the layer again.")
    return model


# --- the tree --------------------------------------------------------------------------------------------------------


def _tileset(document: dict[str, Any], base: str, renamed: dict[str, str], classes: dict[str, Any]) -> dict[str, Any]:
    """A tileset.json of version 1.0: no schema, no groups; the extremes of numbers as `properties`."""
    for tile in tiles(document["root"]):
        tile.pop("metadata", None)
        tile.get("content", {}).pop("group", None)
        if "content" in tile:
            uri = tile["content"]["uri"]
            whole = f"{base}/{uri}" if base else uri
            tile["content"] = {k: v for k, v in tile["content"].items() if k == "boundingVolume"} | {"uri": uri[:-4] + renamed[whole][-5:] if whole in renamed else uri}
    extras = {"generator": "Wuyi Twin"} | ({"classes": classes} if classes else {})
    result: dict[str, Any] = {"asset": {"version": "1.0", "extras": extras}}
    schema = document.get("schema", {}).get("classes", {})
    ranges = {}
    for name, about in document.get("statistics", {}).get("classes", {}).items():
        for key, value in about.get("properties", {}).items():
            if isinstance(value.get("min"), int | float):
                ranges[schema[name]["properties"][key].get("name", key)] = {"minimum": value["min"], "maximum": value["max"]}
    if ranges:
        result["properties"] = ranges
    return result | {"geometricError": document["geometricError"], "root": document["root"]}


# --- batch tables ----------------------------------------------------------------------------------------------------


def _named_columns(model: Model, table: PropertyTable) -> dict[str, Any]:
    """Columns by the names that people know (a class property's `name`)."""
    properties = model.schema.classes[table.class_id] if model.schema is not None else {}
    named = {key: str(properties[key].given.get("name", key)) if key in properties else key for key in table.columns}
    return {named[key]: column for key, column in table.columns.items() if column is not None}


def _rows(model: Model, spare: bool) -> tuple[list[int], int, dict[str, list[Any]]]:
    """(first row of each property table, number of rows, columns as plain values) of all tables, one after the other; `spare`: a last row of nulls."""
    starts, total = [], 0
    tables = [table for table in model.tables if table is not None]
    columns: dict[str, list[Any]] = {}
    for table in tables:
        starts.append(total)
        for name, column in _with_nulls(model, table).items():
            values = columns.setdefault(name, [])
            values += [None] * (total - len(values))
            values += [_plain(v) for v in column]
        total += table.count
    total += spare
    return starts, total, {name: values + [None] * (total - len(values)) for name, values in columns.items()}


def _with_nulls(model: Model, table: PropertyTable) -> dict[str, list[Any]]:
    """Columns by name as values, None where there is none: by the class's noData (of numbers the decoder leaves it), or by a column `… known`."""
    properties = model.schema.classes[table.class_id] if model.schema is not None else {}
    nothing = {str(p.given.get("name", key)): p.given["noData"] for key, p in properties.items() if isinstance(table.columns.get(key), np.ndarray) and "noData" in p.given}
    columns = {name: column.tolist() if isinstance(column, np.ndarray) else list(column) for name, column in _named_columns(model, table).items()}
    for name, spare in nothing.items():
        columns[name] = [None if value == spare else value for value in columns[name]]
    for name in [name for name in columns if f"{name} known" in columns]:
        columns[name] = [value if known else None for value, known in zip(columns[name], columns.pop(f"{name} known"), strict=True)]
    return columns


def _plain(value: Any) -> Any:
    """A value that JSON holds exactly."""
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, list):
        return [_plain(v) for v in value]
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return str(value) if isinstance(value, int) and abs(value) > EXACT else value


def _batch_table(columns: dict[str, Any]) -> tuple[bytes, bytes]:
    """(JSON, binary): arrays of numbers and lists of nothing but floats are binary, the rest JSON."""
    described: dict[str, Any] = {}
    body = bytearray()
    for name, column in columns.items():
        values = np.array(column, np.float64) if isinstance(column, list) and column and all(isinstance(v, float) for v in column) else column
        if isinstance(values, np.ndarray):
            body += b"\0" * (-len(body) % 8)
            described[name] = {"byteOffset": len(body), "componentType": _BATCH_TYPES[values.dtype.char], "type": "SCALAR"}
            body += values.tobytes()
        else:
            described[name] = values
    return (json.dumps(described, ensure_ascii=False, allow_nan=False).encode() if described else b""), bytes(body)


def _container(magic: bytes, features: dict[str, Any], features_body: bytes, batch: tuple[bytes, bytes], body: bytes = b"") -> bytes:
    """A tile: header of 28 bytes, feature table, batch table, body; each part starts at a multiple of 8 bytes."""
    parts = [json.dumps(features).encode(), features_body, *batch]
    for i, part in enumerate(parts):
        parts[i] = part + (b" " if i in (0, 2) else b"\0") * (-(len(part) + (28 if i == 0 else 0)) % 8)
    return struct.pack("<4s6I", magic, 1, 28 + sum(map(len, parts)) + len(body), *map(len, parts)) + b"".join(parts) + body


# --- meshes ----------------------------------------------------------------------------------------------------------


def b3dm(model: Model) -> bytes:
    """A Batched 3D Model of a decoded glTF."""
    used = [ids for p in model.primitives for ids in (*p.feature_ids[:1], *p.instance_feature_ids[:1])]
    starts, count, columns = _rows(model, any(i.null_id is not None for i in used))
    writer = PlainGltf(model, starts, count)
    return _container(b"b3dm", {"BATCH_LENGTH": count}, b"", _batch_table(columns) if count else (b"", b""), writer.glb())


# --- points ----------------------------------------------------------------------------------------------------------


def cloud(model: Model) -> bytes:
    """A Point Cloud of a decoded glTF of points; of one with points far apart, a Composite of one for each of its nodes, exact about its own centre."""
    parts = [pnts(replace(model, primitives=[one])) for one in model.primitives]
    return parts[0] if len(parts) == 1 else struct.pack("<4s3I", b"cmpt", 1, 16 + sum(map(len, parts)), len(parts)) + b"".join(parts)


def pnts(model: Model) -> bytes:
    """A Point Cloud of a decoded glTF of points."""
    places = np.concatenate([p.positions for p in model.primitives])
    low, high = places.min(axis=0), places.max(axis=0)
    centre = low + np.rint((high - low) / 2 * 1024) / 1024  # on the lattice of the tile (2^-10 m), so that differences are exact in float32
    features: dict[str, Any] = {"POINTS_LENGTH": len(places), "RTC_CENTER": centre.tolist(), "POSITION": {"byteOffset": 0}}
    body = (places - centre).astype(np.float32).tobytes()
    if all("COLOR_0" in p.attributes for p in model.primitives):
        colors = np.concatenate([np.rint(p.attributes["COLOR_0"] * 255).astype(np.uint8) for p in model.primitives])
        opaque = colors.shape[1] == 3 or bool((colors[:, 3] == 255).all())
        features["RGB" if opaque else "RGBA"] = {"byteOffset": len(body)}
        body += (_SRGB[colors[:, :3]] if opaque else np.column_stack([_SRGB[colors[:, :3]], colors[:, 3]])).astype(np.uint8).tobytes()
    return _container(b"pnts", features, body, _batch_table(_point_columns(model)))


def _point_columns(model: Model) -> dict[str, Array]:
    """What each point says: its own numbers, and those of its row in the property table."""
    columns: dict[str, list[Array]] = {}
    for p in model.primitives:
        for name, column in p.attributes.items():
            if name.startswith("_") and not name.startswith("_FEATURE_ID_") and column.size == len(column):
                columns.setdefault(name[1:].lower(), []).append(column.ravel())
        for ids in p.feature_ids[:1]:
            table = None if ids.property_table is None else model.tables[ids.property_table]
            for name, values in _named_columns(model, table).items() if table is not None else ():
                if isinstance(values, np.ndarray) and values.ndim == 1 and values.dtype.char in _BATCH_TYPES:
                    columns.setdefault(name, []).append(values[ids.ids])
    return {name: np.concatenate(parts) for name, parts in columns.items() if sum(map(len, parts)) == sum(len(p.local) for p in model.primitives)}


def _class_names(model: Model) -> dict[str, Any]:
    """Texts of the points' property table, by its first column of numbers: what a batch table a point has no room for."""
    result: dict[str, Any] = {}
    for table in model.tables:
        columns = {} if table is None else _named_columns(model, table)
        keys = next((c for c in columns.values() if isinstance(c, np.ndarray)), None)
        for row, key in enumerate(keys.tolist() if keys is not None else ()):
            result[str(key)] = {name: column[row] for name, column in columns.items() if isinstance(column, list)}
    return result
