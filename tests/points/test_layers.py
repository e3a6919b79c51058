"""Many files in one layer, each in its own reference; filters and flags; updates file by file."""

from __future__ import annotations

import shutil
from pathlib import Path

import laspy
import numpy as np
import pytest
from pyproj import Transformer
from scipy.spatial import cKDTree

from ingest_gis import points as reader
from tests.ingest_gis.conftest import write_las
from tests.points.conftest import exact, ingest, tile
from twin import crs, parts, reading
from twin.errors import BadFeature, BadOption, BadReference, UnreadableSource
from twin.lake import Lake
from twin.model import LayerVersion

HERE = {"crs": "EPSG:32650", "vertical": "EGM96"}


def moved(path: Path, target: Path, horizontal: str, shift: float) -> Path:
    """The same points (EPSG:32650) as a file in another CRS by pyproj, its heights moved by `shift`; millimetres."""
    las = laspy.read(path)
    x, y = Transformer.from_crs("EPSG:32650", horizontal, always_xy=True).transform(np.asarray(las.x), np.asarray(las.y))
    header = laspy.LasHeader(point_format=3, version="1.2")
    degrees = horizontal == "EPSG:4326"
    header.scales, header.offsets = ([1e-9, 1e-9, 1e-3] if degrees else [1e-3] * 3), [float(np.floor(x[0])), float(np.floor(y[0])), 0.0]
    out = laspy.LasData(header)
    out.x, out.y, out.z = x, y, np.asarray(las.z) + shift
    out.classification, out.intensity = las.classification, las.intensity
    for name in ("red", "green", "blue"):
        setattr(out, name, las[name])
    out.write(target)
    return target


def test_files_in_three_references_become_one_place(tmp_path: Path, lake: Lake) -> None:
    """Neighbouring strips delivered in UTM/EGM96, a Gauss–Krüger zone/1985 and degrees/ellipsoid: each point where pyproj puts it."""
    folder = tmp_path / "delivery"
    (folder / "north").mkdir(parents=True)
    rng = np.random.default_rng(3)
    write_las(folder / "a.las", 20_000, seed=1)
    for name, east, epsg, seed in (("b.laz", 100, "EPSG:4526", 2), ("north/c.las", 200, "EPSG:4326", 3)):
        plain = write_las(tmp_path / "plain.las", 20_000, seed=seed, x=500_000 + east + rng.random(20_000) * 100)
        las = laspy.read(plain)
        lon, lat = Transformer.from_crs("EPSG:32650", "EPSG:4326", always_xy=True).transform(np.asarray(las.x), np.asarray(las.y))
        moved(plain, folder / name, epsg, crs.undulation(lon, lat) if epsg == "EPSG:4326" else 0.0)
    version, report = ingest(lake, folder, references="b.laz=EPSG:4526+5737,north/*=EPSG:4326+ellipsoid", **HERE)
    assert [part.properties["file"] for part in version.parts] == ["a.las", "b.laz", "north/c.las"]
    assert [row["crs"] for row in report.facts["files"]] == ["EPSG:32650", "EPSG:4526", "EPSG:4326"]
    assert [row["vertical"] for row in report.facts["files"]] == ["EPSG:5773", "EPSG:5737", "EPSG:4979"]
    assert version.count == report.kept == 60_000
    result = tile(lake, version, tmp_path / "out.3tz", points_per_tile=5_000)
    truth = [exact(folder / "a.las", "EPSG:32650")[0], exact(folder / "b.laz", "EPSG:4526")[0]]
    degrees = laspy.read(folder / "north/c.las")
    up = Transformer.from_crs("EPSG:4979", "EPSG:4978", always_xy=True)
    truth.append(np.column_stack(up.transform(np.asarray(degrees.x), np.asarray(degrees.y), np.asarray(degrees.z))))
    distance, row = cKDTree(np.concatenate(truth)).query(result.ecef())
    assert distance.max() < 0.0012  # a millimetre, and what 1e-9 degrees and the geoid's interpolation add
    assert len(np.unique(row)) == 60_000
    # the strips lie side by side: 300 m, not three places on earth
    assert np.ptp(result.ecef(), axis=0).max() < 320


