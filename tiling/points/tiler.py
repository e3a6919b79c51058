"""Point clouds → 3D Tiles 1.1 with glTF points: an additive octree in which every point is drawn exactly once.

Source file → sorted runs (`tiling.points.runs`) → buckets, each a subtree of tiles, and the tiles above them (`tiling.points.octree`) → glb
(`tiling.points.glb`). What the last build made of the same files is copied (`tiling.points.reuse`). All steps are chunks of bounded size, shared among threads: the loops and the decoder run outside the
interpreter lock, and threads start at once where processes would each load Python anew. The bytes do not depend on how many
there are.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field

from tiling import implicit
from tiling.encoding.metadata import schema_of
from tiling.points import frame as point_frame
from tiling.points.colors import choose
from tiling.points.frame import Frame
from tiling.points.glb import Look, encode
from tiling.points.octree import SPACING, Ascent, Choice, Decided, Node, Top, cell_name, grid_of, subtree
from tiling.points.reuse import Branch, PointPast, PointRecord, Unit, mark_of, marks_of, shared, units
from tiling.points.runs import Bucket, Cloud, Columns, Cube, OnDisk, Run, Spool, buckets
from tiling.reuse import Past, Spoilt
from tiling.threads import in_order
from tiling.tileset import Finished, Tile
from tiling.tree_documents import told
from twin import clouds, crs, registry, scratch
from twin.archive import ArchiveWriter, Packed, pack
from twin.errors import BadFeature
from twin.model import Bounds, Column, Layer, LayerVersion, Part, Reference, Report
from twin.registry import TileJob

CODE_VERSION = "11"
BUCKET = 1 << 18
"""Points of a bucket: about 25 MB while it is worked on, and what an edit makes anew at least."""
IN_MEMORY = 1 << 22
"""Points held in memory between the two passes; more go to disk."""


class Options(registry.Options):
    """Options of the point tiler."""

    color: Literal["auto", "rgb", "class", "height", "intensity"] = Field("auto", description="What the points' colours show.")
    points_per_tile: int = Field(40_000, ge=1_000, le=1_000_000, description="A cell with no more points than this is not split.")
    subdivision: implicit.Subdivision = Field("explicit", description="How the tree is written: explicit in tileset.json, or implicit in subtrees.")
    compression: Literal["meshopt", "none"] = Field("meshopt", description="EXT_meshopt_compression, or plain buffers for clients without it.")


@dataclass(frozen=True)
class _Done:
    """A finished tile: what the tileset needs to know, and its bytes."""

    node: tuple[int, int]
    error: float
    count: int
    low: NDArray[np.float64] | None
    high: NDArray[np.float64] | None
    packed: Packed | None


def tile(version: LayerVersion, job: TileJob) -> dict[str, Any]:
    """Write a version's clouds as one archive.

    Returns:
        facts as `tiling` describes; `stats["points"]` is what was written, equal to what was read.

    Raises:
        BadFeature: the version holds no cloud. UnreadableSource: its file is damaged. Cancelled: by `job.progress`.
    """
    past = Past(job)
    try:
        return _build(version, job, past)
    except Spoilt as error:
        past.forget(f"The tiles of the version before cannot be used ({error}); all were made anew.")
        return _build(version, job, past)
    finally:
        past.close()


def _build(version: LayerVersion, job: TileJob, past: Past) -> dict[str, Any]:
    parts = [part for part in version.parts if part.role == "cloud"]
    if not parts:
        raise BadFeature(f"Layer {version.layer} holds no point cloud.", "Ingest a LAS, LAZ or COPC file.")
    options: Options = job.options
    frame, frame_height, sources = _clouds(version, parts, job)
    cube = sources[0].cube
    marks, before = marks_of(sources, frame.matrix), PointPast(past, job.lake)
    with (scratch.folder("points", job.out.parent) as place, (place / "tops").open("wb") as tops,
          ThreadPoolExecutor(max(1, job.workers)) as pool):  # fmt: skip
        spool = Spool([before.cells(mark) for mark in marks])
        reading = _Reading(sources, spool, place, pool, job)
        reading.read([k for k, cells in enumerate(spool.files) if cells is None])
        choice = Choice(cube, grid_of(spool))
        heights = _extremes(version, parts)
        look = _look(version, parts, cube, options, (heights[0] - frame_height, heights[1] - frame_height))
        most = max(BUCKET, options.points_per_tile)
        work = units(spool, most, marks, shared(CODE_VERSION, options.model_dump(), choice, look))
        reading.read(sorted({k for unit in work if not before.knows(unit) for k in unit.files} - reading.done))
        with ArchiveWriter(job.out) as archive:
            record = PointRecord(archive, past, tops, options.subdivision == "implicit")
            making = _Making(record, choice, look, sum(part.count for part in parts), most, job)
            making.all(work, before, spool, pool)
            facts = _finish(archive, making.tiles, frame, choice, parts, look, heights, job.about, whole=options.subdivision == "implicit")
        report = Report(source=version.layer, read=making.total, kept=facts["stats"]["points"])
        if past.trouble:
            report.note("warned", "", past.trouble)
        if making.coincident:
            report.note("warned", "", f"{making.coincident:,} points lie in the very place of another; all are drawn")
        facts["stats"]["coincident"] = making.coincident
        facts["report"] = report.to_json()
        if options.subdivision == "implicit":
            document, facts["bytes"] = implicit.rewrite(job.out, implicit.octree(cube.low, cube.side), record)
            facts["root"] = _root(document["root"])
        facts["stats"]["projection_error_m"] = max(c.patches.error for c in sources)
        facts["sidecars"] = record.save(job.lake, spool, marks)
    return facts


def _clouds(version: LayerVersion, parts: list[Part], job: TileJob) -> tuple[Frame, float, list[Cloud]]:
    """The local frame near the middle of all clouds, its ellipsoidal height, and each cloud with its interpolation table in one cube."""
    whole = Bounds.union(part.bounds for part in parts if part.bounds is not None)
    origin = point_frame.origin_for(version.reference, whole)
    frame = Frame.at(*origin)
    boxes = [clouds.own_bounds(part) for part in parts]
    references = [clouds.own_reference(version, part) for part in parts]
    tables = [point_frame.fit(reference, box, frame) for reference, box in zip(references, boxes, strict=True)]
    ranges = [table.range_of(box.minz, box.maxz) for table, box in zip(tables, boxes, strict=True)]
    cube = Cube.about(float(np.abs(ranges).max()))
    return frame, origin[2], [Cloud(job.lake.path(part.key), part, table, cube, frame, reference) for part, table, reference in zip(parts, tables, references, strict=True)]


@dataclass
class _Reading:
    """Reads files into sorted runs; those behind the first `IN_MEMORY` records lie on disk."""

    sources: list[Cloud]
    spool: Spool
    scratch: Path
    pool: ThreadPoolExecutor
    job: TileJob
    done: set[int] = field(default_factory=set)
    _seen: int = 0
    _number: int = 0

    def read(self, files: list[int]) -> None:
        """All points of some files."""
        total = sum(cloud.part.count for cloud in self.sources)
        for file, found, keys in in_order(self.pool, self._run, self._chunks(files), max(1, self.job.workers)):
            if len(found):
                self.spool.add(file, found, keys)
            self.job.progress(min(0.4, 0.4 * self.spool.held / total), "reading points")
        self.done |= set(files)
        self.spool.close()

    def _chunks(self, files: list[int]) -> Iterator[tuple[int, NDArray[np.uint8], Path | None]]:
        for file in files:
            cloud = self.sources[file]
            for raw in cloud.chunks():
                self._seen, self._number = self._seen + len(raw) // int(cloud.layout["record"]), self._number + 1
                yield file, raw, self.scratch / str(self._number) if self._seen > IN_MEMORY else None

    def _run(self, task: tuple[int, NDArray[np.uint8], Path | None]) -> tuple[int, Run | OnDisk, NDArray[np.uint32]]:
        file, raw, path = task
        found = self.sources[file].run(raw)
        return file, found if path is None else found.spill(path), found.keys


@dataclass
class _Making:
    """Makes the tiles of a cloud, or copies them, in their order."""

    record: PointRecord
    choice: Choice
    look: Look
    total: int
    most: int
    job: TileJob
    tiles: list[_Done] = field(default_factory=list)
    coincident: int = 0

    def all(self, work: list[Unit], before: PointPast, spool: Spool, pool: ThreadPoolExecutor) -> None:
        """All units, each followed by the tiles above it that are decided by it."""
        options: Options = self.job.options
        fresh = [unit for unit in work if not before.knows(unit)]
        split = dict(zip([unit.name for unit in fresh], buckets(spool, [(u.level, u.prefix, u.count) for u in fresh], self.most), strict=True))

        def make(task: tuple[Unit, Bucket | None]) -> tuple[Unit, list[tuple[Branch, list[_Done] | None]]]:
            unit, bucket = task
            if bucket is None:
                return unit, [(branch, None) for branch in before.branches(unit)]
            top, tiles, same = _bucket(bucket, spool, self.look, options.points_per_tile, self.choice)
            names = [_name(one.node) for one in tiles]
            return unit, [(Branch(replace(top, mark=mark_of(unit, bucket.level, bucket.prefix)), names, same), tiles)]

        tasks = [(unit, bucket) for unit in work for bucket in split.get(unit.name, [None])]
        ascent = Ascent(self.choice)
        for unit, made in in_order(pool, make, tasks, max(1, self.job.workers)):
            for branch, tiles in made:
                self._above(ascent.add(branch.top))
                for k, name in enumerate(branch.tiles):
                    self._take(name, unit.key, tiles[k] if tiles is not None else None)
                self.record.branch(unit, branch)
                self.coincident += branch.coincident
            self.job.progress(0.4 + 0.55 * sum(t.count for t in self.tiles) / self.total, "encoding tiles")
        self._above(ascent.finish())
        self.record.flush()

    def _above(self, decided: list[Decided]) -> None:
        """Tiles of which it is decided what they draw."""
        for one in decided:
            for node in one.nodes:
                name = _name((node.level, node.prefix))
                key = hashlib.blake2b(one.mark + name.encode(), digest_size=16).digest()
                if (known := self.record.copy(name, key)) is not None:
                    self.tiles.append(_of_finished(name, known))
                else:
                    self._take(name, key, _encode(node, one.points, self.choice.cube, self.look))

    def _take(self, name: str, key: bytes, made: _Done | None) -> None:
        """Write a tile that was made, or copy it."""
        if made is None:
            known = self.record.copy(name, key)
            assert known is not None
            self.tiles.append(_of_finished(name, known))
            return
        self.record.add(name, key, Finished(made.packed, made.low, made.high, kept=made.count, error=made.error))
        self.tiles.append(replace(made, packed=None))


# --- tiles -------------------------------------------------------------------------------------------------------


def _bucket(bucket: Bucket, spool: Spool, look: Look, most: int, choice: Choice) -> tuple[Top, list[_Done], int]:
    tree = subtree(bucket, bucket.gather(spool.runs), most, choice)
    return tree.top, [_encode(node, tree.points, choice.cube, look) for node in tree.nodes], tree.coincident


def _encode(node: Node, points: Columns, cube: Cube, look: Look) -> _Done:
    place, error = (node.level, node.prefix), node.error * cube.step
    if not len(node.rows):
        return _Done(place, error, 0, None, None, None)
    data, low, high = encode(points, node.rows, cube, look)
    # Compressed columns gain nothing from deflate; plain ones would take longer to deflate than to make.
    return _Done(place, error, len(node.rows), low, high, pack(data, deflate=False))


def _of_finished(name: str, one: Finished) -> _Done:
    """A tile that the last build made."""
    digits = name.rpartition("/r")[2]
    return _Done((len(digits), int(digits or "0", 8)), one.error, one.kept, one.low, one.high, None)


def _name(node: tuple[int, int]) -> str:
    return f"points/{cell_name(*node)}"


def _look(version: LayerVersion, parts: list[Part], cube: Cube, options: Options, heights: tuple[float, float]) -> Look:
    """`heights`: of the lowest and highest point over the tangent plane at the frame's origin."""
    names = {c["code"]: (c["zh"], c["en"]) for part in parts for c in part.properties["classes"]}
    codes = sorted(names)
    class_row = np.zeros(256, np.uint8)
    class_row[codes] = np.arange(len(codes))
    rows = pa.table({
        "classification": pa.array(codes, pa.uint8()), "class_zh": pa.array([names[c][0] for c in codes]),
        "class_en": pa.array([names[c][1] for c in codes]),
    })  # fmt: skip
    columns = [Column("classification", "uint8", "", {"zh": "点类别", "en": "ASPRS class"})]
    table = schema_of(version.layer, rows, columns).encode(rows, "classes")
    low, high = min(p.properties["intensity"][0] for p in parts), max(p.properties["intensity"][1] for p in parts)
    points = f"{table.class_id}_point"
    if high > 0:
        one = {"intensity": {"name": "intensity", "description": "回波强度 / intensity", "type": "SCALAR", "componentType": "UINT16", "required": True}}
        table.schema["classes"][points] = {"name": "point", "properties": one}
    colored = sum(p.count for p in parts if p.properties["has_rgb"]) / sum(p.count for p in parts)
    palette = choose(options.color, colored, len(codes), (low, high), cube, heights)
    return Look(palette, class_row, table, high > 0, options.compression == "meshopt", points)


