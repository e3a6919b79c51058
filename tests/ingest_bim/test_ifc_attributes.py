"""What classes state of themselves, what relations do, and what else of a model used to be lost without a word."""

from __future__ import annotations

import json
from pathlib import Path

import ifcopenshell
import ifcopenshell.guid
import pytest

from ingest_bim.ifc.attributes import COMMON
from ingest_bim.ifc.beside import _candidates
from ingest_bim.ifc.step_scan import StepText
from tests.ingest_bim.test_ifc_properties import FIRST, SECOND, ModelFile, Read, Step
from twin import grading

SITE = "0000000000000000000002"
LINES = (
    "#400=IFCDOOR('4000000000000000000001',$,'D',$,$,#101,$,$,2100.,900.,.DOOR.,.SINGLE_SWING_LEFT.,$);",
    "#401=IFCDISTRIBUTIONPORT('4000000000000000000002',$,'port',$,$,#101,$,.SOURCE.,.PIPE.,.WATERSUPPLY.);",
    "#402=IFCTASK('4000000000000000000003',$,'pour','concrete',$,'T1',$,'started',$,.F.,3,$,.CONSTRUCTION.);",
    "#403=IFCRELASSIGNSTOPROCESS('4000000000000000000004',$,$,$,(#100),$,#402,$);",
    "#404=IFCBUILDING('4000000000000000000005',$,'B2',$,$,#35,$,$,.ELEMENT.,4000.,$,#405);", "#405=IFCPOSTALADDRESS($,$,$,$,('Road 1'),$,'\\X2\\6C5F95E8\\X0\\',$,'529000','CN');",
    "#406=IFCGRID('4000000000000000000006',$,'G',$,$,#101,$,(#407),(#408),$,.RECTANGULAR.);", "#407=IFCGRIDAXIS('A',#409,.T.);", "#408=IFCGRIDAXIS('1',#409,.T.);",
    "#409=IFCPOLYLINE((#62,#410));", "#410=IFCCARTESIANPOINT((5.,0.));",
    "#411=IFCRELCONNECTSPATHELEMENTS('4000000000000000000007',$,$,$,$,#100,#110,(),(),.ATEND.,.ATSTART.);",
    "#412=IFCRELASSIGNSTOGROUPBYFACTOR('4000000000000000000008',$,$,$,(#100),$,#413,0.5);", "#413=IFCGROUP('4000000000000000000009',$,'G',$,$);",
    "#414=IFCRELASSOCIATESAPPROVAL('400000000000000000000A',$,$,$,(#100),#415);", "#415=IFCAPPROVAL('1','ok',$,$,$,$,$,$,$);",
    "#416=IFCRELASSOCIATESMATERIAL('400000000000000000000B',$,$,$,(#100),#417);", "#417=IFCMATERIALPROFILESET('set',$,(#418),$);",
    "#418=IFCMATERIALPROFILE('web',$,#419,#420,$,$);", "#419=IFCMATERIAL('steel',$,$);", "#420=IFCRECTANGLEPROFILEDEF(.AREA.,'RHS 100',#61,2.,1.);",
)  # fmt: skip


@pytest.fixture
def model(model_file: ModelFile, step: Step) -> Read:
    return Read(model_file(step(*LINES, prefix=".MILLI.", lat="(22,30,0,0)", lon="(113,0,0,0)", elevation="2500.")))


