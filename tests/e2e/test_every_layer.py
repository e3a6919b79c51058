"""Every kind of tileset that the product makes, through three clients that share no code with it (3d-tiles-renderer, CesiumJS, py3dtiles) and Khronos' validator.

The clients read from the API of a served city, and 3D Tiles 1.0 from folders.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.e2e import every_layer
from tests.e2e.conftest import Served, served_city
from tests.e2e.test_instances import SCENE, bundle, hosted
from tests.e2e.test_three import three
from tiling import tree_documents
from tiling.blocks import pieces
from tiling.meshes import tiler as mesh
from twin import exporting, tasks
from twin.city import City

sys.path[:0] = [str(Path(__file__).parents[1] / "tiling")]
from tiling_helpers import VALIDATOR, node  # noqa: E402

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600), pytest.mark.xdist_group("browser")]
LAYERS = ("terrain", "buildings", "blocks-implicit", "cloud", "cloud-implicit", "model", "trees", "domes", "houses", "houses-implicit", "houses-plain", "theirs", "flood-buildings")
OLD = ("buildings", "cloud", "model", "trees", "domes", "houses", "flood-buildings")


@pytest.fixture(scope="module")
def city(tmp_path_factory: pytest.TempPathFactory, small_city: Any) -> Iterator[tuple[City, Served]]:
    """The layers of `every_layer`, cut into documents and archives as those of a large city are; and a scenario's result."""
    folder = tmp_path_factory.mktemp("every")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pieces, "LEAST", 256)
        patch.setattr(mesh, "PACKED", 0)
        patch.setattr(tree_documents, "SMALL", 6)
        patch.setattr(tree_documents, "MOST", 8)
        with served_city(folder, every_layer.jobs(small_city, folder)) as (city, server):
            params = {"terrain": "terrain", "level": 23.0, "source": "river", "buildings": "buildings"}
            tasks.require(tasks.work(city, tasks.submit(city, "run", {"scenario": "inundation", "inputs": params, "name": "flood"}), None))
            yield city, server


