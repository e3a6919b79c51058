"""The shapes of a model on their way from one process to another: columns, as thousands of small arrays take longer to pack than to make."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ingest_bim.ifc.geometry import Shape, Shapes

I64 = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Arrays:
    """Arrays of N shapes, each different one once: prisms of one kind share their triangles, and who looks at them (`ingest_bim.ifc.mesh`) looks at each once.

    Attributes:
        joined: all different ones, one after the other. lengths: of each. which: (N,) the one of each shape.
    """

    joined: NDArray[Any]
    lengths: I64
    which: I64

    @classmethod
    def of(cls, arrays: Iterable[NDArray[Any]], none: NDArray[Any]) -> Arrays:
        """Of arrays like `none`, which is empty."""
        different: list[NDArray[Any]] = []
        which = _numbered(arrays, different, id)
        return cls(np.concatenate([none, *different]), np.array([len(one) for one in different], np.int64), which)

    def each(self) -> list[NDArray[Any]]:
        """The array of each shape: views, the same one for the same."""
        ends = np.cumsum(self.lengths).tolist()
        parts = [self.joined[start:end] for start, end in zip([0, *ends], ends, strict=False)]
        return [parts[at] for at in self.which.tolist()]


@dataclass(frozen=True, slots=True)
class SentShapes:
    """`Shapes` in columns.

    Attributes:
        steps: (N,) int64 step id of each element. matrices: (N, 4, 4) float64.
        positions: (…, 3) float64, triangles: (…, 3) int32, rows: (…,) int32, of each element's shape.
        looks: different materials, kernels and what is missing. look: (N,) which of them.
        rest: what else there is to `Shapes`.
    """

    steps: I64
    matrices: NDArray[np.float64]
    positions: Arrays
    triangles: Arrays
    rows: Arrays
    looks: list[tuple[Any, str, str]]
    look: I64
    rest: Shapes


def packed(shapes: Shapes) -> SentShapes:
    """Columns of shapes."""
    all_of_them = list(shapes.shapes.values())
    looks: list[tuple[Any, str, str]] = []
    look = _numbered(((shape.materials, shape.kernel, shape.missing) for shape in all_of_them), looks, lambda one: (id(one[0]), *one[1:]))
    return SentShapes(
        np.array(list(shapes.shapes), np.int64), np.array([shape.matrix for shape in all_of_them], np.float64).reshape(-1, 4, 4),
        Arrays.of((shape.positions for shape in all_of_them), np.zeros((0, 3))),
        Arrays.of((shape.triangles for shape in all_of_them), np.zeros((0, 3), np.int32)),
        Arrays.of((shape.rows for shape in all_of_them), np.zeros(0, np.int32)), looks, look, Shapes({}, shapes.skipped, shapes.findings, shapes.facts),
    )  # fmt: skip


def unpacked(sent: SentShapes) -> Shapes:
    """The shapes again."""
    columns = (sent.steps.tolist(), sent.positions.each(), sent.triangles.each(), sent.rows.each(), sent.look.tolist(), sent.matrices)
    made: dict[int, Shape] = {}
    for step, positions, triangles, rows, look, matrix in zip(*columns, strict=True):
        materials, kernel, missing = sent.looks[look]
        made[step] = Shape(positions, triangles, rows, materials, matrix, kernel, missing)
    return Shapes(made, sent.rest.skipped, sent.rest.findings, sent.rest.facts)


def _numbered(items: Iterable[Any], different: list[Any], name: Callable[[Any], Any]) -> I64:
    """The number of each item among the different ones, which are listed; `name` tells them apart."""
    numbers: dict[Any, int] = {}
    which: list[int] = []
    for item in items:
        at = numbers.setdefault(name(item), len(different))
        if at == len(different):
            different.append(item)
        which.append(at)
    return np.array(which, np.int64)
