"""Point clouds (LAS, LAZ, COPC) → Asset: the file is checked, header and every point, and taken over as it is.

The tiler reads it from the lake by the layout written into the asset's properties, so nothing is decoded twice.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import lazrs
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from ingest_gis.lasfile import AGAIN, RGB_AT, LasFile, StatedReference, read_header, stated_reference
from ingest_gis.laszip import check_stream
from twin import crs
from twin.errors import BadReference, MissingReference, UnreadableSource
from twin.model import ABOVE_GROUND, Asset, Bounds, Reference, Report
from twin.registry import ReaderOptions

CHUNK = 65_536
"""Points in memory at once."""

CLASSES = {
    0: ("未处理", "never classified"), 1: ("未分类", "unclassified"), 2: ("地面", "ground"), 3: ("低植被", "low vegetation"),
    4: ("中植被", "medium vegetation"), 5: ("高植被", "high vegetation"), 6: ("建筑物", "building"), 7: ("低噪点", "low noise"),
    8: ("关键点", "model key point"), 9: ("水体", "water"), 10: ("铁路", "rail"), 11: ("道路", "road surface"),
    12: ("重叠", "overlap"), 13: ("地线", "wire guard"), 14: ("导线", "wire conductor"), 15: ("输电塔", "transmission tower"),
    16: ("绝缘子", "wire connector"), 17: ("桥面", "bridge deck"), 18: ("高噪点", "high noise"), 19: ("高架构筑物", "overhead structure"),
    20: ("忽略的地面", "ignored ground"), 21: ("积雪", "snow"), 22: ("时间排除", "temporal exclusion"),
}  # fmt: skip
"""ASPRS standard classes (LAS 1.4 R15, table 17): code → Chinese and English name; codes above 63 are the producer's own."""


class Options(ReaderOptions):
    """Options of the point cloud reader."""

    vertical_unit: float | None = Field(None, gt=0, description="Metres per unit of the heights (0.3048 for feet); overrides the file's.")


def read(source: Path, options: Options, report: Report) -> Iterator[Asset]:
    """Check a LAS/LAZ/COPC file and hand it over.

    Yields:
        One Asset; `bounds` are those of the points, in the file's units. Its properties: `layout` (where what lies),
        `classes` (count by code and names), `has_rgb`, `rgb_bits` (8 where 8-bit colours sit in 16-bit fields), `intensity`.

    Raises:
        UnreadableSource: with what is wrong in the header or the points.
        MissingReference, BadReference: no CRS, no vertical datum, or unknown ones.
    """
    las = read_header(source)
    for remark in las.remarks:
        report.note("warned", "", remark)
    reference = _reference(las, options, report)
    summary = summarise(las)
    report.read = report.kept = las.count
    _compare_bounds(las, summary, report)
    report.facts.update({"driver": las.format.upper(), "version": las.version, "point_format": las.point_format, "id_rule": "none: points have no ids"})
    bounds = Bounds.of(summary.corners(las))
    if las.point_format in RGB_AT and not summary.rgb_top:
        report.note("skipped", "", "the colour fields are all zero and are not used")
    yield Asset(reference, source, las.format, bounds, las.count, _properties(las, summary))


def _reference(las: LasFile, options: Options, report: Report) -> Reference:
    stated = stated_reference(las)
    if options.crs is None and stated.crs is not None:
        reference = _from_file(las, stated, options)
    else:
        reference = crs.parse_reference(options.crs, options.vertical, vertical_offset=options.vertical_offset, where=las.path.name)
    if not reference.vertical or reference.vertical == ABOVE_GROUND:
        raise MissingReference(
            f"{las.path.name}: the heights of a point cloud are absolute, but no vertical datum is stated.",
            "Name it with --vertical, for example EPSG:5737 (1985 heights), EGM96 or ellipsoid.",
        )
    unit, why = _unit(reference, stated, options)
    if why:
        report.note("assumed", "", why)
    report.facts["crs_source"] = "option" if options.crs else stated.source
    report.facts["vertical_unit_m"] = unit
    return Reference(reference.horizontal, reference.vertical, unit, reference.vertical_offset)


