"""The command, from outside: versions, publishing, rolling back, exporting, collecting, and its error messages."""

from __future__ import annotations

import json
import time
import zipfile
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pandas as pd
import pytest
import rasterio
import shapely
from click.testing import CliRunner
from rasterio.transform import from_origin

from scenarios import driver
from twin.catalog import Catalog
from twin.catalog_tables import Derivations, JobRows
from twin.cli import main
from twin.errors import StorageError
from twin.garbage import LAST_GOOD
from twin.jobs import Context, Jobs
from twin.lake import Lake


def houses(path: Path, count: int = 12, height: float = 9.0) -> Path:
    x = 405_000 + 30.0 * np.arange(count)
    frame = geopandas.GeoDataFrame({"gid": [f"h{i}" for i in range(count)], "height": height, "name": "楼"},
                                   geometry=shapely.box(x, 2_498_000, x + 12, 2_498_010), crs="EPSG:4547")  # fmt: skip
    frame.to_file(path, driver="GPKG", layer="houses")
    return path


def dem(path: Path, level: float = 3.0) -> Path:
    with rasterio.open(path, "w", driver="GTiff", width=60, height=40, count=1, dtype="float32", crs="EPSG:4547",
                       transform=from_origin(404_900, 2_498_200, 10, 10)) as file:  # fmt: skip
        file.write(np.full((1, 40, 60), level, np.float32))
    return path


class City:
    """Runs `twin … --home H --json` and reads what it prints."""

    def __init__(self, home: Path) -> None:
        self.home = home

    def __call__(self, *arguments: str, code: int = 0) -> object:
        result = CliRunner().invoke(main, [*arguments, "--home", str(self.home), "--json"])
        assert "Traceback" not in result.output
        assert result.exit_code == code, result.output
        return json.loads(result.stdout.strip().splitlines()[-1])


@pytest.fixture
def city(tmp_path: Path) -> City:
    return City(tmp_path / "city")


@pytest.fixture
def grown(city: City, tmp_path: Path) -> City:
    """A city with a terrain and two versions of houses, the first one shown."""
    city("ingest", str(dem(tmp_path / "dem.tif")), "--layer", "terrain", "--vertical", "EPSG:5737")
    city("ingest", str(houses(tmp_path / "h.gpkg")), "--layer", "houses", "--option", "height=height", "--option", "id=gid", "--title", "房屋")
    city("ingest", str(houses(tmp_path / "h2.gpkg", 15)), "--layer", "houses", "--option", "id=gid", "--no-publish")
    return city


def test_life_of_a_layer(grown: City, tmp_path: Path) -> None:
    rows = {row["layer"]: row for row in grown("layers")}
    assert rows["houses"]["version"] == 1
    assert rows["houses"]["count"] == 12
    assert rows["houses"]["title"]["zh"] == "房屋", "a new version keeps the title it is not told"
    assert [(v["version"], v["published"]) for v in grown("versions", "houses")] == [(1, True), (2, False)]
    assert grown("publish", "houses")["version"] == 2
    assert grown("info", "houses")["count"] == 15
    assert grown("rollback", "houses")["version"] == 1
    assert grown("info", "houses")["count"] == 12
    assert "earlier publication" in grown("rollback", "houses", code=1)["error"]["message"]
    assert grown("publish", "houses", "2")["version"] == 2
    assert grown("rollback", "houses")["version"] == 1, "what was published twice is one step"
    assert grown("publish", "houses", "2")["version"] == 2
    assert all(job["state"] == "successful" for job in grown("jobs"))
    assert grown("delete", "houses", "--yes")["deleted"] == "houses"
    assert "no layer" in grown("info", "houses", code=1)["error"]["message"]


def test_new_terrain_makes_blocks_stale_and_tile_mends_it(grown: City, tmp_path: Path) -> None:
    before = grown("info", "houses")["tileset"]
    grown("ingest", str(dem(tmp_path / "dem2.tif", 8.0)), "--layer", "terrain", "--vertical", "EPSG:5737")
    assert {row["layer"]: row["stale"] for row in grown("layers")}["houses"]
    grown("tile", "houses")
    after = grown("info", "houses")["tileset"]
    assert not {row["layer"]: row["stale"] for row in grown("layers")}["houses"]
    assert after["key"] != before["key"]
    assert after["info"]["heights"][0] == pytest.approx(before["info"]["heights"][0] + 5.0, abs=0.01)


