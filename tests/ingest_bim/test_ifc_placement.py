"""Where models come to stand, against positions worked out here with pyproj alone."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ifcopenshell
import numpy as np
import pytest
from pyproj import Geod, Transformer

from ingest_bim.ifc import reader as ifc
from ingest_bim.ifc.map import crs_code, degrees, read_helmert, vertical_code
from ingest_bim.ifc.placement import Placement, Request, place
from ingest_bim.ifc.units import Units
from ingest_bim.meshfiles import reader as meshfile
from twin import crs
from twin.errors import BadOption, BadReference, MissingReference
from twin.model import ELLIPSOID, Report

Step = Callable[..., str]
UP = {"vertical": "EGM96"}
MAP = "#200=IFCPROJECTEDCRS({name},$,$,{vertical},$,$,{unit});"
CONVERSION = "#201=IFCMAPCONVERSION(#2,#200,{e},{n},{h},{x},{y},{scale});"


def placed(model: ifcopenshell.file, report: Report | None = None, **request: object) -> Placement:
    return place(model, Units(model).length, Request(**{**UP, **request}), report or Report(), "test.ifc")  # type: ignore[arg-type]


def at(placement: Placement, *point: float) -> np.ndarray:
    return (placement.matrix @ np.array([*point, 1.0]))[:3]


def lonlat(placement: Placement, *point: float) -> tuple[float, float]:
    """Longitude and latitude by pyproj, not by twin.crs."""
    x, y, _ = at(placement, *point)
    return Transformer.from_crs(placement.reference.horizontal, "EPSG:4326", always_xy=True).transform(x, y)


def of(text: str) -> ifcopenshell.file:
    return ifcopenshell.file.from_string(text)


def georeferenced(step: Step, *lines: str, name: str = "'EPSG:32760'", unit: str = "$", e: str = "500000.", n: str = "9000000.", h: str = "12.", x: str = "$",
                  y: str = "$", scale: str = "$", vertical: str = "$", **more: str) -> ifcopenshell.file:  # fmt: skip
    return of(step(MAP.format(name=name, vertical=vertical, unit=unit), CONVERSION.format(e=e, n=n, h=h, x=x, y=y, scale=scale), *lines, **more))


# --- real files --------------------------------------------------------------------------------------------------


def test_millimetre_eastings(shared_data: Path) -> None:
    """PCERT: E=729013348.83 mm, N=9063992684.70 mm, 60° (x axis 0.5, 0.866), EPSG:32760."""
    placement = placed(ifcopenshell.open(shared_data / "ifc/PCERT_Building-Architecture.ifc"))
    assert placement.reference.horizontal == "EPSG:32760"
    np.testing.assert_allclose(at(placement, 0, 0, 0), [729013.3488297, 9063992.684697363, 1.3], atol=1e-6)
    np.testing.assert_allclose(at(placement, 10, 0, 0) - at(placement, 0, 0, 0), [5.0, 8.660254037844387, 0], atol=1e-6)
    lon, lat = lonlat(placement, 0, 0, 0)
    assert (lon, lat) == pytest.approx((179.080147, -8.462200), abs=1e-6)


def test_us_survey_feet(shared_data: Path) -> None:
    """bSI Georgia: 1920390, 1813871 US survey feet in EPSG:2240; a model metre is 1/0.3048006 grid feet."""
    report = Report()
    placement = placed(ifcopenshell.open(shared_data / "ifc/bSI_GRF005_Georgia_usft.ifc"), report)
    foot = 1200 / 3937
    np.testing.assert_allclose(at(placement, 0, 0, 0)[:2], [1920390.0, 1813871.0], atol=1e-3)
    np.testing.assert_allclose(at(placement, 100 * foot, 0, 7) - at(placement, 0, 0, 0), [100.0, 0, 7.0], atol=1e-4)
    lon, lat = Transformer.from_crs("EPSG:2240", "EPSG:4326", always_xy=True).transform(1920390.0, 1813871.0)
    assert lonlat(placement, 0, 0, 0) == pytest.approx((lon, lat), abs=1e-9)
    assert placement.facts["distance_to_site_m"] < 5000


def test_blank_scale_and_millimetres_that_the_map_unit_denies(shared_data: Path) -> None:
    """bSI RD: MapUnit is the metre, but 149626315 only lies in the Netherlands as millimetres; Scale blank, model in mm."""
    report = Report()
    placement = placed(ifcopenshell.open(shared_data / "ifc/bSI_GRF005_RD_blank_scale.ifc"), report)
    np.testing.assert_allclose(at(placement, 0, 0, 0)[:2], [149626.315910581, 413717.684216629], atol=1e-6)
    assert np.linalg.norm(at(placement, 1, 0, 0) - at(placement, 0, 0, 0)) == pytest.approx(1.0, abs=1e-9)
    assert any(n.action == "repaired" and "project's unit" in n.reason for n in report.notes)
    assert any("default of Revit" in n.reason for n in report.notes)


def test_a_site_becomes_a_frame_with_true_north(shared_data: Path) -> None:
    """FZK-Haus: 49°06'01.566", 8°26'11.5404", 110 m; TrueNorth (0.766, 0.643): model north lies 50° west of it."""
    placement = placed(ifcopenshell.open(shared_data / "ifc/AC20-FZK-Haus.ifc"))
    lat, lon = 49 + 6 / 60 + 1.566 / 3600, 8 + 26 / 60 + 11.5404 / 3600
    assert lonlat(placement, 0, 0, 0) == pytest.approx((lon, lat), abs=1e-10)
    assert at(placement, 0, 0, 0)[2] == pytest.approx(110.0)
    # 100 m along TrueNorth's own direction in the model must lie due north on the ellipsoid
    there = lonlat(placement, 76.6044443118978, 64.2787609686539, 0)
    azimuth, _, distance = Geod(ellps="WGS84").inv(lon, lat, *there)
    assert azimuth == pytest.approx(0.0, abs=1e-6)
    assert distance == pytest.approx(100.0, abs=1e-6)


