"""Instances and textures that something is wrong with: each fault in a file that is right without it."""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from tiling.check import Report, Where, load_model
from tiling.encoding.drawables import Instanced, Primitive, Surface
from tiling.encoding.gltf import container, glb
from tiling.encoding.metadata import schema_of

Change = Callable[["File"], Any]


class File:
    """A glb as JSON and bytes: a textured square, and a triangle drawn five times for a feature each."""

    def __init__(self, *, alpha: bool = False) -> None:
        picture = io.BytesIO()
        Image.fromarray(np.random.default_rng(1).integers(0, 255, (32, 32, 4 if alpha else 3), np.uint8)).save(picture, "WEBP")
        corners = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0.0]])
        up = np.tile([0, 0, 1.0], (3, 1))
        names = pa.table({"id": list("abcdef")})
        table = schema_of("looks", names).encode(names)
        square = Primitive(corners, np.array([[0, 1, 2]]), up, texcoords=corners[:, :2], feature_ids=np.full(3, 5), surface=0)
        many = Instanced([Primitive(corners, np.array([[0, 1, 2]]), up, surface=1)], np.arange(15.0).reshape(5, 3), np.tile([0, 0, 0, 1.0], (5, 1)), np.ones((5, 3)), np.arange(5))
        data = glb([square], [Surface(texture=picture.getvalue()), Surface()], table, instanced=[many])
        length = struct.unpack_from("<I", data, 12)[0]
        self.json, self.body = json.loads(data[20 : 20 + length]), bytearray(data[28 + length :])
        self.places = self.json["nodes"][1]["extensions"]
        self.columns = self.places["EXT_mesh_gpu_instancing"]["attributes"]
        self.image, self.texture, self.sampler = self.json["images"][0], self.json["textures"][0], self.json["samplers"][0]
        self.view = self.json["bufferViews"][self.image["bufferView"]]

    def floats(self, accessor: int, change: Callable[[Any], Any]) -> None:
        """Change an accessor's rows of floats in place."""
        told = self.json["accessors"][accessor]
        view = self.json["bufferViews"][told["bufferView"]]
        rows = np.frombuffer(self.body, "<f4", view["byteLength"] // 4, view["byteOffset"]).reshape(told["count"], -1).copy()
        change(rows)
        self.body[view["byteOffset"] : view["byteOffset"] + view["byteLength"]] = rows.tobytes()

    def codes(self, severity: Any = "error") -> set[str]:
        self.json["buffers"][0]["byteLength"] = len(self.body)
        report = Report()
        load_model(container(self.json, bytes(self.body)), lambda uri, where: where.error("RESOURCE_MISSING", uri), Where(report, "a.glb"))
        return report.codes(severity)


def rows(name: str, change: Callable[[Any], Any]) -> Change:
    return lambda f: f.floats(f.columns[name], change)


def without_webp(f: File, *keys: str) -> None:
    for key in keys:
        f.json[key].remove("EXT_texture_webp")


def animated(f: File) -> None:
    frames = [Image.new("RGB", (16, 16), color) for color in ((255, 0, 0), (0, 255, 0))]
    file = io.BytesIO()
    frames[0].save(file, "WEBP", save_all=True, append_images=frames[1:])
    f.body += b"\0" * (-len(f.body) % 4)
    f.json["bufferViews"].append({"buffer": 0, "byteOffset": len(f.body), "byteLength": len(file.getvalue())})
    f.body += file.getvalue()
    f.image["bufferView"] = len(f.json["bufferViews"]) - 1


def test_it_is_right_as_it_is() -> None:
    for alpha in (False, True):
        assert File(alpha=alpha).codes() == set() == File(alpha=alpha).codes("warning")


@pytest.mark.parametrize(("change", "code"), [
    (rows("ROTATION", lambda r: r.__imul__(1.05)), "INSTANCING_INVALID"),
    (rows("ROTATION", lambda r: r.__setitem__(3, 0)), "INSTANCING_INVALID"),
    (rows("ROTATION", lambda r: r.__setitem__((2, 1), np.nan)), "GLTF_VALUE_INVALID"),
    (lambda f: f.columns.update(SIZE=f.columns["SCALE"]), "INSTANCING_INVALID"),
    (lambda f: f.json["accessors"][f.columns["SCALE"]].update(count=4), "INSTANCING_INVALID"),
    (lambda f: f.json["accessors"][f.columns["_FEATURE_ID_0"]].update(count=4), "INSTANCING_INVALID"),
    (lambda f: f.places["EXT_instance_features"]["featureIds"][0].update(attribute=3), "FEATURE_ID_ATTRIBUTE_MISSING"),
    (lambda f: f.places["EXT_instance_features"]["featureIds"][0].update(featureCount=4), "FEATURE_COUNT_MISMATCH"),
    (lambda f: f.view.update(byteLength=f.view["byteLength"] // 2), "IMAGE_INVALID"),
    (lambda f: f.view.update(byteLength=f.view["byteLength"] - 8), "IMAGE_INVALID"),
    (animated, "IMAGE_INVALID"),
    (lambda f: f.image.update(mimeType="image/gif"), "JSON_VALUE"),
    (lambda f: f.image.update(mimeType="image/png"), "IMAGE_INVALID"),
    (lambda f: (f.image.pop("bufferView"), f.image.update(uri="gone.webp")), "RESOURCE_MISSING"),
    (lambda f: f.texture["extensions"]["EXT_texture_webp"].update(source=9), "GLTF_REFERENCE"),
    (lambda f: (f.texture.pop("extensions"), f.texture.update(source=0)), "IMAGE_INVALID"),  # WebP where core glTF has PNG or JPEG
    (lambda f: without_webp(f, "extensionsRequired"), "EXTENSION_NOT_REQUIRED"),
    (lambda f: f.texture.update(sampler=9), "GLTF_REFERENCE"),
    (lambda f: f.sampler.update(wrapS=1), "JSON_VALUE"),
    (lambda f: f.sampler.update(magFilter=9987), "JSON_VALUE"),
    (lambda f: f.sampler.update(minFilter=1), "JSON_VALUE"),
    (lambda f: f.json["materials"][0]["pbrMetallicRoughness"]["baseColorTexture"].update(texCoord=1), "TEXTURE_COORDINATES_MISSING"),
    (lambda f: f.json["materials"][0]["pbrMetallicRoughness"]["baseColorTexture"].update(index=4), "GLTF_REFERENCE"),
])  # fmt: skip
def test_a_fault_is_caught(change: Change, code: str) -> None:
    file = File()
    change(file)
    assert code in file.codes()


@pytest.mark.parametrize(("change", "code"), [
    (rows("SCALE", lambda r: r.__setitem__((4, 0), -1)), "INSTANCES_MIRRORED"),
    (lambda f: f.texture.pop("extensions"), "TEXTURE_WITHOUT_IMAGE"),
    (lambda f: f.json["materials"][1].update(alphaCutoff=0.4), "ALPHA_CUTOFF_UNUSED"),
])  # fmt: skip
def test_what_is_unwise_is_said(change: Change, code: str) -> None:
    file = File()
    change(file)
    assert file.codes() == set() and code in file.codes("warning")


def test_normals_are_unit_vectors() -> None:
    """Bytes may be off by their rounding; halves and zeros are not normals."""
    for change, codes in ((lambda n: n, set()), (lambda n: n // 2, {"GLTF_VALUE_INVALID"}), (lambda n: n * 0, {"GLTF_VALUE_INVALID"})):
        file = File()
        view = file.json["bufferViews"][file.json["accessors"][file.json["meshes"][0]["primitives"][0]["attributes"]["NORMAL"]]["bufferView"]]
        numbers = np.frombuffer(file.body, "i1", view["byteLength"], view["byteOffset"]).copy()
        file.body[view["byteOffset"] : view["byteOffset"] + view["byteLength"]] = change(numbers).astype("i1").tobytes()
        assert file.codes() == codes
