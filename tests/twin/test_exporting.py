"""Tilesets in one archive or several, in a folder or an object store: served, checked, exported and packed again alike."""

from __future__ import annotations

import json
import os
import sqlite3
import zipfile
from pathlib import Path
from typing import Any

import laspy
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fastapi.testclient import TestClient
from pyproj import Transformer
from shapely.geometry import box

from tests.conftest import room
from tests.ingest_gis.conftest import write_las
from twin import archive_set, checking, diffing, exporting, intake, scratch, tasks
from twin.api.app import create_app
from twin.archive import INDEX, Archive, ArchiveWriter
from twin.archive_set import ArchiveSet
from twin.city import City
from twin.errors import BadOption, BadTileset, Conflict, NotFound, StorageError
from twin.settings import Settings

COUNT = 600


def buildings(path: Path) -> Path:
    degrees = Transformer.from_crs("EPSG:4547", "EPSG:4326", always_xy=True)
    features = []
    for i in range(COUNT):
        x, y = 405_000 + 90 * (i % 30), 2_498_000 + 70 * (i // 30)
        ring = [degrees.transform(x + a, y + b) for a, b in ((0, 0), (20, 0), (20, 12), (0, 12), (0, 0))]
        features.append({"type": "Feature", "properties": {"id": f"b{i}", "height": 5.0 + i % 40, "名称": f"楼{i}"}, "geometry": {"type": "Polygon", "coordinates": [ring]}})
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return path


def city_with(tmp_path: Path, name: str, **settings: Any) -> City:
    city = City(Settings(tmp_path / name, workers=1, **settings))
    options = {"height": "height", "vertical": "above ground", "id": "id", "ground": "12", "budget": "800"}
    params = intake.ingest_params(buildings(tmp_path / "b.geojson"), "houses", reader="footprints", options=options)
    tasks.require(tasks.work(city, tasks.submit(city, "ingest", params)))
    return city


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> City:
    return city_with(tmp_path_factory.mktemp("one"), "city")


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory) -> City:
    return city_with(tmp_path_factory.mktemp("split"), "city", archive_bytes=30_000)


@pytest.fixture(scope="module")
def remote(tmp_path_factory: pytest.TempPathFactory) -> City:
    folder = tmp_path_factory.mktemp("remote")
    (folder / "store").mkdir()
    return city_with(folder, "city", lake=(folder / "store").as_uri(), archive_bytes=30_000)


def archives(city: City) -> list[Path]:
    _, _, derivation = city.published("houses")
    assert derivation is not None
    return [city.lake.path(key) for key in derivation.archives]


def drawn(client: TestClient) -> set[str]:
    """Ids of all features that a client meets that follows the links from the layer's root tileset."""
    from tiling.check import decode_glb, property_table_rows

    found: set[str] = set()
    stack = ["/tiles3d/houses/tileset.json"]
    while stack:
        uri = stack.pop()
        document = client.get(uri)
        assert document.status_code == 200, uri
        base = uri.rsplit("/", 1)[0]
        tiles = [document.json()["root"]]
        while tiles:
            tile = tiles.pop()
            tiles += tile.get("children", [])
            inner = tile.get("content", {}).get("uri")
            if inner and inner.endswith(".json"):
                stack.append(f"{base}/{inner}")
            elif inner:
                ids = [row["id"] for row in property_table_rows(decode_glb(client.get(f"{base}/{inner}").content)[0].tables[0]) if "id" in row]  # masses have none
                assert found.isdisjoint(ids)
                found.update(ids)
    return found


