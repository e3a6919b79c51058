"""trimesh's scene → pieces: welded triangles with plain colours, one for each node that has a shape."""

from __future__ import annotations

import hashlib
import io
import logging
import re
from collections.abc import Container
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from ingest_bim.citymodels.textures import Pictures
from ingest_bim.meshfiles import ply, stl
from ingest_bim.meshfiles.gltf import Marked, Use, marked, name_and_use
from ingest_bim.meshfiles.nodes import MARK, number_of
from ingest_bim.meshfiles.obj import LIBRARY, as_utf8, odd_line, one_library, opacity, prepared, say_materials, without_options
from ingest_bim.welding import used, weld
from ingest_bim.wording import in_words
from twin.errors import UnreadableSource
from twin.model import Material, Report

F64 = NDArray[np.float64]
I32 = NDArray[np.int32]
F32 = NDArray[np.float32]
U8 = NDArray[np.uint8]
#: Where a scene keeps what its file was made into: how its materials use their textures, what its nodes are.
MADE = "wuyi_twin_made"
#: Where the scene of an OBJ keeps the names of its objects, in their order.
NAMES = "wuyi_twin_names"
#: How much steeper than stated the alpha of a mask is kept around its cutoff.
STEEP = 8
#: More face colours than these become colours of corners.
MAX_COLORS = 256


@dataclass
class Piece:
    """One object: `key` is a digest of its shape, which several pieces may share; `transform` (4, 4) places it in the file's space.

    `owner` is the node of the file that a part of a glTF mesh belongs to.
    """

    name: str
    key: str
    positions: F64
    triangles: I32
    materials: list[Material]
    material_of: I32
    uv: F32 | None
    colors: NDArray[np.uint8] | None
    transform: F64
    attributes: dict[str, Any] = field(default_factory=dict)
    owner: str = ""


def load_scene(source: Path, kind: str, report: Report, root: Path | None = None) -> Any:
    """Load with trimesh; side files (buffers, .mtl, images) come from the source's folder alone (of a package, from the package).

    Raises:
        UnreadableSource: trimesh cannot read it, for whatever reason.
    """
    import trimesh  # noqa: PLC0415  slow to import; only meshes need it
    from trimesh.resolvers import Resolver  # noqa: PLC0415

    logging.getLogger("trimesh").setLevel(logging.CRITICAL)  # it logs the tracebacks of what is in our report
    folder = source.resolve().parent
    home = folder if root is None else root.resolve()

    class Beside(Resolver):
        """Files in the source's folder or below; anything else is refused and reported."""

        def __init__(self) -> None:
            self.library = b""
            """All that the .mtl files of an OBJ hold."""

        def has(self, name: str) -> bool:
            return (folder / name.replace("\\", "/")).is_file()

        def get(self, name: str) -> bytes:
            if name == LIBRARY:
                return self.library
            if str(name).startswith("-"):  # options of a map in an .mtl
                report.note("warned", "", f"The options of the map {str(name)[:60]!r} are not known here; the image is drawn without them.")
                name = without_options(str(name))
            name = str(name).strip()
            name = name[1:-1] if name[:1] == name[-1:] == '"' else name
            path = (folder / name.replace("\\", "/")).resolve()
            if "%" in name and kind in ("gltf", "glb") and not path.exists():  # URIs: trimesh hands them over as they are written
                name = unquote(name)
                path = (folder / name.replace("\\", "/")).resolve()
            if "://" in str(name) or Path(str(name)).is_absolute() or not path.is_relative_to(home):
                report.note("refused", "", f"The file refers to {str(name)[:100]!r}, which is not in its folder.")
                raise FileNotFoundError(name)
            if not path.is_file():
                report.note("warned", "", f"The file refers to {str(name)[:100]!r}, which is absent.")
                raise FileNotFoundError(name)
            data = path.read_bytes()
            if name.lower().endswith(".mtl"):
                return as_utf8(data, name, report)
            if kind == "obj" and not _is_image(data):  # trimesh leaves it out without a word
                report.note("refused", "", f"The texture {name[:100]!r} is no image of a kind that is read; its surfaces are drawn plain.")
            return data

        def keys(self) -> list[str]:
            return []

        def namespaced(self, namespace: str) -> Any:  # noqa: ARG002
            return self

        def write(self, name: str, data: Any) -> None:  # noqa: ARG002
            raise PermissionError(name)

    settings: dict[str, Any] = {"split_objects": True} if kind == "obj" else {}
    ready = Marked(b"")
    try:
        beside = Beside()
        ready = marked(source.read_bytes(), kind, source.name, beside.get, report) if kind in ("gltf", "glb") else Marked(PREPARE[kind](source, report))
        if kind == "obj":
            data, beside.library = one_library(ready.data, beside.get, beside.has)
            ready = Marked(data)
        scene = trimesh.load_scene(io.BytesIO(ready.data), file_type="ply" if ready.data.startswith(b"ply\n") else kind, resolver=beside, process=False, **settings)
    except UnreadableSource:
        raise
    except Exception as error:  # the loaders raise anything from KeyError to struct.error; all mean unreadable
        reason = (ODD[kind](ready.data or source.read_bytes()) if kind in ODD else "") or in_words(error)
        raise UnreadableSource(f"{source.name} cannot be read as {kind.upper()}: {reason}.", "Export it again.") from error
    if beside.library:
        say_materials(ready.data, beside.library, report)
    scene.metadata[NAMES] = re.findall(rb"^o +(.*?) *$", ready.data, re.MULTILINE) if kind == "obj" else []
    scene.metadata[MADE] = replace(ready, data=b"")  # the file is not held beside what was made of it
    return scene


