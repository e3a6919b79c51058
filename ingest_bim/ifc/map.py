"""What an IFC file says about its place: map conversion, projected CRS, site. Reading only; belief is `ingest_bim.ifc.placement`'s."""

from __future__ import annotations

import math
import re
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from pyproj import CRS
from pyproj.exceptions import CRSError

from ingest_bim.ifc.step_access import DAMAGED, attribute
from ingest_bim.ifc.units import Units, read_unit
from twin.model import ELLIPSOID, Report

#: Height systems as files spell them (lower case, without spaces and punctuation) → vertical CRS.
VERTICAL_NAMES = {
    "1985": "EPSG:5737", "1985国家高程基准": "EPSG:5737", "国家85高程": "EPSG:5737", "国家85": "EPSG:5737", "85高程": "EPSG:5737",
    "85国家高程基准": "EPSG:5737", "yellowsea1985": "EPSG:5737", "nationalvertical1985": "EPSG:5737", "nvd1985": "EPSG:5737",
    "1985nationalheight": "EPSG:5737", "1985国家高程": "EPSG:5737", "国家1985高程基准": "EPSG:5737", "国家高程基准1985": "EPSG:5737",
    "黄海1956": "EPSG:5736", "1956黄海": "EPSG:5736", "1956年黄海高程系": "EPSG:5736", "黄海高程1956": "EPSG:5736",
    "yellowsea1956": "EPSG:5736", "1956黄海高程": "EPSG:5736", "egm96": "EPSG:5773", "egm2008": "EPSG:3855", "nap": "EPSG:5709",
    "dhhn92": "EPSG:5783", "dhhn2016": "EPSG:7837", "dhhn85": "EPSG:5784", "nn": "EPSG:5784", "navd88": "EPSG:5703", "ngf": "EPSG:5720",
    "ngfign69": "EPSG:5720", "ign69": "EPSG:5720", "newlyn": "EPSG:5701", "odn": "EPSG:5701", "aod": "EPSG:5701", "nn2000": "EPSG:5941",
    "nn1954": "EPSG:5776", "rh2000": "EPSG:5613", "n2000": "EPSG:3900", "dvr90": "EPSG:5799", "taw": "EPSG:5710", "ahd": "EPSG:5711",
    "evrf2000": "EPSG:5730", "evrf2007": "EPSG:5621", "lhn95": "EPSG:5729", "ln02": "EPSG:5728", "hkpd": "EPSG:5738", "nzvd2016": "EPSG:7839",
    "jgd2011": "EPSG:6695", "ellipsoid": ELLIPSOID, "ellipsoidal": ELLIPSOID, "wgs84": ELLIPSOID, "cgcs2000": ELLIPSOID,
}  # fmt: skip


#: Map units as property sets spell them (upper case, without blanks and a plural's S) → metres.
MAP_UNITS = {"M": 1.0, "METRE": 1.0, "METER": 1.0, "MM": 1e-3, "MILLIMETRE": 1e-3, "MILLIMETER": 1e-3, "CM": 1e-2, "CENTIMETRE": 1e-2, "CENTIMETER": 1e-2,
             "FT": 0.3048, "FOOT": 0.3048, "FEET": 0.3048, "FTU": 1200 / 3937, "USSURVEYFOOT": 1200 / 3937, "USSURVEYFEET": 1200 / 3937}  # fmt: skip


@dataclass(frozen=True)
class MapCrs:
    """The target of a map conversion: PROJ's name for it ("" unknown), the file's words, and the vertical datum likewise."""

    code: str
    text: str
    vertical: str
    vertical_text: str


@dataclass(frozen=True)
class Helmert:
    """A map conversion as the file states it (`east`, `north`, `height` in `unit` metres; None: the CRS's own)."""

    source: str
    crs: MapCrs
    east: float
    north: float
    height: float
    cosine: float
    sine: float
    scale: float | None
    unit: float | None
    factors: tuple[float, float, float] = (1.0, 1.0, 1.0)


@dataclass(frozen=True)
class Geographic:
    """A rigid operation onto an IfcGeographicCRS: the model's origin lies at `lonlat` degrees of the CRS `code`, `height` metres above its ellipsoid."""

    code: str
    text: str
    lonlat: tuple[float, float]
    height: float