def test_a_large_tileset_is_several_archives_that_read_as_one(one: City, split: City) -> None:
    whole, parts = archives(one), archives(split)
    assert len(whole) == 1
    assert len(parts) > 2
    assert all(path.stat().st_size < 45_000 for path in parts)
    with ArchiveSet([Archive(p) for p in parts]) as tiles, Archive(whole[0]) as single:
        names = set(tiles.names())
        glbs = {n for n in single.names() if n.endswith(".glb")}
        assert glbs == {n for n in names if n.endswith(".glb")}
        assert all(tiles.read(n) == single.read(n) for n in glbs)
        assert any(n.startswith("tileset-") for n in names)
        main = json.loads(tiles.read("tileset.json"))
        assert len(tiles.read("tileset.json")) < len(single.read("tileset.json"))
        assert main["statistics"] == json.loads(single.read("tileset.json"))["statistics"]
        with pytest.raises(NotFound):
            tiles.read("nothing.glb")


@pytest.mark.parametrize("which", ["one", "split", "remote"])
def test_the_api_serves_every_feature(which: str, request: pytest.FixtureRequest) -> None:
    city: City = request.getfixturevalue(which)
    assert drawn(TestClient(create_app(city))) == {f"b{i}" for i in range(COUNT)}


def test_tiles_come_from_the_store_by_ranges(remote: City) -> None:
    from twin.lake import Lake

    for path in archives(remote):
        path.unlink()
    client = TestClient(create_app(remote))
    assert drawn(client) == {f"b{i}" for i in range(COUNT)}
    assert not [key for key, _, _ in Lake.list(remote.lake) if key.endswith(".3tz")], "no archive was downloaded"


@pytest.mark.parametrize("which", ["one", "split", "remote"])
def test_check_and_export_follow(which: str, one: City, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    city: City = request.getfixturevalue(which)
    result = checking.check(city, "houses")
    assert (result["errors"], result["warnings"]) == (0, 0), result["findings"][:3]
    assert result["positions"]["features"] == COUNT
    exporting.export(city, "houses", tmp_path / "folder")
    exporting.export(city, "houses", tmp_path / "file.3tz")
    for target in (tmp_path / "folder", tmp_path / "file.3tz"):
        assert checking.check(None, str(target))["errors"] == 0
        compared = diffing.diff(lambda: one, "houses", str(target))
        assert compared["features"] == {"added": [], "removed": [], "changed": [], "same": COUNT}
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]


def test_archive_to_folder_and_back_is_the_same_file(one: City, tmp_path: Path) -> None:
    exporting.export(one, "houses", tmp_path / "folder")
    exporting.pack(tmp_path / "folder", tmp_path / "again.3tz")
    assert (tmp_path / "again.3tz").read_bytes() == archives(one)[0].read_bytes()
    (tmp_path / "folder" / INDEX).unlink()
    exporting.pack(tmp_path / "folder", tmp_path / "sorted.3tz")
    assert not checking.check(None, str(tmp_path / "sorted.3tz"))["errors"]
    with pytest.raises(Conflict):
        exporting.pack(tmp_path / "folder", tmp_path / "sorted.3tz")
    with pytest.raises(NotFound, match=r"tileset\.json"):
        exporting.pack(tmp_path, tmp_path / "x.3tz")


def test_stored_files_stay_stored(tmp_path: Path) -> None:
    with ArchiveWriter(tmp_path / "a.3tz") as writer:
        writer.add("b.glb", b"b" * 500, deflate=False)
        writer.add("a.glb", b"a" * 500)
        writer.add("tileset.json", b"{}")
    with Archive(tmp_path / "a.3tz") as archive:
        exporting.unpack(ArchiveSet([archive]), tmp_path / "f")
    exporting.pack(tmp_path / "f", tmp_path / "b.3tz")
    assert (tmp_path / "a.3tz").read_bytes() == (tmp_path / "b.3tz").read_bytes()


