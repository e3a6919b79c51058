"""Water that falls on and soaks away from a grid: rain, infiltration, drainage. Pure array functions.

All add to the depth with the running compensation of `shallow` (field 3), so that millimetres added to metres of float32 arrive whole.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from scenarios.kernels._numeric import inline, parallel, serial


@inline
def add(h: Any, rest: Any, j: int, amount: Any) -> None:
    """Add `amount` (m) to the depth of cell j of a row; what float32 cannot hold of it stays in `rest` for the next time (Kahan 1965)."""
    change = rest[j] + amount
    old = h[j]
    new = old + change
    rest[j] = change - (new - old)
    h[j] = new


@parallel
def rain(state: Any, weight: Any, depth: float, ghost: int) -> None:
    """Add `depth` (m) times `weight` (R, C; 1 a plain cell, 0 a blocked one, more beside a roof that drains there) to every cell."""
    rows, columns = weight.shape
    amount = weight.dtype.type(depth)
    for i in numba.prange(ghost, rows - ghost):
        h, rest, share = state[0, i], state[3, i], weight[i]
        for j in range(ghost, columns - ghost):
            add(h, rest, j, amount * share[j])


@parallel
def take(state: Any, share: Any, limit: float, ghost: int, taken: Any) -> None:
    """Remove up to `limit` (m) times `share` (R, C) from every cell, never more than it has; adds depths removed to `taken` (R,) float64."""
    rows, columns = share.shape
    most = share.dtype.type(limit)
    zero = most - most
    for i in numba.prange(ghost, rows - ghost):
        total = 0.0
        h, rest, part = state[0, i], state[3, i], share[i]
        for j in range(ghost, columns - ghost):
            amount = min(max(h[j], zero), most * part[j])
            add(h, rest, j, -amount)
            total += np.float64(amount)
        taken[i] += total


@parallel
def green_ampt(state: Any, share: Any, soaked: Any, conductivity: Any, suction: Any, dt: float, ghost: int, taken: Any) -> None:
    """Green & Ampt (1911) over one step: the rate K·(1 + ψ·Δθ/F), limited by the water there.

    Solved without iteration by the explicit form of Li et al. (1976): F' = F + ½(K·dt − 2F + √((K·dt − 2F)² + 8·K·dt·(ψΔθ + F))).

    Args:
        state: fields; share: (R, C) pervious part; soaked: (R, C) cumulative depth F (m), changed in place.
        conductivity: (R, C) K, m/s; suction: (R, C) ψ·Δθ, m; dt: s; taken: (R,) float64 depths removed, added to.
    """
    rows, columns = share.shape
    kind = share.dtype.type
    seconds, two, eight, half = kind(dt), kind(2.0), kind(8.0), kind(0.5)
    zero = half - half
    for i in numba.prange(ghost, rows - ghost):
        total = 0.0
        h, rest, part, depth = state[0, i], state[3, i], share[i], soaked[i]
        rate, head = conductivity[i], suction[i]
        for j in range(ghost, columns - ghost):
            f, step = depth[j], rate[j] * seconds
            b = step - two * f
            amount = min(max(h[j], zero), half * (b + np.sqrt(b * b + eight * step * (head[j] + f))) * part[j])
            depth[j] = f + (amount / part[j] if part[j] > zero else zero)
            add(h, rest, j, -amount)
            total += np.float64(amount)
        taken[i] += total


@parallel
def record(state: Any, best: Any, ghost: int, time: float, interval: float, threshold: float, faces: bool) -> None:
    """Fold the present into the maxima.

    Args:
        state: (4, R, C) fields; with `faces` fields 1 and 2 are face discharges (local inertial), else cell discharges.
        best: (5, rows, columns) float32 without ghosts: depth (m), speed (m/s), hazard, arrival time (s, −1 before), time wet (s).
        time, interval: s, now and since the last call; threshold: m, depth from which a cell counts as wet.
    Hazard: depth·(speed + 0.5) + debris factor 0.5 (depth ≤ 0.25 m) or 1 (Defra/EA FD2321/TR1, 2006, urban), where deeper than the threshold.
    """
    rows, columns = best.shape[1], best.shape[2]
    for i in numba.prange(rows):
        for j in range(columns):
            h = state[0, i + ghost, j + ghost]
            if h <= threshold:
                continue
            if faces:
                qu = np.float32(0.5) * (state[1, i + ghost, j + ghost] + state[1, i + ghost, j + ghost - 1])
                qv = np.float32(0.5) * (state[2, i + ghost, j + ghost] + state[2, i + ghost - 1, j + ghost])
            else:
                qu, qv = state[1, i + ghost, j + ghost], state[2, i + ghost, j + ghost]
            speed = np.sqrt(qu * qu + qv * qv) / h
            hazard = h * (speed + 0.5) + (0.5 if h <= 0.25 else 1.0)
            best[0, i, j] = max(best[0, i, j], np.float32(h))
            best[1, i, j] = max(best[1, i, j], np.float32(speed))
            best[2, i, j] = max(best[2, i, j], np.float32(hazard))
            if best[3, i, j] < 0:
                best[3, i, j] = np.float32(time)
            best[4, i, j] += np.float32(interval)


@serial
def open_edges(state: Any, ghost: int, north: bool, south: bool, west: bool, east: bool, faces: bool) -> None:
    """Free outflow: ghosts repeat the edge cell; where its water flows inwards they mirror the discharges behind it, so that none comes in.

    Cell discharges only; of faces `inertial` sees to it itself.
    """
    rows, columns = state.shape[1], state.shape[2]
    for side in range(4):
        if not ((north, south, west, east)[side]):
            continue
        along = columns if side < 2 else rows
        field = 2 if side < 2 else 1
        for k in range(along):
            for g in range(ghost):
                back = ghost - 1 - g  # how far behind the edge cell its mirror image lies
                if side == 0:
                    r, c, r0, c0, rm, cm = g, k, ghost, k, ghost + back, k
                elif side == 1:
                    r, c, r0, c0, rm, cm = rows - 1 - g, k, rows - 1 - ghost, k, rows - 1 - ghost - back, k
                elif side == 2:
                    r, c, r0, c0, rm, cm = k, g, k, ghost, k, ghost + back
                else:
                    r, c, r0, c0, rm, cm = k, columns - 1 - g, k, columns - 1 - ghost, k, columns - 1 - ghost - back
                state[0, r, c] = state[0, r0, c0]
                if not faces:
                    outwards = state[field, r0, c0] * (-1 if side in (0, 2) else 1)
                    state[3 - field, r, c] = state[3 - field, r0, c0]
                    state[field, r, c] = state[field, r0, c0] if outwards >= 0 else -state[field, rm, cm]
