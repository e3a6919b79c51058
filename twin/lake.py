"""The lake: immutable files named by their content, in a local folder (`twin.objects`: in an object store).

Every file appears by one atomic rename after its bytes are on disk, so a killed writer leaves only a temporary
file, which `sweep_temporary` removes. Names are ``<sha256><suffix>``; the same bytes always get the same name.
"""

from __future__ import annotations

import errno
import hashlib
import json
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from twin import scratch
from twin.errors import NotFound, StorageError
from twin.hashing import digest as digest  # noqa: PLC0414  who knows the lake finds it here
from twin.ranges import FileRanges, Ranges

_NAME = re.compile(r"^[0-9a-f]{64}(\.[a-z0-9]+)*$")


class Lake:
    """Bytes by key in ``root``: `put_*` write once, `path`/`get*` read, `list`, `delete` for the garbage collector."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.temporary = root / "tmp"
        with storage_errors(f"Opening the city's folder {root.parent}"):
            self.temporary.mkdir(parents=True, exist_ok=True)

    def path(self, key: str) -> Path:
        """Where the file of a key lies.

        Raises:
            NotFound: the key is malformed or no such file is stored.
        """
        path = self._place(key)
        if not path.exists():
            raise NotFound(f"The lake holds no {key}.", "It may have been collected; ingest or tile the layer again.")
        return path

    def exists(self, key: str) -> bool:
        """Whether a file of this key is stored."""
        return self._place(key).exists()

    def put_file(self, source: Path, suffix: str = "", *, move: bool = False) -> str:
        """Store a file and return its key. With `move`, `source` (on the lake's file system) is renamed, not copied.

        Raises:
            StorageError: disk full or not writable; nothing is left behind.
        """
        with storage_errors(f"storing {'a part' if move else source.name}", self.root):
            key = digest(source) + suffix
            target = self._place(key)
            if target.exists():
                if move:
                    source.unlink()
                return key
            if move:
                self._publish(source, target)
                return key
            with self.scratch(suffix) as copy:
                shutil.copyfile(source, copy)
                self._publish(copy, target)
            return key

    def put_bytes(self, data: bytes, suffix: str = "") -> str:
        """Store bytes and return their key."""
        with storage_errors("storing a part", self.root):
            key = hashlib.sha256(data).hexdigest() + suffix
            target = self._place(key)
            if not target.exists():
                with self.scratch(suffix) as copy:
                    copy.write_bytes(data)
                    self._publish(copy, target)
            return key

    def put_json(self, value: Any) -> str:
        """Store a JSON document in canonical form (sorted keys, UTF-8) and return its key."""
        text = json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False)
        return self.put_bytes(text.encode(), ".json")

    def get(self, key: str) -> bytes:
        """All bytes of a key."""
        return self.path(key).read_bytes()

    def get_json(self, key: str) -> Any:
        """A JSON document by key."""
        return json.loads(self.get(key))

    def get_range(self, key: str, start: int, length: int) -> bytes:
        """`length` bytes from `start`; fewer only at the end of the file."""
        with self.path(key).open("rb") as file:
            file.seek(start)
            return file.read(length)

    def size(self, key: str) -> int:
        """Bytes of a file."""
        return self.path(key).stat().st_size

    def ranges(self, key: str) -> Ranges:
        """A file to be read by byte ranges (`twin.archive.Archive`)."""
        return FileRanges(self.path(key))

    def list(self) -> Iterator[tuple[str, int, float]]:
        """(key, size, modification time) of everything stored."""
        for folder in sorted(self.root.iterdir()):
            if folder.name != "tmp" and folder.is_dir():
                for path in sorted(folder.iterdir()):
                    stat = path.stat()
                    yield path.name, stat.st_size, stat.st_mtime

    def delete(self, key: str) -> None:
        """Remove a file; used by the garbage collector alone."""
        self._place(key).unlink(missing_ok=True)

    @contextmanager
    def scratch(self, suffix: str = "") -> Iterator[Path]:
        """A temporary path on the lake's own file system, gone afterwards unless it was moved into the lake."""
        path = self.temporary / f"{scratch.name()}{suffix}"
        try:
            yield path
        finally:
            scratch.remove(path)

    def sweep_temporary(self, older_than: float = 86400.0) -> int:
        """Remove temporary files of processes that are gone (or older than `older_than` seconds); returns how many."""
        count = scratch.sweep(self.temporary)
        for path in self.temporary.iterdir():
            with suppress(FileNotFoundError):
                if time.time() - path.stat().st_mtime > older_than:
                    scratch.remove(path)
                    count += 1
        return count

    @staticmethod
    def _is_key(name: str) -> bool:
        return _NAME.match(name) is not None

    def _place(self, key: str) -> Path:
        if not self._is_key(key):
            raise NotFound(f"{key!r} is not a key of the lake.")
        return self.root / key[:2] / key

    def _publish(self, source: Path, target: Path) -> None:
        target.parent.mkdir(exist_ok=True)
        scratch.publish(source, target)


FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def is_full(error: BaseException) -> bool:
    """Whether a disk, a quota or the size that a file may have is used up."""
    return isinstance(error, OSError) and error.errno in FULL


def storage_error(doing: str, error: OSError, place: Path | str = "") -> StorageError:
    """What the operating system says, in words; `place` is what is written to."""
    full, where = is_full(error), f" in {place}" if place else ""
    return StorageError(
        f"{doing}: {'the disk is full' if full else error.strerror or error}.",
        f"The city shows what it showed. Free space{where} (twin gc) and run the command again." if full else "Check the folder's permissions.",
    )


@contextmanager
def storage_errors(doing: str, place: Path | str = "") -> Iterator[None]:
    """The operating system's errors as StorageError."""
    try:
        yield
    except OSError as error:
        raise storage_error(doing, error, place) from error
