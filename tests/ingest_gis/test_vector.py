"""Vector sources against geopandas' own reading of the same files."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pyproj
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely.geometry import LineString, Point, box

from ingest_gis import columns, footprints, ids, nodelink, vector
from ingest_gis.rows import VectorOptions
from ingest_gis.vector_source import open_source
from tests.conftest import shared_path
from twin.errors import BadOption, MissingReference, UnreadableSource
from twin.model import Features, Report

Ingest = Callable[..., Any]
FIXTURES = ("peer_suites", "pyogrio-tests", "pyogrio", "tests", "fixtures")


def joined(batches: list[Features]) -> tuple[list[str], Any, pa.Table]:
    geometry = np.concatenate([batch.geometry for batch in batches])
    return [i for b in batches for i in b.ids.to_pylist()], geometry, pa.concat_tables([b.attributes for b in batches])


@pytest.mark.parametrize("suffix", ["gpkg", "geojson", "shp", "fgb", "parquet"])
def test_every_format_gives_the_same_features(tmp_path: Path, ingest: Ingest, suffix: str) -> None:
    """One layer in five formats: ids, geometries, texts, numbers and CRS come back equal."""
    rng = np.random.default_rng(3)
    corners = rng.random((300, 2)) * 1000 + [500_000, 2_500_000]
    frame = geopandas.GeoDataFrame(
        {"id": [f"x{i}" for i in range(300)], "名称": [f"楼{i}" if i % 3 else None for i in range(300)], "n": rng.integers(0, 99, 300), "v": rng.random(300)},
        geometry=[box(x, y, x + 5, y + 7) for x, y in corners], crs=4547,
    )  # fmt: skip
    path = tmp_path / f"a.{suffix}"
    frame.to_parquet(path) if suffix == "parquet" else frame.to_file(path, **({"encoding": "UTF-8"} if suffix == "shp" else {}))
    version, report, batches = ingest("vector", path)
    got_ids, geometry, table = joined(batches)
    assert version.reference.horizontal == "EPSG:4547"
    assert report.facts["id_rule"] == "column id"
    order = np.argsort([int(i[1:]) for i in got_ids])
    assert [got_ids[i] for i in order] == frame["id"].tolist()
    assert shapely.equals(geometry[order], frame.geometry.to_numpy()).all()
    table = table.take(pa.array(order))
    assert table.column("名称").to_pylist() == [None if pd.isna(v) else v for v in frame["名称"]]
    assert table.column("n").to_pylist() == frame["n"].tolist()
    assert np.allclose(table.column("v").to_numpy(), frame["v"], rtol=1e-12)
    assert version.style == {"label": "名称"}


@pytest.mark.parametrize("encoding", ["WKB", "geoarrow"])
@pytest.mark.parametrize("kind", ["Point", "LineString", "Polygon", "MultiPolygon"])
def test_geoparquet_encodings(tmp_path: Path, ingest: Ingest, encoding: str, kind: str) -> None:
    shapes: dict[str, list[Any]] = {
        "Point": [Point(1, 2), None, Point(3, 4)], "LineString": [LineString([(0, 0), (1, 1)]), None, LineString([(2, 0), (1, 1), (5, 5)])],
        "Polygon": [box(0, 0, 1, 1), None, box(0, 0, 9, 9) - box(2, 2, 3, 3)],
        "MultiPolygon": [shapely.multipolygons([box(0, 0, 1, 1), box(2, 2, 3, 3)]), None, shapely.multipolygons([box(0, 0, 9, 9) - box(2, 2, 3, 3)])],
    }  # fmt: skip
    frame = geopandas.GeoDataFrame({"id": ["a", "b", "c"]}, geometry=shapes[kind], crs=4326)
    path = tmp_path / "e.parquet"
    frame.to_parquet(path, geometry_encoding=encoding, write_covering_bbox=True)
    _, _, batches = ingest("vector", path)
    got, geometry, table = joined(batches)
    expected = dict(zip(frame["id"], frame.geometry, strict=True))
    assert "bbox" not in table.column_names
    for name, value in zip(got, geometry, strict=True):
        assert (value is None) == (expected[name] is None)
        assert value is None or value.equals(expected[name])


def test_attribute_types_survive(tmp_path: Path, ingest: Ingest) -> None:
    """Dates become ISO texts, structs are flattened, lists become JSON, bytes are left out; each is noted."""
    table = pa.table({
        "geometry": pa.array([shapely.to_wkb(Point(1, 2))], pa.binary()), "i64": pa.array([2**62]), "day": pa.array([dt.date(2024, 2, 29)]),
        "time": pa.array([dt.datetime(2024, 2, 29, 12, 30, 5, tzinfo=dt.UTC)], pa.timestamp("s", "UTC")),
        "local": pa.array([dt.datetime(2024, 2, 29, 12, 30, 5)], pa.timestamp("s")),
        "name": pa.array([{"zh": "江门", "parts": [1, 2]}]), "list": pa.array([["a", "b"]]), "raw": pa.array([b"\1"]), "flag": pa.array([True]),
        "price": pa.array([1.25]).cast(pa.decimal128(10, 2)), "word": pa.array(["x"]).dictionary_encode(), "nothing": pa.nulls(1), "Word": pa.array(["y"]),
        "bbox": pa.array(["mine"]), "parent": pa.array(["p"]),
    })  # fmt: skip
    geo = {"version": "1.0.0", "primary_column": "geometry", "columns": {"geometry": {"encoding": "WKB", "geometry_types": ["Point"]}}}
    path = tmp_path / "t.parquet"
    pq.write_table(table.replace_schema_metadata({"geo": json.dumps(geo)}), path)
    version, report, batches = ingest("vector", path)
    row = batches[0].attributes.to_pylist()[0]
    assert row == {
        "i64": 2**62, "day": "2024-02-29", "time": "2024-02-29T12:30:05Z", "local": "2024-02-29T12:30:05", "name.zh": "江门", "name.parts": [1, 2],
        "list": ["a", "b"], "flag": True, "price": 1.25, "word": "x", "nothing": None, "source_Word": "y", "source_bbox": "mine", "source_parent": "p",
    }  # fmt: skip
    assert version.reference.horizontal == "OGC:CRS84"
    assert any(note.action == "skipped" and "raw" in note.reason for note in report.notes)
    assert sum("taken or reserved" in note.reason for note in report.notes) == 3


@pytest.mark.parametrize(
    ("attributes", "options", "rule", "expected"),
    [
        ({"id": [7, 8]}, {}, "column id", ["7", "8"]),
        ({"OBJECTID": [1.0, 2.0], "nr": ["a", "b"]}, {"id": "OBJECTID"}, "column OBJECTID", ["1", "2"]),
        ({"nr": ["a", "b"]}, {"id": "nr"}, "column nr", ["a", "b"]),
        ({"nr": ["a", "b"]}, {}, "row key (fid) of the table", ["1", "2"]),
        ({"nr": ["a", "b"]}, {"id": "fid"}, "row key (fid) of the table", ["1", "2"]),
        ({"id": ["a", "a"], "编号": ["p", "q"]}, {}, "column 编号", ["p", "q"]),
    ],
)
def test_id_rules(tmp_path: Path, ingest: Ingest, attributes: dict[str, Any], options: dict[str, Any], rule: str, expected: list[str]) -> None:
    path = tmp_path / "i.gpkg"
    geopandas.GeoDataFrame(attributes, geometry=[Point(0, 0), Point(1, 1)], crs=4326).to_file(path)
    _, report, batches = ingest("vector", path, **options)
    assert sorted(joined(batches)[0]) == expected
    assert report.facts["id_rule"] == rule


def test_hashed_ids_do_not_depend_on_row_order(tmp_path: Path, ingest: Ingest) -> None:
    """Without any id the geometry names the feature: moved rows keep their ids; the same geometry twice is told apart."""
    points = [Point(0, 0), Point(1, 1), Point(2, 2), Point(1, 1)]
    found = []
    for name, order in (("a", [0, 1, 2, 3]), ("b", [2, 3, 0, 1])):
        path = tmp_path / f"{name}.fgb"
        geopandas.GeoDataFrame({"nr": order}, geometry=[points[i] for i in order], crs=4326).to_file(path, SPATIAL_INDEX="NO")
        _, report, batches = ingest("vector", path)
        got, geometry, _ = joined(batches)
        found.append({i: g.wkt for i, g in zip(got, geometry, strict=True)})
        assert report.facts["id_rule"].startswith("hash")
        assert sum(i.endswith("-2") for i in got) == 1
    assert found[0] == found[1]


def test_geojson_feature_ids(tmp_path: Path, ingest: Ingest) -> None:
    def feature(i: Any, x: float) -> dict[str, Any]:
        return {"type": "Feature", "id": i, "properties": {"a": {"id": 5}}, "geometry": {"type": "Point", "coordinates": [x, 1]}}

    for name, values in (("n", [11, 42]), ("t", ["k1", "k2"])):
        path = tmp_path / f"{name}.geojson"
        path.write_text(json.dumps({"type": "FeatureCollection", "features": [feature(v, i) for i, v in enumerate(values)]}))
        _, _, batches = ingest("vector", path)
        assert sorted(joined(batches)[0]) == sorted(str(v) for v in values)


def test_chunks_are_bounded_and_complete(tmp_path: Path) -> None:
    """150,000 rows come in chunks of at most 65,536 and none is lost."""
    path = tmp_path / "big.fgb"
    xy = np.random.default_rng(1).random((150_000, 2))
    geopandas.GeoDataFrame({"id": np.arange(150_000)}, geometry=shapely.points(xy), crs=4326).to_file(path, SPATIAL_INDEX="NO")
    report = Report(source="big")
    sizes, seen = [], []
    for batch in vector.read(path, vector.Options(), report):
        sizes.append(len(batch))
        seen += batch.ids.to_pylist()
    assert max(sizes) <= 65_536
    assert len(set(seen)) == 150_000 == report.kept


def test_heights_need_a_datum(tmp_path: Path, ingest: Ingest) -> None:
    path = tmp_path / "z.gpkg"
    geopandas.GeoDataFrame({"id": ["a", "b"]}, geometry=[Point(113, 22, 5), Point(113, 22)], crs=4490).to_file(path)
    with pytest.raises(MissingReference, match="--vertical"):
        ingest("vector", path)
    version, _, batches = ingest("vector", path, vertical="EPSG:5737")
    assert version.reference.vertical == "EPSG:5737"
    assert sorted(shapely.has_z(joined(batches)[1]).tolist()) == [False, True]
    assert version.parts[0].bounds is not None
    assert version.parts[0].bounds.maxz == 5
    _, report, batches = ingest("vector", path, vertical="none")
    assert not shapely.has_z(joined(batches)[1]).any()
    assert report.facts["heights_dropped"]


def test_labels(tmp_path: Path, ingest: Ingest) -> None:
    path = tmp_path / "l.gpkg"
    geopandas.GeoDataFrame({"NAME": ["a"], "other": ["b"]}, geometry=[Point(0, 0)], crs=4326).to_file(path)
    assert ingest("vector", path)[0].style == {"label": "NAME"}
    assert ingest("vector", path, label="other")[0].style == {"label": "other"}
    with pytest.raises(BadOption, match="for labels"):
        ingest("vector", path, label="nobody")


# --- files of other projects -------------------------------------------------------------------------------------


def test_curves_become_lines(ingest: Ingest) -> None:
    """pyogrio's own reader makes the same lines of them."""
    for name in ("curve.gpkg", "curvepolygon.gpkg"):
        path = shared_path(*FIXTURES, name)
        _, report, batches = ingest("vector", path)
        expected = geopandas.read_file(path).geometry[0]
        assert joined(batches)[1][0].equals(expected)
        assert any("curved" in note.reason for note in report.notes)


