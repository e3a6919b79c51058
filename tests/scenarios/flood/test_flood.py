"""The flood scenario on the contract: forcing, ledger, outputs, checkpoints, refusals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import shapely

from scenarios import driver, flood
from scenarios.contract import World
from scenarios.flood import model as flood_model
from tests.scenarios.flood.conftest import CELL, E, N, place, terrain
from twin import parts
from twin.errors import BadInput, BadOption, Cancelled, OverLimit
from twin.lake import Lake
from twin.model import Features, Reference, Report
from twin.registry import parse_options


def layer(lake: Lake, name: str, kind: str, shapes: list, ids: list[str]):
    features = Features(Reference("EPSG:4547"), pa.array(ids), np.array(shapes, dtype=object), pa.table({"height": [9.0] * len(ids)}))
    return parts.write_version(lake, name, kind, [features], Report(source=name), provenance={})


def bowl(size: int = 60) -> np.ndarray:
    x, y = np.meshgrid(np.arange(size) - size / 2 + 0.5, np.arange(size) - size / 2 + 0.5)
    return 10 + 4 * (x**2 + y**2) / (size / 2) ** 2


def run(lake: Lake, versions: dict, tmp_path: Path, **params: Any):
    world = World(lake, versions, Report(source="flood"))
    values = parse_options(flood.Params, {"terrain": "dem", "cell": CELL, **params}, "flood")
    return driver.drive(flood, values, world, lambda fraction, message: None, tmp_path / "checkpoint.npz"), world


@pytest.mark.parametrize("scheme", ["hllc", "hllc2", "inertial"])
def test_every_litre_is_accounted_for(lake: Lake, tmp_path: Path, scheme: str) -> None:
    houses = [shapely.box(E + 100, N - 140, E + 130, N - 110), shapely.box(E + 180, N - 200, E + 200, N - 160)]
    versions = {"dem": terrain(lake, bowl()), "houses": layer(lake, "houses", "blocks", houses, ["甲", "乙"])}
    outputs, world = run(lake, versions, tmp_path, scheme=scheme, hours=0.3, rain="uniform", rain_mm_h=90, rain_hours=0.2, buildings="houses", infiltration="horton",
                         drainage_mm_h=10, inflow_point=place(40, 40), inflow_m3_s=0.5)  # fmt: skip
    water = world.report.facts["water_m3"]
    area = (60 * CELL) ** 2
    assert water["rain"] == pytest.approx(0.09 * 0.2 * area, rel=1e-6), "rain on roofs must reach the ground"
    assert water["inflow"] == pytest.approx(0.5 * 0.3 * 3600, rel=1e-9)
    assert water["infiltration"] < 0 < water["stored"]
    assert abs(world.report.facts["imbalance_share"]) < 1e-6
    depth = outputs["depth"][0].data[0]
    assert depth.max() > 0.1
    assert set(outputs) == {o.name for o in flood.OUTPUTS}
    assert outputs["buildings"][0].attributes.column("flood_depth").to_pylist()[0] > 0.05


def test_rain_in_a_bowl_stands_level(lake: Lake, tmp_path: Path) -> None:
    outputs, world = run(lake, {"dem": terrain(lake, bowl())}, tmp_path, hours=1.5, rain="uniform", rain_mm_h=100, rain_hours=0.5, open_edges=False,
                         gauges=[*place(150, 150), *place(20, 20)])  # fmt: skip
    total = 0.05 * (60 * CELL) ** 2
    bed = bowl()
    low, high = 10.0, 14.0
    for _ in range(60):  # independent: the level that holds the whole rain
        middle = (low + high) / 2
        low, high = (middle, high) if np.maximum(middle - bed, 0).sum() * CELL**2 < total else (low, middle)
    table = next(b for b in outputs["gauges"] if not isinstance(b, Features)).rows
    last = [row for row in table.to_pylist() if row["gauge"] == "gauge-1"][-1]
    centre = bed[30, 30]
    assert last["time"] == 5400
    assert last["depth"] == pytest.approx(low - centre, abs=0.02)
    assert world.report.facts["water_m3"]["stored"] == pytest.approx(total, rel=1e-6)


def test_a_held_level_fills_to_it_and_hits_what_is_low(lake: Lake, tmp_path: Path) -> None:
    slope = np.tile(np.linspace(0, 6, 60), (60, 1))
    houses = [shapely.box(E + 60, N - 160, E + 80, N - 140), shapely.box(E + 240, N - 160, E + 260, N - 140)]
    street = [shapely.LineString([(E + 30, N - 30), (E + 280, N - 30)]), shapely.LineString([(E + 200, N - 280), (E + 280, N - 280)])]
    versions = {
        "dem": terrain(lake, slope), "river": layer(lake, "river", "vector", [shapely.box(E, N - 300, E + 10, N)], ["r"]),
        "houses": layer(lake, "houses", "blocks", houses, ["low", "high"]), "streets": layer(lake, "streets", "vector", street, ["a", "b"]),
    }  # fmt: skip
    outputs, _ = run(lake, versions, tmp_path, hours=1, water="river", level_csv="time_min,level_m\n0,0.2\n30,2\n60,2", buildings="houses", roads="streets", road_segment_m=1000, open_edges=False)
    assert outputs["buildings"][0].ids.to_pylist() == ["low"]
    assert outputs["buildings"][0].attributes.column("flood_depth").to_pylist()[0] == pytest.approx(2 - 6 * 11 / 59, abs=0.1)
    assert outputs["roads"][0].ids.to_pylist() == ["a"]
    assert outputs["roads"][0].attributes.column("flood_closure").to_pylist() == ["closed"]
    arrival = outputs["arrival"][0].data[0]
    assert 0 < arrival[10, 3] < arrival[10, 15]


@pytest.mark.parametrize("scheme", ["hllc", "hllc2", "inertial"])
def test_a_resumed_run_gives_the_same_answer(lake: Lake, tmp_path: Path, scheme: str) -> None:
    versions = {"dem": terrain(lake, bowl())}
    params = {"scheme": scheme, "hours": 0.1, "rain": "chicago", "rain_hours": 0.1, "infiltration": "green_ampt", "inflow_point": place(40, 40), "inflow_m3_s": 2.0}
    values = parse_options(flood.Params, {"terrain": "dem", "cell": CELL, **params}, "flood")
    half = flood.start(values, World(lake, versions))
    while half.time < 150:
        half._interval()
    driver._save(half, tmp_path / "resumed" / "checkpoint.npz")
    whole, first = run(lake, versions, tmp_path, **params)
    rest, second = run(lake, versions, tmp_path / "resumed", **params)
    assert second.report.facts["resumed_at_s"] == half.time
    for name in ("depth", "velocity", "arrival"):
        assert np.array_equal(whole[name][0].data, rest[name][0].data), name
    assert first.report.facts["water_m3"] == second.report.facts["water_m3"]


def test_cancelling_stops_within_a_second_of_computing(lake: Lake, tmp_path: Path) -> None:
    values = parse_options(flood.Params, {"terrain": "dem", "cell": CELL, "hours": 240, "rain": "uniform"}, "flood")

    def stop(fraction: float, message: str) -> None:
        raise Cancelled("stop")

    with pytest.raises(Cancelled):
        driver.drive(flood, values, World(lake, {"dem": terrain(lake, bowl())}), stop, tmp_path / "checkpoint.npz")


@pytest.mark.parametrize(("params", "error", "text"), [
    ({}, BadOption, "Nothing brings water"),
    ({"rain": "uniform", "hours": 8760}, BadOption, "less than or equal to 240"),
    ({"rain": "uniform", "rainfall": 3}, BadOption, "unknown option"),
    ({"rain": "uniform", "bbox": (0, 0, 1, 1)}, BadOption, "outside the terrain"),
    ({"rain": "uniform", "gauges": place(-50, 10)}, BadOption, "outside the area"),
    ({"rain": "csv", "rain_csv": "time_min,rain\n0,1\n5,2"}, BadInput, "unit is missing"),
    ({"rain": "csv", "rain_csv": "time,rain_mm\n2026-05-01T00:00,1\n2026-05-01T00:05,2"}, BadInput, "no time zone"),
    ({"rain": "csv", "rain_csv": "time_min,rain_mm\n0,1\n5,2\n10,1\n60,2"}, BadInput, "line 5: a gap"),
    ({"rain": "csv", "rain_csv": "time_min,rain_mm\n0,1\n5,-2\n10,1"}, BadInput, "line 3: -2 is impossible"),
    ({"rain": "csv", "rain_csv": "time_min,rain_mm\n0,1\n5,\n10,1"}, BadInput, "line 3"),
    ({"inflow_m3_s": 3.0}, BadOption, "inflow needs inflow_point"),
    ({"inflow_point": place(40, 40), "inflow_csv": "time_min,flow\n0,1\n5,2"}, BadInput, "unit is missing"),
    ({"inflow_point": place(40, 40), "inflow_csv": "time,flow_m3_s\n2026-05-01T00:00,1\n2026-05-01T00:05,2"}, BadInput, "no time zone"),
    ({"inflow_point": place(40, 40), "inflow_csv": "time_min,flow_m3_s\n0,1\n0,2"}, BadInput, "does not ascend"),
    ({"rain": "csv", "rain_csv": "minutes,rain_mm\n0,1\n5,2"}, BadInput, "names its first column 'minutes'"),
    ({"rain": "uniform", "cell": 4000}, BadOption, "less than or equal to 500"),
])  # fmt: skip
def test_bad_runs_are_refused(lake: Lake, tmp_path: Path, params: dict, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        run(lake, {"dem": terrain(lake, bowl())}, tmp_path, **params)


def test_a_grid_of_ten_thousand_million_cells_is_refused_with_its_memory(lake: Lake, tmp_path: Path) -> None:
    with pytest.raises(OverLimit, match=r"1.00e\+10 cells .* GB of memory"):
        run(lake, {"dem": terrain(lake, np.zeros((100, 100)), 250.0)}, tmp_path, cell=0.25, rain="uniform")


def test_the_chicago_storm_brings_its_formulas_depth_and_peak() -> None:
    a, c, b, n = 2000.0, 0.5, 10.0, 0.7
    storm = flood_model.series.chicago(a, c, b, n, 10.0, 2.0, 0.4)
    mean = a * (1 + c) / (120 + b) ** n * 0.36 / 1000 / 3600  # m/s over the whole storm
    assert storm.depths[-1] == pytest.approx(mean * 7200, rel=1e-9)
    rate = np.diff(storm.depths) / np.diff(storm.times)
    assert storm.times[np.argmax(rate)] == pytest.approx(0.4 * 7200, abs=20)
    # the worst 30 minutes are those of the formula
    worst = max(storm.between(t, t + 1800) for t in range(0, 5400, 15))
    assert worst == pytest.approx(a * (1 + c) / (30 + b) ** n * 0.36e-3 / 3600 * 1800, rel=2e-3)


def test_a_measured_rain_falls_in_its_own_unit_and_time() -> None:
    zoned = flood_model.series.measured("time,rain_mm\n2026-05-01T00:00+08:00,0\n2026-05-01T00:05+08:00,3\n2026-05-01T00:10+08:00,1")
    assert zoned.between(0, 300) == pytest.approx(0.003)
    assert zoned.between(0, 1e6) == pytest.approx(0.004)
    rate = flood_model.series.measured("time_h,rain_mm_h\n0,36\n1,0")
    assert rate.between(0, 1800) == pytest.approx(0.018)


def test_a_flow_that_breaks_down_names_where_and_keeps_the_last_good_state() -> None:
    from scenarios.flood.solver import Solver

    s = Solver(np.zeros((40, 300)), 1.0)
    s.set_depth(np.ones((40, 300)))
    s.step(0.01)
    s.set_velocity(np.where(np.arange(300) == 200, 1e12, 0.0) * np.ones((40, 1)), np.zeros((40, 300)))
    before = s.state
    with pytest.raises(BadInput, match=r"broke down at t = .* row \d+, column 200"):
        s.step(1.0)
    assert s.state is before


@pytest.mark.parametrize(("scheme", "slope", "fit"), [("inertial", 0.05, False), ("inertial", 0.0005, True), ("hllc", 0.05, True)])
def test_the_run_says_whether_its_scheme_fits_the_case(lake: Lake, tmp_path: Path, scheme: str, slope: float, fit: bool) -> None:
    """An inflow on a plane: uniform flow of 0.1 m²/s is beyond critical from a slope of g·n²/h^(1/3) ≈ 0.9% on (n = 0.02), slow below."""
    bed = 20 - slope * CELL * np.arange(40)[None] * np.ones((20, 1))
    rows = [{"name": "gutter", "line": [place(7, 5), place(7, 95)], "flow_m3_s": 9.0}]
    _, world = run(lake, {"dem": terrain(lake, bed)}, tmp_path, hours=0.1, scheme=scheme, inflows=rows, roughness=0.02)
    warned = [note.reason for note in world.report.notes if note.action == "warned" and note.feature == "scheme"]
    assert bool(warned) is not fit
    assert all("use scheme=hllc" in text and "Froude" in text for text in warned)
    assert any(note.feature == "scheme" and "fit for slow flow" in note.reason for note in world.report.notes) is (scheme == "inertial")
    words = "slow flow only" if scheme == "inertial" else "fit for slow and fast flow"
    assert (words in world.page) is (fit)
