"""tiling.blocks.tiler end to end: lake → archive → decoded tiles, against pyproj, shapely and trimesh."""

from __future__ import annotations

import json
import resource
import signal
import sys
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyproj
import pytest
import rasterio
import shapely
import trimesh
from rasterio.transform import from_origin

from tiling.blocks import tiler as blocks
from tiling.check import check_tileset
from twin.errors import BadFeature, MissingReference, StorageError
from twin.ground import Ground
from twin.lake import Lake
from twin.model import Features, LayerVersion, Reference, Report
from twin.parts import write_version
from twin.registry import TileJob

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE)]
from tiling_helpers import assert_valid, decoded  # noqa: E402

from twin.bench.cities import generate_buildings  # noqa: E402

REFERENCE = Reference("EPSG:4547", "EPSG:4979")
X, Y = 405_000.0, 2_498_000.0


def write(lake: Lake, geometry: list[Any], reference: Reference = REFERENCE, style: dict[str, Any] | None = None, **columns: Any) -> LayerVersion:
    count = len(geometry)
    ids = columns.pop("ids", [f"b{i}" for i in range(count)])
    table = pa.table({"height": [10.0] * count} | columns)
    batch = Features(reference, pa.array(ids), np.array(geometry, object), table)
    return write_version(lake, "blocks", "blocks", [batch], Report("test"), provenance={}, style={"height": "height"} | (style or {}))


def tile(lake: Lake, version: LayerVersion, name: str = "out.3tz", workers: int = 1, ground: Ground | None = None, **options: Any) -> dict[str, Any]:
    if ground is None and "ground" not in options and "base" not in version.style:
        options["ground"] = 20.0
    return blocks.tile(version, TileJob(lake, lake.root / name, blocks.Options(**options), ground, workers))


def terrain(path: Path, height: Any, size: int = 200, cell: float = 10.0, vertical: str = "EPSG:4979") -> Ground:
    """A ground of `height(x, y)` (ellipsoidal) around the test place."""
    transform = from_origin(X - size * cell / 2, Y + size * cell / 2, cell, cell)
    column, row = np.meshgrid(np.arange(size) + 0.5, np.arange(size) + 0.5)
    x, y = transform * (column, row)
    with rasterio.open(path, "w", driver="GTiff", width=size, height=size, count=1, dtype="float64", crs="EPSG:4547", transform=transform, nodata=-9999) as file:
        file.write(np.asarray(height(x, y), np.float64), 1)
    return Ground(path, Reference("EPSG:4547", vertical), "test")


def test_positions_against_pyproj(lake: Lake) -> None:
    """Every corner of every wall within 1 mm of PROJ's own EPSG:4547 → geocentric, far from the zone's meridian too."""
    rng = np.random.default_rng(4)
    places = [(X + dx, Y + dy) for dx, dy in rng.uniform(-3000, 3000, (40, 2))] + [(290_000.0, 2_480_000.0), (600_000.0, 2_500_000.0)]
    shapes = [shapely.affinity.rotate(shapely.box(x, y, x + 17.31, y + 9.77), float(a)) for (x, y), a in zip(places, rng.uniform(0, 90, 42), strict=True)]
    heights = rng.uniform(3, 200, 42)
    bases = rng.uniform(-5, 900, 42)
    facts = tile(lake, write(lake, shapes, style={"base": "base"}, height=heights, base=bases))
    to_ecef = pyproj.Transformer.from_pipeline(
        "+proj=pipeline +step +inv +proj=tmerc +lat_0=0 +lon_0=114 +k=1 +x_0=500000 +y_0=0 +ellps=GRS80 +step +proj=cart +ellps=WGS84")  # fmt: skip
    found = {id_: triangles for id_, triangles, _, _ in decoded(lake.root / "out.3tz")}
    assert len(found) == 42
    for i, shape in enumerate(shapes):
        xy = shapely.get_coordinates(shape)[:-1]
        expected = np.vstack([np.column_stack(to_ecef.transform(xy[:, 0], xy[:, 1], np.full(4, z))) for z in (bases[i], bases[i] + heights[i])])
        got = np.unique(found[f"b{i}"].reshape(-1, 3), axis=0)
        distance = np.linalg.norm(got[:, None] - expected[None], axis=2)
        assert distance.min(axis=1).max() < 0.001
        assert distance.min(axis=0).max() < 0.001
    assert facts["heights"] == pytest.approx([bases.min(), (bases + heights).max()])


