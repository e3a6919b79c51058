"""Parts that repeat within a tile: drawn once, placed many times by the graphics card (EXT_mesh_gpu_instancing).

The map projection turns, scales and bends every instance a little differently (law 4). So an instance is drawn from its prototype only
where a translation, a rotation and a scale put every corner of the prototype's box within `CLOSE` of where the projection puts it;
all others are drawn out, vertex by vertex. What remains of the projection inside of a part is smooth and largest at the corners.
A prototype is only shared where that saves bytes: each one costs the client a draw call of its own.

Sources: EXT_mesh_gpu_instancing, EXT_instance_features (Khronos / Cesium vendor extensions). Mirrored instances are drawn out: the
winding of triangles cannot change from instance to instance.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tiling.meshes.elements import Elements
from tiling.meshes.repeats import mirrored, worth
from tiling.meshes.soup import Items, Soup
from twin import crs
from twin.model import Reference

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
CLOSE = 0.0009
"""Metres; what float32 rounds is within it."""
_STEP = 1.0


@dataclass(frozen=True)
class Group:
    """A prototype and its instances in a tile.

    Attributes:
        soup: the prototype about its own middle, metres, z up; `owner` is 0.
        translation (K, 3) in the tile's frame, rotation (K, 4) unit quaternions x y z w, scale (K, 3): float32.
        owner: (K,) position of each instance's feature in the tile's list.
        corners: (N, 3) of the instances' boxes, in the tile's frame.
    """

    soup: Soup
    translation: NDArray[np.float32]
    rotation: NDArray[np.float32]
    scale: NDArray[np.float32]
    owner: I64
    corners: F64


def share(elements: Elements, wanted: Items, frame: F64) -> tuple[Items, list[Group]]:
    """(what has to be drawn out, what can be instanced) of a tile's parts."""
    instances, shapes = wanted[:, 1], elements.shapes
    straight = np.flatnonzero(~mirrored(elements.store.take("transform", instances)))
    _, first, which, count = np.unique(shapes.marks_of(instances[straight]), return_index=True, return_inverse=True, return_counts=True)
    triangles = shapes.triangles_of(instances[straight[first]])
    good = np.flatnonzero(worth(count, triangles))
    groups: list[Group] = []
    alone = np.ones(len(wanted), bool)
    for k in good[np.argsort(first[good])].tolist():
        members = straight[which == k]
        fitted = _fit(elements, wanted[members], frame)
        if fitted is None:
            continue
        group, close = fitted
        if worth(int(close.sum()), int(triangles[k])):
            groups.append(group)
            alone[members[close]] = False
    return wanted[alone], groups


def _fit(elements: Elements, members: Items, frame: F64) -> tuple[Group, NDArray[np.bool_]] | None:
    """(a group of those instances that can be placed closely enough, (K,) which they are); None for shapes that cannot be shared."""
    shape, reference = elements.shapes.shape(int(members[0, 1])), elements.reference
    own = shape.positions
    low, high = own.min(axis=0), own.max(axis=0)
    middle = (low + high) / 2
    box = np.where(np.indices((2, 2, 2)).reshape(3, 8).T, high, low) - middle
    t = elements.store.take("transform", members[:, 1])
    centre = np.einsum("kij,j->ki", t[:, :3, :3], middle) + t[:, :3, 3]
    at, turned = _jacobian(reference, centre, frame)
    linear = turned @ t[:, :3, :3]
    base = float(np.linalg.norm(linear, axis=1).max())  # so that no instance is larger than what is stored, whose rounding would grow with it
    if not np.isfinite(base) or base < 1e-9:
        return None
    translation, rotation, scale = at.astype(np.float32), *_decomposed(linear / base)
    exact, heights = _placed(reference, np.einsum("kij,cj->kci", t[:, :3, :3], box) + centre[:, None], frame)
    drawn = np.einsum("kij,kj,cj->kci", _matrices(rotation.astype(np.float64)), scale.astype(np.float64), box * base) + translation[:, None].astype(np.float64)
    rounded = np.sqrt(3) / 2 * float(np.spacing(np.float32(np.abs(box).max() * base)))  # by float32, of a part that is large
    close = np.linalg.norm(drawn - exact, axis=2).max(axis=1) + rounded <= CLOSE
    owner = members[close, 0]
    soup = Soup((own - middle) * base, shape.triangles.astype(np.int64), np.zeros(len(shape.triangles), np.int64), shape.material, shape.uv, shape.colors,
                elements.materials, heights)  # fmt: skip
    return Group(soup, translation[close], rotation[close], scale[close], owner, drawn[close].reshape(-1, 3)), close


