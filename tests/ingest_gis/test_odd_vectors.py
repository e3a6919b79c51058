"""Vector files as other programs really write them: cut names and texts, code pages, rows marked as deleted, CRS members, names that come twice."""

from __future__ import annotations

import json
import sqlite3
import struct
import zipfile
from collections.abc import Callable
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pyproj
import pytest
import shapely
from shapely.geometry import Point

from ingest_gis.dbf import code_page
from twin import intake
from twin.errors import BadInput, BadOption, BadReference, MissingReference, UnreadableSource
from twin.model import Features, LayerVersion, Report

Ingest = Callable[..., tuple[LayerVersion, Report, list[Features]]]
POINTS = [Point(113, 22), Point(113.5, 22.5)]


def shapefile(folder: Path, encoding: str, **columns: Any) -> Path:
    path = folder / "t.shp"
    geopandas.GeoDataFrame(columns, geometry=POINTS, crs=4490).to_file(path, encoding=encoding)
    return path


def rows(features: list[Features]) -> dict[str, list[Any]]:
    result: dict[str, list[Any]] = pa.concat_tables([f.attributes for f in features]).to_pydict()
    return result


def geojson(folder: Path, *properties: dict[str, Any], points: list[Point] | None = None, ids: list[Any] | None = None, **members: Any) -> Path:
    path = folder / "t.geojson"
    features = [
        {"type": "Feature", **({} if ids is None else {"id": ids[i]}), "geometry": shapely.geometry.mapping((points or POINTS)[i]), "properties": own}
        for i, own in enumerate(properties)
    ]
    path.write_text(json.dumps({"type": "FeatureCollection", **members, "features": features}))
    return path


def test_names_and_texts_cut_inside_a_character(tmp_path: Path, ingest: Ingest) -> None:
    """Ten bytes of a name are three Chinese characters and a piece; a column of ten bytes does the same to its values."""
    path = shapefile(tmp_path, "UTF-8", 道路名称类=["甲", "乙"], 道路名称号=["丙", "丁"], c=["江门市蓬江", "ab"])
    table = bytearray(path.with_suffix(".dbf").read_bytes())
    start, width = int.from_bytes(table[8:10], "little"), int.from_bytes(table[10:12], "little")
    at = table.index("江门市蓬江".encode(), start)
    table[at : at + 15] = "江门市蓬江".encode()[:11] + b"    "  # as a program does that counts bytes
    path.with_suffix(".dbf").write_bytes(table)
    _, report, features = ingest("vector", path)
    found = rows(features)
    assert list(found) == ["道路名", "道路_1", "c"]
    assert found["道路名"] == ["甲", "乙"]
    assert found["道路_1"] == ["丙", "丁"]
    assert found["c"] == ["江门市", "ab"]
    assert report.counts["repaired"] == 3
    assert width > 0


@pytest.mark.parametrize(("stated", "expected"), [("ANSI 936", "CP936"), ("936", "CP936"), ("gb2312", "CP936"), ("65001", "UTF-8"), ("ISO 88591", "ISO-8859-1"),
                                                  ("88591", "ISO-8859-1"), ("Big5", "Big5"), ("UTF-8", "UTF-8"), ("nonsense", None), ("", None)])  # fmt: skip
def test_code_pages(stated: str, expected: str | None) -> None:
    assert code_page(stated) == expected


@pytest.mark.parametrize("stated", ["ANSI 936", "GB2312"])
def test_code_pages_that_gdal_does_not_know(tmp_path: Path, ingest: Ingest, stated: str) -> None:
    path = shapefile(tmp_path, "GBK", 名称=["江门", "鎏金"])
    path.with_suffix(".cpg").write_text(stated)
    assert rows(ingest("vector", path)[2])["名称"] == ["江门", "鎏金"]


def test_a_code_page_that_says_nothing(tmp_path: Path, ingest: Ingest) -> None:
    path = shapefile(tmp_path, "GBK", 名称=["江门", "鎏金"])
    path.with_suffix(".cpg").write_text("nonsense")
    with pytest.raises(UnreadableSource, match=r"'nonsense'.*encoding=GBK"):
        ingest("vector", path)
    path.with_suffix(".cpg").unlink()
    table = bytearray(path.with_suffix(".dbf").read_bytes())
    table[29] = 0x57  # "the code page of this machine": GDAL takes it for ISO 8859-1
    path.with_suffix(".dbf").write_bytes(table)
    with pytest.raises(UnreadableSource, match="encoding=GBK"):
        ingest("vector", path)
    assert rows(ingest("vector", path, encoding="GBK")[2])["名称"] == ["江门", "鎏金"]


