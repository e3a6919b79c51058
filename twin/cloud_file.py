"""A point layer as one LAS or LAZ file (ASPRS LAS 1.4-R15): the points of all its files, as the layer shows them.

A layer of one file of which nothing is left out is that file, byte by byte. Otherwise the records are written again, chunk by chunk, in
format 6, 7 or 8 (by whether there are colours and infrared), in the layer's reference, with the extra dimensions of all files.
"""

from __future__ import annotations

import io
import shutil
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from pyproj import CRS

from twin import __version__, clouds, crs, ways
from twin.errors import BadOption, StorageError
from twin.lake import Lake
from twin.model import LayerVersion, Part, Reference

SUFFIXES = (".las", ".laz")
CHUNK = 1_000_000
REACH = 2**31 - 2
"""Steps that a LAS file's whole numbers reach."""
ANGLE = 0.006
"""Degrees of one step of a scan angle in formats 6 and later; before, it was whole degrees."""


@dataclass(frozen=True)
class _Source:
    """One file of the layer, where it lies, and its header."""

    path: Path
    part: Part
    reference: Reference
    header: Any


def export(lake: Lake, version: LayerVersion, path: Path) -> str:
    """Write all points of a layer to `path` (.las or .laz); says how many, and what of the files had no place in it.

    Raises:
        BadOption: the points lie too far apart for one file at the fineness of their files.
        StorageError: a file that the layer was made of cannot be read again by the library that writes.
        OSError: the disk is full.
    """
    import laspy  # noqa: PLC0415  for this alone
    import lazrs  # noqa: PLC0415

    found = [part for part in version.parts if part.role == "cloud"]
    if len(found) == 1 and not _left_out(found[0]) and (".las" if Path(found[0].key).suffix == ".las" else ".laz") == path.suffix.lower():  # COPC is LAZ
        shutil.copyfile(lake.path(found[0].key), path)
        return f"{found[0].count:,} points"
    target = clouds.Target(path, "wb")
    try:
        with io.BufferedWriter(target) as file:
            return _write(laspy, lake, version, found, path, file)
    except (laspy.errors.LaspyException, lazrs.LazrsError, ValueError, RuntimeError, IndexError, struct.error) as error:
        if target.trouble is not None:
            raise target.trouble from error
        raise StorageError(f"The files of layer {version.layer!r} cannot be put into one: {error}.", "Export its tiles: --to FOLDER, or .3tz.") from error


def _write(laspy: Any, lake: Lake, version: LayerVersion, parts: list[Part], path: Path, target: IO[bytes]) -> str:
    sources = []
    for part in parts:
        place = lake.path(part.key)
        with laspy.open(place) as file:
            sources.append(_Source(place, part, clouds.own_reference(version, part), file.header))
    header, lost = _header(laspy, version, sources)
    widen = any(s.part.properties.get("rgb_bits") == 16 for s in sources if s.part.properties.get("has_rgb"))
    written = 0
    with laspy.open(target, "w", header=header, do_compress=path.suffix.lower() == ".laz", closefd=False) as writer:
        for source in sources:
            with laspy.open(source.path) as file:
                for chunk in file.chunk_iterator(CHUNK):
                    kept = chunk[_keeps(source.part, chunk)]
                    if len(kept):
                        writer.write_points(_record(laspy, header, kept, source, version.reference, widen))
                        written += len(kept)
    return f"{written:,} points" + "".join(f"; {what}" for what in lost)


def _left_out(part: Part) -> bool:
    """Whether the layer shows less of the file than it holds."""
    return bool(part.properties.get("drop_classes")) or part.count != part.properties.get("layout", {}).get("points", part.count)


def _keeps(part: Part, chunk: Any) -> NDArray[np.bool_]:
    keep = ~np.isin(np.asarray(chunk.classification), part.properties.get("drop_classes", ()))
    for name in part.properties.get("drop_flags", ()):
        keep &= np.asarray(chunk[name]) == 0
    return np.asarray(keep)


