"""Building footprints → block models (CIM2 白模): closed solids on the terrain, one feature id and one table row a building.

Two passes over the layer's rows: the first looks at places, sizes and what the columns hold (`tiling.blocks.anchors`), the plan
puts every building in one tile, and the second builds the tiles in coarse units, over processes, streamed into the archive
in order. Tiles that the last build made of the same features are copied from it (`tiling.reuse`, ADR 0006). Every corner
is transformed on its own (law 4); walls are plumb.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, replace
from itertools import pairwise
from typing import Any, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field

from tiling import implicit, partition
from tiling.assembly import Assembly
from tiling.blocks import masses, pieces
from tiling.blocks.anchors import Anchors, Look, look
from tiling.blocks.anchors import ids as ids  # noqa: PLC0414  part of the contract (`tiling`)
from tiling.blocks.ground_marks import Marks
from tiling.blocks.pieces import Shelf
from tiling.blocks.sections import Group, Section, every, facts_of, laid_out, summed, tell, together, tree_of
from tiling.blocks.tiles import Source, Unit, Wanted, build_unit, outlines
from tiling.encoding import metadata
from tiling.encoding.gltf import Compression
from tiling.ledger import HELD, KINDS, Ledger, notes_of, save_tiles
from tiling.levels import ABSENCE
from tiling.pool import ALONE as HERE
from tiling.pool import Pool
from tiling.reuse import LEDGER, Past, Spoilt, common_key, tile_keys
from tiling.rows import Rows
from tiling.store import Store
from tiling.tree_text import text
from twin import registry
from twin.angles import sine_cosine
from twin.archive import ArchiveWriter
from twin.errors import BadFeature, MissingReference
from twin.model import ABOVE_GROUND, Bounds, LayerVersion, Report
from twin.processes import give_back, uncollected
from twin.registry import TileJob

CODE_VERSION = "15"
ALONE = 20_000
"""Rows up to which one process is faster than several."""
BY_HAND = 262_144
"""Rows that are kept at hand where only some tiles are built: those that went lie in the row groups of the tiles that they left."""
UNIT = 32
"""Budgets of weight in a unit of work, as far as it comes to no more than `UNIT_WEIGHT` vertices (some 50 MB)."""
SHORT = 4
"""The units of an update are so many times smaller."""
BUILDERS = 2
"""Threads that build the tiles of an update: half of that needs no interpreter."""
MASSES = 200
"""Mass tiles in a unit of work."""
UNIT_WEIGHT = 512_000
KEEPERS = 4
"""What is known of so many pieces is stored side by side: most of that is waiting for the disk."""
BUILDINGS, MASS = 0, 1
"""Kinds of tiles of a cell."""


class Options(registry.Options):
    """How blocks are tiled. What is excluded is no part of a tileset's key: the tiles do not depend on it."""

    ground: float | None = Field(None, ge=-12_000, le=12_000, description="Ellipsoidal height in metres of the ground where there is no terrain.")
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
    with Pool(job.workers if len(source.rows) > ALONE else 1) as pool, _Plan(job.options, past) as plan, job.lake.scratch() as scratch:
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
        with ThreadPoolExecutor(KEEPERS, "ledger") as aside, ArchiveWriter(job.out) as archive, Assembly(past, archive, ledger, shelf=shelf, rewritten=implicitly) as work:
            near, fresh = _write(job, (source, schema, anchors, marks), plan, pool, work)
            if not past.archives and report.read > ALONE:
                give_back()
            own, ends = work.masses()
            root, groups = Group.of([near]), list(together(fresh))
            for group in (*groups, root):
                for section in group.sections:
                    section.own = own[ends[section.first] : ends[section.end]]
                if job.options.masses and not implicitly:
                    first = group.sections[0].first
                    group.collect(own[ends[first] : ends[group.sections[-1].end]], ends[first : group.sections[-1].end + 1] - ends[first])
            _write_masses(job, (*groups, root), pool, work)
            shelved = work.shelve([section.piece for section in fresh if section.piece is not None])
            if not past.archives and report.read > ALONE:
                give_back()
            _take_tiles(work.table(), (*groups, root))
            kept = [(section.piece, aside.submit(save_tiles, job.lake, section.tiles, section.own)) for section in fresh if section.piece is not None]
            written = _documents(job, near, fresh, groups, work)
            _report(report, near, fresh, past)
            facts = summed([facts_of(near.tiles, near.end - near.first), *(piece.facts for piece in near.others.values())])
            report.kept = facts["kept"]
            if not report.kept:
                reasons = " ".join(f"{n.feature}: {n.reason}." for n in report.notes[:3])
                raise BadFeature(f"Layer {version.layer}: no building could be built. {reasons}", "Check heights, outlines and terrain.")
            document, told = text(tree_of(root), error=ABSENCE * anchors.largest, schema=schema.to_json(), statistics=schema.statistics(surveys), about=job.about)

            def record() -> str:
                for done in (shelved, *written):
                    done.result()
                for piece, key in kept:
                    piece.ledger = key.result()
                ledger.notes["pieces"] = [asdict(piece) for piece, _ in every(near, fresh)]
                return "" if implicitly else ledger.save(job.lake, near.tiles, near.own)

            saved = aside.submit(record)
            work.end_with("tileset.json", document)
            work.settle()
            left = saved.result()
            size_now = archive.size + sum(piece.size for piece in near.others.values())
        if implicitly:
            rewritten, size_now = implicit.rewrite(job.out, implicit.mercator(), work)
            told = rewritten["root"]
            left = ledger.save(job.lake, work.table(), near.own)
        sidecars = anchors.sidecars | marks.sidecars(past) | {LEDGER: left} | {f"{LEDGER}:{piece.name}": piece.ledger for piece in near.others.values()}
        job.progress(1.0, "done")
        stored = [key for piece, _ in every(near, fresh) for key in piece.archives]
        return _facts(told, facts, report, size_now) | {"sidecars": sidecars} | ({"pieces": stored} if stored else {})


