"""Each compiled loop against a plain form of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import cKDTree

from tiling.points import kernels
from tiling.points.kernels import BITS

CODES = st.lists(st.integers(0, 2**63 - 1), min_size=1, max_size=200)


def plain_morton(x: int, y: int, z: int) -> int:
    return sum(((x >> b & 1) << 3 * b) | ((y >> b & 1) << 3 * b + 1) | ((z >> b & 1) << 3 * b + 2) for b in range(BITS))


def test_morton() -> None:
    rng = np.random.default_rng(0)
    places = rng.integers(0, 1 << 24, (500, 3)).astype(np.int32)
    for shift in (3, 0, -2):
        codes = np.empty(500, np.uint64)
        small = places if shift > 0 else places >> (3 - shift)
        kernels.morton(small, shift, codes)
        cells = small.astype(np.int64) >> shift if shift >= 0 else small.astype(np.int64) << -shift
        assert codes.tolist() == [plain_morton(*row) for row in cells.tolist()]


def rows_of(codes: np.ndarray[Any, Any], shift: int = 0, bits: int = 32) -> list[int]:
    order: list[int] = kernels.sorted_order(codes, np.arange(len(codes), dtype=np.int32), shift, bits).tolist()
    return order


@settings(max_examples=50, deadline=None)
@given(CODES)
def test_sorted_order(values: list[int]) -> None:
    codes = np.array(values, np.uint64)
    assert rows_of(codes, 30, 30) == np.argsort((codes >> np.uint64(30)) % np.uint64(1 << 30), kind="stable").tolist()
    assert rows_of(codes, 31, 32) == np.argsort(codes >> np.uint64(31), kind="stable").tolist()
    low = kernels.sorted_order(codes, np.arange(len(codes), dtype=np.int32), 0, 30)
    middle = kernels.sorted_order(codes, low, 30, 30)
    assert kernels.sorted_order(codes, middle, 60, 3).tolist() == np.argsort(codes, kind="stable").tolist()
    repeated = codes % np.uint64(5)
    assert rows_of(repeated) == np.argsort(repeated, kind="stable").tolist()


def spread(places: np.ndarray[Any, Any], radius: float, span: float) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """(which are chosen, the gaps) of points in Morton order in a cube of `span` from the origin."""
    chosen, gaps = np.empty(len(places), np.uint8), np.empty(len(places), np.float32)
    count = kernels.choose_spread(places, np.arange(len(places), dtype=np.int32), np.zeros(3), radius, int(np.ceil(span / radius / 2)), chosen, gaps)
    assert count == chosen.sum()
    return chosen.astype(bool), gaps


def in_order(places: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    codes = np.empty(len(places), np.uint64)
    kernels.morton(places, 0, codes)
    return np.asarray(places[np.argsort(codes, kind="stable")], order="C")


@pytest.mark.parametrize("seed", range(8))
def test_a_choice_is_apart_and_leaves_no_hole(seed: int) -> None:
    """By all distances, pair by pair: no two chosen are nearer than the radius, nobody is farther than that from one that is."""
    rng = np.random.default_rng(seed)
    top = 1 << int(rng.integers(3, 21))
    places = rng.integers(0, top, (int(rng.integers(1, 900)), 3)).astype(np.int32)
    places[: len(places) // 9] = places[0]
    places = in_order(places)
    radius = top * float(rng.uniform(0.01, 0.3))
    chosen, gaps = spread(places, radius, top)
    square = ((places[:, None].astype(np.int64) - places[None]) ** 2).sum(axis=2).astype(np.float64)
    apart = square[chosen][:, chosen]
    np.fill_diagonal(apart, np.inf)
    assert len(apart) == 1 or apart.min() >= radius**2
    nearest = np.sqrt(square[:, chosen].min(axis=1))
    assert nearest.max() < radius
    assert (nearest <= gaps * (1 + 1e-6)).all()
    assert gaps.max() < radius * (1 + 1e-6)


def poisson_reference(points: np.ndarray[Any, Any], radius: float, seed: int) -> Any:
    """Plain dart throwing: the points in random order, each kept that is not within the radius of one kept before."""
    near = cKDTree(points).query_ball_point(points, radius * (1 - 1e-12))
    state = np.zeros(len(points), np.int8)
    for i in np.random.default_rng(seed).permutation(len(points)):
        if state[i] == 0:
            state[near[i]] = -1
            state[i] = 1
    return points[state == 1]


@pytest.mark.parametrize("shape", ["plane", "sphere"])
def test_a_surface_is_sampled_as_by_dart_throwing(shape: str) -> None:
    """Nearest-neighbour distances (Clark & Evans, 1954) and density against a Poisson disk sample and against points drawn by lot."""
    rng = np.random.default_rng(9)
    if shape == "plane":
        flat = rng.random((60_000, 2))
        xyz = np.column_stack([flat, 0.2 + 0.31 * flat[:, 0] + 0.17 * flat[:, 1]])
    else:
        xyz = rng.normal(size=(60_000, 3))
        xyz = 0.5 + 0.45 * xyz / np.linalg.norm(xyz, axis=1)[:, None]
    places = in_order((xyz * (1 << 20)).astype(np.int32))
    radius = 0.02 * (1 << 20)
    ours = places[spread(places, radius, 1 << 20)[0]]
    disks = poisson_reference(places.astype(np.float64), radius, 3)
    lot = places[rng.choice(len(places), len(ours), replace=False)]
    spacing = {name: cKDTree(p).query(p, k=2)[0][:, 1] / radius for name, p in (("ours", ours), ("disks", disks), ("lot", lot))}
    assert spacing["ours"].min() >= 1
    assert len(ours) == pytest.approx(len(disks), rel=0.03)
    assert spacing["ours"].mean() == pytest.approx(spacing["disks"].mean(), rel=0.02)
    assert spacing["ours"].mean() > 1.5 * spacing["lot"].mean()
    assert spacing["ours"].std() < 0.3 * spacing["lot"].std()
    assert (spacing["lot"] < 0.5).mean() > 0.3  # what clumps are: a third and more of points drawn by lot, none of ours


def test_coincident() -> None:
    rng = np.random.default_rng(5)
    for top, count in ((3, 400), (1 << 12, 400), (1 << 20, 3_000)):
        places = rng.integers(0, top, (count, 3)).astype(np.int32)
        places[: count // 3] = places[count // 2]
        places = in_order(places)
        codes = np.empty(count, np.uint64)
        kernels.morton(places, 0, codes)
        for shift in (0, 9, 33):  # sorted that far down or farther
            assert kernels.coincident(codes, shift, places) == count - len(np.unique(places, axis=0))


def test_tally() -> None:
    keys = np.sort(np.random.default_rng(6).integers(0, 1 << 12, 5_000)).astype(np.uint32)
    counts = np.ones(8, np.int64)
    kernels.tally(keys, np.uint32(9), counts)
    assert counts.tolist() == (1 + np.bincount(keys >> 9, minlength=8)).tolist()


def test_lattice_and_positions() -> None:
    rng = np.random.default_rng(2)
    places = rng.integers(0, 1 << 20, (300, 3)).astype(np.int32)
    rows = rng.permutation(300)[:120].astype(np.int32)
    lattice, extremes = np.empty((120, 3), np.int32), np.empty((2, 3), np.int64)
    kernels.to_lattice(places, rows, 3, lattice, extremes)
    assert np.array_equal(lattice, np.floor(places[rows] / 8 + 0.5))
    assert np.array_equal(extremes, [lattice.min(axis=0), lattice.max(axis=0)])
    positions = np.zeros((120, 3), np.float32)
    kernels.write_positions(lattice, np.array([5, 6, 7]), 0.5, positions)
    assert np.allclose(positions, np.column_stack([lattice[:, 0] - 5, lattice[:, 2] - 7, 6 - lattice[:, 1]]) * 0.5)


def test_group_rows() -> None:
    owner = np.random.default_rng(3).integers(0, 6, 200).astype(np.int32)
    starts = np.concatenate([[0], np.cumsum(np.bincount(owner, minlength=6))[:-1]])
    rows = np.empty(200, np.int32)
    kernels.group_rows(owner, starts, rows)
    assert rows.tolist() == np.argsort(owner, kind="stable").tolist()


def test_take_rows_and_paint() -> None:
    rng = np.random.default_rng(4)
    places, colors = rng.integers(0, 99, (50, 3)).astype(np.int32), rng.integers(0, 256, (50, 4)).astype(np.uint8)
    intensity, rows = rng.integers(0, 4000, 50).astype(np.uint16), rng.permutation(50)[:20].astype(np.int32)
    a, b, c = np.empty((20, 3), np.int32), np.empty((20, 4), np.uint8), np.empty(20, np.uint16)
    kernels.take_rows(places, colors, intensity, rows, a, b, c)
    assert np.array_equal(a, places[rows])
    assert np.array_equal(b, colors[rows])
    assert np.array_equal(c, intensity[rows])
    linear, palette = np.arange(256, dtype=np.uint8)[::-1].copy(), rng.integers(0, 256, (256, 4)).astype(np.uint8)
    class_row = rng.integers(0, 9, 256).astype(np.uint8)
    for mode, index in ((1, colors[:, 3]), (2, np.clip((intensity - 100.0) / 2900, 0, 1) * 255), (3, np.clip((places[:, 2] + 0.25 * ((places[:, 0] - 4.0) ** 2 + (places[:, 1] - 7.0) ** 2) - 100.0) / 2900, 0, 1) * 255)):
        out, classes = np.empty((20, 4), np.uint8), np.zeros((20, 4), np.uint8)
        kernels.paint(colors, intensity, places, rows, mode, 100.0, 3000.0, np.array([4.0, 7.0]), 0.25, linear, palette, class_row, out, classes)
        assert np.array_equal(out[:, :3], palette[index.astype(np.int64)][rows, :3])
        assert np.array_equal(classes[:, 0], class_row[colors[rows, 3]])
    out = np.empty((20, 4), np.uint8)
    kernels.paint(colors, intensity, places, rows, 0, 0.0, 1.0, np.zeros(2), 0.0, linear, palette, class_row, out, np.zeros((20, 4), np.uint8))
    assert np.array_equal(out[:, :3], linear[colors[rows, :3]])
    assert (out[:, 3] == 255).all()
