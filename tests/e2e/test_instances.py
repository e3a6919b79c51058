"""CesiumJS on its own, without our viewer: GPU instances are drawn, also as 3D Tiles 1.0, and a click tells the feature's values; a terrain is found by its metadata alone."""

from __future__ import annotations

import functools
import http.server
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from ingest_gis import terrain as terrain_reader
from tiling.legacy import converter as legacy
from tiling.terrain import tiler as terrain
from twin.archive import Archive
from twin.ground import Ground
from twin.lake import Lake
from twin.model import Layer, Report
from twin.parts import write_version
from twin.registry import TileJob

sys.path[:0] = [str(Path(__file__).resolve().parents[1] / name) for name in ("tiling", "terrain")]
from tiling_helpers import node  # noqa: E402

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600), pytest.mark.xdist_group("browser")]
VIEWER = Path(__file__).resolve().parents[2] / "viewer"
ENGINE = VIEWER / "node_modules" / "@cesium" / "engine"
USED = "CesiumWidget, Cesium3DTileset, Color, Cartesian2, Cartesian3, HeadingPitchRange, Matrix4, CesiumTerrainProvider, Cartographic, sampleTerrainMostDetailed"
SCENE = """<!doctype html><script>window.CESIUM_BASE_URL = "/cesium/";</script>
<style>html,body,#c{margin:0;width:100%;height:100%}</style><div id="c"></div><script type="module">import * as Cesium from "/Cesium.js";
(async () => {
  const v = new Cesium.CesiumWidget("c", {baseLayer: false, contextOptions: {webgl: {preserveDrawingBuffer: true}}});
  for (const part of ["globe", "skyAtmosphere", "skyBox", "sun", "moon"]) if (v.scene[part]) v.scene[part].show = false;
  v.scene.backgroundColor = Cesium.Color.BLACK; v.scene.fog.enabled = false;
"""
"""A page with nothing in its scene; what a test does there follows, and the end of the function."""
PAGE = SCENE + """  let t; window.failed = [];
  window.load = async url => { if (t) v.scene.primitives.remove(t);
    t = await Cesium.Cesium3DTileset.fromUrl(url); v.scene.primitives.add(t); t.tileFailed.addEventListener(e => window.failed.push(e.message)); };
  await window.load("/tiles/tileset.json");
  window.look = (x, y, z, up) => new Promise(done => { const target = new Cesium.Cartesian3(x, y, z);
    v.camera.lookAt(target, new Cesium.HeadingPitchRange(0.4, up, 14)); v.camera.lookAtTransform(Cesium.Matrix4.IDENTITY);
    let calm = 0; const remove = v.scene.postRender.addEventListener(() => { calm = t.tilesLoaded ? calm + 1 : 0; if (calm > 3) { remove(); done(); } }); });
  window.pick = () => { const f = v.scene.pick(new Cesium.Cartesian2(v.canvas.clientWidth / 2, v.canvas.clientHeight / 2));
    return f && f.getProperty ? Object.fromEntries(["id", "height", "tags", "three", "flags"].map(k => [k, f.getProperty(k)])) : null; };
  window.terrain = async places => { const provider = await Cesium.CesiumTerrainProvider.fromUrl("/ground", {requestVertexNormals: true});
    const at = places.map(([lon, lat]) => Cesium.Cartographic.fromDegrees(lon, lat));
    const deepest = () => at.map(p => provider.availability.computeMaximumLevelAtPosition(p));
    const before = deepest(); await Cesium.sampleTerrainMostDetailed(provider, at);
    return {before, after: deepest(), heights: at.map(p => p.height), normals: provider.hasVertexNormals}; };
  window.ground = async places => { const g = await Cesium.Cesium3DTileset.fromUrl("/ground/tileset.json"); v.scene.primitives.add(g);
    g.tileFailed.addEventListener(e => window.failed.push(e.message));
    const at = places.map(([lon, lat]) => Cesium.Cartographic.fromDegrees(lon, lat)); await v.scene.sampleHeightMostDetailed(at);
    const group = g.metadataExtension.groups[0]; return {heights: at.map(p => p.height), grade: group.getProperty("grade"), group: group.getProperty("group")}; };
  window.ready = true;
})().catch(e => { window.broken = String(e && e.stack || e); });
</script>"""


def unpack(archive: Path, folder: Path) -> None:
    with Archive(archive) as opened:
        for name in opened.names():
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(opened.read(name))


def bundle(site: Path, names: str) -> None:
    """CesiumJS in a folder: these of its names in `Cesium.js`, and beside it under `cesium/` what it loads later."""
    if not ENGINE.exists():
        pytest.skip("viewer/node_modules/@cesium is absent: run npm ci in viewer/")
    (site / "cesium").mkdir(parents=True)
    for name, at in {"Assets": "Source/Assets", "Workers": "Build/Workers", "ThirdParty": "Build/ThirdParty"}.items():
        (site / "cesium" / name).symlink_to(ENGINE / at)
    entry = VIEWER / "node_modules" / f".entry-{os.getpid()}.js"  # beside the packages, so that the bundler finds them
    try:
        entry.write_text(f'export {{ {names} }} from "@cesium/engine";')
        bundler = [node(), str(VIEWER / "node_modules" / "rolldown" / "bin" / "cli.mjs"), str(entry), "--format", "esm", "--platform", "browser"]
        subprocess.run([*bundler, "--file", str(site / "Cesium.js")], check=True, capture_output=True, timeout=300)
    finally:
        entry.unlink(missing_ok=True)


