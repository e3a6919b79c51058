"""Textures that carry data (feature ids, properties): references, samplers, channels, pixels."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .gltf import Gltf
from .issues import Where
from .shape import INDEX, List, Obj, Shape

#: A texture reference of EXT_mesh_features and EXT_structural_metadata (a glTF textureInfo with channels).
TEXTURE_PROPERTIES: dict[str, Shape] = {"index": INDEX, "texCoord": INDEX, "channels": List(INDEX, 1)}
TEXTURE_INFO = Obj({"index": INDEX}, {"texCoord": INDEX, "channels": List(INDEX, 1)})

_NEAREST = 9728


def pixels(gltf: Gltf, index: int, where: Where) -> NDArray[np.uint8] | None:
    """The texture's image as (height, width, channels) bytes; None with a finding when it cannot be read."""
    textures = gltf.json.get("textures", [])
    if index >= len(textures):
        (where / "index").error("GLTF_REFERENCE", f"the texture {index} does not exist")
        return None
    texture = textures[index]
    _check_sampler(gltf, texture, gltf.where / "textures" / index)
    images = gltf.json.get("images", [])
    if texture.get("source", len(images)) >= len(images):
        (gltf.where / "textures" / index).error("GLTF_REFERENCE", "has no source image that exists")
        return None
    return _image(gltf, images[texture["source"]], gltf.where / "images" / texture["source"])


def _check_sampler(gltf: Gltf, texture: dict[str, Any], where: Where) -> None:
    """Filtering would invent values between two ids, so only NEAREST is allowed (EXT_mesh_features)."""
    if "sampler" not in texture:
        return
    samplers = gltf.json.get("samplers", [])
    if texture["sampler"] >= len(samplers):
        (where / "sampler").error("GLTF_REFERENCE", f"the sampler {texture['sampler']} does not exist")
        return
    sampler = samplers[texture["sampler"]]
    for name in ("magFilter", "minFilter"):
        if sampler.get(name, _NEAREST) != _NEAREST:
            (where / "sampler").error("TEXTURE_FILTER_INVALID", f"{name} is {sampler[name]}, must be 9728 (NEAREST)")


def _image(gltf: Gltf, image: dict[str, Any], where: Where) -> NDArray[np.uint8] | None:
    data = gltf.read(image["uri"], where / "uri") if "uri" in image else None
    if "bufferView" in image:
        data = gltf.view(image["bufferView"])
    if data is None:
        if "uri" not in image and "bufferView" not in image:
            where.error("JSON_ONE_OF", "needs one of uri, bufferView")
        return None
    try:
        from PIL import Image  # noqa: PLC0415 - only files with data textures need it

        with Image.open(io.BytesIO(data)) as opened:
            mode = "RGBA" if opened.mode == "P" else opened.mode
            array = np.asarray(opened.convert(mode), dtype=np.uint8)
    except ImportError:
        where.warning("EXTENSION_NOT_DECODED", "the package pillow is missing; this image was not checked")
        return None
    except Exception as error:  # noqa: BLE001 - Pillow raises whatever its many decoders do
        where.error("IMAGE_INVALID", f"cannot be decoded: {error}")
        return None
    return array if array.ndim == 3 else array[:, :, None]


def channels(info: dict[str, Any], image: NDArray[np.uint8], where: Where) -> list[int] | None:
    """The channels to combine, lowest byte first; None with a finding where the image lacks one."""
    chosen = [int(c) for c in info.get("channels", [0])]
    if max(chosen) >= image.shape[2] or len(chosen) > 4:
        (where / "channels").error(
            "TEXTURE_CHANNELS_INVALID", f"asks for {chosen}, the image has {image.shape[2]} channels"
        )
        return None
    return chosen


def check_tex_coord(primitive: dict[str, Any], info: dict[str, Any], where: Where) -> bool:
    """Does the primitive have the texture coordinates that the reference names?"""
    name = f"TEXCOORD_{info.get('texCoord', 0)}"
    if name in primitive.get("attributes", {}):
        return True
    (where / "texCoord").error("TEXTURE_COORDINATES_MISSING", f"the primitive has no attribute {name}")
    return False


def sample(image: NDArray[np.uint8], chosen: list[int], uv: NDArray[Any]) -> NDArray[np.int64]:
    """Little-endian integers from the channels at texture coordinates (N, 2): nearest, repeating."""
    height, width = image.shape[:2]
    u = np.clip(np.floor((uv[:, 0] % 1.0) * width).astype(int), 0, width - 1)
    v = np.clip(np.floor((uv[:, 1] % 1.0) * height).astype(int), 0, height - 1)
    return combine(image[v, u], chosen)


def combine(values: NDArray[np.uint8], chosen: list[int]) -> NDArray[np.int64]:
    """Bytes (..., channels) to integers (...), the first chosen channel lowest."""
    out = np.zeros(values.shape[:-1], dtype=np.int64)
    for shift, channel in enumerate(chosen):
        out |= values[..., channel].astype(np.int64) << (8 * shift)
    return out
