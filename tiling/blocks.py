"""Building footprints → block models (CIM2 白模): closed solids on the terrain, one feature id and one table row a building.

Two passes over the layer's rows: the first looks at places, sizes and what the columns hold (`tiling.anchors`), the plan
puts every building in one tile, and the second builds the tiles in coarse units, over processes, streamed into the archive
in order. Tiles that the last build made of the same features are copied from it (`tiling.reuse`, ADR 0006). Every corner
is transformed on its own (law 4); walls are plumb.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import shapely
from numpy.typing import NDArray
from pydantic import Field

from tiling import implicit, metadata, partition, solids
from tiling.anchors import Anchors, Look, look, numbers
from tiling.boxes import enu_frames
from tiling.gltf import Compression, Primitive, Surface, extremes, glb
from tiling.pool import Pool
from tiling.reuse import LEDGER, Ledger, Past, Spoilt, common_key, tile_key
from tiling.rows import Rows
from tiling.tileset import Finished, Tile, dump, tileset
from twin import crs, registry
from twin.archive import ArchiveWriter, Packed, pack
from twin.errors import BadFeature, MissingReference
from twin.ground import Ground
from twin.model import ABOVE_GROUND, LayerVersion, Reference, Report
from twin.registry import TileJob

F64 = NDArray[np.float64]
CODE_VERSION = "3"
ABSENCE = 4.0
"""A thing that is missing is noticed at a quarter of the 16 pixels that clients allow a surface to be off, so a missing
building of size s counts as an error of 4 s (ADR 0003)."""
SPLIT = 8_000.0
"""Metres: a tile that is wider than float32 can hold is cut into primitives of this size."""
_GROUND_CELL = 0.02
"""Degrees: the terrain is read in windows of about this size, so that a city-wide tile never loads a city-wide raster."""
ALONE = 20_000
"""Rows up to which one process is faster than several."""
BY_HAND = 262_144
"""Rows that are kept at hand where only some tiles are built: those that went lie in the row groups of the tiles that they left."""
UNIT = 32
"""Budgets of weight in a unit of work, as far as it comes to no more than `UNIT_WEIGHT` vertices (some 50 MB)."""
UNIT_WEIGHT = 512_000
_NO_ROWS = np.zeros(0, np.int64)
SURFACE = Surface((0.86, 0.85, 0.83, 1.0), name="block")


class Options(registry.Options):
    """How blocks are tiled."""

    ground: float | None = Field(None, description="Ellipsoidal height in metres of the ground where there is no terrain.")
    budget: int = Field(16_000, ge=100, le=1_000_000, description="Vertices that a leaf tile may hold.")
    in_memory: int = Field(partition.LIMIT, ge=1, description="Buildings whose places are held in memory at a time; the tiles do not depend on it.")
    compression: Compression = Field("meshopt", description="EXT_meshopt_compression of triangles, or none for clients without it.")
    subdivision: implicit.Subdivision = Field("explicit", description="How the tree is written: explicit in tileset.json, or implicit in subtrees.")


Wanted = tuple[str, tuple[float, float], NDArray[np.int64]]
"""A tile to be built: its name, the middle of its cell (degrees), its rows."""


@dataclass(frozen=True)
class Source:
    """What a worker needs of the layer and the options."""

    rows: Rows
    reference: Reference
    height: str
    base: str | None
    ground: Ground | None
    level: float | None
    compression: Compression = "none"


def tile(version: LayerVersion, job: TileJob) -> dict[str, Any]:
    """Write the layer's tileset to `job.out`; see the contract in `tiling`.

    Raises:
        BadFeature: no height column, or no building could be built.
        MissingReference: neither terrain, nor base heights, nor `ground` say where the blocks stand.
    """
    source = _source(version, job)
    if job.options.subdivision == "implicit":  # that archive is rewritten afterwards: its tiles are in other frames
        job = replace(job, previous=None)
    past = Past(job)
    try:
        return _build(version, job, source, past)
    except Spoilt as error:
        past.forget(f"The tiles of the version before cannot be used ({error}); all were made anew.")
        return _build(version, job, source, past)
    finally:
        past.close()


def _build(version: LayerVersion, job: TileJob, source: Source, past: Past) -> dict[str, Any]:
    report = Report(source=version.layer)
    if past.archives:
        source.rows.held = BY_HAND
    if past.trouble:
        report.note("warned", "", past.trouble)
    with Pool(job.workers if len(source.rows) > ALONE else 1) as pool:
        job.progress(0.0, "measuring buildings")
        anchors = look(Look(source.rows, source.reference, source.height), job.lake, past, pool)
        report.read = anchors.read
        for feature, reason in anchors.refused:
            report.note("refused", feature, reason)
        surveys = anchors.census.columns
        names = [n for n in surveys if n != "parent" or surveys[n].nulls < surveys[n].rows]
        schema = metadata.plan(version.layer, _arrow(source.rows, names), surveys, version.columns)
        cells: list[partition.Cell] = []
        ledger = Ledger(notes=anchors.notes)
        with ArchiveWriter(job.out) as archive:
            built = _write(job, source, schema, anchors, past, pool, archive, cells, ledger, report)
            report.kept = sum(one.kept for one in built)
            if not report.kept:
                reasons = " ".join(f"{n.feature}: {n.reason}." for n in report.notes[:3])
                raise BadFeature(f"Layer {version.layer}: no building could be built. {reasons}", "Check heights, outlines and terrain.")
            largest = max(float(one.shown().size.max(initial=0.0)) for one in anchors.places)
            told: dict[str, Any] = {"schema": schema.to_json(), "statistics": schema.statistics(surveys), "about": job.about}
            document = tileset(_tree(cells, built), error=ABSENCE * largest, **told)
            archive.add("tileset.json", dump(document))
            size_now = archive.size
        sidecars = anchors.sidecars | {LEDGER: ledger.save(job.lake)}
        if job.options.subdivision == "implicit":
            document, size_now = implicit.rewrite(job.out, implicit.mercator())
        job.progress(1.0, "done")
        return _facts(document, built, report, size_now) | {"sidecars": sidecars}


def _write(
    job: TileJob, source: Source, schema: metadata.Schema, anchors: Anchors, past: Past, pool: Pool, archive: ArchiveWriter,
    cells: list[partition.Cell], ledger: Ledger, report: Report,
) -> list[Finished]:  # fmt: skip
    """All tiles into the archive, in the order of the plan: those of the last build are copied, the others are built. Fills `cells`, `ledger`, `report`."""
    common = common_key(_depends(source, schema))
    known: deque[tuple[str, bytes, tuple[Finished, int] | None]] = deque()
    total = sum(len(one) - len(one.gone) for one in anchors.places) or 1
    copies: dict[str, int] = {}
    built: list[Finished] = []
    done = 0

    def tasks() -> Iterator[tuple[Source, metadata.Schema, list[Wanted]]]:
        unit: list[Wanted] = []
        weight = 0.0
        for cell in partition.stream(anchors.places, budget=job.options.budget, share=job.options.budget / 3, limit=job.options.in_memory):
            name = cell.name
            key = tile_key(common, name, cell.mark)
            old = past.find(name, key)
            known.append((name, key, old))
            cells.append(partition.Cell(cell.level, cell.x, cell.y, _NO_ROWS, cell.parent, cell.error))
            if old is None:
                unit.append((name, cell.centre(), cell.rows))
                weight += cell.weight
            if weight >= min(UNIT * job.options.budget, max(UNIT_WEIGHT, job.options.budget)):
                yield source, schema, unit
                unit, weight = [], 0.0
        if unit:
            yield source, schema, unit

    def copy() -> None:
        """What is to be copied, up to the next tile that is built."""
        while known and known[0][2] is not None:
            name, key, (one, check) = known.popleft()  # type: ignore[misc]
            if one.packed is not None:
                copies[f"{name}.glb"] = check
            enter(name, key, check, one)
        past.copy(archive, copies)
        copies.clear()

    def enter(name: str, key: bytes, check: int, one: Finished) -> None:
        for action, feature, reason in one.notes:
            report.note(action, feature, reason)  # type: ignore[arg-type]
        ledger.add(name, key, check, one)
        built.append(one)

    for unit in pool.map(build_unit, tasks()):
        for one in unit:
            copy()
            name, key, _ = known.popleft()
            check = 0
            if one.packed is not None:
                check = one.packed.check
                archive.add_packed(f"{name}.glb", one.packed)
                one.packed = Packed(b"", 0, one.packed.size, False)
            enter(name, key, check, one)
        done = sum(one.kept for one in built)
        job.progress(0.1 + 0.88 * min(1.0, done / total), f"building tiles ({len(built)})")
    copy()
    return built


def _depends(source: Source, schema: metadata.Schema) -> dict[str, Any]:
    """What every tile's bytes depend on besides its place and its features."""
    fields = [asdict(replace(f, values=())) for f in schema.fields]  # a tile lists only the values that occur in it
    return {
        "code": CODE_VERSION, "class": [schema.class_id, schema.name], "fields": fields, "reference": asdict(source.reference), "height": source.height,
        "base": source.base, "ground": source.ground.key if source.ground else None, "level": source.level, "compression": source.compression,
    }  # fmt: skip


