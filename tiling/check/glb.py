"""Decoding and checking one glTF content as a whole: geometry, feature ids, metadata."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from twin.errors import BadTileset

from .gltf import Gltf, Read, open_gltf
from .issues import Report, Where
from .ktx2 import check_basisu
from .materials import check_materials
from .mesh_features import check_instance_features, check_mesh_features
from .metadata_model import Schema
from .scene import F64, X_UP, Z_UP, Primitive, primitives
from .structural_metadata import check_primitive_metadata, check_structural_metadata
from .tables import PropertyTable

#: Extensions this check understands, or that do not change where things stand.
KNOWN = {
    "EXT_mesh_features", "EXT_instance_features", "EXT_structural_metadata", "EXT_mesh_gpu_instancing",
    "EXT_meshopt_compression", "KHR_meshopt_compression", "KHR_mesh_quantization", "KHR_texture_transform", "KHR_texture_basisu",
    "EXT_texture_webp", "CESIUM_RTC", "CESIUM_primitive_outline",
}  # fmt: skip
UP_AXES: dict[str, F64 | None] = {"X": X_UP, "Y": Z_UP, "Z": None}


@dataclass
class Model:
    """A decoded glTF."""

    gltf: Gltf
    primitives: list[Primitive] = field(default_factory=list)
    tables: list[PropertyTable | None] = field(default_factory=list)
    schema: Schema | None = None


def _nothing(uri: str, where: Where) -> bytes | None:
    where.error("RESOURCE_MISSING", f"{uri[:80]!r} lies outside of these bytes and cannot be read here")
    return None


def load_model(data: bytes, read: Read, where: Where, up: str = "Y") -> Model | None:
    """Check and decode .glb or .gltf bytes into z-up tile coordinates.

    ``up``: the axis that points up in the file: "Y" by the standards, others only for the deprecated
    ``gltfUpAxis`` of old tilesets. None, with findings, when the structure is too broken.
    """
    gltf = open_gltf(data, read, where)
    with np.errstate(all="ignore"):  # absurd numbers become infinities, which no volume contains
        return None if gltf is None else _model(gltf, UP_AXES.get(up, Z_UP))


def _model(gltf: Gltf, up: F64 | None) -> Model:
    check_basisu(gltf)
    check_materials(gltf)
    metadata = check_structural_metadata(gltf)
    tables = metadata.tables
    model = Model(gltf, tables=tables or [], schema=metadata.schema)
    seen_nodes: set[int] = set()
    seen_primitives: dict[str, Primitive] = {}
    for primitive in primitives(gltf, up):
        first = seen_primitives.setdefault(primitive.pointer, primitive)
        if first is primitive:  # a mesh that two nodes draw is checked once
            check_mesh_features(gltf, primitive, tables)
            check_primitive_metadata(gltf, primitive, metadata)
        else:
            primitive.feature_ids = first.feature_ids
        if primitive.node not in seen_nodes:
            check_instance_features(gltf, primitive, tables)
            seen_nodes.add(primitive.node)
        else:
            primitive.instance_feature_ids = next(
                p.instance_feature_ids for p in model.primitives if p.node == primitive.node
            )
        primitive.tables = model.tables
        model.primitives.append(primitive)
    centre = gltf.extension("CESIUM_RTC")
    if isinstance(centre, dict) and isinstance(centre.get("center"), list) and len(centre["center"]) == 3:
        for primitive in model.primitives:
            primitive.transforms[:, :3, 3] += centre["center"]
    for name in gltf.json.get("extensionsRequired", []):
        if name not in KNOWN and name != "KHR_draco_mesh_compression":
            gltf.where.warning("EXTENSION_UNKNOWN", f"requires {name}, which this check does not know")
    return model


def decode_glb(data: bytes, *, z_up: bool = True, read: Read | None = None) -> list[Primitive]:
    """Decode a .glb (or self-contained .gltf) for other code and tests.

    World positions are float64 in metres; ``z_up``: turned into 3D Tiles tile coordinates, else as the
    glTF scene has them (y-up). Property tables hang on every primitive as ``tables``.

    Raises BadTileset, naming the first finding, when anything in the file is wrong.
    """
    report = Report()
    model = load_model(data, read or _nothing, Where(report, "glb"), "Y" if z_up else "Z")
    if model is None or not report.ok:
        raise BadTileset(str(report.errors[0]), "Check the file with `twin check`, which lists every finding.")
    return model.primitives


__all__ = ["KNOWN", "Model", "decode_glb", "load_model"]
