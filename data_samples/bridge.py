"""The river bridge: its street pieces, deck, piers and earth ramps; and the small decks over the canal.

The deck climbs at GRADE from the street on either bank to CLEAR, passes over the riverside avenues and the levees, and
comes down again.  Where it is less than ABUTMENT above the ground it is an embankment, which belongs to the terrain.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import shapely

from data_samples.frame import Floats, Heights
from data_samples.streets import CLASSES, Edge, Streets

GRADE = 0.042
CLEAR = 10.6  # metres, 1985 datum: road level over the river
ABUTMENT = 3.2  # metres of deck above ground where the embankment ends
THICKNESS = 1.3
DECK_WIDTH = 28.0
PIECE = 4.0  # metres of deck per polygon on the slopes, so that the steps stay under 0.17 m
NAME, NAME_EN = "五邑大桥", "Wuyi Bridge"


@dataclass(frozen=True)
class Bridge:
    """Geometry of the river bridge along its straight axis; `s` is metres from the northern end."""

    axis: Floats  # (2, 2) local metres, north end first
    ends: tuple[float, float]  # road level at the two ends, on the ground
    abutments: tuple[float, float]  # s of the two abutments

    @property
    def length(self) -> float:
        """Metres between the two street nodes."""
        return float(np.hypot(*(self.axis[1] - self.axis[0])))

    def road(self, s: Any) -> Floats:
        """Road level, metres in the 1985 datum, at `s`."""
        s = np.asarray(s, dtype=np.float64)
        rise = np.minimum(self.ends[0] + GRADE * s, self.ends[1] + GRADE * (self.length - s))
        # a vertical curve: a smooth minimum with 0.25 m of rounding
        return np.asarray(-0.25 * np.logaddexp(-rise / 0.25, -CLEAR / 0.25), dtype=np.float64)

    def at(self, s: Any) -> Floats:
        """Axis points, shape (n, 2)."""
        t = np.asarray(s, dtype=np.float64)[..., None] / self.length
        return np.asarray(self.axis[0] * (1 - t) + self.axis[1] * t, dtype=np.float64)

    def strip(self, s0: Any, s1: Any, width: float = DECK_WIDTH, shift: float = 0.0) -> Any:
        """Rectangles along the axis between s0 and s1."""
        p, q = self.at(s0), self.at(s1)
        d = (self.axis[1] - self.axis[0]) / self.length
        n = np.array([-d[1], d[0]])
        left, right = shift + width / 2, shift - width / 2
        ring = np.stack([p + n * right, q + n * right, q + n * left, p + n * left], axis=-2)
        return shapely.polygons(ring)

    def ramps(self) -> list[tuple[Any, Floats, Floats]]:
        """Earth ramps as (polygon, axis points, road levels evenly along the axis) for the terrain."""
        out = []
        for s0, s1 in ((0.0, self.abutments[0]), (self.abutments[1], self.length)):
            s = np.linspace(s0, s1, 30)
            out.append((self.strip(s0, s1, DECK_WIDTH + 2.0), self.at(s[[0, -1]]), self.road(s)))
        return out

    def deck(self) -> Any:
        """The whole deck from abutment to abutment."""
        return self.strip(*self.abutments)


def make_bridge(streets: Streets, north: int, south: int, ground: Heights) -> Bridge:
    """Build the bridge between two street nodes and add its three street pieces to the network."""
    axis = streets.nodes[[north, south]]
    ends = (float(ground.at(*axis[0])), float(ground.at(*axis[1])))
    bare = Bridge(axis, ends, (0.0, 0.0))
    s = np.arange(0.0, bare.length, 1.0)
    above = bare.road(s) - ground.at(*bare.at(s).T)
    half = len(s) // 2
    first = float(s[:half][above[:half] >= ABUTMENT][0])
    last = float(s[half:][above[half:] >= ABUTMENT][-1])
    bridge = Bridge(axis, ends, (first, last))
    streets.nodes = np.concatenate([streets.nodes, bridge.at([first, last])])
    p, q = len(streets.nodes) - 2, len(streets.nodes) - 1
    for a, b, over in ((north, p, False), (p, q, True), (q, south, False)):
        name = (NAME, NAME_EN) if over else ("五邑大道", "Wuyi Avenue")
        streets.edges.append(Edge(a, b, "primary", *name, bridge=over))
    return bridge


def bridge_table(bridge: Bridge, streets: Streets, ground: Heights) -> dict[str, list[Any]]:
    """Columns of the bridge layer: deck pieces, parapets and piers of the river bridge, and the canal bridges.

    `base` is the underside (1985 datum), `height` the thickness, so that every piece extrudes to its place.
    """
    rows: list[tuple[Any, str, str, str, float, float, float]] = []
    first, last = bridge.abutments
    s = np.linspace(first, last, int(np.ceil((last - first) / PIECE)) + 1)
    flat = np.abs(bridge.road(s) - CLEAR) < 0.02
    cuts = [float(v) for i, v in enumerate(s) if not (0 < i < len(s) - 1 and flat[i - 1] and flat[i] and flat[i + 1])]
    for s0, s1 in pairwise(cuts):
        road = float(bridge.road((s0 + s1) / 2))
        rows.append((bridge.strip(s0, s1), NAME, NAME_EN, "deck", road - THICKNESS, THICKNESS, road))
        sides = (-DECK_WIDTH / 2 + 0.2, DECK_WIDTH / 2 - 0.2)
        rows += [(bridge.strip(s0, s1, 0.3, shift), NAME, NAME_EN, "parapet", road, 1.1, road) for shift in sides]
    for pier in np.linspace(first, last, int((last - first) / 32.0) + 1)[1:-1]:
        road = float(bridge.road(pier))
        foot = float(ground.at(*bridge.at([pier])[0])) - 1.0
        for shift in (-8.0, 8.0):
            polygon = bridge.strip(pier - 1.1, pier + 1.1, 4.0, shift)
            rows.append((polygon, NAME, NAME_EN, "pier", foot, road - THICKNESS - foot, road))
    for edge, line in zip(streets.edges, streets.lines, strict=True):
        if edge.bridge and edge.name != NAME:
            road = float(np.max(ground.at(*streets.nodes[[edge.a, edge.b]].T))) + 0.15
            width = CLASSES[edge.kind][0] + 3.0
            polygon = shapely.buffer(line, width / 2, cap_style="flat")
            rows.append((polygon, edge.name + "桥", edge.name_en + " Bridge", "deck", road - 0.7, 0.7, road))
    keys = ("geometry", "name", "name_en", "part", "base", "height", "road_level")
    table: dict[str, list[Any]] = {k: [r[i] for r in rows] for i, k in enumerate(keys)}
    table["id"] = [f"QL{i + 1:04d}" for i in range(len(rows))]
    return table
