"""Plain bodies without a kernel: volumes against closed forms and shapely, looks and shapes against the parser's kernels, and what is refused."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import ifcopenshell
import ifcopenshell.geom
import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest_bim.geometry import polygons as geometry_polygons
from ingest_bim.geometry.host import PLAIN
from ingest_bim.geometry.plain import Plain
from ingest_bim.geometry.polygons import NotEvaluated, balanced, cut
from ingest_bim.ifc import reader as ifc
from ingest_bim.ifc import reading as ifc_reading
from ingest_bim.ifc.geometry import Shape, area_of, volume_of
from ingest_bim.ifc.properties import read_definitions
from ingest_bim.ifc.singles import Singles
from ingest_bim.ifc.step_scan import StepText
from ingest_bim.ifc.structure import read_structure
from ingest_bim.ifc.units import Units
from twin import reading
from twin.errors import Cancelled
from twin.model import Mesh, Report

Step = Callable[..., str]
ModelFile = Callable[..., Path]
PLACED = {"vertical": "EGM96", "anchor_lonlat": "113.08,22.58,5", "workers": 1}
UP = "#12=IFCDIRECTION((0.,0.,1.));"


def body(*lines: str, length: float = 1.0) -> Shape:
    """Item #1 of these instances."""
    text = "\n".join([UP, *lines])
    model: Any = ifcopenshell.file.from_string(f"ISO-10303-21;\nHEADER;\nFILE_DESCRIPTION((''),'2;1');\nFILE_NAME('','',(''),(''),'','','');\nFILE_SCHEMA(('IFC4'));\nENDSEC;\nDATA;\n{text}\nENDSEC;\nEND-ISO-10303-21;\n")
    plain = Plain(StepText(text.encode()), model.by_id, length)
    positions, triangles = plain.mesh(next(plain.placed([1])))
    return Shape(positions, triangles, triangles[:, 0], [], np.eye(4), PLAIN)


def volume(shape: Shape) -> float:
    """Signed: positive if its faces look outward."""
    return volume_of(shape, shape.positions.mean(axis=0))


def points(first: int, coordinates: Sequence[tuple[float, ...]]) -> list[str]:
    return [f"#{first + n}=IFCCARTESIANPOINT(({','.join(repr(float(v)) for v in p)}));" for n, p in enumerate(coordinates)]


def polyline(name: int, first: int, ring: Sequence[tuple[float, ...]]) -> list[str]:
    return [f"#{name}=IFCPOLYLINE(({','.join(f'#{first + n}' for n in range(len(ring)))},#{first}));", *points(first, ring)]


# --- extrusions --------------------------------------------------------------------------------------------------


def test_a_rectangle_pushed_aslant() -> None:
    """2 × 3 in millimetres, turned and moved, pushed 5 along (3, 0, 4): the height is 4 of the 5."""
    shape = body("#1=IFCEXTRUDEDAREASOLID(#2,#5,#9,5000.);", "#2=IFCRECTANGLEPROFILEDEF(.AREA.,'a, (b)',#3,2000.,3000.);", "#3=IFCAXIS2PLACEMENT2D(#4,$);",
                 "#4=IFCCARTESIANPOINT((100.,0.));", "#5=IFCAXIS2PLACEMENT3D(#6,#7,#8);", "#6=IFCCARTESIANPOINT((1000.,2000.,3000.));", "#7=IFCDIRECTION((1.,0.,0.));",
                 "#8=IFCDIRECTION((0.,1.,0.));", "#9=IFCDIRECTION((3.,0.,4.));", length=1e-3)  # fmt: skip
    assert volume(shape) == pytest.approx(2 * 3 * 4)
    assert balanced(shape.triangles)
    # profile x → world y, y → world z, the push's 4 along world x
    np.testing.assert_allclose([shape.positions.min(0), shape.positions.max(0)], [[1, 2 + 0.1 - 1, 3 - 1.5], [5, 2 + 0.1 + 1 + 3, 3 + 1.5]], atol=1e-12)


