"""A glTF's buffers and accessors: read with their strides, sparse values and fractions, and added to.

What is added goes into one more buffer, as a data URI, so that a .gltf and a .glb are mended alike. Indices and sizes in the file are
believed only as far as there are bytes: a few bytes may claim any count. Source: glTF 2.0, 3.6.
"""

from __future__ import annotations

import base64
import urllib.parse
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]
TYPES = {5120: np.int8, 5121: np.uint8, 5122: np.int16, 5123: np.uint16, 5125: np.uint32, 5126: np.float32}
CODES = {np.dtype(kind): code for code, kind in TYPES.items()}
FLOAT = 5126
#: What a normalised integer that means 1 is.
LARGEST = {5120: 127, 5121: 255, 5122: 32767, 5123: 65535}
SIZES = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT4": 16}
#: Values that accessors may have without any bytes (they are zeros by definition).
MAX_EMPTY = 1 << 24
#: Bytes that one file's compressed parts may become.
MAX_BYTES = 1 << 31


class Buffers:
    """Bytes of a glTF `document` (changed in place): `chunk` is a GLB's own, `beside` gets a file of its folder."""

    def __init__(self, document: dict[str, Any], chunk: bytes, beside: Callable[[str], bytes]) -> None:
        self.document, self.chunk, self.beside = document, chunk, beside
        self.made = bytearray()
        self.place = len(document.setdefault("buffers", []))
        self._read: dict[int, bytes] = {}
        self._plain: dict[tuple[int, str], int] = {}

    def buffer(self, number: int) -> bytes | bytearray:
        """The bytes of a buffer."""
        if number == self.place:
            return self.made  # no copy: there may be thousands of views of it
        if number not in self._read:
            uri = self.document["buffers"][number].get("uri")
            self._read[number] = self.chunk if uri is None else _from_data_uri(uri) if uri.startswith("data:") else self.beside(urllib.parse.unquote(uri))
        return self._read[number]

    def part(self, source: dict[str, Any]) -> bytes:
        """The bytes that a buffer view, or a compressed part of one, names."""
        start, size = int(source.get("byteOffset", 0)), int(source["byteLength"])
        data = bytes(self.buffer(source["buffer"])[start : start + size]) if start >= 0 else b""
        if len(data) != size or size < 0:
            raise ValueError(f"a buffer view of {size} bytes has {len(data)}")
        return data

    def keep(self, values: NDArray[Any]) -> dict[str, Any]:
        """A buffer view on new bytes."""
        self.made += b"\0" * (-len(self.made) % 4)
        start = len(self.made)
        self.made += np.ascontiguousarray(values).tobytes()
        if len(self.made) > MAX_BYTES:
            raise ValueError(f"its compressed parts are more than {MAX_BYTES >> 20} MiB")
        return {"buffer": self.place, "byteOffset": start, "byteLength": len(self.made) - start}

    def accessor(self, values: NDArray[Any], *, normalized: bool = False) -> int:
        """The number of a new accessor of (count,) or (count, components) values."""
        views, accessors = self.document.setdefault("bufferViews", []), self.document.setdefault("accessors", [])
        views.append(self.keep(values))
        kind = next(name for name, size in SIZES.items() if size == (1 if values.ndim == 1 else values.shape[1]))
        accessors.append({"bufferView": len(views) - 1, "componentType": CODES[values.dtype], "count": len(values), "type": kind} | ({"normalized": True} if normalized else {}))
        return len(accessors) - 1

    def plainly(self, number: int, name: str) -> int:
        """The accessor of an attribute (or of `indices`) as one that is dense, and of plain numbers where it is a place, a colour or a texture's."""
        accessor = self.document["accessors"][number]
        drawn = name == "indices" or name.startswith(("POSITION", "COLOR_", "TEXCOORD_"))
        odd = "sparse" in accessor or (name != "indices" and (accessor.get("normalized") or (name.startswith(("POSITION", "TEXCOORD_")) and accessor["componentType"] != FLOAT)))
        if not drawn or not odd:
            return number
        if (number, name) not in self._plain:
            values = self.values(number)
            self._plain[number, name] = self.accessor(values[:, 0].astype(np.uint32) if name == "indices" else values.astype(np.float32))
        return self._plain[number, name]

    def close(self) -> None:
        """Write what was made into the document."""
        if self.made:
            self.document["buffers"].append({"byteLength": len(self.made), "uri": "data:application/octet-stream;base64," + base64.b64encode(self.made).decode()})

    def values(self, number: int) -> F64:
        """(count, components) of an accessor, normalised integers as fractions."""
        accessor = self.document["accessors"][number]
        kind, columns, count = np.dtype(TYPES[accessor["componentType"]]), SIZES[accessor["type"]], int(accessor["count"])
        found: F64 = np.zeros((count if count <= MAX_EMPTY else 0, columns))
        if "bufferView" in accessor:
            found = self._rows(accessor, accessor["bufferView"], kind, columns, count).astype(np.float64)
        if "sparse" in accessor:
            sparse = accessor["sparse"]
            where, what = sparse["indices"], sparse["values"]
            at = self._rows(where, where["bufferView"], np.dtype(TYPES[where["componentType"]]), 1, int(sparse["count"]))
            found[at[:, 0].astype(np.int64)] = self._rows(what, what["bufferView"], kind, columns, int(sparse["count"]))
        if accessor.get("normalized"):
            found = np.maximum(found / LARGEST[accessor["componentType"]], -1.0)
        return found

    def _rows(self, source: dict[str, Any], view: int, kind: np.dtype[Any], columns: int, count: int) -> NDArray[Any]:
        stated = self.document["bufferViews"][view]
        data, start, row = self.part(stated), int(source.get("byteOffset", 0)), kind.itemsize * columns
        step = int(stated.get("byteStride", row))
        if start < 0 or step < row or not 0 < count <= (len(data) - start - row) // step + 1:
            raise ValueError(f"{len(data)} bytes cannot hold {count} rows of {row} bytes")
        return np.ndarray((count, columns), kind, data, start, (step, kind.itemsize))


def matrices(given: dict[str, F64]) -> F64:
    """(n, 4, 4) of translations, rotations (x, y, z, w) and scales, as glTF composes them: scaled, turned, moved."""
    counts = {len(values) for values in given.values()}
    if len(counts) != 1:
        raise ValueError(f"translations, rotations and scales have {sorted(counts)} values")
    (count,) = counts
    found = np.broadcast_to(np.eye(4), (count, 4, 4)).copy()
    if (turns := given.get("ROTATION")) is not None:
        x, y, z, w = (turns / np.maximum(np.linalg.norm(turns, axis=1, keepdims=True), 1e-12)).T
        rows = [[1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
                [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
                [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)]]  # fmt: skip
        found[:, :3, :3] = np.array(rows).transpose(2, 0, 1)
    if (scales := given.get("SCALE")) is not None:
        found[:, :3, :3] *= scales[:, None, :]
    if (moves := given.get("TRANSLATION")) is not None:
        found[:, :3, 3] = moves
    if not np.isfinite(found).all():
        raise ValueError("translations, rotations or scales are not finite")
    return found


def _from_data_uri(uri: str) -> bytes:
    head, _, data = uri.partition(",")
    return base64.b64decode(data) if head.endswith(";base64") else urllib.parse.unquote_to_bytes(data)
