"""A small city for the browser tests: written here with pyproj, rasterio and json, ingested by the product.

What the tests expect is computed from these numbers, never read back from the product.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
from pyproj import Transformer
from rasterio.transform import from_origin

CRS = "EPSG:4547"
EAST, NORTH = 405_000.0, 2_498_000.0
WIDTH, DEPTH, CELL = 900.0, 700.0, 5.0
RIVER = (300.0, 370.0)
USES = ("住宅", "商业", "办公", "学校", "工业")
TO_DEGREES = Transformer.from_crs(CRS, "EPSG:4326", always_xy=True)


@dataclass(frozen=True)
class Building:
    """One block: id, centre and size in metres from the south-west corner, height above ground, use, name."""

    id: str
    x: float
    y: float
    wide: float
    deep: float
    height: float
    use: str
    name: str

    @property
    def degrees(self) -> tuple[float, float]:
        """Longitude and latitude of the centre."""
        return degrees(self.x, self.y)

    @property
    def roof(self) -> float:
        """Ellipsoidal height of the roof, metres."""
        return ground(self.x, self.y) + self.height


def degrees(x: float, y: float) -> tuple[float, float]:
    """Longitude, latitude of a point in metres from the south-west corner."""
    lon, lat = TO_DEGREES.transform(EAST + x, NORTH + y)
    return float(lon), float(lat)


def ground(x: float, y: float) -> float:
    """Ellipsoidal height of the ground: a gentle slope with a river bed in it."""
    dry = 20.0 + 0.012 * x + 0.006 * y
    return 14.0 if RIVER[0] <= y <= RIVER[1] else dry


def buildings() -> list[Building]:
    """Eleven columns and eight rows of blocks, none in the river."""
    found = []
    for row in range(8):
        for column in range(11):
            x, y = 60.0 + 78.0 * column, 50.0 + 84.0 * row
            if RIVER[0] - 25 <= y <= RIVER[1] + 25:
                continue
            number = row * 11 + column
            height = (9.0, 12.0, 15.0, 24.0, 18.0, 45.0, 30.0)[(number * 5) % 7]
            name = f"{'东' if column > 5 else '西'}区{row + 1}-{column + 1}号楼"
            found.append(Building(f"B-{number:03d}", x, y, 34.0, 26.0, height, USES[(number * 3) % 5], name))
    return found


def write(folder: Path) -> list[dict[str, object]]:
    """Write the files; returns what to ingest, terrain first: path, layer, reader, options, describe."""
    folder.mkdir(parents=True, exist_ok=True)
    _terrain(folder / "terrain.tif")
    _picture(folder / "ortho.tif")
    blocks = [{"id": b.id, "name": b.name, "use": b.use, "height": b.height, "geometry": _rectangle(b)} for b in buildings()]
    _geojson(folder / "buildings.geojson", blocks)
    river = [(0.0, RIVER[0]), (WIDTH, RIVER[0]), (WIDTH, RIVER[1]), (0.0, RIVER[1]), (0.0, RIVER[0])]
    _geojson(folder / "river.geojson", [{"id": "river-1", "name": "东江", "name_en": "East River", "geometry": _polygon(river)}])
    _geojson(folder / "roads.geojson", [
        {"id": f"road-{i}", "name": f"{'一二三四五六七八九十'[i]}马路", "name_en": f"{i + 1} Road", "width": 12.0,
         "geometry": {"type": "LineString", "coordinates": [degrees(99.0 + 78.0 * i, 10.0), degrees(99.0 + 78.0 * i, DEPTH - 10)]}}
        for i in range(10)
    ])  # fmt: skip
    _geojson(folder / "places.geojson", [
        {"id": "p-1", "name": "城南广场", "name_en": "South Square", "geometry": {"type": "Point", "coordinates": degrees(420.0, 150.0)}},
        {"id": "p-2", "name": "城北中学", "name_en": "North School", "geometry": {"type": "Point", "coordinates": degrees(500.0, 560.0)}},
    ])  # fmt: skip
    return [
        _job(folder, "terrain.tif", "terrain", "terrain", {"vertical": "ellipsoid"}, "地形", "Terrain", "时空基础"),
        _job(folder, "ortho.tif", "ortho", "raster", {}, "正射影像", "Orthophoto", "时空基础"),
        _job(folder, "buildings.geojson", "buildings", "footprints", {"height": "height", "vertical": "above ground", "id": "id"}, "建筑", "Buildings", "时空基础"),
        _job(folder, "river.geojson", "river", "vector", {"label": "name", "color": "#5b9bc8"}, "河流", "Rivers", "资源调查"),
        _job(folder, "roads.geojson", "roads", "vector", {"label": "name", "color": "#f3ede0", "width_column": "width"}, "道路", "Roads", "时空基础"),
        _job(folder, "places.geojson", "places", "vector", {"label": "name", "color": "#b5472f"}, "地名", "Places", "公共专题"),
    ]


def _job(folder: Path, file: str, layer: str, reader: str, options: dict[str, str], zh: str, en: str, group: str) -> dict[str, object]:
    return {"source": folder / file, "layer": layer, "reader": reader, "options": options, "describe": {"title_zh": zh, "title_en": en, "group": group}}


def _terrain(path: Path) -> None:
    columns, rows = int(WIDTH / CELL) + 40, int(DEPTH / CELL) + 40
    margin = 20 * CELL
    x = -margin + (np.arange(columns) + 0.5) * CELL
    y = DEPTH + margin - (np.arange(rows) + 0.5) * CELL
    z = np.array([[ground(float(a), float(b)) for a in x] for b in y], np.float32)
    with rasterio.open(path, "w", driver="GTiff", width=columns, height=rows, count=1, dtype="float32", crs=CRS,
                       transform=from_origin(EAST - margin, NORTH + DEPTH + margin, CELL, CELL), nodata=-9999.0) as out:  # fmt: skip
        out.write(z, 1)


def _picture(path: Path) -> None:
    """Fields in two greens and the river's banks in sand, one pixel a metre."""
    columns, rows = int(WIDTH), int(DEPTH)
    y, x = np.mgrid[rows - 1 : -1 : -1, 0:columns]
    noise = np.random.default_rng(7).integers(-6, 7, (rows, columns))
    field = ((x // 78 + y // 84) % 2)[..., None]
    rgb = np.where(field == 0, (176, 190, 150), (192, 200, 168)) + noise[..., None]
    bank = (np.abs(y - np.mean(RIVER)) < (RIVER[1] - RIVER[0]) / 2 + 14)[..., None]
    rgb = np.where(bank, np.array((206, 198, 176)) + noise[..., None], rgb).clip(0, 255).astype(np.uint8)
    with rasterio.open(path, "w", driver="GTiff", width=columns, height=rows, count=3, dtype="uint8", crs=CRS, photometric="rgb",
                       transform=from_origin(EAST, NORTH + DEPTH, 1.0, 1.0)) as out:  # fmt: skip
        out.write(np.moveaxis(rgb, -1, 0))


def _rectangle(b: Building) -> dict[str, object]:
    w, d = b.wide / 2, b.deep / 2
    return _polygon([(b.x - w, b.y - d), (b.x + w, b.y - d), (b.x + w, b.y + d), (b.x - w, b.y + d), (b.x - w, b.y - d)])


def _polygon(ring: list[tuple[float, float]]) -> dict[str, object]:
    return {"type": "Polygon", "coordinates": [[degrees(*point) for point in ring]]}


def _geojson(path: Path, rows: list[dict[str, object]]) -> None:
    features = [{"type": "Feature", "geometry": row["geometry"], "properties": {k: v for k, v in row.items() if k != "geometry"}} for row in rows]
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}, ensure_ascii=False), "utf-8")
