"""Heights of footprints: where they come from, in what unit, and what is kept of the source."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pyarrow as pa
import pytest
import shapely
from shapely.geometry import box

from ingest_gis import geometry
from ingest_gis.footprints import numbers
from tests.conftest import shared_path

Ingest = Callable[..., Any]


def source(folder: Path, **columns: Any) -> Path:
    path = folder / "b.gpkg"
    count = len(next(iter(columns.values())))
    shapes = [box(500_000 + 20 * i, 2_500_000, 500_010 + 20 * i, 2_500_010) for i in range(count)]
    geopandas.GeoDataFrame({"id": [f"b{i}" for i in range(count)], **columns}, geometry=shapes, crs=4547).to_file(path)
    return path


def heights(batches: list[Any]) -> dict[str, tuple[float, str]]:
    found = {}
    for batch in batches:
        table = batch.attributes
        for name, height, origin in zip(batch.ids.to_pylist(), table.column("height").to_pylist(), table.column("height_from").to_pylist(), strict=True):
            found[name] = (height, origin)
    return found


@pytest.mark.parametrize("column", ["height", "Height", "building:height", "measuredHeight", "hoehe", "高度", "建筑高度"])
def test_height_columns_are_found_by_name(tmp_path: Path, ingest: Ingest, column: str) -> None:
    version, report, batches = ingest("footprints", source(tmp_path, **{column: [12.5, 3.0]}))
    assert heights(batches) == {"b0": (12.5, "height"), "b1": (3.0, "height")}
    assert report.facts["height_column"] == column
    assert version.style["height"] == "height"
    unit = {c.name: c.unit for c in version.columns}
    assert unit["height"] == "m"


def test_order_of_sources(tmp_path: Path, ingest: Ingest) -> None:
    """Height, then floors, then default, each said."""
    path = source(tmp_path, height=[12.0, None, None, -4.0], floors=[9, 3, None, 2])
    version, report, batches = ingest("footprints", path, floor_height=3.2, default_height=6)
    assert heights(batches) == {"b0": (12.0, "height"), "b1": (pytest.approx(9.6), "floors"), "b2": (6.0, "default"), "b3": (6.4, "floors")}
    actions = {note.feature: note.action for note in report.notes if note.feature}
    assert actions == {"b1": "assumed", "b2": "assumed", "b3": "repaired"}
    assert version.style["floors"] == "floors"


def test_texts_with_units(tmp_path: Path, ingest: Ingest) -> None:
    path = source(tmp_path, height=["12 m", "12,5", "40 ft", "6米", "1e1", " 7.5m "])
    _, _, batches = ingest("footprints", path)
    assert [heights(batches)[f"b{i}"][0] for i in range(6)] == pytest.approx([12, 12.5, 12.192, 6, 10, 7.5])
    table = pa.concat_tables([b.attributes for b in batches])
    assert set(table.column("source_height").to_pylist()) == {"12 m", "12,5", "40 ft", "6米", "1e1", " 7.5m "}


def test_numbers_and_texts_in_one_geojson_property(tmp_path: Path, ingest: Ingest) -> None:
    """GDAL hands such a property over as an extension type (arrow.json), not as text."""
    ring = [[112.9, 22.5], [112.901, 22.5], [112.901, 22.501], [112.9, 22.5]]
    features = [{"type": "Feature", "id": f"b{i}", "properties": {"height": h, "extra": e}, "geometry": {"type": "Polygon", "coordinates": [ring]}}
                for i, (h, e) in enumerate([("12m", {"a": 1}), (9, 3), (7.5, None), (None, "x")])]  # fmt: skip
    path = tmp_path / "mixed.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    _, report, batches = ingest("footprints", path, default_height=3)
    assert {k: v[0] for k, v in heights(batches).items()} == {"b0": 12, "b1": 9, "b2": 7.5, "b3": 3}
    assert [note.feature for note in report.notes if note.reason.startswith("states no height")] == ["b3"]
    assert batches[0].attributes.column("extra").to_pylist() == ['{ "a": 1 }', "3", None, "x"]


def test_unit_of_the_column(tmp_path: Path, ingest: Ingest) -> None:
    _, _, batches = ingest("footprints", source(tmp_path, height=[100.0]), height_unit=0.3048)
    assert heights(batches)["b0"][0] == pytest.approx(30.48)
    assert batches[0].attributes.column("source_height").to_pylist() == [100.0]


def test_base_needs_and_keeps_its_datum(tmp_path: Path, ingest: Ingest) -> None:
    version, _, _ = ingest("footprints", source(tmp_path, height=[5.0], foot=[2.5]), base="foot", vertical="EPSG:5737")
    assert version.style["base"] == "foot"
    assert version.reference.vertical == "EPSG:5737"


def test_outlines_with_heights_are_flattened_and_said(tmp_path: Path, ingest: Ingest) -> None:
    path = tmp_path / "z.gpkg"
    flat = box(500_000, 2_500_000, 500_010, 2_500_010)
    geopandas.GeoDataFrame({"height": [4.0]}, geometry=[shapely.force_3d(flat, 7.0)], crs=4547).to_file(path)
    _, report, (batch,) = ingest("footprints", path)
    assert not shapely.has_z(batch.geometry).any()
    assert any("vertices are not used" in note.reason for note in report.notes)


def test_holes_and_parts_are_kept(tmp_path: Path, ingest: Ingest) -> None:
    path = tmp_path / "h.gpkg"
    court = box(0, 0, 30, 30) - box(10, 10, 20, 20)
    two = shapely.multipolygons([box(50, 0, 60, 10), box(70, 0, 80, 10) - box(72, 2, 74, 4)])
    shapes = [shapely.transform(g, lambda xy: xy + np.array([500_000, 2_500_000])) for g in (court, two)]
    geopandas.GeoDataFrame({"id": ["court", "two"], "height": [4.0, 5.0]}, geometry=shapes, crs=4547).to_file(path)
    _, report, batches = ingest("footprints", path)
    got = {i: g for b in batches for i, g in zip(b.ids.to_pylist(), b.geometry, strict=True)}
    assert got["court"].equals(shapes[0])
    assert got["two"].equals(shapes[1])
    assert not report.counts


def test_a_sieve_is_refused(tmp_path: Path, ingest: Ingest) -> None:
    """Its roof would be cut into triangles for hours."""
    path = tmp_path / "sieve.gpkg"
    corner = np.stack(np.meshgrid(np.arange(101.0), np.arange(101.0)), axis=2).reshape(-1, 1, 2)
    rings = shapely.linearrings(corner + np.array([[0.2, 0.2], [0.2, 0.8], [0.8, 0.8], [0.8, 0.2]]))
    sieve = shapely.transform(shapely.polygons(shapely.linearrings([(0, 0), (101, 0), (101, 101), (0, 101)]), rings), lambda xy: xy + np.array([500_000, 2_500_000]))
    geopandas.GeoDataFrame({"id": ["sieve", "house"], "height": [4.0, 5.0]}, geometry=[sieve, box(500_200, 2_500_000, 500_210, 2_500_010)], crs=4547).to_file(path)
    _, report, batches = ingest("footprints", path)
    assert [name for batch in batches for name in batch.ids.to_pylist()] == ["house"]
    assert [(n.action, n.feature) for n in report.notes] == [("refused", "sieve")]
    assert "10,201 courtyards" in report.notes[0].reason


def test_an_outline_of_very_many_corners_is_refused(tmp_path: Path, ingest: Ingest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its walls would be one tile of gigabytes. Parts count together."""
    monkeypatch.setattr(geometry, "COURTYARDS", 10)
    monkeypatch.setattr(geometry, "CORNERS", 300)
    path = tmp_path / "rough.gpkg"
    rough = shapely.MultiPolygon([shapely.Point(500_000 + x, 2_500_000).buffer(20, quad_segs=50) for x in (0, 100)])
    geopandas.GeoDataFrame({"id": ["rough", "house"], "height": [4.0, 5.0]}, geometry=[rough, box(500_200, 2_500_000, 500_210, 2_500_010)], crs=4547).to_file(path)
    _, report, batches = ingest("footprints", path)
    assert [name for batch in batches for name in batch.ids.to_pylist()] == ["house"]
    assert [(n.action, n.feature, n.reason) for n in report.notes] == [("refused", "rough", "an outline with 402 corners (at most 300); simplify it, or deliver it in parts")]


