"""Terrain layer → quantized-mesh tiles in an archive (layer.json and {z}/{x}/{y}.terrain), for Cesium's terrain provider.

Scheme: EPSG:4326, TMS, two root tiles, 64 × 64 lattice steps a tile. Each level is meshed on its own (`rtin`) with a
tolerance of a seventh of the error that Cesium takes a tile of that level to have, so what is on the screen is right to a
fraction of a pixel. Work goes in blocks of 12 × 12 tiles over threads (the kernels and zlib release the interpreter); the
blocks are written in order, so the bytes do not depend on the number of workers.
"""

from __future__ import annotations

import json
import math
import zlib
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from pydantic import Field

from tiling import quantized_mesh as qm
from tiling import rtin
from tiling.audit import Audit, draw_audit
from tiling.heights import DEGREE, HeightField
from tiling.rtin import STEPS
from twin.archive import ArchiveWriter, Packed
from twin.errors import BadFeature, BadOption
from twin.model import Bounds, LayerVersion
from twin.parts import raster_part
from twin.registry import Options as BaseOptions
from twin.registry import TileJob

CODE_VERSION = "terrain-1"
BLOCK = 12
MOST_TILES = 4_000_000
SMALL_RASTER = 2_000_000  # cells
#: Error, in metres, that CesiumJS takes a root tile to have; half of it at every further level
#: (TerrainProvider.getEstimatedLevelZeroGeometricErrorForAHeightmap with 65 samples and 2 root tiles).
ROOT_ERROR = 6378137.0 * 2 * math.pi * 0.25 / (65 * 2)

F64 = NDArray[np.float64]


class Options(BaseOptions):
    """How a terrain is tiled."""

    max_level: int | None = Field(None, ge=0, le=22, description="Finest level; by default the one whose mesh is as fine as the raster's cells.")
    tolerance: float = Field(0.15, gt=0, le=1, description="Largest error of a level, as a share of the error Cesium assumes for it.")
    finest_error: float = Field(0.1, ge=0, description="Metres: no level is meshed more exactly than this.")
    apron: float = Field(5000.0, ge=0, description="Metres over which the ground falls to sea level outside the raster.")
    voids: str = Field("fill", pattern="^(fill|sea)$", description="Cells without data: filled from around, or at sea level.")


@dataclass(frozen=True, slots=True)
class Block:
    """Some neighbouring tiles of one level: columns x0…x1 and rows y0…y1, the last ones included."""

    z: int
    x0: int
    y0: int
    x1: int
    y1: int

    @property
    def tiles(self) -> int:
        """How many tiles it has."""
        return (self.x1 - self.x0 + 1) * (self.y1 - self.y0 + 1)


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


def tile(version: LayerVersion, job: TileJob) -> dict[str, Any]:
    """Write the archive of a terrain version.

    Returns:
        entry, tiles, bytes, heights (ellipsoidal), stats (per level: tolerance; `mesh_error`, the largest distance from the
        height field of the level at its lattice points; `dem_error`, the largest distance from cells of the full raster,
        at a sample of them) and report (voids and what was done with them).

    Raises:
        BadFeature: no raster, or one that crosses the antimeridian.
        BadOption: the finest level asked for means more than four million tiles.
        MissingReference: the version's heights have no datum.
    """
    options: Options = job.options
    part = raster_part(version)
    field = HeightField(job.lake.path(part.key), version.reference, options.apron, options.voids == "fill")
    try:
        finest = options.max_level if options.max_level is not None else finest_level(field)
        ranges = [tile_range(field.extent, z) for z in range(finest + 1)]
        check_extent(field, version.layer)
        count = sum((x1 - x0 + 1) * (y1 - y0 + 1) for x0, y0, x1, y1 in ranges)
        if count > MOST_TILES:
            raise BadOption(f"{version.layer}: {count:,} tiles down to level {finest} are too many.", "Choose a coarser one: --option max_level=N.")
        with rasterio.Env(GDAL_CACHEMAX=64):  # MB; each block of the raster is read once or twice
            levels = _write(field, draw_audit(field), ranges, options, job, version)
    finally:
        field.close()
    voids = part.properties.get("voids")
    voids = field.voids() if voids is None else voids
    treatment = "filled from the data around them; at sea level where that is more than about 128 cells away" if options.voids == "fill" else "at sea level"
    report = {"voids": voids, "void_treatment": treatment if voids else "none",
              "outside": f"falls to the EGM96 sea level within {options.apron:g} m of the raster"}  # fmt: skip
    return {
        "entry": "layer.json", "tiles": count, "bytes": job.out.stat().st_size,
        "heights": [float(levels[-1].low), float(levels[-1].high)],
        "stats": {"levels": [_level_json(z, level, options) for z, level in enumerate(levels)]}, "report": report,
    }  # fmt: skip


