"""EXT_structural_metadata: the schema, property tables, property textures and property attributes of a glTF."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .gltf import WIDTHS, Gltf
from .issues import Report, Where
from .jsonfile import parse_json
from .metadata_model import COMPONENT_DTYPES, Property, Schema
from .scene import Primitive
from .schema import check_modifiers, check_schema
from .shape import INDEX, Anything, List, Map, Obj, Shape, Text
from .tables import TABLES, PropertyTable, check_bounds, check_table, column_views_used
from .textures import TEXTURE_PROPERTIES, channels, check_tex_coord, pixels
from .values import transform

EXTENSION = "EXT_structural_metadata"
_MODIFIERS: dict[str, Shape] = {name: Anything() for name in ("offset", "scale", "min", "max")}
_TEXTURES = List(
    Obj(
        {"class": Text(1)},
        {
            "name": Text(1),
            "properties": Map(Obj({"index": INDEX}, {**TEXTURE_PROPERTIES, **_MODIFIERS}), least=1),
        },
    ),
    1,
)
_ATTRIBUTES = List(
    Obj(
        {"class": Text(1)},
        {
            "name": Text(1),
            "properties": Map(Obj({"attribute": Text(1, r"_[A-Z0-9_]+|[A-Z0-9_]+")}, _MODIFIERS), least=1),
        },
    ),
    1,
)
_TOP = Obj(
    optional={
        "schema": Anything(),
        "schemaUri": Text(1),
        "propertyTables": TABLES,
        "propertyTextures": _TEXTURES,
        "propertyAttributes": _ATTRIBUTES,
    },
    one_of=(("schema", "schemaUri"),),
)
_PRIMITIVE = Obj(optional={"propertyTextures": List(INDEX, 1), "propertyAttributes": List(INDEX, 1)})

SCHEMAS = 16
_SOUND: dict[str, Schema] = {}  # schemas without findings, by their JSON

#: Component types that glTF vertex attributes and EXT_structural_metadata have in common.
_ATTRIBUTE_TYPES = {"INT8": 5120, "UINT8": 5121, "INT16": 5122, "UINT16": 5123, "FLOAT32": 5126}


@dataclass(frozen=True)
class FileMetadata:
    """What a glTF says at its top level.

    ``tables``: None without the extension; an entry is None when it
    cannot be used, for a reason reported where it stands. ``sound``: is the extension's structure valid?
    """

    schema: Schema | None = None
    tables: list[PropertyTable | None] | None = None
    sound: bool = False


def check_structural_metadata(gltf: Gltf) -> FileMetadata:
    """Check the top-level extension and decode its property tables."""
    value = gltf.extension(EXTENSION)
    if value is None:
        return FileMetadata()
    where = gltf.where / "extensions" / EXTENSION
    sound = _TOP.check(value, where)
    given = value.get("propertyTables")
    unusable: list[PropertyTable | None] = [None] * (len(given) if isinstance(given, list) else 0)
    if not sound:
        return FileMetadata(None, unusable)
    schema = _schema(gltf, value, where)
    if schema is None:
        return FileMetadata(None, unusable, sound=True)
    raw = gltf.json.get("bufferViews", [])
    used = value.get("propertyTables", [])
    named = column_views_used(used)  # a table need not unpack the geometry
    views = [gltf.view(i) if i in named else b"" for i in range(len(raw))]
    starts = [int(v.get("byteOffset", 0)) for v in raw]
    tables = [check_table(t, schema, views, starts, where / "propertyTables" / i) for i, t in enumerate(used)]
    for i, texture in enumerate(value.get("propertyTextures", ())):
        _check_texture(gltf, texture, schema, where / "propertyTextures" / i)
    for i, attribute in enumerate(value.get("propertyAttributes", ())):
        _check_attribute(attribute, schema, where / "propertyAttributes" / i)
    return FileMetadata(schema, tables, sound=True)


def ids_of_tables(gltf: Gltf) -> list[list[str] | None]:
    """The column of ids of every property table, and nothing else decoded; None for one that has none, or that cannot be read."""
    value = gltf.extension(EXTENSION)
    schema = _schema(gltf, value, gltf.where) if _TOP.check(value, gltf.where) else None
    found: list[list[str] | None] = []
    if schema is None:
        return found
    for table in value.get("propertyTables", ()):
        properties, given = schema.classes.get(table["class"], {}), table.get("properties", {})
        name = next((one for one, prop in properties.items() if prop.semantic == "ID" and one in given), "id")
        if name not in properties or name not in given:
            found.append(None)
            continue
        named = column_views_used([{"properties": {name: given[name]}}])
        raw = gltf.json.get("bufferViews", [])
        views, starts = [gltf.view(i) if i in named else b"" for i in range(len(raw))], [int(v.get("byteOffset", 0)) for v in raw]
        alone = replace(schema, classes={table["class"]: {name: properties[name]}})
        decoded = check_table({**table, "properties": {name: given[name]}}, alone, views, starts, gltf.where)
        ids = decoded.columns.get(name) if decoded is not None else None
        found.append(ids if isinstance(ids, list) and all(one is not None for one in ids) else None)
    return found


def _schema(gltf: Gltf, value: dict[str, Any], where: Where) -> Schema | None:
    if "schema" in value:
        return _known(value["schema"], where / "schema")
    data = gltf.read(value["schemaUri"], where / "schemaUri")
    if data is None:
        return None
    at = Where(where.report, value["schemaUri"])
    parsed = parse_json(data, at)
    return None if parsed is None else check_schema(parsed, at)


def _known(value: Any, where: Where) -> Schema | None:
    """A schema, checked once where the tiles of a layer all carry the same; one with findings is checked each time."""
    text = json.dumps(value)
    if text not in _SOUND:
        before = sum(where.report.counts.values())
        schema = check_schema(value, where)
        if schema is None or sum(where.report.counts.values()) > before:
            return schema
        if len(_SOUND) >= SCHEMAS:
            _SOUND.clear()
        _SOUND[text] = schema
    return _SOUND[text]


def _class(item: dict[str, Any], schema: Schema, where: Where) -> dict[str, tuple[Property, dict[str, Any]]]:
    """The item's usable properties: (class property, what the item says of it) by name."""
    properties = schema.classes.get(item["class"])
    if properties is None:
        (where / "class").error("METADATA_CLASS_UNKNOWN", f"the class {item['class']!r} does not exist")
        return {}
    given = item.get("properties", {})
    found: dict[str, tuple[Property, dict[str, Any]]] = {}
    for name, value in given.items():
        at = where / "properties" / name
        if name not in properties:
            at.error("METADATA_PROPERTY_UNKNOWN", f"the class {item['class']!r} has no property {name!r}")
        elif properties[name].sound and check_modifiers(properties[name], {k: value[k] for k in _MODIFIERS if k in value}, at):
            found[name] = (properties[name], value)
    for name, prop in properties.items():
        if prop.required and name not in given:
            where.error("METADATA_REQUIRED_MISSING", f"the required property {name!r} is missing")
    return found


