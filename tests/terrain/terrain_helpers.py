"""Rasters made for the purpose, and a tiled terrain to look into."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from rasterio.transform import from_origin
from terrain_decoder import DecodedTile, decode

from twin.archive import Archive


def write_dem(path: Path, z: np.ndarray, *, crs: str | None = "EPSG:4326", west: float = 113.0, north: float = 22.6, cell: float = 0.0002,
              nodata: float | None = None, **extra: Any) -> Path:  # fmt: skip
    """A GeoTIFF of one band (or several, for a 3-D array)."""
    bands = z if z.ndim == 3 else z[None]
    profile = {"driver": "GTiff", "width": bands.shape[2], "height": bands.shape[1], "count": len(bands), "dtype": bands.dtype, "crs": crs,
               "transform": from_origin(west, north, cell, cell), "nodata": nodata, **extra}  # fmt: skip
    with rasterio.open(path, "w", **profile) as file:
        file.write(bands)
    return path


def hills(rows: int, columns: int, seed: int = 1) -> np.ndarray:
    """Smooth hills of some hundred metres with a little roughness, float32."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:rows, 0:columns]
    z = 200 + 80 * np.sin(x / 23) * np.cos(y / 31) + 40 * np.sin((x + 2 * y) / 11)
    return np.asarray(z + rng.normal(0, 0.5, z.shape), np.float32)


class Tiles:
    """A tiled terrain: what the tiler returned, its layer.json and its decoded tiles."""

    def __init__(self, path: Path, facts: dict[str, Any]) -> None:
        self.path, self.facts = path, facts
        self.archive = Archive(path)
        self.layer = json.loads(self.archive.read("layer.json")) if "layer.json" in self.archive.names() else {}
        self.names = sorted(name for name in self.archive.names() if name.endswith(".terrain"))

    def tile(self, z: int, x: int, y: int) -> DecodedTile:
        return decode(self.archive.read(f"{z}/{x}/{y}.terrain"), z, x, y)

    def keys(self, level: int | None = None) -> list[tuple[int, int, int]]:
        keys = [tuple(int(v) for v in name.removesuffix(".terrain").split("/")) for name in self.names]
        return sorted((z, x, y) for z, x, y in keys if level is None or z == level)

    def all_keys(self) -> list[tuple[int, int, int]]:
        return self.keys()

    @property
    def finest(self) -> int:
        return int(self.layer["maxzoom"])
