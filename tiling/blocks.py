"""Building footprints → block models (CIM2 白模): closed solids on the terrain, one feature id and one table row a building.

Two passes over the layer's rows: the first looks at places, sizes and what the columns hold (`tiling.anchors`), the plan
puts every building in one tile, and the second builds the tiles in coarse units, over processes, streamed into the archive
in order. Tiles that the last build made of the same features are copied from it (`tiling.reuse`, ADR 0006). Every corner
is transformed on its own (law 4); walls are plumb.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from typing import Any, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field

from tiling import implicit, masses, metadata, partition, pieces
from tiling.anchors import Anchors, Look, look
from tiling.assembly import Assembly
from tiling.block_tiles import Source, Wanted, build_unit
from tiling.boxes import enu_frames
from tiling.gltf import Compression
from tiling.ground_marks import Marks
from tiling.ledger import HELD, KINDS, Ledger, boxes_of, notes_of
from tiling.levels import ABSENCE
from tiling.pieces import Piece, Shelf
from tiling.pool import ALONE as HERE
from tiling.pool import Pool
from tiling.reuse import LEDGER, Past, Spoilt, common_key, tile_keys
from tiling.rows import Rows
from tiling.store import Store
from tiling.tree_text import Branch, Tree, text
from twin import registry
from twin.angles import sine_cosine
from twin.archive import ArchiveWriter
from twin.errors import BadFeature, MissingReference
from twin.model import ABOVE_GROUND, Bounds, LayerVersion, Report
from twin.processes import give_back, uncollected
from twin.registry import TileJob

CODE_VERSION = "14"
ALONE = 20_000
"""Rows up to which one process is faster than several."""
BY_HAND = 262_144
"""Rows that are kept at hand where only some tiles are built: those that went lie in the row groups of the tiles that they left."""
UNIT = 32
"""Budgets of weight in a unit of work, as far as it comes to no more than `UNIT_WEIGHT` vertices (some 50 MB)."""
SHORT = 4
"""The units of an update are so many times smaller."""
MASSES = 200
"""Mass tiles in a unit of work."""
UNIT_WEIGHT = 512_000
BUILDINGS, MASS = 0, 1
"""Kinds of tiles of a cell."""


class Options(registry.Options):
    """How blocks are tiled. What is excluded is no part of a tileset's key: the tiles do not depend on it."""

    ground: float | None = Field(None, description="Ellipsoidal height in metres of the ground where there is no terrain.")
    budget: int = Field(16_000, ge=100, le=1_000_000, description="Vertices that a leaf tile may hold.")
    in_memory: int = Field(partition.LIMIT, ge=1, exclude=True, description="Buildings whose places are held in memory at a time; the tiles do not depend on it.")
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
    with Pool(job.workers if len(source.rows) > ALONE else 1) as pool, _Plan(job.options) as plan, job.lake.scratch() as scratch:
        job.progress(0.0, "measuring buildings")
        anchors = look(Look(source.rows, source.reference, source.height), job.lake, past, pool, plan.begin)
        report.read = anchors.read
        if not past.archives and report.read > ALONE:
            give_back()
        for feature, reason in anchors.refused:
            report.note("refused", feature, reason)
        surveys = anchors.census.columns
        names = [n for n in surveys if n != "parent" or surveys[n].nulls < surveys[n].rows]
        schema = metadata.plan(version.layer, _arrow(source.rows, names), surveys, version.columns)
        ledger, marks = Ledger(notes=anchors.notes, masses=Store(KINDS, scratch, HELD)), Marks(job.ground, job.lake, past)
        implicitly = job.options.subdivision == "implicit"
        shelf = None if implicitly else Shelf(job.lake, job.out, job.archive_bytes)
        with ArchiveWriter(job.out) as archive, Assembly(past, archive, ledger, shelf=shelf, rewritten=implicitly) as work:
            cells = _write(job, (source, schema, anchors, marks), plan, pool, work)
            if not past.archives and report.read > ALONE:
                give_back()
            for action, feature, reason in notes_of(work.table()):
                report.note(action, feature, reason)  # type: ignore[arg-type]
            report.kept = work.kept
            if not report.kept:
                reasons = " ".join(f"{n.feature}: {n.reason}." for n in report.notes[:3])
                raise BadFeature(f"Layer {version.layer}: no building could be built. {reasons}", "Check heights, outlines and terrain.")
            own, ends = work.masses()
            far = _write_masses(job, masses.collect(cells, own, ends), pool, work) if job.options.masses and not implicitly else None
            if not past.archives and report.read > ALONE:
                give_back()
            told: dict[str, Any] = {"schema": schema.to_json(), "statistics": schema.statistics(surveys), "about": job.about}
            tiles, shelved = work.table(), work.shelve()
            tree, branches = _tree(cells, tiles, far, work.pieces)
            document, root, others = text(tree, error=ABSENCE * anchors.largest, branches=branches, **told)
            written = work.documents(others)

            def record() -> str:
                shelved.result()
                ledger.notes["pieces"] = [asdict(piece) for piece in work.pieces]
                ledger.notes["documents"] = {name: one.result() for name, one in written.items()}
                return "" if implicitly else ledger.save(job.lake, tiles, own)

            with ThreadPoolExecutor(1, "ledger") as aside:
                saved = aside.submit(record)
                work.end_with("tileset.json", document)
                work.settle()
                left = saved.result()
            size_now = archive.size + sum(piece.size for piece in work.pieces)
        if implicitly:
            rewritten, size_now = implicit.rewrite(job.out, implicit.mercator(), work)
            root = rewritten["root"]
            tiles = work.table()
            left = ledger.save(job.lake, tiles, own)
        sidecars = anchors.sidecars | marks.sidecars(past) | {LEDGER: left}
        job.progress(1.0, "done")
        stored = [key for piece in work.pieces for key in piece.keys]
        return _facts(root, tiles, len(cells), report, size_now) | {"sidecars": sidecars} | ({"pieces": stored} if stored else {})


