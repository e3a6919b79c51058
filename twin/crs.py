"""Where things are: horizontal and vertical reference, axis order, geoid, ECEF and local frames. All vectorised.

Laws kept here and nowhere else (DESIGN, laws 1–5): every transform is made with ``always_xy=True``; PROJ never
chooses the vertical step (it returns 1985 heights unchanged without a word), so heights go through the EGM96 geoid
grid plus the datum's stated offset, and the path taken is recorded with the version (`vertical_path`).
CGCS2000 and WGS 84 are taken as identical (difference below 0.1 m at the reference epoch; plate motion since 2000
adds about 3 cm a year and is not modelled); this too is in the record.
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twin.angles import arc_tangent, sine_cosine
from twin.errors import BadReference, MissingReference
from twin.model import ABOVE_GROUND, ELLIPSOID, Bounds, Reference
from twin.processes import standing_in

# without what pyproj downloads grids and describes itself with, 0.04 s of every command: nothing here asks for either. (To name the certificates for
# downloads, pyproj opens PROJ's database at once, which a fork has to open again. Who lets PROJ use the network needs them.)
_quiet = ExitStack()
if os.environ.get("PROJ_NETWORK", "").upper() not in ("ON", "YES", "TRUE"):
    _quiet.enter_context(standing_in("pyproj.network", set_ca_bundle_path=lambda: None))
with _quiet, standing_in("pyproj.sync", _download_resource_file=None), standing_in("pyproj._show_versions", show_versions=None):
    from pyproj import CRS, Transformer
    from pyproj.exceptions import CRSError, ProjError

    from twin import ways

F64 = NDArray[np.float64]

# WGS 84, NIMA TR8350.2 (2000), table 3.1
WGS84_A = 6378137.0
WGS84_F = 1 / 298.257223563
WGS84_E2 = WGS84_F * (2 - WGS84_F)

EGM96 = "EPSG:5773"
CHINA_1985 = "EPSG:5737"

#: Height systems whose distance from the EGM96 geoid is known well enough to state (metres, 1 sigma).
#: All others are taken as EGM96 heights, good to 2 m.
ACCURACY = {EGM96: 0.5, CHINA_1985: 0.6, "EPSG:3855": 0.6, "EPSG:5703": 1.3, "EPSG:5709": 0.7, "EPSG:5720": 0.8}


def parse_reference(
    crs: str | None, vertical: str | None = None, *, vertical_offset: float = 0.0, where: str = "the source"
) -> Reference:
    """Read a CRS and a vertical datum as users and files write them.

    Args:
        crs: `EPSG:4547`, `EPSG:4547+5737`, WKT, PROJJSON or anything PROJ reads; compound and 3D CRS are split.
        vertical: `EPSG:5737`, `1985`, `EGM96`, `ellipsoid`, `above ground`; overrides what `crs` says. None: unknown.
        vertical_offset: metres from the geoid model's zero up to the datum's zero.
        where: what the message names.

    Raises:
        MissingReference: `crs` is empty.
        BadReference: PROJ does not know it, or it is of a kind that cannot hold a map (geocentric, engineering), or of another body; an offset without a datum.
    """
    if not crs:
        raise MissingReference(
            f"{where} states no coordinate reference system.",
            "Name it with --crs, for example --crs EPSG:4547 (CGCS2000 / 3-degree zone 38) or --crs EPSG:4547+5737.",
        )
    try:
        parsed = CRS.from_user_input(crs)
    except CRSError as error:
        raise BadReference(f"{where}: the CRS {crs[:80]!r} is unknown to PROJ.", "Give an EPSG code such as EPSG:4547.") from error
    flat, height, unit = _split(parsed)
    if flat.is_geocentric or not (flat.is_geographic or flat.is_projected):
        raise BadReference(
            f"{where}: {parsed.name} is {'geocentric' if flat.is_geocentric else 'not a map CRS'}.",
            "Name the geographic or projected CRS of the coordinates with --crs.",
        )
    if vertical is not None:
        height, unit = _parse_vertical(vertical, where)
    if vertical_offset and height in ("", ABOVE_GROUND):
        raise BadReference(f"{where}: vertical_offset {vertical_offset:g} m is given, but no vertical datum that it could belong to.",
                           "Name the datum with --vertical, for example EPSG:5737 (1985 heights), or leave vertical_offset out.")  # fmt: skip
    horizontal = flat.to_wkt() if flat.is_bound else _short(flat)
    if not horizontal.startswith("EPSG:"):
        _check_earthly(horizontal, f"{where}: {parsed.name}")
    return Reference(horizontal, height, unit, vertical_offset)


def _check_earthly(horizontal: str, what: str) -> None:
    """PROJ reads the CRS of other bodies, too, and of ellipsoids that can be no earth (a radius of 57 m), and says so only when it is to transform."""
    try:
        _to_lonlat(horizontal)
    except ProjError as error:
        raise BadReference(
            f"{what} cannot be brought to longitude and latitude on the earth: its ellipsoid is another body's, or PROJ knows no way.",
            "Name the geographic or projected CRS of the coordinates with --crs.",
        ) from error


def is_crs(text: str) -> bool:
    """Whether PROJ can read it as a CRS of any kind."""
    try:
        CRS.from_user_input(text)
    except CRSError:
        return False
    return True


def _split(parsed: CRS) -> tuple[CRS, str, float]:
    """(2D CRS, vertical code, metres per height unit) of a compound, 3D, bound or plain CRS."""
    if parsed.is_bound and parsed.source_crs is not None:
        flat, height, unit = _split(parsed.source_crs)
        return (parsed if _is_own_way(parsed, flat) else flat), height, unit
    if parsed.is_compound:
        flat, up = parsed.sub_crs_list[0], parsed.sub_crs_list[1]
        unit = up.axis_info[0].unit_conversion_factor if up.axis_info else 1.0
        return _split(flat)[0], _short(up), unit
    if len(parsed.axis_info) == 3 and not parsed.is_geocentric:
        return parsed.to_2d(), ELLIPSOID, parsed.axis_info[2].unit_conversion_factor
    return parsed, "", 1.0


def _is_own_way(bound: CRS, flat: CRS) -> bool:
    """Whether a CRS that states its own parameters to WGS 84 (`+towgs84`) needs them: it is not in the register, whose ways are taken, and they say something."""
    operation = bound.coordinate_operation
    return operation is not None and bound.source_crs == flat and flat.to_authority(min_confidence=100) is None and any(operation.towgs84)


def _short(crs: CRS) -> str:
    """`EPSG:n` when the definition is exactly that of the register, else WKT2."""
    code = crs.to_authority(min_confidence=100)
    return f"{code[0]}:{code[1]}" if code else crs.to_wkt()


def _parse_vertical(text: str, where: str) -> tuple[str, float]:
    names = {
        "ellipsoid": ELLIPSOID, "wgs84": ELLIPSOID, "egm96": EGM96, "1985": CHINA_1985, "above ground": ABOVE_GROUND,
        "above_ground": ABOVE_GROUND, "above-ground": ABOVE_GROUND, "none": "", "": "",
    }  # fmt: skip
    if text.lower() in names:
        return names[text.lower()], 1.0
    code = f"EPSG:{text}" if text.isdigit() else text
    try:
        up = CRS.from_user_input(code)
    except CRSError as error:
        raise BadReference(
            f"{where}: the vertical datum {text!r} is unknown.",
            "Use EPSG:5737 (1985 heights), EGM96, ellipsoid or 'above ground'.",
        ) from error
    if code.upper() == ELLIPSOID:
        return ELLIPSOID, 1.0
    if not up.is_vertical:
        raise BadReference(f"{where}: {text} ({up.name}) is not a vertical CRS.", "Use EPSG:5737, EGM96, ellipsoid or 'above ground'.")
    return _short(up), float(up.axis_info[0].unit_conversion_factor)


@lru_cache(maxsize=64)
def crs_of(horizontal: str) -> CRS:
    """The pyproj CRS of a `Reference.horizontal`, cached; the way between datums that may be named with it (`twin.ways`) is no part of it."""
    return CRS.from_user_input(ways.plain(horizontal))


@lru_cache(maxsize=64)
def _to_lonlat(horizontal: str) -> Transformer:
    if ways.is_settled(horizontal):
        return ways.way(horizontal).transformer
    return _without_ballpark(ways.by_place(horizontal), horizontal, "EPSG:4326")


@lru_cache(maxsize=64)
def _between(source: str, target: str) -> Transformer:
    return _without_ballpark(Transformer.from_crs(crs_of(source), crs_of(target), always_xy=True), source, target)


def _without_ballpark(found: Transformer, source: str, target: str) -> Transformer:
    """PROJ's way between two CRS, or of several, of which it takes one point by point, none that leaves out the datum where it knows one that does not.

    Else coordinates that belong to no layer yet (or to one of before docs/adr/0070) are torn where the known way's area ends (docs/adr/0068).
    """
    if not ways.chooses(found):
        return found
    try:
        return Transformer.from_crs(crs_of(source), crs_of(target), always_xy=True, allow_ballpark=False)
    except ProjError:
        return found


def to_lonlat(horizontal: str, x: F64, y: F64) -> tuple[F64, F64]:
    """Plane or geographic coordinates → WGS 84 longitude, latitude in degrees; any shape; not-finite stays not-finite."""
    if horizontal == "EPSG:4326":
        return np.asarray(x, np.float64), np.asarray(y, np.float64)
    lon, lat = _to_lonlat(horizontal).transform(x, y)
    return np.asarray(lon), np.asarray(lat)


def from_lonlat(horizontal: str, lon: F64, lat: F64) -> tuple[F64, F64]:
    """WGS 84 longitude, latitude in degrees → coordinates of `horizontal`."""
    if horizontal == "EPSG:4326":
        return np.asarray(lon, np.float64), np.asarray(lat, np.float64)
    x, y = (np.asarray(one) for one in _to_lonlat(horizontal).transform(lon, lat, direction="INVERSE"))
    if ways.is_settled(horizontal):  # PROJ turns a datum's small rotations round by approximation (1 mm for EPSG:31256): what it misses is taken off
        again = _to_lonlat(horizontal).transform(*_to_lonlat(horizontal).transform(x, y), direction="INVERSE")
        with np.errstate(invalid="ignore"):  # infinity, where no projection reaches
            return x + (x - again[0]), y + (y - again[1])
    return x, y


def convert(source: str, target: str, x: F64, y: F64) -> tuple[F64, F64]:
    """Between two horizontal CRS; where a layer's way to WGS 84 is named, by that way and no shorter one that PROJ may know."""
    if source == target or (ways.plain(source) == ways.plain(target) and not (ways.is_settled(source) and ways.is_settled(target))):
        return np.asarray(x, np.float64), np.asarray(y, np.float64)
    if ways.is_settled(source) or ways.is_settled(target):
        return from_lonlat(target, *to_lonlat(source, x, y))
    a, b = _between(source, target).transform(x, y)
    return np.asarray(a), np.asarray(b)