def test_rows_marked_as_deleted(tmp_path: Path, ingest: Ingest) -> None:
    path = shapefile(tmp_path, "UTF-8", a=["gone", "here"])
    table = bytearray(path.with_suffix(".dbf").read_bytes())
    table[int.from_bytes(table[8:10], "little")] = ord("*")
    path.with_suffix(".dbf").write_bytes(table)
    _, report, features = ingest("vector", path)
    assert rows(features)["a"] == ["here"]
    assert any(note.action == "skipped" and "deleted" in note.reason for note in report.notes)


def test_geojson_whose_property_id_becomes_the_key(tmp_path: Path, ingest: Ingest) -> None:
    """Where only the properties have an `id`, GDAL gives a column of that name twice."""
    path = geojson(tmp_path, {"id": 7, "name": "x", "wkb_geometry": "own"})
    version, _, features = ingest("vector", path)
    assert version.count == 1
    assert rows(features) == {"name": ["x"], "wkb_geometry": ["own"]}
    assert features[0].ids.to_pylist() == ["7"]


def test_geojson_ids_that_are_the_same_texts(tmp_path: Path, ingest: Ingest) -> None:
    """They are no key, and neither are GDAL's row numbers."""
    _, report, features = ingest("vector", geojson(tmp_path, {"a": 1}, {"a": 2}, ids=["way/1", "way/1"]))
    assert report.facts["id_rule"].startswith("hash")
    assert len(set(features[0].ids.to_pylist())) == 2


@pytest.mark.parametrize("name", ["urn:ogc:def:crs:EPSG::99999999", "Jiangmen local"])
@pytest.mark.parametrize("behind", [False, True])
def test_geojson_crs_that_gdal_takes_for_wgs84(tmp_path: Path, ingest: Ingest, name: str, behind: bool) -> None:
    path = geojson(tmp_path, {"a": 1, "crs": None})
    crs = {"type": "name", "properties": {"name": name}}
    text = json.loads(path.read_text())
    path.write_text(json.dumps({**text, "crs": crs} if behind else {"type": "FeatureCollection", "crs": crs, "features": text["features"]}))
    with pytest.raises(BadReference, match="unknown to PROJ"):
        ingest("vector", path)
    version, report, _ = ingest("vector", path, crs="EPSG:4490")  # the user knows better
    assert version.reference.horizontal == "EPSG:4490"
    assert any("takes the place of" in note.reason for note in report.notes)


def test_geojson_crs_null_and_linked(tmp_path: Path, ingest: Ingest) -> None:
    with pytest.raises(MissingReference):
        ingest("vector", geojson(tmp_path, {"a": 1}, crs=None))
    with pytest.raises(BadReference, match="link"):
        ingest("vector", geojson(tmp_path, {"a": 1}, crs={"type": "link", "properties": {"href": "http://example.org/x", "type": "proj4"}}))
    version, _, _ = ingest("vector", geojson(tmp_path, {"a": 1}, points=[Point(500_000, 2_500_000)], crs={"type": "name", "properties": {"name": "EPSG:4547"}}))
    assert version.reference.horizontal == "EPSG:4547"
    version, _, _ = ingest("vector", geojson(tmp_path, {"a": 1}, crs={"type": "name", "properties": {"name": "urn:ogc:def:crs:OGC:1.3:CRS84"}}))
    assert "4326" in version.reference.horizontal or "CRS84" in version.reference.horizontal


@pytest.mark.parametrize("mark", ["", "\x1e"])
def test_one_feature_a_line(tmp_path: Path, ingest: Ingest, mark: str) -> None:
    whole = json.loads(geojson(tmp_path, {"a": 1}, {"a": 2}).read_text())
    path = tmp_path / "t.geojsonl"
    path.write_text("".join(f"{mark}{json.dumps(feature)}\n" for feature in whole["features"]))
    version, _, features = ingest("vector", path)
    assert version.count == 2
    assert rows(features) == {"a": [1, 2]}
    assert shapely.get_coordinates(features[0].geometry).tolist() == [[113, 22], [113.5, 22.5]]


