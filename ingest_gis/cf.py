"""What CF says about a NetCDF variable: which dimensions are time, y and x, where its cells lie, when its steps are.

CF Metadata Conventions 1.11: coordinate types (chapter 4), grid mappings (5.6), time coordinates and calendars (4.4), cell boundaries (7.1).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twin import crs
from twin.errors import BadFeature, BadOption, MissingReference
from twin.model import Report

NAMES = {"longitude": "x", "projection_x_coordinate": "x", "latitude": "y", "projection_y_coordinate": "y", "time": "t",
         "grid_longitude": "turned", "grid_latitude": "turned"}  # fmt: skip
PLAIN = {"lon": "x", "longitude": "x", "x": "x", "easting": "x", "lat": "y", "latitude": "y", "y": "y", "northing": "y", "time": "t"}
METRES = {"m": 1.0, "metre": 1.0, "meter": 1.0, "metres": 1.0, "meters": 1.0, "km": 1000.0, "kilometre": 1000.0, "kilometer": 1000.0}
SECONDS = {unit: length for length, units in ((1e-3, "ms msec millisecond"), (1.0, "s sec second"), (60.0, "min minute"), (3600.0, "h hr hour"), (86400.0, "d day"))
           for unit in (u + plural for u in units.split() for plural in ("", "s"))}  # fmt: skip
SINCE = re.compile(r"(\w+)\s+since\s+(\d{1,4})-(\d{1,2})-(\d{1,2})(?:(?:\s*[T\s]\s*)(\d{1,2})(?::(\d{1,2}))?(?::(\d{1,2}(?:\.\d*)?))?)?\s*(Z|UTC|GMT|[+-]\s*\d{1,2}(?::?\d{2})?)?", re.IGNORECASE)
"""UDUNITS' form of a time unit; read here, because the usual library passes over zones such as `+8` or `-5:00` in silence."""
CALENDARS = ("standard", "gregorian", "proleptic_gregorian")
EXAMPLE = "CF wants for example: seconds since 2026-05-20 00:00:00 +00:00"
UNEVEN = 0.01
"""Share of the cell by which the distance of two coordinates may differ from the mean (coordinates are often rounded, or float32)."""


@dataclass(frozen=True)
class Axis:
    """One dimension's coordinates: regular, and so turned that columns run east and rows south (`order` does it)."""

    first: float
    step: float
    order: NDArray[np.int64]


@dataclass(frozen=True)
class Times:
    """Moments of the steps: `seconds` (N,) after `start` (RFC 3339, "" where the file knows no date); `bounds` (N, 2) or None."""

    seconds: NDArray[np.float64]
    start: str
    bounds: NDArray[np.float64] | None


def text(variable: Any, name: str) -> str:
    """An attribute as text, "" where there is none."""
    return str(getattr(variable, name, "")).strip()


def numbers_of(values: Any) -> NDArray[np.float64]:
    """A (masked) array as numbers, NaN where it is masked."""
    return np.asarray(np.ma.filled(np.asanyarray(values).astype(np.float64), np.nan))


def role(file: Any, dimension: str) -> str:
    """`x`, `y`, `t`, `turned` (of a rotated pole) or "" for a dimension, by its coordinate variable: axis, standard name, units, at last its name."""
    variable = file.variables.get(dimension)
    if variable is None or variable.dimensions != (dimension,):
        return ""
    units, standard = text(variable, "units").lower(), NAMES.get(text(variable, "standard_name"), "")
    if standard:
        return standard
    if units.startswith("degree") and units.endswith(("east", "_e", "e")):
        return "x"
    if units.startswith("degree") and units.endswith(("north", "_n", "n")):
        return "y"
    if " since " in units:
        return "t"
    return {"X": "x", "Y": "y", "T": "t"}.get(text(variable, "axis").upper(), PLAIN.get(dimension.lower(), ""))


def reference(file: Any, variable: Any, geographic: bool, options: Any, where: str, report: Report) -> Any:
    """The reference of a variable's grid: the option, its grid mapping, or (degrees of longitude and latitude alone) WGS 84.

    Raises:
        MissingReference: a projected grid without a mapping. BadFeature: a mapping that PROJ cannot read, or that does not fit the axes.
    """
    stated = options.crs
    if stated is None:
        stated = _mapping(file, variable, where)
        if stated is None and not geographic:
            raise MissingReference(f"{where} has x and y but no grid_mapping.", "Name the CRS of its coordinates: --crs EPSG:4547.")
        if stated is None:
            stated = "EPSG:4326"
            report.note("assumed", variable.name, "the file names no datum for its longitudes and latitudes; they are taken as WGS 84")
    found = crs.parse_reference(stated, options.vertical or "none", vertical_offset=options.vertical_offset, where=where)
    if crs.crs_of(found.horizontal).is_geographic != geographic:
        raise BadFeature(f"{where}: its coordinates are {'degrees' if geographic else 'lengths'}, its CRS {found.horizontal[:60]!r} is not.", "Name the right one with --crs.")
    return found


def _mapping(file: Any, variable: Any, where: str) -> str | None:
    name = text(variable, "grid_mapping").split(":")[0].split()
    if not name or name[0] not in file.variables:
        return None
    mapping = file.variables[name[0]]
    told = {key: getattr(mapping, key) for key in mapping.ncattrs()}
    if wkt := told.get("crs_wkt") or told.get("spatial_ref"):
        return str(wkt)
    if told.get("grid_mapping_name") == "latitude_longitude" and not {"horizontal_datum_name", "geographic_crs_name"} & set(told):
        return None
    pyproj = import_module("pyproj")
    try:
        made = pyproj.CRS.from_cf(told)
    except (KeyError, TypeError, ValueError, pyproj.exceptions.CRSError) as error:
        raise BadFeature(f"{where}: its grid mapping {name[0]!r} cannot be read ({error}).", "Name the CRS with --crs.") from error
    return str(made.to_wkt())


