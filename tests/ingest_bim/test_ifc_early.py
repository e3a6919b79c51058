"""A model that is read in a process of its own, begun ahead, comes out as if it were read in place."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ingest_bim import ifc, ifc_early
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
    assert told[:2] == ["opened", "properties"]
    here = list(ifc.read(path, options(TEXTS), plain))
    assert len(elsewhere) == len(here) > 5
    assert all(map(same, elsewhere, here))
    assert report == plain
    assert (tmp_path / "cache" / "shapes.sqlite").exists()


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


def test_dismissed_killed_or_interrupted_it_ends(model_file: ModelFile, step: Step, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = model_file(step())

    def dismissed(fraction: float, message: str) -> None:
        raise Cancelled("dismissed")

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    early = begun(path, TEXTS, tmp_path)
    with reading.given(reading.Surroundings(progress=dismissed)), pytest.raises(Cancelled):
        list(ifc.read(path, options(TEXTS), Report()))
    assert early.process.poll() == 1, "it ended by itself, whatever the parser was at"
    assert not list(tmp_path.glob("twin-ifc-*"))
    early = begun(path, TEXTS, tmp_path)
    early.process.kill()
    with pytest.raises(UnreadableSource, match="ended unexpectedly"):
        list(ifc.read(path, options(TEXTS), Report()))


def test_beginning_loads_nothing_large() -> None:
    code = "import sys, twin.cli, twin.ahead, ingest_bim.ifc_early; print(sorted({'numpy', 'pyarrow', 'pydantic', 'ifcopenshell'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=True, timeout=60, capture_output=True, text=True).stdout.strip() == "[]"
    code = "import sys, ingest_bim.ifc; print(sorted({'numpy', 'pyarrow', 'ifcopenshell', 'peewee'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=True, timeout=60, capture_output=True, text=True).stdout.strip() == "[]"
