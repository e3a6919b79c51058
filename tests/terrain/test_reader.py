"""Terrain reader: every delivered raster, and everything that can be wrong with one."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.env import get_gdal_config
from rasterio.transform import Affine
from terrain_helpers import hills, write_dem

from ingest_gis import raster_source
from ingest_gis import terrain as reader
from tiling.terrain import tiler
from twin.errors import BadFeature, BadInput, BadOption, BadReference, MissingReference, TwinError, UnreadableSource
from twin.ground import Ground
from twin.lake import Lake
from twin.model import Asset, Report
from twin.parts import write_version

REAL = [
    ("dem_flood/andorra_la_vella/elevation.tif", {"vertical": "EGM96"}, 86, 1007, 1282),
    ("dem_flood/porto_alegre_elevation.tif", {"vertical": "EGM96"}, 0, 0, 255),
    ("dem_flood/merewether/topography1.asc", {"vertical": "EPSG:5711"}, 73, 16.473100662231445, 51.96929931640625),
    ("dem_flood/bijou_gully_5m.asc", {"crs": "EPSG:26913", "vertical": "EPSG:5703"}, 0, 1673.06787109375, 1729.864990234375),
    ("dem_flood/cairns_topobathy.zip", {"crs": "EPSG:32755", "vertical": "EPSG:5711"}, 18234, -2153, 1599),
    ("dem_flood/N42E001.hgt.zip", {}, 7652, 349, 3100),
    ("dem_flood/N43E007.hgt.zip", {}, 1595, -11, 2064),
    ("dem_flood/N48W125_1arcsec.hgt.zip", {}, 6483876, -13, 1095),
]


def read(source: Path, **options: object) -> tuple[Asset, np.ndarray, Report, dict]:
    report = Report(source=source.name)
    for batch in reader.read(source, reader.Options(**options), report):
        assert isinstance(batch, Asset)
        with rasterio.open(batch.path) as file:
            return batch, file.read(1, masked=True), report, {"profile": file.profile, "overviews": file.overviews(1), "tags": file.tags(ns="IMAGE_STRUCTURE")}
    raise AssertionError("nothing read")


@pytest.mark.parametrize(("name", "options", "voids", "low", "high"), REAL)
def test_real_rasters_keep_every_cell(shared_data: Path, tmp_path: Path, name: str, options: dict, voids: int, low: float, high: float) -> None:
    source = shared_data / name
    asset, cells, report, file = read(source, **options)
    if source.suffix == ".zip":
        with zipfile.ZipFile(source) as archive:
            archive.extractall(tmp_path)
            source = tmp_path / archive.namelist()[0]
    with rasterio.open(source) as original:
        truth, transform = original.read(1, masked=True), original.transform
    assert np.array_equal(cells.astype(np.float64).filled(-1e5), truth.astype(np.float64).filled(-1e5)), "a height changed on the way"
    assert file["profile"]["transform"].almost_equals(transform, 1e-12)
    assert report.facts["voids"] == voids == int(np.ma.getmaskarray(truth).sum())
    assert (report.facts["min"], report.facts["max"]) == (low, high)
    assert (report.read, report.kept) == (truth.size, truth.size - voids)
    assert file["tags"]["LAYOUT"] == "COG"
    assert file["profile"]["compress"] == "deflate"
    assert asset.reference.vertical.startswith("EPSG:")
    assert (asset.bounds.minz, asset.bounds.maxz) == (low, high)


def test_overviews_are_averages_of_cells_with_data(tmp_path: Path) -> None:
    z = hills(1300, 1300)
    z[:200, :200] = -9999
    source = write_dem(tmp_path / "a.tif", z, nodata=-9999)
    report = Report()
    for asset in reader.read(source, reader.Options(vertical="EGM96"), report):
        with rasterio.open(asset.path, overview_level=0) as file:
            half = file.read(1, masked=True)
            assert half.shape == (650, 650)
    assert np.allclose(half[300, 300], z[600:602, 600:602].mean(), atol=1e-3)
    assert half.mask[:100, :100].all()
    assert not half.mask[100:, :].any()
    assert half.min() > 0


def test_hgt_is_wgs84_and_egm96_by_definition(shared_data: Path) -> None:
    asset, _, report, _ = read(shared_data / "dem_flood/N42E001.hgt.zip")
    assert (asset.reference.horizontal, asset.reference.vertical) == ("EPSG:4326", "EPSG:5773")
    assert (asset.bounds.minx, asset.bounds.maxy) == pytest.approx((1 - 0.5 / 1200, 43 + 0.5 / 1200))
    assert report.counts == {"assumed": 1}


# --- references --------------------------------------------------------------------------------------------------


def test_ascii_grid_without_prj_needs_crs(shared_data: Path) -> None:
    with pytest.raises(MissingReference, match=r"bijou_gully_5m\.asc.*--crs"):
        read(shared_data / "dem_flood/bijou_gully_5m.asc", vertical="EGM96")


def test_no_vertical_datum_is_refused(tmp_path: Path) -> None:
    source = write_dem(tmp_path / "a.tif", hills(20, 20))
    with pytest.raises(MissingReference, match=r"a\.tif.*--vertical"):
        read(source)
    with pytest.raises(MissingReference, match="above the ground"):
        read(source, vertical="above ground")
    with pytest.raises(BadReference):
        read(source, vertical="EPSG:4547")


def test_compound_crs_in_file_or_option_names_the_datum(tmp_path: Path) -> None:
    compound = write_dem(tmp_path / "a.tif", hills(20, 20), crs="EPSG:9518")  # WGS 84 + EGM2008
    asset, _, report, _ = read(compound)
    assert (asset.reference.horizontal, asset.reference.vertical) == ("EPSG:4326", "EPSG:3855")
    assert report.facts["vertical_source"] == "file"
    asset, _, _, _ = read(write_dem(tmp_path / "b.tif", hills(20, 20), crs=None, west=500000, north=2500000, cell=5), crs="EPSG:4547+5737")
    assert (asset.reference.horizontal, asset.reference.vertical) == ("EPSG:4547", "EPSG:5737")


def test_units(tmp_path: Path) -> None:
    source = write_dem(tmp_path / "a.tif", np.full((20, 20), 1000, np.float32))
    asset, cells, report, _ = read(source, vertical="EGM96", unit="ft")
    assert asset.reference.vertical_unit == 0.3048
    assert cells[0, 0] == 1000, "cells keep the source's unit"
    assert report.facts["max"] == pytest.approx(304.8)
    with rasterio.open(source, "r+") as file:
        file.units = ("ft",)
    assert read(source, vertical="EGM96")[0].reference.vertical_unit == 0.3048
    with pytest.raises(BadOption, match="furlong"):
        read(source, vertical="EGM96", unit="furlong")


# --- voids and values --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [-9999.0, -32767.0, -32768.0, 3.4e38, -3.4028234663852886e38, np.inf, np.nan])
def test_undeclared_nodata_becomes_void_and_is_reported(tmp_path: Path, value: float) -> None:
    z = hills(30, 40)
    z[3, 4:9] = value
    _, cells, report, _ = read(write_dem(tmp_path / "a.tif", z), vertical="EGM96")
    assert cells.mask.sum() == 5
    assert cells.mask[3, 4:9].all()
    assert np.array_equal(cells.compressed(), z[np.isfinite(z) & (np.abs(z) < 5000)])
    assert report.counts == {"repaired": 1}
    assert report.notes[0].reason.startswith("5 cells")
    assert (report.read, report.kept) == (1200, 1195)


def test_two_kinds_of_nodata_become_one(tmp_path: Path) -> None:
    z = np.full((20, 20), 50, np.int16)
    z[0, 0], z[1, 1] = -32768, -9999
    _, cells, report, file = read(write_dem(tmp_path / "a.tif", z, nodata=-32768), vertical="EGM96")
    assert cells.dtype == np.int16
    assert cells.mask.sum() == 2
    assert file["profile"]["nodata"] == -32768
    assert "1 cells are -9999" in report.notes[0].reason


@pytest.mark.parametrize("nodata", [float("inf"), float("-inf")])
def test_endless_nodata(tmp_path: Path, nodata: float) -> None:
    """GDAL allows it, the version's JSON does not: it becomes NaN, and is no repair."""
    z = np.full((20, 20), 50, np.float32)
    z[0, :5] = nodata
    _, cells, report, file = read(write_dem(tmp_path / "a.tif", z, nodata=nodata), vertical="EGM96")
    assert cells.mask.sum() == 5 and np.isnan(file["profile"]["nodata"]) and not report.counts


