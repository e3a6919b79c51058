"""What trimesh leaves out of a glTF's textures: how they are moved over the surface (KHR_texture_transform) and what lies beside them (samplers).

trimesh hands over a material for each primitive, but neither its number nor what its texture reference says. So materials get their numbers as names
before trimesh reads the file, and `Use` says for each number how its texture is used.

Sources: glTF 2.0, 3.8.4 (samplers); KHR_texture_transform, with the direction of rotation that clients draw and KhronosGroup/glTF issue 1563
explains: counter-clockwise with v downwards, the matrix of the specification's listing transposed.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ingest_bim.meshfiles.nodes import MARK, VISIBILITY, Node, prepared_nodes
from ingest_bim.meshfiles.plain import COPIES, DRACO, MESHOPT, plain
from twin.errors import UnreadableSource
from twin.model import Report, Wrap

F64 = NDArray[np.float64]
WRAPS: dict[int, Wrap] = {10497: "repeat", 33648: "mirror", 33071: "clamp"}

MODES = {0: "points", 1: "lines", 2: "line loops", 3: "line strips"}
#: Extensions by which a file says more of its objects than is drawn.
CONTENT = ("EXT_mesh_features", "EXT_structural_metadata", "EXT_instance_features", "EXT_feature_metadata", "KHR_xmp_json_ld", "KHR_lights_punctual", "KHR_materials_variants", "MSFT_lod")
GLOSS = "KHR_materials_pbrSpecularGlossiness"
RTC = "CESIUM_RTC"
#: Extensions that a file may require: what they add is drawn, or is no part of a shape or of a surface's colour by day. Of materials, all.
KNOWN = (*MESHOPT, DRACO, COPIES, RTC, VISIBILITY, "KHR_texture_transform", "EXT_texture_webp", "KHR_mesh_quantization", "KHR_xmp_json_ld", "KHR_lights_punctual", "KHR_animation_pointer", "MSFT_lod",
         "EXT_mesh_features", "EXT_structural_metadata", "EXT_instance_features", "EXT_feature_metadata")  # fmt: skip


@dataclass(frozen=True)
class Use:
    """How a material uses its base colour texture: (2, 3) `matrix` of (u, v, 1) with v downwards, None where nothing moves; `wrap` along u and v; whether it has one.

    `opaque`: alpha does not count, neither the image's nor that of vertex colours; `cutoff`: the image's alpha from which on a mask is drawn (glTF 2.0, 3.9.4).
    """

    matrix: F64 | None = None
    wrap: tuple[Wrap, Wrap] = ("repeat", "repeat")
    textured: bool = False
    opaque: bool = False
    cutoff: float | None = None

    def apply(self, uv: F64) -> F64:
        """(…, 2) coordinates on the image."""
        return uv if self.matrix is None else uv @ self.matrix[:, :2].T + self.matrix[:, 2]


@dataclass(frozen=True)
class Marked:
    """A file for trimesh: numbers before the names of materials and nodes, nothing compressed; how each material uses its texture; what each node is.

    `center`: x, y, z (metres, z up) of the place from which its coordinates count (CESIUM_RTC).
    """

    data: bytes
    uses: dict[int, Use] = field(default_factory=dict)
    nodes: dict[int, Node] = field(default_factory=dict)
    center: tuple[float, float, float] = (0.0, 0.0, 0.0)


def marked(data: bytes, kind: str, name: str, beside: Callable[[str], bytes], report: Report) -> Marked:
    """A file made ready for trimesh; one that cannot be understood as it is, for trimesh to refuse.

    Args:
        data: the file.
        kind: gltf (JSON) or glb.
        name: of the file, for messages.
        beside: gets a file of the model's folder.
        report: is told what is left out.

    Raises:
        UnreadableSource: what is compressed in it cannot be decoded, or it requires an extension that is not known here.
    """
    try:
        document, rest = (json.loads(data), b"") if kind == "gltf" else _opened(data)
        _check_required(document, name)
        center = _center(document, name)
        plain(document, _bin(rest), beside, name, report)
        _say_what_is_left_out(document, report)
        nodes = prepared_nodes(document, report)
        materials = document.get("materials", [])
        for material in materials:
            _plain_material(material, report)
            _known_image(document, material, report)
        _first_coordinates(document)
        uses = {number: _use(document, material) for number, material in enumerate(materials)}
        for number, material in enumerate(materials):
            material["name"] = f"{number}{MARK}{material.get('name', '')}"
        text = json.dumps(document).encode()
    except (ValueError, AttributeError, TypeError, KeyError, IndexError, struct.error, RecursionError):
        return Marked(data)
    if kind == "gltf":
        return Marked(text, uses, nodes, center)
    text += b" " * (-len(text) % 4)
    return Marked(struct.pack("<4s4I", b"glTF", 2, 20 + len(text) + len(rest), len(text), 0x4E4F534A) + text + rest, uses, nodes, center)


def _check_required(document: dict[str, Any], name: str) -> None:
    """A file that requires what is not known here is another thing than what would be drawn (glTF 2.0, 3.12: a loader that does not support it must not load the file)."""
    unknown = [str(one)[:60] for one in document.get("extensionsRequired") or [] if one not in KNOWN and not str(one).startswith("KHR_materials_")]
    if unknown:
        remedy = "Export it with PNG, JPEG or WebP images." if any("texture" in one for one in unknown) else "Export it again without that, as plain glTF 2.0."
        raise UnreadableSource(f"{name} requires {', '.join(unknown)}, which {'is' if len(unknown) == 1 else 'are'} not known here: it would be drawn as something else.", remedy)


def _center(document: dict[str, Any], name: str) -> tuple[float, float, float]:
    """The place from which a file's coordinates count: CESIUM_RTC adds it after y has been turned up, as CesiumJS does."""
    said = (document.get("extensions") or {}).get(RTC)
    if said is None:
        return (0.0, 0.0, 0.0)
    center = said.get("center") if isinstance(said, dict) else None
    if not isinstance(center, list) or len(center) != 3 or not all(isinstance(v, int | float) and np.isfinite(v) for v in center):
        raise UnreadableSource(f"{name} has a {RTC} whose center is no place x, y, z: {str(center)[:60]}.", "Export it again.")
    return float(center[0]), float(center[1]), float(center[2])


