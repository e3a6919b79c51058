# mypy: disable-error-code="untyped-decorator"

"""Right-triangulated irregular networks (Evans, Kirkpatrick & Townsend 1997/2001) over a lattice of tiles.

Every tile is a square of 64 × 64 steps, split by its south-west–north-east diagonal and then by halving hypotenuses. A
midpoint is kept when leaving it out would cost more than the tolerance, there or at any finer midpoint that depends on it.
The costs are worked out on a lattice that reaches one tile beyond the tiles that are written: dependencies never reach
further (32 + 16 + 8 + … < 64 steps), so two tiles decide the vertices of their common edge from the same numbers,
whichever block of tiles they were computed in. No tile has a vertex on an edge that its neighbour lacks.

All kernels are pure array functions; the tests hold plain references beside them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from twin.compiled import njit

STEPS = 64
EARTH_RADIUS = 6_371_000.0

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
I32 = NDArray[np.int32]


@njit(cache=True, nogil=True, error_model="numpy")
def costs(height: F64, east: F64, north: float) -> F32:
    """What it costs, in metres, to leave out each lattice point.

    Args:
        height: (rows, columns) metres, row 0 in the south; both sizes are multiples of 64, plus one.
        east: (rows,) metres between neighbours of a row; north: metres between rows.

    Returns:
        (rows, columns) float32. A cost holds the difference in height between the point and the middle of the
        hypotenuse that replaces it, plus that chord's sagitta below the Earth's curve, and is at least the cost of
        every point that depends on it. Right for all tiles that are one tile away from the rim.
    """
    rows, columns = height.shape
    cost = np.zeros((rows, columns), np.float32)
    size = 2
    while size <= STEPS:
        half = size // 2
        quarter = half // 2
        for r in range(0, rows, size):
            for c in range(half, columns, size):
                worst = abs(0.5 * (height[r, c - half] + height[r, c + half]) - height[r, c]) + (size * east[r]) ** 2 / (8 * EARTH_RADIUS)
                if quarter > 0 and r > 0:
                    worst = max(worst, max(cost[r - quarter, c - quarter], cost[r - quarter, c + quarter]))
                if quarter > 0 and r + quarter < rows:
                    worst = max(worst, max(cost[r + quarter, c - quarter], cost[r + quarter, c + quarter]))
                cost[r, c] = worst
        bulge = (size * north) ** 2 / (8 * EARTH_RADIUS)
        for r in range(half, rows, size):
            for c in range(0, columns, size):
                worst = abs(0.5 * (height[r - half, c] + height[r + half, c]) - height[r, c]) + bulge
                if quarter > 0 and c > 0:
                    worst = max(worst, max(cost[r - quarter, c - quarter], cost[r + quarter, c - quarter]))
                if quarter > 0 and c + quarter < columns:
                    worst = max(worst, max(cost[r - quarter, c + quarter], cost[r + quarter, c + quarter]))
                cost[r, c] = worst
        for r in range(half, rows, size):
            bulge = ((size * east[r]) ** 2 + (size * north) ** 2) / (8 * EARTH_RADIUS)
            for c in range(half, columns, size):
                if size == STEPS or ((r // size) + (c // size)) % 2 == 0:
                    middle = 0.5 * (height[r - half, c - half] + height[r + half, c + half])
                else:
                    middle = 0.5 * (height[r - half, c + half] + height[r + half, c - half])
                worst = abs(middle - height[r, c]) + bulge
                cost[r, c] = max(worst, max(max(cost[r - half, c], cost[r + half, c]), max(cost[r, c - half], cost[r, c + half])))
        size *= 2
    return cost


@njit(cache=True, nogil=True, error_model="numpy")
def _push(stack: I32, top: int, ax: int, ay: int, bx: int, by: int, cx: int, cy: int) -> int:
    """Lay down a triangle, hypotenuse a–b and apex c; plain writes, for numba takes seconds to compile tuples."""
    stack[top] = ax
    stack[top + 1] = ay
    stack[top + 2] = bx
    stack[top + 3] = by
    stack[top + 4] = cx
    stack[top + 5] = cy
    return top + 6


@njit(cache=True, nogil=True, error_model="numpy")
def _name(index: I32, vertices: I32, used: int, x: int, y: int) -> int:
    """Number a lattice point if it has no number yet; returns how many have one."""
    if index[y, x] >= 0:
        return used
    index[y, x] = used
    vertices[used, 0] = x
    vertices[used, 1] = y
    return used + 1


@njit(cache=True, nogil=True, error_model="numpy")
def triangulate(cost: F32, row: int, column: int, tolerance: float, index: I32, vertices: I32, triangles: I32) -> tuple[int, int]:
    """The triangles of one tile, depth first, vertices numbered in order of first use (as high-water encoding wants them).

    Args:
        cost: of the whole lattice; (row, column): the tile's south-west corner in it.
        index: (65, 65) scratch, all −1 before and after.
        vertices: (4225, 2) out: column and row within the tile; triangles: (8192, 3) out: counter-clockwise.

    Returns:
        (number of vertices, number of triangles)
    """
    stack = np.empty(64 * 6, np.int32)
    _push(stack, 0, STEPS, STEPS, 0, 0, 0, STEPS)
    top = _push(stack, 6, 0, 0, STEPS, STEPS, STEPS, 0)
    used, made = 0, 0
    while top > 0:
        top -= 6
        ax, ay, bx, by, cx, cy = stack[top], stack[top + 1], stack[top + 2], stack[top + 3], stack[top + 4], stack[top + 5]
        mx, my = (ax + bx) >> 1, (ay + by) >> 1
        if abs(ax - cx) + abs(ay - cy) > 1 and cost[row + my, column + mx] > tolerance:
            top = _push(stack, top, bx, by, cx, cy, mx, my)
            top = _push(stack, top, cx, cy, ax, ay, mx, my)
            continue
        used = _name(index, vertices, used, ax, ay)
        used = _name(index, vertices, used, cx, cy)
        used = _name(index, vertices, used, bx, by)
        triangles[made, 0] = index[ay, ax]
        triangles[made, 1] = index[cy, cx]
        triangles[made, 2] = index[by, bx]
        made += 1
    for i in range(used):
        index[vertices[i, 1], vertices[i, 0]] = -1
    return used, made


@njit(cache=True, nogil=True, error_model="numpy")
def surface(height: F64, cost: F32, row: int, column: int, tolerance: float, x: float, y: float) -> float:
    """Height of the tile's triangles at a place (x, y) in steps from its south-west corner, by descending the hierarchy."""
    if y > x:
        ax, ay, bx, by, cx, cy = STEPS, STEPS, 0, 0, 0, STEPS
    else:
        ax, ay, bx, by, cx, cy = 0, 0, STEPS, STEPS, STEPS, 0
    while True:
        mx, my = (ax + bx) >> 1, (ay + by) >> 1
        if abs(ax - cx) + abs(ay - cy) <= 1 or cost[row + my, column + mx] <= tolerance:
            break
        # which side of the line from the apex to the middle of the hypotenuse
        side_p = (mx - cx) * (y - cy) - (my - cy) * (x - cx)
        side_a = (mx - cx) * (ay - cy) - (my - cy) * (ax - cx)
        if (side_p >= 0) == (side_a >= 0):
            ax, ay, bx, by, cx, cy = cx, cy, ax, ay, mx, my
        else:
            ax, ay, bx, by, cx, cy = bx, by, cx, cy, mx, my
    area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
    wb = ((x - ax) * (cy - ay) - (y - ay) * (cx - ax)) / area
    wc = ((bx - ax) * (y - ay) - (by - ay) * (x - ax)) / area
    result: float = (1 - wb - wc) * height[row + ay, column + ax] + wb * height[row + by, column + bx] + wc * height[row + cy, column + cx]
    return result


