"""Straight extrusions and faceted bodies evaluated from the file's text, without a geometry kernel.

Most bodies of most models are polygons pushed along a line (ISO 16739-1:2024, IfcExtrudedAreaSolid) or lists of flat faces
(IfcFacetedBrep, IfcFaceBasedSurfaceModel, IfcShellBasedSurfaceModel), and a kernel needs milliseconds to seconds for each
of them. Here a face costs microseconds: its points are read from the STEP text, its polygon is cut into triangles by ear
clipping. What is not exactly that, or does not come out exactly (areas of triangles and polygon, solids without a hole), is
refused by name and goes to a kernel; a sample of the rest is compared with the reference kernel (`ingest_bim.ifc.ladder`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ingest_bim.geometry.polygons import MOST_POINTS, NotEvaluated, area_of, balanced, caps, cut, prism
from ingest_bim.ifc.frames import axis_matrix, operator_matrix
from ingest_bim.ifc.step_scan import StepText

F64 = NDArray[np.float64]
I32 = NDArray[np.int32]
DEPTH = 16
#: Metres between two points that are one.
GAP = 1e-6
_REFERENCE = re.compile(rb"#(\d++)")
_LINES = re.compile(rb"IFCLINEINDEX\s*\(\s*\(([\d,\s]+)\)\s*\)", re.IGNORECASE)
_VOIDS = re.compile(rb"#(\d+)\s*,\s*\(([#\d,\s]*)\)\s*\)\s*$")
_LINEWISE = bytes.maketrans(b"()", b"  ")


@dataclass(frozen=True, slots=True)
class Placed:
    """An item of a body: its name, the (4, 4) of the maps that it is used through (file units; None: none), the styled names that go down to it."""

    item: int
    matrix: F64 | None
    outer: tuple[int, ...]


class Plain:
    """Evaluates items of one model by name; `entity` gives the parser's instance of a name, `length` the metres of a unit."""

    def __init__(self, text: StepText, entity: Callable[[int], Any], length: float) -> None:
        self.text, self.entity, self.length = text, entity, length
        self._points: dict[int, tuple[float, ...]] = {}
        self._frames: dict[int, F64 | None] = {}

    def placed(self, items: Sequence[int], matrix: F64 | None = None, outer: tuple[int, ...] = (), depth: int = 0) -> Iterator[Placed]:
        """The items with those of maps instead of the mapped item.

        Raises:
            NotEvaluated: a map without a place, or maps of maps without end.
        """
        for item in items:
            if self._kind(item) != b"IFCMAPPEDITEM":
                yield Placed(item, matrix, outer)
                continue
            mapped = self.entity(item)
            source = mapped.MappingSource
            operator, origin = operator_matrix(mapped.MappingTarget), axis_matrix(source.MappingOrigin)
            if depth > DEPTH or operator is None or origin is None:
                raise NotEvaluated(f"#{item} maps without a place")
            inner = operator @ origin if matrix is None else matrix @ operator @ origin
            names = [part.id() for part in source.MappedRepresentation.Items]
            yield from self.placed(names, inner, (item, *outer), depth + 1)

    def mesh(self, placed: Placed) -> tuple[F64, I32]:
        """(positions in metres in the body's frame, triangles) of one item.

        Raises:
            NotEvaluated: with the reason.
        """
        positions, triangles = self.solid(placed.item)
        if placed.matrix is None:
            return positions, triangles
        matrix = placed.matrix
        moved = positions @ matrix[:3, :3].T + matrix[:3, 3] * self.length
        return moved, np.ascontiguousarray(triangles[:, ::-1]) if np.linalg.det(matrix[:3, :3]) < 0 else triangles

    def solid(self, item: int) -> tuple[F64, I32]:
        """(positions in metres in the item's frame, triangles) of an extrusion, a faceted solid or a surface model.

        Raises:
            NotEvaluated: with the reason.
        """
        kind, text = self._row(item)
        try:
            match kind:
                case b"IFCEXTRUDEDAREASOLID":
                    return self._extruded(text)
                case b"IFCFACETEDBREP":
                    return self._faceted(_references(text), closed=True)
                case b"IFCFACEBASEDSURFACEMODEL" | b"IFCSHELLBASEDSURFACEMODEL":
                    return self._faceted(_references(text), closed=False)
        except (ValueError, IndexError) as error:
            raise NotEvaluated(f"#{item} {kind.decode()}: {error}") from error
        raise NotEvaluated(f"#{item} is {kind.decode()}")

    def _row(self, name: int) -> tuple[bytes, bytes]:
        row = self.text.rows.get(name)
        if row is None:
            raise NotEvaluated(f"#{name} is missing")
        return row

    def _kind(self, name: int) -> bytes:
        return self._row(name)[0]

    def _point(self, name: int) -> tuple[float, ...]:
        found = self._points.get(name)
        if found is None:
            found = self._points[name] = _numbers(self._row(name)[1])
        return found

    def _frame(self, name: bytes) -> F64 | None:
        """(4, 4) of a placement in file units; None: the identity."""
        if name.strip() == b"$":
            return None
        step = _name(name)
        if step not in self._frames:
            matrix = axis_matrix(self.entity(step))
            if matrix is None:
                raise NotEvaluated(f"#{step} is no placement")
            self._frames[step] = None if np.array_equal(matrix, np.eye(4)) else matrix
        return self._frames[step]

    # --- extrusions ----------------------------------------------------------------------------------------------

    def _extruded(self, text: bytes) -> tuple[F64, I32]:
        area, position, direction, depth = _flat(text)
        rings = self._profile(_name(area))
        dx, dy, dz = self._point(_name(direction))
        size = (dx * dx + dy * dy + dz * dz) ** 0.5
        height = float(depth)
        if not (0 < height < float("inf") and abs(dz) > 1e-6 * size > 0):
            raise NotEvaluated("a push along its own plane, or by no distance")
        base = np.zeros((sum(map(len, rings)), 3))
        base[:, :2] = np.concatenate(rings) if len(rings) > 1 else rings[0]
        points = np.concatenate([base, base + np.array((dx, dy, dz)) * (height / size)])
        frame = self._frame(position)
        if frame is not None:
            points = points @ frame[:3, :3].T + frame[:3, 3]
        points *= self.length
        if not np.isfinite(points).all():
            raise NotEvaluated("coordinates that are not finite")
        triangles = prism(tuple(map(len, rings)), caps(rings), up=dz > 0)
        return points, triangles

    def _profile(self, name: int) -> list[F64]:
        """The outer ring counterclockwise, then holes clockwise, (n, 2) in file units without repeated points."""
        kind, text = self._row(name)
        if not text.lstrip().upper().startswith(b".AREA."):
            raise NotEvaluated("a profile that is no area")
        match kind:
            case b"IFCRECTANGLEPROFILEDEF":
                _, position, x, y = text.rsplit(b",", 3)
                a, b = float(x) / 2, float(y.rstrip()[:-1]) / 2
                if not (a > 0 and b > 0):
                    raise NotEvaluated("a rectangle without area")
                ring = np.array(((-a, -b), (a, -b), (a, b), (-a, b)))
                frame = self._frame(position)
                if frame is not None:
                    ring = ring @ frame[:2, :2].T + frame[:2, 3]
                return [ring]
            case b"IFCARBITRARYCLOSEDPROFILEDEF":
                return [self._ring(_name(text.rsplit(b",", 1)[1]), 1.0)]
            case b"IFCARBITRARYPROFILEDEFWITHVOIDS":
                found = _VOIDS.search(text)
                if found is None:
                    raise NotEvaluated("a profile without its curves")
                return [self._ring(int(found[1]), 1.0), *(self._ring(inner, -1.0) for inner in _references(found[2]))]
        raise NotEvaluated(f"a profile {kind.decode()}")

    def _ring(self, name: int, sign: float) -> F64:
        """A closed polyline, turned so that its area has this sign."""
        kind, text = self._row(name)
        match kind:
            case b"IFCPOLYLINE":
                ring = self._polyline(text)
            case b"IFCINDEXEDPOLYCURVE":
                ring = self._indexed(text)
            case b"IFCCOMPOSITECURVE":
                ring = self._composite(text)
            case _:
                raise NotEvaluated(f"an outline {kind.decode()}")
        ring = ring[np.abs(ring - np.roll(ring, 1, axis=0)).max(axis=1) * self.length > GAP]
        if not 3 <= len(ring) <= MOST_POINTS:
            raise NotEvaluated(f"an outline of {len(ring)} points")
        return ring if area_of(ring) * sign > 0 else np.ascontiguousarray(ring[::-1])

    def _polyline(self, text: bytes) -> F64:
        return np.array([self._point(n)[:2] for n in _references(text)])

    def _composite(self, text: bytes) -> F64:
        """Polylines one after the other."""
        parts: list[F64] = []
        for name in _references(text):
            kind, segment = self._row(name)
            _, sense, curve = _flat(segment)
            kind_of_curve, listed = self._row(_name(curve))
            if kind != b"IFCCOMPOSITECURVESEGMENT" or kind_of_curve != b"IFCPOLYLINE":
                raise NotEvaluated(f"an outline with {kind.decode()} of {kind_of_curve.decode()}")
            part = self._polyline(listed)
            parts.append(part[::-1] if b"F" in sense.upper() else part)
            if len(parts) > 1 and np.abs(parts[-2][-1] - parts[-1][0]).max() * self.length > GAP:
                raise NotEvaluated("an outline with a gap")
        return np.concatenate(parts)

    def _indexed(self, text: bytes) -> F64:
        if b"ARC" in text.upper():
            raise NotEvaluated("an outline with arcs")
        kind, listed = self._row(_references(text)[0])
        if kind != b"IFCCARTESIANPOINTLIST2D":
            raise NotEvaluated(f"an outline through {kind.decode()}")
        values = listed.replace(b"$", b"").translate(_LINEWISE).rstrip(b", \t\r\n")
        points = np.array(_numbers(values)).reshape(-1, 2)
        runs = [[int(i) for i in run.split(b",")] for run in _LINES.findall(text)]
        if not runs:
            if b"(" in text:
                raise NotEvaluated("an outline of unknown segments")
            return points
        order = [runs[0][0]]
        for run in runs:
            if run[0] != order[-1]:
                raise NotEvaluated("an outline with a gap")
            order += run[1:]
        return _chosen(points, order)

    # --- faces ---------------------------------------------------------------------------------------------------

    def _faceted(self, shells: list[int], *, closed: bool) -> tuple[F64, I32]:
        numbers: dict[tuple[float, ...], int] = {}
        faces: list[list[list[int]]] = []
        for shell in shells:
            for face in _references(self._row(shell)[1]):
                kind, bounds = self._row(face)
                if kind != b"IFCFACE":
                    raise NotEvaluated(f"#{face} is {kind.decode()}")
                rings = [self._loop(bound, numbers) for bound in _references(bounds)]
                if len(rings) > 1:  # the outer bound first
                    rings.sort(key=lambda one: not one[0])
                faces.append([ring for _, ring in rings if len(ring) > 2])  # what goes to and fro bounds nothing
        points = list(numbers)
        positions = np.array(points, np.float64).reshape(-1, 3) * self.length
        if not faces or not np.isfinite(positions).all():
            raise NotEvaluated("no faces, or coordinates that are not finite")
        triangles = cut(points, faces)
        if not len(triangles) or (closed and not balanced(triangles)):
            raise NotEvaluated("a solid that its faces do not close")
        return positions, triangles

    def _loop(self, bound: int, numbers: dict[tuple[float, ...], int]) -> tuple[bool, list[int]]:
        """(is the outer bound, its vertices without repeated ones)."""
        kind, text = self._row(bound)
        if kind not in (b"IFCFACEOUTERBOUND", b"IFCFACEBOUND"):
            raise NotEvaluated(f"#{bound} is {kind.decode()}")
        loop, sense = text.split(b",")
        kind_of_loop, listed = self._row(_name(loop))
        if kind_of_loop != b"IFCPOLYLOOP":
            raise NotEvaluated(f"a face within {kind_of_loop.decode()}")
        known = self._points
        ring = [numbers.setdefault(known[n] if n in known else self._point(n), len(numbers)) for n in _references(listed)]
        ring = [a for a, b in zip(ring, [ring[-1], *ring[:-1]], strict=True) if a != b] if ring else ring
        return kind == b"IFCFACEOUTERBOUND", ring[::-1] if b"F" in sense.upper() else ring


# --- text --------------------------------------------------------------------------------------------------------


def _references(text: bytes) -> list[int]:
    return [int(name) for name in _REFERENCE.findall(text)]


def _name(text: bytes) -> int:
    return int(text.strip(b" \t\r\n()#"))


def _numbers(text: bytes) -> tuple[float, ...]:
    return tuple(float(value) for value in text.translate(_LINEWISE).split(b","))


def _flat(text: bytes) -> list[bytes]:
    """Attributes of an instance that has neither texts nor lists."""
    return text.rstrip()[:-1].split(b",")


def _chosen(points: F64, order: list[int]) -> F64:
    if min(order) < 1 or max(order) > len(points):
        raise NotEvaluated("an outline through points that are not listed")
    chosen: F64 = points[np.array(order) - 1]
    return chosen
