"""Terrain layer → quantized-mesh tiles in an archive (layer.json and {z}/{x}/{y}.terrain), and the same ground as 3D Tiles.

Scheme: EPSG:4326, TMS, two root tiles, 64 × 64 lattice steps a tile. Each level is meshed on its own (`rtin`) with a
tolerance of a seventh of the error that Cesium takes a tile of that level to have, so what is on the screen is right to a
fraction of a pixel. Work goes in blocks of tiles over threads (the kernels and the compressor release the interpreter); the
blocks are written in order, so the bytes do not depend on the number of workers.
"""

from __future__ import annotations

import json
import math
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import astuple, dataclass, field
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from pydantic import Field

from tiling.reuse import Past, Spoilt, common_key
from tiling.terrain import levels as terrain_levels
from tiling.terrain import quantized_mesh as qm
from tiling.terrain import rtin
from tiling.terrain.audit import Audit, draw_audit
from tiling.terrain.glb import GroundTile, coarsest, ground_tile, ground_tileset
from tiling.terrain.levels import Block, Rect, spacing
from tiling.terrain.pack import pack_mesh
from tiling.terrain.reuse import Inputs, Record, key_of, known
from tiling.terrain.rtin import STEPS
from tiling.terrain.surface import Surface, lattice
from tiling.terrain.water import Water, read_water
from tiling.tileset import dump
from twin.angles import sine_cosine
from twin.archive import ArchiveWriter, Packed
from twin.errors import BadOption
from twin.ground import raster_parts
from twin.model import Bounds, LayerVersion
from twin.registry import Options as BaseOptions
from twin.registry import TileJob

CODE_VERSION = "terrain-9"
BLOCK = 16
MOST_TILES = 4_000_000
CACHE = 64 << 20
"""Bytes of unpacked blocks that GDAL keeps: enough to read each once or twice. (rasterio takes bytes here, where GDAL itself takes megabytes.)"""
#: Levels from one tile with metadata to the next; each says which of its descendants there are, so many levels deep.
METADATA_EVERY = 10

F64 = NDArray[np.float64]


class Options(BaseOptions):
    """How a terrain is tiled."""

    max_level: int | None = Field(None, ge=0, le=terrain_levels.FINEST, description="Finest level; by default the one whose mesh is as fine as the raster's cells.")
    tolerance: float = Field(0.15, gt=0, le=1, description="Largest error of a level, as a share of the error Cesium assumes for it.")
    finest_error: float = Field(0.1, ge=0, le=100, description="Metres: no level is meshed more exactly than this.")
    apron: float = Field(5000.0, ge=0, le=1_000_000, description="Metres over which the ground falls to sea level outside the raster.")
    voids: str = Field("fill", pattern="^(fill|sea)$", description="Cells without data: filled from around, or at sea level.")
    output: str = Field("quantized-mesh", pattern="^(quantized-mesh|3dtiles|both)$", description="quantized-mesh for terrain clients, 3dtiles for clients without terrain, or both.")

    @property
    def models(self) -> bool:
        """Whether 3D Tiles are wanted."""
        return self.output != "quantized-mesh"

    @property
    def meshes(self) -> bool:
        """Whether quantized-mesh tiles are wanted."""
        return self.output != "3dtiles"


@dataclass
class LevelStats:
    """What was measured on a level."""

    tiles: int = 0
    triangles: int = 0
    vertices: int = 0
    mesh_error: float = 0.0
    dem_error: float = 0.0
    dem_square: float = 0.0
    dem_samples: int = 0
    low: float = math.inf
    high: float = -math.inf

    def add(self, other: LevelStats) -> None:
        """Take in what was measured on other tiles of the level."""
        self.tiles += other.tiles
        self.triangles += other.triangles
        self.vertices += other.vertices
        self.mesh_error, self.dem_error = max(self.mesh_error, other.mesh_error), max(self.dem_error, other.dem_error)
        self.dem_square += other.dem_square
        self.dem_samples += other.dem_samples
        self.low, self.high = min(self.low, other.low), max(self.high, other.high)


