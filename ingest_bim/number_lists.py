"""Lists of numbers in options."""

from __future__ import annotations

import math


def numbers(text: str) -> tuple[float, ...]:
    """`1,2,3` → (1.0, 2.0, 3.0).

    Raises:
        ValueError: something else, or not finite.
    """
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise ValueError(f"{text!r} is not a list of numbers such as 1,2,3") from error
    if not all(map(math.isfinite, values)):
        raise ValueError(f"{text!r} is not finite")
    return values
