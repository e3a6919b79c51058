"""Checking a terrain archive: layer.json against what is there, every tile's structure, and that neighbours meet."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import closing, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .archive import ArchiveSource, Paths, first_of, open_archive
from .issues import Report, Where
from .jsonfile import parse_json
from .shape import Anything, Choice, List, Num, Obj, Text
from .source import FolderSource, gunzip
from .terrain_tile import MASK, MAX, TerrainTile, decode_terrain

I64 = NDArray[np.int64]
#: Metres beyond the tiles' own steps of height by which an edge may differ: their ranges of height are single floats.
CRACK = 1e-4
BLOCKS = 16
"""Parts of a side into which water masks are summed up for comparing levels."""
WET = 0.03
"""Share of a tile's ground on which levels may differ: pixels are water or not by their middles."""
MUCH = 0.2
"""Share of the ground that differs only where something is wrong, however much of it is water."""
Shares = NDArray[np.float64] | float | None
Side = tuple[I64, np.ndarray[Any, Any], float]
Rect = tuple[int, int, int, int]
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
        "metadataAvailability": Num(low=1, whole=True),
        "attribution": Text(), "parentUrl": Text(1), **{name: Anything() for name in ("name", "version", "description")},
    },
)  # fmt: skip
_NAME = re.compile(r"(\d+)/(\d+)/(\d+)\.terrain")


def check_terrain(path: Paths, *, report: Report | None = None, observe: Observe | None = None, limit_contents: int | None = None) -> Report:
    """Check a terrain archive (.3tz with layer.json and {z}/{x}/{y}.terrain), the several that it was split into, or a folder of the same.

    Tiles are decoded one at a time, level by level. ``observe`` is shown each: level, column, row, tile, place.
    """
    report = report if report is not None else Report()
    where = Where(report, first_of(path).name)
    folder = first_of(path)
    archive = FolderSource(folder) if folder.is_dir() else open_archive(path, where, "layer.json")
    if archive is None:
        return report
    with closing(archive) if isinstance(archive, ArchiveSource) else nullcontext():
        raw = archive.read("layer.json")
        value = None if raw is None else parse_json(raw, where / "layer.json")
        if value is None or not LAYER.check(value, where / "layer.json"):
            return report
        report.tilesets += 1
        spans = _check_layer(value, archive, where / "layer.json")
        _Walk(archive, report, observe, limit_contents, value).tiles(spans)
    return report


def _check_layer(value: dict[str, Any], archive: ArchiveSource | FolderSource, where: Where) -> list[list[Rect]]:
    """What is said to be available against what is there, and against the levels above."""
    levels = [[(s["startX"], s["startY"], s["endX"], s["endY"]) for s in level] for level in value["available"]]
    if "maxzoom" in value and value["maxzoom"] != len(levels) - 1:
        where.error("TERRAIN_AVAILABLE", f"maxzoom is {value['maxzoom']}, available has {len(levels)} levels")
    stated = {f"{z}/{x}/{y}.terrain" for z, x, y in _tiles(levels)}
    present = {name for name in archive.names() if name.endswith(".terrain")}
    for number, address in enumerate(value["tiles"]):
        if lacking := [name for name in ("{z}", "{x}", "{y}") if name not in address]:
            (where / "tiles" / number).error("TERRAIN_ADDRESS", f"{address!r} has no {' and no '.join(lacking)}: clients would ask for one tile again and again")
        elif "{version}" in address and "version" not in value:
            (where / "tiles" / number).error("TERRAIN_ADDRESS", f"{address!r} asks for a version, which layer.json does not state")
        elif missing := _astray(address, levels, present):
            (where / "tiles" / number).error("TERRAIN_ADDRESS", f"by {address!r} clients ask for {missing}, which is not there")
    if value.get("minzoom", 0) != 0:
        where.error("TERRAIN_AVAILABLE", f"minzoom is {value['minzoom']}, available begins with level 0")
    if "metadataAvailability" in value and "metadata" not in value.get("extensions", ()):
        where.error("TERRAIN_METADATA_INVALID", "metadataAvailability is stated, but metadata is not among the extensions: clients do not ask for it")
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
    elif bounds is not None and levels[-1] and not _touches(bounds, levels):
        where.error("TERRAIN_BOUNDS", f"no tile of the finest level touches {bounds}")
    return levels


