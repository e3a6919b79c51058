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

from scenarios.kernels._numeric import apart, inverse_cube_root, parallel, serial
from scenarios.kernels.lines import EAST, SOUTH, close_faces
from scenarios.kernels.shallow import G, tell

GHOST = 3
THETA = 0.9


@apart
def _face_row(state: Any, z: Any, n: Any, field: int, row: int, c0: int, count: int, out: Any, dt: Any, g: Any, fall: Any, dry: Any) -> None:
    """New discharge through `count` faces of row `row` from column `c0`: field 1 to the next column, 2 to the next row."""
    dr, dc = (0, 1) if field == 1 else (1, 0)
    one, zero, quarter, theta = dry / dry, dry - dry, (dry / dry) * np.float32(0.25), (dry / dry) * np.float32(THETA)
    side, other = (one - theta) * np.float32(0.5), 3 - field
    rough = n[row, c0:]
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


@apart
def _share_row(x: Any, y: Any, water: Any, share: Any, i: int, row: int, c0: int, count: int, ratio: Any, dry: Any) -> None:
    """Share of the outflow that each cell of window row `i` can pay: `share` (rows, columns); `x`, `y` discharges of its faces; `water` the state."""
    zero, one = dry - dry, dry / dry
    east, west, south, north, depth, part = x[i, 2:], x[i, 1:], y[i, 2:], y[i - 1, 2:], water[0, row, c0 - 1 :], share[i, 2:]
    for j in range(count):
        leaving = ratio * (max(east[j], zero) + max(-west[j], zero) + max(south[j], zero) + max(-north[j], zero))
        part[j] = min(one, max(depth[j], zero) / max(leaving, dry * dry))


@apart
def _limit_row(x: Any, y: Any, share: Any, i: int, count: int) -> None:
    """Scale the discharges through the faces of window row `i` by the share of the cell that they leave."""
    q, left, right = x[i, 2:], share[i, 2:], share[i, 3:]
    for j in range(count):
        q[j] *= left[j] if q[j] > q[j] - q[j] else right[j]
    q, right = y[i, 2:], share[i + 1, 2:]
    for j in range(count):
        q[j] *= left[j] if q[j] > q[j] - q[j] else right[j]


@apart
def _update_row(base: Any, out: Any, x: Any, y: Any, i: int, row: int, c0: int, count: int, ratio: Any, deepest: Any) -> None:
    """New depths and discharges of one row of cells; `deepest` keeps the greatest depth by column."""
    east, west, south, north = x[i, 3:], x[i, 2:], y[i, 3:], y[i - 1, 3:]
    old, rest, new, q_x, q_y, keep = base[0, row, c0:], base[3, row, c0:], out[0, row, c0:], out[1, row, c0:], out[2, row, c0:], out[3, row, c0:]
    for j in range(count):
        change = rest[j] - ratio * ((east[j] - west[j]) + (south[j] - north[j]))
        here = old[j]
        value = here + change
        keep[j] = change - (value - here)
        new[j], q_x[j], q_y[j] = value, east[j], south[j]
        deepest[j] = max(deepest[j], value)


@serial
def _outwards_alone(x: Any, y: Any, r0: int, r1: int, c0: int, c1: int, total_rows: int, total_columns: int) -> None:
    """Nothing comes in over the rim of the grid: its faces take momentum from those behind them, which may flow inwards."""
    rows, columns, zero = r1 - r0, c1 - c0, x[0, 0] - x[0, 0]
    for i in range(1, rows + 4):
        if c0 == 3:
            x[i, 2] = min(x[i, 2], zero)
        if c1 == total_columns + 3:
            x[i, columns + 2] = max(x[i, columns + 2], zero)
    for j in range(1, columns + 4):
        if r0 == 3:
            y[2, j] = min(y[2, j], zero)
        if r1 == total_rows + 3:
            y[rows + 2, j] = max(y[rows + 2, j], zero)


@serial
def _strip(base: Any, out: Any, z: Any, n: Any, r0: int, r1: int, c0: int, c1: int, dt: Any, dx: Any, dry: Any, edges: Any, mask: Any, lined: bool, deepest: Any) -> None:
    """Advance the cells [r0, r1) × [c0, c1); greatest depths by column go to `deepest`."""
    g = (dry / dry) * np.float32(G)
    rows, columns, ratio = r1 - r0, c1 - c0, dt / dx
    x, y, share = np.zeros((rows + 6, columns + 6), z.dtype), np.zeros((rows + 6, columns + 6), z.dtype), np.zeros((rows + 6, columns + 6), z.dtype)
    for i in range(1, rows + 4):
        row = r0 - 3 + i
        if i > 1:
            _face_row(base, z, n, 1, row, c0 - 2, columns + 3, x[i, 1:], dt, g, ratio, dry)
        _face_row(base, z, n, 2, row, c0 - 1, columns + 2, y[i, 2:], dt, g, ratio, dry)
        if lined:
            close_faces(x[i, 1:], mask, row, c0 - 2, columns + 3, EAST)
            close_faces(y[i, 2:], mask, row, c0 - 1, columns + 2, SOUTH)
    _outwards_alone(x, y, r0, r1, c0, c1, z.shape[0] - 6, z.shape[1] - 6)
    for i in range(2, rows + 4):
        _share_row(x, y, base, share, i, r0 - 3 + i, c0, columns + 2, ratio, dry)
    for i in range(2, rows + 3):
        _limit_row(x, y, share, i, columns + 1)
    total_rows, total_columns = z.shape[0] - 6, z.shape[1] - 6
    for i in range(3, rows + 3):
        row = r0 - 3 + i
        _update_row(base, out, x, y, i, row, c0, columns, ratio, deepest)
        if c0 == 3:
            out[1, row, 2] = x[i, 2]
            edges[2 * total_columns + row - 3] += np.float64(x[i, 2])
        if c1 == total_columns + 3:
            edges[2 * total_columns + total_rows + row - 3] -= np.float64(x[i, columns + 2])
        if row == 3:
            for j in range(columns):
                out[2, 2, c0 + j] = y[i - 1, 3 + j]
                edges[c0 - 3 + j] += np.float64(y[i - 1, 3 + j])
        if row == total_rows + 2:
            for j in range(columns):
                edges[total_columns + c0 - 3 + j] -= np.float64(y[i, 3 + j])


@parallel
def advance(base: Any, out: Any, z: Any, n: Any, strips: Any, dt: float, dx: float, dry: float, edges: Any, result: Any, mask: Any) -> None:
    """One step of the strips named, `base` → `out`; arguments as in `shallow.advance`. `result` (tiles, 2): long-wave speed (m/s), greatest depth (m)."""
    kind = z.dtype.type
    step, cell, film = kind(dt), kind(dx), kind(dry)
    for t in numba.prange(len(strips)):
        r0, r1, c0, c1 = strips[t, 0], strips[t, 1], strips[t, 2], strips[t, 3]
        deepest = np.zeros(c1 - c0, z.dtype)
        _strip(base, out, z, n, r0, r1, c0, c1, step, cell, film, edges, mask, strips[t, 5] > 0, deepest)
        tell(result, strips[t, 4], np.sqrt(kind(G) * np.max(deepest)), deepest)
