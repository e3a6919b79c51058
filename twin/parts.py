"""Batches ↔ parts: how a version's columns lie in the lake, and how they are read back.

Formats: GeoParquet 1.1 with a bbox column for features, Parquet for meshes and tables, COG for rasters, LAS/LAZ/COPC
as delivered for clouds. Features are sorted along a Hilbert curve so that a box query touches few row groups.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import shapely
from numpy.typing import NDArray

from twin import crs, meshes
from twin.errors import BadFeature, BadReference, Conflict
from twin.lake import Lake
from twin.meshes import read_meshes as read_meshes  # noqa: PLC0414  readers of versions find it here
from twin.model import (
    Asset,
    Batch,
    Bounds,
    Column,
    Features,
    Grid,
    LayerKind,
    LayerVersion,
    Mesh,
    Part,
    Points,
    Reference,
    Report,
    Table,
)  # fmt: skip

T = TypeVar("T")

ROW_GROUP = 16_384
PART_ROWS = 1_048_576
RESERVED = ("id", "parent", "geometry", "bbox")


def write_version(
    lake: Lake, layer: str, kind: LayerKind, batches: Iterable[Batch], report: Report, *,
    provenance: dict[str, Any], style: dict[str, Any] | None = None,
) -> LayerVersion:  # fmt: skip
    """Store all batches of a source as one version (not yet in the catalogue).

    Memory is bounded by one batch plus the sort keys (16 bytes a feature): rows are spooled to disk first.

    Raises:
        BadFeature: the source holds nothing that could be kept, or an id twice.
        BadReference: batches of one source state different references, or coordinates that do not fit their CRS.
    """
    parts: list[Part] = []
    columns: list[Column] = []
    reference: Reference | None = None
    images: set[str] = set()  # that are stored: each once
    with lake.scratch(".arrow") as spool_path:
        spool = _Spool(spool_path)
        try:
            for batch in batches:
                if not isinstance(batch, Table):
                    if reference is not None and batch.reference != reference:
                        raise BadReference(f"{report.source}: two references in one source: {reference} and {batch.reference}.",
                                           "Ingest them as two layers.")  # fmt: skip
                    reference = batch.reference
                match batch:
                    case Features():
                        if len(batch):
                            spool.add(batch)
                    case Mesh():
                        if len(batch):
                            files, features = meshes.tables(batch, images)
                            parts.extend(_put_table(lake, *file) for file in files)
                            spool.add(features)
                    case Grid():
                        parts.append(_write_grid(lake, batch))
                        columns.extend(batch.bands)
                    case Asset():
                        parts.append(Part({"cog": "raster"}.get(batch.format, "cloud"), lake.put_file(batch.path, f".{batch.format}"),
                                          batch.path.stat().st_size, batch.count, batch.bounds, batch.properties))  # fmt: skip
                    case Table():
                        parts.append(_write_table(lake, batch))
                    case Points():
                        raise BadFeature(f"{report.source}: point chunks are not stored; hand over the file as an Asset.")
            parts.extend(spool.write_parts(lake, report.source))
            columns.extend(spool.columns())
        finally:
            spool.close()
    bounds = [part.bounds for part in parts if part.bounds is not None]
    if reference is None or not parts or not (bounds or any(p.role.startswith("features") for p in parts)):
        raise BadFeature(f"{report.source}: nothing could be kept of {report.read} features.", _first_reasons(report))
    extent = None
    if bounds:
        box = Bounds.union(bounds)
        crs.check_plausible(reference, box, report.source)
        extent = crs.extent_of(reference, box)
    style = {**(style or {}), **report.facts.pop("style", {})}  # a reader that knows how its layer is drawn says so there
    count = sum(part.count for part in parts if not part.role.startswith(("mesh:", "table:")))
    return LayerVersion(layer, kind, reference, tuple(parts), tuple(columns), count, extent, report.to_json(),
                        {**provenance, "vertical": crs.vertical_path(reference)}, style)  # fmt: skip


def _ahead(items: Iterable[T]) -> Iterator[T]:
    """The same items, the next one already being made in a thread while one is used (GEOS and Arrow release the interpreter).

    Everything of the source, its end included, happens in that one thread, so that it may hold what belongs to a thread.
    """
    source = iter(items)
    end = object()
    with ThreadPoolExecutor(1, thread_name_prefix="read-ahead") as pool:
        try:
            waiting = pool.submit(next, source, end)
            while (item := waiting.result()) is not end:
                waiting = pool.submit(next, source, end)
                yield cast("T", item)
        finally:
            close = getattr(source, "close", None)
            if close is not None:
                pool.submit(close).result()


def _first_reasons(report: Report) -> str:
    reasons = [f"{note.feature}: {note.reason}" if note.feature else note.reason for note in report.notes[:3]]
    return " ".join(reasons) or "The source is empty."


# --- features ----------------------------------------------------------------------------------------------------


@dataclass
class _Spool:
    """Feature rows on disk in arrival order, with their boxes in memory; then sorted parts."""

    path: Path
    writer: pa.ipc.RecordBatchStreamWriter | None = None
    sink: Any = None
    boxes: list[NDArray[np.float64]] = field(default_factory=list)
    z: list[tuple[float, float]] = field(default_factory=list)
    reference: Reference | None = None
    schema: pa.Schema | None = None

    def add(self, batch: Features) -> None:
        clash = [name for name in batch.attributes.column_names if name in RESERVED]
        if clash:
            raise BadFeature(f"Attribute {clash[0]!r} is a reserved name.", "Rename it in the source.")
        has_z = bool(np.any(shapely.has_z(batch.geometry)))
        if has_z:
            z = shapely.get_coordinates(batch.geometry, include_z=True)[:, 2]
            z = z[np.isfinite(z)]
            if len(z):
                self.z.append((float(z.min()), float(z.max())))
        boxes = shapely.bounds(batch.geometry)
        columns = {
            "id": batch.ids.cast(pa.string()),
            "parent": batch.parents.cast(pa.string()) if batch.parents is not None else pa.nulls(len(batch), pa.string()),
            **{name: batch.attributes.column(name) for name in batch.attributes.column_names},
            "bbox": pa.StructArray.from_arrays([pa.array(boxes[:, i], from_pandas=True) for i in range(4)], ["xmin", "ymin", "xmax", "ymax"]),
            "geometry": pa.array(shapely.to_wkb(batch.geometry), pa.binary()),
        }
        described = {f.name: f for f in batch.attributes.schema}  # units and titles travel in the fields' metadata
        flat = pa.table(columns)
        table = pa.Table.from_arrays(flat.columns, schema=pa.schema([described.get(f.name, f) for f in flat.schema]))
        if self.writer is None:
            self.schema, self.reference = table.schema, batch.reference
            self.sink = pa.OSFile(str(self.path), "wb")
            self.writer = pa.ipc.new_stream(self.sink, table.schema)
        elif table.schema != self.schema:
            table = _conform(table, self.schema)
        self.writer.write_table(table, max_chunksize=ROW_GROUP)
        self.boxes.append(boxes)

    def columns(self) -> list[Column]:
        if self.schema is None:
            return []
        return [Column(f.name, str(f.type), (f.metadata or {}).get(b"unit", b"").decode(), _titles(f)) for f in self.schema if f.name not in RESERVED]

    def write_parts(self, lake: Lake, source: str) -> Iterator[Part]:
        if self.writer is None or self.reference is None or self.schema is None:
            return
        self.close()
        boxes = np.concatenate(self.boxes)
        with pa.memory_map(str(self.path)) as mapped:
            table = pa.ipc.open_stream(mapped).read_all()
            _refuse_duplicates(table.column("id"), source)
            order = _hilbert_order(boxes)
            z = (min(a for a, _ in self.z), max(b for _, b in self.z)) if self.z else (float("nan"), float("nan"))
            for start in range(0, len(order), PART_ROWS):
                rows = order[start : start + PART_ROWS]
                with lake.scratch(".parquet") as path:
                    known = boxes[rows][~np.isnan(boxes[rows][:, 0])]
                    box = _box(known, z) if len(known) else None
                    metadata = {b"geo": _geo_metadata(self.reference, box)}
                    schema = self.schema.with_metadata(metadata)
                    with pq.ParquetWriter(path, schema, compression="zstd", compression_level=3, write_page_index=True) as writer:
                        groups = (rows[at : at + ROW_GROUP] for at in range(0, len(rows), ROW_GROUP))
                        for chunk in _ahead(table.take(pa.array(group)).combine_chunks().cast(schema) for group in groups):
                            writer.write_table(chunk, row_group_size=ROW_GROUP)
                    size = path.stat().st_size
                    yield Part("features", lake.put_file(path, ".parquet", move=True), size, len(rows), box)

    def close(self) -> None:
        if self.sink is not None:
            if self.writer is not None:
                self.writer.close()
            self.sink.close()
            self.sink = None


def _box(boxes: NDArray[np.float64], z: tuple[float, float]) -> Bounds:
    low, high = boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)
    return Bounds(float(low[0]), float(low[1]), float(high[0]), float(high[1]), *z)


def _titles(f: pa.Field) -> dict[str, str]:
    meta = f.metadata or {}
    return {lang: meta[key].decode() for lang, key in (("zh", b"title_zh"), ("en", b"title_en")) if key in meta}


def _conform(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """A later batch in the first batch's schema; a type that widened is refused by name."""
    try:
        return table.select(schema.names).cast(schema)
    except (KeyError, pa.ArrowInvalid, ValueError) as error:
        raise BadFeature(f"Attributes change within the source: {error}.", "Give every feature the same columns and types.") from error


