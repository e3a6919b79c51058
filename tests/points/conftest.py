"""Clouds in a lake, their tiles decoded, and the exact places of their points by laspy and pyproj alone."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import laspy
import numpy as np
import pytest
from pyproj import Transformer

from ingest_gis import points as reader
from tiling.check.layer import check_layer
from tiling.encoding import meshopt
from tiling.points import tiler
from twin import crs, parts
from twin.archive import Archive
from twin.lake import Lake
from twin.model import LayerVersion, Report
from twin.registry import TileJob

KINDS = {5120: "i1", 5121: "u1", 5122: "i2", 5123: "u2", 5126: "f4"}
WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4}


@dataclass
class Tiled:
    """An archive of points and what the tiler said of it."""

    path: Path
    facts: dict[str, Any]
    version: LayerVersion

    def tiles(self) -> Iterator[tuple[dict[str, Any], list[int], dict[str, np.ndarray[Any, Any]], dict[str, Any], np.ndarray[Any, Any]]]:
        """(tile JSON, path of child numbers, decoded columns with POSITION in tile coordinates, glTF JSON, tile → ECEF)."""
        with Archive(self.path) as archive:
            root = json.loads(archive.read("tileset.json"))["root"]
            matrix = np.array(root["transform"]).reshape(4, 4).T
            stack: list[tuple[dict[str, Any], list[int]]] = [(root, [])]
            while stack:
                tile, way = stack.pop()
                stack += [(child, [*way, i]) for i, child in enumerate(tile.get("children", []))]
                if "content" in tile:
                    columns, document = decode(archive.read(tile["content"]["uri"]))
                    yield tile, way, columns, document, matrix

    def ecef(self) -> np.ndarray[Any, Any]:
        """(N, 3) all points."""
        return np.concatenate([c["POSITION"] @ m[:3, :3].T + m[:3, 3] for _, _, c, _, m in self.tiles()])


def unpack(packed: bytes, count: int, stride: int) -> bytes:
    """A compressed column, by the reference codec where it is installed (it needs a C++ compiler), else by ours."""
    try:
        import meshoptimizer
    except ImportError:
        return meshopt.decode_vertices(packed, count, stride).tobytes()
    return bytes(meshoptimizer.decode_vertex_buffer(count, stride, packed, dtype=np.dtype(f"V{stride}")).tobytes())


def decode(data: bytes) -> tuple[dict[str, np.ndarray[Any, Any]], dict[str, Any]]:
    """Columns of a glb by name, node after node, written from the specification; positions with y up undone."""
    length = struct.unpack("<I", data[12:16])[0]
    document, body = json.loads(data[20 : 20 + length]), data[28 + length :]
    nodes = [_columns(document, body, document["nodes"][number]) for number in document["scenes"][0]["nodes"]]
    return {name: np.concatenate([columns[name] for columns in nodes]) for name in nodes[0]}, document


def _columns(document: dict[str, Any], body: bytes, node: dict[str, Any]) -> dict[str, np.ndarray[Any, Any]]:
    columns = {}
    for name, index in document["meshes"][node["mesh"]]["primitives"][0]["attributes"].items():
        accessor = document["accessors"][index]
        view = document["bufferViews"][accessor["bufferView"]]
        stride, count, first = view["byteStride"], accessor["count"], accessor.get("byteOffset", 0)
        packed = view.get("extensions", {}).get("EXT_meshopt_compression")
        if packed:
            raw = unpack(body[packed["byteOffset"] : packed["byteOffset"] + packed["byteLength"]], packed["count"], stride)
        else:
            raw = body[view["byteOffset"] : view["byteOffset"] + view["byteLength"]]
        kind = np.dtype(KINDS[accessor["componentType"]])
        rows = np.frombuffer(raw, np.uint8)[first : first + count * stride].reshape(count, stride)[:, : WIDTHS[accessor["type"]] * kind.itemsize]
        column = np.ascontiguousarray(rows).view(kind)
        if name == "POSITION":
            assert column.min(axis=0).tolist() == accessor["min"]
            assert column.max(axis=0).tolist() == accessor["max"]
            xyz = column.astype(np.float64) * node.get("scale", [1, 1, 1]) + node["translation"]
            column = np.column_stack([xyz[:, 0], -xyz[:, 2], xyz[:, 1]])
        columns[name] = column
    return columns


def ingest(lake: Lake, source: Any, **options: Any) -> tuple[LayerVersion, Report]:
    """A layer version of one file or a delivery of several; `options` are the reader's."""
    report = Report(source=source.name if isinstance(source, Path) else "delivery")
    return parts.write_version(lake, "cloud", "points", reader.read(source, reader.Options(**options), report), report, provenance={}), report


def tile(lake: Lake, version: LayerVersion, out: Path, **options: Any) -> Tiled:
    """Tile a layer version and check the archive against it; `options` are the tiler's."""
    facts = tiler.tile(version, TileJob(lake, out, tiler.Options(**options), None, 2))
    found = check_layer(version, lake, out, info=facts)
    assert not found.errors, found.errors[:3]
    return Tiled(out, facts, version)


@pytest.fixture
def tiled(lake: Lake, tmp_path: Path) -> Callable[..., Tiled]:
    """Ingest and tile a cloud: `reading` are reader options, the rest tiler options; `workers` threads."""

    def run(path: Path, reading: dict[str, Any], *, workers: int = 2, name: str = "out", **options: Any) -> Tiled:
        report = Report(source=path.name)
        version = parts.write_version(lake, "cloud", "points", reader.read(path, reader.Options(**reading), report), report, provenance={})
        out = tmp_path / f"{name}.3tz"
        facts = tiler.tile(version, TileJob(lake, out, tiler.Options(**options), None, workers))
        return Tiled(out, facts, version)

    return run


def exact(path: Path, horizontal: str, unit: float = 1.0) -> tuple[np.ndarray[Any, Any], Any]:
    """((N, 3) ECEF by pyproj, point by point, heights taken as EGM96; the laspy record)."""
    las = laspy.read(path)
    lon, lat = Transformer.from_crs(horizontal, "EPSG:4326", always_xy=True).transform(np.asarray(las.x), np.asarray(las.y))
    height = np.asarray(las.z) * unit + crs.undulation(lon, lat)
    return np.column_stack(Transformer.from_crs("EPSG:4979", "EPSG:4978", always_xy=True).transform(lon, lat, height)), las
