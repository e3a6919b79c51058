"""The queue: leases, fencing, cancelling, no second worker."""

from __future__ import annotations

import errno
import multiprocessing
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import geopandas
import pytest
import shapely

from twin import intake, parts, tasks
from twin import jobs as jobs_module
from twin.catalog import Catalog
from twin.catalog_tables import JobRows
from twin.city import City
from twin.errors import BadInput, Conflict, LostLease, NotFound
from twin.jobs import Context, Job, Jobs
from twin.model import LayerVersion
from twin.processes import identity, is_gone
from twin.settings import Settings


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    return Catalog(tmp_path / "catalog.sqlite")


def test_a_job_runs_once_and_keeps_its_result(catalog: Catalog) -> None:
    jobs = Jobs(catalog)
    job = jobs.submit("x", {"a": 1})
    claimed = jobs.claim()
    assert claimed is not None
    assert claimed.id == job.id
    assert jobs.claim() is None, "a running job was claimed twice"
    done = jobs.run(claimed, lambda context: {"answer": 42})
    assert (done.state, done.result, done.progress) == ("successful", {"answer": 42}, 1.0)
    assert jobs.claim() is None


def test_the_same_unfinished_work_is_one_job(catalog: Catalog) -> None:
    jobs = Jobs(catalog)
    first = jobs.submit("x", {}, key="same")
    assert jobs.submit("x", {}, key="same").id == first.id
    jobs.run(jobs.claim(first.id), lambda context: {})
    assert jobs.submit("x", {}, key="same").id != first.id


def test_a_full_disk_is_said_in_words(catalog: Catalog, caplog: pytest.LogCaptureFixture) -> None:
    """Whoever writes: scratch files, libraries that raise the system's error as it is."""
    jobs = Jobs(catalog)

    def full(context: Context) -> dict:
        raise OSError(errno.ENOSPC, "No space left on device")

    jobs.submit("x", {})
    done = jobs.run(jobs.claim(), full)
    assert done.state == "failed"
    assert done.error.startswith(f"x (job {done.id}): the disk is full. The city shows what it showed. Free space in the city's folder or {tempfile.gettempdir()} (twin gc)")
    assert not caplog.records


def test_errors_become_a_message_without_a_traceback(catalog: Catalog) -> None:
    jobs = Jobs(catalog)

    def bad(context: Context) -> dict:
        raise BadInput("roads.gpkg: no.", "Do that.")

    def worse(context: Context) -> dict:
        raise ZeroDivisionError("oops")

    for task, text in ((bad, "roads.gpkg: no. Do that."), (worse, "Internal error (ZeroDivisionError: oops)")):
        done = jobs.run(jobs.claim(jobs.submit("x", {}).id), task)
        assert done.state == "failed"
        assert text in done.error
        assert "Traceback" not in done.error


def test_cancelling(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs_module, "HEARTBEAT", 0.05)
    jobs = Jobs(catalog)
    waiting = jobs.submit("x", {})
    assert jobs.cancel(waiting.id).state == "dismissed"
    with pytest.raises(Conflict):
        jobs.cancel(waiting.id)
    running = jobs.submit("x", {})
    begun = threading.Event()

    def endless(context: Context) -> dict:
        begun.set()
        while True:
            context.progress(0.5, "working")
            time.sleep(0.01)

    def cancel() -> None:
        begun.wait()
        jobs.cancel(running.id)

    thread = threading.Thread(target=cancel)
    thread.start()
    assert jobs.run(jobs.claim(running.id), endless).state == "dismissed"
    thread.join()


def test_a_worker_that_lost_its_lease_cannot_write(catalog: Catalog) -> None:
    jobs = Jobs(catalog)
    job = jobs.submit("x", {})
    slow = jobs.claim(job.id)
    with catalog.write() as connection:  # its lease runs out while it sleeps
        JobRows.update(lease=time.time() - 1).execute(connection)
    quick = jobs.claim(job.id)
    assert quick is not None
    assert quick.fence == slow.fence + 1
    with pytest.raises(LostLease), catalog.write() as connection:
        Context(slow, catalog).guard(connection)
    with pytest.raises(LostLease):
        jobs.run(slow, lambda context: {"stale": True})
    assert jobs.run(quick, lambda context: {"fresh": True}).result == {"fresh": True}


