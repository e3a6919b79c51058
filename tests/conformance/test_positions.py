"""Positions against the source: what is right passes, and each way of being wrong is caught by its own code."""

from __future__ import annotations

import json
import zipfile
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import laspy
import numpy as np
import pyarrow as pa
import pyproj
import pytest
import rasterio
import shapely
from rasterio.transform import from_origin

from tiling.blocks import tiler as block_tiler
from tiling.check import CallableSource, Report, Task, check_layer, check_positions
from tiling.check.positions_geodesy import Inverse, geoid
from tiling.check.positions_ground import Terrain
from tiling.meshes import tiler as mesh_tiler
from tiling.points import tiler as point_tiler
from twin import crs
from twin.ground import Ground
from twin.lake import Lake
from twin.model import Features, LayerVersion, Mesh, Reference
from twin.model import Report as ReadReport
from twin.parts import write_version
from twin.registry import TileJob

REFERENCE = Reference("EPSG:4547", "EPSG:5737", vertical_offset=0.3)
X, Y = 405_000.0, 2_498_000.0


# --- geodesy -----------------------------------------------------------------------------------------------------


def test_the_geoid_at_nga_test_points() -> None:
    """The six points that NGA published with its own interpolation program for EGM96 (F477), to the centimetre or two."""
    places = np.array([[38.6281550, 269.7791550, -31.628], [-14.6212170, 305.0211140, -2.969], [46.8743190, 102.4487290, -43.575],
                       [-23.6174460, 133.8747120, 15.871], [38.6254730, 359.9995000, 50.066], [-0.4667440, 0.0023000, 17.329]])  # fmt: skip
    assert np.abs(geoid(places[:, 1], places[:, 0]) - places[:, 2]).max() < 0.06


def test_the_geoid_against_proj_grid() -> None:
    """PROJ's own 15′ grid of the same model, where the system has it: same sign, same place, half a metre."""
    path = Path("/usr/share/proj/egm96_15.gtx")
    if not path.exists():
        pytest.skip("egm96_15.gtx is absent (Debian: proj-data)")
    with rasterio.open(path) as file:
        rng = np.random.default_rng(1)
        lon, lat = rng.uniform(-179, 179, 400), rng.uniform(-80, 80, 400)
        coarse = np.array([v[0] for v in file.sample(zip(lon, lat, strict=True))], np.float64)
    error = geoid(lon, lat) - coarse
    assert np.abs(error).max() < 3 and np.median(np.abs(error)) < 0.2  # the grid's nearest cell is up to 8′ away


def test_the_inverse_against_a_written_out_projection() -> None:
    """EPSG:4547 by its own parameters: transverse Mercator on 114° E, GRS 80, false easting 500 km."""
    forward = pyproj.Transformer.from_pipeline(
        "+proj=pipeline +step +inv +proj=tmerc +lat_0=0 +lon_0=114 +k=1 +x_0=500000 +y_0=0 +ellps=GRS80 +step +proj=cart +ellps=WGS84")  # fmt: skip
    xyz = np.array([[X, Y, 10.0], [X + 60_000, Y - 40_000, -4.0]])
    ecef = np.column_stack(forward.transform(*xyz.T))
    assert np.abs(Inverse(Reference("EPSG:4547", "EPSG:4979")).source(ecef) - xyz).max() < 1e-3


def test_heights_come_back_in_feet_with_the_offset() -> None:
    inverse = Inverse(Reference("EPSG:2992", "EPSG:5773", 0.3048, 1.5))
    place = np.array([[-123.07, 44.05, 100.0]])
    ecef = np.column_stack(pyproj.Transformer.from_crs(4979, 4978, always_xy=True).transform(*place.T))
    z = inverse.source(ecef)[0, 2]
    assert z * 0.3048 + 1.5 + geoid(place[:, 0], place[:, 1])[0] == pytest.approx(100.0, abs=1e-6)
    assert inverse.unit == pytest.approx([0.3048, 0.3048, 0.3048], abs=1e-6)