def settled(reference: Reference, boxes: list[Bounds]) -> tuple[Reference, str]:
    """(A reference that names the one way between datums for the box around some boxes of its own coordinates; what GIS staff should know of it, or "").

    That is the reference itself where PROJ knows but one way, or where a way is named already.
    """
    if ways.is_settled(reference.horizontal) or not boxes:
        return reference, ""
    t = np.linspace(0.0, 1.0, 21)
    b = Bounds.union(boxes)  # not box by box, which would tell in what deliveries they came
    x, y = np.meshgrid(b.minx + t * (b.maxx - b.minx), b.miny + t * (b.maxy - b.miny))
    choice = ways.chosen(reference.horizontal, x, y)
    return replace(reference, horizontal=ways.settled(reference.horizontal, choice)), choice.words() if choice is not None and choice.doubtful else ""


def settled_at(horizontal: str, lon: float, lat: float) -> str:
    """A horizontal reference that names the way which a layer at a place of WGS 84 takes."""
    x, y = (float(one) for one in from_lonlat(horizontal, np.array(lon), np.array(lat)))
    return settled(Reference(horizontal), [Bounds(x, y, x, y)])[0].horizontal


def unsettled(reference: Reference) -> Reference:
    """A reference without the way that its layer takes: what its source says of it."""
    return replace(reference, horizontal=ways.plain(reference.horizontal))


