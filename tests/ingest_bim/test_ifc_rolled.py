"""Rolled profiles: without fillets they are polygons, which the quick engines draw (volumes by hand); and structural lines, which nobody draws."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ifcopenshell
import numpy as np
import pytest

from ingest_bim.ifc import reader as ifc
from ingest_bim.ifc.geometry import REFERENCE
from ingest_bim.ifc.groups import signature
from ingest_bim.ifc.products import Products
from twin import reading
from twin.model import Mesh, Report

PROFILES = (
    ("IfcRectangleHollowProfileDef", {"XDim": 0.2, "YDim": 0.1, "WallThickness": 0.01}, 0.2 * 0.1 - 0.18 * 0.08, "OuterFilletRadius"),
    ("IfcIShapeProfileDef", {"OverallWidth": 0.1, "OverallDepth": 0.2, "WebThickness": 0.01, "FlangeThickness": 0.02}, 2 * 0.1 * 0.02 + 0.16 * 0.01, "FilletRadius"),
    ("IfcLShapeProfileDef", {"Depth": 0.1, "Width": 0.08, "Thickness": 0.01}, 0.1 * 0.01 + 0.07 * 0.01, "FilletRadius"),
    ("IfcTShapeProfileDef", {"Depth": 0.1, "FlangeWidth": 0.08, "WebThickness": 0.01, "FlangeThickness": 0.02}, 0.08 * 0.02 + 0.08 * 0.01, "FilletRadius"),
    ("IfcUShapeProfileDef", {"Depth": 0.1, "FlangeWidth": 0.05, "WebThickness": 0.01, "FlangeThickness": 0.02}, 0.1 * 0.01 + 2 * 0.04 * 0.02, "FilletRadius"),
)


def beams(path: Path, kind: str, sizes: dict[str, float], count: int = 6) -> Any:
    """A model of beams of 1, 2, 3 … m of one profile."""
    file = ifcopenshell.file(schema="IFC4")
    origin = file.create_entity("IfcAxis2Placement3D", file.create_entity("IfcCartesianPoint", (0.0, 0.0, 0.0)))
    context = file.create_entity("IfcGeometricRepresentationContext", None, "Model", 3, 1e-5, origin)
    unit = file.create_entity("IfcSIUnit", None, "LENGTHUNIT", None, "METRE")
    file.create_entity("IfcProject", "0000000000000000000000", Name="P", RepresentationContexts=[context], UnitsInContext=file.create_entity("IfcUnitAssignment", [unit]))
    profile, up = file.create_entity(kind, "AREA", **sizes), file.create_entity("IfcDirection", (0.0, 0.0, 1.0))
    for n in range(1, count + 1):
        solid = file.create_entity("IfcExtrudedAreaSolid", profile, origin, up, float(n))
        body = file.create_entity("IfcProductDefinitionShape", None, None, [file.create_entity("IfcShapeRepresentation", context, "Body", "SweptSolid", [solid])])
        file.create_entity("IfcBeam", f"{n:022d}", Name=str(n), ObjectPlacement=file.create_entity("IfcLocalPlacement", None, origin), Representation=body)
    file.write(str(path))
    return file


@pytest.mark.parametrize("count", [7, 8, 12])
def test_a_model_delivered_again_has_the_triangles_of_a_new_one(tmp_path: Path, count: int) -> None:
    """Whatever the cache holds: one beam more than before, or two, or as many again."""
    def read(name: str, cache: str) -> tuple[Mesh, dict[str, Any]]:
        report = Report()
        with reading.given(reading.Surroundings(cache=tmp_path / cache)):
            batches = list(ifc.read(tmp_path / name, ifc.Options.model_validate({"crs": "EPSG:32650", "vertical": "EGM96", "anchor": "500000,2500000,0"}), report))
        return next(b for b in batches if isinstance(b, Mesh)), report.facts["geometry"]

    kind, sizes, *_ = PROFILES[1]
    beams(tmp_path / "before.ifc", kind, sizes)
    beams(tmp_path / "after.ifc", kind, sizes, count)
    read("before.ifc", "warm")
    again, facts = read("after.ifc", "warm")
    fresh, _ = read("after.ifc", "cold")
    assert facts["from_cache"] == 6
    for name in ("positions", "triangles", "vertex_start", "instance_prototype", "transforms"):
        np.testing.assert_array_equal(getattr(again, name), getattr(fresh, name), name)


@pytest.mark.parametrize(("kind", "sizes", "area", "radius"), PROFILES, ids=[profile[0] for profile in PROFILES])
def test_polygons_are_drawn_by_a_quick_engine(tmp_path: Path, kind: str, sizes: dict[str, float], area: float, radius: str) -> None:
    made = beams(tmp_path / "beams.ifc", kind, sizes)
    assert signature(made.by_type("IfcBeam")[0], Products(made, None)) == ("IfcExtrudedAreaSolid",)
    report = Report()
    options = ifc.Options.model_validate({"crs": "EPSG:32650", "vertical": "EGM96", "anchor": "500000,2500000,0"})
    mesh = next(b for b in ifc.read(tmp_path / "beams.ifc", options, report) if isinstance(b, Mesh))
    geometry = report.facts["geometry"]
    assert REFERENCE not in geometry["kernels"] and 1 <= geometry["samples_compared"] <= 2 and geometry["drawn"] == 6
    for prototype, feature in zip(mesh.instance_prototype, mesh.instance_feature, strict=True):
        corners = mesh.triangles[mesh.triangle_start[prototype] : mesh.triangle_start[prototype + 1]]
        points = mesh.positions[mesh.vertex_start[prototype] :]  # triangles name the vertices of their prototype
        volume = float(np.einsum("ij,ij->", points[corners[:, 0]], np.cross(points[corners[:, 1]], points[corners[:, 2]])) / 6)
        assert volume == pytest.approx(area * int(mesh.ids[int(feature)].as_py()), rel=1e-6)
    rounded = beams(tmp_path / "round.ifc", kind, {**sizes, radius: 0.004}, 1)
    assert "rounded" in signature(rounded.by_type("IfcBeam")[0], Products(rounded, None))


def test_structural_lines_are_not_failures(tmp_path: Path) -> None:
    """A curve member is an edge: nothing to draw, which is no fault of a kernel."""
    file = beams(tmp_path / "beams.ifc", "IfcRectangleProfileDef", {"XDim": 0.1, "YDim": 0.1}, 1)
    ends = [file.create_entity("IfcVertexPoint", file.create_entity("IfcCartesianPoint", (x, 0.0, 0.0))) for x in (0.0, 5.0)]
    topology = file.create_entity("IfcTopologyRepresentation", file.by_type("IfcGeometricRepresentationContext")[0], "Reference", "Edge", [file.create_entity("IfcEdge", *ends)])
    file.create_entity("IfcStructuralCurveMember", "1000000000000000000009", Name="m", Representation=file.create_entity("IfcProductDefinitionShape", None, None, [topology]),
                       PredefinedType="RIGID_JOINED_MEMBER", Axis=file.create_entity("IfcDirection", (0.0, 0.0, 1.0)))  # fmt: skip
    file.write(str(tmp_path / "structure.ifc"))
    report = Report()
    options = ifc.Options.model_validate({"crs": "EPSG:32650", "vertical": "EGM96", "anchor": "500000,2500000,0"})
    list(ifc.read(tmp_path / "structure.ifc", options, report))
    assert report.facts["geometry"]["not_drawn"] == {"empty": 1}
    (note,) = [note for note in report.notes if note.action == "skipped"]
    assert note.feature == "1000000000000000000009" and "lines" in note.reason


def test_round_openings_cut_what_they_should(tmp_path: Path) -> None:
    """Among walls with square windows some with round ones, one that is inside out: the quickest kernel loses the arc, or the whole wall, or adds. Volumes by hand (chords of the circle cut a little less)."""
    made = beams(tmp_path / "walls.ifc", "IfcRectangleProfileDef", {"XDim": 4.0, "YDim": 4.0}, 8)
    make = made.create_entity
    (context,), beam = made.by_type("IfcGeometricRepresentationContext"), made.by_type("IfcBeam")
    origin, up = made.by_type("IfcAxis2Placement3D")[0], made.by_type("IfcDirection")[0]
    flat = make("IfcAxis2Placement2D", make("IfcCartesianPoint", (0.0, 0.0)))
    points = make("IfcCartesianPointList2D", [[-0.5, 0.0], [0.0, 0.5], [0.5, 0.0]])
    half = make("IfcIndexedPolyCurve", points, [make("IfcArcIndex", [1, 2, 3]), make("IfcLineIndex", [3, 1])])
    profiles = {
        1.0: make("IfcRectangleProfileDef", "AREA", None, flat, 1.0, 1.0),
        np.pi / 4: make("IfcCircleProfileDef", "AREA", None, flat, 0.5),
        np.pi / 8: make("IfcArbitraryClosedProfileDef", "AREA", None, half),
    }
    holes = [*list(profiles)[:1] * 5, *list(profiles)[1:], 0.25]
    corners = [make("IfcCartesianPoint", (x, y, z)) for z in (0.0, 8.0) for x, y in ((0.0, 0.0), (0.5, 0.0), (0.5, 0.5), (0.0, 0.5))]
    inwards = [make("IfcPolyLoop", [corners[i] for i in ring]) for ring in ("0123", "7654", "4510", "5621", "6732", "7403") for ring in [map(int, ring)]]
    shell = make("IfcClosedShell", [make("IfcFace", [make("IfcFaceOuterBound", loop, True)]) for loop in inwards])
    for number, (element, hole) in enumerate(zip(beam, holes, strict=True), 1):
        solid = make("IfcExtrudedAreaSolid", profiles[hole], origin, up, float(number)) if hole in profiles else make("IfcFacetedBrep", shell)
        body = make("IfcProductDefinitionShape", None, None, [make("IfcShapeRepresentation", context, "Body", "SweptSolid", [solid])])
        opening = make("IfcOpeningElement", f"{100 + number:022d}", ObjectPlacement=element.ObjectPlacement, Representation=body)
        make("IfcRelVoidsElement", f"{200 + number:022d}", RelatingBuildingElement=element, RelatedOpeningElement=opening)
    tower = make("IfcCsgSolid", make("IfcRightCircularCone", origin, 3.0, 1.0))  # the root of its tree is round itself
    body = make("IfcProductDefinitionShape", None, None, [make("IfcShapeRepresentation", context, "Body", "CSG", [tower])])
    make("IfcBuildingElementProxy", f"{300:022d}", ObjectPlacement=beam[0].ObjectPlacement, Representation=body)
    made.write(str(tmp_path / "walls.ifc"))
    options = ifc.Options.model_validate({"crs": "EPSG:32650", "vertical": "EGM96", "anchor": "500000,2500000,0"})
    mesh = next(b for b in ifc.read(tmp_path / "walls.ifc", options, Report()) if isinstance(b, Mesh))
    expected = {number: number * (16 - hole) for number, hole in enumerate(holes, 1)} | {300: np.pi}
    found = {}
    for prototype, feature in zip(mesh.instance_prototype, mesh.instance_feature, strict=True):
        points = mesh.positions[mesh.vertex_start[prototype] :]
        a, b, c = (points[mesh.triangles[mesh.triangle_start[prototype] : mesh.triangle_start[prototype + 1], i]] for i in range(3))
        found[int(mesh.ids[int(feature)].as_py())] = float(np.einsum("ij,ij->", a, np.cross(b, c)) / 6)
    assert found == pytest.approx(expected, rel=2e-3)