def test_what_a_class_states_is_found_by_a_query(model: Read) -> None:
    found = {(row["id"][-1] if row["id"] != SITE else "site", row["attribute"]): row for row in model.tables["attributes"]}
    door = found["1", "OverallHeight"]
    assert (door["class"], door["number"], door["unit"], door["original"], door["original_unit"]) == ("IfcDoor", 2.1, "m", 2100.0, "mm")
    assert found["1", "OperationType"]["value"] == "SINGLE_SWING_LEFT" and found["2", "FlowDirection"]["value"] == "SOURCE"
    assert found["2", "SystemType"]["value"] == "WATERSUPPLY" and found["5", "ElevationOfRefHeight"]["number"] == 4.0
    address = json.loads(found["5", "BuildingAddress"]["value"])
    assert address["Town"] == "江门" and address["AddressLines"] == ["Road 1"]
    assert found["site", "RefElevation"]["number"] == 2.5 and json.loads(found["site", "RefLatitude"]["value"]) == [22, 30, 0, 0]
    assert json.loads(found["6", "UAxes"]["value"]) == ["A"] and json.loads(found["6", "VAxes"]["value"]) == ["1"]


def test_what_is_no_feature_has_its_name_there(model: Read) -> None:
    """Tasks, actors, costs and resources: relations name them by id."""
    task = {row["attribute"]: row["value"] for row in model.tables["attributes"] if row["class"] == "IfcTask"}
    assert (task["Name"], task["Description"], task["Status"], task["PredefinedType"], task["Priority"]) == ("pour", "concrete", "started", "CONSTRUCTION", "3")
    (relation,) = [row for row in model.tables["relations"] if row["ifc"] == "IfcRelAssignsToProcess"]
    assert relation["from"] in {row["id"] for row in model.tables["attributes"] if row["class"] == "IfcTask"} and relation["to"] == FIRST


def test_what_relations_state_of_themselves(model: Read) -> None:
    details = {row["ifc"]: row["detail"] for row in model.tables["relations"]}
    assert json.loads(details["IfcRelConnectsPathElements"]) == {"RelatedConnectionType": "ATEND", "RelatingConnectionType": "ATSTART"}
    assert json.loads(details["IfcRelAssignsToGroupByFactor"]) == {"Factor": 0.5} and details["IfcRelAggregates"] is None


def test_what_relations_name_beside_their_ends(model_file: ModelFile, step: Step) -> None:
    """The bolts of a joint, the lag between tasks, an actor's role: what had attributes of its own was left out. Where a connection lies is geometry and stays out."""
    lines = (
        "#500=IFCMECHANICALFASTENER('5000000000000000000001',$,'bolt',$,$,#101,$,$,$,$,.BOLT.);",
        "#501=IFCRELCONNECTSWITHREALIZINGELEMENTS('5000000000000000000002',$,$,$,#505,#100,#110,(#500),'bolted');", "#505=IFCCONNECTIONPOINTGEOMETRY(#11,$);",
        "#510=IFCTASK('5000000000000000000003',$,'a',$,$,$,$,$,$,.F.,$,$,$);", "#511=IFCTASK('5000000000000000000004',$,'b',$,$,$,$,$,$,.F.,$,$,$);",
        "#512=IFCRELSEQUENCE('5000000000000000000005',$,$,$,#510,#511,#513,.FINISH_START.,$);", "#513=IFCLAGTIME('cure',$,$,IFCDURATION('P3D'),.WORKTIME.);",
        "#520=IFCACTOR('5000000000000000000006',$,'Office',$,$,#521);", "#521=IFCORGANIZATION($,'Office',$,$,$);",
        "#522=IFCRELASSIGNSTOACTOR('5000000000000000000007',$,$,$,(#100),$,#520,#523);", "#523=IFCACTORROLE(.STRUCTURALENGINEER.,$,$);",
        "#530=IFCEXTERNALREFERENCERELATIONSHIP($,$,#531,(#532));", "#531=IFCCLASSIFICATIONREFERENCE($,'Ss_20','Steel',$,$,$);", "#532=IFCMATERIAL('steel',$,$);",
    )  # fmt: skip
    read = Read(model_file(step(*lines)))
    details = {row["ifc"]: json.loads(row["detail"]) for row in read.tables["relations"] if row["detail"]}
    assert details["IfcRelConnectsWithRealizingElements"] == {"RealizingElements": ["5000000000000000000001"], "ConnectionType": "bolted"}
    assert details["IfcRelSequence"] == {"TimeLag": {"Name": "cure", "LagValue": "P3D", "DurationType": "WORKTIME"}, "SequenceType": "FINISH_START"}
    assert details["IfcRelAssignsToActor"] == {"ActingRole": {"Role": "STRUCTURALENGINEER"}}
    assert any("1 IfcExternalReferenceRelationship: classifications and documents of materials" in note.reason for note in read.report.notes)


