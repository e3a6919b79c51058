"""Sentences of glTF 2.0 about the document as a whole, which no single value shows and decoding does not need."""

from __future__ import annotations

import re
from typing import Any

from .issues import Where

#: 3.7.2.1: any other name begins with an underscore, or is an extension's and has its prefix.
_ATTRIBUTE = re.compile(r"POSITION|NORMAL|TANGENT|(TEXCOORD|COLOR|JOINTS|WEIGHTS)_(0|[1-9]\d*)|_.*|\w+:.*")
_VERSION = re.compile(r"\d+\.\d+")


def check_rules(value: dict[str, Any], where: Where) -> None:
    """A structurally sound glTF: 3.2 (versions), 3.5.2 (nodes form trees), 3.6.2.2 (what may be normalized), 3.7.2.1 (names of attributes)."""
    _least_version(value["asset"], where / "asset" / "minVersion")
    parents: dict[int, int] = {}
    for number, node in enumerate(value.get("nodes", [])):
        for child in node.get("children", []):
            first = parents.setdefault(child, number)
            if first != number:
                (where / "nodes" / number).error("GLTF_REFERENCE", f"the node {child} is a child of the node {first} already; nodes form trees")
    for scene in range(len(value.get("scenes", []))):
        for root in value["scenes"][scene].get("nodes", []):
            if root in parents:
                (where / "scenes" / scene).error("GLTF_REFERENCE", f"the node {root} is a child of the node {parents[root]}; a scene lists roots")
    for number, accessor in enumerate(value.get("accessors", [])):
        if accessor.get("normalized") and accessor["componentType"] in (5125, 5126):
            (where / "accessors" / number).error("GLTF_VALUE_INVALID", "numbers of 32 bits cannot be normalized")
    for number, mesh in enumerate(value.get("meshes", [])):
        for place, primitive in enumerate(mesh["primitives"]):
            for name in primitive["attributes"]:
                if not _ATTRIBUTE.fullmatch(name):
                    at = where / "meshes" / number / "primitives" / place / "attributes"
                    at.error("GLTF_ATTRIBUTE_NAME", f"{name} is no attribute of glTF; one's own begin with an underscore")


def _least_version(asset: dict[str, Any], where: Where) -> None:
    version, least = asset["version"], asset.get("minVersion", asset["version"])
    if not _VERSION.fullmatch(least):
        where.error("ASSET_VERSION_UNKNOWN", f"{least!r} is no version; they are written major.minor")
    elif [int(part) for part in least.split(".")] > [int(part) for part in version.split(".")]:
        where.error("ASSET_VERSION_UNKNOWN", f"{least} is above the asset's version {version}")
