"""Vector files through GDAL (pyogrio), as Arrow chunks: GeoPackage, GeoJSON, Shapefile and FlatGeobuf.

Each file is opened with the one driver that `sniff` found, and never through a virtual file system, so no source can
make GDAL open another file or an address.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyogrio
from numpy.typing import NDArray
from pyogrio import _err
from pyogrio.errors import DataSourceError

from ingest_gis.rows import CHUNK, Rows, Source, VectorOptions, check_text, undecodable
from ingest_gis.sniff import HEAD, sibling
from twin.errors import BadOption, UnreadableSource
from twin.model import Report


def open_gdal(path: Path, driver: str, options: VectorOptions, report: Report) -> Source:
    """Open a file with the GDAL driver that `sniff` found.

    Raises:
        UnreadableSource: empty, truncated, damaged, or its texts cannot be decoded. BadOption: several tables and no choice, or no such table.
    """
    guard = _Guard(path, report)
    target = f"GeoJSON:{path}" if driver == "GeoJSON" else str(path)
    encoding = _shapefile_encoding(path, options.encoding) if driver == "ESRI Shapefile" else None
    with guard():
        table = _choose_table(path, pyogrio.list_layers(target), options.table)
        info = pyogrio.read_info(target, layer=table, encoding=encoding, force_feature_count=True)
    if info["driver"] not in (driver, "JSONFG"):
        raise UnreadableSource(f"{path.name} opens as {info['driver']}, not as {driver}.", "Export it again.")
    how: dict[str, Any] = {"layer": table, "encoding": encoding}
    schema, geometry = _schema(guard, target, how)
    stable = driver == "GPKG" or (driver == "GeoJSON" and _has_feature_ids(path))

    def chunks() -> Iterator[Rows]:
        return _stream(guard, target, how, geometry, info["features"])

    def column(name: str) -> pa.ChunkedArray:
        with guard():
            table = _plain(pyogrio.raw.read_arrow(target, columns=[name], read_geometry=False, **how)[1])
        check_text(path.name, table)
        return table.column(name)

    kind = info["geometry_type"]
    facts = {"encoding": encoding} if encoding else {}
    crs = None if _undefined(info["crs"]) else info["crs"]
    return Source(path.name, driver, table, crs, schema, None if kind in (None, "Unknown", "Geometry") else "Polygon" in kind,
                  info["features"], chunks, column, stable, geometry, facts)  # fmt: skip


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
        raise UnreadableSource(f"{path.name} holds no table with geometry.", "Give a file with features.")
    if len(names) > 1:
        raise BadOption(f"{path.name} holds {len(names)} tables: {', '.join(names)}.", f"Choose one with --option table={names[0]}.")
    return names[0]


def _schema(guard: _Guard, target: str, how: dict[str, Any]) -> tuple[pa.Schema, str]:
    with guard(), pyogrio.raw.open_arrow(target, use_pyarrow=True, **how) as (meta, reader):
        geometry = meta["geometry_name"] or "wkb_geometry"
        return _plain(reader.schema.empty_table().drop_columns([geometry])).schema, geometry


def _plain(table: pa.Table) -> pa.Table:
    """Columns as what they are stored as: a GeoJSON property of mixed types comes as the extension type arrow.json, which is text."""
    for i, field in enumerate(table.schema):
        if isinstance(field.type, pa.BaseExtensionType):
            table = table.set_column(i, field.with_type(field.type.storage_type), table.column(i).cast(field.type.storage_type))
    return table


def _stream(guard: _Guard, target: str, how: dict[str, Any], geometry: str, stated: int) -> Iterator[Rows]:
    start = 0
    # Readers may run in a thread of their own, and GDAL's warnings go to standard error in a thread that nobody has told otherwise.
    _err._register_error_handler()  # noqa: SLF001  pyogrio calls it only for the thread that imports it
    with ExitStack() as stack:
        with guard():
            opened = pyogrio.raw.open_arrow(target, use_pyarrow=True, return_fids=True, batch_size=CHUNK, **how)
            meta, reader = stack.enter_context(opened)
        fid = meta["fid_column"] or "OGC_FID"
        while (batch := _next(guard, reader)) is not None:
            if not batch.num_rows:
                continue
            table = pa.Table.from_batches([batch])
            attributes = _plain(table.drop_columns([n for n in (fid, geometry) if n in table.column_names]))
            check_text(guard.path.name, attributes)
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


def _shapefile_encoding(path: Path, wanted: str | None) -> str | None:
    """The encoding of the .dbf: the option, else None where the file states one, else UTF-8 if its bytes are UTF-8.

    GDAL would read an unmarked table as ISO 8859-1, which turns Chinese into rubbish without a word.
    """
    if wanted:
        try:
            "".encode(wanted)
        except LookupError as error:
            raise BadOption(f"{path.name}: {wanted!r} is no known encoding.", "For example GBK, GB18030, Big5, UTF-8.") from error
        return wanted
    table = sibling(path, ".dbf")
    if table is None or sibling(path, ".cpg") is not None:
        return None
    with table.open("rb") as file:
        if file.read(32)[29] != 0:
            return None
        file.seek(0)
        # The header's binary fields are not text: names start at byte 32, records after the header.
        file.seek(32)
        rest = b""
        while block := file.read(1 << 20):
            rest, text = _after_last_ascii(rest + block)
            try:
                text.decode("utf-8")
            except UnicodeDecodeError as error:
                raise UnreadableSource(
                    f"{path.name}: {table.name} states no encoding (no .cpg) and its texts are not UTF-8.",
                    "Name the encoding, for Chinese data usually --option encoding=GBK.",
                ) from error
    return "UTF-8"


def _after_last_ascii(data: bytes) -> tuple[bytes, bytes]:
    """(rest, head): cut behind the last ASCII byte, so that no multi-byte character is torn."""
    for at in range(len(data) - 1, max(len(data) - 64, -1), -1):
        if data[at] < 128:
            return data[at + 1 :], data[: at + 1]
    return b"", data


def _has_feature_ids(path: Path) -> bool:
    """Whether a GeoJSON's first feature has an `id` of its own (GDAL numbers features otherwise); looks at 64 KiB."""
    with path.open("rb") as file:
        head = file.read(HEAD).decode("utf-8", "replace")
    at = re.search(r'"features"\s*:\s*\[', head)
    depth, text = 0, False
    feature = head[at.end() :] if at else head
    at_depth_one = []
    i = 0
    while i < len(feature):
        c = feature[i]
        if text:
            i += 1 if c == "\\" else 0
            text = c != '"'
        elif c == '"':
            text = True
        elif c in "{[":
            depth += 1
        elif c in "}]":
            depth -= 1
            if depth <= 0:
                break
        if depth == 1:
            at_depth_one.append(c)
        i += 1
    return re.search(r'"id"\s*:\s*[\d"]', "".join(at_depth_one)) is not None


class _Guard:
    """Around every call into GDAL: what it raises on damaged files → UnreadableSource, what it warns of → the report."""

    def __init__(self, path: Path, report: Report) -> None:
        self.path, self.report = path, report
        self.told: set[str] = set()

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
            raise UnreadableSource(f"{self.path.name} cannot be read: {reason}.", "The file is damaged or incomplete; export it again.") from error

    def _tell(self, seen: list[warnings.WarningMessage]) -> None:
        for text in dict.fromkeys(str(warning.message).strip() for warning in seen):
            # Measures are reported by the cleaner, with their number.
            if text not in self.told and not text.startswith("Measured"):
                self.told.add(text)
                self.report.note("warned", "", f"GDAL: {text}")
