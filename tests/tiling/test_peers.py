"""Our tiles read by others: VTK (through pyvista) measures the solids, py3dtiles opens the tileset, Khronos' validator and the

reference decoder of EXT_meshopt_compression hold every packed tile against its plain twin.
"""

from __future__ import annotations

import base64
import json
import struct
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import shapely
import trimesh

from tests.ingest_gis.conftest import write_las
from tests.points.conftest import tiled as tiled  # noqa: PLC0414 - the fixture
from tiling.blocks import tiler as blocks
from tiling.meshes import tiler as meshes
from twin.lake import Lake
from twin.model import Features, Material, Mesh, Reference, Report
from twin.parts import write_version
from twin.registry import TileJob

sys.path[:0] = [str(Path(__file__).parent)]
from tiling_helpers import VALIDATOR, assert_valid, decoded, node  # noqa: E402

X, Y = 405_000.0, 2_498_000.0
COURT = shapely.Polygon([(0, 0), (40, 0), (40, 30), (0, 30)], [[(10, 10), (10, 20), (30, 20), (30, 10)]])
ANGLE = shapely.Polygon([(60, 0), (100, 0), (100, 10), (70, 10), (70, 30), (60, 30)])


@pytest.fixture
def archive(lake: Lake, tmp_path: Path) -> Path:
    outlines = [shapely.transform(shape, lambda xy: xy + np.array([X, Y])) for shape in (COURT, ANGLE)]
    features = Features(Reference("EPSG:4547"), pa.array(["court", "angle"]), np.array(outlines, object), pa.table({"height": [12.0, 30.0]}))
    version = write_version(lake, "houses", "blocks", [features], Report(source="houses"), provenance={}, style={"height": "height"})
    out = tmp_path / "houses.3tz"
    blocks.tile(version, TileJob(lake, out, blocks.Options(ground=5.0, compression="none")))
    return out


def test_vtk_finds_closed_solids_of_the_right_volume(archive: Path) -> None:
    pyvista = pytest.importorskip("pyvista")
    expected = {"court": COURT.area * 12.0, "angle": ANGLE.area * 30.0}
    for name, triangles, *_ in decoded(archive):
        corners = triangles.reshape(-1, 3)
        faces = np.insert(np.arange(len(corners)).reshape(-1, 3), 0, 3, axis=1)
        solid = pyvista.PolyData(corners - corners.mean(axis=0), faces.ravel()).clean(tolerance=1e-3, absolute=True)
        assert solid.n_open_edges == 0, name
        assert solid.is_manifold, name
        # a square metre of the zone's grid is 1 + 2.2e-4 of one on the ground there
        assert solid.volume == pytest.approx(expected[name], rel=1e-3), name


def test_py3dtiles_opens_the_tileset(archive: Path, tmp_path: Path) -> None:
    pytest.importorskip("py3dtiles")
    from py3dtiles.tileset import TileSet
    from py3dtiles.tileset.content.gltf import Gltf

    with zipfile.ZipFile(archive) as file:
        file.extractall(tmp_path / "tiles")
    tileset = TileSet.from_file(tmp_path / "tiles" / "tileset.json")
    tiles = [tile for tile in (tileset.root_tile, *tileset.root_tile.get_all_children()) if tile.has_content()]
    contents = [tile.get_or_fetch_content(tmp_path / "tiles") for tile in tiles]
    assert contents
    assert all(isinstance(content, Gltf) for content in contents)
    assert sum(content.get_vertex_count() for content in contents) > 50


# --- packed tiles and their plain twins ------------------------------------------------------------------------------

