"""One way between datums for all of a layer (`twin.ways`): set when a version is complete, and anew whenever it grows or shrinks.

It depends on where the layer's data lie and on nothing else, so that it does not matter in which deliveries they came.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

from twin import clouds, crs, ways
from twin.model import Bounds, LayerVersion, Part, Reference


def settled(version: LayerVersion) -> LayerVersion:
    """A version whose references, its own and those of its files, each name one way to WGS 84; where one is doubtful, the report says so.

    Files of one CRS take one way, even if each keeps its own reference. What PROJ knows one way for is returned as it is.
    """
    boxes: dict[str, list[Bounds]] = {}
    for part in version.parts:
        if part.bounds is not None:
            own = _own(version, part)
            boxes.setdefault(own.horizontal, []).append(_box(version, part, own))
    found = {crs_text: crs.settled(Reference(crs_text), some) for crs_text, some in boxes.items()}
    if all(crs_text == reference.horizontal for crs_text, (reference, _) in found.items()):
        return version
    new = {crs_text: reference.horizontal for crs_text, (reference, _) in found.items()}
    # the layer's own may be that of no file any more
    layer = version.reference.horizontal
    if layer not in new and (some := [part.bounds for part in version.parts if part.bounds is not None]):
        new[layer] = crs.settled(Reference(layer), some)[0].horizontal
    reference = replace(version.reference, horizontal=new.get(layer, layer))
    parts = tuple(_moved(part, version, reference, new) for part in version.parts)
    extent = crs.extent_of(reference, Bounds.union(b)) if (b := [part.bounds for part in parts if part.bounds is not None]) else version.extent
    told: list[dict[str, Any]] = [{"action": "warned", "feature": "", "reason": words} for _, words in found.values() if words]
    notes = [note for note in version.report.get("notes", []) if ways.WHOLE not in note.get("reason", "")]  # those of a part of the layer
    counts = dict(version.report.get("counts", {}))
    counts["warned"] = counts.get("warned", 0) - (len(version.report.get("notes", [])) - len(notes)) + len(told)
    report = {**version.report, "notes": [*notes, *told], "counts": {action: count for action, count in counts.items() if count}}
    return replace(version, reference=reference, parts=parts, extent=extent, report=report,
                   provenance={**version.provenance, "vertical": crs.vertical_path(reference)})  # fmt: skip


def unsettled(version: LayerVersion) -> LayerVersion:
    """A version with the references that its sources state."""
    def plain(part: Part) -> Part:
        stated = part.properties.get("reference")
        if not stated or not ways.is_settled(stated["horizontal"]):
            return part
        return replace(part, properties={**part.properties, "reference": {**stated, "horizontal": ways.plain(stated["horizontal"])}})

    return replace(version, reference=crs.unsettled(version.reference), parts=tuple(plain(part) for part in version.parts))


def _own(version: LayerVersion, part: Part) -> Reference:
    return clouds.own_reference(version, part)


def _box(version: LayerVersion, part: Part, own: Reference) -> Bounds:
    """Where a part lies in its own coordinates."""
    assert part.bounds is not None
    if own.horizontal == version.reference.horizontal:
        return part.bounds
    return clouds.own_bounds(part) if "box" in part.properties else clouds.bounds_in(_flat(own), _flat(version.reference), _level(part.bounds), part.key[:12])


def _moved(part: Part, version: LayerVersion, reference: Reference, new: dict[str, str]) -> Part:
    own = _own(version, part)
    moved = replace(own, horizontal=new.get(own.horizontal, own.horizontal))
    properties = {**part.properties, "reference": asdict(moved)} if "reference" in part.properties else part.properties
    bounds = part.bounds
    if bounds is not None and own.horizontal != version.reference.horizontal and "box" in part.properties:
        bounds = clouds.beside(reference, clouds.bounds_in(reference, moved, clouds.own_bounds(part), part.key[:12]), bounds)
    return replace(part, properties=properties, bounds=bounds)


def _flat(reference: Reference) -> Reference:
    return Reference(reference.horizontal, "EPSG:4979")


def _level(box: Bounds) -> Bounds:
    return replace(box, minz=0.0, maxz=0.0)
