"""Tessellated bodies (IfcTriangulatedFaceSet, IfcPolygonalFaceSet) taken as the file states them, without a geometry kernel.

Kernels rebuild such bodies as solids: they drop faces of open ones (measured: up to 80% of the area) and take a second for
what is already triangles. Vertices are scaled to metres, polygons cut in their plane, looks taken from the styled items.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ingest_bim.geometry.polygons import NotEvaluated, cut
from ingest_bim.ifc.frames import axis_matrix, operator_matrix
from ingest_bim.ifc.step_access import attribute, is_kind
from ingest_bim.welding import used, weld

F64 = NDArray[np.float64]
I32 = NDArray[np.int32]
Style = tuple[str, tuple[float, float, float, float]]
#: Classes that are read here; see `ingest_bim.ifc.groups` for which elements are made of them alone.
TESSELLATED = ("IfcTriangulatedFaceSet", "IfcTriangulatedIrregularNetwork", "IfcPolygonalFaceSet")


def tessellated(product: Any, items: Iterator[Any], length: float) -> tuple[F64, I32, I32, list[Style]]:
    """(positions in metres in the element's frame, triangles, style rows (−1: none), styles) of face sets and maps of them.

    Raises:
        ValueError: an index that is none of a vertex, or a coordinate that is not a number.
    """
    positions: list[F64] = []
    triangles: list[I32] = []
    rows: list[I32] = []
    styles: dict[Style, int] = {}
    fallback = material_style(product) or default_look(product.is_a())
    start = 0
    for item, matrix, outer in placed(items, lambda item: item.is_a() in TESSELLATED):
        colors = colors_of(item)
        points, corners, groups = grouped_faces(item, length, None if colors is None else colors[1])
        wanted = colors[0] if colors is not None else [style_of(item) or outer or fallback]
        row = np.array([styles.setdefault(style, len(styles)) for style in wanted], np.int32)[groups]
        moved = matrix.copy()
        moved[:3, 3] *= length
        flipped = np.linalg.det(moved[:3, :3]) < 0
        positions.append(points @ moved[:3, :3].T + moved[:3, 3])
        triangles.append((corners[:, ::-1] if flipped else corners) + np.int32(start))
        rows.append(row)
        start += len(points)
    if not positions:
        return np.zeros((0, 3)), np.zeros((0, 3), np.int32), np.zeros(0, np.int32), []
    return np.concatenate(positions), np.ascontiguousarray(np.concatenate(triangles)), np.concatenate(rows), list(styles)


def placed(items: Iterator[Any], wanted: Callable[[Any], bool]) -> Iterator[tuple[Any, F64, Style | None]]:
    """Items with their matrix (file units) and the look of the maps above, those of maps instead of the mapped item.

    Raises:
        ValueError: an item that is not `wanted`, or a map without a place.
    """
    return _placed(items, wanted, np.eye(4), None, 0)


def _placed(items: Iterator[Any], wanted: Callable[[Any], bool], matrix: F64, style: Style | None, depth: int) -> Iterator[tuple[Any, F64, Style | None]]:
    for item in items:
        if item.is_a("IfcMappedItem") and depth < 16:
            operator, origin = operator_matrix(item.MappingTarget), axis_matrix(item.MappingSource.MappingOrigin)
            if operator is None or origin is None:
                raise ValueError(f"#{item.id()} maps without a place")
            inner = iter(item.MappingSource.MappedRepresentation.Items)
            yield from _placed(inner, wanted, matrix @ operator @ origin, style_of(item) or style, depth + 1)
        elif wanted(item):
            yield item, matrix, style
        else:
            raise ValueError(f"#{item.id()} {item.is_a()} is something else")


def faces_of(item: Any, length: float) -> tuple[F64, I32]:
    """(points, triangles) of one face set, only the points that are used, equal ones merged."""
    return grouped_faces(item, length, None)[:2]


def grouped_faces(item: Any, length: float, groups: I32 | None) -> tuple[F64, I32, I32]:
    """(points, triangles, group of each triangle) of one face set, only the points that are used, equal ones merged.

    Args:
        item: a class of `TESSELLATED`.
        length: metres per unit.
        groups: one for each face; None: all are in group 0.

    Raises:
        ValueError: an index that is none of a vertex, a coordinate that is not a number, or not one group for each face.
    """
    points = np.array(item.Coordinates.CoordList, np.float64).reshape(-1, 3) * length
    if not np.isfinite(points).all():
        raise ValueError("coordinates that are not finite")
    points, merged = weld(points)
    if is_kind(item, "IfcTriangulatedFaceSet"):
        corners, groups = _triangles(item, merged, groups)
    else:
        corners, groups = _polygons(item, points, merged, groups)
    rows, local = used(corners, len(points))
    return points[rows], local.astype(np.int32), groups


def _triangles(item: Any, names: NDArray[np.int64], groups: I32 | None) -> tuple[NDArray[np.int64], I32]:
    corners = _checked(np.array(item.CoordIndex, np.int64).reshape(-1, 3), attribute(item, "PnIndex"), len(names))
    groups = _of_faces(groups, len(corners))
    flags = attribute(item, "Flags")
    corners = names[corners]
    real = (corners[:, 0] != corners[:, 1]) & (corners[:, 1] != corners[:, 2]) & (corners[:, 0] != corners[:, 2])
    if item.is_a("IfcTriangulatedIrregularNetwork") and flags is not None and len(flags) == len(corners):
        real &= np.array(flags) >= 0  # −1 and −2 are voids and holes
    return corners[real], groups[real]


def _polygons(item: Any, points: F64, names: NDArray[np.int64], groups: I32 | None) -> tuple[NDArray[np.int64], I32]:
    renamed = attribute(item, "PnIndex")
    if renamed is not None:
        names = names[_checked(np.array(renamed, np.int64), None, len(names))]
    table = [-1, *names.tolist()]
    faces: list[list[list[int]]] = []
    for face in item.Faces:
        rings = [face.CoordIndex, *attribute(face, "InnerCoordIndices", ())]
        for ring in rings:
            if not (min(ring) >= 1 and max(ring) < len(table)):
                raise ValueError(f"a face names point {max(ring)} of {len(table) - 1}")
        faces.append([[table[i] for i in ring] for ring in rings])
    groups = _of_faces(groups, len(faces))
    centred = points - points.mean(axis=0)
    made, of = [], []
    for group in np.unique(groups):
        made.append(_cut(centred, [faces[i] for i in np.flatnonzero(groups == group)]))
        of.append(np.full(len(made[-1]), group, np.int32))
    if not made:
        return np.zeros((0, 3), np.int64), np.zeros(0, np.int32)
    return np.concatenate(made), np.concatenate(of)


def _cut(centred: F64, faces: list[list[list[int]]]) -> NDArray[np.int64]:
    try:
        return cut([(x, y, z) for x, y, z in centred.tolist()], faces).astype(np.int64)
    except NotEvaluated:  # outlines that cross themselves: as much as can be made of them
        from ingest_bim.citymodels.faces import triangulate  # noqa: PLC0415
        from ingest_bim.citymodels.objects import Face  # noqa: PLC0415  a third of a second of what the geometry process seldom needs

        made = triangulate(centred, [Face(rings) for rings in faces])
        if made.pierced:
            raise ValueError(f"{made.pierced} of its faces have too many holes") from None
        return made.triangles.astype(np.int64)


def _of_faces(groups: I32 | None, count: int) -> I32:
    if groups is None:
        return np.zeros(count, np.int32)
    if len(groups) != count:
        raise ValueError(f"colours for {len(groups)} of {count} faces")
    return groups


def _checked(indices: NDArray[np.int64], renamed: Any, count: int) -> NDArray[np.int64]:
    """1-based indices, by way of PnIndex where there is one → 0-based."""
    if renamed is not None:
        table = np.array(renamed, np.int64)
        if len(indices) and not (indices.min() >= 1 and indices.max() <= len(table)):
            raise ValueError("a face names a point that is not in PnIndex")
        indices = table[indices - 1]
    if indices.size and not (indices.min() >= 1 and indices.max() <= count):
        raise ValueError(f"a face names point {int(indices.max())} of {count}")
    return indices - 1


# --- looks -------------------------------------------------------------------------------------------------------


def style_of(item: Any) -> Style | None:
    """The surface style that an item is styled with."""
    for styled in attribute(item, "StyledByItem", ()):
        found = _surface(styled.Styles, 0)
        if found is not None:
            return found
    return None


def colors_of(item: Any) -> tuple[list[Style], I32] | None:
    """(looks, which of them each face has) of a face set whose faces are coloured one by one (IfcIndexedColourMap), else None.

    Raises:
        ValueError: an index that is none of a colour.
    """
    for colored in attribute(item, "HasColours", ()):
        opacity = float(attribute(colored, "Opacity", 1.0))
        looks: list[Style] = [("", _clipped([*map(float, rgb), opacity])) for rgb in colored.Colours.ColourList]
        index = np.array(colored.ColourIndex, np.int64)
        if len(index) and not (index.min() >= 1 and index.max() <= len(looks)):
            raise ValueError(f"a face has colour {int(index.max())} of {len(looks)}")
        return looks, (index - 1).astype(np.int32)
    return None


#: Colours that the parser gives to classes without a style; all other classes are of a lighter grey.
_USUAL = {
    "IfcBeam": (0.75, 0.7, 0.7, 1.0), "IfcDoor": (0.55, 0.3, 0.15, 1.0), "IfcMember": (0.65, 0.6, 0.6, 1.0), "IfcRailing": (0.65, 0.6, 0.6, 1.0),
    "IfcPlate": (0.8, 0.8, 0.8, 1.0), "IfcSite": (0.75, 0.8, 0.65, 1.0), "IfcSlab": (0.4, 0.4, 0.4, 1.0), "IfcSpace": (0.65, 0.75, 0.8, 0.2),
    "IfcWall": (0.9, 0.9, 0.9, 1.0), "IfcWallStandardCase": (0.9, 0.9, 0.9, 1.0), "IfcWindow": (0.75, 0.8, 0.75, 0.7),
}  # fmt: skip


def default_look(kind: str) -> Style:
    """What an element of a class looks like where the file does not say, as the parser's kernels have it."""
    return (kind, _USUAL[kind]) if kind in _USUAL else ("DefaultMaterial", (0.7, 0.7, 0.7, 1.0))


#: What sets of materials list them by.
_PARTS = ("MaterialLayers", "Materials", "MaterialProfiles", "MaterialConstituents")


def material_look(definition: Any) -> Style | None:
    """The surface style of what an element is associated with, if that is one material (a set of one layer, profile or part counts)."""
    if definition is None:
        return None
    for name in ("ForLayerSet", "ForProfileSet"):
        definition = attribute(definition, name, definition)
    parts = next((found for name in _PARTS if (found := attribute(definition, name)) is not None), None)
    if parts is not None:
        definition = parts[0] if len(parts) == 1 else None
    definition = attribute(definition, "Material", definition)  # of a layer, a profile or a constituent
    return look_of(definition) if definition is not None and definition.is_a("IfcMaterial") else None


def material_style(product: Any) -> Style | None:
    """The surface style of an element's single material (its own, else its type's)."""
    kinds = [r.RelatingType for r in (*attribute(product, "IsTypedBy", ()), *attribute(product, "IsDefinedBy", ())) if r.is_a("IfcRelDefinesByType")]
    for owner in (product, *kinds):
        for relation in attribute(owner, "HasAssociations", ()):
            if relation.is_a("IfcRelAssociatesMaterial"):
                found = material_look(relation.RelatingMaterial)
                if found is not None:
                    return found
    return None


def look_of(material: Any) -> Style | None:
    """The surface style that an IfcMaterial is represented with."""
    for definition in attribute(material, "HasRepresentation", ()):
        for part in definition.Representations or ():
            for styled in part.Items or ():
                found = _surface(attribute(styled, "Styles", ()), 0)
                if found is not None:
                    return found
    return None


def look(instance: Any) -> Style | None:
    """What a surface style, or a material that has one, looks like; None for anything else."""
    return look_of(instance) if instance.is_a("IfcMaterial") else _surface((instance,), 0)


def _surface(styles: Any, depth: int) -> Style | None:
    # of two styles for the two sides that which is seen from outside
    for style in sorted(styles or (), key=lambda style: attribute(style, "Side") == "NEGATIVE"):
        if style.is_a("IfcPresentationStyleAssignment") and depth < 4:
            return _surface(style.Styles, depth + 1)
        if style.is_a("IfcSurfaceStyle"):
            for shading in style.Styles or ():
                if is_kind(shading, "IfcSurfaceStyleShading"):
                    return str(style.Name or ""), _color(shading)
    return None


def _color(shading: Any) -> tuple[float, float, float, float]:
    """The diffuse colour of a rendering, else the surface colour times the diffuse factor; 1 − transparency.

    So IfcSurfaceStyleRendering says. The parser's kernels multiply two colours, by which a style that states one colour twice is drawn too dark.
    """
    surface, diffuse = shading.SurfaceColour, attribute(shading, "DiffuseColour")
    if diffuse is not None and diffuse.is_a("IfcColourRgb"):
        surface, diffuse = diffuse, None
    factor = 1.0 if diffuse is None else diffuse.wrappedValue
    values = [part * factor for part in (surface.Red, surface.Green, surface.Blue)]
    values.append(1.0 - float(attribute(shading, "Transparency", 0.0)))
    return _clipped(values)


def _clipped(values: list[float]) -> tuple[float, float, float, float]:
    r, g, b, a = (min(max(float(v), 0.0), 1.0) if math.isfinite(v) else 0.8 for v in values)
    return r, g, b, a
