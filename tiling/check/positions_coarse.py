"""Inner tiles of a mesh layer against its source: what they draw is what lies below them, in a coarser form that is off by no more than they say.

What forms promise: corners are corners of the source (moved by a share of the tile's error), every place of the source is within the tile's error of them,
no face is turned around, colours are the source's; a feature that is left out is no larger than the error over `ABSENCE`. All features are looked at by
their boxes, and of each content a sample corner by corner.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .issues import Where
from .positions import Feature, listed, nearest, worst_of
from .positions_geodesy import tame
from .surfaces import ROUNDED, areas, distances
from .walk import Standing

if TYPE_CHECKING:
    from .positions_mesh import Meshes

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
ABSENCE = 4.0
"""Metres of error for a metre of a feature that is not drawn (ADR 0003)."""
SHARE = 0.01
"""Of the tile's error, by which the corners of its forms may be moved (DESIGN, law 5)."""
SAMPLE, PLACES, PAIRS = 200_000, 16, 400_000
"""Corners of the source that a content is held against, places of a feature that are looked for, and pairs of these with triangles, about."""
THINNED = 8
"""Budgets of vertices from which on the corners of a feature are put on a grid: then they are within the error, and no more can be said of them."""
CLOSE = 1.02
"""Share by which two ways of measuring a size in degrees may differ."""
TORN = 2.0
"""Errors of width that an open surface may lose along its length: where a thin tube has no floor, a corner of its edge may go up to the other end."""
LEAST = 100
"""Vertices of a tile's budget where nobody says what it was."""
TWICE = 1.9
"""Times its area from which on a feature's form counts as drawn twice."""
INWARD = 0.25
"""Share of its volume from which on a form that looks inwards is wrong: what is left of a thin ring may look inwards here and there."""
FORM = 3 / 16
"""Of a feature's size, what its form is off by at most (ADR 0005). What has less than this between its sides (Cauchy's mean chord, 4 volumes over the area) may look inwards where they cross."""
_MIX = 0x9E3779B1


@dataclass
class _Tile:
    """An inner tile: where it is told of, its error, rows that it draws, of each (K, 7) what is held against the source once it is known that all of it lies below."""

    where: Where
    error: float
    rows: list[I64] = field(default_factory=list)
    shown: list[F64] = field(default_factory=list)


