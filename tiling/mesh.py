"""Meshes with features (IFC, city models, OBJ and the like) → 3D Tiles.

Every vertex is transformed through the map CRS (law 4); every element has a feature id with all its attributes; materials keep
colour and opacity. The tree is refined by REPLACE (`tiling.levels`): leaves draw the elements as they are, inner tiles draw what is
below them simplified, with the error measured (`tiling.mesh_tile`, ADR 0005). A model that one tile can hold is one tile.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from tiling import metadata, partition
from tiling.blocks import ABSENCE
from tiling.elements import Elements
from tiling.gltf import Compression
from tiling.levels import Cell, Storeys, plan, thin
from tiling.mesh_tile import DETAIL, LIKENESS, Drawn, Style, Wanted, bake
from tiling.pool import Pool
from tiling.rows import id_hash
from tiling.textures import Format, Quality
from tiling.tileset import Tile, dump, tileset
from twin import crs, registry
from twin.archive import ArchiveWriter, Packed
from twin.errors import BadFeature
from twin.model import LayerVersion, Report
from twin.registry import TileJob

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
CODE_VERSION = "4"
ALONE = 4_000_000
"""Vertices below which starting worker processes costs more than it saves."""
PACKED = 250_000
"""Vertices below which a model is written plain: the codec takes half a second to load, as long as all else for a house."""
UNIT = 8
"""Budgets of vertices in one unit of work."""

FAN = 8
"""Budgets below an inner tile that need no tiles in between, if those would not halve its error."""


class Options(registry.Options):
    """How meshes are tiled."""

    budget: int = Field(60_000, ge=100, le=5_000_000, description="Vertices that a leaf tile may hold.")
    compression: Compression = Field("meshopt", description="EXT_meshopt_compression of a large model's triangles, or none for clients without it.")
    textures: Format = Field("webp", description="Image format of the tiles' textures (webp, png or jpeg for clients without EXT_texture_webp), or none.")
    texture_quality: int = Field(80, ge=1, le=100, description="Quality of WebP and JPEG textures.")
    texels: int = Field(1 << 25, ge=1 << 16, le=1 << 28, description="Texels that a tile may hold; what is more is scaled down.")
    storey: str = Field("storey", description="Column that names a feature's storey: a model that does not fit into one tile is then cut by building and storey.")
    building: str = Field("building", description="Column that names a feature's building.")
    interior: float = Field(8.0, gt=0, le=1000, description="Metres of error that the inside of a building stands for while only its outside is drawn: 8 shows it within about 500 m.")
    crease: float = Field(30.0, ge=0, le=180, description="Edges steeper than this many degrees stay sharp.")


def tile(version: LayerVersion, job: TileJob) -> dict[str, Any]:
    """Write the layer's tileset to `job.out`; see the contract in `tiling`.

    Raises:
        BadFeature: no element has a triangle.
        MissingReference: the heights have no vertical datum.
    """
    options = job.options
    elements = Elements.of(job.lake, version, options.budget)
    report = Report(source=version.layer, read=len(elements.table))
    tree = _Tree(elements, version, options, report)
    surveys = metadata.survey(elements.table)
    schema = metadata.plan(version.layer, elements.table.schema, surveys, version.columns)
    style = Style(schema, options.crease, options.compression if tree.total >= PACKED else "none", options.budget,
                  Quality(0.0, options.textures, options.texels, options.texture_quality))  # fmt: skip
    drawn = _Ledger(report, elements)
    with Pool(job.workers if tree.total > ALONE else 1) as pool, ArchiveWriter(job.out) as archive:
        source = (job.lake, version, options.budget) if pool.workers > 1 else elements
        tasks = ((source, style, [tree.wanted(i) for i in run]) for run in tree.units())
        for unit in pool.map(bake_unit, tasks):
            for one in unit:
                cell = tree.cells[len(drawn.tiles)]
                if one.packed is not None:
                    archive.add_packed(f"{cell.name}.glb", one.packed)
                    one.packed = Packed(b"", 0, one.packed.size, False)
                drawn.add(one, cell)
            job.progress(0.05 + 0.93 * len(drawn.tiles) / len(tree.cells), f"building tiles ({len(drawn.tiles)} of {len(tree.cells)})")
        drawn.close()
        if not report.kept:
            raise BadFeature(f"Layer {version.layer}: no element has a triangle that can be drawn.")
        tiles = [Tile(crs.enu_frame(*c.centre()), b.error, c.parent, b.low, b.high, f"{c.name}.glb" if b.packed else None)
                 for c, b in zip(tree.cells, drawn.tiles, strict=True)]  # fmt: skip
        told: dict[str, Any] = {"schema": schema.to_json(), "statistics": schema.statistics(metadata.survey(elements.table.take(drawn.rows()))), "about": job.about}
        document = tileset(tiles, error=ABSENCE * tree.largest, refine="REPLACE", **told)
        archive.add("tileset.json", dump(document))
        bytes_now = archive.size
    shown = [one for one in drawn.tiles if one.packed is not None]
    leaves = [b for b, c in zip(drawn.tiles, tree.cells, strict=True) if c.leaf]
    root = document["root"]
    return {
        "entry": "tileset.json", "tiles": len(shown), "bytes": bytes_now,
        "heights": [min(one.heights[0] for one in shown), max(one.heights[1] for one in shown)],
        "root": {key: root[key] for key in ("boundingVolume", "geometricError", "transform") if key in root},
        "stats": {"features": report.kept, "vertices": sum(o.vertices for o in leaves), "triangles": sum(o.triangles for o in leaves),
                  "coarse_tiles": len(tree.cells) - len(leaves), "coarse_triangles": sum(o.triangles for o in drawn.tiles) - sum(o.triangles for o in leaves),
                  "raw_bytes": sum(o.packed.size for o in shown if o.packed)},
        "report": report.to_json(),
    }  # fmt: skip


class _Tree:
    """The plan of a layer, and what each of its tiles is to draw."""

    def __init__(self, elements: Elements, version: LayerVersion, options: Options, report: Report) -> None:
        box, weight, unit = elements.measure()
        good = np.flatnonzero(np.isfinite(box).all(axis=(1, 2)) & (weight > 0))
        ids = elements.table.column("id")
        for lost in np.setdiff1d(np.arange(len(elements.table)), elements.feature[good]):
            report.note("refused", ids[int(lost)].as_py(), "no triangles, or coordinates that are not finite")
        partly = np.setdiff1d(np.arange(len(box)), good)
        for feature in np.intersect1d(elements.feature[partly], elements.feature[good]):
            gone = int(weight[partly[elements.feature[partly] == feature]].sum()) // 2
            report.note("repaired", ids[int(feature)].as_py(), f"{gone} triangles beside coordinates that are not finite were left out")
        if not len(good):
            raise BadFeature(f"Layer {version.layer}: no element has a triangle that can be drawn.")
        self.piece, self.box, self.weight = good, (box[good] - box[good[0], 0]) * unit, weight[good]
        self.size = _sizes(elements.feature[good], self.box)
        self.tie = id_hash(ids.combine_chunks())[elements.feature[good]]
        middle = box[good].mean(axis=1)
        lon, lat = crs.to_lonlat(version.reference.horizontal, middle[:, 0], middle[:, 1])
        self.total, self.largest, self.interior = int(self.weight.sum()), float(self.size.max()), options.interior
        code = partition.project(lon, lat)
        self.storeys = _storeys(elements, good, code, unit, options) if self.total > options.budget else None
        cells = plan(code, self.weight, self.tie, options.budget, self.storeys)
        self.cells = thin(cells, [self._expected(c) for c in cells], [float(self.weight[c.rows].sum()) for c in cells], FAN * options.budget)

    def _expected(self, cell: Cell) -> float:
        """The error that a tile's forms aim at."""
        return 0.0 if cell.leaf else min(self._extent(cell.rows) / DETAIL, float(self.size[cell.rows].max()) / LIKENESS)

    def _extent(self, rows: I64) -> float:
        return float(np.linalg.norm(self.box[rows, 1].max(axis=0) - self.box[rows, 0].min(axis=0)))

    def wanted(self, number: int) -> Wanted:
        """What tile `number` is to draw."""
        cell = self.cells[number]
        rows, hidden = cell.rows, 0.0
        if cell.outside and self.storeys is not None and self.storeys.visible[rows].any():
            inside = rows[~self.storeys.visible[rows]]
            rows = rows[self.storeys.visible[rows]]
            hidden = min(ABSENCE * float(self.size[inside].max(initial=0.0)), self.interior)
        return Wanted(cell.centre(), self.piece[rows], cell.leaf, self.size[rows], self.tie[rows], self._extent(rows), hidden)

    def units(self) -> list[range]:
        """Runs of tiles that one process builds at a time: many small ones, or one whose work is large."""
        return partition.units([partition.Cell(c.level, c.x, c.y, c.rows, c.parent, 0.0) for c in self.cells], self.weight, UNIT * 60_000)


