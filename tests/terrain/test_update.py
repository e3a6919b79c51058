"""A new survey laid over a terrain: exact where it was measured, no step at its rim, and every other tile byte for byte as it was."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from terrain_helpers import Tiles, write_dem
from test_mosaic import LIFT, UTM, coarse, fine, ground, inside, places
from test_tiles import edges_meet

from tiling.check.layer import check_layer
from tiling.terrain import tiler as terrain
from twin import checking, crs
from twin.archive import Archive
from twin.city import City
from twin.errors import BadInput
from twin.ground import Ground
from twin.model import LayerVersion
from twin.registry import TileJob

Run = Callable[..., dict[str, Any]]


def shown(city: City) -> tuple[LayerVersion, Path, dict[str, Any]]:
    """What the layer shows: its version, its archive, what its tiler said."""
    _, version, derivation = city.published("dem")
    assert derivation is not None
    return version, city.lake.path(derivation.archive), derivation.info


def bodies(path: Path) -> dict[str, bytes]:
    archive = Archive(path)
    return {name: archive.read(name) for name in archive.names()}


def test_an_update_copies_what_it_does_not_touch(tmp_path: Path, city: City, deliver: Run) -> None:
    deliver(coarse(tmp_path / "old.tif"), vertical="EGM96", output="both", max_level=16, apron=300)
    old, before, _ = shown(city)
    before_bodies = bodies(before)
    survey = fine(tmp_path / "new.tif", LIFT, side=160)
    done = deliver(survey, update=True, vertical="EGM96", blend=60.0)
    version, after, info = shown(city)
    assert done["version"] == 2
    assert [p.key for p in version.parts if p.role == "raster"][1:] == [p.key for p in old.parts if p.role == "raster"], "the old raster stays"
    assert info["report"]["copied"] > 0
    now = bodies(after)
    same = [name for name in now if before_bodies.get(name) == now[name]]
    assert len(same) > 0.3 * len(before_bodies)
    assert info["report"]["copied"] > 0.3 * info["tiles"]
    plain = tmp_path / "full.3tz"
    derivation = city.published("dem")[2]
    assert derivation is not None
    full = terrain.tile(version, TileJob(city.lake, plain, terrain.Options.model_validate(derivation.inputs["options"]), workers=2, about=city.catalog.layer("dem")))
    assert plain.read_bytes() == after.read_bytes(), "an update and a full build are the same bytes"
    assert full["stats"] == info["stats"], "errors far up are measured against the survey, too, though it is too small to show there"
    lon, lat = places()
    above = Ground.of(city.lake, version).ellipsoidal(lon, lat) - crs.undulation(lon, lat) - ground(lon, lat)
    assert np.abs(above[inside(survey, lon, lat, 3.1)] - LIFT).max() < 0.02
    assert np.abs(above[~inside(survey, lon, lat, -100)]).max() < 0.25
    assert edges_meet(Tiles(after, info)) > 100


def test_a_survey_that_comes_again_is_laid_once(tmp_path: Path, city: City, deliver: Run) -> None:
    """Who was cut off at the very end gives the command again: the terrain is what it was, not one raster more each time."""
    deliver(coarse(tmp_path / "old.tif"), vertical="EGM96", max_level=13)
    surveys = [fine(tmp_path / f"{name}.tif", LIFT, side=40, cell=10.0) for name in "ab"]
    deliver(surveys[0], update=True, vertical="EGM96", blend=60.0)
    before, archive, _ = shown(city)
    done = deliver(surveys[1], update=True, vertical="EGM96", blend=60.0)
    version, after, _ = shown(city)
    assert [part.key for part in version.parts] == [part.key for part in before.parts]
    assert (version.count, after) == (before.count, archive)
    assert (done["report"]["facts"]["rasters_added"], done["report"]["facts"]["rasters"]) == (0, 2)


def test_a_patch_of_a_patch_and_a_damaged_archive(tmp_path: Path, city: City, deliver: Run) -> None:
    """A coarser, newer survey rules over a finer, older one; where the old tiles are damaged all are made anew, and it is said."""
    deliver(coarse(tmp_path / "old.tif"), vertical="EGM96", max_level=16, apron=300)
    deliver(fine(tmp_path / "a.tif", LIFT, side=160), update=True, vertical="EGM96", blend=60.0)
    _, archive, _ = shown(city)
    raw = bytearray(archive.read_bytes())
    end = len(raw) * 9 // 10
    raw[2000:end] = bytes(end - 2000)
    archive.write_bytes(bytes(raw))
    newer = fine(tmp_path / "b.tif", 2 * LIFT, side=40, cell=10.0)
    deliver(newer, update=True, vertical="EGM96", blend=60.0)
    version, after, info = shown(city)
    assert "cannot be used" in info["report"]["notes"][0]["reason"]
    assert info["report"]["copied"] == 0
    plain = tmp_path / "full.3tz"
    terrain.tile(version, TileJob(city.lake, plain, terrain.Options.model_validate({"max_level": 16, "apron": 300}), about=city.catalog.layer("dem")))
    assert plain.read_bytes() == after.read_bytes()
    lon, lat = places()
    above = Ground.of(city.lake, version).ellipsoidal(lon, lat) - crs.undulation(lon, lat) - ground(lon, lat)
    on = inside(newer, lon, lat, 12)
    assert on.sum() > 5
    assert np.abs(above[on] - 2 * LIFT).max() < 0.1


def test_another_datum_and_an_impossible_place(tmp_path: Path, city: City, deliver: Run) -> None:
    deliver(coarse(tmp_path / "old.tif"), vertical="EGM96")
    x0, y0 = (round(v) for v in UTM.transform(113.03, 22.57))
    from pyproj import Transformer

    c, r = np.meshgrid(np.arange(60) + 0.5, np.arange(60) + 0.5)
    lon, lat = Transformer.from_crs("EPSG:32649", "EPSG:4326", always_xy=True).transform(x0 + c * 10, y0 - r * 10)
    z = ground(lon, lat) + LIFT + crs.undulation(lon, lat)
    deliver(write_dem(tmp_path / "n.tif", z.astype(np.float32), crs="EPSG:32649", west=x0, north=y0, cell=10), update=True, vertical="ellipsoid")
    version, _, _ = shown(city)
    above = Ground.of(city.lake, version).ellipsoidal(lon[5:-5, 5:-5], lat[5:-5, 5:-5]) - crs.undulation(lon, lat)[5:-5, 5:-5] - ground(lon, lat)[5:-5, 5:-5]
    assert np.abs(above - LIFT).max() < 0.02
    with pytest.raises(BadInput, match="vertical datum"):
        deliver(tmp_path / "n.tif", update=True)


def test_water_of_a_layer_and_the_group_of_the_tiles(tmp_path: Path, city: City, deliver: Run) -> None:
    """`water=LAYER` makes the masks that a file of the same polygons makes; the 3D tiles tell the layer's CIM group and grade."""
    lake = shapely.Point(113.03, 22.57).buffer(0.005)
    (tmp_path / "w.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": [{"type": "Feature", "properties": {"name": "湖"}, "geometry": json.loads(shapely.to_geojson(lake))}]}))
    deliver(tmp_path / "w.geojson", layer="lakes", reader="vector")
    source = coarse(tmp_path / "old.tif")
    deliver(source, vertical="EGM96", water="lakes", output="both")
    by_layer = bodies(shown(city)[1])
    deliver(source, vertical="EGM96", water=str(tmp_path / "w.geojson"), output="both")
    by_file = bodies(shown(city)[1])
    assert by_layer.keys() == by_file.keys()
    assert all(by_layer[name] == by_file[name] for name in by_layer if name.endswith(".terrain"))
    assert "watermask" in json.loads(by_layer["layer.json"])["extensions"]
    document = json.loads(by_layer["tileset.json"])
    assert document["groups"][0]["properties"]["grade"] == city.catalog.layer("dem").grade != ""
    assert document["groups"][0]["properties"]["group"] == "时空基础"
    with pytest.raises(BadInput, match="neither a file nor a layer"):
        deliver(source, vertical="EGM96", water="seas")
    with pytest.raises(BadInput, match="has no features"):
        deliver(source, vertical="EGM96", water="dem")


