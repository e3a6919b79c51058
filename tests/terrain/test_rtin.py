"""The mesh kernels beside plain references of the same mathematics."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tiling.terrain import rtin

N = rtin.STEPS


def lattice(seed: int, tiles: int = 3, rough: float = 30.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    n = tiles * N + 1
    y, x = np.mgrid[0:n, 0:n]
    return 50 * np.sin(x / 37.0) * np.cos(y / 29.0) + rng.normal(0, rough, (n, n)) * (rng.random((n, n)) < 0.05)


def plain_cost(height: np.ndarray, east: np.ndarray, north: float, y: int, x: int, known: dict) -> float:
    """The cost of a lattice point by recursion: its own, and those of the points whose triangles it splits into."""
    rows, columns = height.shape
    if (y, x) in known:
        return known[y, x]
    half = min(y & -y if y else 1 << 30, x & -x if x else 1 << 30)
    size = 2 * half
    sag = lambda dx, dy: ((dx * east[y]) ** 2 + (dy * north) ** 2) / (8 * rtin.EARTH_RADIUS)  # noqa: E731
    children = []
    if (y // half) % 2 and (x // half) % 2:  # the centre of a square
        main = size == N or ((y // size) + (x // size)) % 2 == 0
        ends = [(y - half, x - half), (y + half, x + half)] if main else [(y - half, x + half), (y + half, x - half)]
        own = sag(size, size)
        children = [(y - half, x), (y + half, x), (y, x - half), (y, x + half)]
    else:
        across = (x // half) % 2 == 1  # the middle of a west–east side
        ends = [(y, x - half), (y, x + half)] if across else [(y - half, x), (y + half, x)]
        own = sag(size, 0) if across else sag(0, size)
        if half > 1:
            q = half // 2
            children = [(y + a, x + b) for a in (-q, q) for b in (-q, q)]
    own += abs((height[ends[0]] + height[ends[1]]) / 2 - height[y, x])
    worst = max([own, *(plain_cost(height, east, north, a, b, known) for a, b in children if 0 <= a < rows and 0 <= b < columns)])
    known[y, x] = worst
    return worst


def test_costs_are_those_of_the_recursion() -> None:
    height = lattice(1)
    east, north = np.linspace(9.0, 9.5, len(height)), 10.0
    fast = rtin.costs(height, east, north)
    known: dict = {}
    rng = np.random.default_rng(0)
    places = [(N + N // 2, N + N // 2), (N, N + N // 2), (N + N // 2, 2 * N), (N + 16, N + 16), (N + 1, N + 2), *rng.integers(N, 2 * N + 1, (200, 2))]
    for y, x in places:
        if (y % N, x % N) != (0, 0):
            assert fast[y, x] == pytest.approx(plain_cost(height, east, north, int(y), int(x), known), rel=1e-5)


def test_costs_do_not_depend_on_what_lies_beyond_a_tile() -> None:
    """The ring of one tile is wide enough: changing all that lies beyond changes no cost inside or on the rim of the middle tile."""
    wide = lattice(2, tiles=5)
    east = np.full(len(wide), 10.0)
    inner = slice(2 * N, 3 * N + 1)
    changed = wide.copy()
    changed[:N], changed[4 * N + 1 :], changed[:, :N], changed[:, 4 * N + 1 :] = 1e4, -1e4, 3e4, 5e3
    assert np.array_equal(rtin.costs(wide, east, 10.0)[inner, inner], rtin.costs(changed, east, 10.0)[inner, inner])
    cut = slice(N, 4 * N + 1)
    assert np.array_equal(rtin.costs(wide, east, 10.0)[inner, inner], rtin.costs(np.ascontiguousarray(wide[cut, cut]), east[cut], 10.0)[N : 2 * N + 1, N : 2 * N + 1])


def mesh(height: np.ndarray, tolerance: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    cost = rtin.costs(height, np.full(len(height), 10.0), 10.0)
    index, vertices, triangles = np.full((65, 65), -1, np.int32), np.empty((4225, 2), np.int32), np.empty((8192, 3), np.int32)
    used, made = rtin.triangulate(cost, N, N, tolerance, index, vertices, triangles)
    assert (index == -1).all(), "the scratch is left as it was found"
    return cost, vertices[:used], triangles[:made]


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([0.001, 0.3, 3.0, 20.0, 1e5]))
def test_triangles_cover_a_tile_once(seed: int, tolerance: float) -> None:
    height = lattice(seed)
    cost, vertices, triangles = mesh(height, tolerance)
    p = vertices[triangles].astype(int)
    a, b, c = p[:, 0], p[:, 1], p[:, 2]
    doubled = (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0])
    assert (doubled > 0).all()
    assert doubled.sum() == 2 * N * N
    kept = np.zeros((N + 1, N + 1), bool)
    kept[vertices[:, 1], vertices[:, 0]] = True
    wanted = cost[N : 2 * N + 1, N : 2 * N + 1] > tolerance
    wanted[::N, ::N] = True
    assert np.array_equal(kept, wanted), "a vertex is kept exactly when its cost says so"
    used, first_use = np.unique(triangles.ravel(), return_index=True)
    assert np.array_equal(used, np.arange(len(vertices)))
    assert (np.diff(first_use) > 0).all(), "numbered in order of first use"


def test_a_plane_needs_two_triangles_and_noise_all_of_them() -> None:
    y, x = np.mgrid[0 : 3 * N + 1, 0 : 3 * N + 1]
    assert len(mesh(3.0 * x + 2.0 * y, 0.5)[2]) == 2
    rough = np.random.default_rng(1).normal(0, 100, (3 * N + 1, 3 * N + 1))
    assert len(mesh(rough, 1e-6)[2]) == 2 * N * N


def test_surface_and_largest_error_by_brute_force() -> None:
    height = lattice(5)
    cost, vertices, triangles = mesh(height, 8.0)
    p = vertices[triangles].astype(float)
    worst = 0.0
    rng = np.random.default_rng(1)
    places = [(float(x), float(y)) for y in range(N + 1) for x in range(N + 1)] + [tuple(v) for v in rng.uniform(0, N, (300, 2))]
    for x, y in places:
        a, b, c = p[:, 0], p[:, 1], p[:, 2]
        area = (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0])
        wb = ((x - a[:, 0]) * (c[:, 1] - a[:, 1]) - (y - a[:, 1]) * (c[:, 0] - a[:, 0])) / area
        wc = ((b[:, 0] - a[:, 0]) * (y - a[:, 1]) - (b[:, 1] - a[:, 1]) * (x - a[:, 0])) / area
        t = int(np.argmax(np.minimum(np.minimum(wb, wc), 1 - wb - wc)))
        corner = [height[N + int(v), N + int(u)] for u, v in p[t]]
        plain = corner[0] * (1 - wb[t] - wc[t]) + corner[1] * wb[t] + corner[2] * wc[t]
        assert rtin.surface(height, cost, N, N, 8.0, x, y) == pytest.approx(plain, abs=1e-9)
        if float(x).is_integer() and float(y).is_integer():
            worst = max(worst, abs(plain - height[N + int(y), N + int(x)]))
    assert worst > 1
    assert rtin.largest_error(height, N, N, vertices.copy(), triangles.copy(), len(triangles)) == pytest.approx(worst, abs=1e-9)


def test_the_earths_curve_counts() -> None:
    """A flat sea in a tile of 600 km: chords may sink as much as the tolerance, no more."""
    height = np.zeros((3 * N + 1, 3 * N + 1))
    step = 600_000 / N
    cost = rtin.costs(height, np.full(len(height), step), step)
    assert cost[N, N + N // 2] == pytest.approx(600_000**2 / 8 / rtin.EARTH_RADIUS, rel=1e-6)
    index, vertices, triangles = np.full((65, 65), -1, np.int32), np.empty((4225, 2), np.int32), np.empty((8192, 3), np.int32)
    used, made = rtin.triangulate(cost, N, N, 1000.0, index, vertices, triangles)
    p = vertices[triangles[:made]]
    longest = max(math.dist(t[i], t[(i + 1) % 3]) for t in p.astype(float) for i in range(3)) * step
    assert longest**2 / 8 / rtin.EARTH_RADIUS <= 1000 < 600_000**2 / 8 / rtin.EARTH_RADIUS
    assert used < 100