def test_measures_are_dropped_and_said(ingest: Ingest) -> None:
    path = shared_path(*FIXTURES, "line_zm.gpkg")
    _, report, batches = ingest("vector", path, vertical="ellipsoid")
    (line,) = joined(batches)[1]
    assert line.has_z
    assert not line.has_m
    assert any("M values" in note.reason for note in report.notes)


def test_nulls_and_small_types(ingest: Ingest) -> None:
    path = shared_path(*FIXTURES, "test_gpkg_nulls.gpkg")
    _, _, batches = ingest("vector", path)
    table = joined(batches)[2]
    expected = geopandas.read_file(path).drop(columns="geometry")
    for name in expected:
        want = sorted(float("nan") if pd.isna(v) else float(v) for v in expected[name])
        got = sorted(float("nan") if v is None else float(v) for v in table.column(name).to_pylist())
        assert np.array_equal(np.sort(want), np.sort(got), equal_nan=True), name


def test_natural_earth(ingest: Ingest) -> None:
    path = shared_path(*FIXTURES, "naturalearth_lowres", "naturalearth_lowres.shp")
    version, _, batches = ingest("vector", path)
    frame = geopandas.read_file(path).set_index("iso_a3")
    _, geometry, table = joined(batches)
    assert version.count == len(frame) == 177
    assert set(table.column("name").to_pylist()) == set(frame["name"])
    assert np.isclose(shapely.area(geometry).sum(), frame.area.sum(), rtol=1e-9)


