"""Coupling with SWMM 5: equal to plain SWMM where nothing passes, conservative to round-off where it does, resumable, and clear about bad files."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scenarios import driver, flood
from scenarios.contract import World
from scenarios.flood import inp, swmm
from twin.errors import BadInput, BadOption
from twin.lake import Lake
from twin.model import Report
from twin.registry import parse_options

from .conftest import CELL, E, N, model_of, place, run, terrain

SIZE = 40
PLAIN = """
import json, sys
from swmm.toolkit import solver, shared_enum as e
path, seconds = sys.argv[1], [float(v) for v in sys.argv[2:]]
solver.swmm_open(path, path + ".rpt", path + ".out")
solver.swmm_start(0)
heads, elapsed = [], 0.0
for until in seconds:
    while elapsed < until - 1e-6:
        elapsed = solver.swmm_step() * 86400
    heads.append([solver.node_get_result(i, e.NodeResult.HEAD) for i in range(solver.project_get_count(e.ObjectType.NODE))])
print(json.dumps(heads))
"""


def network(inflow: float = 0.2, *, diameter: float = 0.8, ponding: str = "NO", units: str = "CMS", extra: str = "", routing: str = "DYNWAVE", rim: float = 2.0) -> str:
    """Three manholes in a row and an outfall beyond the area; a steady inflow at the first."""
    return f"""
