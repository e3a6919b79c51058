"""Implicit tiling (3D Tiles 1.1, §"Implicit Tiling"): the same tiles under templated addresses, their tree in binary subtrees.

`rewrite` turns an explicit archive that a tiler has just written into an implicit one: a post-pass, so that no tiler
knows of it. Every tile keeps its place in its tiler's own grid (quadtree or octree); cells that the tiler skipped
become tiles without content. Nothing is guessed by subdivision: each subtree has a property table with the
measured box (TILE_BOUNDING_BOX) and the exact error (TILE_GEOMETRIC_ERROR) of every tile, the same numbers as in the explicit tree.

Tiles of an implicit tree have no transform of their own, so a tile's frame seen from the root's goes into its glb, as the
matrix of one node above all others. The root's volume is the whole cell of the grid, so that clients that subdivide it and
do not read the boxes still find every tile where it is, but for what hangs over the rim of its cell.

Source: OGC 22-025r4, Implicit Tiling, Subtree Binary Format, Metadata Semantics.
"""

from __future__ import annotations

import json
import os
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from tiling import partition
from tiling.encoding.gltf import container
from tiling.tileset import dump, relative_frame
from twin import crs
from twin.angles import sine_cosine
from twin.archive import Archive, ArchiveWriter, Packed, pack
from twin.errors import BadTileset

F64 = NDArray[np.float64]
Subdivision = Literal["explicit", "implicit"]
Place = tuple[int, ...]
"""(level, x, y) of a quadtree, (level, x, y, z) of an octree."""
DEEPEST = {4: 7, 8: 5}
"""Levels of one subtree: some 5,000 tiles, at most 5 kB of availability."""
SLACK = 0.05
"""Metres added around an octree's cube: boxes are measured, with a margin, around points that may lie on its faces."""
CONTINENT, POLAR = 500_000.0, 85.0
"""Half a diagonal in metres, from which a box reaches far out of the ground; degrees of latitude."""
Y_UP = np.array([[1.0, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0], [0, 0, 0, 1]])
SCHEMA_ID = "tiles"


@dataclass(frozen=True)
class Grid:
    """How a tiler names its tiles: `place` reads the place from a content's address; `volume` is of the root's cell.

    `branching`: 4 or 8. `volume(place, box, frame)` gives the root's boundingVolume from its place, its measured box (12 numbers)
    in its frame, and that frame (4 × 4, to ECEF); it holds the box. `frame`: of the tile at a place, to ECEF, exactly: what is multiplied
    down the tree is rounded, and would make a tile's bytes depend on the tiles above it. None where all tiles have one frame.
    """

    branching: int
    place: Callable[[str], Place]
    volume: Callable[[Place, list[float], F64], dict[str, list[float]]]
    frame: Callable[[Place], F64] | None = None


@dataclass
class _Node:
    """A tile of the explicit tree: `frame` to ECEF; `box` in it; `parent` −1 for the root."""

    frame: F64
    box: F64
    error: float
    parent: int
    uri: str | None
    place: Place | None = None
    children: list[int] = field(default_factory=list)


@dataclass
class _Cell:
    """An implicit tile: `box` (4, 3) centre and half axes in the root's frame; `node` whose content it draws, −1 for none."""

    box: F64
    error: float
    node: int = -1


# --- the grids that our tilers use -----------------------------------------------------------------------------------


def mercator() -> Grid:
    """The Web Mercator quadtree of `tiling.partition`; addresses end in `level/x/y`. Implicit y grows northwards."""

    def place(uri: str) -> Place:
        level, x, y = (int(n) for n in _numbers(uri, r"(\d+)/(\d+)/(\d+)$"))
        return level, x, (1 << level) - 1 - y

    def frame(at: Place) -> F64:
        level, x, y = at
        return crs.enu_frame(*(float(v) for v in partition.unproject((x + 0.5) / (1 << level), ((1 << level) - 1 - y + 0.5) / (1 << level))))

    return Grid(4, place, _cell_region, frame)


