"""Terrain archives, parts without tiles, and `twin check` of layers: intact ones pass, spoilt ones are named."""

from __future__ import annotations

import hashlib
import io
import json
import struct
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import rasterio
import shapely
from click.testing import CliRunner
from rasterio.transform import from_origin

from ingest_gis import terrain as terrain_reader
from tiling.check import Report, check_layer, check_tileset
from tiling.check.terrain_tile import decode_terrain
from tiling.terrain import tiler as terrain_tiler
from twin import checking, crs, intake, tasks
from twin.city import City
from twin.cli import main
from twin.errors import NotFound
from twin.lake import Lake
from twin.model import Column, Features, Grid, LayerVersion, Reference
from twin.model import Report as ReadReport
from twin.parts import write_version
from twin.registry import TileJob

WEST, NORTH = 405_000.0, 2_498_000.0


def dem(path: Path) -> Path:
    """Hills of 90 × 80 cells of 10 m in 1985 heights, with a void."""
    row, column = np.mgrid[0:80, 0:90]
    z = (30 + 12 * np.sin(column / 11) * np.cos(row / 13)).astype(np.float32)
    z[20:24, 30:35] = -9999
    with rasterio.open(path, "w", driver="GTiff", width=90, height=80, count=1, dtype="float32", crs="EPSG:4547", nodata=-9999,
                       transform=from_origin(WEST, NORTH, 10, 10)) as file:  # fmt: skip
        file.write(z, 1)
    return path


def write_terrain(lake: Lake, path: Path, **options: Any) -> LayerVersion:
    report = ReadReport(path.name)
    batches = terrain_reader.read(path, terrain_reader.Options(**options), report)
    return write_version(lake, "terrain", "terrain", batches, report, provenance={})


@pytest.fixture
def terrain(lake: Lake, tmp_path: Path) -> tuple[LayerVersion, Path, dict[str, Any]]:
    """A tiled terrain: version, archive, facts."""
    version = write_terrain(lake, dem(tmp_path / "dem.tif"), vertical="EPSG:5737")
    out = tmp_path / "terrain.3tz"
    return version, out, terrain_tiler.tile(version, TileJob(lake, out, terrain_tiler.Options(), None, 2))


def rewritten(path: Path, edit: Callable[[dict[str, bytes]], None]) -> Path:
    """A copy of an archive, with a right index, after `edit` of its files."""
    with zipfile.ZipFile(path) as archive:
        files = {name: archive.read(name) for name in archive.namelist() if not name.startswith("@")}
    edit(files)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
        pairs = [(hashlib.md5(i.filename.encode()).digest(), i.header_offset) for i in archive.infolist()]
        pairs.sort(key=lambda p: struct.unpack("<QQ", p[0]))
        archive.writestr("@3dtilesIndex1@", b"".join(d + struct.pack("<Q", o) for d, o in pairs), compress_type=zipfile.ZIP_STORED)
    copy = path.with_name("copy.3tz")
    copy.write_bytes(out.getvalue())
    return copy


def finest(files: dict[str, bytes]) -> list[str]:
    level = json.loads(files["layer.json"])["maxzoom"]
    return sorted(name for name in files if name.startswith(f"{level}/"))


def codes(lake: Lake, terrain: tuple[LayerVersion, Path, dict[str, Any]], edit: Callable[[dict[str, bytes]], None]) -> set[str]:
    version, out, facts = terrain
    return check_layer(version, lake, rewritten(out, edit), info=facts).codes()


def test_intact_terrain_passes(lake: Lake, terrain: tuple[LayerVersion, Path, dict[str, Any]]) -> None:
    version, out, facts = terrain
    report = check_layer(version, lake, out, info=facts)
    assert report.ok, report.errors
    assert report.contents == facts["tiles"] and report.vertices == sum(level["vertices"] for level in facts["stats"]["levels"])
    assert report.positions is not None
    assert report.positions["vertices"] > 1000 and report.positions["max_error_m"] < 0.07
    assert report.positions["cells"] > 3000
    assert report.positions["surface_max_error_m"] <= report.positions["surface_stated_m"] + 0.07
    assert check_tileset(out).ok, "the archive is known as terrain without the layer"