def test_sections_of_profiles_and_associations_of_other_kinds(model: Read) -> None:
    (row,) = model.tables["materials"]
    assert (row["id"], row["material"], row["name"], row["section"]) == (FIRST, "steel", "web", "RHS 100")
    (row,) = model.tables["associations"]
    assert (row["id"], row["ifc"], row["name"], row["source"]) == (FIRST, "IfcRelAssociatesApproval", "ok", "occurrence") and json.loads(row["detail"]) == {"Identifier": "1", "Name": "ok"}


def test_coverings_of_spaces_and_definitions_that_are_not_read(model_file: ModelFile, step: Step) -> None:
    """IFC2x3 calls both ends of IfcRelCoversSpaces `Related…`."""
    lines = ("#300=IFCSPACE('3000000000000000000001',$,'room',$,$,#40,$,$,.ELEMENT.,.INTERNAL.,$);", "#301=IFCCOVERING('3000000000000000000002',$,'tiles',$,$,#40,$,$,.FLOORING.);",
             "#302=IFCRELCOVERSSPACES('3000000000000000000003',$,$,$,#300,(#301));", "#303=IFCPROPERTYSINGLEVALUE('a',$,IFCREAL(1.),$);",
             "#304=IFCPROPERTYSET('3000000000000000000004',$,'P',$,(#303));", "#305=IFCRELOVERRIDESPROPERTIES('3000000000000000000005',$,$,$,(#100),#304,(#303));")  # fmt: skip
    read = Read(model_file(step(*lines, schema="IFC2X3")))
    assert [(row["from"][-1], row["to"][-1]) for row in read.tables["relations"] if row["ifc"] == "IfcRelCoversSpaces"] == [("1", "2")]
    assert any("1 IfcRelOverridesProperties" in note.reason for note in read.report.notes if note.action == "skipped")


def test_a_grid_is_listed_as_not_drawn(model_file: ModelFile, step: Step) -> None:
    read = Read(model_file(step(*LINES)), kernel="opencascade")
    assert ("4000000000000000000006", "IfcGrid #406: its shape is not drawn: its axes are lines.") in {(n.feature, n.reason) for n in read.report.notes}


def test_a_port_with_a_shape_is_listed_as_not_drawn(model_file: ModelFile, step: Step) -> None:
    read = Read(model_file(step("#300=IFCDISTRIBUTIONPORT('3000000000000000000001',$,$,$,$,#40,#104,.SOURCE.,$,$);")))
    assert [note.feature for note in read.report.notes if "it is a port" in note.reason] == ["3000000000000000000001"]


