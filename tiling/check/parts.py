"""Layers without tiles: their parts in the lake must be readable, complete and say the truth about themselves."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import rasterio
import shapely
from pyproj import CRS, Transformer
from rasterio.errors import RasterioError

from twin.errors import NotFound
from twin.lake import Lake
from twin.model import LayerVersion, Part
from twin.ways import plain

from .issues import Where

Progress = Callable[[float, str], None]


def check_parts(version: LayerVersion, lake: Lake, where: Where, progress: Progress) -> None:
    """Check every part of a version: its bytes are those that its name says, and its content is what the manifest says."""
    ids: set[str] = set()
    for number, part in enumerate(version.parts):
        progress(number / len(version.parts), part.role)
        at = where / part.role
        try:
            path = lake.path(part.key)
        except NotFound as error:
            at.error("PART_MISSING", str(error))
            continue
        where.report.contents += 1
        _check_bytes(path, part, at)
        try:
            if part.role == "features":
                _check_features(path, part, version, ids, at)
            elif part.role == "raster":
                _check_raster(path, part, version, at)
            elif part.role.startswith(("table:", "mesh:")):
                _check_rows(pq.read_table(path).num_rows, part, at)
        except (pa.ArrowException, RasterioError, shapely.GEOSException, OSError) as error:
            at.error("PART_UNREADABLE", f"{part.key}: {error}")
    counted = sum(part.count - len(part.hidden) for part in version.parts if not part.role.startswith(("table:", "mesh:")))
    if counted != version.count:
        where.error("PART_COUNT", f"the manifest states {version.count:,}, its parts {counted:,}")


def _check_bytes(path: Path, part: Part, where: Where) -> None:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != part.key.split(".")[0]:
        where.error("PART_CHANGED", f"{part.key}: the bytes are not those that were stored")
    if path.stat().st_size != part.size:
        where.error("PART_CHANGED", f"{part.key} has {path.stat().st_size} bytes, the manifest states {part.size}")


def _check_rows(rows: int, part: Part, where: Where) -> None:
    if rows != part.count:
        where.error("PART_COUNT", f"{part.key} has {rows:,} rows, the manifest states {part.count:,}")


def _check_features(path: Path, part: Part, version: LayerVersion, ids: set[str], where: Where) -> None:
    """GeoParquet: count, ids, readable geometry, the bbox column, the CRS in the file and the box in the manifest."""
    with pq.ParquetFile(path) as file:
        _check_rows(file.metadata.num_rows, part, where)
        _check_geo(file.schema_arrow.metadata or {}, version, where)
        lacking = [c.name for c in version.columns if c.name not in file.schema_arrow.names]
        if lacking:
            where.error("PART_COLUMNS", f"{part.key} lacks the columns {', '.join(lacking)}")
        for group in range(file.num_row_groups):
            table = file.read_row_group(group)
            names = table.column("id").to_pylist()
            if None in names or len(set(names)) < len(names) or not ids.isdisjoint(names):
                where.error("PART_IDS", f"{part.key}: an id is missing or occurs twice")
            ids.update(n for n in names if n is not None)
            _check_boxes(table, part, where)


def _check_boxes(table: pa.Table, part: Part, where: Where) -> None:
    geometry = shapely.from_wkb(table.column("geometry").to_numpy(zero_copy_only=False))
    where.report.vertices += int(shapely.get_num_coordinates(geometry).sum())
    box = table.column("bbox").combine_chunks()
    stored = np.column_stack([box.field(n).to_numpy(zero_copy_only=False) for n in ("xmin", "ymin", "xmax", "ymax")]).astype(np.float64)
    real = shapely.bounds(geometry)
    wrong = np.flatnonzero(~np.isclose(stored, real, rtol=0, atol=1e-9 * max(1.0, np.nanmax(np.abs(real), initial=1.0)), equal_nan=True).all(axis=1))
    if len(wrong):
        where.error("PART_BBOX", f"{len(wrong)} rows of {part.key} have a bbox that is not their geometry's, the first is {table.column('id')[int(wrong[0])]}")
    b = part.bounds
    known = real[~np.isnan(real[:, 0])]
    if b is not None and len(known) and (known[:, :2].min(axis=0) < [b.minx - 1e-6, b.miny - 1e-6]).any() | (known[:, 2:].max(axis=0) > [b.maxx + 1e-6, b.maxy + 1e-6]).any():
        where.error("PART_BOUNDS", f"{part.key} reaches beyond the bounds in the manifest")


def _check_geo(metadata: dict[bytes, bytes], version: LayerVersion, where: Where) -> None:
    try:
        column = json.loads(metadata[b"geo"])["columns"]["geometry"]
        stated = CRS.from_json_dict(column["crs"])
    except (KeyError, ValueError, TypeError) as error:
        where.error("PART_GEO", f"the GeoParquet metadata cannot be read: {error}")
        return
    if stated != CRS.from_user_input(plain(version.reference.horizontal)):
        where.error("PART_GEO", f"the file states {stated.name}, the manifest {version.reference.horizontal[:60]}")


def _check_raster(path: Path, part: Part, version: LayerVersion, where: Where) -> None:
    """COG: layout, tiling, overviews, CRS, bounds; every block is read once."""
    with rasterio.open(path) as file:
        if file.tags(ns="IMAGE_STRUCTURE").get("LAYOUT") != "COG":
            where.error("PART_COG", f"{part.key} is no cloud-optimised GeoTIFF")
        if max(file.width, file.height) > 512 and not file.overviews(1):
            where.error("PART_COG", f"{part.key} has {file.width} × {file.height} cells but no overviews")
        if file.width * file.height != part.count:
            where.error("PART_COUNT", f"{part.key} has {file.width * file.height:,} cells, the manifest states {part.count:,}")
        if file.crs is None or not _same_place(CRS.from_wkt(file.crs.to_wkt()), CRS.from_user_input(plain(version.reference.horizontal)), file.bounds):
            where.error("PART_GEO", f"{part.key} states the CRS {file.crs}, the manifest {version.reference.horizontal[:60]}")
        b = part.bounds
        if b is not None and not np.allclose([b.minx, b.miny, b.maxx, b.maxy], file.bounds, rtol=0, atol=abs(file.transform.a) * 0.01):
            where.error("PART_BOUNDS", f"{part.key} covers {tuple(file.bounds)}, the manifest states another box")
        for _, window in file.block_windows(1):
            file.read(window=window)


def _same_place(one: CRS, other: CRS, bounds: tuple[float, float, float, float]) -> bool:
    """Whether two CRS put the corners of a box at the same places; their names and texts may differ."""
    x, y = [bounds[0], bounds[2]], [bounds[1], bounds[3]]
    first, second = (np.array(Transformer.from_crs(crs, 4326, always_xy=True).transform(x, y)) for crs in (one, other))
    return bool(np.allclose(first, second, rtol=0, atol=1e-7))