def test_option_nodata_and_band(tmp_path: Path) -> None:
    z = np.stack([np.zeros((20, 20), np.uint16), np.full((20, 20), 7, np.uint16)])
    z[1, 0, 0] = 0
    source = write_dem(tmp_path / "a.tif", z)
    with pytest.raises(BadOption, match="2 bands"):
        read(source, vertical="EGM96")
    with pytest.raises(BadOption, match="not 3"):
        read(source, vertical="EGM96", band=3)
    _, _, report, _ = read(source, vertical="EGM96", band=2, nodata=0)
    assert (report.facts["min"], report.facts["voids"]) == (7, 1)


def test_float64_is_rounded_and_said(tmp_path: Path) -> None:
    z = hills(20, 20).astype(np.float64) + 1e-7
    _, cells, report, _ = read(write_dem(tmp_path / "a.tif", z), vertical="EGM96")
    assert cells.dtype == np.float32
    assert np.abs(cells - z).max() < 1e-3
    assert "rounded to float32" in report.notes[0].reason


def test_scaled_numbers_and_masks_are_heights_and_voids(tmp_path: Path) -> None:
    """GDAL's scale and offset, and a mask that is no nodata value; as rasterio's own masked reading has them."""
    z = np.arange(400, dtype=np.int16).reshape(20, 20)
    z[0, :3], z[5, 5] = -1, -9999
    source = write_dem(tmp_path / "a.tif", z, nodata=-1)
    with rasterio.open(source, "r+") as file:
        file.scales, file.offsets = (0.1,), (25.0,)
    asset, cells, report, _ = read(source, vertical="EGM96")
    with rasterio.open(source) as file:
        exact = file.read(1, masked=True) * 0.1 + 25.0
    exact[5, 5] = np.ma.masked
    assert np.array_equal(cells.mask, exact.mask)
    assert np.abs(cells - exact).max() < 1e-5
    assert asset.bounds.maxz == pytest.approx(64.9)
    assert "0.1 × the stored numbers +25" in report.notes[0].reason
    assert "1 cells are -9999" in report.notes[1].reason
    masked = write_dem(tmp_path / "m.tif", np.full((20, 20), 7, np.uint8))
    with rasterio.open(masked, "r+") as file:
        file.write_mask(np.arange(400).reshape(20, 20) % 3 > 0)
    _, cells, report, _ = read(masked, vertical="EGM96")
    assert np.array_equal(cells.mask.ravel(), np.arange(400) % 3 == 0)
    assert "mask" in report.notes[0].reason
    with rasterio.open(source, "r+") as file:
        file.scales = (0.0,)
    with pytest.raises(BadFeature, match="scale of 0"):
        read(source, vertical="EGM96")


