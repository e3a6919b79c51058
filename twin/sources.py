"""What a user names on the command line → files: one, several, a folder, or a pattern that the shell did not expand."""

from __future__ import annotations

import glob
from collections.abc import Sequence
from pathlib import Path

from twin.errors import UnreadableSource
from twin.lake import digest

Source = str | Path | Sequence[str | Path]


def expand(source: Source) -> list[Path]:
    """Absolute paths, each once, in the order given; a pattern's files by name.

    Raises:
        UnreadableSource: no such file, nothing fits a pattern, or a file alone is empty.
    """
    given = [source] if isinstance(source, str | Path) else list(source)
    found: dict[Path, None] = {}
    for one in given:
        path = Path(one)
        hits = [path] if path.exists() else [Path(hit) for hit in sorted(glob.glob(str(one), recursive=True))]  # noqa: PTH207  absolute patterns too
        if not hits:
            raise UnreadableSource(f"There is no file {one}.", "Check the path.")
        found |= dict.fromkeys(hit.resolve() for hit in hits)
    paths = list(found)
    if not paths:
        raise UnreadableSource("No source is given.", "Name a file or a folder.")
    if len(paths) == 1 and paths[0].is_file() and paths[0].stat().st_size == 0:
        raise UnreadableSource(f"{paths[0].name} is empty (0 bytes).", "Deliver the file again.")
    return paths


def sample(paths: Sequence[Path], suffixes: Sequence[str]) -> Path:
    """The file by which a reader is chosen: the first one, or a folder's first of a suffix that is read in numbers."""
    if len(paths) > 1 or not paths[0].is_dir() or paths[0].suffix:
        return paths[0]
    inside = (path for path in sorted(paths[0].rglob("*")) if path.is_file() and path.name.lower().endswith(tuple(suffixes)))
    return next(inside, paths[0])


def title(paths: Sequence[Path]) -> str:
    """What reports and jobs call the source."""
    return paths[0].name if len(paths) == 1 else f"{paths[0].name} and {len(paths) - 1} more"


def sha256(paths: Sequence[Path]) -> str:
    """Digest of a file's bytes; "" for folders and several files, whose parts are named by theirs."""
    if len(paths) > 1 or paths[0].is_dir():
        return ""
    return digest(paths[0])