def test_a_site_in_a_grid_turns_by_the_convergence(shared_data: Path) -> None:
    model = ifcopenshell.open(shared_data / "ifc/AC20-FZK-Haus.ifc")
    frame, grid = placed(model), placed(model, crs="EPSG:31467")
    assert grid.reference.horizontal == "EPSG:31467"
    for point in ((0, 0, 0), (30, 5, 2), (-20, 40, 0)):
        assert lonlat(grid, *point) == pytest.approx(lonlat(frame, *point), abs=1e-8)  # 1 mm


def test_a_crs_that_contradicts_the_site_is_refused(shared_data: Path) -> None:
    model = ifcopenshell.open(shared_data / "ifc/Duplex_A_20110907_georeferenced.ifc")
    with pytest.raises(BadReference, match=r"EPSG:9897.*41\.8744.*apart") as refused:
        placed(model)
    assert "anchor" in refused.value.remedy
    report = Report()
    confirmed = placed(model, report, confirm=True)
    np.testing.assert_allclose(at(confirmed, 0, 0, 0), [76670, 77179, 293.700012207031], atol=1e-6)
    assert any(n.action == "warned" for n in report.notes)
    by_site = placed(model, use="site")
    assert lonlat(by_site, 0, 0, 0) == pytest.approx((-(87 + 38 / 60 + 21.839999 / 3600), 41 + 52 / 60 + 27.84 / 3600), abs=1e-9)


@pytest.mark.parametrize("name", ["BIMWhale_SimpleWall", "BIMWhale_LargeBuilding", "Schependomlaan_V_L_Constructief"])
def test_an_authoring_tool_s_default_place_is_refused(shared_data: Path, name: str) -> None:
    model = ifcopenshell.open(shared_data / f"ifc/{name}.ifc")
    with pytest.raises(BadReference, match="default of Revit"):
        placed(model)
    assert placed(model, confirm=True).facts["source"] == "IfcSite"


@pytest.mark.parametrize(("lat", "lon", "whose"), [("(51,30,0,550000)", "(0,-7,-34,-449000)", "London"), ("(47,33,34,949000)", "(19,3,17,204000)", "ArchiCAD")])
def test_other_tools_have_defaults_too(step: Step, lat: str, lon: str, whose: str) -> None:
    """The places that open models of these tools share, wherever their buildings stand."""
    with pytest.raises(BadReference, match=whose):
        placed(ifcopenshell.file.from_string(step(lat=lat, lon=lon)))


# --- made files --------------------------------------------------------------------------------------------------


def test_no_georeference_names_the_options(step: Step) -> None:
    with pytest.raises(MissingReference, match="no georeference") as refused:
        placed(of(step()))
    assert "anchor=E,N,H" in refused.value.remedy
    assert "rotation" in refused.value.remedy


