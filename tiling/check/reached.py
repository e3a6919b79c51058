"""What a walk through a tileset read: to find what lies in its archive and no tile names."""

from __future__ import annotations

from pathlib import PurePosixPath

from .archive import ArchiveSource
from .issues import Where
from .source import FolderSource, Source

TILES = {".glb", ".gltf", ".b3dm", ".i3dm", ".pnts", ".cmpt", ".subtree"}
"""Suffixes of files that are there to be named by a tileset."""
SHOWN = 3


class Watched:
    """A source that remembers which of its entries were asked for."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.asked: set[str] = set()

    def read(self, path: str) -> bytes | None:
        """The bytes at ``path``, or None."""
        self.asked.add(path)
        return self.source.read(path)

    def report_unread(self, where: Where) -> None:
        """Report tiles and subtrees that nothing led to: an availability bit or a reference is lost, or the file is waste.

        An error in an archive, which is one tileset; a warning in a folder, where another one may lie beside it.
        """
        if not isinstance(self.source, ArchiveSource | FolderSource):
            return
        left = sorted(name for name in self.source.names() if name not in self.asked and PurePosixPath(name).suffix.lower() in TILES)
        if left:
            say = where.error if isinstance(self.source, ArchiveSource) else where.warning
            listed = ", ".join(left[:SHOWN]) + (", …" if len(left) > SHOWN else "")
            say("CONTENT_UNREACHED", f"{len(left)} files are there that no tile names: {listed}")
