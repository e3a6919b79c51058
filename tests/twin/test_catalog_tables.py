"""A catalogue of an earlier release, whose tables SQLAlchemy made, is opened as it is; a damaged one is refused in words."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path

import pytest

from twin.catalog import Catalog
from twin.catalog_tables import TABLES, Layers
from twin.errors import StorageError
from twin.jobs import Jobs

#: What release 0.1.0 said to SQLite, and what it wrote.
EARLIER = """
CREATE TABLE layers (name VARCHAR NOT NULL, kind VARCHAR NOT NULL, title_zh VARCHAR, title_en VARCHAR, "group" VARCHAR, grade VARCHAR, licence VARCHAR, label VARCHAR,
  description VARCHAR, created FLOAT NOT NULL, run VARCHAR, PRIMARY KEY (name));
CREATE TABLE versions (layer VARCHAR NOT NULL, number INTEGER NOT NULL, manifest VARCHAR NOT NULL, created FLOAT NOT NULL, job VARCHAR, who VARCHAR, count INTEGER,
  pinned BOOLEAN NOT NULL, PRIMARY KEY (layer, number));
CREATE TABLE derivations ("key" VARCHAR NOT NULL, layer VARCHAR NOT NULL, number INTEGER NOT NULL, tiler VARCHAR NOT NULL, archive VARCHAR NOT NULL, inputs JSON NOT NULL,
  info JSON NOT NULL, created FLOAT NOT NULL, PRIMARY KEY ("key"));
CREATE TABLE publications (id INTEGER NOT NULL, layer VARCHAR NOT NULL, number INTEGER NOT NULL, manifest VARCHAR NOT NULL, derivation VARCHAR, at FLOAT NOT NULL, who VARCHAR,
  PRIMARY KEY (id));
CREATE TABLE pointers (layer VARCHAR NOT NULL, publication INTEGER NOT NULL, PRIMARY KEY (layer));
CREATE TABLE jobs (id VARCHAR NOT NULL, kind VARCHAR NOT NULL, params JSON NOT NULL, "key" VARCHAR, state VARCHAR NOT NULL, stage VARCHAR NOT NULL, progress FLOAT NOT NULL,
  message VARCHAR NOT NULL, attempts INTEGER NOT NULL, owner VARCHAR, fence INTEGER NOT NULL, lease FLOAT NOT NULL, cancel BOOLEAN NOT NULL, created FLOAT NOT NULL,
  started FLOAT, finished FLOAT, updated FLOAT, result JSON, error VARCHAR, who VARCHAR, PRIMARY KEY (id), CONSTRAINT jobs_key UNIQUE ("key"));
CREATE TABLE audit (id INTEGER NOT NULL, at FLOAT NOT NULL, who VARCHAR, what VARCHAR NOT NULL, detail JSON, PRIMARY KEY (id));
INSERT INTO layers VALUES ('a', 'mesh', '甲', NULL, '时空基础', '', '', 'open', '', 1.5, NULL);
INSERT INTO versions VALUES ('a', 1, 'm1', 1.5, 'j', 'me', 5, 0), ('a', 2, 'm2', 2.5, 'k', 'me', 6, 1);
INSERT INTO derivations VALUES ('d', 'a', 2, 'mesh', 'x.3tz', '{"parts": [["p", "\\u4e8c"]]}', '{"tiles": 3}', 2.5);
INSERT INTO publications VALUES (1, 'a', 1, 'm1', NULL, 1.5, 'me'), (2, 'a', 2, 'm2', 'd', 2.5, 'me');
INSERT INTO pointers VALUES ('a', 2);
INSERT INTO jobs VALUES ('0123456789', 'ingest', '{"layer": "a"}', 'once', 'accepted', '', 0.0, '', 0, NULL, 0, 0.0, 0, 1.0, NULL, NULL, 1.0, NULL, NULL, 'me');
INSERT INTO audit VALUES (1, 1.5, 'me', 'publish', '{"layer": "a", "version": 1}');
PRAGMA user_version = 1;
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = sqlite3.connect(tmp_path / "catalog.sqlite")
    made.executescript(EARLIER)
    made.close()
    return tmp_path / "catalog.sqlite"


