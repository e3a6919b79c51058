"""Every kind of bad input: one clear error with what to do, or a repair that the report tells of."""

from __future__ import annotations

import json
import shutil
import sqlite3
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shapely
from shapely.geometry import GeometryCollection, LineString, Point, Polygon

from ingest_gis import points
from tests.conftest import shared_path
from tests.ingest_gis.conftest import write_las
from twin.errors import TwinError
from twin.model import Report

SQUARE = Polygon([(0, 0), (10, 0), (10, 10), (0, 10)])


def frame(geometry: list[Any], crs: Any = 32650, **columns: Any) -> geopandas.GeoDataFrame:
    moved = [None if g is None else shapely.transform(g, lambda xy: xy + np.array([500_000, 2_500_000])) for g in geometry]
    return geopandas.GeoDataFrame(columns, geometry=moved, crs=crs)


def buildings(folder: Path, **changes: Any) -> Path:
    data: dict[str, Any] = {"geometry": [SQUARE, Polygon([(20, 0), (30, 0), (30, 10)])], "id": ["a", "b"], "height": [9.0, 12.0]} | changes
    path = folder / "b.gpkg"
    frame(**data).to_file(path)
    return path


def write(folder: Path, name: str, data: bytes) -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


def cut(folder: Path, share: float = 0.5, suffix: str = "gpkg") -> Path:
    whole = folder / f"whole.{suffix}"
    data = frame([SQUARE] * 500, id=[f"{i}" for i in range(500)], height=[5.0] * 500)
    data.to_parquet(whole) if suffix == "parquet" else data.to_file(whole)
    keep = whole.read_bytes()
    whole.write_bytes(keep[: int(len(keep) * share)])
    return whole


def two_tables(folder: Path) -> Path:
    path = folder / "two.gpkg"
    frame([SQUARE], height=[5.0]).to_file(path, layer="old")
    frame([SQUARE], height=[6.0]).to_file(path, layer="new")
    return path


def gbk(folder: Path) -> Path:
    path = folder / "gbk.shp"
    frame([SQUARE], 名称=["江门"], height=[5.0]).to_file(path, encoding="GBK")
    path.with_suffix(".cpg").unlink()
    return path


def lone_shp(folder: Path, *missing: str) -> Path:
    path = folder / "lone.shp"
    frame([SQUARE], height=[5.0]).to_file(path)
    for suffix in missing:
        path.with_suffix(suffix).unlink()
    return path


def short_dbf(folder: Path) -> Path:
    path = folder / "short.shp"
    frame([SQUARE] * 50, height=[5.0] * 50).to_file(path)
    table = path.with_suffix(".dbf")
    table.write_bytes(table.read_bytes()[:-200])
    return path


def plain_parquet(folder: Path) -> Path:
    path = folder / "plain.parquet"
    pq.write_table(pa.table({"height": [1.0]}), path)
    return path


def sqlite_file(folder: Path) -> Path:
    path = folder / "plain.gpkg"
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE a (b)")
    database.close()
    return path


def no_heights(folder: Path) -> Path:
    path = folder / "n.gpkg"
    frame([SQUARE], name=["x"]).to_file(path)
    return path


def with_base(folder: Path) -> Path:
    path = folder / "f.gpkg"
    frame([SQUARE], height=[3.0], foot=[4.0]).to_file(path)
    return path


VRT = b'<OGRVRTDataSource><OGRVRTLayer name="x"><SrcDataSource>/vsicurl/http://example.org/x.shp</SrcDataSource></OGRVRTLayer></OGRVRTDataSource>'
TOPOLOGY = b'{"type":"Topology","objects":{},"arcs":[]}'
SWAPPED = b'{"type":"FeatureCollection","features":[{"type":"Feature","properties":{"height":3},"geometry":{"type":"Polygon","coordinates":[[[500000,2500000],[500010,2500000],[500010,2500010],[500000,2500000]]]}}]}'
BAD_NUMBER = b'{"type":"FeatureCollection","features":[{"type":"Feature","properties":{},"geometry":{"type":"Point","coordinates":[1e999,2]}}]}'

