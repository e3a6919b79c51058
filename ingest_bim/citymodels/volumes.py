# mypy: disable-error-code="no-untyped-def,no-untyped-call,untyped-decorator,return-value,assignment"
# ruff: noqa: ANN001, ANN201  (types are in the docstrings: numba infers them)
"""Whether surfaces close, and what they enclose: the loops over shells and triangles of city models, compiled by numba.

Faces come flat, as in `ingest_bim.citymodels.kernels`.
"""

from __future__ import annotations

import numpy as np

from ingest_bim.citymodels.kernels import cross
from twin.compiled import njit


@njit(cache=True, nogil=True, error_model="numpy")
def matched(start, end):
    """Whether every directed edge is met by exactly as many in the other direction."""
    there, back = np.empty(len(start), np.int64), np.empty(len(start), np.int64)
    for i in range(len(start)):
        there[i] = np.int64(start[i]) << 32 | np.int64(end[i])
        back[i] = np.int64(end[i]) << 32 | np.int64(start[i])
    there.sort()
    back.sort()
    return np.array_equal(there, back)


@njit(cache=True, nogil=True, error_model="numpy")
def shell_volume(vertices, corners, ring_end, face_end):
    """(edges of a shell's faces, whether each is met by one in the other direction, the volume by the divergence theorem).

    A face's first corner is its apex: a face that is not flat then encloses what its triangles do as they are drawn (of up to four corners).
    Rings of fewer than three corners and edges without length do not count; holes run against the outer ring, whichever way they are written.
    """
    start, end = np.empty(len(corners), np.int32), np.empty(len(corners), np.int32)
    count, six = 0, 0.0
    centre = np.zeros(3)
    for i in range(len(vertices)):
        for c in range(3):
            centre[c] += vertices[i, c]
    vertices = vertices - centre / max(len(vertices), 1)  # large coordinates would cancel
    for f in range(len(face_end)):
        first, apex, outer = 0 if f == 0 else face_end[f - 1], -1, np.zeros(3)
        for r in range(first, face_end[f]):
            a, b = 0 if r == 0 else ring_end[r - 1], ring_end[r]
            if b - a < 3:
                continue
            turned = False
            if face_end[f] - first > 1:
                normal = np.zeros(3)
                for i in range(a, b):
                    p, q = vertices[corners[i]], vertices[corners[i + 1 if i + 1 < b else a]]
                    x, y, z = cross(p[0], p[1], p[2], q[0], q[1], q[2])
                    normal[0] += x
                    normal[1] += y
                    normal[2] += z
                if apex < 0:
                    outer = normal
                else:
                    turned = outer[0] * normal[0] + outer[1] * normal[1] + outer[2] * normal[2] > 0
            if apex < 0:
                apex = corners[a]
            for i in range(a, b):
                u, v = corners[i], corners[i + 1 if i + 1 < b else a]
                if u == v:
                    continue
                if turned:
                    u, v = v, u
                start[count], end[count] = u, v
                count += 1
                p, q, o = vertices[u], vertices[v], vertices[apex]
                x, y, z = cross(p[0], p[1], p[2], q[0], q[1], q[2])
                six += o[0] * x + o[1] * y + o[2] * z
    return count, matched(start[:count], end[:count]), abs(six / 6)


@njit(cache=True, nogil=True, error_model="numpy")
def closed_volume(vertices, triangles):
    """(whether every directed edge is met by exactly as many in the other direction, the signed volume as by `volume`)."""
    start, end = np.empty(3 * len(triangles), np.int32), np.empty(3 * len(triangles), np.int32)
    for t in range(len(triangles)):
        for k in range(3):
            start[3 * t + k], end[3 * t + k] = triangles[t, k], triangles[t, (k + 1) % 3]
    closed = len(triangles) > 0 and matched(start, end)
    return closed, volume(vertices, triangles) if closed else 0.0


@njit(cache=True, nogil=True, error_model="numpy")
def volume(vertices, triangles):
    """Signed volume of a closed surface (divergence theorem), about the vertices' own centre for precision."""
    centre = np.zeros(3)
    for i in range(len(vertices)):
        for c in range(3):
            centre[c] += vertices[i, c]
    centre /= max(len(vertices), 1)
    six = 0.0
    for t in range(len(triangles)):
        a, b, c = vertices[triangles[t, 0]] - centre, vertices[triangles[t, 1]] - centre, vertices[triangles[t, 2]] - centre
        x, y, z = cross(b[0], b[1], b[2], c[0], c[1], c[2])
        six += a[0] * x + a[1] * y + a[2] * z
    return six / 6
