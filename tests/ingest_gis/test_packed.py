"""Vector data and pictures as they are sent by mail: in a ZIP, with Chinese names, several in one, beside other things."""

from __future__ import annotations

import os
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely

from ingest_gis import packed, raster_source
from twin import intake, scratch
from twin.errors import BadInput, BadOption, UnreadableSource

Ingest = Callable[..., Any]


class Gbk(zipfile.ZipInfo):
    """A name as a Chinese Windows writes it: in GBK, without a word about it."""

    def _encodeFilenameFlags(self) -> tuple[bytes, int]:  # noqa: N802
        return self.filename.encode("gbk"), self.flag_bits & ~0x800


@pytest.fixture
def delivery(tmp_path: Path) -> Path:
    """A folder with a Shapefile in GBK: outlines called 高度 high."""
    folder = tmp_path / "交付"
    folder.mkdir()
    frame = gpd.GeoDataFrame({"编号": ["甲", "乙"], "名称": ["一栋", "二栋"], "高度": [9.0, 12.0]},
                             geometry=[shapely.box(438000 + i * 30, 2495000, 438020 + i * 30, 2495015) for i in range(2)], crs="EPSG:4547")  # fmt: skip
    frame.to_file(folder / "建筑 轮廓.shp", encoding="GBK")
    return folder


def pack(target: Path, folder: Path, info: type[zipfile.ZipInfo] = zipfile.ZipInfo, **more: bytes) -> Path:
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.iterdir()):
            archive.writestr(info(f"2026/{path.name}"), path.read_bytes())
        for name, data in more.items():
            archive.writestr(name, data)
    return target


def left() -> set[str]:
    return {name for name in os.listdir(tempfile.gettempdir()) if name.startswith(f"{scratch.TWIN}{os.getpid()}-") and "-unzip-" in name}


@pytest.mark.parametrize("info", [zipfile.ZipInfo, Gbk])
def test_a_zipped_shapefile_is_read_as_it_would_be_unpacked(tmp_path: Path, ingest: Ingest, delivery: Path, info: type[zipfile.ZipInfo]) -> None:
    source = pack(tmp_path / "交付.zip", delivery, info)
    assert intake.ingest_params(source, "x")["reader"] == "footprints"
    _, report, found = ingest("vector", source)
    _, _, plain = ingest("vector", delivery / "建筑 轮廓.shp")
    assert report.kept == 2 and found[0].attributes.equals(plain[0].attributes) and shapely.equals(found[0].geometry, plain[0].geometry).all()
    assert "一栋" in found[0].attributes.column("名称").to_pylist()
    del found, plain, report
    assert not left()


def test_a_zip_of_several_asks_which(tmp_path: Path, ingest: Ingest, delivery: Path) -> None:
    source = pack(tmp_path / "a.zip", delivery, **{"点.geojson": b'{"type":"Feature","properties":{"n":1},"geometry":{"type":"Point","coordinates":[113,22.5]}}'})
    with pytest.raises(BadOption, match=r"2 data sets.*member=2026/建筑 轮廓\.shp"):
        ingest("vector", source)
    assert intake.ingest_params(source, "x", options={"member": "点.geojson"})["reader"] == "vector"
    assert ingest("vector", source, member="点.geojson")[1].kept == 1
    with pytest.raises(BadOption, match="holds no vector data"):
        ingest("vector", source, member="none.shp")
    with pytest.raises(BadOption, match="is no ZIP"):
        ingest("vector", delivery / "建筑 轮廓.shp", member="x.shp")


def test_outlines_beside_a_terrain_do_not_make_vectors_of_it(tmp_path: Path, delivery: Path) -> None:
    source = pack(tmp_path / "a.zip", delivery, **{"dem.asc": b"ncols 1\nnrows 1\nxllcorner 0\nyllcorner 0\ncellsize 1\n5\n"})
    assert intake.ingest_params(source, "x")["reader"] == "terrain"
    assert intake.ingest_params(source, "x", options={"member": "2026/建筑 轮廓.shp", "height": "高度"})["reader"] == "footprints"


def test_a_geodatabase_is_the_folder_that_it_is(tmp_path: Path, ingest: Ingest, delivery: Path) -> None:
    gpd.read_file(delivery / "建筑 轮廓.shp").to_file(tmp_path / "甲.gdb", driver="OpenFileGDB", layer="b")
    inner = tmp_path / "甲.gdb"
    with zipfile.ZipFile(tmp_path / "g.zip", "w") as archive:
        for path in inner.iterdir():
            archive.write(path, f"d/甲.gdb/{path.name}")
    assert list(packed.data_sets(tmp_path / "g.zip")) == ["d/甲.gdb"]
    assert ingest("vector", tmp_path / "g.zip")[1].kept == 2


def test_names_that_climb_stay_in_the_folder(tmp_path: Path, delivery: Path) -> None:
    """Only the last part of a name is used."""
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for path in delivery.iterdir():
            archive.write(path, f"../../{path.name}")
    unpacked = packed.Unpacked(tmp_path / "a.zip", None)
    assert unpacked.path.is_file() and unpacked.path.parent.parent == Path(tempfile.gettempdir())


def test_a_damaged_zip_is_told_and_leaves_nothing(tmp_path: Path, ingest: Ingest, delivery: Path) -> None:
    source = pack(tmp_path / "a.zip", delivery)
    data = bytearray(source.read_bytes())
    data[60:90] = bytes(30)
    source.write_bytes(data)
    with pytest.raises(UnreadableSource, match="cannot be unpacked"):
        ingest("vector", source)
    source.write_bytes(data[:200])
    with pytest.raises(UnreadableSource, match="not a whole ZIP"):
        ingest("vector", source)
    assert not left()


def test_a_zipped_picture_is_no_terrain(tmp_path: Path) -> None:
    """It was asked for a vertical datum."""
    with rasterio.open(tmp_path / "影像.tif", "w", driver="GTiff", width=4, height=4, count=3, dtype="uint8", crs="EPSG:4547",
                       transform=rasterio.transform.from_origin(438000, 2495000, 1, 1)) as image:  # fmt: skip
        image.write(np.full((3, 4, 4), 9, np.uint8))
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(Gbk("影像.tif"), (tmp_path / "影像.tif").read_bytes())
    assert raster_source.zip_members(tmp_path / "a.zip") == ["影像.tif"]
    assert intake.ingest_params(tmp_path / "a.zip", "x")["reader"] == "raster"


def test_a_zip_of_nothing_readable_says_so(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a.dwg", b"x")
    with pytest.raises(BadInput, match="nothing that is read from a ZIP"):
        intake.ingest_params(tmp_path / "a.zip", "x")
