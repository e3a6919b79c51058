"""Terrain rasters (GeoTIFF, ESRI ASCII grid, SRTM .hgt, each also zipped) → COGs of heights; several make a mosaic (`terrain_mosaic`).

The cells are kept as they are (type, values, nodata); what is changed is only what could not be used: cells that are
NaN, infinite or a well-known "no data" number that the file does not declare become void and are counted. GDAL does
the work block by block, so a raster larger than memory goes through. Heights stay in the source's datum and unit; the
reference says which.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from pydantic import Field, field_validator
from rasterio.enums import Resampling
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window

from ingest_gis import raster_source, terrain_mosaic
from ingest_gis.terrain_cells import Stored, Tally, clean_block, stored_in, void_value
from twin import crs, raster_file, reading, scratch, sources
from twin.errors import BadFeature, BadInput, BadOption, MissingReference, UnreadableSource
from twin.model import ABOVE_GROUND, Asset, Batch, Bounds, Reference, Report
from twin.registry import ReaderOptions

#: Metres: nothing on the ground lies outside; between the two lowest values it is sea bed and worth a warning.
LOWEST, LOW, HIGHEST = -12_000.0, -500.0, 9_000.0
UNITS = {"m": 1.0, "metre": 1.0, "meter": 1.0, "metres": 1.0, "meters": 1.0, "ft": 0.3048, "foot": 0.3048, "feet": 0.3048,
         "us-ft": 1200 / 3937, "us survey foot": 1200 / 3937, "cm": 0.01, "dm": 0.1, "mm": 0.001}  # fmt: skip
STRIP = 512
"""Cells: a raster is looked at in windows of so many rows and eight times as many columns, however large it is."""
SUFFIXES = (".tif", ".tiff", ".asc", ".hgt", ".zip")


class Options(ReaderOptions):
    """What may be said about a terrain raster besides its references."""

    band: int | None = Field(None, ge=1, description="Which band holds the heights, where the file has several.")
    nodata: float | None = Field(None, description="The value of cells without data; overrides the file's.")
    unit: str | None = Field(None, description="Unit of the heights: m, ft, us-ft, dm, cm, mm; overrides the file's.")
    member: str | None = Field(None, description="Which raster of a ZIP, where it holds several.")
    references: dict[str, str] = Field({}, description="CRS and datum by file name: PATTERN=CRS+VERTICAL, separated by commas, e.g. survey*.tif=EPSG:4547+5737 or old*.tif=+EGM96.")
    blend: float | None = Field(None, gt=0, description="Metres over which a finer raster runs out into the next coarser one; by default two of its cells.")
    water: str | None = Field(None, min_length=1, description="Water for the water mask: a layer of the city with polygons, a vector file of them, or a raster whose cells above 0 are water.")

    @field_validator("references", mode="before")
    @classmethod
    def _mapped(cls, value: Any) -> Any:
        return terrain_mosaic.parse_references(value)


def detect(source: Path, options: Any) -> bool:
    """Whether a file is terrain: grids of heights by format, a one-band GeoTIFF only where a vertical datum is named, a ZIP unless it is one picture.

    Raises:
        UnreadableSource: a ZIP that is damaged.
    """
    name = source.name.lower()
    if name.endswith((".asc", ".hgt")):
        return True
    if name.endswith(".zip"):
        members = raster_source.zip_members(source)
        return bool(members) and (len(members) > 1 or getattr(options, "band", None) is not None or _bands(source) <= 1)
    if getattr(options, "vertical", None):
        return _bands(source) == 1 or getattr(options, "band", None) is not None
    stated = getattr(options, "crs", None)
    try:
        if stated:
            return bool(crs.parse_reference(stated).vertical) and _bands(source) == 1
        with raster_source.source_file(source) as file, raster_source.opened(file) as dataset:
            return dataset.count == 1 and bool(dataset.crs) and bool(crs.parse_reference(dataset.crs.to_wkt()).vertical)
    except BadInput:
        return False


def _bands(source: Path) -> int:
    try:
        with raster_source.source_file(source) as file, raster_source.opened(file) as dataset:
            return int(dataset.count)
    except BadInput:
        return 0


def read(source: Path | Sequence[Path], options: Options, report: Report) -> Iterator[Batch]:
    """The heights as COGs, finest cells first (`Asset`: float32 or the source's integer type, north up, nodata declared), and the water (`Table`).

    Args:
        source: a file, a folder (every raster in it and below), or several of these.

    Raises:
        UnreadableSource: empty, truncated, of another format.
        MissingReference: no horizontal CRS or no vertical datum.
        BadFeature: no georeferencing, no cell with data, or heights that no place on Earth has.
        BadOption: several bands and none chosen, an unknown unit, a pattern of `references` that fits no file.
    """
    rasters = sources.named(source, SUFFIXES, "terrain")
    terrain_mosaic.unused(options.references, [name for name, _ in rasters])
    with scratch.folder("terrain") as place, rasterio.Env(**raster_source.SAFE):
        if options.water is not None:
            from ingest_gis.terrain_water import water_table  # noqa: PLC0415  loads pandas; few terrains have a water mask

            yield water_table(options.water, report)
        under = reading.current().under
        if len(rasters) == 1 and under is None:
            yield _one(*rasters[0], options, place / "terrain.tif", report)
            return
        assets = []
        for k, (name, path) in enumerate(rasters):
            own = Report(source=name)
            assets.append((name, _one(name, path, options, place / f"terrain{k}.tif", own)))
            report.read, report.kept = report.read + own.read, report.kept + own.kept
            for note in own.notes:
                report.note(note.action, name, note.reason)
        if options.blend is None and len(rasters) > 1:
            report.note("assumed", "", "the width of the blended seams is two cells of the coarser raster, at least ten of the finer (--option blend=METRES)")
        found = terrain_mosaic.stack(assets, options.blend, place, report, under)
        low, high = (edge(value for a in found for value in (a.bounds.minz, a.bounds.maxz)) for edge in (min, max))
        report.facts.update(cells=report.read, voids=report.read - report.kept, min=low, max=high, resolution=found[0].properties["resolution"])
        yield from found


def renew(layers: Sequence[str], report: Report) -> Iterator[Batch]:
    """What a terrain took from layers of the city, read again: its water.

    Raises:
        BadOption, BadFeature: as for `water=LAYER`.
    """
    from ingest_gis.terrain_water import water_table  # noqa: PLC0415  loads pandas; few terrains have a water mask

    for layer in layers:
        yield water_table(layer, report)


def _one(name: str, source: Path, options: Options, cog: Path, report: Report) -> Asset:
    """One raster as a COG."""
    stated = dict(zip(("crs", "vertical"), terrain_mosaic.reference_for(name, options.references, options.crs, options.vertical), strict=True))
    options = options.model_copy(update=stated)
    with ExitStack() as stack:
        file = stack.enter_context(raster_source.source_file(source, options.member))
        dataset = stack.enter_context(raster_source.opened(file))
        band = _band(dataset, options, file.name)
        reference = _reference(dataset, band, options, file, report)
        if raster_source.by_points(dataset):
            raster_source.check_points(dataset, file, report)
        else:
            raster_source.check_georeferenced(dataset, file)
        kind = np.dtype(dataset.dtypes[band - 1])
        if options.nodata is not None and kind.kind == "f" and not raster_source.holds(kind, options.nodata):
            raise BadOption(f"{file.name}: nodata={options.nodata:g} is no {kind} number, which its cells are.", "Give the value that its cells without data have, or leave nodata out.")
        nodata = options.nodata if options.nodata is not None else dataset.nodatavals[band - 1]
        horizontal = crs.crs_of(reference.horizontal).to_wkt()
        stored = stored_in(dataset, band, nodata, report)
        upright = stack.enter_context(_north_up(dataset, horizontal, nodata, file.name, report))
        clean, tally, nodata = _clean(upright, stored, horizontal, cog.with_suffix(".clean.tif"), file.name, report)
        _judge(tally, reference, clean, file.name, report)
        terrain_mosaic.write_cog(clean, cog)
        clean.unlink()
        return _asset(cog, reference, tally, nodata, report)


def _band(dataset: Any, options: Options, name: str) -> int:
    band = options.band or 1
    if options.band is None and dataset.count > 1:
        raise BadOption(f"{name} has {dataset.count} bands; a terrain has one.",
                        "Say which holds the heights (--option band=N), or read it as a picture (--reader raster).")  # fmt: skip
    if band > dataset.count:
        raise BadOption(f"{name} has {dataset.count} band(s), not {band}.", "Give a band it has.")
    if np.dtype(dataset.dtypes[band - 1]).kind not in "iuf":
        raise BadFeature(f"{name}: band {band} holds {dataset.dtypes[band - 1]} numbers, not heights.", "Choose another band.")
    if dataset.colorinterp[band - 1].name == "palette":
        raise BadFeature(f"{name}: band {band} holds colour indices, not heights.", "Read it with --reader raster.")
    return band


def _reference(dataset: Any, band: int, options: Options, file: raster_source.RasterFile, report: Report) -> Reference:
    """Horizontal CRS, vertical datum and unit, each from the command, else from the file, else (HGT) from the format."""
    stated = raster_source.stated_crs(dataset)
    vertical = options.vertical
    if file.driver == "SRTMHGT":
        stated = "EPSG:4326"
        vertical = vertical or "EGM96"
    given = options.crs or stated
    if given is None and file.driver == "AAIGrid":
        raise MissingReference(f"{file.name} states no coordinate reference system (there is no .prj beside it).",
                               "Name it with --crs, for example --crs EPSG:4547.")  # fmt: skip
    reference = crs.parse_reference(given, vertical, vertical_offset=options.vertical_offset, where=file.name)
    if reference.vertical == ABOVE_GROUND:
        raise MissingReference(f"{file.name}: a terrain cannot be measured above the ground.", "Name its datum with --vertical.")
    if not reference.vertical:
        raise MissingReference(f"{file.name}: its heights are absolute, but no vertical datum is named.",
                               "Name it with --vertical: EPSG:5737 (1985 heights), EGM96, ellipsoid, …")  # fmt: skip
    report.facts.update(driver=file.driver, crs_source="option" if options.crs else "format" if file.driver == "SRTMHGT" else "file",
                        vertical_source="option" if options.vertical else "format" if file.driver == "SRTMHGT" else
                        "option" if options.crs else "file")  # fmt: skip
    if file.driver == "SRTMHGT" and not (options.crs and options.vertical):
        report.note("assumed", "", "SRTM .hgt: WGS 84 and EGM96 heights in metres, by definition of the format")
    return _with_unit(reference, dataset.units[band - 1], options.unit, file.name, report)


def _with_unit(reference: Reference, of_band: str | None, stated: str | None, name: str, report: Report) -> Reference:
    if stated is not None:
        if stated.lower() not in UNITS:
            raise BadOption(f"{name}: the height unit {stated!r} is unknown.", "Use m, ft, us-ft, dm, cm or mm.")
        return replace(reference, vertical_unit=UNITS[stated.lower()])
    if of_band and reference.vertical_unit == 1.0:
        factor = UNITS.get(of_band.strip().lower())
        if factor is None:
            report.note("assumed", "", f"the band's unit {of_band!r} is not known; heights are taken as metres")
        elif factor != 1.0:
            report.note("assumed", "", f"heights are in {of_band} ({factor} m), as the band says")
            return replace(reference, vertical_unit=factor)
    return reference


def _north_up(dataset: Any, horizontal: str, nodata: float | None, name: str, report: Report) -> Any:
    """The dataset itself where its rows run south and its columns east, else a warped view of it that does."""
    t = dataset.transform
    if t.b == 0 and t.d == 0 and t.a > 0 and t.e < 0 and not raster_source.by_points(dataset):
        return nullcontext(dataset)
    if not raster_source.by_points(dataset):
        report.note("repaired", "", f"the grid is rotated or flipped (geotransform {tuple(t)[:6]}); it was resampled north up, bilinear")
    void = nodata if nodata is not None else np.nan if np.dtype(dataset.dtypes[0]).kind == "f" else void_value(np.dtype(dataset.dtypes[0]), name)
    return WarpedVRT(dataset, crs=horizontal, src_crs=horizontal, resampling=Resampling.bilinear, src_nodata=nodata, nodata=void)


def _turned(transform: Any, horizontal: str, width: int, report: Report) -> Any:
    """The transform of a grid in degrees with its western edge from −180 to 180 (grids from 0 to 360, or that begin west of −180, are moved by whole turns)."""
    east = transform.c + transform.a * width
    if not crs.crs_of(horizontal).is_geographic or -180.0 <= transform.c < 180.0 or not abs(transform.c) <= 720.0 or east - transform.c > 361.0:
        return transform
    turns = int(np.floor((transform.c + 180.0) / 360.0))
    report.note("repaired", "", f"its longitudes from {transform.c:g} to {east:g} were moved by {-360 * turns:+d} degrees")
    return rasterio.Affine(transform.a, transform.b, transform.c - 360.0 * turns, transform.d, transform.e, transform.f)


def _clean(dataset: Any, stored: Stored, horizontal: str, path: Path, name: str, report: Report) -> tuple[Path, Tally, float | None]:
    """Copy the band block by block with every void written as nodata → (file, what was seen, the nodata value)."""
    nodata = stored.nodata if stored.plain else float("nan")
    source_type = np.dtype(dataset.dtypes[stored.band - 1]) if stored.plain else np.dtype(np.float32)
    dtype = np.dtype(np.float32) if source_type.kind == "f" else source_type
    void = nodata
    if void is None and dtype.kind != "u":
        void = void_value(dtype, name)
    if void is not None and dtype.kind != "f" and not raster_source.holds(dtype, void):
        report.note("assumed", "", f"the declared nodata {void} is no {dtype}; it marks nothing")
        void = nodata = None if dtype.kind == "u" else void_value(dtype, name)
    if dtype.kind == "f" and void is not None:
        void = float("nan") if np.isinf(void) else float(np.float32(void))  # JSON knows no infinite numbers
    tally = Tally(odd={})
    profile = {"driver": "GTiff", "dtype": dtype, "count": 1, "width": dataset.width, "height": dataset.height, "crs": horizontal,
               "transform": _turned(dataset.transform, horizontal, dataset.width, report), "nodata": void, "tiled": True, "blockxsize": 512, "blockysize": 512, "bigtiff": "IF_SAFER"}  # fmt: skip
    with rasterio.open(path, "w", **profile) as out:
        for row in range(0, dataset.height, STRIP):
            for column in range(0, dataset.width, 8 * STRIP):
                window = Window(column, row, min(8 * STRIP, dataset.width - column), min(STRIP, dataset.height - row))
                out.write(clean_block(stored.read(dataset, window, tally), nodata, void, dtype, tally, name), 1, window=window)
    raster_file.check_written(path)
    if void is not None and nodata is None and tally.voids == 0:
        void = None
        with rasterio.open(path, "r+") as out:
            out.nodata = None
    return path, tally, void


def _judge(tally: Tally, reference: Reference, path: Path, name: str, report: Report) -> None:
    """Report what was changed; refuse what cannot be a terrain."""
    report.read, report.kept = tally.cells, tally.cells - tally.voids
    for value, count in (tally.odd or {}).items():
        report.note("repaired", "", f"{count} cells are {value:g}, which the file does not declare as nodata; they were taken as void")
    if tally.nan:
        report.note("repaired", "", f"{tally.nan} cells are NaN; they were taken as void")
    if tally.infinite:
        report.note("repaired", "", f"{tally.infinite} cells are infinite or beyond ±1e30; they were taken as void")
    if tally.changed:
        report.note("repaired", "", f"{tally.changed} heights in float64 were rounded to float32 (by less than 0.001 m)")
    if report.kept == 0:
        raise BadFeature(f"{name}: all {tally.cells} cells are without data.", "Check the file, its band and its nodata value (--option nodata=…).")
    low, high = tally.low * reference.vertical_unit, tally.high * reference.vertical_unit
    if low < LOWEST or high > HIGHEST:
        worst = tally.low if low < LOWEST else tally.high
        raise BadFeature(f"{name}: heights from {low:.6g} to {high:.6g} m cannot be ground; for one, {_where(path, worst)}.",
                         "Declare the nodata value (--option nodata=…), the unit (--option unit=…) or another band.")  # fmt: skip
    if low < LOW:
        report.note("warned", "", f"the lowest cell is {low:.6g} m: a sea bed? If not, declare the nodata value")
    with rasterio.open(path) as file:
        if file.dtypes[0] == "uint8" and tally.high == 255:
            report.note("warned", "", "the highest cells are 255, the largest 8-bit number: higher ground may have been cut off")


def _where(path: Path, value: float) -> str:
    """The first cell that holds a value, as words."""
    with rasterio.open(path) as file:
        for _, window in file.block_windows(1):
            hits = np.argwhere(file.read(1, window=window) == value)
            if len(hits):
                row, column = hits[0] + (window.row_off, window.col_off)
                return f"row {row}, column {column} is {value:g}"
    raise UnreadableSource(f"{path.name} changed while it was read.")


def _asset(path: Path, reference: Reference, tally: Tally, nodata: float | None, report: Report) -> Asset:
    with rasterio.open(path) as file:
        box, size, dtype = file.bounds, [file.width, file.height], file.dtypes[0]
        resolution = [abs(file.transform.a), abs(file.transform.e)]
    unit = reference.vertical_unit
    report.facts.update(cells=tally.cells, voids=tally.voids, min=tally.low * unit, max=tally.high * unit, resolution=resolution, size=size, dtype=dtype,
                        nodata=None if nodata is None or np.isnan(nodata) else nodata)  # fmt: skip
    properties = {"bands": ["height"], "nodata": "nan" if nodata is not None and np.isnan(nodata) else nodata, "dtype": dtype, "size": size,
                  "resolution": resolution, "voids": tally.voids, "unit": "m"}  # fmt: skip
    bounds = Bounds(box.left, box.bottom, box.right, box.top, tally.low, tally.high)
    return Asset(reference, path, "cog", bounds, tally.cells, properties)
