"""Point tiles against the cloud as laspy reads it: counts (in all and by class), and places both ways.

Files keep their own references and their own left-out points (by flag and class, as the version's parts say); both are
applied here by laspy's names and pyproj, not by the tiler's bytes and tables.

Points have no ids. So a sample of the source is looked for in the tiles, a sample of the tiles in the source, and the
numbers must agree exactly: a point lost, drawn twice or moved shows in one of the three.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import laspy
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from twin import clouds
from twin.model import Part

from .glb import Model
from .issues import Where
from .positions import Task, figures, table_of
from .positions_geodesy import Inverse, tame
from .walk import Standing

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
CHUNK = 1_000_000
SAMPLE = 200_000
PRECISE = 0.02
"""Metres within which most points of each tile must be found. In a dense cloud a wrong point has right ones around it
within any coarse limit, so the limit for the bulk is far below the spacing of points."""
BULK = 90.0


@dataclass(frozen=True)
class _File:
    """One file of the layer: where it lies, its reference where it is not the layer's, and what its part says is left out."""

    path: Path
    own: Inverse | None
    flags: tuple[str, ...]
    classes: tuple[int, ...]

    @staticmethod
    def of(task: Task, part: Part) -> _File:
        own = clouds.own_reference(task.version, part)
        inverse = None if own == task.version.reference else Inverse(own)
        return _File(task.lake.path(part.key), inverse, tuple(part.properties.get("drop_flags", ())), tuple(part.properties.get("drop_classes", ())))

    def keeps(self, chunk: Any) -> NDArray[np.bool_]:
        """(N,) which points are meant to be drawn."""
        keep = ~np.isin(np.asarray(chunk.classification), self.classes)
        for name in self.flags:
            keep &= np.asarray(chunk[name]) == 0
        return np.asarray(keep)


def moved(xyz: F64, own: Inverse, to: Inverse) -> F64:
    """(N, 3) coordinates of one reference → of another, heights over the ellipsoid between them."""
    lonlat = own.lonlat(xyz[:, :2])
    height = xyz[:, 2] * own.reference.vertical_unit + own.shift(lonlat)
    return np.column_stack([to.plan(lonlat), (height - to.shift(lonlat)) / to.reference.vertical_unit])


