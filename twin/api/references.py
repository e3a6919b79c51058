"""OGC API – Features part 2 (OGC 18-058r1): in which CRS a layer's features may be asked for, and what a box's numbers mean.

Coordinates leave and arrive in the order that the authority of the CRS states (EPSG:4326, 4490: latitude first; Gauss–Krüger: northing first);
inside there is only easting or longitude first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from fastapi import Query

from twin import crs, ways
from twin.errors import BadOption
from twin.model import ABOVE_GROUND, ELLIPSOID, Bounds, LayerVersion
from twin.query import OwnBox

CRS84 = "http://www.opengis.net/def/crs/OGC/1.3/CRS84"
CRS84H = "http://www.opengis.net/def/crs/OGC/0/CRS84h"
_EPSG = "http://www.opengis.net/def/crs/EPSG/0/"
_LONLAT = ("EPSG:4326", "EPSG:4490")
"""Taken as identical (`twin.crs`)."""
_ORDER = "west,south,east,north; with heights west,south,lowest,east,north,highest; in the axis order of bbox-crs."

CrsName = Annotated[str | None, Query(description="URI of the CRS of the answer, one of the collection's `crs`; the first of them when absent. "
                                                  "Coordinates come in its own axis order; a CRS of two axes leaves heights out.",
                                      examples=[f"{_EPSG}4490"])]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Offered:
    """A CRS that a layer is offered in.

    Attributes:
        uri: its name.
        horizontal: its first two axes, as in `Reference.horizontal`.
        swapped: whether the authority puts latitude or northing first.
        heights: whether its third axis are metres above the WGS 84 ellipsoid.
    """

    uri: str
    horizontal: str
    swapped: bool = False
    heights: bool = False


def offered(version: LayerVersion) -> dict[str, Offered]:
    """The CRS of a layer by URI; the first one is that of answers for which none is named."""
    found = [Offered(CRS84, "EPSG:4326")]
    if version.reference.vertical not in ("", ABOVE_GROUND):
        found = [Offered(CRS84H, "EPSG:4326", heights=True), *found, Offered(f"{_EPSG}4979", "EPSG:4326", swapped=True, heights=True)]
    plain = ways.plain(version.reference.horizontal)
    for name in dict.fromkeys((*_LONLAT, "EPSG:3857", *([plain] if plain.startswith("EPSG:") else []))):
        found.append(Offered(_EPSG + name.removeprefix("EPSG:"), name, swapped=_is_swapped(name)))
    return {one.uri: one for one in found}


def storage(version: LayerVersion) -> str | None:
    """URI of the CRS in which a layer is stored; None where no single one says it.

    So it is for a plane CRS with heights: clients prefer the storage CRS (GDAL does), and one of two axes would lose them.
    """
    reference = version.reference
    plain = ways.plain(reference.horizontal)
    if plain == "EPSG:4326" and reference.vertical == ELLIPSOID:
        return f"{_EPSG}4979"
    if reference.vertical not in ("", ABOVE_GROUND):
        return None
    if plain == "OGC:CRS84":
        return CRS84
    return _EPSG + plain.removeprefix("EPSG:") if plain.startswith("EPSG:") else None


def named(version: LayerVersion, uri: str | None, parameter: str = "crs") -> Offered:
    """The CRS that a parameter names; the layer's first one when it is absent.

    Raises:
        BadOption: the layer is not offered in it.
    """
    there = offered(version)
    if uri is None:
        return next(iter(there.values()))
    if uri not in there:
        raise BadOption(f"{parameter}: layer {version.layer!r} is not offered in {uri[:100]!r}.", f"Offered: {', '.join(there)}.")
    return there[uri]


def box_of(version: LayerVersion, text: str, uri: str) -> Bounds | OwnBox:
    """A box of four or six numbers in `bbox-crs`: in WGS 84, or in the layer's own coordinates where that is their CRS.

    Raises:
        BadOption: it is no such list of finite numbers; a CRS that is not offered; heights that the CRS or the layer does not have.
    """
    system = named(version, uri, "bbox-crs")
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError as error:
        raise BadOption(f"bbox: {text[:100]!r} is not a list of numbers.", f"Write {_ORDER}") from error
    if len(numbers) not in (4, 6):
        raise BadOption(f"bbox: {len(numbers)} numbers instead of 4 or 6.", f"Write {_ORDER}")
    if not np.isfinite(numbers).all():
        raise BadOption("bbox: every number must be finite.")
    half = len(numbers) // 2
    (a, b), (c, d) = numbers[:2], numbers[half : half + 2]
    west, south, east, north = (b, a, d, c) if system.swapped else (a, b, c, d)
    heights = _heights(version, system, numbers) if half == 3 else ()
    if system.horizontal in _LONLAT:
        return Bounds(west, south, east, north, *heights)
    if west > east or south > north:
        raise BadOption(f"bbox: {text[:100]!r} ends before it begins.", f"Write {_ORDER}")
    if system.horizontal == ways.plain(version.reference.horizontal):
        return OwnBox(Bounds(west, south, east, north))
    lon, lat = crs.to_lonlat(system.horizontal, np.array([west, east]), np.array([south, north]))  # Mercator's boxes are boxes of longitude and latitude
    lon = np.where(np.abs(lon) <= 180 + 1e-9, np.clip(lon, -180, 180), lon)
    if np.abs([west, east]).max() > _MERCATOR_EDGE or not (np.isfinite(lon).all() and np.isfinite(lat).all()):
        raise BadOption(f"bbox: {text[:100]!r} reaches beyond {system.uri}.", f"Write {_ORDER}")
    return Bounds(float(lon[0]), float(lat[0]), float(lon[1]), float(lat[1]))


_MERCATOR_EDGE = 20037508.35
"""Metres from the middle at which longitude is 180°, a centimetre more: beyond, PROJ comes round again."""


def _heights(version: LayerVersion, system: Offered, numbers: list[float]) -> tuple[float, float]:
    if version.reference.vertical in ("", ABOVE_GROUND):
        raise BadOption(f"bbox: layer {version.layer!r} has no absolute heights, so none can be asked for.", "Write four numbers.")
    if system.horizontal != "EPSG:4326" or not (system.heights or system.uri == CRS84):
        raise BadOption(f"bbox: {system.uri} has no heights.", f"Write four numbers, or six in {CRS84H}.")
    if numbers[2] > numbers[5]:
        raise BadOption(f"bbox: the lowest height {numbers[2]:g} lies above the highest {numbers[5]:g}.", f"Write {_ORDER}")
    return numbers[2], numbers[5]


def _is_swapped(horizontal: str) -> bool:
    """Whether latitude or northing comes first on paper: then, and only then, PROJ's `always_xy` swaps."""
    return [axis.direction for axis in crs.crs_of(horizontal).axis_info[:2]] == ["north", "east"]
