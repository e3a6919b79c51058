"""Meshes with features against the placed prototypes in the lake: every vertex, both ways, and the area of what is drawn, per feature.

A vertex lies on one of the source, or on a triangle that is wide enough to have been cut (in the layer's own coordinates, in which it is flat).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from .glb import Model
from .issues import Where
from .positions import Roll, Task, features_of, known_only, listed, local_metres, nearest, worst_of
from .positions_coarse import Coarse
from .positions_geodesy import Inverse, tame
from .positions_textures import Images, Textures, looked
from .surfaces import UNSAID, Shown, areas, from_srgb, nearest_surface, paint_of, shown_of
from .walk import Standing

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
#: Vertices from which on a shape is sorted, so that a content is held against what lies near it: one of ten million triangles is in hundreds of contents.
LARGE = 100_000
#: Metres around a content within which the source is looked at.
MARGIN = 1.0
#: m² of a triangle below which a tiler may leave it out.
NOTHING = 1e-3
#: Metres of a triangle's longest edge from which on it may be cut into pieces.
WIDE = 8000.0
#: By how many times what triangles are off by chance their sum may be; share of an area that projections and their inverses may lose.
CHANCE, LOST = 6.0, 1e-7
#: By how much a colour's channels may differ.
SHADE = 0.004


@dataclass(frozen=True)
class _Shapes:
    """Prototypes of one part: vertices that some triangle with an area uses, finite ones of any triangle, how many triangles, corners (W, 3, 3) of wide ones, what all show together, (T, 5) paints."""

    solid: list[F64]
    every: list[F64]
    triangles: list[int]
    wide: list[F64]
    shown: list[Shown]
    paint: list[F64]
    vertices: list[F64]
    faces: list[NDArray[np.int32]]

    uv: list[bytes] = field(default_factory=list)
    looks: list[NDArray[np.int32]] = field(default_factory=list)
    textures: list[Any] = field(default_factory=list)  # of the materials, by number: image, size, wrap; None without
    boxes: dict[int, F64] = field(default_factory=dict)
    edges: dict[int, float] = field(default_factory=dict)
    volumes: dict[int, float] = field(default_factory=dict)

    def corners(self, prototype: int) -> F64:
        """(T, 3, 3) of a prototype."""
        return self.vertices[prototype][self.faces[prototype]]

    def box(self, prototype: int) -> F64:
        """(2, 3) around a prototype; NaN where it draws nothing."""
        if prototype not in self.boxes:
            points = self.every[prototype]
            self.boxes[prototype] = np.array([points.min(axis=0), points.max(axis=0)]) if len(points) else np.full((2, 3), np.nan)
        return self.boxes[prototype]

    def volume(self, prototype: int) -> float:
        """Within a prototype's triangles, in its units."""
        if prototype not in self.volumes:
            corners = self.corners(prototype)
            inner = corners - corners[:1, :1]
            self.volumes[prototype] = float(np.nansum(np.einsum("ij,ij->i", inner[:, 0], np.cross(inner[:, 1], inner[:, 2])))) / 6
        return self.volumes[prototype]

    def open_edges(self, prototype: int) -> float:
        """Length of the edges of a prototype that do not run to and fro alike, in its units: 0 for what is closed."""
        if prototype not in self.edges:
            _, place = np.unique(self.vertices[prototype], axis=0, return_inverse=True)
            face = place.ravel()[self.faces[prototype]]
            ends = np.concatenate([face[:, [0, 1]], face[:, [1, 2]], face[:, [2, 0]]])
            ends, corner = ends[ends[:, 0] != ends[:, 1]], np.concatenate([self.faces[prototype][:, [k, (k + 1) % 3]] for k in range(3)])[ends[:, 0] != ends[:, 1]]
            key, first, number = np.unique(np.sort(ends, axis=1), axis=0, return_index=True, return_inverse=True)
            over = np.bincount(number.ravel(), np.where(ends[:, 0] < ends[:, 1], 1.0, -1.0), minlength=len(key))
            length = np.linalg.norm(np.diff(self.vertices[prototype][corner[first]], axis=1)[:, 0], axis=1)
            self.edges[prototype] = float(np.nansum(np.abs(over) * length))
        return self.edges[prototype]


