"""Where a model stands: from the file's georeference or the user's, as one matrix into a projected CRS.

Sources in order of authority: an explicit placement by options; IfcMapConversion (…Scaled, IfcRigidOperation) with
IfcProjectedCRS; the IFC2x3 ePset_MapConversion / ePset_ProjectedCRS; IfcRigidOperation with IfcGeographicCRS; IfcSite latitude, longitude and TrueNorth.
Vertices go through the projected CRS (DESIGN, law 4); a site's latitude and longitude become a transverse Mercator
frame centred there, whose grid north is true north. What contradicts itself is refused unless confirmed.

Helmert parameters: ISO 16739-1:2024, IfcMapConversion; buildingSMART, User Guide for Geo-referencing in IFC (2020).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pyproj import Geod

from ingest_bim.ifc.map import Geographic, Helmert, MapCrs, Site, geographic_code, read_geographic, read_helmert, site_of
from twin import crs as crs_module
from twin.errors import BadOption, BadReference, MissingReference
from twin.model import ABOVE_GROUND, ELLIPSOID, Bounds, Reference, Report

F64 = NDArray[np.float64]

#: Where authoring tools put a site that nobody has placed: (latitude, longitude, whose default).
TOOL_DEFAULTS = (
    (42.3586, -71.0567, "Revit"), (42.2130, -71.0330, "Revit"), (51.5002, -0.1262, "Revit (London)"), (47.5597, 19.0548, "ArchiCAD"), (0.0, 0.0, "an unset value"),
)  # fmt: skip
FAR = 50_000.0
HIGHEST = 12_000
"""Metres over and under sea level at which a model may be placed by hand: higher than any mountain, deeper than any sea."""
HOW = (
    "Place it by hand: --crs EPSG:4547+5737 --option anchor=E,N,H (or anchor_lonlat=lon,lat,H), with rotation=degrees "
    "(clockwise from grid north) and origin=x,y,z (the model point at the anchor, metres) as needed."
)


@dataclass(frozen=True)
class Request:
    """What the user asked for; see `ingest_bim.ifc.reader.Options` for each."""

    crs: str | None = None
    vertical: str | None = None
    vertical_offset: float = 0.0
    anchor: tuple[float, ...] | None = None
    anchor_lonlat: tuple[float, ...] | None = None
    rotation: float = 0.0
    height: float | None = None
    origin: tuple[float, float, float] = (0.0, 0.0, 0.0)
    scale: float = 1.0
    use: Literal["auto", "map", "site"] = "auto"
    confirm: bool = False

    @property
    def explicit(self) -> bool:
        """Whether the user places the model himself."""
        return self.anchor is not None or self.anchor_lonlat is not None


@dataclass(frozen=True)
class Placement:
    """`matrix` (4, 4) float64 takes the model's world coordinates in metres to coordinates of `reference`."""

    reference: Reference
    matrix: F64
    facts: dict[str, Any] = field(default_factory=dict)


def place(model: Any, length: float, request: Request, report: Report, where: str) -> Placement:
    """Find the placement of a model (`length`: metres per unit of the project); what was found and assumed is reported.

    Raises:
        MissingReference: no georeference, or no vertical datum.
        BadReference: it contradicts itself or is a tool's default, and `confirm` was not given.
    """
    site = site_of(model)
    if site.others and site.lonlat is not None:
        degrees = f"{site.lonlat[1]:.6f}° N, {site.lonlat[0]:.6f}° E"
        report.note("assumed", "", f"The model's sites lie at {site.others + 1} different latitudes and longitudes: those of the first one count ({degrees}).")
    if request.explicit:
        if request.use != "auto":
            raise BadOption(f"{where}: use={request.use} and an anchor are both given.", "Give one: the file's georeference counts, or the anchor.")
        placed = place_by_user(request, where)
    else:
        if request.rotation or any(request.origin) or request.scale != 1.0:
            raise BadOption(f"{where}: rotation, origin and scale go with an anchor, and none is given.", "Give anchor=E,N,H or anchor_lonlat=lon,lat,H too, or leave them out.")
        helmert = read_helmert(model, report) if request.use in ("auto", "map") else None
        if helmert is not None:
            placed = _checked(_by_map(helmert, request, length, report, where), model, site, request, length, report, where)
        elif request.use != "site" and (geographic := read_geographic(model, site, report)) is not None:
            placed = _by_angles(geographic, site, request, report, where)
        elif request.use != "map" and site.lonlat is not None:
            placed = _by_site(site, request, report, where)
        else:
            raise MissingReference(
                f"{where} has no georeference: no IfcMapConversion, no ePset_MapConversion, no IfcSite latitude and longitude.", HOW
            )
    facts = {**placed.facts, "crs": placed.reference.horizontal, "vertical": placed.reference.vertical, "site": site.facts(),
             "matrix": [[float(v) for v in row] for row in placed.matrix]}  # fmt: skip
    report.facts["georeference"] = facts
    return Placement(placed.reference, placed.matrix, facts)


