"""Walking an implicitly tiled subtree hierarchy: each available tile with its volume, error and contents."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from .issues import Where
from .metadata_model import Schema
from .shape import Text
from .subtrees import DEEPEST, IMPLICIT, TEMPLATE_VARIABLES, Implicit, Subtree, check_subtree
from .tables import PropertyTable
from .volumes import Box, Region, Volume, parse_volume


@dataclass(frozen=True)
class ImplicitTile:
    """One available tile: its place in the tree, its volume in the root tile's frame, its content URIs."""

    level: int
    x: int
    y: int
    z: int
    volume: Volume | None
    geometric_error: float | None  # from metadata; None: by the rule root / 2^level
    contents: list[str]
    content_volumes: list[Volume | None]
    leaf: bool = True  # has it no child, in this subtree or below?
    stated: bool = False  # does metadata state its volume? (else it is a part of the root's, whatever lies in it)


def check_template(value: Any, branching: int, where: Where) -> bool:
    """Check a template URI: only known variables; a missing one is only a warning (tiles may share)."""
    if not Text(1).check(value, where):
        return False
    known = TEMPLATE_VARIABLES[branching]
    used = set(re.findall(r"\{([^}]*)\}", value))
    if used - known:
        where.error("TEMPLATE_URI_INVALID", f"unknown variables {sorted(used - known)}; known are {sorted(known)}")
        return False
    if known - used:
        where.warning("TEMPLATE_URI_INCOMPLETE", f"{value!r} lacks {sorted(known - used)}; several tiles share it")
    return True


def check_implicit(tile: dict[str, Any], contents: list[str], where: Where) -> Implicit | None:
    """Check a tile's ``implicitTiling``; None, with findings, when it cannot be walked."""
    value, at = tile["implicitTiling"], where / "implicitTiling"
    good = IMPLICIT.check(value, at)
    if "children" in tile:
        where.error("IMPLICIT_ROOT_INVALID", "a tile with implicitTiling must not have children")
    if "metadata" in tile:
        where.error("IMPLICIT_ROOT_INVALID", "a tile with implicitTiling must not have metadata")
    template = tile.get("contents") or ([tile["content"]] if "content" in tile else [])
    for content in template:
        if isinstance(content, dict) and "boundingVolume" in content:
            where.error("IMPLICIT_ROOT_INVALID", "the content of a tile with implicitTiling must not have a boundingVolume")
    if not good:
        return None
    branching = 4 if value["subdivisionScheme"] == "QUADTREE" else 8
    good = check_template(value["subtrees"]["uri"], branching, at / "subtrees" / "uri")
    for uri in contents:
        good &= check_template(uri, branching, where / "content" / "uri")
    implicit = Implicit(branching, int(value["subtreeLevels"]), int(value["availableLevels"]), len(contents))
    if implicit.subtree_levels > DEEPEST[branching]:
        at.error("IMPLICIT_TOO_DEEP", f"subtreeLevels is {implicit.subtree_levels}; this check stops at {DEEPEST[branching]}")
        return None
    return implicit if good else None


def fill(template: str, level: int, x: int, y: int, z: int) -> str:
    """A template URI with its variables replaced."""
    values = {"level": level, "x": x, "y": y, "z": z}
    return re.sub(r"\{(level|x|y|z)\}", lambda m: str(values[m[1]]), template)


def subdivided(volume: Volume | None, branching: int, level: int, x: int, y: int, z: int) -> Volume | None:
    """The cell (level, x, y, z) of a root volume: boxes by their axes, regions by longitude, latitude, height."""
    n = 2**level
    if isinstance(volume, Box):
        # Cell centres along each axis, in units of the half axis; a quadtree does not divide the third.
        steps = np.array([(2 * x + 1) / n - 1, (2 * y + 1) / n - 1, (2 * z + 1) / n - 1 if branching == 8 else 0.0])
        shrink = np.array([1 / n, 1 / n, 1 / n if branching == 8 else 1.0])
        return Box(volume.centre + steps @ volume.axes, volume.axes * shrink[:, None])
    if isinstance(volume, Region):
        width, depth, height = volume.width / n, (volume.north - volume.south) / n, volume.high - volume.low
        low = volume.low + (height / n * z if branching == 8 else 0.0)
        return Region(
            volume.west + width * x,
            volume.south + depth * y,
            volume.west + width * (x + 1),
            volume.south + depth * (y + 1),
            low,
            low + (height / n if branching == 8 else height),
        )
    return None


def morton(index: int, dimensions: int) -> tuple[int, int, int]:
    """De-interleave a Morton index into (x, y, z); x takes the lowest bit."""
    out = [0, 0, 0]
    bit = 0
    while index:
        for d in range(dimensions):
            out[d] |= (index & 1) << bit
            index >>= 1
        bit += 1
    return out[0], out[1], out[2]


