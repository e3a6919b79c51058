"""A model that is read in a process of its own, begun ahead, comes out as if it were read in place."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ingest_bim.ifc import early as ifc_early
from ingest_bim.ifc import reader as ifc
from ingest_bim.ifc import reading as ifc_reading
from ingest_bim.ifc import shaping as ifc_shaping
from ingest_bim.ifc.geometry import Shape, Shapes
from ingest_bim.ifc.properties import read_definitions
from ingest_bim.ifc.sent import packed, unpacked
from ingest_bim.ifc.shapes import shape_model
from twin import ahead, reading
from twin.errors import BadOption, Cancelled, MissingReference, UnreadableSource
from twin.model import Batch, Mesh, Report, Table

Step = Callable[..., str]
ModelFile = Callable[..., Path]
TEXTS = {"crs": "EPSG:4547", "vertical": "EGM96", "anchor": "500000,2500000,0", "lod": "of the tiler"}


@pytest.fixture(autouse=True)
def _nothing_begun(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Other tests of this process may have left threads behind that wait for nothing; only those that came since keep a reading from being begun."""
    assert not ifc_early._READY
    idle = {thread for thread in threading.enumerate() if thread is not threading.current_thread()}
    monkeypatch.setattr(ifc_early, "threading", _Since(idle))
    yield
    while ifc_early._READY:
        ifc_early._READY.pop().stop()
    settle()


class _Since:
    """`threading`, as if some threads were not there."""

    def __init__(self, idle: set[threading.Thread]) -> None:
        self.idle = idle

    def __getattr__(self, name: str) -> Any:
        return getattr(threading, name)

    def active_count(self) -> int:
        return len(set(threading.enumerate()) - self.idle)


def settle() -> None:
    """Wait for the threads of readings that are ending: a process of several threads is not copied."""
    for thread in threading.enumerate():
        if thread.name == "early-reading":
            thread.join(30)


def options(texts: dict[str, str]) -> ifc.Options:
    return ifc.Options.model_validate({name: text for name, text in texts.items() if name in ifc.Options.model_fields})


def begun(path: Path, texts: dict[str, str], cache: Path) -> ifc_early.Early:
    settle()
    ahead.reading([path], texts, cache)
    (early,) = ifc_early._READY
    return early


def same(one: Batch, other: Batch) -> bool:
    if isinstance(one, Table) and isinstance(other, Table):
        return one.name == other.name and bool(one.rows.equals(other.rows, check_metadata=True))
    assert isinstance(one, Mesh)
    assert isinstance(other, Mesh)
    arrays = ("positions", "triangles", "triangle_material", "vertex_start", "triangle_start", "instance_prototype", "instance_feature", "transforms")
    return (
        (one.reference, one.ids, one.parents, one.materials) == (other.reference, other.ids, other.parents, other.materials)
        and bool(one.attributes.equals(other.attributes, check_metadata=True))
        and all(np.array_equal(getattr(one, name), getattr(other, name)) for name in arrays)
    )


def test_what_was_begun_is_what_is_read(model_file: ModelFile, step: Step, tmp_path: Path) -> None:
    path = model_file(step(name="S\xe4ule"))  # raw text: rewritten into a temporary copy, and said so
    early = begun(path, TEXTS, tmp_path / "cache")
    ahead.reading([path], TEXTS, tmp_path / "cache")
    assert [early] == ifc_early._READY  # not twice
    told: list[str] = []
    report, plain = Report("given name"), Report("given name")
    with reading.given(reading.Surroundings(progress=lambda fraction, text: told.append(text))):
        elsewhere = list(ifc.read(path, options(TEXTS), report))
    assert early.process.wait(30) == 0
    assert told[:3] == ["looked through", "opened", "properties"]
    here = list(ifc.read(path, options(TEXTS), plain))
    assert len(elsewhere) == len(here) > 5
    assert all(map(same, elsewhere, here))
    assert report == plain
    assert (tmp_path / "cache" / "shapes.sqlite").exists()


