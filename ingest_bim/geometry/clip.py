"""Solids cut by half spaces and by openings, evaluated along the file's own boolean tree with the Manifold library.

The parser's fast kernel turns a half space into a finite box and cuts some solids wrongly with it; its reference kernel is
right and takes 20 ms to seconds for one wall. Here a half space stays a plane (ISO 16739-1:2024, IfcHalfSpaceSolid: with
AgreementFlag true the normal points away from the material), a polygonal one is a prism as tall as what it cuts, and only
the solids at the leaves come from the parser. What this cannot evaluate fails by name and goes to the reference kernel.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ingest_bim.geometry.faces import TESSELLATED, Style, default_look, faces_of, material_style, style_of
from ingest_bim.ifc.frames import axis_matrix, local_matrix, operator_matrix
from ingest_bim.ifc.step_access import attribute, is_kind

F64 = NDArray[np.float64]
I32 = NDArray[np.int32]
FACETED = "hybrid-manifold-opencascade"
CURVED = "opencascade"
DEPTH = 64
#: Metres that a cut takes more than it should, so that coincident faces leave no film of rounding errors.
HAIR = 1e-6
#: Metres of thickness up to which a part of a solid is such a film, and of its outermost slices that are looked at.
FILM, SLICE = 2e-5, 0.01
#: Representations that are not the body of an element.
NOT_BODY = ("Axis", "FootPrint", "Box", "Annotation", "CoG", "Profile", "Clearance", "Lighting", "Plan", "Reference")


class NotEvaluated(Exception):
    """This tree holds something that is not evaluated here."""


@dataclass(frozen=True, slots=True)
class HalfSpace:
    """The points x with normal · x ≤ offset (metres, item coordinates); bounded sideways by a prism over `outline` in `frame`, if given."""

    normal: F64
    offset: float
    frame: F64 | None = None
    outline: F64 | None = None


class Evaluator:
    """Evaluates items of one model. `settings` are those of the parser's geometry (leaves come in metres), `length` metres per unit."""

    def __init__(self, settings: Any, length: float) -> None:
        import ifcopenshell.geom  # noqa: PLC0415  loaded by the host already
        import manifold3d  # noqa: PLC0415  only elements that are cut need it

        self.library: Any = manifold3d
        self.create: Any = ifcopenshell.geom.create_shape
        self.settings, self.length = settings, length

    def element(self, product: Any, to_world: F64) -> tuple[F64, I32, I32, list[Style]]:
        """(positions in the element's frame, triangles, style rows (−1: none), styles) of a product with its openings cut.

        Raises:
            NotEvaluated: with the reason.
        """
        by_style: dict[Style | None, list[Any]] = {}
        fallback = material_style(product) or default_look(product.is_a())
        for item in body_items(product):
            by_style.setdefault(_look(item) or fallback, []).append(self._solid(item, 0))
        if not by_style:
            raise NotEvaluated("no body")
        cuts = [self._opening(relation.RelatedOpeningElement, to_world) for relation in attribute(product, "HasOpenings", ())]
        positions, triangles, rows, styles = [np.zeros((0, 3))], [np.zeros((0, 3), np.int32)], [np.zeros(0, np.int32)], list[Style]()
        count = 0
        for style, solids in by_style.items():
            solid = self._together(solids)
            for cut in cuts:
                solid -= cut
            if solid.status() != self.library.Error.NoError:
                raise NotEvaluated(f"no solid ({solid.status()})")
            solid = self._without_films(solid)
            mesh = solid.to_mesh64()
            if style is not None:
                styles.append(style)
            positions.append(np.array(mesh.vert_properties[:, :3], np.float64))
            triangles.append(np.array(mesh.tri_verts, np.int32) + np.int32(count))
            rows.append(np.full(len(triangles[-1]), len(styles) - 1 if style is not None else -1, np.int32))
            count += len(positions[-1])
        if not count:
            raise NotEvaluated("nothing is left of it")
        return np.concatenate(positions), np.concatenate(triangles), np.concatenate(rows), styles

    def _without_films(self, solid: Any) -> Any:
        """A solid without loose films: what cuts leave of faces that coincide but for rounding.

        Raises:
            NotEvaluated: a film hangs on the solid, so that its box is not that of its volume.
        """
        parts = solid.decompose()
        whole = [part for part in parts if not is_film(part)]
        if len(whole) < len(parts):
            solid = self._together(whole) if whole else self.library.Manifold()
        box = np.array(solid.bounding_box()).reshape(2, 3) if whole else np.zeros((2, 3))
        for axis in range(3):
            for sign, end in ((1.0, box[1, axis]), (-1.0, -box[0, axis])):
                normal, depth = np.zeros(3), min(SLICE, 0.01 * (box[1, axis] - box[0, axis]))
                normal[axis] = sign
                if depth > 2 * FILM and is_film(solid.trim_by_plane(tuple(normal), float(end - depth))):
                    raise NotEvaluated("a film of rounding errors hangs on it")
        return solid

    def _opening(self, opening: Any, to_world: F64) -> Any:
        there = local_matrix(opening.ObjectPlacement)
        if there is None:
            raise NotEvaluated("an opening without a place")
        solid = grown(self._together([self._solid(item, 0) for item in body_items(opening)]))
        return solid.transform((np.linalg.inv(to_world) @ self._metres(there))[:3])

    def _together(self, solids: list[Any]) -> Any:
        if not solids:
            raise NotEvaluated("no body")
        return self.library.Manifold.batch_boolean(solids, self.library.OpType.Add) if len(solids) > 1 else solids[0]

    def _solid(self, item: Any, depth: int) -> Any:
        """A Manifold of a solid item."""
        if depth > DEPTH:
            raise NotEvaluated("a boolean tree without end")
        if is_kind(item, "IfcBooleanResult"):
            return self._boolean(item, depth)
        if item.is_a("IfcMappedItem"):
            source = item.MappingSource
            matrix, origin = operator_matrix(item.MappingTarget), axis_matrix(source.MappingOrigin)
            if matrix is None or origin is None:
                raise NotEvaluated("a mapped item without a place")
            matrix = self._metres(matrix @ origin)
            return self._together([self._solid(inner, depth + 1).transform(matrix[:3]) for inner in source.MappedRepresentation.Items])
        return self._leaf(item)

    def _boolean(self, item: Any, depth: int) -> Any:
        first = self._solid(item.FirstOperand, depth + 1)
        second = item.SecondOperand
        if not is_kind(second, "IfcHalfSpaceSolid"):
            other = self._solid(second, depth + 1)
            match item.Operator:
                case "UNION":
                    return first + other
                case "INTERSECTION":
                    return first ^ other
                case _:
                    return first - grown(other)
        if item.Operator not in ("DIFFERENCE", "INTERSECTION"):
            raise NotEvaluated("a union with a half space")
        return self._cut(first, self._half_space(second), keep=item.Operator == "INTERSECTION")

    def _cut(self, solid: Any, space: HalfSpace, *, keep: bool) -> Any:
        """`solid` without the half space, or (`keep`) only what lies in it."""
        if space.outline is None:
            sign = -1.0 if keep else 1.0  # a trim keeps what lies beyond the plane, along the normal
            return solid.trim_by_plane(tuple(sign * space.normal), sign * space.offset + HAIR)
        assert space.frame is not None
        inverse = np.linalg.inv(space.frame)
        low = np.array(solid.transform(inverse[:3]).bounding_box())[[2, 5]]
        height = max(float(low[1] - low[0]), 1e-3)
        section = self.library.CrossSection([space.outline], self.library.FillRule.NonZero).offset(HAIR, self.library.JoinType.Miter)
        prism = section.extrude(3 * height).translate((0.0, 0.0, float(low[0]) - height)).transform(space.frame[:3])
        prism = prism.trim_by_plane(tuple(-space.normal), -space.offset - HAIR)
        return solid ^ prism if keep else solid - prism

    def _half_space(self, item: Any) -> HalfSpace:
        surface = item.BaseSurface
        plane = axis_matrix(surface.Position) if surface.is_a("IfcPlane") else None
        if plane is None:
            raise NotEvaluated(f"a half space bounded by {surface.is_a()}")
        plane = self._metres(plane)
        normal = plane[:3, 2] if item.AgreementFlag else -plane[:3, 2]
        offset = float(normal @ plane[:3, 3])
        if not item.is_a("IfcPolygonalBoundedHalfSpace"):
            return HalfSpace(normal, offset)
        frame = axis_matrix(item.Position)
        if frame is None or not item.PolygonalBoundary.is_a("IfcPolyline"):
            raise NotEvaluated(f"a half space within {item.PolygonalBoundary.is_a()}")
        outline = np.array([p.Coordinates[:2] for p in item.PolygonalBoundary.Points], np.float64) * self.length
        if len(outline) > 1 and np.allclose(outline[0], outline[-1]):
            outline = outline[:-1]
        if len(outline) < 3:
            raise NotEvaluated("a half space within a line")
        x, y = outline.T
        if float(x @ np.roll(y, -1) - y @ np.roll(x, -1)) < 0:
            outline = outline[::-1]
        return HalfSpace(normal, offset, self._metres(frame), np.ascontiguousarray(outline))

    def _leaf(self, item: Any) -> Any:
        if item.is_a() in TESSELLATED:
            return self._oriented(*faces_of(item, self.length), item)
        # faceted solids are slow in the reference kernel and equal in both; rounded profiles are not
        library = FACETED if is_kind(item, "IfcManifoldSolidBrep") or is_kind(item, "IfcTessellatedItem") else CURVED
        made = self.create(self.settings, item, geometry_library=library)
        positions = np.frombuffer(made.verts_buffer, np.float64).reshape(-1, 3)
        triangles = np.frombuffer(made.faces_buffer, np.int32).reshape(-1, 3)
        return self._oriented(positions, triangles, item)

    def _oriented(self, positions: F64, triangles: I32, item: Any) -> Any:
        solid = self._manifold(positions, triangles)
        if solid.volume() < 0:
            solid = self._manifold(positions, triangles[:, ::-1])
        if solid.is_empty():
            raise NotEvaluated(f"#{item.id()} {item.is_a()} is not a closed solid ({solid.status()})")
        return solid

    def _manifold(self, positions: F64, triangles: I32) -> Any:
        mesh = self.library.Mesh64(np.array(positions, np.float64, order="C"), np.array(triangles, np.uint64, order="C"))  # it wants writable arrays
        mesh.merge()
        return self.library.Manifold(mesh)

    def _metres(self, matrix: F64) -> F64:
        scaled = matrix.copy()
        scaled[:3, 3] *= self.length
        return scaled


