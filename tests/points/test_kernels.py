"""Each compiled loop against a plain form of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tiling import point_kernels as kernels
from tiling.point_kernels import BITS

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


@settings(max_examples=50, deadline=None)
@given(CODES)
def test_sorted_order(values: list[int]) -> None:
    codes = np.array(values, np.uint64)
    assert kernels.sorted_order(codes).tolist() == np.argsort(codes, kind="stable").tolist()
    repeated = codes % np.uint64(5)
    assert kernels.sorted_order(repeated).tolist() == np.argsort(repeated, kind="stable").tolist()


def plain_depths(codes: np.ndarray[Any, Any], places: np.ndarray[Any, Any]) -> list[int]:
    """For each point the first depth at which it is the heaviest of its cell (ties: the earlier one)."""
    weights = [kernels._weight(*(int(v) for v in row)) for row in places]
    result = []
    for i in range(len(codes)):
        for depth in range(BITS + 2):
            shift = np.uint64(3 * max(BITS - depth, 0))
            cell = [j for j in range(len(codes)) if codes[j] >> shift == codes[i] >> shift] if depth <= BITS else [i]
            if max(cell, key=lambda j: (weights[j], -j)) == i:
                result.append(depth)
                break
    return result


@pytest.mark.parametrize("seed", range(6))
def test_sample_depths(seed: int) -> None:
    """The one-pass form gives what looking into every cell of every depth gives; duplicates included."""
    rng = np.random.default_rng(seed)
    places = rng.integers(0, 1 << rng.integers(2, 21), (120, 3)).astype(np.int32)
    places[rng.integers(0, 120, 10)] = places[5]
    codes = np.empty(120, np.uint64)
    kernels.morton(places, 0, codes)
    order = kernels.sorted_order(codes)
    depths = np.empty(120, np.uint8)
    kernels.sample_depths(codes[order], places[order], depths)
    assert depths.tolist() == plain_depths(codes[order], places[order])


def test_one_point_a_cell() -> None:
    """What is drawn down to a depth is exactly one point in each occupied cell of that depth."""
    rng = np.random.default_rng(1)
    places = rng.integers(0, 1 << BITS, (5000, 3)).astype(np.int32)
    codes = np.empty(5000, np.uint64)
    kernels.morton(places, 0, codes)
    order = kernels.sorted_order(codes)
    depths = np.empty(5000, np.uint8)
    kernels.sample_depths(codes[order], places[order], depths)
    for depth in range(8):
        cells = codes[order] >> np.uint64(3 * (BITS - depth))
        drawn = cells[depths <= depth]
        assert len(drawn) == len(np.unique(drawn)) == len(np.unique(cells))


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
    rng = np.random.default_rng(3)
    owner = rng.integers(-1, 5, 200)
    order = rng.permutation(200).astype(np.int32)
    starts = np.concatenate([[0], np.cumsum(np.bincount(owner + 1, minlength=6))[:-1]])
    rows = np.empty(200, np.int32)
    kernels.group_rows(owner, order, starts, rows)
    assert rows.tolist() == order[np.argsort(owner, kind="stable")].tolist()


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
