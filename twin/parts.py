"""Batches ↔ parts: how a version's columns lie in the lake, and how they are read back.

Formats: GeoParquet 1.1 with a bbox column for features, Parquet for meshes and tables, COG for rasters, LAS/LAZ/COPC
as delivered for clouds. Features are sorted along a Morton curve so that a box query touches few row groups (`twin.spool`).
"""

from __future__ import annotations

from bisect import bisect_left
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from threading import Lock, Semaphore
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import shapely
from numpy.typing import NDArray

from twin import clouds, crs, datums, ground, keys, meshes, raster_file
from twin.errors import BadFeature, BadReference, Conflict, NotFound, brief
from twin.lake import Lake, storage_errors
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
from twin.processes import give_back
from twin.shown import box_without
from twin.spool import RESERVED as RESERVED  # noqa: PLC0414  readers and queries find it here
from twin.spool import WRITERS, Spool, ahead

Known = Callable[[Part], "list[tuple[NDArray[np.uint64], NDArray[np.int64]]] | None"]
"""Of a part of features, the hashes of all ids (`twin.keys.id_hash`) and their rows; None where they are not known."""
ROW_GROUP = 1024
PART_ROWS = 262_144
CHUNK = 16_384
"""Rows that are read at a time."""
SYNCED = 8
"""Tables that are waited for by the disk at a time; few are small, of which `WRITERS` are written at a time."""
HELD = 1 << 24
"""Bytes of tables that may wait for that; `2 * WRITERS` tables always may."""


def write_version(
    lake: Lake, layer: str, kind: LayerKind, batches: Iterable[Batch], report: Report, *,
    provenance: dict[str, Any], style: dict[str, Any] | None = None,
) -> LayerVersion:  # fmt: skip
    """Store all batches of a source as one version (not yet in the catalogue).

    Memory is bounded by one batch and one part's sort: rows and their sort keys are spooled to disk first (`twin.spool`).

    Raises:
        BadFeature: the source holds nothing that could be kept, or an id twice.
        BadReference: batches of one source state different references, or coordinates that do not fit their CRS.
    """
    made: list[Part | Future[Part]] = []
    columns: list[Column] = []
    reference: Reference | None = None
    images: set[str] = set()  # that are stored: each once
    with lake.scratch(".arrow") as spool_path, _Writing(lake) as tables:
        spool = Spool(spool_path)
        try:
            for batch in ahead(batches) if kind in ("blocks", "vector") else batches:
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
                            made.extend(tables.put(*file) for file in files)
                            spool.add(features)
                    case Grid():
                        made.append(_write_grid(lake, batch))
                        columns.extend(band for band in batch.bands if band not in columns)  # moments of one field repeat theirs
                    case Asset():
                        made.append(Part({"cog": "raster", "3tz": "tileset"}.get(batch.format, "cloud"), lake.put_file(batch.path, f".{batch.format}"),
                                          batch.path.stat().st_size, batch.count, batch.bounds, batch.properties))  # fmt: skip
                    case Table():
                        made.append(tables.put(*_as_table(batch)))
                    case Points():
                        raise BadFeature(f"{report.source}: point chunks are not stored; hand over the file as an Asset.")
            made.extend(spool.write_parts(lake, report.source, part_rows=PART_ROWS, group_rows=ROW_GROUP))
            columns.extend(spool.columns())
            parts = [one.result() if isinstance(one, Future) else one for one in made]
        finally:
            spool.remove()
    bounds = [part.bounds for part in parts if part.bounds is not None]
    if reference is None or not parts or not (bounds or any(p.role.startswith("features") for p in parts)):
        raise BadFeature(f"{report.source}: nothing could be kept of {report.read} features.", first_reasons(report.to_json()["notes"]) or "The source is empty.")
    extent = None
    if bounds:
        box = Bounds.union(bounds)
        try:
            crs.check_plausible(reference, box, report.source)
        except BadReference as error:
            if (odd := _outlier(lake, reference, parts)) is None:
                raise
            raise BadReference(f"{error.message} Feature {odd[0]!r} {odd[1]}.", f"Mend that feature or leave it out. {error.remedy}") from error
        extent = crs.extent_of(reference, box)
        if not crs.in_use(reference, extent) and (odd := _outlier(lake, reference, parts)) is not None:
            report.note("warned", odd[0], f"{odd[1]}: is its place right?")
    style = {**(style or {}), **report.facts.pop("style", {})}  # a reader that knows how its layer is drawn says so there
    count = sum(part.count for part in parts if not part.role.startswith(("mesh:", "table:")))
    if count > PART_ROWS:
        give_back()  # what threads and Arrow keep of it: 130 MB, beside all that follows
    return datums.settled(LayerVersion(layer, kind, reference, tuple(parts), tuple(columns), count, extent, report.to_json(),
                                       {**provenance, "vertical": crs.vertical_path(reference)}, style))  # fmt: skip


