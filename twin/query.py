"""Ask a layer: how many features, which of them touch a box, one by its id.

DuckDB (memory, thread and time caps; nothing but the lake's own folder is readable; no extension is fetched) finds the
row numbers, by the bbox column that every features part carries; the rows themselves are then read row group by row
group. A box is tested twice: roughly in the layer's CRS, where the columns are, and then exactly in WGS 84, where the
question was asked and where the answer is drawn. Rows keep the order of their parts, so paging is stable.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import shapely
from numpy.typing import NDArray

from twin import cql2, crs, sorting
from twin.cql2 import Filter
from twin.errors import BadFeature, BadOption, NotFound, OverLimit, brief
from twin.lake import Lake
from twin.model import ABOVE_GROUND, ELLIPSOID, Bounds, Features, LayerVersion, Part, Reference
from twin.parts import RESERVED
from twin.sorting import Key

I64 = NDArray[np.int64]
MAX_LIMIT = 10_000
_EARTH_RADIUS = 6_371_000.0


@dataclass(frozen=True, slots=True)
class Caps:
    """What one query may use: memory in MB (of DuckDB), threads, seconds."""

    memory_mb: int = 512
    threads: int = 2
    seconds: float = 30.0


@dataclass(frozen=True, slots=True)
class ItemPage:
    """Some of the features that matched.

    Attributes:
        features: in the layer's own reference (`to_wgs84` converts), in stable order.
        matched: how many features match the whole query.
        offset: how many matching features precede the first one here.
    """

    features: Features
    matched: int
    offset: int


@dataclass(frozen=True, slots=True)
class OwnBox:
    """A box whose sides run along the layer's own coordinates (easting or longitude first), not along meridians."""

    bounds: Bounds


Box = Bounds | OwnBox


def items(
    lake: Lake, version: LayerVersion, bbox: Box | None = None, *, limit: int = 10, offset: int = 0,
    columns: list[str] | None = None, where: Filter | None = None, sort: tuple[Key, ...] = (), caps: Caps = Caps(),
) -> ItemPage:  # fmt: skip
    """A page of a layer's features.

    Args:
        lake: where the version's parts are.
        version: what is asked.
        bbox: WGS 84 longitude/latitude degrees; `minx > maxx` crosses the antimeridian. Features without geometry
            touch no box. With `minz`, `maxz` (metres above the ellipsoid): what also reaches into these heights; what has none does not.
        limit: at most `MAX_LIMIT` features.
        offset: how many matching features to pass over.
        columns: attributes to read; all when None.
        where: a CQL2 filter (`filter_of`) that the features must match as well.
        sort: in which order (`sort_of`); what is equal, or all without it, comes in the stable order of the layer.
        caps: what the query may use.

    Raises:
        BadOption: a limit, offset, box or column that cannot be.
        BadFeature: the layer holds no features (a raster, a terrain, a point cloud).
        OverLimit: the query needs more time or memory than `caps` allows.
    """
    if not 1 <= limit <= MAX_LIMIT:
        raise BadOption(f"limit: {limit} is not between 1 and {MAX_LIMIT}.")
    if offset < 0:
        raise BadOption(f"offset: {offset} is negative.")
    rows = _matching(lake, version, bbox, where, caps)
    if sort:
        rows = _sorted(lake, version, rows, bbox, where, sort, caps)
    page = rows[offset : offset + limit]
    ascending = np.argsort(page)
    found = _read(lake, version, page[ascending], columns)
    return ItemPage(_reordered(found, np.argsort(ascending)) if sort else found, len(rows), offset)


def count(lake: Lake, version: LayerVersion, bbox: Box | None = None, where: Filter | None = None, caps: Caps = Caps()) -> int:
    """How many features touch a box and match a filter (all features when None); see `items`."""
    return len(_matching(lake, version, bbox, where, caps))


def columns_of(lake: Lake, version: LayerVersion) -> dict[str, pa.DataType]:
    """The columns that a filter may name, with their types: id, parent and the layer's own.

    Raises:
        BadFeature: the layer holds no features.
    """
    schema = pq.read_schema(lake.path(_feature_parts(version)[0].key))
    names = ["id", "parent", *(name for name in schema.names if name not in RESERVED)]
    return {name: schema.field(name).type for name in names}


