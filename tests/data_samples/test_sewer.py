"""The storm sewer: in the streets, at the terrain's height, falling to its outlets, and runnable."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

import numpy as np
import pytest
import shapely

from tests.data_samples.conftest import Dem, Sample


def _section(text: str, name: str) -> list[list[str]]:
    body = text.split(f"[{name}]\n", 1)[1].split("\n[", 1)[0]
    return [line.split() for line in body.splitlines() if line.strip() and not line.startswith(";")]


def test_manholes_are_in_streets_with_rims_on_the_ground(sample: Sample, dem: Dem) -> None:
    m, streets = sample.read("manholes"), sample.read("streets")
    xyz = shapely.get_coordinates(m.geometry.to_numpy(), include_z=True)
    assert len(m) > 100 and np.abs(xyz[:, 2] - m["rim"]).max() < 1e-6
    assert np.abs(dem.at(xyz[:, 0], xyz[:, 1]) - m["rim"]).max() < 0.02
    away = shapely.distance(shapely.union_all(streets.geometry.to_numpy()), shapely.points(xyz[:, :2]))
    assert away.max() < 0.05
    assert (m["depth"] > 0.9).all() and (m["depth"] < 8).all()


def test_pipes_fall_and_fit_under_the_street(sample: Sample) -> None:
    p, m = sample.read("pipes"), sample.read("manholes").set_index("id")
    assert (p["invert_up"] > p["invert_down"]).all() and (p["slope"] < 0.05).all()
    assert set(p["from_id"]) == set(m.index)
    assert set(p["to_id"]) - set(m.index) == {"WELL1", "OUT2"}
    cover = m.loc[p["from_id"], "rim"].to_numpy() - p["invert_up"] - p["diameter"]
    assert cover.min() > 0.1 and np.median(cover) > 0.8
    known = p[p["to_id"].isin(m.index)]
    assert np.abs(m.loc[known["to_id"], "invert"].to_numpy() - known["invert_down"]).max() < 1e-6


def test_model_agrees_with_the_vectors(sample: Sample, dem: Dem) -> None:
    text = sample.path("drainage").read_text(encoding="ascii")
    m = sample.read("manholes").set_index("id")
    where = {row[0]: (float(row[1]), float(row[2])) for row in _section(text, "COORDINATES")}
    junctions = {row[0]: (float(row[1]), float(row[2])) for row in _section(text, "JUNCTIONS")}
    assert set(m.index) == set(junctions) - {"BAY1"}
    for key, point in zip(m.index, m.geometry, strict=True):
        assert np.hypot(where[key][0] - point.x, where[key][1] - point.y) < 0.02
        assert abs(sum(junctions[key]) - m.loc[key, "rim"]) < 0.01
    conduits = _section(text, "CONDUITS")
    assert len(conduits) == len(m) + 1
    river = sample.read("water").query("kind == 'river'").geometry.iloc[0]
    assert all(river.contains(shapely.Point(where[o])) for o in ("OUT1", "OUT2"))
    area = sum(float(row[3]) for row in _section(text, "SUBCATCHMENTS"))
    assert abs(area - m["catchment_ha"].sum()) < 0.2 and area > 30


@pytest.mark.skipif(importlib.util.find_spec("pyswmm") is None, reason="pyswmm is not installed")
def test_model_runs_and_keeps_its_water(sample: Sample, tmp_path: Path) -> None:
    from pyswmm import Simulation, SystemStats

    model = tmp_path / "drainage.inp"
    shutil.copy(sample.path("drainage"), model)
    with Simulation(str(model)) as run:
        for _ in run:
            pass
        routing, runoff = SystemStats(run).routing_stats, SystemStats(run).runoff_stats
    assert runoff["rainfall"] > 50 and routing["wet_weather_inflow"] > 0
    # continuity in per cent, as the engine reports it while the run is open
    assert abs(routing["routing_error"]) < 1.0 and abs(runoff["routing_error"]) < 1.0
