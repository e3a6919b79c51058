"""Broken geometry and text inside a readable file: it costs the element, never the model, and is listed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ingest_bim.ifc import reader as ifc
from twin.errors import BadReference, UnreadableSource
from twin.model import Mesh, Report, Table

Step = Callable[..., str]
ModelFile = Callable[..., Path]
WALL = ("#130=IFCWALL('1000000000000000000003',$,'wall',$,$,#131,#132,$,.SOLIDWALL.);", "#131=IFCLOCALPLACEMENT(#40,#10);",
        "#132=IFCPRODUCTDEFINITIONSHAPE($,$,(#133));", "#133=IFCSHAPEREPRESENTATION(#2,'Body','{kind}',(#134));")  # fmt: skip


def read(path: Path, **options: object) -> tuple[Mesh, dict[str, Any], Report]:
    report = Report()
    chosen = {"vertical": "EGM96", "anchor_lonlat": "113.08,22.58,5", "workers": 1, "element_seconds": 5, **options}
    batches = list(ifc.read(path, ifc.Options(**chosen), report))  # type: ignore[arg-type]
    mesh = next(b for b in batches if isinstance(b, Mesh))
    return mesh, {b.name: b.rows.to_pylist() for b in batches if isinstance(b, Table)}, report


def drawn(mesh: Mesh) -> set[str]:
    return {mesh.ids[int(f)].as_py() for f in mesh.instance_feature}


def wall(*geometry: str, kind: str = "Brep") -> list[str]:
    return [line.format(kind=kind) for line in WALL] + list(geometry)


def brep(faces: list[list[tuple[float, float, float]]]) -> list[str]:
    """An IfcFacetedBrep of these faces, #134."""
    lines, names, step = [], [], 200
    for face in faces:
        points = []
        for x, y, z in face:
            lines.append(f"#{step}=IFCCARTESIANPOINT(({x!r},{y!r},{z!r}));")
            points.append(f"#{step}")
            step += 1
        lines += [f"#{step}=IFCPOLYLOOP(({','.join(points)}));", f"#{step + 1}=IFCFACEOUTERBOUND(#{step},.T.);", f"#{step + 2}=IFCFACE((#{step + 1}));"]
        names.append(f"#{step + 2}")
        step += 3
    return [*lines, f"#135=IFCCLOSEDSHELL(({','.join(names)}));", "#134=IFCFACETEDBREP(#135);"]


BOX = [[(0.0, 0.0, 0.0), (0.0, 1.0, 0.0), (1.0, 1.0, 0.0), (1.0, 0.0, 0.0)], [(0.0, 0.0, 1.0), (1.0, 0.0, 1.0), (1.0, 1.0, 1.0), (0.0, 1.0, 1.0)],
       [(0.0, 0.0, 0.0), (1.0, 0.0, 0.0), (1.0, 0.0, 1.0), (0.0, 0.0, 1.0)], [(1.0, 1.0, 0.0), (0.0, 1.0, 0.0), (0.0, 1.0, 1.0), (1.0, 1.0, 1.0)],
       [(0.0, 0.0, 0.0), (0.0, 0.0, 1.0), (0.0, 1.0, 1.0), (0.0, 1.0, 0.0)], [(1.0, 0.0, 0.0), (1.0, 1.0, 0.0), (1.0, 1.0, 1.0), (1.0, 0.0, 1.0)]]  # fmt: skip


def broken(case: str) -> list[str]:
    faces = [list(face) for face in BOX]
    if case == "not planar":
        faces[1][2] = (1.0, 1.0, 1.7)
        faces[3][3] = faces[5][2] = (1.0, 1.0, 1.7)
    elif case == "crossing itself":
        faces[1] = [faces[1][0], faces[1][2], faces[1][1], faces[1][3]]
    elif case == "a face is missing":
        faces.pop()
    elif case == "no area":
        faces = [[(0.0, 0.0, 0.0), (1.0, 0.0, 0.0), (2.0, 0.0, 0.0)]] * 4
    elif case == "two corners":
        faces[0] = faces[0][:2]
    elif case == "huge":
        faces = [[(x * 1e12, y * 1e12, z * 1e12) for x, y, z in face] for face in faces]
    return brep(faces)


@pytest.mark.parametrize("case", ["not planar", "crossing itself", "a face is missing", "no area", "two corners", "huge"])
def test_a_broken_solid_is_drawn_or_listed(model_file: ModelFile, step: Step, case: str) -> None:
    mesh, _, report = read(model_file(step(*wall(*broken(case)))))
    listed = {n.feature for n in report.notes if n.action == "skipped"}
    assert {"1000000000000000000001", "1000000000000000000002"} <= drawn(mesh)
    assert ("1000000000000000000003" in drawn(mesh)) != ("1000000000000000000003" in listed)
    assert np.isfinite(mesh.positions).all()
    assert np.isfinite(mesh.transforms).all()


