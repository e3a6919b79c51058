"""Features as a file of the field (GeoParquet, GeoPackage, GeoJSON), some thousand rows at a time: a layer may be larger than memory."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pyogrio
import shapely
from numpy.typing import NDArray

from twin import parts
from twin.crs import crs_of, to_lonlat
from twin.lake import Lake
from twin.model import Features, LayerVersion

DRIVERS = {".gpkg": "GPKG", ".geojson": "GeoJSON", ".parquet": "Parquet"}
_END = b"\n]\n}\n"
"""Of a GeoJSON file that GDAL wrote."""
_UNSIGNED = 1 << 63
"""What a signed number of 64 bits does not hold."""
_TYPES = ("Point", "LineString", "LinearRing", "Polygon", "MultiPoint", "MultiLineString", "MultiPolygon", "GeometryCollection")
_SEVERAL: dict[str, Any] = {"Point": shapely.multipoints, "LineString": shapely.multilinestrings, "Polygon": shapely.multipolygons}


@dataclass(frozen=True)
class _Look:
    """What must be known before the first row is written.

    Attributes:
        count: features; shaped: those that have a geometry with coordinates. types: of geometries, without Z; raised: whether some have heights. box: of all. most: largest values of unsigned columns.
    """

    count: int
    shaped: int
    types: list[str]
    raised: bool
    box: list[float] | None
    most: dict[str, int]

    @property
    def single(self) -> str:
        """The type of the simple geometries of a layer that holds these and several of them in one, and nothing else; "" of others."""
        return next((name for name in _SEVERAL if set(self.types) == {name, f"Multi{name}"}), "")


def write(lake: Lake, version: LayerVersion, path: Path) -> int:
    """All features with their ids, in the layer's own CRS (GeoJSON: WGS 84, as RFC 7946 wants); returns how many there are.

    Raises:
        OSError: the disk is full.
    """
    suffix = path.suffix.lower()
    first = next(parts.read_features(lake, version), None)
    if first is None:
        return 0
    look = _look(lake, version, [field.name for field in first.attributes.schema if pa.types.is_uint64(field.type)])
    reference = crs_of(version.reference.horizontal)
    if suffix == ".parquet":
        types = [f"{name} Z" if look.raised else name for name in look.types]
        column: dict[str, Any] = {"encoding": "WKB", "crs": reference.to_json_dict(), "geometry_types": types}
        column |= {"bbox": look.box} if look.box else {}
        geo = {"primary_column": "geometry", "columns": {"geometry": column}, "version": "1.1.0", "creator": {"library": "wuyi-twin"}}
        schema = _row(first, suffix, look).schema.with_metadata({b"geo": json.dumps(geo).encode()})
        with pq.ParquetWriter(path, schema) as writer:
            for chunk in parts.read_features(lake, version):
                writer.write_table(_row(chunk, suffix, look).cast(schema))
        return look.count
    to = suffix == ".geojson"
    tables = (_row(chunk, suffix, look, to) for chunk in parts.read_features(lake, version))
    schema = _row(first, suffix, look, to).schema
    reader = pa.RecordBatchReader.from_batches(schema, _batches(tables, schema))
    kind = look.types[0] if len(look.types) == 1 else f"Multi{look.single}" if suffix == ".gpkg" and look.single else "Unknown"
    kind += " Z" if look.raised and kind != "Unknown" else ""
    written = crs_of("EPSG:4326") if to else reference
    number = written.to_epsg()
    try:
        pyogrio.raw.write_arrow(reader, path, layer=version.layer, driver=DRIVERS[suffix], geometry_name="geometry", geometry_type=kind,
                                crs=f"EPSG:{number}" if number else written.to_wkt("WKT1_GDAL"))  # fmt: skip
    except (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError) as error:
        told = str(error).strip().splitlines()[0].rstrip(".")
        # on a full disk SQLite gives a change up itself, and GDAL then tells that it could not
        raise OSError(f"{told} (not all of it was written, as it is when the disk is full)" if "cannot rollback" in told else told) from error
    if not _is_whole(path, version.layer, look):
        raise OSError("its end is missing, as it is when the disk is full")
    return look.count


def _is_whole(path: Path, layer: str, look: _Look) -> bool:
    """Whether that is there which is written when a file is closed, of which nobody says that it failed: the end of a GeoJSON file, the index of a GeoPackage."""
    if path.suffix.lower() == ".geojson":
        with path.open("rb") as file:
            file.seek(-min(len(_END), path.stat().st_size), os.SEEK_END)
            return file.read() == _END
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as database:
        try:
            (rows,) = database.execute(f'select count(*) from "{layer}"').fetchone()
            (indexed,) = database.execute(f'select count(*) from "rtree_{layer}_geom_rowid"').fetchone() if look.shaped else (0,)
            (west,) = database.execute("select min_x from gpkg_contents").fetchone()
        except sqlite3.DatabaseError:
            return False
    return (rows, indexed, west is not None) == (look.count, look.shaped, look.shaped > 0)


def _batches(tables: Iterator[pa.Table], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    for table in tables:
        yield from table.cast(schema).combine_chunks().to_batches()


def _look(lake: Lake, version: LayerVersion, unsigned: list[str]) -> _Look:
    count, shaped, kinds, raised, most = 0, 0, set(), False, dict.fromkeys(unsigned, 0)
    boxes: list[NDArray[np.float64]] = []
    for chunk in parts.read_features(lake, version, unsigned):
        count += len(chunk)
        kinds |= set(np.unique(shapely.get_type_id(chunk.geometry)).tolist())
        raised = raised or bool(shapely.has_z(chunk.geometry).any())
        some = shapely.bounds(chunk.geometry)
        boxes.append(some[np.isfinite(some).all(axis=1)])
        shaped += len(boxes[-1])
        for name in unsigned:
            most[name] = max(most[name], pc.max(chunk.attributes.column(name)).as_py() or 0)
        boxes = [np.concatenate([one.min(axis=0)[:2], one.max(axis=0)[2:]])[None] for one in (np.concatenate(boxes),) if len(one)]  # of all so far
    return _Look(count, shaped, sorted(_TYPES[kind] for kind in kinds if kind >= 0), raised, boxes[0][0].tolist() if boxes else None, most)


def _row(chunk: Features, suffix: str, look: _Look, lonlat: bool = False) -> pa.Table:
    """Rows as they are written: id, attributes, geometry as WKB (in longitude and latitude, if so asked)."""
    table = _writable(chunk.attributes, suffix, look)
    geometry = chunk.geometry
    if suffix == ".gpkg" and look.single:  # its tables hold geometries of one type
        alone = shapely.get_type_id(geometry) == _TYPES.index(look.single)
        geometry = geometry.copy()
        geometry[alone] = _SEVERAL[look.single](geometry[alone][None], axis=0)
    if lonlat:
        own, raised = chunk.reference.horizontal, shapely.has_z(geometry)
        geometry = geometry.copy()
        geometry[raised] = shapely.transform(geometry[raised], lambda xyz: np.column_stack([*to_lonlat(own, xyz[:, 0], xyz[:, 1]), xyz[:, 2]]), include_z=True)
        geometry[~raised] = shapely.transform(geometry[~raised], lambda xy: np.column_stack(to_lonlat(own, xy[:, 0], xy[:, 1])))
    wkb = pa.array(shapely.to_wkb(geometry, flavor="iso"), pa.binary())
    shape = pa.field("geometry", pa.binary(), metadata=None if suffix == ".parquet" else {"ARROW:extension:name": "ogc.wkb"})
    return table.add_column(0, "id", chunk.ids.cast(pa.string())).append_column(shape, wkb)


def _writable(table: pa.Table, suffix: str, look: _Look) -> pa.Table:
    """The attributes as the drivers of GDAL know them: what is nested as JSON, unsigned 64-bit numbers as signed ones or, where these do not hold them, as text."""
    if suffix == ".parquet":
        return table
    for index, column in enumerate(table.schema):
        values: Any = table.column(index)
        if pa.types.is_nested(column.type):  # GeoJSON's driver writes JSON texts as the values they hold
            values = pa.array([json.dumps(value, ensure_ascii=False) if value is not None else None for value in values.to_pylist()], pa.string())
        elif pa.types.is_uint64(column.type):
            values = values.cast(pa.int64() if look.most[column.name] < _UNSIGNED else pa.string())
        elif pa.types.is_null(column.type):
            values = values.cast(pa.string())
        table = table.set_column(index, column.name, values)
    return table
