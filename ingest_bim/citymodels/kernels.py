# mypy: disable-error-code="no-untyped-def,no-untyped-call,untyped-decorator,return-value,assignment"
# ruff: noqa: ANN001, ANN201, ANN202  (types are in the docstrings: numba infers them)
"""The loops over the faces of city models, compiled by numba: a house has some seven faces, and a call of NumPy for each step of each costs more than the step.

Faces come flat: `corners` (C,) int32 of all rings, `ring_end` (R,) where each ring ends in it, `face_end` (F,) where each face's rings end in `ring_end`.
"""

from __future__ import annotations

import numpy as np

from twin.compiled import njit

FLAT = 0.01
"""Metres from the plane beyond which a face is called not flat."""
NO_AREA = 1e-7
"""Square metres below which a face is called empty."""


@njit(cache=True, nogil=True, error_model="numpy")
def cross(ax, ay, az, bx, by, bz):
    """The cross product of two vectors, number by number."""
    return ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx


@njit(cache=True, nogil=True, error_model="numpy")
def _clean(corners, start, end, out, at):
    """Write a ring without repeated neighbours and without the closing corner to `out` from `at`; where it ends there."""
    first = at
    for i in range(start, end):
        if at == first or corners[i] != out[at - 1]:
            out[at] = corners[i]
            at += 1
    while at - first > 1 and out[first] == out[at - 1]:
        at -= 1
    return at


@njit(cache=True, nogil=True, error_model="numpy")
def simple_faces(vertices, corners, ring_end, face_end):
    """Triangles and convex quadrilaterals cut; all others laid into their planes.

    Args:
        vertices: (N, 3) float64 in metres, near the origin.

    Returns:
        (T, 3) int32 triangles: those of three corners first, then of four; (T,) int32 face of each; (K,) faces that are to be cut;
        their corners; where each of their rings ends; (K,) where each one's rings end among these; (·, 2) the corners in the plane;
        (K,) area of the outer ring; (degenerate, bent) faces; largest distance from a plane.
    """
    faces = len(face_end)
    clean, clean_end = np.empty(len(corners), np.int32), np.empty(len(ring_end), np.int64)
    at = 0
    for r in range(len(ring_end)):
        at = _clean(corners, 0 if r == 0 else ring_end[r - 1], ring_end[r], clean, at)
        clean_end[r] = at
    triangles, face_of = np.empty((2 * faces, 3), np.int32), np.empty(2 * faces, np.int32)
    left, lefts = np.empty(faces, np.int32), 0
    count, degenerate, bent, worst = 0, 0, 0, 0.0
    for f in range(faces):
        first = 0 if f == 0 else face_end[f - 1]
        if face_end[f] - first == 1:
            a = 0 if first == 0 else clean_end[first - 1]
            if clean_end[first] - a == 3:
                p, q, r = vertices[clean[a]], vertices[clean[a + 1]], vertices[clean[a + 2]]
                x, y, z = cross(q[0] - p[0], q[1] - p[1], q[2] - p[2], r[0] - p[0], r[1] - p[1], r[2] - p[2])
                if np.sqrt(x * x + y * y + z * z) / 2 > NO_AREA:
                    triangles[count, 0], triangles[count, 1], triangles[count, 2] = clean[a], clean[a + 1], clean[a + 2]
                    face_of[count] = f
                    count += 1
                else:
                    degenerate += 1
    late, lates = np.empty(faces, np.int32), 0
    for f in range(faces):
        first = 0 if f == 0 else face_end[f - 1]
        a = 0 if first == 0 else clean_end[first - 1]
        size = clean_end[first] - a if face_end[f] > first else 0
        if size < 3:
            degenerate += 1
        elif face_end[f] - first == 1 and size == 4:
            convex, distance = _quad(vertices, clean[a : a + 4])
            if convex:
                bent += distance > FLAT
                worst = max(worst, distance)
                for k in range(2):
                    triangles[count, 0], triangles[count, 1], triangles[count, 2] = clean[a], clean[a + 1 + k], clean[a + 2 + k]
                    face_of[count] = f
                    count += 1
            else:
                late[lates] = f
                lates += 1
        elif face_end[f] - first > 1 or size > 4:
            left[lefts] = f
            lefts += 1
    left[lefts : lefts + lates] = late[:lates]
    lefts += lates
    # what is left, in its plane
    made, made_end, made_face_end = np.empty(len(corners), np.int32), np.empty(len(ring_end), np.int64), np.empty(lefts, np.int64)
    flat, area, kept, m, rings = np.empty((len(corners), 2)), np.empty(lefts), 0, 0, 0
    for k in range(lefts):
        f = left[k]
        start, ring_start = m, rings
        for r in range(0 if f == 0 else face_end[f - 1], face_end[f]):
            a = 0 if r == 0 else clean_end[r - 1]
            if clean_end[r] - a >= 3:
                made[m : m + clean_end[r] - a] = clean[a : clean_end[r]]
                m += clean_end[r] - a
                made_end[rings] = m
                rings += 1
        area[kept], distance = _lay(vertices, made[start:m], made_end[ring_start] - start, flat[start:m])
        if area[kept] > NO_AREA:
            bent += distance > FLAT
            worst = max(worst, distance)
            left[kept], made_face_end[kept] = f, rings
            kept += 1
        else:
            degenerate += 1
            m, rings = start, ring_start
    return (triangles[:count], face_of[:count], left[:kept], made[:m], made_end[:rings], made_face_end[:kept], flat[:m], area[:kept], (degenerate, bent), worst)


