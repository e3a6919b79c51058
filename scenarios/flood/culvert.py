"""What a culvert carries: inlet and outlet control after FHWA HDS-5 (Schall et al. 2012, FHWA-HIF-12-026), SI units."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scenarios.flood.structure_params import Culvert
from scenarios.kernels.shallow import G

#: Form 1 constants K, M, c, Y of HDS-5 table A.1: concrete pipe with square edge in a headwall (chart 1-1), box with 30–75° wingwalls (chart 8-1).
ROUND, BOX = (0.0098, 2.0, 0.0398, 0.67), (0.026, 1.0, 0.0347, 0.81)
KU = 1.811


@dataclass(frozen=True)
class Barrel:
    """One culvert's section and rating.

    Attributes:
        row: as given.
        length: m.
        heads, flows: rising rating of the inlet: depth above the inlet's floor (m) and flow of all barrels (m³/s).
    """

    row: Culvert
    length: float
    heads: NDArray[np.float64]
    flows: NDArray[np.float64]

    @property
    def height(self) -> float:
        """Inside height, m."""
        return float(self.row.diameter_m or self.row.height_m or 0.0)

    def flow(self, up: float, down: float, floor_up: float, floor_down: float) -> float:
        """m³/s from the higher level `up` to `down` (levels, and floors of the two ends, m): the lesser of inlet and outlet control."""
        head = up - floor_up
        if head <= 0 or up <= down:
            return 0.0
        return min(float(np.interp(head, self.heads, self.flows)), self.outlet(up, down, floor_up, floor_down))

    def outlet(self, up: float, down: float, floor_up: float, floor_down: float) -> float:
        """Outlet control: entrance, friction and exit losses take the difference of levels (HDS-5 eq. 3.1–3.6).

        The outlet runs at the tailwater, or, with a free fall, at critical depth (⅔ of the head, below the crown), which gives way
        to the middle between it and the crown as the inlet drowns.
        """
        full, head = self.height, up - floor_up
        critical = min(2 * head / 3, full)
        free = critical + min(max(2 * (head / full - 1), 0.0), 1.0) * (full - critical) / 2
        end = max(down - floor_down, free)
        fall = up - (floor_down + end)
        area, perimeter = section(self.row, (min(head, full) + min(end, full)) / 2)
        if area <= 0 or fall <= 0:
            return 0.0
        loss = 1 + self.row.entrance_loss + 2 * G * self.row.roughness**2 * self.length / (area / perimeter) ** (4 / 3)
        return self.row.barrels * area * math.sqrt(2 * G * fall / loss)


def section(row: Culvert, depth: float) -> tuple[float, float]:
    """(wetted area m², wetted perimeter m) of one barrel at a depth; full at and above its height."""
    if row.diameter_m is None:
        width, height = float(row.width_m or 0), float(row.height_m or 0)
        y = min(max(depth, 0.0), height)
        return width * y, width + 2 * y + (width if y >= height else 0.0)
    d = row.diameter_m
    y = min(max(depth, 0.0), d)
    angle = 2 * math.acos(1 - 2 * y / d)
    return d * d / 8 * (angle - math.sin(angle)), angle * d / 2


def barrel(row: Culvert, length: float) -> Barrel:
    """A culvert ready to be asked."""
    k, m, c, y = row.inlet or (ROUND if row.diameter_m is not None else BOX)
    height = float(row.diameter_m or row.height_m or 0)
    area, _ = section(row, height)
    slope = (row.invert_from - row.invert_to) / length if length > 0 else 0.0
    depths = np.linspace(0.005, 0.98, 120) * height
    heads, flows = [0.0], [0.0]
    for depth in depths:  # unsubmerged, form 1: HW/D = Hc/D + K·(Ku·Q/(A·√D))^M − S/2, for Ku·Q/(A·√D) up to 3.5
        wet, _ = section(row, float(depth))
        top = (section(row, float(depth) + 1e-4)[0] - wet) / 1e-4 if row.diameter_m is not None else float(row.width_m or 0)
        flow = wet * math.sqrt(G * wet / max(top, 1e-6))
        rate = KU * flow / (area * math.sqrt(height))
        if rate > 3.5:
            break
        heads.append(float(depth) + wet / max(top, 1e-6) / 2 + height * (k * rate**m - 0.5 * slope))
        flows.append(flow)
    for rate in np.linspace(4.0, 40.0, 73):  # submerged: HW/D = c·(Ku·Q/(A·√D))² + Y − S/2; straight in between
        heads.append(height * (c * rate**2 + y - 0.5 * slope))
        flows.append(rate * area * math.sqrt(height) / KU)
    order = np.maximum.accumulate(np.array(heads))
    return Barrel(row, length, order, np.array(flows) * row.barrels)
