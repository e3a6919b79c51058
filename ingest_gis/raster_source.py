"""Open a raster that a stranger delivered: one local file, one driver chosen by its first bytes, nothing else.

GDAL knows some 150 drivers and picks one by content, so a file renamed to ``.tif`` may be a virtual dataset that reads
other files or the network. Here a source is opened only by the driver that its bytes and suffix call for, sidecar XML
(PAM) is not read by GDAL, and an archive is unpacked by our own code with a limit on its size. Shared by the `terrain` and
`raster` readers.
"""

from __future__ import annotations

import math
import re
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio._err import CPLE_BaseError
from rasterio.errors import NotGeoreferencedWarning, RasterioError, RasterioIOError
from rasterio.transform import GCPTransformer

from twin import raster_file, scratch, zips
from twin.errors import BadFeature, BadOption, StorageError, UnreadableSource
from twin.model import Report

#: What GDAL may do while a source is open: no sidecar XML, compound CRS reported, a bounded block cache (bytes: rasterio hands the number on as it is).
SAFE = {
    "GDAL_PAM_ENABLED": "NO", "GTIFF_REPORT_COMPD_CS": "YES", "GDAL_CACHEMAX": 64 << 20, "GDAL_NUM_THREADS": "2",
    "GDAL_DISABLE_READDIR_ON_OPEN": "TRUE", "CPL_VSIL_CURL_ALLOWED_EXTENSIONS": ".none", "VRT_SHARED_SOURCE": "0",
}  # fmt: skip
MEMBERS = (".tif", ".tiff", ".asc", ".hgt")
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
FULL = ("Write error", "write error", "No space left", "File too large", "Free disk space", "IO error writing", "Seek error")
"""What GDAL says when a file cannot be written."""
_HGT = re.compile(r"^[NS]\d{2}[EW]\d{3}", re.IGNORECASE)
_HGT_SIZES = {2 * 1201 * 1201: 3, 2 * 3601 * 3601: 1, 2 * 1801 * 3601: 1}


@dataclass(frozen=True, slots=True)
class RasterFile:
    """A local file that is what `driver` reads; `name` is what messages and the report call it."""

    path: Path
    driver: str
    name: str


@contextmanager
def source_file(source: Path, member: str | None = None) -> Iterator[RasterFile]:
    """The raster of a source, unpacked into a temporary folder where it is a ZIP.

    Args:
        source: a local file.
        member: which file of a ZIP, where it holds several rasters.

    Raises:
        UnreadableSource: no such file, empty, or not of a format that is read.
        BadOption: a ZIP of several rasters and no member, or a member it lacks.
    """
    if not source.is_file():
        raise UnreadableSource(f"{source.name}: there is no such file.", "Check the path; a source is one local file.")
    if source.stat().st_size == 0:
        raise UnreadableSource(f"{source.name} is empty (0 bytes).", "Export or download it again.")
    if source.suffix.lower() != ".zip":
        if member is not None:
            raise BadOption(f"{source.name} is no ZIP, so it has no member {member!r}.", "Leave out --option member.")
        yield RasterFile(source, identify(source), source.name)
        return
    with scratch.folder("unzip") as folder:
        path = _unpack(source, member, folder)
        yield RasterFile(path, identify(path), f"{source.name}/{path.name}")


def zip_members(source: Path) -> list[str]:
    """Names of the rasters in a ZIP.

    Raises:
        UnreadableSource: the ZIP is damaged.
    """
    return [name for name in _entries(source) if name.lower().endswith(MEMBERS)]


def _entries(source: Path) -> dict[str, zipfile.ZipInfo]:
    try:
        with zipfile.ZipFile(source) as archive:
            return {name: info for name, info in zips.names_of(archive) if not info.is_dir()}
    except zips.UNREADABLE as error:
        raise UnreadableSource(f"{source.name} is not a whole ZIP file ({error}).", "Download it again.") from error


