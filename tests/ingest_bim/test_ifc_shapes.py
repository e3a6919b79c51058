"""Shapes: equal ones found before shaping, kept between readings, half spaces cut, tessellations taken; against closed forms."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ifcopenshell
import ifcopenshell.geom
import manifold3d
import numpy as np
import pytest
from ifcopenshell.util.placement import get_axis2placement

from ingest_bim.geometry.clip import Evaluator, NotEvaluated
from ingest_bim.geometry.host import CLIP, DIRECT
from ingest_bim.ifc import geometry as ifc_geometry
from ingest_bim.ifc import reader as ifc
from ingest_bim.ifc.cache import ShapeCache, pack, unpack
from ingest_bim.ifc.frames import axis_matrix, operator_matrix
from ingest_bim.ifc.geometry import Shape, volume_of
from ingest_bim.ifc.step_scan import StepText, _uncommented
from twin import reading
from twin.errors import Cancelled
from twin.model import Mesh, Report

Step = Callable[..., str]
ModelFile = Callable[..., Path]
PLACED = {"vertical": "EGM96", "anchor_lonlat": "113.08,22.58,5", "workers": 1}


def read(path: Path, cache: Path | None = None, **options: object) -> tuple[Mesh, dict[str, Any]]:
    report = Report()
    with reading.given(reading.Surroundings(cache=cache)):
        batches = list(ifc.read(path, ifc.Options(**{**PLACED, **options}), report))  # type: ignore[arg-type]
    return next(b for b in batches if isinstance(b, Mesh)), report.facts["geometry"]


def placed(mesh: Mesh) -> dict[str, np.ndarray]:
    """Points of each drawn feature, about the first one's placement."""
    away = mesh.transforms[0][:3, 3]
    return {
        mesh.ids[int(f)].as_py(): mesh.positions[mesh.vertex_start[p] : mesh.vertex_start[p + 1]] @ t[:3, :3].T + t[:3, 3] - away
        for p, f, t in zip(mesh.instance_prototype, mesh.instance_feature, mesh.transforms, strict=True)
    }


def volume(mesh: Mesh, prototype: int = 0) -> float:
    points = mesh.positions[mesh.vertex_start[prototype] : mesh.vertex_start[prototype + 1]]
    triangles = mesh.triangles[mesh.triangle_start[prototype] : mesh.triangle_start[prototype + 1]]
    return volume_of(Shape(points, triangles, triangles[:, 0], [], np.eye(4), ""), np.zeros(3))


# --- sharing -----------------------------------------------------------------------------------------------------


def test_a_map_is_shaped_once_and_placed_many_times(model_file: ModelFile, step: Step) -> None:
    _, facts = read(model_file(step()))
    assert (facts["shaped"], facts["placed_copies"], facts["drawn"], facts["prototypes"]) == (1, 1, 2, 1)


def test_mapping_targets_turn_scale_and_mirror_the_one_shape(model_file: ModelFile, step: Step) -> None:
    """The second column's map is turned by 90°, doubled and moved: against the points worked out here; a mirrored one is another shape."""
    text = step("#130=IFCDIRECTION((0.,1.,0.));", "#131=IFCCARTESIANPOINT((5.,0.,0.));", "#132=IFCCARTESIANTRANSFORMATIONOPERATOR3D(#130,$,#131,2.,$);")
    mesh, facts = read(model_file(text.replace("#116=IFCMAPPEDITEM(#65,#103)", "#116=IFCMAPPEDITEM(#65,#132)")))
    assert facts["shaped"] == 1
    points = placed(mesh)["1000000000000000000002"]
    np.testing.assert_allclose([points.min(0), points.max(0)], [[10 + 5 - 1, -2, 0], [10 + 5 + 1, 2, 6]], atol=1e-5)  # 2 × 1 × 3, turned and doubled
    text = text.replace("#116=IFCMAPPEDITEM(#65,#103)", "#116=IFCMAPPEDITEM(#65,#133)").replace(
        "#132=", "#133=IFCCARTESIANTRANSFORMATIONOPERATOR3D($,#134,#131,$,$);\n#134=IFCDIRECTION((0.,-1.,0.));\n#132=")  # fmt: skip
    mesh, facts = read(model_file(text))
    assert facts["shaped"] == 2
    assert all(np.linalg.det(t[:3, :3]) > 0 for t in mesh.transforms)
    assert min(volume(mesh, p) for p in range(len(mesh.vertex_start) - 1)) == pytest.approx(6)


