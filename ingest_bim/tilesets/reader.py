"""Existing 3D Tiles tilesets, taken over as they are: a folder with its tileset.json, or an archive (.3tz, .zip).

Nothing is encoded anew. Everything that the tileset refers to is copied into one archive of the lake, from which the API
serves it like tiles of our own, so that it stays with the city and is immutable. What is changed, and reported, is only what a
server in front of it needs: queries behind file names and `asset.tilesetVersion` (of which clients make a query) go, files stored
gzipped are unpacked. Addresses of other servers are not followed. Where it stands is what its root's volume says, or its children's where that is the whole earth.
"""

from __future__ import annotations

import json
import posixpath
import re
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import numpy as np
from pydantic import Field, field_validator

from ingest_bim.tilesets.contents import DATA, KNOWN, SUBTREE, addresses, document_of, embedded, fault_of, inline, kind_of, parsed, uris
from ingest_bim.tilesets.files import MAX_FILE, ROOT, Files, is_packed, packs_one
from ingest_bim.tilesets.place import bounds_of, check_body
from ingest_bim.wording import in_words
from twin import crs, scratch
from twin.archive import ArchiveWriter
from twin.errors import BadFeature, BadOption, MissingReference, UnreadableSource
from twin.model import ELLIPSOID, Asset, Batch, Reference, Report
from twin.registry import ReaderOptions

HEAD = 1 << 16
MAX_FILES = 20_000_000
BOM = b"\xef\xbb\xbf"
NESTED = "MAXAR_content_3tz"
ARCHIVE = re.compile(r"([^?#]+\.3tz)(?:/([^?#]+))?$", re.IGNORECASE)
"""An archive within a tileset, and what of it is meant."""
GZIP = b"\x1f\x8b\x08"
"""RFC 1952, 2.3.1: the mark and the method; the mark alone is how one of 65,536 binary files begins by chance."""


class Options(ReaderOptions):
    """A tileset says itself where it stands; one in metres of its own is placed by hand."""

    anchor_lonlat: str | None = Field(
        None, description="Place a tileset without a place: longitude,latitude,ellipsoidal height of its origin (x east, y north)."
    )
    rotation: float = Field(0.0, ge=-360, le=360, description="Degrees clockwise from north to its y axis, with anchor_lonlat.")

    @field_validator("anchor_lonlat")
    @classmethod
    def _three(cls, value: str | None) -> str | None:
        numbers = [float(part) for part in ("0,0,0" if value is None else value).split(",")]
        if len(numbers) != 3 or not np.isfinite(numbers).all() or abs(numbers[0]) > 180 or abs(numbers[1]) > 90:
            raise ValueError(f"{value!r} is not longitude,latitude,height such as 112.6,22.5,30")
        return value


def detect(source: Path, options: Options) -> bool:  # noqa: ARG001  the contract of readers
    """Whether a file is a tileset: a .3tz, a ZIP with a tileset.json, or JSON with what every tileset has."""
    if not source.is_file():
        return False
    if source.suffix.lower() == ".3tz":
        return True
    if is_packed(source):
        return packs_one(source)
    with source.open("rb") as file:
        head = file.read(HEAD)
        file.seek(max(0, source.stat().st_size - HEAD))
        text = head + file.read(HEAD)
    if head.startswith(GZIP):
        text = head = _beginning(head)
    return text.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"{") and all(key in text for key in (b'"asset"', b'"geometricError"', b'"root"'))


def _beginning(head: bytes) -> bytes:
    """What the first bytes of a gzipped file unpack to, up to a limit."""
    try:
        return zlib.decompressobj(31).decompress(head, HEAD)
    except zlib.error:
        return b""