def test_holes_stay_open_and_a_downward_push_looks_outward() -> None:
    outer, inner = [(0.0, 0.0), (0.0, 4.0), (6.0, 4.0), (6.0, 0.0)], [(1.0, 1.0), (2.0, 1.0), (2.0, 3.0), (1.0, 3.0)]
    shape = body("#1=IFCEXTRUDEDAREASOLID(#2,$,#9,2.);", "#2=IFCARBITRARYPROFILEDEFWITHVOIDS(.AREA.,$,#20,(#40));", "#9=IFCDIRECTION((0.,0.,-1.));",
                 *polyline(20, 21, outer), *polyline(40, 41, inner))  # fmt: skip
    assert volume(shape) == pytest.approx(2 * (24 - 2))
    assert balanced(shape.triangles)


@pytest.mark.parametrize(
    "curve",
    [
        ["#20=IFCINDEXEDPOLYCURVE(#21,$,$);", "#21=IFCCARTESIANPOINTLIST2D(((0.,0.),(3.,0.),(3.,1.),(1.,1.),(1.,2.),(0.,2.)),$);"],
        ["#20=IFCINDEXEDPOLYCURVE(#21,(IFCLINEINDEX((1,2,3)),IFCLINEINDEX((3,4,5,6,1))),.F.);", "#21=IFCCARTESIANPOINTLIST2D(((0.,0.),(3.,0.),(3.,1.),(1.,1.),(1.,2.),(0.,2.)));"],
        ["#20=IFCCOMPOSITECURVE((#22,#23),.F.);", "#22=IFCCOMPOSITECURVESEGMENT(.CONTINUOUS.,.T.,#24);", "#23=IFCCOMPOSITECURVESEGMENT(.CONTINUOUS.,.F.,#25);",
         "#24=IFCPOLYLINE((#30,#31,#32));", "#25=IFCPOLYLINE((#30,#35,#34,#33,#32));", *points(30, [(0, 0), (3, 0), (3, 1), (1, 1), (1, 2), (0, 2)])],
    ],
)  # fmt: skip
def test_an_l_by_three_kinds_of_outline(curve: list[str]) -> None:
    shape = body("#1=IFCEXTRUDEDAREASOLID(#2,$,#12,2.);", "#2=IFCARBITRARYCLOSEDPROFILEDEF(.AREA.,$,#20);", *curve)
    assert volume(shape) == pytest.approx(2 * 4)
    assert len(shape.positions) == 12
    assert balanced(shape.triangles)


@given(st.lists(st.floats(0.2, 5.0), min_size=3, max_size=24), st.booleans(), st.floats(1e-3, 50.0))
@settings(max_examples=60, deadline=None)
def test_any_star_has_the_volume_that_shapely_says(radii: list[float], turned: bool, depth: float) -> None:
    angles = np.linspace(0, 2 * np.pi, len(radii), endpoint=False)
    ring = [(float(r * np.cos(a)), float(r * np.sin(a))) for r, a in zip(radii, angles, strict=True)]
    ring = ring[::-1] if turned else ring
    shape = body(f"#1=IFCEXTRUDEDAREASOLID(#2,$,#12,{depth!r});", "#2=IFCARBITRARYCLOSEDPROFILEDEF(.AREA.,$,#20);", *polyline(20, 21, ring))
    assert volume(shape) == pytest.approx(shapely.Polygon(ring).area * depth, rel=1e-9)
    assert balanced(shape.triangles)