def _from_file(las: LasFile, stated: StatedReference, options: Options) -> Reference:
    """The file's own CRS; its vertical part gives way to the option."""
    vertical = options.vertical or stated.vertical
    return crs.parse_reference(stated.crs, vertical, vertical_offset=options.vertical_offset, where=las.path.name)


def _unit(reference: Reference, stated: StatedReference, options: Options) -> tuple[float, str]:
    """Metres per height unit: the option; the vertical CRS' own unit if not metres; what the file states; the unit of the map."""
    if options.vertical_unit is not None:
        return options.vertical_unit, ""
    if reference.vertical_unit != 1.0:
        return reference.vertical_unit, ""
    in_file = stated.unit
    if in_file is None and stated.crs is not None:
        with suppress(BadReference):  # a damaged CRS in the file does not matter where the option overrides it
            up = crs.parse_reference(stated.crs)
            in_file = up.vertical_unit if up.vertical else None
    if in_file is not None:
        return in_file, ""
    flat = crs.crs_of(reference.horizontal)
    factor = flat.axis_info[0].unit_conversion_factor if flat.is_projected else 1.0
    if abs(factor - 1.0) < 1e-9:
        return 1.0, ""
    return factor, f"no unit of the heights is stated; taken as that of the map ({flat.axis_info[0].unit_name}, {factor:.7g} m); say --option vertical_unit=1 for metres"


# --- points ------------------------------------------------------------------------------------------------------


@dataclass
class Summary:
    """What one pass over all points found, in raw integers."""

    low: NDArray[np.int64] = field(default_factory=lambda: np.full(3, np.iinfo(np.int64).max))
    high: NDArray[np.int64] = field(default_factory=lambda: np.full(3, np.iinfo(np.int64).min))
    classes: NDArray[np.int64] = field(default_factory=lambda: np.zeros(256, np.int64))
    intensity: list[int] = field(default_factory=lambda: [65_535, 0])
    rgb_top: int = 0

    def corners(self, las: LasFile) -> NDArray[np.float64]:
        """(2, 3) lowest and highest coordinates in the file's units."""
        corners = np.stack([self.low, self.high]) * np.array(las.scales, np.float64)
        return np.asarray(corners + np.array(las.offsets, np.float64))


def summarise(las: LasFile) -> Summary:
    """Read every point once and collect ranges and counts; memory is bounded by one chunk.

    Raises:
        UnreadableSource: the points cannot be decoded or end early.
    """
    found = Summary()
    kind = np.dtype((np.void, las.record))
    for raw in raw_chunks(las):
        _add(found, las, raw.view(kind) if raw.dtype != kind else raw)
    return found


def _add(found: Summary, las: LasFile, raw: NDArray[Any]) -> None:
    rows = raw.view(record_type(las.point_format, las.record))
    for axis, name in enumerate("xyz"):
        values = np.ascontiguousarray(rows[name])
        found.low[axis] = min(found.low[axis], values.min())
        found.high[axis] = max(found.high[axis], values.max())
    codes = rows["class"] if las.point_format >= 6 else rows["class"] & 31
    found.classes += np.bincount(codes, minlength=256)
    intensity = np.ascontiguousarray(rows["intensity"])
    found.intensity = [min(found.intensity[0], int(intensity.min())), max(found.intensity[1], int(intensity.max()))]
    if las.point_format in RGB_AT:
        colors = np.ascontiguousarray(rows["rgb"])
        found.rgb_top = max(found.rgb_top, int(colors.max()))


def record_type(point_format: int, size: int) -> np.dtype[Any]:
    """The fields of a point record that are of use here."""
    names, formats, at = ["x", "y", "z", "intensity", "class"], ["<i4", "<i4", "<i4", "<u2", "u1"], [0, 4, 8, 12, 16 if point_format >= 6 else 15]
    if point_format in RGB_AT:
        names, formats, at = [*names, "rgb"], [*formats, "(3,)<u2"], [*at, RGB_AT[point_format]]
    return np.dtype({"names": names, "formats": formats, "offsets": at, "itemsize": size})


