"""Runs in a city: maps over time, the report, comparison and export, each read back by another program or counted by hand."""

from __future__ import annotations

import csv
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pyarrow as pa
import pytest
import rasterio
import shapely
from click.testing import CliRunner
from fastapi.testclient import TestClient
from PIL import Image

from twin import comparing, parts
from twin.api import create_app
from twin.city import City
from twin.cli import main
from twin.model import Column, Features, Grid, Layer, Report

from .conftest import HEIGHTS, E, N, place

SIZE, CELL = 24, 5.0
LEVEL = "time_min,level_m\n0,0\n10,{top}"


def publish(city: City, name: str, kind: Any, batches: list[Any]) -> None:
    version = parts.write_version(city.lake, name, kind, batches, Report(source="test"), provenance={})
    manifest = city.lake.put_json(parts.to_json(version))
    with city.catalog.write() as connection:
        number = city.catalog.add_version(connection, Layer(name, kind, {"zh": name, "en": name}), manifest, version.count, job=f"job-{name}", who="test")
        city.catalog.publish(connection, name, number, manifest, None, "test")


def features(name: str, shapes: list[Any], ids: list[str], **columns: list[Any]) -> Features:
    reference = type(HEIGHTS)("EPSG:4547", "above ground" if name == "houses" else "")
    return Features(reference, pa.array(ids), np.array(shapes, dtype=object), pa.table({"height": [6.0] * len(ids), **columns}))