def _is_image(data: bytes) -> bool:
    """Whether Pillow knows the kind of an image file."""
    try:
        Image.open(io.BytesIO(data)).close()
    except UnidentifiedImageError:
        return False
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return True  # damaged or too large: told where its pixels are looked at
    return True


def _obj(source: Path, report: Report) -> bytes:
    data = source.read_bytes()
    comments = re.findall(rb"^[ \t]*#+[ \t]*(.*?)[ \t\r]*$", data[: data.find(b"\nv ") + 1 or 4096], re.MULTILINE)
    ply.say_place([comment.decode("utf-8", "replace") for comment in comments], report)
    return prepared(data, source.name, report)


def _ply(source: Path, report: Report) -> bytes:
    return ply.plainly(source.read_bytes(), report)


PREPARE = {"obj": _obj, "stl": stl.plainly, "ply": _ply}
"""What a kind of file is made into before trimesh reads it."""
ODD = {"obj": odd_line, "stl": stl.odd_line, "ply": ply.odd_line}
"""What is wrong in a file of a kind, where that can be told."""


def center_of(scene: Any) -> F64:
    """(3,) what is to be added to the coordinates of a scene once z is up, metres."""
    ready: Marked = scene.metadata.get(MADE, Marked(b""))
    return np.array(ready.center, np.float64)


def pieces(scene: Any, report: Report, pictures: Pictures, *, srgb: bool) -> list[Piece]:
    """All pieces of a scene in the order of its nodes; what has no triangles is reported. `srgb`: whether colours are sRGB."""
    shapes: dict[str, _Shape | None] = {}
    found: list[Piece] = []
    ready: Marked = scene.metadata.get(MADE, Marked(b""))
    for node in scene.graph.nodes_geometry:
        transform, name = scene.graph[node]
        whose = ready.nodes.get(number_of(str(node)) or 0) if MARK in str(node) else None
        own = whose.name if whose else str(node)
        report.read += 1
        if name not in shapes:
            shapes[name] = _shape(str(name), scene.geometry[name], report, Drawing(pictures, ready.uses, srgb))
        shape = shapes[name]
        if shape is None:
            continue
        matrix = np.array(transform, np.float64)
        if not np.isfinite(matrix).all():
            report.note("refused", own, "Its transform is not finite.")
            continue
        digest = hashlib.blake2b(repr(shape.looks.materials).encode(), digest_size=16)
        for part in (shape.positions, shape.triangles, shape.looks.material_of, shape.looks.uv, shape.looks.colors):
            digest.update(b"-" if part is None else np.ascontiguousarray(part).tobytes())
        key = digest.hexdigest()  # equal shapes under different names are one
        attributes: dict[str, Any] = {"name": own, "geometry_name": str(name), "triangles": len(shape.triangles)}
        attributes |= {f"extras.{key}" if key in attributes else key: value for key, value in (whose.extras if whose else {}).items()}
        looks = shape.looks
        found.append(
            Piece(
                own,
                key,
                shape.positions,
                shape.triangles,
                looks.materials,
                looks.material_of,
                looks.uv,
                looks.colors,
                matrix,
                attributes,
                own,
            )
        )
    return found