def _outlier(lake: Lake, reference: Reference, parts: Iterable[Part]) -> tuple[str, str] | None:
    """(id, where it lies) of a feature that is a hundred times as far from the middle one as most are; None where there is none, or hardly any others."""
    tables = [pq.read_table(lake.path(part.key), columns=["id", "bbox"]) for part in parts if part.role.startswith("features") and part.count]
    rows = pa.concat_tables(tables).combine_chunks().filter(pc.field("bbox", "xmin").is_valid()) if tables else None
    if rows is None or len(rows) < 3:
        return None
    x, y = (pc.struct_field(rows.column("bbox"), name).to_numpy() for name in ("xmin", "ymin"))
    away = np.maximum(np.abs(x - np.median(x)), np.abs(y - np.median(y)))
    worst = int(np.argmax(away))
    metre = 1e-5 if crs.crs_of(reference.horizontal).is_geographic else 1.0
    if away[worst] < 100 * (np.median(away) + metre):
        return None
    middle = f"x {np.median(x):.6g}, y {np.median(y):.6g}"
    return str(rows.column("id")[worst])[:80], f"lies at x {x[worst]:.6g}, y {y[worst]:.6g}, far from the others (the middle one of {len(rows):,} lies at {middle})"


def first_reasons(notes: list[dict[str, Any]]) -> str:
    """Why nothing is left: the first notes (of a report as JSON) of what was refused or skipped; what was only assumed explains nothing."""
    lost = [note for note in notes if note["action"] in ("refused", "skipped")] or notes
    reasons = [f"{note['feature']}: {note['reason']}" if note["feature"] else note["reason"] for note in lost[:3]]
    more = len(lost) - len(reasons)
    return "; ".join(reason.rstrip(".") for reason in reasons) + (f"; and {more} more" if more else "") + "." * bool(reasons)


# --- features ----------------------------------------------------------------------------------------------------


def read_features(lake: Lake, version: LayerVersion, columns: list[str] | None = None) -> Iterator[Features]:
    """The features of a version, a few row groups (≤ 16,384 rows, spatially close) at a time; `columns` limits attributes."""
    for part in version.parts:
        if part.role != "features":
            continue
        gone = version.tombstones + part.hidden
        dead = pa.array(gone, pa.string()) if gone else None
        with pq.ParquetFile(lake.path(part.key)) as file:
            wanted = None if columns is None else ["id", "parent", *columns, "geometry"]
            for table in _row_groups(file, wanted):
                alive = table if dead is None else table.filter(pc.invert(pc.is_in(table["id"], dead)))
                yield _to_features(version.reference, alive)


def _row_groups(file: pq.ParquetFile, columns: list[str] | None) -> Iterator[pa.Table]:
    """The rows of a part, as many whole row groups at a time as come to `CHUNK` rows (at least one)."""
    numbers: list[int] = []
    rows = 0
    for group in range(file.num_row_groups):
        count = file.metadata.row_group(group).num_rows
        if numbers and rows + count > CHUNK:
            yield file.read_row_groups(numbers, columns=columns)
            numbers, rows = [], 0
        numbers.append(group)
        rows += count
    if numbers:
        yield file.read_row_groups(numbers, columns=columns)


