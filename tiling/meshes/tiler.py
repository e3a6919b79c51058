"""Meshes with features (IFC, city models, OBJ and the like) → 3D Tiles.

Every vertex is transformed through the map CRS (law 4); every element has a feature id with all its attributes; materials keep
colour and opacity. The tree is refined by REPLACE (`tiling.meshes.plan`): leaves draw the elements as they are, inner tiles draw what is
below them simplified, with the error measured (`tiling.meshes.tile`, ADR 0005). A model that one tile can hold is one tile.

Triangles lie on disk where they are many (`tiling.store`), and tiles that the last build made of the same features are copied (`tiling.reuse`, ADR 0016).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field

from tiling import implicit
from tiling.assembly import Assembly
from tiling.blocks.largest import parts
from tiling.encoding import metadata, survey
from tiling.encoding.gltf import Compression
from tiling.ledger import Ledger, finished_of
from tiling.levels import ABSENCE, Cell
from tiling.meshes.elements import Elements
from tiling.meshes.plan import Tree
from tiling.meshes.textures import Format, Quality
from tiling.meshes.tile import Style, Wanted, bake
from tiling.pool import Pool
from tiling.reuse import LEDGER, Past, Spoilt, common_key, tile_key
from tiling.tileset import Finished, Tile
from tiling.tree_documents import told
from twin import crs, registry, scratch
from twin.archive import ArchiveWriter
from twin.errors import BadFeature, BadOption
from twin.model import LayerVersion, Report
from twin.parts import first_reasons
from twin.processes import give_back
from twin.registry import TileJob

I64 = NDArray[np.int64]
CODE_VERSION = "17"
ALONE = 4_000_000
"""Vertices below which starting worker processes costs more than it saves."""
PACKED = 250_000
"""Vertices below which a model is written plain: the codec takes half a second to load, as long as all else for a house."""
UNIT = 8 * 60_000
"""Vertices in one unit of work, about."""


class Options(registry.Options):
    """How meshes are tiled."""

    budget: int = Field(60_000, ge=100, le=5_000_000, description="Vertices that a leaf tile may hold; a layer of up to twice as many is one tile.")
    compression: Compression = Field("meshopt", description="EXT_meshopt_compression of a large model's triangles, or none for clients without it.")
    textures: Format = Field("webp", description="Image format of the tiles' textures (webp, png or jpeg for clients without EXT_texture_webp), or none.")
    texture_quality: int = Field(80, ge=1, le=100, description="Quality of WebP and JPEG textures.")
    texels: int = Field(1 << 25, ge=1 << 16, le=1 << 28, description="Texels that a tile may hold; what is more is scaled down.")
    storey: str = Field("storey", description="Column that names a feature's storey: a model that does not fit into one tile is then cut by building and storey.")
    building: str = Field("building", description="Column that names a feature's building.")
    interior: float = Field(8.0, gt=0, le=1000, description="Metres of error that the inside of a building stands for while only its outside is drawn: 8 shows it within about 500 m.")
    crease: float = Field(30.0, ge=0, le=180, description="Edges steeper than this many degrees stay sharp.")
    in_memory: int = Field(1 << 26, ge=1, exclude=True, description="Bytes of triangles, and of attributes, that are held in memory; more lie on disk. The tiles do not depend on it.")
    subdivision: implicit.Subdivision = Field(
        "explicit", description="How the tree is written: explicit in tileset.json, or implicit in subtrees (a plain quadtree then, without storeys).",
    )  # fmt: skip


def tile(version: LayerVersion, job: TileJob) -> dict[str, Any]:
    """Write the layer's tileset to `job.out`; see the contract in `tiling`.

    Raises:
        BadFeature: no element has a triangle.
        MissingReference: the heights have no vertical datum.
        BadOption: a column is named that the layer does not have.
        StorageError: the disk is full.
    """
    _check_columns(version, job.options)
    with scratch.folder("mesh", job.out.parent) as place:
        elements = Elements.of(job.lake, version, job.options.budget, place / "shapes", job.options.in_memory)
        report = Report(source=version.layer, read=len(elements.table))
        tree = Tree(elements, version, job.options, report)
        past = Past(job)
        if elements.total > ALONE:
            give_back()
        try:
            return _build(version, job, elements, tree, past, report)
        except Spoilt as error:
            past.forget(f"The tiles of the version before cannot be used ({error}); all were made anew.")
            return _build(version, job, elements, tree, past, report)
        finally:
            past.close()


def _check_columns(version: LayerVersion, options: Options) -> None:
    known = [column.name for column in version.columns]
    for name in ("storey", "building"):
        if name in options.model_fields_set and (wanted := getattr(options, name)) not in known:
            raise BadOption(f"Layer {version.layer}: {name}={wanted[:80]} names no column of it.", f"Its columns: {', '.join(known[:40]) or 'none'}.")


def _build(version: LayerVersion, job: TileJob, elements: Elements, tree: Tree, past: Past, report: Report) -> dict[str, Any]:
    report = replace(report, counts=dict(report.counts), notes=list(report.notes))
    if past.trouble:
        report.note("warned", "", past.trouble)
    options = job.options
    if "texture_quality" in options.model_fields_set and options.textures in ("png", "none"):
        kind = "png textures lose nothing" if options.textures == "png" else "no textures are written"
        report.note("warned", "", f"texture_quality={options.texture_quality} has no effect: {kind}.")
    surveys = survey.merge(map(survey.survey, elements.table.batches()))
    schema = metadata.plan(version.layer, elements.table.schema, surveys, version.columns)
    held = elements.once() if elements.one_tile(options.budget) else tree.total  # a tree holds what repeats tile by tile
    style = Style(schema, options.crease, options.compression if held >= PACKED else "none", options.budget,
                  Quality(0.0, options.textures, options.texels, options.texture_quality))  # fmt: skip
    ledger = Ledger()
    workers = job.workers if tree.total > ALONE else 1
    if workers > 1:
        elements.save()
    with Pool(workers) as pool, ArchiveWriter(job.out) as archive, Assembly(past, archive, ledger, rewritten=options.subdivision == "implicit") as work:
        for unit in pool.map(bake_unit, _tasks(elements, style, tree, work, _keys(version, elements, style, tree, rewritten=work.rewritten))):
            for one in unit:
                work.enter(one)
            job.progress(0.05 + 0.93 * work.done / len(tree.cells), f"building tiles ({work.done} of {len(tree.cells)})")
        work.copy()
        built = finished_of(work.table())
        drawn = _settle(elements, tree, built, report)
        if not report.kept:
            raise BadFeature(f"Layer {version.layer}: no element has a triangle that can be drawn.", first_reasons([*version.report.get("notes", []), *report.to_json()["notes"]]))
        tiles = [Tile(crs.enu_frame(*c.centre()), b.error, c.parent, b.low, b.high, f"{c.name}.glb" if b.packed else None)
                 for c, b in zip(tree.cells, built, strict=True)]  # fmt: skip
        shown = surveys if drawn.all() else _survey(elements, drawn)
        about: dict[str, Any] = {"schema": schema.to_json(), "statistics": schema.statistics(shown), "about": job.about}
        document, root, others = told(tiles, [c.name for c in tree.cells], error=ABSENCE * tree.largest, refine="REPLACE", whole=work.rewritten, **about)
        work.settle()
        for other in others:
            archive.add(other.name, other.text())
        archive.add("tileset.json", document)
        size = archive.size
    if options.subdivision == "implicit":
        rewritten, size = implicit.rewrite(job.out, implicit.mercator(), work)
        root = rewritten["root"]
    sidecars = {"sidecars": {LEDGER: ledger.save(job.lake, work.table())}} if len(tree.cells) > 1 else {}
    return _facts(root, tree.cells, built, report, size) | sidecars


def _keys(version: LayerVersion, elements: Elements, style: Style, tree: Tree, *, rewritten: bool) -> Iterator[tuple[Cell, Wanted, bytes]]:
    """Every tile of the plan: what it is to draw, and its key, a digest of all that its bytes depend on. A single tile has none."""
    fields = [asdict(replace(f, values=())) for f in style.schema.fields]  # a tile lists only the values that occur in it
    look = {name: value for name, value in asdict(replace(style, schema=None)).items() if name != "schema"}  # type: ignore[arg-type]
    schema = style.schema
    common = common_key({"code": CODE_VERSION, "class": [schema.class_id, schema.name], "fields": fields, "look": look, "reference": asdict(version.reference),
                         "root": tree.cells[0].name if rewritten else ""})  # implicit tiles are seen from the root's frame
    if len(tree.cells) > 1:
        elements.mark()
    for number, cell in enumerate(tree.cells):
        wanted = tree.wanted(number)
        yield cell, wanted, tile_key(common, cell.name, _traits(elements, wanted)) if len(tree.cells) > 1 else b""
        elements.release()


def _traits(elements: Elements, wanted: Wanted) -> NDArray[np.uint8]:
    """A digest of what tells a tile from others of its name: its pieces, which belong to one feature, and how they are to be drawn."""
    found = hashlib.blake2b(np.array([wanted.leaf, wanted.extent, wanted.hidden]).tobytes() if not wanted.leaf else b"leaf", digest_size=16)
    cut: list[I64] = []
    for some in parts(wanted.rows):
        piece = elements.placed("piece", some)
        traits = [elements.store["pieces"][piece], elements.placed("tie", some)]
        if not wanted.leaf:
            traits.append(elements.placed("size", some))
            own = elements.feature[piece]
            cut.append(own[elements.count_of(own) > 1])
        for one in traits:
            found.update(np.ascontiguousarray(one).data)
    if cut:
        feature = np.concatenate(cut)
        _, number, here = np.unique(feature, return_inverse=True, return_counts=True)
        found.update((here[number.ravel()] == elements.count_of(feature)).tobytes())  # of which all pieces are below this tile
    return np.frombuffer(found.digest(), np.uint8)


Task = tuple[Elements, Style, list[Wanted]]


def _tasks(elements: Elements, style: Style, tree: Tree, work: Assembly, keys: Iterator[tuple[Cell, Wanted, bytes]]) -> Iterator[Task]:
    """Runs of tiles that one process builds at a time: many small ones, or one whose work is large. Those that can be copied are left out."""
    unit: list[Wanted] = []
    weight = 0
    for number, (cell, wanted, key) in enumerate(keys):
        if len(work.want([cell.name], np.frombuffer(key, np.uint64).reshape(-1, 2) if key else np.zeros((1, 2), np.uint64))):
            unit.append(wanted)
            weight += int(tree.weight[number])
        if weight >= UNIT:
            yield elements, style, unit
            unit, weight = [], 0
    if unit:
        yield elements, style, unit


def _survey(elements: Elements, drawn: NDArray[np.bool_]) -> dict[str, survey.Survey]:
    """Of the features that are drawn."""
    first, many = 0, []
    for table in elements.table.batches():
        many.append(survey.survey(table.filter(pa.array(drawn[first : first + len(table)]))))
        first += len(table)
    return survey.merge(many)


def _settle(elements: Elements, tree: Tree, tiles: list[Finished], report: Report) -> NDArray[np.bool_]:
    """(F,) which features are drawn as they are; what became of the others goes into the report: a feature in pieces of which one is drawn was not refused."""
    seen = np.zeros(len(elements.table), bool)
    row_of: dict[str, int] = {}
    for cell, one in zip(tree.cells, tiles, strict=True):
        if cell.leaf:
            features = np.unique(elements.feature[tree.pieces(cell)])
            lost = {feature for action, feature, _ in one.notes if action == "refused"}
            if lost:
                rows = dict(zip(elements.table.ids(features), features.tolist(), strict=True))
                row_of |= {name: rows[name] for name in lost}
                features = np.setdiff1d(features, [rows[name] for name in lost])
            seen[features] = True
            elements.release()
    for cell, one in zip(tree.cells, tiles, strict=True):
        for action, feature, reason in one.notes if cell.leaf else ():
            report.note("repaired" if feature in row_of and seen[row_of[feature]] else action, feature, reason)  # type: ignore[arg-type]
    report.kept = int(seen.sum())
    return seen


def _facts(root: dict[str, Any], cells: list[Cell], tiles: list[Finished], report: Report, size: int) -> dict[str, Any]:
    shown = [one for one in tiles if one.packed is not None]
    leaves = [b for b, c in zip(tiles, cells, strict=True) if c.leaf]
    return {
        "entry": "tileset.json", "tiles": len(shown), "bytes": size,
        "heights": [min(one.heights[0] for one in shown), max(one.heights[1] for one in shown)],
        "root": {key: root[key] for key in ("boundingVolume", "geometricError", "transform") if key in root},
        "stats": {"features": report.kept, "vertices": sum(o.vertices for o in leaves), "triangles": sum(o.triangles for o in leaves),
                  "coarse_tiles": len(cells) - len(leaves), "coarse_triangles": sum(o.triangles for o in tiles) - sum(o.triangles for o in leaves),
                  "raw_bytes": sum(o.packed.size for o in shown if o.packed)},
        "report": report.to_json(),
    }  # fmt: skip


def bake_unit(task: Task) -> list[Finished]:
    """The tiles of one unit of work."""
    elements, style, wanted = task
    try:
        return [bake(elements, style, one) for one in wanted]
    finally:
        elements.release()
        if elements.total > ALONE:
            give_back()
