"""CQL2 filters (OGC 21-065r2): parsed by the `cql2` package, checked against a layer's columns, evaluated over Arrow.

All operators of the standard's classes are here: comparisons, LIKE, BETWEEN, IN, IS NULL, CASEI, ACCENTI, arithmetic, spatial,
temporal and array predicates, and comparisons of two properties. Logic has three values (a comparison with a null is
unknown; what is not certainly true does not match). Nothing is translated to SQL and nothing unknown is passed over:
a name, operator or pair of types that does not fit is refused when the filter is parsed, before any row is read.
"""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import cql2
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from twin.cql2_rows import ARITHMETIC, ARRAY, COMPARE, FUNCTIONS, GEOMETRY, NEAR, SPATIAL, TEMPORAL, Rows, geometry, instant, kind_of
from twin.errors import BadOption
from twin.model import Bounds

MAX_TEXT = 20_000
MAX_DEPTH = 200
STACK = 256 << 20
"""Bytes; ten times what the deepest text of `MAX_TEXT` characters was seen to need. Only what is used is taken."""
_stack = threading.Lock()
_EXACT = 1 << 53
_EXAMPLES = {"cql2-text": "height > 30 AND use IN ('住宅','school')", "cql2-json": '{"op": ">", "args": [{"property": "height"}, 30]}'}


@dataclass(frozen=True)
class Filter:
    """A checked filter.

    Attributes:
        expression: CQL2 JSON; the canonical form of what was given.
        types: Arrow types of the layer's columns, by name.
        columns: which of them the filter reads.
        spatial: whether it reads the geometry.
        box: where every matching feature must touch (WGS 84), or None: no such limit is evident.
    """

    expression: Any
    types: dict[str, pa.DataType]
    columns: tuple[str, ...]
    spatial: bool
    box: Bounds | None

    @property
    def key(self) -> str:
        """The same for filters that say the same in the same words."""
        return json.dumps(self.expression, sort_keys=True, ensure_ascii=False)

    def mask(self, table: pa.Table, geometry: NDArray[np.object_] | None = None) -> NDArray[np.bool_]:
        """(N,) which rows match.

        Args:
            table: N rows with the columns named by `columns`.
            geometry: (N,) shapely geometries in WGS 84 longitude/latitude; needed where `spatial`.
        """
        value = Rows(table, geometry, self.types).truth(self.expression)
        if isinstance(value, pa.Scalar):
            return np.full(len(table), bool(value.as_py()))
        return np.asarray(pc.fill_null(value, False).to_numpy(zero_copy_only=False), bool)


def parse(text: str, columns: dict[str, pa.DataType], language: str = "cql2-text") -> Filter:
    """A filter as text or JSON, checked against a layer's columns (`id` and `parent` among them).

    Raises:
        BadOption: no CQL2; an unknown property, operator or function; types that do not fit each other.
    """
    if len(text) > MAX_TEXT:
        raise BadOption(f"filter: {len(text)} characters are more than {MAX_TEXT}.")
    expression = _parsed(text, language)
    if _depth(expression) > MAX_DEPTH:
        raise BadOption(f"filter: it is nested more than {MAX_DEPTH} levels deep.")
    check = _Check(columns)
    kind = check.kind(expression)
    if kind != "boolean":
        raise BadOption(f"filter: the whole is a {kind}, not a condition.", "For example: height > 30")
    return Filter(expression, columns, tuple(sorted(check.read)), check.spatial, _box(expression))


def _parsed(text: str, language: str) -> Any:
    """CQL2 JSON. The parser descends once a bracket and ends the process when its stack is full, so it gets a large one."""

    def work() -> Any:
        try:
            return (cql2.parse_json if language == "cql2-json" else cql2.parse_text)(text).to_json()
        except Exception as error:
            said = " ".join(str(error).split())[:300]
            raise BadOption(f"filter: this is no {language}: {said}.", f"For example: {_EXAMPLES[language]}") from error

    with _stack:
        before = threading.stack_size(STACK)
        try:
            pool = ThreadPoolExecutor(1, thread_name_prefix="cql2")
            future = pool.submit(work)
        finally:
            threading.stack_size(before)
    with pool:
        return future.result()


def _depth(node: Any) -> int:
    """Levels of nesting, counted without recursion."""
    deepest, stack = 0, [(node, 1)]
    while stack:
        one, depth = stack.pop()
        deepest = max(deepest, depth)
        members = one.values() if isinstance(one, dict) else one if isinstance(one, list) else ()
        stack.extend((member, depth + 1) for member in members)
    return deepest


# --- checking ----------------------------------------------------------------------------------------------------------