def test_map_coordinates_in_millimetres_cost_no_digits() -> None:
    """An L of centimetres with a hole, 9,000 km from the origin."""
    outer = [(9e9 + x, 7e8 + y) for x, y in ((0, 0), (30, 0), (30, 10), (10, 10), (10, 20), (0, 20))]
    inner = [(9e9 + x, 7e8 + y) for x, y in ((2, 2), (5, 2), (5, 5), (2, 5))]
    shape = body("#1=IFCEXTRUDEDAREASOLID(#2,$,#12,20.);", "#2=IFCARBITRARYPROFILEDEFWITHVOIDS(.AREA.,$,#20,(#40));", *polyline(20, 21, outer), *polyline(40, 41, inner), length=1e-3)
    assert volume(shape) == pytest.approx(20e-3 * (400 - 9) * 1e-6, rel=1e-4)


# --- faces -------------------------------------------------------------------------------------------------------

BOX = [(x, y, z) for z in (0.0, 3.0) for y in (0.0, 1.0) for x in (0.0, 2.0)]
SIDES = [(0, 2, 3, 1), (4, 5, 7, 6), (0, 1, 5, 4), (2, 6, 7, 3), (0, 4, 6, 2), (1, 3, 7, 5)]


def brep(sides: Sequence[tuple[int, ...]], coordinates: Sequence[tuple[float, ...]], kind: str = "IFCFACETEDBREP", flags: str = "T") -> list[str]:
    lines = [f"#1={kind}(#2);" if kind == "IFCFACETEDBREP" else f"#1={kind}((#2));", f"#2=IFCCLOSEDSHELL(({','.join(f'#{100 + 10 * n}' for n in range(len(sides)))}));"]
    for n, side in enumerate(sides):
        lines += [f"#{100 + 10 * n}=IFCFACE((#{101 + 10 * n}));", f"#{101 + 10 * n}=IFCFACEOUTERBOUND(#{102 + 10 * n},.{flags}.);",
                  f"#{102 + 10 * n}=IFCPOLYLOOP(({','.join(f'#{500 + i}' for i in side)}));"]  # fmt: skip
    return [*lines, *points(500, coordinates)]


def test_a_faceted_box() -> None:
    assert volume(body(*brep(SIDES, BOX))) == pytest.approx(6)
    # bounds that run against their loop: inside out as stated, and turned when a mesh is made of it
    assert volume(body(*brep(SIDES, BOX, flags="F"))) == pytest.approx(-6)
    # points with names of their own are still one
    apart = [BOX[i] for side in SIDES for i in side]
    shape = body(*brep([(4 * n, 4 * n + 1, 4 * n + 2, 4 * n + 3) for n in range(6)], apart))
    assert len(shape.positions) == 8
    assert volume(shape) == pytest.approx(6)


def test_a_solid_with_a_missing_face_is_left_to_a_kernel_and_a_surface_is_not() -> None:
    with pytest.raises(NotEvaluated, match="do not close"):
        body(*brep(SIDES[:-1], BOX))
    shape = body(*brep(SIDES[:-1], BOX, kind="IFCFACEBASEDSURFACEMODEL"))
    assert area_of(shape) == pytest.approx(22 - 3)


def test_a_face_with_a_hole() -> None:
    lines = ["#1=IFCSHELLBASEDSURFACEMODEL((#2));", "#2=IFCOPENSHELL((#3));", "#3=IFCFACE((#5,#4));", "#4=IFCFACEOUTERBOUND(#6,.T.);", "#5=IFCFACEBOUND(#7,.T.);",
             "#6=IFCPOLYLOOP((#500,#501,#502,#503));", "#7=IFCPOLYLOOP((#504,#505,#506,#507));"]  # fmt: skip
    square = [(0, 0, 0), (4, 0, 4), (4, 4, 4), (0, 4, 0), (1, 1, 1), (2, 1, 2), (2, 2, 2), (1, 2, 1)]
    assert area_of(body(*lines, *points(500, square))) == pytest.approx(15 * np.sqrt(2))


