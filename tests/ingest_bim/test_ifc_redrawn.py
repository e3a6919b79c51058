"""Items that the parser's kernels draw wrong or not at all: volumes, areas and boxes by formula, and every edge met by one in the other direction."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ingest_bim.geometry.disks import tube
from ingest_bim.geometry.host import OUTLINES, geometry_settings
from ingest_bim.geometry.profiles import Draw
from ingest_bim.geometry.redrawn import redraw
from ingest_bim.ifc import reader as ifc
from ingest_bim.ifc.caps import closed
from ingest_bim.ifc.geometry import Shape, is_closed, volume_of
from ingest_bim.ifc.step_access import parser
from twin import reading
from twin.model import Mesh, Report

Step = Callable[..., str]
ModelFile = Callable[..., Path]
ID = "3000000000000000000001"
#: Points, directions and profiles that the cases share: #805 is an L of 2 × 1, turned by 90° and moved to x = 3, so that it covers 2…4, −0.5…0.5.
SHARED = (
    "#800=IFCCARTESIANPOINT((1.,2.));", "#801=IFCDIRECTION((0.,1.));", "#802=IFCDIRECTION((-1.,0.));", "#803=IFCCARTESIANPOINT((3.,0.));", "#804=IFCAXIS2PLACEMENT2D(#803,#801);",
    "#805=IFCLSHAPEPROFILEDEF(.AREA.,$,#804,2.,1.,0.1,$,$,$);", "#806=IFCCIRCLEPROFILEDEF(.AREA.,$,#804,1.);", "#807=IFCCOMPOSITEPROFILEDEF(.AREA.,$,(#805,#806),$);",
    "#808=IFCRECTANGLEPROFILEDEF(.AREA.,$,#61,1.,0.5);", "#809=IFCRECTANGLEHOLLOWPROFILEDEF(.AREA.,$,#61,2.,1.,0.1,$,$);", "#810=IFCRECTANGLEPROFILEDEF(.AREA.,$,$,2.,2.);",
    "#820=IFCCARTESIANPOINT((5.,0.,0.));", "#821=IFCDIRECTION((0.,1.,0.));", "#822=IFCAXIS1PLACEMENT(#820,#821);", "#823=IFCAXIS2PLACEMENT3D(#820,$,$);",
    "#830=IFCCARTESIANPOINT((4.,0.));", "#831=IFCCARTESIANPOINT((4.,3.));", "#832=IFCPOLYLINE((#62,#830,#831));",
    "#840=IFCCARTESIANPOINT((0.,0.,2.));", "#841=IFCAXIS2PLACEMENT3D(#840,$,$);", "#842=IFCCARTESIANPOINT((0.,0.,5.));", "#843=IFCAXIS2PLACEMENT3D(#842,$,$);",
    "#850=IFCCARTESIANPOINT((4.,0.,0.));", "#851=IFCCARTESIANPOINT((4.,3.,0.));", "#852=IFCPOLYLINE((#11,#850,#851));", "#853=IFCPOLYLINE((#11,#840,#842));",
    "#854=IFCCOMPOSITECURVESEGMENT(.CONTINUOUS.,.T.,#853);", "#855=IFCCOMPOSITECURVE((#854),.F.);",
)  # fmt: skip
FULL = 2 * np.pi


def drawn(path: Path, **more: float) -> tuple[float, float, list[float], Report]:
    """Volume, area and box (around the placed origin) of the element, whose mesh is closed."""
    report = Report()
    options = ifc.Options(crs="EPSG:4547", vertical="EGM96", anchor="500000,2500000,0", **more)  # type: ignore[call-arg,arg-type]
    mesh = next(b for b in ifc.read(path, options, report) if isinstance(b, Mesh))
    assert [note for note in report.notes if note.action == "skipped" and "IfcGrid #" not in note.reason] == []
    (at,) = np.flatnonzero(mesh.instance_feature == mesh.ids.to_pylist().index(ID))
    p, matrix = int(mesh.instance_prototype[at]), mesh.transforms[at]
    points = mesh.positions[mesh.vertex_start[p] : mesh.vertex_start[p + 1]] @ matrix[:3, :3].T + matrix[:3, 3] - [500000, 2500000, 0]
    triangles = points[mesh.triangles[mesh.triangle_start[p] : mesh.triangle_start[p + 1]]]
    corners = [[tuple(np.round(point, 5) + 0.0) for point in triangle] for triangle in triangles]
    edges = sorted((t[i], t[(i + 1) % 3]) for t in corners for i in range(3))
    assert edges == sorted((v, u) for u, v in edges)
    a, b, c = (triangles[:, k] - points.mean(0) for k in range(3))
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1).sum() / 2
    return float(np.einsum("ij,ij->", a, np.cross(b, c)) / 6), float(area), [*points.min(0), *points.max(0)], report


def element(items: str) -> tuple[str, ...]:
    return (f"#900=IFCSHAPEREPRESENTATION(#2,'Body','AdvancedSweptSolid',({items}));", "#901=IFCPRODUCTDEFINITIONSHAPE($,$,(#900));",
            f"#902=IFCBUILDINGELEMENTPROXY('{ID}',$,'redrawn',$,$,#40,#901,$,$);")  # fmt: skip


def derived(parent: str, operator: str) -> str:
    kind = "NONUNIFORM" if operator.count(",") > 3 else ""
    return f"#910=IFCCARTESIANTRANSFORMATIONOPERATOR2D{kind}({operator}); #911=IFCDERIVEDPROFILEDEF(.AREA.,$,{parent},#910,$); #912=IFCEXTRUDEDAREASOLID(#911,#10,#12,1.);"


L = 0.29, 6.58  # volume and area of the L, one high
PROFILES = {
    "turned": (derived("#805", "#801,$,#800,$"), *L, (0.5, 4, 0, 1.5, 6, 1)),
    "mirrored by axes": (derived("#805", "#802,#801,#800,1."), *L, (-3, 1.5, 0, -1, 2.5, 1)),
    "scaled": (derived("#805", "$,$,#800,2."), 4 * 0.29, 2 * 0.29 * 4 + 2 * 6, (5, 1, 0, 9, 3, 1)),
    "scaled in two ways": (derived("#60", "$,$,#800,2.,3."), 12.0, 2 * 12 + 2 * 7, (-1, 0.5, 0, 3, 3.5, 1)),
    "scaled with a hole": (derived("#809", "$,$,#62,2."), 4 * 0.56, 8 * 0.56 + 2 * (6 + 5.2), (-2, -1, 0, 2, 1, 1)),
    "moved, composite": (derived("#807", "$,$,#800,1."), 0.29 + np.pi, 6.58 + 4 * np.pi, (3, 1, 0, 5, 3, 1)),
    "derived of derived": (
        "#910=IFCCARTESIANTRANSFORMATIONOPERATOR2D(#801,$,#800,2.); #911=IFCDERIVEDPROFILEDEF(.AREA.,$,#805,#910,$); #913=IFCCARTESIANTRANSFORMATIONOPERATOR2D(#801,$,#800,0.5); "
        "#914=IFCDERIVEDPROFILEDEF(.AREA.,$,#911,#913,$); #912=IFCEXTRUDEDAREASOLID(#914,#10,#12,1.);", *L, (-4, 2, 0, -2, 3, 1)),
    "mirrored": ("#911=IFCMIRROREDPROFILEDEF(.AREA.,$,#805,*,$); #912=IFCEXTRUDEDAREASOLID(#911,#10,#12,1.);", *L, (-4, -0.5, 0, -2, 0.5, 1)),
    "centre line": ("#911=IFCCENTERLINEPROFILEDEF(.AREA.,$,#832,0.2); #912=IFCEXTRUDEDAREASOLID(#911,#10,#12,1.);", 1.4, 17.2, (0, -0.1, 0, 4.1, 3, 1)),
}  # fmt: skip
SOLIDS = {
    "extrusion to a derived profile": (
        "#910=IFCCARTESIANTRANSFORMATIONOPERATOR2D($,$,#62,0.5); #911=IFCDERIVEDPROFILEDEF(.AREA.,$,#810,#910,$); #912=IFCEXTRUDEDAREASOLIDTAPERED(#810,#10,#12,3.,#911);",
        7.0, 5 + 6 * np.hypot(3, 0.5), (-1, -1, 0, 1, 1, 3)),
    # Pappus and Guldin with the section growing along the way: ∫ A(s)·5 dθ
    "tapered revolution": (f"#912=IFCREVOLVEDAREASOLIDTAPERED(#60,#10,#822,{FULL / 4},#808);", 5 * FULL / 4 * (2 + 1 + 0.5) / 3, None, (-1, -0.5, 0, 5, 0.5, 5.509)),
    "spine": ("#912=IFCSECTIONEDSPINE(#855,(#60,#60,#808),(#10,#841,#843));", 4 + 3.5, None, (-1, -0.5, 0, 1, 0.5, 5)),
    "disk along a rounded line": ("#912=IFCSWEPTDISKSOLIDPOLYGONAL(#852,0.1,$,$,$,0.5);", np.pi * 0.01 * (6 + np.pi / 4), None, (0, -0.1, -0.1, 4.1, 3, 0.1)),
    # 0.5 of the first line, the second, and of the third nothing: corners count from 0
    "disk from the middle of a line": ("#912=IFCSWEPTDISKSOLID(#852,0.1,$,0.5,2.);", np.pi * 0.01 * 5, None, (2, -0.1, -0.1, 4.1, 3, 0.1)),
    "disk along a whole that counts as 1": ("#912=IFCSWEPTDISKSOLID(#852,0.1,$,0.,1.);", np.pi * 0.01 * 7, None, (0, -0.1, -0.1, 4.1, 3, 0.1)),
    # a parabola over 2 with the tangents' corner at (1, 2): 2/3 of 2 × 1; the same turned round
    "spline in a composite curve": (
        "#910=IFCCARTESIANPOINT((1.,2.)); #911=IFCCARTESIANPOINT((2.,0.)); #913=IFCBSPLINECURVEWITHKNOTS(2,(#62,#910,#911),.UNSPECIFIED.,.F.,.F.,(3,3),(0.,1.),.UNSPECIFIED.); "
        "#914=IFCCOMPOSITECURVESEGMENT(.CONTINUOUS.,.T.,#913); #915=IFCPOLYLINE((#911,#62)); #916=IFCCOMPOSITECURVESEGMENT(.CONTINUOUS.,.T.,#915); #917=IFCCOMPOSITECURVE((#914,#916),.F.); "
        "#918=IFCARBITRARYCLOSEDPROFILEDEF(.AREA.,$,#917); #912=IFCEXTRUDEDAREASOLID(#918,#10,#12,3.);", 4.0, None, (0, 0, 0, 2, 1, 3)),
    "spline against its sense": (
        "#910=IFCCARTESIANPOINT((1.,2.)); #911=IFCCARTESIANPOINT((2.,0.)); #913=IFCBSPLINECURVEWITHKNOTS(2,(#911,#910,#62),.UNSPECIFIED.,.F.,.F.,(3,3),(5.,9.),.UNSPECIFIED.); "
        "#914=IFCCOMPOSITECURVESEGMENT(.CONTINUOUS.,.F.,#913); #915=IFCPOLYLINE((#911,#62)); #916=IFCCOMPOSITECURVESEGMENT(.CONTINUOUS.,.T.,#915); #917=IFCCOMPOSITECURVE((#914,#916),.F.); "
        "#918=IFCARBITRARYCLOSEDPROFILEDEF(.AREA.,$,#917); #912=IFCEXTRUDEDAREASOLID(#918,#10,#12,3.);", 4.0, None, (0, 0, 0, 2, 1, 3)),
    "disk along a part of a line": ("#912=IFCSWEPTDISKSOLID(#852,0.1,$,0.5,1.5);", np.pi * 0.01 * 3.5, None, (2, -0.1, -0.1, 4.1, 1.5, 0.1)),
    "disk to a part of an indexed line": (
        "#910=IFCCARTESIANPOINTLIST3D(((9.,9.,9.),(0.,0.,0.),(4.,0.,0.),(4.,3.,0.))); #911=IFCINDEXEDPOLYCURVE(#910,(IFCLINEINDEX((2,3)),IFCLINEINDEX((3,4))),.F.); "
        "#912=IFCSWEPTDISKSOLID(#911,0.1,$,$,0.5);", np.pi * 0.01 * 2, None, (0, -0.1, -0.1, 2, 0.1, 0.1)),
    "disk along a part of a rounded line": ("#912=IFCSWEPTDISKSOLIDPOLYGONAL(#852,0.1,$,0.25,2.,0.5);", np.pi * 0.01 * (5 + np.pi / 4), None, (1, -0.1, -0.1, 4.1, 3, 0.1)),
    "sphere": ("#912=IFCSPHERE(#823,2.);", 4 / 3 * np.pi * 8, 16 * np.pi, (3, -2, -2, 7, 2, 2)),
    "pyramid": ("#912=IFCRECTANGULARPYRAMID(#823,1.,2.,3.);", 2.0, 2 + 2 * np.hypot(3, 0.5) + np.hypot(3, 1), (5, 0, 0, 6, 2, 3)),
    "block cut by a block": ("#910=IFCBLOCK(#10,1.,2.,3.); #911=IFCBLOCK(#10,0.5,0.5,5.); #912=IFCBOOLEANRESULT(.DIFFERENCE.,#910,#911);", 5.25, None, (0, 0, 0, 1, 2, 3)),
    "block and cylinder": ("#910=IFCBLOCK(#10,1.,2.,3.); #911=IFCRIGHTCIRCULARCYLINDER(#10,2.,0.5); #913=IFCBOOLEANRESULT(.UNION.,#910,#911); #912=IFCCSGSOLID(#913);",
                           6 + np.pi * 0.25 * 2 * 0.75, None, (-0.5, -0.5, 0, 1, 2, 3)),
}  # fmt: skip




def shell(name: int, low: float, high: float, *, inwards: bool = False) -> str:
    """A cube's closed shell #name."""
    corners = [f"#{name + 1 + i}=IFCCARTESIANPOINT(({low + (high - low) * (i >> 2)},{low + (high - low) * (i >> 1 & 1)},{low + (high - low) * (i & 1)}));" for i in range(8)]
    sides = [side[::-1] if inwards else side for side in ((0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3))]
    faces = [f"#{name + 10 + 3 * k}=IFCPOLYLOOP(({','.join(f'#{name + 1 + i}' for i in side)})); #{name + 11 + 3 * k}=IFCFACEOUTERBOUND(#{name + 10 + 3 * k},.T.); "
             f"#{name + 12 + 3 * k}=IFCFACE((#{name + 11 + 3 * k}));" for k, side in enumerate(sides)]  # fmt: skip
    return " ".join([*corners, *faces, f"#{name}=IFCCLOSEDSHELL(({','.join(f'#{name + 12 + 3 * k}' for k in range(6))}));"])