def test_the_unit_of_an_enumeration(model_file: ModelFile, step: Step) -> None:
    """Its values are in the unit that the enumeration states; objects without a name are told in full."""
    lines = ("#300=IFCPROPERTYSET('3000000000000000000001',$,'P',$,(#301,#302));", "#301=IFCPROPERTYENUMERATEDVALUE('size',$,(IFCLENGTHMEASURE(2.)),#303);",
             "#302=IFCPROPERTYREFERENCEVALUE('who',$,$,#307);", "#303=IFCPROPERTYENUMERATION('sizes',(IFCLENGTHMEASURE(1.),IFCLENGTHMEASURE(2.)),#304);",
             "#304=IFCCONVERSIONBASEDUNIT(#305,.LENGTHUNIT.,'INCH',#306);", "#305=IFCDIMENSIONALEXPONENTS(1,0,0,0,0,0,0);", "#306=IFCMEASUREWITHUNIT(IFCLENGTHMEASURE(25.4),#4);",
             "#307=IFCPERSON('7','Li','Wei',$,$,$,$,$);", "#310=IFCRELDEFINESBYPROPERTIES('3000000000000000000002',$,$,$,(#110),#300);")  # fmt: skip
    read = Read(model_file(step(*lines, prefix=".MILLI.")))
    size = read.pset(SECOND, "P", "size")
    assert (size["number"], size["unit"], size["original_unit"]) == (pytest.approx(0.0508), "m", "INCH")
    assert json.loads(read.pset(SECOND, "P", "who")["value"]) == {"Identification": "7", "FamilyName": "Li", "GivenName": "Wei"}


def test_what_properties_refer_to_is_told_in_full(model_file: ModelFile, step: Step) -> None:
    """A table and a time series are what they list; a table of a property has its formula."""
    lines = ("#300=IFCPROPERTYSET('3000000000000000000001',$,'P',$,(#301,#302,#303));", "#310=IFCRELDEFINESBYPROPERTIES('3000000000000000000002',$,$,$,(#110),#300);",
             "#301=IFCPROPERTYREFERENCEVALUE('table',$,$,#304);", "#304=IFCTABLE('T',(#305,#306),(#307));", "#305=IFCTABLEROW((IFCLABEL('width')),.T.);",
             "#306=IFCTABLEROW((IFCLENGTHMEASURE(2.)),.F.);", "#307=IFCTABLECOLUMN('c',$,$,#4,$);",
             "#302=IFCPROPERTYREFERENCEVALUE('series',$,$,#308);", "#308=IFCIRREGULARTIMESERIES('S',$,'2024-01-01T00:00:00','2024-01-02T00:00:00',.CONTINUOUS.,.MEASURED.,$,$,(#309));",
             "#309=IFCIRREGULARTIMESERIESVALUE('2024-01-01T01:00:00',(IFCREAL(1.5)));",
             "#303=IFCPROPERTYTABLEVALUE('curve',$,(IFCREAL(1.)),(IFCREAL(3.)),'y = 3 x',$,$,$);")  # fmt: skip
    read = Read(model_file(step(*lines)))
    table = json.loads(read.pset(SECOND, "P", "table")["value"])
    assert table["Rows"] == [{"RowCells": ["width"], "IsHeading": True}, {"RowCells": [2.0], "IsHeading": False}] and table["Columns"][0]["Unit"]["Name"] == "METRE"
    series = json.loads(read.pset(SECOND, "P", "series")["value"])
    assert series["Name"] == "S" and series["Values"] == [{"TimeStamp": "2024-01-01T01:00:00", "ListValues": [1.5]}]
    assert read.pset(SECOND, "P", "curve.Expression")["value"] == "y = 3 x"


