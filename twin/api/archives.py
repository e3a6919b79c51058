"""Open tile archives, kept for the next request, and their entries as HTTP answers."""

from __future__ import annotations

import threading
from pathlib import PurePosixPath
from typing import Any

import orjson
from fastapi import Request, Response

from twin.api.common import accepts_gzip, body_response, immutable, knows, not_modified
from twin.archive import Archive
from twin.archive_set import ArchiveSet
from twin.catalog import Derivation
from twin.city import City
from twin.errors import BadTileset, NotFound, StorageError

MEDIA_TYPES = {
    ".glb": "model/gltf-binary", ".gltf": "model/gltf+json", ".json": "application/json", ".terrain": "application/vnd.quantized-mesh",
    ".subtree": "application/octet-stream", ".png": "image/png", ".jpg": "image/jpeg", ".webp": "image/webp", ".ktx2": "image/ktx2",
}  # fmt: skip


class Archives:
    """At most `size` archives held open; the least recently used one goes first. Safe for threads."""

    def __init__(self, city: City, size: int = 256) -> None:
        self._city = city
        self._size = size
        self._lock = threading.Lock()
        self._open: dict[str, Archive] = {}
        self._heads: dict[str, dict[str, Any]] = {}

    def head(self, derivation: Derivation, entry: str) -> dict[str, Any]:
        """What a tileset.json (at `entry`) tells apart from its tiles: schema, groups, statistics, metadata. Read once for each tileset.

        Raises:
            NotFound: the lake does not hold the archive; BadTileset: it is damaged.
        """
        if derivation.key not in self._heads:
            document = orjson.loads(self.of(derivation).read(entry))
            head = {name: document[name] for name in ("schema", "groups", "statistics", "metadata") if name in document}
            if "schemaUri" in document:
                head["schemaUri"] = f"{derivation.key}/{document['schemaUri']}"
            with self._lock:
                self._heads[derivation.key] = head
                if len(self._heads) > self._size:
                    del self._heads[next(iter(self._heads))]
            return head
        return self._heads[derivation.key]

    def of(self, derivation: Derivation) -> Archive | ArchiveSet:
        """All archives of a tileset as one.

        Raises:
            NotFound: the lake does not hold one of them.
        """
        found = [self.get(key) for key in derivation.archives]
        return found[0] if len(found) == 1 else ArchiveSet(found)

    def get(self, key: str) -> Archive:
        """The archive of a lake key, read by byte ranges: from its file, or from the object store without downloading it.

        Raises:
            NotFound: the lake does not hold it.
        """
        with self._lock:
            if key in self._open:
                self._open[key] = self._open.pop(key)  # the newest is last
                return self._open[key]
        archive = Archive(self._city.lake.ranges(key))  # outside of the lock: a store may take its time
        with self._lock:
            archive = self._open.setdefault(key, archive)
            if len(self._open) > self._size:
                # not closed here: another thread may be reading it; the handle goes with the last reference
                del self._open[next(iter(self._open))]
            return archive


def derivation(city: City, layer: str, key: str) -> Derivation:
    """A tileset of a layer by its key, published now or before.

    Raises:
        NotFound: no such tileset, or it belongs to another layer.
    """
    found = city.catalog.derivation(key)
    if found is None or found.layer != layer:
        raise NotFound(f"Layer {layer!r} has no tileset {key!r}.", "Start again from the layer's tileset.json or layer.json.")
    return found


def entry_response(request: Request, city: City, layer: str, key: str, path: str) -> Response:
    """An entry of a layer's archive: immutable, and handed out in its stored deflate form where the client takes gzip.

    Raises:
        NotFound: no such tileset or entry.
    """
    archives: Archives = request.app.state.archives
    found = derivation(city, layer, key)
    cache = immutable(city, layer)
    try:
        archive = archives.of(found)
        entry = archive.entry(path)
        etag = f'W/"{entry.crc:08x}-{entry.size}"'
        if knows(request, etag):
            return not_modified(etag, cache)
        zipped = archive.gzip_body(path) if entry.deflated and accepts_gzip(request) else None
        body = b"" if zipped is not None else archive.read(path)
    except NotFound as error:
        raise NotFound(f"Tileset {key} of layer {layer!r} holds no {path}.") from error
    except BadTileset as error:  # our own archive: not the client's fault
        raise StorageError(error.message, error.remedy) from error
    media_type = MEDIA_TYPES.get(PurePosixPath(path).suffix.lower(), "application/octet-stream")
    headers = {"Accept-Ranges": "none"}  # tiles are small, and stored deflated: parts of them are not handed out
    return body_response(request, body, media_type, cache=cache, etag=etag, headers=headers, zipped=zipped, compress=False)
