"""A glTF's buffers; what trimesh does not know is written out in plain glTF before it reads the file.

That is: buffer views of EXT_meshopt_compression, primitives of KHR_draco_mesh_compression, sparse accessors, integers that stand for fractions (KHR_mesh_quantization, colours of 16 bits), and the
copies of EXT_mesh_gpu_instancing as nodes of their own; morph targets and skins in their pose (`meshfile_pose`).

What was decoded goes into one more buffer, as a data URI, so that a .gltf and a .glb are mended alike. Indices and sizes in the file are
believed only as far as there are bytes: a few bytes may claim any count.

Sources: glTF 2.0, 3.6 (buffers, accessors, sparse accessors, normalised integers); KHR_draco_mesh_compression; EXT_meshopt_compression;
EXT_mesh_gpu_instancing.
"""

from __future__ import annotations

import base64
import urllib.parse
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ingest_bim.wording import in_words
from twin import registry
from twin.errors import TwinError, UnreadableSource
from twin.model import Report

F64 = NDArray[np.float64]
COPIES = "EXT_mesh_gpu_instancing"
DRACO = "KHR_draco_mesh_compression"
MESHOPT = ("EXT_meshopt_compression", "KHR_meshopt_compression")
TYPES = {5120: np.int8, 5121: np.uint8, 5122: np.int16, 5123: np.uint16, 5125: np.uint32, 5126: np.float32}
CODES = {np.dtype(kind): code for code, kind in TYPES.items()}
FLOAT = 5126
FAN = 6
#: What a normalised integer that means 1 is.
LARGEST = {5120: 127, 5121: 255, 5122: 32767, 5123: 65535}
SIZES = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT4": 16}
#: Values that accessors may have without any bytes (they are zeros by definition), and copies that one file may ask for.
MAX_EMPTY, MAX_COPIES = 1 << 24, 200_000
#: Bytes that one file's compressed parts may become.
MAX_BYTES = 1 << 31


class Buffers:
    """Bytes of a glTF `document` (changed in place): `chunk` is a GLB's own, `beside` gets a file of its folder."""

    def __init__(self, document: dict[str, Any], chunk: bytes, beside: Callable[[str], bytes]) -> None:
        self.document, self.chunk, self.beside = document, chunk, beside
        self.made = bytearray()
        self.place = len(document.setdefault("buffers", []))
        self._read: dict[int, bytes] = {}
        self._plain: dict[tuple[int, str], int] = {}

    def buffer(self, number: int) -> bytes | bytearray:
        """The bytes of a buffer."""
        if number == self.place:
            return self.made  # no copy: there may be thousands of views of it
        if number not in self._read:
            uri = self.document["buffers"][number].get("uri")
            self._read[number] = self.chunk if uri is None else _from_data_uri(uri) if uri.startswith("data:") else self.beside(urllib.parse.unquote(uri))
        return self._read[number]

    def part(self, source: dict[str, Any]) -> bytes:
        """The bytes that a buffer view, or a compressed part of one, names."""
        start, size = int(source.get("byteOffset", 0)), int(source["byteLength"])
        data = bytes(self.buffer(source["buffer"])[start : start + size]) if start >= 0 else b""
        if len(data) != size or size < 0:
            raise ValueError(f"a buffer view of {size} bytes has {len(data)}")
        return data

    def keep(self, values: NDArray[Any]) -> dict[str, Any]:
        """A buffer view on new bytes."""
        self.made += b"\0" * (-len(self.made) % 4)
        start = len(self.made)
        self.made += np.ascontiguousarray(values).tobytes()
        if len(self.made) > MAX_BYTES:
            raise ValueError(f"its compressed parts are more than {MAX_BYTES >> 20} MiB")
        return {"buffer": self.place, "byteOffset": start, "byteLength": len(self.made) - start}

    def accessor(self, values: NDArray[Any], *, normalized: bool = False) -> int:
        """The number of a new accessor of (count,) or (count, components) values."""
        views, accessors = self.document.setdefault("bufferViews", []), self.document.setdefault("accessors", [])
        views.append(self.keep(values))
        kind = next(name for name, size in SIZES.items() if size == (1 if values.ndim == 1 else values.shape[1]))
        accessors.append({"bufferView": len(views) - 1, "componentType": CODES[values.dtype], "count": len(values), "type": kind} | ({"normalized": True} if normalized else {}))
        return len(accessors) - 1

    def plainly(self, number: int, name: str) -> int:
        """The accessor of an attribute (or of `indices`) as one that is dense, and of plain numbers where it is a place, a colour or a texture's."""
        accessor = self.document["accessors"][number]
        drawn = name == "indices" or name.startswith(("POSITION", "COLOR_", "TEXCOORD_"))
        odd = "sparse" in accessor or (name != "indices" and (accessor.get("normalized") or (name == "POSITION" and accessor["componentType"] != FLOAT)))
        if not drawn or not odd:
            return number
        if (number, name) not in self._plain:
            values = self.values(number)
            self._plain[number, name] = self.accessor(values[:, 0].astype(np.uint32) if name == "indices" else values.astype(np.float32))
        return self._plain[number, name]

    def close(self) -> None:
        """Write what was made into the document."""
        if self.made:
            self.document["buffers"].append({"byteLength": len(self.made), "uri": "data:application/octet-stream;base64," + base64.b64encode(self.made).decode()})

    def values(self, number: int) -> F64:
        """(count, components) of an accessor, normalised integers as fractions."""
        accessor = self.document["accessors"][number]
        kind, columns, count = np.dtype(TYPES[accessor["componentType"]]), SIZES[accessor["type"]], int(accessor["count"])
        found: F64 = np.zeros((count if count <= MAX_EMPTY else 0, columns))
        if "bufferView" in accessor:
            found = self._rows(accessor, accessor["bufferView"], kind, columns, count).astype(np.float64)
        if "sparse" in accessor:
            sparse = accessor["sparse"]
            where, what = sparse["indices"], sparse["values"]
            at = self._rows(where, where["bufferView"], np.dtype(TYPES[where["componentType"]]), 1, int(sparse["count"]))
            found[at[:, 0].astype(np.int64)] = self._rows(what, what["bufferView"], kind, columns, int(sparse["count"]))
        if accessor.get("normalized"):
            found = np.maximum(found / LARGEST[accessor["componentType"]], -1.0)
        return found

    def _rows(self, source: dict[str, Any], view: int, kind: np.dtype[Any], columns: int, count: int) -> NDArray[Any]:
        stated = self.document["bufferViews"][view]
        data, start, row = self.part(stated), int(source.get("byteOffset", 0)), kind.itemsize * columns
        step = int(stated.get("byteStride", row))
        if start < 0 or step < row or not 0 < count <= (len(data) - start - row) // step + 1:
            raise ValueError(f"{len(data)} bytes cannot hold {count} rows of {row} bytes")
        return np.ndarray((count, columns), kind, data, start, (step, kind.itemsize))