class _Check:
    """Walks a filter once: what it reads, and whether every part fits its place."""

    def __init__(self, columns: dict[str, pa.DataType]) -> None:
        self.columns = columns
        self.read: set[str] = set()
        self.spatial = False

    def kind(self, node: Any) -> str:
        match node:
            case bool():
                return "boolean"
            case int() | float():
                if abs(node) > _EXACT:
                    raise BadOption(f"filter: the number {node:g} is too large to be exact (2^53).")
                return "number"
            case str():
                return "text"
            case list():
                for member in node:
                    self.kind(member)
                return "array"
            case {"property": str(name)}:
                return self._property(name)
            case {"date": str(text)} | {"timestamp": str(text)}:
                instant(text)
                return "instant"
            case {"interval": [first, last]}:
                for end in (first, last):
                    if isinstance(end, str):
                        if end not in ("..", ""):
                            instant(end)
                    else:
                        self._expect(end, "instant", "text", where="interval")
                return "interval"
            case {"bbox": list()} | {"type": str()}:
                geometry(node)
                return "geometry"
            case {"op": str(op), "args": list(arguments)}:
                return self._operation(op.lower(), arguments)
        raise BadOption(f"filter: {str(node)[:80]} is not supported.")

    def _property(self, name: str) -> str:
        if name == GEOMETRY and GEOMETRY not in self.columns:
            self.spatial = True
            return "geometry"
        if name not in self.columns:
            raise BadOption(f"filter: there is no property {name!r}.", f"There are: {', '.join([GEOMETRY, *self.columns])}.")
        self.read.add(name)
        kind = kind_of(self.columns[name])
        if kind == "other":
            raise BadOption(f"filter: property {name!r} is of a type ({self.columns[name]}) that filters cannot compare.")
        return kind

    def _expect(self, node: Any, *kinds: str, where: str) -> str:
        kind = self.kind(node)
        if kind not in kinds:
            raise BadOption(f"filter: {where} takes {' or '.join(kinds)}, not a {kind} ({str(node)[:60]}).")
        return kind

    def _operation(self, op: str, arguments: list[Any]) -> str:
        self._arity(op, len(arguments))
        if op in ("and", "or", "not"):
            for argument in arguments:
                self._expect(argument, "boolean", where=op.upper())
        elif op in COMPARE or op == "between":
            kinds = [self._expect(a, "number", "text", "boolean", "instant", where=op) for a in arguments]
            self._same(kinds, op)
        elif op == "in":
            if not isinstance(arguments[1], list):
                raise BadOption("filter: IN takes a list of values in brackets.")
            self._same([self._expect(a, "number", "text", "boolean", "instant", where="IN") for a in [arguments[0], *arguments[1]]], op)
        elif op == "isnull":
            self.kind(arguments[0])
        elif op == "like":
            for argument in arguments:
                self._expect(argument, "text", where="LIKE")
            if not isinstance(_plain(arguments[1]), str):
                raise BadOption("filter: LIKE takes a pattern in quotes.")
        elif op in FUNCTIONS:
            self._expect(arguments[0], "text", where=op.upper())
            return "text"
        elif op in ARITHMETIC:
            for argument in arguments:
                self._expect(argument, "number", where=op)
            return "number"
        elif op in SPATIAL:
            for argument in arguments:
                self._expect(argument, "geometry", where=op.upper())
        elif op in TEMPORAL:
            for argument in arguments:
                self._expect(argument, "instant", "interval", "text", where=op.upper())
        else:  # _arity knows no other
            for argument in arguments:
                self._expect(argument, "array", where=op.upper())
        return "boolean"

    def _arity(self, op: str, given: int) -> None:
        two = [*COMPARE, "in", "like", *ARITHMETIC, *SPATIAL, *TEMPORAL, *ARRAY]
        wanted = {"between": 3, "not": 1, "isnull": 1, "casei": 1, "accenti": 1, **dict.fromkeys(two, 2)}
        if op in ("and", "or"):
            if given < 2:
                raise BadOption(f"filter: {op.upper()} joins two conditions or more.")
        elif op not in wanted:
            raise BadOption(f"filter: there is no operator or function {op!r}.", f"There are: and, or, {', '.join(wanted)}.")
        elif given != wanted[op]:
            raise BadOption(f"filter: {op.upper()} takes {wanted[op]} values, not {given}.")

    @staticmethod
    def _same(kinds: list[str], op: str) -> None:
        found = set(kinds)
        if len(found) > 1 and found != {"text", "instant"}:  # sources often hold times as text
            raise BadOption(f"filter: {op} compares a {kinds[0]} with a {next(k for k in kinds if k != kinds[0])}.")


def _plain(node: Any) -> Any:
    """The text inside CASEI/ACCENTI of a constant."""
    while isinstance(node, dict) and str(node.get("op")).lower() in FUNCTIONS:
        node = node["args"][0]
    return node


def _box(node: Any) -> Bounds | None:
    """Where every match must touch, from the predicates that are joined by AND."""
    match node:
        case {"op": str(op), "args": [{"property": "geometry"}, dict(other)]} | {"op": str(op), "args": [dict(other), {"property": "geometry"}]}:
            if op.lower() in NEAR and ("bbox" in other or "type" in other):
                west, south, east, north = (float(v) for v in geometry(other).bounds)
                return Bounds(max(west, -180.0), max(south, -90.0), min(east, 180.0), min(north, 90.0))
        case {"op": str(op), "args": list(arguments)} if op.lower() == "and":
            boxes = [box for box in map(_box, arguments) if box is not None]
            return min(boxes, key=lambda b: (b.maxx - b.minx) * (b.maxy - b.miny)) if boxes else None
    return None