def test_a_style_or_an_opening_makes_another_shape(model_file: ModelFile, step: Step) -> None:
    red = ("#140=IFCCOLOURRGB($,1.,0.,0.);", "#141=IFCSURFACESTYLERENDERING(#140,$,$,$,$,$,$,$,.NOTDEFINED.);", "#142=IFCSURFACESTYLE('red',.BOTH.,(#141));",
           "#143=IFCSTYLEDITEM(#116,(#142),$);")  # fmt: skip
    mesh, facts = read(model_file(step(*red)))
    assert facts["shaped"] == 2
    assert {m.name for m in mesh.materials} >= {"red"}
    hole = ("#150=IFCOPENINGELEMENT('1000000000000000000009',$,'o',$,$,#151,#152,$,.OPENING.);", "#151=IFCLOCALPLACEMENT(#111,#10);",
            "#152=IFCPRODUCTDEFINITIONSHAPE($,$,(#153));", "#153=IFCSHAPEREPRESENTATION(#2,'Body','SweptSolid',(#154));",
            "#154=IFCEXTRUDEDAREASOLID(#155,#10,#12,1.);", "#155=IFCRECTANGLEPROFILEDEF(.AREA.,$,#61,0.5,0.5);",
            "#156=IFCRELVOIDSELEMENT('1000000000000000000008',$,$,$,#110,#150);")  # fmt: skip
    mesh, facts = read(model_file(step(*hole)))
    assert facts["shaped"] == 2
    assert sorted(volume(mesh, p) for p in range(2)) == pytest.approx([6 - 0.25, 6], abs=1e-4)


@pytest.mark.parametrize(("apart", "shaped"), [(0.0, 1), (0.3, 2)])
def test_openings_that_stand_alike_in_their_elements_make_one_shape(model_file: ModelFile, step: Step, apart: float, shaped: int) -> None:
    """Both are placed in the world, not beside what they cut."""
    holes = [f"#150=IFCLOCALPLACEMENT($,#151);#151=IFCAXIS2PLACEMENT3D(#152,$,$);#152=IFCCARTESIANPOINT(({10 + apart},0.,0.));",
             "#160=IFCPRODUCTDEFINITIONSHAPE($,$,(#161));", "#161=IFCSHAPEREPRESENTATION(#2,'Body','SweptSolid',(#162));",
             "#162=IFCEXTRUDEDAREASOLID(#163,#10,#12,1.);", "#163=IFCRECTANGLEPROFILEDEF(.AREA.,$,#61,0.5,0.5);"]  # fmt: skip
    for column, place, name in ((100, 30, 170), (110, 150, 180)):
        holes += [f"#{name}=IFCOPENINGELEMENT('{name:022}',$,'o',$,$,#{place},#160,$,.OPENING.);", f"#{name + 1}=IFCRELVOIDSELEMENT('{name + 1:022}',$,$,$,#{column},#{name});"]
    mesh, facts = read(model_file(step(*holes)))
    assert facts["shaped"] == shaped
    assert [volume(mesh, p) for p in range(shaped)] == pytest.approx([6 - 0.25] * shaped, abs=1e-4)


def test_digests_see_content_and_not_names() -> None:
    one = StepText(b"#1=IFCA('x',(#2,#3));\n#2=IFCCARTESIANPOINT((0.,1.));\n#3=IFCB(#2);/* it's a comment; #9=IFCX(); */\n#4=IFCSTYLEDITEM(#3,(#2),$);")
    other = StepText(b"#11 = IFCA ( 'x',(#12,#13));#12=IFCCARTESIANPOINT((0.,1.));#13=IFCB(#12);#99=IFCSTYLEDITEM(#13,(#12),$);".replace(b"IFCA ( ", b"IFCA("))
    assert one.digest(1) == other.digest(11)
    assert 9 not in one.rows
    plain = StepText(b"#1=IFCA('x',(#2,#3));#2=IFCCARTESIANPOINT((0.,1.));#3=IFCB(#2);")
    assert plain.digest(1) != one.digest(1)
    assert StepText(b"#1=IFCA(#2);#2=IFCA(#1);").digest(1)
    assert StepText(b"#1=IFCA(#7);").digest(1) != StepText(b"#1=IFCA($);").digest(1)
    chain = b"".join(b"#%d=IFCA(#%d);" % (n, n + 1) for n in range(1, 50_000))
    assert StepText(chain).digest(1)


