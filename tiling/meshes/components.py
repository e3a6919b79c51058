"""Which things hang together: connected components without a graph library, whose import takes longer than tiling a house."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

I64 = NDArray[np.int64]


def components(count: int, a: I64, b: I64) -> I64:
    """(count,) the smallest member of each one's component, for undirected edges a–b.

    Roots are hooked onto the smallest root that they touch, paths are halved until flat: a few rounds even for long chains
    (Shiloach & Vishkin 1982).
    """
    root = np.arange(count)
    while len(a):
        low, high = np.minimum(root[a], root[b]), np.maximum(root[a], root[b])
        apart = low != high
        a, b, low, high = a[apart], b[apart], low[apart], high[apart]
        np.minimum.at(root, high, low)
        while True:
            jumped = root[root]
            if np.array_equal(jumped, root):
                break
            root = jumped
    return root
