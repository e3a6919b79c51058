"""Colours of points: their own, or by class, height or intensity."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tiling.point_runs import Columns, Cube

CLASS_COLORS = {
    2: (168, 140, 104), 3: (160, 200, 120), 4: (96, 168, 80), 5: (40, 124, 56), 6: (214, 108, 72), 7: (200, 60, 200), 8: (230, 210, 90),
    9: (72, 140, 214), 10: (120, 110, 130), 11: (128, 128, 132), 13: (240, 220, 90), 14: (240, 190, 60), 15: (150, 150, 190), 17: (190, 170, 140),
    18: (220, 60, 160),
}  # fmt: skip
UNCLASSIFIED = (190, 190, 190)
_RAMP = np.array([(38, 70, 130), (40, 130, 150), (90, 175, 110), (215, 205, 100), (205, 120, 60), (170, 50, 60)], np.float64)


@dataclass(frozen=True)
class Painter:
    """`mode`: rgb, class, height or intensity; `low`, `high`: range of lattice heights or intensities; `table`: colours."""

    mode: str
    low: float
    high: float
    table: NDArray[np.uint8]

    @staticmethod
    def choose(wanted: str, has_rgb: bool, classes: int, intensity: tuple[int, int], cube: Cube, height: float) -> Painter:
        """What to show: as wanted; else own colours, several classes, intensities that differ, or heights."""
        mode = wanted
        if wanted == "auto" or (wanted == "rgb" and not has_rgb):
            mode = "rgb" if has_rgb else "class" if classes > 1 else "intensity" if intensity[1] > intensity[0] else "height"
        if mode == "class":
            table = np.array([CLASS_COLORS.get(code, UNCLASSIFIED) for code in range(256)], np.uint8)
            return Painter(mode, 0, 255, table)
        if mode == "intensity":
            # Returns are many and weak, few and strong: the square root spreads them (as display gamma does).
            grey = np.rint(40 + 215 * np.sqrt(np.arange(256) / 255)).astype(np.uint8)
            return Painter(mode, intensity[0], max(intensity[1], intensity[0] + 1), np.repeat(grey[:, None], 3, axis=1))
        at = np.linspace(0, len(_RAMP) - 1, 256)
        ramp = np.column_stack([np.interp(at, np.arange(len(_RAMP)), _RAMP[:, k]) for k in range(3)])
        return Painter(mode, 0, max(height / cube.step, 1.0), np.rint(ramp).astype(np.uint8))

    def paint(self, points: Columns) -> NDArray[np.uint8]:
        """(n, 3) sRGB bytes."""
        if self.mode == "rgb":
            return points.colors[:, :3]
        if self.mode == "class":
            return self.table[points.colors[:, 3]]
        value = points.intensity if self.mode == "intensity" else points.places[:, 2]
        share = (value.astype(np.float64) - self.low) / (self.high - self.low)
        return self.table[np.clip(share * 255, 0, 255).astype(np.uint8)]