def test_a_command_line_is_enough_to_begin(model_file: ModelFile, step: Step, tmp_path: Path) -> None:
    """What it looks like, before it is read; what it meant is told afterwards, and where that is something else, the reading is ended."""
    path, told = model_file(step(name="S\xe4ule").encode("latin-1")), {**TEXTS, "encoding": "latin-1"}
    line = ["ingest", "--layer", "x", str(path), "--option", "encoding=latin-1", "--option=anchor=0,0,0"]
    others = ([*line, str(path)], [*line, "--reader=ifc"], line[:3], [*line[:3], str(tmp_path / "missing.ifc")])
    for other in (["tile", *line[1:]], ["--home", "x", *line], *others):
        ahead.named(other)
        assert not ifc_early._READY, other
    settle()
    ahead.named(line)
    (early,) = ifc_early._READY
    assert (early.options, early.encoding) == (None, "latin-1")
    assert ahead.reading([path], told, tmp_path) is not None
    assert [early] == ifc_early._READY
    batches = list(ifc.read(path, options(told), Report()))
    assert early.process.wait(30) == 0
    assert "S\xe4ule" in next(b for b in batches if isinstance(b, Mesh)).attributes.column("name").to_pylist()
    settle()
    ahead.named(line)
    (early,) = ifc_early._READY
    ahead.reading([path], TEXTS, tmp_path)  # the encoding is to be guessed, after all
    assert early not in ifc_early._READY
    assert early.process.poll() is not None


def test_what_nobody_asked_for_leaves_nothing_behind(model_file: ModelFile, step: Step, tmp_path: Path) -> None:
    """A command that ends before it reads: the reading's temporary copy goes with it."""
    path = model_file(step(name="S\xe4ule"))
    (tmp_path / "temporary").mkdir()
    code = (
        f"import sys, time; sys.argv = ['twin', 'ingest', {str(path)!r}, '--no-such-option'];"
        "from twin import ahead, watching; watching.apart(sys.argv[1:]); ahead.named(sys.argv[1:]); time.sleep(3); from twin.cli import run; run()"
    )
    around = {**os.environ, "TMPDIR": str(tmp_path / "temporary")}
    ended = subprocess.run([sys.executable, "-c", code], check=False, timeout=60, capture_output=True, text=True, env=around)
    assert ended.returncode == 2
    assert not list((tmp_path / "temporary").iterdir())


@pytest.mark.skipif(sys.platform != "linux", reason="where a priority is not a thread's, nothing is loaded by one")
@pytest.mark.parametrize("large", [True, False])
def test_what_a_job_needs_is_loaded_by_a_thread_that_gives_way(tmp_path: Path, large: bool) -> None:
    """While a large file is read, which takes longer, and not before that needs one core alone; a small one's reading does not."""
    code = (
        "import os, pathlib, sys, threading; from twin import ahead, entries; right = os.setpriority; given, seen, spare = [], [], threading.Event();"
        "os.setpriority = lambda *all: (given.append(all[2]), right(*all));"
        "threading.Timer(0.5, lambda: (seen.append('twin.tasks' in sys.modules), spare.set())).start();"
        "entry = next(entry for entry in entries.READERS if entry.name == 'ifc');"
        f"ahead.load(ahead.Begun(entry, pathlib.Path({str(tmp_path / 'a.ifc')!r}), spare));"
        "print(seen == [False], 'twin.tasks' in sys.modules, 'tiling.meshes.tiler' in sys.modules, given == [ahead.GIVES_WAY], os.getpriority(os.PRIO_PROCESS, 0))"
    )
    with (tmp_path / "a.ifc").open("wb") as file:
        file.truncate(ahead.LARGE - (not large))
    was = os.getpriority(os.PRIO_PROCESS, 0)
    said = subprocess.run([sys.executable, "-c", code], check=True, timeout=60, capture_output=True, text=True).stdout
    assert said.split() == [*[str(large)] * 4, str(was)]