[OPTIONS]
FLOW_UNITS {units}
FLOW_ROUTING {routing}
START_DATE 01/01/2020
START_TIME 00:00
END_DATE 01/01/2020
END_TIME 06:00
ROUTING_STEP 1
VARIABLE_STEP 0.75
ALLOW_PONDING {ponding}
[JUNCTIONS]
A 8.0 {rim} 0 0 0
B 7.8 {rim + 0.2} 0 0 0
C 7.6 {rim + 0.4} 0 0 0
[OUTFALLS]
O 7.4 FREE
[CONDUITS]
AB A B 60 0.013 0 0
BC B C 60 0.013 0 0
CO C O 60 0.013 0 0
[XSECTIONS]
AB CIRCULAR {diameter} 0 0 0
BC CIRCULAR {diameter} 0 0 0
CO CIRCULAR {diameter} 0 0 0
[INFLOWS]
A FLOW q
[TIMESERIES]
q 0 {inflow}
q 0.1 {inflow}
q 0.15 {inflow / 2}
q 5 {inflow / 2}
[COORDINATES]
A {E + 40} {N - 100}
B {E + 100} {N - 100}
C {E + 160} {N - 100}
O {E + 1000} {N - 100}
{extra}
"""


def flat() -> np.ndarray:
    return np.full((SIZE, SIZE), 10.0)


def march(model: Any, until: float) -> None:
    while model.time < until:
        model._interval()


COUPLED = {"network_crs": "EPSG:4547", "hours": 0.2, "open_edges": False}


def test_where_nothing_passes_it_equals_plain_swmm_to_the_bit(lake: Lake, tmp_path: Path) -> None:
    model, _ = model_of(lake, {"dem": terrain(lake, flat())}, network_inp=network(), **COUPLED)
    times, heads = [10, 100, 300, 500, 700], []
    for until in times:
        march(model, until)
        heads.append(model.parts[0].state["head"].tolist())
    assert model.facts()["network"]["taken_m3"] == 0
    (tmp_path / "plain.inp").write_text(network())
    plain = subprocess.run([sys.executable, "-c", PLAIN, str(tmp_path / "plain.inp"), *map(str, times)], capture_output=True, text=True, check=True, timeout=60)
    expected = np.array(json.loads(plain.stdout.strip().splitlines()[-1]))[:, :3]
    assert np.ptp(expected) > 0.1
    assert np.array_equal(np.array(heads), expected)


@pytest.mark.parametrize("scheme", ["hllc", "inertial"])
def test_what_leaves_the_surface_is_what_enters_swmm(lake: Lake, scheme: str) -> None:
    model, _ = model_of(lake, {"dem": terrain(lake, flat())}, network_inp=network(0.0), initial_level=10.4, scheme=scheme, **COUPLED)
    start = model.solver.volume()
    march(model, 720)
    facts = model.facts()
    found = facts["network"]
    assert found["taken_m3"] > 100
    assert start - model.solver.volume() == pytest.approx(found["taken_m3"], abs=1e-4 * found["taken_m3"])
    assert found["exchange_error_m3"] < 1e-9, "taken = entered + in transit, node by node"
    assert abs(found["in_transit_m3"]) < 1.5
    assert found["swmm_external_inflow_m3"] == pytest.approx(found["entered_swmm_m3"], rel=1e-9), "SWMM's own book says the same"
    assert abs(facts["imbalance_share"]) < 1e-6
    assert -facts["water_m3"]["network_inlets"] + 0 == pytest.approx(found["taken_m3"] + facts["water_m3"]["network_manholes"], abs=2e-3)
    assert model.solver.depth.min() > -1e-6
    assert set(found["nodes"]) == {"A", "B", "C"}


def test_a_pond_runs_into_an_inlet_as_its_weir_law_says(lake: Lake) -> None:
    """dh/dt = −Cw·P·h^1.5/A: h = (h₀^-½ + Cw·P·t/(2A))^-2."""
    model, _ = model_of(lake, {"dem": terrain(lake, flat())}, network_inp=network(0.0, diameter=1.5), initial_level=10.1, scheme="hllc", inlets=[{"node": n, "sealed": True} for n in "AC"],
                        inlet_perimeter_m=2.0, inlet_area_m2=50.0, roughness=0.0, **COUPLED)  # fmt: skip
    march(model, 600)
    area, law = (SIZE * CELL) ** 2, 1.66 * 2.0
    expected = (0.1**-0.5 + law * 600 / (2 * area)) ** -2
    assert 0.1 - model.solver.depth.astype(float).mean() == pytest.approx(0.1 - expected, rel=0.05), "the water beside the inlet stands a little lower"
    model.close()


def test_a_surcharged_manhole_floods_the_street_with_what_the_pipe_cannot_carry(lake: Lake) -> None:
    model, _ = model_of(lake, {"dem": terrain(lake, flat())}, network_inp=network(0.6, diameter=0.4), **{**COUPLED, "open_edges": True})
    march(model, 360)
    node = model.parts[0]
    peaks = node.outflow.copy()
    march(model, 420)
    facts = model.facts()["network"]
    assert facts["nodes"]["A"]["manhole_m3"] > 50
    assert facts["exchange_error_m3"] < 1e-9
    assert abs(facts["swmm_continuity_error_percent"]) < 3
    assert facts["swmm_flooding_m3"] == 0, "nothing is lost inside SWMM"
    steady = (node.outflow[0] - peaks[0]) / 60
    assert 0.2 < steady < 0.6
    swings = [q for t, i, q, _ in node.series if i == 0 and 200 < t < 360]
    assert np.std(swings) < 0.05 * abs(np.mean(swings)), "it does not swing"


def test_a_network_in_feet_and_cfs_gives_the_same(lake: Lake) -> None:
    feet = network(0.6, diameter=0.4)
    lines, section = [], ""

    def foot(value: str) -> str:
        return f"{float(value) / 0.3048:.12g}"

    for raw in feet.splitlines():
        text, parts = raw, raw.split()
        section = raw if raw.startswith("[") else section
        if parts and section == "[JUNCTIONS]" and parts[0] in "ABC":
            text = " ".join([parts[0], foot(parts[1]), foot(parts[2]), "0 0 0"])
        elif parts and section == "[OUTFALLS]" and parts[0] == "O":
            text = f"O {foot(parts[1])} FREE"
        elif parts and section == "[CONDUITS]" and len(parts) > 5:
            text = " ".join([*parts[:3], foot(parts[3]), *parts[4:]])
        elif parts and section == "[XSECTIONS]" and len(parts) > 3:
            text = " ".join([*parts[:2], foot(parts[2]), *parts[3:]])
        elif parts and section == "[TIMESERIES]" and len(parts) == 3:
            text = " ".join([*parts[:2], f"{float(parts[2]) / 0.028316846592:.12g}"])
        lines.append(text)
    results = []
    for text in (feet, "\n".join(lines).replace("CMS", "CFS")):
        model, _ = model_of(lake, {"dem": terrain(lake, flat())}, network_inp=text, **COUPLED)
        march(model, 300)
        results.append(model.facts()["network"])
    assert results[1]["taken_m3"] == pytest.approx(results[0]["taken_m3"], rel=0.01)
    assert results[1]["exchange_error_m3"] < 1e-9
    assert results[1]["swmm_external_inflow_m3"] == pytest.approx(results[0]["swmm_external_inflow_m3"], rel=0.01)


def test_a_resumed_run_replays_the_network_to_the_bit(lake: Lake, tmp_path: Path) -> None:
    params = {**COUPLED, "network_inp": network(0.5, diameter=0.4), "rain": "uniform", "rain_mm_h": 100, "rain_hours": 0.1}
    versions = {"dem": terrain(lake, flat())}
    half = flood.start(parse_options(flood.Params, {"terrain": "dem", "cell": CELL, **params}, "flood"), World(lake, versions))
    march(half, 333)
    driver._save(half, tmp_path / "resumed" / "checkpoint.npz")
    half.close()
    whole, first = run(lake, versions, tmp_path, **params)
    rest, second = run(lake, versions, tmp_path / "resumed", **params)
    assert second.report.facts["resumed_at_s"] == 333
    assert np.array_equal(whole["depth"][0].data, rest["depth"][0].data)
    assert first.report.facts["network"] == second.report.facts["network"]
    assert first.report.facts["water_m3"] == second.report.facts["water_m3"]


def test_the_process_ends_with_the_run(lake: Lake, tmp_path: Path) -> None:
    model, _ = model_of(lake, {"dem": terrain(lake, flat())}, network_inp=network(), **COUPLED)
    child = model.parts[0].child
    assert child.path.exists()
    model.close()
    assert child.process.poll() is not None
    assert not child.path.parent.exists()


@pytest.mark.parametrize("when", ["open", "advance", "close"])
def test_where_swmm_is_killed_the_run_goes_on_to_the_same_answer(lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str) -> None:
    params = {**COUPLED, "network_inp": network(0.5, diameter=0.4), "rain": "uniform", "rain_mm_h": 100, "rain_hours": 0.1}
    versions = {"dem": terrain(lake, flat())}
    whole, first = run(lake, versions, tmp_path / "whole", **params)
    ask, asked = swmm.Child.ask, list[str]()

    def killed(child: swmm.Child, *request: Any) -> dict[str, Any]:
        asked.append(request[0])
        if asked.count(when) == (100 if when == "advance" else 1):
            child.process.kill()
            child.process.wait()
            asked.append(when)
        return ask(child, *request)

    monkeypatch.setattr(swmm.Child, "ask", killed)
    rest, second = run(lake, versions, tmp_path / "killed", **params)
    assert asked.count("open") == (3 if when == "open" else 2)
    assert np.array_equal(whole["depth"][0].data, rest["depth"][0].data)
    assert first.report.facts["network"] == second.report.facts["network"]
    assert first.report.facts["water_m3"] == second.report.facts["water_m3"]


def test_where_swmm_is_killed_twice_it_is_said(lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ask = swmm.Child.ask

    def killed(child: swmm.Child, *request: Any) -> dict[str, Any]:
        if request[0] == "advance":
            child.process.kill()
        return ask(child, *request)

    monkeypatch.setattr(swmm.Child, "ask", killed)
    with pytest.raises(BadInput, match=r"SWMM process of network_inp .* killed \(SIGKILL\).* out of memory\. Free memory"):
        run(lake, {"dem": terrain(lake, flat())}, tmp_path, network_inp=network(), **COUPLED)


def test_roof_rain_can_go_straight_into_the_network(lake: Lake, tmp_path: Path) -> None:
    import shapely

    from .conftest import layer

    houses = layer(lake, "houses", "blocks", [shapely.box(E + 50, N - 60, E + 90, N - 30)], ["a"])
    versions = {"dem": terrain(lake, flat()), "houses": houses}
    _, world = run(lake, versions, tmp_path, network_inp=network(0.0), **COUPLED, buildings="houses", roof="network", rain="uniform", rain_mm_h=60, rain_hours=0.1)
    roof, whole = 40 * 30, (SIZE * CELL) ** 2
    assert world.report.facts["network"]["roofs_m3"] == pytest.approx(0.006 * roof, rel=1e-6)
    assert world.report.facts["water_m3"]["rain"] == pytest.approx(0.006 * (whole - roof), rel=1e-6)
    assert world.report.facts["network"]["exchange_error_m3"] < 1e-9
    assert abs(world.report.facts["imbalance_share"]) < 1e-6


def test_what_would_count_water_twice_is_switched_off_and_said() -> None:
    text = network(routing="KINWAVE", extra="[RAINGAGES]\nR INTENSITY 0:05 1 FILE storm.dat 1 MM\n[SUBCATCHMENTS]\nS R A 1 50 100 1 0\n")
    report = Report(source="x")
    made = inp.prepare(text, 1.0, keep_hydrology=False, report=report)
    assert "SUBCATCHMENTS" not in made and "storm.dat" not in made
    assert "FLOW_ROUTING DYNWAVE" in made
    said = " ".join(note.reason for note in report.notes)
    assert "1 subcatchments" in said and "KINWAVE" in said
    with pytest.raises(BadInput, match="needs another file"):
        inp.prepare(text, 1.0, keep_hydrology=True, report=Report(source="x"))


def test_nodes_outside_are_named_and_the_rest_is_coupled(lake: Lake) -> None:
    text = network().replace(f"C {E + 160} {N - 100}", f"C {E + 5000} {N - 100}")
    model, world = model_of(lake, {"dem": terrain(lake, flat())}, network_inp=text, **COUPLED)
    assert model.parts[0].names == ["A", "B"]
    assert any(note.feature == "C" and "outside" in note.reason for note in world.report.notes)
    model.close()


@pytest.mark.parametrize(("change", "error", "text"), [
    ({"network_crs": "EPSG:4526"}, BadOption, "none of its 3 nodes lies in the area"),
    ({"network_crs": ""}, BadOption, "network_crs need each other"),
    ({"network_inp": "[TITLE]\nnothing"}, BadInput, "not a SWMM 5 input file"),
    ({"network_inp": network().replace("AB A B 60", "AB A X 60")}, BadInput, "SWMM refuses network_inp: ERROR 209"),
    ({"network_inp": network().replace("01/01/2020", "yesterday")}, BadInput, "not a date"),
    ({"inlets": [{"node": "Z"}]}, BadOption, "inlets: Z"),
    ({"network_inp": network().replace("[COORDINATES]", "[SYMBOLS]")}, BadOption, "no junction or storage has coordinates"),
])  # fmt: skip
def test_networks_that_cannot_be_used_are_refused(lake: Lake, change: dict, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        model_of(lake, {"dem": terrain(lake, flat())}, **{"network_inp": network(), **COUPLED, **change})


def test_ea_8b_sewer_surcharges_at_its_manhole_when_and_as_much_as_the_reference(lake: Lake, shared_data: Path) -> None:
    """EA SC120002 test 8B: flow out of manhole J1, against XPSTORM's published series (the DEM is not to be had: a level street)."""
    folder = shared_data / "flood" / "ea_test8b"
    reference = np.loadtxt(folder / "xpstorm.csv", delimiter=",")
    text = (folder / "test8b_drainage_ponding.inp").read_text().replace("264895         664747", f"{E + 500} {N - 500}")
    heights = np.full((50, 50), 31.46)
    model, _ = model_of(lake, {"dem": terrain(lake, heights, 20.0)}, cell=20.0, network_inp=text, network_crs="EPSG:4547", hours=2.8, open_edges=True, scheme="inertial", inlet_area_m2=1.0)
    flow, last = [], 0.0
    for minute in range(1, 169):
        march(model, minute * 60)
        total = float(model.parts[0].outflow[0] - model.parts[0].inflow[0])
        flow.append((total - last) / 60)
        last = total
    facts = model.facts()["network"]
    peak, when = max(flow), int(np.argmax(flow)) + 0.5
    ours = np.interp(reference[:, 0], np.arange(len(flow)) + 0.5, flow)
    print(f"peak {peak:.3f} m³/s at {when} min; reference {reference[:, 1].max():.3f} at {reference[np.argmax(reference[:, 1]), 0]:.1f} min")
    assert peak == pytest.approx(reference[:, 1].max(), rel=0.08)
    assert when == pytest.approx(reference[np.argmax(reference[:, 1]), 0], abs=3)
    begins = reference[np.argmax(reference[:, 1] > 0.05), 0]
    assert np.argmax(np.array(flow) > 0.05) + 0.5 == pytest.approx(begins, abs=3)
    assert np.sqrt(np.mean((ours - reference[:, 1]) ** 2)) < 0.15
    assert facts["exchange_error_m3"] < 1e-8
    assert place(0, 0)[0] > 100