def test_a_vertical_datum_is_required(step: Step) -> None:
    model = georeferenced(step)
    with pytest.raises(MissingReference, match="vertical datum"):
        placed(model, vertical=None)
    with pytest.raises(MissingReference, match="Neptune"):
        placed(georeferenced(step, vertical="'Neptune'"), vertical=None)
    assert placed(georeferenced(step, vertical="'EPSG:5783'"), vertical=None).reference.vertical == "EPSG:5783"
    assert placed(georeferenced(step, vertical="'EPSG:5783'"), vertical="EPSG:5737").reference.vertical == "EPSG:5737"


@pytest.mark.parametrize(
    ("text", "code"),
    [("1985国家高程基准", "EPSG:5737"), ("1985 国家高程基准", "EPSG:5737"), ("Yellow Sea 1985", "EPSG:5737"), ("EPSG:5737", "EPSG:5737"), ("EGM96", "EPSG:5773"),
     ("NAP", "EPSG:5709"), ("NAVD88 height", "EPSG:5703"), ("EPSG 7837", "EPSG:7837"), ("ellipsoid", "EPSG:4979"), ("1985 National Height Datum", "EPSG:5737"), ("黄海1956", "EPSG:5736"), ("", ""), ("mud", ""), ("EPSG:4547", "")],
)  # fmt: skip
def test_vertical_names(text: str, code: str) -> None:
    assert vertical_code(text) == code


@pytest.mark.parametrize(
    ("text", "code"),
    [("EPSG:4547", "EPSG:4547"), ("epsg 4547", "EPSG:4547"), ("4547", "EPSG:4547"), ("urn:ogc:def:crs:EPSG::4547", "EPSG:4547"), ("WKT", ""),
     ("EPSG:4326", ""), ("EPSG:1234", ""), ("", "")],
)  # fmt: skip
def test_crs_names(text: str, code: str) -> None:
    assert crs_code(text) == code


def test_a_named_crs_is_found(step: Step) -> None:
    placement = placed(georeferenced(step, name="'ETRS89 / UTM zone 32N'", n="5400000."))
    assert crs.crs_of(placement.reference.horizontal).to_epsg() == 25832


def test_an_unknown_crs_is_refused_and_can_be_replaced(step: Step) -> None:
    model = georeferenced(step, name="'Gemeindegrid'")
    with pytest.raises(BadReference, match="Gemeindegrid"):
        placed(model)
    assert placed(model, crs="EPSG:32760").reference.horizontal == "EPSG:32760"


def test_scale_as_change_of_units(step: Step) -> None:
    """A model in millimetres on a map in metres: Scale 0.001 by the standard, 1.0 and blank as files have it."""
    for scale in ("0.001", "1.", "$"):
        report = Report()
        placement = placed(georeferenced(step, "#8=IFCSIUNIT(*,.LENGTHUNIT.,$,.METRE.);", prefix=".MILLI.", unit="#8", scale=scale), report)
        np.testing.assert_allclose(at(placement, 2, 0, 3), [500002.0, 9000000.0, 15.0], atol=1e-9)
        assert bool(report.notes) == (scale != "0.001")


def test_an_absurd_scale_is_refused(step: Step) -> None:
    with pytest.raises(BadReference, match="stretch"):
        placed(georeferenced(step, scale="7."))
    assert at(placed(georeferenced(step, scale="7."), confirm=True), 1, 0, 0)[0] == pytest.approx(500007)


def test_the_grid_scale_is_kept(step: Step) -> None:
    placement = placed(georeferenced(step, scale="0.9996", x="0.", y="2."))
    np.testing.assert_allclose(at(placement, 1000, 0, 0), [500000, 9000999.6, 12], atol=1e-9)


def test_eastings_outside_the_crs_are_refused(step: Step) -> None:
    with pytest.raises(BadReference):
        placed(georeferenced(step, e="99500000.", n="0."))


def test_a_map_conversion_of_zeros_is_left_to_the_shapes(step: Step) -> None:
    """Exporters that write map coordinates into the model add a conversion of nothing."""
    np.testing.assert_allclose(at(placed(georeferenced(step, e="0.", n="0.", h="0.")), 5, 6, 7), [5, 6, 7])