def _take_tiles(tiles: pa.Table, groups: Sequence[Group]) -> None:
    """Hand out the tiles that were made: to each section its own, the masses last, and to each group those of its sections, the masses of all last."""
    for group in groups:
        own = [tiles.slice(one.first, one.end - one.first) for one in group.sections]
        far = [tiles.slice(one.first_mass, one.end_mass - one.first_mass) for one in group.sections]
        for section, mine, above in zip(group.sections, own, far, strict=True):
            section.tiles = pa.concat_tables([mine, above])
        group.tiles = pa.concat_tables([*own, *far])


def _documents(job: TileJob, near: Section, fresh: Sequence[Section], groups: Sequence[Group], work: Assembly) -> list[Future[None]]:
    """Have the documents of all pieces written, in order, and have it told in those that were made what the tiles near the root say of them."""
    made = {name: document for group in groups for name, document in tell(group, job.about).items()}
    return [work.document(piece, made.get(piece.name)) for piece, section in every(near, fresh) if piece.name in made or (section is None and piece.document)]


def _report(report: Report, near: Section, fresh: Sequence[Section], past: Past) -> None:
    """What became of the features: near the root, then of every piece of which there is something to tell. Raises Spoilt."""
    tables = (section.tiles if section is not None else past.left(piece)[0] for piece, section in every(near, fresh) if piece.told)
    for table in (near.tiles, *tables):
        for action, feature, reason in notes_of(table):
            report.note(action, feature, reason)  # type: ignore[arg-type]


