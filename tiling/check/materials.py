"""Materials, their textures and images: that every reference leads somewhere, that values are in range, that an image is what it says.

Every image is decoded, so that one which is cut short is found; KTX2 has its own check (`ktx2`), the values of data textures too (`textures`).

Sources: glTF 2.0, 3.8 and 3.9, and its JSON schema; EXT_texture_webp.
"""

from __future__ import annotations

import io
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
_TEXTURE = Obj({}, {"name": Text(), "sampler": INDEX, "source": INDEX})
_WRAP = Choice((10497, 33648, 33071))
_SAMPLER = Obj({}, {"name": Text(), "magFilter": Choice((9728, 9729)), "minFilter": Choice((9728, 9729, 9984, 9985, 9986, 9987)), "wrapS": _WRAP, "wrapT": _WRAP})
_MAGIC = {"image/png": b"\x89PNG", "image/jpeg": b"\xff\xd8\xff", "image/webp": b"RIFF"}
_KINDS = ("image/png", "image/jpeg", "image/webp", "image/ktx2", "image/vnd-ms.dds")
_WEBP = "EXT_texture_webp"
#: Extensions that give a texture its image.
_SOURCES = (_WEBP, "KHR_texture_basisu", "MSFT_texture_dds", "EXT_texture_avif")


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
    for number, material in enumerate(materials):
        if isinstance(material, dict) and "alphaCutoff" in material and material.get("alphaMode") != "MASK":
            (gltf.where / "materials" / number / "alphaCutoff").warning("ALPHA_CUTOFF_UNUSED", "has no meaning where alphaMode is not MASK")
    _check_textures(gltf, textures)
    _check_images(gltf)


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


def _check_textures(gltf: Gltf, textures: list[dict[str, Any]]) -> None:
    """Samplers, and the images that textures lead to: core ones are PNG or JPEG, those of EXT_texture_webp WebP."""
    images, samplers = gltf.json.get("images", []), gltf.json.get("samplers", [])
    for number, sampler in enumerate(samplers):
        _SAMPLER.check(sampler, gltf.where / "samplers" / number)
    for number, texture in enumerate(textures):
        at = gltf.where / "textures" / number
        if not _TEXTURE.check(texture, at):
            continue
        if texture.get("sampler", -1) >= len(samplers):
            (at / "sampler").error("GLTF_REFERENCE", f"the sampler {texture['sampler']} does not exist")
        extensions = texture.get("extensions", {})
        if "source" not in texture and not any(name in extensions for name in _SOURCES):
            at.warning("TEXTURE_WITHOUT_IMAGE", "has no source; what is drawn is not defined")
        webp = extensions.get(_WEBP)
        if isinstance(webp, dict) and "source" not in texture and _WEBP not in gltf.json.get("extensionsRequired", []):
            at.error("EXTENSION_NOT_REQUIRED", f"has no other image than that of {_WEBP}, which extensionsRequired must list then")
        for source, kinds in ((texture.get("source"), ("image/png", "image/jpeg")), (webp.get("source", "") if isinstance(webp, dict) else None, ("image/webp",))):
            if source is None:
                continue
            if not isinstance(source, int) or isinstance(source, bool) or not 0 <= source < len(images):
                at.error("GLTF_REFERENCE", f"the image {source} does not exist")
            elif (kind := images[source].get("mimeType", kinds[0])) not in kinds:
                at.error("IMAGE_INVALID", f"the image {source} is {kind}; here it must be {' or '.join(kinds)}")


def _check_images(gltf: Gltf) -> None:
    for number, image in enumerate(gltf.json.get("images", [])):
        at = gltf.where / "images" / number
        if ("uri" in image) == ("bufferView" in image):
            at.error("JSON_ONE_OF", f"needs exactly one of uri, bufferView; has {'both' if 'uri' in image else 'none'}")
            continue
        inside, kind = "bufferView" in image, image.get("mimeType")
        data = gltf.view(image["bufferView"]) if inside else gltf.read(image["uri"], at / "uri")
        if inside and kind is None:
            at.error("JSON_REQUIRED", "the property 'mimeType' is missing: an image in a buffer view has no other name")
        elif kind is not None and kind not in _KINDS:
            at.error("JSON_VALUE", f"mimeType is {kind!r}, must be one of {', '.join(_KINDS)}")
        elif data is not None and kind in _MAGIC and not data.startswith(_MAGIC[kind]):
            at.error("IMAGE_INVALID", f"mimeType is {kind}, the bytes start with {data[:4]!r}")
        elif data is not None and data.startswith(tuple(_MAGIC.values())):
            _decode(data, at)


def _decode(data: bytes, at: Where) -> None:
    """That all of an image's pixels are there, and that it is one."""
    from PIL import Image  # noqa: PLC0415  most contents have no images

    try:
        with Image.open(io.BytesIO(data)) as image:
            if getattr(image, "n_frames", 1) > 1 and image.format == "WEBP":
                at.error("IMAGE_INVALID", "is an animation, which no texture is")
            image.draft("RGB", (max(1, image.width // 8), max(1, image.height // 8)))
            image.load()
    except Image.DecompressionBombError as error:
        at.warning("IMAGE_NOT_DECODED", f"is too large to be decoded here: {error}")
    except Exception as error:  # noqa: BLE001  Pillow raises whatever its many decoders do
        at.error("IMAGE_INVALID", f"cannot be decoded: {str(error) or type(error).__name__}")