def test_an_update_writes_one_small_part(city: City, tmp_path: Path) -> None:
    """Ten of 3,000 houses change and two are new: the old part stays, the tiles are those of the whole new state."""
    options = ("--layer", "houses", "--option", "id=gid", "--option", "ground=0")
    first = city("ingest", str(houses(tmp_path / "all.gpkg", 3000)), *options)
    whole = geopandas.read_file(tmp_path / "all.gpkg")
    changed = whole.iloc[100:110].copy()
    changed["height"] = 33.0
    new = houses(tmp_path / "more.gpkg", 3002)
    added = geopandas.read_file(new).iloc[3000:]
    edit = pd.concat([changed, added])
    edit.to_file(tmp_path / "edit.gpkg", driver="GPKG", layer="houses")
    result = city("ingest", str(tmp_path / "edit.gpkg"), *options, "--update")
    assert result["count"] == 3002
    assert (result["report"]["facts"]["updated"], result["report"]["facts"]["added"]) == (10, 2)
    info = city("info", "houses")
    assert [part["count"] for part in info["parts"]] == [3000, 12]
    assert info["parts"][0]["key"] == city("info", "houses", "1")["parts"][0]["key"], "the old part was written again"
    assert info["parts"][1]["size"] < info["parts"][0]["size"] / 5
    assert city("check", "houses")["errors"] == 0
    assert city("diff", "houses@1", "houses@2", code=1)["features"]["changed"]
    city("export", "houses", "--to", str(tmp_path / "out.gpkg"))
    out = geopandas.read_file(tmp_path / "out.gpkg").set_index("id")
    assert len(out) == 3002
    assert set(out.index[out["height"] == 33.0]) == set(changed["gid"])

    full = whole.copy()
    full.loc[100:109, "height"] = 33.0
    pd.concat([full, added]).to_file(tmp_path / "full.gpkg", driver="GPKG", layer="houses")
    other = City(tmp_path / "other")
    other("ingest", str(tmp_path / "full.gpkg"), *options)
    assert other("info", "houses")["tileset"]["archive"] == info["tileset"]["archive"], "tiles depend on the layer's history"

    assert city("compact", "houses")["count"] == 3002
    assert [part["count"] for part in city("info", "houses")["parts"]] == [3002]
    assert city("info", "houses")["tileset"]["archive"] == info["tileset"]["archive"]
    assert "nothing to compact" in city("compact", "houses", code=2)["error"]["message"]
    assert first["count"] == 3000


def test_columns_get_the_units_and_titles_that_their_file_lacks(city: City, tmp_path: Path) -> None:
    """An update keeps them; they are in the layer's description and in its tiles."""
    delivered = str(houses(tmp_path / "h.gpkg"))
    city("ingest", delivered, "--layer", "houses", "--option", "ground=0", "--column", "height=m,层高,Storey height", "--column", "name=,楼名")
    for options in ((), ("--update",)):
        if options:
            city("ingest", delivered, "--layer", "houses", "--option", "ground=0", *options)
        columns = {column["name"]: column for column in city("info", "houses")["columns"]}
        assert (columns["height"]["unit"], columns["height"]["title"]) == ("m", {"zh": "层高", "en": "Storey height"})
        assert columns["name"]["title"] == {"zh": "楼名"}


def test_single_features_are_deleted(city: City, tmp_path: Path) -> None:
    """Deleted by name: gone from features, tiles and export; the part stays; a name that is not there deletes nothing."""
    options = ("--layer", "houses", "--option", "id=gid", "--option", "ground=0")
    city("ingest", str(houses(tmp_path / "all.gpkg", 300)), *options)
    whole = geopandas.read_file(tmp_path / "all.gpkg")
    gone = whole["gid"].iloc[[3, 5, 250]].tolist()
    kept = sorted(city.home.glob("lake/*/*.arrow"))
    city("gc", "--grace", "0")
    assert kept, "a build leaves what the next one builds on"
    assert all(path.exists() for path in kept), "and it is not garbage while its tiles are kept"
    assert "nope" in city("delete", "houses", "--ids", f"{gone[0]},nope", code=2)["error"]["message"]
    assert city("delete", "houses", "--ids", gone[0])["count"] == 299
    (tmp_path / "gone.txt").write_text("\n".join(gone[1:]) + "\n")
    assert city("delete", "houses", "--ids", f"@{tmp_path / 'gone.txt'}")["count"] == 297
    info = city("info", "houses")
    assert [part["key"] for part in info["parts"]] == [part["key"] for part in city("info", "houses", "1")["parts"]]
    assert city("check", "houses")["errors"] == 0
    city("export", "houses", "--to", str(tmp_path / "out.gpkg"))
    assert set(geopandas.read_file(tmp_path / "out.gpkg")["id"]) == set(whole["gid"]) - set(gone)
    whole[~whole["gid"].isin(gone)].to_file(tmp_path / "rest.gpkg", driver="GPKG", layer="houses")
    other = City(tmp_path / "other")
    other("ingest", str(tmp_path / "rest.gpkg"), *options)
    assert other("info", "houses")["tileset"]["archive"] == info["tileset"]["archive"]
    assert "has no feature" in city("delete", "houses", "--ids", gone[0], code=2)["error"]["message"]


