"""Bodies between sections as faceted solids, for what the parser's kernels draw wrong or not at all (ifcopenshell 0.9, all of its kernels).

A tapered revolution keeps its first section, a tapered extrusion has both ends twice and scales its height with its section; a sectioned
spine and a disk along a line with rounded corners are not drawn (`ingest_bim.geometry.redrawn`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ingest_bim.geometry.profiles import F64, Draw, Face, chains, faces_of, root
from ingest_bim.ifc.frames import axis_matrix

STEP = 2 * math.pi / 100
"""Radians of a revolution between two sections: the kernels' own circle has a hundred corners."""
NEAR = 1e-3
"""Metres that a spine may leave the straight lines between its sections."""


def tapered(draw: Draw, solid: Any) -> Any:
    """An extrusion or a revolution between two profiles: points go straight from one to the other, or are turned while they do.

    Raises:
        ValueError: the two profiles have different numbers of faces or rings, or no area; there is no place.
    """
    frame = np.eye(4) if solid.Position is None else axis_matrix(solid.Position)
    if frame is None:
        raise ValueError(f"#{solid.id()} has no place")
    starts, ends = faces_of(draw, solid.SweptArea), faces_of(draw, solid.EndSweptArea)
    turns = _moves(draw, solid)
    first, last = _matched(solid, [starts, ends], ordered=root(solid.SweptArea) == root(solid.EndSweptArea))
    shares = [i / (len(turns) - 1) for i in range(len(turns))]
    sections = [[[one + (other - one) * share for one, other in zip(a, b, strict=True)] for a, b in zip(first, last, strict=True)] for share in shares]
    return _between(draw, sections, [frame @ turn for turn in turns])


def _moves(draw: Draw, solid: Any) -> list[F64]:
    """The (4, 4) of each section in the solid's frame."""
    if solid.is_a("IfcExtrudedAreaSolidTapered"):
        along = np.array(solid.ExtrudedDirection.DirectionRatios, np.float64)
        push = np.eye(4)
        push[:3, 3] = along / np.linalg.norm(along) * solid.Depth
        return [np.eye(4), push]
    angle = solid.Angle * draw.angle
    origin = np.zeros(3)
    values = solid.Axis.Location.Coordinates
    origin[: len(values)] = values
    axis = np.array(solid.Axis.Axis.DirectionRatios if solid.Axis.Axis is not None else (0.0, 0.0, 1.0), np.float64)
    axis /= np.linalg.norm(axis)
    count = max(1, math.ceil(abs(angle) / STEP))
    return [_turned(origin, axis, angle * i / count) for i in range(count + 1)]


def _turned(origin: F64, axis: F64, angle: float) -> F64:
    """(4, 4) of a turn about an axis (Rodrigues)."""
    x, y, z = axis
    across = np.array(((0.0, -z, y), (z, 0.0, -x), (-y, x, 0.0)))
    turn = np.eye(4)
    turn[:3, :3] += math.sin(angle) * across + (1 - math.cos(angle)) * across @ across
    turn[:3, 3] = origin - turn[:3, :3] @ origin
    return turn


def spine(draw: Draw, solid: Any) -> Any:
    """An IfcSectionedSpine whose spine is straight between its sections.

    Raises:
        ValueError: it is not, the sections have different numbers of faces or rings or no area, or one has no place.
    """
    frames = [axis_matrix(position) for position in solid.CrossSectionPositions]
    placed = [frame for frame in frames if frame is not None]
    if len(placed) != len(frames) or len(placed) != len(solid.CrossSections) or len(placed) < 2:
        raise ValueError(f"#{solid.id()} has not one place for each of its sections")
    through = np.array([frame[:3, 3] for frame in placed])
    line = np.concatenate(chains(*draw.outline(solid.SpineCurve))) / draw.length
    starts, along = through[:-1], np.diff(through, axis=0)
    share = np.clip(np.einsum("nij,ij->ni", line[:, None] - starts, along) / np.maximum(np.square(along).sum(axis=1), 1e-300), 0, 1)
    away = np.linalg.norm(line[:, None] - (starts + share[:, :, None] * along), axis=2).min(axis=1)
    if away.max() * draw.length > NEAR:
        raise ValueError(f"#{solid.id()} has a spine that bends between two sections")
    kinds = {root(section) for section in solid.CrossSections}
    return _between(draw, _matched(solid, [faces_of(draw, section) for section in solid.CrossSections], ordered=len(kinds) == 1), placed)