def octree(low: F64, side: float) -> Grid:
    """An octree on a cube (lowest corner, metres) of the tiles' common frame; addresses end in `r` and a digit 0–7 a level."""

    def place(uri: str) -> Place:
        (digits,) = _numbers(uri, r"r([0-7]*)$")
        values = [int(d) for d in digits]
        x, y, z = (sum((d >> axis & 1) << k for k, d in enumerate(reversed(values))) for axis in range(3))
        return len(values), x, y, z

    def volume(_: Place, __: list[float], ___: F64) -> dict[str, list[float]]:
        half = side / 2 + SLACK
        centre = np.asarray(low, np.float64) + side / 2
        return {"box": [*(float(v) for v in centre), half, 0.0, 0.0, 0.0, half, 0.0, 0.0, 0.0, half]}

    return Grid(8, place, volume)


def _numbers(uri: str, pattern: str) -> tuple[str, ...]:
    found = re.search(pattern, uri.rsplit(".", 1)[0])
    if found is None:
        raise BadTileset(f"The address {uri} does not say where in the grid its tile is.", "Tile with --option subdivision=explicit.")
    return found.groups()


def _cell_region(place: Place, box: list[float], frame: F64) -> dict[str, list[float]]:
    """The region of a quadtree cell, grown to hold the box: its faces at 9 × 9 × 2 places, plus a metre; all around near a pole, the globe for a box as large as a continent."""
    level, x, y = place
    south_row = (1 << level) - 1 - y
    (west, south), (east, north) = (partition.unproject((x + i) / (1 << level), (south_row + 1 - i) / (1 << level)) for i in (0, 1))
    numbers = np.array(box).reshape(4, 3)
    steps = np.array(np.meshgrid(np.linspace(-1, 1, 9), np.linspace(-1, 1, 9), [-1, 1], indexing="ij")).reshape(3, -1).T
    geodetic = crs.ecef_to_geodetic((numbers[0] + steps @ numbers[1:]) @ frame[:3, :3].T + frame[:3, 3])
    if float(np.linalg.norm(numbers[1:])) > CONTINENT:
        return {"region": [-np.pi, -np.pi / 2, np.pi, np.pi / 2, -crs.WGS84_A, float(geodetic[:, 2].max()) + 1]}
    if (polar := float(np.abs(geodetic[:, 1]).max())) > POLAR:  # Mercator ends there, and a box may hold the pole itself
        west, east = -180.0, 180.0
        south, north = (south, 90.0) if geodetic[:, 1].max() == polar else (-90.0, north)
    metre = np.array([1 / 111_000 / max(float(sine_cosine(geodetic[:, 1].max())[1]), 0.01), 1 / 110_000, 1.0])
    low, high = geodetic.min(axis=0) - metre, geodetic.max(axis=0) + metre
    corners = np.radians([min(west, low[0]), max(min(south, low[1]), -90), max(east, high[0]), min(max(north, high[1]), 90)])
    return {"region": [*(float(v) for v in corners), float(low[2]), float(high[2])]}


# --- explicit → implicit ---------------------------------------------------------------------------------------------


class Known(Protocol):
    """What the last build knows of contents (`tiling.reuse.Assembly`)."""

    def known(self, uri: str) -> Packed | None:
        """The finished content of an explicit tile, if it is that of the last build; the explicit archive then need not hold it."""

    def placed(self, uri: str, name: str, check: int) -> None:
        """Where the content of an explicit tile has gone, and the CRC of its stored bytes."""


def rewrite(path: Path, grid: Grid, known: Known | None = None) -> tuple[dict[str, Any], int]:
    """Replace an explicit archive by an implicit one with the same tiles.

    Args:
        path: the archive; its tileset.json and glb contents as our tilers write them. It is replaced once the new one is whole.
        grid: of the tiler.
        known: contents that are not made again, if any.

    Returns:
        (the new tileset.json, size of the archive in bytes)

    Raises:
        BadTileset: the tree is not one of this grid. StorageError: the disk is full; the explicit archive is still there.
    """
    fresh = path.with_name(f"{path.name}.implicit")
    with Archive(path) as old:
        document = json.loads(old.read("tileset.json"))
        nodes, group = _flatten(document["root"])
        root = _place(nodes, grid)
        cells = _cells(nodes, root)
        levels = _subtree_levels(max(place[0] for place in cells) + 1, grid.branching)
        document = _document(document, nodes, root, grid, max(place[0] for place in cells) + 1, levels, {} if group is None else {"group": group})
        with ArchiveWriter(fresh) as new:
            for place, cell in cells.items():
                if (uri := nodes[cell.node].uri if cell.node >= 0 else None) is not None:
                    content = known.known(uri) if known is not None else None
                    if content is None:
                        data = framed(old.read(uri), relative_frame(nodes[0].frame, nodes[cell.node].frame))
                        content = pack(data, deflate=old.entry(uri).deflated)
                    new.add_packed(f"content/{_name(place)}.glb", content)
                    if known is not None:
                        known.placed(uri, f"content/{_name(place)}.glb", content.check)
            _write_subtrees(new, cells, levels, _tile_class(document))
            new.add("tileset.json", dump(document))
        size = fresh.stat().st_size
    os.replace(fresh, path)
    return document, size


