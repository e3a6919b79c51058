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