def _header(laspy: Any, version: LayerVersion, sources: list[_Source]) -> tuple[Any, list[str]]:
    """The new file's header, and in words what it has no place for."""
    names = [set(source.header.point_format.dimension_names) for source in sources]
    header = laspy.LasHeader(version="1.4", point_format=8 if any("nir" in n for n in names) else 7 if any("red" in n for n in names) else 6)
    header.generating_software = f"Wuyi Twin {__version__}"
    lost = [f"the waveforms of {s.part.properties.get('file', s.part.key)} have no place in it" for s, n in zip(sources, names, strict=True) if "wavepacket_size" in n]
    extra: dict[str, tuple[Any, ...]] = {}
    for source in sources:
        for one in source.header.point_format.extra_dimensions:
            if extra.setdefault(one.name, _kind(one)) != _kind(one):
                lost.append(f"{one.name!r} of {source.part.properties.get('file', source.part.key)} is of another type than in the files before and has no place in it")
            elif one.name not in header.point_format.extra_dimension_names:
                none = next((found for other in sources if (found := _no_data(other.header, one.name, _kind(one))) is not None), None)
                header.add_extra_dim(laspy.ExtraBytesParams(one.name, one.dtype, one.description, one.offsets, one.scales, none))
    clocks = {source.header.global_encoding.gps_time_type for source in sources}
    header.global_encoding.gps_time_type = sources[0].header.global_encoding.gps_time_type
    if len(clocks) > 1:
        lost.append("the files count GPS time in two ways (week and standard): it is as in each file")
    for one in (one for record in header.vlrs.get("ExtraBytesVlr") for one in record.extra_bytes_structs):
        one.options &= ~(one.MIN_BIT_MASK | one.MAX_BIT_MASK)  # the library takes the first point of a chunk for both, and fails where none has a value
    lost += _without(header, sources)
    header.scales, header.offsets = _lattice(version, sources)
    header.add_crs(_system(version.reference, lost))
    return header, lost


def _without(header: Any, sources: list[_Source]) -> list[str]:
    """In words, which extra dimensions are 0 for points whose files do not have them: whole numbers of which none stands for "no value"."""
    told = []
    for one in header.point_format.extra_dimensions:
        if np.dtype(one.dtype).base.kind != "f" and _no_data(header, one.name, _kind(one)) is None:
            names = [s.part.properties.get("file", s.part.key) for s in sources if not _has(s.header.point_format, one)]
            told += [f"{one.name!r} is 0 for the points of {', '.join(names[:3])}{f' and {len(names) - 3} more' if len(names) > 3 else ''}, where it is not stated"] if names else []
    return told


def _no_data(header: Any, name: str, kind: tuple[Any, ...]) -> Any:
    """The values (as they are stored) of an extra dimension of a kind that stand for none, which the library reads but does not hand on; None where no value does."""
    if kind not in [_kind(one) for one in header.point_format.extra_dimensions if one.name == name]:
        return None
    structs = (one for record in header.vlrs.get("ExtraBytesVlr") for one in record.extra_bytes_structs)
    return next((one.no_data for one in structs if one.format_name() == name), None)


def _none(header: Any, dimension: Any) -> Any:
    """What an extra dimension holds (as it is stored) for a point that has no value of it: what its header says; else NaN, or 0 where numbers are whole."""
    stated = _no_data(header, dimension.name, _kind(dimension))
    return (np.nan if np.dtype(dimension.dtype).base.kind == "f" else 0) if stated is None else stated if dimension.num_elements > 1 else stated[0]


def _has(form: Any, dimension: Any) -> bool:
    return any(one.name == dimension.name and _kind(one) == _kind(dimension) for one in form.extra_dimensions)


def _kind(dimension: Any) -> tuple[Any, ...]:
    """What two dimensions of one name must share to lie in one column."""
    return dimension.dtype, *(None if of is None else tuple(of) for of in (dimension.scales, dimension.offsets))


