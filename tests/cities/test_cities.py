"""The main job, end to end: every layer of the sample and of a real city is there, passes `twin check`, and validates."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import geopandas
import numpy as np
import pytest
import rasterio
from cities import City

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("cities")]
VIEWER = Path(__file__).resolve().parents[2] / "viewer"


def check_all(city: City) -> dict[str, dict]:
    """`twin check` on every layer; exit status 0 means no error."""
    return {row["layer"]: city("check", row["layer"]) for row in city("layers")}


def validate_all(city: City, tmp_path: Path) -> int:
    """Khronos' gltf-validator on every glb of every tileset: zero errors; returns how many."""
    node = shutil.which("node") or str(Path(__file__).resolve().parents[2] / ".venv" / "bin" / "node")
    if not Path(node).exists() or not (VIEWER / "node_modules" / "gltf-validator").exists():
        pytest.skip("gltf-validator is not installed (npm ci in viewer/)")
    files: list[Path] = []
    for row in city("layers"):
        if row["kind"] in ("blocks", "mesh", "points"):
            city("export", row["layer"], "--to", tmp_path / row["layer"])
            files.extend((tmp_path / row["layer"]).rglob("*.glb"))
    done = subprocess.run([node, str(VIEWER / "scripts" / "validate-gltf.mjs")], input=json.dumps([str(f) for f in files]), capture_output=True, text=True,
                          check=False, timeout=600)  # fmt: skip
    verdicts = json.loads(done.stdout)
    assert len(verdicts) == len(files)
    wrong = [(v["file"], v["messages"][:2]) for v in verdicts if v["errors"]]
    assert not wrong, wrong[:3]
    return len(files)


def test_every_tileset_of_the_sample_is_right(sample_city: City, tmp_path: Path) -> None:
    results = check_all(sample_city)
    assert {"terrain", "buildings", "streets", "ortho"} <= set(results)
    assert all(result["errors"] == 0 for result in results.values())
    blocks = results["buildings"]["positions"]
    assert blocks["features"] == blocks["expected"] >= 2000
    assert blocks["max_error_m"] < 0.1
    assert validate_all(sample_city, tmp_path) >= 20


def test_the_second_demo_builds_nothing(sample_city: City) -> None:
    assert sample_city("demo", "--no-serve")["built"] == 0


def test_every_tileset_of_the_real_city_is_right(real_city: City, tmp_path: Path) -> None:
    results = check_all(real_city)
    assert set(results) == {"terrain", "buildings", "streets", "river", "haus", "cloud", "inundation-depth", "inundation-buildings"}
    assert all(result["errors"] == 0 for result in results.values())
    assert results["buildings"]["positions"]["features"] == 731
    for layer in ("buildings", "haus", "cloud", "inundation-buildings"):
        assert results[layer]["positions"]["max_error_m"] < 0.1, layer
    assert validate_all(real_city, tmp_path) >= 5


def test_the_real_inundation_is_what_its_terrain_says(real_city: City, tmp_path: Path) -> None:
    """Depth is level minus terrain, cell by cell, read with rasterio alone; wet cells are connected to the river."""
    real_city("export", "inundation-depth", "--to", tmp_path / "depth.tif")
    real_city("export", "terrain", "--to", tmp_path / "terrain.tif")
    with rasterio.open(tmp_path / "depth.tif") as depth, rasterio.open(tmp_path / "terrain.tif") as terrain:
        d, z = depth.read(1, masked=True), terrain.read(1, masked=True)
        assert d.shape == z.shape
        wet = ~d.mask
        assert wet.any()
        assert np.abs(d[wet].astype(float) - (1015.0 - z[wet].astype(float))).max() < 1e-3
        assert ((z[wet] < 1015).all()) and depth.crs == terrain.crs
    real_city("export", "inundation-buildings", "--to", tmp_path / "hit.gpkg")
    hit = geopandas.read_file(tmp_path / "hit.gpkg")
    assert len(hit) >= 1
    assert (hit["flood_depth"] >= 0.05).all()


def test_the_real_source_is_found_again(real_city: City, tmp_path: Path) -> None:
    real_city("export", "buildings", "--to", tmp_path / "b.gpkg")
    out = geopandas.read_file(tmp_path / "b.gpkg").set_index("id")
    source = geopandas.read_parquet(Path(__file__).resolve().parents[3] / "shared/data/dem_flood/andorra_la_vella/building.geoparquet").set_index("id")
    assert set(out.index) == set(source.index)
    joined = source.join(out[["height"]], rsuffix="_out")
    known = joined["height"].notna()
    assert np.allclose(joined.loc[known, "height"], joined.loc[known, "height_out"])
    assert out.geometry.reindex(source.index).geom_equals_exact(source.geometry, 1e-6).mean() > 0.95, "repaired outlines apart, geometry is as delivered"