def _facts(document: dict[str, Any], built: list[Finished], report: Report, size: int) -> dict[str, Any]:
    drawn = [one for one in built if one.packed is not None]
    root = document["root"]
    return {
        "entry": "tileset.json", "tiles": len(drawn), "bytes": size,
        "heights": [min(one.heights[0] for one in drawn), max(one.heights[1] for one in drawn)],
        "root": {key: root[key] for key in ("boundingVolume", "geometricError", "transform") if key in root},
        "stats": {"features": report.kept, "vertices": sum(o.vertices for o in drawn), "triangles": sum(o.triangles for o in drawn),
                  "raw_bytes": sum(o.packed.size for o in drawn if o.packed)},
        "report": report.to_json(),
    }  # fmt: skip


def _source(version: LayerVersion, job: TileJob) -> Source:
    style, names = version.style, {column.name for column in version.columns}
    height, base = str(style.get("height", "height")), style.get("base")
    if height not in names:
        raise BadFeature(f"Layer {version.layer} has no column {height!r} of heights.", "Ingest it with --reader footprints --option height=COLUMN.")
    if base is not None and version.reference.vertical in ("", ABOVE_GROUND):
        raise MissingReference(f"Layer {version.layer}: base heights without a vertical datum.", "Ingest it again with --vertical.")
    if base is None and job.ground is None and job.options.ground is None:
        raise MissingReference(
            f"Layer {version.layer}: nothing says how high the ground is under these buildings.",
            "Ingest a terrain first, or give --option ground=METRES (ellipsoidal), or ingest with a base column.",
        )
    return Source(Rows.of(job.lake, version), version.reference, height, base, job.ground, job.options.ground, compression=job.options.compression)