@njit(cache=True, nogil=True, error_model="numpy")
def _quad(vertices, ring):
    """(whether four corners are convex and have an area, the largest distance from their plane)."""
    p = np.empty((4, 3))
    mean = np.zeros(3)
    for i in range(4):
        for c in range(3):
            p[i, c] = vertices[ring[i], c]
            mean[c] += p[i, c]
    mean /= 4
    x, y, z = cross(p[2, 0] - p[0, 0], p[2, 1] - p[0, 1], p[2, 2] - p[0, 2], p[3, 0] - p[1, 0], p[3, 1] - p[1, 1], p[3, 2] - p[1, 2])
    x, y, z = x / 2, y / 2, z / 2
    area = np.sqrt(x * x + y * y + z * z)
    if not area > NO_AREA:
        return False, 0.0
    distance = 0.0
    for i in range(4):
        a, b, d = p[(i + 3) % 4], p[i], p[(i + 1) % 4]
        u, v, w = cross(b[0] - a[0], b[1] - a[1], b[2] - a[2], d[0] - b[0], d[1] - b[1], d[2] - b[2])
        if not u * x + v * y + w * z > 0:
            return False, 0.0
        distance = max(distance, abs((b[0] - mean[0]) * (x / area) + (b[1] - mean[1]) * (y / area) + (b[2] - mean[2]) * (z / area)))
    return True, distance


@njit(cache=True, nogil=True, error_model="numpy")
def _lay(vertices, corners, outer, flat):
    """Write corners in the plane of the outer ring's Newell normal to `flat`; (area of the outer ring, largest distance from the plane)."""
    centre = np.zeros(3)
    for i in range(outer):
        for c in range(3):
            centre[c] += vertices[corners[i], c]
    centre /= outer
    normal = np.zeros(3)
    for i in range(outer):
        a, b = vertices[corners[i]], vertices[corners[(i + 1) % outer]]
        x, y, z = cross(a[0] - centre[0], a[1] - centre[1], a[2] - centre[2], b[0] - centre[0], b[1] - centre[1], b[2] - centre[2])
        normal[0] += x
        normal[1] += y
        normal[2] += z
    normal /= 2
    area = np.sqrt(normal[0] ** 2 + normal[1] ** 2 + normal[2] ** 2)
    if not area > NO_AREA:
        return 0.0, 0.0
    normal /= area
    axis = np.zeros(3)
    axis[np.argmin(np.abs(normal))] = 1.0
    ux, uy, uz = cross(normal[0], normal[1], normal[2], axis[0], axis[1], axis[2])
    size = np.sqrt(ux * ux + uy * uy + uz * uz)
    ux, uy, uz = ux / size, uy / size, uz / size
    vx, vy, vz = cross(normal[0], normal[1], normal[2], ux, uy, uz)
    distance = 0.0
    for i in range(len(corners)):
        x, y, z = vertices[corners[i], 0] - centre[0], vertices[corners[i], 1] - centre[1], vertices[corners[i], 2] - centre[2]
        flat[i, 0], flat[i, 1] = x * ux + y * uy + z * uz, x * vx + y * vy + z * vz
        distance = max(distance, abs(x * normal[0] + y * normal[1] + z * normal[2]))
    return area, distance