# --- by the user -------------------------------------------------------------------------------------------------


def place_by_user(request: Request, where: str) -> Placement:
    """The placement that the options state: an anchor in map coordinates or degrees, a rotation, a height.

    Raises:
        BadOption: two anchors, or a map unit that does not fit.
        MissingReference: no CRS or no vertical datum.
    """
    if request.anchor is not None and request.anchor_lonlat is not None:
        raise BadOption(f"{where}: anchor and anchor_lonlat are both given.", "Give one.")
    values = request.anchor if request.anchor is not None else request.anchor_lonlat
    assert values is not None
    if len(values) not in (2, 3):
        raise BadOption(f"{where}: the anchor has {len(values)} numbers.", "Give E,N or E,N,H (anchor) or lon,lat or lon,lat,H (anchor_lonlat).")
    if len(values) == 3 and request.height is not None and request.height != values[2]:
        raise BadOption(f"{where}: the anchor's height is {values[2]:g} and height is {request.height:g}.", "Give one of them.")
    height = request.height if request.height is not None else values[2] if len(values) == 3 else None
    if height is not None and abs(height) > HIGHEST:
        raise BadOption(f"{where}: the anchor's height {height:g} m is not on the earth.", f"Give metres in the vertical datum, from {-HIGHEST:,} to {HIGHEST:,}.")
    if height is None and request.vertical == ABOVE_GROUND:
        height = 0.0
    if height is None:
        raise BadOption(f"{where}: the anchor has no height.", "Give it as anchor=E,N,H or --option height=METRES.")
    if request.anchor is not None:
        reference = _reference(request.crs, request, where)
        east, north = values[0], values[1]
        jacobian = np.eye(2) / unit_of(reference.horizontal)
    else:
        lon, lat = values[0], values[1]
        if not (abs(lon) <= 180 and abs(lat) <= 90):
            raise BadOption(f"{where}: anchor_lonlat={lon:g},{lat:g} is not a longitude and a latitude.", "The longitude comes first, in degrees.")
        reference = _reference(request.crs or crs_module.metric_frame(lon, lat), request, where)
        east, north, jacobian = true_metres(reference.horizontal, lon, lat, to_grid_north=True)
    if crs_module.crs_of(reference.horizontal).is_geographic:
        raise BadReference(f"{where}: an anchor in the geographic CRS {reference.horizontal} cannot hold a model in metres.",
                           "Name a projected CRS with --crs, or use anchor_lonlat.")  # fmt: skip
    # clockwise rotation by r turns the model's y axis from north towards east
    r = math.radians(request.rotation)
    turn = np.array([[math.cos(r), math.sin(r)], [-math.sin(r), math.cos(r)]])
    matrix = _matrix(jacobian @ turn * request.scale, request.origin, (east, north, height), reference)
    facts = {"source": "options", "anchor": [east, north, height], "rotation_deg": request.rotation, "origin": list(request.origin),
             "scale": request.scale, "rotation_convention": "clockwise from grid north", **_grid(reference, east, north)}  # fmt: skip
    return Placement(reference, matrix, facts)


# --- by IfcMapConversion -----------------------------------------------------------------------------------------


