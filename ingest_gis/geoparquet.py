"""GeoParquet 1.0/1.1 through pyarrow (GDAL's wheel has no Parquet driver): WKB and the native GeoArrow encodings."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import shapely
from numpy.typing import NDArray

from ingest_gis.rows import CHUNK, Rows, Source, check_text, different
from twin.crs import is_crs
from twin.errors import UnreadableSource

NATIVE = {
    "point": shapely.GeometryType.POINT, "linestring": shapely.GeometryType.LINESTRING, "polygon": shapely.GeometryType.POLYGON,
    "multipoint": shapely.GeometryType.MULTIPOINT, "multilinestring": shapely.GeometryType.MULTILINESTRING,
    "multipolygon": shapely.GeometryType.MULTIPOLYGON,
}  # fmt: skip
"""GeoParquet's single-type encodings (specification 1.1, "encoding")."""
_BUFFER = 1 << 20
"""Bytes of a column that are read at a time."""


def open_parquet(path: Path) -> Source:
    """Open a GeoParquet file; the rows are read one row group at a time.

    Raises:
        UnreadableSource: damaged, or without the `geo` metadata that says where the geometry is.
    """
    file = _open(path)
    schema = file.schema_arrow
    column, meta = _geo(path, schema)
    encoding = str(meta.get("encoding", "WKB"))
    if encoding != "WKB" and encoding not in NATIVE:
        raise UnreadableSource(f"{path.name}: geometry encoding {encoding!r} is unknown.", "Write it as WKB or GeoArrow.")
    covering = {parts[0] for parts in (meta.get("covering") or {}).get("bbox", {}).values() if parts}
    numbers = _row_numbers(schema)
    fields = [field for field in schema if field.name not in {column, *covering, *numbers}]
    names = [field.name for field in fields]
    schema = pa.schema([field.with_name(name) for field, name in zip(fields, different(names), strict=True)])

    def chunks() -> Iterator[Rows]:
        return _stream(path, names, column, encoding)

    def read_column(name: str) -> Iterator[pa.ChunkedArray]:
        if names.count(name) != 1:  # one of several of a name, which have got numbers
            yield from (rows.attributes.column(name) for rows in chunks())
            return
        for batch in _batches(path, [name]):
            table = pa.Table.from_batches([batch])
            check_text(path.name, table)
            yield table.column(name)

    kinds = {str(kind).removesuffix(" Z") for kind in meta.get("geometry_types") or []}
    polygonal = kinds <= {"Polygon", "MultiPolygon"} if kinds else None
    if encoding in NATIVE:
        polygonal = encoding.endswith("polygon")
    return Source(path.name, "Parquet", path.stem, _crs(meta), schema.names, lambda: schema, polygonal, file.metadata.num_rows,
                  chunks, read_column, geometry=column, facts={"left_out": dict.fromkeys(numbers, "row numbers of pandas")} if numbers else {})  # fmt: skip


def _row_numbers(schema: pa.Schema) -> list[str]:
    """Columns in which pandas keeps its own row numbers, which have no name; an index of texts, or one with a name, is the author's."""
    try:
        index = json.loads((schema.metadata or {})[b"pandas"])["index_columns"]
    except (KeyError, ValueError, TypeError):
        return []
    return [name for name in index if isinstance(name, str) and re.fullmatch(r"__index_level_\d+__", name)
            and schema.names.count(name) == 1 and pa.types.is_integer(schema.field(name).type)]  # fmt: skip


def _open(path: Path) -> pq.ParquetFile:
    try:
        # what is read ahead would be kept until the end: all of the file
        return pq.ParquetFile(path, pre_buffer=False, buffer_size=_BUFFER)
    except (pa.ArrowInvalid, OSError, ValueError) as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> UnreadableSource:
    return UnreadableSource(f"{path.name} is a damaged or truncated Parquet file: {str(error).splitlines()[0]}", "Export it again.")