def _plain_material(material: dict[str, Any], report: Report) -> None:
    """Specular-glossiness as what is drawn of it (colour and image), a light of its own in its colour, and no alpha where the material is opaque or cut out."""
    gloss = (material.get("extensions") or {}).pop(GLOSS, None)
    if gloss is not None:
        names = {"diffuseFactor": "baseColorFactor", "diffuseTexture": "baseColorTexture"}
        material["pbrMetallicRoughness"] = {"metallicFactor": 0.0} | {names[key]: value for key, value in gloss.items() if key in names}
    look, mode = material.setdefault("pbrMetallicRoughness", {}), material.get("alphaMode", "OPAQUE")
    factor = look.setdefault("baseColorFactor", [1.0, 1.0, 1.0, 1.0])  # trimesh takes what is not stated for grey
    _own_light(material, report)
    if mode == "BLEND":
        return
    alpha, factor[3:] = (factor[3:] or [1.0])[0], [1.0]
    if mode == "MASK":  # the product of both alphas is compared with the cutoff, what is above it is opaque
        material["alphaCutoff"] = material.get("alphaCutoff", 0.5) / max(alpha, 1e-6)
        if "baseColorTexture" not in look and material["alphaCutoff"] > 1:
            factor[3] = 0.0


def _own_light(material: dict[str, Any], report: Report) -> None:
    """What a surface sends out itself is added to its colour (glTF 2.0, 3.9.3); of a black one with an image of light, that image is its colour."""
    extensions = material.get("extensions") or {}
    strength = float((extensions.get("KHR_materials_emissive_strength") or {}).get("emissiveStrength", 1.0))
    light = [strength * float(v) for v in material.get("emissiveFactor") or (0.0, 0.0, 0.0)]
    if max(light) <= 0 or "KHR_materials_unlit" in extensions:
        return
    image, look = material.get("emissiveTexture"), material["pbrMetallicRoughness"]
    factor = look["baseColorFactor"]
    if image is not None and max(factor[:3]) <= 0:
        look["baseColorTexture"] = image
    elif image is not None or "baseColorTexture" in look:
        report.note("warned", str(material.get("name", "")), "The light that its material sends out itself (emissive) cannot be added to an image and is not drawn.")
        return
    factor[:3] = [min(own + more, 1.0) for own, more in zip(factor[:3], light, strict=True)]


def _known_image(document: dict[str, Any], material: dict[str, Any], report: Report) -> None:
    """A texture that is not in the file costs the image, and not all that is made ready here."""
    look, count = material["pbrMetallicRoughness"], len(document.get("textures") or [])
    number = (look.get("baseColorTexture") or {"index": 0}).get("index")
    if "baseColorTexture" in look and not (isinstance(number, int) and 0 <= number < count):
        del look["baseColorTexture"]
        report.note("refused", str(material.get("name", "")), f"Its material names texture {str(number)[:20]}, and there are {count}: its surfaces are drawn plain.")


