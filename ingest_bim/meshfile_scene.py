"""trimesh's scene → pieces: welded triangles with plain colours, one for each node that has a shape."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twin.errors import UnreadableSource
from twin.model import Material, Report

F64 = NDArray[np.float64]
I32 = NDArray[np.int32]
#: More face colours than these become one mean colour.
MAX_COLORS = 256


@dataclass
class Piece:
    """One object: `key` is a digest of its shape, which several pieces may share; `transform` (4, 4) places it in the file's space."""

    name: str
    key: str
    positions: F64
    triangles: I32
    materials: list[Material]
    material_of: I32
    transform: F64
    attributes: dict[str, Any] = field(default_factory=dict)


def load_scene(source: Path, kind: str, report: Report) -> Any:
    """Load with trimesh; side files (buffers, .mtl, images) come from the source's folder alone.

    Raises:
        UnreadableSource: trimesh cannot read it, for whatever reason.
    """
    import trimesh  # noqa: PLC0415  slow to import; only meshes need it
    from trimesh.resolvers import Resolver  # noqa: PLC0415

    folder = source.resolve().parent

    class Beside(Resolver):
        """Files in the source's folder or below; anything else is refused and reported."""

        def __init__(self) -> None:
            pass

        def get(self, name: str) -> bytes:
            path = (folder / str(name).strip()).resolve()
            if "://" in str(name) or Path(str(name)).is_absolute() or not path.is_relative_to(folder):
                report.note("refused", "", f"The file refers to {str(name)[:100]!r}, which is not in its folder.")
                raise FileNotFoundError(name)
            if not path.is_file():
                report.note("warned", "", f"The file refers to {str(name)[:100]!r}, which is absent.")
            return path.read_bytes()

        def keys(self) -> list[str]:
            return []

        def namespaced(self, namespace: str) -> Any:  # noqa: ARG002
            return self

        def write(self, name: str, data: Any) -> None:  # noqa: ARG002
            raise PermissionError(name)

    settings: dict[str, Any] = {"split_objects": True, "group_material": False} if kind == "obj" else {}
    try:
        return trimesh.load_scene(io.BytesIO(source.read_bytes()), file_type=kind, resolver=Beside(), process=False, **settings)
    except Exception as error:  # the loaders raise anything from KeyError to struct.error; all mean unreadable
        raise UnreadableSource(f"{source.name} cannot be read as {kind.upper()}: {type(error).__name__}: {str(error)[:150]}.", "Export it again.") from error


def pieces(scene: Any, report: Report, *, srgb: bool) -> list[Piece]:
    """All pieces of a scene in the order of its nodes; what has no triangles is reported. `srgb`: whether material colours are sRGB."""
    shapes: dict[str, tuple[F64, I32, list[Material], I32, dict[str, Any]] | None] = {}
    found: list[Piece] = []
    for node in scene.graph.nodes_geometry:
        transform, name = scene.graph[node]
        report.read += 1
        if name not in shapes:
            shapes[name] = _shape(str(name), scene.geometry[name], report, srgb)
        shape = shapes[name]
        if shape is None:
            continue
        matrix = np.array(transform, np.float64)
        if not np.isfinite(matrix).all():
            report.note("refused", str(node), "Its transform is not finite.")
            continue
        positions, triangles, materials, material_of, extras = shape
        digest = hashlib.blake2b(repr(materials).encode(), digest_size=16)
        for part in (positions, triangles, material_of):
            digest.update(np.ascontiguousarray(part).tobytes())
        key = digest.hexdigest()  # equal shapes under different names are one
        attributes = {"name": str(node), "geometry_name": str(name), "triangles": len(triangles), **extras}
        found.append(Piece(str(node), key, positions, triangles, materials, material_of, matrix, attributes))
    return found