def test_concave_and_crossing_polygons() -> None:
    arrow = [(0.0, 0.0, 1.0), (2.0, 2.0, 1.0), (0.0, 1.0, 1.0), (-2.0, 2.0, 1.0)]
    assert area_of(Shape(np.array(arrow), cut(arrow, [[[0, 1, 2, 3]]]), np.zeros(0, np.int32), [], np.eye(4), "")) == pytest.approx(2)
    with pytest.raises(NotEvaluated, match="crosses itself"):
        cut([(0.0, 0.0, 0.0), (3.0, 0.0, 0.0), (0.0, 2.0, 0.0), (3.0, 3.0, 0.0)], [[[0, 1, 2, 3]]])
    assert not len(cut([(0.0, 0.0, 0.0), (3.0, 0.0, 0.0), (1.0, 0.0, 0.0)], [[[0, 1, 2, 1]]]))
    twice = [(float(np.cos(a)), float(np.sin(a)), 0.0) for a in np.linspace(0, 4 * np.pi, 5, endpoint=False)]
    with pytest.raises(NotEvaluated, match="crosses itself"):
        cut(twice, [[[0, 1, 2, 3, 4]]])  # a pentagram: it turns left everywhere


# --- what is refused ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        (["#1=IFCEXTRUDEDAREASOLID(#2,$,#12,2.);", "#2=IFCCIRCLEPROFILEDEF(.AREA.,$,$,1.);"], "IFCCIRCLEPROFILEDEF"),
        (["#1=IFCEXTRUDEDAREASOLID(#2,$,#12,2.);"], "#2 is missing"),
        (["#1=IFCEXTRUDEDAREASOLID(#2,$,#12,-2.);", "#2=IFCRECTANGLEPROFILEDEF(.AREA.,$,$,1.,1.);"], "own plane"),
        (["#1=IFCEXTRUDEDAREASOLID(#2,$,#9,2.);", "#9=IFCDIRECTION((1.,0.,0.));", "#2=IFCRECTANGLEPROFILEDEF(.AREA.,$,$,1.,1.);"], "own plane"),
        (["#1=IFCEXTRUDEDAREASOLID(#2,$,#12,2.);", "#2=IFCRECTANGLEPROFILEDEF(.CURVE.,$,$,1.,1.);"], "no area"),
        (["#1=IFCEXTRUDEDAREASOLID(#2,$,#12,2.);", "#2=IFCRECTANGLEPROFILEDEF(.AREA.,$,$,1.,$);"], "IFCEXTRUDEDAREASOLID"),
        (["#1=IFCEXTRUDEDAREASOLID(#2,$,#12,1.E400);", "#2=IFCRECTANGLEPROFILEDEF(.AREA.,$,$,1.,1.);"], "no distance"),
        (["#1=IFCEXTRUDEDAREASOLID(#2,$,#12,1.);", "#2=IFCRECTANGLEPROFILEDEF(.AREA.,$,$,1.E400,1.);"], "not finite"),
        (["#1=IFCEXTRUDEDAREASOLID(#2,$,#12,2.);", "#2=IFCARBITRARYCLOSEDPROFILEDEF(.AREA.,$,#20);", *polyline(20, 21, [(0, 0), (3, 0), (0, 2), (3, 3)])], "crosses itself"),
        (["#1=IFCEXTRUDEDAREASOLID(#2,$,#12,2.);", "#2=IFCARBITRARYCLOSEDPROFILEDEF(.AREA.,$,#20);", *polyline(20, 21, [(0, 0), (3, 0)])], "2 points"),
        (["#1=IFCEXTRUDEDAREASOLID(#2,$,#12,2.);", "#2=IFCARBITRARYCLOSEDPROFILEDEF(.AREA.,$,#20);", "#20=IFCINDEXEDPOLYCURVE(#21,(IFCARCINDEX((1,2,3)),IFCLINEINDEX((3,1))),$);",
          "#21=IFCCARTESIANPOINTLIST2D(((0.,0.),(3.,0.),(3.,1.)));"], "arcs"),
        (["#1=IFCEXTRUDEDAREASOLID(#2,$,#12,2.);", "#2=IFCARBITRARYCLOSEDPROFILEDEF(.AREA.,$,#20);", "#20=IFCINDEXEDPOLYCURVE(#21,(IFCLINEINDEX((1,2,9,1))),$);",
          "#21=IFCCARTESIANPOINTLIST2D(((0.,0.),(3.,0.),(3.,1.)));"], "not listed"),
        (["#1=IFCADVANCEDBREP(#2);"], "IFCADVANCEDBREP"),
        (["#1=IFCFACETEDBREP(#2);", "#2=IFCCLOSEDSHELL(());"], "no faces"),
    ],
)  # fmt: skip
def test_what_is_not_plain_is_refused_by_name(lines: list[str], says: str) -> None:
    with pytest.raises(NotEvaluated, match=says):
        body(*lines)