def test_self_crossing_keeps_its_area(tmp_path: Path, ingest: Ingest) -> None:
    """An hourglass becomes its two triangles."""
    path = tmp_path / "x.gpkg"
    glass = shapely.polygons([(500_000, 2_500_000), (500_010, 2_500_010), (500_010, 2_500_000), (500_000, 2_500_010)])
    geopandas.GeoDataFrame({"id": ["x"], "height": [4.0]}, geometry=[glass], crs=4547).to_file(path)
    _, report, (batch,) = ingest("footprints", path)
    assert batch.geometry[0].geom_type == "MultiPolygon"
    assert batch.geometry[0].area == pytest.approx(50)
    assert [(n.action, n.feature) for n in report.notes] == [("repaired", "x")]


def test_number_columns() -> None:
    values, unreadable = numbers(pa.chunked_array([pa.array([1, None, 3], pa.int16())]))
    assert np.array_equal(values, [1, np.nan, 3], equal_nan=True)
    assert not unreadable.any()
    assert numbers(pa.chunked_array([pa.array([True])]))[1].all()


def test_andorra(ingest: Ingest) -> None:
    """Real footprints: every one is kept with the height that geopandas sees, or its floors, or the default."""
    path = shared_path("dem_flood", "andorra_la_vella", "building.geoparquet")
    version, report, batches = ingest("footprints", path, default_height=6.0)
    frame = geopandas.read_parquet(path).set_index("id")
    got = heights(batches)
    assert version.count == len(frame) == len(got)
    assert version.reference.horizontal == "EPSG:32631"
    for name, (height, origin) in got.items():
        row = frame.loc[name]
        want = row["height"] if row["height"] >= 0.5 else row["num_floors"] * 3.0 if row["num_floors"] > 0 else 6.0
        assert height == pytest.approx(want), (name, origin)
    assert {origin for _, origin in got.values()} == {"height", "floors", "default"} & {o for _, o in got.values()}
    assert report.counts.get("refused", 0) == 0
    area = {i: g.area for b in batches for i, g in zip(b.ids.to_pylist(), b.geometry, strict=True)}
    assert sum(area.values()) == pytest.approx(frame.geometry.area.sum(), rel=1e-6)
