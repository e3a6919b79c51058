# mypy: disable-error-code="no-untyped-def,no-untyped-call,untyped-decorator,return-value,assignment"
# ruff: noqa: ANN001, ANN201, ANN202  (types are in the docstrings: numba infers them)
"""The loops of `simplify`: one pass of independent half-edge collapses. Compiled by numba, the same result every time."""

from __future__ import annotations

import numpy as np

from twin.compiled import njit

TURN = 0.2
"""Cosine of the angle by which a collapse may turn a triangle."""


@njit(cache=True, nogil=True)
def collapse(at, face, corner, label, quadric, limit, anchored, cost, target, stale):
    """Collapse edges, cheapest first, none next to another; all but `at`, `label`, `limit`, `anchored` is changed in place.

    Args:
        at: (P, 3) places. face: (T, 3) places of the corners. corner: (T, 3) whose data they carry. label: of that data, see `simplify`.
        quadric: (P, 11), see `simplify`. limit: (P,) largest mean squared distance, m². anchored: (P,) bool, never moves.
        cost, target: (P,) the cheapest move of each place that is not known to be impossible; stale: (P,) bool, to be found anew.

    Returns:
        ((T,) bool triangles that are left, how many vertices went).
    """
    places, faces = len(at), len(face)
    start, fans = _fans(face, places)
    for u in range(places):
        if stale[u]:
            stale[u] = False
            cost[u], target[u] = np.inf, -1
            if not anchored[u] and limit[u] > 0.0:
                cost[u], target[u] = _cheapest(u, -1.0, -1, at, face, quadric, start, fans)
    wanted = np.flatnonzero(cost <= limit)
    wanted = wanted[np.argsort(cost[wanted], kind="mergesort")]
    touched = np.zeros(places, np.bool_)
    alive = np.ones(faces, np.bool_)
    moved = 0
    for u in wanted:
        if touched[u]:
            continue
        v = target[u]
        while v >= 0 and cost[u] <= limit[u] and not (touched[v] or _allowed(u, v, at, face, corner, label, start, fans)):
            cost[u], target[u] = _cheapest(u, cost[u], v, at, face, quadric, start, fans)
            v = target[u]
        if v < 0 or touched[v] or not cost[u] <= limit[u]:
            continue
        _move(u, v, face, corner, label, start, fans, alive, touched, stale)
        quadric[v] += quadric[u]
        cost[u], target[u] = np.inf, -1
        moved += 1
    return alive, moved


@njit(cache=True, nogil=True)
def _fans(face, places):
    """(start (P + 1,), triangles around each place)."""
    start = np.zeros(places + 1, np.int64)
    for t in range(len(face)):
        for k in range(3):
            start[face[t, k] + 1] += 1
    start = np.cumsum(start)
    at, fans = start[:-1].copy(), np.empty(3 * len(face), np.int64)
    for t in range(len(face)):
        for k in range(3):
            fans[at[face[t, k]]] = t
            at[face[t, k]] += 1
    return start, fans


@njit(cache=True, nogil=True)
def _cheapest(u, after, last, at, face, quadric, start, fans):
    """(cost, neighbour) of the cheapest move of u that comes after (`after`, `last`) in order of (cost, neighbour); (inf, −1) if none."""
    cost, target = np.inf, -1
    for i in range(start[u], start[u + 1]):
        for k in range(3):
            v = face[fans[i], k]
            if v == u:
                continue
            c = _cost(quadric, u, v, at)
            if (c > after or (c == after and v > last)) and (c < cost or (c == cost and v < target)):
                cost, target = c, v
    return cost, target


@njit(cache=True, nogil=True)
def _cost(quadric, u, v, at):
    """The larger mean squared distance of v's place to the planes of u and of v: so that much flat ground does not excuse a small wall."""
    x, y, z = at[v, 0], at[v, 1], at[v, 2]
    return max(_mean(quadric, u, x, y, z), _mean(quadric, v, x, y, z))