def nodes_of(found: list[Piece]) -> list[Piece]:
    """The parts of each node (trimesh hands over one for each primitive of its mesh) as one, by the node's own name; equal nodes still share their shape."""
    parts: dict[str, list[Piece]] = {}
    for piece in found:
        parts.setdefault(piece.owner, []).append(piece)
    joined = []
    for owner, many in sorted(parts.items()):
        if len(many) == 1:
            joined.append(many[0])
            continue
        many.sort(key=lambda p: (str(p.attributes["geometry_name"]), p.key))
        whole = _joined(owner, many)
        whole.key = "+".join(p.key for p in many)
        joined.append(whole)
    return joined


def objects_of(scene: Any, stem: str, found: list[Piece]) -> list[Piece]:
    """The pieces of an OBJ put together again: trimesh hands over one for each object and material, named `object_material`.

    Objects come in the order of the file; what stands before the first `o` (or all of a file without any) has the file's name.
    """
    stated = dict.fromkeys(name.decode("utf-8", "replace") for name in scene.metadata[NAMES])
    parts: dict[str, list[Piece]] = {}
    for piece in sorted(found, key=lambda p: p.name):
        material = next((m.name for m in piece.materials if m.name), "")
        name = piece.name.removesuffix(material).removesuffix("_") if material else piece.name
        parts.setdefault(name if name in stated else _begun_by(piece.name, stated) or stem, []).append(piece)
    order = {name: i for i, name in enumerate(stated)}
    return [_joined(name, parts[name]) for name in sorted(parts, key=lambda n: (order.get(n, -1), n))]


def _begun_by(name: str, stated: Container[str]) -> str:
    """The longest of the stated names that a name is, or begins with before a `_`; an empty text where there is none."""
    while name and name not in stated:
        name = name.rpartition("_")[0]
    return name


def _joined(name: str, parts: list[Piece]) -> Piece:
    """Several pieces in the same place as one, their corners welded."""
    first = np.cumsum([0, *(len(p.positions) for p in parts)])
    positions, corner_of = weld(np.concatenate([p.positions for p in parts]))
    counts = [len(p.triangles) for p in parts]
    places: dict[Material, int] = {}
    number = np.concatenate([np.array([places.setdefault(m, len(places)) for m in p.materials], np.int32)[p.material_of] for p in parts])
    uv = np.concatenate([np.full((n, 3, 2), np.nan, np.float32) if p.uv is None else p.uv for n, p in zip(counts, parts, strict=True)])
    colors = np.concatenate([np.full((n, 3, 4), 255, np.uint8) if p.colors is None else p.colors for n, p in zip(counts, parts, strict=True)])
    triangles = corner_of[np.concatenate([p.triangles + k for p, k in zip(parts, first, strict=False)])].astype(np.int32)
    return Piece(name, name, positions, triangles, list(places), number, uv if any(p.uv is not None for p in parts) else None,
                 colors if any(p.colors is not None for p in parts) else None, parts[0].transform, {**parts[0].attributes, "name": name, "geometry_name": name, "triangles": len(triangles)})  # fmt: skip


@dataclass
class _Looks:
    """Materials, which of them each face has, and what the faces' corners have: (T, 3, 2) `uv`, (T, 3, 4) `colors`."""

    materials: list[Material]
    material_of: I32
    uv: F32 | None = None
    colors: U8 | None = None

    def of(self, faces: NDArray[np.bool_]) -> _Looks:
        """Those of some faces."""
        return _Looks(self.materials, self.material_of[faces], None if self.uv is None else self.uv[faces], None if self.colors is None else self.colors[faces])


@dataclass
class _Shape:
    positions: F64
    triangles: I32
    looks: _Looks


@dataclass(frozen=True)
class Drawing:
    """What the looks of a file's shapes are made with: its images, how materials (by number) use them, whether its colours are sRGB."""

    pictures: Pictures
    uses: dict[int, Use]
    srgb: bool