@pytest.mark.parametrize(("horizontal", "x", "y"), [("EPSG:28992", 78_600.0, 457_900.0), ("EPSG:31256", 2_500.0, 340_000.0), ("EPSG:4326", 4.3, 52.1)])
def test_the_way_there_and_back_is_exact_whatever_the_datum(horizontal: str, x: float, y: float) -> None:
    """PROJ's forward operation to ECEF, against our way back: PROJ's own inverse of these datum shifts is 0.5 and 1 mm off."""
    lon, lat = pyproj.Transformer.from_crs(horizontal, 4326, always_xy=True).transform(x, y)
    ecef = pyproj.Transformer.from_crs(4979, 4978, always_xy=True).transform(lon, lat, 30.0 + float(geoid(np.array([lon]), np.array([lat]))[0]))
    assert np.abs(Inverse(Reference(horizontal, "EPSG:5773")).source(np.array([ecef])) - [[x, y, 30.0]]).max() < 1e-6


def test_our_reading_of_a_terrain(tmp_path: Path) -> None:
    """Bilinear between centres, the nearest cell in the outer half cell, voids left out, nothing outside."""
    path = tmp_path / "dem.tif"
    cells = np.array([[1.0, 2.0, 3.0], [4.0, -9999, 6.0], [7.0, 8.0, 9.0]], np.float32)
    with rasterio.open(path, "w", driver="GTiff", width=3, height=3, count=1, dtype="float32", crs="EPSG:4547", nodata=-9999,
                       transform=from_origin(X, Y, 10, 10)) as file:  # fmt: skip
        file.write(cells, 1)
    with Terrain(Ground(path, Reference("EPSG:4547", "EPSG:4979"), "k")) as terrain:
        sample = terrain.at(np.array([[X + 10, Y - 5], [X + 1, Y - 1], [X + 10, Y - 10], [X + 31, Y - 5], [X + 15, Y - 15], [X + 15 + 5e-8, Y - 15]]))
    assert sample.height[:3] == pytest.approx([1.5, 1.0, (1 + 2 + 4) / 3])
    assert np.isnan(sample.height[3:]).all(), "a void has no height, although rounding sets its centre beside itself"
    assert sample.whole.tolist() == [True, *[False] * 5]


# --- blocks ------------------------------------------------------------------------------------------------------


def slope(path: Path) -> Ground:
    """Hills in 1985 heights around the test place."""
    size, cell = 120, 10.0
    transform = from_origin(X - size * cell / 2, Y + size * cell / 2, cell, cell)
    column, row = np.meshgrid(np.arange(size), np.arange(size))
    with rasterio.open(path, "w", driver="GTiff", width=size, height=size, count=1, dtype="float32", crs="EPSG:4547", transform=transform, nodata=-9999) as file:
        file.write((20 + 5 * np.sin(column / 9) + row / 20).astype(np.float32), 1)
    return Ground(path, REFERENCE, "ground")