def _placed(reference: Reference, points: F64, frame: F64) -> tuple[F64, tuple[float, float]]:
    """((…, 3) points of the layer's reference in the tile's frame, lowest and highest ellipsoidal height)."""
    geodetic = crs.to_geodetic(reference, points.reshape(-1, 3))
    local = (crs.geodetic_to_ecef(geodetic) - frame[:3, 3]) @ frame[:3, :3]
    return local.reshape(points.shape), (float(geodetic[:, 2].min()), float(geodetic[:, 2].max()))


def _jacobian(reference: Reference, centre: F64, frame: F64) -> tuple[F64, F64]:
    """((K, 3) places in the tile's frame, (K, 3, 3) how the layer's coordinates turn and stretch there)."""
    unit = 1e-5 if crs.crs_of(reference.horizontal).is_geographic else _STEP
    steps = np.array([unit, unit, _STEP])
    around = centre[:, None] + np.concatenate([np.zeros((1, 3)), np.diag(steps), -np.diag(steps)])
    found, _ = _placed(reference, around, frame)
    return found[:, 0], np.swapaxes((found[:, 1:4] - found[:, 4:7]) / (2 * steps)[:, None], 1, 2)


def _decomposed(linear: F64) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(K, 3, 3) → the nearest (quaternions (K, 4), scales (K, 3)): lengths of the columns, and the rotation nearest to their directions."""
    scale = np.linalg.norm(linear, axis=1)
    u, _, v = np.linalg.svd(linear / np.where(scale > 0, scale, 1.0)[:, None])
    rotation = u @ v
    return _quaternions(rotation).astype(np.float32), scale.astype(np.float32)


def _quaternions(r: F64) -> F64:
    """(K, 3, 3) rotations → (K, 4) unit quaternions x y z w (Shepperd 1978)."""
    trace = np.trace(r, axis1=1, axis2=2)
    diagonal = np.column_stack([r[:, 0, 0], r[:, 1, 1], r[:, 2, 2], trace])
    case = diagonal.argmax(axis=1)
    q = np.empty((len(r), 4))
    for i in range(3):
        j, k = (i + 1) % 3, (i + 2) % 3
        rows = case == i
        m = r[rows]
        q[rows, i] = 1 - trace[rows] + 2 * m[:, i, i]
        q[rows, j], q[rows, k] = m[:, j, i] + m[:, i, j], m[:, k, i] + m[:, i, k]
        q[rows, 3] = m[:, k, j] - m[:, j, k]
    rows = case == 3
    m = r[rows]
    q[rows] = np.column_stack([m[:, 2, 1] - m[:, 1, 2], m[:, 0, 2] - m[:, 2, 0], m[:, 1, 0] - m[:, 0, 1], 1 + trace[rows]])
    q *= np.where(q[:, 3:] < 0, -1.0, 1.0)
    return np.asarray(q / np.linalg.norm(q, axis=1, keepdims=True), np.float64)


def _matrices(q: F64) -> F64:
    """(K, 4) quaternions → (K, 3, 3)."""
    x, y, z, w = (q / np.linalg.norm(q, axis=1, keepdims=True)).T
    return np.array([[1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
                     [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
                     [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)]]).transpose(2, 0, 1)  # fmt: skip