def _refuse_duplicates(ids: pa.ChunkedArray, source: str) -> None:
    counts = ids.value_counts() if len(ids) != len(ids.unique()) else None
    if counts is not None:
        twice = [row["values"] for row in counts.to_pylist() if row["counts"] > 1][:5]
        raise BadFeature(f"{source}: id {twice[0]!r} occurs more than once (also: {', '.join(map(str, twice[1:])) or 'none'}).",
                         "Ids must be unique: name another column with --option id=COLUMN.")  # fmt: skip


def _geo_metadata(reference: Reference, box: Bounds | None) -> bytes:
    projjson = crs.crs_of(reference.horizontal).to_json_dict()
    covering = {"bbox": {c: ["bbox", c] for c in ("xmin", "ymin", "xmax", "ymax")}}
    column: dict[str, Any] = {"encoding": "WKB", "geometry_types": [], "crs": projjson, "covering": covering}
    if box is not None:
        column["bbox"] = [box.minx, box.miny, box.maxx, box.maxy]
    return json.dumps({"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": column}}).encode()


def _hilbert_order(boxes: NDArray[np.float64]) -> NDArray[np.int64]:
    """Row order along a Hilbert curve of order 16 over the layer's box (rows without geometry last; ties by arrival)."""
    x, y = (boxes[:, 0] + boxes[:, 2]) / 2, (boxes[:, 1] + boxes[:, 3]) / 2
    missing = np.isnan(x)
    if missing.all():
        return np.arange(len(boxes))
    low = np.array([np.nanmin(x), np.nanmin(y)])
    span = max(np.nanmax(x) - low[0], np.nanmax(y) - low[1], 1e-9)
    i = np.where(missing, 0, (x - low[0]) / span * 65535).astype(np.int64)
    j = np.where(missing, 0, (y - low[1]) / span * 65535).astype(np.int64)
    distance = hilbert_index(i, j, 16)
    distance[missing] = np.iinfo(np.int64).max
    return np.argsort(distance, kind="stable")


