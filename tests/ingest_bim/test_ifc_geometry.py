"""Shaping: hangs and crashes cost one element, kernels are checked against each other, equal shapes are stored once."""

from __future__ import annotations

import io
import os
import pickle
import resource
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import ifcopenshell
import numpy as np
import pyarrow as pa
import pytest

from ingest_bim.geometry import host as geometry_host
from ingest_bim.geometry.host import CLIP, DIRECT, PLAIN, TOO_LARGE, without
from ingest_bim.ifc import groups as ifc_groups
from ingest_bim.ifc import reader as ifc
from ingest_bim.ifc.frames import cut_circles
from ingest_bim.ifc.geometry import FAST, MIDDLE, REFERENCE, Host, Shape, compare, is_closed, volume_of
from ingest_bim.ifc.groups import ladder
from ingest_bim.ifc.ladder import shape_all
from ingest_bim.pipes import Exact, receive, send
from twin.errors import BadReference, UnreadableSource
from twin.model import Mesh, Report

Step = Callable[..., str]
ModelFile = Callable[..., Path]
PLACED = {"vertical": "EGM96", "anchor_lonlat": "113.08,22.58,5"}


def read(path: Path, **options: object) -> tuple[Mesh, Report]:
    report = Report()
    batches = list(ifc.read(path, ifc.Options(**{**PLACED, **options}), report))  # type: ignore[arg-type]
    return next(b for b in batches if isinstance(b, Mesh)), report


def box(size: tuple[float, float, float] = (1, 1, 1), kernel: str = REFERENCE) -> Shape:
    corners = np.array([[x, y, z] for z in (0, 1) for y in (0, 1) for x in (0, 1)], float) * size
    quads = [(0, 2, 3, 1), (4, 5, 7, 6), (0, 1, 5, 4), (2, 6, 7, 3), (0, 4, 6, 2), (1, 3, 7, 5)]
    triangles = np.array([t for a, b, c, d in quads for t in ((a, b, c), (a, c, d))], np.int32)
    return Shape(corners, triangles, np.zeros(12, np.int32), [("m", (1, 1, 1, 1))], np.eye(4), kernel)


# --- the host ----------------------------------------------------------------------------------------------------


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[list[tuple[int, int, str, str]]], dict[int, tuple[str, Any]]]]:
    """Runs tasks in a real host with forked workers; element 3 spins for ever, 5 crashes the process, others answer."""

    def fake(model: Any, settings: Any, step: int, kernel: str) -> tuple[str, Any]:
        while step == 3 or step >= 100:
            pass
        if step == 5:
            os.kill(os.getpid(), signal.SIGKILL)
        return "ok", step * 10

    monkeypatch.setattr(geometry_host, "shape", fake)
    monkeypatch.setattr(geometry_host, "geometry_settings", lambda: None)

    def run(tasks: list[tuple[int, int, str, str]]) -> dict[int, tuple[str, Any]]:
        command_read, command_write = os.pipe()
        answer_read, answer_write = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                os.close(command_write)
                geometry_host.serve(None, 2, 0.3, Exact(command_read), os.fdopen(answer_write, "wb"))
            finally:
                os._exit(0)
        os.close(command_read)
        os.close(answer_write)
        with os.fdopen(command_write, "wb") as commands, os.fdopen(answer_read, "rb") as answers:
            send(commands, tasks)
            outcomes = [receive(answers) for _ in tasks]
        os.waitpid(pid, 0)
        return {number: (state, value) for number, state, value in outcomes}

    return run  # type: ignore[return-value]


def test_a_hang_and_a_crash_cost_one_element_each(served: Callable[..., dict[int, tuple[str, Any]]]) -> None:
    outcomes = served([(n, n, "k", "g", 1.0) for n in range(12)])
    assert outcomes[3][0] == "stalled"
    assert "0.3 s" in outcomes[3][1]
    assert outcomes[5][0] == "crashed"
    assert "SIGKILL" in outcomes[5][1]
    assert {n: outcomes[n] for n in range(12) if n not in (3, 5)} == {n: ("ok", n * 10) for n in range(12) if n not in (3, 5)}


def test_a_process_that_cannot_open_the_model_says_so(tmp_path: Path) -> None:
    with Host.of_file("missing.ifc", tmp_path / "missing.ifc", 1, 1.0) as host, pytest.raises(UnreadableSource):
        host.result()


