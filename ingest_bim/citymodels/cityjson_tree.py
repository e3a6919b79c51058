"""Which object of a CityJSON document is part of which: the links that it states, and those that one side alone states."""

from __future__ import annotations

from typing import Any

from twin.model import Report

GROUP = "CityObjectGroup"
MODULES = ("Bridge", "Building", "Tunnel")
#: City objects of CityJSON 1.0 to 2.0 (2.0.1, 3; those of extensions begin with +).
TYPES = {
    GROUP, "CityFurniture", "GenericCityObject", "LandUse", "OtherConstruction", "PlantCover", "SolitaryVegetationObject", "TINRelief", "WaterBody",
    "Road", "Railway", "Waterway", "TransportSquare", "BuildingStorey", "BuildingUnit", "BuildingRoom", "BridgeRoom", "TunnelHollowSpace", "BridgeConstructionElement",
    *(f"{module}{kind}" for module in MODULES for kind in ("", "Part", "Installation", "ConstructiveElement", "Furniture")),
}  # fmt: skip


def parents_of(things: dict[str, Any], report: Report) -> dict[str, list[str]]:
    """The parents of each object: those that it names, else one that names it as its child, and none that is below itself.

    Things that are no objects are not among them. A group's members need not name it (CityJSON 2.0.1, 3.5), so it is not their parent by that.
    """
    parents: dict[str, list[str]] = {}
    named: dict[str, str] = {}
    for name, raw in things.items():
        if not isinstance(raw, dict):
            continue
        parents[name] = _names(raw.get("parents"), name, "parents", report)
        if raw.get("type") != GROUP:
            for child in _names(raw.get("children"), name, "children", report):
                named.setdefault(child, name)
                if child not in things:
                    report.note("warned", name, f"Its child {child[:100]!r} is not among the objects of the file (or of its feature).")
    for child, name in named.items():
        if child in parents and all(p in parents and things[p].get("type") == GROUP for p in parents[child]):
            parents[child].insert(0, name)
            report.note("assumed", child, f"It is a part of {name[:100]!r}, which names it as its child; itself it names no parent.")
    _cut_circles(parents, report)
    return parents


def _names(stated: Any, name: str, what: str, report: Report) -> list[str]:
    if stated is None:
        return []
    if isinstance(stated, list) and all(isinstance(each, str) for each in stated):
        return stated.copy()
    found = [each for each in (stated if isinstance(stated, list) else [stated]) if isinstance(each, str)]
    report.note("assumed", name, f"Its {what} are not a list of ids: {', '.join(found)[:100] or 'none'} is taken.")
    return found


def _cut_circles(parents: dict[str, list[str]], report: Report) -> None:
    """Take away every link that leads back to where one came from."""
    done: set[str] = set()
    for start in parents:
        trail: dict[str, None] = {}
        at: str | None = start
        while at is not None and at not in done and at in parents:
            trail[at] = None
            if back := [p for p in parents[at] if p in trail]:
                parents[at] = [p for p in parents[at] if p not in trail]
                report.note("refused", at, f"It is said to be a part of {back[0][:100]!r}, which is below itself: that link is left out.")
            at = parents[at][0] if parents[at] else None
        done.update(trail)
