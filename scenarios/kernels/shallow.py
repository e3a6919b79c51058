"""Full shallow-water equations on a square grid: finite volumes, HLLC, first or second order. Pure array functions.

Fields live in one array `state` (4, rows + 4, columns + 4): depth h (m), discharges hu and hv (m²/s; u to growing columns,
v to growing rows) and the running compensation of h (Kahan 1965: what rounding has withheld from h, to be added with the next
change). Two ghost cells lie on every side. Bed `z` and Manning's `n` have the shape of one field.

Face fluxes: HLLC (Toro 2001) with two-rarefaction wave speeds. Bed: the hydrostatic reconstruction of Chen & Noelle (2017,
doi:10.1137/15M1053074), which keeps lakes at rest, depths positive and accelerates thin water on steps higher than its
depth. First order adds `_sloping`, our own step before it: the part of a bed step that the water surface follows is a slope,
not a step, so uniform flow down a plane is exact at any ratio of step to depth (the aim of Xia et al. 2017,
doi:10.1002/2016WR020055). Second order does the same with the steps that its slopes leave at the faces (`_sloping_rest`). Friction is point-implicit: u + dt·g·n²·h^(-4/3)·|u|·u = u* is solved exactly, so that the
steady state of thin, stiff flow is right whatever the time step.
Depth may fall below zero by a rounding error; such a cell counts as dry and keeps its debt: nothing is clipped, so mass is kept.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from scenarios.kernels._numeric import apart, inline, inverse_cube_root, parallel, serial
from scenarios.kernels.lines import EAST, SOUTH, flatten_slopes

GHOST = 2
TILE_ROWS, TILE_COLUMNS = 32, 128
G = 9.81
#: Steepness of the slope limiter on a level bed: 1 is minmod, 2 monotonised central differences. Where the bed differs between cells by
#: 1/16 of the depth and more it is 1: steeper limits of surface and depth disagree there and the thin flow starts to waver.
STEEP = 1.8
#: Bed of a cell that is a wall (a blocked building, a closed edge), m above the run's datum; real beds lie below half of it.
WALL = np.float32(20000.0)
HALF_WALL = np.float32(10000.0)


@inline
def _limited(one: Any, two: Any, half: Any, steep: Any) -> Any:
    """Generalised minmod of two differences (van Leer 1979; Nessyahu & Tadmor 1990): 0 where they disagree in sign."""
    zero = half - half
    middle, a, b = half * (one + two), steep * one, steep * two
    return max(min(middle, max(min(a, b), zero)), min(max(a, b), zero))


@inline
def _sloping(h_l: Any, z_l: Any, h_r: Any, z_r: Any) -> Any:
    """The part of the bed step that the surface follows, all of it where the depths differ by less than twice, none at a shore."""
    step, fall = z_r - z_l, (z_r + h_r) - (z_l + h_l)
    zero = step - step
    both = max(min(step, fall), min(max(step, fall), zero))  # the one nearer to zero, or zero where their signs differ
    low = min(h_l, h_r)
    return both * min((low + low) / max(max(h_l, h_r), zero + np.float32(1e-12)), (h_l - h_l) + np.float32(1.0))


@inline
def _sloping_rest(h_l: Any, z_l: Any, h_r: Any, z_r: Any) -> Any:
    """`_sloping` of the step that limited slopes leave at a face: in full from a quarter of the depth on, hardly any of it in deep water.

    Without it films of rain on uneven ground fall over that step (seen: a quarter too little water on the sides of a valley).
    """
    step, fall = z_r - z_l, (z_r + h_r) - (z_l + h_l)
    zero = step - step
    both = max(min(step, fall), min(max(step, fall), zero))
    low, high = min(h_l, h_r), max(max(h_l, h_r), zero + np.float32(1e-12))
    size = np.float32(4.0) * abs(step)
    return both * ((min(low + low, high) * min(size, low)) / (high * max(low, zero + np.float32(1e-12))))


@inline
def _hllc(g: Any, half: Any, quarter: Any, tiny: Any, h_l: Any, e_l: Any, z_l: Any, u_l: Any, v_l: Any, h_r: Any, e_r: Any, z_r: Any, u_r: Any, v_r: Any) -> Any:
    """Fluxes across one face between two states over a bed step.

    Returns:
        (mass, momentum for the left cell, for the right cell, transverse momentum, fastest wave). The normal momenta leave out the
        hydrostatic pressure of their own cell's face depth, so that water at rest gives exact zeros.
    """
    zero = half - half
    wall_l, wall_r = z_l > HALF_WALL, z_r > HALF_WALL  # a mirror stands for the wall: what runs against it is thrown back
    h_m, e_m, z_m, u_o, v_m = (h_r if wall_l else h_l), (e_r if wall_l else e_l), (z_r if wall_l else z_l), (-u_r if wall_l else u_l), (v_r if wall_l else v_l)
    h_r, e_r, z_r, u_r, v_r = (h_l if wall_r else h_r), (e_l if wall_r else e_r), (z_l if wall_r else z_r), (-u_l if wall_r else u_r), (v_l if wall_r else v_r)
    h_l, e_l, z_l, u_l, v_l = h_m, e_m, z_m, u_o, v_m
    bed = min(max(z_l, z_r), min(e_l, e_r))
    a, b = ((e_l - bed) if bed >= z_l else h_l), ((e_r - bed) if bed >= z_r else h_r)  # equal to the bit where the levels are
    a, b = max(a, zero), max(b, zero)
    c_a, c_b = np.sqrt(g * a), np.sqrt(g * b)
    u_m, c_m = half * (u_l + u_r) + c_a - c_b, half * (c_a + c_b) + quarter * (u_l - u_r)
    left = min(u_l - c_a, u_m - c_m)
    right = max(u_r + c_b, u_m + c_m)
    left, right = (left if b > tiny else u_l - c_a), (right if b > tiny else u_l + c_a + c_a)
    left, right = (left if a > tiny else u_r - c_b - c_b), (right if a > tiny else u_r + c_b)
    left, right = min(left, zero), max(right, zero)
    width = right - left
    inverse = half / max(half * width, tiny)
    q_a, q_b = a * u_l, b * u_r
    pressure = half * g * (a - b) * (a + b)
    mass = q_a + left * (q_a - q_b + right * (b - a)) * inverse
    own = q_a * u_l + left * (q_a * u_l - q_b * u_r + pressure + right * (q_b - q_a)) * inverse
    for_l = own - g * h_l * max(zero, z_l - bed)
    for_r = own + pressure - g * h_r * max(zero, z_r - bed)
    return mass, for_l, for_r, mass * (v_l if mass > zero else v_r), (max(right, -left) if a + b > tiny else zero)


@apart
def _primitives(state: Any, z: Any, p: Any, row: int, c0: int, k: int, columns: int, dry: Any) -> None:
    """Depth ≥ 0, bed, u and v of one row into row `k` of the scratch array `p` (4, rows, columns); no speed below the dry depth."""
    zero = dry - dry
    h, hu, hv, bed = state[0, row, c0:], state[1, row, c0:], state[2, row, c0:], z[row, c0:]
    p_h, p_z, p_u, p_v = p[0, k], p[1, k], p[2, k], p[3, k]
    for j in range(columns):
        depth = max(h[j], zero)
        inverse = (np.float32(1.0) if depth > dry else zero) / max(depth, dry)
        p_h[j], p_z[j], p_u[j], p_v[j] = depth, bed[j], hu[j] * inverse, hv[j] * inverse


@apart
def _first_order_row(p: Any, a: int, b: int, start: int, shift: int, count: int, along: int, flux: Any, g: Any, half: Any, quarter: Any, tiny: Any) -> Any:
    """Fluxes of `count` faces between the cells of row `a` from column `start` and those of row `b`, `shift` columns on; `along` 2: the normal velocity is u, 3: it is v."""
    h_l, z_l, u_l, v_l = p[0, a, start:], p[1, a, start:], p[along, a, start:], p[5 - along, a, start:]
    h_r, z_r, u_r, v_r = p[0, b, start + shift :], p[1, b, start + shift :], p[along, b, start + shift :], p[5 - along, b, start + shift :]
    f0, f1, f2, f3 = flux[0], flux[1], flux[2], flux[3]
    fastest = flux[4]
    for j in range(count):
        slope = half * _sloping(h_l[j], z_l[j], h_r[j], z_r[j])
        mass, for_l, for_r, across, speed = _hllc(
            g, half, quarter, tiny,
            h_l[j], (z_l[j] + h_l[j]) + slope, z_l[j] + slope, u_l[j], v_l[j],
            h_r[j], (z_r[j] + h_r[j]) - slope, z_r[j] - slope, u_r[j], v_r[j])  # fmt: skip
        f0[j], f1[j], f2[j], f3[j] = mass, for_l + g * h_l[j] * slope, for_r - g * h_r[j] * slope, across
        fastest[j] = max(fastest[j], speed)


@apart
def _second_order_row(p: Any, s: Any, a: int, b: int, s_a: int, s_b: int, start: int, shift: int, count: int, along: int, flux: Any, g: Any, half: Any, quarter: Any, tiny: Any) -> Any:
    """As `_first_order_row`, with half-slopes `s` (surface, depth, u, v) of the cells in its rows `s_a` and `s_b`."""
    h_l, z_l, u_l, v_l = p[0, a, start:], p[1, a, start:], p[along, a, start:], p[5 - along, a, start:]
    h_r, z_r, u_r, v_r = p[0, b, start + shift :], p[1, b, start + shift :], p[along, b, start + shift :], p[5 - along, b, start + shift :]
    se_l, sh_l, su_l, sv_l = s[0, s_a, start:], s[1, s_a, start:], s[along, s_a, start:], s[5 - along, s_a, start:]
    se_r, sh_r, su_r, sv_r = s[0, s_b, start + shift :], s[1, s_b, start + shift :], s[along, s_b, start + shift :], s[5 - along, s_b, start + shift :]
    f0, f1, f2, f3 = flux[0], flux[1], flux[2], flux[3]
    fastest = flux[4]
    for j in range(count):
        d_l, y_l, b_l = h_l[j] + sh_l[j], (z_l[j] + h_l[j]) + se_l[j], z_l[j] + (se_l[j] - sh_l[j])
        d_r, y_r, b_r = h_r[j] - sh_r[j], (z_r[j] + h_r[j]) - se_r[j], z_r[j] - (se_r[j] - sh_r[j])
        slope = half * _sloping_rest(d_l, b_l, d_r, b_r)
        mass, for_l, for_r, across, speed = _hllc(
            g, half, quarter, tiny,
            d_l, y_l + slope, b_l + slope, u_l[j] + su_l[j], v_l[j] + sv_l[j],
            d_r, y_r - slope, b_r - slope, u_r[j] - su_r[j], v_r[j] - sv_r[j])  # fmt: skip
        f0[j], f1[j], f2[j], f3[j] = mass, for_l + g * d_l * slope, for_r - g * d_r * slope, across
        fastest[j] = max(fastest[j], speed)


@serial
def _closed_row(p: Any, a: int, b: int, start: int, shift: int, count: int, along: int, flux: Any, g: Any, half: Any, quarter: Any, tiny: Any, mask: Any, row: int, c0: int, bit: int) -> None:
    """Replaces the fluxes of closed faces (see `lines`) by those of a wall on either side; arguments as in `_first_order_row`."""
    zero = half - half
    for j in range(count):
        if mask[row, c0 + j] & bit:
            h, z, u, v = p[0, a, start + j], p[1, a, start + j], p[along, a, start + j], p[5 - along, a, start + j]
            _, for_l, _, _, speed = _hllc(g, half, quarter, tiny, h, z + h, z, u, v, h, z + h, z, -u, v)
            k = start + shift + j
            h, z, u, v = p[0, b, k], p[1, b, k], p[along, b, k], p[5 - along, b, k]
            _, _, for_r, _, other = _hllc(g, half, quarter, tiny, h, z + h, z, -u, v, h, z + h, z, u, v)
            flux[0, j], flux[1, j], flux[2, j], flux[3, j] = zero, for_l, for_r, zero
            flux[4, j] = max(flux[4, j], max(speed, other))


@apart
def _half_slopes(p: Any, s: Any, before: int, here: int, after: int, shift: int, k: int, columns: int, half: Any) -> None:
    """Half of the limited difference over the cells of row `here` of `p`, from rows `before` and `after` and columns `∓ shift`, into row `k` of `s`; (surface, depth, u, v)."""
    zero, one, extra, sixteen, film = half - half, half + half, half * np.float32(2.0 * (STEEP - 1.0)), half * np.float32(32.0), half * np.float32(2e-9)
    h_b, h_h, h_a = p[0, before, 1 - shift :], p[0, here, 1:], p[0, after, 1 + shift :]
    z_b, z_h, z_a = p[1, before, 1 - shift :], p[1, here, 1:], p[1, after, 1 + shift :]
    u_b, u_h, u_a = p[2, before, 1 - shift :], p[2, here, 1:], p[2, after, 1 + shift :]
    v_b, v_h, v_a = p[3, before, 1 - shift :], p[3, here, 1:], p[3, after, 1 + shift :]
    s_e, s_h, s_u, s_v = s[0, k, 1:], s[1, k, 1:], s[2, k, 1:], s[3, k, 1:]
    for j in range(columns - 2):
        uneven = sixteen * max(abs(z_a[j] - z_h[j]), abs(z_h[j] - z_b[j]))
        steep = one + extra * max(zero, one - uneven / max(h_h[j], film))
        level = z_h[j] + h_h[j]
        s_e[j] = half * _limited(level - (z_b[j] + h_b[j]), (z_a[j] + h_a[j]) - level, half, steep)
        s_h[j] = half * _limited(h_h[j] - h_b[j], h_a[j] - h_h[j], half, steep)
        s_u[j] = half * _limited(u_h[j] - u_b[j], u_a[j] - u_h[j], half, steep)
        s_v[j] = half * _limited(v_h[j] - v_b[j], v_a[j] - v_h[j], half, steep)


@inline
def _kept(new: Any, qu: Any, qv: Any, push: Any, rough: Any, dry: Any) -> Any:
    """Share of the discharge that friction leaves, solved exactly (see above); `push` is dt·g."""
    zero, one = dry - dry, dry / dry
    root = inverse_cube_root(max(new, dry))
    inverse = root * root * root
    drag = push * rough * rough * root * inverse * (np.sqrt(qu * qu + qv * qv) * inverse)
    return (one + one) / (one + np.sqrt(one + np.float32(4.0) * drag)) if new > dry else zero


# Two functions and not one with a switch: with the switch inside, LLVM leaves the loop scalar (seen: half of all time).
@apart
def _update_first(base: Any, out: Any, n: Any, row: int, c0: int, count: int, fx: Any, fa: Any, fb: Any, push: Any, dtdx: Any, dry: Any, deepest: Any) -> None:
    """New values of one row of cells: base + dt·L(base), then friction; `deepest` keeps the greatest depth by column."""
    h0, q0, r0, k0 = base[0, row, c0:], base[1, row, c0:], base[2, row, c0:], base[3, row, c0:]
    h2, q2, r2, k2, rough = out[0, row, c0:], out[1, row, c0:], out[2, row, c0:], out[3, row, c0:], n[row, c0:]
    m0, m2, m3, w0, w1, w3 = fx[0], fx[2], fx[3], fx[0, 1:], fx[1, 1:], fx[3, 1:]
    a0, a2, a3, b0, b1, b3 = fa[0], fa[2], fa[3], fb[0], fb[1], fb[3]
    for j in range(count):
        change = k0[j] - dtdx * ((w0[j] - m0[j]) + (b0[j] - a0[j]))
        qu = q0[j] - dtdx * ((w1[j] - m2[j]) + (b3[j] - a3[j]))
        qv = r0[j] - dtdx * ((w3[j] - m3[j]) + (b1[j] - a2[j]))
        old = h0[j]
        new = old + change
        k2[j] = change - (new - old)
        h2[j] = new
        keep = _kept(new, qu, qv, push, rough[j], dry)
        q2[j], r2[j] = qu * keep, qv * keep
        deepest[j] = max(deepest[j], new)


@apart
def _update_second(base: Any, stage: Any, out: Any, n: Any, p: Any, row: int, k: int, c0: int, count: int, fx: Any, fa: Any, fb: Any, weight: Any, push: Any, dtdx: Any, pull: Any,
                   dry: Any, sx: Any, sy: Any, s_k: int, deepest: Any) -> None:  # fmt: skip
    """As `_update_first`: base + weight·((stage − base) + dt·L(stage)), then friction; `pull` is 2·g·dt/dx; the row is `k` of `p`, 0 of `sx`, `s_k` of `sy`."""
    rest = dry / dry - weight
    h0, q0, r0, k0 = base[0, row, c0:], base[1, row, c0:], base[2, row, c0:], base[3, row, c0:]
    h1, q1, r1, k1 = stage[0, row, c0:], stage[1, row, c0:], stage[2, row, c0:], stage[3, row, c0:]
    h2, q2, r2, k2, rough = out[0, row, c0:], out[1, row, c0:], out[2, row, c0:], out[3, row, c0:], n[row, c0:]
    m0, m2, m3, w0, w1, w3 = fx[0], fx[2], fx[3], fx[0, 1:], fx[1, 1:], fx[3, 1:]
    a0, a2, a3, b0, b1, b3 = fa[0], fa[2], fa[3], fb[0], fb[1], fb[3]
    gx, gy, depth = sx[0, 0, 2:], sy[0, s_k, 2:], p[0, k, 2:]
    for j in range(count):
        old = h0[j]
        change = weight * ((h1[j] - old) - dtdx * ((w0[j] - m0[j]) + (b0[j] - a0[j])) + k1[j]) + rest * k0[j]
        gain_u = -dtdx * ((w1[j] - m2[j]) + (b3[j] - a3[j])) - pull * depth[j] * gx[j]
        gain_v = -dtdx * ((w3[j] - m3[j]) + (b1[j] - a2[j])) - pull * depth[j] * gy[j]
        qu = q0[j] + weight * ((q1[j] - q0[j]) + gain_u)
        qv = r0[j] + weight * ((r1[j] - r0[j]) + gain_v)
        new = old + change
        k2[j] = change - (new - old)
        h2[j] = new
        keep = _kept(new, qu, qv, push, rough[j], dry)
        q2[j], r2[j] = qu * keep, qv * keep
        deepest[j] = max(deepest[j], new)


@serial
def _strip(base: Any, stage: Any, out: Any, z: Any, n: Any, r0: int, r1: int, c0: int, c1: int, dt: Any, dx: Any, dry: Any, weight: Any, second: bool, edges: Any,
           mask: Any, lined: bool, deepest: Any) -> Any:  # fmt: skip
    """Advance the cells [r0, r1) × [c0, c1); the fastest wave. Adds mass through the domain's edges to `edges`, greatest depths by column go to `deepest`.

    Rows pass through scratch arrays of four rows (window row i stands in row i & 3), so that these stay in the nearest cache.
    """
    kind = dry / dry
    half, quarter, g, tiny = kind * np.float32(0.5), kind * np.float32(0.25), kind * np.float32(G), kind * np.float32(1e-12)
    pull = (g + g) * dt / dx
    rows, columns = r1 - r0, c1 - c0
    p = np.empty((4, 4, columns + 4), base.dtype)
    # row 4 of a flux array keeps a maximum by column: a running maximum in one scalar would keep the loops from vectorising
    flux_x, flux_a, flux_b = np.zeros((5, columns + 1), p.dtype), np.zeros((5, columns), p.dtype), np.zeros((5, columns), p.dtype)
    sx, sy = (np.empty((4, 1, columns + 4), p.dtype), np.empty((4, 2, columns + 4), p.dtype)) if second else (p, p)
    for i in range(3 if second else 2):
        _primitives(stage, z, p, r0 - 2 + i, c0 - 2, i, columns + 4, dry)
    if second:
        _half_slopes(p, sy, 0, 1, 2, 0, 1, columns + 4, half)
        if lined:
            flatten_slopes(sy, mask, r0 - 1, c0 - 1, 1, columns + 2, SOUTH)
    total_rows, total_columns = z.shape[0] - 4, z.shape[1] - 4
    for i in range(1, rows + 2):
        row, a, b = r0 + i - 2, i & 3, (i + 1) & 3
        if second:
            _primitives(stage, z, p, row + 2, c0 - 2, (i + 2) & 3, columns + 4, dry)
            _half_slopes(p, sy, a, b, (i + 2) & 3, 0, (i + 1) & 1, columns + 4, half)
            if lined:
                flatten_slopes(sy, mask, row + 1, c0 - 1, (i + 1) & 1, columns + 2, SOUTH)
            _second_order_row(p, sy, a, b, i & 1, (i + 1) & 1, 2, 0, columns, 3, flux_b, g, half, quarter, tiny)
        else:
            _primitives(stage, z, p, row + 1, c0 - 2, b, columns + 4, dry)
            _first_order_row(p, a, b, 2, 0, columns, 3, flux_b, g, half, quarter, tiny)
        if lined:
            _closed_row(p, a, b, 2, 0, columns, 3, flux_b, g, half, quarter, tiny, mask, row, c0, SOUTH)
        if i == 1 and r0 == 2:
            for j in range(columns):
                edges[c0 - 2 + j] += np.float64(flux_b[0, j])
        if row == total_rows + 1:
            for j in range(columns):
                edges[total_columns + c0 - 2 + j] -= np.float64(flux_b[0, j])
        if i > 1:
            if second:
                _half_slopes(p, sx, a, a, a, 1, 0, columns + 4, half)
                if lined:
                    flatten_slopes(sx, mask, row, c0 - 1, 0, columns + 2, EAST)
                _second_order_row(p, sx, a, a, 0, 0, 1, 1, columns + 1, 2, flux_x, g, half, quarter, tiny)
            else:
                _first_order_row(p, a, a, 1, 1, columns + 1, 2, flux_x, g, half, quarter, tiny)
            if lined:
                _closed_row(p, a, a, 1, 1, columns + 1, 2, flux_x, g, half, quarter, tiny, mask, row, c0 - 1, EAST)
            if c0 == 2:
                edges[2 * total_columns + row - 2] += np.float64(flux_x[0, 0])
            if c1 == total_columns + 2:
                edges[2 * total_columns + total_rows + row - 2] -= np.float64(flux_x[0, columns])
            if second:
                _update_second(base, stage, out, n, p, row, a, c0, columns, flux_x, flux_a, flux_b, weight, weight * dt * g, dt / dx, pull, dry, sx, sy, i & 1, deepest)
            else:
                _update_first(base, out, n, row, c0, columns, flux_x, flux_a, flux_b, dt * g, dt / dx, dry, deepest)
        flux_a, flux_b = flux_b, flux_a
    return max(np.max(flux_x[4]), np.max(flux_a[4]), np.max(flux_b[4]))


@serial
def tell(result: Any, first: int, speed: Any, deepest: Any) -> None:
    """The strip's fastest wave and the greatest depth of each of its tiles into their rows of `result`, from row `first`."""
    for k in range(-(-len(deepest) // TILE_COLUMNS)):
        result[first + k, 0], result[first + k, 1] = speed, np.max(deepest[k * TILE_COLUMNS : (k + 1) * TILE_COLUMNS])


@parallel
def advance(base: Any, stage: Any, out: Any, z: Any, n: Any, strips: Any, dt: float, dx: float, dry: float, weight: float, second: bool, edges: Any, result: Any,
            mask: Any) -> None:  # fmt: skip
    """One Euler stage over the strips named: out = base + weight·((stage − base) + dt·L(stage)), then friction.

    Args:
        base, stage, out: (4, R, C) fields; `stage` is `base` in a single or first stage; `out` may be `base` in the second.
        z, n: (R, C) bed (m) and Manning's n (s·m^(-1/3)).
        strips: (N, 6) int64: r0, r1, c0, c1 of array cells, ghosts left out; the row of `result` of the first tile; 1 where the strip holds or
            touches a closed face (all others never read `mask`). A strip is one or more tiles beside each other.
        dt, dx, dry: s, m, m (a depth below `dry` does not move).
        weight: 1, or ½ in the second stage of Heun's method.
        second: MUSCL with minmod if true.
        edges: (2·columns + 2·rows,) float64 depth·velocity inwards through the north, south, west and east faces, weight·added.
        result: (tiles, 2) float64 fastest wave (m/s) of the strip and greatest depth (m) of each tile.
        mask: (R, C) uint8 closed faces (see `lines`).
    """
    kind = z.dtype.type
    step, cell, film, share = kind(dt), kind(dx), kind(dry), kind(weight)
    for t in numba.prange(len(strips)):
        r0, r1, c0, c1 = strips[t, 0], strips[t, 1], strips[t, 2], strips[t, 3]
        deepest = np.zeros(c1 - c0, z.dtype)
        speed = _strip(base, stage, out, z, n, r0, r1, c0, c1, step, cell, film, share, second, edges, mask, strips[t, 5] > 0, deepest)
        tell(result, strips[t, 4], speed, deepest)