def plain(document: dict[str, Any], chunk: bytes, beside: Callable[[str], bytes], name: str, report: Report) -> None:
    """Write out what is compressed or copied in a glTF (changed in place).

    Args:
        document: the JSON of the file.
        chunk: the binary chunk of a GLB.
        beside: gets a file of the model's folder.
        name: of the file, for messages.
        report: gets a note where copies are drawn.

    Raises:
        UnreadableSource: a stream is damaged, a count has no bytes, or there are more copies than is credible.
    """
    from ingest_bim.meshfile_pose import posed  # noqa: PLC0415  it stands on this module

    buffers = Buffers(document, chunk, beside)
    try:
        _check_counts(document)
        for view in document.get("bufferViews") or []:
            for extension in MESHOPT:
                if how := (view.get("extensions") or {}).pop(extension, None):
                    view.update(buffers.keep(_of_meshopt(buffers, how)))
        for part in (part for mesh in document.get("meshes") or [] for part in mesh.get("primitives") or []):
            if how := (part.get("extensions") or {}).pop(DRACO, None):
                _of_draco(buffers, part, how)
            part["attributes"] = {key: buffers.plainly(number, key) for key, number in part["attributes"].items()}
            if "indices" in part:
                part["indices"] = buffers.plainly(part["indices"], "indices")
            if part.get("mode", 4) == FAN:
                _of_fan(buffers, part)
        for buffer in document["buffers"]:
            if any(extension in (buffer.get("extensions") or {}) for extension in MESHOPT) and "uri" not in buffer:
                buffer["uri"] = "data:application/octet-stream;base64,"  # stood for the decoded bytes, and had none itself
        posed(buffers, report)
        _expand(buffers, report)
    except (TwinError, FileNotFoundError, ValueError, AttributeError, TypeError, KeyError, IndexError, OverflowError, MemoryError) as error:
        said = error.message if isinstance(error, TwinError) else in_words(error)
        raise UnreadableSource(f"{name} cannot be decoded: {said.rstrip('.')}.", "Export it again.") from error
    buffers.close()


def _check_counts(document: dict[str, Any]) -> None:
    empty = sum(int(a["count"]) for a in document.get("accessors") or [] if "bufferView" not in a)
    packed = any(DRACO in (part.get("extensions") or {}) for mesh in document.get("meshes") or [] for part in mesh.get("primitives") or [])
    if empty > MAX_EMPTY * (8 if packed else 1):
        raise ValueError(f"its accessors state {empty:,} values without any bytes")