def test_an_opening_without_volume_cuts_nothing(model_file: ModelFile, step: Step) -> None:
    hole = ("#150=IFCOPENINGELEMENT('1000000000000000000009',$,'o',$,$,#151,#152,$,.OPENING.);", "#151=IFCLOCALPLACEMENT(#111,#10);",
            "#152=IFCPRODUCTDEFINITIONSHAPE($,$,(#153));", "#153=IFCSHAPEREPRESENTATION(#2,'Body','SweptSolid',(#154));",
            "#154=IFCEXTRUDEDAREASOLID(#155,#10,#12,{depth});", "#155=IFCRECTANGLEPROFILEDEF(.AREA.,$,#61,{side},{side});",
            "#156=IFCRELVOIDSELEMENT('1000000000000000000008',$,$,$,#110,#150);")  # fmt: skip
    for depth, side in (("1.E-9", "0.5"), ("1.", "1.E-9"), ("0.", "0.")):
        mesh, _, report = read(model_file(step(*(line.format(depth=depth, side=side) for line in hole))))
        assert "1000000000000000000002" in drawn(mesh), [n.reason for n in report.notes]
        points = mesh.positions
        np.testing.assert_allclose([points.min(0), points.max(0)], [[-1, -0.5, 0], [1, 0.5, 3]], atol=2e-6)


def test_an_opening_that_takes_all_leaves_a_listed_element(model_file: ModelFile, step: Step) -> None:
    hole = ("#150=IFCOPENINGELEMENT('1000000000000000000009',$,'o',$,$,#151,#152,$,.OPENING.);", "#151=IFCLOCALPLACEMENT(#111,#10);",
            "#152=IFCPRODUCTDEFINITIONSHAPE($,$,(#153));", "#153=IFCSHAPEREPRESENTATION(#2,'Body','SweptSolid',(#154));",
            "#154=IFCEXTRUDEDAREASOLID(#155,#10,#12,9.);", "#155=IFCRECTANGLEPROFILEDEF(.AREA.,$,#61,9.,9.);",
            "#156=IFCRELVOIDSELEMENT('1000000000000000000008',$,$,$,#110,#150);")  # fmt: skip
    mesh, _, report = read(model_file(step(*hole)))
    assert drawn(mesh) == {"1000000000000000000001"}
    assert "1000000000000000000002" in {n.feature for n in report.notes if n.action == "skipped"}


@pytest.mark.parametrize(
    ("written", "meant"),
    [("M\\S\\|ller", "Müller"), ("\\PA\\M\\S\\|ller", "Müller"), ("\\X\\FCber", "über"), ("\\X2\\67F14E00\\X0\\", "柱一"), ("\\X4\\00020000\\X0\\", "𠀀"),
     ("it''s", "it's"), ("back\\\\slash", "back\\slash")],
)  # fmt: skip
def test_every_way_to_write_a_letter_is_read(model_file: ModelFile, step: Step, written: str, meant: str) -> None:
    """ISO 10303-21:2016, 6.4.3: \\S\\ and \\P for the upper half of ISO 8859, \\X\\, \\X2\\ and \\X4\\ for code points."""
    mesh, _, _ = read(model_file(step(name=written)), kernel="none")
    assert meant in mesh.attributes.column("name").to_pylist()


@pytest.mark.parametrize("written", ["\\X2\\67F\\X0\\", "\\X2\\67F1", "\\X2\\ZZZZ\\X0\\", "\\S\\", "\\X4\\FFFFFFFF\\X0\\", "\\"])
def test_a_broken_escape_costs_a_letter_and_no_model(model_file: ModelFile, step: Step, written: str) -> None:
    mesh, _, _ = read(model_file(step(name=written + "end")), kernel="none")
    assert {"1000000000000000000001", "1000000000000000000002"} <= set(mesh.ids.to_pylist())


