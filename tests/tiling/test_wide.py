"""Triangles wider than float32 holds, and than the earth is flat: exact, without cracks, and known to the check (ADR 0067)."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyproj
import pytest
from scipy.spatial import Delaunay

from tiling.check import Report, check_layer
from tiling.encoding.wide import FAR, bisected
from tiling.meshes import soup, tiler
from tiling.meshes.elements import Elements
from twin import crs
from twin.lake import Lake
from twin.model import LayerVersion, Material, Mesh, Reference
from twin.model import Report as ReadReport
from twin.parts import write_version
from twin.registry import TileJob

sys.path.insert(0, str(Path(__file__).parent))
from tiling_helpers import decoded

MAP, DEGREES = Reference("EPSG:4547", "EPSG:4979"), Reference("EPSG:4979", "EPSG:4979")
AT = np.array([405_000.0, 2_498_000.0, 3.0])
FRAME = crs.enu_frame(113.08, 22.58)
Shape = tuple[np.ndarray, np.ndarray]


def lake_of(side: float) -> Shape:
    """A square of still water."""
    return AT + np.array([[0, 0, 0], [side, 0, 0], [side, side, 0], [0, side, 0.0]]), np.array([[0, 1, 2], [0, 2, 3]])


def terrain(count: int, side: float = 90_000.0) -> Shape:
    """Hills with a plain amid them: triangles of all widths up to half of `side`."""
    xy = np.random.default_rng(count).uniform(0, side, (count, 2))
    xy = xy[np.linalg.norm(xy - side / 2, axis=1) > side / 4]
    return AT + np.column_stack([xy, 300 * np.sin(xy[:, 0] / 9_000)]), Delaunay(xy).simplices


def written(lake: Lake, shapes: list[Shape], reference: Reference = MAP, **columns: Any) -> LayerVersion:
    """A mesh layer of features f0, f1, …"""
    vertices, faces = [v for v, _ in shapes], [f for _, f in shapes]
    each = np.arange(len(shapes), dtype=np.int32)
    return write_version(lake, "wide", "mesh", [Mesh(
        reference, pa.array([f"f{k}" for k in each]), pa.table({"class": ["water"] * len(each)}), np.concatenate(vertices), np.concatenate(faces).astype(np.int32),
        np.zeros(sum(map(len, faces)), np.int32), np.cumsum([0, *map(len, vertices)]), np.cumsum([0, *map(len, faces)]), each, each, np.repeat(np.eye(4)[None], len(each), 0),
        (Material("blue", (0.2, 0.3, 0.8, 1.0)),), None, **columns,
    )], ReadReport("wide"), provenance={})  # fmt: skip


def tiled(lake: Lake, version: LayerVersion, **options: Any) -> Report:
    facts = tiler.tile(version, TileJob(lake, lake.root / "wide.3tz", tiler.Options(**options), None, 1))
    return check_layer(version, lake, lake.root / "wide.3tz", info=facts)


def triangles_of(lake: Lake) -> dict[str, np.ndarray]:
    """(T, 3, 3) ECEF of each feature at the leaves."""
    found: dict[str, list[np.ndarray]] = {}
    for name, triangles, _, _ in decoded(lake.root / "wide.3tz"):
        found.setdefault(name, []).append(triangles)
    return {name: np.concatenate(many) for name, many in found.items()}


def back(triangles: np.ndarray, horizontal: str) -> np.ndarray:
    """ECEF → the layer's own coordinates and ellipsoidal heights, by PROJ."""
    lon, lat, height = pyproj.Transformer.from_crs("EPSG:4978", "EPSG:4979", always_xy=True).transform(*triangles.reshape(-1, 3).T)
    x, y = pyproj.Transformer.from_crs("EPSG:4326", horizontal, always_xy=True).transform(lon, lat)
    return np.column_stack([x, y, height]).reshape(triangles.shape)


@pytest.mark.parametrize(("side", "pieces"), [(5_700.0, 2), (30_000.0, 40), (200_000.0, 900)])
def test_still_water_is_level_however_wide(lake: Lake, side: float, pieces: int) -> None:
    """The middle of a lake of 30 km was 35 m below its own water, in a straight line from shore to shore, and corners of a sea of 200 km were 4 mm off."""
    report = tiled(lake, written(lake, [lake_of(side)]))
    assert report.ok, report.errors
    assert report.positions is not None and report.positions["max_error_m"] < 0.001
    drawn = triangles_of(lake)["f0"]
    own = back(drawn, "EPSG:4547")
    assert pieces <= len(own) and (side > 5_700 or len(own) == 2)
    assert np.abs(own[..., 2] - 3.0).max() < 0.001
    middles = drawn.reshape(-1, 3, 3).mean(axis=1)
    assert np.abs(back(middles, "EPSG:4547")[:, 2] - 3.0).max() < 1.8
    area = np.cross(own[:, 1, :2] - own[:, 0, :2], own[:, 2, :2] - own[:, 0, :2]) / 2
    assert (area > 0).all() and area.sum() == pytest.approx(side * side, rel=1e-6)