def _shape(name: str, geometry: Any, report: Report, srgb: bool) -> tuple[F64, I32, list[Material], I32, dict[str, Any]] | None:
    if not hasattr(geometry, "faces") or not len(geometry.faces):
        report.note("skipped", name, f"{type(geometry).__name__} without triangles is not drawn.")
        return None
    vertices, faces = np.asarray(geometry.vertices, np.float64), np.asarray(geometry.faces, np.int64)
    if vertices.ndim != 2 or vertices.shape[1] != 3 or faces.ndim != 2 or faces.shape[1] != 3:
        report.note("refused", name, f"Vertices of {vertices.shape[-1]} numbers and faces of {faces.shape[-1]} corners are not triangles in space.")
        return None
    good = np.all((faces >= 0) & (faces < len(vertices)), axis=1)
    good = np.logical_and(good, np.all(np.isfinite(vertices[np.where(good[:, None], faces, 0)]), axis=(1, 2)))
    if not good.all():
        report.note("refused", name, f"{int((~good).sum())} of {len(faces)} triangles have wrong vertex numbers or coordinates that are not finite.")
    materials, material_of = _colours(name, geometry, report, srgb)
    used, corners = np.unique(faces[good], return_inverse=True)
    if not len(used):
        return None
    positions, weld = np.unique(vertices[used], axis=0, return_inverse=True)
    triangles = weld.ravel()[corners.reshape(-1, 3)]
    whole = (triangles[:, 0] != triangles[:, 1]) & (triangles[:, 1] != triangles[:, 2]) & (triangles[:, 2] != triangles[:, 0])
    if not whole.all():
        report.note("skipped", name, f"{int((~whole).sum())} of {len(faces)} triangles have no area.")
    if not whole.any():
        return None
    extras = geometry.metadata.get("gltf_extras")
    return positions, triangles[whole].astype(np.int32), materials, material_of[good][whole], dict(extras) if isinstance(extras, dict) else {}


def _colours(name: str, geometry: Any, report: Report, srgb: bool) -> tuple[list[Material], I32]:
    """Plain materials and which of them each face has."""
    count = len(geometry.faces)
    one = np.zeros(count, np.int32)
    visual = geometry.visual
    kind = getattr(visual, "kind", None)
    try:
        if kind == "texture":
            return [_material(name, visual.material, report, srgb)], one
        if kind in ("face", "vertex"):
            colors = np.asarray(visual.face_colors, np.float64) / 255
            unique, number = np.unique(np.round(colors, 2), axis=0, return_inverse=True)
            if len(unique) <= MAX_COLORS and kind == "face":
                return [Material("", _four(c)) for c in unique], number.ravel().astype(np.int32)
            report.note("warned", name, f"{len(unique)} colours of {'vertices' if kind == 'vertex' else 'faces'} become their mean.")
            return [Material("", _four(colors.mean(axis=0)))], one
    except (ValueError, AttributeError, TypeError, IndexError) as error:
        report.note("warned", name, f"Its colours cannot be read ({str(error)[:80]}): grey is drawn.")
    return [Material()], one


def _material(name: str, material: Any, report: Report, srgb: bool) -> Material:
    if any(getattr(material, key, None) is not None for key in ("baseColorTexture", "image")):
        report.note("skipped", name, "Its texture is not drawn; it has a plain colour.")
    color = np.asarray(material.main_color, np.float64) / 255
    if not srgb:  # glTF factors are linear (glTF 2.0, 3.9.2); IEC 61966-2-1
        color[:3] = np.where(color[:3] <= 0.0031308, color[:3] * 12.92, 1.055 * np.maximum(color[:3], 0.0031308) ** (1 / 2.4) - 0.055)
    return Material(str(getattr(material, "name", "") or ""), _four(color), bool(getattr(material, "doubleSided", False)))


def _four(color: F64) -> tuple[float, float, float, float]:
    r, g, b, a = (round(min(max(float(v), 0.0), 1.0), 4) for v in color)
    return r, g, b, a
