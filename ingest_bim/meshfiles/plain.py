"""What trimesh does not know of glTF, written out in plain glTF before it reads the file.

That is: buffer views of EXT_meshopt_compression and KHR_meshopt_compression, primitives of KHR_draco_mesh_compression, sparse accessors, integers that stand for fractions (KHR_mesh_quantization, colours of 16 bits), and the
copies of EXT_mesh_gpu_instancing as nodes of their own; morph targets and skins in their pose (`ingest_bim.meshfiles.pose`).

Sources: glTF 2.0, 3.6 (accessors, sparse accessors, normalised integers); KHR_draco_mesh_compression; EXT_meshopt_compression; EXT_mesh_gpu_instancing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ingest_bim.meshfiles.buffers import CODES, MAX_EMPTY, SIZES, TYPES, Buffers, matrices
from ingest_bim.meshfiles.pose import posed
from ingest_bim.wording import in_words
from twin import registry
from twin.errors import TwinError, UnreadableSource
from twin.model import Report

COPIES = "EXT_mesh_gpu_instancing"
DRACO = "KHR_draco_mesh_compression"
MESHOPT = ("EXT_meshopt_compression", "KHR_meshopt_compression")
TRIANGLES, FAN = 4, 6
#: Copies that one file may ask for.
MAX_COPIES = 200_000


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
    buffers = Buffers(document, chunk, beside)
    try:
        _check_counts(document)
        for view in document.get("bufferViews") or []:
            for extension in MESHOPT:
                if how := (view.get("extensions") or {}).pop(extension, None):
                    view.update(buffers.keep(_of_meshopt(buffers, how)))
        for name_of_mesh, part in ((str(mesh.get("name", "")), part) for mesh in document.get("meshes") or [] for part in mesh.get("primitives") or []):
            if how := (part.get("extensions") or {}).pop(DRACO, None):
                _of_draco(buffers, part, how)
            part["attributes"] = {key: buffers.plainly(number, key) for key, number in part["attributes"].items()}
            if "indices" in part:
                part["indices"] = buffers.plainly(part["indices"], "indices")
            if part.get("mode", 4) == FAN:
                _of_fan(buffers, part)
            elif part.get("mode", 4) == TRIANGLES:
                _whole(buffers, part, name_of_mesh, report)
        used = {view["buffer"] for view in document.get("bufferViews") or []}
        for number, buffer in enumerate(document["buffers"]):
            if number not in used and "uri" not in buffer and not (number == 0 and chunk):
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
    for number, accessor in enumerate(document.get("accessors") or []):
        kind, columns = TYPES.get(accessor["componentType"]), SIZES.get(accessor["type"])
        if kind is None or columns is None or "bufferView" not in accessor:
            continue
        row = np.dtype(kind).itemsize * columns
        step = document["bufferViews"][accessor["bufferView"]].get("byteStride", row)
        if step < row:  # trimesh would read one value's bytes as another's
            raise ValueError(f"accessor {number} has values of {row} bytes, of which each begins {step} bytes after the one before")


def _of_meshopt(buffers: Buffers, how: dict[str, Any]) -> NDArray[Any]:
    """The bytes that a compressed view stands for: (count, stride)."""
    codec, data = registry.meshopt(), buffers.part(how)
    count, stride, mode = int(how["count"]), int(how["byteStride"]), how["mode"]
    if mode == "ATTRIBUTES":
        return np.asarray(codec.unfilter(codec.decode_vertices(data, count, stride, newest=True), how.get("filter", "NONE")))
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


def _whole(buffers: Buffers, part: dict[str, Any], name: str, report: Report) -> None:
    """Triangles without the one or two corners that are left over at the end, which clients pass over (glTF 2.0, 3.7.2.1) and trimesh stumbles on."""
    count = int(buffers.document["accessors"][part.get("indices", part["attributes"]["POSITION"])]["count"])
    if count % 3 == 0:
        return
    if count < 3:
        part["mode"] = 0  # points, which are not drawn
    elif "indices" in part:
        part["indices"] = buffers.accessor(buffers.values(part["indices"])[: count - count % 3, 0].astype(np.uint32))
    else:
        part["indices"] = buffers.accessor(np.arange(count - count % 3, dtype=np.uint32))
    report.note("skipped", name, f"Of a part of {count:,} corners, {count % 3} are left over behind its last whole triangle.")


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
