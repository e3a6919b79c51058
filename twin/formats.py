"""Rasters as NetCDF and Zarr with the CF conventions, rasters over time as GeoTIFF, tables as CSV: what other programs open as it is.

NetCDF is written in its classic 64-bit-offset form (CDF-2), which every reader knows; Zarr in version 2 with zlib chunks. Both by the
published specifications, so that no library is needed: NetCDF Classic Format Specification (Unidata), Zarr storage specification 2.
"""

from __future__ import annotations

import csv
import json
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.windows import Window
from scipy.io import netcdf_file

from twin import moments, parts, raster_file
from twin.city import City
from twin.crs import crs_of
from twin.errors import BadOption, OverLimit
from twin.model import LayerVersion, Part

SUFFIXES = (".nc", ".zarr", ".csv")
CDF2_LIMIT = 2**32 - 4
"""Bytes that one variable of a classic file may have."""
CHUNK = 512
FILL = -9999.0
#: CF standard names (table 85 and later) by name of the band, where there is one for the quantity.
STANDARD_NAMES = {"depth": "flood_water_thickness", "velocity": "flood_water_speed", "duration": "flood_water_duration_above_threshold",
                  "level": "water_surface_height_above_reference_datum"}  # fmt: skip


@dataclass(frozen=True)
class Field:
    """A raster layer as CF sees it.

    Attributes:
        name, unit, title: of the quantity; x, y: (columns,), (rows,) cell centres, y falling.
        times: (moments,) s after `start`, or None; start: "" where only seconds are known.
        read: index → (rows, columns) float32 with `FILL` where there is none.
    """

    name: str
    unit: str
    title: str
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    times: NDArray[np.float64] | None
    start: str
    crs: Any
    read: Callable[[int], NDArray[np.float32]]

    @property
    def shape(self) -> tuple[int, ...]:
        """(time, y, x) or (y, x)."""
        return (*(() if self.times is None else (len(self.times),)), len(self.y), len(self.x))

    def attributes(self) -> dict[str, Any]:
        """Of the data variable."""
        found: dict[str, Any] = {"long_name": self.title, "grid_mapping": "crs"}
        if self.unit:
            found["units"] = self.unit
        if self.name in STANDARD_NAMES:
            found["standard_name"] = STANDARD_NAMES[self.name]
        return found

    def time_attributes(self) -> dict[str, Any]:
        """Of the time coordinate: by the clock where the start is known, else seconds since the run began."""
        if not self.start:
            return {"units": "s", "long_name": "time since the start of the run", "axis": "T"}
        return {"units": f"seconds since {_utc(self.start)}", "calendar": "proleptic_gregorian", "standard_name": "time", "axis": "T"}

    def axes(self) -> dict[str, dict[str, Any]]:
        """Attributes of x and y."""
        if self.crs.is_geographic:
            return {"x": {"standard_name": "longitude", "units": "degrees_east", "axis": "X"}, "y": {"standard_name": "latitude", "units": "degrees_north", "axis": "Y"}}
        return {axis: {"standard_name": f"projection_{axis}_coordinate", "units": "m", "axis": axis.upper()} for axis in ("x", "y")}

    def mapping(self) -> dict[str, Any]:
        """Of the grid mapping variable."""
        return {key: value for key, value in self.crs.to_cf().items() if value is not None}


def export(city: City, version: LayerVersion, place: Path) -> str:
    """Write a layer's version to `place` by its suffix (`.nc`, `.zarr`, `.csv`, `.tif` of a raster over time); returns what was written.

    Raises:
        BadOption: the layer cannot be written so. OverLimit: too large for a classic NetCDF file.
    """
    suffix = place.suffix.lower()
    if suffix == ".csv":
        return _csv(city, version, place)
    if suffix in (".tif", ".tiff"):
        return _geotiff(city, version, place)
    field = field_of(city, version)
    if suffix == ".nc":
        _netcdf(field, version, place)
    else:
        _zarr(field, version, place)
    return f"{field.name} {' × '.join(map(str, field.shape))}"


def takes(version: LayerVersion, suffix: str) -> bool:
    """Whether `export` is the one to write a layer with this suffix."""
    return suffix in SUFFIXES or (suffix in (".tif", ".tiff") and bool(moments.moments(version)))


