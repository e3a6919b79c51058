"""From earth-centred metres back to a layer's own coordinates, by code that `twin.crs` has no part in.

PROJ's own geocentric conversion (EPSG:4978 → EPSG:4979) and its own inverse of the map projection are asked directly,
and the geoid is read from the data file by another decoder and interpolated by SciPy, bilinear as the city states it (a finer
interpolation differs by millimetres to centimetres, which would be read as the tiles' own error).
A mistake in one of the two readings shows as a difference.
"""

from __future__ import annotations

from functools import lru_cache
from importlib import resources

import numpy as np
from numpy.typing import NDArray
from pyproj import CRS, Transformer
from pyproj.crs import CoordinateOperation  # type: ignore[attr-defined]  # documented there, not in its __all__
from pyproj.enums import TransformDirection
from scipy.ndimage import map_coordinates

from twin.model import Reference

F64 = NDArray[np.float64]
#: Stands for coordinates that no projection reaches; farther from anything than the Earth is wide.
NOWHERE = 1e8
SAMPLE, NOTHING = 64, 1e-6
"""Places of a content that are asked how well the reference's datum shift turns round, and metres that count as well."""
_GEOCENTRIC = Transformer.from_crs("EPSG:4978", "EPSG:4979", always_xy=True)


class _Named:
    """A CRS to longitude and latitude, or back, by operations of PROJ's registers that are named (`EPSG:15920`), one after the other."""

    def __init__(self, system: CRS, codes: str, *, back: bool) -> None:
        self._back = back
        self._steps: list[tuple[Transformer, bool, bool]] = []  # which, whether backwards, and whether latitude comes first in it
        here = system
        for code in codes.split(","):
            authority, number = code.removeprefix("INVERSE(").replace(")", "").split(":")
            told = CoordinateOperation.from_authority(authority, number).to_json_dict()
            first, last = (CRS.from_json_dict(told[end]).to_2d() for end in ("source_crs", "target_crs"))
            inverse = code.startswith("INVERSE(")
            first, last = (last, first) if inverse else (first, last)
            self._steps.append((Transformer.from_crs(here, first, always_xy=True), False, False))
            self._steps.append((Transformer.from_pipeline(f"urn:ogc:def:coordinateOperation:{authority}::{number}"), inverse, True))
            here = last
        self._steps.append((Transformer.from_crs(here, 4326, always_xy=True), False, False))

    def transform(self, x: F64, y: F64) -> tuple[F64, F64]:
        """As of pyproj's transformers, in units of the CRS, east or longitude first."""
        for step, inverse, swapped in reversed(self._steps) if self._back else self._steps:
            how = TransformDirection.INVERSE if inverse != self._back else TransformDirection.FORWARD
            x, y = step.transform(y, x, direction=how)[::-1] if swapped else step.transform(x, y, direction=how)
        return np.asarray(x), np.asarray(y)