def test_times_costs_loads_and_actors(model_file: ModelFile, step: Step) -> None:
    """What an object states by instances that are no objects is told as JSON; textures, which are not drawn, are said."""
    lines = ("#300=IFCTASK('3000000000000000000001',$,'build',$,$,'T1',$,$,$,.F.,5,#301,.CONSTRUCTION.);",
             "#301=IFCTASKTIME($,.PREDICTED.,$,$,'P5D','2024-01-01',$,$,$,$,$,$,$,$,$,$,$,$,$,$);", "#302=IFCCOSTITEM('3000000000000000000002',$,'cost',$,$,$,$,(#303),(#304));",
             "#303=IFCCOSTVALUE('v',$,IFCMONETARYMEASURE(100.),$,$,$,$,$,$,$);", "#304=IFCQUANTITYCOUNT('n',$,$,5,$);", "#305=IFCACTOR('3000000000000000000003',$,'actor',$,$,#306);",
             "#306=IFCORGANIZATION($,'Org',$,$,$);", "#307=IFCSTRUCTURALPOINTACTION('3000000000000000000004',$,'act',$,$,#40,$,#308,.GLOBAL_COORDS.,$);",
             "#308=IFCSTRUCTURALLOADSINGLEFORCE('F',1.,2.,3.,$,$,$);", "#309=IFCIMAGETEXTURE(.T.,.T.,$,$,$,'brick.png');")  # fmt: skip
    read = Read(model_file(step(*lines)))
    found = {(row["id"][-1], row["attribute"]): json.loads(row["value"]) for row in read.tables["attributes"] if (row["value"] or "")[:1] in "[{"}
    assert found == {
        ("1", "TaskTime"): {"DataOrigin": "PREDICTED", "ScheduleDuration": "P5D", "ScheduleStart": "2024-01-01"}, ("2", "CostValues"): [{"Name": "v", "AppliedValue": 100.0}],
        ("2", "CostQuantities"): [{"Name": "n", "CountValue": 5.0}], ("3", "TheActor"): {"Name": "Org"}, ("4", "AppliedLoad"): {"Name": "F", "ForceX": 1.0, "ForceY": 2.0, "ForceZ": 3.0},
    }  # fmt: skip
    assert any("1 IfcSurfaceTexture: textures are not kept" in note.reason for note in read.report.notes)


def test_sets_of_a_fixed_form_that_list_more_than_values(model_file: ModelFile, step: Step) -> None:
    lines = ("#300=IFCSOUNDPROPERTIES('3000000000000000000001',$,'sound',$,.T.,.DBA.,(#301));", "#301=IFCSOUNDVALUE('3000000000000000000002',$,$,$,$,125.,IFCSOUNDPRESSUREMEASURE(20.));",
             "#302=IFCRELDEFINESBYPROPERTIES('3000000000000000000003',$,$,$,(#110),#300);")  # fmt: skip
    read = Read(model_file(step(*lines, schema="IFC2X3")))
    assert (read.pset(SECOND, "sound", "IsAttenuating")["value"], read.pset(SECOND, "sound", "SoundScale")["value"]) == ("true", "DBA")
    (value,) = json.loads(read.pset(SECOND, "sound", "SoundValues")["value"])
    assert (value["Frequency"], value["SoundLevelSingleValue"]) == (125.0, 20.0)


def test_what_alignments_are_designed_by(model_file: ModelFile, step: Step) -> None:
    lines = ("#300=IFCALIGNMENTSEGMENT('3000000000000000000001',$,'arc',$,$,#40,$,#301);",
             "#301=IFCALIGNMENTHORIZONTALSEGMENT($,$,#302,0.5,-300000.,-300000.,120000.,$,.CIRCULARARC.);", "#302=IFCCARTESIANPOINT((1000.,2000.));")  # fmt: skip
    read = Read(model_file(step(*lines, schema="IFC4X3_ADD2", prefix=".MILLI.")))
    found = {row["attribute"]: (row["number"] if row["number"] is not None else row["value"], row["unit"]) for row in read.tables["attributes"] if row["id"] == "3000000000000000000001"}
    assert found == {
        "DesignParameters.StartPoint.X": (1.0, "m"), "DesignParameters.StartPoint.Y": (2.0, "m"), "DesignParameters.StartDirection": (0.5, "rad"),
        "DesignParameters.StartRadiusOfCurvature": (-300.0, "m"), "DesignParameters.EndRadiusOfCurvature": (-300.0, "m"),
        "DesignParameters.SegmentLength": (120.0, "m"), "DesignParameters.PredefinedType": ("CIRCULARARC", ""),
    }  # fmt: skip