def _to_features(reference: Reference, table: pa.Table) -> Features:
    names = [name for name in table.column_names if name not in RESERVED]
    geometry = shapely.from_wkb(table.column("geometry").to_numpy(zero_copy_only=False))
    return Features(reference, table.column("id").combine_chunks(), geometry, table.select(names), table.column("parent").combine_chunks())


def merge(lake: Lake, base: LayerVersion, change: LayerVersion, known: Known | None = None) -> LayerVersion:
    """`base` with the features of `change` added, and put in the place of those with the same ids.

    The parts of `base` stay as they are; each only lists which of its ids are now shown by a later part. So an edit of ten
    features costs one small part.

    Point clouds are merged file by file instead (see `clouds`), terrains by laying the new rasters over the old (see `ground`).

    Args:
        known: where ids may be in a part; without it they are looked for in all row groups that may hold them.

    Raises:
        Conflict: the layer is made of none of these (rasters and models are replaced as a whole).
        BadReference, BadFeature: the change is in another reference, or has other columns.
    """
    return datums.settled(_merged(lake, datums.unsettled(base), datums.unsettled(change), known))


def _merged(lake: Lake, base: LayerVersion, change: LayerVersion, known: Known | None) -> LayerVersion:
    where = change.report.get("source", "The change")
    if base.kind == change.kind == "points":
        return clouds.merge(base, change)
    if base.kind == change.kind == "terrain":
        return ground.merge(base, change)
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
    for part, held, groups in _holders(lake, base, changed, known):
        hit = held - set(part.hidden)
        replaced += len(hit - set(base.tombstones))
        kept.append(_hiding(lake, part, hit, groups))
    report = {**change.report, "facts": {**change.report.get("facts", {}), "updated": replaced, "added": change.count - replaced}}
    shown = tuple(id_ for id_ in base.tombstones if id_ not in set(changed.to_pylist()))
    parts = (*kept, *change.parts)
    return replace(base, parts=parts, count=base.count - replaced + change.count, extent=_extent(base.reference, parts), report=report,
                   provenance={**change.provenance, "tile_options": base.provenance.get("tile_options", {})}, tombstones=shown)  # fmt: skip


def without(lake: Lake, base: LayerVersion, ids: Iterable[str], known: Known | None = None) -> LayerVersion:
    """`base` without some of its features: their ids are listed as hidden by the parts that hold them. `known`: as for `merge`.

    Raises:
        Conflict: the layer is not made of features alone, or it would be left empty.
        NotFound: it does not show a feature of one of the ids.
    """
    wanted = set(ids)
    base = datums.unsettled(base)
    if base.kind not in ("blocks", "vector"):
        raise Conflict(f"Features of layer {base.layer!r} ({base.kind}) cannot be deleted one by one.", "Ingest the whole new state.")
    missing, kept = wanted.copy(), []
    for part, held, groups in _holders(lake, base, pa.array(sorted(wanted), pa.string()), known):
        hit = held - set(part.hidden) - set(base.tombstones)
        missing -= hit
        kept.append(_hiding(lake, part, hit, groups))
    if missing:
        raise NotFound(f"Layer {base.layer!r} has no feature {brief(min(missing))!r}" + (f" (and {len(missing) - 1} others)." if len(missing) > 1 else "."),
                       "Nothing was deleted. Check the ids.")  # fmt: skip
    if len(wanted) >= base.count:
        raise Conflict(f"That would delete all {base.count} features of layer {base.layer!r}.", "A layer without features cannot be shown.")
    graded = {key: value for key, value in base.report.get("facts", {}).items() if key == "grade"}  # and who gave it
    report = Report(source=f"deletion of {len(wanted)} features", facts={"deleted": len(wanted), **graded}).to_json()
    return datums.settled(replace(base, parts=tuple(kept), count=base.count - len(wanted), extent=_extent(base.reference, kept), report=report))