def test_solids_are_closed_and_of_the_right_volume_after_decoding(lake: Lake) -> None:
    batch = next(iter(generate_buildings(1500, 3)))
    version = write_version(lake, "b", "blocks", [batch], Report("g"), provenance={}, style={"height": "height"})
    facts = tile(lake, version, budget=2000)
    assert facts["stats"]["features"] == 1500
    assert facts["tiles"] > 15
    area = dict(zip(batch.ids.to_pylist(), shapely.area(batch.geometry), strict=True))
    # grid metres are not metres: the area grows by the square of the projection's scale at this place
    scale = pyproj.Proj("EPSG:4547").get_factors(113.08, 22.58).areal_scale
    seen = []
    for id_, triangles, _, row in decoded(lake.root / "out.3tz"):
        corners = triangles.reshape(-1, 3)
        local = np.round((corners - corners[0]) * 1e4) / 1e4
        mesh = trimesh.Trimesh(local, np.arange(len(corners)).reshape(-1, 3))
        mesh.merge_vertices(digits_vertex=3)
        assert mesh.is_watertight
        assert mesh.is_winding_consistent
        assert mesh.volume == pytest.approx(area[id_] / scale * row["height"], rel=2e-3)
        seen.append(id_)
    assert sorted(seen) == sorted(batch.ids.to_pylist()), "each building exactly once"


def test_own_check_and_khronos_find_nothing(lake: Lake) -> None:
    version = write_version(lake, "b", "blocks", generate_buildings(900, 5), Report("g"), provenance={}, style={"height": "height"})
    tile(lake, version, budget=3000)
    report = check_tileset(lake.root / "out.3tz")
    assert report.ok, report.errors[:5]
    assert not report.warnings, report.warnings[:5]
    with zipfile.ZipFile(lake.root / "out.3tz") as file:
        assert_valid(*[file.read(n) for n in file.namelist() if n.endswith(".glb")])


def test_attributes_come_through(lake: Lake) -> None:
    batch = next(iter(generate_buildings(400, 9)))
    version = write_version(lake, "b", "blocks", [batch], Report("g"), provenance={}, style={"height": "height"})
    tile(lake, version, budget=2000)
    source = {row["id"]: row for row in pa.table({"id": batch.ids, **{n: batch.attributes[n] for n in batch.attributes.column_names}}).to_pylist()}
    count = 0
    for id_, _, _, row in decoded(lake.root / "out.3tz"):
        expected = source[id_]
        for name in ("name", "use", "address", "district", "floors", "year", "height", "area"):
            assert row[name] == expected[name], name
        assert row["energy"] == pytest.approx(expected["energy"])
        assert row["listed"] == {True: "true", False: "false", None: None}[expected["listed"]]
        assert row["surveyed"] == expected["surveyed"].isoformat()
        assert row["population"] == (-(2**31) if expected["population"] is None else expected["population"])
        count += 1
    assert count == 400
    document = json.loads(zipfile.ZipFile(lake.root / "out.3tz").read("tileset.json"))
    assert document["statistics"]["classes"]["b"]["count"] == 400
    assert sum(document["statistics"]["classes"]["b"]["properties"]["use"]["occurrences"].values()) == 400


@pytest.mark.parametrize("workers", [2])
def test_same_bytes_whatever_the_workers_and_twice(lake: Lake, workers: int) -> None:
    version = write_version(lake, "b", "blocks", generate_buildings(33_500, 2), Report("g"), provenance={}, style={"height": "height"})
    one = tile(lake, version, "a.3tz")
    two = tile(lake, version, "b.3tz", workers=workers)
    assert (lake.root / "a.3tz").read_bytes() == (lake.root / "b.3tz").read_bytes()
    assert one == two


