"""One way between datums for a layer, over many CRS, against that operation taken from the register by its code (docs/adr/0070)."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import shapely
from pyproj import CRS, Transformer

from tiling.check.positions_geodesy import Inverse
from twin import crs, feature_files, parts, query, ways
from twin.lake import Lake
from twin.model import Asset, Bounds, Features, Reference, Report

F = np.float64
#: A CRS and the box of a layer in it: longitudes and latitudes, of which some lie on both sides of a border between two of PROJ's ways.
LAYERS = [
    ("EPSG:4267", (-110.5, 48.5, -109.5, 49.5), "over the border of Canada and the USA"), ("EPSG:26712", (-111.5, 40.0, -110.5, 41.0), "NAD27 / UTM 12N"),
    ("EPSG:4267", (-87.0, 20.0, -78.0, 26.0), "Yucatán, Cuba, Florida"), ("EPSG:4269", (-141.5, 59.5, -140.5, 60.5), "Alaska and Canada"),
    ("EPSG:4230", (5.0, 50.0, 9.0, 54.0), "ED50"), ("EPSG:23030", (-2.5, 42.0, 0.5, 44.0), "ED50 / UTM 30N, Spain and France"), ("EPSG:23032", (10.0, 57.0, 12.0, 59.0), "ED50 / UTM 32N"),
    ("EPSG:27700", (-6.0, 50.0, 1.5, 58.0), "OSGB36"), ("EPSG:27700", (-5.8, 54.5, -3.0, 55.5), "England and Scotland"),
    ("EPSG:2434", (109.6, 20.5, 110.9, 22.2), "Gulf of Tonkin and Pearl River"), ("EPSG:2434", (109.9, 22.5, 112.4, 23.3), "Pearl River and beyond"),
    ("EPSG:2435", (112.6, 22.5, 113.4, 23.3), "Jiangmen"), ("EPSG:4214", (108.0, 20.0, 118.0, 40.0), "much of China"),
    ("EPSG:28410", (56.0, 54.0, 58.0, 56.0), "Pulkovo 1942"), ("EPSG:4284", (23.0, 50.0, 29.0, 58.0), "Pulkovo 1942, Baltic states and Ukraine"),
    ("EPSG:4301", (126.0, 33.0, 132.0, 36.0), "Tokyo: Korea and Japan"), ("EPSG:28992", (4.2, 51.8, 6.4, 53.2), "Amersfoort"), ("EPSG:31256", (15.7, 47.5, 17.0, 48.8), "MGI"),
    ("EPSG:5514", (13.0, 48.8, 20.0, 50.0), "S-JTSK: Czechia and Slovakia"), ("EPSG:31467", (8.0, 47.5, 10.5, 54.0), "DHDN"), ("EPSG:23700", (17.0, 46.0, 22.0, 48.0), "HD72"),
    ("EPSG:4202", (140.0, -39.0, 149.0, -30.0), "AGD66"), ("EPSG:4618", (-70.0, -30.0, -45.0, -5.0), "SAD69"), ("EPSG:4248", (-75.0, -20.0, -60.0, 5.0), "PSAD56"),
    ("EPSG:4267", (172.0, 51.0, 192.0, 55.0), "the Aleutian Islands, over the 180th meridian"),
]  # fmt: skip
IDS = [f"{code.removeprefix('EPSG:')}: {what}" for code, _, what in LAYERS]


def own_box(code: str, lonlat: tuple[float, ...]) -> Bounds:
    system = CRS.from_user_input(code)
    to = Transformer.from_crs(system.geodetic_crs, system, always_xy=True)
    lon, lat = np.meshgrid(np.linspace(lonlat[0], lonlat[2], 9), np.linspace(lonlat[1], lonlat[3], 9))
    x, y = (lon, lat) if system.is_geographic else to.transform(lon, lat)
    return Bounds(float(x.min()), float(y.min()), float(x.max()), float(y.max()))


def metres(lon: np.ndarray, lat: np.ndarray, other_lon: np.ndarray, other_lat: np.ndarray) -> np.ndarray:
    """Distance on the ellipsoid's surface, straight through the earth, which for a metre is the same."""
    there, here = (crs.geodetic_to_ecef(np.column_stack([a, b, np.zeros(len(a))])) for a, b in ((other_lon, other_lat), (lon, lat)))
    return np.asarray(np.linalg.norm(there - here, axis=1))