def _lattice(version: LayerVersion, sources: list[_Source]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(3,) step and offset on which the coordinates of every file lie that shares the layer's reference and the first file's steps."""
    own = [source.header for source in sources if source.reference == version.reference]
    degrees = crs.crs_of(version.reference.horizontal).is_geographic
    scales = np.min([h.scales for h in own], axis=0) if own else np.array([1e-8, 1e-8, 1e-3] if degrees else [1e-3, 1e-3, 1e-3])
    boxes = [source.part.bounds for source in sources if source.part.bounds is not None]
    low = np.min([[b.minx, b.miny, b.minz or 0.0] for b in boxes], axis=0)
    high = np.max([[b.maxx, b.maxy, b.maxz or 0.0] for b in boxes], axis=0)
    first = own[0].offsets if own else np.zeros(3)
    offsets = first + np.rint(((low + high) / 2 - first) / scales) * scales
    if (np.maximum(high - first, first - low) / scales < REACH).all():
        offsets = first
    if ((high - low) / scales >= 2 * REACH).any():
        raise BadOption(f"The points of layer {version.layer!r} lie too far apart for one file in steps of {', '.join(f'{s:g}' for s in scales)}.",
                        "Export its tiles: --to FOLDER, or .3tz.")  # fmt: skip
    return scales, np.asarray(offsets, np.float64)


def _system(reference: Reference, lost: list[str]) -> CRS:
    """What LAS can say of the reference: the vertical datum too, where it has a code and its heights are as they are."""
    if reference.vertical.startswith("EPSG:") and reference.vertical != "EPSG:4979" and reference.horizontal.startswith("EPSG:") and not reference.vertical_offset:
        both = CRS.from_user_input(f"{ways.plain(reference.horizontal)}+{reference.vertical.removeprefix('EPSG:')}")
        if abs(both.axis_info[-1].unit_conversion_factor - reference.vertical_unit) < 1e-9:
            return both
    lost.append(f"its header names no vertical datum ({reference.vertical})")
    return crs.crs_of(reference.horizontal)


def _shift(header: Any) -> float:
    """Seconds from a file's own origin of GPS time (LAS 1.5: Time Offset, in millions of seconds) to the one that LAS 1.4 has."""
    stated = header.version.minor >= 5 and header.global_encoding.gps_time_offset
    return header.gps_time_offset * 1e6 - 1e9 if stated else 0.0


def _record(laspy: Any, header: Any, chunk: Any, source: _Source, reference: Reference, widen: bool) -> Any:
    """The points of one chunk as records of the new file."""
    record = laspy.ScaleAwarePointRecord.zeros(len(chunk), header=header)
    xyz = np.column_stack([np.asarray(chunk.x, np.float64), np.asarray(chunk.y, np.float64), np.asarray(chunk.z, np.float64)])
    if source.reference != reference:
        xyz = crs.from_geodetic(reference, crs.to_geodetic(source.reference, xyz))
    for axis, name in enumerate("XYZ"):
        record[name] = np.rint((xyz[:, axis] - header.offsets[axis]) / header.scales[axis]).astype(np.int32)
    known = set(header.point_format.standard_dimension_names) - set("XYZ")
    for name in known.intersection(chunk.point_format.standard_dimension_names):
        record[name] = np.asarray(chunk[name])
    if "gps_time" in known and (shift := _shift(source.header)):
        record["gps_time"] = np.asarray(record["gps_time"]) + shift
    for one in header.point_format.extra_dimensions:
        none = _none(header, one)
        if not _has(chunk.point_format, one):
            record.array[one.name] = none
            continue
        raw = chunk.array[one.name]  # as it is stored: 64-bit numbers with a scale would be rounded
        own = _no_data(source.header, one.name, _kind(one))
        record.array[one.name] = raw if own is None else np.where(raw == (own if one.num_elements > 1 else own[0]), none, raw)
    if "scan_angle_rank" in chunk.point_format.dimension_names:
        record["scan_angle"] = np.rint(np.asarray(chunk["scan_angle_rank"]) / ANGLE).astype(np.int16)
    if widen and source.part.properties.get("rgb_bits") == 8:
        for name in ("red", "green", "blue"):
            record[name] = np.asarray(record[name]) * 257
    return record
