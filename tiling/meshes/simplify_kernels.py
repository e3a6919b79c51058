# mypy: disable-error-code="no-untyped-def,no-untyped-call,untyped-decorator,return-value,assignment"
# ruff: noqa: ANN001, ANN201, ANN202  (types are in the docstrings: numba infers them)
"""The loops of `simplify`: half-edge collapses in order of cost. Compiled by numba, the same result every time.

The triangles around a place are a linked list of corners (3 · triangle + 0, 1 or 2), so that two places become one by joining two lists. A collapse
prices the places around the vertex that went anew; what else it made dearer is found out when its turn comes. A place with very many
triangles (the hub of a cap, the tip of a cone) is not priced anew for each of its neighbours: only what is new to it is looked at.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush

import numpy as np

from twin.compiled import njit

TURN = 0.2
"""Cosine of the angle by which a collapse may turn a triangle."""
HUB = 64
"""Triangles from which on a place is a hub."""
TRIES = 24
"""Moves that a place tries, cheapest first, before it stays until something around it changes."""
EDGE = 8
"""Triangles on one edge beyond which it is left alone."""


@njit(cache=True, nogil=True)
def collapse(at, face, corner, label, quadric, limit, anchored, start):
    """Collapse edges, cheapest first, until none is left that costs no more than it may; `face`, `corner` and `quadric` are changed in place.

    Args:
        at: (P, 3) places. face: (T, 3) places of the corners. corner: (T, 3) whose data they carry. label: of that data, see `simplify`.
        quadric: (P, 11), see `simplify`. limit: (P,) largest mean squared distance, m². anchored: (P,) bool, never moves.
        start: (F + 1,) the first place of each feature; one after the other, since what lies together in memory is quick.

    Returns:
        (T,) bool triangles that are left.
    """
    places = len(at)
    alive, ring = np.ones(len(face), np.bool_), _rings(face, places)
    cost, target, tries = np.full(places, np.inf), np.full(places, -1, np.int64), np.zeros(places, np.int64)
    edge, around, seen = np.empty(EDGE, np.int64), np.empty(places, np.int64), np.full(places, -1, np.int64)
    heap = [(0.0, 0) for _ in range(0)]
    for f in range(len(start) - 1):
        for u in range(start[f], start[f + 1]):
            if not anchored[u] and limit[u] > 0.0:
                cost[u], target[u] = _cheapest(u, -1.0, -1, at, face, quadric, alive, ring)
                if cost[u] <= limit[u]:
                    heap.append((cost[u], u))
        heapify(heap)
        while heap:
            price, u = heappop(heap)
            v = target[u]
            if price != cost[u]:  # it was priced anew since
                continue
            if _cost(quadric, u, v, at) != price:  # something that it was not told of has changed
                cost[u], target[u] = _cheapest(u, -1.0, -1, at, face, quadric, alive, ring)
            if cost[u] == price and target[u] == v:
                if _allowed(u, v, at, face, corner, label, alive, ring, edge):
                    count = _move(u, v, face, corner, label, alive, ring, edge, around, seen)
                    quadric[v] += quadric[u]
                    cost[u] = np.inf
                    for i in range(count):
                        w = around[i]
                        if not anchored[w] and limit[w] > 0.0:
                            _again(w, u, v, around[:count], at, face, quadric, alive, ring, cost, target, tries, limit, heap)
                    continue
                tries[u] += 1
                cost[u], target[u] = _cheapest(u, price, v, at, face, quadric, alive, ring) if tries[u] < TRIES else (np.inf, -1)
            if cost[u] <= limit[u]:
                heappush(heap, (cost[u], u))
    return alive


@njit(cache=True, nogil=True)
def _again(w, u, v, around, at, face, quadric, alive, ring, cost, target, tries, limit, heap):
    """Price w anew after its neighbour u (or a neighbour of v, if it is v) has moved onto v."""
    before = cost[w]
    if ring[2, w] < HUB or target[w] == u or target[w] == v:
        cost[w], target[w] = _cheapest(w, -1.0, -1, at, face, quadric, alive, ring)
    else:
        for n in around:  # what is new to a hub
            if n != w and v in (n, w):
                c = _cost(quadric, w, n, at)
                if c < cost[w] or (c == cost[w] and n < target[w]):
                    cost[w], target[w] = c, n
    tries[w] = 0
    if cost[w] <= limit[w] and cost[w] != before:  # else it waits in the heap already
        heappush(heap, (cost[w], w))


@njit(cache=True, nogil=True)
def _rings(face, places):
    """(4, …) of each place the first and the last corner of its list and how many there are; of each corner the next, −1 at the end."""
    ring = np.full((4, max(places, 3 * len(face))), -1, np.int64)
    ring[2] = 0
    for t in range(len(face)):
        for k in range(3):
            place, e = face[t, k], 3 * t + k
            if ring[2, place]:
                ring[3, ring[1, place]] = e
            else:
                ring[0, place] = e
            ring[1, place] = e
            ring[2, place] += 1
    return ring


@njit(cache=True, nogil=True)
def _cheapest(u, after, last, at, face, quadric, alive, ring):
    """(cost, neighbour) of the cheapest move of u that comes after (`after`, `last`) in order of (cost, neighbour); (inf, −1) if none.

    Triangles that are gone leave its list on the way.
    """
    cost, target = np.inf, -1
    before, e = -1, ring[0, u]
    while e >= 0:
        t, following = e // 3, ring[3, e]
        if not alive[t]:
            ring[2, u] -= 1
            if before >= 0:
                ring[3, before] = following
            else:
                ring[0, u] = following
            if following < 0:
                ring[1, u] = before
            e = following
            continue
        for k in range(3):
            v = face[t, k]
            if v != u:
                c = _mean(quadric, u, at[v, 0], at[v, 1], at[v, 2])
                if c > cost:  # the larger of two cannot be cheaper
                    continue
                c = max(c, _mean(quadric, v, at[v, 0], at[v, 1], at[v, 2]))
                if (c > after or (c == after and v > last)) and (c < cost or (c == cost and v < target)):
                    cost, target = c, v
        before, e = e, following
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
def _heir(t, u, face, corner, label, edge, count):
    """The triangle on the edge whose data at u are those of triangle t, which takes over its data at the other end; −1 if none."""
    mine = label[corner[t, _slot(face, t, u)]]
    for j in range(count):
        if label[corner[edge[j], _slot(face, edge[j], u)]] == mine:
            return edge[j]
    return -1


@njit(cache=True, nogil=True)
def _on_edge(u, v, face, alive, ring, edge):
    """How many triangles lie on the edge u–v; the first of them are put into `edge`."""
    count, e = 0, ring[0, u]
    while e >= 0:
        t, e = e // 3, ring[3, e]
        if alive[t] and _slot(face, t, v) >= 0:
            if count < EDGE:
                edge[count] = t
            count += 1
    return count


@njit(cache=True, nogil=True)
def _allowed(u, v, at, face, corner, label, alive, ring, edge):
    """Whether u may move onto v: no triangle turns over, and what is carried around u goes on at v."""
    count, e = _on_edge(u, v, face, alive, ring, edge), ring[0, u]
    if count > EDGE:
        return False
    while e >= 0:
        t, e = e // 3, ring[3, e]
        if alive[t] and _slot(face, t, v) < 0 and (_heir(t, u, face, corner, label, edge, count) < 0 or _turns(face, t, u, v, at)):
            return False
    return True


@njit(cache=True, nogil=True)
def _turns(face, t, u, v, at):
    """Whether a triangle's direction changes much, or it becomes a sliver (or more of one), when its corner u moves to v; number by number, as arrays would be made for each."""
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
    return ox * nx + oy * ny + oz * nz <= TURN * np.sqrt(old * new) or new < min(1e-6 * side**2, old)


