"""A glTF written again without extensions that a client must know: the body of a b3dm (see `legacy`).

Columns become plain: float32 positions, normals and texture coordinates (quantised numbers are exact in float32), whole
buffers instead of packed ones, `_BATCHID` instead of feature ids, nodes instead of instances, PNG or JPEG instead of WebP.
"""

from __future__ import annotations

import io
import json
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tiling.check import Model, Primitive
from tiling.check.gltf import Gltf, normalised
from tiling.check.scene import _instances as instances_of
from tiling.encoding.gltf import container
from twin.errors import BadTileset

Array = NDArray[Any]
_COMPONENT = {"b": 5120, "B": 5121, "h": 5122, "H": 5123, "I": 5125, "f": 5126}
_SHAPE = {1: "SCALAR", 2: "VEC2", 3: "VEC3", 4: "VEC4"}


@dataclass
class PlainGltf:
    """Writes a glTF again without extensions. `starts`: first batch row of each property table; `rows`: of the batch table."""

    model: Model
    starts: list[int]
    rows: int
    body: bytearray = field(default_factory=bytearray)
    views: list[dict[str, Any]] = field(default_factory=list)
    accessors: list[dict[str, Any]] = field(default_factory=list)

    def glb(self) -> bytes:
        """The file."""
        old = self.model.gltf.json
        first: dict[str, Primitive] = {}
        for primitive in self.model.primitives:
            first.setdefault(primitive.pointer, primitive)
        meshes = [{"primitives": [self._primitive(p, first.get(f"/meshes/{m}/primitives/{j}")) for j, p in enumerate(mesh["primitives"])]}
                  for m, mesh in enumerate(old["meshes"])]  # fmt: skip
        nodes = [{k: v for k, v in node.items() if k in ("name", "mesh", "children", "matrix", "translation", "rotation", "scale")} for node in old["nodes"]]
        self._instances(nodes, meshes)
        document: dict[str, Any] = {"asset": {"version": "2.0", "generator": "Wuyi Twin"}, "scene": old.get("scene", 0), "scenes": old["scenes"], "nodes": nodes, "meshes": meshes}
        document |= self._look(old)
        document |= {"accessors": self.accessors, "bufferViews": self.views}
        self.body += b"\0" * (-len(self.body) % 8)
        document["buffers"] = [{"byteLength": len(self.body)}]
        return container(document, bytes(self.body))

    def _primitive(self, old: dict[str, Any], decoded: Primitive | None) -> dict[str, Any]:
        gltf = self.model.gltf
        attributes: dict[str, int] = {}
        for name, index in old["attributes"].items():
            column = _column(gltf, index)
            plain = normalised(column, gltf.json["accessors"][index]) if gltf.json["accessors"][index].get("normalized") else column
            if name == "POSITION":
                attributes[name] = self._vertices(plain.astype(np.float32), bounds=True)
            elif name == "NORMAL":
                attributes[name] = self._vertices((plain / np.maximum(np.linalg.norm(plain, axis=1, keepdims=True), 1e-12)).astype(np.float32))
            elif name.startswith("TEXCOORD"):
                attributes[name] = self._vertices(_moved_uv(plain, gltf.json, old).astype(np.float32))
            elif name.startswith("COLOR"):
                attributes[name] = self._vertices(column if column.dtype.char in "BHf" else plain.astype(np.float32), normalized=column.dtype.char in "BH")
            elif not name.startswith("_FEATURE_ID_"):
                attributes[name] = self._vertices(column.astype(np.float32) if column.dtype.char == "I" else column)
        if decoded is not None and decoded.feature_ids:
            attributes["_BATCHID"] = self._vertices(_ids(self._batch(decoded.feature_ids[0])))
        value: dict[str, Any] = {"attributes": attributes, "mode": old.get("mode", 4)}
        if "indices" in old:
            indices = _column(gltf, old["indices"]).ravel()
            kind = np.uint16 if len(indices) and int(indices.max()) < 65_535 else np.uint32
            view = self._view(indices.astype(kind).tobytes(), 34963)
            self.accessors.append({"bufferView": view, "componentType": _COMPONENT[np.dtype(kind).char], "count": len(indices), "type": "SCALAR"})
            value["indices"] = len(self.accessors) - 1
        return value | ({"material": old["material"]} if "material" in old else {})

    def _batch(self, ids: Any) -> Array:
        """Rows of the batch table; ids that mean "none" are its last row."""
        if ids.property_table is None:
            raise BadTileset(f"{self.model.gltf.where.uri} has feature ids without a property table.", "Tile the layer again.")
        rows = ids.ids + self.starts[ids.property_table]
        return rows if ids.null_id is None else np.where(ids.ids == ids.null_id, self.rows - 1, rows)

    def _instances(self, nodes: list[dict[str, Any]], meshes: list[dict[str, Any]]) -> None:
        """Nodes with instances get a child for each, over the same buffers, with the batch id of the instance."""
        groups: dict[int, list[Primitive]] = {}
        for primitive in self.model.primitives:
            groups.setdefault(primitive.node, []).append(primitive)
        for index, node in enumerate(self.model.gltf.json["nodes"]):
            if "EXT_mesh_gpu_instancing" not in node.get("extensions", {}) or index not in groups:
                continue
            first = groups[index][0]
            ids = self._batch(first.instance_feature_ids[0]) if first.instance_feature_ids else None
            mesh = nodes[index].pop("mesh")
            children = nodes[index].setdefault("children", [])
            for number, matrix in enumerate(_local_instances(self.model, node)):
                parts = meshes[mesh]["primitives"]
                if ids is not None:
                    parts = [p | {"attributes": p["attributes"] | {"_BATCHID": self._vertices(_ids(np.full(len(d.local), ids[number])))}}
                             for p, d in zip(parts, groups[index], strict=True)]  # fmt: skip
                    meshes.append({"primitives": parts})
                children.append(len(nodes))
                nodes.append({"mesh": mesh if ids is None else len(meshes) - 1, "matrix": [float(v) for v in matrix.T.ravel()]})
        drawn = sorted({n["mesh"] for n in nodes if "mesh" in n})
        for node in nodes:
            if "mesh" in node:
                node["mesh"] = drawn.index(node["mesh"])
        meshes[:] = [meshes[i] for i in drawn]

    def _look(self, old: dict[str, Any]) -> dict[str, Any]:
        """Materials, textures and pictures that need no extension."""
        result: dict[str, Any] = {}
        if "materials" in old:
            result["materials"] = json.loads(json.dumps(old["materials"]))
            for material in result["materials"]:
                _drop_texture_transforms(material)
                if material.get("extensions", {}).keys() - {"KHR_materials_unlit"}:
                    raise BadTileset(f"{self.model.gltf.where.uri}: a material needs {min(material['extensions'])}.", "It cannot be written as 3D Tiles 1.0.")
            if any("extensions" in m for m in result["materials"]):
                result["extensionsUsed"] = ["KHR_materials_unlit"]
        if "textures" in old:
            result["textures"] = [{k: v for k, v in t.items() if k in ("sampler", "name")} | {"source": _source(t)} for t in old["textures"]]
            result["images"] = [self._image(i) for i in range(len(old["images"]))]
        return result | ({"samplers": old["samplers"]} if "samplers" in old else {})

    def _image(self, index: int) -> dict[str, Any]:
        data = self.model.gltf.view(self.model.gltf.json["images"][index].get("bufferView", -1))
        if data is None:
            raise BadTileset(f"{self.model.gltf.where.uri}: the image {index} is not inside the tile.", "Tile the layer again.")
        data, kind = _plain_picture(bytes(data))
        return {"bufferView": self._view(data), "mimeType": kind}

    def _vertices(self, column: Array, *, normalized: bool = False, bounds: bool = False) -> int:
        column = column.reshape(len(column), -1)
        stride = -(-column.shape[1] * column.itemsize // 4) * 4
        padded = np.zeros((len(column), stride // column.itemsize), column.dtype)
        padded[:, : column.shape[1]] = column
        accessor: dict[str, Any] = {"bufferView": self._view(padded.tobytes(), 34962, stride), "componentType": _COMPONENT[column.dtype.char],
                                    "count": len(column), "type": _SHAPE[column.shape[1]]}  # fmt: skip
        if normalized:
            accessor["normalized"] = True
        if bounds:
            accessor |= {"min": column.min(axis=0).tolist(), "max": column.max(axis=0).tolist()}
        self.accessors.append(accessor)
        return len(self.accessors) - 1

    def _view(self, data: bytes, target: int | None = None, stride: int | None = None) -> int:
        self.body += b"\0" * (-len(self.body) % 4)
        self.views.append({"buffer": 0, "byteOffset": len(self.body), "byteLength": len(data)} | ({"byteStride": stride} if stride else {}) | ({"target": target} if target else {}))
        self.body += data
        return len(self.views) - 1


def _ids(rows: Array) -> Array:
    """Batch ids as float32, four bytes a row: some readers of old tiles do not look at the stride that fewer bytes would need."""
    if int(rows.max(initial=0)) >= 1 << 24:
        raise BadTileset("A tile holds more than 16,777,216 features.", "Use smaller tiles.")
    return rows.astype(np.float32)


def _column(gltf: Gltf, index: int) -> Array:
    values = gltf.accessor(index, gltf.where)
    if values is None:
        raise BadTileset(f"{gltf.where.uri}: the accessor {index} cannot be read.", "Tile the layer again.")
    return values


def _local_instances(model: Model, node: dict[str, Any]) -> NDArray[np.float64]:
    """(K, 4, 4) matrices of a node's instances, in the node's own frame."""
    found = instances_of(model.gltf, node, model.gltf.where)
    if found is None:
        raise BadTileset(f"{model.gltf.where.uri}: the instances cannot be read.", "Tile the layer again.")
    return found


def _moved_uv(uv: Array, document: dict[str, Any], primitive: dict[str, Any]) -> Array:
    """Texture coordinates with the material's KHR_texture_transform applied (offset and scale; a rotation is refused)."""
    if "material" not in primitive:
        return uv
    texture = document["materials"][primitive["material"]].get("pbrMetallicRoughness", {}).get("baseColorTexture", {})
    moved = texture.get("extensions", {}).get("KHR_texture_transform")
    if moved is None:
        return uv
    if moved.get("rotation"):
        raise BadTileset("A texture is turned by KHR_texture_transform.", "It cannot be written as 3D Tiles 1.0.")
    return np.asarray(uv * moved.get("scale", [1, 1]) + moved.get("offset", [0, 0]))


def _drop_texture_transforms(material: dict[str, Any]) -> None:
    texture = material.get("pbrMetallicRoughness", {}).get("baseColorTexture", {})
    texture.get("extensions", {}).pop("KHR_texture_transform", None)
    if texture.get("extensions") == {}:
        del texture["extensions"]


def _source(texture: dict[str, Any]) -> int:
    for extension in texture.get("extensions", {}).values():
        if "source" in extension:
            return int(extension["source"])
    return int(texture["source"])


def _plain_picture(data: bytes) -> tuple[bytes, str]:
    """A picture that every client reads: PNG and JPEG as they are, WebP as PNG where it has opacity, else as JPEG."""
    if data[:4] == b"\x89PNG":
        return data, "image/png"
    if data[:2] == b"\xff\xd8":
        return data, "image/jpeg"
    try:
        picture = Image.open(io.BytesIO(data))
        out = io.BytesIO()
        clear = picture.mode in ("RGBA", "LA", "P")
        picture.convert("RGBA" if clear else "RGB").save(out, "PNG" if clear else "JPEG", **({} if clear else {"quality": 92}))
    except OSError as error:
        raise BadTileset("A picture is neither PNG, JPEG nor WebP.", "Tile the layer with --option compression=none.") from error
    return out.getvalue(), "image/png" if clear else "image/jpeg"
