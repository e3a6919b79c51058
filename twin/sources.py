"""What a user names on the command line → files: one, several, a folder, or a pattern that the shell did not expand."""

from __future__ import annotations

import glob
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from stat import S_ISDIR

from twin.errors import BadOption, UnreadableSource
from twin.lake import digest

Source = str | Path | Sequence[str | Path]
#: Folders that national packages have beside their models, and what systems add.
SIDE_FOLDERS = frozenset(("codelists", "metadata", "schemas", "specification", "__macosx"))


def expand(source: Source) -> list[Path]:
    """Absolute paths, each once, in the order given; a pattern's files by name.

    A link keeps its own name and folder: what lies beside it is what it is delivered with, and its target may have any name.

    Raises:
        UnreadableSource: no such file, nothing fits a pattern, a file alone is empty, or what is named is no file (a pipe, which would be waited for).
    """
    given = [source] if isinstance(source, str | Path) else list(source)
    found: dict[Path, None] = {}
    for one in given:
        path = Path(one)
        try:
            hits = [path] if path.exists() else [Path(hit) for hit in sorted(glob.glob(str(one), recursive=True)) if Path(hit).exists()]  # noqa: PTH207  absolute patterns too
            if not hits:
                raise UnreadableSource(f"There is no file {one}" + (f": it is a link to {path.readlink()}, where nothing is." if path.is_symlink() else "."), "Check the path.")
            odd = next((hit for hit in hits if not hit.is_file() and not hit.is_dir()), None)
        except (OSError, ValueError) as error:  # a name too long, a folder that may not be entered, a null byte
            raise UnreadableSource(f"{str(one)[:200]!r} cannot be reached: {getattr(error, 'strerror', None) or error}.", "Check the path and its permissions.") from error
        if odd is not None:
            raise UnreadableSource(f"{odd} is a pipe, a socket or a device, and no file.", "Save what it delivers to a file, and give that.")
        found |= dict.fromkeys(hit.parent.resolve() / hit.name if hit.is_symlink() and hit.suffix else hit.resolve() for hit in hits)
    paths = list(found)
    if not paths:
        raise UnreadableSource("No source is given.", "Name a file or a folder.")
    if len(paths) == 1 and paths[0].is_file() and paths[0].stat().st_size == 0:
        raise UnreadableSource(f"{paths[0].name} is empty (0 bytes).", "Deliver the file again.")
    return paths


def inside(folder: Path, suffixes: Sequence[str]) -> Iterator[Path]:
    """Files with one of the suffixes (lower case, with the dot) in a folder and all below it, by name."""
    yield from (path for path in sorted(folder.rglob("*")) if path.is_file() and path.name.lower().endswith(tuple(suffixes)))


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
        files = list(inside(one, suffixes)) if one.is_dir() else [one]
        if not files:
            raise UnreadableSource(f"The folder {one.name} holds no {what}.", f"Known suffixes: {' '.join(suffixes)}.")
        for path in files:
            name = path.relative_to(one).as_posix() if one.is_dir() else path.name
            while name in found and found[name] != path:  # two folders may hold files of one name
                name = f"{path.parent.name}/{name}"
            found[name] = path
    return list(found.items())


def places(files: Sequence[tuple[str, Path]], held: Collection[str]) -> dict[str, str]:
    """What the files of an update are called in a layer that holds files of these names (with the folders that stand in them).

    A file is the one of the layer whose name its path ends in, the longest if there are several: `delivery/north/a.las` is `north/a.las`, though
    it is given by itself. Otherwise it is new and keeps its name.

    Raises:
        BadOption: a file given without a folder that may be several of the layer's or a new one; two files that would be the same one.
    """
    found: dict[str, str] = {}
    for name, path in files:
        tails = ["/".join(path.parts[-k:]) for k in range(len(path.parts), name.count("/"), -1)]
        own = next((tail for tail in tails if tail in held), name)
        alike = sorted(other for other in held if other.endswith(f"/{name}"))
        if own not in held and alike:
            raise BadOption(f"{name} may be {' or '.join(alike[:4])} of the layer, or a new file.",
                            f"To replace one, give it by a path that ends in {alike[0]}; to add it, give a folder in which it lies under another name, such as new/{name}.")  # fmt: skip
        if own in found.values():
            first = next(other for other, taken in found.items() if taken == own)
            raise BadOption(f"{first} and {name} would both take the place of the layer's {own}.", "Give them one after the other.")
        found[name] = own
    return found


def stamp(source: Source) -> list[tuple[str, int, int]]:
    """Name, bytes and time of change (ns) of every file of a source, folders and all below them included: whether it is still what it was, without reading it."""
    files = [file for path in expand(source) for file in ([path] if path.is_file() else sorted(path.rglob("*")))]
    return [(str(file), status.st_size, status.st_mtime_ns) for file in files if (status := file.stat(follow_symlinks=file.exists())) and not S_ISDIR(status.st_mode)]


def title(paths: Sequence[Path]) -> str:
    """What reports and jobs call the source."""
    return paths[0].name if len(paths) == 1 else f"{paths[0].name} and {len(paths) - 1} more"


def sha256(paths: Sequence[Path]) -> str:
    """Digest of a file's bytes; "" for folders and several files, whose parts are named by theirs."""
    if len(paths) > 1 or paths[0].is_dir():
        return ""
    return digest(paths[0])
