"""Rasters made for the purpose, and versions of them in a lake."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from rasterio.transform import Affine, from_origin

from ingest_gis import raster
from twin.lake import Lake
from twin.model import LayerVersion, Report
from twin.parts import raster_part, write_version


class Made:
    """A raster that was read: its version, its report, the COG's profile, colours and cells."""

    def __init__(self, lake: Lake, version: LayerVersion, report: Report) -> None:
        self.version, self.report, self.part = version, report, raster_part(version)
        self.legend = self.part.properties["legend"]
        with rasterio.open(lake.path(self.part.key)) as file:
            self.profile, self.cells, self.colorinterp, self.descriptions = file.profile, file.read(), file.colorinterp, file.descriptions
            self.overviews, self.mask, self.compress = file.overviews(1), file.dataset_mask(), file.profile.get("compress")


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Path]:
    def write(name: str, cells: np.ndarray, *, crs: str | None = "EPSG:32649", transform: Affine | None = None, colors: dict | None = None, **extra: Any) -> Path:
        path = tmp_path / name
        bands = cells if cells.ndim == 3 else cells[None]
        profile = {"driver": "GTiff", "count": len(bands), "height": bands.shape[1], "width": bands.shape[2], "dtype": bands.dtype, "crs": crs,
                   "transform": transform or from_origin(700000, 2500000, 10, 10), **extra}  # fmt: skip
        with rasterio.open(path, "w", **profile) as file:
            file.write(bands)
            if colors:
                file.write_colormap(1, colors)
        return path

    return write


@pytest.fixture
def ingest(lake: Lake) -> Callable[..., Made]:
    def run(source: Path, **options: Any) -> Made:
        report = Report(source=source.name)
        version = write_version(lake, "picture", "raster", raster.read(source, raster.Options(**options), report), report, provenance={})
        return Made(lake, version, report)

    return run
