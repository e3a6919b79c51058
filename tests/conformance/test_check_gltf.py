"""Decoding glTF contents, and catching what is wrong in them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from pyproj import Transformer

from tiling.check import Report, Where, decode_glb, load_model, property_table_rows
from tiling.check.metadata_model import Property
from tiling.check.schema import check_schema
from tiling.check.tables import check_table
from tiling.check.values import transform
from tiling.check.volumes import Box, Region, Sphere, ecef_to_geodetic, geodetic_to_ecef, outside
from twin.errors import BadTileset


def _check(data: bytes) -> Report:
    report = Report()
    load_model(data, lambda _uri, _where: None, Where(report, "a.glb"))
    return report


def test_decode_glb_gives_positions_ids_and_columns(build: Any) -> None:
    (primitive,) = decode_glb(build.content())
    np.testing.assert_array_equal(primitive.positions, [[0, 0, 0.5], [1, 0, 0.5], [1, -1, 0.5], [0, -1, 0.5]])
    np.testing.assert_array_equal(primitive.triangles(), [[0, 2, 1], [0, 3, 2]])
    np.testing.assert_array_equal(primitive.feature_ids[0].ids, [0, 0, 1, 1])
    assert property_table_rows(primitive.tables[0]) == [{"name": "塔楼", "height": 12.5}, {"name": "B", "height": 30.0}]
    np.testing.assert_array_equal(decode_glb(build.content(), z_up=False)[0].positions[2], [1, 0.5, 1])


def test_decode_glb_refuses_what_is_broken(build: Any) -> None:
    with pytest.raises(BadTileset, match="GLB_LENGTH"):
        decode_glb(build.content()[:-4])


def _view(index: int, **values: int) -> Callable[[dict[str, Any]], None]:
    return lambda g: g["bufferViews"][index].update(values)


def _accessor(index: int, **values: Any) -> Callable[[dict[str, Any]], None]:
    return lambda g: g["accessors"][index].update(values)


def _primitive(g: dict[str, Any]) -> dict[str, Any]:
    return g["meshes"][0]["primitives"][0]


def _features(**values: Any) -> Callable[[dict[str, Any]], None]:
    return lambda g: _primitive(g)["extensions"]["EXT_mesh_features"]["featureIds"][0].update(values)


def _table(g: dict[str, Any]) -> dict[str, Any]:
    return g["extensions"]["EXT_structural_metadata"]["propertyTables"][0]


def _height(**values: Any) -> Callable[[dict[str, Any]], None]:
    return lambda g: g["extensions"]["EXT_structural_metadata"]["schema"]["classes"]["building"]["properties"]["height"].update(values)


def _small_normals(g: dict[str, Any]) -> None:
    """NORMAL in bytes (numbers of the ids' view), for which KHR_mesh_quantization must be required."""
    g["extensionsUsed"].append("KHR_mesh_quantization")
    g["accessors"].append({"bufferView": 2, "componentType": 5120, "normalized": True, "type": "VEC3", "count": 4})
    _primitive(g)["attributes"]["NORMAL"] = len(g["accessors"]) - 1


@pytest.mark.parametrize(
    ("breaking", "codes"),
    [
        (lambda g: g["asset"].update(version="1.0"), {"ASSET_VERSION_UNKNOWN"}),
        (lambda g: g.pop("extensionsUsed"), {"EXTENSION_UNDECLARED"}),
        (lambda g: g["buffers"][0].update(byteLength=10_000), {"BUFFER_LENGTH"}),
        (_view(0, byteLength=47), {"GLTF_ACCESSOR_RANGE"}),
        (_view(0, byteOffset=9999), {"BUFFER_VIEW_OUT_OF_RANGE"}),
        (_view(0, byteOffset=2), {"GLTF_ALIGNMENT", "GLTF_ACCESSOR_BOUNDS"}),
        (_view(0, buffer=1), {"GLTF_REFERENCE"}),
        (_accessor(0, count=3), {"GLTF_VERTEX_COUNT"}),
        (_accessor(0, max=[1, 0.5, 2]), {"GLTF_ACCESSOR_BOUNDS"}),
        (lambda g: g["accessors"][0].pop("max"), {"GLTF_ACCESSOR_BOUNDS"}),
        (_accessor(0, componentType=5122), {"GLTF_POSITION_TYPE", "GLTF_ACCESSOR_BOUNDS"}),
        (lambda g: _primitive(g).update(indices=9), {"GLTF_REFERENCE"}),
        (lambda g: _primitive(g).update(indices=0), {"GLTF_INDEX_TYPE"}),
        (lambda g: g["nodes"][0].update(children=[0]), {"GLTF_REFERENCE"}),
        (lambda g: g["nodes"][0].update(rotation=[0, 0, 0, 2]), {"GLTF_VALUE_INVALID"}),
        (lambda g: g["nodes"][0].update(mesh=3), {"GLTF_REFERENCE"}),
        (_features(featureCount=1), {"FEATURE_COUNT_MISMATCH"}),
        (_features(attribute=1), {"FEATURE_ID_ATTRIBUTE_MISSING"}),
        (_features(propertyTable=1), {"FEATURE_TABLE_MISSING"}),
        (_accessor(2, normalized=True), {"FEATURE_ID_ACCESSOR_INVALID"}),
        (lambda g: _table(g).update(count=1), {"METADATA_TABLE_LENGTH", "FEATURE_ID_RANGE"}),
        (lambda g: _table(g).update(count=3), {"METADATA_TABLE_LENGTH"}),
        (lambda g: _table(g).update({"class": "x"}), {"METADATA_CLASS_UNKNOWN"}),
        (lambda g: _table(g)["properties"].update(x={"values": 5}), {"METADATA_PROPERTY_UNKNOWN"}),
        (lambda g: _table(g)["properties"]["name"].pop("stringOffsets"), {"METADATA_OFFSETS_MISSING"}),
        (lambda g: _table(g)["properties"]["name"].update(values=5), {"METADATA_TABLE_LENGTH"}),
        (_view(4, byteOffset=84), {"METADATA_OFFSETS_INVALID"}),
        (_height(max=20), {"METADATA_VALUE_RANGE"}),
        (lambda g: _table(g)["properties"]["height"].update(max=31), {"METADATA_MIN_MAX_MISMATCH"}),
        (lambda g: _table(g)["properties"]["height"].update(max=29), {"METADATA_VALUE_RANGE"}),
        (_height(componentType="FLOAT64"), {"METADATA_TABLE_LENGTH"}),
        (_height(required=True, default=1), {"METADATA_PROPERTY_INVALID"}),
        (lambda g: _primitive(g)["attributes"].update(COLOR_0=0), set()),
        (lambda g: _primitive(g)["attributes"].update(COLOR_0=2), {"GLTF_ATTRIBUTE_TYPE"}),
        (lambda g: _primitive(g)["attributes"].update(TEXCOORD_0=0), {"GLTF_ATTRIBUTE_TYPE"}),
        (_small_normals, {"GLTF_ATTRIBUTE_TYPE", "GLTF_VALUE_INVALID"}),
        (lambda g: (_small_normals(g), g.update(extensionsRequired=["KHR_mesh_quantization"])), {"GLTF_VALUE_INVALID"}),  # their numbers are those of the ids: the type is right, the length is not
        (lambda g: g["asset"].update(minVersion="2.1"), {"ASSET_VERSION_UNKNOWN"}),
        (lambda g: g["asset"].update(minVersion="2.0"), set()),
        (lambda g: g["asset"].update(minVersion="2."), {"ASSET_VERSION_UNKNOWN"}),
        (lambda g: g["nodes"].extend([{"children": [0]}, {"children": [0]}]), {"GLTF_REFERENCE"}),
        (lambda g: g["nodes"].append({"children": [0]}), {"GLTF_REFERENCE"}),  # a scene's root is a child
        (lambda g: (g["nodes"].append({"children": [0]}), g["scenes"][0].update(nodes=[1])), set()),
        (_accessor(0, normalized=True), {"GLTF_VALUE_INVALID"}),
        (lambda g: _primitive(g)["attributes"].update(HEIGHT=0), {"GLTF_ATTRIBUTE_NAME"}),
        (lambda g: _primitive(g)["attributes"].update({"TEXCOORD_00": 0}), {"GLTF_ATTRIBUTE_NAME", "GLTF_ATTRIBUTE_TYPE"}),
        (lambda g: _primitive(g)["attributes"].update({"_HEIGHT": 0, "KHR_splats:SCALE": 0}), set()),
    ],
)  # fmt: skip
def test_a_broken_glb_is_caught(build: Any, breaking: Callable[[dict[str, Any]], Any], codes: set[str]) -> None:
    gltf, chunk = build.mesh()
    breaking(gltf)
    report = _check(build.glb(gltf, chunk))
    assert report.codes() == codes, report.findings


def _dressed(**material: Any) -> Callable[[dict[str, Any]], None]:
    """The primitive gets a material, a texture and an image that begins as a PNG does."""

    def dress(g: dict[str, Any]) -> None:
        g.update(materials=[material], textures=[{"source": 0}], images=[{"uri": "a.png"}])
        _primitive(g).update(material=0)

    return dress


@pytest.mark.parametrize(
    ("breaking", "codes"),
    [
        (_dressed(alphaMode="BLEND", pbrMetallicRoughness={"baseColorFactor": [1, 0, 0.5, 0.2]}), set()),
        (_dressed(alphaMode="GLASS"), {"JSON_VALUE"}),
        (_dressed(pbrMetallicRoughness={"baseColorFactor": [1, 0, 255, 1]}), {"JSON_RANGE"}),
        (_dressed(pbrMetallicRoughness={"baseColorTexture": {"index": 4}}), {"GLTF_REFERENCE", "TEXTURE_COORDINATES_MISSING"}),
        (_dressed(emissiveTexture={"index": 0, "texCoord": 1}), {"TEXTURE_COORDINATES_MISSING"}),
        (lambda g: _primitive(g).update(material=0), {"GLTF_REFERENCE"}),
        (lambda g: g.update(textures=[{"source": 2}]), {"GLTF_REFERENCE"}),
        (lambda g: g.update(images=[{"name": "nothing"}]), {"JSON_ONE_OF"}),
        (lambda g: g.update(images=[{"bufferView": 0}]), {"JSON_REQUIRED"}),
        (lambda g: g.update(images=[{"bufferView": 0, "mimeType": "image/png"}]), {"IMAGE_INVALID"}),
    ],
)
def test_materials_textures_and_images(build: Any, breaking: Callable[[dict[str, Any]], Any], codes: set[str]) -> None:
    gltf, chunk = build.mesh()
    breaking(gltf)
    assert _check(build.glb(gltf, chunk)).codes() == codes


def test_a_whole_number_may_be_written_with_a_point(build: Any) -> None:
    """As JSON Schema has it, 0.0 is the index 0; a half is none, wherever a number stands."""
    gltf, chunk = build.mesh()

    def numbers(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: numbers(v) for key, v in value.items()}
        if isinstance(value, list):
            return [numbers(v) for v in value]
        return float(value) if isinstance(value, int) and not isinstance(value, bool) else value

    assert _check(build.glb(numbers(gltf), chunk)).codes() == set()
    _primitive(gltf)["attributes"]["POSITION"] = 0.5
    assert _check(build.glb(gltf, chunk)).codes()


def test_more_features_than_rows_is_a_warning(build: Any) -> None:
    gltf, chunk = build.mesh()
    _features(featureCount=10**30)(gltf)
    report = _check(build.glb(gltf, chunk))
    assert [(f.severity, f.code) for f in report.findings] == [("warning", "FEATURE_COUNT_MISMATCH")]


def test_a_compressed_view_lies_in_a_buffer(build: Any) -> None:
    gltf, chunk = build.mesh()
    gltf["extensionsUsed"].append("EXT_meshopt_compression")
    packed = {"buffer": 0, "byteLength": 20, "byteStride": 12, "count": 4, "mode": "ATTRIBUTES"}
    gltf["bufferViews"][0] |= {"extensions": {"EXT_meshopt_compression": packed}, "buffer": 10**30}
    assert "GLTF_REFERENCE" in _check(build.glb(gltf, chunk)).codes()


def test_an_index_or_nan_out_of_range(build: Any) -> None:
    gltf, chunk = build.mesh()
    assert _check(build.glb(gltf, chunk[:48] + b"\x04" + chunk[49:])).codes() == {"GLTF_INDEX_RANGE"}
    assert _check(build.glb(gltf, np.float32("nan").tobytes() + chunk[4:])).codes() == {"GLTF_VALUE_INVALID"}


def test_quantised_and_compressed_positions(build: Any) -> None:
    """KHR_mesh_quantization and EXT_meshopt_compression, encoded here by the reference codec, come back exactly."""
    meshoptimizer = pytest.importorskip("meshoptimizer")
    rng = np.random.default_rng(7)
    grid = np.zeros((300, 4), "<u2")
    grid[:, :3] = rng.integers(0, 65536, (300, 3))
    indices = rng.integers(0, 300, 900).astype("<u4")
    packed = [meshoptimizer.encode_vertex_buffer(grid.view(np.uint8), 300, 8), meshoptimizer.encode_index_buffer(indices, 900, 300)]
    views: list[dict[str, Any]] = []
    at = 0
    for data, (stride, count, mode) in zip(packed, ((8, 300, "ATTRIBUTES"), (2, 900, "TRIANGLES")), strict=True):
        extension = {"buffer": 0, "byteOffset": at, "byteLength": len(data), "byteStride": stride, "count": count, "mode": mode}
        views.append({"buffer": 1, "byteLength": stride * count, "extensions": {"EXT_meshopt_compression": extension}})
        at += len(data)
    views[0]["byteStride"] = 8
    low, high = grid[:, :3].min(0).tolist(), grid[:, :3].max(0).tolist()
    gltf = {
        "asset": {"version": "2.0"},
        "extensionsUsed": ["EXT_meshopt_compression", "KHR_mesh_quantization"],
        "extensionsRequired": ["EXT_meshopt_compression", "KHR_mesh_quantization"],
        "nodes": [{"mesh": 0, "translation": [10, 20, 30], "scale": [0.5, 0.25, 2]}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0}, "indices": 1}]}],
        "buffers": [{"byteLength": at}, {"byteLength": 4200}],
        "bufferViews": views,
        "accessors": [
            {"bufferView": 0, "componentType": 5123, "count": 300, "type": "VEC3", "normalized": True, "min": low, "max": high},
            {"bufferView": 1, "componentType": 5123, "count": 900, "type": "SCALAR"},
        ],
    }
    data = build.glb(gltf, b"".join(packed))
    (primitive,) = decode_glb(data)
    expected = grid[:, :3] / 65535 * [0.5, 0.25, 2] + [10, 20, 30]
    np.testing.assert_allclose(primitive.positions, expected[:, [0, 2, 1]] * [1, -1, 1], rtol=1e-12)
    # The codec may rotate a triangle's corners, so compare triangles as sets of corners.
    np.testing.assert_array_equal(np.sort(primitive.triangles(), axis=1), np.sort(indices.reshape(-1, 3), axis=1))
    views[0]["extensions"]["EXT_meshopt_compression"]["byteLength"] -= 40
    assert _check(build.glb(gltf, b"".join(packed))).codes() == {"MESHOPT_INVALID"}
    gltf["extensionsRequired"] = ["EXT_meshopt_compression"]
    views[0]["extensions"]["EXT_meshopt_compression"]["byteLength"] += 40
    assert _check(build.glb(gltf, b"".join(packed))).codes() == {"GLTF_POSITION_TYPE"}