def test_every_plain_attribute_of_a_real_model(shared_data: Path) -> None:
    """Against the parser's own listing: the same attributes of the same objects, no more and no fewer."""
    path = shared_data / "ifc" / "AC20-FZK-Haus.ifc"
    read = Read(path)
    theirs = set()
    for thing in ifcopenshell.open(str(path)).by_type("IfcObjectDefinition"):
        for name, value in thing.get_info(recursive=False, include_identifier=False).items():
            plain = value is not None and value != () and not isinstance(value, ifcopenshell.entity_instance) and not (isinstance(value, tuple) and hasattr(value[0], "is_a"))
            if name != "type" and name not in COMMON and plain:
                theirs.add((thing.GlobalId, thing.is_a(), name))
    ours = {(row["id"], row["class"], row["attribute"]) for row in read.tables["attributes"] if row["type"] != "IfcPostalAddress"}
    assert ours == theirs and len(ours) > 50


@pytest.mark.parametrize(("kinds", "grade"), [
    (("IfcGeographicElement,TERRAIN",), "CIM1"), (("IfcGeographicElement,VEGETATION",), "CIM2"), (("IfcGeotechnicalStratum,SOLID",), "CIM1"), (("IfcWall,SOLIDWALL",), "CIM6"),
    (("IfcWall,SOLIDWALL", "IfcGeographicElement,TERRAIN"), "CIM6"), (("IfcSpace,INTERNAL",), "CIM5"),
])  # fmt: skip
def test_grades_of_models_of_one_kind(tmp_path: Path, step: Step, kinds: tuple[str, ...], grade: str) -> None:
    """Ground is ground, a plant no building component, and a storey that only holds the tree together no room."""
    text = step(schema="IFC4X3_ADD2")
    model = ifcopenshell.file.from_string(text)
    first, second = model.by_type("IfcColumn")
    made = []
    for kind in kinds:
        name, predefined = kind.split(",")
        made.append(model.create_entity(name, ifcopenshell.guid.new(), ObjectPlacement=first.ObjectPlacement, Representation=first.Representation, PredefinedType=predefined))
    for relation in model.by_type("IfcRelContainedInSpatialStructure"):
        relation.RelatedElements = made
    model.remove(first)
    model.remove(second)
    model.write(str(tmp_path / "a.ifc"))
    read = Read(tmp_path / "a.ifc", kernel="auto")
    assert grading.grade("mesh", read.report.facts).value == grade


