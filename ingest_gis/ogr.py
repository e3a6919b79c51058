"""Vector files through GDAL (pyogrio), as Arrow chunks: GeoPackage, GeoJSON (also one feature a line), Shapefile, FlatGeobuf, geodatabases.

Each file is opened with the one driver that `sniff` found, and never through a virtual file system, so no source can
make GDAL open another file or an address.
"""

from __future__ import annotations

import sqlite3
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyogrio
from numpy.typing import NDArray
from pyogrio import _err
from pyogrio.errors import DataSourceError

from ingest_gis import dbf, geojson
from ingest_gis.decoded import Batches, Decoded
from ingest_gis.rows import CHUNK, Rows, Source, VectorOptions, check_text, different, undecodable
from twin.errors import BadOption, UnreadableSource
from twin.model import Report

TEXTS = ("GeoJSON", "GeoJSONSeq")
"""Formats of which GDAL reads a file from end to end to open it: the columns are what the features have."""
Linear = Callable[[], NDArray[np.object_]]
"""See `Rows`."""
GEOMETRY, FID = "wkb_geometry", "OGC_FID"
"""What columns are called that have no names in the file."""
LOOKED_THROUGH = 250_000
"""Rows of a GeoPackage up to which its numbers are looked through for texts: of more, that would take a third of the reading's time."""


def open_gdal(path: Path, driver: str, options: VectorOptions, report: Report) -> Source:
    """Open a file with the GDAL driver that `sniff` found.

    Raises:
        UnreadableSource: empty, truncated, damaged, or its texts cannot be decoded. BadOption: several tables and no choice, or no such table.
    """
    guard = _Guard(path, report)
    shapefile = dbf.table_of(path, options.encoding, report) if driver == "ESRI Shapefile" else None
    encoding = shapefile.encoding if shapefile else None
    text = driver in TEXTS
    target = f"{driver}:{path}" if text else str(shapefile.shapefile if shapefile else path)
    with guard():
        if text:
            stamp = path.stat()
            info = _looked_at(target, stamp.st_ino, stamp.st_size, stamp.st_mtime_ns)
            table = _choose_table(path, [info["layer_name"]] if info["geometry_type"] is not None else [], options.table)
        else:
            table = _choose_table(path, [str(name) for name, kind in pyogrio.list_layers(target) if kind is not None], options.table)
            info = pyogrio.read_info(target, layer=table, encoding=encoding, force_feature_count=True)
    if info["driver"] not in (driver, "JSONFG"):
        raise UnreadableSource(f"{path.name} opens as {info['driver']}, not as {driver}.", "Export it again.")
    how: dict[str, Any] = {"layer": table, "encoding": encoding}
    stable = driver in ("GPKG", "OpenFileGDB") or (driver == "GeoJSON" and geojson.has_numbers(path))
    count = info["features"] - (shapefile.deleted if shapefile and info["features"] > 0 else 0)
    read = partial(_batches, guard, target, how)
    decoded = Decoded(read) if text else None
    names, geometry, schema = different(list(info["fields"])), GEOMETRY, None
    if decoded is None:
        with closing(read()) as batches:
            about, first = next(batches)
        schema, geometry = _schema(guard, about, first), about["geometry_name"] or GEOMETRY
        names = schema.names

    def read_schema() -> pa.Schema:
        return _schema(guard, *decoded.keep()) if decoded is not None else schema

    def chunks() -> Iterator[Rows]:
        yield from _stream(guard, decoded or read, count, partial(_linear, guard, target, how), keep=shapefile)
        if driver == "GPKG" and count <= LOOKED_THROUGH:
            _texts_among_numbers(path, table, read_schema(), report)

    def column(name: str) -> Iterator[pa.ChunkedArray]:
        if decoded is not None:
            yield from (guard.texts(_attributes(*_parts(about, batch)).select([name])).column(name) for about, batch in decoded())
        elif [field.lower() for field in info["fields"]].count(name.lower()) != 1:  # one of several of a name (which have got numbers), or but for case, which GDAL does not tell apart
            yield from (rows.attributes.column(name) for rows in chunks())
        else:
            yield from (guard.texts(_plain(pa.Table.from_batches([batch]))).column(name) for _, batch in _batches(guard, target, how, [name]))

    kind = info["geometry_type"]
    facts = {"encoding": encoding} if encoding else {}
    crs = None if _undefined(info["crs"]) else info["crs"]
    crs = geojson.stated_crs(path, crs) if driver == "GeoJSON" else crs
    return Source(path.name, driver, table, crs, names, read_schema, None if kind in (None, "Unknown", "Geometry") else "Polygon" in kind,
                  count, chunks, column, stable, geometry, facts)  # fmt: skip