def _first_coordinates(document: dict[str, Any]) -> None:
    """trimesh reads the first set of texture coordinates alone: where a material's image has another one, that is put in its place."""
    for part in (part for mesh in document.get("meshes", []) for part in mesh.get("primitives", []) if "material" in part):
        info = document["materials"][part["material"]].get("pbrMetallicRoughness", {}).get("baseColorTexture") or {}
        number = info.get("extensions", {}).get("KHR_texture_transform", {}).get("texCoord", info.get("texCoord", 0))
        own = part["attributes"].pop(f"TEXCOORD_{number}", None)
        part["attributes"].pop("TEXCOORD_0", None)
        if own is not None:
            part["attributes"]["TEXCOORD_0"] = own


def _say_what_is_left_out(document: dict[str, Any], report: Report) -> None:
    """Note what is not drawn: points and lines; extensions whose content is not kept."""
    for mesh in document.get("meshes", []):
        for mode in sorted({part.get("mode", 4) for part in mesh.get("primitives", [])} & MODES.keys()):
            report.note("skipped", str(mesh.get("name", "")), f"{MODES[mode]} (primitive mode {mode}) are not drawn.")
        if any("targets" in part for part in mesh.get("primitives", [])):
            report.note("warned", str(mesh.get("name", "")), "Morph targets are not kept: the mesh is drawn in the shape that the file's weights state.")
    nodes, scenes = document.get("nodes", []), document.get("scenes")
    if nodes and not scenes:
        children = {child for node in nodes for child in node.get("children", [])}
        document["scenes"], document["scene"] = [{"nodes": [i for i in range(len(nodes)) if i not in children]}], 0
        report.note("assumed", "", "The file has no scene: all its nodes are drawn.")
    elif scenes and len(scenes) > 1:
        report.note("skipped", "", f"Of its {len(scenes)} scenes, one is drawn: {scenes[document.get('scene', 0)].get('name', document.get('scene', 0))!r}.")
    for name in document.get("extensionsUsed") or []:
        if name in CONTENT:
            report.note("warned", "", f"The file uses {name}, which is not read: what it says of the model is not kept.")
    if document.get("animations"):
        report.note("warned", "", "Animations are not read: everything is drawn as it stands.")


def name_and_use(name: str, uses: Mapping[int, Use]) -> tuple[str, Use]:
    """The name of a material as the file has it, and how it uses its texture."""
    number, mark, own = name.partition(MARK)
    return (own, uses.get(int(number), Use())) if mark and number.isdigit() else (name, Use())


def _opened(data: bytes) -> tuple[dict[str, Any], bytes]:
    """(the JSON chunk of a glb, the chunks after it)."""
    whole, length = struct.unpack_from("<II", data, 8)
    found: dict[str, Any] = json.loads(data[20 : 20 + length])
    return found, data[20 + length : whole]


def _bin(rest: bytes) -> bytes:
    """The binary chunk of what follows a glb's JSON."""
    at = 0
    while at + 8 <= len(rest):
        size, kind = struct.unpack_from("<II", rest, at)
        if kind == 0x004E4942:
            return rest[at + 8 : at + 8 + size]
        at += 8 + size
    return b""


def _use(document: dict[str, Any], material: dict[str, Any]) -> Use:
    opaque = material.get("alphaMode", "OPAQUE") == "OPAQUE"
    cutoff = float(material.get("alphaCutoff", 0.5)) if material.get("alphaMode") == "MASK" else None
    info = material.get("pbrMetallicRoughness", {}).get("baseColorTexture")
    if info is None:
        return Use(opaque=opaque)
    moved = info.get("extensions", {}).get("KHR_texture_transform", {})
    texture = document["textures"][info["index"]]
    sampler = document["samplers"][texture["sampler"]] if "sampler" in texture else {}
    wrap = WRAPS.get(sampler.get("wrapS", 10497), "repeat"), WRAPS.get(sampler.get("wrapT", 10497), "repeat")
    return Use(_matrix(moved), wrap, textured=True, opaque=opaque, cutoff=cutoff)


def _matrix(moved: dict[str, Any]) -> F64 | None:
    """Scaled, then turned, then shifted."""
    if not moved:
        return None
    (x, y), (a, b) = moved.get("offset", (0.0, 0.0)), moved.get("scale", (1.0, 1.0))
    turn = float(moved.get("rotation", 0.0))
    c, s = np.cos(turn), np.sin(turn)
    found: F64 = np.array([[c * a, s * b, x], [-s * a, c * b, y]], np.float64)
    if not np.isfinite(found).all():
        raise ValueError("a texture's transform is not finite")
    return found