class _Plan:
    """The plan from above, made on a thread while the columns are surveyed; and in an update, that of the pieces which are not what they were."""

    def __init__(self, options: Options, past: Past) -> None:
        self._options, self._past = options, past
        self._thread = ThreadPoolExecutor(1, "planner")
        self._cells: dict[str, Future[partition.Cells]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._thread.shutdown(wait=True, cancel_futures=True)

    def begin(self, places: list[partition.Places]) -> None:
        """The places are known."""
        budget, implicitly = self._options.budget, self._options.subdivision == "implicit"

        def found() -> tuple[list[partition.Top | partition.Subtree], float]:
            limit = np.inf if implicitly else pieces.limit_of(sum(one.heft() for one in places))
            nodes = list(partition.nodes(places, budget=budget, share=budget / 3, limit=self._options.in_memory, heavy=limit))
            if self._past.pieces:
                known = {(piece.name, piece.content) for piece in self._past.pieces}
                touched = [one for one in nodes if isinstance(one, partition.Subtree) and pieces.is_piece(one, limit) and (one.name, one.digest()) not in known]
                if sum(map(len, touched)) <= self._options.in_memory:
                    self._cells = {one.name: self._thread.submit(one.cells) for one in touched}
            return nodes, limit

        self._found = self._thread.submit(found)

    def nodes(self) -> tuple[list[partition.Top | partition.Subtree], float]:
        """(`partition.nodes`, the limit of pieces)."""
        return self._found.result()

    def cells(self, one: partition.Subtree) -> partition.Cells:
        """Its tiles."""
        made = self._cells.pop(one.name, None)
        return made.result() if made is not None else one.cells()


def _write(
    job: TileJob, given: tuple[Source, metadata.Schema, Anchors, Marks], plan: _Plan, pool: Pool, work: Assembly,
) -> tuple[Section, list[Section]]:  # fmt: skip
    """All tiles into their archives, in the order of the plan: those of the last build are copied, the others are built. Returns what is near the root, and the pieces that are not what they were."""
    source, schema, anchors, marks = given
    common, keys = _keys(source, schema, marks, anchors.largest)
    total = sum(len(one) - len(one.gone) for one in anchors.places) or 1
    found, limit = plan.nodes()
    told = common_key({"about": asdict(job.about) if job.about is not None else None, "budget": job.options.budget, "masses": job.options.masses})
    near, fresh = laid_out(found, limit, lambda one: (told + common(one.level, one.x, one.y, "")).hex(), work.past.same)
    work.past.open([piece for piece in work.past.pieces if piece not in near.others.values()])
    most = min(UNIT * job.options.budget, max(UNIT_WEIGHT, job.options.budget))
    if work.past.archives:
        most /= SHORT  # so that what is built first is written while the next is

    here = HERE * SHORT if work.past.archives else 0  # units that threads of this process build; a full build has other processes for all

    def tasks() -> Iterator[Unit]:
        unit: list[Wanted] = []
        weight, count = 0.0, 0
        for section in (near, *fresh):
            planned = plan.cells(section.subtree) if section.subtree is not None else section.cells
            section.cells, section.subtree, section.first = planned.bare(), None, len(work)
            real, names = section.real(), planned.names()
            root = names[0] if work.rewritten else ""
            wanted = real[work.want([names[at] for at in real.tolist()], keys(planned, root)[real], section.piece)].tolist()
            if work.past.archives and wanted:
                source.rows.expect(np.concatenate([planned.cell(at).rows for at in wanted]))
            for at in wanted:
                cell = planned.cell(at)
                unit.append((section.cells.cell(at), cell.rows))
                weight += cell.weight
                if weight >= most:
                    yield source, schema, unit, outlines(source, unit) if count < here else None
                    unit, weight, count = [], 0.0, count + 1
            section.end = len(work)
            if not work.past.archives and len(planned.rows) > BY_HAND:
                give_back()
        if unit:
            yield source, schema, unit, outlines(source, unit) if count < here else None

    for unit in pool.map(build_unit, tasks(), alone=here or HERE, threads=BUILDERS if here else 0):
        for one in unit:
            work.enter(one)
        job.progress(0.1 + 0.88 * min(1.0, work.kept / total), f"building tiles ({work.done})")
    work.copy()
    return near, fresh


def _write_masses(job: TileJob, groups: Sequence[Group], pool: Pool, work: Assembly) -> None:
    """The mass tiles behind the others of each section: those of the last build are copied."""
    compression = job.options.compression
    common = common_key({"code": CODE_VERSION, "compression": compression})

    def tasks() -> Iterator[tuple[Compression, list[masses.Mass]]]:
        unit: list[masses.Mass] = []
        for group in groups:
            found = group.far
            if found is None:
                continue
            places = _places(found.cells, MASS)[found.cell]
            before = len(work)
            for section, first, end in zip(group.sections, group.ends[:-1].tolist(), group.ends[1:].tolist(), strict=True):
                section.first_mass, section.end_mass = before + first, before + end
            for low, high, rows, ends in found.runs():
                keys = tile_keys([common] * (high - low), places[low:high], rows[:, : masses.SHOWN], ends[1:].tolist())
                cuts = [low, *(at for at in group.ends[1:-1].tolist() if low < at < high), high]
                for first, end in pairwise(cuts):
                    section = group.sections[int(np.searchsorted(group.ends, first, side="right")) - 1]
                    for at in (work.want(found.names[first:end], keys[first - low : end - low], section.piece) + first).tolist():
                        unit.append(found.mass(at, rows[ends[at - low] : ends[at - low + 1]]))
                        if len(unit) == MASSES:
                            yield compression, unit
                            unit = []
        if unit:
            yield compression, unit

    for unit in pool.map(masses.build_many, tasks()):
        for one in unit:
            work.enter(one)
    work.copy()


def _keys(source: Source, schema: metadata.Schema, marks: Marks, largest: float) -> tuple[Callable[[int, int, int, str], bytes], Callable[[partition.Cells, str], NDArray[np.uint64]]]:
    """(a digest of what all tiles in a cell depend on: among it the ground, of which the cells count that reach it; the keys of the tiles of a part of the plan).

    `largest`: metres; no building of a tile sticks out of its cell by more. The last argument names the root cell where tiles are seen from its frame.
    """
    fields = [asdict(replace(f, values=())) for f in schema.fields]  # a tile lists only the values that occur in it
    told = {
        "code": CODE_VERSION, "class": [schema.class_id, schema.name], "fields": fields, "reference": asdict(source.reference), "height": source.height,
        "base": source.base, "level": source.level, "compression": source.compression,
    }  # fmt: skip
    made: dict[tuple[str, ...], bytes] = {}

    def common(level: int, x: int, y: int, root: str) -> bytes:
        names = marks.at(_reach(level, x, y, largest)) if source.ground is not None else ()
        if names not in made:
            made[names] = common_key({**told, "ground": names, "root": root})
        return made[names]

    def keys(part: partition.Cells, root: str) -> NDArray[np.uint64]:
        places = _places(part, BUILDINGS)
        commons = [common(level, x, y, root) for _, level, x, y in places.tolist()] if source.ground is not None else [common(0, 0, 0, root)] * len(part)
        return tile_keys(commons, places, part.mark, part.last.tolist())

    return common, keys


def _places(cells: partition.Cells, kind: int) -> NDArray[np.int64]:
    """(N, 4) what tells tiles of cells apart, as their names do."""
    return np.column_stack([np.full(len(cells), kind), cells.level, cells.x, cells.y])


def _reach(level: int, x: int, y: int, largest: float) -> Bounds:
    """The box in degrees in which the corners of a cell's buildings lie."""
    side = 1 << level
    (west, east), (north, south) = partition.unproject(np.array([x, x + 1]) / side, np.array([y, y + 1]) / side)
    up = largest / 110_000
    along = up / max(float(sine_cosine(min(max(abs(north), abs(south)) + up, 89.0))[1]), 0.01)
    return Bounds(west - along, south - up, east + along, north + up)


def _facts(root: dict[str, Any], facts: dict[str, Any], report: Report, size: int) -> dict[str, Any]:
    """What is told of a tileset."""
    return {
        "entry": "tileset.json", "tiles": facts["tiles"], "bytes": size, "heights": [facts["bottom"], facts["top"]],
        "root": {key: root[key] for key in ("boundingVolume", "geometricError", "transform") if key in root},
        "stats": {"features": report.kept, "vertices": facts["vertices"], "triangles": facts["triangles"], "raw_bytes": facts["size"]},
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