def _check_attribute(item: dict[str, Any], schema: Schema, where: Where) -> None:
    for name, (prop, _) in _class(item, schema, where).items():
        if _attribute_type(prop) is None:
            (where / "properties" / name).error(
                "METADATA_TYPE_UNSUPPORTED",
                f"{'array of ' if prop.array else ''}{prop.type} {prop.storage or ''} cannot be a vertex attribute",
            )


def _attribute_type(prop: Property) -> tuple[str, int] | None:
    """The accessor's (type, componentType) that stores a property, or None where there is none."""
    if prop.array or prop.type in ("STRING", "BOOLEAN") or prop.storage not in _ATTRIBUTE_TYPES:
        return None
    return ("SCALAR" if prop.enum else prop.type), _ATTRIBUTE_TYPES[str(prop.storage)]


def _check_texture(gltf: Gltf, item: dict[str, Any], schema: Schema, where: Where) -> None:
    """Every texel of every property: type, channels, enum values, min and max."""
    for name, (prop, info) in _class(item, schema, where).items():
        at = where / "properties" / name
        size = _texel_bytes(prop)
        if size is None:
            at.error("METADATA_TYPE_UNSUPPORTED", f"{prop.type} (array: {prop.array}) cannot be stored in a texture")
            continue
        image = pixels(gltf, int(info["index"]), at)
        chosen = None if image is None else channels(info, image, at)
        if image is None or chosen is None:
            continue
        if len(chosen) != size:
            (at / "channels").error(
                "TEXTURE_CHANNELS_SIZE", f"{len(chosen)} channels hold {len(chosen)} bytes, a value has {size}"
            )
            continue
        _check_texels(prop, np.ascontiguousarray(image[..., chosen]).reshape(-1, size), info, at)