def test_updates_that_do_not_fit_are_refused(grown: City, tmp_path: Path) -> None:
    frame = geopandas.read_file(houses(tmp_path / "x.gpkg")).drop(columns="name")
    frame.to_file(tmp_path / "narrow.gpkg", driver="GPKG", layer="houses")
    answer = grown("ingest", str(tmp_path / "narrow.gpkg"), "--layer", "houses", "--option", "id=gid", "--update", code=2)
    assert "name" in answer["error"]["message"]
    picture = ("--layer", "depths", "--reader", "raster")
    grown("ingest", str(dem(tmp_path / "d.tif", 4.0)), *picture)
    answer = grown("ingest", str(dem(tmp_path / "e.tif", 5.0)), *picture, "--update", code=2)
    assert "feature by feature" in answer["error"]["message"]
    assert "no layer" in grown("ingest", str(houses(tmp_path / "y.gpkg")), "--layer", "nothing", "--update", code=1)["error"]["message"]


def test_export_and_back(grown: City, tmp_path: Path) -> None:
    grown("export", "houses", "--to", str(tmp_path / "tiles"))
    grown("export", "houses", "--to", str(tmp_path / "tiles.3tz"))
    with zipfile.ZipFile(tmp_path / "tiles.3tz") as archive:
        for name in archive.namelist():
            if not name.startswith("@"):
                assert (tmp_path / "tiles" / name).read_bytes() == archive.read(name)
    grown("export", "houses", "--to", str(tmp_path / "out.gpkg"))
    back = geopandas.read_file(tmp_path / "out.gpkg")
    source = geopandas.read_file(tmp_path / "h.gpkg").set_index("gid")
    assert len(back) == 12
    for _, row in back.iterrows():
        assert row.geometry.equals(source.geometry[row["id"]])
    grown("export", "houses", "--to", str(tmp_path / "out.geojson"))
    assert geopandas.read_file(tmp_path / "out.geojson").crs.to_epsg() == 4326
    grown("export", "terrain", "--to", str(tmp_path / "out.tif"))
    with rasterio.open(tmp_path / "out.tif") as file:
        assert file.read(1).max() == 3.0
    assert "already exists" in grown("export", "houses", "--to", str(tmp_path / "out.gpkg"), code=1)["error"]["message"]
    assert "cannot be written as .laz" in grown("export", "houses", "--to", str(tmp_path / "x.laz"), code=2)["error"]["message"]


def test_garbage_is_collected_but_nothing_that_is_needed(grown: City, tmp_path: Path) -> None:
    for count in (16, 17, 18):
        grown("ingest", str(houses(tmp_path / f"h{count}.gpkg", count)), "--layer", "houses", "--option", "id=gid")
    before = set(Lake(grown.home / "lake").list())
    assert grown("gc")["files"] == 0, "younger than the grace period"
    assert set(Lake(grown.home / "lake").list()) == before
    done = grown("gc", "--keep", "2", "--grace", "0")
    assert done["versions"] == 3
    assert done["files"] > 0
    assert [row["version"] for row in grown("versions", "houses")] == [4, 5]
    assert grown("rollback", "houses")["version"] == 4
    grown("export", "houses", "--to", str(tmp_path / "after"))
    assert grown("info", "terrain")["published"]


