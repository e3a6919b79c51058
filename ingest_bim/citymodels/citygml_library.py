"""Prototypes of CityGML's implicit geometries that lie in files of their own (`libraryObject`): trees, lamps, benches.

CityGML 2.0 (OGC 12-019, 8.2) lets them be of any format; those that `ingest_bim.meshfiles.reader` reads are read here, from below the
model's package alone. Their axes are taken as stated; glTF's y-up becomes z-up.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from ingest_bim.citymodels.objects import Face, Shape
from ingest_bim.citymodels.textures import Pictures, beside
from ingest_bim.meshfiles.scene import Piece, center_of, load_scene, pieces
from twin.errors import UnreadableSource
from twin.model import Report

KINDS = ("obj", "gltf", "glb", "ply", "stl")
MAX_BYTES = 1 << 26
Z_UP = np.array([[1.0, 0, 0, 0], [0, 0, -1, 0], [0, 1, 0, 0], [0, 0, 0, 1]])


class Library:
    """The prototypes met so far, by the name in the file; a name that cannot be used gives the reason, each time."""

    def __init__(self, folder: Path, root: Path, report: Report, pictures: Pictures | None) -> None:
        """`folder` is where relative names start, `root` what they may not leave."""
        self.folder, self.root, self.report, self.pictures = folder.resolve(), root.resolve(), report, pictures
        self._known: dict[str, Shape | str] = {}

    def shape(self, name: str) -> Shape | str:
        """A prototype in its own metres, or why there is none."""
        if name not in self._known:
            self._known[name] = self._read(name)
        return self._known[name]

    def _read(self, name: str) -> Shape | str:
        path = beside(self.folder, name.replace("\\", "/"))
        kind = path.suffix.lower().removeprefix(".")
        if "://" in name or not path.is_relative_to(self.root):
            return "lies outside of the model's package and is not opened"
        if kind not in KINDS:
            return f"is a file of a kind that is not read ({', '.join(KINDS)} are)"
        if not path.is_file() or path.stat().st_size > MAX_BYTES:
            return f"is absent, or larger than {MAX_BYTES >> 20} MiB"
        notes = Report()
        try:
            scene = load_scene(path, kind, notes, self.root)
            found = pieces(scene, notes, self.pictures or Pictures(path.parent, notes, self.root), srgb=kind not in ("gltf", "glb"))
        except UnreadableSource as error:
            return f"cannot be read ({error.message})"
        self.report.include(notes, path.name)
        if any(piece.colors is not None for piece in found):
            self.report.note("skipped", "", f"{path.name}: the colours of its corners are not kept; it has plain ones.")
        turn = Z_UP.copy() if kind in ("gltf", "glb") else np.eye(4)
        turn[:3, 3] = center_of(scene)
        return _joined(found, turn, textured=self.pictures is not None) if found else "holds no triangles"


def _joined(found: list[Piece], turn: np.ndarray, *, textured: bool) -> Shape:
    """All pieces as the triangles of one shape."""
    vertices, faces, before = [], [], 0
    for piece in found:
        matrix = turn @ piece.transform
        vertices.append(piece.positions @ matrix[:3, :3].T + matrix[:3, 3])
        for number, triangle in enumerate(piece.triangles.tolist()):
            material = piece.materials[piece.material_of[number]]
            if not textured:
                material = replace(material, texture=None)
            uv = [piece.uv[number].astype(np.float64)] if textured and piece.uv is not None and material.texture is not None else None
            faces.append(Face([[before + corner for corner in triangle]], -1, material, uv))
        before += len(piece.positions)
    return Shape(np.concatenate(vertices), faces)