def _look(item: Any, depth: int = 0) -> Style | None:
    """The style of an item, or of what it is cut from or maps."""
    found = style_of(item)
    if found is not None or depth >= DEPTH:
        return found
    if is_kind(item, "IfcBooleanResult"):
        return _look(item.FirstOperand, depth + 1)
    if item.is_a("IfcMappedItem"):
        inner = (_look(part, depth + 1) for part in item.MappingSource.MappedRepresentation.Items or ())
        return next((style for style in inner if style is not None), None)
    return None


def is_film(solid: Any) -> bool:
    """Whether a solid is as good as a surface: its thickness is twice its volume a surface."""
    area = solid.surface_area()
    return bool(area <= 0 or 2 * abs(solid.volume()) / area < FILM)


def grown(solid: Any) -> Any:
    """A solid a hair larger in every direction, about its middle."""
    box = np.array(solid.bounding_box()).reshape(2, 3)
    middle, size = box.mean(axis=0), np.maximum(box[1] - box[0], HAIR)
    return solid.translate(tuple(-middle)).scale(tuple(1 + 2 * HAIR / size)).translate(tuple(middle))


def body_items(product: Any) -> Iterator[Any]:
    """The items of a product's body: of several representations of this name those in the context of the first, as others are other forms of it."""
    parts = [p for p in attribute(product.Representation, "Representations", ()) if p.RepresentationIdentifier not in NOT_BODY]
    named = [p for p in parts if p.RepresentationIdentifier == "Body"]
    for part in [part for part in named if part.get_argument(0) == named[0].get_argument(0)] or parts:
        yield from part.Items or ()