def tolerance(z: int, options: Options) -> float:
    """Metres by which the mesh of a level may miss its height field."""
    return max(options.tolerance * ROOT_ERROR * 0.5**z, options.finest_error)


def spacing(z: int) -> float:
    """Metres between the lattice points of a level, north to south."""
    return 180 * 0.5**z / STEPS * DEGREE


def finest_level(field: HeightField) -> int:
    """The first level whose lattice is about as fine as the cells (at most a quarter wider); one more for a small raster.

    Between lattice points the mesh cuts off what the cells hold, by a quarter as much at each further level. A city's own
    raster is small, its buildings stand on it, and a further level of it costs nothing.
    """
    middle = math.cos(math.radians((field.extent.miny + field.extent.maxy) / 2))
    ratio = max(1 / field.cell[1], middle / field.cell[0]) * 180 * DEGREE / STEPS
    further = 1 if field.size[0] * field.size[1] <= SMALL_RASTER else 0
    return min(max(math.ceil(math.log2(ratio) - 0.33) + further, 0), 22)


def tile_range(extent: Bounds, z: int) -> tuple[int, int, int, int]:
    """(x0, y0, x1, y1), ends included, of the tiles of a level that touch an extent; both roots at level 0."""
    if z == 0:
        return 0, 0, 1, 0
    width, columns, rows = 180 / 2**z, 2 ** (z + 1), 2**z
    x0, y0 = int((extent.minx + 180) // width), int((extent.miny + 90) // width)
    x1, y1 = math.ceil((extent.maxx + 180) / width) - 1, math.ceil((extent.maxy + 90) / width) - 1
    x0, y0 = min(max(x0, 0), columns - 1), min(max(y0, 0), rows - 1)
    return x0, y0, min(max(x1, x0), columns - 1), min(max(y1, y0), rows - 1)


def check_extent(field: HeightField, layer: str) -> None:
    """Refuse a raster that crosses 180° (its longitudes would then seem to span the globe)."""
    seen = (field.extent.maxx - field.extent.minx) * math.cos(math.radians((field.extent.miny + field.extent.maxy) / 2)) * DEGREE
    real = field.cell[0] * field.size[0]
    if field.extent.maxx > 180.0001 + field.cell[0] / DEGREE or (seen > 2 * real + DEGREE and field.extent.maxx - field.extent.minx > 180):
        raise BadFeature(f"{layer}: the raster crosses 180° of longitude.", "Cut it there into two layers.")


def _blocks(ranges: list[tuple[int, int, int, int]]) -> Iterator[Block]:
    for z, (x0, y0, x1, y1) in enumerate(ranges):
        for y in range(y0, y1 + 1, BLOCK):
            for x in range(x0, x1 + 1, BLOCK):
                yield Block(z, x, y, min(x + BLOCK - 1, x1), min(y + BLOCK - 1, y1))


def _write(field: HeightField, audit: Audit, ranges: list[tuple[int, int, int, int]], options: Options, job: TileJob,
           version: LayerVersion) -> list[LevelStats]:  # fmt: skip
    levels = [LevelStats() for _ in ranges]
    total, done = sum((x1 - x0 + 1) * (y1 - y0 + 1) for x0, y0, x1, y1 in ranges), 0
    with ArchiveWriter(job.out) as archive, ThreadPoolExecutor(max(1, job.workers)) as pool:
        archive.add("layer.json", layer_json(field.extent, ranges, version))
        waiting: deque[tuple[Block, Future[tuple[list[tuple[str, Packed]], LevelStats]]]] = deque()
        blocks = _blocks(ranges)
        try:
            while True:
                while len(waiting) < job.workers + 1 and (block := next(blocks, None)) is not None:
                    waiting.append((block, pool.submit(make_block, field, audit, block, tolerance(block.z, options))))
                if not waiting:
                    break
                block, future = waiting.popleft()
                files, stats = future.result()
                for name, packed in files:
                    archive.add_packed(name, packed)
                _merge(levels[block.z], stats)
                done += block.tiles
                job.progress(done / total, f"level {block.z} of {len(ranges) - 1}")
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise
    return levels


def layer_json(extent: Bounds, ranges: list[tuple[int, int, int, int]], version: LayerVersion) -> bytes:
    """The terrain's description (TileJSON with Cesium's terrain members)."""
    value = {
        "tilejson": "2.1.0", "name": version.layer, "version": "1.0.0", "format": "quantized-mesh-1.0", "scheme": "tms",
        "projection": "EPSG:4326", "extensions": ["octvertexnormals"], "tiles": ["{z}/{x}/{y}.terrain"],
        "minzoom": 0, "maxzoom": len(ranges) - 1, "bounds": [extent.minx, extent.miny, extent.maxx, extent.maxy],
        "available": [[{"startX": x0, "startY": y0, "endX": x1, "endY": y1}] for x0, y0, x1, y1 in ranges],
    }  # fmt: skip
    return json.dumps(value, ensure_ascii=False, indent=1).encode()


def lattice(first: int, last: int, z: int, south: float) -> F64:
    """Degrees of the lattice positions of tiles first … last (ends included, shared ends once) from −180 or −90."""
    whole = np.arange(first, last + 1)[:, None] + qm.QUANTA[None, :STEPS] / 32767
    return np.asarray(np.append(whole.ravel(), last + 1.0) * (180 / 2**z) + south)


def make_block(field: HeightField, audit: Audit, block: Block, allowed: float) -> tuple[list[tuple[str, Packed]], LevelStats]:
    """Mesh and encode the tiles of a block → (name and packed bytes of each, row by row from the south; what was measured)."""
    z = block.z
    lon = lattice(block.x0 - 1, block.x1 + 1, z, -180.0)
    lat = np.clip(lattice(block.y0 - 1, block.y1 + 1, z, -90.0), -90.0, 90.0)
    height = field.sample(lon, lat, z, spacing(z))
    step = spacing(z)
    cost = rtin.costs(height, np.cos(np.radians(lat)) * step, step)
    lam, phi = np.radians(lon), np.radians(lat)
    vertices, triangles = np.empty((4225, 2), np.int32), np.empty((8192, 3), np.int32)
    index, out, header = np.full((65, 65), -1, np.int32), np.empty(qm.LARGEST, np.uint8), np.empty(12)
    files, stats = [], LevelStats()
    for y in range(block.y0, block.y1 + 1):
        for x in range(block.x0, block.x1 + 1):
            row, column = (y - block.y0 + 1) * STEPS, (x - block.x0 + 1) * STEPS
            used, made = rtin.triangulate(cost, row, column, allowed, index, vertices, triangles)
            size = qm.encode(height, row, column, lam, phi, vertices, used, triangles, made, qm.QUANTA, out, header)
            files.append((f"{z}/{x}/{y}.terrain", _deflate(qm.header_bytes(header) + out[qm.HEADER : size].tobytes())))
            error = rtin.largest_error(height, row, column, vertices, triangles, made)
            _merge(stats, LevelStats(1, made, used, error, low=header[3], high=header[4]))
    stats.dem_error, stats.dem_square, stats.dem_samples = audit.measure(height, cost, allowed, block.x0 - 1, block.y0 - 1, z, lon, lat)
    return files, stats


def _deflate(data: bytes) -> Packed:
    """Deflate at level 4 with the filter strategy: for delta-coded meshes as small as level 6 in 60 % of its time."""
    squeeze = zlib.compressobj(4, zlib.DEFLATED, -15, 8, zlib.Z_FILTERED)
    return Packed(squeeze.compress(data) + squeeze.flush(), zlib.crc32(data), len(data), True)


def _merge(into: LevelStats, other: LevelStats) -> None:
    into.tiles += other.tiles
    into.triangles += other.triangles
    into.vertices += other.vertices
    into.mesh_error, into.dem_error = max(into.mesh_error, other.mesh_error), max(into.dem_error, other.dem_error)
    into.dem_square += other.dem_square
    into.dem_samples += other.dem_samples
    into.low, into.high = min(into.low, other.low), max(into.high, other.high)


def _level_json(z: int, level: LevelStats, options: Options) -> dict[str, Any]:
    rms = math.sqrt(level.dem_square / level.dem_samples) if level.dem_samples else 0.0
    return {"level": z, "tolerance": tolerance(z, options), "tiles": level.tiles, "triangles": level.triangles, "vertices": level.vertices,
            "mesh_error": float(level.mesh_error), "dem_error": float(level.dem_error), "dem_rms": rms, "dem_samples": level.dem_samples}  # fmt: skip