def _storeys(elements: Elements, pieces: I64, code: NDArray[np.uint64], unit: F64, options: Options) -> Storeys | None:
    """The buildings and storeys of a layer whose features name theirs."""
    if options.storey not in elements.table.column_names:
        return None
    from tiling.shell import storeys_of  # noqa: PLC0415  numba takes half a second to load: only models with storeys need it

    return storeys_of(elements, pieces, code, unit, options.storey, options.building)


def _sizes(feature: I64, box: F64) -> F64:
    """(P,) the diagonal, in metres, of the whole feature that each piece belongs to."""
    starts = np.flatnonzero(np.concatenate([[True], feature[1:] != feature[:-1]]))
    low, high = np.minimum.reduceat(box[:, 0], starts), np.maximum.reduceat(box[:, 1], starts)
    return np.asarray(np.repeat(np.linalg.norm(high - low, axis=1), np.diff([*starts, len(feature)])), np.float64)


class _Ledger:
    """The tiles in order, and what became of each feature: counted where it is drawn as it is."""

    def __init__(self, report: Report, elements: Elements) -> None:
        self.report, self.tiles = report, list[Drawn]()
        self._seen = np.zeros(len(elements.table), bool)
        self._notes: list[tuple[str, str, str]] = []
        self._ids = elements.table.column("id")

    def add(self, one: Drawn, cell: Cell) -> None:
        """Another tile."""
        self.tiles.append(one)
        if cell.leaf:
            self._seen[one.features] = True
            self._notes += one.notes
        one.features, one.notes = one.features[:0], []

    def rows(self) -> I64:
        """Of the table: the features that are drawn."""
        return np.flatnonzero(self._seen)

    def close(self) -> None:
        """Write the report: a feature in pieces of which one is drawn was not refused."""
        drawn = {self._ids[int(i)].as_py() for i in np.flatnonzero(self._seen)} if any(n[0] == "refused" for n in self._notes) else set()
        for action, feature, reason in self._notes:
            self.report.note("repaired" if feature in drawn else action, feature, reason)  # type: ignore[arg-type]
        self.report.kept = int(self._seen.sum())


_read: dict[str, Elements] = {}


def bake_unit(task: tuple[Any, Style, list[Wanted]]) -> list[Drawn]:
    """The tiles of one unit of work; a worker process reads the layer once and keeps it."""
    source, style, wanted = task
    if isinstance(source, Elements):
        elements = source
    else:
        lake, version, budget = source
        key = f"{budget} " + "".join(part.key for part in version.parts)
        if key not in _read:
            _read.clear()
            _read[key] = Elements.of(lake, version, budget)
        elements = _read[key]
    return [bake(elements, style, one) for one in wanted]