def field_of(city: City, version: LayerVersion) -> Field:
    """A raster or terrain layer as a CF field.

    Raises:
        BadOption: it holds no single raster, or one that is turned or has several bands.
    """
    timed = moments.moments(version)
    rasters = timed or [part for part in version.parts if part.role == "raster"]
    if version.kind not in ("raster", "terrain") or not rasters or (len(rasters) > 1 and not timed):
        raise BadOption(f"Layer {version.layer!r} ({version.kind}) holds no single raster.", "NetCDF and Zarr hold rasters; tables and features go to .csv or .gpkg.")
    with rasterio.open(city.lake.path(rasters[0].key)) as file:
        t, width, height, bands = file.transform, file.width, file.height, file.count
    if t.b or t.d or bands > 1:
        raise BadOption(f"Layer {version.layer!r} has {bands} bands{' and is turned' if t.b or t.d else ''}.", "It can be written as .tif.")
    column = version.columns[0] if version.columns else None
    told = moments.describe(version)
    name = column.name if column else "value"
    title = (rasters[0].properties.get("legend") or {}).get("title", {}).get("en") or city.catalog.layer(version.layer).title.get("en") or name

    def read(index: int) -> NDArray[np.float32]:
        return _values(city, rasters[index])

    return Field(name, column.unit if column else "", title, t.c + t.a * (np.arange(width) + 0.5), t.f + t.e * (np.arange(height) + 0.5),
                 np.array(told["times"]) if timed else None, told.get("start") or "", crs_of(version.reference.horizontal), read)  # fmt: skip


def _values(city: City, part: Part) -> NDArray[np.float32]:
    with rasterio.open(city.lake.path(part.key)) as file:
        band = file.read(1, masked=True)
    scaled = band.astype(np.float64) * float(part.properties.get("scale", 1.0))
    return np.asarray(np.ma.filled(scaled, FILL), np.float32)


def _global(version: LayerVersion) -> dict[str, str]:
    return {"Conventions": "CF-1.10", "title": version.layer, "history": json.dumps({k: version.provenance[k] for k in ("scenario", "release", "job") if k in version.provenance}),
            "source": str(version.provenance.get("scenario") or version.provenance.get("reader") or "")}  # fmt: skip


def _netcdf(field: Field, version: LayerVersion, place: Path) -> None:
    size = 4 * int(np.prod(field.shape, dtype=np.int64))
    if size > CDF2_LIMIT:
        raise OverLimit(f"{field.name} has {size / 1e9:.1f} GB; a variable of a classic NetCDF file holds {CDF2_LIMIT / 1e9:.1f} GB.", "Export it as .zarr.")
    with netcdf_file(str(place), "w", version=2) as file:
        for key, value in _global(version).items():
            setattr(file, key, value.encode())
        for axis, values in (("y", field.y), ("x", field.x)):
            file.createDimension(axis, len(values))
            _put(file.createVariable(axis, "d", (axis,)), values, field.axes()[axis])
        dimensions: tuple[str, ...] = ("y", "x")
        if field.times is not None:
            file.createDimension("time", len(field.times))
            _put(file.createVariable("time", "d", ("time",)), field.times, field.time_attributes())
            dimensions = ("time", "y", "x")
        _put(file.createVariable("crs", "i", ()), None, field.mapping())
        data = file.createVariable(field.name, "f", dimensions)
        _put(data, None, {**field.attributes(), "_FillValue": np.float32(FILL)})
        if field.times is None:
            data[:] = field.read(0)
        else:
            for index in range(len(field.times)):
                data[index] = field.read(index)


def _put(variable: Any, values: Any, attributes: dict[str, Any]) -> None:
    if values is not None:
        variable[:] = values
    for key, value in attributes.items():
        setattr(variable, key, value.encode() if isinstance(value, str) else value)


def _zarr(field: Field, version: LayerVersion, place: Path) -> None:
    place.mkdir()
    held: dict[str, Any] = {".zgroup": {"zarr_format": 2}, ".zattrs": _global(version)}
    timed = field.times is not None
    arrays: list[tuple[str, tuple[str, ...], Any, dict[str, Any]]] = [("y", ("y",), field.y, field.axes()["y"]), ("x", ("x",), field.x, field.axes()["x"]),
                                                                      ("crs", (), np.zeros((), np.int32), field.mapping())]  # fmt: skip
    if field.times is not None:
        arrays.append(("time", ("time",), field.times, field.time_attributes()))
    for name, dimensions, values, attributes in arrays:
        held |= _zarray(place, name, values.shape, values.shape, values.dtype, dimensions, attributes)
        _chunk(place / name / (".".join("0" for _ in values.shape) or "0"), values)
    chunks = (*((1,) if timed else ()), min(CHUNK, len(field.y)), min(CHUNK, len(field.x)))
    held |= _zarray(place, field.name, field.shape, chunks, np.dtype("<f4"), (*(("time",) if timed else ()), "y", "x"), field.attributes(), FILL)
    for index in range(len(field.times) if field.times is not None else 1):
        values = field.read(index)
        for i, j, block in _blocks(values, chunks[-2], chunks[-1]):
            if (block != FILL).any():  # a chunk that is not there holds the fill value
                _chunk(place / field.name / (f"{index}.{i}.{j}" if timed else f"{i}.{j}"), block)
    (place / ".zmetadata").write_text(json.dumps({"zarr_consolidated_format": 1, "metadata": held}))
    for name in (".zgroup", ".zattrs"):
        (place / name).write_text(json.dumps(held[name]))


