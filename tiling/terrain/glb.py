# mypy: disable-error-code="untyped-decorator"
"""The ground as 3D Tiles, for clients that know no terrain: a quadtree of glb tiles with REPLACE, from the same triangles.

A refined tile has all four children, so that they stand for all of it. Tiles of different levels meet at skirts: walls that
hang down from a tile's rim by twice the error that a client takes its level to have.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiling.encoding.drawables import Primitive, Surface
from tiling.encoding.gltf import glb
from tiling.terrain.levels import ROOT_ERROR
from tiling.terrain.quantized_mesh import normal_at
from tiling.terrain.rtin import STEPS
from tiling.tileset import Tile, tileset
from twin import crs
from twin.archive import Packed, pack
from twin.compiled import njit
from twin.crs import WGS84_E2
from twin.model import Layer

F64 = NDArray[np.float64]
I32 = NDArray[np.int32]
GROUND = Surface((0.62, 0.64, 0.56, 1.0), roughness=1.0, name="ground")
MOST_ROOTS = 4
Corner = tuple[int, int, F64, F64, F64, F64]
"""Row and column of a tile's south-west corner in the lattice; its longitudes, latitudes, and `quantized_mesh.circles` of them."""


@dataclass(frozen=True, slots=True)
class GroundTile:
    """A finished glb tile: level, column and row, its frame (4 × 4, to ECEF), and the extremes of its content in it."""

    z: int
    x: int
    y: int
    frame: F64
    low: F64
    high: F64

    @property
    def uri(self) -> str:
        """Name in the archive."""
        return f"{self.z}/{self.x}/{self.y}.glb"


@njit(cache=True, nogil=True, error_model="numpy")
def _vertices(height: F64, row: int, column: int, lon: F64, lat: F64, turns: F64, rises: F64, vertices: I32, points: F64, normals: F64, ups: F64) -> None:
    """Earth-centred positions, surface normals and ellipsoid normals of a tile's vertices."""
    for i in range(len(vertices)):
        r, c = row + vertices[i, 1], column + vertices[i, 0]
        h, n = height[r, c], rises[2, r]
        points[i, 0] = (n + h) * rises[0, r] * turns[0, c]
        points[i, 1] = (n + h) * rises[0, r] * turns[1, c]
        points[i, 2] = (n * (1 - WGS84_E2) + h) * rises[1, r]
        normals[i, 0], normals[i, 1], normals[i, 2] = normal_at(height, r, c, lon, lat, turns, rises)
        ups[i, 0], ups[i, 1], ups[i, 2] = rises[0, r] * turns[0, c], rises[0, r] * turns[1, c], rises[1, r]


def skirt_height(z: int) -> float:
    """Metres that a tile's rim hangs down."""
    return 2 * ROOT_ERROR * 0.5**z


def ground_tile(height: F64, corner: Corner, vertices: I32, triangles: I32, key: tuple[int, int, int], rounding: float) -> tuple[Packed, GroundTile]:
    """One tile as glb.

    Args:
        height: (rows, columns) ellipsoidal metres of the lattice; `corner` places the tile in it.
        vertices: (V, 2) columns and rows within the tile; triangles: (T, 3).
        key: level, column, row; rounding: metres by which a position may move (at most 1, at least 0.001).
    """
    row, column, lon, lat, turns, rises = corner
    points, normals, ups = (np.empty((len(vertices), 3)) for _ in range(3))
    _vertices(height, row, column, lon, lat, turns, rises, vertices, points, normals, ups)
    rim, walls = _skirt(vertices)
    points = np.concatenate([points, points[rim] - ups[rim] * skirt_height(key[0])])
    normals = np.concatenate([normals, normals[rim]])
    indices = np.concatenate([triangles, walls])
    middle = (np.degrees(lon[column + STEPS // 2]), np.degrees(lat[row + STEPS // 2]))
    frame = crs.enu_frame(float(middle[0]), float(middle[1]), float(height[row + STEPS // 2, column + STEPS // 2]))
    local = (points - frame[:3, 3]) @ frame[:3, :3]
    data = glb([Primitive(local, indices, normals @ frame[:3, :3], surface=0)], [GROUND], tolerance=max(0.001, min(rounding, 1.0)))
    return pack(data), GroundTile(*key, frame, local.min(axis=0), local.max(axis=0))


def _skirt(vertices: I32) -> tuple[NDArray[np.int64], I32]:
    """(vertices of the rim once around, counter-clockwise, corners twice; (T, 3) triangles between them and their lowered copies)."""
    x, y = vertices[:, 0], vertices[:, 1]
    sides = [(y == 0, x), (x == STEPS, y), (y == STEPS, -x), (x == 0, -y)]
    rim, walls, first = [], [], len(vertices)
    for on, along in sides:
        side = np.flatnonzero(on)
        side = side[np.argsort(along[side])]
        low = first + np.arange(len(side))
        a, b, c, d = side[:-1], side[1:], low[:-1], low[1:]
        walls += [np.column_stack([a, c, b]), np.column_stack([b, c, d])]
        rim.append(side)
        first += len(side)
    return np.concatenate(rim), np.concatenate(walls).astype(np.int32)


def coarsest(counts: Sequence[int]) -> int:
    """The finest level of at most `MOST_ROOTS` tiles: with it a ground as 3D Tiles begins. `counts`: tiles of each level."""
    return max(z for z, count in enumerate(counts) if z == 0 or count <= MOST_ROOTS)


def ground_tileset(tiles: Sequence[GroundTile], errors: Sequence[float], about: Layer | None = None) -> dict[str, Any]:
    """tileset.json: from the finest level of at most four tiles down to what there is.

    Args:
        tiles: all tiles from `coarsest` on, coarse levels first.
        errors: the largest error that was measured on each level, metres; a level counts as no better than those below it.
        about: the layer, whose name, CIM group and grade the contents' group tells.
    """
    bound = np.maximum.accumulate(np.asarray(errors)[::-1])[::-1]
    start = tiles[0].z
    shown = tiles
    top = float(bound[start - 1] if start else 2 * bound[0])
    tree, place = [Tile(shown[0].frame, max(top, float(bound[start])))], dict[tuple[int, int, int], int]()
    for t in shown:
        parent = 0 if t.z == start else place[t.z - 1, t.x // 2, t.y // 2]
        place[t.z, t.x, t.y] = len(tree)
        tree.append(Tile(t.frame, float(bound[t.z]), parent, t.low, t.high, t.uri))
    reach = max(float(np.linalg.norm(np.maximum(np.abs(t.low), np.abs(t.high)))) for t in shown if t.z == start)
    return tileset(tree, error=max(reach, tree[0].error), refine="REPLACE", about=about)
