"""Asking a layer without HTTP: several parts, tombstones, columns, caps, and what the engine may not touch."""

from __future__ import annotations

import dataclasses

import numpy as np
import pyarrow as pa
import pytest
import shapely

from twin import parts, query
from twin.errors import BadFeature, BadOption, NotFound, OverLimit
from twin.model import Bounds, Column, Features, Grid, Reference, Report

COUNT = 3000


@pytest.fixture
def version(lake, monkeypatch):
    """3,000 squares of 10 m on a lattice 20 m apart, in parts of 1,000 with row groups of 128."""
    monkeypatch.setattr(parts, "PART_ROWS", 1000)
    monkeypatch.setattr(parts, "ROW_GROUP", 128)
    x, y = 405_000.0 + np.arange(COUNT) % 60 * 20, 2_497_000.0 + np.arange(COUNT) // 60 * 20
    table = pa.table({"row": np.arange(COUNT), "名": [f"n{i}" for i in range(COUNT)]})
    batch = Features(Reference("EPSG:4547"), pa.array([f"f{i}" for i in range(COUNT)]), shapely.box(x, y, x + 10, y + 10), table)
    made = parts.write_version(lake, "squares", "vector", [batch], Report("test"), provenance={})
    assert len(made.parts) == 3
    return made


def ids(page):
    return page.features.ids.to_pylist()


def test_pages_cross_parts_in_a_stable_order(lake, version):
    whole = ids(query.items(lake, version, limit=10_000))
    assert len(whole) == len(set(whole)) == COUNT == query.count(lake, version)
    paged = [identity for start in range(0, COUNT, 700) for identity in ids(query.items(lake, version, limit=700, offset=start))]
    assert paged == whole


def test_rows_stay_together(lake, version):
    """Id, geometry and attributes of a row belong together after sorting, splitting and reading back."""
    features = query.items(lake, version, limit=10_000).features
    row = features.attributes.column("row").to_numpy()
    assert features.ids.to_pylist() == [f"f{i}" for i in row]
    bounds = shapely.bounds(features.geometry)
    assert np.array_equal(bounds[:, 0], 405_000.0 + row % 60 * 20)
    assert np.array_equal(bounds[:, 1], 2_497_000.0 + row // 60 * 20)
    for identity in ("f0", "f1234", "f2999"):
        one = query.item(lake, version, identity)
        assert one.ids.to_pylist() == [identity]
        assert one.attributes.column("名").to_pylist() == [f"n{identity[1:]}"]
        assert shapely.bounds(one.geometry[0])[0] == 405_000.0 + int(identity[1:]) % 60 * 20


def test_tombstones_hide_features_everywhere(lake, version):
    dead = dataclasses.replace(version, tombstones=("f7", "f8", "nobody"))
    assert query.count(lake, dead) == COUNT - 2
    whole = ids(query.items(lake, dead, limit=10_000))
    assert len(whole) == COUNT - 2
    assert not {"f7", "f8"} & set(whole)
    world = Bounds(-180, -90, 180, 90)
    assert query.count(lake, version, world) == COUNT
    assert query.count(lake, dead, world) == COUNT - 2
    with pytest.raises(NotFound, match="f7"):
        query.item(lake, dead, "f7")
    assert len(query.item(lake, dead, "f9")) == 1


def test_columns_are_chosen_and_checked(lake, version):
    page = query.items(lake, version, limit=5, columns=["名"])
    assert page.features.attributes.column_names == ["名"]
    assert query.item(lake, version, "f1", columns=[]).attributes.column_names == []
    with pytest.raises(BadOption, match=r"colour.*row, 名"):
        query.items(lake, version, columns=["colour"])
    with pytest.raises(BadOption, match="bbox"):  # bookkeeping columns are not attributes
        query.items(lake, version, columns=["bbox"])


def test_an_empty_answer_keeps_its_columns(lake, version):
    page = query.items(lake, version, Bounds(0, 0, 1, 1))
    assert (page.matched, len(page.features)) == (0, 0)
    assert page.features.attributes.column_names == ["row", "名"]


@pytest.mark.parametrize("given", [{"limit": 0}, {"limit": 10_001}, {"offset": -1}])
def test_limits(lake, version, given):
    with pytest.raises(BadOption, match=next(iter(given))):
        query.items(lake, version, **given)


def test_a_raster_has_no_features(lake):
    grid = Grid(Reference("EPSG:4547"), np.zeros((1, 4, 4), np.float32), (1, 0, 405_000, 0, -1, 2_497_000), None, (Column("depth", "float"),))
    raster = parts.write_version(lake, "depth", "raster", [grid], Report("test"), provenance={})
    with pytest.raises(BadFeature, match="raster"):
        query.items(lake, raster)


def test_a_query_that_takes_too_long_is_stopped(lake):
    with pytest.raises(OverLimit, match=r"0\.2 s"):
        query._run(lake, query.Caps(seconds=0.2), "SELECT count(*) FROM range(1000000000) a, range(1000) b", {})


def test_a_query_that_needs_too_much_memory_is_stopped(lake):
    with pytest.raises(OverLimit, match="50 MB"):
        query._run(lake, query.Caps(memory_mb=50), "SELECT len(list(i)) FROM range(100000000) t(i)", {})


@pytest.mark.parametrize("sql", [
    "SELECT size FROM read_text('/etc/passwd')", "SELECT 1 FROM read_csv('/etc/passwd')", "COPY (SELECT 1) TO '/tmp/twin_query_test.csv'",
    "INSTALL spatial", "LOAD spatial", "ATTACH '/tmp/twin_query_test.db'", "SET enable_external_access = true", "SET memory_limit = '100GB'",
])  # fmt: skip
def test_the_engine_reaches_nothing_but_the_lake(lake, sql):
    import duckdb

    with pytest.raises(duckdb.Error):
        query._run(lake, query.Caps(), sql, {})


@pytest.mark.parametrize("crs", ["EPSG:4547", "EPSG:4526", "EPSG:4490", "EPSG:3857", "EPSG:4326"])
def test_long_lines_that_bend_between_systems_are_found(lake, crs):
    """A side of 150 km straight in lon/lat is an arc in a Gauss–Krüger zone; the rough test must not lose what it sweeps."""
    from twin.crs import from_lonlat

    ends = np.array([[112.2, 22.5], [113.7, 22.5]])
    line = shapely.linestrings(np.column_stack(from_lonlat(crs, ends[:, 0], ends[:, 1])))
    batch = Features(Reference(crs), pa.array(["long"]), np.array([line], dtype=object), pa.table({"a": [1]}))
    version = parts.write_version(lake, "long", "vector", [batch], Report("test"), provenance={})
    for lon in np.linspace(112.21, 113.69, 23):
        assert query.count(lake, version, Bounds(lon, 22.4999999, lon + 1e-6, 22.5000001)) == 1, lon
        assert query.count(lake, version, Bounds(lon, 22.5001, lon + 1e-6, 22.6)) == 0, lon


def test_heights_that_are_no_numbers_are_left_out():
    shapes = np.array([shapely.Point(405_000, 2_497_000, np.nan), shapely.Point(405_000, 2_497_000, 5.0), shapely.Point(405_000, 2_497_000), None], dtype=object)
    features = Features(Reference("EPSG:4547", "EPSG:5737"), pa.array(list("abcd")), shapes, pa.table({"x": range(4)}))
    placed = query.to_wgs84(features).geometry
    assert [None if shape is None else shape.has_z for shape in placed] == [False, True, False, None]
    assert -5.0 < placed[1].z < -1.0
    assert placed[0].x == pytest.approx(placed[1].x, abs=1e-12)