@pytest.mark.parametrize("options", [{}, {"budget": 800}, {"budget": 800, "compression": "none", "subdivision": "implicit"}])
def test_a_terrain_of_wide_and_narrow_triangles_has_no_crack(lake: Lake, options: dict[str, Any]) -> None:
    """Every edge inside is drawn by two triangles, from the same two places, in whatever tile each lies; the check accepts it, and every level keeps its error."""
    vertices, faces = terrain(1_500)
    report = tiled(lake, written(lake, [(vertices, faces)]), **options)
    assert report.ok, report.errors
    assert report.positions is not None and report.positions["max_error_m"] < 0.001
    if "subdivision" not in options:
        own = back(triangles_of(lake)["f0"], "EPSG:4547")
        assert len(own) > len(faces)
        cell = np.rint((own - AT) / 0.02).astype(np.int64)  # far more than rounding, far less than any edge
        places, number = np.unique(cell.reshape(-1, 3), axis=0, return_inverse=True)
        near = _welded(places * 0.02)[number.ravel()].reshape(-1, 3)
        edges = np.sort(near[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1)
        _, count = np.unique(edges, axis=0, return_counts=True)
        hull = Delaunay(vertices[:, :2]).convex_hull
        assert set(count.tolist()) == {1, 2}
        assert (count == 1).sum() < len(faces) / 3 and len(hull) <= (count == 1).sum()
        once = np.unique(edges, axis=0)[count == 1]
        assert np.unique(once, return_counts=True)[1].tolist() == [2] * len(once), "the rim is one closed line"


def _welded(places: np.ndarray) -> np.ndarray:
    """(N,) one number for places within 4 cm."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components
    from scipy.spatial import cKDTree

    pairs = cKDTree(places).query_pairs(0.04, output_type="ndarray")
    return connected_components(coo_matrix((np.ones(len(pairs)), pairs.T), (len(places), len(places))))[1]


def test_degrees_and_the_180th_meridian(lake: Lake) -> None:
    sea = np.array([[112.0, 22.0, 0.0], [114.0, 22.0, 0.0], [113.5, 23.0, 9.0]]), np.array([[0, 1, 2]])
    across = np.array([[179.9, 22.0, 0.0], [-179.9, 22.0, 0.0], [179.95, 22.2, 0.0]]), np.array([[0, 1, 2]])
    report = tiled(lake, written(lake, [sea, across], DEGREES))
    assert report.ok, report.errors
    drawn = triangles_of(lake)
    assert len(drawn["f0"]) > 300 and 6 < len(drawn["f1"]) < 100


def test_colours_run_on_over_the_pieces(lake: Lake) -> None:
    """Each corner of a piece has the colour that its place has in the whole; here red grows eastwards."""
    vertices, faces = lake_of(40_000.0)
    colors = np.full((2, 3, 4), 255, np.uint8)
    colors[..., 0] = np.rint((vertices[faces][..., 0] - AT[0]) / 40_000 * 255)
    version = written(lake, [(vertices, faces)], colors=colors)
    assert tiled(lake, version).ok
    placed = soup_of(lake, version)
    x = back((placed.positions @ FRAME[:3, :3].T + FRAME[:3, 3])[placed.triangles], "EPSG:4547")[..., 0] - AT[0]
    assert placed.colors is not None and len(placed.triangles) > 50
    assert np.abs(placed.colors[..., 0] - x / 40_000 * 255).max() < 0.51


def soup_of(lake: Lake, version: LayerVersion) -> soup.Soup:
    elements = Elements.of(lake, version, 60_000, lake.root / "shapes", 1 << 26)
    found = soup.place(elements, soup.items(elements, np.arange(len(elements)), np.arange(len(elements))), FRAME)
    assert found is not None
    return found


def test_the_check_knows_straight_water_from_level_water(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is cut flat lies within a millimetre of the straight triangle, and metres from where the layer says."""
    monkeypatch.setattr(soup, "WIDE", 1e9)
    report = tiled(lake, written(lake, [lake_of(60_000.0)]))
    assert report.codes() == {"POSITION_OFF"}


def test_what_is_farther_than_any_city_stays_whole() -> None:
    """A misplaced vertex must not make a million pieces."""
    corners = np.array([[0, 0, 0], [9e3, 0, 0], [0, 9e3, 0], [3 * FAR, 0, 0]])
    _, triangles, source, share = bisected(corners, np.array([[0, 1, 2], [0, 1, 3]]), 8192.0, lambda e, p: (p[e[:, 0]] + p[e[:, 1]]) / 2)
    assert (source == 1).sum() == 2 and len(share) == len(triangles) < 20