# --- in a whole reading ------------------------------------------------------------------------------------------


def read(path: Path, **options: object) -> tuple[Mesh, dict[str, Any]]:
    report = Report()
    batches = list(ifc.read(path, ifc.Options(**{**PLACED, **options}), report))  # type: ignore[arg-type]
    return next(b for b in batches if isinstance(b, Mesh)), report.facts["geometry"]


def walls(count: int, kind: str = "WALL") -> list[str]:
    lines = []
    for n in range(count):
        at = 200 + 10 * n
        lines += [f"#{at}=IFC{kind}('20000000000000000000{n:02d}',$,'w',$,$,#40,#{at + 1},$,$);", f"#{at + 1}=IFCPRODUCTDEFINITIONSHAPE($,$,(#{at + 2}));",
                  f"#{at + 2}=IFCSHAPEREPRESENTATION(#2,'Body','SweptSolid',(#{at + 3}));", f"#{at + 3}=IFCEXTRUDEDAREASOLID(#60,#10,#12,{n + 1}.);"]  # fmt: skip
    return lines


def test_the_engine_shapes_what_it_can_and_samples_are_compared(model_file: ModelFile, step: Step) -> None:
    mesh, facts = read(model_file(step(*walls(6))))
    assert facts["kernels"] == {PLAIN: 7} and facts["samples_compared"] == 2
    assert facts["samples_compared"] == 2
    assert facts["guard"] == []
    reference, _ = read(model_file(step(*walls(6))), kernel="opencascade")
    assert boxes(mesh) == pytest.approx(boxes(reference), abs=1e-6)
    assert {m.name for m in mesh.materials} == {m.name for m in reference.materials} == {"IfcWall", "DefaultMaterial", ""}
    assert {m.color for m in mesh.materials} == {m.color for m in reference.materials}


def boxes(mesh: Mesh) -> list[float]:
    found = [(int(f), *np.ptp(mesh.positions[mesh.vertex_start[p] : mesh.vertex_start[p + 1]], axis=0)) for p, f in zip(mesh.instance_prototype, mesh.instance_feature, strict=True)]
    return [float(v) for row in sorted(found) for v in row]


def test_a_wrong_engine_is_found_out(model_file: ModelFile, step: Step, monkeypatch: pytest.MonkeyPatch) -> None:
    right = geometry_polygons.prism
    monkeypatch.setattr("ingest_bim.geometry.plain.prism", lambda *args, **kwargs: right(*args, **kwargs)[:-1])  # one triangle is lost
    _, facts = read(model_file(step(*walls(6))))
    assert PLAIN not in facts["kernels"]
    assert any(PLAIN in line and "not used" in line for line in facts["guard"])


def test_a_text_too_large_to_scan_goes_to_the_kernels(model_file: ModelFile, step: Step, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ifc_reading, "MAX_SCANNED", 100)
    report = Report()
    list(ifc.read(model_file(step(*walls(4), *TRICKY)), ifc.Options(**PLACED), report))  # type: ignore[arg-type]
    facts = report.facts["geometry"]
    assert facts["drawn"] == 6
    assert PLAIN not in facts["kernels"]
    assert any("shaped by a kernel" in note.reason for note in report.notes)