def filter_of(lake: Lake, version: LayerVersion, text: str, language: str = "cql2-text") -> Filter:
    """A CQL2 filter for a layer.

    Raises:
        BadOption: it is no CQL2, or does not fit the layer's columns (see `twin.cql2`).
        BadFeature: the layer holds no features.
    """
    return cql2.parse(text, columns_of(lake, version), language)


def sort_of(lake: Lake, version: LayerVersion, text: str) -> tuple[Key, ...]:
    """An order for a layer (`+a,-b`).

    Raises:
        BadOption: it names what cannot be sorted by (see `twin.sorting`).
        BadFeature: the layer holds no features.
    """
    return sorting.parse(text, columns_of(lake, version))


def scan(
    lake: Lake, version: LayerVersion, columns: list[str], bbox: Box | None = None, where: Filter | None = None, caps: Caps = Caps()
) -> Iterator[pa.Table]:
    """Columns of all matching features, a row group at a time: for statistics over more rows than a page holds.

    Raises:
        As `items`.
    """
    yield from _columns(lake, version, _matching(lake, version, bbox, where, caps), columns, caps)


def _columns(lake: Lake, version: LayerVersion, rows: I64, columns: list[str], caps: Caps) -> Iterator[pa.Table]:
    """Columns of numbered rows (ascending), a row group at a time."""
    late = time.monotonic() + caps.seconds
    start = 0
    for part in _feature_parts(version):
        here = rows[(rows >= start) & (rows < start + part.count)] - start
        for _, table in _take(lake, part, here, columns):
            _in_time(late, caps)
            yield table
        start += part.count


def item(lake: Lake, version: LayerVersion, identity: str, columns: list[str] | None = None, caps: Caps = Caps()) -> Features:
    """One feature by its id, in the layer's own reference.

    Raises:
        NotFound: the version shows no feature of this id.
        BadFeature, OverLimit: as in `items`.
    """
    start = 0
    for part in _feature_parts(version):
        if identity not in version.tombstones and identity not in part.hidden:
            rows = _run(lake, caps, "SELECT file_row_number FROM read_parquet($path, file_row_number=true) WHERE id = $id",
                        {"path": str(lake.path(part.key)), "id": identity})  # fmt: skip
            if len(rows):
                return _read(lake, version, rows[:1] + start, columns)
        start += part.count
    raise NotFound(f"Layer {version.layer!r} has no feature {brief(identity)!r}.")


def to_wgs84(features: Features) -> Features:
    """Features in WGS 84 longitude/latitude, as RFC 7946 wants them.

    Absolute heights become metres above the ellipsoid. Heights that are not absolute (above ground, or of an unnamed
    datum) are no positions: geometries become flat, and `reference.vertical` of the result says so by being "".
    """
    reference = features.reference
    absolute = reference.vertical not in ("", ABOVE_GROUND)
    if not absolute:
        geometry = shapely.transform(shapely.force_2d(features.geometry), lambda xy: _lonlat(reference, xy))
        return Features(Reference("EPSG:4326"), features.ids, geometry, features.attributes, features.parents)
    geometry = features.geometry.copy()
    high = shapely.has_z(geometry)
    if high.any():
        # a height that is not a number has no place in JSON: such a geometry is drawn flat
        z, owner = shapely.get_coordinates(geometry[high], include_z=True, return_index=True)
        high[np.flatnonzero(high)[np.unique(owner[~np.isfinite(z[:, 2])])]] = False
    if high.any():
        geometry[high] = shapely.transform(features.geometry[high], lambda xyz: crs.to_geodetic(reference, xyz), include_z=True)
    geometry[~high] = shapely.transform(shapely.force_2d(features.geometry[~high]), lambda xy: _lonlat(reference, xy))
    return Features(Reference("EPSG:4326", ELLIPSOID), features.ids, geometry, features.attributes, features.parents)


