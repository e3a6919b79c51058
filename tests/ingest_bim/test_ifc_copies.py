"""Elements of several copies of one body: what is shaped once and placed against what the kernel makes of the whole; and placements without a beginning."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ifcopenshell
import numpy as np
import pytest

from ingest_bim.geometry import host as geometry_host
from ingest_bim.geometry.copies import is_copied
from ingest_bim.ifc import reader as ifc
from twin.model import Mesh, Report


class Made:
    """A model in millimetres with one proxy, whose body the tests fill."""

    def __init__(self) -> None:
        self.file = file = ifcopenshell.file(schema="IFC4")
        unit = file.create_entity("IfcSIUnit", None, "LENGTHUNIT", "MILLI", "METRE")
        self.origin = file.create_entity("IfcAxis2Placement3D", self.point(0, 0, 0))
        self.context = file.create_entity("IfcGeometricRepresentationContext", None, "Model", 3, 1e-5, self.origin)
        file.create_entity("IfcProject", "0000000000000000000001", Name="P", RepresentationContexts=[self.context], UnitsInContext=file.create_entity("IfcUnitAssignment", [unit]))

    def point(self, *values: float) -> Any:
        return self.file.create_entity("IfcCartesianPoint", [float(v) for v in values])

    def direction(self, *values: float) -> Any:
        return self.file.create_entity("IfcDirection", [float(v) for v in values])

    def bar(self) -> Any:
        """A swept disk once round a corner."""
        line = self.file.create_entity("IfcIndexedPolyCurve", self.file.create_entity("IfcCartesianPointList3D", [(0.0, 0.0, 0.0), (900.0, 0.0, 0.0), (900.0, 400.0, 0.0)]))
        return self.file.create_entity("IfcSweptDiskSolid", line, 20.0)

    def source(self, *items: Any) -> Any:
        shape = self.file.create_entity("IfcShapeRepresentation", self.context, "Body", "AdvancedSweptSolid", items)
        return self.file.create_entity("IfcRepresentationMap", self.file.create_entity("IfcAxis2Placement3D", self.point(10, 0, 0)), shape)

    def mapped(self, source: Any, kind: str = "IfcCartesianTransformationOperator3D", **given: Any) -> Any:
        return self.file.create_entity("IfcMappedItem", source, self.file.create_entity(kind, **given))

    def proxy(self, *items: Any, placement: Any = None) -> Any:
        at = placement or self.file.create_entity("IfcLocalPlacement", None, self.file.create_entity("IfcAxis2Placement3D", self.point(5000, 1000, 0), None, self.direction(0, 1, 0)))
        shape = self.file.create_entity("IfcShapeRepresentation", self.context, "Body", "MappedRepresentation", items)
        body = self.file.create_entity("IfcProductDefinitionShape", Representations=[shape])
        return self.file.create_entity("IfcBuildingElementProxy", "0000000000000000000002", Name="x", ObjectPlacement=at, Representation=body)


def styled(made: Made, item: Any, *rgb: float) -> None:
    shading = made.file.create_entity("IfcSurfaceStyleShading", made.file.create_entity("IfcColourRgb", None, *rgb))
    made.file.create_entity("IfcStyledItem", item, [made.file.create_entity("IfcSurfaceStyle", "s", "BOTH", [shading])])


def test_copies_are_where_the_kernel_has_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Moved, turned, mirrored and stretched; the body is asked for once, and has its own colour."""
    made = Made()
    bar = made.bar()
    styled(made, bar, 1.0, 0.5, 0.25)
    source = made.source(bar)
    product = made.proxy(
        made.mapped(source, LocalOrigin=made.point(0, 0, 0)), made.mapped(source, LocalOrigin=made.point(0, 0, 200), Axis1=made.direction(0.6, 0.8, 0)),
        made.mapped(source, LocalOrigin=made.point(0, 0, 400), Axis2=made.direction(0, -1, 0)),
        made.mapped(source, "IfcCartesianTransformationOperator3DnonUniform", LocalOrigin=made.point(0, 0, 600), Scale=2.0, Scale2=1.0, Scale3=3.0),
    )  # fmt: skip
    assert is_copied(product)
    settings = geometry_host.geometry_settings()
    state, (positions, triangles, rows, styles, matrix) = geometry_host.shape(made.file, settings, product.id(), "opencascade")
    assert state == "ok" and styles == [("s", (1.0, 0.5, 0.25, 1.0))] and set(rows.tolist()) == {0}
    monkeypatch.setattr(geometry_host, "is_copied", lambda product: False)
    _, (other, corners, _, looks, frame) = geometry_host.shape(made.file, settings, product.id(), "opencascade")
    assert len(triangles) == len(corners) and looks == styles
    np.testing.assert_allclose(matrix, frame)
    found, expected = positions[triangles].reshape(4, -1, 3), other[corners].reshape(4, -1, 3)
    np.testing.assert_allclose(found.min(1), expected.min(1), atol=1e-9)
    np.testing.assert_allclose(found.max(1), expected.max(1), atol=1e-9)
    volumes = [float(np.einsum("ij,ij->", part[::3], np.cross(part[1::3], part[2::3])) / 6) for part in found]
    np.testing.assert_allclose(np.abs(volumes) / abs(volumes[0]), [1, 1, 1, 6], rtol=1e-6)
    assert len({np.sign(v) for v in volumes}) == 1, "a mirrored copy is not inside out"


def test_what_is_not_copies_of_sweeps_is_for_the_kernel() -> None:
    made = Made()
    source = made.source(made.bar())
    assert not is_copied(made.proxy(made.mapped(source, LocalOrigin=made.point(0, 0, 0))))
    assert not is_copied(made.proxy(made.mapped(source, LocalOrigin=made.point(0, 0, 0)), made.mapped(made.source(made.bar()), LocalOrigin=made.point(0, 0, 0))))
    assert not is_copied(made.proxy(made.mapped(source, LocalOrigin=made.point(0, 0, 0)), made.bar()))
    block = made.source(made.file.create_entity("IfcBlock", made.origin, 100.0, 200.0, 300.0))
    product = made.proxy(made.mapped(block, LocalOrigin=made.point(0, 0, 0)), made.mapped(block, LocalOrigin=made.point(500, 0, 0)))
    assert is_copied(product)
    state, what = geometry_host.shape(made.file, geometry_host.geometry_settings(), product.id(), "opencascade")
    assert state == "ok" and len(what[1]) == 24


def test_placements_in_a_circle_are_said_to_be(tmp_path: Path) -> None:
    made = Made()
    first, second = (made.file.create_entity("IfcLocalPlacement", None, made.origin) for _ in range(2))
    first.PlacementRelTo, second.PlacementRelTo = second, first
    made.proxy(made.bar(), placement=second)
    path = tmp_path / "circle.ifc"
    made.file.write(str(path))
    report = Report()
    batches = list(ifc.read(path, ifc.Options.model_validate({"crs": "EPSG:32650", "vertical": "EGM96", "anchor": "500000,2500000,0"}), report))
    assert report.kept == 2 and not sum(len(b.instance_feature) for b in batches if isinstance(b, Mesh))
    (note,) = [note for note in report.notes if note.action == "skipped"]
    assert note.feature == "0000000000000000000002" and "run in a circle" in note.reason