# --- heights -----------------------------------------------------------------------------------------------------


@lru_cache(maxsize=18)
def _geoid_band(band: int) -> NDArray[np.int32]:
    """121 × 4320 undulations in centimetres; band b covers latitudes −90 + 10 b … −80 + 10 b (both included)."""
    with np.load(Path(__file__).with_name("data") / "egm96_5min.npz") as grid:
        found = np.cumsum(grid[f"band{band:02d}"], axis=1, dtype=np.int32)
    for row in range(1, len(found)):  # NumPy's own sum down the columns takes twenty times as long
        found[row] += found[row - 1]
    return found


def undulation(lon: F64, lat: F64) -> F64:
    """Height of the EGM96 geoid above the WGS 84 ellipsoid, metres, bilinear in the 5′ grid.

    Against the full model (GeographicLib's cubic evaluation) the largest difference is 0.06 m; the model itself is
    good to 0.5–1 m. The grid is NGA's EGM96 (public domain), stored as second differences in centimetres.
    """
    lon, lat = np.broadcast_arrays(np.asarray(lon, np.float64), np.asarray(lat, np.float64))
    shape = lon.shape
    lon, lat = lon.ravel(), lat.ravel()
    finite = np.isfinite(lon) & np.isfinite(lat)
    column = (np.where(finite, lon, 0.0) + 180.0) % 360.0 * 12.0
    row = np.clip(np.where(finite, lat + 90.0, 0.0), 0.0, 180.0) * 12.0
    i = np.minimum(row.astype(np.int64), 2159)
    j = column.astype(np.int64) % 4320
    fi, fj = row - i, column - np.floor(column)
    result = np.empty(lon.shape, np.float64)
    bands = i // 120
    for band in np.unique(bands):
        grid = _geoid_band(int(band))
        here = bands == band
        r, c, u, v = i[here] - band * 120, j[here], fi[here], fj[here]
        east = (c + 1) % 4320
        south = grid[r, c] * (1 - v) + grid[r, east] * v
        north = grid[r + 1, c] * (1 - v) + grid[r + 1, east] * v
        result[here] = (south * (1 - u) + north * u) / 100.0
    result[~finite] = np.nan
    return result.reshape(shape)


