# mypy: disable-error-code="untyped-decorator,no-any-return"
# ruff: noqa: RUF046  (in numba floor gives a float)
"""One terrain tile as quantized-mesh 1.0 with the oct-encoded vertex normals extension.

Format: https://github.com/CesiumGS/quantized-mesh. Positions are longitude, latitude and ellipsoidal height, each in
0…32767 of the tile's rectangle and height range; the header's centre, bounding sphere and horizon occlusion point are
earth-centred metres in float64. Normals follow Cigolle et al., "A Survey of Efficient Representations for Independent
Unit Vectors" (JCGT 2014), 8 bits a component.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from tiling.terrain.rtin import STEPS
from twin.angles import sine_cosine
from twin.compiled import njit
from twin.crs import WGS84_A, WGS84_E2, WGS84_F

MAX = 32767
#: Where lattice column (or row) i lies in a tile, as the format's integers: i / 64 of 32767, rounded.
QUANTA = np.floor(np.arange(STEPS + 1) * MAX / STEPS + 0.5).astype(np.int32)
HEADER = 88
#: The most bytes a tile can take: every lattice point a vertex.
LARGEST = HEADER + 4 + 6 * 4225 + 4 + 6 * 8192 + 16 + 8 * 65 + 5 + 2 * 4225
#: Stands for an occlusion point that does not exist (in ellipsoid radii).
FAR = 1e6
_B = WGS84_A * (1 - WGS84_F)

F64 = NDArray[np.float64]
I32 = NDArray[np.int32]
U8 = NDArray[np.uint8]


@njit(cache=True, nogil=True, error_model="numpy")
def _put16(out: U8, at: int, value: int) -> int:
    out[at] = value & 255
    out[at + 1] = (value >> 8) & 255
    return at + 2


@njit(cache=True, nogil=True, error_model="numpy")
def _put32(out: U8, at: int, value: int) -> int:
    for shift in (0, 8, 16, 24):
        out[at] = (value >> shift) & 255
        at += 1
    return at


@njit(cache=True, nogil=True, error_model="numpy")
def _sphere(points: F64, count: int, header: F64) -> None:
    """A sphere around the vertices: the middle of their box and the farthest vertex from it → header[5:9]."""
    radius = 0.0
    for k in range(3):
        least, most = math.inf, -math.inf
        for i in range(count):
            least, most = min(least, points[i, k]), max(most, points[i, k])
        header[5 + k] = 0.5 * (least + most)
    for i in range(count):
        x, y, z = points[i, 0] - header[5], points[i, 1] - header[6], points[i, 2] - header[7]
        radius = max(radius, x * x + y * y + z * z)
    header[8] = math.sqrt(radius)


@njit(cache=True, nogil=True, error_model="numpy")
def _occlusion(points: F64, count: int, header: F64) -> None:
    """Horizon occlusion point (K. Ring, "Horizon Culling 2", 2013) → header[9:12].

    The point on the ray through the centre, in radii of the ellipsoid, that is hidden only when all vertices are. Vertices
    below the ellipsoid count as on it. Where a vertex is a quarter of the globe away, as in the root tiles, no such point
    exists and a far one is written.
    """
    sx, sy, sz = header[5] / WGS84_A, header[6] / WGS84_A, header[7] / _B
    length = math.sqrt(sx * sx + sy * sy + sz * sz)
    sx, sy, sz = sx / length, sy / length, sz / length
    best = 0.0
    for i in range(count):
        px, py, pz = points[i, 0] / WGS84_A, points[i, 1] / WGS84_A, points[i, 2] / _B
        square = px * px + py * py + pz * pz
        size = math.sqrt(square)
        cos_alpha = (px * sx + py * sy + pz * sz) / size
        crossx, crossy, crossz = py * sz - pz * sy, pz * sx - px * sz, px * sy - py * sx
        sin_alpha = math.sqrt(crossx * crossx + crossy * crossy + crossz * crossz) / size
        square, size = max(square, 1.0), max(size, 1.0)
        cos_beta, sin_beta = 1 / size, math.sqrt(square - 1) / size
        under = cos_alpha * cos_beta - sin_alpha * sin_beta
        reach = 1 / under if under > 1 / FAR else FAR
        best = max(best, reach)
    header[9], header[10], header[11] = sx * best, sy * best, sz * best


@njit(cache=True, nogil=True, error_model="numpy")
def _oct(x: float, y: float, z: float, out: U8, at: int) -> int:
    total = abs(x) + abs(y) + abs(z)
    u, v = x / total, y / total
    if z < 0:
        u, v = (1 - abs(v)) * (1.0 if u >= 0 else -1.0), (1 - abs(u)) * (1.0 if v >= 0 else -1.0)
    out[at] = int(math.floor((min(max(u, -1.0), 1.0) * 0.5 + 0.5) * 255 + 0.5))
    out[at + 1] = int(math.floor((min(max(v, -1.0), 1.0) * 0.5 + 0.5) * 255 + 0.5))
    return at + 2


@njit(cache=True, nogil=True, error_model="numpy")
def _edge(out: U8, at: int, vertices: I32, count: int, axis: int, where: int, scratch: I32) -> int:
    """The indices of the vertices on one side, ordered along it."""
    scratch[:] = -1
    found = 0
    for i in range(count):
        if vertices[i, axis] == where:
            scratch[vertices[i, 1 - axis]] = i
            found += 1
    at = _put32(out, at, found)
    for k in range(STEPS + 1):
        if scratch[k] >= 0:
            at = _put16(out, at, scratch[k])
    return at


@njit(cache=True, nogil=True, error_model="numpy")
def encode(
    height: F64, row: int, column: int, lon: F64, lat: F64, turns: F64, rises: F64, vertices: I32, used: int, triangles: I32, made: int,
    quanta: I32, out: U8, header: F64,
) -> int:  # fmt: skip
    """Write one tile into `out` after the 88 header bytes, whose numbers go to `header`; returns the tile's size.

    Args:
        height: (rows, columns) ellipsoidal metres of the lattice, row 0 in the south; (row, column): the tile's corner.
            The lattice has at least one more point on each side (normals are central differences).
        lon, lat: radians of the lattice's columns and rows; turns, rises: their cosines and sines (and radii), see `circles`.
        vertices, triangles: as `rtin.triangulate` gives them; `used` and `made` are their numbers.
        header: (12,) out: centre xyz, lowest and highest height, sphere xyz and radius, occlusion point xyz.
    """
    points = np.empty((used, 3))
    z = np.empty(used)
    low, high = math.inf, -math.inf
    for i in range(used):
        c, r = column + vertices[i, 0], row + vertices[i, 1]
        h = height[r, c]
        z[i] = h
        low, high = min(low, h), max(high, h)
        n = rises[2, r]
        points[i, 0] = (n + h) * rises[0, r] * turns[0, c]
        points[i, 1] = (n + h) * rises[0, r] * turns[1, c]
        points[i, 2] = (n * (1 - WGS84_E2) + h) * rises[1, r]
    low, high = float(np.float32(low)), float(np.float32(high))
    _sphere(points, used, header)
    middle_lon, middle_lat, middle = 0.5 * (lon[column] + lon[column + STEPS]), 0.5 * (lat[row] + lat[row + STEPS]), 0.5 * (low + high)
    n = WGS84_A / math.sqrt(1 - WGS84_E2 * math.sin(middle_lat) ** 2)
    header[0] = (n + middle) * math.cos(middle_lat) * math.cos(middle_lon)
    header[1] = (n + middle) * math.cos(middle_lat) * math.sin(middle_lon)
    header[2] = (n * (1 - WGS84_E2) + middle) * math.sin(middle_lat)
    header[3], header[4] = low, high
    _occlusion(points, used, header)

    at = _put32(out, 88, used)
    scale = 32767 / (high - low) if high > low else 0.0
    for part in range(3):
        before = 0
        for i in range(used):
            value = quanta[vertices[i, part]] if part < 2 else min(max(int(math.floor((z[i] - low) * scale + 0.5)), 0), 32767)
            delta = value - before
            at = _put16(out, at, (delta << 1) ^ (delta >> 31))
            before = value
    at = _put32(out, at, made)
    highest = 0
    for t in range(made):
        for k in range(3):
            code = highest - triangles[t, k]
            at = _put16(out, at, code)
            if code == 0:
                highest += 1
    scratch = np.empty(STEPS + 1, np.int32)
    at = _edge(out, at, vertices, used, 0, 0, scratch)
    at = _edge(out, at, vertices, used, 1, 0, scratch)
    at = _edge(out, at, vertices, used, 0, STEPS, scratch)
    at = _edge(out, at, vertices, used, 1, STEPS, scratch)
    out[at] = 1
    at = _put32(out, at + 1, 2 * used)
    return _normals(height, row, column, lon, lat, turns, rises, vertices, used, out, at)


@njit(cache=True, nogil=True, error_model="numpy", inline="always")
def normal_at(height: F64, r: int, c: int, lon: F64, lat: F64, turns: F64, rises: F64) -> tuple[float, float, float]:
    """Earth-centred normal of the height field itself, not of the triangles: the same on both sides of every edge."""
    cos_lat, sin_lat, cos_lon, sin_lon = rises[0, r], rises[1, r], turns[0, c], turns[1, c]
    east = (lon[c + 1] - lon[c - 1]) * rises[2, r] * cos_lat
    north = (lat[r + 1] - lat[r - 1]) * rises[3, r]
    e = -(height[r, c + 1] - height[r, c - 1]) / east if cos_lat > 1e-9 else 0.0  # a pole has no east
    n = -(height[r + 1, c] - height[r - 1, c]) / north if north > 0 else 0.0
    length = math.sqrt(e * e + n * n + 1)
    e, n, u = e / length, n / length, 1 / length
    x = -sin_lon * e - sin_lat * cos_lon * n + cos_lat * cos_lon * u
    y = cos_lon * e - sin_lat * sin_lon * n + cos_lat * sin_lon * u
    return x, y, cos_lat * n + sin_lat * u


@njit(cache=True, nogil=True, error_model="numpy")
def _normals(height: F64, row: int, column: int, lon: F64, lat: F64, turns: F64, rises: F64, vertices: I32, used: int, out: U8, at: int) -> int:
    for i in range(used):
        x, y, z = normal_at(height, row + vertices[i, 1], column + vertices[i, 0], lon, lat, turns, rises)
        at = _oct(x, y, z, out, at)
    return at


def circles(lon: F64, lat: F64) -> tuple[F64, F64]:
    """((2, columns) cosine and sine of longitudes; (4, rows) cosine, sine, prime-vertical and meridian radius of latitudes), degrees in."""
    (sin_lon, cos_lon), (sin_lat, cos_lat) = sine_cosine(lon), sine_cosine(lat)
    root = np.sqrt(1 - WGS84_E2 * sin_lat**2)
    return np.stack([cos_lon, sin_lon]), np.stack([cos_lat, sin_lat, WGS84_A / root, WGS84_A * (1 - WGS84_E2) / root**3])


def extension(kind: int, body: bytes) -> bytes:
    """An extension of a tile: its number, its length, its bytes. 1: normals, 2: water mask, 4: metadata."""
    return bytes([kind]) + len(body).to_bytes(4, "little") + body


def header_bytes(header: F64) -> bytes:
    """The 88 header bytes of the numbers that `encode` gives."""
    doubles = header.astype("<f8")
    return doubles[:3].tobytes() + doubles[3:5].astype("<f4").tobytes() + doubles[5:].tobytes()