class Coarse:
    """Sees every content of a mesh layer once."""

    def __init__(self, meshes: Meshes, options: dict[str, Any], columns: set[str]) -> None:
        self._meshes = meshes
        self._tiles: dict[int, _Tile] = {}
        self._below: dict[int, list[I64]] = defaultdict(list)
        self._leaves = np.zeros(0, np.int64)
        self._thin = THINNED * int(options.get("budget") or LEAST)
        self._hidden = float(options.get("interior") or 8.0) if str(options.get("storey") or "storey") in columns else np.inf
        self._boxes: F64 = np.zeros((0, 2, 3))

    def leaf(self, rows: I64, standing: Standing) -> None:
        """A finest content draws the features of these rows."""
        if not standing.above:
            return
        if not len(self._leaves):
            self._leaves = np.zeros(len(self._meshes.drawn), np.int64)
        self._leaves[rows] += 1
        for number in standing.above:
            self._below[number].append(rows)

    def see(self, found: Feature, rows: I64, standing: Standing, where: Where) -> None:
        """An inner content draws these features."""
        mesh, count = self._meshes, len(rows)
        tile = self._tiles.setdefault(standing.above[-1], _Tile(where, standing.error))
        own = mesh.inverse.source(found.ecef)
        if not np.isfinite(own).all() or mesh.inverse.bent(own.min(axis=0), own.max(axis=0)):
            tile.rows.append(rows)
            tile.shown.append(np.full((count, 7), np.nan))
            return
        unit = mesh.inverse.metres(own[0])
        moved = mesh.limit + SHARE * standing.error
        box = self._box(rows)
        own = mesh.inverse.near(own, box[found.owner, 0, 0])
        beyond = np.maximum(np.maximum(box[found.owner, 0] - own, own - box[found.owner, 1]), 0.0) * unit
        away = worst_of(np.linalg.norm(beyond, axis=1), found.owner, count)
        room = np.where(self._loose(rows), standing.error + mesh.limit, moved)
        missed = np.zeros(count)
        some = self._sample(rows)
        if some.any():
            near, missed[some] = self._compare(found, rows, own, np.flatnonzero(some))
            away[some] = np.maximum(away[some], near)
        bad = np.flatnonzero(~(away <= room))
        if len(bad):
            worst = bad[np.argmax(away[bad])]
            where.error("COARSE_OFF", f"{len(bad)} features are drawn off their source: a vertex of {found.ids[worst]!r} lies {away[worst]:.3f} m from it (limit {room[worst]:.3g} m); "
                        f"{listed([found.ids[k] for k in bad.tolist()])}")  # fmt: skip
        self._paints(found, rows, where)
        tile.rows.append(rows)
        tile.shown.append(np.column_stack([missed, self._faces(found, own, standing.error)]))

    def _box(self, rows: I64) -> F64:
        """(K, 2, 3) of features in the layer's coordinates; of what is turned and placed somewhat larger than they are."""
        if not len(self._boxes):
            self._boxes = np.full((len(self._meshes.places), 2, 3), np.nan)
        for row in np.unique(rows[np.isnan(self._boxes[rows, 0, 0])]).tolist():
            low, high = np.full(3, np.inf), np.full(3, -np.inf)
            for shapes, prototype, matrix in self._meshes.places[row]:
                some = shapes.box(prototype)
                corners = np.array([[some[i, 0], some[j, 1], some[k, 2]] for i in (0, 1) for j in (0, 1) for k in (0, 1)]) @ matrix[:3, :3].T + matrix[:3, 3]
                low, high = np.fmin(low, corners.min(axis=0)), np.fmax(high, corners.max(axis=0))
            self._boxes[row] = low, high
        return self._boxes[rows]

    def _sizes(self, rows: I64) -> F64:
        """(K,) metres of the diagonals of features' boxes."""
        box = self._box(rows)
        return np.asarray(np.linalg.norm((box[:, 1] - box[:, 0]) * self._meshes.inverse.metres(box[0, 0]), axis=1))

    def _size(self, row: int) -> float:
        """Metres of a feature's diagonal."""
        placed = [shapes.every[p] @ matrix[:3, :3].T + matrix[:3, 3] for shapes, p, matrix in self._meshes.places[row] if len(shapes.every[p])]
        if not placed:
            return 0.0
        points = np.concatenate(placed)
        return float(np.linalg.norm(np.ptp(points, axis=0) * self._meshes.inverse.metres(points.mean(axis=0))))

    def _loose(self, rows: I64) -> NDArray[np.bool_]:
        """(K,) of which features corners may lie anywhere within the error: they were cut, or put on a grid."""
        many = np.array([2 * sum(s.triangles[p] for s, p, _ in self._meshes.places[row]) for row in rows.tolist()])
        return np.asarray((many > self._thin) | np.isin(rows, list(self._meshes.wide)))

    def _sample(self, rows: I64) -> NDArray[np.bool_]:
        """(K,) features that are looked at corner by corner."""
        corners = np.array([sum(len(s.every[p]) for s, p, _ in self._meshes.places[row]) for row in rows.tolist()])
        order = np.argsort((rows * _MIX) & 0xFFFFFFFF, kind="stable")
        order = order[~self._loose(rows)[order]]
        some = np.zeros(len(rows), bool)
        some[order[np.cumsum(corners[order]) <= SAMPLE]] = True
        return some

    def _compare(self, found: Feature, rows: I64, own: F64, some: I64) -> tuple[F64, F64]:
        """((S,) how far corners are from those of the source, (S,) how far places of the source are from what is drawn, within the error)."""
        mesh, place = self._meshes, np.full(len(rows), -1)
        place[some] = np.arange(len(some))
        mine = place[found.owner] >= 0
        drawn, owner = own[mine], place[found.owner[mine]]
        every, every_owner = self._corners(rows[some], "every")
        origin = drawn[0].copy()
        unit = mesh.inverse.metres(origin)
        every, drawn = mesh.inverse.near(every, origin[0]), mesh.inverse.near(drawn, origin[0])
        near = worst_of(nearest(tame((drawn - origin) * unit), owner, (every - origin) * unit, every_owner), owner, len(some))
        faces = place[found.owner[found.triangles[:, 0]]]
        faces, corners = faces[faces >= 0], ((mesh.inverse.near(own, origin[0]) - origin) * unit)[found.triangles[faces >= 0]]
        solid, solid_owner = self._corners(rows[some], "solid")
        each = int(np.clip(PAIRS // max(len(faces), 1), 2, PLACES))
        first = np.searchsorted(solid_owner, np.arange(len(some) + 1))
        step = np.maximum(np.diff(first) // each, 1)
        picked = np.concatenate([np.arange(a, b, s) for a, b, s in zip(first[:-1], first[1:], step, strict=True)] or [np.zeros(0, np.int64)]).astype(np.int64)
        solid = (mesh.inverse.near(solid, origin[0])[picked] - origin) * unit
        return near, worst_of(_surface(solid, solid_owner[picked], corners, faces), solid_owner[picked], len(some))

    def _corners(self, rows: I64, which: str) -> tuple[F64, I64]:
        placed = [(i, getattr(s, which)[p] @ m[:3, :3].T + m[:3, 3]) for i, row in enumerate(rows.tolist()) for s, p, m in self._meshes.places[row]]
        return np.concatenate([one for _, one in placed]), np.repeat([i for i, _ in placed], [len(one) for _, one in placed])

    def _faces(self, found: Feature, own: F64, error: float) -> F64:
        """(K, 6) area of what is drawn, along its normals (3), how far that may be off by rounding, and the volume within."""
        corners = self._meshes.inverse.alike(own[found.triangles]) * self._meshes.scale
        owner, count = found.owner[found.triangles[:, 0]], len(found.ids)
        across, longest = areas(corners)
        middle = np.zeros((count, 3))
        middle[owner] = corners[:, 0]
        inner = corners - middle[owner, None]
        volume = np.einsum("ij,ij->i", inner[:, 0], np.cross(inner[:, 1], inner[:, 2])) / 6
        columns = (np.linalg.norm(across, axis=1), *across.T, (longest * (ROUNDED + SHARE * error)) ** 2, volume)
        return np.column_stack([np.bincount(owner, column, minlength=count) for column in columns])

    def _paints(self, found: Feature, rows: I64, where: Where) -> None:
        """Every triangle is in one of the feature's colours."""
        owner = found.owner[found.triangles[:, 0]]
        pairs = np.unique(owner * len(found.paints) + found.paint)
        wrong = set()
        for k, look in zip((pairs // len(found.paints)).tolist(), found.paints[pairs % len(found.paints)], strict=True):
            known = self._meshes.paints(int(rows[k]))
            if not (np.isnan(known).any() or (np.abs(known - look).max(axis=1) <= self._meshes.shade).any()):
                wrong.add(found.ids[k])
        if wrong:
            where.error("COARSE_COLOUR", f"{len(wrong)} features are drawn in colours that the source does not give them: {listed(sorted(wrong))}")

    def finish(self, names: dict[int, str]) -> None:
        """What can be told once all is seen: features that are not below the tiles that draw them, or too large to be left out, and forms that are torn or turned."""
        shown = self._meshes.shown
        for number, tile in self._tiles.items():
            below, times = np.unique(np.concatenate(self._below.get(number, [np.zeros(0, np.int64)])), return_counts=True)
            rows, told = np.concatenate(tile.rows), np.concatenate(tile.shown)
            if len(extra := np.setdiff1d(rows, below)):
                tile.where.error("COARSE_ASTRAY", f"{len(extra)} features are drawn that nothing below this tile draws: {listed([names[row] for row in extra.tolist()])}")
            self._absent(tile, np.setdiff1d(below, rows), names)
            at = np.minimum(np.searchsorted(below, rows), max(len(below) - 1, 0))
            whole = np.flatnonzero(np.isin(rows, below) & (times[at] == self._leaves[rows]) & ~self._loose(rows)) if len(below) else np.zeros(0, np.int64)
            missed, area, across, rough, volume = told[whole, 0], told[whole, 1], told[whole, 2:5], told[whole, 5], told[whole, 6]
            self._name(tile, "COARSE_OFF", "are farther from their coarser forms than the tile's error says", rows[whole[missed > tile.error + self._meshes.limit]], names)
            if len(whole):
                total = np.array([shown[row].area for row in rows[whole].tolist()])
                turned = np.linalg.norm(across - np.array([shown[row].across for row in rows[whole].tolist()]), axis=1)
                open_edges = np.array([self._meshes.open_edges(row) for row in rows[whole].tolist()])
                torn = np.where(open_edges > 0, open_edges + TORN * self._sizes(rows[whole]), 0.0) * tile.error
                room = 6 * np.sqrt(rough + np.array([shown[row].rough for row in rows[whole].tolist()])) + 1e-3 * total + torn + 0.01
                solid = np.array([self._meshes.volume(row) for row in rows[whole].tolist()])
                thick = 4 * np.abs(solid) > np.minimum(tile.error, FORM * self._sizes(rows[whole])) * total
                inward = (volume * solid < 0) & (np.abs(volume) > INWARD * np.abs(solid)) & (open_edges == 0) & (np.abs(volume) > area * 3 * (ROUNDED + SHARE * tile.error)) & thick
                self._name(tile, "COARSE_TURNED", "have faces in their coarser forms that are missing or turned", rows[whole[(turned > room) | inward]], names)
                self._name(tile, "COARSE_TWICE", "are drawn more than once", rows[whole[area > TWICE * total + 6 * np.sqrt(rough) + 1.0]], names)

    def _absent(self, tile: _Tile, rows: I64, names: dict[int, str]) -> None:
        """Features below a tile that it does not draw."""
        if tile.error >= self._hidden or not len(rows):  # of a building seen from outside
            return
        large = rows[self._sizes(rows) * ABSENCE > tile.error * CLOSE]
        self._name(tile, "COARSE_MISSING", f"are too large to be left out of a tile of {tile.error:.3g} m", [row for row in large.tolist() if self._size(row) * ABSENCE > tile.error * CLOSE + 0.01], names)

    def _name(self, tile: _Tile, code: str, what: str, rows: Any, names: dict[int, str]) -> None:
        if len(rows):
            tile.where.error(code, f"{len(rows)} features {what}: {listed([names[int(row)] for row in rows])}")


def _surface(points: F64, owner: I64, corners: F64, corner_owner: I64) -> F64:
    """(N,) metres from each point to the nearest triangle of the same owner (owners of points ascend); inf where it has none."""
    order = np.argsort(corner_owner, kind="stable")
    first = np.searchsorted(corner_owner[order], owner)
    count = np.searchsorted(corner_owner[order], owner, side="right") - first
    found, there = np.full(len(points), np.inf), np.flatnonzero(count)
    if len(there):
        ends = np.cumsum(count[there])
        triangle = order[np.arange(ends[-1]) + np.repeat(first[there] - ends + count[there], count[there])]
        away = distances(np.repeat(points[there], count[there], axis=0), corners[triangle])
        found[there] = np.minimum.reduceat(away, ends - count[there])
    return found
