"""The header of a LAS, LAZ or COPC file, read and checked byte by byte.

Written here rather than taken from a library because libraries open files with a zero or NaN scale, a point offset behind
the end of the file or a wrong record count without a word, and fail on others with five kinds of exceptions.
Source: LAS Specification 1.4 R15 (ASPRS, 2019), tables 3–5 and 19–22; 1.5 (2025), whose header is longer by three numbers on GPS time and which states its CRS as WKT alone; COPC 1.0 (Hobu, 2021).
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

from pyproj import CRS
from pyproj.exceptions import CRSError

from twin.errors import UnreadableSource

RECORD = (20, 28, 26, 34, 57, 63, 30, 36, 38, 59, 67)
"""Bytes of a point record by point format 0–10, extra bytes not counted (LAS 1.4, tables 7–17)."""
RGB_AT = {2: 20, 3: 28, 5: 28, 7: 30, 8: 30, 10: 30}
"""Offset of red, green, blue (three uint16) in a record, by point format."""
WAVEFORM = (4, 5, 9, 10)
"""Point formats whose waveforms may lie behind the points."""
_HEADER_SIZE = {0: 227, 1: 227, 2: 227, 3: 235, 4: 375, 5: 393}
AGAIN = "Copy or download the file again, or export it anew."


class EmptyCloud(UnreadableSource):
    """A sound file without points: of many files one such is skipped, alone it is refused."""


@dataclass(frozen=True, slots=True)
class Vlr:
    """A (extended) variable length record: who defined it, its number, and where its data lies."""

    user: str
    number: int
    data: bytes
    at: int


@dataclass(frozen=True)
class LasFile:
    """What the header says, checked against the file.

    `scales`, `offsets`: coordinate = integer × scale + offset. `bounds`: (minx, miny, minz, maxx, maxy, maxz) as stated.
    `remarks`: what is wrong but harmless.
    """

    path: Path
    format: Literal["las", "laz", "copc"]
    version: str
    wkt_first: bool
    point_format: int
    record: int
    start: int
    count: int
    scales: tuple[float, float, float]
    offsets: tuple[float, float, float]
    bounds: tuple[float, ...]
    vlrs: tuple[Vlr, ...]
    remarks: tuple[str, ...]

    def vlr(self, user: str, number: int) -> bytes | None:
        """Data of the first record of this kind, or None."""
        return next((v.data for v in self.vlrs if v.user == user and v.number == number), None)


def read_header(path: Path) -> LasFile:
    """Read and check a LAS/LAZ/COPC header.

    Raises:
        UnreadableSource: empty, truncated, of another format, or with a header that no point can be read by.
    """
    size = path.stat().st_size if path.is_file() else -1
    if size < 0:
        raise UnreadableSource(f"{path.name}: there is no such file.", "Check the path.")
    if size == 0:
        raise UnreadableSource(f"{path.name} is empty (0 bytes).", AGAIN)
    with path.open("rb") as file:
        head = file.read(393)
        if head[:4] != b"LASF":
            what = "an HTML page (an error page of a download?)" if head[:1] == b"<" else "no LAS file (its signature is not LASF)"
            raise UnreadableSource(f"{path.name} is {what}.", "Give a .las, .laz or .copc.laz file.")
        return _parse(path, file, head, size)


def _parse(path: Path, file: BinaryIO, head: bytes, size: int) -> LasFile:
    def refuse(what: str) -> UnreadableSource:
        return UnreadableSource(f"{path.name}: {what}.", AGAIN)

    if len(head) < 227:
        raise refuse(f"the header is truncated ({size} bytes)")
    major, minor = head[24], head[25]
    if major != 1 or minor not in _HEADER_SIZE:
        raise refuse(f"LAS version {major}.{minor} is unknown (1.0 to 1.5 are read)")
    header_size, start, vlr_count, kind, record, count = struct.unpack("<HIIBHI", head[94:111])
    if len(head) < _HEADER_SIZE[minor] or header_size < _HEADER_SIZE[minor]:
        raise refuse(f"the header is truncated ({min(len(head), header_size)} of {_HEADER_SIZE[minor]} bytes)")
    compressed, point_format = bool(kind & 0xC0), kind & 0x3F
    if point_format > 10 or (minor >= 5 and point_format < 6):
        raise refuse(f"point format {point_format} is unknown{' in LAS 1.5, which has 6 to 10' if point_format < 6 else ''}")
    if record < RECORD[point_format]:
        raise refuse(f"point records of {record} bytes are too short for point format {point_format}")
    numbers = struct.unpack("<12d", head[131:227])
    scales, offsets = numbers[:3], numbers[3:6]
    if not all(math.isfinite(s) and s > 0 for s in scales):
        raise refuse(f"its scales {scales} are not positive numbers; LAS multiplies its whole numbers by them")
    if not all(math.isfinite(o) for o in offsets):
        raise refuse(f"its offsets {offsets} are not finite")
    evlr_start = evlr_count = 0
    if minor >= 4:
        evlr_start, evlr_count, count = struct.unpack("<QIQ", head[235:255])
    if start > size or start < header_size:
        raise refuse(f"its points should begin at byte {start}, {'behind the end of the file' if start > size else 'inside the header'} ({size} bytes)")
    if count == 0:
        raise EmptyCloud(f"{path.name}: it holds no points.", AGAIN)
    if not compressed and start + count * record > size:
        raise refuse(f"it is truncated: {count} points of {record} bytes need {start + count * record} bytes, it has {size}")
    remarks = _count_remarks(head, count, minor)
    if not compressed and not evlr_count and point_format not in WAVEFORM and (more := (size - start) // record - count):
        remarks.append(f"it states {count} points, but there is room for {more} more behind them, which are not read")
    vlrs = _vlrs(file, header_size, min(start, size), vlr_count, remarks)
    vlrs += _evlrs(file, evlr_start, size, evlr_count, remarks)
    found = {(v.user, v.number): v for v in vlrs}
    if compressed and ("laszip encoded", 22204) not in found:
        raise refuse("it is compressed, but the LASzip record that says how is missing")
    form: Literal["las", "laz", "copc"] = "laz" if compressed else "las"
    info = found.get(("copc", 1))
    if compressed and info is not None:
        if _copc_is_sound(info.data, size):
            form = "copc"
        else:
            remarks.append("its COPC hierarchy lies outside the file; the points are read in order, as from a LAZ file")
    maxx, minx, maxy, miny, maxz, minz = numbers[6:12]
    wkt_first = minor >= 5 or bool(struct.unpack("<H", head[6:8])[0] & 16)
    return LasFile(path, form, f"{major}.{minor}", wkt_first, point_format, record, start, count, scales, offsets,
                   (minx, miny, minz, maxx, maxy, maxz), tuple(vlrs), tuple(remarks))  # fmt: skip


def _count_remarks(head: bytes, count: int, minor: int) -> list[str]:
    """LAS 1.4 states the count twice: where the old field is not 0, it must be the same."""
    old = struct.unpack("<I", head[107:111])[0]
    if minor < 4 or old in (0, count):
        return []
    return [f"it states {count} points, and {old} in the field for old programs; the first is taken"]


def _vlrs(file: BinaryIO, at: int, end: int, count: int, remarks: list[str]) -> list[Vlr]:
    found: list[Vlr] = []
    for _ in range(count):
        if at + 54 > end:
            remarks.append(f"it states {count} variable length records, but only {len(found)} lie before the points")
            break
        file.seek(at)
        user, number, length = struct.unpack("<2x16sHH32x", file.read(54))
        if at + 54 + length > end:
            remarks.append(f"variable length record {len(found) + 1} of {count} reaches into the points and is not read")
            break
        found.append(Vlr(_text(user), number, file.read(length), at + 54))
        at += 54 + length
    return found


def _evlrs(file: BinaryIO, at: int, size: int, count: int, remarks: list[str]) -> list[Vlr]:
    found: list[Vlr] = []
    for _ in range(count):
        if at + 60 > size:
            remarks.append(f"it states {count} extended variable length records, but only {len(found)} lie in the file")
            break
        file.seek(at)
        user, number, length = struct.unpack("<2x16sHQ32x", file.read(60))
        if at + 60 + length > size:
            remarks.append("an extended variable length record reaches beyond the end of the file and is not read")
            break
        # Hierarchies and waveforms may be huge; only references are of use here.
        found.append(Vlr(_text(user), number, file.read(length) if user.startswith(b"LASF_Proj") else b"", at + 60))
        at += 60 + length
    return found


def _text(raw: bytes) -> str:
    return raw.split(b"\0", 1)[0].decode("latin-1").strip()


def _copc_is_sound(info: bytes, size: int) -> bool:
    """Root hierarchy page inside the file (COPC 1.0, "info VLR": offset and size of the root page at bytes 40 and 48)."""
    if len(info) < 160:
        return False
    offset, length = struct.unpack("<QQ", info[40:56])
    return bool(length % 32 == 0 and length > 0 and offset + length <= size)


# --- reference ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StatedReference:
    """What the file says of its coordinates: a CRS as text (or None), a vertical datum (or None), metres per height unit (or None)."""

    crs: str | None
    vertical: str | None
    unit: float | None
    source: str


LINEAR_UNITS = {9001: 1.0, 9002: 0.3048, 9003: 1200 / 3937}
"""EPSG units of measure in GeoTIFF keys: metre, international foot, US survey foot."""
LEGACY_VERTICAL = {5103: "EPSG:5703", 5102: "EPSG:5702", 5101: "EPSG:5701", 5105: "EPSG:5705"}
"""GeoTIFF 1.0 codes of vertical systems that are datum codes of the register; (GeoTIFF 1.1, annex)."""


def stated_reference(las: LasFile) -> StatedReference:
    """The CRS in the file: WKT first where the header's WKT bit is set, else GeoTIFF keys first; the other as fall-back."""
    wkt = las.vlr("LASF_Projection", 2112)
    text = _wkt_text(wkt) if wkt else ""
    keys = _geo_keys(las.vlr("LASF_Projection", 34735))
    by_keys = _from_keys(keys)
    by_wkt = StatedReference(text, None, None, "WKT") if text else None
    first, second = (by_wkt, by_keys) if las.wkt_first else (by_keys, by_wkt)
    chosen = first or second or StatedReference(None, None, None, "none")
    unit = LINEAR_UNITS.get(keys.get(4099, 0)) if chosen.unit is None else chosen.unit
    return StatedReference(chosen.crs, chosen.vertical, unit, chosen.source)