def _unpack(source: Path, member: str | None, folder: Path) -> Path:
    names, entries = zip_members(source), _entries(source)
    if member is None:
        if not names:
            raise UnreadableSource(f"{source.name} holds no raster ({', '.join(MEMBERS)}).", "Give the file itself.")
        if len(names) > 1:
            raise BadOption(f"{source.name} holds {len(names)} rasters: {', '.join(sorted(names)[:8])}.", "Choose one: --option member=NAME.")
        member = names[0]
    elif member not in names:
        raise BadOption(f"{source.name} holds no raster {member!r}.", f"It holds: {', '.join(sorted(names)[:8]) or 'none'}.")
    target = folder / PurePosixPath(member).name
    try:
        with zipfile.ZipFile(source) as archive:
            zips.extract(archive, entries[member], target, source.name)
            for side in (str(Path(member).with_suffix(suffix)) for suffix in (".prj", ".PRJ")):
                if side in entries:
                    zips.extract(archive, entries[side], target.with_suffix(".prj"), source.name)
    except zips.UNREADABLE as error:
        raise zips.failure(error, UnreadableSource(f"{source.name}: {member} cannot be unpacked ({error}).", "Download it again, or give the file itself.")) from error
    return target


def identify(path: Path) -> str:
    """The GDAL driver for a file, told by its bytes: `GTiff`, `AAIGrid`, `SRTMHGT`, `PNG`, `JPEG` or `JP2OpenJPEG`.

    Raises:
        UnreadableSource: empty, cut short, or another format.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(4096)
    if not head:
        raise UnreadableSource(f"{path.name} is empty (0 bytes).", "Export or download it again.")
    if path.suffix.lower() == ".hgt":
        return _check_hgt(path, size)
    if head.startswith(_TIFF):
        return "GTiff"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if head.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if head.startswith((b"\x00\x00\x00\x0cjP  ", b"\xff\x4f\xff\x51")):
        return "JP2OpenJPEG"
    if re.match(rb"\s*(ncols|nrows|xll|yll|cellsize|nodata_value)\b", head, re.IGNORECASE):
        return "AAIGrid"
    kind = "an HTML page (an error page of a download?)" if b"<html" in head[:512].lower() or b"<!doctype" in head[:512].lower() else (
        "a virtual dataset, which may point to other files or the network, and is not opened" if b"<VRTDataset" in head else
        "a ZIP archive; name it .zip" if head.startswith(b"PK\3\4") else "no raster that is read here")  # fmt: skip
    raise UnreadableSource(f"{path.name} is {kind}.", "Readable rasters: GeoTIFF, ESRI ASCII grid (.asc), SRTM .hgt, PNG, JPEG, JPEG 2000.")


def _check_hgt(path: Path, size: int) -> str:
    """SRTM heights have neither header nor magic: the name gives the place and the size the resolution."""
    if not _HGT.match(path.name):
        raise UnreadableSource(f"{path.name}: an .hgt file is named for its south-west corner, like N22E113.hgt.", "Give it its name back.")
    if size not in _HGT_SIZES:
        raise UnreadableSource(
            f"{path.name} has {size} bytes; whole SRTM tiles have 2,884,802 (1201²), 25,934,402 (3601²) or 12,967,202 (1801 × 3601).",
            "It is cut short or no .hgt; download it again.")  # fmt: skip
    return "SRTMHGT"


@contextmanager
def opened(file: RasterFile) -> Iterator[Any]:
    """The rasterio dataset of a file, under `SAFE` settings; GDAL's errors come out as `UnreadableSource`.

    Raises:
        UnreadableSource: the driver cannot read it, or reading breaks off (a truncated file).
        StorageError: the disk is full of what is made of it.
    """
    # an ASCII grid is typed by GDAL from its first 100 kB: whole numbers there would cut off every later decimal
    extra = {"DATATYPE": "Float32"} if file.driver == "AAIGrid" else {}
    raster_file.quiet()
    with rasterio.Env(**SAFE):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", NotGeoreferencedWarning)  # said by `check_georeferenced` as an error
                dataset = rasterio.open(file.path, driver=file.driver, **extra)
            with dataset:
                yield dataset
        except (RasterioIOError, CPLE_BaseError) as error:  # the second where what is written meanwhile is closed
            detail = str(error.__cause__ or error).replace(str(file.path), file.name).splitlines()[0][:200].rstrip(".")
            if any(sign in detail for sign in FULL):  # GDAL's errors of reading and of what is written meanwhile are of one class
                raise StorageError(f"{file.name}: what is made of it cannot be written, the disk is full ({detail}).",
                                   "Nothing was published. Free space (twin gc; TMPDIR, where temporary files lie) and run the command again.") from error  # fmt: skip
            raise UnreadableSource(f"{file.name} is cut short or damaged: {detail}.", "Export or download it again.") from error


def holds(dtype: np.dtype[Any], value: float) -> bool:
    """Whether cells of a type can hold a number."""
    if dtype.kind == "f":
        return not math.isfinite(value) or abs(value) <= float(np.finfo(dtype).max)
    return float(value).is_integer() and int(np.iinfo(dtype).min) <= value <= int(np.iinfo(dtype).max)


def by_points(dataset: Any) -> bool:
    """Whether ground control points alone say where it lies; a `WarpedVRT` of it lies north up."""
    return bool(dataset.gcps[0]) and dataset.transform.is_identity


def stated_crs(dataset: Any) -> str | None:
    """The CRS that a file states, of its cells or of its control points (WKT)."""
    found = dataset.crs or (dataset.gcps[1] if by_points(dataset) else None)
    return found.to_wkt() if found else None


def check_points(dataset: Any, file: RasterFile, report: Report) -> None:
    """Say how well a file's control points place it (GDAL's polynomial through them: of the second order from six points on).

    Raises:
        BadFeature: they do not: fewer than three, or on one line.
    """
    points = dataset.gcps[0]
    rows, columns, x, y = np.array([(p.row, p.col, p.x, p.y) for p in points]).T
    miss = math.inf
    if _spread(rows, columns) and _spread(x, y):
        with suppress(RasterioError), GCPTransformer(points) as place:
            miss = float(np.hypot(*(np.array(place.xy(rows, columns, offset="ul")) - (x, y))).max())
    if not math.isfinite(miss):
        raise BadFeature(f"{file.name}: its {len(points)} ground control points do not place it.", "Three are the least, and not on one line; or warp it first: gdalwarp SOURCE TARGET.tif.")
    report.note("assumed", "", f"it is placed by {len(points)} ground control points, of which the worst is missed by {miss:.3g} of the CRS's units; it was resampled north up")


def _spread(x: NDArray[np.float64], y: NDArray[np.float64]) -> bool:
    """Whether points are more than a line."""
    return len(x) > 2 and int(np.linalg.matrix_rank(np.column_stack([x - x.mean(), y - y.mean()]), rtol=1e-6)) == 2


def check_georeferenced(dataset: Any, file: RasterFile) -> None:
    """Refuse a picture that does not say where it lies.

    Raises:
        BadFeature: no geotransform, or one that collapses the picture.
    """
    t = dataset.transform
    if by_points(dataset):
        raise BadFeature(f"{file.name} is placed by ground control points only.", "Warp it first: gdalwarp SOURCE TARGET.tif.")
    if t.is_identity:
        raise BadFeature(f"{file.name} has no georeferencing: neither a geotransform nor a world file.",
                         "Export it as GeoTIFF, or put its world file (.tfw, .pgw, .jgw) beside it.")  # fmt: skip
    if not abs(t.determinant) > 0:
        raise BadFeature(f"{file.name}: its geotransform {tuple(t)[:6]} gives cells of no size.", "Export it again.")