def _zarray(place: Path, name: str, shape: tuple[int, ...], chunks: tuple[int, ...], dtype: np.dtype[Any], dimensions: tuple[str, ...],
            attributes: dict[str, Any], fill: float | None = None) -> dict[str, Any]:  # fmt: skip
    """Write an array's metadata; returns it for the group's consolidated one."""
    array = {"zarr_format": 2, "shape": list(shape), "chunks": list(chunks), "dtype": np.dtype(dtype).newbyteorder("<").str, "compressor": {"id": "zlib", "level": 1},
             "fill_value": fill, "order": "C", "filters": None, "dimension_separator": "."}  # fmt: skip
    told = {**attributes, "_ARRAY_DIMENSIONS": list(dimensions), **({"_FillValue": fill} if fill is not None else {})}
    (place / name).mkdir()
    (place / name / ".zarray").write_text(json.dumps(array))
    (place / name / ".zattrs").write_text(json.dumps(told))
    return {f"{name}/.zarray": array, f"{name}/.zattrs": told}


def _blocks(values: NDArray[np.float32], down: int, across: int) -> Iterator[tuple[int, int, NDArray[np.float32]]]:
    """(row, column, block) of a raster, blocks at the edges filled up to full size."""
    for i in range(-(-values.shape[0] // down)):
        for j in range(-(-values.shape[1] // across)):
            part = values[i * down : (i + 1) * down, j * across : (j + 1) * across]
            block = np.full((down, across), FILL, np.float32)
            block[: part.shape[0], : part.shape[1]] = part
            yield i, j, block


def _chunk(path: Path, values: NDArray[Any]) -> None:
    path.write_bytes(zlib.compress(np.ascontiguousarray(values, values.dtype.newbyteorder("<")).tobytes(), 1))


def _geotiff(city: City, version: LayerVersion, place: Path) -> str:
    """A raster over time with one band a moment, named by its time; stored numbers and scale as they are."""
    timed = moments.moments(version)
    with rasterio.open(city.lake.path(timed[0].key)) as first:
        profile = {"driver": "GTiff", "width": first.width, "height": first.height, "dtype": first.dtypes[0], "crs": first.crs, "transform": first.transform, "nodata": first.nodata}
    with raster_file.writing(), rasterio.open(place, "w", count=len(timed), compress="deflate", tiled=True, blockxsize=256, blockysize=256, interleave="band", bigtiff="IF_SAFER", **profile) as out:
        for index, part in enumerate(timed, 1):
            with rasterio.open(city.lake.path(part.key)) as file:
                out.write(file.read(1, window=Window(0, 0, file.width, file.height)), index)
            out.set_band_description(index, f"t = {float(part.properties['time']):g} s")
        out.scales = [float(part.properties.get("scale", 1.0)) for part in timed]
        out.update_tags(start=str(timed[0].properties.get("start", "")), times_s=json.dumps([part.properties["time"] for part in timed]))
    raster_file.check_written(place)
    return f"{len(timed)} moments of {profile['width']} × {profile['height']} cells"


def _csv(city: City, version: LayerVersion, place: Path) -> str:
    """Rows of a table or of features: id, the attributes, and the geometry as WKT (in the layer's CRS) where there is one; UTF-8 with a mark, as spreadsheets want it."""
    chunks = parts.read_features(city.lake, version) if any(part.role == "features" for part in version.parts) else None
    if chunks is None:
        raise BadOption(f"Layer {version.layer!r} ({version.kind}) holds no rows.", "CSV holds tables and features.")
    spatial = version.extent is not None
    count = 0
    with place.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.writer(file)
        names: list[str] | None = None
        for chunk in chunks:
            if names is None:
                names = chunk.attributes.column_names
                writer.writerow(["id", *names, *(["wkt"] if spatial else [])])
            columns = [chunk.ids.to_pylist(), *(_texts(chunk.attributes.column(name).to_pylist()) for name in names)]
            if spatial:
                columns.append(["" if shape is None else shape.wkt for shape in chunk.geometry])
            writer.writerows(zip(*columns, strict=True))
            count += len(chunk)
    return f"{count:,} rows"


def _texts(values: list[Any]) -> list[Any]:
    return [json.dumps(value, ensure_ascii=False) if isinstance(value, (dict, list)) else value for value in values]


def _utc(start: str) -> str:
    from datetime import UTC, datetime  # noqa: PLC0415

    moment = datetime.fromisoformat(start)
    return (moment.astimezone(UTC) if moment.tzinfo else moment).strftime("%Y-%m-%d %H:%M:%S")