def test_street_graph(ingest: Ingest) -> None:
    """A node-link graph: every link once, from node to node, ids by source, target and key."""
    path = shared_path("dem_flood", "andorra_la_vella", "street.json")
    graph = json.loads(path.read_text())
    version, report, batches = ingest("vector", path)
    got, geometry, table = joined(batches)
    places = {n["id"]: (n["x"], n["y"]) for n in graph["nodes"]}
    links = {f"{e['source']}-{e['target']}-{e['key']}": e for e in graph["links"]}
    assert version.reference.horizontal == pyproj.CRS(graph["graph"]["crs"]).to_string()
    assert set(got) == set(links)
    assert report.facts["graph_nodes"] == len(places)
    names = dict(zip(got, table.column("name").to_pylist(), strict=True))
    for name, line in zip(got, geometry, strict=True):
        ends = {line.coords[0], line.coords[-1]}
        assert ends == {places[links[name]["source"]], places[links[name]["target"]]}
        stated = links[name].get("name")
        assert names[name] == ("; ".join(stated) if isinstance(stated, list) else stated)


def test_graph_without_places_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "g.json"
    path.write_text(json.dumps({"directed": True, "graph": {}, "nodes": [{"id": 1}], "links": []}))
    with pytest.raises(UnreadableSource, match="node-link"):
        nodelink.open_nodelink(path)
    path.write_text(json.dumps({"directed": True, "graph": {}, "nodes": [{"id": 1, "x": 0, "y": 0}], "edges": [{"source": 1, "target": 2}]}))
    with pytest.raises(UnreadableSource, match="link 0 cannot be placed"):
        nodelink.open_nodelink(path)