@lru_cache(maxsize=4)
def _looked_at(target: str, *stamp: int) -> dict[str, Any]:  # noqa: ARG001
    """What is said of the one table of a text, until the file is another one: who detects the format asks, and who reads it."""
    return dict(pyogrio.read_info(target, force_feature_count=True))


def _texts_among_numbers(path: Path, table: str, schema: pa.Schema, report: Report) -> None:
    """SQLite keeps whatever is put into a column: texts in a column of numbers, which GDAL reads as 0 without a word, are counted and told."""
    names = [field.name for field in schema if pa.types.is_integer(field.type) or pa.types.is_floating(field.type)]
    with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro&immutable=1", uri=True)) as database:
        for start in range(0, len(names), 500):
            some = names[start : start + 500]
            counts = ", ".join(f"sum(typeof({_quoted(name)}) IN ('text', 'blob'))" for name in some)
            try:
                found = database.execute(f"SELECT {counts} FROM {_quoted(table)}").fetchone()
            except sqlite3.DatabaseError:  # a view that needs GDAL's functions
                return
            for name, count in zip(some, found, strict=True):
                if count:
                    report.note(
                        "warned", "", f"column {name}: {count} values are texts in a column of numbers and are read as 0 or none; correct them in the source"
                    )


def _quoted(name: str) -> str:
    """A name as SQL writes it."""
    return '"' + name.replace('"', '""') + '"'


def _undefined(crs: str | None) -> bool:
    """GeoPackage's "undefined" systems (12-128, 1.1.2) come as engineering or made-up CRS."""
    return not crs or "undefined" in crs[:60].lower()


def _choose_table(path: Path, names: list[str], wanted: str | None) -> str:
    if wanted is not None:
        if wanted not in names:
            raise BadOption(f"{path.name} has no table {wanted!r} with geometry.", f"Tables: {', '.join(names) or 'none'}.")
        return wanted
    if not names:
        raise UnreadableSource(f"{path.name} holds no table with geometry, or is cut short.", "Give a file with features, or export it again.")
    if len(names) > 1:
        raise BadOption(f"{path.name} holds {len(names)} tables: {', '.join(names)}.", f"Choose one with --option table={names[0]}.")
    return names[0]


def _schema(guard: _Guard, about: dict[str, Any], batch: pa.RecordBatch) -> pa.Schema:
    """Of the attributes."""
    for field in batch.schema:
        if getattr(field.type, "extension_name", "") == "arrow.json":
            guard.report.note("assumed", "", f"column {field.name}: values of different kinds, stored as texts (JSON)")
    return _attributes(*_parts(about, batch.slice(0, 0))).schema


def _parts(about: dict[str, Any], batch: pa.RecordBatch) -> tuple[pa.Table, int, int]:
    """(rows, which column the geometry is, which the key): an attribute may have the same name as either, and stands between them."""
    table = pa.Table.from_batches([batch])
    geometry = max(i for i, column in enumerate(table.column_names) if column == (about["geometry_name"] or GEOMETRY))
    return table, geometry, table.column_names.index(about["fid_column"] or FID)


def _attributes(table: pa.Table, geometry: int, fid: int) -> pa.Table:
    """All other columns, no two of one name."""
    table = table.select([i for i in range(table.num_columns) if i not in (geometry, fid)])
    return _plain(table.rename_columns(different(table.column_names)))


def _plain(table: pa.Table) -> pa.Table:
    """Columns as what they are stored as: a GeoJSON property of mixed types comes as the extension type arrow.json, which is text."""
    for i, field in enumerate(table.schema):
        if isinstance(field.type, pa.BaseExtensionType):
            table = table.set_column(i, field.with_type(field.type.storage_type), table.column(i).cast(field.type.storage_type))
    return table