def command(home: Path, *arguments: str) -> Any:
    result = CliRunner().invoke(main, [arguments[0], "--home", str(home), "--json", *arguments[1:]])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A slope from 0 to 1.15 m whose water rises to 0.6 m in run `low` and to 1 m in run `high`."""
    folder = tmp_path_factory.mktemp("city")
    city = City.open(folder)
    slope = np.tile(np.arange(SIZE) * 0.05, (SIZE, 1)).astype(np.float32)
    publish(city, "dem", "terrain", [Grid(HEIGHTS, slope[None], (CELL, 0, E, 0, -CELL, N), -9999.0, (Column("height", "float", "m"),))])
    publish(city, "all", "vector", [features("all", [shapely.box(E, N - SIZE * CELL, E + SIZE * CELL, N)], ["w"])])
    houses = [shapely.box(E + 5 * c, N - 60, E + 5 * c + 10, N - 50) for c in (3, 14, 20)]
    publish(city, "houses", "blocks", [features("houses", houses, ["near", "middle", "far"], residents=[10, 20, 40])])
    for name, top in (("low", 0.6), ("high", 1.0)):
        command(folder, "run", "flood", "--name", name, "--set", "terrain=dem", "--set", "water=all", "--set", f"level_csv={LEVEL.format(top=top)}", "--set", f"hours={1 / 6}",
                "--set", "open_edges=false", "--set", "buildings=houses", "--set", "people_column=residents", "--set", "frames=5", "--set", "building_mode=raised",
                "--set", "start=2026-06-01T08:00:00+08:00", "--set", f"gauges={','.join(map(str, place(12, 12)))}", "--report", str(folder / f"{name}.html"))  # fmt: skip
    return folder


@pytest.fixture(scope="module")
def client(home: Path) -> TestClient:
    return TestClient(create_app(City.open(home)))


def bed() -> np.ndarray:
    return np.tile(np.arange(SIZE) * 0.05, (SIZE, 1))


def tile(client: TestClient, document: dict[str, Any], query: str) -> tuple[np.ndarray, Any]:
    import morecantile

    west, south, east, north = document["bounds"]
    z = document["maxzoom"] - 1
    at = morecantile.tms.get("WebMercatorQuad").tile((west + east) / 2, (south + north) / 2, z)
    answer = client.get(urlsplit(document["tiles"][0].replace("{z}", str(z)).replace("{x}", str(at.x)).replace("{y}", str(at.y))).path + query)
    return (np.asarray(Image.open(io.BytesIO(answer.content)).convert("RGBA")) if answer.status_code == 200 else np.zeros(0)), answer


def test_map_tiles_show_the_moment_asked_for(client: TestClient) -> None:
    document = client.get("/map/low-frames/tilejson.json").json()
    assert document["twin:times"] == [0, 120, 240, 360, 480, 600]
    assert document["twin:start"] == "2026-06-01T08:00:00+08:00"
    assert "twin:times" not in client.get("/map/low-depth/tilejson.json").json()
    wet = [int((tile(client, document, f"?time={t}")[0][..., 3] > 0).sum()) for t in (0, 120, 360, 600)]
    assert wet[0] == 0
    assert wet == sorted(set(wet)), "the water spreads from frame to frame"
    last, answer = tile(client, document, "")
    assert int((last[..., 3] > 0).sum()) == wet[-1]
    assert "immutable" in answer.headers["cache-control"]
    clock, _ = tile(client, document, "?time=2026-06-01T00:02:00Z")
    assert int((clock[..., 3] > 0).sum()) == wet[1]
    assert int((tile(client, document, "?time=239")[0][..., 3] > 0).sum()) == wet[1], "the last frame not later"
    for bad in ("?time=601", "?time=-1", "?time=soon", "?times=0"):
        assert tile(client, document, bad)[1].status_code == 400, bad
    assert tile(client, client.get("/map/low-depth/tilejson.json").json(), "?time=0")[1].status_code == 400


class Page(HTMLParser):
    """Addresses and text of a page; fails where a tag is closed that is not open."""

    void = ("meta", "img", "br", "line", "polyline", "i/")

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.open: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.links += [value for name, value in attrs if name in ("src", "href")]
        if tag not in self.void:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: Any) -> None:
        self.links += [value for name, value in attrs if name in ("src", "href")]

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.void:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_report_is_one_file_and_says_what_the_layers_say(home: Path, client: TestClient) -> None:
    city = City.open(home)
    job = comparing.outcome(city, "high").job
    answer = client.get(f"/jobs/{job.id}/report")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/html")
    assert answer.content == (home / "high.html").read_bytes()
    assert client.get(f"/jobs/{job.id}/results").json()["twin:report"].endswith(f"/jobs/{job.id}/report")
    page = Page()
    page.feed(answer.text)
    assert page.open == []
    assert page.links
    assert all(link.startswith("data:image/png;base64,") for link in page.links), "nothing is fetched from elsewhere"
    assert not re.search(r"https?://", answer.text)
    for text in ("洪涝模拟报告", "水量账", "过程线", "middle", "gauge-1", "30", "2026-06-01T08:00:00+08:00"):
        assert text in page.text, text
    assert "far" not in page.text.replace("最远", ""), "a dry building is not listed"
    assert client.get("/jobs/none/report").status_code == 404


def test_two_runs_compared_by_hand(home: Path, client: TestClient) -> None:
    city = City.open(home)
    ids = [comparing.outcome(city, name).job.id for name in ("low", "high")]
    body = client.get(f"/jobs/{ids[0]}/compare/{ids[1]}").json()
    rows = {row["quantity"]: row for row in body["rows"]}
    assert (rows["depth_max"]["a"], rows["depth_max"]["b"]) == pytest.approx((0.6, 1.0), abs=1e-3)  # held as at the beginning of a step
    assert (rows["buildings_flooded"]["a"], rows["buildings_flooded"]["b"], rows["buildings_new"]["b"], rows["buildings_spared"]["b"]) == (1, 2, 1, 0)
    assert (rows["buildings_people"]["a"], rows["buildings_people"]["b"]) == (10, 30)
    assert rows["water:stored"]["change"] == pytest.approx(rows["water:level_boundary"]["change"], rel=1e-5)
    assert rows["flooded_area"]["b"] > rows["flooded_area"]["a"]
    back = client.get(f"/jobs/{ids[1]}/compare/{ids[0]}").json()
    assert {row["quantity"]: row["b"] for row in back["rows"]}["buildings_spared"] == 1
    assert client.get(f"/jobs/{ids[0]}/compare/none").status_code == 404

    command(home, "compare", "low", "high", "--name", "what")
    _, version, _ = city.published("what-depth-change")
    with rasterio.open(city.lake.path(parts.raster_part(version).key)) as file:
        change = file.read(1, masked=True)
    low, high = (np.where(d >= 0.05, d, 0) for d in (np.clip(top - bed(), 0, None) for top in (0.6, 1.0)))
    open_ground = np.ones_like(low, bool)
    open_ground[10:12] = False  # the row of houses
    expected = np.where((low > 0) | (high > 0), high - low, np.nan)
    assert np.array_equal(change.mask[open_ground], np.isnan(expected)[open_ground])
    assert np.allclose(np.ma.filled(change, np.nan)[open_ground], expected[open_ground], atol=2e-3, equal_nan=True)
    items = client.get("/collections/what-buildings-change/items").json()["features"]
    assert {f["id"]: f["properties"]["change"] for f in items} == {"near": "deeper", "middle": "new"}
    queued = client.post(f"/jobs/{ids[0]}/compare/{ids[1]}?name=again")
    assert queued.status_code == 201
    assert queued.headers["location"].endswith(queued.json()["jobID"])


@pytest.mark.parametrize("engine", ["netcdf4", "scipy"])
def test_netcdf_is_read_by_xarray(home: Path, tmp_path: Path, engine: str) -> None:
    xarray = pytest.importorskip("xarray")
    command(home, "export", "low-frames", "--to", str(tmp_path / "frames.nc"))
    with xarray.open_dataset(tmp_path / "frames.nc", engine=engine) as data:
        assert data.attrs["Conventions"] == "CF-1.10"
        assert data.depth.dims == ("time", "y", "x")
        assert str(data.time.values[1])[:19] == "2026-06-01T00:02:00", "UTC"
        assert data.depth.attrs["standard_name"] == "flood_water_thickness"
        assert float(data.depth.isel(time=-1).sel(x=E + 2.5, y=N - 2.5)) == pytest.approx(0.6, abs=0.002)
        assert np.isnan(data.depth.isel(time=0)).all()
        assert "CGCS2000" in data.crs.attrs["crs_wkt"]
    with rasterio.open(f"netcdf:{tmp_path / 'frames.nc'}:depth") as file:  # GDAL reads the grid mapping and the axes itself
        assert file.crs.to_epsg() == 4547
        assert file.transform.almost_equals(rasterio.Affine(CELL, 0, E, 0, -CELL, N))
        assert file.count == 6


def test_zarr_is_read_by_zarr_and_xarray(home: Path, tmp_path: Path) -> None:
    xarray = pytest.importorskip("xarray")
    command(home, "export", "high-depth", "--to", str(tmp_path / "depth.zarr"))
    command(home, "export", "low-frames", "--to", str(tmp_path / "frames.zarr"))
    expected = np.clip(1.0 - bed(), 0, None)
    with xarray.open_zarr(tmp_path / "depth.zarr") as data:
        values = data.depth.values
        assert np.allclose(values[:8], np.where(expected >= 0.05, expected, np.nan)[:8], atol=1e-3, equal_nan=True)
    with xarray.open_zarr(tmp_path / "frames.zarr") as data:
        assert data.sizes == {"time": 6, "y": SIZE, "x": SIZE}
        assert float(data.depth[3, 0, 0]) == pytest.approx(0.36, abs=0.002)


def test_geotiff_of_frames_and_csv_of_tables(home: Path, tmp_path: Path, client: TestClient) -> None:
    command(home, "export", "low-frames", "--to", str(tmp_path / "frames.tif"))
    with rasterio.open(tmp_path / "frames.tif") as file:
        assert file.count == 6
        assert file.descriptions[2] == "t = 240 s"
        assert file.read(6)[0, 0] * file.scales[5] == pytest.approx(0.6, abs=0.002)
    command(home, "export", "low-hydrographs", "--to", str(tmp_path / "h.csv"))
    with (tmp_path / "h.csv").open(encoding="utf-8-sig", newline="") as text:
        rows = list(csv.DictReader(text))
    depth = [row for row in rows if row["quantity"] == "depth"]
    assert float(depth[-1]["time_s"]) == 600
    assert float(depth[-1]["value"]) == pytest.approx(0.5, abs=0.001), "the gauge stands on 0.1 m"
    listed = client.get("/collections/low-hydrographs/items?limit=1").json()
    assert listed["numberMatched"] == len(rows)
    assert listed["features"][0]["geometry"] is None
    command(home, "export", "high-buildings", "--to", str(tmp_path / "b.csv"))
    with (tmp_path / "b.csv").open(encoding="utf-8-sig", newline="") as text:
        found = {row["id"]: shapely.from_wkt(row["wkt"]).area for row in csv.DictReader(text)}
    assert found == {"near": pytest.approx(100), "middle": pytest.approx(100)}
