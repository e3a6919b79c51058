"""Polygons with holes in space → triangles, keeping their sense of rotation.

Each face is projected to the plane of its Newell normal (Newell 1972; Sutherland et al. 1974) and cut by ear clipping.
Flatness is judged as ISO 19107 validators do: 1 cm from the plane. Triangles and convex quadrilaterals, which are most
of a city, are done for all faces at once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

import mapbox_earcut
import numpy as np
from numpy.typing import NDArray

from ingest_bim.citymodel import Face
from ingest_bim.geometry_polygons import cross

F64 = NDArray[np.float64]
F32 = NDArray[np.float32]
I32 = NDArray[np.int32]
#: Metres from the plane beyond which a face is called not flat.
FLAT = 0.01
#: Square metres below which a face is called empty.
NO_AREA = 1e-7


@dataclass
class Faces:
    """(T, 3) `triangles`, the `face` (T,) of each, and how many faces were bad."""

    triangles: I32 = field(default_factory=lambda: np.zeros((0, 3), np.int32))
    face: I32 = field(default_factory=lambda: np.zeros(0, np.int32))
    degenerate: int = 0
    bent: int = 0
    crossing: int = 0
    worst: float = 0.0

    def flatness(self, distance: F64) -> None:
        """Count the faces whose largest distances from their planes are given."""
        self.bent += int((distance > FLAT).sum())
        self.worst = max(self.worst, float(distance.max(initial=0.0)))


def triangulate(vertices: F64, faces: list[Face]) -> Faces:
    """All faces over (N, 3) vertices in metres, near the origin."""
    result = Faces()
    triples: list[list[int]] = []
    quads: list[list[int]] = []
    three: list[int] = []
    four: list[int] = []
    rest: list[tuple[int, list[list[int]]]] = []
    for number, face in enumerate(faces):
        rings = [_clean(ring) for ring in face.rings]
        if not rings or len(rings[0]) < 3:
            result.degenerate += 1
        elif len(rings) == 1 and len(rings[0]) == 3:
            triples.append(rings[0])
            three.append(number)
        elif len(rings) == 1 and len(rings[0]) == 4:
            quads.append(rings[0])
            four.append(number)
        else:
            rest.append((number, [rings[0], *(ring for ring in rings[1:] if len(ring) >= 3)]))
    found: list[tuple[I32, I32]] = []
    if triples:
        corners = np.array(triples, np.int32)
        p = vertices[corners]
        good = np.linalg.norm(cross(p[:, 1] - p[:, 0], p[:, 2] - p[:, 0]), axis=1) / 2 > NO_AREA
        result.degenerate += int((~good).sum())
        found.append((corners[good], np.array(three, np.int32)[good]))
    if quads:
        done, left = _quads(vertices, np.array(quads, np.int32), np.array(four, np.int32), result)
        found.append(done)
        rest.extend((number, [quads[i]]) for i, number in left)
    for number, rings in rest:
        cut = _cut(vertices, rings, result)
        if len(cut):
            found.append((cut, np.full(len(cut), number, np.int32)))
    if found:
        result.triangles = np.concatenate([t for t, _ in found])
        result.face = np.concatenate([f for _, f in found])
    return result


def _clean(ring: list[int]) -> list[int]:
    """Without repeated neighbours and without the closing corner (the vertices of a shape are at different places)."""
    kept: list[int] = []
    for i in ring:
        if not kept or i != kept[-1]:
            kept.append(i)
    while len(kept) > 1 and kept[0] == kept[-1]:
        kept.pop()
    return kept


def _quads(vertices: F64, quads: I32, numbers: I32, result: Faces) -> tuple[tuple[I32, I32], list[tuple[int, int]]]:
    """Convex quadrilaterals as two triangles; ((triangles, faces), (row, face) of those that must be cut)."""
    p = vertices[quads]
    normal = cross(p[:, 2] - p[:, 0], p[:, 3] - p[:, 1]) / 2
    area = np.linalg.norm(normal, axis=1)
    edge = np.roll(p, -1, axis=1) - p
    turn = np.einsum("qij,qj->qi", cross(np.roll(edge, 1, axis=1), edge), normal)
    convex = (area > NO_AREA) & (turn > 0).all(axis=1)
    unit = normal[convex] / area[convex][:, None]
    result.flatness(np.abs(np.einsum("qij,qj->qi", p[convex] - p[convex].mean(axis=1, keepdims=True), unit)).max(axis=1, initial=0.0))
    q = quads[convex]
    triangles = np.stack([q[:, [0, 1, 2]], q[:, [0, 2, 3]]], axis=1).reshape(-1, 3)
    return (triangles, np.repeat(numbers[convex], 2)), [(int(i), int(numbers[i])) for i in np.flatnonzero(~convex)]


def _cut(vertices: F64, rings: list[list[int]], result: Faces) -> I32:
    """Any polygon, by ear clipping in its plane."""
    outer = vertices[rings[0]]
    centre = outer.mean(axis=0)
    around = outer - centre
    normal = cross(around, np.roll(around, -1, axis=0)).sum(axis=0) / 2
    area = float(np.linalg.norm(normal))
    if not area > NO_AREA:
        result.degenerate += 1
        return np.zeros((0, 3), np.int32)
    normal /= area
    u = cross(normal, np.eye(3)[int(np.argmin(np.abs(normal)))])
    u /= np.linalg.norm(u)
    corners = np.array([i for ring in rings for i in ring], np.int32)
    points = vertices[corners] - centre
    result.flatness(np.array([np.abs(points @ normal).max()]))
    flat = np.ascontiguousarray(np.column_stack([points @ u, points @ cross(normal, u)]))
    ends = np.cumsum([len(ring) for ring in rings]).astype(np.uint32)
    local = mapbox_earcut.triangulate_float64(flat, ends).astype(np.int64).reshape(-1, 3)
    a, b, c = flat[local[:, 0]], flat[local[:, 1]], flat[local[:, 2]]
    twice = (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0])
    local[twice < 0] = local[twice < 0][:, ::-1]
    holes = sum(abs(_area(flat[start:end])) for start, end in pairwise(ends))
    if abs(np.abs(twice).sum() / 2 - (area - holes)) > 1e-3 * area + NO_AREA:
        result.crossing += 1
    if not len(local):
        result.degenerate += 1
    cut: I32 = corners[local]
    return cut


def corner_uv(result: Faces, faces: list[Face]) -> F32 | None:
    """(T, 3, 2) texture coordinates of the triangles' corners, NaN where a face has none; None where no face has any.

    A corner is found again by its face and vertex: a vertex that a ring meets twice has the coordinates of the first time.
    """
    keys: list[int] = []
    values: list[F64] = []
    for number, face in enumerate(faces):
        if face.uv is not None:
            keys.extend(number << 32 | i for ring in face.rings for i in ring)
            values.extend(face.uv)
    if not keys or not len(result.triangles):
        return None
    known, first = np.unique(np.array(keys, np.int64), return_index=True)
    wanted = result.face.astype(np.int64)[:, None] << 32 | result.triangles
    at = np.minimum(np.searchsorted(known, wanted), len(known) - 1)
    uv: F32 = np.concatenate(values)[first][at].astype(np.float32)
    uv[(known[at] != wanted).any(axis=1)] = np.nan
    return uv


def _area(ring: F64) -> float:
    x, y = ring[:, 0], ring[:, 1]
    return float((x * np.roll(y, -1) - np.roll(x, -1) * y).sum() / 2)



def is_closed(triangles: I32) -> bool:
    """Whether every directed edge is met by exactly as many in the other direction."""
    if not len(triangles):
        return False
    a = triangles[:, [0, 1, 2]].ravel().astype(np.int64)
    b = triangles[:, [1, 2, 0]].ravel().astype(np.int64)
    there, back = np.sort(a << 32 | b), np.sort(b << 32 | a)
    return bool(np.array_equal(there, back))


def outward(vertices: F64, triangles: I32) -> bool:
    """Whether a closed surface has its normals outside (its signed volume is not negative)."""
    return volume(vertices, triangles) >= 0


def volume(vertices: F64, triangles: I32) -> float:
    """Signed volume of a closed surface (divergence theorem), about its own centre for precision."""
    p = vertices - vertices.mean(axis=0)
    a, b, c = p[triangles[:, 0]], p[triangles[:, 1]], p[triangles[:, 2]]
    return float(np.einsum("ij,ij->i", a, cross(b, c)).sum() / 6)
