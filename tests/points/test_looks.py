"""What a client can style by, and how evenly the points of each level lie."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import laspy
import numpy as np
import pytest
from scipy.spatial import cKDTree

from ingest_gis import points as reader
from tests.ingest_gis.conftest import write_las
from tests.points.conftest import Tiled
from tiling.check import check_tileset
from tiling.check.layer import check_layer
from tiling.points import tiler
from twin import parts
from twin.archive import Archive
from twin.errors import BadOption
from twin.lake import Lake
from twin.model import Layer, Report
from twin.registry import TileJob

Make = Callable[..., Tiled]
HERE = {"crs": "EPSG:32650", "vertical": "EGM96"}


def test_statistics_and_intensity_for_styles(tmp_path: Path, tiled: Make) -> None:
    """tileset.json tells the points of each class and the intensities; a tile's intensities are a property attribute."""
    path = write_las(tmp_path / "s.las", 20_000)
    result = tiled(path, HERE)
    las = laspy.read(path)
    with Archive(result.path) as archive:
        document = json.loads(archive.read("tileset.json"))
    (told,) = document["statistics"]["classes"].values()
    codes = np.asarray(las.classification)
    assert told["count"] == 20_000
    assert told["properties"]["class"]["occurrences"] == {n: int((codes == c).sum()) for n, c in (("ground", 2), ("high vegetation", 5), ("building", 6))}
    assert told["properties"]["intensity"] == {"min": int(las.intensity.min()), "max": int(las.intensity.max())}
    (_, _, _, glb, _), *_ = result.tiles()
    structural = glb["extensions"]["EXT_structural_metadata"]
    primitive = glb["meshes"][0]["primitives"][0]
    assert structural["propertyAttributes"][primitive["extensions"]["EXT_structural_metadata"]["propertyAttributes"][0]]["properties"]["intensity"] == {"attribute": "_INTENSITY"}
    assert "_INTENSITY" in primitive["attributes"]
    assert not check_tileset(result.path).errors


def test_a_cloud_without_intensities(tmp_path: Path, tiled: Make) -> None:
    result = tiled(write_las(tmp_path / "s.las", 3_000, intensity=np.zeros(3_000, np.uint16)), HERE)
    (_, _, columns, glb, _), *_ = result.tiles()
    assert "_INTENSITY" not in columns
    assert "propertyAttributes" not in glb["extensions"]["EXT_structural_metadata"]
    assert not check_tileset(result.path).errors


def test_files_with_and_without_colours(tmp_path: Path, lake: Lake) -> None:
    """Most have colours: the others are light grey. Most have none: coloured by class unless rgb is wanted; none at all: refused."""
    for name, count, point_format in (("c.las", 4_000, 3), ("d.las", 1_000, 1), ("e.las", 9_000, 0)):
        write_las(tmp_path / name, count, point_format=point_format, seed=count)

    def colors(names: list[str], **options: Any) -> np.ndarray[Any, Any]:
        report = Report(source="x")
        version = parts.write_version(lake, "c", "points", reader.read([tmp_path / n for n in names], reader.Options(**HERE), report), report, provenance={})
        out = tmp_path / f"{len(names)}{options}.3tz"
        tiler.tile(version, TileJob(lake, out, tiler.Options(**options), None, 1))
        return np.concatenate([c["COLOR_0"][:, :3] for _, _, c, _, _ in Tiled(out, {}, version).tiles()])

    grey = round(((190 / 255 + 0.055) / 1.055) ** 2.4 * 255)
    drawn = colors(["c.las", "d.las"])
    assert int((drawn == grey).all(axis=1).sum()) == pytest.approx(1_000, abs=2)
    assert len(np.unique(drawn, axis=0)) > 1_000
    assert len(np.unique(colors(["c.las", "d.las", "e.las"]), axis=0)) == 3
    assert len(np.unique(colors(["c.las", "d.las", "e.las"], color="rgb"), axis=0)) > 1_000
    with pytest.raises(BadOption, match="no file of the layer has colours"):
        colors(["d.las"], color="rgb")


def test_heights_are_coloured_over_the_curved_earth(tmp_path: Path, tiled: Make) -> None:
    """40 km of points at one ellipsoidal height have one colour, though the ends lie 30 m below the frame's plane."""
    n = 20_000
    x = 480_000 + np.random.default_rng(1).random(n) * 40_000
    z = np.where(np.arange(n) % 2, 30.0, 0.0)
    las = laspy.read(write_las(tmp_path / "plain.las", n))
    header = laspy.LasHeader(point_format=3, version="1.2")
    header.scales, header.offsets = [0.001] * 3, [500_000, 2_500_000, 0]
    flat = laspy.LasData(header)
    flat.x, flat.y, flat.z, flat.classification = x, las.y, z, las.classification
    flat.write(tmp_path / "flat.las")
    result = tiled(tmp_path / "flat.las", {"crs": "EPSG:32650", "vertical": "ellipsoid"}, color="height")
    drawn = np.concatenate([c["COLOR_0"][:, :3] for _, _, c, _, _ in result.tiles()]).astype(int)
    # Two heights, two ends of the ramp: blue below, red above, nothing in between.
    assert ((drawn[:, 2] > drawn[:, 0]) == (np.abs(drawn - drawn[drawn[:, 2] > drawn[:, 0]][0]).max(axis=1) < 30)).all()
    assert int((drawn[:, 2] > drawn[:, 0]).sum()) == n // 2


