"""The files of a layer that is made of several: named ones, and whole folders."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from twin.errors import UnreadableSource


def named(source: Path | Sequence[Path], suffixes: Sequence[str], what: str) -> list[tuple[str, Path]]:
    """(name in the layer, path) of every file of a source: a file, a folder and all below it, or several of these, as they come.

    Args:
        source: what the user named.
        suffixes: of the files that count within a folder, lower case with the dot.
        what: is looked for, for the message.

    Raises:
        UnreadableSource: a folder without any such file.
    """
    found: dict[str, Path] = {}
    for one in [source] if isinstance(source, Path) else source:
        inside = sorted(p for p in one.rglob("*") if p.is_file() and p.suffix.lower() in suffixes) if one.is_dir() else [one]
        if not inside:
            raise UnreadableSource(f"The folder {one.name} holds no {what}.", f"Known suffixes: {' '.join(suffixes)}.")
        for path in inside:
            name = path.relative_to(one).as_posix() if one.is_dir() else path.name
            while name in found and found[name] != path:  # two folders may hold files of one name
                name = f"{path.parent.name}/{name}"
            found[name] = path
    return list(found.items())