@pytest.mark.parametrize(("west", "moved"), [(190.0, -170.0), (-180.003, 179.997), (179.998, 179.998)])
def test_longitudes_beyond_half_a_turn_are_the_same_places(tmp_path: Path, lake: Lake, west: float, moved: float) -> None:
    """Grids from 0 to 360, and across the 180th meridian from either side: the ground is found by degrees from −180 to 180."""
    z = np.full((20, 20), 40, np.float32)
    report = Report()
    source = write_dem(tmp_path / "a.tif", z, west=west, north=10.0)
    version = write_version(lake, "t", "terrain", reader.read(source, reader.Options(vertical="ellipsoid"), report), report, provenance={})
    assert version.parts[0].bounds is not None
    assert version.parts[0].bounds.minx == pytest.approx(moved)
    assert bool(report.notes) == (west != moved)
    lon = (west + np.array([0.0005, 0.002, 0.0035]) + 180) % 360 - 180
    assert Ground.of(lake, version).ellipsoidal(lon, np.full(3, 9.998)).tolist() == [40.0] * 3


def test_a_world_of_cells_centred_on_whole_degrees(tmp_path: Path, lake: Lake) -> None:
    """From −180.5 to 179.5, as many global grids are: moved by a turn it ends beyond 360, and is no less in degrees."""
    z = np.arange(161 * 360, dtype=np.float32).reshape(161, 360) / 100
    source, report = write_dem(tmp_path / "a.tif", z, west=-180.5, north=80.5, cell=1.0), Report()
    version = write_version(lake, "t", "terrain", reader.read(source, reader.Options(vertical="ellipsoid"), report), report, provenance={})
    lon, lat = np.array([-180.0, 0.0, 179.0]), np.array([80.0, 0.0, -80.0])
    assert Ground.of(lake, version).ellipsoidal(lon, lat) == pytest.approx([z[0, 0], z[80, 180], z[160, 359]])


