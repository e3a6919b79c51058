"""CityJSON 1.0, 1.1, 2.0 and CityJSONSeq / CityJSONFeature → city objects as mesh features.

A sequence is read line by line, so its size is not bounded by memory; a single document is held whole, as JSON must be.
Specification: CityJSON 2.0.1 (OGC 20-072r5), with the older forms of 1.0 (address as an object, textual CRS, no transform).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from pydantic import Field

from ingest_bim.citymodels import files
from ingest_bim.citymodels.axes import north_first
from ingest_bim.citymodels.cityjson_header import MALFORMED, Header, corner_of
from ingest_bim.citymodels.cityjson_objects import Document
from ingest_bim.citymodels.objects import CityObject, CityOptions, Columns, city_reference
from ingest_bim.citymodels.textures import Pictures, choose_themes, no_themes
from ingest_bim.package import heads, is_packed
from ingest_bim.wording import in_words
from twin.errors import BadOption, UnreadableSource
from twin.model import Batch, Reference, Report

VERSIONS = ("1.0", "1.1", "2.0")
HEAD = 1 << 16
MAX_LINE = 1 << 28
MAX_DOCUMENT = 5 << 26
"""Bytes of a document, which is held whole: eight to eleven times as much in memory."""
SUFFIXES = (".json", ".jsonl")
SEPARATOR = "\x1e"
"""Stands before each record of a sequence that follows RFC 8142."""


class Options(CityOptions):
    """How to read CityJSON."""

    metadata: str | None = Field(None, description="File beside the source with the header (transform, CRS) of bare CityJSONFeatures.")


def detect(source: Path, options: Options) -> bool:  # noqa: ARG001  the contract of readers
    """Whether a JSON file is CityJSON, told by its type near the start (or, for a document with its type last, near the end)."""
    if is_packed(source):
        return any(_looks_like(head, b"") for _, head in heads(source, SUFFIXES))
    if not source.is_file():
        return False
    with source.open("rb") as file:
        head = file.read(HEAD)
        file.seek(max(0, source.stat().st_size - HEAD))
        return _looks_like(head, file.read(HEAD))


def _looks_like(head: bytes, tail: bytes) -> bool:
    if not head.removeprefix(b"\xef\xbb\xbf").lstrip(b" \t\r\n\x1e").startswith(b"{"):
        return False
    squeezed = (head + b" " + tail).translate(None, b" \t\r\n")
    return b'"type":"CityJSON' in squeezed or (b'"CityObjects":{' in squeezed and b'"type":"Feature' not in squeezed)


def read(source: Path | Sequence[Path], options: Options, report: Report) -> Iterator[Batch]:
    """Read a city model: one file, a ZIP, a folder, or several of these.

    Yields:
        Mesh batches: city objects and, as their children, semantic surfaces.

    Raises:
        UnreadableSource: not JSON, cut short, another version, or no header for bare features.
        MissingReference: no CRS, or no vertical datum.
        BadReference: files in different references.
        BadFeature: no city objects at all.
    """

    def model(path: Path) -> bool:
        return path.name != options.metadata and detect(path, options)

    def start(path: Path, root: Path | None) -> _Model:
        return _Model(path, root, options)

    yield from files.read(source, SUFFIXES, model, start, options, report)


class _Model:
    """One file (see `ingest_bim.citymodels.files.Model`)."""

    empty = ""

    def __init__(self, source: Path, root: Path | None, options: Options) -> None:
        self.source, self.root, self.options = source, root, options
        self.documents, self.header = _open(source, options)
        self.themes = no_themes()
        self.corner: tuple[float, ...] = ()

    def learn(self, columns: Columns) -> int:
        count, ghost = 0, Report()
        for document in self.documents():
            learned = Document(document, self.header, self.options.lod, ghost)
            self.corner = self.corner or corner_of(document, self.header)
            for thing in learned.objects(shapes=False):
                columns.see(thing.attributes)
                for surface in thing.surfaces:
                    columns.see(surface.attributes)
                count += 1
            for kind in self.themes:
                self.themes[kind].update(learned.themes[kind])
        if not count:
            self.empty = _first(ghost) or "Is it the header of separate CityJSONFeatures? Ingest those, with metadata=FILE."
        return count

    def prepare(self, theme: str | None, report: Report) -> tuple[Reference, Pictures | None]:
        report.facts["driver"] = f"CityJSON {self.header.version}"
        for odd in self.header.odd:
            report.note("assumed", "", odd)
        if self.header.extras:
            report.note("skipped", "", f"What extensions say of the model as a whole is not kept: {', '.join(self.header.extras)[:200]}.")
        if self.header.metadata:
            report.facts["metadata"] = self.header.metadata
        reference = city_reference(self.header.crs, self.options, report, self.source.name)
        if north_first(self.options.axis_order, False, self.corner, reference, report):
            self.header = self.header.north_first()
        self.chosen = choose_themes(self.themes, theme, report, self.header.defaults)
        self.pictures = Pictures(self.source.parent, report, self.root) if self.options.textures else None
        if self.themes["textures"] and self.pictures is None:
            report.note("skipped", "", "Textures are left out, as asked; their surfaces have plain colours.")
        return reference, self.pictures

    def objects(self, report: Report) -> Iterator[CityObject]:
        for document in self.documents(again=True):
            reader = Document(document, self.header, self.options.lod, report)
            reader.chosen, reader.pictures = self.chosen, self.pictures
            yield from reader.objects(shapes=True)


class Documents(Protocol):
    """The documents of a file; `again` where they have been looked through before."""

    def __call__(self, *, again: bool = False) -> Iterator[dict[str, Any]]:
        """Each once."""


class _Whole:
    """A file of one document."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.document = document

    def __call__(self, *, again: bool = False) -> Iterator[dict[str, Any]]:  # noqa: ARG002  see `Documents`
        yield self.document


