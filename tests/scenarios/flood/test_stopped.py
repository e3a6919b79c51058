"""Runs that do not end well: cancelled, broken down, on bad ground. What they leave behind and what they say."""

from __future__ import annotations

import pickle
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from scenarios import driver, flood
from scenarios.contract import World
from twin import parts, tasks
from twin.city import City
from twin.errors import BadInput, Cancelled
from twin.jobs import Jobs
from twin.lake import Lake
from twin.model import Layer, Report
from twin.registry import parse_options
from twin.settings import Settings

from .conftest import CELL, model_of, terrain


def flat() -> np.ndarray:
    return np.full((40, 40), 10.0)


RAIN = {"terrain": "dem", "cell": CELL, "hours": 5, "rain": "uniform", "rain_mm_h": 300, "rain_hours": 5, "open_edges": False}


def test_a_cancelled_run_leaves_its_outputs_so_far_and_a_state_to_go_on_from(lake: Lake, tmp_path: Path) -> None:
    world = World(lake, {"dem": terrain(lake, flat())}, Report(source="flood"))
    values = parse_options(flood.Params, RAIN, "flood")
    kept: list[dict] = []

    def stop(fraction: float, message: str) -> None:
        if fraction > 0.1:
            raise Cancelled("stop")

    with pytest.raises(Cancelled):
        driver.drive(flood, values, world, stop, tmp_path / "checkpoint.npz", kept.append)
    until = world.report.facts["partial"]["until_s"]
    assert 1800 < until < 18000
    assert kept[0]["depth"][0].data.max() == pytest.approx(0.3 * until / 3600, rel=0.02)
    assert any("partial result: cancelled" in note.reason for note in world.report.notes)
    with np.load(tmp_path / driver.LAST_GOOD) as saved:
        assert float(saved["time"]) == until


KILLED = """
import os, pickle, signal, sys
from pathlib import Path
from scenarios import driver, flood
from scenarios.contract import World
lake, version, params, checkpoint = pickle.loads(Path(sys.argv[1]).read_bytes())
driver.CHECKPOINT_SECONDS = driver.CHECK_SECONDS = 0.0

def progress(fraction, message):
    if fraction > 0.4:
        os.kill(os.getpid(), signal.SIGKILL)

driver.drive(flood, flood.Params(**params), World(lake, {"dem": version}), progress, Path(checkpoint))
"""


def test_a_killed_process_goes_on_from_its_last_checkpoint_to_the_same_answer(lake: Lake, tmp_path: Path) -> None:
    version = terrain(lake, 10 + np.add.outer(np.arange(40) - 20.0, np.arange(40) - 20.0) ** 2 / 200)
    params = {**RAIN, "hours": 0.5, "frames": 10}
    (tmp_path / "task").write_bytes(pickle.dumps((lake, version, params, str(tmp_path / "killed" / "checkpoint.npz"))))
    died = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "task")], timeout=120, check=False)
    assert died.returncode == -signal.SIGKILL
    with np.load(tmp_path / "killed" / "checkpoint.npz") as saved:
        assert 0 < float(saved["time"]) < 1800
    results = {}
    for name in ("killed", "whole"):
        world = World(lake, {"dem": version}, Report(source="flood"))
        results[name] = driver.drive(flood, parse_options(flood.Params, params, "flood"), world, lambda *_: None, tmp_path / name / "checkpoint.npz"), world
    assert "resumed_at_s" in results["killed"][1].report.facts
    for name in ("depth", "velocity"):
        assert np.array_equal(results["killed"][0][name][0].data, results["whole"][0][name][0].data), name
    assert [f.properties["time"] for f in results["killed"][0]["frames"]] == [f.properties["time"] for f in results["whole"][0]["frames"]]
    assert all(np.array_equal(a.data, b.data) for a, b in zip(results["killed"][0]["frames"], results["whole"][0]["frames"], strict=True))


def test_a_run_that_breaks_down_names_cell_and_time_and_keeps_its_last_good_state(lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(lake, {"dem": terrain(lake, flat())}, Report(source="flood"))
    values = parse_options(flood.Params, {**RAIN, "hours": 0.2, "threshold": 0.01}, "flood")
    start = flood.start

    def doomed(params, world):
        model = start(params, world)
        march = model._interval

        def interval() -> None:
            if model.time >= 300:
                model.solver.state[1, 2 + 7, 2 + 9] = 1e15
            march()

        model._interval = interval
        return model

    monkeypatch.setattr(flood, "start", doomed)
    kept: list[dict] = []
    with pytest.raises(BadInput, match=r"broke down at t = 300\.000 s: waves of .* in row 7, column 9"):
        driver.drive(flood, values, world, lambda fraction, message: None, tmp_path / "checkpoint.npz", kept.append)
    assert world.report.facts["partial"] == {"until_s": 300.0, "of_s": 720.0, "why": "broken down"}
    assert (tmp_path / driver.LAST_GOOD).exists()
    assert kept[0]["depth"][0].data.max() == pytest.approx(0.3 / 12, rel=0.05)


def test_a_dismissed_job_publishes_its_partial_layers_marked(tmp_path: Path) -> None:
    city = City(Settings(tmp_path / "city", workers=1))
    version = terrain(city.lake, flat())
    manifest = city.lake.put_json(parts.to_json(version))
    with city.catalog.write() as connection:
        number = city.catalog.add_version(connection, Layer("dem", "terrain", {"zh": "地形", "en": "Terrain"}, "时空基础"), manifest, version.count, job="x", who="me", run="")
        city.catalog.publish(connection, "dem", number, manifest, None, "me")
    job = tasks.submit(city, "run", {"scenario": "flood", "inputs": RAIN, "name": "storm"})

    def watch(stage: str, fraction: float, message: str) -> None:
        if stage == "running" and fraction > 0.05 and not jobs.get(job.id).done:
            jobs.cancel(job.id)

    jobs = Jobs(city.catalog)
    done = tasks.work(city, job, watch)
    assert done.state == "dismissed"
    assert city.catalog.layer("storm-depth").title["en"].endswith("(partial)")
    _, depth, _ = city.published("storm-depth")
    assert depth.report["facts"]["partial"]["why"] == "cancelled"


def test_voids_are_walls_and_pits_and_peaks_are_said(lake: Lake) -> None:
    bed = flat()
    bed[10, 10], bed[20, 20], bed[30, 30] = -9999.0, -20.0, 60.0
    model, world = model_of(lake, {"dem": terrain(lake, bed)}, rain="uniform")
    said = " ".join(note.reason for note in world.report.notes)
    assert "1 cells have no ground height" in said
    assert "1 single-cell pits" in said
    assert "1 single-cell peaks" in said
    assert model.solver.blocked[10, 10]
