"""The tile formats of 3D Tiles 1.0: b3dm, i3dm, pnts, cmpt. Headers, feature tables, batch tables, positions.

They are deprecated and we do not write them; staff check what they receive, so they are read here.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .glb import Model, load_model
from .gltf import Read
from .issues import Where
from .jsonfile import parse_json
from .scene import F64
from .shape import is_number

#: Yields world positions (tile frame, z-up) in chunks of (N, 3).
Chunks = Iterator[F64]

TYPES: dict[str, np.dtype[Any]] = {
    "BYTE": np.dtype("<i1"), "UNSIGNED_BYTE": np.dtype("<u1"), "SHORT": np.dtype("<i2"),
    "UNSIGNED_SHORT": np.dtype("<u2"), "INT": np.dtype("<i4"), "UNSIGNED_INT": np.dtype("<u4"),
    "FLOAT": np.dtype("<f4"), "DOUBLE": np.dtype("<f8"),
}  # fmt: skip
WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4}


@dataclass(frozen=True)
class OldTile:
    """A tile split at its header's lengths."""

    kind: str
    features: dict[str, Any]
    features_binary: bytes
    batch: dict[str, Any]
    batch_binary: bytes
    body: bytes
    header: bytes


def split(data: bytes, header_size: int, where: Where) -> OldTile | None:
    """Cut header, feature table, batch table and body; all lengths must add up (3D Tiles 1.0, 8-byte rules)."""
    kind = data[:4].decode("ascii")
    if len(data) < header_size:
        where.error("TILE_HEADER", f"{kind} has {len(data)} bytes, its header alone {header_size}")
        return None
    version, length, *sizes = struct.unpack_from("<6I", data, 4)
    if version != 1:
        where.error("TILE_HEADER", f"{kind} version is {version}, must be 1")
        return None
    if length != len(data):
        where.error("TILE_LENGTH", f"the {kind} header says {length} bytes, there are {len(data)}")
        return None
    if length % 8:
        where.error("TILE_ALIGNMENT", f"the {kind} is {length} bytes long, not a multiple of 8")
    starts = [header_size]
    for size in sizes:
        starts.append(starts[-1] + size)
    if starts[-1] > length:
        where.error("TILE_LENGTH", f"the {kind} tables reach byte {starts[-1]} of {length}")
        return None
    for name, at in zip(("feature table binary", "batch table", "batch table binary", "body"), starts[1:], strict=True):
        if at % 8:
            where.error("TILE_ALIGNMENT", f"the {kind} {name} starts at byte {at}, not at a multiple of 8")
    parts = [data[a:b] for a, b in zip(starts, [*starts[1:], length], strict=True)]
    features = _json(parts[0], where / "featureTable")
    batch = _json(parts[2], where / "batchTable")
    if features is None or batch is None:
        return None
    return OldTile(kind, features, parts[1], batch, parts[3], parts[4], data[:header_size])


def _json(text: bytes, where: Where) -> dict[str, Any] | None:
    if not text.strip(b" \0"):
        return {}
    value = parse_json(text.rstrip(b"\0"), where)
    if value is not None and not isinstance(value, dict):
        where.error("JSON_TYPE", "must be an object")
        return None
    return value


