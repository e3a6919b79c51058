"""What really arrives: every public cloud at hand, mixed formats in one layer, files whose numbers are odd or lie."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import laspy
import numpy as np
import pytest
from pyproj import Transformer
from scipy.spatial import cKDTree

from ingest_gis import points as reader
from tests.conftest import shared_path
from tests.ingest_gis.conftest import write_las
from tests.points.conftest import exact, ingest, tile
from tests.points.copc import write_copc
from tiling.points import tiler
from twin.errors import BadReference, TwinError, UnreadableSource
from twin.lake import Lake
from twin.model import Report

HERE = {"crs": "EPSG:32650", "vertical": "EGM96"}
EGM = {"vertical": "EGM96"}
FRANCE = {"crs": "EPSG:2154", "vertical": "EPSG:5720"}


# file → options, and the points that laspy counts, or why it is refused (laspy_simple.copc: feet under a CRS in metres)
VERDICTS: dict[str, tuple[dict[str, Any], int | str]] = {
    "autzen2010_west.copc.laz": (EGM, 4_667_844), "ign_classified_77050_627755.laz": (EGM, 84_524), "ign_lidarhd_77050_627755.laz": (EGM, 73_355),
    "ign_lidarhd_77055_627755.laz": (EGM, 72_770), "ign_lidarhd_77055_627760.laz": (EGM, 60_653), "ign_lidarhd_77060_627755.laz": (EGM, 83_518),
    "ign_noepsg.laz": (EGM, "states no coordinate reference"), "ign_reunion_epsg2975.laz": (EGM, 59_712), "ign_semis_2021_0382_6565.laz": (EGM, 218_731),
    "isprs_CSite1_red2.laz": (EGM, 131_622), "isprs_CSite3_orig.laz": (EGM, 377_028), "isprs_samp11.laz": (EGM, 38_010), "isprs_samp12.laz": (EGM, 52_119),
    "isprs_samp31.laz": (EGM, 28_862), "laspy_1_4_w_evlr.laz": (EGM, 1_000), "laspy_autzen_trim.laz": (EGM, 110_000),
    "laspy_extrabytes.las": ({"crs": "EPSG:2992", **EGM}, 1_065), "laspy_file_with_both_wkt_and_geotiff_vlrs.las": (EGM, 25_408),
    "laspy_simple.copc.laz": ({}, "far outside that CRS's area"), "laspy_simple1_4.las": (EGM, r"longitude|range|plausible|degrees"), "ripple.las": (EGM, "states no coordinate reference"),
    "laspy_unregistered_extra_bytes.las": ({}, "states no coordinate reference"),
    "malformed/derived_bad_magic.las": (FRANCE, "no LAS file"), "malformed/derived_empty.las": (FRANCE, "is empty"),
    "malformed/derived_html_error_page.laz": (FRANCE, "HTML page"), "malformed/derived_nan_scale.las": (FRANCE, "not positive numbers"),
    "malformed/derived_offset_beyond_eof.las": (FRANCE, "behind the end"), "malformed/derived_point_format_99.las": (FRANCE, "point format 35"),
    "malformed/derived_truncated_half.las": (FRANCE, "truncated"), "malformed/derived_truncated_header.las": (FRANCE, "header is truncated"),
    "malformed/derived_vlr_count_lie.las": ({"crs": "EPSG:2992", **EGM}, 1_065), "malformed/derived_copc_bad_root_hier.copc.laz": ({"crs": "EPSG:2992", **EGM}, 1_065),
    "malformed/ign_pdalfail_0643_6319.laz": (FRANCE, 89), "malformed/ign_semis_ok.laz": (FRANCE, 64_572), "malformed/ign_single_point.laz": (FRANCE, 1),
}  # fmt: skip


def test_every_public_cloud_has_its_verdict(lake: Lake) -> None:
    """Each file is stored with all its points, or refused with its name and the reason; none is forgotten."""
    folder = shared_path("pointcloud")
    found = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*.la?")}
    assert found.keys() == VERDICTS.keys()
    for name, (options, verdict) in VERDICTS.items():
        if isinstance(verdict, int):
            version, report = ingest(lake, found[name], **options)
            assert (version.count, report.read) == (verdict, verdict), name
            continue
        with pytest.raises(TwinError, match=verdict) as caught:
            ingest(lake, found[name], **options)
        assert found[name].name in str(caught.value)


def test_formats_versions_and_compressions_mix_in_one_layer(tmp_path: Path, lake: Lake) -> None:
    """Neighbouring survey tiles in formats 3, 7 and 8, LAS 1.2 and 1.4, LAZ, and one of their points made LAS: one layer, every point, right by laspy and pyproj."""
    names = ["ign_classified_77050_627755.laz", "ign_lidarhd_77055_627755.laz", "ign_lidarhd_77055_627760.laz", "ign_lidarhd_77060_627755.laz"]
    files = [shared_path("pointcloud", name) for name in names]
    laspy.convert(laspy.read(files[1]), point_format_id=7).write(tmp_path / "seven.las")
    version, report = ingest(lake, [files[0], tmp_path / "seven.las", *files[2:]], **EGM)
    assert {(p.properties["point_format"], p.properties["version"]) for p in version.parts} == {(3, "1.2"), (7, "1.4"), (8, "1.4")}
    assert version.count == report.read == 84_524 + 72_770 + 60_653 + 83_518
    result = tile(lake, version, tmp_path / "m.3tz")
    assert result.facts["stats"]["points"] == version.count


ODD: dict[str, dict[str, Any]] = {
    "one point": {"count": 1}, "two": {"count": 2},
    "all in one place": {"count": 60_000, "x": np.full(60_000, 500_000.5), "y": np.full(60_000, 2_500_000.5), "z": np.full(60_000, 3.0)},
    "half of them twice": {"count": 60_000, **{a: np.tile(o + np.random.default_rng(k).integers(0, 100_000, 30_000) / 1000, 2)
                                             for k, (a, o) in enumerate((("x", 500_000), ("y", 2_500_000), ("z", 0)))}},
    "a line": {"count": 60_000, "x": np.linspace(500_000, 500_900, 60_000), "y": np.full(60_000, 2_500_000.0), "z": np.zeros(60_000)},
    "a crowd and a stray": {"count": 60_000, "x": np.concatenate([[501_500.0], 500_000 + np.random.default_rng(1).random(59_999)]),
                            "y": np.full(60_000, 2_500_000.0) + np.random.default_rng(2).random(60_000), "z": np.random.default_rng(3).random(60_000)},
}  # fmt: skip


@pytest.mark.parametrize("name", ODD)
def test_odd_clouds_are_whole_and_valid(tmp_path: Path, lake: Lake, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Checked against laspy by `twin check`; points in the place of another are counted as numpy counts them."""
    monkeypatch.setattr(tiler, "BUCKET", 20_000)
    path = write_las(tmp_path / "o.las", **ODD[name])
    version, _ = ingest(lake, path, **HERE)
    result = tile(lake, version, tmp_path / "o.3tz", points_per_tile=5_000)
    las = laspy.read(path)
    same = len(las) - len(np.unique(np.column_stack([las.X, las.Y, las.Z]), axis=0))
    assert result.facts["stats"]["coincident"] == same
    said = [note["reason"] for note in result.facts["report"]["notes"]]
    assert said == ([f"{same:,} points lie in the very place of another; all are drawn"] if same else [])
    assert (same > 100) == (name in ("all in one place", "half of them twice"))