@contextmanager
def hosted(site: Path) -> Iterator[str]:
    """The address under which a folder is served."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(site))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def write_ground(folder: Path, lake: Lake) -> tuple[Ground, float]:
    """Hills as a terrain and as 3D Tiles; the ground itself, and the largest error that was measured on its finest level."""
    from terrain_helpers import hills, write_dem

    report = Report(source="hills")
    heights = terrain_reader.read(write_dem(folder / "hills.tif", hills(90, 90)), terrain_reader.Options(vertical="EGM96"), report)
    version = write_version(lake, "ground", "terrain", heights, report, provenance={})
    about = Layer("ground", "terrain", {"zh": "地形"}, group="时空基础", grade="CIM1")
    facts = terrain.tile(version, TileJob(lake, folder / "ground.3tz", terrain.Options(output="both"), about=about))
    unpack(folder / "ground.3tz", folder / "site" / "ground")
    return Ground.of(lake, version), facts["stats"]["levels"][-1]["dem_error"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the site of all tests here lies."""
    return tmp_path_factory.mktemp("cesium")


@pytest.fixture(scope="module")
def site(folder: Path) -> Iterator[str]:
    """A folder with the page, CesiumJS and a tileset of trees, served."""
    tmp_path = folder
    from test_instancing import orchard
    from test_mesh import run
    lake = Lake(tmp_path / "lake")
    lists = {"tags": pa.array([*([["树", str(i)][: i % 3] for i in range(60)]), None]), "flags": pa.array([*([[i % 2 == 0] for i in range(60)]), None]),
             "three": pa.array([*([[i, 0.5, -i] for i in range(60)]), None], pa.list_(pa.float64(), 3))}  # fmt: skip
    whole, _ = orchard(60, height=[float(i) for i in range(60)] + [None], **lists)
    run(lake, whole, budget=500_000)
    unpack(lake.root / "out.3tz", tmp_path / "site" / "tiles")
    with Archive(lake.root / "out.3tz") as archive:
        legacy.convert(archive, tmp_path / "site" / "old")
    bundle(tmp_path / "site", USED)
    (tmp_path / "site" / "index.html").write_text(PAGE)
    with hosted(tmp_path / "site") as address:
        yield address


def opened(browser: Any, site: str) -> Any:
    page = browser.new_page(viewport={"width": 480, "height": 360})
    page.set_default_timeout(240_000)
    page.goto(site)
    page.wait_for_function("() => window.ready || window.broken")
    assert page.evaluate("() => window.broken") is None
    return page


def test_cesium_draws_and_picks_instances(browser: Any, site: str, folder: Path, pictures: Path) -> None:
    from tiling_helpers import tree

    page = opened(browser, site)
    (tile,) = tree(folder / "lake" / "out.3tz")
    rows = {d[0]: d for d in tile["drawn"]}
    for number, form in ((3, "tiles"), (41, "tiles"), (41, "old")):
        page.evaluate("url => window.load(url)", f"/{form}/tileset.json")
        middle = rows[f"树{number}"][1].reshape(-1, 3)
        up = middle[np.argmax(middle @ (middle.mean(axis=0) / np.linalg.norm(middle.mean(axis=0))))]  # the top of the crown
        page.evaluate("([x, y, z]) => window.look(x, y, z, -0.9)", (0.3 * middle.mean(axis=0) + 0.7 * up).tolist())
        page.screenshot(path=str(pictures / f"instance-{number}.png"))
        assert page.evaluate("() => window.failed") == []
        assert page.evaluate("() => window.pick()") == {
            "id": f"树{number}", "height": float(number), "tags": ["树", str(number)][: number % 3], "three": [number, 0.5, -number], "flags": [number % 2 == 0]}  # fmt: skip
        picture = np.asarray(Image.open(pictures / f"instance-{number}.png").convert("RGB"), np.int16)
        assert (picture.max(axis=2) > 40).mean() > 0.05, "nothing is drawn"
    page.close()


def test_cesium_finds_the_terrain_by_its_metadata(browser: Any, site: str, folder: Path) -> None:
    """Which tiles there are it learns from tiles alone (levels 0 and 10), and reads the heights of the raster; as 3D Tiles the same ground is drawn."""
    ground, error = write_ground(folder, Lake(folder / "lake"))
    page = opened(browser, site)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    rng = np.random.default_rng(4)
    places = np.column_stack([rng.uniform(113.002, 113.016, 12), rng.uniform(22.584, 22.598, 12)])
    truth = ground.ellipsoidal(places[:, 0], places[:, 1])
    finest = max(int(path.name) for path in (folder / "site" / "ground").iterdir() if path.is_dir())
    found = page.evaluate("places => window.terrain(places)", places.tolist())
    assert finest > 10
    assert max(found["before"]) < finest
    assert set(found["after"]) == {finest}
    assert found["normals"]
    levels = {int(url.split("/ground/")[1].split("/")[0]) for url in asked if url.endswith(".terrain")}
    assert {10, finest} <= levels <= {0, 10, finest}, "asked for tiles with metadata, then for the finest"
    assert np.abs(np.array(found["heights"]) - truth).max() < error + 0.05
    solid = page.evaluate("places => window.ground(places)", places[:4].tolist())
    assert page.evaluate("() => window.failed") == []
    assert (solid["grade"], solid["group"]) == ("CIM1", "时空基础")
    assert np.abs(np.array(solid["heights"], float) - truth[:4]).max() < error + 0.3, "read from the depth that was drawn"
    page.close()
