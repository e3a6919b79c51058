"""Where products stand and what represents them, read from the file's text: the parser takes 5 µs an instance, and a product leads through ten of them.

Only what the text says in one way is read here; whatever is written otherwise is asked of the parser, with the same result.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ingest_bim.ifc.frames import local_matrix, turned
from ingest_bim.ifc.step_access import attribute, supertypes
from ingest_bim.ifc.step_scan import StepText

F64 = NDArray[np.float64]
Three = tuple[float, float, float]
#: Identifiers of representations that are no bodies.
NOT_BODY = ("Axis", "FootPrint", "Box", "Annotation", "CoG", "Profile", "Clearance", "Lighting", "Plan")

_TEXT = rb"(?:\$|'[^']*+')"
_NAMES = rb"\(\s*+(#\d++(?:\s*+,\s*+#\d++)*+)\s*+\)"
#: GlobalId, owner, name, description, object type, then (captured) placement and representation: so begins every IfcProduct.
_PRODUCT = re.compile(rb"\s*+'[^']*+'\s*+,\s*+(?:\$|#\d++)\s*+,\s*+" + (_TEXT + rb"\s*+,\s*+") * 3 + rb"(?:\$|#(\d++))\s*+,\s*+(?:\$|#(\d++))\s*+[,)]")
_DEFINITION = re.compile(rb"\s*+" + _TEXT + rb"\s*+,\s*+" + _TEXT + rb"\s*+,\s*+" + _NAMES + rb"\s*+\)\s*+")
_PART = re.compile(rb"\s*+(?:\$|#(\d++))\s*+,\s*+(?:\$|'([^'\\]*+)')\s*+,\s*+" + _TEXT + rb"\s*+,\s*+" + _NAMES + rb"\s*+\)\s*+")
_LOCAL = re.compile(rb"\s*+(?:\$|#(\d++))\s*+,\s*+#(\d++)\s*+\)\s*+")
_AXES = re.compile(rb"\s*+#(\d++)\s*+,\s*+(?:\$|#(\d++))\s*+,\s*+(?:\$|#(\d++))\s*+\)\s*+")
_REAL = rb"\s*+(-?\d++\.\d*+(?:E[-+]?\d++)?)\s*+"
_THREE = re.compile(rb"\s*+\(" + _REAL + rb"," + _REAL + rb"," + _REAL + rb"\)\s*+\)\s*+")


class Part(NamedTuple):
    """One representation of a product: its name, its context's name (0: none), its identifier, the names of its items."""

    name: int
    context: int
    identifier: str | None
    items: list[int]