def parquet(folder: Path, table: pa.Table, geo: Any) -> Path:
    path = folder / "t.parquet"
    pq.write_table(table.replace_schema_metadata({b"geo": json.dumps(geo).encode()}), path)
    return path


GEO = {"version": "1.0.0", "primary_column": "g", "columns": {"g": {"encoding": "WKB", "geometry_types": ["Point"]}}}
WKB = [bytes(shapely.to_wkb(point)) for point in POINTS]


def test_columns_of_one_name(tmp_path: Path, ingest: Ingest) -> None:
    table = pa.table([pa.array([1, 2]), pa.array(WKB), pa.array([3, 4]), pa.array(["x", "y"])], names=["a", "g", "a", "id"])
    _, _, features = ingest("vector", parquet(tmp_path, table, GEO))
    assert rows(features) == {"a": [1, 2], "a_2": [3, 4]}
    twice = pa.table([pa.array(["x", "x"]), pa.array(WKB), pa.array(["y", "z"])], names=["id", "g", "id"])
    _, report, _ = ingest("vector", parquet(tmp_path, twice, GEO))
    assert any("is no id" in note.reason for note in report.notes)


@pytest.mark.parametrize(("values", "geo", "said"), [
    (WKB, [1], "malformed"),
    (WKB, {**GEO, "columns": {"g": None}}, "geometry column"),
    ([wkb.hex() for wkb in WKB], GEO, "not WKB"),
])  # fmt: skip
def test_geoparquet_that_is_none(tmp_path: Path, ingest: Ingest, values: list[Any], geo: Any, said: str) -> None:
    with pytest.raises(UnreadableSource, match=said):
        ingest("vector", parquet(tmp_path, pa.table({"g": pa.array(values)}), geo))


@pytest.mark.parametrize(("text", "said"), [
    ('{"geometryType":"esriGeometryPoint","spatialReference":{"wkid":4326},"features":[]}', "Esri"),
    ('{"type":"Feature","conformsTo":["http://www.opengis.net/spec/json-fg-1/0.2/conf/core"],"place":{}}', "JSON-FG"),
    ('{"type":"Topology","objects":{}}', "TopoJSON"),
])  # fmt: skip
def test_other_json_is_named(tmp_path: Path, ingest: Ingest, text: str, said: str) -> None:
    path = tmp_path / "t.json"
    path.write_text(text)
    with pytest.raises(UnreadableSource, match=said):
        ingest("vector", path)
    path.write_bytes(text.encode("utf-16"))
    with pytest.raises(UnreadableSource, match="UTF-16"):
        ingest("vector", path)


@pytest.mark.parametrize(("name", "said"), [
    ("a.dxf", "CAD.*QGIS"), ("a.mdb", "geodatabase.*ogr2ogr out.gpkg a.mdb"), ("a00000001.gdbtable", "folder .gdb"), ("a.osm.pbf", "OpenStreetMap"), ("A.KML", "KML"), ("a.csv", "table"), ("a.img", "GeoTIFF"), ("a.inp", "network_inp=@a.inp"),
    ("a.dbf", r"Give the \.shp"), ("a.osgb", "3D Tiles"), ("a.qqq", "Known suffixes"),
])  # fmt: skip
def test_formats_without_a_reader_are_named(tmp_path: Path, name: str, said: str) -> None:
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(BadInput, match=said):
        intake.ingest_params(tmp_path / name, "x")


