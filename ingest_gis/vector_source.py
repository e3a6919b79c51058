"""Vector files of every supported format, each opened by the library for it: Parquet by pyarrow, node-link tables by our reader, the rest by GDAL."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ingest_gis import geoparquet, nodelink, packed
from ingest_gis.rows import Source, VectorOptions
from ingest_gis.sniff import identify
from twin.errors import BadOption
from twin.model import Report


def open_source(path: Path, options: VectorOptions, report: Report | None = None) -> Source:
    """Open a vector file of any supported format; what GDAL warns of while reading goes into the report.

    Raises:
        UnreadableSource: empty, truncated, damaged, of an unsupported format, or its texts cannot be decoded.
        BadOption: several tables (or data sets of a ZIP) and no choice, no such one, or an option that this format has no use for.
    """
    if path.suffix.lower() == ".zip" and path.is_file():
        unpacked = packed.Unpacked(path, options.member)
        return replace(_open(unpacked.path, options, report), name=unpacked.name, keep=unpacked)
    if options.member is not None:
        raise BadOption(f"{path.name} is no ZIP, so it has no member {options.member!r}.", "Leave out --option member.")
    return _open(path, options, report)


def _open(path: Path, options: VectorOptions, report: Report | None) -> Source:
    driver = identify(path)
    if options.encoding and driver != "ESRI Shapefile":
        raise BadOption(f"{path.name}: encoding applies to Shapefiles; a {driver} file is UTF-8.", "Leave the option out.")
    if options.table and driver in ("Parquet", "NodeLink"):
        raise BadOption(f"{path.name}: a {driver} file holds one table.", "Leave the option table out.")
    if driver == "Parquet":
        return geoparquet.open_parquet(path)
    if driver == "NodeLink":
        return nodelink.open_nodelink(path)
    from ingest_gis import ogr  # noqa: PLC0415  loads GDAL, and with it pandas: a third of a second

    return ogr.open_gdal(path, driver, options, report or Report())