@njit(cache=True, nogil=True, error_model="numpy")
def largest_error(height: F64, row: int, column: int, vertices: I32, triangles: I32, made: int) -> float:
    """Largest vertical distance, in metres, between a tile's triangles and the lattice points that they cover."""
    worst = 0.0
    for t in range(made):
        a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        ax, ay, bx, by, cx, cy = vertices[a, 0], vertices[a, 1], vertices[b, 0], vertices[b, 1], vertices[c, 0], vertices[c, 1]
        area = float((bx - ax) * (cy - ay) - (by - ay) * (cx - ax))
        if area == 1.0:
            continue  # half a lattice square holds no other point
        za, zb, zc = height[row + ay, column + ax], height[row + by, column + bx], height[row + cy, column + cx]
        gx = ((zb - za) * (cy - ay) - (zc - za) * (by - ay)) / area
        gy = ((zc - za) * (bx - ax) - (zb - za) * (cx - ax)) / area
        for y in range(min(ay, by, cy), max(ay, by, cy) + 1):
            for x in range(min(ax, bx, cx), max(ax, bx, cx) + 1):
                if ((bx - ax) * (y - ay) - (by - ay) * (x - ax) >= 0 and (cx - bx) * (y - by) - (cy - by) * (x - bx) >= 0
                        and (ax - cx) * (y - cy) - (ay - cy) * (x - cx) >= 0):  # fmt: skip
                    worst = max(worst, abs(za + gx * (x - ax) + gy * (y - ay) - height[row + y, column + x]))
    return worst
