"""Property single values and quantities read from the file's text: nearly all of nearly all models are such, and the parser takes three times as long.

Only what can be read in one way is read here: texts without escapes, numbers with a decimal point, booleans. Everything else is left to
the parser, which also says once how each measure's name is spelled.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from ingest_bim.step_scan import StepText

Single = tuple[str, Any, str, int]
"""(name, value, measure, name of the unit's instance or 0)."""
#: Name, description, measure and value, unit (ISO 10303-21:2016, 5.3 and 10).
_SINGLE = re.compile(rb"\s*+'([^'\\]*+)'\s*+,\s*+(?:\$|'[^']*+')\s*+,\s*+([A-Z0-9]++)\s*+\(\s*+(?:'([^'\\]*+)'|(-?\d++\.\d*+(?:E[-+]?\d++)?)|\.([TF])\.)\s*+\)\s*+,\s*+(?:\$|#(\d++))\s*+\)\s*+")
#: Name, description, unit, value and perhaps a formula.
_SIZE = re.compile(rb"\s*+'([^'\\]*+)'\s*+,\s*+(?:\$|'[^']*+')\s*+,\s*+(?:\$|#(\d++))\s*+,\s*+(-?\d++\.\d*+(?:E[-+]?\d++)?)\s*+(?:,\s*+(?:\$|'[^']*+')\s*+)?\)\s*+")
#: Quantities whose value is a real number, and what it measures. (A count is an integer in some schemas: the parser says which.)
_MEASURES = {b"IFCQUANTITYLENGTH": "IfcLengthMeasure", b"IFCQUANTITYAREA": "IfcAreaMeasure", b"IFCQUANTITYVOLUME": "IfcVolumeMeasure",
             b"IFCQUANTITYWEIGHT": "IfcMassMeasure", b"IFCQUANTITYTIME": "IfcTimeMeasure"}  # fmt: skip
_SETS = (b"IFCPROPERTYSET", b"IFCELEMENTQUANTITY")
_SET = re.compile(rb".*\(([#\d,\s]*)\)\s*\)\s*", re.DOTALL)
_REFERENCE = re.compile(rb"#(\d++)")


class Singles:
    """Single values of one model by name; `entity` gives the parser's instance of a name."""

    def __init__(self, text: StepText, entity: Callable[[int], Any]) -> None:
        self.rows, self.entity = text.rows, entity
        self._measures: dict[bytes, str] = {}

    def members(self, definition: int) -> list[int] | None:
        """Names of the properties or quantities of an IfcPropertySet or IfcElementQuantity; None where the text does not say it plainly."""
        kind, text = self.rows.get(definition, (b"", b""))
        found = _SET.fullmatch(text) if kind in _SETS else None
        return [int(name) for name in _REFERENCE.findall(found[1])] if found else None

    def of(self, name: int) -> Single | None:
        """An IfcPropertySingleValue; None where it is none, or not a plain one."""
        kind, text = self.rows.get(name, (b"", b""))
        found = _SINGLE.fullmatch(text) if kind == b"IFCPROPERTYSINGLEVALUE" else None
        if found is None:
            return None
        label, measure, letters, number, logical, unit = found.groups()
        if (logical is not None) != (measure == b"IFCBOOLEAN"):
            return None  # the parser says what an IFCLOGICAL is
        value: Any = letters.decode("ascii") if letters is not None else float(number) if number is not None else logical == b"T"
        spelled = self._measures.get(measure)
        if spelled is None:
            spelled = self._measures[measure] = str(self.entity(name).get_argument(2).is_a())
        return label.decode("ascii"), value, spelled, int(unit or 0)

    def size(self, name: int) -> Single | None:
        """A quantity; None where it is none, or not a plain one."""
        kind, text = self.rows.get(name, (b"", b""))
        measure = _MEASURES.get(kind)
        found = _SIZE.fullmatch(text) if measure is not None else None
        if found is None or measure is None:
            return None
        label, unit, number = found.groups()
        return label.decode("ascii"), float(number), measure, int(unit or 0)
