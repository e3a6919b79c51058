"""Block models against their footprints: outline, ground and roof of every building.

The rule as documented: roof = base + height; the base is the row's own, else the lowest ground under the corners of the
outline and its centroid, else the level that the tiler was told. It is worked out again here from the source.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import shapely
from numpy.typing import NDArray

from .glb import Model
from .issues import Where
from .positions import LIMIT, Feature, Roll, Task, features_of, known_only, listed, local_metres, nearest, worst_of
from .positions_absent import Absent
from .positions_geodesy import Inverse
from .positions_ground import Terrain
from .positions_masses import Masses, upright
from .positions_rows import SourceRows
from .walk import Standing

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
LOST = {"FEATURE_MISSING", "FEATURE_TWICE", "FEATURE_UNKNOWN", "FEATURE_WITHOUT_ID"}
"""Findings that say already why masses would not agree."""
NOTHING = 0.01
"""Cubic metres that steps of a millimetre may make of a solid without a volume."""


class Blocks:
    """A `Comparison` of a footprint layer."""

    def __init__(self, task: Task) -> None:
        style = task.version.style
        self.height, self.base = str(style.get("height", "height")), style.get("base")
        self.level, self.limit = task.options.get("ground"), task.limit
        self.inverse = Inverse(task.version.reference)
        self.terrain = Terrain(task.ground) if task.ground is not None else None
        self.rows = SourceRows(task.lake, task.version, ["geometry", self.height, *([self.base] if self.base else [])])
        self.roll = Roll(self.rows.rows, self.rows.names, self.rows.shown, task.info.get("report", {}))
        self.plan_error = self.height_error = 0.0
        self.low, self.high = np.inf, -np.inf
        self.stated = task.info.get("heights")
        self.masses, self.absent = Masses(), Absent()

    def see(self, model: Model, transform: F64, where: Where, standing: Standing) -> None:
        """Compare the buildings of one content."""
        if not standing.finest:
            self.masses.see(model, transform, where, standing)
            return
        found = features_of(model, transform, where)
        if found is None:
            return
        rows = self.roll.known(found.ids, where)
        found, rows = known_only(found, rows)
        if not len(rows):
            return
        table = self.rows.take(rows)
        geometry = shapely.from_wkb(table.column("geometry").to_numpy(zero_copy_only=False))
        geodetic = self.inverse.geodetic(found.ecef)
        plan = self._outline(found, geometry, geodetic)
        self.roll.off(found.ids, rows, plan, self.limit, "POSITION_OFF", "the outline lies", where)
        upright = self._heights(found, table, geometry, geodetic)
        self.roll.off(found.ids, rows, upright, self.limit, "HEIGHT_OFF", "the foot or the roof lies", where)
        inward = [found.ids[i] for i in np.flatnonzero(_volumes(found) < -NOTHING)]
        if inward:
            where.error("FACES_INWARD", f"the faces of {len(inward)} features look inwards: {listed(inward)}")
        self.absent.see(found, np.column_stack([self.inverse.plan(geodetic), geodetic[:, 2]]), self.inverse, standing, where)
        if standing.above:
            self.masses.leaf(_summed(found, geodetic), standing)
        self.plan_error, self.height_error = max(self.plan_error, _top(plan)), max(self.height_error, _top(upright))
        self.low, self.high = min(self.low, float(geodetic[:, 2].min())), max(self.high, float(geodetic[:, 2].max()))

    def _outline(self, found: Feature, geometry: NDArray[Any], geodetic: F64) -> F64:
        """(F,) metres in plan: source corners to drawn corners, and drawn corners to the source's outline."""
        corner, owner = shapely.get_coordinates(geometry, return_index=True)
        first = corner[np.minimum(np.searchsorted(owner, np.arange(len(geometry))), len(corner) - 1)]
        scaled, unit, origin = local_metres(self.inverse, self.inverse.near(self.inverse.plan(geodetic), first[found.owner, 0]))
        corner = (corner - origin) * unit
        missed = nearest(corner, owner, scaled, found.owner)
        strayed = nearest(scaled, found.owner, corner, owner)
        # a corner on a straight line may be left out, and a part without area: what counts then is the drawn area's edge
        for i in np.unique(owner[missed > self.limit]):
            drawn = shapely.union_all(_shadows(scaled, found.triangles[found.owner[found.triangles[:, 0]] == i]))
            here = np.flatnonzero((owner == i) & (missed > self.limit))
            missed[here] = np.minimum(missed[here], shapely.distance(drawn.boundary, shapely.points(corner[here])))
        astray = np.flatnonzero(strayed > self.limit)
        if len(astray):
            outline = shapely.transform(geometry[found.owner[astray]], lambda xy: (xy - origin) * unit)
            strayed[astray] = np.minimum(strayed[astray], shapely.distance(shapely.boundary(outline), shapely.points(scaled[astray])))
        count = len(found.ids)
        return np.maximum(worst_of(np.nan_to_num(missed, nan=np.inf), owner, count), worst_of(np.nan_to_num(strayed, nan=np.inf), found.owner, count))

    def _heights(self, found: Feature, table: pa.Table, geometry: NDArray[Any], geodetic: F64) -> F64:
        """(F,) metres: how far a vertex is from both foot and roof, and how far the drawn foot and roof are from theirs."""
        foot = self._foot(table, geometry)
        roof = foot + _numbers(table, self.height)
        up, owner, count = geodetic[:, 2], found.owner, len(found.ids)
        low, high = np.full(count, np.inf), np.full(count, -np.inf)
        np.minimum.at(low, owner, up)
        np.maximum.at(high, owner, up)
        between = worst_of(np.minimum(np.abs(up - foot[owner]), np.abs(up - roof[owner])), owner, count)
        return np.asarray(np.nan_to_num(np.maximum(between, np.maximum(np.abs(low - foot), np.abs(high - roof))), nan=np.inf))

    def _foot(self, table: pa.Table, geometry: NDArray[Any]) -> F64:
        """(F,) ellipsoidal metres of the base."""
        foot = np.full(len(table), np.nan)
        corner, owner = shapely.get_coordinates(geometry, return_index=True)
        if not self.base and self.terrain is None:
            return np.asarray(np.full(len(table), np.nan if self.level is None else float(self.level)))
        lonlat = self.inverse.lonlat(corner)
        if self.base:
            first = np.searchsorted(owner, np.arange(len(table)))
            foot = _numbers(table, self.base) * self.inverse.reference.vertical_unit + self.inverse.shift(lonlat[first])
        if self.terrain is not None and np.isnan(foot).any():
            middle = self.inverse.lonlat(shapely.get_coordinates(shapely.centroid(geometry)))
            ground = self.terrain.ellipsoidal(np.concatenate([lonlat, middle]))
            lowest = np.full(len(table), np.inf)
            np.fmin.at(lowest, np.concatenate([owner, np.arange(len(table))]), ground)
            foot = np.where(np.isnan(foot) & np.isfinite(lowest), lowest, foot)
        return np.asarray(np.where(np.isnan(foot), self.level, foot)) if self.level is not None else foot

    def finish(self, where: Where) -> dict[str, Any]:
        """Missing buildings, the stated range of heights, and the figures."""
        if self.terrain is not None:
            self.terrain.__exit__(None, None, None)
        if self.stated and np.isfinite(self.low):
            gap = max(abs(self.stated[0] - self.low), abs(self.stated[1] - self.high))
            if gap > LIMIT:
                where.error("HEIGHTS_STATED", f"heights {self.stated[0]:.2f}…{self.stated[1]:.2f} m are stated, {self.low:.2f}…{self.high:.2f} m are drawn")
        told = self.roll.finish(where)
        if not where.report.codes() & LOST:
            self.masses.finish()
            self.absent.finish(where)
        return told | {"plan_error_m": _rounded(self.plan_error), "height_error_m": _rounded(self.height_error)}


