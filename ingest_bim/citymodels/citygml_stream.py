"""CityGML as a stream: one member's tree at a time, whatever the size of the file, and nothing that XML can be abused for.

A document type declaration is refused, so there are no entities (billion laughs) and no external files; depth is bounded.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, ParseError, TreeBuilder, XMLParser
from xml.parsers import expat

from ingest_bim.citymodels.citygml_names import CITYGML, GML32_ID, GML_ID, SURFACE_DATA, local, namespace, version_of
from ingest_bim.citymodels.citygml_three import Mixed, as_two
from twin.errors import UnreadableSource

CHUNK = 1 << 16
MAX_MEMBER = 1 << 29
"""Bytes of one member, which is held whole: five times as much in memory where it is polygons."""
MAX_DEPTH = 200
INVALID_TOKEN = 4
"""Expat's number for bytes that are no letters, among others."""
EAST_ASIAN = ("gb", "big5", "shift_jis", "sjis", "euc-jp", "euc_jp", "euc-kr", "euc_kr")
#: Children of the city model that are handed out; `core:featureMember` came with CityGML 1, `wfs:member` stands in what a WFS 2.0 answers.
MEMBERS = ("cityObjectMember", "featureMember", "member")
MANY = "featureMembers"
"""GML's array of members: each child of it is one."""
#: Children of an appearance, handed out one by one with its `theme`: one appearance may hold the textures of the whole file.
LOOKS = (SURFACE_DATA, "surfaceData")
#: Histories of CityGML 3.0's versioning module.
HISTORY = ("versionMember", "versionTransitionMember")


@dataclass
class Head:
    """What the stream knows besides members: namespace prefixes, and the envelope's reference and corner."""

    version: str = ""
    prefixes: dict[str, str] = field(default_factory=dict)
    srs: str = ""
    corner: tuple[float, ...] = ()
    histories: int = 0
    """Versions and transitions between them, which are no city objects."""


class _Refused(Exception):
    """Raised inside expat's callbacks, with what to do about it."""

    def __init__(self, reason: str, remedy: str = "Export it as CityGML 2.0.") -> None:
        super().__init__(reason)
        self.remedy = remedy


_TOO_DEEP = _Refused(f"its elements are nested more than {MAX_DEPTH} deep")


class _Builder(TreeBuilder):
    """A tree that is built by C alone; of Python only what is told of prefixes."""

    def __init__(self, head: Head) -> None:
        super().__init__()
        self.head = head

    def start_ns(self, prefix: str, uri: str) -> None:
        self.head.prefixes.setdefault(uri or "", prefix or "")


def _prologue(encoding: str | None) -> tuple[expat.XMLParserType, list[str]]:
    """A parser of what stands before the root element, where a document type could be declared; and, once it is met, the root's tag and then the namespaces that it declares."""
    parser, root, spaces = expat.ParserCreate(encoding, namespace_separator="}"), list[str](), list[str]()

    def doctype(*_: Any) -> None:
        raise _Refused("it has a document type declaration; entities and external files are not read", "Export it without a DOCTYPE.")

    def start(name: str, _: Any) -> None:
        root.extend((f"{{{name}" if "}" in name else name, *spaces))
        parser.StartElementHandler = parser.StartNamespaceDeclHandler = None

    parser.StartDoctypeDeclHandler, parser.StartElementHandler = doctype, start
    parser.StartNamespaceDeclHandler = lambda _, uri: spaces.append(uri or "")
    return parser, root