class Meshes:
    """A `Comparison` of a mesh layer."""

    def __init__(self, task: Task) -> None:
        self.inverse, self.limit = Inverse(task.version.reference), task.limit
        self.row_of: dict[str, int] = {}
        self.places: list[list[tuple[_Shapes, int, F64]]] = []
        shapes = [p for p in task.version.parts if p.role == "mesh:prototypes"]
        placed = [p for p in task.version.parts if p.role == "mesh:instances"]
        dead = set(task.version.tombstones)
        self.scale: F64 = np.zeros(0)  # metres of the layer's units where it begins
        self.wide: dict[int, list[F64]] = {}
        self.shown: list[Shown] = []
        for shape_part, place_part in zip(shapes, placed, strict=True):
            materials = shape_part.properties["materials"]
            paints = np.array([_paint(row) for row in materials]).reshape(-1, 5)
            self._read(pq.read_table(task.lake.path(shape_part.key)), pq.read_table(task.lake.path(place_part.key)), dead, paints, [row[3] if len(row) > 3 else None for row in materials])
        expected = np.array([any(len(s.every[p]) for s, p, _ in place) for place in self.places], bool)
        self.waiting: dict[int, F64] = {}
        self.complete = np.zeros(len(self.places), bool)
        self._sorted: dict[tuple[int, int, str], tuple[F64, I64]] = {}
        self.drawn, self.area = np.zeros(len(self.places), np.int64), np.zeros(len(self.places))
        self.across, self.paint = np.zeros((len(self.places), 3)), np.zeros((len(self.places), 5))
        self.blurred = np.zeros(len(self.places), bool)  # drawn where the layer's coordinates are no measure of areas
        self.roll = Roll(self._rows, self._names, expected, task.info.get("report", {}))
        images = [pq.read_table(task.lake.path(part.key), memory_map=True) for part in task.version.parts if part.role == "mesh:images"]
        self._images, self._textures = Images(images), Textures(len(self.places)) if images else None
        self.shade, self._paints = SHADE, dict[int, F64]()
        self._coarse = Coarse(self, task.options, {column.name for column in task.version.columns})

    def paints(self, row: int) -> F64:
        """(P, 5) the different paints of a feature's triangles."""
        if row not in self._paints:
            self._paints[row] = np.unique(np.concatenate([shapes.paint[p] for shapes, p, _ in self.places[row]]), axis=0)
        return self._paints[row]

    def _imaged(self, row: int) -> F64:
        """(6,) what a feature shows of its images, see `Textures`."""
        total = np.zeros(6)
        for shapes, p, matrix in self.places[row]:
            if not shapes.uv or not shapes.uv[p]:
                continue
            uv, looks = np.frombuffer(shapes.uv[p], "<f4").reshape(-1, 3, 2).astype(np.float64), shapes.looks[p]
            area = np.linalg.norm(areas(shapes.corners(p) @ matrix[:3, :3].T * self.scale)[0], axis=1)
            for m in np.unique(looks).tolist():
                mine = (looks == m) & np.isfinite(uv).all(axis=(1, 2))
                pixels = self._images.pixels(shapes.textures[m][0]) if shapes.textures[m] else None
                if pixels is not None and mine.any():
                    total += looked(pixels, uv[mine], area[mine], tuple(shapes.textures[m][2])).sum(axis=0)
        return total

    def volume(self, row: int) -> float:
        """Cubic metres within a feature's triangles, where they are closed; what is mirrored keeps its outside."""
        return sum(shapes.volume(p) * abs(float(np.linalg.det(matrix[:3, :3]))) for shapes, p, matrix in self.places[row]) * float(np.prod(self.scale))

    def open_edges(self, row: int) -> float:
        """Metres of a feature's edges that bound no closed surface."""
        return sum(shapes.open_edges(p) * float(np.linalg.norm(matrix[:3, :3] * self.scale[:, None], axis=0).max()) for shapes, p, matrix in self.places[row])

    def _read(self, prototypes: Any, instances: Any, dead: set[str], paints: F64, textures: list[Any]) -> None:
        transforms = np.array(instances.column("transform").combine_chunks().values).reshape(-1, 4, 4)
        if not len(self.scale):
            self.scale = self.inverse.metres(_first(prototypes, transforms))
        unit = self.scale
        linear = transforms[:, :3, :3]
        size = np.linalg.norm(linear * unit[:, None], axis=1).max(axis=1)  # metres of the longest axis
        shapes = _shapes(prototypes, unit, float(size.max(initial=0.0)), paints)
        if "uv" in prototypes.column_names and any(textures):
            shapes.textures.extend(textures)
            shapes.uv.extend(raw or b"" for raw in prototypes.column("uv").to_pylist())
            shapes.looks.extend(np.frombuffer(raw, "<i4") for raw in prototypes.column("materials").to_pylist())
        moved = (linear == np.eye(3)).all(axis=(1, 2))
        alike = moved | (np.abs(np.swapaxes(linear, 1, 2) @ linear - (size / unit[0])[:, None, None] ** 2 * np.eye(3)).max(axis=(1, 2)) < 1e-9 * (size / unit[0]) ** 2)
        alike &= moved | bool((unit == unit[0]).all())
        for k, (name, p) in enumerate(zip(instances.column("feature").to_pylist(), instances.column("prototype").to_pylist(), strict=True)):
            if name in dead:
                continue
            row = self.row_of.setdefault(name, len(self.places))
            if row == len(self.places):
                self.places.append([])
                self.shown.append(Shown(0.0, 0.0, np.zeros(3), np.zeros(5)))
            self.places[row].append((shapes, p, transforms[k]))
            if alike[k]:
                scale = float(size[k] / unit[0])
                shown = shapes.shown[p] if moved[k] else shapes.shown[p].moved(linear[k], scale)
            else:
                shown = shown_of(shapes.corners(p) @ linear[k].T * unit, shapes.paint[p])
                if np.linalg.det(linear[k]) < 0:
                    shown = replace(shown, across=-shown.across)
            self.shown[row] = self.shown[row].plus(shown)
            if len(shapes.wide[p]):
                placed = shapes.wide[p] @ linear[k].T + transforms[k][:3, 3]
                self.wide.setdefault(row, []).append(placed[areas(self.inverse.alike(placed) * unit)[1] > WIDE])

    def _rows(self, ids: list[str]) -> I64:
        return np.array([self.row_of.get(name, -1) for name in ids], np.int64)

    def _names(self, rows: I64) -> list[str]:
        name_of = {row: name for name, row in self.row_of.items()}
        return [name_of[row] for row in rows.tolist()]

    def see(self, model: Model, transform: F64, where: Where, standing: Standing) -> None:
        """Compare the elements of one content."""
        found = features_of(model, transform, where)
        if found is None:
            return
        rows = self.roll.known(found.ids, where, repeats=True, finest=standing.finest)
        found, rows = known_only(found, rows)
        if not len(rows):
            return
        if not standing.finest:
            self._coarse.see(found, rows, standing, where)
            return
        self._coarse.leaf(rows, standing)
        if self._textures is not None:
            self._textures.see(model, self._rows)
        owner = found.owner[found.triangles[:, 0]]
        np.add.at(self.drawn, rows, np.bincount(owner, minlength=len(rows)))
        own = self.inverse.source(found.ecef)
        scaled, unit, origin = local_metres(self.inverse, own)
        low, high = np.full((len(rows), 3), np.inf), np.full((len(rows), 3), -np.inf)
        np.fmin.at(low, found.owner, own)
        np.fmax.at(high, found.owner, own)
        box = np.stack([low - MARGIN / unit, high + MARGIN / unit], axis=1)
        solid, solid_owner, at = self._placed(rows, "solid", box)
        every, every_owner, _ = self._placed(rows, "every", box)
        corners = self.inverse.alike(own[found.triangles])
        across, _ = areas(corners * self.scale)
        area = np.linalg.norm(across, axis=1)
        for into, column in ((self.area, area), *((self.across[:, k], across[:, k]) for k in range(3)), *((self.paint[:, k], area * found.paints[found.paint, k]) for k in range(5))):
            np.add.at(into, rows, np.bincount(owner, column, minlength=len(rows)))
        if self.inverse.bent(own.min(axis=0), own.max(axis=0)):  # degrees are no measure there
            self.blurred[rows] = True
            origin, unit = tame(found.ecef[0]), np.ones(3)
            scaled, solid, every = tame(found.ecef - origin), self.inverse.ecef(solid), self.inverse.ecef(every)
        else:
            solid, every = self.inverse.near(solid, float(origin[0])), self.inverse.near(every, float(origin[0]))
        missed = _near((solid - origin) * unit, solid_owner, scaled, found.owner, len(rows))
        strayed = nearest(scaled, found.owner, (every - origin) * unit, every_owner)
        far = np.flatnonzero((strayed > self.limit) & np.isin(rows, list(self.wide))[found.owner])
        strayed[far] = np.minimum(strayed[far], self._beside(own[far], rows[found.owner[far]]))
        errors = np.maximum(self._whole(rows, missed, solid_owner, at), worst_of(strayed, found.owner, len(rows)))
        self.roll.off(found.ids, rows, errors, self.limit, "POSITION_OFF", "a vertex lies", where)

    def _beside(self, own: F64, rows: I64) -> F64:
        """(N,) metres from places in the layer's coordinates to the nearest triangle of their features (`rows`) that may have been cut."""
        wide = {row: np.concatenate(self.wide[row]) for row in np.unique(rows).tolist()}
        if not len(own):
            return np.zeros(0)
        origin, unit = tame(own[:1])[0], self.inverse.metres(tame(own[:1])[0])
        corners = self.inverse.alike(np.concatenate([*wide.values()]))
        corners[..., :1] += self.inverse.near(corners[:, :1, 0].copy(), float(origin[0]))[..., None] - corners[:, :1, :1]
        owner = np.repeat(np.array([*wide], np.int64), [len(one) for one in wide.values()])
        places = self.inverse.near(tame(own.copy()), float(origin[0]))
        return nearest_surface((places - origin) * unit, rows, (corners - origin) * unit, owner, 2 * self.limit)

    def _whole(self, rows: I64, missed: F64, owner: I64, at: I64) -> F64:
        """(F,) how far the source's vertices (`at`: their numbers in their features) are from what is drawn; 0 for features that may be drawn on in other contents.

        A feature with vertices that this content does not draw waits (`waiting`: each vertex's least distance yet) until the end.
        """
        errors = worst_of(missed, owner, len(rows))
        count = np.array([sum(len(s.solid[p]) for s, p, _ in self.places[row]) for row in rows.tolist()])
        in_part = np.bincount(owner, minlength=len(rows)) < count
        apart = (errors > self.limit) | in_part | np.isin(rows, list(self.waiting))
        errors[apart & self.complete[rows]] = 0.0  # another content has all of its corners, this one draws on between some of them
        apart &= ~self.complete[rows]
        self.complete[rows[~apart]] = True
        for i in np.flatnonzero(apart):
            row, mine = int(rows[i]), owner == i
            away = self.waiting.setdefault(row, np.full(count[i], np.inf))
            np.minimum.at(away, at[mine], missed[mine])
            errors[i] = 0.0
        return errors

    def _placed(self, rows: I64, which: str, box: F64) -> tuple[F64, I64, I64]:
        """((V, 3) source vertices of some features in the layer's coordinates, (V,) the feature's position in `rows`, (V,) their numbers in it).

        Of large shapes those within the feature's `box` (F, 2, 3).
        """
        points, owner, at = [np.zeros((0, 3))], [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
        for i, row in enumerate(rows.tolist()):
            first = 0
            for k, (shapes, prototype, matrix) in enumerate(self.places[row]):
                own = getattr(shapes, which)[prototype]
                if len(own) < LARGE:
                    placed, number = own @ matrix[:3, :3].T + matrix[:3, 3], np.arange(len(own))
                else:
                    placed, number = self._within(row, k, which, box[i])
                points.append(placed)
                owner.append(np.full(len(placed), i))
                at.append(number + first)
                first += len(own)
        return np.concatenate(points), np.concatenate(owner), np.concatenate(at)

    def _within(self, row: int, k: int, which: str, box: F64) -> tuple[F64, I64]:
        """((V, 3) vertices of the feature's `k`-th part in a box, (V,) their numbers); all of them are sorted by x when it is first asked."""
        if (row, k, which) not in self._sorted:
            shapes, prototype, matrix = self.places[row][k]
            placed = getattr(shapes, which)[prototype] @ matrix[:3, :3].T + matrix[:3, 3]
            order = np.argsort(placed[:, 0])
            self._sorted[row, k, which] = placed[order], order
        placed, order = self._sorted[row, k, which]
        some = slice(*np.searchsorted(placed[:, 0], box[:, 0]).tolist())
        inside = ((placed[some] >= box[0]) & (placed[some] <= box[1])).all(axis=1)
        return placed[some][inside], order[some][inside]

    def finish(self, where: Where) -> dict[str, Any]:
        """Missing elements, those that are drawn in part or more than once, and the figures."""
        name_of = {row: name for name, row in self.row_of.items()}
        for row, away in self.waiting.items():
            if self.roll.errors[row] > self.limit:
                continue  # said already, of what is drawn
            self.roll.off([name_of[row]], np.array([row]), np.array([away.max(initial=0.0)]), self.limit, "POSITION_OFF", "a vertex lies", where)
        source = np.array([sum(s.triangles[p] for s, p, _ in place) for place in self.places], np.int64)
        cut = np.isin(np.arange(len(source)), list(self.wide))
        total, rough = np.array([(one.area, one.rough) for one in self.shown]).reshape(-1, 2).T
        measured = (self.roll.seen > 0) & ~self.blurred & ~(self.roll.errors > self.limit)
        room = CHANCE * np.sqrt(rough) + NOTHING + total * LOST
        twice = np.flatnonzero(((self.drawn > source) & ~cut) | (measured & (self.area > total + room)))
        if len(twice):
            where.error("FEATURE_TWICE", f"{len(twice)} features are drawn more than once: {listed([name_of[row] for row in twice.tolist()])}")
        holes = np.flatnonzero(measured & (self.area < total - room))
        if len(holes):
            worst = holes[np.argmax((total - self.area)[holes])]
            where.error("SURFACE_MISSING", f"{len(holes)} features are drawn with holes: of {name_of[int(worst)]!r} {self.area[worst]:.6g} m² of {total[worst]:.6g}; "
                        f"{listed([name_of[row] for row in holes.tolist()])}")  # fmt: skip
        whole = measured & (np.abs(self.area - total) <= room)
        self._sides(whole, room, total, where)
        self._coarse.finish(name_of)
        if self._textures is not None:
            self._textures.finish(self._imaged, whole, self._names, where)
        return self.roll.finish(where)

    def _sides(self, whole: NDArray[np.bool_], room: F64, total: F64, where: Where) -> None:
        """Features of which all is drawn, but some of it inside out or in another colour."""
        name_of = {row: name for name, row in self.row_of.items()}
        across, paint = (np.array([getattr(one, name) for one in self.shown]).reshape(len(total), -1) for name in ("across", "paint"))
        away = np.flatnonzero(whole & (np.linalg.norm(self.across - across, axis=1) > room))
        if len(away):
            where.error("FACES_TURNED", f"{len(away)} features have faces that are turned inside out: {listed([name_of[row] for row in away.tolist()])}")
        off = np.abs(self.paint - paint).max(axis=1, initial=0.0)
        other = np.flatnonzero(whole & (off > room + SHADE * total))  # NaN is not more
        if len(other):
            where.error("COLOUR_WRONG", f"{len(other)} features are not drawn in the source's colours, opacity or from its sides: {listed([name_of[row] for row in other.tolist()])}")


def _near(points: F64, owner: I64, candidates: F64, candidate_owner: I64, count: int) -> F64:
    """`nearest`, without looking for what lies more than a metre outside of the candidates' box: infinitely far."""
    low, high = np.full((count, 3), np.inf), np.full((count, 3), -np.inf)
    np.minimum.at(low, candidate_owner, candidates)
    np.maximum.at(high, candidate_owner, candidates)
    inside = ((points >= low[owner] - 1) & (points <= high[owner] + 1)).all(axis=1)
    result = np.full(len(points), np.inf)
    result[inside] = nearest(points[inside], owner[inside], candidates, candidate_owner)
    return result


def _first(prototypes: Any, transforms: F64) -> F64:
    """(3,) some place of the layer, in its own coordinates."""
    raw = next((raw for raw in prototypes.column("positions").to_pylist() if raw), bytes(24))
    at = transforms[0] if len(transforms) else np.eye(4)
    return tame((at @ [*np.frombuffer(raw, "<f8", 3).tolist(), 1.0])[:3])


def _paint(material: list[Any]) -> F64:
    """(5,) of a material as parts keep it: name, colour, whether it is drawn from both sides, perhaps a texture."""
    _, (*rgb, alpha), double, *texture = material
    return UNSAID if texture else paint_of([*map(from_srgb, rgb), alpha], double)


def _shapes(prototypes: Any, unit: F64, scale: float, paints: F64) -> _Shapes:
    """`unit`: metres of the layer's units; `scale`: metres of a prototype's units, at most."""
    result = _Shapes([], [], [], [], [], [], [], [])
    colored = prototypes.column("colors").to_pylist() if "colors" in prototypes.column_names else [b""] * len(prototypes)
    columns = (prototypes.column(name).to_pylist() for name in ("positions", "triangles", "materials"))
    for raw, indices, looks, colors in zip(*columns, colored, strict=True):
        vertices, triangles = np.frombuffer(raw, "<f8").reshape(-1, 3), np.frombuffer(indices, "<i4").reshape(-1, 3)
        corners = vertices[triangles]
        with np.errstate(invalid="ignore"):  # what is not finite has no area, and is not drawn
            area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1) / 2
            reach = np.ptp(corners, axis=1).sum(axis=1) * scale
        result.solid.append(vertices[np.unique(triangles[area > NOTHING])])
        drawn = vertices[np.unique(triangles)]
        result.every.append(drawn[np.isfinite(drawn).all(axis=1)])
        result.triangles.append(len(triangles))
        result.wide.append(corners[reach > WIDE])
        result.paint.append(np.broadcast_to(UNSAID, (len(triangles), 5)) if colors else paints[np.frombuffer(looks, "<i4")])
        result.shown.append(shown_of(corners * unit, result.paint[-1]))
        result.vertices.append(vertices)
        result.faces.append(triangles)
    return result
