"""Static inundation against closed forms."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import shapely

from scenarios import driver, inundation
from scenarios.contract import World, layer_params
from scenarios.kernels.connected import connected_below
from twin import parts
from twin.errors import BadOption
from twin.lake import Lake
from twin.model import Column, Features, Grid, Reference, Report

E, N, CELL = 400_000.0, 2_490_000.0, 2.0
HEIGHTS = Reference("EPSG:4547", "EPSG:5737")


def terrain(lake: Lake, heights: np.ndarray):
    grid = Grid(HEIGHTS, heights[None].astype(np.float32), (CELL, 0, E, 0, -CELL, N), -9999.0, (Column("height", "float", "m"),))
    return parts.write_version(lake, "dem", "terrain", [grid], Report(source="dem"), provenance={})


def vector(lake: Lake, name: str, shapes: list, ids: list[str], columns: dict | None = None, kind: str = "vector"):
    table = pa.table(columns or {"n": list(range(len(ids)))})
    features = Features(Reference("EPSG:4547"), pa.array(ids), np.array(shapes, dtype=object), table)
    return parts.write_version(lake, name, kind, [features], Report(source=name), provenance={})


def run(lake: Lake, versions: dict, tmp_path: Path, **params):
    world = World(lake, versions, Report(source="inundation"))
    values = inundation.Params(terrain="dem", **params)
    return driver.drive(inundation, values, world, lambda fraction, message: None, tmp_path / "checkpoint.npz"), world


def bowl(size: int = 201, radius: float = 150.0, height: float = 9.0) -> np.ndarray:
    """A paraboloid: depth below level h holds π h² r² / (2 H) of water (H: height at radius r)."""
    half = (size - 1) / 2
    x, y = np.meshgrid((np.arange(size) - half) * CELL, (np.arange(size) - half) * CELL)
    return height * (x**2 + y**2) / radius**2


def test_a_paraboloid_holds_its_volume(lake: Lake, tmp_path: Path) -> None:
    size, radius, height, level = 201, 150.0, 9.0, 4.0
    versions = {"dem": terrain(lake, bowl(size, radius, height)), "spring": vector(lake, "spring", [shapely.Point(E + size * CELL / 2, N - size * CELL / 2)], ["s"])}
    outputs, world = run(lake, versions, tmp_path, level=level, source="spring")
    exact = np.pi * level**2 * radius**2 / (2 * height)
    k = 1.0  # EPSG:4547 grid scale near 113° E is 1 + 5e-4 in area; within the tolerance
    assert world.report.facts["volume_m3"] == pytest.approx(exact * k, rel=2e-3)
    depth = outputs["depth"][0].data[0]
    wet = depth > 0
    expected = level - bowl(size, radius, height)
    assert np.abs(depth[wet] - expected[wet]).max() < 1e-4
    assert wet.sum() * CELL**2 == pytest.approx(np.pi * radius**2 * level / height, rel=5e-3)


def test_water_does_not_cross_a_ridge_or_a_diagonal_dike() -> None:
    ground = np.zeros((40, 40))
    ground[:, 20] = 5.0
    source = np.zeros((40, 40), bool)
    source[5, 5] = True
    wet = connected_below(ground, 1.0, source)
    assert wet[:, :20].all()
    assert not wet[:, 20:].any()
    diagonal = np.zeros((40, 40))
    np.fill_diagonal(diagonal, 5.0)
    below = connected_below(diagonal, 1.0, source | np.eye(40, k=-5, dtype=bool))
    assert below[20, 3]
    upper = np.zeros((40, 40), bool)
    upper[3, 30] = True
    assert not connected_below(diagonal, 1.0, upper)[30, 3], "water passed between diagonal neighbours"


def test_voids_stay_dry() -> None:
    ground = np.array([[0.0, np.nan, 0.0]])
    assert connected_below(ground, 1.0, np.array([[True, False, False]])).tolist() == [[True, False, False]]


def test_flooded_buildings(lake: Lake, tmp_path: Path) -> None:
    plain = np.tile(np.linspace(0, 10, 200), (200, 1))  # rises eastwards 10 m over 400 m
    west, east = shapely.box(E + 40, N - 120, E + 60, N - 100), shapely.box(E + 300, N - 120, E + 320, N - 100)
    versions = {
        "dem": terrain(lake, plain), "river": vector(lake, "river", [shapely.box(E, N - 400, E + 4, N)], ["r"]),
        "houses": vector(lake, "houses", [west, east], ["西", "东"], {"height": [9.0, 9.0]}, "blocks"),
    }  # fmt: skip
    outputs, world = run(lake, versions, tmp_path, level=3.0, source="river", buildings="houses")
    flooded = outputs["buildings"][0]
    assert flooded.ids.to_pylist() == ["西"]
    at_wall = 3.0 - 10 * (40 / CELL) / 199  # ground under its west wall
    assert flooded.attributes.column("flood_depth").to_pylist()[0] == pytest.approx(at_wall, abs=0.06)
    assert (world.report.read, world.report.kept) == (2, 1)


def test_a_run_goes_on_from_its_checkpoint(lake: Lake, tmp_path: Path) -> None:
    versions = {"dem": terrain(lake, bowl()), "spring": vector(lake, "spring", [shapely.Point(E + 201, N - 201)], ["s"])}
    params = inundation.Params(terrain="dem", level=4.0, source="spring", steps=8)
    whole, _ = run(lake, versions, tmp_path, level=4.0, source="spring", steps=8)
    half = inundation.start(params, World(lake, versions))
    for _ in range(4):
        half.step()
    driver._save(half, tmp_path / "checkpoint.npz")
    rest, world = run(lake, versions, tmp_path, level=4.0, source="spring", steps=8)
    assert world.report.facts["resumed_at_s"] == 4
    assert np.array_equal(whole["depth"][0].data, rest["depth"][0].data)


@pytest.mark.parametrize(("params", "text"), [
    ({"level": 4.0}, "needs a source"), ({"level": -5.0, "source_point": (112.03, 22.5)}, "nowhere below"),
    ({"level": 4.0, "source_point": (10.0, 50.0)}, "nowhere below"), ({"level": 4.0, "source_point": (113.0, 22.5), "bbox": (0, 0, 1, 1)}, "outside the terrain"),
])  # fmt: skip
def test_bad_runs_are_refused(lake: Lake, tmp_path: Path, params: dict, text: str) -> None:
    with pytest.raises(BadOption, match=text):
        run(lake, {"dem": terrain(lake, bowl())}, tmp_path, **params)


def test_layer_parameters_are_declared() -> None:
    assert layer_params(inundation.Params) == {"terrain": ["terrain"], "source": ["vector", "blocks"], "buildings": ["blocks"]}