def _write_subtrees(archive: ArchiveWriter, cells: dict[Place, _Cell], levels: int, tile_class: str) -> None:
    tiles: dict[Place, dict[Place, tuple[F64, float, bool]]] = {}
    below: dict[Place, set[Place]] = {}
    for place, cell in cells.items():
        start = _start(place, levels)
        tiles.setdefault(start, {})[place] = (cell.box, cell.error, cell.node >= 0)
        if place == start and place[0]:
            below.setdefault(_start(_up(place, place[0] - 1), levels), set()).add(place)
    for start in sorted(tiles):
        archive.add(f"subtrees/{_name(start)}.subtree", subtree(start, tiles[start], below.get(start, set()), levels, tile_class))


def framed(data: bytes, frame: F64) -> bytes:
    """A glb under one more node that moves it by `frame` (4, 4; of z-up coordinates); buffers stay as they are."""
    if np.array_equal(frame, np.eye(4)):
        return data
    (length,) = struct.unpack_from("<I", data, 12)
    document = json.loads(data[20 : 20 + length])
    body = data[28 + length :] if len(data) > 20 + length else b""
    matrix = Y_UP @ frame @ Y_UP.T
    scene = document["scenes"][document.get("scene", 0)]
    document["nodes"].append({"matrix": [float(v) for v in matrix.T.ravel()], "children": scene["nodes"]})
    scene["nodes"] = [len(document["nodes"]) - 1]
    return container(document, body)


def _flatten(root: dict[str, Any]) -> tuple[list[_Node], int | None]:
    """(the tree as a list, parents first; the group of all contents).

    Raises:
        BadTileset: a tile says something that an implicit tile cannot say.
    """
    nodes: list[_Node] = []
    groups: list[int | None] = []
    stack: list[tuple[dict[str, Any], int]] = [(root, -1)]
    while stack:
        tile, parent = stack.pop()
        strange = set(tile) - {"transform", "boundingVolume", "geometricError", "refine", "content", "children"}
        if strange or "box" not in tile["boundingVolume"] or tile.get("refine", root["refine"]) != root["refine"]:
            raise _unfit(f"a tile has {min(strange) if strange else 'a region or its own way of refinement'}")
        content = tile.get("content")
        if content is not None:  # a tile may have none, as one whose points are all below it
            groups.append(content.get("group"))
            if content.keys() - {"uri", "group"} or groups[0] != groups[-1]:
                raise _unfit("contents of different groups, or with metadata")
        above = nodes[parent].frame if parent >= 0 else np.eye(4)
        frame = above @ np.array(tile["transform"], np.float64).reshape(4, 4).T if "transform" in tile else above
        if parent >= 0:
            nodes[parent].children.append(len(nodes))
        nodes.append(_Node(frame, np.array(tile["boundingVolume"]["box"]).reshape(4, 3), float(tile["geometricError"]), parent, tile.get("content", {}).get("uri")))
        stack.extend((child, len(nodes) - 1) for child in reversed(tile.get("children", [])))
    return nodes, groups[0] if groups else None