REFUSED: list[tuple[str, Callable[[Path], Path], dict[str, Any], str, str]] = [
    ("empty file", lambda d: write(d, "e.gpkg", b""), {}, "is empty (0 bytes)", "again"),
    ("missing file", lambda d: d / "nothing.gpkg", {}, "no such file", "path"),
    ("garbage", lambda d: write(d, "g.gpkg", bytes(range(256)) * 40), {}, "a binary file of an unknown format", "GeoPackage"),
    ("text", lambda d: write(d, "t.geojson", b"hello"), {}, "a text file of an unknown format", "GeoJSON"),
    ("web page", lambda d: write(d, "t.geojson", b"<!DOCTYPE html><html>404</html>"), {}, "HTML page", "GeoJSON"),
    ("virtual dataset in disguise", lambda d: write(d, "v.geojson", VRT), {}, "OGR virtual dataset", "Readable"),
    ("topojson", lambda d: write(d, "v.json", TOPOLOGY), {}, "TopoJSON", "Convert it to GeoJSON"),
    ("other json", lambda d: write(d, "v.json", b'{"a": 1}'), {}, "neither GeoJSON nor", "Readable"),
    ("zip", lambda d: write(d, "v.shp", b"PK\x03\x04\0\0\0\0"), {}, "ZIP archive", "Readable"),
    ("truncated geopackage", cut, {}, "truncated", "again"),
    ("damaged geopackage", lambda d: write(d, "x.gpkg", b"SQLite format 3\0" + b"\x10\0" + b"\1\1\0\x40\x20\x20" + bytes(8) + b"\0\0\0\1" + b"\xff" * 4064), {}, "SQLite", "again"),
    ("sqlite that is no geopackage", sqlite_file, {}, "no GeoPackage", "Export"),
    ("truncated flatgeobuf", lambda d: cut(d, 0.5, "fgb"), {}, "read", "export"),
    ("truncated parquet", lambda d: cut(d, 0.5, "parquet"), {}, "damaged or truncated Parquet", "Export"),
    ("truncated shapefile", lambda d: cut(d, 0.5, "shp"), {}, "is truncated", "Copy"),
    ("truncated geojson", lambda d: cut(d, 0.7, "geojson"), {}, "cannot be read", "export"),
    ("bad number", lambda d: write(d, "n.geojson", BAD_NUMBER), {}, "cannot be read", "export"),
    ("shapefile without index", lambda d: lone_shp(d, ".shx"), {}, "lone.shx is missing", "Copy .shp"),
    ("shapefile without table", lambda d: lone_shp(d, ".dbf"), {}, "lone.dbf is missing", "Copy .shp"),
    ("truncated dbf", short_dbf, {}, "short.dbf is truncated", "Copy"),
    ("parquet without geometry", plain_parquet, {}, "without GeoParquet metadata", "GeoParquet"),
    ("no CRS", lambda d: buildings(d, crs=None), {}, "no coordinate reference system", "--crs"),
    ("shapefile without prj", lambda d: lone_shp(d, ".prj"), {}, "no coordinate reference system", "--crs"),
    ("unknown CRS", lambda d: buildings(d, crs=None), {"crs": "EPSG:99999"}, "unknown to PROJ", "EPSG"),
    ("CRS far from the numbers", buildings, {"crs": "EPSG:4326"}, "are not degrees", "Check --crs"),
    ("geojson in metres without crs member", lambda d: write(d, "m.geojson", SWAPPED), {}, "are not degrees", "Check --crs"),
    ("wrong zone", buildings, {"crs": "EPSG:2154"}, "far outside", "Check --crs"),
    ("several tables", two_tables, {}, "holds 2 tables: old, new", "--option table=old"),
    ("no such table", two_tables, {"table": "x"}, "no table 'x'", "old, new"),
    ("no such id column", buildings, {"id": "nr"}, "no column 'nr'", "height"),
    ("duplicate ids", lambda d: buildings(d, id=["a", "a"]), {"id": "id"}, "occurs more than once", "--option id="),
    ("unmarked GBK", gbk, {}, "states no encoding", "encoding=GBK"),
    ("unknown encoding", gbk, {"encoding": "klingon"}, "no known encoding", "GBK"),
    ("encoding of a geopackage", buildings, {"encoding": "GBK"}, "encoding applies to Shapefiles", "Leave"),
    ("no height column", lambda d: buildings(d, height=["x", "y"]), {"height": "tall"}, "no column 'tall' for height", "Columns"),
    ("nothing known of heights", no_heights, {}, "no column of heights or floors", "default_height"),
    ("only absurd heights", lambda d: buildings(d, height=[-3.0, 5000.0]), {}, "nothing could be kept", "height -3.0 is negative"),
    ("base without datum", with_base, {"base": "foot"}, "no vertical datum", "--vertical"),
    ("only lines", lambda d: buildings(d, geometry=[LineString([(0, 0), (1, 1)])] * 2), {}, "nothing could be kept", "no outline"),
]


