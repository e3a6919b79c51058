"""Several programs on one city at the same moment: garbage is collected, layers are deleted, rolled back and delivered, and nobody loses what he has."""

from __future__ import annotations

import os
import socket
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import geopandas
import pytest
import shapely

from twin import intake, parts, serving, sources, tasks
from twin.catalog import Catalog, Publication, VersionRow
from twin.catalog_tables import Publications, Versions
from twin.city import City
from twin.errors import NotFound
from twin.jobs import Job, Jobs
from twin.model import LayerVersion
from twin.settings import Settings


def source(path: Path, height: float) -> Path:
    shapes = [shapely.box(400_000 + 30 * i, 2_490_000, 400_010 + 30 * i, 2_490_010) for i in range(9)]
    geopandas.GeoDataFrame({"id": [f"b{i}" for i in range(9)], "height": [height] * 9}, geometry=shapes, crs="EPSG:4547").to_parquet(path)
    return path


def delivery(city: City, path: Path, **how: bool) -> Job:
    """A job that reads a file as vectors into `l`."""
    return tasks.submit(city, "ingest", intake.ingest_params(path, "l", reader="vector", options={"id": "id"}, **how))


@pytest.fixture
def city(tmp_path: Path) -> City:
    """Whose layer `l` has four versions, of heights 1 to 4, and shows the last."""
    city = City(Settings(tmp_path / "city", workers=1))
    for height in range(1, 5):
        tasks.require(tasks.work(city, delivery(city, source(tmp_path / f"{height}.parquet", height))))
    return city


def heights(city: City) -> set[float]:
    return {height for chunk in city.features_of("l") for height in chunk.attributes["height"].to_pylist()}


def test_no_job_begins_while_garbage_is_collected(city: City, tmp_path: Path) -> None:
    """It would find a part in the lake that is on the list of what goes, or put one there after the list of what stays was made."""
    jobs = Jobs(city.catalog)
    collecting = jobs.claim(tasks.submit(city, "gc", {"keep": 1, "grace": 0.0}).id)
    waiting = delivery(city, tmp_path / "1.parquet")
    assert collecting is not None
    assert jobs.claim(waiting.id) is None
    assert jobs.claim() is None
    jobs.run(collecting, tasks.bind(city, collecting))
    tasks.require(tasks.work(city, waiting))
    assert heights(city) == {1.0}


def test_who_rolls_back_while_garbage_is_collected_comes_before_it_or_after(city: City, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is to go was chosen, then a layer began to show it, then it went: the layer showed nothing any more."""
    real = Catalog.publications
    said: list[str] = []

    def back() -> None:
        other = City(city.settings)
        try:
            said.append(f"version {other.catalog.rollback('l', 'me').number}")
        except NotFound as error:
            said.append(str(error))
        other.catalog.close()

    thread = threading.Thread(target=back)

    def publications(self: Catalog) -> list[Publication]:
        if thread.ident is None:
            thread.start()
            thread.join(0.5)
        return real(self)

    monkeypatch.setattr(Catalog, "publications", publications)
    done = tasks.require(tasks.work(city, tasks.submit(city, "gc", {"keep": 1, "grace": 0.0})))
    thread.join()
    (shown,) = city.catalog.published("l")
    assert shown.number in {row.number for row in city.catalog.versions("l")}, (said, done)
    assert heights(city) == {float(shown.number)}


def test_what_was_shown_a_moment_ago_is_within_the_time_of_grace(city: City, tmp_path: Path) -> None:
    """A client that has read its tileset.json goes on with its tiles; when it was made is another matter."""
    tasks.require(tasks.publish(city, "l", 1))
    with city.catalog.write() as connection:  # all that was long ago
        Versions.update(created=Versions.created - 7200).execute(connection)
        Publications.update(at=Publications.at - 7200).execute(connection)
    for key, *_ in city.lake.list():
        os.utime(city.lake.path(key), (time.time() - 7200,) * 2)
    tasks.require(tasks.work(city, delivery(city, source(tmp_path / "5.parquet", 5))))
    tasks.require(tasks.work(city, tasks.submit(city, "gc", {"keep": 1, "grace": 3600.0})))
    assert [row.number for row in city.catalog.versions("l")] == [1, 5]
    tasks.require(tasks.publish(city, "l", 1))
    assert heights(city) == {1.0}


def test_an_update_of_a_layer_that_is_deleted_meanwhile_makes_none(city: City, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It brought back a layer with a version that nothing showed."""
    real = parts.merge

    def deleted(*args: Any) -> LayerVersion:
        city.catalog.delete_layer("l", "me")
        return real(*args)

    monkeypatch.setattr(parts, "merge", deleted)
    job = tasks.work(city, delivery(city, tmp_path / "1.parquet", update=True))
    assert (job.state, "l was deleted meanwhile" in str(job.error)) == ("failed", True), job.error
    assert city.catalog.layers() == []


def test_a_layer_that_is_deleted_while_it_is_published_shows_nothing(city: City, monkeypatch: pytest.MonkeyPatch) -> None:
    """There was a publication of a layer that is none, whose files the next collection took."""
    real, calls = Catalog.version, []
    thread = threading.Thread(target=lambda: Catalog(city.catalog.path).delete_layer("l", "me"))

    def version(self: Catalog, *args: Any) -> VersionRow:
        found = real(self, *args)
        calls.append(found)
        if len(calls) == 3:  # of the command, of the job, and when it publishes
            thread.start()
            thread.join(0.5)
        return found

    monkeypatch.setattr(Catalog, "version", version)
    tasks.publish(city, "l", 2)
    thread.join()
    assert len(calls) == 3
    assert city.catalog.layers() == []
    assert city.catalog.published() == []


def test_another_delivery_under_the_same_name_is_not_the_job_of_the_first(city: City, tmp_path: Path) -> None:
    """Killed when its version was kept, the first went on with that, and the command said that it had delivered what nobody had read."""
    path = source(tmp_path / "d.parquet", 6)
    first = delivery(city, path)
    claimed = Jobs(city.catalog).claim(first.id)
    assert claimed is not None
    assert delivery(city, path).id == first.id, "the same command goes on with the same job"
    source(path, 7)
    assert delivery(city, path).id != first.id
    folder = tmp_path / "folder"
    folder.mkdir()
    source(folder / "a.parquet", 1)
    before = sources.stamp(folder)
    assert before == sources.stamp(folder)
    source(folder / "b.parquet", 1)
    assert before != sources.stamp(folder)


def test_who_comes_as_soon_as_the_address_is_told_is_let_in(city: City, monkeypatch: pytest.MonkeyPatch) -> None:
    """The port was taken, but nobody listened yet."""
    monkeypatch.setattr(serving, "Supervisor", lambda home: SimpleNamespace(start=lambda: None, stop=lambda: None))

    def come(url: str) -> None:
        socket.create_connection(("127.0.0.1", int(url.rstrip("/").rsplit(":", 1)[1])), timeout=5).close()
        raise InterruptedError

    with pytest.raises(InterruptedError):
        serving.serve(city, "127.0.0.1", 0, announce=come)