def hilbert_index(x: NDArray[np.int64], y: NDArray[np.int64], order: int) -> NDArray[np.int64]:
    """Distance along the Hilbert curve of `order` bits a side (Warren, Hacker's Delight, 16-2), vectorised."""
    x, y = x.copy(), y.copy()
    d = np.zeros_like(x)
    side = 1 << (order - 1)
    while side:
        rx, ry = ((x & side) > 0).astype(np.int64), ((y & side) > 0).astype(np.int64)
        d += side * side * ((3 * rx) ^ ry)
        flip = (ry == 0) & (rx == 1)
        x, y = np.where(flip, side - 1 - (x & (side - 1)), x & (side - 1)), np.where(flip, side - 1 - (y & (side - 1)), y & (side - 1))
        swap = ry == 0
        x, y = np.where(swap, y, x), np.where(swap, x, y)
        side >>= 1
    return d


def read_features(lake: Lake, version: LayerVersion, columns: list[str] | None = None) -> Iterator[Features]:
    """The features of a version, one row group (≤ 16,384 rows, spatially close) at a time; `columns` limits attributes."""
    for part in version.parts:
        if part.role != "features":
            continue
        gone = version.tombstones + part.hidden
        dead = pa.array(gone, pa.string()) if gone else None
        with pq.ParquetFile(lake.path(part.key)) as file:
            wanted = None if columns is None else ["id", "parent", *columns, "geometry"]
            for group in range(file.num_row_groups):
                table = file.read_row_group(group, columns=wanted)
                if dead is not None:
                    table = table.filter(pa.compute.invert(pa.compute.is_in(table["id"], dead)))
                yield _to_features(version.reference, table)