# --- which reader ------------------------------------------------------------------------------------------------


def test_detect(tmp_path: Path) -> None:
    blocks, land, roads, broken = (tmp_path / f"{n}.gpkg" for n in ("blocks", "land", "roads", "broken"))
    geopandas.GeoDataFrame({"Building:Height": [3.0]}, geometry=[box(0, 0, 1, 1)], crs=4326).to_file(blocks)
    geopandas.GeoDataFrame({"use": ["x"]}, geometry=[box(0, 0, 1, 1)], crs=4326).to_file(land)
    geopandas.GeoDataFrame({"height": [3.0]}, geometry=[LineString([(0, 0), (1, 1)])], crs=4326).to_file(roads)
    broken.write_bytes(b"?")
    plain = VectorOptions()
    assert [footprints.detect(p, plain) for p in (blocks, land, roads, broken)] == [True, False, False, False]
    assert [vector.detect(p, plain) for p in (blocks, land, roads, broken)] == [False, True, True, True]
    assert footprints.detect(land, footprints.Options(default_height=5))


# --- properties --------------------------------------------------------------------------------------------------

NAMES = st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=0, max_size=8), unique=True, min_size=1, max_size=8)


@settings(max_examples=200, deadline=None)
@given(NAMES)
def test_stored_names_are_free_and_differ_by_more_than_case(names: list[str]) -> None:
    report = Report()
    plan = columns.plan(pa.schema([(name, pa.int32()) for name in names]), report, taken=("height",))
    stored = [field.name for field in plan.schema]
    assert len(stored) == len(names)
    assert len({name.lower() for name in stored}) == len(stored)
    assert not {name.lower() for name in stored} & {"id", "parent", "geometry", "bbox", "height", ""}


@given(st.lists(st.one_of(st.none(), st.text(max_size=5)), min_size=1, max_size=20))
def test_texts_as_ids(values: list[str | None]) -> None:
    got = ids.as_text(pa.array(values, pa.string())).to_pylist()
    assert [g is None for g in got] == [v is None or not v.strip() for v in values]
    assert all(g is None or g == v for g, v in zip(got, values, strict=True))


def test_opening_reads_no_other_file(tmp_path: Path) -> None:
    """A GeoPackage's crs and tables are read by the driver that its bytes name."""
    path = tmp_path / "x.txt.gpkg"
    geopandas.GeoDataFrame({"a": [1]}, geometry=[Point(0, 0)], crs=4326).to_file(path, driver="GPKG")
    assert open_source(path, VectorOptions()).driver == "GPKG"


def test_row_numbers_of_pandas_are_no_attribute(tmp_path: Path, ingest: Ingest) -> None:
    """geopandas writes the index of a filtered table as `__index_level_0__`; an index of texts, or with a name, is the author's own."""
    frame = geopandas.GeoDataFrame({"n": [1, 2, 3]}, geometry=shapely.points([[4e5, 2.5e6], [4e5 + 9, 2.5e6], [4e5, 2.5e6 + 9]]), crs=4547)
    for number, (rows, left) in enumerate([(frame.iloc[[2, 0, 1]], ["n"]), (frame.assign(gid=[10, 7, 30]).set_index("gid"), ["n", "gid"]), (frame.set_index(np.array(["a", "b", "c"])), ["n", "__index_level_0__"])]):
        path = tmp_path / f"{number}.parquet"
        rows.to_parquet(path)
        version, report, _ = ingest("vector", path)
        assert [column.name for column in version.columns] == left
        assert report.facts.get("left_out") == ({"__index_level_0__": "row numbers of pandas"} if number == 0 else None)
