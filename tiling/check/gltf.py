"""glTF 2.0, .gltf and .glb: the container, the structure that decoding needs, buffers and accessors.

Not a replacement of the Khronos validator (the tests run that one too on what we write): animations and
skins are left to it. What is checked here is what decoding positions and ids relies on; materials are checked in `materials`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .gltf_rules import check_rules
from .issues import Where
from .jsonfile import parse_json
from .meshopt import NAMES as MESHOPT
from .meshopt import decode_view
from .shape import INDEX, Anything, Bool, Choice, List, Map, Num, Obj, Text

Array = np.ndarray[Any, Any]
Read = Callable[[str, Where], bytes | None]

COMPONENTS: dict[int, np.dtype[Any]] = {
    5120: np.dtype("<i1"), 5121: np.dtype("<u1"), 5122: np.dtype("<i2"),
    5123: np.dtype("<u2"), 5125: np.dtype("<u4"), 5126: np.dtype("<f4"),
}  # fmt: skip
WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT2": 4, "MAT3": 9, "MAT4": 16}
#: An accessor may ask for memory that no file of this size holds (zeros need no bytes); this is enough.
COUNT_LIMIT = 1 << 27

_SIZE = Num(low=1, whole=True)
_OFFSET = Num(low=0, whole=True)
_NUMBERS = List(Num(), 1, 16)
_SPARSE = Obj(
    required={
        "count": _SIZE,
        "indices": Obj(
            required={"bufferView": INDEX, "componentType": Choice((5121, 5123, 5125))}, optional={"byteOffset": _OFFSET}
        ),
        "values": Obj(required={"bufferView": INDEX}, optional={"byteOffset": _OFFSET}),
    }
)
_NAME = {"name": Text()}
_GLTF = Obj(
    required={
        "asset": Obj(
            required={"version": Text(1, r"[0-9]+\.[0-9]+")},
            optional={"generator": Text(), "copyright": Text(), "minVersion": Text(1)},
        )
    },
    optional={
        "extensionsUsed": List(Text(1), 1, unique=True),
        "extensionsRequired": List(Text(1), 1, unique=True),
        "buffers": List(Obj({"byteLength": _SIZE}, {"uri": Text(1), **_NAME}), 1),
        "bufferViews": List(
            Obj(
                {"buffer": INDEX, "byteLength": _SIZE},
                {
                    "byteOffset": _OFFSET,
                    "byteStride": Num(low=4, high=252, whole=True),
                    "target": Choice((34962, 34963)),
                    **_NAME,
                },
            ),
            1,
        ),
        "accessors": List(
            Obj(
                {"componentType": Choice(tuple(COMPONENTS)), "count": _SIZE, "type": Choice(tuple(WIDTHS))},
                {
                    "bufferView": INDEX,
                    "byteOffset": _OFFSET,
                    "normalized": Bool(),
                    "min": _NUMBERS,
                    "max": _NUMBERS,
                    "sparse": _SPARSE,
                    **_NAME,
                },
            ),
            1,
        ),
        "meshes": List(
            Obj(
                {
                    "primitives": List(
                        Obj(
                            {"attributes": Map(INDEX, least=1)},
                            {
                                "indices": INDEX,
                                "material": INDEX,
                                "mode": Num(low=0, high=6, whole=True),
                                "targets": Anything(),
                            },
                        ),
                        1,
                    )
                },
                {"weights": Anything(), **_NAME},
            ),
            1,
        ),
        "nodes": List(
            Obj(
                {},
                {
                    "mesh": INDEX,
                    "children": List(INDEX, 1, unique=True),
                    "matrix": List(Num(), 16, 16),
                    "translation": List(Num(), 3, 3),
                    "rotation": List(Num(), 4, 4),
                    "scale": List(Num(), 3, 3),
                    **{name: Anything() for name in ("camera", "skin", "weights")},
                    **_NAME,
                },
            ),
            1,
        ),
        "scenes": List(Obj({}, {"nodes": List(INDEX, 1, unique=True), **_NAME}), 1),
        "scene": INDEX,
        **{name: List(Anything(), 1) for name in ("materials", "animations", "cameras", "skins")},
        "textures": List(Obj({}, {"source": INDEX, "sampler": INDEX, **_NAME}), 1),
        "images": List(Obj({}, {"uri": Text(1), "bufferView": INDEX, "mimeType": Text(1), **_NAME}), 1),
        "samplers": List(
            Obj({}, {**dict.fromkeys(("magFilter", "minFilter", "wrapS", "wrapT"), _SIZE), **_NAME}), 1
        ),
    },
)


@dataclass
class Gltf:
    """A structurally valid glTF with its bytes. Accessors are decoded on first use and kept."""

    json: dict[str, Any]
    chunk: bytes | None
    read: Read
    where: Where
    _buffers: dict[int, bytes | None] = field(default_factory=dict)
    _views: dict[int, bytes | None] = field(default_factory=dict)
    _accessors: dict[int, Array | None] = field(default_factory=dict)

    def extension(self, name: str) -> Any:
        """The top-level extension object, or None."""
        return self.json.get("extensions", {}).get(name)

    def buffer(self, index: int) -> bytes | None:
        """The bytes of a buffer; None, with a finding the first time, when they are missing or too few."""
        if index not in self._buffers:
            self._buffers[index] = self._load_buffer(index)
        return self._buffers[index]

    def _load_buffer(self, index: int) -> bytes | None:
        at = self.where / "buffers" / index
        buffers = self.json.get("buffers", [])
        if index >= len(buffers):
            self.where.error("GLTF_REFERENCE", f"the buffer {index} does not exist")
            return None
        buffer = buffers[index]
        if "uri" in buffer:
            data = self.read(buffer["uri"], at / "uri")
        elif index == 0 and self.chunk is not None:
            data = self.chunk
            if len(data) - buffer["byteLength"] > 3:
                at.warning("GLB_CHUNK_PADDING", f"the BIN chunk is {len(data) - buffer['byteLength']} bytes longer")
        else:
            at.error("BUFFER_URI_MISSING", "has neither a uri nor a BIN chunk")
            return None
        if data is not None and len(data) < buffer["byteLength"]:
            at.error("BUFFER_LENGTH", f"byteLength is {buffer['byteLength']}, but there are {len(data)} bytes")
            return None
        return data

    def view(self, index: int) -> bytes | None:
        """The bytes of a buffer view (decompressed where an extension says so)."""
        if index not in self._views:
            self._views[index] = self._load_view(index)
        return self._views[index]

    def _load_view(self, index: int) -> bytes | None:
        views = self.json.get("bufferViews", [])
        if index >= len(views):
            self.where.error("GLTF_REFERENCE", f"the buffer view {index} does not exist")
            return None
        view, at = views[index], self.where / "bufferViews" / index
        for name in MESHOPT:
            packed = view.get("extensions", {}).get(name)
            if packed is not None:
                if not self._has_room(view, at):
                    return None
                return decode_view(packed, view["byteLength"], self.slice, at / "extensions" / name, newest=name == MESHOPT[1])
        return self.slice(view, at)

    def slice(self, view: dict[str, Any], where: Where) -> bytes | None:
        """``byteLength`` bytes from ``byteOffset`` of ``buffer``; None with a finding where they are not there."""
        if not self._has_room(view, where):
            return None
        start, length = int(view.get("byteOffset", 0)), int(view["byteLength"])
        data = self.buffer(view["buffer"])
        return None if data is None else data[start : start + length]

    def _has_room(self, view: dict[str, Any], where: Where) -> bool:
        """Whether the buffer reaches as far as the view says, so far as there is one (of a compressed view it is what it would be unpacked into)."""
        buffers = self.json.get("buffers", [])
        if view["buffer"] >= len(buffers):
            (where / "buffer").error("GLTF_REFERENCE", f"the buffer {view['buffer']} does not exist")
            return False
        end, size = view.get("byteOffset", 0) + view["byteLength"], buffers[view["buffer"]]["byteLength"]
        if end > size:
            where.error("BUFFER_VIEW_OUT_OF_RANGE", f"ends at byte {end}, its buffer has {size}")
        return bool(end <= size)

    def accessor(self, index: int, where: Where) -> Array | None:
        """Stored numbers of an accessor, (count,) or (count, width), not yet normalised; ``where`` uses it."""
        accessors = self.json.get("accessors", [])
        if index >= len(accessors):
            where.error("GLTF_REFERENCE", f"the accessor {index} does not exist")
            return None
        if index not in self._accessors:
            self._accessors[index] = self._decode(accessors[index], self.where / "accessors" / index)
        return self._accessors[index]

    def _decode(self, a: dict[str, Any], where: Where) -> Array | None:
        dtype, width, count = COMPONENTS[a["componentType"]], WIDTHS[a["type"]], int(a["count"])
        if count > COUNT_LIMIT:
            where.error("GLTF_ACCESSOR_RANGE", f"has a count of {count}")
            return None
        if "bufferView" in a:
            values = self._elements(a, dtype, width, count, where)
            if values is None:
                return None
        else:
            values = np.zeros((count, width), dtype)
        if "sparse" in a:
            values = self._sparse(a["sparse"], values.copy(), dtype, width, where / "sparse")
            if values is None:
                return None
        _check_bounds(a, values, where)
        return values[:, 0] if width == 1 else values

    def _elements(self, a: dict[str, Any], dtype: np.dtype[Any], width: int, count: int, where: Where) -> Array | None:
        """Elements at their stride. Columns of small-component matrices are padded to 4 bytes (glTF 3.6.2.4)."""
        views = self.json.get("bufferViews", [])
        data = self.view(int(a["bufferView"]))
        if data is None:
            return None
        view, offset = views[a["bufferView"]], int(a.get("byteOffset", 0))
        columns = {"MAT2": 2, "MAT3": 3, "MAT4": 4}.get(a.get("type", ""), 1)
        pad = -(width // columns * dtype.itemsize) % 4 if columns > 1 else 0
        size = width * dtype.itemsize + pad * columns
        stride = int(view.get("byteStride", size))
        needed = offset + stride * (count - 1) + size - (pad if columns > 1 else 0)
        if needed > len(data):
            where.error("GLTF_ACCESSOR_RANGE", f"needs {needed} bytes, its buffer view has {len(data)}")
            return None
        if (offset + int(view.get("byteOffset", 0))) % dtype.itemsize or stride % dtype.itemsize:
            where.error("GLTF_ALIGNMENT", f"does not start or step at a multiple of {dtype.itemsize} bytes")
        raw = np.frombuffer(data, np.uint8)
        rows = np.lib.stride_tricks.as_strided(raw[offset:], (count, size - pad), (stride, 1), writeable=False)
        if pad:
            step = width // columns * dtype.itemsize
            rows = np.concatenate([rows[:, c * (step + pad) : c * (step + pad) + step] for c in range(columns)], axis=1)
        return np.ascontiguousarray(rows).view(dtype).reshape(count, width)

    def _sparse(self, s: dict[str, Any], values: Array, dtype: np.dtype[Any], width: int, where: Where) -> Array | None:
        indices = self._elements({**s["indices"], "type": "SCALAR"}, COMPONENTS[s["indices"]["componentType"]], 1, s["count"], where / "indices")
        replacements = self._elements({**s["values"], "type": ""}, dtype, width, s["count"], where / "values")
        if indices is None or replacements is None:
            return None
        if indices.max(initial=0) >= len(values) or np.any(np.diff(indices[:, 0].astype(np.int64)) <= 0):
            where.error("GLTF_INDEX_RANGE", "the sparse indices do not strictly increase within the accessor")
            return None
        values[indices[:, 0]] = replacements
        return values


def _check_bounds(a: dict[str, Any], values: Array, where: Where) -> None:
    """``min`` and ``max`` must be the real extremes (glTF 3.6.2.5), and floats must be finite."""
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        where.error("GLTF_VALUE_INVALID", "contains NaN or infinity")
        return
    for name, extreme in (("min", np.min), ("max", np.max)):
        if name not in a:
            continue
        real = np.array([extreme(column) for column in values.T])  # ten times as fast as along an axis
        if len(a[name]) != values.shape[1]:
            (where / name).error("JSON_LENGTH", f"has {len(a[name])} numbers, must have {values.shape[1]}")
        elif not np.allclose(np.asarray(a[name], dtype=np.float64), real.astype(np.float64), rtol=1e-6, atol=1e-30):
            (where / name).error("GLTF_ACCESSOR_BOUNDS", f"is {a[name]}, the values' {name} is {real.tolist()}")


def normalised(values: Array, accessor: dict[str, Any]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Stored numbers as float64, integers divided by their maximum where ``normalized`` (glTF 3.6.2.2)."""
    real = values.astype(np.float64)
    if accessor.get("normalized") and values.dtype.kind in "iu":
        real = np.maximum(real / np.iinfo(values.dtype).max, -1.0)
    return np.asarray(real)


