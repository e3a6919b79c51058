# mypy: disable-error-code="no-untyped-def,no-untyped-call,untyped-decorator"
# ruff: noqa: ANN001  (types are in the docstring: numba infers them)
"""The hash of `twin.keys.id_hash` as one compiled loop over many texts."""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def polynomial(offsets, data, result) -> None:
    """Of each text data[offsets[i] : offsets[i + 1]]: Σ (byte + 1) · p^(place + 1) modulo 2^64, scrambled.

    Args:
        offsets: (N + 1,) integers; data: uint8; result: (N,) uint64, written.
    """
    prime, scramble = np.uint64(0x100000001B3), np.uint64(0xBF58476D1CE4E5B9)
    for i in range(len(result)):
        power, total = prime, np.uint64(0)
        for k in range(offsets[i], offsets[i + 1]):
            total += (np.uint64(data[k]) + np.uint64(1)) * power
            power *= prime
        total ^= total >> np.uint64(29)
        result[i] = total * scramble