UNITS = (
    ("IFCMASSMEASURE(2.)", "#401=IFCSIUNIT(*,.MASSUNIT.,.KILO.,.GRAM.);", 2.0, "kg"), ("IFCPRESSUREMEASURE(2.)", "#401=IFCSIUNIT(*,.PRESSUREUNIT.,.MEGA.,.PASCAL.);", 2e6, "Pa"),
    ("IFCELECTRICCAPACITANCEMEASURE(2.)", "#401=IFCSIUNIT(*,.ELECTRICCAPACITANCEUNIT.,.MICRO.,.FARAD.);", 2e-6, "F"),
    ("IFCVOLUMEMEASURE(2.)", "#401=IFCSIUNIT(*,.VOLUMEUNIT.,.DECI.,.CUBIC_METRE.);", 2e-3, "m³"),
    ("IFCVOLUMETRICFLOWRATEMEASURE(36.)", "#401=IFCDERIVEDUNIT((#402,#403),.VOLUMETRICFLOWRATEUNIT.,$,$);\n#402=IFCDERIVEDUNITELEMENT(#6,1);\n"
     "#403=IFCDERIVEDUNITELEMENT(#404,-1);\n#404=IFCCONVERSIONBASEDUNIT(#405,.TIMEUNIT.,'HOUR',#406);\n#405=IFCDIMENSIONALEXPONENTS(0,0,1,0,0,0,0);\n"
     "#406=IFCMEASUREWITHUNIT(IFCTIMEMEASURE(3600.),#407);\n#407=IFCSIUNIT(*,.TIMEUNIT.,$,.SECOND.);", 0.01, "m³/s"),
    ("IFCMONETARYMEASURE(5.)", "#401=IFCMONETARYUNIT('CNY');", 5.0, "CNY"),
    ("IFCPLANEANGLEMEASURE(180.)", "#401=IFCCONVERSIONBASEDUNIT(#405,.PLANEANGLEUNIT.,'DEGREE',#406);\n#405=IFCDIMENSIONALEXPONENTS(0,0,0,0,0,0,0);\n"
     "#406=IFCMEASUREWITHUNIT(IFCPLANEANGLEMEASURE(0.017453292519943295),#407);\n#407=IFCSIUNIT(*,.PLANEANGLEUNIT.,$,.RADIAN.);", 3.141592653589793, "rad"),
    *(("IFCTHERMODYNAMICTEMPERATUREMEASURE(50.)", f"#401=IFCCONVERSIONBASEDUNITWITHOFFSET(#405,.THERMODYNAMICTEMPERATUREUNIT.,'FAHRENHEIT',#406,{offset});\n"
       f"#405=IFCDIMENSIONALEXPONENTS(0,0,0,0,1,0,0);\n#406=IFCMEASUREWITHUNIT(IFCRATIOMEASURE({factor}),#407);\n"
       f"#407=IFCSIUNIT(*,.THERMODYNAMICTEMPERATUREUNIT.,$,.{base}.);", 283.15, "K")
      # as IFC 4.3 and as IFC4 print it, the offset added first, and on °C: 50 °F are 10 °C
      for factor, offset, base in ((5 / 9, -459.67, "KELVIN"), (1.8, -459.67, "KELVIN"), (5 / 9, 459.67, "KELVIN"), (5 / 9, 32.0, "DEGREE_CELSIUS"))),
    ("IFCPRESSUREMEASURE(2.)", "#401=IFCCONVERSIONBASEDUNITWITHOFFSET(#405,.PRESSUREUNIT.,'bar above air',#406,-1.01325);\n#405=IFCDIMENSIONALEXPONENTS(-1,1,-2,0,0,0,0);\n"
     "#406=IFCMEASUREWITHUNIT(IFCPRESSUREMEASURE(1.E5),#407);\n#407=IFCSIUNIT(*,.PRESSUREUNIT.,$,.PASCAL.);", 301325.0, "Pa"),
    ("IFCACCELERATIONMEASURE(3.)", "", 3.0, "m/s²"), ("IFCLABEL('x')", "", None, ""), ("IFCCOUNTMEASURE(3)", "", 3.0, ""), ("IFCNORMALISEDRATIOMEASURE(0.5)", "", 0.5, ""),
)  # fmt: skip


@pytest.mark.parametrize(("value", "unit", "number", "symbol"), UNITS, ids=[f"{i} {u[0]}" for i, u in enumerate(UNITS)])
def test_every_kind_of_unit_becomes_si(model_file: ModelFile, step: Step, value: str, unit: str, number: float | None, symbol: str) -> None:
    """Prefixes, conversions, offsets, derived and monetary units, and measures for which the project states none."""
    lines = ("#400=IFCPROPERTYSINGLEVALUE('P',$," + value + ",$);", "#410=IFCPROPERTYSET('4000000000000000000001',$,'S',$,(#400));",
             "#411=IFCRELDEFINESBYPROPERTIES('4000000000000000000002',$,$,$,(#100),#410);", *([unit] if unit else []))  # fmt: skip
    text = step(*lines, units="#4,#5,#401" if unit else "#4,#5")
    _, tables, _ = read(model_file(text), kernel="none")
    row = next(r for r in tables["psets"] if r["property"] == "P")
    assert row["unit"] == symbol
    assert row["number"] == (None if number is None else pytest.approx(number))
    assert number is None or row["original"] == pytest.approx(float(value.split("(")[1].rstrip(").") or 0))