def _arrow(rows: Rows, names: list[str]) -> pa.Schema:
    whole = rows.schema()
    return pa.schema([whole.field(name) for name in ["id", *(n for n in names if n != "id")]])


def _tree(cells: list[partition.Cell], built: list[Finished]) -> list[Tile]:
    side = np.exp2(np.array([cell.level for cell in cells]))
    lon, lat = partition.unproject(*((np.array([getattr(cell, axis) for cell in cells]) + 0.5) / side for axis in "xy"))
    return [
        Tile(frame, ABSENCE * cell.error, cell.parent, one.low, one.high, f"{cell.name}.glb" if one.packed else None)
        for frame, cell, one in zip(enu_frames(lon, lat), cells, built, strict=True)
    ]


# --- building -------------------------------------------------------------------------------------------------


def build_unit(task: tuple[Source, metadata.Schema, list[Wanted]]) -> list[Finished]:
    """The tiles of one unit of work, finished and deflated.

    Outlines become solids for all tiles at once. Nothing of a tile may depend on its unit: a tile that is built alone has the same bytes.
    """
    source, schema, wanted = task
    table = source.rows.take(np.concatenate([rows for _, _, rows in wanted]))
    first = np.concatenate([[0], np.cumsum([len(rows) for _, _, rows in wanted])])
    geometry = shapely.from_wkb(table.column("geometry").to_numpy(zero_copy_only=False))
    rings, xy = solids.rings_of(geometry)
    lon, lat = crs.to_lonlat(source.reference.horizontal, xy[:, 0], xy[:, 1])
    owner = rings.owner[rings.polygon[rings.ring]]
    height = numbers(table, source.height)
    foot = _feet(source, table, geometry, owner, lon, lat)
    base, up = np.empty((len(lon), 3)), np.empty((len(lon), 3))
    corner = np.searchsorted(owner, first)
    for tile_, (_, centre, _) in enumerate(wanted):
        mine = slice(corner[tile_], corner[tile_ + 1])
        base[mine], up[mine] = _corners(lon[mine], lat[mine], foot[owner[mine]], crs.enu_frame(*centre))
    usable = np.isfinite(base).all(axis=1) & np.isfinite(height[owner])
    # a row with one unusable corner is refused whole: half a building would be a lie
    spoilt = np.zeros(len(table), bool)
    spoilt[owner[~usable]] = True
    whole = ~spoilt[owner]
    before = np.bincount(rings.owner, minlength=len(table))
    rings, order = solids.clean(_subset(rings, whole), base[whole, :2])
    base, up = base[whole][order], up[whole][order]
    lost = before - np.bincount(rings.owner, minlength=len(table))
    shape = solids.extrude(rings, base, base + up * height[rings.owner[rings.polygon[rings.ring]]][:, None], up)
    made = Made(table, foot, foot + height, spoilt, before, lost, rings.owner, shape)
    return [build_tile(source, schema, made, int(a), int(b)) for a, b in pairwise(first)]


