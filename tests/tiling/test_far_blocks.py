"""Blocks whose tile has its middle far away: the root of a layer on both sides of a great meridian lies half the earth from some of its buildings."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyproj
import pytest
import shapely
import trimesh

from tiling.blocks import tiler as blocks
from tiling.check import check_layer
from twin.lake import Lake
from twin.model import Features, LayerVersion, Reference, Report
from twin.parts import write_version
from twin.registry import TileJob

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE)]
from tiling_helpers import decode_glb, decoded  # noqa: E402

from twin.archive import Archive  # noqa: E402

PLACES = [(179.9999, 10.0), (-179.9999, 10.0), (-0.001, 51.5), (113.08, 22.58), (-122.4, 37.8), (90.0, -33.0), (180.0, 80.0)]


def town(lake: Lake, outlines: list[shapely.Polygon]) -> LayerVersion:
    table = pa.table({"height": [20.0 + i for i in range(len(outlines))]})
    batch = Features(Reference("EPSG:4326", ""), pa.array([f"b{i}" for i in range(len(outlines))]), np.array(outlines, object), table)
    return write_version(lake, "far", "blocks", [batch], Report("test"), provenance={}, style={"height": "height"})


def tile(lake: Lake, version: LayerVersion) -> dict[str, object]:
    return blocks.tile(version, TileJob(lake, lake.root / "out.3tz", blocks.Options(ground=5.0), None, 1))


def test_solids_stand_upright_and_look_outwards_wherever_they_are(lake: Lake) -> None:
    """Volume (trimesh) against the geodesic area of the outline (PROJ), with its sign; walls are shaded by where they look."""
    outlines = [shapely.Polygon([(x, y), (x + 4e-4, y), (x + 4e-4, y + 1e-4), (x + 2e-4, y + 1e-4), (x + 2e-4, y + 3e-4), (x, y + 3e-4)]) for x, y in PLACES]
    version = town(lake, outlines)
    facts = tile(lake, version)
    found = {name: triangles for name, triangles, _, _ in decoded(lake.root / "out.3tz")}
    assert sorted(found) == [f"b{i}" for i in range(len(outlines))]
    for i, outline in enumerate(outlines):
        corners = found[f"b{i}"].reshape(-1, 3)
        mesh = trimesh.Trimesh(corners - corners.mean(axis=0), np.arange(len(corners)).reshape(-1, 3))
        area, _ = pyproj.Geod(ellps="WGS84").geometry_area_perimeter(outline)
        assert mesh.volume == pytest.approx(abs(area) * (20.0 + i), rel=2e-3)
    with Archive(lake.root / "out.3tz") as archive:
        for name in archive.names():
            for primitive in decode_glb(archive.read(name)) if name.endswith(".glb") else ():
                local, triangles = primitive.positions, primitive.triangles()
                faces = np.cross(local[triangles[:, 1]] - local[triangles[:, 0]], local[triangles[:, 2]] - local[triangles[:, 0]])
                shaded = primitive.normals[triangles[:, 0]]
                assert ((faces * shaded).sum(axis=1) / np.linalg.norm(faces, axis=1) / np.linalg.norm(shaded, axis=1)).min() > 0.99
    report = check_layer(version, lake, [lake.root / "out.3tz"], info=facts, options={"ground": 5.0})
    assert not report.errors, report.errors[:3]


def test_what_is_no_building_is_refused(lake: Lake) -> None:
    facts = tile(lake, town(lake, [shapely.box(100, 0, 170, 60), shapely.box(113, 22, 113.001, 22.001)]))
    notes = facts["report"]["notes"]  # type: ignore[index]
    assert [(n["action"], n["feature"]) for n in notes] == [("refused", "b0")]
    assert "1,000 km" in notes[0]["reason"]
