"""The street network: a grid that follows the river, bent and thinned until it looks grown.

Streets are nodes and edges from the start, so junctions are shared by construction and the network can be routed.
`u` runs along the river, `v` away from its bank; `place` maps them to local x, y.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import numpy as np
import shapely
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from data_samples import names
from data_samples.frame import HEIGHT, WIDTH, Floats, Ints, rng, smoothstep
from data_samples.river import River

ROWS_N = (56.0, 160.0, 262.0, 372.0, 480.0, 596.0, 712.0, 834.0, 950.0, 1072.0, 1190.0, 1310.0, 1430.0)
ROWS_S = (56.0, 158.0, 262.0, 380.0, 500.0, 620.0)
HALF_ROWS_N = (108.0, 211.0, 317.0)  # old quarter lanes
COLUMNS = (60.0, 180.0, 290.0, 515.0, 640.0, 760.0, 885.0, 1000.0, 1120.0, 1245.0, 1375.0, 1500.0, 1630.0, 1760.0,
           1880.0, 2005.0, 2130.0, 2260.0, 2380.0, 2505.0, 2630.0, 2750.0, 2880.0, 3000.0, 3110.0)  # fmt: skip
HALF_COLUMNS = (577.0, 700.0, 822.0, 942.0, 1060.0)
BRIDGE_COLUMN = 11
BRIDGE_ROW = 262.0  # the bridge street comes down to the ground at this row on either bank
POND_EAST = 1000.0  # south bank, west of here: fish ponds

CLASSES: dict[str, tuple[float, int, int]] = {  # carriageway width m, lanes, km/h
    "primary": (26.0, 6, 60),
    "secondary": (18.0, 4, 50),
    "tertiary": (12.0, 2, 40),
    "residential": (8.0, 2, 30),
    "lane": (4.5, 1, 20),
}
FOOTWAY = {"primary": 5.0, "secondary": 4.0, "tertiary": 3.0, "residential": 2.0, "lane": 0.4}


@dataclass(frozen=True)
class Edge:
    """One street piece between two nodes."""

    a: int
    b: int
    kind: str
    name: str
    name_en: str
    oneway: bool = False
    bridge: bool = False


@dataclass
class Streets:
    """Nodes (n, 2) in local metres and the edges between them."""

    nodes: Floats
    edges: list[Edge]
    lines: Any = field(default=None)  # shapely array, one straight line per edge

    def refresh(self) -> None:
        """Recompute the lines after nodes or edges changed."""
        pairs = np.array([[e.a, e.b] for e in self.edges])
        self.lines = shapely.linestrings(self.nodes[pairs])

    def carriageways(self, extra: float = 0.0) -> Any:
        """Polygons of the carriageways (bridges included), widened by `extra` on each side."""
        half = np.array([CLASSES[e.kind][0] / 2 for e in self.edges]) + extra
        return shapely.buffer(self.lines, half, quad_segs=3)

    def reserves(self) -> Any:
        """Polygons of the whole street with footways."""
        half = np.array([CLASSES[e.kind][0] / 2 + FOOTWAY[e.kind] for e in self.edges])
        return shapely.buffer(self.lines, half, quad_segs=3)


def place(river: River, u: Any, v: Any, north: bool, bend: Floats) -> tuple[Floats, Floats]:
    """Local x, y of river coordinates: parallel to the river near it, straight further away."""
    u, v = np.asarray(u, dtype=np.float64), np.asarray(v, dtype=np.float64)
    x = u + (v / 1300.0) * (bend[0] * np.sin(2 * np.pi * u / 2900.0 + bend[1])) + 7 * np.sin(v / 170.0 + u / 330.0 + bend[2])
    near = river.offset(x, v, north)
    mean = float(river.offset(np.linspace(0, WIDTH, 50), 0.0, north).mean())
    far = smoothstep(80.0, 900.0, v) * 0.8
    sign = 1.0 if north else -1.0
    y = near * (1 - far) + (mean + sign * v) * far + 7 * np.sin(u / 210.0 + v / 260.0 + bend[3]) * smoothstep(60, 200, v)
    return x, np.asarray(y)


def _kind(index: int, row: bool, north: bool) -> str:
    """Street class by its place in the plan."""
    if row:
        return {(True, 0): "secondary", (True, 3): "secondary", (True, 7): "primary", (True, 10): "tertiary",
                (False, 0): "secondary", (False, 3): "primary"}.get((north, index), "residential")  # fmt: skip
    if index == BRIDGE_COLUMN:
        return "primary"
    return "secondary" if index in (3, 7, 16, 20) else "tertiary" if index in (1, 9, 13, 18, 23) else "residential"


def _bank(river: River, north: bool, bend: Floats, start: int) -> tuple[Floats, list[Edge], dict[tuple[float, float], int]]:
    """All nodes and edges of one bank; the dictionary finds a node by its (u, v)."""
    rows = [(v, i, False) for i, v in enumerate(ROWS_N if north else ROWS_S)]
    columns = [(u, i, False) for i, u in enumerate(COLUMNS)]
    if north:
        rows = sorted(rows + [(v, i, True) for i, v in enumerate(HALF_ROWS_N)])
        columns = sorted(columns + [(u, i, True) for i, u in enumerate(HALF_COLUMNS)])
    index: dict[tuple[float, float], int] = {}
    points: list[tuple[float, float]] = []
    for v, _, half_row in rows:
        for u, ci, half_column in columns:
            if (half_row or half_column) and not (515.0 <= u <= 1120.0 and v <= 372.0):
                continue
            if ci == BRIDGE_COLUMN and not half_column and v < BRIDGE_ROW:
                continue  # the bridge passes over these rows
            if not north and u < POND_EAST and (v not in (56.0, 380.0) and ci % 3):
                continue
            x, y = (float(w) for w in place(river, u, v, north, bend))
            if 4.0 < x < WIDTH - 4.0 and 4.0 < y < HEIGHT - 4.0:
                index[(u, v)] = start + len(points)
                points.append((x, y))
    edges: list[Edge] = []
    for v, i, half in rows:
        along = [index[(u, v)] for u, _, _ in columns if (u, v) in index]
        zh, en = names.LANES[i] if half else (names.ROWS_NORTH if north else names.ROWS_SOUTH)[i]
        kind = "lane" if half else _kind(i, True, north)
        zh, en = (zh + "里", en + " Lane") if half else (zh, en)
        edges += [Edge(a, b, kind, zh, en) for a, b in pairwise(along)]
    for u, i, half in columns:
        if not north and u < POND_EAST and i % 3:
            continue  # among the ponds only every third street runs inland
        along = [index[(u, v)] for v, _, _ in rows if (u, v) in index]
        zh, en = names.LANES[i + 3] if half else names.COLUMNS[i]
        zh, en = (zh + "巷", en + " Alley") if half else (zh + ("" if north else "南"), en + ("" if north else " South"))
        edges += [Edge(a, b, "lane" if half else _kind(i, False, north), zh, en) for a, b in pairwise(along)]
    return np.array(points), edges, index


def _exits(streets: Streets) -> None:
    """Carry the outermost streets to the district's edge, so that traffic can enter and leave."""
    nodes = [tuple(p) for p in streets.nodes]
    for edge in list(streets.edges):
        if edge.kind not in ("primary", "secondary", "tertiary"):
            continue
        for near, far in ((edge.a, edge.b), (edge.b, edge.a)):
            x, y = streets.nodes[near]
            dx, dy = streets.nodes[near] - streets.nodes[far]
            t = _to_border(x, y, dx, dy)
            if t is not None and t * np.hypot(dx, dy) < 100.0:
                nodes.append((x + dx * t, y + dy * t))
                streets.edges.append(replace(edge, a=near, b=len(nodes) - 1, bridge=False))
    streets.nodes = np.array(nodes)


