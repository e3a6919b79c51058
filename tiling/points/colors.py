"""Colours of points: their own, or by class, height or intensity."""

from __future__ import annotations

import numpy as np

from tiling.points.glb import Palette
from tiling.points.runs import Cube
from twin.errors import BadOption

CLASS_COLORS = {
    2: (168, 140, 104), 3: (160, 200, 120), 4: (96, 168, 80), 5: (40, 124, 56), 6: (214, 108, 72), 7: (200, 60, 200), 8: (230, 210, 90),
    9: (72, 140, 214), 10: (120, 110, 130), 11: (128, 128, 132), 13: (240, 220, 90), 14: (240, 190, 60), 15: (150, 150, 190), 17: (190, 170, 140),
    18: (220, 60, 160),
}  # fmt: skip
UNCLASSIFIED = (190, 190, 190)
EARTH = 6_371_000.0
"""Mean radius, metres: how fast the ground falls away from a plane."""
_RAMP = np.array([(38, 70, 130), (40, 130, 150), (90, 175, 110), (215, 205, 100), (205, 120, 60), (170, 50, 60)], np.float64)


def choose(wanted: str, colored: float, classes: int, intensity: tuple[int, int], cube: Cube, heights: tuple[float, float]) -> Palette:
    """What the colours show: as wanted; else the points' own, several classes, intensities that differ, or heights.

    Args:
        wanted: auto, rgb, class, intensity or height.
        colored: share of the points whose file has colours; with "auto" most must have them, the others are drawn light grey.
        classes: how many classes occur.
        intensity: lowest and highest intensity.
        cube: gives the lattice that heights are counted in.
        heights: metres over the tangent plane of the frame's origin of the lowest and the highest point.

    Raises:
        BadOption: rgb is wanted, but no file has colours.
    """
    if wanted == "rgb" and not colored:
        raise BadOption("color=rgb: no file of the layer has colours.", "Choose class, height, intensity or auto.")
    mode = wanted
    if wanted == "auto":
        mode = "rgb" if colored > 0.5 else "class" if classes > 1 else "intensity" if intensity[1] > intensity[0] else "height"
    if mode == "rgb":
        return Palette(0, 0, 1, np.zeros((256, 3), np.uint8))
    if mode == "class":
        return Palette(1, 0, 255, np.array([CLASS_COLORS.get(code, UNCLASSIFIED) for code in range(256)], np.uint8))
    if mode == "intensity":
        # Most returns are weak, a few very strong: the square root spreads them (as display gamma does).
        grey = np.rint(40 + 215 * np.sqrt(np.arange(256) / 255)).astype(np.uint8)
        weak, strong = _rounded(*intensity)
        return Palette(2, weak, max(strong, weak + 1), np.repeat(grey[:, None], 3, axis=1))
    at = np.linspace(0, len(_RAMP) - 1, 256)
    ramp = np.column_stack([np.interp(at, np.arange(len(_RAMP)), _RAMP[:, k]) for k in range(3)])
    low, high = ((value - cube.low[2]) / cube.step for value in _rounded(*heights))
    return Palette(3, low, max(high, low + 1.0), np.rint(ramp).astype(np.uint8), -cube.low[:2] / cube.step, cube.step / (2 * EARTH))


def _rounded(low: float, high: float) -> tuple[float, float]:
    """A range up to an eighth wider at each end, so that it stays as it is where a cloud grows a little."""
    if not high > low:
        return low, high
    step = 2.0 ** np.floor(np.log2((high - low) / 8))
    return float(np.floor(low / step) * step), float(np.ceil(high / step) * step)