def binary(tile: OldTile, name: str, dtype: str, width: int, count: int, where: Where) -> NDArray[Any] | None:
    """A feature table property as (count, width); None when absent, or wrong (a finding)."""
    value = tile.features.get(name)
    if value is None:
        return None
    at = where / "featureTable" / name
    if isinstance(value, list):
        if len(value) != count * width or not all(map(is_number, value)):
            at.error("FEATURE_TABLE_INVALID", f"has {sum(map(is_number, value))} numbers in {len(value)} values, must have {count * width}")
            return None
        return np.asarray(value, dtype=np.float64).reshape(count, width)
    offset = value.get("byteOffset") if isinstance(value, dict) else None
    if not isinstance(offset, int) or isinstance(offset, bool) or offset < 0:
        at.error("FEATURE_TABLE_INVALID", "needs a byteOffset >= 0")
        return None
    if isinstance(value, dict) and "componentType" in value:
        dtype = str(value["componentType"])
        if name != "BATCH_ID" or dtype not in ("UNSIGNED_BYTE", "UNSIGNED_SHORT", "UNSIGNED_INT"):
            at.error("FEATURE_TABLE_INVALID", f"the componentType {dtype!r} is not one that {name} may have")
            return None
    kind = TYPES[dtype]
    if offset % kind.itemsize:
        at.error("TILE_ALIGNMENT", f"byteOffset {offset} is not a multiple of {kind.itemsize}")
        return None
    if offset + count * width * kind.itemsize > len(tile.features_binary):
        at.error("FEATURE_TABLE_INVALID", f"reaches beyond the {len(tile.features_binary)} bytes of the binary")
        return None
    return np.frombuffer(tile.features_binary, kind, count * width, offset).reshape(count, width)


def length(tile: OldTile, name: str, where: Where) -> int | None:
    """A count of the feature table; None when it is absent or wrong (a finding)."""
    value = tile.features.get(name)
    if isinstance(value, dict) and isinstance(value.get("byteOffset"), int):
        offset = value["byteOffset"]
        if 0 <= offset <= len(tile.features_binary) - 4:
            return int(struct.unpack_from("<I", tile.features_binary, offset)[0])
        value = None
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        (where / "featureTable" / name).error("FEATURE_TABLE_INVALID", "must be a number >= 0")
        return None
    return value


def vector(tile: OldTile, name: str, where: Where) -> F64 | None:
    """Three numbers of the feature table; None when they are absent, or wrong (a finding)."""
    value = binary(tile, name, "FLOAT", 3, 1, where)
    return None if value is None else np.asarray(value[0], dtype=np.float64)


def _check_batch(tile: OldTile, count: int, where: Where) -> None:
    """Each property of the batch table has ``count`` values, in JSON or in the binary part."""
    if tile.batch_binary and not tile.batch:
        where.error("BATCH_TABLE_INVALID", "there is binary data, but no batch table JSON")
    for name, value in tile.batch.items():
        at = where / "batchTable" / name
        if name in ("extensions", "extras", "HIERARCHY"):
            continue
        if isinstance(value, list):
            if len(value) != count:
                at.error("BATCH_TABLE_INVALID", f"has {len(value)} values for {count} features")
            continue
        if not isinstance(value, dict) or not isinstance(value.get("byteOffset"), int):
            at.error("BATCH_TABLE_INVALID", "must be an array, or an object with a byteOffset")
            continue
        dtype, width = TYPES.get(str(value.get("componentType"))), WIDTHS.get(str(value.get("type")))
        if dtype is None or width is None:
            at.error("BATCH_TABLE_INVALID", f"unknown type {value.get('type')} of {value.get('componentType')}")
        elif value["byteOffset"] % dtype.itemsize or value["byteOffset"] < 0:
            at.error("TILE_ALIGNMENT", f"byteOffset {value['byteOffset']} is not a multiple of {dtype.itemsize}")
        elif value["byteOffset"] + count * width * dtype.itemsize > len(tile.batch_binary):
            at.error("BATCH_TABLE_INVALID", f"reaches beyond the {len(tile.batch_binary)} bytes of the binary")


def embedded(body: bytes, read: Read, where: Where, up: str) -> Model | None:
    """The glb that ends a tile; None, with findings, where it cannot be read."""
    # Trailing zeros pad the tile to 8 bytes; the glb's own header knows where it ends.
    if body[:4] == b"glTF" and len(body) >= 12:
        length = struct.unpack_from("<I", body, 8)[0]
        if 0 <= len(body) - length < 8:
            body = body[:length]
    return load_model(body, read, where, up)