def test_tiles_stay_while_a_version_that_came_back_shows_them(grown: City, tmp_path: Path) -> None:
    """The same delivery again has the key, and so the tiles, of the first one, whose version may be collected."""
    deliver = ["--layer", "houses", "--option", "height=height", "--option", "id=gid", "--title", "房屋"]
    grown("ingest", str(tmp_path / "h2.gpkg"), *deliver)
    grown("ingest", str(tmp_path / "h.gpkg"), *deliver)
    assert grown("publish", "houses", "1")["tileset"] == grown("publish", "houses", "4")["tileset"]
    grown("gc", "--keep", "1", "--grace", "0")
    assert [row["version"] for row in grown("versions", "houses")] == [4]
    assert grown("check", "houses")["positions"]["features"] == 12
    assert grown("diff", "houses", "houses@4")["equal"]
    catalog = Catalog(grown.home / "catalog.sqlite")
    with catalog.write() as connection:
        Derivations.delete().where(Derivations.layer == "houses").execute(connection)
    assert "is gone" in grown("check", "houses", code=1)["error"]["message"], "nothing to check is no success"
    grown("tile", "houses")
    assert grown("check", "houses")["tiles"]


def test_a_pinned_version_stays(grown: City, tmp_path: Path) -> None:
    for count in (16, 17):
        grown("ingest", str(houses(tmp_path / f"p{count}.gpkg", count)), "--layer", "houses", "--option", "id=gid")
    grown("pin", "houses", "1")
    assert grown("gc", "--keep", "1", "--grace", "0")["versions"] == 2
    assert [(row["version"], row["pinned"]) for row in grown("versions", "houses")] == [(1, True), (4, False)]
    assert grown("publish", "houses", "1")["version"] == 1
    grown("pin", "houses", "1", "--off")
    assert "no version 9" in grown("pin", "houses", "9", code=1)["error"]["message"]


def test_what_is_collected_while_it_is_read_is_said(grown: City, monkeypatch: pytest.MonkeyPatch) -> None:
    """With no time of grace; that was an internal error, as libraries say that a file is not there in words of their own."""
    real = Lake.path

    def gone(self: Lake, key: str) -> Path:
        path = real(self, key)
        if key.endswith(".parquet"):
            path.unlink()
        return path

    monkeypatch.setattr(Lake, "path", gone)
    assert "garbage was collected while" in grown("check", "houses", code=1)["error"]["message"]


def test_no_garbage_is_collected_under_a_running_job(grown: City) -> None:
    catalog = Catalog(grown.home / "catalog.sqlite")
    jobs = Jobs(catalog)
    job = jobs.claim(jobs.submit("run", {}).id)
    assert "is running" in grown("gc", "--grace", "0", code=2)["error"]["message"]
    jobs.run(job, lambda context: {})
    assert grown("gc", "--grace", "0")["versions"] == 0
    catalog.close()


def test_what_a_run_left_that_failed_is_garbage(grown: City) -> None:
    """Its last good state stays for some months; what a run needs that will be taken up again stays in any case."""
    assert LAST_GOOD == driver.LAST_GOOD
    catalog = Catalog(grown.home / "catalog.sqlite")
    jobs = Jobs(catalog)

    def fails(context: Context) -> dict[str, Any]:
        raise StorageError("the disk is full")

    failed = jobs.run(jobs.claim(jobs.submit("run", {}).id), fails)
    waiting = jobs.submit("run", {})
    assert failed.state == "failed"
    files = ("checkpoint.npz", LAST_GOOD, "frames.zarr/.zgroup")
    for job in (failed, waiting):
        for name in files:
            (grown.home / "runs" / job.id / name).parent.mkdir(parents=True, exist_ok=True)
            (grown.home / "runs" / job.id / name).write_text("x")
    grown("gc")
    assert all((grown.home / "runs" / failed.id / name).exists() for name in files), "within the time of grace nothing goes"
    grown("gc", "--grace", "0")
    assert [path.name for path in (grown.home / "runs" / failed.id).iterdir()] == [LAST_GOOD]
    assert all((grown.home / "runs" / waiting.id / name).exists() for name in files)
    with catalog.write() as connection:
        JobRows.update(finished=time.time() - 100 * 86_400).where(JobRows.id == failed.id).execute(connection)
    grown("gc", "--grace", "0")
    assert not (grown.home / "runs" / failed.id).exists()
    jobs.cancel(waiting.id)
    catalog.close()


def test_a_run_writes_layers_like_any_other(grown: City, tmp_path: Path) -> None:
    result = grown("run", "inundation", "--set", "terrain=terrain", "--set", "level=4.5", "--set", "source_point=113.0775,22.5775", "--set", "buildings=houses",
                   "--set", "bbox=113.0,22.5,113.2,22.7", "--name", "storm")  # fmt: skip
    assert result["outputs"]["depth"]["layer"] == "storm-depth"
    rows = {row["layer"]: row for row in grown("layers")}
    assert rows["storm-depth"]["kind"] == "raster"
    assert rows["storm-buildings"]["kind"] == "blocks"
    assert rows["storm-buildings"]["count"] == 12
    assert result["report"]["facts"]["max_depth_m"] == pytest.approx(1.5, abs=1e-3)