class _Reader:
    """Takes what is complete off a tree that is being built."""

    def __init__(self, head: Head, encoding: str | None, again: bool) -> None:
        self.head, self.theme, self.again = head, "", again
        self.builder = _Builder(head)
        self.above = self.builder.start("above", {})
        self.parser: XMLParser = XMLParser(target=self.builder, encoding=encoding)  # noqa: S314  no declarations, so no entities
        self.prologue, self.root = _prologue(encoding)
        self.opened: Element | None = None  # the child of the model that was begun last
        self.appearance: Element | None = None

    def feed(self, chunk: bytes | str) -> Iterator[Element]:
        """What becomes complete with a chunk."""
        if not self.root:
            self.prologue.Parse(chunk, False)
            if self.root:
                self.head.version = _version(*self.root)
        self.parser.feed(chunk)
        node, depth = self.above, 0
        while len(node):  # the last child of the last child …: what is open
            node, depth = node[-1], depth + 1
            if depth > MAX_DEPTH:
                raise _TOO_DEEP
        return self._complete(1)

    def close(self) -> Iterator[Element]:
        """What is left at the end."""
        self.builder.end("above")
        self.parser.close()
        return self._complete(0)

    def bear(self, held: int) -> None:
        """Refuse a member of more bytes than can be held, naming the first id in it (else the innermost element)."""
        if held <= MAX_MEMBER:
            return
        raise _Refused(f"its member {self._begun()[:80]!r} has more than {MAX_MEMBER >> 20} MiB, and members are held whole",
                       "Deliver that object in parts, a relief as a terrain (GeoTIFF).")  # fmt: skip

    def _begun(self) -> str:
        node, name = self.above, ""
        while len(node):
            node = node[-1]
            name = local(node.tag)
            if key := node.get(GML_ID) or node.get(GML32_ID):
                return key
        return name

    def _complete(self, open_ones: int) -> Iterator[Element]:
        """Take off all children of the model but so many of the last, which is looked into where it holds many members."""
        if not len(self.above):
            return
        model = self.above[0]
        ready = len(model) - open_ones
        for child in model[: max(ready, 0)]:
            yield from self._child(child, 0)
        if ready > 0:
            del model[:ready]
        if open_ones and len(model):
            yield from self._child(model[0], 1)

    def _child(self, child: Element, open_ones: int) -> Iterator[Element]:
        """What a child of the model holds; of one that is open, what is complete in it."""
        name = local(child.tag)
        if name == "appearanceMember":
            if self.opened is not child:
                self.opened, self.theme = child, ""
            for appearance in child:
                yield from self._surface_data(appearance, open_ones if appearance is child[-1] else 0)
        elif name == MANY:
            for element in _taken(child, open_ones):
                member = Element(MEMBERS[1])
                member.append(element)
                yield self._checked(member)
        elif open_ones == 0 and name == "boundedBy":
            self._envelope(self._checked(child))
        elif open_ones == 0 and name in MEMBERS:
            yield self._checked(child)
        elif open_ones == 0 and name in HISTORY:
            self.head.histories += 1

    def _surface_data(self, appearance: Element, open_ones: int) -> Iterator[Element]:
        for element in _taken(appearance, open_ones):
            name = local(element.tag)
            if name == "theme":
                self.theme = (element.text or "").strip()
            elif name in LOOKS:
                element.set("theme", self.theme)
                yield self._checked(element)

    def _checked(self, element: Element) -> Element:
        """An element that is not nested deeper than what walks through it may go, in the forms of CityGML 2.0."""
        level, depth = [] if self.again else [element], 0
        while level:
            level, depth = list(chain.from_iterable(level)), depth + 1
            if depth >= MAX_DEPTH:
                raise _TOO_DEEP
        if self.head.version == "3.0":
            return self._as_two(element)
        if any(version_of(namespace(child.tag)) == "3.0" for child in element):
            raise _Refused(f"it is CityGML {self.head.version} with objects of CityGML 3.0 in it", "Export it in one version.")
        return element

    def _as_two(self, element: Element) -> Element:
        above = Element("above")
        above.append(element)
        try:
            as_two(above)
        except Mixed as error:
            raise _Refused(f"it is CityGML 3.0 with elements of the namespace {str(error)[:80]!r} in it", "Export it in one version.") from error
        return above[0]

    def _envelope(self, element: Element) -> None:
        for envelope in element.iter():
            if srs := envelope.get("srsName"):
                self.head.srs = self.head.srs or srs
            if local(envelope.tag) in ("lowerCorner", "pos") and envelope.text and not self.head.corner:
                try:
                    self.head.corner = tuple(float(v) for v in envelope.text.split())
                except ValueError:
                    self.head.corner = ()


def _taken(parent: Element, open_ones: int) -> list[Element]:
    """The children of an element but so many of the last, taken off it."""
    ready = max(len(parent) - open_ones, 0)
    found = parent[:ready]
    del parent[:ready]
    return found


def _version(tag: str, *spaces: str) -> str:
    """1.0, 2.0 or 3.0, told by the root's namespace; of what a WFS answers, by those that it declares, the core module's first."""
    space = namespace(tag)
    if local(tag) == "FeatureCollection":
        declared = [each for each in spaces if each.startswith(CITYGML)]
        space = next(iter(sorted(declared, key=lambda each: each.count("/"))), "")
        if not space:
            raise _Refused("its root is 'FeatureCollection', and it declares no namespace of CityGML", "Convert a file of plain features to GeoPackage, for example with QGIS or ogr2ogr.")
    elif local(tag).endswith("Capabilities"):
        raise _Refused("it describes a service of maps or data and holds none", "Save what the service delivers, images as GeoTIFF and features as GeoPackage, for example with QGIS.")
    elif local(tag) != "CityModel":
        raise _Refused(f"its root is {local(tag)[:60]!r}, not a CityGML CityModel")
    elif not space.startswith(CITYGML):
        raise _Refused(f"its CityModel is of the namespace {space[:80]!r}, which is not that of CityGML 1.0, 2.0 or 3.0")
    version = version_of(space) or "2.0"
    if version not in ("1.0", "2.0", "3.0"):
        raise _Refused(f"it is CityGML {version[:20]}; 1.0, 2.0 and 3.0 are read")
    return version


def members(source: Path, head: Head, *, again: bool = False) -> Iterator[Element]:
    """The members of a city model, in order, each as a tree, and the surface data of its appearances; `head` is filled on the way.

    `again`: the file has been read before, so how deep its elements are nested is known.

    Raises:
        UnreadableSource: not well-formed, cut short, not CityGML 1 to 3 or of two versions at once, or with a document type declaration.
    """
    with source.open("rb") as file:
        stated = re.match(rb"""<\?xml[^>]*encoding=["']([\w.-]+)["']""", file.read(200))
        file.seek(0)
        name = stated[1].decode().lower() if stated else ""
        try:
            # expat reads single-byte encodings and UTF alone; the East Asian ones are turned into UTF-8 on the way
            decoder = codecs.getincrementaldecoder("gb18030" if name.startswith("gb") else name)() if name.startswith(EAST_ASIAN) else None
            reader = _Reader(head, "utf-8" if decoder else None, again)
            held = 0
            while chunk := file.read(CHUNK):
                held += len(chunk)
                for element in reader.feed(decoder.decode(chunk) if decoder else chunk):
                    held = 0
                    yield element
                reader.bear(held)
            yield from reader.close()
        except (expat.ExpatError, ParseError) as error:
            remedy = "Save it in the encoding that it states, or deliver it again." if getattr(error, "code", 0) == INVALID_TOKEN else "Deliver it again."
            raise UnreadableSource(f"{source.name} is not complete XML: {error}.", remedy) from error
        except _Refused as error:
            raise UnreadableSource(f"{source.name} is not read: {error}.", error.remedy) from error
        except (LookupError, ValueError) as error:  # unknown codecs, bytes that are not text, encodings that expat lacks
            raise UnreadableSource(f"{source.name} has an encoding that is not read: {error}.", "Save it as UTF-8.") from error
