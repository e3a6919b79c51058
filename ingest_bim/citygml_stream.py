"""CityGML as a stream: one member's tree at a time, whatever the size of the file, and nothing that XML can be abused for.

A document type declaration is refused, so there are no entities (billion laughs) and no external files; depth is bounded.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from twin.errors import UnreadableSource

CHUNK = 1 << 16
MAX_DEPTH = 200
EAST_ASIAN = ("gb", "big5", "shift_jis", "sjis", "euc-jp", "euc_jp", "euc-kr", "euc_kr")
GML = ("http://www.opengis.net/gml", "http://www.opengis.net/gml/3.2")
CITYGML = "http://www.opengis.net/citygml"
XLINK = "{http://www.w3.org/1999/xlink}href"
#: Children of the city model that are handed out; `core:featureMember` came with CityGML 1.
MEMBERS = ("cityObjectMember", "featureMember")
MANY = "featureMembers"
"""GML's array of members: each child of it is one."""
#: Handed out one by one, with their `theme`: one appearance may hold the textures of the whole file.
SURFACE_DATA = "surfaceDataMember"


@dataclass
class Head:
    """What the stream knows besides members: namespace prefixes, and the envelope's reference and corner."""

    version: str = ""
    prefixes: dict[str, str] = field(default_factory=dict)
    srs: str = ""
    corner: tuple[float, ...] = ()


@lru_cache(maxsize=4096)
def local(tag: str) -> str:
    """`{namespace}name` → `name`."""
    return tag.rsplit("}", 1)[-1]


@lru_cache(maxsize=4096)
def namespace(tag: str) -> str:
    """`{namespace}name` → `namespace`."""
    return tag[1:].rsplit("}", 1)[0] if "}" in tag else ""


class _Refused(Exception):
    """Raised inside expat's callbacks, with what to do about it."""

    def __init__(self, reason: str, remedy: str = "Export it as CityGML 2.0.") -> None:
        super().__init__(reason)
        self.remedy = remedy


class _Reader:
    """expat's callbacks: a tree is built only inside members (and for the model's own boundedBy)."""

    def __init__(self, head: Head, encoding: str | None) -> None:
        self.head, self.depth = head, 0
        self.builder: TreeBuilder | None = None
        self.base = 0  # depth of the element that is being built
        self.appearance, self.theme = False, ""
        self.many = False
        self.done: list[Element] = []
        self.parser = expat.ParserCreate(encoding, namespace_separator="}")
        self.parser.buffer_text = True
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._text
        self.parser.StartNamespaceDeclHandler = self._prefix
        self.parser.StartDoctypeDeclHandler = self._doctype

    def _doctype(self, *_: Any) -> None:
        raise _Refused("it has a document type declaration; entities and external files are not read", "Export it without a DOCTYPE.")

    def _prefix(self, prefix: str | None, uri: str | None) -> None:
        self.head.prefixes.setdefault(uri or "", prefix or "")

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise _Refused(f"its elements are nested more than {MAX_DEPTH} deep")
        tag = f"{{{name}" if "}" in name else name
        if self.depth == 1:
            self.head.version = _version(tag)
        elif self.builder is None and (
            (self.depth == 2 and local(tag) in (*MEMBERS, "boundedBy"))
            or (self.many and self.depth == 3)
            or (self.appearance and self.depth == 4 and local(tag) in ("theme", SURFACE_DATA))
        ):
            self.builder, self.base = TreeBuilder(), self.depth
        elif self.depth == 2 and local(tag) == "appearanceMember":
            self.appearance, self.theme = True, ""
        elif self.depth == 2 and local(tag) == MANY:
            self.many = True
        if self.builder is not None:
            self.builder.start(tag, {f"{{{key}" if "}" in key else key: value for key, value in attributes.items()})

    def _text(self, text: str) -> None:
        if self.builder is not None:
            self.builder.data(text)

    def _end(self, name: str) -> None:
        self.depth -= 1
        if self.builder is not None:
            self.builder.end(f"{{{name}" if "}" in name else name)
            if self.depth == self.base - 1:
                element = self.builder.close()
                self.builder = None
                if self.many:
                    member = Element(MEMBERS[1])
                    member.append(element)
                    self.done.append(member)
                elif local(element.tag) == "boundedBy":
                    self._envelope(element)
                elif local(element.tag) == "theme":
                    self.theme = (element.text or "").strip()
                else:
                    if self.appearance:
                        element.set("theme", self.theme)
                    self.done.append(element)
        elif self.depth == 1:
            self.appearance = self.many = False

    def _envelope(self, element: Element) -> None:
        for envelope in element.iter():
            if srs := envelope.get("srsName"):
                self.head.srs = self.head.srs or srs
            if local(envelope.tag) in ("lowerCorner", "pos") and envelope.text and not self.head.corner:
                try:
                    self.head.corner = tuple(float(v) for v in envelope.text.split())
                except ValueError:
                    self.head.corner = ()


def _version(tag: str) -> str:
    """1 or 2, told by the root's namespace."""
    space = namespace(tag)
    if local(tag) != "CityModel" or not space.startswith(CITYGML):
        features = (
            "Convert a file of plain features to GeoPackage, for example with QGIS or ogr2ogr."
            if local(tag) == "FeatureCollection"
            else "Export it as CityGML 2.0."
        )
        raise _Refused(f"its root is {local(tag)[:60]!r}, not a CityGML CityModel", features)
    if "/3.0" in space:
        raise _Refused("it is CityGML 3.0; 1.0 and 2.0 are read")
    return "1.0" if "/1.0" in space else "2.0"


def members(source: Path, head: Head) -> Iterator[Element]:
    """The members of a city model, in order, each as a tree, and the surface data of its appearances; `head` is filled on the way.

    Raises:
        UnreadableSource: not well-formed, cut short, not CityGML 1 or 2, or with a document type declaration.
    """
    with source.open("rb") as file:
        stated = re.match(rb"""<\?xml[^>]*encoding=["']([\w.-]+)["']""", file.read(200))
        file.seek(0)
        name = stated[1].decode().lower() if stated else ""
        try:
            # expat reads single-byte encodings and UTF alone; the East Asian ones are turned into UTF-8 on the way
            decoder = codecs.getincrementaldecoder("gb18030" if name.startswith("gb") else name)() if name.startswith(EAST_ASIAN) else None
            reader = _Reader(head, "utf-8" if decoder else None)
            while chunk := file.read(CHUNK):
                reader.parser.Parse(decoder.decode(chunk) if decoder else chunk, False)
                yield from reader.done
                reader.done.clear()
            reader.parser.Parse(b"", True)
        except expat.ExpatError as error:
            raise UnreadableSource(f"{source.name} is not complete XML: {error}.", "Deliver it again.") from error
        except _Refused as error:
            raise UnreadableSource(f"{source.name} is not read: {error}.", error.remedy) from error
        except (LookupError, ValueError) as error:  # unknown codecs, bytes that are not text, encodings that expat lacks
            raise UnreadableSource(f"{source.name} has an encoding that is not read: {error}.", "Save it as UTF-8.") from error
    yield from reader.done