def test_terrain_of_a_coarser_level_is_held_against_its_stated_error(lake: Lake, tmp_path: Path) -> None:
    version = write_terrain(lake, dem(tmp_path / "dem.tif"), vertical="EPSG:5737")
    out = tmp_path / "coarse.3tz"
    facts = terrain_tiler.tile(version, TileJob(lake, out, terrain_tiler.Options(max_level=11), None, 1))
    assert check_layer(version, lake, out, info=facts).ok
    facts["stats"]["levels"][-1]["dem_error"] = 0.01
    assert check_layer(version, lake, out, info=facts).codes() == {"HEIGHT_OFF", "SURFACE_OFF"}


def test_raised_terrain_is_caught(lake: Lake, terrain: tuple[LayerVersion, Path, dict[str, Any]]) -> None:
    """All heights of the finest level 0.2 m too high, by their header alone."""

    def raise_(files: dict[str, bytes]) -> None:
        for name in finest(files):
            low, high = struct.unpack_from("<2f", files[name], 24)
            files[name] = files[name][:24] + struct.pack("<2f", low + 0.2, high + 0.2) + files[name][32:]

    assert codes(lake, terrain, raise_) == {"HEIGHT_OFF", "SURFACE_OFF"}


def test_one_raised_tile_opens_a_crack(lake: Lake, terrain: tuple[LayerVersion, Path, dict[str, Any]]) -> None:
    def raise_(files: dict[str, bytes]) -> None:
        name = finest(files)[len(finest(files)) // 2]
        low, high = struct.unpack_from("<2f", files[name], 24)
        files[name] = files[name][:24] + struct.pack("<2f", low + 3, high + 3) + files[name][32:]

    may = {"TERRAIN_CRACK", "HEIGHT_OFF", "SURFACE_OFF", "TERRAIN_SPHERE_INVALID", "TERRAIN_OCCLUSION_INVALID"}
    assert may >= codes(lake, terrain, raise_) >= {"TERRAIN_CRACK", "HEIGHT_OFF"}


def test_a_geoid_of_the_wrong_sign_is_caught(lake: Lake, terrain: tuple[LayerVersion, Path, dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    version, out, facts = terrain
    right = crs.undulation
    monkeypatch.setattr(crs, "undulation", lambda lon, lat: -right(lon, lat))
    assert check_layer(version, lake, out, info=facts).ok, "the check must not lean on twin.crs"
    wrong = out.with_name("wrong.3tz")
    facts = terrain_tiler.tile(version, TileJob(lake, wrong, terrain_tiler.Options(), None, 1))
    assert "HEIGHT_OFF" in check_layer(version, lake, wrong, info=facts).codes()


@pytest.mark.parametrize(
    ("code", "edit"),
    [
        ("TERRAIN_AVAILABLE", lambda files: files.pop(finest(files)[0])),
        ("TERRAIN_AVAILABLE", lambda files: files.update({"30/0/0.terrain": files[finest(files)[0]]})),
        ("TERRAIN_TRUNCATED", lambda files: files.update({finest(files)[0]: files[finest(files)[0]][:-9]})),
        ("TERRAIN_TRUNCATED", lambda files: files.update({finest(files)[0]: b"short"})),
        ("ARCHIVE_NO_TILESET", lambda files: files.pop("layer.json")),
        ("JSON_REQUIRED", lambda files: files.update({"layer.json": b"{}"})),
        ("TERRAIN_ADDRESS", lambda files: files.update({"layer.json": files["layer.json"].replace(b"{z}/{x}/{y}.terrain", b"{z}/{x}.terrain")})),
        ("JSON_TYPE", lambda files: files.update({"layer.json": files["layer.json"].replace(b'"tilejson"', b'"attribution": 3, "tilejson"')})),
        ("TERRAIN_SPHERE_INVALID", lambda files: files.update({finest(files)[0]: _patched(files[finest(files)[0]], "<d", 56, 10.0)})),
        ("TERRAIN_OCCLUSION_INVALID", lambda files: files.update({finest(files)[0]: _patched(files[finest(files)[0]], "<3d", 64, 0.1, 0.1, 0.1)})),
        ("TERRAIN_HEADER_INVALID", lambda files: files.update({finest(files)[0]: _patched(files[finest(files)[0]], "<2f", 24, 900.0, 100.0)})),
    ],
)
def test_a_spoilt_archive_is_named(lake: Lake, terrain: tuple[LayerVersion, Path, dict[str, Any]], code: str, edit: Callable[[dict[str, bytes]], Any]) -> None:
    assert code in codes(lake, terrain, edit)


def _patched(data: bytes, kind: str, at: int, *values: float) -> bytes:
    return data[:at] + struct.pack(kind, *values) + data[at + struct.calcsize(kind) :]


def flat(*, flip: bool = False, edge: int = 0, normals: bytes | None = None, gap: bool = False) -> bytes:
    """A tile of two triangles, written by hand from the format's description."""
    def delta(values: list[int]) -> bytes:
        steps = np.diff(values, prepend=0)
        return ((steps << 1) ^ (steps >> 31)).astype("<u2").tobytes()

    corners = [(0, 0), (32767, 0), (32767, 32767), (0, 32767)]
    head = struct.pack("<3d2f4d3d", 6378137, 0, 0, 0, 10, 6378137, 0, 0, 2e7, 1.1, 0, 0)
    body = struct.pack("<I", 4) + b"".join(delta([c[k] for c in corners]) for k in range(2)) + delta([0, 0, 32767, 32767])
    order = [0, 1, 2, 0, 2, 3] if not flip else [0, 2, 1, 0, 3, 2]
    order = order[:3] if gap else order
    codes, highest = [], 0
    for i in order:
        codes.append(highest - i)
        highest += codes[-1] == 0
    if flip:
        codes = []  # 0 2 1 is not in order of first use; written with a repeated vertex order instead
        corners = corners[::-1]
        body = struct.pack("<I", 4) + b"".join(delta([c[k] for c in corners]) for k in range(2)) + delta([0, 0, 32767, 32767])
        codes = [0, 0, 0, 3, 1, 0]
    body += struct.pack("<I", len(codes) // 3) + np.array(codes, "<u2").tobytes()
    sides = [[i for i, c in enumerate(corners) if c[axis] == at] for axis, at in ((0, 0), (1, 0), (0, 32767), (1, 32767))]
    sides[0][0] = (sides[0][0] + edge) % 4
    body += b"".join(struct.pack("<I", len(s)) + np.array(s, "<u2").tobytes() for s in sides)
    return head + body + (struct.pack("<BI", 1, len(normals)) + normals if normals is not None else b"")


@pytest.mark.parametrize(
    ("code", "options"),
    [(None, {}), ("TERRAIN_WINDING", {"flip": True}), ("TERRAIN_EDGE_INVALID", {"edge": 1}), ("TERRAIN_GAPS", {"gap": True}),
     ("TERRAIN_NORMALS_INVALID", {"normals": b"\0" * 6}), ("TERRAIN_NORMALS_INVALID", {"normals": bytes([0, 128] * 4)}),
     (None, {"normals": bytes([255, 128] * 4)})],
)  # fmt: skip
def test_a_tile_by_hand(code: str | None, options: dict[str, Any]) -> None:
    """Around 0° N 0° E at level 7, where +x is up."""
    from tiling.check import Where

    report = Report()
    tile = decode_terrain(flat(**options), 7, 128, 64, Where(report, "t"))
    assert report.codes() == ({code} if code else set()), report.errors
    if code is None:
        assert tile is not None
        assert tile.lonlat[2] == pytest.approx([180 / 128, 180 / 128]) and tile.height.tolist() == [0, 0, 10, 10]


# --- parts -------------------------------------------------------------------------------------------------------


def roads(lake: Lake, count: int = 50) -> LayerVersion:
    lines = [shapely.LineString([(WEST + i, NORTH), (WEST + i + 5, NORTH + 7)]) for i in range(count)] + [None]
    batch = Features(Reference("EPSG:4547"), pa.array([f"r{i}" for i in range(count + 1)]), np.array(lines, object), pa.table({"name": ["路"] * (count + 1)}))
    return write_version(lake, "roads", "vector", [batch], ReadReport("t"), provenance={})


def test_vector_parts_intact_and_spoilt(lake: Lake, tmp_path: Path) -> None:
    version = roads(lake)
    assert check_layer(version, lake, None).ok
    part = version.parts[0]
    table = pq.read_table(lake.path(part.key))

    def spoilt(change: pa.Table) -> set[str]:
        pq.write_table(change, tmp_path / "x.parquet")
        key = lake.put_file(tmp_path / "x.parquet", ".parquet")
        size = lake.path(key).stat().st_size
        return check_layer(replace(version, parts=(replace(part, key=key, size=size),)), lake, None).codes()

    assert spoilt(table) == set()
    assert spoilt(table.slice(1)) == {"PART_COUNT"}
    assert spoilt(table.set_column(0, "id", pa.array(["same"] * len(table)))) == {"PART_IDS"}
    other = pa.StructArray.from_arrays([pa.array([0.0] * len(table))] * 4, ["xmin", "ymin", "xmax", "ymax"])
    assert spoilt(table.set_column(table.column_names.index("bbox"), "bbox", other)) == {"PART_BBOX"}
    assert spoilt(table.replace_schema_metadata({})) == {"PART_GEO"}
    assert spoilt(table.drop_columns(["name"])) == {"PART_COLUMNS"}
    assert check_layer(replace(version, count=7), lake, None).codes() == {"PART_COUNT"}
    path = lake.path(part.key)
    path.write_bytes(path.read_bytes()[:-20])
    assert {"PART_CHANGED", "PART_UNREADABLE"} == check_layer(version, lake, None).codes()
    path.unlink()
    assert check_layer(version, lake, None).codes() == {"PART_MISSING"}


def test_raster_parts_intact_and_spoilt(lake: Lake, tmp_path: Path) -> None:
    data = np.arange(600 * 700, dtype=np.float32).reshape(1, 600, 700)
    grid = Grid(Reference("EPSG:4547"), data, (1.0, 0.0, WEST, 0.0, -1.0, NORTH), None, (Column("depth", "float32", "m"),))
    version = write_version(lake, "depth", "raster", [grid], ReadReport("t"), provenance={})
    assert check_layer(version, lake, None).ok
    part = version.parts[0]
    plain = tmp_path / "plain.tif"
    with rasterio.open(plain, "w", driver="GTiff", width=700, height=600, count=1, dtype="float32", crs="EPSG:4546", transform=from_origin(0, 9, 1, 1)) as file:
        file.write(data)
    key = lake.put_file(plain, ".cog")
    bad = replace(version, parts=(replace(part, key=key, size=plain.stat().st_size),))
    assert check_layer(bad, lake, None).codes() == {"PART_COG", "PART_GEO", "PART_BOUNDS"}


# --- a city ------------------------------------------------------------------------------------------------------


def ingest(city: City, source: Path, layer: str, **given: Any) -> dict[str, Any]:
    reader = given.pop("reader", None)
    return tasks.require(tasks.work(city, tasks.submit(city, "ingest", intake.ingest_params(source, layer, reader=reader, options=given))))


def test_twin_check_of_layers(tmp_path: Path) -> None:
    """Through the command: exit status 0 and figures for an intact layer, 1 for a spoilt one; unknown ones are errors."""
    city = City.open(tmp_path / "city")
    shapes = [{"type": "Feature", "properties": {"id": f"h{i}", "height": 9 + i},
               "geometry": shapely.geometry.mapping(shapely.box(WEST + 100 + 30 * i, NORTH - 300, WEST + 120 + 30 * i, NORTH - 280))} for i in range(6)]  # fmt: skip
    (tmp_path / "houses.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": shapes}))
    ingest(city, dem(tmp_path / "dem.tif"), "terrain", reader="terrain", vertical="EPSG:5737")
    ingest(city, tmp_path / "houses.geojson", "houses", reader="footprints", crs="EPSG:4547", height="height", id="id")
    run = CliRunner().invoke
    for layer, count in (("houses", 6), ("terrain", None)):
        done = run(main, ["check", layer, "--home", str(tmp_path / "city"), "--json"])
        assert done.exit_code == 0, done.output
        result = json.loads(done.output)
        assert (result["errors"], result["warnings"], result["target"], result["version"]) == (0, 0, layer, 1)
        assert result["positions"]["max_error_m"] < 0.07
        assert count is None or result["positions"]["features"] == count
    text = run(main, ["check", "houses", "--home", str(tmp_path / "city")]).output
    assert "valid, 0 errors" in text and "max_error_m" in text
    assert json.loads(run(main, ["check", "houses", "--no-positions", "--home", str(tmp_path / "city"), "--json"]).output)["positions"] is None
    # a new terrain, 5 m higher: the old tiles are still checked against the ground they stand on
    with rasterio.open(tmp_path / "dem.tif", "r+") as file:
        z = file.read(1)
        file.write(np.where(z == -9999, z, z + 5), 1)
    ingest(city, tmp_path / "dem.tif", "terrain", reader="terrain", vertical="EPSG:5737")
    assert checking.check(city, "houses")["errors"] == 0
    # the tiles of another layer under this layer's name
    _, _, derivation = city.published("houses")
    assert derivation is not None
    path = city.lake.path(derivation.archive)
    document = {}

    def edit(files: dict[str, bytes]) -> None:
        document.update(json.loads(files["tileset.json"]))
        document["root"]["transform"][12] += 0.3
        files["tileset.json"] = json.dumps(document).encode()

    path.write_bytes(rewritten(path, edit).read_bytes())
    spoilt = run(main, ["check", "houses", "--home", str(tmp_path / "city")])
    assert spoilt.exit_code == 1 and "POSITION_OFF" in spoilt.output and "'h0'" in spoilt.output
    nothing = run(main, ["check", "nothing", "--home", str(tmp_path / "city")])
    assert nothing.exit_code == 1 and "nothing" in nothing.output and "Traceback" not in nothing.output
    with pytest.raises(NotFound):
        checking.check(None, str(tmp_path / "absent"))
    assert checking.check(None, str(path))["errors"] == 0, "as a tileset alone it is sound"


# --- real data ---------------------------------------------------------------------------------------------------


def test_real_city(shared_data: Path, tmp_path: Path) -> None:
    """Terrain and 731 buildings of one valley, a real IFC house among them; every feature compared."""
    city = City.open(tmp_path / "city")
    folder = shared_data / "dem_flood" / "andorra_la_vella"
    ingest(city, folder / "elevation.tif", "terrain", reader="terrain", vertical="EGM96")
    ingest(city, folder / "building.geoparquet", "buildings", reader="footprints", crs="EPSG:32631", default_height=9.0)
    ingest(city, shared_data / "ifc" / "AC20-FZK-Haus.ifc", "house", reader="ifc", crs="EPSG:32631", vertical="EGM96", anchor="379500,4707200,1010")
    for layer in ("terrain", "buildings", "house"):
        result = checking.check(city, layer)
        assert (result["errors"], result["warnings"]) == (0, 0), checking.as_text(result)
        assert result["positions"]["max_error_m"] < 0.1, layer
        assert result["contents_not_decoded"] == 0
    assert checking.check(city, "buildings")["positions"]["features"] >= 720


def test_real_cloud_in_feet(shared_data: Path, tmp_path: Path) -> None:
    city = City.open(tmp_path / "city")
    source = shared_data / "pointcloud" / "laspy_autzen_trim.laz"
    ingest(city, source, "cloud", reader="points", crs="EPSG:2992", vertical="EPSG:5703", vertical_unit="0.3048")
    result = checking.check(city, "cloud")
    assert result["errors"] == 0, checking.as_text(result)
    assert result["positions"]["points"] == result["positions"]["expected"] > 10_000
    assert result["positions"]["max_error_m"] < 0.1
