"""Two cities, built once by the command as a user would: the generated sample, and a real one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"


class City:
    """`twin …` on one home folder, in real processes."""

    def __init__(self, home: Path) -> None:
        self.home = home

    def __call__(self, *arguments: object, code: int = 0) -> Any:
        command = [sys.executable, "-m", "twin.cli", *map(str, arguments), "--home", str(self.home), "--json"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False, env=os.environ | {"TWIN_HOME": ""})
        assert "Traceback" not in done.stdout + done.stderr
        assert done.returncode == code, done.stdout[-2000:] + done.stderr[-2000:]
        return json.loads(done.stdout.strip().splitlines()[-1])


@pytest.fixture(scope="session")
def sample_city(tmp_path_factory: pytest.TempPathFactory) -> City:
    """The generated sample city, by `twin demo --no-serve`; `TWIN_TEST_SAMPLE` may name one that is already built."""
    ready = os.environ.get("TWIN_TEST_SAMPLE")
    city = City(Path(ready) if ready else tmp_path_factory.mktemp("sample") / "city")
    city("demo", "--no-serve")
    return city


@pytest.fixture(scope="session")
def real_city(tmp_path_factory: pytest.TempPathFactory) -> City:
    """Andorra la Vella: terrain, 731 buildings, streets, river, a real IFC placed among them, a real cloud; and an inundation."""
    if not SHARED.exists():
        pytest.skip("real data is absent: ../shared/data")
    city = City(tmp_path_factory.mktemp("real") / "city")
    andorra = SHARED / "dem_flood" / "andorra_la_vella"
    city("ingest", andorra / "elevation.tif", "--layer", "terrain", "--vertical", "EGM96")
    city("ingest", andorra / "building.geoparquet", "--layer", "buildings", "--option", "default_height=9")
    city("ingest", andorra / "street.json", "--layer", "streets", "--option", "width=6")
    city("ingest", andorra / "river.json", "--layer", "river")
    city("ingest", SHARED / "ifc" / "AC20-FZK-Haus.ifc", "--layer", "haus", "--crs", "EPSG:32631", "--vertical", "EGM96",
         "--option", "anchor=379700,4707200,1010", "--option", "rotation=30")  # fmt: skip
    city("ingest", SHARED / "pointcloud" / "ign_lidarhd_77055_627755.laz", "--layer", "cloud", "--vertical", "EPSG:5720")
    city("run", "inundation", "--set", "terrain=terrain", "--set", "level=1015", "--set", "source=river", "--set", "buildings=buildings")
    return city