@pytest.mark.parametrize("inwards", [True, False])
def test_a_cavity_is_none_of_the_solid(model_file: ModelFile, step: Step, inwards: bool) -> None:
    """The reference draws nothing of it, a quick kernel a second solid in the first."""
    lines = f"{shell(2000, 0.0, 3.0)} {shell(2100, 1.0, 2.0, inwards=inwards)} #912=IFCFACETEDBREPWITHVOIDS(#2000,(#2100));"
    volume, area, box, _ = drawn(model_file(step(*SHARED, lines, *element("#912"))))
    assert (volume, area, box) == (pytest.approx(26), pytest.approx(60), pytest.approx([0, 0, 0, 3, 3, 3]))


PLANE = "#910=IFCCARTESIANPOINT((0.,0.,7.)); #911=IFCDIRECTION((0.,1.,0.)); #913=IFCAXIS2PLACEMENT3D(#910,#911,#914); #914=IFCDIRECTION((1.,0.,0.)); #915=IFCPLANE(#913);"


@pytest.mark.parametrize(
    ("item", "area", "box"),
    [("#912=IFCRECTANGULARTRIMMEDSURFACE(#915,0.,1.,2.,4.,.T.,.T.);", 6.0, (0, 0, 3, 2, 0, 6)),
     ("#920=IFCCARTESIANPOINT((9.,0.)); #921=IFCCARTESIANPOINT((9.,3.)); #922=IFCPOLYLINE((#62,#920,#921,#62)); #923=IFCCIRCLE(#924,0.5); #924=IFCAXIS2PLACEMENT2D(#925,$); "
      "#925=IFCCARTESIANPOINT((7.,1.)); #912=IFCCURVEBOUNDEDPLANE(#915,#922,(#923));", 13.5 - np.pi / 4, (0, 0, 4, 9, 0, 7))],
)  # fmt: skip
def test_pieces_of_planes(model_file: ModelFile, step: Step, item: str, area: float, box: tuple[float, ...]) -> None:
    """The plane's own x goes along x, its y downwards; one has a hole."""
    path = model_file(step(*SHARED, PLANE, item, *element("#912")))
    report = Report()
    mesh = next(b for b in ifc.read(path, ifc.Options(crs="EPSG:4547", vertical="EGM96", anchor="500000,2500000,0"), report) if isinstance(b, Mesh))  # type: ignore[call-arg]
    (at,) = np.flatnonzero(mesh.instance_feature == mesh.ids.to_pylist().index(ID))
    p, matrix = int(mesh.instance_prototype[at]), mesh.transforms[at]
    points = mesh.positions[mesh.vertex_start[p] : mesh.vertex_start[p + 1]] @ matrix[:3, :3].T + matrix[:3, 3] - [500000, 2500000, 0]
    a, b, c = (points[mesh.triangles[mesh.triangle_start[p] : mesh.triangle_start[p + 1], k]] for k in range(3))
    assert np.linalg.norm(np.cross(b - a, c - a), axis=1).sum() / 2 == pytest.approx(area, rel=2e-3)
    np.testing.assert_allclose([*points.min(0), *points.max(0)], box, atol=1e-6)


