"""Block solids against trimesh and shapely: closed, facing outward, of the right volume, whatever the outline."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pytest
import shapely
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st

from tiling.blocks import solids
from tiling.encoding.arrow_bytes import offsets_and_data
from twin.outlines import measure_outlines

UP = np.array([0.0, 0.0, 1.0])


STEPS = 2.0**18
"""Steps a metre that the tests draw with; tiles have 2^10."""


@dataclass
class Drawn:
    """Faces in metres, z up."""

    positions: np.ndarray
    normals: np.ndarray
    triangles: np.ndarray
    polygon: np.ndarray
    flawed: np.ndarray


def build(*geometry: shapely.Geometry, height: float = 7.0, base: float = 3.0) -> tuple[Drawn, solids.Rings]:
    rings, xy = solids.rings_of(np.array(geometry, object))
    rings, order = solids.clean(rings, xy)
    low = np.column_stack([xy[order], np.full(len(order), base)])
    shape = solids.extrude(rings, xy[order], low, np.full(len(order), height), np.tile(UP, (len(order), 1)))
    count = len(rings.owner)
    origin = np.rint(np.array([low[0, 0], 0, -low[0, 1]])) if len(low) else np.zeros(3)
    made = shape.faces(np.arange(count), np.arange(count), origin, STEPS)
    if count:
        lowest, highest = shape.extremes(0, count)
        assert lowest.tolist() == [*low[:, :2].min(axis=0), base]
        assert highest.tolist() == [*low[:, :2].max(axis=0), base + height]
    x, z, y = (made.lattice / STEPS + origin).T
    nx, nz, ny = made.normal[:, :3].T / 127
    return Drawn(np.column_stack([x, -y, z]), np.column_stack([nx, -ny, nz]), made.triangles.astype(np.int64), made.feature, shape.flawed), rings


def as_mesh(shape: Drawn, polygon: int | None = None) -> trimesh.Trimesh:
    triangles = shape.triangles
    if polygon is not None:
        triangles = triangles[shape.polygon[triangles[:, 0]] == polygon]
    mesh = trimesh.Trimesh(shape.positions, triangles, process=False)
    mesh.merge_vertices(merge_norm=True, merge_tex=True, digits_vertex=5)
    return mesh


def check(geometry: shapely.Geometry, height: float = 7.0) -> None:
    shape, _ = build(geometry, height=height)
    mesh = as_mesh(shape)
    assert not len(shape.flawed)
    assert mesh.is_watertight
    assert mesh.is_winding_consistent
    assert mesh.volume == pytest.approx(geometry.area * height, rel=1e-5)
    assert mesh.bounds[:, 2] == pytest.approx([3.0, 3.0 + height], abs=1 / STEPS)
    faces = np.cross(*(shape.positions[shape.triangles[:, k]] - shape.positions[shape.triangles[:, 0]] for k in (1, 2)))
    size = np.linalg.norm(faces, axis=1)
    flat = size > 1e-3  # a corner a hair beside a line makes a triangle that the steps swallow
    turned = (faces * shape.normals[shape.triangles[:, 0]]).sum(1)[flat] / size[flat]
    assert np.abs(turned - 1).max() < 0.02, "normals are those of the faces, in steps of 1/127"


SQUARE = shapely.box(0, 0, 10, 8)
SHAPES = {
    "square": SQUARE,
    "clockwise": shapely.Polygon([(0, 0), (0, 8), (10, 8), (10, 0)]),
    "triangle": shapely.Polygon([(0, 0), (5, 1), (2, 6)]),
    "dart": shapely.Polygon([(0, 0), (5, 2), (10, 0), (5, 9)]),
    "L": shapely.Polygon([(0, 0), (9, 0), (9, 3), (4, 3), (4, 8), (0, 8)]),
    "courtyard": shapely.Polygon(SQUARE.exterior, [shapely.box(2, 2, 4, 4).exterior]),
    "courtyard, same turn": shapely.Polygon([(0, 0), (9, 0), (9, 9), (0, 9)], [[(2, 2), (4, 2), (4, 4), (2, 4)]]),
    "three courtyards": shapely.Polygon(shapely.box(0, 0, 30, 9).exterior, [shapely.box(x, 2, x + 4, 5).exterior for x in (2, 12, 21)]),
    "wings": shapely.MultiPolygon([SQUARE, shapely.box(20, 0, 25, 3)]),
    "wings with courtyard": shapely.MultiPolygon([shapely.Polygon(SQUARE.exterior, [shapely.box(2, 2, 4, 4).exterior]), shapely.box(20, 0, 25, 3)]),
    "collinear corners": shapely.Polygon([(0, 0), (3, 0), (5, 0), (10, 0), (10, 4), (10, 8), (0, 8), (0, 4)]),
    "collinear by a hair": shapely.Polygon([(0, 0), (3, 1e-9), (5, 0), (10, 0), (10, 4), (10 + 1e-10, 8), (0, 8)]),
    "repeated corners": shapely.Polygon([(0, 0), (0, 0), (10, 0), (10, 0.00001), (10, 8), (0, 8)]),
    "circle": shapely.Point(3, 4).buffer(12, 64),
    "with height": shapely.Polygon([(0, 0, 5), (9, 0, 5), (9, 9, 6), (0, 9, 6)]),
}  # fmt: skip


@pytest.mark.parametrize("name", SHAPES)
def test_closed_and_outward(name: str) -> None:
    geometry = SHAPES[name]
    if name == "repeated corners":  # a corner 0.01 mm beside another is dropped, which changes the area by as little
        shape, _ = build(geometry)
        assert as_mesh(shape).is_watertight
        assert as_mesh(shape).volume == pytest.approx(560, abs=1e-2)
        return
    check(geometry)


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 10**6), st.integers(3, 40), st.integers(0, 3), st.floats(2.0, 300.0))
def test_random_stars_with_courtyards(seed: int, corners: int, holes: int, height: float) -> None:
    rng = np.random.default_rng(seed)
    turn = (np.arange(corners) + rng.uniform(0.05, 0.95, corners)) / corners * 2 * np.pi
    reach = rng.uniform(8, 30, corners)
    outer = np.column_stack([np.cos(turn), np.sin(turn)]) * reach[:, None]
    inner = [shapely.Point(x, 0).buffer(0.8, 2).exterior for x in np.linspace(-3, 3, holes)] if holes else []
    polygon = shapely.Polygon(outer, [r for r in inner if shapely.Polygon(outer).contains(r)])
    if not polygon.is_valid:
        return
    check(polygon, height)


def test_many_at_once_equal_one_by_one() -> None:
    shapes = [s for n, s in SHAPES.items() if n != "repeated corners"]
    together, rings = build(*shapes)
    for row, geometry in enumerate(shapes):
        parts = np.flatnonzero(rings.owner == row)
        volume = sum(as_mesh(together, int(p)).volume for p in parts)
        assert volume == pytest.approx(geometry.area * 7, rel=1e-5)
        assert all(as_mesh(together, int(p)).is_watertight for p in parts)


def test_nothing_crashes_on_nothing() -> None:
    """Points, lines, empties, slivers: no polygon comes out, and the good neighbour does."""
    sliver = shapely.Polygon([(0, 0), (5, 0), (5, 1e-7)])
    bad = [shapely.Point(1, 1), shapely.LineString([(0, 0), (1, 1)]), shapely.Polygon(), None, sliver, shapely.Polygon([(0, 0), (1, 1), (2, 2)])]
    shape, rings = build(*bad, SQUARE)
    assert rings.owner.tolist() == [6]
    assert as_mesh(shape).volume == pytest.approx(560)
    empty, rings = build(*bad)
    assert len(empty.positions) == 0
    assert len(rings.owner) == 0


def test_a_tiny_courtyard_goes_a_crossing_is_told() -> None:
    tiny = shapely.Polygon(SQUARE.exterior, [shapely.box(2, 2, 2.01, 2.01).exterior])
    shape, _ = build(tiny)
    assert as_mesh(shape).volume == pytest.approx(560)
    bow = shapely.Polygon([(0, 0), (10, 8), (10, 0), (0, 7)])
    shape, _ = build(bow, SQUARE)
    assert shape.flawed.tolist() == [0]


def test_forty_kilometres_away() -> None:
    """Coordinates of a tile's edge, centimetre steps: nothing cancels."""
    check(shapely.transform(SHAPES["courtyard"], lambda xy: xy + np.array([25_000.01, -31_000.07])))


