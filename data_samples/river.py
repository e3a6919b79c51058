"""The river, its levees, and the canal that drains the old quarter into it through a gate and pumps.

The river is a curve y = centre(x) with a half width; `distance` is the signed distance to its bank (negative in
the water), from which the terrain, the levees and the riverside streets all take their shape.  One function for
all of them is what keeps them consistent.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely

from data_samples.frame import HEIGHT, WIDTH, Floats, rng, smoothstep

NORMAL_LEVEL = 1.2  # metres, 1985 datum: the river's permanent level; the bank line lies at this height
WARNING_LEVEL = 3.2
DESIGN_LEVEL = 4.6  # 50-year stage; the levees stand above it
CREST = 5.5
CREST_HALF_WIDTH = 3.0
CREST_AXIS = 20.0  # metres landward of the bank
WEAK_CREST = 4.9  # a settled reach in front of the old quarter: the place that overtops first
WEAK_REACH = (850.0, 960.0)  # local x, north bank
LEVEE_TOE = 34.0  # metres from the bank; nothing is built riverward of it
CANAL_LEVEL = 0.8
CANAL_HALF_WIDTH = 7.0


@dataclass(frozen=True)
class River:
    """Shape parameters drawn from the seed; everything else is a function of them."""

    phase: tuple[float, float, float]
    canal_xy: Floats  # (n, 2) centre line from the levee toe northwards; y increasing

    def centre(self, x: Any) -> Floats:
        """Northing (y) of the centre line."""
        a, b, _ = self.phase
        x = np.asarray(x, dtype=np.float64)
        y = 860.0 + 85.0 * np.sin(2 * np.pi * x / 3700.0 + a) + 30.0 * np.sin(2 * np.pi * x / 1500.0 + b)
        return np.asarray(y, dtype=np.float64)

    def half_width(self, x: Any) -> Floats:
        """Half of the water's width at the normal level, metres."""
        x = np.asarray(x, dtype=np.float64)
        return np.asarray(86.0 + 12.0 * np.sin(2 * np.pi * x / 2300.0 + self.phase[2]), dtype=np.float64)

    def _cosine(self, x: Any) -> Floats:
        slope = (self.centre(np.asarray(x) + 1.0) - self.centre(np.asarray(x) - 1.0)) / 2.0
        return np.asarray(1.0 / np.sqrt(1.0 + slope * slope), dtype=np.float64)

    def distance(self, x: Any, y: Any) -> Floats:
        """Signed distance to the nearer bank, metres; negative in the water."""
        return np.abs(np.asarray(y) - self.centre(x)) * self._cosine(x) - self.half_width(x)

    def offset(self, x: Any, distance: float, north: bool) -> Floats:
        """Northing (y) of the line at this distance from the north (or south) bank."""
        sign = 1.0 if north else -1.0
        return self.centre(x) + sign * (self.half_width(x) + distance) / self._cosine(x)

    def line(self, distance: float, north: bool, step: float = 20.0) -> Any:
        """The line at this distance from the bank, west to east, over the district's whole width."""
        x = np.arange(0.0, WIDTH + step / 2, step)
        return shapely.linestrings(np.column_stack([x, self.offset(x, distance, north)]))

    def band(self, low: float, high: float, north: bool) -> Any:
        """The strip between two distances from one bank."""
        x = np.arange(0.0, WIDTH + 5.0, 10.0)
        a, b = self.offset(x, low, north), self.offset(x, high, north)
        ring = np.concatenate([np.column_stack([x, a]), np.column_stack([x, b])[::-1]])
        return shapely.polygons(ring)

    def corridor(self, distance: float) -> Any:
        """Water and everything within `distance` of either bank."""
        x = np.arange(0.0, WIDTH + 5.0, 10.0)
        up, low = self.offset(x, distance, True), self.offset(x, distance, False)
        return shapely.polygons(np.concatenate([np.column_stack([x, up]), np.column_stack([x, low])[::-1]]))

    def crest(self, x: Any, north: Any) -> Floats:
        """Crest elevation of the levee, metres in the 1985 datum."""
        x = np.asarray(x, dtype=np.float64)
        low, high = WEAK_REACH
        weak = smoothstep(low - 30, low, x) * (1 - smoothstep(high, high + 30, x))
        return np.asarray(CREST - (CREST - WEAK_CREST) * weak * np.asarray(north, dtype=np.float64))

    def canal_distance(self, x: Any, y: Any) -> Floats:
        """Signed distance to the canal's bank; large beyond its southern end."""
        line_x, line_y = self.canal_xy[:, 0], self.canal_xy[:, 1]
        across = np.abs(np.asarray(x) - np.interp(y, line_y, line_x))
        slope = np.interp(y, line_y, np.gradient(line_x, line_y))
        end = np.maximum(line_y[0] - np.asarray(y), 0.0)
        return np.asarray(np.hypot(across / np.sqrt(1 + slope**2), end) - CANAL_HALF_WIDTH)

    def canal(self, extra: float = 0.0) -> Any:
        """The canal's water (extra = 0) or a wider corridor along it."""
        line = shapely.linestrings(self.canal_xy)
        wide = shapely.buffer(line, CANAL_HALF_WIDTH + extra, quad_segs=4)
        return shapely.intersection(wide, shapely.box(0, 0, WIDTH, HEIGHT))


def make_river(seed: int) -> River:
    """Draw the river's phases (small variations around one plan, so that every seed gives a liveable district)."""
    random = rng(seed, "river")
    a, b, c = (random.uniform(-0.35, 0.35) for _ in range(3))
    bare = River((a + 0.5, b, c), np.zeros((2, 2)))
    start = float(bare.offset(400.0, LEVEE_TOE + CANAL_HALF_WIDTH + 2.0, True))
    y = np.linspace(start, HEIGHT + 30.0, 80)
    along = (y - start) / (HEIGHT - start)
    x = 400.0 - 60.0 * along + 26.0 * np.sin(2 * np.pi * along * 1.4 + a * 3) * smoothstep(0.0, 0.2, along)
    return River(bare.phase, np.column_stack([x, y]))