@pytest.mark.parametrize(("shape", "bucket"), [("volume", 1 << 20), ("waves", 1 << 20), ("waves", 20_000), ("sphere", 20_000)])
def test_levels_are_spread_evenly(tmp_path: Path, tiled: Make, monkeypatch: pytest.MonkeyPatch, shape: str, bucket: int) -> None:
    """What is drawn down to each level against as many points drawn by lot: no clumps, no holes; above buckets as within.

    A level's points keep its spacing but for some at the borders of tiles and of cells too small for a tile.
    """
    monkeypatch.setattr(tiler, "BUCKET", bucket)
    n = 200_000
    rng = np.random.default_rng(2)
    x, y = rng.random((2, n)) * 100
    z = rng.random(n) * 100 if shape == "volume" else 5 * np.sin(x / 15) * np.cos(y / 19) + rng.normal(0, 0.02, n)
    if shape == "sphere":
        ball = rng.normal(size=(n, 3))
        x, y, z = 50 + 50 * (ball / np.linalg.norm(ball, axis=1)[:, None]).T
    result = tiled(write_las(tmp_path / "e.las", n, x=500_000 + x, y=2_500_000 + y, z=z), HERE, points_per_tile=2_500)
    tiles = list(result.tiles())
    every = np.concatenate([c["POSITION"] for _, _, c, _, _ in tiles])
    seen = 0
    for level in range(2):
        drawn = np.concatenate([c["POSITION"] for _, way, c, _, _ in tiles if len(way) <= level])
        if len(drawn) > n / 3:
            break
        seen += 1
        unit = result.facts["stats"]["spacing_m"] / 2**level
        lot = every[rng.choice(n, len(drawn), replace=False)]
        spacing, by_lot = (cKDTree(p).query(p, k=2)[0][:, 1] / unit for p in (drawn, lot))
        assert (spacing < 0.99).mean() < (0.001 if level == 0 else 0.06)
        assert (by_lot < 0.99).mean() > 0.7
        assert spacing.mean() > 1.5 * by_lot.mean()
        holes, random_holes = (cKDTree(p).query(every)[0] / unit for p in (drawn, lot))
        assert holes.max() < 1.7  # one spacing, and what children before it had not chosen
        assert holes.max() < 0.85 * random_holes.max()
    assert seen == (1 if shape == "volume" else 2)


def test_implicit_octree(tmp_path: Path, tiled: Make, lake: Lake) -> None:
    """The same points at the same places under templated addresses, valid, and equal to the source."""
    path = write_las(tmp_path / "i.las", 120_000)
    explicit = tiled(path, HERE, points_per_tile=4_000)
    implicit = tiled(path, HERE, name="implicit", points_per_tile=4_000, subdivision="implicit")
    with Archive(implicit.path) as archive:
        document = json.loads(archive.read("tileset.json"))
        contents = sum(name.endswith(".glb") for name in archive.names())
    assert document["root"]["implicitTiling"]["subdivisionScheme"] == "OCTREE"
    assert contents == explicit.facts["tiles"]
    assert not check_tileset(implicit.path).errors
    found = check_layer(implicit.version, lake, implicit.path, info=implicit.facts)
    assert not found.errors, found.errors[:3]
    assert found.positions["points"] == 120_000


def test_an_implicit_octree_with_tiles_that_hold_nothing(tmp_path: Path, tiled: Make, lake: Lake) -> None:
    """Points in few clumps: tiles above them have no content, which is no other group than that of the rest."""
    place = np.random.default_rng(4).random((20, 3))[np.arange(12_000) % 20]
    path = write_las(tmp_path / "c.las", 12_000, x=500_000 + 100 * place[:, 0], y=2_500_000 + 100 * place[:, 1], z=20 * place[:, 2])
    version, about = tiled(path, HERE).version, Layer("cloud", "points", {"zh": "云"})
    facts = {}
    for way in ("explicit", "implicit"):
        facts[way] = tiler.tile(version, TileJob(lake, lake.root / f"{way}.3tz", tiler.Options(points_per_tile=1_000, subdivision=way), None, 1, about=about))
    with Archive(lake.root / "explicit.3tz") as archive:
        assert any("content" not in tile for tile in _every(json.loads(archive.read("tileset.json"))["root"]))
    with Archive(lake.root / "implicit.3tz") as archive:
        assert json.loads(archive.read("tileset.json"))["root"]["content"]["group"] == 0
    found = check_layer(version, lake, lake.root / "implicit.3tz", info=facts["implicit"])
    assert not found.errors, found.errors[:3]
    assert found.positions["points"] == 12_000


def _every(tile: dict[str, Any]) -> list[dict[str, Any]]:
    return [tile, *(one for child in tile.get("children", []) for one in _every(child))]
