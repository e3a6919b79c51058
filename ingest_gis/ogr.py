"""Vector files through GDAL (pyogrio), as Arrow chunks: GeoPackage, GeoJSON (also one feature a line), Shapefile, FlatGeobuf, geodatabases.

Each file is opened with the one driver that `sniff` found, and never through a virtual file system, so no source can
make GDAL open another file or an address.
"""

from __future__ import annotations

import sqlite3
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyogrio
from numpy.typing import NDArray
from pyogrio import _err
from pyogrio.errors import DataSourceError

from ingest_gis import dbf, geojson
from ingest_gis.rows import CHUNK, Rows, Source, VectorOptions, check_text, different, undecodable
from twin.errors import BadOption, UnreadableSource
from twin.model import Report

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
    target = f"{driver}:{path}" if driver in ("GeoJSON", "GeoJSONSeq") else str(shapefile.shapefile if shapefile else path)
    with guard():
        table = _choose_table(path, pyogrio.list_layers(target), options.table)
        info = pyogrio.read_info(target, layer=table, encoding=encoding, force_feature_count=True)
    if info["driver"] not in (driver, "JSONFG"):
        raise UnreadableSource(f"{path.name} opens as {info['driver']}, not as {driver}.", "Export it again.")
    how: dict[str, Any] = {"layer": table, "encoding": encoding}
    schema, geometry = _schema(guard, target, how)
    stable = driver in ("GPKG", "OpenFileGDB") or (driver == "GeoJSON" and geojson.has_numbers(path))
    count = info["features"] - (shapefile.deleted if shapefile and info["features"] > 0 else 0)

    def chunks() -> Iterator[Rows]:
        yield from _stream(guard, target, how, count, keep=shapefile)
        if driver == "GPKG" and count <= LOOKED_THROUGH:
            _texts_among_numbers(path, table, schema, report)

    def column(name: str) -> Iterator[pa.ChunkedArray]:
        if [field.lower() for field in info["fields"]].count(name.lower()) != 1:  # one of several of a name (which have got numbers), or but for case, which GDAL does not tell apart
            yield from (rows.attributes.column(name) for rows in chunks())
            return
        with ExitStack() as stack:
            with guard():
                _, reader = stack.enter_context(pyogrio.raw.open_arrow(target, use_pyarrow=True, batch_size=CHUNK, columns=[name], read_geometry=False, **how))
            while (batch := _next(guard, reader)) is not None:
                yield guard.texts(_plain(pa.Table.from_batches([batch]))).column(name)

    kind = info["geometry_type"]
    facts = {"encoding": encoding} if encoding else {}
    crs = None if _undefined(info["crs"]) else info["crs"]
    crs = geojson.stated_crs(path, crs) if driver == "GeoJSON" else crs
    return Source(path.name, driver, table, crs, schema, None if kind in (None, "Unknown", "Geometry") else "Polygon" in kind,
                  count, chunks, column, stable, geometry, facts)  # fmt: skip


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


def _choose_table(path: Path, layers: NDArray[np.object_], wanted: str | None) -> str:
    names = [str(name) for name, kind in layers if kind is not None]
    if wanted is not None:
        if wanted not in names:
            raise BadOption(f"{path.name} has no table {wanted!r} with geometry.", f"Tables: {', '.join(names) or 'none'}.")
        return wanted
    if not names:
        raise UnreadableSource(f"{path.name} holds no table with geometry, or is cut short.", "Give a file with features, or export it again.")
    if len(names) > 1:
        raise BadOption(f"{path.name} holds {len(names)} tables: {', '.join(names)}.", f"Choose one with --option table={names[0]}.")
    return names[0]


def _schema(guard: _Guard, target: str, how: dict[str, Any]) -> tuple[pa.Schema, str]:
    """(attributes, name of the geometry column)."""
    with guard(), pyogrio.raw.open_arrow(target, use_pyarrow=True, **how) as (meta, reader):
        table = reader.schema.empty_table()
        for field in table.schema:
            if getattr(field.type, "extension_name", "") == "arrow.json":
                guard.report.note("assumed", "", f"column {field.name}: values of different kinds, stored as texts (JSON)")
        return _attributes(table, _geometry(table, meta), -1).schema, meta["geometry_name"] or "wkb_geometry"


def _geometry(table: pa.Table, meta: dict[str, Any]) -> int:
    """Which column the geometry is: an attribute may have the same name, and stands before it."""
    name = meta["geometry_name"] or "wkb_geometry"
    return max(i for i, column in enumerate(table.column_names) if column == name)


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


def _stream(guard: _Guard, target: str, how: dict[str, Any], stated: int, *, keep: object) -> Iterator[Rows]:  # noqa: ARG001
    """`keep` is held while this runs: with it goes the folder that `target` may lie in."""
    start = 0
    # Readers may run in a thread of their own, and GDAL's warnings go to standard error in a thread that nobody has told otherwise.
    _err._register_error_handler()  # noqa: SLF001  pyogrio calls it only for the thread that imports it
    with ExitStack() as stack:
        with guard():
            opened = pyogrio.raw.open_arrow(target, use_pyarrow=True, return_fids=True, batch_size=CHUNK, **how)
            meta, reader = stack.enter_context(opened)
        while (batch := _next(guard, reader)) is not None:
            if not batch.num_rows:
                continue
            table = pa.Table.from_batches([batch])
            fid, geometry = table.column_names.index(meta["fid_column"] or "OGC_FID"), _geometry(table, meta)
            attributes = guard.texts(_attributes(table, geometry, fid))
            wkb = table.column(geometry).to_numpy()
            yield Rows(start, wkb, attributes, table.column(fid).to_numpy(), _linear(guard, target, how, start, len(wkb)))
            start += batch.num_rows
    if stated >= 0 and start != stated:
        raise UnreadableSource(f"{guard.path.name}: {start} of {stated} features could be read; the file is damaged.", "Export it again.")


def _next(guard: _Guard, reader: pa.RecordBatchReader) -> pa.RecordBatch | None:
    with guard():
        try:
            return reader.read_next_batch()
        except StopIteration:
            return None


def _linear(guard: _Guard, target: str, how: dict[str, Any], start: int, count: int) -> Callable[[], NDArray[np.object_]]:
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