def test_instances_stand_where_their_transforms_say(build: Any) -> None:
    gltf, chunk = build.mesh()
    moves = np.array([[0, 0, 0], [10, 0, 0]], "<f4")
    turns = np.array([[0, 0, 0, 1], [0, np.sqrt(0.5), 0, np.sqrt(0.5)]], "<f4")  # 90 degrees about y
    start = len(chunk)
    chunk += moves.tobytes() + turns.tobytes()
    gltf["buffers"][0]["byteLength"] = len(chunk)
    gltf["bufferViews"] += [
        {"buffer": 0, "byteOffset": start, "byteLength": 24},
        {"buffer": 0, "byteOffset": start + 24, "byteLength": 32},
    ]
    gltf["accessors"] += [
        {"bufferView": 6, "componentType": 5126, "count": 2, "type": "VEC3"},
        {"bufferView": 7, "componentType": 5126, "count": 2, "type": "VEC4"},
    ]
    gltf["extensionsUsed"] += ["EXT_mesh_gpu_instancing", "EXT_instance_features"]
    gltf["nodes"][0]["extensions"] = {
        "EXT_mesh_gpu_instancing": {"attributes": {"TRANSLATION": 3, "ROTATION": 4}},
        "EXT_instance_features": {"featureIds": [{"featureCount": 2, "propertyTable": 0}]},
    }
    (primitive,) = decode_glb(build.glb(gltf, chunk))
    assert primitive.instances == 2
    np.testing.assert_array_equal(primitive.instance_feature_ids[0].ids, [0, 1])
    # (1, 0.5, 0) turned about y is (0, 0.5, -1), moved (10, 0.5, -1), z-up (10, 1, 0.5).
    np.testing.assert_allclose(primitive.positions[5], [10, 1, 0.5], atol=1e-6)
    gltf["accessors"][4]["count"] = 1
    assert _check(build.glb(gltf, chunk)).codes() == {"INSTANCING_INVALID"}


