"""A GeoJSON file is read from end to end to know its columns, and once more to have its rows, however many passes go over these."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pyogrio
import pytest
import shapely

from ingest_gis import footprints, ogr
from twin.model import Features, LayerVersion, Report

Ingest = Callable[..., tuple[LayerVersion, Report, list[Features]]]


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often GDAL opens a file, by what for."""
    found: Counter[str] = Counter()

    def counted(module: Any, name: str) -> None:
        function = getattr(module, name)

        def call(*arguments: Any, **options: Any) -> Any:
            found[name] += 1
            return function(*arguments, **options)

        monkeypatch.setattr(module, name, call)

    for module, name in ((pyogrio, "list_layers"), (pyogrio, "read_info"), (pyogrio.raw, "open_arrow"), (pyogrio.raw, "read")):
        counted(module, name)
    return found


def write(path: Path, *, gid: list[str], **options: Any) -> Path:
    boxes = [shapely.box(113 + i / 1000, 22, 113.0005 + i / 1000, 22.0005) for i in range(len(gid))]
    when = np.datetime64("2024-05-01T12:00:00") + np.arange(len(gid)) * np.timedelta64(1, "h")
    frame = geopandas.GeoDataFrame({"gid": gid, "height": np.arange(len(gid)) + 3.5, "name": [None, "江门", *["x"] * (len(gid) - 2)], "when": when}, geometry=boxes, crs=4326)
    frame.to_file(path, **options)
    return path


@pytest.mark.parametrize("suffix", ["geojson", "geojsonl"])
@pytest.mark.parametrize("twice", [False, True])
def test_it_is_opened_twice(tmp_path: Path, ingest: Ingest, opened: Counter[str], monkeypatch: pytest.MonkeyPatch, suffix: str, twice: bool) -> None:
    """Also where a column of ids has values that occur twice, which takes two passes of its own. The rows are those of a GeoPackage, which is read pass by pass."""
    monkeypatch.setattr(ogr, "CHUNK", 7)
    gid = [f"B{i % (10 if twice else 20)}" for i in range(20)]
    driver = {"geojson": "GeoJSON", "geojsonl": "GeoJSONSeq"}[suffix]
    path = write(tmp_path / f"t.{suffix}", gid=gid, driver=driver)
    opened.clear()
    assert footprints.detect(path, footprints.Options())
    _, report, features = ingest("footprints", path, vertical="above ground")
    assert opened == {"read_info": 1, "open_arrow": 1}
    _, other, same = ingest("footprints", write(tmp_path / "t.gpkg", gid=gid), vertical="above ground")
    assert sum(map(len, features)) == sum(map(len, same)) == 20
    assert report.facts["id_rule"].startswith("column gid") != twice
    for name in ("gid", "height", "name"):
        if name in features[0].attributes.column_names:
            assert [v for f in features for v in f.attributes.column(name).to_pylist()] == [v for f in same for v in f.attributes.column(name).to_pylist()], name
    assert sum(n.reason.startswith("column gid is no id") for n in report.notes) == sum(n.reason.startswith("column gid is no id") for n in other.notes) == twice


def test_a_file_that_was_written_anew_is_looked_at_anew(tmp_path: Path, ingest: Ingest) -> None:
    for gid in (["a", "b"], ["a", "b", "c"]):
        path = write(tmp_path / "t.geojson", gid=gid, driver="GeoJSON")
        assert footprints.detect(path, footprints.Options())
        assert ingest("vector", path)[0].count == len(gid)
