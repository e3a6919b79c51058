"""Point cloud headers and points against laspy's reading of the same files."""

from __future__ import annotations

import struct
from pathlib import Path

import laspy
import numpy as np
import pytest
from pyproj import Transformer

from ingest_gis import points
from ingest_gis.lasfile import RECORD, read_header
from tests.conftest import shared_path
from tests.ingest_gis.conftest import write_las
from twin import parts
from twin.errors import BadReference, MissingReference, UnreadableSource
from twin.lake import Lake
from twin.model import Asset, Report

SOUND = [
    "ign_lidarhd_77055_627755.laz", "ign_classified_77050_627755.laz", "isprs_samp11.laz", "isprs_CSite1_red2.laz", "laspy_autzen_trim.laz",
    "laspy_file_with_both_wkt_and_geotiff_vlrs.las", "laspy_extrabytes.las", "laspy_simple.copc.laz", "laspy_1_4_w_evlr.laz",
    "laspy_unregistered_extra_bytes.las", "ripple.las", "ign_reunion_epsg2975.laz", "ign_noepsg.laz",
]  # fmt: skip


def read(path: Path, **options: object) -> tuple[Asset, Report]:
    report = Report(source=path.name)
    (asset,) = points.read(path, points.Options.model_validate(options), report)
    return asset, report


@pytest.mark.parametrize("name", SOUND)
def test_as_laspy_reads_it(name: str) -> None:
    path = shared_path("pointcloud", name)
    asset, _ = read(path, crs="EPSG:2154", vertical="EPSG:5720")
    with laspy.open(path) as file:
        las = file.read()
    assert asset.count == len(las)
    box = asset.bounds
    for axis, (low, high) in zip("xyz", ((box.minx, box.maxx), (box.miny, box.maxy), (box.minz, box.maxz)), strict=True):
        values = np.asarray(las[axis])
        assert (low, high) == pytest.approx((values.min(), values.max()), abs=1e-9)
    codes, counts = np.unique(np.asarray(las.classification), return_counts=True)
    assert {c["code"]: c["count"] for c in asset.properties["classes"]} == dict(zip(codes.tolist(), counts.tolist(), strict=True))
    assert asset.properties["intensity"] == [int(las.intensity.min()), int(las.intensity.max())]
    colored = "red" in las.point_format.dimension_names and max(las.red.max(), las.green.max(), las.blue.max()) > 0
    assert asset.properties["has_rgb"] == colored
    header = read_header(path)
    assert (header.point_format, header.record, header.start) == (las.header.point_format.id, las.header.point_format.size, las.header.offset_to_point_data)


@pytest.mark.parametrize("point_format", [0, 1, 2, 3, 6, 7, 8])
@pytest.mark.parametrize("suffix", ["las", "laz"])
def test_every_point_format(tmp_path: Path, point_format: int, suffix: str) -> None:
    path = write_las(tmp_path / f"f.{suffix}", 70_000, point_format=point_format, version="1.4" if point_format > 5 else "1.2")
    asset, _ = read(path, crs="EPSG:32650", vertical="EGM96")
    las = laspy.read(path)
    assert asset.count == 70_000
    assert asset.format == suffix
    assert asset.properties["classes"][0] == {"code": 2, "count": int((np.asarray(las.classification) == 2).sum()), "zh": "地面", "en": "ground"}
    assert asset.properties["has_rgb"] == (point_format in (2, 3, 7, 8))


VERSIONS = {"1.0": (0, 1), "1.1": (0, 1), "1.2": (0, 1, 2, 3), "1.3": (0, 1, 2, 3, 4, 5), "1.4": tuple(range(11))}


