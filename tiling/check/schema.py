"""Metadata schemas of the 3D Metadata Specification 1.0: classes, enums, properties.

The same schema serves tilesets (3D Tiles 1.1, ``schema``) and glTF (EXT_structural_metadata).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from .issues import Where
from .metadata_model import COMPONENT_DTYPES, INTEGERS, NUMERIC_TYPES, TYPES, Enum, Property, Schema
from .semantics import check_semantic
from .shape import IDENTIFIER, Anything, Bool, Choice, List, Map, Num, Obj, Text
from .values import check_real, check_value

_LABELS = {"name": Text(1), "description": Text()}
_PROPERTY = Obj(
    required={"type": Choice(TYPES)},
    optional={
        **_LABELS,
        "componentType": Choice(tuple(COMPONENT_DTYPES)),
        "enumType": Text(1),
        "array": Bool(),
        "count": Num(low=2, whole=True),
        "normalized": Bool(),
        "required": Bool(),
        "semantic": Text(1),
        **{name: Anything() for name in ("offset", "scale", "min", "max", "noData", "default")},
    },
)
_CLASS = Obj(optional={**_LABELS, "properties": Map(_PROPERTY, IDENTIFIER, 1), "parent": Text(1)})
_ENUM = Obj(
    required={
        "values": List(
            Obj(required={"name": Text(1), "value": Num(whole=True)}, optional={"description": Text()}), 1
        )
    },
    optional={**_LABELS, "valueType": Choice(INTEGERS)},
)
_SCHEMA = Obj(
    required={"id": Text(1, IDENTIFIER)},
    optional={
        **_LABELS,
        "version": Text(1),
        "classes": Map(_CLASS, IDENTIFIER, 1),
        "enums": Map(_ENUM, IDENTIFIER, 1),
    },
)


def check_schema(value: Any, where: Where) -> Schema | None:
    """Check a schema object; the schema, or None when it is too broken to check metadata against."""
    if not _SCHEMA.check(value, where):
        return None
    enums = {name: _enum(e, where / "enums" / name) for name, e in value.get("enums", {}).items()}
    classes: dict[str, dict[str, Property]] = {}
    for class_id, c in value.get("classes", {}).items():
        at = where / "classes" / class_id
        properties: dict[str, Property] = {}
        semantics: dict[str, str] = {}
        for name, p in c.get("properties", {}).items():
            prop = _property(name, p, enums, at / "properties" / name)
            properties[name] = prop
            if prop.semantic and prop.semantic in semantics:
                (at / "properties" / name).error(
                    "METADATA_SEMANTIC_DUPLICATE",
                    f"has the semantic {prop.semantic!r} that {semantics[prop.semantic]!r} has already",
                )
            elif prop.semantic:
                semantics[prop.semantic] = name
        classes[class_id] = properties
    return Schema(value["id"], classes, enums)


def _enum(value: dict[str, Any], where: Where) -> Enum:
    value_type = value.get("valueType", "UINT16")
    limits = np.iinfo(COMPONENT_DTYPES[value_type])
    names = [v["name"] for v in value["values"]]
    numbers = [int(v["value"]) for v in value["values"]]
    for what, items in (("name", names), ("value", numbers)):
        if len(set(items)) < len(items):
            (where / "values").error("METADATA_ENUM_INVALID", f"has the same {what} twice")
    for i, number in enumerate(numbers):
        if not limits.min <= number <= limits.max:
            (where / "values" / i / "value").error(
                "METADATA_ENUM_INVALID", f"{number} does not fit into {value_type} ({limits.min}..{limits.max})"
            )
    return Enum(value_type, dict(zip(names, numbers, strict=True)))


def _property(name: str, p: dict[str, Any], enums: dict[str, Enum], where: Where) -> Property:
    prop = Property(
        id=name,
        type=p["type"],
        component_type=p.get("componentType"),
        enum=enums.get(p.get("enumType", "")),
        array=p.get("array", False),
        count=p.get("count"),
        normalized=p.get("normalized", False),
        required=p.get("required", False),
        semantic=p.get("semantic"),
        given={k: p[k] for k in ("name", "offset", "scale", "min", "max", "noData", "default") if k in p},
    )
    sound = _check_type(prop, p, enums, where) and _check_values(prop, where)
    if sound and prop.semantic:
        check_semantic(prop, where / "semantic")
    return replace(prop, sound=sound)


def _check_type(prop: Property, p: dict[str, Any], enums: dict[str, Enum], where: Where) -> bool:
    """Do type, componentType, enumType, array, count and normalized fit together?"""
    numeric, component = prop.type in NUMERIC_TYPES, prop.component_type
    rules = [
        (numeric and component is None, f"{prop.type} needs a componentType"),
        (not numeric and component is not None, f"{prop.type} must not have a componentType"),
        (prop.type == "ENUM" and "enumType" not in p, "ENUM needs an enumType"),
        (prop.type != "ENUM" and "enumType" in p, f"{prop.type} must not have an enumType"),
        ("enumType" in p and p["enumType"] not in enums, f"the enum {p.get('enumType')!r} does not exist"),
        (prop.count is not None and not prop.array, "count is only allowed with array: true"),
        (prop.normalized and component not in INTEGERS, "normalized is only allowed for integer components"),
    ]
    for broken, message in rules:
        if broken:
            where.error("METADATA_PROPERTY_INVALID", message)
    return not any(broken for broken, _ in rules)


def _check_values(prop: Property, where: Where) -> bool:
    good = check_modifiers(prop, prop.given, where)
    for name in ("noData", "default"):
        if name not in prop.given:
            continue
        if prop.required:
            where.error("METADATA_PROPERTY_INVALID", f"a required property must not have a {name} value")
            good = False
        elif name == "noData" and prop.type == "BOOLEAN":
            where.error("METADATA_PROPERTY_INVALID", "a BOOLEAN property must not have a noData value")
            good = False
        else:
            good &= check_value(prop, prop.given[name], where / name)
    return good


def check_modifiers(prop: Property, given: dict[str, Any], where: Where) -> bool:
    """Check offset, scale, min, max where they stand: in a class property, or overriding it in a table."""
    good = True
    for name in ("offset", "scale", "min", "max"):
        if name not in given:
            continue
        message = None
        if prop.type not in NUMERIC_TYPES:
            message = f"{name} is not allowed for {prop.type}"
        elif prop.variable:
            message = f"{name} is not allowed for a variable-length array"
        elif name in ("offset", "scale") and not prop.real:
            message = f"{name} is only allowed for floating point or normalized components"
        if message is not None:
            where.error("METADATA_PROPERTY_INVALID", message)
            good = False
        else:
            good &= check_real(prop, given[name], where / name)
    return good