BESIDE = (
    "#500=IFCPROPERTYSINGLEVALUE('U','heat that goes through',IFCREAL(0.2),$);", "#501=IFCPROPERTYSINGLEVALUE('U','heat that goes through',IFCREAL(0.3),$);",
    "#502=IFCPROPERTYSINGLEVALUE('V',$,IFCREAL(0.3),$);", "#503=IFCPROPERTYREFERENCEVALUE('by',$,'maker',#504);", "#504=IFCORGANIZATION($,'ACME','makes it',$,$);",
    "#505=IFCCOMPLEXPROPERTY('paint',$,'outside',(#506));", "#506=IFCPROPERTYSINGLEVALUE('tone','of the coat',IFCLABEL('red'),$);",
    "#507=IFCPROPERTYENUMERATEDVALUE('state',$,(IFCLABEL('NEW')),#508);", "#508=IFCPROPERTYENUMERATION('states',(IFCLABEL('NEW'),IFCLABEL('OLD')),$);",
    "#510=IFCPROPERTYSET('5000000000000000000001',$,'P1','all of it',(#500,#502,#503,#505,#507));", "#511=IFCPROPERTYSET('5000000000000000000002',$,'P1','all of it',(#501));",
    "#512=IFCRELDEFINESBYPROPERTIES('5000000000000000000003',$,$,$,(#100),#510);", "#513=IFCRELDEFINESBYPROPERTIES('5000000000000000000004',$,$,$,(#110),#511);",
    "#520=IFCQUANTITYLENGTH('L',$,$,3.,'a+b');", "#521=IFCQUANTITYLENGTH('W',$,$,3.,$);", "#522=IFCELEMENTQUANTITY('5000000000000000000005',$,'Q1',$,'by rule',(#520,#521));",
    "#523=IFCRELDEFINESBYPROPERTIES('5000000000000000000006',$,$,$,(#100),#522);",
    "#530=IFCPRESENTATIONLAYERASSIGNMENT('A-1','columns',(#105),'id 7');", "#531=IFCSHAPEASPECT((#105),'shaft','of the column',.T.,#104);",
    "#540=IFCMATERIAL('brick','clay','masonry');", "#541=IFCMATERIALLAYER(#540,0.1,.T.,'core','within','LoadBearing',7);", "#542=IFCMATERIALLAYERSET((#541),'W10','a wall');",
    "#543=IFCMATERIALLAYERSETUSAGE(#542,.AXIS2.,.NEGATIVE.,0.05,$);", "#544=IFCRELASSOCIATESMATERIAL('5000000000000000000007',$,'of walls',$,(#100),#543);",
    "#550=IFCCLASSIFICATION('UN','2','2020-01-01','UniClass','of things',$,$);", "#551=IFCCLASSIFICATIONREFERENCE($,'C1','c',#550,'the first','s');",
    "#552=IFCRELASSOCIATESCLASSIFICATION('5000000000000000000008',$,$,$,(#100),#551);", "#553=IFCDOCUMENTINFORMATION('D1','plan',$,$,'to build',$,$,'B',$,$,$,$,$,$,$,$,$);",
    "#554=IFCRELASSOCIATESDOCUMENT('5000000000000000000009',$,$,$,(#100),#553);", "#555=IFCRELCONNECTSELEMENTS('500000000000000000000A',$,'bolted','with four',$,#100,#110);",
)  # fmt: skip


def test_what_is_stated_beside_values_is_kept(model_file: ModelFile, step: Step) -> None:
    read = Read(model_file(step(*BESIDE)))
    notes = [(row["set"], row["property"], row["attribute"], row["text"]) for row in read.tables["property_notes"]]
    assert sorted(notes) == sorted([  # of what is alike one
        ("P1", "", "Description", "all of it"), ("P1", "U", "Description", "heat that goes through"), ("P1", "by", "UsageName", "maker"),
        ("P1", "by", "PropertyReference", '{"Name":"ACME","Description":"makes it"}'), ("P1", "paint", "UsageName", "outside"), ("P1", "paint.tone", "Description", "of the coat"),
        ("P1", "state", "EnumerationReference", '{"Name":"states","EnumerationValues":["NEW","OLD"]}'), ("Q1", "", "MethodOfMeasurement", "by rule"), ("Q1", "L", "Formula", "a+b"),
    ])  # fmt: skip
    (layer,) = read.tables["layers"]
    assert (layer["layer"], layer["description"], layer["identifier"], layer["on"]) == ("A-1", "columns", "id 7", None)
    assert read.tables["aspects"] == [{"id": FIRST, "name": "shaft", "description": "of the column", "definitional": "true"}]


def test_whose_a_note_is_where_elements_differ(model_file: ModelFile, step: Step) -> None:
    """Two quantities of one name with formulas of their own, one of them within another; what all say alike names nobody. A type has its own, too."""
    lines = (
        *BESIDE, "#560=IFCQUANTITYLENGTH('L',$,$,4.,'c*d');", "#561=IFCELEMENTQUANTITY('500000000000000000000B',$,'Q1',$,'by rule',(#560));",
        "#562=IFCRELDEFINESBYPROPERTIES('500000000000000000000C',$,$,$,(#110),#561);",
        "#570=IFCPROPERTYSINGLEVALUE('tone','of the primer',IFCLABEL('red'),$);", "#571=IFCCOMPLEXPROPERTY('paint',$,'outside',(#570));",
        "#572=IFCPROPERTYSET('500000000000000000000D',$,'P1','all of it',(#571));", "#573=IFCWALLTYPE('500000000000000000000E',$,'T',$,$,(#572),$,$,$,.STANDARD.);",
    )  # fmt: skip
    notes = {(row["property"], row["text"]): row["ids"] and json.loads(row["ids"]) for row in Read(model_file(step(*lines))).tables["property_notes"]}
    assert (notes["L", "a+b"], notes["L", "c*d"]) == ([FIRST], [SECOND])
    assert (notes["paint.tone", "of the coat"], notes["paint.tone", "of the primer"]) == ([FIRST], ["500000000000000000000E"])
    assert {note: ids for note, ids in notes.items() if note[0] not in ("L", "paint.tone")} == dict.fromkeys([note for note in notes if note[0] not in ("L", "paint.tone")])


