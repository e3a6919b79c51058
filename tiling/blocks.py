"""Building footprints → block models (CIM2 白模): closed solids on the terrain, one feature id and one table row a building.

Two passes over the layer's rows: the first looks at places, sizes and what the columns hold (`tiling.anchors`), the plan
puts every building in one tile, and the second builds the tiles in coarse units, over processes, streamed into the archive
in order. Tiles that the last build made of the same features are copied from it (`tiling.reuse`, ADR 0006). Every corner
is transformed on its own (law 4); walls are plumb.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pyarrow as pa
from pydantic import Field

from tiling import implicit, masses, metadata, partition
from tiling.anchors import Anchors, Look, look
from tiling.block_tiles import Source, Wanted, build_unit
from tiling.boxes import enu_frames
from tiling.gltf import Compression
from tiling.ground_marks import Marks
from tiling.levels import ABSENCE
from tiling.pool import Pool
from tiling.reuse import LEDGER, Assembly, Ledger, Past, Spoilt, common_key, tile_key
from tiling.rows import Rows
from tiling.tileset import Finished, Tile, dump, tileset
from twin import registry
from twin.archive import ArchiveWriter
from twin.errors import BadFeature, MissingReference
from twin.model import ABOVE_GROUND, Bounds, LayerVersion, Report
from twin.processes import uncollected
from twin.registry import TileJob

CODE_VERSION = "8"
ALONE = 20_000
"""Rows up to which one process is faster than several."""
BY_HAND = 262_144
"""Rows that are kept at hand where only some tiles are built: those that went lie in the row groups of the tiles that they left."""
UNIT = 32
"""Budgets of weight in a unit of work, as far as it comes to no more than `UNIT_WEIGHT` vertices (some 50 MB)."""
MASSES = 200
"""Mass tiles in a unit of work."""
UNIT_WEIGHT = 512_000
_NO_ROWS = np.zeros(0, np.int64)

class Options(registry.Options):
    """How blocks are tiled."""

    ground: float | None = Field(None, description="Ellipsoidal height in metres of the ground where there is no terrain.")
    budget: int = Field(16_000, ge=100, le=1_000_000, description="Vertices that a leaf tile may hold.")
    in_memory: int = Field(partition.LIMIT, ge=1, description="Buildings whose places are held in memory at a time; the tiles do not depend on it.")
    compression: Compression = Field("meshopt", description="EXT_meshopt_compression of triangles, or none for clients without it.")
    masses: bool = Field(True, description="Blocks of summed-up volume stand for what is too small to be drawn from afar (not with implicit subdivision).")
    subdivision: implicit.Subdivision = Field("explicit", description="How the tree is written: explicit in tileset.json, or implicit in subtrees.")


def tile(version: LayerVersion, job: TileJob) -> dict[str, Any]:
    """Write the layer's tileset to `job.out`; see the contract in `tiling`.

    Raises:
        BadFeature: no height column, or no building could be built.
        MissingReference: neither terrain, nor base heights, nor `ground` say where the blocks stand.
    """
    source = _source(version, job)
    with uncollected():
        past = Past(job)
    try:
        if not past.archives:
            return _build(version, job, source, past)
        with uncollected():
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
        ledger, marks = Ledger(notes=anchors.notes), Marks(job.ground, job.lake, past)
        implicitly = job.options.subdivision == "implicit"
        with ArchiveWriter(job.out) as archive:
            work = Assembly(past, archive, ledger, rewritten=implicitly)
            built = _write(job, (source, schema, anchors, marks), pool, work, cells, report)
            far = _write_masses(job, cells, built, pool, work) if job.options.masses and not implicitly else []
            report.kept = sum(one.kept for one in built)
            if not report.kept:
                reasons = " ".join(f"{n.feature}: {n.reason}." for n in report.notes[:3])
                raise BadFeature(f"Layer {version.layer}: no building could be built. {reasons}", "Check heights, outlines and terrain.")
            largest = max(one.largest() for one in anchors.places)
            told: dict[str, Any] = {"schema": schema.to_json(), "statistics": schema.statistics(surveys), "about": job.about}
            document = tileset(_tree(cells, built, far), error=ABSENCE * largest, **told)
            archive.add("tileset.json", dump(document))
            size_now = archive.size
        if implicitly:
            document, size_now = implicit.rewrite(job.out, implicit.mercator(), work)
        sidecars = anchors.sidecars | marks.sidecars(past) | {LEDGER: ledger.save(job.lake)}
        job.progress(1.0, "done")
        return _facts(document, [*built, *(one for _, one in far)], report, size_now) | {"sidecars": sidecars}


def _write(
    job: TileJob, given: tuple[Source, metadata.Schema, Anchors, Marks], pool: Pool, work: Assembly, cells: list[partition.Cell], report: Report,
) -> list[Finished]:  # fmt: skip
    """All tiles into the archive, in the order of the plan: those of the last build are copied, the others are built. Fills `cells` and `report`."""
    source, schema, anchors, marks = given
    common = _keys(source, schema, marks, max(one.largest() for one in anchors.places))
    total = sum(len(one) - len(one.gone) for one in anchors.places) or 1

    def tasks() -> Iterator[tuple[Source, metadata.Schema, list[Wanted]]]:
        unit: list[Wanted] = []
        weight = 0.0
        for cell in partition.stream(anchors.places, budget=job.options.budget, share=job.options.budget / 3, limit=job.options.in_memory):
            cells.append(partition.Cell(cell.level, cell.x, cell.y, _NO_ROWS, cell.parent, cell.error))
            name = cell.name
            if work.want(name, tile_key(common(cell, cells[0].name if work.rewritten else ""), name, cell.mark)):
                unit.append((cells[-1], cell.rows))
                weight += cell.weight
            if weight >= min(UNIT * job.options.budget, max(UNIT_WEIGHT, job.options.budget)):
                yield source, schema, unit
                unit, weight = [], 0.0
        if unit:
            yield source, schema, unit

    for unit in pool.map(build_unit, tasks()):
        for one in unit:
            work.enter(one)
        done = sum(one.kept for one in work.tiles)
        job.progress(0.1 + 0.88 * min(1.0, done / total), f"building tiles ({len(work.tiles)})")
    work.copy()
    built = list(work.tiles)
    for one in built:
        for action, feature, reason in one.notes:
            report.note(action, feature, reason)  # type: ignore[arg-type]
    return built


def _write_masses(job: TileJob, cells: list[partition.Cell], built: list[Finished], pool: Pool, work: Assembly) -> list[tuple[masses.Mass, Finished]]:
    """The mass tiles behind the others: those of the last build are copied."""
    compression = job.options.compression
    found = masses.collect(cells, built, common_key({"code": CODE_VERSION, "compression": compression}))

    def tasks() -> Iterator[tuple[Compression, list[tuple[masses.Mass, partition.Cell]]]]:
        unit: list[tuple[masses.Mass, partition.Cell]] = []
        for mass in found:
            if work.want(mass.name, mass.key):
                unit.append((mass, cells[mass.cell]))
            if len(unit) == MASSES:
                yield compression, unit
                unit = []
        if unit:
            yield compression, unit

    for unit in pool.map(masses.build_many, tasks()):
        for one in unit:
            work.enter(one)
    work.copy()
    return list(zip(found, work.tiles[len(built) :], strict=True))


def _keys(source: Source, schema: metadata.Schema, marks: Marks, largest: float) -> Callable[[partition.Cell, str], bytes]:
    """A digest of what a tile's bytes depend on besides its place and its features: of the ground, the cells that reach it.

    `largest`: metres; no building of a tile sticks out of its cell by more. The second argument names the root cell where tiles are seen from its frame.
    """
    fields = [asdict(replace(f, values=())) for f in schema.fields]  # a tile lists only the values that occur in it
    told = {
        "code": CODE_VERSION, "class": [schema.class_id, schema.name], "fields": fields, "reference": asdict(source.reference), "height": source.height,
        "base": source.base, "level": source.level, "compression": source.compression,
    }  # fmt: skip
    made: dict[tuple[str, ...], bytes] = {}

    def key(cell: partition.Cell, root: str) -> bytes:
        names = marks.at(_reach(cell, largest)) if source.ground is not None else ()
        if names not in made:
            made[names] = common_key({**told, "ground": names, "root": root})
        return made[names]

    return key


def _reach(cell: partition.Cell, largest: float) -> Bounds:
    """The box in degrees in which the corners of a cell's buildings lie."""
    side = 1 << cell.level
    (west, east), (north, south) = partition.unproject(np.array([cell.x, cell.x + 1]) / side, np.array([cell.y, cell.y + 1]) / side)
    up = largest / 110_000
    along = up / max(np.cos(np.radians(min(max(abs(north), abs(south)) + up, 89.0))), 0.01)
    return Bounds(west - along, south - up, east + along, north + up)


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


