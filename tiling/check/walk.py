"""Walking a tileset: every tile, its contents and external tilesets, held together with its ancestors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any

import numpy as np

from .archive import open_archive
from .batched import models
from .content import Content, identify, positions
from .glb import Model, load_model
from .implicit import ImplicitTile, Walk, check_implicit
from .issues import Report, Where
from .metadata_model import check_agreement
from .scene import F64
from .shape import kind
from .source import Source, fetch
from .tile_parts import content_list, has_contents, transform_of
from .tileset import Tileset, check_extensions, check_refine, open_tileset
from .tileset_shapes import TILE
from .used import Used
from .values import check_entity
from .volumes import Box, Region, Volume, check_on_earth, outside, parse_volume, tolerance

#: External tilesets in external tilesets; far beyond any real one, far below Python's recursion limit.
DEEPEST = 32


@dataclass(frozen=True)
class Parent:
    """What a tile inherits. ``enclosing``: world volumes of ancestors that do not already contain the next."""

    transform: F64
    refine: str | None
    geometric_error: float
    volume: Volume | None
    enclosing: tuple[Volume, ...]
    finest: bool = True  # does nothing below replace what this tile draws?
    above: tuple[int, ...] = ()  # numbers of the tiles that what is below them replaces, the outermost first, this one among them
    used: Used | None = None  # what lies in the tile, where that is asked
    line: tuple[tuple[int, float], ...] = ()  # (number, error in metres) of the tiles from the root to this one
    external: bool = False  # is the parent a tile of the tileset that refers to this one?


@dataclass(frozen=True)
class Standing:
    """Where in the tree a content stands: `error`, metres, is its tile's; `finest`: nothing below replaces it; `above`: as in `Parent`, the content's own tile last unless it is finest; `line`: as in `Parent`."""

    error: float
    finest: bool
    above: tuple[int, ...]
    line: tuple[tuple[int, float], ...] = ()


_DONE = object()
"""In the place of a tile: all below it has been walked."""
Observe = Callable[[Model, F64, Where, Standing], None]


@dataclass
class Walker:
    """One check's state. ``trail``: the tilesets being walked, to refuse cycles.

    ``laws``: are the project's laws errors too, where the standard only advises? (a child's volume inside
    its parent's; a geometric error that does not grow into an external tileset; each content drawn once, at
    one place; no implicit leaf without content, and no level without tiles). ``observe``: shown every model with its standing;
    ``observe_old``: those of a content of version 1.0, none where it is a point cloud.
    ``skip``: asked of every content with geometry (bytes, place, whether nothing replaces it) whether it need not be decoded. ``drawn``: contents by source, path and place. ``up``: the up
    axis of all glTF content; clients ask the outermost tileset alone for it.
    """

    report: Report
    limit_contents: int | None
    laws: bool = True
    trail: tuple[tuple[int, str], ...] = ()
    observe: Observe | None = None
    observe_old: Callable[[list[Model], F64, Where], None] | None = None
    skip: Callable[[bytes, F64, bool, Where], bool] | None = None
    drawn: set[tuple[int, str, bytes]] = field(default_factory=set)
    numbers: Iterator[int] = field(default_factory=count)
    up: str = ""

    def tileset(self, data: bytes, uri: str, source: Source, prefix: str, parent: Parent | None) -> Tileset | None:
        """Check a tileset.json and everything below it. ``prefix``: shown before its uri (an archive's name)."""
        where = Where(self.report, prefix + uri)
        tileset = open_tileset(data, uri, source, where)
        if tileset is None:
            return None
        inner = replace(self, trail=(*self.trail, (id(source), uri)), up=self.up or tileset.up)
        error = tileset.json.get("geometricError")
        top = float(error) if isinstance(error, int | float) and not isinstance(error, bool) else np.inf
        start = Parent(np.eye(4), None, top, None, ())
        if parent is not None:
            start = replace(parent, refine=None, external=True)
        _Tiles(inner, tileset, prefix, top).walk(start)
        check_extensions(tileset)
        return tileset

    def enough(self) -> bool:
        """Have as many contents been decoded as were asked for?"""
        return self.limit_contents is not None and self.report.contents >= self.limit_contents


@dataclass
class _Tiles:
    walker: Walker
    tileset: Tileset
    prefix: str
    top: float  # the tileset's own geometric error, which bounds its root's

    @property
    def report(self) -> Report:
        return self.walker.report

    def walk(self, start: Parent) -> None:
        """Depth first with our own stack: the JSON's depth must not be Python's."""
        stack: list[tuple[Any, Parent, Where]] = [(self.tileset.json["root"], start, self.tileset.where / "root")]
        while stack:
            tile, parent, where = stack.pop()
            if tile is _DONE:
                self._finish(parent, where)
                continue
            if not isinstance(tile, dict):
                where.error("JSON_TYPE", f"a tile must be an object, found {kind(tile)}")
                continue
            mine = self._tile(tile, parent, where)
            if parent is start and start.volume is None and mine.volume is not None:
                check_on_earth(mine.volume, where)
            stack.append((_DONE, mine, where))
            children = tile.get("children", [])
            if not isinstance(children, list):
                (where / "children").error("JSON_TYPE", f"must be an array, found {kind(children)}")
                continue
            if "children" in tile and not children:
                (where / "children").warning("CHILDREN_EMPTY", "is an empty array; leave it out")
            stack.extend((c, mine, where / "children" / i) for i, c in reversed(list(enumerate(children))))

    def _tile(self, tile: dict[str, Any], parent: Parent, where: Where) -> Parent:
        """Check one tile with its contents; what its children inherit."""
        self.report.tiles += 1
        sound = TILE.check(tile, where)
        refine = check_refine(tile, parent.refine, where)
        matrix = parent.transform @ transform_of(tile.get("transform"), where / "transform")
        stated = self._metadata(tile, where)
        error = stated.get("TILE_GEOMETRIC_ERROR", tile.get("geometricError"))
        error = self._check_error(error, parent, where / "geometricError")
        volume = self._volume(tile.get("boundingVolume"), stated, where) if "boundingVolume" in tile else None
        if "viewerRequestVolume" in tile:
            parse_volume(tile["viewerRequestVolume"], where / "viewerRequestVolume")
        world = None if volume is None else volume.transformed(matrix)
        enclosing = self._check_inside(world, parent, where)
        finest = refine != "REPLACE" or not tile.get("children")
        used, (line, above) = self._used(world, parent, told="implicitTiling" not in tile), self._numbered(parent, error, finest=finest)
        mine = Parent(matrix, refine, error, world, enclosing, finest, above, used, line)
        if "implicitTiling" in tile:
            self._implicit(tile, volume, mine, where)
        elif sound or has_contents(tile):
            self._contents(tile, mine, where)
        return mine

    def _used(self, world: Volume | None, parent: Parent, *, told: bool) -> Used | None:
        if parent.used is not None:
            parent.used.add_volume(world)
        return Used(world if told else None) if self.walker.laws else None

    def _finish(self, tile: Parent, where: Where) -> None:
        if tile.used is not None and not self.walker.enough():
            tile.used.finish(where)

    def _numbered(self, parent: Parent, error: float, *, finest: bool) -> tuple[tuple[tuple[int, float], ...], tuple[int, ...]]:
        """`line` and `above` of a tile."""
        number = next(self.walker.numbers)
        return (*parent.line, (number, error)), parent.above if finest else (*parent.above, number)

    def _volume(self, value: Any, stated: dict[str, Any], where: Where) -> Volume | None:
        volume = parse_volume(value, where / "boundingVolume")
        for name in ("box", "region", "sphere"):
            if f"TILE_BOUNDING_{name.upper()}" in stated:
                return parse_volume({name: stated[f"TILE_BOUNDING_{name.upper()}"]}, where / "metadata")
        return volume

    def _metadata(self, holder: dict[str, Any], where: Where) -> dict[str, Any]:
        """Check a tile's or content's metadata; its values by semantic."""
        if "metadata" not in holder:
            return {}
        t = self.tileset
        return check_entity(holder["metadata"], t.schema, where / "metadata", given=t.schema_given)

    def _contents(self, tile: dict[str, Any], mine: Parent, where: Where) -> None:
        for content, at in content_list(tile, where):
            volume = None
            if isinstance(content.get("boundingVolume"), dict):
                volume = parse_volume(content["boundingVolume"], at / "boundingVolume")
            elif "boundingVolume" in content:
                (at / "boundingVolume").error("JSON_TYPE", "must be an object")
            self._metadata(content, at)
            self._check_group(content, at)
            uri = content.get("uri", content.get("url"))
            if "uri" not in content and "url" in content:
                (at / "url").warning("CONTENT_URL", "is the draft's name of uri; clients of 1.0 and 1.1 ignore it")
            if isinstance(uri, str):
                self._content(uri, _with_content_volume(mine, volume, at), at / "uri")

    def _check_group(self, content: dict[str, Any], where: Where) -> None:
        group = content.get("group")
        if isinstance(group, int) and not isinstance(group, bool) and group >= self.tileset.groups:
            (where / "group").error("GROUP_UNKNOWN", f"the group {group} does not exist ({self.tileset.groups} groups)")

    def _content(self, uri: str, mine: Parent, where: Where) -> None:
        """Fetch one content and check it by its kind."""
        if self.walker.enough():
            self.report.contents_not_decoded += 1
            return
        found = fetch(self.tileset.source, self.tileset.uri, uri, where)
        if found is None:
            return
        path, data = found
        at = Where(self.report, self.prefix + path)
        once = (id(self.tileset.source), path, mine.transform.tobytes())
        if self.walker.laws and once in self.walker.drawn and not uri.startswith("data:"):
            where.error("CONTENT_TWICE", f"{path} is drawn twice at the same place")
        self.walker.drawn.add(once)
        content = identify(data, path, at)
        if content.kind == "tileset":
            self._external(data, path, mine, where)
        elif content.kind == "archive":
            self._archive(data, path, mine, at)
        elif content.kind in ("gltf", "legacy"):
            if content.kind == "gltf" and self.tileset.version == "1.0":
                self.tileset.extensions.add("3DTILES_content_gltf")
            self._geometry(data, content, path, mine, at)
        else:
            self.report.contents_not_decoded += 1
            if mine.used is not None:
                mine.used.whole = False

    def _geometry(self, data: bytes, content: Content, path: str, mine: Parent, where: Where) -> None:
        """Decode every vertex and hold it against the tile's volume (and ancestors' that it may leave)."""
        self.report.contents += 1
        if self.walker.skip is not None and self.walker.skip(data, mine.transform, mine.finest, where):
            return
        used = mine.used if mine.used is not None else Used(None)
        volumes = [v for v in (mine.volume, *mine.enclosing) if v is not None]
        worst = [0.0] * len(volumes)
        before = self.report.vertices
        model = load_model(data, self._read_from(path), where, self.walker.up) if content.kind == "gltf" else None
        if content.kind == "legacy":
            chunks = positions(data, content, self._read_from(path), where, self.walker.up)
        else:
            chunks = (chunk for primitive in (model.primitives if model else ()) for chunk in primitive.chunks())
        for chunk in chunks:
            self.report.vertices += len(chunk)
            world = chunk @ mine.transform[:3, :3].T + mine.transform[:3, 3]
            used.add(world)
            for i, volume in enumerate(volumes):
                if len(world):
                    worst[i] = max(worst[i], float(volume.excess(world).max()))
        if model is not None and self.walker.laws:
            check_agreement(model.schema, self.tileset.schema, where)
        if model is not None and self.walker.observe is not None:
            self.walker.observe(model, mine.transform, where, Standing(mine.geometric_error, mine.finest, mine.above, mine.line))
        if content.kind == "legacy" and mine.finest and self.walker.observe_old is not None:
            self.walker.observe_old(models(data, self._read_from(path), where, self.walker.up), mine.transform, where)
        if self.report.vertices == before:
            self.report.contents_not_decoded += 1
            used.whole = False
        for i, volume in enumerate(volumes):
            if not worst[i] <= tolerance(volume):
                which = "its bounding volume" if i == 0 else "an ancestor's bounding volume"
                where.error("CONTENT_OUTSIDE_VOLUME", f"a vertex lies {worst[i]:.6g} m outside of {which}")

    def _external(self, data: bytes, path: str, mine: Parent, where: Where) -> None:
        trail = self.walker.trail
        if (id(self.tileset.source), path) in trail:
            where.error("TILESET_CYCLE", f"{path} refers to itself: {' -> '.join(u for _, u in trail)} -> {path}")
        elif len(trail) >= DEEPEST:
            where.error("TILESET_TOO_DEEP", f"external tilesets nest more than {DEEPEST} deep")
        else:
            inner = self.walker.tileset(data, path, self.tileset.source, self.prefix, mine)
            self.tileset.extensions |= inner.extensions if inner is not None else set()

    def _archive(self, data: bytes, path: str, mine: Parent, where: Where) -> None:
        """A .3tz as content (extension MAXAR_content_3tz): its tileset.json is an external tileset."""
        self.tileset.extensions.add("MAXAR_content_3tz")
        source = open_archive(data, where)
        found = None if source is None else fetch(source, "", "tileset.json", where)
        if source is None or found is None:
            return
        if len(self.walker.trail) >= DEEPEST:
            where.error("TILESET_TOO_DEEP", f"external tilesets nest more than {DEEPEST} deep")
            return
        self.walker.tileset(found[1], "tileset.json", source, f"{self.prefix}{path}/", mine)

    def _read_from(self, path: str) -> Callable[[str, Where], bytes | None]:
        def read(uri: str, where: Where) -> bytes | None:
            found = fetch(self.tileset.source, path, uri, where)
            return None if found is None else found[1]

        return read

    def _implicit(self, tile: dict[str, Any], volume: Volume | None, mine: Parent, where: Where) -> None:
        """Every available tile of an implicitly tiled hierarchy, held against the root tile."""
        listed = content_list(tile, where)
        templates = [c["uri"] for c, _ in listed if isinstance(c.get("uri"), str)]
        for content, at in listed:
            self._check_group(content, at)
        implicit = check_implicit(tile, templates, where)
        if implicit is None:
            return
        if volume is not None and not isinstance(volume, Box | Region):
            (where / "boundingVolume").error("IMPLICIT_ROOT_INVALID", "implicit tiling divides a box or a region only")
            return
        t = self.tileset
        subtrees = tile["implicitTiling"]["subtrees"]["uri"]
        walk = Walk(
            implicit, subtrees, templates, volume, t.schema, t.schema_given,
            read=lambda uri, at: fetch(t.source, t.uri, uri, at), read_from=self._read_from, where=where, laws=self.walker.laws,
        )  # fmt: skip
        inner: dict[tuple[int, int, int, int], tuple[Parent, Where]] = {}  # tiles that have others below them
        root = replace(mine, line=mine.line[:-1])  # the first cell is this very tile
        for cell in walk.tiles():
            place, at = (cell.level, cell.x, cell.y, cell.z), where / f"{cell.level}.{cell.x}.{cell.y}.{cell.z}"
            over = inner.get((cell.level - 1, cell.x >> 1, cell.y >> 1, cell.z >> 1), (root, where))[0]
            here = self._implicit_tile(cell, over, mine.geometric_error / 2**cell.level, at)
            if cell.leaf:
                self._finish(here, at)
            else:
                inner[place] = here, at
            if self.walker.laws and templates and cell.leaf and not cell.contents:
                at.error("TILE_EMPTY", "is available, but has neither content nor children")
        for done in inner.values():
            self._finish(*done)

    def _implicit_tile(self, cell: ImplicitTile, parent: Parent, error: float, at: Where) -> Parent:
        """Check one tile; `error`: the one that it has by the rule. What its children inherit."""
        self.report.tiles += cell.level > 0  # the root was counted as a tile of its own
        if cell.geometric_error is not None:
            error = self._check_error(float(cell.geometric_error), parent, at / "geometricError")
        world = None if cell.volume is None else cell.volume.transformed(parent.transform)
        enclosing = self._check_inside(world, parent, at)
        finest, told = parent.refine != "REPLACE" or cell.leaf, cell.stated and bool(cell.contents)  # else it is the root's part, or only leads to others
        line, above = self._numbered(parent, error, finest=finest)
        here = Parent(parent.transform, parent.refine, error, world, enclosing, finest, above, self._used(world, parent, told=told), line)
        for uri, volume in zip(cell.contents, cell.content_volumes, strict=True):
            self._content(uri, _with_content_volume(here, volume, at), at)
        return here

    def _check_error(self, value: Any, parent: Parent, where: Where) -> float:
        """The tile's geometric error; it must not be greater than its parent's, nor a root's than its tileset's."""
        if not isinstance(value, int | float) or isinstance(value, bool) or value < 0:
            return parent.geometric_error  # reported with the structure
        if parent.external and value > self.top * (1 + 1e-9):
            where.error("GEOMETRIC_ERROR_INCREASES", f"is {value}, its tileset has {self.top}")
        if value > parent.geometric_error * (1 + 1e-9):
            say = where.error if self.walker.laws or not parent.external else where.warning
            say("GEOMETRIC_ERROR_INCREASES", f"is {value}, its parent has {parent.geometric_error}")
        return float(value)

    def _check_inside(self, world: Volume | None, parent: Parent, where: Where) -> tuple[Volume, ...]:
        """Hold a tile's volume against its parent's; the ancestors its content must still be tested against.

        The standard bounds a child's *content* by the parent's volume and only advises so for its volume:
        a volume that sticks out breaks a law of the project, a vertex that does breaks the standard.
        """
        candidates = [v for v in (parent.volume, *parent.enclosing) if v is not None]
        if world is None:
            return tuple(candidates)
        leaving = tuple(v for v in candidates if outside(world, v) != 0)
        if parent.volume is not None and parent.volume in leaving:
            gap = outside(world, parent.volume)
            at = where / "boundingVolume"
            say = at.error if self.walker.laws else at.warning
            say("CHILD_OUTSIDE_PARENT", f"reaches {gap:.6g} m beyond its parent's volume")
        return leaving


def _with_content_volume(mine: Parent, volume: Volume | None, where: Where) -> Parent:
    """Inside a content with a volume of its own, that is the volume to hold vertices against."""
    if volume is None:
        return mine
    world = volume.transformed(mine.transform)
    if mine.volume is not None:
        gap = outside(world, mine.volume)
        if gap != 0:
            (where / "boundingVolume").error(
                "CONTENT_VOLUME_OUTSIDE_TILE", f"reaches {gap:.6g} m beyond the tile's bounding volume"
            )
            return replace(mine, volume=world, enclosing=(mine.volume, *mine.enclosing))
    return replace(mine, volume=world)