def _model_chunks(body: bytes, read: Read, where: Where, up: str, move: F64, rows: int | None = None) -> Chunks:
    """Positions of an embedded glb, moved by ``move`` (4, 4) or by each of (K, 4, 4); its batch ids must be below ``rows``."""
    model = embedded(body, read, where, up)
    for primitive in model.primitives if model else ():
        ids = primitive.attributes.get("_BATCHID")
        if ids is not None and rows is not None and ids.size and not (ids.min() >= 0 and ids.max() < rows and (ids == np.floor(ids)).all()):
            (where / primitive.pointer / "_BATCHID").error("FEATURE_ID_RANGE", f"the ids {ids.min()} to {ids.max()} are not all whole rows of {rows}")
        for chunk in primitive.chunks():
            for m in move.reshape(-1, 4, 4):
                yield chunk @ m[:3, :3].T + m[:3, 3]


def moved(centre: F64 | None) -> F64:
    """(4, 4) a move by RTC_CENTER, if there is one."""
    m = np.eye(4)
    if centre is not None:
        m[:3, 3] = centre
    return m


def b3dm(data: bytes, read: Read, where: Where, up: str) -> Chunks:
    """Batched 3D Model: a glb, and a batch table with BATCH_LENGTH rows."""
    tile = split(data, 28, where)
    if tile is None:
        return
    count = length(tile, "BATCH_LENGTH", where)
    if count is not None:
        _check_batch(tile, count, where)
    yield from _model_chunks(tile.body, read, where, up, moved(vector(tile, "RTC_CENTER", where)), count)


def pnts(data: bytes, read: Read, where: Where, up: str) -> Chunks:  # noqa: ARG001 - one signature for all formats
    """Point Cloud: POSITION (float32) or POSITION_QUANTIZED (uint16 in a volume)."""
    tile = split(data, 28, where)
    count = None if tile is None else length(tile, "POINTS_LENGTH", where)
    if tile is None or count is None:
        return
    features = tile.features
    if "3DTILES_draco_point_compression" in features.get("extensions", {}):
        where.warning("EXTENSION_NOT_DECODED", "3DTILES_draco_point_compression: these points were not checked")
        return
    batch_rows = length(tile, "BATCH_LENGTH", where) if "BATCH_LENGTH" in features else None
    if ("BATCH_ID" in features) != ("BATCH_LENGTH" in features):
        where.error("FEATURE_TABLE_INVALID", "BATCH_ID and BATCH_LENGTH must stand together")
    if "BATCH_ID" in features:
        _check_batch_ids(binary(tile, "BATCH_ID", "UNSIGNED_SHORT", 1, count, where), batch_rows, where)
    _check_batch(tile, count if batch_rows is None else batch_rows, where)
    for name, dtype, width in (("RGB", "UNSIGNED_BYTE", 3), ("RGBA", "UNSIGNED_BYTE", 4), ("RGB565", "UNSIGNED_SHORT", 1), ("NORMAL_OCT16P", "UNSIGNED_BYTE", 2)):
        binary(tile, name, dtype, width, count, where)
    binary(tile, "CONSTANT_RGBA", "UNSIGNED_BYTE", 4, 1, where)
    _units(tile, "NORMAL", count, where)
    positions = binary(tile, "POSITION", "FLOAT", 3, count, where)
    if positions is None and "POSITION" not in features:
        positions = _quantized(tile, count, where)
    if positions is not None and _finite(positions, where):
        centre = vector(tile, "RTC_CENTER", where)
        yield positions.astype(np.float64) + (0 if centre is None else centre)


def _finite(positions: NDArray[Any], where: Where) -> bool:
    if not np.isfinite(positions).all():
        (where / "featureTable" / "POSITION").error("FEATURE_TABLE_INVALID", "has numbers that are not finite")
        return False
    return True


