"""A tiny declarative checker of JSON structure: what the standards' JSON Schemas say, as plain values.

Why not the ``jsonschema`` library: its ``oneOf`` failures name the schema, not the reason, and every
finding here must carry one of our stable codes at an exact JSON pointer.

A shape's ``check(value, where)`` reports every deviation and returns True when there was none, so that
semantic checks can go on with values they can trust.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from .issues import Where


class Shape(Protocol):
    """Anything that can check a JSON value."""

    def check(self, value: Any, where: Where) -> bool:
        """Report every deviation of ``value``; True when there was none."""


def kind(value: Any) -> str:
    """The JSON name of a value's type, for messages."""
    names = {type(None): "null", bool: "boolean", int: "integer", float: "number", str: "string"}
    return names.get(type(value), "array" if isinstance(value, list) else "object")


def is_number(value: Any) -> bool:
    """True for a finite JSON number (Python counts booleans as integers; JSON does not)."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def is_integer(value: Any) -> bool:
    """True for a JSON integer; 2.0 is one (JSON has a single number type)."""
    return is_number(value) and float(value).is_integer()


def _wrong_type(value: Any, wanted: str, where: Where) -> bool:
    where.error("JSON_TYPE", f"must be {wanted}, found {kind(value)}")
    return False


@dataclass(frozen=True)
class Num:
    """A finite number in [low, high] (or ]low, high] with ``above``), an integer with ``whole``."""

    low: float | None = None
    high: float | None = None
    above: float | None = None
    whole: bool = False

    def check(self, value: Any, where: Where) -> bool:
        """Report every deviation of ``value``; True when there was none."""
        if not (is_integer(value) if self.whole else is_number(value)):
            return _wrong_type(value, "an integer" if self.whole else "a finite number", where)
        bad = (
            (self.low is not None and value < self.low)
            or (self.high is not None and value > self.high)
            or (self.above is not None and value <= self.above)
        )
        if bad:
            low = f"> {self.above}" if self.above is not None else f">= {self.low}"
            high = "" if self.high is None else f" and <= {self.high}"
            where.error("JSON_RANGE", f"is {value}, must be {low}{high}")
        return not bad


@dataclass(frozen=True)
class Text:
    """A string of at least ``shortest`` characters, matching ``pattern`` as a whole."""

    shortest: int = 0
    pattern: str | None = None

    def check(self, value: Any, where: Where) -> bool:
        """Report every deviation of ``value``; True when there was none."""
        if not isinstance(value, str):
            return _wrong_type(value, "a string", where)
        if len(value) < self.shortest:
            where.error("JSON_LENGTH", f"must have at least {self.shortest} characters")
            return False
        if self.pattern is not None and not re.fullmatch(self.pattern, value):
            where.error("JSON_PATTERN", f"{value!r} does not match {self.pattern}")
            return False
        return True


@dataclass(frozen=True)
class Bool:
    """True or false."""

    def check(self, value: Any, where: Where) -> bool:
        """Report every deviation of ``value``; True when there was none."""
        return isinstance(value, bool) or _wrong_type(value, "a boolean", where)


@dataclass(frozen=True)
class Choice:
    """One of a list of values."""

    values: tuple[Any, ...]

    def check(self, value: Any, where: Where) -> bool:
        """Report every deviation of ``value``; True when there was none."""
        if isinstance(value, bool) or value not in self.values:
            where.error("JSON_VALUE", f"is {value!r}, must be one of {', '.join(map(str, self.values))}")
            return False
        return True


@dataclass(frozen=True)
class Anything:
    """Any value: its meaning is checked elsewhere."""

    def check(self, value: Any, where: Where) -> bool:  # noqa: ARG002 - a Shape
        """Report every deviation of ``value``; True when there was none."""
        return True


@dataclass(frozen=True)
class List:
    """An array of ``least``..``most`` items of one shape."""

    item: Shape
    least: int = 0
    most: int | None = None
    unique: bool = False

    def check(self, value: Any, where: Where) -> bool:
        """Report every deviation of ``value``; True when there was none."""
        if not isinstance(value, list):
            return _wrong_type(value, "an array", where)
        good = True
        if len(value) < self.least or (self.most is not None and len(value) > self.most):
            wanted = f"{self.least}" if self.least == self.most else f"{self.least}..{self.most or ''}"
            where.error("JSON_LENGTH", f"has {len(value)} items, must have {wanted}")
            good = False
        for i, item in enumerate(value):
            good &= self.item.check(item, where / i)
        if good and self.unique and len({repr(v) for v in value}) < len(value):
            where.error("JSON_DUPLICATE", "has the same item twice")
            good = False
        return good


@dataclass(frozen=True)
class Map:
    """An object used as a dictionary: every key matches a pattern, every value has one shape."""

    item: Shape
    key: str | None = None
    least: int = 0

    def check(self, value: Any, where: Where) -> bool:
        """Report every deviation of ``value``; True when there was none."""
        if not isinstance(value, dict):
            return _wrong_type(value, "an object", where)
        good = True
        if len(value) < self.least:
            where.error("JSON_LENGTH", f"must have at least {self.least} properties")
            good = False
        for name, item in value.items():
            if self.key is not None and not re.fullmatch(self.key, name):
                (where / name).error("JSON_PATTERN", f"the name {name!r} does not match {self.key}")
                good = False
            good &= self.item.check(item, where / name)
        return good


@dataclass(frozen=True)
class Obj:
    """An object with named properties.

    ``one_of``: groups of names of which exactly one must be present; ``any_of``: at least one;
    ``at_most_one``: no two together. ``extensions`` and ``extras`` are allowed in every object of both
    standards. A name that neither standard knows is only reported as an info (both allow additions).
    """

    required: Mapping[str, Shape] = field(default_factory=dict)
    optional: Mapping[str, Shape] = field(default_factory=dict)
    one_of: tuple[tuple[str, ...], ...] = ()
    any_of: tuple[tuple[str, ...], ...] = ()
    at_most_one: tuple[tuple[str, ...], ...] = ()

    def check(self, value: Any, where: Where) -> bool:
        """Report every deviation of ``value``; True when there was none."""
        if not isinstance(value, dict):
            return _wrong_type(value, "an object", where)
        good = self._check_groups(value, where)
        for name, shape in self.required.items():
            if name not in value:
                where.error("JSON_REQUIRED", f"the property {name!r} is missing")
                good = False
            else:
                good &= shape.check(value[name], where / name)
        for name, item in value.items():
            if name in self.required:
                continue
            if name in self.optional:
                good &= self.optional[name].check(item, where / name)
            elif name == "extensions":
                good &= Map(Map(Anything())).check(item, where / name)
            elif name == "extras":
                if not isinstance(item, dict):
                    (where / name).warning("EXTRAS_NOT_OBJECT", f"should be an object, found {kind(item)}")
            else:
                where.info("JSON_UNKNOWN_PROPERTY", f"the property {name!r} is not known to the standard")
        return good

    def _check_groups(self, value: Mapping[str, Any], where: Where) -> bool:
        good = True
        rules = [(g, 1, 1) for g in self.one_of] + [(g, 1, len(g)) for g in self.any_of]
        for group, least, most in [*rules, *[(g, 0, 1) for g in self.at_most_one]]:
            present = [name for name in group if name in value]
            if not least <= len(present) <= most:
                wanted = "exactly one" if least == most else "at least one" if least else "at most one"
                where.error("JSON_ONE_OF", f"needs {wanted} of {', '.join(group)}; has {present or 'none'}")
                good = False
        return good


#: Identifiers of classes, enums, properties, schemas and labels in both metadata specifications.
IDENTIFIER = r"[a-zA-Z_][a-zA-Z0-9_]*"
INDEX = Num(low=0, whole=True)
