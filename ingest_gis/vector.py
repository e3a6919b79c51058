"""Any vector source → Features: roads, rivers, land use, places, networks. Attributes are kept as they are."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import shapely
from numpy.typing import NDArray
from pydantic import Field

from ingest_gis import columns, footprints, ids, packed
from ingest_gis.chunks import read_chunks
from ingest_gis.rows import Source, VectorOptions, reference_of
from ingest_gis.vector_source import open_source
from twin.errors import BadOption, MissingReference
from twin.model import Features, Reference, Report

COLOR = r"^#[0-9a-fA-F]{6}$"
LABELS = ("name:zh", "name_zh", "名称", "道路名称", "name", "names.primary", "label", "title", "地名", "ref")
"""Columns that usually hold a name to show on the map, in order of preference (compared in lower case)."""


class Options(VectorOptions):
    """Options of the vector reader."""

    label: str | None = Field(None, description="Column shown as the feature's label; found by its name if left out.")
    color: str | None = Field(None, pattern=COLOR, description="Colour on the map, #rrggbb.")
    width: float | None = Field(None, ge=0, le=500, description="Width of lines on the ground, metres.")
    width_column: str | None = Field(None, description="Column with each line's width in metres.")
    category: str | None = Field(None, description="Column whose values are told apart by colour.")
    colors: str | None = Field(None, description="Colours of the category's values: value:#rrggbb;value:#rrggbb")
    fill_opacity: float | None = Field(None, ge=0, le=1, description="Opacity of areas (0.55).")


def detect(source: Path, options: object) -> bool:
    """Whatever the footprint reader does not claim; a ZIP where it is one of vector data."""
    if source.suffix.lower() == ".zip" and not packed.holds_vectors(source, getattr(options, "member", None)):
        return False
    return not footprints.detect(source, options)


def read(source: Path, options: Options, report: Report) -> Iterator[Features]:
    """Read a vector source in chunks of at most 65,536 features.

    Yields:
        Features in the source's CRS; 3D only where a vertical datum is named, else heights that are all zero are dropped.

    Raises:
        UnreadableSource, MissingReference, BadReference, BadOption.
    """
    opened = open_source(source, options, report)
    reference = reference_of(opened, options, report)
    rule = ids.choose(opened, options.id, report)
    plan = columns.plan(opened.schema, report, drop=rule.column)
    label = _label(opened, plan, options.label)
    report.facts["style"] = ({"label": label} if label else {}) | _look(opened, plan, options)
    for chunk in read_chunks(opened, rule, report, outlines=False):
        geometry = _settle_heights(opened, reference, chunk.geometry, options, report)
        attributes = plan.apply(chunk.attributes)
        report.kept += len(chunk.ids)
        yield Features(reference, chunk.ids, geometry, attributes)


def _label(source: Source, plan: columns.Plan, wanted: str | None) -> str:
    names = {field.name.lower(): field.name for field in reversed(list(plan.schema)) if pa.types.is_string(field.type)}
    if wanted is not None:
        stored = plan.stored(wanted) or (wanted if wanted in plan.schema.names else None)
        if stored is None:
            raise BadOption(f"{source.name} has no column {wanted!r} for labels.", f"Columns: {', '.join(plan.schema.names)}.")
        return stored
    return next((names[name] for name in LABELS if name in names), "")


def _look(source: Source, plan: columns.Plan, options: Options) -> dict[str, object]:
    """The options that say how the layer is drawn, as its style.

    Raises:
        BadOption: a column that is not there, colours that cannot be read.
    """
    style: dict[str, object] = {}
    for key in ("color", "width", "fill_opacity"):
        if getattr(options, key) is not None:
            style[key] = getattr(options, key)
    for key in ("width_column", "category"):
        wanted = getattr(options, key)
        if wanted is not None:
            stored = plan.stored(wanted) or (wanted if wanted in plan.schema.names else None)
            if stored is None:
                raise BadOption(f"{source.name} has no column {wanted!r} for {key}.", f"Columns: {', '.join(plan.schema.names)}.")
            style[key] = stored
    if options.colors is not None:
        pairs = [part.rpartition(":") for part in options.colors.split(";") if part.strip()]
        wrong = [color for _, colon, color in pairs if not colon or not re.match(COLOR, color.strip())]
        if wrong or "category" not in style:
            raise BadOption(f"colors {options.colors!r} cannot be used.", "Write them as value:#rrggbb;value:#rrggbb, and name the column with category.")
        style["colors"] = {value.strip(): color.strip() for value, _, color in pairs}
    return style


def _settle_heights(
    source: Source, reference: Reference, geometry: NDArray[np.object_], options: Options, report: Report
) -> NDArray[np.object_]:
    """Keep z under a vertical datum; without one drop z that says nothing, and refuse z that does."""
    solid = shapely.has_z(geometry)
    if reference.vertical or not solid.any():
        return geometry
    z = shapely.get_coordinates(geometry[solid], include_z=True)[:, 2]
    if options.vertical is None and np.any(z != 0):
        raise MissingReference(
            f"{source.name}: its geometries have heights ({np.min(z):g} to {np.max(z):g}) but no vertical datum is stated.",
            "Name it with --vertical (EPSG:5737, EGM96, ellipsoid), or drop the heights with --vertical none.",
        )
    if "heights_dropped" not in report.facts:
        report.facts["heights_dropped"] = True
        report.note("assumed", "", "heights of the geometries are not kept: " + ("--vertical none" if options.vertical is not None else "all are 0"))
    flat = geometry.copy()
    flat[solid] = shapely.force_2d(geometry[solid])
    return flat