@pytest.mark.parametrize("ends", ["read", "refused", "killed"])
def test_a_core_is_spare_when_the_text_is_looked_through_or_nothing_is_read(model_file: ModelFile, step: Step, tmp_path: Path, ends: str) -> None:
    settle()
    said = ahead.reading([model_file(step() if ends != "refused" else "ISO-10303-21; no model")], TEXTS, tmp_path)
    if ends == "killed":
        ifc_early._READY[0].process.kill()
    assert said is not None
    assert said.spare is not None
    assert said.spare.wait(60)


def test_a_refusal_is_the_same(model_file: ModelFile, step: Step, tmp_path: Path) -> None:
    for text, expected, texts in ((step(), MissingReference, {}), (step()[:-20], UnreadableSource, TEXTS), (step(name="\xe4"), BadOption, {"encoding": "ascii", **TEXTS})):
        path = model_file(text)
        early = begun(path, texts, tmp_path)
        with pytest.raises(expected) as elsewhere:
            list(ifc.read(path, options(texts), Report()))
        assert early.process.wait(30) is not None
        with pytest.raises(expected) as here:
            list(ifc.read(path, options(texts), Report()))
        assert str(elsewhere.value) == str(here.value)


def test_another_model_or_other_options_are_read_in_place(model_file: ModelFile, step: Step, tmp_path: Path) -> None:
    path = model_file(step())
    early = begun(path, TEXTS, tmp_path)
    list(ifc.read(path, options({**TEXTS, "anchor": "500000,2500001,0"}), Report()))
    assert early.process.poll() is not None
    ahead.reading([path, path], TEXTS, tmp_path)
    ahead.reading([path.with_suffix(".obj")], TEXTS, tmp_path)
    ahead.reading([tmp_path / "missing.ifc"], TEXTS, tmp_path)
    ahead.reading([path], {"rotation": "a little"}, tmp_path)  # refused by whoever asks for the reading
    assert not ifc_early._READY


def test_the_city_is_asked_through_the_pipe(model_file: ModelFile, step: Step, tmp_path: Path) -> None:
    path = model_file(step())
    texts = {"footprint": "houses/7"}
    asked: list[str] = []

    def feature(name: str) -> Any:
        asked.append(name)
        raise BadOption(f"no {name} today")

    begun(path, texts, tmp_path)
    with reading.given(reading.Surroundings(feature=feature)), pytest.raises(BadOption, match="no houses/7 today"):
        list(ifc.read(path, options(texts), Report()))
    assert asked == ["houses/7"]