def test_a_survey_of_middling_cells_over_one_of_finer_ones_is_checked_by_what_each_shows(tmp_path: Path, city: City, deliver: Run) -> None:
    """The newest raster is as fine as the lattice; one beside it is finer, so there the lattice shows means of cells: no error, and none is hidden elsewhere."""
    deliver(coarse(tmp_path / "old.tif"), vertical="EGM96", max_level=14, apron=300)
    rng = np.random.default_rng(1)
    rough = rng.uniform(100, 120, (60, 60)).astype(np.float32)
    x, y = (round(v) for v in UTM.transform(113.03, 22.57))
    deliver(write_dem(tmp_path / "fine.tif", rough, west=x, north=y, cell=5.0, crs="EPSG:32649"), update=True, vertical="EGM96")
    deliver(write_dem(tmp_path / "middle.tif", np.full((12, 12), 40, np.float32), west=x + 600, north=y, cell=25.0, crs="EPSG:32649"), update=True, vertical="EGM96")
    result = checking.check(city, "dem")
    assert result["errors"] == 0, checking.as_text(result)
    version, archive, info = shown(city)
    wrong = [{**info["stats"]["levels"][-1], "dem_error": 0.0}]
    told = {**info, "stats": {**info["stats"], "levels": [*info["stats"]["levels"][:-1], *wrong]}}
    report = check_layer(version, city.lake, [archive], info=told, options={})
    assert any(code == "HEIGHT_OFF" for _, code in report.counts), "what is stated of the finest level is what is allowed there"