def _texel_bytes(prop: Property) -> int | None:
    """Bytes of one value, or None for what a texel cannot hold."""
    if prop.type == "STRING" or prop.variable:
        return None
    if prop.type == "BOOLEAN":
        return ((prop.count or 1) + 7) // 8
    size = COMPONENT_DTYPES[str(prop.storage)].itemsize * prop.components * (prop.count or 1)
    return size if size <= 4 else None


def _check_texels(prop: Property, texels: NDArray[np.uint8], info: dict[str, Any], where: Where) -> None:
    if prop.type == "BOOLEAN":
        return
    raw = texels.view(COMPONENT_DTYPES[str(prop.storage)])
    if prop.enum is not None:
        _check_enum(prop, raw, where)
        return
    shape = (*([prop.count] if prop.array else []), *([prop.components] if prop.components > 1 else []))
    raw = raw.reshape(len(texels), *shape)
    check_bounds(prop, raw, transform(prop, raw, info), info, where)


def _check_enum(prop: Property, raw: NDArray[Any], where: Where) -> None:
    known = set(prop.enum.values.values()) if prop.enum else set()
    unknown = sorted(set(np.unique(raw).tolist()) - known)
    if unknown:
        where.error("METADATA_ENUM_UNKNOWN", f"{unknown[:5]} are not values of the enum")


def check_primitive_metadata(gltf: Gltf, primitive: Primitive, metadata: FileMetadata) -> None:
    """Check what a mesh primitive says about property textures and attributes, and the attributes' values."""
    mesh, index = (int(part) for part in primitive.pointer.split("/")[2::2])
    source = gltf.json["meshes"][mesh]["primitives"][index]
    value = source.get("extensions", {}).get(EXTENSION)
    if value is None:
        return
    where = gltf.where / "meshes" / mesh / "primitives" / index / "extensions" / EXTENSION
    top = gltf.extension(EXTENSION)
    if not isinstance(top, dict):
        where.error("STRUCTURAL_METADATA_MISSING", f"the glTF has no top-level {EXTENSION}")
        return
    if not _PRIMITIVE.check(value, where) or not metadata.sound:
        return
    for kind in ("propertyTextures", "propertyAttributes"):
        for i, number in enumerate(value.get(kind, ())):
            at = where / kind / i
            if number >= len(top.get(kind, ())):
                at.error("JSON_RANGE", f"{kind}[{number}] does not exist")
            elif kind == "propertyTextures":
                for info in top[kind][number].get("properties", {}).values():
                    check_tex_coord(source, info, at)
            elif metadata.schema is not None:
                _check_attribute_values(gltf, source, top[kind][number], metadata.schema, at)


def _check_attribute_values(
    gltf: Gltf, source: dict[str, Any], item: dict[str, Any], schema: Schema, where: Where
) -> None:
    """Accessors of a property attribute: present, of the property's type, values in bounds."""
    properties = schema.classes.get(item["class"], {})
    for name, given in item.get("properties", {}).items():
        prop = properties.get(name)
        wanted = _attribute_type(prop) if prop is not None and prop.sound else None
        if prop is None or wanted is None:
            continue  # reported where the schema or the property attribute stands
        if not check_modifiers(prop, {k: given[k] for k in _MODIFIERS if k in given}, Where(Report(), "")):
            continue  # likewise
        at = where / "properties" / name
        number = source["attributes"].get(given["attribute"])
        if number is None:
            at.error("METADATA_ATTRIBUTE_MISSING", f"the primitive has no attribute {given['attribute']}")
            continue
        raw = gltf.accessor(number, at)
        if raw is None:
            continue
        a = gltf.json["accessors"][number]
        if (a["type"], a["componentType"]) != wanted or a.get("normalized", False) != prop.normalized:
            at.error(
                "METADATA_ATTRIBUTE_TYPE",
                f"the accessor is {a['type']} of {a['componentType']}, the property needs {wanted[0]} of {wanted[1]}",
            )
        elif prop.enum is not None:
            _check_enum(prop, raw, at)
        else:
            assert WIDTHS[a["type"]] == prop.components
            check_bounds(prop, raw, transform(prop, raw, given), given, at)
