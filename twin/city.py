"""One city: its lake and its catalogue, opened together."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from twin import parts
from twin.catalog import Catalog, Derivation, Publication
from twin.errors import BadOption, NotFound
from twin.ground import Ground
from twin.lake import Lake
from twin.model import Bounds, Features, LayerVersion
from twin.settings import Settings


class City:
    """The lake, the catalogue and the settings of one home folder."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.lake = _lake(settings)
        self.catalog = Catalog(settings.home / "catalog.sqlite")
        self.manifest = lru_cache(maxsize=512)(self._manifest)

    @staticmethod
    def open(home: Path | None = None) -> City:
        """The city at `home`, else ``TWIN_HOME``, else ``./city``; created when it is not there."""
        return City(Settings.from_environment(home))

    def _manifest(self, key: str) -> LayerVersion:
        return parts.from_json(self.lake.get_json(key))

    def published(self, layer: str) -> tuple[Publication, LayerVersion, Derivation | None]:
        """What a layer shows.

        Raises:
            NotFound: no such layer, or it shows nothing yet.
        """
        self.catalog.layer(layer)
        found = self.catalog.published(layer)
        if not found:
            raise NotFound(f"Layer {layer!r} has no published version.", f"Publish one with: twin publish {layer}")
        publication = found[0]
        derivation = self.catalog.derivation(publication.derivation) if publication.derivation else None
        return publication, self.manifest(publication.manifest), derivation

    def feature(self, name: str) -> tuple[Features, dict[str, Any]]:
        """One published feature by `LAYER/ID`, in its layer's reference, and the layer's style.

        Raises:
            BadOption: the name is not of that form, or the layer has no features.
            NotFound: no such layer or feature.
        """
        from twin import query  # noqa: PLC0415  the query engine takes 0.1 s to load; few commands ask for a feature

        layer, slash, identity = name.partition("/")
        if not (layer and slash and identity):
            raise BadOption(f"{name!r} names no feature.", "Write LAYER/ID, as in /collections/LAYER/items/ID.")
        version = self.published(layer)[1]
        if not any(part.role == "features" for part in version.parts):
            raise BadOption(f"Layer {layer!r} ({version.kind}) has no features.", "Name a layer of footprints or vectors.")
        return query.item(self.lake, version, identity), version.style

    def features_of(self, layer: str) -> Iterator[Features]:
        """The features that a layer shows, chunk by chunk.

        Raises:
            NotFound: no such layer; BadOption: it has no features.
        """
        version = self.published(layer)[1]
        if not any(part.role == "features" for part in version.parts):
            raise BadOption(f"Layer {layer!r} ({version.kind}) has no features.", "Name a layer of footprints or vectors.")
        yield from parts.read_features(self.lake, version)

    def ground_at(self, lon: float, lat: float) -> float | None:
        """Ellipsoidal height of the published terrain at a place in metres, None where there is none."""
        ground = self.ground_for(Bounds(lon, lat, lon, lat))
        height = float(ground.ellipsoidal(np.array([lon]), np.array([lat]))[0]) if ground is not None else float("nan")
        return height if math.isfinite(height) else None

    def sweep_cache(self, age: float) -> int:
        """Remove what readers keep to be quick and have not touched for `age` seconds; returns bytes."""
        freed = 0
        for path in (self.settings.cache).glob("*"):
            info = path.stat()
            if path.is_file() and time.time() - info.st_mtime > age:
                path.unlink(missing_ok=True)
                freed += info.st_size
        return freed

    def terrains(self) -> list[tuple[Publication, LayerVersion]]:
        """Published terrain layers, finest cells first."""
        found = []
        for publication in self.catalog.published():
            version = self.manifest(publication.manifest)
            if version.kind == "terrain" and version.extent is not None:
                found.append((publication, version))
        return sorted(found, key=lambda pair: _cell_degrees(pair[1]))

    def ground_for(self, extent: Bounds | None) -> Ground | None:
        """The published terrain under the middle of an extent (the finest, where several cover it), or None."""
        if extent is None:
            return None
        x, y = (extent.minx + extent.maxx) / 2, (extent.miny + extent.maxy) / 2
        for _, version in self.terrains():
            box = version.extent
            if box and box.minx <= x <= box.maxx and box.miny <= y <= box.maxy:
                return Ground.of(self.lake, version)
        return None


def _cell_degrees(version: LayerVersion) -> float:
    part = parts.raster_part(version)
    if version.extent is None or not part.count:
        return float("inf")
    box = version.extent
    return float(((box.maxx - box.minx) * (box.maxy - box.miny) / part.count) ** 0.5)


def _lake(settings: Settings) -> Lake:
    if not settings.lake:
        return Lake(settings.home / "lake")
    from twin.objects import ObjectLake  # noqa: PLC0415  its library is loaded by those alone who use it

    return ObjectLake(settings.lake, settings.cache, settings.cache_bytes)
