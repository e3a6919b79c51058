"""The manifest names every file, and every file says where it lies."""

from __future__ import annotations

import laspy
import pyogrio
import pyproj
import rasterio

from tests.data_samples.conftest import Sample

GROUPS = {"时空基础", "资源调查", "规划管控", "工程建设项目", "公共专题", "物联感知"}
READERS = {"footprints", "vector", "terrain", "raster", "ifc", "points", None}


def test_every_entry_is_complete_and_its_file_exists(sample: Sample) -> None:
    files = sample.manifest["files"]
    assert len({f["layer"] for f in files}) == len(files)
    for f in files:
        assert (sample.folder / f["path"]).stat().st_size > 100, f["path"]
        assert f["group"] in GROUPS and f["reader"] in READERS and f["licence"] and f["description"]
        assert f["title"]["zh"] and f["title"]["en"].isascii()
        assert all(isinstance(v, str) for v in f["options"].values())
        assert f["vertical"] in ("", "above ground", "EPSG:5737")


def test_all_six_groups_but_no_unlisted_files(sample: Sample) -> None:
    listed = {f["path"] for f in sample.manifest["files"]} | {"manifest.json"}
    sidecars = {"landuse.dbf", "landuse.shx", "landuse.prj", "landuse.cpg"}
    assert {p.name for p in sample.folder.iterdir()} == listed | sidecars
    assert {f["group"] for f in sample.manifest["files"]} == GROUPS


def test_declared_crs_is_in_the_file(sample: Sample) -> None:
    for f in sample.manifest["files"]:
        path = sample.folder / f["path"]
        if path.suffix in (".gpkg", ".shp", ".geojson"):
            assert pyproj.CRS(pyogrio.read_info(path)["crs"]).equals(pyproj.CRS(f["crs"]), ignore_axis_order=True), f
        elif path.suffix == ".tif":
            with rasterio.open(path) as source:
                assert source.crs.to_epsg() == 4547


def test_every_measured_number_has_its_unit(sample: Sample) -> None:
    by_other_columns = {"sensors": {"datum_level", "warning", "alarm"}}  # their unit stands beside them, feature by feature
    for f in sample.manifest["files"]:
        if f["reader"] not in ("vector", "footprints"):
            continue
        data = sample.read(f["layer"])
        measured = set(data.select_dtypes("floating").columns) - by_other_columns.get(f["layer"], set()) - {f["options"].get("height")}
        assert measured <= set(f["columns"]), f["layer"]
        assert set(f["columns"]) <= set(data.columns), f["layer"]


def test_places_are_where_jiangmen_is(sample: Sample) -> None:
    places = sample.read("places")
    assert places.total_bounds[0] > 113.04 and places.total_bounds[2] < 113.12
    assert places.total_bounds[1] > 22.55 and places.total_bounds[3] < 22.61


def test_cloud_declares_a_compound_crs(sample: Sample) -> None:
    with laspy.open(sample.path("survey")) as source:
        assert (source.header.version.minor, source.header.point_format.id) == (4, 7)
        wkt = next(v for v in source.header.vlrs if v.record_id == 2112)
        crs = pyproj.CRS.from_wkt(wkt.string)
    assert [part.to_authority(min_confidence=20) for part in crs.sub_crs_list] == [("EPSG", "4547"), ("EPSG", "5737")]