def test_a_zip_says_what_it_holds(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        file.writestr("点云/甲.las", b"x")
    with pytest.raises(BadInput, match=r"1 × \.las.*Unpack it"):
        intake.ingest_params(tmp_path / "a.zip", "x")


def test_decimals_become_the_nearest_number(tmp_path: Path, ingest: Ingest) -> None:
    """As Python reads the same digits; 26.40 is not 26.400000000000002."""
    digits = ["26.40", "-0.01", "1234567890123.45", "0.00"]
    values = pa.array([*map(Decimal, digits), None], pa.decimal128(18, 2))
    table = pa.table({"g": pa.array([WKB[0]] * 5), "price": values})
    _, report, features = ingest("vector", parquet(tmp_path, table, GEO))
    assert rows(features)["price"] == [*map(float, digits), None]
    assert any("stored as float64" in note.reason for note in report.notes)


def test_texts_in_a_column_of_numbers_are_told(tmp_path: Path, ingest: Ingest) -> None:
    path = tmp_path / "t.gpkg"
    geopandas.GeoDataFrame({"a": [1, 2], 'b"c': [1.5, 2.5]}, geometry=POINTS, crs=4490).to_file(path, layer="t", SPATIAL_INDEX="NO")
    assert not ingest("vector", path)[1].counts
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("UPDATE t SET a = 'two' WHERE a = 2")
    _, report, _ = ingest("vector", path)
    assert [note.reason.partition(" and ")[0] for note in report.notes] == ["column a: 1 values are texts in a column of numbers"]


@pytest.mark.parametrize("kind", ["TIN", "POLYHEDRALSURFACE"])
def test_surfaces_in_space_are_named(tmp_path: Path, ingest: Ingest, kind: str) -> None:
    path = tmp_path / "t.gpkg"
    geopandas.GeoDataFrame({"a": [1, 2]}, geometry=POINTS, crs=4490).to_file(path)
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("UPDATE gpkg_geometry_columns SET geometry_type_name = ?, z = 1", (kind,))
    with pytest.raises(UnreadableSource, match="CityGML"):
        ingest("vector", path)


def test_a_file_geodatabase_is_a_folder(tmp_path: Path, ingest: Ingest) -> None:
    path = tmp_path / "城.gdb"
    for name in ("路", "桥"):
        frame = geopandas.GeoDataFrame({"名称": ["甲", "乙"], "width": [1.5, 2.0]}, geometry=POINTS, crs=4490)
        frame.to_file(path, driver="OpenFileGDB", layer=name, mode="a" if path.exists() else "w")
    assert intake.ingest_params(path, "x", options={"table": "桥"})["reader"] == "vector"
    with pytest.raises(BadOption, match="2 tables: 路, 桥"):
        ingest("vector", path)
    version, report, features = ingest("vector", path, table="桥")
    assert rows(features) == {"名称": ["甲", "乙"], "width": [1.5, 2.0]}
    assert shapely.get_coordinates(features[0].geometry) == pytest.approx(shapely.get_coordinates(POINTS))
    assert version.reference.horizontal == "EPSG:4490"
    assert report.facts["id_rule"].startswith("row key")
    (tmp_path / "empty.gdb").mkdir()
    with pytest.raises(UnreadableSource, match="no file geodatabase"):
        ingest("vector", tmp_path / "empty.gdb")


def test_no_bytes_are_no_geometry(tmp_path: Path, ingest: Ingest) -> None:
    """GDAL hands them over for a feature without geometry of a FlatGeobuf."""
    version, report, _ = ingest("vector", parquet(tmp_path, pa.table({"g": pa.array([WKB[0], b""])}), GEO))
    assert version.count == 2
    assert [note.reason for note in report.notes] == ["has no geometry; its attributes are kept"]


@pytest.mark.parametrize("shape", ["TIN Z", "GEOMETRYCOLLECTION Z", "POLYHEDRALSURFACE Z"])
def test_surfaces_in_space_among_plan_features_are_named(tmp_path: Path, ingest: Ingest, shape: str) -> None:
    ring = struct.pack("<II", 1, 4) + np.array([[0, 0, 0], [0, 0, 1], [0, 1, 0], [0, 0, 0]], "<f8").tobytes()
    wkb = struct.pack("<BII", 1, 1015 if shape[0] == "P" else 1016, 1) + struct.pack("<BI", 1, 1003 if shape[0] == "P" else 1017) + ring
    if shape[0] == "G":
        wkb = struct.pack("<BII", 1, 1007, 1) + wkb
    version, report, _ = ingest("vector", parquet(tmp_path, pa.table({"g": pa.array([WKB[0], wkb])}), GEO))
    assert version.count == 1
    assert "CityGML" in next(note.reason for note in report.notes if note.action == "refused")


@pytest.mark.parametrize(("stated", "expected"), [
    (pyproj.CRS(4547).to_wkt(), "EPSG:4547"),  # GeoParquet up to 0.3
    ({"type": "GeographicCRS", "name": "CGCS2000", "coordinate_system": {"type": "EllipsoidalCS", "axis": []}, "id": {"authority": "EPSG", "code": 4490}}, "EPSG:4490"),  # as GeoTools writes it
])  # fmt: skip
def test_geoparquet_whose_crs_is_no_projjson(tmp_path: Path, ingest: Ingest, stated: Any, expected: str) -> None:
    point = WKB[0] if expected == "EPSG:4490" else bytes(shapely.to_wkb(Point(500_000, 2_500_000)))
    geo = {**GEO, "columns": {"g": {**GEO["columns"]["g"], "crs": stated}}}  # type: ignore[dict-item]
    version, _, _ = ingest("vector", parquet(tmp_path, pa.table({"g": pa.array([point])}), geo))
    assert version.reference.horizontal == expected


@pytest.mark.parametrize("suffix", ["geojson", "fgb"])
def test_columns_that_differ_in_case_alone(tmp_path: Path, ingest: Ingest, suffix: str) -> None:
    """GDAL, told to read `id` alone, read `ID` alone; that was an internal error."""
    frame = geopandas.GeoDataFrame({"id": ["a", "b"], "ID": [7, 8]}, geometry=shapely.points([405_000, 405_010], [2_498_000, 2_498_000]), crs="EPSG:4547")
    frame.to_file(tmp_path / f"a.{suffix}", driver="GeoJSON" if suffix == "geojson" else "FlatGeobuf")
    _, _, batches = ingest("vector", tmp_path / f"a.{suffix}")
    read = {key: value for batch in batches for key, value in zip(batch.ids.to_pylist(), batch.attributes.column("source_ID").to_pylist(), strict=True)}
    assert read == {"a": 7, "b": 8}


def test_whole_numbers_beyond_64_bits_are_ids_too(tmp_path: Path, ingest: Ingest) -> None:
    frame = geopandas.GeoDataFrame({"number": [1e300, 2e300]}, geometry=shapely.points([405_000, 405_010], [2_498_000, 2_498_000]), crs="EPSG:4547")
    frame.to_file(tmp_path / "a.gpkg")
    _, _, batches = ingest("vector", tmp_path / "a.gpkg", id="number")
    assert {float(text) for batch in batches for text in batch.ids.to_pylist()} == {1e300, 2e300}


def test_the_one_place_with_its_axes_swapped_is_named(tmp_path: Path, ingest: Ingest) -> None:
    """Of degrees, a hundred degrees were asked for, which nothing is away."""
    frame = geopandas.GeoDataFrame({"gid": [f"p{i}" for i in range(5)]}, geometry=shapely.points([[113.08 + i / 1e4, 22.57] for i in range(4)] + [[22.57, 113.08]]), crs=4326)
    frame.to_file(tmp_path / "a.gpkg")
    with pytest.raises(BadReference, match=r"are not degrees.*Feature 'p4' lies at x 22.57, y 113.08"):
        ingest("vector", tmp_path / "a.gpkg", id="gid")


@pytest.mark.parametrize(("far", "refused"), [(1e9, True), (0.0, False)])
def test_a_feature_far_from_all_others_is_named(tmp_path: Path, ingest: Ingest, far: float, refused: bool) -> None:
    """One bad coordinate made a message about the CRS alone, or a layer that reaches to the equator without a word."""
    x = [405_000.0 + 10 * i for i in range(9)]
    frame = geopandas.GeoDataFrame({"gid": [f"p{i}" for i in range(10)]}, geometry=shapely.points([*x, far], [*[2_498_000.0] * 9, far]), crs="EPSG:4547")
    frame.to_file(tmp_path / "a.gpkg")
    if refused:
        with pytest.raises(BadReference, match=r"Feature 'p9' lies at x 1e\+09, y 1e\+09, far from the others .*Mend that feature or leave it out"):
            ingest("vector", tmp_path / "a.gpkg", id="gid")
    else:
        _, report, _ = ingest("vector", tmp_path / "a.gpkg", id="gid")
        assert [(note.feature, "x 0, y 0, far from the others" in note.reason) for note in report.notes if note.action == "warned"] == [("p9", True)]