def datum_shift(reference: Reference, lon: F64, lat: F64) -> F64:
    """What to add to heights in metres of `reference.vertical` to get ellipsoidal heights, at each place.

    Raises:
        MissingReference: the heights are absolute but no datum is named, or they are relative to the ground.
    """
    if reference.vertical == ELLIPSOID:
        return np.zeros(np.shape(lon)) + reference.vertical_offset
    if reference.vertical in ("", ABOVE_GROUND):
        raise MissingReference(
            f"Heights {'above ground' if reference.vertical else 'without a vertical datum'} cannot be placed on their own.",
            "Name the datum with --vertical, for example EPSG:5737 (1985 heights), EGM96 or ellipsoid.",
        )
    return undulation(lon, lat) + reference.vertical_offset


def vertical_path(reference: Reference) -> dict[str, Any]:
    """How heights of this reference become ellipsoidal heights, and its plane WGS 84, for the version's record."""
    if reference.vertical in ("", ABOVE_GROUND, ELLIPSOID):
        told: dict[str, Any] = {"datum": reference.vertical or "none", "unit_m": reference.vertical_unit, "offset_m": reference.vertical_offset}
        return told | ({"horizontal": _horizontal_path(reference.horizontal)} if ways.is_settled(reference.horizontal) else {})
    return {
        "datum": reference.vertical, "geoid": "EGM96 5′ grid, bilinear (±0.06 m to the model)",
        "offset_m": reference.vertical_offset, "unit_m": reference.vertical_unit,
        "accuracy_m": ACCURACY.get(reference.vertical, 2.0),
        "horizontal": _horizontal_path(reference.horizontal),
    }  # fmt: skip


def _horizontal_path(horizontal: str) -> str:
    """How its plane becomes WGS 84, in words."""
    if ways.is_settled(horizontal):
        way = ways.way(horizontal)
        return f"{way.name} ({way.codes}), for the whole layer, {f'good to {way.accuracy:g} m' if np.isfinite(way.accuracy) else 'of unknown accuracy'}"
    if crs_of(horizontal).is_bound:
        return "to WGS 84 by the parameters that its CRS states"
    datum, found = crs_of(horizontal).datum, _to_lonlat(horizontal)
    if datum is not None and datum.name == "China 2000":
        return "CGCS2000 = WGS 84 (identity, < 0.1 m at epoch 2000)"
    if ways.chooses(found):
        return f"{datum.name if datum else 'its datum'} to WGS 84 by that of PROJ's ways whose area a point lies in"
    if "Ballpark" in found.description:
        return f"PROJ knows no way from {datum.name if datum else 'its datum'} to WGS 84: longitude and latitude are taken as they are"
    steps = [step for step in found.description.split(" + ") if "to WGS 84" in step and not step.startswith("Null")]
    return "; ".join(steps) or "WGS 84 (no change of datum)"


