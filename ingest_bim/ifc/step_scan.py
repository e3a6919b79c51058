"""The text of a STEP file by instance, and digests of what hangs below an instance: equal digests, equal content.

The parser has no bulk access (10 µs an attribute), and two shapes are equal exactly where their texts are, with every
reference replaced by what it refers to. Names (#123) change from export to export; contents mostly do not, so a digest
finds equal shapes within a model and in the model's last revision.
"""

from __future__ import annotations

import re
from array import array
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from hashlib import blake2b
from pathlib import Path

import numpy as np

#: One instance: name, class, attributes with the closing parenthesis. Possessive, so that a broken file costs linear time.
_INSTANCE = re.compile(rb"#(\d++)\s*+=\s*+([A-Za-z0-9_]++)\s*+\(([^';]*+(?:'[^']*+'[^';]*+)*+);")
_REFERENCE = re.compile(rb"#(\d++)")
_ABSENT = (b"absent", b"")
LARGE = 1 << 25
"""Bytes of a file from which on its instances are not held as objects, but looked up in the text."""
DIGITS = 18
"""Of a number that surely has no more than 63 bits."""
#: Texts without references up to this many bytes are their own digests.
SHORT = 64
#: What gives an instance its looks without being referred to by it: class → position of the attribute that points back.
BACKWARD = {b"IFCSTYLEDITEM": 0, b"IFCMATERIALDEFINITIONREPRESENTATION": 3, b"IFCINDEXEDCOLOURMAP": 0}


def _uncommented(data: bytes) -> bytes:
    """A STEP file with a space in the place of each comment; what stands in a text, so behind an odd number of quotes, is none."""
    kept: list[bytes] = []
    start = counted = 0
    inside, at = False, data.find(b"/*")
    while at >= 0:
        inside ^= bool(data.count(b"'", counted, at) & 1)
        counted, end = at, at + 2
        if not inside:
            end = data.find(b"*/", at + 2) + 2
            if end < 2:
                break
            kept.append(data[start:at])
            start = counted = end
        at = data.find(b"/*", end)
    return b" ".join([*kept, data[start:]])


class Spans(Mapping[int, tuple[bytes, bytes]]):
    """Instances by name as places in the text: sixteen bytes each.

    As objects they take three hundred (6 times the text), and in a fork of the process as much again: whoever looks at an object counts
    himself in it, and so copies its page. To look one up takes five times as long.

    Attributes:
        kinds: class, as it is written → names in file order.
    """

    def __init__(self, data: bytes) -> None:
        names, starts, ends, codes = array("q"), array("i"), array("i"), array("i")
        known: dict[bytes, int] = {}
        for found in _INSTANCE.finditer(data):
            name, kind, _ = found.groups()
            if len(name) > DIGITS and int(name) >= 1 << 63:
                continue  # nor does the parser find it
            start, end = found.span(3)
            names.append(int(name))
            codes.append(known.setdefault(kind, len(known)))
            starts.append(start)
            ends.append(end)
        self._data, self._starts, self._ends, self._codes, self._classes = data, starts, ends, codes, list(known)
        every, rows = np.array(names, np.int64), np.arange(len(names), dtype=np.int32)
        highest = int(every.max(initial=-1))
        self._at: Sequence[int] | dict[int, int]
        if highest < 8 * len(names) + 1024:
            at = np.full(highest + 1, -1, np.int32)
            at[every[::-1]] = rows[::-1]  # a name is written twice: the parser finds the first
            self._at, first = at.data, at[every] == rows
        else:  # few have names with gaps
            self._at = dict(zip(names[::-1], range(len(names) - 1, -1, -1), strict=True))
            first = np.fromiter(map(self._at.__getitem__, names), np.int32, len(names)) == rows
        self._count = int(first.sum())
        order = np.argsort(np.array(codes), kind="stable")
        order = order[first[order]]
        cuts = np.searchsorted(np.array(codes)[order], np.arange(len(known) + 1))
        self.kinds: dict[bytes, Sequence[int]] = {kind: array("q", every[order[a:b]].tobytes()) for kind, a, b in zip(known, cuts[:-1], cuts[1:], strict=True) if a < b}

    def _row(self, name: int) -> int:
        """Where an instance is found, −1 where there is none."""
        if isinstance(self._at, dict):
            return self._at.get(name, -1)
        return self._at[name] if name < len(self._at) else -1

    def __getitem__(self, name: int) -> tuple[bytes, bytes]:
        row = self._row(name)
        if row < 0:
            raise KeyError(name)
        return self._classes[self._codes[row]], self._data[self._starts[row] : self._ends[row]]

    def __contains__(self, name: object) -> bool:
        return isinstance(name, int) and self._row(name) >= 0

    def __iter__(self) -> Iterator[int]:
        for names in self.kinds.values():
            yield from names

    def __len__(self) -> int:
        return self._count


