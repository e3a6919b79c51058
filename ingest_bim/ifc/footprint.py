"""Aligning a model to a footprint of the city: which turn and move lays the model's ground outline on the named polygon.

The outline is the plan of everything drawn. Both outlines are compared as areas: candidate turns come from the axes of the
minimum rectangles and of the second moments; for each the centroids are laid on one another, then turn and move are refined,
and the overlap (intersection over union) decides. A symmetric plan fits in several turns; that is reported, with the others.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely import affinity

from ingest_bim.ifc.placement import Placement, Request, place_by_user, unit_of
from twin import crs
from twin.errors import BadOption, BadReference
from twin.model import ABOVE_GROUND, ELLIPSOID, Features, Report
from twin.reading import Surroundings

F64 = NDArray[np.float64]
#: Overlap below which the footprint is taken to be another building's.
TOO_LITTLE = 0.5
#: Overlap from which nothing better is looked for.
ENOUGH = 0.85
#: Overlaps this close are the same: the turn is ambiguous.
ALIKE = 0.03
FEW, MANY = 64, 4000


@dataclass(frozen=True, slots=True)
class Fit:
    """The model's point `origin` lies at `target` when the model is turned clockwise by `rotation` degrees; `overlap` is 0–1.

    `others`: (rotation, overlap) of turns that fit about as well.
    """

    origin: tuple[float, float]
    target: tuple[float, float]
    rotation: float
    overlap: float
    others: tuple[tuple[float, float], ...]


def outline(shapes: list[tuple[F64, NDArray[np.int32], F64]]) -> Any:
    """The plan of placed shapes ((V, 3) positions, (T, 3) triangles, (4, 4) matrix to metres): a polygon or several, None if flat.

    A shape of very many triangles counts with the hull of its plan.
    """
    plans = []
    for positions, triangles, matrix in shapes:
        points = positions @ matrix[:3, :3].T + matrix[:3, 3]
        if len(triangles) <= FEW:
            corners = points[triangles][:, :, :2]
            faces = shapely.polygons(corners)
            plans.append(shapely.union_all(shapely.buffer(faces[shapely.area(faces) > 1e-9], 0)))
        else:
            flat = np.cross(points[triangles[:, 1]] - points[triangles[:, 0]], points[triangles[:, 2]] - points[triangles[:, 0]])[:, 2]
            above = triangles[flat > 1e-9]  # what faces up covers the plan of a closed solid
            if len(above) <= MANY:
                plans.append(shapely.union_all(shapely.polygons(points[above][:, :, :2])) if len(above) else None)
            else:
                plans.append(shapely.convex_hull(shapely.multipoints(points[:, :2])))
    whole = shapely.union_all(shapely.buffer([p for p in plans if p is not None and p.area > 0], 0.02, join_style="mitre"))
    whole = shapely.buffer(whole, -0.02, join_style="mitre")
    return None if whole.is_empty else whole


def fit(plan: Any, footprint: Any, where: str) -> Fit:
    """Lay `plan` (model metres) on `footprint` (metres of a local frame, x east, y north).

    Raises:
        BadReference: one of them is empty, their areas differ more than fourfold, or they overlap by less than half.
    """
    plan, footprint = _simple(plan), _simple(footprint)
    if plan is None or footprint is None:
        raise BadReference(f"{where}: {'the model has no plan' if plan is None else 'the footprint has no area'}.", "Place it by --option anchor=E,N,H.")
    remedy = "Name another footprint, or place the model by --option anchor=E,N,H with rotation=."
    plans = [p for p in (plan, plan.convex_hull) if 0.25 < p.area / footprint.area < 4]
    if not plans:
        raise BadReference(f"{where}: the model covers {plan.area:,.0f} m² and the footprint {footprint.area:,.0f} m².", remedy)
    tried = []
    for candidate in plans:  # a model of columns alone stands on a footprint with its hull
        tried.append((candidate, sorted((_refine(candidate, footprint, turn) for turn in _turns(candidate, footprint)), key=lambda f: -f[0])))
        if tried[-1][1][0][0] > ENOUGH:
            break
    plan, found = max(tried, key=lambda t: t[1][0][0])
    overlap, turn, (dx, dy) = found[0]
    if overlap < TOO_LITTLE:
        raise BadReference(f"{where}: laid on the footprint as well as can be, the model covers it only by {overlap:.0%} (intersection over union).", remedy)
    others: list[tuple[float, float]] = []
    for other, angle, _ in found[1:]:
        apart = [abs((angle - known + 180) % 360 - 180) for known in (turn, *(t for t, _ in others))]
        if other > overlap - ALIKE and min(apart) > 5:
            others.append((angle, other))
    middle = plan.centroid
    at = affinity.rotate(plan, -turn, origin=middle).centroid
    return Fit((middle.x, middle.y), (at.x + dx, at.y + dy), turn % 360, overlap, tuple((t % 360, o) for t, o in others))


def _simple(shape: Any) -> Any:
    """One valid area with a few hundred corners, or None."""
    if shape is None:
        return None
    shape = shapely.force_2d(shapely.make_valid(shape))
    parts = [p for p in getattr(shape, "geoms", [shape]) if p.geom_type in ("Polygon", "MultiPolygon")]
    whole = shapely.union_all(parts) if parts else None
    if whole is None or not whole.area > 1e-6:
        return None
    return shapely.simplify(whole, math.sqrt(whole.area) / 500)


def _turns(plan: Any, footprint: Any) -> list[float]:
    """Clockwise turns that lay an axis of one along an axis of the other, and a coarse circle for round plans."""
    found = {round(turn % 360, 3) for a in _axes(plan) for b in _axes(footprint) for turn in (a - b, a - b + 90, a - b + 180, a - b + 270)}
    return sorted({*found, *(float(t) for t in range(0, 360, 15))})


def _axes(shape: Any) -> list[float]:
    """Directions (degrees counter-clockwise from x) of the minimum rectangle and of the second moments."""
    ring = np.array(shapely.minimum_rotated_rectangle(shape).exterior.coords)
    edge = ring[1] - ring[0]
    hull = shapely.get_coordinates(shapely.segmentize(shape, math.sqrt(shape.area) / 30))
    spread = np.linalg.eigh(np.cov((hull - hull.mean(axis=0)).T))[1][:, 1]
    return [math.degrees(math.atan2(edge[1], edge[0])), math.degrees(math.atan2(spread[1], spread[0]))]


def _refine(plan: Any, footprint: Any, turn: float) -> tuple[float, float, tuple[float, float]]:
    """(overlap, turn, move after the centroids are on one another) by steps that halve while they help."""
    def overlap(angle: float, dx: float, dy: float) -> float:
        laid = affinity.translate(affinity.rotate(plan, -angle, origin=plan.centroid), dx, dy)
        common = laid.intersection(footprint).area
        return float(common / (plan.area + footprint.area - common))

    at, to = plan.centroid, footprint.centroid
    best = (overlap(turn, to.x - at.x, to.y - at.y), turn, to.x - at.x, to.y - at.y)
    if best[0] < 0.3:  # far from any fit: not worth refining
        return best[0], best[1], (best[2], best[3])
    size = math.sqrt(plan.area)
    angle_step, move_step = 4.0, size / 16
    while move_step > size / 5000:
        score, angle, dx, dy = best
        tries = [(angle + s * angle_step, dx, dy) for s in (-1, 1)] + [(angle, dx + s * move_step, dy) for s in (-1, 1)]
        tries += [(angle, dx, dy + s * move_step) for s in (-1, 1)]
        better = max(((overlap(*t), *t) for t in tries), key=lambda r: r[0])
        if better[0] > score + 1e-9:
            best = better
        else:
            angle_step, move_step = angle_step / 2, move_step / 2
    return best[0], best[1], (best[2], best[3])


# --- placing -----------------------------------------------------------------------------------------------------


def place_on(name: str, plan: Any, ground_level: float, request: Request, around: Surroundings, report: Report, where: str) -> Placement:
    """The placement that lays a model's `plan` (model metres) on the footprint `LAYER/ID`.

    `ground_level` is the model height that stands on the ground; its height in the city comes from the request, else from
    the footprint's base, else from the terrain.

    Raises:
        BadReference: it does not fit. BadOption, MissingReference: no height is to be had.
        NotFound: no such feature.
    """
    feature, style = around.feature(name)
    footprint, source = feature.geometry[0], feature.reference
    if footprint is None or footprint.geom_type not in ("Polygon", "MultiPolygon"):
        raise BadOption(f"{where}: {name} is {'empty' if footprint is None else 'a ' + footprint.geom_type}, not an area.", "Name a footprint.")
    middle = footprint.centroid
    lon, lat = (float(v) for v in crs.to_lonlat(source.horizontal, np.array(middle.x), np.array(middle.y)))
    horizontal = crs.parse_reference(request.crs).horizontal if request.crs else crs.metric_frame(lon, lat)
    unit = unit_of(horizontal)
    there = crs.settled_at(horizontal, lon, lat)  # the way between datums that the model will take
    east, north = (float(v) for v in crs.from_lonlat(there, np.array(lon), np.array(lat)))

    def local(xy: F64) -> F64:
        x, y = crs.from_lonlat(there, *crs.to_lonlat(source.horizontal, xy[:, 0], xy[:, 1]))
        return np.column_stack([x - east, y - north]) * unit

    found = fit(plan, shapely.transform(shapely.force_2d(footprint), local), where)
    target = np.array([east, north]) + np.array(found.target) / unit
    at = tuple(float(v) for v in crs.to_lonlat(there, target[0], target[1]))
    vertical, height, how = _height(feature, style, at, request, around, where)
    if found.others:
        turns = ", ".join(f"{turn:.1f}° ({overlap:.0%})" for turn, overlap in found.others)
        report.note("warned", "", f"The fit on {name} is ambiguous: turned by {found.rotation:.1f}° it overlaps by {found.overlap:.0%}, and nearly as well by {turns}. "
                                  "If it stands the wrong way round, give --option anchor_lonlat= and rotation=.")  # fmt: skip
    placed = place_by_user(replace(request, crs=horizontal, vertical=vertical, anchor=None, anchor_lonlat=(*at, height), height=None,
                                   origin=(*found.origin, ground_level), rotation=found.rotation), where)  # fmt: skip
    report.note("assumed", "", f"Laid on the footprint {name}: overlap {found.overlap:.0%}, height {height:.2f} m from {how}.")
    facts = {**placed.facts, "source": "footprint", "footprint": name, "overlap": found.overlap, "height_from": how,
             "other_turns": [[turn, overlap] for turn, overlap in found.others], "crs": horizontal, "vertical": placed.reference.vertical,
             "matrix": [[float(v) for v in row] for row in placed.matrix]}  # fmt: skip
    report.facts["georeference"] = facts
    return Placement(placed.reference, placed.matrix, facts)


def _height(feature: Features, style: dict[str, Any], at: tuple[float, ...], request: Request, around: Surroundings, where: str) -> tuple[str, float, str]:
    """(vertical datum, height of the ground in it, where it is from)."""
    if request.height is not None:
        return request.vertical or feature.reference.vertical, request.height, "the option height"
    column, own = style.get("base"), feature.reference
    lon, lat = np.array([at[0]]), np.array([at[1]])
    base = feature.attributes.column(column)[0].as_py() if column in feature.attributes.column_names else None
    if base is not None and own.vertical and own.vertical != ABOVE_GROUND:
        ellipsoidal = float(base) * own.vertical_unit + float(crs.datum_shift(own, lon, lat)[0])
        how, vertical = f"its {column}", request.vertical or own.vertical
    else:
        ground = around.ground(at[0], at[1])
        if ground is None:
            raise BadOption(f"{where}: neither the footprint nor a terrain says how high the ground is.",
                            "Give --option height=METRES (and --vertical), or publish a terrain first.")  # fmt: skip
        ellipsoidal, how, vertical = ground, "the terrain", request.vertical or ELLIPSOID
    reference = crs.parse_reference(crs.metric_frame(*at), vertical, vertical_offset=request.vertical_offset, where=where)
    if reference.vertical == ABOVE_GROUND:
        return vertical, 0.0, "the ground"
    return vertical, (ellipsoidal - float(crs.datum_shift(reference, lon, lat)[0])) / reference.vertical_unit, how