def _first(report: Report) -> str:
    note = next(iter(report.notes), None)
    return "" if note is None else f"{note.feature}: {note.reason}" if note.feature else note.reason


def _open(source: Path, options: Options) -> tuple[Documents, Header]:
    """(what gives the documents, as often as it is called; the header)."""
    if not source.is_file() or source.stat().st_size == 0:
        raise UnreadableSource(f"{source.name} is empty or not a file.", "Deliver it again.")
    whole = None if source.suffix.lower() == ".jsonl" and not _over_lines(source) else _whole(source)
    if whole is not None:
        if whole.get("type") == "CityJSON":
            return _Whole(whole), _header(whole, source.name)
        first = whole
    else:
        first = next(_lines(source), {})
    documents: Documents = partial(_lines, source) if whole is None else _Whole(whole)
    if first.get("type") == "CityJSON":
        return documents, _header(first, source.name)
    if first.get("type") != "CityJSONFeature":
        stated = f"its type is {str(first['type'])[:40]!r}" if "type" in first else "it states no type"
        raise UnreadableSource(f"{source.name} is not CityJSON: {stated}.", "CityJSON 1.0 to 2.0 and CityJSONSeq are read.")
    if options.metadata is None:
        raise UnreadableSource(f"{source.name} holds CityJSONFeatures without a header, which has their transform and CRS.",
                               "Name the file with it, which lies beside the source: --option metadata=FILE.")  # fmt: skip
    return documents, _header(_beside(source, options.metadata), options.metadata)


def _beside(source: Path, name: str) -> dict[str, Any]:
    """The header file, which must lie in the source's own folder."""
    path = source.parent / name
    if Path(name).name != name or name in ("", ".", "..") or path.is_symlink():
        raise BadOption(f"metadata={name} is not a plain file name.", f"Put the file beside {source.name} and give its name alone.")
    if not path.is_file():
        raise BadOption(f"metadata={name}: there is no such file beside {source.name}.", "Check the name.")
    document = _whole(path)
    if document is None or document.get("type") != "CityJSON":
        raise UnreadableSource(f"{name} is not a CityJSON header.", "It must be one JSON object of type CityJSON.")
    return document


