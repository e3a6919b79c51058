"""Damaged bytes, from a seed: every file is read or refused with one of our errors; nothing else comes out."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import shapely

from ingest_gis import points
from tests.ingest_gis.conftest import write_las
from twin.errors import TwinError
from twin.model import Report


def damaged(data: bytes, chance: random.Random) -> bytes:
    """A few bytes changed, most often near the beginning; sometimes cut."""
    changed = bytearray(data)
    for _ in range(chance.choice([1, 4, 30])):
        changed[chance.randrange(chance.choice([min(400, len(data)), len(data)]))] = chance.randrange(256)
    return bytes(changed[: chance.randrange(len(changed))] if chance.random() < 0.25 else changed)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("suffix", ["gpkg", "geojson", "shp", "fgb", "parquet"])
def test_vectors(tmp_path: Path, ingest: Callable[..., Any], suffix: str) -> None:
    rng = np.random.default_rng(1)
    corners = rng.random((100, 2)) * 100 + np.array([500_000, 2_500_000])
    frame = geopandas.GeoDataFrame(
        {"id": [f"a{i}" for i in range(100)], "名": ["江门"] * 100, "height": rng.random(100) + 3}, geometry=[shapely.box(x, y, x + 1, y + 1) for x, y in corners], crs=4547
    )
    path = tmp_path / f"a.{suffix}"
    frame.to_parquet(path) if suffix == "parquet" else frame.to_file(path)
    files = [path, path.with_suffix(".dbf"), path.with_suffix(".shx")] if suffix == "shp" else [path]
    good = {file: file.read_bytes() for file in files}
    chance, refused = random.Random(suffix), 0
    for _ in range(40):
        file = chance.choice(files)
        file.write_bytes(damaged(good[file], chance))
        try:
            ingest("footprints", path)
        except TwinError:
            refused += 1
        file.write_bytes(good[file])
    assert refused > 5
    assert ingest("footprints", path)[0].count == 100


@pytest.mark.parametrize("suffix", ["las", "laz"])
def test_clouds(tmp_path: Path, suffix: str) -> None:
    path = write_las(tmp_path / f"a.{suffix}", 2_000)
    good = path.read_bytes()
    chance, refused = random.Random(suffix), 0
    for _ in range(150):
        path.write_bytes(damaged(good, chance))
        try:
            list(points.read(path, points.Options(crs="EPSG:32650", vertical="EGM96"), Report()))
        except TwinError:
            refused += 1
    assert refused > 20