@pytest.mark.parametrize(("make", "options", "what", "remedy"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
def test_refused(tmp_path: Path, ingest: Callable[..., Any], make: Callable[[Path], Path], options: dict[str, Any], what: str, remedy: str) -> None:
    """One TwinError naming the file, what is wrong and what to do; nothing else is raised."""
    path = make(tmp_path)
    with pytest.raises(TwinError) as caught:
        ingest("footprints", path, **options)
    text = str(caught.value)
    assert path.stem in text
    assert what in text
    assert remedy in text


REPAIRED: list[tuple[str, dict[str, Any], dict[str, Any], int, str, str]] = [
    ("NaN coordinates", {"geometry": [SQUARE, Polygon([(0, 0), (np.nan, 1), (1, 1)])]}, {}, 1, "refused", "NaN or infinite"),
    ("infinite coordinates", {"geometry": [SQUARE, Polygon([(0, 0), (np.inf, 1), (1, 1)])]}, {}, 1, "refused", "NaN or infinite"),
    ("zero area", {"geometry": [SQUARE, Polygon([(0, 0), (1, 1), (2, 2), (0, 0)])]}, {}, 1, "refused", "without area"),
    ("self-crossing", {"geometry": [SQUARE, Polygon([(0, 0), (10, 10), (10, 0), (0, 10)])]}, {}, 2, "repaired", "Self-intersection"),
    ("no geometry", {"geometry": [SQUARE, None]}, {}, 1, "refused", "has no geometry"),
    ("empty geometry", {"geometry": [SQUARE, Polygon()]}, {}, 1, "refused", "has no geometry"),
    ("a line among outlines", {"geometry": [SQUARE, LineString([(0, 0), (1, 1)])]}, {}, 1, "refused", "LineString is no outline"),
    ("collection", {"geometry": [SQUARE, GeometryCollection([SQUARE, Point(1, 1)])]}, {}, 2, "repaired", "only the polygons"),
    ("negative height", {"height": [9.0, -1.0]}, {}, 1, "refused", "height -1.0 is negative"),
    ("absurd height", {"height": [9.0, 4000.0]}, {}, 1, "refused", "is absurd"),
    ("infinite height", {"height": [9.0, np.inf]}, {}, 1, "refused", "is absurd"),
    ("NaN height", {"height": [9.0, np.nan]}, {}, 1, "refused", "states no height"),
    ("height as prose", {"height": ["9 m", "tall"]}, {}, 1, "refused", "height 'tall' is no number"),
    ("absurd height, floors known", {"height": [9.0, 4000.0], "floors": [3, 4]}, {}, 2, "repaired", "12 m taken from floors"),
    ("no height, default given", {"height": [9.0, None]}, {"default_height": 7.0}, 2, "assumed", "7 m taken from default"),
    ("empty id", {"id": ["a", None]}, {"id": "id"}, 1, "refused", "has no id"),
    ("repeated id, not named", {"id": ["a", "a"]}, {}, 2, "assumed", "column id is no id"),
]


@pytest.mark.parametrize(("data", "options", "kept", "action", "reason"), [case[1:] for case in REPAIRED], ids=[case[0] for case in REPAIRED])
def test_refused_or_repaired_feature_by_feature(
    tmp_path: Path, ingest: Callable[..., Any], data: dict[str, Any], options: dict[str, Any], kept: int, action: str, reason: str
) -> None:
    """The good feature is kept, the other one is repaired or refused, and the report says which and why."""
    version, report, _ = ingest("footprints", buildings(tmp_path, **data), **options)
    assert version.count == kept
    assert report.read == 2
    assert report.kept == kept
    notes = [note for note in report.notes if reason in note.reason]
    assert len(notes) == 1
    assert notes[0].action == action
    assert notes[0].feature in ("b", "", "row 1") or action == "repaired"


def test_broken_wkb_is_repaired_or_refused_by_name(tmp_path: Path, ingest: Callable[..., Any]) -> None:
    """GeoParquet can hold bytes that are no geometry, or a ring that is not closed."""
    ring = struct.pack("<BIII8d", 1, 3, 1, 4, 500000, 2500000, 500010, 2500000, 500010, 2500010, 500001, 2500001)
    table = pa.table({"id": ["good", "open", "rubbish"], "height": [3.0, 4.0, 5.0],
                      "geometry": [shapely.to_wkb(shapely.box(500000, 2500000, 500005, 2500005)), ring, b"\x01\x03\x00"]})  # fmt: skip
    geo = {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": {"encoding": "WKB", "geometry_types": [], "crs": _projjson()}}}
    path = tmp_path / "w.parquet"
    pq.write_table(table.replace_schema_metadata({"geo": json.dumps(geo)}), path)
    version, report, _ = ingest("footprints", path)
    assert version.count == 2
    assert {(n.action, n.feature) for n in report.notes} == {("repaired", "open"), ("refused", "rubbish")}


def _projjson() -> Any:
    import pyproj

    return pyproj.CRS(32650).to_json_dict()


# --- point clouds ------------------------------------------------------------------------------------------------


def patched(folder: Path, at: int, data: bytes, name: str = "p.las") -> Path:
    path = write_las(folder / name)
    raw = bytearray(path.read_bytes())
    raw[at : at + len(data)] = data
    path.write_bytes(raw)
    return path


def shortened(folder: Path, name: str) -> Path:
    path = write_las(folder / name, 20_000)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


def of_laszip_1(folder: Path) -> Path:
    """A LAZ whose LASzip record names the compressor of 2007."""
    path = write_las(folder / "old.laz")
    raw = path.read_bytes()
    at = raw.index(b"laszip encoded") - 2 + 54  # reserved (2), user id, record id, length, description: then the record
    path.write_bytes(raw[:at] + b"\x01\x00" + raw[at + 2 :])
    return path


REFUSED_CLOUDS: list[tuple[str, Callable[[Path], Path], dict[str, Any], str, str]] = [
    ("zero bytes", lambda d: write(d, "e.las", b""), {}, "is empty (0 bytes)", "again"),
    ("garbage", lambda d: write(d, "g.las", b"\x07" * 5000), {}, "no LAS file", ".las"),
    ("garbage behind the signature", lambda d: write(d, "g.las", b"LASF" + b"\xff" * 5000), {}, "version 255.255 is unknown", "again"),
    ("header cut", lambda d: write(d, "h.las", b"LASF" + bytes(100)), {}, "header is truncated", "again"),
    ("zero scale", lambda d: patched(d, 131, struct.pack("<d", 0.0)), {}, "not positive numbers", "again"),
    ("NaN scale", lambda d: patched(d, 131, struct.pack("<d", float("nan"))), {}, "not positive numbers", "again"),
    ("infinite scale", lambda d: patched(d, 147, struct.pack("<d", float("inf"))), {}, "not positive numbers", "again"),
    ("NaN offset", lambda d: patched(d, 155, struct.pack("<d", float("nan"))), {}, "offsets", "again"),
    ("points behind the end", lambda d: patched(d, 96, struct.pack("<I", 1 << 30)), {}, "behind the end of the file", "again"),
    ("points inside the header", lambda d: patched(d, 96, struct.pack("<I", 5)), {}, "inside the header", "again"),
    ("unknown point format", lambda d: patched(d, 104, b"\x0b"), {}, "point format 11 is unknown", "again"),
    ("records too short", lambda d: patched(d, 105, struct.pack("<H", 12)), {}, "too short", "again"),
    ("no points", lambda d: patched(d, 107, struct.pack("<I", 0)), {}, "holds no points", "again"),
    ("more points than bytes", lambda d: patched(d, 107, struct.pack("<I", 1 << 30)), {}, "truncated", "again"),
    ("half a LAS", lambda d: shortened(d, "half.las"), {}, "truncated", "again"),
    ("half a LAZ", lambda d: shortened(d, "half.laz"), {"crs": "EPSG:32650", "vertical": "EGM96"}, "truncated", "again"),
    ("a stream without chunks", of_laszip_1, {"crs": "EPSG:32650", "vertical": "EGM96"}, "as LASzip 1 wrote it", "pdal translate"),
    ("compressed without saying how", lambda d: patched(d, 104, b"\x83"), {}, "LASzip record", "again"),
    ("no CRS", lambda d: write_las(d / "n.las"), {"vertical": "EGM96"}, "no coordinate reference system", "--crs"),
    ("no datum", lambda d: write_las(d / "n.las"), {"crs": "EPSG:32650"}, "no vertical datum", "--vertical"),
    ("relative heights", lambda d: write_las(d / "n.las"), {"crs": "EPSG:32650", "vertical": "above ground"}, "no vertical datum", "--vertical"),
]


@pytest.mark.parametrize(("make", "options", "what", "remedy"), [case[1:] for case in REFUSED_CLOUDS], ids=[case[0] for case in REFUSED_CLOUDS])
def test_refused_cloud(tmp_path: Path, make: Callable[[Path], Path], options: dict[str, Any], what: str, remedy: str) -> None:
    path = make(tmp_path)
    with pytest.raises(TwinError) as caught:
        list(points.read(path, points.Options(**options), Report(source=path.name)))
    text = str(caught.value)
    assert path.name in text
    assert what in text
    assert remedy in text


MALFORMED = {
    "derived_bad_magic.las": "no LAS file", "derived_empty.las": "is empty", "derived_html_error_page.laz": "HTML page",
    "derived_nan_scale.las": "not positive numbers", "derived_offset_beyond_eof.las": "behind the end of the file",
    "derived_point_format_99.las": "point format 35 is unknown", "derived_truncated_half.las": "truncated",
    "derived_truncated_header.las": "header is truncated",
}  # fmt: skip
SOUND = {  # file → (points, what the report says or "")
    "derived_vlr_count_lie.las": (1065, "states 100000 variable length records"), "derived_copc_bad_root_hier.copc.laz": (1065, "COPC hierarchy lies outside"),
    "ign_pdalfail_0643_6319.laz": (89, ""), "ign_semis_ok.laz": (64572, ""), "ign_single_point.laz": (1, ""),
}  # fmt: skip


@pytest.mark.parametrize("name", [*MALFORMED, *SOUND])
def test_malformed_collection(name: str) -> None:
    """The whole folder of malformed files: refused with its reason, or read with a remark."""
    path = shared_path("pointcloud", "malformed", name)
    report = Report(source=name)
    options = points.Options(crs="EPSG:2154", vertical="EPSG:5720")
    if name in MALFORMED:
        with pytest.raises(TwinError, match=MALFORMED[name]):
            list(points.read(path, options, report))
        return
    (asset,) = points.read(path, options, report)
    assert asset.count == SOUND[name][0]
    assert not SOUND[name][1] or any(SOUND[name][1] in note.reason for note in report.notes)


def test_every_malformed_file_is_listed() -> None:
    folder = shared_path("pointcloud", "malformed")
    assert {path.name for path in folder.iterdir()} == {*MALFORMED, *SOUND}


def test_copied_shapefile_with_option(tmp_path: Path, ingest: Callable[..., Any]) -> None:
    """The remedy that the message names works."""
    _, report, (features,) = ingest("footprints", gbk(tmp_path), encoding="GBK")
    assert features.attributes.column("名称").to_pylist() == ["江门"]
    assert report.facts["encoding"] == "GBK"
    shutil.rmtree(tmp_path / "lake", ignore_errors=True)
