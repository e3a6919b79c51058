"""Local inertial approximation of the shallow-water equations with an outflow limiter. Pure array functions.

Discharges stand on faces (de Almeida & Bates 2012/2013, doi:10.1029/2011WR011570, doi:10.1002/wrcr.20366):
q' = (θq + (1−θ)/2·(q₋ + q₊) − g·h_f·dt·∂η/∂x) / (1 + g·dt·n²·|q|·h_f^(-7/3)). Advection of momentum is left out, so the scheme is for
slow flow (Froude number well below 1); the caller warns where it is not.

Limiter: the four outflows of a cell are scaled together so that they take no more than the water in it. Without it a cell at
a building's wall hands out more than it has, and water is made from nothing.

Fields `state` (4, rows + 6, columns + 6): depth, discharge through the face to the next column, discharge through the face to
the next row (m²/s), compensation of the depth. Three ghost cells on every side; walls as in `shallow`.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from scenarios.kernels._numeric import inverse_cube_root, parallel, serial
from scenarios.kernels.lines import EAST, SOUTH, close_faces
from scenarios.kernels.shallow import G

GHOST = 3
THETA = 0.9


@serial
def _face_row(state: Any, z: Any, field: int, row: int, c0: int, count: int, out: Any, dt: Any, rough: Any, g: Any, fall: Any, dry: Any) -> None:
    """New discharge through `count` faces of row `row` from column `c0`: field 1 to the next column, 2 to the next row."""
    dr, dc = (0, 1) if field == 1 else (1, 0)
    one, zero, quarter, theta = dry / dry, dry - dry, (dry / dry) * np.float32(0.25), (dry / dry) * np.float32(THETA)
    side, other = (one - theta) * np.float32(0.5), 3 - field
    h_a, h_b, z_a, z_b = state[0, row, c0:], state[0, row + dr, c0 + dc :], z[row, c0:], z[row + dr, c0 + dc :]
    q, back, ahead = state[field, row, c0:], state[field, row - dr, c0 - dc :], state[field, row + dr, c0 + dc :]
    t0, t1, t2, t3 = state[other, row, c0:], state[other, row - dc, c0 - dr :], state[other, row + dr, c0 + dc :], state[other, row + dr - dc, c0 + dc - dr :]
    for j in range(count):
        level_a, level_b = max(h_a[j], zero) + z_a[j], max(h_b[j], zero) + z_b[j]
        depth = max(level_a, level_b) - max(z_a[j], z_b[j])
        deep = max(depth, dry)
        across = quarter * (t0[j] + t1[j] + t2[j] + t3[j])
        root = inverse_cube_root(deep)
        square = root * root
        drag = rough[j] * rough[j] * g * dt * np.sqrt(q[j] * q[j] + across * across) * root * square * square * square
        new = (theta * q[j] + side * (back[j] + ahead[j]) + g * deep * (level_a - level_b) * fall) / (one + drag)
        out[j] = new if depth > dry else zero


@serial
def _tile(base: Any, out: Any, z: Any, n: Any, r0: int, r1: int, c0: int, c1: int, dt: Any, dx: Any, dry: Any, edges: Any, mask: Any, lined: bool) -> Any:
    """Advance the cells [r0, r1) × [c0, c1); the greatest depth."""
    zero, one, g = dry - dry, dry / dry, (dry / dry) * np.float32(G)
    rows, columns = r1 - r0, c1 - c0
    x, y, share = np.zeros((rows + 6, columns + 6), z.dtype), np.zeros((rows + 6, columns + 6), z.dtype), np.zeros((rows + 6, columns + 6), z.dtype)
    for i in range(1, rows + 4):
        row = r0 - 3 + i
        if i > 1:
            _face_row(base, z, 1, row, c0 - 2, columns + 3, x[i, 1:], dt, n[row, c0 - 2 :], g, dt / dx, dry)
        _face_row(base, z, 2, row, c0 - 1, columns + 2, y[i, 2:], dt, n[row, c0 - 1 :], g, dt / dx, dry)
        if lined:
            close_faces(x[i, 1:], mask, row, c0 - 2, columns + 3, EAST)
            close_faces(y[i, 2:], mask, row, c0 - 1, columns + 2, SOUTH)
    ratio = dt / dx
    for i in range(2, rows + 4):
        east, west, south, north, water, part = x[i, 2:], x[i, 1:], y[i, 2:], y[i - 1, 2:], base[0, r0 - 3 + i, c0 - 1 :], share[i, 2:]
        for j in range(columns + 2):
            leaving = ratio * (max(east[j], zero) + max(-west[j], zero) + max(south[j], zero) + max(-north[j], zero))
            part[j] = min(one, max(water[j], zero) / max(leaving, dry * dry))
    for i in range(2, rows + 3):
        q, left, right, below = x[i, 2:], share[i, 2:], share[i, 3:], share[i + 1, 2:]
        for j in range(columns + 1):
            q[j] *= left[j] if q[j] > zero else right[j]
        q = y[i, 2:]
        for j in range(columns + 1):
            q[j] *= left[j] if q[j] > zero else below[j]
    deepest = np.zeros(columns, z.dtype)
    total_rows, total_columns = z.shape[0] - 6, z.shape[1] - 6
    for i in range(3, rows + 3):
        row = r0 - 3 + i
        east, west, south, north = x[i, 3:], x[i, 2:], y[i, 3:], y[i - 1, 3:]
        old, rest, new, q_x, q_y, keep = base[0, row, c0:], base[3, row, c0:], out[0, row, c0:], out[1, row, c0:], out[2, row, c0:], out[3, row, c0:]
        for j in range(columns):
            change = rest[j] - ratio * ((east[j] - west[j]) + (south[j] - north[j]))
            here = old[j]
            value = here + change
            keep[j] = change - (value - here)
            new[j], q_x[j], q_y[j] = value, east[j], south[j]
            deepest[j] = max(deepest[j], value)
        if c0 == 3:
            out[1, row, 2] = west[0]
            edges[2 * total_columns + row - 3] += np.float64(west[0])
        if c1 == total_columns + 3:
            edges[2 * total_columns + total_rows + row - 3] -= np.float64(east[columns - 1])
        if row == 3:
            for j in range(columns):
                out[2, 2, c0 + j] = north[j]
                edges[c0 - 3 + j] += np.float64(north[j])
        if row == total_rows + 2:
            for j in range(columns):
                edges[total_columns + c0 - 3 + j] -= np.float64(south[j])
    return np.max(deepest)


@parallel
def advance(base: Any, out: Any, z: Any, n: Any, tiles: Any, dt: float, dx: float, dry: float, edges: Any, result: Any, mask: Any, lined: Any) -> None:
    """One step of the tiles named, `base` → `out`; arguments as in `shallow.advance`. `result` (N, 2): long-wave speed (m/s), greatest depth (m)."""
    kind = z.dtype.type
    step, cell, film = kind(dt), kind(dx), kind(dry)
    for t in numba.prange(len(tiles)):
        depth = _tile(base, out, z, n, tiles[t, 0], tiles[t, 1], tiles[t, 2], tiles[t, 3], step, cell, film, edges, mask, lined[t])
        result[t, 0], result[t, 1] = np.sqrt(kind(G) * depth), depth