def _astray(address: str, levels: list[list[Rect]], present: set[str]) -> str:
    """A tile that an address, relative to layer.json, leads past; of each level one of a place that tells columns and rows apart."""
    if "://" in address or address.startswith("/"):
        return ""
    for z, level in enumerate(levels):
        for x0, y0, _, _ in level[:1]:
            name = address.partition("?")[0].removeprefix("./").replace("{z}", str(z)).replace("{x}", str(x0)).replace("{y}", str(y0))
            if f"{z}/{x0}/{y0}.terrain" in present and name != f"{z}/{x0}/{y0}.terrain":
                return name
    return ""


def _touches(bounds: list[float], levels: list[list[Rect]]) -> bool:
    """Whether a tile of the finest level touches west, south, east, north; others may stand around what was surveyed."""
    width = 180 / 2 ** (len(levels) - 1)
    return any(
        x0 * width - 180 <= bounds[2] and (x1 + 1) * width - 180 >= bounds[0] and y0 * width - 90 <= bounds[3] and (y1 + 1) * width - 90 >= bounds[1]
        for x0, y0, x1, y1 in levels[-1]
    )


def _tiles(levels: list[list[Rect]]) -> Iterator[tuple[int, int, int]]:
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
    archive: ArchiveSource | FolderSource
    report: Report
    observe: Observe | None
    limit: int | None
    layer: dict[str, Any]

    def tiles(self, levels: list[list[Rect]]) -> None:
        """Every available tile; a side is kept until the tile beyond it has been read."""
        sides: dict[tuple[str, int, int], Side] = {}
        above, water = dict[tuple[int, int], Shares](), dict[tuple[int, int], Shares]()
        level = 0
        for z, x, y in _tiles(levels):
            if z != level:
                sides, level, above, water = {}, z, water, {}
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
            east = (x + 1) % 2 ** (z + 1)
            for side, key in (("west", ("|", x, y)), ("east", ("|", east, y)), ("south", ("-", x, y)), ("north", ("-", x, y + 1))):
                if key in sides:
                    _meet(sides.pop(key), _side(tile, side), side, where)
                else:
                    sides[key] = _side(tile, side)
            _extensions(tile, z, x, y, self.layer, levels, where)
            water[x, y] = _water(tile)
            if (x // 2, y // 2) in above:
                _meet_water(water[x, y], above[x // 2, y // 2], x % 2, y % 2, where)
            if self.observe is not None:
                self.observe(z, x, y, tile, where)


def _extensions(tile: TerrainTile, z: int, x: int, y: int, layer: dict[str, Any], levels: list[list[Rect]], where: Where) -> None:
    """The extensions that layer.json promises; metadata against what is available under the tile."""
    for name, kind in (("octvertexnormals", 1), ("watermask", 2)):
        if (name in layer.get("extensions", ())) != (kind in tile.extensions):
            where.error("TERRAIN_EXTENSION_MISSING", f"{name} is {'in the tile but not in' if kind in tile.extensions else 'missing, but is stated in'} layer.json")
    every = layer.get("metadataAvailability")
    if every is None or z % every:
        return
    body = tile.extensions.get(4)
    value = None if body is None else parse_json(body[4:], where)
    if not isinstance(value, dict) or not isinstance(value.get("available", []), list):
        where.error("TERRAIN_METADATA_INVALID", f"a tile of every {every}th level holds metadata; this one's are {'missing' if body is None else 'no JSON object'}")
        return
    for depth in range(1, every + 1):
        n = 2**depth
        stated = _within(value.get("available", [])[depth - 1] if depth <= len(value.get("available", [])) else [], x * n, y * n, n)
        real = _within([dict(zip(("startX", "startY", "endX", "endY"), r, strict=True)) for r in levels[z + depth]] if z + depth < len(levels) else [], x * n, y * n, n)
        both = sum(_area((max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3]))) for a in stated for b in real)
        if not sum(map(_area, stated)) == sum(map(_area, real)) == both:  # either may be cut into rectangles in its own way
            where.error("TERRAIN_METADATA_INVALID", f"its metadata state {sum(map(_area, stated))} tiles {depth} levels below it, there are {sum(map(_area, real))}")


def _water(tile: TerrainTile) -> Shares:
    """(BLOCKS, BLOCKS) shares of water, from north to south; one number where the tile is all one, none where it has no mask."""
    mask = tile.extensions.get(2, b"")
    if len(mask) == 1:
        return mask[0] / 255
    if len(mask) != MASK * MASK:
        return None
    each = MASK // BLOCKS
    return np.asarray(np.frombuffer(mask, np.uint8).reshape(BLOCKS, each, BLOCKS, each).mean(axis=(1, 3)) / 255, np.float64)


def _meet_water(mine: Shares, parent: Shares, east: int, north: int, where: Where) -> None:
    """A tile's water against that of the tile above it, which a client shows in its place from afar."""
    if mine is None or parent is None:
        return
    half = BLOCKS // 2
    if isinstance(parent, np.ndarray):
        parent = parent[(1 - north) * half : (2 - north) * half, east * half : (east + 1) * half]
    if isinstance(mine, np.ndarray):
        mine = mine.reshape(half, 2, half, 2).mean(axis=(1, 3))
    here, there = (np.broadcast_to(np.asarray(value, np.float64), (half, half)) for value in (mine, parent))
    off = float(np.abs(here - there).mean())
    if off > WET and off > min(max(here.mean(), there.mean()) / 2, MUCH):
        where.error("TERRAIN_WATER_INVALID", f"{here.mean():.0%} of it is water, of the same ground in the tile above {there.mean():.0%}, and elsewhere: {off:.0%} of the ground differ")


def _area(rect: Rect) -> int:
    return max(rect[2] - rect[0] + 1, 0) * max(rect[3] - rect[1] + 1, 0)


def _within(spans: list[dict[str, int]], west: int, south: int, n: int) -> list[Rect]:
    """Spans cut to n × n tiles from (west, south), sorted."""
    cut = [(max(s["startX"], west), max(s["startY"], south), min(s["endX"], west + n - 1), min(s["endY"], south + n - 1)) for s in spans]
    return sorted(r for r in cut if r[0] <= r[2] and r[1] <= r[3])


def _side(tile: TerrainTile, side: str) -> Side:
    """(positions along one side, heights there, how exactly the tile holds them), in order along it: a quantised step, and its lowest and highest as float32."""
    across, along = (tile.u, tile.v) if side in ("west", "east") else (tile.v, tile.u)
    rows = np.flatnonzero(across == (0 if side in ("west", "south") else MAX))
    rows = rows[np.argsort(along[rows])]
    return along[rows], tile.height[rows], tile.step + float(np.spacing(np.float32(np.abs(tile.height).max())))


def _meet(one: Side, other: Side, side: str, where: Where) -> None:
    if not np.array_equal(one[0], other[0]):
        where.error("TERRAIN_CRACK", f"the vertices of its {side} edge are not those of its neighbour ({len(one[0])} and {len(other[0])})")
        return
    gap = float(np.abs(one[1] - other[1]).max())
    if gap > one[2] + other[2] + CRACK:
        where.error("TERRAIN_CRACK", f"its {side} edge is {gap:.2g} m away from its neighbour's")