class _Plan:
    """The plan of the tiles; its first piece, most often all of it, is made on a thread while the columns are surveyed."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._thread = ThreadPoolExecutor(1, "planner")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._thread.shutdown(wait=True)

    def begin(self, places: list[partition.Places]) -> None:
        """The places are known."""
        budget = self._options.budget
        self._rest = partition.pieces(places, budget=budget, share=budget / 3, limit=self._options.in_memory)
        self._first = self._thread.submit(next, self._rest, None)

    def pieces(self) -> Iterator[partition.Cells]:
        """See `partition.pieces`."""
        first = self._first.result()
        if first is not None:
            yield first
            yield from self._rest


def _write(
    job: TileJob, given: tuple[Source, metadata.Schema, Anchors, Marks], plan: _Plan, pool: Pool, work: Assembly,
) -> partition.Cells:  # fmt: skip
    """All tiles into the archive, in the order of the plan: those of the last build are copied, the others are built. Returns the plan."""
    source, schema, anchors, marks = given
    keys = _keys(source, schema, marks, anchors.largest)
    total = sum(len(one) - len(one.gone) for one in anchors.places) or 1
    limit = pieces.limit_of(anchors.heft)
    planned: list[partition.Cells] = []
    most = min(UNIT * job.options.budget, max(UNIT_WEIGHT, job.options.budget))
    if work.past.archives:
        most /= SHORT  # so that what is built first is written while the next is

    def tasks() -> Iterator[tuple[Source, metadata.Schema, list[Wanted]]]:
        unit: list[Wanted] = []
        weight, start = 0.0, 0
        for piece in plan.pieces():
            planned.append(piece.bare())
            names, cut = piece.names(), pieces.pieces(piece, start, limit) if work.shelf is not None else []
            start += len(names)
            for at in work.want(names, keys(piece, planned[0].cell(0).name if work.rewritten else ""), cut).tolist():
                cell = piece.cell(at)
                unit.append((planned[-1].cell(at), cell.rows))
                weight += cell.weight
                if weight >= most:
                    yield source, schema, unit
                    unit, weight = [], 0.0
            if not work.past.archives and len(piece.rows) > BY_HAND:
                give_back()
        if unit:
            yield source, schema, unit

    for unit in pool.map(build_unit, tasks(), alone=HERE * SHORT if work.past.archives else HERE):
        for one in unit:
            work.enter(one)
        job.progress(0.1 + 0.88 * min(1.0, work.kept / total), f"building tiles ({work.done})")
    work.copy()
    return partition.Cells.joined(planned)


def _write_masses(job: TileJob, found: masses.Masses, pool: Pool, work: Assembly) -> masses.Masses:
    """The mass tiles behind the others: those of the last build are copied."""
    compression = job.options.compression
    common = common_key({"code": CODE_VERSION, "compression": compression})
    places = _places(found.cells, MASS)[found.cell]

    def tasks() -> Iterator[tuple[Compression, list[masses.Mass]]]:
        unit: list[masses.Mass] = []
        for low, high, rows, ends in found.runs():
            keys = tile_keys([common] * (high - low), places[low:high], rows[:, : masses.SHOWN], ends[1:].tolist())
            for at in work.want(found.names[low:high], keys).tolist():
                unit.append(found.mass(low + at, rows[ends[at] : ends[at + 1]]))
                if len(unit) == MASSES:
                    yield compression, unit
                    unit = []
        if unit:
            yield compression, unit

    for unit in pool.map(masses.build_many, tasks()):
        for one in unit:
            work.enter(one)
    work.copy()
    return found


def _keys(source: Source, schema: metadata.Schema, marks: Marks, largest: float) -> Callable[[partition.Cells, str], NDArray[np.uint64]]:
    """Digests of what the bytes of the tiles of a piece depend on: among it the ground, of which the cells count that reach the tile.

    `largest`: metres; no building of a tile sticks out of its cell by more. The last argument names the root cell where tiles are seen from its frame.
    """
    fields = [asdict(replace(f, values=())) for f in schema.fields]  # a tile lists only the values that occur in it
    told = {
        "code": CODE_VERSION, "class": [schema.class_id, schema.name], "fields": fields, "reference": asdict(source.reference), "height": source.height,
        "base": source.base, "level": source.level, "compression": source.compression,
    }  # fmt: skip
    made: dict[tuple[str, ...], bytes] = {}

    def common(piece: partition.Cells, at: int, root: str) -> bytes:
        names = marks.at(_reach(piece.cell(at), largest)) if source.ground is not None else ()
        if names not in made:
            made[names] = common_key({**told, "ground": names, "root": root})
        return made[names]

    def keys(piece: partition.Cells, root: str) -> NDArray[np.uint64]:
        commons = [common(piece, at, root) for at in range(len(piece))] if source.ground is not None else [common(piece, 0, root)] * len(piece)
        return tile_keys(commons, _places(piece, BUILDINGS), piece.mark, piece.last.tolist())

    return keys


def _places(cells: partition.Cells, kind: int) -> NDArray[np.int64]:
    """(N, 4) what tells tiles of cells apart, as their names do."""
    return np.column_stack([np.full(len(cells), kind), cells.level, cells.x, cells.y])


def _reach(cell: partition.Cell, largest: float) -> Bounds:
    """The box in degrees in which the corners of a cell's buildings lie."""
    side = 1 << cell.level
    (west, east), (north, south) = partition.unproject(np.array([cell.x, cell.x + 1]) / side, np.array([cell.y, cell.y + 1]) / side)
    up = largest / 110_000
    along = up / max(float(sine_cosine(min(max(abs(north), abs(south)) + up, 89.0))[1]), 0.01)
    return Bounds(west - along, south - up, east + along, north + up)


