"""E57 (ASTM E2807-11) → LAZ: every scan turned by its pose, with colours and intensities, then read like any other cloud.

The low-level library is used, chunk by chunk: memory does not grow with the scan, and nothing of the file is ever written.
Classes and returns are kept; what a LAS file cannot hold (row and column, images, time stamps) is named in the report.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import laspy
import numpy as np
from numpy.typing import NDArray

from ingest_gis.lasfile import AGAIN, EmptyCloud
from twin import clouds
from twin.errors import UnreadableSource
from twin.lake import storage_error
from twin.model import Report

F64 = NDArray[np.float64]
CHUNK = 500_000
SCALE = 1e-4
"""Metres of a stored step: rounding moves a point by less than 0.1 mm; ± 214 km fit."""
_CARTESIAN = ("cartesianX", "cartesianY", "cartesianZ")
_SPHERICAL = ("sphericalRange", "sphericalAzimuth", "sphericalElevation")
_COLORS = ("colorRed", "colorGreen", "colorBlue")
_WHOLE = {"classification": ("classification", 0, 255), "las:classification": ("classification", 0, 255), "returnIndex": ("return_number", 1, 15), "returnCount": ("number_of_returns", 0, 15)}
"""Fields of whole numbers: the LAS dimension of each, what is added (E2807 counts returns from 0) and the greatest that it holds."""
_LIMITS = {"intensityLimits": ("intensity",), "colorLimits": _COLORS}
WIDEST = 1e30
"""A field of floating-point numbers that is laid out for more than this is laid out for anything."""
_KEPT = {*_CARTESIAN, *_SPHERICAL, "cartesianInvalidState", "sphericalInvalidState", "intensity", *_COLORS, *_WHOLE}


@dataclass(frozen=True)
class Scan:
    """One scan: its point node, what its points have, between which values its intensities and colours lie by name, its pose (rotation (3, 3), translation (3,)), its number."""

    points: Any
    fields: frozenset[str]
    limits: dict[str, tuple[float, float]]
    rotation: F64
    translation: F64
    number: int


def to_laz(source: Path, target: Path, report: Report) -> str | None:
    """Write all scans of an E57 file as one LAZ file; -> the CRS it states (WKT), or None.

    Point format 7 (6 without colours); the scan's number is the point source id. Colours are spread to 16 bits by the
    scan's colour limits; intensities that are no 16-bit numbers are spread over 0–65535 by its intensity limits.

    Raises:
        UnreadableSource: not an E57 file, damaged (checksums are verified), or with points that cannot be placed.
        StorageError: the disk is full.
    """
    from pye57 import libe57  # noqa: PLC0415  only this format needs it

    try:
        image = libe57.ImageFile(str(source), "r")
    except (libe57.E57Exception, RuntimeError) as error:
        raise UnreadableSource(f"{source.name} cannot be opened as E57: {_reason(error)}.", AGAIN) from error
    file = clouds.Target(target, "wb")
    try:
        root = image.root()
        scans = _scans(image, root)
        colored = any(set(_COLORS) <= scan.fields for scan in scans)
        with io.BufferedWriter(file) as out:
            _write(image, source.name, scans, colored, out, report)
        report.facts["scans"] = len(scans)
        return _text(root, "coordinateMetadata")
    except (libe57.E57Exception, RuntimeError, ValueError, OverflowError, KeyError, MemoryError) as error:
        if file.trouble is not None:  # the library that compresses says that something failed, no more
            raise storage_error(f"Writing what is made of {source.name}", file.trouble) from error
        raise UnreadableSource(f"{source.name}: its scans cannot be read: {_reason(error)}.", AGAIN) from error
    finally:
        image.close()


def _reason(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")


def _text(node: Any, name: str) -> str | None:
    return (str(node[name].value()).strip() or None) if node.isDefined(name) else None


def _number(node: Any, name: str, default: float) -> float:
    """A number of any of the three kinds that E2807 has."""
    if not node.isDefined(name):
        return default
    return float(node[name].scaledValue() if hasattr(node[name], "scaledValue") else node[name].value())


def _scans(image: Any, root: Any) -> list[Scan]:
    from pye57 import libe57  # noqa: PLC0415

    found = []
    data = root["data3D"]
    for number in range(data.childCount()):
        node = data[number]
        points = node["points"]
        if not points.childCount():  # the library cannot read what holds nothing
            continue
        prototype = libe57.StructureNode(points.prototype())
        fields = frozenset(str(prototype.get(k).elementName()) for k in range(prototype.childCount()))
        if not (set(_CARTESIAN) <= fields or set(_SPHERICAL) <= fields):
            raise ValueError(f"scan {number + 1} has neither cartesian nor spherical coordinates")
        limits = {name: _limits(image, node, prototype, group, name) for group, names in _LIMITS.items() for name in names if name in fields}
        found.append(Scan(points, fields, limits, *_pose(node), number))
    return found


def _limits(image: Any, node: Any, prototype: Any, group: str, name: str) -> tuple[float, float]:
    """Between which values a field lies: as the scan states, else as its points are laid out, else as they are; E2807 leaves the statement open."""
    from pye57 import libe57  # noqa: PLC0415

    ends = (f"{name}Minimum", f"{name}Maximum")
    if node.isDefined(group) and all(node[group].isDefined(end) for end in ends):
        low, high = (_number(node[group], end, 0.0) for end in ends)
        if low < high:
            return low, high
    field = prototype[name]
    if isinstance(field, libe57.ScaledIntegerNode):
        return float(field.scaledMinimum()), float(field.scaledMaximum())
    low, high = float(field.minimum()), float(field.maximum())
    return (low, high) if abs(low) < WIDEST and abs(high) < WIDEST else _measured(image, node["points"], name)


def _measured(image: Any, points: Any, name: str) -> tuple[float, float]:
    """The lowest (0, if none is below) and highest value of a field."""
    from pye57 import libe57  # noqa: PLC0415

    room, buffers = np.empty(CHUNK), libe57.VectorSourceDestBuffer()
    buffers.append(libe57.SourceDestBuffer(image, name, room, CHUNK, True, True))
    reader, low, high = points.reader(buffers), 0.0, 0.0
    try:
        while count := reader.read():
            values = room[:count][np.isfinite(room[:count])]
            low, high = min(low, values.min(initial=0.0)), max(high, values.max(initial=0.0))
    finally:
        reader.close()
    return float(low), float(high)


def _pose(node: Any) -> tuple[F64, F64]:
    """(3, 3) rotation and (3,) translation, scanner → file coordinates (E2807, 8.4.8: x' = q x q* + t)."""
    if not node.isDefined("pose"):
        return np.eye(3), np.zeros(3)
    pose = node["pose"]
    turn, move = np.eye(3), np.zeros(3)
    if pose.isDefined("rotation"):
        w, x, y, z = (_number(pose["rotation"], name, 0.0) for name in "wxyz")
        length = float(np.sqrt(w * w + x * x + y * y + z * z))
        if not 0.9 < length < 1.1:
            raise ValueError(f"a pose's quaternion has the length {length:.3g} instead of 1")
        w, x, y, z = w / length, x / length, y / length, z / length
        turn = np.array([
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ])  # fmt: skip
    if pose.isDefined("translation"):
        move = np.array([_number(pose["translation"], name, 0.0) for name in "xyz"])
    return turn, move


def _write(image: Any, name: str, scans: list[Scan], colored: bool, target: IO[bytes], report: Report) -> None:
    header = laspy.LasHeader(point_format=7 if colored else 6, version="1.4")
    writer, invalid, left, over = None, 0, set[str](), dict[str, int]()
    try:
        for scan in scans:
            left |= scan.fields - _KEPT
            for columns, valid in _chunks(image, scan):
                invalid += int(len(valid) - valid.sum())
                xyz = _place(scan, columns)[valid]
                if not len(xyz):
                    continue
                if writer is None:
                    header.scales, header.offsets = np.full(3, SCALE), np.round(xyz[0], -2)
                    writer = laspy.open(target, "w", header=header, do_compress=True, closefd=False)
                for column in (name for name in _WHOLE if name in columns):
                    columns[column] = _whole(column, columns[column], valid, over)
                writer.write_points(_record(header, scan, columns, valid, xyz))
    finally:
        if writer is not None:
            writer.close()
    if writer is None:
        raise EmptyCloud(f"{name}: no valid points ({invalid:,} are marked invalid).", AGAIN)
    if invalid:
        report.note("skipped", "", f"{invalid:,} points are marked invalid by the scanner or have no coordinates")
        report.facts["invalid"] = report.facts.get("invalid", 0) + invalid
    for column, count in sorted(over.items()):
        report.note("skipped", "", f"{count:,} points have a {column} that is no whole number or not within what LAS holds; it is 0 or 1 there")
    if left:
        report.note("skipped", "", f"not kept of the scans: {', '.join(sorted(left))}")


def _chunks(image: Any, scan: Scan) -> Iterator[tuple[dict[str, NDArray[Any]], NDArray[np.bool_]]]:
    """(columns by name, which rows are valid) of at most `CHUNK` points each."""
    from pye57 import libe57  # noqa: PLC0415

    places = (*_CARTESIAN, "cartesianInvalidState") if set(_CARTESIAN) <= scan.fields else (*_SPHERICAL, "sphericalInvalidState")
    names = [*places, "intensity", *_COLORS, *_WHOLE]
    room = {name: np.empty(CHUNK, _kind(name)) for name in names if name in scan.fields}
    buffers = libe57.VectorSourceDestBuffer()
    for name, column in room.items():
        buffers.append(libe57.SourceDestBuffer(image, name, column, CHUNK, True, True))
    reader = scan.points.reader(buffers)
    try:
        while count := reader.read():
            columns = {name: column[:count] for name, column in room.items()}
            valid = np.ones(count, bool)
            for name, column in columns.items():
                if name.endswith("InvalidState"):
                    valid &= column == 0
                elif name in _CARTESIAN or name in _SPHERICAL:
                    valid &= np.isfinite(column)
            yield columns, valid
    finally:
        reader.close()


def _kind(name: str) -> str:
    return "b" if name.endswith("InvalidState") else "d"


def _place(scan: Scan, columns: dict[str, NDArray[Any]]) -> F64:
    """(N, 3) file coordinates of all rows, the pose applied."""
    if _CARTESIAN[0] in columns:
        own = np.column_stack([columns[name] for name in _CARTESIAN])
    else:
        reach, azimuth, elevation = (columns[name] for name in _SPHERICAL)
        flat = reach * np.cos(elevation)
        own = np.column_stack([flat * np.cos(azimuth), flat * np.sin(azimuth), reach * np.sin(elevation)])
    return np.asarray(own @ scan.rotation.T + scan.translation)


def _record(header: Any, scan: Scan, columns: dict[str, NDArray[Any]], valid: NDArray[np.bool_], xyz: F64) -> Any:
    if np.abs((xyz - header.offsets) / SCALE).max() > 2**31 - 1:
        raise ValueError(f"scan {scan.number + 1} has points more than 214 km from the first one")
    record = laspy.ScaleAwarePointRecord.zeros(len(xyz), header=header)
    record.x, record.y, record.z = xyz[:, 0], xyz[:, 1], xyz[:, 2]
    record.point_source_id = np.full(len(xyz), (scan.number + 1) % 65_536, np.uint16)
    record.return_number = record.number_of_returns = np.ones(len(xyz), np.uint8)
    if "intensity" in columns:
        record.intensity = _intensity(scan.limits["intensity"], columns["intensity"][valid])
    for name in (name for name in _WHOLE if name in columns):  # in this order: of two fields of classes the one of the LAS extension holds, in every process
        record[_WHOLE[name][0]] = columns[name][valid]
    if set(_COLORS) <= columns.keys():
        for name, short in zip(_COLORS, ("red", "green", "blue"), strict=True):
            record[short] = _color(scan.limits[name], columns[name][valid])
    return record


def _whole(name: str, values: F64, valid: NDArray[np.bool_], over: dict[str, int]) -> NDArray[np.uint8]:
    """(N,) values as LAS holds them; those that it cannot hold are counted in `over` and become the least that the dimension has."""
    _, added, most = _WHOLE[name]
    moved = values + added
    good = (moved >= added) & (moved <= most) & (moved == np.floor(moved))
    if count := int((valid & ~good).sum()):
        over[name] = over.get(name, 0) + count
    return np.where(good, moved, added).astype(np.uint8)


def _intensity(limits: tuple[float, float], values: F64) -> NDArray[np.uint16]:
    low, high = limits
    if not (low >= 0 and 1 < high <= 65_535):
        values = (values - low) / ((high - low) or 1.0) * 65_535
    return _short(np.nan_to_num(values))


def _color(limits: tuple[float, float], values: NDArray[Any]) -> NDArray[np.uint16]:
    low, high = limits
    return _short(np.nan_to_num((values - low) / ((high - low) or 1.0) * 65_535))


def _short(values: F64) -> NDArray[np.uint16]:
    return np.asarray(np.clip(np.rint(values), 0, 65_535), np.uint16)
