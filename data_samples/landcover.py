"""Surface cover at the terrain's cell size: classes with imperviousness and roughness for the flood models."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from data_samples.city import USE_KEYS, City
from data_samples.frame import burn

# value: (Chinese, English, RGB, impervious fraction, Manning n)
CLASSES: dict[int, tuple[str, str, tuple[int, int, int], float, float]] = {
    1: ("水面", "water", (120, 158, 190), 0.0, 0.028),
    2: ("建筑", "building", (190, 120, 110), 1.0, 0.015),
    3: ("道路", "street", (130, 130, 130), 0.95, 0.018),
    4: ("硬化地面", "paved ground", (200, 195, 185), 0.85, 0.022),
    5: ("草地", "grass", (170, 200, 130), 0.1, 0.045),
    6: ("农田", "farmland", (215, 205, 130), 0.03, 0.070),
    7: ("树木", "trees", (90, 140, 85), 0.05, 0.110),
    8: ("裸土", "bare soil", (190, 165, 130), 0.2, 0.030),
}
BASE = {
    "park": 5,
    "green": 5,
    "canal bank": 5,
    "levee": 5,
    "hill": 7,
    "farm": 6,
    "ponds": 8,
    "water": 1,
    "street": 4,
    "towers": 5,
    "slabs": 4,
}


def cover(city: City) -> npt.NDArray[np.uint8]:
    """Class numbers on the terrain grid; every cell has one."""
    lookup = np.array([8] + [BASE.get(k, 4) for k in USE_KEYS], dtype=np.uint8)
    out = lookup[city.uses]
    for geometries, value in (
        (city.streets.carriageways(), 3),
        (city.water["geometry"], 1),
        (city.buildings["geometry"], 2),
    ):
        out[burn(geometries, 1) > 0] = value
    return out


def colormap() -> dict[int, Any]:
    """Palette for the GeoTIFF."""
    return {k: (*v[2], 255) for k, v in CLASSES.items()}