@pytest.mark.parametrize(("lines", "volume", "area", "box"), [*PROFILES.values(), *SOLIDS.values()], ids=[*PROFILES, *SOLIDS])
def test_what_the_kernels_draw_wrong(model_file: ModelFile, step: Step, lines: str, volume: float, area: float | None, box: tuple[float, ...]) -> None:
    own_volume, own_area, own_box, _ = drawn(model_file(step(*SHARED, lines, *element("#912"))))
    assert own_volume == pytest.approx(volume, rel=8e-3)  # circles are polygons
    assert area is None or own_area == pytest.approx(area, rel=5e-3)
    np.testing.assert_allclose(own_box, box, atol=2e-3)


@pytest.mark.parametrize(("item", "volume"), [("#912=IFCBLOCK(#823,1.,2.,3.);", 6.0), ("#912=IFCRECTANGULARPYRAMID(#823,1.,2.,3.);", 2.0),
                                              ("#912=IFCSPHERE(#823,1.);", FULL * 2 / 3), ("#912=IFCRIGHTCIRCULARCYLINDER(#823,2.,1.);", FULL), ("#912=IFCRIGHTCIRCULARCONE(#823,3.,1.);", np.pi)])  # fmt: skip
def test_a_primitive_beside_another_item_is_drawn_and_looks_outwards(model_file: ModelFile, step: Step, item: str, volume: float) -> None:
    """#63 is the column's box of 2 × 1 × 3: a primitive inside out would be taken from its volume, one left out would not be added."""
    style = ("#920=IFCCOLOURRGB($,1.,0.,0.);", "#921=IFCSURFACESTYLESHADING(#920,$);", "#922=IFCSURFACESTYLE('red',.BOTH.,(#921));", "#923=IFCSTYLEDITEM(#912,(#922),$);")
    path = model_file(step(*SHARED, item, *style, *element("#912,#63")))
    assert drawn(path)[0] == pytest.approx(6 + volume, rel=5e-3)
    mesh = next(b for b in ifc.read(path, ifc.Options(crs="EPSG:4547", vertical="EGM96", anchor="500000,2500000,0"), Report()) if isinstance(b, Mesh))  # type: ignore[call-arg]
    assert (1.0, 0.0, 0.0, 1.0) in {material.color for material in mesh.materials}  # what stands for it has its style