def _units(tile: OldTile, name: str, count: int, where: Where) -> NDArray[Any] | None:
    """Directions of a feature table, which must be unit vectors (to what a float32 and a careless writer lose)."""
    vectors = binary(tile, name, "FLOAT", 3, count, where)
    if vectors is not None and not (np.abs(np.linalg.norm(vectors.astype(np.float64), axis=1) - 1) < 1e-3).all():
        (where / "featureTable" / name).error("FEATURE_TABLE_INVALID", "has vectors that are not of unit length")
    return vectors


def _check_batch_ids(ids: NDArray[Any] | None, rows: int | None, where: Where) -> None:
    if ids is not None and rows is not None and ids.size and ids.max() >= rows:
        (where / "featureTable" / "BATCH_ID").error("FEATURE_ID_RANGE", f"the id {ids.max()} has no row of {rows}")


def _quantized(tile: OldTile, count: int, where: Where) -> F64 | None:
    """POSITION_QUANTIZED in its volume; with neither positions nor these: a finding."""
    raw = binary(tile, "POSITION_QUANTIZED", "UNSIGNED_SHORT", 3, count, where)
    offset, scale = (vector(tile, f"QUANTIZED_VOLUME_{n}", where) for n in ("OFFSET", "SCALE"))
    if raw is None or offset is None or scale is None:
        where.error("FEATURE_TABLE_INVALID", "has no usable POSITION, nor POSITION_QUANTIZED with its volume")
        return None
    return np.asarray(raw.astype(np.float64) / 65535.0 * scale + offset)


def i3dm(data: bytes, read: Read, where: Where, up: str) -> Chunks:
    """Instanced 3D Model: a glb (embedded or by URI) at INSTANCES_LENGTH places."""
    tile = split(data, 32, where)
    count = None if tile is None else length(tile, "INSTANCES_LENGTH", where)
    if tile is None or count is None:
        return
    _check_batch_ids(binary(tile, "BATCH_ID", "UNSIGNED_SHORT", 1, count, where), count, where)
    _check_batch(tile, count, where)
    moves = instance_moves(tile, count, where)
    if moves is None:
        return
    body = instanced_body(tile, read, where)
    if body is not None:
        yield from _model_chunks(body, read, where, up, moves)


def instanced_body(tile: OldTile, read: Read, where: Where) -> bytes | None:
    """The glb of an i3dm, which stands in it or has a URI there."""
    form = struct.unpack_from("<I", tile.header, 28)[0]
    if form not in (0, 1):
        where.error("TILE_HEADER", f"the i3dm gltfFormat is {form}, must be 0 or 1")
        return None
    if form == 1:
        return tile.body
    try:
        return read(tile.body.rstrip(b" \0").decode(), where / "gltf")
    except UnicodeDecodeError:
        (where / "gltf").error("TILE_HEADER", "the URI of the glTF is not UTF-8")
        return None


def instance_moves(tile: OldTile, count: int, where: Where) -> F64 | None:
    """(K, 4, 4) instance matrices: rotation from NORMAL_UP/RIGHT or east-north-up, scale, then position."""
    positions = binary(tile, "POSITION", "FLOAT", 3, count, where)
    real = positions.astype(np.float64) if positions is not None else _quantized(tile, count, where)
    if real is None or not _finite(real, where):
        return None
    centre = vector(tile, "RTC_CENTER", where)
    if centre is not None:
        real = real + centre
    moves = np.tile(np.eye(4), (count, 1, 1))
    moves[:, :3, :3] = _orientation(tile, count, real, where)
    for name, width in (("SCALE", 1), ("SCALE_NON_UNIFORM", 3)):
        scale = binary(tile, name, "FLOAT", width, count, where)
        if scale is not None:
            moves[:, :3, :3] *= np.broadcast_to(scale.astype(np.float64), (count, 3))[:, None, :]
    moves[:, :3, 3] = real
    return np.asarray(moves)