@njit(cache=True, nogil=True)
def _mean(q, i, x, y, z):
    if q[i, 10] <= 0.0:
        return 0.0
    value = x * (q[i, 0] * x + 2.0 * (q[i, 1] * y + q[i, 2] * z + q[i, 6])) + y * (q[i, 3] * y + 2.0 * (q[i, 4] * z + q[i, 7]))
    value = value + z * (q[i, 5] * z + 2.0 * q[i, 8]) + q[i, 9]
    return max(value, 0.0) / q[i, 10]


@njit(cache=True, nogil=True)
def _slot(face, t, place):
    """Which corner of triangle t is at a place; −1 if none."""
    return 0 if face[t, 0] == place else 1 if face[t, 1] == place else 2 if face[t, 2] == place else -1


@njit(cache=True, nogil=True)
def _heir(t, u, v, face, corner, label, start, fans):
    """The triangle on the edge u–v whose data at u are those of triangle t, which takes over its data at v; −1 if none."""
    mine = label[corner[t, _slot(face, t, u)]]
    for j in range(start[u], start[u + 1]):
        s = fans[j]
        if _slot(face, s, v) >= 0 and label[corner[s, _slot(face, s, u)]] == mine:
            return s
    return -1


@njit(cache=True, nogil=True)
def _allowed(u, v, at, face, corner, label, start, fans):
    """Whether u may move onto v: no triangle turns over, and what is carried around u goes on at v."""
    for i in range(start[u], start[u + 1]):
        t = fans[i]
        if _slot(face, t, v) < 0 and (_heir(t, u, v, face, corner, label, start, fans) < 0 or _turns(face, t, u, v, at)):
            return False
    return True


@njit(cache=True, nogil=True)
def _turns(face, t, u, v, at):
    """Whether a triangle's direction changes much, or its area vanishes, when its corner u moves to v; number by number, as arrays would be made for each."""
    k = _slot(face, t, u)
    b, c = face[t, (k + 1) % 3], face[t, (k + 2) % 3]
    ox, oy, oz = _normal(at, u, b, c)
    old = ox * ox + oy * oy + oz * oz
    if old == 0.0:
        return False
    nx, ny, nz = _normal(at, v, b, c)
    new = nx * nx + ny * ny + nz * nz
    dx, dy, dz = at[b, 0] - at[c, 0], at[b, 1] - at[c, 1], at[b, 2] - at[c, 2]
    side = dx * dx + dy * dy + dz * dz
    return ox * nx + oy * ny + oz * nz <= TURN * np.sqrt(old * new) or new < 1e-6 * side**2


@njit(cache=True, nogil=True)
def _normal(at, a, b, c):
    """Twice the area of a triangle, as a vector across it."""
    px, py, pz = at[b, 0] - at[a, 0], at[b, 1] - at[a, 1], at[b, 2] - at[a, 2]
    qx, qy, qz = at[c, 0] - at[a, 0], at[c, 1] - at[a, 1], at[c, 2] - at[a, 2]
    return py * qz - pz * qy, pz * qx - px * qz, px * qy - py * qx


@njit(cache=True, nogil=True)
def _move(u, v, face, corner, label, start, fans, alive, touched, stale):
    """Carry it out: triangles on the edge go, the others take v with the data of their heir; everything around is touched."""
    for i in range(start[u], start[u + 1]):
        t = fans[i]
        for k in range(3):
            touched[face[t, k]] = True
            stale[face[t, k]] = True
        if _slot(face, t, v) >= 0:
            alive[t] = False
        else:
            s = _heir(t, u, v, face, corner, label, start, fans)
            corner[t, _slot(face, t, u)] = corner[s, _slot(face, s, v)]
    for i in range(start[v], start[v + 1]):  # what v costs has changed for all around it
        for k in range(3):
            stale[face[fans[i], k]] = True
    for i in range(start[u], start[u + 1]):
        t = fans[i]
        if alive[t]:
            face[t, _slot(face, t, u)] = v
    stale[u] = False
