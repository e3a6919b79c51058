"""What a model is made of, for its CIM grade (`twin.grading`), and which elements lie below the ground."""

from __future__ import annotations

from collections import Counter

import numpy as np

from ingest_bim.ifc.geometry import Shapes
from ingest_bim.ifc.materials import Associations
from ingest_bim.ifc.properties import Definitions
from ingest_bim.ifc.step_access import attribute, supertypes
from ingest_bim.ifc.structure import Structure

PARTS = ("IfcElementComponent", "IfcBuildingElementPart")
#: Ground and what lies below it; a plant that is an IfcGeographicElement is none.
GROUND = ("IfcSite", "IfcGeographicElement", "IfcGeotechnicalElement")
ROOMS = ("IfcSpace", "IfcSpatialZone", "IfcZone")


def content(structure: Structure, definitions: Definitions, associations: Associations, shapes: Shapes) -> dict[str, int]:
    """Counts of drawn objects by what is known of them: see `twin.grading`; beside that openings, systems and materials."""
    counts: Counter[str] = Counter(components=0, objects=0, parts=0, spaces=0)
    known: dict[str, frozenset[str]] = {}
    for element in structure.elements:
        step, kind = element.id(), element.is_a()
        kinds = known[kind] if kind in known else known.setdefault(kind, supertypes(element.is_a(True)))
        drawn = step in shapes.shapes
        counts["objects"] += drawn
        counts["spaces"] += not kinds.isdisjoint(ROOMS) or (drawn and "IfcBuildingStorey" in kinds)  # without a shape a storey only holds the tree together
        counts["openings"] += "IfcOpeningElement" in kinds or (drawn and not kinds.isdisjoint(("IfcDoor", "IfcWindow")))
        counts["systems"] += "IfcSystem" in kinds
        ground = drawn and not kinds.isdisjoint(GROUND) and attribute(element, "PredefinedType") != "VEGETATION"
        counts["terrain"] += ground
        if not drawn or ground or "IfcElement" not in kinds or not kinds.isdisjoint(("IfcFeatureElement", "IfcGeographicElement")):
            continue
        described, made = step in definitions.psets, bool(associations.materials_of(step)[0])
        counts["components"] += 1
        counts["described"] += described
        counts["with_material"] += made
        counts["complete"] += described and made and step in structure.types
        counts["roofs"] += "IfcRoof" in kinds
        counts["services"] += "IfcDistributionElement" in kinds
        counts["parts"] += not kinds.isdisjoint(PARTS)
    # of what is drawn 0 of these is said, too: it is not to be guessed from the classes
    said = ("components", "parts", "spaces") if counts["objects"] else ()
    return {name: int(count) for name, count in sorted(counts.items()) if count or name in said}


def below_ground(shapes: Shapes, level: float) -> dict[int, bool]:
    """Step id → whether all of an element lies below the model height `level` (metres); a millimetre above it is still below."""
    if not shapes.shapes:
        return {}
    different = {id(shape.positions): shape.positions for shape in shapes.shapes.values()}
    points = np.concatenate(list(different.values()))
    starts = np.cumsum([0, *map(len, different.values())])[:-1]
    number = {name: at for at, name in enumerate(different)}
    which = np.array([number[id(shape.positions)] for shape in shapes.shapes.values()])
    low, high = (end.reduceat(points, starts)[which] for end in (np.minimum, np.maximum))
    rows = np.array([shape.matrix[2] for shape in shapes.shapes.values()])
    # of a turned shape its box's corners stand for it: an element is called below ground only where it surely is
    highest = np.maximum(low * rows[:, :3], high * rows[:, :3]).sum(axis=1) + rows[:, 3]
    return dict(zip(shapes.shapes, (highest <= level + 1e-3).tolist(), strict=True))