@pytest.mark.parametrize(("code", "lonlat", "what"), LAYERS, ids=IDS)
def test_a_layer_takes_one_way_there_and_back(code: str, lonlat: tuple[float, ...], what: str) -> None:
    box = own_box(code, lonlat)
    reference, _ = crs.settled(Reference(code), [box])
    assert reference.horizontal.startswith(f"{code} via "), "several ways: one is named"
    system = CRS.from_user_input(code)
    unit = np.array([111e3, 111e3]) if system.is_geographic else np.full(2, system.axis_info[0].unit_conversion_factor)
    rng = np.random.default_rng(7)
    x, y = rng.uniform(box.minx, box.maxx, 4000), rng.uniform(box.miny, box.maxy, 4000)
    lon, lat = crs.to_lonlat(reference.horizontal, x, y)
    # there and back
    again = crs.from_lonlat(reference.horizontal, lon, lat)
    turns = 360.0 * np.round((x - again[0]) / 360.0) if system.is_geographic else 0.0
    assert max(np.abs(again[0] + turns - x).max() * unit[0], np.abs(again[1] - y).max() * unit[1]) < 1e-3
    # against that operation alone, taken from the register by its code
    named = Inverse(Reference(reference.horizontal, "EPSG:4979"))
    own = named.lonlat(np.column_stack([x, y]))
    assert metres(lon, lat, own[:, 0], own[:, 1]).max() < 1e-3
    # neighbours stay neighbours: a metre of the plane is as long as its surroundings are, which the plane alone, without a datum, says to 30 ppm
    step = 1.0 / unit
    turn = rng.uniform(0, 2 * np.pi, len(x))
    nx, ny = x + step[0] * np.cos(turn), y + step[1] * np.sin(turn)
    apart = metres(lon, lat, *crs.to_lonlat(reference.horizontal, nx, ny))
    plane = (x, y, nx, ny) if system.is_geographic else (*(flat := Transformer.from_crs(system, system.geodetic_crs, always_xy=True)).transform(x, y), *flat.transform(nx, ny))
    assert np.abs(apart - metres(*plane)).max() < 1e-3


@pytest.mark.parametrize("code", ["EPSG:4547", "EPSG:4490", "EPSG:4326", "EPSG:32649", "EPSG:3857", "EPSG:25832", "EPSG:4258", "EPSG:2383", "EPSG:6668", "EPSG:2326"])
def test_what_has_one_way_keeps_its_name(code: str) -> None:
    reference = Reference(code, "EPSG:5737")
    assert crs.settled(reference, [Bounds(0, 0, 1, 1)]) == (reference, "")


@pytest.mark.parametrize(("code", "lonlat", "way", "said"), [
    ("EPSG:2434", (107.8, 18.5, 109.9, 21.0), "EPSG:15935", "good to 10 m"),  # the Gulf of Tonkin
    ("EPSG:2434", (110.6, 20.5, 111.4, 22.2), "EPSG:15920", "good to 15 m"),  # the Pearl River's mouth
    ("EPSG:2434", (109.6, 37.0, 109.9, 38.0), "EPSG:15936", ""),  # Ordos, to a metre
    ("EPSG:2434", (110.6, 22.5, 111.4, 23.2), "EPSG:15920", "no known way holds all of the extent"),
    ("EPSG:27700", (-2.0, 52.0, -1.0, 53.0), "EPSG:1314", "needs the grid"),
    ("EPSG:28992", (4.2, 51.8, 6.4, 53.2), "EPSG:4833", ""),
])  # fmt: skip
def test_the_way_is_the_most_accurate_that_holds_the_extent(code: str, lonlat: tuple[float, ...], way: str, said: str) -> None:
    reference, words = crs.settled(Reference(code), [own_box(code, lonlat)])
    assert reference.horizontal == f"{code} via {way}"
    assert (said in words and way in words) if said else not words
    record = crs.vertical_path(reference)["horizontal"]
    assert way in record and "for the whole layer" in record


