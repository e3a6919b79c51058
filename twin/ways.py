"""One way between datums for a layer: which of PROJ's coordinate operations takes it to WGS 84, chosen once and kept with its reference.

For some CRS PROJ knows several, each for an area, and takes one point by point, so that a layer is torn where an area ends and a point may come back
another way than it went (docs/adr/0068, 0070). So a layer's horizontal reference, once all of it is there, is written ``EPSG:2434 via EPSG:15920``:
the CRS, and the codes of the operations that lead to WGS 84 (a step that bears no code by its name). A CRS with one way, or none, stays as it is written.
"""

from __future__ import annotations

import threading
import warnings
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from pyproj import CRS, Transformer
from pyproj.exceptions import ProjError
from pyproj.transformer import TransformerGroup

from twin.errors import BadReference

if TYPE_CHECKING:
    from pyproj._crs import AreaOfUse  # as pyproj's own types call it

F64 = NDArray[np.float64]
_VIA = " via "
WHOLE = "takes the whole layer to WGS 84"
"""Stands in every sentence that says which way was chosen."""
_lock = threading.Lock()  # of Python's filters for warnings


@dataclass(frozen=True, slots=True)
class Way:
    """One coordinate operation to WGS 84.

    Attributes:
        codes: of its steps that change the datum, `EPSG:1173` or `EPSG:1313,EPSG:1149`.
        name: of these steps, as the register has it.
        accuracy: metres, as the register states it; NaN where it does not.
        area: where it is meant for; None: anywhere.
        transformer: from the CRS to longitude and latitude.
    """

    codes: str
    name: str
    accuracy: float
    area: AreaOfUse | None
    transformer: Transformer


def plain(horizontal: str) -> str:
    """The CRS alone, without the way that a layer takes."""
    return horizontal.partition(_VIA)[0]


def is_settled(horizontal: str) -> bool:
    """Whether a way is named."""
    return _VIA in horizontal


@lru_cache(maxsize=64)
def _group(crs: str) -> TransformerGroup:
    with _lock, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a grid is missing: `chosen` says so, where it matters
        return TransformerGroup(CRS.from_user_input(crs), 4326, always_xy=True, allow_ballpark=False)


@lru_cache(maxsize=64)
def ways(crs: str) -> tuple[Way, ...]:
    """All operations from a CRS to WGS 84 that PROJ can do here (their grids are there), in PROJ's order; those that leave the datum out are none."""
    found: dict[str, Way] = {}
    for one in _group(crs).transformers:
        codes, names = [], []
        for step in one.operations or ():
            if step.type_name in ("Conversion", "Other Coordinate Operation"):
                continue  # the projection, the order of axes
            told = step.to_json_dict().get("id") or {}
            codes.append(f"{told['authority']}:{told['code']}" if told else step.name)
            names.append(step.name)
        if codes:
            accuracy = one.accuracy if one.accuracy is not None and one.accuracy >= 0 else float("nan")
            found.setdefault(",".join(codes), Way(",".join(codes), " + ".join(names), accuracy, one.area_of_use, one))
    return tuple(found.values())


@lru_cache(maxsize=64)
def by_place(crs: str) -> Transformer:
    """PROJ's own transformer from a CRS to longitude and latitude, which of several ways takes one when it has a point."""
    return Transformer.from_crs(CRS.from_user_input(crs), 4326, always_xy=True)


def chooses(found: Transformer) -> bool:
    """Whether a transformer has several ways."""
    return found.description.startswith("unavailable until")


def has_several(crs: str) -> bool:
    """Whether PROJ would choose by place, and one of its ways could be named instead."""
    return chooses(by_place(crs)) and bool(ways(crs))