def _to_features(reference: Reference, table: pa.Table) -> Features:
    names = [name for name in table.column_names if name not in RESERVED]
    geometry = shapely.from_wkb(table.column("geometry").to_numpy(zero_copy_only=False))
    return Features(reference, table.column("id").combine_chunks(), geometry, table.select(names), table.column("parent").combine_chunks())


def merge(lake: Lake, base: LayerVersion, change: LayerVersion) -> LayerVersion:
    """`base` with the features of `change` added, and put in the place of those with the same ids.

    The parts of `base` stay as they are; each only lists which of its ids are now shown by a later part. So an edit of ten
    features costs one small part.

    Raises:
        Conflict: the layer is not made of features alone (points, rasters and models are replaced as a whole).
        BadReference, BadFeature: the change is in another reference, or has other columns.
    """
    where = change.report.get("source", "The change")
    if base.kind not in ("blocks", "vector"):
        raise Conflict(f"Layer {base.layer!r} ({base.kind}) cannot be updated feature by feature.", "Ingest the whole new state without --update.")
    if change.reference != base.reference:
        raise BadReference(f"{where}: the layer is kept in {base.reference.horizontal[:40]} {base.reference.vertical}, the change is in "
                           f"{change.reference.horizontal[:40]} {change.reference.vertical}.", "Deliver the change in the layer's reference.")  # fmt: skip
    old, new = {c.name: c.type for c in base.columns}, {c.name: c.type for c in change.columns}
    if old != new:
        differ = sorted(name for name in old.keys() | new.keys() if old.get(name) != new.get(name))
        raise BadFeature(f"{where}: its columns are not those of the layer: {', '.join(differ[:6])}.", "Deliver the same columns and types, or the whole layer.")
    changed = pa.concat_arrays([chunk.ids.cast(pa.string()) for chunk in read_features(lake, change, [])])
    kept, replaced = [], 0
    for part in base.parts:
        if part.role == "features":
            ids = pq.read_table(lake.path(part.key), columns=["id"]).column("id").combine_chunks()
            hit = set(ids.filter(pa.compute.is_in(ids, changed)).to_pylist()) - set(part.hidden)
            replaced += len(hit - set(base.tombstones))
            part = replace(part, hidden=tuple(sorted({*part.hidden, *hit})))  # noqa: PLW2901
        kept.append(part)
    boxes = [part.bounds for part in (*kept, *change.parts) if part.bounds is not None]
    extent = crs.extent_of(base.reference, Bounds.union(boxes)) if boxes else None
    report = {**change.report, "facts": {**change.report.get("facts", {}), "updated": replaced, "added": change.count - replaced}}
    shown = tuple(id_ for id_ in base.tombstones if id_ not in set(changed.to_pylist()))
    return replace(base, parts=(*kept, *change.parts), count=base.count - replaced + change.count, extent=extent, report=report,
                   provenance={**change.provenance, "tile_options": base.provenance.get("tile_options", {})}, tombstones=shown)  # fmt: skip