def test_dismissed_it_ends(model_file: ModelFile, step: Step, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = model_file(step())

    def dismissed(fraction: float, message: str) -> None:
        raise Cancelled("dismissed")

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    early = begun(path, TEXTS, tmp_path)
    with reading.given(reading.Surroundings(progress=dismissed)), pytest.raises(Cancelled):
        list(ifc.read(path, options(TEXTS), Report()))
    assert early.process.poll() == 1, "it ended by itself, whatever the parser was at"
    assert not list(tmp_path.glob("twin-ifc-*"))


def test_beginning_loads_nothing_large() -> None:
    code = "import sys, twin.commands, twin.ahead, ingest_bim.ifc.early; print(sorted({'numpy', 'pyarrow', 'pydantic', 'ifcopenshell'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=True, timeout=60, capture_output=True, text=True).stdout.strip() == "[]"
    code = "import sys, ingest_bim.ifc.reader; print(sorted({'numpy', 'pyarrow', 'ifcopenshell', 'peewee'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=True, timeout=60, capture_output=True, text=True).stdout.strip() == "[]"


def test_shapes_are_made_beside_the_reading(model_file: ModelFile, step: Step, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a process of their own, which also keeps them; what is said of the model comes in the order in which it was always said."""
    (tmp_path / "said").mkdir()
    monkeypatch.setattr(ifc_shaping, "shape_model", _noting(tmp_path / "said" / "shapes", shape_model))
    monkeypatch.setattr(ifc_reading, "read_definitions", _noting(tmp_path / "said" / "properties", read_definitions))
    lines = ("#130=IFCCOLUMN('1000000000000000000001',$,'third',$,$,$,#104,'T3',.COLUMN.);", "#401=IFCPROPERTYSINGLEVALUE('a',$,IFCLABEL('x'),$);",
             "#422=IFCPROPERTYSET('4000000000000000000002',$,'set',$,(#401,#63));",
             "#432=IFCRELDEFINESBYPROPERTIES('4000000000000000000003',$,$,$,(#100),#422);")  # fmt: skip
    path = model_file(step(*lines, lat="(22,34,48,0)", lon="(113,4,48,0)"))
    early = begun(path, {"vertical": "EGM96"}, tmp_path / "cache")
    report, plain = Report(), Report()
    elsewhere = list(ifc.read(path, options({"vertical": "EGM96"}), report))
    assert early.process.wait(30) == 0
    processes = {one.read_text() for one in (tmp_path / "said").iterdir()} | {str(os.getpid()), str(early.process.pid)}
    assert len(processes) == 3, "the reading one is the early one"
    assert (tmp_path / "cache" / "shapes.sqlite").exists()
    here = list(ifc.read(path, options({"vertical": "EGM96"}), plain))
    assert all(map(same, elsewhere, here))
    assert report == plain
    said = [note.reason for note in report.notes]
    parts = ("Placed by IfcSite", "repeats the GlobalId", "has no placement", "IfcExtrudedAreaSolid")
    at = [next(number for number, text in enumerate(said) if part in text) for part in parts]
    assert at == sorted(at)


def _noting(path: Path, function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, which writes down the number of the process that calls it."""

    def noting(*arguments: Any, **named: Any) -> Any:
        path.write_text(str(os.getpid()))
        return function(*arguments, **named)

    return noting


TRIANGLES = "#171=IFCTRIANGULATEDFACESET(#170,$,.T.,((1,3,2),(1,2,4),(2,3,4),(1,4,3)),$);"


@pytest.mark.parametrize(("change", "forked"), [
    ((), False),
    (("((1,3,2),(1,2,4),(2,3,4),(1,4,3))", "((1,3,2),(1,2,9))"), False),  # no point 9: our evaluator refuses it, and kernels are asked
    (("(#171));", "(#63));"), True),  # a solid
    (("#105=IFCSHAPEREPRESENTATION(#2,'Body','Tessellation',(#171))", "#105=IFCSHAPEREPRESENTATION(#2,'Body','MappedRepresentation',(#102))"), True),
    (("$,$,(#105));", "$,$,(#105,#172));"), True),  # two bodies in one context, which a fork makes one
    (("FEW", "0"), True), (("SMALL", "9"), True), (("kernel", "opencascade"), True),
])  # fmt: skip
def test_where_hardly_anything_is_drawn_nothing_is_forked(
    model_file: ModelFile, step: Step, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: tuple[str, ...], forked: bool
) -> None:
    """Few elements of triangles are shaped by the reading process; shapes, report and cache are those of a shaping process."""
    (tmp_path / "said").mkdir()
    monkeypatch.setattr(ifc_shaping, "shape_model", _noting(tmp_path / "said" / "shapes", shape_model))
    points = "#170=IFCCARTESIANPOINTLIST3D(((0.,0.,0.),(2.,0.,0.),(0.,1.,0.),(0.,0.,3.)));"
    text = step(points, TRIANGLES, "#172=IFCSHAPEREPRESENTATION(#2,'Body','Tessellation',(#63));").replace("'MappedRepresentation',(#102)", "'Tessellation',(#171)").replace("(#116)", "(#171)")
    if change and change[0] in ("FEW", "SMALL"):
        monkeypatch.setattr(ifc_shaping, change[0], int(change[1]))
    elif change and change[0] != "kernel":
        assert change[0] in text
        text = text.replace(*change)
    path = model_file(text)
    texts = TEXTS | {"kernel": change[1] if "kernel" in change else "auto"}
    early = begun(path, texts, tmp_path / "cache")
    report, apart, plain = Report(), Report(), Report()
    within = list(ifc.read(path, options(texts), report))
    assert early.process.wait(30) == 0
    assert (int((tmp_path / "said" / "shapes").read_text()) != early.process.pid) == forked
    monkeypatch.setattr(ifc_shaping, "FEW", -1)
    begun(path, texts, tmp_path / "other")
    beside = list(ifc.read(path, options(texts), apart))
    here = list(ifc.read(path, options(texts), plain))
    assert all(map(same, within, beside))
    assert all(map(same, within, here))
    assert report == apart == plain


def test_an_error_while_shaping_is_the_reading_s(model_file: ModelFile, step: Step, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = model_file(step())

    def damaged(*arguments: Any) -> Any:
        raise KeyError("#9")

    monkeypatch.setattr(ifc_shaping, "groups_of", damaged)
    begun(path, TEXTS, tmp_path)
    with pytest.raises(UnreadableSource, match="is damaged in its units") as elsewhere:
        list(ifc.read(path, options(TEXTS), Report()))
    with pytest.raises(UnreadableSource) as here:
        list(ifc.read(path, options(TEXTS), Report()))
    assert str(elsewhere.value) == str(here.value)


def test_a_reading_dismissed_while_shapes_are_made_ends_all_of_it(model_file: ModelFile, step: Step, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = model_file(step())
    monkeypatch.setattr(ifc_shaping, "shape_model", _noting(tmp_path / "shapes", lambda *arguments: time.sleep(300)))

    def dismissed(fraction: float, message: str) -> None:
        if "shapes" in message:
            raise Cancelled("dismissed")

    early = begun(path, TEXTS, tmp_path)
    with reading.given(reading.Surroundings(progress=dismissed)), pytest.raises(Cancelled):
        list(ifc.read(path, options(TEXTS), Report()))
    assert early.process.poll() is not None
    shaping = int((tmp_path / "shapes").read_text())
    for _ in range(500):  # the system ends it with its parent
        if not Path(f"/proc/{shaping}").exists() or ") Z " in Path(f"/proc/{shaping}/stat").read_text():
            break
        time.sleep(0.01)
    else:
        pytest.fail("the shaping process goes on")


def test_shapes_come_out_of_the_columns_as_they_went_in() -> None:
    chance = np.random.default_rng(1)

    def shape(vertices: int, triangles: int, materials: list[Any]) -> Shape:
        corners = chance.integers(0, max(vertices, 1), (triangles, 3)).astype(np.int32)
        return Shape(chance.normal(size=(vertices, 3)), corners, np.full(triangles, -1, np.int32), materials, np.eye(4), "plain")

    one, two, none = shape(8, 12, [("a", (1.0, 0.0, 0.0, 1.0))]), shape(4, 4, []), shape(0, 0, [])
    alike = replace(one, positions=chance.normal(size=(8, 3)))
    moved = replace(one, matrix=chance.normal(size=(4, 4)))
    shapes = Shapes({7: one, 3: two, 9: moved, 11: none, 13: alike}, {5: ("failed", "why")}, ["finding"], {"shaped": 3})
    for given in (shapes, Shapes({}, {5: ("empty", "why")})):
        made = unpacked(pickle.loads(pickle.dumps(packed(given))))
        assert (list(made.shapes), made.skipped, made.findings, made.facts) == (list(given.shapes), given.skipped, given.findings, given.facts)
        for step, was in given.shapes.items():
            now = made.shapes[step]
            assert (now.materials, now.kernel) == (was.materials, was.kernel)
            for name in ("positions", "triangles", "rows", "matrix"):
                np.testing.assert_array_equal(getattr(now, name), getattr(was, name))
                assert getattr(now, name).dtype == getattr(was, name).dtype
        if given.shapes:
            assert made.shapes[7].positions is made.shapes[9].positions  # what is shared is looked at once
            assert made.shapes[7].triangles is made.shapes[13].triangles
