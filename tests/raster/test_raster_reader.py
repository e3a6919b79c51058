"""Raster reader: values kept to the bit, legends from what the file says, refusals."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from rasterio.enums import ColorInterp
from rasterio.transform import Affine

from ingest_gis import raster
from twin.errors import BadFeature, BadOption, MissingReference, UnreadableSource

RNG = np.random.default_rng(3)
COLORS = {1: (200, 10, 10, 255), 2: (10, 200, 10, 255), 3: (10, 10, 200, 255), 9: (1, 2, 3, 255)}


def test_real_orthophoto_is_kept_to_the_bit(shared_data: Path, ingest: Callable[..., Any]) -> None:
    source = shared_data / "pointcloud/ign_rgb_patch.tif"
    made = ingest(source)
    with rasterio.open(source) as file:
        assert np.array_equal(made.cells, file.read())
        assert made.profile["transform"].almost_equals(file.transform, 1e-9)
    assert made.legend["type"] == "rgb"
    assert made.version.style["legend"] == made.legend


def test_alpha_is_kept(make: Callable[..., Path], ingest: Callable[..., Any]) -> None:
    cells = RNG.integers(0, 255, (4, 700, 600), np.uint8)
    cells[3] = 255
    cells[3, :100] = 0
    made = ingest(make("a.tif", cells, photometric="RGB", alpha="YES"))
    assert np.array_equal(made.cells, cells)
    assert made.colorinterp[3] == ColorInterp.alpha
    assert made.overviews == [2]
    assert made.report.kept == 600 * 600


@pytest.mark.parametrize("nodata", [float("inf"), float("-inf")])
def test_endless_nodata(make: Callable[..., Path], ingest: Callable[..., Any], nodata: float) -> None:
    """GDAL allows it, JSON does not: it becomes NaN, and is no repair."""
    cells = RNG.gamma(2, 0.5, (60, 60)).astype(np.float32)
    cells[:10] = nodata
    made = ingest(make("a.tif", cells, nodata=nodata))
    assert np.array_equal(made.cells[0], np.where(np.isinf(cells), np.nan, cells), equal_nan=True) and np.isnan(made.profile["nodata"])
    assert made.report.kept == 3000 and not made.report.counts.get("repaired")


def test_internal_mask_is_kept(make: Callable[..., Path], ingest: Callable[..., Any]) -> None:
    path = make("a.tif", RNG.integers(0, 255, (3, 60, 60), np.uint8), photometric="RGB")
    mask = np.full((60, 60), 255, np.uint8)
    mask[:10] = 0
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "r+") as file:
        file.write_mask(mask)
    made = ingest(path)
    assert np.array_equal(made.mask, mask)
    assert made.report.kept == 3000


def test_palette_keeps_colours_and_even_its_rarest_class(make: Callable[..., Path], ingest: Callable[..., Any]) -> None:
    cells = RNG.integers(1, 4, (2100, 2100), np.uint8)
    cells[1501, 777] = 9
    made = ingest(make("a.tif", cells, colors=COLORS, photometric="PALETTE", nodata=0))
    assert np.array_equal(made.cells[0], cells)
    assert made.colorinterp == (ColorInterp.palette,)
    assert [(e["value"], e["color"]) for e in made.legend["entries"]] == [(1, "#c80a0a"), (2, "#0ac80a"), (3, "#0a0ac8"), (9, "#010203")]
    assert made.legend["type"] == "classes"


SIDE = """<PAMDataset><PAMRasterBand band="1">%s</PAMRasterBand></PAMDataset>"""
CATEGORIES = "<CategoryNames><Category>none</Category><Category>水田</Category><Category>forest</Category></CategoryNames>"
TABLE = """<GDALRasterAttributeTable><FieldDefn index="0"><Name>Value</Name><Type>0</Type><Usage>5</Usage></FieldDefn>
<FieldDefn index="1"><Name>Class</Name><Type>2</Type><Usage>2</Usage></FieldDefn>
<Row index="0"><F>1</F><F>水田</F></Row><Row index="1"><F>2</F><F>forest</F></Row></GDALRasterAttributeTable>"""


@pytest.mark.parametrize("body", [CATEGORIES, TABLE])
def test_class_names_of_the_sidecar(make: Callable[..., Path], ingest: Callable[..., Any], body: str) -> None:
    path = make("a.tif", RNG.integers(1, 4, (40, 40), np.uint8))
    path.with_name("a.tif.aux.xml").write_text(SIDE % body)
    names = [e["label"]["zh"] for e in ingest(path).legend["entries"]]
    assert names == ["水田", "forest", "3"]
    assert [e["label"]["en"] for e in ingest(path, classes="1:paddy;3:rock").legend["entries"]] == ["paddy", "forest", "rock"]


def test_sidecar_with_entities_is_not_parsed(make: Callable[..., Path], ingest: Callable[..., Any]) -> None:
    path = make("a.tif", RNG.integers(1, 4, (40, 40), np.uint8))
    path.with_name("a.tif.aux.xml").write_text('<!DOCTYPE x [<!ENTITY a "b">]>' + SIDE % CATEGORIES)
    made = ingest(path)
    assert made.report.counts == {"skipped": 1}
    assert made.legend["entries"][0]["label"]["zh"] == "1"


def test_depth_grid_gets_a_ramp_and_loses_no_value(make: Callable[..., Path], ingest: Callable[..., Any]) -> None:
    cells = RNG.gamma(2, 0.5, (300, 300)).astype(np.float32)
    cells[:50] = -9999
    made = ingest(make("a.tif", cells, nodata=-9999), unit="m")
    assert np.array_equal(made.cells[0], cells)
    low, high = np.percentile(cells[50:], [2, 98])
    values = [e["value"] for e in made.legend["entries"]]
    assert values[0] == pytest.approx(low, rel=0.02)
    assert values[-1] == pytest.approx(high, rel=0.02)
    assert values == sorted(values)
    assert made.legend["unit"] == "m"
    assert made.report.kept == 250 * 300
    stated = ingest(make("b.tif", cells, nodata=-9999), minimum=0, maximum=4, ramp="heat").legend["entries"]
    assert [e["value"] for e in stated] == [0, 1, 2, 3, 4]
    assert stated[0]["color"] == "#fff5c2"


def test_not_finite_cells_are_void_and_said(make: Callable[..., Path], ingest: Callable[..., Any]) -> None:
    cells = np.ones((30, 30), np.float32) * np.arange(30, dtype=np.float32)
    cells[0, 0], cells[1, 1] = np.nan, np.inf
    made = ingest(make("a.tif", cells))
    assert made.mask[0, 0] == made.mask[1, 1] == 0
    assert made.report.counts == {"repaired": 1}
    assert (made.report.read, made.report.kept) == (900, 898)


def test_jpeg_stays_jpeg(make: Callable[..., Path], ingest: Callable[..., Any]) -> None:
    y, x = np.mgrid[0:256, 0:256]
    cells = np.stack([x, y, 255 - x]).astype(np.uint8)
    made = ingest(make("a.tif", cells, compress="JPEG", photometric="YCBCR", tiled=True, blockxsize=256, blockysize=256))
    assert made.compress == "jpeg"
    assert np.abs(made.cells.astype(int) - cells).mean() < 4
    assert "packed again as JPEG" in made.report.notes[0].reason
    plain = ingest(make("b.tif", cells))
    assert plain.compress == "deflate"
    assert np.array_equal(plain.cells, cells)


def test_sixteen_bit_picture_says_what_is_black_and_white(make: Callable[..., Path], ingest: Callable[..., Any]) -> None:
    cells = RNG.integers(100, 3000, (3, 90, 90)).astype(np.uint16)
    made = ingest(make("a.tif", cells, photometric="RGB"))
    assert np.array_equal(made.cells, cells)
    assert made.legend["type"] == "rgb"
    assert made.legend["range"] == pytest.approx([158, 2942], abs=20)


def test_many_bands_are_kept_and_the_first_is_drawn(make: Callable[..., Path], ingest: Callable[..., Any]) -> None:
    cells = RNG.normal(0, 1, (6, 50, 50)).astype(np.float32)
    made = ingest(make("a.tif", cells))
    assert np.array_equal(made.cells, cells)
    assert made.legend["type"] == "continuous"
    assert "band 1 of 6" in made.report.notes[0].reason


def test_png_and_jpeg_with_world_file(tmp_path: Path, ingest: Callable[..., Any]) -> None:
    from PIL import Image

    cells = RNG.integers(0, 255, (50, 60, 3), np.uint8)
    Image.fromarray(cells).save(tmp_path / "a.png")
    with pytest.raises(BadFeature, match="world file"):
        ingest(tmp_path / "a.png", crs="EPSG:4547")
    (tmp_path / "a.pgw").write_text("0.5\n0\n0\n-0.5\n500000.25\n2499999.75\n")
    with pytest.raises(MissingReference, match=r"a\.png.*--crs"):
        ingest(tmp_path / "a.png")
    made = ingest(tmp_path / "a.png", crs="EPSG:4547")
    assert made.profile["transform"].almost_equals(Affine(0.5, 0, 500000, 0, -0.5, 2500000))
    assert np.array_equal(np.moveaxis(made.cells, 0, -1), cells)


def test_rotated_raster_keeps_only_values_it_had(make: Callable[..., Path], ingest: Callable[..., Any]) -> None:
    cells = RNG.integers(1, 4, (80, 80), np.uint8) * 50
    turn = Affine.translation(700000, 2500000) * Affine.rotation(20) * Affine.scale(10, -10)
    made = ingest(make("a.tif", cells, transform=turn, nodata=0))
    assert set(np.unique(made.cells)) == {0, 50, 100, 150}
    assert made.report.notes[0].action == "repaired"
    x, y = turn * (40.5, 30.5)
    c, r = ~made.profile["transform"] * (x, y)
    assert cells[29:32, 39:42].min() <= made.cells[0, int(r), int(c)] <= cells[29:32, 39:42].max()


def test_refusals(make: Callable[..., Path], tmp_path: Path, ingest: Callable[..., Any]) -> None:
    cells = RNG.integers(0, 255, (3, 200, 200), np.uint8)
    with pytest.raises(MissingReference, match=r"a\.tif"):
        ingest(make("a.tif", cells, crs=None))
    with pytest.raises(BadOption, match="no ramp 'rainbow'"):
        ingest(make("a.tif", cells), ramp="rainbow")
    with pytest.raises(BadOption, match="cannot be read"):
        ingest(make("a.tif", cells[0]), classes="water=1")
    with pytest.raises(BadFeature, match="no data"):
        ingest(make("a.tif", np.zeros((20, 20), np.uint8), nodata=0))
    with pytest.raises(BadFeature, match="complex"):
        ingest(make("a.tif", np.ones((20, 20), np.complex64)))
    whole = make("whole.tif", cells).read_bytes()
    for share in (0.0, 0.2, 0.7, 0.98):
        (tmp_path / "cut.tif").write_bytes(whole[: int(len(whole) * share)])
        with pytest.raises(UnreadableSource, match=r"cut\.tif.*(empty|damaged)"):
            ingest(tmp_path / "cut.tif")
    (tmp_path / "page.png").write_bytes(b"<html>not found</html>")
    with pytest.raises(UnreadableSource, match="HTML"):
        ingest(tmp_path / "page.png", crs="EPSG:4547")


def test_detect_asks_when_it_could_be_terrain(make: Callable[..., Path]) -> None:
    options = raster.Options()
    assert raster.detect(make("a.tif", np.zeros((3, 9, 9), np.uint8)), options)
    assert raster.detect(make("b.tif", np.ones((9, 9), np.uint8), colors=COLORS, photometric="PALETTE"), options)
    with pytest.raises(BadOption, match="--reader"):
        raster.detect(make("c.tif", np.zeros((9, 9), np.float32)), options)