def _hiding(lake: Lake, part: Part, hit: set[str], groups: list[int]) -> Part:
    """A part that shows some ids less, which lie in these row groups; its box is that of what it shows."""
    if not hit:
        return part
    hidden = {*part.hidden, *hit}
    with open_part(lake.path(part.key)) as file:
        return replace(part, hidden=tuple(sorted(hidden)), bounds=box_without(file, part.bounds, hidden, groups))


def _extent(reference: Reference, parts: Iterable[Part]) -> Bounds | None:
    boxes = [part.bounds for part in parts if part.bounds is not None]
    return crs.extent_of(reference, Bounds.union(boxes)) if boxes else None


def _holders(lake: Lake, version: LayerVersion, ids: pa.Array, known: Known | None) -> Iterator[tuple[Part, set[str], list[int]]]:
    """The parts of a version with those of `ids` that they hold and the row groups that these lie in; several are read at a time."""
    def of(part: Part) -> tuple[Part, set[str], list[int]]:
        return (part, *(_held(lake, part, ids, known) if part.role == "features" else (set(), [])))

    with ThreadPoolExecutor(2, "ids") as pool:
        yield from pool.map(of, version.parts)


def open_part(path: Path) -> pq.ParquetFile:
    """A part, to be read here and there; its footer, which takes longer to read than some rows, is kept for the next time."""
    return pq.ParquetFile(path, metadata=FOOTERS.of(path), memory_map=True, pre_buffer=False)