def _to_border(x: float, y: float, dx: float, dy: float) -> float | None:
    """Ray parameter to the sheet's border if the direction points out of it, nearly straight."""
    best: float | None = None
    for p, d, top in ((x, dx, WIDTH), (y, dy, HEIGHT)):
        if abs(d) > 0.8 * np.hypot(dx, dy):
            t = (top - p) / d if d > 0 else -p / d
            best = t if best is None else min(best, t)
    return best


def _thin(edges: list[Edge], random: np.random.Generator, count: int) -> list[Edge]:
    """Drop some residential edges, so that blocks differ; never one whose end would become a dead end."""
    degree = np.bincount([n for e in edges for n in (e.a, e.b)], minlength=count)
    kept = []
    for e in edges:
        drop = e.kind == "residential" and random.random() < 0.3 and degree[e.a] > 3 and degree[e.b] > 3
        if drop:
            degree[[e.a, e.b]] -= 1
        else:
            kept.append(e)
    return kept


def _largest(streets: Streets) -> Streets:
    """The largest connected part, nodes renumbered."""
    a = np.array([e.a for e in streets.edges])
    b = np.array([e.b for e in streets.edges])
    count = len(streets.nodes)
    _, label = connected_components(coo_matrix((np.ones(len(a)), (a, b)), (count, count)), directed=False)
    main = np.bincount(label[a]).argmax()
    used = np.unique(np.concatenate([a[label[a] == main], b[label[a] == main]]))
    new: Ints = np.full(count, -1)
    new[used] = np.arange(len(used))
    edges = [replace(e, a=int(new[e.a]), b=int(new[e.b])) for e in streets.edges if label[e.a] == main]
    return Streets(streets.nodes[used], edges)