def _schema(**properties: dict[str, Any]) -> Any:
    value = {
        "id": "s",
        "classes": {"c": {"properties": properties}},
        "enums": {"use": {"valueType": "INT8", "values": [{"name": "HOME", "value": -1}, {"name": "SHOP", "value": 4}]}},
    }
    report = Report()
    schema = check_schema(value, Where(report, "s"))
    assert report.ok, report.findings
    return schema


def test_every_kind_of_column_is_decoded() -> None:
    schema = _schema(
        flags={"type": "BOOLEAN"},
        use={"type": "ENUM", "enumType": "use"},
        tags={"type": "STRING", "array": True},
        pair={"type": "SCALAR", "componentType": "INT16", "array": True, "count": 2},
        tint={"type": "VEC3", "componentType": "UINT8", "normalized": True},
        level={"type": "SCALAR", "componentType": "FLOAT64", "scale": 2, "offset": 1},
        code={"type": "STRING", "noData": "-", "default": "none"},
        floors={"type": "SCALAR", "componentType": "UINT8", "default": 7},
    )
    columns = {
        "flags": {"values": b"\x05"},
        "use": {"values": b"\x04\xff\x04"},
        "tags": {"values": b"abcd", "arrayOffsets": np.array([0, 2, 2, 3], "<u4"), "stringOffsets": np.array([0, 1, 3, 4], "<u4")},
        "pair": {"values": np.arange(6, dtype="<i2")},
        "tint": {"values": np.array([0, 255, 51] * 3, "u1")},
        "level": {"values": np.array([0, 1, 2], "<f8")},
        "code": {"values": b"x-y", "stringOffsets": np.arange(4, dtype="<u4")},
    }
    views: list[bytes] = []
    properties: dict[str, dict[str, int]] = {}
    for name, parts in columns.items():
        properties[name] = {}
        for part, data in parts.items():
            properties[name][part] = len(views)
            views.append(data if isinstance(data, bytes) else data.tobytes())
    report = Report()
    table = check_table({"class": "c", "count": 3, "properties": properties}, schema, views, [0] * len(views), Where(report, "t"))
    assert report.findings == []
    assert table is not None
    assert table.columns["flags"].tolist() == [True, False, True]
    assert table.columns["use"] == ["SHOP", "HOME", "SHOP"]
    assert table.columns["tags"] == [["a", "bc"], [], ["d"]]
    assert table.columns["pair"].tolist() == [[0, 1], [2, 3], [4, 5]]
    np.testing.assert_allclose(table.columns["tint"], [[0, 1, 0.2]] * 3)
    assert table.columns["level"].tolist() == [1, 3, 5]
    assert table.columns["code"] == ["x", "none", "y"]
    assert table.columns["floors"] == [7, 7, 7]


