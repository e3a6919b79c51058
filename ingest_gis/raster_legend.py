"""How a raster is drawn: as a picture, by classes or by a ramp; decided once when it is read and kept with the layer."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.enums import ColorInterp

from twin.errors import BadOption
from twin.model import Report

#: Perceptually even ramps (five stops each), readable by colour-blind people.
RAMPS = {
    "blues": ("#eff6fc", "#b5d4e9", "#6aaed6", "#2e7ebc", "#0b3f7f"),
    "viridis": ("#440154", "#3b528b", "#21918c", "#5ec962", "#fde725"),
    "heat": ("#fff5c2", "#fdbb5e", "#ee6a3a", "#b5203c", "#5c0a3f"),
    "greys": ("#252525", "#636363", "#969696", "#cccccc", "#f7f7f7"),
}  # fmt: skip
#: Distinct hues for classes without colours of their own.
HUES = ("#4e79a7", "#f28e2b", "#59a14f", "#e15759", "#76b7b2", "#edc948", "#b07aa1", "#ff9da7", "#9c755f", "#bab0ac")
FEW = 32
MOST_CLASSES = 1024
_SIDECAR = 4 << 20


def picture(dataset: Any, sample: np.ma.MaskedArray[Any, Any]) -> dict[str, Any] | None:
    """The legend of a colour picture: bands said to be red, green and blue, or three or four bands of bytes; else None.

    Bands of more than 8 bits get the range (2nd to 98th percentile over the three) that is shown as black to white.
    """
    interpretation = list(dataset.colorinterp)
    said = interpretation[:3] == [ColorInterp.red, ColorInterp.green, ColorInterp.blue]
    if dataset.count < 3 or not (said or (dataset.count <= 4 and dataset.dtypes[0] == "uint8")):
        return None
    legend: dict[str, Any] = {"type": "rgb", "unit": "", "title": {}, "entries": []}
    if dataset.dtypes[0] != "uint8":
        values = sample[:3].compressed().astype(np.float64)
        legend["range"] = [float(v) for v in np.percentile(values, [2, 98])]
    return legend


def classes(distinct: NDArray[Any], table: dict[int, str], names: dict[int, str], given: dict[int, str], unit: str) -> dict[str, Any]:
    """A legend of every value that occurs, with the file's colour and name, or the user's name, or a stock colour."""
    entries = []
    for i, number in enumerate(distinct):
        value = int(number)
        name = given.get(value) or names.get(value) or str(value)
        entries.append({"value": value, "color": table.get(value, HUES[i % len(HUES)]), "label": {"zh": name, "en": name}})
    return {"type": "classes", "unit": unit, "title": {}, "entries": entries}


def ramp(values: NDArray[Any], colors: str, low: float | None, high: float | None, unit: str) -> dict[str, Any]:
    """A continuous legend of five stops from `low` to `high`, by default the 2nd and 98th percentile of the values."""
    least, most = (float(v) for v in np.percentile(values.astype(np.float64), [2, 98]))
    least, most = least if low is None else low, most if high is None else high
    if most <= least:
        if low is not None and high is not None:
            raise BadOption(f"minimum {low:g} is not below maximum {high:g}.", "Give them the other way round.")
        most = least + 1.0
    stops = np.linspace(least, most, len(RAMPS[colors]))
    entries = [{"value": float(f"{v:.6g}"), "color": c, "label": {"zh": f"{v:.4g}", "en": f"{v:.4g}"}} for v, c in zip(stops, RAMPS[colors], strict=True)]
    return {"type": "continuous", "unit": unit, "title": {}, "entries": entries}


def color_table(dataset: Any) -> dict[int, str]:
    """Opaque colours of a palette band by value."""
    if ColorInterp.palette not in dataset.colorinterp:
        return {}
    try:
        return {value: "#{:02x}{:02x}{:02x}".format(*color[:3]) for value, color in dataset.colormap(1).items() if color[3] > 0}
    except ValueError:
        return {}


def parse_names(given: dict[str, str] | str | None) -> dict[int, str]:
    """Class names as users write them: `1:水面;2:道路`, or a mapping."""
    if given is None:
        return {}
    try:
        pairs = given.items() if isinstance(given, dict) else [part.split(":", 1) for part in given.split(";") if part.strip()]
        return {int(value): name.strip() for value, name in pairs}
    except ValueError as error:
        raise BadOption(f"Class names {given!r} cannot be read.", "Write them as 1:水面;2:道路") from error


def sidecar_names(path: Path, report: Report) -> dict[int, str]:
    """Class names in GDAL's sidecar (`<file>.aux.xml`): its category list, or the name column of its attribute table.

    Read by our own code and for names alone: GDAL would also follow references to other files in it.
    """
    sidecar = path.with_name(path.name + ".aux.xml")
    if not sidecar.is_file():
        return {}
    try:
        text = sidecar.read_bytes() if sidecar.stat().st_size <= _SIDECAR else b""
        unsafe = not text or b"<!DOCTYPE" in text or b"<!ENTITY" in text
        band = ET.fromstring(b"<too-large-or-with-entities" if unsafe else text).find("PAMRasterBand")  # noqa: S314  no entities get here
    except ET.ParseError as error:
        report.note("skipped", sidecar.name, f"the sidecar cannot be read ({error}); classes keep their numbers")
        return {}
    if band is None:
        return {}
    names = {i: c.text.strip() for i, c in enumerate(band.findall("CategoryNames/Category")) if c.text and c.text.strip()}
    return names or _attribute_table(band)


def _attribute_table(band: ET.Element) -> dict[int, str]:
    """Value → name of a raster attribute table: usage 5 or 0 with the name “value” is the value, usage 2 the name."""
    value_at = name_at = None
    for i, field in enumerate(band.findall("GDALRasterAttributeTable/FieldDefn")):
        usage, name = field.findtext("Usage", ""), field.findtext("Name", "").strip().lower()
        if usage == "5" or (name == "value" and value_at is None):
            value_at = i
        elif usage == "2" and name_at is None:
            name_at = i
    if value_at is None or name_at is None:
        return {}
    names = {}
    for row in band.findall("GDALRasterAttributeTable/Row"):
        cells = [f.text or "" for f in row.findall("F")]
        try:
            names[int(float(cells[value_at]))] = cells[name_at].strip()
        except (ValueError, IndexError):
            continue
    return {k: v for k, v in names.items() if v}