def test_a_kind_that_always_hangs_is_given_up(served: Callable[..., dict[int, tuple[str, Any]]]) -> None:
    """40 elements that hang for ever at 0.3 s each, but only some are tried; the other group is not concerned."""
    outcomes = served([(n, 100 + n, "k", "bad", 1.0) for n in range(40)] + [(50, 1, "k", "good", 1.0)])
    assert outcomes[50] == ("ok", 10)
    assert {outcomes[n][0] for n in range(40)} == {"stalled"}
    assert sum("not tried" in outcomes[n][1] for n in range(40)) >= 40 - geometry_host.GIVE_UP - geometry_host.CHUNK * 2


def test_messages_survive_a_pipe_in_pieces() -> None:
    """Arrays of all kinds too: none, of nothing, of columns, of Arrow; what is received can be written to."""
    arrays = [np.zeros((0, 3)), np.asfortranarray(np.eye(4)), np.arange(9)[::2]]
    values: list[Any] = [b"x" * 500_000, (1, np.arange(200_000.0)), arrays, pa.table({"a": [None, "b"]}), None]
    for value in values:
        down, up = os.pipe()
        sent = io.BytesIO()
        send(sent, value)

        def write(up: int = up, data: bytes = sent.getvalue()) -> None:
            with os.fdopen(up, "wb", buffering=0) as stream:
                for at in range(0, len(data), 1000):
                    stream.write(data[at : at + 1000])

        thread = threading.Thread(target=write)
        thread.start()
        got = receive(Exact(down))
        thread.join()
        assert pickle.dumps(got) == pickle.dumps(value)
        if isinstance(got, tuple):
            got[1][0] = 5.0
        for cut in range(0, len(sent.getvalue()), max(len(sent.getvalue()) // 50, 1)):
            assert receive(io.BytesIO(sent.getvalue()[:cut])) is None


# --- the ladder --------------------------------------------------------------------------------------------------


class FakeHost:
    """Answers from a function instead of processes."""

    def __init__(self, answer: Callable[[int, str], tuple[str, Any]]) -> None:
        self.answer, self.queue, self.asked, self.shares = answer, [], [], []  # type: ignore[var-annotated]

    def submit(self, tasks: list[Any]) -> None:
        self.asked += [(step, kernel) for _, step, kernel, _, _ in tasks]
        self.shares += [(kernel, share) for _, _, kernel, _, share in tasks]
        self.queue += [(number, *self.answer(step, kernel)) for number, step, kernel, _, _ in tasks]

    def result(self) -> Any:
        return self.queue.pop(0)


def fields(shape: Shape) -> tuple[Any, ...]:
    return shape.positions, shape.triangles, shape.rows, shape.materials, shape.matrix


def test_a_fast_kernel_that_agrees_is_used() -> None:
    host = FakeHost(lambda step, kernel: ("ok", fields(box())))
    result = shape_all(host, {("IfcExtrudedAreaSolid",): list(range(30))}, "auto")
    assert result.facts["kernels"] == {FAST: 30}, "samples are compared; their shapes are as the others'"
    assert sum(kernel == REFERENCE for _, kernel in host.asked) == 2


def test_what_a_cache_holds_does_not_say_which_engine_shapes_the_rest() -> None:
    """One new element of a group of ten goes where all ten went, so that a model delivered again has the tiles of one that is new."""
    host = FakeHost(lambda step, kernel: ("ok", fields(box())))
    group = ("IfcFacetedBrep",)
    assert shape_all(host, {group: [3]}, "auto", known={group: [FAST] * 9}).shapes[3].kernel == FAST
    assert shape_all(host, {group: [3]}, "auto", known={("IfcExtrudedAreaSolid",): [FAST] * 9}).shapes[3].kernel == REFERENCE


def test_a_group_that_differs_climbs_the_ladder() -> None:
    wrong = box((1, 1, 1.1))
    host = FakeHost(lambda step, kernel: ("ok", fields(wrong if kernel == FAST else box())))
    result = shape_all(host, {("IfcFacetedBrep",): list(range(10))}, "auto")
    assert set(result.facts["kernels"]) == {MIDDLE}
    assert FAST in result.findings[0]
    host = FakeHost(lambda step, kernel: ("ok", fields(box() if kernel == REFERENCE else wrong)))
    result = shape_all(host, {("IfcFacetedBrep",): list(range(10))}, "auto")
    assert result.facts["kernels"] == {REFERENCE: 10}


def test_what_a_kernel_cannot_shape_is_tried_by_the_next() -> None:
    host = FakeHost(lambda step, kernel: ("failed", "no") if (step == 7 and kernel != REFERENCE) or step == 8 else ("ok", fields(box())))
    result = shape_all(host, {("IfcFacetedBrep",): list(range(10))}, "auto")
    assert result.shapes[7].kernel == REFERENCE
    assert result.skipped == {8: ("failed", "no")}


def test_a_leftover_goes_to_the_reference_at_once_and_on_from_there_if_it_cannot() -> None:
    """One element is all samples, so that quick engines could only be tried in vain; but what the reference cannot shape is tried by them after all."""
    def answer(step: int, kernel: str) -> tuple[str, Any]:
        refused = {FAST: (8,), MIDDLE: (), REFERENCE: (8,)}
        return ("failed", "no") if step in refused[kernel] else ("ok", fields(box()))

    def plain(step: int) -> tuple[str, Any]:
        return ("failed", "no") if step > 5 else ("ok", replace(box(), kernel=PLAIN))

    host = FakeHost(answer)
    result = shape_all(host, {("IfcFacetedBrep",): [1, 2, 3, 4, 5, 6], ("IfcFacetedBrep", "several"): [8]}, "auto", plain=plain)
    assert [kernel for step, kernel in host.asked if step == 6] == [REFERENCE]
    assert [kernel for step, kernel in host.asked if step == 8] == [REFERENCE, FAST, MIDDLE]
    assert {step: result.shapes[step].kernel for step in (6, 8)} == {6: REFERENCE, 8: MIDDLE} and not result.skipped
    stalled = FakeHost(lambda step, kernel: ("failed", "no") if kernel != REFERENCE else ("stalled", "no result") if step == 6 and stalled.asked.count((6, kernel)) == 1 else ("ok", fields(box())))
    result = shape_all(stalled, {("IfcFacetedBrep",): [1, 2, 3, 6]}, "auto", plain=plain)
    assert [kernel for step, kernel in stalled.asked if step == 6] == [REFERENCE, FAST, MIDDLE, REFERENCE]
    assert stalled.shares[-1] == (REFERENCE, 1.0), "a quarter of the time was not enough, and nothing else shapes it"
    hopeless = FakeHost(lambda step, kernel: ("stalled", "no result"))
    assert shape_all(hopeless, {("IfcFacetedBrep",): [6]}, "auto").skipped == {6: ("stalled", "no result")}
    assert hopeless.shares == [(REFERENCE, 1.0), (FAST, 0.25), (MIDDLE, 0.25)], "who had all of the time has it once"


def test_engines_that_are_tried_and_samples_may_take_a_part_of_the_time() -> None:
    """A sample that takes too long says nothing against the engine, and is no loss."""
    host = FakeHost(lambda step, kernel: ("stalled", "no result after 5 s") if kernel == REFERENCE and step == 2 else ("failed", "no") if step == 8 and kernel != REFERENCE else ("ok", fields(box())))
    result = shape_all(host, {("IfcFacetedBrep",): list(range(10))}, "auto")
    assert {share for kernel, share in host.shares if kernel in (FAST, MIDDLE)} == {0.25}
    assert {share for kernel, share in host.shares if kernel == REFERENCE} == {0.25}
    assert not result.skipped and result.shapes[2].kernel == FAST and result.shapes[8].kernel == REFERENCE
    assert any("#2 is not compared" in finding for finding in result.findings)


def test_lists_of_faces_are_checked_as_one_kind_and_go_to_the_kernels_as_what_they_are() -> None:
    """The heavy one of three is no sample; what our own engine cannot shape is of two kinds again."""
    def plain(step: int) -> tuple[str, Any]:
        return ("failed", "no") if step in (4, 5) else ("ok", replace(box(), kernel=PLAIN, triangles=np.tile(box().triangles, (step, 1))))

    groups = {("IfcFacetedBrep",): [2, 4], ("IfcFaceBasedSurfaceModel",): [1, 5], ("IfcShellBasedSurfaceModel", "several"): [3]}
    host = FakeHost(lambda step, kernel: ("ok", fields(replace(box(), triangles=np.tile(box().triangles, (step, 1))))))
    result = shape_all(host, groups, "auto", plain=plain)
    assert {step: shape.kernel for step, shape in result.shapes.items()} == {1: PLAIN, 2: PLAIN, 3: PLAIN, 4: REFERENCE, 5: REFERENCE}
    assert [step for step, kernel in host.asked if kernel == REFERENCE and step < 4] == [1]
    assert ladder(("IfcFaceBasedSurfaceModel", "openings"), "auto") == (REFERENCE,)


def test_half_spaces_are_cut_by_our_own_evaluator_and_checked() -> None:
    host = FakeHost(lambda step, kernel: ("ok", fields(box())))
    groups = {("IfcBooleanClippingResult",): list(range(10)), ("IfcBooleanClippingResult", "openings"): [10]}
    shape_all(host, groups, "auto")
    assert {kernel for _, kernel in host.asked} == {CLIP, REFERENCE}
    assert sum(kernel == REFERENCE for _, kernel in host.asked) == 2
    wrong = FakeHost(lambda step, kernel: ("ok", fields(box((1, 1, 1.1)) if kernel == CLIP else box())))
    assert shape_all(wrong, groups, "auto").facts["kernels"] == {REFERENCE: 11}


def test_rounded_sweeps_are_given_to_the_reference_alone() -> None:
    host = FakeHost(lambda step, kernel: ("ok", fields(box())))
    shape_all(host, {("IfcExtrudedAreaSolid", "rounded"): list(range(10))}, "auto")
    assert {kernel for _, kernel in host.asked} == {REFERENCE}


def test_comparison() -> None:
    assert compare(box(), box()) == ""
    assert "bounding boxes" in compare(box(), box((1, 1, 1.002)))
    hollow = box()
    smaller = Shape(hollow.positions, hollow.triangles[:10], hollow.rows[:10], hollow.materials, hollow.matrix, FAST)
    assert "volumes" in compare(smaller, hollow) or "areas" in compare(smaller, hollow)
    assert volume_of(box((2, 3, 4)), np.zeros(3)) == pytest.approx(24)
    assert is_closed(box().triangles)
    assert not is_closed(smaller.triangles)


# --- whole models ------------------------------------------------------------------------------------------------


def test_mapped_columns_share_a_prototype(model_file: ModelFile, step: Step) -> None:
    mesh, _ = read(model_file(step(prefix=".MILLI.").replace("2.,1.)", "2000.,1000.)").replace("#12,3.)", "#12,3000.)").replace("(10.,", "(10000.,")))
    assert len(mesh.vertex_start) == 2
    assert len(mesh.instance_prototype) == 2
    np.testing.assert_allclose(np.ptp(mesh.positions, axis=0), [2, 1, 3], atol=1e-9)
    np.testing.assert_allclose(mesh.transforms[1][:3, 3] - mesh.transforms[0][:3, 3], [10, 0, 0], atol=1e-6)
    drawn = mesh.ids.take([int(i) for i in mesh.instance_feature]).to_pylist()
    assert drawn == ["1000000000000000000001", "1000000000000000000002"]


def test_large_coordinates_keep_their_millimetres(model_file: ModelFile, step: Step) -> None:
    """The site stands at map coordinates in the model itself; the anchor says so."""
    moved = step("#31=IFCAXIS2PLACEMENT3D(#32,$,$);", "#32=IFCCARTESIANPOINT((454000.1234,2500000.5678,8.));").replace("$,#10);\n#35", "$,#31);\n#35")
    path = model_file(moved)
    with pytest.raises(BadReference, match="already map coordinates"):
        read(path)
    mesh, _ = read(path, anchor_lonlat=None, anchor="0,0,0", crs="EPSG:4547", origin="0,0,0")
    placed = mesh.positions[mesh.triangles[0]] @ mesh.transforms[0][:3, :3].T + mesh.transforms[0][:3, 3]
    assert np.abs(np.modf(placed[:, :2] - [454000.1234, 2500000.5678])[0] % 0.5).max() < 1e-7


def test_a_cycle_of_placements_costs_the_elements_not_the_model(model_file: ModelFile, step: Step) -> None:
    text = step().replace("#111=IFCLOCALPLACEMENT(#40,#112)", "#111=IFCLOCALPLACEMENT(#130,#112)")
    text = text.replace("ENDSEC;\nEND-ISO", "#130=IFCLOCALPLACEMENT(#111,#10);\nENDSEC;\nEND-ISO")
    mesh, report = read(model_file(text), element_seconds=2)
    assert mesh.ids.to_pylist().count("1000000000000000000002") == 1
    assert [n.feature for n in report.notes if n.action == "skipped"] == ["1000000000000000000002"]
    assert len(mesh.instance_feature) == 1


def test_real_crashes_are_survived(shared_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The fast kernel ends its process on furniture of the Duplex that is cut surfaces, where it is asked; another kernel draws it."""
    monkeypatch.setattr(ifc_groups, "SURFACES", frozenset())
    _, report = read(shared_data / "ifc/Duplex_A_20110907_georeferenced.ifc")
    geometry = report.facts["geometry"]
    assert geometry["drawn"] == 236
    assert not geometry["not_drawn"]
    assert any("crashed" in finding for finding in geometry["guard"])


def test_the_reference_kernel_alone_draws_the_same_boxes(shared_data: Path) -> None:
    """Every element of the house: bounding box by the guarded kernels within 1 mm of the reference kernel's."""
    boxes = []
    for kernel in ("auto", "opencascade"):
        mesh, _ = read(shared_data / "ifc/AC20-FZK-Haus.ifc", kernel=kernel)
        rows = {}
        for p, f, m in zip(mesh.instance_prototype, mesh.instance_feature, mesh.transforms, strict=True):
            points = mesh.positions[mesh.vertex_start[p] : mesh.vertex_start[p + 1]] @ m[:3, :3].T + m[:3, 3]
            rows[mesh.ids[int(f)].as_py()] = np.concatenate([points.min(0), points.max(0)])
        boxes.append(rows)
    assert boxes[0].keys() == boxes[1].keys()
    for key, value in boxes[0].items():
        np.testing.assert_allclose(value, boxes[1][key], atol=1.1e-3, err_msg=key)


def test_elements_that_are_parts_of_themselves_are_drawn(model_file: ModelFile, step: Step) -> None:
    """The kernels climb from a part to its whole without end: the circle is cut for them, and the other parts of a whole stay its parts."""
    circle = ("#400=IFCRELAGGREGATES('4000000000000000000001',$,$,$,#100,(#110));", "#401=IFCRELAGGREGATES('4000000000000000000002',$,$,$,#110,(#100,#402));",
              "#402=IFCCOLUMN('4000000000000000000003',$,'part',$,$,#101,#104,$,.COLUMN.);")  # fmt: skip
    path = model_file(step(*circle))
    model = ifcopenshell.open(str(path))
    cut_circles(model)
    assert sorted(part.id() for relation in model.by_type("IfcRelAggregates")[3:] for part in relation.RelatedObjects) in ([100, 402], [110, 402], [402])
    report = Report()
    options = ifc.Options(kernel="opencascade", element_seconds=2, vertical="EGM96", anchor_lonlat="113.08,22.58,5")  # type: ignore[call-arg]
    (mesh,) = (batch for batch in ifc.read(path, options, report) if isinstance(batch, Mesh))
    assert len(set(mesh.instance_feature.tolist())) == 3 and not report.counts.get("skipped")


def test_triangles_too_many_for_memory_are_said_to_be_and_go_to_no_kernel() -> None:
    """A kernel needs several times the memory, and what it says of that is no help."""
    host = FakeHost(lambda step, kernel: ("failed", TOO_LARGE) if kernel == DIRECT else ("failed", "Failed to process shape"))
    result = shape_all(host, {("IfcTriangulatedFaceSet",): [3]}, "auto")
    assert host.asked == [(3, DIRECT)]
    assert result.skipped == {3: ("failed", TOO_LARGE)}
    assert without(RuntimeError("std::bad_alloc")) == without(MemoryError()) == ("failed", TOO_LARGE)


def test_a_worker_may_take_memory_beside_the_model_that_it_begins_with(monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit was one of all address space, so that of a model that takes as much nothing could be shaped."""
    asked: list[tuple[int, tuple[int, int]]] = []
    monkeypatch.setattr(resource, "setrlimit", lambda what, limits: asked.append((what, limits)))
    monkeypatch.setattr(geometry_host, "die_with_parent", lambda: None)
    monkeypatch.setattr(geometry_host.signal, "signal", lambda *_: None)
    geometry_host.work(None, None, 1.0, io.BytesIO(), io.BytesIO())
    held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    limit = dict(asked)[resource.RLIMIT_AS][0]
    assert limit > geometry_host.MEMORY + held // 2
