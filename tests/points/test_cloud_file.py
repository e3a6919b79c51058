"""A point layer as one LAS or LAZ file, read back by laspy alone and held against its sources by laspy and pyproj."""

from __future__ import annotations

from pathlib import Path

import laspy
import numpy as np
import pytest
from pyproj import CRS, Transformer

from tests.ingest_gis.conftest import write_las
from tests.points.conftest import ingest
from twin import cloud_file
from twin.lake import Lake

HERE = {"crs": "EPSG:32650", "vertical": "EGM96"}


def test_one_file_comes_back_as_it_came(lake: Lake, tmp_path: Path) -> None:
    source = write_las(tmp_path / "a.laz")
    version, _ = ingest(lake, source, **HERE)
    assert cloud_file.export(lake, version, tmp_path / "out.laz") == "1,000 points"
    assert (tmp_path / "out.laz").read_bytes() == source.read_bytes()
    cloud_file.export(lake, version, tmp_path / "out.las")
    was, now = laspy.read(source), laspy.read(tmp_path / "out.las")
    assert np.array_equal(was.X, now.X)
    assert np.array_equal(was.scan_angle_rank, np.rint(now.scan_angle * 0.006))


@pytest.mark.parametrize("suffix", [".las", ".laz"])
def test_every_file_of_the_layer_is_in_it(lake: Lake, tmp_path: Path, suffix: str) -> None:
    """Formats 3 and 8, 8- and 16-bit colours, a dimension that one file has, points that are left out, flags of both kinds."""
    folder = tmp_path / "delivery"
    folder.mkdir()
    flags = np.arange(1000) % 10 == 0
    old = write_las(folder / "a.las", scan_angle_rank=np.full(1000, -12, np.int8), gps_time=np.arange(1000.0), withheld=flags)
    write_las(folder / "b.laz", 500, point_format=8, version="1.4", seed=2, rgb=65535, nir=np.full(500, 7, np.uint16), overlap=np.arange(500) % 2)
    new = laspy.read(folder / "b.laz")
    new.add_extra_dim(laspy.ExtraBytesParams("height above ground", np.float32, no_data=[-999.0]))
    new["height above ground"] = np.linspace(0, 1, 500, dtype=np.float32)
    new.write(folder / "b.laz")
    version, _ = ingest(lake, folder, **HERE, exclude="5")
    said = cloud_file.export(lake, version, tmp_path / f"out{suffix}")
    found, first = laspy.read(tmp_path / f"out{suffix}"), laspy.read(old)
    kept = [~flags & (np.asarray(first.classification) != 5), np.asarray(new.classification) != 5]
    cut = int(kept[0].sum())
    assert len(found) == version.count == cut + int(kept[1].sum())
    assert said == f"{len(found):,} points"
    assert found.header.point_format.id == 8
    assert found.header.parse_crs().to_epsg() is None and "EGM96" in found.header.parse_crs().name
    for name in ("X", "Y", "Z", "intensity", "classification", "return_number", "point_source_id", "gps_time"):
        assert np.array_equal(found[name], np.concatenate([first[name][kept[0]], new[name][kept[1]]])), name
    assert np.allclose(found.scan_angle[:cut] * 0.006, -12)
    assert np.array_equal(found.red, np.concatenate([np.asarray(first.red)[kept[0]] * 257, new.red[kept[1]]]))
    assert np.array_equal(found.nir[cut:], new.nir[kept[1]])
    assert np.array_equal(found.overlap[cut:], new.overlap[kept[1]])
    assert np.array_equal(found["height above ground"][cut:], new["height above ground"][kept[1]])
    assert np.all(found["height above ground"][:cut] == -999.0)
    (record,) = found.header.vlrs.get("ExtraBytesVlr")
    assert [one.no_data for one in record.extra_bytes_structs] == [-999.0]


def test_files_in_other_systems_are_placed_in_the_layer_s(lake: Lake, tmp_path: Path) -> None:
    """Zone 50 and zone 49 side by side: what pyproj makes of the second's places, to a step of the file."""
    folder = tmp_path / "delivery"
    folder.mkdir()
    for name, epsg in (("a.las", 32650), ("b.las", 32649)):
        las = laspy.read(write_las(folder / name, 200, point_format=6, version="1.4"))
        las.header.add_crs(CRS(f"EPSG:{epsg}+5773"))
        if epsg == 32649:
            las.header.offsets = [1_100_000, 2_500_000, 0]
            las.x, las.y = np.asarray(las.x) + 615_000, np.asarray(las.y) + 13_000
        las.write(folder / name)
    version, _ = ingest(lake, folder)
    cloud_file.export(lake, version, tmp_path / "out.laz")
    found, other = laspy.read(tmp_path / "out.laz"), laspy.read(folder / "b.las")
    x, y = Transformer.from_crs(32649, 32650, always_xy=True).transform(other.x, other.y)
    assert np.abs(np.column_stack([found.x, found.y, found.z])[200:] - np.column_stack([x, y, other.z])).max() < 0.0006


