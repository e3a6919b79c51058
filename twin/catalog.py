"""The catalogue: which layers, versions, tilesets and jobs exist, and which of them the city shows.

One SQL database through peewee's query builder (ADR 0027): SQLite on local disk (WAL, every write a ``BEGIN IMMEDIATE``
transaction with a busy timeout). What a layer shows is one row of ``pointers``; publishing and rolling back change that row and nothing
else, in one transaction, so a reader sees the old publication or the new one.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from peewee import Database, DatabaseError, OperationalError, SchemaManager, SqliteDatabase, fn

from twin.catalog_tables import TABLES, Audit, Derivations, Layers, Pointers, Publications, Versions
from twin.errors import Conflict, NotFound, StorageError
from twin.model import Layer

SCHEMA_VERSION = 1
#: With `synchronous` NORMAL the disk is not waited for at the end of a transaction (a power cut takes the last ones back, whole);
#: `Catalog.write` says when it is.
PRAGMAS = {"synchronous": "NORMAL", "journal_mode": "WAL", "busy_timeout": 30_000, "foreign_keys": "ON"}


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
        """Keys of all its archives: those of its pieces (of a large city, `tiling.blocks.pieces`) come last."""
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
    """The catalogue of one city; safe to use from several threads and processes.

    Attributes:
        path: of the database.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        # a connection for each thread, made when it first asks
        self._database = SqliteDatabase(str(path), pragmas=PRAGMAS, timeout=30)
        with self.write(lasting=False) as connection:
            for table in TABLES:
                SchemaManager(table, connection).create_all()
            run: Any = connection.execute_sql
            version = run("PRAGMA user_version").fetchone()[0]
            if version not in (0, SCHEMA_VERSION):
                raise StorageError(f"{path} was written by another release (schema {version}, this one reads {SCHEMA_VERSION}).",
                                   "Use the release that wrote it, or start a new city.")  # fmt: skip
            if version != SCHEMA_VERSION:
                run(f"PRAGMA user_version = {SCHEMA_VERSION}")

    @contextmanager
    def write(self, *, lasting: bool = True) -> Iterator[Database]:
        """A write transaction: taken at once (`BEGIN IMMEDIATE`), committed at the end, rolled back on any error.

        Args:
            lasting: wait until it is on the disk, and with it all that was written before. Else a power cut (not the end of the program) may take it
                back: for what is told on the way (progress, leases) and what a job that is redone makes again.

        Yields:
            What every query of it is executed on.
        """
        try:
            with self._sound(), self._waiting(lasting), self._database.atomic("IMMEDIATE"):
                yield self._database
        except OperationalError as error:
            first: BaseException = error  # where the disk is full SQLite rolls back itself, and the second time that is an error
            while isinstance(first.__context__, (OperationalError, sqlite3.Error)):
                first = first.__context__
            raise StorageError(f"The catalogue cannot be written: {first}.", _remedy(str(first), self.path)) from error

    @contextmanager
    def _waiting(self, lasting: bool) -> Iterator[None]:
        """In here this thread's transactions end when they are on the disk; one that is under way ends as it began."""
        run: Any = self._database.execute_sql
        if not lasting or self._database.in_transaction():
            yield
            return
        run("PRAGMA synchronous = FULL")
        try:
            yield
        finally:
            run("PRAGMA synchronous = NORMAL")

    @contextmanager
    def read(self) -> Iterator[Database]:
        """A consistent snapshot for several reads; inside a write of the same thread, what it has written."""
        if self._database.in_transaction():
            yield self._database
            return
        with self._sound(), self._database.transaction("DEFERRED"):
            yield self._database

    @contextmanager
    def _sound(self) -> Iterator[None]:
        """What SQLite says of a file that is damaged, or none of its own, as a StorageError."""
        try:
            yield
        except DatabaseError as error:
            if type(error) is not DatabaseError:  # its kinds say something else
                raise
            raise StorageError(f"{self.path} is damaged: {error}.", "Bring back a copy of this file; the lake beside it is as it was.") from error

    def close(self) -> None:
        """Close this thread's connection; a thread that ends calls it."""
        self._database.close()

    # --- layers and versions -------------------------------------------------------------------------------------

    def layers(self) -> list[Layer]:
        """All layers by name."""
        with self.read() as connection:
            return [_layer(row) for row in Layers.select().order_by(Layers.name).dicts().execute(connection)]

    def layer(self, name: str) -> Layer:
        """A layer by name, or NotFound."""
        with self.read() as connection:
            row = Layers.select().where(Layers.name == name).dicts().first(connection)
        if row is None:
            raise NotFound(f"There is no layer {name!r}.", "twin layers lists what there is.")
        return _layer(row)

    def add_version(self, connection: Database, layer: Layer, manifest: str, count: int, *, job: str, who: str, run: str = "") -> int:
        """Add a version inside the caller's transaction (creating the layer if it is new) and return its number.

        A job that is redone gets the version it already made.

        Raises:
            Conflict: the layer exists with another kind.
        """
        kind = Layers.select(Layers.kind).where(Layers.name == layer.name).scalar(connection)
        values = {"kind": layer.kind, "title_zh": layer.title.get("zh"), "title_en": layer.title.get("en"), "group": layer.group,
                  "grade": layer.grade, "licence": layer.licence, "label": layer.label, "description": layer.description, "run": run}  # fmt: skip
        if kind is None:
            Layers.insert(name=layer.name, created=time.time(), **values).execute(connection)
        elif kind != layer.kind:
            raise Conflict(f"Layer {layer.name!r} holds {kind}, not {layer.kind}.", "Choose another --layer name, or delete the layer first.")
        else:
            told = {key: value for key, value in values.items() if value}  # a new version keeps the title it is not told
            Layers.update(told).where(Layers.name == layer.name).execute(connection)
        done = Versions.select(Versions.number).where((Versions.layer == layer.name) & (Versions.job == job)).scalar(connection)
        if done is not None:
            return int(done)
        last = Versions.select(fn.MAX(Versions.number)).where(Versions.layer == layer.name).scalar(connection)
        number = int(last or 0) + 1
        made = Versions.insert(layer=layer.name, number=number, manifest=manifest, created=time.time(), job=job, who=who, count=count)
        made.execute(connection)
        return number

    def versions(self, layer: str) -> list[VersionRow]:
        """All versions of a layer, oldest first."""
        self.layer(layer)
        query = Versions.select().where(Versions.layer == layer).order_by(Versions.number)
        with self.read() as connection:
            return [VersionRow(*row) for row in query.tuples().execute(connection)]

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
        with self.write() as connection:
            Versions.update(pinned=pinned).where((Versions.layer == layer) & (Versions.number == number)).execute(connection)
            _note(connection, who, "pin" if pinned else "unpin", layer, number)

    def version_of_job(self, layer: str, job: str) -> VersionRow | None:
        """The version a job has already made, if any."""
        query = Versions.select().where((Versions.layer == layer) & (Versions.job == job))
        with self.read() as connection:
            row = query.tuples().first(connection)
        return VersionRow(*row) if row else None

    # --- tilesets ------------------------------------------------------------------------------------------------

    def tileset_of(self, layer: str, number: int) -> Derivation | None:
        """The tiles of a version: those it was shown with last (which may have been made for an earlier one of the same content), else the newest made for it."""
        query = Publications.select(Publications.derivation).where((Publications.layer == layer) & (Publications.number == number) & Publications.derivation.is_null(False))
        with self.read() as connection:
            shown = query.order_by(Publications.id.desc()).scalar(connection)
        if shown is not None:
            return self.derivation(shown)
        return next((d for d in reversed(self.derivations(layer)) if d.number == number), None)

    def derivation(self, key: str) -> Derivation | None:
        """A tileset by its derivation key."""
        with self.read() as connection:
            row = Derivations.select().where(Derivations.key == key).tuples().first(connection)
        return _derivation(row) if row else None

    def derivations(self, layer: str | None = None) -> list[Derivation]:
        """All tilesets, or those of one layer."""
        query = Derivations.select().order_by(Derivations.created)
        if layer is not None:
            query = query.where(Derivations.layer == layer)
        with self.read() as connection:
            return [_derivation(row) for row in query.tuples().execute(connection)]

    def add_derivation(self, connection: Database, derivation: Derivation) -> None:
        """Record a finished tileset (once; the same key is the same tileset)."""
        if Derivations.select(Derivations.key).where(Derivations.key == derivation.key).scalar(connection) is None:
            Derivations.insert(key=derivation.key, layer=derivation.layer, number=derivation.number, tiler=derivation.tiler, archive=derivation.archive,
                               inputs=derivation.inputs, info=derivation.info, created=time.time()).execute(connection)  # fmt: skip

    # --- publishing ----------------------------------------------------------------------------------------------

    def publish(self, connection: Database, layer: str, number: int, manifest: str, derivation: str | None, who: str) -> int:
        """Let a layer show a version: one new publication and one pointer, in the caller's transaction."""
        added = Publications.insert(layer=layer, number=number, manifest=manifest, derivation=derivation, at=time.time(), who=who)
        identity = int(added.execute(connection))
        _point(connection, layer, identity)
        _note(connection, who, "publish", layer, number)
        return identity

    def rollback(self, layer: str, who: str) -> Publication:
        """Let a layer show what it showed before: another version, or the same with other tiles. What was published twice is one step.

        Raises:
            NotFound: nothing else was published before.
        """
        self.layer(layer)
        with self.write() as connection:
            pointer = Pointers.select(Pointers.publication).where(Pointers.layer == layer).scalar(connection)
            rows = Publications.select().where(Publications.layer == layer).order_by(Publications.id.desc()).tuples().execute(connection)
            before = [Publication(*row) for row in rows if pointer is None or row[0] <= pointer]
            current = before.pop(0) if pointer is not None else None
            earlier = next((one for one in before if current is None or (one.number, one.derivation) != (current.number, current.derivation)), None)
            if earlier is None:
                raise NotFound(f"Layer {layer!r} has no earlier publication to go back to.", "twin versions lists its versions; twin publish shows one.")
            _point(connection, layer, earlier.id)
            _note(connection, who, "rollback", layer, earlier.number)
        return earlier

    def published(self, layer: str | None = None) -> list[Publication]:
        """What the city shows, by layer name; of one layer: a list of one or none."""
        query = Publications.select().join(Pointers, on=(Pointers.publication == Publications.id)).order_by(Publications.layer)
        if layer is not None:
            query = query.where(Publications.layer == layer)
        with self.read() as connection:
            return [Publication(*row) for row in query.tuples().execute(connection)]

    def publications(self) -> list[Publication]:
        """Every publication there was, oldest first."""
        with self.read() as connection:
            return [Publication(*row) for row in Publications.select().order_by(Publications.id).tuples().execute(connection)]

    def shown(self, layer: str) -> list[Publication]:
        """What a layer showed one after the other, oldest first, each with the moment `at` which it began to (rollbacks included).

        Raises:
            NotFound: no such layer.
        """
        self.layer(layer)
        by_number: dict[int, Publication] = {}
        events: list[tuple[float, int]] = []
        with self.read() as connection:
            for row in Publications.select().where(Publications.layer == layer).order_by(Publications.id).tuples().execute(connection):
                made = Publication(*row)
                by_number[made.number] = made
                events.append((made.at, made.number))
            query = Audit.select(Audit.at, Audit.detail).where(Audit.what == "rollback").tuples()
            events += [(at, detail["version"]) for at, detail in query.execute(connection) if detail["layer"] == layer]
        return [replace(by_number[number], at=at) for at, number in sorted(events) if number in by_number]

    def delete_layer(self, name: str, who: str) -> None:
        """Forget a layer and all its versions; the bytes go with the next garbage collection."""
        self.layer(name)
        with self.write() as connection:
            for table in (Pointers, Publications, Derivations, Versions):
                table.delete().where(table.layer == name).execute(connection)
            Layers.delete().where(Layers.name == name).execute(connection)
            _note(connection, who, "delete", name)

    def shown_until(self) -> dict[tuple[str, int], float]:
        """When each (layer, number) that was ever shown was last (Unix seconds; infinite for what is shown now)."""
        with self.read() as connection:
            events = [(one.at, one.layer, one.number) for one in self.publications()]
            query = Audit.select(Audit.at, Audit.detail).where(Audit.what == "rollback").tuples()
            events += [(at, detail["layer"], detail["version"]) for at, detail in query.execute(connection)]
        until: dict[tuple[str, int], float] = {}
        current: dict[str, int] = {}
        for at, layer, number in sorted(events):
            if layer in current:
                until[layer, current[layer]] = at
            current[layer] = number
        return until | dict.fromkeys(current.items(), float("inf"))

    def forget(self, connection: Database, versions: list[tuple[str, int]], derivations: list[str]) -> None:
        """Drop rows whose bytes the garbage collector is about to remove, in its transaction."""
        for layer, number in versions:
            for table in (Versions, Publications):
                table.delete().where((table.layer == layer) & (table.number == number)).execute(connection)
        for key in derivations:
            Derivations.delete().where(Derivations.key == key).execute(connection)


