"""Terrain tiles, decoded by code that shares nothing with the encoder, against the raster they were made from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio
from pyproj import Transformer
from terrain_decoder import TO_ECEF, DecodedTile
from terrain_helpers import Tiles, hills, write_dem

from tiling.terrain import tiler as terrain
from twin import crs
from twin.errors import BadOption, Cancelled
from twin.lake import Lake
from twin.model import LayerVersion
from twin.registry import TileJob

Ingest, Tiled = Callable[..., LayerVersion], Callable[..., Tiles]


def expected_heights(path: Path, lon: np.ndarray, lat: np.ndarray) -> np.ndarray:
    """Bilinear heights of a raster at WGS 84 degrees; NaN where a cell around it is void or absent."""
    with rasterio.open(path) as file:
        cells, transform = file.read(1, masked=True).astype(float).filled(np.nan), file.transform
        assert (transform.b, transform.d) == (0, 0)
        x, y = Transformer.from_crs("EPSG:4326", file.crs, always_xy=True).transform(lon, lat)
    c, r = (x - transform.c) / transform.a - 0.5, (y - transform.f) / transform.e - 0.5
    j, k = np.floor(c).astype(int), np.floor(r).astype(int)
    inside = (j >= 0) & (j < cells.shape[1] - 1) & (k >= 0) & (k < cells.shape[0] - 1)
    j, k, u, v = np.where(inside, j, 0), np.where(inside, k, 0), c - j, r - k
    value = (cells[k, j] * (1 - u) + cells[k, j + 1] * u) * (1 - v) + (cells[k + 1, j] * (1 - u) + cells[k + 1, j + 1] * u) * v
    return np.where(inside, value, np.nan)


def check_vertices(tiles: Tiles, path: Path, level: int, unit: float = 1.0, offset: float = 0.0, ellipsoid: bool = False) -> int:
    """The vertices of a level (of 40 to 80 tiles of it) lie on the raster's bilinear surface, within the height quantum; returns how many were compared."""
    compared = 0
    for key in tiles.keys(level)[:: max(1, len(tiles.keys(level)) // 40)]:
        tile = tiles.tile(*key)
        lon, lat, height = tile.lonlath.T
        truth = expected_heights(path, lon, lat) * unit + offset + (0 if ellipsoid else crs.undulation(lon, lat))
        known = np.isfinite(truth)
        compared += int(known.sum())
        quantum = (tile.high - tile.low) / 32767
        assert np.abs(truth - height)[known].max(initial=0) <= quantum / 2 + 2e-3, key
    return compared


REAL = [
    ("dem_flood/andorra_la_vella/elevation.tif", {"vertical": "EGM96"}, {}),
    ("dem_flood/porto_alegre_elevation.tif", {"vertical": "EGM96"}, {}),
    ("dem_flood/merewether/topography1.asc", {"vertical": "EPSG:5711"}, {}),
]


@pytest.mark.parametrize(("name", "options", "how"), REAL)
def test_real_rasters(shared_data: Path, ingest: Ingest, tiled: Tiled, name: str, options: dict, how: dict) -> None:
    version = ingest(shared_data / name, **options)
    tiles = tiled(version, **how)
    assert check_vertices(tiles, shared_data / name, tiles.finest) > 1000
    assert tiles.names == sorted(
        f"{z}/{x}/{y}.terrain"
        for z, level in enumerate(tiles.layer["available"]) for box in level
        for x in range(box["startX"], box["endX"] + 1) for y in range(box["startY"], box["endY"] + 1)
    )  # fmt: skip
    stats = tiles.facts["stats"]["levels"]
    assert stats[-1]["dem_rms"] < 0.7
    bounds = [level["error_bound"] for level in stats]
    assert bounds == sorted(bounds, reverse=True)
    assert edges_meet(tiles) > 10
    for key in tiles.keys()[::13]:
        check_mesh(tiles.tile(*key))


def test_srtm_tile_with_sea(shared_data: Path, ingest: Ingest, tiled: Tiled) -> None:
    """A coast: half of it void. Land as the raster says, sea far out at sea level, voids reported."""
    version = ingest(shared_data / "dem_flood/N43E007.hgt.zip")
    tiles = tiled(version, max_level=9)
    assert tiles.facts["report"]["voids"] == 1595
    assert tiles.facts["heights"][0] > 0
    assert len(tiles.keys(9)) == len({(x, y) for _, x, y in tiles.keys(9)}) >= 9
    assert edges_meet(tiles) > 9


def test_projected_raster_against_every_cell(tmp_path: Path, ingest: Ingest, tiled: Tiled) -> None:
    """Gauss–Krüger zone with prefix, 1985 heights in an offset datum: vertices, and the surface at the cells' centres."""
    source = write_dem(tmp_path / "a.tif", hills(180, 220), crs="EPSG:4526", west=38508000, north=2498000, cell=10)
    tiles = tiled(ingest(source, vertical="EPSG:5737", vertical_offset=0.25))
    assert check_vertices(tiles, source, tiles.finest, offset=0.25) > 5000
    with rasterio.open(source) as file:
        row, column = np.mgrid[0:180:9, 0:220:9]
        x, y = file.transform * (column.ravel() + 0.5, row.ravel() + 0.5)
        lon, lat = Transformer.from_crs("EPSG:4526", "EPSG:4326", always_xy=True).transform(x, y)
        truth = file.read(1)[row, column].ravel() + 0.25 + crs.undulation(np.array(lon), np.array(lat))
    for level, measured in list(enumerate(tiles.facts["stats"]["levels"]))[-3:]:
        errors = np.abs(mesh_heights(tiles, level, np.array(lon), np.array(lat)) - truth)
        assert errors.max() <= measured["dem_error"] + 0.01, "the tiler measured less than there is"
        assert errors.max() >= measured["dem_error"] * 0.3, "the tiler's figure has nothing to do with its tiles"


def mesh_heights(tiles: Tiles, level: int, lon: np.ndarray, lat: np.ndarray) -> np.ndarray:
    """Height of a level's triangles at places, by searching all triangles."""
    result = np.full(len(lon), np.nan)
    for key in tiles.keys(level):
        tile = tiles.tile(*key)
        a, b, c = (tile.lonlath[tile.triangles[:, k]] for k in range(3))
        (west, south, _), (east, north, _) = tile.lonlath.min(axis=0), tile.lonlath.max(axis=0)
        for i in np.flatnonzero(np.isnan(result) & (lon >= west) & (lon <= east) & (lat >= south) & (lat <= north)):
            p = np.array([lon[i], lat[i]])
            area = np.cross(b[:, :2] - a[:, :2], c[:, :2] - a[:, :2])
            wb, wc = np.cross(p - a[:, :2], c[:, :2] - a[:, :2]) / area, np.cross(b[:, :2] - a[:, :2], p - a[:, :2]) / area
            hit = np.flatnonzero((wb >= -1e-9) & (wc >= -1e-9) & (wb + wc <= 1 + 1e-9))
            if len(hit):
                t = hit[0]
                result[i] = a[t, 2] * (1 - wb[t] - wc[t]) + b[t, 2] * wb[t] + c[t, 2] * wc[t]
    assert np.isfinite(result).all(), "a place on the raster has no triangle"
    return result


@pytest.mark.parametrize(("options", "unit", "offset", "ellipsoid"), [
    ({"vertical": "EGM96", "unit": "us-ft"}, 1200 / 3937, 0.0, False),
    ({"vertical": "ellipsoid", "vertical_offset": -1.5}, 1.0, -1.5, True),
])  # fmt: skip
def test_units_and_datums(tmp_path: Path, ingest: Ingest, tiled: Tiled, options: dict, unit: float, offset: float, ellipsoid: bool) -> None:
    source = write_dem(tmp_path / "a.tif", hills(90, 90))
    tiles = tiled(ingest(source, **options))
    assert check_vertices(tiles, source, tiles.finest, unit, offset, ellipsoid) > 1000


# --- one tile ----------------------------------------------------------------------------------------------------


def check_mesh(tile: DecodedTile) -> None:
    """Triangles cover the tile once, counter-clockwise and without T-junctions; header, edges and normals are right."""
    u, v = tile.uvh[:, 0].astype(int), tile.uvh[:, 1].astype(int)
    assert tile.uvh.min() >= 0
    assert tile.uvh.max() <= 32767
    assert len({(a, b) for a, b in zip(u, v, strict=True)}) == len(u), "a vertex twice"
    assert set(tile.triangles.ravel()) == set(range(len(u))), "a vertex that no triangle uses"
    a, b, c = tile.triangles.T
    doubled = (u[b] - u[a]) * (v[c] - v[a]) - (v[b] - v[a]) * (u[c] - u[a])
    assert (doubled > 0).all(), "a triangle is clockwise or flat"
    assert doubled.sum() == 2 * 32767**2
    sides = np.concatenate([tile.triangles[:, [0, 1]], tile.triangles[:, [1, 2]], tile.triangles[:, [2, 0]]])
    forward, backward = sides[:, 0] * 65536 + sides[:, 1], sides[:, 1] * 65536 + sides[:, 0]
    assert len(np.unique(forward)) == len(forward)
    p, q = sides.T
    on_border = ((u[p] == u[q]) & np.isin(u[p], (0, 32767))) | ((v[p] == v[q]) & np.isin(v[p], (0, 32767)))
    assert (np.isin(backward, forward) != on_border).all(), "an inner edge without its other triangle"
    for edge, (axis, where) in zip(tile.edges, [(0, 0), (1, 0), (0, 32767), (1, 32767)], strict=True):
        values = tile.uvh[:, axis]
        assert sorted(edge) == sorted(np.flatnonzero(values == where))
        assert (np.diff(tile.uvh[edge, 1 - axis]) > 0).all()
    ecef = tile.ecef
    assert (np.linalg.norm(ecef - tile.sphere, axis=1) <= tile.radius + 0.01).all()
    if len(ecef) > 4:
        assert np.linalg.norm(ecef - tile.sphere, axis=1).max() >= tile.radius * 0.999
    assert tile.uvh[:, 2].min() == 0 or tile.high == tile.low
    lon, lat = (tile.lonlath[:, k].min() / 2 + tile.lonlath[:, k].max() / 2 for k in (0, 1))
    assert np.allclose(tile.centre, TO_ECEF.transform(lon, lat, (tile.low + tile.high) / 2), atol=0.01)
    up = tile.normals()
    assert len(up) == len(u)
    lam, phi = np.radians(tile.lonlath[:, 0]), np.radians(tile.lonlath[:, 1])
    zenith = np.column_stack([np.cos(phi) * np.cos(lam), np.cos(phi) * np.sin(lam), np.sin(phi)])
    assert ((up * zenith).sum(axis=1) > 0).all(), "a normal points into the ground"


def test_every_tile_is_a_sound_mesh(tmp_path: Path, ingest: Ingest, tiled: Tiled) -> None:
    tiles = tiled(ingest(write_dem(tmp_path / "a.tif", hills(150, 150), cell=0.0003), vertical="EGM96"))
    for key in tiles.all_keys():
        check_mesh(tiles.tile(*key))


def test_occlusion_point_never_hides_a_visible_tile(tmp_path: Path, ingest: Ingest, tiled: Tiled) -> None:
    """Whenever any vertex can be seen past the ellipsoid (exact ray test), so can the occlusion point; and it is not idle."""
    tiles = tiled(ingest(write_dem(tmp_path / "a.tif", hills(60, 60)), vertical="EGM96"))
    radii = np.array([6378137.0, 6378137.0, 6356752.3142451793])
    rng = np.random.default_rng(5)
    hidden = 0
    for key in [k for k in tiles.all_keys() if k[0] in (1, 2, 4, 8, 12, tiles.finest)]:
        tile = tiles.tile(*key)
        points = tile.ecef / radii
        points *= np.maximum(1.0, 1 / np.linalg.norm(points, axis=1))[:, None]  # what lies below the ellipsoid counts as on it
        for _ in range(200):
            direction = rng.normal(size=3)
            camera = direction / np.linalg.norm(direction) * (1 + 10 ** rng.uniform(-5, 1))
            seen = visible(camera, points)
            mark = visible(camera, tile.occlusion[None])[0]
            assert mark or not seen.any(), (key, camera)
            hidden += not mark
    assert hidden > 200
    for key in tiles.keys(0):  # half a globe has no such point
        assert np.linalg.norm(tiles.tile(*key).occlusion) == pytest.approx(1e6)


def visible(camera: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Whether the unit sphere leaves points free as seen from a camera outside of it: the segment does not pass through it."""
    d = points - camera
    a, b, c = (d * d).sum(axis=1), 2 * (d @ camera), camera @ camera - 1
    root = b * b - 4 * a * c
    with np.errstate(invalid="ignore"):
        near = (-b - np.sqrt(root)) / (2 * a)
    return ~((root > 0) & (near > 0) & (near < 1 - 1e-9))


def test_normals_are_those_of_the_slope(tmp_path: Path, ingest: Ingest, tiled: Tiled) -> None:
    """A plane rising to the east by 1 in 2 and to the north by 1 in 4, in true metres."""
    r, c = np.mgrid[0:100, 0:100]
    east = 111319.49 * np.cos(np.radians(22.59)) * 0.0002
    north = 110750.0 * 0.0002
    z = (1000 + 0.5 * c * east - 0.25 * r * north).astype(np.float32)
    tiles = tiled(ingest(write_dem(tmp_path / "a.tif", z), vertical="ellipsoid"))
    compared = 0
    for key in tiles.keys(tiles.finest):
        tile = tiles.tile(*key)
        lon, lat = np.radians(tile.lonlath[:, 0]), np.radians(tile.lonlath[:, 1])
        inner = (np.degrees(lon) > 113.001) & (np.degrees(lon) < 113.019) & (np.degrees(lat) < 22.599) & (np.degrees(lat) > 22.581)
        n = tile.normals()
        e = -np.sin(lon) * n[:, 0] + np.cos(lon) * n[:, 1]
        north_part = -np.sin(lat) * np.cos(lon) * n[:, 0] - np.sin(lat) * np.sin(lon) * n[:, 1] + np.cos(lat) * n[:, 2]
        up = np.cos(lat) * np.cos(lon) * n[:, 0] + np.cos(lat) * np.sin(lon) * n[:, 1] + np.sin(lat) * n[:, 2]
        assert np.allclose((-e / up)[inner], 0.5, atol=0.03)
        assert np.allclose((-north_part / up)[inner], 0.25, atol=0.03)
        compared += int(inner.sum())
    assert compared > 100


# --- between tiles -----------------------------------------------------------------------------------------------


def edge_pairs(tiles: Tiles) -> list[tuple[tuple[int, int, int], tuple[int, int, int], int, int]]:
    """(tile, its neighbour, side of the tile, side of the neighbour), sides counted west, south, east, north."""
    keys = set(tiles.keys())
    return [(k, n, side, other) for k in sorted(keys) for n, side, other in (((k[0], (k[1] + 1) % 2 ** (k[0] + 1), k[2]), 2, 0), ((k[0], k[1], k[2] + 1), 3, 1))
            if n in keys]  # fmt: skip


def edges_meet(tiles: Tiles, every: int = 1) -> int:
    """No cracks: neighbours have the same vertices on their common side, the same normals, and heights no farther apart than their quanta; returns how many pairs."""
    pairs = edge_pairs(tiles)[::every]
    for one, two, side, other in pairs:
        a, b = tiles.tile(*one), tiles.tile(*two)
        along, ia, ib = 1 if side == 2 else 0, a.edges[side], b.edges[other]
        assert np.array_equal(a.uvh[ia, along], b.uvh[ib, along]), (one, two)
        assert np.abs(a.lonlath[ia, 2] - b.lonlath[ib, 2]).max() <= ((a.high - a.low) + (b.high - b.low)) / 32767 / 2 + 1e-3, (one, two)
        assert np.array_equal(a.normals()[ia], b.normals()[ib]), (one, two)
    return len(pairs)


@pytest.mark.parametrize("kind", ["geographic", "projected"])
def test_neighbours_share_their_edge(tmp_path: Path, ingest: Ingest, tiled: Tiled, kind: str) -> None:
    """Same vertices at the same places; heights apart by no more than the two tiles' height quanta; same normals."""
    z = hills(400, 420)
    z[100:140, 60:300] = -9999  # a void across tiles
    place = {"cell": 0.0002} if kind == "geographic" else {"crs": "EPSG:4526", "west": 38508000, "north": 2498000, "cell": 20}
    tiles = tiled(ingest(write_dem(tmp_path / "a.tif", z, nodata=-9999, **place), vertical="EPSG:5737"), max_level=14)
    assert edges_meet(tiles) > 150


def test_bytes_do_not_depend_on_workers_or_blocks(tmp_path: Path, ingest: Ingest, tiled: Tiled, monkeypatch: pytest.MonkeyPatch) -> None:
    z = hills(300, 300)
    z[90:130, 40:250] = z[200:204, 100:140] = -9999
    version = ingest(write_dem(tmp_path / "a.tif", z, crs="EPSG:4526", west=38508000, north=2498000, cell=15, nodata=-9999), vertical="EGM96")
    first = tiled(version, max_level=14)
    assert tiled(version, workers=3, max_level=14).path.read_bytes() == first.path.read_bytes()
    for side in (1, 3):
        monkeypatch.setattr(terrain, "BLOCK", side)
        other = tiled(version, max_level=14)
        assert other.names == first.names
        for name in first.names:
            assert other.archive.read(name) == first.archive.read(name), (side, name)


# --- voids and surroundings --------------------------------------------------------------------------------------


def test_a_void_is_filled_from_around(tmp_path: Path, ingest: Ingest, tiled: Tiled) -> None:
    r, c = np.mgrid[0:200, 0:200]
    z = (100 + 0.5 * c + 0.25 * r).astype(np.float32)
    holed = z.copy()
    holed[80:100, 90:120] = -9999
    tiles = tiled(ingest(write_dem(tmp_path / "a.tif", holed, nodata=-9999), vertical="ellipsoid"))
    assert tiles.facts["report"]["voids"] == 600
    assert tiles.facts["report"]["void_treatment"].startswith("filled")
    lon, lat = 113 + 0.0002 * np.arange(92, 118, 5.0), np.full(6, 22.6 - 0.0002 * 90)
    heights = mesh_heights(tiles, tiles.finest, lon, lat)
    assert np.abs(heights - (100 + 0.5 * np.arange(91.5, 117.5, 5) + 0.25 * 89.5)).max() < 4, "worse than a fifth of the relief around the hole"
    sea = tiled(ingest(write_dem(tmp_path / "b.tif", holed, nodata=-9999), vertical="EGM96"), voids="sea")
    assert np.abs(mesh_heights(sea, sea.finest, lon[2:4], lat[2:4]) - crs.undulation(lon[2:4], lat[2:4])).max() < 0.1
    assert sea.facts["report"]["void_treatment"] == "at sea level"


def test_outside_falls_to_sea_level(tmp_path: Path, ingest: Ingest, tiled: Tiled) -> None:
    version = ingest(write_dem(tmp_path / "a.tif", np.full((100, 100), 800, np.float32)), vertical="EGM96")
    tiles = tiled(version, apron=3000)
    lon = 113.02 + np.array([0.001, 0.01, 0.02, 0.04, 0.2, 30.0])
    lat = np.full(6, 22.59)
    height = mesh_heights(tiles, 7, lon[4:5], lat[4:5])[0] - crs.undulation(lon[4:5], lat[4:5])[0]
    assert abs(height) < tiles.facts["stats"]["levels"][7]["tolerance"]
    level = next(z for z in range(tiles.finest, 0, -1) if all(any(x <= (v + 180) * 2**z / 180 < x + 1 for _, x, _ in tiles.keys(z)) for v in lon[:4]))
    falling = mesh_heights(tiles, level, lon[:4], lat[:4]) - crs.undulation(lon[:4], lat[:4])
    assert falling[0] > 700
    assert (np.diff(falling) < 1).all()
    assert abs(falling[3]) < 20
    assert tiles.facts["report"]["outside"] == "falls to the EGM96 sea level within 3000 m of the raster"


def test_root_tiles_cover_the_globe_round(tmp_path: Path, ingest: Ingest, tiled: Tiled) -> None:
    """The two roots reach both poles and all longitudes, follow the geoid, and no chord sinks more than their tolerance."""
    tiles = tiled(ingest(write_dem(tmp_path / "a.tif", hills(50, 50)), vertical="EGM96"))
    assert tiles.keys(0) == [(0, 0, 0), (0, 1, 0)]
    for key in tiles.keys(0):
        tile = tiles.tile(*key)
        lon, lat, height = tile.lonlath.T
        far = (np.abs(lon - 113) > 1) | (np.abs(lat - 22.6) > 1)
        assert np.abs(height - crs.undulation(lon, lat))[far].max() < 0.01
        middles = tile.ecef[tile.triangles].mean(axis=1)
        assert (6378137 - np.linalg.norm(middles, axis=1)).max() < 21400 + 7.8e4 * 0.15


def test_layer_json_is_what_cesium_asks_for(tmp_path: Path, ingest: Ingest, tiled: Tiled) -> None:
    tiles = tiled(ingest(write_dem(tmp_path / "a.tif", hills(50, 50)), vertical="EGM96"))
    layer = tiles.layer
    assert layer["format"].startswith("quantized-mesh-1.")
    assert (layer["scheme"], layer["projection"], layer["extensions"], layer["tiles"]) == ("tms", "EPSG:4326", ["octvertexnormals", "metadata"], ["{z}/{x}/{y}.terrain"])
    assert layer["bounds"] == pytest.approx([113, 22.59, 113.01, 22.6])
    assert len(layer["available"]) == tiles.finest + 1 == layer["maxzoom"] + 1
    facts = tiles.facts
    assert facts["entry"] == "layer.json"
    assert facts["tiles"] == len(tiles.names)
    assert facts["bytes"] == tiles.path.stat().st_size
    finest = [tiles.tile(*key) for key in tiles.keys(tiles.finest)]
    assert facts["heights"] == [min(t.low for t in finest), max(t.high for t in finest)]
    assert sum(level["tiles"] for level in facts["stats"]["levels"]) == facts["tiles"]


def test_coarse_levels_are_averages(tmp_path: Path, ingest: Ingest, tiled: Tiled) -> None:
    """A checkerboard of single cells, 0 and 100 m: at a tenth of its detail the ground is flat at 50 m, not stripes."""
    r, c = np.mgrid[0:1024, 0:1024]
    tiles = tiled(ingest(write_dem(tmp_path / "a.tif", (((r + c) % 2) * 100).astype(np.float32)), vertical="ellipsoid"), max_level=9)
    lon, lat = (v.ravel() for v in np.meshgrid(np.linspace(113.03, 113.17, 9), np.linspace(22.43, 22.57, 9)))
    assert np.abs(mesh_heights(tiles, 9, lon, lat) - 50).max() < 1


# --- refusals ----------------------------------------------------------------------------------------------------


def test_refusals(tmp_path: Path, lake: Lake, ingest: Ingest, tiled: Tiled) -> None:
    version = ingest(write_dem(tmp_path / "b.tif", hills(60, 60), cell=0.5), vertical="EGM96")
    with pytest.raises(BadOption, match="max_level"):
        tiled(version, max_level=18)


def test_cancelling_leaves_no_file(tmp_path: Path, lake: Lake, ingest: Ingest) -> None:
    version = ingest(write_dem(tmp_path / "a.tif", hills(60, 60)), vertical="EGM96")

    def stop(fraction: float, doing: str) -> None:
        if fraction > 0.3:
            raise Cancelled("stop")

    out = tmp_path / "out.3tz"
    with pytest.raises(Cancelled):
        terrain.tile(version, TileJob(lake, out, terrain.Options(), workers=2, progress=stop))
    assert not out.exists()
