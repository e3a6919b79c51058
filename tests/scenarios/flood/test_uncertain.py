"""Every uncertain number: the end that is said to bring more water does, and a row without effect is refused. Rain within a polygon."""

from __future__ import annotations

from typing import Any, get_args

import numpy as np
import pytest
import shapely

from scenarios import flood
from scenarios.flood.uncertain import UNCERTAIN, Name
from twin.errors import BadOption
from twin.lake import Lake
from twin.registry import parse_options

from .conftest import CELL, E, N, layer, model_of, place, terrain
from .test_network import network

SIZE = 24
SLOPE = np.broadcast_to(12 - 0.03 * np.arange(SIZE), (SIZE, SIZE))
RAIN = {"rain": "uniform", "rain_mm_h": 200, "rain_hours": 0.05}
STORM = {"rain": "chicago", "rain_hours": 0.1}
SOAKED = {**RAIN, "infiltration_mm_h": 30, "pervious": 0.5}
SERIES = "time_min,{}\n0,{}\n60,{}"
CASES: dict[str, tuple[dict[str, Any], float, float]] = {
    "roughness": ({**RAIN, "roughness": 0.05}, 0.02, 0.2), "rain_factor": (RAIN, 0.5, 2), "rain_mm_h": (RAIN, 100, 300), "rain_hours": (RAIN, 0.02, 0.07),
    "return_period": (STORM, 2, 100), "storm_a": (STORM, 2000, 5000), "storm_c": (STORM, 0.2, 0.9), "storm_b": (STORM, 5, 15), "storm_n": (STORM, 0.6, 0.9),
    "level": ({"water": "sea", "level": 11.5}, 11.3, 11.9), "level_offset_m": ({"water": "sea", "level_csv": SERIES.format("level_m", 11.5, 11.6)}, -0.1, 0.3),
    "initial_level": ({"initial_level": 11.5}, 11.4, 11.9), "inflow_m3_s": ({"inflow_point": place(60, 60), "inflow_m3_s": 1}, 0.5, 2),
    "inflow_factor": ({"inflows": [{"line": [place(60, 60)], "csv": SERIES.format("flow_m3_s", 1, 2)}]}, 0.5, 2),
    "infiltration_mm_h": ({**SOAKED, "infiltration": "constant"}, 5, 100), "pervious": ({**SOAKED, "infiltration": "horton"}, 0.1, 0.9),
    "horton_start_mm_h": ({**SOAKED, "infiltration": "horton"}, 40, 150), "horton_decay_h": ({**SOAKED, "infiltration": "horton"}, 0.5, 40),
    "suction_m": ({**SOAKED, "infiltration": "green_ampt"}, 0.01, 0.2), "soil_saturation": ({**SOAKED, "infiltration": "green_ampt", "soil": "soils"}, 0.1, 0.9),
    "drainage_mm_h": ({**RAIN, "drainage_mm_h": 20}, 5, 80), "inlet_area_m2": ({"initial_level": 12.3, "network_inp": "", "network_crs": ""}, 0.1, 1.5),
    "inlet_perimeter_m": ({"initial_level": 11.6, "network_inp": "", "network_crs": ""}, 0.5, 6),
}  # fmt: skip


def values(name: str, low: float, high: float, **params: Any) -> flood.Params:
    return parse_options(flood.Params, {"terrain": "dem", "uncertain": [{"parameter": name, "low": low, "high": high}], **params}, "flood")


def test_the_table_and_the_schema_name_the_same() -> None:
    assert set(get_args(Name)) == set(UNCERTAIN) == set(CASES)


@pytest.mark.parametrize("name", CASES)
def test_most_leaves_more_water_than_least(lake: Lake, name: str) -> None:
    params, low, high = CASES[name]
    params = dict(params)
    if "network_inp" in params:
        params |= {"network_inp": network(0.0, diameter=1.5).replace(f"{E + 160}", f"{E + 110}"), "network_crs": "EPSG:4547"}
    whole = shapely.box(E, N - SIZE * CELL, E + SIZE * CELL, N)
    versions = {"dem": terrain(lake, SLOPE), "sea": layer(lake, "sea", "vector", [shapely.box(E + 100, N - 120, E + 120, N)], ["s"]),
                "soils": layer(lake, "soils", "vector", [whole], ["a"], soil=["sandy loam"])}  # fmt: skip
    given = values(name, low, high, **params)
    left = {}
    for which in ("least", "most"):
        member = given.member(which)
        model, _ = model_of(lake, versions, **{**params, name: getattr(member, name)}, cell=CELL, hours=0.1, open_edges=name == "roughness")
        while model.time < 240:
            model._interval()
        left[which] = model.solver.volume()
        model.close()
    assert left["most"] > left["least"] * 1.002
    assert {getattr(given.member(which), name) for which in ("least", "most")} == {low, high}


@pytest.mark.parametrize(("name", "params", "text"), [
    ("rain_mm_h", {"rain": "chicago"}, "has no effect on this run; it needs rain = uniform"),
    ("suction_m", {**RAIN, "infiltration": "horton"}, "needs infiltration = green_ampt"),
    ("inlet_area_m2", RAIN, "needs network_inp"),
    ("storm_n", {**STORM, "storm_n": 0.75}, "leaves the parameter's own limits"),
])  # fmt: skip
def test_a_row_without_effect_or_beyond_its_limits_is_refused(name: str, params: dict[str, Any], text: str) -> None:
    with pytest.raises(BadOption, match=text):
        values(name, 0.0, 1e3, **params)


def test_more_of_c_is_less_rain_below_one_year() -> None:
    rows = values("storm_c", 0.2, 0.9, rain="chicago", return_period=0.5)
    assert (rows.member("most").storm_c, rows.member("least").storm_c) == (0.2, 0.9)


def test_rain_falls_only_within_its_polygon(lake: Lake) -> None:
    corners = [place(20, 20), place(80, 20), place(20, 80)]
    model, _ = model_of(lake, {"dem": terrain(lake, np.full((SIZE, SIZE), 10.0))}, rain="uniform", rain_mm_h=36, hours=0.1, open_edges=False, rain_area=corners)
    model._sources(0.0, 100.0)
    wet = model.solver.depth > 0
    rows, columns = np.nonzero(wet)
    x, y = (columns + 0.5) * CELL, (rows + 0.5) * CELL
    assert ((x > 20) & (y > 20) & (x + y < 101)).all(), "cells by their centres"
    assert wet.sum() * CELL**2 == pytest.approx(60 * 60 / 2, rel=0.1)
    assert model.solver.depth[wet] == pytest.approx(1e-3, rel=1e-5)
    assert model.ledger["rain"] == pytest.approx(model.solver.volume(), rel=1e-6)


@pytest.mark.parametrize(("corners", "text"), [
    ([(1000, 1000), (1100, 1000), (1000, 1100)], "covers no cell"), ([(20, 20), (80, 80), (80, 20), (20, 80)], "not valid"), ([(20, 20), (80, 20)], "three corners"),
])  # fmt: skip
def test_polygons_that_cannot_be_are_refused(lake: Lake, corners: list[tuple[float, float]], text: str) -> None:
    with pytest.raises(BadOption, match=text):
        model_of(lake, {"dem": terrain(lake, np.full((SIZE, SIZE), 10.0))}, **RAIN, hours=0.1, rain_area=[place(*corner) for corner in corners])