class Footers:
    """The footers of parts that were opened last, as far as they come to `most` bytes as they are stored (in memory they take eight times as much)."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._kept: OrderedDict[Path, pq.FileMetaData] = OrderedDict()
        self._lock = Lock()

    def of(self, path: Path) -> pq.FileMetaData:
        """The footer of a part."""
        with self._lock:
            found = self._kept.pop(path, None)
        if found is None:
            found = pq.read_metadata(path, memory_map=True)
        with self._lock:
            self._kept[path] = found
            while len(self._kept) > 1 and sum(one.serialized_size for one in self._kept.values()) > self.most:
                self._kept.popitem(last=False)
        return found


FOOTERS = Footers(8 << 20)


def _held(lake: Lake, part: Part, ids: pa.Array, known: Known | None) -> tuple[set[str], list[int]]:
    """Those of `ids` that a part holds, and row groups, all that hold one among them. Only row groups are read that hold an id of the same hash, or where no hashes are known, between whose lowest and highest id one of them lies."""
    hashes = known(part) if known is not None else None
    rows = np.concatenate([rows[keys.among(some, keys.id_hash(ids))] for some, rows in hashes]) if hashes is not None else np.zeros(0, np.int64)
    if hashes is not None and not len(rows):
        return set(), []
    with open_part(lake.path(part.key)) as file:
        about = file.metadata
        if hashes is not None:
            ends = np.cumsum([about.row_group(number).num_rows for number in range(about.num_row_groups)])
            groups = np.unique(np.searchsorted(ends, rows, "right")).tolist()
        else:
            wanted = sorted(ids.to_pylist())
            at = next(number for number, name in enumerate(file.schema.names) if name == "id")
            groups = [number for number in range(about.num_row_groups) if _may_hold(about.row_group(number).column(at).statistics, wanted)]
        found = file.read_row_groups(groups, columns=["id"], use_threads=False).column("id")
    return set(found.filter(pc.is_in(found, value_set=ids)).to_pylist()), groups


def _may_hold(known: Any, wanted: list[str]) -> bool:
    """Whether one of some sorted ids lies between the extremes of a column of a row group; yes where these are not known."""
    if known is None or not known.has_min_max:
        return True
    at = bisect_left(wanted, known.min)
    return at < len(wanted) and wanted[at] <= known.max


# --- rasters, tables, manifests ----------------------------------------------------------------------------------


def _write_grid(lake: Lake, grid: Grid) -> Part:
    """A Grid as a COG (deflate with predictor, overviews) with its band names; heights stay as they are."""
    import rasterio  # noqa: PLC0415  GDAL takes 0.1 s to load; only rasters need it
    from rasterio.transform import Affine  # noqa: PLC0415

    bands, rows, columns = grid.data.shape
    transform = Affine(*grid.transform)
    corners = np.array([transform * (c, r) for c in (0, columns) for r in (0, rows)])
    predictor = 3 if np.issubdtype(grid.data.dtype, np.floating) else 2
    reference = crs.crs_of(grid.reference.horizontal).to_wkt()
    with lake.scratch(".tif") as path:
        with raster_file.writing(), rasterio.open(path, "w", driver="COG", height=rows, width=columns, count=bands, dtype=grid.data.dtype,
                                                  crs=reference, transform=transform, nodata=grid.nodata,
                                                  compress="DEFLATE", predictor=predictor, blocksize=256, overview_resampling="nearest") as file:  # fmt: skip
            file.write(grid.data)
            for index, band in enumerate(grid.bands, 1):
                file.set_band_description(index, band.name)
            if "scale" in grid.properties:
                file.scales = [grid.properties["scale"]] * bands
        raster_file.check_written(path)
        properties = {**grid.properties, "bands": [band.name for band in grid.bands], "nodata": grid.nodata, "legend": grid.legend}
        size = path.stat().st_size
        return Part("raster", lake.put_file(path, ".cog", move=True), size, rows * columns, Bounds.of(corners), properties)


def write_tables(lake: Lake, tables: Iterable[Table]) -> list[Part]:
    """Tables by themselves, for a version whose other parts stay."""
    return [_put_table(lake, nullcontext(), *_as_table(table)) for table in tables]


def _as_table(table: Table) -> tuple[str, pa.Table, Bounds | None, dict[str, Any]]:
    return f"table:{table.name}", table.rows, None, {}


class _Writing:
    """Tables that become parts in threads (Parquet and the disk let go of the interpreter) while more is read; few wait at a time.

    The disk is waited for by several at once: it writes them together.
    """

    def __init__(self, lake: Lake) -> None:
        self.lake, self.pool, self.writers = lake, ThreadPoolExecutor(SYNCED, "tables"), Semaphore(WRITERS)
        self.waiting: deque[tuple[Future[Part], int]] = deque()

    def put(self, role: str, table: pa.Table, bounds: Bounds | None, properties: dict[str, Any]) -> Future[Part]:
        """Write one. A failure of an earlier one may be raised here."""
        while self.waiting and (self.waiting[0][0].done() or (len(self.waiting) >= 2 * WRITERS and sum(size for _, size in self.waiting) > HELD)):
            self.waiting.popleft()[0].result()
        made = self.pool.submit(_put_table, self.lake, self.writers, role, table, bounds, properties)
        self.waiting.append((made, table.nbytes))
        return made

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.pool.shutdown(cancel_futures=True)


def _put_table(lake: Lake, writers: AbstractContextManager[Any], role: str, table: pa.Table, bounds: Bounds | None, properties: dict[str, Any]) -> Part:
    with lake.scratch(".parquet") as path:
        with writers, storage_errors(f"Writing the {role.replace(':', ' ')} of a layer", path.parent):
            pq.write_table(table, path, compression="zstd", compression_level=3, row_group_size=meshes.rows_a_group(role, table))
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
    bare = replace(version, parts=(), report={})  # ids that updates left hidden are thousands, as notes may be, and `asdict` would look into each
    value = {**asdict(bare), "report": version.report, "parts": [{**asdict(replace(part, hidden=())), "hidden": part.hidden} for part in version.parts]}
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