@dataclass(frozen=True)
class Site:
    """IfcSite's geographic position: `origin` (model metres) lies at `lonlat` degrees and `elevation` metres; true north in model axes."""

    lonlat: tuple[float, float] | None
    elevation: float | None
    origin: tuple[float, float, float]
    true_north: tuple[float, float]
    others: int = 0
    """Sites that lie at other degrees."""

    def facts(self) -> dict[str, Any]:
        """For the report."""
        return {"lonlat": self.lonlat, "elevation": self.elevation, "origin": self.origin, "true_north": self.true_north}


def read_helmert(model: Any, report: Report) -> Helmert | None:
    """The map conversion of the model, by entity or by the IFC2x3 property sets; None where there is none."""
    if model.schema != "IFC2X3":
        found = [o for o in model.by_type("IfcCoordinateOperation") if o.TargetCRS is not None]
        # that of the 3D model context first; the others must say the same
        found.sort(key=lambda o: (attribute(o.SourceCRS, "ContextType", "") != "Model", o.id()))
        read = []
        for operation in found:
            try:
                helmert = _from_entity(operation, report)
            except DAMAGED as error:
                report.note("skipped", "", f"#{operation.id()} {operation.is_a()} is damaged and is not used: {str(error)[:120]}.")
                continue
            if helmert is not None:
                read.append(helmert)
        if len({(h.crs, h.east, h.north, h.height, h.cosine, h.sine) for h in read}) > 1:
            report.note("warned", "", f"{len(read)} coordinate operations that differ: that of the Model context is used (#{found[0].id()}).")
        if read:
            return read[0]
    return _from_psets(model, report)


def _from_entity(operation: Any, report: Report) -> Helmert | None:
    target = _map_crs(operation.TargetCRS, report)
    unit_entity = attribute(operation.TargetCRS, "MapUnit")
    unit = read_unit(unit_entity).factor if unit_entity is not None else None
    if operation.is_a("IfcMapConversion"):
        cosine, sine = _direction(operation.XAxisAbscissa, operation.XAxisOrdinate, report)
        scaled = operation.is_a("IfcMapConversionScaled")
        factors = (operation.FactorX, operation.FactorY, operation.FactorZ) if scaled else (1.0, 1.0, 1.0)
        return Helmert(operation.is_a(), target, float(operation.Eastings), float(operation.Northings), operation.OrthogonalHeight or 0.0,
                       cosine, sine, operation.Scale, unit, tuple(float(f or 1.0) for f in factors))  # type: ignore[arg-type]  # fmt: skip
    if operation.is_a("IfcRigidOperation"):
        first, second = operation.FirstCoordinate, operation.SecondCoordinate
        if first.is_a("IfcLengthMeasure") and second.is_a("IfcLengthMeasure"):
            return Helmert("IfcRigidOperation", target, first.wrappedValue, second.wrappedValue, operation.Height or 0.0, 1.0, 0.0, None, unit)
    return None


def read_geographic(model: Any, site: Site, report: Report) -> Geographic | None:
    """The IfcRigidOperation in angles of a model (IFC 4.3), None where there is none.

    The standard speaks of latitude, longitude and ellipsoidal height in this order, but also of (λ, φ): a first angle that is no latitude, or one that fits IfcSite as a longitude, is one.
    """
    if model.schema in ("IFC2X3", "IFC4"):
        return None
    for operation in model.by_type("IfcRigidOperation"):
        first, second, target = operation.FirstCoordinate, operation.SecondCoordinate, operation.TargetCRS
        if target is None or first.is_a() != "IfcPlaneAngleMeasure" or second.is_a() != "IfcPlaneAngleMeasure":
            continue
        text = str(attribute(target, "Name", "")).strip()
        code = geographic_code(text)
        if not code:
            report.note("skipped", "", f"#{operation.id()} IfcRigidOperation: its CRS {text!r} is not known as one of longitude and latitude; it is not used for placing.")
            continue
        stated, units = attribute(target, "AngleUnit"), Units(model)
        angle = read_unit(stated).factor if stated is not None else units.of_measure("IfcPlaneAngleMeasure").factor
        one, other = (math.degrees(value.wrappedValue * angle) for value in (first, second))
        swapped = abs(one) > 90 or (site.lonlat is not None and abs(other) <= 90 and math.dist((one, other), site.lonlat) < math.dist((other, one), site.lonlat))
        lonlat = (one, other) if swapped else (other, one)
        if abs(lonlat[1]) > 90 or abs(lonlat[0]) > 180:
            report.note("skipped", "", f"#{operation.id()} IfcRigidOperation: {one:g}° and {other:g}° are no latitude and longitude; it is not used for placing.")
            continue
        report.note("assumed", "", f"#{operation.id()} IfcRigidOperation: {one:.6f}° and {other:.6f}° are read as {'longitude and latitude' if swapped else 'latitude and longitude'}.")
        high = attribute(target, "HeightUnit")
        return Geographic(code, text, lonlat, float(operation.Height or 0.0) * (read_unit(high).factor if high is not None else units.length))
    return None