def test_order_of_arrival_does_not_show(lake: Lake) -> None:
    batch = next(iter(generate_buildings(700, 2)))
    order = np.random.default_rng(1).permutation(700)
    shuffled = replace(batch, ids=batch.ids.take(pa.array(order)), geometry=batch.geometry[order], attributes=batch.attributes.take(pa.array(order)))
    for name, b in (("a.3tz", batch), ("b.3tz", shuffled)):
        tile(lake, write_version(lake, "b", "blocks", [b], Report("g"), provenance={}, style={"height": "height"}), name, budget=2000)
    assert (lake.root / "a.3tz").read_bytes() == (lake.root / "b.3tz").read_bytes()


def test_stands_on_the_lowest_ground_under_it(lake: Lake, tmp_path: Path) -> None:
    """On a plane sloping 10 % eastwards the floor is the ground's height at the west wall; no gap, nothing floats."""
    slope = terrain(tmp_path / "g.tif", lambda x, y: 50 + 0.1 * (x - X))
    tile(lake, write(lake, [shapely.box(X + 100, Y, X + 130, Y + 20)]), ground=slope)
    ((_, triangles, _, _),) = decoded(lake.root / "out.3tz")
    z = pyproj.Transformer.from_crs("EPSG:4978", "EPSG:4979", always_xy=True).transform(*triangles.reshape(-1, 3).T)[2]
    assert z.min() == pytest.approx(60.0, abs=0.02)
    assert z.max() == pytest.approx(70.0, abs=0.02)


def test_terrain_datum_is_applied(lake: Lake, tmp_path: Path) -> None:
    """EGM96 heights: at 22.58° N 113.08° E the geoid lies 6–8 m below the ellipsoid (NGA's calculator: −7.3 m)."""
    flat = terrain(tmp_path / "g.tif", lambda x, y: 0 * x + 100, vertical="EPSG:5773")
    facts = tile(lake, write(lake, [shapely.box(X, Y, X + 30, Y + 20)]), ground=flat)
    assert 100 - 8.5 < facts["heights"][0] < 100 - 6


def test_degrees_feet_and_a_geoid(lake: Lake) -> None:
    """A layer in degrees with bases in feet above EGM96: PROJ's geocentric step with the height worked out by hand."""
    reference = Reference("EPSG:4326", "EPSG:5773", 0.3048, 0.25)
    shape = shapely.Polygon([(-73.0, 40.0), (-72.9998, 40.00001), (-72.9998, 40.0001), (-73.0, 40.0001)])
    tile(lake, write(lake, [shape], reference, {"base": "base"}, base=[100.0], height=[12.0]))
    ((_, triangles, _, _),) = decoded(lake.root / "out.3tz")
    z = pyproj.Transformer.from_crs("EPSG:4978", "EPSG:4979", always_xy=True).transform(*triangles.reshape(-1, 3).T)[2]
    from twin.crs import undulation

    geoid = undulation(np.array([-73.0]), np.array([40.0]))[0]  # held against published figures in the tests of twin.crs
    assert z.min() == pytest.approx(30.48 + 0.25 + geoid, abs=0.002)
    assert z.max() - z.min() == pytest.approx(12.0, abs=0.002)


