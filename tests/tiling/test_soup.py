"""Prototypes that are read together and instances that are placed together are those that are read and placed one by one, to the last bit."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tiling.meshes.shapes import KINDS, Shapes
from tiling.meshes.soup import place
from tiling.store import Store
from twin import crs
from twin.meshes import placed_alike
from twin.model import Material, Reference

PLACE = np.array([500_000.0, 2_500_000.0, 30.0])


def prototypes(rng: np.random.Generator, *, dressed: bool) -> list[Any]:
    """Of different sizes; every third has texture coordinates, every fourth colours, if `dressed`; one is empty."""
    made: list[Any] = []
    for k in range(12):
        vertices, count = 3 + k % 5, 1 + k % 4
        triangles = rng.integers(0, vertices, (count, 3)).astype(np.int32)
        uv = rng.random((count, 3, 2)).astype(np.float32) if dressed and k % 3 == 0 else None
        colors = rng.integers(0, 255, (count, 3, 4)).astype(np.uint8) if dressed and k % 4 == 0 else None
        made.append((rng.normal(size=(vertices, 3)), triangles, rng.integers(0, 2, count), uv, colors))
    if dressed:
        made.append((np.zeros((0, 3)), np.zeros((0, 3), np.int32), np.zeros(0, np.int64), None, None))
    return made


def shapes(folder: Path, many: list[Any], *, together: bool) -> Shapes:
    found = Shapes(Store(KINDS, folder, 1 << 20), Reference("EPSG:32650", "ellipsoid"), {})
    for material in (Material("a", (1.0, 0.0, 0.0, 1.0)), Material("b", (0.0, 1.0, 0.0, 1.0))):
        found.looks.number(material)
    if together:
        columns = zip(("positions", "triangles", "materials", "uv", "colors"), zip(*many, strict=True), strict=True)
        held = {name: [one for one in column if one is not None] for name, column in columns}
        counts = {name: np.array([0 if one is None else len(one) for one in column]) for name, column in zip(held, zip(*many, strict=True), strict=True)}
        found.extend({name: (np.concatenate(some), counts[name]) for name, some in held.items() if some})
    else:
        for one in many:
            found.add(*one)
    found.rank, found.materials = found.looks.ranked()
    return found


@pytest.mark.parametrize("dressed", [False, True])
def test_prototypes_read_together_are_those_read_one_by_one(tmp_path: Path, dressed: bool) -> None:
    many = prototypes(np.random.default_rng(1), dressed=dressed)
    one, other = (shapes(tmp_path / str(together), many, together=together) for together in (False, True))
    assert one.count == other.count == len(many)
    assert len(set(one.store["mark"].tolist())) == len(many)
    for name in KINDS:
        assert np.array_equal(one.store[name], other.store[name], equal_nan=one.store[name].dtype.kind == "f"), name


def test_instances_placed_together_are_those_placed_one_by_one(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    found = shapes(tmp_path, prototypes(rng, dressed=True), together=True)
    count = 40
    transform = np.tile(np.eye(4), (count, 1, 1))
    transform[:, :3, :3] = rng.normal(size=(count, 3, 3))  # about half of them turn the right hand into the left
    transform[:, :3, 3] = PLACE + rng.normal(size=(count, 3)) * 50
    found.store.add("prototype", rng.permutation(np.arange(count) % found.count))
    found.store.add("transform", transform)
    elements: Any = SimpleNamespace(shapes=found, store=found.store, reference=found.reference, materials=found.materials)
    wanted = np.array([(i // 2, i) for i in rng.permutation(count)])
    frame = crs.enu_frame(117.0, 22.6)
    soup = place(elements, wanted, frame)
    assert soup is not None
    assert soup.uv is not None
    assert soup.colors is not None
    at = first = 0
    for owner, instance in wanted.tolist():
        own, t = found.shape(instance), found.transform(instance)
        turn = slice(None, None, -1 if np.linalg.det(t[:3, :3]) < 0 else 1)
        rows = slice(at, at + len(own.triangles))
        assert np.array_equal(soup.triangles[rows] - first, own.triangles[:, turn])
        assert (soup.owner[rows] == owner).all()
        assert np.array_equal(soup.material[rows], own.material)
        assert np.array_equal(soup.uv[rows], np.full((len(own.triangles), 3, 2), np.nan, np.float32) if own.uv is None else own.uv[:, turn], equal_nan=True)
        assert np.array_equal(soup.colors[rows], np.full((len(own.triangles), 3, 4), 255) if own.colors is None else own.colors[:, turn])
        if len(own.positions):
            geodetic = crs.to_geodetic(found.reference, own.positions @ t[:3, :3].T + t[:3, 3])
            where = (crs.geodetic_to_ecef(geodetic) - frame[:3, 3]) @ frame[:3, :3]
            assert np.abs(soup.positions[first : first + len(where)] - where).max() < 1e-8
        at, first = at + len(own.triangles), first + len(own.positions)
    assert (at, first) == (len(soup.triangles), len(soup.positions))
    assert place(elements, wanted[:0], frame) is None


def test_few_vertices_are_placed_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("twin.meshes.AT_A_TIME", 12)
    rng = np.random.default_rng(3)
    positions, count = rng.normal(size=(30, 3)), np.array([5, 0, 7, 5, 5, 7, 30])
    first, transform = np.array([0, 5, 5, 12, 2, 20, 0]), rng.normal(size=(7, 4, 4))
    seen = []
    for some, placed in placed_alike(positions, first, count, transform):
        assert placed.shape[0] * placed.shape[1] <= 30
        for i, own in zip(some.tolist(), placed, strict=True):
            t = transform[i]
            assert np.array_equal(own, positions[first[i] : first[i] + count[i]] @ t[:3, :3].T + t[:3, 3])
            seen.append(i)
    assert sorted(seen) == list(range(7))