def features(code: str, places: np.ndarray, first: int = 0) -> Features:
    ids = pa.array([f"p{first + i:05d}" for i in range(len(places))])
    return Features(Reference(code), ids, np.asarray(shapely.points(places), dtype=object), pa.table({"n": list(range(len(places)))}))


def stored(lake: Lake, batch: Features, report: Report | None = None) -> object:
    return parts.write_version(lake, "net", "vector", [batch], report or Report(source="net.gpkg", read=len(batch), kept=len(batch)), provenance={})


def test_a_stored_layer_is_not_torn_and_says_what_it_took(tmp_path: Path) -> None:
    """Over the border between "Beijing 1954 to WGS 84 (3)" and "(5)" at 110.17° E: 10 m apart are 10 m apart, in the API's geometries and in exports too."""
    lake = Lake(tmp_path / "lake")
    y = 2_350_000.0
    places = np.column_stack([np.arange(390_000.0, 440_000.0, 10.0), np.full(5000, y)])
    report = Report(source="net.gpkg", read=5000, kept=5000)
    version = stored(lake, features("EPSG:2434", places), report)
    assert version.reference.horizontal.startswith("EPSG:2434 via EPSG:159")
    assert [note for note in version.report["notes"] if note["action"] == "warned" and "EPSG:159" in note["reason"]]
    assert "EPSG:159" in version.provenance["vertical"]["horizontal"]
    chunks = [query.to_wgs84(chunk) for chunk in parts.read_features(lake, version)]
    lonlat = np.concatenate([shapely.get_coordinates(chunk.geometry) for chunk in chunks])
    lonlat = lonlat[np.argsort(lonlat[:, 0])]
    assert lonlat[0, 0] < 110.17 < lonlat[-1, 0]
    steps = metres(lonlat[:-1, 0], lonlat[:-1, 1], lonlat[1:, 0], lonlat[1:, 1])
    assert np.abs(steps - np.median(steps)).max() < 2e-3
    feature_files.write(lake, version, tmp_path / "net.geojson")
    shapes = shapely.get_coordinates(shapely.from_geojson((tmp_path / "net.geojson").read_text()))
    assert np.abs(np.sort(shapes[:, 0]) - lonlat[:, 0]).max() < 1e-7
    feature_files.write(lake, version, tmp_path / "net.gpkg")  # in the layer's own CRS, untouched
    import pyogrio  # noqa: PLC0415

    assert pyogrio.read_info(tmp_path / "net.gpkg")["crs"] == "EPSG:2434"