def _cross_canal(streets: Streets, canal: Any) -> None:
    """Split streets where they cross the canal; the middle piece is a bridge."""
    lines = shapely.linestrings(streets.nodes[[[e.a, e.b] for e in streets.edges]])
    nodes = [tuple(p) for p in streets.nodes]
    edges = []
    for e, line, hit in zip(streets.edges, lines, shapely.intersects(lines, canal), strict=True):
        part = shapely.intersection(line, canal) if hit else None
        if part is None or part.geom_type != "LineString" or part.length < 8:
            edges.append(e)
            continue
        start = shapely.Point(nodes[e.a])
        ends = sorted(part.coords, key=lambda c: start.distance(shapely.Point(c)))
        nodes += [tuple(ends[0][:2]), tuple(ends[-1][:2])]
        p, q = len(nodes) - 2, len(nodes) - 1
        edges += [replace(e, b=p), replace(e, a=p, b=q, bridge=True), replace(e, a=q)]
    streets.nodes, streets.edges = np.array(nodes), edges


def make_streets(seed: int, river: River, hill_zone: Any) -> tuple[Streets, int, int]:
    """The network without the river bridge, and the two nodes (north, south) that the bridge joins."""
    random = rng(seed, "streets")
    bend = np.array([random.uniform(-60, -25), random.uniform(0, 1), random.uniform(0, 6), random.uniform(0, 6)])
    north_nodes, north_edges, north_index = _bank(river, True, bend, 0)
    south_nodes, south_edges, south_index = _bank(river, False, bend, len(north_nodes))
    streets = Streets(np.concatenate([north_nodes, south_nodes]), north_edges + south_edges)
    ends = (north_index[(COLUMNS[BRIDGE_COLUMN], BRIDGE_ROW)], south_index[(COLUMNS[BRIDGE_COLUMN], BRIDGE_ROW)])
    where = shapely.points(streets.nodes[list(ends)])
    on_hill = shapely.contains_xy(shapely.buffer(hill_zone, 12.0), streets.nodes[:, 0], streets.nodes[:, 1])
    streets.edges = [e for e in streets.edges if not (on_hill[e.a] or on_hill[e.b])]
    lines = shapely.linestrings(streets.nodes[[[e.a, e.b] for e in streets.edges]])
    over = shapely.intersects(lines, shapely.buffer(shapely.linestrings(shapely.get_coordinates(where)), 20.0))
    through = [e.name in (names.ROWS_NORTH[0][0], names.ROWS_SOUTH[0][0]) or bool({e.a, e.b} & set(ends)) for e in streets.edges]
    streets.edges = [e for e, o, t in zip(streets.edges, over, through, strict=True) if t or not o]
    streets.edges = _thin(streets.edges, random, len(streets.nodes))
    keep = streets.nodes[list(ends)]
    _exits(streets)
    _cross_canal(streets, river.canal(4.0))
    streets = _largest_with(streets, keep)
    found = [int(np.argmin(np.hypot(*(streets.nodes - p).T))) for p in keep]
    return streets, found[0], found[1]


def _largest_with(streets: Streets, keep: Floats) -> Streets:
    """The largest part once the two banks are joined by a temporary edge between the bridge's end nodes."""
    a, b = (int(np.argmin(np.hypot(*(streets.nodes - p).T))) for p in keep)
    streets.edges.append(Edge(a, b, "temporary", "", ""))
    main = _largest(streets)
    main.edges = [e for e in main.edges if e.kind != "temporary"]
    return main


def set_oneways(streets: Streets) -> None:
    """Old-quarter lanes become one-way in turn, as long as every node still reaches every other."""
    trial = [replace(e, oneway=True) if e.kind == "lane" and e.name.endswith("巷") else e for e in streets.edges]
    flipped: dict[str, bool] = {}
    for i, e in enumerate(trial):
        if e.oneway and flipped.setdefault(e.name, len(flipped) % 2 == 1):
            trial[i] = replace(e, a=e.b, b=e.a)
    a = [e.a for e in trial] + [e.b for e in trial if not e.oneway]
    b = [e.b for e in trial] + [e.a for e in trial if not e.oneway]
    count = len(streets.nodes)
    parts, _ = connected_components(coo_matrix((np.ones(len(a)), (a, b)), (count, count)), directed=True, connection="strong")
    if parts == 1:
        streets.edges = trial
    streets.refresh()
