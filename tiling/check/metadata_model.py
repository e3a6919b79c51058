"""The 3D Metadata Specification's notions as values: a schema has classes, a class has properties.

Made by ``schema.check_schema`` from JSON that was found valid; read by everything that checks metadata.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from .issues import Where

COMPONENT_DTYPES: dict[str, np.dtype[Any]] = {
    name: np.dtype(code)
    for name, code in {
        "INT8": "<i1", "UINT8": "<u1", "INT16": "<i2", "UINT16": "<u2", "INT32": "<i4",
        "UINT32": "<u4", "INT64": "<i8", "UINT64": "<u8", "FLOAT32": "<f4", "FLOAT64": "<f8",
    }.items()
}  # fmt: skip
#: Components of one element, by type; only these types carry a componentType.
NUMERIC_TYPES = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT2": 4, "MAT3": 9, "MAT4": 16}
TYPES = (*NUMERIC_TYPES, "STRING", "BOOLEAN", "ENUM")
INTEGERS = tuple(n for n in COMPONENT_DTYPES if "INT" in n)


@dataclass(frozen=True)
class Enum:
    """An enum: its integer type and its values by name."""

    value_type: str
    values: dict[str, int]


@dataclass(frozen=True)
class Property:
    """One property of a class. ``count`` is None for a single value or a variable-length array."""

    id: str
    type: str
    component_type: str | None
    enum: Enum | None
    array: bool
    count: int | None
    normalized: bool
    required: bool
    semantic: str | None
    given: dict[str, Any] = field(repr=False)  # offset, scale, min, max, noData, default as written
    sound: bool = True  # False: the schema's own definition is broken (reported there); check nothing against it

    @property
    def components(self) -> int:
        """Numbers in one element."""
        return NUMERIC_TYPES.get(self.type, 1)

    @property
    def variable(self) -> bool:
        """Is it an array of variable length?"""
        return self.array and self.count is None

    @property
    def storage(self) -> str | None:
        """The component type of the stored values: an enum's value type; None for strings and booleans."""
        return self.enum.value_type if self.enum else self.component_type

    @property
    def real(self) -> bool:
        """Are the values real numbers (floats, or normalised integers), so that offset and scale apply?"""
        return self.normalized or self.component_type in ("FLOAT32", "FLOAT64")


@dataclass(frozen=True)
class Schema:
    """A schema: properties by class and name, and enums."""
    id: str
    classes: dict[str, dict[str, Property]]
    enums: dict[str, Enum]


def check_agreement(tile: Schema | None, tileset: Schema | None, where: Where) -> None:
    """A class of a content's own schema is that of the tileset's, where both have it: a client styles by the one and reads by the other.

    An enum of a content may leave out values that do not occur in it, and a property its values where all are the default.
    """
    if tile is None or tileset is None:
        return
    for class_id in tile.classes.keys() & tileset.classes.keys():
        theirs = tileset.classes[class_id]
        for name, mine in tile.classes[class_id].items():
            other, at = theirs.get(name), where / "schema" / "classes" / class_id / "properties" / name
            if other is None:
                at.error("SCHEMA_DISAGREES", "the tileset's schema has no such property")
            elif (mine.enum is None) != (other.enum is None) or (mine.enum and other.enum and not mine.enum.values.items() <= other.enum.values.items()):
                at.error("SCHEMA_DISAGREES", "its enum is not that of the tileset's schema")
            elif _meaning(mine, mine) != _meaning(other, mine):
                at.error("SCHEMA_DISAGREES", "it is defined otherwise in the tileset's schema")


def _meaning(prop: Property, tile: Property) -> Property:
    """The property as far as it says what a value is that a tile stores: one of nothing but its default stores none, and so none that stands for no data."""
    left = {"default", "noData"} if "default" in tile.given else {"default"}
    return replace(prop, enum=None, required=False, given={key: value for key, value in prop.given.items() if key not in left})