def test_weights_are_masses(model_file: ModelFile, step: Step) -> None:
    lines = ("#400=IFCQUANTITYWEIGHT('W',$,$,3.,$);", "#410=IFCELEMENTQUANTITY('4000000000000000000001',$,'Q',$,$,(#400));",
             "#411=IFCRELDEFINESBYPROPERTIES('4000000000000000000002',$,$,$,(#100),#410);", "#401=IFCSIUNIT(*,.MASSUNIT.,.MEGA.,.GRAM.);")  # fmt: skip
    _, tables, _ = read(model_file(step(*lines, units="#4,#5,#401")), kernel="none")
    assert [(r["number"], r["unit"], r["original"]) for r in tables["quantities"]] == [(3000.0, "kg", 3.0)]


def test_documents_constituents_colours_and_assignments(model_file: ModelFile, step: Step) -> None:
    lines = (
        "#400=IFCDOCUMENTINFORMATION('D-1','Fire report','text','http://x/d1.pdf',$,$,$,$,$,$,$,$,$,$,$,$,$);", "#401=IFCDOCUMENTREFERENCE($,'p. 3',$,$,#400);",
        "#402=IFCRELASSOCIATESDOCUMENT('4000000000000000000001',$,$,$,(#100),#401);",
        "#410=IFCMATERIAL('Glass',$,$);", "#411=IFCMATERIALCONSTITUENT('pane',$,#410,0.8,'Glazing');", "#412=IFCMATERIALCONSTITUENTSET('window',$,(#411));",
        "#413=IFCRELASSOCIATESMATERIAL('4000000000000000000002',$,$,$,(#100),#412);",
        "#414=IFCCOLOURRGB($,0.,0.5,1.);", "#415=IFCSURFACESTYLESHADING(#414,0.25);", "#416=IFCSURFACESTYLE('blue',.BOTH.,(#415));", "#417=IFCSTYLEDITEM($,(#416),$);",
        "#418=IFCSTYLEDREPRESENTATION(#2,$,$,(#417));", "#419=IFCMATERIALDEFINITIONREPRESENTATION($,$,(#418),#410);",
        "#430=IFCTASK('4000000000000000000003',$,'Pour',$,$,$,$,$,$,.F.,$,$,$);", "#431=IFCRELASSIGNSTOPROCESS('4000000000000000000004',$,$,$,(#100),$,#430,$);",
    )  # fmt: skip
    _, tables, _ = read(model_file(step(*lines)), kernel="none")
    assert [(r["id"], r["identification"], r["name"], r["location"]) for r in tables["documents"]] == [("1000000000000000000001", "D-1", "Fire report", "http://x/d1.pdf")] or [
        (r["identification"], r["location"]) for r in tables["documents"]] == [("p. 3", "http://x/d1.pdf")]  # fmt: skip
    constituent = next(r for r in tables["materials"] if r["id"] == "1000000000000000000001")
    assert (constituent["material"], constituent["kind"], constituent["fraction"], constituent["name"], constituent["color"]) == ("Glass", "constituent", 0.8, "pane", "#0080ff")
    assert ("4000000000000000000003", "1000000000000000000001") in {(r["from"], r["to"]) for r in tables["relations"]}


def test_the_line_that_is_no_step_is_quoted(model_file: ModelFile, step: Step) -> None:
    text = step()
    line = next(number for number, each in enumerate(text.splitlines(), 1) if each.startswith("#62="))
    with pytest.raises(UnreadableSource, match=rf"cannot be parsed: line {line} of it is no STEP \('#62 IFCCARTESIANPOINT"):
        read(model_file(text.replace("#62=IFC", "#62 IFC")))


def test_a_placement_that_is_relative_to_no_placement_costs_its_element(model_file: ModelFile, step: Step) -> None:
    """The kernels take it for the origin: the column stood there, and nothing was said."""
    text = step().replace("#101=IFCLOCALPLACEMENT(#40,#10)", "#101=IFCLOCALPLACEMENT(#60,#10)")
    mesh, _, report = read(model_file(text))
    assert drawn(mesh) == {"1000000000000000000002"}
    assert ["IfcColumn #100" in note.reason and "relative to #60, an IfcRectangleProfileDef and no placement" in note.reason for note in report.notes] == [True]


def test_messages_of_what_is_no_model(model_file: ModelFile, step: Step) -> None:
    """An error page of a download; a place that no number of digits makes clearer."""
    with pytest.raises(UnreadableSource, match="is an HTML page"):
        read(model_file("<!DOCTYPE html><html><body>404</body></html>"))
    with pytest.raises(BadReference, match=r"lie around 1e\+300, -0\.500, 0\.000 m, 1e\+297 km"):
        read(model_file(step().replace("#113=IFCCARTESIANPOINT((10.,0.,0.))", "#113=IFCCARTESIANPOINT((1.E300,0.,0.))")))
