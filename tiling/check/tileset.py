"""What a tileset.json says apart from its tiles: asset, extensions, schema, groups, statistics, properties."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from .issues import Where
from .jsonfile import parse_json
from .metadata_model import Schema
from .schema import check_schema
from .shape import kind
from .source import Source, fetch
from .statistics import check_statistics
from .tileset_shapes import TILESET
from .values import check_entity

#: Tileset extensions that this check understands.
KNOWN_EXTENSIONS = {"3DTILES_content_gltf", "MAXAR_content_3tz"}


@dataclass
class Tileset:
    """A tileset.json that is sound enough to be walked. ``extensions``: found in it, or in what it refers to."""

    uri: str
    json: dict[str, Any]
    where: Where
    source: Source
    schema: Schema | None = None
    groups: int = 0
    extensions: set[str] = field(default_factory=set)

    @property
    def schema_given(self) -> bool:
        """Does the tileset name a schema (even a broken one)?"""
        return "schema" in self.json or "schemaUri" in self.json

    @property
    def version(self) -> str:
        """The 3D Tiles version it claims."""
        return str(self.json["asset"]["version"])

    @property
    def up(self) -> str:
        """The up axis of glTF content: y by the standard, else the deprecated ``gltfUpAxis``."""
        return str(self.json["asset"].get("gltfUpAxis", "Y")).upper()


def open_tileset(data: bytes, uri: str, source: Source, where: Where) -> Tileset | None:
    """Parse and check the top level; None, with findings, when the tiles cannot be walked."""
    value = parse_json(data, where)
    if value is None or (not TILESET.check(value, where) and not _walkable(value)):
        return None
    where.report.tilesets += 1
    tileset = Tileset(uri, value, where, source)
    version = value["asset"]["version"]
    if version not in ("1.0", "1.1"):
        (where / "asset" / "version").warning("ASSET_VERSION_UNKNOWN", f"is {version!r}; known are 1.0 and 1.1")
    tileset.schema = _schema(tileset)
    _check_groups(tileset)
    if "metadata" in value:
        check_entity(value["metadata"], tileset.schema, where / "metadata", given=tileset.schema_given)
    if isinstance(value.get("statistics"), dict):
        check_statistics(value["statistics"], tileset.schema, where / "statistics" / "classes", given=tileset.schema_given)
    _check_properties(value.get("properties"), where / "properties")
    tileset.extensions = found_extensions(value)
    return tileset


def _walkable(value: Any) -> bool:
    """After a structural finding: is there still a tree to look at?"""
    if not isinstance(value, dict) or not isinstance(value.get("root"), dict):
        return False
    asset = value.get("asset")
    return isinstance(asset, dict) and isinstance(asset.get("version"), str)


def _schema(tileset: Tileset) -> Schema | None:
    value, where = tileset.json, tileset.where
    if "schema" in value:
        return check_schema(value["schema"], where / "schema")
    if isinstance(value.get("schemaUri"), str):
        found = fetch(tileset.source, tileset.uri, value["schemaUri"], where / "schemaUri")
        if found is not None:
            at = Where(where.report, found[0])
            parsed = parse_json(found[1], at)
            return None if parsed is None else check_schema(parsed, at)
    return None


def _check_groups(tileset: Tileset) -> None:
    groups = tileset.json.get("groups")
    if not isinstance(groups, list):
        return
    tileset.groups = len(groups)
    for i, group in enumerate(groups):
        if isinstance(group, dict) and isinstance(group.get("class"), str):  # else reported with the structure
            check_entity(group, tileset.schema, tileset.where / "groups" / i, given=tileset.schema_given)


def _check_properties(value: Any, where: Where) -> None:
    for name, item in value.items() if isinstance(value, dict) else ():
        low, high = (item.get(k) if isinstance(item, dict) else None for k in ("minimum", "maximum"))
        if isinstance(low, int | float) and isinstance(high, int | float) and low > high:
            (where / name).error("PROPERTIES_RANGE", f"the minimum {low} is greater than the maximum {high}")


def found_extensions(value: Any) -> set[str]:
    """Names of all extension objects anywhere in a JSON value, outside of ``extras``."""
    found: set[str] = set()
    stack = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, dict):
            if isinstance(item.get("extensions"), dict):
                found |= {n for n, v in item["extensions"].items() if isinstance(v, dict)}
            stack.extend(v for k, v in item.items() if k != "extras")
        elif isinstance(item, list):
            stack.extend(item)
    return found


def check_extensions(tileset: Tileset) -> None:
    """Check the lists: all that is used here and below is in extensionsUsed, extensionsRequired is a part of it."""
    value, where = tileset.json, tileset.where
    used, required = (_names(value.get(n)) for n in ("extensionsUsed", "extensionsRequired"))
    for name in sorted(tileset.extensions - used):
        (where / "extensionsUsed").error("EXTENSION_UNDECLARED", f"{name} is used, but not listed here")
    for name in sorted(required - used):
        (where / "extensionsRequired").error("EXTENSION_UNDECLARED", f"{name} is not listed in extensionsUsed")
    for name in sorted(used - tileset.extensions - KNOWN_EXTENSIONS):
        (where / "extensionsUsed").warning("EXTENSION_UNUSED", f"{name} is listed, but not used")
    for name in sorted((used | tileset.extensions) - KNOWN_EXTENSIONS):
        where.warning("EXTENSION_UNKNOWN", f"this check does not know {name}; what it says was not checked")
    if "MAXAR_content_3tz" in tileset.extensions - required:
        (where / "extensionsRequired").error("EXTENSION_NOT_REQUIRED", "MAXAR_content_3tz must be listed as required")


def _names(value: Any) -> set[str]:
    return {n for n in value if isinstance(n, str)} if isinstance(value, list) else set()


def check_refine(tile: dict[str, Any], inherited: str | None, where: Where) -> str | None:
    """The effective refine of a tile: its own, else its parent's; a root must have its own."""
    value = tile.get("refine", inherited)
    if value is None:
        where.error("REFINE_MISSING", "the root tile must have refine: ADD or REPLACE")
        return "REPLACE"
    at = where / "refine"
    if not isinstance(value, str):
        at.error("JSON_TYPE", f"must be a string, found {kind(value)}")
    elif value in ("ADD", "REPLACE"):
        return value
    elif value.upper() in ("ADD", "REPLACE"):
        at.warning("REFINE_CASE", f"is {value!r}, should be upper case")
        return value.upper()
    else:
        at.error("JSON_VALUE", f"is {value!r}, must be ADD or REPLACE")
    return inherited or "REPLACE"
