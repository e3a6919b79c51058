"""An independent client: 3d-tiles-renderer (three.js) in Chromium loads our tilesets and reads what every feature says."""

from __future__ import annotations

import mimetypes
import sys
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import shapely
import trimesh

from tests.ingest_gis.conftest import write_las
from tests.points.conftest import exact
from tests.points.conftest import tiled as tiled  # noqa: PLC0414 - the fixture
from tiling.blocks import tiler as blocks
from tiling.check import check_tileset
from tiling.meshes import tiler as meshes
from twin.lake import Lake
from twin.model import Features, Material, Mesh, Reference, Report
from twin.parts import write_version
from twin.registry import TileJob

sys.path[:0] = [str(Path(__file__).parents[1] / "tiling")]
from tiling_helpers import decoded  # noqa: E402

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600), pytest.mark.xdist_group("browser")]
NPM = Path(__file__).resolve().parents[2] / "viewer" / "node_modules"
PATIENCE = 2150_000


@contextmanager
def three(browser: Any, tiles: Path) -> Iterator[Any]:
    """The page, with the packages under /npm and this folder under /tiles; `page.load` takes a folder's name there, or the address of a tileset."""
    if not (NPM / "3d-tiles-renderer").is_dir():
        pytest.fail("viewer/node_modules/3d-tiles-renderer is missing: run npm ci in viewer/")
    roots = {"npm": NPM, "tiles": tiles, "": Path(__file__).parent}

    class Handler(SimpleHTTPRequestHandler):
        def translate_path(self, path: str) -> str:
            first, _, rest = path.partition("?")[0].lstrip("/").partition("/")
            return str(roots[first] / rest) if first in roots else str(roots[""] / first)

        def guess_type(self, path: Any) -> str:
            return "text/javascript" if str(path).endswith(".js") else mimetypes.guess_type(str(path))[0] or "application/octet-stream"

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    context = browser.new_context()
    opened = context.new_page()
    opened.set_default_timeout(PATIENCE)
    problems: list[str] = []
    opened.on("pageerror", lambda error: problems.append(str(error)))
    opened.goto(f"http://127.0.0.1:{server.server_port}/three_page.html")
    opened.wait_for_function("() => window.ready")
    opened.load = lambda name: opened.evaluate("url => load(url)", name if "://" in name else f"/tiles/{name}/tileset.json")
    yield opened
    assert problems == []
    context.close()
    server.shutdown()


@pytest.fixture
def page(browser: Any, tmp_path: Path) -> Iterator[Any]:
    """The page, with this test's tiles under /tiles."""
    (tmp_path / "tiles").mkdir()
    with three(browser, tmp_path / "tiles") as opened:
        yield opened


def unpacked(archive: Path, folder: Path) -> int:
    """How many contents there are."""
    with zipfile.ZipFile(archive) as file:
        file.extractall(folder)
        return sum(name.endswith(".glb") for name in file.namelist())


def same_places(found: dict[str, Any], expected: dict[str, np.ndarray]) -> None:
    assert found.keys() == expected.keys()
    for name, corners in expected.items():
        assert np.allclose(found[name]["low"], corners.min(axis=0), atol=0.002), name
        assert np.allclose(found[name]["high"], corners.max(axis=0), atol=0.002), name