def geographic_code(text: str) -> str:
    """A CRS of longitude and latitude as files spell it → what PROJ knows, "" if nothing."""
    match = re.search(r"EPSG\D{0,3}(\d{4,6})", text, re.IGNORECASE)
    try:
        code = f"EPSG:{match[1]}" if match else text
        return code if CRS.from_user_input(code).is_geographic else ""
    except CRSError:
        return ""


def _direction(abscissa: float | None, ordinate: float | None, report: Report) -> tuple[float, float]:
    if abscissa is None and ordinate is None:
        return 1.0, 0.0
    x, y = abscissa or 0.0, ordinate or 0.0
    size = math.hypot(x, y)
    if size < 1e-9:
        report.note("assumed", "", "XAxisAbscissa and XAxisOrdinate are both 0: no rotation is taken.")
        return 1.0, 0.0
    return x / size, y / size


def _map_crs(target: Any, report: Report) -> MapCrs:
    text = str(attribute(target, "Name", "")).strip()
    vertical_text = str(attribute(target, "VerticalDatum", "")).strip()
    wkt = [w.WellKnownText for w in attribute(target, "WellKnownText", ())]
    code = next((c for c in map(crs_code, [*wkt, text]) if c), "")
    if not code and attribute(target, "Description"):
        code = crs_code(str(target.Description))
        if code:
            report.note("assumed", "", f"The CRS name {text!r} is unknown; its description {target.Description!r} names {code}.")
    if code and text and text.upper().replace(" ", "") != code.upper() and not wkt:
        report.note("assumed", "", f"The CRS {text!r} is read as {code}.")
    return MapCrs(code, text, vertical_code(vertical_text), vertical_text)


def crs_code(text: str) -> str:
    """A CRS as files spell it (`EPSG:32760`, `epsg 32760`, `32760`, WKT, a register name) → what PROJ knows, "" if nothing."""
    match = re.search(r"EPSG\D{0,3}(\d{4,6})", text, re.IGNORECASE)
    tries = [text] if "[" in text else []
    tries += [f"EPSG:{match[1]}"] if match else []
    tries += [f"EPSG:{text}"] if re.fullmatch(r"\d{4,6}", text) else []
    tries += [text] if text else []
    for attempt in tries:
        try:
            parsed = CRS.from_user_input(attempt)
        except CRSError:
            continue
        if parsed.is_projected or (parsed.is_compound and parsed.sub_crs_list[0].is_projected):
            return attempt if not attempt.upper().startswith("EPSG:") else attempt.upper()
    return ""


def vertical_code(text: str) -> str:
    """A vertical datum as files spell it → vertical CRS code, "" if it is not recognised."""
    if not text:
        return ""
    key = re.sub(r"[\s_\-.,:/()（）]+", "", text.lower()).removesuffix("height").removesuffix("datum")
    if key in VERTICAL_NAMES:
        return VERTICAL_NAMES[key]
    match = re.search(r"EPSG\D{0,3}(\d{4,6})", text, re.IGNORECASE)
    for attempt in [f"EPSG:{match[1]}"] if match else [text]:
        try:
            parsed = CRS.from_user_input(attempt)
        except CRSError:
            continue
        if parsed.is_vertical:
            code = parsed.to_authority(min_confidence=70)
            return f"{code[0]}:{code[1]}" if code else attempt
    return ""


