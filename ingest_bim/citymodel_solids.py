"""The volume that a solid of a city model encloses, by the divergence theorem over its rings.

The outer shell less the inner ones (ISO 19107: Solid), so a source that turned a shell over does no harm. A shell counts as
closed where every edge of its faces is met by as many in the other direction; of one that is not, no volume is stated, but why.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ingest_bim.citymodel import Shell
from ingest_bim.geometry_polygons import cross

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
#: Cubic metres below which a shell encloses nothing.
NOTHING = 1e-6


def solid_volumes(vertices: F64, solids: list[list[Shell]]) -> list[float | str]:
    """Of each solid over (N, 3) vertices in metres its volume in m³, or why it has none; a solid that is stated again is left out."""
    local = vertices - vertices.mean(axis=0) if len(vertices) else vertices  # large coordinates would cancel
    met: set[frozenset[int]] = set()
    found: list[float | str] = []
    for shells in solids:
        corners = frozenset(i for shell in shells for face in shell for ring in face for i in ring) if len(solids) > 1 else frozenset()
        if not corners or corners not in met:
            met.add(corners)
            found.append(_solid_volume(local, shells))
    return found


def _solid_volume(vertices: F64, shells: list[Shell]) -> float | str:
    volumes: list[float] = []
    for number, shell in enumerate(shells):
        name = "its outer shell" if number == 0 else f"its inner shell {number}"
        start, end, apex = _edges([(ring, face[0][0]) for face in shell for ring in _turned(vertices, face)])
        if not len(start):
            return f"{name} has no faces"
        there, back = np.sort(start << 32 | end), np.sort(end << 32 | start)
        if not np.array_equal(there, back):
            return f"{name} has {_open_edges(there)}"
        volumes.append(abs(float(np.einsum("ij,ij->", vertices[apex], cross(vertices[start], vertices[end]))) / 6))
        if not NOTHING <= volumes[-1] < np.inf:
            return f"{name} encloses nothing"
    inner = sum(volumes[1:])
    return volumes[0] - inner if inner < volumes[0] else "its inner shells enclose more than its outer one"


def _edges(rings: list[tuple[list[int], int]]) -> tuple[I64, I64, I64]:
    """(start, end, a corner of the face) of every edge of closed rings; repeated corners make none.

    The corner is the first of the face: a face that is not flat then encloses what its triangles do as they are drawn (of up to four corners).
    """
    start = np.array([i for ring, _ in rings for i in ring], np.int64)
    end = np.array([i for ring, _ in rings for i in (*ring[1:], ring[0])], np.int64)
    apex = np.repeat(np.array([corner for _, corner in rings], np.int64), [len(ring) for ring, _ in rings])
    real = start != end
    return start[real], end[real], apex[real]


def _turned(vertices: F64, face: list[list[int]]) -> list[list[int]]:
    """The rings of a face that have corners; holes run against the outer ring, whichever way the source wrote them."""
    rings = [ring for ring in face if len(ring) >= 3]
    if len(rings) < 2:
        return rings
    areas = [cross(vertices[ring], np.roll(vertices[ring], -1, axis=0)).sum(axis=0) for ring in rings]
    return [rings[0], *(ring[::-1] if areas[0] @ area > 0 else ring for ring, area in zip(rings[1:], areas[1:], strict=True))]


def _open_edges(there: I64) -> str:
    """What is wrong with directed edges that are not matched: a gap, or faces that look another way than their neighbours."""
    low, high = np.minimum(there >> 32, there & 0xFFFFFFFF), np.maximum(there >> 32, there & 0xFFFFFFFF)
    _, times = np.unique(low << 32 | high, return_counts=True)
    odd = int((times % 2).sum())
    return f"{odd} of {len(times)} edges without a second face" if odd else "faces that are turned over against their neighbours"