def _wkt_text(data: bytes) -> str:
    return data.split(b"\0", 1)[0].decode("utf-8", "replace").strip(" \t\r\n'\"")  # some writers put a pair of quotes where they know none


def _geo_keys(data: bytes | None) -> dict[int, int]:
    """Short-valued GeoTIFF keys (OGC 19-008r4, 7.1): rows of (key, location 0, count 1, value)."""
    if not data or len(data) < 8:
        return {}
    values = struct.unpack(f"<{len(data) // 2}H", data[: len(data) // 2 * 2])
    rows = (values[i : i + 4] for i in range(4, len(values) - 3, 4))
    return {row[0]: row[3] for row in rows if row[1] == 0}


def _from_keys(keys: dict[int, int]) -> StatedReference | None:
    code = keys.get(3072, 0) if keys.get(1024) != 2 else 0
    code = code or (keys.get(2048, 0) if keys.get(1024) == 2 else 0)
    if not 1024 <= code < 32767:  # 32767: user-defined by parameters that only WKT states well
        return None
    up = keys.get(4096, 0)
    vertical = LEGACY_VERTICAL.get(up, f"EPSG:{up}" if 1024 <= up < 32767 and not 5100 <= up < 5200 else None)
    return StatedReference(_in_unit(code, keys.get(3076, 0)), vertical, LINEAR_UNITS.get(keys.get(4099, 0)), "GeoTIFF keys")


def _in_unit(code: int, unit: int) -> str:
    """The CRS of a code; with the linear unit that the keys state beside it (3076), where that is another: feet of a CRS that EPSG lists in metres."""
    metres = LINEAR_UNITS.get(unit)
    try:
        crs = CRS.from_epsg(code)
        if metres is None or not crs.is_projected or abs(crs.axis_info[0].unit_conversion_factor - metres) < 1e-9:
            return f"EPSG:{code}"
        stated = crs.to_json_dict()
        own = {"type": "LinearUnit", "name": "metre" if metres == 1 else "US survey foot" if unit == 9003 else "foot", "conversion_factor": metres}
        for axis in stated["coordinate_system"]["axis"]:
            axis["unit"] = own
        stated["name"] += f" ({own['name']})"
        stated.pop("id", None)
        return CRS.from_json_dict(stated).to_wkt()
    except CRSError:  # told where the text is read
        return f"EPSG:{code}"