class Products:
    """Products of one model by step id; `text` is None where the file is too large to be looked through."""

    def __init__(self, model: Any, text: StepText | None) -> None:
        self.model, self.rows = model, text.rows if text is not None else {}
        self.cut = bool(model.by_type("IfcRelVoidsElement"))
        self._named: dict[int, tuple[int, int]] = {}
        self._written: dict[int, list[Part] | None] = {}
        self._bodies: dict[int, list[Part]] = {}
        self._mapped: dict[int, int] = {}
        self._worlds: dict[int, F64 | None] = {}
        self._turns: dict[tuple[int, int], tuple[Three, Three, Three] | None] = {}
        self._kinds: dict[bytes, str] = {}
        self._above: dict[bytes, frozenset[str]] = {}

    def named(self, step: int) -> tuple[int, int]:
        """The names of a product's placement and representation, 0 for none."""
        found = self._named.get(step)
        if found is None:
            written = _PRODUCT.match(self.rows[step][1]) if step in self.rows else None
            found = (int(written[1] or 0), int(written[2] or 0)) if written is not None else (0, 0)
            if written is None or (found[0] and found[0] not in self.rows) or (found[1] and found[1] not in self.rows):
                entity = self.model.by_id(step)
                places = attribute(entity, "ObjectPlacement"), attribute(entity, "Representation")
                found = (places[0].id() if places[0] is not None else 0, places[1].id() if places[1] is not None else 0)
            self._named[step] = found
        return found

    def bodies(self, step: int) -> list[Part]:
        """The representations of a product that may be bodies. Raises what the parser does where they are damaged."""
        found = self._bodies.get(step)
        if found is None:
            written = self.written(step)
            found = self._bodies[step] = self._read_bodies(step) if written is None else [part for part in written if part.identifier not in NOT_BODY]
        return found

    def written(self, step: int) -> list[Part] | None:
        """All representations of a product; None where the text does not say them plainly."""
        if step not in self._written:
            name = self.named(step)[1]
            self._written[step] = self._parts(name) if name else []
        return self._written[step]

    def _parts(self, name: int) -> list[Part] | None:
        kind, text = self.rows.get(name, (b"", b""))
        listed = _DEFINITION.fullmatch(text) if kind == b"IFCPRODUCTDEFINITIONSHAPE" else None
        if listed is None:
            return None
        parts: list[Part] = []
        for one in _names(listed[1]):
            kind, text = self.rows.get(one, (b"", b""))
            found = _PART.fullmatch(text) if kind == b"IFCSHAPEREPRESENTATION" else None
            if found is None:
                return None
            context, identifier, items = int(found[1] or 0), found[2], _names(found[3])
            if not (identifier is None or identifier.isascii()) or (context and context not in self.rows) or not all(map(self.rows.__contains__, items)):
                return None
            parts.append(Part(one, context, None if identifier is None else identifier.decode(), items))
        return parts

    def _read_bodies(self, step: int) -> list[Part]:
        # IfcRepresentation: context, identifier, type, items, by position
        representation = attribute(self.model.by_id(step), "Representation")
        parts = [part for part in attribute(representation, "Representations", ()) if part.get_argument(1) not in NOT_BODY]
        found = [(part.id(), part.get_argument(0), part.get_argument(1), part.get_argument(3)) for part in parts]
        return [Part(name, context.id() if context is not None else 0, identifier, [item.id() for item in items or ()]) for name, context, identifier, items in found]

    def mapped(self, item: int) -> int:
        """The name of the representation that an IfcMappedItem uses."""
        if item not in self._mapped:
            self._mapped[item] = self.model.by_id(item).get_argument(0).get_argument(1).id()
        return self._mapped[item]

    def kind(self, name: int) -> str:
        """The class of an instance, as the schema spells it."""
        row = self.rows.get(name)
        if row is None:
            return str(self.model.by_id(name).is_a())
        spelled = self._kinds.get(row[0])
        if spelled is None:
            spelled = self._kinds[row[0]] = str(self.model.by_id(name).is_a())
        return spelled

    def above(self, name: int) -> frozenset[str]:
        """The class of an instance and all above it."""
        kind = self.rows.get(name, (b"", b""))[0]
        found = self._above.get(kind)
        if found is None:
            found = supertypes(self.model.by_id(name).is_a(True))
            if kind:
                self._above[kind] = found
        return found

    def first(self, name: int) -> int:
        """The name that an instance refers to first, 0 where its text does not begin with one."""
        head = self.rows[name][1].partition(b",")[0].strip() if name in self.rows else b""
        return int(head[1:]) if head[:1] == b"#" and head[1:].isdigit() and int(head[1:]) in self.rows else 0

    def world(self, placement: int) -> F64 | None:
        """(4, 4) world matrix of a chain of IfcLocalPlacement, in units of the file (`ingest_bim.ifc.frames.local_matrix`); None for cycles and for grid and linear placements."""
        known = self._worlds
        chain: dict[int, F64] = {}
        at = placement
        while at and at not in known:
            kind, text = self.rows.get(at, (b"", b""))
            found = _LOCAL.fullmatch(text) if kind == b"IFCLOCALPLACEMENT" and at not in chain else None
            own = self._axes(int(found[2])) if found is not None else None
            if found is None or own is None:
                return local_matrix(self.model.by_id(placement), known)
            chain[at] = own
            at = int(found[1] or 0)
        above = known[at] if at else np.eye(4)
        for name in reversed(chain):
            above = known[name] = None if above is None else above @ chain[name]
        return above

    def _axes(self, name: int) -> F64 | None:
        """`ingest_bim.ifc.frames.axis_matrix` of an IfcAxis2Placement3D; None where the text does not say it plainly."""
        kind, text = self.rows.get(name, (b"", b""))
        found = _AXES.fullmatch(text) if kind == b"IFCAXIS2PLACEMENT3D" else None
        point = self._three(int(found[1]), b"IFCCARTESIANPOINT") if found is not None else None
        if found is None or point is None:
            return None
        names = int(found[2] or 0), int(found[3] or 0)
        if names not in self._turns:
            z, x = (self._three(one, b"IFCDIRECTION") if one else None for one in names)
            self._turns[names] = turned(z, x) if all(one is not None or not name for one, name in zip((z, x), names, strict=True)) else None
        turn = self._turns[names]
        if turn is None:
            return None
        (a, b, c), (d, e, f), (g, h, i) = turn
        return np.array(((a, b, c, point[0]), (d, e, f, point[1]), (g, h, i, point[2]), (0.0, 0.0, 0.0, 1.0)))

    def _three(self, name: int, wanted: bytes) -> Three | None:
        kind, text = self.rows.get(name, (b"", b""))
        found = _THREE.fullmatch(text) if kind == wanted else None
        return (float(found[1]), float(found[2]), float(found[3])) if found is not None else None


def _names(written: bytes) -> list[int]:
    return list(map(int, written.replace(b"#", b"").split(b",")))