def test_a_folder_of_several_archives_is_packed_without_looking_for_what_it_was(split: City, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has no index: each file is deflated once (twelve more times took a city of 5 GB more than ten minutes instead of one)."""
    exporting.export(split, "houses", tmp_path / "f")
    assert not (tmp_path / "f" / INDEX).exists()
    monkeypatch.setattr(exporting, "deflate_compress", lambda *_: pytest.fail("a level was sought"))
    exporting.pack(tmp_path / "f", tmp_path / "one.3tz")
    assert not checking.check(None, str(tmp_path / "one.3tz"))["errors"]


def test_export_for_old_clients(split: City, tmp_path: Path) -> None:
    place = tmp_path / "houses-1.0"  # a folder: its name ends as those of versions and dates do, not as a file's
    exporting.export(split, "houses", place, form="3dtiles-1.0")
    assert json.loads((place / "tileset.json").read_text())["asset"]["version"] == "1.0"
    assert list(place.rglob("*.b3dm"))
    assert not list(place.rglob("*.glb"))
    assert not checking.check(None, str(place))["errors"]
    with pytest.raises(BadOption, match="--format"):
        exporting.export(split, "houses", tmp_path / "x", form="i3s")
    with pytest.raises(BadOption, match="--format"):
        exporting.export(split, "houses", tmp_path / "x.3tz", form="3dtiles-1.0")


def test_nothing_is_left_of_an_export_that_fails(one: City, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, calls = Path.write_bytes, []

    def full(self: Path, data: bytes) -> int:
        calls.append(self)
        if len(calls) > 3:
            raise OSError(28, "No space left on device")
        return real(self, data)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(StorageError, match="No space left"):
        exporting.export(one, "houses", tmp_path / "folder")
    assert not list(tmp_path.iterdir())


def test_odd_targets_of_packing_are_refused_in_words(one: City, tmp_path: Path) -> None:
    exporting.export(one, "houses", tmp_path / "f")
    with pytest.raises(StorageError, match="name too long"):
        exporting.pack(tmp_path / "f", tmp_path / ("n" * 300))
    with pytest.raises(StorageError, match=r"tileset.json is no folder"):
        exporting.pack(tmp_path / "f", tmp_path / "f" / "tileset.json" / "a.3tz")
    exporting.pack(tmp_path / "f", tmp_path / "f" / "self.3tz")
    with pytest.raises(BadTileset, match=r"^again.3tz: 'self.3tz' cannot be .* Take it out of the folder\.$"):
        exporting.pack(tmp_path / "f", tmp_path / "again.3tz")


def test_odd_targets_are_refused_in_words(one: City, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file where a folder should be, a device, a name too long, links in a circle, the lake, the folder that one is in: all were internal errors, or lost with the next gc."""
    (tmp_path / "file").write_text("x")
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    (tmp_path / "in").mkdir()
    monkeypatch.chdir(tmp_path / "in")
    before = sorted(path.name for path in tmp_path.rglob("*"))
    for target, error, text in ((tmp_path / "file" / "x", StorageError, "file is no folder"), (tmp_path / "file" / "x.3tz", StorageError, "file is no folder"), (Path("/dev/null"), Conflict, "already exists"),
                                (tmp_path / ("n" * 300), StorageError, "name too long"), (tmp_path / "circle", StorageError, "cannot be written"), (Path("."), Conflict, "that you are in"),
                                (one.settings.home / "lake" / "out", Conflict, "keeps its own")):  # fmt: skip
        with pytest.raises(error, match=text):
            exporting.export(one, "houses", target)
    assert sorted(path.name for path in tmp_path.rglob("*")) == before
    for target in (Path("有 空格/目录"), Path("../a b.3tz"), Path("dot.")):
        exporting.export(one, "houses", target)
        assert target.exists()


@pytest.mark.parametrize("name", ["houses.gpkg", "houses.3tz", "houses.csv", "houses"])
def test_what_is_exported_is_on_disk_before_it_has_its_name(one: City, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Or a power cut leaves an empty file of that name."""
    done: list[tuple[str, int]] = []
    synced, replaced = os.fsync, os.replace

    def sync(descriptor: int) -> None:
        done.append(("synced", os.fstat(descriptor).st_ino))
        synced(descriptor)

    def replace(source: Path, target: Path) -> None:
        done.append(("named", source.stat().st_ino))
        replaced(source, target)

    def sync_all(folder: Path) -> None:
        done.append(("synced", folder.stat().st_ino))
        whole(folder)

    whole = scratch._sync_all
    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(os, "replace", replace)
    monkeypatch.setattr(scratch, "_sync_all", sync_all)
    exporting.export(one, "houses", tmp_path / name)
    itself = (tmp_path / name).stat().st_ino
    assert done[-3:] == [("synced", itself), ("named", itself), ("synced", tmp_path.stat().st_ino)]


@pytest.mark.parametrize("suffix", [".gpkg", ".geojson", ".parquet", ".csv", ".3tz"])
@pytest.mark.parametrize("missing", [1, 6000, 50_000])
def test_a_disk_that_is_nearly_full_is_said(one: City, tmp_path: Path, suffix: str, missing: int) -> None:
    """What fails when a file is closed fails in silence in some libraries: a GeoPackage without index, GeoJSON without its end were called written."""
    whole, target = tmp_path / f"whole{suffix}", tmp_path / "out" / f"houses{suffix}"
    exporting.export(one, "houses", whole)
    with room(whole.stat().st_size - missing), pytest.raises(StorageError, match=rf"houses\{suffix} cannot be written: ") as caught:
        exporting.export(one, "houses", target)
    assert "houses-" not in caught.value.message
    assert not list(target.parent.iterdir())


def test_a_full_disk_while_packing_names_the_archive(one: City, tmp_path: Path) -> None:
    exporting.export(one, "houses", tmp_path / "folder")
    with room(2000), pytest.raises(StorageError, match=r"Writing the archive houses\.3tz: the disk is full"):
        exporting.pack(tmp_path / "folder", tmp_path / "out" / "houses.3tz")
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize("missing", [1, 2000])
def test_a_disk_that_is_nearly_full_is_said_of_clouds(tmp_path: Path, missing: int) -> None:
    """The library that compresses says "cannot call flush"."""
    city = City(Settings(tmp_path / "city", workers=1))
    (tmp_path / "in").mkdir()
    for name in ("a.las", "b.las"):
        write_las(tmp_path / "in" / name, 500)
    params = intake.ingest_params(tmp_path / "in", "cloud", options={"crs": "EPSG:32650", "vertical": "EGM96"})
    tasks.require(tasks.work(city, tasks.submit(city, "ingest", params)))
    exporting.export(city, "cloud", tmp_path / "whole.laz")
    with room((tmp_path / "whole.laz").stat().st_size - missing), pytest.raises(StorageError, match=r"cloud\.laz cannot be written: File too large"):
        exporting.export(city, "cloud", tmp_path / "out" / "cloud.laz")
    assert not list((tmp_path / "out").iterdir())


def test_a_name_that_climbs_out_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "z.zip", "w"):
        pass
    with ArchiveWriter(tmp_path / "a.3tz") as writer:
        writer.add("c:/x", b"1")
    with Archive(tmp_path / "a.3tz") as archive, pytest.raises(BadTileset, match="no place inside"):
        exporting.unpack(ArchiveSet([archive]), tmp_path / "f")


def test_a_full_disk_while_splitting_leaves_nothing(one: City, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = []
    real = ArchiveWriter.add_packed

    def full(self: ArchiveWriter, name: str, packed: Any) -> None:
        written.append(name)
        if len(written) > 20:
            raise StorageError("the disk is full", "")
        real(self, name, packed)

    monkeypatch.setattr(ArchiveWriter, "add_packed", full)
    with pytest.raises(StorageError):
        archive_set.split(archives(one)[0], tmp_path, 30_000)
    assert not list(tmp_path.iterdir())


def test_terrain_and_trees_without_children_are_split_file_by_file(tmp_path: Path) -> None:
    path = tmp_path / "t.3tz"
    with ArchiveWriter(path) as writer:
        for i in range(50):
            writer.add(f"3/{i}/0.terrain", bytes([i]) * 1000, deflate=False)
        writer.add("layer.json", b"{}")
    paths = archive_set.split(path, tmp_path, 10_000)
    assert len(paths) > 4
    with ArchiveSet([Archive(p) for p in paths]) as tiles:
        assert sorted(tiles.names()) == sorted([f"3/{i}/0.terrain" for i in range(50)] + ["layer.json"])
        assert tiles.read("3/49/0.terrain") == bytes([49]) * 1000


def test_the_garbage_collector_keeps_all_archives(split: City) -> None:
    tasks.require(tasks.work(split, tasks.submit(split, "gc", {"grace": 0})))
    assert drawn(TestClient(create_app(split))) == {f"b{i}" for i in range(COUNT)}


def test_no_value_is_lost_on_the_way_into_a_file(tmp_path: Path) -> None:
    """Whole numbers beside nulls: floats, which pandas would make of them, end at 2^53. Read by pyarrow, SQLite and json themselves."""
    signed, unsigned, small = [2**63 - 1, None, -(2**53) - 1], [2**64 - 1, None, 2**53 + 1], [None, 2**53 + 1, 7]
    table = pa.table({"bid": ["a", "b", "c"], "i": pa.array(signed, pa.int64()), "u": pa.array(unsigned, pa.uint64()), "v": pa.array(small, pa.uint64()),
                      "flag": pa.array([True, None, False]), "names": [["x"], None, []], "geometry": [box(k, 0, k + 0.5, 1).wkb for k in range(3)]})  # fmt: skip
    geo = {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": {"encoding": "WKB", "geometry_types": []}}}
    pq.write_table(table.replace_schema_metadata({"geo": json.dumps(geo)}), tmp_path / "s.parquet")
    city = City(Settings(tmp_path / "city", workers=1))
    params = intake.ingest_params(tmp_path / "s.parquet", "v", reader="vector", options={"id": "bid"}, publish=True)
    tasks.require(tasks.work(city, tasks.submit(city, "ingest", params)))
    for suffix in (".parquet", ".gpkg", ".geojson"):
        exporting.export(city, "v", tmp_path / f"o{suffix}")
    found = pq.read_table(tmp_path / "o.parquet").sort_by("id")
    for name in ("i", "u", "v", "flag", "names"):
        assert found[name].to_pylist() == table[name].to_pylist(), name
        assert found.schema.field(name).type == table.schema.field(name).type or name == "names"
    with sqlite3.connect(tmp_path / "o.gpkg") as base:
        rows = base.execute("select i, u, v, flag, names from v order by id").fetchall()
    texts = [None if u is None else str(u) for u in unsigned]
    flags = [1, None, 0]
    assert rows == list(zip(signed, texts, small, flags, ['["x"]', None, "[]"], strict=True))
    read = {f["properties"]["id"]: f["properties"] for f in json.loads((tmp_path / "o.geojson").read_text())["features"]}
    assert [(read[k]["i"], read[k]["u"], read[k]["v"], read[k]["flag"]) for k in "abc"] == list(zip(signed, texts, small, [True, None, False], strict=True))


def test_a_cloud_is_exported_as_the_layer_shows_it(tmp_path: Path) -> None:
    for number in (1, 2):
        las = laspy.read(write_las(tmp_path / f"{number}.las", 500, seed=number))
        las.withheld = np.arange(500) < 40
        las.write(tmp_path / f"{number}.las")
    city = City(Settings(tmp_path / "city", workers=1))
    for layer, files, count in (("one", [tmp_path / "1.las"], 460), ("two", [tmp_path / "1.las", tmp_path / "2.las"], 920)):
        params = intake.ingest_params(files, layer, options={"crs": "EPSG:32650", "vertical": "EGM96"})
        tasks.require(tasks.work(city, tasks.submit(city, "ingest", params)))
        assert exporting.export(city, layer, tmp_path / f"{layer}.las")["what"] == f"{count} points"
        assert len(laspy.read(tmp_path / f"{layer}.las")) == count