def _by_map(helmert: Helmert, request: Request, length: float, report: Report, where: str) -> Placement:
    if request.height is not None:
        raise BadOption(f"{where}: height={request.height:g} is given, but {helmert.source} states the height (OrthogonalHeight) itself.",
                        "Leave height out, or place the model by hand with anchor=E,N,H.")  # fmt: skip
    target = helmert.crs
    if request.crs and target.code and crs_module.parse_reference(request.crs).horizontal != target.code:
        report.note("assumed", "", f"The CRS {request.crs} given by the user replaces the file's {target.text!r}.")
    reference = _reference(request.crs or target.code, request, where, target)
    if request.vertical and target.vertical and (own := crs_module.parse_reference(reference.horizontal, target.vertical).vertical) != reference.vertical:
        report.note("assumed", "", f"The heights {request.vertical!r} given by the user replace the file's, which are {own}.")
    unit = helmert.unit or unit_of(reference.horizontal)
    unit, note = _plausible_unit(reference, helmert, unit, length)
    if note:
        report.note("repaired", "", note)
    grid = unit_of(reference.horizontal)
    east, north = helmert.east * unit / grid, helmert.north * unit / grid
    scale, note = _true_scale(helmert, unit, length, request.confirm, where)
    if note:
        report.note("assumed", "", note)
    c, s = helmert.cosine, helmert.sine
    rotate = np.array([[c, -s], [s, c]]) * np.array([helmert.factors[0], helmert.factors[1]]) * scale / grid
    matrix = _matrix(rotate, (0.0, 0.0, 0.0), (east, north, helmert.height * unit), reference, up=scale * helmert.factors[2])
    return Placement(reference, matrix, {
        "source": helmert.source, "crs_in_file": target.text, "vertical_in_file": target.vertical_text, "map_unit_m": unit,
        "eastings": east, "northings": north, "height": helmert.height * unit, "rotation_deg": math.degrees(math.atan2(s, c)),
        "rotation_convention": "counter-clockwise from grid east to the model's x axis", "scale": scale, **_grid(reference, east, north),
    })  # fmt: skip


def _checked(placed: Placement, model: Any, site: Site, request: Request, length: float, report: Report, where: str) -> Placement:
    """Apply the context's own frame, and refuse what cannot be believed."""
    reference, (east, north) = placed.reference, (placed.facts["eastings"], placed.facts["northings"])
    wcs = _world(model, length)
    if wcs is not None:
        report.note("assumed", "", "The context's WorldCoordinateSystem is not the origin: its inverse is applied before the map conversion.")
        placed = Placement(reference, placed.matrix @ np.linalg.inv(wcs), placed.facts)
    # a conversion of nothing goes with map coordinates in the model itself: its shapes are checked when they are known
    if east or north:
        crs_module.check_plausible(reference, Bounds(east, north, east, north), where)
        _check_site(placed, site, request, report, where)
    return placed


def _plausible_unit(reference: Reference, helmert: Helmert, unit: float, length: float) -> tuple[float, str]:
    """The unit of eastings: as stated, unless only the project's unit or the CRS's own puts them into its area (known exporter errors)."""
    area = crs_module.crs_of(reference.horizontal).area_of_use
    grid = unit_of(reference.horizontal)
    if area is None or not (helmert.east or helmert.north) or _inside(reference, helmert, unit, grid):
        return unit, ""
    for other, whose in ((length, "the project's unit"), (grid, "the unit of the CRS")):
        if not math.isclose(unit, other) and _inside(reference, helmert, other, grid):
            return other, (
                f"Eastings and northings ({helmert.east:.10g}, {helmert.north:.10g}) lie outside {reference.horizontal} in the map unit "
                f"({unit:g} m) and inside it in {whose} ({other:g} m): read in {whose}."
            )
    return unit, ""


def _inside(reference: Reference, helmert: Helmert, unit: float, grid: float) -> bool:
    x, y = helmert.east * unit / grid, helmert.north * unit / grid
    try:
        crs_module.check_plausible(reference, Bounds(x, y, x, y), "")
    except BadReference:
        return False
    return True


def _true_scale(helmert: Helmert, unit: float, length: float, confirm: bool, where: str) -> tuple[float, str]:
    """Map metres per model metre. `Scale` also converts units by the standard; many files mean the grid scale alone."""
    if helmert.scale is None:
        return 1.0, "" if math.isclose(unit, length) else "Scale is blank though map and model units differ: taken as the change of units alone."
    physical = helmert.scale * unit / length
    if 0.9 < physical < 1.1:
        return physical, ""
    if 0.9 < helmert.scale < 1.1:
        return helmert.scale, (
            f"Scale {helmert.scale:g} does not convert the model's unit ({length:g} m) to the map's ({unit:g} m): taken as the grid's scale alone."
        )
    if confirm:
        return physical, f"Scale {helmert.scale:g} stretches the model {physical:g} times; confirmed by the user."
    raise BadReference(f"{where}: Scale {helmert.scale:g} in {helmert.source} would stretch the model {physical:g} times.",
                       f"Correct it, or confirm with --option confirm=true. {HOW}")  # fmt: skip


