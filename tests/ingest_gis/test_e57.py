"""E57 against what pye57's own writer and a pose computed by scipy say."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import laspy
import numpy as np
import pye57
import pytest
from pye57 import libe57
from scipy.spatial.transform import Rotation

from ingest_gis import points
from twin.errors import MissingReference, StorageError, TwinError, UnreadableSource
from twin.model import Asset, Report

HERE = {"crs": "EPSG:32650", "vertical": "EGM96"}


def scan(seed: int, count: int = 5_000) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    xyz = rng.uniform(-20, 20, (3, count))
    return {
        "cartesianX": xyz[0], "cartesianY": xyz[1], "cartesianZ": xyz[2], "intensity": rng.random(count).astype(np.float32),
        "colorRed": rng.integers(0, 256, count).astype(np.uint8), "colorGreen": rng.integers(0, 256, count).astype(np.uint8),
        "colorBlue": rng.integers(0, 256, count).astype(np.uint8), "cartesianInvalidState": (rng.random(count) < 0.05).astype(np.int8),
    }  # fmt: skip


def write(path: Path, scans: list[tuple[dict[str, Any], Rotation, np.ndarray[Any, Any]]]) -> Path:
    file = pye57.E57(str(path), mode="w")
    for data, turn, move in scans:
        x, y, z, w = turn.as_quat()
        file.write_scan_raw(data, rotation=np.array([w, x, y, z]), translation=move)
    file.close()
    return path


def read(path: Path, tmp_path: Path, **options: Any) -> tuple[Asset, Any, Report]:
    """The asset, its LAZ as laspy reads it, and the report."""
    report = Report(source=path.name)
    for asset in points.read(path, points.Options(**options), report):
        (tmp_path / "out.laz").write_bytes(asset.path.read_bytes())
        return asset, laspy.read(tmp_path / "out.laz"), report
    raise AssertionError("nothing was read")


def test_two_scans_with_poses(tmp_path: Path) -> None:
    turns = [Rotation.from_euler("zyx", [30, 4, -7], degrees=True), Rotation.from_euler("zyx", [-170, 0, 2], degrees=True)]
    moves = [np.array([500_010.5, 2_500_020.25, 12.0]), np.array([500_060.0, 2_500_080.0, 14.5])]
    scans = [scan(1), scan(2)]
    path = write(tmp_path / "s.e57", list(zip(scans, turns, moves, strict=True)))
    asset, las, report = read(path, tmp_path, **HERE)
    valid = [s["cartesianInvalidState"] == 0 for s in scans]
    truth = np.concatenate([t.apply(np.column_stack([s["cartesianX"], s["cartesianY"], s["cartesianZ"]]).astype(np.float32)[v]) + m
                            for s, t, m, v in zip(scans, turns, moves, valid, strict=True)])  # fmt: skip
    got = np.column_stack([las.x, las.y, las.z])
    assert np.abs(got - truth).max() < 2e-4
    assert asset.count == len(truth) == len(las)
    assert asset.format == "laz"
    assert report.read == 10_000
    assert report.kept == len(truth)
    assert report.facts["scans"] == 2
    assert report.facts["driver"] == "E57"
    assert any("invalid" in note.reason for note in report.notes)
    assert np.array_equal(np.asarray(las.point_source_id), np.repeat([1, 2], [v.sum() for v in valid]))
    for name, short in (("colorRed", "red"), ("colorGreen", "green"), ("colorBlue", "blue")):
        assert np.array_equal(np.asarray(las[short]) >> 8, np.concatenate([s[name][v] for s, v in zip(scans, valid, strict=True)]))
    assert asset.properties["rgb_bits"] == 16
    intensity = np.concatenate([s["intensity"][v] for s, v in zip(scans, valid, strict=True)])
    assert np.abs(np.asarray(las.intensity) / 65_535 - intensity).max() < 1e-3


def double(image: Any) -> Any:
    return libe57.FloatNode(image, 0.0, libe57.E57_DOUBLE)


def laid_out(path: Path, *scans: dict[str, tuple[Any, np.ndarray[Any, Any]]], limits: Callable[[Any], dict[str, Any]] = lambda image: {}) -> Path:
    """Scans without poses whose fields are laid out as the nodes say (functions of the image), with these limits of intensity."""
    file = pye57.E57(str(path), mode="w")
    image = file.image_file
    image.extensionsAdd("las", "http://www.libe57.org/E57_LAS_v1.0.txt")
    for fields in scans:
        node, prototype, buffers = libe57.StructureNode(image), libe57.StructureNode(image), libe57.VectorSourceDestBuffer()
        node.set("guid", libe57.StringNode(image, f"{{{uuid.uuid4()}}}"))
        count = len(next(iter(fields.values()))[1])
        for name, (layout, values) in fields.items():
            prototype.set(name, layout(image))
            buffers.append(libe57.SourceDestBuffer(image, name, values, max(count, 1), True, True))
        if ends := limits(image):
            group = libe57.StructureNode(image)
            for name, value in ends.items():
                group.set(name, value)
            node.set("intensityLimits", group)
        vector = libe57.CompressedVectorNode(image, prototype, libe57.VectorNode(image, True))
        node.set("points", vector)
        file.data3d.append(node)
        if count:
            writer = vector.writer(buffers)
            writer.write(count)
            writer.close()
    file.close()
    return path


def test_of_two_fields_of_classes_it_is_always_the_same_that_holds(tmp_path: Path) -> None:
    """In the order of a set it was one or the other, by the process."""
    fields: dict[str, Any] = {f"cartesian{axis}": (double, np.random.default_rng(1).random(9)) for axis in "XYZ"}
    fields |= {"classification": (double, np.full(9, 2.0)), "las:classification": (double, np.full(9, 6.0))}
    path = laid_out(tmp_path / "two.e57", fields)
    out = tmp_path / "o.laz"
    code = (f"from pathlib import Path; from ingest_gis import e57; from twin.model import Report; import laspy; e57.to_laz(Path({str(path)!r}), Path({str(out)!r}), Report()); "
            f"print(set(map(int, laspy.read({str(out)!r}).classification)))")  # fmt: skip
    said = {subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONHASHSEED": str(seed)}, capture_output=True, text=True, check=True).stdout for seed in range(6)}
    assert said == {"{6}\n"}


def test_an_empty_scan_beside_others(tmp_path: Path) -> None:
    """The library fails on it; the other scans are read, and keep their numbers."""
    full: dict[str, Any] = {f"cartesian{axis}": (double, np.random.default_rng(1).random(50)) for axis in "XYZ"}
    empty: dict[str, Any] = {name: (layout, values[:0]) for name, (layout, values) in full.items()}
    _, las, _ = read(laid_out(tmp_path / "s.e57", empty, full, empty), tmp_path, **HERE)
    assert np.array_equal(np.asarray(las.point_source_id), np.full(50, 2))
    with pytest.raises(UnreadableSource, match="no valid points"):
        read(laid_out(tmp_path / "n.e57", empty), tmp_path, **HERE)


def spherical(path: Path, factor: float = 1.0) -> tuple[Path, np.ndarray[Any, Any]]:
    """A scan of range, azimuth and elevation; its places by the formula of E2807, 6.3.4."""
    rng = np.random.default_rng(4)
    reach, azimuth, elevation = rng.uniform(1, 30, 800), rng.uniform(-np.pi, np.pi, 800), rng.uniform(-1.5, 1.5, 800)
    reach = reach * factor
    laid_out(path, {"sphericalRange": (double, reach), "sphericalAzimuth": (double, azimuth), "sphericalElevation": (double, elevation)})
    return path, np.column_stack([reach * np.cos(elevation) * np.cos(azimuth), reach * np.cos(elevation) * np.sin(azimuth), reach * np.sin(elevation)])


@pytest.mark.parametrize("kind", ["float", "integer", "scaled"])
def test_limits_may_be_numbers_of_any_kind(tmp_path: Path, kind: str) -> None:
    """-5 to 20, stated as each of the three kinds of E2807: a file with scaled integers ended in an internal error."""
    make: dict[str, Callable[[Any, int], Any]] = {
        "float": lambda image, value: libe57.FloatNode(image, float(value)), "integer": libe57.IntegerNode,
        "scaled": lambda image, value: libe57.ScaledIntegerNode(image, value * 2, value * 2, value * 2, 0.5, 0.0),
    }  # fmt: skip
    xyz, said = np.random.default_rng(3).uniform(0, 9, (3, 11)), np.linspace(-5, 20, 11)
    columns = {name: (double, values) for name, values in zip(("cartesianX", "cartesianY", "cartesianZ", "intensity"), (*xyz, said), strict=True)}
    path = laid_out(tmp_path / "i.e57", columns, limits=lambda image: {"intensityMinimum": make[kind](image, -5), "intensityMaximum": make[kind](image, 20)})
    _, las, _ = read(path, tmp_path, **HERE)
    assert np.array_equal(np.asarray(las.intensity), np.rint((said + 5) / 25 * 65_535).astype(int))


@pytest.mark.parametrize("name", ["las:classification", "classification"])
def test_classes_and_returns_are_kept(tmp_path: Path, name: str) -> None:
    rng = np.random.default_rng(9)
    xyz = rng.uniform(0, 9, (3, 600))
    classes, count = rng.integers(0, 20, 600).astype(float), rng.integers(1, 6, 600)
    index = (rng.integers(0, 6, 600) % count).astype(float)
    classes[:3] = -1, 300, 2.5
    names = ("cartesianX", "cartesianY", "cartesianZ", name, "returnIndex", "returnCount")
    path = laid_out(tmp_path / "c.e57", {field: (double, values) for field, values in zip(names, (*xyz, classes, index, count.astype(float)), strict=True)})
    _, las, report = read(path, tmp_path, **HERE)
    assert np.array_equal(np.asarray(las.classification), np.where(np.arange(600) < 3, 0, classes).astype(int))
    assert np.array_equal(np.asarray(las.return_number), index + 1)
    assert np.array_equal(np.asarray(las.number_of_returns), count)
    assert [note.reason for note in report.notes if note.action == "skipped"] == [f"3 points have a {name} that is no whole number or not within what LAS holds; it is 0 or 1 there"]


def test_spherical_coordinates(tmp_path: Path) -> None:
    path, truth = spherical(tmp_path / "p.e57")
    from ingest_gis import e57

    e57.to_laz(path, tmp_path / "p.laz", Report())
    las = laspy.read(tmp_path / "p.laz")
    assert las.header.point_format.id == 6
    assert np.abs(np.column_stack([las.x, las.y, las.z]) - truth).max() < 1e-4


def test_needs_a_reference(tmp_path: Path) -> None:
    path = write(tmp_path / "s.e57", [(scan(1), Rotation.identity(), np.zeros(3))])
    with pytest.raises(MissingReference, match="states no coordinate reference"):
        read(path, tmp_path)


def test_damage_is_said(tmp_path: Path) -> None:
    """Cut anywhere, or with bytes changed (libe57 verifies the checksum of every page): one clear error."""
    whole = write(tmp_path / "s.e57", [(scan(1, 20_000), Rotation.identity(), np.array([500_000.0, 2_500_000, 0]))]).read_bytes()
    bad = tmp_path / "bad.e57"
    rng = np.random.default_rng(0)
    for keep in (1, 40, 500, 1024, len(whole) // 2, len(whole) - 1024):
        bad.write_bytes(whole[:keep])
        with pytest.raises(UnreadableSource, match=r"bad\.e57"):
            read(bad, tmp_path, **HERE)
    for _ in range(12):
        data = bytearray(whole)
        data[int(rng.integers(0, len(data)))] ^= 0xFF
        bad.write_bytes(data)
        with pytest.raises(TwinError):
            read(bad, tmp_path, **HERE)
    with pytest.raises(UnreadableSource, match=r"nan\.e57.*no valid points"):
        read(spherical(tmp_path / "nan.e57", np.nan)[0], tmp_path, **HERE)


BOUNDS = {
    "floats from 0 to 1": (lambda image: libe57.FloatNode(image, 0.0, libe57.E57_DOUBLE, 0.0, 1.0), 1.0),
    "floats of any size": (double, 1.0),
    "bytes": (lambda image: libe57.IntegerNode(image, 0, 0, 255), 255.0),
    "shorts": (lambda image: libe57.IntegerNode(image, 0, 0, 65_535), 65_535.0),
    "steps of a thousandth": (lambda image: libe57.ScaledIntegerNode(image, 0, 0, 1000, 0.001, 0.0), 1.0),
}


@pytest.mark.parametrize("name", BOUNDS)
def test_colours_and_intensities_without_stated_limits(tmp_path: Path, name: str) -> None:
    """They lie between the limits of their layout (E2807), or, where it has none, between 0 and the highest."""
    layout, top = BOUNDS[name]
    rng = np.random.default_rng(1)
    values = rng.random((4, 500))
    values[:, 0] = 1.0
    values = np.rint(values * top) if top > 1 else np.round(values, 3)
    fields: dict[str, Any] = {f"cartesian{axis}": (double, rng.random(500) * 9) for axis in "XYZ"}
    fields |= {field: (layout, column.copy()) for field, column in zip(("intensity", "colorRed", "colorGreen", "colorBlue"), values, strict=True)}
    from ingest_gis import e57

    e57.to_laz(laid_out(tmp_path / "u.e57", fields), tmp_path / "u.laz", Report())
    las = laspy.read(tmp_path / "u.laz")
    for short, column in zip(("red", "green", "blue"), values[1:], strict=True):
        assert np.abs(np.asarray(las[short]) / 65_535 - column / top).max() < 1e-5
    assert np.abs(np.asarray(las.intensity) / (65_535 if top == 1 else 1) - values[0]).max() < 1e-5


def test_only_the_state_of_the_coordinates_that_are_used_counts(tmp_path: Path) -> None:
    """Cartesian coordinates that are sound beside spherical ones that are not."""
    def state(image: Any) -> Any:
        return libe57.IntegerNode(image, 0, 0, 2)

    rng = np.random.default_rng(1)
    fields: dict[str, Any] = {name: (double, rng.random(100)) for name in ("cartesianX", "cartesianY", "cartesianZ", "sphericalRange", "sphericalAzimuth", "sphericalElevation")}
    fields |= {"cartesianInvalidState": (state, (np.arange(100) < 10).astype(np.int8)), "sphericalInvalidState": (state, np.full(100, 2, np.int8)),
               "isColorInvalid": (state, np.zeros(100, np.int8)), "timeStamp": (double, rng.random(100))}  # fmt: skip
    from ingest_gis import e57

    report = Report()
    e57.to_laz(laid_out(tmp_path / "u.e57", fields), tmp_path / "u.laz", report)
    assert len(laspy.read(tmp_path / "u.laz")) == 90
    assert report.notes[-1].reason == "not kept of the scans: isColorInvalid, timeStamp"


def test_a_full_disk_is_no_damaged_scan(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    path = write(tmp_path / "a.e57", [(scan(1), Rotation.identity(), np.zeros(3))])
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (9000, hard))
    try:
        with pytest.raises(StorageError, match=r"Writing what is made of a\.e57: the disk is full"):
            read(path, tmp_path, crs="EPSG:32650", vertical="EGM96")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
