"""Files on disk, byte for byte the same for the same seed: vectors by pyogrio, rasters by rasterio, the manifest."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pandas as pd
import pyogrio
import rasterio
import shapely
from rasterio.transform import from_origin

from data_samples.frame import CRS, HEIGHT, SOUTH, VERTICAL, WEST, WIDTH, to_map

STAMP = "2025-06-01T00:00:00.000Z"  # the date written into formats that insist on one
LICENCE = "CC0-1.0"
ABOVE = "above ground"


@dataclass(frozen=True)
class Entry:
    """One file of the sample, as the manifest lists it."""

    path: str
    layer: str
    title: dict[str, str]
    reader: str | None
    group: str
    description: str
    crs: str = CRS
    vertical: str = ""
    options: dict[str, str] = field(default_factory=dict)
    licence: str = LICENCE
    columns: dict[str, list[str]] = field(default_factory=dict)


def frame(table: dict[str, Any]) -> geopandas.GeoDataFrame:
    """A table of columns with local geometry as a GeoDataFrame in EPSG:4547, `id` and `name` first."""
    columns = {k: v for k, v in table.items() if k != "geometry"}
    first = [k for k in ("id", "name", "name_en") if k in columns]
    data = pd.DataFrame({k: columns[k] for k in first + [k for k in columns if k not in first]})
    geometry = to_map(np.array(list(table["geometry"]), dtype=object))
    return geopandas.GeoDataFrame(data, geometry=geometry, crs=CRS)


def vector(table: dict[str, Any], path: Path) -> None:
    """Write a table in the format of the suffix; GeoJSON goes to WGS 84 as its RFC demands."""
    data = frame(table)
    if path.suffix == ".parquet":
        data.to_parquet(path, index=False, compression="zstd", write_covering_bbox=True)
        return
    pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": STAMP})
    try:
        if path.suffix == ".geojson":
            pyogrio.write_dataframe(data.to_crs(4326), path, driver="GeoJSON", layer_options={"RFC7946": "YES"})
        elif path.suffix == ".shp":
            options = {"ENCODING": "UTF-8", "DBF_DATE_LAST_UPDATE": STAMP[:10]}
            pyogrio.write_dataframe(data, path, driver="ESRI Shapefile", layer_options=options)
        else:
            pyogrio.write_dataframe(data, path, driver="GPKG", layer=path.stem)
    finally:
        pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": None})


def raster(array: Any, cell: float, path: Path, **options: Any) -> None:
    """Write (rows, cols) or (rows, cols, bands) as a tiled GeoTIFF; `colormap`, `tags` and GDAL options pass through."""
    colormap, tags = options.pop("colormap", None), options.pop("tags", None)
    bands = array[None] if array.ndim == 2 else np.moveaxis(array, 2, 0)
    profile = {
        "driver": "GTiff", "height": bands.shape[1], "width": bands.shape[2], "count": bands.shape[0], "dtype": str(bands.dtype),
        "crs": CRS, "transform": from_origin(WEST, SOUTH + HEIGHT, cell, cell), "tiled": True, "blockxsize": 256, "blockysize": 256,
    }  # fmt: skip
    with rasterio.open(path, "w", **profile, **options) as out:
        out.write(bands)
        if colormap:
            out.write_colormap(1, colormap)
        if tags:
            out.update_tags(**tags)


def manifest(out: Path, seed: int, entries: list[Entry], facts: dict[str, Any]) -> Path:
    """Write manifest.json: the place, the seed, its facts, and every file with how to ingest it."""
    document = {
        "title": {"zh": "江岸样例城区", "en": "Jiang'an sample district"},
        "description": "Generated, not surveyed: no building, street or person here is real. Coordinates are those of Jiangmen.",
        "seed": seed,
        "crs": CRS,
        "vertical": VERTICAL,
        "bounds": [WEST, SOUTH, WEST + WIDTH, SOUTH + HEIGHT],
        **facts,
        "files": [asdict(e) for e in entries],
    }
    path = out / "manifest.json"
    path.write_text(json.dumps(document, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    return path


def with_z(lines: Any, z: list[Any]) -> Any:
    """Local 2D lines or points with elevations added."""
    out = []
    for geometry, heights in zip(lines, z, strict=True):
        xy = shapely.get_coordinates(geometry)
        xyz = np.column_stack([xy, np.broadcast_to(np.round(heights, 3), len(xy))])
        out.append(shapely.points(xyz[0]) if geometry.geom_type == "Point" else shapely.linestrings(xyz))
    return out
