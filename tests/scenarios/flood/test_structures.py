"""Structures: watertight lines, weirs and culverts against their closed forms, controls, breaches, resuming, refusals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely

from scenarios import driver, flood
from scenarios.contract import World
from scenarios.flood.culvert import barrel, section
from scenarios.flood.structure_params import ROWS, Culvert, from_geojson
from scenarios.kernels import structures as kernel
from twin.errors import BadOption
from twin.lake import Lake
from twin.registry import parse_options

from .conftest import CELL, E, N, layer, model_of, place, run, terrain

SIZE = 40
SPAN = SIZE * CELL


def line(*xy: tuple[float, float]) -> list[tuple[float, float]]:
    return [place(*p) for p in xy]


def flat(level: float = 10.0) -> np.ndarray:
    return np.full((SIZE, SIZE), level)


def two_ponds(model: Any, left: float, right: float, column: int = 20) -> None:
    """Levels left and right of a column of cells."""
    model.solver.set_level(np.where(np.arange(SIZE)[None] < column, left, right) * np.ones((SIZE, 1)))
    model.ledger["initial"] = model.solver.volume()


def march(model: Any, until: float) -> None:
    while model.time < until:
        model._interval()


BASE = {"open_edges": False, "initial_level": 10.0, "hours": 1.0}
WALL = {"kind": "levee", "name": "dyke", "crest": 13.0}


@pytest.mark.parametrize("scheme", ["hllc", "hllc2", "inertial"])
@pytest.mark.parametrize("course", [((100.2, -5), (100.2, 205)), ((-5, 31), (205, 167)), ((30, -5), (60, 90), (140, 100), (170, 205))])
def test_a_levee_holds_water_whatever_its_direction(lake: Lake, scheme: str, course: tuple) -> None:
    model, _ = model_of(lake, {"dem": terrain(lake, flat())}, **BASE, scheme=scheme, roughness=0.0, structures=[{**WALL, "line": line(*course)}])
    faces = model.parts[0]
    side = np.zeros((SIZE, SIZE), np.int8)  # independent: flood fill from a corner through open faces
    mask = model.solver.mask[model.solver.inside]
    stack = [(SIZE - 1, 0)]
    while stack:
        r, c = stack.pop()
        if side[r, c]:
            continue
        side[r, c] = 1
        for rr, cc, closed in ((r, c + 1, mask[r, c] & 1), (r, c - 1, c and mask[r, c - 1] & 1), (r + 1, c, mask[r, c] & 2), (r - 1, c, r and mask[r - 1, c] & 2)):
            if 0 <= rr < SIZE and 0 <= cc < SIZE and not closed:
                stack.append((rr, cc))
    assert 0.1 < side.mean() < 0.9, "the line must part the area in two"
    model.solver.set_depth(np.where(side == 1, 2.5, 0.0))
    before = model.solver.volume()
    march(model, 60)
    assert model.solver.depth[side == 0].max() == 0.0
    assert model.solver.volume() == pytest.approx(before, rel=1e-9)
    assert np.hypot(*model.solver.velocity()).max() < 1e-4, "still water stays still behind it"
    length = np.hypot(*np.diff(np.clip(np.array(course), 0, SPAN), axis=0).T).sum()
    assert faces.table["length"].sum() == pytest.approx(length, rel=0.1), "the line's own length, not that of its staircase"


def test_the_weir_formula_is_villemontes() -> None:
    assert kernel.weir(1.7, 10.0, 0.5, -1.0) == pytest.approx(1.7 * 10 * 0.5**1.5)
    assert kernel.weir(1.7, 10.0, 0.5, 0.25) == pytest.approx(1.7 * 10 * 0.5**1.5 * (1 - 0.5**1.5) ** 0.385)
    assert kernel.weir(1.7, 10.0, 0.5, 0.5) == 0.0
    assert kernel.opening(0.6, 1.7, 2.0, 0.5, 3.0, 1.0) == pytest.approx(0.6 * 2 * 0.5 * np.sqrt(2 * 9.81 * 2.0))
    assert kernel.opening(0.6, 1.7, 2.0, 0.5, 3.0, 0.0) == pytest.approx(0.6 * 2 * 0.5 * np.sqrt(2 * 9.81 * 2.75))


@pytest.mark.parametrize("scheme", ["hllc", "inertial"])
def test_a_pond_drains_over_a_weir_as_its_formula_says(lake: Lake, scheme: str) -> None:
    """dh/dt = −C·L·h^1.5/A for the head h of a pond of area A: h = (h₀^-½ + C·L·t/(2A))^-2."""
    bed = flat()
    bed[:, 20:] = 5.0
    row = {"kind": "weir", "name": "spill", "crest": 12.0, "line": line((100, -5), (100, 205)), "coefficient": 0.5}
    model, _ = model_of(lake, {"dem": terrain(lake, bed)}, **{**BASE, "initial_level": None, "rain": "uniform", "rain_mm_h": 0}, scheme=scheme,
                        roughness=0.03 if scheme == "inertial" else 0.0, structures=[row])  # fmt: skip
    two_ponds(model, 12.4, 5.0)
    march(model, 120)
    area, length = 20 * CELL * SPAN, SPAN
    expected = (0.4**-0.5 + 0.5 * length * 120 / (2 * area)) ** -2
    mean = float(model.solver.depth[:, :20].astype(float).mean()) - 2.0
    assert mean == pytest.approx(expected, abs=0.005)
    assert model.facts()["structures"]["spill"]["both_ways_m3"] == pytest.approx((0.4 - mean) * area, rel=1e-4)
    assert abs(model.water()["imbalance"]) < 1e-6 * model.water()["stored"]


def test_water_below_the_crest_stays_and_above_it_passes_until_level(lake: Lake) -> None:
    row = {**WALL, "crest": 11.0, "line": line((100, -5), (100, 205))}
    model, _ = model_of(lake, {"dem": terrain(lake, flat())}, **BASE, structures=[row])
    two_ponds(model, 10.9, 10.0)
    march(model, 20)
    assert model.solver.depth[:, 20:].max() == 0
    two_ponds(model, 13.0, 10.0)
    march(model, 1500)
    level = model.solver.level()
    assert level[:, :20].mean() == pytest.approx(level[:, 20:].mean(), abs=0.03)


def test_a_height_counts_from_the_ground_and_a_barrier_stands_only_in_its_hours(lake: Lake) -> None:
    rows = [{"kind": "barrier", "name": "bags", "height_m": 1.5, "line": line((100, -5), (100, 205)), "from_h": 0.05, "until_h": 0.1}]
    model, _ = model_of(lake, {"dem": terrain(lake, flat())}, **BASE, structures=rows)
    faces = model.parts[0]
    assert not model.solver.mask.any()
    march(model, 181)
    assert model.solver.mask.any()
    assert faces.table["crest"].max() == pytest.approx(11.5 - model.solver.datum)
    march(model, 361)
    assert not model.solver.mask.any()


def test_a_breach_grows_to_its_trapezoid_and_lets_water_through(lake: Lake) -> None:
    row = {**WALL, "line": line((100, -5), (100, 205)), "breach": {"at": place(101, 100), "bottom": 10.5, "width_m": 30, "duration_h": 0.05, "start_h": 0.01, "side_slope": 1.0}}
    model, world = model_of(lake, {"dem": terrain(lake, flat())}, **BASE, structures=[row])
    two_ponds(model, 12.0, 10.0)
    march(model, 36)
    assert model.solver.depth[:, 20:].max() == 0
    march(model, 260)
    faces = model.parts[0]
    crest = faces.table["crest"] + model.solver.datum
    off = np.abs(faces.table["along"] - 105)  # the line begins 5 m before the area
    assert crest[off < 14.9] == pytest.approx(10.5, abs=1e-4)
    beside = (off > 16) & (off < 17.4)
    assert crest[beside] == pytest.approx(10.5 + off[beside] - 15, abs=1e-3)
    assert crest[off > 18] == pytest.approx(13.0, abs=1e-4)
    assert model.solver.depth[:, 20:].max() > 0.1
    assert model.facts()["structures"]["dyke"]["breached_at_s"] == 36
    assert any("gave way" in note.reason for note in world.report.notes)


def test_a_breach_may_wait_for_a_level(lake: Lake) -> None:
    row = {**WALL, "line": line((100, -5), (100, 205)), "breach": {"at": place(100, 100), "bottom": 10.5, "width_m": 30, "trigger_level": 11.0}}
    model, _ = model_of(lake, {"dem": terrain(lake, flat())}, **BASE, structures=[row])
    two_ponds(model, 10.9, 10.0)
    march(model, 10)
    assert model.facts()["structures"]["dyke"]["breached_at_s"] is None
    two_ponds(model, 11.2, 10.0)
    march(model, 20)
    assert model.facts()["structures"]["dyke"]["breached_at_s"] == 10


def test_a_gate_follows_its_schedule_and_its_formula(lake: Lake) -> None:
    row = {"kind": "gate", "name": "sluice", "line": line((100, 90), (100, 110)), "sill": 10.0, "width_m": 6.0, "crest": 15.0, "schedule": [[0, 0], [0.01, 0.5]]}
    wall = {**WALL, "crest": 15.0, "line": line((100, -5), (100, 205))}
    model, _ = model_of(lake, {"dem": terrain(lake, flat())}, **BASE, structures=[wall, row])
    two_ponds(model, 13.0, 10.0)
    march(model, 36)
    assert model.facts()["structures"]["sluice"]["both_ways_m3"] == 0
    march(model, 46)
    free = 0.6 * 6 * 0.5 * np.sqrt(2 * 9.81 * (3 - 0.25)) * 10
    assert abs(model.facts()["structures"]["sluice"]["left_to_right_m3"]) == pytest.approx(free, rel=0.06), "the level beside it falls a little"


def test_a_gate_rule_has_a_memory_between_its_levels(lake: Lake) -> None:
    rule = {"at": place(50, 100), "open_level": 12.0, "close_level": 11.0, "opening_m": 1.0}
    row = {"kind": "gate", "name": "g", "line": line((100, -5), (100, 205)), "sill": 14.0, "width_m": 6.0, "crest": 15.0, "rule": rule}
    model, _ = model_of(lake, {"dem": terrain(lake, flat())}, **BASE, structures=[row])
    seen = []
    for level in (11.5, 12.5, 11.5, 10.5, 11.5):
        two_ponds(model, level, 10.0)
        march(model, model.time + 1)
        seen.append(model.facts()["structures"]["g"]["opening_m"])
    assert seen == [0, 1, 1, 0, 0]


def test_a_bridge_lets_water_pass_until_it_touches_the_deck(lake: Lake) -> None:
    row = {"kind": "bridge", "name": "bridge", "line": line((100, -5), (100, 205)), "low_chord": 12.0, "deck": 13.0}
    model, _ = model_of(lake, {"dem": terrain(lake, flat())}, **BASE, structures=[row])
    two_ponds(model, 11.5, 11.0)
    march(model, 5)
    assert not model.solver.mask.any()
    assert model.facts()["structures"]["bridge"]["both_ways_m3"] == 0
    two_ponds(model, 12.8, 12.75)
    model.parts[0].interval(model.time, model.time + 1)
    assert model.solver.mask.any()
    model.parts[0].step(0.0, 0.001)
    opening = 0.8 * SPAN * 2.0 * np.sqrt(2 * 9.81 * 0.05) * 0.001
    assert abs(model.parts[0].volume[0]) == pytest.approx(opening, rel=5e-3), "heads are float32"
    march(model, model.time + 400)
    assert model.solver.level().std() < 0.05


def culvert(**values: Any) -> Culvert:
    return ROWS.validate_python([{"kind": "culvert", "line": [(0, 0), (0.001, 0)], "invert_from": 10, "invert_to": 9.9, **values}])[0]  # type: ignore[return-value]


def test_inlet_control_follows_the_equations_of_hds_5() -> None:
    rating = barrel(culvert(diameter_m=1.2, invert_to=9.0), 50.0)
    area, slope = np.pi * 0.36, 1 / 50
    for rate in (5.0, 7.0):  # submerged: HW/D = c·(Ku·Q/(A·√D))² + Y − S/2 with chart 1-1: c = 0.0398, Y = 0.67
        flow = rate * area * np.sqrt(1.2) / 1.811
        head = 1.2 * (0.0398 * rate**2 + 0.67 - slope / 2)
        assert np.interp(head, rating.heads, rating.flows) == pytest.approx(flow, rel=1e-3)
    critical = 0.5  # unsubmerged, form 1, at a critical depth of 0.5 m
    wet, _ = section(rating.row, critical)
    angle = 2 * np.arccos(1 - critical / 0.6)
    top = 1.2 * np.sin(angle / 2)
    flow = wet * np.sqrt(9.81 * wet / top)
    head = critical + wet / top / 2 + 1.2 * (0.0098 * (1.811 * flow / (area * np.sqrt(1.2))) ** 2 - slope / 2)
    assert np.interp(head, rating.heads, rating.flows) == pytest.approx(flow, rel=5e-3)


def test_a_full_pipe_is_held_by_its_losses() -> None:
    """Outlet control: H = (1 + Ke + 2g·n²·L/R^(4/3))·V²/2g."""
    rating = barrel(culvert(diameter_m=1.0, invert_to=10.0, roughness=0.024, entrance_loss=0.5), 100.0)
    loss = 1 + 0.5 + 2 * 9.81 * 0.024**2 * 100 / 0.25 ** (4 / 3)
    assert rating.flow(13.0, 12.5, 10.0, 10.0) == pytest.approx(np.pi / 4 * np.sqrt(2 * 9.81 * 0.5 / loss), rel=1e-6)
    flows = [rating.flow(head, 10.2, 10.0, 10.0) for head in np.linspace(10.01, 14, 200)]
    assert (np.diff(flows) > -1e-9).all(), "more head, more flow"


def test_a_culvert_under_a_levee_levels_two_ponds_both_ways_but_not_against_its_flap(lake: Lake) -> None:
    wall = {**WALL, "line": line((100, -5), (100, 205))}
    pipe = {"kind": "culvert", "name": "pipe", "line": line((80, 100), (120, 100)), "diameter_m": 2.0, "invert_from": 10, "invert_to": 10}
    model, _ = model_of(lake, {"dem": terrain(lake, flat())}, **BASE, structures=[wall, pipe, {**pipe, "name": "flap", "one_way": True, "line": line((80, 60), (120, 60))}])
    two_ponds(model, 10.2, 11.5)
    before = model.solver.volume()
    march(model, 60)
    facts = model.facts()["links"]
    assert facts["pipe"]["moved_m3"] < -50
    assert facts["flap"]["moved_m3"] == 0
    assert model.solver.volume() == pytest.approx(before, rel=1e-9)
    assert model.solver.depth.min() >= -1e-6


def test_a_pump_follows_its_curve_levels_and_failures(lake: Lake) -> None:
    wall = {**WALL, "line": line((100, -5), (100, 205))}
    pump = {"kind": "pump", "name": "station", "line": line((50, 100), (150, 100)), "curve": [[0, 2.0], [4, 0.0]], "start_level": 10.3, "stop_level": 10.1,
            "radius_m": 30, "failures": [[0.01, 0.02]]}  # fmt: skip
    away = {**pump, "name": "away", "line": line((60, 60)), "curve": [[0, 1.0]], "failures": []}
    model, _ = model_of(lake, {"dem": terrain(lake, flat())}, **BASE, structures=[wall, pump, away])
    two_ponds(model, 11.0, 11.0)
    march(model, 36)
    assert model.facts()["links"]["station"]["moved_m3"] == pytest.approx(72, rel=0.03), "2 m³/s while it lifts nothing"
    march(model, 72)
    assert model.facts()["links"]["station"]["moved_m3"] == pytest.approx(72, rel=0.03), "it has failed"
    assert model.facts()["links"]["away"]["moved_m3"] == pytest.approx(72, rel=1e-5)
    assert model.water()["pump:away"] == pytest.approx(-72, rel=1e-5)
    assert abs(model.water()["imbalance"]) < 1e-6 * model.water()["stored"]
    two_ponds(model, 10.2, 10.0)
    march(model, 80)
    running = model.facts()["links"]["away"]
    assert running["running"], "above its stop level it goes on"
    two_ponds(model, 10.05, 10.0)
    march(model, 82)
    assert not model.facts()["links"]["away"]["running"]


def test_a_run_with_structures_resumes_to_the_bit(lake: Lake, tmp_path: Path) -> None:
    rows = [{**WALL, "crest": 11.0, "line": line((100, -5), (100, 205)), "breach": {"at": place(100, 100), "bottom": 10.2, "width_m": 20, "duration_h": 0.05, "trigger_level": 10.6}},
            {"kind": "gate", "name": "g", "line": line((-5, 60), (205, 60)), "sill": 10.0, "width_m": 20.0, "crest": 12,
             "rule": {"at": place(50, 150), "open_level": 10.5, "close_level": 10.2, "opening_m": 0.4}},
            {"kind": "pump", "name": "p", "line": line((50, 150), (150, 150)), "curve": [[0, 0.5]], "start_level": 10.4, "stop_level": 10.1}]  # fmt: skip
    params = {"hours": 0.1, "open_edges": False, "inflow_point": place(50, 100), "inflow_m3_s": 40.0, "structures": rows}
    versions = {"dem": terrain(lake, flat())}
    half = flood.start(parse_options(flood.Params, {"terrain": "dem", "cell": CELL, **params}, "flood"), World(lake, versions))
    march(half, 200)
    driver._save(half, tmp_path / "resumed" / "checkpoint.npz")
    whole, first = run(lake, versions, tmp_path, **params)
    rest, second = run(lake, versions, tmp_path / "resumed", **params)
    assert second.report.facts["resumed_at_s"] == 200
    assert np.array_equal(whole["depth"][0].data, rest["depth"][0].data)
    for name in ("water_m3", "structures", "links"):
        assert first.report.facts[name] == second.report.facts[name]
    assert first.report.facts["structures"]["dyke"]["breached_at_s"] > 0
    assert first.report.facts["links"]["p"]["moved_m3"] > 0


def test_structures_come_as_geojson_too() -> None:
    feature = {"type": "Feature", "properties": {"kind": "levee", "name": "a", "crest": 5.0, "height_m": None}, "geometry": {"type": "LineString", "coordinates": [[113, 22, 1], [113.1, 22, 1]]}}
    rows = ROWS.validate_python(from_geojson({"type": "FeatureCollection", "features": [feature]}))
    assert rows[0].line == ((113.0, 22.0), (113.1, 22.0))
    assert flood.Params.model_validate({"terrain": "dem", "structures": {"type": "FeatureCollection", "features": [feature]}}).structures == rows


def test_structures_can_come_from_a_surveyed_layer(lake: Lake) -> None:
    course = shapely.LineString([(E + 100, N + 5), (E + 100, N - 205)])
    dykes = layer(lake, "dykes", "vector", [course], ["d1"], kind=["levee"], crest=[13.0], owner=["水利局"])
    model, _ = model_of(lake, {"dem": terrain(lake, flat()), "dykes": dykes}, **BASE, structures_layer="dykes")
    two_ponds(model, 12.5, 10.0)
    march(model, 20)
    assert model.solver.depth[:, 20:].max() == 0
    assert "d1" in model.facts()["structures"]
    bad = layer(lake, "dykes", "vector", [course], ["d1"], kind=["levee"])
    with pytest.raises(BadOption, match=r"feature d1: .*needs crest or height_m"):
        model_of(lake, {"dem": terrain(lake, flat()), "dykes": bad}, **BASE, structures_layer="dykes")


@pytest.mark.parametrize(("row", "text"), [
    ({"kind": "levee", "crest": 1, "line": [[0, 0], [0, 0]]}, "no length"),
    ({"kind": "levee", "line": [[0, 0], [1, 0]]}, "needs crest or height_m"),
    ({"kind": "levee", "crest": 1, "line": [[0, 0], [1, 95]]}, "less than or equal to 90"),
    ({"kind": "dam", "crest": 1, "line": [[0, 0], [1, 0]]}, "kind|tag"),
    ({"kind": "weir", "crest": 1, "hight": 2, "line": [[0, 0], [1, 0]]}, "unknown option"),
    ({"kind": "pump", "curve": [[0, 1]], "start_level": 1, "stop_level": 2, "line": [[0, 0]]}, "stop_level must be below"),
    ({"kind": "culvert", "invert_from": 1, "invert_to": 1, "line": [[0, 0], [1, 0]]}, "needs diameter_m"),
    ({"kind": "gate", "sill": 1, "width_m": 2, "crest": 3, "line": [[0, 0], [1, 0]]}, "needs schedule or rule"),
])  # fmt: skip
def test_rows_that_make_no_sense_are_refused(row: dict, text: str) -> None:
    with pytest.raises(BadOption, match=text):
        parse_options(flood.Params, {"terrain": "dem", "structures": [row]}, "flood")


@pytest.mark.parametrize(("row", "text"), [
    ({"kind": "levee", "crest": 12, "line": line((-500, -500), (-400, -500))}, "outside the area"),
    ({"kind": "levee", "crest": 12, "line": line((101.0, 101.0), (101.2, 101.2))}, "separates no two cells"),
    ({"kind": "culvert", "diameter_m": 1, "invert_from": 1, "invert_to": 1, "line": line((101, 101), (102, 102))}, "in one cell"),
    ({"kind": "pump", "curve": [[0, 1]], "start_level": 2, "stop_level": 1, "line": line((-50, 100))}, "outside the area"),
])  # fmt: skip
def test_structures_that_do_not_fit_the_area_are_refused(lake: Lake, row: dict, text: str) -> None:
    with pytest.raises(BadOption, match=text):
        model_of(lake, {"dem": terrain(lake, flat())}, **BASE, structures=[row])