@pytest.mark.parametrize(("arguments", "code", "text"), [
    (["ingest", "nowhere.gpkg", "--layer", "x"], 2, "no file"),
    (["ingest", "EMPTY", "--layer", "x"], 2, "empty"),
    (["ingest", "HOUSES", "--layer", "../x"], 2, "layer name"),
    (["ingest", "HOUSES", "--layer", "x", "--option", "heigth=height"], 2, "no option 'heigth'"),
    (["ingest", "HOUSES", "--layer", "x", "--option", "height"], 2, "name=value"),
    (["ingest", "HOUSES", "--layer", "x", "--reader", "magic"], 1, "no reader 'magic'"),
    (["ingest", "HOUSES", "--layer", "x", "--group", "别的"], 2, "group cannot be"),
    (["ingest", "HOUSES", "--layer", "x", "--crs", "EPSG:999999"], 2, "unknown to PROJ"),
    (["ingest", "TEXT", "--layer", "x"], 2, "No reader takes"),
    (["ingest", "HOUSES", "--layer", "x", "--option", "ground=0", "--column", "hieght=m"], 2, "no column 'hieght'"),
    (["ingest", "HOUSES", "--layer", "x", "--column", "height"], 2, "--column 'height' is not understood"),
    (["publish", "x"], 1, "no layer"), (["rollback", "x"], 1, "no layer"), (["tile", "x"], 1, "no layer"), (["delete", "x", "--yes"], 1, "no layer"),
    (["run", "magic"], 1, "no scenario"), (["run", "inundation", "--set", "level=deep"], 2, "level"), (["run", "inundation", "--set", "depth=1"], 2, "depth: unknown option"),
    (["jobs", "nothing"], 1, "no job"), (["export", "x", "--to", "y"], 1, "no layer"), (["bench", "nothing"], 1, "no benchmark"),
])  # fmt: skip
def test_mistakes_get_one_clear_line(city: City, tmp_path: Path, arguments: list[str], code: int, text: str) -> None:
    (tmp_path / "empty.gpkg").write_bytes(b"")
    (tmp_path / "a.txt").write_text("hello")
    names = {"HOUSES": str(houses(tmp_path / "h.gpkg")), "EMPTY": str(tmp_path / "empty.gpkg"), "TEXT": str(tmp_path / "a.txt")}
    answer = city(*[names.get(argument, argument) for argument in arguments], code=code)
    assert text in answer["error"]["message"]
    assert city("layers") == []


def test_diff_of_versions_layers_and_files(grown: City, tmp_path: Path) -> None:
    grown("publish", "houses", "2")
    result = grown("diff", "houses@1", "houses@2", code=1)
    assert result["features"]["added"] == ["h12", "h13", "h14"]
    assert (result["features"]["removed"], result["features"]["changed"], result["features"]["same"]) == ([], [], 12)
    grown("export", "houses", "--to", str(tmp_path / "out.3tz"))
    assert grown("diff", "houses", str(tmp_path / "out.3tz"))["equal"]
    assert grown("diff", "terrain", "terrain@1")["features"] is None
    assert "no version number" in grown("diff", "houses@new", "houses", code=2)["error"]["message"]
    assert "no file" in grown("diff", str(tmp_path / "absent.3tz"), "houses", code=1)["error"]["message"]
    shown = CliRunner().invoke(main, ["diff", "houses@1", "houses@2", "--home", str(grown.home)])
    assert shown.exit_code == 1
    assert "3 added, 0 removed, 0 changed, 12 the same" in shown.output
    assert "+ h13" in shown.output


def test_the_parameters_of_a_scenario_are_told(tmp_path: Path) -> None:
    """Names alone told nobody what a parameter is, nor its unit, nor what it is if left out."""
    shown = CliRunner().invoke(main, ["run", "--home", str(tmp_path)]).output
    assert "Simulated time, hours (at most 240). [default: 2.0]" in " ".join(shown.split())
    assert "One of hllc, hllc2, inertial. [default: hllc]" in " ".join(shown.split())
    assert "terrain Terrain layer. [required]" in " ".join(shown.split())