def test_counts_that_lie_are_said(tmp_path: Path) -> None:
    """Fewer points stated than there are; two counts that differ."""
    def told(path: Path) -> tuple[int, str]:
        report = Report(source=path.name)
        (asset,) = reader.read(path, reader.Options(**HERE), report)
        return asset.count, " ".join(note.reason for note in report.notes)

    def stating(path: Path, points: int) -> tuple[int, str]:
        raw = bytearray(path.read_bytes())
        raw[107:111] = struct.pack("<I", points)
        path.write_bytes(raw)
        return told(path)

    count, said = stating(write_las(tmp_path / "few.las", 1_000), 400)
    assert count == 400
    assert "room for 600 more" in said
    path = write_las(tmp_path / "two.las", 1_000, version="1.4")
    assert "states" not in told(path)[1]
    count, said = stating(path, 999)
    assert count == 1_000
    assert "999 in the field for old programs" in said


def test_a_damaged_file_among_others_says_what_became_of_them(tmp_path: Path, lake: Lake) -> None:
    folder = tmp_path / "delivery"
    folder.mkdir()
    for name in ("a.las", "b.las", "c.laz"):
        write_las(folder / name, 100, seed=ord(name[0]))
    whole = (folder / "b.las").read_bytes()
    (folder / "b.las").write_bytes(whole[:1000])
    with pytest.raises(UnreadableSource, match=r"^b\.las: it is truncated.* None of the 3 files was taken in: leave this one out to have the others\.$") as caught:
        ingest(lake, folder, **HERE)
    assert "None of" in caught.value.remedy
    with pytest.raises(UnreadableSource) as caught:
        ingest(lake, folder / "b.las", **HERE)
    assert "None of" not in str(caught.value)


@pytest.mark.parametrize("far", [1e9, -1e12])
def test_coordinates_of_no_place_are_refused(tmp_path: Path, lake: Lake, far: float) -> None:
    path = write_las(tmp_path / "far.las", 500)
    raw = bytearray(path.read_bytes())
    raw[155:163] = struct.pack("<d", far)
    path.write_bytes(raw)
    with pytest.raises(BadReference, match=r"far\.las: .* cannot be in WGS 84"):
        ingest(lake, path, **HERE)


