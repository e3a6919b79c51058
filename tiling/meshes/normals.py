"""Triangle soup → indexed vertices with normals: smooth across shallow edges, sharp across steep ones.

Faces that share an edge and turn by less than the crease angle belong to one smoothing group; a vertex is a place in a group,
and its normal the mean of the group's faces there, weighted by area and so independent of how a plane is cut up.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tiling.meshes.components import components

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
WELD = 1e-4
"""Corners within this many metres on the lattice are one place."""


@dataclass(frozen=True)
class Surfaces:
    """Shaded triangles.

    positions (V, 3), normals (V, 3), triangles (T, 3) into them, `source` (T,) rows of the triangles that were given,
    `sliver` (T,) those narrower than `WELD`: they close the surface but count for nothing else.
    """

    positions: F64
    normals: F64
    triangles: I64
    source: I64
    sliver: NDArray[np.bool_]


def smooth(positions: F64, triangles: I64, group: I64, crease: float = 30.0) -> Surfaces:
    """Index and shade triangles.

    Args:
        positions: (N, 3) finite, metres.
        triangles: (M, 3), counter-clockwise from outside.
        group: (M,) what never shares a vertex (feature, material).
        crease: degrees; steeper edges stay sharp.

    Returns:
        Vertices and triangles without those of which two corners are one place; `source` names the ones that are left.
        Slivers stay, since without them the surface would gape.
    """
    place, at = _weld(positions)
    corner = place[triangles]
    good = np.flatnonzero((corner != corner[:, [1, 2, 0]]).all(axis=1))
    corner, group = corner[good], group[good]
    if not len(good):
        return Surfaces(np.zeros((0, 3)), np.zeros((0, 3)), np.zeros((0, 3), np.int64), good, np.zeros(0, bool))
    face = np.cross(at[corner[:, 1]] - at[corner[:, 0]], at[corner[:, 2]] - at[corner[:, 0]])
    area = np.sqrt((face * face).sum(1))
    longest: F64 = np.sqrt(np.max([((at[corner[:, k]] - at[corner[:, k - 1]]) ** 2).sum(1) for k in range(3)], axis=0))
    sliver = area < WELD * longest
    unit = np.where((area > 0)[:, None], face / np.where(area > 0, area, 1.0)[:, None], [0.0, 0.0, 1.0])
    face[sliver] = 0.0
    smoothing = _groups(corner, unit, group, np.cos(np.radians(crease)), len(at))
    key = corner * (int(smoothing.max()) + 1) + smoothing[:, None]
    unique, first, vertex = np.unique(key.ravel(), return_index=True, return_inverse=True)
    vertex = vertex.reshape(-1, 3)
    normals: F64 = np.column_stack([np.bincount(vertex.ravel(), np.repeat(face[:, k], 3), minlength=len(unique)) for k in range(3)]).astype(np.float64)
    length = np.sqrt((normals * normals).sum(1))
    alone = length < 1e-12  # a sliver, or two faces back to back that cancel: one face's own direction
    normals[alone] = unit[first[alone] // 3]
    normals /= np.where(alone, 1.0, length)[:, None]
    places, normals, vertex = _lit(at[corner.ravel()[first]], normals, vertex, unit, sliver)
    return Surfaces(places, normals, vertex, good, sliver)


def _lit(places: F64, normals: F64, vertex: I64, unit: F64, sliver: NDArray[np.bool_]) -> tuple[F64, F64, I64]:
    """Vertices, so that no face is lit from behind: where a mean points away from one of its faces (thin walls that are smoothed around their edge) that face has its own."""
    against = ((unit[:, None] * normals[vertex]).sum(axis=2) < 0) & ~sliver[:, None]
    if not against.any():
        return places, normals, vertex
    own = vertex[against]
    vertex = vertex.copy()
    vertex[against] = len(places) + np.arange(len(own))
    return np.concatenate([places, places[own]]), np.concatenate([normals, unit[np.nonzero(against)[0]]]), vertex


def _weld(positions: F64) -> tuple[I64, F64]:
    """((N,) place of each position, (P, 3) the first position at each place)."""
    cell = np.rint(positions / WELD).astype(np.int64)
    cell -= cell.min(axis=0)
    span = cell.max(axis=0) + 1
    if float(span[0]) * float(span[1]) * float(span[2]) < 2**62:
        key = (cell[:, 0] * span[1] + cell[:, 1]) * span[2] + cell[:, 2]
        _, first, place = np.unique(key, return_index=True, return_inverse=True)
    else:
        _, first, place = np.unique(cell, axis=0, return_index=True, return_inverse=True)
    return place.ravel().astype(np.int64), positions[first]


def _groups(corner: I64, unit: F64, group: I64, cosine: float, places: int) -> I64:
    """(M,) smoothing group of each face: connected over edges that two faces of one group share at a shallow angle."""
    faces = len(corner)
    a, b = corner[:, [0, 1, 2]].ravel(), corner[:, [1, 2, 0]].ravel()
    edge = np.minimum(a, b) * places + np.maximum(a, b)
    owner = np.repeat(np.arange(faces), 3)
    order = np.lexsort((owner, edge, group[owner]))
    edge, owner = edge[order], owner[order]
    joined = np.flatnonzero((edge[1:] == edge[:-1]) & (group[owner[1:]] == group[owner[:-1]]))
    left, right = owner[joined], owner[joined + 1]
    shallow = (unit[left] * unit[right]).sum(1) > cosine
    return components(faces, left[shallow], right[shallow])