def axis(variable: Any, kind: str, horizontal: str, where: str) -> Axis:
    """The coordinates of x or y: longitudes come to −180 … 180, lengths to the unit of the CRS.

    Raises:
        BadFeature: one coordinate alone, missing or unevenly spaced ones, an unknown unit.
    """
    values = numbers_of(variable[:])
    what = f"{where}: its coordinate {variable.name!r}"
    if len(values) < 2 or not np.isfinite(values).all():
        raise BadFeature(f"{what} has {'missing values' if len(values) > 1 else 'one value only, so that cells have no size'}.", "Write it out whole.")
    system = crs.crs_of(horizontal)
    if system.is_geographic:
        if kind == "x":
            values = np.where(values > 180 + 1e-6, values - 360, values)
    else:
        unit = text(variable, "units").lower() or "m"
        if unit not in METRES:
            raise BadFeature(f"{what} has the unit {unit!r}.", f"Known: {', '.join(METRES)}.")
        values = values * METRES[unit] / system.axis_info[0].unit_conversion_factor
    order = np.argsort(values if kind == "x" else -values, kind="stable")
    values = values[order]
    steps = np.diff(values)
    step = float(values[-1] - values[0]) / len(steps)
    if step == 0 or (np.abs(steps - step) > UNEVEN * abs(step)).any():
        raise BadFeature(f"{what} is not evenly spaced (from {steps.min():g} to {steps.max():g}).", "Bring the field to a regular grid first, e.g. with cdo remapbil.")
    return Axis(float(values[0]), step, order)


def times(file: Any, variable: Any, zone: str | None, where: str, report: Report) -> Times:
    """The steps of a time coordinate. Units without a zone are UTC, as CF says, unless `zone` ("+08:00") says otherwise.

    Raises:
        BadFeature: no units, a calendar without real dates, missing times, times that do not ascend. BadOption: `zone` where the file states one.
    """
    what = f"{where}: its time {variable.name!r}"
    units, calendar = text(variable, "units"), text(variable, "calendar").lower() or "standard"
    numbers = numbers_of(variable[:]).ravel()
    ends = file.variables.get(text(variable, "bounds"))
    limits = None if ends is None else numbers_of(ends[:]).reshape(len(numbers), 2)
    if not np.isfinite(numbers).all() or (limits is not None and not np.isfinite(limits).all()):
        raise BadFeature(f"{what} has missing values.", "Every step needs its time.")
    if (np.diff(numbers) <= 0).any():
        raise BadFeature(f"{what} does not ascend at step {int(np.argmax(np.diff(numbers) <= 0)) + 2}.", "Sort the steps and remove doubles.")
    if " since " not in units.lower():
        if units.lower() not in SECONDS:
            raise BadFeature(f"{what} has {'no units' if not units else f'the unit {units!r}'}.", EXAMPLE)
        scale = SECONDS[units.lower()]
        report.note("assumed", variable.name, "the file's times are counted from no date; they are taken as time since the start of a run")
        return Times(numbers * scale, "", None if limits is None else limits * scale)
    if calendar not in CALENDARS:
        raise BadFeature(f"{what} is of the calendar {calendar!r}, which has no real dates.", f"Times by the clock need one of {', '.join(CALENDARS)}.")
    origin, scale, stated = _since(units, what)
    if stated and zone:
        raise BadOption(f"{what} states its zone ({units}).", "Leave out --option zone.")
    if zone:
        origin -= _east(zone)
    if not stated and not zone:
        report.note("assumed", variable.name, f"the unit {units!r} names no time zone; taken as UTC, as CF says (else --option zone=+08:00)")
    moments = np.round(origin + numbers * scale, 3)
    start = datetime.fromtimestamp(float(moments[0]), UTC)
    bounds = None if limits is None else np.round(origin + limits * scale, 3) - moments[0]
    return Times(moments - moments[0], start.isoformat(timespec="milliseconds" if moments[0] % 1 else "seconds"), bounds)


def _since(units: str, what: str) -> tuple[float, float, bool]:
    """(the reference moment in POSIX s, seconds in a unit, whether a zone is stated) of CF time units.

    Raises:
        BadFeature: not of that form, or a unit without a fixed length (month, year).
    """
    found = SINCE.fullmatch(units.strip())
    if found is None or found[1].lower() not in SECONDS:
        raise BadFeature(f"{what} has the unit {units!r}, which {'is no time since a date' if found is None else 'has no fixed length'}.", EXAMPLE)
    _, year, month, day, hour, minute, second, zone = found.groups()
    try:
        moment = datetime(int(year), int(month), int(day), int(hour or 0), int(minute or 0), tzinfo=UTC).timestamp() + float(second or 0)
    except ValueError as error:
        raise BadFeature(f"{what} counts from no date there is ({units!r}: {error}).", EXAMPLE) from error
    return moment - (_east(zone) if zone else 0.0), SECONDS[found[1].lower()], bool(zone)


def _east(zone: str) -> float:
    """Seconds east of UTC of `+08:00`, `+8`, `-0530`, `Z`.

    Raises:
        BadOption: not of that form.
    """
    found = re.fullmatch(r"(?:Z|UTC|GMT)|([+-])\s*(\d{1,2})(?::?(\d{2}))?", zone.strip(), re.IGNORECASE)
    if found is None or int(found[2] or 0) > 14 or int(found[3] or 0) > 59:
        raise BadOption(f"zone {zone!r} is no offset from UTC.", "For example zone=+08:00.")
    return (-1.0 if found[1] == "-" else 1.0) * (int(found[2] or 0) * 3600 + int(found[3] or 0) * 60)