def _summed(found: Feature, geodetic: F64) -> F64:
    """(F, 5) of the buildings as drawn: middle of the corners (ECEF), m² as seen from above, metres from foot to roof."""
    count = len(found.ids)
    number = np.maximum(np.bincount(found.owner, minlength=count), 1)
    middle = np.column_stack([np.bincount(found.owner, found.ecef[:, k], minlength=count) / number for k in range(3)])
    owner, corners = found.owner[found.triangles[:, 0]], found.ecef[found.triangles]
    up = upright(middle)  # not away from the earth's centre: tall walls would be seen from above then, 3 mm of each metre
    across = (np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]) * up[owner]).sum(axis=1) / 2
    low, high = np.full(count, np.inf), np.full(count, -np.inf)
    np.minimum.at(low, found.owner, geodetic[:, 2])
    np.maximum.at(high, found.owner, geodetic[:, 2])
    return np.column_stack([middle, np.bincount(owner, np.maximum(across, 0.0), minlength=count), high - low])


def _volumes(found: Feature) -> F64:
    """(F,) cubic metres within each feature's triangles, negative where they look inwards."""
    owner = found.owner[found.triangles[:, 0]]
    number = np.maximum(np.bincount(found.owner, minlength=len(found.ids)), 1)
    middle = np.column_stack([np.bincount(found.owner, found.ecef[:, k], minlength=len(found.ids)) / number for k in range(3)])
    a, b, c = (found.ecef[found.triangles[:, k]] - middle[owner] for k in range(3))
    return np.bincount(owner, np.einsum("ij,ij->i", a, np.cross(b, c)), minlength=len(found.ids)) / 6


def _top(values: F64) -> float:
    return float(values.max()) if len(values) else 0.0


def _rounded(value: float) -> float | None:
    return round(value, 6) if np.isfinite(value) else None


def _numbers(table: pa.Table, column: str) -> F64:
    values = table.column(column).combine_chunks().cast(pa.float64())
    return np.asarray(values.to_numpy(zero_copy_only=False), np.float64)


def _shadows(plan: F64, triangles: I64) -> NDArray[Any]:
    """Triangles seen from above, without those that stand upright."""
    corners = plan[triangles]
    a, b = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    flat = np.abs(a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]) > 1e-3
    return np.asarray(shapely.set_precision(shapely.polygons(np.concatenate([corners, corners[:, :1]], axis=1)[flat]), 1e-4))
