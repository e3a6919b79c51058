"""Point clouds (LAS, LAZ, COPC, E57; one file, several, or a folder of them) → Assets: checked, header and every point, and taken over as they are.

The tiler reads each file from the lake by the layout written into the asset's properties, so nothing is decoded twice, and
places it by its own reference, so nothing is resampled. E57 becomes LAZ on the way (`e57`).
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field, ValidationInfo, field_validator

from ingest_gis import e57
from ingest_gis.lasfile import RGB_AT, EmptyCloud, LasFile, StatedReference, read_header, stated_reference
from ingest_gis.pointscan import FLAGS_AT, Filter, Summary, longitudes, make_filter, summarise
from twin import clouds, crs, reading, scratch, sources
from twin.errors import BadFeature, BadOption, BadReference, MissingReference, UnreadableSource
from twin.lake import digest
from twin.model import ABOVE_GROUND, Asset, Bounds, Reference, Report
from twin.registry import ReaderOptions

SUFFIXES = (".las", ".laz", ".e57")
LOWEST, HIGHEST = -12_000.0, 12_000.0
"""Metres: heights beyond are remarked upon; a laser in the air may fly above the highest ground."""
COARSE = 0.5
"""Metres: coordinates in larger steps are remarked upon."""

CLASSES = {
    0: ("未处理", "never classified"), 1: ("未分类", "unclassified"), 2: ("地面", "ground"), 3: ("低植被", "low vegetation"),
    4: ("中植被", "medium vegetation"), 5: ("高植被", "high vegetation"), 6: ("建筑物", "building"), 7: ("低噪点", "low noise"),
    8: ("关键点", "model key point"), 9: ("水体", "water"), 10: ("铁路", "rail"), 11: ("道路", "road surface"),
    12: ("重叠", "overlap"), 13: ("地线", "wire guard"), 14: ("导线", "wire conductor"), 15: ("输电塔", "transmission tower"),
    16: ("绝缘子", "wire connector"), 17: ("桥面", "bridge deck"), 18: ("高噪点", "high noise"), 19: ("高架构筑物", "overhead structure"),
    20: ("忽略的地面", "ignored ground"), 21: ("积雪", "snow"), 22: ("时间排除", "temporal exclusion"),
}  # fmt: skip
"""ASPRS standard classes (LAS 1.4 R15, table 17): code → Chinese and English name; codes above 63 are the producer's own."""


Flag = Literal["withheld", "synthetic", "key_point", "overlap", "noise"]


