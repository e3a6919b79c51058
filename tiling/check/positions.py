"""Where the tiles say things are, against where the source says they are.

The finest content of a tileset is decoded vertex by vertex, turned back from ECEF into the layer's own coordinates
(`positions_geodesy`) and compared feature by feature with the layer's parts in the lake: every feature must be there
once, its plan and its heights within `LIMIT`. Nothing here is shared with `twin.crs` or with the tilers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from twin.ground import Ground
from twin.lake import Lake
from twin.model import LayerVersion

from .glb import Model
from .issues import Where
from .positions_geodesy import Inverse, tame
from .scene import Primitive
from .surfaces import paint_drawn, turned
from .tables import PropertyTable
from .walk import Standing

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
LIMIT = 0.1
"""Metres by which a decoded vertex may miss its source."""
APART = 1e6
"""Metres put between features in one tree, so that one query answers for all of them at once."""
PAIRS, MOST_PAIRS = 32, 1 << 21
"""Candidates for a point, on average, and pairs in all, up to which distances are taken without a tree."""
LISTED = 10
TURNED = 0.5
"""Share of an area whose normals may point away: those of a sheet that is drawn from both sides by one vertex each do."""
_MIX = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True)
class Task:
    """What the tiles are held against.

    Attributes:
        version: the layer's manifest; lake: where its parts are; ground: the terrain that blocks stand on.
        info: the tiler's facts (`stats`, `report`); options: what the tiler was given.
        limit: metres.
    """

    version: LayerVersion
    lake: Lake
    ground: Ground | None = None
    info: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    limit: float = LIMIT


class Comparison(Protocol):
    """One kind of layer being compared: sees every content once, then sums up."""

    def see(self, model: Model, transform: F64, where: Where, standing: Standing) -> None:
        """Compare one content; `transform` takes its vertices to ECEF."""

    def finish(self, where: Where) -> dict[str, Any]:
        """Report what is missing; the figures: features, max_error_m, p99_error_m and so on."""


@dataclass(frozen=True)
class Feature:
    """The decoded triangles of one content, feature after feature.

    Attributes:
        ids: (F,) ids from the property table, of the rows that are drawn.
        ecef: (V, 3); owner: (V,) position in `ids`; triangles: (T, 3) rows of `ecef`.
        paint: (T,) row in `paints` (P, 5), see `surfaces.Shown`.
    """

    ids: list[str]
    ecef: F64
    owner: I64
    triangles: I64
    paint: I64 = field(default_factory=lambda: np.zeros(0, np.int64))
    paints: F64 = field(default_factory=lambda: np.zeros((0, 5)))


def features_of(model: Model, transform: F64, where: Where) -> Feature | None:
    """Everything that a content draws, by feature id; None, with findings, where ids are lacking."""
    ids: list[str] = []
    number: dict[str, int] = {}
    points, owners, triangles, count = [], [], [], 0
    paints, paint = list[F64](), list[I64]()
    for primitive in model.primitives:
        names = _names(primitive, where)
        if names is None:
            return None
        if (away := turned(primitive)) > TURNED:
            where.error("NORMALS_TURNED", f"of {primitive.pointer} the normals of {away:.0%} of the area point to the side from which it is not seen: it is lit from behind")
        rows = _feature_rows(primitive)
        used = np.unique(rows)
        if (null := (primitive.instance_feature_ids or primitive.feature_ids)[0].null_id) is not None and null in used:
            where.error("FEATURE_WITHOUT_ID", f"{primitive.pointer} draws what is no feature (its nullFeatureId {null})")
            return None
        if used.min() < 0 or used.max() >= len(names):
            where.error("FEATURE_WITHOUT_ID", f"{primitive.pointer} has the feature id {int(used.max())}, its table {len(names)} rows")
            return None
        local = np.zeros(len(names), np.int64)
        for row in used.tolist():
            local[row] = number.setdefault(names[row], len(ids))
            if local[row] == len(ids):
                ids.append(names[row])
        first, place = _different(primitive, rows)
        for chunk, own in zip(primitive.chunks(), rows, strict=True):
            points.append(chunk[first] @ transform[:3, :3].T + transform[:3, 3])
            owners.append(np.broadcast_to(local[own[first] if len(own) > 1 else own], len(first)))
            triangles.append(place[primitive.triangles()] + count)
            paint.append(np.full(len(triangles[-1]), len(paints)))
            count += len(first)
        paints.append(paint_drawn(model.gltf.json, primitive))
    if not points:
        return None
    return Feature(ids, np.concatenate(points), np.concatenate(owners), np.concatenate(triangles), np.concatenate(paint), np.array(paints))


def _different(primitive: Primitive, rows: I64) -> tuple[I64, I64]:
    """(vertices that differ in place or feature, (N,) which of those each vertex is): a corner has a vertex for each of its normals, and is compared once."""
    whole: I64 = np.arange(len(primitive.local))
    if len(rows) != 1 or len(rows[0]) != len(whole):
        return whole, whole
    bits = np.ascontiguousarray(primitive.local).view(np.uint64).reshape(-1, 3)
    with np.errstate(over="ignore"):
        mixed = ((bits[:, 0] * _MIX + bits[:, 1]) * _MIX + bits[:, 2]) * _MIX + rows[0].astype(np.uint64)
        mixed ^= mixed >> np.uint64(32)
    _, first, place = np.unique(mixed, return_index=True, return_inverse=True)
    alike = (bits[first][place] == bits).all() and (rows[0][first][place] == rows[0]).all()
    return (first, place.ravel()) if alike else (whole, whole)  # what is mixed may be alike by chance


def _feature_rows(primitive: Primitive) -> I64:
    """(K, N) table rows of the vertices of each instance, or (K, 1) where an instance is one feature as a whole."""
    if primitive.instance_feature_ids:
        return primitive.instance_feature_ids[0].ids[:, None]
    return np.broadcast_to(primitive.feature_ids[0].ids, (primitive.instances, len(primitive.local)))


def known_only(found: Feature, rows: I64) -> tuple[Feature, I64]:
    """The features that the source holds too."""
    keep = rows >= 0
    number = np.cumsum(keep) - 1
    vertex = keep[found.owner]
    place = np.cumsum(vertex) - 1
    whole = vertex[found.triangles].all(axis=1)
    triangles = found.triangles[whole]
    ids = [name for name, good in zip(found.ids, keep, strict=True) if good]
    return Feature(ids, found.ecef[vertex], number[found.owner[vertex]], place[triangles], found.paint[whole], found.paints), rows[keep]


def local_metres(inverse: Inverse, coordinates: F64) -> tuple[F64, F64, F64]:
    """(coordinates of a reference in metres from an origin among them, metres per unit, the origin in the reference's units)."""
    finite = coordinates[np.isfinite(coordinates).all(axis=1)]
    origin = finite[0] if len(finite) else np.zeros(coordinates.shape[1])
    unit = inverse.metres(origin)[: coordinates.shape[1]]
    return tame((coordinates - origin) * unit), unit, origin


def table_of(primitive: Primitive) -> PropertyTable | None:
    """The property table of the first feature id set of the primitive, or of its instances."""
    sets = primitive.instance_feature_ids or primitive.feature_ids
    if not sets:
        return None
    index = sets[0].property_table
    return primitive.tables[index] if index is not None and index < len(primitive.tables) else None


def _names(primitive: Primitive, where: Where) -> list[str] | None:
    table = table_of(primitive)
    if table is None:
        where.error("FEATURE_WITHOUT_ID", f"{primitive.pointer} has no feature ids with a property table")
        return None
    column = table.semantics.get("ID", "id")
    names = table.columns.get(column)
    if not isinstance(names, list) or any(n is None for n in names):
        where.error("FEATURE_WITHOUT_ID", f"the property table {table.name or table.class_id!r} has no column of ids")
        return None
    return names


def nearest(points: F64, owner: I64, candidates: F64, candidate_owner: I64) -> F64:
    """(N,) distance of each point to the nearest candidate of the same owner, in the points' own units; inf where none."""
    if not len(points):
        return np.zeros(0)
    if not len(candidates):
        return np.full(len(points), np.inf)
    order = np.argsort(candidate_owner, kind="stable")
    numbers = np.bincount(candidate_owner, minlength=int(owner.max()) + 1)
    start, count = (np.cumsum(numbers) - numbers)[owner], numbers[owner]
    total = int(count.sum())
    if total > PAIRS * len(points) or total > MOST_PAIRS:
        tree = cKDTree(np.column_stack([candidates, candidate_owner * APART]))
        found, _ = tree.query(np.column_stack([points, owner * APART]))
    else:  # of features with few corners, each with each
        first = np.cumsum(count) - count
        away = np.repeat(points, count, axis=0) - candidates[order[np.arange(total) + np.repeat(start - first, count)]]
        found = np.full(len(points), np.inf)
        found[count > 0] = np.sqrt(np.minimum.reduceat(np.einsum("ij,ij->i", away, away), first[count > 0])) if total else np.inf
    return np.where(found < APART / 2, found, np.inf)


def worst_of(values: F64, owner: I64, count: int) -> F64:
    """(count,) the largest value of each owner; 0 where it has none."""
    result = np.zeros(count)
    np.maximum.at(result, owner, values)
    return result


def listed(ids: list[str]) -> str:
    """Some ids for a message."""
    more = f" and {len(ids) - LISTED} more" if len(ids) > LISTED else ""
    return ", ".join(ids[:LISTED]) + more


def figures(errors: F64, **more: Any) -> dict[str, Any]:
    """The figures of a set of errors in metres: how many, the largest, the 99th percentile and the mean."""
    finite = errors[np.isfinite(errors)]
    lost = len(errors) - len(finite)
    if not len(finite):
        return {**more, "max_error_m": None, "p99_error_m": None, "mean_error_m": None}
    return {**more, "max_error_m": None if lost else round(float(finite.max()), 6), "p99_error_m": round(float(np.percentile(finite, 99)), 6),
            "mean_error_m": round(float(finite.mean()), 6)}  # fmt: skip


@dataclass
class Roll:
    """Who was seen: each expected feature must be drawn exactly once.

    `rows`: of ids, −1 for those that the source lacks; `names`: the ids of rows.
    """

    rows: Callable[[list[str]], I64]
    names: Callable[[I64], list[str]]
    expected: NDArray[np.bool_]
    report: dict[str, Any]
    errors: F64 = field(init=False)
    seen: NDArray[np.uint8] = field(init=False)

    def __post_init__(self) -> None:
        self.errors, self.seen = np.zeros(len(self.expected)), np.zeros(len(self.expected), np.uint8)

    def known(self, ids: list[str], where: Where, *, repeats: bool = False, finest: bool = True) -> I64:
        """(F,) rows of the ids, −1 for those that the source lacks; extra ones are findings, and repeated ones unless they may be (`repeats`). Only what is `finest` counts as seen."""
        rows = self.rows(ids)
        extra = [ids[i] for i in np.flatnonzero(rows < 0)]
        if extra:
            where.error("FEATURE_UNKNOWN", f"{len(extra)} features are drawn that the source does not hold: {listed(extra)}")
        again = [ids[i] for i in np.flatnonzero(rows >= 0) if self.seen[rows[i]]]
        if again and not repeats:
            where.error("FEATURE_TWICE", f"{len(again)} features are drawn more than once: {listed(again)}")
        if finest:
            self.seen[rows[rows >= 0]] = 1
        return rows

    def finish(self, where: Where) -> dict[str, Any]:
        """Findings for features that are not drawn, unless the tiler refused them by name."""
        missing = np.flatnonzero(self.expected & (self.seen == 0))
        notes = self.report.get("notes", [])
        refused = {note["feature"] for note in notes if note["action"] in ("refused", "skipped")}
        lost = [name for name in self.names(missing) if name not in refused]
        counts = self.report.get("counts", {})
        if len(missing) <= counts.get("refused", 0) + counts.get("skipped", 0) and len(refused) < len(missing) and len(notes) >= 1000:
            where.warning("FEATURE_REFUSED", f"{len(missing)} features were refused by the tiler, more than its report names")
        elif lost:
            where.error("FEATURE_MISSING", f"{len(lost)} features of the source are not drawn: {listed(lost)}")
        drawn = int((self.seen > 0).sum())
        return figures(self.errors[self.seen > 0], features=drawn, expected=int(self.expected.sum()), refused=len(missing) - len(lost), missing=len(lost))

    def off(self, ids: list[str], rows: I64, errors: F64, limit: float, code: str, what: str, where: Where) -> None:
        """Keep the errors (metres) of the features in these rows, with a finding for each beyond the limit."""
        known = rows >= 0
        np.maximum.at(self.errors, rows[known], errors[known])
        bad = np.flatnonzero(known & ~(errors <= limit))
        for i in bad[np.argsort(-errors[bad])]:
            far = f"{errors[i]:.3f} m" if np.isfinite(errors[i]) else "nowhere near"
            where.error(code, f"feature {ids[i]!r}: {what} {far} from the source (limit {limit:g} m)")
