"""An independent decoder of quantized-mesh 1.0, written from the specification with struct and plain loops over bytes."""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
from pyproj import Transformer

TO_ECEF = Transformer.from_crs("EPSG:4979", "EPSG:4978", always_xy=True)


@dataclass
class DecodedTile:
    centre: np.ndarray
    low: float
    high: float
    sphere: np.ndarray
    radius: float
    occlusion: np.ndarray
    uvh: np.ndarray  # (N, 3) integers
    triangles: np.ndarray  # (T, 3)
    edges: list[np.ndarray]  # west, south, east, north
    extensions: dict[int, bytes]
    lonlath: np.ndarray  # (N, 3) degrees, degrees, metres

    @property
    def ecef(self) -> np.ndarray:
        return np.column_stack(TO_ECEF.transform(*self.lonlath.T))

    def normals(self) -> np.ndarray:
        raw = np.frombuffer(self.extensions[1], np.uint8).reshape(-1, 2) / 255 * 2 - 1
        z = 1 - np.abs(raw).sum(axis=1)
        fold = (1 - np.abs(raw[:, ::-1])) * np.where(raw >= 0, 1, -1)
        v = np.column_stack([np.where(z[:, None] < 0, fold, raw), z])
        return v / np.linalg.norm(v, axis=1)[:, None]


def unzigzag(codes: list[int]) -> list[int]:
    values, total = [], 0
    for code in codes:
        total += (code >> 1) ^ -(code & 1)
        values.append(total)
    return values


def decode(data: bytes, z: int, x: int, y: int) -> DecodedTile:
    head = struct.unpack_from("<3d2f4d3d", data, 0)
    at = 88
    (count,) = struct.unpack_from("<I", data, at)
    at += 4
    columns = []
    for _ in range(3):
        columns.append(unzigzag(list(struct.unpack_from(f"<{count}H", data, at))))
        at += 2 * count
    assert count <= 65536
    (triangles,) = struct.unpack_from("<I", data, at)
    at += 4
    indices, highest = [], 0
    for code in struct.unpack_from(f"<{3 * triangles}H", data, at):
        indices.append(highest - code)
        if code == 0:
            highest += 1
    at += 6 * triangles
    edges = []
    for _ in range(4):
        (n,) = struct.unpack_from("<I", data, at)
        edges.append(np.array(struct.unpack_from(f"<{n}H", data, at + 4), int))
        at += 4 + 2 * n
    extensions = {}
    while at < len(data):
        kind, length = struct.unpack_from("<BI", data, at)
        extensions[kind] = data[at + 5 : at + 5 + length]
        assert len(extensions[kind]) == length
        at += 5 + length
    assert at == len(data)
    uvh = np.array(columns).T
    width = 180 / 2**z
    lon = -180 + width * (x + uvh[:, 0] / 32767)
    lat = -90 + width * (y + uvh[:, 1] / 32767)
    h = head[3] + (head[4] - head[3]) * uvh[:, 2] / 32767
    return DecodedTile(
        np.array(head[:3]), head[3], head[4], np.array(head[5:8]), head[8], np.array(head[9:12]), uvh,
        np.array(indices).reshape(-1, 3), edges, extensions, np.column_stack([lon, lat, h]),
    )  # fmt: skip