@pytest.mark.parametrize("version", VERSIONS)
def test_every_version_and_format_with_extra_bytes(tmp_path: Path, version: str) -> None:
    """LAS 1.0–1.4 with all formats they know, waveform formats (4, 5, 9, 10) and extra bytes included."""
    kind = np.dtype([("X", "<i4"), ("Y", "<i4"), ("Z", "<i4"), ("intensity", "<u2"), ("a", "u1"), ("b", "u1"), ("c", "u1")])
    rng = np.random.default_rng(3)
    for point_format in VERSIONS[version]:
        for extra in (0, 7):
            size = RECORD[point_format] + extra
            raw = rng.integers(0, 256, (500, size)).astype(np.uint8)
            head = raw[:, : kind.itemsize].copy().view(kind)[:, 0]
            for name in "XYZ":
                head[name] = rng.integers(0, 100_000, 500)
            head["b"] = 2 if point_format < 6 else 1  # class of the old formats, flags of the new ones
            head["c"] = 9
            raw[:, : kind.itemsize] = head[:, None].view(np.uint8)
            header = bytearray(375 if version == "1.4" else 235 if version == "1.3" else 227)
            header[:4], header[24:26] = b"LASF", bytes([1, int(version[2])])
            struct.pack_into("<HIIBHI", header, 94, len(header), len(header), 0, point_format, size, 500 if point_format < 6 else 0)
            struct.pack_into("<6d", header, 131, 0.001, 0.001, 0.001, 500_000, 2_500_000, 0)
            if version == "1.4":
                struct.pack_into("<QIQ", header, 235, 0, 0, 500)
            path = tmp_path / f"{point_format}-{extra}.las"
            path.write_bytes(bytes(header) + raw.tobytes())
            asset, report = read(path, crs="EPSG:32650", vertical="EGM96")
            assert asset.count == 500
            assert asset.bounds.minx == pytest.approx(500_000 + head["X"].min() / 1000)
            assert asset.bounds.maxz == pytest.approx(head["Z"].max() / 1000)
            assert asset.properties["intensity"] == [int(head["intensity"].min()), int(head["intensity"].max())]
            assert [c["code"] for c in asset.properties["classes"]] == [2 if point_format < 6 else 9]
            assert report.facts.get("flags") == ({"synthetic": 500} if point_format > 5 else None)
            assert asset.properties["has_rgb"] == (point_format in (2, 3, 5, 7, 8, 10))


def test_counts_and_places_that_lie(tmp_path: Path) -> None:
    """More points stated than there are; places outside of any map; a scale of infinity: one clear error each."""
    good = write_las(tmp_path / "g.las", 1_000).read_bytes()
    for at, value, said in ((107, struct.pack("<I", 2_000), "truncated"), (131, struct.pack("<d", np.inf), "not positive numbers"),
                            (155, struct.pack("<d", np.nan), "not finite"), (105, struct.pack("<H", 12), "too short")):  # fmt: skip
        bad = bytearray(good)
        bad[at : at + len(value)] = value
        (tmp_path / "b.las").write_bytes(bad)
        with pytest.raises(UnreadableSource, match=said):
            read(tmp_path / "b.las", crs="EPSG:32650", vertical="EGM96")
    bad = bytearray(good)
    bad[155:163] = struct.pack("<d", 1e15)
    (tmp_path / "far.las").write_bytes(bad)
    report = Report(source="far.las")
    with pytest.raises(BadReference, match=r"far\.las"):
        parts.write_version(Lake(tmp_path / "lake"), "c", "points", points.read(tmp_path / "far.las", points.Options(crs="EPSG:32650", vertical="EGM96"), report), report,
                            provenance={})  # fmt: skip


@pytest.mark.parametrize(("top", "bits"), [(255, 8), (65_535, 16)])
def test_eight_bits_in_sixteen(tmp_path: Path, top: int, bits: int) -> None:
    asset, _ = read(write_las(tmp_path / "c.las", rgb=top), crs="EPSG:32650", vertical="EGM96")
    assert asset.properties["rgb_bits"] == bits


# file, options → horizontal CRS begins with, vertical, metres per height unit
REFERENCES = [
    ("ign_lidarhd_77055_627755.laz", {"vertical": "EPSG:5720"}, "EPSG:2154", "EPSG:5720", 1.0),
    ("isprs_samp11.laz", {"vertical": "EGM96"}, "EPSG:32632", "EPSG:5773", 1.0),
    ("laspy_simple.copc.laz", {}, "EPSG:2991", "EPSG:6360", 1200 / 3937),
    ("laspy_simple.copc.laz", {"vertical": "EPSG:5703"}, "EPSG:2991", "EPSG:5703", 1200 / 3937),
    ("laspy_simple.copc.laz", {"vertical_unit": 1.0}, "EPSG:2991", "EPSG:6360", 1.0),
    ("laspy_file_with_both_wkt_and_geotiff_vlrs.las", {"vertical": "EPSG:5703"}, 'PROJCRS["NAD83_2011_Nebraska_ft"', "EPSG:5703", 1200 / 3937),
    ("laspy_autzen_trim.laz", {"vertical": "EPSG:5703"}, 'PROJCRS["NAD_1983_HARN', "EPSG:5703", 0.3048),
    ("ign_noepsg.laz", {"crs": "EPSG:2154+5720"}, "EPSG:2154", "EPSG:5720", 1.0),
    ("ign_reunion_epsg2975.laz", {"crs": "EPSG:4547", "vertical": "1985"}, "EPSG:4547", "EPSG:5737", 1.0),
]  # fmt: skip


