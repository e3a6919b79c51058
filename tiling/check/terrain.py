"""Checking a terrain archive: layer.json against what is there, every tile's structure, and that neighbours meet."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .archive import ArchiveSource, Paths, first_of, open_archive
from .issues import Report, Where
from .jsonfile import parse_json
from .shape import Anything, Choice, List, Num, Obj, Text
from .source import gunzip
from .terrain_tile import MAX, TerrainTile, decode_terrain

I64 = NDArray[np.int64]
#: Metres beyond the tiles' own steps of height by which an edge may differ: their ranges of height are single floats.
CRACK = 1e-4
Observe = Callable[[int, int, int, TerrainTile, Where], None]
_SPAN = Obj(required={name: Num(low=0, whole=True) for name in ("startX", "startY", "endX", "endY")})
LAYER = Obj(
    required={
        "tilejson": Text(1), "format": Choice(("quantized-mesh-1.0",)), "scheme": Choice(("tms",)), "tiles": List(Text(1), least=1),
        "available": List(List(_SPAN), least=1),
    },
    optional={
        "projection": Choice(("EPSG:4326",)), "minzoom": Num(low=0, whole=True), "maxzoom": Num(low=0, whole=True),
        "extensions": List(Text(1)), "bounds": List(Num()),
        **{name: Anything() for name in ("name", "version", "description", "attribution", "metadataAvailability")},
    },
)  # fmt: skip
_NAME = re.compile(r"(\d+)/(\d+)/(\d+)\.terrain")


def check_terrain(path: Paths, *, report: Report | None = None, observe: Observe | None = None, limit_contents: int | None = None) -> Report:
    """Check a terrain archive (.3tz with layer.json and {z}/{x}/{y}.terrain), or the several that it was split into.

    Tiles are decoded one at a time, level by level. ``observe`` is shown each: level, column, row, tile, place.
    """
    report = report if report is not None else Report()
    where = Where(report, first_of(path).name)
    archive = open_archive(path, where, "layer.json")
    if archive is None:
        return report
    with closing(archive):
        raw = archive.read("layer.json")
        value = None if raw is None else parse_json(raw, where / "layer.json")
        if value is None or not LAYER.check(value, where / "layer.json"):
            return report
        report.tilesets += 1
        spans = _check_layer(value, archive, where / "layer.json")
        _Walk(archive, report, observe, limit_contents).tiles(spans)
    return report


def _check_layer(value: dict[str, Any], archive: ArchiveSource, where: Where) -> list[list[tuple[int, int, int, int]]]:
    """What is said to be available against what is there, and against the levels above."""
    levels = [[(s["startX"], s["startY"], s["endX"], s["endY"]) for s in level] for level in value["available"]]
    if "maxzoom" in value and value["maxzoom"] != len(levels) - 1:
        where.error("TERRAIN_AVAILABLE", f"maxzoom is {value['maxzoom']}, available has {len(levels)} levels")
    stated = {f"{z}/{x}/{y}.terrain" for z, x, y in _tiles(levels)}
    present = {name for name in archive.names() if name.endswith(".terrain")}
    for what, names in (("available, but not in the archive", stated - present), ("in the archive, but not available", present - stated)):
        if names:
            where.error("TERRAIN_AVAILABLE", f"{len(names)} tiles are {what}: {', '.join(sorted(names)[:5])}")
    orphans = [name for name in sorted(stated) if not _has_parent(name, stated)]
    if orphans:
        where.error("TERRAIN_AVAILABLE", f"{len(orphans)} tiles have no parent: {', '.join(orphans[:5])}")
    for z, level in enumerate(levels):
        if any(x1 < x0 or y1 < y0 or x1 >= 2 ** (z + 1) or y1 >= 2**z for x0, y0, x1, y1 in level):
            where.error("TERRAIN_AVAILABLE", f"level {z} reaches beyond its {2 ** (z + 1)} × {2**z} tiles")
    if levels and sum((x1 - x0 + 1) * (y1 - y0 + 1) for x0, y0, x1, y1 in levels[0]) != 2:
        where.error("TERRAIN_AVAILABLE", "the two root tiles must both be available")
    bounds = value.get("bounds")
    if bounds is not None and (len(bounds) != 4 or not (-180 <= bounds[0] <= bounds[2] <= 180.001 and -90 <= bounds[1] <= bounds[3] <= 90)):
        where.error("TERRAIN_BOUNDS", f"{bounds} are not west, south, east, north in degrees")
    return levels


def _tiles(levels: list[list[tuple[int, int, int, int]]]) -> Iterator[tuple[int, int, int]]:
    """Level, column, row; row by row from the south."""
    for z, level in enumerate(levels):
        for x0, y0, x1, y1 in level:
            for y in range(y0, min(y1, 2**z) + 1):
                for x in range(x0, min(x1, 2 ** (z + 1)) + 1):
                    yield z, x, y


def _has_parent(name: str, all_: set[str]) -> bool:
    match = _NAME.fullmatch(name)
    if match is None:
        return False
    z, x, y = (int(g) for g in match.groups())
    return z == 0 or f"{z - 1}/{x // 2}/{y // 2}.terrain" in all_


@dataclass
class _Walk:
    archive: ArchiveSource
    report: Report
    observe: Observe | None
    limit: int | None

    def tiles(self, levels: list[list[tuple[int, int, int, int]]]) -> None:
        """Every available tile; of each row of tiles the northern edges are kept until the next row has been read."""
        edges: dict[tuple[int, int], tuple[I64, np.ndarray[Any, Any], float]] = {}
        beside: tuple[int, int, int, TerrainTile] | None = None
        level = 0
        for z, x, y in _tiles(levels):
            if z != level:
                edges, level = {}, z
            name = f"{z}/{x}/{y}.terrain"
            where = Where(self.report, name)
            self.report.tiles += 1
            if self.limit is not None and self.report.contents >= self.limit:
                self.report.contents_not_decoded += 1
                continue
            raw = self.archive.read(name)
            data = None if raw is None else gunzip(raw, where)
            tile = None if data is None else decode_terrain(data, z, x, y, where)
            if tile is None:
                self.report.contents_not_decoded += 1
                continue
            self.report.contents += 1
            self.report.vertices += len(tile.u)
            if beside is not None and beside[:3] == (z, x - 1, y):
                _meet(_edge(beside[3], "east"), _edge(tile, "west"), "western", where)
            below = edges.pop((x, y), None)
            if below is not None:
                _meet(below, _edge(tile, "south"), "southern", where)
            edges[x, y + 1] = _edge(tile, "north")
            beside = (z, x, y, tile)
            if self.observe is not None:
                self.observe(z, x, y, tile, where)


def _edge(tile: TerrainTile, side: str) -> tuple[I64, np.ndarray[Any, Any], float]:
    """(positions along one side, heights there, the height of one quantised step), in order along it."""
    across, along = (tile.u, tile.v) if side in ("west", "east") else (tile.v, tile.u)
    rows = np.flatnonzero(across == (0 if side in ("west", "south") else MAX))
    rows = rows[np.argsort(along[rows])]
    return along[rows], tile.height[rows], tile.step


def _meet(one: tuple[I64, Any, float], other: tuple[I64, Any, float], side: str, where: Where) -> None:
    if not np.array_equal(one[0], other[0]):
        where.error("TERRAIN_CRACK", f"the vertices of its {side} edge are not those of its neighbour ({len(one[0])} and {len(other[0])})")
        return
    gap = float(np.abs(one[1] - other[1]).max())
    if gap > one[2] + other[2] + CRACK:
        where.error("TERRAIN_CRACK", f"its {side} edge is {gap:.3f} m away from its neighbour's")