@njit(cache=True, nogil=True, error_model="numpy")
def judge(flat, ring_end, area, local):
    """Turn the triangles of one laid polygon counterclockwise, in place; whether their area is not the polygon's (it crosses itself).

    `ring_end` counts from the polygon's own first corner, as do the (T, 3) indices `local`.
    """
    total, holes = 0.0, 0.0
    for t in range(len(local)):
        a, b, c = flat[local[t, 0]], flat[local[t, 1]], flat[local[t, 2]]
        twice = (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
        total += abs(twice)
        if twice < 0:
            local[t, 0], local[t, 2] = local[t, 2], local[t, 0]
    for r in range(1, len(ring_end)):
        start, end, hole = ring_end[r - 1], ring_end[r], 0.0
        for i in range(start, end):
            j = i + 1 if i + 1 < end else start
            hole += flat[i, 0] * flat[j, 1] - flat[j, 0] * flat[i, 1]
        holes += abs(hole / 2)
    return abs(total / 2 - (area - holes)) > 1e-3 * area + NO_AREA


@njit(cache=True, nogil=True, error_model="numpy")
def corner_values(triangles, face_of, corners, ring_end, face_end, textured, uv, vertices):
    """(T, 3, 2) float32 texture coordinates of triangles, NaN where their face is not `textured`.

    Args:
        textured: (F,) bool. uv: (·, 2) float64 of the corners of textured faces, one after the other. vertices: how many there are.
    """
    found = np.full((len(triangles), 3, 2), np.nan, np.float32)
    start = np.zeros(len(face_end), np.int64)
    total = 0
    for f in range(len(face_end)):
        start[f] = total
        if textured[f]:
            total += _last(ring_end, face_end, f) - _last(ring_end, face_end, f - 1)
    where, whose = np.zeros(vertices, np.int64), np.full(vertices, -1, np.int64)
    laid = -1
    for t in range(len(triangles)):
        f = face_of[t]
        if not textured[f]:
            continue
        if f != laid:  # the triangles of a face follow each other
            first, last = _last(ring_end, face_end, f - 1), _last(ring_end, face_end, f)
            for i in range(last - 1, first - 1, -1):  # backwards: of a corner that is met twice the first counts
                where[corners[i]], whose[corners[i]] = start[f] + i - first, f
            laid = f
        if whose[triangles[t, 0]] == f and whose[triangles[t, 1]] == f and whose[triangles[t, 2]] == f:
            for k in range(3):
                found[t, k, 0], found[t, k, 1] = uv[where[triangles[t, k]], 0], uv[where[triangles[t, k]], 1]
    return found


@njit(cache=True, nogil=True, error_model="numpy")
def _last(ring_end, face_end, f):
    """Where the corners of a face end."""
    return 0 if f < 0 or face_end[f] == 0 else ring_end[face_end[f] - 1]


@njit(cache=True, nogil=True, error_model="numpy")
def by_owner(triangles, owner, order, vertices):
    """Triangles apart by owner, each owner's with vertices of its own, about the first of them.

    Args:
        order: (T,) int64, the triangles in order of their owners.

    Returns:
        (G,) owners, ascending; (G,) triangles of each; (T, 3) int32 triangles over each
        owner's own vertices; (G,) vertices of each; (V, 3) vertices; (G, 3) what they are about.
    """
    groups = np.empty(len(owner), np.int64)
    sizes, counts, origins = np.zeros(len(owner), np.int64), np.zeros(len(owner), np.int64), np.empty((len(owner), 3))
    local, number, stamp = np.empty((len(owner), 3), np.int32), np.empty(len(vertices), np.int32), np.full(len(vertices), -1, np.int64)
    points, used = np.empty((3 * len(owner), 3)), np.empty(3 * len(owner), np.int64)
    g, at, start = 0, 0, 0
    while start < len(order):
        end = start
        while end < len(order) and owner[order[end]] == owner[order[start]]:
            end += 1
        many = 0
        for i in range(start, end):
            for k in range(3):
                v = triangles[order[i], k]
                if stamp[v] != g:
                    stamp[v] = g
                    used[many] = v
                    many += 1
        mine = used[:many]
        mine.sort()
        for i in range(many):
            number[mine[i]] = i
            for c in range(3):
                points[at + i, c] = vertices[mine[i], c] - vertices[mine[0], c]
        for i in range(start, end):
            for k in range(3):
                local[i, k] = number[triangles[order[i], k]]
        groups[g], sizes[g], counts[g] = owner[order[start]], end - start, many
        origins[g] = vertices[mine[0]]
        at += many
        g += 1
        start = end
    return groups[:g], sizes[:g], local, counts[:g], points[:at].copy(), origins[:g]