@dataclass(frozen=True)
class Plan:
    """What all blocks need: the ground, where it is audited, its tiles level by level, its water, the options."""

    surface: Surface
    audit: Audit
    levels: list[list[Rect]]
    water: Water | None
    options: Options

    def tolerance(self, z: int) -> float:
        """Metres by which the mesh of a level may miss its height field."""
        return terrain_levels.tolerance(z, self.options.tolerance, self.options.finest_error)


    def depends(self, block: Block, inputs: Inputs) -> Any:
        """What a block's bytes depend on besides code and options (JSON values)."""
        z, tiles, size = block.z, [*block.places()], 180 / 2**block.z
        found: dict[str, Any] = {"rasters": inputs.reaching(self.surface, block, spacing(z))}
        if self.water is not None:
            found["water"] = self.water.near(Bounds(block.x0 * size - 180, block.y0 * size - 90, (block.x1 + 1) * size - 180, (block.y1 + 1) * size - 90))
        if z % METADATA_EVERY == 0:
            found["below"] = [terrain_levels.below(self.levels, *tile, METADATA_EVERY) for tile in tiles]
        if self.options.models:
            found["split"] = [terrain_levels.holds(self.levels, z + 1, 2 * x, 2 * y) for _, x, y in tiles]
        return found

    @property
    def models_from(self) -> int:
        """The level from which on there are 3D Tiles, if they are wanted."""
        return coarsest([terrain_levels.count(rects) for rects in self.levels])

    def names(self, block: Block) -> list[str]:
        """Its files, in the order in which they are written."""
        kinds = [kind for kind, wanted in ((".terrain", self.options.meshes), (".glb", self.options.models and block.z >= self.models_from)) if wanted]
        return [f"{z}/{x}/{y}{kind}" for z, x, y in block.places() for kind in kinds]


@dataclass
class Made:
    """What became of a block: files in order, measurements, and the 3D tiles' places."""

    files: list[tuple[str, Packed]] = field(default_factory=list)
    stats: LevelStats = field(default_factory=LevelStats)
    grounds: list[GroundTile] = field(default_factory=list)


def tile(version: LayerVersion, job: TileJob) -> dict[str, Any]:
    """Write the archive of a terrain version.

    Returns:
        entry, tiles, bytes, heights (ellipsoidal), stats (per level: tolerance; `mesh_error`, the largest distance from the
        height field of the level at its lattice points; `dem_error`, the largest distance from cells of the full rasters,
        at a sample of them), `error_bound` per level: the largest dem_error there or deeper), report (voids and what was done
        with them) and, with 3D Tiles, `root` of their tileset.

    Raises:
        BadFeature: no raster.
        BadOption: the finest level asked for means more than four million tiles.
        MissingReference: heights without a datum.
    """
    options: Options = job.options
    surface = Surface.of(version, job.lake, options.apron, options.voids == "fill")
    try:
        finest = [terrain_levels.finest_bounded(f) if options.max_level is None else options.max_level for f in surface.fields]
        narrow = [terrain_levels.finest_level(f) for f in surface.fields if options.max_level is None and terrain_levels.finest_bounded(f) < terrain_levels.finest_level(f)]
        levels = terrain_levels.level_rects(surface.fields, finest, whole=options.models)
        total = sum(terrain_levels.count(rects) for rects in levels)
        if total > MOST_TILES:
            raise BadOption(f"{version.layer}: {total:,} tiles down to level {max(finest)} are too many.", "Choose a coarser one: --option max_level=N.")
        with rasterio.Env(GDAL_CACHEMAX=CACHE):
            plan = Plan(surface, draw_audit(surface.fields), levels, read_water(version, job.lake), options)
            past = Past(job)
            try:
                stats, root, record = _write(plan, job, version, past)
            except Spoilt as error:
                past.forget(f"The tiles of the version before cannot be used ({error}); all were made anew.")
                stats, root, record = _write(plan, job, version, past)
            finally:
                past.close()
        voids = [part.properties["voids"] if "voids" in part.properties else field.voids() for part, field in zip(raster_parts(version), surface.fields, strict=True)]
    finally:
        surface.close()
    treatment = "filled from the data around them; at sea level where that is more than about 128 cells away" if options.voids == "fill" else "at sea level"
    report = {"voids": sum(v or 0 for v in voids), "void_treatment": treatment if any(voids) else "none",
              "outside": f"falls to the EGM96 sea level within {options.apron:g} m of the raster", "copied": record.copied}  # fmt: skip
    notes = [past.trouble] if past.trouble else []
    if narrow:
        notes.append(f"tiles stop at level {max(finest)}, where {max(narrow)} would be as fine as the cells: round a pole tiles are so narrow that there would be too many (--option max_level={max(narrow)})")
    if notes:
        report["notes"] = [{"action": "warned", "feature": "", "reason": note} for note in notes]
    bounds = np.maximum.accumulate([level.dem_error for level in stats][::-1])[::-1]
    described = [{**_level_json(z, level, plan), "error_bound": float(bound)} for z, (level, bound) in enumerate(zip(stats, bounds, strict=True))]
    info = {"entry": "layer.json" if options.meshes else "tileset.json", "tiles": total, "bytes": job.out.stat().st_size,
            "heights": [float(stats[-1].low), float(stats[-1].high)], "stats": {"levels": described}, "report": report, "sidecars": record.save(job, total)}  # fmt: skip
    return info | ({"root": root, "tileset": "tileset.json"} if root else {})