def _remedy(said: str, path: Path) -> str:
    """What to do where SQLite says that it cannot write."""
    if "full" in said:  # twin gc writes to the catalogue, too
        return f"Free a few MB on the disk of {path.parent}, by hand; twin gc can free more then. Run the command again."
    if "readonly" in said or "unable to open" in said:
        return f"Check the permissions of {path} and of its folder, and that the disk is not mounted for reading only."
    return "Another program may hold it; run the command again."


def _point(connection: Database, layer: str, publication: int) -> None:
    if not Pointers.update(publication=publication).where(Pointers.layer == layer).execute(connection):
        Pointers.insert(layer=layer, publication=publication).execute(connection)


def _note(connection: Database, who: str, what: str, layer: str, version: int | None = None) -> None:
    """One line of the audit."""
    detail = {"layer": layer} | ({} if version is None else {"version": version})
    Audit.insert(at=time.time(), who=who, what=what, detail=detail).execute(connection)


def _layer(row: dict[str, Any]) -> Layer:
    name = row["name"]
    title = {lang: row[f"title_{lang}"] for lang in ("zh", "en") if row[f"title_{lang}"]}
    return Layer(name, row["kind"], title or {"zh": name, "en": name}, row["group"], row["grade"] or "", row["licence"] or "", row["label"] or "open",
                 row["description"] or "")  # fmt: skip


def _derivation(row: tuple[Any, ...]) -> Derivation:
    return Derivation(*row[:7])
