# mypy: disable-error-code="no-untyped-def,no-untyped-call,untyped-decorator,return-value,assignment"
# ruff: noqa: ANN001, ANN201, ANN202  (types are in the docstrings: numba infers them)
"""The loops of `meshopt` over vertex columns: pure functions, compiled by numba; the tests hold a plain form of them.

Decoders read strangers' bytes, so every read is checked; they return how much they read, or a negative `FAULTS` number.

Source: EXT_meshopt_compression (Khronos vendor extension, Kapoulkine 2022), appendix A.
"""

from __future__ import annotations

import numpy as np

from twin.compiled import njit

FAULTS = {
    -1: "it ends too early",
    -2: "it holds a number of more than five bytes",
    -3: "it refers to an edge or vertex that was not stored yet",
    -4: "an index does not fit its component type",
}
TRUNCATED, TOO_LONG, NOT_STORED, TOO_LARGE = FAULTS
GROUP = 16


@njit(cache=True, nogil=True)
def block_rows(stride):
    """Rows of a full attribute block: a multiple of 16, at most 256."""
    return min((8192 // stride) & ~15, 256)


@njit(cache=True, nogil=True)
def encode_vertices(rows, out):
    """Rows → header and blocks (the tail is the caller's); returns the bytes written.

    Args:
        rows: (n, stride) uint8, n ≥ 1. out: uint8, at least `n · stride` plus headers and 16 spare bytes.
    """
    count, stride = rows.shape
    out[0] = 0xA0
    at, block = 1, block_rows(stride)
    column = np.zeros(block + 1, np.uint8)
    deltas = np.zeros(block, np.uint8)
    for start in range(0, count, block):
        n = min(block, count - start)
        groups = (n + GROUP - 1) // GROUP
        deltas[n:] = 0
        for k in range(stride):
            column[0] = rows[max(start - 1, 0), k]
            part = rows[start : start + n, k]
            for i in range(n):
                column[i + 1] = part[i]
            for i in range(n):
                delta = np.uint8(column[i + 1] - column[i])
                deltas[i] = np.uint8(delta << 1) ^ np.uint8(-(delta >> 7))
            at = _pack(deltas, groups, out, at)
    return at


@njit(cache=True, nogil=True)
def _pack(deltas, groups, out, at):
    """One data block: two header bits a group, then each group in the smallest of its four forms."""
    header = at
    at += (groups + 3) // 4
    out[header:at] = 0
    for g in range(groups):
        first = g * GROUP
        used, over2, over4 = np.uint8(0), np.uint8(0), np.uint8(0)
        for i in range(GROUP):
            v = deltas[first + i]
            used |= v
            over2 += np.uint8(v >= 3)
            over4 += np.uint8(v >= 15)
        if used == 0:
            continue
        if over2 >= 12 and over4 >= 8:
            mode = 3
            for i in range(GROUP):
                out[at + i] = deltas[first + i]
            at += GROUP
        elif 4 + over2 <= 8 + over4:
            mode = 1
            at = _pack2(deltas, first, over2, out, at)
        else:
            mode = 2
            at = _pack4(deltas, first, over4, out, at)
        out[header + g // 4] |= np.uint8(mode << (g % 4 * 2))
    return at


@njit(cache=True, nogil=True)
def _pack2(deltas, first, over, out, at):
    """Sixteen 2-bit deltas, then those of 3 and more as bytes."""
    for i in range(first, first + GROUP, 4):
        out[at] = min(deltas[i], 3) << 6 | min(deltas[i + 1], 3) << 4 | min(deltas[i + 2], 3) << 2 | min(deltas[i + 3], 3)
        at += 1
    return _pack_large(deltas, first, 3, out, at) if over else at


@njit(cache=True, nogil=True)
def _pack4(deltas, first, over, out, at):
    """Sixteen 4-bit deltas, then those of 15 and more as bytes."""
    for i in range(first, first + GROUP, 2):
        out[at] = min(deltas[i], 15) << 4 | min(deltas[i + 1], 15)
        at += 1
    return _pack_large(deltas, first, 15, out, at) if over else at


@njit(cache=True, nogil=True)
def _pack_large(deltas, first, least, out, at):
    """The deltas of a group that are at least `least`; all are written, only those are kept: cheaper than to branch."""
    for i in range(first, first + GROUP):
        out[at] = deltas[i]
        at += int(deltas[i] >= least)
    return at


@njit(cache=True, nogil=True)
def decode_vertices(data, end, rows):
    """The inverse; returns the place after the last block.

    Args:
        data: uint8, starting with the header. end: where the tail begins. rows: (n, stride) uint8, written; before, row 0
            holds the baseline of the tail.
    """
    count, stride = rows.shape
    at, block = 1, block_rows(stride)
    deltas = np.zeros(block, np.uint8)
    previous = rows[0].copy()
    for start in range(0, count, block):
        n = min(block, count - start)
        groups = (n + GROUP - 1) // GROUP
        for k in range(stride):
            at = _unpack(data, at, end, groups, deltas)
            if at < 0:
                return at
            value = int(previous[k])
            for i in range(n):
                delta = int(deltas[i])
                value = (value + ((delta >> 1) ^ -(delta & 1))) & 255
                rows[start + i, k] = value
            previous[k] = value
    return at


@njit(cache=True, nogil=True)
def _unpack(data, at, end, groups, deltas):
    header = at
    at += (groups + 3) // 4
    if at > end:
        return TRUNCATED
    for g in range(groups):
        mode = data[header + g // 4] >> (g % 4 * 2) & 3
        group = deltas[g * GROUP : g * GROUP + GROUP]
        if mode == 0:
            group[:] = 0
        elif mode == 3:
            if at + GROUP > end:
                return TRUNCATED
            group[:] = data[at : at + GROUP]
            at += GROUP
        else:
            at = _unpack_bits(data, at, end, 2 * mode, group)
            if at < 0:
                return at
    return at


@njit(cache=True, nogil=True)
def _unpack_bits(data, at, end, bits, group):
    """Sixteen deltas of 2 or 4 bits; all bits set means that a byte follows."""
    extra = at + 2 * bits
    if extra > end:
        return TRUNCATED
    sentinel = (1 << bits) - 1
    for i in range(GROUP):
        place = i * bits
        value = data[at + place // 8] >> (8 - bits - place % 8) & sentinel
        if value == sentinel:
            if extra >= end:
                return TRUNCATED
            value = int(data[extra])
            extra += 1
        group[i] = value
    return extra
