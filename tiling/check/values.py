"""Metadata values written in JSON: of an entity (tileset, group, tile, content), or in a schema.

Numbers stand as they are stored: an integer property's JSON values are integers even where
``normalized``; offset and scale apply afterwards, and min and max bound the result (3D Metadata 1.0).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .issues import Where
from .metadata_model import COMPONENT_DTYPES, INTEGERS, NUMERIC_TYPES, Property, Schema
from .shape import Anything, Map, Obj, Text, is_integer, is_number, kind

ENTITY = Obj(required={"class": Text(1)}, optional={"properties": Map(Anything())})


def check_entity(value: Any, schema: Schema | None, where: Where, *, given: bool) -> dict[str, Any]:
    """Check a metadata entity against the schema; the values of its properties by semantic.

    ``given`` says that the tileset does have a schema (then ``schema`` is None only because that is
    broken, which was reported where it stands).
    """
    if not ENTITY.check(value, where):
        return {}
    if schema is None:
        if not given:
            where.error("METADATA_SCHEMA_MISSING", "has metadata, but there is no schema")
        return {}
    properties = schema.classes.get(value["class"])
    if properties is None:
        (where / "class").error("METADATA_CLASS_UNKNOWN", f"the class {value['class']!r} does not exist")
        return {}
    found: dict[str, Any] = {}
    values = value.get("properties", {})
    for name, item in values.items():
        at = where / "properties" / name
        if name not in properties:
            at.error("METADATA_PROPERTY_UNKNOWN", f"the class {value['class']!r} has no property {name!r}")
        elif properties[name].sound and check_value(properties[name], item, at):
            check_range(properties[name], item, at)
            if properties[name].semantic:
                found[str(properties[name].semantic)] = item
    for name, prop in properties.items():
        if prop.required and name not in values:
            where.error("METADATA_REQUIRED_MISSING", f"the required property {name!r} is missing")
    return found


def check_value(prop: Property, value: Any, where: Where) -> bool:
    """Does a JSON value have the property's type: array, vector, matrix, enum by name, range?"""
    return _check_array(prop, value, where, _check_leaf)


def check_real(prop: Property, value: Any, where: Where) -> bool:
    """Same for offset, scale, min, max: after the transform, the components of a real property are reals."""
    return _check_array(prop, value, where, _check_number if prop.real else _check_leaf)


def _check_array(prop: Property, value: Any, where: Where, leaf: Any) -> bool:
    if not prop.array:
        return _check_element(prop, value, where, leaf)
    if not isinstance(value, list):
        where.error("METADATA_VALUE_TYPE", f"must be an array, found {kind(value)}")
        return False
    if prop.count is not None and len(value) != prop.count:
        where.error("METADATA_VALUE_LENGTH", f"has {len(value)} items, the property has count {prop.count}")
        return False
    good = [_check_element(prop, item, where / i, leaf) for i, item in enumerate(value)]  # report every item
    return all(good)


def _check_element(prop: Property, value: Any, where: Where, leaf: Any) -> bool:
    if prop.components == 1:
        return bool(leaf(prop, value, where))
    if not isinstance(value, list):
        where.error("METADATA_VALUE_TYPE", f"must be an array of {prop.components} numbers ({prop.type})")
        return False
    if len(value) != prop.components:
        where.error("METADATA_VALUE_LENGTH", f"has {len(value)} numbers, a {prop.type} has {prop.components}")
        return False
    good = [bool(leaf(prop, item, where / i)) for i, item in enumerate(value)]
    return all(good)


def _check_number(prop: Property, value: Any, where: Where) -> bool:  # noqa: ARG001 - a leaf check
    if not is_number(value):
        where.error("METADATA_VALUE_TYPE", f"must be a number, found {kind(value)}")
        return False
    return True


def _check_leaf(prop: Property, value: Any, where: Where) -> bool:
    if prop.type in ("STRING", "BOOLEAN"):
        wanted: type = str if prop.type == "STRING" else bool
        if not isinstance(value, wanted):
            where.error("METADATA_VALUE_TYPE", f"must be a {prop.type.lower()}, found {kind(value)}")
        return isinstance(value, wanted)
    if prop.enum is not None:
        if not isinstance(value, str):
            where.error("METADATA_VALUE_TYPE", f"must be the name of an enum value, found {kind(value)}")
        elif value not in prop.enum.values:
            where.error("METADATA_ENUM_UNKNOWN", f"{value!r} is not a value of the enum")
        return isinstance(value, str) and value in prop.enum.values
    if prop.component_type not in INTEGERS:
        return _check_number(prop, value, where)
    if not is_integer(value):
        where.error("METADATA_VALUE_TYPE", f"must be an integer, found {value!r}")
        return False
    limits = np.iinfo(COMPONENT_DTYPES[prop.component_type])
    if not limits.min <= value <= limits.max:
        where.error("METADATA_VALUE_RANGE", f"{value} does not fit into {prop.component_type}")
        return False
    return True


def transform(prop: Property, raw: Any, given: dict[str, Any] | None = None) -> np.ndarray[Any, Any]:
    """Stored numbers to their meaning: normalise, then ``* scale + offset``; float64, shape kept.

    ``raw`` broadcasts against offset and scale in its last axes. ``given`` overrides the class's modifiers.
    """
    modifiers = {**prop.given, **(given or {})}
    numbers = np.asarray(raw)
    if prop.normalized and prop.component_type in INTEGERS:
        limit = float(np.iinfo(COMPONENT_DTYPES[prop.component_type]).max)
        numbers = np.maximum(numbers.astype(np.float64) / limit, -1.0)
    if "scale" in modifiers:
        numbers = numbers * np.asarray(modifiers["scale"], dtype=np.float64)
    if "offset" in modifiers:
        numbers = numbers + np.asarray(modifiers["offset"], dtype=np.float64)
    return np.asarray(numbers)


def check_range(prop: Property, value: Any, where: Where) -> bool:
    """Does a (type-correct) value, transformed, lie within the property's min and max?"""
    if prop.type not in NUMERIC_TYPES or not {"min", "max"} & prop.given.keys():
        return True
    return in_range(prop, transform(prop, value), where)


def in_range(prop: Property, real: np.ndarray[Any, Any], where: Where, given: Any = None) -> bool:
    """Do transformed values, of shape (..., *the property's own), lie within min and max?"""
    modifiers = {**prop.given, **(given or {})}
    good = True
    for name, sign in (("min", 1.0), ("max", -1.0)):
        if name not in modifiers:
            continue
        bound = np.asarray(modifiers[name], dtype=np.float64)
        slack = 1e-6 * np.maximum(np.abs(bound), 1.0) if prop.real else 0.0
        with np.errstate(invalid="ignore"):
            bad = sign * (real - bound) < -slack
        if np.any(bad):
            where.error(
                "METADATA_VALUE_RANGE",
                f"{int(np.count_nonzero(bad))} values beyond the {name} {modifiers[name]} of {prop.id!r},"
                f" first {np.asarray(real)[bad].ravel()[0]}",
            )
            good = False
    return good
