"""Meshes with features against the placed prototypes in the lake: every vertex, both ways, per feature."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from .glb import Model
from .issues import Where
from .positions import Roll, Task, features_of, known_only, listed, local_metres, nearest, worst_of
from .positions_geodesy import Inverse

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
#: m² of a triangle below which a tiler may leave it out.
NOTHING = 1e-3


@dataclass(frozen=True)
class _Shapes:
    """Prototypes of one part: vertices that some triangle with an area uses, finite ones of any triangle, how many triangles."""

    solid: list[F64]
    every: list[F64]
    triangles: list[int]


class Meshes:
    """A `Comparison` of a mesh layer."""

    def __init__(self, task: Task) -> None:
        self.inverse, self.limit = Inverse(task.version.reference), task.limit
        self.row_of: dict[str, int] = {}
        self._places: list[list[tuple[_Shapes, int, F64]]] = []
        shapes = [p for p in task.version.parts if p.role == "mesh:prototypes"]
        placed = [p for p in task.version.parts if p.role == "mesh:instances"]
        dead = set(task.version.tombstones)
        for shape_part, place_part in zip(shapes, placed, strict=True):
            self._read(_shapes(pq.read_table(task.lake.path(shape_part.key))), pq.read_table(task.lake.path(place_part.key)), dead)
        expected = np.array([any(len(s.every[p]) for s, p, _ in place) for place in self._places], bool)
        self.waiting: dict[int, F64] = {}
        self.drawn = np.zeros(len(self._places), np.int64)
        self.roll = Roll(self._rows, self._names, expected, task.info.get("report", {}))

    def _read(self, shapes: _Shapes, instances: Any, dead: set[str]) -> None:
        transforms = np.array(instances.column("transform").combine_chunks().values).reshape(-1, 4, 4)
        for name, prototype, matrix in zip(instances.column("feature").to_pylist(), instances.column("prototype").to_pylist(), transforms, strict=True):
            if name not in dead:
                row = self.row_of.setdefault(name, len(self._places))
                if row == len(self._places):
                    self._places.append([])
                self._places[row].append((shapes, prototype, matrix))

    def _rows(self, ids: list[str]) -> I64:
        return np.array([self.row_of.get(name, -1) for name in ids], np.int64)

    def _names(self, rows: I64) -> list[str]:
        name_of = {row: name for name, row in self.row_of.items()}
        return [name_of[row] for row in rows.tolist()]

    def see(self, model: Model, transform: F64, where: Where) -> None:
        """Compare the elements of one content."""
        found = features_of(model, transform, where)
        if found is None:
            return
        rows = self.roll.known(found.ids, where, repeats=True)
        found, rows = known_only(found, rows)
        if not len(rows):
            return
        np.add.at(self.drawn, rows, np.bincount(found.owner[found.triangles[:, 0]], minlength=len(rows)))
        scaled, unit, origin = local_metres(self.inverse, self.inverse.source(found.ecef))
        solid, solid_owner = self._placed(rows, "solid")
        every, every_owner = self._placed(rows, "every")
        missed = _near((solid - origin) * unit, solid_owner, scaled, found.owner, len(rows))
        strayed = nearest(scaled, found.owner, (every - origin) * unit, every_owner)
        errors = np.maximum(self._whole(rows, missed, solid_owner), worst_of(strayed, found.owner, len(rows)))
        self.roll.off(found.ids, rows, errors, self.limit, "POSITION_OFF", "a vertex lies", where)

    def _whole(self, rows: I64, missed: F64, owner: I64) -> F64:
        """(F,) how far the source's vertices are from what is drawn; 0 for features that may be drawn on in other contents.

        A feature with vertices that this content does not draw waits (`waiting`: each vertex's least distance yet) until the end.
        """
        errors = worst_of(missed, owner, len(rows))
        for i in np.flatnonzero((errors > self.limit) | np.isin(rows, list(self.waiting))):
            row, away = int(rows[i]), missed[owner == i]
            self.waiting[row] = np.minimum(self.waiting[row], away) if row in self.waiting else away
            errors[i] = 0.0
        return errors

    def _placed(self, rows: I64, which: str) -> tuple[F64, I64]:
        """((V, 3) source vertices of some features in the layer's coordinates, (V,) the feature's position in `rows`)."""
        points, owner = [np.zeros((0, 3))], [np.zeros(0, np.int64)]
        for i, row in enumerate(rows.tolist()):
            for shapes, prototype, matrix in self._places[row]:
                own = getattr(shapes, which)[prototype]
                points.append(own @ matrix[:3, :3].T + matrix[:3, 3])
                owner.append(np.full(len(own), i))
        return np.concatenate(points), np.concatenate(owner)

    def finish(self, where: Where) -> dict[str, Any]:
        """Missing elements, those that are drawn in part or more than once, and the figures."""
        name_of = {row: name for name, row in self.row_of.items()}
        for row, away in self.waiting.items():
            if self.roll.errors[row] > self.limit:
                continue  # said already, of what is drawn
            self.roll.off([name_of[row]], np.array([row]), np.array([away.max(initial=0.0)]), self.limit, "POSITION_OFF", "a vertex lies", where)
        source = np.array([sum(s.triangles[p] for s, p, _ in place) for place in self._places], np.int64)
        twice = [name_of[row] for row in np.flatnonzero(self.drawn > source).tolist()]
        if twice:
            where.error("FEATURE_TWICE", f"{len(twice)} features are drawn more than once: {listed(twice)}")
        return self.roll.finish(where)


def _near(points: F64, owner: I64, candidates: F64, candidate_owner: I64, count: int) -> F64:
    """`nearest`, without looking for what lies more than a metre outside of the candidates' box: infinitely far."""
    low, high = np.full((count, 3), np.inf), np.full((count, 3), -np.inf)
    np.minimum.at(low, candidate_owner, candidates)
    np.maximum.at(high, candidate_owner, candidates)
    inside = ((points >= low[owner] - 1) & (points <= high[owner] + 1)).all(axis=1)
    result = np.full(len(points), np.inf)
    result[inside] = nearest(points[inside], owner[inside], candidates, candidate_owner)
    return result


def _shapes(prototypes: Any) -> _Shapes:
    solid, every, count = [], [], []
    for raw, corners in zip(prototypes.column("positions").to_pylist(), prototypes.column("triangles").to_pylist(), strict=True):
        vertices, triangles = np.frombuffer(raw, "<f8").reshape(-1, 3), np.frombuffer(corners, "<i4").reshape(-1, 3)
        a, b, c = (vertices[triangles[:, k]] for k in range(3))
        with np.errstate(invalid="ignore"):  # what is not finite has no area, and is not drawn
            area = np.linalg.norm(np.cross(b - a, c - a), axis=1) / 2
        solid.append(vertices[np.unique(triangles[area > NOTHING])])
        drawn = vertices[np.unique(triangles)]
        every.append(drawn[np.isfinite(drawn).all(axis=1)])
        count.append(len(triangles))
    return _Shapes(solid, every, count)