def test_a_dimension_of_another_type_is_said_and_left_out(lake: Lake, tmp_path: Path) -> None:
    """Two scales of one name: the values of the second file would not fit into the first one's column."""
    folder = tmp_path / "delivery"
    folder.mkdir()
    for name, scale in (("a.las", 0.01), ("b.las", 10.0)):
        las = laspy.read(write_las(folder / name, 100, point_format=6, version="1.4"))
        las.add_extra_dim(laspy.ExtraBytesParams("echo", np.int16, scales=np.array([scale]), offsets=np.array([0.0])))
        las["echo"] = np.full(100, 300 * scale)
        las.write(folder / name)
    version, _ = ingest(lake, folder, **HERE)
    said = cloud_file.export(lake, version, tmp_path / "out.las")
    found = laspy.read(tmp_path / "out.las")
    assert "'echo' of b.las" in said
    assert np.allclose(found["echo"][:100], 3.0) and not np.any(found["echo"][100:])


def test_points_without_a_dimension_have_no_value_of_it(lake: Lake, tmp_path: Path) -> None:
    """What stands for "no value": as the files say, each its own way; NaN where none does; 0 where whole numbers have none, and that is told."""
    folder = tmp_path / "delivery"
    folder.mkdir()
    dims = {"width": (np.float64, None, None), "count": (np.uint8, None, None), "far": (np.int64, [0.001], [-9]), "pair": ("3i2", None, [-1, -2, -3])}
    for name, given, low in (("a.las", {"width": None, "count": None, "far": [-9], "pair": [-1, -2, -3]}, 0), ("b.las", {"far": [-7]}, 1 << 60), ("c.las", {}, 0)):
        las = laspy.read(write_las(folder / name, 100, point_format=6, version="1.4"))
        for one, none in given.items():
            kind, scale, _ = dims[one]
            scaled = {} if scale is None else {"scales": np.array(scale), "offsets": np.array([0.0])}
            las.add_extra_dim(laspy.ExtraBytesParams(one, kind, no_data=none, **scaled))
            las.points.array[one] = (low + np.arange(100))[:, None] if one == "pair" else low + np.arange(100)
            las.points.array[one][50] = 200 if none is None else none if one == "pair" else none[0]
        las.write(folder / name)
    version, _ = ingest(lake, folder, **HERE)
    said = cloud_file.export(lake, version, tmp_path / "out.laz")
    rows = laspy.read(tmp_path / "out.laz").points.array
    assert said == "300 points; 'count' is 0 for the points of b.las, c.las, where it is not stated"
    assert np.isnan(rows["width"][100:]).all() and rows["width"][50] == 200
    assert not rows["count"][100:].any()
    whole = np.concatenate([np.arange(100), (1 << 60) + np.arange(100), np.full(100, -9)])
    whole[[50, 150]] = -9
    assert np.array_equal(rows["far"], whole)
    assert np.array_equal(rows["pair"][100:], np.tile([-1, -2, -3], (200, 1)))
    (record,) = laspy.read(tmp_path / "out.laz").header.vlrs.get("ExtraBytesVlr")
    assert [(one.min, one.max) for one in record.extra_bytes_structs] == [(None, None)] * 4


def test_files_with_origins_of_gps_time_of_their_own(lake: Lake, tmp_path: Path) -> None:
    """LAS 1.5 counts from a number of millions of seconds that its header states; the one file has the origin of LAS 1.4."""
    folder = tmp_path / "delivery"
    folder.mkdir()
    moments = np.array([1.4e9 + 0.25, 1.5e9])  # standard GPS time
    for name, version, offset in (("a.las", "1.4", None), ("b.laz", "1.5", 1500)):
        las = laspy.read(write_las(folder / name, 2, point_format=6, version=version, gps_time=moments - (1e9 if offset is None else offset * 1e6)))
        las.header.global_encoding.gps_time_type = laspy.header.GpsTimeType.STANDARD
        if offset is not None:
            las.header.global_encoding.gps_time_offset, las.header.gps_time_offset = True, offset
        las.z = np.array([10.0, 20.0])
        las.write(folder / name)
    version_, _ = ingest(lake, folder, **HERE)
    cloud_file.export(lake, version_, tmp_path / "out.las")
    found = laspy.read(tmp_path / "out.las")
    assert found.header.version.minor == 4 and found.gps_time.tolist() == [*(moments - 1e9), *(moments - 1e9)]