@pytest.mark.parametrize("gap", ["", " "])
def test_the_ifc2x3_property_sets(step: Step, gap: str) -> None:
    lines = [
        f"#300=IFCPROPERTYSET('2000000000000000000001',$,'ePSet_Map{gap}Conversion',$,(#301,#302,#303,#304,#305));",
        "#301=IFCPROPERTYSINGLEVALUE('Eastings',$,IFCLENGTHMEASURE(454000.),$);", "#302=IFCPROPERTYSINGLEVALUE('Northings',$,IFCLENGTHMEASURE(2500000.),$);",
        "#303=IFCPROPERTYSINGLEVALUE('OrthogonalHeight',$,IFCLENGTHMEASURE(3.),$);", "#304=IFCPROPERTYSINGLEVALUE('XAxisAbscissa',$,IFCREAL(0.),$);",
        "#305=IFCPROPERTYSINGLEVALUE('XAxisOrdinate',$,IFCREAL(1.),$);", f"#310=IFCPROPERTYSET('2000000000000000000002',$,'ePSet_ProjectedCRS{gap}',$,(#311,#312));",
        "#311=IFCPROPERTYSINGLEVALUE('Name',$,IFCLABEL('EPSG:4547'),$);", "#312=IFCPROPERTYSINGLEVALUE('VerticalDatum',$,IFCLABEL('1985'),$);",
    ]  # fmt: skip
    placement = placed(of(step(*lines, schema="IFC2X3")), vertical=None)
    assert (placement.reference.horizontal, placement.reference.vertical) == ("EPSG:4547", "EPSG:5737")
    np.testing.assert_allclose(at(placement, 10, 0, 1), [454000, 2500010, 4], atol=1e-9)


@pytest.mark.parametrize(("factor", "unit"), [(1.0, ""), (1.0, "m"), (1000.0, ""), (1000.0, "millimeters"), (1 / 0.3048, "feet")])
def test_map_units_of_property_sets(step: Step, factor: float, unit: str) -> None:
    """In a project of millimetres: eastings in the unit that MapUnit names in anybody's spelling; where it names none, in the one that leads into the CRS's area."""
    values = {"Eastings": f"IFCLABEL('{454000 * factor!r}')", "Northings": f"IFCREAL({2500000 * factor!r})", "OrthogonalHeight": f"IFCREAL({3 * factor!r})"}
    names = {"Name": "IFCLABEL('EPSG:4547')", "VerticalDatum": "IFCLABEL('1985')", **({"MapUnit": f"IFCLABEL('{unit}')"} if unit else {})}
    lines = []
    for number, (name, pairs) in enumerate((("ePSet_MapConversion", values), ("ePSet_ProjectedCRS", names)), 3):
        lines += [f"#{number}{i}1=IFCPROPERTYSINGLEVALUE('{key}',$,{value},$);" for i, (key, value) in enumerate(pairs.items())]
        lines.append(f"#{number}99=IFCPROPERTYSET('200000000000000000000{number}',$,'{name}',$,({','.join(f'#{number}{i}1' for i in range(len(pairs)))}));")
    placement = placed(of(step(*lines, schema="IFC2X3", prefix=".MILLI.")), vertical=None)
    np.testing.assert_allclose(at(placement, 10, 0, 1), [454010, 2500000, 4], atol=1e-6)


# --- by hand -----------------------------------------------------------------------------------------------------


def test_an_anchor_turns_clockwise_from_grid_north(step: Step) -> None:
    """Rotation 90: the model's y axis points grid east, its x axis grid south."""
    placement = placed(of(step()), crs="EPSG:4547+5737", vertical=None, anchor=(454000.0, 2500000.0, 8.0), rotation=90.0, origin=(1.0, 2.0, 3.0))
    np.testing.assert_allclose(at(placement, 1, 2, 3), [454000, 2500000, 8], atol=1e-9)
    np.testing.assert_allclose(at(placement, 1, 12, 3), [454010, 2500000, 8], atol=1e-9)
    np.testing.assert_allclose(at(placement, 11, 2, 3), [454000, 2499990, 8], atol=1e-9)


def test_an_anchor_overrides_the_file(step: Step) -> None:
    placement = placed(georeferenced(step), crs="EPSG:4547", anchor=(454000.0, 2500000.0), height=4.0)
    assert placement.facts["source"] == "options"
    np.testing.assert_allclose(at(placement, 0, 0, 0), [454000, 2500000, 4])