def triangles(path: Path) -> int:
    """Of the element."""
    mesh = next(b for b in ifc.read(path, ifc.Options(crs="EPSG:4547", vertical="EGM96", anchor="500000,2500000,0"), Report()) if isinstance(b, Mesh))  # type: ignore[call-arg]
    (at,) = np.flatnonzero(mesh.instance_feature == mesh.ids.to_pylist().index(ID))
    return int(np.diff(mesh.triangle_start)[mesh.instance_prototype[at]])


@pytest.mark.parametrize(("item", "prefix", "most"), [
    ("#912=IFCSPHERE(#10,0.1);", "$", 600), ("#912=IFCSPHERE(#10,1.);", "$", 4000), ("#912=IFCSPHERE(#10,1000.);", ".MILLI.", 4000), ("#912=IFCSPHERE(#10,25.);", "$", 4000),
    ("#911=IFCSPHERE(#10,25.); #912=IFCCSGSOLID(#911);", "$", 4000),
])  # fmt: skip
def test_spheres_have_no_more_triangles_than_are_seen(model_file: ModelFile, step: Step, item: str, prefix: str, most: int) -> None:
    assert most / 2 < triangles(model_file(step(*SHARED, item, *element("#912"), prefix=prefix))) <= most


def test_a_sphere_that_cuts_is_left_to_the_kernels(model_file: ModelFile, step: Step) -> None:
    lines = "#910=IFCBLOCK(#10,1.,2.,3.); #911=IFCSPHERE(#10,1.); #912=IFCBOOLEANRESULT(.DIFFERENCE.,#910,#911);"
    assert drawn(model_file(step(*SHARED, lines, *element("#912"))))[0] == pytest.approx(6 - np.pi / 6, rel=1e-3)


@pytest.mark.parametrize(("item", "length"), [
    ("#912=IFCSWEPTDISKSOLID(#852,0.1,$,0.,1.);", 7), ("#912=IFCSWEPTDISKSOLID(#852,0.1,$,0.,7.);", 7), ("#912=IFCSWEPTDISKSOLID(#852,0.1,$,1.5,0.5);", 7),
    ("#912=IFCSWEPTDISKSOLID(#855,0.1,$,0.5,$);", 5),
])  # fmt: skip
def test_a_part_of_a_curve_that_is_not_understood_is_said(model_file: ModelFile, step: Step, item: str, length: float) -> None:
    """0 to 1 of a line of two sides (which many write for the whole), more than there is, backwards, and of a curve of another kind."""
    volume, *_, report = drawn(model_file(step(*SHARED, item, *element("#912"))))
    assert volume == pytest.approx(np.pi * 0.01 * length, rel=8e-3)
    assert [note.reason.partition("IfcSweptDiskSolid ")[2][:5] for note in report.notes if "not understood" in note.reason] == ["#912 "]


@pytest.mark.parametrize("item", ["#912=IFCSWEPTDISKSOLID(#852,0.1,$,0.,2.);", "#912=IFCSWEPTDISKSOLID(#852,0.1,$,$,$);", "#859=IFCPOLYLINE((#11,#850)); #912=IFCSWEPTDISKSOLID(#859,0.1,$,0.,1.);",
                                  "#912=IFCSWEPTDISKSOLID(#852,0.1,$,0.5,1.5);"])  # fmt: skip