def _shape(name: str, geometry: Any, report: Report, drawing: Drawing) -> _Shape | None:
    if not hasattr(geometry, "faces") or not len(geometry.faces):
        report.note("skipped", name, "It holds points or lines and no triangles: it is not drawn.")
        return None
    vertices, faces = np.asarray(geometry.vertices, np.float64), np.asarray(geometry.faces, np.int64)
    if vertices.ndim != 2 or vertices.shape[1] != 3 or faces.ndim != 2 or faces.shape[1] != 3:
        report.note("refused", name, f"Vertices of {vertices.shape[-1]} numbers and faces of {faces.shape[-1]} corners are not triangles in space.")
        return None
    good: NDArray[np.bool_] = np.asarray(np.all((faces >= 0) & (faces < len(vertices)), axis=1))
    finite: NDArray[np.bool_] = np.asarray(np.isfinite(vertices).all(axis=1))
    good[good] = finite[faces[good]].all(axis=1)
    if not good.all():
        report.note("refused", name, f"{int((~good).sum())} of {len(faces)} triangles have wrong vertex numbers or coordinates that are not finite.")
    looks = _looks(name, geometry, report, drawing).of(good)
    if not good.any():
        return None
    count, faces = len(faces), faces if good.all() else faces[good]
    rows, corners = used(faces, len(vertices))
    positions, corner_of = weld(vertices if len(rows) == len(vertices) else vertices[rows])
    triangles = corner_of[corners]
    whole = (triangles[:, 0] != triangles[:, 1]) & (triangles[:, 1] != triangles[:, 2]) & (triangles[:, 2] != triangles[:, 0])
    if not whole.all():
        report.note("skipped", name, f"{int((~whole).sum())} of {count} triangles have no area.")
    if not whole.any():
        return None
    return _Shape(positions, triangles[whole].astype(np.int32), looks.of(whole))


def _looks(name: str, geometry: Any, report: Report, drawing: Drawing) -> _Looks:
    """What the faces look like; what cannot be read is reported and grey."""
    plain = _Looks([Material()], np.zeros(len(geometry.faces), np.int32))
    visual = geometry.visual
    kind = getattr(visual, "kind", None)
    try:
        if kind == "texture":
            return _textured(name, geometry, report, drawing)
        if kind == "face":
            colors = np.asarray(visual.face_colors, np.uint8)
            unique, number = np.unique(np.round(colors / 255, 2), axis=0, return_inverse=True)
            if len(unique) <= MAX_COLORS:
                return _Looks([Material("", _four(c)) for c in unique], number.ravel().astype(np.int32))
            return _corners(np.repeat(colors[:, None], 3, axis=1), drawing.srgb)
        if kind == "vertex":
            return _corners(np.asarray(visual.vertex_colors, np.uint8)[_inside(geometry)], drawing.srgb)
    except (ValueError, AttributeError, TypeError, IndexError, OSError) as error:
        report.note("warned", name, f"Its colours cannot be read ({str(error)[:80]}): grey is drawn.")
    return plain


def _inside(geometry: Any) -> NDArray[np.int64]:
    """Faces with wrong vertex numbers (which are refused elsewhere) pointing at the first vertex."""
    faces = np.asarray(geometry.faces, np.int64)
    return np.where((faces >= 0) & (faces < len(geometry.vertices)), faces, 0)


def _corners(colors: U8, srgb: bool, opaque: bool = True) -> _Looks:
    """White, multiplied by the corners' colours; of a glTF those without a material, or with an opaque one, are opaque."""
    if colors.shape[2] == 3:
        colors = np.concatenate([colors, np.full((*colors.shape[:2], 1), 255, np.uint8)], axis=2)
    if not srgb and opaque:
        colors = colors.copy()
        colors[:, :, 3] = 255
    if not srgb:
        colors = np.concatenate([np.rint(_encoded(colors[:, :, :3] / 255) * 255).astype(np.uint8), colors[:, :, 3:]], axis=2)
    return _Looks([Material("", (1.0, 1.0, 1.0, 1.0))], np.zeros(len(colors), np.int32), None, np.ascontiguousarray(colors))


def _bytes(colors: NDArray[Any]) -> U8:
    """Colours as bytes: trimesh hands over those beside a material as the file has them, fractions too."""
    colors = np.asarray(colors)
    found: U8 = np.rint(np.clip(np.nan_to_num(colors), 0, 1) * 255).astype(np.uint8) if colors.dtype.kind == "f" else colors.astype(np.uint8)
    return found