def test_copies_empty_files_and_strangers(tmp_path: Path, lake: Lake) -> None:
    folder = tmp_path / "delivery"
    folder.mkdir()
    write_las(folder / "a.las", 3_000)
    shutil.copy(folder / "a.las", folder / "copy of a.las")
    write_las(folder / "none.las", 1)
    raw = bytearray((folder / "none.las").read_bytes())
    raw[107:111] = bytes(4)
    (folder / "none.las").write_bytes(raw)
    version, report = ingest(lake, folder, **HERE)
    assert version.count == 3_000
    said = {note.feature: note.reason for note in report.notes}
    assert said == {"copy of a.las": "the same bytes as a.las", "none.las": "the file holds no points"}
    with pytest.raises(BadOption, match="no file's name fits"):
        ingest(lake, folder, references="z*=EPSG:4547+5737", **HERE)
    (folder / "bad.laz").write_bytes(b"<html>")
    with pytest.raises(UnreadableSource, match=r"bad\.laz"):
        ingest(lake, folder, **HERE)
    (tmp_path / "nothing").mkdir()
    with pytest.raises(UnreadableSource, match="holds no point cloud"):
        ingest(lake, tmp_path / "nothing", **HERE)


def test_a_file_on_another_continent_is_refused(tmp_path: Path, lake: Lake) -> None:
    write_las(tmp_path / "a.las", 500)
    write_las(tmp_path / "b.las", 500, seed=2)
    with pytest.raises(BadReference, match=r"b\.las"):
        ingest(lake, [tmp_path / "a.las", tmp_path / "b.las"], references="b.las=EPSG:2154+5720", **HERE)


@pytest.mark.parametrize("point_format", [3, 7])
@pytest.mark.parametrize("suffix", ["las", "laz"])
def test_flags_and_classes_are_left_out_and_counted(tmp_path: Path, lake: Lake, point_format: int, suffix: str) -> None:
    rng = np.random.default_rng(9)
    n = 40_000
    flags = {name: rng.random(n) < 0.1 for name in ("withheld", "synthetic", "key_point")} | ({"overlap": rng.random(n) < 0.1} if point_format > 5 else {})
    classes = rng.choice([2, 6, 7, 12, 18], n).astype(np.uint8)
    path = write_las(tmp_path / f"f.{suffix}", n, point_format=point_format, version="1.4", classification=classes, **flags)
    las = laspy.read(path)
    withheld = np.asarray(las.withheld) == 1
    version, report = ingest(lake, path, **HERE)
    assert (report.read, report.kept) == (n, int((~withheld).sum()))
    assert report.facts["left_out"] == {"withheld": int(withheld.sum())}
    assert report.facts["flags"] == {name: int(np.asarray(las[name]).sum()) for name in flags}
    assert "flagged withheld are left out" in report.notes[0].reason
    tile(lake, version, tmp_path / "a.3tz", points_per_tile=5_000)
    version, report = ingest(lake, path, drop="", **HERE)
    assert report.kept == n
    version, report = ingest(lake, path, drop="withheld,overlap,noise", exclude="2", **HERE)
    over = np.asarray(las.overlap) == 1 if point_format > 5 else classes == 12
    keep = ~withheld & ~over & ~np.isin(classes, [2, 7, 18])
    assert version.count == int(keep.sum())
    assert sum(report.facts["left_out"].values()) == n - version.count
    result = tile(lake, version, tmp_path / "b.3tz", points_per_tile=5_000)
    distance, row = cKDTree(exact(path, "EPSG:32650")[0][keep]).query(result.ecef())
    assert distance.max() < 0.001
    assert len(np.unique(row)) == keep.sum()
    version, report = ingest(lake, path, classes="6", drop="", **HERE)
    assert {c["code"]: c["count"] for c in version.parts[0].properties["classes"]} == {6: int((classes == 6).sum())}
    tile(lake, version, tmp_path / "c.3tz")
    with pytest.raises(BadFeature, match="none of its 40,000 points"):
        ingest(lake, path, classes="9", **HERE)
    for bad in ({"drop": "ghosts"}, {"classes": "300"}, {"references": "nonsense"}):
        with pytest.raises(ValueError):
            reader.Options(**bad)


