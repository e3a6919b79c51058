"""A generated city of any size for measuring: footprints with 12 attributes, clustered like streets, from a seed.

Shapes: rectangles, L-shapes, courtyards and pairs of wings (multipolygons), turned to the direction of their quarter.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import shapely

from twin.model import Features, Reference

Array = Any

REFERENCE = Reference("EPSG:4547", "EPSG:5737")
CENTRE = (405_000.0, 2_498_000.0)
CHUNK = 65_536
USES = ("住宅", "商业", "工业", "办公", "教育", "医疗", "仓储", "其他")
DISTRICTS = ("蓬江", "江海", "新会", "台山", "开平", "鹤山", "恩平")


def generate_buildings(n: int, seed: int = 1, *, centre: tuple[float, float] = CENTRE) -> Iterator[Features]:
    """`n` buildings in batches of at most 65,536: quarters of 20 × 20 plots of 25 m side by side, so that none overlap.

    Attributes: name, use, floors, height (m), year, area (m²), address, district, population (some null), energy (float32),
    listed (bool, some null), surveyed (date).
    """
    side = int(np.ceil(np.sqrt(n / 400)))  # quarters a side
    for start in range(0, n, CHUNK):
        number = np.arange(start, min(start + CHUNK, n))
        yield _batch(number, np.random.default_rng([seed, start]), side, centre)


def _batch(number: Array, rng: np.random.Generator, side: int, centre: tuple[float, float]) -> Features:
    count = len(number)
    quarter, plot = number // 400, number % 400
    turn = np.random.default_rng(7).uniform(-0.7, 0.7, side * side + 1)[quarter]
    local = np.column_stack([plot % 20 - 9.5, plot // 20 - 9.5]) * 25.0
    middle = np.column_stack([quarter % side - side / 2, quarter // side - side / 2]) * 780.0 + np.array(centre)
    c, s = np.cos(turn), np.sin(turn)
    at = middle + np.column_stack([c * local[:, 0] - s * local[:, 1], s * local[:, 0] + c * local[:, 1]])
    half = rng.uniform(3.5, 11.0, (count, 2))
    kind = rng.choice(4, count, p=[0.62, 0.25, 0.09, 0.04])
    geometry = np.empty(count, object)
    for k, maker in enumerate((_rectangle, _angle, _courtyard, _wings)):
        rows = np.flatnonzero(kind == k)
        if len(rows):
            geometry[rows] = maker(at[rows], half[rows], c[rows], s[rows])
    floors = np.clip(rng.lognormal(1.2, 0.7, count), 1, 60).astype(np.int32)
    population = rng.integers(0, 400, count)
    use = rng.integers(0, len(USES), count)
    district = (quarter * 7919) % len(DISTRICTS)
    attributes = pa.table({
        "name": [f"{DISTRICTS[d]}{i % 4000}号楼" for d, i in zip(district, number, strict=True)],
        "use": pa.array(USES).take(pa.array(use)),
        "floors": floors,
        "height": np.round(floors * rng.uniform(2.8, 3.6, count), 2),
        "year": rng.integers(1950, 2026, count).astype(np.int16),
        "area": np.round(shapely.area(geometry), 2),
        "address": [f"{DISTRICTS[d]}区第{q}街{p}号" for d, q, p in zip(district, quarter, plot, strict=True)],
        "district": pa.array(DISTRICTS).take(pa.array(district)),
        "population": pa.array(population, mask=rng.random(count) < 0.1),
        "energy": rng.uniform(20, 400, count).astype(np.float32),
        "listed": pa.array(rng.random(count) < 0.03, mask=rng.random(count) < 0.05),
        "surveyed": pa.array(rng.integers(14_000, 20_000, count).astype(np.int32), pa.date32()),
    })  # fmt: skip
    ids = pa.array([f"B{i:08d}" for i in number])
    return Features(REFERENCE, ids, geometry, attributes)


def _place(shape: Array, at: Array, half: Array, c: Array, s: Array) -> Array:
    """(K, 2) unit shape scaled, turned and moved for N buildings: (N, K, 2), rounded to centimetres as surveys are."""
    xy = shape[None] * half[:, None, :]
    x, y = xy[..., 0], xy[..., 1]
    turned = np.stack([c[:, None] * x - s[:, None] * y, s[:, None] * x + c[:, None] * y], axis=-1)
    return np.round(turned + at[:, None, :], 2)


_SQUARE = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1], [-1, -1]], float)
_ELL = np.array([[-1, -1], [1, -1], [1, 0.1], [0.1, 0.1], [0.1, 1], [-1, 1], [-1, -1]], float)


def _rectangle(*place: Array) -> Array:
    return shapely.polygons(_place(_SQUARE, *place))


def _angle(*place: Array) -> Array:
    return shapely.polygons(_place(_ELL, *place))


def _courtyard(*place: Array) -> Array:
    inner = shapely.linearrings(_place(_SQUARE * 0.45, *place))
    return shapely.polygons(shapely.linearrings(_place(_SQUARE, *place)), inner[:, None])


def _wings(*place: Array) -> Array:
    parts = [shapely.polygons(_place(_SQUARE * [0.4, 1] + [dx, 0], *place)) for dx in (-0.6, 0.6)]
    return shapely.multipolygons(np.column_stack(parts))
