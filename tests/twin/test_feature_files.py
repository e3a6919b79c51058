"""Features written some rows at a time: the files are those that geopandas makes of all of them at once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pyogrio
import pytest
import shapely
from geopandas.testing import assert_geodataframe_equal

from twin import feature_files, parts
from twin.crs import crs_of
from twin.lake import Lake
from twin.model import Features, LayerVersion, Reference, Report

SMALL = (None, 3, 2**63 - 1)
LARGE = (None, 3, 2**64 - 1)


def version_of(lake: Lake, shapes: str, unsigned: tuple[int | None, ...]) -> LayerVersion:
    rng = np.random.default_rng(8)
    place = np.round(rng.uniform(0, 5000, (100, 2)), 2) + np.array([404_000, 2_497_000])
    geometry: Any = shapely.box(*place.T, *(place + 12).T)
    if shapes == "mixed":
        geometry[::7] = [shapely.MultiPolygon([one, shapely.affinity.translate(one, 40)]) for one in geometry[::7]]
    elif shapes == "raised":
        geometry = shapely.points(*place.T, rng.uniform(0, 9, 100))
    table = pa.table({
        "名": pa.array([f"楼{i}" if i % 3 else None for i in range(100)]), "n": pa.array([unsigned[i % 3] for i in range(100)], pa.uint64()),
        "small": pa.array([i - 50 if i % 4 else None for i in range(100)], pa.int8()), "many": pa.array([[i, None] if i % 5 else None for i in range(100)]),
        "day": pa.array(range(100), pa.date32()), "when": pa.array([i * 10**9 for i in range(100)], pa.timestamp("ms", "UTC")),
        "yes": pa.array([i % 2 == 0 if i % 6 else None for i in range(100)]), "share": pa.array(rng.random(100), pa.float32()),
    })  # fmt: skip
    batch = Features(Reference("EPSG:4547", ""), pa.array([f"b{i}" for i in range(100)]), geometry, table)
    first = parts.write_version(lake, "b", "vector", [batch], Report("t"), provenance={})
    small = Features(batch.reference, batch.ids.slice(0, 9), batch.geometry[:9], table.slice(0, 9))
    for _ in range(2):  # of the part of the first of these nothing is shown
        first = parts.merge(lake, first, parts.write_version(lake, "b", "vector", [small], Report("t"), provenance={}))
    return first


def at_once(lake: Lake, version: LayerVersion, path: Path) -> None:
    """Of all rows in memory, by geopandas."""
    chunks = list(parts.read_features(lake, version))
    table = pa.concat_tables([chunk.attributes for chunk in chunks])
    if path.suffix != ".parquet":
        most = max(value or 0 for value in table.column("n").to_pylist())
        table = table.set_column(1, "n", table.column("n").cast(pa.int64() if most < 2**63 else pa.string()))
        many = [None if value is None else f"[{value[0]}, null]" for value in table.column("many").to_pylist()]
        table = table.set_column(3, "many", pa.array(many, pa.string()))
    frame = table.to_pandas(types_mapper=pd.ArrowDtype)
    frame.insert(0, "id", [text for chunk in chunks for text in chunk.ids.to_pylist()])
    data = geopandas.GeoDataFrame(frame, geometry=[shape for chunk in chunks for shape in chunk.geometry], crs=crs_of("EPSG:4547"))
    match path.suffix:
        case ".parquet":
            data.to_parquet(path)
        case ".geojson":
            data.to_crs(4326).to_file(path, driver="GeoJSON", layer="b", use_arrow=True)
        case _:
            data.to_file(path, driver="GPKG", layer="b", use_arrow=True)


@pytest.mark.parametrize("unsigned", [SMALL, LARGE])
@pytest.mark.parametrize("shapes", ["alike", "mixed", "raised"])
@pytest.mark.parametrize("suffix", [".parquet", ".gpkg", ".geojson"])
def test_rows_in_pieces_are_rows_at_once(tmp_path: Path, lake: Lake, monkeypatch: pytest.MonkeyPatch, suffix: str, shapes: str, unsigned: tuple[int | None, ...]) -> None:
    monkeypatch.setattr(parts, "ROW_GROUP", 16)
    monkeypatch.setattr(parts, "CHUNK", 16)
    version = version_of(lake, shapes, unsigned)
    assert [len(chunk) for chunk in parts.read_features(lake, version)][-2:] == [0, 9]
    mine, theirs = tmp_path / f"mine{suffix}", tmp_path / f"theirs{suffix}"
    assert feature_files.write(lake, version, mine) == 100
    at_once(lake, version, theirs)
    if suffix == ".parquet":
        tables = [pq.read_table(path) for path in (mine, theirs)]
        assert tables[0].drop_columns(["id"]).schema.remove_metadata() == tables[1].drop_columns(["id"]).schema.remove_metadata()
        assert tables[0].to_pylist() == tables[1].to_pylist()
        told = [json.loads(table.schema.metadata[b"geo"]) for table in tables]
        for one in told:
            one.pop("creator")
            one["columns"]["geometry"]["geometry_types"].sort()
        assert told[0] == told[1]
        assert geopandas.read_parquet(mine).crs == "EPSG:4547"
        return
    about = [pyogrio.read_info(path) for path in (mine, theirs)]
    for one in about:
        one["fields"], one["dtypes"] = list(one["fields"]), list(one["dtypes"])
        one.pop("layer_name")
    assert about[0] == about[1]
    assert_geodataframe_equal(*(geopandas.read_file(path, use_arrow=True) for path in (mine, theirs)))


def test_a_layer_without_features_has_none(tmp_path: Path, lake: Lake) -> None:
    empty = LayerVersion("x", "vector", Reference("EPSG:4547", ""), (), (), 0, None, {}, {}, {}, ())
    assert feature_files.write(lake, empty, tmp_path / "x.gpkg") == 0