def test_normalised_signed_integers_end_at_minus_one() -> None:
    prop = Property("p", "SCALAR", "INT8", None, False, None, True, False, None, {})
    np.testing.assert_allclose(transform(prop, np.array([-128, -127, 0, 127], np.int8)), [-1, -1, 0, 1])


def test_our_geodesy_agrees_with_proj() -> None:
    """An independent reading: PROJ's own conversion between EPSG:4979 and EPSG:4978, to a nanometre or so."""
    rng = np.random.default_rng(3)
    lon, lat, h = rng.uniform(-180, 180, 500), rng.uniform(-90, 90, 500), rng.uniform(-500, 9000, 500)
    expected = np.stack(Transformer.from_crs(4979, 4978, always_xy=True).transform(lon, lat, h), axis=-1)
    ours = geodetic_to_ecef(np.radians(lon), np.radians(lat), h)
    np.testing.assert_allclose(ours, expected, atol=1e-8)
    back = ecef_to_geodetic(expected)
    np.testing.assert_allclose(np.degrees(back[0]), lon, atol=1e-12)
    np.testing.assert_allclose(np.degrees(back[1]), lat, atol=1e-12)
    np.testing.assert_allclose(back[2], h, atol=1e-7)


def test_volumes_know_what_is_outside() -> None:
    unit = Box(np.zeros(3), np.eye(3))
    np.testing.assert_allclose(unit.excess(np.array([[0, 0, 0], [2, 0, 0], [2, 2, 0], [1, 1, 1.0]])), [0, 1, 2**0.5, 0])
    flat = Box(np.zeros(3), np.diag([1.0, 1.0, 0.0]))
    np.testing.assert_allclose(flat.excess(np.array([[0.5, 0.5, 0], [0, 0, 3.0]])), [0, 3])
    assert outside(Sphere(np.zeros(3), 1), unit) == 0
    assert outside(unit, Sphere(np.zeros(3), 1)) == pytest.approx(3**0.5 - 1)
    quarter = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    turned = Box(np.array([5.0, 0, 0]), np.diag([1.0, 2, 3])).transformed(np.block([[quarter, np.zeros((3, 1))], [np.zeros(3), 1]]))
    np.testing.assert_allclose(turned.excess(np.array([[2, 5, 0], [0, 5, 3], [2.5, 5, 0.0]])), [0, 0, 0.5])


def test_regions_cross_the_antimeridian() -> None:
    region = Region(np.radians(179), 0.0, np.radians(-179), 0.1, 0.0, 100.0)
    lon = np.radians(np.array([179.5, -179.5, 178.0, -178.0]))
    points = geodetic_to_ecef(lon, np.full(4, 0.05), np.full(4, 50.0))
    excess = region.excess(points)
    np.testing.assert_allclose(excess[:2], 0)
    np.testing.assert_allclose(excess[2:], 111_200, rtol=0.01)
    assert outside(Region(np.radians(179.2), 0.01, np.radians(179.9), 0.02, 1, 2), region) == 0
    assert outside(Region(np.radians(170), 0.01, np.radians(179.9), 0.02, 1, 2), region) > 900_000
