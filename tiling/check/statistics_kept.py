"""Which statistics our own tilesets must have: of every property that their contents hold values of, of every class the number of features.

What is left out is said, since a client that styles by a figure finds none there: count of a class, min, max, mean and sum of numbers,
occurrences of what is one of few. It is asked of the contents, not of the source and not of the tileset's schema: those need not be there, or may be cut too.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .glb import Model
from .issues import Where
from .metadata_model import Property
from .tables import PropertyTable

GENERATOR = "Wuyi Twin"
EXTREMES, FIGURES, OCCURRENCES = ("min", "max"), ("min", "max", "mean", "sum"), ("occurrences",)
VAST = 1e290
"""Numbers beyond this may have a sum that no float64 holds; it is left out then."""
POINTS = 0
"""The mode of glTF that draws points."""


def entries(document: Any, *path: str) -> dict[str, Any]:
    """The objects in an object of a document, by their names; none where it is not there, or something else is."""
    for key in path:
        document = document.get(key) if isinstance(document, dict) else None
    return {key: value for key, value in document.items() if isinstance(value, dict)} if isinstance(document, dict) else {}


def is_own(document: Any) -> bool:
    """Does a tileset.json say that this program has written it?"""
    return bool(entries(document, "asset").get("extras", {}).get("generator") == GENERATOR)


class Kept:
    """Sees every content once, then the tileset's statistics."""

    def __init__(self) -> None:
        self.wanted: dict[str, dict[str, tuple[str, ...]]] = {}  # by class and property, what must be said of it

    def see(self, model: Model) -> None:
        """Note of which properties a content has values."""
        drawn = {primitive.mode for primitive in model.primitives}
        for table in model.tables:
            properties = {} if table is None or model.schema is None else model.schema.classes.get(table.class_id, {})
            if table is None:
                continue
            if drawn == {POINTS} and "classification" in table.columns:  # a table of classes: the points are of another
                wanted = self.wanted.setdefault(f"{table.class_id}_point", {"class": OCCURRENCES})
                wanted |= dict.fromkeys(_attributes(model), EXTREMES)
            elif "ID" in table.semantics:  # masses have none
                wanted = self.wanted.setdefault(table.class_id, {})
                for name, prop in properties.items():
                    if name not in wanted and (keys := _keys(prop, table)):
                        wanted[name] = keys

    def finish(self, document: Any, where: Where) -> None:
        """Say what tileset.json lacks."""
        classes, where = entries(document, "statistics", "classes"), where / "statistics"
        if self.wanted and not classes:
            where.error("STATISTICS_MISSING", "tileset.json has no statistics: clients cannot style the layer before its tiles are there. Derive the tiles again")
            return
        for class_id, wanted in self.wanted.items():
            told, at = classes.get(class_id), where / "classes" / class_id
            if told is None:
                at.error("STATISTICS_MISSING", f"nothing is said of the class {class_id!r}, of which features are drawn. Derive the tiles again")
                continue
            if "count" not in told:
                at.error("STATISTICS_MISSING", f"the number of features of the class {class_id!r} (count) is not said. Derive the tiles again")
            stated = entries(told, "properties")
            for name, keys in wanted.items():
                if lost := _lost(stated.get(name, {}), keys):
                    (at / "properties" / name).error("STATISTICS_MISSING", f"of {name!r}, which tiles hold values of, {', '.join(lost)} is not said. Derive the tiles again")


def _lost(stated: dict[str, Any], keys: tuple[str, ...]) -> list[str]:
    ends = [stated[key] for key in EXTREMES if isinstance(stated.get(key), int | float)]
    return [key for key in keys if key not in stated and (key in (*EXTREMES, *OCCURRENCES) or max(map(abs, ends), default=0.0) < VAST)]


def _keys(prop: Property, table: PropertyTable) -> tuple[str, ...]:
    """What must be said of a property of a table; nothing where it has no value, or is of a kind that has no statistics."""
    column = table.columns.get(prop.id)
    if prop.array or column is None:
        return ()
    if prop.type == "ENUM":
        return OCCURRENCES if any(value is not None for value in column) else ()
    if prop.type != "SCALAR" or not isinstance(column, np.ndarray):
        return ()
    there = np.isfinite(column)
    if "noData" in prop.given:
        there &= column != np.asarray(prop.given["noData"]).astype(column.dtype)
    return FIGURES if there.any() else ()


def _attributes(model: Model) -> list[str]:
    """Names of the properties that are a value of each point."""
    value = model.gltf.extension("EXT_structural_metadata")
    given = value.get("propertyAttributes", []) if isinstance(value, dict) else []
    return [name for item in given if isinstance(item, dict) for name in item.get("properties", {})]