def _lonlat(reference: Reference, xy: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.column_stack(crs.to_lonlat(reference.horizontal, xy[:, 0], xy[:, 1]))


# --- which rows ------------------------------------------------------------------------------------------------------
# A row is numbered through all features parts of a version, in their order.


def _feature_parts(version: LayerVersion) -> list[Part]:
    found = [part for part in version.parts if part.role == "features"]
    if not found:
        raise BadFeature(f"Layer {version.layer!r} ({version.kind}) holds no features to query.")
    return found


def _matching(lake: Lake, version: LayerVersion, bbox: Box | None, where: Filter | None, caps: Caps) -> I64:
    """Numbers of all rows that match, ascending."""
    parts = tuple(_feature_parts(version))
    if bbox is None and where is None and not version.tombstones and not any(part.hidden for part in parts):
        return np.arange(sum(part.count for part in parts), dtype=np.int64)
    if isinstance(bbox, Bounds):
        _check_box(bbox)
    key = _key(lake, version, bbox, where)
    found = _recent.get(key)
    if found is None:
        box = bbox if bbox is not None or where is None else where.box
        found = np.concatenate(list(_scan(lake, version, parts, box, caps)))
        if where is not None:
            found = _filter(lake, version, parts, found, where, caps)
        _recent.put(key, found)
    return found


def _key(lake: Lake, version: LayerVersion, bbox: Box | None, where: Filter | None) -> tuple[Any, ...]:
    """What an answer depends on."""
    return str(lake.root), tuple((part.key, part.hidden) for part in _feature_parts(version)), version.tombstones, bbox, where.key if where else None


def _sorted(lake: Lake, version: LayerVersion, rows: I64, bbox: Box | None, where: Filter | None, sort: tuple[Key, ...], caps: Caps) -> I64:
    """All rows that match, in the order asked for; kept for the next page."""
    key = (*_key(lake, version, bbox, where), sort)
    found = _recent.get(key)
    if found is None:
        found = rows[sorting.order(_columns(lake, version, rows, [one.name for one in sort], caps), sort, caps.memory_mb << 20)]
        _recent.put(key, found)
    return found


def _filter(lake: Lake, version: LayerVersion, parts: tuple[Part, ...], rows: I64, where: Filter, caps: Caps) -> I64:
    """Those of the rows that match a filter."""
    late = time.monotonic() + caps.seconds
    kept, start = [rows[:0]], 0
    columns = [*(where.columns or ("id",)), *(["geometry"] if where.spatial else [])]
    for part in parts:
        here = rows[(rows >= start) & (rows < start + part.count)] - start
        for numbers, table in _take(lake, part, here, columns):
            _in_time(late, caps)
            shapes = None
            if where.spatial:
                geometry = shapely.force_2d(shapely.from_wkb(table.column("geometry").to_numpy(zero_copy_only=False)))
                shapes = shapely.transform(geometry, lambda xy: _lonlat(version.reference, xy))
            kept.append(numbers[where.mask(table, shapes)] + start)
        start += part.count
    return np.concatenate(kept)


def _in_time(late: float, caps: Caps) -> None:
    if time.monotonic() > late:
        raise OverLimit(f"The query took more than {caps.seconds:g} s.", "Ask for a smaller area.")


class _Recent:
    """The last answers, so that reading a result page by page searches once. Versions are immutable: nothing goes stale."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._lock = threading.Lock()
        self._held: dict[Any, I64] = {}

    def get(self, key: Any) -> I64 | None:
        with self._lock:
            found = self._held.pop(key, None)
            if found is not None:
                self._held[key] = found
            return found

    def put(self, key: Any, rows: I64) -> None:
        with self._lock:
            self._held[key] = rows
            while len(self._held) > self._size:
                del self._held[next(iter(self._held))]


_recent = _Recent(8)


def _scan(lake: Lake, version: LayerVersion, parts: tuple[Part, ...], bbox: Box | None, caps: Caps) -> Iterator[I64]:
    boxes = [bbox] if isinstance(bbox, OwnBox) else [] if bbox is None else _halves(bbox)
    start = 0
    for part in parts:
        if bbox is None:
            rows = _living(lake, part, version, caps)
        else:
            found = [_touching(lake, part, version, box, caps) for box in boxes]
            rows = found[0] if len(found) == 1 else np.unique(np.concatenate(found))
        yield rows + start
        start += part.count


def _living(lake: Lake, part: Part, version: LayerVersion, caps: Caps) -> I64:
    return np.sort(_run(lake, caps, f"SELECT file_row_number FROM read_parquet($path, file_row_number=true) WHERE {_ALIVE}",
                        {"path": str(lake.path(part.key)), "dead": [*version.tombstones, *part.hidden]}))  # fmt: skip


_ALIVE = "id NOT IN (SELECT unnest($dead::VARCHAR[]))"
_OVERLAP = "bbox.xmin <= $x1 AND bbox.xmax >= $x0 AND bbox.ymin <= $y1 AND bbox.ymax >= $y0"
_WITHIN = "bbox.xmin >= $ix0 AND bbox.xmax <= $ix1 AND bbox.ymin >= $iy0 AND bbox.ymax <= $iy1"


def _touching(lake: Lake, part: Part, version: LayerVersion, box: Box, caps: Caps) -> I64:
    """Rows of a part whose geometry meets the box (west ≤ east)."""
    around = _about(box.bounds) if isinstance(box, OwnBox) else _in_layer_crs(version, box)
    if around is None or part.bounds is None or not _overlap(around[0], part.bounds):
        return np.zeros(0, np.int64)
    outer, inner = around
    values: dict[str, Any] = {
        "path": str(lake.path(part.key)), "x0": outer.minx, "y0": outer.miny, "x1": outer.maxx, "y1": outer.maxy,
        "ix0": inner.minx, "iy0": inner.miny, "ix1": inner.maxx, "iy1": inner.maxy,
    }  # fmt: skip
    alive = ""
    if version.tombstones or part.hidden:
        alive, values["dead"] = f"AND {_ALIVE}", [*version.tombstones, *part.hidden]
    # the sign carries the answer: a row certainly inside is ≥ 0, a row still to be tested is -1 - row
    rows = _run(lake, caps, f"SELECT CASE WHEN {_WITHIN} THEN file_row_number ELSE -1 - file_row_number END "
                            f"FROM read_parquet($path, file_row_number=true) WHERE {_OVERLAP} {alive}", values)  # fmt: skip
    sure, open_rows = rows[rows >= 0], np.sort(-1 - rows[rows < 0])
    kept = [sure]
    bounds = box.bounds if isinstance(box, OwnBox) else box
    target = _shape(bounds)
    for numbers, table in _take(lake, part, open_rows, ["geometry"]):
        geometry = shapely.from_wkb(table.column("geometry").to_numpy(zero_copy_only=False))
        there = shapely.force_2d(geometry)
        if not isinstance(box, OwnBox):
            there = shapely.transform(there, lambda xy: _lonlat(version.reference, xy))
        hit = shapely.intersects(there, target)
        if np.isfinite(bounds.minz):
            hit[hit] = _reaches(version.reference, geometry[hit], bounds)
        kept.append(numbers[hit])
    return np.sort(np.concatenate(kept))


def _reaches(reference: Reference, geometry: NDArray[np.object_], box: Bounds) -> NDArray[np.bool_]:
    """Which geometries reach into the heights of a box, from their lowest vertex to their highest; those without heights do not."""
    xyz, owner = shapely.get_coordinates(geometry, include_z=True, return_index=True)
    heights = crs.to_geodetic(reference, xyz)[:, 2]
    low, high = np.full(len(geometry), np.inf), np.full(len(geometry), -np.inf)
    np.fmin.at(low, owner, heights)
    np.fmax.at(high, owner, heights)
    return np.asarray((low <= box.maxz) & (high >= box.minz))


# --- boxes -----------------------------------------------------------------------------------------------------------


def _check_box(box: Bounds) -> None:
    values = (box.minx, box.miny, box.maxx, box.maxy)
    if not np.isfinite(values).all():
        raise BadOption("bbox: every number must be finite.")
    if not (-180 <= box.minx <= 180 and -180 <= box.maxx <= 180 and -90 <= box.miny <= 90 and -90 <= box.maxy <= 90):
        raise BadOption("bbox: west and east must be within ±180°, south and north within ±90°.", "The order is west,south,east,north.")
    if box.miny > box.maxy:
        raise BadOption(f"bbox: south {box.miny:g} lies above north {box.maxy:g}.", "The order is west,south,east,north.")


def _halves(box: Bounds) -> list[Bounds]:
    """The box, or its two halves where it crosses the antimeridian."""
    if box.minx <= box.maxx:
        return [box]
    return [replace(box, maxx=180.0), replace(box, minx=-180.0)]


_NOWHERE = Bounds(np.inf, np.inf, -np.inf, -np.inf)


def _about(box: Bounds) -> tuple[Bounds, Bounds]:
    """As `_in_layer_crs`, of a box in the layer's own coordinates: the columns may hold rounded numbers, so what is near a side is tested."""
    near = 1e-6 * max(abs(box.minx), abs(box.miny), abs(box.maxx), abs(box.maxy))
    return (Bounds(box.minx - near, box.miny - near, box.maxx + near, box.maxy + near),
            Bounds(box.minx + near, box.miny + near, box.maxx - near, box.maxy - near))  # fmt: skip


def _shape(box: Bounds) -> shapely.Geometry:
    """The box as a geometry; a box without area is a line or a point (a polygon without area meets nothing)."""
    if box.minx == box.maxx and box.miny == box.maxy:
        return shapely.Point(box.minx, box.miny)
    if box.minx == box.maxx or box.miny == box.maxy:
        return shapely.LineString([(box.minx, box.miny), (box.maxx, box.maxy)])
    return shapely.box(box.minx, box.miny, box.maxx, box.maxy)


def _overlap(a: Bounds, b: Bounds) -> bool:
    return a.minx <= b.maxx and a.maxx >= b.minx and a.miny <= b.maxy and a.maxy >= b.miny


def _in_layer_crs(version: LayerVersion, box: Bounds) -> tuple[Bounds, Bounds] | None:
    """(a box in the layer's CRS around everything that may touch, a box in which everything does), or None: nothing touches.

    The question is first cut to the layer's extent, so that no projection is used far outside its domain. The sides are
    densified. What bends between two vertices (a straight side in one system is an arc in the other) stays within
    D² / 8R · max(1, tan latitude) for a length D, so the outer box grows and the inner one shrinks by that much.
    """
    extent = version.extent
    if extent is None:
        return None
    slack_x, slack_y = (extent.maxx - extent.minx) * 1e-3 + 1e-6, (extent.maxy - extent.miny) * 1e-3 + 1e-6
    near = Bounds(max(box.minx, extent.minx - slack_x), max(box.miny, extent.miny - slack_y),
                  min(box.maxx, extent.maxx + slack_x), min(box.maxy, extent.maxy + slack_y))  # fmt: skip
    if near.minx > near.maxx or near.miny > near.maxy:
        return None
    t = np.linspace(0.0, 1.0, 21)
    lon, lat = near.minx + t * (near.maxx - near.minx), near.miny + t * (near.maxy - near.miny)
    sides = {
        "w": crs.from_lonlat(version.reference.horizontal, np.full(21, near.minx), lat),
        "e": crs.from_lonlat(version.reference.horizontal, np.full(21, near.maxx), lat),
        "s": crs.from_lonlat(version.reference.horizontal, lon, np.full(21, near.miny)),
        "n": crs.from_lonlat(version.reference.horizontal, lon, np.full(21, near.maxy)),
    }
    x, y = (np.concatenate([sides[side][axis] for side in "wesn"]) for axis in (0, 1))
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        everything = Bounds.union(part.bounds for part in version.parts if part.bounds is not None)
        return everything, _NOWHERE
    outer_pad = _bend(version, max(extent.maxx - extent.minx, extent.maxy - extent.miny), near)
    inner_pad = _bend(version, max(near.maxx - near.minx, near.maxy - near.miny), near)
    outer = Bounds(float(x.min()) - outer_pad, float(y.min()) - outer_pad, float(x.max()) + outer_pad, float(y.max()) + outer_pad)
    inner = Bounds(float(sides["w"][0].max()) + inner_pad, float(sides["s"][1].max()) + inner_pad,
                   float(sides["e"][0].min()) - inner_pad, float(sides["n"][1].min()) - inner_pad)  # fmt: skip
    return outer, inner if np.isnan(box.minz) else _NOWHERE  # heights are in no column: all are looked at


def _bend(version: LayerVersion, degrees: float, near: Bounds) -> float:
    """How far a line over `degrees` may bend between the layer's CRS and WGS 84, in units of the layer's CRS."""
    system = crs.crs_of(version.reference.horizontal)
    if system.is_geographic:
        return 1e-7
    unit = system.axis_info[0].unit_conversion_factor if system.axis_info else 1.0
    length = np.radians(degrees) * _EARTH_RADIUS * np.sqrt(2.0)
    steep = np.tan(np.radians(min(max(abs(near.miny), abs(near.maxy)), 89.0)))
    return float((length**2 / (8 * _EARTH_RADIUS) * max(1.0, steep) + 0.01) / unit)


# --- rows ------------------------------------------------------------------------------------------------------------


def _read(lake: Lake, version: LayerVersion, rows: I64, columns: list[str] | None) -> Features:
    """The features of numbered rows (ascending)."""
    parts = _feature_parts(version)
    names = _names(lake, parts[0], version, columns)
    tables: list[pa.Table] = []
    start = 0
    for part in parts:
        here = rows[(rows >= start) & (rows < start + part.count)] - start
        tables.extend(table for _, table in _take(lake, part, here, ["id", "parent", *names, "geometry"]))
        start += part.count
    if not tables:
        schema = pq.read_schema(lake.path(parts[0].key))
        tables = [pa.schema([schema.field(name) for name in ["id", "parent", *names, "geometry"]]).empty_table()]
    table = pa.concat_tables(tables).combine_chunks()
    geometry = shapely.from_wkb(np.asarray(table.column("geometry").to_numpy(), dtype=object))
    return Features(version.reference, _flat(table.column("id")), np.atleast_1d(geometry), table.select(names), _flat(table.column("parent")))


def _reordered(features: Features, order: I64) -> Features:
    """Features by position."""
    at = pa.array(order)
    parents = None if features.parents is None else features.parents.take(at)
    # of a table without columns `take` forgets the number of rows, which nobody asks it for
    return replace(features, ids=features.ids.take(at), geometry=features.geometry[order], attributes=features.attributes.take(at), parents=parents)


def _flat(column: pa.ChunkedArray) -> pa.Array:
    return pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)


