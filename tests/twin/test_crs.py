"""Places against published figures and independent readings."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyproj import Geod, Transformer

from twin import crs
from twin.errors import BadReference, MissingReference
from twin.model import ABOVE_GROUND, ELLIPSOID, Bounds, Reference

# NGA's test values for EGM96 (OUTPUT.DAT of the F477 program): latitude, longitude, undulation in metres
NGA = [(38.6281550, 269.7791550, -31.628), (-14.6212170, 305.0211140, -2.969), (46.8743190, 102.4487290, -43.575),
       (-23.6174460, 133.8747120, 15.871), (38.6254730, 359.9995000, 50.066), (-0.4667440, 0.0023000, 17.329)]  # fmt: skip


@pytest.mark.parametrize(("lat", "lon", "expected"), NGA)
def test_geoid_against_published_values(lat: float, lon: float, expected: float) -> None:
    assert crs.undulation(np.array([lon]), np.array([lat]))[0] == pytest.approx(expected, abs=0.02)


def test_geoid_across_jiangmen() -> None:
    """EGM96 runs from about −5.8 m to −9.9 m across the city: no constant serves."""
    west, east = crs.undulation(np.array([112.0, 113.2]), np.array([22.0, 22.6]))
    assert -11 < west < -7
    assert -7.5 < east < -5


def test_geoid_is_continuous_over_the_date_line_and_bands() -> None:
    lon = np.array([179.999999, -179.999999, 10.0, 10.0])
    lat = np.array([10.0, 10.0, 9.9999999, 10.0000001])
    n = crs.undulation(lon, lat)
    assert n[0] == pytest.approx(n[1], abs=1e-3)
    assert n[2] == pytest.approx(n[3], abs=1e-3)


def test_undulation_of_nothing_is_nothing() -> None:
    assert np.isnan(crs.undulation(np.array([np.nan, np.inf]), np.array([1.0, 2.0]))).all()


@given(st.floats(-180, 180), st.floats(-89.99, 89.99), st.floats(-500, 9000))
def test_ecef_against_proj(lon: float, lat: float, height: float) -> None:
    place = np.array([[lon, lat, height]])
    ecef = crs.geodetic_to_ecef(place)
    proj = np.array(Transformer.from_crs(4979, 4978, always_xy=True).transform(lon, lat, height))
    assert np.abs(ecef[0] - proj).max() < 1e-6
    back = crs.ecef_to_geodetic(ecef)[0]
    assert abs(back[2] - height) < 1e-6
    assert np.abs(crs.geodetic_to_ecef(back[None]) - ecef).max() < 1e-6


def test_axis_order_is_easting_first() -> None:
    """CGCS2000 / 3-degree zone 38 on its central meridian: x = 500,000, y = meridian arc, checked by a geodesic."""
    lon, lat = crs.to_lonlat("EPSG:4547", np.array([500000.0]), np.array([2_500_000.0]))
    assert lon[0] == pytest.approx(114.0, abs=1e-9)
    arc = Geod(a=6378137, rf=298.257222101).inv(114, 0, 114, lat[0])[2]
    assert arc == pytest.approx(2_500_000.0, abs=1e-3)


def test_compound_and_named_datums() -> None:
    assert crs.parse_reference("EPSG:4547+5737") == Reference("EPSG:4547", "EPSG:5737")
    assert crs.parse_reference("EPSG:7415") == Reference("EPSG:28992", "EPSG:5709")
    assert crs.parse_reference("EPSG:4979") == Reference("EPSG:4326", ELLIPSOID)
    assert crs.parse_reference("EPSG:4547", "1985").vertical == "EPSG:5737"
    assert crs.parse_reference("EPSG:4547", "above ground").vertical == ABOVE_GROUND
    feet = crs.parse_reference("EPSG:2994", "EPSG:6360")
    assert feet.vertical_unit == pytest.approx(1200 / 3937)


@pytest.mark.parametrize(("code", "vertical", "error"), [
    (None, None, MissingReference), ("", None, MissingReference), ("EPSG:999999", None, BadReference), ("EPSG:4978", None, BadReference),
    ("EPSG:4547", "EPSG:4547", BadReference), ("EPSG:4547", "nonsense", BadReference),
    ("IAU_2015:30100", None, BadReference),  # the moon
    ('GEOGCS["unknown", DATUM["unknown", SPHEROID["unknown", 57.295779513, 0]], PRIMEM["unknown", 0], UNIT["degree", 0.017453292519943295]]', None, BadReference),
])  # fmt: skip
def test_bad_references_are_refused(code: str | None, vertical: str | None, error: type[Exception]) -> None:
    with pytest.raises(error):
        crs.parse_reference(code, vertical)


def test_heights_take_the_explicit_step() -> None:
    """PROJ leaves 1985 heights as they are; we do not."""
    reference = crs.parse_reference("EPSG:4547+5737")
    place = crs.to_geodetic(reference, np.array([[405000.0, 2498000.0, 3.0]]))
    assert place[0, 2] == pytest.approx(3.0 + crs.undulation(place[:, 0], place[:, 1])[0])
    assert np.abs(crs.from_geodetic(reference, place) - [[405000.0, 2498000.0, 3.0]]).max() < 1e-6
    with pytest.raises(MissingReference, match="--vertical"):
        crs.to_geodetic(Reference("EPSG:4547"), place)


@pytest.mark.parametrize(("code", "box"), [
    ("EPSG:4547", Bounds(2498000, 405000, 2499000, 406000)),  # northing first
    ("EPSG:4547", Bounds(38405000, 2498000, 38406000, 2499000)),  # zone number before the easting
    ("EPSG:4326", Bounds(405000, 2498000, 406000, 2499000)),  # metres as degrees
    ("EPSG:28992", Bounds(405000, 2498000, 406000, 2499000)),
    ("EPSG:3857", Bounds(-2e9, -2e9, 2e9, 2e9)), ("EPSG:3857", Bounds(2e9, 0, 2e9, 0)),  # its x comes round again and again
])  # fmt: skip
def test_coordinates_far_from_their_crs_are_refused(code: str, box: Bounds) -> None:
    with pytest.raises(BadReference, match="crs"):
        crs.check_plausible(Reference(code), box, "survey.gpkg")


def test_enu_frame_is_a_rotation_to_the_place() -> None:
    frame = crs.enu_frame(113.08, 22.58, 5.0)
    assert np.allclose(frame[:3, :3].T @ frame[:3, :3], np.eye(3))
    assert np.linalg.det(frame[:3, :3]) == pytest.approx(1.0)
    up = crs.geodetic_to_ecef(np.array([[113.08, 22.58, 6.0]]))[0] - frame[:3, 3]
    assert np.allclose(up, frame[:3, 2], atol=1e-8)


def test_a_layer_is_not_torn_where_a_way_between_datums_ends() -> None:
    """Beijing 1954 in zone 38: PROJ's one way, "Beijing 1954 to WGS 84 (3)", ends at 22.89° N; beyond, it took longitudes as they are, 57 m off (docs/adr/0068)."""
    x, y = np.full(61, 400_000.0), np.linspace(2_530_000.0, 2_536_000.0, 61)
    lon, lat = crs.to_lonlat("EPSG:2435", x, y)
    assert lat[0] < 22.89 < lat[-1]
    _, _, steps = Geod(ellps="WGS84").inv(lon[:-1], lat[:-1], lon[1:], lat[1:])
    assert np.abs(np.array(steps) - 100).max() < 0.1
    back = crs.from_lonlat("EPSG:2435", lon, lat)
    assert max(np.abs(back[0] - x).max(), np.abs(back[1] - y).max()) < 1e-3
    by_hand = Transformer.from_pipeline(
        "+proj=pipeline +step +inv +proj=tmerc +lon_0=114 +x_0=500000 +ellps=krass +step +proj=cart +ellps=krass "
        "+step +proj=helmert +x=31.4 +y=-144.3 +z=-74.8 +rz=0.814 +s=-0.38 +convention=position_vector "
        "+step +inv +proj=cart +ellps=WGS84 +step +proj=unitconvert +xy_in=rad +xy_out=deg"
    )
    expected = by_hand.transform(x, y, np.zeros(61))
    assert np.abs(lon - expected[0]).max() < 1e-8 and np.abs(lat - expected[1]).max() < 1e-8


@pytest.mark.parametrize(("code", "said"), [
    ("EPSG:4547", "CGCS2000 = WGS 84"), ("EPSG:32649", "no change of datum"), ("EPSG:2383", "knows no way from Xian 1980"), ("EPSG:2435", "Beijing 1954 to WGS 84 (3)"),
    ("EPSG:4267", "North American Datum 1927 to WGS 84 by that of PROJ's ways"),
])  # fmt: skip
def test_the_record_says_which_way_the_plane_took(code: str, said: str) -> None:
    assert said in crs.vertical_path(crs.parse_reference(code, "EPSG:5737"))["horizontal"]
