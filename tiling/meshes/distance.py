# mypy: disable-error-code="no-untyped-def,no-untyped-call,untyped-decorator,return-value,assignment"
# ruff: noqa: ANN001, ANN202  (types of the kernels are in their docstrings: numba infers them)
"""How far two surfaces lie apart: Hausdorff's distance of triangle meshes, feature by feature, with a bound that holds.

The distance to one triangle is a convex function of place, so over a piece of the other surface it is largest at the piece's
corners. A piece is therefore done when its corners' distances to the triangle nearest to its middle hardly exceed what has been
found already; other pieces are halved. What is returned is never below the true distance, and above what was found by a tenth
at most (`SLACK`; more only for a feature that needs more than `EFFORT` pieces, whose slack doubles with each so many).

Sources: Ericson, Real-Time Collision Detection (2005), 5.1.5 (nearest point of a triangle); Guthe, Borodin & Klein, "Fast and
accurate Hausdorff distance calculation between meshes" (2005), for halving by bound.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from twin.compiled import njit

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
SLACK = 0.1
"""Share of the distance found, and of the feature's own slack, by which the bound may exceed it."""
EFFORT = 200_000
_LEAF = 4


def hausdorff(a: F64, a_owner: I64, b: F64, b_owner: I64, slack: F64) -> F64:
    """(F,) upper bounds of the distance between two forms of each feature, both ways, in metres; inf where one form is empty.

    Args:
        a, b: (T, 3, 3) corners of the triangles of either form.
        a_owner, b_owner: (T,) the feature of each, ascending, 0 … F − 1.
        slack: (F,) metres that do not matter.
    """
    features = np.arange(len(slack) + 1)
    a_start, b_start = np.searchsorted(a_owner, features), np.searchsorted(b_owner, features)
    there = _directed(a, a_start, *_trees(b, b_start), slack)
    back = _directed(b, b_start, *_trees(a, a_start), slack)
    return np.asarray(np.maximum(there, back), np.float64)


