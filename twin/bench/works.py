"""What is measured, one function a work: ``work(size) -> row``, `size` a fraction of the full work."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import shapely

from twin import crs
from twin.bench import flood, updates
from twin.bench.cities import generate_buildings
from twin.bench.measure import Cost, disk_floor, measure

TWIN = [sys.executable, "-m", "twin.cli"]


def ingest(source: Path, layer: str, home: Path, *options: str) -> tuple[Cost, dict[str, Any]]:
    """`twin ingest` in a fresh process: its cost and its result."""
    command = [*TWIN, "ingest", str(source), "--layer", layer, "--home", str(home), "--json", *options]
    cost = measure(command)
    return cost, json.loads(cost.output.strip().splitlines()[-1])


def archive_size(home: Path) -> int:
    """Bytes of all tile archives of a city."""
    return sum(path.stat().st_size for path in (home / "lake").glob("*/*.3tz"))


def row(figure: float, unit: str, cost: Cost, *, details: dict[str, Any], peer: str = "", peer_figure: float = 0.0, cited: str = "") -> dict[str, Any]:
    """One line of the table; the ratio is ours over the peer's of the same run (work per second)."""
    return {"figure": figure, "unit": unit, "peer": peer or None, "peer_figure": peer_figure or None, "ratio": figure / peer_figure if peer_figure else None,
            "cited": cited, "wall_seconds": cost.wall, "cpu_seconds": cost.cpu, "peak_memory_mb": cost.peak_mb, "details": details}  # fmt: skip


def blocks(size: float) -> dict[str, Any]:
    """1,000,000 footprints with 12 attributes (GeoParquet) → published 3D Tiles."""
    count = max(1000, int(1_000_000 * size))
    with tempfile.TemporaryDirectory(prefix="twin-bench-") as scratch:
        folder = Path(scratch)
        source = write_buildings(folder / "buildings.parquet", count)
        home = folder / "city"
        cost, result = ingest(source, "buildings", home, "--vertical", "above ground", "--option", "height=height", "--option", "ground=0")
        tiles = archive_size(home)
        floor = disk_floor(source.stat().st_size, tiles, folder)
        details = {
            "buildings": f"{count:,}", "tiles": result["tiles"], "bytes per building (archive, gzip)": round(tiles / count, 1),
            "source bytes per building": round(source.stat().st_size / count, 1), "floor: those bytes at disk speed": f"{floor:.2f} s",
        }  # fmt: skip
        return row(count / cost.wall, "buildings/s", cost, details=details, cited="pg2b3dm 1,400–3,800 buildings/s (published)")


def update(size: float) -> dict[str, Any]:
    """100 of 1,000,000 tiled buildings change: the update beside the full build."""
    return updates.update(size, TWIN, write_buildings, row)