def _place(nodes: list[_Node], grid: Grid) -> int:
    """Give every node its absolute place; one without content and a single child is passed over. Returns the root that is left."""
    for i in range(len(nodes) - 1, -1, -1):
        node = nodes[i]
        below = [places for c in node.children if (places := nodes[c].place) is not None]
        if node.uri is not None:
            node.place = grid.place(node.uri)
            if grid.frame is not None:
                node.frame = grid.frame(node.place)
        elif len(below) == 1:
            (child,) = (c for c in node.children if nodes[c].place is not None)
            nodes[child].parent = node.parent
            if node.parent >= 0:
                nodes[node.parent].children[nodes[node.parent].children.index(i)] = child
        elif below:
            node.place = _common(below)
    return next(i for i, node in enumerate(nodes) if node.place is not None)


def _common(places: list[Place]) -> Place:
    """The finest cell that holds all of them."""
    for level in range(min(p[0] for p in places), -1, -1):
        if len({_up(p, level) for p in places}) == 1:
            return _up(places[0], level)
    raise AssertionError("all cells lie in level 0")


def _up(place: Place, level: int) -> Place:
    """The ancestor at a level."""
    return (level, *(n >> (place[0] - level) for n in place[1:]))


def _cells(nodes: list[_Node], root: int) -> dict[Place, _Cell]:
    """Every implicit tile by its place below the root, parents first."""
    origin = nodes[root].place or (0,)
    cells: dict[Place, _Cell] = {}
    for i, node in enumerate(nodes):
        if node.place is None:
            continue
        if _up(node.place, origin[0]) != origin if node.place[0] >= origin[0] else True:
            raise _unfit("a tile lies outside of its root's cell")
        place = (node.place[0] - origin[0], *(n - (o << (node.place[0] - origin[0])) for n, o in zip(node.place[1:], origin[1:], strict=True)))
        frame = relative_frame(nodes[0].frame, node.frame)
        box = node.box @ frame[:3, :3].T
        box[0] += frame[:3, 3]
        if i != root:
            above = nodes[node.parent].place or (0,)
            if above[0] >= node.place[0] or _up(node.place, above[0]) != above or (place in cells and cells[place].node >= 0):
                raise _unfit("its tiles are not cells of one grid, each in its parent's")
            _fill(cells, place, above[0] - origin[0], box)
        cells[place] = _Cell(box, node.error, i if node.uri is not None else -1)
    return dict(sorted(cells.items()))


def _fill(cells: dict[Place, _Cell], place: Place, top: int, box: F64) -> None:
    """Tiles without content between a tile and its parent's: with the parent's error, so that they are passed as soon as it is."""
    parent = cells[_up(place, top)]
    for level in range(top + 1, place[0]):
        here = _up(place, level)
        cells[here] = _Cell(parent.box if here in cells else box, parent.error)


def _unfit(what: str) -> BadTileset:
    return BadTileset(f"This tileset cannot be tiled implicitly: {what}.", "Tile it with --option subdivision=explicit.")