@pytest.mark.parametrize(("name", "options", "horizontal", "vertical", "unit"), REFERENCES)
def test_references(name: str, options: dict[str, object], horizontal: str, vertical: str, unit: float) -> None:
    """WKT before GeoTIFF keys where the bit says so, compound CRS split, feet in z kept, options first."""
    asset, report = read(shared_path("pointcloud", name), **options)
    assert asset.reference.horizontal.startswith(horizontal)
    assert asset.reference.vertical == vertical
    assert asset.reference.vertical_unit == pytest.approx(unit, rel=1e-9)
    assert report.facts["vertical_unit_m"] == asset.reference.vertical_unit


@pytest.mark.parametrize(("unit", "metres"), [(9003, 1200 / 3937), (9002, 0.3048), (9001, 1.0), (0, 1.0)])
def test_feet_beside_a_code_that_is_in_metres(tmp_path: Path, unit: int, metres: float) -> None:
    """Keys may state NAD83 / Mississippi West (26995, metres) and feet (OGC 19-008r4, ProjLinearUnitsGeoKey): the numbers are feet, as in EPSG:2255."""
    east, north = 2_045_001.76 / metres * 1200 / 3937, 1_267_501.19 / metres * 1200 / 3937
    header = laspy.LasHeader(point_format=1, version="1.2")
    header.scales, header.offsets = np.full(3, 0.01), np.array([east, north, 0]).round()
    keys = [(1024, 1), (3072, 26995), *([(3076, unit)] if unit else [])]
    header.vlrs.append(laspy.VLR("LASF_Projection", 34735, "", struct.pack("<4H", 1, 1, 0, len(keys)) + b"".join(struct.pack("<4H", key, 0, 1, value) for key, value in keys)))
    las = laspy.LasData(header)
    las.x, las.y, las.z = [east, east + 10], [north, north + 20], [5.0, 6.0]
    las.write(tmp_path / "feet.las")
    asset, _ = read(tmp_path / "feet.las", vertical="EGM96")
    here = Transformer.from_crs(asset.reference.horizontal, 4269, always_xy=True).transform(asset.bounds.minx, asset.bounds.miny)
    assert here == pytest.approx(Transformer.from_crs(2255, 4269, always_xy=True).transform(2_045_001.76, 1_267_501.19), abs=2e-7)
    assert asset.reference.horizontal.startswith("EPSG:26995") == (metres == 1)


def test_a_wkt_of_two_quotes_is_none(tmp_path: Path) -> None:
    path = write_las(tmp_path / "q.las")
    las = laspy.read(path)
    las.header.vlrs.append(laspy.VLR("LASF_Projection", 2112, "", b"''\0"))
    las.write(path)
    with pytest.raises(MissingReference, match="states no coordinate reference system"):
        read(path)


def test_feet_are_assumed_aloud() -> None:
    _, report = read(shared_path("pointcloud", "laspy_autzen_trim.laz"), vertical="EPSG:5703")
    assert any("no unit of the heights is stated" in note.reason for note in report.notes)


def test_header_that_lies_about_bounds(tmp_path: Path) -> None:
    path = write_las(tmp_path / "b.las")
    raw = bytearray(path.read_bytes())
    raw[179:187] = np.float64(1e6).tobytes()
    path.write_bytes(raw)
    asset, report = read(path, crs="EPSG:32650", vertical="EGM96")
    assert asset.bounds.maxx < 500_101
    assert any("states the bounds" in note.reason for note in report.notes)


def test_autzen_whole_file() -> None:
    """4.67 million points in a COPC file, feet throughout, 8-bit colours in 16-bit fields."""
    asset, _ = read(shared_path("pointcloud", "autzen2010_west.copc.laz"), vertical="EPSG:5703")
    assert asset.count == 4_667_844
    assert asset.format == "copc"
    assert asset.reference.horizontal == "EPSG:2994"
    assert asset.reference.vertical_unit == pytest.approx(0.3048)
    assert asset.properties["rgb_bits"] == 8