def _check_site(placed: Placement, site: Site, request: Request, report: Report, where: str) -> None:
    """A map conversion that puts the model far from the file's own site is not believed."""
    if site.lonlat is None:
        return
    default = tool_default(*site.lonlat)
    if default:
        report.note("assumed", "", f"IfcSite's latitude and longitude are a default of {default}: ignored.")
        return
    # compared where the site stands: its origin through the map conversion
    east, north, _, _ = placed.matrix @ np.array([*site.origin, 1.0])
    lon, lat = crs_module.to_lonlat(placed.reference.horizontal, np.array([east]), np.array([north]))
    distance = float(Geod(ellps="WGS84").inv(lon[0], lat[0], *site.lonlat)[2])
    placed.facts["distance_to_site_m"] = distance
    if not distance > FAR:
        return
    text = (
        f"{placed.facts['source']} ({placed.facts['crs_in_file']}) puts the model at {lat[0]:.4f}° N, {lon[0]:.4f}° E, "
        f"but IfcSite says {site.lonlat[1]:.4f}° N, {site.lonlat[0]:.4f}° E: {distance / 1000:,.0f} km apart."
    )
    if not request.confirm:
        raise BadReference(f"{where}: {text}", f"Choose with --option use=site or use=map with confirm=true. {HOW}")
    report.note("warned", "", f"{text} Confirmed by the user.")


# --- by IfcSite --------------------------------------------------------------------------------------------------


def _by_site(site: Site, request: Request, report: Report, where: str) -> Placement:
    assert site.lonlat is not None
    lon, lat = site.lonlat
    default = tool_default(lon, lat)
    if default and not request.confirm:
        raise BadReference(f"{where}: IfcSite lies at {lat:.4f}° N, {lon:.4f}° E, which is a default of {default}, not a place.",
                           f"If it is real, confirm with --option confirm=true. {HOW}")  # fmt: skip
    if default:
        report.note("warned", "", f"IfcSite's place is a default of {default}; confirmed by the user.")
    if request.height is not None:
        report.note("assumed", "", f"The height {request.height:g} m given by the user replaces IfcSite's RefElevation.")
    height = request.height if request.height is not None else site.elevation
    if height is None:
        height = 0.0
        report.note("assumed", "", "IfcSite states no RefElevation: 0 m is taken.")
    placed = _standing(_reference(request.crs or crs_module.metric_frame(lon, lat), request, where), site, (lon, lat), height, site.origin, "IfcSite")
    report.note("assumed", "", f"Placed by IfcSite's latitude and longitude ({lat:.6f}° N, {lon:.6f}° E): often only good to 30 m or worse.")
    return placed


def _by_angles(found: Geographic, site: Site, request: Request, report: Report, where: str) -> Placement:
    """By a rigid operation onto a CRS of longitude and latitude, whose heights are above the ellipsoid (ISO 16739-1:2024, IfcRigidOperation)."""
    lons, lats = crs_module.to_lonlat(found.code, np.array([found.lonlat[0]]), np.array([found.lonlat[1]]))
    lonlat = float(lons[0]), float(lats[0])
    height = found.height if request.height is None else request.height
    if request.vertical:
        report.note("assumed", "", f"The height {found.height:g} m, above the ellipsoid by the standard, is taken in {request.vertical}, which the user gave.")
    asked = replace(request, vertical=request.vertical or ELLIPSOID)
    placed = _standing(_reference(request.crs or crs_module.metric_frame(*lonlat), asked, where), site, lonlat, height, (0.0, 0.0, 0.0), "IfcRigidOperation")
    placed.facts["crs_in_file"] = found.text
    _check_site(placed, site, request, report, where)
    return placed


def _standing(reference: Reference, site: Site, lonlat: tuple[float, float], height: float, origin: tuple[float, float, float], source: str) -> Placement:
    """The model point `origin` at a longitude and latitude, the model turned onto true north."""
    east, north, jacobian = true_metres(reference.horizontal, *lonlat)
    # TrueNorth (x, y) is the direction of true north in model axes; turn it onto the frame's north
    x, y = site.true_north
    turn = np.array([[y, -x], [x, y]])
    matrix = _matrix(jacobian @ turn, origin, (east, north, height), reference)
    facts = {"source": source, "lon": lonlat[0], "lat": lonlat[1], "height": height, "true_north": [x, y],
             "rotation_deg": math.degrees(math.atan2(x, y)), "rotation_convention": "counter-clockwise turn of the model onto true north",
             **_grid(reference, east, north)}  # fmt: skip
    return Placement(reference, matrix, facts)


def tool_default(lon: float, lat: float) -> str:
    """Whose default a place is, "" if nobody's."""
    return next((whose for y, x, whose in TOOL_DEFAULTS if abs(lat - y) < 5e-4 and abs(lon - x) < 5e-4), "")