def test_comments_are_none_within_texts() -> None:
    """Against a reading letter by letter."""
    pieces = [b"a", b"'", b"''", b"/*", b"*/", b"/", b"*", b"/*'*/", b"'/*'"]
    for seed in range(400):
        chosen = random.Random(seed)
        data = b"".join(chosen.choices(pieces, k=chosen.randrange(1, 12)))
        kept, at, inside = b"", 0, False
        while at < len(data):
            end = -1 if inside or data[at : at + 2] != b"/*" else data.find(b"*/", at + 2)
            inside ^= data[at : at + 1] == b"'"
            kept, at = (kept + data[at : at + 1], at + 1) if end < 0 else (kept + b" ", end + 2)
        assert _uncommented(data) == kept, data


# --- the cache ---------------------------------------------------------------------------------------------------


def test_a_revised_model_is_shaped_only_where_it_changed(model_file: ModelFile, step: Step, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    wall = ("#130=IFCWALL('1000000000000000000003',$,'wall',$,$,#131,#132,$,.SOLIDWALL.);", "#131=IFCLOCALPLACEMENT(#40,#10);",
            "#132=IFCPRODUCTDEFINITIONSHAPE($,$,(#133));", "#133=IFCSHAPEREPRESENTATION(#2,'Body','SweptSolid',(#134));",
            "#134=IFCEXTRUDEDAREASOLID(#60,#10,#12,4.);")  # fmt: skip
    first, facts = read(model_file(step(*wall)), cache)
    assert (facts["shaped"], facts["from_cache"]) == (2, 0)
    revised = [line.replace("#12,4.)", "#12,5.)") for line in wall]
    _, facts = read(model_file(step("#500=IFCCARTESIANPOINT((1.,1.));", *revised), "revised.ifc"), cache)
    assert (facts["shaped"], facts["from_cache"]) == (1, 1)
    again, facts = read(model_file(step(*wall)), cache)
    assert (facts["shaped"], facts["from_cache"], facts["drawn"]) == (0, 2, 3)
    np.testing.assert_array_equal(first.positions, again.positions)
    np.testing.assert_array_equal(first.triangles, again.triangles)
    _, facts = read(model_file(step(*wall, prefix=".MILLI.")), cache)
    assert facts["from_cache"] == 0  # the same text in another unit


def test_a_damaged_cache_costs_time_alone(model_file: ModelFile, step: Step, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    (cache / "shapes.sqlite").write_bytes(b"not a database at all" * 100)
    for _ in range(2):
        _, facts = read(model_file(step()), cache)
        assert facts["drawn"] == 2
    _, facts = read(model_file(step()), cache)
    assert facts["from_cache"] == 1  # it was begun anew
    with sqlite3.connect(cache / "shapes.sqlite") as connection:
        connection.execute("UPDATE shapes SET data = substr(data, 1, 40)")
    _, facts = read(model_file(step()), cache)
    assert (facts["from_cache"], facts["drawn"]) == (0, 2)


def test_the_cache_stays_within_its_limit(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    shapes = {bytes([n]) * 16: Shape(rng.normal(size=(100, 3)), np.zeros((50, 3), np.int32), np.zeros(50, np.int32), [("钢", (1.0, 0.5, 0.0, 1.0))], np.eye(4), "k")
              for n in range(50)}  # fmt: skip
    cache = ShapeCache(tmp_path, limit=50_000)
    for key, shape in shapes.items():
        cache.put({key: shape})
    found = cache.get(shapes)
    assert 0 < len(found) < 50
    assert sum(len(pack(s)) for s in found.values()) <= 50_000
    key, shape = next(iter(found.items()))
    np.testing.assert_array_equal(shape.positions, shapes[key].positions)
    assert shape.materials == shapes[key].materials
    assert unpack(b"") is None
    assert unpack(pack(shape)[:-1]) is None


# --- half spaces -------------------------------------------------------------------------------------------------

CUT = ("#160=IFCBOOLEANCLIPPINGRESULT(.DIFFERENCE.,#63,#161);", "#162=IFCPLANE(#163);", "#163=IFCAXIS2PLACEMENT3D(#164,#165,$);",
       "#164=IFCCARTESIANPOINT((0.,0.,2.));", "#165=IFCDIRECTION((1.,0.,1.));")  # fmt: skip


@pytest.mark.parametrize(("flag", "expected"), [(".F.", 4.0), (".T.", 2.0)])
def test_a_half_space_cuts_a_box_as_the_closed_form_says(model_file: ModelFile, step: Step, flag: str, expected: float) -> None:
    """The box 2 × 1 × 3 and the plane x + z = 2: below it lie 4 of its 6 m³. With the flag true the material is below the plane."""
    text = step(*CUT, f"#161=IFCHALFSPACESOLID(#162,{flag});").replace("(#63));\n#65", "(#160));\n#65").replace("'SweptSolid'", "'Clipping'")
    mesh, facts = read(model_file(text), kernel="fast")
    assert facts["kernels"] == {CLIP: 1}
    assert volume(mesh) == pytest.approx(expected, abs=1e-5)
    reference, _ = read(model_file(text), kernel="opencascade")
    assert volume(reference) == pytest.approx(expected, abs=1e-6)


def test_a_polygon_bounds_a_half_space(model_file: ModelFile, step: Step) -> None:
    """Only x > 0.5 is cut off above z = 2: 6 − 0.5 × 1 × 1."""
    lines = ("#160=IFCBOOLEANCLIPPINGRESULT(.DIFFERENCE.,#63,#161);", "#161=IFCPOLYGONALBOUNDEDHALFSPACE(#162,.F.,#10,#166);", "#162=IFCPLANE(#163);",
             "#163=IFCAXIS2PLACEMENT3D(#164,$,$);", "#164=IFCCARTESIANPOINT((0.,0.,2.));", "#166=IFCPOLYLINE((#167,#168,#169,#170,#167));",
             "#167=IFCCARTESIANPOINT((0.5,-1.));", "#168=IFCCARTESIANPOINT((0.5,1.));", "#169=IFCCARTESIANPOINT((5.,1.));", "#170=IFCCARTESIANPOINT((5.,-1.));")  # fmt: skip
    mesh, facts = read(model_file(step(*lines).replace("(#63));\n#65", "(#160));\n#65")), kernel="fast")
    assert facts["kernels"] == {CLIP: 1}
    assert volume(mesh) == pytest.approx(5.5, abs=1e-5)


def test_what_the_evaluator_cannot_cut_goes_to_the_reference(model_file: ModelFile, step: Step) -> None:
    lines = ("#160=IFCBOOLEANCLIPPINGRESULT(.DIFFERENCE.,#63,#161);", "#161=IFCHALFSPACESOLID(#162,.F.);", "#162=IFCCYLINDRICALSURFACE(#10,0.25);")
    _, facts = read(model_file(step(*lines).replace("(#63));\n#65", "(#160));\n#65")))
    assert CLIP not in facts["kernels"]
    assert facts["drawn"] + sum(facts["not_drawn"].values()) == 2


def test_faces_that_coincide_but_for_rounding_leave_no_film(model_file: ModelFile, step: Step) -> None:
    """The upper two thirds are taken away by a solid whose sides lie 5 pm within those of the box: what stands for them has no thickness, but is 2 m high."""
    lines = ("#160=IFCBOOLEANRESULT(.DIFFERENCE.,#63,#161);", "#161=IFCEXTRUDEDAREASOLID(#162,#163,#12,2.);", "#163=IFCAXIS2PLACEMENT3D(#164,$,$);",
             "#162=IFCRECTANGLEPROFILEDEF(.AREA.,$,#61,1.99999999999,0.99999999999);", "#164=IFCCARTESIANPOINT((0.,0.,1.));")  # fmt: skip
    mesh, facts = read(model_file(step(*lines).replace("(#63));\n#65", "(#160));\n#65").replace("'SweptSolid'", "'CSG'")), kernel="fast")
    assert facts["kernels"] == {CLIP: 1}
    assert volume(mesh) == pytest.approx(2, abs=1e-4)
    assert mesh.positions[:, 2].max() == pytest.approx(1, abs=1e-4)


def test_loose_films_go_and_hanging_ones_are_for_the_reference() -> None:
    evaluator = Evaluator(None, 1.0)
    box = manifold3d.Manifold.cube((2, 1, 1))
    film = manifold3d.Manifold.cube((2, 1e-9, 3))
    alone = evaluator._without_films(manifold3d.Manifold.compose([box, film.translate((0, 5, 0))]))
    assert alone.bounding_box() == box.bounding_box()
    assert alone.volume() == pytest.approx(2)
    with pytest.raises(NotEvaluated, match="film"):
        evaluator._without_films(box + film)
    knife = manifold3d.Manifold.hull_points([(0, 0, 0), (1, 0, 0), (0, 1, 0), (1, 1, 0), (0.5, 0, 1), (0.5, 1, 1)])
    assert evaluator._without_films(knife).volume() == pytest.approx(0.5), "an edge is not a film"


@pytest.mark.parametrize(("diffuse", "color"), [("$", (1, 0.6, 0.2, 0.75)), ("IFCNORMALISEDRATIOMEASURE(0.5)", (0.5, 0.3, 0.1, 0.75)), ("#143", (0.5, 0.9, 0.1, 0.75))])
def test_a_style_looks_the_same_whoever_draws_it(model_file: ModelFile, step: Step, diffuse: str, color: tuple[float, ...]) -> None:
    """A diffuse part is a factor of the surface colour, or a colour in its place (IfcSurfaceStyleRendering), whichever evaluator draws."""
    style = ("#140=IFCCOLOURRGB($,1.,0.6,0.2);", f"#141=IFCSURFACESTYLERENDERING(#140,0.25,{diffuse},$,$,$,$,$,.NOTDEFINED.);", "#142=IFCSURFACESTYLE('s',.BOTH.,(#141));",
             "#143=IFCCOLOURRGB($,0.5,0.9,0.1);", "#145=IFCSTYLEDITEM(#63,(#142),$);", *CUT, "#161=IFCHALFSPACESOLID(#162,.F.);")  # fmt: skip
    path = model_file(step(*style).replace("(#63));\n#65", "(#160));\n#65").replace("'SweptSolid'", "'Clipping'"))
    ours, facts = read(path, kernel="fast")
    assert facts["kernels"] == {CLIP: 1}
    reference, _ = read(path, kernel="opencascade")
    assert ours.materials[0].color == reference.materials[0].color == pytest.approx(color)


# --- tessellations -----------------------------------------------------------------------------------------------

POINTS = "#170=IFCCARTESIANPOINTLIST3D(((0.,0.,0.),(2000.,0.,0.),(2000.,1000.,0.),(0.,1000.,0.),(0.,0.,3000.),(2000.,0.,3000.),(2000.,1000.,3000.),(0.,1000.,3000.)));"
QUADS = ((1, 4, 3, 2), (5, 6, 7, 8), (1, 2, 6, 5), (3, 4, 8, 7), (1, 5, 8, 4), (2, 3, 7, 6))


def tessellated(step: Step, *lines: str) -> str:
    return step(POINTS, *lines, prefix=".MILLI.").replace("(#63));\n#65", "(#171));\n#65").replace("'SweptSolid'", "'Tessellation'")


def test_face_sets_are_taken_as_they_are(model_file: ModelFile, step: Step) -> None:
    triangles = ",".join(f"({a},{b},{c}),({a},{c},{d})" for a, b, c, d in QUADS)
    mesh, facts = read(model_file(tessellated(step, f"#171=IFCTRIANGULATEDFACESET(#170,$,.T.,({triangles}),$);")))
    assert facts["kernels"] == {DIRECT: 1}
    assert volume(mesh) == pytest.approx(6, abs=1e-12)
    faces = [f"#{180 + n}=IFCINDEXEDPOLYGONALFACE(({','.join(map(str, q))}));" for n, q in enumerate(QUADS)]
    mesh, facts = read(model_file(tessellated(step, f"#171=IFCPOLYGONALFACESET(#170,.T.,({','.join(f'#{180 + n}' for n in range(6))}),$);", *faces)))
    assert facts["kernels"] == {DIRECT: 1}
    assert volume(mesh) == pytest.approx(6, abs=1e-12)
    hole = "#180=IFCINDEXEDPOLYGONALFACEWITHVOIDS((1,2,3,4),((5,6,7,8)));"
    flat = POINTS.replace("(0.,0.,3000.),(2000.,0.,3000.),(2000.,1000.,3000.),(0.,1000.,3000.)", "(500.,250.,0.),(1500.,250.,0.),(1500.,750.,0.),(500.,750.,0.)")
    mesh, _ = read(model_file(tessellated(step, "#171=IFCPOLYGONALFACESET(#170,$,(#180),$);", hole).replace(POINTS, flat)))
    corners = mesh.positions[mesh.triangles]
    assert np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1).sum() / 2 == pytest.approx(1.5)


def test_a_face_that_names_no_point_costs_the_element_alone(model_file: ModelFile, step: Step) -> None:
    report = Report()
    path = model_file(tessellated(step, "#171=IFCTRIANGULATEDFACESET(#170,$,.T.,((1,2,99)),$);"))
    list(ifc.read(path, ifc.Options(**{**PLACED, "element_seconds": 5}), report))  # type: ignore[arg-type]
    assert report.kept == report.read
    assert report.facts["geometry"]["drawn"] == 0
    assert sum(n.action == "skipped" for n in report.notes) == 2


# --- frames, cancelling ------------------------------------------------------------------------------------------


def test_frames_agree_with_the_parser_s_own() -> None:
    rng = np.random.default_rng(3)
    model = ifcopenshell.file(schema="IFC4")
    for _ in range(30):
        vectors = rng.normal(size=(3, 3))
        vectors[1] = np.cross(vectors[0], vectors[1])  # the utility does not make the axes perpendicular
        a, b, c = (model.create_entity("IfcDirection", [float(v) for v in vector]) for vector in vectors)
        point = model.create_entity("IfcCartesianPoint", [float(v) for v in rng.normal(size=3)])
        axis = model.create_entity("IfcAxis2Placement3D", point, a, b)
        found = axis_matrix(axis)
        assert found is not None
        np.testing.assert_allclose(found, np.array(get_axis2placement(axis), np.float64), atol=1e-12)
        operator = model.create_entity("IfcCartesianTransformationOperator3DnonUniform", Axis1=a, Axis2=None, LocalOrigin=point, Scale=2.0, Axis3=c, Scale2=3.0, Scale3=0.5)
        ours = operator_matrix(operator)
        assert ours is not None
        np.testing.assert_allclose(np.linalg.norm(ours[:3, :3], axis=0), [2, 3, 0.5])
        np.testing.assert_allclose(ours[:3, 3], point.Coordinates)
        np.testing.assert_allclose(ours[:3, 2] / 0.5, np.array(c.DirectionRatios) / np.linalg.norm(c.DirectionRatios))


OPERATORS = (
    ((None, None, (0, 0, -1)), ((1, 0, 0), (0, 1, 0), (0, 0, -1))), (((-1, 0, 0), None, None), ((-1, 0, 0), (0, 1, 0), (0, 0, 1))),
    (((-0.6, 0.8, 0), None, (0, 0, 1)), ((-0.6, 0.8, 0), (0.8, 0.6, 0), (0, 0, 1))), (((0, 1, 0), None, None), ((0, 1, 0), (-1, 0, 0), (0, 0, 1))),
    ((None, (0, -2, 0), None), ((1, 0, 0), (0, -1, 0), (0, 0, 1))), (((0, 0, 1), (0, 1, 0), (-1, 0, 0)), ((0, 0, 1), (0, 1, 0), (-1, 0, 0))),
)  # fmt: skip


@pytest.mark.parametrize(("given", "axes"), OPERATORS)
def test_axes_that_an_operator_leaves_out(given: tuple[Any, ...], axes: tuple[Any, ...]) -> None:
    """IfcBaseAxis by hand: what is missing is x, y or z made perpendicular, each by itself, so that a third axis turned round is a mirror image. And the kernel says so."""
    model = ifcopenshell.file(schema="IFC4")
    point = model.create_entity("IfcCartesianPoint", (0.0, 0.0, 0.0))
    a, b, c = (None if v is None else model.create_entity("IfcDirection", [float(part) for part in v]) for v in given)
    operator = model.create_entity("IfcCartesianTransformationOperator3D", Axis1=a, Axis2=b, LocalOrigin=point, Axis3=c)
    ours = operator_matrix(operator)
    assert ours is not None
    np.testing.assert_allclose(ours[:3, :3].T, axes, atol=1e-12)
    item = model.create_entity("IfcTriangulatedFaceSet", model.create_entity("IfcCartesianPointList3D", [(0.0, 0.0, 0.0), (1.0, 0.0, 0.0), (0.0, 2.0, 0.0), (0.0, 0.0, 3.0)]),
                               None, True, [(1, 3, 2), (1, 2, 4), (2, 3, 4), (3, 1, 4)])  # fmt: skip
    context = model.create_entity("IfcGeometricRepresentationContext", None, "Model", 3, 1e-5, model.create_entity("IfcAxis2Placement3D", point))
    source = model.create_entity("IfcRepresentationMap", model.create_entity("IfcAxis2Placement3D", point), model.create_entity("IfcShapeRepresentation", context, "Body", "Tessellation", [item]))
    shape = model.create_entity("IfcShapeRepresentation", context, "Body", "MappedRepresentation", [model.create_entity("IfcMappedItem", source, operator)])
    kernel: Any = ifcopenshell.geom
    corners = np.array(kernel.create_shape(kernel.settings(), shape).verts).reshape(-1, 3)
    assert {tuple(p) for p in corners.round(9) + 0.0} == {tuple(p) for p in (np.diag((1, 2, 3)) @ np.array(axes)).round(9) + 0.0} | {(0.0, 0.0, 0.0)}


def test_what_one_style_says_beside_its_item() -> None:
    """Items of one text look alike; where there are more styles, or a map of colours, the text says nothing simple."""
    lines = ("#1=IFCFACETEDBREP(#9);", "#2=IFCFACETEDBREP(#9);", "#3=IFCFACETEDBREP(#9);", "#4=IFCTRIANGULATEDFACESET(#9);",
             "#5=IFCFACETEDBREP(#9);", "#21=IFCSTYLEDITEM(#1,(#30),$);", "#22=IFCSTYLEDITEM( #2 ,(#30),$);", "#23=IFCSTYLEDITEM(#3,(#30),$);", "#24=IFCSTYLEDITEM(#3,(#31),$);", "#25=IFCINDEXEDCOLOURMAP(#4,$,#32,(1));")  # fmt: skip
    text = StepText("".join(lines).encode())
    assert [text.style(name) for name in (1, 2, 3, 4, 5)] == [b"(#30),$)", b"(#30),$)", None, None, None]


def test_a_flat_operator_is_turned_by_its_second_axis_alone() -> None:
    """IfcBaseAxis of two dimensions: the first axis is the second turned back by a right angle."""
    model = ifcopenshell.file(schema="IFC4")
    operator = model.create_entity("IfcCartesianTransformationOperator2D", Axis2=model.create_entity("IfcDirection", (-0.8, 0.6)), LocalOrigin=model.create_entity("IfcCartesianPoint", (0.0, 0.0)))
    ours = operator_matrix(operator)
    assert ours is not None
    np.testing.assert_allclose(ours[:2, :2], [[0.6, -0.8], [0.8, 0.6]], atol=1e-12)


def test_a_dismissed_reading_stops_shaping(model_file: ModelFile, step: Step, monkeypatch: pytest.MonkeyPatch) -> None:
    """Shapes that never come: progress is told while they are waited for, and raising from it ends the processes."""
    started: list[ifc_geometry.Host] = []
    enter = ifc_geometry.Host.__enter__

    def entered(self: ifc_geometry.Host) -> ifc_geometry.Host:
        started.append(self)
        return enter(self)

    monkeypatch.setattr(ifc_geometry.Host, "__enter__", entered)
    monkeypatch.setattr(ifc_geometry.Host, "submit", lambda self, tasks: None)

    def dismissed(fraction: float, message: str) -> None:
        raise Cancelled("dismissed")

    with reading.given(reading.Surroundings(progress=dismissed)), pytest.raises(Cancelled):
        list(ifc.read(model_file(step()), ifc.Options(**PLACED), Report()))  # type: ignore[arg-type]
    assert len(started) == 1
    assert started[0].process.poll() is not None
