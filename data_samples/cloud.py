"""An airborne laser survey of the centre, sampled from the district's own surfaces with noise, classes and colours."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from pathlib import Path

import laspy
import numpy as np
import numpy.typing as npt
import pyproj
import shapely

from data_samples.buildings import BIM_FLOORS, BIM_STOREY
from data_samples.city import City
from data_samples.frame import CRS, HEIGHT, SOUTH, VERTICAL, WEST, Floats, rng
from data_samples.ortho import PIXEL

AREA = (1150.0, 860.0, 1660.0, 1500.0)  # local x from, y from, x to, y to
DENSITY = 2.0  # pulses per m2
FACADE_DENSITY = 0.7
SIGMA_Z, SIGMA_XY = 0.03, 0.04
GROUND, TREE, BUILDING, WATER, DECK = 2, 5, 6, 9, 17


@dataclass(frozen=True)
class Points:
    """Local xyz (n, 3), class (n,) and, where not taken from the orthophoto, 8-bit colours (n, 3) or -1."""

    xyz: Floats
    kind: npt.NDArray[np.uint8]
    rgb: npt.NDArray[np.int16]


def bases(city: City) -> Floats:
    """Where each block stands: the lowest ground under its outline, as a block on the terrain does."""
    polygons = city.buildings["geometry"]
    xy, owner = shapely.get_coordinates(polygons, return_index=True)
    low = np.full(len(polygons), np.inf)
    np.minimum.at(low, owner, city.ground.at(xy[:, 0], xy[:, 1]))
    return low


def _owner(city: City, xy: Floats) -> npt.NDArray[np.int64]:
    """Index of the building over each point, or -1."""
    order = np.argsort(xy[:, 0], kind="stable")
    x = xy[order, 0]
    owner = np.full(len(xy), -1)
    near = shapely.box(*AREA)
    for i, polygon in enumerate(city.buildings["geometry"]):
        if not polygon.intersects(near):
            continue
        x0, y0, x1, y1 = polygon.bounds
        some = order[np.searchsorted(x, x0) : np.searchsorted(x, x1)]
        some = some[(xy[some, 1] >= y0) & (xy[some, 1] <= y1)]
        shapely.prepare(polygon)
        owner[some[shapely.contains_xy(polygon, xy[some, 0], xy[some, 1])]] = i
    return owner


def _from_above(city: City, random: np.random.Generator) -> Points:
    """What pulses from above meet first: roofs, the deck, water, or the ground."""
    x0, y0, x1, y1 = AREA
    xy = random.uniform((x0, y0), (x1, y1), (int((x1 - x0) * (y1 - y0) * DENSITY), 2))
    z = city.ground.at(xy[:, 0], xy[:, 1])
    kind = np.full(len(xy), GROUND, dtype=np.uint8)
    owner = _owner(city, xy)
    roof = owner >= 0
    top = bases(city) + np.asarray(city.buildings["height"])
    z[roof], kind[roof] = top[owner[roof]], BUILDING
    office = next(i for i, b in enumerate(city.buildings["bim"]) if b)
    inside = shapely.buffer(city.buildings["geometry"][office], -0.3)
    flat = (owner == office) & shapely.contains_xy(inside, xy[:, 0], xy[:, 1])
    z[flat] = city.pad + BIM_FLOORS * BIM_STOREY  # behind the parapet
    lakes = [(g, lv) for g, lv in zip(city.water["geometry"], city.water["level"], strict=True) if g.intersects(shapely.box(*AREA))]
    for polygon, level in lakes:
        wet = shapely.contains_xy(polygon, xy[:, 0], xy[:, 1])
        z[wet], kind[wet] = level, WATER
    deck = city.bridge.deck()
    over = shapely.contains_xy(deck, xy[:, 0], xy[:, 1])
    axis = city.bridge.axis
    along = (xy[over] - axis[0]) @ (axis[1] - axis[0]) / city.bridge.length
    z[over], kind[over] = city.bridge.road(along), DECK
    keep = (kind != WATER) | (random.random(len(xy)) < 0.25)  # water returns few pulses
    xyz = np.column_stack([xy, z])[keep]
    return Points(xyz, kind[keep], np.full((len(xyz), 3), -1, dtype=np.int16))


def _facades(city: City, random: np.random.Generator) -> Points:
    """Scattered hits on walls."""
    base = bases(city)
    near = shapely.box(*AREA)
    parts, colours = [], []
    for polygon, low, height in zip(city.buildings["geometry"], base, city.buildings["height"], strict=True):
        if not near.contains(polygon):
            continue
        ring = shapely.boundary(polygon)
        count = int(ring.length * height * FACADE_DENSITY)
        xy = shapely.get_coordinates(shapely.line_interpolate_point(shapely.line_merge(ring), random.uniform(0, ring.length, count)))
        parts.append(np.column_stack([xy, low + height * random.random(count) ** 0.7]))
        grey = random.integers(128, 190)
        colours.append(np.clip(np.array([grey + 8, grey + 2, grey - 8]) + random.integers(-14, 14, (count, 1)), 0, 255))
    xyz = np.concatenate(parts)
    return Points(xyz, np.full(len(xyz), BUILDING, dtype=np.uint8), np.concatenate(colours).astype(np.int16))


def _crowns(city: City, random: np.random.Generator) -> Points:
    """Leaves: points in the upper shell of an ellipsoid per tree, and a few on the trunk."""
    xy = shapely.get_coordinates(city.trees["geometry"])
    x0, y0, x1, y1 = AREA
    inside = (xy[:, 0] > x0 + 6) & (xy[:, 0] < x1 - 6) & (xy[:, 1] > y0 + 6) & (xy[:, 1] < y1 - 6)
    ground, height, crown = (np.asarray(city.trees[k])[inside] for k in ("ground", "height", "crown"))
    count = (crown**2 * 2.2).astype(int) + 8
    tree = np.repeat(np.arange(len(count)), count)
    way = random.standard_normal((len(tree), 3))
    way /= np.linalg.norm(way, axis=1, keepdims=True)
    way *= random.uniform(0.55, 1.0, (len(tree), 1))
    radius = crown[tree] / 2
    half = np.minimum(height[tree] * 0.38, radius * 1.1)
    xyz = np.column_stack([
        xy[inside][tree, 0] + way[:, 0] * radius,
        xy[inside][tree, 1] + way[:, 1] * radius,
        ground[tree] + height[tree] - half + way[:, 2] * half,
    ])  # fmt: skip
    green = np.array([74, 104, 56]) * random.uniform(0.7, 1.25, (len(tree), 1)) + random.integers(-8, 8, (len(tree), 3))
    return Points(xyz, np.full(len(xyz), TREE, dtype=np.uint8), np.clip(green, 0, 255).astype(np.int16))


def sample(city: City) -> Points:
    """All points with measurement noise, in flight order."""
    random = rng(city.seed, "cloud")
    parts = [_from_above(city, random), _facades(city, random), _crowns(city, random)]
    xyz = np.concatenate([p.xyz for p in parts])
    xyz += random.normal(0, 1, xyz.shape) * (SIGMA_XY, SIGMA_XY, SIGMA_Z)
    kind, rgb = np.concatenate([p.kind for p in parts]), np.concatenate([p.rgb for p in parts])
    order = np.lexsort((xyz[:, 1], (xyz[:, 0] // 40).astype(int)))
    return Points(xyz[order], kind[order], rgb[order])


def write_cloud(city: City, image: npt.NDArray[np.uint8], path: Path) -> int:
    """Write LAZ 1.4, point format 7, compound CRS in WKT; returns the number of points."""
    random = rng(city.seed, "cloud attributes")
    points = sample(city)
    n = len(points.kind)
    rows = ((HEIGHT - points.xyz[:, 1]) / PIXEL).astype(int).clip(0, image.shape[0] - 1)
    cols = (points.xyz[:, 0] / PIXEL).astype(int).clip(0, image.shape[1] - 1)
    rgb = np.where(points.rgb < 0, image[rows, cols], points.rgb).astype(np.uint16) * 257
    header = laspy.LasHeader(point_format=7, version="1.4")
    header.scales = np.array([0.001, 0.001, 0.001])
    header.offsets = np.array([WEST, SOUTH, 0.0])
    header.creation_date = dt.date(2025, 6, 1)
    header.generating_software = "data_samples"
    compound = pyproj.crs.CompoundCRS("CGCS2000 GK CM 114E + 1985", [pyproj.CRS(CRS), pyproj.CRS(VERTICAL)])
    header.vlrs.append(laspy.vlrs.known.WktCoordinateSystemVlr(compound.to_wkt("WKT1_GDAL")))
    header.global_encoding.wkt = True
    las = laspy.LasData(header)
    las.x, las.y, las.z = points.xyz[:, 0] + WEST, points.xyz[:, 1] + SOUTH, points.xyz[:, 2]
    las.classification = points.kind
    level = np.zeros(32)
    level[[GROUND, TREE, BUILDING, WATER, DECK]] = (14_000, 22_000, 26_000, 3_000, 18_000)
    las.intensity = np.clip(random.normal(1, 0.22, n) * level[points.kind], 0, 65_535).astype(np.uint16)
    las.return_number = np.ones(n, dtype=np.uint8)
    las.number_of_returns = np.ones(n, dtype=np.uint8)
    las.gps_time = np.linspace(0.0, 300.0, n)
    las.point_source_id = (1 + (points.xyz[:, 0] - AREA[0]) // 170).clip(1, 3).astype(np.uint16)
    las.red, las.green, las.blue = rgb.T
    las.write(str(path), laz_backend=laspy.LazBackend.Lazrs)
    return n
