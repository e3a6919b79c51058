"""A lake in an object store: any S3-compatible one (also Google's, Azure's, a folder, memory), behind the interface of `Lake`.

Objects lie under the same names as files do in a local lake, `<2 digits>/<sha256><suffix>`. Byte ranges (tiles of an archive) are read
from the store. What needs a file of its own (Parquet, GeoTIFF, archives being rewritten) gets a copy in the cache folder, checked
against its name, which is its content's hash. The cache is bounded: the least recently used files go first.

ADR 0011 says what goes where. Credentials, region and endpoint come from the usual AWS_* variables (obstore reads them).
"""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import obstore
from obstore.exceptions import BaseError, InvalidPathError, NotFoundError
from obstore.store import from_url

from twin import scratch
from twin.errors import BadOption, NotFound, StorageError
from twin.lake import Lake, digest, storage_errors
from twin.ranges import BlockRanges, FileRanges, Ranges

WAITING: Any = {"max_retries": 3, "retry_timeout": timedelta(seconds=20)}
"""How often byte ranges are asked for again: somebody waits for these. Jobs wait three minutes for a store; a server whose threads all did would answer nobody."""
HOLD = 6 * 3600.0
"""Seconds for which a file that was asked for stays in the cache even beyond its limit: a job may still be reading it."""