def open_gltf(data: bytes, read: Read, where: Where) -> Gltf | None:
    """Open .glb or .gltf bytes; None, with findings, when the structure is too broken to go on."""
    chunk: bytes | None = None
    text = data
    if data[:4] == b"glTF":
        parts = _chunks(data, where)
        if parts is None:
            return None
        text, chunk = parts
    value = parse_json(text, where, whole=True)
    if value is None or not _GLTF.check(value, where):
        return None
    if not value["asset"]["version"].startswith("2."):
        (where / "asset" / "version").error("ASSET_VERSION_UNKNOWN", f"glTF {value['asset']['version']}, must be 2.x")
        return None
    if value["asset"]["version"] != "2.0":
        (where / "asset" / "version").warning("ASSET_VERSION_UNKNOWN", f"glTF {value['asset']['version']} is not 2.0")
    _check_extensions(value, where)
    check_rules(value, where)
    return Gltf(value, chunk, read, where)


def _chunks(data: bytes, where: Where) -> tuple[bytes, bytes | None] | None:
    if len(data) < 20:
        where.error("GLB_HEADER", f"has {len(data)} bytes; header and first chunk header have 20")
        return None
    _, version, length = struct.unpack_from("<4sII", data)
    if version != 2:
        where.error("GLB_HEADER", f"the container version is {version}, must be 2")
        return None
    if length != len(data):
        where.error("GLB_LENGTH", f"the header says {length} bytes, there are {len(data)}")
        return None
    chunks: list[tuple[bytes, bytes]] = []
    at = 12
    while at < length:
        size, name = struct.unpack_from("<I4s", data, at) if at + 8 <= length else (0, b"")
        if at + 8 > length or at + 8 + size > length or size % 4:
            where.error("GLB_CHUNK", f"the chunk at byte {at} is cut short or not a multiple of 4 bytes long")
            return None
        chunks.append((name, data[at + 8 : at + 8 + size]))
        at += 8 + size
    if not chunks or chunks[0][0] != b"JSON":
        where.error("GLB_CHUNK", "the first chunk must be JSON")
        return None
    has_bin = len(chunks) > 1 and chunks[1][0] == b"BIN\0"
    return chunks[0][1], chunks[1][1] if has_bin else None


def _check_extensions(value: dict[str, Any], where: Where) -> None:
    """Every extension found must be in extensionsUsed, every required one too."""
    used, found = set(value.get("extensionsUsed", [])), set[str]()
    stack: list[Any] = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, dict):
            if isinstance(item.get("extensions"), dict):
                found.update(item["extensions"])
            stack.extend(v for k, v in item.items() if k != "extras")
        elif isinstance(item, list):
            stack.extend(item)
    for name in sorted(found - used):
        where.error("EXTENSION_UNDECLARED", f"uses the extension {name}, which extensionsUsed does not list")
    for name in sorted(set(value.get("extensionsRequired", [])) - used):
        where.error("EXTENSION_UNDECLARED", f"requires the extension {name}, which extensionsUsed does not list")
