"""Any raster over the ground (orthophoto, land cover, a depth grid) → one COG with a legend.

Values are kept exactly (a photograph that came as JPEG stays JPEG, packed anew); a rotated raster is resampled north up.
The legend says how it is drawn (`raster_legend`). GDAL does the work block by block, so a raster larger than memory goes
through.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from pydantic import Field
from rasterio.enums import ColorInterp, MaskFlags, Resampling
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window

from ingest_gis import raster_legend, raster_source
from twin import crs, raster_file, scratch
from twin.errors import BadFeature, BadOption
from twin.model import Asset, Batch, Bounds, Report
from twin.registry import ReaderOptions

SAMPLE = 1024
STRIP = 1024
JPEG_QUALITY = 90


class Options(ReaderOptions):
    """How a raster is drawn, where the file does not say so itself."""

    nodata: float | None = Field(None, description="The value of cells without data; overrides the file's.")
    ramp: str | None = Field(None, description=f"Colours of a continuous raster: {', '.join(raster_legend.RAMPS)}.")
    minimum: float | None = Field(None, description="Value at the ramp's first colour (else the 2nd percentile).")
    maximum: float | None = Field(None, description="Value at the ramp's last colour (else the 98th percentile).")
    unit: str = Field("", description="Unit of the values, for the legend.")
    classes: dict[str, str] | str | None = Field(None, description="Names of classes: 1:水面;2:道路")
    member: str | None = Field(None, description="Which raster of a ZIP, where it holds several.")


@dataclass
class _Seen:
    """What the cells hold, gathered while they pass: cells with data, not-finite ones, and the whole numbers of band 1."""

    cells: int = 0
    known: int = 0
    odd: int = 0
    values: set[int] | None = field(default_factory=set)


def detect(source: Path, options: Any) -> bool:  # noqa: ARG001  same form for all readers
    """A raster that is plainly a picture or a class map; one band of numbers could be a terrain, so it must be named.

    Raises:
        BadOption: it could be a terrain as well as a raster.
    """
    if source.suffix.lower() == ".zip" and not raster_source.zip_members(source):
        return False
    with raster_source.source_file(source) as file, raster_source.opened(file) as dataset:
        if dataset.count > 1 or ColorInterp.palette in dataset.colorinterp or (dataset.dtypes[0] == "uint8" and file.driver != "GTiff"):
            return True
    raise BadOption(f"{source.name} has one band of numbers: it could be a terrain or a raster to show.",
                    "Say which: --reader terrain --vertical EPSG:5737 (or another datum), or --reader raster.")  # fmt: skip


def read(source: Path, options: Options, report: Report) -> Iterator[Batch]:
    """One `Asset`: the raster as a COG, its legend in the properties.

    Raises:
        UnreadableSource: empty, truncated, of another format.
        MissingReference: no CRS.
        BadFeature: no georeferencing, nothing but nodata, a type that cannot be shown.
        BadOption: an unknown ramp, class names that cannot be read.
    """
    if options.ramp is not None and options.ramp not in raster_legend.RAMPS:
        raise BadOption(f"There is no ramp {options.ramp!r}.", f"Known: {', '.join(raster_legend.RAMPS)}.")
    with ExitStack() as stack:
        file = stack.enter_context(raster_source.source_file(source, options.member))
        dataset = stack.enter_context(raster_source.opened(file))
        stated = options.crs or raster_source.stated_crs(dataset)
        reference = crs.parse_reference(stated, options.vertical or "none", vertical_offset=options.vertical_offset, where=file.name)
        if raster_source.by_points(dataset):
            raster_source.check_points(dataset, file, report)
        else:
            raster_source.check_georeferenced(dataset, file)
        if np.dtype(dataset.dtypes[0]).kind == "c":
            raise BadFeature(f"{file.name} holds complex numbers.", "Export its amplitude or phase.")
        wkt = crs.crs_of(reference.horizontal).to_wkt()
        folder = stack.enter_context(scratch.folder("raster"))
        if options.nodata is not None and not raster_source.holds(np.dtype(dataset.dtypes[0]), options.nodata):
            raise BadOption(f"{file.name}: nodata={options.nodata:g} is no {dataset.dtypes[0]} number, which its cells are.", "Give the value that its cells without data have, or leave nodata out.")
        nodata = options.nodata if options.nodata is not None else dataset.nodata
        upright = stack.enter_context(_upright(dataset, wkt, nodata, report))
        clean, seen = _clean(upright, nodata, wkt, folder / "clean.tif")
        report.read, report.kept = seen.cells, seen.known
        if not seen.known:
            raise BadFeature(f"{file.name} holds no data: every cell is nodata.", "Check --option nodata, or export it again.")
        if seen.odd:
            report.note("repaired", "", f"{seen.odd} cells are NaN or infinite; they were taken as without data")
        legend = _legend(clean, seen, options, raster_legend.sidecar_names(file.path, report))
        _unused(legend, options, report)
        jpeg = legend["type"] == "rgb" and dataset.compression is not None and dataset.compression.name.lower() == "jpeg"
        if jpeg:
            report.note("assumed", "", f"the photograph is JPEG; it was packed again as JPEG (quality {JPEG_QUALITY})")
        cog = _pack(clean, folder / "raster.tif", jpeg, legend["type"])
        if legend["type"] != "rgb" and dataset.count > 1:
            report.note("assumed", "", f"band 1 of {dataset.count} is the one that is drawn; the others are kept")
        report.facts["style"] = {"legend": legend, "unit": options.unit}
        report.facts |= {"driver": file.driver, "crs_source": "option" if options.crs else "file", "bands": dataset.count, "dtype": dataset.dtypes[0],
                         "size": [dataset.width, dataset.height], "kind": legend["type"]}  # fmt: skip
        yield _asset(cog, reference, legend, seen)


def _upright(dataset: Any, wkt: str, nodata: float | None, report: Report) -> Any:
    """The dataset itself where it lies north up, else a view of it that does (nearest cell: no value is invented)."""
    t = dataset.transform
    if t.b == 0 and t.d == 0 and t.a > 0 and t.e < 0 and not raster_source.by_points(dataset):
        return nullcontext(dataset)
    if not raster_source.by_points(dataset):
        report.note("repaired", "", "the raster is rotated or upside down; it was resampled north up (nearest cell)")
    masked = nodata is not None or MaskFlags.per_dataset in dataset.mask_flag_enums[0]
    return WarpedVRT(dataset, src_crs=wkt, crs=wkt, resampling=Resampling.nearest, src_nodata=nodata, nodata=nodata, add_alpha=not masked)


def _clean(dataset: Any, nodata: float | None, wkt: str, path: Path) -> tuple[Path, _Seen]:
    """Copy the bands block by block with the stated CRS; in float bands what is not finite becomes nodata."""
    dtype = np.dtype(dataset.dtypes[0])
    void = nodata
    endless = dtype.kind == "f" and nodata is not None and np.isinf(nodata)  # JSON knows no such number
    if dtype.kind == "f" and (nodata is None or endless):
        void = float("nan")
    if dtype.kind in "iu" and nodata is not None and not raster_source.holds(dtype, nodata):
        void = None  # marks nothing in this type
    flags = dataset.mask_flag_enums[0]
    masked = MaskFlags.per_dataset in flags and MaskFlags.alpha not in flags and nodata is None
    profile = {"driver": "GTiff", "dtype": dtype, "count": dataset.count, "width": dataset.width, "height": dataset.height, "crs": wkt,
               "transform": dataset.transform, "nodata": void, "tiled": True, "blockxsize": 512, "blockysize": 512, "bigtiff": "IF_SAFER",
               "interleave": "pixel"}  # fmt: skip
    if ColorInterp.alpha in dataset.colorinterp:
        profile["alpha"] = "YES"
    seen = _Seen(values=set() if dtype.kind in "iu" else None)
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "w", **profile) as out:
        _dress(dataset, out)
        for row in range(0, dataset.height, STRIP):
            for column in range(0, dataset.width, 4 * STRIP):
                window = Window(column, row, min(4 * STRIP, dataset.width - column), min(STRIP, dataset.height - row))
                data = dataset.read(window=window)
                if endless:
                    data[data == nodata] = void
                if dtype.kind == "f":
                    odd = ~np.isfinite(data) if void is None or not np.isnan(void) else np.isinf(data) | (np.isnan(data) & (nodata is None))
                    seen.odd += int(odd.sum())
                    data[odd] = void
                out.write(data, window=window)
                if masked:
                    out.write_mask(dataset.dataset_mask(window=window), window=window)
                known = dataset.dataset_mask(window=window) > 0 if masked or MaskFlags.alpha in flags else _known(data[0], void)
                _see(data[0], known, seen)
    raster_file.check_written(path)
    return path, seen


def _known(band: NDArray[Any], void: float | None) -> NDArray[np.bool_]:
    if void is None:
        return np.ones(band.shape, bool)
    return np.asarray(~np.isnan(band) if np.isnan(void) else band != band.dtype.type(void))


def _see(band: NDArray[Any], known: NDArray[np.bool_], seen: _Seen) -> None:
    seen.cells += band.size
    seen.known += int(known.sum())
    if seen.values is not None:
        seen.values |= {int(v) for v in np.unique(band[known])}
        if len(seen.values) > raster_legend.MOST_CLASSES:
            seen.values = None


def _dress(dataset: Any, out: Any) -> None:
    """What goes with the numbers: what each band means, its colours and name."""
    if ColorInterp.palette in dataset.colorinterp and dataset.count == 1:
        out.write_colormap(1, dataset.colormap(1))
    elif dataset.count > 1:
        out.colorinterp = dataset.colorinterp
    for index, text in enumerate(dataset.descriptions, 1):
        if text:
            out.set_band_description(index, text)


def _unused(legend: dict[str, Any], options: Options, report: Report) -> None:
    """Say which options about its looks have nothing to do with how the raster is drawn."""
    kind = legend["type"]
    drawn = {"rgb": "as the picture that it is", "classes": "by classes", "continuous": "by a ramp"}[kind]
    means = {"ramp": "continuous", "minimum": "continuous", "maximum": "continuous", "classes": "classes"}
    for name in (name for name, needed in means.items() if name in options.model_fields_set and needed != kind and getattr(options, name) is not None):
        report.note("warned", "", f"the option {name} is not used: the raster is drawn {drawn}")
    missing = sorted(set(raster_legend.parse_names(options.classes)) - {entry["value"] for entry in legend["entries"]}) if kind == "classes" else []
    if missing:
        report.note("warned", "", f"classes names {', '.join(map(str, missing[:8]))}{', …' if len(missing) > 8 else ''}, which no cell holds")


def _legend(path: Path, seen: _Seen, options: Options, names: dict[int, str]) -> dict[str, Any]:
    with rasterio.open(path) as dataset:
        step = max(1, dataset.width // SAMPLE, dataset.height // SAMPLE)
        shape = (dataset.count, max(1, dataset.height // step), max(1, dataset.width // step))
        sample = dataset.read(out_shape=shape, masked=True, resampling=Resampling.nearest)
        if legend := raster_legend.picture(dataset, sample):
            return legend
        table, given = raster_legend.color_table(dataset), raster_legend.parse_names(options.classes)
        grey = dataset.dtypes[0] == "uint8" and dataset.colorinterp[0] == ColorInterp.gray
        values = sample[0].compressed()
        if seen.values is None and given and np.array_equal(values, np.round(values)):
            seen.values = {int(v) for v in np.unique(values)}  # an ASCII grid of class numbers comes as float
        if seen.values and (table or given or names or len(seen.values) <= raster_legend.FEW):
            return raster_legend.classes(np.array(sorted(seen.values)), table, names, given, options.unit)
        if not len(values):  # what little data there is fell between the sample's cells
            data = dataset.read(1, masked=True)
            values = data.compressed()
        return raster_legend.ramp(values, options.ramp or ("greys" if grey else "blues"), options.minimum, options.maximum, options.unit)


def _pack(clean: Path, cog: Path, jpeg: bool, kind: str) -> Path:
    packing = {"compress": "JPEG", "quality": JPEG_QUALITY} if jpeg else {"compress": "DEFLATE", "level": 6, "predictor": "YES"}
    with rasterio.Env(**raster_source.SAFE):
        raster_file.copy(clean, cog, driver="COG", blocksize=512, bigtiff="IF_SAFER", overview_resampling="MODE" if kind == "classes" else "AVERAGE",
                         num_threads="2", **packing)  # fmt: skip
    clean.unlink()
    return cog


def _asset(cog: Path, reference: Any, legend: dict[str, Any], seen: _Seen) -> Asset:
    with rasterio.open(cog) as made:
        box = Bounds(*(float(v) for v in made.bounds))
        void = made.nodata
        properties = {"bands": [d or f"band{i}" for i, d in enumerate(made.descriptions, 1)], "dtype": made.dtypes[0], "legend": legend,
                      "nodata": "nan" if void is not None and np.isnan(void) else void, "photo": legend["type"] == "rgb"}  # fmt: skip
    return Asset(reference, cog, "cog", box, seen.cells, properties)
