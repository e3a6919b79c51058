"""Faces of city models against shapely: what is cut has the polygon's area and looks its way, whatever its shape and wherever it stands."""

from __future__ import annotations

import numpy as np
import pytest
import shapely

from ingest_bim.citymodels import kernels
from ingest_bim.citymodels.faces import corner_uv, flattened, triangulate
from ingest_bim.citymodels.objects import Face


def star(rng: np.random.Generator, corners: int, size: float, at: tuple[float, float] = (0.0, 0.0)) -> np.ndarray:
    """A star-shaped ring."""
    angle = np.sort(rng.uniform(0, 2 * np.pi / corners, corners) + np.arange(corners) * 2 * np.pi / corners)
    return np.column_stack([np.cos(angle), np.sin(angle)]) * rng.uniform(0.4, 1.0, (corners, 1)) * size + at


@pytest.mark.parametrize("seed", range(5))
def test_areas_and_normals(seed: int) -> None:
    """Rings of 3 to 12 corners, some with a hole, turned anywhere in space, all in one call."""
    rng = np.random.default_rng(seed)
    vertices: list[np.ndarray] = []
    faces: list[Face] = []
    expected = []
    for number in range(60):
        rings = [star(rng, int(rng.integers(3, 13)), 10.0)]
        hole = star(rng, int(rng.integers(3, 7)), 0.6)[::-1]
        if number % 4 == 0 and shapely.Polygon(rings[0]).contains_properly(shapely.Polygon(hole)):
            rings.append(hole)
        turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
        first = sum(len(part) for part in vertices)
        face = []
        for ring in rings:
            face.append([*range(first, first + len(ring)), first][: len(ring) + number % 2])  # closed or not
            vertices.append(np.column_stack([ring, np.zeros(len(ring))]) @ turn.T + rng.uniform(-50, 50, 3) * (ring is rings[0]))
            first += len(ring)
        if len(rings) > 1:  # a hole lies in the plane of its ring
            vertices[-1] = np.column_stack([rings[1], np.zeros(len(rings[1]))]) @ turn.T + vertices[-2][0] - turn @ np.append(rings[0][0], 0.0)
        faces.append(Face(face))
        expected.append((shapely.Polygon(rings[0], rings[1:]).area, turn @ [0, 0, 1] * np.linalg.det(turn) * (1 if shapely.LinearRing(rings[0]).is_ccw else -1)))
    points = np.concatenate(vertices)
    found = triangulate(points, faces)
    assert (found.degenerate, found.bent, found.crossing) == (0, 0, 0)
    a, b, c = (points[found.triangles[:, k]] for k in range(3))
    normal = np.cross(b - a, c - a) / 2
    for number, (area, up) in enumerate(expected):
        own = normal[found.face == number]
        assert np.linalg.norm(own, axis=1).sum() == pytest.approx(area, rel=1e-9)
        assert abs(own.sum(axis=0) @ up) == pytest.approx(area, rel=1e-9)  # all look one way
        assert own.sum(axis=0) @ up > 0


def test_bad_faces_are_counted() -> None:
    """A bow tie, a line, two corners, nothing, and a quadrilateral with a corner 1 m off its plane."""
    points = np.array([[0, 0, 0], [4, 0, 0], [0, 4, 0], [4, 4, 0], [2, 0, 0], [4, 4, 1], [0.5, 3, 0]], float)
    found = triangulate(points, [Face([[0, 1, 2, 3, 6]]), Face([[0, 4, 1]]), Face([[0, 1]]), Face([]), Face([[0, 1, 5, 2]])])
    assert (found.crossing, found.degenerate, found.bent) == (1, 3, 1)
    assert found.worst == pytest.approx(0.25, rel=0.2)  # a quarter of the metre, about, from the plane in between


def test_a_sieve_is_left_out() -> None:
    """Cutting it would take hours; the face beside it stays."""
    corner = np.stack(np.meshgrid(np.arange(101.0), np.arange(101.0)), axis=2).reshape(-1, 1, 2)
    holes = (corner + np.array([[0.2, 0.2], [0.2, 0.8], [0.8, 0.8], [0.8, 0.2]])).reshape(-1, 2)
    outer = np.array([[0, 0], [101, 0], [101, 101], [0, 101], [105, 50]], np.float64)
    vertices = np.column_stack([np.concatenate([outer, holes]), np.zeros(len(holes) + 5)])
    sieve = Face([[0, 1, 2, 3], *(np.arange(5, 5 + len(holes)).reshape(-1, 4).tolist())])
    found = triangulate(vertices, [sieve, Face([[1, 4, 2]]), Face([[0, 1, 4, 2, 3]])])
    assert (found.pierced, found.degenerate, found.crossing) == (1, 0, 0)
    assert sorted(set(found.face.tolist())) == [1, 2]


def test_parts_of_owners_are_what_they_were() -> None:
    """Every triangle comes back where it was, in the order of its owner, with its texture coordinates."""
    rng = np.random.default_rng(3)
    points = rng.uniform(0, 10, (40, 3)) + np.array([405_000, 2_498_000, 5])
    faces = [Face([rng.choice(40, int(rng.integers(3, 4)), replace=False).tolist()]) for _ in range(30)]
    for face in faces[::2]:
        face.uv = [rng.uniform(0, 1, (len(face.rings[0]), 2))]
    flat = flattened([face.rings for face in faces])
    found = triangulate(points - points[0], faces)
    uv = corner_uv(found, faces, flat, len(points))
    assert uv is not None
    for triangle, number, own in zip(found.triangles, found.face, uv, strict=True):
        stated = faces[number].uv
        if stated is None:
            assert np.isnan(own).all()
        else:
            assert own == pytest.approx(stated[0][[faces[number].rings[0].index(i) for i in triangle]])
    owner = rng.integers(0, 7, len(found.triangles))
    order = np.argsort(owner, kind="stable")
    owners, sizes, triangles, counts, local, origins = kernels.by_owner(found.triangles, owner, order, points)
    assert owners.tolist() == sorted(set(owner.tolist()))
    assert sizes.tolist() == [int((owner == each).sum()) for each in owners]
    vertex, triangle = np.cumsum([0, *counts]), np.cumsum([0, *sizes])
    back = np.concatenate([(local[vertex[g] : vertex[g + 1]] + origins[g])[triangles[triangle[g] : triangle[g + 1]]] for g in range(len(owners))])
    assert np.abs(back - points[found.triangles[order]]).max() < 1e-9
    assert (local[vertex[:-1]] == 0).all()