def test_a_layer_that_grows_takes_the_way_of_all_of_it_however_it_came(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake")
    west, east = np.array([[320_000.0, 2_250_000.0], [330_000.0, 2_260_000.0]]), np.array([[560_000.0, 2_300_000.0], [560_100.0, 2_300_000.0], [600_000.0, 2_340_000.0]])
    first, change = stored(lake, features("EPSG:2434", west)), stored(lake, features("EPSG:2434", east, 10))
    assert first.reference != change.reference, "each alone takes its own"
    grown = parts.merge(lake, first, change)
    ids = pa.array([f"p{i:05d}" for i in (0, 1, 10, 11, 12)])
    whole = stored(lake, Features(Reference("EPSG:2434"), ids, np.asarray(shapely.points(np.concatenate([west, east])), dtype=object), pa.table({"n": [0, 1, 0, 1, 2]})))
    assert grown.reference == whole.reference
    assert repr(grown.extent) == repr(whole.extent)  # heights are NaN
    assert sum(ways.WHOLE in note["reason"] for note in grown.report["notes"]) == 1
    assert parts.without(lake, grown, ["p00010", "p00011", "p00012"]).reference == first.reference


def test_files_of_one_crs_take_one_way(tmp_path: Path) -> None:
    """Each file of a cloud keeps its own reference; two of them, on either side of a border, still fit."""
    lake = Lake(tmp_path / "lake")
    boxes = [Bounds(320_000, 2_250_000, 330_000, 2_260_000, 0, 9), Bounds(560_000, 2_300_000, 570_000, 2_310_000, 0, 9)]
    reference = Reference("EPSG:2434", "EPSG:5737")
    assets = []
    for number, box in enumerate(boxes):
        path = tmp_path / f"{number}.laz"
        path.write_bytes(b"LASF%d" % number)
        stated = {"horizontal": reference.horizontal, "vertical": reference.vertical, "vertical_unit": 1.0, "vertical_offset": 0.0}
        assets.append(Asset(reference, path, "laz", box, 5, {"file": path.name, "reference": stated, "box": [box.minx, box.miny, box.maxx, box.maxy, 0, 9]}))
    version = parts.write_version(lake, "cloud", "points", assets, Report(source="clouds", read=10, kept=10), provenance={})
    own = {part.properties["reference"]["horizontal"] for part in version.parts}
    assert own == {version.reference.horizontal}
    assert version.reference.horizontal.startswith("EPSG:2434 via ")
    assert all(math.isclose(part.bounds.minx, box.minx) for part, box in zip(version.parts, boxes, strict=True))


def test_two_layers_of_one_crs_meet_through_wgs84() -> None:
    a, b = "EPSG:2434 via EPSG:15920", "EPSG:2434 via EPSG:15935"
    x, y = np.array([430_000.0]), np.array([2_300_000.0])
    moved = crs.convert(a, b, x, y)
    assert 1.0 < math.hypot(moved[0][0] - x[0], moved[1][0] - y[0]) < 100
    assert metres(*crs.to_lonlat(a, x, y), *crs.to_lonlat(b, *moved))[0] < 1e-3
    assert crs.convert(a, "EPSG:2434", x, y)[0][0] == x[0]


def test_the_parameters_that_a_crs_states_are_taken() -> None:
    """`+towgs84`, which is the survey office's own seven parameters, was read and left out without a word."""
    own = crs.parse_reference("+proj=tmerc +lon_0=114 +x_0=500000 +ellps=krass +towgs84=31.4,-144.3,-74.8,0,0,0.814,-0.38", "1985")
    x, y = np.array([400_000.0]), np.array([2_530_000.0])
    assert metres(*crs.to_lonlat(own.horizontal, x, y), *crs.to_lonlat("EPSG:2435 via EPSG:15920", x, y))[0] < 1e-3
    assert "parameters that its CRS states" in crs.vertical_path(own)["horizontal"]
    assert not crs.crs_of(crs.parse_reference("+proj=utm +zone=49 +ellps=WGS84 +towgs84=0,0,0").horizontal).is_bound
    assert crs.parse_reference(CRS.from_epsg(28992).to_wkt("WKT1_GDAL")).horizontal == "EPSG:28992"


def test_a_place_comes_back_by_the_way_it_went() -> None:
    for lon, lat in ((110.168, 20.0), (110.172, 20.0), (111.0, 22.8899), (111.0, 22.8901)):
        there = crs.settled_at("EPSG:2434", lon, lat)
        x, y = crs.from_lonlat(there, np.array([lon]), np.array([lat]))
        again = crs.settled(Reference("EPSG:2434"), [Bounds(x[0], y[0], x[0], y[0])])[0]
        assert metres(*crs.to_lonlat(again.horizontal, x, y), np.array([lon]), np.array([lat]))[0] < 1e-3