# --- compiled loops against plain forms ------------------------------------------------------------------------------


def plain_clean(rings: solids.Rings, xy: np.ndarray) -> tuple[solids.Rings, np.ndarray]:
    """`solids.clean` in numpy."""
    keep = np.arange(len(xy))
    ring = rings.ring
    for _ in range(8):
        before, after = solids.neighbours(ring)
        a, b = xy[keep] - xy[keep[before]], xy[keep[after]] - xy[keep]
        straight = (a[:, 0] * b[:, 1] == a[:, 1] * b[:, 0]) & ((a * b).sum(1) > 0)
        drop = (np.hypot(a[:, 0], a[:, 1]) < solids.SAME) | straight
        start = np.flatnonzero(np.diff(ring, prepend=-1))
        place = np.arange(len(ring)) - np.repeat(start, np.diff(start, append=len(ring)))
        drop &= ~(drop[before] & (place % 2 == 1))
        if not drop.any():
            break
        keep, ring = keep[~drop], ring[~drop]
    area = solids.ring_areas(ring, xy[keep], len(rings.polygon))
    good = (np.abs(area) > solids.SMALL) & (np.bincount(ring, minlength=len(rings.polygon)) >= 3)
    whole = np.zeros(len(rings.owner), bool)
    whole[rings.polygon[~rings.hole & good]] = True
    good &= whole[rings.polygon]
    order = [k for r in np.flatnonzero(good) for k in (keep[ring == r][::-1] if (area[r] > 0) == rings.hole[r] else keep[ring == r])]
    number = np.cumsum(whole) - 1
    fresh = (np.cumsum(good) - 1)[np.repeat(np.flatnonzero(good), np.bincount(ring, minlength=len(good))[good])]
    return solids.Rings(fresh, number[rings.polygon[good]], rings.hole[good], rings.owner[whole]), np.array(order, np.int64)


