"""One generated city per session, read back from its files with the ordinary libraries."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import rasterio

from data_samples import generate


@dataclass(frozen=True)
class Sample:
    """The written files."""

    folder: Path
    manifest: dict[str, Any]

    def entry(self, layer: str) -> dict[str, Any]:
        found: dict[str, Any] = next(f for f in self.manifest["files"] if f["layer"] == layer)
        return found

    def path(self, layer: str) -> Path:
        return self.folder / self.entry(layer)["path"]

    def read(self, layer: str) -> geopandas.GeoDataFrame:
        path = self.path(layer)
        return geopandas.read_parquet(path) if path.suffix == ".parquet" else geopandas.read_file(path)


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    """The sample city of the default seed."""
    path = generate(tmp_path_factory.mktemp("sample"))
    return Sample(path.parent, json.loads(path.read_text(encoding="utf-8")))


@dataclass(frozen=True)
class Dem:
    """The terrain as rasterio reads it."""

    z: Any
    transform: Any

    def at(self, x: Any, y: Any) -> Any:
        """Bilinear heights at EPSG:4547 coordinates."""
        col, row = ~self.transform * (np.asarray(x, dtype=float), np.asarray(y, dtype=float))
        c = np.clip(col - 0.5, 0, self.z.shape[1] - 1.001)
        r = np.clip(row - 0.5, 0, self.z.shape[0] - 1.001)
        c0, r0 = np.floor(c).astype(int), np.floor(r).astype(int)
        fc, fr = c - c0, r - r0
        top = self.z[r0, c0] * (1 - fc) + self.z[r0, c0 + 1] * fc
        return top * (1 - fr) + (self.z[r0 + 1, c0] * (1 - fc) + self.z[r0 + 1, c0 + 1] * fc) * fr


@pytest.fixture(scope="session")
def dem(sample: Sample) -> Dem:
    """Bare earth."""
    with rasterio.open(sample.path("terrain")) as source:
        return Dem(source.read(1).astype(float), source.transform)
