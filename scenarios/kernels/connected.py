"""Which low-lying cells are connected to a source of water."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage


def connected_below(ground: NDArray[np.float64], level: float, source: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Cells below `level` that touch `source` through cells below `level` (4-neighbours, so water does not pass a diagonal dike).

    Args:
        ground: (rows, columns) ground heights, NaN = unknown (never flooded).
        level: water level in the same datum and unit.
        source: (rows, columns) cells where the water comes from; those above the level give none.

    Returns:
        (rows, columns) bool. A "bathtub" fill: no momentum, no time, no volume limit.
    """
    low = np.nan_to_num(ground, nan=np.inf) < level
    labels, _ = ndimage.label(low)
    wet = np.unique(labels[source & low])
    return np.asarray(np.isin(labels, wet[wet > 0]))
