"""Vector files of every supported format, each opened by the library for it: Parquet by pyarrow, node-link tables by our reader, the rest by GDAL."""

from __future__ import annotations

from pathlib import Path

from ingest_gis import geoparquet, nodelink
from ingest_gis.rows import Source, VectorOptions
from ingest_gis.sniff import identify
from twin.errors import BadOption
from twin.model import Report


def open_source(path: Path, options: VectorOptions, report: Report | None = None) -> Source:
    """Open a vector file of any supported format; what GDAL warns of while reading goes into the report.

    Raises:
        UnreadableSource: empty, truncated, damaged, of an unsupported format, or its texts cannot be decoded.
        BadOption: several tables and no choice, no such table, or an option that this format has no use for.
    """
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
