"""A tiny builder of glb, tilesets and archives: independent of the product's own encoders, made to be broken."""

from __future__ import annotations

import copy
import hashlib
import io
import json
import struct
import zipfile
from typing import Any

import numpy as np
import pytest

from tiling.check import CallableSource, Report, check_source

Json = dict[str, Any]

#: A unit square in the ground plane of a y-up glTF, half a metre up: z-up (0..1, -1..0, 0.5).
SQUARE = np.array([[0, 0.5, 0], [1, 0.5, 0], [1, 0.5, 1], [0, 0.5, 1]], dtype="<f4")


class Build:
    """Files in memory."""

    @staticmethod
    def glb(gltf: Json, chunk: bytes = b"") -> bytes:
        text = json.dumps(gltf).encode()
        text += b" " * (-len(text) % 4)
        chunk += b"\0" * (-len(chunk) % 4)
        body = struct.pack("<I4s", len(text), b"JSON") + text
        if chunk:
            body += struct.pack("<I4s", len(chunk), b"BIN\0") + chunk
        return struct.pack("<4sII", b"glTF", 2, 12 + len(body)) + body

    @staticmethod
    def mesh(positions: np.ndarray = SQUARE, ids: list[int] | None = None) -> tuple[Json, bytes]:
        """A glTF with one primitive of two triangles, feature ids 0 0 1 1 and a property table of two rows."""
        indices = np.array([0, 2, 1, 0, 3, 2], dtype="<u2").tobytes() + b"\0\0\0\0"
        ids_ = np.zeros((4, 4), np.uint8)
        ids_[:, 0] = ids if ids is not None else [0, 0, 1, 1]
        names, offsets = "塔楼B".encode(), np.array([0, 6, 7], dtype="<u4").tobytes()
        heights = np.array([12.5, 30], dtype="<f4").tobytes()
        parts = [positions.astype("<f4").tobytes(), indices, ids_.tobytes(), names + b"\0", offsets + b"\0" * 4, heights]
        lengths = [48, 12, 16, 7, 12, 8]
        views, at = [], 0
        for part, length in zip(parts, lengths, strict=True):
            views.append({"buffer": 0, "byteOffset": at, "byteLength": length})
            at += len(part)
        views[2]["byteStride"] = 4
        gltf: Json = {
            "asset": {"version": "2.0"},
            "extensionsUsed": ["EXT_mesh_features", "EXT_structural_metadata"],
            "extensions": {
                "EXT_structural_metadata": {
                    "schema": {
                        "id": "city",
                        "classes": {
                            "building": {
                                "properties": {
                                    "name": {"type": "STRING"},
                                    "height": {"type": "SCALAR", "componentType": "FLOAT32"},
                                }
                            }
                        },
                    },
                    "propertyTables": [
                        {
                            "class": "building",
                            "count": 2,
                            "properties": {"name": {"values": 3, "stringOffsets": 4}, "height": {"values": 5}},
                        }
                    ],
                }
            },
            "scene": 0,
            "scenes": [{"nodes": [0]}],
            "nodes": [{"mesh": 0}],
            "meshes": [
                {
                    "primitives": [
                        {
                            "attributes": {"POSITION": 0, "_FEATURE_ID_0": 2},
                            "indices": 1,
                            "extensions": {
                                "EXT_mesh_features": {
                                    "featureIds": [{"featureCount": 2, "attribute": 0, "propertyTable": 0}]
                                }
                            },
                        }
                    ]
                }
            ],
            "buffers": [{"byteLength": at}],
            "bufferViews": views,
            "accessors": [
                {
                    "bufferView": 0,
                    "componentType": 5126,
                    "count": 4,
                    "type": "VEC3",
                    "min": positions.astype(float).min(0).tolist(),
                    "max": positions.astype(float).max(0).tolist(),
                },
                {"bufferView": 1, "componentType": 5123, "count": 6, "type": "SCALAR"},
                {"bufferView": 2, "componentType": 5121, "count": 4, "type": "SCALAR"},
            ],
        }
        return gltf, b"".join(parts)

    @classmethod
    def content(cls) -> bytes:
        return cls.glb(*cls.mesh())

    @staticmethod
    def box(x: float, y: float, z: float, hx: float, hy: float, hz: float) -> Json:
        return {"box": [x, y, z, hx, 0, 0, 0, hy, 0, 0, 0, hz]}

    @classmethod
    def tileset(cls) -> Json:
        """A valid tileset: a root and one child with content a.glb, both in the box of the square."""
        volume = cls.box(0.5, -0.5, 0.5, 0.5, 0.5, 0.5)
        child = {"boundingVolume": volume, "geometricError": 0, "content": {"uri": "a.glb"}}
        root = {"boundingVolume": volume, "geometricError": 8, "refine": "ADD", "children": [child]}
        return copy.deepcopy({"asset": {"version": "1.1"}, "geometricError": 16, "root": root})

    @staticmethod
    def check(files: dict[str, bytes | Json], **options: Any) -> Report:
        """Check the tileset.json among files in memory (dictionaries are written as JSON)."""
        raw = {n: v if isinstance(v, bytes) else json.dumps(v).encode() for n, v in files.items()}
        return check_source(CallableSource(raw.get), **options)

    @staticmethod
    def archive(files: dict[str, bytes], *, zip64: bool = False, index: bool = True, shift: int = 0) -> bytes:
        """A .3tz; ``shift`` falsifies the offsets of the index."""
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w") as archive:
            for name, data in files.items():
                with archive.open(name, "w", force_zip64=zip64) as entry:
                    entry.write(data)
            digests = [(hashlib.md5(i.filename.encode()).digest(), i.header_offset + shift) for i in archive.infolist()]
            digests.sort(key=lambda pair: struct.unpack("<QQ", pair[0]))
            if index:
                archive.writestr("@3dtilesIndex1@", b"".join(d + struct.pack("<Q", o) for d, o in digests))
        return out.getvalue()

    @staticmethod
    def subtree(value: Json, chunk: bytes = b"") -> bytes:
        text = json.dumps(value).encode()
        text += b" " * (-len(text) % 8)
        chunk += b"\0" * (-len(chunk) % 8)
        return struct.pack("<4sIQQ", b"subt", 1, len(text), len(chunk)) + text + chunk


@pytest.fixture(scope="session")
def build() -> type[Build]:
    """The builder."""
    return Build