def test_the_check_sees_a_filter_that_was_not_applied(tmp_path: Path, lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_las(tmp_path / "f.las", 20_000)
    version, _ = ingest(lake, path, exclude="5", **HERE)
    monkeypatch.setattr("tiling.points.runs.Cloud._kept", lambda _self, raw: raw)
    with pytest.raises(BadFeature, match="points were written"):
        tile(lake, version, tmp_path / "x.3tz")


def test_update_adds_and_replaces_files(tmp_path: Path, lake: Lake) -> None:
    for name, seed in (("a.las", 1), ("b.las", 2)):
        write_las(tmp_path / name, 2_000, seed=seed)
    base, _ = ingest(lake, [tmp_path / "a.las", tmp_path / "b.las"], **HERE)
    write_las(tmp_path / "b.las", 2_500, seed=7)
    moved(write_las(tmp_path / "plain.las", 1_000, seed=8), tmp_path / "c.las", "EPSG:4526", 0.0)
    change, _ = ingest(lake, [tmp_path / "b.las", tmp_path / "c.las"], references="c.las=EPSG:4526+5737", **HERE)
    merged = parts.from_json(parts.to_json(parts.merge(lake, base, change)))
    assert [(p.properties["file"], p.count) for p in merged.parts] == [("a.las", 2_000), ("b.las", 2_500), ("c.las", 1_000)]
    assert merged.parts[0].key == base.parts[0].key
    facts = merged.report["facts"]
    assert (merged.count, facts["files_replaced"], facts["files_added"], facts["files_kept"]) == (5_500, 1, 1, 1)
    result = tile(lake, merged, tmp_path / "m.3tz")
    truth = np.concatenate([exact(tmp_path / n, e)[0] for n, e in (("a.las", "EPSG:32650"), ("b.las", "EPSG:32650"), ("c.las", "EPSG:4526"))])
    distance, row = cKDTree(truth).query(result.ecef())
    assert distance.max() < 0.001
    assert len(np.unique(row)) == 5_500


def test_update_may_begin_with_another_reference(tmp_path: Path, lake: Lake) -> None:
    """The change's first file is in degrees; the layer stays in its own reference and its box around all."""
    base, _ = ingest(lake, write_las(tmp_path / "a.las", 1_000), **HERE)
    change, _ = ingest(lake, moved(write_las(tmp_path / "p.las", 1_000, seed=2), tmp_path / "d.las", "EPSG:4326", 0.0), crs="EPSG:4326", vertical="EGM96")
    merged = parts.merge(lake, base, change)
    assert merged.reference == base.reference
    box = merged.parts[1].bounds
    assert box is not None
    assert abs(box.minx - 500_000) < 1
    assert abs(box.maxy - 2_500_100) < 1
    tile(lake, merged, tmp_path / "m.3tz")


def update(lake: Lake, base: LayerVersion, source: Path | list[Path]) -> LayerVersion:
    """What `twin ingest --update` makes of a layer: the reader knows the names of its files."""
    held = frozenset(part.properties["file"] for part in base.parts)
    with reading.given(reading.Surroundings(held=held)):
        return parts.merge(lake, base, ingest(lake, source, **HERE)[0])


def by_file(version: LayerVersion) -> dict[str, int]:
    return {part.properties["file"]: part.count for part in version.parts}


@pytest.fixture
def delivery(tmp_path: Path) -> Path:
    """Three files of one name, in folders."""
    for name, count in (("a.las", 1_000), ("north/a.las", 1_100), ("south/a.las", 1_200)):
        path = tmp_path / "delivery" / name
        path.parent.mkdir(exist_ok=True)
        write_las(path, count, seed=count)
    return tmp_path / "delivery"


def test_an_update_knows_a_file_by_the_folder_it_lies_in(tmp_path: Path, lake: Lake, delivery: Path) -> None:
    """Given by itself or by its folder, `north/a.las` takes the place of no other file called a.las."""
    base, _ = ingest(lake, delivery, **HERE)
    whole = {"a.las": 1_000, "north/a.las": 1_100, "south/a.las": 1_200}
    assert by_file(base) == whole
    for source, name in ((delivery / "north/a.las", "north/a.las"), (delivery / "south", "south/a.las"), (delivery / "a.las", "a.las")):
        path = source if source.is_file() else source / "a.las"
        before = path.read_bytes()
        write_las(path, 77, seed=9)
        assert by_file(update(lake, base, source)) == {**whole, name: 77}
        path.write_bytes(before)
    (tmp_path / "east").mkdir()
    assert by_file(update(lake, base, write_las(tmp_path / "east/a.las", 66))) == {**whole, "a.las": 66}  # the layer has one of this very name
    write_las(delivery / "east.las", 55, seed=8)
    assert by_file(update(lake, base, delivery / "east.las")) == {**whole, "east.las": 55}


def test_an_update_that_may_mean_several_files_is_refused(tmp_path: Path, lake: Lake, delivery: Path) -> None:
    (delivery / "a.las").unlink()
    base, _ = ingest(lake, delivery, **HERE)
    with pytest.raises(BadOption, match=r"a\.las may be north/a\.las or south/a\.las of the layer, or a new file"):
        update(lake, base, write_las(tmp_path / "a.las", 50))
    (tmp_path / "more/north").mkdir(parents=True)
    write_las(tmp_path / "more/north/a.las", 60)
    with pytest.raises(BadOption, match=r"would both take the place of the layer's north/a\.las"):
        update(lake, base, [delivery / "north/a.las", tmp_path / "more/north/a.las"])
    (tmp_path / "more/east").mkdir()
    write_las(tmp_path / "more/east/a.las", 70)
    assert by_file(update(lake, base, tmp_path / "more")) == {"east/a.las": 70, "north/a.las": 60, "south/a.las": 1_200}


def test_a_file_of_an_update_without_points_takes_nothing_away_and_that_is_said(tmp_path: Path, lake: Lake) -> None:
    folder = tmp_path / "delivery"
    folder.mkdir()
    for name, count in (("a.las", 100), ("b.las", 110), ("c.las", 120)):
        write_las(folder / name, count, seed=count)
    base, _ = ingest(lake, folder, **HERE)
    write_las(folder / "a.las", 0)
    write_las(folder / "b.las", 10, classification=np.full(10, 7, np.uint8))
    write_las(folder / "c.las", 20)
    with reading.given(reading.Surroundings(held=frozenset(by_file(base)))):
        change, report = ingest(lake, folder, **HERE, exclude="7")
    assert by_file(parts.merge(lake, base, change)) == {"a.las": 100, "b.las": 110, "c.las": 20}
    said = {(note.feature, note.reason) for note in report.notes}
    assert ("a.las", "the file holds no points; a.las of the layer stays as it is") in said
    assert ("b.las", "the filter leaves none of its points; b.las of the layer stays as it is") in said


def test_a_copy_outlives_the_file_it_was_a_copy_of(tmp_path: Path, lake: Lake) -> None:
    """b.las has the bytes of a.las and is left out; when a.las is replaced, b.las is still part of the delivery."""
    write_las(tmp_path / "a.las", 1_000)
    (tmp_path / "b.las").write_bytes((tmp_path / "a.las").read_bytes())
    (tmp_path / "c.las").write_bytes((tmp_path / "a.las").read_bytes())
    base, _ = ingest(lake, sorted(tmp_path.glob("*.las")), **HERE)
    assert by_file(base) == {"a.las": 1_000}
    changed = update(lake, base, write_las(tmp_path / "a.las", 500, seed=5))
    assert by_file(changed) == {"a.las": 500, "b.las": 1_000}
    whole, _ = ingest(lake, sorted(tmp_path.glob("*.las")), **HERE)
    assert [(p.key, p.bounds, p.properties) for p in changed.parts] == [(p.key, p.bounds, p.properties) for p in whole.parts]