def test_an_anchor_by_longitude_and_latitude(step: Step) -> None:
    model = of(step())
    frame = placed(model, anchor_lonlat=(113.08, 22.58, 5.0), rotation=30.0)
    assert lonlat(frame, 0, 0, 0) == pytest.approx((113.08, 22.58), abs=1e-10)
    azimuth, _, distance = Geod(ellps="WGS84").inv(113.08, 22.58, *lonlat(frame, 0, 50, 0))
    assert (azimuth, distance) == (pytest.approx(30.0, abs=1e-5), pytest.approx(50.0, abs=1e-5))
    grid = placed(model, anchor_lonlat=(113.08, 22.58, 5.0), crs="EPSG:4547", rotation=30.0)
    step_ = at(grid, 0, 50, 0) - at(grid, 0, 0, 0)
    assert math.degrees(math.atan2(step_[0], step_[1])) == pytest.approx(30.0, abs=1e-9)  # grid north, as said


@pytest.mark.parametrize(
    ("request_", "error"),
    [
        ({"anchor": (1.0, 2.0, 3.0)}, MissingReference), ({"anchor": (1.0, 2.0), "crs": "EPSG:4547"}, BadOption),
        ({"anchor": (1.0,), "crs": "EPSG:4547"}, BadOption), ({"anchor_lonlat": (22.58, 113.08, 0.0)}, BadOption),
        ({"anchor": (113.0, 22.0, 0.0), "crs": "EPSG:4490"}, BadReference),
        ({"anchor": (1.0, 2.0, 3.0), "anchor_lonlat": (1.0, 2.0, 3.0), "crs": "EPSG:4547"}, BadOption),
    ],
)  # fmt: skip
def test_bad_anchors(step: Step, request_: dict[str, object], error: type[Exception]) -> None:
    with pytest.raises(error):
        placed(of(step()), **request_)


def test_degrees_minutes_seconds() -> None:
    assert degrees((49, 6, 1, 566000)) == pytest.approx(49.100435)
    assert degrees((-87, -38, -21, -839999)) == pytest.approx(-87.6393999997, abs=1e-9)
    assert degrees((0, -30, 0)) == pytest.approx(-0.5)


def test_a_rigid_operation_moves_only(step: Step) -> None:
    model = of(step("#200=IFCPROJECTEDCRS('EPSG:32760',$,$,$,$,$,$);",
                    "#201=IFCRIGIDOPERATION(#2,#200,IFCLENGTHMEASURE(500000.),IFCLENGTHMEASURE(9000000.),7.);", schema="IFC4X3_ADD2"))  # fmt: skip
    helmert = read_helmert(model, Report())
    assert helmert is not None
    assert helmert.source == "IfcRigidOperation"
    np.testing.assert_allclose(at(placed(model), 1, 1, 1), [500001, 9000001, 8])


def test_a_scaled_map_conversion(step: Step) -> None:
    model = of(step("#200=IFCPROJECTEDCRS('EPSG:32760',$,$,$,$,$,$);",
                    "#201=IFCMAPCONVERSIONSCALED(#2,#200,500000.,9000000.,7.,1.,0.,1.,1.,0.5,2.);", schema="IFC4X3_ADD2"))  # fmt: skip
    np.testing.assert_allclose(at(placed(model), 1, 1, 1), [500001, 9000000.5, 9])


@pytest.mark.parametrize(("first", "second", "site", "words"), [(22.6, 113.1, "", "latitude and longitude"), (113.1, 22.6, "", "longitude and latitude"),
                                                                (10.5, 45.25, "(45,15,0)", "longitude and latitude"), (45.25, 10.5, "(45,15,0)", "latitude and longitude")])  # fmt: skip
