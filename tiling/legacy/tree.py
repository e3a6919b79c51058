"""The tree of a 1.1 tileset as 3D Tiles 1.0 can say it: implicit tiling written out tile by tile, with the boxes and errors of its subtrees."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from tiling.check import Report, Where
from tiling.check.implicit import ImplicitTile, Walk, check_implicit
from tiling.check.schema import check_schema
from tiling.check.volumes import Box, Volume, parse_volume
from twin.errors import BadTileset

Json = dict[str, Any]


def tiles(root: Json) -> Iterator[Json]:
    """Every tile of an explicit tree, parents first."""
    stack = [root]
    while stack:
        tile = stack.pop()
        yield tile
        stack.extend(tile.get("children", ()))


def write_out(document: Json, base: str, read: Callable[[str], bytes], name: str) -> None:
    """Replace every implicit root of a tileset by the tiles that it stands for.

    Args:
        document: the tileset.json, changed in place.
        base: the folder that its URIs are seen from ("" for the root).
        read: bytes of an entry.
        name: of the tileset, for messages.

    Raises:
        BadTileset: a subtree is missing or damaged, or tiles have several contents (1.0 knows one).
    """
    report = Report()
    where = Where(report, name)
    schema = check_schema(document["schema"], where / "schema") if "schema" in document else None
    for tile in list(tiles(document["root"])):
        if "contents" in tile:
            raise BadTileset("3D Tiles 1.0 knows no contents.", "Tile it with one content a tile.")
        if "implicitTiling" not in tile:
            continue
        content = tile.get("content")
        templates = [str(content["uri"])] if content else []
        implicit = check_implicit(tile, templates, where)
        if implicit is not None:
            def entry(uri: str, _at: Where) -> tuple[str, bytes]:
                path = f"{base}/{uri}" if base else uri
                return path, read(path)

            walk = Walk(implicit, tile["implicitTiling"]["subtrees"]["uri"], templates, parse_volume(tile["boundingVolume"], where), schema,
                        schema is not None, read=entry, read_from=lambda _path: lambda uri, at: entry(uri, at)[1], where=where)  # fmt: skip
            _grow(tile, walk)
        if report.errors:
            raise BadTileset(f"{name}: its implicit tiles cannot be read: {report.errors[0]}.", "Tile the layer again.")


def _grow(root: Json, walk: Walk) -> None:
    """Give an implicit root its children."""
    top = float(root["geometricError"])
    del root["implicitTiling"]
    content = root.pop("content", {})
    made: dict[tuple[int, int, int, int], Json] = {(0, 0, 0, 0): root}
    for cell in sorted(walk.tiles(), key=lambda c: (c.level, c.x, c.y, c.z)):
        tile = root
        if cell.level:
            error = top / 2**cell.level if cell.geometric_error is None else float(cell.geometric_error)
            tile = made[(cell.level, cell.x, cell.y, cell.z)] = {"boundingVolume": _volume(cell), "geometricError": error}
            made[(cell.level - 1, cell.x // 2, cell.y // 2, cell.z // 2)].setdefault("children", []).append(tile)
        if cell.contents:
            inner = cell.content_volumes[0]
            tile["content"] = {key: value for key, value in content.items() if key != "uri"} | {"uri": cell.contents[0]} | ({"boundingVolume": as_json(inner)} if inner else {})


def _volume(cell: ImplicitTile) -> Json:
    if cell.volume is None:
        raise BadTileset(f"The implicit tile {cell.level}/{cell.x}/{cell.y} has no volume.", "Tile the layer again.")
    return as_json(cell.volume)


def as_json(volume: Volume) -> Json:
    """A box or region as tileset.json says it."""
    if isinstance(volume, Box):
        return {"box": [*volume.centre.tolist(), *volume.axes.ravel().tolist()]}
    return {"region": [getattr(volume, side) for side in ("west", "south", "east", "north", "low", "high")]}