def test_a_part_of_a_curve_that_is_understood_needs_no_word(model_file: ModelFile, step: Step, item: str) -> None:
    assert not [note for note in drawn(model_file(step(*SHARED, item, *element("#912"))))[3].notes if "not understood" in note.reason]


OTHER = "#940=IFCCARTESIANPOINT((10.,0.,0.)); #941=IFCAXIS2PLACEMENT3D(#940,$,$); #942=IFCEXTRUDEDAREASOLID(#60,#941,#12,1.); #943=IFCSHAPEREPRESENTATION({context},'{name}','SweptSolid',(#942));"
VIEWS = "#950=IFCGEOMETRICREPRESENTATIONSUBCONTEXT('Body','Model',*,*,*,*,#2,$,.GRAPH_VIEW.,$);"
TESSELLATED = "#960=IFCCARTESIANPOINTLIST3D(((20.,0.,0.),(21.,0.,0.),(20.,1.,0.),(20.,0.,1.))); #912=IFCTRIANGULATEDFACESET(#960,$,.T.,((1,3,2),(1,2,4),(2,3,4),(1,4,3)),$);"


@pytest.mark.parametrize(("own", "line", "volume"), [("#63", "", 6 + 2), ("#912", TESSELLATED, 1 / 6 + 2)])
def test_two_bodies_in_one_context_are_drawn_both(model_file: ModelFile, step: Step, own: str, line: str, volume: float) -> None:
    """A box or a tetrahedron in one representation, a box of 2 m³ ten metres away in another."""
    lines = [one.replace("(#900)", "(#900,#943)") for one in element(own)]
    found, _, _, report = drawn(model_file(step(*SHARED, OTHER.format(context="#2", name="Body"), line, *lines)))
    assert found == pytest.approx(volume)
    assert not [note for note in report.notes if "several contexts" in note.reason]


@pytest.mark.parametrize(("own", "line", "volume"), [("#63", "", 6), ("#912", TESSELLATED, 1 / 6)])
def test_bodies_in_other_contexts_are_said(model_file: ModelFile, step: Step, own: str, line: str, volume: float) -> None:
    lines = [one.replace("(#900)", "(#900,#943)") for one in element(own)]
    found, _, _, report = drawn(model_file(step(*SHARED, VIEWS, OTHER.format(context="#950", name="Body"), line, *lines)))
    assert found == pytest.approx(volume)
    assert [(note.feature, "#943" in note.reason) for note in report.notes if "several contexts" in note.reason] == [(ID, True)]


@pytest.mark.parametrize(("name", "factor", "quarter", "taken"), [("DEGREE", "0.", "90.", "degrees"), ("degree", "-0.01745", "90.", "degrees"), ("GRAD", "0.", "1.57079633", "radians")])
def test_a_unit_of_angles_that_is_none_is_said(model_file: ModelFile, step: Step, name: str, factor: str, quarter: str, taken: str) -> None:
    """A quarter turn of 2 m² at 5 m (Pappus), and a cone, which states no angle at all, in what the unit is taken for."""
    unit = (f"#8=IFCCONVERSIONBASEDUNIT(#80,.PLANEANGLEUNIT.,'{name}',#81); #80=IFCDIMENSIONALEXPONENTS(0,0,0,0,0,0,0); "
            f"#81=IFCMEASUREWITHUNIT(IFCPLANEANGLEMEASURE({factor}),#82); #82=IFCSIUNIT(*,.PLANEANGLEUNIT.,$,.RADIAN.);")  # fmt: skip
    for item, volume, high in ((f"#912=IFCREVOLVEDAREASOLID(#60,#10,#822,{quarter});", FULL / 4 * 5 * 2, 6.0), ("#912=IFCRIGHTCIRCULARCONE(#10,3.,1.);", np.pi, 3.0)):
        found, _, box, report = drawn(model_file(step(*SHARED, unit, item, *element("#912"), units="#4,#5,#6,#7,#8")))
        assert (found, box[5]) == (pytest.approx(volume, rel=8e-3), pytest.approx(high, abs=2e-3))
        (told,) = [note.reason for note in report.notes if "unit of plane angles" in note.reason]
        assert all(text in told for text in ("model.ifc", f"#8 {name}", f"{taken} are taken"))


def test_a_tapered_profile_of_another_kind(model_file: ModelFile, step: Step) -> None:
    """From a square to a circle: between the volumes of the two, its box the square's."""
    lines = "#911=IFCCIRCLEPROFILEDEF(.AREA.,$,#61,1.); #912=IFCEXTRUDEDAREASOLIDTAPERED(#810,#10,#12,3.,#911);"
    volume, _, box, _ = drawn(model_file(step(*SHARED, lines, *element("#912"))))
    assert 3 * np.pi < volume < 12
    np.testing.assert_allclose(box, (-1, -1, 0, 1, 1, 3), atol=1e-3)


def test_what_cannot_be_redrawn_is_said(model_file: ModelFile, step: Step) -> None:
    report = Report()
    bent = "#912=IFCSECTIONEDSPINE(#856,(#60,#60),(#10,#843)); #857=IFCPOLYLINE((#11,#850,#842)); #858=IFCCOMPOSITECURVESEGMENT(.CONTINUOUS.,.T.,#857); #856=IFCCOMPOSITECURVE((#858),.F.);"
    list(ifc.read(model_file(step(*SHARED, bent, *element("#912"))), ifc.Options(crs="EPSG:4547", vertical="EGM96", anchor="500000,2500000,0"), report))  # type: ignore[call-arg]
    assert [(note.feature, "bends between two sections" in note.reason) for note in report.notes if note.action == "skipped"] == [(ID, True)]


