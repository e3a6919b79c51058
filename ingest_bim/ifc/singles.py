"""Property single values and quantities read from the file's text: nearly all of nearly all models are such, and the parser takes five times as long.

Only what can be read in one way is read here: texts without escapes but those of letters, numbers with a decimal point, whole numbers of 64 bits, booleans, no value at all.
Everything else is left to the parser, which also says once how each measure's name is spelled.

Instances of a class are read many at a time, by one search through all of their texts.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from ingest_bim.ifc.step_access import DAMAGED
from ingest_bim.ifc.step_scan import StepText
from ingest_bim.ifc.units import Units
from ingest_bim.ifc.values import Value, value_of

Members = tuple[str, bytes, bool]
"""(name, names of its members as they are written, whether they are quantities)."""
Found = tuple[dict[bytes, int], list[tuple[bytes, ...]]]
"""Different texts of values with the name of one that is written so, and what `_each` finds in each."""
BLOCK = 1024
"""Values that are read at a time."""
AHEAD = 256
"""Blocks of a class that are found ahead of the parser: what is found takes some 70 MB, more than the values that are made of it."""
LONG = 1 << 63
"""A whole number from which on the parser takes it for a real one."""


def _texts(pattern: bytes) -> re.Pattern[bytes]:
    """Finds in texts that end in a zero byte each the pattern, or (with empty groups) a text that is otherwise."""
    return re.compile(rb"(?:" + pattern + rb")\0|[^\0]*+\0")


_TEXT = rb"'[^'\0]*+'"
#: What every object of IFC begins with: GlobalId, owner, then (captured) its name and (not) its description.
_ROOT = rb"\s*+" + _TEXT + rb"\s*+,\s*+(?:\$|#\d++)\s*+,\s*+(?:\$|'([^'\0]*+)')\s*+,\s*+(?:\$|" + _TEXT + rb")\s*+,\s*+"
_NAMES = rb"\(\s*+(#\d++(?:\s*+,\s*+#\d++)*+)\s*+\)\s*+"
_RELATION = _texts(_ROOT + _NAMES + rb",\s*+#(\d++)\s*+\)\s*+")
_SETS = {b"IFCPROPERTYSET": _texts(_ROOT + _NAMES + rb"\)\s*+"), b"IFCELEMENTQUANTITY": _texts(_ROOT + rb"(?:\$|" + _TEXT + rb")\s*+,\s*+" + _NAMES + rb"\)\s*+")}
_REAL = rb"(-?\d++\.\d*+(?:E[-+]?\d++)?)"
#: Name, description, measure and value (or none), unit (ISO 10303-21:2016, 5.3 and 10).
_SINGLE = _texts(
    rb"\s*+'([^'\0]*+)'\s*+,\s*+(?:\$|" + _TEXT + rb")\s*+,\s*+(?:([A-Z0-9]++)\s*+\(\s*+(?:'([^'\0]*+)'|" + _REAL + rb"|(-?\d{1,19}+)|\.([TF])\.)\s*+\)|(\$))\s*+,\s*+(?:\$|#(\d++))\s*+\)\s*+"
)
#: Name, description, unit, value and perhaps a formula.
_SIZE = _texts(
    rb"\s*+'([^'\0]*+)'\s*+,\s*+(?:\$|" + _TEXT + rb")\s*+,\s*+(?:\$|#(\d++))\s*+,\s*+" + _REAL + rb"\s*+(?:,\s*+(?:\$|" + _TEXT + rb")\s*+)?\)\s*+"
)
#: Quantities whose value is a real number, and what it measures. (A count is an integer in some schemas: the parser says which.)
_MEASURES = {b"IFCQUANTITYLENGTH": "IfcLengthMeasure", b"IFCQUANTITYAREA": "IfcAreaMeasure", b"IFCQUANTITYVOLUME": "IfcVolumeMeasure",
             b"IFCQUANTITYWEIGHT": "IfcMassMeasure", b"IFCQUANTITYTIME": "IfcTimeMeasure"}  # fmt: skip
_PROPERTY = b"IFCPROPERTYSINGLEVALUE"
#: Letters of 16 bits (Chinese), and of 8 (umlauts: ISO 8859-1) (ISO 10303-21:2016, 6.4.3).
_LETTERS = re.compile(rb"\\X2\\((?:[0-9A-F]{4})++)\\X0\\|\\X\\([0-9A-F]{2})")


class Singles:
    """Single values of one model by name.

    Attributes:
        entity, units: the parser's instance of a name, and the model's units, once there is a model.
    """

    entity: Callable[[int], Any]
    units: Units

    def __init__(self, text: StepText) -> None:
        self.rows, self.kinds = text.rows, text.kinds
        self._measures: dict[bytes, str] = {}
        self._titles: dict[bytes, str | None] = {}
        self._relations: Mapping[int, list[int]] | None = None
        self._members: dict[int, Members | None] = {}
        # blocks by class and first: what is found in their texts ahead of the parser, and which are values
        self._found: dict[tuple[bytes, int], Found] = {}
        self._done: set[tuple[bytes, int]] = set()
        # by class: what is made of a text
        self._made: dict[bytes, dict[bytes, Value | None]] = defaultdict(dict)
        # for property sets and for quantity sets: by name
        self._values: tuple[dict[int, Value | None], dict[int, Value | None]] = ({}, {})

    def read_ahead(self, done: Callable[[], bool]) -> None:
        """Read what the text alone says until something is `done` that is waited for (the parser's opening of the model)."""
        if done():
            return
        self._relations = self.relations()
        for kind in _SETS:
            if done():
                return
            self._read_sets(kind)
        for kind in (_PROPERTY, *_MEASURES):
            names = self.kinds.get(kind, ())
            for start in range(0, min(len(names), AHEAD * BLOCK), BLOCK):
                if done():
                    return
                self._found[kind, start] = self._find(kind, names[start : start + BLOCK])

    def relations(self) -> Mapping[int, list[int]] | None:
        """Definitions of each object that IfcRelDefinesByProperties names, in the parser's order (of their names); None where the text does not say all of them plainly."""
        if self._relations is not None:
            return self._relations
        # of two classes, or of one that is not written in capitals, the parser lists more
        if b"IFCRELOVERRIDESPROPERTIES" in self.kinds or not all(map(bytes.isupper, self.kinds)):
            return None
        found: dict[int, list[int]] = defaultdict(list)
        for one in self._related(sorted(self.kinds.get(b"IFCRELDEFINESBYPROPERTIES", ()))):
            if one is None:
                return None
            objects, definition = one
            for name in objects:
                found[name].append(definition)
        return found

    def relation(self, name: int) -> tuple[list[int], int] | None:
        """(objects, definition) of an IfcRelDefinesByProperties; None where the text does not say it plainly."""
        return next(self._related((name,))) if self._kind(name) == b"IFCRELDEFINESBYPROPERTIES" else None

    def _related(self, names: Sequence[int]) -> Iterator[tuple[list[int], int] | None]:
        rows = self.rows
        for _, written, target in _each(_RELATION, [rows[name][1] for name in names]):
            objects, definition = (numbers(written), int(target)) if written else ([], 0)
            yield (objects, definition) if definition in rows and all(map(rows.__contains__, objects)) else None

    def members(self, definition: int) -> Members | None:
        """Of an IfcPropertySet or IfcElementQuantity; None where the text does not say it plainly."""
        if definition not in self._members:
            kind = self._kind(definition)
            if kind not in _SETS:
                return None
            self._read_sets(kind)
        return self._members[definition]

    def _read_sets(self, kind: bytes) -> None:
        """All sets of a class at once: nearly all of a model are asked for."""
        names, sizes = self.kinds.get(kind, ()), kind == b"IFCELEMENTQUANTITY"
        for name, (label, written) in zip(names, _each(_SETS[kind], [self.rows[name][1] for name in names]), strict=True):
            title = self._title(label) if label else None
            self._members[name] = None if title is None or not written else (title, written, sizes)

    def of(self, names: Sequence[int], *, sizes: bool) -> list[Value | None]:
        """Properties (or quantities: `sizes`) of one set; None for each that is not a plain single value."""
        known = self._values[sizes]
        for name in names:
            if name not in known:
                self._learn(name, known, sizes)
        return list(map(known.__getitem__, names))

    def _learn(self, name: int, known: dict[int, Value | None], sizes: bool) -> None:
        """Make a value, and with it those that stand about it in the file, where that is not done yet."""
        kind = self._kind(name)
        if kind not in (_MEASURES if sizes else (_PROPERTY,)):
            known[name] = None
            return
        names = self.kinds[kind]
        start = max(bisect_right(names, name) - 1, 0) // BLOCK * BLOCK
        if (kind, start) not in self._done:
            self._done.add((kind, start))
            self._make(kind, names[start : start + BLOCK], self._found.pop((kind, start), None), known)
        if name not in known:  # the file's names are in no order
            self._make(kind, [name], None, known)

    def _make(self, kind: bytes, names: Sequence[int], found: Found | None, known: dict[int, Value | None]) -> None:
        made, value = self._made[kind], self._property if kind == _PROPERTY else self._quantity
        texts, groups = self._find(kind, names) if found is None else found
        for (text, name), each in zip(texts.items(), groups, strict=True):
            if text not in made:  # many exporters write one property for every element again
                try:
                    made[text] = value(name, each)
                except DAMAGED:  # the parser says it where it is read
                    made[text] = None
        known.update({name: made[self.rows[name][1]] for name in names})

    def _find(self, kind: bytes, names: Sequence[int]) -> Found:
        rows, made = self.rows, self._made[kind]
        texts = {text: name for name in names if (text := rows[name][1]) not in made}
        return texts, _each(_SINGLE if kind == _PROPERTY else _SIZE, list(texts))

    def _property(self, name: int, groups: tuple[bytes, ...]) -> Value | None:
        label, measure, letters, number, whole, logical, absent, unit = groups
        title = self._titles.get(label) or self._title(label)
        if title is None or not (measure or absent) or bool(logical) != (measure == b"IFCBOOLEAN"):  # the parser says what an IFCLOGICAL is
            return None
        if absent:
            return Value(title, None, None, "", None, "", "", None)
        kind = self._measures.get(measure)
        if kind is None:
            kind = self._measures[measure] = str(self.entity(name).get_argument(2).is_a())
        if not number and not whole and not logical:
            text = letters.decode("ascii") if b"\\" not in letters else decoded(letters)
            return Value(title, text, None, "", None, "", kind, text) if text is not None else None
        raw = float(number) if number else int(whole) if whole else logical == b"T"
        if whole and (measure != b"IFCINTEGER" or not -LONG <= raw < LONG):
            return None
        return value_of(title, raw, kind, self.units.own(self.entity(int(unit))) if unit else self.units.of_measure(kind))

    def _quantity(self, name: int, groups: tuple[bytes, ...]) -> Value | None:
        label, unit, number = groups
        title, kind = self._title(label), _MEASURES[self.rows[name][0]]
        if title is None or not number:
            return None
        return value_of(title, float(number), kind, self.units.own(self.entity(int(unit))) if unit else self.units.of_measure(kind))

    def _kind(self, name: int) -> bytes:
        row = self.rows.get(name)
        return row[0] if row is not None else b""

    def _title(self, label: bytes) -> str | None:
        """Of the few names that there are."""
        if label not in self._titles:
            self._titles[label] = decoded(label)
        return self._titles[label]


def _each(pattern: re.Pattern[bytes], texts: Sequence[bytes]) -> list[tuple[bytes, ...]]:
    """The groups of a pattern in each text, b"" for each of a text that is otherwise."""
    if not texts:
        return []
    joined = b"\0".join(texts)
    if joined.count(b"\0") >= len(texts):  # in one of them, where no file should have it
        joined = b"\0".join([text if b"\0" not in text else b"" for text in texts])
    return pattern.findall(joined + b"\0")


def numbers(written: bytes) -> list[int]:
    """Names of instances, as they are written between parentheses."""
    if b"," not in written:
        return [int(written[1:])]
    return list(map(int, written.replace(b"#", b"").split(b",")))


def decoded(written: bytes) -> str | None:
    """A text between its quotes; None where it has escapes other than those of letters of 16 and of 8 bits (or pairs of these that make one letter)."""
    if b"\\" not in written:
        return written.decode("ascii")
    pieces = _LETTERS.split(written)
    if b"\\" in b"".join(pieces[::3]):
        return None
    texts = [
        plain.decode("ascii") + bytes.fromhex((wide or b"").decode()).decode("utf-16-be", "surrogatepass") + bytes.fromhex((narrow or b"").decode()).decode("latin-1")
        for plain, wide, narrow in zip(pieces[::3], [*pieces[1::3], None], [*pieces[2::3], None], strict=True)
    ]
    text = "".join(texts)
    # the parser ends a text at a zero
    return None if any("\ud800" <= letter <= "\udfff" or letter > "\uffff" or letter == "\0" for letter in text) else text