def write_buildings(path: Path, count: int) -> Path:
    """The generated city as one GeoParquet file."""
    writer = None
    for batch in generate_buildings(count):
        columns = {"gid": batch.ids, **{name: batch.attributes.column(name) for name in batch.attributes.column_names}}
        table = pa.table({**columns, "geometry": pa.array(shapely.to_wkb(batch.geometry), pa.binary())})
        if writer is None:
            column = {"encoding": "WKB", "geometry_types": [], "crs": crs.crs_of(batch.reference.horizontal).to_json_dict()}
            geo = {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": column}}
            writer = pq.ParquetWriter(path, table.schema.with_metadata({b"geo": json.dumps(geo).encode()}), compression="zstd")
        writer.write_table(table.cast(writer.schema))
    if writer is not None:
        writer.close()
    return path


def points(size: float) -> dict[str, Any]:
    """5,000,000 points (LAS) → published 3D Tiles, against py3dtiles convert on the same file."""
    import laspy  # noqa: PLC0415

    count = max(10_000, int(5_000_000 * size))
    with tempfile.TemporaryDirectory(prefix="twin-bench-") as scratch:
        folder = Path(scratch)
        source = write_cloud(folder / "cloud.las", count, laspy)
        cost, result = ingest(source, "cloud", folder / "city", "--crs", "EPSG:4547+5737")
        tiles = archive_size(folder / "city")
        floor = disk_floor(source.stat().st_size, source.stat().st_size + tiles, folder)
        details = {"points": f"{count:,}", "tiles": result["tiles"], "bytes per point": round(tiles / count, 2),
                   "floor: source read and stored, tiles written, at disk speed": f"{floor:.2f} s"}  # fmt: skip
        peer = _py3dtiles(source, folder / "peer")
        if peer is None:
            return row(count / cost.wall, "points/s", cost, details=details, cited="py3dtiles 12: 5 M points in 16.7 s on two cores")
        details |= {"peer": f"{peer.wall:.1f} s wall, {peer.cpu:.1f} CPU-s, {peer.peak_mb:.0f} MB (1.0 output)"}
        return row(count / cost.wall, "points/s", cost, details=details, peer="py3dtiles convert", peer_figure=count / peer.wall)


def write_cloud(path: Path, count: int, laspy: Any) -> Path:
    """A wavy surface with noise, colours and classes: LAS 1.4, point format 7, millimetre scale."""
    header = laspy.LasHeader(point_format=7, version="1.4")
    header.scales, header.offsets = np.full(3, 0.001), np.array([405_000.0, 2_498_000.0, 0.0])
    rng = np.random.default_rng(5)
    side = 1000.0 * (count / 5e6) ** 0.5
    with laspy.open(path, "w", header=header) as writer:
        for start in range(0, count, 1_000_000):
            n = min(1_000_000, count - start)
            x, y = rng.uniform(0, side, n), rng.uniform(0, side, n)
            z = 8 * np.sin(x / 40) * np.cos(y / 55) + rng.normal(0, 0.03, n) + (rng.random(n) < 0.1) * rng.uniform(0, 20, n)
            record = laspy.ScaleAwarePointRecord.zeros(n, header=header)
            record.x, record.y, record.z = header.offsets[0] + x, header.offsets[1] + y, z
            record.classification = np.where(z > 8, 6, 2).astype(np.uint8)
            record.intensity = rng.integers(0, 4000, n).astype(np.uint16)
            for name in ("red", "green", "blue"):
                record[name] = rng.integers(0, 65535, n).astype(np.uint16)
            writer.write_points(record)
    return path


def _py3dtiles(source: Path, out: Path) -> Cost | None:
    """The peer on the same file (it must write 1.0: its 1.1 output is invalid), or None where it is not installed."""
    program = Path(sys.executable).with_name("py3dtiles")
    if not program.exists():
        return None
    return measure([str(program), "convert", str(source), "--out", str(out), "--srs_in", "4547", "--srs_out", "4978", "--pyproj-always-xy", "--jobs", "2"])


def terrain(size: float) -> dict[str, Any]:
    """A 4096 × 4096 terrain (GeoTIFF in degrees, 11 m) → published quantized-mesh tiles with normals down to level 15, beside ctb-tile if that is installed."""
    side = max(256, int(4096 * size**0.5))
    with tempfile.TemporaryDirectory(prefix="twin-bench-") as scratch:
        folder = Path(scratch)
        source = write_dem(folder / "dem.tif", side)
        cost, result = ingest(source, "dem", folder / "city", "--reader", "terrain", "--vertical", "EGM96", "--option", "max_level=15")
        details = {"cells": f"{side} × {side}", "tiles": result["tiles"], "archive MB": round(archive_size(folder / "city") / 1e6, 1)}
        peer = shutil.which("ctb-tile")
        if peer is None:
            return row(result["tiles"] / cost.wall, "tiles/s", cost, details=details, cited="cesium-terrain-builder: 7,744 tiles in 14.3 s wall, 27 CPU-s")
        (folder / "peer").mkdir()
        other = measure([peer, "-q", "-f", "Mesh", "-N", "-s", "15", "-e", "0", "-o", str(folder / "peer"), str(source)])
        made = sum(1 for _ in (folder / "peer").rglob("*.terrain"))
        details |= {"peer": f"{other.wall:.1f} s wall, {other.cpu:.1f} CPU-s, {other.peak_mb:.0f} MB, {made} tiles of a seventh of the exactness"}
        return row(result["tiles"] / cost.wall, "tiles/s", cost, details=details, peer="cesium-terrain-builder", peer_figure=made / other.wall)


def write_dem(path: Path, side: int) -> Path:
    """Fractal hills of 900 m, side × side cells of 0.0001°: white noise whose amplitudes fall with the square of the frequency, the sea at −5 m."""
    import rasterio  # noqa: PLC0415
    from rasterio.transform import from_origin  # noqa: PLC0415

    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None, :])
    frequency[0, 0] = np.inf
    heights = np.fft.irfft2(np.fft.rfft2(np.random.default_rng(11).standard_normal((side, side))) / frequency**2, (side, side))
    heights = np.maximum((heights - heights.min()) / np.ptp(heights) * 900 - 20, -5).astype(np.float32)
    with rasterio.open(path, "w", driver="GTiff", width=side, height=side, count=1, dtype="float32", crs="EPSG:4326", compress="DEFLATE",
                       tiled=True, transform=from_origin(112.8, 22.9, 1e-4, 1e-4)) as file:  # fmt: skip
        file.write(heights, 1)
    return path


def start(size: float) -> dict[str, Any]:
    """How long the command takes to say that a city is empty (the start of the program, counted in every other figure)."""
    with tempfile.TemporaryDirectory(prefix="twin-bench-") as scratch:
        cost = measure([*TWIN, "layers", "--home", str(Path(scratch) / "city")])
        floor = measure([sys.executable, "-c", "pass"])
        return row(1 / cost.wall, "starts/s", cost, details={"bare interpreter": f"{floor.wall * 1000:.0f} ms", "scale": size})


WORKS: dict[str, Callable[[float], dict[str, Any]]] = {"start": start, "blocks": blocks, "update": update, "points": points, "terrain": terrain, **flood.WORKS}
