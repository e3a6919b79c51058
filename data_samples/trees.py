"""Trees: street rows, parks, gardens, the hill forest.  None stands in a building, a carriageway or water."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import shapely

from data_samples import names
from data_samples.frame import HEIGHT, WIDTH, Floats, Heights, rng
from data_samples.streets import CLASSES, Streets

DENSITY = {  # trees per m2 by land use
    "park": 1 / 110, "green": 1 / 130, "canal bank": 1 / 90, "hill": 1 / 150, "slabs": 1 / 260, "towers": 1 / 190, "school": 1 / 300,
    "hospital": 1 / 200, "civic": 1 / 180, "bim": 1 / 260, "office": 1 / 420, "commerce": 1 / 600, "farm": 1 / 1500, "ponds": 1 / 420,
    "industry": 1 / 900, "village": 1 / 500, "old": 1 / 700, "levee": 1 / 2500,
}  # fmt: skip
SPACING = 11.0  # metres between street trees


def _rows(streets: Streets) -> Floats:
    """Points of street trees, in the footway 1.6 m from the kerb, both sides."""
    out = []
    for edge, line in zip(streets.edges, streets.lines, strict=True):
        if edge.kind == "lane" or edge.bridge:
            continue
        a, b = shapely.get_coordinates(line)
        length = float(np.hypot(*(b - a)))
        if length < 40:
            continue
        along = np.arange(16.0, length - 14.0, SPACING)[:, None] / length
        normal = np.array([-(b - a)[1], (b - a)[0]]) / length
        side = CLASSES[edge.kind][0] / 2 + 1.6
        out += [a + (b - a) * along + normal * side * s for s in (-1, 1)]
        if edge.kind == "primary":
            out.append(a + (b - a) * along)  # the planted median
    return np.concatenate(out)


def _scattered(random: np.random.Generator, uses: npt.NDArray[np.uint8], keys: list[str], cell: float) -> Floats:
    """Uniform points thinned to each land use's density, at most one per 4 m cell."""
    densest = max(DENSITY.values())
    count = int(WIDTH * HEIGHT * densest)
    points = random.uniform((0, 0), (WIDTH, HEIGHT), (count, 2))
    chance = np.array([0.0] + [DENSITY.get(k, 0.0) / densest for k in keys])
    row = ((HEIGHT - points[:, 1]) / cell).astype(int)
    use = uses[row.clip(0, uses.shape[0] - 1), (points[:, 0] / cell).astype(int).clip(0, uses.shape[1] - 1)]
    points = points[random.random(count) < chance[use]]
    _, first = np.unique((points // 4.0).astype(int) @ np.array([1, 10_000]), return_index=True)
    return np.asarray(points[np.sort(first)])


def make_trees(
    seed: int, streets: Streets, uses: npt.NDArray[np.uint8], keys: list[str], cell: float, occupied: npt.NDArray[Any], ground: Heights
) -> dict[str, Any]:
    """Columns of the tree layer.

    `uses` is a raster of land-use numbers (1-based into `keys`), `occupied` a 1 m mask of where no tree may stand
    (buildings with a margin, carriageways, water, sports fields).
    """
    random = rng(seed, "trees")
    rows, loose = _rows(streets), _scattered(random, uses, keys, cell)
    points = np.concatenate([rows, loose])
    is_row = np.arange(len(points)) < len(rows)
    inside = (points > 1.0).all(axis=1) & (points[:, 0] < WIDTH - 1) & (points[:, 1] < HEIGHT - 1)
    points, is_row = points[inside], is_row[inside]
    # the median is inside the carriageway: street trees are only kept off buildings and water (value 2)
    hit = occupied[(HEIGHT - points[:, 1]).astype(int), points[:, 0].astype(int)]
    free = np.where(is_row, hit < 2, hit == 0)
    points, is_row = points[free], is_row[free]
    order = np.lexsort((points[:, 0], (points[:, 1] // 50).astype(int)))
    points, is_row = np.round(points[order], 2), is_row[order]
    z = ground.at(points[:, 0], points[:, 1])
    hill = z > 9.0
    species = np.where(is_row, random.integers(0, 5, len(points)), random.integers(0, 7, len(points)))
    species = np.where(hill, 7 + (random.random(len(points)) < 0.35), species)
    height = np.clip(random.normal(8.0, 2.0, len(points)) + 2.5 * (species == 3) + 3.0 * hill - 1.5 * (species == 2), 3.5, 19.0)
    spread = np.array([0.85, 0.75, 0.7, 0.6, 0.4, 0.4, 0.8, 0.45, 0.35])[species]
    return {
        "geometry": shapely.points(points),
        "id": [f"SM{i + 1:06d}" for i in range(len(points))],
        "species": [names.SPECIES[s][0] for s in species],
        "species_en": [names.SPECIES[s][1] for s in species],
        "height": np.round(height, 1),
        "crown": np.round(np.clip(height * spread, 2.0, 11.0), 1),
        "ground": np.round(z, 2),
    }