# --- shared ------------------------------------------------------------------------------------------------------


def _reference(code: str | None, request: Request, where: str, target: MapCrs | None = None) -> Reference:
    vertical = request.vertical or (target.vertical if target else None) or None
    if not code and target is not None and target.text:
        wrong = "is one of longitude and latitude, in which no metres are" if geographic_code(target.text) else "is unknown"
        raise BadReference(f"{where}: the CRS {target.text!r} in IfcProjectedCRS {wrong}.", "Name a projected one with --crs, for example --crs EPSG:4547.")
    reference = crs_module.parse_reference(code, vertical, vertical_offset=request.vertical_offset, where=where)
    if not reference.vertical:
        named = f" (the file says {target.vertical_text!r}, which is not recognised)" if target and target.vertical_text else ""
        raise MissingReference(f"{where}: the heights of a building are absolute, but no vertical datum is named{named}.",
                               "Name it with --vertical, for example EPSG:5737 (1985 heights), EGM96 or ellipsoid.")  # fmt: skip
    return reference


def unit_of(horizontal: str) -> float:
    """Metres per unit of a projected CRS's eastings."""
    parsed = crs_module.crs_of(horizontal)
    return float(parsed.axis_info[0].unit_conversion_factor) if parsed.is_projected else 1.0


def _matrix(rotate: F64, origin: tuple[float, ...], target: tuple[float, float, float], reference: Reference, up: float = 1.0) -> F64:
    """4×4: (p − origin) turned by `rotate` (2×2) in plan and scaled by `up` in height, then moved to `target` (height in metres)."""
    matrix = np.eye(4)
    matrix[:2, :2] = rotate
    matrix[2, 2] = up / reference.vertical_unit
    matrix[:3, 3] = np.array([target[0], target[1], target[2] / reference.vertical_unit]) - matrix[:3, :3] @ np.asarray(origin, np.float64)
    return matrix


def true_metres(horizontal: str, lon: float, lat: float, *, to_grid_north: bool = False) -> tuple[float, float, F64]:
    """(x, y) of a place in a projected CRS and the 2×2 Jacobian from true east and north metres there to its coordinates.

    With `to_grid_north` only the scale is kept: directions are then counted from grid north.
    """
    step = 10.0
    horizontal = crs_module.settled_at(horizontal, lon, lat)
    frame = crs_module.metric_frame(lon, lat)
    x0, y0 = (float(v) for v in crs_module.from_lonlat(frame, np.array(lon), np.array(lat)))
    # through WGS 84 degrees, so that the target's datum shift is applied
    around = crs_module.to_lonlat(frame, x0 + step * np.array([0.0, 1, -1, 0, 0]), y0 + step * np.array([0.0, 0, 0, 1, -1]))
    xs, ys = crs_module.from_lonlat(horizontal, *around)
    jacobian = np.array([[xs[1] - xs[2], xs[3] - xs[4]], [ys[1] - ys[2], ys[3] - ys[4]]]) / (2 * step)
    if to_grid_north:
        jacobian = np.eye(2) * math.sqrt(abs(float(np.linalg.det(jacobian))))
    return float(xs[0]), float(ys[0]), jacobian


def _grid(reference: Reference, east: float, north: float) -> dict[str, float]:
    """Convergence (degrees) and scale of the grid at a place, for the record."""
    lon, lat = crs_module.to_lonlat(reference.horizontal, np.array(east), np.array(north))
    if not (np.isfinite(lon) and np.isfinite(lat)):
        return {}
    jacobian = true_metres(reference.horizontal, float(lon), float(lat))[2] * unit_of(reference.horizontal)
    return {"lon": float(lon), "lat": float(lat), "grid_scale": float(math.sqrt(abs(np.linalg.det(jacobian)))),
            "convergence_deg": math.degrees(math.atan2(jacobian[0, 1], jacobian[1, 1]))}  # fmt: skip


def _world(model: Any, length: float) -> F64 | None:
    """The Model context's WorldCoordinateSystem in metres, or None where it is the identity."""
    from ifcopenshell.util.placement import get_axis2placement  # noqa: PLC0415  slow import, needed by few files

    for context in model.by_type("IfcGeometricRepresentationContext", include_subtypes=False):
        if context.ContextType == "Model" and context.WorldCoordinateSystem is not None:
            matrix = np.array(get_axis2placement(context.WorldCoordinateSystem), np.float64)
            matrix[:3, 3] *= length
            return None if np.allclose(matrix, np.eye(4), atol=1e-9) else matrix
    return None