def test_an_opening_of_the_whole_that_is_redrawn_cuts(model_file: ModelFile, step: Step) -> None:
    """A box with an opening that is a block: 6 − 0.5 × 0.5 × 3."""
    cut = ("#912=IFCBLOCK(#10,0.5,0.25,9.);", "#930=IFCSHAPEREPRESENTATION(#2,'Body','CSG',(#912));", "#931=IFCPRODUCTDEFINITIONSHAPE($,$,(#930));",
           "#932=IFCOPENINGELEMENT('3000000000000000000002',$,$,$,$,#40,#931,$,$);", "#933=IFCRELVOIDSELEMENT('3000000000000000000003',$,$,$,#902,#932);")  # fmt: skip
    assert drawn(model_file(step(*SHARED, *cut, *element("#63"))))[0] == pytest.approx(6 - 0.5 * 0.25 * 3)


@pytest.mark.parametrize("units", ["#4,#5,#6", "#4,#5,#6,#923", "$"])
def test_angles_without_a_unit_are_radians(model_file: ModelFile, step: Step, units: str) -> None:
    """ISO 16739-1, IfcRevolvedAreaSolid: clockwise seen along the axis. The kernels turn the other way if the file states no unit of angles."""
    lines = (f"#912=IFCREVOLVEDAREASOLID(#60,#10,#822,{FULL / 4});", "#923=IFCSIUNIT(*,.PLANEANGLEUNIT.,$,.RADIAN.);")
    text = step(*SHARED, *lines, *element("#912"), units=units)
    if units == "$":
        text = text.replace("(#2),#3);", "(#2),$);")
    np.testing.assert_allclose(drawn(model_file(text))[2], (-1, -0.5, 0, 5, 0.5, 6), atol=2e-3)


@pytest.mark.parametrize("clockwise", [False, True])
def test_a_solid_along_an_alignment_has_no_section_inside(model_file: ModelFile, step: Step, clockwise: bool) -> None:
    """4 m of a box and 6 m of a frustum on a straight line: the kernels leave a section inside, the first one looks both ways, and profiles written clockwise turn all inside out."""
    rings = [[(x / 2, y / 2), (-x / 2, y / 2), (-x / 2, -y / 2), (x / 2, -y / 2)] for x, y in ((2, 1), (1, 0.5))]
    profiles = [line for i, ring in enumerate(rings) for line in (
        *(f"#{950 + 10 * i + k}=IFCCARTESIANPOINT(({x},{y}));" for k, (x, y) in enumerate(ring[::-1] if clockwise else ring)),
        f"#{956 + 10 * i}=IFCPOLYLINE(({','.join(f'#{950 + 10 * i + k}' for k in (0, 1, 2, 3, 0))}));", f"#{957 + 10 * i}=IFCARBITRARYCLOSEDPROFILEDEF(.AREA.,$,#{956 + 10 * i});")]  # fmt: skip
    lines = ("#912=IFCSECTIONEDSOLIDHORIZONTAL(#913,(#957,#957,#967),(#931,#933,#935));", "#913=IFCPOLYLINE((#11,#914));", "#914=IFCCARTESIANPOINT((10.,0.,0.));",
             *(f"#{930 + 2 * i}=IFCPOINTBYDISTANCEEXPRESSION(IFCLENGTHMEASURE({d}.),$,$,$,#913);" for i, d in enumerate((0, 4, 10))),
             *(f"#{931 + 2 * i}=IFCAXIS2PLACEMENTLINEAR(#{930 + 2 * i},$,$);" for i in range(3)))  # fmt: skip
    volume, area, box, _ = drawn(model_file(step(*SHARED, *profiles, *lines, *element("#912"), schema="IFC4X3_ADD2")))
    assert volume == pytest.approx(8 + 6 / 3 * (2 + 1 + 0.5))
    assert area == pytest.approx(2 + 0.5 + 4 * 6 + 3 * np.hypot(6, 0.25) + 1.5 * np.hypot(6, 0.5))
    np.testing.assert_allclose(box, (0, -1, -0.5, 10, 1, 0.5), atol=1e-6)


def test_items_that_no_kernel_draws_are_said(tmp_path: Path, model_file: ModelFile, step: Step) -> None:
    """A box beside a surface that none draws, both in a map, too; read again from the cache of shapes it is said again."""
    lines = ("#940=IFCPOLYLINE((#62,#830));", "#941=IFCARBITRARYOPENPROFILEDEF(.CURVE.,$,#940);", "#912=IFCSURFACEOFLINEAREXTRUSION(#941,#10,#12,3.);",
             "#942=IFCSHAPEREPRESENTATION(#2,'Body','x',(#63,#912));", "#943=IFCREPRESENTATIONMAP(#10,#942);", "#944=IFCMAPPEDITEM(#943,#103);")  # fmt: skip
    for items in ("#63,#912", "#944"):
        path = model_file(step(*SHARED, *lines, *element(items)))
        for _ in range(2):
            report = Report()
            with reading.given(reading.Surroundings(cache=tmp_path)):
                list(ifc.read(path, ifc.Options(crs="EPSG:4547", vertical="EGM96", anchor="500000,2500000,0"), report))  # type: ignore[call-arg]
            assert [(note.feature, "without #912 IfcSurfaceOfLinearExtrusion" in note.reason) for note in report.notes if note.action == "warned"] == [(ID, True)]
    assert report.facts["geometry"]["from_cache"] > 0