def test_what_associations_state_is_kept(model_file: ModelFile, step: Step) -> None:
    read = Read(model_file(step(*BESIDE)))
    (row,) = read.tables["materials"]
    assert (row["material"], row["name"], row["set"]) == ("brick", "core", "W10")
    assert json.loads(row["detail"]) == {
        "relationship": {"Name": "of walls"}, "usage": {"LayerSetDirection": "AXIS2", "DirectionSense": "NEGATIVE", "OffsetFromReferenceLine": 0.05}, "set": {"Description": "a wall"},
        "entry": {"IsVentilated": True, "Description": "within", "Category": "LoadBearing", "Priority": 7}, "material": {"Description": "clay", "Category": "masonry"},
    }  # fmt: skip
    (row,) = read.tables["classifications"]
    detail = json.loads(row["detail"])
    assert (row["code"], detail["Description"], detail["Sort"], detail["ReferencedSource"]["EditionDate"]) == ("C1", "the first", "s", "2020-01-01")
    (row,) = read.tables["documents"]
    assert (row["identification"], json.loads(row["detail"])) == ("D1", {"Purpose": "to build", "Revision": "B"})
    (row,) = [row for row in read.tables["relations"] if row["ifc"] == "IfcRelConnectsElements"]
    assert json.loads(row["detail"]) == {"Name": "bolted", "Description": "with four"}


def test_a_layer_usage_of_itself_is_said(model_file: ModelFile, step: Step) -> None:
    lines = ("#543=IFCMATERIALLAYERSETUSAGE(#543,.AXIS2.,.NEGATIVE.,0.05,$);", "#544=IFCRELASSOCIATESMATERIAL('5000000000000000000007',$,$,$,(#100),#543);")
    read = Read(model_file(step(*lines)))
    assert any("IfcRelAssociatesMaterial is damaged" in note.reason for note in read.report.notes)


def test_texts_alike_are_read_once(model_file: ModelFile, step: Step) -> None:
    """Descriptions of a thousand equal properties cost one instance of the parser's; of values that differ, too."""
    many = [f"#{1000 + i}=IFCPROPERTYSINGLEVALUE('U','heat',IFCREAL({i}.),$);" for i in range(1000)]
    path = model_file(step(*many, f"#900=IFCPROPERTYSET('5000000000000000000001',$,'P1',$,({','.join(f'#{1000 + i}' for i in range(1000))}));"))
    model, text = ifcopenshell.open(str(path)), StepText.of(path)
    assert len(list(_candidates(model, "IfcProperty", text, sets=False))) == 1
    assert len(list(_candidates(model, "IfcProperty", None, sets=False))) == 1000


def test_ifc_4_3_specifies_what_others_describe(model_file: ModelFile, step: Step) -> None:
    read = Read(model_file(step(*BESIDE, schema="IFC4X3_ADD2")))
    assert {(row["set"], row["property"], row["text"]) for row in read.tables["property_notes"] if row["attribute"] == "Specification"} == {
        ("P1", "U", "heat that goes through"), ("P1", "paint.tone", "of the coat")}  # fmt: skip
