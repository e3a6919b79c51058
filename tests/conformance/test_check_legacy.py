"""The tile formats of 3D Tiles 1.0, built by hand from their byte layouts."""

from __future__ import annotations

import json
import struct
from typing import Any

import numpy as np
import pytest

from tiling.check import Report, Where
from tiling.check.content import identify, positions


def _tile(magic: bytes, features: dict[str, Any], binary: bytes = b"", body: bytes = b"", batch: dict[str, Any] | None = None, tail: bytes = b"") -> bytes:
    """A tile with all parts padded to 8 bytes; ``tail``: what i3dm has behind the common header."""
    start = 28 + len(tail)
    text = json.dumps(features).encode()
    text += b" " * (-(start + len(text)) % 8)
    binary += b"\0" * (-len(binary) % 8)
    table = json.dumps(batch).encode() if batch else b""
    table += b" " * (-len(table) % 8)
    body += b"\0" * (-len(body) % 8)
    sizes = (len(text), len(binary), len(table), 0)
    total = start + sum(sizes) + len(body)
    return struct.pack("<4s6I", magic, 1, total, *sizes) + tail + text + binary + table + body


def _read(data: bytes, gltf: bytes | None = None) -> tuple[np.ndarray, Report]:
    report = Report()
    where = Where(report, "tile")
    chunks = list(positions(data, identify(data, "tile", where), lambda _uri, _where: gltf, where, "Y"))
    return (np.concatenate(chunks) if chunks else np.empty((0, 3))), report


SQUARE = [[0, 0, 0.5], [1, 0, 0.5], [1, -1, 0.5], [0, -1, 0.5]]


def test_b3dm_stands_at_its_centre(build: Any) -> None:
    data = _tile(b"b3dm", {"BATCH_LENGTH": 2, "RTC_CENTER": [100, 200, 300]}, body=build.content(), batch={"name": ["a", "b"]})
    points, report = _read(data)
    assert report.findings == []
    np.testing.assert_array_equal(points, np.add(SQUARE, [100, 200, 300]))


@pytest.mark.parametrize(
    ("features", "batch", "code"),
    [
        ({}, None, "FEATURE_TABLE_INVALID"),
        ({"BATCH_LENGTH": -1}, None, "FEATURE_TABLE_INVALID"),
        ({"BATCH_LENGTH": 2}, {"name": ["a"]}, "BATCH_TABLE_INVALID"),
        ({"BATCH_LENGTH": 2}, {"h": {"byteOffset": 0, "componentType": "FLOAT", "type": "SCALAR"}}, "BATCH_TABLE_INVALID"),
        ({"BATCH_LENGTH": 2, "RTC_CENTER": [1]}, None, "FEATURE_TABLE_INVALID"),
    ],
)
def test_a_broken_b3dm_is_caught(build: Any, features: dict[str, Any], batch: dict[str, Any] | None, code: str) -> None:
    _, report = _read(_tile(b"b3dm", features, body=build.content(), batch=batch))
    assert report.codes() == {code}, report.findings


def test_pnts_plain_and_quantised() -> None:
    plain = np.array([[1, 2, 3], [4, 5, 6]], "<f4")
    points, report = _read(_tile(b"pnts", {"POINTS_LENGTH": 2, "POSITION": {"byteOffset": 0}, "RTC_CENTER": [1e6, 0, 0]}, plain.tobytes()))
    assert report.findings == []
    np.testing.assert_array_equal(points, np.add(plain, [1e6, 0, 0]))
    stored = np.array([[0, 0, 0], [65535, 65535, 65535]], "<u2")
    features = {
        "POINTS_LENGTH": 2,
        "POSITION_QUANTIZED": {"byteOffset": 0},
        "QUANTIZED_VOLUME_OFFSET": [1, 2, 3],
        "QUANTIZED_VOLUME_SCALE": [10, 20, 30],
    }
    points, report = _read(_tile(b"pnts", features, stored.tobytes()))
    assert report.findings == []
    np.testing.assert_allclose(points, [[1, 2, 3], [11, 22, 33]])
    features["POINTS_LENGTH"] = 9
    assert _read(_tile(b"pnts", features, stored.tobytes()))[1].codes() == {"FEATURE_TABLE_INVALID"}