def _textured(name: str, geometry: Any, report: Report, drawing: Drawing) -> _Looks:
    """One material, with its image where there is one and the vertices have coordinates."""
    visual, faces = geometry.visual, _inside(geometry)
    material, image, use = _material(visual.material, drawing)
    looks = _Looks([material], np.zeros(len(faces), np.int32))
    colors = getattr(visual, "vertex_attributes", {}).get("color")
    if colors is not None and len(colors) == len(geometry.vertices):
        looks.colors = _corners(_bytes(colors)[faces], drawing.srgb, use.opaque).colors
    if image is None:
        if use.textured:  # trimesh leaves out an image that it cannot open
            report.note("refused", name, "The image of its texture is absent or cannot be decoded; its surfaces are drawn plain.")
        return looks
    if visual.uv is None or len(visual.uv) != len(geometry.vertices):
        report.note("skipped", name, "Its texture has no coordinates; it has a plain colour.")
        return looks
    texture = drawing.pictures.embedded(f"of {name}", _file_of(_with_stated_alpha(image, use)), use.wrap)
    if texture is None:
        return looks
    uv = np.asarray(visual.uv, np.float64)[faces][:, :, :2]
    looks.uv = use.apply(uv * (1, -1) + (0, 1)).astype(np.float32)  # trimesh counts v from below
    looks.uv[~np.isfinite(looks.uv).all(axis=(1, 2))] = np.nan
    color = material.color if max(material.color[:3]) > 0 else (1.0, 1.0, 1.0, material.color[3])  # black, as some exporters write it, would hide the image
    looks.materials = [Material(material.name, color, material.double_sided, texture)]
    return looks


def _with_stated_alpha(image: Any, use: Use) -> Any:
    """The image as its material draws it: clear texels are not clear in an opaque one; a mask is clear below its cutoff and opaque above it.

    An edge stays some texels' alpha wide, with the cutoff at one half. An image that this does not change stays as it is.
    """
    if (not use.opaque and use.cutoff is None) or (image.mode not in ("RGBA", "LA", "PA") and "transparency" not in image.info):
        return image
    pixels = image.convert("RGBA")
    if use.opaque:
        return image if pixels.getextrema()[3][0] == 255 else pixels.convert("RGB")
    stated = np.asarray(pixels.getchannel("A"))
    alpha = np.clip(np.rint(127.5 + STEEP * (stated.astype(np.float64) - 255 * (use.cutoff or 0.0))), 0, 255).astype(np.uint8)
    if (alpha == stated).all():
        return image
    pixels.putalpha(Image.fromarray(alpha))
    return pixels


def _file_of(image: Any) -> bytes:
    """The image file as delivered while it is still at hand, else the same pixels as PNG."""
    source = getattr(image, "fp", None)
    if isinstance(source, io.BytesIO):
        return source.getvalue()
    file = io.BytesIO()
    (image if image.mode in ("RGB", "RGBA", "L", "LA", "P") else image.convert("RGBA")).save(file, "PNG")
    return file.getvalue()


def _material(material: Any, drawing: Drawing) -> tuple[Material, Any, Use]:
    """(plain material, its image or None, how it uses that)."""
    color = np.asarray(material.main_color, np.float64) / 255
    if not drawing.srgb:
        color[:3] = _encoded(color[:3])
    color[3] *= opacity(getattr(material, "kwargs", None) or {})
    name, use = name_and_use(str(getattr(material, "name", "") or ""), drawing.uses)
    image = next((found for key in ("baseColorTexture", "image") if (found := getattr(material, key, None)) is not None), None)
    return Material(name, _four(color), bool(getattr(material, "doubleSided", False))), image, use


def _encoded(linear: F64) -> F64:
    """Linear light as sRGB: glTF factors and vertex colours are linear (glTF 2.0, 3.9.2; IEC 61966-2-1)."""
    encoded: F64 = np.where(linear <= 0.0031308, linear * 12.92, 1.055 * np.maximum(linear, 0.0031308) ** (1 / 2.4) - 0.055)
    return encoded


def _four(color: F64) -> tuple[float, float, float, float]:
    r, g, b, a = (round(min(max(float(v), 0.0), 1.0), 4) for v in color)
    return r, g, b, a
