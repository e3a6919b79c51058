"""What a model is made of, for its CIM grade (`twin.grading`), and which elements lie below the ground."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from ingest_bim.ifc_geometry import Shapes
from ingest_bim.ifc_materials import Associations
from ingest_bim.ifc_properties import Definitions
from ingest_bim.ifc_structure import Structure
from ingest_bim.step_access import is_kind

PARTS = ("IfcElementComponent", "IfcBuildingElementPart")
ROOMS = ("IfcSpace", "IfcSpatialZone", "IfcBuildingStorey", "IfcZone")


def content(structure: Structure, definitions: Definitions, associations: Associations, shapes: Shapes) -> dict[str, int]:
    """Counts of drawn objects by what is known of them: see `twin.grading`; beside that openings, systems and materials."""
    counts: Counter[str] = Counter()
    for element in structure.elements:
        step = element.id()
        drawn = step in shapes.shapes
        counts["objects"] += drawn
        if any(is_kind(element, kind) for kind in ROOMS):
            counts["spaces"] += 1
        if is_kind(element, "IfcOpeningElement") or (drawn and (is_kind(element, "IfcDoor") or is_kind(element, "IfcWindow"))):
            counts["openings"] += 1
        if is_kind(element, "IfcSystem"):
            counts["systems"] += 1
        if not drawn or not is_kind(element, "IfcElement") or is_kind(element, "IfcFeatureElement"):
            continue
        described, made = step in definitions.psets, bool(associations.materials_of(step)[0])
        counts["components"] += 1
        counts["described"] += described
        counts["with_material"] += made
        counts["complete"] += described and made and step in structure.types
        counts["roofs"] += is_kind(element, "IfcRoof")
        counts["services"] += is_kind(element, "IfcDistributionElement")
        counts["parts"] += any(is_kind(element, kind) for kind in PARTS)
    return {name: int(count) for name, count in sorted(counts.items()) if count}


def below_ground(shapes: Shapes, level: float) -> dict[int, bool]:
    """Step id → whether all of an element lies below the model height `level` (metres); a millimetre above it is still below."""
    found: dict[int, bool] = {}
    corners: dict[int, Any] = {}
    for step, shape in shapes.shapes.items():
        key = id(shape.positions)
        if key not in corners:
            low, high = shape.positions.min(axis=0), shape.positions.max(axis=0)
            corners[key] = np.array([[x, y, z] for x in (low[0], high[0]) for y in (low[1], high[1]) for z in (low[2], high[2])])
        # of a turned shape its box's corners stand for it: an element is called below ground only where it surely is
        found[step] = bool((corners[key] @ shape.matrix[2, :3] + shape.matrix[2, 3]).max() <= level + 1e-3)
    return found
