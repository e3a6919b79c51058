"""A file that crashes its reader takes the worker of `twin serve` with it: three times at most, then the job says so; others are worked on meanwhile."""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from pathlib import Path

import geopandas
import pytest
import shapely

from twin import intake, tasks
from twin import jobs as jobs_module
from twin.catalog import Catalog
from twin.catalog_tables import JobRows
from twin.city import City
from twin.jobs import Jobs
from twin.processes import identity
from twin.worker import Supervisor

READER = """
import os, signal
from pathlib import Path
from twin import registry, scratch
from twin.entries import Entry

class Options(registry.ReaderOptions):
    "None."

def read(source, options, report):
    with scratch.folder("poison"), scratch.folder("poison", Path(os.environ["POISON_LAKE"])):
        os.kill(os.getpid(), getattr(signal, source.read_text()))
    yield None

ENTRY = Entry("poison", "poison_reader", "blocks", (".poison",))
"""


@pytest.fixture
def city(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> City:
    """A city whose workers have a reader that dies of the signal that its file names, having begun temporary files."""
    about = tmp_path / "plug" / "poison-1.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: poison\nVersion: 1\n")
    (about / "entry_points.txt").write_text("[wuyi_twin.readers]\npoison = poison_reader:ENTRY\n")
    (about.parent / "poison_reader.py").write_text(READER)
    (tmp_path / "temporary").mkdir()
    monkeypatch.setenv("PYTHONPATH", f"{about.parent}:{Path(tasks.__file__).parents[1]}")
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setenv("POISON_LAKE", str(tmp_path / "city" / "lake" / "tmp"))
    monkeypatch.setattr(jobs_module, "PAUSE", 5.0)
    return City.open(tmp_path / "city")


def poisoned(city: City, path: Path, layer: str, signal: str = "SIGSEGV") -> str:
    path.write_text(signal)
    return tasks.submit(city, "ingest", intake.ingest_params(path, layer, reader="vector") | {"reader": "poison", "options": {}}).id


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_three_tries_then_words_and_others_go_on_meanwhile(city: City, tmp_path: Path) -> None:
    jobs, source = Jobs(city.catalog), tmp_path / "houses.gpkg"
    geopandas.GeoDataFrame({"id": ["a"], "height": [9.0]}, geometry=[shapely.box(500000, 2500000, 500009, 2500009)], crs="EPSG:4547").to_file(source)
    first = poisoned(city, tmp_path / "地块.poison", "parcels")
    others = [tasks.submit(city, "ingest", intake.ingest_params(source, layer, reader="vector")).id for layer in ("parcels", "houses")]
    supervisor = Supervisor(city.settings.home)
    supervisor.start()
    try:
        deadline = time.time() + 90
        while not all(jobs.get(one).done for one in (first, *others)) and time.time() < deadline:
            time.sleep(0.1)
        time.sleep(0.5)
    finally:
        supervisor.stop()
    bad, after, beside = (jobs.get(one) for one in (first, *others))
    assert (bad.state, bad.attempts) == ("failed", 3)
    assert bad.error == ("地块.poison (layer parcels): the worker crashed (SIGSEGV) while reading, 3 times by now, and it is not tried again. "
                         "The city shows what it showed. The file may be damaged: export it again.")
    assert (after.state, beside.state) == ("successful", "successful"), (after.error, beside.error)
    assert beside.finished < bad.finished < after.started, "another layer's waits for no poison, the same layer's for its turn"
    assert not list((city.settings.home / "lake" / "tmp").iterdir())
    assert not list((tmp_path / "temporary").glob("twin-*"))


def test_who_counts_as_crashed(tmp_path: Path) -> None:
    """A crash keeps the job from the next worker for a while; memory that ran out is told as such; a worker that had no job harms none."""
    jobs, crashes = Jobs(Catalog(tmp_path / "catalog.sqlite")), Counter[str]()
    job = jobs.submit("run", {"source": ["/in/a.las", "/in/b.las", "/in/c.las", "/in/d.las"], "layer": "cloud"})
    other = jobs.submit("tile", {"layer": "roads"})
    assert jobs.crashed(identity(), -11, crashes) is None, "it has claimed nothing"
    for tries in range(jobs_module.CRASHES):
        assert jobs.claim(job.id) is not None
        found = jobs.crashed(identity(), -9, crashes)
        assert found is not None
        assert found.done == (tries == jobs_module.CRASHES - 1)
        if not found.done:
            assert found.message == "its worker was killed (SIGKILL), most likely because the machine ran out of memory while starting; it is tried again"
            assert jobs.claim(job.id) is None, "it waits"
            with jobs.catalog.write() as connection:
                JobRows.update(lease=time.time() - 1).where(JobRows.id == job.id).execute(connection)
    assert str(found.error).startswith("a.las, b.las, c.las and 1 more (layer cloud): the worker was killed (SIGKILL), most likely because the machine ran out of memory")
    assert str(found.error).endswith("Free memory, or use a machine that has more, and run it again.")
    assert jobs.claim() == jobs.get(other.id)
