"""A small city written part by part, without any pipeline: what the API must serve, known in full to the tests."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pytest
import shapely
from fastapi.testclient import TestClient

from twin import parts
from twin.api import create_app
from twin.archive import ArchiveWriter
from twin.catalog import Derivation
from twin.city import City
from twin.model import Batch, Column, Features, Grid, Layer, LayerKind, Mesh, Reference, Report

ODD_IDS = ["a/b/c", "2O2Fr$t4X7Zf8NOew3FLOH", "楼 #7?x=1&y", "100%", "../../etc", "line\nbreak", "é\u0301"]
GLB = bytes(range(256)) * 40
TERRAIN_TILE = b"\0\1\2\3" * 500


@dataclass
class Sample:
    """The city, a client of its API, and what was put in (ids and source geometry by layer)."""

    city: City
    client: TestClient
    ids: dict[str, list[str]] = field(default_factory=dict)
    geometry: dict[str, Any] = field(default_factory=dict)
    glb: bytes = GLB
    terrain_tile: bytes = TERRAIN_TILE

    def show_tileset(self, glb: bytes, shift: float = 0.0, name: str = "shown", label: Literal["open", "internal", "restricted"] = "open") -> str:
        """Publish a small blocks layer with a tileset around these bytes; returns its key."""
        box = shapely.box(404_000 + shift, 2_497_000, 404_010, 2_497_010)
        batch = Features(Reference("EPSG:4547", "above ground"), pa.array(["one"]), np.array([box], dtype=object), pa.table({"height": [3.0]}))
        key = publish(self.city, name, "blocks", [batch], files=tileset_files(glb), info=TILESET_INFO, label=label)
        assert key is not None
        return key


def publish(
    city: City, name: str, kind: LayerKind, batches: list[Batch], *, files: dict[str, bytes] | None = None, info: dict[str, Any] | None = None,
    style: dict[str, Any] | None = None, provenance: dict[str, Any] | None = None, label: Literal["open", "internal", "restricted"] = "open",
) -> str | None:  # fmt: skip
    """Write a version, an archive if `files` are given, and publish both; returns the derivation key."""
    version = parts.write_version(city.lake, name, kind, batches, Report(source="test"), provenance=provenance or {}, style=style)
    manifest = city.lake.put_json(parts.to_json(version))
    key = None
    if files is not None:
        with city.lake.scratch(".3tz") as out:
            with ArchiveWriter(out) as archive:
                for path, data in files.items():
                    archive.add(path, data)
            stored = city.lake.put_file(out, ".3tz", move=True)
        key = stored[:24]
    with city.catalog.write() as connection:
        number = city.catalog.add_version(connection, Layer(name, kind, {"zh": f"{name}层", "en": name}, label=label), manifest, version.count,
                                          job=f"job-{name}-{manifest[:8]}-{key}", who="test")  # fmt: skip
        if key is not None:
            city.catalog.add_derivation(connection, Derivation(key, name, number, kind, stored, {}, info or {}))
        city.catalog.publish(connection, name, number, manifest, key, "test")
    return key


def tileset_files(glb: bytes = GLB) -> dict[str, bytes]:
    """A tileset of one tile."""
    root = {"boundingVolume": {"region": [1.9, 0.39, 1.91, 0.4, 0, 50]}, "geometricError": 0, "refine": "ADD", "content": {"uri": "tiles/0.glb"}}
    return {"tileset.json": json.dumps({"asset": {"version": "1.1"}, "geometricError": 30.0, "root": root}).encode(), "tiles/0.glb": glb}


TILESET_INFO = {"entry": "tileset.json", "root": {"boundingVolume": {"region": [1.9, 0.39, 1.91, 0.4, 0, 50]}, "geometricError": 30.0}, "heights": [-8.0, 52.0]}


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sample]:
    """The city of this file's docstring."""
    city = City.open(tmp_path_factory.mktemp("city"))
    made = Sample(city, TestClient(create_app(city), raise_server_exceptions=False))
    _buildings(made)
    _roads(made)
    _islands(made)
    _bim(made)
    _terrain(made)
    with made.client:
        yield made