@dataclass(frozen=True)
class Made:
    """Solids of the rows of a unit.

    Attributes:
        table: the rows. foot, top: ellipsoidal heights in metres. spoilt: whether a corner cannot be used.
        before, lost: how many parts a row had, and how many of them are nothing.
        owner: the row of each solid of `shape`, ascending.
    """

    table: pa.Table
    foot: F64
    top: F64
    spoilt: NDArray[np.bool_]
    before: NDArray[Any]
    lost: NDArray[Any]
    owner: NDArray[np.int64]
    shape: solids.Solids

    def solids_of(self, a: int, b: int) -> tuple[solids.Solids, NDArray[np.int64]]:
        """(the solids of rows a to b, numbered from 0; the row of each, numbered from a)."""
        polygons = slice(*np.searchsorted(self.owner, (a, b)))
        vertices = slice(*np.searchsorted(self.shape.polygon, (polygons.start, polygons.stop)))
        triangles = slice(*np.searchsorted(self.shape.triangles[:, 0], (vertices.start, vertices.stop)))
        flawed = self.shape.flawed[(self.shape.flawed >= polygons.start) & (self.shape.flawed < polygons.stop)]
        one = solids.Solids(self.shape.positions[vertices], self.shape.normals[vertices], self.shape.triangles[triangles] - vertices.start,
                            self.shape.polygon[vertices] - polygons.start, flawed - polygons.start)  # fmt: skip
        return one, self.owner[polygons] - a


def build_tile(source: Source, schema: metadata.Schema, made: Made, a: int, b: int) -> Finished:
    """The solids of rows a to b of a unit as a packed glb; each row ends up kept, or in `notes` with the reason."""
    built = Finished()
    shape, owner = made.solids_of(a, b)
    rows = slice(a, b)
    names = made.table.column("id").slice(a, b - a)
    present = np.zeros(b - a, bool)
    present[owner] = True
    _tell(built, names, made.foot[rows], made.spoilt[rows], present)
    _tell_parts(built, names, made.before[rows], made.lost[rows], present)
    if not present.any():
        return built
    for p in shape.flawed:
        built.notes.append(("warned", names[int(owner[p])].as_py(), "its outline crosses itself: roof and floor are not exact"))
    number = np.cumsum(present) - 1
    primitives = _primitives(shape, number[owner])
    kept = made.table.slice(a, b - a)
    if not present.all():
        kept = kept.filter(pa.array(present))
    data = glb(primitives, [SURFACE], schema.encode(kept), compression=source.compression)
    built.packed = pack(data)
    built.low, built.high = extremes(shape.positions)
    built.heights = (float(made.foot[rows][present].min()), float(made.top[rows][present].max()))
    built.kept, built.vertices, built.triangles = int(present.sum()), len(shape.positions), len(shape.triangles)
    return built


def _subset(rings: solids.Rings, keep: NDArray[np.bool_]) -> solids.Rings:
    """The corners kept; rings and polygons keep their numbers (those without corners are dropped by `clean`)."""
    return solids.Rings(rings.ring[keep], rings.polygon, rings.hole, rings.owner)


def _tell(built: Finished, names: pa.ChunkedArray, foot: F64, spoilt: NDArray[np.bool_], present: NDArray[np.bool_]) -> None:
    for i in np.flatnonzero(~present):
        if spoilt[i] and not np.isfinite(foot[i]):
            reason = "no terrain under it; extend the terrain or give --option ground=METRES"
        elif spoilt[i]:
            reason = "coordinates that are not finite"
        else:
            reason = "its outline has no area"
        built.notes.append(("refused", names[int(i)].as_py(), reason))


