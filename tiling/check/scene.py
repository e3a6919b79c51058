"""From glTF to geometry: every mesh primitive of the scene at its world position, with its feature ids.

glTF is y-up; 3D Tiles turns its content z-up, (x, y, z) -> (x, -z, y), before the tile's transform
(3D Tiles 1.1, "glTF transforms").
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .attributes import check_attribute
from .gltf import Gltf, normalised
from .issues import Where
from .shape import INDEX, Map, Obj
from .tables import PropertyTable

F64 = NDArray[np.float64]

Z_UP: F64 = np.array([[1, 0, 0, 0], [0, 0, -1, 0], [0, 1, 0, 0], [0, 0, 0, 1]], dtype=np.float64)
X_UP: F64 = np.array([[0, -1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]], dtype=np.float64)

#: KHR_mesh_quantization allows these component types for POSITION and NORMAL beside 5126 (float).
_QUANTIZED = {5120, 5121, 5122, 5123}


@dataclass(frozen=True)
class FeatureIds:
    """One feature id set: an id per vertex, or per instance; ``null_id`` marks "no feature"."""

    ids: NDArray[np.int64]
    feature_count: int
    label: str | None = None
    property_table: int | None = None
    null_id: int | None = None


@dataclass
class Primitive:
    """One mesh primitive drawn ``len(transforms)`` times (more than once with EXT_mesh_gpu_instancing)."""

    local: F64  # (N, 3) positions in the mesh's frame, dequantised
    transforms: F64  # (K, 4, 4) mesh frame to world
    mode: int  # glTF: 0 points, 1 lines, 4 triangles, ...
    indices: NDArray[np.int64] | None  # as stored; None: 0..N-1
    normals: F64 | None  # (N, 3) world directions of the first instance, unit length
    pointer: str  # /meshes/i/primitives/j
    node: int
    feature_ids: list[FeatureIds] = field(default_factory=list)
    instance_feature_ids: list[FeatureIds] = field(default_factory=list)
    tables: list[PropertyTable | None] = field(default_factory=list)  # of the whole file, shared
    attributes: dict[str, NDArray[Any]] = field(default_factory=dict)  # colours, UVs, _FEATURE_ID_n, ...

    @property
    def instances(self) -> int:
        """How often the primitive is drawn."""
        return len(self.transforms)

    @property
    def positions(self) -> F64:
        """World positions, (K * N, 3) float64, instance after instance."""
        return np.concatenate(list(self.chunks())) if len(self.transforms) else np.empty((0, 3))

    def chunks(self) -> Iterator[F64]:
        """World positions instance by instance, (N, 3) each: what a million trees need."""
        for m in self.transforms:
            yield self.local @ m[:3, :3].T + m[:3, 3]

    def triangles(self) -> NDArray[np.int64]:
        """(T, 3) vertex rows of one instance, strips and fans unrolled; empty for points and lines."""
        order = self.indices if self.indices is not None else np.arange(len(self.local), dtype=np.int64)
        if self.mode == 4:
            return order[: len(order) // 3 * 3].reshape(-1, 3)
        if self.mode == 5:
            rows = np.lib.stride_tricks.sliding_window_view(order, 3).copy() if len(order) > 2 else np.empty((0, 3), np.int64)
            rows[1::2, [0, 1]] = rows[1::2, [1, 0]]
            return rows
        if self.mode == 6 and len(order) > 2:
            return np.stack([np.full(len(order) - 2, order[0]), order[1:-1], order[2:]], axis=1)
        return np.empty((0, 3), np.int64)


def primitives(gltf: Gltf, up: F64 | None) -> list[Primitive]:
    """Every primitive of the default scene (all root nodes where there is no scene). ``up`` is applied last."""
    base = np.eye(4) if up is None else up
    result: list[Primitive] = []
    for index, matrix in _nodes(gltf):
        node = gltf.json["nodes"][index]
        if "mesh" not in node:
            continue
        meshes = gltf.json.get("meshes", [])
        if node["mesh"] >= len(meshes):
            (gltf.where / "nodes" / index / "mesh").error("GLTF_REFERENCE", f"the mesh {node['mesh']} does not exist")
            continue
        transforms = _instances(gltf, node, gltf.where / "nodes" / index)
        if transforms is None:
            continue
        world = base @ matrix @ transforms
        for j, p in enumerate(meshes[node["mesh"]]["primitives"]):
            primitive = _primitive(gltf, p, world, index, f"/meshes/{node['mesh']}/primitives/{j}")
            if primitive is not None:
                result.append(primitive)
    return result


def _nodes(gltf: Gltf) -> Iterator[tuple[int, F64]]:
    """Node indices with their world matrices, parents first; a node reached twice is an error."""
    nodes = gltf.json.get("nodes", [])
    scenes = gltf.json.get("scenes", [])
    scene = gltf.json.get("scene", 0 if scenes else None)
    if scene is not None and scene >= len(scenes):
        (gltf.where / "scene").error("GLTF_REFERENCE", f"the scene {scene} does not exist")
        return
    inner = {c for n in nodes for c in n.get("children", [])}
    roots = scenes[scene].get("nodes", []) if scene is not None else [i for i in range(len(nodes)) if i not in inner]
    stack: list[tuple[int, F64]] = [(i, np.eye(4)) for i in reversed(roots)]
    seen: set[int] = set()
    while stack:
        index, parent = stack.pop()
        at = gltf.where / "nodes" / index
        if index >= len(nodes) or index in seen:
            at.error("GLTF_REFERENCE", "does not exist" if index >= len(nodes) else "is reached twice in the tree")
            continue
        seen.add(index)
        matrix = parent @ _local(nodes[index], at)
        yield index, matrix
        stack.extend((c, matrix) for c in reversed(nodes[index].get("children", [])))


def _local(node: dict[str, Any], where: Where) -> F64:
    if "matrix" in node:
        if {"translation", "rotation", "scale"} & node.keys():
            where.error("JSON_ONE_OF", "has a matrix beside translation, rotation or scale")
        return np.array(node["matrix"], dtype=np.float64).reshape(4, 4).T
    t = np.array([node.get("translation", [0, 0, 0])], dtype=np.float64)
    r = np.array([node.get("rotation", [0, 0, 0, 1])], dtype=np.float64)
    s = np.array([node.get("scale", [1, 1, 1])], dtype=np.float64)
    if abs(float(np.linalg.norm(r)) - 1) > 1e-3:
        (where / "rotation").error("GLTF_VALUE_INVALID", "the rotation is not a unit quaternion")
    return np.asarray(compose(t, r, s)[0])


def compose(t: F64, r: F64, s: F64) -> F64:
    """Translations (K, 3), unit quaternions x y z w (K, 4), scales (K, 3) to matrices (K, 4, 4)."""
    x, y, z, w = (r / np.maximum(np.linalg.norm(r, axis=1, keepdims=True), 1e-12)).T
    m = np.zeros((len(t), 4, 4))
    m[:, 0, 0], m[:, 0, 1], m[:, 0, 2] = 1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)
    m[:, 1, 0], m[:, 1, 1], m[:, 1, 2] = 2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)
    m[:, 2, 0], m[:, 2, 1], m[:, 2, 2] = 2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)
    m[:, :3, :3] *= s[:, None, :]
    m[:, :3, 3] = t
    m[:, 3, 3] = 1
    return m


UNIT = 0.02
"""By how much the length of normals and quaternions may be off: bytes round by half of that (KHR_mesh_quantization)."""
_INSTANCING = Obj(required={"attributes": Map(INDEX, least=1)})
_WANTED = {
    "TRANSLATION": ("VEC3", {5126}),
    "ROTATION": ("VEC4", {5126, 5120, 5122}),
    "SCALE": ("VEC3", {5126}),
}


def _instances(gltf: Gltf, node: dict[str, Any], where: Where) -> F64 | None:
    """(K, 4, 4) instance matrices of EXT_mesh_gpu_instancing; one identity without it; None when broken."""
    value = node.get("extensions", {}).get("EXT_mesh_gpu_instancing")
    if value is None:
        return np.eye(4)[None]
    at = where / "extensions" / "EXT_mesh_gpu_instancing"
    if not _INSTANCING.check(value, at):
        return None
    accessors, arrays = gltf.json.get("accessors", []), dict[str, F64]()
    counts = set[int]()
    for name, index in value["attributes"].items():
        raw = gltf.accessor(index, at / "attributes" / name)
        if raw is None:
            return None
        counts.add(len(raw))
        if name in _WANTED:
            kind, components = _WANTED[name]
            a = accessors[index]
            if a["type"] != kind or a["componentType"] not in components or (a["componentType"] != 5126) != a.get("normalized", False):
                (at / "attributes" / name).error("INSTANCING_INVALID", f"has type {a['type']} of {a['componentType']}")
                return None
            arrays[name] = normalised(raw, a)
        elif not name.startswith("_"):
            (at / "attributes" / name).error("INSTANCING_INVALID", f"is none of {', '.join(_WANTED)}; one's own begin with an underscore")
    turns = arrays.get("ROTATION")
    if turns is not None and not (away := np.abs(np.linalg.norm(turns, axis=1) - 1)).max(initial=0.0) <= UNIT:  # NaN is told where it is read
        k = int(np.nan_to_num(away, nan=-1.0).argmax())
        (at / "attributes" / "ROTATION").error("INSTANCING_INVALID", f"of the instance {k} is no unit quaternion, its length is {np.linalg.norm(turns[k]):.3g}")
    if (flipped := int((arrays.get("SCALE", np.ones((1, 3))).prod(axis=1) < 0).sum())) > 0:
        (at / "attributes" / "SCALE").warning("INSTANCES_MIRRORED", f"turns {flipped} instances inside out, of which clients draw the wrong sides")
    if len(counts) != 1:
        at.error("INSTANCING_INVALID", f"the attributes have different counts {sorted(counts)}")
        return None
    n = counts.pop()
    return compose(
        arrays.get("TRANSLATION", np.zeros((n, 3))),
        arrays.get("ROTATION", np.tile([0.0, 0.0, 0.0, 1.0], (n, 1))),
        arrays.get("SCALE", np.ones((n, 3))),
    )


def _primitive(gltf: Gltf, p: dict[str, Any], world: F64, node: int, pointer: str) -> Primitive | None:
    where = Where(gltf.where.report, gltf.where.uri, gltf.where.pointer + pointer)
    if "KHR_draco_mesh_compression" in p.get("extensions", {}):
        where.warning("EXTENSION_NOT_DECODED", "KHR_draco_mesh_compression: this geometry was not checked")
        return None
    accessors, arrays = gltf.json.get("accessors", []), dict[str, Any]()
    quantized = "KHR_mesh_quantization" in gltf.json.get("extensionsRequired", [])
    for name, index in p["attributes"].items():
        raw = gltf.accessor(index, where / "attributes" / name)
        if raw is not None:
            check_attribute(name, accessors[index], where / "attributes" / name, quantized=quantized)
            arrays[name] = normalised(raw, accessors[index]) if accessors[index].get("normalized") else raw
    counts = {len(v) for v in arrays.values()}
    if len(counts) > 1:
        (where / "attributes").error("GLTF_VERTEX_COUNT", f"the attributes have different counts {sorted(counts)}")
        return None
    if "POSITION" not in arrays:
        if "POSITION" not in p["attributes"]:
            where.warning("GLTF_POSITION_MISSING", "has no POSITION attribute; clients draw nothing")
        return None
    a = accessors[p["attributes"]["POSITION"]]
    at = where / "attributes" / "POSITION"
    if a["type"] != "VEC3" or not (a["componentType"] == 5126 or (quantized and a["componentType"] in _QUANTIZED)):
        at.error("GLTF_POSITION_TYPE", f"is {a['type']} of {a['componentType']}; quantised ones need KHR_mesh_quantization")
        return None
    if "min" not in a or "max" not in a:
        at.error("GLTF_ACCESSOR_BOUNDS", "the accessor of POSITION must have min and max")
    indices = _indices(gltf, p, len(arrays["POSITION"]), where)
    if indices is None and "indices" in p:
        return None
    normals = _normals(arrays.get("NORMAL"), world, where)
    local = np.asarray(arrays.pop("POSITION"), dtype=np.float64)
    return Primitive(local, world, p.get("mode", 4), indices, normals, pointer, node, attributes=arrays)


def _indices(gltf: Gltf, p: dict[str, Any], vertices: int, where: Where) -> NDArray[np.int64] | None:
    if "indices" not in p:
        return None
    at = where / "indices"
    raw = gltf.accessor(p["indices"], at)
    if raw is None:
        return None
    a = gltf.json["accessors"][p["indices"]]
    if a["type"] != "SCALAR" or a["componentType"] not in (5121, 5123, 5125):
        at.error("GLTF_INDEX_TYPE", f"is {a['type']} of {a['componentType']}; must be unsigned SCALAR")
        return None
    indices = raw.astype(np.int64)
    if indices.max() >= vertices:
        at.error("GLTF_INDEX_RANGE", f"has the index {indices.max()}, there are {vertices} vertices")
        return None
    if p.get("mode", 4) == 4 and len(indices) % 3:
        at.error("GLTF_INDEX_RANGE", f"{len(indices)} indices are no whole number of triangles")
    return indices


def _normals(raw: Any, world: F64, where: Where) -> F64 | None:
    """World normals of the first instance: the inverse transpose keeps them perpendicular under any scale."""
    if raw is None or not len(world):
        return None
    local = np.asarray(raw, dtype=np.float64)
    if local.ndim != 2 or local.shape[1] != 3:
        (where / "attributes" / "NORMAL").error("GLTF_NORMAL_TYPE", "must be VEC3")
        return None
    lengths = np.linalg.norm(local, axis=1)
    if np.isfinite(lengths).all() and (bad := np.abs(lengths - 1) > UNIT).any():
        (where / "attributes" / "NORMAL").error("GLTF_VALUE_INVALID", f"{int(bad.sum())} of {len(local)} normals are no unit vectors, the first has a length of {lengths[bad][0]:.3g}")
    matrix = world[0][:3, :3]
    if abs(np.linalg.det(matrix)) < 1e-300:
        return None
    out = local @ np.linalg.inv(matrix)
    return np.asarray(out / np.maximum(np.linalg.norm(out, axis=1, keepdims=True), 1e-300))
