"""Meshes and blocks at the poles, at the 180th meridian and all over the globe: law 6 holds in explicit and implicit trees, and the check measures them rightly."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import shapely
import trimesh

from tiling.blocks import tiler as blocks
from tiling.check import check_layer
from tiling.meshes import tiler as mesh
from twin.lake import Lake
from twin.model import Features, LayerVersion, Material, Mesh, Reference, Report
from twin.parts import write_version
from twin.registry import TileJob

REFERENCE = Reference("EPSG:4326", "EPSG:4979")
DEGREE = 1e-5
"""Of latitude: some metre."""


def places(kind: str, count: int) -> np.ndarray:
    """(count, 2) degrees."""
    rng = np.random.default_rng(7)
    if kind == "180":
        lon = 180 + rng.normal(0, 2e-3, count)
        return np.column_stack([np.where(lon > 180, lon - 360, lon), rng.normal(0, 2e-3, count)])
    if kind == "globe":
        return np.column_stack([rng.uniform(-179, 179, count), np.degrees(np.arcsin(rng.uniform(-0.99, 0.99, count)))])
    return np.column_stack([rng.uniform(-179, 179, count), (90 - rng.uniform(5e-4, 9e-3, count)) * (1 if kind == "north" else -1)])


def houses(lake: Lake, kind: str) -> LayerVersion:
    count = 300
    spots = places(kind, count)
    wide = np.minimum(DEGREE / np.cos(np.radians(spots[:, 1])), 0.01)
    spots[:, 0] = np.clip(spots[:, 0], -180 + wide, 180 - wide)
    shapes = np.array([shapely.box(x - w, y - DEGREE, x + w, y + DEGREE) for (x, y), w in zip(spots, wide, strict=True)], object)
    table = pa.table({"height": np.linspace(3, 300, count), "base": np.linspace(-500, 9000, count)})
    batch = Features(REFERENCE, pa.array([f"b{i}" for i in range(count)]), shapes, table)
    return write_version(lake, "h", "blocks", [batch], Report("h"), provenance={}, style={"height": "height", "base": "base"})


def boxes(lake: Lake, kind: str, off: float = 0.0) -> LayerVersion:
    """Boxes of some metres, each another shape; the 40th may be `off` by so many metres of height."""
    count, shape = 80, trimesh.creation.box((8, 3, 6))
    spots = places(kind, count)
    vertices = [shape.vertices * [DEGREE / np.cos(np.radians(y)), DEGREE, 1] + [x, y, 10 + (off if i == 40 else 0)] for i, (x, y) in enumerate(spots)]
    size, faces = len(shape.vertices), len(shape.faces)
    rows = np.arange(count, dtype=np.int32)
    whole = Mesh(REFERENCE, pa.array([f"e{i}" for i in range(count)]), pa.table({"n": rows}), np.concatenate(vertices), np.tile(shape.faces, (count, 1)).astype(np.int32),
                 np.zeros(count * faces, np.int32), np.arange(0, count * size + 1, size), np.arange(0, count * faces + 1, faces), rows, rows, np.tile(np.eye(4), (count, 1, 1)),
                 (Material("m"),))  # fmt: skip
    return write_version(lake, "m", "mesh", [whole], Report("m"), provenance={})


@pytest.mark.parametrize("subdivision", ["explicit", "implicit"])
@pytest.mark.parametrize("kind", ["180", "north", "south", "globe"])
def test_everything_lies_in_its_volume_and_in_its_place(lake: Lake, tmp_path: Path, kind: str, subdivision: Any) -> None:
    for version, tiler, options in ((houses(lake, kind), blocks, blocks.Options(budget=1000, subdivision=subdivision)),
                                    (boxes(lake, kind), mesh, mesh.Options(budget=500, subdivision=subdivision))):  # fmt: skip
        out = tmp_path / f"{version.kind}.3tz"
        facts = tiler.tile(version, TileJob(lake, out, options))
        found = check_layer(version, lake, out, info=facts)
        assert found.ok, [str(f) for f in found.errors[:3]]
        assert found.positions is not None and found.positions["features"] == found.positions["expected"]
        assert found.positions["max_error_m"] < (0.001 if kind == "180" else 0.01)  # at a pole the check measures in degrees of one latitude


@pytest.mark.parametrize("kind", ["180", "north"])
def test_what_is_out_of_place_there_is_found(lake: Lake, tmp_path: Path, kind: str) -> None:
    version, moved = boxes(lake, kind), boxes(lake, kind, 0.3)
    out = tmp_path / "m.3tz"
    facts = mesh.tile(moved, TileJob(lake, out, mesh.Options(budget=500)))
    found = check_layer(version, lake, out, info=facts)
    assert found.codes() == {"POSITION_OFF"}
    assert all("e40" in str(f) for f in found.errors)