def houses(count: int = 40) -> list[Any]:
    """Turned rectangles, one with a courtyard, one of two parts, one with a corner on a straight edge."""
    rng = np.random.default_rng(5)
    shapes: list[Any] = []
    for k in range(count):
        x, y = X + (k % 8) * 60 - 240, Y + (k // 8) * 60 - 150
        shapes.append(shapely.affinity.rotate(shapely.box(x, y, x + rng.uniform(8, 30), y + rng.uniform(8, 20)), rng.uniform(0, 90)))
    shapes[0] = shapely.box(X, Y, X + 30, Y + 30).difference(shapely.box(X + 10, Y + 10, X + 20, Y + 20))
    shapes[1] = shapely.MultiPolygon([shapely.box(X + 300, Y, X + 310, Y + 10), shapely.box(X + 330, Y, X + 340, Y + 10)])
    shapes[2] = shapely.Polygon([(X, Y + 300), (X + 5, Y + 300), (X + 12, Y + 300), (X + 12, Y + 309), (X, Y + 309)])
    return shapes


def write_blocks(lake: Lake, shapes: list[Any], ids: list[str] | None = None, reference: Reference = REFERENCE) -> LayerVersion:
    table = pa.table({"height": np.linspace(4, 60, len(shapes))})
    batch = Features(reference, pa.array(ids or [f"楼{i}" for i in range(len(shapes))]), np.array(shapes, object), table)
    return write_version(lake, "blocks", "blocks", [batch], ReadReport("test"), provenance={}, style={"height": "height"})


@pytest.fixture
def block_task(lake: Lake, tmp_path: Path) -> tuple[Task, dict[str, bytes]]:
    """What intact blocks are checked with, and the files of their archive."""
    ground = slope(tmp_path / "dem.tif")
    version = write_blocks(lake, houses())
    out = tmp_path / "blocks.3tz"
    facts = block_tiler.tile(version, TileJob(lake, out, block_tiler.Options(budget=200), ground, 1))
    return Task(version, lake, ground, facts), unpack(out)


def unpack(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def check(task: Task, files: dict[str, bytes]) -> Report:
    return check_positions(CallableSource(files.get), task)


def edited(files: dict[str, bytes], edit: Any) -> dict[str, bytes]:
    """The archive with its tileset.json changed by `edit(document)`."""
    document = json.loads(files["tileset.json"])
    edit(document)
    return files | {"tileset.json": json.dumps(document).encode()}


def shift(axis: int, metres: float) -> Any:
    """Move the whole tileset along an axis of its root's frame (0 east, 1 north, 2 up)."""

    def edit(document: dict[str, Any]) -> None:
        t = document["root"]["transform"]
        for k in range(3):
            t[12 + k] += metres * t[4 * axis + k]

    return edit


def tiles(tile: dict[str, Any]) -> list[dict[str, Any]]:
    return [tile, *(t for child in tile.get("children", []) for t in tiles(child))]


def test_intact_blocks_pass(block_task: tuple[Task, dict[str, bytes]]) -> None:
    report = check(*block_task)
    assert report.ok, report.errors
    assert report.positions is not None
    assert (report.positions["features"], report.positions["missing"]) == (40, 0)
    assert report.positions["max_error_m"] < 0.0011  # a millimetre, and what degrees of 1e-9 add
    assert report.contents > 3, "the district must be split for the tests below"


@pytest.mark.parametrize(("axis", "code"), [(0, "POSITION_OFF"), (1, "POSITION_OFF"), (2, "HEIGHT_OFF")])
def test_a_shift_of_the_tileset_is_caught(block_task: tuple[Task, dict[str, bytes]], axis: int, code: str) -> None:
    task, files = block_task
    for metres in (0.2, -0.2):
        report = check(task, edited(files, shift(axis, metres)))
        assert report.codes() - {"HEIGHTS_STATED"} == {code}
        assert report.counts["error", code] == 40
    assert check(task, edited(files, shift(axis, 0.02))).ok, "two centimetres are within the limit"


def test_one_shifted_tile_names_its_own_features(block_task: tuple[Task, dict[str, bytes]]) -> None:
    task, files = block_task

    def edit(document: dict[str, Any]) -> None:
        leaf = next(t for t in reversed(tiles(document["root"])) if "content" in t and "children" not in t)
        leaf.setdefault("transform", [float(v) for v in np.eye(4).ravel()])[12] += 0.2

    report = check(task, edited(files, edit))
    assert report.codes() <= {"POSITION_OFF", "CHILD_OUTSIDE_PARENT"}
    assert 0 < report.counts["error", "POSITION_OFF"] < 40
    assert all("楼" in f.message for f in report.errors if f.code == "POSITION_OFF")


def test_a_lost_content_a_doubled_one_and_a_stranger(lake: Lake, block_task: tuple[Task, dict[str, bytes]]) -> None:
    task, files = block_task

    def lose(document: dict[str, Any]) -> None:
        next(t for t in reversed(tiles(document["root"])) if "content" in t).pop("content")

    def double(document: dict[str, Any]) -> None:
        leaf = next(t for t in reversed(tiles(document["root"])) if "content" in t)
        leaf["contents"] = [leaf["content"], leaf.pop("content")]

    assert check(task, edited(files, lose)).codes() - {"HEIGHTS_STATED"} == {"FEATURE_MISSING"}
    assert check(task, edited(files, double)).codes() == {"FEATURE_TWICE", "CONTENT_TWICE"}
    fewer = write_blocks(lake, houses()[:-1])
    taller = replace(fewer, style={"height": "height"})
    report = check(replace(task, version=taller), files)
    assert {"FEATURE_UNKNOWN"} <= report.codes()


def test_a_refused_feature_is_not_missing(lake: Lake, tmp_path: Path) -> None:
    shapes = [*houses(), shapely.box(X + 5000, Y, X + 5010, Y + 10)]  # beyond the terrain
    version, ground = write_blocks(lake, shapes), slope(tmp_path / "dem.tif")
    out = tmp_path / "b.3tz"
    facts = block_tiler.tile(version, TileJob(lake, out, block_tiler.Options(), ground, 1))
    report = check_layer(version, lake, out, ground=ground, info=facts)
    assert report.ok, report.errors
    assert report.positions is not None and report.positions["refused"] == 1
    facts["report"]["notes"] = []
    assert check_layer(version, lake, out, ground=ground, info=facts).codes() == {"FEATURE_MISSING"}


def test_the_product_s_geodesy_may_be_wrong_without_fooling_the_check(
    lake: Lake, tmp_path: Path, block_task: tuple[Task, dict[str, bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A geoid of the wrong sign or swapped axes in `twin.crs`: the tiles made with it fail, those made before still pass."""
    task, files = block_task
    right, lonlat = crs.undulation, crs.to_lonlat
    out = tmp_path / "wrong.3tz"

    def retiled() -> Report:
        facts = block_tiler.tile(task.version, TileJob(lake, out, block_tiler.Options(ground=20.0), task.ground, 1))
        assert check(task, files).ok, "the check must not lean on twin.crs"
        return check(replace(task, info=facts), unpack(out))

    monkeypatch.setattr(crs, "undulation", lambda lon, lat: -right(lon, lat))
    report = retiled()
    assert report.codes() == {"HEIGHT_OFF"} and report.counts["error", "HEIGHT_OFF"] == 40
    monkeypatch.setattr(crs, "undulation", right)
    monkeypatch.setattr(crs, "to_lonlat", lambda horizontal, x, y: lonlat(horizontal, np.asarray(y) - 2_000_000, np.asarray(x) + 2_000_000))
    assert retiled().counts["error", "POSITION_OFF"] == 40


def test_heights_of_another_ground_are_caught(block_task: tuple[Task, dict[str, bytes]], tmp_path: Path) -> None:
    task, files = block_task
    assert task.ground is not None
    with rasterio.open(task.ground.path) as file:
        profile, cells = file.profile, file.read(1)
    with rasterio.open(tmp_path / "other.tif", "w", **profile) as file:
        file.write(cells + np.float32(0.25), 1)
    report = check(replace(task, ground=replace(task.ground, path=tmp_path / "other.tif", _file=None)), files)
    assert report.codes() == {"HEIGHT_OFF"}


# --- meshes ------------------------------------------------------------------------------------------------------


def test_meshes_intact_shifted_and_lost(lake: Lake, tmp_path: Path) -> None:
    box = np.array(np.meshgrid([0, 4], [0, 0.3], [0, 2.8], indexing="ij")).reshape(3, -1).T
    faces = np.array([[0, 1, 3], [0, 3, 2], [4, 6, 7], [4, 7, 5], [0, 4, 5], [0, 5, 1], [2, 3, 7], [2, 7, 6], [0, 2, 6], [0, 6, 4], [1, 5, 7], [1, 7, 3]])
    place = np.tile(np.eye(4), (5, 1, 1))
    place[:, :3, 3] = np.array([X, Y, 12.5]) + np.array([[k * 6.0, k, 0] for k in range(5)])
    place[2, :3, :3] = [[0, -1, 0], [1, 0, 0], [0, 0, 1]]
    mesh = Mesh(REFERENCE, pa.array([f"w{i}" for i in range(4)]), pa.table({"class": ["IfcWall"] * 4}), box.astype(float), faces.astype(np.int32),
                np.zeros(12, np.int32), np.array([0, 8]), np.array([0, 12]), np.zeros(5, np.int32), np.array([0, 1, 2, 3, 3], np.int32), place)  # fmt: skip
    version = write_version(lake, "bim", "mesh", [mesh], ReadReport("test"), provenance={})
    out = tmp_path / "bim.3tz"
    facts = mesh_tiler.tile(version, TileJob(lake, out, mesh_tiler.Options(), None, 1))
    task, files = Task(version, lake, None, facts), unpack(out)
    report = check(task, files)
    assert report.ok, report.errors
    assert report.positions is not None and report.positions["features"] == 4 and report.positions["max_error_m"] < 0.07
    for axis in range(3):
        assert check(task, edited(files, shift(axis, 0.2))).counts["error", "POSITION_OFF"] == 4
    moved = place.copy()
    moved[1, 2, 3] += 0.2
    other = write_version(lake, "bim", "mesh", [replace(mesh, transforms=moved)], ReadReport("test"), provenance={})
    (finding,) = check(replace(task, version=other), files).errors
    assert finding.code == "POSITION_OFF" and "'w1'" in finding.message and "0.20" in finding.message
    less = replace(mesh, instance_prototype=np.zeros(3, np.int32), instance_feature=np.array([0, 1, 2], np.int32), transforms=place[:3])
    mesh_tiler.tile(write_version(lake, "bim", "mesh", [less], ReadReport("test"), provenance={}), TileJob(lake, out, mesh_tiler.Options(), None, 1))
    assert check(task, unpack(out)).codes() == {"FEATURE_MISSING"}


# --- points ------------------------------------------------------------------------------------------------------


def cloud(path: Path, xyz: np.ndarray, classes: np.ndarray) -> Path:
    header = laspy.LasHeader(point_format=6, version="1.4")
    header.scales, header.offsets = [0.001] * 3, xyz.min(axis=0)
    las = laspy.LasData(header)
    las.x, las.y, las.z = xyz.T
    las.classification = classes.astype(np.uint8)
    las.write(path)
    return path


def read_cloud(lake: Lake, path: Path) -> LayerVersion:
    from ingest_gis import points as reader

    report = ReadReport(path.name)
    options = reader.Options(crs="EPSG:2992", vertical="EGM96", vertical_unit=0.3048)
    return write_version(lake, "cloud", "points", reader.read(path, options, report), report, provenance={})


def test_points_in_feet_intact_shifted_lost_and_doubled(lake: Lake, tmp_path: Path) -> None:
    """A cloud in international feet (EPSG:2992), denser than the limit: every kind of loss is seen."""
    rng = np.random.default_rng(3)
    xyz = np.column_stack([rng.uniform(637_000, 637_080, 20_000), rng.uniform(849_000, 849_080, 20_000), rng.uniform(400, 410, 20_000)])
    classes = rng.choice([2, 6], 20_000)
    version = read_cloud(lake, cloud(tmp_path / "a.las", xyz, classes))
    out = tmp_path / "a.3tz"
    facts = point_tiler.tile(version, TileJob(lake, out, point_tiler.Options(points_per_tile=3000), None, 1))
    task, files = Task(version, lake, None, facts), unpack(out)
    report = check(task, files)
    assert report.ok, report.errors
    assert report.positions is not None
    assert (report.positions["points"], report.positions["compared"]) == (20_000, 20_000)
    assert report.positions["max_error_m"] < 0.07
    for axis in range(3):
        assert "POSITION_OFF" in check(task, edited(files, shift(axis, 0.2))).codes()

    def lose(document: dict[str, Any]) -> None:
        next(t for t in reversed(tiles(document["root"])) if "content" in t).pop("content")

    assert {"POINT_COUNT", "POINT_CLASS_COUNT", "POINT_MISSING"} <= check(task, edited(files, lose)).codes()
    # one point drawn for another: the count is right, the places are not
    instead = xyz.copy()
    instead[7] += [400, 0, 0]
    wrong = read_cloud(lake, cloud(tmp_path / "b.las", instead, classes))
    assert check(replace(task, version=wrong), files).codes() == {"POINT_MISSING", "POSITION_OFF"}
    # a foot taken for a metre
    stated = [replace(part, properties=part.properties | {"reference": asdict(Reference("EPSG:2992", "EPSG:5773", 1.0))}) for part in version.parts]
    metres = replace(version, parts=tuple(stated))
    assert "POSITION_OFF" in check(replace(task, version=metres), files).codes()