def test_all_nodata_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadFeature, match=r"a\.tif: all 400 cells"):
        read(write_dem(tmp_path / "a.tif", np.full((20, 20), -9999, np.float32), nodata=-9999), vertical="EGM96")


@pytest.mark.parametrize("value", [9100.0, 65535.0, -13000.0, 1e6])
def test_absurd_heights_are_refused_with_a_place(tmp_path: Path, value: float) -> None:
    z = hills(600, 700)
    z[555, 612] = value
    with pytest.raises(BadFeature, match=r"row 555, column 612.*--option nodata"):
        read(write_dem(tmp_path / "a.tif", z), vertical="EGM96")


def test_sea_bed_is_kept_with_a_warning(tmp_path: Path) -> None:
    z = hills(20, 20)
    z[0, 0] = -2000
    _, cells, report, _ = read(write_dem(tmp_path / "a.tif", z), vertical="EGM96")
    assert cells.min() == -2000
    assert report.counts == {"warned": 1}


def test_eight_bit_ceiling_is_warned_of(shared_data: Path) -> None:
    _, _, report, _ = read(shared_data / "dem_flood/porto_alegre_elevation.tif", vertical="EGM96")
    assert report.notes[0].action == "warned"
    assert "255" in report.notes[0].reason


# --- geometry ----------------------------------------------------------------------------------------------------


def test_rotated_grid_is_warped_and_said(tmp_path: Path) -> None:
    z = np.fromfunction(lambda r, c: 100 + 0.5 * c, (200, 200)).astype(np.float32)
    turn = Affine.translation(500000, 2500000) * Affine.rotation(30) * Affine.scale(5, -5)
    source = tmp_path / "a.tif"
    with rasterio.open(source, "w", driver="GTiff", width=200, height=200, count=1, dtype="float32", crs="EPSG:4547", transform=turn) as file:
        file.write(z, 1)
    _, cells, report, out = read(source, vertical="EPSG:5737")
    assert report.notes[0].action == "repaired"
    t = out["profile"]["transform"]
    assert (t.b, t.d) == (0, 0)
    for column, row in ((50.5, 60.5), (100.5, 20.5), (150.5, 150.5)):
        x, y = turn * (column, row)
        c, r = ~t * (x, y)
        assert cells[int(r), int(c)] == pytest.approx(100 + 0.5 * (column - 0.5), abs=1.0)
    assert cells.mask[0, 0], "corners outside the rotated grid are void"


