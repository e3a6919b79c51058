"""A small world for floods: a terrain in metres, layers, and a way to run them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from scenarios import driver, flood
from scenarios.contract import World
from twin import crs, parts
from twin.lake import Lake
from twin.model import Column, Features, Grid, Reference, Report
from twin.registry import parse_options

E, N, CELL = 400_000.0, 2_490_000.0, 5.0
HEIGHTS = Reference("EPSG:4547", "EPSG:5737")


def place(x: float, y: float) -> tuple[float, float]:
    """(longitude, latitude) of metres east and south of the corner."""
    lon, lat = crs.to_lonlat("EPSG:4547", np.array([E + x]), np.array([N - y]))
    return float(lon[0]), float(lat[0])


def terrain(lake: Lake, heights: np.ndarray, cell: float = CELL):
    grid = Grid(HEIGHTS, heights[None].astype(np.float32), (cell, 0, E, 0, -cell, N), -9999.0, (Column("height", "float", "m"),))
    return parts.write_version(lake, "dem", "terrain", [grid], Report(source="dem"), provenance={})


def layer(lake: Lake, name: str, kind: str, shapes: list, ids: list[str], /, **columns: list):
    table = pa.table({"height": [9.0] * len(ids), **columns})
    features = Features(Reference("EPSG:4547"), pa.array(ids), np.array(shapes, dtype=object), table)
    return parts.write_version(lake, name, kind, [features], Report(source=name), provenance={})


def raster(lake: Lake, name: str, data: np.ndarray, cell: float):
    grid = Grid(Reference("EPSG:4547"), data.astype(np.float32), (cell, 0, E, 0, -cell, N), -9999.0, tuple(Column(f"b{i}", "float", "mm/h") for i in range(len(data))))
    return parts.write_version(lake, name, "raster", [grid], Report(source=name), provenance={})


def model_of(lake: Lake, versions: dict, **params: Any):
    """A flood at its first moment, and its world."""
    world = World(lake, versions, Report(source="flood"))
    return flood.start(parse_options(flood.Params, {"terrain": "dem", "cell": CELL, **params}, "flood"), world), world


def run(lake: Lake, versions: dict, tmp_path: Path, **params: Any):
    world = World(lake, versions, Report(source="flood"))
    values = parse_options(flood.Params, {"terrain": "dem", "cell": CELL, **params}, "flood")
    return driver.drive(flood, values, world, lambda fraction, message: None, tmp_path / "checkpoint.npz"), world