def read(source: Path, options: Options, report: Report) -> Iterator[Batch]:
    """Take over a tileset.

    Yields:
        One Asset: the archive with the tileset's files; its bounds are the root volume's, longitude, latitude and ellipsoidal height.

    Raises:
        UnreadableSource: not a tileset, damaged, or larger than is credible.
        MissingReference: it is not placed on the earth.
        BadOption: a CRS is given, which a tileset cannot have.
    """
    report.source = report.source or source.name
    if options.crs or options.vertical or options.vertical_offset:
        raise BadOption(f"{source.name} is a tileset, which stands in earth-centred coordinates: crs and vertical have no meaning.", "Leave them out.")
    if options.rotation and not options.anchor_lonlat:
        raise BadOption(f"rotation={options.rotation:g} turns a tileset that is placed by hand, and no place is given.", "Give anchor_lonlat=LONGITUDE,LATITUDE,HEIGHT too, or leave rotation out.")
    with Files(source) as files:
        entry, copy = files.entry, _Copy(files, report)
        if files.folder:
            report.facts["member"] = f"{files.folder}/{entry}"
        try:
            data = copy.unpacked(entry)
            if data is None:
                raise UnreadableSource(f"{source.name} has no {entry}.", "Deliver its tileset.json or a .3tz.")
            copy.placed[entry] = data
            root = document_of(data)
            check_body(root, source.name)
            if options.anchor_lonlat:
                copy.placed[entry] = json.dumps(_placed(root, options, source.name), ensure_ascii=False, separators=(",", ":")).encode()
            bounds, about = bounds_of(root["root"], source.name), {**root["asset"]}
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise UnreadableSource(f"{source.name} is not a tileset: {in_words(error)}.", "Deliver its tileset.json or a .3tz.") from error
        if bounds is None:
            raise MissingReference(f"{source.name} is not placed on the earth: its root volume lies near the earth's centre.",
                                   "Place it: --option anchor_lonlat=LONGITUDE,LATITUDE,HEIGHT (and rotation=DEGREES).")  # fmt: skip
        with scratch.folder("tileset") as folder:
            path = folder / "tileset.3tz"
            with ArchiveWriter(path) as archive:
                copy.everything(entry, archive)
            if not copy.contents:
                raise BadFeature(f"{source.name} has no content that is here: no model, no points.", "; ".join(n.reason for n in report.notes[:3]))
            report.read, report.kept = copy.contents + copy.lost, copy.contents
            report.facts |= {"driver": f"3D Tiles {about.get('version', '')}", "tiles": copy.tiles, "contents": copy.contents, "files": len(copy.done)}
            report.facts["content"] = dict(copy.kinds)
            report.facts["georeference"] = {"source": "anchor_lonlat" if options.anchor_lonlat else "root volume", "crs": "EPSG:4978"}
            properties = {
                "tiles": copy.tiles,
                "root": {key: root["root"][key] for key in ("boundingVolume", "geometricError", "transform") if key in root["root"]},
            }
            yield Asset(Reference("EPSG:4326", ELLIPSOID), path, "3tz", bounds, copy.contents, properties)


def _placed(document: dict[str, Any], options: Options, where: str) -> dict[str, Any]:
    """The tileset with its root moved to the anchor."""
    root = document["root"]
    if "region" in root["boundingVolume"]:
        raise BadOption(f"{where}: its root's region says where it stands; an anchor cannot move it.", "Leave anchor_lonlat out.")
    lon, lat, height = (float(part) for part in (options.anchor_lonlat or "").split(","))
    if bounds_of(root, where) is not None:
        raise BadOption(f"{where} stands on the earth already, where its root's volume and transform say; an anchor would move it away from there.", "Leave anchor_lonlat out.")
    turn = np.eye(4)
    c, s = np.cos(np.radians(-options.rotation)), np.sin(np.radians(-options.rotation))
    turn[:2, :2] = [[c, -s], [s, c]]
    own = np.array(root.get("transform", np.eye(4).ravel()), np.float64).reshape(4, 4).T
    root["transform"] = (crs.enu_frame(lon, lat, height) @ turn @ own).T.ravel().tolist()
    return document


