"""Water masks, metadata availability and the ground as 3D Tiles, decoded by other code than wrote them."""

from __future__ import annotations

import json
import shutil
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pygltflib
import pytest
import rasterio
import shapely
from pyproj import Transformer
from terrain_helpers import Tiles, hills, write_dem

from tiling.check import check_layer, check_tileset
from tiling.terrain.glb import skirt_height
from twin.errors import BadFeature, BadOption, MissingReference
from twin.lake import Lake
from twin.model import LayerVersion

Ingest, Tiled = Callable[..., LayerVersion], Callable[..., Tiles]
RIVER = shapely.union_all([shapely.Point(113.012, 22.588).buffer(0.004), shapely.box(113.015, 22.56, 113.0165, 22.6)]).difference(shapely.Point(113.012, 22.588).buffer(0.001))


def write_water(path: Path, shape: object = RIVER, crs: str | None = None) -> Path:
    feature = {"type": "Feature", "properties": {}, "geometry": json.loads(shapely.to_geojson(shape))}
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [feature]} | ({"crs": {"type": "name", "properties": {"name": crs}}} if crs else {})))
    return path


def mask_of(body: bytes) -> np.ndarray:
    """(256, 256) booleans, row 0 in the north."""
    return np.full((256, 256), body[0] == 255) if len(body) == 1 else np.frombuffer(body, np.uint8).reshape(256, 256) == 255


@pytest.mark.parametrize("kind", ["polygons", "raster"])
def test_water_masks_are_the_polygons(tmp_path: Path, lake: Lake, ingest: Ingest, tiled: Tiled, kind: str) -> None:
    """Every pixel against a point-in-polygon test of its middle; tiles all of one kind take one byte."""
    source = write_dem(tmp_path / "a.tif", hills(150, 150), west=113.0, north=22.6)
    if kind == "polygons":
        water = write_water(tmp_path / "water.geojson")
    else:
        lon, lat = np.meshgrid(113 + (np.arange(300) + 0.5) * 0.0001, 22.6 - (np.arange(300) + 0.5) * 0.0001)
        water = write_dem(tmp_path / "water.tif", shapely.contains_xy(RIVER, lon, lat).astype(np.uint8), west=113.0, north=22.6, cell=0.0001)
    version = ingest(source, vertical="EGM96", water=str(water))
    tiles = tiled(version, max_level=15)
    assert tiles.layer["extensions"] == ["octvertexnormals", "watermask", "metadata"]
    mixed = 0
    for z, x, y in tiles.all_keys():
        body = tiles.tile(z, x, y).extensions[2]
        width = 180 / 2**z / 256
        lon, lat = np.meshgrid(-180 + x * 180 / 2**z + (np.arange(256) + 0.5) * width, -90 + (y + 1) * 180 / 2**z - (np.arange(256) + 0.5) * width)
        if kind == "polygons":
            truth = shapely.contains_xy(RIVER, lon, lat)
        else:
            with rasterio.open(water) as file:
                c, r = np.floor((lon - 113) / 0.0001).astype(int), np.floor((22.6 - lat) / 0.0001).astype(int)
                on = (c >= 0) & (c < 300) & (r >= 0) & (r < 300)
                truth = np.zeros(lon.shape, bool)
                truth[on] = file.read(1)[r[on], c[on]] == 1
        found = mask_of(body)
        assert (found != truth).mean() < 0.0005, (z, x, y)
        assert (len(body) == 1) == (found.all() or not found.any())
        mixed += len(body) > 1
    assert mixed > 20
    report = check_layer(version, lake, tiles.path, info=tiles.facts)
    assert not report.errors, report.errors[:3]


def test_water_that_is_none(tmp_path: Path, ingest: Ingest) -> None:
    source = write_dem(tmp_path / "a.tif", hills(20, 20))
    with pytest.raises(BadOption, match="neither a file nor a layer"):
        ingest(source, vertical="EGM96", water=str(tmp_path / "none.gpkg"))
    with pytest.raises(BadFeature, match="no water"):
        ingest(source, vertical="EGM96", water=str(write_water(tmp_path / "p.geojson", shapely.Point(113, 22))))
    with pytest.raises(MissingReference, match="water"):
        ingest(source, vertical="EGM96", water=str(write_dem(tmp_path / "b.tif", np.ones((9, 9), np.uint8), crs=None)))