def test_a_city_wider_than_float32_holds(lake: Lake) -> None:
    """Sizes fall so slowly that the root tile draws buildings 80 km apart: each still within 1 mm."""
    rng = np.random.default_rng(8)
    places = rng.uniform(-40_000, 40_000, (300, 2)) + np.array([X + 50_000, Y])
    shapes = [shapely.box(x, y, x + 20.0, y + 15.0) for x, y in places]
    facts = tile(lake, write(lake, shapes, height=[9.0] * 300), budget=2000)
    assert facts["tiles"] > 4
    to_ecef = pyproj.Transformer.from_pipeline(
        "+proj=pipeline +step +inv +proj=tmerc +lat_0=0 +lon_0=114 +k=1 +x_0=500000 +y_0=0 +ellps=GRS80 +step +proj=cart +ellps=WGS84")  # fmt: skip
    for id_, triangles, _, _ in decoded(lake.root / "out.3tz"):
        xy = shapely.get_coordinates(shapes[int(id_[1:])])[:-1]
        expected = np.vstack([np.column_stack(to_ecef.transform(xy[:, 0], xy[:, 1], np.full(4, z))) for z in (20.0, 29.0)])
        distance = np.linalg.norm(triangles.reshape(-1, 1, 3) - expected[None], axis=2)
        assert distance.min(axis=1).max() < 0.001
    assert check_tileset(lake.root / "out.3tz").ok


def test_outside_the_terrain_is_refused_by_name_and_the_rest_stands(lake: Lake, tmp_path: Path) -> None:
    flat = terrain(tmp_path / "g.tif", lambda x, y: np.where(x > X + 500, -9999, 5.0))
    shapes = [shapely.box(X + d, Y, X + d + 9, Y + 9) for d in (0, 50, 700, 5000)]
    facts = tile(lake, write(lake, shapes, ids=["甲", "乙", "void", "far"]), ground=flat)
    notes = {n["feature"]: n["reason"] for n in facts["report"]["notes"] if n["action"] == "refused"}
    assert set(notes) == {"void", "far"}
    assert "--option ground" in notes["far"]
    assert facts["report"]["read"] == 4
    assert facts["report"]["kept"] == 2
    assert {row[0] for row in decoded(lake.root / "out.3tz")} == {"甲", "乙"}
    facts = tile(lake, write(lake, shapes), ground=flat, name="b.3tz")
    assert facts["report"]["kept"] == 2


def test_bad_rows_are_listed_never_a_crash(lake: Lake) -> None:
    shapes = [shapely.box(X, Y, X + 9, Y + 9), None, shapely.Polygon([(X, Y), (X + 5, Y), (X + 5, Y + 1e-9)]), shapely.box(X + 20, Y, X + 29, Y + 9),
              shapely.box(X + 40, Y, X + 49, Y + 9), shapely.Polygon([(X + 60, Y), (X + 70, Y + 8), (X + 70, Y), (X + 60, Y + 7)]),
              shapely.MultiPolygon([shapely.box(X + 80, Y, X + 89, Y + 9), shapely.Polygon([(X + 92, Y), (X + 95, Y), (X + 95, Y + 1e-9)])])]  # fmt: skip
    facts = tile(lake, write(lake, shapes, height=[5.0, 5.0, 5.0, None, -3.0, 6.0, 4.0]))
    said = {n["feature"]: (n["action"], n["reason"]) for n in facts["report"]["notes"]}
    assert said["b1"] == ("refused", "no outline")
    assert said["b2"] == ("refused", "its outline has no area")
    assert said["b3"][0] == said["b4"][0] == "refused"
    assert said["b5"][0] == "warned"
    assert said["b6"][0] == "repaired"
    assert facts["report"]["read"] == 7
    assert facts["report"]["kept"] == 3


def test_refusals_name_the_remedy(lake: Lake) -> None:
    box = shapely.box(X, Y, X + 9, Y + 9)
    with pytest.raises(MissingReference, match="--option ground"):
        blocks.tile(write(lake, [box]), TileJob(lake, lake.root / "o", blocks.Options()))
    with pytest.raises(MissingReference, match="--vertical"):
        tile(lake, write(lake, [box], Reference("EPSG:4547"), {"base": "base"}, base=[3.0]))
    with pytest.raises(BadFeature, match="no column"):
        tile(lake, write(lake, [box], style={"height": "hoogte"}))
    with pytest.raises(BadFeature, match="no building could be built"):
        tile(lake, write(lake, [box], height=[-1.0]))
    assert not (lake.root / "out.3tz").exists()