@pytest.mark.parametrize(("offsets", "towards", "box"), [
    # axes x = 5 (upwards) and y = 8 (to the right), of a grid at (100, 0) turned by 90°; x along the first axis, unless another direction is named
    ("$", "$", (-9.0, 4.5, 0.0, -7.0, 5.5, 3.0)), ("(0.5,0.25,1.)", "$", (-9.25, 4.0, 1.0, -7.25, 5.0, 4.0)),
    ("$", "#938", (-8.5, 4.0, 0.0, -7.5, 6.0, 3.0)), ("$", "#939", (-8.5, 4.0, 0.0, -7.5, 6.0, 3.0)),
])  # fmt: skip
def test_placements_on_a_grid(model_file: ModelFile, step: Step, offsets: str, towards: str, box: tuple[float, ...]) -> None:
    """The column's box of 2 × 1 × 3, turned with its grid."""
    lines = ("#910=IFCGRID('4000000000000000000001',$,'G',$,$,#911,$,(#920,#921),(#922),$,$);", "#911=IFCLOCALPLACEMENT($,#912);", "#912=IFCAXIS2PLACEMENT3D(#913,#12,#821);",
             "#913=IFCCARTESIANPOINT((100.,0.,0.));", "#914=IFCCARTESIANPOINT((5.,1.));", "#915=IFCCARTESIANPOINT((5.,9.));", "#916=IFCPOLYLINE((#915,#914));",
             "#917=IFCCARTESIANPOINT((-3.,8.));", "#918=IFCVECTOR(#919,1.);", "#919=IFCDIRECTION((1.,0.));", "#924=IFCLINE(#917,#918);", "#925=IFCPOLYLINE((#62,#926));",
             "#926=IFCCARTESIANPOINT((0.,20.));", "#920=IFCGRIDAXIS('1',#916,.F.);", "#921=IFCGRIDAXIS('0',#925,.T.);", "#922=IFCGRIDAXIS('A',#924,.T.);",
             f"#930=IFCVIRTUALGRIDINTERSECTION((#920,#922),{offsets});", f"#931=IFCGRIDPLACEMENT(#930,{towards});", "#938=IFCVIRTUALGRIDINTERSECTION((#921,#922),$);",
             "#939=IFCDIRECTION((-1.,0.));",
             "#900=IFCSHAPEREPRESENTATION(#2,'Body','SweptSolid',(#63));", "#901=IFCPRODUCTDEFINITIONSHAPE($,$,(#900));",
             f"#902=IFCBUILDINGELEMENTPROXY('{ID}',$,'on a grid',$,$,#931,#901,$,$);")  # fmt: skip
    volume, _, own, _ = drawn(model_file(step(*SHARED, *lines)))
    assert volume == pytest.approx(6)
    np.testing.assert_allclose(np.array(own) - [100, 0, 0, 100, 0, 0], box, atol=1e-6)


def test_pieces_inside_are_taken_out_of_triangles_that_share_no_vertex() -> None:
    """Two boxes end to end without the walls between them; each triangle has its own vertices, one wall inside is added: the rest is known to be closed."""
    box = np.array([[x, y, z] for x in (0, 1, 2) for y in (0, 1) for z in (0, 1)], float)
    ends, inside = [(0, 1, 3), (0, 3, 2), (8, 10, 11), (8, 11, 9)], [(4, 5, 7), (4, 7, 6)]
    around = [(0, 4, 5), (0, 5, 1), (1, 5, 7), (1, 7, 3), (3, 7, 6), (3, 6, 2), (2, 6, 4), (2, 4, 0)]
    triangles = np.array([*ends, *around, *((a + 4, b + 4, c + 4) for a, b, c in around), *inside])
    loose = Shape(box[triangles].reshape(-1, 3), np.arange(triangles.size, dtype=np.int32).reshape(-1, 3), np.zeros(len(triangles), np.int32), [], np.eye(4), "")
    found = closed(loose)
    assert not is_closed(loose.triangles) and is_closed(found.triangles) and len(found.triangles) == len(triangles) - len(inside) and len(found.positions) == len(box)
    assert abs(volume_of(found, np.zeros(3))) == pytest.approx(2)


@pytest.mark.parametrize(("prefix", "unit"), [(".KILO.", 1e3), ("$", 1.0)])
@pytest.mark.parametrize("precision", ["1.E-5", "1.E-2"])
def test_what_is_finer_than_the_precision_that_a_file_states_is_drawn(model_file: ModelFile, step: Step, prefix: str, unit: float, precision: str) -> None:
    """An L whose legs are 8 mm thick, with a hole of 5 cm through both: in kilometres 1e-5 is a centimetre, and the kernels drew a seventh of it, or nothing."""
    corners = [(0, 0), (1, 0), (1, 0.008), (0.008, 0.008), (0.008, 1), (0, 1)]
    points = [f"#{950 + i}=IFCCARTESIANPOINT(({x / unit:.12f},{y / unit:.12f}));" for i, (x, y) in enumerate(corners)]
    lines = (*points, "#960=IFCPOLYLINE((#950,#951,#952,#953,#954,#955,#950));", "#961=IFCARBITRARYCLOSEDPROFILEDEF(.AREA.,$,#960);", f"#912=IFCEXTRUDEDAREASOLID(#961,#10,#12,{3 / unit});",
             f"#962=IFCRECTANGLEPROFILEDEF(.AREA.,$,#963,{0.05 / unit},{9 / unit});", "#963=IFCAXIS2PLACEMENT2D(#964,$);", f"#964=IFCCARTESIANPOINT(({0.5 / unit},0.));",
             f"#965=IFCEXTRUDEDAREASOLID(#962,#966,#12,{0.05 / unit});", "#966=IFCAXIS2PLACEMENT3D(#967,$,$);", f"#967=IFCCARTESIANPOINT((0.,0.,{1 / unit}));",
             "#930=IFCSHAPEREPRESENTATION(#2,'Body','SweptSolid',(#965));", "#931=IFCPRODUCTDEFINITIONSHAPE($,$,(#930));", "#932=IFCOPENINGELEMENT('3000000000000000000002',$,$,$,$,#40,#931,$,$);",
             "#933=IFCRELVOIDSELEMENT('3000000000000000000003',$,$,$,#902,#932);")  # fmt: skip
    text = step(*lines, *element("#912"), prefix=prefix).replace("3,1.E-5,#10", f"3,{precision},#10")
    assert precision in text
    volume, _, box, _ = drawn(model_file(text))
    assert volume == pytest.approx((1 + 0.992) * 0.008 * 3 - 0.05 * 0.008 * 0.05, rel=1e-4)
    np.testing.assert_allclose(box, (0, 0, 0, 1, 1, 3), atol=1e-4)