# --- rasters, tables, manifests ----------------------------------------------------------------------------------


def _write_grid(lake: Lake, grid: Grid) -> Part:
    """A Grid as a COG (deflate with predictor, overviews) with its band names; heights stay as they are."""
    import rasterio  # noqa: PLC0415  GDAL takes 0.1 s to load; only rasters need it
    from rasterio.transform import Affine  # noqa: PLC0415

    bands, rows, columns = grid.data.shape
    transform = Affine(*grid.transform)
    corners = np.array([transform * (c, r) for c in (0, columns) for r in (0, rows)])
    predictor = 3 if np.issubdtype(grid.data.dtype, np.floating) else 2
    with lake.scratch(".tif") as path:
        with rasterio.open(path, "w", driver="COG", height=rows, width=columns, count=bands, dtype=grid.data.dtype,
                           crs=crs.crs_of(grid.reference.horizontal).to_wkt(), transform=transform, nodata=grid.nodata,
                           compress="DEFLATE", predictor=predictor, blocksize=256, overview_resampling="nearest") as file:  # fmt: skip
            file.write(grid.data)
            for index, band in enumerate(grid.bands, 1):
                file.set_band_description(index, band.name)
        properties = {"bands": [band.name for band in grid.bands], "nodata": grid.nodata, "legend": grid.legend}
        size = path.stat().st_size
        return Part("raster", lake.put_file(path, ".cog", move=True), size, rows * columns, Bounds.of(corners), properties)


def _write_table(lake: Lake, table: Table) -> Part:
    return _put_table(lake, f"table:{table.name}", table.rows, None, {})


def _put_table(lake: Lake, role: str, table: pa.Table, bounds: Bounds | None, properties: dict[str, Any]) -> Part:
    with lake.scratch(".parquet") as path:
        rows = meshes.IMAGES_A_GROUP if role == meshes.IMAGES else None
        pq.write_table(table, path, compression="zstd", compression_level=3, row_group_size=rows)
        size = path.stat().st_size
        return Part(role, lake.put_file(path, ".parquet", move=True), size, table.num_rows, bounds, properties)


def read_table(lake: Lake, version: LayerVersion, name: str) -> pa.Table | None:
    """A version's table by name (psets, relations, …), or None where it has none."""
    tables = [pq.read_table(lake.path(part.key)) for part in version.parts if part.role == f"table:{name}"]
    return pa.concat_tables(tables) if tables else None


def raster_part(version: LayerVersion) -> Part:
    """The raster part of a terrain or raster version."""
    for part in version.parts:
        if part.role == "raster":
            return part
    raise BadFeature(f"Layer {version.layer} holds no raster.")


def to_json(version: LayerVersion) -> dict[str, Any]:
    """A manifest as JSON values (NaN heights become null)."""
    value = asdict(version)
    for box in [value["extent"], *(part["bounds"] for part in value["parts"])]:
        if box:
            box.update({k: None for k in ("minz", "maxz") if box[k] != box[k]})
    return value


def from_json(value: dict[str, Any]) -> LayerVersion:
    """The inverse of `to_json`."""
    def box(v: dict[str, Any] | None) -> Bounds | None:
        return Bounds(**{k: float("nan") if x is None else x for k, x in v.items()}) if v else None

    return LayerVersion(
        value["layer"], value["kind"], Reference(**value["reference"]),
        tuple(Part(**{**p, "bounds": box(p["bounds"]), "hidden": tuple(p.get("hidden", ()))}) for p in value["parts"]),
        tuple(Column(**c) for c in value["columns"]), value["count"], box(value["extent"]),
        value["report"], value["provenance"], value["style"], tuple(value["tombstones"]),
    )  # fmt: skip