# --- geodetic, ECEF, local ---------------------------------------------------------------------------------------


def to_geodetic(reference: Reference, xyz: F64) -> F64:
    """(N, 3) coordinates of `reference` → (N, 3) longitude°, latitude°, ellipsoidal height m (WGS 84)."""
    lon, lat = to_lonlat(reference.horizontal, xyz[:, 0], xyz[:, 1])
    height = xyz[:, 2] * reference.vertical_unit + datum_shift(reference, lon, lat)
    return np.column_stack([lon, lat, height])


def from_geodetic(reference: Reference, geodetic: F64) -> F64:
    """The inverse of `to_geodetic`."""
    lon, lat = geodetic[:, 0], geodetic[:, 1]
    x, y = from_lonlat(reference.horizontal, lon, lat)
    z = (geodetic[:, 2] - datum_shift(reference, lon, lat)) / reference.vertical_unit
    return np.column_stack([x, y, z])


def geodetic_to_ecef(geodetic: F64) -> F64:
    """(N, 3) longitude°, latitude°, height m → (N, 3) earth-centred, earth-fixed metres (EPSG:4978)."""
    return np.column_stack(_ecef(*sine_cosine(geodetic[:, 0]), *sine_cosine(geodetic[:, 1]), geodetic[:, 2]))


def _ecef(sin_lon: Any, cos_lon: Any, sin_lat: Any, cos_lat: Any, h: Any) -> tuple[Any, Any, Any]:
    n = WGS84_A / np.sqrt(1 - WGS84_E2 * (sin_lat * sin_lat))
    return (n + h) * cos_lat * cos_lon, (n + h) * cos_lat * sin_lon, (n * (1 - WGS84_E2) + h) * sin_lat


def ecef_to_geodetic(ecef: F64) -> F64:
    """(N, 3) ECEF metres → longitude°, latitude°, height m; Bowring (1976) iterated twice: below 1e-9 m near the ground."""
    x, y, z = ecef[:, 0], ecef[:, 1], ecef[:, 2]
    b = WGS84_A * (1 - WGS84_F)
    ep2 = WGS84_E2 / (1 - WGS84_E2)
    p = np.sqrt(x * x + y * y)
    beta = arc_tangent(z * WGS84_A, p * b)
    for _ in range(3):
        sin_beta, cos_beta = sine_cosine(beta)
        lat = arc_tangent(z + ep2 * b * (sin_beta * sin_beta * sin_beta), p - WGS84_E2 * WGS84_A * (cos_beta * cos_beta * cos_beta))
        sin_lat, cos_lat = sine_cosine(lat)
        beta = arc_tangent((1 - WGS84_F) * sin_lat, cos_lat)
    n = WGS84_A / np.sqrt(1 - WGS84_E2 * sin_lat**2)
    h = p * cos_lat + z * sin_lat - WGS84_A**2 / n
    return np.column_stack([arc_tangent(y, x), lat, h])


def to_ecef(reference: Reference, xyz: F64) -> F64:
    """(N, 3) coordinates of `reference` (absolute heights) → (N, 3) ECEF metres."""
    return geodetic_to_ecef(to_geodetic(reference, xyz))


def enu_frame(lon: float, lat: float, height: float = 0.0) -> F64:
    """(4, 4) float64: local east-north-up metres at a place → ECEF. Columns are the axes; row-major."""
    (sl, sp), (cl, cp) = (one.tolist() for one in sine_cosine([lon, lat]))
    frame = np.eye(4)
    frame[:3, 0] = [-sl, cl, 0.0]
    frame[:3, 1] = [-sp * cl, -sp * sl, cp]
    frame[:3, 2] = [cp * cl, cp * sl, sp]
    frame[:3, 3] = _ecef(sl, cl, sp, cp, float(height))
    return frame


def metric_frame(lon: float, lat: float) -> str:
    """A transverse Mercator CRS in metres centred on a place: where a scenario computes (scale error < 1e-7 at 3 km)."""
    return f"+proj=tmerc +lat_0={lat:.6f} +lon_0={lon:.6f} +k=1 +x_0=0 +y_0=0 +datum=WGS84 +units=m +type=crs"


