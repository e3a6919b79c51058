"""Lists of numbers in options."""

from __future__ import annotations


def numbers(text: str) -> tuple[float, ...]:
    """`1,2,3` → (1.0, 2.0, 3.0).

    Raises:
        ValueError: something else.
    """
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise ValueError(f"{text!r} is not a list of numbers such as 1,2,3") from error