def _names(lake: Lake, part: Part, version: LayerVersion, columns: list[str] | None) -> list[str]:
    stored = [name for name in pq.read_schema(lake.path(part.key)).names if name not in RESERVED]
    for name in columns or []:
        if name not in stored:
            raise BadOption(f"Layer {version.layer!r} has no column {name!r}.", f"It has: {', '.join(stored) or 'none'}.")
    return stored if columns is None else list(dict.fromkeys(columns))


def _take(lake: Lake, part: Part, rows: I64, columns: list[str]) -> Iterator[tuple[I64, pa.Table]]:
    """Rows of a part by number (ascending), one row group at a time, with their numbers."""
    if not len(rows):
        return
    with pq.ParquetFile(lake.path(part.key)) as file:
        start = 0
        for group in range(file.num_row_groups):
            size = file.metadata.row_group(group).num_rows
            here = rows[(rows >= start) & (rows < start + size)]
            if len(here):
                yield here, file.read_row_group(group, columns=columns).take(pa.array(here - start))
            start += size


# --- the engine ------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=8)
def _database(root: str, memory_mb: int, threads: int) -> duckdb.DuckDBPyConnection:
    """A database in memory that can read one folder and nothing else."""
    connection = duckdb.connect(":memory:", config={
        "memory_limit": f"{memory_mb}MB", "threads": threads, "autoinstall_known_extensions": False, "autoload_known_extensions": False,
        "temp_directory": "",
    })  # fmt: skip
    quoted = root.replace("'", "''")
    for setting in ("enable_geoparquet_conversion = false", "parquet_metadata_cache = true", f"allowed_directories = ['{quoted}']",
                    "enable_external_access = false", "lock_configuration = true"):  # fmt: skip
        connection.execute(f"SET {setting}")
    return connection


def _run(lake: Lake, caps: Caps, sql: str, values: dict[str, Any]) -> I64:
    """The single integer column that a statement yields."""
    cursor = _database(str(lake.root), caps.memory_mb, caps.threads).cursor()
    late = threading.Timer(caps.seconds, cursor.interrupt)
    late.daemon = True
    late.start()
    try:
        column = cursor.execute(sql, values).fetchnumpy()
    except duckdb.InterruptException as error:
        raise OverLimit(f"The query took more than {caps.seconds:g} s.", "Ask for a smaller area.") from error
    except duckdb.OutOfMemoryException as error:
        raise OverLimit(f"The query needs more than {caps.memory_mb} MB.", "Ask for a smaller area.") from error
    finally:
        late.cancel()
        cursor.close()
    return np.asarray(next(iter(column.values())), dtype=np.int64)
