"""Reading attributes of STEP instances quickly and without surprises.

ifcopenshell's own attribute access, asked for a name that a class does not have, looks for EXPRESS rule files on disk
(also in the current folder) before it gives up: slow, and nothing that a reader of strangers' files should do.
"""

from __future__ import annotations

import sys
from contextlib import redirect_stderr, redirect_stdout
from functools import lru_cache
from io import StringIO
from typing import Any

_FORWARD, _INVERSE = 1, 2
#: What a damaged instance (dangling reference, missing mandatory value, wrong type) makes its readers raise.
DAMAGED = (AttributeError, TypeError, ValueError, IndexError, KeyError, RuntimeError, OverflowError)


def parser() -> Any:
    """ifcopenshell, imported without its grammar for MVD headers: it takes 0.15 s to compile and nothing here asks for it."""
    if "ifcopenshell" not in sys.modules and "lark" not in sys.modules:
        sys.modules["lark"] = None  # type: ignore[assignment]  # "not installed", for the time of the import
        try:
            with redirect_stdout(StringIO()), redirect_stderr(StringIO()):  # it says on import what it cannot do without
                import ifcopenshell  # noqa: F401, PLC0415
        finally:
            del sys.modules["lark"]
    import ifcopenshell as module  # noqa: PLC0415

    return module


def attribute(entity: Any, name: str, default: Any = None) -> Any:
    """An attribute by name; `default` where the class has none of this name, the file leaves it out, or there is no instance."""
    if entity is None:
        return default
    kind = (entity.is_a(True), name)
    place = _PLACES.get(kind)
    if place is None:
        category = entity.get_attribute_category(name)
        place = _PLACES[kind] = entity.get_argument_index(name) if category == _FORWARD else _BY_NAME if category == _INVERSE else _NOWHERE
    if place == _NOWHERE:
        return default
    value = getattr(entity, name) if place == _BY_NAME else entity.get_argument(place)
    return default if value is None else value


_NOWHERE, _BY_NAME = -1, -2
#: (schema and class, attribute) → its position, or one of the two above; as many as the schemas have, at most.
_PLACES: dict[tuple[str, str], int] = {}


def is_kind(entity: Any, kind: str) -> bool:
    """Whether an instance is of a class or a subtype of it; False where its schema has no such class."""
    return kind in supertypes(entity.is_a(True))


@lru_cache(maxsize=4096)
def supertypes(qualified: str) -> frozenset[str]:
    """`IFC4.IfcWall` → the names of the class and of all above it."""
    import ifcopenshell.ifcopenshell_wrapper as wrapper  # noqa: PLC0415  slow import, not needed to name the reader

    schema, _, name = qualified.partition(".")
    declared = wrapper.schema_by_name(schema).declaration_by_name(name).as_entity()
    names = {name}
    while declared is not None:
        names.add(declared.name())
        declared = declared.supertype()
    return frozenset(names)


@lru_cache(maxsize=4096)
def indexes(qualified: str, names: tuple[str, ...]) -> tuple[int | None, ...]:
    """Positions of attributes of a class by name (None where it has none of that name)."""
    import ifcopenshell.ifcopenshell_wrapper as wrapper  # noqa: PLC0415

    schema, _, name = qualified.partition(".")
    declared = wrapper.schema_by_name(schema).declaration_by_name(name).as_entity()
    found = {a.name(): i for i, a in enumerate(declared.all_attributes())} if declared is not None else {}
    return tuple(found.get(n) for n in names)
