# mypy: disable-error-code="no-untyped-def,no-untyped-call,untyped-decorator,return-value,assignment"
# ruff: noqa: ANN001, ANN201, ANN202  (types are in the docstrings: numba infers them)
"""The loops of `meshopt` over indices: sequences and triangles; pure functions over arrays, compiled by numba.

Decoders read strangers' bytes, so every read is checked; they return how much they read, or a negative `FAULTS` number.

Source: EXT_meshopt_compression (Khronos vendor extension, Kapoulkine 2022), appendix A, modes 1 and 2.
"""

from __future__ import annotations

import numpy as np

from tiling.encoding.meshopt_kernels import NOT_STORED, TOO_LARGE, TOO_LONG, TRUNCATED
from twin.compiled import njit

# --- numbers of one to five bytes -------------------------------------------------------------------------------------


@njit(cache=True, nogil=True)
def _zigzag(delta):
    """A difference, wrapped to 32 bits, with its sign in the lowest bit."""
    delta &= 0xFFFFFFFF
    return (delta << 1 & 0xFFFFFFFF) ^ (0xFFFFFFFF if delta >> 31 else 0)


@njit(cache=True, nogil=True)
def _put(value, out, at):
    while value > 127:
        out[at] = value & 127 | 128
        value >>= 7
        at += 1
    out[at] = value
    return at + 1


@njit(cache=True, nogil=True)
def _get(data, at, end):
    """(value, place after it); the place is a negative fault where there is none."""
    value = 0
    for k in range(5):
        if at >= end:
            return 0, TRUNCATED
        byte = int(data[at])
        at += 1
        value |= (byte & 127) << (7 * k)
        if byte < 128:
            return value & 0xFFFFFFFF, at
    return 0, TOO_LONG


@njit(cache=True, nogil=True)
def _step(data, at, end, last):
    """A difference from `last`: (index, place after it)."""
    value, at = _get(data, at, end)
    return (last + ((value >> 1) ^ -(value & 1))) & 0xFFFFFFFF, at


# --- index sequences --------------------------------------------------------------------------------------------------


@njit(cache=True, nogil=True)
def encode_indices(indices, eager, out, at):
    """Any indices, each as the difference from one of two running baselines; returns the place after them.

    Args:
        eager: change the baseline whenever a step takes more than a byte, else only where the other's takes less.
    """
    last = np.zeros(2, np.int64)
    side = 0
    for value in indices:
        index = int(value)
        here, there = index - last[side], index - last[1 - side]
        if _length(here) > 1 and (eager or _length(there) < _length(here)):
            side, here = 1 - side, there
        at = _put(_zigzag(here) << 1 | side, out, at)
        last[side] = index
    return at


@njit(cache=True, nogil=True)
def _length(delta):
    size, bound = 1, 32
    while delta >= bound or delta < -bound:
        size, bound = size + 1, bound << 7
    return size


@njit(cache=True, nogil=True)
def decode_indices(data, end, top, out):
    """The inverse; `out` (n,) uint32 is written with indices of at most `top`."""
    last = np.zeros(2, np.int64)
    at = 1
    for i in range(len(out)):
        value, at = _get(data, at, end)
        if at < 0:
            return at
        side = value & 1
        last[side] = (last[side] + ((value >> 2) ^ -(value >> 1 & 1))) & 0xFFFFFFFF
        if last[side] > top:
            return TOO_LARGE
        out[i] = last[side]
    return at


# --- triangles --------------------------------------------------------------------------------------------------------


@njit(cache=True, nogil=True)
def _push_edge(edges, top, a, b):
    edges[top & 15, 0] = a
    edges[top & 15, 1] = b
    return top + 1


@njit(cache=True, nogil=True)
def _push(vertices, top, a):
    vertices[top & 15] = a
    return top + 1


@njit(cache=True, nogil=True)
def _recent(vertices, top, a, first, limit):
    """How long ago (in vertices) `a` was stored, at least `first` and less than `limit`; −1 if it was not."""
    for k in range(first, min(top, limit)):
        if vertices[(top - 1 - k) & 15] == a:
            return k
    return -1


@njit(cache=True, nogil=True)
def _corner(vertices, top, a, following):
    """Code of a corner of a triangle without a stored edge: 0 the next new index, 1–14 a recent one, 15 neither."""
    if a == following:
        return 0
    recent = _recent(vertices, top, a, 0, 14)
    return recent + 1 if recent >= 0 else 15


@njit(cache=True, nogil=True)
def _shared(edges, edge_top, vertices, top, a, b, c, following, last):
    """(edge number, third vertex's code, 0–15) of the best stored edge of a triangle; number −1 if none is stored."""
    best, best_code = -1, 15
    for x in range(min(edge_top, 15)):
        p, q = edges[(edge_top - 1 - x) & 15, 0], edges[(edge_top - 1 - x) & 15, 1]
        if p == a and q == b:
            third = c
        elif p == b and q == c:
            third = a
        elif p == c and q == a:
            third = b
        else:
            continue
        code = 0 if third == following else _recent(vertices, top, third, 1, 13)
        if code < 0:
            code = 13 if third == last - 1 else 14 if third == last + 1 else 15
        if best < 0 or code < 15:
            best, best_code = x, code
        if code < 15:
            break
    return best, best_code