def test_i3dm_turns_scales_and_places(build: Any) -> None:
    vectors = np.array([[10, 0, 0], [20, 0, 0], [0, 0, 1], [0, 1, 0], [0, -1, 0], [1, 0, 0]], "<f4")
    features = {
        "INSTANCES_LENGTH": 2,
        "POSITION": {"byteOffset": 0},
        "NORMAL_UP": {"byteOffset": 24},
        "NORMAL_RIGHT": {"byteOffset": 48},
        "SCALE": {"byteOffset": 72},
    }
    binary = vectors.tobytes() + np.array([1, 2], "<f4").tobytes()
    embedded = _tile(b"i3dm", features, binary, build.content(), tail=struct.pack("<I", 1))
    points, report = _read(embedded)
    assert report.findings == []
    # Instance 0: x to (0, -1, 0), y to (0, 0, 1), z to their cross product (-1, 0, 0); instance 1 only doubles.
    np.testing.assert_allclose(points[:4], [[9.5, 0, 0], [9.5, -1, 0], [9.5, -1, -1], [9.5, 0, -1]])
    np.testing.assert_allclose(points[4:], np.add(np.multiply(SQUARE, 2), [20, 0, 0]))
    by_uri = _tile(b"i3dm", features, binary, b"tree.glb", tail=struct.pack("<I", 0))
    np.testing.assert_array_equal(_read(by_uri, build.content())[0], points)


def test_cmpt_holds_tiles(build: Any) -> None:
    inner = [_tile(b"b3dm", {"BATCH_LENGTH": 0}, body=build.content()), _tile(b"pnts", {"POINTS_LENGTH": 1, "POSITION": {"byteOffset": 0}}, b"\0" * 12)]
    body = b"".join(inner)
    data = struct.pack("<4s3I", b"cmpt", 1, 16 + len(body), 2) + body
    points, report = _read(data)
    assert (report.findings, len(points)) == ([], 5)
    assert _read(struct.pack("<4s3I", b"cmpt", 1, 16 + len(body), 3) + body)[1].codes() == {"TILE_LENGTH"}


@pytest.mark.parametrize(
    ("magic", "features", "numbers", "code"),
    [
        (b"pnts", {"POINTS_LENGTH": 1, "POSITION": ["a", 0, 0]}, [], "FEATURE_TABLE_INVALID"),
        (b"pnts", {"POINTS_LENGTH": 1, "POSITION": {"byteOffset": 0}}, [np.nan, 0, 0], "FEATURE_TABLE_INVALID"),
        (b"pnts", {"POINTS_LENGTH": 1, "POSITION": {"byteOffset": 0}, "NORMAL": [0, 0, 2]}, [0, 0, 0], "FEATURE_TABLE_INVALID"),
        (b"pnts", {"POINTS_LENGTH": 1, "POSITION": {"byteOffset": 0, "componentType": "DOUBLE"}}, [0] * 6, "FEATURE_TABLE_INVALID"),
        (b"i3dm", {"INSTANCES_LENGTH": 1, "POSITION": [0, 0, 0], "NORMAL_UP": [0, 0, 1]}, [], "FEATURE_TABLE_INVALID"),
        (b"i3dm", {"INSTANCES_LENGTH": 1, "POSITION": [0, 0, 0], "NORMAL_UP": [0, 0, 1], "NORMAL_RIGHT": [0, 0.6, 0.8]}, [], "FEATURE_TABLE_INVALID"),
        (b"i3dm", {"INSTANCES_LENGTH": 1, "POSITION": [0, 0, 0], "BATCH_ID": [1]}, [], "FEATURE_ID_RANGE"),
    ],
)
def test_broken_points_and_instances_are_caught(build: Any, magic: bytes, features: dict[str, Any], numbers: list[float], code: str) -> None:
    tail = struct.pack("<I", 1) if magic == b"i3dm" else b""
    _, report = _read(_tile(magic, features, np.array(numbers, "<f4").tobytes(), build.content() if tail else b"", tail=tail))
    assert report.codes() == {code}, report.findings


def test_batch_ids_of_a_b3dm_have_rows(build: Any) -> None:
    """`_BATCHID` of the square's corners is 0, 0, 1, 1 (byte by byte behind the mesh)."""
    gltf, body = build.mesh()
    body += np.array([0, 0, 1, 1], "<f4").tobytes()
    gltf = json.loads(json.dumps(gltf))
    gltf["bufferViews"].append({"buffer": 0, "byteOffset": len(body) - 16, "byteLength": 16})
    gltf["accessors"].append({"bufferView": len(gltf["bufferViews"]) - 1, "componentType": 5126, "count": 4, "type": "SCALAR"})
    gltf["buffers"][0]["byteLength"] = len(body)
    gltf["meshes"][0]["primitives"][0]["attributes"]["_BATCHID"] = len(gltf["accessors"]) - 1
    tile = build.glb(gltf, body)
    assert _read(_tile(b"b3dm", {"BATCH_LENGTH": 2}, body=tile))[1].findings == []
    assert _read(_tile(b"b3dm", {"BATCH_LENGTH": 1}, body=tile))[1].codes() == {"FEATURE_ID_RANGE"}