def test_usual_looks_are_the_kernels(model_file: ModelFile, step: Step) -> None:
    kinds = ("BEAM", "DOOR", "MEMBER", "RAILING", "PLATE", "SLAB", "WINDOW", "WALLSTANDARDCASE", "FOOTING")
    lines = [line.replace("WALL(", f"{kind}(").replace("'20000000000000000000", f"'3{k:02d}00000000000000000")
             for k, kind in enumerate(kinds) for line in renumbered(walls(1), 100 * k)]  # fmt: skip
    text = step(*lines, schema="IFC2X3")
    fast, facts = read(model_file(text), kernel="fast")
    assert facts["kernels"] == {PLAIN: len(kinds) + 1}
    kernel, _ = read(model_file(text), kernel="opencascade")
    found, expected = ({m.name: m.color for m in mesh.materials} for mesh in (fast, kernel))
    assert set(found) == set(expected)
    for name, color in expected.items():
        assert found[name] == pytest.approx(color)


def renumbered(lines: list[str], by: int) -> list[str]:
    return [line if not by else _shift(line, by) for line in lines]


def _shift(line: str, by: int) -> str:
    for name in (203, 202, 201, 200):
        line = line.replace(f"#{name}", f"#{name + by}")
    return line


# --- properties from the text ------------------------------------------------------------------------------------

TRICKY = (
    "#400=IFCPROPERTYSET('4000000000000000000000',$,'Pset, (of) ''one''',$,(#401,#402,#403,#404,#405,#406,#407,#408,#409,#410,#411,#412,#413));",
    "#401=IFCPROPERTYSINGLEVALUE('a','why, (not)?',IFCLABEL('x, (y)'),$);", "#402=IFCPROPERTYSINGLEVALUE('b''s',$,IFCLABEL('it''s'),$);",
    "#403=IFCPROPERTYSINGLEVALUE('\\X2\\67F1\\X0\\',$,IFCTEXT('\\X2\\67F1\\X0\\'),$);", "#404 = IFCPROPERTYSINGLEVALUE ( 'd' , $ , IFCREAL( -1.5E-3 ) , $ ) ;",
    "#405=IFCPROPERTYSINGLEVALUE('e',$,IFCINTEGER(7),$);", "#406=IFCPROPERTYSINGLEVALUE('f',$,IFCBOOLEAN(.F.),$);", "#407=IFCPROPERTYSINGLEVALUE('g',$,IFCLOGICAL(.U.),$);",
    "#408=IFCPROPERTYSINGLEVALUE('h',$,IFCLENGTHMEASURE(12.),#420);", "#409=IFCPROPERTYSINGLEVALUE('i',$,$,$);", "#410=IFCPROPERTYENUMERATEDVALUE('j',$,(IFCLABEL('p'),IFCLABEL('q')),$);",
    "#411=IFCPROPERTYSINGLEVALUE('k',$,IFCLABEL('a \\X2\\67F100FC\\X0\\ (b) \\X2\\4E94\\X0\\'),$);", "#412=IFCPROPERTYSINGLEVALUE('l',$,IFCLABEL('\\X2\\D83CDFE0\\X0\\'),$);",
    "#413=IFCPROPERTYSINGLEVALUE('m',$,IFCLABEL('\\S\\d \\X\\E4 \\\\'),$);", "#421=IFCPROPERTYSET('4000000000000000000003',$,'\\X2\\5899\\X0\\',$,( #401 , #411 ));",
    "#422=IFCPROPERTYSET('4000000000000000000004',$,$,$,(#401));", "#431=IFCRELDEFINESBYPROPERTIES('4000000000000000000005',$,'x','y',( #100 ),#421);",
    "#432=IFCRELDEFINESBYPROPERTIES('4000000000000000000006',$,$,$,(#100,#100),#422);", "#420=IFCSIUNIT(*,.LENGTHUNIT.,.MILLI.,.METRE.);", "#430=IFCRELDEFINESBYPROPERTIES('4000000000000000000001',$,$,$,(#100),#400);",
)  # fmt: skip