def _header(document: dict[str, Any], where: str) -> Header:
    version = str(document.get("version") or "")
    if not version.startswith(VERSIONS) and version not in ("1", "2"):
        raise UnreadableSource(f"{where} is CityJSON {version[:20] or 'without a version'}, which is not read.",
                               "Upgrade it to 2.0 (cjio: cjio in.json upgrade save out.json).")  # fmt: skip
    try:
        return Header.of(document)
    except MALFORMED as error:
        raise UnreadableSource(f"{where}: its transform, templates or appearance are malformed: {in_words(error)}.", "Export it again.") from error


def _over_lines(source: Path) -> bool:
    """Whether a sequence's first line is but the beginning of a document, written over many lines for people to read."""
    with source.open("rb") as file:
        return file.readline(MAX_LINE).strip() == b"{"


def _whole(source: Path) -> dict[str, Any] | None:
    """The document of a file, or None where more than one follow each other."""
    if (size := source.stat().st_size) > MAX_DOCUMENT:
        raise UnreadableSource(f"{source.name} has {size >> 20:,} MiB; a CityJSON document is held whole, up to {MAX_DOCUMENT >> 20} MiB.",
                               "Make it a sequence of features, of which one is held at a time (cjio: cjio in.json export jsonl out.city.jsonl), or cut it into files.")  # fmt: skip
    try:
        return _parse(source.read_bytes(), source.name)
    except _ManyDocuments:
        return None


def _lines(source: Path, *, again: bool = False) -> Iterator[dict[str, Any]]:
    with source.open("rb") as file:
        number = 0
        while line := file.readline(MAX_LINE + 1):
            number += 1
            if len(line) > MAX_LINE:
                raise UnreadableSource(f"{source.name}, line {number}, is longer than {MAX_LINE >> 20} MiB.", "Deliver one feature a line.")
            if line.strip():
                try:
                    document = _parse(line, f"{source.name}, line {number},", again=again)
                except _ManyDocuments as error:
                    raise UnreadableSource(f"{source.name}, line {number}, holds more than one JSON object.", "Deliver one feature a line.") from error
                if number > 1 and document.get("type") != "CityJSONFeature":
                    raise UnreadableSource(f"{source.name}, line {number}, is not a CityJSONFeature but {str(document.get('type'))[:40]!r}.",
                                           "A sequence is one header and then features.")  # fmt: skip
                yield document


class _ManyDocuments(Exception):
    """More JSON follows the first object."""


def _parse(data: bytes, where: str, *, again: bool = False) -> dict[str, Any]:
    """One document; keys that stand twice are looked for the first time only."""
    try:
        document = json.loads(data.decode("utf-8-sig").lstrip(SEPARATOR), object_pairs_hook=None if again else _unique, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        if error.msg == "Extra data":
            raise _ManyDocuments from error
        raise UnreadableSource(f"{where} is not complete JSON: {error.msg} at character {error.pos}.", "Deliver it again.") from error
    except UnicodeDecodeError as error:
        raise UnreadableSource(f"{where} is not UTF-8 text: {error}.", "Save it as UTF-8.") from error
    except RecursionError as error:
        raise UnreadableSource(f"{where} is nested too deeply to be CityJSON.", "Deliver it again.") from error
    except ValueError as error:
        raise UnreadableSource(f"{where}: {error}.", "Export it again.") from error
    if not isinstance(document, dict):
        raise UnreadableSource(f"{where} is not a JSON object.", "CityJSON is one object.")
    return document


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """JSON parsers keep the last of equal keys without a word; here that would lose a city object."""
    result = dict(pairs)
    if len(result) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"the key {twice[:60]!r} stands twice in one object")
    return result


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON number")