def test_south_up_grid_is_turned(tmp_path: Path) -> None:
    z = hills(30, 30)
    source = tmp_path / "a.tif"
    with rasterio.open(source, "w", driver="GTiff", width=30, height=30, count=1, dtype="float32", crs="EPSG:4547",
                       transform=Affine(5, 0, 500000, 0, 5, 2500000)) as file:  # fmt: skip
        file.write(z, 1)
    _, cells, report, _ = read(source, vertical="EPSG:5737")
    assert report.counts == {"repaired": 1}
    assert np.allclose(cells.filled(0), z[::-1], atol=1e-3)


def test_no_georeferencing_is_refused(tmp_path: Path) -> None:
    source = tmp_path / "a.tif"
    with pytest.warns(rasterio.errors.NotGeoreferencedWarning), rasterio.open(source, "w", driver="GTiff", width=9, height=9, count=1, dtype="float32") as file:
        file.write(hills(9, 9), 1)
    with pytest.raises(BadFeature, match="no georeferencing"):
        read(source, crs="EPSG:4547", vertical="EPSG:5737")


# --- files that are not what they say ----------------------------------------------------------------------------


def test_missing_empty_and_foreign_files(tmp_path: Path) -> None:
    with pytest.raises(UnreadableSource, match="no such file"):
        read(tmp_path / "none.tif")
    for name, content, words in [
        ("empty.tif", b"", "empty"), ("page.tif", b"<!DOCTYPE html><html>404</html>", "HTML page"),
        ("virtual.tif", b'<VRTDataset rasterXSize="1"/>', "virtual dataset"), ("zip.tif", b"PK\3\4xxxx", "ZIP"),
        ("text.asc", b"hello world", "no raster"), ("bad.zip", b"PK\3\4 broken", "not a whole ZIP"),
        ("N22E113.hgt", b"\0" * 1000, "cut short"), ("place.hgt", b"\0" * 2884802, "named for its south-west corner"),
        ("short.tif", b"II*\0\x08\0\0\0", "damaged"),
    ]:  # fmt: skip
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(UnreadableSource, match=words) as caught:
            read(path, crs="EPSG:4326", vertical="EGM96")
        assert name in str(caught.value)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("suffix", [".tif", ".asc"])
def test_truncated_files_are_refused(tmp_path: Path, suffix: str, share: float) -> None:
    whole = tmp_path / f"whole{suffix}"
    if suffix == ".tif":
        write_dem(whole, hills(300, 300), compress="DEFLATE")
    else:
        rows = "\n".join(" ".join(f"{v:.2f}" for v in row) for row in hills(300, 300))
        whole.write_text(f"ncols 300\nnrows 300\nxllcorner 500000\nyllcorner 2500000\ncellsize 5\nNODATA_value -9999\n{rows}\n")
    data = whole.read_bytes()
    cut = tmp_path / f"cut{suffix}"
    cut.write_bytes(data[: int(len(data) * share)])
    read(whole, crs="EPSG:4547" if suffix == ".asc" else None, vertical="EPSG:5737")
    with pytest.raises(UnreadableSource, match=rf"cut\{suffix}.*(damaged|empty)"):
        read(cut, crs="EPSG:4547" if suffix == ".asc" else None, vertical="EPSG:5737")


def test_a_path_of_gdal_is_no_file(tmp_path: Path) -> None:
    for path in ("/vsicurl/http://127.0.0.1:9/a.tif", "/vsimem/a.tif", "http://127.0.0.1:9/a.tif"):
        with pytest.raises(UnreadableSource, match="no such file"):
            read(Path(path))


def test_ascii_grid_decimals_after_whole_numbers_are_kept(tmp_path: Path) -> None:
    """GDAL types a grid by its first 100 kB; whole numbers there must not cut decimals later on."""
    rows = [" ".join(["100"] * 400)] * 300 + [" ".join(["100.75"] * 400)]
    path = tmp_path / "a.asc"
    path.write_text("ncols 400\nnrows 301\nxllcorner 500000\nyllcorner 2500000\ncellsize 5\nNODATA_value -9999\n" + "\n".join(rows) + "\n")
    _, cells, _, _ = read(path, crs="EPSG:4547", vertical="EPSG:5737")
    assert (cells[0, 0], cells[300, 0]) == (100, 100.75)