def test_a_living_owner_with_a_valid_lease_keeps_its_job(catalog: Catalog) -> None:
    jobs = Jobs(catalog)
    jobs.claim(jobs.submit("x", {}).id)
    assert jobs.claim() is None


def test_a_job_whose_process_is_gone_is_claimed_at_once(catalog: Catalog) -> None:
    jobs = Jobs(catalog)
    job = jobs.submit("x", {})
    child = multiprocessing.get_context("spawn").Process(target=_claim_and_die, args=(str(catalog.path), job.id))
    child.start()
    child.join()
    assert jobs.get(job.id).state == "running"
    again = jobs.claim(job.id)
    assert again is not None
    assert again.attempts == 2


def _claim_and_die(path: str, job: str) -> None:
    assert Jobs(Catalog(Path(path))).claim(job) is not None


def test_a_job_that_always_kills_its_worker_is_given_up(catalog: Catalog) -> None:
    jobs = Jobs(catalog)
    job = jobs.submit("x", {})
    for _ in range(jobs_module.MAX_ATTEMPTS):
        assert jobs.claim(job.id) is not None
        with catalog.write() as connection:
            JobRows.update(lease=0.0).execute(connection)
    assert jobs.claim(job.id) is None
    assert jobs.get(job.id).state == "failed"
    assert "died" in jobs.get(job.id).error


def test_many_processes_claim_each_job_once(catalog: Catalog, tmp_path: Path) -> None:
    jobs = Jobs(catalog)
    wanted = {jobs.submit("x", {"n": n}).id for n in range(30)}
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    workers = [context.Process(target=_claim_all, args=(str(catalog.path), queue)) for _ in range(3)]
    for worker in workers:
        worker.start()
    taken = [item for _ in workers for item in queue.get(timeout=60)]
    for worker in workers:
        worker.join()
    assert sorted(taken) == sorted(wanted)


def _claim_all(path: str, queue) -> None:
    jobs = Jobs(Catalog(Path(path)))
    taken = []
    while (job := jobs.claim()) is not None:
        taken.append(job.id)
        jobs.run(job, lambda context: {})
    queue.put(taken)


def test_jobs_of_one_layer_take_turns(catalog: Catalog) -> None:
    """Two updates at once would each be made of the same version, and one of them lost; other layers do not wait, nor does anyone for the dead."""
    jobs = Jobs(catalog)
    first, second, other = (jobs.submit("ingest", {"layer": name, "n": n}) for n, name in enumerate("aab"))
    held = jobs.claim(first.id)
    assert jobs.claim(second.id) is None
    assert jobs.claim().id == other.id
    assert jobs.claim() is None
    jobs.run(held, lambda context: {})
    assert jobs.claim(second.id).id == second.id
    third = jobs.submit("ingest", {"layer": "a", "n": 3})
    with catalog.write() as connection:
        JobRows.update(lease=time.time() - 1).where(JobRows.id == second.id).execute(connection)
    assert jobs.claim(third.id).id == third.id


def _squares(path: Path, ids: range, height: float) -> Path:
    shapes = [shapely.box(400_000 + 30 * i, 2_490_000, 400_010 + 30 * i, 2_490_010) for i in ids]
    geopandas.GeoDataFrame({"id": [f"b{i}" for i in ids], "height": [height] * len(ids)}, geometry=shapes, crs="EPSG:4547").to_file(path)
    return path


