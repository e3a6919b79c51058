"""The shapes of a model on their way from one process to another: columns, as thousands of small arrays take longer to pack than to make."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ingest_bim.ifc_geometry import Shape, Shapes


@dataclass(frozen=True, slots=True)
class SentShapes:
    """`Shapes`, each different one once.

    Attributes:
        positions: (V, 3) float64, triangles: (T, 3) int32, rows: (T,) int32, of all different shapes one after the other.
        vertices, corners: (D,) int64 vertices and triangles of each of them. looks: materials, kernel and what is missing of each of them.
        steps: (N,) int64 step id of each element, which: (N,) int64 its shape, matrices: (N, 4, 4) float64.
        rest: what else there is to `Shapes`.
    """

    positions: NDArray[np.float64]
    triangles: NDArray[np.int32]
    rows: NDArray[np.int32]
    vertices: NDArray[np.int64]
    corners: NDArray[np.int64]
    looks: list[tuple[Any, str, str]]
    steps: NDArray[np.int64]
    which: NDArray[np.int64]
    matrices: NDArray[np.float64]
    rest: Shapes


def packed(shapes: Shapes) -> SentShapes:
    """Columns of shapes."""
    number: dict[tuple[int, int, int, int, str, str], int] = {}
    different: list[Shape] = []
    which: list[int] = []
    for shape in shapes.shapes.values():
        name = (id(shape.positions), id(shape.triangles), id(shape.rows), id(shape.materials), shape.kernel, shape.missing)
        at = number.setdefault(name, len(different))
        if at == len(different):
            different.append(shape)
        which.append(at)
    return SentShapes(
        np.concatenate([np.zeros((0, 3)), *(shape.positions for shape in different)]),
        np.concatenate([np.zeros((0, 3), np.int32), *(shape.triangles for shape in different)]),
        np.concatenate([np.zeros(0, np.int32), *(shape.rows for shape in different)]),
        np.array([len(shape.positions) for shape in different], np.int64), np.array([len(shape.triangles) for shape in different], np.int64),
        [(shape.materials, shape.kernel, shape.missing) for shape in different],
        np.array(list(shapes.shapes), np.int64), np.array(which, np.int64), np.array([shape.matrix for shape in shapes.shapes.values()], np.float64).reshape(-1, 4, 4),
        Shapes({}, shapes.skipped, shapes.findings, shapes.facts),
    )  # fmt: skip


def unpacked(sent: SentShapes) -> Shapes:
    """The shapes again, as views of the columns."""
    vertices, corners = np.cumsum([0, *sent.vertices]).tolist(), np.cumsum([0, *sent.corners]).tolist()
    parts = [(sent.positions[v : vertices[at + 1]], sent.triangles[c : corners[at + 1]], sent.rows[c : corners[at + 1]])
             for at, (v, c) in enumerate(zip(vertices[:-1], corners[:-1], strict=True))]  # fmt: skip
    made: dict[int, Shape] = {}
    for step, at, matrix in zip(sent.steps.tolist(), sent.which.tolist(), sent.matrices, strict=True):
        positions, triangles, rows = parts[at]
        materials, kernel, missing = sent.looks[at]
        made[step] = Shape(positions, triangles, rows, materials, matrix, kernel, missing)
    return Shapes(made, sent.rest.skipped, sent.rest.findings, sent.rest.facts)
