"""EXT_mesh_features (ids per vertex or texel) and EXT_instance_features (ids per instance)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .gltf import Gltf
from .issues import Where
from .scene import FeatureIds, Primitive
from .shape import IDENTIFIER, INDEX, List, Num, Obj, Shape, Text
from .tables import PropertyTable
from .textures import TEXTURE_INFO, channels, check_tex_coord, combine, pixels, sample

_COMMON: dict[str, Shape] = {
    "nullFeatureId": INDEX,
    "label": Text(1, IDENTIFIER),
    "attribute": INDEX,
    "propertyTable": INDEX,
}
_REQUIRED: dict[str, Shape] = {"featureCount": Num(low=1, whole=True)}
_MESH = Obj(
    {"featureIds": List(Obj(_REQUIRED, {**_COMMON, "texture": TEXTURE_INFO}, at_most_one=(("attribute", "texture"),)), 1)}
)
_INSTANCE = Obj({"featureIds": List(Obj(_REQUIRED, _COMMON), 1)})

#: What an id attribute may be stored as; float32 is exact up to 2^24. Instances are free to use 32-bit integers.
_VERTEX_TYPES = {5121, 5123, 5126}
_INSTANCE_TYPES = {5121, 5123, 5125, 5126}

Tables = list[PropertyTable | None]


def check_mesh_features(gltf: Gltf, primitive: Primitive, tables: Tables | None) -> None:
    """Check the primitive's feature ids and hang them on it. ``tables``: None without EXT_structural_metadata."""
    mesh, index = (int(part) for part in primitive.pointer.split("/")[2::2])
    source = gltf.json["meshes"][mesh]["primitives"][index]
    value = source.get("extensions", {}).get("EXT_mesh_features")
    if value is None:
        return
    where = gltf.where / "meshes" / mesh / "primitives" / index / "extensions" / "EXT_mesh_features"
    if not _MESH.check(value, where):
        return
    for i, item in enumerate(value["featureIds"]):
        at = where / "featureIds" / i
        if "texture" in item:
            found, per_vertex = _from_texture(gltf, source, primitive, item["texture"], at / "texture")
        elif "attribute" in item:
            found = _from_accessor(gltf, source["attributes"], item["attribute"], _VERTEX_TYPES, at)
            per_vertex = found
        else:
            found = per_vertex = np.arange(len(primitive.local), dtype=np.int64)
        if found is not None:
            _check_ids(found, item, tables, at)
        if per_vertex is not None:
            primitive.feature_ids.append(_feature_ids(per_vertex, item))


def check_instance_features(gltf: Gltf, primitive: Primitive, tables: Tables | None) -> None:
    """Same for the instances of the primitive's node."""
    node = gltf.json["nodes"][primitive.node].get("extensions", {})
    value = node.get("EXT_instance_features")
    if value is None:
        return
    where = gltf.where / "nodes" / primitive.node / "extensions" / "EXT_instance_features"
    if "EXT_mesh_gpu_instancing" not in node:
        where.error("INSTANCING_INVALID", "the node has no EXT_mesh_gpu_instancing")
        return
    if not _INSTANCE.check(value, where):
        return
    attributes = node["EXT_mesh_gpu_instancing"]["attributes"]
    for i, item in enumerate(value["featureIds"]):
        at = where / "featureIds" / i
        if "attribute" in item:
            ids = _from_accessor(gltf, attributes, item["attribute"], _INSTANCE_TYPES, at)
        else:
            ids = np.arange(primitive.instances, dtype=np.int64)
        if ids is not None:
            _check_ids(ids, item, tables, at)
            primitive.instance_feature_ids.append(_feature_ids(ids, item))


def _feature_ids(ids: NDArray[np.int64], item: dict[str, Any]) -> FeatureIds:
    return FeatureIds(ids, item["featureCount"], item.get("label"), item.get("propertyTable"), item.get("nullFeatureId"))


def _from_accessor(
    gltf: Gltf, attributes: dict[str, int], number: int, allowed: set[int], where: Where
) -> NDArray[np.int64] | None:
    name, at = f"_FEATURE_ID_{number}", where / "attribute"
    if name not in attributes:
        at.error("FEATURE_ID_ATTRIBUTE_MISSING", f"there is no attribute {name}")
        return None
    raw = gltf.accessor(attributes[name], at)
    if raw is None:
        return None
    a = gltf.json["accessors"][attributes[name]]
    wrong = [
        f"its type is {a['type']}, must be SCALAR" if a["type"] != "SCALAR" else "",
        f"its component type is {a['componentType']}" if a["componentType"] not in allowed else "",
        "it is normalized" if a.get("normalized") else "",
        "ids must be whole numbers >= 0" if raw.dtype.kind == "f" and np.any((raw < 0) | (raw % 1 != 0)) else "",
    ]
    for reason in filter(None, wrong):
        at.error("FEATURE_ID_ACCESSOR_INVALID", f"the accessor of {name} cannot hold ids: {reason}")
    return None if any(wrong) else raw.astype(np.int64)


def _from_texture(
    gltf: Gltf, source: dict[str, Any], primitive: Primitive, info: dict[str, Any], where: Where
) -> tuple[NDArray[np.int64] | None, NDArray[np.int64] | None]:
    """All ids in the texture, and those at the vertices."""
    good = check_tex_coord(source, info, where)
    image = pixels(gltf, int(info["index"]), where)
    if image is None:
        return None, None
    chosen = channels(info, image, where)
    if chosen is None or not good:
        return None, None
    uv = primitive.attributes.get(f"TEXCOORD_{info.get('texCoord', 0)}")
    return combine(image, chosen).ravel(), None if uv is None else sample(image, chosen, uv)


def _check_ids(ids: NDArray[np.int64], item: dict[str, Any], tables: Tables | None, where: Where) -> None:
    """At least as many features as distinct ids; ``featureCount`` is the number of distinct ids at least; ids are rows of the property table."""
    unique = np.unique(ids)
    null = item.get("nullFeatureId")
    real = unique[unique != null] if null is not None else unique
    if len(real) > item["featureCount"]:
        (where / "featureCount").error(
            "FEATURE_COUNT_MISMATCH", f"is {item['featureCount']}, but there are {len(real)} different ids"
        )
    if "propertyTable" not in item:
        return
    at, index = where / "propertyTable", item["propertyTable"]
    if tables is None or index >= len(tables):
        at.error("FEATURE_TABLE_MISSING", f"the property table {index} does not exist")
        return
    table = tables[index]
    if table is not None and item["featureCount"] > table.count:
        (where / "featureCount").warning("FEATURE_COUNT_MISMATCH", f"is {item['featureCount']}, but the table has {table.count} rows")
    if table is not None and len(real) and real[-1] >= table.count:
        where.error("FEATURE_ID_RANGE", f"the id {real[-1]} has no row in the table of {table.count} rows")
