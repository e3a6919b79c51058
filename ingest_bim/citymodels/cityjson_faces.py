"""The nested lists of CityJSON's geometry: faces with what parallel lists say of them, and whether these fit."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Any

from ingest_bim.citymodels.objects import Surface

#: Levels of lists around the list of faces.
DEPTH = {"MultiSurface": 0, "CompositeSurface": 0, "Solid": 1, "MultiSolid": 2, "CompositeSolid": 2}


MAX_FACES = 2_000_000
"""Of one geometry: some 900 bytes are held for each."""


class Same:
    """One material for all faces."""

    def __init__(self, value: Any) -> None:
        self.value = value


def walk(boundaries: Any, values: Any, material: Any, images: Any, depth: int, at: tuple[int, ...] = ()) -> Iterator[tuple[tuple[int, ...], Any, Any, Any, Any]]:
    """Faces with the place of the list that they stand in and what the parallel lists say of them; null at any level holds for all below."""
    if not isinstance(boundaries, list):
        raise ValueError("its boundaries are not nested as those of its type")  # noqa: TRY004  these words are shown
    for i, inner in enumerate(boundaries):
        value, color, corners = _at(values, i), _at(material, i), _at(images, i)
        if depth:
            yield from walk(inner, value, color, corners, depth - 1, (*at, i))
        else:
            yield at, inner, value, color.value if isinstance(color, Same) else color, corners


def _at(values: Any, i: int) -> Any:
    return values if isinstance(values, Same) else values[i] if isinstance(values, list) and i < len(values) else None


def sound(boundaries: Any, depth: int, count: int) -> bool:
    """Whether all numbers of vertices are whole and lead to one; False is said of nothing and of other nesting, too."""
    try:
        for _ in range(depth + 2):
            boundaries = list(chain.from_iterable(boundaries))
        return set(map(type, boundaries)) == {int} and min(boundaries) >= 0 and max(boundaries) < count
    except TypeError:
        return False


def count(boundaries: Any, depth: int) -> int:
    """How many faces there are; of other nesting, what stands in their place."""
    if not isinstance(boundaries, list):
        return 0
    return len(boundaries) if depth == 0 else sum(count(inner, depth - 1) for inner in boundaries)


def is_face(rings: Any) -> bool:
    """Whether a face is a list of rings of plain values."""
    return isinstance(rings, list) and all(isinstance(ring, list) and not any(isinstance(i, list | dict) for i in ring) for ring in rings)


def fits(values: Any, boundaries: Any, depth: int) -> bool:
    """Whether a parallel list has one entry for each face, or null for all below."""
    if values is None or isinstance(values, Same):
        return True
    if not isinstance(values, list) or len(values) != len(boundaries):
        return False
    return depth == 0 or all(fits(value, inner, depth - 1) for value, inner in zip(values, boundaries, strict=True))


def leads_nowhere(number: Any, count: int) -> bool:
    """Whether something that should be null or a number of a list of so many is neither."""
    return number is not None and not (type(number) is int and 0 <= number < count)


def surfaces_of(geometry: dict[str, Any], first: int) -> list[Surface]:
    """The semantic surfaces of a geometry, numbered from `first`; one belongs to the one that it names, or that names it, and in no circle."""
    listed = (geometry.get("semantics") or {}).get("surfaces") or []
    above = _above(listed) if any("parent" in raw or "children" in raw for raw in listed) else {}  # windows and doors: few
    circling = _circling(above)
    found = []
    for i, raw in enumerate(listed):
        attributes = {key: value for key, value in raw.items() if key not in ("type", "parent", "children")}
        found.append(Surface(str(raw["type"]), attributes, None if (up := above.get(i)) is None or i in circling else first + up))
    return found


def _above(listed: list[dict[str, Any]]) -> dict[int, int]:
    """The surface that each belongs to."""
    above = {i: raw["parent"] for i, raw in enumerate(listed) if type(raw.get("parent")) is int and 0 <= raw["parent"] < len(listed)}
    for i, raw in enumerate(listed):
        for child in raw.get("children") or []:
            if type(child) is int and 0 <= child < len(listed):
                above.setdefault(child, i)
    return above


def _circling(above: dict[int, int]) -> set[int]:
    """Those that are above themselves; each is walked over once."""
    found, done = set[int](), set[int]()
    for start in above:
        trail: dict[int, int] = {}
        at: int | None = start
        while at is not None and at not in done and at not in trail:
            trail[at] = len(trail)
            at = above.get(at)
        if at is not None and at in trail:
            found.update(each for each, place in trail.items() if place >= trail[at])
        done.update(trail)
    return found