def test_doubtful_heights_and_steps_are_said(tmp_path: Path) -> None:
    plain = write_las(tmp_path / "a.las", 100)
    las = laspy.read(plain)
    las.z = np.where(np.arange(100) == 7, 2e6, np.asarray(las.z))
    las.write(tmp_path / "high.las")
    coarse = laspy.LasHeader(point_format=3, version="1.2")
    coarse.scales, coarse.offsets = [10.0, 10.0, 0.001], [500_000, 2_500_000, 0]
    steps = laspy.LasData(coarse)
    steps.x, steps.y, steps.z = las.x, las.y, np.zeros(100)
    steps.write(tmp_path / "steps.las")
    said = {}
    for name in ("a", "high", "steps"):
        report = Report(name)
        list(reader.read(tmp_path / f"{name}.las", reader.Options(crs="EPSG:32650", vertical="ellipsoid"), report))
        said[name] = " ".join(note.reason for note in report.notes if note.action == "warned")
    assert not said["a"]
    assert "to 2e+06 m: noise" in said["high"]
    assert "steps of 10 m" in said["steps"]


def test_a_cloud_across_the_180th_meridian_is_in_place(tmp_path: Path, lake: Lake) -> None:
    rng = np.random.default_rng(1)
    header = laspy.LasHeader(point_format=3, version="1.2")
    header.scales, header.offsets = [1e-7, 1e-7, 1e-3], [180, 22, 0]
    las = laspy.LasData(header)
    las.x, las.y, las.z = 179.9995 + rng.random(3000) * 0.001, 22 + rng.random(3000) * 0.001, rng.random(3000)
    las.write(tmp_path / "a.las")
    result = tile(lake, ingest(lake, tmp_path / "a.las", crs="EPSG:4326", vertical="ellipsoid")[0], tmp_path / "a.3tz")  # and checked
    ecef = np.column_stack(Transformer.from_crs("EPSG:4979", "EPSG:4978", always_xy=True).transform(las.x, las.y, las.z))
    assert cKDTree(result.ecef()).query(ecef)[0].max() < 0.002


def test_copc_mixes_with_other_formats(tmp_path: Path, lake: Lake) -> None:
    """Two COPC files (format 6 without and 8 with colours, hierarchies in one page and in several), a LAS and a LAZ: every point once, its class and colour, by laspy."""
    rng = np.random.default_rng(4)

    def some(x: float, y: float, count: int) -> np.ndarray[Any, Any]:
        return np.round(np.column_stack([x + rng.random(count) * 40, y + rng.random(count) * 40, rng.random(count) * 9]), 3)

    def kinds(count: int) -> np.ndarray[Any, Any]:
        return rng.choice([2, 6, 17, 200], count).astype(np.uint8)

    files = [write_copc(tmp_path / "a.copc.laz", some(500_000, 2_500_000, 5_000), point_format=6, classification=kinds(5_000), intensity=rng.integers(0, 65_536, 5_000)),
             write_copc(tmp_path / "b.copc.laz", some(500_030, 2_500_000, 6_000), point_format=8, paged=False, offsets=(499_000.0, 2_499_000.0, 0.0),
                        classification=kinds(6_000), **{name: rng.integers(0, 256, 6_000) * 257 for name in ("red", "green", "blue")}),
             write_las(tmp_path / "c.las", 2_000), write_las(tmp_path / "d.laz", 2_000, point_format=7, version="1.4", seed=2)]  # fmt: skip
    assert len(laspy.CopcReader.open(files[0]).query()) == 5_000  # another reader finds all of it by the hierarchy
    assert reader.read_header(files[0]).format == "copc"
    version, report = ingest(lake, files, **HERE)
    assert (version.count, [part.count for part in version.parts]) == (report.read, [5_000, 6_000, 2_000, 2_000])
    result = tile(lake, version, tmp_path / "m.3tz")  # and checked: counts by class, places both ways
    records = [laspy.read(file) for file in files]
    truth = np.concatenate([exact(file, "EPSG:32650")[0] for file in files])
    distance, row = cKDTree(truth).query(result.ecef())
    assert distance.max() < 0.001
    assert len(np.unique(row)) == len(truth)
    red = np.concatenate([np.full(5_000, -1), *(np.asarray(r.red) >> (8 if int(r.red.max()) > 255 else 0) for r in records[1:])])
    drawn = np.concatenate([columns["COLOR_0"][:, 0] for _, _, columns, _, _ in result.tiles()]).astype(int)
    kept = red[row] >= 0
    linear = np.rint(255 * np.where((s := np.arange(256) / 255) <= 0.04045, s / 12.92, ((s + 0.055) / 1.055) ** 2.4)).astype(int)
    assert np.abs(linear[red[row][kept]] - drawn[kept]).max() <= 1
