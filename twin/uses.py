"""What of the city a version was read with: a layer's features, one feature, the height of the ground; and whether that is still so.

A terrain may take its water from a layer (`water=LAYER`), a model its place from a building and from the ground there
(`footprint=LAYER/ID`). The version that came of it is as it is; what it was read with is written into its provenance, so that the
city can say that it is stale.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from typing import Any

import shapely

from twin.catalog import Derivation
from twin.city import City
from twin.errors import NotFound
from twin.model import Bounds, Features, LayerVersion

GONE = "gone"


@dataclass
class Uses:
    """The city as a reader may ask it, with a note of every answer.

    `found`: by what was asked for (`layer:NAME`, `feature:LAYER/ID`, `ground:LON,LAT`), digests of [what tells at once that nothing changed, the answer].
    """

    city: City
    found: dict[str, list[str]] = field(default_factory=dict)

    def features_of(self, layer: str) -> Iterator[Features]:
        """As `City.features_of`."""
        self._note(f"layer:{layer}")
        yield from self.city.features_of(layer)

    def feature(self, name: str) -> tuple[Features, dict[str, Any]]:
        """As `City.feature`."""
        answer = self.city.feature(name)
        self._note(f"feature:{name}")
        return answer

    def ground_at(self, lon: float, lat: float) -> float | None:
        """As `City.ground_at`."""
        self._note(f"ground:{lon!r},{lat!r}")
        return self.city.ground_at(lon, lat)

    def _note(self, asked: str) -> None:
        quick = _quick(self.city, asked)
        self.found[asked] = [quick, _answer(self.city, asked, quick)]


def changed(city: City, version: LayerVersion) -> list[str]:
    """What a version was read with and is not so any more: layers, features (LAYER/ID), "ground at LON,LAT"."""
    stale = []
    for asked, (quick, answer) in version.provenance.get("uses", {}).items():
        now = _quick(city, asked)
        if now != quick and _answer(city, asked, now) != answer:
            what, _, name = asked.partition(":")
            stale.append(f"ground at {name}" if what == "ground" else name)
    return stale


def is_stale(city: City, version: LayerVersion, derivation: Derivation | None) -> bool:
    """Whether a layer's tiles stand on a terrain that is no longer the published one, or it was read with what has changed in the city since."""
    if changed(city, version):
        return True
    if derivation is None or "ground" not in derivation.inputs:
        return False
    ground = city.ground_for(version.extent)
    return bool((ground.key if ground else None) != derivation.inputs["ground"])


def renewed(version: LayerVersion, layers: dict[str, list[str]]) -> dict[str, Any]:
    """The provenance of a version whose reader has just asked for `layers` again."""
    return {**version.provenance, "uses": {**version.provenance.get("uses", {}), **layers}}


def _quick(city: City, asked: str) -> str:
    """A digest that is cheap to have and changes whenever the answer does, and sometimes when it does not."""
    what, _, name = asked.partition(":")
    if what == "ground":
        lon, lat = map(float, name.split(","))
        ground = city.ground_for(Bounds(lon, lat, lon, lat))
        return _digest(ground.key if ground is not None else GONE)
    try:
        version = city.published(name.partition("/")[0])[1]
    except NotFound:
        return GONE
    return _digest([[[part.key, *part.hidden] for part in version.parts], version.tombstones, asdict(version.reference), version.style])


@lru_cache(maxsize=256)
def _answer(city: City, asked: str, quick: str) -> str:
    """A digest of the answer itself; `quick` is what the city was when it was given."""
    what, _, name = asked.partition(":")
    if what == "layer" or quick == GONE:
        return quick
    if what == "ground":
        return repr(city.ground_at(*map(float, name.split(","))))
    try:
        one, style = city.feature(name)
    except NotFound:
        return GONE
    return _digest([shapely.to_wkb(one.geometry).tolist(), one.attributes.to_pylist(), asdict(one.reference), style])


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, ensure_ascii=False, default=repr).encode()).hexdigest()[:24]
