"""Meshes of a glTF as they stand: morph targets by their weights, skins where their bones are in the file. Animations are left out.

A mesh is written out for each node that poses it, in that node's own frame, so that the tree of nodes stays as it is.

Source: glTF 2.0, 3.7.2.2 (morph targets) and 3.7.3 (skins: a vertex is the weighted sum of what its joints make of it; the node's own place does not count).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ingest_bim.meshfiles.buffers import F64, Buffers, matrices
from ingest_bim.wording import in_words
from twin.model import Report

Json = dict[str, Any]
DAMAGED = (ValueError, KeyError, IndexError, TypeError, AttributeError, OverflowError, np.linalg.LinAlgError)


def posed(buffers: Buffers, report: Report) -> None:
    """Give each node with a skin or with weights a mesh of its own, in its pose (the document is changed in place)."""
    document = buffers.document
    nodes, meshes = document.get("nodes") or [], document.get("meshes") or []
    places: list[F64] | None = None
    for number, node in enumerate(nodes):
        at = node.get("mesh")
        if not isinstance(at, int) or not 0 <= at < len(meshes):
            continue  # said where nodes are read
        weights, skin = node.get("weights") or meshes[at].get("weights") or [], node.get("skin")
        targets = any("targets" in part for part in meshes[at].get("primitives") or [])
        if skin is None and not (targets and any(weights)):
            continue
        name = str(node.get("name", number))
        try:
            places = _places(nodes) if places is None else places
            bones = _bones(buffers, document["skins"][skin], places) if skin is not None else None
            back = np.eye(4) if bones is None else np.asarray(np.linalg.inv(places[number]), np.float64)
            parts = [_part(buffers, part, weights, bones, back) for part in meshes[at]["primitives"]]
        except DAMAGED as error:
            report.note("warned", name, f"Its skin or its morph targets are damaged ({in_words(error)}): the mesh is drawn in its own place and shape.")
            continue
        node["mesh"] = len(meshes)
        meshes.append({**meshes[at], "primitives": parts})
        node.pop("weights", None)
        if bones is not None:
            report.note("assumed", name, "Its mesh is drawn where its bones stand in the file.")


def _part(buffers: Buffers, part: Json, weights: list[float], bones: F64 | None, back: F64) -> Json:
    """A primitive with its places in the pose."""
    points = buffers.values(part["attributes"]["POSITION"])
    for weight, target in zip(weights, part.get("targets") or (), strict=False):
        if weight and "POSITION" in target:
            points = points + float(weight) * buffers.values(target["POSITION"])
    if bones is not None:
        sets = sorted(key for key in part["attributes"] if key.startswith("JOINTS_"))
        if not sets:
            raise ValueError("its corners name no joints")
        joints = np.concatenate([buffers.values(part["attributes"][key]).astype(np.int64) for key in sets], axis=1)
        shares = np.concatenate([buffers.values(part["attributes"][key.replace("JOINTS", "WEIGHTS")]) for key in sets], axis=1)
        total = shares.sum(axis=1, keepdims=True)
        if len(joints) != len(points) or joints.max() >= len(bones) or not (total > 0).all():
            raise ValueError("its corners name joints that are not there, or give none a weight")
        whole = np.concatenate([points, np.ones((len(points), 1))], axis=1)
        moved = np.zeros_like(whole)
        for joint, share in zip(joints.T, (shares / total).T, strict=True):  # one joint of all corners after the other: memory of one
            moved += share[:, None] * np.einsum("nij,nj->ni", bones[joint], whole)
        points = (moved @ back.T)[:, :3]
    if not np.isfinite(points).all():
        raise ValueError("they lead to places that are not finite")
    left = {key: value for key, value in part["attributes"].items() if not key.startswith(("JOINTS_", "WEIGHTS_", "NORMAL", "TANGENT"))}
    return {**{key: value for key, value in part.items() if key != "targets"}, "attributes": {**left, "POSITION": buffers.accessor(points.astype(np.float32))}}


def _bones(buffers: Buffers, skin: Json, places: list[F64]) -> F64:
    """(joints, 4, 4) from the mesh as it was bound to the scene."""
    joints = [int(joint) for joint in skin["joints"]]
    if min(joints) < 0:
        raise ValueError("a joint has a negative number")
    found = np.array([places[joint] for joint in joints])
    if "inverseBindMatrices" in skin:
        bound = buffers.values(skin["inverseBindMatrices"]).reshape(-1, 4, 4).transpose(0, 2, 1)  # written column by column
        found = found @ bound[: len(found)]
    return found


def _places(nodes: list[Json]) -> list[F64]:
    """(4, 4) of each node in the scene."""
    above = {child: number for number, node in enumerate(nodes) for child in node.get("children") or ()}
    own = [_own(node) for node in nodes]
    found = []
    for number in range(len(nodes)):
        matrix, at, steps = own[number], above.get(number), 0
        while at is not None and steps < len(nodes):
            matrix, at, steps = own[at] @ matrix, above.get(at), steps + 1
        found.append(matrix)
    return found


def _own(node: Json) -> F64:
    """(4, 4) of a node below its parent."""
    if "matrix" in node:
        return np.array(node["matrix"], np.float64).reshape(4, 4).T
    given = {name.upper(): np.array([node[name]], np.float64) for name in ("translation", "rotation", "scale") if name in node}
    return matrices(given)[0] if given else np.eye(4)
