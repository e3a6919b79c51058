"""From a raster to a version, and from a version to its tiles."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ingest_gis import terrain as reader
from tiling.terrain import tiler as terrain
from twin import intake, tasks
from twin.city import City
from twin.lake import Lake
from twin.model import LayerVersion, Report
from twin.parts import write_version
from twin.registry import TileJob
from twin.settings import Settings

sys.path.insert(0, str(Path(__file__).parent))

from terrain_helpers import Tiles


@pytest.fixture
def ingest(lake: Lake) -> Callable[..., LayerVersion]:
    def run(source: Path, **options: Any) -> LayerVersion:
        report = Report(source=source.name)
        return write_version(lake, "dem", "terrain", reader.read(source, reader.Options(**options), report), report, provenance={})

    return run


@pytest.fixture
def city(tmp_path: Path) -> City:
    return City(Settings(home=tmp_path / "city"))


@pytest.fixture
def deliver(city: City) -> Callable[..., dict[str, Any]]:
    """A source into a layer of the city, as the command line does it."""

    def run(source: Path, layer: str = "dem", reader: str = "terrain", update: bool = False, **options: Any) -> dict[str, Any]:
        params = intake.ingest_params(source, layer, reader=reader, options=options, update=update)
        return tasks.require(tasks.work(city, tasks.submit(city, "ingest", params)))

    return run


@pytest.fixture
def tiled(lake: Lake, tmp_path: Path) -> Callable[..., Tiles]:
    def run(version: LayerVersion, workers: int = 1, **options: Any) -> Tiles:
        out = tmp_path / f"{os.urandom(4).hex()}.3tz"
        facts = terrain.tile(version, TileJob(lake, out, terrain.Options(**options), workers=workers))
        return Tiles(out, facts)

    return run