def _statistics(parts: list[Part], look: Look) -> tuple[dict[str, Any], dict[str, Any]]:
    """(schema, statistics) of tileset.json: how many points there are of each class, and the range of intensities."""
    counts: dict[int, int] = {}
    names: dict[int, str] = {}
    for found in (c for part in parts for c in part.properties["classes"]):
        counts[found["code"]] = counts.get(found["code"], 0) + found["count"]
        names[found["code"]] = found["en"]
    schema = copy.deepcopy(look.table.schema)
    schema["enums"] = {"point_classes": {"name": "ASPRS classes", "valueType": "UINT8", "values": [{"name": names[c], "value": c} for c in sorted(names)]}}
    point = schema["classes"].setdefault(look.point_class, {"name": "point", "properties": {}})
    point["properties"]["class"] = {"name": "class", "description": "点类别 / ASPRS class", "type": "ENUM", "enumType": "point_classes"}
    told: dict[str, Any] = {"class": {"occurrences": {names[c]: counts[c] for c in sorted(counts)}}}
    if look.intensity:
        told["intensity"] = {"min": min(p.properties["intensity"][0] for p in parts), "max": max(p.properties["intensity"][1] for p in parts)}
    return schema, {"classes": {look.point_class: {"count": sum(counts.values()), "properties": told}}}