@lru_cache(maxsize=64)
def way(horizontal: str) -> Way:
    """The way that a settled reference names.

    Raises:
        BadReference: PROJ cannot do it here.
    """
    crs, _, codes = horizontal.partition(_VIA)
    for one in ways(crs):
        if one.codes == codes:
            return one
    raise BadReference(f"This PROJ cannot take {crs[:80]} to WGS 84 by {codes}, as its layer was stored: a grid is missing, or the operation is not in its database.",
                       "Install the grid (projsync), or ingest the layer again.")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Choice:
    """A way chosen for an extent.

    Attributes:
        way: the operation.
        share: how much of the extent lies in its area of use, 0–1.
        better: a more accurate one whose grid is not installed, in words; or "".
    """

    way: Way
    share: float
    better: str

    def words(self) -> str:
        """What GIS staff should know of it, in one sentence."""
        how = f"good to {self.way.accuracy:g} m" if np.isfinite(self.way.accuracy) else "of unknown accuracy"
        where = "" if self.share == 1 else f"; no known way holds all of the extent, this one's area ({_area(self.way.area)}) holds {self.share:.0%} of it"
        return f"{self.way.name} ({self.way.codes}), {how}, {WHOLE}{where}{self.better and f'; {self.better}'}."

    @property
    def doubtful(self) -> bool:
        """Whether it is worse than a metre, or is used outside of its area."""
        return not self.way.accuracy <= 1.0 or self.share < 1


def chosen(crs: str, x: F64, y: F64) -> Choice | None:
    """The way for places (any shape) in `crs` itself: the most accurate one whose area holds all of them; else the one whose area holds most, or lies nearest.

    What it is does not depend on how the places came, only on where they are. None: PROJ knows one way, or none.
    """
    if not has_several(crs):
        return None
    parsed = CRS.from_user_input(crs)
    geographic = parsed.geodetic_crs
    try:  # degrees on its own datum: some 100 m from WGS 84's, which is nothing for the areas
        lon, lat = Transformer.from_crs(parsed, geographic, always_xy=True).transform(np.ravel(x), np.ravel(y)) if geographic else (np.ravel(x), np.ravel(y))
    except ProjError:
        return None
    there = np.isfinite(lon) & np.isfinite(lat)
    if not there.any():
        return None
    lon, lat, x, y = lon[there], lat[there], np.ravel(x)[there], np.ravel(y)[there]
    best: tuple[tuple[float, ...], Way, float] | None = None
    for order, one in enumerate(ways(crs)):
        if not np.isfinite(one.transformer.transform(x, y)).all():
            continue  # beyond its grid
        outside = _outside(one.area, lon, lat)
        share = float(np.mean(outside == 0))
        rank = (-share, float(outside.min()) if share == 0 else 0.0, one.accuracy if np.isfinite(one.accuracy) else np.inf, order)
        if best is None or rank < best[0]:
            best = rank, one, share
    if best is None:
        return None
    return Choice(best[1], best[2], _missing(crs, best[1], lon, lat))


def settled(crs: str, choice: Choice | None) -> str:
    """The reference that names the way chosen."""
    return crs if choice is None else f"{crs}{_VIA}{choice.way.codes}"


def _outside(area: AreaOfUse | None, lon: F64, lat: F64) -> F64:
    """Degrees by which places lie outside of an area of use, which may cross the 180th meridian."""
    if area is None:
        return np.zeros(len(lon))
    wide = (area.east - area.west) % 360.0 or 360.0
    east = np.round((lon - area.west) % 360.0, 9) % 360.0  # degrees east of its western edge
    across = np.where(east <= wide, 0.0, np.minimum(east - wide, 360.0 - east))
    return np.asarray(np.hypot(across, np.maximum(0.0, np.maximum(area.south - lat, lat - area.north))))


def _missing(crs: str, taken: Way, lon: F64, lat: F64) -> str:
    """The most accurate operation that would hold the places if its grid were there, in words."""
    found = [one for one in _group(crs).unavailable_operations
             if 0 <= one.accuracy < (taken.accuracy if np.isfinite(taken.accuracy) else np.inf) and not _outside(one.area_of_use, lon, lat).any()]  # fmt: skip
    if not found:
        return ""
    best = min(found, key=lambda one: one.accuracy)
    grids = ", ".join(sorted({grid.short_name for grid in best.grids if not grid.available}))
    return f"one good to {best.accuracy:g} m needs the grid {grids}, which is not installed" if grids else ""


def _area(area: AreaOfUse | None) -> str:
    name = area.name.rstrip(".") if area is not None and area.name else "unnamed"
    return name if len(name) <= 60 else f"{name[:60]}…"
