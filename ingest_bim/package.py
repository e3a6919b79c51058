"""Models delivered as a ZIP with what they refer to, or gzipped alone: unpacked into a folder of its own while they are read.

Entries whose names climb out of the ZIP, are absolute or are links are refused and listed; an archive that would unpack to far
more than its size, or to more files than is credible, is refused whole before anything is written.
"""

from __future__ import annotations

import fnmatch
import gzip
import stat
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath, PureWindowsPath

from twin import scratch, sources, zips
from twin.errors import BadOption, UnreadableSource
from twin.model import Report

MAX_BYTES = 1 << 34
MAX_RATIO = 200
MAX_FILES = 200_000
HEAD = 1 << 16
CHUNK = 1 << 20
BROKEN = (gzip.BadGzipFile, zlib.error, EOFError)
"""What Python raises of a damaged gzip."""


def is_zip(source: Path) -> bool:
    """Whether a source is to be unpacked."""
    return source.suffix.lower() == ".zip" and source.is_file()


def is_gzip(source: Path) -> bool:
    """Whether a source is one gzipped file (RFC 1952), `model.city.json.gz`."""
    if source.suffix.lower() != ".gz" or not source.is_file():
        return False
    with source.open("rb") as file:
        return file.read(2) == b"\x1f\x8b"


def is_packed(source: Path) -> bool:
    """Whether a source is a ZIP or gzipped."""
    return is_zip(source) or is_gzip(source)


def heads(source: Path, suffixes: Sequence[str]) -> Iterator[tuple[str, bytes]]:
    """Name and first bytes of each entry with one of the suffixes; none where it is not a ZIP or gzipped."""
    try:
        if is_gzip(source):
            if is_model(source.stem, suffixes):
                with gzip.open(source) as file:
                    yield source.stem, file.read(HEAD)
            return
        with zipfile.ZipFile(source) as archive:
            for name, info in zips.names_of(archive):
                if is_model(name, suffixes) and not info.flag_bits & 1:
                    with archive.open(info) as file:
                        yield name, file.read(HEAD)
    except (*zips.UNREADABLE, *BROKEN):
        return


@contextmanager
def opened(source: Path, suffixes: Sequence[str], member: str | None, report: Report) -> Iterator[tuple[Path, Path | None]]:
    """(the model's file, the folder that what it refers to may not leave); a source that is no ZIP is itself, without such a folder.

    Raises:
        UnreadableSource: not a ZIP, a bomb, or without a model.
        BadOption: several models and none is named, or `member` names none or several of them.
    """
    with models(source, suffixes, member, report) as found:
        if len(found) > 1:
            raise BadOption(f"{source.name} holds {len(found)} models: {', '.join(name for name, _, _ in found[:5])}.", "Name one: --option member=NAME.")
        if is_zip(source):
            report.facts["member"] = found[0][0]
        yield found[0][1:]


@contextmanager
def models(source: Path, suffixes: Sequence[str], member: str | None, report: Report) -> Iterator[list[tuple[str, Path, Path | None]]]:
    """(name, file, folder that what it refers to may not leave) of each model of a ZIP, by name; what is gzipped is one; another source is itself, without such a folder.

    Args:
        source: a ZIP, a gzipped model, or a model.
        suffixes: of models.
        member: of a ZIP's models those to take: a name, or a pattern with `*`.
        report: entries that lead out of the ZIP are noted in it.

    Raises:
        UnreadableSource: not a ZIP, a bomb, or without a model.
        BadOption: `member` fits none.
    """
    if not is_zip(source):
        if member is not None:
            raise BadOption(f"member={member}: {source.name} is not a ZIP.", "Leave it out.")
        if not is_gzip(source):
            yield [(source.name, source, None)]
            return
        with scratch.folder("model") as folder:
            root = folder.resolve()
            yield [(source.stem, _gunzip(source, root / source.stem), root)]
        return
    with scratch.folder("model") as folder:
        root = folder.resolve()
        found = sorted(name for name in _unpack(source, root, report) if is_model(name, suffixes))
        if not found:
            raise UnreadableSource(f"{source.name} holds no model ({', '.join(suffixes)}).", "Deliver the model with its textures in one ZIP.")
        chosen = [name for name in found if member is None or name == member or fnmatch.fnmatchcase(name, member)]
        if not chosen:
            raise BadOption(f"member={member}: {source.name} holds {', '.join(found[:5])}.", "Name one of these, or several by a pattern (*).")
        yield [(name, root / name, root) for name in chosen]


def is_model(name: str, suffixes: Sequence[str]) -> bool:
    """Whether an entry is a model: not one of the side folders of national packages, nor what systems add."""
    folders = {part.lower() for part in PurePosixPath(name).parts[:-1]}
    return name.lower().endswith(tuple(suffixes)) and not folders & sources.SIDE_FOLDERS


def _gunzip(source: Path, target: Path) -> Path:
    """A gzipped file, unpacked."""
    left = min(MAX_BYTES, MAX_RATIO * source.stat().st_size)
    try:
        with gzip.open(source) as file, target.open("wb") as out:
            while chunk := file.read(CHUNK):
                left -= len(chunk)
                if left < 0:
                    raise UnreadableSource(f"{source.name} would unpack to more than {MAX_RATIO} times its size.", "Unpack it yourself if that is right, and ingest what was in it.")
                out.write(chunk)
    except BROKEN as error:
        raise UnreadableSource(f"{source.name} cannot be unpacked: {str(error)[:120]}.", "Deliver it again.") from error
    return target


def _unpack(source: Path, root: Path, report: Report) -> list[str]:
    """Names of the files that were unpacked."""
    try:
        with zipfile.ZipFile(source) as archive:
            infos = [(name, info) for name, info in zips.names_of(archive) if not info.is_dir()]
            total = sum(info.file_size for _, info in infos)
            if total > min(MAX_BYTES, MAX_RATIO * source.stat().st_size) or len(infos) > MAX_FILES:
                raise UnreadableSource(f"{source.name} would unpack to {len(infos):,} files of {total >> 20} MiB, {total // max(source.stat().st_size, 1)} times its size.",
                                       "Unpack it yourself if that is right, and ingest the folder's model.")  # fmt: skip
            done = []
            for name, info in infos:
                parts = PurePosixPath(name).parts
                if ".." in parts or PurePosixPath(name).is_absolute() or PureWindowsPath(name).drive or stat.S_ISLNK(info.external_attr >> 16) or "\0" in name:
                    report.note("refused", name[:200], "This entry of the ZIP leads out of it (or is a link) and is not unpacked.")
                    continue
                path = root / name
                path.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(info) as file, path.open("wb") as out:
                    left = info.file_size
                    while left > 0 and (chunk := file.read(min(CHUNK, left))):
                        out.write(chunk)
                        left -= len(chunk)
                done.append(name)
            return done
    except zips.UNREADABLE as error:
        raise zips.failure(error, UnreadableSource(f"{source.name} cannot be unpacked: {type(error).__name__}: {str(error)[:120]}.", "Deliver it again.")) from error