def _finish(
    archive: ArchiveWriter, done: list[_Done], frame: Frame, choice: Choice, parts: list[Part], look: Look, heights: tuple[float, float], about: Layer | None,
    *, whole: bool,
) -> dict[str, Any]:  # fmt: skip
    total = sum(part.count for part in parts)
    # Where all points of a cell were chosen above it, neither it nor anything below it draws any.
    needed = {(up, prefix >> (3 * (level - up))) for level, prefix in (d.node for d in done if d.count) for up in range(level + 1)}
    place: dict[tuple[int, int], int] = {}
    tiles: list[Tile] = []
    for one in sorted((d for d in done if d.node in needed), key=lambda d: d.node):
        level, prefix = one.node
        place[one.node] = len(tiles)
        parent = place[level - 1, prefix >> 3] if level else -1
        uri = f"{_name(one.node)}.glb" if one.count else None
        tiles.append(Tile(frame.matrix, one.error, parent, one.low, one.high, uri))
    written = sum(d.count for d in done)
    if written != total:
        raise BadFeature(f"{written} of {total} points were written.", "Please report this: no point may be lost.")
    schema, statistics = _statistics(parts, look)
    document, root, others = told(tiles, [_name(node) for node in place], error=choice.cube.side, refine="ADD", whole=whole, schema=schema, statistics=statistics, about=about)
    for other in others:
        archive.add(other.name, other.text())
    archive.add("tileset.json", document)
    return {
        "entry": "tileset.json", "tiles": sum(1 for d in done if d.count), "bytes": archive.size,
        "heights": list(heights), "root": _root(root),
        "stats": {"points": written, "levels": max(d.node[0] for d in done) + 1, "spacing_m": SPACING * choice.cube.side / 2.0**choice.grid},
    }  # fmt: skip


def _root(root: dict[str, Any]) -> dict[str, Any]:
    return {key: root[key] for key in ("boundingVolume", "geometricError", "transform") if key in root}


def _extremes(version: LayerVersion, parts: list[Part]) -> tuple[float, float]:
    """Ellipsoidal heights between which all clouds lie."""
    heights = [_heights(clouds.own_reference(version, part), clouds.own_bounds(part)) for part in parts]
    return min(h[0] for h in heights), max(h[1] for h in heights)


def _heights(reference: Reference, box: Bounds) -> tuple[float, float]:
    """Ellipsoidal heights between which a cloud lies: its extremes shifted at 5 × 5 places of its box."""
    x, y = (a.ravel() for a in np.meshgrid(np.linspace(box.minx, box.maxx, 5), np.linspace(box.miny, box.maxy, 5)))
    low, high = (crs.to_geodetic(reference, np.column_stack([x, y, np.full(25, z)]))[:, 2] for z in (box.minz, box.maxz))
    return float(low.min()), float(high.max())
