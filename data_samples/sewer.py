"""The storm sewer under the old quarter and the centre: a tree of pipes along the streets to pumps and a flap-gated outfall.

Manholes lie on street centre lines, at most SPACING apart, with their rims at the terrain's height.  Two roots: the wet well of the
pumping station (the low west) and a gravity outfall in the river (the higher east).  Pipes fall to their root at no less than
the minimum slope, and are sized by the rational method for a rain that is too small by today's rule, as old sewers are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import dijkstra

from data_samples.buildings import pump_site
from data_samples.city import City
from data_samples.frame import CELL, Floats, Ints, burn
from data_samples.landcover import CLASSES as COVER
from data_samples.landcover import cover

EAST, INLAND = 1480.0, 620.0  # the served area: local x up to, metres from the bank up to
SPACING = 45.0
DESIGN_RAIN = 55.0  # mm/h, what the pipes were sized for
RUNOFF = 0.75
MANNING = 0.013
SLOPE = 0.0014
SIZES = (0.4, 0.5, 0.6, 0.8, 1.0, 1.2, 1.5, 1.8, 2.0, 2.4, 2.8)
ROOT_INVERT = (-3.3, -1.1)  # at the wet well's inlet, at the gravity outfall's last manhole
WELL_FLOOR, WELL_AREA = -4.8, 260.0
PUMPS, PUMP_FLOW = 4, 1.6  # number, m3/s each


@dataclass(frozen=True)
class Sewer:
    """Manholes 0..n-1; `parent[i]` is the next manhole downstream, or -1 (wet well) or -2 (gravity outfall)."""

    xy: Floats
    rim: Floats
    invert: Floats
    parent: Ints
    length: Floats  # of the pipe to the parent
    diameter: Floats
    area: Any  # Voronoi cell polygons, one per manhole
    impervious: Floats
    well: tuple[float, float]
    outfalls: tuple[tuple[float, float], tuple[float, float]]  # of the pumps, of the gravity main

    def ids(self) -> list[str]:
        """Manhole numbers."""
        return [f"YJ{i + 1:04d}" for i in range(len(self.rim))]

    def down(self, i: int) -> tuple[str, tuple[float, float], float]:
        """Name, position and pipe invert of what lies downstream of manhole i."""
        p = int(self.parent[i])
        if p >= 0:
            return self.ids()[p], (float(self.xy[p, 0]), float(self.xy[p, 1])), float(self.invert[p])
        if p == -1:
            return "WELL1", self.well, round(float(self.invert[i]) - 0.05, 3)
        return "OUT2", self.outfalls[1], round(float(self.invert[i]) - 0.10, 3)


def _served(city: City) -> list[tuple[int, int]]:
    """Street pieces of the served area as pairs of street nodes."""
    nodes = city.streets.nodes
    x, y = nodes.T
    inland = city.river.distance(x, y)
    north = y > city.river.centre(x)
    inside = north & (inland > 40) & (inland < INLAND) & (x < EAST) & (city.river.canal_distance(x, y) > 14)
    inside &= x > np.interp(y, city.river.canal_xy[:, 1], city.river.canal_xy[:, 0])
    return [(e.a, e.b) for e in city.streets.edges if not e.bridge and inside[e.a] and inside[e.b]]


def _nearest(nodes: Floats, which: Ints, x: float, y: float) -> int:
    return int(which[np.argmin(np.hypot(nodes[which, 0] - x, nodes[which, 1] - y))])


def _tree(city: City) -> tuple[Floats, Ints, Floats, list[int]]:
    """Manhole positions, parents (root: -1/-2), pipe lengths, and the order from the roots outwards."""
    nodes = city.streets.nodes
    edges = _served(city)
    used = np.unique(np.array(edges))
    px, py = pump_site(city.river)
    roots = [_nearest(nodes, used, px, py), _nearest(nodes, used, 1380.0, float(city.river.offset(1380.0, 56.0, True)))]
    a, b = np.array(edges).T
    length = np.hypot(*(nodes[a] - nodes[b]).T)
    graph = coo_matrix((length, (a, b)), (len(nodes), len(nodes))).tocsr()
    far, before, _ = dijkstra(graph, directed=False, indices=roots, return_predecessors=True, min_only=True)
    xy: list[Any] = []
    parent: list[int] = []
    number: dict[int, int] = {}
    for node in np.argsort(far, kind="stable"):
        if not np.isfinite(far[node]):
            break
        if node in roots:
            number[int(node)] = len(xy)
            xy.append(nodes[node])
            parent.append(-1 if node == roots[0] else -2)
            continue
        up, down = nodes[node], nodes[before[node]]
        pieces = max(int(np.ceil(np.hypot(*(up - down)) / SPACING)), 1)
        last = number[int(before[node])]
        for k in range(1, pieces + 1):
            xy.append(down + (up - down) * k / pieces)
            parent.append(last)
            last = len(xy) - 1
        number[int(node)] = last
    points, parents = np.round(np.array(xy), 2), np.array(parent)
    pipe = np.where(parents >= 0, np.hypot(*(points - points[parents.clip(0)]).T), 0.0)
    return points, parents, np.round(pipe, 2), list(range(len(xy)))


def _catchments(city: City, xy: Floats) -> tuple[Any, Floats]:
    """The land nearest to each manhole (within 120 m) and its impervious fraction."""
    cells = shapely.get_parts(shapely.voronoi_polygons(shapely.multipoints(xy)))
    point, cell = shapely.STRtree(cells).query(shapely.points(xy), predicate="intersects")
    owner = np.full(len(xy), -1)
    owner[point] = cell
    land = shapely.intersection(shapely.buffer(shapely.multipoints(xy), 120.0), city.river.band(34.0, INLAND + 60.0, True))
    land = shapely.difference(land, shapely.union(city.river.canal(8.0), city.water["geometry"][0]))
    parts = shapely.intersection(cells[owner], land)
    parts = np.array([max(shapely.get_parts(p), key=lambda g: g.area) for p in parts], dtype=object)
    index = burn(parts, np.arange(len(parts)) + 1, CELL, "uint16")
    table = np.zeros(256)
    for value, row in COVER.items():
        table[value] = row[3]
    share = np.bincount(index.ravel(), table[cover(city)].ravel(), len(parts) + 1) / np.maximum(
        np.bincount(index.ravel(), minlength=len(parts) + 1), 1
    )
    return parts, np.round(share[1:], 3)


def make_sewer(city: City) -> Sewer:
    """Lay out, size and grade the network."""
    xy, parent, length, order = _tree(city)
    rim = np.round(city.ground.at(xy[:, 0], xy[:, 1]), 2)
    area, impervious = _catchments(city, xy)
    upstream = shapely.area(area) * RUNOFF * np.maximum(impervious, 0.3)
    for i in reversed(order):
        if parent[i] >= 0:
            upstream[parent[i]] += upstream[i]
    flow = upstream * DESIGN_RAIN / 1000 / 3600
    bore = (flow * MANNING / (0.3117 * np.sqrt(SLOPE))) ** 0.375  # full-bore Manning, solved for the diameter
    diameter = np.array([next((s for s in SIZES if s >= d), SIZES[-1]) for d in bore])
    invert = np.zeros(len(xy))
    for i in order:
        p = parent[i]
        if p < 0:
            invert[i] = ROOT_INVERT[-1 - p]
            continue
        low = invert[p] + SLOPE * length[i]
        wanted = min(rim[i] - diameter[i] - 1.4, invert[p] + 0.008 * length[i])
        invert[i] = max(low, wanted)
    px, py = pump_site(city.river)
    root = int(np.nonzero(parent == -2)[0][0])
    river = city.river
    outfalls = ((px, float(river.offset(px, -5.0, True))), (float(xy[root, 0]), float(river.offset(xy[root, 0], -5.0, True))))
    for i, end in ((int(np.nonzero(parent == -1)[0][0]), (px, py)), (root, outfalls[1])):
        length[i] = round(float(np.hypot(xy[i, 0] - end[0], xy[i, 1] - end[1])), 2)
    return Sewer(xy, rim, np.round(invert, 3), parent, length, diameter, area, impervious, (px, py), outfalls)


def manhole_table(sewer: Sewer) -> dict[str, Any]:
    """Manholes as 3D points at their rims."""
    points = shapely.points(np.column_stack([sewer.xy, sewer.rim]))
    return {
        "geometry": list(points),
        "id": sewer.ids(),
        "name": [f"雨水井{i + 1}" for i in range(len(sewer.rim))],
        "name_en": [f"Storm manhole {i + 1}" for i in range(len(sewer.rim))],
        "rim": sewer.rim,
        "invert": sewer.invert,
        "depth": np.round(sewer.rim - sewer.invert, 2),
        "catchment_ha": np.round(shapely.area(sewer.area) / 1e4, 3),
    }


def pipe_table(sewer: Sewer) -> dict[str, Any]:
    """Pipes as 3D lines along their inverts, flowing from `from_id` to `to_id`."""
    downs = [sewer.down(i) for i in range(len(sewer.rim))]
    up = np.column_stack([sewer.xy, sewer.invert])
    low = np.array([[*xy, z] for _, xy, z in downs])
    return {
        "geometry": list(shapely.linestrings(np.stack([up, low], axis=1))),
        "id": [f"YG{i + 1:04d}" for i in range(len(up))],
        "name": [f"雨水管{i + 1}" for i in range(len(up))],
        "name_en": [f"Storm pipe {i + 1}" for i in range(len(up))],
        "from_id": sewer.ids(),
        "to_id": [d[0] for d in downs],
        "diameter": sewer.diameter,
        "length_m": sewer.length,
        "invert_up": sewer.invert,
        "invert_down": np.round(low[:, 2], 3),
        "slope": np.round((sewer.invert - low[:, 2]) / np.maximum(sewer.length, 1.0), 5),
        "material": ["钢筋混凝土" if d >= 0.8 else "HDPE" for d in sewer.diameter],
    }