def test_metadata_lead_to_every_tile(tmp_path: Path, ingest: Ingest, tiled: Tiled) -> None:
    """Walking as CesiumJS does, from the metadata of levels 0, 10, …: exactly the tiles of the archive are found."""
    tiles = tiled(ingest(write_dem(tmp_path / "a.tif", hills(120, 90)), vertical="EGM96"))
    every = tiles.layer["metadataAvailability"]
    assert tiles.finest > every
    found, queue = {(0, 0, 0), (0, 1, 0)}, [(0, 0, 0), (0, 1, 0)]
    while queue:
        z, x, y = queue.pop()
        body = tiles.tile(z, x, y).extensions[4]
        assert struct.unpack_from("<I", body)[0] == len(body) - 4
        for depth, spans in enumerate(json.loads(body[4:])["available"]):
            for span in spans:
                level = z + 1 + depth
                keys = [(level, i, j) for i in range(span["startX"], span["endX"] + 1) for j in range(span["startY"], span["endY"] + 1)]
                found.update(keys)
                queue.extend(key for key in keys if level % every == 0)
    assert found == set(tiles.keys())
    assert all((4 in tiles.tile(*key).extensions) == (key[0] % every == 0) for key in tiles.all_keys())


def glb(tiles: Tiles, uri: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(positions, normals, triangles) of a glb, z up, by pygltflib."""
    model = pygltflib.GLTF2.load_from_bytes(tiles.archive.read(uri))
    blob = model.binary_blob()
    node, primitive = model.nodes[0], model.meshes[0].primitives[0]

    def column(index: int) -> np.ndarray:
        accessor = model.accessors[index]
        view = model.bufferViews[accessor.bufferView]
        kind = {5120: "i1", 5121: "u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}[accessor.componentType]
        width = {"SCALAR": 1, "VEC3": 3}[accessor.type]
        size, step = np.dtype(kind).itemsize, view.byteStride or np.dtype(kind).itemsize * width
        start = (view.byteOffset or 0) + (accessor.byteOffset or 0)
        values = np.stack([np.frombuffer(blob[start + i * step : start + i * step + size * width], kind) for i in range(accessor.count)]).astype(float)
        return values / 127 if accessor.normalized and kind == "i1" else values

    p = column(primitive.attributes.POSITION) * np.array(node.scale or [1, 1, 1]) + np.array(node.translation or [0, 0, 0])
    n = column(primitive.attributes.NORMAL)
    return np.stack([p[:, 0], -p[:, 2], p[:, 1]], axis=1), np.stack([n[:, 0], -n[:, 2], n[:, 1]], axis=1), column(primitive.indices).astype(int).reshape(-1, 3)


def walk(tile: dict, matrix: np.ndarray, parent: dict | None = None) -> list[tuple[dict, np.ndarray, dict | None]]:
    here = matrix @ np.array(tile.get("transform", np.eye(4).T.ravel())).reshape(4, 4).T
    return [(tile, here, parent), *(row for child in tile.get("children", []) for row in walk(child, here, tile))]


def test_the_ground_as_3d_tiles(tmp_path: Path, lake: Lake, ingest: Ingest, tiled: Tiled) -> None:
    source = write_dem(tmp_path / "a.tif", hills(300, 260), crs="EPSG:32649", west=710000, north=2500000, cell=10)
    version = ingest(source, vertical="ellipsoid")
    tiles = tiled(version, output="both", max_level=15)
    assert not check_tileset(tiles.path).errors
    assert not check_layer(version, lake, tiles.path, info=tiles.facts).errors
    document = json.loads(tiles.archive.read("tileset.json"))
    rows = walk(document["root"], np.eye(4))
    assert {row[0]["refine"] for row in rows if "refine" in row[0]} == {"REPLACE"}
    assert sum("content" in row[0] for row in rows) > 40
    to_map = Transformer.from_crs("EPSG:4978", "EPSG:4979", always_xy=True)
    with rasterio.open(source) as file:
        cells, t = file.read(1).astype(float), file.transform
    leaves = 0
    for tile, matrix, parent in rows:
        if parent is not None:
            assert tile["geometricError"] <= parent["geometricError"]
            assert len(parent["children"]) in (1, 2, 3, 4)
        if "content" not in tile:
            continue
        assert len(tile.get("children", [])) in (0, 4), "a refined tile has all its children"
        positions, normals, triangles = glb(tiles, tile["content"]["uri"])
        ecef = positions @ matrix[:3, :3].T + matrix[:3, 3]
        lon, lat, height = to_map.transform(*ecef.T)
        assert np.allclose(np.linalg.norm(normals, axis=1), 1, atol=0.03)
        assert triangles.max() < len(positions)
        if "children" in tile:
            continue
        leaves += 1
        mesh = tiles.tile(*(int(v) for v in tile["content"]["uri"].removesuffix(".glb").split("/")))
        assert len(positions) == len(mesh.uvh) + sum(len(edge) for edge in mesh.edges), "the same vertices, and a skirt"
        top = ecef[: len(mesh.uvh)]
        assert np.abs(np.sort(top[:, 2]) - np.sort(mesh.ecef[:, 2])).max() < 0.0015 + (mesh.high - mesh.low) / 32767 / 2
        x, y = Transformer.from_crs("EPSG:4326", "EPSG:32649", always_xy=True).transform(lon[: len(top)], lat[: len(top)])
        c, r = (np.asarray(x) - t.c) / 10 - 0.5, (t.f - np.asarray(y)) / 10 - 0.5
        on = (c > 0) & (c < 258) & (r > 0) & (r < 298)
        j, i = c[on].astype(int), r[on].astype(int)
        u, v = c[on] - j, r[on] - i
        truth = (cells[i, j] * (1 - u) + cells[i, j + 1] * u) * (1 - v) + (cells[i + 1, j] * (1 - u) + cells[i + 1, j + 1] * u) * v
        assert np.abs(truth - np.asarray(height)[: len(top)][on]).max(initial=0) < 0.01
        z = int(tile["content"]["uri"].split("/")[0])
        low = np.asarray(height)[len(top) :]
        rim = np.concatenate(mesh.edges)
        assert np.sort(low + skirt_height(z)) == pytest.approx(np.sort(mesh.lonlath[rim, 2]), abs=0.02)
    assert leaves > 30
    only = tiled(version, output="3dtiles", max_level=14)
    assert only.facts["entry"] == "tileset.json"
    assert not [name for name in only.archive.names() if name.endswith((".terrain", "layer.json"))]
    assert not check_tileset(only.path).errors
    assert not check_layer(version, lake, only.path, info=only.facts).errors


def test_skirts_cover_the_gaps_between_levels(tmp_path: Path, ingest: Ingest, tiled: Tiled) -> None:
    """Along the side of a tile, its parent's surface and a neighbour of the next coarser level are never farther away than its skirt hangs."""
    tiles = tiled(ingest(write_dem(tmp_path / "a.tif", hills(200, 200)), vertical="EGM96"), output="both")
    compared = 0
    for z, x, y in tiles.all_keys():
        if z < 9:
            continue
        child, parent = tiles.tile(z, x, y), tiles.tile(z - 1, x // 2, y // 2)
        if y % 2:
            continue
        mine, theirs = child.lonlath[child.edges[1]], parent.lonlath[parent.edges[1]]
        gap = np.abs(mine[:, 2] - np.interp(mine[:, 0], theirs[:, 0], theirs[:, 2]))
        assert gap.max() < skirt_height(z) * 2, "the finer one's skirt and the coarser one's overlap"
        compared += len(gap)
    assert compared > 1000


def test_khronos_validator(tmp_path: Path, ingest: Ingest, tiled: Tiled) -> None:
    """Zero errors and warnings in every glb of the ground."""
    script = Path(__file__).resolve().parents[2] / "viewer" / "scripts" / "validate-gltf.mjs"
    node = shutil.which("node")
    if node is None or not (script.parent.parent / "node_modules" / "gltf-validator").exists():
        pytest.skip("gltf-validator is not installed (npm ci in viewer/)")
    tiles = tiled(ingest(write_dem(tmp_path / "a.tif", hills(80, 80)), vertical="EGM96"), output="3dtiles", max_level=15)
    files = []
    for name in tiles.archive.names():
        if name.endswith(".glb"):
            file = tmp_path / name.replace("/", "-")
            file.write_bytes(tiles.archive.read(name))
            files.append(str(file))
    done = subprocess.run([node, str(script), *files], capture_output=True, text=True, check=False)
    reports = json.loads(done.stdout)
    assert len(reports) == len(files) > 10
    problems = [(r["file"], m["code"], m["message"]) for r in reports for m in r["messages"] if m["severity"] < 2]
    assert not problems, problems[:5]