def test_zip_of_several_rasters_asks_which(tmp_path: Path) -> None:
    a, b = write_dem(tmp_path / "a.tif", hills(20, 20)), write_dem(tmp_path / "b.tif", hills(20, 20) + 100)
    packed = tmp_path / "both.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        archive.write(a, "../up/a.tif")
        archive.write(b, "b.tif")
        archive.writestr("readme.txt", "hello")
    with pytest.raises(BadOption, match=r"2 rasters.*member"):
        read(packed, vertical="EGM96")
    with pytest.raises(BadOption, match=r"no raster 'c\.tif'"):
        read(packed, vertical="EGM96", member="c.tif")
    _, cells, _, _ = read(packed, vertical="EGM96", member="../up/a.tif")
    assert np.array_equal(cells, hills(20, 20))
    assert not (tmp_path.parent / "up").exists(), "a member's path was followed"
    empty = tmp_path / "none.zip"
    with zipfile.ZipFile(empty, "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(UnreadableSource, match="holds no raster"):
        read(empty, vertical="EGM96")


def test_detect(tmp_path: Path, shared_data: Path) -> None:
    options = reader.Options()
    plain = write_dem(tmp_path / "a.tif", hills(20, 20))
    assert not reader.detect(plain, options)
    assert reader.detect(plain, reader.Options(vertical="EGM96"))
    assert reader.detect(plain, reader.Options(crs="EPSG:4547+5737"))
    assert not reader.detect(plain, reader.Options(crs="EPSG:4547"))
    assert reader.detect(write_dem(tmp_path / "b.tif", hills(20, 20), crs="EPSG:9518"), options)
    assert not reader.detect(shared_data / "pointcloud/ign_rgb_patch.tif", reader.Options(vertical="EGM96"))
    assert reader.detect(shared_data / "dem_flood/N42E001.hgt.zip", options)
    assert reader.detect(shared_data / "dem_flood/bijou_gully_5m.asc", options)


def test_every_refusal_is_an_input_error() -> None:
    for kind in (UnreadableSource, MissingReference, BadFeature, BadOption):
        assert issubclass(kind, BadInput)
        assert issubclass(kind, TwinError)


def test_gdal_keeps_the_blocks_it_unpacked() -> None:
    """The cache's size is in bytes here: a few of them would mean that every block is unpacked again for each window."""
    for size in (raster_source.SAFE["GDAL_CACHEMAX"], tiler.CACHE):
        with rasterio.Env(GDAL_CACHEMAX=size):
            assert 32 << 20 <= get_gdal_config("GDAL_CACHEMAX") <= 256 << 20


def test_a_full_disk_is_not_called_a_damaged_file(tmp_path: Path) -> None:
    """GDAL's errors of writing come as those of reading; whoever is told to download a good file again does so in vain."""
    source = write_dem(tmp_path / "a.tif", np.random.default_rng(1).random((400, 400), np.float32))
    code = (
        "import resource, sys, pathlib\n"
        "from twin import intake, tasks\nfrom twin.city import City\nfrom twin.settings import Settings\n"
        f"city = City(Settings(home=pathlib.Path({str(tmp_path / 'city')!r}), workers=1))\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))\n"
        f"params = intake.ingest_params({str(source)!r}, 'dem', options={{'vertical': 'EGM96'}}, reader='terrain')\n"
        "print(tasks.work(city, tasks.submit(city, 'ingest', params)).error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2])
    assert "the disk is full" in done.stdout
    assert "download" not in done.stdout


def test_a_grid_without_cells_is_refused_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "a.asc").write_text("ncols 2\nnrows 2\n")
    with pytest.raises(UnreadableSource, match=r"a\.asc is cut short or damaged: [^.]*'a\.asc'[^.]*\. Export") as caught:
        read(tmp_path / "a.asc", crs="EPSG:4326", vertical="EGM96")
    assert ".." not in str(caught.value)
