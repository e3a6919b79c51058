"""Small vector and LAS files written for the tests."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import laspy
import numpy as np
import pytest

from twin import parts
from twin.lake import Lake
from twin.model import Features, LayerVersion, Report


@pytest.fixture
def ingest(lake: Lake) -> Callable[..., tuple[LayerVersion, Report, list[Features]]]:
    """Read a file by a reader of ingest_gis, store it, and read the features back."""

    def run(reader: str, path: Path, **options: Any) -> tuple[LayerVersion, Report, list[Features]]:
        module = import_module(f"ingest_gis.{reader}")
        report = Report(source=path.name)
        version = parts.write_version(lake, "layer", "vector", module.read(path, module.Options(**options), report), report, provenance={})
        return version, report, list(parts.read_features(lake, version))

    return run


def write_las(path: Path, count: int = 1000, *, point_format: int = 3, version: str = "1.2", seed: int = 1, rgb: int = 255, **columns: Any) -> Path:
    """A LAS/LAZ file of random points in a box of 100 × 100 × 20 m near (500000, 2500000)."""
    rng = np.random.default_rng(seed)
    header = laspy.LasHeader(point_format=point_format, version=version)
    header.scales, header.offsets = [0.001] * 3, [500_000, 2_500_000, 0]
    las = laspy.LasData(header)
    las.x, las.y = 500_000 + rng.random(count) * 100, 2_500_000 + rng.random(count) * 100
    las.z = rng.random(count) * 20
    las.intensity = rng.integers(0, 4000, count).astype(np.uint16)
    las.classification = rng.choice([2, 5, 6], count).astype(np.uint8)
    if point_format in (2, 3, 5, 7, 8):
        for name in ("red", "green", "blue"):
            setattr(las, name, rng.integers(0, rgb + 1, count).astype(np.uint16))
    for name, values in columns.items():
        setattr(las, name, values)
    las.write(path)
    return path