class ObjectLake(Lake):
    """The lake at an address such as ``s3://bucket/prefix``; `root` is the cache folder.

    Args:
        address: of the store; ``memory://`` and ``file:///folder`` work too.
        cache: folder for local copies and for scratch files.
        limit: bytes that the cache may hold.
        store: an obstore store instead of the one that `address` names (for tests).

    Raises:
        BadOption: the address names no store.
    """

    def __init__(self, address: str, cache: Path, limit: int = 20 << 30, store: Any = None) -> None:
        super().__init__(cache)
        self.address = address
        self.limit = limit
        self._given = store
        try:
            self._store = store if store is not None else from_url(address)
            self._tiles = from_url(address, retry_config=WAITING) if store is None and not address.startswith("memory:") else self._store
        except (BaseError, ValueError) as error:
            raise BadOption(f"The lake {address} cannot be opened: {_first_line(error)}.", "Name it as s3://BUCKET/PREFIX (or gs://, az://, file:///FOLDER).") from error
        self._lock = threading.Lock()
        self._fetching: dict[str, threading.Lock] = {}

    def __reduce__(self) -> tuple[Callable[..., ObjectLake], tuple[Any, ...]]:
        """Worker processes open the store again."""
        return ObjectLake, (self.address, self.root, self.limit, self._given)

    # --- reading ----------------------------------------------------------------------------------------------------

    def path(self, key: str) -> Path:
        """A local copy of an object; fetched where the cache does not hold it."""
        place = self._place(key)
        if self._touch(place):
            return place
        with self._lock:
            mine = self._fetching.setdefault(key, threading.Lock())
        with mine:
            if not self._touch(place):
                self._fetch(key, place)
        with self._lock:
            self._fetching.pop(key, None)
        return place

    def exists(self, key: str) -> bool:
        """Whether the store holds this key."""
        name = self._name(key)
        with _store_errors(f"looking for {key}"):
            try:
                obstore.head(self._store, name)
            except (NotFoundError, FileNotFoundError):
                return False
        return True

    def size(self, key: str) -> int:
        """Bytes of an object."""
        name = self._name(key)
        with _store_errors(f"looking for {key}", key):
            return int(obstore.head(self._store, name)["size"])

    def get_range(self, key: str, start: int, length: int) -> bytes:
        """`length` bytes from `start`; fewer only at the end of the object."""
        place = self._place(key)
        if self._touch(place):
            return super().get_range(key, start, length)
        length = max(0, min(length, self.size(key) - start))
        return self._range(key, start, length) if length else b""

    def ranges(self, key: str) -> Ranges:
        """An object to be read by byte ranges, from the cache where it holds it, else from the store."""
        place = self._place(key)
        if self._touch(place):
            return FileRanges(place)
        with _store_errors(f"looking for {key}", key):
            size = int(obstore.head(self._tiles, self._name(key))["size"])
        return BlockRanges(key, size, lambda start, length: self._range(key, start, length))

    def list(self) -> Iterator[tuple[str, int, float]]:
        """(key, size, modification time) of everything stored, in the order of the keys."""
        found = []
        with _store_errors("listing the lake"):
            for chunk in obstore.list(self._store):
                found += [(str(o["path"]).rsplit("/", 1)[-1], int(o["size"]), o["last_modified"].timestamp()) for o in chunk if self._is_ours(str(o["path"]))]
        yield from sorted(found)

    # --- writing ----------------------------------------------------------------------------------------------------

    def put_file(self, source: Path, suffix: str = "", *, move: bool = False) -> str:
        """Store a file and return its key; with `move` the file itself becomes the cached copy."""
        with storage_errors(f"storing {source.name}"):
            key = digest(source) + suffix
        if not self.exists(key):
            with _store_errors(f"storing {source.name}"):
                obstore.put(self._store, self._name(key), source)
        if move:
            place = self._place(key)
            place.parent.mkdir(exist_ok=True)
            scratch.publish(source, place)  # nobody looks at it again: half a copy would be taken for the object
            self._evict(keep=place)
        return key

    def put_bytes(self, data: bytes, suffix: str = "") -> str:
        """Store bytes and return their key."""
        key = hashlib.sha256(data).hexdigest() + suffix
        if not self.exists(key):
            with _store_errors("storing a part"):
                obstore.put(self._store, self._name(key), data)
        return key

    def delete(self, key: str) -> None:
        """Remove an object and its copy; used by the garbage collector alone."""
        with _store_errors(f"removing {key}"), suppress(NotFoundError, FileNotFoundError):
            obstore.delete(self._store, self._name(key))
        self._place(key).unlink(missing_ok=True)

    # --- the cache --------------------------------------------------------------------------------------------------

    def cached(self) -> int:
        """Bytes that the cache holds."""
        return sum(size for _, size, _ in super().list())

    def _touch(self, place: Path) -> bool:
        """Whether the cache holds a file; if so it is marked as used now."""
        try:
            os.utime(place)
        except OSError:
            return False
        return True

    def _fetch(self, key: str, place: Path) -> None:
        with self.scratch(Path(key).suffix) as copy:
            with storage_errors(f"fetching {key}"), _store_errors(f"fetching {key}", key), copy.open("wb") as file:
                for chunk in obstore.get(self._store, self._name(key)):
                    file.write(chunk)
            with storage_errors(f"fetching {key}"):
                if digest(copy) != key.partition(".")[0]:
                    raise StorageError(f"{key}: the bytes in the store are not those that were stored.", "Restore the object, or ingest and tile the layer again.")
                place.parent.mkdir(exist_ok=True)
                scratch.publish(copy, place)
        self._evict(keep=place)

    def _evict(self, keep: Path) -> None:
        """Remove copies, the least recently used first, until the limit is kept; never one that was asked for in the last hours."""
        held = sorted((used, size, key) for key, size, used in super().list())
        total = sum(size for _, size, _ in held)
        for used, size, key in held:
            if total <= self.limit or used > time.time() - HOLD:
                return
            if self._place(key) != keep:
                self._place(key).unlink(missing_ok=True)
                total -= size

    def _range(self, key: str, start: int, length: int) -> bytes:
        with _store_errors(f"reading {key}", key):
            return bytes(obstore.get_range(self._tiles, self._name(key), start=start, length=length))

    def _name(self, key: str) -> str:
        place = self._place(key)  # refuses what is no key
        return f"{place.parent.name}/{place.name}"

    def _is_ours(self, path: str) -> bool:
        parts = path.split("/")
        return len(parts) == 2 and parts[1][:2] == parts[0] and self._is_key(parts[1])


@contextmanager
def _store_errors(doing: str, key: str = "") -> Iterator[None]:
    """The store's exceptions as ours; a missing object is NotFound where a `key` is given."""
    try:
        yield
    except (NotFoundError, FileNotFoundError, InvalidPathError) as error:
        if not key:
            raise StorageError(f"{doing}: {_first_line(error)}.", "Check the address of the lake.") from error
        raise NotFound(f"The lake holds no {key}.", "It may have been collected; ingest or tile the layer again.") from error
    except BaseError as error:
        # what the library says names the store's address: for who runs the city, not for the clients of its API
        raise StorageError(f"{doing}: the object store fails.", f"It says: {_first_line(error)}. The city shows what it showed. Check the store's address, credentials and space (AWS_* variables).") from error


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].strip().rstrip(".")