class Options(ReaderOptions):
    """Options of the point cloud reader."""

    vertical_unit: float | None = Field(None, gt=0, le=10, description="Metres per unit of the heights (0.3048 for feet); overrides the file's.")
    references: dict[str, str] = Field({}, description="CRS by file name: PATTERN=CRS+VERTICAL, separated by commas, e.g. n*.laz=EPSG:4547+5737; before --crs.")
    classes: tuple[int, ...] | None = Field(None, description="Keep only points of these classes, e.g. 2,6.")
    exclude: tuple[int, ...] = Field((), description="Leave out points of these classes, e.g. 7,18.")
    drop: tuple[Flag, ...] = Field(("withheld",), description="Leave out points with these flags (withheld, synthetic, key_point, overlap, noise); empty: none.")

    @field_validator("classes", "exclude", "drop", mode="before")
    @classmethod
    def _listed(cls, value: Any, info: ValidationInfo) -> Any:
        parts = [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value
        return parts or (None if info.field_name == "classes" else ())

    @field_validator("references", mode="before")
    @classmethod
    def _mapped(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        parts = [part.strip().rpartition("=") for part in value.split(",") if part.strip()]
        if not all(pattern and text for pattern, _, text in parts):
            raise ValueError("write PATTERN=CRS, for example n*.laz=EPSG:4547+5737")
        return {pattern: text for pattern, _, text in parts}

    @field_validator("classes", "exclude")
    @classmethod
    def _codes(cls, value: tuple[int, ...] | None) -> tuple[int, ...] | None:
        if value and not all(0 <= code <= 255 for code in value):
            raise ValueError("class codes are 0 to 255")
        return value


def read(source: Path | Sequence[Path], options: Options, report: Report) -> Iterator[Asset]:
    """Check point cloud files and hand them over.

    Args:
        source: a file, a folder (every cloud in it and below, by name), or several of these.
        options: as above; a file's CRS is that of the first pattern of `references` that fits its name, else `crs`, else its own.
        report: what was seen and left out; with several files `facts["files"]` has a row for each.

    Yields:
        One Asset a file, all in the reference of the first; `bounds` are those of the points kept. Its properties: `layout` (where
        what lies, and what is left out), `classes` (count by code and names), `has_rgb`, `rgb_bits` (8 where 8-bit colours sit in
        16-bit fields), `intensity`, its own `file`, `reference` and `box` (see `twin.clouds`),
        and `turned` where longitudes on both sides of the 180th meridian lie in one file (its box then reaches beyond 180, its points do not).

    Raises:
        UnreadableSource: with what is wrong in the header or the points.
        MissingReference, BadReference: no CRS, no vertical datum, or unknown ones. BadFeature: the filter leaves nothing.
        BadOption: a file of an update that may be one of several of the layer's.
    """
    files = _files(source, options)
    places = sources.places(files, reading.current().held)
    many = len(files) > 1
    copies: dict[str, list[str]] = {}
    files = _without_copies(files, report, copies) if many else files
    frame: Reference | None = None
    first: Bounds | None = None
    for name, path in files:
        own = Report(source=name)
        with scratch.folder("e57") as place:
            try:
                asset = _one(name, places[name], path, place, options, own)
            except EmptyCloud:
                if not many:
                    raise
                report.note("skipped", name, "the file holds no points" + _kept_anyway(places[name]))
                continue
            except UnreadableSource as error:
                told = f"None of the {len(files)} files was taken in: leave this one out to have the others." if many else ""
                raise UnreadableSource(error.message, f"{error.remedy} {told}".strip()) from error
            report.read += own.read
            report.kept += own.kept
            _take_over(own, report, name if many else "")
            if many:
                row = {"file": name, "read": own.read, "kept": own.kept, "crs": asset.reference.horizontal[:60], "vertical": asset.reference.vertical}
                report.facts.setdefault("files", []).append(row)
            if not asset.count:
                if kept := _kept_anyway(places[name]):
                    report.note("skipped", name, f"the filter leaves none of its points{kept}")
                continue
            frame = frame or asset.reference
            if asset.reference != frame:  # those in the layer's own reference are judged together, when they are stored
                crs.check_plausible(asset.reference, asset.bounds, name)
            asset = clouds.with_copies(asset, [places[other] for other in copies.get(name, ())])
            bounds = clouds.bounds_in(frame, asset.reference, asset.bounds, name)
            first = bounds if first is None else first
            yield replace(asset, reference=frame, bounds=clouds.beside(frame, bounds, first))
    if not report.kept:
        raise BadFeature(f"{report.source}: none of its {report.read:,} points passes the filter ({report.facts.get('left_out')}).",
                         "Look at --option classes, exclude and drop.") if report.read else EmptyCloud(f"{report.source}: no file holds a point.", "Check the delivery.")  # fmt: skip


def _kept_anyway(place: str) -> str:
    """What is said of a file of an update that brings no points: the layer's own of that name is not taken away by it."""
    return f"; {place} of the layer stays as it is" if place in reading.current().held else ""


def _files(source: Path | Sequence[Path], options: Options) -> list[tuple[str, Path]]:
    """(name in the layer, path) of every file, in the order of the names."""
    found = dict(sources.named(source, SUFFIXES, "point cloud"))
    for pattern in options.references:
        if not any(fnmatch.fnmatch(name, pattern) for name in found):
            raise BadOption(f"references: no file's name fits {pattern!r}.", f"The files: {', '.join(sorted(found)[:6])}.")
    return sorted(found.items())


def _without_copies(files: list[tuple[str, Path]], report: Report, copies: dict[str, list[str]]) -> list[tuple[str, Path]]:
    """Files delivered twice, byte for byte, are taken once; `copies` gets the other names of those that are taken."""
    sizes = [path.stat().st_size if path.is_file() else -1 for _, path in files]
    seen: dict[tuple[int, str], str] = {}
    unique = []
    for (name, path), size in zip(files, sizes, strict=True):
        if size > 0 and sizes.count(size) > 1:
            first = seen.setdefault((size, digest(path)), name)
            if first != name:
                report.note("skipped", name, f"the same bytes as {first}")
                report.facts.setdefault("copies", []).append(name)
                copies.setdefault(first, []).append(name)
                continue
        unique.append((name, path))
    return unique


def _take_over(own: Report, report: Report, name: str) -> None:
    """One file's report into the layer's: notes say which file, counts add up, the rest is that of the first."""
    for note in own.notes:
        report.note(note.action, name or note.feature, note.reason)
    for key, value in own.facts.items():
        if isinstance(value, dict):
            sums = report.facts.setdefault(key, {})
            for reason, count in value.items():
                sums[reason] = sums.get(reason, 0) + count
        elif key not in report.facts:
            report.facts[key] = value


def _one(name: str, place: str, path: Path, folder: Path, options: Options, report: Report) -> Asset:
    """One file, called `place` in the layer; its asset is in its own reference, and without points where the filter leaves none."""
    stated_crs = None
    if path.suffix.lower() == ".e57":
        target = folder / "scans.laz"
        stated_crs = e57.to_laz(path, target, report)
        las = replace(read_header(target), path=target)
    else:
        las = read_header(path)
    for remark in las.remarks:
        report.note("warned", "", remark)
    reference = _reference(las, name, stated_crs, options, report)
    what = make_filter(las.point_format, options.drop, options.classes, options.exclude)
    summary = summarise(las, what)
    report.read, report.kept = las.count + report.facts.pop("invalid", 0), summary.kept
    driver = las.format.upper() if las.path == path else "E57"
    report.facts |= {"driver": driver, "version": las.version, "point_format": las.point_format, "id_rule": "none: points have no ids"}
    _report_filter(las, summary, report)
    if not summary.kept:
        return Asset(reference, las.path, las.format, Bounds(0, 0, 0, 0, 0, 0), 0)
    if not summary.left_out:
        _compare_bounds(las, summary, report)
    bounds = Bounds.of(summary.corners(las))
    run = longitudes(las, what) if bounds.maxx - bounds.minx > 180.0 and crs.crs_of(reference.horizontal).is_geographic else None
    if run is not None:
        bounds = replace(bounds, minx=run[0], maxx=run[1])
    _doubt(las, bounds, reference, report)
    if las.point_format in RGB_AT and not summary.rgb_top:
        report.note("skipped", "", "the colour fields are all zero and are not used")
    properties = _properties(las, summary, what) | clouds.describe(reference, bounds, place) | ({"turned": True} if run is not None else {})
    return Asset(reference, las.path, las.format, bounds, summary.kept, properties)


def _doubt(las: LasFile, bounds: Bounds, reference: Reference, report: Report) -> None:
    """Remark on heights where nothing stands, and on coordinates in steps that no survey has."""
    low, high = bounds.minz * reference.vertical_unit, bounds.maxz * reference.vertical_unit
    if low < LOWEST or high > HIGHEST:
        report.note("warned", "", f"heights reach from {low:.6g} to {high:.6g} m: noise, or another unit? (--option exclude=7,18, vertical_unit=…)")
    flat = crs.crs_of(reference.horizontal)
    steps = [scale * (111_195.0 if flat.is_geographic else flat.axis_info[0].unit_conversion_factor) for scale in las.scales[:2]] + [las.scales[2] * reference.vertical_unit]
    if max(steps) > COARSE:
        report.note("warned", "", f"its coordinates come in steps of {max(steps):.3g} m (the scale in the header is {max(las.scales):g})")


def _report_filter(las: LasFile, summary: Summary, report: Report) -> None:
    flagged = summary.flagged(las)
    if flagged:
        report.facts["flags"] = flagged
    if summary.left_out:
        report.facts["left_out"] = summary.left_out
    for reason, count in summary.left_out.items():
        code = int(reason[6:]) if reason.startswith("class ") else None
        what = f"of {reason} ({CLASSES[code][1]})" if code in CLASSES else f"of {reason}" if code is not None else f"flagged {reason}"
        report.note("skipped", "", f"{count:,} points {what} are left out by the filter")


def _reference(las: LasFile, name: str, in_e57: str | None, options: Options, report: Report) -> Reference:
    stated = StatedReference(in_e57, None, None, "E57") if in_e57 else stated_reference(las)
    own = next((text for pattern, text in options.references.items() if fnmatch.fnmatch(name, pattern)), None)
    if own is not None:
        flat, plus, up = own.rpartition("+")
        reference = crs.parse_reference(flat if plus else own, (up if plus else None) or options.vertical, vertical_offset=options.vertical_offset, where=name)
    elif options.crs is None and stated.crs is not None:
        reference = crs.parse_reference(stated.crs, options.vertical or stated.vertical, vertical_offset=options.vertical_offset, where=name)
    else:
        reference = crs.parse_reference(options.crs, options.vertical, vertical_offset=options.vertical_offset, where=name)
    if not reference.vertical or reference.vertical == ABOVE_GROUND:
        raise MissingReference(
            f"{name}: the heights of a point cloud are absolute, but no vertical datum is stated.",
            "Name it with --vertical, for example EPSG:5737 (1985 heights), EGM96 or ellipsoid.",
        )
    unit, why = _unit(reference, stated, options)
    if why:
        report.note("assumed", "", why)
    report.facts["crs_source"] = "option" if own or options.crs else stated.source
    report.facts["vertical_unit_m"] = unit
    return Reference(reference.horizontal, reference.vertical, unit, reference.vertical_offset)


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


def _compare_bounds(las: LasFile, summary: Summary, report: Report) -> None:
    seen = summary.corners(las).reshape(-1)
    stated = np.array(las.bounds)
    slack = np.tile(np.array(las.scales), 2) * 1.01 + 1e-9
    if not np.isfinite(stated).all() or (np.abs(seen - stated) > slack).any():
        report.note("warned", "", f"the header states the bounds {[float(f'{v:.10g}') for v in stated]}, the points have {[float(f'{v:.10g}') for v in seen]}")


def _properties(las: LasFile, summary: Summary, what: Filter) -> dict[str, Any]:
    codes = [int(code) for code in np.flatnonzero(summary.classes)]
    names = {code: CLASSES.get(code, (f"类别 {code}", f"class {code}")) for code in codes}
    has_rgb = las.point_format in RGB_AT and summary.rgb_top > 0
    laszip = next(([v.at, len(v.data)] for v in las.vlrs if v.user == "laszip encoded"), None)
    return {
        "point_format": las.point_format, "version": las.version,
        "layout": {"start": las.start, "points": las.count, "flags_at": FLAGS_AT, "drop_mask": what.mask, "drop_classes": list(what.classes), "record": las.record, "scales": list(las.scales), "offsets": list(las.offsets), "laszip": laszip,
                   "class_at": 16 if las.point_format >= 6 else 15, "class_mask": 255 if las.point_format >= 6 else 31,
                   "rgb_at": RGB_AT.get(las.point_format) if has_rgb else None},
        "classes": [{"code": code, "count": int(summary.classes[code]), "zh": names[code][0], "en": names[code][1]} for code in codes],
        "has_rgb": has_rgb, "rgb_bits": 8 if summary.rgb_top < 256 else 16, "intensity": summary.intensity, "drop_flags": list(what.flags), "drop_classes": list(what.classes),
    }  # fmt: skip