def _batches(guard: _Guard, target: str, how: dict[str, Any], columns: list[str] | None = None) -> Batches:
    """A pass over a table: first a batch without rows, which tells the schema. With `columns` neither keys nor geometries are read."""
    # Readers may run in a thread of their own, and GDAL's warnings go to standard error in a thread that nobody has told otherwise.
    _err._register_error_handler()  # noqa: SLF001  pyogrio calls it only for the thread that imports it
    what: dict[str, Any] = {"return_fids": True} if columns is None else {"columns": columns, "read_geometry": False}
    with ExitStack() as stack:
        with guard():
            meta, reader = stack.enter_context(pyogrio.raw.open_arrow(target, use_pyarrow=True, batch_size=CHUNK, **what, **how))
            first = pa.RecordBatch.from_pylist([], reader.schema)
        yield meta, first
        while (batch := _next(guard, reader)) is not None:
            yield meta, batch


def _stream(guard: _Guard, read: Callable[[], Batches], stated: int, linear: Callable[[int, int], Linear], *, keep: object) -> Iterator[Rows]:  # noqa: ARG001
    """`keep` is held while this runs: with it goes the folder that the file may lie in."""
    start = 0
    for about, batch in read():
        if not batch.num_rows:
            continue
        table, geometry, fid = _parts(about, batch)
        attributes = guard.texts(_attributes(table, geometry, fid))
        wkb = table.column(geometry).to_numpy()
        yield Rows(start, wkb, attributes, table.column(fid).to_numpy(), linear(start, len(wkb)))
        start += batch.num_rows
    if stated >= 0 and start != stated:
        raise UnreadableSource(f"{guard.path.name}: {start} of {stated} features could be read; the file is damaged.", "Export it again.")


def _next(guard: _Guard, reader: pa.RecordBatchReader) -> pa.RecordBatch | None:
    with guard():
        try:
            return reader.read_next_batch()
        except StopIteration:
            return None


def _linear(guard: _Guard, target: str, how: dict[str, Any], start: int, count: int) -> Linear:
    def read() -> NDArray[np.object_]:
        with guard():
            return np.asarray(pyogrio.raw.read(target, columns=[], skip_features=start, max_features=count, **how)[2])

    return read


class _Guard:
    """Around every call into GDAL: what it raises on damaged files → UnreadableSource, what it warns of → the report."""

    def __init__(self, path: Path, report: Report) -> None:
        self.path, self.report = path, report
        self.told: set[str] = set()
        self.cut: set[str] = set()

    def texts(self, table: pa.Table) -> pa.Table:
        """A table whose texts are whole; those that are no UTF-8 are refused."""
        table = dbf.with_whole_texts(table, self.report, self.cut)
        check_text(self.path.name, table)
        return table

    @contextmanager
    def __call__(self) -> Iterator[None]:
        try:
            with warnings.catch_warnings(record=True) as seen:
                warnings.simplefilter("always")
                yield
            self._tell(seen)
        except UnicodeDecodeError as error:
            raise undecodable(self.path.name, "a table") from error
        except (DataSourceError, pyogrio.errors.DataLayerError, pyogrio.errors.FeatureError, pyogrio.errors.GeometryError,
                pa.ArrowInvalid, OSError, RuntimeError) as error:  # fmt: skip
            reason = str(error).strip().split("\n")[0].rstrip(".")
            if reason.startswith("Geometry type is not supported"):
                raise UnreadableSource(f"{self.path.name} holds surfaces or solids in space (TIN, polyhedral surfaces, multipatches), which are no plan features.",
                                       "Export them as CityGML, CityJSON, OBJ or glTF and ingest that.") from error  # fmt: skip
            raise UnreadableSource(f"{self.path.name} cannot be read: {reason}.", "The file is damaged or incomplete; export it again.") from error

    def _tell(self, seen: list[warnings.WarningMessage]) -> None:
        for text in dict.fromkeys(str(warning.message).strip() for warning in seen):
            # Measures are reported by the cleaner, with their number.
            if text not in self.told and not text.startswith("Measured"):
                self.told.add(text)
                self.report.note("warned", "", f"GDAL: {text}")
