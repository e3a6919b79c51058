"""Decoding and checking one quantized-mesh 1.0 tile (https://github.com/CesiumGS/quantized-mesh), in plain NumPy."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from pyproj import Transformer

from .issues import Where

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
MAX = 32767
MASK = 256
HEADER = struct.Struct("<3d2f4d3d")
SPHERE_SLACK = 1.0
"""Metres that a vertex may lie outside of the header's sphere: heights are rounded to the tile's 32767 steps."""
AXES = np.array([6378137.0, 6378137.0, 6378137.0 * (1 - 1 / 298.257223563)])
"""Metres; half axes of WGS 84."""
NOWHERE = 1e3
"""Radii from which an occlusion point counts as one that is never hidden before its tile: the tiles round half a globe have no nearer one."""
LEAN = 0.02
"""Mean slope from which normals and triangles are compared: they are no more exact than about a degree."""
AGAINST = 0.5
"""Correlation of leaning, below minus which normals are upside down. A tile that simplifies its ground has triangles that differ
from normals measured at the ground: nothing below 0.8 was seen on honest tiles inside their border; normals that are mirrored reach -0.6 to -1."""
_TO_ECEF = Transformer.from_crs("EPSG:4979", "EPSG:4978", always_xy=True)


@dataclass(frozen=True)
class TerrainTile:
    """One decoded tile.

    Attributes:
        u, v: (N,) 0…32767 from west to east, south to north; lonlat: (N, 2) degrees; height: (N,) ellipsoidal metres.
        triangles: (T, 3); step: metres of one unit of quantised height.
        extensions: bodies of the extensions by number (1 normals, 2 water mask, 4 metadata).
    """

    u: I64
    v: I64
    lonlat: F64
    height: F64
    triangles: I64
    step: float
    extensions: dict[int, bytes] = field(default_factory=dict)


class _CutShortError(ValueError):
    """The tile ends where something should stand."""


def decode_terrain(data: bytes, z: int, x: int, y: int, where: Where) -> TerrainTile | None:
    """Decode tile x, y (TMS: rows from the south) of level z of the EPSG:4326 scheme; None, with findings, when broken."""
    try:
        return _decode(data, z, x, y, where)
    except _CutShortError as error:
        where.error("TERRAIN_TRUNCATED", str(error))
        return None


def _decode(data: bytes, z: int, x: int, y: int, where: Where) -> TerrainTile | None:
    if len(data) < HEADER.size + 4:
        raise _CutShortError(f"has {len(data)} bytes, the header alone takes {HEADER.size + 4}")
    head = np.array(HEADER.unpack_from(data))
    (count,) = struct.unpack_from("<I", data, HEADER.size)
    at = HEADER.size + 4
    raw, at = _numbers(data, at, "<u2", 3 * count, "vertices")
    u, v, h = _zigzag(raw, count)
    if not count or min(u.min(), v.min(), h.min()) < 0 or max(u.max(), v.max(), h.max()) > MAX:
        where.error("TERRAIN_VERTEX_RANGE", f"a coordinate is not in 0…{MAX}, or there are no vertices")
        return None
    wide = "<u4" if count > 65536 else "<u2"
    at += -at % (4 if count > 65536 else 2)
    number, at = _numbers(data, at, "<u4", 1, "number of triangles")
    codes, at = _numbers(data, at, wide, 3 * int(number[0]), "triangles")
    triangles = _watermark(codes).reshape(-1, 3)
    if not len(triangles) or triangles.min() < 0 or triangles.max() >= count:
        where.error("TERRAIN_INDEX_RANGE", f"a triangle names a vertex that does not exist ({count} vertices), or there are none")
        return None
    low, high = float(head[3]), float(head[4])
    width = 180 / 2**z
    lonlat = np.column_stack([-180 + (x + u / MAX) * width, -90 + (y + v / MAX) * width])
    tile = TerrainTile(u, v, lonlat, low + h / MAX * (high - low), triangles, (high - low) / MAX)
    _check_header(head, tile, where)
    _check_surface(tile, where)
    at = _check_edges(data, at, wide, tile, where)
    _check_extensions(data, at, tile, where)
    return tile


def _numbers(data: bytes, at: int, kind: str, count: int, what: str) -> tuple[I64, int]:
    size = np.dtype(kind).itemsize * count
    if at + size > len(data):
        raise _CutShortError(f"ends inside of its {what}: byte {at + size} is needed, there are {len(data)}")
    return np.frombuffer(data, kind, count, at).astype(np.int64), at + size


def _zigzag(raw: I64, count: int) -> I64:
    return np.asarray(np.cumsum(((raw >> 1) ^ -(raw & 1)).reshape(3, count), axis=1))


def _watermark(codes: I64) -> I64:
    """Indices below the highest so far, which each code 0 raises."""
    fresh = codes == 0
    return np.asarray(np.cumsum(fresh) - fresh - codes)


def _check_header(head: F64, tile: TerrainTile, where: Where) -> None:
    if not np.isfinite(head).all() or head[3] > head[4]:
        where.error("TERRAIN_HEADER_INVALID", "a number is not finite, or the lowest height is above the highest")
        return
    slack = tile.step + 2 * float(np.spacing(np.float32(np.abs(head[3:5]).max())))  # the header's heights are single floats
    if tile.height.min() > head[3] + slack or tile.height.max() < head[4] - slack:
        where.error("TERRAIN_HEADER_INVALID", f"heights are {tile.height.min():.3f}…{tile.height.max():.3f}, the header states {head[3]:.3f}…{head[4]:.3f}")
    ecef = np.column_stack(_TO_ECEF.transform(tile.lonlat[:, 0], tile.lonlat[:, 1], tile.height))
    beyond = float(np.linalg.norm(ecef - head[5:8], axis=1).max() - head[8])
    if beyond > SPHERE_SLACK:
        where.error("TERRAIN_SPHERE_INVALID", f"a vertex lies {beyond:.3f} m outside of the bounding sphere")
    if np.linalg.norm(head[:3] - head[5:8]) > head[8] + SPHERE_SLACK:
        where.error("TERRAIN_CENTER_INVALID", "the centre lies outside of the bounding sphere")
    if np.linalg.norm(head[9:12]) < 1 - 1e-2:
        where.error("TERRAIN_OCCLUSION_INVALID", "the horizon occlusion point lies inside of the Earth")
    else:
        _check_occlusion(head[9:12], ecef, tile, where)


def _check_occlusion(point: F64, ecef: F64, tile: TerrainTile, where: Where) -> None:
    """A client leaves a tile out when this one point, in radii, is behind the horizon; so every vertex must be then (K. Ring, "Horizon Culling 2", 2013).

    On a ray, a vertex at angle α that sees the horizon at angle β needs a point as far as 1 / cos(α + β).
    """
    at = ecef / AXES
    size = np.linalg.norm(at, axis=1)
    reach = float(np.linalg.norm(point))
    cos_a = np.clip(at @ point / (size * reach), -1, 1)
    angle = np.arccos(cos_a) + np.arccos(1 / np.maximum(size, 1.0))
    # places and heights are whole steps of the tile, which may hide a vertex a little sooner
    slack = np.radians(np.ptp(tile.lonlat, axis=0).max()) / MAX + np.sqrt(2 * (tile.step + 0.01) / AXES[0])
    under = np.cos(np.maximum(angle - slack, 0))
    needed = float(np.where(under > 1 / NOWHERE, 1 / np.maximum(under, 1 / NOWHERE), NOWHERE).max())
    if reach < needed * (1 - 1e-9):
        where.error("TERRAIN_OCCLUSION_INVALID", f"the horizon occlusion point is {reach:.6f} radii out; {needed:.6f} are needed, or clients leave the tile out while it is in sight")


def _check_surface(tile: TerrainTile, where: Where) -> None:
    """Triangles face up and cover the tile once: areas in the quantised square add up to it exactly."""
    a, b, c = (tile.triangles[:, k] for k in range(3))
    twice = (tile.u[b] - tile.u[a]) * (tile.v[c] - tile.v[a]) - (tile.u[c] - tile.u[a]) * (tile.v[b] - tile.v[a])
    if (twice <= 0).any():
        where.error("TERRAIN_WINDING", f"{int((twice <= 0).sum())} triangles face down or have no area")
    elif int(twice.sum()) != 2 * MAX * MAX:
        where.error("TERRAIN_GAPS", f"the triangles cover {twice.sum() / (2 * MAX * MAX):.6f} of the tile")
    elif open_edges := _open_edges(tile):
        where.error("TERRAIN_GAPS", f"{open_edges} edges of triangles have no neighbour although they do not lie between two vertices that follow each other on the tile's border")


def _open_edges(tile: TerrainTile) -> int:
    """How many edges that one triangle alone has are not the way from a vertex of the border to the next, and the other way round: vertices that triangles pass by."""
    _, place = np.unique(tile.u * (MAX + 1) + tile.v, return_inverse=True)
    a, b, c = (place.ravel()[tile.triangles[:, k]] for k in range(3))
    ends = np.sort(np.column_stack([np.concatenate([a, b, c]), np.concatenate([b, c, a])]), axis=1)
    count = len(tile.u)
    keys, times = np.unique(ends[:, 0] * count + ends[:, 1], return_counts=True)
    border = []
    for on, along, at in ((tile.u, tile.v, 0), (tile.v, tile.u, 0), (tile.u, tile.v, MAX), (tile.v, tile.u, MAX)):
        rows = np.flatnonzero(on == at)
        steps = np.unique(np.column_stack([along[rows], place.ravel()[rows]]), axis=0)[:, 1]
        pairs = np.sort(np.column_stack([steps[:-1], steps[1:]]), axis=1)
        border.append(pairs[:, 0] * count + pairs[:, 1])
    return len(np.setxor1d(keys[times == 1], np.concatenate(border))) + int((times > 2).sum())


def _check_edges(data: bytes, at: int, wide: str, tile: TerrainTile, where: Where) -> int:
    for name, values, on in (("west", tile.u, 0), ("south", tile.v, 0), ("east", tile.u, MAX), ("north", tile.v, MAX)):
        number, at = _numbers(data, at, "<u4", 1, f"{name} edge")
        indices, at = _numbers(data, at, wide, int(number[0]), f"{name} edge")
        if not np.array_equal(np.sort(indices), np.flatnonzero(values == on)):
            where.error("TERRAIN_EDGE_INVALID", f"the {name} edge does not list exactly the vertices that lie on it")
    return at


def _check_extensions(data: bytes, at: int, tile: TerrainTile, where: Where) -> None:
    while at < len(data):
        if at + 5 > len(data):
            raise _CutShortError("ends inside of an extension's header")
        kind, length = data[at], struct.unpack_from("<I", data, at + 1)[0]
        body, at = data[at + 5 : at + 5 + length], at + 5 + length
        if len(body) != length:
            raise _CutShortError(f"ends inside of extension {kind}")
        if kind in tile.extensions:
            where.error("TERRAIN_EXTENSION_INVALID", f"extension {kind} stands there twice")
        tile.extensions[kind] = body
        if kind == 1:
            _check_normals(body, tile, where)
        elif kind == 2 and len(body) not in (1, MASK * MASK):
            where.error("TERRAIN_WATER_INVALID", f"its water mask has {len(body)} bytes, neither 1 nor {MASK * MASK}")
        elif kind == 4 and (len(body) < 4 or struct.unpack_from("<I", body)[0] != len(body) - 4):
            where.error("TERRAIN_METADATA_INVALID", "its metadata are not as long as they say")


def _check_normals(body: bytes, tile: TerrainTile, where: Where) -> None:
    if len(body) != 2 * len(tile.u):
        where.error("TERRAIN_NORMALS_INVALID", f"has {len(body)} bytes of normals for {len(tile.u)} vertices")
        return
    oct_ = np.frombuffer(body, np.uint8).reshape(-1, 2).astype(np.float64) / 255 * 2 - 1
    z = 1 - np.abs(oct_).sum(axis=1)
    fold = z < 0
    xy = np.where(fold[:, None], (1 - np.abs(oct_[:, ::-1])) * np.where(oct_ >= 0, 1.0, -1.0), oct_)
    normal = np.column_stack([xy, z])
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    lam, phi = np.radians(tile.lonlat[:, 0]), np.radians(tile.lonlat[:, 1])
    up = np.column_stack([np.cos(phi) * np.cos(lam), np.cos(phi) * np.sin(lam), np.sin(phi)])
    down = int(((normal * up).sum(axis=1) < -0.02).sum())  # two bytes hold a direction to about a degree
    if down:
        where.error("TERRAIN_NORMALS_INVALID", f"{down} normals point into the ground")
        return
    ecef = np.column_stack(_TO_ECEF.transform(tile.lonlat[:, 0], tile.lonlat[:, 1], tile.height))
    a, b, c = (ecef[tile.triangles[:, k]] for k in range(3))
    faces = np.cross(b - a, c - a)
    shape = np.column_stack([np.bincount(tile.triangles.ravel(), np.repeat(faces[:, k], 3), len(ecef)) for k in range(3)])
    shape = shape / np.maximum(np.linalg.norm(shape, axis=1, keepdims=True), 1e-30)
    stated, drawn = (v - (v * up).sum(axis=1, keepdims=True) * up for v in (normal, shape))
    inner = (tile.u > 0) & (tile.u < MAX) & (tile.v > 0) & (tile.v < MAX)  # on the border the ground beyond the tile counts too
    stated, drawn = stated[inner], drawn[inner]
    energy = [float((v**2).sum()) for v in (stated, drawn)]
    if min(energy) > LEAN**2 * len(stated) and float((stated * drawn).sum()) < -AGAINST * (energy[0] * energy[1]) ** 0.5:
        where.error("TERRAIN_NORMALS_INVALID", "its normals lean uphill where its triangles lean downhill: hills are shaded as pits")
