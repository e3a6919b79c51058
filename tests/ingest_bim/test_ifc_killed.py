"""Processes of a model's reading that are killed from outside: each is started once more and the result is the same; the second time it is said what died."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from ingest_bim.geometry import host as geometry_host
from ingest_bim.geometry import start as geometry_start
from ingest_bim.ifc import early as ifc_early
from ingest_bim.ifc import geometry as ifc_geometry
from ingest_bim.ifc import reader as ifc
from ingest_bim.ifc import reading as ifc_reading
from ingest_bim.ifc import shaping as ifc_shaping
from tests.ingest_bim.test_ifc_early import TEXTS, ModelFile, Step, _nothing_begun, begun, options, same, settle  # noqa: F401  the fixture holds here too
from twin.errors import UnreadableSource
from twin.model import Batch, Report

CHILDREN = [
    pytest.param(ifc_reading, "relation_table", "reading", id="reading process, some tables after the first"),
    pytest.param(ifc_shaping, "shape_model", "shaping", id="shaping process"),
    pytest.param(ifc_geometry, "serve", "geometry", id="geometry process"),
    pytest.param(geometry_host, "shape", "", id="worker of the geometry process"),
]
#: A circular column, which only a kernel draws: so that all processes have something to do.
ROUND = ("#140=IFCCOLUMN('1000000000000000000003',$,'round',$,$,#101,#144,$,.COLUMN.);", "#144=IFCPRODUCTDEFINITIONSHAPE($,$,(#145));",
         "#145=IFCSHAPEREPRESENTATION(#2,'Body','CSG',(#146));", "#146=IFCBOOLEANRESULT(.UNION.,#63,#147);",
         "#147=IFCEXTRUDEDAREASOLID(#148,#10,#12,4.);", "#148=IFCCIRCLEPROFILEDEF(.AREA.,$,#61,0.3);")  # fmt: skip


def dying(function: Callable[..., Any], died: Path, times: int) -> Callable[..., Any]:
    """The function, whose process is killed when it calls it, the first `times` times."""

    def killed(*arguments: Any, **named: Any) -> Any:
        count = len(died.read_text()) if died.exists() else 0
        if count < times:
            died.write_text("x" * (count + 1))
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments, **named)

    return killed


def elsewhere(path: Path, cache: Path) -> tuple[list[Batch], Report]:
    """The model as a process reads it that is begun ahead."""
    report = Report()
    begun(path, TEXTS, cache)
    return list(ifc.read(path, options(TEXTS), report)), report


@pytest.mark.parametrize(("module", "name", "which"), CHILDREN)
def test_a_process_that_is_killed_is_started_again(
    model_file: ModelFile, step: Step, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: ModuleType, name: str, which: str
) -> None:
    path, died = model_file(step(*ROUND, name="S\xe4ule")), tmp_path / "died"  # raw text: read from a temporary copy
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    undisturbed, report = elsewhere(path, tmp_path / "cache1")
    assert report.facts["geometry"]["drawn"] == 3
    monkeypatch.setattr(module, name, dying(getattr(module, name), died, 1))
    batches, other = elsewhere(path, tmp_path / "cache2")
    assert died.read_text() == "x", f"no {which} process was killed"
    assert len(batches) == len(undisturbed) > 5
    assert all(map(same, batches, undisturbed))
    assert other == report
    settle()
    assert not list((tmp_path / "temporary").iterdir())


@pytest.mark.parametrize(("module", "name", "which"), CHILDREN[1:3])
def test_the_second_time_it_is_said_what_died(
    model_file: ModelFile, step: Step, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: ModuleType, name: str, which: str
) -> None:
    path = model_file(step(*ROUND))
    monkeypatch.setattr(module, name, dying(getattr(module, name), tmp_path / "died", 2))
    with pytest.raises(UnreadableSource, match=rf"model.ifc: the {which} process .* killed \(SIGKILL\).* out of memory\. Free memory"):
        elsewhere(path, tmp_path / "cache")
    assert (tmp_path / "died").read_text() == "xx"


def test_the_second_time_it_is_said_that_the_reading_died(model_file: ModelFile, step: Step, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of it is read in place then: what kills a process would kill the job."""
    monkeypatch.setattr(ifc_early, "spawned", _killed(9))
    monkeypatch.setattr(ifc_reading, "relation_table", dying(ifc_reading.relation_table, tmp_path / "died", 1))
    with pytest.raises(UnreadableSource, match=r"model.ifc: the reading process .* killed \(SIGKILL\).* out of memory\. Free memory"):
        elsewhere(model_file(step()), tmp_path / "cache")


@pytest.mark.parametrize("deaths", [1, 2])
def test_where_the_model_is_read_in_place_the_geometry_process_is_started_again(
    model_file: ModelFile, step: Step, monkeypatch: pytest.MonkeyPatch, deaths: int
) -> None:
    path, undisturbed = model_file(step(*ROUND)), Report()
    expected = list(ifc.read(path, options(TEXTS), undisturbed))
    monkeypatch.setattr(ifc_geometry, "spawned", _killed(deaths))
    report = Report()
    if deaths == 2:
        with pytest.raises(UnreadableSource, match=r"model.ifc: the geometry process .* killed \(SIGKILL\)"):
            list(ifc.read(path, options(TEXTS), report))
        return
    assert all(map(same, list(ifc.read(path, options(TEXTS), report)), expected))
    assert report == undisturbed


def test_a_worker_that_is_killed_while_it_waits_costs_nothing(model_file: ModelFile, step: Step, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it is given next finds nobody, which once ended the whole geometry process."""
    path, died = model_file(step(*ROUND)), tmp_path / "died"
    expected = elsewhere(path, tmp_path / "cache1")
    give = geometry_host.Worker.give

    def killed(worker: geometry_host.Worker, tasks: list[geometry_host.Task]) -> None:
        if not died.exists():
            died.touch()
            os.kill(worker.pid, signal.SIGKILL)
            os.waitid(os.P_PID, worker.pid, os.WEXITED | os.WNOWAIT)
        give(worker, tasks)

    monkeypatch.setattr(geometry_host.Worker, "give", killed)
    monkeypatch.setattr(ifc_geometry, "LIVES", 1)
    batches, report = elsewhere(path, tmp_path / "cache2")
    assert died.exists()
    assert all(map(same, batches, expected[0]))
    assert report == expected[1]


def _killed(times: int) -> Callable[[str], subprocess.Popen[bytes]]:
    """`ingest_bim.geometry.start.spawned`, of which the first are killed at once."""
    started: list[subprocess.Popen[bytes]] = []

    def spawned(module: str) -> subprocess.Popen[bytes]:
        started.append(geometry_start.spawned(module))
        if len(started) <= times:
            started[-1].kill()
        return started[-1]

    return spawned