def _write(plan: Plan, job: TileJob, version: LayerVersion, past: Past) -> tuple[list[LevelStats], dict[str, Any] | None, Record]:
    """All blocks into the archive, in order: those that are as they were are copied, the others are made."""
    stats, grounds, record = [LevelStats() for _ in plan.levels], list[GroundTile](), Record()
    total, done = sum(terrain_levels.count(rects) for rects in plan.levels), 0
    common = common_key({"code": CODE_VERSION, "options": plan.options.model_dump(), "water": plan.water is not None})
    inputs = Inputs.of(version)
    blocks = terrain_levels.blocks(plan.levels, BLOCK)
    with ArchiveWriter(job.out) as archive, ThreadPoolExecutor(max(1, job.workers)) as pool:
        if plan.options.meshes:
            archive.add("layer.json", layer_json(plan, version))
        waiting: deque[tuple[Block, bytes, Future[Made] | Known]] = deque()
        try:
            while True:
                while len(waiting) < job.workers + 1 and (block := next(blocks, None)) is not None:
                    key = key_of(common, block, plan.depends(block, inputs))
                    waiting.append((block, key, known(past, block, key, plan.names(block)) or pool.submit(make_block, plan, block)))
                if not waiting:
                    break
                block, key, work = waiting.popleft()
                checks, measured, places = _file(archive, work) if isinstance(work, Future) else _copy(archive, past, work)
                record.copied += 0 if isinstance(work, Future) else block.tiles
                record.add(block, key, checks, astuple(measured), places)
                stats[block.z].add(measured)
                grounds.extend(places)
                done += block.tiles
                job.progress(done / total, f"level {block.z} of {len(plan.levels) - 1}")
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise
        if not plan.options.models:
            return stats, None, record
        value = ground_tileset(grounds, [max(level.dem_error, level.mesh_error) for level in stats], job.about)
        archive.add("tileset.json", dump(value))
    root = {key: v for key, v in value["root"].items() if key in ("boundingVolume", "geometricError", "transform")}
    return stats, root, record


Known = tuple[dict[str, int], list[float], list[GroundTile]]


def _file(archive: ArchiveWriter, work: Future[Made]) -> tuple[dict[str, int], LevelStats, list[GroundTile]]:
    """Write a block that was made."""
    made = work.result()
    for name, packed in made.files:
        archive.add_packed(name, packed)
    return {name: packed.check for name, packed in made.files}, made.stats, made.grounds


def _copy(archive: ArchiveWriter, past: Past, work: Known) -> tuple[dict[str, int], LevelStats, list[GroundTile]]:
    """Copy a block of the build before."""
    checks, measured, grounds = work
    past.copy(archive, checks)
    return checks, LevelStats(*measured), grounds  # type: ignore[arg-type]


