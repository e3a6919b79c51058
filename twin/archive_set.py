"""A tileset in several archives: split by subtree where one file would be too large, read as if it were one.

The first archive holds `tileset.json` and the tiles near the root. Each large subtree is a tileset of its own,
`tileset-<n>.json`, which the first one refers to as an external tileset; its tiles lie in the archives after the first, several
subtrees in one where they are small. Names are unique over the whole set and those of the unsplit tileset, so unpacking all archives
into one folder gives a tileset, and copying all entries into one archive (`merge`) does too.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Self

from twin.archive import Archive, ArchiveWriter, Entry
from twin.errors import NotFound
from twin.lake import Lake


class ArchiveSet:
    """Several archives as one; the interface of `Archive` for reading.

    Raises:
        NotFound: no archive holds a name. BadTileset: one of them is damaged.
    """

    def __init__(self, archives: Sequence[Archive]) -> None:
        self.archives = tuple(archives)
        self.name = self.archives[0].name

    def close(self) -> None:
        """Let all files go."""
        for archive in self.archives:
            archive.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def holder(self, name: str) -> Archive:
        """The archive that holds a file."""
        for archive in self.archives:
            if archive.holds(name):
                return archive
        raise NotFound(f"{self.name} holds no {name}.")

    def names(self) -> list[str]:
        """All files, archive after archive."""
        return [name for archive in self.archives for name in archive.names()]

    def entry(self, name: str) -> Entry:
        """Where a file lies in its archive."""
        return self.holder(name).entry(name)

    def read(self, name: str) -> bytes:
        """The bytes of a file, checked against its CRC."""
        return self.holder(name).read(name)

    def gzip_body(self, name: str) -> bytes:
        """A deflated entry as a gzip stream."""
        return self.holder(name).gzip_body(name)


def merge(archives: Sequence[Archive], out: Path) -> None:
    """All files of a set in one archive, copied as they lie. Raises StorageError: nothing is left behind."""
    with ArchiveWriter(out) as writer:
        for archive in archives:
            for name in archive.names():
                writer.add_packed(name, archive.packed(name))


def split(path: Path, folder: Path, limit: int) -> list[Path]:
    """A large archive → the archives of a set, in `folder`; `[path]` itself where it is small enough.

    Args:
        path: an archive that a tiler wrote. folder: for the new files. limit: bytes of an archive; a single tile may exceed it.

    Raises:
        StorageError: the disk is full; no new file is left behind.
    """
    if path.stat().st_size <= limit:
        return [path]
    with Archive(path) as source:
        sizes = {name: source.records[name].stored for name in source.names()}
        documents: dict[str, Any] = {}
        subtrees: list[list[str]] = []
        if "tileset.json" in sizes:
            documents = _externals(json.loads(source.read("tileset.json")), sizes, limit)
            # what lies in another archive (a piece, `tiling.blocks.pieces`) stays there
            subtrees = [[*(one for one in contents if one in sizes), name] for name, (_, contents) in documents.items() if name != "tileset.json"]
        moved = {name for names in subtrees for name in names}
        near, *far = _bundles([[name] for name in sizes if name not in moved and name not in documents], sizes, limit)
        bundles = [[*near, *(["tileset.json"] if documents else [])], *_bundles(subtrees, sizes, limit), *far]
        paths = [folder / f"{path.stem}-{number}.3tz" for number in range(len(bundles))]
        try:
            for target, names in zip(paths, bundles, strict=True):
                with ArchiveWriter(target) as writer:
                    for name in names:
                        if name in documents:
                            writer.add(name, _dump(documents[name][0]))
                        else:
                            writer.add_packed(name, source.packed(name))
        except BaseException:
            for target in paths:
                target.unlink(missing_ok=True)
            raise
    return paths


def store(lake: Lake, path: Path, limit: int) -> list[str]:
    """Move an archive into the lake, split where it is larger than `limit` bytes; returns the keys.

    Raises:
        StorageError: the disk is full; nothing of it is left beside the lake.
    """
    paths = split(path, path.parent, limit)
    try:
        return [lake.put_file(one, ".3tz", move=True) for one in paths]
    finally:
        for one in (path, *paths):
            one.unlink(missing_ok=True)


def _dump(document: dict[str, Any]) -> bytes:
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()


def _bundles(groups: Iterable[list[str]], sizes: dict[str, int], limit: int) -> list[list[str]]:
    """Groups of names, in their order, in bundles of at most `limit` bytes (at least one group each; at least one bundle)."""
    bundles: list[list[str]] = [[]]
    held = 0
    for group in groups:
        size = sum(sizes.get(name, 0) for name in group)
        if bundles[-1] and held + size > limit:
            bundles.append([])
            held = 0
        bundles[-1] += group
        held += size
    return bundles


def _externals(document: dict[str, Any], sizes: dict[str, int], limit: int) -> dict[str, tuple[dict[str, Any], list[str]]]:
    """The tileset cut at the largest subtrees that fit into an archive: by name, each part and the contents below it.

    The tile that stays behind keeps its transform, volume and error, and refers to the part, whose root repeats volume and error.
    """
    order: list[dict[str, Any]] = []
    stack = [document["root"]]
    while stack:
        tile = stack.pop()
        order.append(tile)
        stack.extend(tile.get("children", ()))
    weight: dict[int, int] = {}
    for tile in reversed(order):
        own = sum(sizes.get(name, 0) for name in _uris(tile))
        weight[id(tile)] = own + sum(weight[id(child)] for child in tile.get("children", ()))
    shared = {k: v for k, v in document.items() if k not in ("root", "geometricError", "statistics", "metadata", "properties")}
    parts: dict[str, tuple[dict[str, Any], list[str]]] = {"tileset.json": (document, [])}
    stack = [document["root"]]
    while stack:
        tile = stack.pop()
        for child in tile.get("children", ()):
            if weight[id(child)] > limit:
                stack.append(child)
            elif child.get("children"):
                name = f"tileset-{len(parts)}.json"
                inner = {"refine": document["root"]["refine"]} | {k: v for k, v in child.items() if k != "transform"}
                parts[name] = (shared | {"geometricError": child["geometricError"], "root": inner}, _contents(inner))
                kept = {k: v for k, v in child.items() if k in ("transform", "boundingVolume", "geometricError", "refine")}
                child.clear()
                child.update(kept | {"content": {"uri": name}})
    return parts


def _uris(tile: dict[str, Any]) -> list[str]:
    return [content["uri"] for content in (tile.get("contents") or [tile["content"]] if "content" in tile or "contents" in tile else [])]


def _contents(root: dict[str, Any]) -> list[str]:
    """Names of all contents below a tile, depth first."""
    found, stack = [], [root]
    while stack:
        tile = stack.pop()
        found += _uris(tile)
        stack.extend(reversed(tile.get("children", ())))
    return found
