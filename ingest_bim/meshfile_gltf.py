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
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ingest_bim.meshfile_buffers import plain
from twin.model import Report, Wrap

F64 = NDArray[np.float64]
MARK = "\x1f"
"""Between a material's number and its name."""
WRAPS: dict[int, Wrap] = {10497: "repeat", 33648: "mirror", 33071: "clamp"}

MODES = {2: "line loops", 3: "line strips", 6: "triangle fans"}


@dataclass(frozen=True)
class Use:
    """How a material uses its base colour texture: (2, 3) `matrix` of (u, v, 1) with v downwards, None where nothing moves; `wrap` along u and v; whether it has one."""

    matrix: F64 | None = None
    wrap: tuple[Wrap, Wrap] = ("repeat", "repeat")
    textured: bool = False

    def apply(self, uv: F64) -> F64:
        """(…, 2) coordinates on the image."""
        return uv if self.matrix is None else uv @ self.matrix[:, :2].T + self.matrix[:, 2]


def marked(data: bytes, kind: str, name: str, beside: Callable[[str], bytes], report: Report) -> tuple[bytes, dict[int, Use]]:
    """(the file with numbers before its materials' names and nothing compressed, how each uses its texture); a file that cannot be understood as it is, for trimesh to refuse.

    Args:
        data: the file.
        kind: gltf (JSON) or glb.
        name: of the file, for messages.
        beside: gets a file of the model's folder.
        report: is told what is left out.

    Raises:
        UnreadableSource: what is compressed in it cannot be decoded.
    """
    try:
        document, rest = (json.loads(data), b"") if kind == "gltf" else _opened(data)
        plain(document, _bin(rest), beside, name, report)
        _say_what_is_left_out(document, report)
        materials = document.get("materials", [])
        uses = {number: _use(document, material, report) for number, material in enumerate(materials)}
        for number, material in enumerate(materials):
            material["name"] = f"{number}{MARK}{material.get('name', '')}"
        text = json.dumps(document).encode()
    except (ValueError, AttributeError, TypeError, KeyError, IndexError, struct.error, RecursionError):
        return data, {}
    if kind == "gltf":
        return text, uses
    text += b" " * (-len(text) % 4)
    return struct.pack("<4s4I", b"glTF", 2, 20 + len(text) + len(rest), len(text), 0x4E4F534A) + text + rest, uses


def _say_what_is_left_out(document: dict[str, Any], report: Report) -> None:
    """Note what trimesh skips without a word: loops, strips of lines and fans of triangles; bones and shapes between are drawn at rest."""
    for mesh in document.get("meshes", []):
        for mode in sorted({part.get("mode", 4) for part in mesh.get("primitives", [])} & MODES.keys()):
            report.note("skipped", str(mesh.get("name", "")), f"{MODES[mode]} (primitive mode {mode}) are not read; export triangles.")
        if any("targets" in part for part in mesh.get("primitives", [])):
            report.note("warned", str(mesh.get("name", "")), "Morph targets are not read: the mesh is drawn as it stands without them.")
    for node in document.get("nodes", []):
        if "skin" in node:
            report.note("warned", str(node.get("name", "")), "Skins are not read: the mesh is drawn in its own place, not where its bones put it.")
    nodes, scenes = document.get("nodes", []), document.get("scenes")
    if nodes and not scenes:
        children = {child for node in nodes for child in node.get("children", [])}
        document["scenes"], document["scene"] = [{"nodes": [i for i in range(len(nodes)) if i not in children]}], 0
        report.note("assumed", "", "The file has no scene: all its nodes are drawn.")
    elif scenes and len(scenes) > 1:
        report.note("skipped", "", f"Of its {len(scenes)} scenes, one is drawn: {scenes[document.get('scene', 0)].get('name', document.get('scene', 0))!r}.")
    if document.get("animations"):
        report.note("warned", "", "Animations are not read: everything is drawn as it stands.")


def name_and_use(name: str, uses: Mapping[int, Use]) -> tuple[str, Use]:
    """The name of a material as the file has it, and how it uses its texture."""
    number, mark, own = name.partition(MARK)
    return (own, uses.get(int(number), Use())) if mark and number.isdigit() else (name, Use())


def _opened(data: bytes) -> tuple[dict[str, Any], bytes]:
    """(the JSON chunk of a glb, the chunks after it)."""
    (length,) = struct.unpack_from("<I", data, 12)
    found: dict[str, Any] = json.loads(data[20 : 20 + length])
    return found, data[20 + length :]


def _bin(rest: bytes) -> bytes:
    """The binary chunk of what follows a glb's JSON."""
    at = 0
    while at + 8 <= len(rest):
        size, kind = struct.unpack_from("<II", rest, at)
        if kind == 0x004E4942:
            return rest[at + 8 : at + 8 + size]
        at += 8 + size
    return b""


def _use(document: dict[str, Any], material: dict[str, Any], report: Report) -> Use:
    info = material.get("pbrMetallicRoughness", {}).get("baseColorTexture")
    if info is None:
        return Use()
    moved = info.get("extensions", {}).get("KHR_texture_transform", {})
    if moved.get("texCoord", info.get("texCoord", 0)) != 0:
        report.note(
            "warned", "", f"The texture of material {material.get('name', '?')!r} has its coordinates in another set than the first, which is not read."
        )
    texture = document["textures"][info["index"]]
    sampler = document["samplers"][texture["sampler"]] if "sampler" in texture else {}
    wrap = WRAPS.get(sampler.get("wrapS", 10497), "repeat"), WRAPS.get(sampler.get("wrapT", 10497), "repeat")
    return Use(_matrix(moved), wrap, textured=True)


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
