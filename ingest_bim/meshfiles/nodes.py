"""The nodes of a glTF, made ready for trimesh: names that are numbers first, a tree that holds together, and what nodes carry as attributes.

trimesh hangs the parts of a mesh below their node under names of its own making, and leaves out a node with a camera together with all that hangs on it. So every node gets its
number as the beginning of its name, by which what trimesh hands over is told apart, and cameras go.

Source: glTF 2.0, 3.5 (scenes, and nodes as trees in the strict sense), 3.8 (meshes).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ingest_bim.meshfiles.buffers import matrices
from twin.model import Report

MARK = "\x1f"
"""Between a node's (or a material's) number and its name."""
VISIBILITY = "KHR_node_visibility"
DEEP = 256
"""Nodes below each other from which on all are put into the scene itself: trimesh walks up from each."""
Json = dict[str, Any]


@dataclass(frozen=True)
class Node:
    """A node: its own name (made unique with _1, _2, …) and what its `extras` and its mesh's say."""

    name: str
    extras: dict[str, Any] = field(default_factory=dict)


def prepared_nodes(document: Json, report: Report) -> dict[int, Node]:
    """What each node of a glTF document (changed in place) is called and carries.

    Args:
        document: the JSON of the file, its default scene stated or the first.
        report: is told of nodes that are met twice, of meshes that are absent and of what is drawn in another way than it stands there.
    """
    nodes, meshes = document.get("nodes") or [], document.get("meshes") or []
    taken: dict[str, int] = {}
    found: dict[int, Node] = {}
    for number, node in enumerate(nodes):
        node.pop("camera", None)
        if "mesh" in node and not (isinstance(node["mesh"], int) and 0 <= node["mesh"] < len(meshes)):
            report.note("refused", str(node.get("name", number)), f"It names mesh {node.pop('mesh')}, and there are {len(meshes)}.")
        name = _unique(str(node.get("name") or number), taken)
        own = [meshes[node["mesh"]].get("extras")] if "mesh" in node else []
        found[number] = Node(name, {k: v for extras in (*own, node.get("extras")) if isinstance(extras, dict) for k, v in extras.items()})
        node["name"] = f"{number}{MARK}{name}"
        if _vanishes(node):
            report.note("warned", name, "The file scales it (and what is below it) to nothing: it is kept, and nobody sees it.")
    _cut_to_a_tree(document, found, report)
    _hide(nodes, found, report)
    _flatten(document)
    return found


def _vanishes(node: Json) -> bool:
    """Whether a node leaves nothing of an area: two of its three axes, or more, have no length."""
    try:
        axes = np.array(node["matrix"], np.float64).reshape(4, 4)[:3, :3] if "matrix" in node else np.diag(np.array(node.get("scale") or (1, 1, 1), np.float64))
        return bool(np.linalg.matrix_rank(axes) < 2)
    except (TypeError, ValueError, np.linalg.LinAlgError):
        return False  # said where it is placed


def _hide(nodes: list[Json], found: dict[int, Node], report: Report) -> None:
    """What a file states as not visible, and all below it, is not drawn (KHR_node_visibility)."""
    for number, node in enumerate(nodes):
        if ((node.get("extensions") or {}).get(VISIBILITY) or {}).get("visible", True) is not False:
            continue
        report.note("skipped", found[number].name, "It is hidden in the file (with what is below it) and is not drawn.")
        below = [number]
        for one in below:  # grows; each node has one parent by now
            nodes[one].pop("mesh", None)
            below.extend(nodes[one].get("children") or [])


def _flatten(document: Json) -> None:
    """Nodes of a deep tree, each with its own place in the scene and nothing below it; a tree with places that cannot be read stays as it is."""
    nodes, scenes = document.get("nodes") or [], document.get("scenes") or []
    roots = (scenes[document.get("scene", 0)] if scenes else {}).get("nodes") or []
    order, depth = list(roots), dict.fromkeys(roots, 1)
    for number in order:  # grows; each node has one parent by now
        below = nodes[number].get("children") or []
        depth |= dict.fromkeys(below, depth[number] + 1)
        order.extend(below)
    if max(depth.values(), default=0) <= DEEP:
        return
    try:
        placed = {number: _local(nodes[number]) for number in order}
    except (TypeError, ValueError):
        return
    for number in order:
        node = nodes[number]
        for child in node.pop("children", ()):
            placed[child] = placed[number] @ placed[child]
        for stated in ("translation", "rotation", "scale"):
            node.pop(stated, None)
        node["matrix"] = placed[number].T.ravel().tolist()
    scenes[document.get("scene", 0)]["nodes"] = order


def _local(node: Json) -> NDArray[np.float64]:
    """(4, 4) of a node in its parent (glTF 2.0, 3.5.2)."""
    if "matrix" in node:
        return np.array(node["matrix"], np.float64).reshape(4, 4).T
    given = {name.upper(): np.array([node[name]], np.float64) for name in ("translation", "rotation", "scale") if name in node}
    found: NDArray[np.float64] = matrices(given)[0] if given else np.eye(4)
    return found


def number_of(name: str) -> int | None:
    """The node that a name of trimesh's belongs to: the node's own, or one of the parts of its mesh; None where the file's nodes were not prepared."""
    number = re.match(rf"(\d+){MARK}", name)
    return int(number[1]) if number else None


def _unique(name: str, taken: dict[str, int]) -> str:
    """A name that no other node has: `name`, `name_1` and so on."""
    found = name
    while found in taken:
        found = f"{name}_{taken[name]}"
        taken[name] += 1
    taken[found] = 1
    return found


def _cut_to_a_tree(document: Json, found: dict[int, Node], report: Report) -> None:
    """Nodes that a second parent (or a circle) names again are cut off there and reported."""
    nodes, scenes = document.get("nodes") or [], document.get("scenes") or [{}]
    roots = scenes[document.get("scene", 0)].get("nodes") or []
    seen = set(roots)
    queue = list(dict.fromkeys(roots))
    for number in queue:  # grows
        node = nodes[number]
        if children := node.get("children"):
            again = [child for child in children if child in seen]
            node["children"] = [child for child in dict.fromkeys(children) if child not in seen]
            seen.update(node["children"])
            queue.extend(node["children"])
            for child in again:
                name = found[child].name if child in found else str(child)
                report.note("refused", name, "More than one node has it as a child, and a node may have one parent: it is drawn once.")
