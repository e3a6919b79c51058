"""Models that a standard allows or a tool got wrong, and that no sample holds: nothing is lost without a word, nothing stands in a wrong size."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from ingest_bim.ifc import reader as ifc
from ingest_bim.ifc.structure import Structure
from twin.errors import UnreadableSource
from twin.model import Mesh, Report

Step = Callable[..., str]
ModelFile = Callable[..., Path]


def read(path: Path) -> tuple[Mesh, Report]:
    report = Report()
    batches = list(ifc.read(path, ifc.Options(crs="EPSG:4547", vertical="EGM96", anchor="500000,2500000,0"), report))  # type: ignore[call-arg]
    return next(b for b in batches if isinstance(b, Mesh)), report


def notes(report: Report, action: str) -> list[tuple[str, str]]:
    return [(note.feature, note.reason) for note in report.notes if note.action == action]


def test_a_line_written_twice_is_said(model_file: ModelFile, step: Step) -> None:
    twice = "#100=IFCCOLUMN('5000000000000000000001',$,'twice',$,$,#101,#104,'T1',.COLUMN.);"
    mesh, report = read(model_file(step(twice)))
    assert mesh.ids.to_pylist().count("1000000000000000000001") == 1
    assert len(mesh.instance_feature) == 2
    assert [feature for feature, reason in notes(report, "refused") if "written twice" in reason] == ["5000000000000000000001"]


def test_two_projects_have_one_unit(model_file: ModelFile, step: Step) -> None:
    second = "#900=IFCPROJECT('9000000000000000000001',$,'P2',$,$,$,$,(#2),{units});"
    mesh, report = read(model_file(step(second.format(units="#3"))))
    assert "9000000000000000000001" in mesh.ids.to_pylist()
    assert any("second IfcProject" in reason for _, reason in notes(report, "warned"))
    millimetres = ("#901=IFCUNITASSIGNMENT((#902));", "#902=IFCSIUNIT(*,.LENGTHUNIT.,.MILLI.,.METRE.);")
    with pytest.raises(UnreadableSource, match=r"2 projects in different length units \(0\.001 m and 1 m\)"):
        read(model_file(step(second.format(units="#901"), *millimetres)))


def test_what_lies_far_from_the_model_is_said(model_file: ModelFile, step: Step) -> None:
    far = ("#910=IFCCOLUMN('9000000000000000000005',$,'far',$,$,#911,#104,'T1',.COLUMN.);", "#911=IFCLOCALPLACEMENT($,#912);",
           "#912=IFCAXIS2PLACEMENT3D(#913,$,$);", "#913=IFCCARTESIANPOINT(({east},0.,0.));")  # fmt: skip
    for east, expected in (("500000.", ["9000000000000000000005"]), ("500.", [])):
        _, report = read(model_file(step(*(line.format(east=east) for line in far))))
        assert [feature for feature, reason in notes(report, "warned") if "500 km from the middle" in reason] == expected


@pytest.mark.parametrize("east", ["1.E7", "1.E300", "-1.E12"])
def test_what_lies_off_the_earth_costs_no_more_than_itself(model_file: ModelFile, step: Step, east: str) -> None:
    far = ("#910=IFCCOLUMN('9000000000000000000005',$,'far',$,$,#911,#104,'T1',.COLUMN.);", "#911=IFCLOCALPLACEMENT($,#912);",
           "#912=IFCAXIS2PLACEMENT3D(#913,$,$);", f"#913=IFCCARTESIANPOINT(({east},0.,0.));")  # fmt: skip
    mesh, report = read(model_file(step(*far)))
    assert len(mesh.instance_feature) == 2 and "9000000000000000000005" in mesh.ids.to_pylist()
    assert [(feature, "misplaced" in reason) for feature, reason in notes(report, "skipped")] == [("9000000000000000000005", True)]


@pytest.mark.parametrize(("value", "base", "reason"), [("0.", "#4", "of 0 m"), ("-1.", "#4", "of -1 m"), ("1.E300", "#4", r"of 1e\+300 m"), ("2.", "#900", "in terms of itself")])
def test_a_unit_of_length_that_is_none_is_refused(model_file: ModelFile, step: Step, value: str, base: str, reason: str) -> None:
    unit = ("#900=IFCCONVERSIONBASEDUNIT(#901,.LENGTHUNIT.,'X',#902);", "#901=IFCDIMENSIONALEXPONENTS(1,0,0,0,0,0,0);", f"#902=IFCMEASUREWITHUNIT(IFCLENGTHMEASURE({value}),{base});")
    with pytest.raises(UnreadableSource, match=f"a unit of length {reason}"):
        read(model_file(step(*unit, units="#900,#5,#6")))


@pytest.mark.parametrize("kind", ["TRIANGULATED", "POLYGONAL"])
def test_faces_have_their_own_colours(model_file: ModelFile, step: Step, kind: str) -> None:
    """A pyramid: the base red, the sides green but for one that is red; the same without colours beside it."""
    faces = ("#202=IFCTRIANGULATEDFACESET(#201,$,.T.,((1,3,2),(1,4,3),(1,2,5),(2,3,5),(3,4,5),(4,1,5)),$);",) if kind == "TRIANGULATED" else (
        "#202=IFCPOLYGONALFACESET(#201,.T.,(#211,#212,#213,#214,#215),$);",
        *(f"#{211 + i}=IFCINDEXEDPOLYGONALFACE({text});" for i, text in enumerate(("(1,4,3,2)", "(1,2,5)", "(2,3,5)", "(3,4,5)", "(4,1,5)"))))  # fmt: skip
    index = "(1,1,2,2,1,2)" if kind == "TRIANGULATED" else "(1,2,2,1,2)"
    body = (
        "#201=IFCCARTESIANPOINTLIST3D(((0.,0.,0.),(2.,0.,0.),(2.,2.,0.),(0.,2.,0.),(1.,1.,2.)));", *faces,
        "#203=IFCCOLOURRGBLIST(((1.,0.,0.),(0.,1.,0.)));", "#205=IFCSHAPEREPRESENTATION(#2,'Body','Tessellation',(#202));", "#206=IFCPRODUCTDEFINITIONSHAPE($,$,(#205));",
        "#207=IFCBUILDINGELEMENTPROXY('2000000000000000000007',$,'pyramid',$,$,#40,#206,$,$);",
    )  # fmt: skip
    for opacity, alpha in (("0.5", 0.5), ("$", 1.0)):
        mesh, _ = read(model_file(step(*body, f"#204=IFCINDEXEDCOLOURMAP(#202,{opacity},#203,{index});")))
        feature = mesh.ids.to_pylist().index("2000000000000000000007")
        p = int(mesh.instance_prototype[np.flatnonzero(mesh.instance_feature == feature)[0]])
        own = mesh.positions[mesh.vertex_start[p] : mesh.vertex_start[p + 1]]
        corners = own[mesh.triangles[mesh.triangle_start[p] : mesh.triangle_start[p + 1]]] - (own.min(0) + own.max(0)) / 2
        colors = [mesh.materials[m].color for m in mesh.triangle_material[mesh.triangle_start[p] : mesh.triangle_start[p + 1]]]
        assert len(corners) == 6
        for triangle, color in zip(corners, colors, strict=True):
            red = np.ptp(triangle[:, 2]) == 0 or triangle[:, 1].mean() > 0.5
            assert color == ((1.0, 0.0, 0.0, alpha) if red else (0.0, 1.0, 0.0, alpha)), triangle
    plain, _ = read(model_file(step(*body)))
    assert all(material.color[0] == material.color[1] for material in plain.materials)


@pytest.mark.parametrize("angle", ["#7", "#920"])
def test_round_primitives_are_drawn(model_file: ModelFile, step: Step, angle: str) -> None:
    """A cylinder, a cone on its side and a cylinder cut by another in a map: volumes by formula, boxes by hand; angles in radians and degrees."""
    body = (
        "#900=IFCRIGHTCIRCULARCYLINDER(#10,2.,0.5);", "#901=IFCRIGHTCIRCULARCONE(#902,3.,1.);", "#902=IFCAXIS2PLACEMENT3D(#903,#904,#905);",
        "#903=IFCCARTESIANPOINT((10.,0.,0.));", "#904=IFCDIRECTION((1.,0.,0.));", "#905=IFCDIRECTION((0.,1.,0.));", "#906=IFCRIGHTCIRCULARCYLINDER(#10,2.,1.);",
        "#907=IFCBOOLEANRESULT(.DIFFERENCE.,#906,#900);", "#908=IFCCSGSOLID(#907);", "#909=IFCSHAPEREPRESENTATION(#2,'Body','CSG',(#908));",
        "#910=IFCREPRESENTATIONMAP(#10,#909);", "#911=IFCMAPPEDITEM(#910,#103);",
        "#920=IFCCONVERSIONBASEDUNIT(#921,.PLANEANGLEUNIT.,'DEGREE',#922);", "#921=IFCDIMENSIONALEXPONENTS(0,0,0,0,0,0,0);",
        "#922=IFCMEASUREWITHUNIT(IFCPLANEANGLEMEASURE(0.0174532925199433),#923);", "#923=IFCSIUNIT(*,.PLANEANGLEUNIT.,$,.RADIAN.);",
        *(line for i, (item, kind) in enumerate((("#900", "CSG"), ("#901", "CSG"), ("#911", "MappedRepresentation"))) for line in (
            f"#{930 + 3 * i}=IFCSHAPEREPRESENTATION(#2,'Body','{kind}',({item}));", f"#{931 + 3 * i}=IFCPRODUCTDEFINITIONSHAPE($,$,(#{930 + 3 * i}));",
            f"#{932 + 3 * i}=IFCBUILDINGELEMENTPROXY('300000000000000000000{i}',$,'round',$,$,#40,#{931 + 3 * i},$,$);")),
    )  # fmt: skip
    mesh, report = read(model_file(step(*body, units=f"#4,#5,#6,{angle}")))
    assert not notes(report, "skipped")
    expected = ((np.pi * 0.25 * 2, (-0.5, -0.5, 0, 0.5, 0.5, 2)), (np.pi, (10, -1, -1, 13, 1, 1)), (np.pi * 0.75 * 2, (-1, -1, 0, 1, 1, 2)))
    for i, (volume, box) in enumerate(expected):
        at = int(np.flatnonzero(mesh.instance_feature == mesh.ids.to_pylist().index(f"300000000000000000000{i}"))[0])
        p = int(mesh.instance_prototype[at])
        matrix = mesh.transforms[at]
        points = mesh.positions[mesh.vertex_start[p] : mesh.vertex_start[p + 1]] @ matrix[:3, :3].T + matrix[:3, 3] - [500000, 2500000, 0]
        triangles = points[mesh.triangles[mesh.triangle_start[p] : mesh.triangle_start[p + 1]]]
        a, b, c = (triangles[:, k] - points.mean(0) for k in range(3))
        # what is round becomes a polygon with its corners on the circle: a little smaller
        assert volume * 0.95 < np.einsum("ij,ij->", a, np.cross(b, c)) / 6 < volume * 1.0001
        np.testing.assert_allclose([*points.min(0), *points.max(0)], box, atol=0.03)


@pytest.mark.parametrize(("hole", "items"), [(False, "#904"), (True, "#904"), (True, "#904,#63")])
def test_a_tapered_body_has_each_end_once(model_file: ModelFile, step: Step, hole: bool, items: str) -> None:
    """The kernels draw both ends twice, one of them inwards, too: volume and area of a frustum by formula, alone and below a box, and every edge met by one in the other direction."""
    body = (
        "#900=IFCRECTANGLEPROFILEDEF(.AREA.,$,#61,2.,2.);", "#901=IFCRECTANGLEPROFILEDEF(.AREA.,$,#61,1.,1.);",
        "#902=IFCRECTANGLEHOLLOWPROFILEDEF(.AREA.,$,#61,2.,2.,0.5,$,$);", "#903=IFCRECTANGLEHOLLOWPROFILEDEF(.AREA.,$,#61,1.,1.,0.25,$,$);",
        f"#904=IFCEXTRUDEDAREASOLIDTAPERED(#{902 if hole else 900},#10,#12,3.,#{903 if hole else 901});", f"#905=IFCSHAPEREPRESENTATION(#2,'Body','AdvancedSweptSolid',({items}));",
        "#906=IFCPRODUCTDEFINITIONSHAPE($,$,(#905));", "#907=IFCBUILDINGELEMENTPROXY('3000000000000000000001',$,'tapered',$,$,#40,#906,$,$);",
    )  # fmt: skip
    mesh, report = read(model_file(step(*body)))
    assert not notes(report, "skipped")
    at = int(np.flatnonzero(mesh.instance_feature == mesh.ids.to_pylist().index("3000000000000000000001"))[0])
    p = int(mesh.instance_prototype[at])
    triangles = (mesh.positions[mesh.vertex_start[p] : mesh.vertex_start[p + 1]])[mesh.triangles[mesh.triangle_start[p] : mesh.triangle_start[p + 1]]]
    a, b, c = (triangles[:, k] for k in range(3))
    slope = np.hypot(3, 0.5)
    volume, area = 3 / 3 * (4 + 2 + 1), 4 + 1 + 4 * 1.5 * slope
    if hole:  # of half the size
        volume, area = volume * 0.75, (4 + 1) * 0.75 + 4 * 1.5 * slope + 4 * 0.75 * np.hypot(3, 0.25)
    if "#63" in items:  # the box of the columns: 2 × 1 × 3 m
        volume, area = volume + 6, area + 22
    assert np.einsum("ij,ij->", a, np.cross(b, c)) / 6 == pytest.approx(volume) and np.linalg.norm(np.cross(b - a, c - a), axis=1).sum() / 2 == pytest.approx(area)
    corners = [[tuple(np.round(point, 6)) for point in triangle] for triangle in triangles]
    edges = sorted((t[i], t[(i + 1) % 3]) for t in corners for i in range(3))
    assert edges == sorted((v, u) for u, v in edges)


def test_wholes_of_wholes_without_end(model_file: ModelFile, step: Step, monkeypatch: pytest.MonkeyPatch) -> None:
    """1,000 assemblies, each a part of the one before, in a storey: every one has its place, and nobody climbs from each of them to the top."""
    count, climbed = 1000, 0
    above = Structure.above

    def counted(self: Structure, at: int) -> Iterator[int]:
        nonlocal climbed
        for found in above(self, at):
            climbed += 1
            yield found

    monkeypatch.setattr(Structure, "above", counted)
    lines = [f"#{1000 + 2 * i}=IFCELEMENTASSEMBLY('{f'A{i:021d}'}',$,$,$,$,#40,$,$,$,$);" for i in range(count)]
    lines += [f"#{1001 + 2 * i}=IFCRELAGGREGATES('{f'R{i:021d}'}',$,$,$,#{1000 + 2 * i},(#{1002 + 2 * i}));" for i in range(count - 1)]
    lines.append("#900=IFCRELCONTAINEDINSPATIALSTRUCTURE('9000000000000000000001',$,$,$,(#1000),#22);")
    mesh, _ = read(model_file(step(*lines)))
    assert [row["storey"] for row in mesh.attributes.to_pylist() if row["class"] == "IfcElementAssembly"] == ["EG"] * count
    assert climbed < 10 * count


@pytest.mark.parametrize("kernel", ["auto", "opencascade"])
def test_bodies_in_one_context_are_one_whatever_they_are(model_file: ModelFile, step: Step, kernel: str) -> None:
    """Face sets were drawn both, extrusions once."""
    lines = [f"#{910 + i}=IFCTRIANGULATEDFACESET(#{912 + i},$,.T.,((1,3,2),(1,2,4),(1,4,3),(2,3,4)),$); #{912 + i}=IFCCARTESIANPOINTLIST3D((({x},0.,0.),({x + 1},0.,0.),({x},1.,0.),({x},0.,1.))); "
             f"#{914 + i}=IFCSHAPEREPRESENTATION(#2,'{name}','Tessellation',(#{910 + i}));" for i, (x, name) in enumerate([(0.0, "Body"), (5.0, "{name}")])]  # fmt: skip
    lines += ["#916=IFCPRODUCTDEFINITIONSHAPE($,$,(#914,#915));", "#917=IFCPLATE('9000000000000000000007',$,$,$,$,#40,#916,$,$);"]
    for name in ("Body", "Facetation"):
        report = Report()
        options = ifc.Options(crs="EPSG:4547", vertical="EGM96", anchor="500000,2500000,0", kernel=kernel)  # type: ignore[call-arg]
        mesh = next(b for b in ifc.read(model_file(step(*(line.format(name=name) for line in lines))), options, report) if isinstance(b, Mesh))
        (at,) = np.flatnonzero(mesh.instance_feature == mesh.ids.to_pylist().index("9000000000000000000007"))
        p = int(mesh.instance_prototype[at])
        assert np.ptp(mesh.positions[mesh.vertex_start[p] : mesh.vertex_start[p + 1], 0]) == pytest.approx(6 if name == "Body" else 1)
        assert "9000000000000000000007" not in [feature for feature, _ in notes(report, "warned")]


def test_what_has_no_body_is_told_by_what_it_has(model_file: ModelFile, step: Step) -> None:
    lines = ("#910=IFCSHAPEREPRESENTATION(#2,'Clearance','SweptSolid',(#63));", "#911=IFCPRODUCTDEFINITIONSHAPE($,$,(#910));", "#912=IFCPLATE('9000000000000000000008',$,$,$,$,#40,#911,$,$);")
    _, report = read(model_file(step(*lines)))
    assert notes(report, "skipped") == [("9000000000000000000008", "IfcPlate #912: its shape is not drawn: of it there is no body, but Clearance alone.")]