def _geo(path: Path, schema: pa.Schema) -> tuple[str, dict[str, Any]]:
    try:
        geo = json.loads((schema.metadata or {})[b"geo"])
        name = geo["primary_column"]
        meta = geo["columns"][name]
    except KeyError as error:
        raise UnreadableSource(
            f"{path.name} is Parquet without GeoParquet metadata (no {error}).", "Write it as GeoParquet, so that geometry and CRS are stated."
        ) from error
    except (ValueError, TypeError) as error:
        raise UnreadableSource(f"{path.name}: its GeoParquet metadata is malformed: {error}.", "Export it again.") from error
    if schema.names.count(name) != 1 or not isinstance(meta, dict):
        raise UnreadableSource(f"{path.name}: there is no geometry column {name!r}, or more than one.", "Export it again.")
    kind = schema.field(name).type
    kind = kind.storage_type if isinstance(kind, pa.BaseExtensionType) else kind
    binary = pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind) or pa.types.is_fixed_size_binary(kind)
    if meta.get("encoding", "WKB") == "WKB" and not binary:
        raise UnreadableSource(f"{path.name}: its geometry column {name!r} holds {kind}, not WKB.", "Write it as GeoParquet, for example with geopandas.")
    return name, meta


def _crs(meta: dict[str, Any]) -> str | None:
    """PROJJSON as text; a missing key means OGC:CRS84, an explicit null means unknown (specification, "crs"). Up to GeoParquet 0.3 it was WKT.

    GeoTools (GeoServer) writes PROJJSON that PROJ cannot read, with the code of the CRS in it: that is taken then.
    """
    if "crs" not in meta:
        return "OGC:CRS84"
    value = meta["crs"]
    if value is None or isinstance(value, str):
        return value
    text, code = json.dumps(value), value.get("id") if isinstance(value, dict) else None
    if isinstance(code, dict) and {"authority", "code"} <= code.keys() and not is_crs(text):
        return f"{code['authority']}:{code['code']}"
    return text


def _stream(path: Path, names: list[str], column: str, encoding: str) -> Iterator[Rows]:
    start = 0
    for batch in _batches(path, [*names, column]):
        table = pa.Table.from_batches([batch])
        wkb = _wkb(table.column(column).combine_chunks(), encoding)
        attributes = table.select([i for i, name in enumerate(table.column_names) if name in names])
        attributes = attributes.rename_columns(different(attributes.column_names))
        check_text(path.name, attributes)
        yield Rows(start, wkb, attributes)
        start += len(wkb)


def _batches(path: Path, names: list[str]) -> Iterator[pa.RecordBatch]:
    """Some columns, `CHUNK` rows at a time."""
    with _open(path) as file:
        batches = file.iter_batches(batch_size=CHUNK, columns=names)
        while True:
            try:
                batch = next(batches, None)
            except (pa.ArrowInvalid, OSError, ValueError) as error:
                raise _damaged(path, error) from error
            if batch is None:
                return
            yield batch


def _wkb(values: pa.Array, encoding: str) -> NDArray[np.object_]:
    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()
    if isinstance(values, pa.ExtensionArray):
        values = values.storage
    if encoding == "WKB":
        return np.asarray(values.to_numpy(zero_copy_only=False), dtype=object)
    geometry = np.full(len(values), None, dtype=object)
    known = np.asarray(values.is_valid())
    geometry[known] = _native(values.drop_null(), encoding)
    return np.asarray(shapely.to_wkb(geometry), dtype=object)


def _native(values: pa.Array, encoding: str) -> NDArray[np.object_]:
    """Nested lists of coordinates (structs of x, y[, z], or fixed-size lists) → shapely geometries."""
    offsets: list[NDArray[np.int64]] = []
    while pa.types.is_list(values.type) or pa.types.is_large_list(values.type):
        ends = np.asarray(values.offsets, dtype=np.int64)
        offsets.insert(0, ends - ends[0])
        values = values.flatten()
    if pa.types.is_struct(values.type):
        axes = [values.field(i).to_numpy(zero_copy_only=False) for i in range(min(values.type.num_fields, 3))]
        coords = np.column_stack(axes)
    else:
        coords = np.asarray(values.flatten()).reshape(len(values), -1)[:, :3]
    if encoding == "point":
        return np.asarray(shapely.points(coords), dtype=object)
    return np.asarray(shapely.from_ragged_array(NATIVE[encoding], coords, tuple(offsets)), dtype=object)