@pytest.mark.parametrize(("name", "epsg"), [("swmm_bellinge_small.inp", "EPSG:25832"), ("swmm_Example1.inp", "EPSG:32616"), ("swmm_model_state_plane.inp", "EPSG:2272")])
def test_networks_of_others_run_coupled(lake: Lake, shared_data: Path, name: str, epsg: str) -> None:
    from twin import crs, parts
    from twin.model import Column, Grid, Reference

    text = (shared_data / "iot_networks" / name).read_text("utf-8", "replace")
    places = np.array([p for _, p in inp.nodes(inp.sections(text)).values() if p is not None])
    x, y = crs.convert(epsg, epsg, places[:, 0], places[:, 1])
    lon, lat = crs.to_lonlat(epsg, x, y)
    frame = crs.metric_frame(float(lon.mean()), float(lat.mean()))
    x, y = crs.from_lonlat(frame, lon, lat)
    west, north = x.min() - 50, y.max() + 50
    cell = max(np.ptp(x), np.ptp(y)) / 60 + 3
    heights = np.full((70, 70), 20.0, np.float32)
    dem = Grid(Reference(frame, "EPSG:5737"), heights[None], (cell, 0, west, 0, -cell, north), -9999.0, (Column("height", "float", "m"),))
    version = parts.write_version(lake, "dem", "terrain", [dem], Report(source="dem"), provenance={})
    model, world = model_of(lake, {"dem": version}, cell=cell, network_inp=text, network_crs=epsg, hours=0.1, initial_level=20.15)
    march(model, 200)
    facts = model.facts()
    assert facts["network"]["coupled_nodes"] > 5
    assert facts["water_m3"]["network_inlets"] < 0
    assert facts["network"]["exchange_error_m3"] < 1e-8
    assert abs(facts["imbalance_share"]) < 1e-6
    assert any("subcatchments" in note.reason for note in world.report.notes)