def test_an_update_takes_the_place_of_what_it_was_made_of_and_of_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that was asleep while its lease ran out, and a killed job that goes on after others have delivered, undo nothing."""
    city = City(Settings(tmp_path / "city", workers=1))

    def deliver(ids: range, height: float, **how: bool) -> Job:
        source = _squares(tmp_path / f"{height}.gpkg", ids, height)
        params = intake.ingest_params(source, "l", reader="vector", options={"id": "id"}, **how)
        return tasks.submit(city, "ingest", params)

    tasks.require(tasks.work(city, deliver(range(9), 1.0)))
    slow, real = deliver(range(2), 2.0, update=True), parts.merge

    def asleep(*args: Any) -> LayerVersion:
        monkeypatch.setattr(parts, "merge", real)
        with city.catalog.write() as connection:
            JobRows.update(lease=time.time() - 1, owner=None).where(JobRows.id == slow.id).execute(connection)
        tasks.require(tasks.work(city, deliver(range(3, 5), 3.0, update=True)))
        return real(*args)

    monkeypatch.setattr(parts, "merge", asleep)
    ended = tasks.work(city, slow)
    assert (ended.state, "made of version 1, but l shows version 2" in str(ended.error)) == ("failed", True), ended.error
    tasks.require(tasks.work(city, deliver(range(2), 2.0, update=True)))
    found = {id_: height for chunk in city.features_of("l") for id_, height in zip(chunk.ids.to_pylist(), chunk.attributes["height"].to_pylist(), strict=True)}
    assert found == {f"b{i}": 2.0 if i < 2 else 3.0 if i in (3, 4) else 1.0 for i in range(9)}

    stale = deliver(range(9), 7.0)
    Jobs(city.catalog).claim(stale.id)
    with city.catalog.write() as connection:  # its worker dies
        JobRows.update(lease=0.0, owner=None).where(JobRows.id == stale.id).execute(connection)
    tasks.require(tasks.work(city, deliver(range(9), 8.0)))
    ended = tasks.work(city, stale)
    assert (ended.state, "newer than this job" in str(ended.error)) == ("failed", True), ended.error
    assert {height for chunk in city.features_of("l") for height in chunk.attributes["height"].to_pylist()} == {8.0}


def test_no_such_job(catalog: Catalog) -> None:
    with pytest.raises(NotFound):
        Jobs(catalog).get("nothing")


def test_identity_tells_the_living_from_the_dead() -> None:
    assert not is_gone(identity())
    child = multiprocessing.get_context("spawn").Process(target=time.sleep, args=(60,))
    child.start()
    owner = identity(child.pid)
    assert not is_gone(owner)
    child.kill()
    child.join()
    assert is_gone(owner)
    host, boot, pid, _ = identity().split("|")
    assert is_gone(f"{host}|another boot|{pid}|1")
    assert not is_gone(f"elsewhere|{boot}|{pid}|1"), "nothing is known of other machines"


def test_the_disk_is_waited_for_by_what_lasts_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite's `synchronous` (2: until it is on the disk) as each is written: what is shown and the job's end, not what is done again."""
    city, seen = City(Settings(home=tmp_path / "city")), []

    def noting(owner: Any, name: str, place: int) -> None:
        right = getattr(owner, name)

        def function(*arguments: Any, **named: Any) -> Any:
            seen.append((name, arguments[place].execute_sql("PRAGMA synchronous").fetchone()[0]))
            return right(*arguments, **named)

        monkeypatch.setattr(owner, name, function)

    noting(Catalog, "add_version", 1)
    noting(Catalog, "add_derivation", 1)
    noting(Catalog, "publish", 1)
    noting(jobs_module, "_finish", 0)
    noting(Context, "guard", 1)
    source = tmp_path / "houses.gpkg"
    shapes = [shapely.box(500000, 2500000, 500009, 2500009)]
    geopandas.GeoDataFrame({"id": ["a"], "height": [9.0]}, geometry=shapes, crs="EPSG:4547").to_file(source)
    params = intake.ingest_params(source, "houses", reader="footprints", options={"height": "height", "vertical": "above ground", "ground": "5"})
    tasks.require(tasks.work(city, tasks.submit(city, "ingest", params)))
    assert [one for one in seen if one[0] != "guard"] == [("add_version", 1), ("add_derivation", 1), ("publish", 2), ("_finish", 2)]
    assert {level for name, level in seen if name == "guard"} == {1, 2}
    with city.catalog.write() as connection, city.catalog.write(lasting=False):  # one transaction
        assert connection.execute_sql("PRAGMA synchronous").fetchone()[0] == 2
    with city.catalog.read() as connection:
        assert connection.execute_sql("PRAGMA synchronous").fetchone()[0] == 1
