"""Block solids against trimesh and shapely: closed, facing outward, of the right volume, whatever the outline."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st

from tiling import solids

UP = np.array([0.0, 0.0, 1.0])


def build(*geometry: shapely.Geometry, height: float = 7.0, base: float = 3.0) -> tuple[solids.Solids, solids.Rings]:
    rings, xy = solids.rings_of(np.array(geometry, object))
    rings, order = solids.clean(rings, xy)
    low = np.column_stack([xy[order], np.full(len(order), base)])
    return solids.extrude(rings, low, low + UP * height, np.tile(UP, (len(order), 1))), rings


def as_mesh(shape: solids.Solids, polygon: int | None = None) -> trimesh.Trimesh:
    triangles = shape.triangles
    if polygon is not None:
        triangles = triangles[shape.polygon[triangles[:, 0]] == polygon]
    mesh = trimesh.Trimesh(shape.positions, triangles, process=False)
    mesh.merge_vertices(merge_norm=True, merge_tex=True)
    return mesh


def check(geometry: shapely.Geometry, height: float = 7.0) -> None:
    shape, _ = build(geometry, height=height)
    mesh = as_mesh(shape)
    assert not len(shape.flawed)
    assert mesh.is_watertight
    assert mesh.is_winding_consistent
    assert mesh.volume == pytest.approx(geometry.area * height, rel=1e-9)
    assert mesh.bounds[:, 2].tolist() == [3.0, 3.0 + height]
    faces = np.cross(*(shape.positions[shape.triangles[:, k]] - shape.positions[shape.triangles[:, 0]] for k in (1, 2)))
    faces /= np.linalg.norm(faces, axis=1, keepdims=True)
    assert np.abs((faces * shape.normals[shape.triangles[:, 0]]).sum(1) - 1).max() < 1e-9, "normals are those of the faces"


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
        assert volume == pytest.approx(geometry.area * 7, rel=1e-9)
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
