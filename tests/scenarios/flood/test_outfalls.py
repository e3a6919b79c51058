"""Outfalls of the network on the surface: what comes out stands there, what stands there backs up, and nothing is lost on the way."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely

from scenarios import driver, flood
from scenarios.contract import World
from twin.lake import Lake
from twin.model import Report
from twin.registry import parse_options

from .conftest import CELL, E, N, layer, model_of, run, terrain
from .test_network import PLAIN, SIZE, march, network

COUPLED = {"network_crs": "EPSG:4547", "hours": 0.3, "open_edges": False, "frames": 0}
SEALED = [{"node": name, "sealed": True} for name in "AB"]


def basin(bottom: float = 7.3) -> np.ndarray:
    """A plain at 10 m with a basin of 8 × 8 cells round the outfall."""
    ground = np.full((SIZE, SIZE), 10.0)
    ground[26:34, 26:34] = bottom
    return ground


def drains(inflow: float = 0.2, **more: Any) -> str:
    """The row of manholes with its outfall in the basin."""
    return network(inflow, **more).replace(f"O {E + 1000} {N - 100}", f"O {E + 150} {N - 150}")


def heads(tmp_path: Path, text: str, times: list[int]) -> np.ndarray:
    """(times, nodes) heads of plain SWMM."""
    (tmp_path / "plain.inp").write_text(text)
    plain = subprocess.run([sys.executable, "-c", PLAIN, str(tmp_path / "plain.inp"), *map(str, times)], capture_output=True, text=True, check=True, timeout=60)
    return np.array(json.loads(plain.stdout.strip().splitlines()[-1]))


@pytest.mark.parametrize("scheme", ["hllc", "inertial"])
def test_what_leaves_the_pipe_stands_in_the_basin(lake: Lake, scheme: str) -> None:
    model, world = model_of(lake, {"dem": terrain(lake, basin())}, network_inp=drains(), inlets=SEALED, scheme=scheme, **COUPLED)
    march(model, 900)
    facts = model.facts()
    network_facts, water = facts["network"], facts["water_m3"]
    assert network_facts["outfalls"]["O"]["to_surface_m3"] > 50
    assert network_facts["outfalls"]["O"]["to_surface_m3"] == pytest.approx(network_facts["swmm_outflow_m3"], abs=2e-3), "SWMM's own book says the same"
    assert water["network_outfalls"] == pytest.approx(model.solver.volume(), abs=2e-3)
    assert abs(facts["imbalance_share"]) < 1e-6
    assert model.solver.depth[26:34, 26:34].sum() * CELL**2 == pytest.approx(water["network_outfalls"], rel=1e-5)
    assert any(note.feature == "O" and "give their water to the surface" in note.reason for note in world.report.notes)


def test_a_held_level_backs_up_as_swmms_own_fixed_stage(lake: Lake, tmp_path: Path) -> None:
    sea = layer(lake, "sea", "vector", [shapely.box(E + 131, N - 169, E + 169, N - 131)], ["s"])
    model, _ = model_of(lake, {"dem": terrain(lake, basin()), "sea": sea}, network_inp=drains(0.05), inlets=SEALED, water="sea", level=9.0, **COUPLED)
    times = [100, 300, 600, 900]
    found = []
    for until in times:
        march(model, until)
        found.append(model.parts[0].state["head"].copy())
    expected = heads(tmp_path, drains(0.05).replace("O 7.4 FREE", "O 7.4 FIXED 9.0"), times)
    assert expected[:, 0].min() > 8.9, "the tide stands in the pipes"
    assert np.abs(np.array(found) - expected[:, 2:3])[1:].max() < 0.02
    facts = model.facts()
    tide = facts["network"]["outfalls"]["O"]
    assert tide["from_surface_m3"] > 20
    assert tide["owed_m3"] == 0
    mouths = model.parts[0].mouths
    assert mouths.out - mouths.back == pytest.approx(mouths.seen, abs=1e-4), "what SWMM counted is what the surface got"
    assert abs(facts["imbalance_share"]) < 1e-6


def test_what_the_cell_does_not_have_is_owed_and_paid(lake: Lake) -> None:
    model, _ = model_of(lake, {"dem": terrain(lake, basin())}, network_inp=drains(0.0), inlets=SEALED, **COUPLED)
    mouths = model.parts[0].mouths
    cell = mouths.cells[0][:1], mouths.cells[1][:1]
    model.solver.add(cell, np.float32(0.1))
    mouths.move(np.array([-10.0]))
    assert mouths.back[0] == pytest.approx(2.5, rel=1e-6), "25 m² hold 2.5 m³"
    assert mouths.owed[0] == pytest.approx(7.5, rel=1e-6)
    mouths.move(np.array([-10.0 + 9.0]))
    assert mouths.owed[0] == 0
    assert model.solver.volume() == pytest.approx(1.5, rel=1e-5)
    assert (mouths.out - mouths.back)[0] == pytest.approx(-1.0, abs=1e-5)
    model.close()


def test_a_resumed_run_replays_the_stages_to_the_bit(lake: Lake, tmp_path: Path) -> None:
    versions = {"dem": terrain(lake, basin())}
    params = {"network_inp": drains(0.3), "inlets": SEALED, **COUPLED}
    values = parse_options(flood.Params, {"terrain": "dem", "cell": CELL, **params}, "flood")
    half = flood.start(values, World(lake, versions, Report(source="flood")))
    march(half, 600)
    driver._save(half, tmp_path / "resumed" / "checkpoint.npz")
    half.close()
    whole, first = run(lake, versions, tmp_path / "whole", **params)
    rest, second = run(lake, versions, tmp_path / "resumed", **params)
    assert np.array_equal(whole["depth"][0].data, rest["depth"][0].data)
    assert first.report.facts["network"]["outfalls"] == second.report.facts["network"]["outfalls"]


@pytest.mark.parametrize(("ground", "text", "params", "said"), [
    (basin(9.0), drains(), {}, "lie below the ground"),
    (basin(), drains().replace("O 7.4 FREE", "O 7.4 FIXED 7.5"), {}, "keep the stage that the file gives"),
    (basin(), network(), {}, "outfalls outside the area"),
    (basin(), drains(), {"outfalls": "file"}, ""),
])  # fmt: skip
def test_others_keep_the_files_boundary_and_it_is_said(lake: Lake, ground: np.ndarray, text: str, params: dict[str, Any], said: str) -> None:
    model, world = model_of(lake, {"dem": terrain(lake, ground)}, network_inp=text, inlets=SEALED, **params, **COUPLED)
    march(model, 200)
    assert model.solver.volume() == pytest.approx(0.0, abs=1e-9)
    assert "network_outfalls" not in model.water()
    assert any(said in note.reason for note in world.report.notes if note.feature == "O") or not said
    model.close()
