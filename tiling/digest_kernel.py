# mypy: disable-error-code="no-untyped-def,no-untyped-call,untyped-decorator"
# ruff: noqa: ANN001  (types are in the docstring: numba infers them)
"""Hashes of texts, of bytes and of rows of numbers, eight bytes at a time; compiled by numba."""

from __future__ import annotations

import numpy as np

from twin.compiled import njit


@njit(cache=True, nogil=True)
def hash_bytes(offsets, data, result) -> None:
    """Of each text data[offsets[i] : offsets[i + 1]] a number of 64 bits, in which its length counts too.

    Args:
        offsets: (N + 1,) integers; data: uint8; result: (N,) uint64, written.
    """
    prime, scramble = np.uint64(0x9FB21C651E98DF25), np.uint64(0xBF58476D1CE4E5B9)
    for i in range(len(result)):
        at, end = np.int64(offsets[i]), np.int64(offsets[i + 1])
        total = np.uint64(end - at) * scramble
        while at < end:
            word = np.uint64(0)
            if at + 8 <= end:
                for k in range(8):
                    word |= np.uint64(data[at + k]) << np.uint64(8 * k)
            else:
                for k in range(end - at):
                    word |= np.uint64(data[at + k]) << np.uint64(8 * k)
            total = (total ^ word) * prime
            total ^= total >> np.uint64(32)
            at += 8
        result[i] = total * scramble


@njit(cache=True, nogil=True)
def hash_words(heads, ends, words, result) -> None:
    """Of each run of words, one behind the other, two numbers of 64 bits, in which its length counts too.

    Args:
        heads: (N, K) uint64, words that come before those of each run. ends: (N,) where each run ends; words: uint64; result: (N, 2) uint64, written.
    """
    prime, scramble, half = np.uint64(0x9FB21C651E98DF25), np.uint64(0xBF58476D1CE4E5B9), np.uint64(32)
    at = 0
    for i in range(len(result)):
        one = np.uint64(ends[i] - at) * scramble
        two = ~one
        for word in heads[i]:
            one = (one ^ word) * prime
            one ^= one >> half
            two = (two ^ word) * scramble
            two ^= two >> half
        while at < ends[i]:
            one = (one ^ words[at]) * prime
            one ^= one >> half
            two = (two ^ words[at]) * scramble
            two ^= two >> half
            at += 1
        result[i, 0], result[i, 1] = one * scramble, two * prime