def _tree(cells: list[partition.Cell], built: list[Finished], far: list[tuple[masses.Mass, Finished]]) -> list[Tile]:
    """The cells, which add to those above them. With masses only the root does; a mass tile is replaced by the cells below it and their mass tiles.

    The error of a mass tile is that of its blocks, or of the buildings that are absent as such (as in levels of meshes, ADR 0005).
    """
    side = np.exp2(np.array([cell.level for cell in cells]))
    lon, lat = partition.unproject(*((np.array([getattr(cell, axis) for cell in cells]) + 0.5) / side for axis in "xy"))
    between = {mass.cell: (mass, one) for mass, one in far}
    below: list[int] = []  # where the children of each cell hang
    tiles: list[Tile] = []
    for at, (frame, cell, one) in enumerate(zip(enu_frames(lon, lat), cells, built, strict=True)):
        parent = below[cell.parent] if at else -1
        error = 0.0 if between and at else ABSENCE * max(cell.error, between[at][0].largest if between else 0.0)
        tiles.append(Tile(frame, error, parent, one.low, one.high, f"{cell.name}.glb" if one.packed else None))
        below.append(len(tiles) - 1)
        if at in between:
            mass, drawn = between[at]
            tiles.append(Tile(frame, max(mass.error, ABSENCE * cell.error), parent if at else 0, drawn.low, drawn.high, f"{mass.name}.glb", {"refine": "REPLACE"}))
            below[at] = len(tiles) - 1
    return tiles