def test_values_from_the_text_are_the_parser_s(model_file: ModelFile, step: Step) -> None:
    path = model_file(step(*TRICKY))
    model: Any = ifcopenshell.open(path)
    structure, units = read_structure(model, Report()), Units(model)
    parsed, scanned = (read_definitions(model, structure, units, Report(), singles) for singles in (None, Singles(StepText.of(path))))
    assert scanned == parsed
    assert {name: len(values) for (name, values) in ((one.name, one.values) for one, _ in scanned.psets[100])} == {"Pset, (of) 'one'": 13, "墙": 2, "IfcPropertySet": 1}
    values = {value.name: (value.text, value.number, value.type) for value in scanned.psets[100][0][0].values}
    assert (values["k"][0], values["m"][0]) == ("a 柱ü (b) 五", "ä ä \\")
    assert values["a"] == ("x, (y)", None, "IfcLabel")
    assert values["b's"] == ("it's", None, "IfcLabel")
    assert values["柱"] == ("柱", None, "IfcText")
    assert values["d"] == ("-0.0015", -0.0015, "IfcReal")
    assert values["h"][1] == pytest.approx(0.012)


@pytest.mark.parametrize("line", [
    "#432=IfcRelDefinesByProperties('4000000000000000000006',$,$,$,(#100,#110),#422);", "#432=IFCRELOVERRIDESPROPERTIES('4000000000000000000006',$,$,$,(#100),#422,(#401));",
    "#432=IFCRELDEFINESBYPROPERTIES('400000000000000000000\\S\\6',$,$,$,(#100,#110),#422);", "#432=IFCRELDEFINESBYPROPERTIES('4000000000000000000006',$,$,$,(#100,#999),#422);",
])  # fmt: skip
def test_relations_from_the_text_are_the_parser_s(model_file: ModelFile, step: Step, line: str) -> None:
    """Those too that the text does not state plainly."""
    sets = [f"#{name}=IFCPROPERTYSET('{name:022}',$,'{name}',$,(#401));" for name in (422, 423)]
    path = model_file(step(line, *sets, "#401=IFCPROPERTYSINGLEVALUE('a',$,IFCLABEL('x'),$);", "#431=IFCRELDEFINESBYPROPERTIES('4000000000000000000005',$,$,$,(#100),#423);", schema="IFC2X3"))
    model: Any = ifcopenshell.open(path)
    structure, units = read_structure(model, Report()), Units(model)
    parsed, scanned = (read_definitions(model, structure, units, Report(), singles) for singles in (None, Singles(StepText.of(path))))
    assert scanned == parsed
    assert [one.name for one, _ in scanned.psets[100]] in (["423", "422"], ["423"])


def test_a_dismissed_reading_ends_without_shaping_the_rest(model_file: ModelFile, step: Step, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of 40 walls takes a tenth of a second here: after the first half second progress is told, and raising from it ends the work."""
    made: list[int] = []
    right = Plain.solid

    def slow(self: Plain, item: int) -> Any:
        made.append(item)
        time.sleep(0.1)
        return right(self, item)

    def dismissed(fraction: float, message: str) -> None:
        if "shapes" in message:
            raise Cancelled("dismissed")

    monkeypatch.setattr(Plain, "solid", slow)
    with reading.given(reading.Surroundings(progress=dismissed)), pytest.raises(Cancelled):
        list(ifc.read(model_file(step(*walls(40))), ifc.Options(**PLACED), Report()))  # type: ignore[arg-type]
    assert 0 < len(made) < 30
