"""Files that live while a job runs. Their names say whose they are, so that what a killed process left is known from what a running one needs.

A name is ``<process>-<its start>-<machine>-<what>-<random>``, in the system's folder for temporary files with ``twin-`` before it. Numbers of processes come back (threads
have them too), so the start is looked at as well; containers that share a folder have processes of the same number, so only what was left on the same machine is swept.
"""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import sys
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from twin.processes import started

TWIN = "twin-"
_NAME = re.compile(r"(\d+)-(\d+)-([0-9a-f]{8})-")


def name(what: str = "") -> str:
    """A name that nobody else has."""
    return f"{os.getpid()}-{started(os.getpid())}-{_machine()}-{what and what + '-'}{os.urandom(8).hex()}"


@contextmanager
def folder(what: str, place: Path | None = None) -> Iterator[Path]:
    """A new folder (in the system's folder for temporary files, or in `place`), gone afterwards with all that is in it."""
    path = Path(tempfile.gettempdir(), TWIN + name(what)) if place is None else place / name(what)
    path.mkdir(mode=0o700)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def is_ours(name: str) -> bool:
    """Whether it is a name of this module, which tells a reader nothing."""
    return _NAME.match(name) is not None


def sweep(place: Path, before: str = "") -> int:
    """Remove what processes that are gone left in `place` under names that begin with `before`; returns how many files and folders."""
    count = 0
    for path in place.iterdir():
        if path.name.startswith(before) and _is_left(path.name[len(before) :]):
            with suppress(OSError):  # it is somebody else's, or somebody else sweeps too
                remove(path)
                count += 1
    return count


def remove(path: Path) -> None:
    """Remove a file or a folder with what is in it, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def publish(place: Path, path: Path) -> None:
    """Give a file or a folder that is whole its final name, once it is on disk: after a power cut there is all of it under that name, or nothing."""
    if place.is_dir():
        _sync_all(place)
    else:
        _sync(place)
    os.replace(place, path)
    _sync(path.parent)


def _sync(path: Path) -> None:
    """Wait until a file, or a folder's list of names, is on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_all(folder: Path) -> None:
    """Wait until everything in a folder is on disk: at once, as a folder of tiles has a hundred thousand files, each of which would be a wait of its own."""
    flush = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None) if sys.platform == "linux" else None
    if flush is None:
        os.sync()
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        if flush(descriptor):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(folder))
    finally:
        os.close(descriptor)


def _is_left(text: str) -> bool:
    found = _NAME.match(text)
    return found is not None and found[3] == _machine() and started(int(found[1])) != found[2]


def _machine() -> str:
    return f"{zlib.crc32(os.uname().nodename.encode()):08x}"