def same(a: solids.Rings, b: solids.Rings) -> None:
    for name in ("ring", "polygon", "hole", "owner"):
        assert np.array_equal(getattr(a, name), getattr(b, name)), name


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 12), st.booleans())
def test_cleaning_is_that_of_the_plain_form(seed: int, count: int, gaps: bool) -> None:
    rng = np.random.default_rng(seed)
    shapes = []
    for _ in range(count):
        corners = rng.integers(0, 7, (rng.integers(3, 14), 2)).astype(float) + rng.choice([0, 0, 0, 1e-5, 1e-9], (1, 2))
        holes = [rng.integers(1, 5, (rng.integers(3, 6), 2)).astype(float) for _ in range(rng.integers(0, 3))]
        shapes.append(shapely.Polygon(np.repeat(corners, rng.integers(1, 3, len(corners)), axis=0), holes))
    rings, xy = solids.rings_of(np.array(shapes, object))
    if gaps:  # corners that cannot be used are taken out before: some rings have none
        stays = rng.integers(0, len(rings.hole)) != rings.ring
        rings, xy = solids.Rings(rings.ring[stays], rings.polygon, rings.hole, rings.owner), xy[stays]
    (found, order), (expected, plain) = solids.clean(rings, xy), plain_clean(rings, xy)
    same(found, expected)
    assert order.tolist() == plain.tolist()


def test_outlines_out_of_binary_are_those_of_shapely() -> None:
    shapes = np.array([s for n, s in SHAPES.items() if n != "with height"] * 3, object)
    column = pa.array(shapely.to_wkb(shapes), pa.binary())
    for some, of in ((column, shapes), (column.slice(5, 7), shapes[5:12]), (column.slice(0, 0), shapes[:0]), (column.cast(pa.large_binary()), shapes)):
        (rings, xy), (expected, plain) = solids.outlines(some), solids.rings_of(of)
        same(rings, expected)
        assert np.array_equal(xy, plain)


def test_other_geometries_take_the_long_way() -> None:
    """Heights, big-endian, points, empties, nulls: the same as shapely reads."""
    odd = [shapely.to_wkb(SHAPES["with height"]), shapely.to_wkb(SQUARE, byte_order=0), shapely.to_wkb(shapely.Point(1, 2)), shapely.to_wkb(shapely.Polygon()), None]
    for value in odd:
        column = pa.array([shapely.to_wkb(SQUARE), value], pa.binary())
        (rings, xy), (expected, plain) = solids.outlines(column), solids.rings_of(shapely.from_wkb(column.to_numpy(zero_copy_only=False)))
        same(rings, expected)
        assert np.array_equal(xy, plain)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=60), st.integers(0, 200))
def test_broken_binary_is_never_read_as_an_outline(noise: bytes, cut: int) -> None:
    """What the loop takes on has exactly the length that its counts say."""
    wkb = shapely.to_wkb(SHAPES["wings with courtyard"])
    values = [wkb[:cut], noise, wkb + noise]
    offsets, data = offsets_and_data(pa.array(values, pa.binary()))
    sizes = np.empty((3, 3), np.int64)
    measure_outlines(offsets, data, sizes)
    assert (sizes[0] >= 0).all() == (cut >= len(wkb))
    assert (sizes[2] >= 0).all() == (not noise)
