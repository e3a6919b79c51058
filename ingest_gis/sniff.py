"""Which vector format a file really is, told by its first bytes and never by its name.

GDAL decides by content too, but over some eighty drivers: a file renamed to ``.geojson`` may be a virtual dataset that
fetches from the network. So a source is opened only if it is one of a few formats, with exactly that driver.
"""

from __future__ import annotations

import json
import re
import sqlite3
import struct
from contextlib import closing
from pathlib import Path

from twin.errors import UnreadableSource

HEAD = 1 << 16
SUPPORTED = "GeoPackage, GeoJSON (also one feature a line), ESRI Shapefile, GeoParquet, FlatGeobuf, file geodatabases (.gdb) and node-link JSON graphs"


def identify(path: Path) -> str:
    """`GPKG`, `GeoJSON`, `GeoJSONSeq`, `ESRI Shapefile`, `Parquet`, `FlatGeobuf`, `OpenFileGDB` (a folder) or `NodeLink`.

    Raises:
        UnreadableSource: no such file, empty, cut short, or of another format.
    """
    if path.is_dir():
        if (path / "a00000001.gdbtable").is_file():
            return "OpenFileGDB"
        raise UnreadableSource(f"{path.name} is a folder, and no file geodatabase.", f"Give one file. Readable: {SUPPORTED}.")
    if not path.is_file():
        raise UnreadableSource(f"{path.name}: there is no such file.", "Check the path; a source is one local file.")
    size = path.stat().st_size
    if size == 0:
        raise UnreadableSource(f"{path.name} is empty (0 bytes).", "Export or download it again.")
    with path.open("rb") as file:
        head = file.read(HEAD)
    if head.startswith(b"SQLite format 3\0"):
        _check_geopackage(path, head, size)
        return "GPKG"
    if head.startswith(b"fgb"):
        return "FlatGeobuf"
    if head.startswith(b"PAR1"):
        return "Parquet"
    if head.startswith(b"\x00\x00\x27\x0a"):
        check_shapefile(path, head, size)
        return "ESRI Shapefile"
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip(b" \t\r\n\x1e")
    if text.startswith(b"{"):
        return _json_flavour(path, text)
    raise UnreadableSource(f"{path.name} is {_guess(head)}.", f"Readable vector formats: {SUPPORTED}.")


def _guess(head: bytes) -> str:
    text = head.lstrip().lower()
    if text.startswith(b"<ogrvrt"):
        return "an OGR virtual dataset, which may point to other files or the network, and is not opened"
    if text.startswith((b"<!doctype html", b"<html")):
        return "an HTML page (an error page of a download?)"
    if text.startswith(b"<"):
        return "an XML file of a format that is not read here"
    if head[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return "text in UTF-16; save it as UTF-8"
    if head.startswith(b"PK"):
        return "a ZIP archive; unpack it and give the file inside"
    if b"\0" not in head[:1024]:
        return "a text file of an unknown format"
    return "a binary file of an unknown format"


def _json_flavour(path: Path, text: bytes) -> str:
    if re.search(rb'"type"\s*:\s*"Topology"', text):
        raise UnreadableSource(f"{path.name} is TopoJSON.", f"Convert it to GeoJSON. Readable: {SUPPORTED}.")
    if re.search(rb'"geometryType"\s*:\s*"esriGeometry|"spatialReference"\s*:\s*\{\s*"(wkid|latestWkid)"', text):
        raise UnreadableSource(f"{path.name} is Esri's own JSON.", f"Ask the service for f=geojson, or convert it. Readable: {SUPPORTED}.")
    if re.search(rb'"conformsTo"\s*:\s*\[[^\]]*(json-fg|jsonfg)|"type"\s*:\s*"(Multi)?(Polyhedron|Prism)"', text):
        raise UnreadableSource(f"{path.name} is JSON-FG.", f"Convert it to GeoJSON, or its solids to CityJSON. Readable: {SUPPORTED}.")
    if re.search(rb'"type"\s*:\s*"(FeatureCollection|Feature)"', text):
        return "GeoJSONSeq" if _many_documents(text) else "GeoJSON"
    if re.search(rb'"(multigraph|directed|nodes)"\s*:', text):
        return "NodeLink"
    if re.search(rb'"type"\s*:\s*"(Multi)?(Point|LineString|Polygon)"|"type"\s*:\s*"GeometryCollection"', text):
        return "GeoJSON"
    raise UnreadableSource(f"{path.name} is JSON, but neither GeoJSON nor a node-link graph.", f"Readable: {SUPPORTED}.")


def _many_documents(text: bytes) -> bool:
    """Whether the first JSON object, a line, is followed by another one (GeoJSON text sequences, RFC 8142, and one feature a line)."""
    first, _, rest = text.partition(b"\n")
    if not rest.lstrip(b" \t\r\n\x1e").startswith(b"{"):
        return False
    try:
        return isinstance(json.loads(first), dict)
    except ValueError:
        return False


def _check_geopackage(path: Path, head: bytes, size: int) -> None:
    """The header states page size and page count (SQLite file format, 1.3); a cut file is shorter than their product."""
    page = struct.unpack(">H", head[16:18])[0] or 65536
    page = 65536 if page == 1 else page
    if len(head) < 100 or size < page * struct.unpack(">I", head[28:32])[0]:
        raise UnreadableSource(f"{path.name} is a truncated SQLite file.", "Copy or download it again.")
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro&immutable=1", uri=True)) as database:
            found = database.execute("SELECT 1 FROM sqlite_master WHERE name = 'gpkg_contents'").fetchone()
    except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
        raise UnreadableSource(f"{path.name} is a damaged SQLite file: {error}.", "Copy or download it again.") from error
    if not found:
        raise UnreadableSource(f"{path.name} is an SQLite database but no GeoPackage.", "Export it as GeoPackage.")


def check_shapefile(path: Path, head: bytes, size: int) -> None:
    """Main file as long as its header says, index present, table complete (ESRI Shapefile Technical Description, 1998).

    Raises:
        UnreadableSource: naming the member that is missing or cut.
    """
    stated = 2 * struct.unpack(">I", head[24:28])[0] if len(head) >= 100 else 100
    if size < stated or len(head) < 100:
        raise UnreadableSource(f"{path.name} is truncated: {size} of {stated} bytes.", "Copy all members of the Shapefile again.")
    if sibling(path, ".shx") is None:
        raise UnreadableSource(f"{path.name}: the index {path.stem}.shx is missing.", "Copy .shp, .shx, .dbf and .prj together.")
    table = sibling(path, ".dbf")
    if table is None:
        raise UnreadableSource(f"{path.name}: the table {path.stem}.dbf is missing.", "Copy .shp, .shx, .dbf and .prj together.")
    with table.open("rb") as file:
        header = file.read(32)
    if len(header) < 32:
        raise UnreadableSource(f"{table.name} is truncated.", "Copy all members of the Shapefile again.")
    records, start, width = struct.unpack("<IHH", header[4:12])
    if table.stat().st_size < start + records * width:
        raise UnreadableSource(f"{table.name} is truncated: it states {records} records of {width} bytes.", "Copy all members of the Shapefile again.")


def sibling(path: Path, suffix: str) -> Path | None:
    """The file beside `path` with this suffix in lower or upper case, or None."""
    for candidate in (path.with_suffix(suffix), path.with_suffix(suffix.upper())):
        if candidate.exists():
            return candidate
    return None