def layer_json(plan: Plan, version: LayerVersion) -> bytes:
    """The terrain's description (TileJSON with Cesium's terrain members)."""
    boxes = [f.extent for f in plan.surface.fields]
    extent = Bounds.union(boxes)
    across = extent.maxx > 180.0
    extensions = ["octvertexnormals", *(["watermask"] if plan.water else []), "metadata"]
    value = {
        "tilejson": "2.1.0", "name": version.layer, "version": "1.0.0", "format": "quantized-mesh-1.0", "scheme": "tms",
        "projection": "EPSG:4326", "extensions": extensions, "tiles": ["{z}/{x}/{y}.terrain"],
        "minzoom": 0, "maxzoom": len(plan.levels) - 1, "metadataAvailability": METADATA_EVERY,
        "bounds": [-180.0 if across else max(extent.minx, -180.0), max(extent.miny, -90.0), min(extent.maxx, 180.0), min(extent.maxy, 90.0)],  # the edge of the last cell may lie beyond by rounding
        "available": terrain_levels.available(plan.levels),
    }  # fmt: skip
    return json.dumps(value, ensure_ascii=False, indent=1).encode()


def make_block(plan: Plan, block: Block) -> Made:
    """Mesh and encode the tiles of a block, row by row from the south."""
    z, step, allowed = block.z, spacing(block.z), plan.tolerance(block.z)
    lon = lattice(block.x0 - 1, block.x1 + 1, z, -180.0)
    lat = np.clip(lattice(block.y0 - 1, block.y1 + 1, z, -90.0), -90.0, 90.0)
    height = plan.surface.sample(lon, lat, z, step)
    cost = rtin.costs(height, sine_cosine(lat)[1] * step, step)
    lam, phi = np.radians(lon), np.radians(lat)
    turns, rises = qm.circles(lon, lat)
    vertices, triangles = np.empty((4225, 2), np.int32), np.empty((8192, 3), np.int32)
    index, out, header = np.full((65, 65), -1, np.int32), np.empty(qm.LARGEST, np.uint8), np.empty(12)
    result = Made()
    for y in range(block.y0, block.y1 + 1):
        for x in range(block.x0, block.x1 + 1):
            row, column = (y - block.y0 + 1) * STEPS, (x - block.x0 + 1) * STEPS
            used, made = rtin.triangulate(cost, row, column, allowed, index, vertices, triangles)
            size = qm.encode(height, row, column, lam, phi, turns, rises, vertices, used, triangles, made, qm.QUANTA, out, header)
            error = rtin.largest_error(height, row, column, vertices, triangles, made)
            if plan.options.meshes:
                result.files.append((f"{z}/{x}/{y}.terrain", pack_mesh(qm.header_bytes(header) + out[qm.HEADER : size].tobytes() + _extras(plan, z, x, y, error))))
            if plan.options.models and z >= plan.models_from:
                corner = (row, column, lam, phi, turns, rises)
                # not by a large finest_error: small tiles would have corners outside of their volumes
                rounding = 0.01 * terrain_levels.tolerance(z, plan.options.tolerance, min(plan.options.finest_error, 0.1)) if terrain_levels.holds(plan.levels, z + 1, 2 * x, 2 * y) else 0.001
                packed, place = ground_tile(height, corner, vertices[:used], triangles[:made], (z, x, y), rounding)
                result.files.append((place.uri, packed))
                result.grounds.append(place)
            result.stats.add(LevelStats(1, made, used, error, low=header[3], high=header[4]))
    found = plan.audit.measure(height, cost, allowed, block.x0 - 1, block.y0 - 1, z, lon, lat)
    result.stats.dem_error, result.stats.dem_square, result.stats.dem_samples = found
    return result


def _extras(plan: Plan, z: int, x: int, y: int, error: float) -> bytes:
    """The water mask and, on every tenth level, the metadata of a tile."""
    body = b""
    if plan.water is not None:
        body += qm.extension(2, plan.water.mask(z, x, y))
    if z % METADATA_EVERY == 0:
        value = {"geometricerror": round(float(error), 3), "available": terrain_levels.below(plan.levels, z, x, y, METADATA_EVERY)}
        text = json.dumps(value, separators=(",", ":")).encode()
        body += qm.extension(4, len(text).to_bytes(4, "little") + text)
    return body


def _level_json(z: int, level: LevelStats, plan: Plan) -> dict[str, Any]:
    rms = math.sqrt(level.dem_square / level.dem_samples) if level.dem_samples else 0.0
    return {"level": z, "tolerance": plan.tolerance(z), "tiles": level.tiles, "triangles": level.triangles, "vertices": level.vertices,
            "mesh_error": float(level.mesh_error), "dem_error": float(level.dem_error), "dem_rms": rms, "dem_samples": level.dem_samples}  # fmt: skip
