# mypy: disable-error-code="no-untyped-def,no-untyped-call,untyped-decorator,return-value,assignment"
# ruff: noqa: ANN001, ANN201, ANN202  (types are in the docstrings: numba infers them)
"""The loops of `meshopt` over vertex columns: pure functions, compiled by numba; the tests hold a plain form of them.

Decoders read strangers' bytes, so every read is checked; they return how much they read, or a negative `FAULTS` number.

Source: EXT_meshopt_compression (Khronos vendor extension, Kapoulkine 2022) and KHR_meshopt_compression (Khronos, release candidate of 2025), appendix A.
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
            at = _unpack(data, at, end, groups, 0, deltas)
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
def decode_vertices_1(data, end, channels, rows):
    """The same for version 1, which states for each byte of a row how its deltas are packed, and for each four what they are deltas of.

    Args:
        data, end, rows: as in `decode_vertices`. channels: (stride / 4,) uint8 of the tail: 0 bytes, 1 pairs of bytes, 2 (and a rotation in the high bits) four bytes.
    """
    count, stride = rows.shape
    at, block = 1, block_rows(stride)
    deltas = np.zeros((stride, block), np.uint8)
    previous = rows[0].copy()
    for start in range(0, count, block):
        n = min(block, count - start)
        groups = (n + GROUP - 1) // GROUP
        control = at
        at += stride // 4
        if at > end:
            return TRUNCATED
        for k in range(stride):
            mode = data[control + k // 4] >> (k % 4 * 2) & 3
            if mode == 2:
                deltas[k] = 0
            elif mode == 3:
                if at + n > end:
                    return TRUNCATED
                deltas[k, :n] = data[at : at + n]
                at += n
            else:
                at = _unpack(data, at, end, groups, 1 + mode, deltas[k])
                if at < 0:
                    return at
        for k in range(0, stride, 4):
            _add(deltas[k : k + 4], n, channels[k // 4], previous[k : k + 4], rows[start : start + n, k : k + 4])
    return at


@njit(cache=True, nogil=True)
def _add(deltas, n, channel, previous, rows):
    """(4, n) deltas onto the row before: four bytes of each of n rows, little-endian, and of `previous` the last ones."""
    size = (1, 2, 4)[channel & 3]
    whole, turn = (1 << 8 * size) - 1, channel >> 4
    for first in range(0, 4, size):
        value = 0
        for b in range(size):
            value |= int(previous[first + b]) << 8 * b
        for i in range(n):
            delta = 0
            for b in range(size):
                delta |= int(deltas[first + b, i]) << 8 * b
            value = value ^ ((delta >> turn | delta << (32 - turn)) & whole) if size == 4 else (value + ((delta >> 1) ^ -(delta & 1))) & whole
            for b in range(size):
                rows[i, first + b] = value >> 8 * b & 255
        for b in range(size):
            previous[first + b] = value >> 8 * b & 255


@njit(cache=True, nogil=True)
def _unpack(data, at, end, groups, widths, deltas):
    """One data block; `widths` says which bits a group may have: 0 of version 0; 1 and 2 of version 1, by its control mode."""
    header = at
    at += (groups + 3) // 4
    if at > end:
        return TRUNCATED
    for g in range(groups):
        mode = data[header + g // 4] >> (g % 4 * 2) & 3
        bits = ((0, 2, 4, 8), (0, 1, 2, 4), (1, 2, 4, 8))[widths][mode]
        group = deltas[g * GROUP : g * GROUP + GROUP]
        if bits == 0:
            group[:] = 0
        elif bits == 8:
            if at + GROUP > end:
                return TRUNCATED
            group[:] = data[at : at + GROUP]
            at += GROUP
        else:
            at = _unpack_bits(data, at, end, bits, group)
            if at < 0:
                return at
    return at


@njit(cache=True, nogil=True)
def _unpack_bits(data, at, end, bits, group):
    """Sixteen deltas of 1, 2 or 4 bits; all bits set means that a byte follows. Single bits stand from the lowest up, others from the highest down."""
    extra = at + 2 * bits
    if extra > end:
        return TRUNCATED
    sentinel = (1 << bits) - 1
    for i in range(GROUP):
        place = i * bits
        value = data[at + place // 8] >> (place % 8 if bits == 1 else 8 - bits - place % 8) & sentinel
        if value == sentinel:
            if extra >= end:
                return TRUNCATED
            value = int(data[extra])
            extra += 1
        group[i] = value
    return extra
