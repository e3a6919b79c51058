"""Properties, quantities, units, tree and relations of made models, and what becomes of damaged ones."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ifcopenshell
import pytest

from ingest_bim.ifc import reader as ifc
from ingest_bim.ifc import singles as ifc_singles
from ingest_bim.ifc.properties import read_definitions
from ingest_bim.ifc.singles import Singles
from ingest_bim.ifc.step_access import parser
from ingest_bim.ifc.step_scan import StepText
from ingest_bim.ifc.structure import read_structure
from ingest_bim.ifc.units import Units
from ingest_bim.ifc.values import values_of
from twin.errors import BadInput
from twin.model import Mesh, Report

Step = Callable[..., str]
ModelFile = Callable[..., Path]
FIRST, SECOND = "1000000000000000000001", "1000000000000000000002"


class Read:
    """A model read: `rows` by id, tables as lists of dicts, the report."""

    def __init__(self, path: Path, **options: object) -> None:
        self.report = Report()
        chosen = {"kernel": "none", "vertical": "EGM96", "anchor_lonlat": "113.08,22.58,5", **options}
        self.rows: dict[str, dict[str, Any]] = {}
        self.tables: dict[str, list[dict[str, Any]]] = {}
        for batch in ifc.read(path, ifc.Options(**chosen), self.report):  # type: ignore[arg-type]
            if isinstance(batch, Mesh):
                for key, parent, row in zip(batch.ids.to_pylist(), batch.parents.to_pylist(), batch.attributes.to_pylist(), strict=True):
                    self.rows[key] = {**row, "parent": parent}
            else:
                self.tables[batch.name] = batch.rows.to_pylist()  # type: ignore[union-attr]

    def pset(self, key: str, name: str, prop: str) -> dict[str, Any]:
        found = [r for r in self.tables["psets"] if (r["id"], r["pset"], r["property"]) == (key, name, prop)]
        assert len(found) == 1, found
        return found[0]


PSET = (
    "#300=IFCPROPERTYSET('3000000000000000000001',$,'Pset_ColumnCommon',$,(#301,#302,#303,#304,#305,#306,#307,#308));",
    "#301=IFCPROPERTYSINGLEVALUE('IsExternal',$,IFCBOOLEAN(.T.),$);", "#302=IFCPROPERTYSINGLEVALUE('Slope',$,IFCPOSITIVELENGTHMEASURE(250.),$);",
    "#303=IFCPROPERTYSINGLEVALUE('Temperature',$,IFCTHERMODYNAMICTEMPERATUREMEASURE(20.),$);", "#304=IFCPROPERTYSINGLEVALUE('InFeet',$,IFCLENGTHMEASURE(10.),#320);",
    "#305=IFCPROPERTYENUMERATEDVALUE('Status',$,(IFCLABEL('NEW'),IFCLABEL('EXISTING')),$);",
    "#306=IFCPROPERTYBOUNDEDVALUE('Range',$,IFCLENGTHMEASURE(2000.),IFCLENGTHMEASURE(1000.),$,$);", "#307=IFCCOMPLEXPROPERTY('Paint',$,'Paint',(#309));",
    "#308=IFCPROPERTYSINGLEVALUE('Unknown',$,IFCLOGICAL(.U.),$);", "#309=IFCPROPERTYSINGLEVALUE('Colour',$,IFCLABEL('\\X2\\7EA2\\X0\\'),$);",
    "#310=IFCRELDEFINESBYPROPERTIES('3000000000000000000002',$,$,$,(#100),#300);",
    "#320=IFCCONVERSIONBASEDUNIT(#321,.LENGTHUNIT.,'FOOT',#322);", "#321=IFCDIMENSIONALEXPONENTS(1,0,0,0,0,0,0);",
    "#322=IFCMEASUREWITHUNIT(IFCLENGTHMEASURE(304.8),#4);",
    "#330=IFCELEMENTQUANTITY('3000000000000000000003',$,'Qto_ColumnBaseQuantities',$,$,(#331,#332,#333));", "#331=IFCQUANTITYLENGTH('Length',$,$,3000.,$);",
    "#332=IFCQUANTITYVOLUME('NetVolume',$,$,6.,$);", "#333=IFCQUANTITYCOUNT('Bolts',$,$,4,$);",
    "#340=IFCRELDEFINESBYPROPERTIES('3000000000000000000004',$,$,$,(#100),#330);",
    "#350=IFCCOLUMNTYPE('3000000000000000000005',$,'Type A',$,$,(#351),$,$,$,.COLUMN.);",
    "#351=IFCPROPERTYSET('3000000000000000000006',$,'Pset_ColumnCommon',$,(#352,#353));", "#352=IFCPROPERTYSINGLEVALUE('IsExternal',$,IFCBOOLEAN(.F.),$);",
    "#353=IFCPROPERTYSINGLEVALUE('FireRating',$,IFCLABEL('REI 90'),$);", "#354=IFCRELDEFINESBYTYPE('3000000000000000000007',$,$,$,(#100,#110),#350);",
)  # fmt: skip


@pytest.fixture
def model(model_file: ModelFile, step: Step) -> Read:
    return Read(model_file(step(*PSET, prefix=".MILLI.")))


def test_values_are_in_si_with_the_original_kept(model: Read) -> None:
    slope = model.pset(FIRST, "Pset_ColumnCommon", "Slope")
    assert (slope["number"], slope["unit"], slope["original"], slope["original_unit"]) == (0.25, "m", 250.0, "mm")
    assert model.pset(FIRST, "Pset_ColumnCommon", "Temperature")["number"] == pytest.approx(293.15)
    feet = model.pset(FIRST, "Pset_ColumnCommon", "InFeet")
    assert feet["number"] == pytest.approx(3.048)
    assert feet["original_unit"] == "FOOT"
    assert model.pset(FIRST, "Pset_ColumnCommon", "Range.LowerBound")["number"] == 1.0
    assert model.pset(FIRST, "Pset_ColumnCommon", "Range.UpperBound")["number"] == 2.0


def test_other_kinds_of_values(model: Read) -> None:
    assert model.pset(FIRST, "Pset_ColumnCommon", "Paint.Colour")["value"] == "红"
    assert json.loads(model.pset(FIRST, "Pset_ColumnCommon", "Status")["value"]) == ["NEW", "EXISTING"]
    assert model.pset(FIRST, "Pset_ColumnCommon", "Unknown")["value"] == "UNKNOWN"


def test_properties_without_a_value_are_there(model_file: ModelFile, step: Step) -> None:
    """Templates give elements properties that nobody has filled in: which ones is worth knowing."""
    kinds = {"Single": "IFCPROPERTYSINGLEVALUE('Single',$,$,$)", "Bounded": "IFCPROPERTYBOUNDEDVALUE('Bounded',$,$,$,$,$)",
             "Listed": "IFCPROPERTYLISTVALUE('Listed',$,$,$)", "Enumerated": "IFCPROPERTYENUMERATEDVALUE('Enumerated',$,$,$)"}  # fmt: skip
    lines = [f"#{301 + k}={text};" for k, text in enumerate(kinds.values())]
    read = Read(model_file(step("#300=IFCPROPERTYSET('3000000000000000000001',$,'Empty',$,(#301,#302,#303,#304));",
                                "#310=IFCRELDEFINESBYPROPERTIES('3000000000000000000002',$,$,$,(#100),#300);", *lines)))  # fmt: skip
    assert {r["property"] for r in read.tables["psets"]} == set(kinds)
    assert read.pset(FIRST, "Empty", "Bounded")["value"] is None


def test_occurrence_overrides_type(model: Read) -> None:
    assert (model.pset(FIRST, "Pset_ColumnCommon", "IsExternal")["value"], model.pset(FIRST, "Pset_ColumnCommon", "IsExternal")["source"]) == ("true", "occurrence")
    assert (model.pset(SECOND, "Pset_ColumnCommon", "IsExternal")["value"], model.pset(SECOND, "Pset_ColumnCommon", "IsExternal")["source"]) == ("false", "type")
    assert model.pset(FIRST, "Pset_ColumnCommon", "FireRating")["source"] == "type"
    assert model.rows[FIRST]["is_external"] is True
    assert model.rows[SECOND]["is_external"] is False
    assert model.rows[FIRST]["fire_rating"] == "REI 90"


def test_quantities(model: Read) -> None:
    rows = {r["quantity"]: r for r in model.tables["quantities"] if r["id"] == FIRST}
    assert (rows["Length"]["number"], rows["Length"]["unit"]) == (3.0, "m")
    assert (rows["NetVolume"]["number"], rows["NetVolume"]["unit"]) == (6.0, "m³")  # volumes of this model are in m³
    assert (rows["Bolts"]["number"], rows["Bolts"]["unit"]) == (4.0, "")
    assert (model.rows[FIRST]["length"], model.rows[FIRST]["volume"]) == (3.0, 6.0)


def test_nested_texts_for_items(model: Read) -> None:
    psets = json.loads(model.rows[FIRST]["psets"])["Pset_ColumnCommon"]
    assert psets["IsExternal"] is True
    assert psets["Slope"] == {"value": 0.25, "unit": "m"}
    assert json.loads(model.rows[FIRST]["quantities"])["Qto_ColumnBaseQuantities"]["Bolts"] == 4


def test_the_tree_is_complete(model: Read) -> None:
    project, site, building, storey = (f"000000000000000000000{n}" for n in (1, 2, 3, 4))
    assert model.rows[FIRST]["parent"] == storey
    assert [model.rows[i]["parent"] for i in (storey, building, site, project)] == [building, site, project, None]
    first = model.rows[FIRST]
    assert (first["site"], first["building"], first["storey"], first["type_name"], first["tag"]) == ("S", "B", "EG", "Type A", "T1")
    assert first["storey_elevation"] == pytest.approx(0.003)  # 3 of the model's millimetres
    edges = {(r["from"], r["relation"], r["to"]) for r in model.tables["relations"]}
    assert (storey, "contained", FIRST) in edges
    assert ("3000000000000000000005", "defines_by_type", FIRST) in edges
    kinds = {r["id"]: r for r in model.tables["types"]}
    assert kinds["3000000000000000000005"]["occurrences"] == 2


def test_ids_are_made_unique(model_file: ModelFile, step: Step) -> None:
    read = Read(model_file(step(second_id=FIRST)))
    assert {FIRST, f"{FIRST}~2"} <= set(read.rows)
    assert any(n.action == "repaired" and "repeats" in n.reason for n in read.report.notes)


def test_a_circle_in_the_tree_is_cut(model_file: ModelFile, step: Step) -> None:
    read = Read(model_file(step("#400=IFCRELAGGREGATES('4000000000000000000001',$,$,$,#22,(#1));")))
    assert any("circle" in n.reason for n in read.report.notes)
    seen, at = set(), FIRST
    while at is not None:
        assert at not in seen
        seen.add(at)
        at = read.rows[at]["parent"]


@pytest.mark.parametrize(
    "line",
    [
        "#400=IFCRELDEFINESBYPROPERTIES('4000000000000000000001',$,$,$,(#100),#999);",
        "#400=IFCRELDEFINESBYPROPERTIES('4000000000000000000001',$,$,$,(#999),#999);",
        "#400=IFCRELASSOCIATESMATERIAL('4000000000000000000001',$,$,$,(#100),#999);",
        "#400=IFCRELASSOCIATESCLASSIFICATION('4000000000000000000001',$,$,$,(#100),#999);",
        "#400=IFCRELAGGREGATES('4000000000000000000001',$,$,$,#999,(#100));",
        "#400=IFCMAPCONVERSION(#2,#999,1.,2.,3.,$,$,$);",
        "#400=IFCPROPERTYSET('4000000000000000000001',$,$,$,(#999));\n#401=IFCRELDEFINESBYPROPERTIES('4000000000000000000002',$,$,$,(#100),#400);",
        "#400=IFCCOLUMN('4000000000000000000001',$,$,$,$,#999,#999,$,$);",
        "#400=IFCCOLUMN($,$,$,$,$,$,$,$,$);",
        "#400=IFCNOSUCHTHING(1,2,3);",
        "#400=IFCPRESENTATIONLAYERASSIGNMENT($,$,(#999),$);",
    ],
)
def test_dangling_references_cost_no_model(model_file: ModelFile, step: Step, line: str) -> None:
    read = Read(model_file(step(line)), kernel="auto", element_seconds=5)
    assert {FIRST, SECOND} <= set(read.rows)
    assert read.rows[FIRST]["has_geometry"]


def test_ten_thousand_properties(model_file: ModelFile, step: Step) -> None:
    lines = [f"#{1000 + n}=IFCPROPERTYSINGLEVALUE('P{n}',$,IFCREAL({n}.),$);" for n in range(10_000)]
    refs = ",".join(f"#{1000 + n}" for n in range(10_000))
    read = Read(model_file(step(*lines, f"#400=IFCPROPERTYSET('4000000000000000000001',$,'Many',$,({refs}));",
                                "#401=IFCRELDEFINESBYPROPERTIES('4000000000000000000002',$,$,$,(#100,#110),#400);")))  # fmt: skip
    assert len(read.tables["psets"]) == 20_000
    assert json.loads(read.rows[SECOND]["psets"])["Many"]["P9999"] == 9999


def test_what_the_parser_says_is_noted_without_its_time(model_file: ModelFile, step: Step) -> None:
    text = step().replace(".COLUMN.", ".NOSUCHTHING.")
    notes = Read(model_file(text)).report.to_json()["notes"]
    said = [note["reason"] for note in notes if note["reason"].startswith("parser: ")]
    assert any("NOSUCHTHING" in text for text in said) and not any("[" in text for text in said), notes


def test_missing_units_are_said(model_file: ModelFile, step: Step) -> None:
    read = Read(model_file(step(units="#5")))
    assert any("length unit" in n.reason for n in read.report.notes)


def test_materials_and_classification(model_file: ModelFile, step: Step) -> None:
    read = Read(model_file(step(
        "#400=IFCMATERIAL('Concrete',$,$);", "#401=IFCMATERIAL('\\X2\\94A2\\X0\\',$,$);", "#402=IFCMATERIALLAYER(#400,200.,$,'core',$,$,$);",
        "#403=IFCMATERIALLAYER(#401,10.,$,$,$,$,$);", "#404=IFCMATERIALLAYERSET((#402,#403),$,$);",
        "#405=IFCRELASSOCIATESMATERIAL('4000000000000000000001',$,$,$,(#100),#404);",
        "#406=IFCCLASSIFICATION($,'2015',$,'Uniclass',$,$,$);", "#407=IFCCLASSIFICATIONREFERENCE('http://x','Ss_20','Columns',#406,$,$);",
        "#408=IFCRELASSOCIATESCLASSIFICATION('4000000000000000000002',$,$,$,(#110),#407);",
        "#409=IFCSYSTEM('4000000000000000000003',$,'Frame',$,$);", "#410=IFCRELASSIGNSTOGROUP('4000000000000000000004',$,$,$,(#100,#110),$,#409);",
        prefix=".MILLI.")))  # fmt: skip
    rows = [r for r in read.tables["materials"] if r["id"] == FIRST]
    assert [(r["material"], r["thickness"], r["position"]) for r in rows] == [("Concrete", 0.2, 1), ("钢", 0.01, 2)]
    assert read.rows[FIRST]["materials"] == "Concrete; 钢"
    code = next(r for r in read.tables["classifications"] if r["id"] == SECOND)
    assert (code["system"], code["edition"], code["code"], code["name"]) == ("Uniclass", "2015", "Ss_20", "Columns")
    assert read.rows[FIRST]["system"] == "Frame"
    assert "4000000000000000000003" in read.rows


def test_materials_have_properties_and_codes_a_path(model_file: ModelFile, step: Step) -> None:
    """A material's density in SI, a layer set's, and a reference three levels below its classification."""
    lines = ("#400=IFCMATERIAL('Steel',$,$);", "#401=IFCMATERIALPROPERTIES('Pset_MaterialCommon',$,(#402),#400);", "#402=IFCPROPERTYSINGLEVALUE('Size',$,IFCLENGTHMEASURE(7.5),$);",
             "#410=IFCCLASSIFICATION($,$,$,'Uniclass',$,$,$);", "#411=IFCCLASSIFICATIONREFERENCE($,'EF_25','Walls',#410,$,$);", "#412=IFCCLASSIFICATIONREFERENCE($,'EF_25_10',$,#411,$,$);",
             "#413=IFCCLASSIFICATIONREFERENCE($,'EF_25_10_30','Leaf',#412,$,$);", "#414=IFCRELASSOCIATESCLASSIFICATION('4000000000000000000001',$,$,$,(#100),#413);")  # fmt: skip
    model = Read(model_file(step(*lines, prefix=".MILLI.")))
    (row,) = model.tables["material_properties"]
    assert (row["material"], row["pset"], row["property"], row["number"], row["unit"], row["original"]) == ("Steel", "Pset_MaterialCommon", "Size", pytest.approx(0.0075), "m", 7.5)
    (code,) = [r for r in model.tables["classifications"] if r["id"] == FIRST]
    assert (code["system"], code["code"], code["path"]) == ("Uniclass", "EF_25_10_30", "EF_25 > EF_25_10 > EF_25_10_30")
    assert "material_properties" not in Read(model_file(step())).tables


def test_material_properties_of_ifc2x3(tmp_path: Path) -> None:
    """They are attributes of classes of their own there, or a list."""
    file = ifcopenshell.file(schema="IFC2X3")
    pressure = file.create_entity("IfcSIUnit", None, "PRESSUREUNIT", "MEGA", "PASCAL")
    unit = file.create_entity("IfcDerivedUnit", [file.create_entity("IfcDerivedUnitElement", pressure, 1)], "MODULUSOFELASTICITYUNIT")
    person = file.create_entity("IfcPersonAndOrganization", file.create_entity("IfcPerson"), file.create_entity("IfcOrganization", Name="o"))
    history = file.create_entity("IfcOwnerHistory", person, file.create_entity("IfcApplication", person.TheOrganization, "1", "a", "a"), ChangeAction="ADDED", CreationDate=0)
    file.create_entity("IfcProject", "0000000000000000000001", history, "P", UnitsInContext=file.create_entity("IfcUnitAssignment", [unit]))
    steel = file.create_entity("IfcMaterial", "Steel")
    file.create_entity("IfcMechanicalMaterialProperties", steel, YoungModulus=210000.0)
    listed = file.create_entity("IfcPropertySingleValue", "Grade", None, file.create_entity("IfcLabel", "S355"))
    file.create_entity("IfcExtendedMaterialProperties", steel, [listed], None, "Own")
    file.write(str(tmp_path / "a.ifc"))
    found = {(r["pset"], r["property"]): (r["material"], r["value"], r["number"], r["unit"]) for r in Read(tmp_path / "a.ifc").tables["material_properties"]}
    assert found == {("IfcMechanicalMaterialProperties", "YoungModulus"): ("Steel", "210000.0", 2.1e11, "Pa"), ("Own", "Grade"): ("Steel", "S355", None, "")}


@pytest.mark.parametrize("options", [{"anchor": "1,x"}, {"kernel": "magic"}, {"element_seconds": 0}, {"nonsense": 1}, {"origin": "1;2"}])
def test_bad_options(options: dict[str, object]) -> None:
    from twin.registry import parse_options

    with pytest.raises(BadInput):
        parse_options(ifc.Options, options, "ifc")


def test_quantities_of_the_text_are_those_of_the_parser(model_file: ModelFile, step: Step) -> None:
    """Every way of writing one, odd ones too: read from the text where that is plain, else by the parser, which reads all of them here for comparison."""
    lines = [
        "#331=IFCQUANTITYLENGTH('Length',$,$,3000.,$);", "#332=IFCQUANTITYAREA('Area','it''s',#370,-1.5E-3,'l*w');", "#333=IFCQUANTITYCOUNT('Bolts',$,$,4,$);",
        "#334= IFCQUANTITYVOLUME ( 'NetVolume' , $ , $ , 6.25 , $ ) ;", "#335=IFCQUANTITYWEIGHT('\\X2\\91CD\\X0\\',$,$,7.,$);", "#336=IFCQUANTITYTIME('T',$,$,1.E3,$);",
        "#337=IFCPHYSICALCOMPLEXQUANTITY('Layer',$,(#331,#334),'layer',$,$);", "#338=IFCQUANTITYLENGTH('Whole',$,$,12,$);",
        "#370=IFCSIUNIT(*,.AREAUNIT.,.MILLI.,.SQUARE_METRE.);",
        "#330=IFCELEMENTQUANTITY('3000000000000000000003',$,'Qto',$,$,(#331,#332,#333,#334,#335,#336,#337,#338));",
        "#340=IFCRELDEFINESBYPROPERTIES('3000000000000000000004',$,$,$,(#100),#330);",
    ]  # fmt: skip
    opened = parser().open(str(model_file(step(*lines, prefix=".MILLI."))))
    text = StepText(model_file(step(*lines, prefix=".MILLI.")).read_bytes())
    singles, ahead = Singles(text), Singles(text)
    ahead.read_ahead(lambda: False)
    singles.entity, singles.units = opened.by_id, Units(opened)
    assert [n for n, value in zip(range(331, 339), singles.of(range(331, 339), sizes=True), strict=True) if value is None] == [332, 333, 337, 338]
    found = []
    for source in (singles, ahead, None):
        report = Report()
        units = Units(opened)
        found.append((read_definitions(opened, read_structure(opened, report), units, report, source).quantities, report.notes))
    assert found[0] == found[1] == found[2]
    values = {value.name: value for value in values_of(found[0][0][100])}
    assert list(values) == ["Length", "Area", "Bolts", "NetVolume", "重", "T", "Layer.Length", "Layer.NetVolume", "Whole"]
    assert (values["Area"].number, values["Area"].unit) == (pytest.approx(-1.5e-9), "m²")
    assert (values["T"].number, values["T"].type) == (1000.0, "IfcTimeMeasure")


@pytest.mark.parametrize("block", [1, 3, 1024])
def test_values_are_read_many_at_a_time(model_file: ModelFile, step: Step, monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    """In blocks of any size, from a file whose names are in no order, the same text in several sets, with what only the parser can read between them, and a text with a zero byte."""
    monkeypatch.setattr(ifc_singles, "BLOCK", block)
    texts = [
        "'a',$,IFCINTEGER(7),$", "'a',$,IFCINTEGER(7),$", "'b',$,IFCINTEGER(-9223372036854775808),$", "'c',$,IFCINTEGER(9223372036854775808),$", "'d',$,$,$", "'e','x',$,#370",
        "'f',$,IFCLOGICAL(.T.),$", "'g',$,IFCCOUNTMEASURE(4),$", "'h',$,IFCLENGTHMEASURE(3.),#370", "'i',$,IFCLENGTHMEASURE(3.),#999", "'j',$,IFCREAL(1.E99),$", "'k',$,IFCLABEL(''),$",
        "'l',$,IFCREAL(2),$", "'m\\X\\E4',$,IFCLABEL('\\X\\FC\\X\\27\\X2\\67F1\\X0\\'),$", "'n',$,IFCLABEL('\\S\\d'),$", "'',$,IFCLABEL('no name'),$", "'o',$,IFCINTEGER(12345678901234567890),$",
    ]  # fmt: skip
    names = [300 + (at * 7) % len(texts) for at in range(len(texts))]
    members = ",".join(f"#{name}" for name in names)
    sets = [f"#33{at}=IFCPROPERTYSET('300000000000000000000{at}',$,'{title}',$,({members}));" for at, title in enumerate(("A", "B"))]
    sets += [f"#34{at}=IFCRELDEFINESBYPROPERTIES('300000000000000000001{at}',$,$,$,(#100),#33{at});" for at in (0, 1)]
    lines = [f"#{name}=IFCPROPERTYSINGLEVALUE({text});" for name, text in zip(names, texts, strict=True)]
    path = model_file(step(*lines, *sets, "#370=IFCSIUNIT(*,.LENGTHUNIT.,.MILLI.,.METRE.);"))
    opened, found = parser().open(str(path)), []
    for source in (Singles(StepText(path.read_bytes())), None):
        report = Report()
        found.append((read_definitions(opened, read_structure(opened, report), Units(opened), report, source).psets[100], report.notes))
    assert repr(found[0]) == repr(found[1])  # 7 and 7.0 are not the same here
    values = {value.name: value for value in found[0][0][0][0].values}
    assert (values["a"].text, values["b"].plain, values["d"].text, values["h"].number) == ("7", -(1 << 63), None, pytest.approx(0.003))
    assert (values["mä"].text, values["k"].text) == ("ü'柱", "")


def test_letters_of_8_bits_are_the_parser_s(model_file: ModelFile, step: Step) -> None:
    lines = [f"#{400 + code}=IFCPROPERTYSINGLEVALUE('p',$,IFCLABEL('a\\X\\{code:02X}b'),$);" for code in range(256)]
    path = model_file(step(*lines))
    opened, singles = parser().open(str(path)), Singles(StepText(path.read_bytes()))
    singles.entity, singles.units = opened.by_id, Units(opened)
    found = {400 + code: value.text for code, value in enumerate(singles.of(range(400, 656), sizes=False)) if value is not None}
    assert sorted(found) == list(range(401, 656))
    assert found == {name: opened.by_id(name).NominalValue.wrappedValue for name in found}


def test_a_zero_byte_is_no_end_of_a_text() -> None:
    text = StepText(b"#1=IFCPROPERTYSINGLEVALUE('a',$,IFCLABEL('x\0y'),$);#2=IFCPROPERTYSINGLEVALUE('b',$,$,$);")
    assert [None if value is None else value.name for value in Singles(text).of((1, 2), sizes=False)] == [None, "b"]


def test_what_is_read_ahead_of_the_parser_is_the_same(model_file: ModelFile, step: Step) -> None:
    lines = [
        "#300=IFCPROPERTYSINGLEVALUE('Width',$,IFCLENGTHMEASURE(300.),$);", "#301=IFCPROPERTYSINGLEVALUE('Fire','d',IFCLABEL('REI 30'),$);", "#302=IFCPROPERTYSINGLEVALUE('Odd',$,IFCLABEL('it''s'),$);",
        "#303=IFCPROPERTYSET('3000000000000000000003',$,'Pset_A',$,(#300,#301,#302));", "#304=IFCRELDEFINESBYPROPERTIES('3000000000000000000004',$,$,$,(#100,#110),#303);",
        "#305=IFCPROPERTYSET('3000000000000000000005',$,'it''s',$,(#300));", "#306=IFCRELDEFINESBYPROPERTIES('3000000000000000000006',$,$,$,(#110),#305);",
    ]  # fmt: skip
    path = model_file(step(*lines, prefix=".MILLI."))
    opened, text = parser().open(str(path)), StepText(path.read_bytes())
    found = []
    for moments in (0, 1, 2, 3, 4, 99):  # the model is opened at once, or later and later
        left = iter(range(moments))
        singles = Singles(text)
        singles.read_ahead(lambda left=left: next(left, None) is None)
        assert (singles._relations is not None) == (moments > 0)
        assert len(singles._found) == (1 if moments > 3 else 0)
        found.append(read_definitions(opened, read_structure(opened, Report()), Units(opened), Report(), singles))
    assert all(one == found[0] for one in found[1:])
    assert [(value.name, value.number) for value in values_of(found[0].psets[110])] == [("Width", 0.3), ("Fire", None), ("Odd", None), ("Width", 0.3)]
