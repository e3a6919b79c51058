"""Any raster over the ground (orthophoto, land cover, a depth grid) → one COG with a legend.

Values are kept exactly (a photograph that came as JPEG stays JPEG); a rotated raster is warped north up. The legend says
how it is drawn: a picture, classes (colour table, or few whole numbers) or a ramp between the 2nd and 98th percentile.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from pydantic import Field
from rasterio.enums import ColorInterp, MaskFlags, Resampling
from rasterio.shutil import copy as raster_copy
from rasterio.vrt import WarpedVRT

from ingest_gis import raster_source
from twin import crs
from twin.errors import BadFeature, BadOption
from twin.model import Asset, Batch, Bounds, Report
from twin.registry import ReaderOptions

#: Perceptually even ramps (five stops each, light to dark), readable by colour-blind people.
RAMPS = {
    "blues": ("#eff6fc", "#b5d4e9", "#6aaed6", "#2e7ebc", "#0b3f7f"),
    "viridis": ("#440154", "#3b528b", "#21918c", "#5ec962", "#fde725"),
    "heat": ("#fff5c2", "#fdbb5e", "#ee6a3a", "#b5203c", "#5c0a3f"),
    "greys": ("#f7f7f7", "#cccccc", "#969696", "#636363", "#252525"),
}  # fmt: skip
#: Tableau-like distinct hues for classes without colours of their own.
CLASSES = ("#4e79a7", "#f28e2b", "#59a14f", "#e15759", "#76b7b2", "#edc948", "#b07aa1", "#ff9da7", "#9c755f", "#bab0ac")
FEW = 32
SAMPLE = 1024


class Options(ReaderOptions):
    """How a raster is drawn, where the file does not say so itself."""

    nodata: float | None = Field(None, description="The value of cells without data; overrides the file's.")
    ramp: str = Field("blues", description=f"Colours of a continuous raster: {', '.join(RAMPS)}.")
    minimum: float | None = Field(None, description="Value at the ramp's first colour (else the 2nd percentile).")
    maximum: float | None = Field(None, description="Value at the ramp's last colour (else the 98th percentile).")
    unit: str = Field("", description="Unit of the values, for the legend.")
    classes: dict[str, str] | str | None = Field(None, description="Names of classes: 1:水面;2:道路")
    member: str | None = Field(None, description="Which raster of a ZIP, where it holds several.")


def detect(source: Path, options: Any) -> bool:  # noqa: ARG001  same form for all readers
    """A raster that is plainly a picture or a class map; one band of numbers could be a terrain, so it must be named.

    Raises:
        BadOption: it could be a terrain as well as a raster.
    """
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
    if options.ramp not in RAMPS:
        raise BadOption(f"There is no ramp {options.ramp!r}.", f"Known: {', '.join(RAMPS)}.")
    with ExitStack() as stack:
        file = stack.enter_context(raster_source.source_file(source, options.member))
        dataset = stack.enter_context(raster_source.opened(file))
        stated = options.crs or (dataset.crs.to_wkt() if dataset.crs else None)
        reference = crs.parse_reference(stated, options.vertical or "none", vertical_offset=options.vertical_offset, where=file.name)
        report.facts["crs"] = "given" if options.crs else "of the file"
        raster_source.check_georeferenced(dataset, file)
        if np.dtype(dataset.dtypes[0]).kind == "c":
            raise BadFeature(f"{file.name} holds complex numbers.", "Export its amplitude or phase.")
        report.read = report.kept = dataset.width * dataset.height
        nodata = options.nodata if options.nodata is not None else dataset.nodata
        upright = stack.enter_context(_upright(dataset, crs.crs_of(reference.horizontal).to_wkt(), nodata, report))
        sample = _sample(upright, nodata)
        if sample.mask.all():
            raise BadFeature(f"{file.name} holds no data: every cell is nodata.", "Check --option nodata, or export it again.")
        photo = _is_photo(upright)
        legend = {"type": "rgb", "unit": "", "title": {}, "entries": []} if photo else _legend(upright, sample[0], options)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="twin-raster-")))
        cog = folder / "raster.tif"
        jpeg = dataset.compression is not None and dataset.compression.name == "jpeg" and photo
        packing = {"compress": "JPEG", "quality": 90} if jpeg else {"compress": "DEFLATE", "level": 6, "predictor": "YES"}
        resampling = "average" if photo or legend["type"] == "continuous" else "mode"
        with rasterio.Env(**raster_source.SAFE):
            raster_copy(upright, cog, driver="COG", blocksize=512, bigtiff="IF_SAFER", overview_resampling=resampling, **packing)
        with rasterio.open(cog) as made:
            box = Bounds(*(float(v) for v in made.bounds))
            properties = {"bands": [d or f"band{i}" for i, d in enumerate(made.descriptions, 1)], "dtype": made.dtypes[0], "nodata": _plain(nodata),
                          "legend": legend, "photo": photo}  # fmt: skip
            count = made.width * made.height
        report.facts["style"] = {"legend": legend, "unit": options.unit}
        report.facts |= {"bands": len(properties["bands"]), "size": [dataset.width, dataset.height], "kind": legend["type"]}
        yield Asset(reference, cog, "cog", box, count, properties)


def _upright(dataset: Any, wkt: str, nodata: float | None, report: Report) -> Any:
    """The dataset in its stated CRS, north up."""
    t = dataset.transform
    turned = abs(t.b) > 1e-9 * abs(t.a) or abs(t.d) > 1e-9 * abs(t.e) or t.a < 0 or t.e > 0
    if turned:
        report.note("repaired", "", "the raster is rotated or upside down; it was resampled north up (nearest cell)")
    options: dict[str, Any] = {"src_crs": wkt, "crs": wkt, "resampling": Resampling.nearest}
    if nodata is not None:
        options |= {"src_nodata": nodata, "nodata": nodata}
    if not turned:
        options |= {"transform": t, "width": dataset.width, "height": dataset.height}
    return WarpedVRT(dataset, **options)


def _sample(dataset: Any, nodata: float | None) -> np.ma.MaskedArray[Any, Any]:
    """All bands, thinned to about 1024 cells a side; NaN and nodata are masked."""
    step = max(1, dataset.width // SAMPLE, dataset.height // SAMPLE)
    data = dataset.read(out_shape=(dataset.count, max(1, dataset.height // step), max(1, dataset.width // step)), masked=True, resampling=Resampling.nearest)
    mask = np.ma.getmaskarray(data)
    if data.dtype.kind == "f":
        mask = mask | ~np.isfinite(data.filled(np.nan))
    if nodata is not None:
        mask = mask | (data.data == nodata)
    return np.ma.MaskedArray(data.data, mask)


def _is_photo(dataset: Any) -> bool:
    """Three or four bands of bytes: a picture. (MaskFlags tells an alpha band.)"""
    alpha = MaskFlags.alpha in dataset.mask_flag_enums[0]
    return dataset.count - int(alpha and dataset.count in (2, 4)) >= 3 and dataset.dtypes[0] == "uint8"


def _legend(dataset: Any, band: np.ma.MaskedArray[Any, Any], options: Options) -> dict[str, Any]:
    values = band.compressed()
    table = _color_table(dataset)
    names = _class_names(options.classes)
    base = {"unit": options.unit, "title": {}}
    whole = values.dtype.kind in "iu" or bool(np.all(values == np.round(values)))
    distinct = np.unique(values) if whole else values[:0]
    if table or names or (values.dtype.kind in "iu" and 0 < len(distinct) <= FEW):
        seen = [int(v) for v in distinct]
        entries = [{"value": v, "color": table.get(v, CLASSES[i % len(CLASSES)]), "label": {"zh": names.get(v, str(v)), "en": names.get(v, str(v))}}
                   for i, v in enumerate(seen)]  # fmt: skip
        return {"type": "classes", **base, "entries": entries}
    low, high = (float(v) for v in np.percentile(values.astype(np.float64), [2, 98]))
    low = options.minimum if options.minimum is not None else low
    high = options.maximum if options.maximum is not None else high
    if high <= low:
        high = low + 1.0
    stops = np.linspace(low, high, len(RAMPS[options.ramp]))
    entries = [{"value": float(f"{v:.6g}"), "color": c, "label": {"zh": f"{v:.4g}", "en": f"{v:.4g}"}} for v, c in zip(stops, RAMPS[options.ramp], strict=True)]
    return {"type": "continuous", **base, "entries": entries}


def _color_table(dataset: Any) -> dict[int, str]:
    """Opaque colours of a palette band by value."""
    if ColorInterp.palette not in dataset.colorinterp:
        return {}
    try:
        return {value: "#{:02x}{:02x}{:02x}".format(*color[:3]) for value, color in dataset.colormap(1).items() if color[3] > 0}
    except ValueError:
        return {}


def _class_names(given: dict[str, str] | str | None) -> dict[int, str]:
    if given is None:
        return {}
    try:
        pairs = given.items() if isinstance(given, dict) else [part.split(":", 1) for part in given.split(";") if part.strip()]
        return {int(value): name.strip() for value, name in pairs}
    except ValueError as error:
        raise BadOption(f"Class names {given!r} cannot be read.", "Write them as 1:水面;2:道路") from error


def _plain(value: Any) -> float | None:
    return None if value is None or not np.isfinite(value) else float(value)