@pytest.mark.parametrize("subdivision", ["explicit", "implicit"])
@pytest.mark.parametrize("compression", ["meshopt", "none"])
def test_blocks(page: Any, lake: Lake, tmp_path: Path, subdivision: str, compression: str) -> None:
    rng = np.random.default_rng(2)
    count = 300
    xy = rng.uniform(-800, 800, (count, 2)) + np.array([405_000, 2_498_000])
    rows = {
        "height": rng.uniform(5, 80, count), "楼名": [None if i % 11 == 0 else f"楼{i}" for i in range(count)], "floors": pa.array(range(count), pa.int32()),
        "use": [["住宅", "商业", "学校"][i % 3] for i in range(count)],
    }  # fmt: skip
    batch = Features(Reference("EPSG:4547"), pa.array([f"b{i}" for i in range(count)]), np.array([shapely.box(x, y, x + 20, y + 12) for x, y in xy], object), pa.table(rows))
    version = write_version(lake, "houses", "blocks", [batch], Report("h"), provenance={}, style={"height": "height"})
    out = tmp_path / "b.3tz"
    options = blocks.Options(ground=10.0, budget=1500, subdivision=subdivision, compression=compression)
    blocks.tile(version, TileJob(lake, out, options))
    contents = unpacked(out, tmp_path / "tiles" / "b")
    assert contents > 3
    result = page.load("b")
    assert result["errors"] == []
    assert result["loaded"] >= contents
    if subdivision == "implicit":  # the same places as the explicit twin of the same layer
        out = tmp_path / "e.3tz"
        blocks.tile(version, TileJob(lake, out, options.model_copy(update={"subdivision": "explicit"})))
    source = {name: (triangles.reshape(-1, 3), row) for name, triangles, _, row in decoded(out)}
    same_places(result["features"], {name: corners for name, (corners, _) in source.items()})
    for name, found in result["features"].items():
        i = int(name[1:])
        named = next(k for k in source[name][1] if k not in ("id", "height", "floors", "use"))
        assert found["row"]["height"] == rows["height"][i]
        assert found["row"]["floors"] == i
        assert found["row"]["use"] == rows["use"][i]
        assert found["row"].get(named) in ((rows["楼名"][i],) if rows["楼名"][i] else (None, "", "\0"))  # it turns "no data" into ""


def test_meshes(page: Any, lake: Lake, tmp_path: Path) -> None:
    shapes = [trimesh.creation.box((4, 0.3, 2.8)), trimesh.creation.cylinder(0.2, 3, sections=24)]
    count = 120
    places = np.tile(np.eye(4), (count, 1, 1))
    places[:, :3, 3] = np.random.default_rng(5).uniform(0, 60, (count, 3)) + np.array([405_000, 2_498_000, 12])
    mesh = Mesh(
        Reference("EPSG:4547", "EPSG:4979"), pa.array([f"e{i}" for i in range(count)]), pa.table({"class": [["IfcWall", "IfcPipe"][i % 2] for i in range(count)]}),
        np.concatenate([s.vertices for s in shapes]), np.concatenate([s.faces for s in shapes]).astype(np.int32),
        np.zeros(sum(len(s.faces) for s in shapes), np.int32), np.cumsum([0, *(len(s.vertices) for s in shapes)]),
        np.cumsum([0, *(len(s.faces) for s in shapes)]), (np.arange(count) % 2).astype(np.int32), np.arange(count, dtype=np.int32), places, (Material("m"),),
    )  # fmt: skip
    version = write_version(lake, "bim", "mesh", [mesh], Report("m"), provenance={})
    out = tmp_path / "m.3tz"
    meshes.tile(version, TileJob(lake, out, meshes.Options(budget=600)))
    unpacked(out, tmp_path / "tiles" / "m")
    assert not check_tileset(out).errors
    result = page.load("m")
    assert result["errors"] == []
    from pyproj import Transformer

    to_ecef = Transformer.from_pipeline(
        "+proj=pipeline +step +inv +proj=tmerc +lat_0=0 +lon_0=114 +k=1 +x_0=500000 +y_0=0 +ellps=GRS80 +step +proj=cart +ellps=WGS84")  # fmt: skip
    expected = {f"e{i}": np.column_stack(to_ecef.transform(*(shapes[i % 2].vertices + places[i, :3, 3]).T)) for i in range(count)}
    same_places(result["features"], expected)
    assert all(found["row"]["class"] == ["IfcWall", "IfcPipe"][int(name[1:]) % 2] for name, found in result["features"].items())


def test_points(page: Any, tmp_path: Path, tiled: Any) -> None:
    path = write_las(tmp_path / "c.las", 150_000)
    for subdivision in ("explicit", "implicit"):
        result = tiled(path, {"crs": "EPSG:32650", "vertical": "EGM96"}, points_per_tile=4_000, subdivision=subdivision, name=subdivision)
        contents = unpacked(result.path, tmp_path / "tiles" / subdivision)
        found = page.load(subdivision)
        assert found["errors"] == []
        assert found["loaded"] >= contents > 2
        truth, las = exact(path, "EPSG:32650")
        assert sum(f["vertices"] for f in found["features"].values()) == 150_000
        per_class = {f["row"]["classification"]: f for f in found["features"].values()}
        for code, one in per_class.items():
            mine = truth[np.asarray(las.classification) == code]
            assert one["vertices"] == len(mine)
            assert np.allclose(one["low"], mine.min(axis=0), atol=0.002)
            assert np.allclose(one["high"], mine.max(axis=0), atol=0.002)