LENGTH = 100 + 25 * np.pi
#: 100 m straight, then a quarter of a circle of 50 m, 10 m up.
GRADIENT = ("#980=IFCLINE(#62,#981);", "#981=IFCVECTOR(#982,1.);", "#982=IFCDIRECTION((1.,0.));", "#983=IFCCIRCLE(#61,50.);",
    f"#984=IFCCURVESEGMENT(.CONTINUOUS.,#61,IFCLENGTHMEASURE(0.),IFCLENGTHMEASURE(100.),#980); #985=IFCCURVESEGMENT(.CONTINUOUS.,#986,IFCLENGTHMEASURE(0.),IFCLENGTHMEASURE({LENGTH - 100}),#983);",
    "#986=IFCAXIS2PLACEMENT2D(#987,#982); #987=IFCCARTESIANPOINT((100.,0.)); #988=IFCAXIS2PLACEMENT2D(#989,#990); #989=IFCCARTESIANPOINT((150.,50.)); #990=IFCDIRECTION((0.,1.));",
    "#991=IFCCURVESEGMENT(.DISCONTINUOUS.,#988,IFCLENGTHMEASURE(0.),IFCLENGTHMEASURE(0.),#980); #992=IFCCOMPOSITECURVE((#984,#985,#991),.F.);",
    f"#993=IFCAXIS2PLACEMENT2D(#994,#982); #994=IFCCARTESIANPOINT((0.,10.)); #995=IFCCURVESEGMENT(.CONTINUOUS.,#993,IFCLENGTHMEASURE(0.),IFCLENGTHMEASURE({LENGTH}),#980);",
    f"#996=IFCAXIS2PLACEMENT2D(#997,#982); #997=IFCCARTESIANPOINT(({LENGTH},10.)); #998=IFCCURVESEGMENT(.DISCONTINUOUS.,#996,IFCLENGTHMEASURE(0.),IFCLENGTHMEASURE(0.),#980);",
    "#999=IFCGRADIENTCURVE((#995,#998),.F.,#992,$);",
)  # fmt: skip


@pytest.mark.parametrize("kind", ["IFCFIXEDREFERENCESWEPTAREASOLID", "IFCDIRECTRIXDERIVEDREFERENCESWEPTAREASOLID"])
def test_a_sweep_along_an_alignment_is_closed(model_file: ModelFile, step: Step, kind: str) -> None:
    """The profile's own x lies along the reference, upwards. Kernels draw a section inside, and the pieces' faces look both ways."""
    volume, area, box, _ = drawn(model_file(step(*GRADIENT, f"#912={kind}(#60,#10,#999,$,$,#12);", *element("#912"), schema="IFC4X3_ADD2")))
    assert volume == pytest.approx(2 * LENGTH, rel=1e-3)
    assert area == pytest.approx(6 * LENGTH + 4, rel=1e-3)
    assert box[2] == pytest.approx(9 if kind.startswith("IFCFIXED") else 9.5, abs=1e-3)


@pytest.mark.parametrize("inner", ["$", "0.4"])
def test_a_disk_along_an_alignment_is_drawn(model_file: ModelFile, step: Step, inner: str) -> None:
    """No kernel draws it, and as a disk along a line of 160 sides one of 78 m takes them 13 s."""
    volume, area, box, _ = drawn(model_file(step(*GRADIENT, f"#912=IFCSWEPTDISKSOLID(#999,0.5,{inner},$,$);", *element("#912"), schema="IFC4X3_ADD2")), element_seconds=3.0)
    hole = 0.0 if inner == "$" else float(inner)
    assert volume == pytest.approx(np.pi * (0.25 - hole**2) * LENGTH, rel=5e-3)
    assert area == pytest.approx(FULL * (0.5 + hole) * LENGTH + FULL * (0.25 - hole**2), rel=1e-3)
    np.testing.assert_allclose(box, (0, -0.5, 9.5, 150.5, 50, 10.5), atol=1e-2)


@pytest.mark.parametrize("cut", ["", "#902", "#904"])
def test_a_disk_along_an_alignment_that_is_cut_is_for_what_cuts(model_file: ModelFile, step: Step, cut: str) -> None:
    """Its triangles are drawn as they are only where neither it nor what it is a part of (#904) has an opening."""
    lines = ("#904=IFCELEMENTASSEMBLY('3000000000000000000004',$,$,$,$,#40,$,$,$,$); #905=IFCRELAGGREGATES('3000000000000000000005',$,$,$,#904,(#902));",
             "#932=IFCOPENINGELEMENT('3000000000000000000002',$,$,$,$,#40,#64,$,$);", f"#933=IFCRELVOIDSELEMENT('3000000000000000000003',$,$,$,{cut},#932);" if cut else "")  # fmt: skip
    model = parser().open(str(model_file(step(*GRADIENT, "#912=IFCSWEPTDISKSOLID(#999,0.5,$,$,$);", *lines, *element("#912"), schema="IFC4X3_ADD2"))))
    settings, create = geometry_settings(), sys.modules["ifcopenshell.geom"].create_shape
    assert redraw(model, model.by_id(902), lambda item: create(settings, item, geometry_library=OUTLINES)) is (not cut)
    assert [item.is_a() for item in model.by_id(900).Items] == ["IfcTriangulatedFaceSet"]


def test_a_bend_too_narrow_for_a_disk_is_for_a_kernel() -> None:
    """A right angle takes the radius off each of its sides."""
    made: list[str] = []
    draw = Draw(lambda kind, *values: made.append(kind) or kind, lambda item: pytest.fail("no outline is asked for"), 1.0, 1.0)  # type: ignore[func-returns-value]
    for side, kind in ((0.6, "IfcTriangulatedFaceSet"), (0.5, None)):
        line = np.array([(0.0, 0.0, 0.0), (2.0, 0.0, 0.0), (2.0, side, 0.0), (2.0, side, 2.0)])
        assert tube(draw, line, 0.25, None) == kind