@njit(cache=True, nogil=True)
def _normal(at, a, b, c):
    """Twice the area of a triangle, as a vector across it."""
    px, py, pz = at[b, 0] - at[a, 0], at[b, 1] - at[a, 1], at[b, 2] - at[a, 2]
    qx, qy, qz = at[c, 0] - at[a, 0], at[c, 1] - at[a, 1], at[c, 2] - at[a, 2]
    return py * qz - pz * qy, pz * qx - px * qz, px * qy - py * qx


@njit(cache=True, nogil=True)
def _move(u, v, face, corner, label, alive, ring, edge, around, seen):
    """Carry it out: triangles on the edge go, the others take v with the data of their heir, and v's list gets those of u.

    Returns:
        How many places lay around u; they are put into `around` (v among them).
    """
    count, many, e = _on_edge(u, v, face, alive, ring, edge), 0, ring[0, u]
    while e >= 0:
        t, e = e // 3, ring[3, e]
        if not alive[t]:
            continue
        for k in range(3):
            w = face[t, k]
            if w != u and seen[w] != u:
                seen[w], around[many] = u, w
                many += 1
        if _slot(face, t, v) < 0:
            s, k = _heir(t, u, face, corner, label, edge, count), _slot(face, t, u)
            corner[t, k] = corner[s, _slot(face, s, v)]
            face[t, k] = v
    for i in range(count):
        alive[edge[i]] = False
    ring[3, ring[1, v]] = ring[0, u]
    ring[1, v] = ring[1, u]
    ring[2, v] += ring[2, u]
    return many


