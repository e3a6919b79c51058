"""Terrain tiles against the raster they were made from: vertices, and the surface between them.

Where the finest lattice is as fine as the raster's cells, a vertex shows the raster's own bilinear height and must be
within the limit of our second reading. Between vertices the triangles cut corners; by how much is stated by the tiler
(`stats.levels[].dem_error`), and is measured again here at the centres of the raster's cells.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from twin import crs
from twin.ground import Ground, raster_parts, reference_of
from twin.model import Bounds

from .glb import Model
from .issues import Where
from .positions import Task, figures
from .positions_geodesy import Inverse
from .positions_ground import Terrain
from .terrain_tile import TerrainTile
from .walk import Standing

F64 = NDArray[np.float64]
TILES = 48
"""So many tiles of the finest level are measured cell by cell; vertices are compared in every tile."""
CELLS = 20_000
NAME = re.compile(r"(\d+)/\d+/\d+\.glb")
"""The level of a content of a ground as 3D Tiles."""
UPRIGHT = 0.01
"""Sine of the angle to the vertical within which a triangle is a wall; no ground of heights over a plan stands so."""
ROUNDED = 0.002
"""Metres by which a vertex of the finest level may have been rounded."""
MEANS = 1.98
"""Cells from one place of a lattice to the next, from which it shows means of cells: those of an overview, which also ends elsewhere."""


class Heights:
    """Compares the tiles of the finest level; to be shown all tiles of an archive."""

    def __init__(self, task: Task) -> None:
        version = task.version
        self.terrains = [Terrain(Ground(task.lake.path(p.key), reference_of(version, p), p.key)) for p in raster_parts(version)]
        self.terrain = self.terrains[0]
        self.levels = task.info.get("stats", {}).get("levels", [])
        self.finest = len(self.levels) - 1
        self.stated = self.levels[-1] if self.levels else {}
        self.limit = task.limit
        self.known = _known_cells(self.terrain.file)
        self.every = max(1, int(self.stated.get("tiles", 1)) // TILES)
        self.rough = self.limit + float(self.stated.get("dem_error", 0.0))
        self.steps = [self._step(terrain) for terrain in self.terrains]
        self.errors: list[F64] = []
        self.surface: list[F64] = []
        self.skipped = self.seen = 0

    def _step(self, terrain: Terrain) -> float:
        """Cells of a raster from one place of the finest lattice to the next; from `MEANS` on the lattice shows means of cells."""
        box = crs.extent_of(terrain.inverse.reference, Bounds(*terrain.file.bounds))
        cell = ((box.maxy - box.miny) / terrain.file.height * (box.maxx - box.minx) / terrain.file.width) ** 0.5
        return float(180 / 2**self.finest / 64 / cell) if self.levels else MEANS

    def see(self, z: int, tile: TerrainTile, where: Where) -> None:
        """Compare one tile of level z."""
        if z != self.finest:
            return
        truth, allowed = np.full(len(tile.lonlat), np.nan), np.full(len(tile.lonlat), self.limit)
        for terrain, step in zip(self.terrains, self.steps, strict=True):  # the first with data all around a place counts
            plan = terrain.inverse.plan(tile.lonlat)
            sample = terrain.at(plan)
            if step >= MEANS:
                allowed[np.isnan(truth) & _about(terrain, plan, 2 * step)] = self.rough
            here = sample.whole & np.isnan(truth)
            truth[here] = (sample.height * terrain.inverse.reference.vertical_unit + terrain.inverse.shift(tile.lonlat))[here]
        known = ~np.isnan(truth)
        errors = np.abs(tile.height - truth)[known]
        self.skipped += int((~known).sum())
        self.errors.append(errors.astype(np.float32))
        off = ~(errors <= allowed[known] + tile.step)
        if off.any():
            worst = int(np.argmax(np.where(off, errors, -1.0)))
            where.error("HEIGHT_OFF", f"a vertex lies {errors[worst]:.3f} m from the raster (limit {allowed[known][worst]:.3f} m)")
        if self.seen % self.every == 0:
            self._between(tile)
        self.seen += 1

    def see_model(self, model: Model, transform: F64, where: Where, _: Standing) -> None:
        """Compare one content of the same ground as 3D Tiles, named by its level, column and row."""
        name = NAME.search(where.path)
        if name is not None and int(name[1]) == self.finest and (tile := _of_model(model, transform, self.terrain.inverse)) is not None:
            self.see(self.finest, tile, where)

    def _between(self, tile: TerrainTile) -> None:
        """The surface at the centres of the cells that lie on this tile."""
        plan = self.terrain.inverse.plan(tile.lonlat)
        plan = plan[np.isfinite(plan).all(axis=1)]
        if not len(plan):
            return
        cell = self.terrain.cells(plan)
        low = np.maximum(np.floor(cell.min(axis=0)), 0).astype(np.int64)
        high = np.minimum(np.ceil(cell.max(axis=0)), [self.terrain.file.width, self.terrain.file.height]).astype(np.int64)
        if (high <= low).any():
            return
        step = max(1, int(np.ceil(np.sqrt(float(np.prod((high - low).astype(np.float64))) / CELLS))))
        column, row = (a.ravel() + 0.5 for a in np.meshgrid(np.arange(low[0], high[0], step), np.arange(low[1], high[1], step)))
        xy = self.terrain.places(column, row)
        sample, lonlat = self.terrain.at(xy), self.terrain.inverse.lonlat(xy)
        lonlat[:, 0] += 360 * np.round((tile.lonlat[0, 0] - lonlat[:, 0]) / 360)  # a raster may cross the 180th meridian
        good = np.isfinite(sample.height)
        at, height = surface_at(tile, lonlat[good])
        truth = sample.height[good][at] * self.terrain.inverse.reference.vertical_unit + self.terrain.inverse.shift(lonlat[good][at])
        self.surface.append(np.abs(height - truth))

    def finish(self, where: Where) -> dict[str, Any]:
        """The stated error of the finest level against what was measured; the figures."""
        for terrain in self.terrains:
            terrain.file.close()
        errors = np.concatenate(self.errors) if self.errors else np.zeros(0)
        between = np.concatenate(self.surface) if self.surface else np.zeros(0)
        if not len(errors) and not len(between):  # a raster of one row has no place between four cells, but its cells count
            where.error("HEIGHT_OFF", "no vertex of the finest level lies on the raster")
        worst, stated = float(between.max()) if len(between) else 0.0, float(self.stated.get("dem_error", 0.0))
        if worst > stated + self.limit:
            # an audit of all cells must hold everywhere; one of a sample may miss the worst cell
            say = where.error if int(self.stated.get("dem_samples", 0)) >= self.known else where.warning
            say("SURFACE_OFF", f"the surface lies {worst:.3f} m from a cell of the raster, {stated:.3f} m is stated")
        return figures(errors.astype(np.float64), vertices=len(errors), outside=self.skipped, surface_max_error_m=round(worst, 4),
                       surface_mean_error_m=round(float(between.mean()), 4) if len(between) else None, surface_stated_m=stated,
                       cells=len(between))  # fmt: skip


def told(document: Any, levels: list[dict[str, Any]], where: Where) -> None:
    """What tileset.json says of each level of a ground as 3D Tiles, against what was measured: less would show coarse ground from near, and levels added up show all at once."""
    stack = [(document.get("root"), None)] if isinstance(document, dict) else []
    while stack:
        tile, refine = stack.pop()
        if not isinstance(tile, dict):
            continue  # said by the walk
        refine = tile.get("refine", refine)
        below = tile.get("children", [])
        uri = tile["content"].get("uri") if isinstance(tile.get("content"), dict) else None
        name = NAME.search(uri) if isinstance(uri, str) else None
        if name is not None and below and refine == "ADD":
            where.error("TERRAIN_LEVELS_ADDED", f"{uri} is drawn beneath the finer tiles that should stand for it (refine is ADD)")
        bound = levels[int(name[1])].get("error_bound", 0.0) if name is not None and int(name[1]) < len(levels) else 0.0
        error = tile.get("geometricError")
        if below and isinstance(error, int | float) and error < bound * (1 - 1e-6):
            where.error("TERRAIN_ERROR_UNDERSTATED", f"{uri} states an error of {error:.3f} m, {bound:.3f} m was measured on its level")
        stack.extend((child, refine) for child in (below if isinstance(below, list) else []))


def _of_model(model: Model, transform: F64, inverse: Inverse) -> TerrainTile | None:
    """The ground of a content, without the walls that hang from its rim: their triangles stand upright, and what they alone use is their foot."""
    points, triangles, count = list[F64](), list[NDArray[np.int64]](), 0
    for primitive in model.primitives:
        for chunk in primitive.chunks():
            points.append(chunk @ transform[:3, :3].T + transform[:3, 3])
            triangles.append(primitive.triangles().astype(np.int64) + count)
            count += len(chunk)
    if not count:
        return None
    ecef, corners = np.concatenate(points), np.concatenate(triangles)
    a, b, c = (ecef[corners[:, k]] for k in range(3))
    across = np.cross(b - a, c - a)
    lie = (across * a).sum(axis=1) > UPRIGHT * np.linalg.norm(across, axis=1) * np.linalg.norm(a, axis=1)
    if not lie.any():
        return None
    used, number = np.unique(corners[lie], return_inverse=True)
    geodetic = inverse.geodetic(ecef[used])
    nothing = np.zeros(len(used), np.int64)
    return TerrainTile(nothing, nothing, geodetic[:, :2], geodetic[:, 2], number.reshape(-1, 3), ROUNDED)


def _about(terrain: Terrain, plan: F64, room: float) -> NDArray[np.bool_]:
    """Which places lie on a raster or within so many cells of it."""
    finite, cell = np.isfinite(plan).all(axis=1), np.full(plan.shape, np.nan)
    cell[finite] = terrain.cells(plan[finite])
    return np.asarray(((cell >= -room) & (cell <= np.array([terrain.file.width, terrain.file.height]) + room)).all(axis=1))


def surface_at(tile: TerrainTile, lonlat: F64) -> tuple[NDArray[np.int64], F64]:
    """(rows of the places that lie on the tile, the triangles' heights there)."""
    corners = tile.lonlat[tile.triangles]
    tree = shapely.STRtree(shapely.polygons(np.concatenate([corners, corners[:, :1]], axis=1)))
    place, triangle = tree.query(shapely.points(lonlat), predicate="intersects")
    place, first = np.unique(place, return_index=True)
    triangle = triangle[first]
    a, b, c = (corners[triangle, k] for k in range(3))
    ab, ac, ap = b - a, c - a, lonlat[place] - a
    area = ab[:, 0] * ac[:, 1] - ab[:, 1] * ac[:, 0]
    s = (ap[:, 0] * ac[:, 1] - ap[:, 1] * ac[:, 0]) / area
    t = (ab[:, 0] * ap[:, 1] - ab[:, 1] * ap[:, 0]) / area
    h = tile.height[tile.triangles[triangle]]
    return place, h[:, 0] + s * (h[:, 1] - h[:, 0]) + t * (h[:, 2] - h[:, 0])


def _known_cells(file: Any) -> int:
    """How many cells of a raster hold data; of a large one, how many cells it has."""
    cells = int(file.width * file.height)
    return int(file.read(1, masked=True).count()) if cells <= 4_000_000 else cells
