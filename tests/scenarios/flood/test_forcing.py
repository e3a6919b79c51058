"""Forcing: gauges and grids of rain, several inflows, clock times, soils and imperviousness against closed forms, the spread of three runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import shapely

from scenarios import driver, flood
from scenarios.contract import World
from scenarios.flood.losses import TEXTURES
from twin.errors import BadInput, BadOption
from twin.lake import Lake
from twin.registry import from_text, parse_options

from .conftest import CELL, E, N, layer, model_of, place, raster, run, terrain

SIZE = 40
AREA = (SIZE * CELL) ** 2


def flat() -> np.ndarray:
    return np.full((SIZE, SIZE), 10.0)


def march(model, until: float) -> None:
    while model.time < until:
        model._interval()


CLOSED = {"open_edges": False, "hours": 0.5}


def gauge(name: str, x: float, y: float, mm: float, start: str = "2026-05-20T08:00+08:00", later: str = "2026-05-20T08:10+08:00") -> dict:
    return {"name": name, "at": place(x, y), "csv": f"time,rain_mm\n{start},0\n{later},{mm}"}


def test_thiessen_gives_each_cell_the_nearest_gauge_and_idw_their_weighted_mean(lake: Lake) -> None:
    gauges = [gauge("west", 50, 100, 10), gauge("east", 150, 100, 30)]
    found = {}
    for how in ("thiessen", "idw"):
        model, _ = model_of(lake, {"dem": terrain(lake, flat())}, **CLOSED, rain="gauges", rain_gauges=gauges, rain_interpolation=how)
        model._sources(0.0, 600.0)
        found[how] = model.solver.depth.copy()
        assert model.ledger["rain"] == pytest.approx(model.solver.volume(), rel=1e-6)
    assert found["thiessen"][5, 5] == pytest.approx(0.010)
    assert found["thiessen"][5, 35] == pytest.approx(0.030)
    x, y = 52.5, 37.5  # independent: inverse squared distance at the centre of cell (7, 10)
    a, b = 1 / ((x - 50) ** 2 + (y - 100) ** 2), 1 / ((x - 150) ** 2 + (y - 100) ** 2)
    assert found["idw"][7, 10] == pytest.approx((a * 10 + b * 30) / (a + b) / 1000, rel=1e-3)


def test_series_by_the_clock_count_from_the_runs_start(lake: Lake) -> None:
    late = gauge("east", 150, 100, 30, "2026-05-20T08:05+08:00", "2026-05-20T08:15+08:00")
    gauges = [gauge("west", 50, 100, 10), late]
    with pytest.raises(BadInput, match="different moments"):
        model_of(lake, {"dem": terrain(lake, flat())}, **CLOSED, rain="gauges", rain_gauges=gauges)
    model, _ = model_of(lake, {"dem": terrain(lake, flat())}, **CLOSED, rain="gauges", rain_gauges=gauges, rain_interpolation="thiessen", start="2026-05-20T00:00:00+00:00")
    model._sources(0.0, 600.0)
    assert model.solver.depth[5, 5] == pytest.approx(0.010)
    assert model.solver.depth[5, 35] == pytest.approx(0.015), "five of its ten minutes have passed"
    with pytest.raises(BadInput, match="no time zone"):
        model_of(lake, {"dem": terrain(lake, flat())}, **CLOSED, rain="gauges", rain_gauges=gauges, start="2026-05-20T00:00:00")


def test_a_gap_in_one_gauge_is_named(lake: Lake) -> None:
    bad = {"name": "broken", "at": place(20, 20), "csv": "time_min,rain_mm\n0,0\n5,1\n10,1\n60,1"}
    with pytest.raises(BadInput, match="rain series broken, line 5: a gap"):
        model_of(lake, {"dem": terrain(lake, flat())}, **CLOSED, rain="gauges", rain_gauges=[bad])


def test_gridded_rain_falls_where_and_when_its_bands_say(lake: Lake, tmp_path: Path) -> None:
    data = np.zeros((3, 2, 2))
    data[0] = [[36, 72], [0, 0]]
    data[1] = [[0, 0], [36, 36]]
    versions = {"dem": terrain(lake, flat()), "radar": raster(lake, "radar", data, SIZE * CELL / 2)}
    model, world = model_of(lake, versions, **CLOSED, rain="grid", rain_grid="radar", rain_grid_step_min=5)
    model._sources(240.0, 360.0)
    depth = model.solver.depth
    assert depth[5, 5] == pytest.approx(36e-3 / 60, rel=1e-5), "one minute of the first band"
    assert depth[5, 35] == pytest.approx(72e-3 / 60, rel=1e-5)
    assert depth[35, 5] == pytest.approx(36e-3 / 60, rel=1e-5), "one minute of the second"
    assert any("bands" in note.reason for note in world.report.notes)
    _, world = run(lake, versions, tmp_path, **CLOSED, rain="grid", rain_grid="radar", rain_grid_step_min=5, rain_factor=2)
    assert world.report.facts["water_m3"]["rain"] == pytest.approx(2 * (36 + 72 + 36 + 36) / 1000 / 12 * AREA / 4, rel=1e-5)
    negative = raster(lake, "radar", data - 1, SIZE * CELL / 2)
    with pytest.raises(BadInput, match="band 1: intensities from -1"):
        run(lake, {**versions, "radar": negative}, tmp_path, **CLOSED, rain="grid", rain_grid="radar")
    with pytest.raises(BadInput, match="no data over"):
        run(lake, {**versions, "radar": raster(lake, "radar", data, SIZE * CELL / 4)}, tmp_path, **CLOSED, rain="grid", rain_grid="radar")


def test_every_inflow_has_its_own_entry(lake: Lake, tmp_path: Path) -> None:
    rows = [{"name": "river", "line": [place(20, 20), place(20, 180)], "csv": "time_min,flow_m3_s\n0,0\n10,2"}, {"line": [place(100, 100)], "flow_m3_s": 0.5}]
    _, world = run(lake, {"dem": terrain(lake, flat())}, tmp_path, **CLOSED, inflows=rows)
    water = world.report.facts["water_m3"]
    assert water["inflow:river"] == pytest.approx(2 * 300 + 2 * 1200, rel=1e-6)
    assert water["inflow:inflow-2"] == pytest.approx(900, rel=1e-9)
    assert abs(world.report.facts["imbalance_share"]) < 1e-6
    assert any(note.feature == "inflow:river" and "holds to the end" in note.reason for note in world.report.notes)
    with pytest.raises(BadOption, match="leaves the area"):
        run(lake, {"dem": terrain(lake, flat())}, tmp_path, **CLOSED, inflows=[{"line": [place(20, 20), place(20, 500)], "flow_m3_s": 1}])


def test_green_ampt_by_soil_follows_its_implicit_equation(lake: Lake) -> None:
    """Ponded all the time: F − ψΔθ·ln(1 + F/ψΔθ) = K·t (Green & Ampt 1911); the impervious half takes nothing."""
    soils = layer(lake, "soils", "vector", [shapely.box(E, N - 200, E + 100, N), shapely.box(E + 100, N - 200, E + 200, N)], ["a", "b"], soil=["loam", "砂质壤土"])
    paved = layer(lake, "paved", "vector", [shapely.box(E, N - 200, E + 200, N - 100)], ["p"], share=[1.0])
    model, _ = model_of(lake, {"dem": terrain(lake, flat()), "soils": soils, "paved": paved}, **CLOSED, infiltration="green_ampt", soil="soils", impervious="paved",
                        impervious_column="share", pervious=1.0, initial_level=10.5, roughness=10 / 11)  # fmt: skip
    for t in range(1800):
        model._sources(float(t), t + 1.0)
    taken = 0.5 - model.solver.depth.astype(float)
    for column, name in ((5, "loam"), (35, "sandy loam")):
        rate, suction, porosity = TEXTURES[name]
        head, k = suction / 1000 * porosity * 0.5, rate / 3.6e6 * 1800
        f = k
        for _ in range(200):
            f = k + head * np.log(1 + f / head)
        assert taken[5, column] == pytest.approx(f, rel=0.02), name
    assert np.abs(taken[25:]).max() < 1e-6
    assert model.ledger["infiltration"] == pytest.approx(model.solver.volume() - 0.5 * AREA, rel=1e-4)


def test_horton_takes_the_integral_of_its_curve_by_imperviousness(lake: Lake) -> None:
    share = raster(lake, "paved", np.array([[[0.0, 100.0], [50.0, 0.0]]]), SIZE * CELL / 2)
    model, _ = model_of(lake, {"dem": terrain(lake, flat()), "paved": share}, **CLOSED, infiltration="horton", infiltration_mm_h=6, horton_start_mm_h=60, horton_decay_h=4,
                        impervious="paved", initial_level=10.5)  # fmt: skip
    for t in range(1800):
        model._sources(float(t), t + 1.0)
    taken = 0.5 - model.solver.depth.astype(float)
    whole = (6 * 0.5 + 54 * (1 - np.exp(-2)) / 4) / 1000
    assert taken[5, 5] == pytest.approx(whole, rel=1e-4)
    assert taken[30, 5] == pytest.approx(whole / 2, rel=1e-4)
    assert abs(taken[5, 30]) < 1e-6


def test_an_unknown_soil_is_named_with_its_feature(lake: Lake) -> None:
    soils = layer(lake, "soils", "vector", [shapely.box(E, N - 200, E + 200, N)], ["a"], soil=["moon dust"])
    with pytest.raises(BadInput, match=r"feature a: soil 'moon dust' is unknown"):
        model_of(lake, {"dem": terrain(lake, flat()), "soils": soils}, **CLOSED, infiltration="green_ampt", soil="soils", initial_level=11)
    with pytest.raises(BadOption, match="no column 'kind'"):
        model_of(lake, {"dem": terrain(lake, flat()), "soils": soils}, **CLOSED, infiltration="green_ampt", soil="soils", soil_column="kind", initial_level=11)


UNSURE = [{"parameter": "rain_factor", "low": 0.5, "high": 1.5}, {"parameter": "drainage_mm_h", "low": 0, "high": 20}]


def test_uncertain_parameters_give_the_spread_of_three_runs(lake: Lake, tmp_path: Path) -> None:
    params = {**CLOSED, "hours": 0.1, "rain": "uniform", "rain_mm_h": 600, "rain_hours": 0.1, "drainage_mm_h": 10, "threshold": 0.001}
    outputs, world = run(lake, {"dem": terrain(lake, flat())}, tmp_path, **params, uncertain=UNSURE)
    expected = {"depth-least": 0.030 - 0.002, "depth": 0.060 - 0.001, "depth-most": 0.090}
    for name, value in expected.items():
        assert outputs[name][0].data.max() == pytest.approx(value, rel=0.02)
    assert world.report.facts["spread"]["members"]["most"]["max_depth_m"] == pytest.approx(0.09, rel=0.02)
    assert world.report.facts["spread"]["members"]["least"]["max_depth_m"] == pytest.approx(0.028, rel=0.02)
    plain, _ = run(lake, {"dem": terrain(lake, flat())}, tmp_path, **params)
    assert np.array_equal(plain["depth"][0].data, outputs["depth"][0].data)
    assert plain["depth-least"] == []


def test_a_spread_resumes_in_any_of_its_members(lake: Lake, tmp_path: Path) -> None:
    params = {**CLOSED, "hours": 0.05, "rain": "uniform", "rain_mm_h": 600, "rain_hours": 0.1, "drainage_mm_h": 10, "uncertain": UNSURE, "threshold": 0.001}
    versions = {"dem": terrain(lake, flat())}
    whole, first = run(lake, versions, tmp_path, **params)
    half = flood.start(parse_options(flood.Params, {"terrain": "dem", "cell": CELL, **params}, "flood"), World(lake, versions))
    while half.time < 180 + 90:
        half.now._interval()
        if half.now.time >= half.now.end:
            half.step()
    driver._save(half, tmp_path / "resumed" / "checkpoint.npz")
    rest, second = run(lake, versions, tmp_path / "resumed", **params)
    for name in ("depth", "depth-least", "depth-most"):
        assert np.array_equal(whole[name][0].data, rest[name][0].data), name
    assert first.report.facts["spread"] == second.report.facts["spread"]


@pytest.mark.parametrize(("params", "text"), [
    ({"uncertain": [{"parameter": "roughness", "low": 0.05, "high": 0.04}]}, "low must be below high"),
    ({"uncertain": [{"parameter": "roughness", "low": 0.05, "high": 0.06}]}, "not between low"),
    ({"uncertain": [{"parameter": "initial_level", "low": 1, "high": 2}]}, "level is None"),
    ({"infiltration": "constant", "uncertain": [{"parameter": "pervious", "low": 0.1, "high": 1.4}]}, "own limits"),
    ({"rain": "gauges"}, "need each other"),
    ({"rain": "grid"}, "need each other"),
    ({"soil": "x"}, "need an infiltration model"),
    ({"inflows": [{"line": [[0, 0]]}]}, "flow_m3_s or csv"),
])  # fmt: skip
def test_contradictions_are_refused(params: dict, text: str) -> None:
    with pytest.raises(BadOption, match=text):
        parse_options(flood.Params, {"terrain": "dem", **params}, "flood")


def test_rows_can_be_given_on_the_command_line_as_json() -> None:
    text = '[{"kind": "pump", "line": [[113, 22]], "curve": [[0, 1]], "start_level": 2, "stop_level": 1}]'
    values = from_text(flood.Params, {"terrain": "dem", "structures": text, "gauges": "113,22"})
    assert parse_options(flood.Params, values, "flood").structures[0].kind == "pump"
    with pytest.raises(BadOption, match="not JSON"):
        from_text(flood.Params, {"structures": "[{"})
    assert "discriminator" in str(flood.Params.model_json_schema()), "the form learns the kinds from the schema"