def test_tombstones_are_not_drawn(lake: Lake) -> None:
    version = replace(write(lake, [shapely.box(X + d, Y, X + d + 9, Y + 9) for d in (0, 20, 40)]), tombstones=("b1",))
    tile(lake, version)
    assert {row[0] for row in decoded(lake.root / "out.3tz")} == {"b0", "b2"}


def test_the_same_id_twice_is_refused_by_name(lake: Lake) -> None:
    with pytest.raises(BadFeature, match=r"'乙' occurs more than once"):
        write(lake, [shapely.box(X + d, Y, X + d + 9, Y + 9) for d in (0, 20, 40)], ids=["甲", "乙", "乙"])


def test_three_hundred_columns_of_every_type(lake: Lake) -> None:
    """Mixed values (numbers in texts, lists, structs, nulls) in 300 columns: all there in the tiles."""
    makers = (float, lambda i: i if i % 3 else None, lambda i: f"值 {i}", lambda i: bool(i % 2), lambda i: [i, i + 1],
              lambda i: {"a": i, "b": [str(i)]}, lambda i: "12" if i % 2 else "zwölf")  # fmt: skip
    columns = {f"c{k}": [makers[k % len(makers)](i) for i in range(30)] for k in range(300)}
    shapes = [shapely.box(X + 20 * i, Y, X + 20 * i + 9, Y + 9) for i in range(30)]
    facts = tile(lake, write(lake, shapes, **columns))
    assert facts["stats"]["features"] == 30
    rows = {id_: row for id_, _, _, row in decoded(lake.root / "out.3tz")}
    for i in (0, 7, 29):
        row = rows[f"b{i}"]
        assert len(row) >= 300
        assert (row["c0"], row["c2"], list(row["c4"]), row["c6"]) == (float(i), f"值 {i}", [i, i + 1], "12" if i % 2 else "zwölf")
        assert json.loads(row["c5"]) == {"a": i, "b": [str(i)]}
    assert check_tileset(lake.root / "out.3tz").ok


def test_a_full_disk_leaves_nothing(lake: Lake) -> None:
    """The kernel's own refusal: files may not grow beyond 100 kB while the tiles are written."""
    version = write_version(lake, "b", "blocks", generate_buildings(2000), Report("g"), provenance={}, style={"height": "height"})
    before = sorted(path for path in lake.root.rglob("*") if path.is_file())
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(StorageError, match=r"disk is full|storing"):
            tile(lake, version)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    left = sorted(path for path in lake.root.rglob("*") if path.is_file())
    assert [path for path in left if path.suffix == ".3tz"] == []
    assert [path for path in left if path.parent.name == "tmp"] == []
    assert set(before) <= set(left)
    assert tile(lake, version)["stats"]["features"] == 2000


def test_a_layer_of_nothing_but_slivers_is_refused(lake: Lake) -> None:
    with pytest.raises(BadFeature, match="its outline has no area"):
        tile(lake, write(lake, [shapely.Polygon([(X, Y), (X + 5, Y), (X + 5, Y + 1e-9)])]))


def test_a_tile_is_the_same_whatever_is_built_with_it(lake: Lake) -> None:
    """Outlines with runs of superfluous corners: units of one tile and of all tiles give the same bytes."""
    rng = np.random.default_rng(5)
    shapes = []
    for k in range(120):
        t = np.sort(rng.uniform(0, 1, int(rng.integers(3, 40))))
        side = np.vstack([np.column_stack([t, 0 * t]), [[1, 0], [1, 1], [0, 1]]]) * 12
        shapes.append(shapely.Polygon(side + np.array([X + 40 * (k % 12), Y + 40 * (k // 12)])))
    version = write(lake, shapes, height=list(rng.uniform(3, 90, 120)))
    tile(lake, version, "a.3tz", budget=150)
    real, blocks.UNIT = blocks.UNIT, 0
    try:
        tile(lake, version, "b.3tz", budget=150)
    finally:
        blocks.UNIT = real
    assert (lake.root / "a.3tz").read_bytes() == (lake.root / "b.3tz").read_bytes()
