"""The volume that a solid of a city model encloses, by the divergence theorem over its rings.

The outer shell less the inner ones (ISO 19107: Solid), so a source that turned a shell over does no harm. A shell counts as
closed where every edge of its faces is met by as many in the other direction; of one that is not, no volume is stated, but why.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ingest_bim.citymodels import volumes as kernels
from ingest_bim.citymodels.faces import Flat, flattened
from ingest_bim.citymodels.objects import Shape, Shell

F64 = NDArray[np.float64]
#: Cubic metres below which a shell encloses nothing.
NOTHING = 1e-6


def solid_volumes(vertices: F64, solids: list[list[Shell]], *, why: bool = True) -> list[float | str]:
    """Of each solid over (N, 3) vertices in metres its volume in m³, or why (as far as is asked for) it has none; a solid that is stated again is left out."""
    met: set[frozenset[int]] = set()
    found: list[float | str] = []
    for shells in solids:
        corners = frozenset(i for shell in shells for face in shell for ring in face for i in ring) if len(solids) > 1 else frozenset()
        if not corners or corners not in met:
            met.add(corners)
            found.append(_solid_volume(vertices, shells, why))
    return found


def inside_out(shape: Shape, vertices: F64, triangles: NDArray[np.int32], face: NDArray[np.int32]) -> NDArray[np.bool_]:
    """(F,) of the faces of several solids those that one of them is made of whose faces look inwards, over (N, 3) vertices in metres.

    Args:
        shape: its solids and faces.
        vertices: of the shape.
        triangles: (T, 3) of its faces.
        face: (T,) the face of each.
    """
    numbers: dict[frozenset[int], list[int]] = {}
    for number, each in enumerate(shape.faces):
        numbers.setdefault(frozenset(each.rings[0]), []).append(number)
    inwards, outwards = np.zeros(len(shape.faces), bool), np.zeros(len(shape.faces), bool)
    order = np.argsort(face, kind="stable")
    starts = np.searchsorted(face[order], np.arange(len(shape.faces) + 1))
    for shells in shape.solids:
        own = [number for shell in shells for rings in shell for number in numbers.get(frozenset(rings[0]), ())]
        rows = np.concatenate([order[starts[number] : starts[number + 1]] for number in own]) if own else order[:0]
        corners = vertices[triangles[rows]]
        # from its own middle: a face that it has in common with another solid is drawn once and may be missing here
        a, b, c = (corners[:, i] - corners.reshape(-1, 3).mean(axis=0) for i in range(3)) if len(rows) else (corners[:, 0],) * 3
        (inwards if np.einsum("ij,ij->", a, np.cross(b, c)) / 6 < -NOTHING else outwards)[own] = True
    found: NDArray[np.bool_] = inwards & ~outwards
    return found


def _solid_volume(vertices: F64, shells: list[Shell], why: bool) -> float | str:
    volumes: list[float] = []
    for number, shell in enumerate(shells):
        name = "its outer shell" if number == 0 else f"its inner shell {number}"
        flat = flattened(shell)
        edges, closed, volume = kernels.shell_volume(vertices, *flat)
        if not edges:
            return f"{name} has no faces"
        if not closed:
            return f"{name} has {_open_edges(flat)}" if why else name
        if not NOTHING <= volume < np.inf:
            return f"{name} encloses nothing"
        volumes.append(volume)
    inner = sum(volumes[1:])
    return volumes[0] - inner if inner < volumes[0] else "its inner shells enclose more than its outer one"


def _open_edges(flat: Flat) -> str:
    """What is wrong with edges that are not matched: a gap, or faces that look another way than their neighbours."""
    corners, ends = flat[0].astype(np.int64), flat[1]
    size = np.diff(ends, prepend=0)
    after = np.arange(1, len(corners) + 1)
    after[ends[size > 0] - 1] = (ends - size)[size > 0]  # a ring's last corner is followed by its first
    least, most = np.minimum(corners, corners[after]), np.maximum(corners, corners[after])
    edges, times = np.unique((least << 32 | most)[(least != most) & np.repeat(size >= 3, size)], return_counts=True)
    odd = int((times % 2).sum())
    return f"{odd} of {len(edges)} edges without a second face" if odd else "faces that are turned over against their neighbours"
