"""LAS and LAZ files that few programs write: wave packets behind the points, chunk tables in other places, chunks of other sizes. All points, once, within a millimetre; or a refusal."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import laspy
import lazrs
import numpy as np
import pytest
from pyproj import CRS
from scipy.spatial import cKDTree

from tests.ingest_gis.conftest import write_las
from tests.points.conftest import exact, ingest, tile
from twin.errors import UnreadableSource
from twin.lake import Lake

COUNT = 6_000
HERE = {"crs": "EPSG:32650", "vertical": "EGM96"}


def assert_whole(lake: Lake, path: Path, truth: np.ndarray) -> None:
    version, _ = ingest(lake, path, **HERE)
    drawn = tile(lake, version, path.with_suffix(".3tz"), points_per_tile=2_000).ecef()
    assert len(drawn) == len(truth)
    away, which = cKDTree(truth).query(drawn)
    assert away.max() < 0.001
    assert len(np.unique(which)) == len(truth)


@pytest.mark.parametrize("suffix", ["las", "laz"])
@pytest.mark.parametrize(("point_format", "version"), [(4, "1.3"), (5, "1.4"), (9, "1.4"), (10, "1.4")])
def test_wave_packets_behind_the_points(tmp_path: Path, lake: Lake, point_format: int, version: str, suffix: str) -> None:
    """Their record lies where more points could lie (LAS 1.3, 1.4, "Waveform Data Packet Descriptors"; user LASF_Spec, number 65535)."""
    waves = {"wavepacket_index": np.ones(COUNT, np.uint8), "wavepacket_offset": 60 + 256 * np.arange(COUNT), "wavepacket_size": np.full(COUNT, 256)}
    path = write_las(tmp_path / f"a.{suffix}", COUNT, point_format=point_format, version=version, **waves)
    truth, _ = exact(path, "EPSG:32650")
    data, packets = bytearray(path.read_bytes()), np.random.default_rng(1).integers(0, 256, 40_000).astype(np.uint8).tobytes()
    struct.pack_into("<H", data, 6, struct.unpack_from("<H", data, 6)[0] | 2)
    struct.pack_into("<Q", data, 227, len(data))
    if version == "1.4":
        struct.pack_into("<QI", data, 235, len(data), 1)
    path.write_bytes(bytes(data) + b"\0\0" + b"LASF_Spec".ljust(16, b"\0") + struct.pack("<HQ32x", 65535, len(packets)) + packets)
    assert_whole(lake, path, truth)


@pytest.mark.parametrize("suffix", ["las", "laz"])
@pytest.mark.parametrize("point_format", [6, 7, 8])
def test_version_1_5(tmp_path: Path, lake: Lake, point_format: int, suffix: str) -> None:
    """A longer header, WKT whatever the bit for it says, and no formats below 6."""
    path = write_las(tmp_path / f"a.{suffix}", COUNT, point_format=point_format, version="1.5")
    las = laspy.read(path)
    las.header.add_crs(CRS("EPSG:32650+5773"))
    las.header.global_encoding.wkt = False
    las.write(path)
    truth, _ = exact(path, "EPSG:32650")
    version, report = ingest(lake, path)
    assert (report.facts["version"], version.reference.horizontal, version.reference.vertical) == ("1.5", "EPSG:32650", "EPSG:5773")
    assert_whole(lake, path, truth)
    data = bytearray(path.read_bytes())
    data[104] = data[104] & 0xC0 | 3
    (tmp_path / "old.las").write_bytes(data)
    with pytest.raises(UnreadableSource, match=r"point format 3 is unknown in LAS 1\.5"):
        ingest(lake, tmp_path / "old.las", **HERE)


def laz(folder: Path) -> tuple[bytes, np.ndarray, np.ndarray]:
    """(a LAZ file, its records, the places of its points)."""
    path = write_las(folder / "whole.laz", COUNT, point_format=7, version="1.4")
    return path.read_bytes(), laspy.read(path).points.array, exact(path, "EPSG:32650")[0]


@pytest.mark.parametrize("where", ["last 8 bytes", "behind a gap", "nowhere", "not written"])
def test_the_chunk_table_lies(tmp_path: Path, lake: Lake, where: str) -> None:
    data, _, truth = laz(tmp_path)
    (start,) = struct.unpack_from("<I", data, 96)
    (at,) = struct.unpack_from("<q", data, start)
    points, table = data[start + 8 : at], data[at:]
    told, behind = {"last 8 bytes": (-1, table + struct.pack("<q", at)), "behind a gap": (at + 999, bytes(999) + table), "nowhere": (-1, table),
                    "not written": (0, b"")}[where]  # fmt: skip
    path = tmp_path / "b.laz"
    path.write_bytes(data[:start] + struct.pack("<q", told) + points + behind)
    if where in ("last 8 bytes", "behind a gap"):
        assert_whole(lake, path, truth)
    else:
        with pytest.raises(UnreadableSource, match="chunk table lies outside"):
            ingest(lake, path, **HERE)


@pytest.mark.parametrize("size", [7, COUNT - 1, COUNT, COUNT + 1, None])
def test_chunks_of_other_sizes(tmp_path: Path, lake: Lake, size: int | None) -> None:
    """Fixed ones, the last of a single point, and (None) those that each have their own."""
    data, rows, truth = laz(tmp_path)
    (start,) = struct.unpack_from("<I", data, 96)
    record = bytearray(lazrs.LazVlr.new_for_compression(7, 0, use_variable_size_chunks=size is None).record_data())
    if size is not None:
        struct.pack_into("<I", record, 12, size)
    at = data.index(b"laszip encoded") + 52
    body = io.BytesIO()
    body.write(data[:at] + record + data[at + len(record) : start])
    compressor = lazrs.LasZipCompressor(body, lazrs.LazVlr(bytes(record)))
    for first, last in ((0, 1), (1, 40), (40, COUNT)) if size is None else ((0, COUNT),):
        compressor.compress_many(np.ascontiguousarray(rows[first:last]).view(np.uint8))
        if size is None:
            compressor.finish_current_chunk()
    compressor.done()
    path = tmp_path / "c.laz"
    path.write_bytes(body.getvalue())
    assert_whole(lake, path, truth)
