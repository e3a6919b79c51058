"""Sines, cosines, arc tangents and exponentials that are the same to the last bit on every processor.

NumPy takes these from the compiler's vector library where a processor has AVX-512 and from the C library elsewhere, and the two differ in the last
place: the same city then has other tiles on another machine. Here they are made of sums, products, quotients and square roots alone, which IEEE 754
rounds exactly (series of Taylor after the argument has been made small). Errors are below 1.5 units in the last place for sines and
cosines, 4 for arc tangents, 2 for exponentials (tests/twin/test_angles.py).
"""

from __future__ import annotations

from math import factorial

import numpy as np
from numpy.typing import ArrayLike, NDArray

F64 = NDArray[np.float64]

_SINE = tuple((-1.0) ** k / factorial(2 * k + 1) for k in range(8, 0, -1))  # of t ** 17 down to t ** 3: the next is 1e-19 at 45°
_COSINE = tuple((-1.0) ** k / factorial(2 * k) for k in range(8, 0, -1))
_ARC = tuple((-1.0) ** k / (2 * k + 1) for k in range(11, 0, -1))  # of t ** 23 down to t ** 3, for |t| ≤ tan(180° / 16)
_RATIO = tuple(1.0 / (2 * k + 1) for k in range(11, 0, -1))  # of s ** 23 down to s ** 3, for |s| ≤ 0.172
_POWERS = tuple(1.0 / factorial(k) for k in range(14, 0, -1))
_ROOT = 0.7071067811865476
_ROOM = 8192
"""Numbers at a time, so that what is in between stays in a processor's cache."""
_DEGREE, _REST = np.pi / 180, 2.948652270870169e-19
"""π / 180 is the sum of both."""
_HIGH, _LOW = 0.6931471824645996, -1.904654299957768e-09
"""The logarithm of 2 is the sum of both; the first has 24 bits, so that its multiples are exact."""


def sine_cosine(degrees: ArrayLike) -> tuple[F64, F64]:
    """Sine and cosine of angles in degrees, of their shape; exact at multiples of 90°. What is not finite gives NaN."""
    angles = np.asarray(degrees, np.float64)
    flat = np.ascontiguousarray(angles).reshape(-1)
    sine, cosine = np.empty_like(flat), np.empty_like(flat)
    for at in range(0, len(flat), _ROOM):
        _sine_cosine(flat[at : at + _ROOM], sine[at : at + _ROOM], cosine[at : at + _ROOM])
    return sine.reshape(angles.shape), cosine.reshape(angles.shape)


def _sine_cosine(degrees: F64, sine: F64, cosine: F64) -> None:
    with np.errstate(invalid="ignore"):
        quarter = np.rint(degrees / 90.0)
        rest = degrees - 90.0 * quarter  # exact
        turn = np.where(np.isfinite(quarter), quarter, 0.0).astype(np.int64) & 3
    t = rest * _DEGREE
    z = t * t
    s, c = t + (t * (z * _series(_SINE, z)) + rest * _REST), 1.0 + z * _series(_COSINE, z)
    odd = (turn & 1).astype(bool)
    sine[:], cosine[:] = np.where(odd, c, s), np.where(odd, s, c)
    np.negative(sine, out=sine, where=turn >= 2)
    np.negative(cosine, out=cosine, where=(turn == 1) | (turn == 2))


def arc_tangent(y: ArrayLike, x: ArrayLike) -> F64:
    """Angles in degrees (−180 … 180) of the directions (x, y), of their common shape; 0 where both are 0. Neither may overflow when squared."""
    ys, xs = np.broadcast_arrays(np.asarray(y, np.float64), np.asarray(x, np.float64))
    above, right = np.ascontiguousarray(ys).reshape(-1), np.ascontiguousarray(xs).reshape(-1)
    result = np.empty_like(above)
    for at in range(0, len(above), _ROOM):
        result[at : at + _ROOM] = _arc_tangent(above[at : at + _ROOM], right[at : at + _ROOM])
    return result.reshape(ys.shape)


def _arc_tangent(y: F64, x: F64) -> F64:
    a, b = np.abs(y), np.abs(x)
    low, high = np.minimum(a, b), np.maximum(a, b)
    t = low / np.where(high > 0, high, 1.0)  # 0 … 45°
    for _ in range(2):  # a half of the angle, and a quarter
        t = t / (1.0 + np.sqrt(1.0 + t * t))
    z = t * t
    degrees = 4.0 * (t + t * (z * _series(_ARC, z))) / _DEGREE
    degrees = np.where(a > b, 90.0 - degrees, degrees)
    degrees = np.where(x < 0, 180.0 - degrees, degrees)
    result: F64 = np.copysign(degrees, y)
    return result


def exponential(numbers: ArrayLike) -> F64:
    """e to the power of numbers within ±700, of their shape."""
    w = np.asarray(numbers, np.float64)
    twos = np.rint(w / (_HIGH + _LOW))
    r = (w - twos * _HIGH) - twos * _LOW
    result: F64 = np.ldexp(1.0 + r * _series(_POWERS, r), twos.astype(np.int64))
    return result


def logarithm(numbers: ArrayLike) -> F64:
    """Natural logarithm of positive numbers, of their shape."""
    part, twos = np.frexp(np.asarray(numbers, np.float64))  # 0.5 … 1
    small = part < _ROOT
    part, twos = np.where(small, 2.0 * part, part), twos - small
    s = (part - 1.0) / (part + 1.0)
    z = s * s
    return twos * _HIGH + (2.0 * (s + s * (z * _series(_RATIO, z))) + twos * _LOW)


def _series(coefficients: tuple[float, ...], z: F64) -> F64:
    """The polynomial of these coefficients, highest power first, the last one that of z to the power of 0."""
    total = np.full_like(z, coefficients[0])
    for one in coefficients[1:]:
        total *= z
        total += one
    return total