DECODER = VALIDATOR.parent / "meshoptimizer" / "meshopt_decoder.cjs"
KINDS = {5120: "i1", 5121: "u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4}
UNPACK = """
const d = [require(process.argv[1])].map((m) => m.MeshoptDecoder || m)[0], fs = require("fs");
d.ready.then(() => { const all = [];
  for (const f of process.argv.slice(2)) {
    const file = fs.readFileSync(f), n = file.readUInt32LE(12), json = JSON.parse(file.subarray(20, 20 + n)), bin = file.subarray(28 + n), out = {};
    (json.bufferViews || []).forEach((v, i) => { const e = (v.extensions || {}).EXT_meshopt_compression; if (!e) return;
      const target = new Uint8Array(e.count * e.byteStride), start = e.byteOffset || 0;
      d.decodeGltfBuffer(target, e.count, e.byteStride, bin.subarray(start, start + e.byteLength), e.mode, e.filter);
      out[i] = Buffer.from(target).toString("base64"); });
    all.push(out); }
  console.log(JSON.stringify(all)); });
"""


def columns(data: bytes, unpacked: dict[str, str]) -> dict[str, np.ndarray]:
    """Every accessor that a primitive draws from, decoded by this test; indices turned so that each triangle's smallest comes first."""
    (length,) = struct.unpack_from("<I", data, 12)
    document, body = json.loads(data[20 : 20 + length]), data[28 + length :]

    def read(index: int) -> np.ndarray:
        a = document["accessors"][index]
        view, kind, width = document["bufferViews"][a["bufferView"]], np.dtype(KINDS[a["componentType"]]), WIDTHS[a["type"]]
        raw = base64.b64decode(unpacked[str(a["bufferView"])]) if str(a["bufferView"]) in unpacked else body[view.get("byteOffset", 0) :][: view["byteLength"]]
        size = kind.itemsize * width
        stride = view.get("byteStride", size)
        rows = [raw[a.get("byteOffset", 0) + k * stride :][:size] for k in range(a["count"])]
        return np.frombuffer(b"".join(rows), kind).reshape(-1, width)

    found = {}
    for m, mesh in enumerate(document["meshes"]):
        for p, primitive in enumerate(mesh["primitives"]):
            for name, index in primitive["attributes"].items():
                found[f"{m}/{p}/{name}"] = read(index)
            if "indices" in primitive:
                triangles = read(primitive["indices"]).astype(np.int64).reshape(-1, 3)
                first = triangles.argmin(axis=1)
                found[f"{m}/{p}/indices"] = np.take_along_axis(triangles, (first[:, None] + np.arange(3)) % 3, axis=1)
    return found


def hold(packed: Path, plain: Path, tmp_path: Path) -> int:
    """Every tile of two archives of one layer: both valid by Khronos, and the same numbers by the reference decoder; how many were packed."""
    if not DECODER.is_file():
        pytest.skip("viewer/node_modules/meshoptimizer is absent: run npm ci in viewer/")
    with zipfile.ZipFile(packed) as a, zipfile.ZipFile(plain) as b:
        names = [n for n in a.namelist() if n.endswith(".glb")]
        assert sorted(names) == sorted(n for n in b.namelist() if n.endswith(".glb"))
        mine, twin = [a.read(n) for n in names], [b.read(n) for n in names]
    assert_valid(*mine, *twin)
    assert not any(b"EXT_meshopt_compression" in data for data in twin)
    files = []
    for i, data in enumerate(mine):
        files.append(tmp_path / f"{packed.stem}-{i}.glb")
        files[-1].write_bytes(data)
    done = subprocess.run([node(), "-e", UNPACK, str(DECODER), *map(str, files)], capture_output=True, text=True, check=True)
    views = json.loads(done.stdout)
    for name, one, other, unpacked in zip(names, mine, twin, views, strict=True):
        left, right = columns(one, unpacked), columns(other, {})
        assert left.keys() == right.keys(), name
        for key, column in left.items():
            assert np.array_equal(column, right[key]), f"{name} {key}"
    return sum(map(bool, views))


def test_packed_blocks_and_their_plain_twins(lake: Lake, tmp_path: Path) -> None:
    rng = np.random.default_rng(6)
    xy = rng.uniform(-1500, 1500, (1500, 2)) + np.array([X, Y])
    shapes = [shapely.affinity.rotate(shapely.box(x, y, x + 20, y + 12), float(a)) for (x, y), a in zip(xy, rng.uniform(0, 90, 1500), strict=True)]
    batch = Features(Reference("EPSG:4547"), pa.array([f"b{i}" for i in range(1500)]), np.array(shapes, object), pa.table({"height": rng.uniform(3, 60, 1500)}))
    version = write_version(lake, "b", "blocks", [batch], Report("b"), provenance={}, style={"height": "height"})
    for subdivision in ("explicit", "implicit"):
        outs = [tmp_path / f"{subdivision}-{c}.3tz" for c in ("meshopt", "none")]
        for out, compression in zip(outs, ("meshopt", "none"), strict=True):
            blocks.tile(version, TileJob(lake, out, blocks.Options(ground=5.0, budget=8000, subdivision=subdivision, compression=compression)))
        assert hold(outs[0], outs[1], tmp_path) > 0


def test_packed_meshes_and_their_plain_twins(lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meshes, "PACKED", 0)
    shape = trimesh.creation.icosphere(4, 2.0)
    count = 40
    places = np.tile(np.eye(4), (count, 1, 1))
    places[:, :3, 3] = np.random.default_rng(5).uniform(0, 90, (count, 3)) + np.array([X, Y, 12])
    mesh = Mesh(Reference("EPSG:4547", "EPSG:4979"), pa.array([f"e{i}" for i in range(count)]), pa.table({"n": list(range(count))}), shape.vertices,
                shape.faces.astype(np.int32), np.zeros(len(shape.faces), np.int32), np.array([0, len(shape.vertices)]), np.array([0, len(shape.faces)]),
                np.zeros(count, np.int32), np.arange(count, dtype=np.int32), places, (Material("m"),))  # fmt: skip
    version = write_version(lake, "m", "mesh", [mesh], Report("m"), provenance={})
    for name in ("meshopt", "none"):
        meshes.tile(version, TileJob(lake, tmp_path / f"m-{name}.3tz", meshes.Options(budget=40_000, compression=name)))
    assert hold(tmp_path / "m-meshopt.3tz", tmp_path / "m-none.3tz", tmp_path) > 0


def test_packed_points_and_their_plain_twins(tmp_path: Path, tiled: Any) -> None:
    path = write_las(tmp_path / "c.las", 60_000)
    packed, plain = (tiled(path, {"crs": "EPSG:32650", "vertical": "EGM96"}, points_per_tile=4_000, compression=c, name=c) for c in ("meshopt", "none"))
    assert hold(packed.path, plain.path, tmp_path) > 0
