"""Where the local inertial scheme stops being stable, against von Neumann's analysis of it."""

from __future__ import annotations

import numpy as np
import pytest

from scenarios.flood.solver import CFL, CFL_LIMIT
from scenarios.kernels import inertial
from scenarios.kernels.shallow import G

SIDE, DEPTH, CELL = 32, 2.0, 10.0


def ripple_after(courant: float, steps: int) -> float:
    """A checkerboard of a micrometre on 2 m of water at rest, frictionless: its height after some steps of a fixed length, as a share of the first (float64)."""
    shape = (4, SIDE + 6, SIDE + 6)
    now, then = np.zeros(shape), np.zeros(shape)
    row, column = np.indices(shape[1:])
    now[0] = DEPTH + 1e-6 * (-1.0) ** (row + column)
    z, n = np.zeros(shape[1:]), np.zeros(shape[1:])
    tiles, edges, result = np.array([(3, SIDE + 3, 3, SIDE + 3)]), np.zeros(4 * SIDE), np.zeros((1, 2))
    dt = courant * CELL / np.sqrt(G * DEPTH)
    inside = (slice(None), slice(3, -3), slice(3, -3))
    for _ in range(steps):
        inertial.advance(now, then, z, n, tiles, dt, CELL, 1e-5, edges, result, np.zeros((0, 0), np.uint8), np.zeros(1, np.bool_))
        for field in then:  # periodic: the ghosts repeat the other side
            field[:] = np.pad(field[3:-3, 3:-3], 3, mode="wrap")
        now, then = then, now
    return float(np.ptp(now[inside][0]) / 2e-6)


@pytest.mark.parametrize(("courant", "grows"), [(CFL["inertial"], False), (CFL_LIMIT["inertial"], False), (0.69, True), (0.75, True)])
def test_no_step_of_the_inertial_scheme_is_longer_than_its_analysis_allows(courant: float, grows: bool) -> None:
    limit = np.sqrt(inertial.THETA / 2)
    assert bool(courant > limit) is grows
    roots = np.roots([1, -(2 * inertial.THETA - 8 * courant**2), 2 * inertial.THETA - 1])
    assert bool(np.abs(roots).max() > 1) is grows
    assert (ripple_after(courant, 60) > 2) is grows