def _from_psets(model: Any, report: Report) -> Helmert | None:
    """IFC2x3 has no map conversion; the user guide puts its values into two property sets of the site or project."""
    sets: dict[str, dict[str, Any]] = {}
    for definition in model.by_type("IfcPropertySet"):
        name = "".join((definition.Name or "").lower().split())
        if name in ("epset_mapconversion", "epset_projectedcrs"):
            sets.setdefault(name, {}).update(
                {p.Name.lower(): p.NominalValue.wrappedValue for p in definition.HasProperties or () if p.is_a("IfcPropertySingleValue") and p.NominalValue}
            )
    values, target = sets.get("epset_mapconversion"), sets.get("epset_projectedcrs", {})
    if not values:
        return None
    try:
        east, north = float(values["eastings"]), float(values["northings"])
        height = float(values.get("orthogonalheight", 0.0))
        abscissa, ordinate = (None if v is None else float(v) for v in (values.get("xaxisabscissa"), values.get("xaxisordinate")))
        cosine, sine = _direction(abscissa, ordinate, report)
        scale = float(values["scale"]) if "scale" in values else None
    except (KeyError, ValueError, TypeError) as error:
        report.note("skipped", "", f"ePset_MapConversion is incomplete ({error!r}) and is not used.")
        return None
    text, vertical_text = str(target.get("name", "")), str(target.get("verticaldatum", ""))
    code = crs_code(text)
    stated = str(target.get("mapunit", "")).strip()
    unit = MAP_UNITS.get(re.sub(r"[\s_-]+", "", stated.upper()).removesuffix("S"))
    if unit is None and stated:
        report.note("assumed", "", f"The MapUnit {stated!r} of ePset_ProjectedCRS is not known: eastings are taken in the project's unit.")
    # lengths in property sets are in the project's unit unless MapUnit says otherwise
    unit = unit if unit is not None else Units(model).length
    return Helmert("ePset_MapConversion", MapCrs(code, text, vertical_code(vertical_text), vertical_text), east, north, height,
                   cosine, sine, scale, unit)  # fmt: skip


# --- site --------------------------------------------------------------------------------------------------------


def site_of(model: Any) -> Site:
    """The first IfcSite with latitude and longitude (else the first one), and the model's true north."""
    length = Units(model).length
    sites = sorted(model.by_type("IfcSite"), key=lambda s: (s.RefLatitude is None or s.RefLongitude is None, s.id()))
    north = _true_north(model)
    if not sites:
        return Site(None, None, (0.0, 0.0, 0.0), north)
    site, lonlat = sites[0], _lonlat(sites[0])
    others = set[tuple[float, float] | None]()
    for other in sites[1:]:
        with suppress(*DAMAGED):  # the first one is what counts
            others.add(_lonlat(other))
    elevation = None if site.RefElevation is None else float(site.RefElevation) * length
    return Site(lonlat, elevation, _origin(site, length), north, len(others - {lonlat, None}))


def _lonlat(site: Any) -> tuple[float, float] | None:
    if site.RefLatitude is None or site.RefLongitude is None:
        return None
    lonlat = (degrees(site.RefLongitude), degrees(site.RefLatitude))
    return lonlat if abs(lonlat[0]) <= 180 and abs(lonlat[1]) <= 90 else None


def degrees(compound: tuple[int, ...]) -> float:
    """IfcCompoundPlaneAngleMeasure (degrees, minutes, seconds, millionths of a second; all of one sign) → decimal degrees."""
    parts = [*map(float, compound), 0.0, 0.0, 0.0, 0.0][:4]
    sign = -1.0 if any(p < 0 for p in parts) else 1.0
    d, m, s, u = (abs(p) for p in parts)
    return sign * (d + m / 60 + (s + u / 1e6) / 3600)


def _origin(site: Any, length: float) -> tuple[float, float, float]:
    from ingest_bim.ifc.frames import local_matrix  # noqa: PLC0415  keeps the import order plain

    matrix = local_matrix(site.ObjectPlacement) if site.ObjectPlacement is not None else np.eye(4)
    if matrix is None:
        return (0.0, 0.0, 0.0)
    x, y, z = (float(v) * length for v in matrix[:3, 3])
    return (x, y, z)


def ground_level(model: Any, length: float) -> tuple[float, str]:
    """The model height (metres) that stands on the ground, and whose placement it is: the first building's, else the site's, else 0."""
    for kind in ("IfcBuilding", "IfcSite"):
        for item in sorted(model.by_type(kind), key=lambda e: e.id()):
            if item.ObjectPlacement is not None:
                return _origin(item, length)[2], kind
    return 0.0, "origin"


def _true_north(model: Any) -> tuple[float, float]:
    for context in model.by_type("IfcGeometricRepresentationContext", include_subtypes=False):
        if context.ContextType in ("Model", None) and context.TrueNorth is not None:
            x, y = context.TrueNorth.DirectionRatios[:2]
            size = math.hypot(x, y)
            if size > 1e-9:
                return x / size, y / size
    return 0.0, 1.0