@njit(cache=True, nogil=True)
def extremes(at, face, piece, low, high):
    """Widen the boxes low and high (N, 3) of pieces by their triangles; `piece` (T,) names that of each."""
    for t in range(len(face)):
        for k in range(3):
            for c in range(3):
                low[piece[t], c] = min(low[piece[t], c], at[face[t, k], c])
                high[piece[t], c] = max(high[piece[t], c], at[face[t, k], c])


@njit(cache=True, nogil=True)
def quadrics(at, face, low, high, side):
    """(P, 11) quadric of each place (the upper triangle of nnᵀ, dn, d²) and its weight: planes by area, borders by length squared.

    Args:
        at: (P, 3) places. face: (T, 3). low, high: (B,) the ends of borders; side: (B,) the triangle of each.
    """
    total, normal = np.zeros((len(at), 11)), np.zeros((len(face), 3))
    for t in range(len(face)):
        a = face[t, 0]
        x, y, z = _normal(at, a, face[t, 1], face[t, 2])
        double = np.sqrt(x * x + y * y + z * z)
        if double > 0.0:
            normal[t, 0], normal[t, 1], normal[t, 2] = x / double, y / double, z / double
        for k in range(3):
            _plane(total, face[t, k], normal[t, 0], normal[t, 1], normal[t, 2], at, a, double / 6.0)
    for i in range(len(low)):
        a, b, t = low[i], high[i], side[i]
        x, y, z = at[b, 0] - at[a, 0], at[b, 1] - at[a, 1], at[b, 2] - at[a, 2]
        square = x * x + y * y + z * z
        if square > 0.0:  # the plane across the triangle, through its side
            length = np.sqrt(square)
            p, q, r = y * normal[t, 2] - z * normal[t, 1], z * normal[t, 0] - x * normal[t, 2], x * normal[t, 1] - y * normal[t, 0]
            _plane(total, a, p / length, q / length, r / length, at, a, square / 4.0)
            _plane(total, b, p / length, q / length, r / length, at, a, square / 4.0)
    return total


@njit(cache=True, nogil=True)
def _plane(total, place, x, y, z, at, through, weight):
    """Add a plane of unit normal through a place to a quadric."""
    d = -(x * at[through, 0] + y * at[through, 1] + z * at[through, 2])
    total[place, 0] += weight * x * x
    total[place, 1] += weight * x * y
    total[place, 2] += weight * x * z
    total[place, 3] += weight * y * y
    total[place, 4] += weight * y * z
    total[place, 5] += weight * z * z
    total[place, 6] += weight * x * d
    total[place, 7] += weight * y * d
    total[place, 8] += weight * z * d
    total[place, 9] += weight * d * d
    total[place, 10] += weight
