"""Property single values and quantities read from the file's text: nearly all of nearly all models are such, and the parser takes three times as long.

Only what can be read in one way is read here: texts without escapes but those of 16-bit letters, numbers with a decimal point, booleans. Everything else is
left to the parser, which also says once how each measure's name is spelled.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from ingest_bim.step_scan import StepText

Single = tuple[str, Any, str, int]
"""(name, value, measure, name of the unit's instance or 0)."""
Plain = tuple[str, Any, bytes, int]
"""The same, with the measure as it is written."""
Members = tuple[str, bytes, bool]
"""(name, names of its members as they are written, whether they are quantities)."""
#: What every object of IFC begins with: GlobalId, owner, then (captured) its name and (not) its description.
_ROOT = rb"\s*+'[^']*+'\s*+,\s*+(?:\$|#\d++)\s*+,\s*+(?:\$|'([^']*+)')\s*+,\s*+(?:\$|'[^']*+')\s*+,\s*+"
_NAMES = rb"\(\s*+(#\d++(?:\s*+,\s*+#\d++)*+)\s*+\)\s*+"
_RELATION = re.compile(_ROOT + _NAMES + rb",\s*+#(\d++)\s*+\)\s*+")
_SETS = {b"IFCPROPERTYSET": re.compile(_ROOT + _NAMES + rb"\)\s*+"), b"IFCELEMENTQUANTITY": re.compile(_ROOT + rb"(?:\$|'[^']*+')\s*+,\s*+" + _NAMES + rb"\)\s*+")}
#: Name, description, measure and value, unit (ISO 10303-21:2016, 5.3 and 10).
_SINGLE = re.compile(rb"\s*+'([^']*+)'\s*+,\s*+(?:\$|'[^']*+')\s*+,\s*+([A-Z0-9]++)\s*+\(\s*+(?:'([^']*+)'|(-?\d++\.\d*+(?:E[-+]?\d++)?)|\.([TF])\.)\s*+\)\s*+,\s*+(?:\$|#(\d++))\s*+\)\s*+")
#: Name, description, unit, value and perhaps a formula.
_SIZE = re.compile(rb"\s*+'([^']*+)'\s*+,\s*+(?:\$|'[^']*+')\s*+,\s*+(?:\$|#(\d++))\s*+,\s*+(-?\d++\.\d*+(?:E[-+]?\d++)?)\s*+(?:,\s*+(?:\$|'[^']*+')\s*+)?\)\s*+")
#: Quantities whose value is a real number, and what it measures. (A count is an integer in some schemas: the parser says which.)
_MEASURES = {b"IFCQUANTITYLENGTH": "IfcLengthMeasure", b"IFCQUANTITYAREA": "IfcAreaMeasure", b"IFCQUANTITYVOLUME": "IfcVolumeMeasure",
             b"IFCQUANTITYWEIGHT": "IfcMassMeasure", b"IFCQUANTITYTIME": "IfcTimeMeasure"}  # fmt: skip
#: Letters of 16 bits (ISO 10303-21:2016, 6.4.3): Chinese, umlauts.
_WIDE = re.compile(rb"\\X2\\((?:[0-9A-F]{4})++)\\X0\\")


class Singles:
    """Single values of one model by name; `entity` gives the parser's instance of a name, once there is one."""

    entity: Callable[[int], Any]

    def __init__(self, text: StepText) -> None:
        self.rows, self.kinds = text.rows, text.kinds
        self._measures: dict[bytes, str] = {}
        self._titles: dict[bytes, str | None] = {}
        self._relations: list[tuple[list[int], int]] | None = None
        self._members: dict[int, Members | None] = {}
        self._plain: dict[int, Plain | None] = {}

    def read_ahead(self, done: Callable[[], bool]) -> None:
        """Read what the text alone says until something is `done` that is waited for (the parser's opening of the model)."""
        if done():
            return
        self._relations = self.relations()
        for kind in _SETS:
            for at, name in enumerate(self.kinds.get(kind, ())):
                if at % 256 == 0 and done():
                    return
                self._members[name] = self.members(name)
        for at, name in enumerate(self.kinds.get(b"IFCPROPERTYSINGLEVALUE", ())):
            if at % 256 == 0 and done():
                return
            self._plain[name] = self.plain(name)

    def relations(self) -> list[tuple[list[int], int]] | None:
        """`relation` of all that there are, in the parser's order (of their names); None where the text does not say all of them plainly."""
        if self._relations is not None:
            return self._relations
        # of two classes, or of one that is not written in capitals, the parser lists more
        if b"IFCRELOVERRIDESPROPERTIES" in self.kinds or not all(map(bytes.isupper, self.kinds)):
            return None
        found = [self.relation(name) for name in sorted(self.kinds.get(b"IFCRELDEFINESBYPROPERTIES", ()))]
        plain = [one for one in found if one is not None]
        return plain if len(plain) == len(found) else None

    def relation(self, name: int) -> tuple[list[int], int] | None:
        """(objects, definition) of an IfcRelDefinesByProperties; None where the text does not say it plainly."""
        kind, text = self.rows.get(name, (b"", b""))
        found = _RELATION.fullmatch(text) if kind == b"IFCRELDEFINESBYPROPERTIES" else None
        if found is None:
            return None
        objects, definition = numbers(found[2]), int(found[3])
        return (objects, definition) if self.rows.keys() >= {definition, *objects} else None

    def members(self, definition: int) -> Members | None:
        """Of an IfcPropertySet or IfcElementQuantity; None where the text does not say it plainly."""
        if definition in self._members:
            return self._members[definition]
        kind, text = self.rows.get(definition, (b"", b""))
        pattern = _SETS.get(kind)
        found = pattern.fullmatch(text) if pattern is not None else None
        name = decoded(found[1]) if found is not None and found[1] else None
        return (name, found[2], kind == b"IFCELEMENTQUANTITY") if found is not None and name is not None else None

    def of(self, name: int) -> Single | None:
        """An IfcPropertySingleValue; None where it is none, or not a plain one."""
        found = self._plain[name] if name in self._plain else self.plain(name)
        if found is None:
            return None
        title, value, measure, unit = found
        spelled = self._measures.get(measure)
        if spelled is None:
            spelled = self._measures[measure] = str(self.entity(name).get_argument(2).is_a())
        return title, value, spelled, unit

    def plain(self, name: int) -> Plain | None:
        """`of`, with the measure as it is written."""
        kind, text = self.rows.get(name, (b"", b""))
        found = _SINGLE.fullmatch(text) if kind == b"IFCPROPERTYSINGLEVALUE" else None
        if found is None:
            return None
        label, measure, letters, number, logical, unit = found.groups()
        if (logical is not None) != (measure == b"IFCBOOLEAN"):
            return None  # the parser says what an IFCLOGICAL is
        title = self._titles.get(label) or self._title(label)
        value: Any = decoded(letters) if letters is not None else float(number) if number is not None else logical == b"T"
        return (title, value, measure, int(unit or 0)) if title is not None and value is not None else None

    def size(self, name: int) -> Single | None:
        """A quantity; None where it is none, or not a plain one."""
        kind, text = self.rows.get(name, (b"", b""))
        measure = _MEASURES.get(kind)
        found = _SIZE.fullmatch(text) if measure is not None else None
        if found is None or measure is None:
            return None
        label, unit, number = found.groups()
        title = self._title(label)
        return (title, float(number), measure, int(unit or 0)) if title is not None else None

    def _title(self, label: bytes) -> str | None:
        """Of the few names that there are."""
        if label not in self._titles:
            self._titles[label] = decoded(label)
        return self._titles[label]


def numbers(written: bytes) -> list[int]:
    """Names of instances, as they are written between parentheses."""
    return list(map(int, written.replace(b"#", b"").split(b",")))


def decoded(written: bytes) -> str | None:
    """A text between its quotes; None where it has escapes other than those of 16-bit letters (or pairs of these that make one letter)."""
    if b"\\" not in written:
        return written.decode("ascii")
    pieces = _WIDE.split(written)
    if b"\\" in b"".join(pieces[::2]):
        return None
    texts = [piece.decode("ascii") if at % 2 == 0 else bytes.fromhex(piece.decode("ascii")).decode("utf-16-be", "surrogatepass") for at, piece in enumerate(pieces)]
    text = "".join(texts)
    return None if any("\ud800" <= letter <= "\udfff" or letter > "\uffff" for letter in text) else text