class Inverse:
    """ECEF → a reference's own coordinates, in metres for comparing.

    Attributes:
        reference: of the layer.
        unit: (3,) metres for one unit of x, y, z; for degrees at the latitude given to `at`.
    """

    def __init__(self, reference: Reference) -> None:
        self.reference = reference
        plain, _, codes = reference.horizontal.partition(" via ")
        system = CRS.from_user_input(plain)
        self._project: Transformer | _Named = _Named(system, codes, back=True) if codes else Transformer.from_crs(CRS.from_epsg(4326), system, always_xy=True)
        self._published: Transformer | _Named = _Named(system, codes, back=False) if codes else Transformer.from_crs(system, CRS.from_epsg(4326), always_xy=True)
        self._geographic = system.is_geographic
        plane = 1.0 if self._geographic else float(system.axis_info[0].unit_conversion_factor)
        self.unit = np.array([plane, plane, reference.vertical_unit])

    def geodetic(self, ecef: F64) -> F64:
        """(N, 3) ECEF metres → longitude°, latitude°, ellipsoidal metres."""
        return np.column_stack(_GEOCENTRIC.transform(ecef[:, 0], ecef[:, 1], ecef[:, 2]))

    def plan(self, geodetic: F64) -> F64:
        """(N, 2) x, y in the reference's own units.

        PROJ turns a datum shift round by approximation (0.5 mm for EPSG:28992, 1 mm for EPSG:31256): what it misses on the way there and
        back is taken off, so that the answer is the place which the shift as published takes to `geodetic`.
        """
        xy: F64 = np.column_stack(self._project.transform(geodetic[:, 0], geodetic[:, 1]))
        some = xy[:: max(1, len(xy) // SAMPLE)]
        if float(np.abs(self._missed(some) * self.unit[:2]).max(initial=0.0)) < NOTHING:  # most references have no such shift; NaN is not less
            return xy
        with np.errstate(invalid="ignore"):  # inf, where no projection reaches
            return np.asarray(xy + self._missed(xy))

    def _missed(self, xy: F64) -> F64:
        """(N, 2) by how much a place is missed that is turned into degrees and back."""
        again = self.lonlat(xy)
        with np.errstate(invalid="ignore"):
            return np.asarray(xy - np.column_stack(self._project.transform(again[:, 0], again[:, 1])))

    def lonlat(self, xy: F64) -> F64:
        """(N, 2) coordinates of the reference → longitude°, latitude°."""
        return np.column_stack(self._published.transform(xy[:, 0], xy[:, 1]))

    def shift(self, lonlat: F64) -> F64:
        """(N,) ellipsoidal height of the datum's zero at each place."""
        if self.reference.vertical.upper() == "EPSG:4979":
            return np.full(len(lonlat), self.reference.vertical_offset)
        return geoid(lonlat[:, 0], lonlat[:, 1]) + self.reference.vertical_offset

    def source(self, ecef: F64) -> F64:
        """(N, 3) ECEF metres → x, y, z in the layer's own units and datum."""
        geodetic = self.geodetic(ecef)
        z = (geodetic[:, 2] - self.shift(geodetic[:, :2])) / self.reference.vertical_unit
        return np.column_stack([self.plan(geodetic), z])

    def ecef(self, xyz: F64) -> F64:
        """(N, 3) x, y, z in the layer's own units and datum → ECEF metres."""
        lonlat = self.lonlat(xyz[:, :2])
        return np.column_stack(_GEOCENTRIC.transform(lonlat[:, 0], lonlat[:, 1], xyz[:, 2] * self.reference.vertical_unit + self.shift(lonlat), direction="INVERSE"))

    def bent(self, low: F64, high: F64) -> bool:
        """Whether degrees between two corners are no measure of distances: at a pole, or over more than half a turn (the 180th meridian, perhaps)."""
        return self._geographic and bool(max(abs(low[1]), abs(high[1])) > 80 or high[0] - low[0] > 180)

    def near(self, xyz: F64, x: F64 | float) -> F64:
        """Coordinates of the layer, longitudes by whole turns so that they lie around `x`, one or (N,) (data may cross the 180th meridian)."""
        if self._geographic:
            xyz[:, 0] += 360.0 * np.round((x - xyz[:, 0]) / 360.0)
        return xyz

    def alike(self, corners: F64) -> F64:
        """(T, 3, 3) corners of triangles, longitudes by whole turns so that they lie around each triangle's first."""
        if self._geographic:
            corners = corners.copy()
            corners[:, :, 0] += 360.0 * np.round((corners[:, :1, 0] - corners[:, :, 0]) / 360.0)
        return corners

    def metres(self, origin: F64) -> F64:
        """(3,) metres of one unit of x, y, z around the place `origin` (x, y in the layer's units)."""
        if not self._geographic:
            return self.unit
        lat = np.radians(float(origin[1]))
        # arcs of the meridian and the parallel of WGS 84 (Snyder 1987, eq. 4-19 and 4-20)
        root = np.sqrt(1 - 0.00669437999014 * np.sin(lat) ** 2)
        east, north = 6378137.0 * np.cos(lat) / root, 6378137.0 * (1 - 0.00669437999014) / root**3
        return np.array([np.radians(east), np.radians(north), self.unit[2]])


def tame(values: F64) -> F64:
    """Not-finite coordinates put at `NOWHERE`, so that trees and distances can be asked about them."""
    return np.nan_to_num(values, nan=NOWHERE, posinf=NOWHERE, neginf=-NOWHERE)


@lru_cache(maxsize=1)
def _geoid_grid() -> NDArray[np.int16]:
    """(2161, 4321) EGM96 undulations in centimetres, south to north, from −180° eastwards to 180°."""
    rows: list[NDArray[np.int16]] = []
    with resources.files("twin").joinpath("data/egm96_5min.npz").open("rb") as file, np.load(file) as bands:
        for number in range(18):
            band = bands[f"band{number:02d}"]
            total, values = np.zeros(band.shape[1], np.int64), np.empty(band.shape, np.int16)
            for i, second in enumerate(band):  # second differences: of rows, then along each row
                total = total + second.astype(np.int64)
                values[i] = np.add.accumulate(total)
            rows.append(values if number == 17 else values[:-1])
    grid = np.concatenate(rows)
    return np.column_stack([grid, grid[:, :1]])


def geoid(lon: F64, lat: F64) -> F64:
    """(N,) metres of the EGM96 geoid above the ellipsoid, bilinear in the 5′ grid, as the city states it; NaN where not finite."""
    result = np.full(np.shape(lon), np.nan)
    good = np.isfinite(lon) & np.isfinite(lat) & (np.abs(lat) <= 90)
    if good.any():
        x, y = (np.asarray(lon)[good] + 180) % 360 * 12, (np.asarray(lat)[good] + 90) * 12
        result[good] = map_coordinates(_geoid_grid(), [y, x], output=np.float64, order=1, mode="nearest", prefilter=False) / 100
    return result
