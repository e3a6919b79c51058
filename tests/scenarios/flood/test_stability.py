"""The local inertial scheme stays stable as far as von Neumann's analysis says; tiles give the same field however they are joined."""

from __future__ import annotations

import numpy as np
import pytest

from scenarios.flood import solver
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
    strips, edges, result = np.array([(3, SIDE + 3, 3, SIDE + 3, 0, 0)]), np.zeros(4 * SIDE), np.zeros((1, 2))
    dt = courant * CELL / np.sqrt(G * DEPTH)
    inside = (slice(None), slice(3, -3), slice(3, -3))
    for _ in range(steps):
        inertial.advance(now, then, z, n, strips, dt, CELL, 1e-5, edges, result, np.zeros((0, 0), np.uint8))
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


@pytest.mark.parametrize("scheme", ["hllc", "hllc2", "inertial"])
def test_tiles_joined_to_strips_compute_what_each_computes_alone(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A dam break among walls and closed faces: strips cover each active tile once, and the fields are the same to the last rounding."""
    rng, shape = np.random.default_rng(4), (70, 1100)
    bed, walls = rng.random(shape) / 2, rng.random(shape) < 0.03
    depth = np.where(np.arange(shape[1]) < 420, 2.0, 0.0) * np.ones(shape)
    east = np.zeros(shape, np.bool_)
    east[10:60, 300] = True
    found = []
    for longest in (8, 1):
        monkeypatch.setattr(solver, "LONGEST_STRIP", longest)
        monkeypatch.setattr(solver, "FEWEST_STRIPS", 1)
        one = solver.Solver(bed, CELL, 0.03, scheme, blocked=walls, open_sides=("west",))
        one.set_depth(depth)
        one.close_faces(east, np.zeros(shape, np.bool_))
        for _ in range(25):
            one.step(5.0)
        strips = one.strips
        assert (len(strips) < len(one.active)) is (longest == 8)
        cells = sum((r1 - r0) * (c1 - c0) for r0, r1, c0, c1 in strips[:, :4].tolist())
        assert cells == sum((r1 - r0) * (c1 - c0) for r0, r1, c0, c1 in one.all_tiles[one.active].tolist())
        found.append((one.state[0].copy(), one.wet.copy(), one.edge_volume["west"], one.time))
    assert np.abs(found[0][0] - found[1][0]).max() < 2e-6
    assert (found[0][1] == found[1][1]).all() and not found[0][1].all()
    assert found[0][2:] == pytest.approx(found[1][2:], rel=1e-6)
    assert found[0][2] < 0


@pytest.mark.parametrize(("scheme", "most"), [("hllc", 44), ("inertial", 44), ("hllc2", 60)])
def test_the_state_takes_no_more_bytes_a_cell_than_said(scheme: str, most: int) -> None:
    one = solver.Solver(np.zeros((1000, 1000)), CELL, 0.03, scheme)
    held = [*one.buffers, one.z, one.n, one.weight]
    assert sum(array.nbytes for array in held) / 1.02e6 <= most
    rest = [value for name, value in vars(one).items() if isinstance(value, np.ndarray) and name not in ("bed", "blocked") and not any(value is array for array in held)]
    assert sum(array.nbytes for array in rest) < 0.1e6, "nothing else grows with the cells"


@pytest.mark.parametrize(("scheme", "most"), [("hllc", 1e-6), ("hllc2", 1e-3), ("inertial", 1e-6)])
@pytest.mark.parametrize("side", solver.SIDES)
def test_open_edges_bring_no_water_in(scheme: str, most: float, side: str) -> None:
    """A pool that runs down a slope away from an open edge drew 0.9 % of itself in over that edge (0.3 % of second order, where a thousandth is left)."""
    slope = np.tile(0.01 * (300 - np.arange(60) * CELL), (6, 1))
    turned = {"west": slope, "east": slope[:, ::-1], "north": slope.T, "south": slope.T[::-1]}[side]
    one = solver.Solver(np.ascontiguousarray(turned), CELL, 0.03, scheme, open_sides=solver.SIDES)
    one.set_depth(np.full(one.shape, 0.5))
    whole = one.volume()
    while one.time < 300:
        one.step(300 - one.time)
    assert one.edge_volume[side] <= most * whole
    assert sum(one.edge_volume.values()) < -0.5 * whole