@dataclass(frozen=True)
class Walk:
    """What is needed to walk: ``read(uri, where)`` gives (path, bytes) of a file named in the tileset.

    ``laws``: as in `Walker`. The standard says of availableLevels what it is ("how many levels there are in the tree with available tiles"), not that it must be:
    one that promises more costs a client nothing.
    """

    implicit: Implicit
    subtrees: str
    contents: list[str]
    root: Volume | None
    schema: Schema | None
    schema_given: bool
    read: Callable[[str, Where], tuple[str, bytes] | None]
    read_from: Callable[[str], Callable[[str, Where], bytes | None]]
    where: Where
    laws: bool = False

    def tiles(self) -> Iterator[ImplicitTile]:
        """Every available tile, subtree after subtree; broken subtrees are reported and passed over."""
        stack, levels, whole = [(0, 0, 0, 0)], 0, True
        dims = 2 if self.implicit.branching == 4 else 3
        while stack:
            level, x, y, z = stack.pop()
            subtree = self._load(level, x, y, z)
            if subtree is None:
                whole = False
                continue
            levels = max(levels, level + subtree.levels(self.implicit.branching))
            yield from self._subtree_tiles(subtree, level, x, y, z, dims)
            deep = level + self.implicit.subtree_levels
            available = np.flatnonzero(subtree.children)
            if len(available) and deep >= self.implicit.available_levels:
                self.where.error("SUBTREE_TOO_DEEP", f"{level}/{x}/{y}/{z} has child subtrees below availableLevels")
                continue
            for index in available.tolist():
                i, j, k = morton(index, dims)
                n = 2**self.implicit.subtree_levels
                stack.append((deep, x * n + i, y * n + j, z * n + k))
        if whole and levels < self.implicit.available_levels:
            at = self.where / "implicitTiling" / "availableLevels"
            (at.error if self.laws else at.warning)("AVAILABLE_LEVELS", f"is {self.implicit.available_levels}, {levels} levels have available tiles")

    def _load(self, level: int, x: int, y: int, z: int) -> Subtree | None:
        found = self.read(fill(self.subtrees, level, x, y, z), self.where / "implicitTiling" / "subtrees" / "uri")
        if found is None:
            return None
        path, data = found
        at = Where(self.where.report, path)
        return check_subtree(
            data, self.implicit, self.schema, self.read_from(path), at, schema_given=self.schema_given
        )

    def _subtree_tiles(self, subtree: Subtree, level: int, x: int, y: int, z: int, dims: int) -> Iterator[ImplicitTile]:
        b = self.implicit.branching
        ranks = [np.cumsum(c) - 1 for c in subtree.contents]
        for row, index in enumerate(np.flatnonzero(subtree.tiles).tolist()):
            deep = 0
            while index >= (b ** (deep + 1) - 1) // (b - 1):
                deep += 1
            i, j, k = morton(index - (b**deep - 1) // (b - 1), dims)
            cell = (level + deep, x * 2**deep + i, y * 2**deep + j, z * 2**deep + k)
            if cell[0] >= self.implicit.available_levels:
                self.where.error("SUBTREE_TOO_DEEP", f"the tile {cell} is below availableLevels")
                continue
            stated = _stated_volume(subtree.tile_table, "TILE", row, self.where)
            has = [n for n, c in enumerate(subtree.contents[: len(self.contents)]) if c[index]]
            tables: list[PropertyTable | None] = subtree.content_tables or [None] * len(subtree.contents)
            below, at = (subtree.tiles, (b ** (deep + 1) - 1) // (b - 1)) if deep + 1 < self.implicit.subtree_levels else (subtree.children, 0)
            at += (index - (b**deep - 1) // (b - 1)) * b
            yield ImplicitTile(
                *cell,
                volume=stated or subdivided(self.root, b, *cell),
                geometric_error=_stated(subtree.tile_table, "TILE_GEOMETRIC_ERROR", row),
                contents=[fill(self.contents[n], *cell) for n in has],
                content_volumes=[
                    _stated_volume(tables[n] if n < len(tables) else None, "CONTENT", int(ranks[n][index]), self.where)
                    for n in has
                ],
                leaf=not below[at : at + b].any(),
                stated=stated is not None,
            )


def _stated(table: PropertyTable | None, semantic: str, row: int) -> Any | None:
    if table is None or semantic not in table.semantics:
        return None
    column = table.columns.get(table.semantics[semantic])
    return None if column is None else column[row]


def _stated_volume(table: PropertyTable | None, prefix: str, row: int, where: Where) -> Volume | None:
    """A volume that metadata states for a tile or content, instead of the subdivided one."""
    for suffix, name in (("BOX", "box"), ("REGION", "region"), ("SPHERE", "sphere")):
        value = _stated(table, f"{prefix}_BOUNDING_{suffix}", row)
        if value is not None:
            return parse_volume({name: np.asarray(value, dtype=np.float64).tolist()}, where)
    return None