@njit(cache=True, nogil=True)
def encode_triangles(indices, table, codes, data, seen):
    """Triangles → one code each, and further data; returns the length of the data.

    A triangle may come back turned (b, c, a): its sides and order stay.

    Args:
        indices: (3 n,) integers. table: (14,) uint8 pairs that have a code of their own; the first is 0.
        codes: (n,) uint8, written. data: uint8, at least 16 bytes a triangle, written.
        seen: (256,) int64, counts of the pairs that `table` could hold.
    """
    edges, vertices = np.zeros((16, 2), np.int64), np.zeros(16, np.int64)
    edge_top = top = following = last = at = 0
    for t in range(len(codes)):
        a, b, c = int(indices[3 * t]), int(indices[3 * t + 1]), int(indices[3 * t + 2])
        x, code = _shared(edges, edge_top, vertices, top, a, b, c, following, last)
        if x >= 0:
            p, q = edges[(edge_top - 1 - x) & 15, 0], edges[(edge_top - 1 - x) & 15, 1]
            c = c if p == a and q == b else a if p == b and q == c else b
            a, b = p, q
            codes[t] = x << 4 | code
            if code == 0:
                following += 1
            elif code == 15:
                at = _put(_zigzag(c - last), data, at)
            if code >= 13:
                last = c
            if code == 0 or code >= 13:
                top = _push(vertices, top, c)
        else:
            if b == following or (following and b == 0 and c == 1 and a == 2):
                a, b, c = b, c, a
            elif c == following or (following and c == 0 and a == 1 and b == 2):
                a, b, c = c, a, b
            restart = following > 0 and a == 0 and b == 1 and c == 2  # a second mesh begins in the same buffer
            if restart:
                following = 0
            first = a == following
            following += int(first)
            z = _corner(vertices, top, b, following)
            following += int(z == 0)
            w = _corner(vertices, top, c, following)
            following += int(w == 0)
            pair = z << 4 | w
            known = -1
            if first and z < 15 and w < 15 and not restart:
                seen[pair] += 1
                for y in range(14):
                    if table[y] == pair:
                        known = y
                        break
            if known >= 0:
                codes[t] = 0xF0 | known
            else:
                codes[t] = 0xFE if first else 0xFF
                data[at] = pair
                at += 1
            if not first:
                at = _put(_zigzag(a - last), data, at)
                last = a
            if z == 15:
                at = _put(_zigzag(b - last), data, at)
                last = b
            if w == 15:
                at = _put(_zigzag(c - last), data, at)
                last = c
            edge_top = _push_edge(edges, edge_top, b, a)
            top = _push(vertices, top, a)
            if z == 0 or z == 15:  # noqa: PLR1714
                top = _push(vertices, top, b)
            if w == 0 or w == 15:  # noqa: PLR1714
                top = _push(vertices, top, c)
        edge_top = _push_edge(edges, edge_top, c, b)
        edge_top = _push_edge(edges, edge_top, a, c)
    return at


@njit(cache=True, nogil=True)
def decode_triangles(data, end, limit, out):
    """The inverse: `out` (3 n,) uint32 is written with indices of at most `limit`.

    Args:
        data: uint8: header, n codes, further data up to `end`, and there the table of 16 bytes.
    """
    edges, vertices = np.zeros((16, 2), np.int64), np.zeros(16, np.int64)
    edge_top = top = following = last = 0
    count = len(out) // 3
    at = 1 + count
    for t in range(count):
        code = int(data[1 + t])
        x, y = code >> 4, code & 15
        if x < 15:
            if x >= edge_top or (0 < y < 13 and y >= top):
                return NOT_STORED
            a, b = edges[(edge_top - 1 - x) & 15, 0], edges[(edge_top - 1 - x) & 15, 1]
            if y == 0:
                c = following
                following += 1
            elif y < 13:
                c = vertices[(top - 1 - y) & 15]
            elif y < 15:
                c = (last + (1 if y == 14 else -1)) & 0xFFFFFFFF
            else:
                c, at = _step(data, at, end, last)
                if at < 0:
                    return at
            if y >= 13:
                last = c
            if y == 0 or y >= 13:
                top = _push(vertices, top, c)
        else:
            if y < 14:
                pair = int(data[end + y])
            else:
                if at >= end:
                    return TRUNCATED
                pair = int(data[at])
                at += 1
                if pair == 0:
                    following = 0
            z, w = pair >> 4, pair & 15
            if (0 < z < 15 and z > top) or (0 < w < 15 and w > top):
                return NOT_STORED
            a = b = c = following
            following += int(y < 15)
            if z == 0:
                b = following
                following += 1
            elif z < 15:
                b = vertices[(top - z) & 15]
            if w == 0:
                c = following
                following += 1
            elif w < 15:
                c = vertices[(top - w) & 15]
            if y == 15:
                a, at = _step(data, at, end, last)
                if at < 0:
                    return at
                last = a
            if z == 15:
                b, at = _step(data, at, end, last)
                if at < 0:
                    return at
                last = b
            if w == 15:
                c, at = _step(data, at, end, last)
                if at < 0:
                    return at
                last = c
            edge_top = _push_edge(edges, edge_top, b, a)
            top = _push(vertices, top, a)
            if z == 0 or z == 15:  # noqa: PLR1714
                top = _push(vertices, top, b)
            if w == 0 or w == 15:  # noqa: PLR1714
                top = _push(vertices, top, c)
        edge_top = _push_edge(edges, edge_top, c, b)
        edge_top = _push_edge(edges, edge_top, a, c)
        if a > limit or b > limit or c > limit:
            return TOO_LARGE
        out[3 * t], out[3 * t + 1], out[3 * t + 2] = a, b, c
    return at
