"""Water over and through structures on cell faces: weirs and gates. Pure array functions.

Weir: Q = C·L·h₁^1.5·(1 − (h₂/h₁)^1.5)^0.385 (Villemonte 1947), h₁ and h₂ the water levels above the crest.
Opening under a gate: the lesser of the weir's flow over its sill and Q = Cd·b·a·√(2g·Δ), Δ the difference of levels, or, when the
water behind is lower, the head over the middle of the opening.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from scenarios.kernels._numeric import serial
from scenarios.kernels.shallow import HALF_WALL, G


@serial
def weir(coefficient: float, length: float, up: float, down: float) -> Any:
    """Flow over a crest (m³/s) at levels above it, `up` ≥ `down`; 0 where the crest is dry."""
    if up <= 0.0 or up <= down:
        return 0.0
    free = coefficient * length * up * np.sqrt(up)
    if down <= 0.0:
        return free
    share = down / up
    return free * (1.0 - share * np.sqrt(share)) ** 0.385


@serial
def opening(discharge: float, coefficient: float, width: float, height: float, up: float, down: float) -> Any:
    """Flow through an opening of `height` above a sill (m³/s) at levels above the sill, `up` ≥ `down`."""
    if up <= 0.0 or up <= down or height <= 0.0 or width <= 0.0:
        return 0.0
    head = max(min(up - down, up - 0.5 * height), 0.0)
    through = discharge * width * height * np.sqrt(2.0 * G * head)
    over = weir(coefficient, width, up, down)
    return through if up > height and through < over else over


@serial
def move(state: Any, r: int, c: int, change: float, scale: bool) -> None:
    """Add `change` (m) to a cell with compensation; with `scale` water that leaves takes its momentum along."""
    old = state[0, r, c]
    part = state[3, r, c] + change
    new = old + part
    if scale and change < 0.0 and old > 0.0:
        keep = max(new / old, new - new)
        state[1, r, c] *= keep
        state[2, r, c] *= keep
    state[3, r, c] = part - (new - old)
    state[0, r, c] = new


@serial
def exchange(state: Any, z: Any, a: Any, b: Any, crest: Any, length: Any, coefficient: Any, sill: Any, width: Any, height: Any, discharge: Any,
             dt: float, area: float, scale: bool, moved: Any) -> None:  # fmt: skip
    """Let each piece of a structure pass its water for `dt`, one after the other, so that what one takes the next does not see.

    Never more than the giving cell holds, nor more than makes the two levels equal; what one cell loses the other gains to the bit.

    Args:
        state: (4, R, C) fields; z: (R, C) bed (m).
        a, b: (N, 2) int64 array cells on either side.
        crest: (N,) m, +inf closed to the top; length: (N,) m; coefficient: (N,) weirs over the crest.
        sill, width, height, discharge: (N,) the opening below: m, m, m (0: none), coefficient.
        moved: (N,) float64 volume from a to b, m³, added to.
    """
    kind = z.dtype.type
    for k in range(len(a)):
        ra, ca, rb, cb = a[k, 0], a[k, 1], b[k, 0], b[k, 1]
        z_a, z_b = np.float64(z[ra, ca]), np.float64(z[rb, cb])
        if z_a > HALF_WALL or z_b > HALF_WALL or crest[k] == -np.inf:
            continue
        h_a, h_b = max(np.float64(state[0, ra, ca]), 0.0), max(np.float64(state[0, rb, cb]), 0.0)
        up, down = z_a + h_a, z_b + h_b
        forward = up > down
        water = h_a if forward else h_b
        if not forward:
            up, down = down, up
        if water <= 0.0:
            continue
        ground = max(z_a, z_b)
        top = max(crest[k], ground)
        flow = weir(coefficient[k], length[k], up - top, down - top)
        if height[k] > 0.0:
            low = max(sill[k], ground)
            flow += opening(discharge[k], coefficient[k], width[k], height[k] - (low - sill[k]), up - low, down - low)
        if flow <= 0.0:
            continue
        depth = kind(min(flow * dt / area, water, 0.5 * (up - down)))
        if forward:
            move(state, ra, ca, -depth, scale)
            move(state, rb, cb, depth, False)
            moved[k] += np.float64(depth) * area
        else:
            move(state, rb, cb, -depth, scale)
            move(state, ra, ca, depth, False)
            moved[k] -= np.float64(depth) * area