def _trees(t: F64, start: I64) -> tuple[F64, I64, F64, I64]:
    """Boxes over the triangles of every feature: (triangles in the order of the trees, start (F + 1,), nodes (N, 6), first node of each feature)."""
    middle = t.mean(axis=1)
    owner = np.repeat(np.arange(len(start) - 1), np.diff(start))
    order = np.lexsort((_morton(middle), owner)) if len(t) else np.zeros(0, np.int64)
    t = np.ascontiguousarray(t[order])
    leaves = -(-np.diff(start) // _LEAF)
    width = np.where(leaves > 0, 2 ** np.ceil(np.log2(np.maximum(leaves, 1))).astype(np.int64), 0)
    first = np.concatenate([[0], np.cumsum(2 * width)]).astype(np.int64)
    nodes = np.empty((int(first[-1]), 6))
    nodes[:, :3], nodes[:, 3:] = np.inf, -np.inf
    _fill(t, start, first, nodes)
    return t, start, nodes, first


def _morton(p: F64) -> NDArray[np.uint64]:
    """(N,) places on a curve that keeps neighbours together, 20 bits an axis."""
    if not len(p):
        return np.zeros(0, np.uint64)
    low = p.min(axis=0)
    scaled = ((p - low) / max(float((p - low).max()), 1e-9) * (2**20 - 1)).astype(np.uint64)
    code = np.zeros(len(p), np.uint64)
    for k in range(3):
        v = scaled[:, k]
        for shift, mask in ((32, 0x1F00000000FFFF), (16, 0x1F0000FF0000FF), (8, 0x100F00F00F00F00F), (4, 0x10C30C30C30C30C3), (2, 0x1249249249249249)):
            v = (v | (v << np.uint64(shift))) & np.uint64(mask)
        code |= v << np.uint64(k)
    return code


@njit(cache=True, nogil=True)
def _fill(t, start, first, nodes):
    """Boxes of the leaves, then of what is above them; a tree's node i has the children 2 i and 2 i + 1, its root is 1."""
    for f in range(len(start) - 1):
        base, width = first[f], (first[f + 1] - first[f]) // 2
        for i in range(start[f], start[f + 1]):
            node = base + width + (i - start[f]) // _LEAF
            for c in range(3):
                for k in range(3):
                    nodes[node, k] = min(nodes[node, k], t[i, c, k])
                    nodes[node, 3 + k] = max(nodes[node, 3 + k], t[i, c, k])
        for node in range(base + width - 1, base, -1):
            left = base + 2 * (node - base)
            for k in range(3):
                nodes[node, k] = min(nodes[left, k], nodes[left + 1, k])
                nodes[node, 3 + k] = max(nodes[left, 3 + k], nodes[left + 1, 3 + k])


@njit(cache=True, nogil=True)
def _directed(a, a_start, t, start, nodes, first, slack):
    """(F,) bound of the largest distance from any point of a feature's `a` to its triangles in the trees."""
    features = len(start) - 1
    result = np.zeros(features)
    for f in range(features):
        if a_start[f] == a_start[f + 1]:
            continue
        if start[f] == start[f + 1]:
            result[f] = np.inf
            continue
        result[f] = _feature(a, a_start[f], a_start[f + 1], t, start[f], start[f + 1], nodes, first[f], (first[f + 1] - first[f]) // 2, slack[f])
    return result


@njit(cache=True, nogil=True)
def _feature(a, begin, end, t, low, high, nodes, base, width, slack):
    stack, waiting = np.empty((200, 9)), np.empty(64, np.int64)
    found, bound, effort, ease, near = 0.0, 0.0, 0, SLACK * slack, low
    for i in range(begin, end, 8):  # a first look, so that most pieces are done at once below
        x, y, z = (a[i, 0, 0] + a[i, 1, 0] + a[i, 2, 0]) / 3.0, (a[i, 0, 1] + a[i, 1, 1] + a[i, 2, 1]) / 3.0, (a[i, 0, 2] + a[i, 1, 2] + a[i, 2, 2]) / 3.0
        distance, near = _nearest(x, y, z, near, t, low, high, nodes, base, width, waiting)
        found = max(found, distance)
    for i in range(begin, end):
        for c in range(3):
            stack[0, 3 * c], stack[0, 3 * c + 1], stack[0, 3 * c + 2] = a[i, c, 0], a[i, c, 1], a[i, c, 2]
        depth = 1
        while depth:
            depth -= 1
            px, py, pz, qx, qy, qz, rx, ry, rz = stack[depth]
            x, y, z = (px + qx + rx) / 3.0, (py + qy + ry) / 3.0, (pz + qz + rz) / 3.0
            distance, near = _nearest(x, y, z, near, t, low, high, nodes, base, width, waiting)
            found = max(found, distance)
            effort += 1
            if effort > EFFORT + end - begin:
                effort, ease = 0, 2.0 * ease
            most = max(_to_triangle(px, py, pz, t, near), _to_triangle(qx, qy, qz, t, near), _to_triangle(rx, ry, rz, t, near))
            radius = max(_square(px - x, py - y, pz - z), _square(qx - x, qy - y, qz - z), _square(rx - x, ry - y, rz - z))
            most = min(most, distance + np.sqrt(radius))
            if most <= found * (1.0 + SLACK) + ease or depth > 190:
                bound = max(bound, most)
                continue
            pq, qr, rp = _square(px - qx, py - qy, pz - qz), _square(qx - rx, qy - ry, qz - rz), _square(rx - px, ry - py, rz - pz)
            if pq >= qr and pq >= rp:
                px, py, pz, qx, qy, qz, rx, ry, rz = rx, ry, rz, px, py, pz, qx, qy, qz
            elif rp >= qr:
                px, py, pz, qx, qy, qz, rx, ry, rz = qx, qy, qz, rx, ry, rz, px, py, pz
            x, y, z = (qx + rx) / 2.0, (qy + ry) / 2.0, (qz + rz) / 2.0  # q–r is the longest side
            stack[depth] = (px, py, pz, qx, qy, qz, x, y, z)
            stack[depth + 1] = (px, py, pz, x, y, z, rx, ry, rz)
            depth += 2
    return max(found, bound)


@njit(cache=True, nogil=True)
def _nearest(x, y, z, guess, t, low, high, nodes, base, width, stack):
    """(distance, triangle) nearest to a place; `guess` is a triangle that may be it."""
    best, near = _to_triangle(x, y, z, t, guess), guess
    stack[0] = 1
    depth = 1
    while depth:
        depth -= 1
        node = stack[depth]
        if _to_box(x, y, z, nodes, base + node) >= best * best:
            continue
        if node >= width:
            first = low + (node - width) * _LEAF
            for i in range(first, min(first + _LEAF, high)):
                distance = _to_triangle(x, y, z, t, i)
                if distance < best:
                    best, near = distance, i
            continue
        one, two = 2 * node, 2 * node + 1
        if _to_box(x, y, z, nodes, base + one) < _to_box(x, y, z, nodes, base + two):
            one, two = two, one
        stack[depth], stack[depth + 1] = one, two
        depth += 2
    return best, near


@njit(cache=True, nogil=True)
def _square(x, y, z):
    return x * x + y * y + z * z


@njit(cache=True, nogil=True)
def _to_box(x, y, z, nodes, i):
    """Squared distance of a place to box i; inf for an empty one."""
    dx = max(nodes[i, 0] - x, x - nodes[i, 3], 0.0)
    dy = max(nodes[i, 1] - y, y - nodes[i, 4], 0.0)
    dz = max(nodes[i, 2] - z, z - nodes[i, 5], 0.0)
    return _square(dx, dy, dz)


@njit(cache=True, nogil=True)
def _to_triangle(x, y, z, t, i):
    """Distance of a place to triangle i; one without area counts as its sides."""
    ax, ay, az = t[i, 0, 0], t[i, 0, 1], t[i, 0, 2]
    bx, by, bz = t[i, 1, 0] - ax, t[i, 1, 1] - ay, t[i, 1, 2] - az
    cx, cy, cz = t[i, 2, 0] - ax, t[i, 2, 1] - ay, t[i, 2, 2] - az
    x, y, z = x - ax, y - ay, z - az
    nx, ny, nz = by * cz - bz * cy, bz * cx - bx * cz, bx * cy - by * cx
    nn = _square(nx, ny, nz)
    if nn > 0.0:  # its shadow in the plane: inside by the signs of its barycentric coordinates
        w = (by * z - bz * y) * nx + (bz * x - bx * z) * ny + (bx * y - by * x) * nz
        v = (y * cz - z * cy) * nx + (z * cx - x * cz) * ny + (x * cy - y * cx) * nz
        if w >= 0.0 and v >= 0.0 and v + w <= nn:
            return abs(x * nx + y * ny + z * nz) / np.sqrt(nn)
    sides = min(_to_side(x, y, z, bx, by, bz), _to_side(x, y, z, cx, cy, cz), _to_side(x - bx, y - by, z - bz, cx - bx, cy - by, cz - bz))
    return np.sqrt(sides)


@njit(cache=True, nogil=True)
def _to_side(x, y, z, dx, dy, dz):
    """Squared distance of a place to the segment from the origin to d."""
    length = _square(dx, dy, dz)
    s = min(max((x * dx + y * dy + z * dz) / length, 0.0), 1.0) if length > 0.0 else 0.0
    return _square(x - s * dx, y - s * dy, z - s * dz)
