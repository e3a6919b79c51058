"""The catalogue: which layers, versions, tilesets and jobs exist, and which of them the city shows.

One SQL database through SQLAlchemy Core: SQLite on local disk (WAL, every write a ``BEGIN IMMEDIATE`` transaction with a
busy timeout). What a layer shows is one row of ``pointers``; publishing and rolling back change that row and nothing
else, in one transaction, so a reader sees the old publication or the new one.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import JSON, Boolean, Column, Float, Integer, MetaData, String, Table, UniqueConstraint, select
from sqlalchemy.exc import OperationalError

from twin.errors import Conflict, NotFound, StorageError
from twin.model import Layer

SCHEMA_VERSION = 1
metadata = MetaData()

layers_table = Table(
    "layers", metadata,
    Column("name", String, primary_key=True), Column("kind", String, nullable=False), Column("title_zh", String), Column("title_en", String),
    Column("group", String), Column("grade", String), Column("licence", String), Column("label", String), Column("description", String),
    Column("created", Float, nullable=False), Column("run", String),
)  # fmt: skip
versions_table = Table(
    "versions", metadata,
    Column("layer", String, primary_key=True), Column("number", Integer, primary_key=True), Column("manifest", String, nullable=False),
    Column("created", Float, nullable=False), Column("job", String), Column("who", String), Column("count", Integer),
    Column("pinned", Boolean, nullable=False, default=False),
)  # fmt: skip
derivations_table = Table(
    "derivations", metadata,
    Column("key", String, primary_key=True), Column("layer", String, nullable=False), Column("number", Integer, nullable=False),
    Column("tiler", String, nullable=False), Column("archive", String, nullable=False), Column("inputs", JSON, nullable=False),
    Column("info", JSON, nullable=False), Column("created", Float, nullable=False),
)  # fmt: skip
publications_table = Table(
    "publications", metadata,
    Column("id", Integer, primary_key=True, autoincrement=True), Column("layer", String, nullable=False), Column("number", Integer, nullable=False),
    Column("manifest", String, nullable=False), Column("derivation", String), Column("at", Float, nullable=False), Column("who", String),
)  # fmt: skip
pointers_table = Table("pointers", metadata, Column("layer", String, primary_key=True), Column("publication", Integer, nullable=False))
jobs_table = Table(
    "jobs", metadata,
    Column("id", String, primary_key=True), Column("kind", String, nullable=False), Column("params", JSON, nullable=False),
    Column("key", String), Column("state", String, nullable=False), Column("stage", String, nullable=False, default=""),
    Column("progress", Float, nullable=False, default=0.0), Column("message", String, nullable=False, default=""),
    Column("attempts", Integer, nullable=False, default=0), Column("owner", String), Column("fence", Integer, nullable=False, default=0),
    Column("lease", Float, nullable=False, default=0.0), Column("cancel", Boolean, nullable=False, default=False),
    Column("created", Float, nullable=False), Column("started", Float), Column("finished", Float), Column("updated", Float),
    Column("result", JSON), Column("error", String), Column("who", String), UniqueConstraint("key", name="jobs_key"),
)  # fmt: skip
audit_table = Table(
    "audit", metadata,
    Column("id", Integer, primary_key=True, autoincrement=True), Column("at", Float, nullable=False), Column("who", String),
    Column("what", String, nullable=False), Column("detail", JSON),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class VersionRow:
    """One version of a layer: `number` counts from 1; `manifest` is its key in the lake; `created` in Unix seconds."""

    layer: str
    number: int
    manifest: str
    created: float
    job: str
    who: str
    count: int
    pinned: bool


@dataclass(frozen=True, slots=True)
class Derivation:
    """A tileset: its derivation key, the archive's key in the lake, what it was made from, and the tiler's facts."""

    key: str
    layer: str
    number: int
    tiler: str
    archive: str
    inputs: dict[str, Any]
    info: dict[str, Any] = field(default_factory=dict)

    @property
    def near(self) -> tuple[str, ...]:
        """Keys of the archive with `tileset.json` and the tiles near the root, or of several where it was split (`twin.archive_set`)."""
        return (self.archive, *self.info.get("archives", ()))

    @property
    def archives(self) -> tuple[str, ...]:
        """Keys of all its archives: those of its pieces (of a large city, `tiling.pieces`) come last."""
        return (*self.near, *self.info.get("pieces", ()))


@dataclass(frozen=True, slots=True)
class Publication:
    """What a layer shows: version, manifest and (where it has tiles) derivation; `at` in Unix seconds."""

    id: int
    layer: str
    number: int
    manifest: str
    derivation: str | None
    at: float
    who: str


class Catalog:
    """The catalogue of one city; safe to use from several threads and processes."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.engine = sa.create_engine(f"sqlite:///{path}", connect_args={"timeout": 30, "check_same_thread": False})
        sa.event.listen(self.engine, "connect", _prepare_sqlite)
        with self.write() as connection:
            metadata.create_all(connection)
            version = connection.exec_driver_sql("PRAGMA user_version").scalar()
            if version not in (0, SCHEMA_VERSION):
                raise StorageError(f"{path} was written by another release (schema {version}, this one reads {SCHEMA_VERSION}).",
                                   "Use the release that wrote it, or start a new city.")  # fmt: skip
            connection.exec_driver_sql(f"PRAGMA user_version = {SCHEMA_VERSION}")

    @contextmanager
    def write(self) -> Iterator[sa.Connection]:
        """A write transaction: taken at once (`BEGIN IMMEDIATE`), committed at the end, rolled back on any error."""
        try:
            with self.engine.connect() as connection:
                connection.exec_driver_sql("BEGIN IMMEDIATE")
                try:
                    yield connection
                except BaseException:
                    connection.exec_driver_sql("ROLLBACK")
                    raise
                connection.exec_driver_sql("COMMIT")
        except OperationalError as error:
            raise StorageError(f"The catalogue cannot be written: {error.orig}.", "Another program may hold it, or the disk is full.") from error

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """A consistent snapshot for several reads."""
        with self.engine.connect() as connection:
            connection.exec_driver_sql("BEGIN")
            try:
                yield connection
            finally:
                connection.exec_driver_sql("ROLLBACK")

    # --- layers and versions -------------------------------------------------------------------------------------

    def layers(self) -> list[Layer]:
        """All layers by name."""
        with self.read() as connection:
            return [_layer(row) for row in connection.execute(select(layers_table).order_by(layers_table.c.name))]

    def layer(self, name: str) -> Layer:
        """A layer by name, or NotFound."""
        with self.read() as connection:
            row = connection.execute(select(layers_table).where(layers_table.c.name == name)).first()
        if row is None:
            raise NotFound(f"There is no layer {name!r}.", "twin layers lists what there is.")
        return _layer(row)

    def add_version(self, connection: sa.Connection, layer: Layer, manifest: str, count: int, *, job: str, who: str, run: str = "") -> int:
        """Add a version inside the caller's transaction (creating the layer if it is new) and return its number.

        A job that is redone gets the version it already made.

        Raises:
            Conflict: the layer exists with another kind.
        """
        row = connection.execute(select(layers_table.c.kind).where(layers_table.c.name == layer.name)).first()
        values = {"kind": layer.kind, "title_zh": layer.title.get("zh"), "title_en": layer.title.get("en"), "group": layer.group,
                  "grade": layer.grade, "licence": layer.licence, "label": layer.label, "description": layer.description, "run": run}  # fmt: skip
        if row is None:
            connection.execute(layers_table.insert().values(name=layer.name, created=time.time(), **values))
        elif row.kind != layer.kind:
            raise Conflict(f"Layer {layer.name!r} holds {row.kind}, not {layer.kind}.", "Choose another --layer name, or delete the layer first.")
        else:
            told = {key: value for key, value in values.items() if value}  # a new version keeps the title it is not told
            connection.execute(layers_table.update().where(layers_table.c.name == layer.name).values(**told))
        table = versions_table
        done = connection.execute(select(table.c.number).where(table.c.layer == layer.name, table.c.job == job)).first()
        if done is not None:
            return int(done.number)
        last = connection.execute(select(sa.func.max(table.c.number)).where(table.c.layer == layer.name)).scalar()
        number = int(last or 0) + 1
        connection.execute(table.insert().values(layer=layer.name, number=number, manifest=manifest, created=time.time(), job=job, who=who,
                                                 count=count, pinned=False))  # fmt: skip
        return number

    def versions(self, layer: str) -> list[VersionRow]:
        """All versions of a layer, oldest first."""
        self.layer(layer)
        query = select(versions_table).where(versions_table.c.layer == layer).order_by(versions_table.c.number)
        with self.read() as connection:
            return [VersionRow(*row) for row in connection.execute(query)]

    def version(self, layer: str, number: int | None = None) -> VersionRow:
        """A version by number, or the newest.

        Raises:
            NotFound: no such version.
        """
        rows = self.versions(layer)
        if number is None and rows:
            return rows[-1]
        for row in rows:
            if row.number == number:
                return row
        raise NotFound(f"Layer {layer!r} has no version {number}.", f"It has {', '.join(str(r.number) for r in rows) or 'none'}.")

    def pin(self, layer: str, number: int, *, pinned: bool, who: str) -> None:
        """Keep a version from the garbage collector, or let it go.

        Raises:
            NotFound: no such version.
        """
        self.version(layer, number)
        table = versions_table
        with self.write() as connection:
            connection.execute(table.update().where(table.c.layer == layer, table.c.number == number).values(pinned=pinned))
            connection.execute(audit_table.insert().values(at=time.time(), who=who, what="pin" if pinned else "unpin", detail={"layer": layer, "version": number}))

    def version_of_job(self, layer: str, job: str) -> VersionRow | None:
        """The version a job has already made, if any."""
        query = select(versions_table).where(versions_table.c.layer == layer, versions_table.c.job == job)
        with self.read() as connection:
            row = connection.execute(query).first()
        return VersionRow(*row) if row else None

    # --- tilesets ------------------------------------------------------------------------------------------------

    def derivation(self, key: str) -> Derivation | None:
        """A tileset by its derivation key."""
        with self.read() as connection:
            row = connection.execute(select(derivations_table).where(derivations_table.c.key == key)).first()
        return _derivation(row) if row else None

    def derivations(self, layer: str | None = None) -> list[Derivation]:
        """All tilesets, or those of one layer."""
        query = select(derivations_table).order_by(derivations_table.c.created)
        if layer is not None:
            query = query.where(derivations_table.c.layer == layer)
        with self.read() as connection:
            return [_derivation(row) for row in connection.execute(query)]

    def add_derivation(self, connection: sa.Connection, derivation: Derivation) -> None:
        """Record a finished tileset (once; the same key is the same tileset)."""
        table = derivations_table
        if connection.execute(select(table.c.key).where(table.c.key == derivation.key)).first() is None:
            connection.execute(table.insert().values(
                key=derivation.key, layer=derivation.layer, number=derivation.number, tiler=derivation.tiler, archive=derivation.archive,
                inputs=derivation.inputs, info=derivation.info, created=time.time()))  # fmt: skip

    # --- publishing ----------------------------------------------------------------------------------------------

    def publish(self, connection: sa.Connection, layer: str, number: int, manifest: str, derivation: str | None, who: str) -> int:
        """Let a layer show a version: one new publication and one pointer, in the caller's transaction."""
        done = connection.execute(publications_table.insert().values(
            layer=layer, number=number, manifest=manifest, derivation=derivation, at=time.time(), who=who))  # fmt: skip
        identity = int((done.inserted_primary_key or [0])[0])
        _point(connection, layer, identity)
        connection.execute(audit_table.insert().values(at=time.time(), who=who, what="publish", detail={"layer": layer, "version": number}))
        return identity

    def rollback(self, layer: str, who: str) -> Publication:
        """Let a layer show what it showed before.

        Raises:
            NotFound: nothing was published before.
        """
        self.layer(layer)
        table = publications_table
        with self.write() as connection:
            current = connection.execute(select(pointers_table.c.publication).where(pointers_table.c.layer == layer)).scalar()
            query = select(table).where(table.c.layer == layer)
            if current is not None:
                query = query.where(table.c.id < current)
            row = connection.execute(query.order_by(table.c.id.desc())).first()
            if row is None:
                raise NotFound(f"Layer {layer!r} has no earlier publication to go back to.", "twin versions lists its versions; twin publish shows one.")
            _point(connection, layer, row.id)
            connection.execute(audit_table.insert().values(at=time.time(), who=who, what="rollback", detail={"layer": layer, "version": row.number}))
        return Publication(*row)

    def published(self, layer: str | None = None) -> list[Publication]:
        """What the city shows, by layer name; of one layer: a list of one or none."""
        p, at = publications_table, pointers_table
        query = select(p).join(at, at.c.publication == p.c.id).order_by(p.c.layer)
        if layer is not None:
            query = query.where(p.c.layer == layer)
        with self.read() as connection:
            return [Publication(*row) for row in connection.execute(query)]

    def publications(self) -> list[Publication]:
        """Every publication there was, oldest first."""
        with self.read() as connection:
            return [Publication(*row) for row in connection.execute(select(publications_table).order_by(publications_table.c.id))]

    def shown(self, layer: str) -> list[Publication]:
        """What a layer showed one after the other, oldest first, each with the moment `at` which it began to (rollbacks included).

        Raises:
            NotFound: no such layer.
        """
        self.layer(layer)
        by_number: dict[int, Publication] = {}
        events: list[tuple[float, int]] = []
        with self.read() as connection:
            for row in connection.execute(select(publications_table).where(publications_table.c.layer == layer).order_by(publications_table.c.id)):
                by_number[row.number] = Publication(*row)
                events.append((row.at, row.number))
            query = select(audit_table.c.at, audit_table.c.detail).where(audit_table.c.what == "rollback")
            events += [(row.at, row.detail["version"]) for row in connection.execute(query) if row.detail["layer"] == layer]
        return [replace(by_number[number], at=at) for at, number in sorted(events) if number in by_number]

    def delete_layer(self, name: str, who: str) -> None:
        """Forget a layer and all its versions; the bytes go with the next garbage collection."""
        self.layer(name)
        with self.write() as connection:
            for table in (pointers_table, publications_table, derivations_table, versions_table):
                connection.execute(table.delete().where(table.c.layer == name))
            connection.execute(layers_table.delete().where(layers_table.c.name == name))
            connection.execute(audit_table.insert().values(at=time.time(), who=who, what="delete", detail={"layer": name}))

    def forget(self, versions: list[tuple[str, int]], derivations: list[str]) -> None:
        """Drop rows whose bytes the garbage collector is about to remove."""
        with self.write() as connection:
            for layer, number in versions:
                connection.execute(versions_table.delete().where(versions_table.c.layer == layer, versions_table.c.number == number))
                p = publications_table
                connection.execute(p.delete().where(p.c.layer == layer, p.c.number == number))
            for key in derivations:
                connection.execute(derivations_table.delete().where(derivations_table.c.key == key))


def _point(connection: sa.Connection, layer: str, publication: int) -> None:
    table = pointers_table
    changed = connection.execute(table.update().where(table.c.layer == layer).values(publication=publication))
    if changed.rowcount == 0:
        connection.execute(table.insert().values(layer=layer, publication=publication))


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # transactions are begun by us, so that a write takes its lock at the start
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=30000", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _layer(row: Any) -> Layer:
    title = {lang: text for lang, text in (("zh", row.title_zh), ("en", row.title_en)) if text}
    return Layer(row.name, row.kind, title or {"zh": row.name, "en": row.name}, row.group, row.grade or "", row.licence or "", row.label or "open",
                 row.description or "")  # fmt: skip


def _derivation(row: Any) -> Derivation:
    return Derivation(row.key, row.layer, row.number, row.tiler, row.archive, row.inputs, row.info)