def _facts(root: dict[str, Any], tiles: pa.Table, own: int, report: Report, size: int) -> dict[str, Any]:
    """What is told of a tileset; the first `own` tiles show buildings, the others masses (whose feet are rounded)."""
    drawn = tiles.column("drawn").to_numpy()
    shown = {name: tiles.column(name).to_numpy()[drawn] for name in ("vertices", "triangles", "size")}
    bottom, top = (tiles.column(name).to_numpy()[:own][drawn[:own]] for name in ("bottom", "top"))
    return {
        "entry": "tileset.json", "tiles": int(drawn.sum()), "bytes": size,
        "heights": [float(bottom.min()), float(top.max())],
        "root": {key: root[key] for key in ("boundingVolume", "geometricError", "transform") if key in root},
        "stats": {"features": report.kept, **{name: int(shown[name].sum()) for name in ("vertices", "triangles")}, "raw_bytes": int(shown["size"].sum())},
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


def _tree(cells: partition.Cells, built: pa.Table, far: masses.Masses | None, pieces: Sequence[Piece]) -> tuple[Tree, list[Branch]]:
    """(the cells, which add to those above them; what is told of them in documents of their own: all that is below the first cell of a piece).

    With masses only the root adds; a mass tile is replaced by the cells below it and their mass tiles. The error of a mass tile is that of its
    blocks, or of the buildings that are absent as such (as in levels of meshes, ADR 0005).
    """
    masked = far.cell if far is not None else np.zeros(0, np.int64)  # cells that have a mass tile, which stands right behind them
    mine = np.arange(len(cells)) + np.searchsorted(masked, np.arange(len(cells)))
    theirs = mine[masked] + 1
    order = np.concatenate([mine, theirs]).argsort()  # rows of the ledger, masses last → places in the tree
    cell = np.concatenate([np.arange(len(cells)), masked])[order]
    side = np.exp2(cells.level)
    frames = enu_frames(*partition.unproject((cells.x + 0.5) / side, (cells.y + 0.5) / side))
    low, high = boxes_of(built)
    names = [f"{name}.glb" if drawn else "" for name, drawn in zip(built.column("name").to_pylist(), built.column("drawn").to_pylist(), strict=True)]
    below = mine.copy()  # where the children of each cell hang
    below[masked] = theirs
    above = np.concatenate([[-1], below[cells.parent[1:]]])
    absent = ABSENCE * cells.error
    errors, top = absent.copy(), absent[0]
    if far is not None and len(masked):
        errors = np.concatenate([np.zeros(len(cells)), np.maximum(far.errors(), absent[masked])])
        top = max(top, ABSENCE * far.largest())
    errors[0] = top
    parents = np.concatenate([above, np.where(masked == 0, 0, above[masked])])
    replaced = np.concatenate([np.zeros(len(cells), bool), np.ones(len(masked), bool)])
    ends = np.append(mine, len(order))
    branches = [Branch(f"tileset-{piece.name.replace('/', '-')}.json", int(below[piece.first]), int(ends[piece.end])) for piece in pieces if piece.end > piece.first + 1]
    return Tree(frames[cell], errors[order], parents[order], low[order], high[order], [names[at] for at in order.tolist()], replaced[order]), branches
