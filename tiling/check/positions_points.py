"""Point tiles against the cloud as laspy reads it: counts (in all and by class), and places both ways.

Files keep their own references and their own left-out points (by flag and class, as the version's parts say); both are
applied here by laspy's names and pyproj, not by the tiler's bytes and tables.

Points have no ids. So a sample of the source is looked for in the tiles, a sample of the tiles in the source, and the
numbers must agree exactly: a point lost, drawn twice or moved shows in one of the three. Of a drawn point that can be
meant for one of the source only, class and intensity are compared too (colours are not: they follow the style).
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
from .positions_gaps import Gaps
from .positions_geodesy import Inverse, tame
from .statistics_kept import entries
from .walk import Standing

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
CHUNK = 1_000_000
SAMPLE = 200_000
PRECISE = 0.02
"""Metres within which most points of each tile must be found. In a dense cloud a wrong point has right ones around it
within any coarse limit, so the limit for the bulk is far below the spacing of points."""
BULK = 90.0
ALONE = 0.05
"""Metres within which there must be no second point of the source, for a drawn one to be held against the first."""


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
        self.intensities = (np.inf, -np.inf)
        sample = [self._survey(values, xyz)[(-start) % self.stride :: self.stride] for start, values, xyz in self._chunks()]
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
        self.told: list[I64] = []  # class and intensity (−1: none) of the sample
        self.places: list[Where] = []
        self.gaps = Gaps()

    def _chunks(self) -> Iterator[tuple[int, I64, F64]]:
        """(number of the first, (N, 2) classes and intensities, places in the layer's reference) of the points that are meant to be drawn."""
        start = 0
        for item in self.files:
            with laspy.open(item.path) as file:
                for chunk in file.chunk_iterator(CHUNK):
                    keep = item.keeps(chunk)
                    values = np.column_stack([np.asarray(column, np.int64)[keep] for column in (chunk.classification, chunk.intensity)])
                    xyz = _xyz(chunk)[keep]
                    if len(xyz):
                        yield start, values, xyz if item.own is None else moved(xyz, item.own, self.inverse)
                    start += len(xyz)

    def _survey(self, values: I64, xyz: F64) -> F64:
        counts = np.bincount(values[:, 0], minlength=256)
        self.intensities = min(self.intensities[0], int(values[:, 1].min())), max(self.intensities[1], int(values[:, 1].max()))
        self.classes.update({int(c): int(counts[c]) for c in np.flatnonzero(counts)})
        return xyz

    def see(self, model: Model, transform: F64, where: Where, standing: Standing) -> None:
        """Count one content's points by class, look for the source's sample among them, and keep a sample of them."""
        if not standing.finest:
            return
        for primitive in model.primitives:
            told = self._count(primitive, where)
            for local in primitive.chunks():
                ecef = local @ transform[:3, :3].T + transform[:3, 3]
                points = tame(((ecef if self.bent else self.inverse.near(self.inverse.source(ecef), float(self.origin[0]))) - self.origin) * self.unit)
                self._look(points)
                self.gaps.see(points, standing, where)
                first = (-self.drawn) % self.stride
                self.sample.append(points[first :: self.stride])
                self.told.append(told[first :: self.stride])
                self.places.append(where)
                self.drawn += len(points)

    def _count(self, primitive: Any, where: Where) -> I64:
        """(N, 2) class and intensity of each point; −1 where it has none."""
        told = np.full((len(primitive.local), 2), -1, np.int64)
        table = table_of(primitive)
        codes = None if table is None else table.columns.get("classification")
        if codes is None:
            where.error("FEATURE_WITHOUT_ID", f"{primitive.pointer} has no table of point classes")
            return told
        rows = np.bincount(primitive.feature_ids[0].ids, minlength=len(codes)) * primitive.instances
        self.drawn_classes.update({int(codes[i]): int(rows[i]) for i in np.flatnonzero(rows)})
        told[:, 0] = np.asarray(codes)[primitive.feature_ids[0].ids]
        if "_INTENSITY" in primitive.attributes:
            told[:, 1] = np.asarray(primitive.attributes["_INTENSITY"]).ravel()
        return told

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
        self.gaps.finish(where)
        errors = self._search()
        return figures(errors, points=self.drawn, expected=self.total, compared=len(errors), sought=len(self.found))

    @staticmethod
    def _values(drawn: I64, source: I64, where: Where) -> None:
        """Classes and intensities of points that are certainly the same."""
        for k, name in enumerate(("classification", "intensity")):
            wrong = np.flatnonzero((drawn[:, k] != source[:, k]) & (drawn[:, k] >= 0))
            if len(wrong):
                where.error("VALUE_WRONG", f"{name!r} of {len(wrong):,} of {len(drawn):,} points is not the source's: {drawn[wrong[0], k]} for {source[wrong[0], k]}")

    def stated(self, document: Any, where: Where) -> None:
        """The statistics of tileset.json, by which clients style, against the source's classes and intensities; what is left out is told elsewhere (`statistics_kept`)."""
        where = where / "tileset.json" / "statistics" / "classes"
        listed = entries(document, "schema", "enums").get("point_classes", {}).get("values")
        names = {str(item.get("value")): str(item.get("name")) for item in listed if isinstance(item, dict)} if isinstance(listed, list) else {}
        true = {names.get(str(code), str(code)): count for code, count in self.classes.items() if count}
        low, high = self.intensities
        for class_id, told in entries(document, "statistics", "classes").items():
            at, properties = where / class_id, entries(told, "properties")
            if told.get("count", self.total) != self.total:
                at.error("STATISTICS_WRONG", f"count is {told['count']}, the source has {self.total:,} points")
            if (shown := properties.get("class", {}).get("occurrences", true)) != true:
                (at / "properties" / "class").error("STATISTICS_WRONG", f"occurrences are {shown}, of the source's points {true}")
            stated = properties.get("intensity", {})
            if high > 0 and (stated.get("min", low), stated.get("max", high)) != (low, high):
                (at / "properties" / "intensity").error("STATISTICS_WRONG", f"{stated.get('min')} to {stated.get('max')} is stated, the source has {low} to {high}")

    def _search(self) -> F64:
        """(S,) metres from each sampled drawn point to the nearest of the source; findings tile by tile."""
        if not self.sample:
            return np.zeros(0)
        points = np.concatenate(self.sample)
        errors, second, values = np.full(len(points), np.inf), np.full(len(points), np.inf), np.full((len(points), 2), -1, np.int64)
        for _, told, xyz in self._chunks():
            source = ((self.inverse.ecef(xyz) if self.bent else xyz) - self.origin) * self.unit
            rows, alone = _places(source)
            distance, near = cKDTree(source[rows]).query(points, k=2, distance_upper_bound=1000.0)
            near = np.minimum(near[:, 0], len(rows) - 1)
            closer = distance[:, 0] < errors
            second = np.minimum(np.where(closer, errors, distance[:, 0]), np.minimum(second, np.where(alone[near], distance[:, 1], distance[:, 0])))
            values[closer] = told[rows[near[closer]]]
            errors = np.minimum(errors, distance[:, 0])
        certain = (errors <= PRECISE) & (second > ALONE)
        at = 0
        for own, drawn, where in zip(self.sample, self.told, self.places, strict=True):
            mine, here = errors[at : at + len(own)], certain[at : at + len(own)]
            self._values(drawn[here], values[at : at + len(own)][here], where)
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
    """A search tree of (N, 3) places, each once."""
    return cKDTree(points[_places(points)[0]])


def _places(points: F64) -> tuple[I64, NDArray[np.bool_]]:
    """(rows of (N, 3) places, each once; whether one point alone is there): thousands in one place (scanners put what they miss at their origin) would be a list and no tree."""
    key = np.zeros(len(points), np.uint64)
    for column in np.ascontiguousarray(points).view(np.uint64).T:  # all bits go into a number by which places are told apart
        key = (key ^ column ^ (column >> np.uint64(32))) * np.uint64(0xFF51AFD7ED558CCD)
        key ^= key >> np.uint64(29)
    _, rows, times = np.unique(key, return_index=True, return_counts=True)
    return rows, times == 1


def _xyz(chunk: Any) -> F64:
    return np.column_stack([np.asarray(chunk.x, np.float64), np.asarray(chunk.y, np.float64), np.asarray(chunk.z, np.float64)])