def test_a_catalogue_of_an_earlier_release_is_read_and_written(path: Path) -> None:
    catalog = Catalog(path)
    assert [(layer.name, layer.title, layer.group) for layer in catalog.layers()] == [("a", {"zh": "甲"}, "时空基础")]
    assert [(row.number, row.count, row.pinned) for row in catalog.versions("a")] == [(1, 5, False), (2, 6, True)]
    shown = catalog.published("a")[0]
    assert (shown.number, shown.derivation) == (2, "d")
    derivation = catalog.derivation("d")
    assert derivation is not None and (derivation.inputs, derivation.info) == ({"parts": [["p", "二"]]}, {"tiles": 3})
    assert catalog.rollback("a", "me").number == 1
    assert [p.number for p in catalog.shown("a")] == [1, 2, 1]
    jobs = Jobs(catalog)
    assert jobs.submit("ingest", {}, key="once").params == {"layer": "a"}, "the unfinished job of the same key"
    job = jobs.claim()
    assert job is not None and job.fence == 1
    assert jobs.run(job, lambda context: {"fine": context.job.kind}).result == {"fine": "ingest"}
    read = sqlite3.connect(path)
    assert read.execute("SELECT params, state, result, cancel FROM jobs").fetchall() == [('{"layer": "a"}', "successful", '{"fine": "ingest"}', 0)]
    assert {row[0] for row in read.execute("SELECT name FROM sqlite_master WHERE type = 'table'")} == {table._meta.table_name for table in TABLES}
    read.close()


def test_one_of_another_schema_is_refused(path: Path) -> None:
    other = sqlite3.connect(path)
    other.execute("PRAGMA user_version = 7")
    other.close()
    with pytest.raises(StorageError, match="schema 7"):
        Catalog(path)


def test_a_read_inside_a_write_sees_it_and_other_threads_do_not(path: Path) -> None:
    catalog, seen = Catalog(path), []

    def look() -> None:
        seen.append(catalog.layer("a").title["zh"])
        catalog.close()

    with catalog.write() as connection:
        Layers.update(title_zh="乙").execute(connection)
        assert catalog.layer("a").title["zh"] == "乙"
        thread = threading.Thread(target=look)
        thread.start()
        thread.join()
    assert seen == ["甲"] and catalog.layer("a").title["zh"] == "乙"


def test_a_write_that_fails_leaves_nothing(path: Path) -> None:
    catalog = Catalog(path)

    def failing() -> None:
        with catalog.write() as connection:
            Layers.delete().execute(connection)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        failing()
    assert [layer.name for layer in catalog.layers()] == ["a"]


def test_a_damaged_catalogue_is_said_to_be(tmp_path: Path) -> None:
    """A file that is no database at all, and one whose pages were overwritten while it was closed."""
    path = tmp_path / "catalog.sqlite"
    path.write_bytes(b"not a database, " * 400)
    with pytest.raises(StorageError, match="is damaged: file is not a database"):
        Catalog(path)
    path.unlink()
    Catalog(path).close()
    held = bytearray(path.read_bytes())
    held[4096:] = b"\xff" * (len(held) - 4096)
    path.write_bytes(held)
    with pytest.raises(StorageError, match="is damaged"):
        Catalog(path).layers()


def test_a_full_disk_is_named(tmp_path: Path) -> None:
    """SQLite has rolled back by itself then; that this fails a second time was all that was said."""
    catalog = Catalog(tmp_path / "catalog.sqlite")
    with catalog.write() as database:
        database.execute_sql("CREATE TABLE filler (text)")
        pages = database.execute_sql("PRAGMA page_count").fetchone()[0]
    catalog._database.execute_sql(f"PRAGMA max_page_count = {pages}")
    much = [("x" * 4000,)] * 100
    with pytest.raises(StorageError, match=r"cannot be written: database or disk is full\. Free a few MB on the disk of "), catalog.write() as database:
        database.connection().executemany("INSERT INTO filler VALUES (?)", much)
    with catalog.write() as database:
        assert database.execute_sql("SELECT count(*) FROM filler").fetchone() == (0,)


def test_one_that_may_not_be_written_is_read(tmp_path: Path) -> None:
    """It was said that another program may hold it."""
    catalog = Catalog(tmp_path / "catalog.sqlite")
    catalog._database.execute_sql("PRAGMA query_only = 1")
    with pytest.raises(StorageError, match=r"readonly database\. Check the permissions of "):
        Jobs(catalog).submit("x", {})
    assert Jobs(catalog).list() == []