@pytest.fixture(scope="module")
def folders(city: tuple[City, Served], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every layer's tiles in a folder of its name, and in `old/` as 3D Tiles 1.0."""
    out = tmp_path_factory.mktemp("folders")
    for layer in LAYERS:
        exporting.export(city[0], layer, out / layer)
    for layer in OLD:
        exporting.export(city[0], layer, out / "old" / layer, form="3dtiles-1.0")
    return out


def documents(folder: Path) -> int:
    return len(list(folder.rglob("tileset*.json")))


def test_each_is_of_the_kind_that_is_meant(folders: Path) -> None:
    """Else the tests below would hold less than they say."""
    assert all(documents(folders / layer) > 1 for layer in ("buildings", "cloud", "domes"))
    assert all(list((folders / layer).rglob("*.subtree")) for layer in LAYERS if layer.endswith("-implicit"))
    glbs = {layer: b"".join(f.read_bytes() for f in (folders / layer).rglob("*.glb")) for layer in LAYERS}
    for name, layers in {"mesh_gpu_instancing": ("trees",), "texture_webp": ("houses",), "meshopt_compression": ("buildings", "cloud", "domes", "trees")}.items():
        assert all(f"EXT_{name}".encode() in glbs[layer] for layer in layers), name
    assert {f.suffix for layer in OLD for f in (folders / "old" / layer).rglob("*.*")} == {".json", ".b3dm", ".pnts"}


# --- Khronos' validator ----------------------------------------------------------------------------------------------

PLAIN = """
const [v, m, ...files] = [require(process.argv[1]), require(process.argv[2]), ...JSON.parse(require("fs").readFileSync(0))], d = m.MeshoptDecoder || m;
const fs = require("fs"), NAME = "EXT_meshopt_compression";
function glb(file) {  // of a b3dm: the glb within
  const f = fs.readFileSync(file);
  return f.toString("latin1", 0, 4) === "b3dm" ? f.subarray(28 + [12, 16, 20, 24].reduce((sum, at) => sum + f.readUInt32LE(at), 0)) : f; }
function twin(f) {  // the same file without compression, by the reference decoder; null where nothing is compressed
  const n = f.readUInt32LE(12), json = JSON.parse(f.subarray(20, 20 + n)), bin = f.subarray(28 + n), parts = [];
  if (!(json.extensionsUsed || []).includes(NAME)) return null;
  let at = 0;
  for (const view of json.bufferViews) {
    const e = (view.extensions || {})[NAME];
    let bytes = bin.subarray(view.byteOffset || 0, (view.byteOffset || 0) + view.byteLength);
    if (e) { bytes = new Uint8Array(e.count * e.byteStride);
      d.decodeGltfBuffer(bytes, e.count, e.byteStride, bin.subarray(e.byteOffset || 0, (e.byteOffset || 0) + e.byteLength), e.mode, e.filter);
      delete view.extensions[NAME]; if (!Object.keys(view.extensions).length) delete view.extensions; }
    view.buffer = 0; view.byteOffset = at; view.byteLength = bytes.length; parts.push(Buffer.from(bytes), Buffer.alloc((8 - (bytes.length % 8)) % 8));
    at += bytes.length + (8 - (bytes.length % 8)) % 8; }
  json.buffers = [{byteLength: at}];
  for (const key of ["extensionsUsed", "extensionsRequired"]) { json[key] = (json[key] || []).filter(x => x !== NAME); if (!json[key].length) delete json[key]; }
  const text = Buffer.from(JSON.stringify(json)), told = Buffer.concat([text, Buffer.alloc((4 - (text.length % 4)) % 4, 32)]), head = Buffer.alloc(20), next = Buffer.alloc(8);
  head.write("glTF"); head.writeUInt32LE(2, 4); head.writeUInt32LE(28 + told.length + at, 8); head.writeUInt32LE(told.length, 12); head.write("JSON", 16);
  next.writeUInt32LE(at, 0); next.write("BIN\\0", 4, "latin1");
  return Buffer.concat([head, told, next, ...parts]); }
(async () => { await d.ready; const out = [];
  for (const file of files) { const one = glb(file), plain = twin(one);
    for (const f of plain ? [one, plain] : [one]) { const r = await v.validateBytes(new Uint8Array(f), {maxIssues: 50});
      out.push({file, plain: f === plain, found: r.issues.numErrors + r.issues.numWarnings, messages: r.issues.messages.filter(x => x.severity < 2)}); } }
  console.log(JSON.stringify(out)); })();
"""


def test_every_content_and_its_uncompressed_twin_are_valid(folders: Path) -> None:
    """The validator does not look inside meshopt, so each compressed file is judged once more as the reference decoder writes it."""
    if not VALIDATOR.exists():
        pytest.skip("viewer/node_modules/gltf-validator is absent: run npm ci in viewer/")
    files = [str(f) for f in sorted(folders.rglob("*")) if f.suffix in (".glb", ".b3dm") and "theirs" not in f.parts]
    decoder = VALIDATOR.parent / "meshoptimizer" / "meshopt_decoder.cjs"
    done = subprocess.run([node(), "-e", PLAIN, str(VALIDATOR), str(decoder)], input=json.dumps(files), capture_output=True, text=True, check=True, timeout=300)
    verdicts = json.loads(done.stdout)
    assert sum(not v["plain"] for v in verdicts) == len(files) > 100
    assert sum(v["plain"] for v in verdicts) > 20
    assert not [v for v in verdicts if v["found"]][:3]


# --- 3d-tiles-renderer -----------------------------------------------------------------------------------------------

Boxes = dict[str, Any]


@pytest.fixture(scope="module")
def seen(browser: Any, city: tuple[City, Served], folders: Path) -> dict[str, Boxes]:
    """What 3d-tiles-renderer draws of each layer at its finest: features by id, with rows and boxes (ECEF); under `old/` of the 3D Tiles 1.0."""
    found = {}
    with three(browser, folders) as page:
        for layer in LAYERS:
            found[layer] = page.load(f"{city[1].url}/tiles3d/{layer}/tileset.json")
        for layer in OLD:
            found[f"old/{layer}"] = page.load(f"old/{layer}")
    return found


def same(one: Boxes, other: Boxes) -> None:
    """The same features in the same places, within what two encodings may differ by."""
    assert one["features"].keys() == other["features"].keys()
    for name, feature in one["features"].items():
        for side in ("low", "high"):
            assert np.allclose(feature[side], other["features"][name][side], rtol=0, atol=0.002), name


def test_three_loads_everything(seen: dict[str, Boxes], folders: Path) -> None:
    for name, result in seen.items():
        assert result["errors"] == [], name
        contents = sum(f.suffix in (".glb", ".b3dm", ".pnts") for f in (folders / name).rglob("*"))
        assert result["loaded"] == contents, name
        assert result["shown"] and result["features"], name


def test_three_draws_the_same_however_it_is_written(seen: dict[str, Boxes]) -> None:
    same(seen["buildings"], seen["blocks-implicit"])
    same(seen["houses"], seen["houses-implicit"])
    same(seen["houses"], seen["houses-plain"])
    for layer in set(OLD) - {"cloud"}:
        same(seen[layer], seen[f"old/{layer}"])
    for layer in ("cloud", "cloud-implicit", "old/cloud"):
        assert sum(feature["vertices"] for feature in seen[layer]["features"].values()) == every_layer.POINTS


def test_three_reads_every_feature(seen: dict[str, Boxes], small_city: Any) -> None:
    ids = {layer: set(result["features"]) for layer, result in seen.items()}
    blocks = {block.id: block for block in small_city.buildings()}
    assert ids["buildings"] == set(blocks) > ids["flood-buildings"] > set()
    assert {name: (row["row"]["name"], row["row"]["height"]) for name, row in seen["buildings"]["features"].items()} == {b.id: (b.name, b.height) for b in blocks.values()}
    assert all(feature["row"]["flood_depth"] > 0 for feature in seen["flood-buildings"]["features"].values())
    assert ids["trees"] == {f"tree-{i}" for i in range(every_layer.TREES)}
    assert ids["domes"] == {f"dome-{i}" for i in range(every_layer.DOMES)}
    assert ids["houses"] == {f"h{i}#{k}" for i in range(every_layer.HOUSES) for k in range(6)}
    assert {feature["row"]["classification"] for feature in seen["cloud"]["features"].values()} == {2, 5, 6}


def test_three_finds_the_trees_where_they_stand(seen: dict[str, Boxes]) -> None:
    """Distances from the first, on the ground: the grid's (a metre of it is 1.0002 of the ground's at most there)."""
    features = seen["trees"]["features"]
    middle = np.array([np.add(features[f"tree-{i}"]["low"], features[f"tree-{i}"]["high"]) / 2 for i in range(every_layer.TREES)])
    found, told = (np.linalg.norm(at - at[0], axis=1) for at in (middle, every_layer.grove()))
    assert np.allclose(found, told, rtol=5e-4, atol=0.02)


def test_three_and_the_ground(seen: dict[str, Boxes], small_city: Any) -> None:
    """The terrain's triangles reach as far as its raster does."""
    (ground,) = seen["terrain"]["features"].values()
    assert np.linalg.norm(np.subtract(ground["high"], ground["low"])) > np.hypot(small_city.WIDTH, small_city.DEPTH)


# --- CesiumJS --------------------------------------------------------------------------------------------------------

USED = "CesiumWidget, Cesium3DTileset, Color, Cartesian2, Matrix4, HeadingPitchRange"
PAGE = SCENE + """  const plain = x => typeof x === "bigint" ? x.toString() : x;
  window.load = async url => {
    const failed = [], t = await Cesium.Cesium3DTileset.fromUrl(url, {maximumScreenSpaceError: 0.01, dynamicScreenSpaceError: false, foveatedScreenSpaceError: false});
    t.tileFailed.addEventListener(e => failed.push(e.url + ": " + e.message)); v.scene.primitives.add(t);
    let seen = new Map(); t.tileVisible.addEventListener(tile => seen.set(tile.content.url, tile.content));
    v.camera.viewBoundingSphere(t.boundingSphere, new Cesium.HeadingPitchRange(0.4, -1.3, t.boundingSphere.radius * 3)); v.camera.lookAtTransform(Cesium.Matrix4.IDENTITY);
    let calm = 0;
    await new Promise(done => { const remove = v.scene.postRender.addEventListener(() => {
      calm = t.tilesLoaded ? calm + 1 : 0; if (calm === 3) seen = new Map(); if (calm > 5) { remove(); done(); } }); });
    const features = {};
    for (const c of seen.values()) for (let i = 0; i < c.featuresLength; i += 1) { const f = c.getFeature(i);
      features[f.getProperty("id") ?? c.url + i] = Object.fromEntries(f.getPropertyIds().map(k => [k, plain(f.getProperty(k))])); }
    const gl = v.scene.context._gl, [w, h] = [gl.drawingBufferWidth, gl.drawingBufferHeight], pixels = new Uint8Array(4 * w * h);
    gl.readPixels(0, 0, w, h, gl.RGBA, gl.UNSIGNED_BYTE, pixels);
    let drawn = 0, picked = null, tried = 0;
    for (let k = 0; k < w * h; k += 1) if (pixels[4 * k] + pixels[4 * k + 1] + pixels[4 * k + 2] > 30) { drawn += 1;
      if (drawn % 97 === 1 && !picked && tried++ < 20) { const f = v.scene.pick(new Cesium.Cartesian2((k % w) * v.canvas.clientWidth / w, (h - 1 - Math.floor(k / w)) * v.canvas.clientHeight / h));
        picked = f && f.getProperty ? f.getProperty("id") ?? f.getProperty("classification") ?? null : null; } }
    const group = t.metadataExtension && t.metadataExtension.groups[0];
    v.scene.primitives.remove(t);
    return {failed, contents: seen.size, features, drawn: drawn / (w * h), picked, group: group ? group.getProperty("group") : null}; };
  window.ready = true;
})().catch(e => { window.broken = String(e && e.stack || e); });
</script>"""


@pytest.fixture(scope="module")
def drawn(browser: Any, city: tuple[City, Served], folders: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """What CesiumJS draws of each layer, seen from above at its finest; under `old/` of the 3D Tiles 1.0."""
    site = tmp_path_factory.mktemp("cesium")
    bundle(site, USED)
    (site / "index.html").write_text(PAGE)
    (site / "old").symlink_to(folders / "old")
    with hosted(site) as address:
        page = browser.new_page(viewport={"width": 400, "height": 400})
        page.set_default_timeout(240_000)
        page.goto(address)
        page.wait_for_function("() => window.ready || window.broken")
        assert page.evaluate("() => window.broken") is None
        urls = {layer: f"{city[1].url}/tiles3d/{layer}/tileset.json" for layer in LAYERS} | {f"old/{layer}": f"/old/{layer}/tileset.json" for layer in OLD}
        yield {name: page.evaluate("url => load(url)", url) for name, url in urls.items()}
        page.close()


def test_cesium_draws_everything(drawn: dict[str, Any]) -> None:
    for name, result in drawn.items():
        assert result["failed"] == [], name
        assert result["drawn"] > 5e-4, name
        assert name.startswith("old/") or result["group"] == ("公共专题" if name == "flood-buildings" else None if name == "theirs" else "时空基础"), name


def test_cesium_reads_and_picks_every_feature(drawn: dict[str, Any], seen: dict[str, Boxes]) -> None:
    """The ids that 3d-tiles-renderer finds, with the values that it reads; of a missing value Cesium says nothing."""
    for name, result in drawn.items():
        if "cloud" in name:  # three classes a content; 1.0 has them as columns
            assert name == "old/cloud" or {f["classification"] for f in result["features"].values()} == {2, 5, 6}
            assert name == "old/cloud" or result["picked"] in (2, 5, 6)
        elif name not in ("terrain", "theirs"):  # they have no features
            assert result["features"].keys() == seen[name]["features"].keys(), name
            assert result["picked"] in result["features"], name
            for feature, row in result["features"].items():
                other = seen[name]["features"][feature]["row"]
                assert all(value is None or other[key] == value for key, value in row.items()), (name, feature)


# --- py3dtiles -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layer", [*(layer for layer in LAYERS if not layer.endswith("-implicit")), *(f"old/{layer}" for layer in OLD)])
def test_py3dtiles(folders: Path, layer: str) -> None:
    """It reads every tile, those in documents of their own, too; it does not know implicit tiling."""
    tileset = pytest.importorskip("py3dtiles.tileset.tileset").TileSet
    vertices, queue, read = 0, [folders / layer / "tileset.json"], 0
    while queue:
        path = queue.pop()
        opened = tileset.from_file(path)
        for tile in (opened.root_tile, *opened.root_tile.get_all_children()):
            if not tile.has_content():
                continue
            content = tile.get_or_fetch_content(path.parent)
            if isinstance(content, tileset):
                queue.append(path.parent / tile.content_uri)
            else:
                read += 1
                vertices += content.get_vertex_count()
    assert read == sum(f.suffix in (".glb", ".b3dm", ".pnts") for f in (folders / layer).rglob("*"))
    assert vertices > 0