def _of_meshopt(buffers: Buffers, how: dict[str, Any]) -> NDArray[Any]:
    """The bytes that a compressed view stands for: (count, stride)."""
    codec, data = registry.meshopt(), buffers.part(how)
    count, stride, mode = int(how["count"]), int(how["byteStride"]), how["mode"]
    if mode == "ATTRIBUTES":
        return np.asarray(codec.unfilter(codec.decode_vertices(data, count, stride), how.get("filter", "NONE")))
    if mode not in ("TRIANGLES", "INDICES") or stride not in (2, 4):
        raise ValueError(f"a compressed view of the mode {mode!r} with rows of {stride} bytes is not possible")
    decode = codec.decode_triangles if mode == "TRIANGLES" else codec.decode_indices
    return np.asarray(decode(data, count, stride)).astype(f"<u{stride}")


def _of_draco(buffers: Buffers, part: dict[str, Any], how: dict[str, Any]) -> None:
    """Give a primitive accessors of what its Draco stream holds; attributes beside the stream keep theirs."""
    import DracoPy  # noqa: PLC0415  only compressed files need it

    try:
        mesh = DracoPy.decode(buffers.part(buffers.document["bufferViews"][how["bufferView"]]))
    except (DracoPy.FileTypeException, ValueError, RuntimeError) as error:
        raise ValueError(f"a stream of {DRACO} is damaged ({str(error)[:80]})") from error
    found = {int(attribute["unique_id"]): attribute["data"] for attribute in mesh.attributes}

    for name, number in how["attributes"].items():
        if number not in found:
            raise ValueError(f"a stream of {DRACO} lacks its attribute {name}")
        values = found[number] if found[number].dtype in CODES else found[number].astype(np.float32)
        before = buffers.document["accessors"][part["attributes"][name]]
        part["attributes"][name] = buffers.accessor(values, normalized=bool(before.get("normalized")) and values.dtype != np.float32)
    faces = getattr(mesh, "faces", None)
    if faces is None:
        raise ValueError(f"a stream of {DRACO} holds points and no triangles")
    part["indices"], part["mode"] = buffers.accessor(np.asarray(faces, np.uint32).ravel()), 4


def _of_fan(buffers: Buffers, part: dict[str, Any]) -> None:
    """A fan around its first corner as triangles, which is what trimesh reads."""
    if "indices" in part:
        corners = buffers.values(part["indices"])[:, 0].astype(np.uint32)
    else:
        corners = np.arange(int(buffers.document["accessors"][part["attributes"]["POSITION"]]["count"]), dtype=np.uint32)
    if len(corners) > 2:
        fan = np.stack([np.full(len(corners) - 2, corners[0]), corners[1:-1], corners[2:]], axis=1)
        part["indices"], part["mode"] = buffers.accessor(fan.ravel()), 4


def _expand(buffers: Buffers, report: Report) -> None:
    """Copies of a node's mesh as nodes below it."""
    nodes = buffers.document.get("nodes") or []
    total = 0
    for number, node in enumerate(list(nodes)):
        how = (node.get("extensions") or {}).pop(COPIES, None)
        if how is None or "mesh" not in node:
            continue
        found = matrices({name: buffers.values(at) for name, at in how["attributes"].items() if name in ("TRANSLATION", "ROTATION", "SCALE")})
        total += len(found)
        if total > MAX_COPIES:
            raise ValueError(f"it asks for {total:,} copies of meshes, more than {MAX_COPIES:,}")
        name, mesh = node.get("name") or f"node {number}", node.pop("mesh")
        node.setdefault("children", []).extend(range(len(nodes), len(nodes) + len(found)))
        said = {"extras": node["extras"]} if isinstance(node.get("extras"), dict) else {}
        nodes += [{"name": f"{name} #{i}", "mesh": mesh, "matrix": matrix.T.ravel().tolist()} | said for i, matrix in enumerate(found, 1)]
        report.note("assumed", str(name), f"{len(found)} copies by {COPIES}: each is a feature, named after its node and counted.")


def matrices(given: dict[str, F64]) -> F64:
    """(n, 4, 4) of translations, rotations (x, y, z, w) and scales, as glTF composes them: scaled, turned, moved."""
    counts = {len(values) for values in given.values()}
    if len(counts) != 1:
        raise ValueError(f"the attributes of {COPIES} have {sorted(counts)} values")
    (count,) = counts
    found = np.broadcast_to(np.eye(4), (count, 4, 4)).copy()
    if (turns := given.get("ROTATION")) is not None:
        x, y, z, w = (turns / np.maximum(np.linalg.norm(turns, axis=1, keepdims=True), 1e-12)).T
        rows = [[1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
                [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
                [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)]]  # fmt: skip
        found[:, :3, :3] = np.array(rows).transpose(2, 0, 1)
    if (scales := given.get("SCALE")) is not None:
        found[:, :3, :3] *= scales[:, None, :]
    if (moves := given.get("TRANSLATION")) is not None:
        found[:, :3, 3] = moves
    if not np.isfinite(found).all():
        raise ValueError(f"the attributes of {COPIES} are not finite")
    return found


def _from_data_uri(uri: str) -> bytes:
    head, _, data = uri.partition(",")
    return base64.b64decode(data) if head.endswith(";base64") else urllib.parse.unquote_to_bytes(data)
