"""Our tiles read by others: VTK (through pyvista) measures the solids, py3dtiles opens the tileset."""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import shapely

from tiling import blocks
from twin.lake import Lake
from twin.model import Features, Reference, Report
from twin.parts import write_version
from twin.registry import TileJob

sys.path[:0] = [str(Path(__file__).parent)]
from tiling_helpers import decoded  # noqa: E402

X, Y = 405_000.0, 2_498_000.0
COURT = shapely.Polygon([(0, 0), (40, 0), (40, 30), (0, 30)], [[(10, 10), (10, 20), (30, 20), (30, 10)]])
ANGLE = shapely.Polygon([(60, 0), (100, 0), (100, 10), (70, 10), (70, 30), (60, 30)])


@pytest.fixture
def archive(lake: Lake, tmp_path: Path) -> Path:
    outlines = [shapely.transform(shape, lambda xy: xy + np.array([X, Y])) for shape in (COURT, ANGLE)]
    features = Features(Reference("EPSG:4547"), pa.array(["court", "angle"]), np.array(outlines, object), pa.table({"height": [12.0, 30.0]}))
    version = write_version(lake, "houses", "blocks", [features], Report(source="houses"), provenance={}, style={"height": "height"})
    out = tmp_path / "houses.3tz"
    blocks.tile(version, TileJob(lake, out, blocks.Options(ground=5.0, compression="none")))
    return out


def test_vtk_finds_closed_solids_of_the_right_volume(archive: Path) -> None:
    pyvista = pytest.importorskip("pyvista")
    expected = {"court": COURT.area * 12.0, "angle": ANGLE.area * 30.0}
    for name, triangles, *_ in decoded(archive):
        corners = triangles.reshape(-1, 3)
        faces = np.insert(np.arange(len(corners)).reshape(-1, 3), 0, 3, axis=1)
        solid = pyvista.PolyData(corners - corners.mean(axis=0), faces.ravel()).clean(tolerance=1e-3, absolute=True)
        assert solid.n_open_edges == 0, name
        assert solid.is_manifold, name
        # a square metre of the zone's grid is 1 + 2.2e-4 of one on the ground there
        assert solid.volume == pytest.approx(expected[name], rel=1e-3), name


def test_py3dtiles_opens_the_tileset(archive: Path, tmp_path: Path) -> None:
    pytest.importorskip("py3dtiles")
    from py3dtiles.tileset import TileSet
    from py3dtiles.tileset.content.gltf import Gltf

    with zipfile.ZipFile(archive) as file:
        file.extractall(tmp_path / "tiles")
    tileset = TileSet.from_file(tmp_path / "tiles" / "tileset.json")
    tiles = [tile for tile in (tileset.root_tile, *tileset.root_tile.get_all_children()) if tile.has_content()]
    contents = [tile.get_or_fetch_content(tmp_path / "tiles") for tile in tiles]
    assert contents
    assert all(isinstance(content, Gltf) for content in contents)
    assert sum(content.get_vertex_count() for content in contents) > 50
