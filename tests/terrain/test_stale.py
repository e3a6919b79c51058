"""What a layer was made with is watched: the datum of its ground, its water, the building a model stands on."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from test_mosaic import coarse
from test_update import bodies, shown

from twin import checking, crs, tasks, uses
from twin.city import City
from twin.model import Bounds

LAKE = shapely.Point(113.03, 22.57).buffer(0.005)


Run = Callable[..., dict[str, Any]]


def write_shapes(path: Path, *shapes: Any, **columns: Any) -> Path:
    rows = [{"type": "Feature", "properties": {"gid": f"g{k}", **columns}, "geometry": json.loads(shapely.to_geojson(shape))} for k, shape in enumerate(shapes)]
    path.write_text(json.dumps({"type": "FeatureCollection", "features": rows}))
    return path


def stale(city: City, layer: str) -> bool:
    _, version, derivation = city.published(layer)
    return uses.is_stale(city, version, derivation)


def tile(city: City, layer: str) -> dict[str, Any]:
    return tasks.require(tasks.work(city, tasks.submit(city, "tile", {"layer": layer})))


def heights(city: City) -> list[float]:
    derivation = city.published("houses")[2]
    assert derivation is not None
    return list(derivation.info["heights"])


def test_the_same_heights_in_another_datum_are_another_ground(tmp_path: Path, city: City, deliver: Run) -> None:
    source = coarse(tmp_path / "dem.tif")
    deliver(source, vertical="EGM96", max_level=12)
    house = shapely.box(113.03, 22.57, 113.0301, 22.5701)
    deliver(write_shapes(tmp_path / "h.geojson", house, height=10.0), "houses", "footprints", vertical="above ground", height="height", id="gid")
    before = heights(city)
    assert not stale(city, "houses")
    first = city.published("dem")[1]
    deliver(source, vertical="ellipsoid", max_level=12)
    assert [p.key for p in first.parts] == [p.key for p in city.published("dem")[1].parts], "the same bytes"
    assert stale(city, "houses")
    assert checking.check(city, "houses")["errors"] == 0, "against the ground that they stand on"
    tile(city, "houses")
    assert not stale(city, "houses")
    undulation = float(crs.undulation(np.array([113.03]), np.array([22.57]))[0])
    assert np.allclose(np.subtract(heights(city), before), -undulation, atol=0.05)


def test_changed_water_is_read_again(tmp_path: Path, city: City, deliver: Run) -> None:
    source = coarse(tmp_path / "dem.tif")
    deliver(write_shapes(tmp_path / "w.geojson", LAKE), "lakes", "vector", id="gid")
    deliver(source, vertical="EGM96", max_level=12, water="lakes")
    assert not stale(city, "dem")
    deliver(write_shapes(tmp_path / "w.geojson", LAKE, name="named"), "lakes", "vector", id="gid")
    assert stale(city, "dem")
    pond = shapely.Point(113.02, 22.57).buffer(0.004)
    deliver(write_shapes(tmp_path / "w.geojson", LAKE, pond), "lakes", "vector", id="gid")
    said = tile(city, "dem")
    assert said["version"] == 2
    assert not stale(city, "dem")
    renewed = bodies(shown(city)[1])
    assert shown(city)[0].report["facts"]["water"]["polygons"] == 2
    assert tile(city, "dem")["version"] == 2, "there is nothing to renew"
    deliver(source, vertical="EGM96", max_level=12, water=str(tmp_path / "w.geojson"))
    assert bodies(shown(city)[1]) == renewed, "as from a file of the same polygons"
    deliver(write_shapes(tmp_path / "w.geojson", LAKE), "lakes", "vector", id="gid")
    assert not stale(city, "dem"), "this water is from a file"


def test_a_survey_keeps_the_water_and_what_it_was_read_with(tmp_path: Path, city: City, deliver: Run) -> None:
    source = coarse(tmp_path / "dem.tif")
    deliver(write_shapes(tmp_path / "w.geojson", LAKE), "lakes", "vector", id="gid")
    deliver(source, vertical="EGM96", max_level=12, water="lakes")
    deliver(source, update=True, vertical="EGM96")
    assert list(city.published("dem")[1].provenance["uses"]) == ["layer:lakes"]
    deliver(source, update=True, vertical="EGM96", water=str(tmp_path / "w.geojson"))
    assert city.published("dem")[1].provenance["uses"] == {}


def test_one_building_and_the_ground_under_it_are_watched(tmp_path: Path, city: City, deliver: Run) -> None:
    """As a model laid on a footprint asks for them: another building's edit, or ground that changed elsewhere, is no matter."""
    place, other = shapely.box(113.03, 22.57, 113.0301, 22.5701), shapely.box(113.04, 22.57, 113.0401, 22.5701)
    options = {"vertical": "above ground", "height": "height", "id": "gid", "ground": "0"}
    deliver(write_shapes(tmp_path / "h.geojson", place, other, height=10.0), "houses", "footprints", **options)
    used = uses.Uses(city)
    used.feature("houses/g0")
    used.ground_at(113.03, 22.57)
    version = replace(city.published("houses")[1], provenance={"uses": used.found})
    assert uses.changed(city, version) == []
    deliver(write_shapes(tmp_path / "h.geojson", place, other.buffer(1e-5), height=10.0), "houses", "footprints", **options)
    assert uses.changed(city, version) == [], "the other one was edited"
    deliver(coarse(tmp_path / "dem.tif"), vertical="EGM96", max_level=12)
    assert city.ground_for(Bounds(113.03, 22.57, 113.03, 22.57)) is not None
    assert uses.changed(city, version) == ["ground at 113.03,22.57"]
    deliver(write_shapes(tmp_path / "h.geojson", place.buffer(1e-5), other, height=10.0), "houses", "footprints", **options)
    assert uses.changed(city, version) == ["houses/g0", "ground at 113.03,22.57"]
    assert uses.is_stale(city, version, None)
    deliver(write_shapes(tmp_path / "h.geojson", shapely.Point(113, 22).buffer(1e-4), height=10.0, gid="x"), "houses", "footprints", **options)
    assert uses.changed(city, version) == ["houses/g0", "ground at 113.03,22.57"], "it is gone"