def _buildings(made: Sample, count: int = 400) -> None:
    rng = np.random.default_rng(7)
    x, y = 404_000 + rng.uniform(0, 4000, count), 2_497_000 + rng.uniform(0, 4000, count)
    shapes = shapely.box(x, y, x + rng.uniform(5, 60, count), y + rng.uniform(5, 60, count))
    shapes[-1] = None  # a feature may have no geometry
    ids = ODD_IDS + [f"b{i}" for i in range(count - len(ODD_IDS))]
    table = pa.table({"height": rng.uniform(3, 90, count), "名称": [f"建筑{i}" for i in range(count)], "floors": pa.array(range(count), pa.int32())})
    fields = [table.schema.field(0).with_metadata({"unit": "m", "title_zh": "高度", "title_en": "Height"}), *list(table.schema)[1:]]
    batch = Features(Reference("EPSG:4547", "above ground"), pa.array(ids), shapes, table.cast(pa.schema(fields)))
    publish(made.city, "buildings", "blocks", [batch], files=tileset_files(), info=TILESET_INFO, style={"height": "height", "color": "#cccccc"})
    made.ids["buildings"], made.geometry["buildings"] = ids, shapes


def _roads(made: Sample, count: int = 60) -> None:
    """Long lines with 1985 heights in a zone CRS with its number in front of the easting."""
    rng = np.random.default_rng(8)
    x, y = 38_404_000 + rng.uniform(0, 4000, count), 2_497_000 + rng.uniform(0, 4000, count)
    lines = [shapely.LineString([(a, b, 3.5), (a + rng.uniform(-3000, 3000), b + rng.uniform(-3000, 3000), 7.25)]) for a, b in zip(x, y, strict=True)]
    shapes = np.array(lines, dtype=object)
    ids = [f"r{i}" for i in range(count)]
    publish(made.city, "道路", "vector", [Features(Reference("EPSG:4526", "EPSG:5737"), pa.array(ids), shapes, pa.table({"name": ids}))])
    made.ids["道路"], made.geometry["道路"] = ids, shapes


def _islands(made: Sample) -> None:
    """Islands on both sides of the antimeridian."""
    lon = np.array([176.0, 178.5, 179.9, -179.9, -178.5, -176.0, 0.0])
    shapes = shapely.box(lon - 0.05, -17.05, lon + 0.05, -16.95)
    ids = [f"i{i}" for i in range(len(lon))]
    publish(made.city, "islands", "vector", [Features(Reference("EPSG:4326"), pa.array(ids), shapes, pa.table({"lon": lon}))])
    made.ids["islands"], made.geometry["islands"] = ids, shapes


def _bim(made: Sample) -> None:
    """Two walls of one storey: the second places the first one's shape again."""
    positions = np.array([[0, 0, 0], [4, 0, 0], [4, 0.3, 0], [0, 0.3, 3]], dtype=np.float64)
    transforms = np.tile(np.eye(4), (2, 1, 1))
    transforms[:, :3, 3] = [[405_000, 2_498_000, 5.0], [405_010, 2_498_000, 5.0]]
    psets = [json.dumps({"Pset_WallCommon": {"FireRating": "2h"}}), json.dumps({"Pset_WallCommon": {"FireRating": "1h"}})]
    table = pa.table({"class": ["IfcWall", "IfcWall"], "name": ["墙一", "墙二"], "storey": ["1F", "1F"], "psets": psets,
                      "quantities": [json.dumps({"Qto_WallBaseQuantities": {"Length": 4.0}}), None]})  # fmt: skip
    mesh = Mesh(Reference("EPSG:4547", "EPSG:5737"), pa.array(["0wall$A", "0wall$B"]), table, positions, np.array([[0, 1, 2], [0, 2, 3]], np.int32),
                np.zeros(2, np.int32), np.array([0, 4]), np.array([0, 2]), np.zeros(2, np.int32), np.arange(2, dtype=np.int32), transforms,
                parents=pa.array(["storey-1", None]))  # fmt: skip
    publish(made.city, "bim", "mesh", [mesh], files=tileset_files(GLB[::-1]), info=TILESET_INFO)
    made.ids["bim"] = ["0wall$A", "0wall$B"]


def _terrain(made: Sample) -> None:
    data = np.linspace(0, 40, 64 * 64, dtype=np.float32).reshape(1, 64, 64)
    grid = Grid(Reference("EPSG:4547", "EPSG:5737"), data, (62.5, 0, 404_000, 0, -62.5, 2_501_000), None, (Column("height", "float", "m"),))
    layer = {"tilejson": "2.1.0", "format": "quantized-mesh-1.0", "scheme": "tms", "projection": "EPSG:4326", "tiles": ["{z}/{x}/{y}.terrain"],
             "available": [[{"startX": 0, "startY": 0, "endX": 1, "endY": 0}]]}  # fmt: skip
    files = {"layer.json": json.dumps(layer).encode(), "0/1/0.terrain": TERRAIN_TILE}
    publish(made.city, "dem", "terrain", [grid], files=files, info={"entry": "layer.json", "tiles": 1, "heights": [-8.0, 32.0]})
