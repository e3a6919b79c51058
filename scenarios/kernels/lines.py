"""Faces of a grid that hold water back (levees, walls, gates): the fluxes across them are replaced. Pure array functions.

`mask` (R, C) uint8 has the shape of one field: bit 1 closes the face to the next column, bit 2 the face to the next row.
The kernels of the flow compute all fluxes as if nothing stood there and call these for the few tiles that hold a line,
so that a run without lines pays nothing.
"""

from __future__ import annotations

from typing import Any

from scenarios.kernels._numeric import serial

EAST, SOUTH = 1, 2


@serial
def close_faces(out: Any, mask: Any, row: int, c0: int, count: int, bit: int) -> None:
    """Local inertial: no discharge through closed faces; `out` (≥ count,) discharges of the faces of cells from column `c0`."""
    for j in range(count):
        if mask[row, c0 + j] & bit:
            out[j] = out[j] - out[j]


@serial
def flatten_slopes(s: Any, mask: Any, row: int, c0: int, i: int, count: int, bit: int) -> None:
    """Second order: cells on either side of a closed face keep their mean; `s` (4, rows, columns) half-slopes, window column 1 is cell `c0`."""
    up, left = (1, 0) if bit == SOUTH else (0, 1)
    for j in range(count):
        if (mask[row, c0 + j] | mask[row - up, c0 + j - left]) & bit:
            for field in range(4):
                s[field, i, 1 + j] = s[field, i, 1 + j] - s[field, i, 1 + j]
