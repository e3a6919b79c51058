"""The semantics that 3D Tiles gives to metadata properties (3D Metadata Semantic Reference 1.1).

Each fixes the type of the property that carries it; a name outside the table may be anybody's own.
"""

from __future__ import annotations

from dataclasses import dataclass

from .issues import Where
from .metadata_model import Property

_FLOATS = ("FLOAT32", "FLOAT64")
_UNSIGNED = ("UINT8", "UINT16", "UINT32", "UINT64")


@dataclass(frozen=True)
class Semantic:
    """The type a semantic demands; ``count``: None for one value, 0 for a variable-length array."""

    type: str
    components: tuple[str, ...] = ()
    count: int | None = None


_VOLUMES = {
    "BOUNDING_BOX": Semantic("SCALAR", _FLOATS, 12),
    "BOUNDING_REGION": Semantic("SCALAR", ("FLOAT64",), 6),
    "BOUNDING_SPHERE": Semantic("SCALAR", _FLOATS, 4),
    "BOUNDING_S2_CELL": Semantic("SCALAR", ("UINT64",)),
    "MINIMUM_HEIGHT": Semantic("SCALAR", _FLOATS),
    "MAXIMUM_HEIGHT": Semantic("SCALAR", _FLOATS),
    "HORIZON_OCCLUSION_POINT": Semantic("VEC3", _FLOATS),
}
SEMANTICS: dict[str, Semantic] = {
    "NAME": Semantic("STRING"),
    "DESCRIPTION": Semantic("STRING"),
    "ATTRIBUTION_IDS": Semantic("SCALAR", ("UINT8", "UINT16", "UINT32"), 0),
    "ATTRIBUTION_STRINGS": Semantic("STRING", (), 0),
    "TILESET_FEATURE_ID_LABELS": Semantic("STRING", (), 0),
    "TILESET_CRS_GEOCENTRIC": Semantic("STRING"),
    "TILESET_CRS_COORDINATE_EPOCH": Semantic("STRING"),
    **{f"TILE_{name}": semantic for name, semantic in _VOLUMES.items()},
    "TILE_GEOMETRIC_ERROR": Semantic("SCALAR", _FLOATS),
    "TILE_REFINE": Semantic("SCALAR", ("UINT8",)),
    "TILE_TRANSFORM": Semantic("MAT4", _FLOATS),
    **{f"CONTENT_{name}": semantic for name, semantic in _VOLUMES.items()},
    "CONTENT_URI": Semantic("STRING"),
    "CONTENT_GROUP_ID": Semantic("SCALAR", _UNSIGNED),
}


def check_semantic(prop: Property, where: Where) -> None:
    """Does the property have the type that its semantic demands?"""
    name = prop.semantic or ""
    if name == "ID":
        return  # any type will do for an id
    wanted = SEMANTICS.get(name)
    if wanted is None:
        where.info("METADATA_SEMANTIC_UNKNOWN", f"{name!r} is not a semantic of 3D Tiles")
        return
    count = (prop.count or 0) if prop.array else None
    wrong = [
        f"type {prop.type}, must be {wanted.type}" if prop.type != wanted.type else "",
        f"componentType {prop.component_type}, must be one of {', '.join(wanted.components)}"
        if wanted.components and prop.component_type not in wanted.components
        else "",
        "the wrong array length" if count != wanted.count else "",
        "normalized values" if prop.normalized else "",
    ]
    for reason in filter(None, wrong):
        where.error("METADATA_SEMANTIC_INVALID", f"the semantic {name!r} stands on a property with {reason}")