@dataclass
class _Copy:
    """Follows what files refer to, and copies them."""

    files: Files
    report: Report
    done: set[str] = field(default_factory=set)
    placed: dict[str, bytes] = field(default_factory=dict)
    renamed: dict[str, str] = field(default_factory=dict)
    kinds: Counter[str] = field(default_factory=Counter)
    required: set[str] = field(default_factory=set)
    parts: set[str] = field(default_factory=set)
    models: dict[str, str] = field(default_factory=dict)
    tilesets: set[str] = field(default_factory=set)
    tiles: int = 0
    lost: int = 0

    @property
    def contents(self) -> int:
        """How many contents are copied."""
        return self.kinds.total()

    def everything(self, entry: str, archive: ArchiveWriter) -> None:
        """Copy a tileset with all it needs."""
        queue, self.done = [entry], {entry}
        if entry != ROOT:  # the archive's root is called so; another file of that name makes room
            self.renamed = {entry: ROOT, ROOT: "tileset-beside.json"}
        while queue:
            name = queue.pop()
            data = self.unpacked(name)
            if data is None:
                self.lost += 1
                self.report.note("skipped", name, "The tileset refers to this file, which is absent.")
                continue
            data, found = self._references(name, data)
            archive.add(self.renamed.get(name, name), data)
            of_tileset = name in self.tilesets
            for uri in found:
                for other in self._resolved(name, uri):
                    if other not in self.done:
                        self.done.add(other)
                        queue.append(other)
                        if not of_tileset:
                            self.parts.add(other)
            if len(self.done) > MAX_FILES:
                raise UnreadableSource(f"{entry} refers to more than {MAX_FILES:,} files.", "Split it into several tilesets.")

    def unpacked(self, name: str) -> bytes | None:
        """A file's bytes; one that is stored gzipped is unpacked, up to a limit."""
        data = self.placed.get(name) or self.files.get(name)
        if data is None and (other := self.files.like(name)) is not None:
            data = self.files.get(other)
            if data is not None:
                self.report.note("repaired", name, f"The file is called {other!r}, which clients would not find; it is kept by the name that the tileset has for it.")
        if data is not None and data.startswith(BOM) and name.lower().endswith((".json", ".gltf")):
            self.report.note("repaired", name, "It begins with a byte order mark, which JSON does not have; it is left out.")
            return data[len(BOM) :]
        if data is None or not data.startswith(GZIP) or name.endswith(".gz"):
            return data
        stream = zlib.decompressobj(31)
        try:
            plain = stream.decompress(data, MAX_FILE)
        except zlib.error as error:
            raise UnreadableSource(f"{name} is damaged: {error}.", "Deliver it again.") from error
        if stream.unconsumed_tail:
            raise UnreadableSource(f"{name} unpacks to more than {MAX_FILE >> 30} GiB.", "Deliver it again.")
        self.report.note("repaired", name, "It is stored gzipped and is unpacked, so that every client can read it.")
        return plain

    def _references(self, name: str, data: bytes) -> tuple[bytes, list[str]]:
        """(the bytes as they will be served, what they refer to)."""
        if data[:1].strip(b"{") == b"" or name.lower().endswith((".json", ".gltf")):
            try:
                document = document_of(data)
            except (ValueError, RecursionError) as error:
                self.report.note("warned", name, f"It is not JSON that clients can read ({in_words(error)}); it is copied as it is.")
                return data, []
            return self._of_json(name, document, data)
        models, named = list(embedded(data)), list(addresses(data))
        if name not in self.parts and data[:4] != SUBTREE:
            self.kinds[self._kind(name, models, named, data)] += 1
            if fault := fault_of(data):
                self.report.note("warned", name, fault)
        return data, [uri for model in models for uri in uris(model)] + named

    def _kind(self, name: str, models: list[Any], named: list[str], data: bytes) -> str:
        """What a content is; one of instances is what the models are that it names."""
        for other in (other for uri in named for other in self._resolved(name, uri, silent=True)):
            if other not in self.models:
                model = self.files.get(other) or b""
                self.models[other] = kind_of(list(embedded(model)) or [parsed(model)], model)
            if self.models[other] == "textured":
                return "textured"
        return kind_of(models, data)

    def _of_json(self, name: str, document: Any, data: bytes) -> tuple[bytes, list[str]]:
        is_tileset = isinstance(document, dict) and "root" in document and "asset" in document
        if not is_tileset:
            if isinstance(document, dict) and "asset" in document and name not in self.parts:  # a glTF
                self.kinds[kind_of([document])] += 1
            return data, list(uris(document))
        self.tilesets.add(name)
        for extension in document.get("extensionsRequired") or ():
            if extension not in KNOWN and extension not in self.required:
                self.required.add(extension)
                self.report.note("warned", name, f"It requires the extension {extension!r}: clients that do not know it, CesiumJS among them, may draw nothing of it.")
        changed = document["asset"].pop("tilesetVersion", None) is not None if isinstance(document["asset"], dict) else False
        stripped = unfolded = 0
        stack: list[Any] = [document]
        while stack:
            value = stack.pop()
            if isinstance(value, dict):
                self.tiles += "boundingVolume" in value and "geometricError" in value
                for key in ("uri", "url"):
                    if isinstance(value.get(key), str) and value[key].startswith("data:"):  # a content within the file
                        content = inline(value[key])
                        self.kinds[kind_of(list(embedded(content)), content)] += 1
                    elif isinstance(value.get(key), str) and "?" in value[key] and not urlsplit(value[key]).scheme:
                        value[key] = value[key].partition("?")[0]
                        stripped += 1
                    archive = ARCHIVE.match(value[key]) if isinstance(value.get(key), str) else None
                    if archive and self._unfold(name, archive[1]):
                        value[key] = f"{archive[1][:-4]}-3tz/{archive[2] or 'tileset.json'}"
                        unfolded += 1
                stack.extend(child for key, child in value.items() if key not in DATA)
            elif isinstance(value, list):
                stack.extend(value)
        if changed or stripped:
            self.report.note("repaired", name, f"tilesetVersion and queries behind {stripped} file names are left out, which a server of files does not know.")
        if unfolded:
            for key in ("extensionsUsed", "extensionsRequired"):
                document[key] = [extension for extension in document.get(key) or [] if extension != NESTED]
                if not document[key]:
                    del document[key]
            self.report.note("repaired", name, f"{unfolded} references to archives within it (.3tz) are unfolded, since few clients read archives.")
        found = list(uris(document))
        if renamed := self._follow(name, document):
            self.report.note("repaired", name, f"{renamed} references follow files that have another name here: the root is {ROOT}.")
        if changed or stripped or unfolded or renamed:
            data = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
        return data, found

    def _follow(self, base: str, document: Any) -> int:
        """Change the references to files that have another name in the archive; how many."""
        count, stack = 0, [document] if self.renamed else []
        while stack:
            value = stack.pop()
            if isinstance(value, dict):
                for key in ("uri", "url"):
                    parts = urlsplit(value[key]) if isinstance(value.get(key), str) else None
                    target = posixpath.normpath(posixpath.join(posixpath.dirname(base), unquote(parts.path))) if parts and not parts.scheme else ""
                    if target in self.renamed:
                        value[key] = quote(posixpath.relpath(self.renamed[target], posixpath.dirname(base) or "."))
                        count += 1
                stack.extend(child for key, child in value.items() if key not in DATA)
            elif isinstance(value, list):
                stack.extend(value)
        return count

    def _unfold(self, base: str, uri: str) -> bool:
        """Whether a nested archive is there, and can be read from now on."""
        found = list(self._resolved(base, uri, silent=True))
        return bool(found) and self.files.unfold(found[0]) is not None

    def _resolved(self, base: str, uri: str, *, silent: bool = False) -> Iterator[str]:
        """The files that a reference of `base` names; what leads elsewhere is reported, once unless `silent`."""
        try:
            parts = urlsplit(uri)
        except ValueError:  # a bracket without its pair, as in the address of a host
            parts = urlsplit(quote(uri, safe="/%?&="))
        if parts.scheme == "data" or not uri:
            return
        if parts.scheme or parts.netloc:
            if not silent:
                self.lost += 1
                where = "on another server" if parts.netloc and parts.scheme != "file" else "on the machine that wrote it"
                self.report.note("skipped", base, f"It refers to {uri[:100]!r} {where}, which is not copied.")
            return
        name = posixpath.normpath(posixpath.join(posixpath.dirname(base), unquote(parts.path).replace("\\", "/")))
        if name.startswith(("../", "/")) or name == "..":
            if silent:
                return
            self.lost += 1
            self.report.note("refused", base, f"It refers to {uri[:100]!r}, which leads out of the tileset's folder.")
        elif "{" in name:  # a template of implicit tiling
            pattern = re.compile(re.sub(r"\\{(?:level|x|y|z)\\}", r"\\d+", re.escape(name)))
            folder = posixpath.dirname(name.partition("{")[0])
            yield from (found for found in self.files.below(folder) if pattern.fullmatch(found))
        else:
            yield name
