"""Tiles follow everything that was delivered: what no part's bytes tell (colours, filters, references, units) makes other tiles, too.

Each case delivers twice into one city; the second time the tiles must be those of a city that never saw the first.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import geopandas
import pytest
import shapely

from tests.ingest_gis.conftest import write_las
from twin import checking, intake, naming, tasks
from twin.archive import Archive
from twin.city import City
from twin.settings import Settings

Delivery = tuple[Path, dict[str, Any], dict[str, list[str]]]
HERE = {"crs": "EPSG:32650", "vertical": "ellipsoid"}


def colour(folder: Path) -> tuple[Delivery, Delivery]:
    """A model whose material was red and is blue."""
    found = []
    for name, rgb in (("a", "1 0 0"), ("b", "0 0 1")):
        (folder / name).mkdir(parents=True)
        (folder / name / "m.mtl").write_text(f"newmtl m\nKd {rgb}\n")
        path = folder / name / "m.obj"
        path.write_text("mtllib m.mtl\nv 0 0 0\nv 10 0 0\nv 0 10 0\nv 0 0 10\no t\nusemtl m\nf 1 3 2\nf 1 2 4\nf 2 3 4\nf 1 4 3\n")
        found.append((path, {**HERE, "anchor": "500000,2500000,0"}, {}))
    return found[0], found[1]


def unit(folder: Path) -> tuple[Delivery, Delivery]:
    """Buildings whose areas were numbers and are square metres."""
    folder.mkdir()
    path = folder / "b.gpkg"
    frame = geopandas.GeoDataFrame({"id": ["a"], "height": [3.0], "area": [5.0]}, geometry=[shapely.box(404000, 2497000, 404010, 2497010)], crs="EPSG:4547")
    frame.to_file(path, driver="GPKG")
    options = {"height": "height", "ground": 1.0}
    return (path, options, {}), (path, options, naming.parse(["area=m²,面积,Area"]))


def classes(folder: Path) -> tuple[Delivery, Delivery]:
    """A cloud of which all was wanted and now its buildings are."""
    folder.mkdir()
    path = write_las(folder / "c.las", 3_000)
    return (path, HERE, {}), (path, {**HERE, "classes": "6"}, {})


def datum(folder: Path) -> tuple[Delivery, Delivery]:
    """Two clouds, the second in another vertical datum than was thought."""
    folder.mkdir()
    for name, seed in (("a.las", 1), ("b.las", 2)):
        write_las(folder / name, 2_000, seed=seed)
    return (folder, HERE, {}), (folder, {**HERE, "references": "b.las=EPSG:32650+EGM96"}, {})


def deliver(city: City, delivery: Delivery, *, update: bool = False) -> dict[str, Any]:
    source, options, columns = delivery
    params = intake.ingest_params(source, "x", options=options, columns=columns, update=update)
    return tasks.require(tasks.work(city, tasks.submit(city, "ingest", params)))


def shown(city: City) -> dict[str, bytes]:
    derivation = city.published("x")[2]
    assert derivation is not None
    with Archive(city.lake.path(derivation.archive)) as archive:
        return {name: archive.read(name) for name in archive.names()}


@pytest.mark.parametrize("case", [colour, unit, classes, datum])
def test_what_no_bytes_of_a_part_tell_makes_other_tiles(tmp_path: Path, case: Callable[[Path], tuple[Delivery, Delivery]]) -> None:
    before, after = case(tmp_path / "in")
    city, fresh = City(Settings(home=tmp_path / "city", workers=1)), City(Settings(home=tmp_path / "fresh", workers=1))
    deliver(city, before)
    old = shown(city)
    made = deliver(city, after)["tileset"]
    assert shown(city) != old
    deliver(fresh, after)
    assert shown(city) == shown(fresh)
    assert checking.check(city, "x")["errors"] == 0
    again = tasks.require(tasks.work(city, tasks.submit(city, "tile", {"layer": "x"})))
    assert again["tileset"] == made, "read back from its manifest, the version has the same tiles"


def test_an_update_may_change_how_the_layer_is_tiled(tmp_path: Path) -> None:
    """Options of the tiler that come with an update count (they were left out without a word); those that it does not name stay."""
    city, fresh = City(Settings(home=tmp_path / "city", workers=1)), City(Settings(home=tmp_path / "fresh", workers=1))
    folder = tmp_path / "in"
    folder.mkdir()
    for name, seed in (("a.las", 1), ("b.las", 2)):
        write_las(folder / name, 2_000, seed=seed)
    deliver(city, (folder / "a.las", {**HERE, "compression": "none"}, {}))
    deliver(city, (folder / "b.las", {**HERE, "color": "class"}, {}), update=True)
    deliver(fresh, (folder, {**HERE, "compression": "none", "color": "class"}, {}))
    assert shown(city) == shown(fresh)


@pytest.mark.parametrize("case", [unit, colour])
def test_what_no_tile_depends_on_makes_none(tmp_path: Path, case: Callable[[Path], tuple[Delivery, Delivery]]) -> None:
    """How much is held in memory is told to the tiler and to no tile: they are the ones that are there."""
    (path, options, columns), _ = case(tmp_path / "in")
    city = City(Settings(home=tmp_path / "city", workers=1))
    made = deliver(city, (path, options, columns))["tileset"]
    again = deliver(city, (path, {**options, "in_memory": "5000"}, columns))
    assert (again["version"], again["tileset"]) == (2, made)
    assert city.published("x")[1].provenance["tile_options"]["in_memory"] == "5000", "and is kept for the next time"
    assert deliver(city, (path, {**options, "budget": "300"}, columns))["tileset"] != made
