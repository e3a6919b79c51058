"""The water of a terrain: polygons of a layer of the city or of a vector file, or the cells above 0 of a raster, as WGS 84 polygons in a table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import shapely
from numpy.typing import NDArray
from rasterio import features

from ingest_gis import raster_source
from ingest_gis.rows import VectorOptions
from ingest_gis.vector_source import open_source
from twin import crs, reading
from twin.errors import BadFeature, BadOption, MissingReference, NotFound
from twin.model import Report, Table

Shapes = NDArray[np.object_]
RASTERS = (".tif", ".tiff", ".asc")
MOST_CELLS = 200_000_000


def water_table(named: str, report: Report) -> Table:
    """Table `water` with column `geometry` (WKB polygons, degrees); `named`: a path, or the name of a layer where there is no such file.

    Raises:
        BadOption: there is neither, or a raster too large to be traced, or a layer without features.
        UnreadableSource: it cannot be read.
        MissingReference: it states no CRS.
        BadFeature: it holds no water.
    """
    source = Path(named)
    if not source.exists():
        horizontal, shapes = _layer(named)
    else:
        horizontal, shapes = _cells(source) if source.suffix.lower() in RASTERS else _polygons(source, report)
    flat = shapely.get_parts(shapely.force_2d(shapes[~(shapely.is_missing(shapes) | shapely.is_empty(shapes))]))
    polygons = flat[shapely.get_type_id(flat) == 3]
    if len(polygons) < len(flat):
        report.note("skipped", source.name, f"{len(flat) - len(polygons)} of its shapes are no polygons and make no water mask")
    broken = ~shapely.is_valid(polygons)
    if broken.any():
        polygons[broken] = shapely.make_valid(polygons[broken])
        report.note("repaired", source.name, f"{int(broken.sum())} of its polygons cross themselves; they were made valid")
    if not len(polygons):
        raise BadFeature(f"{source.name} holds no water: no polygon, or no cell above 0.", "Leave out --option water, or name another file.")
    lonlat = shapely.transform(polygons, lambda xy: np.column_stack(crs.to_lonlat(horizontal, xy[:, 0], xy[:, 1])))
    report.facts["water"] = {"source": source.name, "polygons": len(polygons)}
    return Table("water", pa.table({"geometry": pa.array(shapely.to_wkb(lonlat), pa.binary())}))


def _layer(name: str) -> tuple[str, Shapes]:
    """The shapes of a published layer of the city."""
    try:
        chunks = list(reading.current().layer(name))
    except NotFound as error:
        raise BadOption(f"water: there is neither a file nor a layer {name!r}.", "Name a layer of polygons, a vector file of them, or a raster.") from error
    if not chunks:
        raise BadFeature(f"water: layer {name!r} holds no features.", "Name another layer.")
    return chunks[0].reference.horizontal, np.concatenate([np.asarray(chunk.geometry, dtype=object) for chunk in chunks])


def _polygons(source: Path, report: Report) -> tuple[str, Shapes]:
    opened = open_source(source, VectorOptions.model_validate({}), report)
    if not opened.crs:
        raise MissingReference(f"water: {source.name} states no coordinate reference system.", "Write it with one, e.g. as GeoPackage.")
    chunks = [np.asarray(shapely.from_wkb(chunk.wkb, on_invalid="fix"), dtype=object) for chunk in opened.chunks()]
    return crs.parse_reference(opened.crs, "none", where=source.name).horizontal, np.concatenate(chunks) if chunks else np.zeros(0, dtype=object)


def _cells(source: Path) -> tuple[str, Shapes]:
    """The outlines of the cells above 0, exact along the cells' sides."""
    with raster_source.source_file(source) as file, raster_source.opened(file) as dataset:
        raster_source.check_georeferenced(dataset, file)
        if not dataset.crs:
            raise MissingReference(f"water: {file.name} states no coordinate reference system.", "Write it with one.")
        if dataset.width * dataset.height > MOST_CELLS:
            raise BadOption(f"water: {file.name} has {dataset.width * dataset.height:,} cells; at most {MOST_CELLS:,} are traced.", "Give polygons instead.")
        wet = (dataset.read(1, masked=True).filled(0) > 0).astype(np.uint8)
        found = [shapely.geometry.shape(outline) for outline, _ in features.shapes(wet, mask=wet.astype(bool), transform=dataset.transform)]
        return crs.parse_reference(dataset.crs.to_wkt(), "none", where=file.name).horizontal, np.array(found, dtype=object)
