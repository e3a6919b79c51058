"""Which of a city model's first two coordinates is the northing or latitude: what the format says, unless only the other order lies in the area of the CRS."""

from __future__ import annotations

import numpy as np

from twin import crs as crs_module
from twin.model import Reference, Report


def north_first(order: str, rule: bool, corner: tuple[float, ...], reference: Reference, report: Report) -> bool:
    """Whether the first coordinate is the northing or latitude.

    Args:
        order: `xy` or `yx` where the user says so, else `auto`.
        rule: what the format says of this CRS; many files break it.
        corner: a position of the file, in the file's order and units; () where there is none.
        reference: the file's.
        report: is told where the rule is not followed, and (`axis_order`) what was taken.
    """
    if order != "auto":
        return order == "yx"
    if len(corner) < 2:
        return rule
    first, second = corner[:2]
    fits = {False: _inside(reference, first, second), True: _inside(reference, second, first)}
    if all(fits.values()) and not rule and crs_module.crs_of(reference.horizontal).is_geographic:
        report.note("assumed", "", "Coordinates are taken longitude first; the other order would lie in the CRS's area, too (--option axis_order=yx).")
    chosen = rule if fits[rule] or not fits[not rule] else not rule
    if chosen != rule:
        name = crs_module.crs_of(reference.horizontal).name
        report.note("assumed", "", f"Coordinates are taken {'north' if chosen else 'east'} first: the other order lies outside of {name}.")
    report.facts["axis_order"] = "yx" if chosen else "xy"
    return chosen


def _inside(reference: Reference, x: float, y: float) -> bool:
    parsed = crs_module.crs_of(reference.horizontal)
    if parsed.is_geographic and abs(y) > 90:
        return False
    lon, lat = crs_module.to_lonlat(reference.horizontal, np.array([x]), np.array([y]))
    area = parsed.area_of_use
    return bool(np.isfinite(lon[0]) and (area is None or (area.west - 1 <= lon[0] <= area.east + 1 and area.south - 1 <= lat[0] <= area.north + 1)))
