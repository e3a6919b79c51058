"""Materials, their textures and images: that every reference leads somewhere, that values are in range, that an image is what it says.

Pixels are decoded for data textures only (`textures`); KTX2 has its own check (`ktx2`). Source: glTF 2.0, 3.8 and 3.9, and its JSON schema.
"""

from __future__ import annotations

from typing import Any

from .gltf import Gltf
from .issues import Where
from .shape import INDEX, Bool, Choice, List, Num, Obj, Text

_PART = Num(low=0, high=1)
_INFO = Obj({"index": INDEX}, {"texCoord": INDEX})
_MATERIAL = Obj(
    {},
    {
        "name": Text(),
        "pbrMetallicRoughness": Obj(
            {}, {"baseColorFactor": List(_PART, 4, 4), "metallicFactor": _PART, "roughnessFactor": _PART, "baseColorTexture": _INFO, "metallicRoughnessTexture": _INFO}
        ),
        "normalTexture": Obj({"index": INDEX}, {"texCoord": INDEX, "scale": Num()}),
        "occlusionTexture": Obj({"index": INDEX}, {"texCoord": INDEX, "strength": _PART}),
        "emissiveTexture": _INFO,
        "emissiveFactor": List(_PART, 3, 3),
        "alphaMode": Choice(("OPAQUE", "MASK", "BLEND")),
        "alphaCutoff": Num(low=0),
        "doubleSided": Bool(),
    },
)
_MAGIC = {"image/png": b"\x89PNG", "image/jpeg": b"\xff\xd8\xff", "image/webp": b"RIFF"}


def check_materials(gltf: Gltf) -> None:
    """Materials, what the primitives that have them need, textures and images."""
    materials = gltf.json.get("materials", [])
    sound = [_MATERIAL.check(material, gltf.where / "materials" / number) for number, material in enumerate(materials)]
    textures = gltf.json.get("textures", [])
    for number in [n for n, good in enumerate(sound) if good]:
        for slot, info in _slots(materials[number]):
            if info["index"] >= len(textures):
                (gltf.where / "materials" / number / slot).error("GLTF_REFERENCE", f"the texture {info['index']} does not exist")
    for m, mesh in enumerate(gltf.json.get("meshes", [])):
        for p, primitive in enumerate(mesh["primitives"]):
            at = gltf.where / "meshes" / m / "primitives" / p
            number = primitive.get("material")
            if number is not None and number >= len(materials):
                (at / "material").error("GLTF_REFERENCE", f"the material {number} does not exist")
            elif number is not None and sound[number]:
                _check_coordinates(materials[number], primitive, at)
    _check_images(gltf, textures)


def _slots(material: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """(name, texture reference) of a material."""
    metallic = material.get("pbrMetallicRoughness", {})
    found = [(name, metallic.get(name)) for name in ("baseColorTexture", "metallicRoughnessTexture")]
    found += [(name, material.get(name)) for name in ("normalTexture", "occlusionTexture", "emissiveTexture")]
    return [(name, info) for name, info in found if info is not None]


def _check_coordinates(material: dict[str, Any], primitive: dict[str, Any], at: Where) -> None:
    for slot, info in _slots(material):
        name = f"TEXCOORD_{info.get('texCoord', 0)}"
        moved = info.get("extensions", {}).get("KHR_texture_transform", {})
        if name not in primitive["attributes"] and "texCoord" not in moved and "KHR_draco_mesh_compression" not in primitive.get("extensions", {}):
            at.error("TEXTURE_COORDINATES_MISSING", f"its material's {slot} needs {name}, which it has not")


def _check_images(gltf: Gltf, textures: list[dict[str, Any]]) -> None:
    images = gltf.json.get("images", [])
    for number, texture in enumerate(textures):
        if texture.get("source", -1) >= len(images):
            (gltf.where / "textures" / number).error("GLTF_REFERENCE", f"the image {texture['source']} does not exist")
    for number, image in enumerate(images):
        at = gltf.where / "images" / number
        if ("uri" in image) == ("bufferView" in image):
            at.error("JSON_ONE_OF", f"needs exactly one of uri, bufferView; has {'both' if 'uri' in image else 'none'}")
            continue
        if "bufferView" not in image:
            continue  # a file beside is read, and found missing, where its pixels count
        data, kind = gltf.view(image["bufferView"]), image.get("mimeType")
        if kind is None:
            at.error("JSON_REQUIRED", "the property 'mimeType' is missing: an image in a buffer view has no other name")
        elif data is not None and kind in _MAGIC and not data.startswith(_MAGIC[kind]):
            at.error("IMAGE_INVALID", f"mimeType is {kind}, the bytes start with {data[:4]!r}")
