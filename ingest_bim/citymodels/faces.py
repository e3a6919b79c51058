"""Polygons with holes in space → triangles, keeping their sense of rotation.

Each face is projected to the plane of its Newell normal (Newell 1972; Sutherland et al. 1974) and cut by ear clipping.
Flatness is judged as ISO 19107 validators do: 1 cm from the plane. Triangles and convex quadrilaterals, which are most
of a city, need no ear clipping. The loops are in `ingest_bim.citymodels.kernels`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import mapbox_earcut
import numpy as np
from numpy.typing import NDArray

from ingest_bim.citymodels import kernels, volumes
from ingest_bim.citymodels.objects import Face

F64 = NDArray[np.float64]
F32 = NDArray[np.float32]
I32 = NDArray[np.int32]
I64 = NDArray[np.int64]
HOLES = 10_000
"""Of one face. Ear clipping takes time with their square: some seconds for so many, hours for a hundred thousand."""
#: Corners of rings, where each ring ends in them, and where each face's rings end in these.
Flat = tuple[I32, I64, I64]


@dataclass
class Faces:
    """(T, 3) `triangles`, the `face` (T,) of each, and how many faces were bad; `pierced`: left out for more than `HOLES` holes."""

    triangles: I32 = field(default_factory=lambda: np.zeros((0, 3), np.int32))
    face: I32 = field(default_factory=lambda: np.zeros(0, np.int32))
    degenerate: int = 0
    bent: int = 0
    crossing: int = 0
    pierced: int = 0
    worst: float = 0.0


def flattened(faces: Sequence[Sequence[Sequence[int]]]) -> Flat:
    """The rings of faces as arrays, which the kernels take."""
    rings = [ring for face in faces for ring in face]
    return (np.array([i for ring in rings for i in ring], np.int32), np.array([len(ring) for ring in rings], np.int64).cumsum(),
            np.array([len(face) for face in faces], np.int64).cumsum())  # fmt: skip


def triangulate(vertices: F64, faces: list[Face]) -> Faces:
    """All faces over (N, 3) vertices in metres, near the origin."""
    return triangulate_flat(vertices, flattened([face.rings for face in faces]))


def triangulate_flat(vertices: F64, faces: Flat) -> Faces:
    """The same, of rings as arrays (`flattened`)."""
    triangles, face, left, corners, ring_end, face_end, flat, area, (degenerate, bent), worst = kernels.simple_faces(vertices, *faces)
    crossing = pierced = 0
    if len(left):
        made, of = [triangles], [face]
        start = first = 0
        for number, last, own in zip(left, face_end.tolist(), area, strict=True):
            ends = ring_end[first:last] - start
            end = int(ring_end[last - 1])
            laid = flat[start:end]
            if len(ends) > HOLES:
                pierced += 1
                start, first = end, last
                continue
            local = mapbox_earcut.triangulate_float64(laid, ends.astype(np.uint32)).reshape(-1, 3)
            crossing += bool(kernels.judge(laid, ends, own, local))
            degenerate += not len(local)
            made.append(corners[start:end][local])
            of.append(np.full(len(local), number, np.int32))
            start, first = end, last
        triangles, face = np.concatenate(made), np.concatenate(of)
    return Faces(triangles, face, int(degenerate), int(bent), crossing, pierced, float(worst))


def corner_uv(result: Faces, faces: list[Face], flat: Flat, vertices: int) -> F32 | None:
    """(T, 3, 2) texture coordinates of the triangles' corners, NaN where a face has none; None where no face has any.

    A corner is found again by its face and vertex: a vertex that a ring meets twice has the coordinates of the first time.
    `flat` are the rings of `faces` as arrays, over so many `vertices`.
    """
    values = [ring for face in faces if face.uv is not None for ring in face.uv]
    if not values or not len(result.triangles):
        return None
    textured = np.array([face.uv is not None for face in faces])
    found: F32 = kernels.corner_values(result.triangles, result.face, *flat, textured, np.concatenate(values), vertices)
    return found


def is_closed(triangles: I32) -> bool:
    """Whether every directed edge is met by exactly as many in the other direction."""
    return bool(len(triangles) and volumes.matched(triangles[:, [0, 1, 2]].ravel(), triangles[:, [1, 2, 0]].ravel()))


def outward(vertices: F64, triangles: I32) -> bool:
    """Whether a closed surface has its normals outside (its signed volume is not negative)."""
    return volume(vertices, triangles) >= 0


def volume(vertices: F64, triangles: I32) -> float:
    """Signed volume of a closed surface (divergence theorem), about its own centre for precision."""
    return float(volumes.volume(vertices, triangles))