class Clouds:
    """A `Comparison` of a point layer, in its own coordinates in metres, or earth-centred where those are no measure (`Inverse.bent`)."""

    def __init__(self, task: Task) -> None:
        self.inverse, self.limit = Inverse(task.version.reference), task.limit
        parts = [part for part in task.version.parts if part.role == "cloud"]
        self.files = [_File.of(task, part) for part in parts]
        self.total = sum(part.count for part in parts)
        self.stride = max(1, self.total // SAMPLE)
        self.classes: Counter[int] = Counter()
        self.drawn_classes: Counter[int] = Counter()
        self.drawn = 0
        sample = [self._survey(codes, xyz)[(-start) % self.stride :: self.stride] for start, codes, xyz in self._chunks()]
        self.wanted = np.concatenate(sample)
        low, high = self.wanted.min(axis=0), self.wanted.max(axis=0)
        self.bent = self.inverse.bent(low, high)
        if self.bent:
            self.wanted = self.inverse.ecef(self.wanted)
            low, high = self.wanted.min(axis=0), self.wanted.max(axis=0)
        self.origin = (low + high) / 2
        self.unit = np.ones(3) if self.bent else self.inverse.metres(self.origin)
        self.wanted = (self.wanted - self.origin) * self.unit
        self.order = np.argsort(self.wanted[:, 0], kind="stable")
        self.found = np.full(len(self.wanted), np.inf)
        self.sample: list[F64] = []
        self.places: list[Where] = []

    def _chunks(self) -> Iterator[tuple[int, NDArray[np.uint8], F64]]:
        """(number of the first, classes, places in the layer's reference) of the points that are meant to be drawn."""
        start = 0
        for item in self.files:
            with laspy.open(item.path) as file:
                for chunk in file.chunk_iterator(CHUNK):
                    keep = item.keeps(chunk)
                    codes, xyz = np.asarray(chunk.classification)[keep], _xyz(chunk)[keep]
                    if len(xyz):
                        yield start, codes, xyz if item.own is None else moved(xyz, item.own, self.inverse)
                    start += len(xyz)

    def _survey(self, codes: NDArray[np.uint8], xyz: F64) -> F64:
        counts = np.bincount(codes, minlength=256)
        self.classes.update({int(c): int(counts[c]) for c in np.flatnonzero(counts)})
        return xyz

    def see(self, model: Model, transform: F64, where: Where, standing: Standing) -> None:
        """Count one content's points by class, look for the source's sample among them, and keep a sample of them."""
        if not standing.finest:
            return
        for primitive in model.primitives:
            self._count(primitive, where)
            for local in primitive.chunks():
                ecef = local @ transform[:3, :3].T + transform[:3, 3]
                points = tame(((ecef if self.bent else self.inverse.near(self.inverse.source(ecef), float(self.origin[0]))) - self.origin) * self.unit)
                self._look(points)
                first = (-self.drawn) % self.stride
                self.sample.append(points[first :: self.stride])
                self.places.append(where)
                self.drawn += len(points)

    def _count(self, primitive: Any, where: Where) -> None:
        table = table_of(primitive)
        codes = None if table is None else table.columns.get("classification")
        if codes is None:
            where.error("FEATURE_WITHOUT_ID", f"{primitive.pointer} has no table of point classes")
            return
        rows = np.bincount(primitive.feature_ids[0].ids, minlength=len(codes)) * primitive.instances
        self.drawn_classes.update({int(codes[i]): int(rows[i]) for i in np.flatnonzero(rows)})

    def _look(self, points: F64) -> None:
        """The sample's places near these points: how near they are."""
        if not len(points):
            return
        low, high = points.min(axis=0) - 1, points.max(axis=0) + 1
        x = self.wanted[self.order, 0]
        rows = self.order[np.searchsorted(x, low[0]) : np.searchsorted(x, high[0])]
        rows = rows[((self.wanted[rows] >= low) & (self.wanted[rows] <= high)).all(axis=1)]
        if len(rows):
            distance, _ = _tree(points).query(self.wanted[rows])
            self.found[rows] = np.minimum(self.found[rows], distance)

    def finish(self, where: Where) -> dict[str, Any]:
        """The three comparisons as findings and figures."""
        if self.drawn != self.total:
            where.error("POINT_COUNT", f"{self.drawn:,} points are drawn, the source has {self.total:,}")
        for code in sorted(self.classes.keys() | self.drawn_classes.keys()):
            if self.classes[code] != self.drawn_classes[code]:
                where.error("POINT_CLASS_COUNT", f"class {code}: {self.drawn_classes[code]:,} points are drawn, the source has {self.classes[code]:,}")
        missed = np.flatnonzero(~(self.found <= self.limit))
        if len(missed):
            place = self.wanted[missed[:1]] / self.unit + self.origin
            x, y, z = (self.inverse.source(place) if self.bent else place)[0]
            where.error("POINT_MISSING", f"{len(missed):,} of {len(self.found):,} sampled points of the source are not drawn within {self.limit:g} m, "
                                         f"for example that at {x:.3f} {y:.3f} {z:.3f}")  # fmt: skip
        errors = self._search()
        return figures(errors, points=self.drawn, expected=self.total, compared=len(errors), sought=len(self.found))

    def _search(self) -> F64:
        """(S,) metres from each sampled drawn point to the nearest of the source; findings tile by tile."""
        if not self.sample:
            return np.zeros(0)
        points = np.concatenate(self.sample)
        errors = np.full(len(points), np.inf)
        for _, _, xyz in self._chunks():
            source = self.inverse.ecef(xyz) if self.bent else xyz
            distance, _ = _tree((source - self.origin) * self.unit).query(points, distance_upper_bound=1000.0)
            errors = np.minimum(errors, distance)
        at = 0
        for own, where in zip(self.sample, self.places, strict=True):
            mine = errors[at : at + len(own)]
            at += len(own)
            if not len(mine):
                continue
            bulk, worst = float(np.percentile(mine, BULK)), float(mine.max())
            if not worst <= self.limit:
                where.error("POSITION_OFF", f"a point lies {worst:.3f} m from any point of the source (limit {self.limit:g} m)")
            elif bulk > PRECISE:
                where.error("POSITION_OFF", f"{100 - BULK:g} % of the points lie more than {bulk:.3f} m from any point of the source (limit {PRECISE:.3f} m)")
        return errors


def _tree(points: F64) -> cKDTree:
    """A search tree of (N, 3) places, each once: thousands in one place (scanners put what they miss at their origin) would be a list and no tree."""
    key = np.zeros(len(points), np.uint64)
    for column in np.ascontiguousarray(points).view(np.uint64).T:  # all bits go into a number by which places are told apart
        key = (key ^ column ^ (column >> np.uint64(32))) * np.uint64(0xFF51AFD7ED558CCD)
        key ^= key >> np.uint64(29)
    return cKDTree(points[np.unique(key, return_index=True)[1]])


def _xyz(chunk: Any) -> F64:
    return np.column_stack([np.asarray(chunk.x, np.float64), np.asarray(chunk.y, np.float64), np.asarray(chunk.z, np.float64)])