def _tell_parts(built: Finished, names: pa.ChunkedArray, before: NDArray[Any], lost: NDArray[Any], present: NDArray[np.bool_]) -> None:
    """Name the buildings of which only some parts could be built."""
    for i in np.flatnonzero((lost > 0) & present):
        built.notes.append(("repaired", names[int(i)].as_py(), f"{int(lost[i])} of {int(before[i])} parts have no area and were left out"))


def _corners(lon: F64, lat: F64, height: F64, frame: F64) -> tuple[F64, F64]:
    """((N, 3) positions, (N, 3) directions of the ellipsoid's normal) in a tile's frame."""
    ecef = crs.geodetic_to_ecef(np.column_stack([lon, lat, height]))
    lam, phi = np.radians(lon), np.radians(lat)
    up = np.column_stack([np.cos(phi) * np.cos(lam), np.cos(phi) * np.sin(lam), np.sin(phi)])
    return (ecef - frame[:3, 3]) @ frame[:3, :3], up @ frame[:3, :3]


def _feet(source: Source, table: pa.Table, geometry: NDArray[np.object_], owner: NDArray[np.int64], lon: F64, lat: F64) -> F64:
    """(N,) ellipsoidal height on which each row stands, NaN where none is known.

    Its own base, else the lowest ground under its corners and its centroid (so that no gap shows on a slope), else the option's.
    """
    foot = np.full(len(table), np.nan)
    first = np.searchsorted(owner, np.arange(len(table)))
    known = first < len(owner)
    if source.base is not None:
        own = numbers(table, source.base)
        at = first[known]
        foot[known] = own[known] * source.reference.vertical_unit + crs.datum_shift(source.reference, lon[at], lat[at])
    missing = np.isnan(foot)
    if source.ground is not None and missing.any():
        middle = shapely.get_coordinates(shapely.centroid(geometry[missing & known]))
        mid_lon, mid_lat = crs.to_lonlat(source.reference.horizontal, middle[:, 0], middle[:, 1])
        wanted = missing[owner]
        who = np.concatenate([owner[wanted], np.flatnonzero(missing & known)])
        z = _ground(source.ground, np.concatenate([lon[wanted], mid_lon]), np.concatenate([lat[wanted], mid_lat]))
        lowest = np.full(len(table), np.inf)
        np.fmin.at(lowest, who, z)
        foot[missing] = np.where(np.isfinite(lowest), lowest, np.nan)[missing]
    if source.level is not None:
        foot[np.isnan(foot)] = source.level
    return foot


def _ground(ground: Ground, lon: F64, lat: F64) -> F64:
    """Ground heights, window by window."""
    z = np.full(len(lon), np.nan)
    finite = np.flatnonzero(np.isfinite(lon) & np.isfinite(lat))
    cell = np.floor(np.column_stack([lon[finite], lat[finite]]) / _GROUND_CELL).astype(np.int64)
    _, which = np.unique(cell, axis=0, return_inverse=True)
    order = np.argsort(which, kind="stable")
    for here in np.split(order, np.flatnonzero(np.diff(which[order])) + 1):
        rows = finite[here]
        z[rows] = ground.ellipsoidal(lon[rows], lat[rows])
    return z


def _primitives(shape: solids.Solids, feature: NDArray[np.int64]) -> list[Primitive]:
    """One primitive, or for a tile wider than float32 can hold, one for each quarter of it."""
    positions = shape.positions
    low, high = extremes(positions)
    if (high - low).max() < 2 * SPLIT:
        return [Primitive(positions, shape.triangles, shape.normals, feature_ids=feature[shape.polygon], surface=0)]
    first = np.searchsorted(shape.polygon, np.arange(int(shape.polygon[-1]) + 1))
    cell = np.floor(positions[first, :2] / SPLIT).astype(np.int64)
    _, quarter = np.unique(cell, axis=0, return_inverse=True)
    quarter = quarter.ravel()[shape.polygon]
    result = []
    for q in range(int(quarter.max()) + 1):
        mine = quarter == q
        number = np.cumsum(mine) - 1
        triangles = number[shape.triangles[mine[shape.triangles[:, 0]]]]
        result.append(Primitive(positions[mine], triangles, shape.normals[mine], feature_ids=feature[shape.polygon[mine]], surface=0))
    return result
