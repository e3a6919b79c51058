"""CesiumJS on its own, without our viewer: GPU instances of a mesh layer are drawn, and a click names the feature."""

from __future__ import annotations

import functools
import http.server
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from twin.archive import Archive
from twin.lake import Lake

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tiling"))
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600), pytest.mark.xdist_group("browser")]
VIEWER = Path(__file__).resolve().parents[2] / "viewer"
ENGINE = VIEWER / "node_modules" / "@cesium" / "engine"
USED = "CesiumWidget, Cesium3DTileset, Color, Cartesian2, Cartesian3, HeadingPitchRange, Matrix4"
PAGE = """<!doctype html><script>window.CESIUM_BASE_URL = "/cesium/";</script>
<style>html,body,#c{margin:0;width:100%;height:100%}</style><div id="c"></div><script type="module">import * as Cesium from "/Cesium.js";
(async () => {
  const v = new Cesium.CesiumWidget("c", {baseLayer: false, contextOptions: {webgl: {preserveDrawingBuffer: true}}});
  for (const part of ["globe", "skyAtmosphere", "skyBox", "sun", "moon"]) if (v.scene[part]) v.scene[part].show = false;
  v.scene.backgroundColor = Cesium.Color.BLACK; v.scene.fog.enabled = false;
  const t = await Cesium.Cesium3DTileset.fromUrl("/tiles/tileset.json"); v.scene.primitives.add(t);
  window.failed = []; t.tileFailed.addEventListener(e => window.failed.push(e.message));
  window.look = (x, y, z, up) => new Promise(done => { const target = new Cesium.Cartesian3(x, y, z);
    v.camera.lookAt(target, new Cesium.HeadingPitchRange(0.4, up, 14)); v.camera.lookAtTransform(Cesium.Matrix4.IDENTITY);
    let calm = 0; const remove = v.scene.postRender.addEventListener(() => { calm = t.tilesLoaded ? calm + 1 : 0; if (calm > 3) { remove(); done(); } }); });
  window.pick = () => { const f = v.scene.pick(new Cesium.Cartesian2(v.canvas.clientWidth / 2, v.canvas.clientHeight / 2));
    return f && f.getProperty ? {id: f.getProperty("id"), height: f.getProperty("height")} : null; };
  window.ready = true;
})().catch(e => { window.broken = String(e && e.stack || e); });
</script>"""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[str]:
    """A folder with the page, CesiumJS and a tileset of trees, served."""
    if not ENGINE.exists():
        pytest.skip("viewer/node_modules/@cesium is absent: run npm ci in viewer/")
    from test_instancing import orchard
    from test_mesh import run
    from tiling_helpers import node

    lake = Lake(tmp_path / "lake")
    whole, _ = orchard(60, height=[float(i) for i in range(60)] + [None])
    run(lake, whole, budget=500_000)
    with Archive(lake.root / "out.3tz") as archive:
        for name in archive.names():
            target = tmp_path / "site" / "tiles" / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(archive.read(name))
    for name, folder in {"Assets": "Source/Assets", "Workers": "Build/Workers", "ThirdParty": "Build/ThirdParty"}.items():
        (tmp_path / "site" / "cesium").mkdir(exist_ok=True)
        (tmp_path / "site" / "cesium" / name).symlink_to(ENGINE / folder)
    entry = VIEWER / "node_modules" / f".entry-{os.getpid()}.js"  # beside the packages, so that the bundler finds them
    try:
        entry.write_text(f'export {{ {USED} }} from "@cesium/engine";')
        bundler = [node(), str(VIEWER / "node_modules" / "rolldown" / "bin" / "cli.mjs"), str(entry), "--format", "esm", "--platform", "browser"]
        subprocess.run([*bundler, "--file", str(tmp_path / "site" / "Cesium.js")], check=True, capture_output=True, timeout=300)
    finally:
        entry.unlink(missing_ok=True)
    (tmp_path / "site" / "index.html").write_text(PAGE)
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path / "site"))
    handler.log_message = lambda *args: None  # type: ignore[attr-defined]
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_cesium_draws_and_picks_instances(browser: Any, site: str, tmp_path: Path, pictures: Path) -> None:
    from tiling_helpers import tree

    page = browser.new_page(viewport={"width": 480, "height": 360})
    page.set_default_timeout(240_000)
    page.goto(site)
    page.wait_for_function("() => window.ready || window.broken")
    assert page.evaluate("() => window.broken") is None
    (tile,) = tree(tmp_path / "lake" / "out.3tz")
    rows = {d[0]: d for d in tile["drawn"]}
    for number in (3, 41):
        middle = rows[f"树{number}"][1].reshape(-1, 3)
        up = middle[np.argmax(middle @ (middle.mean(axis=0) / np.linalg.norm(middle.mean(axis=0))))]  # the top of the crown
        page.evaluate("([x, y, z]) => window.look(x, y, z, -0.9)", (0.3 * middle.mean(axis=0) + 0.7 * up).tolist())
        page.screenshot(path=str(pictures / f"instance-{number}.png"))
        assert page.evaluate("() => window.failed") == []
        assert page.evaluate("() => window.pick()") == {"id": f"树{number}", "height": float(number)}
        picture = np.asarray(Image.open(pictures / f"instance-{number}.png").convert("RGB"), np.int16)
        assert (picture.max(axis=2) > 40).mean() > 0.05, "nothing is drawn"
    page.close()