def _subtree_levels(available: int, branching: int) -> int:
    """Levels of each subtree: as few subtrees as `DEEPEST` allows, all about as deep."""
    return -(-available // -(-available // DEEPEST[branching]))


def _start(place: Place, levels: int) -> Place:
    """The root of the subtree that a tile is in."""
    return _up(place, place[0] // levels * levels)


def _name(place: Place) -> str:
    return "/".join(str(n) for n in place)


# --- what is written -------------------------------------------------------------------------------------------------


def _document(old: dict[str, Any], nodes: list[_Node], root: int, grid: Grid, available: int, levels: int, group: dict[str, Any]) -> dict[str, Any]:
    """The new tileset.json: that of the explicit tree, but for its tiles and one more class."""
    axes = "/".join(("{level}", "{x}", "{y}", "{z}")[: 3 if grid.branching == 4 else 4])
    top, frame = nodes[root], relative_frame(nodes[0].frame, nodes[root].frame)
    box = top.box @ frame[:3, :3].T
    box[0] += frame[:3, 3]
    tile: dict[str, Any] = {} if np.array_equal(nodes[0].frame, np.eye(4)) else {"transform": [float(v) for v in nodes[0].frame.T.ravel()]}
    template = {"uri": f"content/{axes}.glb", **group}
    tile |= {
        "boundingVolume": grid.volume(top.place or (), [float(v) for v in box.ravel()], nodes[0].frame), "geometricError": top.error,
        "refine": old["root"]["refine"], "content": template,
        "implicitTiling": {"subdivisionScheme": "QUADTREE" if grid.branching == 4 else "OCTREE", "subtreeLevels": levels,
                           "availableLevels": available, "subtrees": {"uri": f"subtrees/{axes}.subtree"}},
    }  # fmt: skip
    schema = old.get("schema", {"id": SCHEMA_ID, "classes": {}})
    name = "tile"
    while name in schema["classes"]:
        name += "_"
    about = {"type": "SCALAR", "componentType": "FLOAT64", "required": True}
    properties = {"boundingBox": {"name": "bounding box", **about, "array": True, "count": 12, "semantic": "TILE_BOUNDING_BOX"},
                  "geometricError": {"name": "geometric error", **about, "semantic": "TILE_GEOMETRIC_ERROR"}}  # fmt: skip
    classes = {**schema["classes"], name: {"name": "tile", "properties": properties}}
    return {**{k: v for k, v in old.items() if k not in ("root", "schema")}, "schema": {**schema, "classes": classes}, "root": tile}


def _tile_class(document: dict[str, Any]) -> str:
    """The class of the tiles' metadata: the last one."""
    return str(next(reversed(document["schema"]["classes"])))


def subtree(start: Place, tiles: dict[Place, tuple[F64, float, bool]], below: set[Place], levels: int, tile_class: str) -> bytes:
    """A binary subtree.

    Args:
        start: its root; tiles: of each available tile the (4, 3) box, the error, and whether it has content; below: roots
        of child subtrees; levels: of the subtree; tile_class: with `boundingBox` and `geometricError`.
    """
    branching = 1 << (len(start) - 1)
    size = (branching**levels - 1) // (branching - 1)
    has_tile, has_content, has_child = np.zeros(size, bool), np.zeros(size, bool), np.zeros(branching**levels, bool)
    index = {place: _index(place, start, branching) for place in tiles}
    for place, i in index.items():
        has_tile[i], has_content[i] = True, tiles[place][2]
    for place in below:
        has_child[_index(place, start, branching) - size] = True
    ordered = sorted(tiles, key=index.__getitem__)
    body = _Body()
    table = {"class": tile_class, "count": len(ordered), "properties": {
        "boundingBox": {"values": body.view(np.array([tiles[p][0].ravel() for p in ordered], "<f8").tobytes())},
        "geometricError": {"values": body.view(np.array([tiles[p][1] for p in ordered], "<f8").tobytes())},
    }}  # fmt: skip
    document: dict[str, Any] = {
        "tileAvailability": body.bits(has_tile), "contentAvailability": [body.bits(has_content)], "childSubtreeAvailability": body.bits(has_child),
        "propertyTables": [table], "tileMetadata": 0,
    }  # fmt: skip
    document["bufferViews"] = body.views
    document["buffers"] = [{"byteLength": len(body.data)}]
    text = json.dumps(document, separators=(",", ":"), allow_nan=False).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<4sI2Q", b"subt", 1, len(text), len(body.data)) + text + bytes(body.data)


def _index(place: Place, start: Place, branching: int) -> int:
    """Number of a tile in its subtree: level after level, in Morton order (x in the lowest bit)."""
    deep = place[0] - start[0]
    local = [n - (s << deep) for n, s in zip(place[1:], start[1:], strict=True)]
    morton: int = sum((n >> bit & 1) << (bit * len(local) + axis) for axis, n in enumerate(local) for bit in range(deep))
    return int((branching**deep - 1) // (branching - 1)) + morton


class _Body:
    """The binary chunk: views start and end at multiples of 8 bytes."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.views: list[dict[str, int]] = []

    def view(self, data: bytes) -> int:
        self.views.append({"buffer": 0, "byteOffset": len(self.data), "byteLength": len(data)})
        self.data += data + b"\0" * (-len(data) % 8)
        return len(self.views) - 1

    def bits(self, values: NDArray[np.bool_]) -> dict[str, int]:
        """An availability: a constant where all are the same, else a bitstream."""
        if values.all() or not values.any():
            return {"constant": int(values[0])}
        return {"bitstream": self.view(np.packbits(values, bitorder="little").tobytes()), "availableCount": int(values.sum())}