def raw_chunks(las: LasFile) -> Iterator[NDArray[Any]]:
    """Point records as bytes, (n × record,) uint8, at most `CHUNK` points at a time; together exactly `count` points."""
    if las.format == "las":
        with las.path.open("rb") as plain:
            plain.seek(las.start)
            for start in range(0, las.count, CHUNK):
                yield np.fromfile(plain, np.uint8, min(CHUNK, las.count - start) * las.record)
        return
    with las.path.open("rb") as file:
        how = check_stream(las, file)
        file.seek(las.start)
        buffer = np.empty(min(CHUNK, las.count) * las.record, np.uint8)
        done = 0
        try:
            decoder = lazrs.ParLasZipDecompressor(file, how, selection())
            while done < las.count:
                view = buffer[: min(CHUNK, las.count - done) * las.record]
                decoder.decompress_many(view)
                done += len(view) // las.record
                yield view
        except (lazrs.LazrsError, ValueError, RuntimeError, OSError, MemoryError) as error:
            raise _undecodable(las, done, error) from error
        except BaseException as error:  # a panic of the decoder is no Exception
            if type(error).__name__ != "PanicException":
                raise
            raise _undecodable(las, done, error) from error


def _undecodable(las: LasFile, done: int, error: BaseException) -> UnreadableSource:
    return UnreadableSource(f"{las.path.name}: the compressed points cannot be decoded after point {done} of {las.count}: {error}.", AGAIN)


def selection() -> Any:
    """What is decoded of the layered formats (6–10): place, intensity, class, colour; GPS time and the like are never used."""
    wanted = (lazrs.SELECTIVE_DECOMPRESS_XY_RETURNS_CHANNEL, lazrs.SELECTIVE_DECOMPRESS_Z, lazrs.SELECTIVE_DECOMPRESS_INTENSITY,
              lazrs.SELECTIVE_DECOMPRESS_CLASSIFICATION, lazrs.SELECTIVE_DECOMPRESS_RGB)  # fmt: skip
    mask = 0
    for part in wanted:
        mask |= part
    return lazrs.DecompressionSelection(mask)


def _compare_bounds(las: LasFile, summary: Summary, report: Report) -> None:
    seen = summary.corners(las).reshape(-1)
    stated = np.array(las.bounds)
    slack = np.tile(np.array(las.scales), 2) * 1.01 + 1e-9
    if not np.isfinite(stated).all() or (np.abs(seen - stated) > slack).any():
        report.note("warned", "", f"the header states the bounds {[float(f'{v:.10g}') for v in stated]}, the points have {[float(f'{v:.10g}') for v in seen]}")


def _properties(las: LasFile, summary: Summary) -> dict[str, Any]:
    codes = [int(code) for code in np.flatnonzero(summary.classes)]
    names = {code: CLASSES.get(code, (f"类别 {code}", f"class {code}")) for code in codes}
    has_rgb = las.point_format in RGB_AT and summary.rgb_top > 0
    laszip = next(([v.at, len(v.data)] for v in las.vlrs if v.user == "laszip encoded"), None)
    return {
        "point_format": las.point_format, "version": las.version,
        "layout": {"start": las.start, "record": las.record, "scales": list(las.scales), "offsets": list(las.offsets), "laszip": laszip,
                   "class_at": 16 if las.point_format >= 6 else 15, "class_mask": 255 if las.point_format >= 6 else 31,
                   "rgb_at": RGB_AT.get(las.point_format) if has_rgb else None},
        "classes": [{"code": code, "count": int(summary.classes[code]), "zh": names[code][0], "en": names[code][1]} for code in codes],
        "has_rgb": has_rgb, "rgb_bits": 8 if summary.rgb_top < 256 else 16, "intensity": summary.intensity,
    }  # fmt: skip