def test_a_rigid_operation_in_angles(step: Step, first: float, second: float, site: str, words: str) -> None:
    """Latitude first, as the standard speaks of it, unless only the other order can be or fits the site; heights above the ellipsoid; true north as of a site."""
    lines = ("#200=IFCGEOGRAPHICCRS('EPSG:4490',$,$,$,#210,#211);", f"#201=IFCRIGIDOPERATION(#2,#200,IFCPLANEANGLEMEASURE({first}),IFCPLANEANGLEMEASURE({second}),7000.);",
             "#210=IFCCONVERSIONBASEDUNIT(#212,.PLANEANGLEUNIT.,'DEGREE',#213);", "#211=IFCSIUNIT(*,.LENGTHUNIT.,.MILLI.,.METRE.);",
             "#212=IFCDIMENSIONALEXPONENTS(0,0,0,0,0,0,0);", "#213=IFCMEASUREWITHUNIT(IFCPLANEANGLEMEASURE(0.017453292519943295),#214);",
             "#214=IFCSIUNIT(*,.PLANEANGLEUNIT.,$,.RADIAN.);", "#215=IFCDIRECTION((1.,1.));")  # fmt: skip
    where = {"lat": site, "lon": "(10,30,0)"} if site else {}
    report = Report()
    found = placed(of(step(*lines, schema="IFC4X3_ADD2", true_north="#215", **where)), report, vertical=None)
    expected = (10.5, 45.25) if site else (113.1, 22.6)
    np.testing.assert_allclose(lonlat(found, 0, 0, 0), expected, atol=1e-9)
    assert (found.reference.vertical, found.facts["source"], at(found, 0, 0, 1)[2]) == (ELLIPSOID, "IfcRigidOperation", 8)
    assert any(f"are read as {words}" in note.reason for note in report.notes)
    ahead, _, distance = Geod(ellps="WGS84").inv(*expected, *lonlat(found, 100, 100, 0))
    assert ahead == pytest.approx(0, abs=1e-3) and distance == pytest.approx(math.hypot(100, 100), rel=1e-6)  # the model's diagonal is true north
    with pytest.raises(MissingReference):
        placed(of(step(*lines, schema="IFC4X3_ADD2")), use="site")


def test_a_rigid_operation_that_its_site_denies(step: Step) -> None:
    lines = ("#200=IFCGEOGRAPHICCRS('EPSG:4490',$,$,$,$,$);", "#201=IFCRIGIDOPERATION(#2,#200,IFCPLANEANGLEMEASURE(0.4),IFCPLANEANGLEMEASURE(1.9),7.);")
    with pytest.raises(BadReference, match=r"IfcRigidOperation \(EPSG:4490\) puts the model at"):
        placed(of(step(*lines, schema="IFC4X3_ADD2", lat="(45,15,0)", lon="(10,30,0)")))
    placed(of(step(*lines, schema="IFC4X3_ADD2", lat="(45,15,0)", lon="(10,30,0)")), confirm=True)
    unknown = lines[0].replace("EPSG:4490", "my globe")
    report = Report()
    with pytest.raises(MissingReference):
        placed(of(step(unknown, lines[1], schema="IFC4X3_ADD2")), report)
    assert "'my globe' is not known" in report.notes[0].reason


@pytest.mark.parametrize("options", [ifc.Options, meshfile.Options])
@pytest.mark.parametrize(("name", "value"), [("anchor", "nan,1"), ("anchor_lonlat", "113,inf"), ("origin", "0,0,-inf"), ("anchor", "1;2")])
def test_what_is_no_number_is_no_place(options: Any, name: str, value: str) -> None:
    with pytest.raises(ValueError, match=r"is not finite|is not a list of numbers"):
        options(**{name: value})


@pytest.mark.parametrize(("name", "said"), [("'EPSG:4490'", "'EPSG:4490' in IfcProjectedCRS is one of longitude and latitude"), ("'Local'", "'Local' in IfcProjectedCRS is unknown")])
def test_a_map_conversion_needs_metres(step: Step, name: str, said: str) -> None:
    with pytest.raises(BadReference, match=said):
        placed(georeferenced(step, name=name))


def test_sites_at_other_degrees_are_said(step: Step) -> None:
    second = "#900=IFCSITE('9000000000000000000001',$,'S2',$,$,#30,$,$,.ELEMENT.,{lat},(113,4,48,0),$,$,$);"
    for lat, expected in (("(22,34,48,0)", False), ("(22,40,0,0)", True), ("$", False)):
        report = Report()
        found = placed(of(step(second.format(lat=lat), lat="(22,34,48,0)", lon="(113,4,48,0)", elevation="5.")), report)
        assert lonlat(found, 0, 0, 0) == pytest.approx((113.08, 22.58))
        assert any("2 different latitudes and longitudes" in note.reason and "22.580000° N" in note.reason for note in report.notes) == expected


def test_heights_that_replace_those_of_the_file_are_said(step: Step) -> None:
    for vertical, said in (("EGM96", ["The heights 'EGM96' given by the user replace the file's, which are EPSG:5737."]), ("EPSG:5737", [])):
        report = Report()
        placed(georeferenced(step, name="'EPSG:4547'", e="407000.", n="2496000.", vertical="'EPSG:5737'"), report, vertical=vertical)
        assert [note.reason for note in report.notes if "heights" in note.reason] == said
