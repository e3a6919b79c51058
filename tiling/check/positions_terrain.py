"""Terrain tiles against the raster they were made from: vertices, and the surface between them.

Where the finest lattice is as fine as the raster's cells, a vertex shows the raster's own bilinear height and must be
within the limit of our second reading. Between vertices the triangles cut corners; by how much is stated by the tiler
(`stats.levels[].dem_error`), and is measured again here at the centres of the raster's cells.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from twin import crs
from twin.ground import Ground, raster_parts, reference_of
from twin.model import Bounds

from .issues import Where
from .positions import Task, figures
from .positions_ground import Terrain
from .terrain_tile import TerrainTile

F64 = NDArray[np.float64]
TILES = 48
"""So many tiles of the finest level are measured cell by cell; vertices are compared in every tile."""
CELLS = 20_000


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
        self.full = self._as_fine()
        self.errors: list[F64] = []
        self.surface: list[F64] = []
        self.skipped = self.seen = 0

    def _as_fine(self) -> bool:
        """Whether the finest lattice is as fine as the cells of the finest raster (else it shows means of cells)."""
        file = self.terrain.file
        if not self.levels:
            return False
        box = crs.extent_of(self.terrain.inverse.reference, Bounds(*file.bounds))
        cell = ((box.maxy - box.miny) / file.height * (box.maxx - box.minx) / file.width) ** 0.5
        return bool(180 / 2**self.finest / 64 < 2 * cell * 0.99)

    def see(self, z: int, tile: TerrainTile, where: Where) -> None:
        """Compare one tile of level z."""
        if z != self.finest:
            return
        truth = np.full(len(tile.lonlat), np.nan)
        for terrain in self.terrains:  # the finest with data all around a place counts
            sample = terrain.at(terrain.inverse.plan(tile.lonlat))
            here = sample.whole & np.isnan(truth)
            truth[here] = (sample.height * terrain.inverse.reference.vertical_unit + terrain.inverse.shift(tile.lonlat))[here]
        known = ~np.isnan(truth)
        errors = np.abs(tile.height - truth)[known]
        self.skipped += int((~known).sum())
        self.errors.append(errors.astype(np.float32))
        allowed = self.limit if self.full else self.limit + float(self.stated.get("dem_error", 0.0))
        if len(errors) and not errors.max() <= allowed + tile.step:
            where.error("HEIGHT_OFF", f"a vertex lies {errors.max():.3f} m from the raster (limit {allowed:.3f} m)")
        if self.seen % self.every == 0:
            self._between(tile)
        self.seen += 1

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