def faceted(make: Callable[..., Any], points: F64, faces: Sequence[Sequence[Sequence[int]]]) -> Any:
    """An IfcFacetedBrep: (n, 3) points in file units, of each face its rings (the outer one first, counterclockwise from outside)."""
    corners = [make("IfcCartesianPoint", tuple(map(float, point))) for point in points]
    made = []
    for rings in faces:
        loops = [make("IfcPolyLoop", [corners[i] for i in ring]) for ring in rings]
        made.append(make("IfcFace", [make("IfcFaceBound" if k else "IfcFaceOuterBound", loop, True) for k, loop in enumerate(loops)]))
    return make("IfcFacetedBrep", make("IfcClosedShell", made))


def _between(draw: Draw, sections: list[list[Face]], frames: list[F64]) -> Any:
    """A faceted solid through sections of the same rings and points, each in its frame."""
    points: list[F64] = []
    shell: list[list[list[int]]] = []
    base = 0
    for number in range(len(sections[0])):
        first: list[list[int]] = []
        last: list[list[int]] = []
        for rings in zip(*(section[number] for section in sections), strict=True):
            n = len(rings[0])
            points += [np.column_stack([ring, np.zeros(n), np.ones(n)]) @ frame.T for ring, frame in zip(rings, frames, strict=True)]
            for i in range(base, base + n * (len(rings) - 1), n):
                for k in range(n):
                    a, b = i + k, i + (k + 1) % n
                    shell += [[[a, b, b + n]], [[a, b + n, a + n]]]
            first.append(list(range(base, base + n))[::-1])
            base += n * len(rings)
            last.append(list(range(base - n, base)))
        shell += [first, last]
    corners = np.concatenate(points)[:, :3]
    if _inward(corners, shell):
        shell = [[ring[::-1] for ring in face] for face in shell]
    return faceted(draw.make, corners, shell)


def _inward(points: F64, shell: list[list[list[int]]]) -> bool:
    """Whether faces look inwards: the signed volume of their fans is negative."""
    origin = points.mean(axis=0)
    volume = 0.0
    for face in shell:
        for ring in face:
            fan = points[ring] - origin
            volume += float(np.einsum("ij,ij->", np.cross(fan[1:-1], fan[2:]), np.broadcast_to(fan[0], fan[2:].shape)))
    return volume < 0


def _matched(solid: Any, sections: list[list[Face]], *, ordered: bool) -> list[list[Face]]:
    """Sections whose rings have equally many points.

    Raises:
        ValueError: they have different numbers of faces or rings.
    """
    if len({tuple(map(len, section)) for section in sections}) > 1:
        raise ValueError(f"#{solid.id()} goes between profiles of different numbers of rings")
    alike = [[_alike(list(rings), ordered=ordered) for rings in zip(*faces, strict=True)] for faces in zip(*sections, strict=True)]
    return [[[ring[number] for ring in face] for face in alike] for number in range(len(sections))]


def _alike(rings: list[F64], *, ordered: bool) -> list[F64]:
    """Rings with equally many points: where they have not, each has the corners of all, by their shares of the way around.

    Points belong together in their order if the rings are `ordered`; else as they lie nearest, seen from the rings' middles.
    """
    if len({len(ring) for ring in rings}) > 1:
        ways = [np.append(0.0, np.cumsum(np.linalg.norm(np.roll(ring, -1, axis=0) - ring, axis=1))) for ring in rings]
        ways = [way / way[-1] for way in ways]
        stops = np.unique(np.round(np.concatenate(ways), 9))[:-1]
        whole = [np.vstack([ring, ring[:1]]) for ring in rings]
        rings = [np.column_stack([np.interp(stops, way, ring[:, axis]) for axis in (0, 1)]) for way, ring in zip(ways, whole, strict=True)]
    if ordered:
        return rings
    middle = rings[0] - rings[0].mean(axis=0)
    made = rings[:1]
    for ring in rings[1:]:
        rim = ring - ring.mean(axis=0)
        shift = min(range(len(ring)), key=lambda k: float(np.square(np.roll(rim, -k, axis=0) - middle).sum()))
        made.append(np.roll(ring, -shift, axis=0))
    return made