def extent_of(reference: Reference, bounds: Bounds) -> Bounds:
    """WGS 84 longitude/latitude box around `bounds` (edges densified: a rectangle's sides bend), heights left out."""
    t = np.linspace(0.0, 1.0, 21)
    xs, ys = bounds.minx + t * (bounds.maxx - bounds.minx), bounds.miny + t * (bounds.maxy - bounds.miny)
    x = np.concatenate([xs, xs, np.full(21, bounds.minx), np.full(21, bounds.maxx)])
    y = np.concatenate([np.full(21, bounds.miny), np.full(21, bounds.maxy), ys, ys])
    lon, lat = to_lonlat(reference.horizontal, x, y)
    return Bounds.of(np.column_stack([lon, lat]))


def _margins(area: Any) -> tuple[float, float]:
    """Degrees outside of a CRS's area of use in which coordinates are believed."""
    return max(2.0, (area.east - area.west) * 0.5), max(2.0, (area.north - area.south) * 0.5)


def in_use(reference: Reference, extent: Bounds) -> bool:
    """Whether an extent (degrees) lies within the area of use of its CRS, or near it; areas across 180° hold everything."""
    area = crs_of(reference.horizontal).area_of_use
    if area is None or area.east < area.west:
        return True
    margin_x, margin_y = _margins(area)
    return bool(area.west - margin_x <= extent.minx and extent.maxx <= area.east + margin_x and area.south - margin_y <= extent.miny and extent.maxy <= area.north + margin_y)


_WIDEST = 6e7
"""Metres that no layer is wide: one and a half times round the earth."""


def check_plausible(reference: Reference, bounds: Bounds, where: str) -> None:
    """Refuse coordinates that cannot be in this CRS: outside its area of use by more than the area's own size, or not finite.

    Raises:
        BadReference: with the numbers seen and what the CRS covers.
    """
    crs = crs_of(reference.horizontal)
    seen = f"x {bounds.minx:.6g}…{bounds.maxx:.6g}, y {bounds.miny:.6g}…{bounds.maxy:.6g}"
    remedy = "Check --crs: zone, prefix (GK eastings with or without the zone number), axis order and units."
    if crs.is_geographic and (abs(bounds.minx) > 360 or abs(bounds.maxx) > 540 or abs(bounds.miny) > 90.01 or abs(bounds.maxy) > 90.01):
        raise BadReference(f"{where}: {seen} are not degrees, but {crs.name} is geographic.", remedy)
    unit = 1.0 if crs.is_geographic or not crs.axis_info else crs.axis_info[0].unit_conversion_factor
    size = max(bounds.maxx - bounds.minx, bounds.maxy - bounds.miny, *(abs(one) / 4 for one in (bounds.minx, bounds.miny, bounds.maxx, bounds.maxy)))
    if not crs.is_geographic and size * unit > _WIDEST:  # a cylinder's x comes round again and again, so that all of it would be on the earth
        raise BadReference(f"{where}: {seen} cannot be in {crs.name}: the earth is not as large.", remedy)
    try:
        extent = extent_of(reference, bounds)
    except ProjError as error:
        raise BadReference(f"{where}: {seen} cannot be in {crs.name}.", remedy) from error
    values = np.array([extent.minx, extent.miny, extent.maxx, extent.maxy])
    if not np.isfinite(values).all():
        raise BadReference(f"{where}: {seen} cannot be in {crs.name}.", remedy)
    area = crs.area_of_use
    if area is None or area.east < area.west:
        return
    margin_x, margin_y = _margins(area)
    middle = to_lonlat(reference.horizontal, np.array((bounds.minx + bounds.maxx) / 2), np.array((bounds.miny + bounds.maxy) / 2))
    about = (area.west + area.east) / 2  # degrees jump at 180°
    mid_x, mid_y = (float(middle[0]) - about + 180) % 360 - 180 + about, float(middle[1])
    if not (area.west - margin_x <= mid_x <= area.east + margin_x and area.south - margin_y <= mid_y <= area.north + margin_y):
        raise BadReference(
            f"{where}: {seen} in {crs.name} lie at {mid_y:.3f}° N, {mid_x:.3f}° E, far outside that CRS's area ({area.name.rstrip('.')}).", remedy
        )