def _orientation(tile: OldTile, count: int, positions: F64, where: Where) -> F64:
    for ending in ("", "_OCT32P"):
        if (f"NORMAL_UP{ending}" in tile.features) != (f"NORMAL_RIGHT{ending}" in tile.features):
            (where / "featureTable").error("FEATURE_TABLE_INVALID", f"NORMAL_UP{ending} and NORMAL_RIGHT{ending} must stand together")
    up, right = _units(tile, "NORMAL_UP", count, where), _units(tile, "NORMAL_RIGHT", count, where)
    if up is None or right is None:
        up, right = _oct(tile, "NORMAL_UP_OCT32P", count, where), _oct(tile, "NORMAL_RIGHT_OCT32P", count, where)
    if up is not None and right is not None and (np.abs((up.astype(np.float64) * right).sum(axis=1)) > 1e-2).any():
        (where / "featureTable").error("FEATURE_TABLE_INVALID", "has up and right vectors that are not at right angles")
    if up is not None and right is not None:
        u, r = up.astype(np.float64), right.astype(np.float64)
        # x goes to right, y to up, z to right x up (3D Tiles 1.0, i3dm), after the glTF was turned z-up.
        return np.asarray(np.stack([r, u, np.cross(r, u)], axis=2))
    if tile.features.get("EAST_NORTH_UP"):
        z = positions / np.maximum(np.linalg.norm(positions, axis=1, keepdims=True), 1.0)
        east = np.stack([-z[:, 1], z[:, 0], np.zeros(count)], axis=1)
        east /= np.maximum(np.linalg.norm(east, axis=1, keepdims=True), 1e-12)
        return np.asarray(np.stack([east, np.cross(z, east), z], axis=2))
    return np.tile(np.eye(3), (count, 1, 1))


def _oct(tile: OldTile, name: str, count: int, where: Where) -> F64 | None:
    """Oct-encoded unit vectors in two 16-bit numbers (Cigolle et al. 2014)."""
    raw = binary(tile, name, "UNSIGNED_SHORT", 2, count, where)
    if raw is None:
        return None
    xy = raw.astype(np.float64) / 65535.0 * 2 - 1
    z = 1 - np.abs(xy).sum(axis=1)
    folded = (1 - np.abs(xy[:, ::-1])) * np.where(xy >= 0, 1.0, -1.0)
    v = np.concatenate([np.where(z[:, None] < 0, folded, xy), z[:, None]], axis=1)
    return np.asarray(v / np.linalg.norm(v, axis=1, keepdims=True))


def cmpt(data: bytes, read: Read, where: Where, up: str) -> Chunks:
    """Composite: tiles one after the other."""
    if len(data) < 16:
        where.error("TILE_HEADER", f"cmpt has {len(data)} bytes, its header alone 16")
        return
    version, length, count = struct.unpack_from("<3I", data, 4)
    if version != 1 or length != len(data):
        where.error("TILE_HEADER", f"cmpt version {version}, length {length} of {len(data)} bytes")
        return
    for i, inner in enumerate(inner_tiles(data, count, where)):
        yield from DECODERS[inner[:4]](inner, read, where / i, up)


def inner_tiles(data: bytes, count: int, where: Where) -> Iterator[bytes]:
    """The tiles of a composite, up to the first that is cut short or of an unknown type."""
    at = 16
    for i in range(count):
        if at % 8:
            (where / i).error("TILE_ALIGNMENT", f"the inner tile starts at byte {at}, not at a multiple of 8")
        size = struct.unpack_from("<I", data, at + 8)[0] if at + 12 <= len(data) else 0
        inner = data[at : at + size]
        if inner[:4] not in DECODERS or size < 12 or len(inner) != size:
            (where / i).error("TILE_LENGTH", f"the inner tile at byte {at} is cut short or of an unknown type")
            return
        yield inner
        at += size
    if at != len(data):
        where.error("TILE_LENGTH", f"the inner tiles end at byte {at} of {len(data)}")


DECODERS: dict[bytes, Callable[[bytes, Read, Where, str], Chunks]] = {
    b"b3dm": b3dm,
    b"i3dm": i3dm,
    b"pnts": pnts,
    b"cmpt": cmpt,
}
