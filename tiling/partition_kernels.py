# mypy: disable-error-code="no-untyped-def,no-untyped-call,untyped-decorator,no-any-return"
# ruff: noqa: ANN001, ANN201, ANN202  (types are in the docstrings: numba infers them)
"""The loops of the plan (`tiling.partition`), compiled by numba: a million features are planned at every update.

Weights are added up one by one: the plan is the same for any grouping, as they are whole numbers.
"""

from __future__ import annotations

import numpy as np

from twin.compiled import njit
from twin.keys import DEPTH

BINS = 1 << 12
_SHIFT = 52 - 7  # bins of 1/128 of an octave
_LOWEST = (1023 - 12 << 52) >> _SHIFT  # 32 octaves from 2⁻¹² m are told apart; what is beyond falls into the outermost bins
_HEAPS = 1 << 9
_HEAP_SHIFT = 23 - 4  # heaps of a sixteenth of an octave, by the bits of single precision: few enough to be cleared for a cell of a thousand features
_LOWEST_HEAP = (127 - 12 << 23) >> _HEAP_SHIFT


@njit(cache=True, nogil=True)
def _least(size, rank):
    """A size that at least `rank` of the sizes reach (or −inf), and not many more: by counting, as sizes that are ≥ 0 are in the order of their bits."""
    bits, counts, total = size.view(np.int64), np.zeros(BINS, np.int64), 0
    for value in bits:
        if value >= 0:
            counts[min(max((value >> _SHIFT) - _LOWEST, 0), BINS - 1)] += 1
    for at in range(BINS - 1, 0, -1):
        total += counts[at]
        if total >= rank:
            return np.array([(_LOWEST + at) << _SHIFT]).view(np.float64)[0]
    return -np.inf


@njit(cache=True, nogil=True)
def prefix(size, weight, share, wanted=256):
    """The largest features up to a share of weight.

    Args:
        size, weight: (N,) float64; N > 0. wanted: about how many there will be.

    Returns:
        (positions by falling size, ties as they come, up to the first beyond `share` and at least two; how many are within `share`, at least one)
    """
    while True:
        wanted = min(wanted, len(size))
        least = _least(size, wanted) if wanted < len(size) else -np.inf
        among, found = np.empty(len(size), np.int64), 0
        for i in range(len(size)):
            if size[i] >= least:
                among[found] = i
                found += 1
        among = among[:found]
        ranked = among[np.argsort(-size[among], kind="mergesort")]
        count, total = 0, 0.0
        while count < len(ranked) and total + weight[ranked[count]] <= share:
            total += weight[ranked[count]]
            count += 1
        count = max(1, count)
        if count < len(ranked) or len(ranked) == len(size):
            return ranked[: count + 1], count
        wanted *= 4


@njit(cache=True, nogil=True)
def _sum(values, a, b):
    """Sum of values[a:b], whole numbers: four at a time, as each addition waits for the one before."""
    one, two, three, four, i = 0.0, 0.0, 0.0, 0.0, a
    while i + 4 <= b:
        one += values[i]
        two += values[i + 1]
        three += values[i + 2]
        four += values[i + 3]
        i += 4
    for k in range(i, b):
        one += values[k]
    return one + two + three + four


@njit(cache=True, nogil=True)
def _take(size, weight, a, b, share, own, filled):
    """Write the largest of a range, up to a share of weight and at least one, behind `own[:filled]`, ascending. They are not sorted: weights are added up by size.

    Returns:
        (the new end of `own`, the largest size that is left or 0, the weight of what was taken)
    """
    heaps, highest = np.zeros(_HEAPS), 0
    heap = np.empty(b - a, np.int16)
    for i in range(a, b):
        at = -1
        if size[i] >= 0:
            at = min(max((int(np.float32(size[i]).view(np.int32)) >> _HEAP_SHIFT) - _LOWEST_HEAP, 0), _HEAPS - 1)
            heaps[at] += weight[i]
            highest = max(highest, at)
        heap[i - a] = at
    cut, total = highest, 0.0
    while cut > 0 and total + heaps[cut] <= share:  # all of these are within it
        total += heaps[cut]
        cut -= 1
    start, among, found = filled, np.empty(b - a, np.int64), 0
    for i in range(a, b):
        if heap[i - a] > cut:
            own[filled] = i
            filled += 1
        elif heap[i - a] == cut:
            among[found] = i
            found += 1
    ranked, count = among[:found][np.argsort(-size[among[:found]], kind="mergesort")], 0
    while count < found and (total + weight[ranked[count]] <= share or filled + count == start):
        total += weight[ranked[count]]
        count += 1
    error = size[ranked[count]] if count < found else 0.0
    if count == found:  # what is left is smaller than all of these
        for i in range(a, b):
            if heap[i - a] < cut:
                error = max(error, size[i])
    more, last = np.sort(ranked[:count]), filled - 1
    filled += count
    for at in range(filled - 1, -1, -1):  # laid between the others from behind
        if count == 0:
            break
        if last >= start and own[last] > more[count - 1]:
            own[at] = own[last]
            last -= 1
        else:
            count -= 1
            own[at] = more[count]
    return filled, error, total


@njit(cache=True, nogil=True)
def _level(first, last):
    """Level of the smallest cell that holds both codes."""
    differ, level = first ^ last, DEPTH
    while differ:
        differ >>= 2
        level -= 1
    return level


@njit(cache=True, nogil=True)
def _every_second_bit(code):
    value = 0
    for bit in range(DEPTH):
        value |= (code >> 2 * bit & 1) << bit
    return value


@njit(cache=True, nogil=True)
def subtree(code, size, weight, budget, share):
    """All cells of some features, parents before children, in Morton order.

    Args:
        code: (N,) int64, ascending. size: (N,) float, weight: (N,) numbers, written to: a feature that is drawn becomes of size −1 and weight 0.

    Returns:
        ((K, 5) level, x, y, position of the parent (−1 for the root), end of the cell's features in the last result;
        (K, 2) error, weight; (N,) positions of the features, cell by cell, in Morton order)
    """
    cells, numbers = [(0, 0, 0, 0, 0)], [(0.0, 0.0)]  # of a known type; taken away at the end
    own, filled = np.empty(len(code), np.int64), 0
    stack = [(0, len(code), -1)]
    while stack:
        a, b, above = stack.pop()
        while a < b and size[a] < 0:
            a += 1
        while a < b and size[b - 1] < 0:
            b -= 1
        if a == b:
            continue
        level = _level(code[a], code[b - 1])
        total, error, start = _sum(weight, a, b), 0.0, filled
        leaf = level == DEPTH or total <= budget
        if leaf:
            for i in range(a, b):
                if size[i] >= 0:
                    own[filled] = i
                    filled += 1
        else:
            filled, error, total = _take(size, weight, a, b, share, own, filled)
        cell = code[a] >> 2 * (DEPTH - level)
        cells.append((level, _every_second_bit(cell), _every_second_bit(cell >> 1), above, filled))
        numbers.append((error, total))
        if not leaf:
            for k in own[start:filled]:
                size[k], weight[k] = -1, 0
            shift = 2 * (DEPTH - level - 1)
            for q in (3, 2, 1, 0):
                low, high = np.searchsorted(code[a:b], ((cell << 2) + q) << shift), np.searchsorted(code[a:b], ((cell << 2) + q + 1) << shift)
                stack.append((a + low, a + high, len(cells) - 2))
    return np.array(cells[1:]), np.array(numbers[1:]), own