class StepText:
    """Instances of a STEP file by name.

    Attributes:
        rows: name → (class, attribute text).
        kinds: class, as it is written → names in file order.
    """

    rows: Mapping[int, tuple[bytes, bytes]]
    kinds: Mapping[bytes, Sequence[int]]

    def __init__(self, data: bytes) -> None:
        if b"/*" in data:
            data = _uncommented(data)
        if len(data) < LARGE:
            self.rows, self.kinds = _objects(data)
        else:
            self.rows = spans = Spans(data)
            self.kinds = spans.kinds
        self._digests: dict[bytes, bytes] = {}
        self._more: dict[int, list[int]] = defaultdict(list)
        for name in sorted(name for kind in BACKWARD for name in self.kinds.get(kind, ())):
            kind, text = self.rows[name]
            back = _REFERENCE.findall(text)
            # the styled item is the first reference of one kind and the last of the other
            if back and not (kind == b"IFCSTYLEDITEM" and text.lstrip().startswith(b"$")):
                self._more[int(back[BACKWARD[kind] and -1])].append(name)

    @classmethod
    def of(cls, path: Path) -> StepText:
        """Of a plain STEP file."""
        return cls(path.read_bytes())

    def is_styled(self, name: int) -> bool:
        """Whether a style is put on an instance."""
        return name in self._more

    def styles(self, name: int) -> list[bytes]:
        """Digests of the styles that are put on an instance."""
        return [self.digest(n) for n in self._more.get(name, ())]

    def style(self, name: int) -> bytes | None:
        """What the one IfcStyledItem of an instance says beside it, as it is written; None where there is none, or more that gives it its looks."""
        more = self._more.get(name, ())
        kind, text = self.rows[more[0]] if len(more) == 1 else _ABSENT
        return text.partition(b",")[2] if kind == b"IFCSTYLEDITEM" else None

    def digest(self, root: int) -> bytes:
        """16 bytes that stand for an instance, all it refers to, and the styles that are put on any of these.

        An instance that is missing, or that contains itself, counts as its absence there. Texts without references and styles
        (points, directions) stand for themselves where they are short.
        """
        first = b"%d" % root
        known, rows, styled = self._digests, self.rows, self._more  # by name as it is written: a model has a hundred thousand references
        stack = [] if first in known else [first]
        opened: dict[bytes, tuple[bytes, list[bytes]]] = {}
        while stack:
            at = stack[-1]
            if at in known:
                stack.pop()
                continue
            if at not in opened:
                name = int(at)
                kind, text = rows.get(name, _ABSENT)
                more = styled.get(name)
                pieces = _REFERENCE.split(text)
                if more is not None:
                    for number in more:
                        pieces += (b"%d" % number, b"")
                opened[at] = kind, pieces
                below = []
                for one in pieces[1::2]:
                    if one not in known and one not in opened:
                        name = int(one)
                        kind, text = rows.get(name, _ABSENT)
                        if b"#" in text or name in styled:
                            below.append(one)
                        else:
                            known[one] = _leaf(kind, text)
                if below:
                    stack.extend(below)
                    continue
            kind, pieces = opened.pop(at)
            pieces[1::2] = [known.get(one, b"circle") for one in pieces[1::2]]
            known[at] = blake2b(kind + b"(" + b"".join(pieces), digest_size=16).digest()
            stack.pop()
        return known[first]


def _objects(data: bytes) -> tuple[dict[int, tuple[bytes, bytes]], dict[bytes, list[int]]]:
    """Instances by name, and names by class."""
    found = _INSTANCE.findall(data)
    rows = {int(name): (kind, text) for name, kind, text in found}
    if len(rows) < len(found):  # a name is written twice: the parser finds the first
        rows = {}
        for name, kind, text in found:
            rows.setdefault(int(name), (kind, text))
    kinds: dict[bytes, list[int]] = defaultdict(list)
    for name, (kind, _) in rows.items():
        kinds[kind].append(name)
    return rows, kinds


def _leaf(kind: bytes, text: bytes) -> bytes:
    """The digest of an instance that refers to nothing and has no styles."""
    return kind + b"(" + text if len(text) < SHORT else blake2b(kind + text, digest_size=16).digest()
