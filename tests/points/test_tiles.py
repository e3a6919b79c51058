"""Clouds through the whole tiler: every point once, in its place, with its colour, class and intensity."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import laspy
import numpy as np
import pytest
from scipy.spatial import cKDTree

from tests.conftest import shared_path
from tests.ingest_gis.conftest import write_las
from tests.points.conftest import Tiled, exact
from tests.tiling.tiling_helpers import assert_valid
from tiling.check import Report, Where, check_tileset, decode_glb
from tiling.check.content import identify, positions
from tiling.legacy import converter as legacy
from tiling.points import runs as point_runs
from tiling.points import tiler as points
from tiling.points.octree import REMNANT
from twin.archive import Archive
from twin.errors import Cancelled

Make = Callable[..., Tiled]
HERE = {"crs": "EPSG:32650", "vertical": "EGM96"}


def match(tiled: Tiled, truth: np.ndarray[Any, Any], within: float = 0.001) -> np.ndarray[Any, Any]:
    """Row of `truth` for every decoded point: one to one (coincident points may stand for each other), each closer than `within`."""
    got = tiled.ecef()
    assert len(got) == len(truth)
    distance, row = cKDTree(truth).query(got)
    assert distance.max() <= within
    _, same = np.unique(np.round(truth, 2), axis=0, return_inverse=True)
    assert len(np.unique(row)) >= len(truth) - 2 * (len(truth) - len(np.unique(same)))
    return np.asarray(row)


@pytest.mark.parametrize("suffix", ["las", "laz"])
@pytest.mark.parametrize("compression", ["meshopt", "none"])
def test_every_point_once_and_in_place(tmp_path: Path, tiled: Make, suffix: str, compression: str) -> None:
    path = write_las(tmp_path / f"c.{suffix}", 120_000)
    result = tiled(path, HERE, points_per_tile=5_000, compression=compression)
    truth, las = exact(path, "EPSG:32650")
    row = match(result, truth)
    assert len(np.unique(row)) == 120_000
    columns = [c for _, _, c, _, _ in result.tiles()]
    intensity = np.concatenate([c["_INTENSITY"] for c in columns])[:, 0]
    assert np.array_equal(intensity, np.asarray(las.intensity)[row])
    classes = [p["code"] for p in result.version.parts[0].properties["classes"]]
    feature = np.concatenate([c["_FEATURE_ID_0"] for c in columns])[:, 0]
    assert np.array_equal(np.array(classes)[feature], np.asarray(las.classification)[row])
    linear = np.concatenate([c["COLOR_0"] for c in columns])[:, :3] / 255
    srgb = np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055) * 255
    source = np.column_stack([las.red, las.green, las.blue])[row]
    assert np.abs(srgb - source).max() < 13  # 8 bits of linear light are coarse in the dark
    assert np.abs(srgb - source)[source > 60].max() < 2
    assert result.facts["stats"]["points"] == result.facts["report"]["kept"] == 120_000


def test_tree(tmp_path: Path, tiled: Make) -> None:
    """Boxes nested and around their content, errors falling to 0, additive refinement, no crumbs."""
    result = tiled(write_las(tmp_path / "t.las", 200_000), HERE, points_per_tile=4_000)
    seen: dict[tuple[int, ...], dict[str, Any]] = {}
    for tile, way, columns, _, _ in sorted(result.tiles(), key=lambda t: len(t[1])):
        seen[tuple(way)] = tile
        box = np.array(tile["boundingVolume"]["box"])
        half = box[[3, 7, 11]]
        assert (np.abs(columns["POSITION"] - box[:3]) <= half).all()
        if not tile.get("children"):
            assert tile["geometricError"] == 0
        if way:
            parent = seen[tuple(way[:-1])]
            outer = np.array(parent["boundingVolume"]["box"])
            assert (np.abs(box[:3] - outer[:3]) + half <= outer[[3, 7, 11]] + 1e-9).all()
            assert tile["geometricError"] <= parent["geometricError"]
            assert tile.get("children") or len(columns["POSITION"]) >= REMNANT
    assert len(seen) == result.facts["tiles"] > 8
    assert seen[()]["refine"] == "ADD"
    assert result.facts["heights"][0] < result.facts["heights"][1] < 100


@pytest.mark.parametrize("bucket", [1 << 20, 12_000])
def test_spacing_is_the_error(tmp_path: Path, tiled: Make, monkeypatch: pytest.MonkeyPatch, bucket: int) -> None:
    """What is drawn down to a level leaves no point of a tile farther away than its error, which is no wild guess either."""
    monkeypatch.setattr(points, "BUCKET", bucket)
    result = tiled(write_las(tmp_path / "s.las", 150_000), HERE, points_per_tile=3_000)
    tiles = list(result.tiles())
    inner = [(tile, way) for tile, way, _, _, _ in tiles if tile.get("children")]
    assert len(inner) >= 5
    for tile, way in inner:
        drawn = np.concatenate([c["POSITION"] for _, w, c, _, _ in tiles if way[: len(w)] == w])
        below = np.concatenate([c["POSITION"] for _, w, c, _, _ in tiles if len(w) > len(way) and w[: len(way)] == way])
        distance = cKDTree(drawn).query(below)[0]
        assert distance.max() <= tile["geometricError"] + 0.002
        assert tile["geometricError"] <= 3 * distance.max()


def test_bytes_do_not_depend_on_workers_nor_on_spilling(tmp_path: Path, tiled: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(point_runs, "CHUNK", 20_000)
    monkeypatch.setattr(points, "BUCKET", 15_000)
    path = write_las(tmp_path / "w.laz", 150_000)
    digests = set()
    for name, workers, keep in (("a", 1, 1 << 30), ("b", 4, 1 << 30), ("c", 3, 50_000)):
        monkeypatch.setattr(points, "IN_MEMORY", keep)
        result = tiled(path, HERE, workers=workers, name=name, points_per_tile=4_000)
        digests.add(hashlib.sha256(result.path.read_bytes()).hexdigest())
    assert len(digests) == 1
    match(result, exact(path, "EPSG:32650")[0])
    assert not list(tmp_path.glob("points-*"))


def test_odd_clouds(tmp_path: Path, tiled: Make) -> None:
    """One point; all points in one place; a far outlier; a wall without width."""
    rng = np.random.default_rng(0)
    n = 30_000
    shapes: dict[str, dict[str, Any]] = {
        "single": {"count": 1}, "same": {"count": n, "x": np.full(n, 500_000.5), "y": np.full(n, 2_500_000.5), "z": np.full(n, 3.0)},
        "outlier": {"count": n, "z": np.concatenate([rng.random(n - 1), [90_000.0]])},
        "wall": {"count": n, "x": np.full(n, 500_001.0), "y": 2_500_000 + rng.random(n) * 50, "z": rng.random(n) * 30},
    }  # fmt: skip
    for name, columns in shapes.items():
        path = write_las(tmp_path / f"{name}.las", columns.pop("count"), **columns)
        result = tiled(path, HERE, name=name, points_per_tile=2_000)
        truth, _ = exact(path, "EPSG:32650")
        got = result.ecef()
        assert len(got) == len(truth), name
        assert cKDTree(truth).query(got)[0].max() < 0.001, name
        assert not check_tileset(result.path).errors, name


@pytest.mark.parametrize("color", ["rgb", "class", "height", "intensity"])
def test_colour_modes(tmp_path: Path, tiled: Make, color: str) -> None:
    path = write_las(tmp_path / "m.las", 5_000)
    result = tiled(path, HERE, color=color)
    (_, _, columns, _, _), *_ = result.tiles()
    colors = columns["COLOR_0"]
    if color == "class":
        assert len(np.unique(colors, axis=0)) == 3
    elif color == "height":
        z = columns["POSITION"][:, 2]
        low, high = colors[np.argmin(z)], colors[np.argmax(z)]
        assert low[2] > low[0]  # blue below
        assert high[0] > high[2]  # red above
    elif color == "intensity":
        order = np.argsort(columns["_INTENSITY"][:, 0])
        assert (np.diff(colors[order, 0].astype(int)) >= 0).all()
        assert (colors[:, 0] == colors[:, 2]).all()
    else:
        assert len(np.unique(colors, axis=0)) > 1_000


def test_metadata_names_the_classes(tmp_path: Path, tiled: Make) -> None:
    result = tiled(write_las(tmp_path / "n.las", 3_000), HERE)
    report = check_tileset(result.path)
    assert not report.errors, report.errors
    (_, _, _, document, _), *_ = result.tiles()
    schema = document["extensions"]["EXT_structural_metadata"]["schema"]
    assert {p["name"] for p in next(iter(schema["classes"].values()))["properties"].values()} == {"classification", "class_zh", "class_en"}
    with Archive(result.path) as archive:
        glb = archive.read(next(n for n in archive.names() if n.endswith(".glb")))
    assert "地面".encode() in glb
    assert b"vegetation" in glb


def test_cancelled_leaves_nothing(tmp_path: Path, tiled: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    result = tiled(write_las(tmp_path / "x.las", 50_000), HERE)

    def stop(fraction: float, doing: str) -> None:
        if fraction > 0.5:
            raise Cancelled("enough")

    from twin.registry import TileJob

    lake = point_lake(tmp_path)
    job = TileJob(lake, tmp_path / "half.3tz", points.Options(), None, 2, stop)
    with pytest.raises(Cancelled):
        points.tile(result.version, job)
    assert not (tmp_path / "half.3tz").exists()
    assert not list(tmp_path.glob("points-*"))


def point_lake(tmp_path: Path) -> Any:
    from twin.lake import Lake

    return Lake(tmp_path / "lake")


# --- real clouds -------------------------------------------------------------------------------------------------

REAL = [
    ("ign_lidarhd_77055_627755.laz", {"vertical": "EGM96"}, "EPSG:2154", 1.0),
    ("isprs_samp11.laz", {"vertical": "EGM96"}, "EPSG:32632", 1.0),
    ("isprs_CSite1_red2.laz", {"vertical": "EGM96"}, "EPSG:32632", 1.0),
    ("ign_reunion_epsg2975.laz", {"vertical": "EGM96"}, "EPSG:2975", 1.0),
    ("laspy_simple.copc.laz", {"crs": "EPSG:2992", "vertical": "EGM96"}, "EPSG:2992", 1200 / 3937),
]


@pytest.mark.parametrize(("name", "reading", "horizontal", "unit"), REAL)
def test_real_clouds(tiled: Make, name: str, reading: dict[str, Any], horizontal: str, unit: float) -> None:
    path = shared_path("pointcloud", name)
    result = tiled(path, reading)
    match(result, exact(path, horizontal, unit)[0])
    report = check_tileset(result.path)
    assert not report.errors, report.errors


def test_autzen_sampled(tiled: Make) -> None:
    """4.67 million points in feet: all are there; every tile of a sample lies where laspy and pyproj put its points."""
    path = shared_path("pointcloud", "autzen2010_west.copc.laz")
    result = tiled(path, {"vertical": "EGM96"})
    truth, las = exact(path, "EPSG:2994", 0.3048)
    assert result.facts["stats"]["points"] == len(truth) == 4_667_844
    tree = cKDTree(truth)
    total = 0
    for number, (_, _, columns, _, matrix) in enumerate(result.tiles()):
        total += len(columns["POSITION"])
        if number % 10 == 0:
            ecef = columns["POSITION"] @ matrix[:3, :3].T + matrix[:3, 3]
            distance, row = tree.query(ecef[::7])
            assert distance.max() < 0.001
            grey = columns["COLOR_0"][::7, :3].astype(int).sum(axis=1)
            source = (np.asarray(las.red)[row].astype(int) + np.asarray(las.green)[row] + np.asarray(las.blue)[row])
            assert np.corrcoef(grey, source)[0, 1] > 0.9
    assert total == len(truth)


def test_khronos_validator(tmp_path: Path, tiled: Make) -> None:
    """Zero errors and warnings in every glb, compressed and not."""
    script = Path(__file__).resolve().parents[2] / "viewer" / "scripts" / "validate-gltf.mjs"
    node = shutil.which("node")
    if node is None or not (script.parent.parent / "node_modules" / "gltf-validator").exists():
        pytest.skip("gltf-validator is not installed (npm ci in viewer/)")
    files = []
    for compression in ("meshopt", "none"):
        result = tiled(write_las(tmp_path / f"{compression}.las", 100_000), HERE, name=compression, points_per_tile=3_000, compression=compression)
        with Archive(result.path) as archive:
            for name in archive.names():
                if name.endswith(".glb"):
                    file = tmp_path / f"{compression}-{Path(name).name}"
                    file.write_bytes(archive.read(name))
                    files.append(str(file))
    done = subprocess.run([node, str(script), *files], capture_output=True, text=True, check=False)
    reports = json.loads(done.stdout)
    assert len(reports) == len(files) > 4
    problems = [(r["file"], m["code"], m["message"]) for r in reports for m in r["messages"] if m["severity"] < 2]
    assert not problems, problems[:5]


@pytest.mark.parametrize("compression", ["meshopt", "none"])
def test_a_stray_point_far_away_is_as_exact_as_the_rest(tmp_path: Path, tiled: Make, compression: str) -> None:
    """140 km from the cloud: the tile that draws it and some of the cloud has two nodes, for float32 would round such offsets by millimetres."""
    path = write_las(tmp_path / "c.las", 5_000)
    las = laspy.read(path)
    las.x[17], las.y[17] = las.x[17] + 99_000.123, las.y[17] + 99_000.457
    las.update_header()
    las.write(path)
    result = tiled(path, HERE, compression=compression)
    report = check_tileset(result.path)
    assert not report.findings, report.findings[:3]
    tree, found, nodes = cKDTree(exact(path, "EPSG:32650")[0]), 0, []
    with Archive(result.path) as archive:
        matrix = np.array(json.loads(archive.read("tileset.json"))["root"]["transform"]).reshape(4, 4).T
        contents = [archive.read(name) for name in archive.names() if name.endswith(".glb")]
    for data in contents:
        primitives = decode_glb(data)
        nodes.append(len(primitives))
        for primitive in primitives:
            distance, _ = tree.query(primitive.positions @ matrix[:3, :3].T + matrix[:3, 3])
            assert distance.max() < 0.001
            found += len(distance)
    assert (found, max(nodes)) == (5_000, 2)
    assert_valid(*contents)
    with Archive(result.path) as archive:
        legacy.convert(archive, tmp_path / "old")  # a composite of two
    files, found = [*(tmp_path / "old/points").iterdir()], 0
    assert {file.suffix for file in files} == {".cmpt"}
    assert not check_tileset(tmp_path / "old").findings
    for file in files:
        where = Where(Report(), file.name)
        for places in positions(file.read_bytes(), identify(file.read_bytes(), file.name, where), lambda uri, at: None, where, "Y"):
            distance, _ = tree.query(places @ matrix[:3, :3].T + matrix[:3, 3])
            assert distance.max() < 0.001
            found += len(distance)
    assert found == 5_000
